import { describe, expect, it } from 'vitest'
import { Catalog } from '../../src/catalog/catalog.ts'
import { encodeManifest } from '../../src/domain/manifest.ts'
import { backupFolder } from '../../src/storage/object-keys.ts'
import { MemoryStore } from '../support/memory-store.ts'
import { storeSetOf } from '../support/store-sets.ts'
import {
  clock,
  labelAt,
  manifestAt,
  recordOf,
  reportOf,
  rolesManifestAt,
  sha256Of,
  signal,
  storeBackup,
  storeReport,
} from './stored.ts'

describe('queries', () => {
  it('backups by kind, server and database, newest first', () => {
    const catalog = new Catalog({ clock })
    for (const [server, database, day] of [
      ['main', 'app', 17],
      ['main', 'app', 19],
      ['main', 'app_staging', 18],
      ['other', 'app', 16],
    ] as const) {
      const manifest = manifestAt(`2026-11-${day}T02:00:00Z`, { server, database })
      catalog.addBackup({ manifest: manifest, manifestSha256: sha256Of(manifest), hasSignature: false }, ['store'])
    }
    const roles = rolesManifestAt('2026-11-15T03:00:00Z')
    catalog.addBackup({ manifest: roles, manifestSha256: sha256Of(roles), hasSignature: true }, ['store'])
    const days = (filter?: Parameters<Catalog['backups']>[0]) =>
      catalog.backups(filter).map(({ snapshotTime }) => snapshotTime.getUTCDate())
    expect(days()).toEqual([19, 18, 17, 16, 15])
    expect(days({ server: 'main' })).toEqual([19, 18, 17, 15])
    expect(days({ server: 'main', database: 'app' })).toEqual([19, 17])
    expect(days({ database: 'app' })).toEqual([19, 17, 16])
    expect(days({ kind: 'roles' })).toEqual([15])
    expect(days({ kind: 'database', server: 'main' })).toEqual([19, 18, 17])
    expect(days({ kind: 'roles', server: 'main', database: 'app' })).toEqual([])
    expect(days({ server: 'nowhere', database: 'app' })).toEqual([])
    expect(catalog.databases()).toEqual([
      { server: 'main', database: 'app' },
      { server: 'main', database: 'app_staging' },
      { server: 'other', database: 'app' },
    ])
    expect(catalog.newest('main', 'app')?.manifest.label).toBe(labelAt('2026-11-19T02:00:00Z'))
    expect(catalog.newest('main', 'nothing')).toBeUndefined()
  })

  it('the previous manifest - of the same kind and place, with the digest as stored; null for the first', () => {
    const catalog = new Catalog({ clock })
    const manifest = manifestAt('2026-11-19T02:00:00Z')
    catalog.addBackup({ manifest: manifest, manifestSha256: sha256Of(manifest), hasSignature: false }, ['store'])
    expect(catalog.previousManifest('database', 'main', 'app')).toEqual({
      label: manifest.label,
      sha256: sha256Of(manifest),
    })
    expect(catalog.previousManifest('database', 'main', 'other')).toBeNull()
    expect(catalog.previousManifest('roles', 'main', null)).toBeNull()
  })

  it('one label in two databases - found where the place is named, refused where it is not', () => {
    const catalog = new Catalog({ clock })
    const app = manifestAt('2026-11-19T02:00:00Z')
    const other = { ...app, database: 'other' }
    for (const manifest of [app, other])
      catalog.addBackup({ manifest: manifest, manifestSha256: sha256Of(manifest), hasSignature: false }, ['store'])
    expect(catalog.find(app.label, { server: 'main', database: 'other' })?.manifest).toEqual(other)
    expect(() => catalog.find(app.label)).toThrow(expect.objectContaining({ code: 'USAGE_INVALID' }))
    expect(catalog.find(labelAt('2020-01-01T00:00:00Z'))).toBeUndefined()
    catalog.removeBackup(backupFolder(other), 'store')
    expect(catalog.find(app.label)?.manifest).toEqual(app)
  })

  it('drills newest first, by place and by label', () => {
    const catalog = new Catalog({ clock })
    const manifest = manifestAt('2026-11-17T02:00:00Z')
    const first = reportOf(manifest, '2026-11-18T05:00:00Z', { pick: { rule: 'random', seed: 6 } })
    const second = reportOf(manifest, '2026-11-19T05:00:00Z', { pick: { rule: 'named', seed: null } })
    const elsewhere = reportOf({ ...manifest, database: 'other' }, '2026-11-20T05:00:00Z')
    for (const report of [second, elsewhere, first]) catalog.addDrill(report, ['store'])
    expect(catalog.drills({ server: 'main', database: 'app' })).toEqual([second, first])
    expect(catalog.drills({ server: 'main' })).toEqual([elsewhere, second, first])
    expect(catalog.findDrill(first.label)).toEqual(first)
    expect(catalog.findDrill('20200101T000000Z-0000')).toBeUndefined()
  })

  it('the last start of a job - from the store and from runs, never from the future', () => {
    const catalog = new Catalog({ clock })
    const now = new Date('2026-11-20T12:00:00Z')
    expect(catalog.lastStart('main', 'app', 'backup', now)).toBeNull()
    for (const time of ['2026-11-18T02:00:00Z', '2026-11-19T02:00:00Z', '2027-11-19T02:00:00Z']) {
      const manifest = manifestAt(time)
      catalog.addBackup({ manifest: manifest, manifestSha256: sha256Of(manifest), hasSignature: false }, ['store'])
    }
    expect(catalog.lastStart('main', 'app', 'backup', now)).toEqual(new Date('2026-11-19T02:00:00Z'))
    const roles = rolesManifestAt('2026-11-15T03:00:00Z')
    catalog.addBackup({ manifest: roles, manifestSha256: sha256Of(roles), hasSignature: false }, ['store'])
    expect(catalog.lastStart('main', null, 'roles', now)).toEqual(new Date('2026-11-15T03:00:00Z'))
    catalog.addDrill(reportOf(manifestAt('2026-11-18T02:00:00Z'), '2026-11-18T05:00:00Z'), ['store'])
    expect(catalog.lastStart('main', 'app', 'drill', now)).toEqual(new Date('2026-11-18T05:00:00Z'))
    catalog.addPrune(recordOf([], '2026-11-16T04:00:00Z'), 'store')
    expect(catalog.lastStart('main', null, 'prune', now)).toEqual(new Date('2026-11-16T04:00:00Z'))
    // A backup that failed left nothing in the store; the run knows.
    catalog.addRun({ ...queuedRun, queuedAt: new Date('2026-11-20T02:00:00Z') })
    expect(catalog.lastStart('main', 'app', 'backup', now)).toEqual(new Date('2026-11-20T02:00:00Z'))
    catalog.updateRun('r1', { state: 'failed', startedAt: new Date('2026-11-20T02:00:05Z') })
    expect(catalog.lastStart('main', 'app', 'backup', now)).toEqual(new Date('2026-11-20T02:00:05Z'))
    expect(catalog.lastStart('main', 'other', 'backup', now)).toBeNull()
  })
})

describe('changes by jobs', () => {
  it('after a backup, drill and removal - as if the store had been read again', async () => {
    const store = new MemoryStore(clock)
    const catalog = new Catalog({ clock })
    const kept = manifestAt('2026-11-19T02:00:00Z')
    const removed = manifestAt('2026-11-01T02:00:00Z')
    for (const manifest of [kept, removed]) {
      await storeBackup(store, manifest)
      catalog.addBackup({ manifest: manifest, manifestSha256: sha256Of(manifest), hasSignature: false }, ['store'])
    }
    const report = reportOf(kept, '2026-11-20T05:00:00Z')
    await storeReport(store, report)
    catalog.addDrill(report, ['store'])
    for (const key of store.keys().filter((key) => key.includes(removed.label))) await store.delete(key, { signal })
    catalog.removeBackup(backupFolder(removed), 'store')
    const before = [catalog.backups(), catalog.drills(), catalog.orphans()]
    await catalog.refresh(storeSetOf(store), signal)
    expect([catalog.backups(), catalog.drills(), catalog.orphans()]).toEqual(before)
  })

  it('a backup made and one removed while a refresh lists the store - the refresh does not undo them', async () => {
    const store = new MemoryStore()
    const old = manifestAt('2026-11-01T02:00:00Z')
    await storeBackup(store, old)
    const catalog = new Catalog({ clock })
    await catalog.refresh(storeSetOf(store), signal)
    const made = manifestAt('2026-11-20T02:00:00Z')
    store.before = (operation, key) => {
      // The listing of backups is over; the jobs end now.
      if (operation !== 'list' || key !== 'drills/') return
      catalog.addBackup({ manifest: made, manifestSha256: sha256Of(made), hasSignature: true }, ['store'])
      catalog.removeBackup(backupFolder(old), 'store')
    }
    await catalog.refresh(storeSetOf(store), signal)
    expect(catalog.backups().map(({ manifest }) => manifest.label)).toEqual([made.label])
    store.before = () => {}
    await catalog.refresh(storeSetOf(store), signal)
    expect(catalog.backups().map(({ manifest }) => manifest.label)).toEqual([old.label])
  })

  it('a backup that was seen half written - no orphan any more once it is added', async () => {
    const store = new MemoryStore()
    const manifest = manifestAt('2026-11-20T02:00:00Z')
    const folder = await storeBackup(store, manifest)
    await store.delete(`${folder}manifest.json`, { signal })
    const catalog = new Catalog({ clock })
    await catalog.refresh(storeSetOf(store), signal)
    expect(catalog.orphans()).toHaveLength(1)
    await store.put(`${folder}manifest.json`, encodeManifest(manifest), { signal })
    catalog.addBackup({ manifest: manifest, manifestSha256: sha256Of(manifest), hasSignature: false }, ['store'])
    expect([catalog.orphans(), catalog.backups().length]).toEqual([[], 1])
  })

  it('two refreshes at once - one after the other, each with a listing of its own', async () => {
    const store = new MemoryStore()
    store.before = async () => await new Promise((resolve) => setImmediate(resolve))
    const catalog = new Catalog({ clock })
    await catalog.refresh(storeSetOf(store), signal)
    const once = store.calls.splice(0)
    expect(once.filter((call) => call.startsWith('list '))).toHaveLength(6)
    await Promise.all([catalog.refresh(storeSetOf(store), signal), catalog.refresh(storeSetOf(store), signal)])
    expect(store.calls).toEqual([...once, ...once])
  })
})

describe('size', () => {
  it('10,000 backups in the store - read once within 15 s, again within 1 s, answered within 250 ms', async () => {
    const store = new MemoryStore()
    for (let index = 0; index < 10_000; index += 1) {
      const time = new Date(Date.UTC(2026, 0, 1) + index * 600_000).toISOString()
      await storeBackup(store, manifestAt(time, { database: `app${index % 20}` }))
    }
    const catalog = new Catalog({ clock })
    const timed = async (work: () => unknown): Promise<number> => {
      // Of the processor: others may work on this machine as well.
      const before = process.cpuUsage()
      await work()
      const { user, system } = process.cpuUsage(before)
      return (user + system) / 1000
    }
    // One listing without the cost of sorting keys anew, which is the memory store's own.
    const listed = store
      .keys()
      .map((key) => ({ key, bytes: store.objects.get(key)?.body.length ?? 0, modifiedAt: clock.now() }))
    store.list = async function* (prefix, { after = '' }) {
      for (const info of listed) if (info.key.startsWith(prefix) && info.key > after) yield info
    }
    for (const object of store.objects.values()) object.modifiedAt = clock.now()
    const first = await timed(() => catalog.refresh(storeSetOf(store), signal))
    const again = await timed(() => catalog.refresh(storeSetOf(store), signal))
    const answer = await timed(() => catalog.newest('main', 'app7'))
    expect(catalog.backups()).toHaveLength(10_000)
    expect(first).toBeLessThan(15_000)
    expect(again).toBeLessThan(1000)
    expect(answer).toBeLessThan(250)
  })
})

const queuedRun = {
  id: 'r1',
  job: 'backup',
  server: 'main',
  database: 'app',
  trigger: 'schedule',
  attempt: 1,
  state: 'queued',
  queuedAt: new Date('2026-11-20T02:00:00Z'),
  startedAt: null,
  finishedAt: null,
  label: null,
  error: null,
  progress: null,
} as const
