import type { CatalogBackup } from '../catalog/catalog.ts'
import type { Run } from '../catalog/runs.ts'
import type { FullDrillReport } from '../domain/full-drill-report.ts'
import type { DrillRequest, DrillResult } from '../drill/drill-request.ts'
import type { ScratchSettings } from '../drill/scratch.ts'
import type { PgproofError } from '../errors.ts'

export type FullDrillRequest = Pick<
  DrillRequest,
  'server' | 'keys' | 'trustedSigners' | 'signingKey' | 'spoolRoot' | 'jobs' | 'rtoMs'
> & {
  /** Every database with a backup, in order of their names: at least one. */
  readonly drills: readonly {
    readonly drill: DrillRequest
    /** The newest; the drill picks it by the rule `latest`. */
    readonly backup: CatalogBackup
    readonly isConfigured: boolean
  }[]
  /** Databases that are named in the configuration and have no backup. */
  readonly missing: readonly string[]
  /** Why the newest manifest of a database cannot be read: what is drilled is an older backup, or there is none. */
  readonly unreadable: ReadonlyMap<string, PgproofError>
  /** The one that is replayed for all of them; null if there is none. */
  readonly rolesBackup: CatalogBackup | null
  readonly scratch: Exclude<ScratchSettings, { readonly kind: 'opened' }>
  /** Of each drill. */
  readonly deadlineMs: number
  readonly trigger: Run['trigger']
}

export type FullDrillResult = {
  readonly report: FullDrillReport
  /** The drills that were carried out, in order. */
  readonly drills: readonly DrillResult[]
  /** Why the verdict is not `passed`; null when it is. */
  readonly error: PgproofError | null
}
