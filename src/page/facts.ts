import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import type { Catalog, CatalogBackup } from '../catalog/catalog.ts'
import { labelTime } from '../domain/backup-label.ts'
import type { DrillReport } from '../domain/drill-report.ts'
import { instantsOf, wallClock } from '../domain/local-time.ts'
import type { Pause } from '../domain/pause.ts'
import type { HttpParts } from '../http/http-parts.ts'

/** What the page shows besides the status: days, restore times and pauses. */
export type PageFacts = {
  /** IANA; its days are those of the calendar. */
  readonly timezone: string
  /** Midnights of the days shown, the first a Monday, the last today; as the wall shows them, in UTC fields. */
  readonly days: readonly Date[]
  /** By `placeKey`, like the restore times. */
  readonly calendars: ReadonlyMap<string, Calendar>
  readonly restoreTimes: ReadonlyMap<string, readonly RestoreTime[]>
  /** Those in force. */
  readonly pauses: readonly Pause[]
  /** Whether this process shares a queue with others. */
  readonly isFleet: boolean
}

/** `undrilled`: of no backup of the day was a drill; `pruned`: there was one, which is not kept; `none`: there was none. */
export type DayState = 'passed' | 'failed' | 'inconclusive' | 'undrilled' | 'pruned' | 'none'

export type Calendar = {
  /** One for each of `days`. */
  readonly days: readonly { readonly state: DayState; readonly backups: number }[]
  /** Retained backups from before those days. */
  readonly older: Readonly<Record<Verdicts, number>> & { readonly oldest: Date | null }
}

type Verdicts = Exclude<DayState, 'pruned' | 'none'>

export type RestoreTime = {
  readonly at: Date
  readonly seconds: number
  readonly verdict: 'passed' | 'failed' | 'inconclusive'
}

export const weeksShown = 12
export const drillsShown = 24
const dayMs = 86_400_000

export function readPageFacts(
  { installation: { catalog, config, clock } }: Pick<HttpParts, 'installation'>,
  databases: readonly DatabasePlace[],
): PageFacts {
  const { timezone } = config
  const { days, starts } = daysShown(clock.now(), timezone)
  const pruned = lazy(() => prunedDays(catalog, starts))
  const calendarAt = (place: DatabasePlace): Calendar => {
    const backups = catalog.backups({ ...place, kind: 'database' })
    const known = calendars.get(backups)
    if (known?.starts === starts) return known.calendar
    const calendar = calendarOf(backups, starts, pruned().get(placeKey(place)))
    calendars.set(backups, { starts, calendar })
    return calendar
  }
  return {
    timezone,
    days,
    calendars: new Map(databases.map((place) => [placeKey(place), calendarAt(place)])),
    restoreTimes: new Map(databases.map((place) => [placeKey(place), restoreTimesOf(catalog.drills(place))])),
    pauses: catalog.pauses(),
    isFleet: config.fleet !== undefined,
  }
}

type DatabasePlace = { readonly server: string; readonly database: string }

/**
 * The catalog makes its lists anew when anything in the stores has changed, and only then: what was made of the same list
 * need not be made again.
 */
const calendars = new WeakMap<
  readonly CatalogBackup[],
  { readonly starts: readonly number[]; readonly calendar: Calendar }
>()
const restoreTimes = new WeakMap<readonly DrillReport[], readonly RestoreTime[]>()

export type Place = { readonly server: string; readonly database: string | null }

export function placeKey({ server, database }: Place): string {
  return JSON.stringify([server, database])
}

/** Fit for an `id` and a link, whatever the names hold. */
export function placeId(place: Place): string {
  return `db-${idOf(placeKey(place))}`
}

export function serverId(server: string): string {
  return `server-${idOf(server)}`
}

function idOf(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 12)
}

type Days = { readonly days: readonly Date[]; readonly starts: readonly number[] }

/** `starts` are the instants at which the days begin. The same object until a day has passed. */
function daysShown(now: Date, timezone: string): Days {
  const today = Math.floor(wallClock(now.getTime(), timezone) / dayMs)
  const key = `${today} ${timezone}`
  if (shownDays?.key === key) return shownDays
  // 1970 began on a Thursday, three days after a Monday.
  const monday = today - ((today + 3) % 7)
  const first = monday - (weeksShown - 1) * 7
  const days = Array.from({ length: today - first + 1 }, (_, index) => new Date((first + index) * dayMs))
  shownDays = { key, days, starts: days.map((day) => instantsOf(day.getTime(), timezone).first) }
  return shownDays
}

let shownDays: (Days & { readonly key: string }) | undefined

function lazy<T>(make: () => T): () => T {
  let made: { readonly value: T } | undefined
  return () => {
    made ??= { value: make() }
    return made.value
  }
}

/** Which of the days an instant lies in; -1 before the first. */
function dayOf(instant: number, starts: readonly number[]): number {
  const first = starts[0] as number
  if (instant < first) return -1
  // Days of 23 or 25 hours make the guess wrong by one at most.
  let index = Math.min(starts.length - 1, Math.floor((instant - first) / dayMs))
  if (instant < (starts[index] as number)) index -= 1
  else if (index + 1 < starts.length && instant >= (starts[index + 1] as number)) index += 1
  return index
}

function calendarOf(
  backups: readonly CatalogBackup[],
  starts: readonly number[],
  pruned: ReadonlySet<number> | undefined,
): Calendar {
  const states: DayState[] = starts.map((_, index) => (pruned?.has(index) ? 'pruned' : 'none'))
  const counts = starts.map(() => 0)
  const older = { passed: 0, failed: 0, inconclusive: 0, undrilled: 0, oldest: null as Date | null }
  for (const backup of backups) {
    const verdict = verdictOf(backup)
    const index = dayOf(backup.snapshotTime.getTime(), starts)
    if (index === -1) {
      older[verdict] += 1
      older.oldest = backup.snapshotTime
      continue
    }
    counts[index] = (counts[index] as number) + 1
    if (weightOf[verdict] > weightOf[states[index] as DayState]) states[index] = verdict
  }
  return { days: states.map((state, index) => ({ state, backups: counts[index] as number })), older }
}

/** Of several backups of a day the calendar shows what matters most. */
const weightOf: Readonly<Record<DayState, number>> = {
  failed: 5,
  passed: 4,
  inconclusive: 3,
  undrilled: 2,
  pruned: 1,
  none: 0,
}

function verdictOf({ faults, verifiedAt, isKnownBad, lastVerdict }: CatalogBackup): Verdicts {
  if (faults.length > 0 || isKnownBad) return 'failed'
  if (verifiedAt !== null) return 'passed'
  return lastVerdict === 'inconclusive' ? 'inconclusive' : 'undrilled'
}

/** The days of backups that a prune removed, by `placeKey`. Only the prunes since the first day can have removed one. */
function prunedDays(catalog: Catalog, starts: readonly number[]): ReadonlyMap<string, ReadonlySet<number>> {
  const first = starts[0] as number
  // Labels begin with their time, so that most are sorted out without being parsed.
  const firstLabel = new Date(first).toISOString().replaceAll(/[-:]|\.\d+/g, '')
  const days = new Map<string, Set<number>>()
  for (const { at, removed } of catalog.prunes()) {
    if (Date.parse(at) < first) continue
    for (const { kind, server, database, label } of removed) {
      if (kind !== 'database' || label < firstLabel) continue
      const time = labelTime(label)
      assert(time !== undefined, 'what a prune removed has no label')
      const index = dayOf(time.getTime(), starts)
      const key = placeKey({ server, database })
      const known = days.get(key)
      if (known === undefined) days.set(key, new Set([index]))
      else known.add(index)
    }
  }
  return days
}

function restoreTimesOf(drills: readonly DrillReport[]): readonly RestoreTime[] {
  const known = restoreTimes.get(drills)
  if (known !== undefined) return known
  const times: RestoreTime[] = []
  for (const { finishedAt, restoreTimeSeconds, verdict } of drills) {
    if (times.length === drillsShown) break
    if (restoreTimeSeconds !== null) times.push({ at: new Date(finishedAt), seconds: restoreTimeSeconds, verdict })
  }
  times.reverse()
  restoreTimes.set(drills, times)
  return times
}
