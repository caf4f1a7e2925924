/** At least one of each kind of object that belongs to tables, with every property set on one of them. */
export const plainSchema = `
  CREATE TABLE orders (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, code varchar(10) UNIQUE, state text DEFAULT 'new', total numeric(10, 2) NOT NULL,
    tax numeric GENERATED ALWAYS AS (total * 0.2) STORED, CONSTRAINT positive CHECK (total > 0)
  ) WITH (fillfactor = 70, toast.autovacuum_enabled = off);
  CREATE TABLE other_tax (id int, code varchar(10), state text, total numeric(10, 2), tax numeric GENERATED ALWAYS AS (total * 0.3) STORED);
  ALTER TABLE orders ADD CONSTRAINT later CHECK (id < 1000) NOT VALID, ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
  COMMENT ON TABLE orders IS 'orders'; COMMENT ON CONSTRAINT positive ON orders IS 'no gifts'; GRANT SELECT ON orders TO pg_monitor WITH GRANT OPTION;
  CREATE INDEX by_state ON orders (lower(state)); ALTER INDEX by_state ALTER COLUMN 1 SET STATISTICS 5;
  COMMENT ON INDEX by_state IS 'by state'; ALTER TABLE orders CLUSTER ON by_state;
  CREATE TABLE lines (order_id int); ALTER TABLE lines ADD CONSTRAINT lines_order_fkey FOREIGN KEY (order_id) REFERENCES orders ON DELETE CASCADE NOT VALID;
  CREATE TABLE bare (a int, b text); CREATE RULE no_delete AS ON DELETE TO bare DO INSTEAD NOTHING;
  CREATE FUNCTION trigger_function() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
  CREATE TRIGGER guard BEFORE UPDATE OF total ON orders FOR EACH ROW WHEN (NEW.code IN ('a', 'b')) EXECUTE FUNCTION trigger_function('a');
  CREATE POLICY own ON orders TO pg_monitor USING (code IN ('a', 'b')) WITH CHECK (total > 0);
  CREATE STATISTICS sums ON (total + 1), code FROM orders;
  CREATE TYPE pair AS (a int, b varchar(5)); CREATE TABLE typed OF pair;
  CREATE TABLE parent (a int); CREATE TABLE child (b int) INHERITS (parent);
  CREATE TABLE root (a int) PARTITION BY LIST (a); CREATE TABLE leaf_one PARTITION OF root FOR VALUES IN (1); CREATE TABLE solo (a int) PARTITION BY LIST (a);
  CREATE TABLE leaf_two PARTITION OF root FOR VALUES IN (2); CREATE INDEX root_a_idx ON root (a);
  CREATE TRIGGER watch AFTER UPDATE ON root FOR EACH ROW EXECUTE FUNCTION trigger_function();
  CREATE VIEW totals WITH (security_barrier) AS SELECT id, total FROM orders; COMMENT ON VIEW totals IS 'totals';
  CREATE MATERIALIZED VIEW filled AS SELECT id, total, state FROM orders;
  CREATE SEQUENCE numbers AS int MAXVALUE 1000; CREATE DOMAIN percent AS int CONSTRAINT range_of CHECK (VALUE BETWEEN 0 AND 100);
  CREATE EXTENSION file_fdw; CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;
  CREATE FOREIGN TABLE far (line text OPTIONS (force_not_null 'true')) SERVER files OPTIONS (filename '/nowhere', format 'csv')`

/**
 * Conditions that PostgreSQL does not print as it reads them, or that look as if. Each is put wherever the catalogs
 * keep an expression.
 */
const conditions = [
  'whole > 0 AND (whole < 10 AND (whole <> 5 AND whole <> 6)) OR (whole = 7 OR whole = 8)',
  "code IN ('a', 'b')",
  "code NOT IN ('a', 'it''s]', E'back\\\\slash')",
  "code LIKE ANY (ARRAY['a%', '%b']::varchar[])",
  "fixed IN ('a', 'b') OR color IN ('red', 'blue') AND number IN (1, 2.5)",
  "size IN ('s', 'm') AND label IN ('x', 'y') AND code IN ('c', NULL)",
  'number = ANY (ARRAY[whole, 2])',
  'number = ANY (ARRAY[1, 2])',
  'floating = ANY (ARRAY[1, 2.5])',
  "(ARRAY[ARRAY[code, 'x'], ARRAY['a', 'b']])::text[] <@ words",
  "(ARRAY[(ARRAY['a', 'b']::varchar[])[1], code]::varchar[])::text[] <@ words",
  "'a' = ANY (ARRAY[code, fixed])",
  "(whole, code) IN ((1, 'a'), (2, 'b'))",
  'whole > 0 AND whole < 10 AND (whole <> 5 OR whole <> 6) AND NOT (whole = 7 AND whole = 8)',
  "CASE code WHEN 'a' THEN whole BETWEEN 1 AND 5 WHEN 'b' THEN whole IS NULL ELSE false END",
  "COALESCE(code, fixed, 'x') > 'a' COLLATE \"C\"",
  "extract(year from moment) > 2000 AND moment AT TIME ZONE 'UTC' <> '2020-01-01'",
  "substring(code from 1 for 2) = 'ab' AND trim(both 'x' from code) <> '' AND code SIMILAR TO 'a(b|c)'",
] as const

const conditionSchema = conditions
  .map(
    (condition, index) => `
      ALTER TABLE awkward ADD CONSTRAINT check_${index} CHECK (${condition});
      CREATE INDEX index_${index} ON awkward (whole) WHERE ${condition}; CREATE INDEX expression_${index} ON awkward ((${condition}));
      CREATE VIEW view_${index} AS SELECT CASE WHEN ${condition} THEN 1 END AS one, ${condition} AS it FROM awkward WHERE ${condition};
      CREATE POLICY policy_${index} ON awkward USING (${condition}) WITH CHECK (${condition});
      CREATE STATISTICS statistics_${index} ON (${condition}), whole FROM awkward;
      CREATE RULE rule_${index} AS ON UPDATE TO awkward WHERE EXISTS (SELECT FROM (SELECT NEW.*) n WHERE ${condition}) DO ALSO SELECT 1;
      CREATE TABLE generated_${index} (${columns()}, it boolean GENERATED ALWAYS AS (${condition}) STORED)`,
  )
  .join(';')

function columns(): string {
  return `code varchar, fixed char(5), color name, size short_word, label label, words text[], number numeric, whole int, floating float8, moment timestamp`
}

/** Objects that a restore makes in another order or by other commands than they were made. */
export const awkwardSchema = `
  CREATE TYPE label AS ENUM ('x', 'y'); CREATE DOMAIN short_word AS varchar(9) CHECK (VALUE IN ('s', 'm', 'l'));
  CREATE TABLE awkward (gone int, ${columns()}); ALTER TABLE awkward DROP gone; ${conditionSchema};
  CREATE TRIGGER trigger_in BEFORE UPDATE ON awkward FOR EACH ROW WHEN (NEW.code IN ('a', 'b') AND OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION trigger_function('it''s', 2);
  CREATE TABLE "Odd ""Schema.Name" ("a b" int, "select" text, UNIQUE ("a b", "select"));

  CREATE TABLE base (a int DEFAULT 1, b varchar CHECK (b IN ('a', 'b')), c int NOT NULL);
  CREATE TABLE heir (x text, b varchar DEFAULT 'q') INHERITS (base); ALTER TABLE base ADD late int DEFAULT 3; ALTER TABLE heir ALTER late DROP DEFAULT;
  ALTER TABLE base ADD CONSTRAINT later CHECK (a > 0) NOT VALID; ALTER TABLE heir VALIDATE CONSTRAINT later;
  CREATE TABLE grown (own int, late int, c int NOT NULL, b varchar CONSTRAINT base_b_check CHECK (b IN ('a', 'b')), a int, CONSTRAINT later CHECK (a > 0)); ALTER TABLE grown INHERIT base;
  CREATE TABLE twofold (z percent DEFAULT 1); CREATE TABLE heir_of_domain () INHERITS (twofold); ALTER TABLE heir_of_domain ALTER z DROP DEFAULT;
  CREATE TABLE one (s text); CREATE TABLE heir_of_one () INHERITS (one); ALTER TABLE ONLY one ALTER s SET STORAGE EXTERNAL, ALTER s SET COMPRESSION pglz;
  CREATE TABLE computed (a int, b int GENERATED ALWAYS AS (a * 2) STORED); CREATE TABLE heir_of_computed () INHERITS (computed);

  CREATE TABLE ranges (code varchar, day date, n numeric) PARTITION BY RANGE (lower(code), (day + 1));
  CREATE TABLE range_one PARTITION OF ranges FOR VALUES FROM ('a', '2020-01-01') TO (MAXVALUE, MAXVALUE) PARTITION BY LIST (n);
  CREATE TABLE ranges_list (gone int, n numeric, day date, code varchar); ALTER TABLE ranges_list DROP gone; ALTER TABLE range_one ATTACH PARTITION ranges_list FOR VALUES IN (1, 2.5, NULL);
  CREATE TABLE hashes (code varchar UNIQUE) PARTITION BY HASH (code); CREATE TABLE hash_one PARTITION OF hashes FOR VALUES WITH (MODULUS 2, REMAINDER 0);
  CREATE INDEX ranges_n ON ranges (lower(code), n) WHERE code IN ('a', 'b'); CREATE INDEX only_ranges ON ONLY ranges (n);
  CREATE TRIGGER cloned AFTER UPDATE ON ranges FOR EACH ROW EXECUTE FUNCTION trigger_function(); ALTER TABLE ranges_list DISABLE TRIGGER cloned;
  COMMENT ON TRIGGER cloned ON ranges IS 'kept'; COMMENT ON TRIGGER cloned ON range_one IS 'not dumped';
  CREATE CONSTRAINT TRIGGER deferred AFTER INSERT ON ranges DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION trigger_function();
  CREATE TABLE refers (code varchar REFERENCES hashes (code) MATCH FULL ON DELETE SET NULL DEFERRABLE) PARTITION BY LIST (code); CREATE TABLE refers_one PARTITION OF refers FOR VALUES IN ('a');
  CREATE TABLE excludes (r int4range, k int CONSTRAINT excludes_key PRIMARY KEY, EXCLUDE USING gist (r WITH &&) WHERE (k IN (1, 2)) DEFERRABLE);
  ALTER TABLE excludes REPLICA IDENTITY USING INDEX excludes_key; CLUSTER excludes USING excludes_key; COMMENT ON INDEX excludes_key IS 'of a constraint'; COMMENT ON CONSTRAINT excludes_key ON excludes IS 'of an index';
  CREATE TABLE no_toast (a int, t text) WITH (toast.autovacuum_enabled = off); ALTER TABLE no_toast DROP t;
  CREATE TABLE no_identity (a int PRIMARY KEY); ALTER TABLE no_identity REPLICA IDENTITY USING INDEX no_identity_pkey; ALTER TABLE no_identity DROP CONSTRAINT no_identity_pkey;

  CREATE TABLE left_one (id int PRIMARY KEY, b varchar, gone int, c text); CREATE TABLE right_one (id int, d text, e varchar(4));
  CREATE VIEW joined AS SELECT * FROM left_one FULL JOIN right_one USING (id); CREATE VIEW star AS SELECT * FROM left_one; CREATE VIEW whole_row AS SELECT left_one, left_one.*::left_one AS x FROM left_one;
  ALTER TABLE right_one RENAME d TO renamed; ALTER TABLE left_one ADD renamed int, ADD e text; ALTER TABLE right_one ADD b int;
  CREATE VIEW grouped AS SELECT id, b, count(*) FROM left_one GROUP BY id; CREATE VIEW unions AS SELECT b FROM left_one UNION SELECT 'lit' UNION SELECT NULL;
  CREATE VIEW windows AS SELECT row_number() OVER w, sum(id) FILTER (WHERE b IN ('a', 'b')) OVER (w ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM left_one WINDOW w AS (ORDER BY id DESC NULLS LAST);
  CREATE VIEW recursive AS WITH RECURSIVE r(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM r WHERE n < 5) SELECT * FROM r; CREATE VIEW lateral_one AS SELECT l.*, g.* FROM left_one l, LATERAL unnest(ARRAY[l.b, 'x']) WITH ORDINALITY AS g(q, o);
  CREATE VIEW columns_renamed(x, y) AS SELECT id, b FROM left_one; ALTER VIEW columns_renamed RENAME x TO "X ""y"; CREATE VIEW checked AS SELECT * FROM left_one WHERE id > 0 WITH LOCAL CHECK OPTION;
  CREATE VIEW circular AS SELECT 1 AS x; CREATE FUNCTION of_circular(circular) RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE OR REPLACE VIEW circular WITH (security_barrier) AS SELECT of_circular(NULL::circular) AS x;
  CREATE RULE joined_insert AS ON INSERT TO joined DO INSTEAD (INSERT INTO left_one (id, b) VALUES (NEW.id, NEW.b) ON CONFLICT DO NOTHING; UPDATE right_one SET renamed = NEW.d WHERE id = NEW.id);
  CREATE MATERIALIZED VIEW first AS SELECT b, count(*) FROM left_one WHERE b IN ('a', 'b') GROUP BY b; CREATE UNIQUE INDEX first_b ON first (b); ALTER MATERIALIZED VIEW first ALTER b SET STATISTICS 7, CLUSTER ON first_b;
  CREATE VIEW second AS SELECT * FROM first; CREATE MATERIALIZED VIEW third AS SELECT * FROM second; REFRESH MATERIALIZED VIEW first WITH NO DATA;

  CREATE TABLE numbered (a serial, b bigint GENERATED BY DEFAULT AS IDENTITY (START 5 INCREMENT 3 MINVALUE 2 MAXVALUE 1000 CACHE 9 CYCLE)); CREATE UNLOGGED TABLE numbered_unlogged (a serial, b int GENERATED ALWAYS AS IDENTITY);
  CREATE TABLE defaults (a varchar DEFAULT upper('x'), b text[] DEFAULT ARRAY['a', 'b']::varchar[], c numeric(5, 2) DEFAULT -1, d timestamptz DEFAULT now() + '1 day', e name DEFAULT current_user, f regclass DEFAULT 'base',
    g bit(3) DEFAULT b'101', h boolean DEFAULT ('a'::varchar IN ('a', 'b')), i percent DEFAULT NULL, j timestamp DEFAULT (now() AT TIME ZONE 'utc'), k text COLLATE "C" DEFAULT E'\\x\\'');
  ALTER TABLE defaults ALTER a SET STATISTICS 11, ALTER b SET STORAGE EXTERNAL, ALTER k SET COMPRESSION pglz, ALTER c SET (n_distinct = 5, n_distinct_inherited = -0.5), SET (autovacuum_enabled = false, toast.autovacuum_vacuum_threshold = 9), REPLICA IDENTITY NOTHING;
  GRANT SELECT (a), UPDATE (a, b) ON defaults TO pg_monitor WITH GRANT OPTION; REVOKE ALL ON defaults FROM CURRENT_USER; GRANT ALL ON defaults TO PUBLIC; REVOKE INSERT ON defaults FROM PUBLIC; ALTER TABLE numbered OWNER TO pg_monitor;
  ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO pg_monitor; CREATE TABLE after_defaults (a int); CREATE TABLE without_defaults (a int); REVOKE ALL ON without_defaults FROM pg_monitor;
  ALTER DOMAIN short_word ADD CONSTRAINT not_q CHECK (VALUE NOT IN ('q', 'r')) NOT VALID; CREATE EXTENSION citext; CREATE TABLE insensitive (c citext CHECK (c IN ('a', 'b')))`
