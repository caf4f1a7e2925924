import type { PgproofError } from '../errors.ts'
import type { DrillReport } from './drill-report.ts'
import type { DrillTables } from './drill-tables.ts'
import type { Evidence } from './evidence.ts'

export type RestorePhase = 'fetch' | 'roles' | 'restore' | 'analyze' | 'query' | 'verify' | 'swap'

/** What was restored, and what whoever ordered it should know. */
export type RestoreResult = {
  readonly backup: {
    readonly label: string
    readonly server: string
    readonly database: string
    readonly snapshotTime: string
    /** PostgreSQL's version at the source. */
    readonly version: string
  }
  readonly target: { readonly server: string; readonly database: string; readonly version: string }
  /**
   * `created` where there was no database, `filled` where it was empty, `replaced` where it was renamed aside, and
   * `kept apart` where what was restored was not put in place; `error` says why, and under which name it is kept.
   */
  readonly outcome: 'created' | 'filled' | 'replaced' | 'kept apart'
  /** The name that the database has now which was there before; null if there was none, or it was empty. */
  readonly aside: string | null
  /** Statements for psql that put that one back in its place. */
  readonly undo: readonly string[]
  readonly roles: {
    readonly label: string
    readonly created: readonly string[]
    readonly kept: readonly string[]
  } | null
  readonly phases: readonly { readonly name: RestorePhase; readonly seconds: number }[]
  readonly seconds: number
  readonly checks: DrillReport['checks']
  /** The comparison, where one was asked for. */
  readonly tables: DrillTables | null
  readonly counts: { readonly tables: number; readonly rows: number | null; readonly largeObjects: number }
  /** What the backup does not hold, object by object. */
  readonly omissions: Evidence['omissions']
  /** Of the extensions, those that run jobs by themselves from now on. */
  readonly schedulers: readonly string[]
  /** Restored disabled: enabling one makes it take changes from its publisher again. */
  readonly subscriptions: readonly string[]
  readonly notes: readonly string[]
  /** Why what was restored was not put in place although the restore came to its end; null if it was. */
  readonly error: PgproofError | null
}
