import {
  commentOf,
  dependsOnExtension,
  dumpedRelation,
  facets,
  grantsOf,
  hashedOptions,
  ownerOf,
  relationName,
  type StructureQuery,
  securityLabels,
  sortedOptions,
} from './query.ts'

/** Reads tables, views, sequences and whatever else has an entry of its own in pg_class, by pg_dump's rules. */
export function relationQueries(): readonly StructureQuery[] {
  return [
    { kind: 'table', sql: tables },
    { kind: 'foreign table', sql: foreignTables },
    { kind: 'view', sql: views },
    { kind: 'materialized view', sql: materializedViews },
    { kind: 'sequence', sql: sequences },
  ]
}

const common = {
  owner: ownerOf('c.relowner'),
  grants: grantsOf('c.relacl', 'r', 'c.relowner'),
  comment: commentOf('c.oid', 'pg_class'),
  'security labels': securityLabels('c.oid', 'pg_class'),
}

const options = sortedOptions('c.reloptions')
const persistence = `CASE c.relpersistence WHEN 'u' THEN 'unlogged' ELSE 'permanent' END`
const accessMethod = '(SELECT m.amname FROM pg_catalog.pg_am m WHERE m.oid = c.relam)'
const isPartition = "CASE WHEN c.relispartition THEN 'true' END"

/** Parents in the order in which columns are merged; a restore may change it, so their order is not compared. */
const parents = `(
  SELECT pg_catalog.string_agg(${relationName('pn', 'p')}, ', ' ORDER BY h.inhseqno)
    FROM pg_catalog.pg_inherits h JOIN pg_catalog.pg_class p ON p.oid = h.inhparent JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace
   WHERE h.inhrelid = c.oid)`

const inheritance = {
  inherits: parents,
  'is partition': isPartition,
  condition: 'pg_catalog.pg_get_expr(c.relpartbound, c.oid)',
}

/**
 * A table that has lost its last wide column keeps its TOAST table, but a restore makes none to carry the options. Whether
 * what is left of it is wide enough is seen at the restored one; see `readWithoutToast`.
 */
const toastOptions = `(
  SELECT pg_catalog.string_agg('toast.' || o, ', ' ORDER BY o COLLATE "C")
    FROM pg_catalog.pg_class t CROSS JOIN pg_catalog.unnest(t.reloptions) o
   WHERE t.oid = c.reltoastrelid AND c.relkind <> 'p'
     AND EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0
                    AND NOT a.attisdropped AND a.attlen < 0 AND a.attstorage <> 'p'))`

/** An identity whose index is gone or invalid is not dumped; the table then has none. */
const replicaIdentity = `CASE c.relreplident WHEN 'n' THEN 'nothing' WHEN 'f' THEN 'full' ELSE COALESCE((
  SELECT 'index ' || pg_catalog.quote_ident(x.relname)
    FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
   WHERE c.relreplident = 'i' AND i.indrelid = c.oid AND i.indisreplident AND i.indisready AND (i.indisvalid OR c.relkind = 'p')), 'default') END`

const tables = `
  SELECT ${relationName('n', 'c')} AS name, ${facets({
    persistence,
    'access method': accessMethod,
    options,
    'toast options': toastOptions,
    'replica identity': replicaIdentity,
    'row security': `CASE WHEN c.relrowsecurity THEN 'on' ELSE 'off' END || CASE WHEN c.relforcerowsecurity THEN ', forced' ELSE '' END`,
    definition: 'pg_catalog.pg_get_partkeydef(c.oid)',
    type: 'CASE WHEN c.reloftype <> 0 THEN pg_catalog.format_type(c.reloftype, NULL) END',
    ...inheritance,
    ...common,
  })} ${dumpedRelation("c.relkind IN ('r', 'p')")}`

const foreignTables = `
  SELECT ${relationName('n', 'c')} AS name, ${facets({
    server:
      '(SELECT s.srvname FROM pg_catalog.pg_foreign_table f JOIN pg_catalog.pg_foreign_server s ON s.oid = f.ftserver WHERE f.ftrelid = c.oid)',
    options: `(SELECT ${hashedOptions('f.ftoptions')} FROM pg_catalog.pg_foreign_table f WHERE f.ftrelid = c.oid)`,
    ...inheritance,
    ...common,
  })} ${dumpedRelation("c.relkind = 'f'")}`

const views = `
  SELECT ${relationName('n', 'c')} AS name, ${facets({
    definition: 'pg_catalog.pg_get_viewdef(c.oid)',
    options,
    ...common,
  })} ${dumpedRelation("c.relkind = 'v'")}`

/** A row `d` of pg_depend: on a function, or on what calls one of its own. PostgreSQL's own objects have none. */
const refersToFunction = `(d.refclassid IN ('pg_catalog.pg_proc'::pg_catalog.regclass, 'pg_catalog.pg_operator'::pg_catalog.regclass, 'pg_catalog.pg_opclass'::pg_catalog.regclass)
  OR d.refclassid = 'pg_catalog.pg_type'::pg_catalog.regclass AND EXISTS (SELECT FROM pg_catalog.pg_type t WHERE t.oid = d.refobjid AND t.typtype IN ('b', 'd')))`

/** A rule `r` that calls one of PostgreSQL's own functions which run a query that is given to them as a text. */
const runsText = `r.ev_action::text ~ (
  SELECT ':funcid (' || pg_catalog.string_agg(p.oid::text, '|') || ') ' FROM pg_catalog.pg_proc p
   WHERE p.pronamespace = 'pg_catalog'::pg_catalog.regnamespace AND p.proname ~ '^((query|cursor|table|schema|database)_to_xml|ts_stat$|ts_rewrite$)')`

/**
 * A materialized view that is made, through others, of one that is not populated is not refreshed by a restore; see
 * pg_dump's `buildMatViewRefreshDependencies`. One that is made of a foreign table reads another server when it is. And
 * one that calls a function may do anything: by its query, by a view or a policy below it, by an operator, by a type
 * whose values are checked or read by functions, by an index of its own. PostgreSQL's own functions are in no
 * dependency; a few of them run a query that stands in a text.
 */
const materializedViews = `
  WITH RECURSIVE edge AS (
    SELECT v.oid, d.refobjid AS source
      FROM pg_catalog.pg_class v JOIN pg_catalog.pg_rewrite r ON r.ev_class = v.oid
      JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.objid = r.oid
       AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid <> v.oid
     WHERE v.relkind IN ('m', 'v')
    UNION SELECT i.inhparent, i.inhrelid FROM pg_catalog.pg_inherits i),
  madeof AS (
    SELECT e.oid, e.source FROM edge e JOIN pg_catalog.pg_class v ON v.oid = e.oid WHERE v.relkind = 'm'
    UNION SELECT w.oid, e.source FROM madeof w JOIN edge e ON e.oid = w.source),
  calling AS (
    SELECT r.ev_class AS oid FROM pg_catalog.pg_rewrite r JOIN pg_catalog.pg_class v ON v.oid = r.ev_class
     WHERE v.relkind IN ('m', 'v') AND r.ev_type = '1' AND (${runsText} OR EXISTS (
       SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.objid = r.oid AND ${refersToFunction}))
    UNION SELECT i.indrelid FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class v ON v.oid = i.indrelid AND v.relkind = 'm'
      JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = i.indexrelid AND ${refersToFunction}
    UNION SELECT p.polrelid FROM pg_catalog.pg_policy p
      JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_policy'::pg_catalog.regclass AND d.objid = p.oid AND ${refersToFunction})
  SELECT ${relationName('n', 'c')} AS name, ${facets({
    definition: 'pg_catalog.pg_get_viewdef(c.oid)',
    populated: `c.relispopulated AND NOT EXISTS (
      SELECT FROM madeof w JOIN pg_catalog.pg_class s ON s.oid = w.source WHERE w.oid = c.oid AND s.relkind = 'm' AND NOT s.relispopulated)`,
    'reads foreign data': `CASE WHEN EXISTS (
      SELECT FROM madeof w JOIN pg_catalog.pg_class s ON s.oid = w.source WHERE w.oid = c.oid AND s.relkind = 'f') THEN true END`,
    'calls functions': `CASE WHEN c.oid IN (SELECT g.oid FROM calling g) OR EXISTS (
      SELECT FROM madeof w JOIN calling g ON g.oid = w.source WHERE w.oid = c.oid) THEN true END`,
    'access method': accessMethod,
    options,
    'toast options': toastOptions,
    'depends on extension': dependsOnExtension('c.oid', 'pg_class'),
    'replica identity': replicaIdentity,
    ...common,
  })} ${dumpedRelation("c.relkind = 'm'")}`

const ownedBy = (dependency: 'a' | 'i'): string => `(
  SELECT ${relationName('tn', 't', 'a.attname')}
    FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_class t ON t.oid = d.refobjid JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace
    JOIN pg_catalog.pg_attribute a ON a.attrelid = t.oid AND a.attnum = d.refobjsubid
   WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.objsubid = 0
     AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.deptype = '${dependency}')`

const sequences = `
  SELECT ${relationName('n', 'c')} AS name, ${facets({
    type: 'pg_catalog.format_type(s.seqtypid, NULL)',
    start: 's.seqstart',
    minimum: 's.seqmin',
    maximum: 's.seqmax',
    increment: 's.seqincrement',
    cache: 's.seqcache',
    cycle: 's.seqcycle',
    persistence,
    'owned by': ownedBy('a'),
    'identity of': ownedBy('i'),
    ...common,
    grants: grantsOf('c.relacl', 's', 'c.relowner'),
  })} ${dumpedRelation("c.relkind = 'S'", 'JOIN pg_catalog.pg_sequence s ON s.seqrelid = c.oid')}`
