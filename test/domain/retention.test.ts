import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import {
  decideRetention,
  describeKeepReason,
  lockReason,
  type RetentionBackup,
  type RetentionPlan,
  type RetentionQuestion,
} from '../../src/domain/retention.ts'
import { answerCase, policyOf } from './retention-case.ts'

// Each file of retention/ is a case that reads like documentation; the first line is its title. With UPDATE_GOLDEN=1 what is
// kept now is written, here and into docs/retention.md; review the difference like code.
const goldenFolder = new URL('./retention/', import.meta.url)
const isUpdate = process.env['UPDATE_GOLDEN'] === '1'

const goldenCases = readdirSync(goldenFolder)
  .sort()
  .map((file) => {
    const text = readFileSync(new URL(file, goldenFolder), 'utf8')
    const end = text.indexOf('\n') + 1
    return { file, title: text.slice(2, end - 1), text: text.slice(end) }
  })

describe('golden cases', () => {
  it.each(goldenCases)('$file - $title', ({ file, title, text }) => {
    if (isUpdate) writeFileSync(new URL(file, goldenFolder), `# ${title}\n${answerCase(text)}`)
    else expect(answerCase(text)).toBe(text)
  })
})

describe('docs/retention.md', () => {
  const path = new URL('../../docs/retention.md', import.meta.url)
  const page = readFileSync(path, 'utf8')
  const blocks = [...page.matchAll(/^```retention\n(.*?)^```$/gms)].map(([, text]) => text as string)

  it('every example - is what the code answers, and is one of the golden cases', () => {
    if (isUpdate)
      writeFileSync(
        path,
        blocks.reduce((text, block) => text.replace(block, () => answerCase(block)), page),
      )
    expect(blocks.length).toBeGreaterThan(6)
    if (isUpdate) return
    const golden = new Set(goldenCases.map(({ text }) => text))
    for (const block of blocks) {
      expect(answerCase(block)).toBe(block)
      expect(golden, block).toContain(block)
    }
  })

  it('names every reason to keep a backup or a report', () => {
    const rules = [
      ...['newest', 'newest verified', 'last', 'daily', 'weekly', 'monthly', 'yearly', 'verified'],
      ...['held', 'needed', 'from the future', 'held back', 'of a backup', 'recent', 'newest passed', 'newest failed'],
    ]
    expect(rules.filter((rule) => !page.includes(`\`${rule}\``))).toEqual([])
  })
})

describe('refusals', () => {
  const now = new Date('2026-11-20T12:00:00Z')
  const ask = (changes: Partial<RetentionQuestion>): (() => RetentionPlan) => {
    const objective = { objectiveMs: null, isForced: false }
    return () =>
      decideRetention({ backups: [], policy: policyOf({ last: 3 }), now, timezone: 'UTC', ...objective, ...changes })
  }

  it('no backups - an empty plan, objective or not', () => {
    expect(ask({})()).toEqual([])
    expect(ask({ objectiveMs: 93_600_000 })()).toEqual([])
  })

  it('a policy of zeros - refused with PRUNE_REFUSED, even without backups, even forced', () => {
    for (const isForced of [false, true])
      expect(ask({ policy: policyOf({}), isForced })).toThrow(
        expect.objectContaining({ code: 'PRUNE_REFUSED', message: expect.stringContaining('keeps nothing') }),
      )
  })

  it('an empty policy, one with a negative or a broken number - refused', () => {
    expect(ask({ policy: {} as RetentionQuestion['policy'] })).toThrow(
      expect.objectContaining({ code: 'PRUNE_REFUSED' }),
    )
    for (const daily of [-1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, undefined as unknown as number])
      expect(ask({ policy: { ...policyOf({ last: 3 }), daily } })).toThrow(
        expect.objectContaining({ code: 'PRUNE_REFUSED', message: expect.stringContaining('daily') }),
      )
  })

  it('two backups of one label, a mixed list, a backup or a present without a time - refused', () => {
    const one = backupAt('2026-11-20T02:00:00Z')
    for (const backups of [
      [one, one],
      [one, { ...backupAt('2026-11-19T02:00:00Z'), kind: 'roles' as const }],
      [{ ...one, snapshotTime: new Date('never') }],
    ])
      expect(ask({ backups })).toThrow(expect.objectContaining({ code: 'PRUNE_REFUSED' }))
    expect(ask({ now: new Date('never') })).toThrow(expect.objectContaining({ code: 'PRUNE_REFUSED' }))
  })

  it('an objective that is no number or negative - refused, rather than met by everything', () => {
    for (const objectiveMs of [Number.NaN, -1])
      expect(ask({ objectiveMs })).toThrow(
        expect.objectContaining({ code: 'PRUNE_REFUSED', message: expect.stringContaining('objective') }),
      )
  })

  it('a time zone that does not exist - USAGE_INVALID, nothing decided', () => {
    expect(ask({ backups: [backupAt('2026-11-20T02:00:00Z')], timezone: 'Mars/Olympus' })).toThrow(
      expect.objectContaining({ code: 'USAGE_INVALID', message: expect.stringContaining('Mars/Olympus') }),
    )
  })
})

describe('lockReason', () => {
  const now = new Date('2026-11-20T12:00:00Z')

  it('a lock that still holds - until when, not a minute too early', () => {
    expect(lockReason(new Date('2026-12-02T02:00:00Z'), now)).toBe('locked until 2026-12-02 02:00 UTC')
    expect(lockReason(new Date('2026-12-02T02:00:01Z'), now)).toBe('locked until 2026-12-02 02:01 UTC')
  })

  it('a lock that ran out, or runs out now - no reason any more', () => {
    expect(lockReason(now, now)).toBeUndefined()
    expect(lockReason(new Date('2026-11-19T00:00:00Z'), now)).toBeUndefined()
  })
})

it('describeKeepReason - short enough for a table', () => {
  expect(describeKeepReason({ rule: 'newest', detail: null })).toBe('newest')
  expect(describeKeepReason({ rule: 'daily', detail: '2026-11-20' })).toBe('daily 2026-11-20')
  expect(describeKeepReason({ rule: 'held', detail: 'a drill is running' })).toBe('held: a drill is running')
  expect(describeKeepReason({ rule: 'held back', detail: 'newest backup is 3 d old, objective 26 h' })).toBe(
    'held back: newest backup is 3 d old, objective 26 h',
  )
})

function backupAt(time: string): RetentionBackup {
  return { label: time, snapshotTime: new Date(time), verified: false, isGood: true, kind: 'database' }
}
