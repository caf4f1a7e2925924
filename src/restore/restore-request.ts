import type { RestorePhase } from '../domain/restore-result.ts'
import type { PrivateKeys, Recipients } from '../encryption/keys.ts'
import type { TrustedSigners } from '../encryption/sign.ts'
import type { JobParts } from '../parts.ts'
import type { Connection } from '../postgres/connect.ts'

/** Which backup: the one of that label, the newest, or the newest whose snapshot is not later than an instant. */
export type BackupChoice =
  | { readonly by: 'label'; readonly label: string }
  | { readonly by: 'latest' }
  | { readonly by: 'time'; readonly at: Date }

/**
 * What must be true of the target. `create`: it does not exist. `empty`: it exists and holds nothing. `replace`: if it
 * exists it is renamed aside, never dropped.
 */
export type TargetMode = 'create' | 'empty' | 'replace'

export type RestoreRequest = {
  readonly choice: BackupChoice
  /** Undefined where the store holds backups of one server, or of one database, only. */
  readonly server: string | undefined
  readonly database: string | undefined
  /** The store that is read; undefined: whichever has the backup, in their order. */
  readonly from?: string | undefined
  /** Names the database as it is to be called. */
  readonly target: Connection
  readonly mode: TargetMode
  /** Whether sessions in a database that is renamed aside are ended; else they are a reason not to. */
  readonly disconnect: boolean
  /** Whether roles that the target lacks are created from the roles backup; existing ones are never altered. */
  readonly roles: boolean
  /** Whether objects get the owners and the grants that they had. */
  readonly owners: boolean
  readonly privileges: boolean
  /** Whether what was restored is compared with the evidence, before it gets its name. */
  readonly verify: boolean
  /** Parallel jobs of pg_restore. */
  readonly jobs: number
  readonly keys: PrivateKeys
  /** Public keys at hand, to check for whom the backup is encrypted; may be none. */
  readonly recipients: Recipients
  /** Null when no signature is demanded. */
  readonly trustedSigners: TrustedSigners | null
  readonly spoolRoot: string
  readonly binDirs: readonly string[]
}

export type RestoreParts = Pick<JobParts, 'store' | 'stores' | 'catalog' | 'clock' | 'log'> & {
  readonly onProgress?:
    | ((progress: { readonly phase: RestorePhase; readonly doneBytes?: number; readonly totalBytes?: number }) => void)
    | undefined
  /** Asked at the very last, when nobody can write to the database that is replaced; if it rejects, it is not replaced. */
  readonly lastLook?: (() => Promise<void>) | undefined
}
