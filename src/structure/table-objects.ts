import {
  commentOf,
  dependsOnExtension,
  dumpedRelation,
  dumpedSchema,
  facets,
  notOwnedByExtension,
  ownerOf,
  relationName,
  type StructureQuery,
} from './query.ts'

/**
 * Reads what belongs to a table: constraints, indexes, triggers, rules, policies, extended statistics. Of tables that
 * an extension made pg_dump dumps none of it, whoever made it; of their policies none since 14.11, 15.6 and 16.2.
 */
export function tableObjectQueries(): readonly StructureQuery[] {
  return [
    { kind: 'constraint', sql: constraints },
    { kind: 'domain constraint', sql: domainConstraints },
    { kind: 'index', sql: indexes },
    { kind: 'trigger', sql: triggers },
    { kind: 'rule', sql: rules },
    { kind: 'policy', sql: policies },
    { kind: 'extended statistics', sql: extendedStatistics },
  ]
}

const isDumpedIndex = "i.indisready AND (i.indisvalid OR c.relkind = 'p')"
const constraintDefinition = "pg_catalog.regexp_replace(pg_catalog.pg_get_constraintdef(k.oid), ' NOT VALID$', '')"

/**
 * Foreign keys of partitions come with the partitioned table's. A check that is only inherited comes with the parent's,
 * without a comment of its own. NOT NULL, a constraint since PostgreSQL 18, is recorded with its column.
 */
const constraints = `
  SELECT ${relationName('n', 'c', 'k.conname')} AS name, ${facets({
    definition: constraintDefinition,
    validated: "CASE WHEN k.coninhcount = 0 OR k.contype <> 'c' THEN k.convalidated END",
    comment: `CASE WHEN k.conislocal OR k.contype <> 'c' THEN ${commentOf('k.oid', 'pg_constraint')} END`,
  })} ${dumpedRelation(
    `k.contype IN ('c', 'f', 'p', 'u', 'x') AND (k.contype <> 'f' OR k.conparentid = 0)
     AND (k.contype IN ('c', 'f') OR EXISTS (
       SELECT FROM pg_catalog.pg_index i WHERE i.indexrelid = k.conindid AND i.indrelid = c.oid AND ${isDumpedIndex}))`,
    'JOIN pg_catalog.pg_constraint k ON k.conrelid = c.oid',
  )}`

const domainConstraints = `
  SELECT pg_catalog.format('%I.%I.%I', n.nspname, t.typname, k.conname) AS name, ${facets({
    definition: constraintDefinition,
    validated: 'k.convalidated',
    comment: commentOf('k.oid', 'pg_constraint'),
  })}
    FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_type t ON t.oid = k.contypid JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
   WHERE k.contypid <> 0 AND k.contype = 'c' AND ${dumpedSchema('n')} AND ${notOwnedByExtension('pg_type', 't.oid')}`

/** A constraint's index has neither columns with a statistics target nor an extension of its own in a dump. */
const ofConstraint = `EXISTS (
  SELECT FROM pg_catalog.pg_constraint k WHERE k.conrelid = c.oid AND k.conindid = i.indexrelid AND k.contype IN ('p', 'u', 'x'))`

const indexes = `
  SELECT ${relationName('n', 'x')} AS name, ${facets({
    definition: 'pg_catalog.pg_get_indexdef(i.indexrelid)',
    clustered: "CASE WHEN i.indisclustered THEN 'true' END",
    'partition of': `(SELECT ${relationName('pn', 'p')}
      FROM pg_catalog.pg_inherits h JOIN pg_catalog.pg_class p ON p.oid = h.inhparent JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace
     WHERE h.inhrelid = i.indexrelid)`,
    statistics: `CASE WHEN NOT ${ofConstraint} THEN (
      SELECT pg_catalog.string_agg(a.attnum || ' ' || a.attstattarget, ', ' ORDER BY a.attnum)
        FROM pg_catalog.pg_attribute a WHERE a.attrelid = i.indexrelid AND a.attstattarget >= 0) END`,
    'depends on extension': `CASE WHEN NOT ${ofConstraint} THEN ${dependsOnExtension('i.indexrelid', 'pg_class')} END`,
    comment: commentOf('i.indexrelid', 'pg_class'),
  })} ${dumpedRelation(
    `c.relkind IN ('r', 'p', 'm') AND ${isDumpedIndex}`,
    'JOIN pg_catalog.pg_index i ON i.indrelid = c.oid JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid',
  )}`

/**
 * A partition's copy of a trigger of the partitioned table comes with it; only whether it fires is its own. Copies are
 * internal before PostgreSQL 15, so the triggers of foreign keys and deferrable keys are told by their constraint.
 */
const triggers = `
  SELECT ${relationName('n', 'c', 't.tgname')} AS name, ${facets({
    definition: 'CASE WHEN t.tgparentid = 0 THEN pg_catalog.pg_get_triggerdef(t.oid) END',
    enabled: firing('t.tgenabled'),
    'depends on extension': `CASE WHEN t.tgparentid = 0 THEN ${dependsOnExtension('t.oid', 'pg_trigger')} END`,
    comment: `CASE WHEN t.tgparentid = 0 THEN ${commentOf('t.oid', 'pg_trigger')} END`,
  })} ${dumpedRelation(
    `(NOT t.tgisinternal OR t.tgparentid <> 0)
     AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint k WHERE k.oid = t.tgconstraint AND k.contype <> 't')`,
    'JOIN pg_catalog.pg_trigger t ON t.tgrelid = c.oid',
  )}`

function firing(column: string): string {
  return `CASE ${column} WHEN 'O' THEN 'origin' WHEN 'D' THEN 'disabled' WHEN 'R' THEN 'replica' ELSE 'always' END`
}

const rules = `
  SELECT ${relationName('n', 'c', 'r.rulename')} AS name, ${facets({
    definition: 'pg_catalog.pg_get_ruledef(r.oid)',
    enabled: firing('r.ev_enabled'),
    comment: commentOf('r.oid', 'pg_rewrite'),
  })} ${dumpedRelation("r.rulename <> '_RETURN'", 'JOIN pg_catalog.pg_rewrite r ON r.ev_class = c.oid')}`

const policies = `
  SELECT ${relationName('n', 'c', 'p.polname')} AS name, ${facets({
    command:
      "CASE p.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE' ELSE 'ALL' END",
    permissive: 'p.polpermissive',
    roles: `(SELECT pg_catalog.string_agg(o.role, ', ' ORDER BY o.role COLLATE "C")
      FROM (SELECT CASE u WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(${ownerOf('u')}) END AS role FROM pg_catalog.unnest(p.polroles) u) o)`,
    condition: 'pg_catalog.pg_get_expr(p.polqual, p.polrelid)',
    expression: 'pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid)',
    comment: commentOf('p.oid', 'pg_policy'),
  })} ${dumpedRelation('true', 'JOIN pg_catalog.pg_policy p ON p.polrelid = c.oid')}`

/** In parts, because pg_get_statisticsobjdef prints expressions without the parentheses that tell their structure. */
const extendedStatistics = `
  SELECT pg_catalog.format('%I.%I', sn.nspname, s.stxname) AS name, ${facets({
    table: relationName('n', 'c'),
    columns: `(SELECT pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', ' ORDER BY a.attname COLLATE "C")
      FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum = ANY (s.stxkeys))`,
    expression: 'pg_catalog.pg_get_expr(s.stxexprs, s.stxrelid)',
    kinds: `(SELECT pg_catalog.string_agg(k::text, '' ORDER BY k) FROM pg_catalog.unnest(s.stxkind) k)`,
    statistics: 'NULLIF(s.stxstattarget, -1)',
    owner: ownerOf('s.stxowner'),
    comment: commentOf('s.oid', 'pg_statistic_ext'),
  })} ${dumpedRelation(
    `${dumpedSchema('sn')} AND ${notOwnedByExtension('pg_statistic_ext', 's.oid')}`,
    'JOIN pg_catalog.pg_statistic_ext s ON s.stxrelid = c.oid JOIN pg_catalog.pg_namespace sn ON sn.oid = s.stxnamespace',
  )}`
