import { pickForDrill } from '../drill/pick-for-drill.ts'
import { PgproofError } from '../errors.ts'
import { type Installation, isConfigured, serverNamed } from './installation.ts'
import type { Order } from './orders.ts'

/**
 * Whether there is anything to do for an order; `isThere` tells whether a server has a database, as far as is known.
 * Throws SERVER_UNKNOWN, DATABASE_NOT_CONFIGURED, DATABASE_NOT_FOUND, NO_BACKUP or LABEL_UNKNOWN.
 */
export function assertPossible(
  { job, server, database, wish }: Order,
  { config, catalog }: Pick<Installation, 'config' | 'catalog'>,
  isThere: (server: string, database: string) => boolean,
): void {
  if (job === 'prune' || job === 'sync') return
  const configured = serverNamed(config, server)
  if (database !== null && !isConfigured(configured, database))
    throw new PgproofError('DATABASE_NOT_CONFIGURED', { server, database })
  if (job === 'backup' && database !== null && !isThere(server, database))
    throw new PgproofError('DATABASE_NOT_FOUND', { server, database })
  if (job === 'drill')
    pickForDrill({ server, database: database ?? '', backup: wish?.backup ?? null, rule: 'latest', seed: 0 }, catalog)
}
