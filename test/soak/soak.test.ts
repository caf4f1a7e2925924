import { expect, it } from 'vitest'
import { openSoakPlace } from '../../bench/soak/place.ts'
import { judgeWhole } from '../../bench/soak/report.ts'
import { runSoak } from '../../bench/soak/run.ts'

// The reduced form of `bench/soak.ts`: too short to see memory grow, long enough to see something left behind.
it('a daemon at work for a minute, faults in between - no backup lost, all verified, nothing left at rest or at the end', {
  timeout: 600_000,
}, async () => {
  await using place = await openSoakPlace(2)
  const result = await runSoak(place, {
    seconds: 40,
    least: { 'backup succeeded': 5, 'drill succeeded': 1 },
    stretchSeconds: 8,
    restEverySeconds: 20,
    faultEverySeconds: 2,
    outageSeconds: [3],
    orderEverySeconds: 1,
    kills: [0.3],
    say: () => {},
  })
  // First what says the most.
  expect([...result.untrueMetrics, ...result.leftovers, ...result.backups.troubles]).toEqual([])
  expect(judgeWhole(result).filter(({ isFlat }) => !isFlat)).toEqual([])
  expect(result.faults.get('pgproof killed')).toBe(1)
  expect(result.faults.size).toBeGreaterThan(3)
  expect(result.changes).toBeGreaterThan(0)
  expect(result.rests.length).toBeGreaterThan(0)
  for (const { keptHeap, keptRss } of result.rests) {
    expect(keptHeap).toBeGreaterThan(10)
    expect(keptRss).toBeGreaterThan(keptHeap)
  }
  for (const { children, sessions, advisoryLocks, heldBack, spoolFiles } of result.rests)
    expect({ children, sessions, advisoryLocks, heldBack, spoolFiles }).toEqual({
      ...{ children: 0, sessions: 0, advisoryLocks: 0, heldBack: 0, spoolFiles: 0 },
    })
})
