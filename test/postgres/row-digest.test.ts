import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { connect } from '../../src/postgres/connect.ts'
import { testUrl } from '../support/installation.ts'
import { query } from '../support/postgres-server.ts'
import { connectionTo, contentsOf, digestOf, openSandbox, type Sandbox, signal } from './sandbox.ts'

let sandbox: Sandbox
beforeAll(async () => {
  sandbox = await openSandbox()
})
afterAll(async () => sandbox[Symbol.asyncDispose]())
beforeEach(async () => {
  await sandbox.sql('DROP TABLE IF EXISTS t CASCADE')
})

/** The digest before and after some SQL. */
async function around(setUp: string, change: string): Promise<[string, string]> {
  await sandbox.sql(setUp)
  const before = await digestOf(sandbox.client)
  await sandbox.sql(change)
  return [before, await digestOf(sandbox.client)]
}

const people = `CREATE TABLE t (id int PRIMARY KEY, name text, town text, age int, score float8);
  INSERT INTO t SELECT g, 'name ' || g, 'town ' || g % 7, g % 50, g / 7.0 FROM generate_series(1, 500) g`

describe('what a damaged copy could look like - another digest', () => {
  it.each([
    ['two rows swap a value', 'UPDATE t SET town = (SELECT town FROM t o WHERE o.id = 5 - t.id) WHERE id IN (2, 3)'],
    [
      'two rows swap two values',
      'UPDATE t a SET name = b.name, age = b.age FROM t b WHERE a.id + b.id = 21 AND a.id IN (10, 11)',
    ],
    ['all rows rotate one column', 'UPDATE t a SET name = b.name FROM t b WHERE b.id = a.id % 500 + 1'],
    ['a value moves to another column of its row', 'UPDATE t SET name = town, town = name WHERE id = 7'],
    [
      'a NULL moves to another column',
      "UPDATE t SET name = NULL WHERE id = 1; UPDATE t SET name = 'name 1', town = NULL WHERE id = 1",
    ],
    ['a row is missing', 'DELETE FROM t WHERE id = 100'],
    ['a row is there twice', 'ALTER TABLE t DROP CONSTRAINT t_pkey; INSERT INTO t SELECT * FROM t WHERE id = 100'],
    [
      'a row is there three times instead of once',
      'ALTER TABLE t DROP CONSTRAINT t_pkey; INSERT INTO t SELECT t.* FROM t, generate_series(1, 2) WHERE id = 100',
    ],
    [
      'one row is replaced by a copy of another',
      'ALTER TABLE t DROP CONSTRAINT t_pkey; DELETE FROM t WHERE id = 1; INSERT INTO t SELECT * FROM t WHERE id = 2',
    ],
    ['the last bit of a number', 'UPDATE t SET score = score + 1e-13 WHERE id = 500'],
    ['a trailing blank', "UPDATE t SET name = name || ' ' WHERE id = 3"],
    ['an empty string for NULL', 'UPDATE t SET name = NULL WHERE id = 1'],
    ['every row is gone', 'TRUNCATE t'],
  ])('%s', async (_, change) => {
    const [before, after] = await around(people, change)
    expect(after).not.toBe(before)
  })

  it('one row appears and a duplicate of another goes - another digest, though the count is the same', async () => {
    const [before, after] = await around(
      `CREATE TABLE t (v int); INSERT INTO t VALUES (1), (1), (2)`,
      `DELETE FROM t WHERE ctid = '(0,1)'; INSERT INTO t VALUES (2)`,
    )
    expect(after).not.toBe(before)
  })

  it('pairs of equal rows - another digest than other pairs, and than none', async () => {
    const digests = new Set<string>()
    for (const values of ['(1), (1)', '(2), (2)', '(1), (2)', '(NULL), (NULL)', '(0), (0)']) {
      await sandbox.sql(`DROP TABLE IF EXISTS t; CREATE TABLE t (v int); INSERT INTO t VALUES ${values}`)
      digests.add(await digestOf(sandbox.client))
    }
    await sandbox.sql('TRUNCATE t')
    digests.add(await digestOf(sandbox.client))
    expect(digests.size).toBe(6)
  })

  it('a value beyond 2 kB, out of line, differs in its last byte - another digest', async () => {
    const [before, after] = await around(
      `CREATE TABLE t (v bytea); ALTER TABLE t ALTER v SET STORAGE EXTERNAL;
       INSERT INTO t SELECT decode(repeat('ab', 3000000), 'hex')`,
      'UPDATE t SET v = set_byte(v, 2999999, 1)',
    )
    expect(after).not.toBe(before)
  })
})

describe('the same rows in another shape - the same digest', () => {
  it.each([
    ['another physical order', 'CLUSTER t USING t_pkey; CREATE INDEX i ON t (name DESC); CLUSTER t USING i'],
    ['VACUUM FULL after updates', 'UPDATE t SET age = age; VACUUM FULL t'],
    [
      'rows put in anew, backwards',
      'CREATE TEMP TABLE u AS SELECT * FROM t; DELETE FROM t; INSERT INTO t SELECT * FROM u ORDER BY id DESC; DROP TABLE u',
    ],
    [
      'columns in another order',
      'ALTER TABLE t ADD new text; UPDATE t SET new = name; ALTER TABLE t DROP name; ALTER TABLE t RENAME new TO name',
    ],
    ['a column added and dropped', 'ALTER TABLE t ADD x int DEFAULT 7; ALTER TABLE t DROP x'],
    ['other storage and compression', 'ALTER TABLE t ALTER name SET STORAGE EXTERNAL; UPDATE t SET name = name'],
    ['statistics and indexes', 'CREATE INDEX ON t (age); CREATE INDEX ON t USING hash (name); ANALYZE t'],
    ['a generated column on top', 'ALTER TABLE t ADD g int GENERATED ALWAYS AS (age * 2) STORED'],
    ['dead rows', 'INSERT INTO t SELECT id + 1000 FROM t; DELETE FROM t WHERE id > 1000'],
    [
      'a table moved to another schema',
      'CREATE SCHEMA elsewhere; ALTER TABLE t SET SCHEMA elsewhere; ALTER TABLE elsewhere.t SET SCHEMA public; DROP SCHEMA elsewhere',
    ],
    ['rewritten as unlogged', 'ALTER TABLE t SET UNLOGGED'],
    ['row security that lets the owner through', 'ALTER TABLE t ENABLE ROW LEVEL SECURITY'],
  ])('%s', async (_, change) => {
    await sandbox.sql('SET client_min_messages = error')
    await sandbox.sql(people)
    const before = await digestOf(sandbox.client)
    for (const statement of change.split('; ')) await sandbox.sql(statement)
    expect(await digestOf(sandbox.client)).toBe(before)
  })

  it('enum and row types made anew with other OIDs', async () => {
    const setUp = (
      extra: string,
    ): string => `DROP TABLE IF EXISTS t; DROP TYPE IF EXISTS pair; DROP TYPE IF EXISTS mood; ${extra}
      CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE TYPE pair AS (m mood, ms mood[]);
      CREATE TABLE t (m mood, ms mood[], p pair, ps pair[]);
      INSERT INTO t VALUES ('ok', '{sad,ok}', ROW('sad', '{ok}'), ARRAY[ROW('ok', NULL)::pair])`
    await sandbox.sql(setUp(''))
    const before = await digestOf(sandbox.client)
    await sandbox.sql(setUp("CREATE TYPE other AS ENUM ('x'); DROP TYPE other;"))
    expect(await digestOf(sandbox.client)).toBe(before)
  })

  it('a parallel plan and a serial one', async () => {
    await sandbox.sql(
      `${people}; INSERT INTO t SELECT g, md5(g::text), NULL, NULL, NULL FROM generate_series(1000, 40000) g; ANALYZE t`,
    )
    await using held = await connect(sandbox.connection, signal)
    const { client } = held
    await client.query('SET max_parallel_workers_per_gather = 0')
    const serial = await digestOf(client)
    await client.query(`SET max_parallel_workers_per_gather = 4; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0;
      SET min_parallel_table_scan_size = 0; SET parallel_leader_participation = off`)
    const { rows } = await client.query(
      'EXPLAIN SELECT sum(hash_record_extended(ROW(id, concat(name)), 0)) FROM public.t',
    )
    expect(JSON.stringify(rows)).toContain('Workers Planned')
    expect(await digestOf(client)).toBe(serial)
  })

  it('rows of an inheritance child, whose columns are in another order - counted in the child alone', async () => {
    await sandbox.sql(`CREATE TABLE t (a int, b text); INSERT INTO t VALUES (1, 'x');
      CREATE TABLE child (b text, a int, c int); ALTER TABLE child INHERIT t; INSERT INTO child VALUES ('y', 2, 3)`)
    const before = await contentsOf(sandbox.client)
    expect(before['public.t']?.rows).toBe(1)
    expect(before['public.child']?.rows).toBe(1)
    await sandbox.sql(
      `DROP TABLE child; CREATE TABLE child (c int) INHERITS (t); INSERT INTO child (a, b, c) VALUES (2, 'y', 3)`,
    )
    expect(await contentsOf(sandbox.client)).toEqual(before)
  })
})

describe('settings of a role or a database - the same digest', () => {
  const settings =
    `DateStyle = 'German, DMY'; IntervalStyle = 'sql_standard'; TimeZone = 'Asia/Kathmandu'; extra_float_digits = -15;
    bytea_output = 'escape'; search_path = 'public, pg_catalog'; lc_monetary = 'C.UTF-8'; xmlbinary = 'hex'; xmloption = 'document';
    quote_all_identifiers = on; lc_numeric = 'C.UTF-8'; standard_conforming_strings = off; array_nulls = off;
    enable_seqscan = off; max_parallel_workers_per_gather = 0; default_transaction_isolation = 'serializable';
    default_transaction_read_only = on; transform_null_equals = on; row_security = on; client_encoding = 'LATIN1';
    session_replication_role = 'replica'; statement_timeout = '1ms'; idle_in_transaction_session_timeout = '1ms';
    lock_timeout = '1ms'; synchronize_seqscans = on; jit = on; jit_above_cost = 0; work_mem = '64kB'`
      .split(';')
      .map((setting) => setting.trim())

  it.each(['ROLE', 'DATABASE'])('ALTER %s … SET of everything that changes how values are written', async (kind) => {
    await sandbox.sql(`CREATE TYPE mixed AS (d date, i interval, ts timestamptz, f float8, b bytea, m money, n numeric, c regclass);
      SET lc_monetary = 'C';
      CREATE TABLE t (d date, i interval, ts timestamptz, f float8, r real, b bytea, m money, c regclass, x xml, fs float8[], ds date[],
        mixed mixed, ranges tstzrange, note text);
      INSERT INTO t SELECT d, i, d, 0.1 + 0.2, 0.1, '\\x00ff', 12.34, 't', '<a/>', ARRAY[0.1 + 0.2], ARRAY[d],
        ROW(d, i, d, 0.1 + 0.2, '\\x00ff', 12.34, 1.0, 't')::mixed, tstzrange(d, NULL), 'é'
        FROM (SELECT date '2026-02-03' AS d, interval '1 mon -1 day 1:02:03.4' AS i) x`)
    const before = await digestOf(sandbox.client)
    const role = `setter_${sandbox.database}`
    await sandbox.sql(`CREATE ROLE ${role} LOGIN SUPERUSER PASSWORD 'x'`)
    try {
      const target = kind === 'ROLE' ? `ROLE ${role}` : `DATABASE ${sandbox.database}`
      for (const setting of settings) await query(testUrl(), `ALTER ${target} SET ${setting}`)
      await using held = await connect(connectionTo(sandbox.database, { user: role, password: () => 'x' }), signal)
      expect(await digestOf(held.client)).toBe(before)
      await query(testUrl(), `ALTER ${target} RESET ALL`)
    } finally {
      await query(testUrl(), `DROP ROLE ${role}`)
      await sandbox.sql('DROP TYPE mixed CASCADE')
    }
  })
})

describe('unusual tables', () => {
  it('no columns at all - counted, and the digest follows the count', async () => {
    await sandbox.sql('CREATE TABLE t ()')
    const digests = [await digestOf(sandbox.client)]
    for (let count = 0; count < 2; count += 1) {
      await sandbox.sql('INSERT INTO t DEFAULT VALUES')
      digests.push(await digestOf(sandbox.client))
    }
    expect(new Set(digests).size).toBe(3)
    expect((await contentsOf(sandbox.client))['public.t']?.rows).toBe(2)
  })

  it('only a generated column - as if it had none', async () => {
    await sandbox.sql('CREATE TABLE t (g int GENERATED ALWAYS AS (1) STORED); INSERT INTO t DEFAULT VALUES')
    expect((await contentsOf(sandbox.client))['public.t']?.rows).toBe(1)
  })

  it.each(['int', 'text', 'float8', 'xml'])('1,600 columns of %s - digested, the last one counts', async (type) => {
    const columns = Array.from({ length: 1600 }, (_, index) => `c${index} ${type}`).join(', ')
    const [before, after] = await around(
      `CREATE TABLE t (${columns}); INSERT INTO t (c0, c1599) VALUES ('1', '2')`,
      `UPDATE t SET c1599 = '3'`,
    )
    expect(after).not.toBe(before)
  })

  it('an identity column, and dropped columns between - digested without those', async () => {
    const [before, after] = await around(
      `CREATE TABLE t (a int GENERATED ALWAYS AS IDENTITY, x text, b text, y xml); INSERT INTO t (b) VALUES ('v'), ('w');
       ALTER TABLE t DROP x, DROP y`,
      `UPDATE t SET a = DEFAULT WHERE a = 1`,
    )
    expect(after).not.toBe(before)
  })

  const names = [
    'pgproof row',
    'a"b',
    "a'b",
    'a.b',
    'a\nb',
    'a\\b',
    'é ☕',
    'select',
    'count',
    'rows',
    'digest',
    'A',
    ' ',
    't',
    '$1',
    'a--b',
    '/*',
  ]

  it('columns with every kind of name, the alias of the query among them - each one counts', async () => {
    const quoted = names.map((name) => `"${name.replaceAll('"', '""')}"`)
    await sandbox.sql(
      `CREATE TABLE t (${quoted.map((name) => `${name} int`).join(', ')}); INSERT INTO t DEFAULT VALUES`,
    )
    const digests = new Set([await digestOf(sandbox.client)])
    for (const name of quoted) {
      await sandbox.sql(`UPDATE t SET ${name} = 1`)
      digests.add(await digestOf(sandbox.client))
    }
    expect(digests.size).toBe(names.length + 1)
  })

  it('a column that is a row with a field of the same name - no confusion', async () => {
    const [before, after] = await around(
      `CREATE TYPE "pgproof row" AS ("pgproof row" int, v int);
       CREATE TABLE t ("pgproof row" "pgproof row", v int); INSERT INTO t VALUES ('(1,2)', 3)`,
      `UPDATE t SET v = 2, "pgproof row" = '(1,3)'`,
    )
    expect(after).not.toBe(before)
    await sandbox.sql('DROP TYPE "pgproof row" CASCADE')
  })

  it('tables and schemas with every kind of name - all listed, by their names', async () => {
    const quoted = names.map((name) => `"${name.replaceAll('"', '""')}"`)
    for (const name of quoted)
      await sandbox.sql(
        `CREATE SCHEMA ${name}; CREATE TABLE ${name}.${name} (v int); INSERT INTO ${name}.${name} VALUES (1)`,
      )
    const contents = await contentsOf(sandbox.client)
    expect(Object.keys(contents)).toHaveLength(names.length)
    expect(new Set(Object.values(contents).map(({ rows }) => rows))).toEqual(new Set([1]))
    for (const name of quoted) await sandbox.sql(`DROP SCHEMA ${name} CASCADE`)
  })
})
