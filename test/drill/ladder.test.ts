import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { rungs } from '../../src/domain/checklist.ts'
import type { CheckResult } from '../../src/domain/drill-report.ts'
import type { Manifest } from '../../src/domain/manifest.ts'
import { encryptBytes } from '../../src/encryption/encrypt.ts'
import { generateKeyPair } from '../../src/encryption/generate.ts'
import { readRecipients } from '../../src/encryption/keys.ts'
import type { Finished } from '../../src/jobs/execute.ts'
import { readDrillKeys } from '../../src/jobs/installation.ts'
import { runVerify, type VerifyResult } from '../../src/jobs/verify.ts'
import { measureBytes } from '../../src/streams/measure.ts'
import {
  fitEvidence,
  forgeDump,
  readManifest,
  replaceDump,
  replaceObject,
  rewriteEvidence,
  rewriteManifest,
} from '../support/forge.ts'
import { type TestInstallation, testDatabase, testInstallation } from '../support/installation.ts'
import { query } from '../support/postgres-server.ts'
import { storeSetOf } from '../support/store-sets.ts'

type Source = Awaited<ReturnType<typeof testDatabase>>
type Harm = (test: TestInstallation, folder: string) => void | Promise<void>

let source: Source
beforeAll(async () => {
  source = await testDatabase()
})
afterAll(async () => {
  await source[Symbol.asyncDispose]()
})

const never = new AbortController().signal

function folderOf({ label }: Finished): string {
  return `backups/main/${source.name}/${label}/`
}

async function verify(test: TestInstallation, label: string): Promise<VerifyResult> {
  const { installation, folder } = test
  const backup = installation.catalog.find(label)
  if (backup === undefined) throw new Error(`no backup ${label}`)
  const keys = await readDrillKeys(installation, 'a test')
  return await runVerify(backup, { ...keys, spoolRoot: join(folder, 'spool'), binDirs: [] }, installation, never)
}

/** The one check that did not pass. Everything below it has passed, everything above was not reached. */
function brokenRung(checks: readonly CheckResult[], order: readonly string[]): CheckResult | null {
  const broken = checks.filter(({ result }) => result === 'failed' || result === 'inconclusive')
  const [only] = broken
  expect(broken.length).toBeLessThan(2)
  if (only === undefined) return null
  expect(checks.map(({ name }) => name)).toEqual(order)
  const at = order.indexOf(only.name)
  for (const { name, result } of checks) {
    // Started beside the fetch, and no signers are configured.
    if (name === 'scratch server' || name === 'signature' || name === only.name) continue
    expect({ name, result }).toEqual({ name, result: order.indexOf(name) < at ? 'passed' : 'skipped' })
  }
  return only
}

/** Where a drill ends and why, if the store is harmed after the catalog was read. */
async function drillHarmed(harm: Harm, settings: Record<string, string> = {}): Promise<Record<string, unknown>> {
  await using test = await testInstallation(settings)
  return await drillAfter(test, harm)
}

async function drillAfter(test: TestInstallation, harm: Harm): Promise<Record<string, unknown>> {
  await test.run('roles')
  const backup = await test.run('backup', source.name)
  test.store.before = async (operation, key) => {
    if (operation !== 'get' || key !== `${folderOf(backup)}manifest.json`) return
    if (test.installation.catalog.runs()[0]?.job !== 'drill') return
    test.store.before = () => {}
    await harm(test, folderOf(backup))
  }
  const { drill, error } = await test.run('drill', source.name, { backup: backup.label ?? '' })
  expect(test.spoolLeft()).toEqual([])
  const rung = brokenRung(drill?.report.checks ?? [], rungs)
  const { verdict, reason } = drill?.report ?? {}
  return { verdict, rung: rung?.name, code: reason?.code, message: error?.message, details: error?.details }
}

const dumpOf = (folder: string): string => `${folder}dump.zst.pgp`
const evidenceOf = (folder: string): string => `${folder}evidence.json.pgp`

describe('manifest, signature, history', () => {
  it('a manifest that is no JSON - fails at manifest', async () => {
    const outcome = await drillHarmed((test, folder) => test.store.truncate(`${folder}manifest.json`, 40))
    expect(outcome).toMatchObject({ verdict: 'failed', rung: 'manifest', code: 'STORE_FORMAT_INVALID' })
  })

  it('a manifest that its signer has not signed - fails at signature', async () => {
    await using keys = await testInstallation()
    const signer = await generateKeyPair({ name: 'signer', kind: 'ecc', use: 'signing', now: new Date() })
    writeFileSync(join(keys.folder, 'signer.key.asc'), signer.privateKey, { mode: 0o600 })
    writeFileSync(join(keys.folder, 'signer.pub.asc'), signer.publicKey)
    const outcome = await drillHarmed(
      (test, folder) =>
        rewriteManifest(test, folder, (manifest) => ({ ...manifest, finishedAt: new Date().toISOString() })),
      {
        PGPROOF_ENCRYPTION__SIGNING_KEY_FILE: join(keys.folder, 'signer.key.asc'),
        PGPROOF_ENCRYPTION__TRUSTED_SIGNERS: join(keys.folder, 'signer.pub.asc'),
      },
    )
    expect(outcome).toMatchObject({ verdict: 'failed', rung: 'signature', code: 'SIGNATURE_INVALID' })
  })

  it('a backup that was exchanged after the next one was made - fails at history, named by its successor', async () => {
    await using test = await testInstallation()
    const first = await test.run('backup', source.name)
    const second = await test.run('backup', source.name)
    rewriteManifest(test, folderOf(first), (manifest) => ({ ...manifest, finishedAt: new Date().toISOString() }))
    const { drill, error } = await test.run('drill', source.name, { backup: first.label ?? '' })
    expect(brokenRung(drill?.report.checks ?? [], rungs)?.name).toBe('history')
    expect(drill?.report).toMatchObject({ verdict: 'failed', reason: { code: 'HISTORY_BROKEN' } })
    expect(error?.message).toContain(`backup ${second.label} followed upon another one of that label`)
    expect((await verify(test, second.label ?? '')).verdict).toBe('passed')
  })

  it('its predecessor gone - not the fault of this backup, but said', async () => {
    await using test = await testInstallation()
    const first = await test.run('backup', source.name)
    const second = await test.run('backup', source.name)
    for (const key of test.store.keys()) if (key.startsWith(folderOf(first))) test.store.objects.delete(key)
    await test.installation.catalog.refresh(storeSetOf(test.store), never)
    const { verdict, checks } = await verify(test, second.label ?? '')
    expect(verdict).toBe('passed')
    const detail = `no backup has followed it yet; its predecessor ${first.label} is no longer in the store`
    expect(checks).toContainEqual({ name: 'history', result: 'passed', detail })
  })
})

describe('objects', () => {
  it.each<[string, Harm, string, string]>([
    ['the dump is gone', (test, folder) => void test.store.objects.delete(dumpOf(folder)), 'STORE_NOT_FOUND', 'dump'],
    ['the dump is cut short', (test, folder) => test.store.truncate(dumpOf(folder), 9000), 'OBJECT_MISMATCH', 'bytes'],
    [
      'the evidence has a byte more',
      (test, folder) => {
        const { body } = test.store.objects.get(evidenceOf(folder)) ?? { body: Buffer.alloc(0) }
        replaceObject(test, evidenceOf(folder), Buffer.concat([body, Buffer.alloc(1)]))
      },
      'OBJECT_MISMATCH',
      'evidence',
    ],
    [
      'RECOVERY.md is gone',
      (test, folder) => void test.store.objects.delete(`${folder}RECOVERY.md`),
      'STORE_NOT_FOUND',
      'RECOVERY.md',
    ],
  ])('%s - fails at objects', async (_, harm, code, named) => {
    const outcome = await drillHarmed(harm)
    expect(outcome).toMatchObject({ verdict: 'failed', rung: 'objects', code, message: expect.stringContaining(named) })
  })

  it('a signature that the manifest speaks of is gone - fails at objects, also where nobody demands it', async () => {
    await using keys = await testInstallation()
    const signer = await generateKeyPair({ name: 'signer', kind: 'ecc', use: 'signing', now: new Date() })
    writeFileSync(join(keys.folder, 'signer.key.asc'), signer.privateKey, { mode: 0o600 })
    const outcome = await drillHarmed((test, folder) => void test.store.objects.delete(`${folder}manifest.json.sig`), {
      PGPROOF_ENCRYPTION__SIGNING_KEY_FILE: join(keys.folder, 'signer.key.asc'),
    })
    expect(outcome).toMatchObject({ verdict: 'failed', rung: 'objects', code: 'STORE_NOT_FOUND' })
  })
})

describe('evidence', () => {
  it('one bit flipped - fails at evidence', async () => {
    const outcome = await drillHarmed((test, folder) => test.store.damage(evidenceOf(folder), 300))
    expect(outcome).toMatchObject({ verdict: 'failed', rung: 'evidence', code: 'OBJECT_MISMATCH' })
  })

  it('another dump, the manifest made to fit by who has bucket and public key - fails at evidence', async () => {
    await using copy = await testDatabase()
    await query(copy.url, 'DELETE FROM shop.note')
    const outcome = await drillHarmed((test, folder) => forgeDump(test, folder, copy.url))
    expect(outcome).toMatchObject({
      verdict: 'failed',
      rung: 'evidence',
      code: 'STORE_FORMAT_INVALID',
      message: expect.stringMatching(
        /manifest\.json .+: its dump\.(bytes|sha256) is not what the evidence says it was$/,
      ),
    })
  })

  it('evidence of another backup in its place, the manifest fitting - fails at evidence', async () => {
    await using test = await testInstallation()
    const other = folderOf(await test.run('backup', source.name))
    const outcome = await drillAfter(test, (_, folder) => {
      replaceObject(test, evidenceOf(folder), test.store.objects.get(evidenceOf(other))?.body ?? Buffer.alloc(0))
      const { evidence } = readManifest(test, other).objects
      rewriteManifest(test, folder, (manifest) => ({ ...manifest, objects: { ...manifest.objects, evidence } }))
    })
    const message = expect.stringContaining('it is the evidence of another backup')
    expect(outcome).toMatchObject({ verdict: 'failed', rung: 'evidence', code: 'STORE_FORMAT_INVALID', message })
  })

  const later = new Date(Date.now() + 1000).toISOString()
  it.each<[string, (manifest: Manifest) => Manifest]>([
    ['storeId', (manifest) => ({ ...manifest, storeId: 'other' })],
    ['pgproofVersion', (manifest) => ({ ...manifest, pgproofVersion: '9.9.9' })],
    ['startedAt', (manifest) => ({ ...manifest, startedAt: later })],
    ['snapshotTime', (manifest) => ({ ...manifest, snapshotTime: later })],
    ['source.databaseBytes', (manifest) => ({ ...manifest, source: { ...manifest.source, databaseBytes: 1 } })],
    ['program.version', (manifest) => ({ ...manifest, program: { ...manifest.program, version: '1' } })],
    ['dump.compression', (manifest) => ({ ...manifest, dump: { ...manifest.dump, compression: 'none' } })],
    ['previous', (manifest) => ({ ...manifest, previous: { label: manifest.label, sha256: '0'.repeat(64) } })],
    ['rolePasswords', (manifest) => ({ ...manifest, rolePasswords: 'absent' })],
    ['omissions', (manifest) => ({ ...manifest, omissions: [{ kind: 'tablespace', objects: 1 }] })],
    [
      'objects.dump.sha256',
      ({ objects, ...rest }) => ({
        ...rest,
        objects: { ...objects, dump: { ...objects.dump, sha256: '0'.repeat(64) } },
      }),
    ],
    [
      'encryption.recipients',
      ({ encryption, ...rest }) => ({ ...rest, encryption: { ...encryption, recipients: ['0'.repeat(40)] } }),
    ],
    ['evidence.rows', (manifest) => ({ ...manifest, evidence: { ...manifest.evidence, rows: 0 } })],
  ])('%s of an unsigned manifest edited by hand - fails at evidence, the field named', async (field, change) => {
    await using test = await testInstallation()
    const backup = await test.run('backup', source.name)
    rewriteManifest(test, folderOf(backup), change)
    const { checks, error } = await verify(test, backup.label ?? '')
    expect(checks.find(({ result }) => result === 'failed')?.name).toBe('evidence')
    expect(error).toMatchObject({ code: 'STORE_FORMAT_INVALID', message: expect.stringContaining(` its ${field} `) })
  })

  it('for another key - inconclusive: the drill has the wrong private key', async () => {
    const other = await generateKeyPair({ name: 'other', kind: 'ecc', use: 'backup', now: new Date() })
    await using test = await testInstallation()
    const backup = await test.run('backup', source.name)
    writeFileSync(join(test.folder, 'backup.key.asc'), other.privateKey, { mode: 0o600 })
    const { verdict, error } = await verify(test, backup.label ?? '')
    expect({ verdict, code: error?.code }).toEqual({ verdict: 'inconclusive', code: 'KEY_NO_MATCH' })
  })

  it('for a key that the manifest does not name - fails: whose key it names cannot open it', async () => {
    const stranger = await generateKeyPair({ name: 'stranger', kind: 'ecc', use: 'backup', now: new Date() })
    await using test = await testInstallation()
    const backup = await test.run('backup', source.name)
    const folder = folderOf(backup)
    writeFileSync(join(test.folder, 'stranger.pub.asc'), stranger.publicKey)
    const recipients = await readRecipients([join(test.folder, 'stranger.pub.asc')], new Date())
    const encrypted = await encryptBytes(Buffer.from('{}'), recipients, new Date())
    replaceObject(test, evidenceOf(folder), encrypted)
    rewriteManifest(test, folder, (manifest) => ({
      ...manifest,
      objects: { ...manifest.objects, evidence: { name: 'evidence.json.pgp', ...measureBytes(encrypted) } },
    }))
    const { verdict, checks, error } = await verify(test, backup.label ?? '')
    expect({ verdict, code: error?.code }).toEqual({ verdict: 'failed', code: 'RECIPIENT_MISSING' })
    expect(checks.find(({ result }) => result === 'failed')?.name).toBe('evidence')
  })
})

describe('recipients', () => {
  /** A second key in the folder of another installation, and the setting that makes it a recipient. */
  async function escrowIn({
    folder,
  }: TestInstallation): Promise<{ fingerprint: string; settings: Record<string, string> }> {
    const path = join(folder, 'escrow.pub.asc')
    const escrow = await generateKeyPair({ name: 'escrow', kind: 'ecc', use: 'backup', now: new Date() })
    writeFileSync(path, escrow.publicKey)
    const { fingerprints } = await readRecipients([path], new Date())
    const settings = { PGPROOF_ENCRYPTION__RECIPIENTS: `backup.pub.asc,${path}` }
    return { fingerprint: fingerprints[0] ?? '', settings }
  }

  it.each<[string, Harm]>([
    // `forge` encrypts to the first key alone.
    ['evidence', (test, folder) => rewriteEvidence(test, folder, (evidence) => evidence)],
    ['dump', (test, folder) => forgeDump(test, folder, source.url, { fitEvidence: true })],
  ])('%s not encrypted to one whom the manifest names - fails at recipients, both named', async (object, harm) => {
    await using keys = await testInstallation()
    const { fingerprint, settings } = await escrowIn(keys)
    const outcome = await drillHarmed(harm, settings)
    expect(outcome).toMatchObject({
      verdict: 'failed',
      rung: 'recipients',
      code: 'RECIPIENT_MISSING',
      message: expect.stringMatching(`${object}\\S+ is not encrypted to ${fingerprint}`),
    })
  })

  it('one whose public key is configured no longer - passed, and said that it could not be checked', async () => {
    await using keys = await testInstallation()
    const { fingerprint, settings } = await escrowIn(keys)
    await using test = await testInstallation(settings)
    const backup = await test.run('backup', source.name)
    await using later = await testInstallation({}, { store: test.store })
    await later.installation.catalog.refresh(storeSetOf(later.store), never)
    const { verdict, checks } = await verify(later, backup.label ?? '')
    expect(verdict).toBe('passed')
    const detail = checks.find(({ name }) => name === 'recipients')?.detail
    expect(detail).toMatch(
      new RegExp(`^1 of 2 keys found in dump and evidence; could not be checked, .+: ${fingerprint}$`),
    )
  })
})

describe('SHA-256 and decryption', () => {
  const body = (test: TestInstallation, folder: string): Buffer =>
    test.store.objects.get(dumpOf(folder))?.body ?? Buffer.alloc(0)

  it.each<[string, (bytes: Buffer) => Buffer]>([
    ['one bit flipped', (bytes) => flipped(bytes, 5000)],
    ['its head damaged', (bytes) => flipped(bytes, 0)],
    ['its last bit flipped', (bytes) => flipped(bytes, bytes.length - 1)],
    ['cut short', (bytes) => bytes.subarray(0, 9000)],
    ['nothing left', () => Buffer.alloc(0)],
    ['a byte more at its end', (bytes) => Buffer.concat([bytes, Buffer.alloc(1)])],
  ])('the dump after its head was read: %s - fails at SHA-256', async (_, change) => {
    const outcome = await drillHarmed((test, folder) => {
      let reads = 0
      test.store.before = (operation, key) => {
        if (operation !== 'read' || key !== dumpOf(folder)) return
        reads += 1
        // The first is for the recipients; a third, for the hash alone, is to see the same.
        if (reads === 2) replaceObject(test, key, change(Buffer.from(body(test, folder))))
      }
    })
    expect(outcome).toMatchObject({ verdict: 'failed', rung: 'SHA-256', code: 'OBJECT_MISMATCH' })
  })

  /** Puts another object in the place of the dump and makes manifest and evidence fit, as only the owner can. */
  const planted = async (test: TestInstallation, folder: string, bytes: Buffer): Promise<void> => {
    replaceObject(test, dumpOf(folder), bytes)
    rewriteManifest(test, folder, (manifest) => ({
      ...manifest,
      objects: { ...manifest.objects, dump: { name: 'dump.zst.pgp', ...measureBytes(bytes) } },
    }))
    await fitEvidence(test, folder)
  }

  it.each<[string, Harm, string, string]>([
    [
      'a message without its end',
      (test, folder) => planted(test, folder, body(test, folder).subarray(0, 9000)),
      'DECRYPTION_FAILED',
      'cut short',
    ],
    [
      'a message that was changed',
      (test, folder) => planted(test, folder, flipped(body(test, folder), 5000)),
      'DECRYPTION_FAILED',
      'cannot decrypt',
    ],
    [
      'a message with compressed content that is none',
      async (test, folder) => {
        await replaceDump(test, folder, Buffer.from('dump'), Buffer.from('no zstd'))
        await fitEvidence(test, folder)
      },
      'DECRYPTION_FAILED',
      'compressed content is damaged',
    ],
    [
      'a whole message with another dump',
      async (test, folder) => {
        const { dump } = readManifest(test, folder)
        await forgeDump(test, folder, source.url, { args: ['--schema-only'] })
        rewriteManifest(test, folder, (manifest) => ({ ...manifest, dump }))
        await fitEvidence(test, folder)
      },
      'OBJECT_MISMATCH',
      'the SHA-256 of the dump inside',
    ],
  ])('%s, its SHA-256 fitting - fails at decryption', async (_, harm, code, message) => {
    const outcome = await drillHarmed(harm)
    expect(outcome).toMatchObject({
      verdict: 'failed',
      rung: 'decryption',
      code,
      message: expect.stringContaining(message),
    })
  })

  it('the object cannot be read a second time - inconclusive at SHA-256, not the fault of the backup', async () => {
    await using test = await testInstallation()
    const backup = await test.run('backup', source.name)
    let reads = 0
    test.store.before = (operation, key) => {
      if (operation === 'read' && key === dumpOf(folderOf(backup)) && ++reads > 1) throw new Error('cable pulled')
    }
    const { verdict, checks } = await verify(test, backup.label ?? '')
    expect(verdict).toBe('inconclusive')
    expect(checks.find(({ result }) => result === 'inconclusive')?.name).toBe('SHA-256')
  })
})

describe('table of contents, roles, restore, structure', () => {
  it.each([
    ['a table missing', 'DROP TABLE shop.sticky_note', [], 'not in the archive: TABLE DATA shop sticky_note'],
    ['a table too many', 'CREATE TABLE shop.planted (x int)', [], 'not in the evidence: TABLE DATA shop planted'],
    [
      'the rows of a table left out',
      'SELECT',
      ['--exclude-table-data=shop.note'],
      'not in the archive: TABLE DATA shop note',
    ],
  ])('%s - fails at table of contents, named in the details only', async (_, sql, args, named) => {
    await using copy = await testDatabase()
    await query(copy.url, sql)
    const outcome = await drillHarmed((test, folder) => forgeDump(test, folder, copy.url, { fitEvidence: true, args }))
    expect(outcome).toMatchObject({
      verdict: 'failed',
      rung: 'table of contents',
      code: 'VERIFY_FAILED',
      message: expect.not.stringContaining('shop'),
      details: expect.stringContaining(named),
    })
  })

  it('the roles backup is damaged - fails at roles', async () => {
    const outcome = await drillHarmed((test) => {
      const key = test.store.keys().find((one) => one.endsWith('roles.sql.pgp')) ?? ''
      test.store.damage(key, 200)
    })
    expect(outcome).toMatchObject({ verdict: 'failed', rung: 'roles', code: 'OBJECT_MISMATCH' })
  })

  it('a constraint that its rows break elsewhere - fails at restore', async () => {
    await using copy = await testDatabase()
    await query(
      copy.url,
      `CREATE FUNCTION shop.here() RETURNS name LANGUAGE sql AS 'SELECT current_database()';
       ALTER TABLE shop.note ADD CHECK (shop.here() = '${copy.name}')`,
    )
    const outcome = await drillHarmed((test, folder) => forgeDump(test, folder, copy.url, { fitEvidence: true }))
    expect(outcome).toMatchObject({ verdict: 'failed', rung: 'restore', code: 'RESTORE_FAILED' })
  })

  it('a default that differs - fails at structure alone', async () => {
    await using copy = await testDatabase()
    await query(copy.url, "ALTER TABLE shop.note ALTER body SET DEFAULT 'planted'")
    await using test = await testInstallation()
    await test.run('roles')
    const backup = await test.run('backup', source.name)
    await forgeDump(test, folderOf(backup), copy.url, { fitEvidence: true })
    const { drill, error } = await test.run('drill', source.name)
    const broken = drill?.report.checks.filter(({ result }) => result === 'failed').map(({ name }) => name)
    expect({ broken, code: error?.code }).toEqual({ broken: ['structure'], code: 'EVIDENCE_MISMATCH' })
  })
})

describe('verify', () => {
  const passed = (checks: readonly CheckResult[]): string[] =>
    checks.filter(({ result }) => result === 'passed').map(({ name }) => name)

  it('good backups - every rung that needs no server, in order', async () => {
    await using test = await testInstallation()
    const roles = await test.run('roles')
    const backup = await test.run('backup', source.name)
    const stored = [
      'manifest',
      'history',
      'objects',
      'evidence',
      'recipients',
      'recovery guide',
      'SHA-256',
      'decryption',
    ]
    expect(passed((await verify(test, roles.label ?? '')).checks)).toEqual(stored)
    const { checks } = await verify(test, backup.label ?? '')
    expect(passed(checks)).toEqual([...stored, 'table of contents', 'archive'])
    expect(test.spoolLeft()).toEqual([])
  })

  it.each([
    ['RECOVERY.md', 'recovery guide'],
    ['evidence.json.pgp', 'evidence'],
    ['roles.sql.pgp', 'SHA-256'],
  ])('of a roles backup whose %s was changed - fails at %s', async (name, rung) => {
    await using test = await testInstallation()
    const { label } = await test.run('roles')
    test.store.damage(`roles/main/${label}/${name}`, 300)
    const { verdict, checks, error } = await verify(test, label ?? '')
    expect({ verdict, code: error?.code }).toEqual({ verdict: 'failed', code: 'OBJECT_MISMATCH' })
    expect(checks.find(({ result }) => result === 'failed')?.name).toBe(rung)
  })

  it('of a roles backup whose manifest was edited by hand - fails at evidence', async () => {
    await using test = await testInstallation()
    const { label } = await test.run('roles')
    rewriteManifest(test, `roles/main/${label}/`, (manifest) => ({ ...manifest, rolePasswords: 'absent' }))
    const { checks, error } = await verify(test, label ?? '')
    expect(error).toMatchObject({ code: 'STORE_FORMAT_INVALID', message: expect.stringContaining('rolePasswords') })
    expect(checks.find(({ result }) => result === 'failed')?.name).toBe('evidence')
  })
})

function flipped(bytes: Buffer, at: number): Buffer {
  const changed = Buffer.from(bytes)
  changed[at] = (changed[at] ?? 0) ^ 1
  return changed
}
