import { procedureOf } from './names.ts'
import {
  commentOf,
  facets,
  grantsOf,
  hashedOptions,
  notOwnedByExtension,
  ownerOf,
  type StructureQuery,
  securityLabels,
} from './query.ts'

/** Foreign data, publications and subscriptions. Options may hold passwords and stand as their SHA-256. */
export function foreignQueries(major: number): readonly StructureQuery[] {
  return [
    { kind: 'foreign data wrapper', sql: wrappers },
    { kind: 'foreign server', sql: servers },
    { kind: 'user mapping', sql: userMappings },
    { kind: 'publication', sql: publications(major) },
    { kind: 'subscription', sql: subscriptions },
  ]
}

const wrappers = `
  SELECT pg_catalog.quote_ident(w.fdwname) AS name, ${facets({
    handler: procedureOf('w.fdwhandler'),
    validator: procedureOf('w.fdwvalidator'),
    options: hashedOptions('w.fdwoptions'),
    owner: ownerOf('w.fdwowner'),
    grants: grantsOf('w.fdwacl', 'F', 'w.fdwowner'),
    comment: commentOf('w.oid', 'pg_foreign_data_wrapper'),
  })}
    FROM pg_catalog.pg_foreign_data_wrapper w
   WHERE ${notOwnedByExtension('pg_foreign_data_wrapper', 'w.oid')}`

/** An empty type or version is not dumped. */
const servers = `
  SELECT pg_catalog.quote_ident(s.srvname) AS name, ${facets({
    'foreign data wrapper': 'w.fdwname',
    type: "NULLIF(s.srvtype, '')",
    version: "NULLIF(s.srvversion, '')",
    options: hashedOptions('s.srvoptions'),
    owner: ownerOf('s.srvowner'),
    grants: grantsOf('s.srvacl', 'S', 's.srvowner'),
    comment: commentOf('s.oid', 'pg_foreign_server'),
  })}
    FROM pg_catalog.pg_foreign_server s JOIN pg_catalog.pg_foreign_data_wrapper w ON w.oid = s.srvfdw
   WHERE ${notOwnedByExtension('pg_foreign_server', 's.oid')}`

/** From the view that pg_dump reads: options that this role may not see are not in the dump either. */
const userMappings = `
  SELECT CASE m.umuser WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(m.usename) END || ' SERVER ' ||
         pg_catalog.quote_ident(m.srvname) AS name, ${facets({ options: hashedOptions('m.umoptions') })}
    FROM pg_catalog.pg_user_mappings m
   WHERE ${notOwnedByExtension('pg_foreign_server', 'm.srvid')}`

function publications(major: number): string {
  const table = "pg_catalog.format('%I.%I', n.nspname, c.relname)"
  const columns = `COALESCE((SELECT ' (' || pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', ' ORDER BY a.attname COLLATE "C") || ')'
    FROM pg_catalog.pg_attribute a WHERE a.attrelid = r.prrelid AND a.attnum = ANY (r.prattrs)), '')`
  const filter = "COALESCE(' WHERE ' || pg_catalog.pg_get_expr(r.prqual, r.prrelid), '')"
  const member = major >= 15 ? `${table} || ${columns} || ${filter}` : table
  const schemas = `(SELECT pg_catalog.string_agg(pg_catalog.quote_ident(n.nspname), ', ' ORDER BY n.nspname COLLATE "C")
    FROM pg_catalog.pg_publication_namespace s JOIN pg_catalog.pg_namespace n ON n.oid = s.pnnspid WHERE s.pnpubid = p.oid)`
  return `
    SELECT pg_catalog.quote_ident(p.pubname) AS name, ${facets({
      'all tables': 'p.puballtables',
      tables: `(SELECT pg_catalog.string_agg(${member}, ', ' ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C")
                  FROM pg_catalog.pg_publication_rel r JOIN pg_catalog.pg_class c ON c.oid = r.prrelid
                  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE r.prpubid = p.oid)`,
      ...(major >= 15 ? { schemas } : {}),
      publishes: `pg_catalog.concat_ws(', ', CASE WHEN p.pubinsert THEN 'insert' END, CASE WHEN p.pubupdate THEN 'update' END,
                    CASE WHEN p.pubdelete THEN 'delete' END, CASE WHEN p.pubtruncate THEN 'truncate' END)`,
      'via root': 'p.pubviaroot',
      owner: ownerOf('p.pubowner'),
      comment: commentOf('p.oid', 'pg_publication'),
      'security labels': securityLabels('p.oid', 'pg_publication'),
    })}
      FROM pg_catalog.pg_publication p WHERE ${notOwnedByExtension('pg_publication', 'p.oid')}`
}

/** Never its connection string, which holds a password. */
const subscriptions = `
  SELECT pg_catalog.quote_ident(s.subname) AS name, ${facets({
    enabled: 's.subenabled',
    slot: 's.subslotname',
    publications:
      '(SELECT pg_catalog.string_agg(x, \', \' ORDER BY x COLLATE "C") FROM pg_catalog.unnest(s.subpublications) x)',
    owner: ownerOf('s.subowner'),
    comment: commentOf('s.oid', 'pg_subscription'),
    'security labels': securityLabels('s.oid', 'pg_subscription'),
  })}
    FROM pg_catalog.pg_subscription s
   WHERE s.subdbid = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())`
