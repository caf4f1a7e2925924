import type { AwkwardDatabase } from './awkward.ts'

/** Views, rules, triggers, functions, rights: what stands beside the rows. */
export const awkwardPrograms: readonly AwkwardDatabase[] = [
  {
    id: 'materialized_views',
    title: 'materialized views: never populated, on one that is not, on each other, of values that change at each look',
    source: 'rules-materializedviews',
    sql: `
CREATE TABLE b (a int); INSERT INTO b SELECT generate_series(1, 10); CREATE MATERIALIZED VIEW m1 AS SELECT * FROM b; CREATE MATERIALIZED VIEW m2 AS SELECT a * 2 AS a2 FROM m1; CREATE UNIQUE INDEX ON m2 (a2); CREATE MATERIALIZED VIEW aaa AS SELECT * FROM m2 WITH NO DATA;
CREATE MATERIALIZED VIEW never AS SELECT 1 / 0 AS x WITH NO DATA; CREATE MATERIALIZED VIEW changing AS SELECT random() AS r, now() AS n, pg_backend_pid() AS p, clock_timestamp(); CREATE VIEW over AS SELECT * FROM m1 JOIN m2 ON a = a2; CREATE MATERIALIZED VIEW over_over WITH (fillfactor = 70) AS SELECT * FROM over; DELETE FROM b WHERE a > 5; CREATE STATISTICS st ON a, (a + 1) FROM m1; CREATE INDEX ON never (x);`,
  },
  {
    id: 'views',
    title: 'views that check, bar, recurse, span renamed columns, and views that need each other',
    source: 'sql-createview',
    sql: `
CREATE TABLE t (id int PRIMARY KEY, old text, gone int, b text); CREATE VIEW v1 AS SELECT * FROM t; ALTER TABLE t RENAME old TO "new Name"; ALTER TABLE t ADD more int DEFAULT 1; CREATE VIEW v2 AS SELECT id, b FROM t WHERE b <> '' WITH LOCAL CHECK OPTION; CREATE VIEW v3 WITH (security_barrier) AS SELECT * FROM v2 WHERE id > 0 WITH CASCADED CHECK OPTION;
CREATE RECURSIVE VIEW r (n) AS VALUES (1) UNION ALL SELECT n + 1 FROM r WHERE n < 10; CREATE VIEW grouped AS SELECT id, b, count(*) FROM t GROUP BY id; CREATE VIEW lat AS SELECT * FROM t, LATERAL (SELECT t.id * 2 AS d) l, ROWS FROM (generate_series(1, 2), unnest(ARRAY['a'])) WITH ORDINALITY AS f(x, y, z); ALTER VIEW v1 ALTER id SET DEFAULT 7; CREATE VIEW nothing AS SELECT; CREATE VIEW same AS SELECT 1 AS "?column?", 2 AS "a b", 'x' AS c;
CREATE VIEW w AS SELECT 1 AS a; CREATE VIEW w2 AS SELECT * FROM w; CREATE OR REPLACE VIEW w AS SELECT a FROM (SELECT 1 AS a) s WHERE EXISTS (SELECT 1 FROM pg_class); CREATE FUNCTION fv() RETURNS SETOF v1 LANGUAGE sql AS 'SELECT * FROM v1'; CREATE VIEW vf AS SELECT (fv()).*; CREATE TABLE using_ (id int, b text); CREATE VIEW j AS SELECT * FROM t FULL JOIN using_ USING (id, b) AS u; ALTER TABLE using_ RENAME b TO c;
CREATE VIEW samples AS SELECT * FROM t TABLESAMPLE system (10) REPEATABLE (1); CREATE VIEW locks AS SELECT * FROM t FOR UPDATE OF t SKIP LOCKED; CREATE VIEW win AS SELECT sum(id) OVER w, rank() OVER (w ORDER BY b) FROM t WINDOW w AS (PARTITION BY b); CREATE VIEW sets AS SELECT GROUPING(id), b FROM t GROUP BY CUBE (id, b); INSERT INTO t VALUES (1, 'x', 2, 'y');`,
  },
  {
    id: 'rules',
    title: 'rules in place of inserts, disabled ones, and on views',
    source: 'rules',
    sql: `
CREATE TABLE t (a int, b text); CREATE TABLE log (a int, at timestamptz DEFAULT now()); INSERT INTO t VALUES (1, 'x'), (2, 'y'); CREATE RULE noins AS ON INSERT TO t DO INSTEAD NOTHING; CREATE RULE upd AS ON UPDATE TO t WHERE NEW.a > 5 DO ALSO (INSERT INTO log VALUES (NEW.a); DELETE FROM log WHERE a < OLD.a); CREATE RULE "odd ""rule" AS ON DELETE TO t DO INSTEAD SELECT 1; CREATE RULE tell AS ON UPDATE TO log DO ALSO NOTIFY changed; ALTER TABLE t DISABLE RULE upd; ALTER TABLE t ENABLE ALWAYS RULE noins; COMMENT ON RULE noins ON t IS 'no';
CREATE VIEW v AS SELECT * FROM t; CREATE RULE vi AS ON INSERT TO v DO INSTEAD INSERT INTO log VALUES (NEW.a) RETURNING a, 'x'::text; CREATE TABLE looks_like_view (a int);`,
  },
  {
    id: 'triggers',
    title:
      'triggers: disabled, for replicas, always, on partitions and views, constraint triggers, ones that refuse every row',
    source: 'sql-createtrigger',
    sql: `
CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$; CREATE FUNCTION yes() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.b := 'touched'; RETURN NEW; END $$; CREATE FUNCTION nil() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TABLE t (a int PRIMARY KEY, b text); INSERT INTO t VALUES (1, 'x'), (2, NULL); CREATE TRIGGER a_no BEFORE INSERT ON t FOR EACH STATEMENT EXECUTE FUNCTION no('arg''s', 'x\\y'); CREATE TRIGGER b BEFORE INSERT OR UPDATE OF b ON t FOR EACH ROW WHEN (NEW.a > 0) EXECUTE FUNCTION yes(); CREATE TRIGGER c AFTER TRUNCATE ON t EXECUTE FUNCTION no();
CREATE TRIGGER d AFTER UPDATE ON t REFERENCING OLD TABLE AS o NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION nil(); CREATE CONSTRAINT TRIGGER e AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION no(); ALTER TABLE t DISABLE TRIGGER b, ENABLE ALWAYS TRIGGER a_no, ENABLE REPLICA TRIGGER e;
CREATE TABLE p (a int, b text) PARTITION BY LIST (a); CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1); INSERT INTO p VALUES (1, 'q'); CREATE TRIGGER every BEFORE INSERT ON p FOR EACH ROW EXECUTE FUNCTION yes(); CREATE TRIGGER own BEFORE INSERT ON p1 FOR EACH ROW EXECUTE FUNCTION nil(); ALTER TABLE p1 DISABLE TRIGGER every; CREATE TABLE p2 PARTITION OF p FOR VALUES IN (2); ALTER TABLE p2 DISABLE TRIGGER ALL; CREATE VIEW v AS SELECT * FROM t; CREATE TRIGGER ins INSTEAD OF INSERT ON v FOR EACH ROW EXECUTE FUNCTION nil();
ALTER TRIGGER a_no ON t RENAME TO "A ""no"; COMMENT ON TRIGGER c ON t IS 'c'; CREATE TABLE fk (a int REFERENCES t); INSERT INTO fk VALUES (1); ALTER TABLE fk DISABLE TRIGGER ALL;`,
  },
  {
    id: 'event_triggers',
    title: 'event triggers that forbid any further DDL, always and on replicas',
    source: 'event-triggers',
    sql: [
      `CREATE FUNCTION forbid() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no DDL: %', tg_tag; END $$; CREATE TABLE t (a int); INSERT INTO t VALUES (1); CREATE MATERIALIZED VIEW m AS SELECT * FROM t; CREATE INDEX ON t (a)`,
      `CREATE EVENT TRIGGER z ON ddl_command_start WHEN TAG IN ('CREATE TABLE', 'DROP TABLE', 'CREATE EXTENSION', 'CREATE SCHEMA') EXECUTE FUNCTION forbid(); ALTER EVENT TRIGGER z ENABLE ALWAYS; CREATE EVENT TRIGGER off ON sql_drop EXECUTE FUNCTION forbid(); ALTER EVENT TRIGGER off DISABLE; CREATE EVENT TRIGGER rep ON table_rewrite EXECUTE FUNCTION forbid(); ALTER EVENT TRIGGER rep ENABLE REPLICA; COMMENT ON EVENT TRIGGER z IS 'z'; CREATE EVENT TRIGGER other ON ddl_command_end WHEN TAG IN ('CREATE INDEX', 'ALTER TABLE', 'GRANT', 'COMMENT') EXECUTE FUNCTION forbid()`,
    ],
  },
  {
    id: 'functions',
    title:
      'functions of every form: SQL-standard bodies, overloads, defaults that call others, procedures, aggregates, operators',
    source: 'sql-createfunction',
    sql: `
CREATE FUNCTION f(a int DEFAULT 1, VARIADIC b text[] DEFAULT '{}') RETURNS int LANGUAGE sql IMMUTABLE PARALLEL SAFE COST 7 BEGIN ATOMIC SELECT a; SELECT a + cardinality(b); END; CREATE FUNCTION f(text) RETURNS text LANGUAGE sql STRICT LEAKPROOF SECURITY DEFINER SET search_path = 'a b', public SET work_mem = '1MB' AS $f$ SELECT 'it''s $$ ' || $1 $f$;
CREATE FUNCTION g(x int DEFAULT f(3), OUT y int, INOUT z text DEFAULT f('q'::text)) LANGUAGE plpgsql AS $$ BEGIN y := x; END $$; CREATE FUNCTION tab(n int) RETURNS TABLE (a int, "B b" text) ROWS 3 LANGUAGE sql AS 'SELECT 1, NULL::text'; CREATE PROCEDURE p(INOUT a int, b text DEFAULT 'x') LANGUAGE plpgsql AS $$ BEGIN COMMIT; END $$; CREATE PROCEDURE p2(OUT a int) LANGUAGE sql BEGIN ATOMIC SELECT 1; END;
CREATE TABLE t (a int DEFAULT f(), b text DEFAULT f('x'::text), CHECK (f(a) > 0)); INSERT INTO t DEFAULT VALUES; CREATE INDEX ON t (f(a)); CREATE FUNCTION later() RETURNS SETOF t LANGUAGE sql BEGIN ATOMIC SELECT * FROM t WHERE a = f(1); END; CREATE FUNCTION poly(anyelement, anyarray) RETURNS anyelement LANGUAGE sql AS 'SELECT $1'; CREATE FUNCTION poly2(anycompatible) RETURNS anycompatible LANGUAGE sql AS 'SELECT $1';
CREATE AGGREGATE total(int) (SFUNC = int4pl, STYPE = int, INITCOND = '0', COMBINEFUNC = int4pl, PARALLEL = SAFE, SORTOP = <); CREATE AGGREGATE pct(float8 ORDER BY anyelement) (SFUNC = ordered_set_transition, STYPE = internal, FINALFUNC = percentile_disc_final, FINALFUNC_EXTRA); CREATE AGGREGATE zero(*) (SFUNC = int8inc, STYPE = int8, INITCOND = '0', MSFUNC = int8inc, MINVFUNC = int8dec, MSTYPE = int8, MINITCOND = '0');
CREATE FUNCTION cmp(int, text) RETURNS bool LANGUAGE sql AS 'SELECT true'; CREATE FUNCTION f1(int) RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE FUNCTION revcmp(int, int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT btint4cmp($2, $1)'; CREATE FUNCTION tt(t) RETURNS text LANGUAGE sql AS 'SELECT $1.b'; CREATE OPERATOR === (LEFTARG = int, RIGHTARG = text, FUNCTION = cmp); CREATE OPERATOR ~~~ (RIGHTARG = int, FUNCTION = f1); CREATE OPERATOR CLASS rev FOR TYPE int USING btree AS OPERATOR 1 > , OPERATOR 2 >=, OPERATOR 3 =, OPERATOR 4 <=, OPERATOR 5 <, FUNCTION 1 revcmp(int, int); CREATE TABLE u (a int); INSERT INTO u SELECT generate_series(1, 9); CREATE INDEX ON u (a rev); CREATE TABLE part (a int) PARTITION BY RANGE (a rev); CREATE TABLE part1 PARTITION OF part FOR VALUES FROM (10) TO (1); INSERT INTO part VALUES (10), (2);
CREATE CAST (t AS text) WITH FUNCTION tt(t) AS ASSIGNMENT; CREATE TRANSFORM FOR int LANGUAGE sql (FROM SQL WITH FUNCTION prsd_lextype(internal)); CREATE CONVERSION cc FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8; CREATE ACCESS METHOD heap2 TYPE TABLE HANDLER heap_tableam_handler; CREATE ACCESS METHOD btree2 TYPE INDEX HANDLER bthandler; CREATE TABLE h (a int) USING heap2; INSERT INTO h VALUES (1);
ALTER FUNCTION f(text) DEPENDS ON EXTENSION plpgsql; ALTER FUNCTION f(text) SUPPORT textlike_support; COMMENT ON FUNCTION f(text) IS 'f'; REVOKE EXECUTE ON FUNCTION f(text) FROM PUBLIC;`,
  },
  {
    id: 'rights',
    title:
      'rights given on by others than the owner, on columns, by default, withdrawn from the owner; roles with odd names',
    source: 'ddl-priv',
    roles: `CREATE ROLE "awkward Owner"; CREATE ROLE "awkward ""q"" 'r' \\s" LOGIN PASSWORD 'x''y' VALID UNTIL 'infinity'; CREATE ROLE "awkward-3 ☕" CONNECTION LIMIT 3; CREATE ROLE "awkward.4" CREATEDB BYPASSRLS; GRANT "awkward Owner" TO "awkward.4" WITH ADMIN OPTION; ALTER ROLE "awkward.4" SET search_path = 'a b', "c"; ALTER ROLE "awkward Owner" SET statement_timeout = 1; ALTER ROLE "awkward Owner" SET default_transaction_read_only = on; COMMENT ON ROLE "awkward.4" IS 'it''s'; CREATE ROLE "awkward, 5" SUPERUSER`,
    sql: `
CREATE SCHEMA s AUTHORIZATION "awkward Owner"; CREATE TABLE s.t (a int, "b c" text, d int); INSERT INTO s.t VALUES (1, 'x', 2); ALTER TABLE s.t OWNER TO "awkward Owner"; GRANT USAGE, CREATE ON SCHEMA s TO "awkward.4" WITH GRANT OPTION; SET SESSION AUTHORIZATION "awkward Owner"; GRANT SELECT, UPDATE ON s.t TO "awkward.4" WITH GRANT OPTION; GRANT SELECT (a), UPDATE ("b c") ON s.t TO "awkward ""q"" 'r' \\s" WITH GRANT OPTION; REVOKE ALL ON s.t FROM "awkward Owner";
SET SESSION AUTHORIZATION "awkward.4"; GRANT SELECT ON s.t TO "awkward-3 ☕"; GRANT USAGE ON SCHEMA s TO "awkward-3 ☕"; GRANT USAGE ON SCHEMA s TO "awkward ""q"" 'r' \\s"; SET SESSION AUTHORIZATION "awkward ""q"" 'r' \\s"; GRANT SELECT (a) ON s.t TO PUBLIC; RESET SESSION AUTHORIZATION;
ALTER DEFAULT PRIVILEGES FOR ROLE "awkward Owner" IN SCHEMA s GRANT SELECT ON TABLES TO "awkward.4" WITH GRANT OPTION; ALTER DEFAULT PRIVILEGES FOR ROLE "awkward.4" REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC; ALTER DEFAULT PRIVILEGES REVOKE USAGE ON TYPES FROM PUBLIC; ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS TO "awkward-3 ☕"; ALTER DEFAULT PRIVILEGES IN SCHEMA s GRANT USAGE ON SEQUENCES TO PUBLIC;
CREATE FUNCTION s.f() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'; ALTER FUNCTION s.f() OWNER TO "awkward.4"; CREATE TYPE s.ty AS (a int); GRANT USAGE ON TYPE s.ty TO "awkward.4"; GRANT USAGE ON LANGUAGE sql TO "awkward-3 ☕"; REVOKE USAGE ON LANGUAGE plpgsql FROM PUBLIC; GRANT SELECT ON pg_authid TO "awkward-3 ☕"; GRANT EXECUTE ON FUNCTION pg_ls_dir(text) TO "awkward.4"; CREATE SEQUENCE s.q; GRANT UPDATE ON SEQUENCE s.q TO "awkward-3 ☕"; GRANT SET ON PARAMETER log_min_messages TO "awkward.4" WITH GRANT OPTION;
CREATE VIEW s.v AS SELECT * FROM s.t; ALTER VIEW s.v OWNER TO "awkward ""q"" 'r' \\s"; CREATE MATERIALIZED VIEW s.m AS SELECT a FROM s.t; GRANT SELECT (d) ON s.t TO PUBLIC; GRANT ALL ON DATABASE awkward_rights TO "awkward-3 ☕"; GRANT CREATE ON TABLESPACE pg_default TO "awkward.4"; CREATE DOMAIN s.d AS int; REVOKE ALL ON DOMAIN s.d FROM PUBLIC; ALTER DATABASE awkward_rights OWNER TO "awkward Owner"; ALTER ROLE "awkward.4" IN DATABASE awkward_rights SET work_mem = '2MB';
ALTER ROLE "awkward, 5" NOSUPERUSER; CREATE TABLE s.u (a int); ALTER TABLE s.u OWNER TO "awkward Owner"; GRANT SELECT ON s.u TO "awkward, 5" WITH GRANT OPTION; GRANT USAGE ON SCHEMA s TO "awkward, 5"; SET SESSION AUTHORIZATION "awkward, 5"; GRANT SELECT ON s.u TO PUBLIC; RESET SESSION AUTHORIZATION; ALTER ROLE "awkward, 5" SUPERUSER;`,
  },
  {
    id: 'public_owned',
    title: 'the schema public owned by another role, its rights changed',
    source: 'ddl-schemas',
    roles: 'CREATE ROLE awkward_public',
    sql: `ALTER SCHEMA public OWNER TO awkward_public; GRANT ALL ON SCHEMA public TO PUBLIC; COMMENT ON SCHEMA public IS 'ours'; CREATE TABLE t (a int); INSERT INTO t VALUES (1)`,
  },
  {
    id: 'public_gone',
    title: 'no schema public and no PL/pgSQL',
    source: 'ddl-schemas',
    sql: 'DROP SCHEMA public; DROP EXTENSION plpgsql; CREATE SCHEMA app; CREATE TABLE app.t (a int); INSERT INTO app.t VALUES (1)',
  },
  {
    id: 'comments',
    title: 'comments on everything, with quotes, newlines and dollar signs',
    source: 'sql-comment',
    sql: `
COMMENT ON DATABASE awkward_comments IS 'the ''database'''; COMMENT ON SCHEMA public IS NULL; CREATE TABLE t (a int PRIMARY KEY, b text CHECK (b <> '')); COMMENT ON TABLE t IS E'line\\nbreak \\\\ $$ ''q'' "d" -- x /* y'; COMMENT ON COLUMN t.a IS ''';DROP TABLE t;--'; COMMENT ON COLUMN t.b IS '☕'; COMMENT ON INDEX t_pkey IS '%s'; COMMENT ON CONSTRAINT t_b_check ON t IS E'\\t'; COMMENT ON EXTENSION plpgsql IS 'mine'; COMMENT ON TYPE t IS 'row';
CREATE DOMAIN d AS int CONSTRAINT dc CHECK (VALUE > 0); COMMENT ON CONSTRAINT dc ON DOMAIN d IS 'dc'; COMMENT ON DOMAIN d IS 'd'; CREATE AGGREGATE s(int) (SFUNC = int4pl, STYPE = int); COMMENT ON AGGREGATE s(int) IS 'agg'; COMMENT ON CAST (int AS int8) IS 'sys'; COMMENT ON FUNCTION now() IS 'changed'; CREATE SEQUENCE q; COMMENT ON SEQUENCE q IS '${'x'.repeat(5000)}';`,
  },
  {
    id: 'replication',
    title: 'publications of every kind and a subscription to a server that is not there',
    source: 'logical-replication',
    sql: `
CREATE TABLE t (a int PRIMARY KEY, b text, c int); INSERT INTO t VALUES (1, 'x', 2); CREATE SCHEMA s; CREATE PUBLICATION all_ FOR ALL TABLES WITH (publish = 'insert, truncate', publish_via_partition_root); CREATE PUBLICATION part FOR TABLE t (a, b) WHERE (a > 5); CREATE PUBLICATION sch FOR TABLES IN SCHEMA s; CREATE PUBLICATION nil; CREATE SUBSCRIPTION far CONNECTION 'host=192.0.2.1 password=secret dbname=x' PUBLICATION p, "q r" WITH (connect = false, binary = true, streaming = on, slot_name = NONE); COMMENT ON SUBSCRIPTION far IS 'far'; COMMENT ON PUBLICATION part IS 'x';`,
    last: 'DROP SUBSCRIPTION far',
  },
  {
    id: 'prepared',
    title: 'prepared transactions that nobody has ended, holding locks and rows',
    source: 'sql-prepare-transaction',
    sql: [
      'CREATE TABLE t (a int PRIMARY KEY, b text); INSERT INTO t VALUES (1, NULL), (2, NULL)',
      "BEGIN; INSERT INTO t VALUES (3, 'never'); UPDATE t SET b = 'half' WHERE a = 1; DELETE FROM t WHERE a = 2; PREPARE TRANSACTION 'awkward one'",
    ],
    last: "ROLLBACK PREPARED 'awkward one'",
  },
]
