import { describe, expect, it } from 'vitest'
import { createPainter } from '../../src/commands/print.ts'
import { tablesPage } from '../../src/commands/tables-page.ts'
import type { TablesResult } from '../../src/restore/tables-request.ts'

const result: TablesResult = {
  backup: {
    label: '20261120T020000Z-4f7k',
    server: 'main',
    database: 'shop',
    snapshotTime: '2026-11-20T02:00:00Z',
    version: '15.4',
  },
  target: { server: 'db:5432', database: 'shop', version: '15.4' },
  into: 'schema',
  schema: 'restored',
  tables: [
    { table: 'public.users', copy: 'restored.users', rows: 1000, compared: 'rows and digest', live: 'gone' },
    { table: 'public."\u001b[2J"', copy: 'restored.x', rows: 5, compared: 'rows', live: 'there' },
  ],
  statements: [
    { purpose: 'clean up', title: 'Remove the copy', sql: 'SELECT 1;\n\tDROP SCHEMA "\u001b[31m" CASCADE;' },
  ],
  notes: ['a note'],
  phases: [],
  seconds: 3,
  checks: [],
}

describe('the page of tables that were brought back', () => {
  const page = tablesPage(result, createPainter(false))

  it('says what, of when, where, how much of it was compared, and what is there now', () => {
    expect(page).toContain('RESTORED  2 tables with 1,005 rows of backup 20261120T020000Z-4f7k, as of 2026-11-20 02:00')
    expect(page).toContain('schema restored of database shop, beside the live tables, on db:5432')
    expect(page).toContain('row counts and digests of 1 table, row counts only of 1')
    expect(page).toMatch(/public\.users +1,000 +restored\.users +gone/)
    expect(page).toContain('a note')
  })

  it('scripts keep their lines; nothing reaches the terminal that it would obey', () => {
    expect(page).toContain('Remove the copy\n\nSELECT 1;\n\tDROP SCHEMA "\\x1b[31m" CASCADE;')
    expect(page).not.toContain('\u001b')
  })

  it('is JSON as it is', () => {
    expect(JSON.parse(JSON.stringify(result))).toEqual(result)
  })

  it('all of them digested - said of all; more notes than anybody reads - 20, and how many more', () => {
    const notes = Array.from({ length: 23 }, (_, index) => `note ${index}`)
    const whole = tablesPage({ ...result, tables: result.tables.slice(0, 1), notes }, createPainter(false))
    expect(whole).toContain('Row counts and digests were compared with the evidence, and all are equal.')
    expect(whole).toContain('  note 19\n  and 3 more; --json has them all\n')
    expect(whole).not.toContain('note 20')
  })
})
