import { describe, expect, it } from 'vitest'
import { seededRandom } from '../../src/domain/random.ts'

describe('seeded random', () => {
  it('the same seed - the same numbers, for ever: drills of old reports can be repeated', () => {
    const random = seededRandom(42)
    expect([random(), random(), random()].map((number) => number.toFixed(8))).toEqual([
      '0.60110375',
      '0.44829056',
      '0.85246579',
    ])
  })

  it('seeds in sequence - first numbers spread evenly over [0, 1)', () => {
    const tenths = new Array<number>(10).fill(0)
    for (let seed = 1; seed <= 20_000; seed += 2) {
      const number = seededRandom(seed)()
      const tenth = Math.floor(number * 10)
      tenths[tenth] = (tenths[tenth] as number) + 1
    }
    for (const count of tenths) expect(Math.abs(count - 1000)).toBeLessThan(150)
  })
})
