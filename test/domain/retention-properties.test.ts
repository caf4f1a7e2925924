import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  decideRetention,
  type RetentionDecision,
  type RetentionPlan,
  type RetentionQuestion,
} from '../../src/domain/retention.ts'
import { histories } from './retention-histories.ts'
import { brokenInvariants, type Decide, invariants } from './retention-invariants.ts'

/** `PGPROOF_RETENTION_RUNS=200000` for the long form: two minutes of one processor. */
const numRuns = Number(process.env['PGPROOF_RETENTION_RUNS'] ?? 20_000)

describe(`${numRuns.toLocaleString('en')} generated histories`, () => {
  it(`every one - all ${Object.keys(invariants).length} invariants hold`, { timeout: 60_000 + 10 * numRuns }, () => {
    const isUnbroken = fc.property(histories, (history) => {
      const broken = brokenInvariants(history, decideRetention)
      if (broken.length > 0) throw new Error(broken.join('\n'))
    })
    fc.assert(isUnbroken, { numRuns })
  })
})

// Each is a mistake that somebody could make, and what notices it.
const mistakes: readonly (readonly [what: string, decide: Decide, noticed: string])[] = [
  ['the newest goes if no tier keeps it', without(onlyFor('newest')), 'the newest, the newest good'],
  ['the newest verified goes if no tier keeps it', without(onlyFor('newest verified')), 'the newest good verified'],
  ['one verified fewer', (question) => decideRetention(oneLess(question, 'verified')), 'the newest good verified'],
  ['locks are not asked', (question) => decideRetention({ ...question, held: new Map() }), 'held ones'],
  ['what is from the future goes', without(onlyFor('from the future')), 'held ones'],
  ['force is taken as given', (question) => decideRetention({ ...question, isForced: true }), 'nothing goes while'],
  ['there is no objective', (question) => decideRetention({ ...question, objectiveMs: null }), 'nothing goes while'],
  ['bad ones are as recent as good ones', staleByAll, 'nothing goes while'],
  ['bad ones count as good', asIfAllGood, 'good ones are decided as if'],
  ['bad ones go at once', without(({ isGood }) => !isGood), 'good ones are decided as if'],
  ['a monthly one goes once there are few', fewMonthly, 'what was kept is all kept'],
  ['more is kept on some days than on others', moreOnEvenMinutes, 'pruned now and later'],
  ['a newer backup costs a rule its number', onlyUntilTheEighth, 'a newer backup that no drill'],
  ['a label decides', lucky, 'the order of the input and the spelling'],
  ['the first in the list counts as the newest', firstIsNewest, 'the order of the input and the spelling'],
  ['days are those of UTC', (question) => decideRetention({ ...question, timezone: 'UTC' }), 'each tier keeps'],
  ['a weekly one fewer', (question) => decideRetention(oneLess(question, 'weekly')), 'each tier keeps'],
  ['one is not decided', (question) => decideRetention(question).slice(1), 'each backup is decided once'],
  ['roles go though needed', (question) => decideRetention({ ...question, needed: undefined }), 'roles backups that'],
]

describe('mistakes', () => {
  const sample = fc.sample(histories, { numRuns: 1500, seed: 20_261_120 })

  it.each(mistakes)('%s - noticed', (_what, decide, noticed) => {
    const isNoticed = sample.some((history) =>
      brokenInvariants(history, decide).some((fault) => fault.startsWith(noticed)),
    )
    expect(isNoticed).toBe(true)
  })

  it('every invariant notices one', () => {
    const unused = Object.keys(invariants).filter(
      (title) => !mistakes.some(([, , noticed]) => title.startsWith(noticed)),
    )
    expect(unused).toEqual([])
  })
})

function without(isDropped: (decision: RetentionDecision) => boolean): Decide {
  return (question) => decideRetention(question).map((one) => (isDropped(one) ? removed(one) : one))
}

function removed(decision: RetentionDecision): RetentionDecision {
  return { ...decision, keep: false, reasons: [] }
}

function onlyFor(rule: string): (decision: RetentionDecision) => boolean {
  return ({ reasons }) => reasons.length === 1 && reasons[0]?.rule === rule
}

function oneLess(question: RetentionQuestion, rule: 'verified' | 'weekly'): RetentionQuestion {
  const policy = { ...question.policy, [rule]: Math.max(0, question.policy[rule] - 1) }
  return { ...question, policy: policy.last > 0 ? policy : { ...policy, yearly: Math.max(1, policy.yearly) } }
}

function asIfAllGood(question: RetentionQuestion): RetentionPlan {
  const isGood = new Map(question.backups.map((one) => [one.label, one.isGood]))
  const backups = question.backups.map((one) => ({ ...one, isGood: true }))
  return decideRetention({ ...question, backups }).map((one) => ({ ...one, isGood: isGood.get(one.label) ?? true }))
}

function staleByAll(question: RetentionQuestion): RetentionPlan {
  const isHeldBack = asIfAllGood(question).some(({ reasons }) => reasons.some(({ rule }) => rule === 'held back'))
  return decideRetention({ ...question, isForced: !isHeldBack })
}

function fewMonthly(question: RetentionQuestion): RetentionPlan {
  return question.backups.length > 10 ? decideRetention(question) : without(onlyFor('monthly'))(question)
}

function moreOnEvenMinutes(question: RetentionQuestion): RetentionPlan {
  const more = question.now.getTime() % 120_000 === 0 ? 3 : 0
  return decideRetention({ ...question, policy: { ...question.policy, last: question.policy.last + more } })
}

function onlyUntilTheEighth(question: RetentionQuestion): RetentionPlan {
  const policy = { ...question.policy, last: 1, daily: 0, weekly: 0 }
  return decideRetention(question.backups.length < 8 ? question : { ...question, policy })
}

function lucky(question: RetentionQuestion): RetentionPlan {
  return without(({ label, reasons }) => label.endsWith('7') && reasons.length === 1)(question)
}

function firstIsNewest(question: RetentionQuestion): RetentionPlan {
  const [first] = question.backups
  return decideRetention(question).map((one) =>
    one.keep || one.label !== first?.label ? one : { ...one, keep: true, reasons: [{ rule: 'newest', detail: null }] },
  )
}
