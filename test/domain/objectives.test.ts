import { describe, expect, it } from 'vitest'
import { judgeObjectives, type ObjectivesQuestion } from '../../src/domain/objectives.ts'

const question: ObjectivesQuestion = {
  rpoSeconds: 26 * 3600,
  rtoSeconds: 1800,
  recoveryPoint: new Date('2026-11-19T12:00:00Z'),
  restoreTimeSeconds: 1200,
  forecastSeconds: 1900,
  now: new Date('2026-11-20T12:00:00Z'),
}

describe('objectives', () => {
  it('measured within them - met, and the forecast warns before a restore is too slow', () => {
    expect(judgeObjectives(question)).toEqual({
      recoveryPoint: { objectiveSeconds: 93_600, measuredSeconds: 86_400, status: 'met' },
      restoreTime: { objectiveSeconds: 1800, measuredSeconds: 1200, status: 'met' },
      forecast: { objectiveSeconds: 1800, measuredSeconds: 1900, status: 'missed' },
    })
  })

  it('exactly the objective - met, a second more - missed', () => {
    const now = (seconds: number): Date => new Date(Date.UTC(2026, 10, 19, 12) + seconds * 1000)
    expect(judgeObjectives({ ...question, now: now(93_600) }).recoveryPoint.status).toBe('met')
    expect(judgeObjectives({ ...question, now: now(93_601) }).recoveryPoint.status).toBe('missed')
  })

  it('no backup at all - the RPO is missed; no drill - the RTO is unmeasured, not met', () => {
    const answer = judgeObjectives({
      ...question,
      recoveryPoint: null,
      restoreTimeSeconds: null,
      forecastSeconds: null,
    })
    expect(answer.recoveryPoint).toEqual({ objectiveSeconds: 93_600, measuredSeconds: null, status: 'missed' })
    expect([answer.restoreTime.status, answer.forecast.status]).toEqual(['unmeasured', 'unmeasured'])
  })

  it('nothing promised - no objective, with what was measured', () => {
    const answer = judgeObjectives({ ...question, rpoSeconds: null, rtoSeconds: null })
    expect(answer.recoveryPoint).toEqual({ objectiveSeconds: null, measuredSeconds: 86_400, status: 'no objective' })
    expect(answer.restoreTime.status).toBe('no objective')
  })

  it('a server whose clock is ahead - age 0, not negative', () => {
    const recoveryPoint = new Date('2026-11-20T12:00:05Z')
    expect(judgeObjectives({ ...question, recoveryPoint }).recoveryPoint.measuredSeconds).toBe(0)
  })
})
