import { describe, expect, it } from 'vitest'
import { compareWithEvidence } from '../../src/compare/compare-restored.ts'
import { Checklist } from '../../src/domain/checklist.ts'
import type { DrillTables } from '../../src/domain/drill-tables.ts'
import type { Evidence } from '../../src/domain/evidence.ts'
import { earlierStates, readLargeObjects, readSequences, takeCensus } from '../../src/postgres/census.ts'
import { listDumpedTables } from '../../src/postgres/tables.ts'
import { readStructure } from '../../src/structure/read-structure.ts'
import { openSandbox, type Sandbox, signal } from '../postgres/sandbox.ts'
import { major } from '../postgres/spool-root.ts'

/** What a backup of this database would say now. */
async function evidenceOf({ client, database }: Sandbox, bootstrapRole = 'postgres'): Promise<Evidence> {
  const sequences = await readSequences(client, false)
  const tables = await listDumpedTables(client, false)
  const { rows: extensions } = await client.query('SELECT extname AS name, extversion AS version FROM pg_extension')
  return {
    manifest: { source: { isStandby: false } },
    properties: { bootstrapRole },
    tables: await takeCensus([client], { database, tables, level: () => 'digest' }, signal),
    sequences: earlierStates(sequences, sequences),
    largeObjects: await readLargeObjects(client, 'digest'),
    extensions,
    omissions: [],
    structure: await readStructure(client, major),
  } as unknown as Evidence
}

/** What differs in the sandbox, and what the rungs say. */
async function compare({ client }: Sandbox, evidence: Evidence, source = major) {
  const notes: string[] = []
  const checklist = new Checklist()
  let tables: DrillTables | undefined
  const request = { clients: [client], evidence, drillLabel: 'x', majors: { source, scratch: major }, notes }
  const onTables = (found: DrillTables): void => {
    tables = found
  }
  const details = await compareWithEvidence({ ...request, onTables }, checklist, signal).then(
    () => '',
    (error: { details?: string }) => error.details,
  )
  const detailOf = (name: string) => checklist.results().find((check) => check.name === name)?.detail
  return { notes, tables, details, detailOf }
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
    expect((await compare(sandbox, evidence)).details).toBe('sequence public.s behind')
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
