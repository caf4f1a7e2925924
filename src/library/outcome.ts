import type { DrillReport } from '../domain/drill-report.ts'
import type { DrillTables } from '../domain/drill-tables.ts'
import type { Manifest } from '../domain/manifest.ts'
import type { PgproofError } from '../errors.ts'

/** A backup that is complete in the store. */
export type BackupOutcome = {
  /** What `restore` and the command line call it: `20261120T020000Z-4f7k`. */
  readonly label: string
  /** The instant that it holds. */
  readonly snapshotTime: Date
  /** Of the encrypted dump in the store, and of what pg_dump wrote. */
  readonly bytes: number
  readonly dumpBytes: number
  readonly manifest: Manifest
  /** Labels of old backups that the retention policy then let go. */
  readonly pruned: readonly string[]
  /** Why that prune failed; the backup is complete all the same. */
  readonly pruneError: PgproofError | null
}

export type DrillOutcome = {
  readonly verdict: DrillReport['verdict']
  /** As it is in the store; names no table. */
  readonly report: DrillReport
  /** Table by table, what was compared and found; null if the drill did not come so far. */
  readonly tables: DrillTables | null
  /** Why the verdict is not `passed`; null when it is. */
  readonly error: PgproofError | null
}
