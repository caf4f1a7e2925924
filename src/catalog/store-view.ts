import { labelTime } from '../domain/backup-label.ts'
import type { DrillReport } from '../domain/drill-report.ts'
import type { Prune } from '../domain/prune-record.ts'
import { backupFolder, drillReportKey, fullDrillReportKey, objectNames, tablesKeyOf } from '../storage/object-keys.ts'
import type { CatalogBackup, OrderedBackups } from './backup-list.ts'
import type { DamagedObject, OrphanFolder, StoreContents } from './contents.ts'
import { onceForEach } from './once-for-each.ts'
import { type FullDrillPlace, isDrillReportKey } from './places.ts'
import { type BackupFilter, backupsIn } from './view.ts'

/** What one of the stores holds. */
export type StoreView = {
  /** Newest first, with what is said of the copy in this store. */
  backups(filter?: BackupFilter): readonly CatalogBackup[]
  /** Of each database, and of each server's roles (`database` null), what the copies here amount to. */
  totals(): readonly StoreTotals[]
  /** Folders of backups that it pruned. */
  readonly prunedFolders: ReadonlySet<string>
  readonly prunes: readonly Prune[]
  readonly drills: readonly DrillReport[]
  readonly fullDrills: readonly FullDrillPlace[]
  /** Keys of the reports of drills and of full drills. */
  readonly reports: ReadonlySet<string>
  /** Those of them that lack nothing of what they say is beside them. */
  readonly wholeReports: ReadonlySet<string>
  readonly orphans: readonly OrphanFolder[]
  /** Keys of manifests, reports and records that are not what they should be. */
  readonly damagedKeys: ReadonlySet<string>
  /** Those of them that were ours, for all we know: what they said of backups and drills is lost. */
  readonly unreadableKeys: readonly string[]
}

export type StoreTotals = {
  readonly server: string
  readonly database: string | null
  /** Of all objects of all backups. */
  readonly bytes: number
  /** Snapshot time of the newest backup of which every object is there. */
  readonly newestWhole: Date | null
}

/** `ordered` is asked only for backups: it takes its time with ten thousand of them, once. */
export function viewStore(contents: StoreContents, ordered: () => OrderedBackups): StoreView {
  let all: OrderedBackups | undefined
  const backups = (): OrderedBackups => {
    all ??= ordered()
    return all
  }
  let totals: readonly StoreTotals[] | undefined
  let prunedFolders: ReadonlySet<string> | undefined
  let reports: ReadonlySet<string> | undefined
  let wholeReports: ReadonlySet<string> | undefined
  return {
    backups: (filter = {}) => backupsIn(backups(), filter),
    totals: () => {
      totals ??= [...backups().backupsByPlace.values()].map(totalsOf)
      return totals
    },
    get prunedFolders() {
      prunedFolders ??= foldersPruned(contents.prunes.values())
      return prunedFolders
    },
    get reports() {
      reports ??= new Set(reportsOf(contents).map(({ key }) => key))
      return reports
    },
    get wholeReports() {
      wholeReports ??= new Set([...this.reports].filter((key) => !contents.damaged.has(tablesKeyOf(key))))
      return wholeReports
    },
    prunes: [...contents.prunes.values()],
    drills: [...contents.drills.values()],
    fullDrills: contents.fullDrills,
    orphans: [...contents.orphans.values()],
    damagedKeys: new Set(contents.damaged.keys()),
    unreadableKeys: [...contents.damaged.values()].filter(isUnreadable).map(({ key }) => key),
  }
}

function foldersPruned(prunes: Iterable<Prune>): ReadonlySet<string> {
  const folders = new Set<string>()
  for (const { removed } of prunes) for (const one of removed) folders.add(backupFolder(one))
  return folders
}

/** Of the backups of one place, newest first. */
const totalsOf = onceForEach((newestFirst: readonly CatalogBackup[]): StoreTotals => {
  const { server, database } = (newestFirst[0] as CatalogBackup).manifest
  return {
    server,
    database,
    bytes: newestFirst.reduce((sum, { storedBytes }) => sum + storedBytes, 0),
    newestWhole: newestFirst.find(({ faults }) => faults.length === 0)?.snapshotTime ?? null,
  }
})

/** Not what a stranger put there, nor the detailed part of a report, which proves nothing. */
function isUnreadable({ key, error }: DamagedObject): boolean {
  return error.code.startsWith('STORE_FORMAT_') && (key.endsWith(`/${objectNames.manifest}`) || isDrillReportKey(key))
}

/** Every report of a drill or full drill in a store, and when that began. */
export function reportsOf({
  drills,
  fullDrills,
}: {
  readonly drills: ReadonlyMap<string, DrillReport>
  readonly fullDrills: readonly FullDrillPlace[]
}): readonly { readonly key: string; readonly at: Date }[] {
  return [
    ...Array.from(drills.values(), ({ server, database, label }) => ({
      key: drillReportKey(server, database, label),
      at: labelTime(label) ?? new Date(0),
    })),
    ...fullDrills.map(({ server, label }) => ({
      key: fullDrillReportKey(server, label),
      at: labelTime(label) ?? new Date(0),
    })),
  ]
}
