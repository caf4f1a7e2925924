import { type DueTimes, dueTimesAround, scheduleIntervalSeconds } from '../domain/schedule.ts'

/** The due times of expressions around now, computed anew only when one of them has come. */
export class Timetable {
  readonly #times = new Map<string, DueTimes>()
  readonly #intervals = new Map<string, { readonly seconds: number; readonly at: number }>()

  /** Throws USAGE_INVALID. */
  around(expression: string, timezone: string, now: Date): DueTimes {
    const key = JSON.stringify([expression, timezone])
    const known = this.#times.get(key)
    if (known !== undefined && known.latest <= now && now < known.next) return known
    const times = dueTimesAround(expression, timezone, now)
    this.#times.set(key, times)
    return times
  }

  /** The longest gap between two due times, of which some are days ahead; so it need not be of this minute. */
  intervalSeconds(expression: string, timezone: string, now: Date): number {
    const key = JSON.stringify([expression, timezone])
    const known = this.#intervals.get(key)
    if (known !== undefined && Math.abs(now.getTime() - known.at) < 3_600_000) return known.seconds
    const seconds = scheduleIntervalSeconds(expression, timezone, now)
    this.#intervals.set(key, { seconds, at: now.getTime() })
    return seconds
  }
}
