import { expect, it } from 'vitest'
import { decideRetention, type RetentionQuestion } from '../../src/domain/retention.ts'
import { cpuMilliseconds } from '../support/cpu-time.ts'

it('10,000 backups in a zone with daylight saving, some of them bad - planned within 100 ms', () => {
  const backups = Array.from({ length: 10_000 }, (_, index) => ({
    label: String(index),
    snapshotTime: new Date(Date.UTC(2026, 10, 20) - index * 3_600_000),
    kind: 'database' as const,
    verified: index % 7 === 0,
    isGood: index % 11 !== 0,
  }))
  const question: RetentionQuestion = {
    backups,
    policy: { last: 3, daily: 400, weekly: 52, monthly: 12, yearly: 5, verified: 2 },
    now: new Date('2026-11-20T12:00:00Z'),
    timezone: 'Europe/Berlin',
    objectiveMs: 93_600_000,
    isForced: false,
  }
  expect(cpuMilliseconds(() => decideRetention(question))).toBeLessThan(100)
})
