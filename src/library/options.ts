import type { RestorePhase } from '../domain/restore-result.ts'

/** Where the configuration comes from, and how a call is watched and cancelled. */
export type PgproofOptions = {
  /** Path of the configuration file, relative to `cwd`. Default: what PGPROOF_CONFIG names, or PGPROOF_… variables alone. */
  readonly config?: string | undefined
  /** Default: the environment of the process. */
  readonly env?: Readonly<Record<string, string | undefined>> | undefined
  /** Default: the working directory of the process. */
  readonly cwd?: string | undefined
  /** Cancels: everything that was begun is undone or removed, then the call throws CANCELLED. */
  readonly signal?: AbortSignal | undefined
  /** Gets each line of the log as JSON, at the level of `log.level`. Default: nothing is logged, and nothing is ever printed. */
  readonly log?: ((line: string) => void) | undefined
}

/** How far a restore is; the bytes are those of the download. */
export type RestoreProgress = {
  readonly phase: RestorePhase
  readonly doneBytes?: number
  readonly totalBytes?: number
}

/** How a restore puts things in place. */
export type RestoreManner = {
  /** Sessions in a database that is renamed aside are ended; else they are a reason not to. Default: false. */
  readonly disconnect?: boolean | undefined
  /** Roles that the target lacks are created from the roles backup; existing ones are never altered. Default: false. */
  readonly roles?: boolean | undefined
  /** Objects get the owners, and the grants, that they had. Default: true. */
  readonly owners?: boolean | undefined
  readonly privileges?: boolean | undefined
  /** Compares what was restored with what the database held, before it is put in place. Default: false. */
  readonly verify?: boolean | undefined
  /** Parallel jobs of pg_restore. Default: one for each processor, at most eight. */
  readonly jobs?: number | undefined
  readonly onProgress?: ((progress: RestoreProgress) => void) | undefined
}
