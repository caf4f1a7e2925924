import { expect, it } from 'vitest'
import { scheduleIntervalSeconds } from '../../src/domain/schedule.ts'

it('longest interval of a schedule of every minute - answered within 200 ms', () => {
  const now = new Date('2026-11-20T12:00Z')
  // The best of three: the machine may be busy with something else.
  const times = [1, 2, 3].map(() => {
    const start = performance.now()
    scheduleIntervalSeconds('* * * * *', 'Europe/Berlin', now)
    return performance.now() - start
  })
  expect(Math.min(...times)).toBeLessThan(200)
})
