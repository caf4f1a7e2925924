import { expect, it } from 'vitest'
import { runFleet } from '../../bench/fleet-run.ts'

it('ten databases on two servers, two workers, killed and stopped at random, the control database crashes - each backed up once, drilled once', async () => {
  const plan = { databases: 10, workers: 2, faultEverySeconds: 12, periods: 1, periodMinutes: 60 }
  const { backups, drills, faults, left } = await runFleet({ ...plan, drilled: 'some' })
  expect(backups).toMatchObject([{ missed: 0, once: 10, more: 0 }])
  expect(drills).toMatchObject({ missed: 0, once: 2, more: 0, failed: 0 })
  expect(faults.kills).toBeGreaterThan(0)
  expect(left).toEqual([])
}, 600_000)
