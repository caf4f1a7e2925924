import assert from 'node:assert/strict'
import { PgproofError, reasonOf } from '../errors.ts'
import { takeLock } from './advisory-lock.ts'
import { type Client, type Connection, connect, isQueryFailure, withDatabase } from './connect.ts'
import { type DatabaseProperties, readDatabaseProperties } from './facts.ts'
import { oldestMajor } from './programs.ts'
import { assertDirect } from './snapshot.ts'
import { rethrowUnlessSqlState } from './sql-state.ts'
import { quoteLiteral } from './tables.ts'
import { listContents } from './target-contents.ts'

/** The server that is restored into, as the login sees it. */
export type TargetServer = {
  /** To a database of that server that is not made, renamed or dropped: `postgres`, else `template1`. */
  readonly admin: Connection
  /** `host:port`, or the socket's folder and the port, for messages; no user, no password. */
  readonly address: string
  readonly version: string
  readonly major: number
  readonly role: string
  readonly isSuperuser: boolean
  readonly canCreateDatabase: boolean
  /** Null where this login may not read it. */
  readonly systemIdentifier: string | null
}

export type TargetSession = {
  readonly pid: number
  readonly user: string
  readonly applicationName: string
  /** PostgreSQL's `backend_type` of one that is no client program; null also where this login may not see it. */
  readonly kind: string | null
  /** An address, `local`, or `unknown` where this login may not see it, and of a process of the server itself. */
  readonly client: string
}

export type ExistingDatabase = {
  readonly name: string
  /** `lcMonetary` is that of another database where this one lets nobody in. */
  readonly properties: DatabaseProperties
  readonly tablespace: string
  readonly comment: string | null
  /** What hangs on the database itself and goes with it, in words: rights, settings, a connection limit, a comment. */
  readonly attached: readonly string[]
  /** What it holds, in words with counts: `12 tables`, `extension hstore`; none if it is empty. */
  readonly contents: readonly string[]
  /** Sessions of others in it, but for those that end by themselves. */
  readonly sessions: readonly TargetSession[]
  /** The names of its prepared transactions, as SQL writes them. */
  readonly prepared: readonly string[]
}

/** Whether a restore makes or replaces the database, or brings tables beside those that are in it. */
export type TargetUse = 'database' | 'tables'

/**
 * Looks at the server, and at the database that is to be restored into, if it is there. Throws USAGE_INVALID for a name
 * that no such restore may go to, TARGET_FAILED for a standby and for a server that fails meanwhile, SERVER_TOO_OLD,
 * POOLER_DETECTED, and what `connect` throws.
 */
export async function inspectTarget(
  target: Connection,
  signal: AbortSignal,
  use: TargetUse = 'database',
): Promise<{ readonly server: TargetServer; readonly existing: ExistingDatabase | null }> {
  assertName(target.database, use)
  const { admin, held } = await connectBeside(target, signal)
  await using _held = held
  try {
    await assertDirect(admin, held.client, signal)
    const server = await readServer(held.client, admin)
    return { server, existing: await readExisting(held.client, target, server, signal) }
  } catch (error) {
    signal.throwIfAborted()
    if (!isQueryFailure(error)) throw error
    throw new PgproofError('TARGET_FAILED', { reason: reasonOf(error) }, { cause: error })
  }
}

/** Keeps other restores into that database away until the scope ends. Throws LOCKED if one goes on. */
export async function lockTarget(
  server: TargetServer,
  database: string,
  signal: AbortSignal,
): Promise<AsyncDisposable> {
  const held = await connect(server.admin, signal, 'pgproof restore')
  try {
    await takeLock(held.client, `restore into ${database}`, `database "${database}" on ${server.address}`)
    return held
  } catch (error) {
    await held[Symbol.asyncDispose]()
    throw error
  }
}

/**
 * Who is in a database, but for the current session and autovacuum: client programs; also what `stays`, such as
 * replication and other background workers; or `any`, also what works for one of those for a while.
 */
export async function readSessions(
  client: Client,
  database: string,
  kinds: 'clients' | 'stays' | 'any',
): Promise<TargetSession[]> {
  // A login without pg_read_all_stats sees neither kind nor address of the sessions of others.
  const { rows } = await client.query<TargetSession>(
    `SELECT a.pid, COALESCE(a.usename::text, a.backend_type, 'unknown') AS "user",
            COALESCE(a.application_name, '') AS "applicationName", NULLIF(a.backend_type, 'client backend') AS kind,
            COALESCE(pg_catalog.host(a.client_addr), CASE WHEN a.client_port = -1 THEN 'local' ELSE 'unknown' END) AS client
       FROM pg_catalog.pg_stat_activity a
      WHERE a.datname = $1 AND a.pid <> pg_catalog.pg_backend_pid()
        AND COALESCE(a.backend_type, 'client backend') <> 'autovacuum worker'
        AND CASE $2 WHEN 'any' THEN true
                    WHEN 'stays' THEN a.usesysid IS NOT NULL AND COALESCE(a.backend_type, '') <> 'parallel worker'
                    ELSE a.usesysid IS NOT NULL AND COALESCE(a.backend_type, 'client backend') = 'client backend' END
      ORDER BY a.pid`,
    [database, kinds],
  )
  return rows
}

/** Sessions for a message; the first five by name. */
export function sessionsText(sessions: readonly TargetSession[]): string {
  const shown = sessions.slice(0, 5).map(({ user, applicationName, kind, client, pid }) => {
    const name = applicationName === '' ? '' : ` (${applicationName})`
    if (kind === null) return `${user}${name} from ${client}, process ${pid}`
    const from = client === 'unknown' ? '' : `, from ${client}`
    return `${user}${name}${kind === user ? '' : `, ${kind}`}${from}, process ${pid}`
  })
  const rest = sessions.length - shown.length
  return shown.join('; ') + (rest > 0 ? `; and ${rest} more` : '')
}

/** The names of a database's prepared transactions, as SQL writes them: no ended session takes these along. */
export async function readPrepared(client: Client, database: string): Promise<string[]> {
  const { rows } = await client.query<{ gid: string }>(
    'SELECT gid FROM pg_catalog.pg_prepared_xacts WHERE database = $1 ORDER BY prepared',
    [database],
  )
  return rows.map(({ gid }) => quoteLiteral(gid).trim())
}

/** Prepared transactions for a message; empty if there are none. */
export function preparedText([first, ...others]: readonly string[]): string {
  if (first === undefined) return ''
  const rest = others.length > 0 ? ` and ${others.length} more` : ''
  return `the prepared transaction ${first}${rest}, which only COMMIT PREPARED or ROLLBACK PREPARED ends`
}

/** PostgreSQL cuts longer names, and then another database is meant. */
export const longestName = 63

/** The longest beginning of a text that has at most that many bytes of UTF-8, in whole characters. */
export function cutToBytes(text: string, bytes: number): string {
  let length = 0
  let cut = ''
  for (const character of text) {
    length += Buffer.byteLength(character)
    if (length > bytes) break
    cut += character
  }
  return cut
}

function assertName(database: string, use: TargetUse): void {
  const bytes = Buffer.byteLength(database)
  const refuse = (reason: string): never => {
    throw new PgproofError('USAGE_INVALID', { reason })
  }
  // Programs connect to `postgres` to make and rename others, as we do; what it holds may be somebody's all the same.
  if (['template0', 'template1'].includes(database) || (database === 'postgres' && use === 'database'))
    refuse(`"${database}" belongs to the server itself; restore into a database of another name`)
  if (bytes === 0 || bytes > longestName || database.includes('\0'))
    refuse(`a database's name has 1 to ${longestName} bytes of UTF-8; "${cutToBytes(database, 80)}" has ${bytes}`)
}

/** A database cannot be made or renamed from within. */
async function connectBeside(
  target: Connection,
  signal: AbortSignal,
): Promise<{ readonly admin: Connection; readonly held: Awaited<ReturnType<typeof connect>> }> {
  const admin = withDatabase(target, 'postgres')
  try {
    return { admin, held: await connect(admin, signal, 'pgproof restore') }
  } catch (error) {
    // No such database, no right to connect to it, no line for it in pg_hba.conf; a wrong password is 28P01.
    rethrowUnlessSqlState(error, '3D000', '42501', '28000')
    const other = withDatabase(target, 'template1')
    const held = await connect(other, signal, 'pgproof restore').catch(() => {
      throw error
    })
    return { admin: other, held }
  }
}

async function readServer(client: Client, admin: Connection): Promise<TargetServer> {
  const { rows } = await client.query<Omit<TargetServer, 'admin' | 'address'> & { isStandby: boolean }>(`
    SELECT pg_catalog.current_setting('server_version') AS version,
           pg_catalog.current_setting('server_version_num')::int / 10000 AS major, r.rolname AS role,
           r.rolsuper AS "isSuperuser", r.rolsuper OR r.rolcreatedb AS "canCreateDatabase",
           pg_catalog.pg_is_in_recovery() AS "isStandby"
      FROM pg_catalog.pg_roles r WHERE r.rolname = current_user`)
  const [row] = rows
  assert(row !== undefined, 'the current user is a role')
  const { isStandby, ...facts } = row
  if (facts.major < oldestMajor) {
    const values = { server: admin.server, version: facts.version, oldest: oldestMajor }
    throw new PgproofError('SERVER_TOO_OLD', values)
  }
  if (isStandby) throw new PgproofError('TARGET_FAILED', { reason: 'it is a standby, which only follows its primary' })
  return { ...facts, admin, address: `${admin.host}:${admin.port}`, systemIdentifier: await readIdentifier(client) }
}

async function readIdentifier(client: Client): Promise<string | null> {
  try {
    const { rows } = await client.query<{ id: string }>(
      'SELECT system_identifier::text AS id FROM pg_catalog.pg_control_system()',
    )
    return rows[0]?.id ?? null
  } catch (error) {
    rethrowUnlessSqlState(error, '42501')
    return null
  }
}

async function readExisting(
  client: Client,
  target: Connection,
  server: TargetServer,
  signal: AbortSignal,
): Promise<ExistingDatabase | null> {
  const { rows } = await client.query<
    Pick<ExistingDatabase, 'name' | 'tablespace' | 'comment' | 'attached'> & { marks: string[] }
  >(
    `SELECT d.datname AS name, t.spcname AS tablespace, pg_catalog.shobj_description(d.oid, 'pg_database') AS comment,
            ARRAY_REMOVE(ARRAY[CASE WHEN d.datacl IS NOT NULL THEN 'rights' END,
                               CASE WHEN EXISTS (SELECT FROM pg_catalog.pg_db_role_setting s WHERE s.setdatabase = d.oid)
                                    THEN 'settings' END,
                               CASE WHEN d.datconnlimit <> -1 THEN 'a connection limit' END,
                               CASE WHEN pg_catalog.shobj_description(d.oid, 'pg_database') IS NOT NULL
                                    THEN 'a comment' END], NULL) AS attached,
            ARRAY_REMOVE(ARRAY[CASE WHEN d.datistemplate THEN 'what a template database holds' END,
                               CASE WHEN d.datconnlimit = -2 THEN 'what a DROP DATABASE left that was cut short'
                                    WHEN NOT d.datallowconn THEN 'what nobody may see, since it allows no connections' END], NULL) AS marks
       FROM pg_catalog.pg_database d JOIN pg_catalog.pg_tablespace t ON t.oid = d.dattablespace WHERE d.datname = $1`,
    [target.database],
  )
  const [row] = rows
  if (row === undefined) return null
  const { marks, ...described } = row
  const sessions = await readSessions(client, target.database, 'stays')
  const prepared = await readPrepared(client, target.database)
  const outside = await readDatabaseProperties(client, server.major, target)
  if (marks.length > 0) return { ...described, sessions, prepared, properties: outside, contents: marks }
  try {
    await using held = await connect(target, signal, 'pgproof restore')
    const properties = await readDatabaseProperties(held.client, server.major)
    return { ...described, sessions, prepared, properties, contents: await listContents(held.client) }
  } catch (error) {
    // It refuses this login: what it holds is not known, so it does not count as empty.
    rethrowUnlessSqlState(error, '42501', '28000', '53300', '55000')
    return { ...described, sessions, prepared, properties: outside, contents: ['what this login may not see'] }
  }
}
