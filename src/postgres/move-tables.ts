import { keyOf, type QualifiedName } from '../domain/qualified-name.ts'
import { PgproofError, reasonOf } from '../errors.ts'
import type { Client } from './connect.ts'
import { rethrowUnlessSqlState } from './sql-state.ts'
import { quotedName, quoteIdentifier, quoteLiteral, tableName } from './tables.ts'

/** What only the staging database knows of a table; read before it is moved. */
export type StagedTable = QualifiedName & {
  /** The table that it is a partition of, and for which values; as SQL writes both. */
  readonly partitionOf: { readonly parent: string; readonly bound: string } | null
  /** `RANGE (placed)`, of a partitioned table. */
  readonly partitionKey: string | null
  /** Defaults that take from a sequence which another table owns, as one that is inherited from does. */
  readonly borrowed: readonly { readonly column: string; readonly expression: string; readonly owner: QualifiedName }[]
  /** Whether it may refer to large objects, which are not restored. */
  readonly mayReferToLargeObjects: boolean
}

/** A view that reads a table, itself or through others. */
export type ReadingView = QualifiedName & {
  readonly text: string
  readonly isMaterialized: boolean
  /** Which of the tables. */
  readonly reads: readonly QualifiedName[]
  /** Those of a materialized view. */
  readonly indexes: readonly string[]
}

export async function readStagedTables(
  client: Client,
  tables: readonly QualifiedName[],
): Promise<readonly StagedTable[]> {
  const { rows } = await client.query<StagedTable>(
    `SELECT w.schema, w.name, pg_catalog.pg_get_partkeydef(c.oid) AS "partitionKey",
            CASE WHEN c.relispartition THEN (
              SELECT pg_catalog.json_build_object('parent', h.inhparent::pg_catalog.regclass::text, 'bound', pg_catalog.pg_get_expr(c.relpartbound, c.oid))
                FROM pg_catalog.pg_inherits h WHERE h.inhrelid = c.oid) END AS "partitionOf",
            (${borrowedDefaults}) AS borrowed,
            EXISTS (SELECT FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
                     WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
                       AND (t.oid = 'pg_catalog.oid'::pg_catalog.regtype OR t.typbasetype = 'pg_catalog.oid'::pg_catalog.regtype)) AS "mayReferToLargeObjects"
       FROM ${wantedTables}`,
    parametersOf(tables),
  )
  return rows
}

const borrowedDefaults = `
  SELECT COALESCE(pg_catalog.json_agg(pg_catalog.json_build_object('column', pg_catalog.quote_ident(a.attname),
           'expression', pg_catalog.pg_get_expr(f.adbin, f.adrelid), 'owner', pg_catalog.json_build_object('schema', n.nspname, 'name', o.relname))
             ORDER BY a.attnum), '[]')
    FROM pg_catalog.pg_attrdef f JOIN pg_catalog.pg_attribute a ON a.attrelid = f.adrelid AND a.attnum = f.adnum
    JOIN pg_catalog.pg_depend u ON u.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND u.objid = f.oid
     AND u.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
    JOIN pg_catalog.pg_class s ON s.oid = u.refobjid AND s.relkind = 'S'
    JOIN pg_catalog.pg_depend d ON d.classid = u.refclassid AND d.objid = s.oid AND d.refclassid = u.refclassid AND d.deptype IN ('a', 'i')
    JOIN pg_catalog.pg_class o ON o.oid = d.refobjid JOIN pg_catalog.pg_namespace n ON n.oid = o.relnamespace
   WHERE f.adrelid = c.oid AND o.oid <> c.oid`

/** In an order in which they can be made again. */
export async function readReadingViews(
  client: Client,
  tables: readonly QualifiedName[],
): Promise<readonly ReadingView[]> {
  const { rows } = await client.query<ReadingView>(
    `WITH RECURSIVE reading AS (
       SELECT c.oid AS origin, c.oid, 0 AS depth FROM ${wantedTables}
       UNION
       SELECT l.origin, r.ev_class, l.depth + 1 FROM reading l
         JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = l.oid
          AND d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass
         JOIN pg_catalog.pg_rewrite r ON r.oid = d.objid AND r.ev_class <> l.oid AND r.rulename = '_RETURN'
        WHERE l.depth < 1000)
     SELECT n.nspname AS schema, c.relname AS name, pg_catalog.format('%I.%I', n.nspname, c.relname) AS text, c.relkind = 'm' AS "isMaterialized",
            (SELECT pg_catalog.json_agg(pg_catalog.json_build_object('schema', tn.nspname, 'name', t.relname))
               FROM pg_catalog.pg_class t JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace WHERE t.oid = ANY (l.origins)) AS reads,
            (SELECT COALESCE(pg_catalog.json_agg(x.relname ORDER BY x.relname), '[]')
               FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid WHERE i.indrelid = c.oid) AS indexes
       FROM (SELECT oid, max(depth) AS depth, pg_catalog.array_agg(DISTINCT origin) AS origins FROM reading WHERE depth > 0 GROUP BY oid) l
       JOIN pg_catalog.pg_class c ON c.oid = l.oid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      WHERE c.relkind IN ('v', 'm') ORDER BY l.depth, text`,
    parametersOf(tables),
  )
  return rows
}

/** A function that takes or gives rows of a table: it goes with the table where that is dropped by CASCADE. */
export type RowFunction = {
  readonly schema: string
  /** `FUNCTION` or `PROCEDURE`. */
  readonly word: string
  /** Name and types, as pg_restore lists it; and with the names of arguments, as it lists comment and rights. */
  readonly tag: string
  readonly signature: string
  /** As SQL writes it. */
  readonly identity: string
  readonly tables: readonly QualifiedName[]
}

export async function readRowFunctions(
  client: Client,
  tables: readonly QualifiedName[],
): Promise<readonly RowFunction[]> {
  const { rows } = await client.query<RowFunction>(
    `SELECT n.nspname AS schema, CASE p.prokind WHEN 'p' THEN 'PROCEDURE' ELSE 'FUNCTION' END AS word,
            p.proname || '(' || pg_catalog.oidvectortypes(p.proargtypes) || ')' AS tag,
            pg_catalog.quote_ident(p.proname) || '(' || pg_catalog.pg_get_function_identity_arguments(p.oid) || ')' AS signature,
            pg_catalog.format('%I.%I(%s)', n.nspname, p.proname, pg_catalog.oidvectortypes(p.proargtypes)) AS identity,
            pg_catalog.json_agg(pg_catalog.json_build_object('schema', w.schema, 'name', w.name)) AS tables
       FROM ${wantedTables}
       JOIN pg_catalog.pg_type t ON t.typrelid = c.oid
       JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_catalog.pg_type'::pg_catalog.regclass AND d.refobjid IN (t.oid, t.typarray)
        AND d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass
       JOIN pg_catalog.pg_proc p ON p.oid = d.objid AND p.prokind IN ('f', 'p', 'w')
       JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
      GROUP BY p.oid, n.nspname ORDER BY identity`,
    parametersOf(tables),
  )
  return rows
}

/** Those of the functions that are not there. */
export async function functionsLacking(
  client: Client,
  functions: readonly RowFunction[],
): Promise<ReadonlySet<string>> {
  const { rows } = await client.query<{ identity: string }>(
    `SELECT i AS identity FROM pg_catalog.unnest($1::text[]) i
      WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
                         WHERE pg_catalog.format('%I.%I(%s)', n.nspname, p.proname, pg_catalog.oidvectortypes(p.proargtypes)) = i)`,
    [functions.map(({ identity }) => identity)],
  )
  return new Set(rows.map(({ identity }) => identity))
}

/**
 * Moves tables into a new schema of their own, with their indexes, constraints and sequences. First whatever would tie
 * them to tables outside is cut: a copy that was a child or a partition of a live table would show its rows there. So is
 * what would tie one that takes the place of a table to one that stays a copy, and would be dropped with that.
 * Throws RESTORE_FAILED.
 */
export async function moveTables(
  client: Client,
  tables: readonly QualifiedName[],
  { schema, comment, gone }: { readonly schema: string; readonly comment: string; readonly gone: ReadonlySet<string> },
): Promise<void> {
  try {
    await client.query('BEGIN')
    const { rows } = await client.query<{
      child: string
      parent: string
      childKey: QualifiedName
      parentKey: QualifiedName
      partition: boolean
    }>(
      `SELECT c.oid::pg_catalog.regclass::text AS child, h.inhparent::pg_catalog.regclass::text AS parent, c.relispartition AS partition,
              pg_catalog.json_build_object('schema', w.schema, 'name', w.name) AS "childKey",
              pg_catalog.json_build_object('schema', pn.nspname, 'name', p.relname) AS "parentKey"
         FROM ${wantedTables} JOIN pg_catalog.pg_inherits h ON h.inhrelid = c.oid
         JOIN pg_catalog.pg_class p ON p.oid = h.inhparent JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace`,
      parametersOf(tables),
    )
    const selected = new Set(tables.map(keyOf))
    const isCut = (child: string, parent: string): boolean =>
      !selected.has(parent) || gone.has(child) !== gone.has(parent)
    for (const { child, parent, partition } of rows.filter((row) => isCut(keyOf(row.childKey), keyOf(row.parentKey))))
      await client.query(
        partition ? `ALTER TABLE ${parent} DETACH PARTITION ${child}` : `ALTER TABLE ${child} NO INHERIT ${parent}`,
      )
    await client.query(`CREATE SCHEMA ${quoteIdentifier(schema)}`)
    await client.query(`COMMENT ON SCHEMA ${quoteIdentifier(schema)} IS ${quoteLiteral(comment)}`)
    for (const table of tables)
      await client.query(`ALTER TABLE ${quotedName(table)} SET SCHEMA ${quoteIdentifier(schema)}`)
    await client.query('COMMIT')
  } catch (error) {
    rethrowUnlessSqlState(error)
    throw new PgproofError('RESTORE_FAILED', { outcome: reasonOf(error) }, { cause: error })
  }
}

/** Foreign keys between the tables, of the statements that define them; returns those that the rows do not satisfy. */
export async function addForeignKeys(
  client: Client,
  foreignKeys: readonly { readonly table: string; readonly name: string; readonly statement: string }[],
): Promise<readonly string[]> {
  const refused: string[] = []
  for (const { table, name, statement } of foreignKeys)
    try {
      await client.query(statement)
    } catch (error) {
      rethrowUnlessSqlState(error)
      refused.push(`foreign key ${name} of ${table} is left out of the copy: ${reasonOf(error)}`)
    }
  return refused
}

/** Throws USAGE_INVALID if two of them have one name: there is room for one in a schema. */
export function assertOneSchema(tables: readonly QualifiedName[]): void {
  const first = new Map<string, QualifiedName>()
  for (const table of tables) {
    const other = first.get(table.name)
    if (other !== undefined && keyOf(other) !== keyOf(table))
      throw new PgproofError('USAGE_INVALID', {
        reason: `${tableName(other)} and ${tableName(table)} cannot be in one schema: restore them one after the other, each with --into-schema`,
      })
    first.set(table.name, table)
  }
}

const wantedTables = `ROWS FROM (pg_catalog.unnest($1::text[]), pg_catalog.unnest($2::text[])) w(schema, name)
  JOIN pg_catalog.pg_namespace wn ON wn.nspname = w.schema JOIN pg_catalog.pg_class c ON c.relnamespace = wn.oid AND c.relname = w.name`

function parametersOf(tables: readonly QualifiedName[]): [string[], string[]] {
  return [tables.map(({ schema }) => schema), tables.map(({ name }) => name)]
}
