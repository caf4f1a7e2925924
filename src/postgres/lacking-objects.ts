import type { QualifiedName } from '../domain/qualified-name.ts'
import type { Client } from './connect.ts'

/** Something that a table is made with and that is not part of it: a type, a function, a collation, a sequence. */
export type NeededObject = {
  /** As `pg_identify_object` has it, for people. */
  readonly kind: string
  readonly catalog: 'pg_type' | 'pg_proc' | 'pg_collation' | 'pg_class'
  readonly identity: string
  readonly extension: string | null
  /** Those of an enum. */
  readonly labels: readonly string[] | null
}

/** What tables, their defaults, constraints and indexes depend on, PostgreSQL's own objects and the tables aside. */
export async function readNeededObjects(
  client: Client,
  tables: readonly QualifiedName[],
): Promise<readonly NeededObject[]> {
  const { rows } = await client.query<NeededObject>(
    `WITH wanted AS (
       SELECT c.oid FROM ROWS FROM (pg_catalog.unnest($1::text[]), pg_catalog.unnest($2::text[])) w(schema, name)
         JOIN pg_catalog.pg_namespace n ON n.nspname = w.schema JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = w.name),
     part AS (
       SELECT 'pg_catalog.pg_class'::pg_catalog.regclass AS classid, oid FROM wanted
       UNION ALL SELECT 'pg_catalog.pg_class'::pg_catalog.regclass, i.indexrelid FROM pg_catalog.pg_index i JOIN wanted w ON w.oid = i.indrelid
       UNION ALL SELECT 'pg_catalog.pg_attrdef'::pg_catalog.regclass, d.oid FROM pg_catalog.pg_attrdef d JOIN wanted w ON w.oid = d.adrelid
       UNION ALL SELECT 'pg_catalog.pg_constraint'::pg_catalog.regclass, k.oid FROM pg_catalog.pg_constraint k JOIN wanted w ON w.oid = k.conrelid
        WHERE k.contype <> 'f'),
     owned AS (
       SELECT d.objid AS oid FROM pg_catalog.pg_depend d JOIN wanted w ON w.oid = d.refobjid
        WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.deptype IN ('a', 'i')),
     needed AS (
       SELECT DISTINCT d.refclassid AS classid, d.refobjid AS oid
         FROM part p JOIN pg_catalog.pg_depend d ON d.classid = p.classid AND d.objid = p.oid
        WHERE d.deptype = 'n' AND d.refclassid IN ('pg_catalog.pg_type'::pg_catalog.regclass, 'pg_catalog.pg_proc'::pg_catalog.regclass,
                'pg_catalog.pg_collation'::pg_catalog.regclass, 'pg_catalog.pg_class'::pg_catalog.regclass)
          AND NOT (d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND (
                d.refobjid IN (SELECT oid FROM wanted UNION ALL SELECT oid FROM owned)
                OR EXISTS (SELECT FROM pg_catalog.pg_class r WHERE r.oid = d.refobjid AND r.relkind <> 'S'))))
     SELECT i.type AS kind, i.identity,
            (SELECT k.relname::text FROM pg_catalog.pg_class k WHERE k.oid = n.classid) AS catalog,
            (SELECT e.extname FROM pg_catalog.pg_depend x JOIN pg_catalog.pg_extension e ON e.oid = x.refobjid
              WHERE x.classid = n.classid AND x.objid = n.oid AND x.deptype = 'e'
                AND x.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass) AS extension,
            (SELECT pg_catalog.json_agg(l.enumlabel ORDER BY l.enumsortorder) FROM pg_catalog.pg_enum l
              WHERE n.classid = 'pg_catalog.pg_type'::pg_catalog.regclass AND l.enumtypid =
                COALESCE(NULLIF((SELECT t.typelem FROM pg_catalog.pg_type t WHERE t.oid = n.oid AND t.typcategory = 'A'), 0), n.oid)) AS labels
       FROM needed n CROSS JOIN LATERAL pg_catalog.pg_identify_object(n.classid, n.oid, 0) i
      WHERE n.oid >= 16384 ORDER BY kind, identity`,
    [tables.map(({ schema }) => schema), tables.map(({ name }) => name)],
  )
  return rows
}

/** Which of them a database lacks, in words; an extension once. */
export async function findLacking(client: Client, needed: readonly NeededObject[]): Promise<readonly string[]> {
  const lacking = new Set<string>()
  for (const { kind, catalog, identity, extension, labels } of needed) {
    const look = `SELECT pg_catalog.${lookUps[catalog]}($1)::oid::text AS oid`
    const { rows } = await client.query<{ oid: string | null }>(look, [identity])
    const oid = rows[0]?.oid ?? null
    const text = `${kind} ${identity.replaceAll('pg_catalog.', '')}`
    if (oid === null) lacking.add(extension === null ? `the ${text}` : `the extension ${extension} (${text})`)
    else if (labels !== null)
      for (const label of await missingLabels(client, oid, labels)) lacking.add(`the value '${label}' of the ${text}`)
  }
  return [...lacking]
}

/** Functions that give NULL for what is not there. Of relations, only sequences are asked for. */
const lookUps: Readonly<Record<NeededObject['catalog'], string>> = {
  pg_type: 'to_regtype',
  pg_proc: 'to_regprocedure',
  pg_collation: 'to_regcollation',
  pg_class: 'to_regclass',
}

async function missingLabels(client: Client, oid: string, labels: readonly string[]): Promise<readonly string[]> {
  const { rows } = await client.query<{ label: string }>(
    `SELECT w.label FROM pg_catalog.unnest($2::text[]) w(label)
      WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_enum l WHERE l.enumlabel = w.label AND l.enumtypid =
              COALESCE(NULLIF((SELECT t.typelem FROM pg_catalog.pg_type t WHERE t.oid = $1::oid AND t.typcategory = 'A'), 0), $1::oid))`,
    [oid, labels],
  )
  return rows.map(({ label }) => label)
}
