import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type PickCandidate, pickBackup, seedAfter, verifiedWithin } from '../../src/domain/pick-backup.ts'

const day = (number: number): Date => new Date(Date.UTC(2026, 0, 1) + number * 86_400_000)

function candidate(label: string, taken: number, drilled: number | null = null, verified = drilled): PickCandidate {
  return {
    label,
    snapshotTime: day(taken),
    lastDrilledAt: drilled === null ? null : day(drilled),
    verifiedAt: verified === null ? null : day(verified),
  }
}

describe('which one', () => {
  const candidates = [candidate('old', 1, 20), candidate('older', 0, 15), candidate('middle', 10), candidate('new', 30)]

  it('latest - the newest, whatever the seed', () => {
    for (let seed = 0; seed < 10; seed += 1)
      expect(pickBackup({ candidates, rule: 'latest', seed })).toEqual({ label: 'new', reason: 'newest backup' })
  })

  it('random with an even seed - the one that waited longest for a drill since it was taken or drilled', () => {
    for (const seed of [0, 2, 4_294_967_294])
      expect(pickBackup({ candidates, rule: 'random', seed })).toEqual({
        label: 'middle',
        reason: 'longest without a drill (none since it was taken, 2026-01-11T00:00:00.000Z)',
      })
    const drilled = [candidate('old', 1, 20), candidate('older', 0, 15)]
    expect(pickBackup({ candidates: drilled, rule: 'random', seed: 0 })).toEqual({
      label: 'older',
      reason: 'longest without a drill (last drilled 2026-01-16T00:00:00.000Z)',
    })
  })

  it('two of the same instant, in whatever order they come - the first by its label', () => {
    const [a, b] = [candidate('a', 5), candidate('b', 5)]
    for (const rule of ['latest', 'random'] as const)
      for (const pair of [
        [a, b],
        [b, a],
      ])
        expect(pickBackup({ candidates: pair, rule, seed: 0 }).label).toBe('a')
  })

  it('a drill that failed or was inconclusive - counts as a turn, so that one bad backup does not hold up the rest', () => {
    const failed = candidate('middle', 10, 40, null)
    const { label } = pickBackup({
      candidates: [candidates[0], failed, candidates[3]] as PickCandidate[],
      rule: 'random',
      seed: 0,
    })
    expect(label).toBe('old')
  })

  it('random within 20 days - draws leave out what is older, turns do not', () => {
    const withinMs = 20 * 86_400_000
    const drawn = new Set<string>()
    for (let seed = 1; seed < 200; seed += 2)
      drawn.add(pickBackup({ candidates, rule: 'random', seed, withinMs }).label)
    expect([...drawn].sort()).toEqual(['middle', 'new'])
    const old = [candidate('old', 1), candidate('new', 40)]
    expect(pickBackup({ candidates: old, rule: 'random', seed: 0, withinMs }).label).toBe('old')
  })

  it('random with an odd seed - drawn, and says with which seed, of how many, and whether it was verified before', () => {
    const one = (drilled: number | null) =>
      pickBackup({ candidates: [candidate('one', 1, drilled)], rule: 'random', seed: 7 }).reason
    expect(one(null)).toBe('drawn with seed 7 (1 of 1, never verified)')
    expect(one(20)).toBe('drawn with seed 7 (1 of 1, verified before)')
    expect(pickBackup({ candidates, rule: 'random', seed: 9 }).reason).toMatch(/^drawn with seed 9 \(1 of 4, /)
  })

  it('the same seed and candidates in another order - the same backup', () => {
    fc.assert(
      fc.property(fc.shuffledSubarray(candidates, { minLength: 4 }), fc.nat(), (shuffled, seed) => {
        expect(pickBackup({ candidates: shuffled, rule: 'random', seed })).toEqual(
          pickBackup({ candidates, rule: 'random', seed }),
        )
      }),
    )
  })

  it('drawn many times - each is drawn, never-verified ones and long-unverified ones more often', () => {
    const counts = new Map<string, number>()
    for (let seed = 1; seed < 20_000; seed += 2) {
      const { label } = pickBackup({ candidates, rule: 'random', seed })
      counts.set(label, (counts.get(label) ?? 0) + 1)
    }
    // Weights by rank of the time unverified: new 1×4, old 2, older 3, middle 4×4.
    for (const [label, weight] of Object.entries({ new: 4, old: 2, older: 3, middle: 16 }))
      expect((counts.get(label) ?? 0) / 10_000).toBeCloseTo(weight / 25, 1)
  })

  it('no candidates - NO_BACKUP', () => {
    expect(() => pickBackup({ candidates: [], rule: 'random', seed: 1 })).toThrow(
      expect.objectContaining({
        code: 'NO_BACKUP',
        message: 'there is no backup of this database in the store yet',
      }),
    )
  })
})

describe('coverage', () => {
  it('a new backup arrives with every drill and old ones are pruned - each is drilled within the bound', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 20 }),
        fc.option(fc.nat({ max: 0xffff_ffff })),
        fc.infiniteStream(fc.record({ verdict: fc.integer({ min: 0, max: 3 }), pruned: fc.nat() })),
        fc.array(fc.integer({ min: 0, max: 1000 })),
        (retained, seedBefore, course, earlier) => {
          let seed = seedAfter(seedBefore)
          let retainedNow: PickCandidate[] = earlier
            .slice(0, retained)
            .map((taken, index) => candidate(`b${index}`, taken, null))
          const waited = new Map<string, number>()
          for (let drill = 0; drill < 6 * retained + 10; drill += 1) {
            const now = 2000 + drill
            if (retainedNow.length < retained) retainedNow.push(candidate(`n${drill}`, now))
            const { label } = pickBackup({ candidates: retainedNow, rule: 'random', seed, withinMs: 10 * 86_400_000 })
            seed = seedAfter(seed)
            const { verdict, pruned } = course.next().value as { verdict: number; pruned: number }
            retainedNow = retainedNow.map((one) => {
              if (one.label !== label) return one
              const drilled = day(now + 0.5)
              return { ...one, lastDrilledAt: drilled, verifiedAt: verdict === 0 ? one.verifiedAt : drilled }
            })
            for (const one of retainedNow)
              waited.set(one.label, one.label === label ? 0 : (waited.get(one.label) ?? 0) + 1)
            for (const one of retainedNow) expect(waited.get(one.label)).toBeLessThan(verifiedWithin(retained))
            if (retainedNow.length === retained && pruned % 3 > 0) retainedNow.splice(pruned % retained, 1)
          }
        },
      ),
      { numRuns: 200 },
    )
  })

  it('without the even turns nothing would be promised - an odd seed alone can pass over a backup beyond the bound', () => {
    const candidates = Array.from({ length: 20 }, (_, index) => candidate(`b${index}`, index))
    const drawn = new Set<string>()
    for (let drill = 0; drill < verifiedWithin(20); drill += 1)
      drawn.add(pickBackup({ candidates, rule: 'random', seed: 2 * drill + 1 }).label)
    expect(drawn.size).toBeLessThan(20)
  })

  it('seeds - start at 0, follow each other, and begin again at the end', () => {
    expect([seedAfter(null), seedAfter(0), seedAfter(41), seedAfter(0xffff_ffff)]).toEqual([0, 1, 42, 0])
  })
})
