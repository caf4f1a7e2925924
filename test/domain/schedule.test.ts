import { execFileSync } from 'node:child_process'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  assertSchedule,
  type DueAnswer,
  type DueQuestion,
  dueTimesAround,
  isDue,
  nextDue,
  previousDue,
  scheduleIntervalSeconds,
  shareOf,
} from '../../src/domain/schedule.ts'
import { changesOf, dueTimes, schedules, walkBackward, walkForward } from './due-times.ts'

const at = (text: string): Date => new Date(text)
const hourMs = 3_600_000

/** Zones with every kind of change; Lord Howe moves by half an hour, Havana skips midnight. */
const zones = [
  'UTC',
  'Europe/Berlin',
  'America/New_York',
  'Australia/Lord_Howe',
  'America/Havana',
  'Asia/Kathmandu',
  'America/St_Johns',
  'Pacific/Chatham',
  'Africa/Casablanca',
  'Asia/Beirut',
]

/** Whether a job of this schedule is due. */
function ask({
  expression,
  timezone,
  ...question
}: Omit<DueQuestion, 'times'> & { expression: string; timezone: string }): DueAnswer {
  return isDue({ ...question, times: dueTimesAround(expression, timezone, question.now) })
}

describe('around changes of the clocks', () => {
  it('a time in the gap - due once, right after the gap', () => {
    // Berlin: 02:00 becomes 03:00 on 29 March 2026 at 01:00 UTC.
    expect(walkForward('30 2 * * *', 'Europe/Berlin', at('2026-03-28T00:00Z'), at('2026-03-31T00:00Z'))).toEqual([
      '2026-03-28T01:30:00.000Z',
      '2026-03-29T01:00:00.000Z',
      '2026-03-30T00:30:00.000Z',
    ])
  })

  it('a gap at midnight (Havana) - due right after it, on the same day', () => {
    expect(walkForward('0 0 * * *', 'America/Havana', at('2026-03-07T00:00Z'), at('2026-03-10T00:00Z'))).toEqual([
      '2026-03-07T05:00:00.000Z',
      '2026-03-08T05:00:00.000Z',
      '2026-03-09T04:00:00.000Z',
    ])
  })

  it('a gap of half an hour (Lord Howe) - due right after it', () => {
    expect(walkForward('15 2 * * *', 'Australia/Lord_Howe', at('2026-10-02T14:00Z'), at('2026-10-04T20:00Z'))).toEqual([
      '2026-10-02T15:45:00.000Z',
      '2026-10-03T15:30:00.000Z',
      '2026-10-04T15:15:00.000Z',
    ])
  })

  it('a time that comes twice - due the first time only', () => {
    // New York: 02:00 becomes 01:00 on 1 November 2026 at 06:00 UTC.
    expect(walkForward('30 1 * * *', 'America/New_York', at('2026-10-31T00:00Z'), at('2026-11-03T00:00Z'))).toEqual([
      '2026-10-31T05:30:00.000Z',
      '2026-11-01T05:30:00.000Z',
      '2026-11-02T06:30:00.000Z',
    ])
  })

  it('every hour - due in the repeated hour too, so that there is no hole of two hours', () => {
    expect(walkForward('0 * * * *', 'America/New_York', at('2026-11-01T04:00Z'), at('2026-11-01T09:00Z'))).toEqual([
      '2026-11-01T04:00:00.000Z',
      '2026-11-01T05:00:00.000Z',
      '2026-11-01T06:00:00.000Z',
      '2026-11-01T07:00:00.000Z',
      '2026-11-01T08:00:00.000Z',
    ])
  })

  it('several times in one gap - due once', () => {
    expect(walkForward('*/10 2 * * *', 'Europe/Berlin', at('2026-03-29T00:00Z'), at('2026-03-29T12:00Z'))).toEqual([
      '2026-03-29T01:00:00.000Z',
    ])
  })

  it('forward and backward, in every zone, around every change of several years - exactly the due times', () => {
    const changes = zones.flatMap((zone) =>
      [2007, 2026, 2027].flatMap((year) => changesOf(zone, year).map((time) => ({ zone, time }))),
    )
    fc.assert(
      fc.property(
        fc.constantFrom(...changes),
        schedules,
        fc.integer({ min: -180, max: 180 }),
        ({ zone, time }, expression, shiftMinutes) => {
          const middle = time + shiftMinutes * 60_000
          const from = new Date(middle - 30 * hourMs)
          const to = new Date(middle + 30 * hourMs)
          const due = dueTimes(expression, zone, from, to)
          expect(walkForward(expression, zone, from, to)).toEqual(due)
          expect(walkBackward(expression, zone, from, to)).toEqual(due)
        },
      ),
      { numRuns: 150 },
    )
  }, 120_000)

  it('asked at any instant around a change, the due time itself and between both passes too - next and previous', () => {
    const expressions = ['30 1 * * *', '30 2 * * *', '0 0 * * *', '0 * * * *', '15 * * * *', '*/20 * * * *']
    expressions.push('10,40 1,2,3 * * *', '0 */2 * * *')
    const changes = ['Europe/Berlin', 'America/New_York', 'Australia/Lord_Howe', 'America/Havana'].flatMap((zone) =>
      changesOf(zone, 2026).map((time) => ({ zone, time })),
    )
    expect(changes).toHaveLength(8)
    const wrong: string[] = []
    for (const { zone, time } of changes)
      for (const expression of expressions) {
        const [from, to] = [new Date(time - 40 * hourMs), new Date(time + 40 * hourMs)]
        const due = dueTimes(expression, zone, from, to).map(Date.parse)
        for (let shift = -5 * hourMs; shift <= 5 * hourMs; shift += 600_000)
          for (const now of [time + shift - 1, time + shift, time + shift + 1]) {
            const [previous, next] = [due.findLast((one) => one <= now), due.find((one) => one > now)]
            const asked = `${expression} ${zone} ${new Date(now).toISOString()}`
            if (previousDue(expression, zone, new Date(now)).getTime() !== previous) wrong.push(`before ${asked}`)
            if (nextDue(expression, zone, new Date(now)).getTime() !== next) wrong.push(`after ${asked}`)
          }
      }
    expect(wrong).toEqual([])
  })

  it('a daily expression, in every zone, over two years - exactly once on each local day', () => {
    for (const zone of zones) {
      for (const expression of ['0 0 * * *', '30 2 * * *', '59 1 * * *']) {
        const day = new Intl.DateTimeFormat('sv', { timeZone: zone })
        const due = walkForward(expression, zone, at('2026-01-01T12:00Z'), at('2028-01-01T12:00Z'))
        const days = due.map((time) => day.format(new Date(time)))
        expect(new Set(days).size, `${expression} ${zone}`).toBe(days.length)
        expect(days.length, `${expression} ${zone}`).toBe(730)
      }
    }
  }, 120_000)
})

describe('next and previous', () => {
  it('strictly after, and at or before', () => {
    expect(nextDue('0 2 * * *', 'UTC', at('2026-11-20T02:00:00Z'))).toEqual(at('2026-11-21T02:00:00Z'))
    expect(nextDue('0 2 * * *', 'UTC', at('2026-11-20T01:59:59.999Z'))).toEqual(at('2026-11-20T02:00:00Z'))
    expect(previousDue('0 2 * * *', 'UTC', at('2026-11-20T02:00:00Z'))).toEqual(at('2026-11-20T02:00:00Z'))
    expect(previousDue('0 2 * * *', 'UTC', at('2026-11-20T02:00:00.001Z'))).toEqual(at('2026-11-20T02:00:00Z'))
    expect(previousDue('0 2 * * *', 'UTC', at('2026-11-20T01:59:59.999Z'))).toEqual(at('2026-11-19T02:00:00Z'))
  })

  it('weekly, monthly and leap days, and `@daily`', () => {
    expect(nextDue('0 3 * * 0', 'UTC', at('2026-11-20T12:00Z'))).toEqual(at('2026-11-22T03:00:00Z'))
    expect(nextDue('0 3 1 * *', 'Asia/Kathmandu', at('2026-11-20T12:00Z'))).toEqual(at('2026-11-30T21:15:00Z'))
    expect(nextDue('0 3 29 2 *', 'UTC', at('2026-11-20T12:00Z'))).toEqual(at('2028-02-29T03:00:00Z'))
    expect(nextDue('@daily', 'UTC', at('2026-11-20T12:00Z'))).toEqual(at('2026-11-21T00:00:00Z'))
  })

  it('a machine whose own clocks are in another zone - the same due times', () => {
    const script = `import { nextDue } from './src/domain/schedule.ts'
      console.log(nextDue('30 2 * * *', 'Europe/Berlin', new Date('2026-03-28T12:00Z')).toISOString())`
    for (const TZ of ['UTC', 'America/New_York', 'Europe/Berlin'])
      expect(
        execFileSync(process.execPath, ['--input-type=module', '-e', script], { env: { TZ }, encoding: 'utf8' }),
      ).toBe('2026-03-29T01:00:00.000Z\n')
  })

  it('previous and next enclose any instant', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...zones),
        schedules,
        fc.date({ min: at('2000-01-01T00:00Z'), max: at('2037-01-01T00:00Z'), noInvalidDate: true }),
        (zone, expression, now) => {
          const before = previousDue(expression, zone, now)
          const after = nextDue(expression, zone, now)
          expect(before.getTime()).toBeLessThanOrEqual(now.getTime())
          expect(after.getTime()).toBeGreaterThan(now.getTime())
          expect(nextDue(expression, zone, before)).toEqual(after)
          expect(previousDue(expression, zone, new Date(after.getTime() - 1))).toEqual(before)
        },
      ),
      { numRuns: 1000 },
    )
  }, 120_000)

  it('an expression or zone that makes no sense - USAGE_INVALID with the reason', () => {
    for (const [expression, reason] of [
      ['', 'a schedule has five fields: minute, hour, day of month, month, day of week'],
      ['0 2 * *', 'a schedule has five fields'],
      ['  0  2  * * ', 'a schedule has five fields'],
      ['0 25 * * *', 'Constraint error, got value 25 expected range 0-23'],
      ['0 2 30 2 *', 'Invalid explicit day of month definition'],
      ['H 2 * * *', '`H` is not supported'],
      ['0 2 1H * *', '`H` is not supported'],
      ['0 2 H/7 * THU', '`H` is not supported'],
      ['0 2 * JANH *', '`H` is not supported'],
      ['nightly at two', 'a schedule has five fields'],
      ['@sometimes', 'Validation error'],
      ['0 2 * * MON#1.5', 'it is never due (Invalid expression, loop limit exceeded)'],
    ] as const)
      expect(() => assertSchedule(expression, 'UTC'), expression).toThrow(
        expect.objectContaining({
          code: 'USAGE_INVALID',
          message: expect.stringContaining(`schedule "${expression}": ${reason}`),
        }),
      )
    expect(() => assertSchedule('0 2 * * *', 'Mars/Olympus')).toThrow(
      expect.objectContaining({ code: 'USAGE_INVALID' }),
    )
    for (const expression of ['0 2 * * *', '30 1 * * MON-THU', '0 2 * * thu', '0 0 2 * * *', '@weekly', ' @hourly'])
      assertSchedule(expression, 'Europe/Berlin')
    expect(nextDue('\t0   2 * * * ', 'UTC', at('2026-11-20T12:00Z'))).toEqual(at('2026-11-21T02:00:00Z'))
  })
})

describe('due', () => {
  const nightly = { expression: '0 2 * * *', timezone: 'UTC', since: at('2026-11-01T12:00Z') }

  it('a due time since the last start - due, and the time is named', () => {
    expect(ask({ ...nightly, now: at('2026-11-20T02:00:01Z'), lastStart: at('2026-11-19T02:00:01Z') })).toMatchObject({
      due: true,
      dueTime: at('2026-11-20T02:00:00Z'),
    })
  })

  it('started for it already - not due until the next', () => {
    expect(ask({ ...nightly, now: at('2026-11-20T09:00Z'), lastStart: at('2026-11-20T02:00:00Z') })).toMatchObject({
      due: false,
      dueTime: at('2026-11-21T02:00:00Z'),
    })
  })

  it('a backup by hand shortly before - does not stand for the night', () => {
    expect(ask({ ...nightly, now: at('2026-11-20T02:00Z'), lastStart: at('2026-11-20T01:59:59Z') }).due).toBe(true)
  })

  it('down for a week - due once, for the latest time', () => {
    const now = at('2026-11-20T11:00Z')
    expect(ask({ ...nightly, now, lastStart: at('2026-11-13T02:00:01Z') })).toMatchObject({
      due: true,
      dueTime: at('2026-11-20T02:00:00Z'),
    })
    expect(ask({ ...nightly, now: at('2026-11-20T11:05Z'), lastStart: now }).due).toBe(false)
  })

  it('never backed up - due at once if a due time has passed since it was first seen, else at its next', () => {
    const since = at('2026-11-20T01:00Z')
    expect(ask({ ...nightly, since, now: at('2026-11-20T01:30Z'), lastStart: null })).toMatchObject({
      due: false,
      dueTime: at('2026-11-20T02:00:00Z'),
    })
    expect(ask({ ...nightly, since, now: at('2026-11-20T05:00Z'), lastStart: null }).due).toBe(true)
  })

  it('whenever it is asked, at whatever intervals - each due time runs at most once, and none is lost for good', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...zones),
        schedules,
        fc.date({ min: at('2026-01-01T00:00Z'), max: at('2027-12-01T00:00Z'), noInvalidDate: true }),
        fc.array(fc.integer({ min: 1, max: 30 * 3600 }), { minLength: 1, maxLength: 40 }),
        (timezone, expression, since, pauses) => {
          let now = since
          let lastStart: Date | null = null
          for (const seconds of pauses) {
            const before = now
            now = new Date(now.getTime() + seconds * 1000)
            const passed = walkForward(
              expression,
              timezone,
              new Date(before.getTime() + 1),
              new Date(now.getTime() + 1),
            )
            const answer = ask({ expression, timezone, now, lastStart, since })
            expect(answer.due).toBe(passed.length > 0)
            if (!answer.due) continue
            expect(answer.dueTime.toISOString()).toBe(passed.at(-1))
            lastStart = now
            expect(ask({ expression, timezone, now, lastStart, since }).due).toBe(false)
          }
        },
      ),
      { numRuns: 40 },
    )
  }, 120_000)
})

describe('with a jitter', () => {
  const hour = { mostMs: hourMs, share: 0.5 }
  const nightly = { expression: '0 2 * * *', timezone: 'UTC', since: at('2026-11-01T12:00Z'), jitter: hour }

  it('before its start - not due yet; from then on - due', () => {
    const lastStart = at('2026-11-19T02:30Z')
    const tonight = { dueTime: at('2026-11-20T02:00Z'), startsAt: at('2026-11-20T02:30Z') }
    expect(ask({ ...nightly, now: at('2026-11-20T02:29:59.999Z'), lastStart })).toEqual({ due: false, ...tonight })
    expect(ask({ ...nightly, now: at('2026-11-20T02:30Z'), lastStart })).toEqual({ due: true, ...tonight })
  })

  it('missed the night before - due at once, for that one; and what then runs stands for both', () => {
    const now = at('2026-11-20T02:10Z')
    expect(ask({ ...nightly, now, lastStart: at('2026-11-18T02:30Z') })).toEqual({
      due: true,
      dueTime: at('2026-11-19T02:00Z'),
      startsAt: at('2026-11-19T02:30Z'),
    })
    const tomorrow = { due: false, dueTime: at('2026-11-21T02:00Z'), startsAt: at('2026-11-21T02:30Z') }
    expect(ask({ ...nightly, now, lastStart: now })).toEqual(tomorrow)
    expect(ask({ ...nightly, now: at('2026-11-20T02:30Z'), lastStart: now })).toEqual(tomorrow)
  })

  it('due times nearer to each other than the jitter - each starts before the next, on a whole second', () => {
    const often = { ...nightly, expression: '*/10 * * * *', jitter: { mostMs: hourMs, share: 0.999 } }
    const { startsAt } = ask({ ...often, now: at('2026-11-20T02:05Z'), lastStart: at('2026-11-20T02:00Z') })
    expect(startsAt).toEqual(at('2026-11-20T02:19:59Z'))
    const before = ask({ ...often, now: at('2026-11-20T02:05Z'), lastStart: at('2026-11-20T01:45Z') })
    expect(before).toEqual({ due: true, dueTime: at('2026-11-20T01:50Z'), startsAt: at('2026-11-20T01:59:59Z') })
  })

  it('the clock put back behind the last start - that start stands for its due time', () => {
    const { jitter: _, ...atOnce } = nightly
    const answer = ask({ ...atOnce, now: at('2026-11-20T02:00:01Z'), lastStart: at('2026-11-20T02:00:05Z') })
    const next = at('2026-11-21T02:00Z')
    expect(answer).toEqual({ due: false, dueTime: next, startsAt: next })
  })

  it('the share of a text - the same in every process and version, so that workers agree and a restart moves nothing', () => {
    expect(['', 'main/app', 'main/app1', 'main/app2', 'größe'].map(shareOf)).toEqual([
      0.6689221884589642, 0.6418864312581718, 0.41943805129267275, 0.9007721045054495, 0.803248836658895,
    ])
  })

  it('the shares of many names - spread evenly, also of those that differ in the last character only', () => {
    const tenths = Array.from({ length: 10 }, () => 0)
    for (let index = 0; index < 10_000; index += 1) {
      const share = shareOf(`main/tenant_${String(index).padStart(5, '0')}`)
      expect(share).toBeGreaterThanOrEqual(0)
      tenths[Math.floor(share * 10)] = (tenths[Math.floor(share * 10)] ?? 0) + 1
    }
    for (const count of tenths) expect(Math.abs(count - 1000)).toBeLessThan(150)
  })
})

describe('longest interval', () => {
  const now = at('2026-11-20T12:00Z')
  it.each([
    ['0 2 * * *', 86_400],
    ['0 * * * *', 3600],
    ['*/5 9-17 * * 1-5', (24 * 2 + 15) * 3600 + 300],
    ['*/5 0-10,13-23 * * *', 2 * 3600 + 300],
    ['0 3 * * 0', 7 * 86_400],
    ['0 3 1 * *', 31 * 86_400],
    ['0 2,3 * * *', 23 * 3600],
    ['30 2 * * *', 86_400],
  ])('%s - %d seconds', (expression, seconds) => {
    expect(scheduleIntervalSeconds(expression, 'UTC', now)).toBe(seconds)
  })

  it('a long one that begins within eight days - counts; one that begins later - does not', () => {
    // The last of a month's are at 23:30 on the 27th.
    const seconds = (from: string) => scheduleIntervalSeconds('*/30 * 1-27 * *', 'UTC', at(from))
    expect(seconds('2026-11-20T00:31Z')).toBe(72.5 * 3600)
    expect(seconds('2026-11-19T23:31Z')).toBe(1800)
  })

  it('rare due times - the next five intervals count, and not the sixth', () => {
    // From 1 May to 1 July are 61 days, from then to 1 January 184.
    expect(scheduleIntervalSeconds('0 0 1 1,2,3,4,5,7 *', 'UTC', at('2026-01-10T00:00Z'))).toBe(61 * 86_400)
    expect(scheduleIntervalSeconds('0 0 1 1,2,3,4,5,7 *', 'UTC', at('2026-02-10T00:00Z'))).toBe(184 * 86_400)
  })

  it('the night on which clocks are put back - an hour more', () => {
    expect(scheduleIntervalSeconds('0 2 * * *', 'Europe/Berlin', at('2026-10-24T12:00Z'))).toBe(25 * 3600)
  })
})
