import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, copyFileSync, rmSync, writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Evidence } from '../../src/domain/evidence.ts'
import { parseConnectionUrl } from '../../src/postgres/connect.ts'
import { readDatabaseProperties } from '../../src/postgres/facts.ts'
import { type FoundProgram, findProgram, majorOf } from '../../src/postgres/programs.ts'
import { restoreDump } from '../../src/postgres/restore-dump.ts'
import { allowedRefreshErrors } from '../../src/postgres/restore-errors.ts'
import { createScratchDatabase } from '../../src/postgres/scratch-database.ts'
import { restoreIntoNew } from '../../src/restore/restore-into-new.ts'
import { readStructure } from '../../src/structure/read-structure.ts'
import { testUrl } from '../support/installation.ts'
import { query, serverBinDir, startPostgres, type TestServer } from '../support/postgres-server.ts'
import { connectionTo, errorOf, openSandbox, type Sandbox, signal } from './sandbox.ts'

let folder: string
let program: FoundProgram
let preloading: TestServer
const role = `refresher_${Math.random().toString(36).slice(2)}`

beforeAll(async () => {
  const [row] = await query(testUrl(), "SELECT current_setting('server_version_num')::int / 10000 AS major")
  program = await findProgram('pg_restore', Number(row?.['major']), [], signal)
  await query(testUrl(), `CREATE ROLE ${role}`)
  preloading = await startPostgres(
    "shared_preload_libraries = 'pg_cron,pg_stat_statements'\ncron.database_name = 'postgres'\ncron.use_background_workers = on",
  )
})
afterAll(async () => {
  await preloading.stop()
  await query(testUrl(), `DROP ROLE ${role}`)
})
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pgproof-test-restore-'))
  chmodSync(folder, 0o755)
})
afterEach(async () => {
  await rm(folder, { recursive: true })
})

function dump(url: string, args: readonly string[] = []): string {
  const file = join(folder, 'dump')
  execFileSync(join(serverBinDir(), 'pg_dump'), ['-Fc', '-f', file, ...args, '-d', url])
  return file
}

/** An archive of a database that is gone afterwards. */
async function archiveOf(setUp: readonly string[], args: readonly string[] = []): Promise<string> {
  await using source = await openSandbox()
  for (const sql of setUp) await source.sql(sql.replaceAll(':source', source.database))
  return dump(testUrl(source.database), args)
}

async function restore(file: string, into: Sandbox, jobs = 2): Promise<readonly string[]> {
  return (await restoreDump({ connection: into.connection, program, file, jobs }, signal)).notes
}

const port = (): string => new URL(testUrl()).port
const fdw = (): string[] => [
  'CREATE EXTENSION postgres_fdw; CREATE TABLE t AS SELECT 1 AS v',
  `CREATE SERVER away FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1', port '${port()}', dbname ':source')`,
  `CREATE USER MAPPING FOR postgres SERVER away OPTIONS (user 'postgres');
   CREATE FOREIGN TABLE far (v int) SERVER away OPTIONS (table_name 't'); CREATE MATERIALIZED VIEW mv AS SELECT * FROM far`,
]

/** A function that fails only elsewhere than in the database it was made in. */
const elsewhere = (message: string): string =>
  `CREATE FUNCTION public.here() RETURNS int LANGUAGE plpgsql AS $$ BEGIN
     IF current_database() <> ':source' THEN RAISE '%', ${message}; END IF; RETURN 1; END $$`

/** An archive and what its evidence would say, of a database that is gone afterwards. */
async function evidencedArchive(
  setUp: readonly string[],
  omissions: Evidence['omissions'] = [],
): Promise<{ readonly file: string; readonly evidence: Evidence }> {
  await using source = await openSandbox()
  for (const sql of setUp) await source.sql(sql.replaceAll(':source', source.database))
  const changed = (kind: string, name: string): boolean => omissions.some((one) => one.object === `${kind} ${name}`)
  const structure = await readStructure(source.client, majorOf(program.version))
  const evidence = {
    properties: await readDatabaseProperties(source.client, majorOf(program.version)),
    extensions: [],
    omissions,
    structure: structure.filter(({ kind, name }) => !changed(kind, name)),
  } as unknown as Evidence
  return { file: dump(testUrl(source.database)), evidence }
}

describe('refreshes of a database that reaches other servers', () => {
  const refused = (name: string, why = 'it calls functions'): string =>
    `left out: REFRESH MATERIALIZED VIEW public.${name}; ${why}, and this database reaches other servers`
  const loopback = "'host=127.0.0.1 port=:port user=postgres dbname=:source'"
  const views = [
    `CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE FUNCTION same(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1';
     CREATE FUNCTION more(int, int) RETURNS boolean LANGUAGE sql AS 'SELECT $1 > $2'; CREATE OPERATOR >>> (LEFTARG = int, RIGHTARG = int, FUNCTION = more);
     CREATE FUNCTION fits(int) RETURNS boolean LANGUAGE sql AS 'SELECT true'; CREATE DOMAIN fitting AS int CHECK (public.fits(VALUE));
     CREATE TABLE t AS SELECT 1 AS v; CREATE TABLE hidden AS SELECT 1 AS v; ALTER TABLE hidden ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON hidden USING (f() = 1)`,
    'CREATE VIEW calls AS SELECT f() AS v FROM t',
    `CREATE MATERIALIZED VIEW by_call AS SELECT f() AS v; CREATE MATERIALIZED VIEW by_domain AS SELECT v::fitting AS v FROM t;
     CREATE MATERIALIZED VIEW by_index AS SELECT v FROM t; CREATE INDEX ON by_index (same(v)); CREATE MATERIALIZED VIEW by_operator AS SELECT v >>> 0 AS v FROM t;
     CREATE MATERIALIZED VIEW by_other AS SELECT * FROM by_call; CREATE MATERIALIZED VIEW by_policy AS SELECT * FROM hidden;
     CREATE MATERIALIZED VIEW by_text AS SELECT query_to_xml('SELECT 1', true, false, '')::text AS v; CREATE MATERIALIZED VIEW by_view AS SELECT * FROM calls`,
    'CREATE MATERIALIZED VIEW plain AS SELECT max(v) AS v, upper(string_agg(v::text, NULL)) AS s FROM t WHERE v > 0 AND v + 1 = 2',
  ]
  const names = ['by_call', 'by_domain', 'by_index', 'by_operator', 'by_other', 'by_policy', 'by_text', 'by_view']

  it.each([
    ['an extension, dblink', 'CREATE EXTENSION dblink'],
    ['a foreign data wrapper', 'CREATE FOREIGN DATA WRAPPER away'],
    ['a foreign server', 'CREATE EXTENSION file_fdw; CREATE SERVER away FOREIGN DATA WRAPPER file_fdw'],
  ])('by %s - what calls a function stays empty, with a note; the rest is refreshed', async (_, way) => {
    const { file, evidence } = await evidencedArchive([way, ...views])
    await using copy = await openSandbox()
    const { notes } = await restoreDump({ connection: copy.connection, program, file, jobs: 2, evidence }, signal)
    expect([...notes].sort()).toEqual(names.map((name) => refused(name)))
    expect(await copy.sql("SELECT relname FROM pg_class WHERE relkind = 'm' AND relispopulated")).toEqual([
      { relname: 'plain' },
    ])
  })

  it('none of them, functions all the same - everything refreshed, no notes', async () => {
    const { file, evidence } = await evidencedArchive(views)
    await using copy = await openSandbox()
    const { notes } = await restoreDump({ connection: copy.connection, program, file, jobs: 2, evidence }, signal)
    expect(notes).toEqual([])
    expect(await copy.sql("SELECT FROM pg_class WHERE relkind = 'm' AND NOT relispopulated")).toEqual([])
  })

  it('dblink in a view and in a function, the other server within reach - never asked', async () => {
    await using away = await openSandbox('CREATE SEQUENCE asked')
    const ask = `dblink(${loopback.replace(':port', port()).replace(':source', away.database)}, 'SELECT nextval(''asked'')') AS d(v int)`
    const { file, evidence } = await evidencedArchive([
      `CREATE EXTENSION dblink; CREATE MATERIALIZED VIEW direct AS SELECT * FROM public.${ask} WITH NO DATA;
       CREATE FUNCTION ask() RETURNS int LANGUAGE sql AS $$ SELECT v FROM public.${ask} $$; CREATE MATERIALIZED VIEW hidden AS SELECT ask() AS v WITH NO DATA`,
      // Populated, without having asked.
      "UPDATE pg_class SET relispopulated = true WHERE relkind = 'm'",
    ])
    await using copy = await openSandbox()
    const { notes } = await restoreDump({ connection: copy.connection, program, file, jobs: 1, evidence }, signal)
    expect(notes).toEqual([refused('direct'), refused('hidden')])
    expect(await away.sql('SELECT is_called FROM asked')).toEqual([{ is_called: false }])
  })

  it('a view that changed while the dump ran - stays empty, since nobody knows what it calls', async () => {
    const { file, evidence } = await evidencedArchive(
      ['CREATE EXTENSION dblink; CREATE TABLE t AS SELECT 1 AS v; CREATE MATERIALIZED VIEW mv AS SELECT * FROM t'],
      [{ kind: 'changed during the dump', object: 'materialized view public.mv', reason: 'x' }],
    )
    await using copy = await openSandbox()
    const { notes } = await restoreDump({ connection: copy.connection, program, file, jobs: 1, evidence }, signal)
    expect(notes).toEqual([refused('mv', 'it changed during the dump')])
  })
})

describe('refreshes that read another server', () => {
  it.each<[string, () => string[], RegExp]>([
    ['postgres_fdw, the other server out of reach', fdw, /could not connect to server "away"/],
    [
      'dblink, the other server out of reach',
      () => [
        'CREATE EXTENSION dblink',
        `CREATE MATERIALIZED VIEW mv AS SELECT * FROM dblink('host=127.0.0.1 port=${port()} user=postgres dbname=:source', 'SELECT 1') AS d(v int)`,
      ],
      /could not establish connection/,
    ],
    [
      'no login on the other server',
      () => [...fdw(), 'DROP USER MAPPING FOR postgres SERVER away'],
      /user mapping not found for "?postgres/,
    ],
    [
      'a login without its password',
      () => [
        ...fdw(),
        `GRANT USAGE ON FOREIGN SERVER away TO ${role}; GRANT SELECT ON far TO ${role}; GRANT ALL ON SCHEMA public TO ${role};
         CREATE USER MAPPING FOR ${role} SERVER away OPTIONS (user 'postgres'); ALTER MATERIALIZED VIEW mv OWNER TO ${role}`,
      ],
      /password (is|or GSSAPI delegated credentials) required/,
    ],
  ])('%s - everything else restored, and a note', async (_, setUp, said) => {
    const file = await archiveOf([...setUp(), 'CREATE TABLE kept AS SELECT 7 AS v'])
    await using copy = await openSandbox()
    const notes = await restore(file, copy)
    expect(notes).toEqual([expect.stringMatching(said)])
    expect(notes[0]).toContain('REFRESH MATERIALIZED VIEW public.mv;')
    expect(await copy.sql('SELECT v FROM kept')).toEqual([{ v: 7 }])
    expect(await copy.sql("SELECT relispopulated AS p FROM pg_class WHERE relname = 'mv'")).toEqual([{ p: false }])
  })

  it('and one that reads such a view - two notes; the others are refreshed', async () => {
    const file = await archiveOf([
      ...fdw(),
      'CREATE MATERIALIZED VIEW mv2 AS SELECT * FROM mv; CREATE MATERIALIZED VIEW near AS SELECT * FROM t',
    ])
    await using serial = await openSandbox()
    expect(await restore(file, serial, 1)).toHaveLength(2)
    await using copy = await openSandbox()
    const notes = await restore(file, copy)
    expect(notes).toHaveLength(2)
    expect(notes[1]).toContain('materialized view "mv" has not been populated')
    expect(await copy.sql('SELECT v FROM near')).toEqual([{ v: 1 }])
  })

  it('two that fail at the same time, their messages mixed up - two notes, as one job tells them', async () => {
    const file = await archiveOf([...fdw(), 'CREATE MATERIALIZED VIEW mv2 AS SELECT v + 1 AS v FROM far'])
    const mixing = join(folder, 'mixing_pg_restore')
    writeFileSync(
      mixing,
      `#!/bin/bash
${program.path} "$@" 2> ${folder}/said
ended=$?
case "$*" in
  *.refreshes*--jobs=2*) sed 's/^pg_restore: error: /pg_restore: pg_restore:error: /' ${folder}/said ;;
  *) cat ${folder}/said ;;
esac >&2
exit $ended
`,
      { mode: 0o755 },
    )
    await using copy = await openSandbox()
    const mixed = { ...program, path: mixing }
    const { notes } = await restoreDump({ connection: copy.connection, program: mixed, file, jobs: 2 }, signal)
    expect(notes).toEqual(
      ['mv', 'mv2'].map((name) => expect.stringContaining(`REFRESH MATERIALIZED VIEW public.${name};`)),
    )
  })

  it('every entry of the list says why, and stands at the beginning of a line', () => {
    for (const { pattern, why } of allowedRefreshErrors)
      expect([pattern.source[0], why.length > 20]).toEqual(['^', true])
  })
})

describe('refreshes that fail', () => {
  const mv = 'CREATE MATERIALIZED VIEW mv AS SELECT public.here() AS v'

  it('for a reason of its own - RESTORE_FAILED, though another only reads far away', async () => {
    const file = await archiveOf([...fdw(), elsewhere("'never'"), mv.replace('mv', 'mv2')])
    await using copy = await openSandbox()
    const error = await errorOf(restore(file, copy))
    expect(error).toMatchObject({ code: 'RESTORE_FAILED', details: expect.stringContaining('never') })
    expect(error).toMatchObject({ details: expect.not.stringContaining('away') })
  })

  it.each([
    ['is not populated, without a cause', `'materialized view "x" has not been populated'`],
    ['names a connection in the middle', `'so could not connect to server "x"'`],
    ['brings an error of its own making', `E'could not establish connection\\npg_restore: error: x'`],
    [
      'pretends to be two',
      `E'could not establish connection\\npg_restore: error: could not execute query: ERROR:  could not establish connection'`,
    ],
  ])('with a message that %s - RESTORE_FAILED', async (_, message) => {
    const file = await archiveOf([elsewhere(message), mv])
    for (const jobs of [1, 2]) {
      await using copy = await openSandbox()
      expect(await errorOf(restore(file, copy, jobs))).toMatchObject({ code: 'RESTORE_FAILED' })
    }
  })

  it('with a row in its details that looks like another message - RESTORE_FAILED', async () => {
    const file = await archiveOf([
      `CREATE FUNCTION f() RETURNS SETOF text LANGUAGE sql AS $$ SELECT E'x\\npg_restore: error: could not execute query: ERROR:  role "bob" does not exist'
         FROM generate_series(1, CASE WHEN current_database() = ':source' THEN 1 ELSE 2 END) $$`,
      'CREATE MATERIALIZED VIEW mv AS SELECT f() AS v; CREATE UNIQUE INDEX ON mv (v)',
    ])
    await using copy = await openSandbox()
    const details = expect.stringContaining('could not create unique index')
    expect(await errorOf(restore(file, copy))).toMatchObject({ code: 'RESTORE_FAILED', details })
  })

  it('with a detail in words that are allowed as a message - RESTORE_FAILED', async () => {
    const file = await archiveOf([elsewhere(`'x' USING DETAIL = E'\\ncould not establish connection'`), mv])
    await using copy = await openSandbox()
    expect(await errorOf(restore(file, copy))).toMatchObject({ code: 'RESTORE_FAILED' })
  })

  it('a parameter of the application - RESTORE_FAILED', async () => {
    const file = await archiveOf([
      "SET app.tenant = 'one'; CREATE MATERIALIZED VIEW mv AS SELECT current_setting('app.tenant') AS v",
    ])
    await using copy = await openSandbox()
    expect(await errorOf(restore(file, copy))).toMatchObject({
      code: 'RESTORE_FAILED',
      details: expect.stringContaining('unrecognized configuration parameter "app.tenant"'),
    })
  })

  it('what a function would say is no message of the server - RESTORE_FAILED', async () => {
    const file = await archiveOf([
      `CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$ BEGIN RAISE 'ERROR:  role "x" does not exist'; END $$`,
    ])
    await using copy = await openSandbox('CREATE FUNCTION f() RETURNS void LANGUAGE sql AS $$$$')
    expect(await errorOf(restore(file, copy))).toMatchObject({ code: 'RESTORE_FAILED' })
  })
})

describe('rows that a restore refuses', () => {
  const words = [
    'write failed: No space left on device',
    'No space left on device',
    'role "bob" does not exist',
    'ERROR:  role "bob" does not exist',
    'ERROR:  deadlock detected',
    'server closed the connection unexpectedly',
    'ERROR:  canceling statement due to statement timeout',
    'extension "bob" is not available',
    'x\nserver closed the connection unexpectedly',
    'x\npg_restore: error: could not execute query: ERROR:  role "bob" does not exist',
  ]
  const quoted = (text: string): string => `E'${text.replaceAll('\n', '\\n')}'`

  it.each(words)('a row with the words %j, in the details - RESTORE_FAILED', async (text) => {
    // The constraint holds in the database it was made in only. DETAIL has the row, CONTEXT the line of it.
    const file = await archiveOf([
      `CREATE TABLE t (k int, v text); INSERT INTO t VALUES (1, ${quoted(text)});
       CREATE FUNCTION ok(int) RETURNS boolean LANGUAGE sql AS 'SELECT current_database() = '':source''';
       ALTER TABLE t ADD CHECK (ok(k))`,
    ])
    for (const jobs of [1, 2]) {
      await using copy = await openSandbox()
      expect(await errorOf(restore(file, copy, jobs))).toMatchObject({
        code: 'RESTORE_FAILED',
        details: expect.stringContaining('violates check constraint'),
      })
    }
  })

  it.each(words)('a value %j in the message itself - RESTORE_FAILED', async (text) => {
    const file = await archiveOf([`CREATE TABLE t (v text); INSERT INTO t VALUES (${quoted(text)})`], ['--data-only'])
    await using copy = await openSandbox('CREATE TABLE t (v int)')
    expect(await errorOf(restore(file, copy, 1))).toMatchObject({
      code: 'RESTORE_FAILED',
      details: expect.stringContaining('invalid input syntax for type integer'),
    })
  })
})

describe('what the scratch server lacks', () => {
  async function fromPreloading(
    database: string,
    setUp: string,
    into?: TestServer,
  ): Promise<{ code: string; message: string }> {
    if (database !== 'postgres') await query(preloading.url(), `CREATE DATABASE ${database}`)
    await query(preloading.url(database), setUp)
    const file = dump(preloading.url(database))
    if (into !== undefined) {
      await query(into.url(), 'CREATE DATABASE target')
      const connection = parseConnectionUrl('preloading', into.url('target'))
      return (await errorOf(restoreDump({ connection, program, file, jobs: 1 }, signal))) as never
    }
    await using copy = await openSandbox()
    return (await errorOf(restore(file, copy))) as never
  }

  it('pg_cron - LIBRARY_NOT_LOADED that names it; loaded but for another database - SCRATCH_FAILED', async () => {
    const create = 'CREATE EXTENSION IF NOT EXISTS pg_cron'
    const error = await fromPreloading('postgres', create)
    expect(error).toMatchObject({ code: 'LIBRARY_NOT_LOADED', message: expect.stringContaining('load pg_cron when') })
    expect(await fromPreloading('postgres', create, preloading)).toMatchObject({
      code: 'SCRATCH_FAILED',
      message: expect.stringContaining('one database only'),
    })
  })

  it.each([
    ['a_view', 'CREATE MATERIALIZED VIEW mv AS SELECT count(*) FROM pg_stat_statements'],
    ['a_parameter', "CREATE MATERIALIZED VIEW mv AS SELECT current_setting('pg_stat_statements.max') AS v"],
  ])('pg_stat_statements, needed by %s that is refreshed - LIBRARY_NOT_LOADED', async (database, sql) => {
    const error = await fromPreloading(database, `CREATE EXTENSION pg_stat_statements; ${sql}`)
    const message = expect.stringContaining('must load pg_stat_statements when it starts')
    expect(error).toMatchObject({ code: 'LIBRARY_NOT_LOADED', message })
  })

  it('the provider of a security label - LIBRARY_NOT_LOADED', async () => {
    const file = await archiveOf([
      'CREATE TABLE t (v int)',
      "SET allow_system_table_mods = on; INSERT INTO pg_seclabel VALUES ('t'::regclass, 'pg_class'::regclass, 0, 'mac', 'secret')",
    ])
    await using copy = await openSandbox()
    const message = expect.stringContaining('security label provider "mac"')
    expect(await errorOf(restore(file, copy))).toMatchObject({ code: 'LIBRARY_NOT_LOADED', message })
  })

  it.each([
    ['not there', () => {}],
    ['not a library', (library: string) => writeFileSync(library, 'no ELF')],
  ])('the library of a function: %s - EXTENSION_MISSING', async (_, harm) => {
    const library = join(folder, 'sounds.so')
    const libraries = execFileSync(join(serverBinDir(), 'pg_config'), ['--pkglibdir']).toString().trim()
    copyFileSync(join(libraries, 'fuzzystrmatch.so'), library)
    const file = await archiveOf([
      `CREATE FUNCTION sounds(text) RETURNS text LANGUAGE c IMMUTABLE STRICT AS '${library}', 'soundex'`,
      "CREATE MATERIALIZED VIEW mv AS SELECT public.sounds('Anne') AS v",
    ])
    rmSync(library)
    harm(library)
    await using copy = await openSandbox()
    const message = 'the server that is restored into lacks the extension sounds'
    expect(await errorOf(restore(file, copy))).toMatchObject({ code: 'EXTENSION_MISSING', message })
  })

  it('an access method or a language of an extension - EXTENSION_MISSING', async () => {
    const index = await archiveOf(
      ['CREATE EXTENSION bloom; CREATE TABLE t (v int); CREATE INDEX ON t USING bloom (v)'],
      ['-t', 't'],
    )
    await using copy = await openSandbox()
    const message = 'the server that is restored into lacks the extension bloom'
    expect(await errorOf(restore(index, copy))).toMatchObject({ code: 'EXTENSION_MISSING', message })

    const language = await archiveOf(['CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$ BEGIN END $$'])
    await using bare = await openSandbox('DROP EXTENSION plpgsql')
    expect(await errorOf(restore(language, bare))).toMatchObject({ code: 'EXTENSION_MISSING' })
  })

  it('a lock that a refresh waits for longer than it may - SCRATCH_FAILED', async () => {
    const file = await archiveOf([
      `CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql SET lock_timeout = '100ms' AS
         $$ BEGIN PERFORM pg_advisory_xact_lock(42); RETURN 1; END $$`,
      'CREATE MATERIALIZED VIEW mv AS SELECT public.f() AS v',
    ])
    await using copy = await openSandbox('SELECT pg_advisory_lock(42)')
    const message = expect.stringContaining('lock_timeout')
    expect(await errorOf(restore(file, copy))).toMatchObject({ code: 'SCRATCH_FAILED', message })
  })

  it('a statement that takes longer than it may - SCRATCH_FAILED', async () => {
    const file = await archiveOf([
      `CREATE FUNCTION hurry(int) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS
         $$ BEGIN PERFORM set_config('statement_timeout', '200ms', false); RETURN true; END $$;
       CREATE FUNCTION dawdle(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS
         $$ BEGIN IF current_database() <> ':source' THEN PERFORM pg_sleep(10); END IF; RETURN 1; END $$`,
      'CREATE TABLE t (v int CHECK (hurry(v))); INSERT INTO t VALUES (1); SET statement_timeout = 0; CREATE TABLE u (v int CHECK (dawdle(v) = 1)); INSERT INTO u VALUES (1)',
    ])
    await using copy = await openSandbox()
    const message = expect.stringContaining('statement_timeout')
    expect(await errorOf(restore(file, copy, 1))).toMatchObject({ code: 'SCRATCH_FAILED', message })
  })

  it.each([
    ['its connection', 'PERFORM pg_terminate_backend(pg_backend_pid())', 'SCRATCH_FAILED', 'connection was lost'],
    ['disk', "COPY (SELECT generate_series(1, 100000)) TO '/dev/full'", 'SPOOL_FULL', 'no space left'],
  ])('%s, while rows come in - inconclusive', async (_, statement, code, said) => {
    const file = await archiveOf([
      `CREATE FUNCTION here(int) RETURNS boolean LANGUAGE plpgsql AS
         $$ BEGIN IF current_database() <> ':source' THEN ${statement}; END IF; RETURN true; END $$;
       CREATE TABLE t (v int CHECK (here(v))); INSERT INTO t VALUES (1)`,
    ])
    for (const jobs of [1, 2]) {
      await using copy = await openSandbox()
      const error = await errorOf(restore(file, copy, jobs))
      expect(error).toMatchObject({ code, message: expect.stringContaining(said) })
    }
  })

  // As on a host that lacks what the source's has: nothing here may depend on what this machine was given.
  const system = (sql: string): string => `SET allow_system_table_mods = on; ${sql}`
  it.each([
    [
      'a locale of the system, for a column',
      'CREATE TABLE t (v text COLLATE "C.utf8")',
      system(`DELETE FROM pg_catalog.pg_collation WHERE collname = 'C.utf8'`),
      { code: 'LOCALE_MISSING', message: expect.stringContaining('lacks the locale C.utf8') },
    ],
    [
      'a locale of the system, for a collation',
      system(`CREATE COLLATION c (provider = libc, locale = 'C');
        UPDATE pg_catalog.pg_collation SET collcollate = 'xx_XX.utf8', collctype = 'xx_XX.utf8' WHERE collname = 'c'`),
      '',
      { code: 'LOCALE_MISSING', message: expect.stringContaining('lacks the locale xx_XX.utf8') },
    ],
    [
      'a file of text search',
      system(`CREATE TEXT SEARCH DICTIONARY d (TEMPLATE = simple, STOPWORDS = english);
        UPDATE pg_catalog.pg_ts_dict SET dictinitoption = 'stopwords = ''elsewhere''' WHERE dictname = 'd'`),
      '',
      { code: 'SCRATCH_FAILED', message: expect.stringMatching(/needs its file .*elsewhere\.stop/) },
    ],
  ])('%s that this host lacks - inconclusive, named', async (_, setUp, there, expected) => {
    const file = await archiveOf([setUp])
    await using copy = await openSandbox(there)
    expect(await errorOf(restore(file, copy))).toMatchObject(expected)
  })

  it('a disk that takes half a page - SPOOL_FULL', async () => {
    const file = await archiveOf(['CREATE TABLE t (v int)'])
    const full = join(folder, 'full_pg_restore')
    const said =
      'pg_restore: error: could not execute query: ERROR:  could not extend file "base/5/7": wrote only 4096 of 8192 bytes at block 9\nHINT:  Check free disk space.'
    writeFileSync(full, `#!/bin/bash\nprintf '%b\\n' '${said}' >&2; exit 1\n`, { mode: 0o755 })
    await using copy = await openSandbox()
    const short = { ...program, path: full }
    const error = await errorOf(restoreDump({ connection: copy.connection, program: short, file, jobs: 1 }, signal))
    expect(error).toMatchObject({ code: 'SPOOL_FULL' })
  })

  it('nobody there - SCRATCH_FAILED', async () => {
    const file = await archiveOf(['CREATE TABLE t (v int)'])
    const connection = parseConnectionUrl('nobody', 'postgres://postgres@127.0.0.1:1/postgres')
    const error = await errorOf(restoreDump({ connection, program, file, jobs: 1 }, signal))
    expect(error).toMatchObject({ code: 'SCRATCH_FAILED', message: expect.stringContaining('could not connect') })
  })
})

describe('stages', () => {
  it('a trigger on a partitioned table that rewrites rows - parallel jobs restore the rows as they were', async () => {
    const file = await archiveOf([
      `CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.v := NEW.v || '!'; RETURN NEW; END $$;
       CREATE TABLE p (k int, v text) PARTITION BY RANGE (k)`,
      ...Array.from(
        { length: 8 },
        (_, n) => `CREATE TABLE p${n} PARTITION OF p FOR VALUES FROM (${n * 1000}) TO (${n * 1000 + 1000})`,
      ),
      `INSERT INTO p SELECT g, 'row ' || g FROM generate_series(0, 7999) g;
       CREATE TRIGGER shouts BEFORE INSERT ON p FOR EACH ROW EXECUTE FUNCTION shout()`,
    ])
    await using copy = await openSandbox()
    await restore(file, copy, 4)
    expect(
      await copy.sql("SELECT count(*)::int AS rows, count(*) FILTER (WHERE v LIKE '%!')::int AS changed FROM p"),
    ).toEqual([{ rows: 8000, changed: 0 }])
  })
})

describe('event triggers', () => {
  it('one that logs what it sees, and a view that is refreshed - the log as it was, and the trigger is there', async () => {
    const file = await archiveOf([
      `CREATE TABLE ddl_log (at int GENERATED ALWAYS AS IDENTITY, tag text); CREATE TABLE t AS SELECT 1 AS v;
       CREATE FUNCTION log_ddl() RETURNS event_trigger LANGUAGE plpgsql AS
         $$ BEGIN INSERT INTO public.ddl_log (tag) VALUES (tg_tag); END $$;
       CREATE EVENT TRIGGER "EVENT TRIGGER ; logs" ON ddl_command_end EXECUTE FUNCTION log_ddl();
       ALTER EVENT TRIGGER "EVENT TRIGGER ; logs" ENABLE ALWAYS; COMMENT ON EVENT TRIGGER "EVENT TRIGGER ; logs" IS 'logs'`,
      'CREATE MATERIALIZED VIEW mv AS SELECT * FROM t; CREATE INDEX ON mv (v)',
    ])
    for (const jobs of [1, 4]) {
      await using copy = await openSandbox()
      expect(await restore(file, copy, jobs)).toEqual([])
      expect(await copy.sql('SELECT tag FROM ddl_log ORDER BY at')).toEqual([
        { tag: 'CREATE MATERIALIZED VIEW' },
        { tag: 'CREATE INDEX' },
      ])
      expect(await copy.sql('SELECT v FROM mv')).toEqual([{ v: 1 }])
      expect(
        await copy.sql("SELECT evtenabled AS e, obj_description(oid, 'pg_event_trigger') AS c FROM pg_event_trigger"),
      ).toEqual([{ e: 'A', c: 'logs' }])
    }
  })

  it('one that cannot be made - RESTORE_FAILED', async () => {
    const file = await archiveOf([
      'CREATE FUNCTION f() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN END $$; CREATE EVENT TRIGGER e ON sql_drop EXECUTE FUNCTION f()',
    ])
    await using copy = await openSandbox()
    await copy.sql(
      'CREATE SCHEMA s; CREATE FUNCTION s.f() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN END $$; CREATE EVENT TRIGGER e ON sql_drop EXECUTE FUNCTION s.f()',
    )
    const details = expect.stringContaining('event trigger "e" already exists')
    expect(await errorOf(restore(file, copy))).toMatchObject({ code: 'RESTORE_FAILED', details })
  })
})

describe('parallel jobs that fail', () => {
  const creating = (name: string, evidence: Evidence) => () =>
    createScratchDatabase(connectionTo('postgres'), name, evidence.properties, signal)

  it('a trigger that is disabled on one partition, where the dump does not say what comes first - no jobs for it, nothing repeated', async () => {
    // Jobs begin with what belongs to the largest tables: the partition, then one that keeps the other job busy.
    const { file, evidence } = await evidencedArchive([
      `CREATE FUNCTION slow(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1 FROM pg_sleep(0.01)';
       CREATE TABLE other AS SELECT g AS v FROM generate_series(0, 99) g; CREATE INDEX ON other (slow(v));
       CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
       CREATE TABLE p (k int) PARTITION BY RANGE (k); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (1000) PARTITION BY RANGE (k);
       CREATE TABLE p11 PARTITION OF p1 FOR VALUES FROM (0) TO (1000); INSERT INTO p SELECT g FROM generate_series(0, 999) g;
       CREATE TRIGGER trp AFTER INSERT ON p FOR EACH ROW EXECUTE FUNCTION f(); ALTER TABLE p11 DISABLE TRIGGER trp`,
    ])
    const name = `pgproof_scratch_test_${Math.random().toString(36).slice(2)}`
    await using restored = await restoreIntoNew(
      { create: creating(name, evidence), evidence, program, file, jobs: 2 },
      signal,
    )
    expect(restored.notes).toEqual([])
    const enabled = 'SELECT tgenabled AS e FROM pg_trigger ORDER BY tgrelid::regclass::text'
    expect(await query(testUrl(name), enabled)).toEqual([{ e: 'O' }, { e: 'O' }, { e: 'D' }])
  })

  it('and one job fails as well - RESTORE_FAILED, nothing left', async () => {
    const { file, evidence } = await evidencedArchive([
      `${elsewhere("'never'")}; CREATE MATERIALIZED VIEW mv AS SELECT public.here() AS v`,
    ])
    const name = `pgproof_scratch_test_${Math.random().toString(36).slice(2)}`
    const restoring = restoreIntoNew({ create: creating(name, evidence), evidence, program, file, jobs: 2 }, signal)
    expect(await errorOf(restoring)).toMatchObject({
      code: 'RESTORE_FAILED',
      details: expect.stringContaining('never'),
    })
    expect(await query(testUrl(), 'SELECT FROM pg_database WHERE datname = $1', [name])).toEqual([])
  })
})

describe('warnings', () => {
  it('of a restore that succeeds - notes, the first hundred', async () => {
    const file = await archiveOf(['CREATE TABLE t (v int); CREATE INDEX ON t (v)'])
    const path = join(folder, 'pg_restore')
    const warn = '[ "$1" = --list ] || for i in $(seq 150); do echo "pg_restore: warning: look $i" >&2; done'
    writeFileSync(path, `#!/bin/sh\n${warn}\nexec "${program.path}" "$@"\n`, { mode: 0o755 })
    await using copy = await openSandbox()
    const request = { connection: copy.connection, program: { ...program, path }, file, jobs: 2 }
    const { notes } = await restoreDump(request, signal)
    expect(notes).toHaveLength(101)
    expect(notes[0]).toBe('pg_restore: warning: look 1')
    // It runs twice: for the rows, then for the index.
    expect(notes.at(-1)).toBe('pg_restore: 200 more messages')
  })

  it('none, and no materialized view - no notes', async () => {
    await using copy = await openSandbox()
    expect(await restore(await archiveOf(['CREATE TABLE t (v int)']), copy)).toEqual([])
  })
})

describe('what a restore leaves out, or brings back', () => {
  async function restoreWith(file: string, into: Sandbox, choice: Partial<Parameters<typeof restoreDump>[0]>) {
    const request = { connection: into.connection, program, file, jobs: 2 }
    return await restoreDump({ ...request, ...choice }, signal)
  }
  /** A database with a subscription cannot be dropped, and a subscription with a slot would ask its publisher. */
  async function unsubscribe(database: Sandbox): Promise<void> {
    await database.sql('ALTER SUBSCRIPTION s SET (slot_name = NONE)')
    await database.sql('DROP SUBSCRIPTION s')
  }
  const rights = `SELECT c.relowner::regrole::text AS owner, c.relacl IS NOT NULL AS granted, n.nspowner::regrole::text AS "of schema"
     FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relname = 't'`

  it.each([
    ['neither named', {}, { owner: role, granted: true, 'of schema': role }],
    ['owners left out', { owners: false }, { owner: 'postgres', granted: true, 'of schema': 'postgres' }],
    ['grants left out', { privileges: false }, { owner: role, granted: false, 'of schema': role }],
    [
      'both left out',
      { owners: false, privileges: false },
      { owner: 'postgres', granted: false, 'of schema': 'postgres' },
    ],
  ])('%s - owners and grants as asked for, all else is there', async (_, choice, expected) => {
    const file = await archiveOf([
      `CREATE SCHEMA s; CREATE TABLE s.t AS SELECT 7 AS v; GRANT SELECT ON s.t TO pg_monitor;
       ALTER SCHEMA s OWNER TO ${role}; ALTER TABLE s.t OWNER TO ${role};
       CREATE MATERIALIZED VIEW s.mv AS SELECT v FROM s.t; ALTER MATERIALIZED VIEW s.mv OWNER TO ${role}`,
    ])
    await using copy = await openSandbox()
    await restoreWith(file, copy, choice)
    expect(await copy.sql(rights)).toEqual([expected])
    expect(await copy.sql('SELECT t.v, mv.v AS seen FROM s.t, s.mv')).toEqual([{ v: 7, seen: 7 }])
  })

  it('a role that this server lacks - ROLES_MISSING, but no obstacle where owners and grants are left out', async () => {
    const gone = `${role}_gone`
    await query(testUrl(), `CREATE ROLE ${gone}`)
    const file = await archiveOf([
      `CREATE TABLE t AS SELECT 7 AS v; GRANT SELECT ON t TO ${gone}; ALTER TABLE t OWNER TO ${gone};
       ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO ${gone}`,
    ])
    await query(testUrl(), `DROP ROLE ${gone}`)
    await using copy = await openSandbox()
    expect(await errorOf(restoreWith(file, copy, {}))).toMatchObject({ code: 'ROLES_MISSING' })
    await using other = await openSandbox()
    await restoreWith(file, other, { owners: false, privileges: false })
    expect(await other.sql('SELECT v FROM t')).toEqual([{ v: 7 }])
  })

  it('publications and subscriptions - left out unless asked for; then there, disabled, the publisher never asked', async () => {
    let asked = 0
    const publisher = createServer((socket) => {
      asked += 1
      socket.destroy()
    }).listen(0, '127.0.0.1')
    await once(publisher, 'listening')
    const conninfo = `host=127.0.0.1 port=${(publisher.address() as AddressInfo).port} dbname=app password=sesame`
    try {
      let file: string
      {
        await using source = await openSandbox('CREATE TABLE t AS SELECT 7 AS v; CREATE PUBLICATION p FOR TABLE t')
        await source.sql(`CREATE SUBSCRIPTION s CONNECTION '${conninfo}' PUBLICATION p WITH (connect = false)`)
        file = dump(testUrl(source.database))
        await unsubscribe(source)
      }
      const found = `SELECT (SELECT count(*)::int FROM pg_publication_tables WHERE tablename = 't') AS published,
         (SELECT array_agg(subname || ' ' || subenabled || ' ' || subslotname) FROM pg_subscription
           WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())) AS subscribed`
      for (const [choice, expected] of [
        [{}, { published: 0, subscribed: null }],
        [{ publications: true }, { published: 1, subscribed: null }],
        [
          { publications: true, subscriptions: true },
          { published: 1, subscribed: ['s false s'] },
        ],
      ] as const) {
        await using copy = await openSandbox()
        await restoreWith(file, copy, choice)
        const [row] = await copy.sql(found)
        if (row?.['subscribed'] !== null) await unsubscribe(copy)
        expect(row).toEqual(expected)
      }
      expect(asked).toBe(0)
    } finally {
      publisher.close()
    }
  })
})
