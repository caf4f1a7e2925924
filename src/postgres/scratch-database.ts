import { PgproofError, reasonOf } from '../errors.ts'
import { type Client, type Connection, connect, withDatabase } from './connect.ts'
import { dropDatabase } from './drop-database.ts'
import type { DatabaseProperties } from './facts.ts'
import { rethrowUnlessSqlState } from './sql-state.ts'
import { quoteIdentifier, quoteLiteral } from './tables.ts'

/** The throw-away database of one drill: made by it, marked, and dropped when the scope ends. */
export type ScratchDatabase = AsyncDisposable & { readonly connection: Connection }

const mark = 'pgproof scratch database'
const never = new AbortController().signal

/**
 * Creates an empty twin of the source database from template0. The owner is the source's where that role exists.
 * An abort takes effect before or after: a database that was made but not marked would stay for ever. The connection
 * makes pg_restore read `money` as the source writes it, where the server has that locale; see `assertMonetary`.
 * Throws LOCALE_MISSING or SCRATCH_FAILED.
 */
export async function createScratchDatabase(
  server: Connection,
  name: string,
  properties: DatabaseProperties,
  signal: AbortSignal,
): Promise<ScratchDatabase> {
  signal.throwIfAborted()
  await using admin = await connect(server, never, 'pgproof drill')
  const { client } = admin
  const parameters = await monetaryParameters(client, properties.lcMonetary).catch((error: unknown) => {
    throw new PgproofError('SCRATCH_FAILED', { reason: reasonOf(error) }, { cause: error })
  })
  const clauses = [
    ...localeClauses(properties, await readMajor(client)),
    ...((await roleExists(client, properties.owner)) ? [`OWNER ${quoteIdentifier(properties.owner)}`] : []),
  ]
  try {
    await client.query(`CREATE DATABASE ${quoteIdentifier(name)} ${clauses.join(' ')}`)
  } catch (error) {
    const reason = reasonOf(error)
    if (isLocaleFault(reason))
      throw new PgproofError(
        'LOCALE_MISSING',
        { locale: properties.locale ?? properties.collate },
        { cause: error, details: reason },
      )
    throw new PgproofError('SCRATCH_FAILED', { reason }, { cause: error })
  }
  try {
    await client.query(`COMMENT ON DATABASE ${quoteIdentifier(name)} IS ${quoteLiteral(mark)}`)
    signal.throwIfAborted()
  } catch (error) {
    await client.query(`DROP DATABASE IF EXISTS ${quoteIdentifier(name)}`).catch(() => {})
    signal.throwIfAborted()
    throw new PgproofError('SCRATCH_FAILED', { reason: reasonOf(error) }, { cause: error })
  }
  return {
    connection: { ...withDatabase(server, name), parameters },
    [Symbol.asyncDispose]: async () => {
      try {
        // Dropping must work while everything else is being cancelled.
        await dropScratchDatabase(server, name, never)
      } catch (error) {
        // A server that has ended says more by what failed before; an embedded one takes its databases along.
        if (!(error instanceof PgproofError && error.code === 'SERVER_UNREACHABLE')) throw error
      }
    },
  }
}

/** Drops a scratch database; an absent one is no error. Throws SCRATCH_FAILED, also for any database without the mark. */
export async function dropScratchDatabase(server: Connection, name: string, signal: AbortSignal): Promise<void> {
  await using admin = await connect(server, signal, 'pgproof drill')
  const { rows } = await admin.client.query<{ comment: string | null }>(
    `SELECT pg_catalog.shobj_description(oid, 'pg_database') AS comment FROM pg_catalog.pg_database WHERE datname = $1`,
    [name],
  )
  const [found] = rows
  if (found === undefined) return
  if (found.comment !== mark)
    throw new PgproofError('SCRATCH_FAILED', { reason: `database "${name}" is not marked as a scratch database` })
  await dropDatabase(admin.client, name).catch((error: unknown) => {
    throw new PgproofError('SCRATCH_FAILED', { reason: reasonOf(error) }, { cause: error })
  })
}

/** Marked scratch databases that an earlier drill left behind. */
export async function listScratchDatabases(server: Connection, signal: AbortSignal): Promise<string[]> {
  await using admin = await connect(server, signal, 'pgproof drill')
  const { rows } = await admin.client.query<{ name: string }>(
    `SELECT datname AS name FROM pg_catalog.pg_database WHERE pg_catalog.shobj_description(oid, 'pg_database') = $1`,
    [mark],
  )
  return rows.map(({ name }) => name)
}

/** The provider is always said where it can be: template0 of the scratch server may have another one. */
export function localeClauses(properties: DatabaseProperties, major: number): string[] {
  const { localeProvider, locale, icuRules } = properties
  const common = [
    `TEMPLATE template0 ENCODING ${quoteLiteral(properties.encoding)}`,
    `LC_COLLATE ${quoteLiteral(properties.collate)} LC_CTYPE ${quoteLiteral(properties.ctype)}`,
  ]
  if (localeProvider === 'i') {
    const rules = icuRules === null ? [] : [`ICU_RULES ${quoteLiteral(icuRules)}`]
    return [...common, `LOCALE_PROVIDER icu ICU_LOCALE ${quoteLiteral(locale ?? 'und')}`, ...rules]
  }
  if (localeProvider === 'b')
    return [...common, `LOCALE_PROVIDER builtin BUILTIN_LOCALE ${quoteLiteral(locale ?? 'C')}`]
  return major >= 15 ? [...common, 'LOCALE_PROVIDER libc'] : common
}

/** Whether CREATE DATABASE failed because the server lacks the locale, its provider, or the two do not go together. */
export function isLocaleFault(reason: string): boolean {
  return /locale|collation|encoding/i.test(reason)
}

async function roleExists(client: Client, role: string): Promise<boolean> {
  const { rowCount } = await client.query('SELECT FROM pg_catalog.pg_roles WHERE rolname = $1', [role])
  return rowCount === 1
}

/** PostgreSQL writes `money` by this setting, and reads it back under no other; none where the server lacks it. */
export async function monetaryParameters(client: Client, lcMonetary: string): Promise<Record<string, string>> {
  try {
    await client.query("SELECT pg_catalog.set_config('lc_monetary', $1, false)", [lcMonetary])
    return { lc_monetary: lcMonetary }
  } catch (error) {
    // invalid_parameter_value: no such locale here, which matters to a database with money only.
    rethrowUnlessSqlState(error, '22023')
    return {}
  }
}

async function readMajor(client: Client): Promise<number> {
  const { rows } = await client.query<{ major: number }>(
    "SELECT pg_catalog.current_setting('server_version_num')::int / 10000 AS major",
  )
  return rows[0]?.major ?? 0
}
