import type { Evidence } from '../domain/evidence.ts'
import { findEntries, isRefresh } from './archive-contents.ts'
import { type Archive, foreignKeysIn, readDefinitions } from './archive-definitions.ts'
import { type Connection, connect } from './connect.ts'

/** Its rows are what pg_cron runs, from the moment on at which they are there. */
export const cronJobs = { schema: 'cron', name: 'job' } as const

/** The entry of these rows; undefined where the extension is not there, or its table was not dumped. */
export function findCronJobs(
  lines: readonly string[],
  { extensions, tables, properties }: CronEvidence,
): string | undefined {
  if (!extensions.some(({ name }) => name === 'pg_cron')) return undefined
  const beginningOf = ({ schema, name }: typeof cronJobs | CronEvidence['tables'][number]): string =>
    `TABLE DATA ${schema} ${name} `
  const data = lines.filter((line) => /^\d+; 0 \d+ TABLE DATA /.test(line))
  return findEntries(data, tables.map(beginningOf), properties.encoding).get(beginningOf(cronJobs))
}

type CronEvidence = Pick<Evidence, 'extensions' | 'tables' | 'properties'>

/** Whether one of these entries is a foreign key that refers to the jobs. Throws RESTORE_FAILED. */
export async function haveKeysToCronJobs(
  archive: Archive,
  lines: readonly string[],
  { properties }: Pick<Evidence, 'properties'>,
  signal: AbortSignal,
): Promise<boolean> {
  const keys = lines.filter((line) => /^\d+; 2606 \d+ FK CONSTRAINT /.test(line))
  const statements = await readDefinitions(archive, keys, properties.encoding, signal)
  return foreignKeysIn(statements).some(({ references }) => references === 'cron.job')
}

/**
 * Whether one of the materialized views that these entries refresh may read the jobs: itself, through other views, or by a
 * function that has their table in its text. Asked of the database that holds all the definitions.
 */
export async function doRefreshesReadCronJobs(
  connection: Connection,
  lines: readonly string[],
  { structure, omissions }: Pick<Evidence, 'structure' | 'omissions'>,
  signal: AbortSignal,
): Promise<boolean> {
  if (!lines.some(isRefresh)) return false
  const isChanged = ({ kind, object }: Evidence['omissions'][number]): boolean =>
    kind === 'changed during the dump' && object.startsWith('materialized view ')
  const callFunctions =
    omissions.some(isChanged) ||
    structure.some(({ kind, facets }) => kind === 'materialized view' && facets['calls functions'] !== undefined)
  await using held = await connect(connection, signal, 'pgproof restore')
  const { rows } = await held.client.query<{ read: boolean }>(
    `WITH RECURSIVE reader AS (
       SELECT 'cron.job'::pg_catalog.regclass::oid AS oid
       UNION SELECT r.ev_class FROM reader o
         JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = o.oid
          AND d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass
         JOIN pg_catalog.pg_rewrite r ON r.oid = d.objid)
     SELECT EXISTS (SELECT FROM reader o JOIN pg_catalog.pg_class c ON c.oid = o.oid WHERE c.relkind = 'm')
         OR $1 AND EXISTS (
              SELECT FROM pg_catalog.pg_proc p WHERE p.prosrc ~ '\\mcron\\M' AND p.prosrc ~ '\\mjob\\M'
              UNION ALL SELECT FROM reader o
                JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = o.oid
                 AND d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass) AS read`,
    [callFunctions],
  )
  return rows[0]?.read !== false
}
