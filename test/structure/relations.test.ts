import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { compareStructure, type StructureDifference, type StructureObject } from '../../src/domain/structure.ts'
import { type Client, connect } from '../../src/postgres/connect.ts'
import { readStructure, readStructureInSnapshot } from '../../src/structure/read-structure.ts'
import { codeOf, dumpAndRestore, openSandbox, type Sandbox, signal } from '../postgres/sandbox.ts'
import { major } from '../postgres/spool-root.ts'
import { testUrl } from '../support/installation.ts'
import { query } from '../support/postgres-server.ts'
import { awkwardSchema, plainSchema } from './schema.ts'

describe('what changed is named', () => {
  let sandbox: Sandbox
  let expected: StructureObject[]
  beforeAll(async () => {
    sandbox = await openSandbox(plainSchema)
    expected = await structureOf(sandbox.client)
  })
  afterAll(async () => sandbox[Symbol.asyncDispose]())

  /** What differs after a change, which is taken back: `kind name: facet, facet` or `kind name: missing`. */
  const afterChange = async (change: string): Promise<string[]> => {
    const { client } = sandbox
    await client.query('BEGIN')
    try {
      await client.query(`SET LOCAL search_path = public; ${change}; SET LOCAL search_path = ''`)
      const { differences } = compareStructure({ expected, restored: await structureOf(client), isSameMajor: true })
      return differences.map(wordingOf)
    } finally {
      await client.query('ROLLBACK')
    }
  }

  it('nothing - no difference', async () => {
    expect(await afterChange('SELECT 1')).toEqual([])
  })

  const label = (catalog: string, oid: string, subid = 0): string =>
    `INSERT INTO pg_seclabel VALUES (${oid}, '${catalog}'::regclass, ${subid}, 'selinux', 'secret')`

  it.each<[change: string, difference: string]>([
    // Tables.
    [
      'DROP TABLE leaf_two',
      'column public.leaf_two.a: missing; index public.leaf_two_a_idx: missing; table public.leaf_two: missing; trigger public.leaf_two.watch: missing',
    ],
    ['CREATE TABLE more ()', 'table public.more: unexpected'],
    ['ALTER TABLE bare SET UNLOGGED', 'table public.bare: persistence'],
    [
      "CREATE ACCESS METHOD other TYPE TABLE HANDLER heap_tableam_handler; UPDATE pg_class SET relam = (SELECT oid FROM pg_am WHERE amname = 'other') WHERE oid = 'bare'::regclass",
      'access method other: unexpected; table public.bare: access method',
    ],
    ['ALTER TABLE orders RESET (fillfactor)', 'table public.orders: options'],
    ['ALTER TABLE orders RESET (toast.autovacuum_enabled)', 'table public.orders: toast options'],
    ['ALTER TABLE orders REPLICA IDENTITY FULL', 'table public.orders: replica identity'],
    ['ALTER TABLE orders REPLICA IDENTITY USING INDEX orders_pkey', 'table public.orders: replica identity'],
    ['ALTER TABLE orders DISABLE ROW LEVEL SECURITY', 'table public.orders: row security'],
    ['ALTER TABLE orders NO FORCE ROW LEVEL SECURITY', 'table public.orders: row security'],
    ['ALTER TABLE typed NOT OF', 'table public.typed: type'],
    [
      'ALTER TABLE child NO INHERIT parent',
      'column public.child.a: position; column public.child.b: position; table public.child: inherits',
    ],
    [
      'ALTER TABLE root DETACH PARTITION leaf_two; ALTER TABLE root ATTACH PARTITION leaf_two FOR VALUES IN (2, 3)',
      'table public.leaf_two: condition',
    ],
    ['DROP TABLE solo; CREATE TABLE solo (a int) PARTITION BY RANGE (a)', 'table public.solo: definition'],
    ["COMMENT ON TABLE orders IS 'other'", 'table public.orders: comment'],
    ['COMMENT ON TABLE orders IS NULL', 'table public.orders: comment'],
    ['ALTER TABLE bare OWNER TO pg_monitor', 'table public.bare: grants, owner'],
    ['GRANT SELECT ON bare TO pg_monitor', 'table public.bare: grants'],
    ['GRANT SELECT ON bare TO PUBLIC', 'table public.bare: grants'],
    ['REVOKE GRANT OPTION FOR SELECT ON orders FROM pg_monitor', 'table public.orders: grants'],
    ['REVOKE INSERT ON bare FROM CURRENT_USER', 'table public.bare: grants'],
    [label('pg_class', "'bare'::regclass"), 'table public.bare: security labels'],
    // Foreign tables.
    ["ALTER FOREIGN TABLE far OPTIONS (SET filename '/other')", 'foreign table public.far: options'],
    [
      "CREATE SERVER other FOREIGN DATA WRAPPER file_fdw; UPDATE pg_foreign_table SET ftserver = (SELECT oid FROM pg_foreign_server WHERE srvname = 'other')",
      'foreign server other: unexpected; foreign table public.far: server',
    ],
    ['GRANT SELECT ON far TO PUBLIC', 'foreign table public.far: grants'],
    [
      'ALTER FOREIGN TABLE far ALTER line OPTIONS (DROP force_not_null)',
      'column public.far.line: foreign data options',
    ],
    // Views and materialized views.
    [
      'CREATE OR REPLACE VIEW totals WITH (security_barrier) AS SELECT id, (total + 1)::numeric(10, 2) AS total FROM orders',
      'view public.totals: definition',
    ],
    ['ALTER VIEW totals RESET (security_barrier)', 'view public.totals: options'],
    ["COMMENT ON VIEW totals IS 'other'", 'view public.totals: comment'],
    ['GRANT SELECT ON totals TO PUBLIC', 'view public.totals: grants'],
    ['ALTER VIEW totals ALTER total SET DEFAULT 3', 'column public.totals.total: default'],
    ['REFRESH MATERIALIZED VIEW filled WITH NO DATA', 'materialized view public.filled: populated'],
    [
      'ALTER MATERIALIZED VIEW filled DEPENDS ON EXTENSION file_fdw',
      'materialized view public.filled: depends on extension',
    ],
    ['ALTER MATERIALIZED VIEW filled SET (fillfactor = 20)', 'materialized view public.filled: options'],
    [
      'ALTER MATERIALIZED VIEW filled SET (toast.autovacuum_enabled = off)',
      'materialized view public.filled: toast options',
    ],
    [
      'DROP MATERIALIZED VIEW filled; CREATE MATERIALIZED VIEW filled AS SELECT total, id, state FROM orders WHERE id > 0',
      'column public.filled.id: position; column public.filled.total: position; materialized view public.filled: definition',
    ],
    // Sequences.
    ['ALTER SEQUENCE numbers AS bigint MAXVALUE 1000', 'sequence public.numbers: type'],
    ['ALTER SEQUENCE numbers START 7', 'sequence public.numbers: start'],
    ['ALTER SEQUENCE numbers MINVALUE -7', 'sequence public.numbers: minimum'],
    ['ALTER SEQUENCE numbers MAXVALUE 777', 'sequence public.numbers: maximum'],
    ['ALTER SEQUENCE numbers INCREMENT 7', 'sequence public.numbers: increment'],
    ['ALTER SEQUENCE numbers CACHE 7', 'sequence public.numbers: cache'],
    ['ALTER SEQUENCE numbers CYCLE', 'sequence public.numbers: cycle'],
    ['ALTER SEQUENCE numbers OWNED BY bare.a', 'sequence public.numbers: owned by'],
    ["UPDATE pg_class SET relpersistence = 'u' WHERE relname = 'numbers'", 'sequence public.numbers: persistence'],
    [
      'ALTER TABLE orders ALTER id DROP IDENTITY',
      'column public.orders.id: identity; sequence public.orders_id_seq: missing',
    ],
    ['GRANT USAGE ON SEQUENCE numbers TO PUBLIC', 'sequence public.numbers: grants'],
    // Columns.
    ['ALTER TABLE bare ALTER a TYPE bigint', 'column public.bare.a: type'],
    ['ALTER TABLE other_tax ALTER code TYPE varchar(11)', 'column public.other_tax.code: type'],
    ['ALTER TABLE bare ALTER a SET NOT NULL', 'column public.bare.a: not null'],
    ['ALTER TABLE orders ALTER state DROP DEFAULT', 'column public.orders.state: default'],
    ["ALTER TABLE orders ALTER state SET DEFAULT 'other'", 'column public.orders.state: default'],
    ['ALTER TABLE orders ALTER tax DROP EXPRESSION', 'column public.orders.tax: expression, generated'],
    [
      "UPDATE pg_attrdef SET adbin = (SELECT adbin FROM pg_attrdef WHERE adrelid = 'other_tax'::regclass) WHERE adrelid = 'orders'::regclass AND adnum = (SELECT attnum FROM pg_attribute WHERE attrelid = 'orders'::regclass AND attname = 'tax')",
      'column public.orders.tax: expression',
    ],
    ['ALTER TABLE orders ALTER id SET GENERATED BY DEFAULT', 'column public.orders.id: identity'],
    ['ALTER TABLE bare ALTER b TYPE text COLLATE "C"', 'column public.bare.b: collation'],
    ['ALTER TABLE bare ALTER b SET STORAGE EXTERNAL', 'column public.bare.b: storage'],
    ['ALTER TABLE bare ALTER b SET COMPRESSION pglz', 'column public.bare.b: compression'],
    ['ALTER TABLE bare ALTER b SET STATISTICS 0', 'column public.bare.b: statistics'],
    ['ALTER TABLE bare ALTER b SET (n_distinct = 5)', 'column public.bare.b: options'],
    ["COMMENT ON COLUMN bare.b IS 'new'", 'column public.bare.b: comment'],
    ["COMMENT ON COLUMN pair.b IS 'new'", 'column public.pair.b: comment'],
    ['GRANT SELECT (b) ON bare TO pg_monitor', 'column public.bare.b: grants'],
    [label('pg_class', "'bare'::regclass", 1), 'column public.bare.a: security labels'],
    ['ALTER TABLE bare DROP b; ALTER TABLE bare ADD b text', ''],
    [
      'ALTER TABLE bare DROP a; ALTER TABLE bare ADD a int',
      'column public.bare.a: position; column public.bare.b: position',
    ],
    // Constraints.
    ['ALTER TABLE orders DROP CONSTRAINT positive', 'constraint public.orders.positive: missing'],
    [
      'ALTER TABLE orders DROP CONSTRAINT positive, ADD CONSTRAINT positive CHECK (total >= 0) NOT VALID',
      'constraint public.orders.positive: comment, definition, validated',
    ],
    ['ALTER TABLE orders VALIDATE CONSTRAINT later', 'constraint public.orders.later: validated'],
    ['ALTER TABLE lines VALIDATE CONSTRAINT lines_order_fkey', 'constraint public.lines.lines_order_fkey: validated'],
    [
      'ALTER TABLE lines ALTER CONSTRAINT lines_order_fkey DEFERRABLE INITIALLY DEFERRED',
      'constraint public.lines.lines_order_fkey: definition',
    ],
    ["COMMENT ON CONSTRAINT positive ON orders IS 'other'", 'constraint public.orders.positive: comment'],
    [
      'ALTER TABLE orders DROP CONSTRAINT orders_code_key',
      'constraint public.orders.orders_code_key: missing; index public.orders_code_key: missing',
    ],
    ['ALTER DOMAIN percent DROP CONSTRAINT range_of', 'domain constraint public.percent.range_of: missing'],
    [
      'ALTER DOMAIN percent DROP CONSTRAINT range_of; ALTER DOMAIN percent ADD CONSTRAINT range_of CHECK (VALUE < 9) NOT VALID',
      'domain constraint public.percent.range_of: definition, validated',
    ],
    ["COMMENT ON CONSTRAINT range_of ON DOMAIN percent IS 'new'", 'domain constraint public.percent.range_of: comment'],
    // Indexes.
    ['DROP INDEX by_state', 'index public.by_state: missing'],
    [
      'DROP INDEX by_state; CREATE INDEX by_state ON orders (state)',
      'index public.by_state: clustered, comment, definition, statistics',
    ],
    ['ALTER TABLE orders SET WITHOUT CLUSTER', 'index public.by_state: clustered'],
    ['ALTER INDEX by_state ALTER COLUMN 1 SET STATISTICS 7', 'index public.by_state: statistics'],
    ["COMMENT ON INDEX by_state IS 'other'", 'index public.by_state: comment'],
    ['ALTER INDEX by_state DEPENDS ON EXTENSION file_fdw', 'index public.by_state: depends on extension'],
    [
      "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'by_state'::regclass",
      'index public.by_state: missing',
    ],
    [
      "DELETE FROM pg_inherits WHERE inhrelid = 'leaf_one_a_idx'::regclass",
      'index public.leaf_one_a_idx: partition of',
    ],
    // Triggers and rules.
    ['DROP TRIGGER guard ON orders', 'trigger public.orders.guard: missing'],
    ['ALTER TABLE orders DISABLE TRIGGER guard', 'trigger public.orders.guard: enabled'],
    ['ALTER TABLE orders ENABLE ALWAYS TRIGGER guard', 'trigger public.orders.guard: enabled'],
    ['ALTER TABLE leaf_two DISABLE TRIGGER watch', 'trigger public.leaf_two.watch: enabled'],
    [
      "CREATE OR REPLACE TRIGGER guard BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION trigger_function('x')",
      'trigger public.orders.guard: definition',
    ],
    ["COMMENT ON TRIGGER guard ON orders IS 'new'", 'trigger public.orders.guard: comment'],
    [
      'ALTER TRIGGER guard ON orders DEPENDS ON EXTENSION file_fdw',
      'trigger public.orders.guard: depends on extension',
    ],
    ['DROP RULE no_delete ON bare', 'rule public.bare.no_delete: missing'],
    ['ALTER TABLE bare DISABLE RULE no_delete', 'rule public.bare.no_delete: enabled'],
    [
      'CREATE OR REPLACE RULE no_delete AS ON DELETE TO bare WHERE OLD.a > 1 DO INSTEAD NOTHING',
      'rule public.bare.no_delete: definition',
    ],
    ["COMMENT ON RULE no_delete ON bare IS 'new'", 'rule public.bare.no_delete: comment'],
    // Policies.
    ['DROP POLICY own ON orders', 'policy public.orders.own: missing'],
    ['ALTER POLICY own ON orders TO PUBLIC', 'policy public.orders.own: roles'],
    ['ALTER POLICY own ON orders USING (id > 1)', 'policy public.orders.own: condition'],
    ['ALTER POLICY own ON orders WITH CHECK (id > 1)', 'policy public.orders.own: expression'],
    ["UPDATE pg_policy SET polcmd = 'w' WHERE polname = 'own'", 'policy public.orders.own: command'],
    ["UPDATE pg_policy SET polpermissive = false WHERE polname = 'own'", 'policy public.orders.own: permissive'],
    ["COMMENT ON POLICY own ON orders IS 'new'", 'policy public.orders.own: comment'],
    // Extended statistics.
    ['DROP STATISTICS sums', 'extended statistics public.sums: missing'],
    ['ALTER STATISTICS sums SET STATISTICS 7', 'extended statistics public.sums: statistics'],
    ['ALTER STATISTICS sums OWNER TO pg_monitor', 'extended statistics public.sums: owner'],
    ["COMMENT ON STATISTICS sums IS 'new'", 'extended statistics public.sums: comment'],
    [
      'DROP STATISTICS sums; CREATE STATISTICS sums (mcv) ON (total + 2), id FROM orders',
      'extended statistics public.sums: columns, expression, kinds',
    ],
    [
      'DROP STATISTICS sums; CREATE STATISTICS sums ON (a + 1), b FROM bare',
      'extended statistics public.sums: columns, expression, table',
    ],
  ])('%s - %s', async (change, difference) => {
    expect((await afterChange(change)).sort()).toEqual(difference === '' ? [] : difference.split('; ').sort())
  })
})

describe('a healthy database', () => {
  it('dumped and restored - no difference, whatever is awkward in it', async () => {
    await using source = await openSandbox(`${plainSchema}; ${awkwardSchema}`)
    await using copy = await openSandbox()
    await dumpAndRestore(source.connection, copy.connection)
    const [expected, restored] = [await structureOf(source.client), await structureOf(copy.client)]
    const { compared, differences } = compareStructure({ expected, restored, isSameMajor: true })
    expect(differences).toEqual([])
    expect(compared).toBeGreaterThan(150)
    const keys = expected.map(({ kind, name }) => `${kind} ${name}`)
    expect(new Set(keys).size).toBe(keys.length)
    expect(expected.map(({ kind }) => kind)).toEqual(expected.map(({ kind }) => kind).sort())
  })

  it('NOT NULL of a parent ONLY, which a restore hands down to every generation - no difference; without it one', async () => {
    await using source = await openSandbox(
      `CREATE TABLE top (a int, b int); CREATE TABLE side (c int); CREATE TABLE middle () INHERITS (top, side); CREATE TABLE bottom (a int) INHERITS (middle);
       ALTER TABLE ONLY top ALTER b SET NOT NULL; ALTER TABLE ONLY side ALTER c SET NOT NULL`,
    )
    await using copy = await openSandbox()
    await dumpAndRestore(source.connection, copy.connection)
    const [expected, restored] = [await structureOf(source.client), await structureOf(copy.client)]
    expect(compareStructure({ expected, restored, isSameMajor: true }).differences).toEqual([])
    const notNull = expected.filter(({ facets }) => facets['not null'] === 'true').map(({ name }) => name)
    expect(notNull).toEqual(
      ['bottom.b', 'bottom.c', 'middle.b', 'middle.c', 'side.c', 'top.b'].map((name) => `public.${name}`),
    )
    await copy.sql('ALTER TABLE top ALTER b DROP NOT NULL')
    const changed = await structureOf(copy.client)
    const { differences } = compareStructure({ expected, restored: changed, isSameMajor: true })
    expect(differences.map(wordingOf)).toEqual(
      ['bottom', 'middle', 'top'].map((name) => `column public.${name}.b: not null`),
    )
  })

  it('ACL that is the default one, written out - the same as none', async () => {
    await using sandbox = await openSandbox('CREATE TABLE t (a int)')
    const before = await structureOf(sandbox.client)
    await sandbox.sql('GRANT SELECT ON t TO PUBLIC; REVOKE SELECT ON t FROM PUBLIC')
    expect(await structureOf(sandbox.client)).toEqual(before)
  })

  it('a materialized view over one that is not populated - recorded as a restore leaves it', async () => {
    await using sandbox = await openSandbox(
      'CREATE MATERIALIZED VIEW one AS SELECT 1 AS a; CREATE VIEW two AS SELECT * FROM one; CREATE MATERIALIZED VIEW three AS SELECT * FROM two; CREATE MATERIALIZED VIEW other AS SELECT 1 AS a; REFRESH MATERIALIZED VIEW one WITH NO DATA',
    )
    const populated = (await structureOf(sandbox.client))
      .filter(({ kind }) => kind === 'materialized view')
      .map(({ name, facets }) => `${name} ${facets['populated']}`)
    expect(populated).toEqual(['public.one false', 'public.other true', 'public.three false'])
  })

  it('long texts and options of foreign data - as their SHA-256 alone', async () => {
    await using sandbox = await openSandbox(
      `CREATE TABLE t (a int); COMMENT ON TABLE t IS '${'é'.repeat(101)}'; CREATE EXTENSION file_fdw; CREATE SERVER s FOREIGN DATA WRAPPER file_fdw;
       CREATE FOREIGN TABLE f (a int) SERVER s OPTIONS (filename '/secret')`,
    )
    const objects = await structureOf(sandbox.client)
    const facet = (kind: string, name: string): string | undefined =>
      objects.find((object) => object.kind === kind)?.facets[name]
    expect(facet('table', 'comment')).toMatch(/^sha256:[0-9a-f]{64}$/)
    expect(facet('foreign table', 'options')).toMatch(/^sha256:[0-9a-f]{64}$/)
    expect(JSON.stringify(objects)).not.toContain('/secret')
  })

  it('temporary tables and members of extensions - left out, with policies on them', async () => {
    await using sandbox = await openSandbox(
      'CREATE TABLE member (a int); CREATE INDEX not_dumped ON member (a); CREATE POLICY neither ON member; CREATE EXTENSION lo; ALTER EXTENSION lo ADD TABLE member',
    )
    await sandbox.client.query('CREATE TEMP TABLE temporary (a int PRIMARY KEY)')
    const names = (await structureOf(sandbox.client)).map(({ kind, name }) => `${kind} ${name}`)
    expect(names.filter((name) => /member|temporary|not_dumped/.test(name))).toEqual([])
  })

  it('a policy that somebody put on a table of an extension, which no dump has - no difference', async () => {
    await using source = await openSandbox(
      'CREATE EXTENSION postgis; ALTER TABLE spatial_ref_sys ENABLE ROW LEVEL SECURITY; CREATE POLICY read_all ON spatial_ref_sys FOR SELECT USING (true)',
    )
    await using copy = await openSandbox()
    await dumpAndRestore(source.connection, copy.connection)
    const [expected, restored] = [await structureOf(source.client), await structureOf(copy.client)]
    expect(compareStructure({ expected, restored, isSameMajor: true }).differences).toEqual([])
  })

  it('read inside a snapshot - a view can be replaced before its end', async () => {
    await using sandbox = await openSandbox('CREATE TABLE t (a int); CREATE VIEW v AS SELECT a FROM t')
    await sandbox.client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY')
    const objects = await readStructureInSnapshot(sandbox.client, major)
    expect(objects.map(({ kind, name }) => `${kind} ${name}`)).toContain('view public.v')
    await sandbox.sql("SET lock_timeout = '2s'; DROP VIEW v; DROP TABLE t")
    await sandbox.client.query('ROLLBACK')
  })

  it('read by a role with pg_read_all_data alone - the same objects', async () => {
    await using sandbox = await openSandbox(`${plainSchema}; ${awkwardSchema}`)
    const role = `reader_${sandbox.database}`
    await sandbox.sql(`CREATE ROLE ${role} LOGIN PASSWORD 'x'; GRANT pg_read_all_data TO ${role}`)
    try {
      await using held = await connect({ ...sandbox.connection, user: role, password: () => 'x' }, signal)
      expect(await structureOf(held.client)).toEqual(await structureOf(sandbox.client))
    } finally {
      await query(testUrl(), `DROP ROLE ${role}`)
    }
  })
})

describe('an index that is not valid', () => {
  it('is in no dump - listed by its name', async () => {
    await using sandbox = await openSandbox(
      'CREATE TABLE t (a int); INSERT INTO t VALUES (1), (1); CREATE INDEX good ON t (a)',
    )
    await expect(sandbox.sql('CREATE UNIQUE INDEX CONCURRENTLY "Bad" ON t (a)')).rejects.toThrow(/could not create/)
    const indexes = (await structureOf(sandbox.client)).filter(({ kind }) => kind === 'index')
    expect(indexes.map(({ name }) => name)).toEqual(['public.good'])
  })
})

describe('a catalog that cannot be read', () => {
  it('QUERY_FAILED, not a fault in pgproof', async () => {
    await using sandbox = await openSandbox('REVOKE SELECT ON pg_catalog.pg_index FROM PUBLIC')
    const role = `blind_${sandbox.database}`
    await sandbox.sql(`CREATE ROLE ${role} LOGIN PASSWORD 'x'`)
    try {
      await using held = await connect({ ...sandbox.connection, user: role, password: () => 'x' }, signal)
      expect(await codeOf(structureOf(held.client))).toBe('QUERY_FAILED')
    } finally {
      await query(testUrl(), `DROP ROLE ${role}`)
    }
  })
})

async function structureOf(client: Client): Promise<StructureObject[]> {
  const { rows } = await client.query<{ major: number }>(
    "SELECT pg_catalog.current_setting('server_version_num')::int / 10000 AS major",
  )
  return await readStructure(client, rows[0]?.major ?? 0)
}

function wordingOf({ kind, name, result, facets }: StructureDifference): string {
  return `${kind} ${name}: ${result === 'differs' ? facets.map(({ facet }) => facet).join(', ') : result}`
}
