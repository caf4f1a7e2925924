import type { Client } from './connect.ts'

/**
 * What users have put into the current database, in words with counts, at most six entries; none if it is empty.
 * Everything with an OID that initdb does not give, but for members of extensions, and what belongs to something else
 * (indexes, triggers, partitions' bounds); read from catalogs that every login may read.
 */
export async function listContents(client: Client): Promise<string[]> {
  const { rows } = await client.query<{ place: number; count: number }>(
    `SELECT place, count FROM (${kinds.map(countQuery).join(' UNION ALL ')}) found (place, count) WHERE count > 0 ORDER BY place`,
  )
  const counted = rows.map(({ place, count }) => {
    const [one, many] = kinds[place] as Kind
    return { count, text: `${count} ${count === 1 ? one : many}` }
  })
  const all = [...(await listExtensionNames(client)), ...counted]
  if (all.length <= longestList) return all.map(({ text }) => text)
  const rest = all.slice(longestList - 1).reduce((sum, { count }) => sum + count, 0)
  return [...all.slice(0, longestList - 1).map(({ text }) => text), `${rest} other objects`]
}

const longestList = 6

/** In words for one and for many; the catalog; the column with its schema, if it has one; which rows of it. */
type Kind = readonly [one: string, many: string, catalog: string, namespace: string | null, condition: string]

const ownedSequence = `SELECT FROM pg_catalog.pg_depend d
  WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = o.oid AND d.deptype IN ('a', 'i')
    AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass`
const isFreeType = `o.typtype <> 'm' AND NOT EXISTS (SELECT FROM pg_catalog.pg_type e WHERE e.typarray = o.oid)
  AND (o.typrelid = 0 OR EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = o.typrelid AND c.relkind = 'c'))`
const ofThisDatabase =
  'o.subdbid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())'

// What says most about a database comes first.
const kinds: readonly Kind[] = [
  ['table', 'tables', 'pg_class', 'relnamespace', "o.relkind IN ('r', 'p')"],
  ['foreign table', 'foreign tables', 'pg_class', 'relnamespace', "o.relkind = 'f'"],
  ['view', 'views', 'pg_class', 'relnamespace', "o.relkind IN ('v', 'm')"],
  ['large object', 'large objects', 'pg_largeobject_metadata', null, 'true'],
  ['function', 'functions', 'pg_proc', 'pronamespace', 'true'],
  [
    'schema',
    'schemas',
    'pg_namespace',
    null,
    "o.nspname !~ '^pg_' AND o.nspname NOT IN ('public', 'information_schema')",
  ],
  ['sequence', 'sequences', 'pg_class', 'relnamespace', `o.relkind = 'S' AND NOT EXISTS (${ownedSequence})`],
  ['type', 'types', 'pg_type', 'typnamespace', isFreeType],
  ['subscription', 'subscriptions', 'pg_subscription', null, ofThisDatabase],
  ['publication', 'publications', 'pg_publication', null, 'true'],
  ['event trigger', 'event triggers', 'pg_event_trigger', null, 'true'],
  ['foreign-data wrapper', 'foreign-data wrappers', 'pg_foreign_data_wrapper', null, 'true'],
  ['foreign server', 'foreign servers', 'pg_foreign_server', null, 'true'],
  ['operator', 'operators', 'pg_operator', 'oprnamespace', 'true'],
  ['operator family', 'operator families', 'pg_opfamily', 'opfnamespace', 'true'],
  ['cast', 'casts', 'pg_cast', null, 'true'],
  ['collation', 'collations', 'pg_collation', 'collnamespace', 'true'],
  ['conversion', 'conversions', 'pg_conversion', 'connamespace', 'true'],
  ['language', 'languages', 'pg_language', null, 'true'],
  ['access method', 'access methods', 'pg_am', null, 'true'],
  ['transform', 'transforms', 'pg_transform', null, 'true'],
  ['text search configuration', 'text search configurations', 'pg_ts_config', 'cfgnamespace', 'true'],
  ['text search dictionary', 'text search dictionaries', 'pg_ts_dict', 'dictnamespace', 'true'],
  ['text search parser', 'text search parsers', 'pg_ts_parser', 'prsnamespace', 'true'],
  ['text search template', 'text search templates', 'pg_ts_template', 'tmplnamespace', 'true'],
  ['default privilege', 'default privileges', 'pg_default_acl', null, 'true'],
]

/** The first OID of objects that are not made by initdb: FirstNormalObjectId. */
const firstOid = 16384

function countQuery([, , catalog, namespace, condition]: Kind, place: number): string {
  // Not every column of pg_subscription may be read; its OID may only since PostgreSQL 14.
  const oid = catalog === 'pg_subscription' ? [] : [`o.oid >= ${firstOid}`, `NOT EXISTS (${memberOf(catalog)})`]
  const schema = namespace === null ? [] : [userSchema(namespace)]
  const where = [...oid, ...schema, `(${condition})`].join(' AND ')
  return `SELECT ${place}, pg_catalog.count(*)::int FROM pg_catalog.${catalog} o WHERE ${where}`
}

function memberOf(catalog: string): string {
  return `SELECT FROM pg_catalog.pg_depend d
    WHERE d.classid = 'pg_catalog.${catalog}'::pg_catalog.regclass AND d.objid = o.oid AND d.deptype = 'e'`
}

function userSchema(namespace: string): string {
  return `EXISTS (SELECT FROM pg_catalog.pg_namespace n
    WHERE n.oid = o.${namespace} AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema')`
}

async function listExtensionNames(client: Client): Promise<{ readonly count: number; readonly text: string }[]> {
  const { rows } = await client.query<{ name: string }>(
    `SELECT extname AS name FROM pg_catalog.pg_extension WHERE extname <> 'plpgsql' ORDER BY extname COLLATE "C"`,
  )
  if (rows.length === 0) return []
  const names = rows.map(({ name }) => name)
  const shown = names.slice(0, 3).join(', ') + (names.length > 3 ? ` and ${names.length - 3} more` : '')
  return [{ count: names.length, text: `${names.length === 1 ? 'extension' : 'extensions'} ${shown}` }]
}
