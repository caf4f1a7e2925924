import { spawnSync } from 'node:child_process'
import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { GetObjectCommand, ListObjectsV2Command, PutObjectCommand } from '@aws-sdk/client-s3'
import fc from 'fast-check'
import { afterEach, describe, expect, it } from 'vitest'
import { rebuildFromStore } from '../../src/catalog/rebuild.ts'
import { type Clock, systemClock } from '../../src/clock.ts'
import { encodeManifest } from '../../src/domain/manifest.ts'
import type { Installation } from '../../src/jobs/installation.ts'
import { runPrune } from '../../src/jobs/prune.ts'
import { silentLog } from '../../src/log.ts'
import { DirectoryStore } from '../../src/storage/directory.ts'
import { backupFolder, escapeName, unescapeName } from '../../src/storage/object-keys.ts'
import type { ObjectStore } from '../../src/storage/object-store.ts'
import { openStore } from '../../src/storage/open-store.ts'
import { labelAt, manifestAt, signal } from '../catalog/stored.ts'
import { testInstallation } from '../support/installation.ts'
import { MemoryStore } from '../support/memory-store.ts'
import { testClient } from '../support/s3-server.ts'
import { storeSetOf } from '../support/store-sets.ts'
import { makeTestBucket } from '../support/test-bucket.ts'

const now = new Date('2027-01-10T12:00:00Z')
const clock: Clock = { now: () => now, monotonicMs: () => 0, sleep: async () => {} }
const times = ['2026-12-01T02:00:00Z', '2026-12-02T02:00:00Z', '2027-01-10T02:00:00Z']
const [doomed = ''] = times.map((time) => labelAt(time))

/** Names of others, where a key may have them: none of them is one that pgproof makes. */
const strangers = [
  'photos/cat.jpg',
  'pgproof.json.bak',
  'README',
  `BACKUPS/main/app/${doomed}/manifest.json`,
  `Backups/main/app/${doomed}/dump.zst.pgp`,
  `backups/MAIN/app/${doomed}/dump.zst.pgp`,
  `backups/main/App/${doomed}/dump.zst.pgp`,
  `backups/main/with space/${doomed}/dump.zst.pgp`,
  `backups/main/%2e%2e/${doomed}/dump.zst.pgp`,
  `backups/main/..app/${doomed}/dump.zst.pgp`,
  `backups/main/emoji 😀/${doomed}/dump.zst.pgp`,
  `backups/main/größe/${doomed}/dump.zst.pgp`,
  `backups/main/=2f/${doomed}/dump.zst.pgp`,
  `backups/main/=61pp/${doomed}/dump.zst.pgp`,
  'backups/main/tab\there\nand more/x',
  `backups/main/app/${doomed.toLowerCase()}/dump.zst.pgp`,
  'backups/main/app/20261399T020000Z-4f7k/dump.zst.pgp',
  'backups/main/app/notes.txt',
  `backups/${'x'.repeat(200)}/y`,
  'backups/.snapshot/x',
  'roles/other tool/x.sql',
  'drills/readme.txt',
  'full-drills/main/summary.pdf',
  'prunes/list.csv',
]

type Planted = {
  readonly store: ObjectStore
  /** What is there that is not ours, as text that changes with it. */
  look(): Promise<Record<string, string>>
  close(): Promise<void>
}

/** Plants what `more` names, too: keys that only this kind of store can have. */
type Kind = (more: readonly string[]) => Promise<Planted>

const kinds: Record<string, { readonly make: Kind; readonly more: readonly string[] }> = {
  memory: {
    more: [],
    make: async (more) => {
      const store = new MemoryStore(clock)
      const all = [...strangers, ...more]
      for (const key of all) store.objects.set(key, { body: Buffer.from(`of ${key}`), modifiedAt: new Date(0) })
      return {
        store,
        look: async () =>
          Object.fromEntries(all.map((key) => [key, store.objects.get(key)?.body.toString() ?? 'gone'])),
        close: async () =>
          expect(store.calls.filter((call) => all.some((key) => call.endsWith(` ${key}`)))).toEqual([]),
      }
    },
  },
  directory: {
    more: [],
    make: async (more) => {
      const root = mkdtempSync(join(tmpdir(), 'pgproof-strangers-'))
      for (const key of [...strangers, ...more]) {
        mkdirSync(join(root, dirname(key)), { recursive: true })
        writeFileSync(join(root, key), `of ${key}`)
      }
      const end = plantOddFiles(root)
      return {
        store: new DirectoryStore(`file://${root}`, { clock: systemClock }),
        look: async () => lookAt(Buffer.from(root)),
        close: async () => {
          await end()
          rmSync(root, { recursive: true })
        },
      }
    },
  },
  'a bucket': {
    more: ['backups/', `backups/main/app/`, 'backups//double.json', `backups/main/./app/${doomed}/dump.zst.pgp`],
    make: async (more) => {
      const bucket = await makeTestBucket()
      const client = testClient(bucket.server)
      for (const key of [...strangers, ...more])
        await client.send(
          new PutObjectCommand({ Bucket: bucket.name, Key: `some/prefix/${key}`, Body: Buffer.from(`of ${key}`) }),
        )
      const store = await openStore(bucket.settings(), { clock: systemClock, log: silentLog })
      return {
        store,
        look: async () => {
          const listed = await client.send(new ListObjectsV2Command({ Bucket: bucket.name }))
          const seen: Record<string, string> = {}
          for (const { Key = '' } of listed.Contents ?? []) {
            const { Body } = await client.send(new GetObjectCommand({ Bucket: bucket.name, Key }))
            seen[Key.slice('some/prefix/'.length)] = (await Body?.transformToString()) ?? ''
          }
          return seen
        },
        close: async () => {
          client.destroy()
          await store.close()
          await bucket.remove()
        },
      }
    },
  },
}

/** What only a directory can hold, some of it in the very places of ours; returns what ends it. */
function plantOddFiles(root: string): () => Promise<void> {
  mkdirSync(join(root, 'backups/main/app', labelAt('2026-12-03T02:00:00Z'), 'manifest.json'), { recursive: true })
  writeFileSync(
    Buffer.concat([Buffer.from(`${root}/backups/main/`), Buffer.from([0xff, 0xfe, 0x2f]).subarray(0, 2)]),
    'x',
  )
  mkdirSync(Buffer.concat([Buffer.from(`${root}/backups/main/app`), Buffer.from([0xe9])]))
  symlinkSync('/etc', join(root, 'backups/main/linked'))
  symlinkSync('..', join(root, 'backups/main/loop'))
  symlinkSync('nowhere', join(root, 'backups/main/dangling'))
  expect(spawnSync('mkfifo', [join(root, 'drills/report.json')]).status).toBe(0)
  const server = createServer().listen(join(root, 'roles/socket'))
  return () => new Promise((done) => server.close(() => done()))
}

/** Every name below, as bytes, with what it is. */
function lookAt(folder: Buffer, seen: Record<string, string> = {}): Record<string, string> {
  for (const name of readdirSync(folder, { encoding: 'buffer' })) {
    const path = Buffer.concat([folder, Buffer.from('/'), name])
    const stat = lstatSync(path)
    seen[path.toString('latin1')] = stat.isFile() ? readFileSync(path, 'latin1') : String(stat.mode & 0o170000)
    if (stat.isDirectory()) lookAt(path, seen)
  }
  return seen
}

let planted: Planted | undefined
afterEach(async () => {
  await planted?.close()
  planted = undefined
})

async function storeBackups(store: ObjectStore): Promise<void> {
  for (const time of times) {
    const manifest = manifestAt(time)
    const folder = backupFolder(manifest)
    for (const object of Object.values(manifest.objects))
      if (object !== null) await store.put(`${folder}${object.name}`, Buffer.alloc(object.bytes), { signal })
    await store.put(`${folder}manifest.json`, encodeManifest(manifest), { signal })
  }
}

describe.each(Object.entries(kinds))('things of others in %s', (_name, { make, more }) => {
  it('are neither backups nor orphans nor damage, and do not keep the store from being read completely', async () => {
    planted = await make(more)
    await storeBackups(planted.store)
    const contents = await rebuildFromStore(planted.store, new Map(), null, signal)
    expect([...contents.backups.values()].map(({ manifest }) => manifest.label)).toEqual(
      times.map((time) => labelAt(time)),
    )
    expect([...contents.damaged.keys()]).toEqual([])
    expect([...contents.orphans.keys()]).toEqual([])
    expect(contents.isComplete).toBe(true)
  })

  it('are as they were after a prune that removes what is beside them', async () => {
    planted = await make(more)
    const before = await planted.look()
    await storeBackups(planted.store)
    await using test = await testInstallation(
      { PGPROOF_SERVERS__0__RETENTION__LAST: '1', PGPROOF_PRUNE__LARGEST_SHARE: '100%' },
      { clock },
    )
    const stores = storeSetOf(planted.store, clock)
    const installation: Installation = { ...test.installation, store: stores.reading(), stores }
    const { removed } = await runPrune({ isDryRun: false, isForced: true }, installation, signal)
    expect(removed.flatMap(({ backups }) => backups)).toEqual(expect.arrayContaining([doomed]))
    expect(await planted.look()).toMatchObject(before)
  })
})

describe('names of servers and databases as part of a key', () => {
  const name = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 30 }),
    fc.string({
      unit: fc.constantFrom('a', 'A', 'ä', 'Ä', '/', '.', '=', '%', ' ', '\\', '4', '1', 'ſ', 'K', '😀'),
      maxLength: 6,
    }),
  )

  it('any two names - apart even where case is folded or Unicode is normalised; none leaves its place', () => {
    fc.assert(
      fc.property(name, name, (one, other) => {
        const [a, b] = [escapeName(one), escapeName(other)]
        fc.pre(Buffer.from(one).compare(Buffer.from(other)) !== 0)
        expect(a.toLowerCase().normalize('NFKC')).not.toBe(b.toLowerCase().normalize('NFKC'))
        expect(a).toMatch(/^[a-z0-9_=A-F-]+$/)
        expect(unescapeName(a)).toBe(Buffer.from(one).toString())
      }),
      { numRuns: 20_000 },
    )
  })

  it('the longest name that PostgreSQL has - fits into a file name', () => {
    expect(escapeName(`${'😀'.repeat(15)}ABC`).length).toBeLessThanOrEqual(255)
  })
})
