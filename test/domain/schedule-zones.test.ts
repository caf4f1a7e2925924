import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type DueTimes, dueTimesAround, isDue, nextDue, shareOf } from '../../src/domain/schedule.ts'
import { clockOf, dueTimes, schedules, walkBackward, walkForward } from './due-times.ts'

/*
 * Every IANA zone that this Node knows, over ten years. Usually a sample: of each zone one change of its clocks, of another
 * year for each zone. The whole, in which zones whose clocks show the same all the time count as one:
 *   PGPROOF_EVERY_CHANGE=1 npx vitest run --project plain test/domain/schedule-zones.test.ts
 */
const isWhole = process.env['PGPROOF_EVERY_CHANGE'] !== undefined
const zones = [...new Set([...Intl.supportedValuesOf('timeZone'), 'UTC'])]
const hourMs = 3_600_000
const dayMs = 24 * hourMs
const begin = Date.UTC(2026, 0, 1)
const end = Date.UTC(2036, 0, 1)

type Change = { readonly zone: string; readonly at: number }
type Zone = { readonly zone: string; readonly changes: readonly Change[]; readonly clocks: string }

/**
 * Where a zone's clocks change: the first hour after it. Looked for day by day, then closer. Two zones of the same
 * `clocks` show the same through all these years.
 */
function zoneNamed(zone: string): Zone {
  const shown = clockOf(zone)
  const offset = (time: number): number => shown(time) - time
  const changes: Change[] = []
  const clocks = [offset(begin)]
  let before = offset(begin)
  for (let day = begin + dayMs; day <= end; day += dayMs) {
    const after = offset(day)
    if (after === before) continue
    let at = day - dayMs
    while (offset(at) === before) at += hourMs
    changes.push({ zone, at })
    clocks.push(at, after)
    before = after
  }
  return { zone, changes, clocks: clocks.join() }
}

/** One of a zone, decided by its name: not the same year for all. An instant like any other where nothing ever changes. */
function sampleOf({ zone, changes }: Zone): readonly Change[] {
  const share = shareOf(zone)
  if (changes.length === 0) return [{ zone, at: begin + Math.floor((share * (end - begin)) / hourMs) * hourMs }]
  if (isWhole) return changes
  return changes.slice(Math.floor(share * changes.length)).slice(0, 1)
}

/** The first of those that are alike. */
function distinct<T>(all: readonly T[], key: (one: T) => string): readonly T[] {
  return [...Map.groupBy(all, key).values()].flatMap((alike) => alike.slice(0, 1))
}

const all = zones.map(zoneNamed)
/** Around one change the clocks of many zones show the same: each such change once. */
const sampled = distinct(
  all.flatMap((zone) => sampleOf(zone).map(({ at }) => ({ zone: zone.zone, at, key: `${zone.clocks} ${at}` }))),
  ({ key }) => key,
)
/** Around the hours in which clocks are changed anywhere, and dense ones. */
const expressions = ['0 0 * * *', '30 2 * * *', '15 1,3 * * *', '20 */6 * * *']

describe('every zone, ten years', () => {
  it('there are some hundred zones, and in many of them clocks change', () => {
    expect(zones.length).toBeGreaterThan(400)
    expect(all.filter(({ changes }) => changes.length >= 18).length).toBeGreaterThan(100)
  })

  it('around changes of the clocks - due exactly when the clocks on the wall say so, forward and backward', () => {
    for (const { zone, at } of sampled) {
      const from = new Date(at - 13 * hourMs)
      const to = new Date(at + 13 * hourMs)
      for (const expression of expressions) {
        const due = dueTimes(expression, zone, from, to)
        expect(walkForward(expression, zone, from, to), `${expression} ${zone}`).toEqual(due)
        expect(walkBackward(expression, zone, from, to), `${expression} ${zone}`).toEqual(due)
      }
    }
  }, 900_000)

  it('a nightly backup - once on each day of the calendar, all year, in every zone', () => {
    for (const { zone } of isWhole
      ? distinct(all, ({ clocks }) => clocks)
      : all.filter((_, index) => index % 40 === 0)) {
      const expression = `30 ${Math.floor(shareOf(zone) * 24)} * * *`
      const day = new Intl.DateTimeFormat('sv', { timeZone: zone })
      const year = 2026 + Math.floor(shareOf(`${zone}!`) * 9)
      const until = new Date(Date.UTC(year + 1, 0, 3))
      const days: string[] = []
      for (
        let time = nextDue(expression, zone, new Date(Date.UTC(year, 0, 1)));
        time < until;
        time = nextDue(expression, zone, time)
      )
        days.push(day.format(time))
      expect(new Set(days).size, `${expression} ${zone}`).toBe(days.length)
      expect(days.length, `${expression} ${zone}`).toBeGreaterThanOrEqual(366)
    }
  }, 900_000)

  it('a daemon that is asked often, seldom or not for days - each due time once, however it was missed', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...sampled),
        schedules,
        fc.record({
          mostMs: fc.integer({ min: 0, max: 6 * hourMs }),
          share: fc.double({ min: 0, max: 0.999, noNaN: true }),
        }),
        fc.array(fc.oneof(fc.integer({ min: 5, max: 600 }), fc.integer({ min: 600, max: 40 * 3600 })), {
          minLength: 1,
          maxLength: 60,
        }),
        ({ zone, at }, expression, jitter, pauses) => {
          const since = new Date(at - 24 * hourMs)
          const due = dueTimes(expression, zone, since, new Date(at + 60 * hourMs)).map((time) => Date.parse(time))
          const startOf = (dueTime: number, index: number): number => {
            const room = Math.min(jitter.mostMs, (due[index + 1] ?? Number.POSITIVE_INFINITY) - dueTime)
            return dueTime + Math.floor((room * jitter.share) / 1000) * 1000
          }
          let now = since
          let lastStart: Date | null = null
          let times: DueTimes | undefined
          for (const seconds of pauses) {
            now = new Date(now.getTime() + seconds * 1000)
            // Beyond it lie due times that were not counted.
            if (now.getTime() > at + 30 * hourMs) return
            const open = due.filter(
              (time, index) => startOf(time, index) <= now.getTime() && time > (lastStart ?? since).getTime(),
            )
            if (times === undefined || now >= times.next) times = dueTimesAround(expression, zone, now)
            const answer = isDue({ times, now, lastStart, since, jitter })
            expect(answer.due).toBe(open.length > 0)
            if (!answer.due) {
              expect(answer.startsAt.getTime()).toBeGreaterThan(now.getTime())
              continue
            }
            expect(answer.dueTime.getTime()).toBe(open.at(-1))
            lastStart = now
            expect(isDue({ times, now, lastStart, since, jitter }).due).toBe(false)
          }
        },
      ),
      { numRuns: isWhole ? 20_000 : 120 },
    )
  }, 900_000)
})

describe('jitter', () => {
  const at = (text: string): Date => new Date(text)
  const question = (now: string, lastStart: string | null, mostMs = 20 * 60_000) => ({
    times: dueTimesAround('0 2 * * *', 'UTC', at(now)),
    now: at(now),
    lastStart: lastStart === null ? null : at(lastStart),
    since: at('2026-11-01T12:00Z'),
    jitter: { mostMs, share: 0.5 },
  })

  it('between the due time and the start - not due yet, and the start is named', () => {
    expect(isDue(question('2026-11-20T02:09:59Z', '2026-11-19T02:10:00Z'))).toEqual({
      due: false,
      dueTime: at('2026-11-20T02:00Z'),
      startsAt: at('2026-11-20T02:10Z'),
    })
    expect(isDue(question('2026-11-20T02:10:00Z', '2026-11-19T02:10:00Z')).due).toBe(true)
  })

  it('started by hand in between - that is the one of this night', () => {
    expect(isDue(question('2026-11-20T02:30:00Z', '2026-11-20T02:03:00Z'))).toEqual({
      due: false,
      dueTime: at('2026-11-21T02:00Z'),
      startsAt: at('2026-11-21T02:10Z'),
    })
  })

  it('the night before was missed - at once, and that one run is enough', () => {
    expect(isDue(question('2026-11-20T02:05:00Z', '2026-11-18T02:10:00Z')).due).toBe(true)
    expect(isDue(question('2026-11-20T02:15:00Z', '2026-11-20T02:05:00Z')).due).toBe(false)
  })

  it('more than there is time for - still before the next due time', () => {
    const { startsAt } = isDue(question('2026-11-20T01:00:00Z', '2026-11-19T02:10:00Z', 100 * dayMs))
    expect(startsAt).toEqual(at('2026-11-20T14:00Z'))
  })

  it('a start that lies ahead because the clock was put back - stands for its due time', () => {
    expect(isDue(question('2026-11-20T02:10:00Z', '2026-11-20T03:40:00Z')).due).toBe(false)
  })

  it('names that differ little - shares spread evenly from 0 to 1, always the same', () => {
    const shares = Array.from({ length: 1000 }, (_, index) => shareOf(`["main","app${index}","backup"]`))
    const tenths = Array.from({ length: 10 }, (_, tenth) => shares.filter((share) => Math.floor(share * 10) === tenth))
    for (const { length } of tenths) expect(length).toBeGreaterThan(60)
    expect(shareOf('["main","app","backup"]')).toBe(shareOf('["main","app","backup"]'))
  })
})
