/** A change of a copy of the gallery, dumped in the place of the gallery's own dump with every digest made to fit. */
export type DatabaseDefect = {
  readonly group: 'data' | 'structure'
  /** What is wrong in the dump, for docs/verification.md. */
  readonly title: string
  readonly sql: string
  /** The lowest rung that fails. */
  readonly rung: string
  /** What the drill names. */
  readonly names: string
}

const data = (title: string, sql: string, names: string, rung = 'digests'): DatabaseDefect => ({
  group: 'data',
  title,
  sql,
  rung,
  names,
})

const structure = (title: string, sql: string, names: string, rung = 'structure'): DatabaseDefect => ({
  group: 'structure',
  title,
  sql,
  rung,
  names,
})

const customers = 'shop.customers'
const orders = 'shop.orders'

export const databaseDefects: readonly DatabaseDefect[] = [
  data('a row is missing', "DELETE FROM shop.events WHERE what = 'event 1'", 'shop.events_2025', 'row counts'),
  data('a row too many', 'INSERT INTO shop.twins VALUES (2, NULL)', 'shop.twins', 'row counts'),
  data(
    'a duplicate of a row is gone',
    'DELETE FROM shop.twins WHERE ctid = (SELECT min(ctid) FROM shop.twins)',
    'shop.twins',
    'row counts',
  ),
  data('a table came without its rows', 'TRUNCATE shop.twins', 'shop.twins', 'row counts'),
  data('an unlogged table came without its rows', 'TRUNCATE shop.fast', 'shop.fast', 'row counts'),
  data(
    'one row replaced by another',
    'UPDATE shop.twins SET a = 2 WHERE ctid = (SELECT min(ctid) FROM shop.twins)',
    'shop.twins',
  ),
  data('one letter of a text changed', "UPDATE shop.customers SET name = 'Customer 1' WHERE id = 1", customers),
  data('NULL where there was a text', 'UPDATE shop.customers SET note = NULL WHERE id = 1', customers),
  data('an empty string where there was NULL', "UPDATE shop.customers SET note = '' WHERE id = 7", customers),
  data(
    'two rows swapped one value',
    'UPDATE shop.customers SET born = CASE id WHEN 1 THEN (SELECT born FROM shop.customers WHERE id = 2) ELSE (SELECT born FROM shop.customers WHERE id = 1) END WHERE id IN (1, 2)',
    customers,
  ),
  data('a numeric lost its scale', 'UPDATE shop.orders SET amount = 1.5 WHERE id = 1', orders),
  data('a float lost its last digit', 'UPDATE shop.customers SET weight = 0.33333333333333 WHERE id = 1', customers),
  data(
    'a letter of a citext changed its case',
    "UPDATE shop.customers SET email = 'C1@example.org' WHERE id = 1",
    customers,
  ),
  data('another label of an enum', "UPDATE shop.customers SET mood = 'happy' WHERE id = 1", customers),
  data('a date off by one day', 'UPDATE shop.customers SET born = born + 1 WHERE id = 1', customers),
  data(
    'a time off by one microsecond',
    "UPDATE shop.customers SET at = at + interval '1 microsecond' WHERE id = 1",
    customers,
  ),
  data(
    '30 days where there was a month',
    "UPDATE shop.customers SET gone = interval '30 days' WHERE id = 1",
    customers,
  ),
  data(
    'two elements of an array swapped',
    "UPDATE shop.customers SET tags = ARRAY['b1', 'a', NULL] WHERE id = 1",
    customers,
  ),
  data('a value within jsonb changed', `UPDATE shop.customers SET doc = '{"n": 1, "s": "y"}' WHERE id = 1`, customers),
  data('a space within json is gone', `UPDATE shop.customers SET raw = '{"a": 1, "b": 2}' WHERE id = 1`, customers),
  data(
    'one bit of a bytea flipped',
    'UPDATE shop.customers SET picture = set_bit(picture, 3, 1 - get_bit(picture, 3)) WHERE id = 1',
    customers,
  ),
  data(
    'a field of a composite changed',
    "UPDATE shop.customers SET pair = ROW(1, 'P')::shop.pair WHERE id = 1",
    customers,
  ),
  data('a bound of a range changed', "UPDATE shop.customers SET span = shop.span(1, 2, '[]') WHERE id = 1", customers),
  data('a value of an extension’s type changed', "UPDATE shop.customers SET extra = 'k=>2' WHERE id = 1", customers),
  data(
    'a coordinate of a point changed in its last bit',
    'UPDATE shop.customers SET place = point(1, 1.0000000000000002) WHERE id = 1',
    customers,
  ),
  data(
    'a row is in the parent instead of the child',
    'DELETE FROM shop.child; INSERT INTO shop.parent VALUES (3)',
    'shop.child',
    'row counts',
  ),
  data(
    'a row moved to another partition',
    "UPDATE shop.events SET at = '2025-06-01' WHERE at = '2026-01-05'",
    'shop.events_2025',
    'row counts',
  ),
  data('a sequence stands behind its last value', "SELECT setval('shop.counter', 400)", 'shop.counter', 'sequences'),
  data('a descending sequence stands behind', "SELECT setval('shop.down', -3)", 'shop.down', 'sequences'),
  data(
    'the sequence of an identity column was set back',
    "SELECT setval(pg_get_serial_sequence('shop.customers', 'id'), 1)",
    'customers_id_seq',
    'sequences',
  ),
  data('one byte of a large object changed', "SELECT lo_put(70002, 4000, 'x')", 'large objects', 'large objects'),
  data('a large object is missing', 'SELECT lo_unlink(70002)', 'large objects', 'structure'),
  data('a large object too many', "SELECT lo_from_bytea(70003, '')", 'large objects', 'structure'),

  structure('a table is missing', 'DROP TABLE shop.twins', 'shop twins', 'table of contents'),
  structure('a table too many', 'CREATE TABLE shop.stray (a int)', 'shop stray', 'table of contents'),
  structure('a partition is missing', 'DROP TABLE shop.events_rest', 'shop events_rest', 'table of contents'),
  structure('a partition is detached', 'ALTER TABLE shop.events DETACH PARTITION shop.events_2025', 'shop.events_2025'),
  structure('a child does not inherit', 'ALTER TABLE shop.child NO INHERIT shop.parent', 'shop.child'),
  structure('a column is missing', 'ALTER TABLE shop.customers DROP place', 'shop.customers.place'),
  structure(
    'a column has another type',
    'ALTER TABLE shop.customers ALTER weight TYPE numeric',
    'shop.customers.weight',
  ),
  structure('a column has no default', 'ALTER TABLE shop.orders ALTER note DROP DEFAULT', 'shop.orders.note'),
  structure('a column may be NULL', 'ALTER TABLE shop.customers ALTER name DROP NOT NULL', 'shop.customers.name'),
  structure(
    'a column is no longer an identity',
    'ALTER TABLE shop.customers ALTER id SET GENERATED BY DEFAULT',
    'shop.customers.id',
  ),
  structure(
    'a generated column is an ordinary one',
    'ALTER TABLE shop.orders ALTER total DROP EXPRESSION',
    'shop.orders.total',
  ),
  structure(
    'a column is stored in another way',
    'ALTER TABLE shop.orders ALTER note SET STORAGE MAIN',
    'shop.orders.note',
  ),
  structure(
    'a column has another statistics target',
    'ALTER TABLE shop.orders ALTER note SET STATISTICS 10',
    'shop.orders.note',
  ),
  structure(
    'columns in another order',
    'ALTER TABLE shop.unchecked ADD b int, DROP a; ALTER TABLE shop.unchecked ADD a int',
    'shop.unchecked.a',
  ),
  structure('a primary key is missing', 'ALTER TABLE shop.orders DROP CONSTRAINT orders_pkey', 'orders_pkey'),
  structure('a foreign key is missing', 'ALTER TABLE shop.orders DROP CONSTRAINT to_customer', 'to_customer'),
  structure(
    'a foreign key deletes in another way',
    'ALTER TABLE shop.orders DROP CONSTRAINT to_customer, ADD CONSTRAINT to_customer FOREIGN KEY (customer) REFERENCES shop.customers',
    'to_customer',
  ),
  structure('a check is missing', 'ALTER TABLE shop.orders DROP CONSTRAINT known_status', 'known_status'),
  structure(
    'a check allows more',
    "ALTER TABLE shop.orders DROP CONSTRAINT known_status, ADD CONSTRAINT known_status CHECK (status IN ('new', 'paid', 'gone'))",
    'known_status',
  ),
  structure(
    'a constraint counts as validated',
    "UPDATE pg_constraint SET convalidated = true WHERE conname = 'positive'; DELETE FROM shop.unchecked",
    'positive',
  ),
  structure(
    'an exclusion constraint is missing',
    'ALTER TABLE shop.orders DROP CONSTRAINT orders_id_during_excl',
    'orders_id_during_excl',
  ),
  structure('a domain’s check is missing', 'ALTER DOMAIN shop.price DROP CONSTRAINT not_negative', 'not_negative'),
  structure('an index is missing', 'DROP INDEX shop.orders_lower', 'orders_lower', 'table of contents'),
  structure(
    'an index covers other rows',
    "DROP INDEX shop.orders_status; CREATE INDEX orders_status ON shop.orders (status) WHERE status = 'paid'",
    'orders_status',
  ),
  structure('extended statistics are missing', 'DROP STATISTICS shop.orders_stats', 'orders_stats'),
  structure('a trigger is missing', 'DROP TRIGGER stamp ON shop.orders', 'stamp'),
  structure('a disabled trigger is enabled', 'ALTER TABLE shop.orders ENABLE TRIGGER quiet', 'quiet'),
  structure(
    'a trigger has another condition',
    'DROP TRIGGER stamp ON shop.orders; CREATE TRIGGER stamp BEFORE INSERT ON shop.orders FOR EACH ROW WHEN (NEW.amount > 1) EXECUTE FUNCTION shop.stamp()',
    'stamp',
  ),
  structure('a rule is missing', 'DROP RULE keep ON shop.orders', 'keep'),
  structure('a policy lets more through', 'ALTER POLICY own ON shop.orders USING (true)', 'own'),
  structure('row security is off', 'ALTER TABLE shop.orders DISABLE ROW LEVEL SECURITY', 'shop.orders'),
  structure(
    'a view shows more',
    'CREATE OR REPLACE VIEW shop.open_orders AS SELECT id, customer FROM shop.orders WITH CHECK OPTION',
    'shop.open_orders',
  ),
  structure('a view without its check option', 'ALTER VIEW shop.open_orders RESET (check_option)', 'shop.open_orders'),
  structure('a materialized view is empty', 'REFRESH MATERIALIZED VIEW shop.sums WITH NO DATA', 'shop.sums'),
  structure('a materialized view is filled that was not', 'REFRESH MATERIALIZED VIEW shop.later', 'shop.later'),
  structure(
    'a function does something else',
    "CREATE OR REPLACE FUNCTION shop.twice(n numeric) RETURNS numeric LANGUAGE sql IMMUTABLE STRICT AS 'SELECT n * 3'",
    'shop.twice(numeric)',
  ),
  structure('a function is SECURITY DEFINER', 'ALTER FUNCTION shop.twice SECURITY DEFINER', 'shop.twice(numeric)'),
  structure('a procedure is missing', 'DROP PROCEDURE shop.tidy', 'shop tidy(', 'table of contents'),
  structure(
    'an aggregate starts elsewhere',
    "CREATE OR REPLACE AGGREGATE shop.product(numeric) (sfunc = numeric_mul, stype = numeric, initcond = '0')",
    'shop.product(numeric)',
  ),
  structure('an operator is missing', 'DROP OPERATOR shop.<+> (numeric, numeric)', '<+>'),
  structure('a cast is missing', 'DROP CAST (shop.pair AS text)', 'shop.pair'),
  structure('an enum has another label', "ALTER TYPE shop.mood RENAME VALUE 'sad' TO 'low'", 'shop.mood'),
  structure('a composite type has another field', 'CREATE TYPE shop.other AS (a int)', 'shop.other'),
  structure(
    'a text search configuration leaves words out',
    'ALTER TEXT SEARCH CONFIGURATION shop.words DROP MAPPING FOR email',
    'shop.words',
  ),
  structure('a collation is missing', 'DROP COLLATION shop.plain', 'shop.plain'),
  structure('a sequence counts in other steps', 'ALTER SEQUENCE shop.counter INCREMENT 6', 'shop.counter'),
  structure('a sequence belongs to no column', 'ALTER SEQUENCE shop.orders_id_seq OWNED BY NONE', 'orders_id_seq'),
  structure('a table has another owner', 'ALTER TABLE shop.orders OWNER TO postgres', 'shop.orders'),
  structure('a grant on a table is missing', 'REVOKE SELECT ON shop.customers FROM visitor', 'shop.customers'),
  structure('a grant on a table too many', 'GRANT DELETE ON shop.customers TO PUBLIC', 'shop.customers'),
  structure('a grant on a column is missing', 'REVOKE UPDATE (note) ON shop.orders FROM clerk', 'shop.orders.note'),
  structure('a schema has another owner', 'ALTER SCHEMA shop OWNER TO postgres', 'shop'),
  structure(
    'default privileges are missing',
    'ALTER DEFAULT PRIVILEGES FOR ROLE keeper IN SCHEMA shop REVOKE SELECT ON TABLES FROM visitor',
    'keeper',
  ),
  structure('a large object has another owner', 'ALTER LARGE OBJECT 70001 OWNER TO postgres', 'large objects'),
  structure('a comment is missing', 'COMMENT ON COLUMN shop.orders.price IS NULL', 'shop.orders.price'),
  structure('a storage parameter is missing', 'ALTER TABLE shop.orders RESET (fillfactor)', 'shop.orders'),
  structure(
    'an extension is missing',
    'ALTER TABLE shop.customers ALTER extra TYPE text; DROP EXTENSION hstore',
    'hstore',
    'table of contents',
  ),
  structure('an event trigger is disabled', 'ALTER EVENT TRIGGER watch DISABLE', 'watch'),
  structure('a foreign server points elsewhere', "ALTER SERVER far OPTIONS (SET host 'near')", 'far'),
  structure('a publication is missing', 'DROP PUBLICATION news', 'news', 'table of contents'),
]
