import type { Evidence, TableContents } from '../domain/evidence.ts'
import { PgproofError, reasonOf } from '../errors.ts'
import { type Client, type Connection, connect } from '../postgres/connect.ts'
import { listLocalTables, quotedName, tableName } from '../postgres/tables.ts'
import type { Phases } from './phases.ts'

/**
 * Throws EXTENSION_MISSING or LIBRARY_NOT_LOADED before anything is restored: the server is lacking then, not the
 * backup.
 */
export async function assertExtensions(
  connection: Connection,
  extensions: Evidence['extensions'],
  signal: AbortSignal,
): Promise<void> {
  await using held = await connect(connection, signal, 'pgproof drill')
  const { rows } = await held.client.query<{ name: string }>('SELECT name FROM pg_catalog.pg_available_extensions')
  const available = new Set(rows.map(({ name }) => name))
  const missing = extensions.map(({ name }) => name).filter((name) => !available.has(name))
  if (missing.length > 0) {
    const packages = missing.map((name) => `the package of ${name} for the scratch server’s major`).join(', ')
    throw new PgproofError('EXTENSION_MISSING', { extensions: missing.join(', '), packages })
  }
  if (extensions.some(({ name }) => name === 'pg_cron')) await assertCron(held.client, connection.database)
}

/** pg_cron works in one database of a server only, and that one is named before the server starts. */
async function assertCron(client: Client, database: string): Promise<void> {
  const { rows } = await client.query<{ name: string | null }>(
    "SELECT pg_catalog.current_setting('cron.database_name', true) AS name",
  )
  if (rows[0]?.name === database) return
  const reason =
    'it works in one database of a server alone, named when the server starts; a drill of this database alone, with `drill.scratch: embedded`, sees to that'
  throw new PgproofError('LIBRARY_NOT_LOADED', { library: 'pg_cron', reason })
}

/**
 * Throws LOCALE_MISSING if the database holds `money` and the scratch server cannot read it as the dump writes it. Known
 * from the structure: the type of a column, also of a composite type, of a domain, a range or an aggregate's state.
 */
export async function assertMonetary(connection: Connection, evidence: Evidence, signal: AbortSignal): Promise<void> {
  const { lcMonetary } = evidence.properties
  if (connection.parameters?.['lc_monetary'] === lcMonetary) return
  const hasMoney = evidence.structure.some(({ facets }) =>
    typeFacets.some((facet) => /^money(?:\[\])*$/.test(facets[facet] ?? '')),
  )
  signal.throwIfAborted()
  if (hasMoney) throw new PgproofError('LOCALE_MISSING', { locale: lcMonetary })
}

/** Why this login cannot connect to a database any more that has its own settings and rights now; none if it can. */
export async function whyUnreachable(connection: Connection, signal: AbortSignal): Promise<readonly string[]> {
  try {
    await using _held = await connect(connection, signal, 'pgproof restore')
    return []
  } catch (error) {
    signal.throwIfAborted()
    const cause = error instanceof PgproofError ? (error.cause ?? error) : error
    return [`with its own settings and rights, this login cannot connect to it any more: ${reasonOf(cause)}`]
  }
}

/** The facets in which a built-in type stands alone, by its name; one of the same name in another schema is qualified. */
const typeFacets = ['type', 'subtype', 'element', 'transition type', 'moving transition type']

/**
 * What a restored database needs before it serves: planner statistics. Then one row of the largest table is asked for,
 * as an application would; from the fetch to its answer is the restore time. Returns what PostgreSQL refused and why: a
 * function in an index may refuse at the source as well, and a table that is missing is for the comparison to name.
 * Throws SCRATCH_FAILED.
 */
export async function analyzeAndAsk(
  connection: Connection,
  tables: readonly TableContents[],
  phases: Pick<Phases<'analyze' | 'query'>, 'time'>,
  signal: AbortSignal,
): Promise<readonly string[]> {
  await using held = await connect(connection, signal, 'pgproof drill')
  const notes = await phases.time('analyze', () => analyzeAll(held.client, signal))
  const [largest] = [...tables].sort((one, other) => (other.rows ?? 0) - (one.rows ?? 0))
  // ONLY: a child or partition may be foreign, and then its rows are on another server.
  const question = largest === undefined ? 'SELECT 1' : `SELECT 1 FROM ONLY ${quotedName(largest)} LIMIT 1`
  const answer = await phases.time('query', () => noteOf('the first query', held.client.query(question), signal))
  return [...notes, ...answer]
}

const tablesAtOnce = 100

/** Not a plain ANALYZE: with a foreign child or partition that would go to another server, production perhaps. */
async function analyzeAll(client: Client, signal: AbortSignal): Promise<readonly string[]> {
  const tables = await listLocalTables(client)
  const notes: string[] = []
  for (let start = 0; start < tables.length; start += tablesAtOnce) {
    const batch = tables.slice(start, start + tablesAtOnce)
    const refused = await noteOf('', client.query(`ANALYZE ${batch.map(quotedName).join(', ')}`), signal)
    if (refused.length === 0) continue
    for (const table of batch)
      notes.push(...(await noteOf(`ANALYZE ${tableName(table)}`, client.query(`ANALYZE ${quotedName(table)}`), signal)))
  }
  return notes
}

/** What the server refused, as a note. Without a code of PostgreSQL the connection is gone. */
async function noteOf(what: string, query: Promise<unknown>, signal: AbortSignal): Promise<readonly string[]> {
  try {
    await query
    return []
  } catch (error) {
    signal.throwIfAborted()
    const reason = `${what}: ${reasonOf(error)}`
    if ((error as { code?: string }).code === undefined)
      throw new PgproofError('SCRATCH_FAILED', { reason }, { cause: error })
    return [reason]
  }
}
