import { execFileSync } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Evidence } from '../../src/domain/evidence.ts'
import { compareContents, isOfEventTrigger, isRefresh } from '../../src/postgres/archive-contents.ts'
import { readSequences } from '../../src/postgres/census.ts'
import { type Client, connect } from '../../src/postgres/connect.ts'
import { listExtensions } from '../../src/postgres/facts.ts'
import { findProgram } from '../../src/postgres/programs.ts'
import { listArchive } from '../../src/postgres/restore-dump.ts'
import { listDumpedTables, quoteIdentifier } from '../../src/postgres/tables.ts'
import { readStructure } from '../../src/structure/read-structure.ts'
import { testDatabase, testUrl } from '../support/installation.ts'
import { query, serverBinDir } from '../support/postgres-server.ts'
import { connectionTo, openSandbox, type Sandbox, signal } from './sandbox.ts'

let folder: string
let major: number
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pgproof-test-contents-'))
  const [row] = await query(testUrl(), "SELECT current_setting('server_version_num')::int / 10000 AS major")
  major = Number(row?.['major'])
})
afterAll(async () => {
  await rm(folder, { recursive: true })
})

/** What a backup would have said of this database, as far as a table of contents is compared with it. */
async function evidenceOf(client: Client): Promise<Evidence> {
  const { rows } = await client.query<{ encoding: string }>(
    'SELECT pg_encoding_to_char(encoding) AS encoding FROM pg_database WHERE datname = current_database()',
  )
  return {
    properties: { encoding: rows[0]?.encoding },
    tables: await listDumpedTables(client, false),
    sequences: await readSequences(client, false),
    extensions: await listExtensions(client),
    structure: await readStructure(client, major),
    omissions: [],
  } as unknown as Evidence
}

async function linesOf(url: string, args: readonly string[] = []): Promise<string[]> {
  const file = join(folder, 'dump')
  execFileSync(join(serverBinDir(), 'pg_dump'), ['-Fc', '-f', file, ...args, '-d', url])
  return await listArchive(await findProgram('pg_restore', major, [], signal), file, signal)
}

const contentsOf = async (sandbox: Sandbox): Promise<ReturnType<typeof compareContents>> =>
  compareContents(await linesOf(testUrl(sandbox.database)), await evidenceOf(sandbox.client))

const awkward = [
  'a b',
  ' a',
  'a ',
  'a\nb',
  'a\r\nb',
  'a.b',
  'a"b',
  "a'b",
  'a(b',
  'TABLE DATA',
  'DATA',
  '-',
  ';',
  'Ünïcödé 🐘',
  'public',
]

describe('a table of contents and its evidence', () => {
  it('a line of a form that no pg_restore has yet - passed over, everything else is compared', () => {
    const evidence = {
      properties: { encoding: 'UTF8' },
      tables: [{ schema: 'public', name: 't' }],
      sequences: [],
      structure: [{ kind: 'schema', name: 'app', facets: {} }],
    } as unknown as Evidence
    const lines = [
      '7; 0 16385 TABLE DATA public t postgres',
      'a new kind of line',
      '8; 2615 16386 SCHEMA - app postgres',
    ]
    expect(compareContents(lines, evidence)).toEqual({ tables: 1, objects: 1, differences: [] })
    expect(compareContents(lines.slice(0, 2), evidence).differences).toEqual(['not in the archive: SCHEMA - app'])
  })

  it('of the demo database - everything found', async () => {
    await using database = await testDatabase()
    await using held = await connect(connectionTo(database.name), signal)
    const found = compareContents(await linesOf(database.url), await evidenceOf(held.client))
    expect(found.differences).toEqual([])
    expect(found.tables).toBe(12)
    expect(found.objects).toBeGreaterThan(20)
  })

  it('schemas, tables, owners, functions and indexes with awkward names - everything found', async () => {
    const names = awkward
    await using sandbox = await openSandbox()
    for (const [index, schema] of names.entries()) {
      const quoted = quoteIdentifier(schema)
      if (schema !== 'public') await sandbox.sql(`CREATE SCHEMA ${quoted}`)
      await sandbox.sql(`SET search_path = ${quoted}`)
      for (const name of names) {
        const one = quoteIdentifier(name)
        if (name !== 'public' && index < 3)
          await sandbox.sql(`
            CREATE TABLE ${one} (id int GENERATED ALWAYS AS IDENTITY, v text, CONSTRAINT ${quoteIdentifier(`pk ${name}`)} PRIMARY KEY (id));
            CREATE INDEX ${quoteIdentifier(`by ${name}`)} ON ${one} (v); CREATE VIEW ${quoteIdentifier(`v ${name}`)} AS SELECT 1 AS v;
            CREATE MATERIALIZED VIEW ${quoteIdentifier(`m ${name}`)} AS SELECT 1 AS v;
            CREATE FUNCTION ${one}(int) RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE FUNCTION ${one}(text) RETURNS int LANGUAGE sql AS 'SELECT 1';
            CREATE PROCEDURE ${quoteIdentifier(`p ${name}`)}() LANGUAGE sql AS 'SELECT 1'`)
        else await sandbox.sql(`CREATE TABLE ${one} (v int)`)
      }
    }
    await sandbox.sql('CREATE PUBLICATION "all of it" FOR ALL TABLES')
    const found = await contentsOf(sandbox)
    expect(found.differences).toEqual([])
    expect(found.tables).toBe(names.length ** 2)
  })

  it('partitions, inheritance, typed, unlogged and foreign tables, extensions with tables of their own - everything found', async () => {
    await using sandbox = await openSandbox(`
      CREATE EXTENSION hstore; CREATE EXTENSION postgres_fdw; CREATE SCHEMA "x y"; CREATE EXTENSION dblink SCHEMA "x y";
      CREATE TABLE parted (k int PRIMARY KEY, v text) PARTITION BY RANGE (k);
      CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (10);
      CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM (10) TO (20) PARTITION BY LIST (k); CREATE INDEX ON parted (v)`)
    await sandbox.sql(`
      CREATE TABLE parent (v int); CREATE TABLE heir (w serial) INHERITS (parent); CREATE UNLOGGED TABLE quick (v bigserial);
      CREATE TYPE pair AS (a int, b text); CREATE TABLE typed OF pair; CREATE DOMAIN positive AS int CHECK (VALUE > 0);
      CREATE SERVER away FOREIGN DATA WRAPPER postgres_fdw; CREATE FOREIGN TABLE far (v int) SERVER away;
      CREATE AGGREGATE total(int) (SFUNC = int4pl, STYPE = int); CREATE TABLE exclude (r int4range, EXCLUDE USING gist (r WITH &&));
      CREATE FUNCTION on_ddl() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN END $$;
      CREATE EVENT TRIGGER "my trigger" ON ddl_command_end EXECUTE FUNCTION on_ddl();
      CREATE VIEW circular AS SELECT 1 AS v; CREATE TABLE t (v circular); CREATE OR REPLACE VIEW circular AS SELECT 2 AS v`)
    expect((await contentsOf(sandbox)).differences).toEqual([])
  })

  it('a database in another encoding - everything found', async () => {
    const name = `latin_${Math.random().toString(36).slice(2)}`
    await query(testUrl(), `CREATE DATABASE ${name} TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'`)
    try {
      await query(testUrl(name), 'CREATE SCHEMA "süß"; CREATE TABLE "süß"."é" (v int); CREATE TABLE "süß"."è" (v int)')
      await using held = await connect(connectionTo(name), signal)
      const evidence = await evidenceOf(held.client)
      const lines = await linesOf(testUrl(name))
      expect(compareContents(lines, evidence)).toMatchObject({ tables: 2, differences: [] })
      const without = await linesOf(testUrl(name), ['--schema-only'])
      expect(compareContents(without, evidence).differences).toHaveLength(2)
    } finally {
      await query(testUrl(), `DROP DATABASE ${name} WITH (FORCE)`)
    }
  })
})

describe('a table of contents that differs', () => {
  it.each<[string, readonly string[], readonly RegExp[]]>([
    [
      'the data of one table left out',
      ['--exclude-table-data=public."a b"'],
      [/^not in the archive: TABLE DATA public a b$/],
    ],
    [
      'a table left out',
      ['--exclude-table=public.a'],
      [/TABLE DATA public a$/, /TABLE public a$/, /INDEX public a_v_idx$/],
    ],
    ['a view left out', ['--exclude-table=public.v'], [/VIEW public v$/]],
    ['a sequence left out', ['--exclude-table=public.s'], [/SEQUENCE SET public s$/, /SEQUENCE public s$/]],
    ['a schema left out', ['--exclude-schema=other'], [/SCHEMA - other$/]],
    ['publications left out', ['--no-publications'], [/PUBLICATION - p$/]],
    [
      'extensions and with them publications left out',
      ['--extension=plpgsql'],
      [/EXTENSION - hstore$/, /PUBLICATION - p$/],
    ],
    ['no rows at all', ['--schema-only'], [/TABLE DATA public a$/, /TABLE DATA public a b$/, /SEQUENCE SET public s$/]],
  ])('%s - named', async (_, args, named) => {
    await using sandbox = await openSandbox(`CREATE EXTENSION hstore; CREATE SCHEMA other;
      CREATE TABLE a (v int); CREATE INDEX ON a (v); CREATE TABLE "a b" (v int); CREATE VIEW v AS SELECT 1 AS v; CREATE SEQUENCE s;
      CREATE FUNCTION f(int) RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE PUBLICATION p`)
    const evidence = await evidenceOf(sandbox.client)
    const { differences } = compareContents(await linesOf(testUrl(sandbox.database), args), evidence)
    expect(differences).toEqual(
      expect.arrayContaining(named.map((pattern) => expect.stringMatching(pattern)) as unknown as string[]),
    )
    expect(differences, differences.join('\n')).toHaveLength(named.length)
  })

  it('a table and one of two functions that the evidence does not know, and the other way round - named', async () => {
    await using sandbox = await openSandbox(
      `CREATE TABLE a (v int); CREATE FUNCTION f(int) RETURNS int LANGUAGE sql AS 'SELECT 1'`,
    )
    const before = await evidenceOf(sandbox.client)
    const lines = await linesOf(testUrl(sandbox.database))
    await sandbox.sql(`CREATE TABLE "a b" (v int); CREATE FUNCTION f(text) RETURNS int LANGUAGE sql AS 'SELECT 1'`)
    const after = await evidenceOf(sandbox.client)
    expect(compareContents(lines, after).differences).toEqual([
      'not in the archive: TABLE DATA public a b',
      'not in the archive: FUNCTION public f(',
      'not in the archive: TABLE public a b',
    ])
    const later = await linesOf(testUrl(sandbox.database))
    expect(compareContents(later, before).differences).toEqual([
      expect.stringMatching(/^not in the evidence: TABLE DATA public a b /),
    ])
  })

  it('no line serves as two entries: two tables expected where one is, by names that run into each other', () => {
    const evidence = {
      properties: { encoding: 'UTF8' },
      tables: [
        { schema: 's', name: 'a' },
        { schema: 's', name: 'a b' },
      ],
      sequences: [],
      structure: [],
    } as unknown as Evidence
    const one = '1; 0 16385 TABLE DATA s a b c'
    const other = '2; 0 16386 TABLE DATA s a b c'
    expect(compareContents([one, other], evidence).differences).toEqual([])
    expect(compareContents([one], evidence).differences).toEqual(['not in the archive: TABLE DATA s a'])
    expect(isRefresh('7; 0 16390 MATERIALIZED VIEW DATA s a b')).toBe(true)
    expect(isRefresh('7; 1259 16390 MATERIALIZED VIEW DATA a b')).toBe(false)
  })

  it('entries of event triggers - told from whatever else has such a name, and from what they call', async () => {
    await using sandbox = await openSandbox(`
      CREATE SCHEMA "EVENT TRIGGER"; CREATE TABLE "EVENT TRIGGER"."EVENT TRIGGER" (v int);
      COMMENT ON TABLE "EVENT TRIGGER"."EVENT TRIGGER" IS 'no'; COMMENT ON SCHEMA "EVENT TRIGGER" IS 'no';
      CREATE FUNCTION on_ddl() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN END $$; COMMENT ON FUNCTION on_ddl() IS 'no'`)
    await sandbox.sql(`
      CREATE EVENT TRIGGER one ON sql_drop EXECUTE FUNCTION on_ddl(); COMMENT ON EVENT TRIGGER one IS 'one';
      CREATE EVENT TRIGGER "a; b" ON sql_drop EXECUTE FUNCTION on_ddl(); SET allow_system_table_mods = on;
      INSERT INTO pg_seclabel SELECT oid, 'pg_event_trigger'::regclass, 0, 'mac', 'secret' FROM pg_event_trigger WHERE evtname = 'one'`)
    const found = (await linesOf(testUrl(sandbox.database))).filter(isOfEventTrigger)
    expect(found.map((line) => line.replace(/^\d+; \d+ \d+ /, '')).sort()).toEqual([
      'COMMENT - EVENT TRIGGER one postgres',
      'EVENT TRIGGER - a; b postgres',
      'EVENT TRIGGER - one postgres',
      'SECURITY LABEL - EVENT TRIGGER one postgres',
    ])
  })
})
