import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type TestInstallation, testDatabase, testInstallation } from '../support/installation.ts'
import { query } from '../support/postgres-server.ts'
import { heldBy, type Market, psql, restoreTables, scriptFor } from './tables-fixture.ts'

let test: TestInstallation

beforeAll(async () => {
  test = await testInstallation()
})
afterAll(async () => {
  await test[Symbol.asyncDispose]()
})

/** A database that was made so, with one backup. */
async function made(sql: string): Promise<Market> {
  const database = await testDatabase('template0')
  await query(database.url, sql)
  await test.run('backup', database.name)
  return database
}

const family = `
  CREATE TABLE person (id serial PRIMARY KEY, name text);
  CREATE TABLE worker (wage int, PRIMARY KEY (id)) INHERITS (person);
  CREATE TABLE boss (car text, PRIMARY KEY (id)) INHERITS (worker);
  INSERT INTO person (name) VALUES ('a'); INSERT INTO worker (name, wage) VALUES ('w', 1), ('v', 2);
  INSERT INTO boss (name, wage, car) VALUES ('b', 9, 'x')`

describe('tables that inherit', () => {
  it('a child that is gone, its parent there and not asked for - inherits from the live one again', async () => {
    await using live = await made(family)
    const before = await heldBy(live.url)
    await query(live.url, 'DROP TABLE boss')
    const result = await restoreTables(test, live.name, { tables: ['public.boss'] })
    const back = scriptFor(result, 'bring back')
    expect(back).toContain('ALTER TABLE public.boss INHERIT public.worker;')
    psql(live.url, back)
    expect(await heldBy(live.url)).toEqual(before)
    expect(await query(live.url, 'SELECT tableoid::regclass::text AS of FROM worker ORDER BY id')).toHaveLength(3)
  })

  it('children that are gone, their parent there and asked for - tied to the live one, and whole after the clean up', async () => {
    await using live = await made(family)
    const before = await heldBy(live.url)
    await query(live.url, 'DROP TABLE worker CASCADE')
    const result = await restoreTables(test, live.name, { tables: ['public.person'] })
    psql(live.url, scriptFor(result, 'bring back'))
    psql(live.url, scriptFor(result, 'clean up'))
    expect(await heldBy(live.url)).toEqual(before)
    expect(await query(live.url, "INSERT INTO boss (name) VALUES ('next') RETURNING id")).toEqual([{ id: 5 }])
  })

  it('a parent that is gone, its child there - the copy of the child is no child of it, and a note says how the live one is', async () => {
    await using live = await made(family)
    await query(live.url, 'ALTER TABLE worker NO INHERIT person, ALTER id DROP DEFAULT; DROP TABLE person')
    const result = await restoreTables(test, live.name, { tables: ['public.person'] })
    psql(live.url, scriptFor(result, 'bring back'))
    expect(await query(live.url, 'SELECT name FROM person')).toEqual([{ name: 'a' }])
    const [again = ''] = result.notes.flatMap(
      (note) => /: (ALTER TABLE .*) makes it do so again$/.exec(note)?.[1] ?? [],
    )
    psql(live.url, `${again};`)
    psql(live.url, scriptFor(result, 'clean up'))
    expect(await query(live.url, 'SELECT name FROM person ORDER BY id')).toHaveLength(4)
  })

  it('a child of a foreign table that is a child itself - its rows come back with the top’s, and the foreign one is named', async () => {
    await using live = await made(
      `CREATE FOREIGN DATA WRAPPER none; CREATE SERVER far FOREIGN DATA WRAPPER none; CREATE TABLE top (id int PRIMARY KEY);
       CREATE FOREIGN TABLE away () INHERITS (top) SERVER far; CREATE TABLE below () INHERITS (away); INSERT INTO top VALUES (1); INSERT INTO below VALUES (2), (3)`,
    )
    await query(live.url, 'DELETE FROM ONLY top; DELETE FROM below')
    const result = await restoreTables(test, live.name, { tables: ['public.top'] })
    psql(live.url, scriptFor(result, 'bring back'))
    const rows = "SELECT 'top' AS of, id FROM ONLY top UNION ALL SELECT 'below', id FROM below ORDER BY id"
    expect(await query(live.url, rows)).toEqual([
      { of: 'top', id: 1 },
      { of: 'below', id: 2 },
      { of: 'below', id: 3 },
    ])
    expect(result.notes).toContain(
      'public.away is a foreign table: its rows are on another server, and not in the backup',
    )
  })
})

describe('what a table that is gone had around it', () => {
  it('a table that refers to it, both asked for - the copy that stays refers to nothing live', async () => {
    await using live = await made(
      'CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY, a int REFERENCES a); INSERT INTO a VALUES (1), (2); INSERT INTO b VALUES (1, 1)',
    )
    await query(live.url, 'DROP TABLE a CASCADE')
    const result = await restoreTables(test, live.name, { tables: ['public.a', 'public.b'] })
    psql(live.url, scriptFor(result, 'bring back'))
    const keys = "SELECT conrelid::regclass::text AS of FROM pg_constraint WHERE contype = 'f'"
    expect(await query(live.url, keys)).toEqual([{ of: 'b' }])
    await query(live.url, 'DELETE FROM b; DELETE FROM a WHERE id = 1')
  })

  it('tables that refer to it, whose foreign keys’ names somebody has given away - stay as they are, and notes say so', async () => {
    await using live = await made(
      `CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY, a int CONSTRAINT own REFERENCES a);
       CREATE TABLE c (id int PRIMARY KEY, a int CONSTRAINT own REFERENCES a); CREATE TABLE d (id int PRIMARY KEY, a int REFERENCES a)`,
    )
    await query(
      live.url,
      `DROP TABLE a CASCADE; CREATE TABLE other (id int PRIMARY KEY);
       ALTER TABLE b ADD CONSTRAINT own FOREIGN KEY (a) REFERENCES other; ALTER TABLE c ADD CONSTRAINT own CHECK (a > 0)`,
    )
    const result = await restoreTables(test, live.name, { tables: ['public.a'] })
    expect(result.notes.toSorted()).toEqual(
      ['b', 'c'].map(
        (name) => `foreign key own of public.${name} is not made again: the table has another constraint of that name`,
      ),
    )
    psql(live.url, scriptFor(result, 'bring back'))
    const keys =
      "SELECT conrelid::regclass::text AS of, confrelid::regclass::text AS to FROM pg_constraint WHERE contype = 'f' ORDER BY 1"
    expect(await query(live.url, keys)).toEqual([
      { of: 'b', to: 'other' },
      { of: 'd', to: 'a' },
    ])
  })

  it('its schema, with owner and grants - made again as it was', async () => {
    await using live = await made('SELECT 1')
    const role = `owner_${live.name}`
    await query(
      live.url,
      `CREATE ROLE ${role}; CREATE SCHEMA sales AUTHORIZATION ${role}; GRANT USAGE ON SCHEMA sales TO PUBLIC;
       COMMENT ON SCHEMA sales IS 'What was sold'; CREATE TABLE sales.t (id int PRIMARY KEY)`,
    )
    try {
      await test.run('backup', live.name)
      const before = await heldBy(live.url)
      await query(live.url, 'DROP SCHEMA sales CASCADE')
      const result = await restoreTables(test, live.name, { schemas: ['sales'] })
      psql(live.url, scriptFor(result, 'bring back'))
      expect((await heldBy(live.url)).structure).toEqual(before.structure)
    } finally {
      await query(live.url, `DROP OWNED BY ${role} CASCADE; DROP ROLE ${role}`)
    }
  })

  it('default privileges that give new tables away - neither the copy nor the table put back is open to others', async () => {
    await using live = await made(
      `CREATE TABLE t (id serial PRIMARY KEY);
       ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC; ALTER DEFAULT PRIVILEGES GRANT USAGE ON SEQUENCES TO PUBLIC;
       ALTER DEFAULT PRIVILEGES GRANT USAGE ON SCHEMAS TO PUBLIC`,
    )
    const before = await heldBy(live.url)
    await query(live.url, 'DROP TABLE t')
    const result = await restoreTables(test, live.name, { tables: ['public.t'] })
    const open =
      "SELECT has_schema_privilege('pg_monitor', 'copy', 'USAGE') AS s, has_table_privilege('pg_monitor', 'copy.t', 'SELECT') AS t"
    expect(await query(live.url, open)).toEqual([{ s: false, t: false }])
    psql(live.url, scriptFor(result, 'bring back'))
    expect(await heldBy(live.url)).toEqual(before)
  })

  it('a publication that it was in - a note with the statement, which is not run by itself', async () => {
    await using live = await made(
      'CREATE TABLE t (id int PRIMARY KEY, a int); CREATE TABLE t2 (id int PRIMARY KEY); CREATE PUBLICATION ours FOR TABLE t (id) WHERE (id > 7), t2 (id); CREATE PUBLICATION other FOR TABLE t2',
    )
    await query(live.url, 'DROP TABLE t')
    const result = await restoreTables(test, live.name, { tables: ['public.t'] })
    psql(live.url, scriptFor(result, 'bring back'))
    expect(result.notes).toEqual([
      'a publication had a table that is gone: ALTER PUBLICATION ours ADD TABLE ONLY public.t (id) WHERE ((id > 7)) publishes it again',
    ])
    const [, statement = ''] = /: (.*) publishes it again$/.exec(result.notes[0] ?? '') ?? []
    psql(live.url, statement)
    expect(await query(live.url, "SELECT pubname AS name FROM pg_publication_tables WHERE tablename = 't'")).toEqual([
      { name: 'ours' },
    ])
  })

  it('a policy and a rule of a table that is there, which named it - notes with their statements, that make them again', async () => {
    await using live = await made(
      `CREATE TABLE gone (id int PRIMARY KEY); CREATE TABLE stays (id int PRIMARY KEY); ALTER TABLE stays ENABLE ROW LEVEL SECURITY;
       CREATE POLICY seen ON stays USING (id IN (SELECT id FROM gone)); CREATE POLICY own ON stays USING (id > 7);
       CREATE RULE copied AS ON INSERT TO stays DO ALSO INSERT INTO gone VALUES (NEW.id)`,
    )
    const before = await heldBy(live.url)
    await query(live.url, 'DROP TABLE gone CASCADE; DROP POLICY own ON stays')
    const result = await restoreTables(test, live.name, { tables: ['public.gone'] })
    psql(live.url, scriptFor(result, 'bring back'))
    expect(result.notes).toHaveLength(2)
    for (const note of result.notes)
      psql(live.url, note.replace(/^gone as well, though its own table is there: (.*) makes it again$/, '$1'))
    await query(live.url, 'CREATE POLICY own ON stays USING (id > 7)')
    expect(await heldBy(live.url)).toEqual(before)
  })

  it('functions that its policy and its view call, with names that are not qualified; a trigger on the view - all as they were', async () => {
    await using live = await made(
      `CREATE SCHEMA app; SET search_path = app; CREATE TABLE t (id int PRIMARY KEY); ALTER TABLE t ENABLE ROW LEVEL SECURITY;
       CREATE FUNCTION may(t) RETURNS boolean LANGUAGE sql AS 'SELECT EXISTS (SELECT FROM t WHERE id = $1.id)';
       CREATE POLICY p ON t USING (may(t)); CREATE VIEW v AS SELECT id FROM t;
       CREATE FUNCTION put() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO app.t VALUES (NEW.id); RETURN NEW; END';
       CREATE TRIGGER put INSTEAD OF INSERT ON v FOR EACH ROW EXECUTE FUNCTION put(); COMMENT ON VIEW v IS 'those there are'`,
    )
    const before = await heldBy(live.url)
    await query(live.url, 'DROP TABLE app.t CASCADE')
    const result = await restoreTables(test, live.name, { tables: ['app.t'] })
    psql(live.url, scriptFor(result, 'bring back'))
    expect(await heldBy(live.url)).toEqual(before)
  })

  it('an index that could not be made, and a long check - the one is a note, the other is there', async () => {
    const long = Array.from({ length: 40 }, (_, index) => `id <> -${index + 1}`).join(' AND ')
    await using live = await made(
      `CREATE TABLE flag (id int); INSERT INTO flag VALUES (1); CREATE TABLE t (id int PRIMARY KEY, CHECK (${long})); INSERT INTO t VALUES (1);
       CREATE FUNCTION odd(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN IF NOT EXISTS (SELECT FROM public.flag) THEN RAISE ''no flag''; END IF; RETURN $1; END';
       CREATE UNIQUE INDEX t_odd ON t (odd(id)); CREATE INDEX fine ON t ((id + 1))`,
    )
    const result = await restoreTables(test, live.name, { tables: ['public.t'] })
    expect(result.notes).toEqual(['the copy lacks the index t_odd of public.t'])
  })
})

describe('tables that are there', () => {
  it('rows that its foreign key would refuse - a copy without that key, and a note says why', async () => {
    await using live = await made(
      `CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY, a int REFERENCES a);
       SET session_replication_role = replica; INSERT INTO b VALUES (1, 7)`,
    )
    const result = await restoreTables(test, live.name, { tables: ['public.a', 'public.b'] })
    expect(result.notes).toEqual([
      expect.stringMatching(/^foreign key b_a_fkey of public\.b is left out of the copy: .*violates foreign key/),
    ])
    expect(await query(live.url, 'SELECT a FROM copy.b')).toEqual([{ a: 7 }])
  })

  it('a trigger that is silent on one partition - is again, when the others fire again', async () => {
    await using live = await made(
      `CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
       CREATE TABLE t (id int PRIMARY KEY) PARTITION BY RANGE (id);
       CREATE TABLE low PARTITION OF t FOR VALUES FROM (0) TO (10) PARTITION BY RANGE (id);
       CREATE TABLE lowest PARTITION OF low FOR VALUES FROM (0) TO (5); CREATE TABLE lower PARTITION OF low FOR VALUES FROM (5) TO (10);
       CREATE TABLE high PARTITION OF t FOR VALUES FROM (10) TO (20);
       CREATE TRIGGER x BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f(); INSERT INTO t VALUES (1), (7), (11);
       ALTER TABLE low DISABLE TRIGGER x; ALTER TABLE lower ENABLE ALWAYS TRIGGER x`,
    )
    const before = await heldBy(live.url)
    await query(live.url, 'DELETE FROM t')
    const result = await restoreTables(test, live.name, { tables: ['public.t'] })
    psql(live.url, scriptFor(result, 'bring back'))
    psql(live.url, scriptFor(result, 'clean up'))
    expect(await heldBy(live.url)).toEqual(before)
  })

  it('a view that somebody dropped, its tables there - is not made again; with one of them gone it is', async () => {
    await using live = await made(
      'CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY); CREATE VIEW v AS SELECT a.id FROM a JOIN b USING (id); CREATE VIEW w AS SELECT id FROM v; CREATE VIEW only_a AS SELECT id FROM a',
    )
    await query(live.url, 'DROP VIEW v, w, only_a')
    const tables = ['public.a', 'public.b']
    const kept = await restoreTables(test, live.name, { tables })
    expect(scriptFor(kept, 'bring back')).not.toContain('VIEW')
    psql(live.url, scriptFor(kept, 'clean up'))
    await query(live.url, 'DROP TABLE b')
    const result = await restoreTables(test, live.name, { tables })
    expect(scriptFor(result, 'bring back').match(/CREATE VIEW \S+/g)).toEqual([
      'CREATE VIEW public.v',
      'CREATE VIEW public.w',
    ])
    psql(live.url, scriptFor(result, 'bring back'))
  })

  it('functions of its rows that went with it, by CASCADE - made again, with comment, rights and overloads', async () => {
    await using live = await made(
      `CREATE TABLE a (id int PRIMARY KEY); INSERT INTO a VALUES (1);
       CREATE FUNCTION every(smallest int) RETURNS SETOF a LANGUAGE sql STABLE AS 'SELECT * FROM public.a WHERE id >= $1';
       CREATE FUNCTION every(several a[]) RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE FUNCTION other() RETURNS int LANGUAGE sql AS 'SELECT 2';
       COMMENT ON FUNCTION every(int) IS 'all of them'; REVOKE EXECUTE ON FUNCTION every(int) FROM PUBLIC;
       CREATE PROCEDURE "Odd ""One"" "(one a) LANGUAGE sql AS 'SELECT 3'; CREATE VIEW v AS SELECT * FROM every(0)`,
    )
    const before = await heldBy(live.url)
    await query(live.url, 'DROP TABLE a CASCADE')
    const result = await restoreTables(test, live.name, { tables: ['public.a'] })
    psql(live.url, scriptFor(result, 'bring back'))
    expect(await heldBy(live.url)).toEqual(before)
    expect(await query(live.url, 'SELECT * FROM v')).toEqual([{ id: 1 }])
  })

  it('policies that hide rows from whoever pastes - an error, and not rows that seem to be gone', async () => {
    await using live = await made('CREATE TABLE notes (body text); INSERT INTO notes VALUES (1), (2)')
    const role = `keeper_${live.name}`
    await query(
      live.url,
      `CREATE ROLE ${role}; ALTER TABLE notes OWNER TO ${role}; ALTER TABLE notes ENABLE ROW LEVEL SECURITY; ALTER TABLE notes FORCE ROW LEVEL SECURITY;
       CREATE POLICY mine ON notes USING (body = '1') WITH CHECK (true)`,
    )
    try {
      const result = await restoreTables(test, live.name, { tables: ['public.notes'] })
      await query(live.url, `GRANT USAGE ON SCHEMA copy TO ${role}; GRANT SELECT ON copy.notes TO ${role}`)
      const back = scriptFor(result, 'bring back')
      expect(() => psql(live.url, `SET ROLE ${role};\n${back}`)).toThrow(/row-level security policy/)
      psql(live.url, back)
      expect(await query(live.url, 'SELECT body FROM notes')).toHaveLength(2)
    } finally {
      await query(live.url, `DROP OWNED BY ${role} CASCADE; DROP ROLE ${role}`)
    }
  })

  it('a row at the very end of what the sequence can give - the sequence is left where it is', async () => {
    await using live = await made(
      'CREATE TABLE t (id serial PRIMARY KEY); INSERT INTO t SELECT FROM generate_series(1, 3); INSERT INTO t VALUES (2147483647)',
    )
    await query(live.url, 'DELETE FROM t WHERE id = 2')
    const result = await restoreTables(test, live.name, { tables: ['public.t'] })
    expect(psql(live.url, scriptFor(result, 'bring back'))).toBe('')
    expect(await query(live.url, "SELECT nextval('t_id_seq')::int AS next")).toEqual([{ next: 4 }])
  })

  it('a sequence of texts, one that counts down, one of steps - never back, never by another type', async () => {
    await using live = await made(
      `CREATE SEQUENCE s INCREMENT 10; CREATE TABLE t (no text PRIMARY KEY DEFAULT 'R-' || nextval('s'), n bigint GENERATED ALWAYS AS IDENTITY (INCREMENT -1 MAXVALUE -1));
       ALTER SEQUENCE s OWNED BY t.no; INSERT INTO t DEFAULT VALUES; INSERT INTO t DEFAULT VALUES`,
    )
    await query(
      live.url,
      "DELETE FROM t; SELECT setval('s', 8); SELECT setval(pg_get_serial_sequence('t', 'n'), -1, false)",
    )
    const result = await restoreTables(test, live.name, { tables: ['public.t'] })
    psql(live.url, scriptFor(result, 'bring back'))
    const next = "SELECT nextval('s')::int AS s, nextval(pg_get_serial_sequence('t', 'n'))::int AS n"
    expect(await query(live.url, next)).toEqual([{ s: 21, n: -3 }])
  })

  it('a sequence that has given out its last row, and one that is behind - only the one behind is moved', async () => {
    await using live = await made(
      'CREATE TABLE t (id serial PRIMARY KEY); CREATE TABLE u (id serial PRIMARY KEY); INSERT INTO t SELECT FROM generate_series(1, 3); INSERT INTO u SELECT FROM generate_series(1, 3)',
    )
    await query(live.url, 'TRUNCATE u RESTART IDENTITY; DELETE FROM t WHERE id = 2')
    const result = await restoreTables(test, live.name, { tables: ['public.t', 'public.u'] })
    expect(psql(live.url, scriptFor(result, 'bring back'))).toBe('3\n')
    expect(await query(live.url, "SELECT nextval('t_id_seq')::int AS t, nextval('u_id_seq')::int AS u")).toEqual([
      { t: 4, u: 4 },
    ])
  })
})
