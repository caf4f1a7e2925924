import type { MergeScript } from '../domain/merge-statements.ts'
import type { RestoreResult } from '../domain/restore-result.ts'
import type { TableComparison } from '../domain/table-contents.ts'
import type { TableWish } from '../domain/table-selection.ts'
import type { RestoreParts, RestoreRequest } from './restore-request.ts'

/**
 * Where the tables go. `schema`: beside the live ones, into a schema that the target database does not have; null names
 * it by the backup's instant. `database`: into a database that does not exist, with all definitions and only these rows.
 */
export type TablesPlace = { readonly into: 'schema'; readonly schema: string | null } | { readonly into: 'database' }

export type TablesRequest = Pick<
  RestoreRequest,
  | 'choice'
  | 'server'
  | 'database'
  | 'target'
  | 'jobs'
  | 'keys'
  | 'recipients'
  | 'trustedSigners'
  | 'spoolRoot'
  | 'binDirs'
> &
  TableWish & { readonly place: TablesPlace }

/** `copy`: from the staging database into the live one; `swap`: the database of its own gets its name. */
export type TablesPhase = 'fetch' | 'restore' | 'copy' | 'verify' | 'swap'

export type TablesParts = Omit<RestoreParts, 'onProgress'> & {
  readonly onProgress?:
    | ((progress: { readonly phase: TablesPhase; readonly doneBytes?: number; readonly totalBytes?: number }) => void)
    | undefined
}

export type RestoredTable = {
  /** As SQL writes it. */
  readonly table: string
  /** Where its rows are now. */
  readonly copy: string
  readonly rows: number | null
  /** What was compared with the evidence, and equal. */
  readonly compared: TableComparison['compared']
  /** Whether the target has a table of that name: to be merged with, or gone; null for a database of its own. */
  readonly live: 'there' | 'gone' | 'something else' | null
}

/** A document: nothing in it needs more than JSON. */
export type TablesResult = Pick<RestoreResult, 'backup' | 'target' | 'seconds' | 'checks'> & {
  readonly into: 'schema' | 'database'
  /** Null for a database of its own. */
  readonly schema: string | null
  /** Partitions one by one; their table has no rows of its own and is not among them. */
  readonly tables: readonly RestoredTable[]
  /** How to bring it back, in the order of use; none for a database of its own. */
  readonly statements: readonly MergeScript[]
  readonly notes: readonly string[]
  readonly phases: readonly { readonly name: TablesPhase; readonly seconds: number }[]
}
