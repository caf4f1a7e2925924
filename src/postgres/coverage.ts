import type { Client } from './connect.ts'

/** One thing that a dump does not hold, and why. */
export type LeftOut = { readonly kind: string; readonly object: string; readonly reason: string }

/**
 * What a dump of this database does not hold, and why: the coverage statement. The rules are those of pg_dump.c
 * (`getIndexes`, `getTriggers`, `makeTableDataInfo`); what no dump ever holds – planner statistics, files of the
 * server, its configuration – is in docs/verification.md instead.
 */
export async function listLeftOut(client: Client, isStandby: boolean): Promise<LeftOut[]> {
  const sql = leftOut.map(
    ({ kind, reason, objects }) => `SELECT '${kind}' AS kind, o.object, '${reason}' AS reason FROM (${objects}) o`,
  )
  const { rows } = await client.query<LeftOut>(`${sql.join(' UNION ALL ')} ORDER BY 1, 2`, [isStandby])
  return rows
}

const relationName = "pg_catalog.format('%I.%I', n.nspname, c.relname) AS object"
const relations = 'pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace'
const isUsers = "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"

/** The extension `e` that made the relation `c`, by its record `d`. */
const madeBy = `JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.objsubid = 0 AND d.deptype = 'e'
  JOIN pg_catalog.pg_extension e ON d.refclassid = 'pg_catalog.pg_extension'::regclass AND e.oid = d.refobjid`

/**
 * Whether the extension's script made the policy `p`, which no catalog says: then it is of the very transaction that made the
 * table a member. After pg_upgrade it is not; what is known of pg_cron stands here by name.
 */
const isOfScript = `(p.xmin = d.xmin
  OR e.extname = 'pg_cron' AND p.polname IN ('cron_job_policy', 'cron_job_run_details_policy'))`

type InSchemas = { readonly catalog: string; readonly schema: string; readonly condition?: string }

/** Whatever is made in a schema by itself, and not with another object. */
const inSchemas: readonly InSchemas[] = [
  { catalog: 'pg_class', schema: 'relnamespace', condition: "o.relkind IN ('r', 'p', 'v', 'm', 'S', 'f')" },
  {
    catalog: 'pg_type',
    schema: 'typnamespace',
    condition: `o.typtype <> 'm' AND NOT EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = o.typrelid AND c.relkind <> 'c')
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_type e WHERE e.oid = o.typelem AND e.typarray = o.oid)`,
  },
  { catalog: 'pg_proc', schema: 'pronamespace' },
  { catalog: 'pg_operator', schema: 'oprnamespace' },
  { catalog: 'pg_opclass', schema: 'opcnamespace' },
  { catalog: 'pg_opfamily', schema: 'opfnamespace' },
  { catalog: 'pg_collation', schema: 'collnamespace' },
  { catalog: 'pg_conversion', schema: 'connamespace' },
  { catalog: 'pg_ts_config', schema: 'cfgnamespace' },
  { catalog: 'pg_ts_dict', schema: 'dictnamespace' },
  { catalog: 'pg_ts_parser', schema: 'prsnamespace' },
  { catalog: 'pg_ts_template', schema: 'tmplnamespace' },
]

/** Those of one catalog that initdb did not make (`FirstNormalObjectId`), and no extension. */
function schemaMembers({ catalog, schema, condition = 'true' }: InSchemas): string {
  return `SELECT 'pg_catalog.${catalog}'::regclass AS catalog, o.oid, o.${schema} AS schema FROM pg_catalog.${catalog} o
           WHERE o.oid >= 16384 AND ${condition}
             AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                              WHERE d.classid = 'pg_catalog.${catalog}'::regclass AND d.objid = o.oid AND d.objsubid = 0
                                AND (d.deptype = 'e' OR d.deptype = 'i' AND d.classid = 'pg_catalog.pg_proc'::regclass))`
}

const leftOut: readonly { readonly kind: string; readonly reason: string; readonly objects: string }[] = [
  {
    kind: 'foreign data',
    reason: 'rows of a foreign table live on another server; only its definition is dumped',
    objects: `SELECT ${relationName} FROM ${relations} WHERE c.relkind = 'f' AND ${isUsers}`,
  },
  {
    kind: 'unlogged data on a standby',
    reason: 'a standby has no rows of unlogged tables and no state of unlogged sequences',
    objects: `SELECT ${relationName} FROM ${relations}
               WHERE c.relkind IN ('r', 'S') AND c.relpersistence = 'u' AND $1 AND ${isUsers}`,
  },
  {
    kind: 'tablespace',
    reason: 'a tablespace is defined outside any database; drills put everything into the default one',
    objects: `SELECT pg_catalog.quote_ident(t.spcname) AS object FROM pg_catalog.pg_tablespace t
               WHERE t.spcname NOT IN ('pg_default', 'pg_global')
                 AND (EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.reltablespace = t.oid)
                      OR EXISTS (SELECT FROM pg_catalog.pg_database d
                                  WHERE d.datname = pg_catalog.current_database() AND d.dattablespace = t.oid))`,
  },
  {
    kind: 'invalid index',
    reason: 'pg_dump leaves out an index whose creation failed; drop it or REINDEX it',
    objects: `SELECT ${relationName} FROM ${relations} JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid
               WHERE c.relkind = 'i' AND NOT (i.indisvalid AND i.indisready) AND ${isUsers}`,
  },
  {
    kind: 'disabled foreign key check',
    reason: 'pg_dump does not say that the triggers of a foreign key were disabled; a restore enables them',
    objects: `SELECT DISTINCT pg_catalog.format('%I.%I', n.nspname, c.relname) || ' ' || pg_catalog.quote_ident(k.conname) AS object
                FROM ${relations} JOIN pg_catalog.pg_trigger t ON t.tgrelid = c.oid
                JOIN pg_catalog.pg_constraint k ON k.oid = t.tgconstraint
               WHERE t.tgisinternal AND k.contype = 'f' AND t.tgenabled <> 'O' AND t.tgparentid = 0 AND ${isUsers}`,
  },
  {
    kind: 'rows of an extension',
    reason:
      'a table of an extension that did not register it by pg_extension_config_dump; only the extension is dumped',
    // Statistics may be old, or none. Only of these the size is asked, which waits where somebody, or a prepared transaction, has
    // locked one; that is taken to have rows.
    objects: `SELECT m.object
                FROM (SELECT ${relationName}, c.oid FROM ${relations} ${madeBy}
                       WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND ${isUsers}
                         AND NOT c.oid = ANY (COALESCE(e.extconfig, '{}')) OFFSET 0) m
               WHERE CASE WHEN m.oid IN (SELECT l.relation FROM pg_catalog.pg_locks l
                                          WHERE l.mode = 'AccessExclusiveLock' AND l.relation IS NOT NULL AND l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid())
                          THEN true ELSE pg_catalog.pg_relation_size(m.oid) > 0 END`,
  },
  {
    kind: 'row security of an extension',
    reason:
      'row level security or a policy that was set on a table of an extension; only the extension is dumped, and its script makes the table anew',
    objects: `SELECT ${relationName} FROM ${relations} ${madeBy}
               WHERE c.xmin <> d.xmin AND (c.relforcerowsecurity OR c.relrowsecurity AND NOT EXISTS (
                       SELECT FROM pg_catalog.pg_policy p WHERE p.polrelid = c.oid AND ${isOfScript}))
              UNION ALL
              SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) || ' ' || pg_catalog.quote_ident(p.polname)
                FROM ${relations} ${madeBy} JOIN pg_catalog.pg_policy p ON p.polrelid = c.oid WHERE NOT ${isOfScript}`,
  },
  {
    kind: 'object in a schema of the system',
    reason: 'pg_dump has nothing of pg_catalog and information_schema but rights; make it in a schema of your own',
    objects: `SELECT i.type || ' ' || i.identity AS object
                FROM (${inSchemas.map(schemaMembers).join(' UNION ALL ')}) o
                JOIN pg_catalog.pg_namespace n ON n.oid = o.schema, pg_catalog.pg_identify_object(o.catalog, o.oid, 0) i
               WHERE NOT (${isUsers}) AND n.nspname !~ '^pg_(temp|toast)' AND i.identity IS NOT NULL`,
  },
  {
    kind: 'rights of a dependent object',
    reason:
      'pg_dump has no rights on constructors of range types, on multirange types and on row types of tables; a restore gives them the default ones',
    objects: `SELECT g.object
                FROM (SELECT p.oid::pg_catalog.regprocedure::text AS object, 'pg_catalog.pg_proc'::regclass AS catalog, p.oid,
                             p.proacl AS acl, pg_catalog.acldefault('f', p.proowner) AS default_acl
                        FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
                       WHERE p.proacl IS NOT NULL AND ${isUsers}
                         AND EXISTS (SELECT FROM pg_catalog.pg_depend d
                                      WHERE d.classid = 'pg_catalog.pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'i')
                      UNION ALL
                      SELECT pg_catalog.format('%I.%I', n.nspname, t.typname), 'pg_catalog.pg_type'::regclass, t.oid,
                             t.typacl, pg_catalog.acldefault('T', t.typowner)
                        FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
                       WHERE t.typacl IS NOT NULL AND ${isUsers}
                         AND (t.typtype = 'm' OR EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = t.typrelid AND c.relkind <> 'c'))) g
                LEFT JOIN pg_catalog.pg_init_privs i ON i.classoid = g.catalog AND i.objoid = g.oid AND i.objsubid = 0
               WHERE NOT (g.acl @> COALESCE(i.initprivs, g.default_acl) AND g.acl <@ COALESCE(i.initprivs, g.default_acl))`,
  },
  {
    kind: 'prepared transaction',
    reason: 'what it changed was not committed at the snapshot',
    objects: `SELECT p.gid AS object FROM pg_catalog.pg_prepared_xacts p WHERE p.database = pg_catalog.current_database()`,
  },
  {
    kind: 'state of a subscription',
    reason: 'a dump holds its definition; it comes back disabled, and drills leave it out',
    objects: `SELECT pg_catalog.quote_ident(s.subname) AS object FROM pg_catalog.pg_subscription s
               WHERE s.subdbid = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())`,
  },
  {
    kind: 'replication slot',
    reason: 'a logical slot belongs to the server, not to a dump',
    objects: `SELECT pg_catalog.quote_ident(s.slot_name) AS object FROM pg_catalog.pg_replication_slots s
               WHERE s.database = pg_catalog.current_database() AND NOT s.temporary`,
  },
]
