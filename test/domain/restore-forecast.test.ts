import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { forecastRestoreSeconds, type PastRestore } from '../../src/domain/restore-forecast.ts'

function drill(
  day: number,
  dumpBytes: number,
  seconds: number | null,
  verdict: PastRestore['verdict'] = 'passed',
): PastRestore {
  return { finishedAt: new Date(Date.UTC(2026, 0, day)), verdict, dumpBytes, restoreTimeSeconds: seconds }
}

describe('forecast of the restore time', () => {
  it('grows with the dump', () => {
    const drills = [drill(1, 1e9, 100), drill(2, 1.1e9, 110)]
    expect(forecastRestoreSeconds(drills, 2e9)).toBeCloseTo(200)
  })

  it('four that differ - the median of the six slopes, and of what is left over at that rate', () => {
    const drills = [drill(4, 1e9, 30), drill(3, 2e9, 50), drill(2, 4e9, 60), drill(1, 8e9, 120)]
    // Slopes per 1e9 bytes: 5, 10, 35/3, 90/7, 15, 20.
    const rate = (35 / 3 + 90 / 7) / 2
    const fixed = (30 - rate + 120 - 8 * rate) / 2
    expect(forecastRestoreSeconds(drills, 16e9)).toBeCloseTo(fixed + 16 * rate)
  })

  it('one drill on a busy machine - does not move it', () => {
    const drills = [drill(1, 1e9, 100), drill(2, 1e9, 101), drill(3, 1e9, 5000)]
    expect(forecastRestoreSeconds(drills, 1e9)).toBeCloseTo(101)
  })

  it('no drill that passed - null, not a guess', () => {
    expect(forecastRestoreSeconds([], 1e9)).toBeNull()
    const others = [drill(1, 1e9, 100, 'failed'), drill(2, 1e9, 100, 'inconclusive'), drill(3, 1e9, null)]
    expect(forecastRestoreSeconds(others, 1e9)).toBeNull()
  })

  it('only the newest ten count, in whatever order they come', () => {
    const slowOnes = Array.from({ length: 20 }, (_, index) => drill(index + 1, 1e9, 900))
    const newest = Array.from({ length: 10 }, (_, index) => drill(index + 40, 1e9, 90))
    expect(forecastRestoreSeconds([...newest, ...slowOnes], 1e9)).toBeCloseTo(90)
    expect(forecastRestoreSeconds([...slowOnes, ...newest], 1e9)).toBeCloseTo(90)
  })

  it('empty dumps - no rate; the seconds themselves where there is nothing else', () => {
    expect(forecastRestoreSeconds([drill(1, 0, 4), drill(2, 0, 6)], 1e9)).toBe(5)
    expect(forecastRestoreSeconds([drill(1, 0, 4), drill(2, 1e9, 60)], 2e9)).toBeCloseTo(4 + 2 * 56)
  })

  it('sizes within a quarter of the larger one - the difference is noise; further apart it tells the fixed part', () => {
    expect(forecastRestoreSeconds([drill(1, 0.75e9, 60), drill(2, 1e9, 100)], 1e9)).toBeCloseTo(90)
    expect(forecastRestoreSeconds([drill(1, 0.76e9, 60), drill(2, 1e9, 84)], 2e9)).toBeCloseTo(
      2e9 * ((60 / 0.76e9 + 84 / 1e9) / 2),
    )
    expect(forecastRestoreSeconds([drill(1, 0.7e9, 60), drill(2, 1e9, 84)], 2e9)).toBeCloseTo(4 + 2 * 80)
  })

  it('tiny drills that only show how long the server takes to start - do not make a large restore look endless', () => {
    const tiny = [drill(1, 3e6, 1.2), drill(2, 3e6, 1.1), drill(3, 3.1e6, 1.15)]
    expect(forecastRestoreSeconds([...tiny, drill(4, 5.5e8, 11.4)], 5.5e8)).toBeCloseTo(11.4, 0)
  })

  it('drills of empty dumps alone, slower or faster each time - as long as they took, whatever there is now', () => {
    expect(forecastRestoreSeconds([drill(1, 0, 4), drill(2, 0, 5), drill(3, 0, 6)], 1e9)).toBe(5)
    expect(forecastRestoreSeconds([drill(1, 0, 6), drill(2, 0, 5), drill(3, 0, 4)], 1e9)).toBe(5)
    expect(forecastRestoreSeconds([drill(1, 0, 6), drill(2, 0, 4), drill(3, 0, 5)], 1e9)).toBe(5)
    expect(forecastRestoreSeconds([drill(1, 0, 4), drill(2, 0, 6), drill(3, 0, 5), drill(4, 0, 20)], 1e9)).toBe(5.5)
  })

  it('any drills - never negative, never not a number, never less for a larger dump', () => {
    const drills = fc.array(
      fc.record({
        day: fc.integer({ min: 1, max: 365 }),
        bytes: fc.integer({ min: 0, max: 1e12 }),
        seconds: fc.integer({ min: 0, max: 1e6 }),
      }),
      { minLength: 1, maxLength: 12 },
    )
    const sizes = fc.integer({ min: 0, max: 1e13 })
    fc.assert(
      fc.property(drills, sizes, sizes, (past, one, other) => {
        const forecast = (bytes: number): number =>
          forecastRestoreSeconds(
            past.map(({ day, bytes: size, seconds }) => drill(day, size, seconds)),
            bytes,
          ) as number
        expect(forecast(Math.min(one, other))).toBeGreaterThanOrEqual(0)
        expect(forecast(Math.max(one, other))).toBeGreaterThanOrEqual(forecast(Math.min(one, other)) - 1e-6)
      }),
    )
  })
})
