import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { rewriteEvidence } from '../support/forge.ts'
import { type TestInstallation, testInstallation } from '../support/installation.ts'
import { query, startPostgres, type TestServer } from '../support/postgres-server.ts'
import { restoreTo } from '../support/restoring.ts'
import { standIn } from '../support/stand-ins.ts'

/** In the first pg_cron has no launcher, so no job ever runs; in the second they do, at every full minute. */
let quiet: TestServer
let active: TestServer
beforeAll(async () => {
  const settings = "shared_preload_libraries = 'pg_cron'\ncron.database_name = 'jobs'\ncron.use_background_workers = on"
  quiet = await startPostgres(`${settings}\nmax_worker_processes = 0`)
  active = await startPostgres(`${settings}\nmax_worker_processes = 20`)
})
afterAll(async () => {
  await Promise.all([quiet.stop(), active.stop()])
})
beforeEach(async () => {
  await query(quiet.url(), 'DROP DATABASE IF EXISTS jobs')
  await query(quiet.url(), 'CREATE DATABASE jobs')
})

const schedule = `CREATE EXTENSION pg_cron; SELECT cron.schedule('sweep', '* * * * *', 'DELETE FROM public.event')`
const jobsIn = (server: TestServer): Promise<Record<string, unknown>[]> =>
  query(server.url('jobs'), 'SELECT jobname, schedule, command, active FROM cron.job')
const sweep = { jobname: 'sweep', schedule: '* * * * *', command: 'DELETE FROM public.event', active: true }

/** Backs up the database as these statements make it, and removes it. */
async function backedUp(sql: string): Promise<TestInstallation & { readonly label: string }> {
  await query(quiet.url('jobs'), sql)
  const test = await testInstallation({ PGPROOF_SERVERS__0__URL: quiet.url() })
  const { label } = await test.run('backup', 'jobs')
  await query(quiet.url(), 'DROP DATABASE jobs')
  return { ...test, label: label ?? '' }
}

const notesOf = (notes: readonly string[]): readonly string[] => notes.filter((note) => note.includes('pg_cron'))

describe('pg_cron is in the backup', () => {
  it('and it runs jobs at the target - none runs before the end, every row is there, and then so are the jobs', async () => {
    await using test = await backedUp(
      `${schedule}; CREATE TABLE event AS SELECT g AS v FROM generate_series(1, 3) g; CREATE TABLE slow AS SELECT 1 AS v;
       CREATE FUNCTION past_the_minute(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN
         IF pg_catalog.current_setting('application_name') = 'pgproof pg_restore' THEN
           PERFORM pg_catalog.pg_sleep(extract(epoch FROM pg_catalog.date_trunc('minute', pg_catalog.clock_timestamp() + '5 s')
             + '63 s' - pg_catalog.clock_timestamp()));
         END IF;
         RETURN $1; END $$;
       CREATE INDEX ON slow (past_the_minute(v))`,
    )
    const result = await restoreTo(test, active.url('jobs'), { verify: true })
    expect(await query(active.url('jobs'), 'SELECT v FROM event ORDER BY 1')).toEqual([{ v: 1 }, { v: 2 }, { v: 3 }])
    expect(await query(active.url('jobs'), 'SELECT command, status FROM cron.job_run_details')).toEqual([])
    expect(await jobsIn(active)).toEqual([sweep])
    expect(result).toMatchObject({ outcome: 'created', error: null, schedulers: ['pg_cron'] })
    expect(result.tables?.tables).toContainEqual(
      expect.objectContaining({ schema: 'cron', name: 'job', restoredRows: 1, result: 'equal' }),
    )
    expect(notesOf(result.notes)).toEqual([])
    // The launcher was there all the while: the test would prove nothing without.
    const launchers = "SELECT datname FROM pg_stat_activity WHERE backend_type ~ 'cron'"
    expect(await query(active.url(), launchers)).toEqual([{ datname: 'jobs' }])
  })

  it.each([1, 2])('without a comparison, by %s - the jobs are there', async (jobs) => {
    await using test = await backedUp(`${schedule}; CREATE TABLE event (v int)`)
    const result = await restoreTo(test, quiet.url('jobs'), { jobs })
    expect(result).toMatchObject({ outcome: 'created', error: null })
    expect(await jobsIn(quiet)).toEqual([sweep])
  })

  it('and what was restored differs - it is kept without jobs, which the result says', async () => {
    await using test = await backedUp(`${schedule}; CREATE TABLE event AS SELECT 1 AS v`)
    await rewriteEvidence(test, `backups/main/jobs/${test.label}/`, (evidence) => ({
      ...evidence,
      tables: evidence.tables.map((table) => (table.name === 'event' ? { ...table, rows: 2 } : table)),
    }))
    const result = await restoreTo(test, quiet.url('jobs'), { verify: true })
    expect(result).toMatchObject({ outcome: 'kept apart', error: { code: 'RESTORED_DIFFERS' }, schedulers: [] })
    expect(result.error?.details).toBe('public.event rows differ (2 expected, 1 restored)')
    expect(await jobsIn(quiet)).toEqual([])
    expect(notesOf(result.notes)).toEqual([
      'left out, because pg_cron would run jobs in what differs: the rows of cron.job',
    ])
  })

  it('and the jobs are not what they were - RESTORED_DIFFERS names them', async () => {
    await using test = await backedUp(`${schedule}; CREATE TABLE event (v int)`)
    await rewriteEvidence(test, `backups/main/jobs/${test.label}/`, (evidence) => ({
      ...evidence,
      tables: evidence.tables.map((table) => (table.name === 'job' ? { ...table, rows: 2 } : table)),
    }))
    const result = await restoreTo(test, quiet.url('jobs'), { verify: true })
    expect(result).toMatchObject({ outcome: 'kept apart', error: { code: 'RESTORED_DIFFERS' } })
    expect(result.error?.details).toBe('cron.job rows differ (2 expected, 1 restored)')
  })

  it.each([
    ['a foreign key, by one job', 1, 'CREATE TABLE owner (jobid bigint REFERENCES cron.job)', 'foreign keys'],
    ['a foreign key', 2, 'CREATE TABLE owner (jobid bigint REFERENCES cron.job)', 'foreign keys'],
    [
      'a materialized view through another view',
      2,
      'CREATE VIEW v AS SELECT jobid FROM cron.job; CREATE MATERIALIZED VIEW owner AS SELECT jobid FROM v WITH NO DATA',
      'materialized views',
    ],
    [
      'a function that a materialized view calls',
      2,
      `CREATE FUNCTION ids() RETURNS SETOF bigint LANGUAGE sql AS 'SELECT jobid FROM cron.job';
       CREATE MATERIALIZED VIEW owner AS SELECT jobid FROM ids() jobid WITH NO DATA`,
      'materialized views',
    ],
  ])('and %s needs the jobs - they come before it, the result says so', async (_, jobs, sql, what) => {
    const fill = sql.includes('MATERIALIZED') ? 'REFRESH MATERIALIZED VIEW owner' : 'INSERT INTO owner VALUES (1)'
    await using test = await backedUp(`${schedule}; CREATE TABLE event AS SELECT 1 AS v; ${sql}; ${fill}`)
    const result = await restoreTo(test, quiet.url('jobs'), { jobs, verify: true })
    expect(result).toMatchObject({ outcome: 'created', error: null })
    expect(await query(quiet.url('jobs'), 'SELECT jobid::int FROM owner')).toEqual([{ jobid: 1 }])
    expect(await jobsIn(quiet)).toEqual([sweep])
    expect(notesOf(result.notes)).toEqual([expect.stringContaining(`${what} need the rows of cron.job`)])
  })

  it('and materialized views that do not need its jobs - those come last', async () => {
    await using test = await backedUp(
      `${schedule}; CREATE TABLE event AS SELECT 1 AS v; CREATE VIEW watched AS SELECT jobid FROM cron.job;
       CREATE MATERIALIZED VIEW mv AS SELECT v FROM event; CREATE TABLE f (v int PRIMARY KEY); CREATE TABLE g (v int REFERENCES f)`,
    )
    const result = await restoreTo(test, quiet.url('jobs'), { verify: true })
    expect(result).toMatchObject({ outcome: 'created', error: null })
    expect(await jobsIn(quiet)).toEqual([sweep])
    expect(notesOf(result.notes)).toEqual([])
  })

  it('and settings with which nobody can connect on this server - the jobs are there all the same', async () => {
    await using test = await backedUp(`${schedule}; ALTER DATABASE jobs SET work_mem = '7MB'`)
    const binDirs = standIn(
      test.folder,
      'pg_restore',
      `"$REAL" "$@" || exit; case "$*" in *--file=-*) echo "ALTER DATABASE jobs SET session_preload_libraries TO 'nowhere';";; esac`,
    )
    await using other = await testInstallation({ PGPROOF_POSTGRES__BIN_DIRS: binDirs }, { store: test.store })
    const result = await restoreTo(other, quiet.url('jobs'))
    expect(result).toMatchObject({ outcome: 'created', error: null })
    expect(result.notes.join('\n')).toMatch(/this login cannot connect to it any more: .*"nowhere"/)
    await query(quiet.url(), 'ALTER DATABASE jobs RESET ALL')
    expect(await jobsIn(quiet)).toEqual([sweep])
  })
})
