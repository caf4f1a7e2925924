import { backUp, placeOf } from './carry-out.ts'
import { withInstallation } from './open.ts'
import type { PgproofOptions } from './options.ts'
import type { BackupOutcome } from './outcome.ts'

export type BackupOptions = PgproofOptions & {
  /** The roles of the server that `target` names, instead of a database. */
  readonly roles?: boolean | undefined
}

/**
 * Backs up one configured database (`main/shop`), as `pgproof backup` does: dump, evidence, encryption, upload, prune.
 * Throws a `PgproofError`, LOCKED while another backup of that database is running.
 */
export async function backup(target: string, options: BackupOptions = {}): Promise<BackupOutcome> {
  return await withInstallation(options, { writes: true }, (installation, signal) =>
    backUp(placeOf(target, options.roles === true, installation), installation, signal),
  )
}
