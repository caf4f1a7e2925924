import { parseTarget } from '../commands/target.ts'
import type { RestoreResult } from '../domain/restore-result.ts'
import { PgproofError } from '../errors.ts'
import { targetOf } from '../jobs/order-restore.ts'
import type { BackupChoice } from '../restore/restore-request.ts'
import { restoreAs } from './carry-out.ts'
import { withInstallation } from './open.ts'
import type { PgproofOptions, RestoreManner } from './options.ts'

export type RestoreOrder = RestoreManner & {
  /** A label, `latest`, or the newest that is not later than an instant. */
  readonly backup: string | Date
  /** Of which database the backup is (`main/shop`). Needed only where the store holds backups of several. */
  readonly from?: string | undefined
  /** `postgres://user@host:5432/database`. Without a password, that of a configured server there, PGPASSFILE or ~/.pgpass. */
  readonly to: string
  /** The database of `to` does not exist yet. */
  readonly create?: boolean | undefined
  /** It exists and is renamed aside, whole. Without `create` and `force` it must be empty. */
  readonly force?: boolean | undefined
}

/**
 * Restores a backup as `pgproof restore` does: under another name first, put in place only when it is whole. Throws a
 * `PgproofError`; whatever database was there is then as it was.
 */
export async function restore(order: RestoreOrder, options: PgproofOptions = {}): Promise<RestoreResult> {
  if (order.create === true && order.force === true)
    throw new PgproofError('USAGE_INVALID', { reason: '`create` and `force` exclude each other' })
  return await withInstallation(options, { writes: false }, async (installation, signal) => {
    const { config } = installation
    const place = order.from === undefined ? undefined : parseTarget(order.from, config.servers)
    const wish = {
      choice: choiceOf(order.backup),
      server: place?.server,
      database: place?.database ?? undefined,
      target: targetOf(order.to, config, options.cwd ?? process.cwd()),
      mode: order.force === true ? 'replace' : order.create === true ? 'create' : 'empty',
    } as const
    return await restoreAs(wish, order, installation, signal)
  })
}

function choiceOf(backup: string | Date): BackupChoice {
  if (backup === 'latest') return { by: 'latest' }
  if (typeof backup === 'string') return { by: 'label', label: backup }
  if (Number.isNaN(backup.getTime())) throw new PgproofError('USAGE_INVALID', { reason: '`backup` is an invalid Date' })
  return { by: 'time', at: backup }
}
