import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Connection, connect } from '../../src/postgres/connect.ts'
import { testUrl } from '../support/installation.ts'
import { query } from '../support/postgres-server.ts'
import { connectionTo, contentsOf, digestOf, dumpAndRestore, openSandbox, type Sandbox, signal } from './sandbox.ts'

let source: Sandbox
let copy: Sandbox
beforeAll(async () => {
  source = await openSandbox()
  copy = await openSandbox()
})
afterAll(async () => {
  await source[Symbol.asyncDispose]()
  await copy[Symbol.asyncDispose]()
})

describe('dumped and restored into another database - the same digests', () => {
  it('values whose binary form a dump does not carry, and values that text barely carries', async () => {
    // Other OIDs on the other side for everything that is made anew.
    await copy.sql(
      `CREATE TYPE filler AS ENUM ('x'); CREATE TABLE filler_table (f filler); DROP TABLE filler_table; DROP TYPE filler`,
    )
    await source.sql("CREATE TYPE mood AS ENUM ('sad', 'ok')")
    await source.sql("ALTER TYPE mood ADD VALUE 'meh' BEFORE 'ok'")
    await source.sql(`
      CREATE EXTENSION hstore; CREATE EXTENSION citext; CREATE EXTENSION ltree; CREATE EXTENSION cube; CREATE EXTENSION lo;
      CREATE COLLATION caseless (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
      CREATE TYPE pair AS (m mood, t text, f float8);
      CREATE DOMAIN moods AS mood[]; CREATE DOMAIN more_moods AS moods; CREATE TYPE spans AS RANGE (subtype = float8);
      -- NaN as arithmetic makes it has its sign set; text does not tell.
      CREATE TABLE nan AS SELECT 'Infinity'::float8 - 'Infinity' AS f, 'Infinity'::float4 - 'Infinity' AS r,
        ARRAY['Infinity'::float8 - 'Infinity'] AS fs, point('Infinity'::float8 - 'Infinity', 0) AS p,
        circle(point(0, 0), 'Infinity'::float8 - 'Infinity') AS c, path(polygon(circle(point(0, 0), 1))) AS pa;
      -- An array keeps room for NULLs after the last one is gone.
      CREATE TABLE bitmaps (i int[], t text[], m mood[]); INSERT INTO bitmaps VALUES ('{1,NULL}', '{a,NULL}', '{ok,NULL}');
      UPDATE bitmaps SET i[2] = 2, t[2] = 'b', m[2] = 'sad';
      -- The tree of a query comes back with other brackets.
      CREATE TABLE queries AS SELECT q::tsquery || 'z' AS q FROM unnest(ARRAY['a & (b & c)', 'a | (b | c)', '!(a <-> b)', 'a:*AB']) q;
      CREATE TABLE queries_too AS SELECT 'a'::tsquery && ('b'::tsquery && 'c'::tsquery) AS q, to_tsvector('english', 'a fat cat sat') AS v;
      CREATE TABLE numbers AS SELECT '-0'::float8 AS z, '-0'::float4 AS zr, 0.1::float8 + 0.2::float8 AS f, 1e-323::float8 AS d, 1e-45::float4 AS dr,
        1.00::numeric AS n, 'NaN'::numeric AS nn, '-Infinity'::numeric AS ni, 1e131071::numeric AS big, 0.1::numeric / 3 AS third,
        (-92233720368547758.08)::money AS m, 4294967296::bigint AS b, trunc(1.2345, 2) AS t, div(7.5, 2) AS dv, sqrt(2.0) AS s;
      CREATE TABLE times AS SELECT timestamptz 'infinity' AS i, timestamptz '0044-03-15 12:00 BC' AS bc, timestamp '294276-12-31 23:59:59.999999' AS last,
        date '-infinity' AS d, time '24:00' AS t, timetz '12:00:00.000001+15:59:59' AS tz, interval '-178000000 years' AS iv,
        interval '1 mon -30 days 00:00:00.000001' AS mixed, interval '-0.000001 s' AS tiny, tstzrange('-infinity', 'infinity', '[]') AS r;
      CREATE TABLE texts (c char(5), b bpchar, v varchar, t text COLLATE caseless, n name, x xml, j json, jb jsonb, "char" "char", bt bytea);
      INSERT INTO texts VALUES ('a', 'a  ', ' a ', 'É', 'n', '<?xml version="1.0" encoding="UTF-8" standalone="yes"?><a b="1"/>', ' {"a" : 1.0, "a": 2} ',
        '{"b": 1.00, "a": 1e3}', 'x', '\\x0001ff'), ('', '', '', '', '', NULL, 'null', 'null', '', ''),
        (E'\\t', E'\\r\\n', E'\\\\N', E'\\b\\f\\v\\\\.', E'a\\\\', 'a', '"\\ud83d\\ude00"', '"😀"', '\\', '\\x5c');
      CREATE TABLE rows (p pair, ps pair[], ms moods, mms more_moods[], s spans, sm spans_multirange);
      INSERT INTO rows VALUES (ROW('meh', E'"(),\\\\ ', 'Infinity'::float8 - 'Infinity')::pair, ARRAY[ROW('ok', NULL, '-0')::pair, NULL], '[3:4]={ok,sad}',
        ARRAY['{meh}'::more_moods], '[-0,NaN]', '{[1,2],(3,4)}'), (ROW(NULL, NULL, NULL), '{}', '{}', NULL, 'empty', '{}'), (NULL, NULL, NULL, NULL, NULL, NULL);
      CREATE TABLE names (c regclass, t regtype, p regprocedure, r regrole, o oid, cs regclass[]);
      INSERT INTO names VALUES ('rows', 'pair[]', 'pg_catalog.abs(int)', 'postgres', 12345, '{rows,pg_class}'), ('pg_class', 'mood', NULL, NULL, 0, NULL);
      CREATE TABLE others (h hstore, ci citext, l ltree, cu cube, lo lo, i inet, ci2 cidr, m macaddr8, u uuid, b varbit, ln line, tx txid_snapshot, iv int2vector, ov oidvector, a aclitem[]);
      INSERT INTO others VALUES ('b=>NULL,a=>"\\"x"', 'CaSe', 'A.b', '(1,-0),(2,NaN)', 7, '10.0.0.1/8', '::/0', '08:00:2b:01:02:03:04:05', gen_random_uuid(), '101', '{1,-0,NaN}', '10:20:10,14', '1 2', '', '{postgres=arwdDxt/postgres,=r/postgres}')`)
    const expected = await contentsOf(source.client)
    await dumpAndRestore(source.connection, copy.connection)
    expect(await contentsOf(copy.client)).toEqual(expected)
    expect(Object.keys(expected)).toHaveLength(10)
  })

  it('inheritance, partitions at several levels, generated and identity columns, unlogged and dropped ones', async () => {
    await using from = await openSandbox(`
      CREATE TABLE parent (a int, b text, c int); ALTER TABLE parent DROP COLUMN b; ALTER TABLE parent ADD b text DEFAULT 'd';
      CREATE TABLE child (c int, z text, b text, a int); ALTER TABLE child INHERIT parent;
      CREATE TABLE grandchild (extra float8) INHERITS (child);
      INSERT INTO parent VALUES (1, 2, 'x'); INSERT INTO child VALUES (3, 'z', 'y', 4); INSERT INTO grandchild (a, b, c, z, extra) VALUES (5, 'v', 6, 'zz', 'NaN');
      CREATE TABLE part (id int, at date, v text) PARTITION BY RANGE (at);
      CREATE TABLE part_1 (v text, gone int, at date, id int); ALTER TABLE part_1 DROP gone; ALTER TABLE part ATTACH PARTITION part_1 FOR VALUES FROM ('2026-01-01') TO ('2026-07-01');
      CREATE TABLE part_2 PARTITION OF part FOR VALUES FROM ('2026-07-01') TO ('2027-01-01') PARTITION BY LIST (id);
      CREATE TABLE part_2_a PARTITION OF part_2 FOR VALUES IN (1, 2) PARTITION BY HASH (v);
      CREATE TABLE part_2_a_0 PARTITION OF part_2_a FOR VALUES WITH (MODULUS 2, REMAINDER 0);
      CREATE TABLE part_2_a_1 PARTITION OF part_2_a FOR VALUES WITH (MODULUS 2, REMAINDER 1);
      CREATE TABLE part_2_rest PARTITION OF part_2 DEFAULT;
      INSERT INTO part SELECT g % 5, date '2026-01-01' + g, 'v' || g FROM generate_series(0, 300) g;
      CREATE UNLOGGED TABLE fast (id int GENERATED ALWAYS AS IDENTITY, v text, w text GENERATED ALWAYS AS (upper(v)) STORED);
      INSERT INTO fast (v) SELECT 'v' || g FROM generate_series(1, 10) g;
      CREATE TABLE none (); INSERT INTO none DEFAULT VALUES;
      CREATE SCHEMA "s.""1"; CREATE TABLE "s.""1"."t
2" ("c.""3" int); INSERT INTO "s.""1"."t
2" VALUES (1);
      CREATE TABLE secret (a int); INSERT INTO secret VALUES (1); ALTER TABLE secret ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY`)
    await using to = await openSandbox()
    const expected = await contentsOf(from.client)
    await dumpAndRestore(from.connection, to.connection)
    expect(await contentsOf(to.client)).toEqual(expected)
    expect(Object.entries(expected).map(([name, { rows }]) => `${name} ${rows}`)).toEqual([
      'public.child 1',
      'public.fast 10',
      'public.grandchild 1',
      'public.none 1',
      'public.parent 1',
      expect.stringMatching(/^public.part_1 181$/),
      expect.stringMatching(/^public.part_2_a_0 /),
      expect.stringMatching(/^public.part_2_a_1 /),
      expect.stringMatching(/^public.part_2_rest /),
      'public.secret 1',
      '"s.""1"."t\n2" 1',
    ])
  })
})

describe('encodings', () => {
  // Bytes that are no UTF-8, and one that WIN1252 does not define but PostgreSQL stores.
  it.each([
    ['SQL_ASCII', '\\x66e9e8ff80c3a9'],
    ['WIN1252', '\\x668190e980'],
    ['LATIN1', '\\x66e9a4'],
    ['EUC_JP', '\\x66a4a2'],
  ])('a database in %s - dumped and restored byte by byte, the same digests', async (encoding, bytes) => {
    const names = ['from', 'to'].map((side) => `${side}_${Math.random().toString(36).slice(2)}`)
    const like = `TEMPLATE template0 ENCODING '${encoding}' LC_COLLATE 'C' LC_CTYPE 'C'`
    for (const name of names) await query(testUrl(), `CREATE DATABASE ${name} ${like}`)
    try {
      const [from, to] = names.map((name) => connectionTo(name)) as [Connection, Connection]
      await query(
        testUrl(from.database),
        `CREATE TABLE t AS SELECT convert_from('${bytes}', '${encoding}') AS v, ARRAY[convert_from('${bytes}', '${encoding}')] AS vs`,
      )
      await dumpAndRestore(from, to)
      const read = async (connection: Connection): Promise<unknown> => {
        await using held = await connect(connection, signal)
        const { rows } = await held.client.query(`SELECT convert_to(v, '${encoding}') AS bytes FROM public.t`)
        expect(rows[0].bytes.toString('hex')).toBe(bytes.slice(2))
        return await contentsOf(held.client)
      }
      expect(await read(to)).toEqual(await read(from))
    } finally {
      for (const name of names) await query(testUrl(), `DROP DATABASE ${name} WITH (FORCE)`)
    }
  })
})

describe('any table', () => {
  const quoted = (text: string): string => `'${text.replaceAll("'", "''")}'`
  const text = fc.string({
    unit: fc.constantFrom('a', 'A', ' ', "'", '"', '\\', ',', '{', '}', '(', ')', 'é', '\n', '\t', '0'),
  })
  const whole = fc.bigInt({ min: -(2n ** 63n) + 1n, max: 2n ** 63n - 1n })
  const number = fc.oneof(fc.double(), fc.constantFrom(0, -0, Number.NaN, Number.POSITIVE_INFINITY, 1e-320))
  const float = (value: number): string => (Object.is(value, -0) ? "'-0'" : `'${value}'`)
  const numeric = fc
    .tuple(whole, fc.nat(6))
    .map(([digits, scale]) => `${digits}${scale === 0 ? '' : `.${'0'.repeat(scale)}`}`)
  const jsonValue = fc.jsonValue({ maxDepth: 2 }).filter((value) => !JSON.stringify(value).includes('\\u0000'))
  // Per type: SQL of a value, a function of its own so that equal SQL means an identical value.
  const kinds: Readonly<Record<string, fc.Arbitrary<string>>> = {
    int8: whole.map((value) => `${value}::int8`),
    text: text.map(quoted),
    float8: number.map(float),
    numeric,
    timestamptz: fc.integer({ min: -1e9, max: 2e9 }).map((seconds) => `to_timestamp(${seconds})`),
    'text[]': fc
      .array(fc.option(text), { maxLength: 4 })
      .map((list) => `ARRAY[${list.map((one) => (one === null ? 'NULL' : quoted(one))).join(', ')}]::text[]`),
    'float8[]': fc.array(number, { maxLength: 3 }).map((list) => `ARRAY[${list.map(float).join(', ')}]::float8[]`),
    jsonb: jsonValue.map((value) => `${quoted(JSON.stringify(value))}::jsonb`),
    pair: fc.tuple(fc.integer(), text).map(([a, b]) => `ROW(${a}, ${quoted(b)})::pair`),
    mood: fc.constantFrom("'sad'", "'ok'", "'happy'"),
    bytea: fc.uint8Array({ maxLength: 40 }).map((bytes) => `'\\x${Buffer.from(bytes).toString('hex')}'`),
    'char(8)': text.map((value) => quoted(value.slice(0, 8))),
  }
  const names = Object.keys(kinds)

  const table = fc.array(fc.constantFrom(...names), { minLength: 2, maxLength: 8 }).chain((types) =>
    fc.record({
      types: fc.constant(types),
      rows: fc.array(fc.tuple(...types.map((type) => fc.option(kinds[type] as fc.Arbitrary<string>))), {
        minLength: 1,
        maxLength: 12,
      }),
      order: fc.array(fc.nat(), { minLength: 12, maxLength: 12 }),
      place: fc.tuple(fc.nat(), fc.nat()),
      swap: fc.tuple(fc.nat(), fc.nat(), fc.nat()),
    }),
  )
  type Row = readonly (string | null)[]

  beforeAll(async () => {
    await source.sql(
      `CREATE SCHEMA play; SET search_path = play; CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy'); CREATE TYPE pair AS (a int, b text)`,
    )
  })

  async function digestOfRows(types: readonly string[], rows: readonly Row[]): Promise<string> {
    const columns = types.map((type, index) => `c${index} ${type}`).join(', ')
    const values = rows.map((row) => `(${row.map((value) => value ?? 'NULL').join(', ')})`).join(', ')
    await source.sql(
      `DROP TABLE IF EXISTS play.t; CREATE TABLE play.t (${columns}); INSERT INTO play.t VALUES ${values}`,
    )
    return await digestOf(source.client, 'play.t')
  }

  /** Rows in the form that a dump has. */
  async function textOfRows(): Promise<string> {
    const rows = await source.sql('SELECT t::text FROM play.t')
    return rows
      .map(({ t }) => String(t))
      .sort()
      .join('\n')
  }

  it('the same rows in any order have one digest; any two different sets of rows have two', async () => {
    await fc.assert(
      fc.asyncProperty(table, async ({ types, rows, order, place, swap }) => {
        const digest = await digestOfRows(types, rows)
        const original = await textOfRows()
        const shuffled = rows
          .map((row, index) => ({ row, key: order[index] ?? 0 }))
          .sort((one, other) => one.key - other.key)
        expect(
          await digestOfRows(
            types,
            shuffled.map(({ row }) => row),
          ),
        ).toBe(digest)

        const variants: Row[][] = []
        const mutable = rows.map((row): (string | null)[] => [...row])
        const row = place[0] % rows.length
        const column = place[1] % types.length
        // A value becomes NULL, or NULL a value of another row.
        const nulled = mutable.map((one) => [...one])
        const target = nulled[row]
        if (target !== undefined) target[column] = target[column] === null ? (rows[0]?.[column] ?? null) : null
        variants.push(nulled)
        // Two rows swap one value.
        const swapped = mutable.map((one) => [...one])
        const [one, other] = [swapped[swap[0] % rows.length], swapped[swap[1] % rows.length]]
        const at = swap[2] % types.length
        if (one !== undefined && other !== undefined) [one[at], other[at]] = [other[at] ?? null, one[at] ?? null]
        variants.push(swapped)
        // A row is there twice, and one is missing.
        variants.push([...mutable, mutable[row] ?? []])
        if (rows.length > 1) variants.push(mutable.filter((_, index) => index !== row))
        for (const variant of variants) {
          const found = await digestOfRows(types, variant)
          // The text of the rows is the judge of whether they are the same.
          expect(found === digest, JSON.stringify(variant)).toBe((await textOfRows()) === original)
        }
      }),
      { numRuns: 60 },
    )
  })
})
