import type { LiveTrigger, TableShape } from '../domain/merge.ts'
import type { QualifiedName } from '../domain/qualified-name.ts'
import type { Client } from './connect.ts'

/** A relation by its name as it is now. */
export type FoundRelation = QualifiedName & {
  readonly oid: number
  /** As SQL writes it. */
  readonly text: string
  /** `pg_class.relkind`. */
  readonly kind: string
  readonly shape: TableShape
  /** Triggers that would fire in an ordinary session, also those of partitions. */
  readonly triggers: readonly LiveTrigger[]
  readonly hasRules: boolean
  readonly hasRowSecurity: boolean
  /** Those that a column owns. */
  readonly sequences: readonly { readonly name: string; readonly column: string; readonly increment: string }[]
}

/**
 * Looks relations up by their names; those that are not there are left out. The session must have an empty search_path,
 * as ours have, so that every name that is read is qualified.
 */
export async function findRelations(
  client: Client,
  names: readonly QualifiedName[],
): Promise<readonly FoundRelation[]> {
  if (names.length === 0) return []
  const { rows } = await client.query<FoundRelation>(query, [
    names.map(({ schema }) => schema),
    names.map(({ name }) => name),
  ])
  return rows
}

/** Partitions and children of `c`, and itself. */
const below = `
  WITH RECURSIVE below AS (
    SELECT c.oid UNION SELECT h.inhrelid FROM below b JOIN pg_catalog.pg_inherits h ON h.inhparent = b.oid
      JOIN pg_catalog.pg_class p ON p.oid = h.inhrelid WHERE p.relispartition)
  SELECT oid FROM below`

const columns = `
  SELECT COALESCE(pg_catalog.json_agg(pg_catalog.json_build_object(
           'name', pg_catalog.quote_ident(a.attname), 'type', pg_catalog.format_type(a.atttypid, a.atttypmod),
           'isGenerated', a.attgenerated <> '', 'isIdentityAlways', a.attidentity = 'a') ORDER BY a.attnum), '[]')
    FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped`

const primaryKey = `
  SELECT pg_catalog.json_agg(pg_catalog.quote_ident(a.attname) ORDER BY k.place)
    FROM pg_catalog.pg_constraint p CROSS JOIN LATERAL pg_catalog.unnest(p.conkey) WITH ORDINALITY k(number, place)
    JOIN pg_catalog.pg_attribute a ON a.attrelid = p.conrelid AND a.attnum = k.number
   WHERE p.conrelid = c.oid AND p.contype = 'p'`

/** As ENABLE TRIGGER goes down to all partitions, what differs there must be set again. */
const clones = `
  SELECT CASE WHEN bool_or(k.tgenabled <> t.tgenabled) THEN
           pg_catalog.json_agg(pg_catalog.json_build_object('table', k.tgrelid::pg_catalog.regclass::text, 'state',
             CASE k.tgenabled WHEN 'O' THEN 'ENABLE' WHEN 'D' THEN 'DISABLE' WHEN 'R' THEN 'ENABLE REPLICA' ELSE 'ENABLE ALWAYS' END)
             ORDER BY (SELECT count(*) FROM pg_catalog.pg_partition_ancestors(k.tgrelid)), k.tgrelid)
         ELSE '[]' END
    FROM pg_catalog.pg_trigger k WHERE k.tgrelid IN (${below}) AND k.tgparentid <> 0 AND k.tgname = t.tgname`

const triggers = `
  SELECT COALESCE(pg_catalog.json_agg(pg_catalog.json_build_object(
           'table', t.tgrelid::pg_catalog.regclass::text, 'name', pg_catalog.quote_ident(t.tgname), 'isAlways', t.tgenabled = 'A',
           'onPartitions', (${clones}))
             ORDER BY t.tgrelid, t.tgname), '[]')
    FROM pg_catalog.pg_trigger t
   WHERE t.tgrelid IN (${below}) AND NOT t.tgisinternal AND t.tgparentid = 0 AND t.tgenabled IN ('O', 'A')`

const sequences = `
  SELECT COALESCE(pg_catalog.json_agg(pg_catalog.json_build_object(
           'name', s.oid::pg_catalog.regclass::text, 'column', a.attname,
           'increment', q.seqincrement::text) ORDER BY a.attnum), '[]')
    FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_class s ON s.oid = d.objid AND s.relkind = 'S'
    JOIN pg_catalog.pg_sequence q ON q.seqrelid = s.oid
    JOIN pg_catalog.pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
   WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
     AND d.refobjid = c.oid AND d.deptype IN ('a', 'i') AND NOT q.seqcycle`

const query = `
  SELECT n.nspname AS schema, c.relname AS name, c.oid::int8::float8 AS oid, pg_catalog.format('%I.%I', n.nspname, c.relname) AS text,
         c.relkind AS kind, pg_catalog.json_build_object('columns', (${columns}), 'key', (${primaryKey})) AS shape,
         (${triggers}) AS triggers,
         EXISTS (SELECT FROM pg_catalog.pg_rewrite r WHERE r.ev_class = c.oid AND r.rulename <> '_RETURN' AND r.ev_enabled <> 'D') AS "hasRules",
         c.relrowsecurity AS "hasRowSecurity", (${sequences}) AS sequences
    FROM ROWS FROM (pg_catalog.unnest($1::text[]), pg_catalog.unnest($2::text[])) w(schema, name)
    JOIN pg_catalog.pg_namespace n ON n.nspname = w.schema
    JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = w.name
   WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')`
