import type { Client } from './connect.ts'
import { rethrowUnlessSqlState } from './sql-state.ts'
import { quoteIdentifier } from './tables.ts'

/**
 * Drops a database with the sessions in it. To a login that is no superuser PostgreSQL refuses FORCE while autovacuum is at
 * work there, whose workers it may not end. Without FORCE it ends them by itself and waits for five seconds for all sessions
 * to go (CountOtherDBBackends), so the login's own are ended first. Throws what PostgreSQL says.
 */
export async function dropDatabase(client: Client, name: string): Promise<void> {
  const drop = `DROP DATABASE ${quoteIdentifier(name)}`
  try {
    await client.query(`${drop} WITH (FORCE)`)
  } catch (error) {
    rethrowUnlessSqlState(error, '42501')
    await client.query(
      `SELECT pg_catalog.pg_terminate_backend(a.pid) FROM pg_catalog.pg_stat_activity a
        WHERE a.datname = $1 AND a.usename = current_user`,
      [name],
    )
    await client.query(drop)
  }
}
