import assert from 'node:assert/strict'
import { PgproofError, reasonOf } from '../errors.ts'
import type { Client, Connection } from './connect.ts'
import { oldestMajor } from './programs.ts'
import { rethrowUnlessSqlState } from './sql-state.ts'

/** What a server says about itself and about us. */
export type ServerFacts = {
  readonly version: string
  readonly major: number
  readonly systemIdentifier: string
  readonly isStandby: boolean
  readonly role: string
  readonly isSuperuser: boolean
  /** Whether row security can hide rows from this role. */
  readonly bypassesRowSecurity: boolean
}

/** Throws SERVER_TOO_OLD, and PRIVILEGE_MISSING where the system identifier is kept from this role. */
export async function readServerFacts(client: Client, connection: Connection): Promise<ServerFacts> {
  const { rows } = await client
    .query<Record<string, string | boolean | number>>(`
    SELECT pg_catalog.current_setting('server_version') AS version,
           pg_catalog.current_setting('server_version_num')::int / 10000 AS major,
           pg_catalog.pg_is_in_recovery() AS is_standby, r.rolname AS role,
           r.rolsuper AS is_superuser, r.rolsuper OR r.rolbypassrls AS bypasses,
           (SELECT system_identifier::text FROM pg_catalog.pg_control_system()) AS system_identifier
      FROM pg_catalog.pg_roles r WHERE r.rolname = current_user`)
    .catch((error: unknown) => {
      rethrowUnlessSqlState(error, '42501')
      const { user: role, database } = connection
      const objects = 'pg_catalog.pg_control_system() (no EXECUTE)'
      throw new PgproofError('PRIVILEGE_MISSING', { role, database, objects }, { cause: error })
    })
  const row = rows[0] ?? {}
  const major = Number(row['major'])
  const version = String(row['version'])
  if (major < oldestMajor)
    throw new PgproofError('SERVER_TOO_OLD', { server: connection.server, version, oldest: oldestMajor })
  return {
    version,
    major,
    systemIdentifier: String(row['system_identifier']),
    isStandby: row['is_standby'] === true,
    role: String(row['role']),
    isSuperuser: row['is_superuser'] === true,
    bypassesRowSecurity: row['bypasses'] === true,
  }
}

export type DatabaseProperties = {
  readonly owner: string
  readonly encoding: string
  readonly localeProvider: 'c' | 'i' | 'b'
  readonly collate: string
  readonly ctype: string
  readonly locale: string | null
  readonly icuRules: string | null
  /** As `pg_dump` finds it when it connects: it writes `money` by it. */
  readonly lcMonetary: string
  /** The role with OID 10. */
  readonly bootstrapRole: string
}

/**
 * What `CREATE DATABASE` must be told to make an empty twin of the current database, or of another one of that server.
 * Throws DATABASE_UNKNOWN if that one is not there.
 */
export async function readDatabaseProperties(
  client: Client,
  major: number,
  other: Pick<Connection, 'server' | 'database'> | null = null,
): Promise<DatabaseProperties> {
  const provider = major >= 15 ? 'd.datlocprovider' : "'c'"
  const locale = major >= 17 ? 'd.datlocale' : major >= 15 ? 'd.daticulocale' : 'NULL'
  const icuRules = major >= 16 ? 'd.daticurules' : 'NULL'
  const { rows } = await client.query<DatabaseProperties>(
    `
    SELECT pg_catalog.pg_get_userbyid(d.datdba) AS owner, pg_catalog.pg_encoding_to_char(d.encoding) AS encoding,
           ${provider}::text AS "localeProvider", d.datcollate AS collate, d.datctype AS ctype, ${locale}::text AS locale,
           ${icuRules}::text AS "icuRules",
           (SELECT s.reset_val FROM pg_catalog.pg_settings s WHERE s.name = 'lc_monetary') AS "lcMonetary",
           pg_catalog.pg_get_userbyid(10) AS "bootstrapRole"
      FROM pg_catalog.pg_database d WHERE d.datname = COALESCE($1, pg_catalog.current_database())`,
    [other?.database ?? null],
  )
  const [properties] = rows
  if (properties !== undefined) return properties
  assert(other !== null, 'a database stays as long as there is a session in it')
  throw new PgproofError('DATABASE_UNKNOWN', { server: other.server, database: other.database })
}

/**
 * How the comment of a half-restored database begins. JSON follows: names may hold anything. It repeats the database's
 * own name, so that one renamed by hand is safe.
 */
export const unfinishedMark = 'pgproof: unfinished restore '

/** Databases that can be dumped: not templates, connections allowed; in name order. */
export async function listDatabases(client: Client): Promise<string[]> {
  const { rows } = await client.query<{ name: string }>(
    `
    SELECT datname AS name FROM pg_catalog.pg_database
     WHERE datallowconn AND NOT datistemplate
       AND NOT pg_catalog.starts_with(COALESCE(pg_catalog.shobj_description(oid, 'pg_database'), ''), $1)
     ORDER BY datname COLLATE "C"`,
    [unfinishedMark],
  )
  return rows.map(({ name }) => name)
}

/** Bytes on disk of the current database: an upper bound of a dump for planning, never evidence. */
export async function readDatabaseSize(client: Client): Promise<number> {
  const { rows } = await client.query<{ bytes: string }>(
    'SELECT pg_catalog.pg_database_size(pg_catalog.current_database()) AS bytes',
  )
  return Number(rows[0]?.bytes ?? 0)
}

export async function listExtensions(client: Client): Promise<{ name: string; version: string }[]> {
  const { rows } = await client.query<{ name: string; version: string }>(
    'SELECT extname AS name, extversion AS version FROM pg_catalog.pg_extension ORDER BY extname COLLATE "C"',
  )
  return rows
}

/**
 * Whether the connection goes through a pooler that hands each transaction to whichever backend is free. A pooler
 * invents the process id of its greeting. Then either both clients meet on one backend, or one client meets another
 * backend, at the latest when the second holds the first one's in a transaction.
 */
export async function isTransactionPooled(first: Client, second: Client): Promise<boolean> {
  const before = await backendPid(first)
  if ((first as unknown as { processID: number }).processID === before) return false
  for (let round = 0; round < 3; round += 1)
    if ((await backendPid(second)) === before || (await backendPid(first)) !== before) return true
  try {
    await second.query('BEGIN')
    await backendPid(second)
    return (await backendPid(first)) !== before
  } catch (error) {
    // Statement pooling refuses transactions; a pool of one backend lets the first client wait for the second.
    if (/pooling mode|read timeout/i.test(reasonOf(error))) return true
    throw error
  } finally {
    await second.query('ROLLBACK').catch(() => {})
  }
}

async function backendPid(client: Client): Promise<number> {
  const query = { text: 'SELECT pg_catalog.pg_backend_pid() AS pid', query_timeout: 10_000 }
  const { rows } = await client.query<{ pid: number }>(query)
  return rows[0]?.pid ?? 0
}
