/**
 * A small database that has one of nearly everything, for planting defects in a copy of it: each defect changes one thing
 * only, and the drill of the original's backup must name it.
 */
export const galleryRoles = `
  CREATE ROLE keeper; CREATE ROLE clerk LOGIN PASSWORD 'clerk'; CREATE ROLE visitor; GRANT visitor TO clerk WITH ADMIN OPTION;
  ALTER ROLE clerk SET statement_timeout = '1min'; ALTER ROLE clerk CONNECTION LIMIT 7; COMMENT ON ROLE keeper IS 'keeps'`

export const gallery = `
  CREATE EXTENSION citext; CREATE EXTENSION hstore; CREATE EXTENSION btree_gist;
  CREATE SCHEMA shop AUTHORIZATION keeper; COMMENT ON SCHEMA shop IS 'sells'; GRANT USAGE ON SCHEMA shop TO clerk;
  CREATE TYPE shop.mood AS ENUM ('sad', 'ok', 'happy');
  CREATE DOMAIN shop.price AS numeric(10,2) CONSTRAINT not_negative CHECK (VALUE >= 0);
  CREATE TYPE shop.pair AS (a int, b text);
  CREATE TYPE shop.span AS RANGE (subtype = float8);
  CREATE COLLATION shop.plain FROM "C";
  CREATE FUNCTION shop.twice(n numeric) RETURNS numeric LANGUAGE sql IMMUTABLE STRICT AS 'SELECT n * 2';
  CREATE FUNCTION shop.stamp() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.note := coalesce(NEW.note, ''''); RETURN NEW; END';
  CREATE PROCEDURE shop.tidy() LANGUAGE sql AS 'SELECT 1';
  CREATE AGGREGATE shop.product(numeric) (sfunc = numeric_mul, stype = numeric, initcond = '1');
  CREATE OPERATOR shop.<+> (leftarg = numeric, rightarg = numeric, function = numeric_add);
  CREATE CAST (shop.pair AS text) WITH INOUT AS ASSIGNMENT;
  CREATE TEXT SEARCH CONFIGURATION shop.words (COPY = english);

  CREATE TABLE shop.customers (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL, email citext UNIQUE, mood shop.mood DEFAULT 'ok',
    note text, born date, weight float8, tags text[], doc jsonb, raw json, picture bytea, at timestamptz, gone interval,
    pair shop.pair, span shop.span, extra hstore, address inet, uid uuid, bits bit varying, place point);
  INSERT INTO shop.customers (name, email, mood, note, born, weight, tags, doc, raw, picture, at, gone, pair, span, extra, address, uid, bits, place)
    SELECT 'customer ' || g, 'c' || g || '@example.org', (ARRAY['sad', 'ok', 'happy'])[1 + g % 3]::shop.mood, nullif('note ' || g, 'note 7'),
           date '1970-01-01' + g, g / 3.0, ARRAY['a', 'b' || g, NULL], jsonb_build_object('n', g, 's', 'x'), '{"a": 1,  "b": 2}',
           decode(md5(g::text), 'hex'), timestamptz '2026-01-01 00:00+00' + g * interval '1 hour', interval '1 month', ROW(g, 'p')::shop.pair,
           shop.span(g, g + 1), hstore('k', g::text), '10.0.0.1'::inet + g, md5(g::text)::uuid, g::bit(8)::bit varying, point(g, g)
      FROM generate_series(1, 40) g;
  CREATE TABLE shop.orders (
    id serial PRIMARY KEY, customer int CONSTRAINT to_customer REFERENCES shop.customers ON DELETE CASCADE, price shop.price,
    amount numeric, status varchar(10) CONSTRAINT known_status CHECK (status IN ('new', 'paid')), note text DEFAULT 'none',
    total numeric GENERATED ALWAYS AS (price * amount) STORED, during tsrange, EXCLUDE USING gist (id WITH =, during WITH &&));
  INSERT INTO shop.orders (customer, price, amount, status, note) SELECT 1 + g % 40, g, 1.50, 'new', 'order ' || g FROM generate_series(1, 60) g;
  COMMENT ON TABLE shop.orders IS 'what was sold'; COMMENT ON COLUMN shop.orders.price IS 'each';
  ALTER TABLE shop.orders OWNER TO keeper; GRANT SELECT, UPDATE (note) ON shop.orders TO clerk; GRANT SELECT ON shop.customers TO visitor;
  ALTER TABLE shop.orders SET (fillfactor = 80); ALTER TABLE shop.orders ALTER note SET STORAGE EXTERNAL, ALTER note SET STATISTICS 200;
  CREATE INDEX orders_status ON shop.orders (status) WHERE status = 'new'; CREATE INDEX orders_lower ON shop.orders (lower(note));
  CREATE STATISTICS shop.orders_stats (dependencies) ON customer, status FROM shop.orders;
  CREATE TRIGGER stamp BEFORE INSERT ON shop.orders FOR EACH ROW WHEN (NEW.amount > 0) EXECUTE FUNCTION shop.stamp();
  CREATE TRIGGER quiet BEFORE UPDATE ON shop.orders FOR EACH ROW EXECUTE FUNCTION shop.stamp(); ALTER TABLE shop.orders DISABLE TRIGGER quiet;
  CREATE RULE keep AS ON DELETE TO shop.orders DO INSTEAD NOTHING;
  ALTER TABLE shop.orders ENABLE ROW LEVEL SECURITY; CREATE POLICY own ON shop.orders FOR SELECT TO clerk USING (status = 'new');
  CREATE TABLE shop.unchecked (a int); INSERT INTO shop.unchecked VALUES (-1); ALTER TABLE shop.unchecked ADD CONSTRAINT positive CHECK (a > 0) NOT VALID;
  CREATE TABLE shop.events (at date NOT NULL, what text) PARTITION BY RANGE (at);
  CREATE TABLE shop.events_2025 PARTITION OF shop.events FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
  CREATE TABLE shop.events_rest PARTITION OF shop.events DEFAULT;
  INSERT INTO shop.events SELECT date '2025-12-20' + g, 'event ' || g FROM generate_series(1, 30) g;
  CREATE TABLE shop.parent (a int); CREATE TABLE shop.child (b int) INHERITS (shop.parent); INSERT INTO shop.parent VALUES (1), (2); INSERT INTO shop.child VALUES (3, 3);
  CREATE TABLE shop.twins (a int, b text); INSERT INTO shop.twins SELECT 1, 'same' FROM generate_series(1, 5);
  CREATE UNLOGGED TABLE shop.fast (a int); INSERT INTO shop.fast VALUES (1);
  CREATE TABLE shop.empty ();
  CREATE VIEW shop.open_orders AS SELECT id, customer FROM shop.orders WHERE status = 'new' WITH CHECK OPTION;
  CREATE MATERIALIZED VIEW shop.sums AS SELECT customer, sum(amount) FROM shop.orders GROUP BY customer;
  CREATE MATERIALIZED VIEW shop.later AS SELECT 1 AS one WITH NO DATA;
  CREATE SEQUENCE shop.counter INCREMENT 5 CACHE 3; SELECT setval('shop.counter', 500);
  CREATE SEQUENCE shop.down INCREMENT -1; SELECT setval('shop.down', -9);
  CREATE FOREIGN DATA WRAPPER nowhere OPTIONS (debug 'true'); CREATE SERVER far FOREIGN DATA WRAPPER nowhere OPTIONS (host 'far');
  CREATE USER MAPPING FOR clerk SERVER far OPTIONS (password 'hidden'); CREATE FOREIGN TABLE shop.away (a int) SERVER far;
  CREATE PUBLICATION news FOR TABLE shop.orders;
  CREATE FUNCTION shop.on_ddl() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
  CREATE EVENT TRIGGER watch ON ddl_command_end WHEN TAG IN ('DROP TABLE') EXECUTE FUNCTION shop.on_ddl();
  ALTER DEFAULT PRIVILEGES FOR ROLE keeper IN SCHEMA shop GRANT SELECT ON TABLES TO visitor;
  SELECT lo_from_bytea(70001, 'large'), lo_from_bytea(70002, decode(repeat('ab', 5000), 'hex')); ALTER LARGE OBJECT 70001 OWNER TO keeper;
  GRANT SELECT ON LARGE OBJECT 70002 TO clerk`

/** What hangs on the database itself; run with its own name. */
export function gallerySettings(database: string): string {
  return `ALTER DATABASE ${database} SET work_mem = '5MB'; ALTER ROLE clerk IN DATABASE ${database} SET search_path = shop; GRANT CREATE ON DATABASE ${database} TO clerk`
}
