import { describe, expect, it } from 'vitest'
import { Catalog } from '../../src/catalog/catalog.ts'
import { encodePause } from '../../src/domain/pause.ts'
import { PgproofError } from '../../src/errors.ts'
import { fullDrillReportKey, pauseKey } from '../../src/storage/object-keys.ts'
import type { ListOptions, ObjectInfo } from '../../src/storage/object-store.ts'
import { MemoryStore } from '../support/memory-store.ts'
import { storeSetOf } from '../support/store-sets.ts'
import {
  clock,
  labelAt,
  manifestAt,
  present,
  recordOf,
  reportOf,
  rolesManifestAt,
  sha256Of,
  signal,
  storeBackup,
  storeRecord,
  storeReport,
} from './stored.ts'

const encode = (document: unknown): Uint8Array => Buffer.from(JSON.stringify(document))
const unreachable = (): never => {
  throw new PgproofError('STORE_UNREACHABLE', { store: 'memory', reason: 'connection refused' })
}

async function refreshed(store: MemoryStore): Promise<Catalog> {
  const catalog = new Catalog({ clock })
  await catalog.refresh(storeSetOf(store), signal)
  return catalog
}

function labels(catalog: Catalog): string[] {
  return catalog.backups().map(({ manifest }) => manifest.label)
}

describe('what the store holds', () => {
  it('an empty store - an empty, complete catalog', async () => {
    const catalog = new Catalog({ clock })
    expect([catalog.isComplete, catalog.lastRefreshedAt]).toEqual([false, null])
    await catalog.refresh(storeSetOf(new MemoryStore()), signal)
    expect([catalog.isComplete, catalog.lastRefreshedAt, catalog.backups()]).toEqual([true, present, []])
  })

  it('backups of databases and roles, drills and prunes - all there, with the digest of the manifest as stored', async () => {
    const store = new MemoryStore()
    const app = manifestAt('2026-11-19T02:00:00Z')
    const roles = rolesManifestAt('2026-11-15T03:00:00Z')
    const folder = await storeBackup(store, app)
    await storeBackup(store, roles)
    await store.put(`${folder}manifest.json.sig`, Buffer.from('sig'), { signal })
    const report = reportOf(app, '2026-11-19T05:00:00Z')
    const reportKey = await storeReport(store, report)
    await store.put(reportKey.replace('.json', '.tables.json.pgp'), Buffer.from('encrypted'), { signal })
    const record = recordOf([manifestAt('2026-10-01T02:00:00Z')])
    await storeRecord(store, record)
    await store.put('pgproof.json', Buffer.from('{}'), { signal })
    const catalog = await refreshed(store)
    expect(catalog.backups()).toHaveLength(2)
    const stored = [...store.objects].filter(([key]) => key.startsWith(folder))
    expect(catalog.backups()[0]).toMatchObject({
      manifest: app,
      manifestSha256: sha256Of(app),
      folder,
      hasSignature: true,
      storedBytes: stored.reduce((sum, [, { body }]) => sum + body.length, 0),
      faults: [],
      verifiedAt: new Date('2026-11-19T05:00:00Z'),
    })
    expect(catalog.drills()).toEqual([report])
    // Not why: records stay for good.
    expect(catalog.prunes()).toEqual([{ label: record.label, at: record.at, removed: record.removed }])
    expect([catalog.damaged(), catalog.orphans(), catalog.isComplete]).toEqual([[], [], true])
  })

  it('names with dots, slashes, capitals and other scripts - found in their own places', async () => {
    const store = new MemoryStore()
    for (const [index, database] of ['app', 'App', 'app_staging', '../app', 'größe/データ', ''].entries())
      await storeBackup(store, manifestAt(`2026-11-1${index}T02:00:00Z`, { database, server: 'Main.Server' }))
    const catalog = await refreshed(store)
    expect(catalog.damaged()).toEqual([])
    expect(
      catalog
        .databases()
        .map(({ database }) => database)
        .sort(),
    ).toEqual(['', '../app', 'App', 'app', 'app_staging', 'größe/データ'].sort())
    expect(catalog.backups({ server: 'Main.Server', database: 'app' })).toHaveLength(1)
  })

  it('a second refresh - reads nothing that it has read before, and sees what came and went', async () => {
    const store = new MemoryStore()
    const folder = await storeBackup(store, manifestAt('2026-11-18T02:00:00Z'))
    await storeBackup(store, manifestAt('2026-11-19T02:00:00Z'))
    await store.put(`backups/main/app/${labelAt('2026-11-17T02:00:00Z')}/manifest.json`, encode({}), { signal })
    const catalog = await refreshed(store)
    await storeBackup(store, manifestAt('2026-11-20T02:00:00Z'))
    for (const key of store.keys().filter((key) => key.startsWith(folder))) await store.delete(key, { signal })
    store.calls.length = 0
    await catalog.refresh(storeSetOf(store), signal)
    expect(store.calls.filter((call) => call.startsWith('get'))).toEqual([
      `get backups/main/app/${labelAt('2026-11-20T02:00:00Z')}/manifest.json`,
    ])
    expect(labels(catalog)).toEqual([labelAt('2026-11-20T02:00:00Z'), labelAt('2026-11-19T02:00:00Z')])
    expect(catalog.damaged()).toHaveLength(1)
  })

  it('a manifest that was replaced - read again', async () => {
    const store = new MemoryStore()
    const manifest = manifestAt('2026-11-18T02:00:00Z')
    const folder = await storeBackup(store, manifest)
    const catalog = await refreshed(store)
    const replaced = { ...manifest, pgproofVersion: '9.9.9' }
    await storeBackup(store, replaced)
    const stored = store.objects.get(`${folder}manifest.json`)
    if (stored !== undefined) stored.modifiedAt = new Date(present.getTime() + 1000)
    await catalog.refresh(storeSetOf(store), signal)
    expect(catalog.newest('main', 'app')?.manifestSha256).toBe(sha256Of(replaced))
  })
})

describe('what does not count as a backup', () => {
  const label = labelAt('2026-11-19T02:00:00Z')
  const folder = `backups/main/app/${label}/`

  async function damagedBy(
    key: string,
    bytes: Uint8Array,
  ): Promise<{ catalog: Catalog; codes: string[]; text: string }> {
    const store = new MemoryStore()
    await storeBackup(store, manifestAt('2026-11-18T02:00:00Z'))
    await store.put(key, bytes, { signal })
    const catalog = await refreshed(store)
    expect(labels(catalog)).toEqual([labelAt('2026-11-18T02:00:00Z')])
    expect(catalog.damaged().map((damaged) => damaged.key)).toEqual([key])
    expect(catalog.isComplete).toBe(true)
    const codes = catalog.damaged().map(({ error }) => error.code)
    return { catalog, codes, text: catalog.damaged()[0]?.error.message ?? '' }
  }

  it('a manifest cut short - damaged, the others are read all the same', async () => {
    const { codes } = await damagedBy(
      `${folder}manifest.json`,
      encode(manifestAt('2026-11-19T02:00:00Z')).subarray(0, 200),
    )
    expect(codes).toEqual(['STORE_FORMAT_INVALID'])
  })

  it('a manifest of a newer format - damaged with the reason', async () => {
    const { codes, text } = await damagedBy(
      `${folder}manifest.json`,
      encode({ ...manifestAt('2026-11-19T02:00:00Z'), format: 2 }),
    )
    expect(codes).toEqual(['STORE_FORMAT_NEWER'])
    expect(text).toContain('has format 2, this pgproof reads up to 1')
  })

  it('a manifest copied to another database, server, label or kind - damaged, it must not count there', async () => {
    const manifest = manifestAt('2026-11-19T02:00:00Z')
    for (const place of [
      `backups/main/other/${label}/`,
      `backups/other/app/${label}/`,
      `backups/main/app/${labelAt('2026-11-20T02:00:00Z')}/`,
      `roles/main/${label}/`,
    ])
      expect((await damagedBy(`${place}manifest.json`, encode(manifest))).text).toContain('another place')
    const withoutDatabase = { ...manifest, database: null }
    expect((await damagedBy(`backups/main/=/${label}/manifest.json`, encode(withoutDatabase))).codes).toHaveLength(1)
  })

  it('a manifest in a folder that is no place of a backup - damaged', async () => {
    const manifest = encode(manifestAt('2026-11-19T02:00:00Z'))
    for (const key of [
      `backups/main/app/deep/${label}/manifest.json`,
      `backups/MAIN/app/${label}/manifest.json`,
      'backups/manifest.json',
    ])
      expect((await damagedBy(key, manifest)).codes).toEqual(['STORE_FORMAT_INVALID'])
  })

  it('a manifest of many megabytes - damaged, and never read', async () => {
    const { text } = await damagedBy(`${folder}manifest.json`, Buffer.alloc((1 << 20) + 1))
    expect(text).toContain('more than pgproof ever writes')
  })

  it('a report or record that is broken or in another place - damaged, not counted', async () => {
    const report = reportOf(manifestAt('2026-11-18T02:00:00Z'), '2026-11-19T05:00:00Z')
    const { catalog } = await damagedBy(`drills/main/other/${report.label}.json`, encode(report))
    expect(catalog.newest('main', 'app')?.verifiedAt).toBeNull()
    await damagedBy('drills/main/app/nonsense.json', encode('x'))
    await damagedBy(`prunes/${labelAt('2026-11-01T00:00:00Z')}.json`, encode(recordOf([])))
    const pause = encodePause({
      ...{ format: 1, kind: 'pause', label: labelAt('2026-11-20T11:00:00Z', 'pa11'), server: 'main', database: null },
      ...{ jobs: ['backup'], since: '2026-11-20T11:00:00.000Z', until: '2026-11-21T11:00:00.000Z' },
      ...{ reason: 'new rack', by: 'ops' },
    })
    const other = pauseKey(labelAt('2026-11-20T11:00:00Z', 'pa12'))
    expect((await damagedBy(other, pause)).text).toContain('another place')
  })

  it('objects that are listed twice, as where a page begins anew - counted once', async () => {
    class Twice extends MemoryStore {
      override async *list(prefix: string, options: ListOptions): AsyncGenerator<ObjectInfo, void> {
        for await (const one of super.list(prefix, options)) {
          yield one
          yield one
        }
      }
    }
    const store = new Twice()
    await storeBackup(store, manifestAt('2026-11-19T02:00:00Z'))
    const catalog = await refreshed(store)
    expect([labels(catalog).length, catalog.backups()[0]?.faults, catalog.orphans()]).toEqual([1, [], []])
  })

  it('full drills of two servers - newest first, all of them or those of one', async () => {
    const store = new MemoryStore()
    const [old, mid, recent] = [17, 18, 19].map((day) => labelAt(`2026-11-${day}T05:00:00Z`)) as [
      string,
      string,
      string,
    ]
    for (const [server, drill] of [
      ['main', old],
      ['main', recent],
      ['hr', mid],
    ] as const)
      await store.put(fullDrillReportKey(server, drill), encode({}), { signal })
    const catalog = await refreshed(store)
    expect(catalog.fullDrills().map(({ label }) => label)).toEqual([recent, mid, old])
    expect(catalog.fullDrills('main').map(({ label }) => label)).toEqual([recent, old])
  })

  it('objects without a manifest - an orphan with its age, not a backup', async () => {
    const store = new MemoryStore()
    const old = new MemoryStore({ ...clock, now: () => new Date('2026-11-20T09:00:00Z') })
    await old.put(`${folder}RECOVERY.md`, Buffer.alloc(10), { signal })
    await old.put(`${folder}dump.zst.pgp`, Buffer.alloc(30), { signal })
    await old.put(`roles/main/${label}/roles.sql.pgp`, Buffer.alloc(5), { signal })
    for (const [key, object] of old.objects) store.objects.set(key, object)
    await store.put('backups/README', Buffer.alloc(1), { signal })
    store.objects.set(`backups/main/app/${labelAt('2026-11-18T02:00:00Z')}/`, {
      body: Buffer.alloc(0),
      modifiedAt: present,
    })
    const catalog = await refreshed(store)
    expect(catalog.backups()).toEqual([])
    expect(catalog.orphans()).toMatchObject([
      { kind: 'database', server: 'main', database: 'app', label, folder, bytes: 40, ageSeconds: 3 * 3600 },
      { kind: 'roles', server: 'main', database: null, label, bytes: 5 },
    ])
  })

  it('objects beside a damaged manifest - no orphans, nobody may take them away', async () => {
    const store = new MemoryStore()
    await store.put(`${folder}dump.zst.pgp`, Buffer.alloc(30), { signal })
    await store.put(`${folder}manifest.json`, encode({}), { signal })
    const catalog = await refreshed(store)
    expect([catalog.orphans(), catalog.damaged().length, catalog.backups()]).toEqual([[], 1, []])
  })

  it('a backup whose dump is missing or cut short - counted, with the fault named', async () => {
    const store = new MemoryStore()
    const cut = await storeBackup(store, manifestAt('2026-11-19T02:00:00Z'))
    const without = await storeBackup(store, manifestAt('2026-11-18T02:00:00Z'))
    store.truncate(`${cut}dump.zst.pgp`, 39)
    await store.delete(`${without}evidence.json.pgp`, { signal })
    const catalog = await refreshed(store)
    expect(catalog.backups().map(({ faults }) => faults)).toEqual([
      ['dump.zst.pgp has 39 bytes, its manifest says 40'],
      ['evidence.json.pgp is missing'],
    ])
  })

  it('a signer is named and there is no signature - a fault, unless the listing only missed it', async () => {
    const store = new MemoryStore()
    const encryption = { recipients: ['A'.repeat(40)], signer: 'B'.repeat(40) }
    const made = await storeBackup(store, manifestAt('2026-11-19T02:00:00Z', { encryption }))
    expect((await refreshed(store)).backups()).toMatchObject([
      { hasSignature: false, faults: ['manifest.json.sig is missing'] },
    ])
    store.before = (operation, key) => {
      if (operation === 'get' && key === `${made}manifest.json`)
        store.objects.set(`${made}manifest.json.sig`, { body: Buffer.from('signature'), modifiedAt: present })
    }
    expect((await refreshed(store)).backups()).toMatchObject([{ hasSignature: true, faults: [] }])
  })

  it('a missing object that the store will not be asked about - the fault stays, the refresh goes on', async () => {
    const store = new MemoryStore()
    const made = await storeBackup(store, manifestAt('2026-11-19T02:00:00Z'))
    await store.delete(`${made}dump.zst.pgp`, { signal })
    store.before = (operation) => {
      if (operation === 'head') throw new PgproofError('STORE_DENIED', { operation: 'head', reason: 'no' })
    }
    const catalog = await refreshed(store)
    expect(catalog.backups().map(({ faults }) => faults)).toEqual([['dump.zst.pgp is missing']])
  })

  it('a backup completed while the store is being listed - no fault, though the listing missed its dump', async () => {
    const store = new MemoryStore()
    const made = await storeBackup(store, manifestAt('2026-11-19T02:00:00Z'))
    const dump = store.objects.get(`${made}dump.zst.pgp`)
    store.objects.delete(`${made}dump.zst.pgp`)
    store.before = (operation, key) => {
      if (operation === 'get' && key === `${made}manifest.json` && dump !== undefined)
        store.objects.set(`${made}dump.zst.pgp`, dump)
    }
    const catalog = await refreshed(store)
    expect(catalog.backups().map(({ faults }) => faults)).toEqual([[]])
  })
})

describe('a store that fails', () => {
  async function filled(): Promise<{ store: MemoryStore; catalog: Catalog }> {
    const store = new MemoryStore()
    for (let day = 10; day < 20; day += 1) await storeBackup(store, manifestAt(`2026-11-${day}T02:00:00Z`))
    return { store, catalog: await refreshed(store) }
  }

  it('the listing fails midway - throws, keeps the old content and says that it is not complete', async () => {
    const { store, catalog } = await filled()
    const before = catalog.backups()
    await storeBackup(store, manifestAt('2026-11-20T02:00:00Z'))
    const list = store.list.bind(store)
    store.list = async function* (prefix, options) {
      let count = 0
      for await (const info of list(prefix, options)) {
        count += 1
        if (count > 12) unreachable()
        yield info
      }
    }
    await expect(catalog.refresh(storeSetOf(store), signal)).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' })
    expect(catalog.backups()).toEqual(before)
    expect([catalog.isComplete, catalog.lastRefreshedAt]).toEqual([false, present])
    store.list = list
    await catalog.refresh(storeSetOf(store), signal)
    expect([catalog.isComplete, catalog.backups().length]).toEqual([true, 11])
  })

  it('only the last of the four listings fails - the same', async () => {
    const { store, catalog } = await filled()
    store.before = (operation, key) => {
      if (operation === 'list' && key === 'prunes/') unreachable()
    }
    await expect(catalog.refresh(storeSetOf(store), signal)).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' })
    expect([catalog.isComplete, catalog.backups().length]).toEqual([false, 10])
  })

  it('one manifest is not handed out - the others count, the catalog is not complete, and the next refresh reads it', async () => {
    const { store } = await filled()
    const key = `backups/main/app/${labelAt('2026-11-15T02:00:00Z')}/manifest.json`
    store.before = (operation, asked) => {
      if (operation === 'get' && asked === key)
        throw new PgproofError('STORE_DENIED', { operation: 'get', reason: 'no' })
    }
    const catalog = await refreshed(store)
    expect([catalog.backups().length, catalog.isComplete]).toEqual([9, false])
    expect(catalog.damaged()).toMatchObject([{ key, error: { code: 'STORE_DENIED' } }])
    expect(catalog.orphans()).toEqual([])
    store.before = () => {}
    await catalog.refresh(storeSetOf(store), signal)
    expect([catalog.backups().length, catalog.isComplete, catalog.damaged()]).toEqual([10, true, []])
  })

  it('no object is handed out - throws instead of asking for each, and keeps the old content', async () => {
    const { store, catalog } = await filled()
    for (let hour = 10; hour < 20; hour += 1)
      for (let minute = 10; minute < 60; minute += 1)
        await storeBackup(store, manifestAt(`2026-11-01T${hour}:${minute}:00Z`))
    store.before = (operation) => {
      if (operation === 'get') unreachable()
    }
    store.calls.length = 0
    await expect(catalog.refresh(storeSetOf(store), signal)).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' })
    expect(store.calls.length).toBeLessThan(100)
    expect([catalog.backups().length, catalog.isComplete]).toEqual([10, false])
  })

  it('a manifest removed between listing and reading - gone, neither damaged nor an orphan', async () => {
    const { store } = await filled()
    const key = `backups/main/app/${labelAt('2026-11-15T02:00:00Z')}/manifest.json`
    store.before = (operation, asked) => {
      if (operation === 'get' && asked === key) store.objects.delete(key)
    }
    const catalog = await refreshed(store)
    expect([catalog.backups().length, catalog.isComplete, catalog.damaged(), catalog.orphans()]).toEqual([
      9,
      true,
      [],
      [],
    ])
  })

  it('aborted while listing, reading or waiting for another refresh - rejects, nothing changed', async () => {
    const { store, catalog } = await filled()
    await storeBackup(store, manifestAt('2026-11-20T02:00:00Z'))
    for (const at of ['list', 'get'] as const) {
      const controller = new AbortController()
      store.before = (operation) => {
        if (operation === at) controller.abort()
      }
      await expect(catalog.refresh(storeSetOf(store), controller.signal)).rejects.toMatchObject({ code: 'CANCELLED' })
      expect(catalog.backups()).toHaveLength(10)
    }
    const gate = Promise.withResolvers<void>()
    store.before = async (operation) => {
      if (operation === 'list') await gate.promise
    }
    const first = catalog.refresh(storeSetOf(store), signal)
    const waiting = new AbortController()
    const second = catalog.refresh(storeSetOf(store), waiting.signal)
    waiting.abort()
    await expect(second).rejects.toMatchObject({ code: 'CANCELLED' })
    gate.resolve()
    await first
    expect(catalog.backups()).toHaveLength(11)
  })
})
