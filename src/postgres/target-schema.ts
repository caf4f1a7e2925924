import { PgproofError } from '../errors.ts'
import { type Client, type Connection, connect } from './connect.ts'
import { quoteIdentifier, quoteLiteral } from './tables.ts'

/** A schema that this restore makes in a database of somebody else; dropped when the scope ends, unless kept. */
export type TargetSchema = AsyncDisposable & {
  /** Gives it its final comment; from now on the scope's end leaves it. */
  keep(client: Client, comment: string): Promise<void>
}

const never = new AbortController().signal

/**
 * Throws USAGE_INVALID if the schema is there, TARGET_LACKS if this login may not make one, TARGET_FAILED where the rows
 * that are restored would be sent to subscribers of the whole database.
 */
export async function assertSchemaFree(client: Client, schema: string): Promise<void> {
  const { rows } = await client.query<{
    comment: string | null
    found: boolean
    allowed: boolean
    publication: string | null
  }>(
    `SELECT n.oid IS NOT NULL AS found, pg_catalog.obj_description(n.oid, 'pg_namespace') AS comment,
            pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE') AS allowed,
            (SELECT pg_catalog.string_agg(pubname, ', ') FROM pg_catalog.pg_publication WHERE puballtables) AS publication
       FROM (SELECT) one LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = $1`,
    [schema],
  )
  const [row] = rows
  const database = client.database ?? ''
  if (row?.found === true) {
    const whose = row.comment?.startsWith(unfinished) === true ? ', left there by a restore that was interrupted' : ''
    const reason = `schema "${schema}" exists already in database "${database}"${whose}: drop it (DROP SCHEMA ${quoteIdentifier(schema)} CASCADE) or give another name by --into-schema`
    throw new PgproofError('USAGE_INVALID', { reason })
  }
  if (row?.allowed === false)
    throw new PgproofError('TARGET_LACKS', {
      what: `the right of ${client.user ?? 'this login'} to create a schema in "${database}"`,
      mend: `GRANT CREATE ON DATABASE ${quoteIdentifier(database)} TO ${quoteIdentifier(client.user ?? '')} gives it.`,
    })
  if (row !== undefined && row.publication !== null)
    throw new PgproofError('TARGET_FAILED', {
      reason: `publication ${row.publication} of "${database}" is FOR ALL TABLES, so the restored rows would go to its subscribers, which do not have the table; restore into a database of its own with --create`,
    })
}

/** Takes away what default privileges gave to others, from the schema and all in it: the copy is for its login alone. */
export async function makePrivate(client: Client, schema: string): Promise<void> {
  const { rows } = await client.query<{ grantee: string }>(
    `SELECT DISTINCT CASE WHEN x.grantee = 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(x.grantee)) END AS grantee
       FROM (SELECT n.nspowner AS owner, n.nspacl AS acl FROM pg_catalog.pg_namespace n WHERE n.nspname = $1
             UNION ALL SELECT c.relowner, c.relacl FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
              WHERE n.nspname = $1) one CROSS JOIN LATERAL pg_catalog.aclexplode(one.acl) x
      WHERE x.grantee <> one.owner`,
    [schema],
  )
  const name = quoteIdentifier(schema)
  for (const { grantee } of rows)
    for (const what of [`SCHEMA ${name}`, `ALL TABLES IN SCHEMA ${name}`, `ALL SEQUENCES IN SCHEMA ${name}`])
      await client.query(`REVOKE ALL ON ${what} FROM ${grantee}`)
}

/** The comment that a schema has until it is whole. */
export function unfinishedMark(label: string, token: string): string {
  return `${unfinished} ${label}, unfinished (${token})`
}

const unfinished = 'pgproof restore of tables from'

/**
 * Claims a name: whatever schema has the mark when the scope ends is dropped, after the sessions under that application
 * name have ended, for one of them may be about to commit it. Another schema of that name is left alone.
 */
export function claimSchema(
  connection: Connection,
  {
    schema,
    mark,
    applicationName,
  }: { readonly schema: string; readonly mark: string; readonly applicationName: string },
): TargetSchema {
  let isKept = false
  return {
    async keep(client, comment) {
      await client.query(`COMMENT ON SCHEMA ${quoteIdentifier(schema)} IS ${quoteLiteral(comment)}`)
      isKept = true
    },
    async [Symbol.asyncDispose]() {
      if (isKept) return
      await using held = await connect(connection, never, 'pgproof restore')
      const { client } = held
      await untilGone(client, applicationName)
      const { rowCount } = await client.query(
        `SELECT FROM pg_catalog.pg_namespace n WHERE n.nspname = $1 AND pg_catalog.obj_description(n.oid, 'pg_namespace') = $2`,
        [schema, mark],
      )
      if (rowCount === 1) await dropSchema(client, schema)
    },
  }
}

/** Table by table: one transaction may not lock as many as there can be. */
async function dropSchema(client: Client, schema: string): Promise<void> {
  const { rows } = await client.query<{ text: string }>(
    `SELECT c.oid::pg_catalog.regclass::text AS text FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') ORDER BY c.relispartition DESC, c.oid`,
    [schema],
  )
  for (let from = 0; from < rows.length; from += 100)
    await client.query(
      `DROP TABLE IF EXISTS ${rows
        .slice(from, from + 100)
        .map(({ text }) => text)
        .join(', ')} CASCADE`,
    )
  await client.query(`DROP SCHEMA ${quoteIdentifier(schema)} CASCADE`)
}

/** Ends them after two seconds: their program has been ended, too. */
async function untilGone(client: Client, applicationName: string): Promise<void> {
  for (let round = 0; round < 100; round += 1) {
    const { rows } = await client.query<{ pid: number }>(
      `SELECT pid FROM pg_catalog.pg_stat_activity WHERE application_name = $1 AND pid <> pg_catalog.pg_backend_pid()`,
      [applicationName],
    )
    if (rows.length === 0) return
    if (round > 40)
      for (const { pid } of rows)
        await client.query('SELECT pg_catalog.pg_terminate_backend($1)', [pid]).catch(() => {})
    await client.query('SELECT pg_catalog.pg_sleep(0.05)')
  }
}
