import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { zstdCompressSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { CatalogBackup } from '../../src/catalog/catalog.ts'
import { encryptBytes } from '../../src/encryption/encrypt.ts'
import { generateKeyPair } from '../../src/encryption/generate.ts'
import { readRecipients } from '../../src/encryption/keys.ts'
import { readDrillKeys } from '../../src/jobs/installation.ts'
import { runVerify } from '../../src/jobs/verify.ts'
import { bytesOf, plantObject, readDump } from '../support/forge.ts'
import { type TestInstallation, testDatabase, testInstallation } from '../support/installation.ts'

/*
 * Random corruptions of real backups, each of which `verify` must notice: 150 of them here, as many as
 * PGPROOF_CORRUPTIONS says for the table in docs/verification.md. PGPROOF_CORRUPTION_SEED repeats one run.
 */

const corruptions = Number(process.env['PGPROOF_CORRUPTIONS'] ?? 150)
const firstSeed = Number(process.env['PGPROOF_CORRUPTION_SEED'] ?? 1)
const never = new AbortController().signal

let source: Awaited<ReturnType<typeof testDatabase>>
let test: TestInstallation
let original: Map<string, Buffer>
/** The folders of two database backups and two of roles, the older ones first. */
let folders: { readonly database: readonly [string, string]; readonly roles: readonly [string, string] }
let compressed: Buffer

beforeAll(async () => {
  source = await testDatabase()
  const signer = await generateKeyPair({ name: 'signer', kind: 'ecc', use: 'signing', now: new Date() })
  const keys = await testInstallation()
  writeFileSync(join(keys.folder, 'signer.key.asc'), signer.privateKey, { mode: 0o600 })
  writeFileSync(join(keys.folder, 'signer.pub.asc'), signer.publicKey)
  test = await testInstallation({
    PGPROOF_ENCRYPTION__SIGNING_KEY_FILE: join(keys.folder, 'signer.key.asc'),
    PGPROOF_ENCRYPTION__TRUSTED_SIGNERS: join(keys.folder, 'signer.pub.asc'),
  })
  const labels = []
  for (const job of ['backup', 'backup', 'roles', 'roles'] as const)
    labels.push((await test.run(job, job === 'backup' ? source.name : null)).label ?? '')
  const [first, second, third, fourth] = labels
  folders = {
    database: [`backups/main/${source.name}/${first}/`, `backups/main/${source.name}/${second}/`],
    roles: [`roles/main/${third}/`, `roles/main/${fourth}/`],
  }
  compressed = zstdCompressSync(await readDump(test, folders.database[1]))
  original = new Map([...test.store.objects].map(([key, { body }]) => [key, Buffer.from(body)]))
  return async () => {
    await keys[Symbol.asyncDispose]()
    await test[Symbol.asyncDispose]()
  }
}, 120_000)
afterAll(() => source[Symbol.asyncDispose]())

/** A small generator with a seed (mulberry32), so that what went unnoticed can be repeated. */
function generator(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * below)
  }
}

const places = ['head', 'tail', 'anywhere'] as const
const harms = ['flip a bit', 'zero a run', 'swap two runs', 'cut', 'extend', 'repeat a run', 'drop a run'] as const

/** The bytes after one random harm; never the same bytes. */
function harmed(
  body: Buffer,
  other: Buffer | undefined,
  pick: (below: number) => number,
): { how: string; bytes: Buffer } {
  if (other !== undefined && pick(harms.length + 1) === 0) return { how: 'that of another backup', bytes: other }
  const harm = harms[pick(harms.length)] as (typeof harms)[number]
  const place = places[pick(places.length)] as (typeof places)[number]
  const length = Math.min(body.length, 1 + pick(64))
  const last = Math.max(1, body.length - length)
  const at =
    place === 'head' ? pick(Math.min(last, 40)) : place === 'tail' ? last - 1 - pick(Math.min(last, 40)) : pick(last)
  const copy = Buffer.from(body)
  const run = Buffer.from(body.subarray(at, at + length))
  const bytes = ((): Buffer => {
    switch (harm) {
      case 'flip a bit':
        copy[at] = (copy[at] as number) ^ (1 << pick(8))
        return copy
      case 'zero a run':
        return copy.fill(0, at, at + length)
      case 'swap two runs': {
        const to = pick(last)
        copy.copyWithin(at, to, to + length)
        run.copy(copy, to)
        return copy
      }
      case 'cut':
        return copy.subarray(0, at)
      case 'extend':
        return Buffer.concat([copy, Buffer.from(Array.from({ length }, () => 33 + pick(90)))])
      case 'repeat a run':
        return Buffer.concat([copy.subarray(0, at), run, copy.subarray(at)])
      case 'drop a run':
        return Buffer.concat([copy.subarray(0, at), copy.subarray(at + length)])
    }
  })()
  return { how: `${harm}, ${place} (${length} bytes at ${at} of ${body.length})`, bytes }
}

function restore(): void {
  for (const key of test.store.objects.keys()) if (!original.has(key)) test.store.objects.delete(key)
  for (const [key, body] of original) test.store.objects.set(key, { body: Buffer.from(body), modifiedAt: new Date() })
}

/** What the store says of the harmed backup, as a person who runs `verify` afterwards would hear it. */
async function noticed(folder: string, isSigned = true): Promise<string | null> {
  const { installation } = test
  await installation.catalog.refresh(installation.stores, never)
  const label = folder.split('/').at(-2) ?? ''
  const backup: CatalogBackup | undefined = installation.catalog.find(label)
  if (backup === undefined) {
    const damage = installation.catalog.damageOf(label)
    return damage === undefined ? null : `damaged: ${damage.code}`
  }
  if (backup.faults.length > 0) return 'faults'
  const keys = await readDrillKeys(installation, 'a test')
  // Whoever makes the digests fit stops at the signature; without one it is for the rungs above to notice.
  const trust = isSigned ? {} : { trustedSigners: null }
  const request = { ...keys, ...trust, spoolRoot: join(test.folder, 'spool'), binDirs: [] }
  const { verdict, checks, error } = await runVerify(backup, request, installation, never)
  expect(test.spoolLeft()).toEqual([])
  if (verdict === 'passed') return null
  // A fault of the program is no notice.
  expect(error?.code).not.toBe('INTERNAL')
  return `${checks.find(({ result }) => result === 'failed' || result === 'inconclusive')?.name}: ${error?.code}`
}

/** A harm at random: to an object, to one whose digests are made to fit, or below the encryption. */
async function corrupt(seed: number): Promise<{ what: string; folder: string; isFitted: boolean } | null> {
  const pick = generator(seed)
  const kind = pick(5) === 0 ? 'roles' : 'database'
  const depth = pick(4)
  const [older, newest] = folders[kind]
  // Of the newest no successor tells that it was exchanged.
  const [folder, otherFolder] = depth >= 2 ? [newest, older] : [older, newest]
  if (depth === 3 && kind === 'database') {
    const { how, bytes } = harmed(compressed, undefined, pick)
    if (bytes.equals(compressed)) return null
    const recipients = await readRecipients([join(test.folder, 'backup.pub.asc')], new Date())
    plantObject(test, folder, 'dump', await encryptBytes(bytes, recipients, new Date()))
    return { what: `below the encryption of the dump, digests made to fit: ${how}`, folder, isFitted: true }
  }
  const names = [...original.keys()].filter((key) => key.startsWith(folder)).map((key) => key.slice(folder.length))
  const name = names[pick(names.length)] as string
  const body = bytesOf(test, `${folder}${name}`)
  const { how, bytes } = harmed(body, original.get(`${otherFolder}${name}`), pick)
  if (bytes.equals(body)) return null
  const part =
    name.startsWith('dump') || name.startsWith('roles') ? 'dump' : name.startsWith('evidence') ? 'evidence' : 'recovery'
  if (depth === 2 && !name.startsWith('manifest')) {
    plantObject(test, folder, part, bytes)
    return { what: `${kind} ${name}, digests made to fit: ${how}`, folder, isFitted: true }
  }
  const stored = test.store.objects.get(`${folder}${name}`)
  if (stored !== undefined) stored.body = Buffer.from(bytes)
  return { what: `${kind} ${name}: ${how}`, folder, isFitted: false }
}

describe(`${corruptions} random corruptions`, () => {
  it('before any - every backup passes', async () => {
    restore()
    for (const folder of [...folders.database, ...folders.roles]) expect(await noticed(folder)).toBeNull()
  })

  it(
    'each - is noticed',
    async () => {
      const unnoticed: string[] = []
      const tally = new Map<string, number>()
      for (let seed = firstSeed; seed < firstSeed + corruptions; seed += 1) {
        restore()
        const harm = await corrupt(seed)
        if (harm === null) continue
        const notice = await noticed(harm.folder, !harm.isFitted)
        if (notice === null) unnoticed.push(`seed ${seed}: ${harm.what}`)
        else tally.set(notice, (tally.get(notice) ?? 0) + 1)
      }
      if (process.env['PGPROOF_CORRUPTIONS'] !== undefined)
        process.stdout.write(`${[...tally].map(([notice, count]) => `${count} ${notice}`).join('\n')}\n`)
      expect(unnoticed).toEqual([])
    },
    corruptions * 4000,
  )
})
