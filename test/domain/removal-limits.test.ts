import { expect, it } from 'vitest'
import { assertRemovalShare, type RemovalQuestion } from '../../src/domain/removal-limits.ts'

const question = { store: 'offsite', total: 50, removed: 10, largestShare: 0.5, isForced: false }

const ask = (changes: Partial<RemovalQuestion>) => (): void => assertRemovalShare({ ...question, ...changes })

it('a share above the limit - PRUNE_HELD_BACK with the numbers, the store and the limit', () => {
  expect(ask({ removed: 40 })).toThrow(
    expect.objectContaining({
      code: 'PRUNE_HELD_BACK',
      message: 'prune holds back: it would remove 40 of 50 backups (80 %) in store "offsite", more than 50 %',
    }),
  )
  expect(ask({ total: 30, removed: 17, largestShare: 0.333 })).toThrow('17 of 30 backups (56.7 %)')
})

it('forced - any share', () => {
  expect(ask({ removed: 49, isForced: true })).not.toThrow()
})

it.each([
  [25, 50, 0.5],
  [29, 100, 0.29],
  [7, 100, 0.07],
  [100, 100, 1],
])('%i of %i with a limit of %f - exactly the share that may go goes', (removed, total, largestShare) => {
  expect(ask({ removed, total, largestShare })).not.toThrow()
  if (removed < total) expect(ask({ removed: removed + 1, total, largestShare })).toThrow('prune holds back')
})

it('up to five backups, however small the store - routine; the sixth asks', () => {
  for (const removed of [0, 1, 5]) expect(ask({ removed, total: 6, largestShare: 0 })).not.toThrow()
  expect(ask({ removed: 6, total: 7 })).toThrow('prune holds back')
  expect(ask({ removed: 6, total: 700, largestShare: 0 })).toThrow('more than 0 %')
})

it('numbers that are none - held back, not waved through', () => {
  for (const changes of [{ removed: Number.NaN }, { removed: 10, total: 0 }, { removed: 10, largestShare: Number.NaN }])
    expect(ask(changes)).toThrow(expect.objectContaining({ code: 'PRUNE_HELD_BACK' }))
})
