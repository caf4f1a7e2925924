import { PgproofError, reasonOf } from '../errors.ts'
import { type Client, type Connection, connect } from './connect.ts'
import { quoteIdentifier } from './tables.ts'

export type CheckedIndexes = { readonly tables: number; readonly indexes: number }

/**
 * PostgreSQL's own checks of what lies on disk: each table's pages with their TOAST, and each B-tree index against
 * every row of its table. All in a transaction that is rolled back, so that the extension leaves nothing behind.
 * Throws EXTENSION_MISSING, QUERY_FAILED, or VERIFY_FAILED with every finding in the details; its message names nothing.
 */
export async function checkIndexes(
  connection: Connection,
  label: string,
  signal: AbortSignal,
): Promise<CheckedIndexes> {
  await using held = await connect(connection, signal, 'pgproof amcheck')
  const { client } = held
  await client.query('BEGIN')
  const schema = await amcheckSchema(client)
  const tables = await relations(client, "c.relkind IN ('r', 'm', 't') AND a.amname = 'heap'")
  const indexes = await relations(
    client,
    `c.relkind = 'i' AND a.amname = 'btree' AND EXISTS (
       SELECT FROM pg_catalog.pg_index i WHERE i.indexrelid = c.oid AND i.indisvalid AND i.indisready)`,
  )
  const findings: string[] = []
  for (const { oid, name } of tables) {
    const found = await checked(client, name, signal, async () => {
      const query = `SELECT blkno, offnum, msg FROM ${schema}.verify_heapam($1::oid::pg_catalog.regclass) LIMIT 100`
      const { rows } = await client.query<{ blkno: string; offnum: number | null; msg: string }>(query, [oid])
      return rows.map(({ blkno, offnum, msg }) => `table ${name}, page ${blkno}, line ${offnum ?? '-'}: ${msg}`)
    })
    findings.push(...found)
  }
  for (const { oid, name } of indexes) {
    const found = await checked(client, `index ${name}`, signal, async () => {
      await client.query(`SELECT ${schema}.bt_index_check($1::oid::pg_catalog.regclass, true)`, [oid])
      return []
    })
    findings.push(...found)
  }
  await client.query('ROLLBACK')
  if (findings.length > 0) {
    const reason = findings.length === 1 ? '1 finding' : `${findings.length} findings`
    throw new PgproofError('VERIFY_FAILED', { label, check: 'amcheck', reason }, { details: findings.join('\n') })
  }
  return { tables: tables.length, indexes: indexes.length }
}

/** Where amcheck's functions are: in the schema that the database has them in, or in one of their own until the end. */
async function amcheckSchema(client: Client): Promise<string> {
  const { rows } = await client.query<{ schema: string | null; isAvailable: boolean }>(`
    SELECT (SELECT n.nspname FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
             WHERE e.extname = 'amcheck') AS schema,
           EXISTS (SELECT FROM pg_catalog.pg_available_extensions WHERE name = 'amcheck') AS "isAvailable"`)
  const [found] = rows
  if (found?.schema != null) return quoteIdentifier(found.schema)
  if (found?.isAvailable !== true)
    throw new PgproofError('EXTENSION_MISSING', { extensions: 'amcheck', packages: 'postgresql-contrib' })
  // Event triggers of the database may forbid what follows.
  const { rows: triggers } = await client.query<{ name: string }>(
    "SELECT evtname AS name FROM pg_catalog.pg_event_trigger WHERE evtenabled <> 'D'",
  )
  for (const { name } of triggers) await client.query(`ALTER EVENT TRIGGER ${quoteIdentifier(name)} DISABLE`)
  await client.query('CREATE SCHEMA "pgproof amcheck"; CREATE EXTENSION amcheck SCHEMA "pgproof amcheck"')
  return '"pgproof amcheck"'
}

async function relations(client: Client, condition: string): Promise<{ oid: number; name: string }[]> {
  const { rows } = await client.query<{ oid: number; name: string }>(`
    SELECT c.oid::int8::float8 AS oid, pg_catalog.format('%I.%I', n.nspname, c.relname) AS name FROM pg_catalog.pg_class c
      JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace JOIN pg_catalog.pg_am a ON a.oid = c.relam
     WHERE c.relpersistence <> 't' AND NOT c.relisshared AND ${condition} ORDER BY 2`)
  return rows
}

/** A finding ends a transaction, and locks last as long as one: a savepoint for each relation. */
async function checked(
  client: Client,
  what: string,
  signal: AbortSignal,
  check: () => Promise<readonly string[]>,
): Promise<readonly string[]> {
  await client.query('SAVEPOINT one')
  const found = await check().catch((error: unknown) => {
    signal.throwIfAborted()
    if (isCorruption(error)) return [`${what}: ${reasonOf(error)}`]
    const reason = `amcheck of ${what}: ${reasonOf(error)}`
    throw new PgproofError('QUERY_FAILED', { database: client.database ?? '', reason }, { cause: error })
  })
  await client.query('ROLLBACK TO SAVEPOINT one; RELEASE SAVEPOINT one')
  return found
}

/** Data or index corrupted, an internal error, a file missing; anything else says nothing about the files. */
function isCorruption(error: unknown): boolean {
  return /^XX|^58P01$/.test((error as { code?: string }).code ?? '')
}
