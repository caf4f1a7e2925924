import type { DumpedSequence, EvidenceLevel, SequenceState, TableContents } from '../domain/evidence.ts'
import { PgproofError, reasonOf } from '../errors.ts'
import type { Client } from './connect.ts'
import { censusQuery, readDigestColumns, rowDigest } from './row-digest.ts'
import { type DumpedTable, quotedName, tableName } from './tables.ts'

export type CensusRequest = {
  /** For messages. */
  readonly database: string
  readonly tables: readonly DumpedTable[]
  /** How much to take of each table. */
  level(table: { readonly schema: string; readonly name: string }): EvidenceLevel
  onTable?: ((done: number, total: number) => void) | undefined
}

/**
 * Counts and digests every table, the largest first, shared among the given connections. All of them must be inside
 * the same snapshot, or on a database that nobody else writes to.
 */
export async function takeCensus(
  clients: readonly Client[],
  request: CensusRequest,
  signal: AbortSignal,
): Promise<TableContents[]> {
  const queue = [...request.tables].sort((one, other) => other.bytes - one.bytes)
  const contents: TableContents[] = []
  const work = async (client: Client): Promise<void> => {
    const isSqlAscii = await isInSqlAscii(client)
    for (let table = queue.shift(); table !== undefined; table = queue.shift()) {
      signal.throwIfAborted()
      contents.push(await censusOfTable(client, table, isSqlAscii, request, signal))
      request.onTable?.(contents.length, request.tables.length)
    }
  }
  try {
    await Promise.all(clients.map(work))
  } catch (error) {
    queue.length = 0
    throw error
  }
  return contents.sort((one, other) => compareBytes(one.schema, other.schema) || compareBytes(one.name, other.name))
}

async function censusOfTable(
  client: Client,
  table: DumpedTable,
  isSqlAscii: boolean,
  request: CensusRequest,
  signal: AbortSignal,
): Promise<TableContents> {
  const { schema, name, condition } = table
  const level = request.level(table)
  const named = { schema, name, level, condition, ...(table.root === null ? {} : { root: table.root }) }
  if (level === 'off') return { ...named, rows: null, digest: null }
  try {
    const columns = level === 'digest' ? await readDigestColumns(client, table.oid) : null
    const row = await asked(client, censusQuery(table, columns), isSqlAscii)
    return { ...named, rows: Number(row?.rows), digest: row?.digest ?? null }
  } catch (error) {
    signal.throwIfAborted()
    throwQueryFailed(request.database, tableName(table), error)
  }
}

/**
 * Planning a query locks the table's indexes until the transaction ends, and a transaction with a snapshot lasts as long
 * as the dump: a REINDEX would wait for it while all writers wait for the REINDEX. A savepoint gives these locks back.
 *
 * A database in SQL_ASCII holds any bytes, and functions such as `bpcharsend` refuse those that are not UTF-8 to a client
 * that is. The answers are numbers.
 */
async function asked(
  client: Client,
  query: string,
  isSqlAscii: boolean,
): Promise<{ rows: string; digest: string | null } | undefined> {
  const isInSnapshot = client.getTransactionStatus() === 'T'
  if (isInSnapshot) await client.query('SAVEPOINT census')
  if (isSqlAscii) await client.query("SET client_encoding = 'SQL_ASCII'")
  const { rows } = await client.query<{ rows: string; digest: string | null }>(query)
  if (isSqlAscii) await client.query("SET client_encoding = 'UTF8'")
  if (isInSnapshot) await client.query('ROLLBACK TO SAVEPOINT census')
  return rows[0]
}

async function isInSqlAscii(client: Client): Promise<boolean> {
  const { rows } = await client.query<{ server_encoding: string }>('SHOW server_encoding')
  return rows[0]?.server_encoding === 'SQL_ASCII'
}

function throwQueryFailed(database: string, what: string, error: unknown): never {
  throw new PgproofError(
    'QUERY_FAILED',
    { database, reason: `census of ${what}: ${reasonOf(error)}` },
    { cause: error },
  )
}

/**
 * The state of every sequence that is dumped; of a standby that are not the unlogged ones. Sequences do not obey
 * snapshots; see `earlierStates`. Throws QUERY_FAILED.
 */
export async function readSequences(client: Client, isStandby: boolean): Promise<SequenceState[]> {
  try {
    return await readSequenceStates(client, isStandby)
  } catch (error) {
    throwQueryFailed(client.database ?? '', 'sequences', error)
  }
}

async function readSequenceStates(client: Client, isStandby: boolean): Promise<SequenceState[]> {
  const { rows } = await client.query<Pick<SequenceState, 'schema' | 'name' | 'increment' | 'isCycling'>>(
    `
    SELECT n.nspname AS schema, c.relname AS name, s.seqincrement::text AS increment, s.seqcycle AS "isCycling"
      FROM pg_catalog.pg_sequence s JOIN pg_catalog.pg_class c ON c.oid = s.seqrelid
      JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relpersistence <> 't' AND (c.relpersistence <> 'u' OR NOT $1)
       AND ((n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
             AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::regclass
                               AND d.objid = c.oid AND d.deptype = 'e'))
            OR EXISTS (SELECT FROM pg_catalog.pg_extension e WHERE c.oid = ANY (e.extconfig)))
     ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"`,
    [isStandby],
  )
  const states: SequenceState[] = []
  for (let start = 0; start < rows.length; start += 200) {
    const batch = rows.slice(start, start + 200)
    const query = batch
      .map(
        (sequence, index) => `SELECT ${index} AS i, last_value::text AS v, is_called AS c FROM ${quotedName(sequence)}`,
      )
      .join(' UNION ALL ')
    const result = await client.query<{ i: number; v: string; c: boolean }>(query)
    for (const { i, v, c } of result.rows) {
      const sequence = batch[i]
      if (sequence !== undefined) states.push({ ...sequence, lastValue: v, isCalled: c })
    }
  }
  return states.sort((one, other) => compareBytes(one.schema, other.schema) || compareBytes(one.name, other.name))
}

/**
 * pg_dump reads each sequence at some moment between the two readings. The one that is behind in the sequence's own
 * direction is what a restore must at least reach; the other, `latest`, is what it must not go beyond.
 */
export function earlierStates(before: readonly SequenceState[], after: readonly SequenceState[]): DumpedSequence[] {
  const later = new Map(after.map((state) => [quotedName(state), state]))
  return before.flatMap((state) => {
    const other = later.get(quotedName(state))
    if (other === undefined) return [] // dropped meanwhile: it was outside the snapshot's locks
    const [earlier, latest] = position(other) < position(state) ? [other, state] : [state, other]
    return [{ ...earlier, latest: { lastValue: latest.lastValue, isCalled: latest.isCalled } }]
  })
}

/** Sequences that a populated materialized view reads, itself or through views: to refresh it may have moved them on. */
export async function readRefreshedSequences(client: Client): Promise<{ schema: string; name: string }[]> {
  const { rows } = await client
    .query<{ schema: string; name: string }>(`
    WITH RECURSIVE used AS (
      SELECT c.oid FROM pg_catalog.pg_class c WHERE c.relkind = 'm' AND c.relispopulated
      UNION
      SELECT d.refobjid FROM used u JOIN pg_catalog.pg_rewrite r ON r.ev_class = u.oid
        JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.objid = r.oid
         AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass)
    SELECT n.nspname AS schema, c.relname AS name FROM used u JOIN pg_catalog.pg_class c ON c.oid = u.oid
      JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'S'`)
    .catch((error: unknown) => throwQueryFailed(client.database ?? '', 'sequences', error))
  return rows
}

/** The next value's place along the sequence's direction. */
function position(state: SequenceState): bigint {
  const increment = BigInt(state.increment)
  const next = BigInt(state.lastValue) + (state.isCalled ? increment : 0n)
  return increment < 0n ? -next : next
}

export type LargeObjects = { count: number; bytes: number; digest: string | null }

/**
 * Count, size and digest of all large objects, by their OIDs, which a restore keeps. Content goes through `lo_get`,
 * because page boundaries and holes in pg_largeobject are not kept; and in pieces, because it may be 4 TB. The digest
 * is null at level `count` and `off`. Throws QUERY_FAILED.
 */
export async function readLargeObjects(client: Client, level: EvidenceLevel): Promise<LargeObjects> {
  const count =
    'SELECT pg_catalog.count(*) AS count, 0 AS bytes, NULL AS digest FROM pg_catalog.pg_largeobject_metadata'
  const query = level === 'digest' ? largeObjectDigestQuery : count
  const { rows } = await client
    .query<{ count: string; bytes: string; digest: string | null }>(query)
    .catch((error: unknown) => throwQueryFailed(client.database ?? '', 'large objects', error))
  const [row] = rows
  return { count: Number(row?.count ?? 0), bytes: Number(row?.bytes ?? 0), digest: row?.digest ?? null }
}

const pieceBytes = 1 << 20

function pieceOf(place: string): string {
  const piece = `(SELECT pg_catalog.lo_get(m.oid, ${place}, ${pieceBytes}) AS content OFFSET 0) c`
  return `pg_catalog.octet_length(c.content) AS bytes, ${rowDigest(['m.oid', `(${place})::int8`, 'c.content'])} AS digest FROM ${piece}`
}

/** Only the last piece of an object is shorter than the others, and it may be empty. OFFSET 0: read each piece once. */
const largeObjectDigestQuery = `
  SELECT pg_catalog.count(*) FILTER (WHERE p.place = 0) AS count, COALESCE(pg_catalog.sum(p.bytes), 0) AS bytes,
         COALESCE(pg_catalog.sum(p.digest), 0) AS digest
    FROM pg_catalog.pg_largeobject_metadata m CROSS JOIN LATERAL (
      WITH RECURSIVE piece AS (
        SELECT 0::int8 AS place, ${pieceOf('0')}
        UNION ALL
        SELECT l.place + ${pieceBytes}, n.bytes, n.digest
          FROM piece l CROSS JOIN LATERAL (SELECT ${pieceOf(`l.place + ${pieceBytes}`)}) n WHERE l.bytes = ${pieceBytes})
      SELECT * FROM piece) p`

function compareBytes(one: string, other: string): number {
  return Buffer.compare(Buffer.from(one), Buffer.from(other))
}
