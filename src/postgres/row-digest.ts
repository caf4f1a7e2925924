import type { Client } from './connect.ts'
import { quotedName, quoteIdentifier } from './tables.ts'

/**
 * The one definition of a table's digest, used at backup and at drill.
 *
 * A row's digest is a 64-bit hash of all its columns in name order; a table's digest is the sum over its rows, so it
 * depends neither on physical order nor on the plan, and parallel workers can share the work. Three traps shape it:
 *
 * - `hash_record_extended` combines columns linearly (31·h + next, rowtypes.c). A plain sum of it would not notice two
 *   rows that swap a value; so the row's hash is hashed once more, as eight bytes, before it is summed.
 * - Hash functions of types promise only that equal values hash alike, and equal is not identical: 1.0 = 1.00, -0 = 0,
 *   one month = 30 days, 'a ' = 'a' in char(n), hashint8 folds 1 and 2³² together, a nondeterministic collation folds
 *   case. Only types whose hash covers every bit are hashed directly.
 * - A dump carries text, so what text does not tell must not count: a NaN has a sign that no text shows, an array may
 *   keep a bitmap of NULLs after the last NULL is gone, 'a & (b & c)' comes back as '(a & b) & c', and what is not
 *   built in has OIDs that change on restore. Binary send forms are used only where they and the text are one to one;
 *   everything else is hashed in the text form that COPY itself writes.
 */
export type DigestColumn = {
  readonly name: string
  /** The column's type with domains taken away; built-in types by their name in pg_catalog. */
  readonly base: string
  readonly isBuiltIn: boolean
}

/** Columns of a table that the dump carries, in name order; generated columns are computed anew by a restore. */
export async function readDigestColumns(client: Client, oid: number): Promise<DigestColumn[]> {
  const { rows } = await client.query<DigestColumn>(
    `WITH RECURSIVE base AS (
       SELECT a.attnum, a.attname, a.atttypid AS typid FROM pg_catalog.pg_attribute a
        WHERE a.attrelid = $1::float8::int8::oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
       UNION ALL
       SELECT b.attnum, b.attname, t.typbasetype FROM base b JOIN pg_catalog.pg_type t ON t.oid = b.typid WHERE t.typtype = 'd')
     SELECT b.attname AS name, t.typname AS base, t.oid < 16384 AS "isBuiltIn"
       FROM base b JOIN pg_catalog.pg_type t ON t.oid = b.typid
      WHERE t.typtype <> 'd' ORDER BY b.attname COLLATE "C"`,
    [oid],
  )
  return rows
}

/** The query that counts a table and, with `columns`, digests it. One row: `rows`, `digest` (null without columns). */
export function censusQuery(
  table: { readonly schema: string; readonly name: string; readonly condition: string | null },
  columns: readonly DigestColumn[] | null,
): string {
  const digest =
    columns === null ? 'NULL::numeric' : `COALESCE(pg_catalog.sum(${rowDigest(columns.map(columnExpression))}), 0)`
  // ONLY: an inheritance child is a table of its own. A condition is written for the table under its own name and may
  // sort, so it gets a query of its own, as in pg_dump; our alias is one that no column can shadow.
  const rows = `ONLY ${quotedName(table)}`
  const source = table.condition === null ? rows : `(SELECT * FROM ${rows} ${table.condition})`
  return `SELECT pg_catalog.count(*) AS rows, ${digest} AS digest FROM ${source} AS ${alias}`
}

/** A 64-bit digest of one row of SQL expressions. */
export function rowDigest(expressions: readonly string[]): string {
  const inner = `pg_catalog.hash_record_extended(ROW(${expressions.join(', ')}), 0)`
  return `pg_catalog.hash_record_extended(ROW(pg_catalog.int8send(${inner})), 0)`
}

const alias = '"pgproof row"'

/** Types whose extended hash covers every bit of the value (hashfunc.c, varlena.c, network.c, uuid.c). */
const hashedDirectly = new Set([
  'bool',
  'char',
  'int2',
  'int4',
  'oid',
  'date',
  'uuid',
  'bytea',
  'macaddr',
  'macaddr8',
  'inet',
  'cidr',
])

/** Strings: hashed byte by byte once the collation is the C one. */
const strings = new Set(['text', 'varchar', 'name'])

/** Built-in types whose send function gives different bytes exactly where their text differs. */
const sendFunctions: Readonly<Record<string, string>> = {
  int8: 'int8send',
  float4: 'float4send',
  float8: 'float8send',
  numeric: 'numeric_send',
  money: 'cash_send',
  timestamp: 'timestamp_send',
  timestamptz: 'timestamptz_send',
  time: 'time_send',
  timetz: 'timetz_send',
  interval: 'interval_send',
  bpchar: 'bpcharsend',
  json: 'json_send',
  jsonb: 'jsonb_send',
  bit: 'bit_send',
  varbit: 'varbit_send',
  tsvector: 'tsvectorsend',
  pg_lsn: 'pg_lsn_send',
}

const floats = new Set(['float4', 'float8'])

function columnExpression(column: DigestColumn): string {
  const value = `${alias}.${quoteIdentifier(column.name)}`
  if (column.isBuiltIn) {
    // The cast takes a domain off its base type; it is binary and free.
    const base = `${value}::pg_catalog.${quoteIdentifier(column.base)}`
    if (hashedDirectly.has(column.base)) return base
    if (strings.has(column.base)) return `(${base}) COLLATE "C"`
    const send = sendFunctions[column.base]
    if (send !== undefined)
      return `pg_catalog.${send}(${floats.has(column.base) ? `CASE WHEN ${base} = 'NaN' THEN 'NaN' ELSE ${base} END` : base})`
  }
  // concat uses the type's output function, as COPY does, where a cast to text may be anything; but it makes '' of NULL.
  // IS DISTINCT FROM, because IS NULL is also true of a row of NULLs.
  return `CASE WHEN ${value} IS DISTINCT FROM NULL THEN pg_catalog.concat(${value}) END COLLATE "C"`
}
