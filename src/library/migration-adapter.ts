import { parseTarget, type Target } from '../commands/target.ts'
import { isLabel } from '../domain/backup-label.ts'
import { PgproofError } from '../errors.ts'
import { connectionTo, type Installation, readDrillKeys, serverNamed } from '../jobs/installation.ts'
import { targetOf } from '../jobs/order-restore.ts'
import { assertConfigured, backUp, restoreAs } from './carry-out.ts'
import { withInstallation } from './open.ts'
import type { PgproofOptions, RestoreManner } from './options.ts'

/** What migration runners ask of a backup. */
export type MigrationAdapter = {
  /** Backs the database up and returns the label. */
  backup(): Promise<string>
  /** Puts the database back as it was at the backup of that label; the one that is there is renamed aside, whole. */
  restore(data: string): Promise<void>
}

export type MigrationAdapterOptions = PgproofOptions &
  Omit<RestoreManner, 'disconnect'> & {
    /** As configured: `main/shop`. */
    readonly database: string
    /** Where to restore, as `postgres://user@host:5432/database`. Default: that database, as the configured login. */
    readonly to?: string | undefined
    /** Sessions in the database are ended at the moment of the swap. Default: true, or the runner's own would stand in the way. */
    readonly disconnect?: boolean | undefined
  }

/**
 * `backup()` and `restore(data)` around a migration; what is handed over is a label. Throws, as both do, a `PgproofError`.
 */
export function migrationAdapter(options: MigrationAdapterOptions): MigrationAdapter {
  const { database: name, to, disconnect = true, ...rest } = options
  const placeIn = (installation: Installation): Target & { readonly database: string } => {
    const { server, database } = parseTarget(name, installation.config.servers)
    if (database === null)
      throw new PgproofError('USAGE_INVALID', { reason: `name a database, as in ${server}/shop, and not a server` })
    assertConfigured(server, database, installation)
    return { server, database }
  }
  return {
    backup: () =>
      withInstallation(rest, { writes: true }, async (installation, signal) => {
        const place = placeIn(installation)
        // Better now than when the migration has failed.
        await readDrillKeys(installation, 'going back by a restore')
        return (await backUp(place, installation, signal)).label
      }),
    restore: (data) =>
      withInstallation(rest, { writes: false }, async (installation, signal) => {
        if (!isLabel(data))
          throw new PgproofError('USAGE_INVALID', { reason: `${JSON.stringify(data)} is not the label of a backup` })
        const { server, database } = placeIn(installation)
        const { config } = installation
        const target =
          to === undefined
            ? connectionTo(serverNamed(config, server), database)
            : targetOf(to, config, rest.cwd ?? process.cwd())
        const wish = { choice: { by: 'label', label: data }, server, database, target, mode: 'replace' } as const
        await restoreAs(wish, { ...rest, disconnect }, installation, signal)
      }),
  }
}
