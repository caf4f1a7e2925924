import { expect, it } from 'vitest'
import { testDatabase, testInstallation } from '../support/installation.ts'
import { query } from '../support/postgres-server.ts'
import { type Attempt, attempts, openPrey, preparation, sameUser } from './hostile-dump.ts'

/** Where it tells what it could do: in the folder of its own server. */
const said = (title: string, outcome: string): string =>
  `EXECUTE $say$COPY (SELECT '${title}: ${outcome}') TO PROGRAM 'cat >>attempts'$say$`

/** Only in a server without TCP, so that nothing happens where the database comes from. */
function hostileFunction(all: readonly Attempt[]): string {
  const tries = all.map(
    ({ title, sql }) => `BEGIN EXECUTE $attempt$${sql}$attempt$; ${said(title, 'SUCCEEDED')};
      EXCEPTION WHEN OTHERS THEN ${said(title, 'failed')}; END;`,
  )
  return `CREATE FUNCTION public.hostile(int) RETURNS boolean LANGUAGE plpgsql AS $function$ BEGIN
    IF current_setting('listen_addresses') <> '' THEN RETURN true; END IF;
    ${tries.join('\n')}
    RETURN true; END $function$`
}

it('a database whose check constraint tries everything while it is restored - the drill passes, and nothing was reached', async () => {
  await using prey = await openPrey()
  const all = attempts(prey)
  await using source = await testDatabase('template1')
  await query(source.url, `${preparation(prey)}; ${hostileFunction(all)}`)
  await query(source.url, 'CREATE TABLE bait (a int CHECK (public.hostile(a))); INSERT INTO bait VALUES (1)')
  // As triggers of events it has its turn as well: they come last, and whatever comes after them is theirs to see.
  await query(
    source.url,
    `CREATE FUNCTION on_event() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN PERFORM public.hostile(2); END';
     CREATE EVENT TRIGGER aaa ON ddl_command_start EXECUTE FUNCTION on_event()`,
  )
  const expected = all.map(({ title }) => `${title}: failed\n`).join('')
  await using test = await testInstallation({
    PGPROOF_SERVERS__0__CHECKS__0__NAME: 'tried everything',
    PGPROOF_SERVERS__0__CHECKS__0__SQL: `SELECT starts_with(pg_read_file('attempts'), '${expected}')`,
    PGPROOF_SERVERS__0__CHECKS__1__NAME: 'got nowhere',
    PGPROOF_SERVERS__0__CHECKS__1__SQL: "SELECT pg_read_file('attempts') !~ 'SUCCEEDED'",
    ...(sameUser === '' ? {} : { PGPROOF_DRILL__RUN_AS: sameUser }),
  })
  await test.run('backup', source.name)
  const { drill } = await test.run('drill', source.name)
  expect(drill?.report).toMatchObject({ verdict: 'passed', reason: null })
  expect(drill?.report.environment).toMatchObject({ network: 'none', notIsolated: [] })
  expect(drill?.report.checks.filter(({ name }) => name.startsWith('sql: ')).map(({ result }) => result)).toEqual([
    'passed',
    'passed',
  ])
  expect(await prey.touched()).toEqual([])
  expect(test.spoolLeft()).toEqual([])
})
