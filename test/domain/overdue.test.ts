import { describe, expect, it } from 'vitest'
import { isOverdue } from '../../src/domain/overdue.ts'

const now = new Date('2026-11-20T12:00:00Z')
const hoursAgo = (hours: number): Date => new Date(now.getTime() - hours * 3_600_000)

describe('whether a backup that is due every hour is overdue', () => {
  it.each([
    ['finished an hour and a half ago', 1.5, 1.6, false],
    ['finished longer ago', 1.51, 1.6, true],
    ['just finished, of a state of two hours ago', 0.1, 2, false],
    ['just finished, of an older state', 0.1, 2.01, true],
    ['never made', null, null, false],
    ['just finished, but not whole, and the last whole one is old', 0.1, 5, true],
  ])('%s', (_, finished, state, answer) => {
    const finishedAt = finished === null ? null : hoursAgo(finished)
    const recoveryPoint = state === null ? null : hoursAgo(state)
    expect(isOverdue({ intervalSeconds: 3600, finishedAt, recoveryPoint, now })).toBe(answer)
  })

  it('nothing is scheduled - never', () => {
    const old = hoursAgo(9000)
    expect(isOverdue({ intervalSeconds: null, finishedAt: old, recoveryPoint: old, now })).toBe(false)
  })
})
