import type { DrillReport } from '../domain/drill-report.ts'
import type { BackupSight } from './backup-list.ts'
import type { CopiedBackup } from './merge.ts'
import { drilledFolders, proofOf } from './proof.ts'

/**
 * The backups of which a store has a copy, with what is said of that copy. A failed drill speaks of the copy that it read;
 * one that passed speaks of the backup, of which every copy has the same bytes, unless a drill of this one failed and none
 * passed since. `all` is what is seen in all stores.
 */
export function sightOfStore(store: string, all: BackupSight): BackupSight {
  const backupIn = (folder: string): CopiedBackup | undefined => {
    const copy = all.backupIn(folder)?.copies.find((one) => one.store === store)
    return copy === undefined ? undefined : { ...copy, copies: [copy] }
  }
  const hasFailed = (folder: string): boolean => {
    const reports = all.reportsOf(folder)
    if (!reports.some((report) => report.store === store && report.verdict === 'failed')) return false
    const own = reports.filter((report) => report.store === store)
    const copy = backupIn(folder)
    return copy !== undefined && proofOf(copy, own).isKnownBad
  }
  const counts = (report: DrillReport): boolean =>
    report.store === store || (report.verdict !== 'failed' && !hasFailed(drilledFolders(report).backup))
  return {
    backupIn,
    reportsOf: (folder) => {
      const reports = all.reportsOf(folder)
      return reports.every((report) => report.store === store) ? reports : reports.filter(counts)
    },
  }
}
