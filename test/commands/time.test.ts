import { expect, it } from 'vitest'
import { parseTime } from '../../src/commands/time.ts'
import { PgproofError } from '../../src/errors.ts'

const now = new Date('2026-11-21T08:00:00.000Z')
const read = (text: string, timezone = 'UTC'): string => parseTime(text, timezone, now).toISOString()

it.each([
  ['a minute', '2026-11-20 02:00', 'UTC', '2026-11-20T02:00:00.000Z'],
  [
    'as `pgproof list` writes it, to the end of that second',
    '2026-11-20 02:00:07 UTC',
    'UTC',
    '2026-11-20T02:00:07.999Z',
  ],
  ['with parts of a second, exactly', '2026-11-20T02:00:07.25Z', 'UTC', '2026-11-20T02:00:07.250Z'],
  ['the current second', '2026-11-21T08:00:00Z', 'UTC', '2026-11-21T08:00:00.999Z'],
  ['with an offset', '2026-11-20 02:00+0130', 'UTC', '2026-11-20T00:30:00.000Z'],
  ['on the clocks of the time zone', '2026-11-20 02:00', 'Europe/Berlin', '2026-11-20T01:00:00.000Z'],
  ['a time that the clocks show twice: the first', '2026-10-25 02:30', 'Europe/Berlin', '2026-10-25T00:30:00.000Z'],
  [
    'a time that the clocks never show: the first one after',
    '2026-03-29 02:30',
    'Europe/Berlin',
    '2026-03-29T01:00:00.000Z',
  ],
  ['a day, to its end', '2026-11-19', 'UTC', '2026-11-19T23:59:59.999Z'],
  ['today', '2026-11-21', 'UTC', '2026-11-21T23:59:59.999Z'],
  [
    'a day whose last hour comes twice, to its second end',
    '2026-04-04',
    'America/Santiago',
    '2026-04-05T03:59:59.999Z',
  ],
])('%s', (_, text, timezone, instant) => {
  expect(read(text, timezone)).toBe(instant)
})

it.each(['2026-11-21 08:01', '2026-02-30', '2026-11-20 24:00', '2026-11-20 2:00', 'yesterday', ''])(
  '"%s" - USAGE_INVALID',
  (text) => {
    expect(() => read(text)).toThrow(PgproofError)
  },
)
