import { describe, expect, it } from 'vitest'
import { Catalog } from '../../src/catalog/catalog.ts'
import type { DrillReport } from '../../src/domain/drill-report.ts'
import type { Manifest } from '../../src/domain/manifest.ts'
import { backupFolder } from '../../src/storage/object-keys.ts'
import { madeUpCatalog } from '../metrics/made-up-catalog.ts'
import { MemoryStore } from '../support/memory-store.ts'
import { storeSetOf } from '../support/store-sets.ts'
import {
  clock,
  manifestAt,
  present,
  recordOf,
  reportOf,
  rolesManifestAt,
  sha256Of,
  signal,
  storeBackup,
  storeRecord,
} from './stored.ts'

/** A chain of nightly backups, each naming the one before it. */
function chain(length: number): Manifest[] {
  const manifests: Manifest[] = []
  for (let day = 1; day <= length; day += 1) {
    const before = manifests.at(-1)
    const previous = before === undefined ? null : { label: before.label, sha256: sha256Of(before) }
    manifests.push(manifestAt(`2026-11-${String(day).padStart(2, '0')}T02:00:00Z`, { previous }))
  }
  return manifests
}

type Seen = { readonly pruned?: readonly Manifest[]; readonly reports?: readonly DrillReport[] }

function catalogOf(stored: readonly Manifest[], { pruned = [], reports = [] }: Seen = {}): Catalog {
  const catalog = new Catalog({ clock })
  for (const manifest of stored)
    catalog.addBackup({ manifest: manifest, manifestSha256: sha256Of(manifest), hasSignature: false }, ['store'])
  if (pruned.length > 0) catalog.addPrune(recordOf(pruned), 'store')
  for (const report of reports) catalog.addDrill(report, ['store'])
  return catalog
}

const gapsOf = (stored: readonly Manifest[], seen: Seen = {}) => catalogOf(stored, seen).historyGaps()

const all = chain(6)
const [first, second, third, fourth, , newest] = all as [Manifest, Manifest, Manifest, Manifest, Manifest, Manifest]
const without = (...gone: readonly Manifest[]): Manifest[] => all.filter((manifest) => !gone.includes(manifest))
const drillOf = (manifest: Manifest, changes: Partial<DrillReport> = {}): DrillReport =>
  reportOf(manifest, '2026-11-20T05:00:00Z', changes)

describe('the chain of manifests', () => {
  it('whole - no gap, and every link holds', () => {
    expect(gapsOf(all)).toEqual([])
    expect(catalogOf(all).historyChains()).toEqual([
      { kind: 'database', server: 'main', database: 'app', backups: 6, links: 5, whole: 5, pruned: 0, gaps: 0 },
    ])
  })

  it('somebody wrote a record that names one backup’s folder 50,000 times - told in a moment', () => {
    const [one] = recordOf([second]).removed
    const removed = Array.from({ length: 50_000 }, (_, index) => {
      return { ...(one as NonNullable<typeof one>), manifestSha256: index.toString(16).padStart(64, '0') }
    })
    const catalog = catalogOf(without(second))
    catalog.addPrune({ ...recordOf([second]), removed }, 'store')
    const started = process.cpuUsage()
    expect(catalog.historyGaps().map(({ label }) => label)).toEqual([second.label])
    expect(catalog.historyChains().map(({ pruned }) => pruned)).toEqual([50_000])
    expect(process.cpuUsage(started).user / 1e6).toBeLessThan(2)
  })

  it('pruned, as the record says - no gap, and the pruned ones are counted', () => {
    const pruned = [second, third, fourth]
    expect(gapsOf(without(...pruned), { pruned })).toEqual([])
    expect(catalogOf(without(...pruned), { pruned }).historyChains()).toMatchObject([
      { backups: 3, links: 2, whole: 2, pruned: 3, gaps: 0 },
    ])
  })

  it('a backup that somebody removed - a gap, noticed by the manifest of the one after it', () => {
    expect(gapsOf(without(third))).toEqual([
      {
        kind: 'database',
        server: 'main',
        database: 'app',
        label: third.label,
        found: 'removed',
        witnesses: [{ by: 'manifest', label: fourth.label }],
      },
    ])
    expect(catalogOf(without(third)).historyChains()).toMatchObject([{ links: 4, whole: 3, gaps: 1 }])
  })

  it('a backup that somebody replaced - a gap', () => {
    const replaced = all.map((manifest) => (manifest === third ? { ...manifest, pgproofVersion: '9.9.9' } : manifest))
    expect(gapsOf(replaced)).toMatchObject([{ label: third.label, found: 'replaced' }])
  })

  it('a record that names another manifest under that label - does not excuse the removal', () => {
    const other = { ...third, pgproofVersion: '9.9.9' }
    expect(gapsOf(without(third), { pruned: [other] })).toMatchObject([{ label: third.label, found: 'removed' }])
  })
})

describe('what drill reports remember', () => {
  it('the newest backup removed after it was drilled - a gap, though no manifest follows it', () => {
    const report = drillOf(newest)
    expect(gapsOf(without(newest))).toEqual([])
    expect(gapsOf(without(newest), { reports: [report] })).toMatchObject([
      { label: newest.label, found: 'removed', witnesses: [{ by: 'drill report', label: report.label }] },
    ])
  })

  it('every backup of a database removed - a gap for the drilled one, and the chain says 0 backups', () => {
    expect(catalogOf([], { reports: [drillOf(newest)] }).historyChains()).toMatchObject([{ backups: 0, gaps: 1 }])
  })

  it('a drilled backup that a prune removed - no gap', () => {
    expect(gapsOf(without(first), { pruned: [first], reports: [drillOf(first)] })).toEqual([])
  })

  it('the newest backup replaced after it was drilled - a gap', () => {
    const forged = { ...newest, pgproofVersion: '9.9.9' }
    expect(gapsOf([...without(newest), forged], { reports: [drillOf(newest)] })).toMatchObject([
      { label: newest.label, found: 'replaced', witnesses: [{ by: 'drill report' }] },
    ])
  })

  it('one removed backup, noticed by a manifest and two drills - one gap with three witnesses', () => {
    const reports = [drillOf(third), drillOf(third, { label: drillOf(third).label.replace('dr11', 'dr22') })]
    const gaps = gapsOf(without(third), { reports })
    expect(gaps).toHaveLength(1)
    expect(gaps[0]?.witnesses.map(({ by }) => by)).toEqual(['manifest', 'drill report', 'drill report'])
  })

  it('the roles that a drill replayed are gone and no prune removed them - a gap of the server', () => {
    const roles = rolesManifestAt('2026-11-05T03:00:00Z')
    const report = drillOf(newest, { rolesBackup: { label: roles.label, manifestSha256: sha256Of(roles) } })
    expect(gapsOf([...all, roles], { reports: [report] })).toEqual([])
    expect(gapsOf(all, { reports: [report], pruned: [roles] })).toEqual([])
    expect(gapsOf(all, { reports: [report] })).toMatchObject([
      { kind: 'roles', server: 'main', database: null, label: roles.label, found: 'removed' },
    ])
  })

  it('the roles that a drill replayed were replaced under their label - a gap of the server, also if pruned as another', () => {
    const roles = rolesManifestAt('2026-11-05T03:00:00Z')
    const forged = { ...roles, pgproofVersion: '9.9.9' }
    const report = drillOf(newest, { rolesBackup: { label: roles.label, manifestSha256: sha256Of(roles) } })
    const gap = {
      kind: 'roles',
      server: 'main',
      database: null,
      label: roles.label,
      witnesses: [{ by: 'drill report' }],
    }
    expect(gapsOf([...all, forged], { reports: [report] })).toMatchObject([{ ...gap, found: 'replaced' }])
    expect(gapsOf(all, { reports: [report], pruned: [forged] })).toMatchObject([{ ...gap, found: 'removed' }])
  })

  it('a drilled backup whose manifest cannot be read - damaged, not vanished', async () => {
    const { catalog, store } = await madeUpCatalog(clock, { manifests: all, reports: [drillOf(newest)] })
    await store.put(`${backupFolder(newest)}manifest.json`, Buffer.from('{"format":1'), { signal })
    store.objects.set(`${backupFolder(newest)}manifest.json`, { body: Buffer.from('{'), modifiedAt: new Date(0) })
    await catalog.refresh(storeSetOf(store), signal)
    expect(catalog.damaged()).toHaveLength(1)
    expect(catalog.historyGaps()).toEqual([])
  })
})

describe('a backup that is in the store and in a prune’s record', () => {
  const prunedAt = new Date('2026-11-10T00:00:00Z')
  const later = new Date('2026-11-12T00:00:00Z')

  async function putBackAt(manifestAtStore: Date): Promise<Catalog> {
    const times = { now: manifestAtStore }
    const store = new MemoryStore({ ...clock, now: () => times.now })
    for (const manifest of all) await storeBackup(store, manifest)
    times.now = prunedAt
    await storeRecord(store, recordOf([second], prunedAt.toISOString()))
    const catalog = new Catalog({ clock })
    await catalog.refresh(storeSetOf(store), signal)
    return catalog
  }

  it('written after the record - somebody put it back', async () => {
    expect((await putBackAt(later)).historyGaps()).toMatchObject([
      { label: second.label, found: 'returned', witnesses: [{ by: 'prune record' }] },
    ])
  })

  it('older than the record - the prune could not remove it yet, no gap, not counted as pruned', async () => {
    const catalog = await putBackAt(new Date('2026-11-09T00:00:00Z'))
    expect(catalog.historyGaps()).toEqual([])
    expect(catalog.historyChains()).toMatchObject([{ backups: 6, pruned: 0, gaps: 0 }])
  })

  it('just recorded by this very process - no gap', async () => {
    const catalog = catalogOf(all, { pruned: [second] })
    expect(present > prunedAt).toBe(true)
    expect(catalog.historyGaps()).toEqual([])
  })
})
