import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import type { PgproofError } from '../../src/errors.ts'
import { checkIndexes } from '../../src/postgres/amcheck.ts'
import { parseConnectionUrl } from '../../src/postgres/connect.ts'
import { query, startPostgres, type TestServer, unprivileged } from '../support/postgres-server.ts'
import { codeOf, errorOf, openSandbox, signal } from './sandbox.ts'

const sql = `CREATE TABLE t (a text, b text); INSERT INTO t SELECT 'key-' || lpad(g::text, 5, '0'), repeat('x', 5000) FROM generate_series(1, 2000) g;
  CREATE INDEX i ON t (a); CREATE TABLE u (a int PRIMARY KEY); INSERT INTO u VALUES (1)`

describe('a sound database', () => {
  it('every heap with its TOAST and every B-tree checked, nothing left behind, whatever event triggers say', async () => {
    await using sandbox = await openSandbox(`${sql}; CREATE INDEX g ON t USING hash (a);
      CREATE FUNCTION forbid() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no DDL'; END $$`)
    await sandbox.sql('CREATE EVENT TRIGGER z ON ddl_command_start EXECUTE FUNCTION forbid()')
    await sandbox.sql('ALTER EVENT TRIGGER z ENABLE ALWAYS')
    const { tables, indexes } = await checkIndexes(sandbox.connection, 'label', signal)
    expect(tables).toBeGreaterThan(3)
    expect(indexes).toBeGreaterThan(3)
    const left = `SELECT (SELECT count(*) FROM pg_extension WHERE extname = 'amcheck')::int AS extensions,
      (SELECT evtenabled FROM pg_event_trigger) AS trigger, (SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'pgproof%')::int AS schemas`
    expect(await sandbox.sql(left)).toEqual([{ extensions: 0, trigger: 'A', schemas: 0 }])
  })

  it('amcheck already in the database, in a schema of its own - used as it is', async () => {
    await using sandbox = await openSandbox('CREATE SCHEMA "a.b"; CREATE EXTENSION amcheck SCHEMA "a.b"')
    await checkIndexes(sandbox.connection, 'label', signal)
    expect(await sandbox.sql("SELECT FROM pg_extension WHERE extname = 'amcheck'")).toHaveLength(1)
  })

  it('on a server without amcheck - EXTENSION_MISSING with its package, and the database is as it was', async () => {
    await using sandbox = await openSandbox(`SET allow_system_table_mods = on;
      ALTER VIEW pg_catalog.pg_available_extensions RENAME TO pgproof_all_extensions;
      CREATE VIEW pg_catalog.pg_available_extensions AS SELECT * FROM pg_catalog.pgproof_all_extensions WHERE name <> 'amcheck'`)
    expect(await errorOf(checkIndexes(sandbox.connection, 'label', signal))).toMatchObject({
      code: 'EXTENSION_MISSING',
      message: expect.stringContaining('amcheck'),
      hint: expect.stringContaining('postgresql-contrib'),
    })
    expect(await sandbox.sql("SELECT FROM pg_namespace WHERE nspname LIKE 'pgproof%'")).toEqual([])
  })

  it('an index whose function refuses - says nothing about its pages: QUERY_FAILED', async () => {
    await using sandbox =
      await openSandbox(`CREATE FUNCTION f(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN 1; END $$;
      CREATE TABLE t (a int); INSERT INTO t VALUES (1); CREATE INDEX ON t (f(a))`)
    await sandbox.sql(
      "CREATE OR REPLACE FUNCTION f(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RAISE EXCEPTION 'no'; END $$",
    )
    expect(await codeOf(checkIndexes(sandbox.connection, 'label', signal))).toBe('QUERY_FAILED')
  })
})

describe('pages overwritten on disk while the server is down', () => {
  let server: TestServer | undefined
  afterEach(async () => {
    if (server !== undefined) {
      await control(server, 'stop', '-m', 'immediate').catch(() => {})
      await server.stop()
    }
    server = undefined
  })

  it.each([
    [
      'a key of an index changed',
      'i',
      (page: Buffer) => page.write('zzz', page.indexOf('key-01000')),
      'index public.i',
    ],
    ['a line pointer of a table turned', 't', (page: Buffer) => page.writeUInt16LE(0xfff1, 24), 'table public.t'],
  ])('%s - VERIFY_FAILED, named in the details alone', async (_, relation, damage, named) => {
    server = await startPostgres()
    await query(server.url(), sql)
    const [row] = await query(server.url(), `CHECKPOINT; SELECT pg_relation_filepath('${relation}') AS path`)
    await control(server, 'stop', '-m', 'fast')
    const file = join(server.folder, 'data', String(row?.['path']))
    const content = readFileSync(file)
    damage(content)
    writeFileSync(file, content)
    await control(server, 'start', '-l', join(server.folder, 'log'))
    const connection = parseConnectionUrl('scratch', server.url())
    const error = (await errorOf(checkIndexes(connection, 'label', signal))) as PgproofError
    expect(error.code).toBe('VERIFY_FAILED')
    expect(error.message).toMatch(/ failed at "amcheck": \d+ findings?$/)
    expect(error.details).toContain(named)
  })
})

async function control(server: TestServer, ...args: string[]): Promise<void> {
  const options = { stdio: 'ignore' as const, cwd: '/', ...unprivileged() }
  execFileSync(join(server.binDir, 'pg_ctl'), ['-D', join(server.folder, 'data'), '-w', ...args], options)
}
