import { labelTime } from '../domain/backup-label.ts'
import type { DrillReport } from '../domain/drill-report.ts'
import type { PruneRecord } from '../domain/prune-record.ts'
import { backupFolder, drillReportKey, fullDrillReportKey, objectNames } from '../storage/object-keys.ts'
import type { DamagedObject, FullDrillPlace, OrphanFolder, StoreContents } from './contents.ts'
import type { MergedContents } from './merge.ts'
import { isDrillReportKey } from './places.ts'
import { type BackupFilter, backupsInStore, type CatalogBackup, isOf } from './view.ts'

/** What one of the stores holds. */
export type StoreView = {
  /** Newest first, with what is said of the copy in this store. */
  backups(filter?: BackupFilter): readonly CatalogBackup[]
  /** Of each database, and of each server's roles (`database` null), what the copies here amount to. */
  totals(): readonly StoreTotals[]
  /** Folders of backups that it pruned. */
  readonly prunedFolders: ReadonlySet<string>
  readonly prunes: readonly PruneRecord[]
  readonly drills: readonly DrillReport[]
  readonly fullDrills: readonly FullDrillPlace[]
  /** Keys of the reports of drills and of full drills. */
  readonly reports: ReadonlySet<string>
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

/**
 * `merged` and `ordered` are asked only for backups: putting ten thousand of them in order after each change takes its time.
 * `ordered` is the view of all stores, which is also that of a store that is alone; null where it is not.
 */
export function viewStore(
  store: string,
  contents: StoreContents,
  merged: () => MergedContents,
  ordered: (() => readonly CatalogBackup[]) | null,
): StoreView {
  let all: readonly CatalogBackup[] | undefined
  let totals: readonly StoreTotals[] | undefined
  const backups = (): readonly CatalogBackup[] => {
    // A drill of a copy in a store that is gone, or had another name, says something else here.
    const isSame = ordered !== null && [...contents.drills.values()].every((report) => report.store === store)
    all ??= isSame ? ordered() : backupsInStore(merged(), store)
    return all
  }
  let prunedFolders: ReadonlySet<string> | undefined
  let reports: ReadonlySet<string> | undefined
  return {
    backups: (filter = {}) => {
      const { kind, server, database } = filter
      const isEverything = kind === undefined && server === undefined && database === undefined
      return isEverything ? backups() : backups().filter(({ manifest }) => isOf(manifest, filter))
    },
    totals: () => {
      totals ??= totalsOf(backups())
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
    prunes: [...contents.prunes.values()],
    drills: [...contents.drills.values()],
    fullDrills: contents.fullDrills,
    orphans: [...contents.orphans.values()],
    damagedKeys: new Set(contents.damaged.keys()),
    unreadableKeys: [...contents.damaged.values()].filter(isUnreadable).map(({ key }) => key),
  }
}

function foldersPruned(prunes: Iterable<PruneRecord>): ReadonlySet<string> {
  const folders = new Set<string>()
  for (const { removed } of prunes) for (const one of removed) folders.add(backupFolder(one))
  return folders
}

function totalsOf(newestFirst: readonly CatalogBackup[]): readonly StoreTotals[] {
  const places = Map.groupBy(newestFirst, ({ manifest: { server, database } }) => JSON.stringify([server, database]))
  return Array.from(places.values(), (backups) => {
    const { server, database } = (backups[0] as CatalogBackup).manifest
    const bytes = backups.reduce((sum, { storedBytes }) => sum + storedBytes, 0)
    return {
      server,
      database,
      bytes,
      newestWhole: backups.find(({ faults }) => faults.length === 0)?.snapshotTime ?? null,
    }
  })
}

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
