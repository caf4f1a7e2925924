import { PgproofError } from '../errors.ts'
import { assertNamesReadable, type Client } from './connect.ts'

/** A table whose rows `pg_dump` dumps: ordinary tables and partitions, and the configuration tables of extensions. */
export type DumpedTable = {
  readonly oid: number
  readonly schema: string
  readonly name: string
  /** Bytes on disk with its TOAST, for ordering the work; as of the last VACUUM unless measured. */
  readonly bytes: number
  /** The filter of an extension's configuration table, beginning with WHERE; null for every other table. */
  readonly condition: string | null
  /**
   * Set for a partition below a table that is partitioned by the hash of an enum: the hash is of the value's OID, so a
   * restore puts its rows into other partitions, and only all partitions of this table together hold what they held.
   */
  readonly root: { readonly schema: string; readonly name: string } | null
  readonly isReadable: boolean
  /** Whether row security hides rows from this role. */
  readonly isFiltered: boolean
}

/**
 * Every table that has rows in the dump, by the rules of pg_dump's `selectDumpableTable` and `makeTableDataInfo`:
 * temporary tables and schemas named `pg_…` are not dumped, members of extensions only if registered by
 * `pg_extension_config_dump`, partitioned tables hold no rows themselves, unlogged tables have none on a standby.
 * Measuring sizes waits for tables that somebody has locked, so it is for those who have locks themselves.
 */
export async function listDumpedTables(
  client: Client,
  isStandby: boolean,
  sizes: 'measured' | 'known' = 'known',
): Promise<DumpedTable[]> {
  const knownSize = "(c.relpages::int8 + COALESCE(t.relpages, 0)) * pg_catalog.current_setting('block_size')::int8"
  const { rows } = await client
    .query<Omit<DumpedTable, 'bytes'> & { bytes: string }>(`
    SELECT c.oid::int8::float8 AS oid, n.nspname AS schema, c.relname AS name,
           ${sizes === 'measured' ? 'pg_catalog.pg_table_size(c.oid)' : knownSize} AS bytes,
           NULLIF(x.condition, '') AS condition,
           (SELECT pg_catalog.json_build_object('schema', rn.nspname, 'name', r.relname)
              FROM pg_catalog.pg_partition_ancestors(c.oid) WITH ORDINALITY AS a (oid, level)
              JOIN pg_catalog.pg_partitioned_table p ON p.partrelid = a.oid
              JOIN pg_catalog.pg_class r ON r.oid = a.oid JOIN pg_catalog.pg_namespace rn ON rn.oid = r.relnamespace
             WHERE c.relispartition AND EXISTS (
                     SELECT FROM pg_catalog.pg_opclass o JOIN pg_catalog.pg_am m ON m.oid = o.opcmethod
                      WHERE o.oid = ANY (p.partclass) AND o.opcname = 'enum_ops' AND m.amname = 'hash'
                        AND o.opcnamespace = 'pg_catalog'::pg_catalog.regnamespace)
             ORDER BY a.level DESC LIMIT 1) AS root,
           pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_table_privilege(c.oid, 'SELECT') AS "isReadable",
           pg_catalog.row_security_active(c.oid) AS "isFiltered"
      FROM pg_catalog.pg_class c
      JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      LEFT JOIN pg_catalog.pg_class t ON t.oid = c.reltoastrelid
      LEFT JOIN (SELECT pg_catalog.unnest(e.extconfig) AS oid, pg_catalog.unnest(e.extcondition) AS condition
                   FROM pg_catalog.pg_extension e) x ON x.oid = c.oid
     WHERE c.relkind = 'r' AND c.relpersistence <> 't'
       AND ${isStandby ? "c.relpersistence <> 'u'" : 'true'}
       AND (x.oid IS NOT NULL OR (n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND NOT EXISTS (
             SELECT FROM pg_catalog.pg_depend d
              WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')))
     ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"`)
    .catch((error: unknown) => {
      assertNamesReadable(client, 'table', error)
      throw error
    })
  return rows.map((row) => ({ ...row, bytes: Number(row.bytes) }))
}

/** Tables and materialized views with statistics, without those that have a foreign table below them. */
export async function listLocalTables(client: Client): Promise<{ schema: string; name: string }[]> {
  const { rows } = await client.query<{ schema: string; name: string }>(`
    WITH RECURSIVE above AS (
      SELECT i.inhparent AS oid FROM pg_catalog.pg_inherits i
        JOIN pg_catalog.pg_class f ON f.oid = i.inhrelid AND f.relkind = 'f'
      UNION
      SELECT i.inhparent FROM above a JOIN pg_catalog.pg_inherits i ON i.inhrelid = a.oid)
    SELECT n.nspname AS schema, c.relname AS name FROM pg_catalog.pg_class c
      JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'm', 'p') AND c.relpersistence <> 't' AND c.oid NOT IN (SELECT oid FROM above)
       AND n.nspname <> 'pg_toast'
     ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"`)
  return rows
}

/** Sequences that this role may not read: pg_dump would fail on each. */
export async function listUnreadableSequences(client: Client): Promise<string[]> {
  const { rows } = await client.query<{ object: string }>(`
    SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) AS object
      FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind = 'S' AND c.relpersistence <> 't' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
       AND NOT (pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_sequence_privilege(c.oid, 'SELECT'))
     ORDER BY 1`)
  return rows.map(({ object }) => object)
}

/**
 * Large objects that this role may not read: pg_dump would fail on the first. `pg_read_all_data` does not cover them.
 * The rule is that of `pg_largeobject_aclcheck_snapshot`; at most 100 are named.
 */
export async function listUnreadableLargeObjects(client: Client): Promise<string[]> {
  const { rows } = await client.query<{ object: string }>(`
    SELECT m.oid::text AS object FROM pg_catalog.pg_largeobject_metadata m
     WHERE NOT (SELECT r.rolsuper FROM pg_catalog.pg_roles r WHERE r.rolname = current_user)
       AND pg_catalog.current_setting('lo_compat_privileges') = 'off'
       AND NOT pg_catalog.pg_has_role(m.lomowner, 'USAGE')
       AND NOT EXISTS (SELECT FROM pg_catalog.aclexplode(m.lomacl) a WHERE a.privilege_type = 'SELECT'
                         AND (a.grantee = 0 OR pg_catalog.pg_has_role(a.grantee, 'USAGE')))
     ORDER BY m.oid LIMIT 100`)
  return rows.map(({ object }) => object)
}

/** Throws PRIVILEGE_MISSING naming what this role cannot read in full. */
export async function assertAllReadable(
  client: Client,
  tables: readonly DumpedTable[],
  role: string,
  database: string,
): Promise<void> {
  const unreadable = [
    ...tables.filter((table) => !table.isReadable).map((table) => `${tableName(table)} (no SELECT)`),
    ...tables.filter((table) => table.isFiltered).map((table) => `${tableName(table)} (row security)`),
    ...(await listUnreadableSequences(client)).map((name) => `sequence ${name} (no SELECT)`),
    ...(await listUnreadableLargeObjects(client)).map((oid) => `large object ${oid} (no SELECT)`),
  ]
  if (unreadable.length === 0) return
  const shown = unreadable.slice(0, 5).join(', ') + (unreadable.length > 5 ? ` and ${unreadable.length - 5} more` : '')
  throw new PgproofError('PRIVILEGE_MISSING', { role, database, objects: shown }, { details: unreadable.join('\n') })
}

/** `schema.table`, quoted as SQL identifiers always. */
export function quotedName(table: { readonly schema: string; readonly name: string }): string {
  return `${quoteIdentifier(table.schema)}.${quoteIdentifier(table.name)}`
}

/** `schema.table` for people: quotes only where SQL needs them. */
export function tableName(table: { readonly schema: string; readonly name: string }): string {
  const plain = /^[a-z_][a-z0-9_$]*$/
  return [table.schema, table.name].map((part) => (plain.test(part) ? part : quoteIdentifier(part))).join('.')
}

export function quoteIdentifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}

export function quoteLiteral(text: string): string {
  const escaped = text.replaceAll("'", "''")
  return text.includes('\\') ? ` E'${escaped.replaceAll('\\', '\\\\')}'` : `'${escaped}'`
}
