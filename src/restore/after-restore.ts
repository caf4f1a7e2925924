import assert from 'node:assert/strict'
import type { Evidence, TableContents } from '../domain/evidence.ts'
import { PgproofError, reasonOf } from '../errors.ts'
import { type Client, type Connection, connect, openSeveral } from '../postgres/connect.ts'
import { sqlStateOf } from '../postgres/sql-state.ts'
import { listLocalTables, quotedName, tableName } from '../postgres/tables.ts'
import { together } from '../streams/together.ts'
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
 * What a restored database needs before it serves: planner statistics, by as many sessions as rows came in by. Then one row of the largest table is asked for,
 * as an application would; from the fetch to its answer is the restore time. Returns what PostgreSQL refused and why: a
 * function in an index may refuse at the source as well, and a table that is missing is for the comparison to name.
 * Throws SCRATCH_FAILED.
 */
export async function analyzeAndAsk(
  { connection, tables, jobs }: Restored,
  phases: Pick<Phases<'analyze' | 'query'>, 'time'>,
  signal: AbortSignal,
): Promise<readonly string[]> {
  await using sessions = await openSeveral(Math.min(jobs, mostSessions), () =>
    connect(connection, signal, 'pgproof drill'),
  )
  const [first] = sessions.clients
  assert(first !== undefined, 'no session to analyze in')
  const byRows = [...tables].sort((one, other) => (other.rows ?? 0) - (one.rows ?? 0))
  const notes = await phases.time('analyze', () => analyzeAll(sessions.clients, first, byRows, signal))
  const [largest] = byRows
  // ONLY: a child or partition may be foreign, and then its rows are on another server.
  const question = largest === undefined ? 'SELECT 1' : `SELECT 1 FROM ONLY ${quotedName(largest)} LIMIT 1`
  const answer = await phases.time('query', () => noteOf('the first query', first.query(question), signal))
  return [...notes, ...answer]
}

type Restored = {
  readonly connection: Connection
  /** What the database is to hold; large ones are analyzed first. */
  readonly tables: readonly TableContents[]
  /** Sessions that share the work, no more than eight. */
  readonly jobs: number
}

const mostSessions = 8
const tablesAtOnce = 100
/** A table of so many rows is a piece of work of its own. */
const manyRows = 10_000

/** Not a plain ANALYZE: with a foreign child or partition that would go to another server, production perhaps. */
async function analyzeAll(
  clients: readonly Client[],
  first: Client,
  byRows: readonly TableContents[],
  signal: AbortSignal,
): Promise<readonly string[]> {
  const local = new Map((await listLocalTables(first)).map((table) => [tableName(table), table]))
  const pieces = byRows
    .filter((table) => (table.rows ?? 0) >= manyRows && local.has(tableName(table)))
    .map((table) => [table as Named])
  for (const [table] of pieces) if (table !== undefined) local.delete(tableName(table))
  const small = [...local.values()]
  for (let start = 0; start < small.length; start += tablesAtOnce) pieces.push(small.slice(start, start + tablesAtOnce))

  const notes: (readonly string[])[] = []
  let next = 0
  const work = async (client: Client, branch: AbortSignal): Promise<void> => {
    for (let piece = pieces[next]; piece !== undefined && !branch.aborted; piece = pieces[next]) {
      const place = next
      next += 1
      notes[place] = await analyzeTables(client, piece, branch)
    }
  }
  await together(signal, (branch) => clients.map((client) => work(client, branch)))
  return notes.flat()
}

type Named = { readonly schema: string; readonly name: string }

async function analyzeTables(
  client: Client,
  tables: readonly Named[],
  signal: AbortSignal,
): Promise<readonly string[]> {
  const statement = `ANALYZE ${tables.map(quotedName).join(', ')}`
  const refused = await noteOf(`ANALYZE ${tables.map(tableName).join(', ')}`, client.query(statement), signal)
  if (refused.length === 0 || tables.length === 1) return refused
  const notes: string[] = []
  for (const table of tables) notes.push(...(await analyzeTables(client, [table], signal)))
  return notes
}

/** What the server refused, as a note. Without a code of PostgreSQL the connection is gone. */
async function noteOf(what: string, query: Promise<unknown>, signal: AbortSignal): Promise<readonly string[]> {
  try {
    await query
    return []
  } catch (error) {
    signal.throwIfAborted()
    if (sqlStateOf(error) !== '') return [`${what}: ${reasonOf(error)}`]
    // One statement may name a hundred tables.
    const reason = `the connection broke: ${reasonOf(error)}`
    throw new PgproofError('SCRATCH_FAILED', { reason }, { cause: error, details: what })
  }
}
