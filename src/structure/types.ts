import { collationOf, procedureOf, qualified, typeOf } from './names.ts'
import {
  commentOf,
  dumpedSchema,
  facets,
  grantsOf,
  notOwnedByExtension,
  ownerOf,
  type StructureQuery,
  securityLabels,
} from './query.ts'

/** Schemas, types, collations and text search. */
export function typeQueries(major: number): readonly StructureQuery[] {
  return [
    { kind: 'schema', sql: schemas },
    { kind: 'enum type', sql: typesOf("t.typtype = 'e'", { labels }) },
    { kind: 'domain', sql: domains },
    { kind: 'range type', sql: rangeTypes },
    { kind: 'base type', sql: baseTypes },
    { kind: 'composite type', sql: compositeTypes },
    { kind: 'shell type', sql: typesOf("t.typtype = 'p' AND NOT t.typisdefined", {}) },
    { kind: 'collation', sql: collations(major) },
    { kind: 'text search parser', sql: parsers },
    { kind: 'text search template', sql: templates },
    { kind: 'text search dictionary', sql: dictionaries },
    { kind: 'text search configuration', sql: configurations },
  ]
}

const schemas = `
  SELECT pg_catalog.quote_ident(n.nspname) AS name, ${facets({
    owner: ownerOf('n.nspowner'),
    grants: grantsOf('n.nspacl', 'n', 'n.nspowner'),
    comment: commentOf('n.oid', 'pg_namespace'),
    'security labels': securityLabels('n.oid', 'pg_namespace'),
  })}
    FROM pg_catalog.pg_namespace n
   WHERE ${dumpedSchema('n')} AND ${notOwnedByExtension('pg_namespace', 'n.oid')}`

/** What every type has, besides `attributes` of its own; arrays, multiranges and rows of tables come with another. */
function typesOf(condition: string, attributes: Readonly<Record<string, string>>, joins = ''): string {
  return `
    SELECT ${qualified('n', 't.typname')} AS name, ${facets({
      ...attributes,
      owner: ownerOf('t.typowner'),
      grants: grantsOf('t.typacl', 'T', 't.typowner'),
      comment: commentOf('t.oid', 'pg_type'),
      'security labels': securityLabels('t.oid', 'pg_type'),
    })}
      FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace ${joins}
     WHERE ${condition} AND ${dumpedSchema('n')} AND ${notOwnedByExtension('pg_type', 't.oid')}`
}

const labels = `(SELECT pg_catalog.string_agg(pg_catalog.quote_literal(e.enumlabel), ', ' ORDER BY e.enumsortorder)
  FROM pg_catalog.pg_enum e WHERE e.enumtypid = t.oid)`

const domains = typesOf("t.typtype = 'd'", {
  type: typeOf('t.typbasetype', 't.typtypmod'),
  'not null': 't.typnotnull',
  default: "COALESCE(pg_catalog.pg_get_expr(t.typdefaultbin, 'pg_catalog.pg_type'::pg_catalog.regclass), t.typdefault)",
  collation: collationOf('t.typcollation'),
})

const rangeTypes = typesOf(
  "t.typtype = 'r'",
  {
    subtype: typeOf('r.rngsubtype'),
    'operator class': qualified('cn', 'c.opcname'),
    collation: collationOf('r.rngcollation'),
    canonical: procedureOf('r.rngcanonical'),
    difference: procedureOf('r.rngsubdiff'),
    multirange: typeOf('r.rngmultitypid'),
  },
  `JOIN pg_catalog.pg_range r ON r.rngtypid = t.oid
   JOIN pg_catalog.pg_opclass c ON c.oid = r.rngsubopc JOIN pg_catalog.pg_namespace cn ON cn.oid = c.opcnamespace`,
)

const baseTypes = typesOf(
  `t.typtype = 'b' AND NOT EXISTS (SELECT FROM pg_catalog.pg_type e WHERE e.oid = t.typelem AND e.typarray = t.oid)`,
  {
    length: 't.typlen',
    'by value': 't.typbyval',
    alignment: 't.typalign',
    storage: 't.typstorage',
    category: 't.typcategory',
    preferred: 't.typispreferred',
    delimiter: 't.typdelim',
    element: typeOf('t.typelem'),
    collatable: 't.typcollation <> 0',
    default: "COALESCE(pg_catalog.pg_get_expr(t.typdefaultbin, 0), 'literal ' || t.typdefault)",
    input: procedureOf('t.typinput'),
    output: procedureOf('t.typoutput'),
    receive: procedureOf('t.typreceive'),
    send: procedureOf('t.typsend'),
    'modifier input': procedureOf('t.typmodin'),
    'modifier output': procedureOf('t.typmodout'),
    analyze: procedureOf('t.typanalyze'),
    subscript: procedureOf('t.typsubscript'),
  },
)

/** Its columns are of the kind `column`. */
const compositeTypes = typesOf(
  "t.typtype = 'c' AND c.relkind = 'c'",
  {},
  'JOIN pg_catalog.pg_class c ON c.oid = t.typrelid',
)

/** Without the version of the operating system's locale, which a restore takes from its own. */
function collations(major: number): string {
  const locale = major >= 17 ? 'c.colllocale' : major >= 15 ? 'c.colliculocale' : 'NULL::text'
  const ofCLibrary = (column: string): string => `CASE WHEN c.collprovider = 'c' THEN ${column} END`
  return `
    SELECT ${qualified('n', 'c.collname')} AS name, ${facets({
      provider:
        "CASE c.collprovider WHEN 'c' THEN 'libc' WHEN 'i' THEN 'icu' WHEN 'b' THEN 'builtin' ELSE c.collprovider::text END",
      collate: ofCLibrary('c.collcollate'),
      ctype: ofCLibrary('c.collctype'),
      // Before PostgreSQL 15 ICU's locale stood where the C library's does.
      locale: `CASE WHEN c.collprovider <> 'c' THEN COALESCE(${locale}, c.collcollate::text) END`,
      deterministic: 'c.collisdeterministic',
      ...(major >= 16 ? { rules: 'c.collicurules' } : {}),
      owner: ownerOf('c.collowner'),
      comment: commentOf('c.oid', 'pg_collation'),
    })}
      FROM pg_catalog.pg_collation c JOIN pg_catalog.pg_namespace n ON n.oid = c.collnamespace
     WHERE ${dumpedSchema('n')} AND ${notOwnedByExtension('pg_collation', 'c.oid')}`
}

const parsers = `
  SELECT ${qualified('n', 'p.prsname')} AS name, ${facets({
    start: procedureOf('p.prsstart'),
    token: procedureOf('p.prstoken'),
    end: procedureOf('p.prsend'),
    headline: procedureOf('p.prsheadline'),
    types: procedureOf('p.prslextype'),
    comment: commentOf('p.oid', 'pg_ts_parser'),
  })}
    FROM pg_catalog.pg_ts_parser p JOIN pg_catalog.pg_namespace n ON n.oid = p.prsnamespace
   WHERE ${dumpedSchema('n')} AND ${notOwnedByExtension('pg_ts_parser', 'p.oid')}`

const templates = `
  SELECT ${qualified('n', 't.tmplname')} AS name, ${facets({
    init: procedureOf('t.tmplinit'),
    lexize: procedureOf('t.tmpllexize'),
    comment: commentOf('t.oid', 'pg_ts_template'),
  })}
    FROM pg_catalog.pg_ts_template t JOIN pg_catalog.pg_namespace n ON n.oid = t.tmplnamespace
   WHERE ${dumpedSchema('n')} AND ${notOwnedByExtension('pg_ts_template', 't.oid')}`

const dictionaries = `
  SELECT ${qualified('n', 'd.dictname')} AS name, ${facets({
    template: qualified('tn', 't.tmplname'),
    options: 'd.dictinitoption',
    owner: ownerOf('d.dictowner'),
    comment: commentOf('d.oid', 'pg_ts_dict'),
  })}
    FROM pg_catalog.pg_ts_dict d
    JOIN pg_catalog.pg_namespace n ON n.oid = d.dictnamespace
    JOIN pg_catalog.pg_ts_template t ON t.oid = d.dicttemplate
    JOIN pg_catalog.pg_namespace tn ON tn.oid = t.tmplnamespace
   WHERE ${dumpedSchema('n')} AND ${notOwnedByExtension('pg_ts_dict', 'd.oid')}`

/** Each kind of token with its dictionaries in the order in which they are asked. */
const configurations = `
  SELECT ${qualified('n', 'c.cfgname')} AS name, ${facets({
    parser: qualified('pn', 'p.prsname'),
    mappings: `(SELECT pg_catalog.string_agg(m.token || ' -> ' || m.dictionaries, '; ' ORDER BY m.token COLLATE "C") FROM (
      SELECT y.alias AS token, pg_catalog.string_agg(x.mapdict::pg_catalog.regdictionary::text, ', ' ORDER BY x.mapseqno) AS dictionaries
        FROM pg_catalog.ts_token_type(c.cfgparser) y
        JOIN pg_catalog.pg_ts_config_map x ON x.mapcfg = c.oid AND x.maptokentype = y.tokid GROUP BY y.alias) m)`,
    owner: ownerOf('c.cfgowner'),
    comment: commentOf('c.oid', 'pg_ts_config'),
  })}
    FROM pg_catalog.pg_ts_config c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.cfgnamespace
    JOIN pg_catalog.pg_ts_parser p ON p.oid = c.cfgparser
    JOIN pg_catalog.pg_namespace pn ON pn.oid = p.prsnamespace
   WHERE ${dumpedSchema('n')} AND ${notOwnedByExtension('pg_ts_config', 'c.oid')}`
