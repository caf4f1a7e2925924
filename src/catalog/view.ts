import type { DrillReport } from '../domain/drill-report.ts'
import type { Manifest } from '../domain/manifest.ts'
import type { CatalogBackup, OrderedBackups } from './backup-list.ts'
import { onceForEach } from './once-for-each.ts'
import { placeKey } from './place-key.ts'
import type { Job } from './runs.ts'

/** The contents of the stores in the orders in which they are asked for; another object whenever a backup or a drill has changed. */
export type CatalogView = OrderedBackups & {
  /** Newest first, as every list here. */
  readonly drills: readonly DrillReport[]
  readonly drillsByPlace: ReadonlyMap<string, readonly DrillReport[]>
}

export type BackupFilter = {
  readonly kind?: 'database' | 'roles' | undefined
  readonly server?: string | undefined
  readonly database?: string | undefined
}

/** Made when they are asked for. */
const byKind = onceForEach((backups: readonly CatalogBackup[]) => {
  return Map.groupBy(backups, ({ manifest }) => manifest.kind)
})

/** Newest first; a list that is kept wherever there is one. */
export function backupsIn(view: OrderedBackups, filter: BackupFilter): readonly CatalogBackup[] {
  const { kind, server, database } = filter
  if (server !== undefined && database !== undefined && kind !== 'roles')
    return view.backupsByPlace.get(placeKey('database', server, database)) ?? []
  if (server !== undefined && database === undefined && kind === 'roles')
    return view.backupsByPlace.get(placeKey('roles', server, null)) ?? []
  if (server === undefined && database === undefined)
    return kind === undefined ? view.backups : (byKind(view.backups).get(kind) ?? [])
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
