import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { digestOf, openSandbox, type Sandbox } from './sandbox.ts'

let sandbox: Sandbox
beforeAll(async () => {
  sandbox = await openSandbox(`
    CREATE EXTENSION hstore; CREATE EXTENSION citext; CREATE EXTENSION ltree; CREATE EXTENSION cube; CREATE EXTENSION seg;
    CREATE EXTENSION isn; CREATE EXTENSION lo;
    CREATE COLLATION caseless (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
    CREATE TYPE mood AS ENUM ('sad', 'ok', 'OK', 'happy');
    CREATE TYPE pair AS (a int, b text);
    CREATE TYPE nest AS (p pair, ps pair[], f float8);
    CREATE TYPE texts AS RANGE (subtype = text);
    CREATE DOMAIN small AS int8 CHECK (VALUE < 10000000000);
    CREATE DOMAIN smaller AS small;
    CREATE DOMAIN weights AS numeric[];
    CREATE DOMAIN weights_of AS weights;
    CREATE DOMAIN folded AS text COLLATE caseless;
    CREATE DOMAIN paired AS pair;
    CREATE DOMAIN moody AS mood;
    CREATE SCHEMA other; CREATE TABLE other.x (); CREATE TABLE x ();`)
})
afterAll(async () => sandbox[Symbol.asyncDispose]())

/** A type and values of it, each of which must give another digest than every other and than NULL. */
const distinct: readonly (readonly [string, ...string[]])[] = [
  ['boolean', 'true', 'false'],
  ['"char"', "'a'", "''", "'A'"],
  ['smallint', '0', '1', '-1', '256'],
  ['integer', '0', '1', '-1', '65536'],
  ['bigint', '1', '4294967296', '-1', '-4294967297', '0', '4294967295'],
  ['numeric', '1', '1.0', '1.00', '0', '-1', '1e20', '0.10', "'NaN'", "'Infinity'", "'-Infinity'"],
  ['numeric(20,4)', '1', '1.0001'],
  ['real', '0', "'-0'", "'NaN'", "'Infinity'", "'-Infinity'", '1e-40', '0.1', '0.10000001'],
  [
    'double precision',
    '0',
    "'-0'",
    "'NaN'",
    "'Infinity'",
    "'-Infinity'",
    '0.1',
    '0.1::real',
    '1e-310',
    '0.30000000000000004',
    '0.3',
  ],
  ['money', '0', '0.01', '-0.01', '42949672.96'],
  ['text', "'a'", "'A'", "''", "' '", "'a '", "'NULL'", "'null'", "E'a\\n'", "'ä'", "'a\u0308'", "E'\\\\N'"],
  ['text COLLATE caseless', "'a'", "'A'", "'ä'", "'a\u0308'", "'a '"],
  ['varchar(10)', "'a'", "'a '", "'A'"],
  ['varchar(10) COLLATE caseless', "'a'", "'A'"],
  ['char(5)', "'a'", "'b'", "''"],
  ['bpchar', "'a'", "'a '", "'a  '"],
  ['char(5) COLLATE caseless', "'a'", "'A'"],
  ['name', "'a'", "'A'", "''", "'a '"],
  ['citext', "'a'", "'A'"],
  ['bytea', "''", "'\\x00'", "'\\x0000'", "'\\x30'", "'a'"],
  // One microsecond and 2³² microseconds after PostgreSQL's epoch: hashint8 folds them together.
  [
    'timestamp',
    "'2000-01-01 00:00:00.000001'",
    "'2000-01-01 01:11:34.967296'",
    "'2026-01-01'",
    "'2026-01-01 00:00:00.000001'",
    "'infinity'",
    "'-infinity'",
    "'0044-03-15 BC'",
  ],
  [
    'timestamptz',
    "'2000-01-01 00:00:00.000001 UTC'",
    "'2000-01-01 01:11:34.967296 UTC'",
    "'2026-01-01 UTC'",
    "'2026-01-01 01:00:00.000001+01'",
    "'infinity'",
    "'2026-01-01 00:00:00+01'",
  ],
  ['date', "'2026-01-01'", "'2026-01-02'", "'infinity'", "'-infinity'"],
  ['time', "'00:00'", "'24:00'", "'00:00:00.000001'", "'01:11:34.967296'"],
  ['timetz', "'00:00:00.000001+00'", "'01:11:34.967296+00'", "'12:00+00'", "'13:00+01'", "'12:00+00:00:01'"],
  ['interval', "'1 mon'", "'30 days'", "'720 hours'", "'0'", "'1 mon -30 days'", "'1 year'", "'365 days'", "'-1 mon'"],
  ['uuid', "'00000000-0000-0000-0000-000000000000'", "'00000000-0000-0000-0000-000000000001'"],
  ['inet', "'10.0.0.1'", "'10.0.0.1/24'", "'10.0.0.1/8'", "'10.0.0.2'", "'::a00:1'", "'::ffff:10.0.0.1'"],
  ['cidr', "'10.0.0.0/8'", "'10.0.0.0/16'", "'::/8'"],
  ['macaddr', "'08:00:2b:01:02:03'", "'08:00:2b:01:02:04'"],
  ['macaddr8', "'08:00:2b:01:02:03:04:05'", "'08:00:2b:ff:fe:03:04:05'"],
  ['bit(3)', "'000'", "'001'", "'100'"],
  ['varbit', "''", "'0'", "'00'", "'1'", "'10'"],
  ['json', "'{}'", "'{ }'", '\'{"a":1}\'', '\'{"a":1.0}\'', '\'{"a":1,"a":1}\'', "'null'"],
  [
    'jsonb',
    "'{}'",
    "'1'",
    "'1.0'",
    "'1.00'",
    '\'"1"\'',
    "'null'",
    "'[]'",
    "'[null]'",
    '\'{"a":null}\'',
    "'[1,[2]]'",
    "'[[1],2]'",
  ],
  ['jsonpath', "'$.a'", "'$.b'", "'strict $.a'"],
  ['xml', "'<a/>'", "'<a></a>'", "'<a> </a>'", "'a'"],
  ['tsvector', "'a b'", "'a:1 b'", "'a:1A b'", "'b'", "''"],
  ['tsquery', "'a & b'", "'a | b'", "'a <-> b'", "'a:A & b'", "'a:* & b'", "'b & a'"],
  ['oid', '0', '1', '4294967295'],
  ['regclass', "'public.x'", "'other.x'", "'pg_class'", '999999'],
  ['regtype', "'integer'", "'bigint'", "'mood'"],
  ['regproc', "'pg_catalog.now'", "'pg_catalog.timeofday'"],
  ['regrole', "'postgres'", "'pg_read_all_data'"],
  ['pg_lsn', "'0/1'", "'1/0'"],
  ['txid_snapshot', "'10:20:10,14'", "'10:20:10,15'"],
  ['xid8', "'1'", "'4294967297'"],
  ['tid', "'(0,1)'", "'(1,0)'"],
  ['point', "'(0,0)'", "'(-0,0)'", "'(0,1)'", "'(1,0)'", "'(NaN,0)'"],
  ['line', "'{1,2,3}'", "'{2,4,6}'"],
  ['lseg', "'[(0,0),(1,1)]'", "'[(1,1),(0,0)]'"],
  ['box', "'(1,1),(0,0)'", "'(2,1),(0,0)'"],
  ['path', "'[(0,0),(1,1)]'", "'((0,0),(1,1))'"],
  ['polygon', "'((0,0),(1,1))'", "'((1,1),(0,0))'"],
  ['circle', "'<(0,0),1>'", "'<(0,0),2>'"],
  ['int4range', "'[1,5)'", "'[1,6)'", "'empty'", "'[1,)'", "'(,)'"],
  ['numrange', "'[1,2]'", "'[1.0,2]'", "'[1,2)'", "'(1,2]'", "'empty'"],
  ['tstzrange', "'[2026-01-01 UTC,)'", "'[2026-01-01 00:00:00.000001 UTC,)'", "'[,2026-01-01 UTC)'"],
  ['texts', "'[a,b]'", "'[A,b]'", "'[a,b)'"],
  ['int4multirange', "'{}'", "'{[1,2)}'", "'{[1,2),[5,6)}'"],
  ['nummultirange', "'{[1,2]}'", "'{[1.0,2]}'"],
  ['int[]', "'{1,2}'", "'[0:1]={1,2}'", "'{{1,2}}'", "'{{1},{2}}'", "'{}'", "'{NULL}'", "'{1,2,NULL}'", "'{2,1}'"],
  ['bigint[]', "'{1}'", "'{4294967296}'", "'{0,1}'", "'{1,0}'"],
  ['numeric[]', "'{1.0}'", "'{1.00}'", "'{NaN}'"],
  ['double precision[]', "'{0}'", "'{-0}'", "'{NaN}'", "'{NULL}'"],
  ['text[]', "'{a,b}'", '\'{"a,b"}\'', "'{NULL}'", '\'{"NULL"}\'', '\'{""}\'', "'{}'", "'{A,b}'"],
  ['text[] COLLATE caseless', "'{a}'", "'{A}'"],
  ['jsonb[]', "'{1}'", "'{1.0}'"],
  ['interval[]', "'{1 mon}'", "'{30 days}'"],
  ['int2vector', "'1 2'", "'2 1'"],
  ['oidvector', "'1 2'", "'2 1'"],
  ['mood', "'sad'", "'ok'", "'OK'"],
  ['mood[]', "'{sad,ok}'", "'{ok,sad}'", "'{}'"],
  ['pair', "'(1,a)'", "'(1,)'", "'(,)'", '\'(1,"")\'', "'(,a)'", "'(1,A)'"],
  ['pair[]', '\'{"(1,a)"}\'', '\'{"(1,)"}\'', "'{NULL}'", '\'{"(,)"}\''],
  [
    'nest',
    '\'("(1,a)",,0)\'',
    '\'("(1,a)",,-0)\'',
    '\'("(1,a)",{},0)\'',
    "'(,,0)'",
    '\'("(,)",,0)\'',
    '\'("(1,b)",,0)\'',
  ],
  ['x', "'()'"],
  ['small', '1', '4294967296'],
  ['smaller', '1', '4294967296'],
  ['smaller[]', "'{1}'", "'{4294967296}'", "'{NULL}'"],
  ['weights', "'{1.0}'", "'{1.00}'", "'[2:2]={1.0}'"],
  ['weights_of', "'{1.0}'", "'{1.00}'"],
  ['weights_of[]', '\'{"{1.0}"}\'', '\'{"{1.00}"}\''],
  ['folded', "'a'", "'A'"],
  ['paired', "'(1,a)'", "'(,)'"],
  ['moody', "'ok'", "'OK'"],
  ['information_schema.sql_identifier', "'a'", "'A'"],
  ['information_schema.yes_or_no', "'YES'", "'NO'"],
  ['hstore', "'a=>1'", "'a=>NULL'", '\'a=>"NULL"\'', "''", "'a=>1,b=>2'"],
  ['ltree', "'a.b'", "'a.B'", "'b.a'"],
  ['lquery', "'a.*'", "'*.a'"],
  ['cube', "'(1),(2)'", "'(2),(1)'", "'(1,0),(2,0)'"],
  ['seg', "'1.0'", "'1.00'", "'1 .. 2'"],
  ['isbn', "'0-393-04002-X'", "'0-306-40615-2'"],
  ['lo', '1', '2'],
]

describe('one value of one row', () => {
  it.each(distinct)('%s - every other value, and NULL, gives another digest', async (type, ...values) => {
    const { client } = sandbox
    await client.query(`DROP TABLE IF EXISTS public.t`)
    await sandbox.sql(`SET lc_monetary = 'C'; CREATE TABLE t (id int, v ${type}, w int);
      INSERT INTO t SELECT g, NULL, g FROM generate_series(1, 3) g`)
    const digests = new Map<string, string>([[await digestOf(client), 'NULL']])
    for (const value of values) {
      await sandbox.sql(`SET lc_monetary = 'C'; UPDATE t SET v = ${value} WHERE id = 2`)
      const digest = await digestOf(client)
      expect(digests.get(digest), `${value} like`).toBeUndefined()
      digests.set(digest, value)
    }
    await sandbox.sql('UPDATE t SET v = NULL')
    expect(digests.get(await digestOf(client))).toBe('NULL')
  })

  it('every type that a column may have is in this list, or is an array, a row or a range of those', async () => {
    const rows = await sandbox.sql(`
      SELECT format_type(t.oid, NULL) AS type FROM pg_type t
       WHERE t.typtype = 'b' AND t.typcategory <> 'A' AND t.oid < 16384 AND t.typnamespace = 'pg_catalog'::regnamespace
         AND t.typname NOT IN ('pg_node_tree', 'pg_ndistinct', 'pg_dependencies', 'pg_mcv_list', 'gtsvector', 'refcursor',
           'pg_brin_bloom_summary', 'pg_brin_minmax_multi_summary', 'cid', 'xid', 'aclitem', 'pg_snapshot', 'regprocedure',
           'regoper', 'regoperator', 'regconfig', 'regdictionary', 'regnamespace', 'regcollation', 'regdatabase')`)
    const named = new Set(distinct.map(([type]) => type.replace(/\(.*\)/, '').replace(/ COLLATE.*/, '')))
    const synonyms: Record<string, string> = {
      'timestamp without time zone': 'timestamp',
      'timestamp with time zone': 'timestamptz',
      'time without time zone': 'time',
      'time with time zone': 'timetz',
      character: 'char',
      'character varying': 'varchar',
      'bit varying': 'varbit',
    }
    const missing = rows.map(({ type }) => String(type)).filter((type) => !named.has(synonyms[type] ?? type))
    expect(missing).toEqual([])
  })
})
