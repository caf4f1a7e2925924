import { describe, expect, it } from 'vitest'
import { Catalog } from '../../src/catalog/catalog.ts'
import type { Run } from '../../src/catalog/runs.ts'
import { Arrivals } from '../../src/fleet/arrivals.ts'
import { silentLog } from '../../src/log.ts'
import type { ObjectStore } from '../../src/storage/object-store.ts'
import { clock, manifestAt, reportOf, rolesManifestAt, signal, storeBackup, storeReport } from '../catalog/stored.ts'
import { waitFor } from '../commands/cli.ts'
import { MemoryStore } from '../support/memory-store.ts'
import { SilentStore } from '../support/silent-store.ts'
import { storeSetOf } from '../support/store-sets.ts'

const backup = manifestAt('2026-11-20T11:59:00Z')

/** As another worker has told of it. */
function ended(id: string, changes: Partial<Run> = {}): Run {
  const at = clock.now()
  return {
    ...{ id, job: 'backup', server: 'main', database: 'app', trigger: 'http', attempt: 1, state: 'succeeded' },
    ...{ queuedAt: at, startedAt: at, finishedAt: at, label: backup.label, error: null, progress: null, worker: 'b' },
    ...changes,
  }
}

function arrivalsIn(store: ObjectStore, shownWithinMs?: number) {
  const catalog = new Catalog({ clock })
  const stores = storeSetOf(store, clock)
  const refreshes = { count: 0 }
  const refresh = async (): Promise<boolean> => {
    refreshes.count += 1
    await catalog.refresh(stores, signal)
    return true
  }
  const arrivals = new Arrivals({ catalog, stores, log: silentLog }, refresh, shownWithinMs)
  const shown: string[] = []
  const expectRun = (run: Run): void => arrivals.expect(run, () => shown.push(run.id))
  return { catalog, stores, arrivals, refreshes, shown, expectRun }
}

describe('what runs of other workers made', () => {
  it('a backup, a roles backup and a drill - in the catalog by the time their runs are shown as ended', async () => {
    const store = new MemoryStore(clock)
    const { catalog, stores, arrivals } = arrivalsIn(store)
    await catalog.refresh(stores, signal)
    const roles = rolesManifestAt('2026-11-20T11:59:00Z')
    const report = reportOf(backup, '2026-11-20T11:59:30Z')
    for (const manifest of [backup, roles]) await storeBackup(store, manifest)
    await storeReport(store, report)
    const seen: unknown[] = []
    const look = (): unknown => seen.push([catalog.backups().length, catalog.drills().length])
    arrivals.expect(ended('1'), look)
    expect([seen, arrivals.has('1')]).toEqual([[], true])
    await waitFor('the backup', () => seen.length === 1)
    arrivals.expect(ended('2', { job: 'roles', database: null, label: roles.label }), look)
    await waitFor('the roles', () => seen.length === 2)
    // The look at the database had brought the roles of its server and its reports, too.
    arrivals.expect(ended('3', { job: 'drill', label: report.label }), look)
    expect(seen).toEqual([
      [2, 1],
      [2, 1],
      [2, 1],
    ])
    expect(arrivals.has('1')).toBe(false)
  })

  it('what is known, made nothing, or ended long before the last refresh - shown at once, the store is not asked', async () => {
    const store = new MemoryStore(clock)
    const { catalog, stores, shown, expectRun } = arrivalsIn(store)
    await storeBackup(store, backup)
    await catalog.refresh(stores, signal)
    store.calls.length = 0
    expectRun(ended('known'))
    expectRun(ended('failed', { state: 'failed', label: null }))
    expectRun(ended('old', { label: '20261101T020000Z-aaaa', finishedAt: new Date('2026-11-01T02:00:00Z') }))
    expect([shown, store.calls]).toEqual([['known', 'failed', 'old'], []])
  })

  it('a store that fails, and one that hangs - the runs are shown all the same, one after what it may take', async () => {
    const failing = new MemoryStore(clock)
    failing.before = () => {
      throw new Error('it is gone')
    }
    const one = arrivalsIn(failing)
    one.expectRun(ended('1'))
    await waitFor('it to be shown', () => one.shown.length === 1)
    const other = arrivalsIn(new SilentStore(), 200)
    for (const id of ['1', '2', '3']) other.expectRun(ended(id))
    expect(other.shown).toEqual([])
    await waitFor('all of them', () => other.shown.length === 3)
    // It goes on with those that come later.
    other.expectRun(ended('4'))
    await waitFor('the next', () => other.shown.length === 4)
  })

  it('very many at once, and a prune - everything is read anew, once', async () => {
    const store = new MemoryStore(clock)
    const { catalog, refreshes, shown, expectRun } = arrivalsIn(store)
    await storeBackup(store, backup)
    for (let id = 0; id < 200; id += 1) expectRun(ended(String(id)))
    await waitFor('all of them', () => shown.length === 200)
    expect([refreshes.count, catalog.backups().length]).toEqual([1, 1])
    store.objects.clear()
    expectRun(ended('prune', { job: 'prune', label: null, database: null, server: '' }))
    await waitFor('the prune', () => shown.includes('prune'))
    expect([refreshes.count, catalog.backups().length]).toEqual([2, 0])
  })

  it('closed while a store hangs - shows what was awaited, and looks no more', async () => {
    const store = new SilentStore()
    const { arrivals, shown, expectRun } = arrivalsIn(store)
    expectRun(ended('1'))
    await waitFor('the look', () => store.calls.length > 0)
    await arrivals.close()
    expect(shown).toEqual(['1'])
    const asked = store.calls.length
    expectRun(ended('2'))
    expect([shown, store.calls.length]).toEqual([['1', '2'], asked])
  })

  it('a refresh that takes longer than anybody waits - is not joined by a second one, and may fail then', async () => {
    const refreshed = Promise.withResolvers<boolean>()
    let count = 0
    const refresh = (): Promise<boolean> => {
      count += 1
      return refreshed.promise
    }
    const { catalog, stores } = arrivalsIn(new MemoryStore(clock))
    const arrivals = new Arrivals({ catalog, stores, log: silentLog }, refresh, 20)
    const shown: string[] = []
    const prune = { job: 'prune', label: null, database: null, server: '' } as const
    for (const id of ['1', '2']) {
      arrivals.expect(ended(id, prune), () => shown.push(id))
      await waitFor('it to be shown', () => shown.includes(id))
    }
    expect(count).toBe(1)
    arrivals.expect(ended('3', prune), () => shown.push('3'))
    const closed = arrivals.close()
    refreshed.reject(new Error('it is gone'))
    await closed
    expect(shown).toEqual(['1', '2', '3'])
  })
})
