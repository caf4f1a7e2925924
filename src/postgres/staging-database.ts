import { createHash } from 'node:crypto'
import { PgproofError, reasonOf } from '../errors.ts'
import { isLocked, takeLock } from './advisory-lock.ts'
import { type Client, type Connection, connect, withDatabase } from './connect.ts'
import { dropDatabase } from './drop-database.ts'
import { type DatabaseProperties, unfinishedMark } from './facts.ts'
import { isLocaleFault, localeClauses, monetaryParameters } from './scratch-database.ts'
import { sqlStateOf } from './sql-state.ts'
import { quoteIdentifier, quoteLiteral } from './tables.ts'
import { cutToBytes, longestName, readSessions, type TargetServer } from './target-database.ts'

/** What a restore that was killed left: a marked database. */
export type Unfinished = {
  readonly name: string
  readonly label: string
  /** The database that it was to become. */
  readonly into: string
  /** The server's time when it was made, as ISO 8601 in UTC. */
  readonly since: string
  /** Whether sessions are in it, or the restore that fills it goes on. */
  readonly isBusy: boolean
}

/** The database that a restore fills before it gets its name: made by it, marked, and dropped when the scope ends. */
export type Staging = AsyncDisposable & {
  readonly name: string
  readonly connection: Connection
  /** From now on the scope's end leaves it. */
  keep(): void
}

/** At most 63 bytes of UTF-8; the same for the same backup and target. */
export function stagingName(label: string, database: string): string {
  const whole = `pgproof_restore_${label}_${database}`
  if (Buffer.byteLength(whole) <= longestName) return whole
  const digest = createHash('sha256').update(whole).digest('hex').slice(0, 8)
  return `${cutToBytes(whole, longestName - 9)}_${digest}`
}

export type WantedStaging = {
  readonly name: string
  readonly label: string
  readonly into: string
  readonly properties: DatabaseProperties
  /** Null: the login. Also the login owns it where that role does not exist or may not be named by it. */
  readonly owner: string | null
  /** Null: where template0 is. */
  readonly tablespace: string | null
}

/**
 * Creates an empty database from template0 and marks it. An abort takes effect before or after: one that was made but
 * not marked would stay for ever. A lock, held until the scope ends, tells it from what a killed restore left. Its
 * scope's end drops it while everything else is being cancelled, and never throws: one that could not be dropped keeps
 * its mark, and the next restore finds it. Throws TARGET_LACKS, TARGET_EXISTS, TARGET_OBSTRUCTED,
 * TARGET_FULL, LOCKED or TARGET_FAILED.
 */
export async function createStaging(
  server: TargetServer,
  wanted: WantedStaging,
  signal: AbortSignal,
): Promise<Staging> {
  if (!server.canCreateDatabase) {
    const role = quoteIdentifier(server.role)
    throw new PgproofError('TARGET_LACKS', {
      what: `the right to create databases (role ${role})`,
      mend: `ALTER ROLE ${role} CREATEDB.`,
    })
  }
  signal.throwIfAborted()
  const { name } = wanted
  const held = await connect(server.admin, never, 'pgproof restore')
  try {
    const { client } = held
    await takeLock(client, `staging ${name}`, `database "${name}" on ${server.address}`)
    const parameters = await monetaryParameters(client, wanted.properties.lcMonetary)
    const clauses = [
      ...localeClauses(wanted.properties, server.major),
      ...(await ownerClause(client, wanted.owner, server.major)),
      ...(await tablespaceClause(client, wanted.tablespace, server.role)),
    ]
    await createMarked(client, wanted, server, clauses, signal)
    const state = { isKept: false }
    return {
      name,
      connection: { ...withDatabase(server.admin, name), parameters: { ...parameters, ...programParameters } },
      keep: () => {
        state.isKept = true
      },
      [Symbol.asyncDispose]: async () => {
        if (!state.isKept) await dropUnfinished(server, name, never).catch(() => {})
        await held[Symbol.asyncDispose]()
      },
    }
  } catch (error) {
    await held[Symbol.asyncDispose]()
    throw error instanceof PgproofError || signal.aborted ? error : asTargetFailed(error)
  }
}

/** What killed restores left, of one target or (null) of all; in name order. */
export async function listUnfinished(
  server: TargetServer,
  into: string | null,
  signal: AbortSignal,
): Promise<readonly Unfinished[]> {
  await using held = await connect(server.admin, signal, 'pgproof restore')
  const { rows } = await held.client.query<{ name: string; comment: string }>(
    `SELECT d.datname AS name, c.description AS comment
       FROM pg_catalog.pg_database d JOIN pg_catalog.pg_shdescription c
         ON c.objoid = d.oid AND c.classoid = 'pg_catalog.pg_database'::pg_catalog.regclass
      WHERE pg_catalog.starts_with(c.description, $1) ORDER BY d.datname COLLATE "C"`,
    [unfinishedMark],
  )
  const found: Unfinished[] = []
  for (const { name, comment } of rows) {
    const mark = readMark(name, comment)
    if (mark === null || (into !== null && mark.into !== into)) continue
    const { label, since } = mark
    // Without the lock, a session of ours is what outlived a killed restore: it goes along with the database.
    const sessions = await readSessions(held.client, name, 'clients')
    const isBusy =
      (await isLocked(held.client, `staging ${name}`)) ||
      sessions.some(({ applicationName }) => !applicationName.startsWith('pgproof'))
    found.push({ name, label, into: mark.into, since, isBusy })
  }
  return found
}

/**
 * Drops what a restore left, with the sessions in it; an absent one is no error. Its subscriptions go first, without a
 * word to their publishers. Throws TARGET_FAILED, also for any database without the mark.
 */
export async function dropUnfinished(server: TargetServer, name: string, signal: AbortSignal): Promise<void> {
  await using held = await connect(server.admin, signal, 'pgproof restore')
  const found = await findDatabase(held.client, name)
  if (found === null) return
  if (readMark(name, found.comment) === null)
    throw new PgproofError('TARGET_FAILED', { reason: `database "${name}" is not marked as an unfinished restore` })
  try {
    await dropSubscriptions(held.client, server, name, found.oid, signal)
    await dropDatabase(held.client, name)
  } catch (error) {
    signal.throwIfAborted()
    throw asTargetFailed(error)
  }
}

/** The OID and the comment of a database; null if there is none of that name. */
export async function findDatabase(
  client: Client,
  name: string,
): Promise<{ readonly oid: number; readonly comment: string | null } | null> {
  const { rows } = await client.query<{ oid: number; comment: string | null }>(
    `SELECT oid::int8::float8 AS oid, pg_catalog.shobj_description(oid, 'pg_database') AS comment
       FROM pg_catalog.pg_database WHERE datname = $1`,
    [name],
  )
  return rows[0] ?? null
}

/** What the comment of a database says of the restore that made it; null for any that none made under that name. */
export function readMark(name: string, comment: string | null): Omit<Unfinished, 'isBusy'> | null {
  if (comment === null || !comment.startsWith(unfinishedMark)) return null
  try {
    const mark: unknown = JSON.parse(comment.slice(unfinishedMark.length))
    return isMark(mark) && mark.name === name ? mark : null
  } catch {
    return null
  }
}

export function asTargetFailed(error: unknown): PgproofError {
  if (error instanceof PgproofError) return error
  const reason = reasonOf(error)
  const more = { cause: error, details: (error as { detail?: string }).detail }
  if (sqlStateOf(error) === '53100') return new PgproofError('TARGET_FULL', { reason }, more)
  return new PgproofError('TARGET_FAILED', { reason }, more)
}

/** Whatever the login's own settings are (`ALTER ROLE … SET`): pg_restore pins the others itself. */
const programParameters = { default_transaction_read_only: 'off' }

const never = new AbortController().signal

function isMark(mark: unknown): mark is Omit<Unfinished, 'isBusy'> {
  if (typeof mark !== 'object' || mark === null) return false
  const fields = mark as Record<string, unknown>
  return ['name', 'label', 'into', 'since'].every((field) => typeof fields[field] === 'string')
}

/** A role must exist, be nameable by this login, and leave it the rights of an owner: to mark, rename and drop. */
async function ownerClause(client: Client, owner: string | null, major: number): Promise<string[]> {
  if (owner === null) return []
  const { rowCount } = await client.query(
    `SELECT FROM pg_catalog.pg_roles r WHERE r.rolname = $1 AND pg_catalog.pg_has_role(r.oid, 'USAGE')
        AND pg_catalog.pg_has_role(r.oid, $2)`,
    [owner, major >= 16 ? 'SET' : 'MEMBER'],
  )
  return rowCount === 1 ? [`OWNER ${quoteIdentifier(owner)}`] : []
}

/** Naming the default one needs a right, too, which ordinary logins do not have. */
async function tablespaceClause(client: Client, tablespace: string | null, role: string): Promise<string[]> {
  if (tablespace === null) return []
  const { rows } = await client.query<{ isDefault: boolean; isAllowed: boolean }>(
    `SELECT t.oid = d.dattablespace AS "isDefault", pg_catalog.has_tablespace_privilege(t.oid, 'CREATE') AS "isAllowed"
       FROM pg_catalog.pg_tablespace t, pg_catalog.pg_database d WHERE t.spcname = $1 AND d.datname = 'template0'`,
    [tablespace],
  )
  const [found] = rows
  if (found?.isDefault) return []
  const quoted = quoteIdentifier(tablespace)
  if (found?.isAllowed) return [`TABLESPACE ${quoted}`]
  const mend = found === undefined ? '' : `GRANT CREATE ON TABLESPACE ${quoted} TO ${quoteIdentifier(role)}.`
  const what = found === undefined ? `the tablespace ${quoted}` : `the right to create in the tablespace ${quoted}`
  throw new PgproofError('TARGET_LACKS', { what, mend })
}

async function createMarked(
  client: Client,
  { name, label, into, properties }: WantedStaging,
  server: TargetServer,
  clauses: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  const quoted = quoteIdentifier(name)
  const { rows } = await client.query<{ since: string }>(
    `SELECT pg_catalog.to_char(pg_catalog.now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS since`,
  )
  const mark = `${unfinishedMark}${JSON.stringify({ name, label, into, since: rows[0]?.since ?? '' })}`
  signal.throwIfAborted()
  try {
    await client.query(`CREATE DATABASE ${quoted} ${clauses.join(' ')}`)
  } catch (error) {
    const reason = reasonOf(error)
    const more = { cause: error, details: reason }
    if (sqlStateOf(error) === '42P04')
      throw new PgproofError(
        name === into ? 'TARGET_EXISTS' : 'TARGET_OBSTRUCTED',
        { database: name, server: server.address },
        more,
      )
    if (sqlStateOf(error) !== '53100' && isLocaleFault(reason)) {
      const what = `the locale ${properties.locale ?? properties.collate} with encoding ${properties.encoding}`
      throw new PgproofError('TARGET_LACKS', { what, mend: 'Debian: apt-get install locales-all.' }, more)
    }
    throw asTargetFailed(error)
  }
  try {
    await client.query(`COMMENT ON DATABASE ${quoted} IS ${quoteLiteral(mark)}`)
    signal.throwIfAborted()
  } catch (error) {
    await client.query(`DROP DATABASE IF EXISTS ${quoted}`).catch(() => {})
    throw error
  }
}

/** A database with subscriptions cannot be dropped; dropping one with its slot's name would drop the slot, too. */
async function dropSubscriptions(
  client: Client,
  server: TargetServer,
  name: string,
  oid: number,
  signal: AbortSignal,
): Promise<void> {
  const { rows } = await client.query<{ subname: string }>(
    'SELECT subname FROM pg_catalog.pg_subscription WHERE subdbid = $1::int8::oid',
    [oid],
  )
  if (rows.length === 0) return
  await using inside = await connect(withDatabase(server.admin, name), signal, 'pgproof restore')
  for (const { subname } of rows) {
    const quoted = quoteIdentifier(subname)
    await inside.client.query(`ALTER SUBSCRIPTION ${quoted} DISABLE`)
    await inside.client.query(`ALTER SUBSCRIPTION ${quoted} SET (slot_name = NONE)`)
    await inside.client.query(`DROP SUBSCRIPTION ${quoted}`)
  }
}
