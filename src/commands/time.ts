import { instantsOf } from '../domain/local-time.ts'
import { PgproofError } from '../errors.ts'

const pattern =
  /^(\d{4})-(\d{2})-(\d{2})(?:[T ](\d{2}):(\d{2})(?::(\d{2})(?:\.(\d{1,3})\d*)?)?)?(Z| ?UTC|[+-]\d{2}(?::?\d{2})?)?$/

/**
 * An instant as people write it: `2026-11-20 02:00`, `2026-11-20T02:00:00Z`, `2026-11-20 02:00+01:00`, or a day, whose
 * end is meant. Without an offset it is on the clocks of `timezone`; of the two instants that a clock shows when it is
 * put back, the first; but a day ends with the second. A second is meant to its end, since `pgproof list` shows no parts
 * of it. Throws USAGE_INVALID, also for what lies in the future.
 */
export function parseTime(text: string, timezone: string, now: Date): Date {
  const found = pattern.exec(text)
  if (found === null) throw invalid(text, 'write 2026-11-20 02:00, or 2026-11-20T02:00:00Z')
  const [, year, month, day, hour, minute, second, fraction, offset] = found
  const isDay = hour === undefined
  const wall = Date.UTC(
    Number(year),
    Number(month) - 1,
    Number(day),
    isDay ? 23 : Number(hour),
    isDay ? 59 : Number(minute),
    isDay ? 59 : Number(second ?? 0),
    Number((isDay ? '999' : (fraction ?? '0')).padEnd(3, '0')),
  )
  const written = `${year}-${month}-${day}`
  const isReal =
    Number(hour ?? 0) < 24 &&
    Number(minute ?? 0) < 60 &&
    Number(second ?? 0) < 60 &&
    new Date(wall).toISOString().startsWith(written)
  if (!isReal) throw invalid(text, 'there is no such day or time')
  const instant = offset === undefined ? instantOf(wall, timezone, isDay) : wall - offsetMs(offset)
  if (!isDay && instant > now.getTime())
    throw invalid(text, `it lies in the future; without an offset it is read as ${timezone}`)
  return new Date(second !== undefined && fraction === undefined ? instant + 999 : instant)
}

function instantOf(wall: number, timezone: string, isEnd: boolean): number {
  const { first, second } = instantsOf(wall, timezone)
  return isEnd ? (second ?? first) : first
}

function offsetMs(text: string): number {
  const [, sign, hours, minutes = '0'] = /^([+-])(\d{2}):?(\d{2})?$/.exec(text) ?? []
  if (sign === undefined) return 0
  return (sign === '-' ? -1 : 1) * (Number(hours) * 60 + Number(minutes)) * 60_000
}

function invalid(text: string, reason: string): PgproofError {
  return new PgproofError('USAGE_INVALID', { reason: `${JSON.stringify(text)} is no time: ${reason}` })
}
