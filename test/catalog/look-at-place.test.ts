import { describe, expect, it } from 'vitest'
import { Catalog } from '../../src/catalog/catalog.ts'
import { silentLog } from '../../src/log.ts'
import { backupFolder } from '../../src/storage/object-keys.ts'
import { StoreSet } from '../../src/storage/store-set.ts'
import { MemoryStore } from '../support/memory-store.ts'
import { SilentStore } from '../support/silent-store.ts'
import { namedStore } from '../support/store-sets.ts'
import {
  clock,
  manifestAt,
  recordOf,
  reportOf,
  rolesManifestAt,
  sha256Of,
  signal,
  storeBackup,
  storeRecord,
  storeReport,
} from './stored.ts'
import { several } from './two-stores.ts'

const app = { kind: 'database', server: 'main', database: 'app' } as const
const old = manifestAt('2026-11-18T02:00:00Z')
const recent = manifestAt('2026-11-20T02:00:00Z', { previous: { label: old.label, sha256: sha256Of(old) } })

const labelsOf = (catalog: Catalog): string[] => catalog.backups().map(({ manifest }) => manifest.label)

/** Everything in the store as a whole, as a refresh puts it down. */
async function refreshed(store: MemoryStore) {
  const catalog = new Catalog({ clock })
  await catalog.refresh(new StoreSet([namedStore(store, 'a')], { clock, log: silentLog }), signal)
  return { backups: catalog.backups(), drills: catalog.drills(), gaps: catalog.historyGaps() }
}

describe('a look at one place', () => {
  it('a backup, its drill, and roles that another process made since the refresh - known as if everything had been read anew', async () => {
    const { catalog, stores, set, refresh } = await several({ backups: [old] })
    await refresh()
    const store = stores['a'] as MemoryStore
    await storeBackup(store, recent)
    await storeReport(store, reportOf(recent, '2026-11-20T05:00:00Z'))
    const roles = rolesManifestAt('2026-11-20T01:30:00Z')
    await storeBackup(store, roles)
    await storeBackup(store, manifestAt('2026-11-20T02:00:00Z', { database: 'other' }))
    expect(labelsOf(catalog)).toEqual([old.label])
    store.calls.length = 0
    await catalog.lookAt(app, set, signal)
    const folder = backupFolder(recent)
    expect(store.calls.filter((call) => !call.startsWith('list')).sort()).toEqual([
      `get ${folder}manifest.json`,
      expect.stringMatching(/^get drills\/main\/app\/.*\.json$/),
      `get ${backupFolder(roles)}manifest.json`,
    ])
    expect(labelsOf(catalog)).toEqual([recent.label, roles.label, old.label])
    await catalog.lookAt({ ...app, database: 'other' }, set, signal)
    const all = await refreshed(store)
    expect({ backups: catalog.backups(), drills: catalog.drills(), gaps: catalog.historyGaps() }).toEqual(all)
    expect(catalog.newest('main', 'app', 'verified')?.manifest.label).toBe(recent.label)
    store.calls.length = 0
    await catalog.lookAt(app, set, signal)
    expect(store.calls.filter((call) => !call.startsWith('list'))).toEqual([])
  })

  it('a backup that another process pruned - not there any more, and no gap in the history', async () => {
    const { catalog, stores, set, refresh } = await several({ backups: [old, recent] })
    await refresh()
    const store = stores['a'] as MemoryStore
    await storeRecord(store, recordOf([old]))
    for (const key of store.keys()) if (key.startsWith(backupFolder(old))) store.objects.delete(key)
    await catalog.lookAt(app, set, signal)
    expect(labelsOf(catalog)).toEqual([recent.label])
    expect(catalog.historyGaps()).toEqual([])
    expect(catalog.absenceOf(old.label).code).toBe('BACKUP_PRUNED')
  })

  it('two backups made meanwhile, of which the first was pruned already - the second one, and no gap in the history', async () => {
    const { catalog, stores, set, refresh } = await several({ backups: [old] })
    await refresh()
    const store = stores['a'] as MemoryStore
    const last = manifestAt('2026-11-20T11:00:00Z', { previous: { label: recent.label, sha256: sha256Of(recent) } })
    await storeRecord(store, recordOf([recent]))
    await storeBackup(store, last)
    await storeReport(store, reportOf(recent, '2026-11-20T05:00:00Z'))
    await catalog.lookAt(app, set, signal)
    expect(labelsOf(catalog)).toEqual([last.label, old.label])
    expect(catalog.drills()).toHaveLength(1)
    expect(catalog.historyGaps()).toEqual([])
  })

  it('a report that names roles made meanwhile - the roles are known with it, and no gap in the history', async () => {
    const { catalog, stores, set, refresh } = await several({ backups: [recent, old] })
    await refresh()
    const store = stores['a'] as MemoryStore
    const roles = rolesManifestAt('2026-11-20T02:30:00Z')
    await storeBackup(store, roles)
    const rolesBackup = { label: roles.label, manifestSha256: sha256Of(roles) }
    await storeReport(store, reportOf(recent, '2026-11-20T05:00:00Z', { rolesBackup }))
    await catalog.lookAt(app, set, signal)
    expect(catalog.drills()).toHaveLength(1)
    expect(catalog.historyGaps()).toEqual([])
  })

  it('a refresh that sees the record of a prune while a slow look has seen the backup - it stays pruned', async () => {
    const { catalog, stores, set, refresh } = await several({ backups: [old] })
    await refresh()
    const store = stores['a'] as MemoryStore
    await storeBackup(store, recent)
    const reading = Promise.withResolvers<void>()
    const read = Promise.withResolvers<void>()
    store.before = async (operation, key) => {
      if (operation !== 'get' || !key.startsWith(backupFolder(recent))) return
      reading.resolve()
      await read.promise
    }
    const looking = catalog.lookAt(app, set, signal)
    await reading.promise
    store.before = async () => {}
    await storeRecord(store, recordOf([recent]))
    const kept = new Map([...store.objects].filter(([key]) => key.startsWith(backupFolder(recent))))
    for (const key of kept.keys()) store.objects.delete(key)
    await refresh()
    // What the look reads was sent before.
    for (const [key, object] of kept) store.objects.set(key, object)
    read.resolve()
    await looking
    expect(labelsOf(catalog)).toEqual([old.label])
  })

  it('a backup that vanished without a record, and one that is not whole - left to the next refresh', async () => {
    const { catalog, stores, set, refresh } = await several({ backups: [old] })
    await refresh()
    const store = stores['a'] as MemoryStore
    for (const key of store.keys()) if (key.startsWith(backupFolder(old))) store.objects.delete(key)
    const folder = await storeBackup(store, recent)
    store.objects.delete(`${folder}dump.zst.pgp`)
    await catalog.lookAt(app, set, signal)
    expect(labelsOf(catalog)).toEqual([old.label])
  })

  it('while a refresh goes on that has listed already - what was found stays', async () => {
    const { catalog, stores, set, refresh } = await several({ backups: [old] })
    const store = stores['a'] as MemoryStore
    const listed = Promise.withResolvers<void>()
    const looked = Promise.withResolvers<void>()
    store.before = async (operation, key) => {
      if (operation !== 'list' || key !== 'prunes/') return
      listed.resolve()
      await looked.promise
    }
    const refreshing = refresh()
    await listed.promise
    await storeBackup(store, recent)
    await catalog.lookAt(app, set, signal)
    expect(labelsOf(catalog)).toContain(recent.label)
    looked.resolve()
    await refreshing
    expect(labelsOf(catalog)).toEqual([recent.label, old.label])
  })

  it('looked at twice at once - everything found counts once', async () => {
    const { catalog, stores, set, refresh } = await several({ backups: [old] })
    await refresh()
    const store = stores['a'] as MemoryStore
    await storeBackup(store, recent)
    await storeReport(store, reportOf(recent, '2026-11-20T05:00:00Z'))
    for (const key of store.keys()) if (key.startsWith(backupFolder(old))) store.objects.delete(key)
    await storeRecord(store, recordOf([old]))
    await Promise.all([catalog.lookAt(app, set, signal), catalog.lookAt(app, set, signal)])
    expect([labelsOf(catalog), catalog.drills().length, catalog.prunes().length]).toEqual([[recent.label], 1, 1])
    expect(catalog.backups()).toEqual((await refreshed(store)).backups)
  })

  it('two stores of which one fails - what the other has is taken, and the failure told', async () => {
    const { catalog, stores, set, refresh } = await several({ backups: [old] }, { backups: [old] })
    await refresh()
    const [a, b] = [stores['a'] as MemoryStore, stores['b'] as MemoryStore]
    await storeBackup(a, recent)
    b.before = () => {
      throw new Error('it is gone')
    }
    await expect(catalog.lookAt(app, set, signal)).rejects.toThrow('it is gone')
    expect(labelsOf(catalog)).toEqual([recent.label, old.label])
  })

  it('a store that is not required and says nothing - is not waited for', async () => {
    const store = new MemoryStore(clock)
    const named = [namedStore(store, 'a'), namedStore(new SilentStore(), 'b', false)]
    const set = new StoreSet(named, { clock, log: silentLog })
    const catalog = new Catalog({ clock })
    await storeBackup(store, recent)
    const giveUp = new AbortController()
    await catalog.lookAt(app, set, giveUp.signal)
    giveUp.abort()
    expect(labelsOf(catalog)).toEqual([recent.label])
  })

  it('a report that nobody signed who is trusted - does not count', async () => {
    const store = new MemoryStore(clock)
    const identity = 'nobody'
    const trust = { identity, storeId: null, verify: () => Promise.reject(new Error('not asked')) }
    const catalog = new Catalog({ clock, reportTrust: async () => trust })
    const set = new StoreSet([namedStore(store, 'a')], { clock, log: silentLog })
    await storeBackup(store, recent)
    await storeReport(store, reportOf(recent, '2026-11-20T05:00:00Z'))
    await catalog.lookAt(app, set, signal)
    expect(catalog.drills()).toEqual([])
    expect(catalog.newest('main', 'app')?.verifiedAt).toBeNull()
  })
})
