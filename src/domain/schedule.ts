import { type CronExpression, CronExpressionParser } from 'cron-parser'
import { PgproofError, reasonOf } from '../errors.ts'
import { instantsOf, offsetAt, wallClock } from './local-time.ts'

/*
 * Which times are due: cron-parser finds the times on the wall clock, this file says when the clocks show them.
 * - A time in a gap (clocks put forward) is due right after the gap, once with whatever else is due there.
 * - A time that comes twice (clocks put back) is due the first time only. Expressions that name every hour are the
 *   exception: they mean "each hour", so they are due both times and leave no hole of two hours.
 */

const hourMs = 3_600_000
/** Longer than any overlap that a zone's clocks have had since 1970. */
const overlapMs = 3 * hourMs

/** Throws `USAGE_INVALID` unless the expression has five or six fields (or is `@daily` etc.) and can ever be due. */
export function assertSchedule(expression: string, timezone: string): void {
  nextDue(expression, timezone, new Date(0))
}

/** The first due time after `after`. Throws `USAGE_INVALID` for an expression or time zone that makes no sense. */
export function nextDue(expression: string, timezone: string, after: Date): Date {
  const cron = parse(expression)
  const bound = after.getTime()
  const isHourly = namesEveryHour(cron)
  const overlapAhead = offsetAt(bound + overlapMs, timezone) < offsetAt(bound, timezone)
  cron.reset(new Date(wallClock(bound, timezone) - (isHourly && overlapAhead ? overlapMs : 0)))
  let repeated = Number.POSITIVE_INFINITY
  for (;;) {
    const { first, second } = instantsOf(
      step(expression, () => cron.next()),
      timezone,
    )
    if (isHourly && second !== null && second > bound) repeated = Math.min(repeated, second)
    if (first > bound) return new Date(Math.min(first, repeated))
  }
}

/** The last due time that is not after `atOrBefore`. Throws like `nextDue`. */
export function previousDue(expression: string, timezone: string, atOrBefore: Date): Date {
  const cron = parse(expression)
  const bound = atOrBefore.getTime()
  const isHourly = namesEveryHour(cron)
  const overlapBehind = offsetAt(bound, timezone) < offsetAt(bound - overlapMs, timezone)
  cron.reset(new Date(wallClock(bound, timezone) + 1 + (overlapBehind ? overlapMs : 0)))
  let latestFirst = Number.NEGATIVE_INFINITY
  for (;;) {
    const { first, second } = instantsOf(
      step(expression, () => cron.prev()),
      timezone,
    )
    if (first > bound) continue
    latestFirst = Math.max(latestFirst, first)
    if (!isHourly || second === null) return new Date(latestFirst)
    if (second <= bound) return new Date(second)
  }
}

/** The due times around an instant. */
export type DueTimes = {
  readonly before: Date
  /** The last one that is not after it. */
  readonly latest: Date
  readonly next: Date
  readonly afterNext: Date
}

/** Throws like `nextDue`. They stay the same until `next`. */
export function dueTimesAround(expression: string, timezone: string, now: Date): DueTimes {
  const latest = previousDue(expression, timezone, now)
  const next = nextDue(expression, timezone, now)
  const before = previousDue(expression, timezone, new Date(latest.getTime() - 1))
  return { before, latest, next, afterNext: nextDue(expression, timezone, next) }
}

export type DueQuestion = {
  readonly times: DueTimes
  readonly now: Date
  /**
   * When the job last started before `times.next`, whatever came of it. A start belongs to the due time before it; so one
   * that lies after `now`, because the clock was put back, stands for its due time all the same.
   */
  readonly lastStart: Date | null
  /** When the job was first seen in the configuration; counts only if it has never started. */
  readonly since: Date
  /** A run starts after its due time by this share (0 to 1) of `mostMs`, and always before the next one. Default: at once. */
  readonly jitter?: { readonly mostMs: number; readonly share: number } | undefined
}

export type DueAnswer = {
  readonly due: boolean
  /** As the expression says. */
  readonly dueTime: Date
  /** With the jitter. */
  readonly startsAt: Date
}

/**
 * Due exactly if a due time whose start has come lies after the last start; however many were missed, the job is due once.
 * `dueTime` is the latest of them, or else the next one that is not done.
 */
export function isDue({ times, now, lastStart, since, jitter }: DueQuestion): DueAnswer {
  const { before, latest, next, afterNext } = times
  const isOpen = (dueTime: Date): boolean => dueTime > (lastStart ?? since)
  const latestStarts = startAfter(latest, next, jitter)
  if (now >= latestStarts) {
    if (isOpen(latest)) return { due: true, dueTime: latest, startsAt: latestStarts }
    return { due: false, dueTime: next, startsAt: startAfter(next, afterNext, jitter) }
  }
  // Missed earlier; what runs now stands for the latest, too.
  if (isOpen(before)) return { due: true, dueTime: before, startsAt: startAfter(before, latest, jitter) }
  if (isOpen(latest)) return { due: false, dueTime: latest, startsAt: latestStarts }
  return { due: false, dueTime: next, startsAt: startAfter(next, afterNext, jitter) }
}

/** By whole seconds. */
function startAfter(dueTime: Date, next: Date, jitter: DueQuestion['jitter']): Date {
  if (jitter === undefined) return dueTime
  const room = Math.min(jitter.mostMs, next.getTime() - dueTime.getTime())
  return new Date(dueTime.getTime() + Math.floor((room * jitter.share) / 1000) * 1000)
}

/** A number from 0 to 1 (never 1) that a text decides: the same in every process, and evenly spread over many texts. */
export function shareOf(text: string): number {
  // FNV-1a, stirred once more: names that differ in their last character only must not end up side by side.
  let hash = 0x811c9dc5
  for (const byte of Buffer.from(text)) hash = Math.imul(hash ^ byte, 0x01000193)
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return ((hash ^ (hash >>> 16)) >>> 0) / 2 ** 32
}

/**
 * The longest time between two consecutive due times, in seconds, among those of the next eight days and at least the
 * next five: what an alert on a missed run must allow for.
 */
export function scheduleIntervalSeconds(expression: string, timezone: string, now: Date): number {
  const horizon = now.getTime() + 8 * 24 * hourMs
  let from = previousDue(expression, timezone, now).getTime()
  let cursor = now.getTime()
  let longest = 0
  for (let gaps = 0; gaps < 5 || cursor < horizon; gaps += 1) {
    const to = nextDue(expression, timezone, new Date(cursor)).getTime()
    longest = Math.max(longest, to - from)
    // By the hour where due times are dense: no gap longer than an hour is stepped over.
    cursor = Math.max(to, cursor + hourMs)
    from = cursor === to ? to : previousDue(expression, timezone, new Date(cursor)).getTime()
  }
  return longest / 1000
}

function namesEveryHour(cron: CronExpression): boolean {
  return cron.fields.hour.values.length === 24
}

// Parsing takes longer than everything else. Whoever is given one resets it before use, and is done before anybody else.
const parsed = new Map<string, CronExpression>()

function parse(expression: string): CronExpression {
  const known = parsed.get(expression)
  if (known !== undefined) return known
  const trimmed = expression.trim()
  // cron-parser fills up missing fields from the left and draws a new random number for `H` at each parse.
  if (trimmed.split(/\s+/).length < 5 && !trimmed.startsWith('@'))
    throw wrong(expression, 'a schedule has five fields: minute, hour, day of month, month, day of week')
  // It does so within a word, too: `1H` would be another day from 10 to 19 each time.
  if (trimmed.replaceAll(/thu/gi, '').includes('H')) throw wrong(expression, '`H` is not supported')
  try {
    const cron = CronExpressionParser.parse(trimmed, { tz: 'UTC' })
    parsed.set(expression, cron)
    return cron
  } catch (error) {
    throw wrong(expression, reasonOf(error))
  }
}

function step(expression: string, move: () => { getTime(): number }): number {
  try {
    return move().getTime()
  } catch (error) {
    throw wrong(expression, `it is never due (${reasonOf(error)})`)
  }
}

function wrong(expression: string, reason: string): PgproofError {
  return new PgproofError('USAGE_INVALID', { reason: `schedule "${expression}": ${reason}` })
}
