import { assert as assertProperty, constantFrom, integer, property, string } from 'fast-check'
import { describe, expect, it } from 'vitest'
import { formatDuration, formatSize, parseDuration, parseSize } from '../../src/config/units.ts'

describe('durations', () => {
  it.each([
    ['30s', 30_000],
    ['15m', 900_000],
    ['26h', 93_600_000],
    ['14d', 1_209_600_000],
    ['2w', 1_209_600_000],
    ['0s', 0],
  ])('%s - %i ms', (text, durationMs) => {
    expect(parseDuration(text)).toBe(durationMs)
  })

  it.each(['', '30', '30 s', '1.5h', '-1h', '1h30m', '1H', '1y', '1ms', '99999999w', `${'9'.repeat(400)}s`])(
    '%j - no duration',
    (text) => {
      expect(parseDuration(text)).toBeUndefined()
    },
  )

  it('any whole number of seconds - formatted and parsed gives the same', () => {
    assertProperty(
      property(integer({ min: 0, max: 3_155_760_000 }), constantFrom(1, 60, 3600, 86_400), (count, unit) => {
        const durationMs = (count % Math.floor(3_155_760_000 / unit)) * unit * 1000
        expect(parseDuration(formatDuration(durationMs))).toBe(durationMs)
      }),
    )
  })
})

describe('sizes', () => {
  it.each([
    ['8MiB', 8_388_608],
    ['500MB', 500_000_000],
    ['1 GiB', 1_073_741_824],
    ['12B', 12],
    ['2kB', 2000],
  ])('%s - %i bytes', (text, bytes) => {
    expect(parseSize(text)).toBe(bytes)
  })

  it.each(['', '8', '8M', '8mib', '-8MiB', '0.5GB', '99999TiB', 'MiB'])('%j - no size', (text) => {
    expect(parseSize(text)).toBeUndefined()
  })

  it('8388608 and 500000000 bytes - written with the unit that makes them short', () => {
    expect([formatSize(8_388_608), formatSize(500_000_000), formatSize(1234), formatSize(0)]).toEqual([
      '8MiB',
      '500MB',
      '1234B',
      '0B',
    ])
  })

  it('any number of bytes - formatted and parsed gives the same', () => {
    assertProperty(
      property(integer({ min: 0, max: 2 ** 40 }), constantFrom(1, 1000, 1024, 2 ** 20), (count, unit) => {
        const bytes = Math.min(count * unit, Number.MAX_SAFE_INTEGER)
        expect(parseSize(formatSize(bytes))).toBe(bytes)
      }),
    )
  })
})

it('any text - neither parser throws', () => {
  assertProperty(
    property(string(), (text) => {
      const isNumberOrNothing = (value: unknown): boolean => value === undefined || Number.isSafeInteger(value)
      expect([parseDuration(text), parseSize(text)].every(isNumberOrNothing)).toBe(true)
    }),
  )
})
