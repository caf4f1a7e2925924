import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { decodeDrillReport } from '../../src/domain/drill-report.ts'
import { decodeManifest } from '../../src/domain/manifest.ts'
import { runSync } from '../../src/jobs/sync.ts'
import { DirectoryStore } from '../../src/storage/directory.ts'
import { testDatabase, testInstallation, testUrl } from '../support/installation.ts'
import type { MemoryOperation, MemoryStore } from '../support/memory-store.ts'
import { restoreTo, targetName } from '../support/restoring.ts'
import { namedStore } from '../support/store-sets.ts'
import { bodies, caught, fail, heal, manifestsIn, type TwoStores, twoStores } from './two-stores.ts'

const { signal } = new AbortController()
let source: Awaited<ReturnType<typeof testDatabase>>
beforeAll(async () => {
  source = await testDatabase()
})
afterAll(async () => {
  await source[Symbol.asyncDispose]()
})

const sync = ({ installation }: TwoStores) => runSync({ isDryRun: false }, installation, signal)
const storesNamed = (store: MemoryStore): string[] => {
  const key = store.keys().find((one) => one.endsWith('/manifest.json')) ?? ''
  return decodeManifest(Buffer.from(store.text(key)), key).stores.map(({ name }) => name)
}
const without = (prefix: string, store: MemoryStore): string[] => store.calls.filter((call) => call.startsWith(prefix))

describe('a backup into two stores', () => {
  it('both there - the same objects with the same bytes in both, from one read of the database', async () => {
    await using test = await twoStores()
    const { backup } = await test.run('backup', source.name)
    await test.run('roles')
    expect(bodies(test.a).size).toBe(8)
    // Each encryption has a key of its own: the same bytes are the same stream.
    expect(bodies(test.b)).toEqual(bodies(test.a))
    expect(backup?.manifest.stores.map(({ name }) => name)).toEqual(['store', 'b'])
    expect(test.installation.catalog.find(backup?.manifest.label ?? '')?.copies.map(({ store }) => store)).toEqual([
      'store',
      'b',
    ])
    // Nothing that one store said was read to write the other one.
    expect([...without('read', test.a), ...without('read', test.b)]).toEqual([])
    expect(test.spoolLeft()).toEqual([])
  })

  it('a store in memory and a directory - the same bytes', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'two-stores-'))
    try {
      const directory = new DirectoryStore(pathToFileURL(folder).href, { clock: systemClock })
      await using test = await testInstallation({}, { others: [namedStore(directory, 'b')] })
      const { label } = await test.run('backup', source.name)
      const keys = test.store.keys().filter((key) => key.includes(String(label)))
      expect(keys).toHaveLength(4)
      for (const key of keys)
        expect(
          Buffer.from(await directory.get(key, { signal })).equals(
            test.store.objects.get(key)?.body ?? Buffer.alloc(0),
          ),
        ).toBe(true)
      const left = readdirSync(folder, { recursive: true }).map(String)
      expect(left.filter((name) => name.includes(String(label)) && !name.endsWith(String(label)))).toHaveLength(4)
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  it.each<[string, readonly MemoryOperation[] | undefined, RegExp]>([
    ['the dump is begun', ['write'], /dump/],
    ['the dump is completed', ['commit'], /dump/],
    ['the evidence is written', ['put'], /evidence/],
    ['RECOVERY.md is written', ['put'], /RECOVERY/],
    ['the manifest is written', ['put'], /manifest/],
  ])('the first store, required, fails when %s - its error, and neither has a backup', async (_, operations, key) => {
    await using test = await twoStores()
    fail(test.a, operations, key)
    expect(await caught(test.run('backup', source.name))).toMatchObject({ code: 'STORE_UNREACHABLE' })
    for (const store of [test.a, test.b]) expect([bodies(store).size, store.unfinished]).toEqual([0, []])
    expect(test.installation.catalog.backups()).toEqual([])
  })

  it.each<[string, readonly MemoryOperation[] | undefined, RegExp]>([
    ['begun', ['write'], /dump/],
    ['completed', ['commit'], /dump/],
  ])(
    'the second store, required, fails when the dump is %s - its error, and nothing is left in either',
    async (_, operations, key) => {
      await using test = await twoStores()
      fail(test.b, operations, key)
      expect(await caught(test.run('backup', source.name))).toMatchObject({ code: 'STORE_UNREACHABLE' })
      for (const store of [test.a, test.b]) expect([bodies(store).size, store.unfinished]).toEqual([0, []])
    },
  )

  it('the second store, required, fails at the manifest - an error; the first keeps a whole backup, and a sync copies it', async () => {
    await using test = await twoStores()
    fail(test.b, ['put'], /manifest\.json$/)
    expect(await caught(test.run('backup', source.name))).toMatchObject({ code: 'STORE_UNREACHABLE' })
    expect([manifestsIn(test.a).length, bodies(test.a).size, bodies(test.b).size]).toEqual([1, 4, 0])
    heal(test.b)
    const { copied } = await sync(test)
    expect(copied.map(({ store, labels }) => [store, labels.length])).toEqual([
      ['store', 0],
      ['b', 1],
    ])
    expect(bodies(test.b)).toEqual(bodies(test.a))
    await test.run('roles')
    expect((await test.run('drill', source.name, { from: 'b' })).drill?.report.verdict).toBe('passed')
  })

  it.each<[string, readonly MemoryOperation[], RegExp]>([
    ['the dump', ['write'], /dump/],
    ['the completing of the dump', ['commit'], /dump/],
    ['the evidence', ['put'], /evidence/],
  ])(
    'the second store is optional and fails at %s - succeeds without; a sync catches it up, the next finds nothing',
    async (_, operations, key) => {
      await using test = await twoStores({ isRequired: false })
      fail(test.b, operations, key)
      const { backup } = await test.run('backup', source.name)
      expect(backup?.manifest.stores.map(({ name }) => name)).toEqual(['store'])
      expect(storesNamed(test.a)).toEqual(['store'])
      expect(manifestsIn(test.b)).toEqual([])
      heal(test.b)
      expect((await sync(test)).copied[1]).toEqual({ store: 'b', labels: [backup?.manifest.label], reports: 0 })
      expect(bodies(test.b)).toEqual(bodies(test.a))
      test.b.calls.length = 0
      expect((await sync(test)).copied.map(({ labels }) => labels)).toEqual([[], []])
      expect([...without('put', test.b), ...without('write', test.b)]).toEqual([])
    },
  )

  it('the second store is optional and wholly down - backup, roles and prune succeed, and the chain stays whole', async () => {
    await using test = await twoStores({ isRequired: false })
    await test.run('backup', source.name)
    fail(test.b)
    const second = await test.run('backup', source.name)
    await test.run('roles')
    expect(second.pruneError).toBeNull()
    heal(test.b)
    const third = await test.run('backup', source.name)
    expect(third.backup?.manifest.previous?.label).toBe(second.label)
    expect(test.installation.catalog.historyGaps()).toEqual([])
    await sync(test)
    expect(bodies(test.b)).toEqual(bodies(test.a))
  })
})

describe('drills and restores of two copies', () => {
  const reportsIn = (store: MemoryStore) =>
    store
      .keys()
      .flatMap((key) =>
        /^drills\/[^.]*\.json$/.test(key) ? [decodeDrillReport(Buffer.from(store.text(key)), key)] : [],
      )
  const dumpKey = (store: MemoryStore): string => store.keys().find((key) => key.endsWith('dump.zst.pgp')) ?? ''

  it('drills - read from each store in turn, and both hold every report', async () => {
    await using test = await twoStores()
    await test.run('roles')
    await test.run('backup', source.name)
    const read: (string | undefined)[] = []
    for (let turn = 0; turn < 3; turn += 1) {
      for (const store of [test.a, test.b]) store.calls.length = 0
      const { drill } = await test.run('drill', source.name)
      expect(drill?.report.verdict).toBe('passed')
      const [own, other] = drill?.report.store === 'b' ? [test.b, test.a] : [test.a, test.b]
      expect(without(`read ${dumpKey(own)}`, own)).not.toEqual([])
      expect(without('read', other)).toEqual([])
      read.push(drill?.report.store)
    }
    expect(read).toEqual(['store', 'b', 'store'])
    expect(reportsIn(test.b)).toHaveLength(3)
    expect(bodies(test.b)).toEqual(bodies(test.a))
  })

  it('the second store is optional and away for a moment, when the tables are written - it gets the report with them, by a sync', async () => {
    await using test = await twoStores({ isRequired: false })
    await test.run('roles')
    await test.run('backup', source.name)
    fail(test.b, ['put'], /tables/)
    const { drill } = await test.run('drill', source.name)
    expect(drill).toMatchObject({ error: null, report: { verdict: 'passed' } })
    expect([reportsIn(test.a).length, reportsIn(test.b).length]).toEqual([1, 0])
    heal(test.b)
    expect((await sync(test)).copied[1]).toEqual({ store: 'b', labels: [], reports: 2 })
    expect(bodies(test.b)).toEqual(bodies(test.a))
    expect(test.installation.catalog.damaged()).toEqual([])
  })

  it('one copy damaged - its drill fails and the other one passes; the damaged copy does not become good by that', async () => {
    await using test = await twoStores()
    await test.run('roles')
    await test.run('backup', source.name)
    test.b.damage(dumpKey(test.b), 100)
    const results: unknown[] = []
    for (let turn = 0; turn < 3; turn += 1) {
      const { drill } = await test.run('drill', source.name)
      results.push([drill?.report.store, drill?.report.verdict, drill?.report.reason?.code])
    }
    expect(results).toEqual([
      ['store', 'passed', undefined],
      ['b', 'failed', 'OBJECT_MISMATCH'],
      ['store', 'passed', undefined],
    ])
    const standing = ['store', 'b'].map((name) => test.installation.catalog.inStore(name).backups()[0]?.lastVerdict)
    expect(standing).toEqual(['passed', 'failed'])
  })

  it('a store named - its copy is drilled, whosever turn it is', async () => {
    await using test = await twoStores()
    await test.run('backup', source.name)
    const { drill } = await test.run('drill', source.name, { from: 'b' })
    expect(drill?.report.store).toBe('b')
    expect(await caught(test.run('drill', source.name, { from: 'nowhere' }))).toMatchObject({ code: 'USAGE_INVALID' })
  })

  it.each<[string, (test: TwoStores) => void]>([
    ['lacks its dump', ({ a }) => void a.objects.delete(dumpKey(a))],
    ['has lost everything', ({ a }) => a.objects.clear()],
    ['hands out no dump', ({ a }) => fail(a, ['read', 'get', 'head'], /dump/)],
    ['holds a damaged dump', ({ a }) => a.damage(dumpKey(a), 100)],
  ])('the first store %s - a restore reads the second', async (_, spoil) => {
    await using test = await twoStores()
    await using target = targetName(testUrl())
    await test.run('backup', source.name)
    spoil(test)
    const { outcome, error } = await restoreTo(test, target.url, { verify: true })
    expect([outcome, error]).toEqual(['created', null])
  })

  it('the first store is down from the beginning - a restore reads the second', async () => {
    await using test = await twoStores({ isRequired: true })
    await using target = targetName(testUrl())
    await test.run('backup', source.name)
    fail(test.a)
    expect(await restoreTo(test, target.url, { verify: true })).toMatchObject({ outcome: 'created', error: null })
  })

  it('a store named, and only that one damaged - its error, never what another store has', async () => {
    await using test = await twoStores()
    await using target = targetName(testUrl())
    await test.run('backup', source.name)
    test.b.damage(dumpKey(test.b), 100)
    expect(await caught(restoreTo(test, target.url, { from: 'b' }))).toMatchObject({ code: 'OBJECT_MISMATCH' })
    expect(await restoreTo(test, target.url, { from: 'store' })).toMatchObject({ outcome: 'created' })
  })
})
