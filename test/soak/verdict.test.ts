import { expect, it } from 'vitest'
import type { Rest, Stretch } from '../../bench/soak/sample.ts'
import { judgeGrowth, slopeOf } from '../../bench/soak/verdict.ts'

/** Forty minutes of ten backups each, by one daemon. */
function stretches(of: (minute: number) => Partial<Stretch>): Stretch[] {
  return Array.from({ length: 40 }, (_, index) => {
    const rss = { least: 190, middle: 200, most: 260 }
    const held = { files: 25, sockets: 6, threads: 11, children: 3, sessions: 4, spoolFiles: 9 }
    return {
      minutes: index + 1,
      cycles: 10 * (index + 1),
      daemon: 1,
      rss,
      heap: 50,
      heapSpace: 80,
      young: 20,
      external: 10,
      ...held,
      ...of(index + 1),
    }
  })
}

function rests(of: (minute: number) => Partial<Rest>): Rest[] {
  return [5, 10, 15, 20, 25, 30, 35, 40].map((minutes) => {
    const none = { children: 0, sessions: 0, heldBack: 0, advisoryLocks: 0, spoolFiles: 0 }
    const held = { files: 20, sockets: 4, threads: 11, rss: 200, keptRss: 180, keptHeap: 50 }
    return { minutes, cycles: 10 * minutes, daemon: 1, ...held, ...none, ...of(minutes) }
  })
}

const growing = (all: readonly Stretch[], still: readonly Rest[]): string[] =>
  judgeGrowth(all, still).flatMap(({ what, isFlat }) => (isFlat ? [] : [what]))

it('nothing changes but for noise - flat in all', () => {
  const noisy = stretches((minute) => ({
    rss: { least: 190, middle: 200 + (minute % 2) * 5, most: 300 },
    sockets: minute % 7,
  }))
  expect(
    growing(
      noisy,
      rests(() => ({})),
    ),
  ).toEqual([])
})

it('2 MB more with each hundred backups - whatever of memory it is', () => {
  const leaking = stretches((minute) => ({ rss: { least: 1, middle: 200 + minute / 5, most: 1 } }))
  expect(
    growing(
      leaking,
      rests(() => ({})),
    ),
  ).toEqual(['resident memory'])
  for (const [name, what] of [
    ['keptHeap', 'JS heap, at rest and collected'],
    ['keptRss', 'resident memory, at rest and collected'],
  ] as const)
    expect(
      growing(
        stretches(() => ({})),
        rests((minute) => ({ [name]: 50 + minute / 5 })),
      ),
    ).toEqual([what])
})

it('memory that grows in the first half alone, as caches fill - flat', () => {
  const filling = stretches((minute) => ({ rss: { least: 1, middle: 200 + 2 * Math.min(minute, 20), most: 1 } }))
  expect(
    growing(
      filling,
      rests(() => ({})),
    ),
  ).toEqual([])
})

it.each([
  ['a file more at each look', (minute: number) => ({ files: 20 + minute }), 'open files, at rest'],
  ['a socket more at each look', (minute: number) => ({ sockets: minute }), 'sockets, at rest'],
  ['a process that stays', () => ({ children: 1 }), 'child processes, at rest'],
  ['a session that stays', () => ({ sessions: 1 }), 'sessions on the server, at rest'],
  ['an old snapshot', (minute: number) => ({ heldBack: minute }), 'transactions held back from vacuum, at rest'],
  ['a file in the spool', () => ({ spoolFiles: 1 }), 'files in the spool, at rest'],
] as const)('%s - not flat', (_, of, what) => {
  expect(
    growing(
      stretches(() => ({})),
      rests(of),
    ),
  ).toEqual([what])
})

it('a daemon killed in the second half - only the last one is looked at', () => {
  const killed = stretches((minute) => ({
    daemon: minute < 25 ? 1 : 2,
    rss: { least: 1, middle: minute < 25 ? 900 : 200, most: 1 },
  }))
  expect(
    growing(
      killed,
      rests((minute) => ({ daemon: minute < 25 ? 1 : 2 })),
    ),
  ).toEqual([])
})

it('the slope of a line - its own', () => {
  expect(slopeOf([0, 1, 2, 3], [5, 7, 9, 11])).toBeCloseTo(2)
  expect(slopeOf([4], [5])).toBe(0)
})
