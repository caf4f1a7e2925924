import {
  commentOf,
  dumpedRelation,
  dumpedSchema,
  facets,
  grantsOf,
  hashedOptions,
  notOwnedByExtension,
  relationName,
  type StructureQuery,
  securityLabels,
  sortedOptions,
} from './query.ts'

/** Reads the columns of tables, views and composite types. */
export function columnQueries(major: number): readonly StructureQuery[] {
  const column = 'JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid JOIN pg_catalog.pg_type t ON t.oid = a.atttypid'
  const isColumn = 'a.attnum > 0 AND NOT a.attisdropped'
  return [
    {
      kind: 'column',
      sql: `
        SELECT ${relationName('n', 'c', 'a.attname')} AS name, ${facets(columnFacets(major))}
        ${dumpedRelation(`c.relkind IN ('r', 'p', 'f', 'v', 'm') AND ${isColumn}`, `${column} LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum`)}
        UNION ALL
        SELECT ${relationName('n', 'c', 'a.attname')}, ${facets(typeColumnFacets)}
          FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace ${column}
         WHERE c.relkind = 'c' AND ${isColumn} AND ${dumpedSchema('n')} AND ${notOwnedByExtension('pg_type', 'c.reltype')}`,
    },
  ]
}

/** Among the columns that are left: dropped ones are not restored. */
const position = 'pg_catalog.row_number() OVER (PARTITION BY a.attrelid ORDER BY a.attnum)'

/** Whether a restore makes a column by INHERITS, after those of the parents and with their properties. */
const isInherited = `(NOT c.relispartition AND EXISTS (SELECT FROM pg_catalog.pg_inherits h WHERE h.inhrelid = c.oid))`

const typeColumnFacets = {
  type: 'pg_catalog.format_type(a.atttypid, a.atttypmod)',
  collation: `CASE WHEN a.attcollation <> t.typcollation THEN a.attcollation::pg_catalog.regcollation::text END`,
  position,
  comment: commentOf('c.oid', 'pg_class', 'a.attnum'),
}

function columnFacets(major: number): Record<string, string> {
  const stored = "c.relkind IN ('r', 'p', 'f', 'm')"
  const expression = 'pg_catalog.pg_get_expr(d.adbin, d.adrelid)'
  // A view's columns keep the storage that their expressions had when it was made; nothing is stored and nothing dumped.
  return {
    ...typeColumnFacets,
    position: `CASE WHEN NOT ${isInherited} THEN ${position} END`,
    'not null': major >= 18 ? notNullSince18 : notNullBefore18,
    // pg_dump gives a child without a default a DEFAULT NULL, which is kept for a domain only.
    default: `CASE WHEN a.attgenerated = '' AND NOT (a.attinhcount > 0 AND ${expression} ~ '^NULL::') THEN ${expression} END`,
    generated: "CASE a.attgenerated WHEN 's' THEN 'stored' WHEN 'v' THEN 'virtual' END",
    expression: `CASE WHEN a.attgenerated <> '' AND NOT (a.attinhcount > 0 AND NOT c.relispartition) THEN ${expression} END`,
    identity: "CASE a.attidentity WHEN 'a' THEN 'always' WHEN 'd' THEN 'by default' END",
    storage: `CASE WHEN ${stored} AND a.attstorage <> t.typstorage AND NOT ${isInherited} THEN
      CASE a.attstorage WHEN 'p' THEN 'plain' WHEN 'e' THEN 'external' WHEN 'm' THEN 'main' ELSE 'extended' END END`,
    compression: `CASE WHEN ${stored} AND NOT ${isInherited} THEN CASE a.attcompression WHEN 'p' THEN 'pglz' WHEN 'l' THEN 'lz4' END END`,
    statistics: `CASE WHEN ${stored} THEN NULLIF(a.attstattarget, -1) END`,
    options: `CASE WHEN ${stored} THEN ${sortedOptions(attributeOptions)} END`,
    'foreign data options': hashedOptions('a.attfdwoptions'),
    grants: `CASE WHEN a.attacl IS NOT NULL THEN NULLIF(${grantsOf('a.attacl', 'c', 'c.relowner')}, '') END`,
    'security labels': securityLabels('c.oid', 'pg_class', 'a.attnum'),
  }
}

/** Without the one in which minor releases since November 2026 keep an internal version of the column; pg_dump skips it, too. */
const attributeOptions = "ARRAY(SELECT o FROM pg_catalog.unnest(a.attoptions) o WHERE o NOT LIKE 'pg\\_attver=%')"

/**
 * Before PostgreSQL 18 `ALTER TABLE ONLY … SET NOT NULL` leaves the children of a table as they are, but a restore makes
 * a child with INHERITS, and a column that is NOT NULL in any table above it becomes so itself.
 */
const notNullBefore18 = `CASE WHEN a.attnotnull THEN 'true' WHEN a.attinhcount > 0 AND NOT c.relispartition AND EXISTS (
  WITH RECURSIVE above AS (
    SELECT h.inhparent AS oid FROM pg_catalog.pg_inherits h WHERE h.inhrelid = c.oid
    UNION SELECT h.inhparent FROM above b JOIN pg_catalog.pg_inherits h ON h.inhrelid = b.oid)
  SELECT FROM above b JOIN pg_catalog.pg_attribute p ON p.attrelid = b.oid
   WHERE p.attname = a.attname AND p.attnotnull AND NOT p.attisdropped) THEN 'true' END`

/** Since PostgreSQL 18 NOT NULL is a constraint that can be NO INHERIT or NOT VALID. */
const notNullSince18 = `CASE WHEN a.attnotnull THEN 'true' || COALESCE((
  SELECT CASE WHEN k.connoinherit THEN ', no inherit' ELSE '' END || CASE WHEN NOT k.convalidated AND k.conislocal THEN ', not valid' ELSE '' END
    FROM pg_catalog.pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'n' AND k.conkey = ARRAY[a.attnum]), '') END`
