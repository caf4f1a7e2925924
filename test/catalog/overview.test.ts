import { describe, expect, it } from 'vitest'
import { emptyContents, type StoreContents } from '../../src/catalog/contents.ts'
import { Overview } from '../../src/catalog/overview.ts'
import { Touched, touchedBetween } from '../../src/catalog/touched.ts'
import type { DrillReport } from '../../src/domain/drill-report.ts'
import type { Manifest } from '../../src/domain/manifest.ts'
import type { PruneRecord } from '../../src/domain/prune-record.ts'
import { PgproofError } from '../../src/errors.ts'
import { backupFolder, drillReportKey, pruneRecordKey } from '../../src/storage/object-keys.ts'
import { manifestAt, recordOf, reportOf, rolesManifestAt, sha256Of } from './stored.ts'

/** The same numbers for the same seed, below `below`. */
function numbers(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
}

type Random = (below: number) => number

const storeNames = ['a', 'b'] as const
const dayOf = (day: number): string => new Date(Date.parse('2026-11-01T02:00:00Z') + day * 86_400_000).toISOString()

/** One of two dozen backups of three places; each names the one before it, or another manifest of it. */
function someManifest(random: Random): Manifest {
  const day = 1 + random(8)
  const place = random(3)
  const make = place === 0 ? rolesManifestAt : manifestAt
  const changes = place === 0 ? {} : { database: place === 1 ? 'app' : 'other' }
  const before = make(dayOf(day - 1), changes)
  const sha256 = random(6) === 0 ? 'e'.repeat(64) : sha256Of(before)
  return make(dayOf(day), { ...changes, previous: random(5) === 0 ? null : { label: before.label, sha256 } })
}

function someReport(random: Random): DrillReport {
  const databases = Array.from({ length: 50 }, () => someManifest(random)).filter(({ kind }) => kind === 'database')
  const roles = rolesManifestAt(dayOf(1 + random(8)))
  return reportOf(databases[0] as Manifest, dayOf(10 + random(12)), {
    verdict: (['passed', 'failed', 'inconclusive'] as const)[random(3)] ?? 'passed',
    store: ['a', 'b', 'gone'][random(3)] ?? 'a',
    rolesBackup: random(2) === 0 ? null : { label: roles.label, manifestSha256: sha256Of(roles) },
  } as Partial<DrillReport>)
}

type Step = (contents: StoreContents, touched: Touched) => void

/** What a job, or somebody else, does to a store. */
function someStep(random: Random): Step {
  const manifest = someManifest(random)
  const folder = backupFolder(manifest)
  const report = someReport(random)
  const reportKey = drillReportKey(report.server, report.database, report.label)
  const record: PruneRecord = recordOf([manifest, someManifest(random)], dayOf(22 + random(5)))
  const storedAt = new Date(dayOf(random(30)))
  const faults = random(4) === 0 ? ['dump.zst.pgp is missing'] : []
  const steps: readonly Step[] = [
    ({ backups }, { folders }) => {
      const manifestSha256 = random(8) === 0 ? 'f'.repeat(64) : sha256Of(manifest)
      backups.set(folder, { manifest, manifestSha256, folder, hasSignature: false, storedAt, storedBytes: 7, faults })
      folders.add(folder)
    },
    ({ backups }, { folders }) => backups.delete(folder) && folders.add(folder),
    ({ drills }, touched) => drills.set(reportKey, report) && touched.drills.add(reportKey),
    ({ drills }, touched) => {
      const [key] = [...drills.keys()].slice(random(drills.size + 1))
      if (key !== undefined && drills.delete(key)) touched.drills.add(key)
    },
    ({ prunes }, touched) => {
      const key = pruneRecordKey(record.label)
      // No job writes over a record.
      if (prunes.has(key)) return
      prunes.set(key, record)
      touched.prune(record)
    },
    ({ damaged }, { folders }) => {
      const key = `${folder}manifest.json`
      const error = new PgproofError('STORE_FORMAT_INVALID', { what: key, reason: 'cut' })
      if (!damaged.delete(key)) damaged.set(key, { key, bytes: 1, modifiedAt: storedAt, error })
      folders.add(folder)
    },
  ]
  return steps[random(10) < 5 ? 0 : random(steps.length)] as Step
}

/** Everything that an overview says. */
function saidBy(overview: Overview, names: readonly string[]) {
  const { backups, backupsByPlace, drills, drillsByPlace } = overview.view()
  return {
    backups,
    drills,
    byPlace: [...backupsByPlace].sort(([one], [other]) => (one < other ? -1 : 1)),
    drillsByPlace: [...drillsByPlace].sort(([one], [other]) => (one < other ? -1 : 1)),
    prunes: overview.prunes(),
    gaps: overview.history().gaps(),
    chains: overview.history().chains(),
    inStores: names.map((name) => {
      const view = overview.inStore(name)
      const totals = view.totals().toSorted((one, other) => (String(one.database) < String(other.database) ? -1 : 1))
      return { backups: view.backups(), totals }
    }),
  }
}

const copyOf = (contents: StoreContents): StoreContents => ({
  ...contents,
  backups: new Map([...contents.backups].map(([folder, backup]) => [folder, { ...backup }])),
  drills: new Map(contents.drills),
  prunes: new Map(contents.prunes),
  damaged: new Map(contents.damaged),
})

describe('an overview that follows the changes', () => {
  it.each([
    ['one store', storeNames.slice(0, 1)],
    ['two stores', storeNames],
  ])('%s, 500 random changes - after each it says what one says that is made anew', (_what, names) => {
    const random = numbers(names.length)
    const stores = new Map(names.map((name) => [name as string, emptyContents()]))
    const overview = new Overview()
    overview.show(stores, false)
    for (let round = 0; round < 500; round += 1) {
      const touched = new Touched()
      touched.hasOthers = true
      someStep(random)(stores.get(names[random(names.length)] as string) as StoreContents, touched)
      overview.touch(touched)
      // Not always asked: then several changes come at once.
      if (random(3) === 0) continue
      const anew = new Overview()
      anew.show(stores, false)
      expect(saidBy(overview, names)).toEqual(saidBy(anew, names))
    }
  })

  it.each([
    ['one store', storeNames.slice(0, 1)],
    ['two stores', storeNames],
  ])('%s, read again after random changes - says what one says that is made anew', async (_what, names) => {
    const random = numbers(10 + names.length)
    let stores = new Map(names.map((name) => [name as string, emptyContents()]))
    const overview = new Overview()
    overview.show(stores, false)
    for (let round = 0; round < 80; round += 1) {
      saidBy(overview, names)
      const touched = new Touched()
      const read = new Map<string, StoreContents>()
      for (const [name, before] of stores) {
        const after = copyOf(before)
        for (let step = random(6); step > 0; step -= 1) someStep(random)(after, new Touched())
        touched.add(await touchedBetween(before, after))
        read.set(name, after)
      }
      stores = read
      const isPartial = names.length > 1 && random(5) === 0
      overview.show(stores, isPartial, touched)
      const anew = new Overview()
      anew.show(stores, isPartial)
      expect(saidBy(overview, names)).toEqual(saidBy(anew, names))
    }
  })

  it('one copy of a backup goes, of which a drill had failed in that store - the roles drilled with it are proven there again', () => {
    const [roles, backup] = [rolesManifestAt(dayOf(1)), manifestAt(dayOf(1))]
    const entryOf = (manifest: Manifest) => ({
      ...{ manifest, manifestSha256: sha256Of(manifest), folder: backupFolder(manifest), hasSignature: false },
      ...{ storedAt: new Date(dayOf(1)), storedBytes: 7, faults: [] },
    })
    const rolesBackup = { label: roles.label, manifestSha256: sha256Of(roles) }
    const passed = reportOf(backup, dayOf(2), { store: 'a', rolesBackup })
    const failed = reportOf(backup, dayOf(3), { store: 'b', rolesBackup, verdict: 'failed' })
    const stores = new Map(
      storeNames.map((name) => {
        const contents = emptyContents()
        for (const manifest of [roles, backup]) contents.backups.set(backupFolder(manifest), entryOf(manifest))
        for (const report of [passed, failed])
          contents.drills.set(drillReportKey(report.server, report.database, report.label), report)
        return [name, contents] as const
      }),
    )
    const overview = new Overview()
    overview.show(stores, false)
    const provenRoles = (of: Overview) =>
      of
        .inStore('b')
        .backups()
        .find(({ manifest }) => manifest.kind === 'roles')?.verifiedAt ?? null
    expect(provenRoles(overview)).toBeNull()
    stores.get('b')?.backups.delete(backupFolder(backup))
    const touched = new Touched()
    touched.folders.add(backupFolder(backup))
    overview.touch(touched)
    const anew = new Overview()
    anew.show(stores, false)
    expect(provenRoles(overview)).toEqual(provenRoles(anew))
    expect(provenRoles(overview)).not.toBeNull()
  })

  it('read again and nothing has changed - the same lists as before, so that nobody has to work anything out', async () => {
    const random = numbers(3)
    const contents = emptyContents()
    for (let step = 0; step < 100; step += 1) someStep(random)(contents, new Touched())
    const overview = new Overview()
    overview.show(new Map([['a', contents]]), false)
    const { view, prunes, gaps } = { view: overview.view(), prunes: overview.prunes(), gaps: overview.history().gaps() }
    const again = copyOf(contents)
    overview.show(new Map([['a', again]]), false, await touchedBetween(contents, again))
    expect(overview.view()).toBe(view)
    expect(overview.prunes()).toBe(prunes)
    expect(overview.history().gaps()).toEqual(gaps)
  })
})
