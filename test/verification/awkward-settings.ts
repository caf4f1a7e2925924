import type { AwkwardDatabase } from './awkward.ts'

const hostile = (database: string): string =>
  Object.entries({
    search_path: "'odd schema', pg_catalog, public",
    default_transaction_read_only: 'on',
    default_transaction_isolation: 'serializable',
    default_transaction_deferrable: 'on',
    statement_timeout: "'500ms'",
    lock_timeout: "'500ms'",
    idle_in_transaction_session_timeout: "'100ms'",
    idle_session_timeout: "'100ms'",
    TimeZone: "'Pacific/Apia'",
    DateStyle: "'German, DMY'",
    IntervalStyle: "'iso_8601'",
    extra_float_digits: '-15',
    bytea_output: "'escape'",
    standard_conforming_strings: 'off',
    escape_string_warning: 'on',
    backslash_quote: 'on',
    row_security: 'on',
    array_nulls: 'off',
    xmlbinary: "'hex'",
    xmloption: "'document'",
    quote_all_identifiers: 'on',
    transform_null_equals: 'on',
    lc_numeric: "'C'",
    default_table_access_method: "'heap'",
    default_toast_compression: "'pglz'",
    check_function_bodies: 'on',
    session_replication_role: "'replica'",
    synchronous_commit: 'off',
    constraint_exclusion: 'on',
    enable_seqscan: 'off',
    enable_hashagg: 'off',
    enable_indexscan: 'off',
    force_parallel_mode: 'on',
    work_mem: "'64kB'",
    log_statement: "'all'",
    timezone_abbreviations: "'Australia'",
    session_preload_libraries: "'auto_explain'",
    'auto_explain.log_min_duration': '0',
    'custom.parameter': "'it''s'",
    application_name: "'x'",
    default_text_search_config: "'simple'",
    gin_fuzzy_search_limit: '1',
    default_statistics_target: '1',
    synchronize_seqscans: 'on',
    vacuum_freeze_min_age: '0',
    jit: 'on',
    jit_above_cost: '0',
  })
    .map(([name, value]) => `ALTER ${database} SET ${name} = ${value}`)
    .join(';\n')

const hostileData = `CREATE SCHEMA "odd schema"; CREATE TABLE "odd schema".pg_class (a int); CREATE TABLE t (a int PRIMARY KEY, b timestamptz, c float8, d bytea, e text, f interval, g text[], h date, i xml); INSERT INTO t SELECT g, timestamptz '2024-01-01 UTC' + g * interval '1.37 hours', g / 7.0, decode(md5(g::text), 'hex'), E'back\\\\slash ''q'' ' || g, g * interval '1 day 2 minutes', '{NULL,a}', date '2024-02-01' + g, '<a/>' FROM generate_series(1, 300) g; CREATE INDEX ON t USING gin (g); CREATE FUNCTION f() RETURNS text LANGUAGE sql AS 'SELECT ''a\\b''::text'; CREATE VIEW v AS SELECT 'a\\b' AS x, E'\\\\' AS y FROM t WHERE e = NULL;`

/** Settings, locales, encodings, extensions: what surrounds a database. */
export const awkwardSettings: readonly AwkwardDatabase[] = [
  {
    id: 'database_settings',
    title: 'a database with a hostile value for each setting that can change what is read or written',
    source: 'runtime-config-client',
    sql: [hostileData, hostile('DATABASE awkward_database_settings')],
  },
  {
    id: 'role_settings',
    title: 'the role that backs up has such settings itself',
    source: 'sql-alterrole',
    roles: `CREATE ROLE awkward_dumper SUPERUSER LOGIN PASSWORD 'x'; ${hostile('ROLE awkward_dumper')}`,
    user: 'awkward_dumper',
    sql: hostileData,
  },
  {
    id: 'plain_role',
    title: 'a backup by a role without special rights but to read everything',
    source: 'predefined-roles',
    roles: "CREATE ROLE awkward_reader LOGIN PASSWORD 'x' IN ROLE pg_read_all_data; CREATE ROLE awkward_boss",
    user: 'awkward_reader',
    sql: `CREATE TABLE t (a serial); INSERT INTO t DEFAULT VALUES; CREATE SCHEMA closed; REVOKE ALL ON SCHEMA closed FROM PUBLIC; CREATE TABLE closed.t (a int GENERATED ALWAYS AS IDENTITY); INSERT INTO closed.t DEFAULT VALUES; ALTER TABLE t OWNER TO awkward_boss; CREATE MATERIALIZED VIEW m AS SELECT * FROM closed.t; CREATE UNLOGGED SEQUENCE u`,
  },
  {
    id: 'latin1',
    title: 'encoding LATIN1, high letters in names and values',
    source: 'multibyte',
    create: "ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0",
    sql: `CREATE TABLE "tablé" ("cølumn" text, b "char", c name); INSERT INTO "tablé" VALUES ('äöü ß ÿ', 'x', 'é'), (chr(160) || chr(255), NULL, NULL); CREATE TYPE e AS ENUM ('é', 'è'); CREATE TABLE u (a e, b text DEFAULT 'ÿ' CHECK (b <> 'é')); INSERT INTO u VALUES ('é'), ('è'); COMMENT ON TABLE u IS 'ünï'; CREATE FUNCTION "fé"() RETURNS text LANGUAGE sql AS 'SELECT ''é''::text'`,
  },
  {
    id: 'sql_ascii',
    title: 'encoding SQL_ASCII, with bytes that are no text in any encoding',
    source: 'multibyte',
    create: "ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0",
    sql: `CREATE TABLE t (a text PRIMARY KEY, b varchar(3), c text[]); INSERT INTO t VALUES (E'\\xe9\\xff\\xfe', E'\\xc3\\x28\\x80', ARRAY[E'\\xff', 'é']), ('é', '☕', NULL), (E'\\x80', '', '{}'); CREATE INDEX ON t (upper(a)); CREATE TABLE padded (a char(4), b json, c jsonb, d tsvector); INSERT INTO padded VALUES (E'\\xe9', (E'"\\xe9"')::json, (E'"\\xff"')::jsonb, (E'\\xe9')::tsvector), ('é', '"é"', '"é"', 'é'); CREATE TABLE "utf8 é ☕" ("é" int); INSERT INTO "utf8 é ☕" VALUES (1)`,
  },
  {
    id: 'euc_jp',
    title: 'encoding EUC_JP',
    source: 'multibyte',
    create: "ENCODING 'EUC_JP' LOCALE 'C' TEMPLATE template0",
    sql: `CREATE TABLE "表" ("列" text, b char(4), c jsonb); INSERT INTO "表" VALUES ('日本語テキスト ~\\', '漢字', '{"鍵": "値"}'), ('ｶﾅ', 'x', NULL); CREATE TABLE t (a text DEFAULT '既定'); INSERT INTO t DEFAULT VALUES`,
  },
  {
    id: 'icu_database',
    title: 'the locale of the whole database by ICU',
    source: 'locale',
    create: "LOCALE_PROVIDER icu ICU_LOCALE 'de-u-co-phonebk' LOCALE 'C' TEMPLATE template0",
    sql: `CREATE TABLE t (a text PRIMARY KEY, b text COLLATE "C"); INSERT INTO t VALUES ('Ä', 'a'), ('A', 'b'), ('ae', NULL); CREATE TABLE p (a text) PARTITION BY RANGE (a); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM ('a') TO ('b'); INSERT INTO p VALUES ('ä'); CREATE INDEX ON t (lower(a))`,
  },
  {
    id: 'other_locale',
    title: 'the locale of another country, known to the C library alone',
    source: 'locale',
    create: "LOCALE 'de_DE.UTF-8' TEMPLATE template0",
    sql: `ALTER DATABASE awkward_other_locale SET lc_messages = 'de_DE.UTF-8'; CREATE TABLE t (a text PRIMARY KEY, b money); INSERT INTO t VALUES ('ä', '1,5'), ('z', '2'); CREATE TABLE p (a text) PARTITION BY RANGE (a); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM ('a') TO ('b'); INSERT INTO p VALUES ('ä')`,
  },
  {
    id: 'odd_database',
    title: 'a database whose own name is a connection string',
    source: 'libpq-connect',
    database: `host=evil user='x' "q" 100% ☕`,
    sql: 'CREATE TABLE t (a int); INSERT INTO t VALUES (1)',
  },
  {
    id: 'tablespaces',
    title: 'tables, indexes and a default in tablespaces',
    source: 'manage-ag-tablespaces',
    sql: ({ folder }) => [
      `CREATE TABLESPACE "awkward space" LOCATION '${folder}'`,
      `CREATE TABLE t (a int PRIMARY KEY USING INDEX TABLESPACE "awkward space") TABLESPACE "awkward space"; INSERT INTO t VALUES (1); CREATE TABLE p (a int) PARTITION BY LIST (a) TABLESPACE "awkward space"; CREATE TABLE p1 PARTITION OF p DEFAULT; INSERT INTO p VALUES (1); CREATE MATERIALIZED VIEW m TABLESPACE "awkward space" AS SELECT * FROM t; ALTER DATABASE awkward_tablespaces SET default_tablespace = 'awkward space'; ALTER DATABASE awkward_tablespaces SET temp_tablespaces = 'awkward space'`,
    ],
  },
  {
    id: 'contrib',
    title: 'the extensions that come with PostgreSQL, their types in tables, arrays, domains and indexes',
    source: 'contrib',
    extensions: ['hstore', 'ltree', 'citext', 'pg_trgm', 'pgcrypto', 'intarray', 'seg', 'cube', 'isn', 'unaccent'],
    sql: `
CREATE EXTENSION hstore; CREATE EXTENSION ltree; CREATE EXTENSION citext; CREATE EXTENSION pg_trgm; CREATE EXTENSION pgcrypto; CREATE EXTENSION intarray; CREATE EXTENSION seg; CREATE EXTENSION cube; CREATE EXTENSION isn; CREATE EXTENSION unaccent; CREATE EXTENSION tablefunc; CREATE EXTENSION "uuid-ossp"; CREATE EXTENSION earthdistance; CREATE EXTENSION lo; CREATE EXTENSION xml2; CREATE EXTENSION dblink; CREATE EXTENSION amcheck; CREATE EXTENSION pg_stat_statements;
CREATE DOMAIN mail AS citext CHECK (VALUE ~ '@'); CREATE TABLE x (a hstore, b ltree, c citext PRIMARY KEY, d seg, e cube, f isbn13, g lquery, h ltxtquery, i query_int, j mail, k hstore[], l citext[], m ltree[], n ean13, o lo, p earth, q issn);
INSERT INTO x (a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p) VALUES ('a=>1, "b c"=>NULL, d=>""', 'a.b_1', 'Word', '~6.5 .. <8.50', '(0.1,NaN),(-0,1)', '978-0-393-04002-9', 'a.*{2,}.b|c%', 'a & !b@*', '1&(2|!3)', 'A@b', ARRAY['x=>"y"'::hstore, NULL], '{A,a}', '{a.b,""}', '0000000000000', lo_from_bytea(0, 'x'), ll_to_earth(1, 2)), ('', '', 'other', '1.0', '(1)', NULL, '*', 'x', '1', NULL, '{}', NULL, NULL, NULL, NULL, NULL), (NULL, NULL, 'third', '1.00', '(1),(1)', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
CREATE INDEX ON x USING gist (a); CREATE INDEX ON x USING gist (b); CREATE INDEX ON x USING gin ((c::text) gin_trgm_ops); CREATE INDEX ON x USING gist (d); CREATE INDEX ON x USING gist (e); CREATE TABLE h (id uuid DEFAULT uuid_generate_v4(), p text DEFAULT crypt('x', gen_salt('md5')), ints int[]); INSERT INTO h (ints) SELECT ARRAY[g] FROM generate_series(1, 30) g; CREATE INDEX ON h USING gin (ints gin__int_ops); CREATE TRIGGER lo BEFORE UPDATE OR DELETE ON x FOR EACH ROW EXECUTE FUNCTION lo_manage(o); CREATE TABLE cp (c citext) PARTITION BY HASH (c); CREATE TABLE cp0 PARTITION OF cp FOR VALUES WITH (MODULUS 2, REMAINDER 0); CREATE TABLE cp1 PARTITION OF cp FOR VALUES WITH (MODULUS 2, REMAINDER 1); INSERT INTO cp SELECT 'W' || g FROM generate_series(1, 50) g;`,
  },
  {
    id: 'moved_extensions',
    title: 'extensions in schemas of their own, at an older version, with members added and renamed',
    source: 'extend-extensions',
    extensions: ['hstore', 'citext', 'pg_trgm', 'cube'],
    sql: `
CREATE SCHEMA "ext.s"; CREATE EXTENSION hstore SCHEMA "ext.s"; CREATE EXTENSION citext SCHEMA "ext.s"; CREATE EXTENSION pg_trgm VERSION '1.3'; CREATE EXTENSION cube CASCADE SCHEMA "ext.s"; CREATE TABLE t (a "ext.s".hstore, b "ext.s".citext); INSERT INTO t VALUES ('a=>1', 'X'); REVOKE EXECUTE ON FUNCTION "ext.s".akeys("ext.s".hstore) FROM PUBLIC; CREATE TYPE ct AS (h "ext.s".hstore, c "ext.s".citext); CREATE TABLE u (x ct[]); INSERT INTO u VALUES (ARRAY[ROW('k=>v', 'C')::ct]); CREATE INDEX ON t (b "ext.s".citext_pattern_ops);
CREATE VIEW v AS SELECT a OPERATOR("ext.s".->) 'a' AS x FROM t; COMMENT ON FUNCTION "ext.s".akeys("ext.s".hstore) IS 'mine';`,
  },
  {
    id: 'postgis',
    title: 'PostGIS, with rows of its own in its configuration table',
    source: 'extend-extensions',
    extensions: ['postgis'],
    sql: `CREATE EXTENSION postgis; CREATE TABLE g (id serial PRIMARY KEY, a geometry(Point, 4326), b geography, d box3d, e geometry); INSERT INTO g (a, b, d, e) SELECT ST_SetSRID(ST_MakePoint(g / 7.0, g), 4326), ST_MakePoint(g, g)::geography, 'BOX3D(0 0 0,1 1 1)', ST_Buffer(ST_MakePoint(g, 'NaN'::float8 * 0 + g), 1) FROM generate_series(1, 100) g; INSERT INTO g (e) VALUES ('POINT EMPTY'), ('CIRCULARSTRING(0 0,1 1,2 0)'), (NULL); CREATE INDEX ON g USING gist (a); CREATE INDEX ON g USING spgist (e); INSERT INTO spatial_ref_sys (srid, auth_name, srtext) VALUES (990001, 'mine', 'x'); CREATE VIEW v AS SELECT ST_AsText(a) FROM g`,
  },
]

/** Needs the embedded server: pg_cron works in one database of a server, whose name must be known when it starts. */
export const awkwardCron: AwkwardDatabase = {
  id: 'cron',
  title: 'pg_cron with jobs that must not run in a drill',
  source: 'extend-extensions',
  extensions: ['pg_cron'],
  settings: { PGPROOF_DRILL__SCRATCH: 'embedded' },
  sql: `CREATE EXTENSION pg_cron; CREATE TABLE ran (at timestamptz); SELECT cron.schedule('every', '* * * * *', 'INSERT INTO ran VALUES (now())'), cron.schedule('0 0 1 1 *', 'VACUUM'); UPDATE cron.job SET active = false WHERE jobid = 2; INSERT INTO cron.job_run_details (jobid, runid, command, status) VALUES (1, 1, 'x', 'succeeded')`,
}
