import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  earlierStates,
  readLargeObjects,
  readRefreshedSequences,
  readSequences,
  takeCensus,
} from '../../src/postgres/census.ts'
import { connect } from '../../src/postgres/connect.ts'
import { listLeftOut } from '../../src/postgres/coverage.ts'
import { holdSnapshot, joinSnapshot } from '../../src/postgres/snapshot.ts'
import { listDumpedTables, tableName } from '../../src/postgres/tables.ts'
import { testUrl } from '../support/installation.ts'
import { query } from '../support/postgres-server.ts'
import {
  codeOf,
  contentsOf,
  dumpAndRestore,
  errorOf,
  eventually,
  openSandbox,
  type Sandbox,
  signal,
} from './sandbox.ts'

/** Makes tables members of an extension, as its script would; a filter is as in `pg_extension_config_dump`. */
function asExtensionTables(filters: Readonly<Record<string, string | null>>): string {
  const configuration = Object.entries(filters).filter(([, filter]) => filter !== null)
  const array = (items: readonly string[], type: string): string => `ARRAY[${items.join(', ')}]::${type}[]`
  return `CREATE EXTENSION IF NOT EXISTS lo;
    ${Object.keys(filters)
      .map((name) => `ALTER EXTENSION lo ADD TABLE ${name};`)
      .join('\n')}
    UPDATE pg_extension SET
      extconfig = ${array(
        configuration.map(([name]) => `'${name}'::regclass`),
        'oid',
      )},
      extcondition = ${array(
        configuration.map(([, filter]) => `$filter$${filter}$filter$`),
        'text',
      )}
     WHERE extname = 'lo'`
}

describe('which tables are counted', () => {
  it('every table that a dump has rows of, and no other', async () => {
    await using sandbox = await openSandbox(
      `
      CREATE TABLE plain (); CREATE UNLOGGED TABLE unlogged (); CREATE TEMP TABLE temporary ();
      CREATE TABLE root (a int) PARTITION BY RANGE (a); CREATE TABLE leaf PARTITION OF root DEFAULT;
      CREATE TYPE row_type AS (a int); CREATE TABLE typed OF row_type;
      CREATE VIEW view AS SELECT 1; CREATE MATERIALIZED VIEW filled AS SELECT 1 AS a; CREATE MATERIALIZED VIEW empty AS SELECT 1 AS a WITH NO DATA;
      CREATE EXTENSION file_fdw; CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;
      CREATE FOREIGN TABLE far (line text) SERVER files OPTIONS (filename '/etc/passwd');
      CREATE FOREIGN TABLE far_leaf PARTITION OF root FOR VALUES IN (7) SERVER files OPTIONS (filename '/etc/passwd')
      `.replace('FOR VALUES IN (7)', 'FOR VALUES FROM (7) TO (8)'),
    )
    const tables = await listDumpedTables(sandbox.client, false)
    expect(tables.map(tableName)).toEqual(['public.leaf', 'public.plain', 'public.typed', 'public.unlogged'])
    expect((await listDumpedTables(sandbox.client, true)).map(tableName)).not.toContain('public.unlogged')
    const leftOut = await listLeftOut(sandbox.client, false)
    expect(leftOut.map(({ kind, object }) => `${kind}: ${object}`)).toEqual([
      'foreign data: public.far',
      'foreign data: public.far_leaf',
    ])
  })

  it('tables of an extension - only its configuration tables, filtered as pg_dump filters them, and restored so', async () => {
    const tables = `CREATE TABLE whole (id int); CREATE TABLE part (id int, own boolean); CREATE TABLE ranked (id int, "pgproof row" int);
      CREATE TABLE inner_state (id int);
      ${asExtensionTables({ whole: '', part: 'WHERE own', ranked: 'WHERE ranked.id > 5 ORDER BY ranked.id DESC LIMIT 3', inner_state: null })}`
    await using source = await openSandbox(`${tables};
      INSERT INTO whole SELECT generate_series(1, 3); INSERT INTO part SELECT g, g % 2 = 0 FROM generate_series(1, 10) g;
      INSERT INTO ranked SELECT g, g FROM generate_series(1, 20) g; INSERT INTO inner_state VALUES (1)`)
    await using copy = await openSandbox(tables)
    const expected = await contentsOf(source.client)
    expect(Object.entries(expected).map(([name, { rows }]) => `${name} ${rows}`)).toEqual([
      'public.part 5',
      'public.ranked 3',
      'public.whole 3',
    ])
    await dumpAndRestore(source.connection, copy.connection)
    expect(await contentsOf(copy.client)).toEqual(expected)
    await source.sql('UPDATE part SET id = 0 WHERE NOT own')
    expect(await contentsOf(source.client)).toEqual(expected)
  })
})

it('configuration of an extension that lies in pg_catalog - its tables and sequences are in the dump, and counted', async () => {
  const tables = `SET allow_system_table_mods = on; CREATE TABLE pg_catalog.views_kept (id int); CREATE SEQUENCE pg_catalog.views_seq;
    ${asExtensionTables({ 'pg_catalog.views_kept': '' })};
    ALTER EXTENSION lo ADD SEQUENCE pg_catalog.views_seq;
    UPDATE pg_extension SET extconfig = extconfig || 'pg_catalog.views_seq'::regclass::oid, extcondition = extcondition || ''::text WHERE extname = 'lo'`
  await using source = await openSandbox(
    `${tables}; INSERT INTO pg_catalog.views_kept VALUES (1), (2); SELECT nextval('pg_catalog.views_seq'), nextval('pg_catalog.views_seq')`,
  )
  await using copy = await openSandbox(tables)
  const expected = await contentsOf(source.client)
  expect(Object.entries(expected).map(([name, { rows }]) => `${name} ${rows}`)).toEqual(['pg_catalog.views_kept 2'])
  const sequences = await readSequences(source.client, false)
  expect(sequences).toMatchObject([{ schema: 'pg_catalog', name: 'views_seq', lastValue: '2' }])
  await dumpAndRestore(source.connection, copy.connection)
  expect(await contentsOf(copy.client)).toEqual(expected)
  expect(await readSequences(copy.client, false)).toEqual(sequences)
})

describe('taking a census', () => {
  it('levels per table, several connections, a report of progress - every table once, in order of their names', async () => {
    await using sandbox = await openSandbox(
      Array.from(
        { length: 12 },
        (_, index) => `CREATE TABLE t${index} AS SELECT g FROM generate_series(1, ${index * 100}) g`,
      ).join(';'),
    )
    await using second = await connect(sandbox.connection, signal)
    const progress: string[] = []
    const census = await takeCensus(
      [sandbox.client, second.client],
      {
        database: sandbox.database,
        tables: await listDumpedTables(sandbox.client, false),
        level: ({ name }) => (name === 't1' ? 'off' : name === 't2' ? 'count' : 'digest'),
        onTable: (done, total) => progress.push(`${done}/${total}`),
      },
      signal,
    )
    expect(census.map(({ name }) => name)).toEqual([...census.map(({ name }) => name)].sort())
    const of = (wanted: string): unknown => census.find(({ name }) => name === wanted)
    expect(of('t1')).toMatchObject({ rows: null, digest: null, level: 'off' })
    expect(of('t2')).toMatchObject({ rows: 200, digest: null, level: 'count' })
    expect(of('t3')).toMatchObject({ rows: 300, digest: expect.stringMatching(/^-?\d+$/), level: 'digest' })
    expect(progress).toEqual(Array.from({ length: 12 }, (_, index) => `${index + 1}/12`))
  })

  it('one connection - the largest table first, so that none of them is the last one at work', async () => {
    await using sandbox = await openSandbox(
      ['a_small', 'b_large', 'c_middle']
        .map((name, index) => `CREATE TABLE ${name} AS SELECT generate_series(1, ${[10, 20_000, 5_000][index]}) AS a`)
        .join(';'),
    )
    const tables = await listDumpedTables(sandbox.client, false, 'measured')
    const taken: string[] = []
    const level = ({ name }: { readonly name: string }): 'count' => {
      taken.push(name)
      return 'count'
    }
    await takeCensus([sandbox.client], { database: sandbox.database, tables, level }, signal)
    expect(taken).toEqual(['b_large', 'c_middle', 'a_small'])
  })

  it('a partition that may change places with others - says below which table; any other says nothing of one', async () => {
    await using sandbox = await openSandbox('CREATE TABLE own (); CREATE TABLE part ()')
    const tables = (await listDumpedTables(sandbox.client, false)).map((table) => {
      return table.name === 'part' ? { ...table, root: { schema: 'public', name: 'whole' } } : table
    })
    const census = await takeCensus([sandbox.client], { database: '', tables, level: () => 'off' }, signal)
    const common = { schema: 'public', level: 'off', condition: null, rows: null, digest: null }
    expect(census).toEqual([
      { ...common, name: 'own' },
      { ...common, name: 'part', root: { schema: 'public', name: 'whole' } },
    ])
    expect(census[0]).not.toHaveProperty('root')
  })

  it('aborted between two tables - the reason, and nothing of the second one is asked', async () => {
    await using sandbox = await openSandbox('CREATE TABLE one (); CREATE TABLE two ()')
    const tables = await listDumpedTables(sandbox.client, false)
    const controller = new AbortController()
    const taken: string[] = []
    const onTable = (done: number): void => {
      taken.push(String(done))
      controller.abort(new Error('stop'))
    }
    const request = { database: '', tables, level: () => 'off' as const, onTable }
    const error = await errorOf(takeCensus([sandbox.client], request, controller.signal))
    expect({ message: (error as Error).message, taken }).toEqual({ message: 'stop', taken: ['1'] })
  })

  it('a table that cannot be read to its end - QUERY_FAILED that names it, and the other connections stop', async () => {
    await using sandbox =
      await openSandbox(`CREATE TABLE good AS SELECT 1 AS a; CREATE TABLE bad AS SELECT 0 AS a; CREATE TABLE slow AS SELECT 1 AS a;
      ${asExtensionTables({ bad: 'WHERE 1 / a = 1', slow: 'WHERE pg_sleep(60) IS NULL' })}`)
    const tables = await listDumpedTables(sandbox.client, false)
    const run = async (): Promise<void> => {
      await using one = await connect(sandbox.connection, signal, 'pgproof census')
      await using other = await connect(sandbox.connection, signal, 'pgproof census')
      const request = { database: 'shop', tables, level: () => 'digest' as const }
      await takeCensus([one.client, other.client], request, signal)
    }
    const start = performance.now()
    const error = await errorOf(run())
    expect(error).toMatchObject({
      code: 'QUERY_FAILED',
      message: expect.stringMatching(/public\.bad: division by zero/),
    })
    expect(performance.now() - start).toBeLessThan(10_000)
    await eventually(() => runningIn(sandbox)).toEqual([])
  })

  it('aborted - rejects with the reason at once, and its backends are gone', async () => {
    await using sandbox = await openSandbox(
      `CREATE TABLE slow AS SELECT 1 AS a; ${asExtensionTables({ slow: 'WHERE pg_sleep(60) IS NULL' })}`,
    )
    const tables = await listDumpedTables(sandbox.client, false)
    const controller = new AbortController()
    const run = async (): Promise<void> => {
      await using held = await connect(sandbox.connection, controller.signal, 'pgproof census')
      const request = { database: 'shop', tables, level: () => 'digest' as const }
      await takeCensus([held.client], request, controller.signal)
    }
    const running = errorOf(run())
    await eventually(() => runningIn(sandbox)).toEqual(['active'])
    const start = performance.now()
    controller.abort(new Error('stop'))
    expect(await running).toMatchObject({ message: 'stop' })
    expect(performance.now() - start).toBeLessThan(3_000)
    await eventually(() => runningIn(sandbox)).toEqual([])
  })

  it('inside a snapshot - a REINDEX need not wait for its end', async () => {
    await using sandbox = await openSandbox('CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)')
    await using snapshot = await holdSnapshot(sandbox.connection, { lockTimeoutMs: 5_000 }, signal)
    await using joined = await joinSnapshot(sandbox.connection, snapshot, signal)
    await takeCensus([joined.client], { database: '', tables: snapshot.tables, level: () => 'digest' }, signal)
    await sandbox.sql("SET lock_timeout = '2s'; REINDEX INDEX t_pkey")
  })
})

describe('large objects', () => {
  let sandbox: Sandbox
  beforeAll(async () => {
    sandbox = await openSandbox()
  })
  afterAll(async () => sandbox[Symbol.asyncDispose]())

  it('none - a count of zero; level count - a count alone', async () => {
    expect(await readLargeObjects(sandbox.client, 'digest')).toEqual({ count: 0, bytes: 0, digest: '0' })
    await sandbox.sql("SELECT lo_from_bytea(100, 'x')")
    expect(await readLargeObjects(sandbox.client, 'count')).toEqual({ count: 1, bytes: 0, digest: null })
    await sandbox.sql('SELECT lo_unlink(100)')
  })

  it('of every length around the size of a piece - counted, measured, and each change is seen', async () => {
    const piece = 1 << 20
    const lengths = [0, 1, 2047, 2048, 2049, piece - 1, piece, piece + 1, 2 * piece, 3 * piece + 5]
    const make = lengths.map(
      (length, index) => `SELECT lo_from_bytea(${200 + index}, decode(repeat('ab', ${length}), 'hex'))`,
    )
    await sandbox.sql(make.join(';'))
    const read = async (): Promise<Awaited<ReturnType<typeof readLargeObjects>>> =>
      await readLargeObjects(sandbox.client, 'digest')
    const whole = await read()
    expect(whole).toMatchObject({ count: lengths.length, bytes: lengths.reduce((sum, length) => sum + length) })

    const digests = new Set([whole.digest])
    const changes = [
      `SELECT lo_put(209, ${3 * piece + 4}, '\\x00')`,
      `SELECT lo_put(206, ${piece - 1}, '\\x00')`,
      `SELECT lo_put(206, ${piece}, '\\x00')`,
      `SELECT lo_put(200, 0, '\\x00')`,
      // The same content under another number.
      `SELECT lo_unlink(201); SELECT lo_from_bytea(301, '\\xab')`,
      // Two objects swap their contents.
      `SELECT lo_unlink(203), lo_unlink(204); SELECT lo_from_bytea(204, decode(repeat('ab', 2048), 'hex')), lo_from_bytea(203, decode(repeat('ab', 2049), 'hex'))`,
      'SELECT lo_unlink(208)',
    ]
    for (const change of changes) {
      await sandbox.sql(change)
      digests.add((await read()).digest)
    }
    expect(digests.size).toBe(changes.length + 1)
  })

  it('written in pieces, with a hole and across pages - the same digest as at once, and after a restore', async () => {
    await using from =
      await openSandbox(`SELECT lo_from_bytea(1, ''); SELECT lo_put(1, 10000, '\\x01'); SELECT lo_put(1, 3, '\\x02ff');
      SELECT lo_from_bytea(2, decode(repeat('cd', 3000000), 'hex')); CREATE TABLE t AS SELECT 1::oid AS photo`)
    await using to = await openSandbox()
    const expected = await readLargeObjects(from.client, 'digest')
    expect(expected).toMatchObject({ count: 2, bytes: 3_010_001 })
    await dumpAndRestore(from.connection, to.connection)
    expect(await readLargeObjects(to.client, 'digest')).toEqual(expected)
    await to.sql(
      "SELECT lo_unlink(1); SELECT lo_from_bytea(1, set_byte(set_byte(set_byte(decode(repeat('00', 10001), 'hex'), 10000, 1), 3, 2), 4, 255))",
    )
    expect(await readLargeObjects(to.client, 'digest')).toEqual(expected)
  })

  it('beyond what one value may hold (1.1 GB, most of it a hole) - digested', async () => {
    await using large = await openSandbox("SELECT lo_from_bytea(1, 'x'); SELECT lo_put(1, 1100000000, 'y')")
    expect(await readLargeObjects(large.client, 'digest')).toMatchObject({ count: 1, bytes: 1_100_000_001 })
  })

  it('of somebody else - QUERY_FAILED, not a fault in pgproof', async () => {
    const role = `reader_${sandbox.database}`
    await sandbox.sql(`CREATE ROLE ${role} LOGIN PASSWORD 'x'; SELECT lo_from_bytea(999, 'x')`)
    try {
      await using held = await connect({ ...sandbox.connection, user: role, password: () => 'x' }, signal)
      expect(await codeOf(readLargeObjects(held.client, 'digest'))).toBe('QUERY_FAILED')
    } finally {
      await query(testUrl(), `DROP ROLE ${role}`)
    }
  })
})

describe('sequences', () => {
  it('of every kind, with every kind of name, in hundreds - each with its state', async () => {
    const many = Array.from({ length: 450 }, (_, index) => `CREATE SEQUENCE many.s${index} START ${index + 1}`).join(
      ';',
    )
    await using sandbox =
      await openSandbox(`CREATE SCHEMA many; ${many}; CREATE TABLE t (a serial, b int GENERATED ALWAYS AS IDENTITY);
      CREATE SEQUENCE "s.""q" INCREMENT -3 MAXVALUE 10 START 10; CREATE SEQUENCE wide AS bigint START 9223372036854775806; CREATE TEMP SEQUENCE temporary;
      INSERT INTO t DEFAULT VALUES; SELECT nextval('"s.""q"'), nextval('"s.""q"'), nextval('wide')`)
    const sequences = await readSequences(sandbox.client, false)
    expect(sequences).toHaveLength(450 + 4)
    const of = (wanted: string): unknown => sequences.find(({ name }) => name === wanted)
    expect(of('s449')).toEqual({
      ...{ schema: 'many', name: 's449', increment: '1', lastValue: '450', isCalled: false },
      isCycling: false,
    })
    expect(of('t_b_seq')).toMatchObject({ lastValue: '1', isCalled: true })
    expect(of('s."q')).toMatchObject({ increment: '-3', lastValue: '7', isCalled: true })
    expect(of('wide')).toMatchObject({ lastValue: '9223372036854775806', isCalled: true })
  })

  it('read twice around a dump - the one that is behind in its own direction, whatever its sign, and the other as the latest; a dropped one is left out', () => {
    const state = (name: string, lastValue: string, isCalled: boolean, increment = '1') => ({
      schema: 's',
      name,
      lastValue,
      isCalled,
      increment,
      isCycling: false,
    })
    const before = [
      state('up', '5', true),
      state('down', '5', true, '-1'),
      state('fresh', '1', false),
      state('reset', '100', true),
      state('gone', '1', true),
    ]
    const after = [
      state('up', '9', true),
      state('down', '2', true, '-1'),
      state('fresh', '1', true),
      state('reset', '1', false),
    ]
    const latest = (lastValue: string) => ({ latest: { lastValue, isCalled: true } })
    expect(earlierStates(before, after)).toEqual([
      { ...before[0], ...latest('9') },
      { ...before[1], ...latest('2') },
      { ...before[2], ...latest('1') },
      { ...after[3], ...latest('100') },
    ])
  })

  it('neither those that a refresh moves on nor large objects can be asked for - QUERY_FAILED that names the database', async () => {
    await using sandbox = await openSandbox()
    await expect(sandbox.client.query('BEGIN; SELECT 1/0')).rejects.toThrow('division by zero')
    for (const [what, asked] of [
      ['sequences', () => readRefreshedSequences(sandbox.client)],
      ['large objects', () => readLargeObjects(sandbox.client, 'digest')],
    ] as const)
      expect(await errorOf(asked())).toMatchObject({
        code: 'QUERY_FAILED',
        message: expect.stringContaining(`"${sandbox.database}": census of ${what}: current transaction is aborted`),
      })
  })

  it('one that is not to be read - QUERY_FAILED, not a fault in pgproof', async () => {
    await using sandbox = await openSandbox('CREATE SEQUENCE s')
    const role = `reader_${sandbox.database}`
    await sandbox.sql(`CREATE ROLE ${role} LOGIN PASSWORD 'x'`)
    try {
      await using held = await connect({ ...sandbox.connection, user: role, password: () => 'x' }, signal)
      const error = await errorOf(readSequences(held.client, false))
      expect(error).toMatchObject({ code: 'QUERY_FAILED', cause: { code: '42501' } })
      expect((error as Error).message).toMatch(
        new RegExp(`"${sandbox.database}": census of sequences: permission denied for sequence s$`),
      )
    } finally {
      await query(testUrl(), `DROP ROLE ${role}`)
    }
  })
})

/** What the census' own sessions are doing. */
async function runningIn(sandbox: Sandbox): Promise<string[]> {
  const rows = await sandbox.sql(
    "SELECT state FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'pgproof census' ORDER BY 1",
  )
  return rows.map(({ state }) => String(state))
}
