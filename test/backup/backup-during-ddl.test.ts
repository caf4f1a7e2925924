import { chmodSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { decodeEvidence, type Evidence } from '../../src/domain/evidence.ts'
import { decryptBytes } from '../../src/encryption/decrypt.ts'
import { readPrivateKeys } from '../../src/encryption/keys.ts'
import { type TestInstallation, testDatabase, testInstallation } from '../support/installation.ts'
import { query, serverBinDir } from '../support/postgres-server.ts'
import { standIn } from '../support/stand-ins.ts'

let database: Awaited<ReturnType<typeof testDatabase>>
beforeEach(async () => {
  database = await testDatabase('template1')
  await query(
    database.url,
    `CREATE TABLE t (a int); INSERT INTO t VALUES (1); CREATE VIEW v AS SELECT a FROM t; CREATE VIEW w AS SELECT 1 AS one;
     CREATE MATERIALIZED VIEW m AS SELECT a FROM t; CREATE FUNCTION d0() RETURNS int LANGUAGE sql AS 'SELECT 0';
     CREATE FUNCTION d1(a int DEFAULT d0()) RETURNS int LANGUAGE sql AS 'SELECT a'; CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'`,
  )
})
const folders: string[] = []
afterEach(async () => {
  await database[Symbol.asyncDispose]()
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true })
})

async function evidenceOf(test: TestInstallation, label: string): Promise<Evidence> {
  const key = `backups/main/${database.name}/${label}/evidence.json.pgp`
  const keys = await readPrivateKeys([join(test.folder, 'backup.key.asc')], undefined, new Date())
  return decodeEvidence(await decryptBytes(test.store.objects.get(key)?.body ?? Buffer.alloc(0), keys, key), key)
}

/** An installation whose pg_dump runs a script beside the real one; `$PSQL` is psql in the database. */
async function dumpingBeside(script: string): Promise<TestInstallation> {
  const folder = mkdtempSync(join(tmpdir(), 'pgproof-test-bin-'))
  // The embedded server runs as another user.
  chmodSync(folder, 0o711)
  folders.push(folder)
  const bin = standIn(
    folder,
    'pg_dump',
    `PSQL="${join(serverBinDir(), 'psql')} -qXAt -v ON_ERROR_STOP=1 -d ${database.url}"\n${script}`,
  )
  return await testInstallation({ PGPROOF_POSTGRES__BIN_DIRS: bin })
}

describe('DDL while the dump runs', () => {
  it('functions are dropped before the second reading - the backup counts, what changed is not compared, its drill passes', async () => {
    await using test = await dumpingBeside(
      '"$REAL" "$@" || exit 1\n$PSQL -c "DROP FUNCTION d1(int), d0(); CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql AS \'SELECT 2\'" >&2 || exit 1',
    )
    const { label } = await test.run('backup', database.name)
    const evidence = await evidenceOf(test, label ?? '')
    expect(evidence.omissions.map(({ kind, object }) => `${kind}: ${object}`)).toContain(
      'changed during the dump: function public.d1(integer)',
    )
    expect(evidence.structure.find(({ name }) => name === 'public.d1(integer)')?.facets).toMatchObject({
      owner: 'postgres',
    })
    await test.run('roles')
    const { drill } = await test.run('drill', database.name)
    expect(drill).toMatchObject({ error: null, report: { verdict: 'passed' } })
  })

  it('a migration drops a view and alters a table while pg_dump has them - it waits, and neither of the two fails', async () => {
    await using folder = await testInstallation()
    const said = join(folder.folder, 'migration')
    // As soon as pg_dump lets go of the view the migration has it, and waits for the table, which the snapshot has.
    await using test = await dumpingBeside(
      `"$REAL" "$@" || exit 1
       ($PSQL -c "BEGIN; DROP VIEW v; ALTER TABLE t ADD b int; CREATE VIEW v AS SELECT b FROM t; COMMIT" >${said} 2>&1; echo "exit $?" >>${said}) </dev/null >/dev/null 2>&1 &
       until [ "$($PSQL -c "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and query like 'BEGIN; DROP VIEW%' and datname = current_database()")" = 1 ]; do :; done`,
    )
    const { backup, label } = await test.run('backup', database.name)
    expect(backup).toBeDefined()
    await expect.poll(() => readFileSync(said, 'utf8'), { timeout: 10_000 }).toBe('exit 0\n')
    const { omissions } = await evidenceOf(test, label ?? '')
    expect(omissions.map(({ kind, object }) => `${kind}: ${object}`)).toContain(
      'changed during the dump: view public.v',
    )
    await test.run('roles')
    expect((await test.run('drill', database.name)).drill?.report.verdict).toBe('passed')
  })

  it('somebody refreshes a materialized view for longer than lockTimeout - the backup waits for it', async () => {
    const session = new pg.Client({ connectionString: database.url })
    await session.connect()
    await session.query('BEGIN; REFRESH MATERIALIZED VIEW m')
    await using test = await testInstallation({ PGPROOF_SERVERS__0__LOCK_TIMEOUT: '1s' })
    const backup = test.run('backup', database.name)
    const waits = `SELECT count(*)::int AS n FROM pg_stat_activity WHERE datname = '${database.name}'
                    AND application_name = 'pgproof snapshot' AND xact_start < now() - interval '2 seconds'`
    await expect.poll(async () => (await query(database.url, waits))[0]?.['n'], { timeout: 15_000 }).toBe(1)
    await session.query('COMMIT')
    await session.end()
    expect((await backup).backup).toBeDefined()
  })

  it.each([
    ['refreshes a view', 'REFRESH MATERIALIZED VIEW m'],
    ['drops a sequence', 'DROP SEQUENCE s'],
  ])(
    'who %s then waits for a table that the backup has - the backup gives way, the other goes on',
    async (_, change) => {
      await query(database.url, 'CREATE SEQUENCE s')
      const session = new pg.Client({ connectionString: database.url })
      await session.connect()
      try {
        await session.query(`BEGIN; ${change}`)
        await using test = await testInstallation()
        const failure = test.run('backup', database.name).catch((error: unknown) => error)
        const waits = `SELECT count(*)::int AS n FROM pg_stat_activity WHERE datname = '${database.name}'
                      AND application_name = 'pgproof snapshot' AND query LIKE '%pg_sleep%'`
        await expect.poll(async () => (await query(database.url, waits))[0]?.['n'], { timeout: 15_000 }).toBe(1)
        await session.query('TRUNCATE t')
        expect(await failure).toMatchObject({
          code: 'SNAPSHOT_FAILED',
          message: expect.stringMatching(
            /changing a view or a sequence, and the session with process id \d+ waits for a table/,
          ),
        })
        expect(test.store.keys()).toEqual([])
        await session.query('COMMIT')
      } finally {
        await session.end()
      }
    },
  )

  it('a type is renamed that a function takes - the function has either name after a restore, and its drill passes', async () => {
    await query(
      database.url,
      "CREATE TYPE pair AS (a int); CREATE FUNCTION first(pair) RETURNS int LANGUAGE sql AS 'SELECT $1.a'",
    )
    await using test = await dumpingBeside(
      '"$REAL" "$@" || exit 1\n$PSQL -c "ALTER TYPE pair RENAME TO couple" >&2 || exit 1',
    )
    const { label } = await test.run('backup', database.name)
    const { omissions } = await evidenceOf(test, label ?? '')
    const changed = omissions.map(({ object }) => object).filter((object) => object.includes('first('))
    expect(changed.toSorted()).toEqual(['function public.first(public.couple)', 'function public.first(public.pair)'])
    await test.run('roles')
    const { drill } = await test.run('drill', database.name)
    expect(drill).toMatchObject({ error: null, report: { verdict: 'passed' } })
  })

  it('somebody never ends the refresh - the deadline ends the backup, nothing left', async () => {
    const session = new pg.Client({ connectionString: database.url })
    await session.connect()
    try {
      await session.query('BEGIN; REFRESH MATERIALIZED VIEW m')
      await using test = await testInstallation({ PGPROOF_SERVERS__0__BACKUP_DEADLINE: '3s' })
      const failure = await test.run('backup', database.name).catch((error: unknown) => error)
      expect(failure).toMatchObject({ code: 'DEADLINE_EXCEEDED' })
      expect(test.store.keys()).toEqual([])
      const left = `SELECT FROM pg_stat_activity WHERE datname = '${database.name}' AND application_name LIKE 'pgproof%'`
      await expect.poll(() => query(database.url, left), { timeout: 10_000 }).toEqual([])
    } finally {
      await session.end()
    }
  })
})
