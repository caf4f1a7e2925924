import type { CatalogBackup } from '../catalog/catalog.ts'
import type { DrillReport } from '../domain/drill-report.ts'
import type { DrillTables } from '../domain/drill-tables.ts'
import type { PrivateKeys, Recipients } from '../encryption/keys.ts'
import type { SigningKey, TrustedSigners } from '../encryption/sign.ts'
import type { PgproofError } from '../errors.ts'
import type { JobParts } from '../parts.ts'
import type { ScratchSettings } from './scratch.ts'

/** A question the operator asks of the restored copy; `{{snapshotTime}}` becomes the backup's instant (ISO 8601). */
export type OperatorCheck = { readonly name: string; readonly sql: string }

export type DrillRequest = {
  readonly server: string
  readonly database: string
  /** A label, or null to pick by `rule`. */
  readonly backup: string | null
  readonly rule: 'random' | 'latest'
  /** The store whose copy is restored; null: the one whose turn it is. */
  readonly store: string | null
  /** Decides a random pick; recorded in the report. */
  readonly seed: number
  /** How far back a random draw goes; a backup's turn comes whatever its age. */
  readonly withinMs?: number | undefined
  readonly keys: PrivateKeys
  /** The report's table-by-table part is encrypted to these. */
  readonly recipients: Recipients
  /** Null when no signature is demanded. */
  readonly trustedSigners: TrustedSigners | null
  /** Signs the report; null where none is configured. */
  readonly signingKey: SigningKey | null
  readonly scratch: ScratchSettings
  /** The roles backup to replay; absent: the one that belongs to the backup. */
  readonly rolesBackup?: CatalogBackup | undefined
  readonly spoolRoot: string
  /** Parallel jobs of pg_restore. */
  readonly jobs: number
  readonly binDirs: readonly string[]
  /** Whether PostgreSQL's amcheck looks at every page and B-tree of the restored database. */
  readonly amcheck: boolean
  readonly checks: readonly OperatorCheck[]
  readonly rtoMs: number | null
  /** How long the order waited before it started. */
  readonly queuedSeconds: number
}

export type DrillParts = JobParts & {
  readonly onProgress?:
    | ((progress: { readonly phase: string; readonly doneBytes?: number; readonly totalBytes?: number }) => void)
    | undefined
}

export type DrillResult = {
  readonly report: DrillReport
  readonly tables: DrillTables | null
  /** Why the verdict is not `passed`; null when it is. */
  readonly error: PgproofError | null
}
