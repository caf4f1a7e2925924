/**
 * Reads all objects of one kind: columns `name text` (unique within the kind, quoted as SQL does) and `facets jsonb`,
 * an object of facet → text whose NULLs are dropped. Runs under `search_path = ''`, so every name is qualified.
 */
export type StructureQuery = { readonly kind: string; readonly sql: string }

/** Whether a schema is one that pg_dump dumps; `namespace` is an alias of pg_namespace. */
export function dumpedSchema(namespace: string): string {
  return `(${namespace}.nspname !~ '^pg_' AND ${namespace}.nspname <> 'information_schema')`
}

/** Whether no extension owns an object; `catalog` is the table it is in: `pg_class`. */
export function notOwnedByExtension(catalog: string, oid: string): string {
  return `NOT EXISTS (SELECT FROM pg_catalog.pg_depend x
    WHERE x.classid = ${classOf(catalog)} AND x.objid = ${oid} AND x.deptype = 'e')`
}

/**
 * Whether a type, an alias of pg_type, is one that pg_dump defines: rows of tables, arrays and multiranges come with
 * another, and whatever rights they were given are in no dump.
 */
export function definedType(type: string): string {
  return `(${type}.typtype <> 'm'
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_class y WHERE y.oid = ${type}.typrelid AND y.relkind <> 'c')
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_type y WHERE y.oid = ${type}.typelem AND y.typarray = ${type}.oid))`
}

/** Whether a function comes with another object, as the constructors of range types do; see `getFuncs`. */
export function comesWithAnother(oid: string): string {
  return `EXISTS (SELECT FROM pg_catalog.pg_depend x
    WHERE x.classid = ${classOf('pg_proc')} AND x.objid = ${oid} AND x.deptype = 'i')`
}

/** The name of a role. */
export function ownerOf(owner: string): string {
  return `pg_catalog.pg_get_userbyid(${owner})`
}

/**
 * Who may do what, as `grantee=privilege+privilege*, by grantor, …` in order of names, the owner's own rights included.
 * No ACL and the default one are the same. Whoever has every right of this kind has `ALL`, as pg_dump writes it, since
 * a newer major may know more rights. `kind` is a letter of `acldefault`.
 */
export function grantsOf(acl: string, kind: string, owner: string): string {
  const byDefault = `pg_catalog.acldefault('${kind}', ${owner})`
  return `(
    SELECT COALESCE(pg_catalog.string_agg(g.grantee || '=' || g.rights || '/' || g.grantor, ', '
             ORDER BY g.grantee COLLATE "C", g.grantor COLLATE "C"), '')
      FROM (SELECT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE ${quotedRole('a.grantee')} END AS grantee, ${quotedRole('a.grantor')} AS grantor,
                   CASE WHEN pg_catalog.count(*) > 1 AND pg_catalog.count(DISTINCT a.is_grantable) = 1
                         AND pg_catalog.count(*) = (SELECT pg_catalog.count(*) FROM pg_catalog.aclexplode(${byDefault}) d WHERE d.grantee = ${owner})
                        THEN 'ALL' || CASE WHEN pg_catalog.bool_and(a.is_grantable) THEN '*' ELSE '' END
                        ELSE pg_catalog.string_agg(a.privilege_type || CASE WHEN a.is_grantable THEN '*' ELSE '' END, '+'
                               ORDER BY a.privilege_type COLLATE "C") END AS rights
              FROM pg_catalog.aclexplode(COALESCE(${acl}, ${byDefault})) a GROUP BY a.grantee, a.grantor) g)`
}

/** An object's comment, or NULL; `subid` is a column's number. */
export function commentOf(oid: string, catalog: string, subid = '0'): string {
  return `(SELECT x.description FROM pg_catalog.pg_description x
    WHERE x.objoid = ${oid} AND x.classoid = ${classOf(catalog)} AND x.objsubid = ${subid})`
}

/** An object's security labels as `provider=label, …`, or NULL; `subid` is a column's number. */
export function securityLabels(oid: string, catalog: string, subid = '0'): string {
  return `(SELECT pg_catalog.string_agg(x.provider || '=' || x.label, ', ' ORDER BY x.provider COLLATE "C") FROM pg_catalog.pg_seclabel x
    WHERE x.objoid = ${oid} AND x.classoid = ${classOf(catalog)} AND x.objsubid = ${subid})`
}

/** The extensions with which an object is dropped (`DEPENDS ON EXTENSION`), or NULL. */
export function dependsOnExtension(oid: string, catalog: string): string {
  return `(SELECT pg_catalog.string_agg(e.extname, ', ' ORDER BY e.extname COLLATE "C")
    FROM pg_catalog.pg_depend x JOIN pg_catalog.pg_extension e ON e.oid = x.refobjid
   WHERE x.classid = ${classOf(catalog)} AND x.objid = ${oid}
     AND x.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND x.deptype = 'x')`
}

/** The elements of a `text[]` sorted and joined, or NULL. */
export function sortedOptions(options: string): string {
  return `(SELECT pg_catalog.string_agg(o, ', ' ORDER BY o COLLATE "C") FROM pg_catalog.unnest(${options}) o)`
}

/** Options that may hold secrets, such as those of foreign data: their SHA-256, or NULL. */
export function hashedOptions(options: string): string {
  return `'sha256:' || pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(${sortedOptions(options)}, 'UTF8')), 'hex')`
}

/** `schema.table`, or `schema.table.part`; the first two are aliases of pg_namespace and pg_class. */
export function relationName(namespace: string, relation: string, part?: string): string {
  const names = [`${namespace}.nspname`, `${relation}.relname`, ...(part === undefined ? [] : [part])]
  return `pg_catalog.format('${names.map(() => '%I').join('.')}', ${names.join(', ')})`
}

/** FROM and WHERE of the relations `c`, in schema `n`, that pg_dump defines; `joins` may use both. */
export function dumpedRelation(condition: string, joins = ''): string {
  return `
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace ${joins}
   WHERE ${condition} AND c.relpersistence <> 't' AND ${dumpedSchema('n')} AND ${notOwnedByExtension('pg_class', 'c.oid')}`
}

/** The column `facets`; a pair is a facet and the SQL of its text. */
export function facets(pairs: Readonly<Record<string, string>>): string {
  const items = Object.entries(pairs).map(([facet, sql]) => `'${facet}', (${sql})::text`)
  return `pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object(${items.join(', ')})) AS facets`
}

function classOf(catalog: string): string {
  return `'pg_catalog.${catalog}'::pg_catalog.regclass`
}

/** Quoted as SQL does, so that a role called PUBLIC or one with a comma in its name cannot pass for another. */
function quotedRole(role: string): string {
  return `pg_catalog.quote_ident(${ownerOf(role)})`
}
