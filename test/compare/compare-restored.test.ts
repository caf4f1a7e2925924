import { describe, expect, it } from 'vitest'
import { compareWithEvidence } from '../../src/compare/compare-restored.ts'
import { Checklist } from '../../src/domain/checklist.ts'
import type { CheckResult } from '../../src/domain/drill-report.ts'
import type { DrillTables } from '../../src/domain/drill-tables.ts'
import type { Evidence, EvidenceLevel } from '../../src/domain/evidence.ts'
import type { StructureObject } from '../../src/domain/structure.ts'
import { PgproofError } from '../../src/errors.ts'
import { earlierStates, readLargeObjects, readSequences, takeCensus } from '../../src/postgres/census.ts'
import { listDumpedTables } from '../../src/postgres/tables.ts'
import { readStructure } from '../../src/structure/read-structure.ts'
import { dumpAndRestore, openSandbox, type Sandbox, signal } from '../postgres/sandbox.ts'
import { major } from '../postgres/spool-root.ts'

/** What a backup of this database would say now; `level` is the setting for each table, by its name. */
async function evidenceOf(
  { client, database }: Sandbox,
  bootstrapRole = 'postgres',
  level: (table: string) => EvidenceLevel = () => 'digest',
): Promise<Evidence> {
  const sequences = await readSequences(client, false)
  const tables = await listDumpedTables(client, false)
  const { rows: extensions } = await client.query('SELECT extname AS name, extversion AS version FROM pg_extension')
  return {
    manifest: { source: { isStandby: false } },
    properties: { bootstrapRole },
    tables: await takeCensus([client], { database, tables, level: ({ name }) => level(name) }, signal),
    sequences: earlierStates(sequences, sequences),
    largeObjects: await readLargeObjects(client, 'digest'),
    extensions,
    omissions: [],
    structure: await readStructure(client, major),
  } as unknown as Evidence
}

type Comparable = { readonly of: (objects: readonly StructureObject[]) => StructureObject[]; readonly without: string }

/** What differs in the sandbox, and what the rungs say. */
async function compare({ client }: Sandbox, evidence: Evidence, source = major, comparable?: Comparable) {
  const notes: string[] = []
  const checklist = new Checklist()
  let tables: DrillTables | undefined
  const request = { clients: [client], evidence, drillLabel: 'x', majors: { source, scratch: major }, notes }
  const onTables = (found: DrillTables): void => {
    tables = found
  }
  const error = await compareWithEvidence(
    { ...request, onTables, ...(comparable && { comparable }) },
    checklist,
    signal,
  ).then(
    () => undefined,
    (thrown: unknown) => thrown,
  )
  if (error !== undefined && !(error instanceof PgproofError)) throw error
  const detailOf = (name: string) => checklist.results().find((check) => check.name === name)?.detail
  return {
    notes,
    tables,
    details: error?.details ?? '',
    message: error?.message,
    detailOf,
    checks: checklist.results().slice(-5),
  }
}

const configured = (condition: string): string => `
  CREATE TABLE conf (a int); INSERT INTO conf VALUES (1), (5), (9); CREATE TABLE later (a int); CREATE EXTENSION hstore;
  ALTER EXTENSION hstore ADD TABLE conf; ALTER EXTENSION hstore ADD TABLE later;
  UPDATE pg_extension SET extconfig = ARRAY['conf'::regclass::oid], extcondition = ARRAY['${condition}'] WHERE extname = 'hstore'`

describe('tables of extensions', () => {
  it('another version with another condition - counted under the one of the backup; with other tables - a note', async () => {
    await using sandbox = await openSandbox(configured('WHERE a > 4'))
    const evidence = await evidenceOf(sandbox)
    expect(evidence.tables).toMatchObject([{ name: 'conf', rows: 2, condition: 'WHERE a > 4' }])
    await sandbox.sql(
      "UPDATE pg_extension SET extversion = '9', extcondition = ARRAY['WHERE a > 8'] WHERE extname = 'hstore'",
    )
    const other = await compare(sandbox, evidence)
    expect(other.details).toBe('')
    expect(other.tables?.tables).toMatchObject([{ name: 'conf', result: 'equal', restoredRows: 2 }])

    await sandbox.sql("UPDATE pg_extension SET extconfig = ARRAY['later'::regclass::oid] WHERE extname = 'hstore'")
    const moved = await compare(sandbox, evidence)
    expect(moved.details).toBe('')
    expect(moved.notes).toEqual([
      expect.stringContaining('extension hstore: version'),
      expect.stringMatching(
        /^table public\.conf: not compared, because its rows are dumped with version 1\.\d of hstore, not with 9$/,
      ),
      expect.stringMatching(
        /^table public\.later: not compared, because its rows are dumped with version 9 of hstore, not with 1\.\d$/,
      ),
    ])
  })

  it('a row lost under another version - a difference all the same', async () => {
    await using sandbox = await openSandbox(configured('WHERE a > 4'))
    const evidence = await evidenceOf(sandbox)
    await sandbox.sql(
      "UPDATE pg_extension SET extversion = '9', extcondition = ARRAY[''] WHERE extname = 'hstore'; DELETE FROM conf WHERE a = 9",
    )
    expect((await compare(sandbox, evidence)).details).toBe('public.conf rows differ (2 expected, 1 restored)')
  })

  it('the same version with another condition or other tables - a difference', async () => {
    await using sandbox = await openSandbox(configured('WHERE a > 4'))
    const evidence = await evidenceOf(sandbox)
    await sandbox.sql("UPDATE pg_extension SET extcondition = ARRAY['WHERE a > 8'] WHERE extname = 'hstore'")
    expect((await compare(sandbox, evidence)).details).toContain('public.conf not compared')
    await sandbox.sql("UPDATE pg_extension SET extconfig = ARRAY['later'::regclass::oid] WHERE extname = 'hstore'")
    expect((await compare(sandbox, evidence)).details).toBe(
      'public.conf missing (2 expected, no restored)\npublic.later unexpected (no expected, 0 restored)',
    )
  })
})

describe('TOAST options', () => {
  const short = `CREATE TABLE short (code varchar(20), price numeric(10, 2), body text) WITH (toast.autovacuum_enabled = off);
    ALTER TABLE short DROP COLUMN body; CREATE MATERIALIZED VIEW view WITH (toast.autovacuum_enabled = off) AS SELECT code FROM short`

  it('of a table whose columns are all short by now, which a restore makes without a TOAST table - no difference', async () => {
    await using source = await openSandbox(short)
    await using copy = await openSandbox()
    await dumpAndRestore(source.connection, copy.connection)
    expect(await compare(copy, await evidenceOf(source))).toMatchObject({ details: '', notes: [] })
  })

  it('lost where the restored table has a TOAST table, or other ones - a difference', async () => {
    await using source = await openSandbox(short)
    const evidence = await evidenceOf(source)
    await source.sql('ALTER TABLE short RESET (toast.autovacuum_enabled)')
    expect((await compare(source, evidence)).details).toBe('table public.short differs in toast options')
    await source.sql('ALTER TABLE short SET (toast.autovacuum_enabled = on)')
    expect((await compare(source, evidence)).details).toBe('table public.short differs in toast options')
  })
})

describe('partitions by the hash of an enum, which are compared together', () => {
  const sql =
    "CREATE TYPE mood AS ENUM ('a', 'b', 'c', 'd'); CREATE TABLE p (m mood) PARTITION BY HASH (m); CREATE TABLE p1 PARTITION OF p FOR VALUES WITH (MODULUS 2, REMAINDER 0); CREATE TABLE p2 PARTITION OF p FOR VALUES WITH (MODULUS 2, REMAINDER 1); INSERT INTO p SELECT unnest(enum_range(NULL::mood))"

  it.each<[string, (table: string) => EvidenceLevel]>([
    ['of all', () => 'off'],
    ['of one of them', (table) => (table === 'p1' ? 'off' : 'digest')],
  ])('the evidence setting is off %s - no difference, and said to be not counted', async (_, level) => {
    await using sandbox = await openSandbox(sql)
    const { details, detailOf } = await compare(sandbox, await evidenceOf(sandbox, 'postgres', level))
    expect(details).toBe('')
    expect(detailOf('row counts')).toBe('not in the evidence')
  })

  it('a row is lost - a difference', async () => {
    await using sandbox = await openSandbox(sql)
    const evidence = await evidenceOf(sandbox)
    await sandbox.sql("DELETE FROM p WHERE m = 'c'")
    expect((await compare(sandbox, evidence)).details).toBe('public.p rows differ (4 expected, 3 restored)')
  })
})

describe('the rungs', () => {
  it('equal - says what was compared, and that expressions were not between two majors', async () => {
    await using sandbox = await openSandbox('CREATE TABLE t (a int DEFAULT 1)')
    const evidence = await evidenceOf(sandbox)
    expect((await compare(sandbox, evidence)).detailOf('structure')).toMatch(
      /^\d+ objects, every definition, owner and grant equal$/,
    )
    const older = await compare(sandbox, evidence, major - 1)
    expect(older.detailOf('structure')).toMatch(
      new RegExp(`; expressions not compared between majors ${major - 1} and ${major}$`),
    )
  })

  it('equal in everything - five rungs passed, each with what it compared, and the tables whole', async () => {
    await using sandbox = await openSandbox(
      "CREATE TABLE a (n int); CREATE TABLE b (n int); INSERT INTO b VALUES (1), (2); CREATE SEQUENCE s; SELECT lo_from_bytea(0, 'x')",
    )
    const { checks, tables, notes, message } = await compare(sandbox, await evidenceOf(sandbox))
    expect(message).toBe(undefined)
    expect(checks).toEqual<CheckResult[]>([
      { name: 'structure', result: 'passed', detail: expect.stringMatching(/^\d+ objects, every definition/) },
      { name: 'row counts', result: 'passed', detail: '2 of 2 tables, every count equal' },
      { name: 'digests', result: 'passed', detail: '2 of 2 tables, every digest equal' },
      { name: 'sequences', result: 'passed', detail: '1 sequences, none behind or beyond' },
      { name: 'large objects', result: 'passed', detail: '1 large objects' },
    ])
    const compared = tables?.structure?.compared
    expect(compared).toBeGreaterThan(3)
    const digest = expect.stringMatching(/^-?[1-9]\d+$/)
    expect(tables).toEqual({
      ...{ format: 1, label: 'x', errorDetails: null, notes: [], structure: { compared, differences: [] } },
      tables: [
        expect.objectContaining({ name: 'a', compared: 'rows and digest', result: 'equal', restoredRows: 0 }),
        expect.objectContaining({ name: 'b', compared: 'rows and digest', result: 'equal', restoredRows: 2 }),
      ],
      sequences: [expect.objectContaining({ name: 's', result: 'equal' })],
      largeObjects: { expected: { count: 1, digest }, restored: { count: 1, digest }, result: 'equal' },
    })
    expect(tables?.notes).toBe(notes)
  })

  it('an empty database - all passed, nothing being there to compare', async () => {
    await using sandbox = await openSandbox()
    const { checks } = await compare(sandbox, await evidenceOf(sandbox))
    expect(checks.slice(1)).toEqual([
      { name: 'row counts', result: 'passed', detail: '0 of 0 tables, every count equal' },
      { name: 'digests', result: 'passed', detail: '0 of 0 tables, every digest equal' },
      { name: 'sequences', result: 'passed', detail: '0 sequences, none behind or beyond' },
      { name: 'large objects', result: 'passed', detail: '0 large objects' },
    ])
  })

  it('less evidence of some tables - said at both rungs; a lost row of what was not counted is no difference', async () => {
    await using sandbox = await openSandbox(
      'CREATE TABLE a (n int); CREATE TABLE b (n int); CREATE TABLE c (n int); INSERT INTO a VALUES (1); INSERT INTO b VALUES (1)',
    )
    const levels: Record<string, EvidenceLevel> = { a: 'off', b: 'count' }
    const evidence = await evidenceOf(sandbox, 'postgres', (table) => levels[table] ?? 'digest')
    await sandbox.sql('DELETE FROM a; UPDATE b SET n = 2')
    const { details, detailOf } = await compare(sandbox, evidence)
    expect(details).toBe('')
    expect(detailOf('row counts')).toBe('2 of 3 tables, every count equal; 1 not counted by the evidence setting')
    expect(detailOf('digests')).toBe('1 of 3 tables, every digest equal; 2 without a digest by the evidence setting')
    // It is off for a table that is gone as well, and that is a difference.
    await sandbox.sql('DROP TABLE a; DELETE FROM b')
    expect((await compare(sandbox, evidence)).details.split('\n').filter((line) => !line.startsWith('column'))).toEqual(
      ['table public.a missing', 'public.a missing', 'public.b rows differ (1 expected, 0 restored)'],
    )
  })

  it('no evidence of any table - row counts and digests are skipped, not passed', async () => {
    await using sandbox = await openSandbox('CREATE TABLE a (n int)')
    const { checks } = await compare(sandbox, await evidenceOf(sandbox, 'postgres', () => 'off'))
    expect(checks.slice(1, 3)).toEqual([
      { name: 'row counts', result: 'skipped', detail: 'not in the evidence' },
      { name: 'digests', result: 'skipped', detail: 'not in the evidence' },
    ])
  })

  it('one row changed - one difference, at the digests alone', async () => {
    await using sandbox = await openSandbox('CREATE TABLE a (n int); INSERT INTO a VALUES (1)')
    const evidence = await evidenceOf(sandbox)
    await sandbox.sql('UPDATE a SET n = 2')
    const { checks, details, message } = await compare(sandbox, evidence)
    expect(details).toBe('public.a digest differs')
    expect(message).toBe('1 difference between evidence and restored data: public.a digest differs')
    expect(checks.filter(({ result }) => result !== 'passed')).toEqual([
      { name: 'digests', result: 'failed', detail: '1 difference: public.a digest differs' },
    ])
    expect(checks).toHaveLength(5)
  })

  it('seven tables of other counts - the first five are named, the others counted, and all are in the details', async () => {
    const names = [1, 2, 3, 4, 5, 6, 7].map((n) => `t${n}`)
    await using sandbox = await openSandbox(names.map((name) => `CREATE TABLE ${name} (n int);`).join(''))
    const evidence = await evidenceOf(sandbox)
    await sandbox.sql(names.map((name) => `INSERT INTO ${name} VALUES (1);`).join(''))
    const { details, message, detailOf } = await compare(sandbox, evidence)
    const of = (name: string): string => `public.${name} rows differ (0 expected, 1 restored)`
    const told = `7 differences: ${names.slice(0, 5).map(of).join('; ')}; and 2 more`
    expect(detailOf('row counts')).toBe(told)
    expect(message).toBe(told.replace('differences:', 'differences between evidence and restored data:'))
    expect(details).toBe(names.map(of).join('\n'))
    await sandbox.sql('TRUNCATE t1, t2')
    const five = names.slice(2).map(of).join('; ')
    expect((await compare(sandbox, evidence)).detailOf('row counts')).toBe(`5 differences: ${five}`)
  })

  it.each([
    ['one more', "SELECT lo_from_bytea(0, 'y')", 'count differs (1 expected, 2 restored)', 'count differs'],
    [
      'another content',
      "SELECT lo_put(oid, 0, 'z') FROM pg_largeobject_metadata",
      'digest differs (1 expected, 1 restored)',
      'digest differs',
    ],
  ])('large objects: %s - a difference', async (_, change, text, result) => {
    await using sandbox = await openSandbox("SELECT lo_from_bytea(4711, 'x')")
    const evidence = await evidenceOf(sandbox)
    await sandbox.sql(change)
    const { checks, details, tables } = await compare(sandbox, evidence)
    expect(details.split('\n').at(-1)).toBe(`large objects: ${text}`)
    expect(checks.at(-1)).toEqual({
      name: 'large objects',
      result: 'failed',
      detail: `1 difference: large objects: ${text}`,
    })
    expect(tables?.largeObjects).toMatchObject({ result, expected: { count: 1 } })
  })

  it('large objects that were only counted - nobody reads them again', async () => {
    await using sandbox = await openSandbox("SELECT lo_from_bytea(4711, 'x')")
    const evidence = { ...(await evidenceOf(sandbox)), largeObjects: await readLargeObjects(sandbox.client, 'count') }
    await sandbox.sql("SELECT lo_put(4711, 0, 'z')")
    const { details, tables } = await compare(sandbox, evidence)
    expect([details, tables?.largeObjects?.restored]).toEqual(['', { count: 1, digest: null }])
  })

  it('the backup of a standby - what is unlogged has no rows there, and is not asked for', async () => {
    await using sandbox = await openSandbox('CREATE TABLE a (n int)')
    const primary = await evidenceOf(sandbox)
    await sandbox.sql('CREATE UNLOGGED TABLE u (n int)')
    const { structure } = await evidenceOf(sandbox)
    const standby = { ...primary, structure, manifest: { source: { isStandby: true } } } as unknown as Evidence
    expect((await compare(sandbox, standby)).details).toBe('')
    expect((await compare(sandbox, { ...primary, structure })).details).toBe(
      'public.u unexpected (no expected, 0 restored)',
    )
  })

  it('only a part of the structure is comparable - the rest may differ, and it is said what was left out', async () => {
    await using sandbox = await openSandbox('CREATE TABLE a (n int); CREATE VIEW v AS SELECT 1 AS n')
    const evidence = await evidenceOf(sandbox)
    await sandbox.sql('DROP VIEW v')
    const all = await compare(sandbox, evidence)
    expect(all.details).toBe('column public.v.n missing\nview public.v missing')
    expect(all.tables?.structure?.differences).toMatchObject([
      { kind: 'column', name: 'public.v.n' },
      { kind: 'view', name: 'public.v' },
    ])
    const of = (objects: readonly StructureObject[]): StructureObject[] =>
      objects.filter(({ kind }) => kind === 'table')
    const comparable = { of, without: 'owners' }
    const part = await compare(sandbox, evidence, major, comparable)
    expect([part.details, part.detailOf('structure')]).toEqual([
      '',
      '1 objects, every definition equal; owners not compared',
    ])
    const older = await compare(sandbox, evidence, major - 1, comparable)
    expect(older.detailOf('structure')).toBe(
      `1 objects, every property equal; owners not compared; expressions not compared between majors ${major - 1} and ${major}`,
    )
    const between = await compare(
      sandbox,
      { ...evidence, structure: await readStructure(sandbox.client, major) },
      major - 1,
    )
    expect(between.detailOf('structure')).toMatch(
      new RegExp(
        `^\\d+ objects, every owner, grant and property equal; expressions not compared between majors ${major - 1} and ${major}$`,
      ),
    )
  })

  it('a sequence that stands where it never was - beyond', async () => {
    await using sandbox = await openSandbox('CREATE SEQUENCE s')
    const evidence = await evidenceOf(sandbox)
    await sandbox.sql("SELECT setval('s', 9223372036854775807)")
    const { details, tables } = await compare(sandbox, evidence)
    expect(details).toBe('sequence public.s beyond')
    expect(tables?.sequences).toMatchObject([{ result: 'beyond' }])
  })

  it('a sequence from which a materialized view draws, through a view, when it is refreshed - ahead; set back - behind', async () => {
    await using sandbox = await openSandbox(
      "CREATE SEQUENCE s; CREATE VIEW v AS SELECT nextval('s') AS n; CREATE MATERIALIZED VIEW m AS SELECT * FROM v",
    )
    const evidence = await evidenceOf(sandbox)
    await sandbox.sql('REFRESH MATERIALIZED VIEW m')
    const { details, tables } = await compare(sandbox, evidence)
    expect([details, tables?.sequences[0]?.result]).toEqual(['', 'ahead'])
    await sandbox.sql("SELECT setval('s', 1, false)")
    const { details: behind, checks } = await compare(sandbox, evidence)
    expect(behind).toBe('sequence public.s behind')
    expect(checks[3]).toEqual({
      name: 'sequences',
      result: 'failed',
      detail: '1 difference: sequence public.s behind',
    })
  })

  it('a source with another bootstrap superuser - its role is no difference; the same role lost otherwise is one', async () => {
    await using sandbox = await openSandbox('CREATE TABLE t (a int)')
    const evidence = await evidenceOf(sandbox, 'admin')
    const role = (name: string) => ({ kind: 'role', name, facets: { exists: 'true' } })
    const withRole = { ...evidence, structure: [...evidence.structure, role('postgres')] }
    expect((await compare(sandbox, withRole)).details).toBe('')
    const withAnother = { ...evidence, structure: [...evidence.structure, role('clerk')] }
    expect((await compare(sandbox, withAnother)).details).toBe('role clerk missing')
  })
})
