import { PgproofError } from '../errors.ts'

const dayMs = 86_400_000

/**
 * What the clocks of an IANA time zone show at an instant (in ms since 1970), as the instant at which UTC shows the
 * same. Throws `USAGE_INVALID` for a zone that does not exist.
 */
export function wallClock(instant: number, timezone: string): number {
  if (timezone === 'UTC') return instant
  // en-US with two-digit parts always reads `11/20/2026, 02:00:00`.
  const text = formatterOf(timezone).format(instant)
  const part = (from: number, to: number): number => Number(text.slice(from, to))
  const shown = Date.UTC(part(6, 10), part(0, 2) - 1, part(3, 5), part(12, 14), part(15, 17), part(18, 20))
  return shown + (instant - Math.floor(instant / 1000) * 1000)
}

/** How far the zone's clocks are ahead of UTC at an instant, in milliseconds. */
export function offsetAt(instant: number, timezone: string): number {
  return wallClock(instant, timezone) - instant
}

/**
 * When the zone's clocks show `wall`: once, or twice where they were put back. Where they were put forward over
 * `wall`, `first` is the instant at which that happened: the first one after the gap.
 */
export function instantsOf(wall: number, timezone: string): { readonly first: number; readonly second: number | null } {
  // A day to either side is on the far side of any one change, whatever the zone's offset.
  const before = wall - offsetAt(wall - dayMs, timezone)
  const after = wall - offsetAt(wall + dayMs, timezone)
  const isBefore = wallClock(before, timezone) === wall
  const isAfter = wallClock(after, timezone) === wall
  if (isBefore && isAfter && before < after) return { first: before, second: after }
  if (isBefore) return { first: before, second: null }
  if (isAfter) return { first: after, second: null }
  return { first: endOfGap(wall, after, before, timezone), second: null }
}

/** The first instant in (from, to] whose wall clock is past `wall`; changes happen on whole seconds. */
function endOfGap(wall: number, from: number, to: number, timezone: string): number {
  let low = Math.floor(from / 1000)
  let high = Math.ceil(to / 1000)
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2)
    if (wallClock(middle * 1000, timezone) > wall) high = middle
    else low = middle
  }
  return high * 1000
}

// Making a formatter takes some hundred times as long as using it.
const formatters = new Map<string, Intl.DateTimeFormat>()

function formatterOf(timezone: string): Intl.DateTimeFormat {
  const known = formatters.get(timezone)
  if (known !== undefined) return known
  try {
    const formatter = new Intl.DateTimeFormat('en-US', {
      timeZone: timezone,
      hourCycle: 'h23',
      year: 'numeric',
      month: '2-digit',
      day: '2-digit',
      hour: '2-digit',
      minute: '2-digit',
      second: '2-digit',
    })
    formatters.set(timezone, formatter)
    return formatter
  } catch (error) {
    throw new PgproofError('USAGE_INVALID', { reason: `there is no time zone "${timezone}"` }, { cause: error })
  }
}
