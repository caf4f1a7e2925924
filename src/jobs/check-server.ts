import type { Config, ServerConfig } from '../config/config.ts'
import { connect } from '../postgres/connect.ts'
import { listLeftOut } from '../postgres/coverage.ts'
import { readServerFacts } from '../postgres/facts.ts'
import { findProgram } from '../postgres/programs.ts'
import { assertDirect } from '../postgres/snapshot.ts'
import { assertAllReadable, listDumpedTables } from '../postgres/tables.ts'
import { type Findings, goOn } from './findings.ts'
import { connectionTo } from './installation.ts'

/** Login, version, pooler, programs and roles of one server. */
export async function checkServer(
  server: ServerConfig,
  config: Config,
  findings: Findings,
  signal: AbortSignal,
): Promise<void> {
  const connection = connectionTo(server)
  await using held = await connect(connection, signal)
  const { client } = held
  const facts = await readServerFacts(client, connection)
  findings.ok(`PostgreSQL ${facts.version}, as role "${facts.role}"`)
  await goOn(findings, signal, () => assertDirect(connection, client, signal))
  for (const name of ['pg_dump', 'pg_dumpall'] as const)
    await goOn(findings, signal, async () => {
      const { path, version } = await findProgram(name, facts.major, config.postgres.binDirs, signal)
      findings.ok(`${path} ${version}`)
    })
  if (facts.isStandby)
    findings.warn(
      'it is a standby: rows of unlogged tables are not in its backups, and a long dump can be cancelled by recovery',
      'Set hot_standby_feedback = on, or raise max_standby_streaming_delay there.',
    )
  const { rows } = await client.query<{ readable: boolean }>(
    "SELECT pg_catalog.has_table_privilege('pg_catalog.pg_authid', 'SELECT') AS readable",
  )
  if (rows[0]?.readable === false)
    findings.warn(
      'pg_authid may not be read: roles are backed up without their passwords',
      'After a restore every login needs a new password; only a superuser may read them.',
    )
}

/** Rights on every table, row security, and lock slots of one database. */
export async function checkDatabase(
  server: ServerConfig,
  database: string,
  findings: Findings,
  signal: AbortSignal,
): Promise<void> {
  const connection = connectionTo(server, database)
  await using held = await connect(connection, signal)
  const { client } = held
  const facts = await readServerFacts(client, connection)
  const tables = await listDumpedTables(client, facts.isStandby)
  await goOn(findings, signal, async () => {
    await assertAllReadable(client, tables, facts.role, database)
    findings.ok(tables.length === 1 ? 'its 1 table can be read' : `all of its ${tables.length} tables can be read`)
  })

  const { rows } = await client.query<{ slots: number }>(`
    SELECT pg_catalog.current_setting('max_locks_per_transaction')::int
           * (pg_catalog.current_setting('max_connections')::int + pg_catalog.current_setting('max_prepared_transactions')::int) AS slots`)
  // The snapshot's holder, pg_dump and each connection of the census lock every table.
  if (tables.length * (2 + server.censusConnections) > (rows[0]?.slots ?? 0))
    findings.warn(
      `${tables.length} tables need more locks than the server has room for (${rows[0]?.slots})`,
      'Raise max_locks_per_transaction on the server.',
    )
  const leftOut = await listLeftOut(client, facts.isStandby)
  for (const { kind, object, reason } of leftOut.slice(0, 20))
    findings.warn(`not in the backup: ${kind} ${object}`, `${reason}.`)
}
