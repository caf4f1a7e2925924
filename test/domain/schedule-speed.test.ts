import { expect, it } from 'vitest'
import { scheduleIntervalSeconds } from '../../src/domain/schedule.ts'
import { cpuMilliseconds } from '../support/cpu-time.ts'

it('longest interval of a schedule of every minute - answered within 200 ms', () => {
  const now = new Date('2026-11-20T12:00Z')
  const work = () => scheduleIntervalSeconds('* * * * *', 'Europe/Berlin', now)
  expect(cpuMilliseconds(work)).toBeLessThan(200)
})
