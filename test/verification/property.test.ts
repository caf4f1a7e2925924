import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { compareStructure, type StructureObject } from '../../src/domain/structure.ts'
import { compareTables } from '../../src/domain/table-contents.ts'
import { takeCensus } from '../../src/postgres/census.ts'
import type { Client } from '../../src/postgres/connect.ts'
import { listDumpedTables } from '../../src/postgres/tables.ts'
import { readStructure } from '../../src/structure/read-structure.ts'
import { dumpAndRestore, openSandbox, type Sandbox, signal } from '../postgres/sandbox.ts'
import { major } from '../postgres/spool-root.ts'

/** More of them find more; `PGPROOF_PROPERTY_RUNS=500` for a night. */
const numRuns = Number(process.env['PGPROOF_PROPERTY_RUNS'] ?? 12)

const literal = (text: string): string => `'${text.replaceAll("'", "''")}'`
const text = fc.string({ unit: 'grapheme', maxLength: 30 }).map((value) => value.replaceAll('\0', ''))
const hex = (bytes: number): fc.Arbitrary<string> =>
  fc.string({ unit: fc.constantFrom(...'0123456789abcdef'), minLength: bytes * 2, maxLength: bytes * 2 })
const day = fc.integer({ min: -200_000, max: 200_000 }).map((days) => `(date '2000-01-01' + ${days})`)
const micros = fc.integer({ min: 0, max: 86_399_999_999 }).map((value) => `(interval '1 microsecond' * ${value})`)
const double = fc.double().map((value) => literal(Object.is(value, -0) ? '-0' : String(value)))
const whole = (bits: number): fc.Arbitrary<string> =>
  fc.bigInt(-(2n ** BigInt(bits - 1)), 2n ** BigInt(bits - 1) - 1n).map((value) => literal(String(value)))
const decimal = fc
  .tuple(fc.bigInt(-(10n ** 30n), 10n ** 30n), fc.integer({ min: 0, max: 20 }))
  .map(([value, scale]) => `(${literal(`${value}e-${scale}`)})`)
const list = (item: fc.Arbitrary<string>, type: string): fc.Arbitrary<string> =>
  fc
    .array(fc.oneof({ weight: 4, arbitrary: item }, fc.constant('NULL')), { maxLength: 4 })
    .map((items) => `ARRAY[${items.map((one) => (one === 'NULL' ? one : `${one}::${type}`)).join(', ')}]::${type}[]`)

/** A type and how to write a value of it, by PostgreSQL's manual, chapter "Data Types". */
const types: readonly (readonly [type: string, value: fc.Arbitrary<string>])[] = [
  ['smallint', whole(16)],
  ['integer', whole(32)],
  ['bigint', whole(64)],
  ['numeric', fc.oneof(decimal, fc.constantFrom("'NaN'", "'Infinity'", "'-Infinity'"))],
  ['numeric(12,3)', fc.integer().map((value) => literal(`${value / 1000}`))],
  ['real', fc.float().map((value) => literal(Object.is(value, -0) ? '-0' : String(value)))],
  ['double precision', double],
  ['money', fc.integer().map((value) => literal(`${value / 100}`))],
  ['boolean', fc.constantFrom('true', 'false')],
  ['text', text.map(literal)],
  ['varchar(40)', text.map((value) => literal([...value].slice(0, 20).join('')))],
  ['char(60)', text.map(literal)],
  ['name', fc.string({ unit: 'grapheme-ascii', maxLength: 20 }).map(literal)],
  ['bytea', fc.uint8Array({ maxLength: 40 }).map((bytes) => `'\\x${Buffer.from(bytes).toString('hex')}'`)],
  ['date', fc.oneof(day, fc.constantFrom("'infinity'", "'-infinity'"))],
  ['time', micros.map((value) => `(time '00:00' + ${value})`)],
  [
    'timetz',
    fc
      .tuple(micros, fc.integer({ min: -12, max: 12 }))
      .map(([value, zone]) => `((time '00:00' + ${value}) AT TIME ZONE interval '${zone} hours')`),
  ],
  ['timestamp', fc.tuple(day, micros).map(([date, time]) => `(${date} + ${time})`)],
  ['timestamptz', fc.tuple(day, micros).map(([date, time]) => `((${date} + ${time}) AT TIME ZONE 'UTC')`)],
  [
    'interval',
    fc
      .tuple(fc.integer({ min: -900, max: 900 }), fc.integer({ min: -900, max: 900 }), micros)
      .map(([months, days, time]) => `(make_interval(months => ${months}, days => ${days}) + ${time})`),
  ],
  ['uuid', hex(16).map(literal)],
  ['json', fc.json().map((value) => literal(value.replaceAll('\\u0000', '')))],
  ['jsonb', fc.jsonValue({ maxDepth: 2 }).map((value) => literal(JSON.stringify(value).replaceAll('\\u0000', '')))],
  ['xml', text.map((value) => `xmlelement(name a, ${literal(value.replaceAll(/[^\p{L}\p{N} ]/gu, ''))})`)],
  ['inet', fc.ipV4().map(literal)],
  ['cidr', fc.ipV6().map((value) => literal(`${value}/128`))],
  ['macaddr', hex(6).map(literal)],
  ['bit(8)', hex(1).map((value) => `x'${value}'`)],
  ['varbit', hex(2).map((value) => `x'${value}'`)],
  ['point', fc.tuple(double, double).map(([x, y]) => `point(${x}, ${y})`)],
  [
    'int4range',
    fc
      .tuple(fc.integer({ min: 0, max: 99 }), fc.integer({ min: 0, max: 99 }))
      .map(([from, size]) => `int4range(${from}, ${from + size})`),
  ],
  [
    'nummultirange',
    fc
      .integer({ min: 0, max: 99 })
      .map((from) => `nummultirange(numrange(${from}, ${from + 1}), numrange(${from + 5}, NULL))`),
  ],
  ['tsvector', text.map((value) => `to_tsvector('simple', ${literal(value)})`)],
  ['integer[]', list(whole(32), 'integer')],
  ['text[]', list(text.map(literal), 'text')],
  ['mood', fc.constantFrom("'sad'", "'ok'", "'happy'")],
  ['pair', fc.tuple(whole(32), text.map(literal)).map(([a, b]) => `ROW(${a}, ${b})`)],
  ['price', fc.integer({ min: 0 }).map((value) => literal(`${value / 100}`))],
]

type Column = {
  readonly name: string
  readonly type: string
  readonly value: fc.Arbitrary<string>
  readonly isNullable: boolean
}
type Table = {
  readonly name: string
  readonly columns: readonly Column[]
  readonly rows: readonly (readonly string[])[]
}

const identifier = fc.oneof(
  fc.constantFrom('t', 'row', 'Select', 'a.b', 'x"y', 'naïve', 'pgproof row', 'count', 'new\nline'),
  fc.string({ unit: 'grapheme', minLength: 1, maxLength: 12 }).map((name) => name.replaceAll('\0', '_')),
)
const quoted = (name: string): string => `"${name.replaceAll('"', '""')}"`

const columnOf = fc
  .tuple(identifier, fc.constantFrom(...types), fc.boolean())
  .map(([name, [type, value], isNullable]): Column => ({ name, type, value, isNullable }))
const table = fc
  .tuple(identifier, fc.uniqueArray(columnOf, { minLength: 1, maxLength: 6, selector: ({ name }) => name }))
  .chain(([name, columns]) =>
    fc
      .array(fc.tuple(...columns.map((column) => cellOf(column))), { maxLength: 12 })
      .map((rows): Table => ({ name, columns, rows })),
  )
const schema = fc.uniqueArray(table, { minLength: 1, maxLength: 3, selector: ({ name }) => name })

function cellOf({ type, value, isNullable }: Column): fc.Arbitrary<string> {
  const typed = value.map((one) => `(${one})::${type}`)
  return isNullable ? fc.oneof({ weight: 5, arbitrary: typed }, fc.constant('NULL')) : typed
}

function createSql(tables: readonly Table[]): string {
  return [
    "CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy'); CREATE TYPE pair AS (a int, b text); CREATE DOMAIN price AS numeric(12,2) CHECK (VALUE >= 0)",
    ...tables.map(({ name, columns }) => {
      const defined = columns.map(
        (column) => `${quoted(column.name)} ${column.type}${column.isNullable ? '' : ' NOT NULL'}`,
      )
      return `CREATE TABLE ${quoted(name)} (${defined.join(', ')})`
    }),
    ...tables.flatMap(({ name, rows }) => rows.map((row) => `INSERT INTO ${quoted(name)} VALUES (${row.join(', ')})`)),
  ].join(';\n')
}

/** One change; whether anything changed, because a value may have been what it is set to. */
type Mutation = { readonly title: string; run(sandbox: Sandbox, table: Table): Promise<boolean> }

const pick = (table: Table): string => `ctid = (SELECT ctid FROM ${quoted(table.name)} LIMIT 1)`
const changes = async (sandbox: Sandbox, sql: string): Promise<boolean> =>
  (await sandbox.sql(`${sql} RETURNING 1 AS one`)).length > 0

const mutation: fc.Arbitrary<(table: Table) => fc.Arbitrary<Mutation>> = fc.constantFrom<
  ((table: Table) => fc.Arbitrary<Mutation>)[]
>(
  (table) =>
    fc.nat(table.columns.length - 1).chain((index) => {
      const column = table.columns[index] as Column
      return cellOf(column).map((value) => ({
        title: `a value of ${column.name} ${column.type} set to ${value}`,
        run: (sandbox, { name }) => {
          const is = quoted(column.name)
          const differs = `concat(${is}, ${is} IS DISTINCT FROM NULL) IS DISTINCT FROM concat(${value}, (${value}) IS DISTINCT FROM NULL)`
          return changes(sandbox, `UPDATE ${quoted(name)} SET ${is} = ${value} WHERE ${pick(table)} AND ${differs}`)
        },
      }))
    }),
  (table) =>
    fc.constant({
      title: 'a row deleted',
      run: (sandbox) => changes(sandbox, `DELETE FROM ${quoted(table.name)} WHERE ${pick(table)}`),
    }),
  (table) =>
    fc.constant({
      title: 'a row doubled',
      run: (sandbox) =>
        changes(sandbox, `INSERT INTO ${quoted(table.name)} SELECT * FROM ${quoted(table.name)} WHERE ${pick(table)}`),
    }),
  (table) =>
    fc
      .constantFrom(
        'ADD COLUMN "pgproof new" int',
        'ADD CHECK (1 = 1)',
        'SET (fillfactor = 71)',
        'ENABLE ROW LEVEL SECURITY',
        'OWNER TO pg_monitor',
        'REPLICA IDENTITY FULL',
      )
      .map((how) => ({
        title: how,
        run: async (sandbox) => {
          await sandbox.sql(`ALTER TABLE ${quoted(table.name)} ${how}`)
          return true
        },
      })),
  (table) =>
    fc.constantFrom('GRANT SELECT ON', 'COMMENT ON TABLE', 'CREATE VIEW', 'DROP').map((how) => ({
      title: how,
      run: async (sandbox) => {
        const name = quoted(table.name)
        if (how === 'DROP') await sandbox.sql(`DROP TABLE ${name}`)
        else if (how === 'CREATE VIEW') await sandbox.sql(`CREATE VIEW "pgproof view" AS SELECT 1 AS one FROM ${name}`)
        else
          await sandbox.sql(
            how === 'GRANT SELECT ON' ? `GRANT SELECT ON ${name} TO PUBLIC` : `COMMENT ON TABLE ${name} IS 'x'`,
          )
        return true
      },
    })),
)

const scenario = schema.chain((tables) =>
  fc.record({
    tables: fc.constant(tables),
    mutation: fc
      .tuple(fc.constantFrom(...tables), mutation)
      .chain(([table, of]) => of(table).map((change) => ({ table, change }))),
  }),
)

type Taken = { readonly tables: Awaited<ReturnType<typeof takeCensus>>; readonly structure: readonly StructureObject[] }

async function take(client: Client): Promise<Taken> {
  const tables = await listDumpedTables(client, false)
  const census = { database: 'property', tables, level: () => 'digest' as const }
  return { tables: await takeCensus([client], census, signal), structure: await readStructure(client, major) }
}

function differences(expected: Taken, restored: Taken): string[] {
  const tables = compareTables(expected.tables, restored.tables).filter(({ result }) => result !== 'equal')
  const { differences: structure } = compareStructure({
    expected: expected.structure,
    restored: restored.structure,
    isSameMajor: true,
  })
  return [
    ...tables.map(({ name, result }) => `${name} ${result}`),
    ...structure.map(({ kind, name, result, facets }) => `${kind} ${name} ${result} ${JSON.stringify(facets)}`),
  ]
}

describe('any schema, any rows', () => {
  it('dumped and restored - nothing differs; then one thing changed - something differs', async () => {
    await fc.assert(
      fc.asyncProperty(scenario, async ({ tables, mutation: { table, change } }) => {
        await using source = await openSandbox(createSql(tables))
        await using copy = await openSandbox()
        await dumpAndRestore(source.connection, copy.connection)
        const expected = await take(source.client)
        expect(differences(expected, await take(copy.client))).toEqual([])
        if (!(await change.run(copy, table))) return
        expect(differences(expected, await take(copy.client)), change.title).not.toEqual([])
      }),
      { numRuns, endOnFailure: false },
    )
  }, 900_000)
})
