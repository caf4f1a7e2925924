import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { instantsOf, offsetAt, wallClock } from '../../src/domain/local-time.ts'

const utc = (text: string): number => Date.parse(`${text}Z`)
const zones = [
  'UTC',
  'Europe/Berlin',
  'Australia/Lord_Howe',
  'America/Havana',
  'Asia/Kathmandu',
  'America/St_Johns',
  'Pacific/Apia',
]

describe('local time', () => {
  it('what the clocks show, to the millisecond', () => {
    expect(wallClock(utc('2026-11-20T01:00:00.250'), 'Europe/Berlin')).toBe(utc('2026-11-20T02:00:00.250'))
    expect(offsetAt(utc('2026-07-01T00:00:00'), 'Asia/Kathmandu')).toBe(5.75 * 3_600_000)
  })

  it('a time that comes once, twice, or never', () => {
    const berlin = (text: string) => instantsOf(utc(text), 'Europe/Berlin')
    expect(berlin('2026-11-20T02:00:00')).toEqual({ first: utc('2026-11-20T01:00:00'), second: null })
    expect(berlin('2026-10-25T02:30:00')).toEqual({
      first: utc('2026-10-25T00:30:00'),
      second: utc('2026-10-25T01:30:00'),
    })
    expect(berlin('2026-03-29T02:30:00')).toEqual({ first: utc('2026-03-29T01:00:00'), second: null })
  })

  it('a day that a zone skipped (Apia, 30 December 2011) - the instant after it', () => {
    expect(instantsOf(utc('2011-12-30T12:00:00'), 'Pacific/Apia')).toEqual({
      first: utc('2011-12-30T10:00:00'),
      second: null,
    })
  })

  it('any instant of any zone - is one of those at which the clocks show what they show', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...zones),
        fc.integer({ min: utc('1975-01-01T00:00:00'), max: utc('2037-12-31T00:00:00') }),
        (zone, instant) => {
          const { first, second } = instantsOf(wallClock(instant, zone), zone)
          expect([first, second]).toContain(instant)
          if (second !== null) expect(second).toBeGreaterThan(first)
        },
      ),
      { numRuns: 5000 },
    )
  })

  it('an unknown zone - USAGE_INVALID that names it', () => {
    expect(() => wallClock(0, 'Mars/Olympus')).toThrow(
      expect.objectContaining({
        code: 'USAGE_INVALID',
        message: 'there is no time zone "Mars/Olympus"',
        cause: expect.any(RangeError),
      }),
    )
  })
})
