import { PgproofError } from '../errors.ts'
import type { Client } from './connect.ts'
import type { Snapshot } from './snapshot.ts'
import { sqlStateOf } from './sql-state.ts'

/**
 * Reads what locks something besides the tables and keeps it locked, in the transaction of a snapshot. Never waits for long, and
 * gives way to others: PostgreSQL would end whoever waits for a table and has what is read here. Throws SNAPSHOT_FAILED then, and
 * what `read` throws.
 */
export async function readGivingWay<T>(
  { client, lockTimeoutMs }: Pick<Snapshot, 'client' | 'lockTimeoutMs'>,
  read: () => Promise<T>,
): Promise<T> {
  for (;;) {
    await client.query('SAVEPOINT patience; SET LOCAL lock_timeout = 20')
    const found = await read().then(
      (value) => ({ value }),
      (error: unknown) => ({ error }),
    )
    if ('value' in found) {
      await client.query(`RELEASE SAVEPOINT patience; SET LOCAL lock_timeout = ${lockTimeoutMs}`)
      return found.value
    }
    if (sqlStateOf(found.error) !== '55P03') throw found.error
    await client.query('ROLLBACK TO SAVEPOINT patience; RELEASE SAVEPOINT patience')
    await waitUnlessWaitedFor(client)
  }
}

/**
 * Waits a moment for whoever is changing what is to be read in a snapshot. Throws SNAPSHOT_FAILED if somebody waits for a
 * table that it has locked: it may be the very same, and PostgreSQL sees no deadlock where nobody waits for long; and pg_dump
 * would have to wait behind anybody.
 */
export async function waitUnlessWaitedFor(client: Client): Promise<void> {
  const { rows } = await client.query<{ pid: number }>(`
    SELECT l.pid FROM pg_catalog.pg_locks l
     WHERE NOT l.granted AND l.locktype = 'relation' AND pg_catalog.pg_backend_pid() = ANY (pg_catalog.pg_blocking_pids(l.pid)) LIMIT 1`)
  const [other] = rows
  if (other !== undefined) {
    const reason = `somebody is changing a view or a sequence, and the session with process id ${other.pid} waits for a table that the snapshot has locked`
    throw new PgproofError('SNAPSHOT_FAILED', { database: client.database ?? '', reason })
  }
  await client.query('SELECT pg_catalog.pg_sleep(0.2)')
}
