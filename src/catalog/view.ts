import type { DrillReport } from '../domain/drill-report.ts'
import type { Manifest } from '../domain/manifest.ts'
import { backupFolder } from '../storage/object-keys.ts'
import type { CopiedBackup, MergedContents } from './merge.ts'
import { onceForEach } from './once-for-each.ts'
import { collectProofs, type Proof } from './proof.ts'
import type { Job } from './runs.ts'

/** A backup in the stores, with what is proven of it. */
export type CatalogBackup = CopiedBackup & Proof & { readonly snapshotTime: Date }

export type BackupFilter = {
  readonly kind?: 'database' | 'roles' | undefined
  readonly server?: string | undefined
  readonly database?: string | undefined
}

/** The contents of the store in the orders in which they are asked for; built once for each change. */
export type CatalogView = {
  /** Newest first, as every list here. */
  readonly backups: readonly CatalogBackup[]
  readonly backupsByPlace: ReadonlyMap<string, readonly CatalogBackup[]>
  readonly drills: readonly DrillReport[]
  readonly drillsByPlace: ReadonlyMap<string, readonly DrillReport[]>
}

export function buildView(contents: Pick<MergedContents, 'backups' | 'drills'>): CatalogView {
  const proofOf = collectProofs(contents.drills.values())
  const backups = Array.from(contents.backups.values(), (backup) => withProof(backup, proofOf(backup)))
  backups.sort((a, b) => b.snapshotTime.getTime() - a.snapshotTime.getTime() || (a.folder < b.folder ? 1 : -1))
  const finished = Array.from(contents.drills.values(), (report) => ({ report, at: Date.parse(report.finishedAt) }))
  finished.sort((a, b) => b.at - a.at || (a.report.label < b.report.label ? 1 : -1))
  const drills = finished.map(({ report }) => report)
  return {
    backups,
    backupsByPlace: Map.groupBy(backups, ({ manifest }) => readManifest(manifest).place),
    drills,
    drillsByPlace: Map.groupBy(drills, ({ server, database }) => placeKey('database', server, database)),
  }
}

/** What the order goes by. The manifest of a backup stays the same object from one reading of the store to the next. */
const readManifest = onceForEach(({ kind, server, database, snapshotTime }: Manifest) => {
  return { snapshotTime: new Date(snapshotTime), place: placeKey(kind, server, database) }
})

/** The same object as before where nothing is known that was not. */
function withProof(backup: CopiedBackup, proof: Proof): CatalogBackup {
  const before = proven.get(backup)
  if (before !== undefined && isSameProof(before, proof)) return before
  const backupWithProof = { ...backup, ...proof, snapshotTime: readManifest(backup.manifest).snapshotTime }
  proven.set(backup, backupWithProof)
  return backupWithProof
}

const proven = new WeakMap<CopiedBackup, CatalogBackup>()

function isSameProof(one: Proof, other: Proof): boolean {
  return (
    one.verifiedAt?.getTime() === other.verifiedAt?.getTime() &&
    one.lastDrilledAt?.getTime() === other.lastDrilledAt?.getTime() &&
    one.lastVerdict === other.lastVerdict
  )
}

/**
 * The backups of which a store has a copy, newest first, with what is said of that copy. A failed drill speaks of the copy
 * that it read; one that passed speaks of the backup, of which every copy has the same bytes, unless a drill of this one
 * failed and none passed since.
 */
export function backupsInStore(
  contents: Pick<MergedContents, 'backups' | 'drills'>,
  store: string,
): readonly CatalogBackup[] {
  const own = [...contents.drills.values()].filter((report) => report.store === store)
  const proofOf = collectProofs(own.filter(({ verdict }) => verdict !== 'inconclusive'))
  const held = [...contents.backups].flatMap(([folder, backup]): [string, CopiedBackup][] => {
    const copy = backup.copies.find((one) => one.store === store)
    return copy === undefined ? [] : [[folder, { ...copy, copies: [copy] }]]
  })
  const failed = new Set(held.flatMap(([folder, copy]) => (proofOf(copy).lastVerdict === 'failed' ? [folder] : [])))
  const reports = [...contents.drills].filter(([, report]) => {
    if (report.store === store) return true
    const { server, database, verdict, backup } = report
    return (
      verdict !== 'failed' && !failed.has(backupFolder({ kind: 'database', server, database, label: backup.label }))
    )
  })
  return buildView({ backups: new Map(held), drills: new Map(reports) }).backups
}

/** Made when they are asked for. */
const byKind = onceForEach((view: CatalogView) => Map.groupBy(view.backups, ({ manifest }) => manifest.kind))
const byLabel = onceForEach((view: CatalogView) => Map.groupBy(view.backups, ({ manifest }) => manifest.label))

export function labelled(view: CatalogView, label: string): readonly CatalogBackup[] {
  return byLabel(view).get(label) ?? []
}

/** Newest first; a list that is kept wherever there is one. */
export function backupsIn(view: CatalogView, filter: BackupFilter): readonly CatalogBackup[] {
  const { kind, server, database } = filter
  if (server !== undefined && database !== undefined && kind !== 'roles')
    return view.backupsByPlace.get(placeKey('database', server, database)) ?? []
  if (server !== undefined && database === undefined && kind === 'roles')
    return view.backupsByPlace.get(placeKey('roles', server, null)) ?? []
  if (server === undefined && database === undefined)
    return kind === undefined ? view.backups : (byKind(view).get(kind) ?? [])
  return view.backups.filter(({ manifest }) => isOf(manifest, filter))
}

/** Every database with a backup, in order of server and name. */
export const databasesIn = onceForEach((view: CatalogView): readonly { server: string; database: string }[] => {
  const keys = [...view.backupsByPlace.keys()].sort()
  return keys.flatMap((key) => {
    const { kind, server, database } = view.backupsByPlace.get(key)?.[0]?.manifest ?? {}
    return kind !== 'database' || server === undefined || database == null ? [] : [{ server, database }]
  })
})

/** The drills of a server, of a database, or all. */
export function drillsIn(view: CatalogView, { server, database }: Omit<BackupFilter, 'kind'>): readonly DrillReport[] {
  if (server !== undefined && database !== undefined)
    return view.drillsByPlace.get(placeKey('database', server, database)) ?? []
  return view.drills.filter(
    (report) => (server ?? report.server) === report.server && (database ?? report.database) === report.database,
  )
}

/**
 * When the job last started by what the store holds, not after `now`. Runs of one place do not overlap, so the first
 * that fits in a list of the newest first is the last that started; dates are parsed only up to there.
 */
export function lastStoredStart(
  view: CatalogView,
  server: string,
  database: string | null,
  job: Exclude<Job, 'prune' | 'sync'>,
  now: Date,
  which: 'any' | 'conclusive' = 'any',
): readonly Date[] {
  const key = job === 'roles' ? placeKey('roles', server, null) : placeKey('database', server, database)
  const newestFirst = job === 'drill' ? (view.drillsByPlace.get(key) ?? []) : (view.backupsByPlace.get(key) ?? [])
  for (const entry of newestFirst) {
    if (which === 'conclusive' && 'verdict' in entry && entry.verdict === 'inconclusive') continue
    const start = new Date('manifest' in entry ? entry.manifest.startedAt : entry.startedAt)
    if (start <= now) return [start]
  }
  return []
}

export function latestUntil(now: Date, instants: readonly Date[]): Date | null {
  return instants.reduce<Date | null>((latest, instant) => {
    return instant > now || (latest !== null && latest > instant) ? latest : instant
  }, null)
}

export function isOf(manifest: Manifest, { kind, server, database }: BackupFilter): boolean {
  if (kind !== undefined && manifest.kind !== kind) return false
  if (server !== undefined && manifest.server !== server) return false
  return database === undefined || manifest.database === database
}

export function placeKey(kind: 'database' | 'roles', server: string, database: string | null): string {
  return JSON.stringify([kind, server, database])
}
