import { describe, expect, it } from 'vitest'
import { simulate } from './simulation.ts'

describe('a simulated fleet with faults', () => {
  it.each([1, 2, 3])('60 databases, 8 workers, three days (seed %i) - none missed, none twice', async (seed) => {
    const plan = { servers: 6, databasesEach: 10, workers: 8, places: 2, days: 3, stepMinutes: 3, seed }
    const { due, missed, twice, most, faults } = await simulate(plan)
    expect({ missed, twice }).toEqual({ missed: [], twice: [] })
    expect(due).toBe(120)
    expect(most.ofServer).toBeLessThanOrEqual(6)
    expect(Object.values(faults).every((count) => count > 0)).toBe(true)
  })
})
