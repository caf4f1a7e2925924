/** Fragments of SQL that name things the same way on every server: qualified, quoted, without OIDs. */

/** `schema.name`, quoted; `namespace` is an alias of pg_namespace. */
export function qualified(namespace: string, name: string): string {
  return `pg_catalog.format('%I.%I', ${namespace}.nspname, ${name})`
}

/** `schema.f(integer, text)`; `procedure` is an alias of pg_proc. */
export function signatureOf(namespace: string, procedure: string): string {
  return `pg_catalog.format('%I.%I(%s)', ${namespace}.nspname, ${procedure}.proname,
    (SELECT pg_catalog.string_agg(pg_catalog.format_type(t.type, NULL), ', ' ORDER BY t.place)
       FROM pg_catalog.unnest(${procedure}.proargtypes) WITH ORDINALITY t(type, place)))`
}

/** A function with its arguments; NULL where there is none. */
export function procedureOf(column: string): string {
  return `NULLIF(${column}::pg_catalog.oid::pg_catalog.regprocedure::text, '-')`
}

/** An operator with its arguments; NULL where there is none. */
export function operatorOf(column: string): string {
  return `NULLIF(${column}::pg_catalog.oid::pg_catalog.regoperator::text, '0')`
}

/** A type; NULL where there is none. */
export function typeOf(column: string, modifier = 'NULL'): string {
  return `CASE WHEN ${column} <> 0 THEN pg_catalog.format_type(${column}, ${modifier}) END`
}

/** A collation; NULL where there is none. */
export function collationOf(column: string): string {
  return `NULLIF(${column}::pg_catalog.regcollation::text, '-')`
}

/**
 * One `name=value` of a `SET` clause. pg_dump takes the lists among them apart and quotes each element anew, so their
 * quotes and spaces say nothing; see `variable_is_guc_list_quote`.
 */
export function settingOf(item: string): string {
  const lists = ['local_preload_libraries', 'search_path', 'session_preload_libraries', 'shared_preload_libraries']
  const names = [...lists, 'temp_tablespaces', 'unix_socket_directories'].map((name) => `'${name}'`)
  return `CASE WHEN pg_catalog.lower(pg_catalog.split_part(${item}, '=', 1)) IN (${names.join(', ')})
    THEN pg_catalog.regexp_replace(pg_catalog.replace(${item}, '"', ''), '\\s*,\\s*', ', ', 'g') ELSE ${item} END`
}

/** The SHA-256 of a text that may hold a secret, or NULL. */
export function hashed(text: string): string {
  return `'sha256:' || pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(${text}, 'UTF8')), 'hex')`
}
