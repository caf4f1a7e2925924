import type { AwkwardDatabase } from './awkward.ts'

/** Chapter "Data Types". */
export const awkwardTypes: readonly AwkwardDatabase[] = [
  {
    id: 'numbers',
    title: 'numbers at every edge: NaN, infinities, -0, scales, values that hash alike',
    source: 'datatype-numeric',
    sql: `
CREATE TABLE n (a smallint, b int, c bigint, d numeric, e numeric(10,3), f numeric(3,-2), g real, h double precision,
  i smallserial, j serial, k bigserial, l float(3));
INSERT INTO n (a, b, c, d, e, f, g, h, l) VALUES
  (-32768, -2147483648, -9223372036854775808, 'NaN', 'NaN', 12345, 'NaN', 'NaN', '-0'),
  (32767, 2147483647, 9223372036854775807, 'Infinity', 0.000, -99900, '-Infinity', 'Infinity', '1e-45'),
  (0, 1, 4294967297, '-Infinity', 1.10, 0, '-0', '-0', 3.4e38),
  (0, 1, 1, 1.0, 1, 0, 0, 0, 1), (0, 1, 1, 1.00, 1, 0, 0, 0, 1), (0, 1, 1, 1.00, 1, 0, 0, 0, 1),
  (NULL, NULL, NULL, 1e-1000, NULL, NULL, 1.17549435e-38, 4.9406564584124654e-324, NULL),
  (1, 1, 1, 1e1000 + 1e-1000, 1, 1, 16777216.5, 0.1 + 0.2, 0.1),
  (1, 1, 1, ('-' || repeat('9', 2000) || '.' || repeat('1', 2000))::numeric, 1, 1, 1, 1e308, 1);
INSERT INTO n (h, g) SELECT random() / (g + 1), random() * g FROM generate_series(1, 500) g;
CREATE TABLE signed_nan AS SELECT -'NaN'::float8 AS x, -'NaN'::float4 AS y UNION ALL SELECT 'NaN', 'NaN';`,
  },
  {
    id: 'money',
    title: 'money written as another country writes it',
    source: 'datatype-money',
    sql: [
      `ALTER DATABASE awkward_money SET lc_monetary = 'de_DE.UTF-8'; ALTER DATABASE awkward_money SET lc_numeric = 'de_DE.UTF-8'`,
      `SET lc_monetary = 'C'; CREATE DOMAIN price AS money; CREATE TYPE offer AS (what text, cost money);
       CREATE TABLE m (a money, b price DEFAULT 0.5::numeric::money, c money[], d offer);
       INSERT INTO m SELECT (g * 1234.56)::numeric::money, ((-g) * 0.01)::numeric::money, ARRAY[g::money, NULL, (-g)::money], ROW('x', (g * 1e6)::numeric::money)::offer
         FROM generate_series(1, 50) g;
       INSERT INTO m (a) VALUES ('92233720368547758.07'), ('-92233720368547758.08'), ('0'), (NULL);
       CREATE INDEX ON m (a); CREATE MATERIALIZED VIEW total AS SELECT sum(a) AS s FROM m WHERE a < 1e6::numeric::money`,
    ],
  },
  {
    id: 'characters',
    title: 'text that COPY must escape, padded char, composed and decomposed letters',
    source: 'datatype-character',
    sql: `
CREATE TABLE c (a char(5), b varchar(4), c text, d "char", e name, f char, g varchar, h bpchar);
INSERT INTO c VALUES ('a', 'a', '', 'x', 'n', 'y', '', 'a  '), ('a    ', 'a   ', NULL, '', '', NULL, ' ', 'a'),
  ('é', 'é', U&'e\\0301', '\\377', repeat('é', 31), 'ß', E'\\t', E'\\n'), ('', '', E'\\\\.', E'\\\\', E'\\\\N', '', E'\\\\N', ''),
  (NULL, NULL, E'\\\\.\\n\\\\.\\r\\n', NULL, NULL, NULL, E'\\b\\f\\v\\x01\\x7f', E'\\r'), ('😀', '😀☕', U&'\\FEFF\\200B\\202E', 'ß'::text::"char", 'x', '☕', U&'\\+10FFFF', 'x');
INSERT INTO c (c) SELECT chr(g) FROM generate_series(1, 3000) g;`,
  },
  {
    id: 'binary',
    title: 'bytea of every byte, empty and absent',
    source: 'datatype-binary',
    sql: `
ALTER DATABASE awkward_binary SET bytea_output = 'escape';
CREATE TABLE b (x bytea); INSERT INTO b SELECT decode(lpad(to_hex(g), 2, '0'), 'hex') FROM generate_series(0, 255) g;
INSERT INTO b VALUES (''), (NULL), ('\\x00'), ('\\x0000'), (decode(repeat('00ff5c27', 5000), 'hex'));`,
  },
  {
    id: 'times',
    title: 'times before Christ, without end, with seconds in their zone; 1 month beside 30 days',
    source: 'datatype-datetime',
    sql: `
ALTER DATABASE awkward_times SET TimeZone = 'America/St_Johns'; ALTER DATABASE awkward_times SET DateStyle = 'SQL, DMY';
ALTER DATABASE awkward_times SET IntervalStyle = 'sql_standard';
CREATE TABLE t (a date, b time, c timetz, d timestamp, e timestamptz, f interval, g timestamp(0), h interval year to month, i time(2));
INSERT INTO t VALUES ('infinity', '24:00', '23:59:59.999999+15:59:59', 'infinity', '-infinity', '1 month', 'now', '1 year', '24:00'),
  ('-infinity', '00:00', '00:00-15:59', '4713-01-01 00:00 BC', '294276-12-31 23:59:59.999999 UTC', '30 days', 'now', '-1 month', '0:0'),
  ('4713-01-01 BC', '12:00:00.000001', '24:00+00', '0001-01-01', '1883-11-18 12:03:58-04:56:02', '720 hours', '2000-01-01', '0', NULL),
  ('5874897-12-31', NULL, '12:00:00.5+05:45', '1999-12-31 23:59:60', '2024-03-10 02:30 America/New_York', '-178000000 years', NULL, NULL, NULL),
  ('2024-02-29', NULL, NULL, '1582-10-10', '2024-11-03 01:30 EDT', '1 mon -30 days +00:00:00.000001', NULL, '11 months', '1:2:3.45'),
  (NULL, NULL, NULL, NULL, '2024-11-03 01:30 EST', '-1 year 2 mons -3 days 04:05:06.789', NULL, NULL, NULL);
CREATE TABLE keyed (at timestamptz PRIMARY KEY DEFAULT 'now', lasts interval UNIQUE); INSERT INTO keyed VALUES ('2024-01-01 UTC', '24:00'), (DEFAULT, '1 day 1 sec');`,
  },
  {
    id: 'enums',
    title: 'an enum grown in the middle, renamed, with odd labels, empty; as key, array, partition key and default',
    source: 'datatype-enum',
    sql: [
      `CREATE TYPE mood AS ENUM ('sad', 'happy'); CREATE TYPE nothing AS ENUM (); CREATE TYPE odd AS ENUM ('', ' ', 'a''b', 'a"b', 'x,y', '☕', 'NULL');`,
      "ALTER TYPE mood ADD VALUE 'ok' BEFORE 'happy'",
      "ALTER TYPE mood ADD VALUE 'meh' BEFORE 'ok'",
      "ALTER TYPE mood ADD VALUE 'bad' BEFORE 'meh'",
      `ALTER TYPE mood RENAME VALUE 'ok' TO 'fine';
       CREATE TABLE p (m mood PRIMARY KEY, ms mood[], o odd, n nothing, d mood NOT NULL DEFAULT 'meh') PARTITION BY LIST (m);
       CREATE TABLE p1 PARTITION OF p FOR VALUES IN ('sad', 'bad'); CREATE TABLE p2 PARTITION OF p FOR VALUES IN ('fine', 'meh'); CREATE TABLE p3 PARTITION OF p DEFAULT;
       INSERT INTO p SELECT m, enum_range(m, NULL), 'NULL' FROM unnest(enum_range(NULL::mood)) m;
       CREATE TABLE o AS SELECT o FROM unnest(enum_range(NULL::odd)) o; CREATE TABLE r (m mood, m2 mood CHECK (m2 > 'bad')); INSERT INTO r VALUES ('sad', 'happy');
       CREATE TABLE h (m mood) PARTITION BY RANGE (m); CREATE TABLE h1 PARTITION OF h FOR VALUES FROM ('sad') TO ('fine'); INSERT INTO h VALUES ('meh');`,
    ],
  },
  {
    id: 'geometry',
    title: 'geometric types with NaN, infinities and many points',
    source: 'datatype-geometric',
    sql: `
CREATE TABLE g (a point, b line, c lseg, d box, e path, f polygon, h circle);
INSERT INTO g VALUES ('(NaN,Infinity)', '{1,-1,0}', '[(0,0),(1,-0)]', '(1,1),(0,0)', '[(0,0),(1,1)]', '((0,0),(1,1),(0,1))', '<(0,0),0>'),
  ('(-0,1e-300)', '{0.1,0.2,0.3}', '[(1e300,1),(NaN,NaN)]', '(Infinity,-Infinity),(NaN,0)', '((0,0),(1,1))', '((NaN,0))', '<(NaN,1),Infinity>'),
  ('(0.1,0.30000000000000004)', NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO g (f) SELECT ('(' || string_agg(format('(%s,%s)', g * 0.1, g / 3.0), ',') || ')')::polygon FROM generate_series(1, 2000) g;
CREATE INDEX ON g USING gist (d); CREATE INDEX ON g USING spgist (a);`,
  },
  {
    id: 'networks',
    title: 'addresses with and without masks, both families, as partition key',
    source: 'datatype-net-types',
    sql: `
CREATE TABLE n (a inet, b cidr, c macaddr, d macaddr8); INSERT INTO n VALUES ('10.0.0.1', '10/8', '08:00:2b:01:02:03', '08:00:2b:01:02:03:04:05'),
  ('10.0.0.1/8', '::/0', 'ff:ff:ff:ff:ff:ff', '08:00:2b:01:02:03'), ('10.0.0.1/32', '0.0.0.0/0', NULL, NULL), ('::1', '::ffff:1.2.3.4/128', NULL, NULL), ('::ffff:1.2.3.4', NULL, NULL, NULL);
CREATE TABLE l (a inet) PARTITION BY HASH (a); CREATE TABLE l0 PARTITION OF l FOR VALUES WITH (MODULUS 2, REMAINDER 0); CREATE TABLE l1 PARTITION OF l FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO l SELECT inet '10.0.0.0' + g FROM generate_series(1, 300) g;`,
  },
  {
    id: 'bits',
    title: 'bit strings: empty, longer than a byte, differing in length alone',
    source: 'datatype-bit',
    sql: "CREATE TABLE b (a bit, b bit(9), c bit varying, d varbit(3)); INSERT INTO b VALUES (B'1', B'101010101', B'', B'0'), (B'0', X'FF8'::bit(9), repeat('01', 5000)::varbit, B'00'), (NULL, NULL, B'0', B'')",
  },
  {
    id: 'search',
    title: 'tsvector with weights and without positions, every operator of tsquery, a configuration of its own',
    source: 'datatype-textsearch',
    sql: `
CREATE TABLE s (v tsvector, q tsquery); INSERT INTO s VALUES ('a:1A fat:2B,4C cat:5D', 'fat & (cat & rat)'), ('''Joe''''s'' ''a b'' ''\\\\''', 'fat <2> cat | !(rat <-> x:*AB)'), ('', ''), (NULL, '!a'),
  (to_tsvector('english', repeat('The quick brown fox ', 2000)), phraseto_tsquery('simple', 'the fat cat')), ('a:16383', '''o''''k'':*');
CREATE TEXT SEARCH DICTIONARY short (TEMPLATE = simple, STOPWORDS = english, ACCEPT = false);
CREATE TEXT SEARCH CONFIGURATION own (COPY = english); ALTER TEXT SEARCH CONFIGURATION own ALTER MAPPING FOR asciiword WITH short, english_stem;
ALTER TEXT SEARCH CONFIGURATION own DROP MAPPING FOR url_path;
CREATE TABLE d (body text, v tsvector GENERATED ALWAYS AS (to_tsvector('own', body)) STORED); INSERT INTO d VALUES ('The quick http://example.com/x'), (NULL); CREATE INDEX ON d USING gin (v);
CREATE INDEX ON d USING gin (to_tsvector('own', body)); CREATE INDEX ON s USING gist (q); CREATE INDEX ON s USING gist (v);
CREATE FUNCTION p_start(internal, int) RETURNS internal LANGUAGE internal STRICT AS 'prsd_start'; CREATE FUNCTION p_next(internal, internal, internal) RETURNS internal LANGUAGE internal STRICT AS 'prsd_nexttoken';
CREATE FUNCTION p_end(internal) RETURNS void LANGUAGE internal STRICT AS 'prsd_end'; CREATE FUNCTION p_lex(internal) RETURNS internal LANGUAGE internal STRICT AS 'prsd_lextype';
CREATE TEXT SEARCH PARSER twin (START = p_start, GETTOKEN = p_next, END = p_end, LEXTYPES = p_lex); CREATE TEXT SEARCH CONFIGURATION parsed (PARSER = twin); COMMENT ON TEXT SEARCH PARSER twin IS 'twin';`,
  },
  {
    id: 'documents',
    title: 'uuid, XML of every form, JSON as it was typed, jsonb with huge numbers, jsonpath',
    source: 'datatype-json',
    sql: `
ALTER DATABASE awkward_documents SET xmloption = 'document';
SET xmloption = content;
CREATE TABLE j (a json, b jsonb, c jsonpath, d uuid, e xml);
INSERT INTO j VALUES ('{"a" : 1,"a":2,   "b":1.00}', '{"a":1,"a":2,"b":1.00}', '$.a[*] ? (@.b > 1.0 && @.c like_regex "^x" flag "i")', '00000000-0000-0000-0000-000000000000', '<a/>'),
  (E' [\\n1e400 ] ', '1e400', 'strict $."a b"[last - 1].**{2 to last}.size()', 'ffffffff-ffff-ffff-ffff-ffffffffffff', 'text only'),
  ('null', 'null', '$', NULL, '<!-- c --><b x="1">&amp;<![CDATA[<]]></b>tail'), (NULL, NULL, NULL, NULL, NULL), ('""', '"\\u20ac\\ud83d\\ude00"', '$[0,1 to 3] + 1', gen_random_uuid(), ''),
  (('{' || repeat('"k":{', 500) || repeat('}', 500) || '}')::json, (repeat('[', 500) || repeat(']', 500))::jsonb, 'lax $ ? (exists (@.x))', NULL, '<?xml version="1.0"?><a>é</a>');
INSERT INTO j (b) SELECT jsonb_object_agg('k' || g, g / 7.0) FROM generate_series(1, 2000) g; CREATE INDEX ON j USING gin (b jsonb_path_ops); CREATE INDEX ON j USING hash (b);`,
  },
  {
    id: 'arrays',
    title: 'arrays with bounds, dimensions and quotes, of everything that can be an element',
    source: 'arrays',
    sql: `
CREATE TYPE pair AS (a int, b text[]); CREATE DOMAIN short AS text[] CHECK (cardinality(VALUE) < 4); CREATE DOMAIN digit AS int CHECK (VALUE < 10); CREATE TYPE hue AS ENUM ('red', 'x y');
CREATE TABLE a (a int[], b text[][], c pair[], d short, e digit[], f hue[], g numrange[], h nummultirange[], i jsonb[], k bytea[], l float8[], m box[], n short, o regtype[], p int2vector, q oidvector, r interval[], s char(3)[], t "char"[], u xml[], v name[]);
INSERT INTO a (a, b, c, d) VALUES ('{}', '{}', '{}', '{}'), ('[-2:0]={1,NULL,3}', '{{a,"b c"},{"",NULL}}', ARRAY[ROW(1, '{x,NULL,"NULL"}')::pair, NULL, ROW(NULL, NULL)::pair], '{abc,"",NULL}'),
  (NULL, '[1:1][0:1]={{"\\\\","\\""}}', '{"(1,\\"{\\"\\"a b\\"\\"}\\")"}', '[0:1]={a,b}'), ('{NULL}', '{"{}","a,b","NULL",null}', NULL, NULL), (array_remove(ARRAY[1, NULL, 2], NULL), array_fill(''::text, '{2,2,2}'), NULL, NULL);
INSERT INTO a (e, f, g, h, i, k, l, m, n, o, p, q, r, s, t, u, v) VALUES ('{1,NULL}', '{red,"x y"}', '{"[1,2)",empty,"(,)"}', '{"{[1,2),[5,)}"}', ARRAY['{"a": [1, null]}', 'null', NULL]::jsonb[], '{"\\\\x00",""}', '{NaN,-0,Infinity,0.1}', '{(1,1),(0,0);(3,3),(2,2)}',
  '{a,"b c"}', '{int4,text[],pair}', '1 2 3', '1 2', '{"1 mon","30 days"}', '{a,"a  "}', '{a,""}', '{<a/>,"<b c=\\"d\\"/>"}', '{x,"y z"}');
INSERT INTO a (a) SELECT array_agg(g) FROM generate_series(1, 20000) g;`,
  },
  {
    id: 'composites',
    title: 'composites of composites, with a dropped attribute, rows of NULLs beside NULL, typed tables',
    source: 'rowtypes',
    sql: `
CREATE TYPE inner_ AS (x float8, y text); CREATE TYPE outer_ AS (a int, b inner_, c inner_[], gone int, d date); CREATE TYPE nil AS ();
CREATE TABLE c (v outer_, n nil, w inner_ DEFAULT ROW(0, '')); INSERT INTO c VALUES (ROW(1, ROW('-0', 'a,"b" (c)'), ARRAY[ROW(1, NULL)::inner_], 7, 'infinity'), ROW(), NULL), (ROW(NULL, NULL, NULL, NULL, NULL), NULL, ROW(NULL, NULL)), (NULL, NULL, ROW('NaN', '')), (ROW(1, ROW(NULL, NULL), '{}', 1, NULL), NULL, DEFAULT);
ALTER TYPE outer_ DROP ATTRIBUTE gone; ALTER TYPE outer_ ADD ATTRIBUTE late text COLLATE "C";
CREATE TABLE typed OF inner_ (y WITH OPTIONS NOT NULL DEFAULT 'q', PRIMARY KEY (y)); INSERT INTO typed VALUES (1, 'a'), (2, DEFAULT);
CREATE TABLE rowof (t typed, ts typed[]); INSERT INTO rowof VALUES (ROW(1, 'z'), ARRAY[ROW(2, 'y')::typed]);
CREATE VIEW parts AS SELECT ((v).b).x AS bx, (v).late, (w).* FROM c;`,
  },
  {
    id: 'ranges',
    title: 'ranges and multiranges, one of its own with canonical bounds, empty and without end',
    source: 'rangetypes',
    sql:
      `
CREATE FUNCTION time_diff(time, time) RETURNS float8 LANGUAGE sql IMMUTABLE RETURN extract(epoch FROM $1 - $2);
CREATE TYPE timerange AS RANGE (SUBTYPE = time, SUBTYPE_DIFF = time_diff, MULTIRANGE_TYPE_NAME = many_times); CREATE TYPE textrange AS RANGE (SUBTYPE = text, COLLATION = "C");
CREATE TABLE r (a int4range, b int8range, c numrange, d tsrange, e tstzrange, f daterange, g timerange, h many_times, i textrange, j textmultirange, k datemultirange, l float8multirange_ ) ;`.replace(
        ', l float8multirange_ ) ;',
        ');',
      ) +
      `
INSERT INTO r VALUES ('(1,5]', 'empty', '[1.0,1.00]', '[,]', '(-infinity,infinity)', '[2024-01-01,infinity]', '[10:00,24:00]', '{[1:00,2:00),(3:00,)}', '["a b","c,d"]', '{(,a),[x,)}', '{}'), (NULL, '(,)', '(NaN,)', 'empty', '[2024-01-01 UTC,2024-01-01 UTC]', '(,)', 'empty', '{}', '("","\\\\")', NULL, '{[2024-01-01,2024-01-02],[2024-01-03,2024-01-03]}');
ALTER TABLE r ADD EXCLUDE USING gist (g WITH &&); CREATE INDEX ON r USING gist (h); CREATE INDEX ON r USING spgist (a);`,
  },
  {
    id: 'domains',
    title: 'domains over domains, arrays and composites, with constraints not validated',
    source: 'domains',
    sql: `
CREATE DOMAIN positive AS int CHECK (VALUE > 0); CREATE DOMAIN even AS positive DEFAULT 2 CONSTRAINT is_even CHECK (VALUE % 2 = 0); CREATE DOMAIN evens AS even[] NOT NULL;
CREATE TYPE thing AS (a even, b text); CREATE DOMAIN good AS thing CHECK ((VALUE).b <> ''); CREATE DOMAIN code AS text COLLATE "C" CHECK (VALUE ~ '^[a-z]+$'); CREATE DOMAIN total AS numeric(10,2); CREATE DOMAIN d1 AS char(4);
CREATE TABLE d (a even, b evens DEFAULT '{}', c good, d code PRIMARY KEY, e total, f good[], g d1); INSERT INTO d VALUES (2, '{2,4}', ROW(4, 'x'), 'abc', 1.5, ARRAY[ROW(2, 'y')::good], 'a'), (NULL, '{NULL}', NULL, 'abd', 'NaN', NULL, 'a   '), (DEFAULT, DEFAULT, NULL, 'z', NULL, '{}', NULL);
ALTER DOMAIN code ADD CONSTRAINT short CHECK (length(VALUE) < 9) NOT VALID; CREATE DOMAIN stamped AS timestamptz DEFAULT now(); ALTER TABLE d ADD at stamped;`,
  },
  {
    id: 'identifiers',
    title: 'values that name objects: oid, regclass and their kin, dangling ones among them',
    source: 'datatype-oid',
    sql: `
CREATE SCHEMA s; CREATE TABLE s."T x" (a int); CREATE TYPE s.ty AS (a int); CREATE FUNCTION s.f(int) RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE FUNCTION s.f(text) RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE FUNCTION s.g() RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION s.h(int) RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE OPERATOR s.### (LEFTARG = int, RIGHTARG = int, FUNCTION = int4pl); CREATE FUNCTION version2() RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE OPERATOR public.@#@ (RIGHTARG = int, FUNCTION = s.h); CREATE COLLATION s.co (LOCALE = 'C', PROVIDER = libc); CREATE TEXT SEARCH CONFIGURATION s.tsc (COPY = simple);
CREATE TABLE r (a oid, b regclass, c regtype, d regproc, e regprocedure, f regoper, g regoperator, h regrole, i regnamespace, j regconfig, k regdictionary, l regcollation);
INSERT INTO r VALUES (4294967295, 's."T x"', 's.ty', 's.g', 's.f(text)', 's.###', 's.###(int,int)', 'postgres', 's', 's.tsc', 'simple', 's.co'), (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), (1, 'pg_class', 'int4[]', 'version', 'now()', '@#@', '+(int4,int4)', 'pg_monitor', 'pg_catalog', 'english', 'english_stem', '"C"');
CREATE TABLE dangling (a regclass, b regproc); INSERT INTO dangling VALUES (4000000000, 4000000001);`,
  },
  {
    id: 'internals',
    title: 'columns of types that only the system uses: xid, tid, lsn, snapshots, acl items',
    source: 'datatype-pg-lsn',
    sql: `
CREATE TABLE x (a xid, b xid8, c cid, d tid, e pg_lsn, f pg_snapshot, g txid_snapshot, h aclitem, i aclitem[], j refcursor, k pg_node_tree, l gtsvector);
INSERT INTO x VALUES ('4294967295', '18446744073709551615', '0', '(4294967295,65535)', 'FFFFFFFF/FFFFFFFF', '10:20:10,14,15', '1:1:', 'postgres=r*w/postgres', '{=r/postgres,postgres=arwd/postgres}', 'portal "1"', NULL, NULL), ('0', '0', NULL, '(0,1)', '0/0', NULL, NULL, NULL, '{}', '', NULL, NULL);`,
  },
  {
    id: 'own_types',
    title: 'base types made in SQL, with an operator class, a hash, an array, a subscript, casts',
    source: 'sql-createtype',
    sql: `
CREATE TYPE word; CREATE FUNCTION word_in(cstring) RETURNS word LANGUAGE internal IMMUTABLE STRICT AS 'textin'; CREATE FUNCTION word_out(word) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'textout';
CREATE TYPE word (INPUT = word_in, OUTPUT = word_out, LIKE = text, COLLATABLE = true, CATEGORY = 'S', DEFAULT = 'none', DELIMITER = ';');
CREATE TYPE tick; CREATE FUNCTION tick_in(cstring) RETURNS tick LANGUAGE internal IMMUTABLE STRICT AS 'int8in'; CREATE FUNCTION tick_out(tick) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'int8out';
CREATE TYPE tick (INPUT = tick_in, OUTPUT = tick_out, LIKE = int8); CREATE TYPE shell;
CREATE CAST (tick AS int8) WITHOUT FUNCTION; CREATE CAST (int8 AS tick) WITHOUT FUNCTION AS ASSIGNMENT; CREATE CAST (word AS text) WITHOUT FUNCTION AS IMPLICIT; CREATE CAST (point AS word) WITH INOUT;
CREATE FUNCTION tick_lt(tick, tick) RETURNS bool LANGUAGE internal IMMUTABLE STRICT AS 'int8lt'; CREATE FUNCTION tick_eq(tick, tick) RETURNS bool LANGUAGE internal IMMUTABLE STRICT AS 'int8eq'; CREATE FUNCTION tick_cmp(tick, tick) RETURNS int LANGUAGE internal IMMUTABLE STRICT AS 'btint8cmp';
CREATE OPERATOR < (LEFTARG = tick, RIGHTARG = tick, FUNCTION = tick_lt, COMMUTATOR = >, RESTRICT = scalarltsel); CREATE OPERATOR = (LEFTARG = tick, RIGHTARG = tick, FUNCTION = tick_eq, COMMUTATOR = =, MERGES);
CREATE OPERATOR FAMILY ticks USING btree; CREATE OPERATOR CLASS tick_ops DEFAULT FOR TYPE tick USING btree FAMILY ticks AS OPERATOR 1 <, OPERATOR 3 =, FUNCTION 1 tick_cmp(tick, tick);
CREATE TABLE o (a word, b tick PRIMARY KEY, c tick[], d word[]); INSERT INTO o (a, b, c, d) SELECT ('w' || g)::word, g::int8::tick, ARRAY[g::int8::tick], ARRAY['x'::word, 'a;b'] FROM generate_series(1, 20) g; INSERT INTO o (b) VALUES (99::int8);`,
  },
]
