import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Verdict } from '../../src/domain/drill-report.ts'
import { decideReports, type StoredReport } from '../../src/domain/report-retention.ts'
import { describeKeepReason } from '../../src/domain/retention.ts'

const dayMs = 86_400_000
const now = new Date('2026-11-20T12:00:00Z')

describe('decideReports', () => {
  it('two years of reports - of backups in the store, recent ones, and the newest of each verdict stay', () => {
    const reports = [
      report('today', 0, 'inconclusive'),
      report('young', 300, 'passed'),
      report('old and failed', 900, 'failed'),
      report('old and failed before', 901, 'failed'),
      report('old, of a backup', 950, 'passed', { backups: ['b1'] }),
      report('old, of roles', 951, 'passed', { backups: ['gone', 'r1'] }),
      report('old', 960, 'passed', { backups: ['gone'] }),
    ]
    expect(keptOf(reports, ['b1', 'r1'])).toEqual({
      today: 'newest, recent',
      young: 'newest passed, recent',
      'old and failed': 'newest failed',
      'old, of a backup': 'of a backup b1',
      'old, of roles': 'of a backup r1',
    })
  })

  it('nothing but old reports of backups that are gone - the proof of each database outlives everything', () => {
    const reports = [
      report('a passed', 900, 'passed', { database: 'a' }),
      report('a passed before', 1000, 'passed', { database: 'a' }),
      report('b failed', 900, 'failed', { database: 'b' }),
      report('b passed', 1000, 'passed', { database: 'b' }),
      report('a of another server', 1500, 'passed', { server: 'other', database: 'a' }),
    ]
    expect(keptOf(reports, [])).toEqual({
      'a passed': 'newest, newest passed',
      'b failed': 'newest, newest failed',
      'b passed': 'newest passed',
      'a of another server': 'newest, newest passed',
    })
  })

  it('full drills - the newest report of each server stays, whatever its age', () => {
    const full = (label: string, server: string, days: number): StoredReport =>
      report(label, days, null, { server, database: null })
    const reports = [full('main 1', 'main', 800), full('main 2', 'main', 900), full('spare', 'spare', 2000)]
    expect(keptOf(reports, [])).toEqual({ 'main 1': 'newest', spare: 'newest' })
  })

  it('exactly as old as keepReports - recent; a millisecond older - removed', () => {
    const at = (label: string, ageMs: number): StoredReport => ({
      ...report(label, 0, 'passed'),
      finishedAt: new Date(now.getTime() - ageMs),
    })
    const reports = [at('newest', 0), at('just', 730 * dayMs), at('past', 730 * dayMs + 1)]
    expect(Object.keys(keptOf(reports, []))).toEqual(['newest', 'just'])
  })

  it('a report from the future, or without a time - kept, and it takes the place of no other', () => {
    const reports = [
      report('future', -400, 'passed'),
      { ...report('never', 0, 'passed'), finishedAt: new Date('never') },
      report('old', 900, 'passed'),
    ]
    expect(Object.keys(keptOf(reports, []))).toEqual(['future', 'never', 'old'])
  })

  it('2,000 generated histories - what is known of each database by its reports is the same afterwards', () => {
    const generated = fc.array(
      fc.record({
        database: fc.constantFrom('a', 'b', null),
        days: fc.integer({ min: 0, max: 40 }),
        verdict: fc.constantFrom<Verdict | null>('passed', 'failed', 'inconclusive', null),
        backup: fc.constantFrom('b1', 'b2', 'b3'),
      }),
      { maxLength: 20 },
    )
    const backups = new Set(['b1'])
    const isSame = fc.property(generated, (drafts) => {
      const reports = drafts.map(({ database, days, verdict, backup }, index) =>
        report(`report ${index}`, days, verdict, { database, backups: [backup] }),
      )
      const decisions = decideReports({ reports, backups, keepMs: 20 * dayMs, now })
      for (const { keep, reasons } of decisions) expect(keep).toBe(reasons.length > 0)
      const left = decisions.filter(({ keep }) => keep).map((one) => one.report)
      for (const database of ['a', 'b', null]) {
        expect(stateOf(left, database)).toEqual(stateOf(reports, database))
      }
      expect(decideReports({ reports: left, backups, keepMs: 20 * dayMs, now }).every(({ keep }) => keep)).toBe(true)
    })
    fc.assert(isSame, { numRuns: 2000 })
  })
})

/** When the newest drill was, the newest that passed and the newest that failed. */
function stateOf(reports: readonly StoredReport[], database: string | null): (number | undefined)[] {
  const times = (verdict?: Verdict): number[] =>
    reports
      .filter((one) => one.database === database && (verdict === undefined || one.verdict === verdict))
      .map(({ finishedAt }) => finishedAt.getTime())
  return [times(), times('passed'), times('failed')].map((list) => list.toSorted((a, b) => b - a)[0])
}

function keptOf(reports: readonly StoredReport[], backups: readonly string[]): Record<string, string> {
  const decisions = decideReports({ reports, backups: new Set(backups), keepMs: 730 * dayMs, now })
  const kept = decisions.filter(({ keep }) => keep)
  return Object.fromEntries(
    kept.map(({ report: { label }, reasons }) => [label, reasons.map(describeKeepReason).join(', ')]),
  )
}

function report(
  label: string,
  daysAgo: number,
  verdict: Verdict | null,
  changes: Partial<StoredReport> = {},
): StoredReport {
  const finishedAt = new Date(now.getTime() - daysAgo * dayMs)
  return { label, server: 'main', database: 'shop', finishedAt, verdict, backups: [], ...changes }
}
