import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { connect, parseConnectionUrl } from '../../src/postgres/connect.ts'
import { listLeftOut } from '../../src/postgres/coverage.ts'
import { query, startPostgres, type TestServer } from '../support/postgres-server.ts'
import { signal } from './sandbox.ts'
import { major } from './spool-root.ts'

let server: TestServer
beforeAll(async () => {
  server = await startPostgres(
    "wal_level = logical\nmax_prepared_transactions = 5\nshared_preload_libraries = 'pg_cron'\ncron.launch_active_jobs = off",
  )
})
afterAll(async () => {
  await server.stop()
})

async function leftOut(database: string): Promise<string[]> {
  await using held = await connect(parseConnectionUrl('main', server.url(database)), signal)
  return (await listLeftOut(held.client, false)).map(({ kind, object }) => `${kind}: ${object}`)
}

const cases: readonly (readonly [kind: string, sql: readonly string[], expected: readonly string[]])[] = [
  ['nothing', ['CREATE TABLE t (a int)'], []],
  [
    'a foreign table',
    [
      `CREATE EXTENSION file_fdw; CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;
       CREATE FOREIGN TABLE "Far away" (line text) SERVER files OPTIONS (filename '/etc/passwd')`,
    ],
    ['foreign data: public."Far away"'],
  ],
  [
    'an index whose creation failed',
    [
      'CREATE TABLE t (a int); INSERT INTO t VALUES (1), (1)',
      'CREATE UNIQUE INDEX CONCURRENTLY broken ON t (a)',
      'CREATE INDEX whole ON t (a)',
    ],
    ['invalid index: public.broken'],
  ],
  [
    'a foreign key that is not checked',
    [
      `CREATE TABLE t (a int PRIMARY KEY); CREATE TABLE u (a int CONSTRAINT to_t REFERENCES t); ALTER TABLE u DISABLE TRIGGER ALL;
       CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
       CREATE TRIGGER mine BEFORE INSERT ON t EXECUTE FUNCTION f(); ALTER TABLE t DISABLE TRIGGER mine`,
    ],
    ['disabled foreign key check: public.u to_t'],
  ],
  [
    'a prepared transaction',
    ['CREATE TABLE t (a int)', "BEGIN; INSERT INTO t VALUES (1); PREPARE TRANSACTION 'half done'"],
    ['prepared transaction: half done'],
  ],
  [
    'a subscription and a logical slot',
    [
      "CREATE SUBSCRIPTION far CONNECTION 'host=nowhere' PUBLICATION p WITH (connect = false, slot_name = NONE)",
      "SELECT pg_create_logical_replication_slot('feed', 'test_decoding')",
    ],
    ['replication slot: feed', 'state of a subscription: far'],
  ],
  [
    'rows in a table that its extension does not let pg_dump see',
    [
      // No statistics of the first, and old ones of the second and third.
      `CREATE EXTENSION hstore; CREATE TABLE own (a int); ALTER EXTENSION hstore ADD TABLE own; INSERT INTO own VALUES (1);
       CREATE TABLE later (a int); ANALYZE later; ALTER EXTENSION hstore ADD TABLE later; INSERT INTO later VALUES (1);
       CREATE TABLE gone (a int); INSERT INTO gone VALUES (1); ANALYZE gone; ALTER EXTENSION hstore ADD TABLE gone; TRUNCATE gone;
       CREATE TABLE empty (a int); ALTER EXTENSION hstore ADD TABLE empty`,
    ],
    ['rows of an extension: public.later', 'rows of an extension: public.own'],
  ],
  [
    'rights on what comes with another object',
    [
      `CREATE TABLE t (a int); CREATE TABLE u (a int); CREATE TYPE span AS RANGE (subtype = int4, multirange_type_name = spans);
       CREATE TYPE pair AS (a int); CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'; REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA public FROM PUBLIC;
       GRANT EXECUTE ON FUNCTION span(int, int) TO PUBLIC; GRANT USAGE ON TYPE t, span, pair${major < 17 ? ', spans' : ''} TO pg_monitor; GRANT SELECT ON u TO pg_monitor`,
    ],
    [
      'rights of a dependent object: public.span(integer,integer,text)',
      // PostgreSQL 17 refuses them.
      ...(major < 17 ? ['rights of a dependent object: public.spans'] : []),
      'rights of a dependent object: public.spans()',
      'rights of a dependent object: public.spans(public.span)',
      'rights of a dependent object: public.spans(public.span[])',
      'rights of a dependent object: public.t',
    ],
  ],
  [
    'objects in the schemas of the system',
    [
      `CREATE FUNCTION pg_catalog.round(float8, int) RETURNS numeric LANGUAGE sql AS 'SELECT 1.0'; CREATE TYPE pg_catalog.mood AS ENUM ('glad');
       CREATE TYPE information_schema.span AS RANGE (subtype = int4); CREATE VIEW information_schema.mine AS SELECT 1 AS a;
       CREATE AGGREGATE pg_catalog.total(int) (SFUNC = int4_sum, STYPE = int8); CREATE OPERATOR pg_catalog.=== (FUNCTION = int4eq, LEFTARG = int, RIGHTARG = int);
       CREATE COLLATION pg_catalog.mine (provider = icu, locale = 'de'); CREATE TEXT SEARCH CONFIGURATION pg_catalog.mine (PARSER = "default");
       CREATE OPERATOR CLASS pg_catalog.mine FOR TYPE int4 USING btree AS FUNCTION 1 btint4cmp(int4, int4);
       CREATE EXTENSION hstore SCHEMA pg_catalog; CREATE SCHEMA "pg catalog"; CREATE TABLE "pg catalog".t (a serial PRIMARY KEY)`,
      'CREATE TEMP TABLE passing (a int)',
    ],
    [
      'aggregate pg_catalog.total(integer)',
      'collation pg_catalog.mine',
      'function pg_catalog.round(double precision,integer)',
      'operator class pg_catalog.mine USING btree',
      'operator family pg_catalog.mine USING btree',
      'operator pg_catalog.===(integer,integer)',
      'text search configuration pg_catalog.mine',
      'type information_schema.span',
      'type pg_catalog.mood',
      'view information_schema.mine',
    ].map((object) => `object in a schema of the system: ${object}`),
  ],
  [
    'row security on tables of an extension',
    [
      `CREATE EXTENSION hstore; CREATE TABLE one (a int); CREATE TABLE two (a int); CREATE TABLE three (a int); CREATE TABLE mine (a int);
       ALTER EXTENSION hstore ADD TABLE one; ALTER EXTENSION hstore ADD TABLE two; ALTER EXTENSION hstore ADD TABLE three;
       ALTER TABLE three ENABLE ROW LEVEL SECURITY; CREATE POLICY of_script ON three`,
      `ALTER TABLE one ENABLE ROW LEVEL SECURITY; CREATE POLICY "read all" ON one FOR SELECT USING (true);
       ALTER TABLE two FORCE ROW LEVEL SECURITY; ALTER TABLE mine ENABLE ROW LEVEL SECURITY; CREATE POLICY kept ON mine; GRANT SELECT ON three TO PUBLIC`,
    ],
    [
      'row security of an extension: public.one',
      'row security of an extension: public.one "read all"',
      'row security of an extension: public.two',
    ],
  ],
]

describe('the coverage statement', () => {
  it.each(cases)('%s', async (title, statements, expected) => {
    const database = title.replaceAll(/\W/g, '_').slice(0, 40)
    await query(server.url(), `CREATE DATABASE ${database}`)
    for (const statement of statements) {
      const done = query(server.url(database), statement)
      // The index that is to be invalid: its creation fails.
      await (statement.includes('CONCURRENTLY') ? expect(done).rejects.toThrow('could not create unique index') : done)
    }
    expect(await leftOut(database)).toEqual(expected)
    expect(await leftOut('postgres')).toEqual([])
    // What would keep the server from being stopped, or its databases from being dropped.
    if (title.includes('prepared')) await query(server.url(database), "ROLLBACK PREPARED 'half done'")
    if (title.includes('slot')) await query(server.url(database), "SELECT pg_drop_replication_slot('feed')")
  })
  it('a table of an extension that somebody has locked - not waited for, and in it', async () => {
    await query(server.url(), 'CREATE DATABASE locked')
    const url = server.url('locked')
    await query(
      url,
      'CREATE EXTENSION hstore; CREATE TABLE empty (a int); CREATE TABLE busy (a int); ALTER EXTENSION hstore ADD TABLE empty; ALTER EXTENSION hstore ADD TABLE busy',
    )
    expect(await leftOut('locked')).toEqual([])
    await using held = await connect(parseConnectionUrl('main', url), signal)
    await held.client.query('BEGIN; LOCK TABLE public.busy')
    expect(await leftOut('locked')).toEqual(['rows of an extension: public.busy'])
    await held.client.query("PREPARE TRANSACTION 'locking'")
    expect(await leftOut('locked')).toEqual(['prepared transaction: locking', 'rows of an extension: public.busy'])
    await held.client.query("ROLLBACK PREPARED 'locking'")
  })

  it('row security that the script of an extension makes - not in it; what somebody added - in it', async () => {
    // The only database that may have pg_cron.
    await query(server.url(), 'CREATE EXTENSION pg_cron; GRANT SELECT ON cron.job TO pg_monitor')
    expect(await leftOut('postgres')).toEqual([])
    await query(
      server.url(),
      'CREATE POLICY others ON cron.job; ALTER POLICY cron_job_policy ON cron.job TO pg_monitor',
    )
    expect(await leftOut('postgres')).toEqual(['row security of an extension: cron.job others'])
    await query(server.url(), 'DROP EXTENSION pg_cron')
  })
})
