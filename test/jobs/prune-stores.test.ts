import { describe, expect, it } from 'vitest'
import type { Clock } from '../../src/clock.ts'
import type { Manifest } from '../../src/domain/manifest.ts'
import { describeKeepReason } from '../../src/domain/retention.ts'
import { PgproofError } from '../../src/errors.ts'
import type { PruneRequest } from '../../src/jobs/plan-prune.ts'
import { type PruneResult, runPrune } from '../../src/jobs/prune.ts'
import { runSync } from '../../src/jobs/sync.ts'
import { backupFolder } from '../../src/storage/object-keys.ts'
import { reportOf, signal, storeBackup, storeReport } from '../catalog/stored.ts'
import { asleep } from '../support/asleep.ts'
import type { MemoryStore } from '../support/memory-store.ts'
import {
  caught,
  down,
  fail,
  heal,
  manifestsIn,
  soundManifestAt,
  soundRolesAt,
  type TwoStores,
  type TwoStoresOptions,
  twoStores,
} from './two-stores.ts'

const start = Date.parse('2026-11-18T12:00:00Z')
const nights = Array.from({ length: 9 }, (_, index) =>
  soundManifestAt(`2026-11-${String(index + 10).padStart(2, '0')}T02:00:00Z`),
)
const four = nights.slice(-4)
const labels = (manifests: readonly Manifest[]): string[] => manifests.map(({ label }) => label)
const none = { last: 0, daily: 0, weekly: 0, monthly: 0, yearly: 0, verified: 0 }

type PruneTest = TwoStores & { wait(hours: number): void }

/** Both hold these; the last is kept and no other, unless something more is said. */
async function filled(manifests: readonly Manifest[] = four, options: TwoStoresOptions = {}): Promise<PruneTest> {
  let now = start
  const clock: Clock = { now: () => new Date(now), monotonicMs: () => now, sleep: asleep }
  const usual = { PGPROOF_SERVERS__0__RETENTION__LAST: '1', PGPROOF_SERVERS__0__ROLES_RETENTION__LAST: '1' }
  const test = await twoStores({ clock, ...options, settings: { ...usual, ...options.settings } })
  for (const store of [test.a, test.b]) for (const manifest of manifests) await storeBackup(store, manifest)
  return {
    ...test,
    wait: (hours) => {
      now += hours * 3_600_000
    },
    [Symbol.asyncDispose]: test[Symbol.asyncDispose],
  }
}

const prune = ({ installation }: TwoStores, request: Partial<PruneRequest> = {}): Promise<PruneResult> =>
  runPrune({ isDryRun: false, ...request }, installation, signal)
const gone = ({ removed }: PruneResult): Record<string, number> =>
  Object.fromEntries(removed.map(({ store, backups, leftovers }) => [store, backups.length + leftovers.length]))
const reasonsIn = ({ plan }: PruneResult, store: string): string[] =>
  plan.groups
    .filter((group) => group.store === store)
    .flatMap(({ decisions }) =>
      decisions.map(({ label, reasons }) => `${label.slice(6, 8)}: ${reasons.map(describeKeepReason).join(', ')}`),
    )
const inFolder = (store: MemoryStore, { label }: Manifest): number =>
  store.keys().filter((key) => key.includes(`/${label}/`)).length
const recordsIn = (store: MemoryStore): number => store.keys().filter((key) => key.startsWith('prunes/')).length
const deletesIn = ({ calls }: MemoryStore): string[] => calls.filter((call) => call.startsWith('delete'))

/** The manifests of that store are told to be under Object Lock until then. */
function lock(store: MemoryStore, until: Date, key: RegExp): void {
  const head = store.head.bind(store)
  store.head = async (at, options) => {
    const found = await head(at, options)
    return found === undefined || !key.test(at) ? found : { ...found, lockedUntil: until }
  }
}

describe('each store by itself', () => {
  it('both with the same policy - the same goes from both, with a record of each in each, and the history is whole', async () => {
    await using test = await filled()
    expect(gone(await prune(test))).toEqual({ store: 3, b: 3 })
    for (const store of [test.a, test.b])
      expect([manifestsIn(store), recordsIn(store)]).toEqual([labels(four.slice(-1)), 3])
    expect(test.installation.catalog.historyGaps()).toEqual([])
    expect(gone(await prune(test))).toEqual({ store: 0, b: 0 })
  })

  it('one with a policy of its own - keeps what that says; a sync brings nothing back', async () => {
    await using test = await filled(four, { ofB: { retention: { ...none, last: 3 } } })
    expect(gone(await prune(test))).toEqual({ store: 3, b: 1 })
    expect(manifestsIn(test.b)).toEqual(labels(four.slice(-3)))
    expect(test.installation.catalog.historyGaps()).toEqual([])
    const { copied } = await runSync({ isDryRun: false }, test.installation, signal)
    expect(copied.flatMap((one) => one.labels)).toEqual([])
    expect(gone(await prune(test))).toEqual({ store: 0, b: 0 })
  })

  it('one store by name - the other is not touched', async () => {
    await using test = await filled()
    expect(gone(await prune(test, { store: 'b' }))).toEqual({ b: 3 })
    expect([manifestsIn(test.a).length, deletesIn(test.a)]).toEqual([4, []])
  })

  it('the newest is in one store only - the other one keeps the newest that it has', async () => {
    await using test = await filled()
    test.b.objects.delete(`${backupFolder(four[3] as Manifest)}manifest.json`)
    await prune(test)
    expect(manifestsIn(test.b)).toEqual(labels(four.slice(2, 3)))
  })

  it('a copy failed its drill, and the other passed one later - the damaged copy takes no good one’s place', async () => {
    await using test = await filled()
    const newest = four[3] as Manifest
    for (const store of [test.a, test.b]) {
      await storeReport(store, reportOf(newest, '2026-11-18T05:00:00Z', { store: 'b', verdict: 'failed' }))
      await storeReport(store, reportOf(newest, '2026-11-18T06:00:00Z', { store: 'store' }))
    }
    await prune(test)
    expect(manifestsIn(test.a)).toEqual(labels([newest]))
    expect(manifestsIn(test.b)).toEqual(labels(four.slice(2)))
  })

  it('roles that a kept backup needs - stay in the store that keeps that backup', async () => {
    const old = soundManifestAt('2025-01-05T02:00:00Z')
    const roles = [soundRolesAt('2025-01-06T01:00:00Z'), soundRolesAt('2026-11-17T01:00:00Z')]
    await using test = await filled([old, ...four, ...roles], { ofB: { retention: { ...none, last: 9 } } })
    const result = await prune(test)
    expect(manifestsIn(test.a)).toEqual(labels([four[3] as Manifest, roles[1] as Manifest]))
    expect(manifestsIn(test.b)).toEqual(labels([old, ...four, ...roles]))
    expect(reasonsIn(result, 'b').at(-1)).toBe(`06: needed by backup ${old.label}`)
  })
})

describe('what is not known well enough', () => {
  it.each(['list', 'get'] as const)(
    'a required store fails at a %s - PRUNE_REFUSED or its error, nothing removed anywhere',
    async (operation) => {
      await using test = await filled()
      fail(test.b, [operation], /^backups/)
      expect(await caught(prune(test))).toMatchObject({
        code: 'PRUNE_REFUSED',
        message: expect.stringContaining('"b"'),
      })
      expect([...deletesIn(test.a), ...deletesIn(test.b)]).toEqual([])
    },
  )

  it.each<[string, (store: MemoryStore) => void]>([
    ['is down', (store) => fail(store)],
    ['does not hand out one manifest', (store) => fail(store, ['get'], /20261115/)],
    ['does not say what is locked', (store) => fail(store, ['head'])],
  ])('an optional store %s - the other one is pruned, that one is left as it is', async (_, spoil) => {
    await using test = await filled(four, { isRequired: false })
    spoil(test.b)
    expect(gone(await prune(test))).toEqual({ store: 3 })
    expect([manifestsIn(test.a).length, manifestsIn(test.b).length, deletesIn(test.b)]).toEqual([1, 4, []])
    heal(test.b)
    expect(gone(await prune(test))).toEqual({ store: 0, b: 3 })
  })

  it('an optional store asked for by name and down - PRUNE_REFUSED', async () => {
    await using test = await filled(four, { isRequired: false })
    fail(test.b)
    expect(await caught(prune(test, { store: 'b' }))).toMatchObject({ code: 'PRUNE_REFUSED' })
  })

  it.each([true, false])(
    'a store is not the one it should be, required: %s - nothing goes from it',
    async (isRequired) => {
      await using test = await filled(four, { isRequired })
      test.installation.stores.assertMarked = async ({ name }) => {
        if (name === 'b') throw new PgproofError('STORE_UNMARKED', { store: 'b', key: 'pgproof.json', advice: '' })
      }
      if (isRequired) expect(await caught(prune(test))).toMatchObject({ code: 'STORE_UNMARKED' })
      else expect(gone(await prune(test))).toEqual({ store: 3 })
      expect(deletesIn(test.b)).toEqual([])
    },
  )
})

describe('a prune that does not come to its end', () => {
  it('cut off after the manifest - that backup counts no more, and the next run removes the rest at once', async () => {
    await using test = await filled()
    const remove = test.b.delete.bind(test.b)
    let left = 1
    test.b.delete = async (key, options) => {
      if (left === 0) throw down()
      left -= 1
      return await remove(key, options)
    }
    expect(await caught(prune(test))).toMatchObject({
      code: 'PRUNE_INCOMPLETE',
      details: expect.stringContaining('store b'),
    })
    expect([manifestsIn(test.a).length, manifestsIn(test.b).length]).toEqual([1, 3])
    test.b.delete = remove
    expect(gone(await prune(test))).toEqual({ store: 0, b: 3 })
    for (const manifest of four.slice(0, 3)) expect(inFolder(test.b, manifest)).toBe(0)
    expect(test.installation.catalog.historyGaps()).toEqual([])
  })

  it('the first store takes no record - nothing goes from it, the second is pruned, and the error names the first', async () => {
    await using test = await filled()
    fail(test.a, ['put'], /^prunes/)
    expect(await caught(prune(test))).toMatchObject({
      code: 'PRUNE_INCOMPLETE',
      details: expect.stringContaining('store store'),
    })
    expect([deletesIn(test.a), manifestsIn(test.b).length]).toEqual([[], 1])
  })

  it('the first store fails at its unfinished uploads - PRUNE_INCOMPLETE names it, the second is pruned', async () => {
    await using test = await filled()
    fail(test.a, ['sweep'])
    expect(await caught(prune(test))).toMatchObject({
      code: 'PRUNE_INCOMPLETE',
      details: expect.stringMatching(/^store store: cannot reach the store/),
    })
    expect(manifestsIn(test.b)).toHaveLength(1)
  })

  it('an old probe of check that cannot be removed - left for the next prune, and no failure', async () => {
    await using test = await filled()
    for (const store of [test.a, test.b]) await store.put('checks/old/manifest.json', Buffer.from('x'), { signal })
    test.wait(48)
    fail(test.a, ['delete'], /^checks/)
    await prune(test)
    expect([test.a, test.b].map((store) => store.keys().includes('checks/old/manifest.json'))).toEqual([true, false])
    heal(test.a)
    await prune(test)
    expect(test.a.keys()).not.toContain('checks/old/manifest.json')
  })

  it('an objection that comes after the first removal - all else stays, also what has no manifest', async () => {
    await using test = await filled()
    const [, , , newest] = four as [Manifest, Manifest, Manifest, Manifest]
    const begun = { ...newest, label: '20261101T020000Z-4f7k' }
    await test.a.put(`${backupFolder(begun)}dump.zst.pgp`, Buffer.alloc(9), { signal })
    test.wait(48)
    let isObjected = false
    test.a.before = (operation) => {
      if (operation === 'delete') isObjected = true
    }
    const objection = (server: string | null): PgproofError | null =>
      isObjected && server !== null ? new PgproofError('PRUNE_RULES_CHANGED') : null
    expect((await caught(prune(test, { store: 'store', objection }))).code).toBe('PRUNE_RULES_CHANGED')
    expect([manifestsIn(test.a).length, inFolder(test.a, begun)]).toEqual([3, 1])
    test.a.before = () => {}
    await prune(test, { store: 'store' })
    expect(inFolder(test.a, begun)).toBe(0)
  })

  it('cancelled in the first store - the second is not begun', async () => {
    await using test = await filled()
    const abort = new AbortController()
    test.a.before = (operation) => {
      if (operation === 'delete') abort.abort(new PgproofError('CANCELLED', { what: 'prune' }))
    }
    const ended = await caught(runPrune({ isDryRun: false }, test.installation, abort.signal))
    expect([ended.code, manifestsIn(test.b).length, recordsIn(test.b)]).toEqual(['CANCELLED', 4, 0])
  })
})

describe('limits', () => {
  it('a larger share than is allowed would go from one store - PRUNE_HELD_BACK names it, the other is pruned; forced it goes', async () => {
    await using test = await filled(nights, {
      settings: { PGPROOF_PRUNE__LARGEST_SHARE: '50%', PGPROOF_SERVERS__0__RETENTION__LAST: '7' },
      ofB: { retention: { ...none, last: 1 } },
    })
    expect(await caught(prune(test))).toMatchObject({
      code: 'PRUNE_HELD_BACK',
      message: expect.stringContaining('store "b"'),
    })
    expect([manifestsIn(test.a).length, deletesIn(test.b)]).toEqual([7, []])
    const { heldBack, removed } = await prune(test, { isDryRun: true })
    expect([heldBack?.code, removed]).toEqual(['PRUNE_HELD_BACK', []])
    expect(gone(await prune(test, { isForced: true }))).toEqual({ store: 0, b: 8 })
  })

  it('a store whose writer may not delete and that has no pruner - left to others, unless it is asked for', async () => {
    await using test = await filled(four, { ofB: { isAppendOnly: true } })
    expect(gone(await prune(test))).toEqual({ store: 3 })
    expect(deletesIn(test.b)).toEqual([])
    expect(gone(await prune(test, { store: 'b' }))).toEqual({ b: 3 })
  })

  it('the newest is older than its objective in one store only - only that store holds back, until forced', async () => {
    await using test = await filled(four, { settings: { PGPROOF_SERVERS__0__OBJECTIVES__RPO: '24h' } })
    test.b.objects.delete(`${backupFolder(four[3] as Manifest)}manifest.json`)
    const held = await prune(test)
    expect(gone(held)).toEqual({ store: 3, b: 0 })
    expect(reasonsIn(held, 'b').at(-1)).toMatch(/^15: held back: newest backup is .* old, objective/)
    expect(gone(await prune(test, { isForced: true }))).toMatchObject({ store: 0, b: 2 })
    expect(manifestsIn(test.b)).toEqual(labels(four.slice(2, 3)))
  })

  it('under Object Lock in one store - kept there, with the same reason in the dry run and in the run; gone when the lock is off', async () => {
    await using test = await filled()
    lock(test.b, new Date('2026-11-20T08:30:00Z'), /20261115T.*(dump|manifest)/)
    const dry = await prune(test, { isDryRun: true })
    const run = await prune(test)
    for (const result of [dry, run]) {
      expect(reasonsIn(result, 'b').at(-1)).toBe('15: held: locked until 2026-11-20 08:30 UTC')
      expect(reasonsIn(result, 'store').at(-1)).toBe('15: ')
    }
    expect(run.plan).toEqual(dry.plan)
    expect([gone(run), manifestsIn(test.b)]).toEqual([{ store: 3, b: 2 }, labels([four[0], four[3]] as Manifest[])])
    test.wait(48)
    expect(gone(await prune(test))).toEqual({ store: 0, b: 1 })
  })

  it('a lock on the dump alone, or on the manifest alone - kept', async () => {
    for (const key of [/20261115T.*dump/, /20261115T.*manifest/]) {
      await using test = await filled()
      lock(test.a, new Date('2026-11-20T08:30:00Z'), key)
      await prune(test)
      expect(inFolder(test.a, four[0] as Manifest)).toBe(4)
    }
  })

  it('a bucket that keeps what is deleted - what it hides is not said to be freed', async () => {
    await using test = await filled()
    const remove = test.b.delete.bind(test.b)
    test.b.delete = async (...given) => {
      await remove(...given)
      return 'hidden'
    }
    const { removed } = await prune(test)
    expect(removed).toMatchObject([
      { store: 'store', hiddenBytes: 0 },
      { store: 'b', freedBytes: 0 },
    ])
    expect(removed[0]?.freedBytes).toBeGreaterThanOrEqual(3 * 70)
    expect(removed[1]?.hiddenBytes).toBe(removed[0]?.freedBytes)
  })
})

describe('what a sync is bringing', () => {
  it('a backup that a sync copies at this moment - is no orphan for the prune of its store', async () => {
    await using test = await filled(four, { settings: { PGPROOF_SERVERS__0__RETENTION__LAST: '9' } })
    const late = soundManifestAt('2026-11-18T03:00:00Z')
    await storeBackup(test.a, late)
    test.b.before = async (operation, key) => {
      if (operation !== 'put' || !key.endsWith('manifest.json')) return
      heal(test.b)
      await prune(test)
    }
    const { copied } = await runSync({ isDryRun: false }, test.installation, signal)
    expect(copied[1]?.labels).toEqual([late.label])
    expect(inFolder(test.b, late)).toBe(4)
  })

  it('what was there for days, while a sync brings the rest - stays, and the backup is whole', async () => {
    await using test = await filled(four, { settings: { PGPROOF_SERVERS__0__RETENTION__LAST: '9' } })
    const late = soundManifestAt('2026-11-18T03:00:00Z')
    await storeBackup(test.a, late)
    const dump = `${backupFolder(late)}${late.objects.dump.name}`
    await test.b.put(dump, test.a.objects.get(dump)?.body ?? expect.unreachable(), { signal })
    test.wait(48)
    let prunes = 0
    test.b.before = async (operation, key) => {
      if (operation !== 'commit' || !key.endsWith('RECOVERY.md')) return
      heal(test.b)
      await prune(test)
      prunes += 1
    }
    await runSync({ isDryRun: false }, test.installation, signal)
    expect([prunes, inFolder(test.b, late)]).toEqual([1, 4])
    await test.installation.catalog.refresh(test.installation.stores, signal)
    expect(
      test.installation.catalog
        .inStore('b')
        .backups()
        .flatMap(({ faults }) => faults),
    ).toEqual([])
  })

  it('this machine’s clock is days ahead of the store’s - what is being written there is no orphan', async () => {
    await using test = await filled(four, { settings: { PGPROOF_SERVERS__0__RETENTION__LAST: '9' } })
    const begun = soundManifestAt('2026-11-18T03:00:00Z')
    await storeBackup(test.b, begun)
    test.b.objects.delete(`${backupFolder(begun)}manifest.json`)
    test.b.unfinished.push({ key: 'x', startedAt: test.installation.clock.now() })
    test.wait(48)
    test.b.skewSeconds = -48 * 3600
    await prune(test)
    expect([inFolder(test.b, begun), test.b.unfinished.length]).toEqual([3, 1])
    await prune(test, { isForced: true })
    expect([inFolder(test.b, begun), test.b.unfinished.length]).toEqual([0, 0])
  })

  it('an old orphan becomes a backup between the listing and its removal - nothing of it is removed', async () => {
    await using test = await filled(four, { settings: { PGPROOF_SERVERS__0__RETENTION__LAST: '9' } })
    const begun = soundManifestAt('2026-11-18T03:00:00Z')
    await storeBackup(test.b, begun)
    const key = `${backupFolder(begun)}manifest.json`
    const manifest = test.b.objects.get(key)
    test.b.objects.delete(key)
    test.wait(48)
    test.b.before = (operation, at) => {
      // The last that is asked before anything is removed.
      if (operation === 'list' && at.startsWith('holds/') && manifest !== undefined) test.b.objects.set(key, manifest)
    }
    await prune(test)
    expect(inFolder(test.b, begun)).toBe(4)
  })
})
