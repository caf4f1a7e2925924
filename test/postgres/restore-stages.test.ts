import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { chmod, mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Evidence } from '../../src/domain/evidence.ts'
import type { StructureObject } from '../../src/domain/structure.ts'
import { splitPostData } from '../../src/postgres/archive-contents.ts'
import { connect } from '../../src/postgres/connect.ts'
import { readDatabaseProperties } from '../../src/postgres/facts.ts'
import { type FoundProgram, findProgram, majorOf } from '../../src/postgres/programs.ts'
import { listArchive, restoreDump } from '../../src/postgres/restore-dump.ts'
import { createScratchDatabase } from '../../src/postgres/scratch-database.ts'
import { restoreIntoNew } from '../../src/restore/restore-into-new.ts'
import { readStructure } from '../../src/structure/read-structure.ts'
import { testUrl } from '../support/installation.ts'
import { query, serverBinDir } from '../support/postgres-server.ts'
import { connectionTo, openSandbox, signal } from './sandbox.ts'

let folder: string
let program: FoundProgram

beforeAll(async () => {
  const [row] = await query(testUrl(), "SELECT current_setting('server_version_num')::int / 10000 AS major")
  program = await findProgram('pg_restore', Number(row?.['major']), [], signal)
})
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pgproof-test-stages-'))
  await chmod(folder, 0o755)
})
afterEach(async () => {
  await rm(folder, { recursive: true })
})

type Archived = { readonly file: string; readonly structure: readonly StructureObject[]; readonly evidence: Evidence }

/** An archive as a backup streams it, without the places of its rows, of a database that is gone afterwards. */
async function archiveOf(setUp: readonly string[]): Promise<Archived> {
  await using source = await openSandbox()
  for (const sql of setUp) await source.sql(sql)
  const structure = await readStructure(source.client, majorOf(program.version))
  const properties = await readDatabaseProperties(source.client, majorOf(program.version))
  const file = join(folder, 'dump')
  writeFileSync(file, execFileSync(join(serverBinDir(), 'pg_dump'), ['-Fc', '-d', testUrl(source.database)]))
  const evidence = { properties, structure, extensions: [], omissions: [] } as unknown as Evidence
  return { file, structure, evidence }
}

/** Twelve partitions, one of them partitioned again, with whatever parallel jobs could lock each other out over. */
const partitioned = [
  `CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
   CREATE TABLE region (id int PRIMARY KEY); INSERT INTO region SELECT generate_series(0, 9);
   CREATE TABLE p (k int, v int NOT NULL, t text, r int, PRIMARY KEY (k), UNIQUE (k, v)) PARTITION BY RANGE (k);
   CREATE TABLE q (k int, PRIMARY KEY (k)) PARTITION BY HASH (k)`,
  ...Array.from(
    { length: 12 },
    (_, n) => `CREATE TABLE p${n} PARTITION OF p FOR VALUES FROM (${n * 100}) TO (${n * 100 + 100})
      ${n === 3 ? 'PARTITION BY RANGE (k); CREATE TABLE p3a PARTITION OF p3 DEFAULT' : ''};
      CREATE TABLE q${n} PARTITION OF q FOR VALUES WITH (MODULUS 12, REMAINDER ${n})`,
  ),
  `INSERT INTO p SELECT g, g, 'row ' || g, g % 10 FROM generate_series(0, 1199) g; INSERT INTO q SELECT k FROM p;
   CREATE INDEX ON p (v); CREATE INDEX ON p (t); CREATE INDEX ON p (r, v); CREATE INDEX ON p (lower(t)); CREATE INDEX ON p5 (t, v);
   ALTER TABLE p ADD FOREIGN KEY (r) REFERENCES region; ALTER TABLE q ADD FOREIGN KEY (k) REFERENCES p;
   CREATE TABLE child (k int, v int, FOREIGN KEY (k) REFERENCES p, FOREIGN KEY (k, v) REFERENCES p (k, v), FOREIGN KEY (v) REFERENCES q);
   INSERT INTO child SELECT k, v FROM p;
   CREATE TRIGGER before BEFORE INSERT ON p FOR EACH ROW EXECUTE FUNCTION f();
   CREATE TRIGGER after AFTER UPDATE ON p FOR EACH ROW EXECUTE FUNCTION f();
   ALTER TABLE p0 DISABLE TRIGGER before; ALTER TABLE p7 DISABLE TRIGGER after; ALTER TABLE p9 ENABLE ALWAYS TRIGGER after;
   ALTER TABLE p3a DISABLE TRIGGER before`,
]

/** Every kind of entry that comes after the rows, besides those of a partitioned table. */
const everyKind = [
  `CREATE SCHEMA "ATTACH"; CREATE TABLE "ATTACH".t (v int); CREATE INDEX x ON "ATTACH".t (v);
   CREATE TABLE t (id int PRIMARY KEY, v int, w int, during int4range, UNIQUE (v, w) DEFERRABLE, EXCLUDE USING gist (during WITH &&));
   INSERT INTO t SELECT g, g, -g, int4range(g, g + 1) FROM generate_series(1, 50) g;
   CREATE INDEX by_w ON t (w, (v + 1)); ALTER TABLE t CLUSTER ON by_w; ALTER INDEX by_w ALTER COLUMN 2 SET STATISTICS 50;
   CREATE TABLE u (id int PRIMARY KEY, t int NOT NULL REFERENCES t ON DELETE CASCADE DEFERRABLE, other int);
   CREATE UNIQUE INDEX identity ON u (t); ALTER TABLE u REPLICA IDENTITY USING INDEX identity;
   ALTER TABLE t ADD CONSTRAINT sign CHECK (w < 0) NOT VALID;
   ALTER TABLE u ADD CONSTRAINT later FOREIGN KEY (other) REFERENCES t NOT VALID;
   CREATE DOMAIN d AS int; ALTER DOMAIN d ADD CONSTRAINT positive CHECK (VALUE > 0) NOT VALID;
   CREATE STATISTICS s ON v, w FROM t; CREATE RULE r AS ON DELETE TO u DO ALSO NOTIFY gone;
   CREATE FUNCTION g() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
   CREATE TRIGGER plain BEFORE INSERT ON t FOR EACH ROW WHEN (NEW.v > 0) EXECUTE FUNCTION g();
   CREATE CONSTRAINT TRIGGER checked AFTER INSERT ON u FROM t DEFERRABLE FOR EACH ROW EXECUTE FUNCTION g();
   CREATE TRIGGER sleeping AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION g(); ALTER TABLE t DISABLE TRIGGER sleeping;
   ALTER TABLE u ENABLE ROW LEVEL SECURITY; ALTER TABLE u FORCE ROW LEVEL SECURITY; CREATE POLICY mine ON u USING (id > 0);
   ALTER DEFAULT PRIVILEGES IN SCHEMA "ATTACH" GRANT SELECT ON TABLES TO pg_monitor;
   CREATE PUBLICATION one FOR TABLE t WHERE (v > 0); CREATE PUBLICATION whole FOR TABLES IN SCHEMA "ATTACH"`,
  // They depend on a primary key, so pg_dump writes them after the rows.
  `CREATE VIEW circular AS SELECT id, v, w FROM t GROUP BY id;
   CREATE MATERIALIZED VIEW grouped AS SELECT id, v FROM t GROUP BY id; CREATE UNIQUE INDEX ON grouped (id); CREATE STATISTICS sg ON id, v FROM grouped;
   CREATE FUNCTION reads(int) RETURNS int IMMUTABLE BEGIN ATOMIC SELECT v FROM t WHERE id = $1 GROUP BY id; END;
   CREATE INDEX by_function ON u (reads(other)); CREATE MATERIALIZED VIEW over AS SELECT count(*) AS n FROM circular;
   GRANT SELECT ON grouped, circular TO pg_monitor; GRANT EXECUTE ON FUNCTION reads TO pg_monitor`,
  `COMMENT ON INDEX by_w IS '1'; COMMENT ON CONSTRAINT t_pkey ON t IS '2'; COMMENT ON CONSTRAINT sign ON t IS '3'; COMMENT ON TRIGGER plain ON t IS '4';
   COMMENT ON RULE r ON u IS '5'; COMMENT ON POLICY mine ON u IS '6'; COMMENT ON STATISTICS s IS '7'; COMMENT ON MATERIALIZED VIEW grouped IS '8';
   COMMENT ON FUNCTION reads IS '9'; COMMENT ON CONSTRAINT later ON u IS '10'; COMMENT ON CONSTRAINT positive ON DOMAIN d IS '11'; COMMENT ON PUBLICATION one IS '12';
   COMMENT ON VIEW circular IS '13'; COMMENT ON COLUMN grouped.v IS '14'; COMMENT ON SCHEMA "ATTACH" IS '15'`,
  `CREATE FUNCTION e() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN END $$; CREATE EVENT TRIGGER et ON sql_drop EXECUTE FUNCTION e()`,
]

describe('what comes after the rows', () => {
  it('a partitioned table with indexes, keys both ways and disabled triggers - four jobs restore it ten times', async () => {
    const { file, structure } = await archiveOf(partitioned)
    for (let round = 0; round < 10; round += 1) {
      await using copy = await openSandbox()
      await restoreDump({ connection: copy.connection, program, file, jobs: 4 }, signal)
      expect(await readStructure(copy.client, majorOf(program.version))).toEqual(structure)
      expect(await copy.sql('SELECT FROM pg_index WHERE NOT indisvalid')).toEqual([])
    }
  })

  it.each([1, 4])('every kind of entry, jobs: %i - the structure is that of the source', async (jobs) => {
    const { file, structure, evidence } = await archiveOf([...partitioned, ...everyKind])
    await using copy = await openSandbox()
    const request = { connection: copy.connection, program, file, jobs, evidence, publications: true }
    expect(await restoreDump(request, signal)).toEqual({ notes: [] })
    expect(await readStructure(copy.client, majorOf(program.version))).toEqual(structure)
    expect(await copy.sql('SELECT (SELECT count(*)::int FROM grouped) AS grouped, n::int FROM over')).toEqual([
      { grouped: 50, n: 50 },
    ])
    expect(
      await copy.sql("SELECT count(*)::int AS n FROM pg_description WHERE description ~ '^(1[0-5]|[1-9])$'"),
    ).toEqual([{ n: 15 }])
  })

  it('every kind of entry - each is in one list of the stages, in the order of the archive', async () => {
    const { file } = await archiveOf([...partitioned, ...everyKind])
    await using copy = await openSandbox()
    await restoreDump({ connection: copy.connection, program, file, jobs: 2 }, signal)
    const idsIn = (name: string): string[] => readFileSync(`${file}.${name}`, 'utf8').match(/^\d+(?=;)/gm) ?? []
    const stages = ['builds', 'attaches', 'foreign-keys', 'rest']
    const after = await listArchive(program, file, signal, ['--section=post-data', `--use-list=${file}.first-stages`])
    const restored = stages.flatMap(idsIn)
    expect(new Set(restored).size).toBe(restored.length)
    expect([...restored].sort()).toEqual(after.map((line) => line.slice(0, line.indexOf(';'))).sort())
    const kindsOf = (lines: readonly string[]): Set<string> =>
      new Set(lines.map((line) => /^\d+; \d+ \d+ ((?:[A-Z]{2,} )+)/.exec(line)?.[1]?.trim() ?? line))
    const { builds, attaches, foreignKeys, rest } = splitPostData(after)
    expect(kindsOf(builds)).toEqual(new Set(['CONSTRAINT', 'FUNCTION', 'INDEX', 'INDEX ATTACH', 'MATERIALIZED VIEW']))
    expect(builds.filter((line) => line.includes('INDEX ATTACH'))).toEqual([
      expect.stringMatching(/ 1259 \d+ INDEX ATTACH x /),
    ])
    expect([kindsOf(attaches), kindsOf(foreignKeys)]).toEqual([new Set(['INDEX ATTACH']), new Set(['FK CONSTRAINT'])])
    for (const kind of ['CHECK CONSTRAINT', 'STATISTICS', 'RULE', 'TRIGGER', 'POLICY', 'ROW SECURITY', 'DEFAULT ACL'])
      expect(rest.join('\n')).toContain(` ${kind} `)
  })

  it('nothing of a kind - no stage for it', async () => {
    const { file } = await archiveOf(['CREATE TABLE t (v int); CREATE INDEX ON t (v)'])
    await using copy = await openSandbox()
    await restoreDump({ connection: copy.connection, program, file, jobs: 2 }, signal)
    expect((await readdir(folder)).sort()).toEqual(['dump', 'dump.builds', 'dump.first-stages'])
  })
})

describe('indexes beside the rows', () => {
  const filesOf = async (): Promise<string[]> => (await readdir(folder)).sort()

  it('no table is a part of another - built in the stage of the rows; the structure is that of the source, five times', async () => {
    const { file, structure, evidence } = await archiveOf(everyKind)
    for (let round = 0; round < 5; round += 1) {
      await using copy = await openSandbox()
      const request = { connection: copy.connection, program, file, jobs: 4, evidence, publications: true }
      expect(await restoreDump(request, signal)).toEqual({ notes: [] })
      expect(await readStructure(copy.client, majorOf(program.version))).toEqual(structure)
    }
    const stages = ['dump.first-stages', 'dump.foreign-keys', 'dump.rest', 'dump.rows-and-builds']
    expect(await filesOf()).toEqual(expect.arrayContaining(stages))
    expect(await filesOf()).not.toContain('dump.builds')
    const together = readFileSync(`${file}.rows-and-builds`, 'utf8')
    for (const name of ['foreign-keys', 'rest'])
      for (const line of readFileSync(`${file}.${name}`, 'utf8').trim().split('\n'))
        expect(`\n${together}`).not.toContain(`\n${line}\n`)
  })

  it.each([
    [
      'a partition',
      'CREATE TABLE p (a int PRIMARY KEY) PARTITION BY LIST (a); CREATE TABLE p1 PARTITION OF p DEFAULT',
      [],
    ],
    ['a partitioned table without any', 'CREATE TABLE p (a int PRIMARY KEY) PARTITION BY LIST (a)', []],
    ['a child', 'CREATE TABLE p (a int PRIMARY KEY); CREATE TABLE c () INHERITS (p)', []],
    [
      'one that changed during the dump',
      'CREATE TABLE p (a int PRIMARY KEY)',
      [{ kind: 'changed during the dump', object: 'table public.p' }],
    ],
  ])('%s - built when all rows are there', async (_, sql, omissions) => {
    const { file, evidence } = await archiveOf([sql])
    await using copy = await openSandbox()
    const changed = { ...evidence, omissions } as unknown as Evidence
    await restoreDump({ connection: copy.connection, program, file, jobs: 2, evidence: changed }, signal)
    expect(await filesOf()).toContain('dump.builds')
    expect(await filesOf()).not.toContain('dump.rows-and-builds')
  })

  it('one job - in the order of the archive', async () => {
    const { file, evidence } = await archiveOf(['CREATE TABLE t (v int PRIMARY KEY)'])
    await using copy = await openSandbox()
    await restoreDump({ connection: copy.connection, program, file, jobs: 1, evidence }, signal)
    expect(await filesOf()).toEqual(['dump', 'dump.after-rows', 'dump.first-stages'])
  })
})

describe('a stage that fails', () => {
  it.each(['builds', 'attaches', 'foreign-keys', 'rest'])(
    '%s, by chance - everything again by one job',
    async (name) => {
      const { file, structure, evidence } = await archiveOf(partitioned)
      const path = join(folder, 'pg_restore')
      const fail = `case "$*" in *--use-list=*.${name}\\ *) echo "pg_restore: error: could not execute query: ERROR:  deadlock detected" >&2; exit 1;; esac`
      writeFileSync(path, `#!/bin/sh\n${fail}\nexec "${program.path}" "$@"\n`, { mode: 0o755 })
      const database = `pgproof_scratch_test_${Math.random().toString(36).slice(2)}`
      const create = () => createScratchDatabase(connectionTo('postgres'), database, evidence.properties, signal)
      const request = { create, evidence, program: { ...program, path }, file, jobs: 2 }
      await using restored = await restoreIntoNew(request, signal)
      expect(restored.notes).toEqual(['2 jobs of pg_restore failed: ERROR:  deadlock detected; restored again by one'])
      await using held = await connect(restored.connection, signal)
      const isWithin = ({ kind }: StructureObject): boolean => kind !== 'database'
      const found = await readStructure(held.client, majorOf(program.version))
      expect(found.filter(isWithin)).toEqual(structure.filter(isWithin))
      expect(await query(testUrl(database), 'SELECT count(*)::int AS n FROM child')).toEqual([{ n: 1200 }])
    },
  )
})
