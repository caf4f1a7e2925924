import { randomBytes } from 'node:crypto'
import { chmodSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Client, connect } from '../../src/postgres/connect.ts'
import { readDatabaseProperties } from '../../src/postgres/facts.ts'
import { type FoundProgram, findProgram } from '../../src/postgres/programs.ts'
import { replayDatabaseSettings, restoreDatabaseSettings } from '../../src/postgres/replay-database-settings.ts'
import { createScratchDatabase, dropScratchDatabase } from '../../src/postgres/scratch-database.ts'
import { holdSnapshot } from '../../src/postgres/snapshot.ts'
import { quoteIdentifier } from '../../src/postgres/tables.ts'
import { objectQueries } from '../../src/structure/objects.ts'
import { testUrl } from '../support/installation.ts'
import { query } from '../support/postgres-server.ts'
import { connectionTo, dumpTo, errorOf, signal } from './sandbox.ts'
import { major } from './spool-root.ts'

const app = quoteIdentifier('pgproof_settings "app"\n; DROP')
const other = 'pgproof_settings_other'

let program: FoundProgram
let folder: string
beforeAll(async () => {
  program = await findProgram('pg_restore', major, [], signal)
  folder = mkdtempSync(join(tmpdir(), 'pgproof-test-settings-'))
  await query(testUrl(), `CREATE ROLE ${app}`)
  await query(testUrl(), `CREATE ROLE ${other} SUPERUSER`)
})
afterAll(async () => {
  await query(testUrl(), `DROP ROLE IF EXISTS ${app}`)
  await query(testUrl(), `DROP ROLE IF EXISTS ${other}`)
  rmSync(folder, { recursive: true })
})

/** A database with settings, its dump, and an empty scratch database: all gone with the scope. */
type Stage = AsyncDisposable & { file: string; sourceDatabase: string; scratchDatabase: string; admin: Client }

async function openStage(name: string, setUp: string, options = ''): Promise<Stage> {
  const quoted = quoteIdentifier(name)
  const file = join(folder, `dump-${randomBytes(4).toString('hex')}`)
  const scratchDatabase = `pgproof_scratch_"${randomBytes(4).toString('hex')}`
  const admin = await connect(connectionTo('postgres'), signal)
  const dispose = async (): Promise<void> => {
    await dropScratchDatabase(connectionTo('postgres'), scratchDatabase, signal)
    await query(testUrl(), `DROP DATABASE IF EXISTS ${quoted} WITH (FORCE)`)
    await admin[Symbol.asyncDispose]()
    rmSync(file, { force: true })
  }
  try {
    await query(testUrl(), `CREATE DATABASE ${quoted} TEMPLATE template0 ${options}`)
    await query(testUrl(), setUp.replaceAll('{database}', quoted))
    const connection = connectionTo(name)
    await using snapshot = await holdSnapshot(connection, { lockTimeoutMs: 5_000 }, signal)
    await dumpTo(file, connection, snapshot.id)
    await using held = await connect(connection, signal)
    const properties = await readDatabaseProperties(held.client, major)
    await createScratchDatabase(connectionTo('postgres'), scratchDatabase, properties, signal)
    return { file, sourceDatabase: name, scratchDatabase, admin: admin.client, [Symbol.asyncDispose]: dispose }
  } catch (error) {
    await dispose()
    throw error
  }
}

/** What structure compares of a database itself. */
async function settingsOf(database: string): Promise<unknown[]> {
  await using held = await connect(connectionTo(database), signal)
  const found: unknown[] = []
  for (const { kind, sql } of objectQueries(major)) {
    if (kind !== 'database' && kind !== 'database setting') continue
    const { rows } = await held.client.query<{ name: string; facets: Record<string, string> }>(`${sql} ORDER BY 1`)
    for (const { name, facets } of rows) {
      const { comment: _, ...compared } = facets
      found.push({ kind, name, ...compared })
    }
  }
  return found
}

const commentOf = async (admin: Client, database: string): Promise<unknown> =>
  (
    await admin.query<{ comment: string }>(
      "SELECT shobj_description(oid, 'pg_database') AS comment FROM pg_database WHERE datname = $1",
      [database],
    )
  ).rows[0]?.comment

const everything = `
  ALTER DATABASE {database} OWNER TO ${other}; ALTER DATABASE {database} CONNECTION LIMIT 7; COMMENT ON DATABASE {database} IS 'the shop; it''s ours';
  ALTER DATABASE {database} SET work_mem = '8MB'; ALTER DATABASE {database} SET search_path = "$user", 'a b', "C,d", "q""q", public; ALTER DATABASE {database} SET "DateStyle" = 'ISO, DMY';
  ALTER DATABASE {database} SET my.key = E'x''; DROP ROLE postgres; --\\n\\\\! touch /tmp/x\\n=y'; ALTER DATABASE {database} SET my.empty = ''; ALTER DATABASE {database} SET search_path = '';
  ALTER DATABASE {database} SET search_path = "$user", 'a b', "C,d", public; ALTER DATABASE {database} SET random_page_cost = 1.1; ALTER DATABASE {database} SET enable_seqscan = off;
  ALTER ROLE ${app} IN DATABASE {database} SET application_name = E'new\\nline; \\\\ "'; ALTER ROLE ${other} IN DATABASE {database} SET statement_timeout = '1min';
  REVOKE CONNECT ON DATABASE {database} FROM PUBLIC; GRANT CREATE, CONNECT ON DATABASE {database} TO ${app} WITH GRANT OPTION; GRANT TEMPORARY ON DATABASE {database} TO ${app};
  SET SESSION AUTHORIZATION ${app}; GRANT CONNECT ON DATABASE {database} TO pg_monitor`

describe('replaying what hangs on the database', () => {
  it.each([
    'pgproof_settings_shop',
    'pgproof_settings "q" \'s\' = .;\\x',
    'pgproof_settings new\nline\r"x',
    'host=evil dbname=postgres',
    'pgproof_settings IS \'x\'; DROP ROLE "pgproof_settings_other"; --',
    'pgproof_settings é ☕',
    'user',
  ])('a database called %j with all of it - the same there, and still marked', async (name) => {
    await using stage = await openStage(name, everything)
    const before = await settingsOf(name)
    expect(before).toHaveLength(1 + 9)
    const { applied } = await replayDatabaseSettings({ ...stage, program }, signal)
    expect(applied).toBeGreaterThan(12)
    expect(await settingsOf(stage.scratchDatabase)).toEqual(before)
    expect(await commentOf(stage.admin, stage.scratchDatabase)).toBe('pgproof scratch database')
    expect(await commentOf(stage.admin, name)).toBe("the shop; it's ours")
    expect(await settingsOf(name)).toEqual(before)
    expect(readdirSync(folder)).toEqual([stage.file.slice(folder.length + 1)])
    expect((await stage.admin.query('SELECT session_user::text AS u')).rows).toEqual([{ u: 'postgres' }])
  })

  it('nothing hangs on it - nothing is run, no file is left', async () => {
    await using stage = await openStage('pgproof_settings_plain', 'SELECT 1')
    expect(await restoreDatabaseSettings(connectionTo('postgres'), { ...stage, program }, signal)).toEqual({
      applied: 0,
      refused: [],
    })
    expect(await settingsOf(stage.scratchDatabase)).toEqual(await settingsOf('pgproof_settings_plain'))
    expect(readdirSync(folder)).toHaveLength(1)
  })

  it('a template - the scratch database is none, and can be dropped', async () => {
    await using stage = await openStage('pgproof_settings_template', 'ALTER DATABASE {database} IS_TEMPLATE true')
    await query(testUrl(), 'ALTER DATABASE pgproof_settings_template IS_TEMPLATE false')
    expect(await replayDatabaseSettings({ ...stage, program }, signal)).toEqual({ applied: 0, refused: [] })
    const { rows } = await stage.admin.query('SELECT datistemplate FROM pg_database WHERE datname = $1', [
      stage.scratchDatabase,
    ])
    expect(rows).toEqual([{ datistemplate: false }])
  })

  it('a dump in LATIN1 - the letters of names and values are the same', async () => {
    await query(testUrl(), 'CREATE ROLE "pgproof_settings_é"')
    try {
      const options = "ENCODING 'LATIN1' LOCALE 'C'"
      const setUp = `ALTER DATABASE {database} SET my.motto = 'déjà vu'; GRANT CREATE ON DATABASE {database} TO "pgproof_settings_é"`
      await using stage = await openStage('pgproof_settings_latin', setUp, options)
      // What the shared catalog holds is in no database's encoding: read both from one database.
      const settings = async (database: string): Promise<unknown> =>
        (
          await stage.admin.query(
            'SELECT setconfig, datacl::text FROM pg_database d LEFT JOIN pg_db_role_setting s ON setdatabase = d.oid WHERE datname = $1',
            [database],
          )
        ).rows
      expect(await replayDatabaseSettings({ ...stage, program }, signal)).toMatchObject({ applied: 2 })
      expect(await settings(stage.scratchDatabase)).toEqual(await settings('pgproof_settings_latin'))
      expect(JSON.stringify(await settings(stage.scratchDatabase))).toMatch(/déjà vu.*pgproof_settings_é/)
    } finally {
      await query(testUrl(), 'DROP DATABASE IF EXISTS pgproof_settings_latin WITH (FORCE)')
      await query(testUrl(), 'DROP ROLE "pgproof_settings_é"')
    }
  })

  it('a role that is not there - ROLES_MISSING', async () => {
    await query(testUrl(), 'CREATE ROLE pgproof_settings_gone')
    await using stage = await openStage(
      'pgproof_settings_roles',
      'GRANT CREATE ON DATABASE {database} TO pgproof_settings_gone',
    )
    await query(testUrl(), 'DROP OWNED BY pgproof_settings_gone')
    await query(testUrl(), 'DROP ROLE pgproof_settings_gone')
    const error = await errorOf(replayDatabaseSettings({ ...stage, program }, signal))
    expect(error).toMatchObject({ code: 'ROLES_MISSING', message: expect.stringContaining('pgproof_settings_gone') })
  })

  it('a login that may not - SCRATCH_FAILED: it is not the backup that lacks', async () => {
    await using stage = await openStage('pgproof_settings_humble', "ALTER DATABASE {database} SET work_mem = '8MB'")
    await query(testUrl(), "CREATE ROLE pgproof_settings_login LOGIN PASSWORD 'x'")
    try {
      const connection = connectionTo('postgres', { user: 'pgproof_settings_login', password: () => 'x' })
      const error = await errorOf(restoreDatabaseSettings(connection, { ...stage, program }, signal))
      expect(error).toMatchObject({ code: 'SCRATCH_FAILED' })
    } finally {
      await query(testUrl(), 'DROP ROLE pgproof_settings_login')
    }
  })

  it('no archive - RESTORE_FAILED; aborted - the reason, and no file is left', async () => {
    await using stage = await openStage('pgproof_settings_abort', "ALTER DATABASE {database} SET work_mem = '8MB'")
    const controller = new AbortController()
    controller.abort(new Error('stop'))
    expect(await errorOf(replayDatabaseSettings({ ...stage, program }, controller.signal))).toMatchObject({
      message: 'stop',
    })
    writeFileSync(stage.file, 'no archive')
    expect(await errorOf(replayDatabaseSettings({ ...stage, program }, signal))).toMatchObject({
      code: 'RESTORE_FAILED',
    })
    expect(readdirSync(folder)).toHaveLength(1)
  })
})

/** Stands in for pg_restore: its list has one entry, its script is what a tampered archive would give. */
function forgedProgram(script: string | Buffer): FoundProgram {
  const path = join(folder, 'forged-pg_restore')
  const list = '10; 0 0 DATABASE PROPERTIES - shop postgres'
  writeFileSync(path, `#!/bin/sh\ncase "$2" in --list) echo '${list}' ;; *) cat "$0.sql" ;; esac\n`)
  writeFileSync(`${path}.sql`, script)
  chmodSync(path, 0o755)
  return { ...program, path }
}

describe('a script that somebody tampered with - RESTORE_FAILED, and nothing of it happens', () => {
  let stage: Stage
  beforeAll(async () => {
    stage = await openStage('shop', 'SELECT 1')
  })
  afterAll(async () => {
    await stage[Symbol.asyncDispose]()
    for (const name of readdirSync(folder)) rmSync(join(folder, name))
  })

  it.each([
    'DROP DATABASE postgres',
    'DROP ROLE pgproof_settings_other',
    'CREATE ROLE smuggled SUPERUSER',
    'ALTER SYSTEM SET work_mem = 64',
    "ALTER DATABASE postgres SET work_mem TO '1MB'",
    'ALTER DATABASE "shop2" SET work_mem TO \'1MB\'',
    'ALTER DATABASE shop RENAME TO smuggled',
    'ALTER DATABASE shop RESET ALL',
    'ALTER DATABASE shop SET work_mem TO DEFAULT',
    "ALTER DATABASE shop SET work_mem TO '1MB'; CREATE ROLE smuggled",
    "ALTER DATABASE shop SET x.y TO $$'$$; CREATE ROLE smuggled; --'",
    "ALTER DATABASE shop SET x.y TO 'a' /* ' */ ; CREATE ROLE smuggled; --'",
    "ALTER DATABASE shop SET x.y TO U&'a' UESCAPE '!'",
    "ALTER ROLE pgproof_settings_other SET work_mem TO '1MB'",
    "ALTER ROLE pgproof_settings_other IN DATABASE postgres SET work_mem TO '1MB'",
    "ALTER ROLE ALL IN DATABASE shop SET work_mem TO '1MB'",
    "ALTER ROLE all IN DATABASE shop SET work_mem TO '1MB'",
    "ALTER ROLE current_user IN DATABASE shop SET work_mem TO '1MB'",
    'ALTER ROLE pgproof_settings_other WITH NOLOGIN',
    'GRANT ALL ON DATABASE postgres TO PUBLIC',
    'GRANT ALL ON DATABASE shop, postgres TO PUBLIC',
    'GRANT ALL ON DATABASE shop TO public',
    'GRANT ALL ON DATABASE shop TO pgproof_settings_other, pg_monitor',
    'GRANT pg_execute_server_program TO pgproof_settings_other',
    'GRANT ALL ON SCHEMA public TO PUBLIC',
    'REVOKE ALL ON DATABASE postgres FROM PUBLIC',
    'SET ROLE pgproof_settings_other',
    'SET SESSION AUTHORIZATION DEFAULT',
    'SET SESSION AUTHORIZATION default',
    "COMMENT ON DATABASE postgres IS 'x'",
    "COMMENT ON ROLE pgproof_settings_other IS 'x'",
    "SECURITY LABEL FOR x ON ROLE pgproof_settings_other IS 'y'",
    "SELECT pg_catalog.set_config('log_statement', 'all', false)",
    "COPY (SELECT 1) TO PROGRAM 'touch /tmp/x'",
    'DO $$ BEGIN CREATE ROLE smuggled; END $$',
    'CREATE DATABASE smuggled WITH TEMPLATE = template0',
    'alter database shop connection limit = 1',
  ])('%s', async (statement) => {
    const before = await settingsOf('shop')
    const forged = forgedProgram(
      `SET statement_timeout = 0;\n${statement};\nALTER DATABASE shop CONNECTION LIMIT = 3;\n`,
    )
    const error = await errorOf(replayDatabaseSettings({ ...stage, program: forged }, signal))
    expect(error).toMatchObject({ code: 'RESTORE_FAILED', details: expect.any(String) })
    expect(await settingsOf('shop')).toEqual(before)
    const { rows } = await stage.admin.query(
      `SELECT (SELECT count(*)::int FROM pg_roles WHERE rolname IN ('smuggled', 'pgproof_settings_other')) AS roles, session_user::text AS u, current_setting('role') AS role,
              (SELECT datconnlimit FROM pg_database WHERE datname = $1) AS connections, (SELECT count(*)::int FROM pg_database WHERE datname IN ('postgres', 'smuggled')) AS databases`,
      [stage.scratchDatabase],
    )
    expect(rows).toEqual([{ roles: 1, u: 'postgres', role: 'none', connections: -1, databases: 1 }])
  })

  it('the comment and the name of the database - left out, the mark stays', async () => {
    const script =
      "COMMENT ON DATABASE shop IS 'not marked';\nALTER DATABASE shop OWNER TO pgproof_settings_other;\nALTER DATABASE shop IS_TEMPLATE = true;\n"
    expect(await replayDatabaseSettings({ ...stage, program: forgedProgram(script) }, signal)).toEqual({
      applied: 0,
      refused: [],
    })
    expect(await commentOf(stage.admin, stage.scratchDatabase)).toBe('pgproof scratch database')
  })

  it('refused while acting as somebody else - the session is itself again', async () => {
    const script = 'SET SESSION AUTHORIZATION pgproof_settings_other;\nDROP ROLE postgres;\n'
    const error = await errorOf(replayDatabaseSettings({ ...stage, program: forgedProgram(script) }, signal))
    const message = 'pg_restore failed (a setting of the database could not be brought back)'
    expect(error).toMatchObject({
      code: 'RESTORE_FAILED',
      message,
      details: expect.stringMatching(/\nDROP ROLE postgres$/),
    })
    expect((await stage.admin.query('SELECT session_user::text AS u')).rows).toEqual([{ u: 'postgres' }])
  })

  it('values that the server cannot have - refused by name, without the value, and the others applied', async () => {
    const script =
      "ALTER DATABASE shop SET work_mem TO 'sesame';\nALTER DATABASE shop SET \"lc_monetary\" TO 'xx_XX';\nALTER DATABASE shop SET enable_sort TO 'off';\n"
    const replayed = await replayDatabaseSettings({ ...stage, program: forgedProgram(script) }, signal)
    expect(replayed).toEqual({
      applied: 1,
      refused: [
        { name: 'work_mem', reason: 'invalid value for parameter "work_mem"' },
        { name: '"lc_monetary"', reason: 'invalid value for parameter "lc_monetary"' },
      ],
    })
  })

  it('a security label whose provider is not loaded - LIBRARY_NOT_LOADED: the scratch server lacks it', async () => {
    const script = "SECURITY LABEL FOR selinux ON DATABASE shop IS 'x';\n"
    const error = await errorOf(replayDatabaseSettings({ ...stage, program: forgedProgram(script) }, signal))
    expect(error).toMatchObject({ code: 'LIBRARY_NOT_LOADED', message: expect.stringContaining('selinux') })
  })

  it('a limit that PostgreSQL does not take - RESTORE_FAILED with its words and the statement', async () => {
    const script = 'ALTER DATABASE shop CONNECTION LIMIT = -5;\n'
    expect(await errorOf(replayDatabaseSettings({ ...stage, program: forgedProgram(script) }, signal))).toMatchObject({
      code: 'RESTORE_FAILED',
      details: expect.stringMatching(/^invalid connection limit: -5\nALTER DATABASE shop CONNECTION LIMIT = -5$/),
    })
  })
})

describe('what a restore asks for', () => {
  let stage: Stage
  beforeAll(async () => {
    stage = await openStage('pgproof_settings_wish', 'SELECT 1')
  })
  afterAll(() => stage[Symbol.asyncDispose]())
  const from = (script: string, wish: { privileges?: boolean; isTolerant?: boolean }) =>
    replayDatabaseSettings({ ...stage, ...wish, sourceDatabase: 'shop', program: forgedProgram(script) }, signal)

  it('no rights - settings alone are brought back', async () => {
    const script = "GRANT CREATE ON DATABASE shop TO PUBLIC;\nALTER DATABASE shop SET work_mem TO '7MB';\n"
    expect(await from(script, { privileges: false })).toEqual({ applied: 1, refused: [] })
    const found = 'SELECT datacl FROM pg_database WHERE datname = $1'
    expect((await stage.admin.query(found, [stage.scratchDatabase])).rows).toEqual([{ datacl: null }])
  })

  it('what is possible - a right of a role that is not there is refused with its name, the rest applied', async () => {
    const script =
      "GRANT CREATE ON DATABASE shop TO nobody_of_that_name;\nALTER ROLE nobody_of_that_name IN DATABASE shop SET work_mem TO '7MB';\nALTER DATABASE shop SET enable_sort TO 'off';\n"
    const reason = 'role "nobody_of_that_name" does not exist'
    expect(await from(script, { isTolerant: true })).toEqual({
      applied: 1,
      refused: [
        { name: 'rights on the database', reason },
        { name: 'work_mem FOR nobody_of_that_name', reason },
      ],
    })
  })
})

describe('a script that is not UTF-8', () => {
  let stage: Stage
  beforeAll(async () => {
    stage = await openStage('pgproof_settings_bytes', 'SELECT 1')
  })
  afterAll(() => stage[Symbol.asyncDispose]())
  const from = (script: Buffer) =>
    replayDatabaseSettings({ ...stage, sourceDatabase: 'shop', program: forgedProgram(script) }, signal)
  const motto = (encoding: string, bytes: readonly number[]): Buffer =>
    Buffer.concat([
      Buffer.from(`SET client_encoding = '${encoding}';\nALTER DATABASE shop SET "my.motto" TO '`),
      Buffer.from(bytes),
      Buffer.from("';\n"),
    ])

  it('made from within a database in LATIN1 - read as that', async () => {
    expect(await from(motto('LATIN1', [0x64, 0xe9, 0x6a, 0xe0]))).toEqual({ applied: 1, refused: [] })
    const set =
      'SELECT setconfig FROM pg_db_role_setting s JOIN pg_database d ON d.oid = setdatabase WHERE datname = $1'
    expect((await stage.admin.query(set, [stage.scratchDatabase])).rows).toEqual([{ setconfig: ['my.motto=déjà'] }])
  })

  it('nor in the encoding that it names - RESTORE_FAILED says which', async () => {
    expect(await errorOf(from(motto('EUC_JP', [0xff, 0x27])))).toMatchObject({
      code: 'RESTORE_FAILED',
      message: expect.stringContaining('the settings of the database are not in EUC_JP'),
      details: expect.stringContaining('invalid byte sequence'),
    })
  })
})
