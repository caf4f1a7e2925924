import { describe, expect, it } from 'vitest'
import { decideReports, type StoredReport } from '../../src/domain/report-retention.ts'
import { decideRetention, type RetentionBackup, type RetentionQuestion } from '../../src/domain/retention.ts'
import { compareTables } from '../../src/domain/table-contents.ts'

// Each of these is a change to the code that no other test of a decision noticed.

const now = new Date('2026-11-20T12:00:00Z')
const none = { last: 0, daily: 0, weekly: 0, monthly: 0, yearly: 0, verified: 0 }

const backup = (label: string, time: string, more: Partial<RetentionBackup> = {}): RetentionBackup => ({
  label,
  snapshotTime: new Date(time),
  verified: false,
  isGood: true,
  kind: 'database',
  ...more,
})
const decide = (backups: readonly RetentionBackup[], more: Partial<RetentionQuestion> = {}) =>
  decideRetention({
    backups,
    policy: { ...none, last: 1 },
    now,
    timezone: 'UTC',
    objectiveMs: null,
    isForced: false,
    ...more,
  })

describe('what is kept', () => {
  it('a backup of this very instant - the newest, and not from the future', () => {
    const [decision] = decide([backup('a', now.toISOString())])
    expect(decision?.reasons.map(({ rule }) => rule)).toEqual(['newest', 'last'])
  })

  it('two of one instant - the label decides which is the newest, whatever the order', () => {
    const two = [backup('a', '2026-11-19T00:00:00Z'), backup('b', '2026-11-19T00:00:00Z')]
    for (const backups of [two, two.toReversed()])
      expect(decide(backups).map(({ label, keep }) => [label, keep])).toEqual([
        ['b', true],
        ['a', false],
      ])
  })

  it('the newer one has the lesser label - the time decides', () => {
    const backups = [backup('z', '2026-11-18T00:00:00Z'), backup('a', '2026-11-19T00:00:00Z')]
    expect(decide(backups).map(({ label, keep }) => [label, keep])).toEqual([
      ['a', true],
      ['z', false],
    ])
  })

  it('months many years apart - each is a month of its own', () => {
    const backups = [backup('new', '2026-01-15T00:00:00Z'), backup('old', '2014-02-15T00:00:00Z')]
    const kept = decide(backups, { policy: { ...none, monthly: 2 } })
    expect(kept.map(({ keep }) => keep)).toEqual([true, true])
  })

  it('an objective of nothing at all - taken as it is, and missed by every backup of the past', () => {
    const backups = [backup('a', '2026-11-19T00:00:00Z'), backup('b', '2026-11-18T00:00:00Z')]
    expect(decide(backups, { objectiveMs: 0 })[1]?.reasons.map(({ rule }) => rule)).toEqual(['held back'])
  })

  it.each<[string, readonly RetentionBackup[], Partial<RetentionQuestion>]>([
    ['the present time is unknown', [], { now: new Date(Number.NaN) }],
    ['backup a has no snapshot time', [backup('a', 'never')], {}],
    ['two backups are labelled a', [backup('a', '2026-01-01T00:00:00Z'), backup('a', '2026-01-02T00:00:00Z')], {}],
    [
      'backups of a database and of roles are in one list',
      [backup('a', '2026-01-01T00:00:00Z'), backup('b', '2026-01-02T00:00:00Z', { kind: 'roles' })],
      {},
    ],
  ])('refused: %s - says so', (reason, backups, more) => {
    expect(() => decide(backups, more)).toThrow(reason)
  })
})

describe('which reports are kept', () => {
  const report = (label: string, time: string): StoredReport => ({
    label,
    server: 'main',
    database: 'app',
    finishedAt: new Date(time),
    verdict: 'passed',
    backups: [],
  })
  const kept = (reports: readonly StoredReport[]) =>
    decideReports({ reports, backups: new Set(), keepMs: 0, now })
      .filter(({ reasons }) => reasons.some(({ rule }) => rule === 'newest'))
      .map((decision) => decision.report.label)

  it('one that a wrong clock dated into the future - not the newest, which stays for ever', () => {
    expect(kept([report('a', '2026-11-01T00:00:00Z'), report('b', '2027-11-01T00:00:00Z')])).toEqual(['a'])
  })

  it('two of one instant - the label decides, whatever the order', () => {
    const two = [report('a', '2026-11-01T00:00:00Z'), report('b', '2026-11-01T00:00:00Z')]
    expect([kept(two), kept(two.toReversed())]).toEqual([['b'], ['b']])
  })
})

describe('partitions that are compared together', () => {
  const part = (name: string, rows: number | null, digest: string | null) => ({
    schema: 'public',
    name,
    level: 'digest' as const,
    rows,
    digest,
    condition: null,
    root: { schema: 'public', name: 'whole' },
  })

  it('their rows and digests - added up', () => {
    const both = [part('p1', 2, '10'), part('p2', 3, '-4')]
    expect(compareTables(both, [part('p1', 5, '6')])).toEqual([
      {
        schema: 'public',
        name: 'whole',
        expectedRows: 5,
        restoredRows: 5,
        expectedDigest: '6',
        restoredDigest: '6',
        compared: 'rows and digest',
        result: 'equal',
      },
    ])
  })

  it('one of them without evidence - nothing is said of the whole, in either order', () => {
    const both = [part('p1', 2, '10'), part('p2', null, null)]
    for (const expected of [both, both.toReversed()])
      expect(compareTables(expected, both)[0]).toMatchObject({
        expectedRows: null,
        expectedDigest: null,
        compared: 'nothing',
        result: 'not compared',
      })
  })

  it('on one side only - nothing was compared', () => {
    const one = [part('p', 1, '1')]
    expect(compareTables(one, [])[0]).toMatchObject({ compared: 'nothing', result: 'missing' })
    expect(compareTables([], one)[0]).toMatchObject({ compared: 'nothing', result: 'unexpected' })
  })

  it('another condition - nothing was compared', () => {
    const [one] = compareTables([part('p', 1, '1')], [{ ...part('p', 1, '1'), condition: 'WHERE true' }])
    expect(one).toMatchObject({ compared: 'nothing', result: 'not compared' })
  })
})
