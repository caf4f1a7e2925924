import { hashed, procedureOf, settingOf } from './names.ts'
import {
  comesWithAnother,
  commentOf,
  definedType,
  dumpedSchema,
  facets,
  grantsOf,
  notOwnedByExtension,
  ownerOf,
  type StructureQuery,
  securityLabels,
} from './query.ts'

/** The database itself with its settings and roles, and what belongs to no schema. */
export function databaseQueries(major: number): readonly StructureQuery[] {
  return [
    { kind: 'database', sql: database },
    { kind: 'database setting', sql: settings },
    { kind: 'role', sql: roles },
    { kind: 'default privileges', sql: defaultPrivileges(major) },
    { kind: 'extension', sql: extensions },
    { kind: 'event trigger', sql: eventTriggers },
    { kind: 'large objects', sql: largeObjects },
  ]
}

const thisDatabase = '(SELECT db.oid FROM pg_catalog.pg_database db WHERE db.datname = pg_catalog.current_database())'
const databaseCatalog = "'pg_catalog.pg_database'::pg_catalog.regclass"

/** Without its name: a scratch database has another. */
const database = `
  SELECT '' AS name, ${facets({
    owner: ownerOf('b.datdba'),
    grants: grantsOf('b.datacl', 'd', 'b.datdba'),
    'connection limit': 'b.datconnlimit',
    comment: `(SELECT x.description FROM pg_catalog.pg_shdescription x WHERE x.objoid = b.oid AND x.classoid = ${databaseCatalog})`,
    'security labels': `(SELECT pg_catalog.string_agg(x.provider || '=' || x.label, ', ' ORDER BY x.provider COLLATE "C")
                           FROM pg_catalog.pg_shseclabel x WHERE x.objoid = b.oid AND x.classoid = ${databaseCatalog})`,
  })}
    FROM pg_catalog.pg_database b WHERE b.oid = ${thisDatabase}`

/** `ALTER DATABASE … SET` by the name of the setting, `ALTER ROLE … IN DATABASE … SET` with the role. */
const settings = `
  SELECT pg_catalog.quote_ident(pg_catalog.split_part(c.item, '=', 1)) ||
         CASE s.setrole WHEN 0 THEN '' ELSE ' FOR ' || pg_catalog.quote_ident(${ownerOf('s.setrole')}) END AS name,
         ${facets({ value: hashed(settingOf('c.item')) })}
    FROM pg_catalog.pg_db_role_setting s, pg_catalog.unnest(s.setconfig) c(item)
   WHERE s.setdatabase = ${thisDatabase}`

/**
 * Roles that own or were granted something that a dump holds. What an extension made belongs to whoever made the
 * extension, and is somebody else's after a restore; publications and subscriptions are not restored.
 */
const roles = `
  WITH used AS (
    SELECT DISTINCT d.refobjid AS oid FROM pg_catalog.pg_shdepend d
     WHERE d.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND d.deptype IN ('o', 'a') AND d.dbid = ${thisDatabase}
       AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend x WHERE x.classid = d.classid AND x.objid = d.objid AND x.deptype = 'e')
       AND CASE d.classid
             WHEN 'pg_catalog.pg_class'::pg_catalog.regclass THEN EXISTS (SELECT FROM pg_catalog.pg_class o
               JOIN pg_catalog.pg_namespace n ON n.oid = o.relnamespace WHERE o.oid = d.objid AND ${dumpedSchema('n')})
             WHEN 'pg_catalog.pg_proc'::pg_catalog.regclass THEN EXISTS (SELECT FROM pg_catalog.pg_proc o
               JOIN pg_catalog.pg_namespace n ON n.oid = o.pronamespace WHERE o.oid = d.objid AND ${dumpedSchema('n')} AND NOT ${comesWithAnother('o.oid')})
             WHEN 'pg_catalog.pg_type'::pg_catalog.regclass THEN EXISTS (SELECT FROM pg_catalog.pg_type o
               JOIN pg_catalog.pg_namespace n ON n.oid = o.typnamespace WHERE o.oid = d.objid AND ${dumpedSchema('n')} AND ${definedType('o')})
             WHEN 'pg_catalog.pg_namespace'::pg_catalog.regclass THEN EXISTS (SELECT FROM pg_catalog.pg_namespace n
               WHERE n.oid = d.objid AND ${dumpedSchema('n')})
             WHEN 'pg_catalog.pg_foreign_server'::pg_catalog.regclass THEN true
             WHEN 'pg_catalog.pg_foreign_data_wrapper'::pg_catalog.regclass THEN true
             WHEN 'pg_catalog.pg_largeobject'::pg_catalog.regclass THEN true
             WHEN 'pg_catalog.pg_event_trigger'::pg_catalog.regclass THEN true
             ELSE false END
    UNION
    SELECT d.refobjid FROM pg_catalog.pg_shdepend d
     WHERE d.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND d.deptype IN ('o', 'a') AND d.dbid = 0
       AND d.classid = ${databaseCatalog} AND d.objid = ${thisDatabase})
  SELECT pg_catalog.quote_ident(r.rolname) AS name, ${facets({ exists: 'true' })}
    FROM used JOIN pg_catalog.pg_roles r ON r.oid = used.oid`

/** By role, schema and kind of object; those of the whole database replace the built-in ones. */
function defaultPrivileges(major: number): string {
  const kinds = { r: 'TABLES', S: 'SEQUENCES', f: 'FUNCTIONS', T: 'TYPES', n: 'SCHEMAS' }
  const all = Object.entries(major >= 18 ? { ...kinds, L: 'LARGE OBJECTS' } : kinds)
  const ofKind = ([letter, kind]: [string, string]): string => `
    SELECT 'FOR ' || pg_catalog.quote_ident(${ownerOf('p.defaclrole')}) ||
           COALESCE(' IN ' || pg_catalog.quote_ident(n.nspname), '') || ' ON ${kind}' AS name,
           ${facets({ grants: grantsOf('p.defaclacl', letter === 'S' ? 's' : letter, 'p.defaclrole') })}
      FROM pg_catalog.pg_default_acl p LEFT JOIN pg_catalog.pg_namespace n ON n.oid = p.defaclnamespace
     WHERE p.defaclobjtype = '${letter}' AND (p.defaclnamespace = 0 OR ${dumpedSchema('n')})`
  return all.map(ofKind).join(' UNION ALL ')
}

/**
 * Its owner is not dumped: whoever restores owns it. plpgsql comes with every database, and its comment is dumped only
 * if the extension was made anew.
 */
const extensions = `
  SELECT pg_catalog.quote_ident(e.extname) AS name, ${facets({
    schema: 'n.nspname',
    version: 'e.extversion',
    comment: `CASE WHEN e.extname <> 'plpgsql' THEN ${commentOf('e.oid', 'pg_extension')} END`,
    'security labels': securityLabels('e.oid', 'pg_extension'),
  })}
    FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace`

const eventTriggers = `
  SELECT pg_catalog.quote_ident(t.evtname) AS name, ${facets({
    event: 't.evtevent',
    tags: '(SELECT pg_catalog.string_agg(x, \', \' ORDER BY x COLLATE "C") FROM pg_catalog.unnest(t.evttags) x)',
    function: procedureOf('t.evtfoid'),
    enabled:
      "CASE t.evtenabled WHEN 'O' THEN 'origin' WHEN 'D' THEN 'disabled' WHEN 'R' THEN 'replica' ELSE 'always' END",
    owner: ownerOf('t.evtowner'),
    comment: commentOf('t.oid', 'pg_event_trigger'),
    'security labels': securityLabels('t.oid', 'pg_event_trigger'),
  })}
    FROM pg_catalog.pg_event_trigger t WHERE ${notOwnedByExtension('pg_event_trigger', 't.oid')}`

/** An empty array of rights read from text has no dimension, which PostgreSQL refuses; no column has rights by default. */
const acl = "CASE g.acl WHEN '{}' THEN pg_catalog.acldefault('c', g.owner) ELSE g.acl::pg_catalog.aclitem[] END"

/**
 * All as one object: each facet is a count and a sum of hashes, whatever the order. There may be a million, with few
 * different owners and rights: those are spelled out once, and hashed with the objects that have them.
 */
const largeObjects = `
  SELECT '' AS name, ${facets({
    'owners and grants': `
      SELECT COALESCE(pg_catalog.sum(s.objects), 0) || ':' ||
             COALESCE(pg_catalog.sum(pg_catalog.hashtextextended((s.ids || ' ' || s.rights) COLLATE "C", 0)), 0)
        FROM (SELECT pg_catalog.sum(r.objects) AS objects, pg_catalog.sum(r.ids) AS ids, r.rights
                FROM (SELECT g.objects, g.ids, ${ownerOf('g.owner')} || ' ' || ${grantsOf(acl, 'L', 'g.owner')} AS rights
                        FROM (SELECT l.lomowner AS owner, l.lomacl::text AS acl, pg_catalog.count(*) AS objects,
                                     pg_catalog.sum(pg_catalog.hashint8extended(l.oid::int8, 0)) AS ids
                                FROM pg_catalog.pg_largeobject_metadata l GROUP BY 1, 2) g) r
               GROUP BY r.rights) s`,
    comments: digestOf('pg_description', 'x.description'),
    'security labels': digestOf('pg_seclabel', "x.provider || '=' || x.label"),
  })}`

function digestOf(catalog: string, text: string): string {
  return `SELECT pg_catalog.count(*) || ':' || COALESCE(pg_catalog.sum(pg_catalog.hashtextextended((${text}) COLLATE "C", x.objoid::int8)), 0)
    FROM pg_catalog.${catalog} x WHERE x.classoid = 'pg_catalog.pg_largeobject'::pg_catalog.regclass`
}
