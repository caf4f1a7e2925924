import fc from 'fast-check'
import { nextDue, previousDue } from '../../src/domain/schedule.ts'

/** Due times by what the clocks on the wall show, minute by minute, for comparison with how they are computed. */

const hourMs = 3_600_000
const dayMs = 24 * hourMs

/** The due times in [from, to), by their definition and minute by minute. */
export function dueTimes(expression: string, zone: string, from: Date, to: Date): string[] {
  const shown = clockOf(zone)
  const [minutes = [], hours = []] = expression.split(' ').map((field, index) => valuesOf(field, index === 0 ? 60 : 24))
  const isDueAt = (clock: number): boolean =>
    minutes.includes(new Date(clock).getUTCMinutes()) && hours.includes(new Date(clock).getUTCHours())
  const due: string[] = []
  // From a day before, so that times that come a second time are known as such.
  const begin = from.getTime() - dayMs
  const seen = new Set<number>()
  let expected = shown(begin)
  for (let time = begin; time < to.getTime(); time += 60_000) {
    const clock = shown(time)
    let isDueNow = isDueAt(clock) && (!seen.has(clock) || hours.length === 24)
    for (let skipped = expected; skipped < clock; skipped += 60_000) isDueNow ||= isDueAt(skipped)
    if (isDueNow && time >= from.getTime()) due.push(new Date(time).toISOString())
    seen.add(clock)
    expected = clock + 60_000
  }
  return due
}

/**
 * What the clocks of a zone show at an instant, as the instant at which UTC shows the same. Asking Intl is slow, and no
 * zone changes its clocks there and back within hours: where both ends of six hours have one offset, so has all between.
 */
export function clockOf(zone: string): (time: number) => number {
  const known = clocks.get(zone)
  if (known !== undefined) return known
  const format = new Intl.DateTimeFormat('sv', { timeZone: zone, dateStyle: 'short', timeStyle: 'medium' })
  const exact = (time: number): number => Date.parse(`${format.format(time).replace(' ', 'T')}Z`)
  const offsets = new Map<number, number | null>()
  const offsetIn = (begin: number): number | null => {
    const [first, last] = [begin, begin + blockMs - 1000].map((time) => exact(time) - time)
    return first !== undefined && first === last ? first : null
  }
  const clock = (time: number): number => {
    const begin = Math.floor(time / blockMs) * blockMs
    let offset = offsets.get(begin)
    if (offset === undefined) {
      offset = offsetIn(begin)
      offsets.set(begin, offset)
    }
    return offset === null ? exact(time) : time + offset
  }
  clocks.set(zone, clock)
  return clock
}

const blockMs = 6 * hourMs
const clocks = new Map<string, (time: number) => number>()

function valuesOf(field: string, size: number): number[] {
  const all = Array.from({ length: size }, (_, value) => value)
  if (field === '*') return all
  if (field.startsWith('*/')) return all.filter((value) => value % Number(field.slice(2)) === 0)
  return field.split(',').map(Number)
}

/** The instants around which a zone's clocks change in a year. */
export function changesOf(zone: string, year: number): number[] {
  const shown = clockOf(zone)
  const offset = (time: number): number => shown(time) - time
  const start = Date.UTC(year, 0, 1)
  return Array.from({ length: 366 * 24 }, (_, hour) => start + hour * hourMs).filter(
    (time) => offset(time) !== offset(time - hourMs),
  )
}

export function walkForward(expression: string, zone: string, from: Date, to: Date): string[] {
  const due: string[] = []
  for (
    let time = nextDue(expression, zone, new Date(from.getTime() - 1));
    time < to;
    time = nextDue(expression, zone, time)
  )
    due.push(time.toISOString())
  return due
}

export function walkBackward(expression: string, zone: string, from: Date, to: Date): string[] {
  const due: string[] = []
  let time = previousDue(expression, zone, new Date(to.getTime() - 1))
  for (; time >= from; time = previousDue(expression, zone, new Date(time.getTime() - 1)))
    due.unshift(time.toISOString())
  return due
}

/** Daily ones, those of the hours in which clocks change, and dense ones. */
export const schedules = fc.oneof(
  fc
    .tuple(fc.integer({ min: 0, max: 59 }), fc.integer({ min: 0, max: 23 }))
    .map(([minute, hour]) => `${minute} ${hour} * * *`),
  fc
    .tuple(fc.integer({ min: 0, max: 59 }), fc.integer({ min: 0, max: 4 }))
    .map(([minute, hour]) => `${minute} ${hour} * * *`),
  fc.constantFrom(
    '0 * * * *',
    '15 * * * *',
    '45 * * * *',
    '*/15 * * * *',
    '10,40 1,2,3 * * *',
    '0 */2 * * *',
    '30 0,12 * * *',
  ),
)
