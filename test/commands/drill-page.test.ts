import { describe, expect, it } from 'vitest'
import { type DrillPage, drillPage } from '../../src/commands/drill-page.ts'
import { rungs } from '../../src/domain/checklist.ts'
import type { DrillReport } from '../../src/domain/drill-report.ts'
import type { DrillTables } from '../../src/domain/drill-tables.ts'
import { manifestAt, reportOf } from '../catalog/stored.ts'

const manifest = manifestAt('2026-11-20T02:00:00Z')
const checks = rungs.map((name) => ({ name, result: 'passed' as const, detail: null }))

function report(changes: Partial<DrillReport> = {}): DrillReport {
  return reportOf(manifest, '2026-11-20T05:00:00Z', { checks, ...changes })
}

const none: DrillTables = {
  format: 1,
  label: report().label,
  errorDetails: null,
  notes: [],
  structure: { compared: 9, differences: [] },
  tables: [],
  sequences: [],
  largeObjects: null,
}

const table = (name: string, changes: Partial<DrillTables['tables'][number]> = {}): DrillTables['tables'][number] => ({
  schema: 'public',
  name,
  expectedRows: 10,
  restoredRows: 10,
  expectedDigest: '1',
  restoredDigest: '1',
  compared: 'rows and digest',
  result: 'equal',
  ...changes,
})

const pageOf = (page: Partial<DrillPage>): string[] =>
  drillPage({ report: report(), tables: none, isFull: true, isSignatureChecked: false, ...page }, (text) => text).split(
    '\n',
  )

describe('the page of a drill', () => {
  it('passed, slower than the objective - said in the first lines, and so is the next one', () => {
    const lines = pageOf({
      report: report({ restoreTimeSeconds: 2410, forecastSeconds: 2500, rtoSeconds: 1800, objective: 'missed' }),
    })
    expect(lines.slice(0, 5)).toEqual([
      `PASSED  drill ${report().label} of main/app`,
      '',
      `Backup ${manifest.label} was restored into PostgreSQL 17.2 and answers queries.`,
      'The restore took 40 min 10 s, MORE than the objective of 30m.',
      'A restore of the newest backup would take about 41 min 40 s, MORE than the objective of 30m.',
    ])
    expect(lines.filter((line) => line.endsWith('objective 30m MISSED'))).toHaveLength(2)
  })

  it('passed within the objective, the next one is not - only the forecast is said to be more', () => {
    const lines = pageOf({ report: report({ restoreTimeSeconds: 20, forecastSeconds: 2500, rtoSeconds: 1800 }) })
    expect(lines[3]).toMatch(/^A restore of the newest backup would take about .+ MORE than/)
    expect(lines).toContain('The restore took 20.0 s; the objective is 30m.')
  })

  it('tables lowered by the evidence setting - said in words, first in the table, never called digested', () => {
    const compared = { tables: 3, rows: 30, objects: 9, differences: 0, countOnly: 1, off: 1 }
    const tables = [
      table('whole'),
      table('whole_too'),
      table('counted', { compared: 'rows', expectedDigest: null, restoredDigest: null }),
      table('left_out', { compared: 'nothing', result: 'not compared', expectedRows: null, expectedDigest: null }),
    ]
    const lines = pageOf({ report: report({ compared }), tables: { ...none, tables } })
    expect(lines).toContain(
      'Row counts of 3 tables with 30 rows and digests of 2 of them were compared, and all equal what the database held at 2026-11-20 02:00:00 UTC.',
    )
    expect(lines).toContain(
      'By the evidence setting of 1 table only the rows were counted, and 1 table was not compared at all.',
    )
    const listed = lines.flatMap((line) => /^ {2}public\.(\w+)/.exec(line)?.[1] ?? [])
    expect(listed).toEqual(['counted', 'left_out', 'whole', 'whole_too'])
  })

  it('failed - the reason in one line, each kind of difference, capped with how many more', () => {
    const differing = (index: number) => ({
      kind: 'index',
      name: `public.i${index}`,
      result: 'differs' as const,
      facets: [
        {
          facet: 'definition',
          expected: 'CREATE INDEX i ON public.orders USING btree (customer, day) WHERE (total > 5)',
          restored: 'CREATE INDEX i ON public.orders USING btree (customer, day) WHERE (total > 6)',
        },
      ],
    })
    const tables: DrillTables = {
      ...none,
      structure: { compared: 9, differences: Array.from({ length: 23 }, (_, index) => differing(index)) },
      tables: [table('good'), table('bad', { restoredRows: 9, result: 'rows differ' })],
      sequences: [{ schema: 'public', name: 's', expectedNext: '9', restoredNext: '3', result: 'behind' }],
      largeObjects: {
        expected: { count: 2, digest: '1' },
        restored: { count: 1, digest: '2' },
        result: 'count differs',
      },
    }
    const reason = { code: 'EVIDENCE_MISMATCH', message: '26 differences', hint: 'Take a new one.' }
    const lines = pageOf({ report: report({ verdict: 'failed', reason }), tables })
    expect(lines.slice(0, 5)).toEqual([
      `FAILED  drill ${report().label} of main/app`,
      '',
      `Do not count on backup ${manifest.label} (2026-11-20 02:00:00 UTC).`,
      'Why: 26 differences',
      'Next: Take a new one.',
    ])
    const text = lines.join('\n')
    expect(text).toMatch(/^ {2}index +public\.i0 +differs {2}definition: …RE \(total > 5\) → …RE \(total > 6\)$/m)
    expect(text).toContain('\n  and 3 more objects; --json has them all\n')
    expect(text).toMatch(/^ {2}public\.bad +10 +9 .+rows differ$/m)
    expect(text).toMatch(/^ {2}public\.s +9 +3 {2}behind$/m)
    expect(text).toContain('  large objects: count differs (2 expected, 1 restored)')
  })

  it('more tables than anybody reads - 40 of them, and how many more', () => {
    const tables = Array.from({ length: 45 }, (_, index) => table(`t${index}`))
    const lines = pageOf({ tables: { ...none, tables } })
    expect(lines.filter((line) => line.startsWith('  public.t'))).toHaveLength(40)
    expect(lines).toContain('  and 5 more tables; --json has them all')
  })

  it('what the backup does not hold, notes, machine and signer - each on a line', () => {
    const own = report({
      omissions: [{ kind: 'foreign data', objects: 2 }],
      signer: 'A'.repeat(40),
      environment: { ...report().environment, cpus: 8, cpuModel: 'EPYC', memoryBytes: 2 ** 34 },
    })
    const lines = pageOf({ report: own, tables: { ...none, notes: ['a\u001b[2J note'] }, isSignatureChecked: true })
    expect(lines).toContain('  foreign data (2)')
    expect(lines).toContain('  a\\x1b[2J note')
    expect(lines).toContain('  machine         8 CPUs (EPYC), 16.0 GiB of memory; 2 jobs of pg_restore')
    expect(lines).toContain(`  signed by       ${'A'.repeat(40)}, valid and trusted`)
  })

  it('without the private key - how many differences, not which', () => {
    const compared = { ...report().compared, differences: 3 }
    const text = pageOf({ report: report({ compared }), tables: null }).join('\n')
    expect(text).toContain('  3 differences; what they are is encrypted beside the report')
  })

  it('pg_restore failed - what it wrote, line by line, and nothing of it that a terminal would obey', () => {
    const reason = { code: 'RESTORE_FAILED', message: 'pg_restore ended with 1', hint: 'See what it wrote.' }
    const errorDetails = 'pg_restore: error: could not execute query\nDETAIL: \u001b[2Jno such type'
    const page = { report: report({ verdict: 'failed', reason }), tables: { ...none, errorDetails } }
    expect(pageOf(page).join('\n')).toContain(
      'What the program said\n  pg_restore: error: could not execute query\n  DETAIL: \\x1b[2Jno such type\n',
    )
    expect(pageOf({ ...page, isFull: false }).join('\n')).not.toContain('What the program said')
  })

  it('an object that is in the backup only, or in the restored database only - "none" on the other side', () => {
    const facets = [
      { facet: 'definition', expected: 'CHECK (a > 0)', restored: null },
      { facet: 'comment', expected: null, restored: 'new' },
    ]
    const differences = [{ kind: 'constraint', name: 'public.c', result: 'differs' as const, facets }]
    const text = pageOf({ tables: { ...none, structure: { compared: 9, differences } } }).join('\n')
    expect(text).toMatch(
      /^ {2}constraint +public\.c +differs {2}definition: CHECK \(a > 0\) → none; comment: none → new$/m,
    )
  })

  it.each<[string, Partial<DrillReport['environment']>, string]>([
    ['nothing known of it', { notIsolated: null }, 'embedded, PostgreSQL 17.2'],
    ['all of it', { notIsolated: [] }, 'embedded, PostgreSQL 17.2, shut off from its machine'],
    [
      'all but files, and no network',
      { notIsolated: ['files', 'processes'], network: 'none' },
      'embedded, PostgreSQL 17.2, without any network, but not shut off from its machine’s files, processes',
    ],
    [
      'nothing',
      { notIsolated: ['files', 'network'], network: 'machine' },
      'embedded, PostgreSQL 17.2, not shut off from its machine’s files, network',
    ],
    ['a server that never started', { serverVersion: null }, 'embedded, not started'],
  ])('how far the scratch server was shut off: %s - no more than that is said', (_what, changes, expected) => {
    const lines = pageOf({ report: report({ environment: { ...report().environment, ...changes } }) })
    expect(lines).toContain(`  scratch server  ${expected}`)
  })

  it('signed, and nobody there to check it by - said to be its own account', () => {
    const lines = pageOf({ report: report({ signer: 'A'.repeat(40) }) })
    expect(lines).toContain(
      `  signed by       ${'A'.repeat(40)} by its own account (no trusted signers to check it by)`,
    )
  })
})
