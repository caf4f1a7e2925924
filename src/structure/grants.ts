import { comesWithAnother, definedType, facets, ownerOf, type StructureQuery } from './query.ts'

/**
 * Rights that somebody changed on objects that no dump defines: members of extensions, and what initdb made in
 * pg_catalog. pg_dump dumps what differs from `pg_init_privs`, the rights as the extension's script or initdb left
 * them; it does not for information_schema.
 */
export function grantQueries(): readonly StructureQuery[] {
  return [
    { kind: 'extension member grants', sql: changedGrants(isMember) },
    { kind: 'system object grants', sql: changedGrants(`o.schema = 'pg_catalog' AND NOT ${isMember}`) },
  ]
}

const isMember =
  "EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = o.catalog AND d.objid = o.oid AND d.deptype = 'e')"

/**
 * Objects that can have rights, each with those that it has by default; of functions, of which PostgreSQL has thousands, only
 * those with rights of their own: to write down what one is called takes longer than all else here.
 */
const objects = `
  SELECT CASE c.relkind WHEN 'S' THEN 'SEQUENCE ' ELSE 'TABLE ' END || pg_catalog.format('%I.%I', n.nspname, c.relname) AS name,
         n.nspname AS schema, 'pg_catalog.pg_class'::pg_catalog.regclass AS catalog, c.oid, 0 AS subid, c.relowner AS owner, c.relacl AS acl,
         pg_catalog.acldefault(CASE c.relkind WHEN 'S' THEN 's'::"char" ELSE 'r'::"char" END, c.relowner) AS default_acl
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
   WHERE c.relkind IN ('r', 'S', 'v', 'm', 'f', 'p')
  UNION ALL
  SELECT pg_catalog.format('COLUMN %I.%I.%I', n.nspname, c.relname, a.attname), n.nspname, 'pg_catalog.pg_class'::pg_catalog.regclass,
         c.oid, a.attnum::int, c.relowner, a.attacl, pg_catalog.acldefault('c', c.relowner)
    FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
   WHERE a.attacl IS NOT NULL AND NOT a.attisdropped
  UNION ALL
  SELECT CASE p.prokind WHEN 'p' THEN 'PROCEDURE ' ELSE 'FUNCTION ' END || p.oid::pg_catalog.regprocedure::text, n.nspname,
         'pg_catalog.pg_proc'::pg_catalog.regclass, p.oid, 0, p.proowner, p.proacl, pg_catalog.acldefault('f', p.proowner)
    FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
   WHERE (p.proacl IS NOT NULL OR p.oid IN (
          SELECT i.objoid FROM pg_catalog.pg_init_privs i WHERE i.classoid = 'pg_catalog.pg_proc'::pg_catalog.regclass))
     AND NOT ${comesWithAnother('p.oid')}
  UNION ALL
  SELECT 'TYPE ' || pg_catalog.format('%I.%I', n.nspname, t.typname), n.nspname, 'pg_catalog.pg_type'::pg_catalog.regclass, t.oid, 0,
         t.typowner, t.typacl, pg_catalog.acldefault('T', t.typowner)
    FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace WHERE ${definedType('t')}
  UNION ALL
  SELECT 'SCHEMA ' || pg_catalog.quote_ident(n.nspname), n.nspname, 'pg_catalog.pg_namespace'::pg_catalog.regclass, n.oid, 0,
         n.nspowner, n.nspacl, pg_catalog.acldefault('n', n.nspowner)
    FROM pg_catalog.pg_namespace n
  UNION ALL
  SELECT 'LANGUAGE ' || pg_catalog.quote_ident(l.lanname), NULL, 'pg_catalog.pg_language'::pg_catalog.regclass, l.oid, 0,
         l.lanowner, l.lanacl, pg_catalog.acldefault('l', l.lanowner)
    FROM pg_catalog.pg_language l WHERE l.lanispl AND l.lanpltrusted
  UNION ALL
  SELECT 'FOREIGN DATA WRAPPER ' || pg_catalog.quote_ident(w.fdwname), NULL, 'pg_catalog.pg_foreign_data_wrapper'::pg_catalog.regclass,
         w.oid, 0, w.fdwowner, w.fdwacl, pg_catalog.acldefault('F', w.fdwowner)
    FROM pg_catalog.pg_foreign_data_wrapper w
  UNION ALL
  SELECT 'FOREIGN SERVER ' || pg_catalog.quote_ident(s.srvname), NULL, 'pg_catalog.pg_foreign_server'::pg_catalog.regclass,
         s.oid, 0, s.srvowner, s.srvacl, pg_catalog.acldefault('S', s.srvowner)
    FROM pg_catalog.pg_foreign_server s`

/** Whose rights say nothing: those of the owner, and of the bootstrap superuser, who needs none. */
const mighty = '(x.owner, 10)'

/** Who owned an object when its initial rights were kept, if somebody else does now: only an owner grants to itself. */
const isFirstOwner = (role: string): string =>
  `EXISTS (SELECT FROM pg_catalog.aclexplode(x.initial) f WHERE f.grantor = f.grantee AND f.grantee = ${role})`

/**
 * A dump sets the owner of neither, so the owner may be another after a restore: the rights of whoever is the owner, or
 * was it when the initial rights were kept, are left out, and as grantors they are not named.
 */
function changedGrants(condition: string): string {
  const rights = (acl: string, isMighty: (role: string) => string): string => `
    SELECT a.grantee, a.privilege_type, a.is_grantable, CASE WHEN NOT (${isMighty('a.grantor')}) THEN a.grantor END AS grantor
      FROM pg_catalog.aclexplode(${acl}) a WHERE NOT (${isMighty('a.grantee')})`
  const current = rights('x.acl', (role) => `${role} IN ${mighty}`)
  const initial = rights('x.initial', (role) => `${role} IN ${mighty} OR ${isFirstOwner(role)}`)
  const difference = (these: string, those: string): string => `
    (SELECT pg_catalog.string_agg(g.text, ', ' ORDER BY g.text COLLATE "C") FROM (
       SELECT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(${ownerOf('a.grantee')}) END || '=' || a.privilege_type ||
              CASE WHEN a.is_grantable THEN '*' ELSE '' END ||
              COALESCE('/' || pg_catalog.quote_ident(${ownerOf('a.grantor')}), '') AS text
         FROM (${these} EXCEPT ${those}) a) g)`
  return `
    SELECT c.name, c.facets FROM (
      SELECT x.name, ${facets({ granted: difference(current, initial), revoked: difference(initial, current) })}
        FROM (SELECT o.name, o.owner, COALESCE(o.acl, o.default_acl) AS acl, COALESCE(i.initprivs, o.default_acl) AS initial
                FROM (${objects}) o
                LEFT JOIN pg_catalog.pg_init_privs i ON i.classoid = o.catalog AND i.objoid = o.oid AND i.objsubid = o.subid
               WHERE (o.acl IS NOT NULL OR i.initprivs IS NOT NULL) AND o.acl::text IS DISTINCT FROM i.initprivs::text AND ${condition}) x) c
     WHERE c.facets <> '{}'`
}
