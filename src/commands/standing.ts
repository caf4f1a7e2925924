import type { Catalog, CatalogBackup } from '../catalog/catalog.ts'
import { type Guarantee, guaranteeOf, readDatabaseStatus } from '../catalog/database-status.ts'
import type { Config } from '../config/config.ts'
import { formatDuration } from '../config/units.ts'
import { judgeObjectives, type ObjectivesAnswer } from '../domain/objectives.ts'
import { intervalsAllowed, isOverdue } from '../domain/overdue.ts'
import { scheduleIntervalSeconds } from '../domain/schedule.ts'
import { isConfigured } from '../jobs/installation.ts'
import type { ListedDrill } from './documents.ts'
import { formatSeconds } from './print.ts'
import { type KnownServer, knownServers, placeName } from './target.ts'

/** As much of a backup as a standing tells; a daemon says no more. */
export type StandingBackup = Pick<CatalogBackup, 'snapshotTime' | 'verifiedAt'> & {
  readonly manifest: Pick<CatalogBackup['manifest'], 'label' | 'snapshotTime'>
}

/** How one database stands. */
export type DatabaseStanding = {
  readonly server: string
  readonly database: string
  /** The newest backup whose objects are all in the store and that no drill has shown to be bad. */
  readonly newest: StandingBackup | null
  /** Those that cannot be restored, because objects are missing. */
  readonly damaged: readonly DamagedBackup[]
  readonly lastDrill: ListedDrill | null
  readonly lastPassed: ListedDrill | null
  /** How many backups have all objects in the store, and how many of them passed a drill. */
  readonly retained: number
  readonly verified: number
  readonly oldestUnverified: StandingBackup | null
  /** The one that waits longest since a drill of it passed, or since it was taken. */
  readonly leastRecentlyVerified: StandingBackup | null
  readonly guarantee: Guarantee
  /** What a restore of the newest backup would take. */
  readonly forecastSeconds: number | null
  readonly objectives: ObjectivesAnswer
  /** How often a backup is due by the schedule, if that alone says how old it may be, and it is older; else null. */
  readonly overdueIntervalSeconds: number | null
}

type DamagedBackup = Pick<CatalogBackup, 'faults'> & { readonly manifest: Pick<CatalogBackup['manifest'], 'label'> }

/** Every database that is configured by name, or of which a known server has a backup; by server, then by name. */
export function readStandings(config: StandingConfig, catalog: Catalog, now: Date): DatabaseStanding[] {
  const stored = catalog.databases()
  return knownServers(config, catalog).flatMap((server) => {
    const intervals = {
      backup: intervalOf(server.schedule.backup, config, now),
      drill: intervalOf(server.schedule.drill, config, now),
    }
    const named = server.databases === 'all' ? [] : server.databases
    const found = stored.filter((place) => place.server === server.name).map(({ database }) => database)
    return [...new Set([...named, ...found])].toSorted().map((database) => {
      return standingOf(server, database, intervals, config, catalog, now)
    })
  })
}

/** The longest gap of a schedule; null without one. */
export function intervalOf(
  expression: string | undefined,
  { timezone }: Pick<Config, 'timezone'>,
  now: Date,
): number | null {
  return expression === undefined ? null : scheduleIntervalSeconds(expression, timezone, now)
}

type StandingConfig = Pick<Config, 'isStoreOnly' | 'servers' | 'drill' | 'timezone'>

/**
 * What worries most first: no backup at all, a drill that failed, a recovery point that is too old, backups that are cut
 * short, nothing proven, drills that cannot be carried out, restores that take too long. Among equals what misses its
 * objective by most, then by name.
 */
export function worstFirst(standings: readonly DatabaseStanding[]): readonly DatabaseStanding[] {
  const ranked = standings.map((standing) => ({ standing, rank: rankOf(standing), lag: lagOf(standing) }))
  return ranked.toSorted((one, other) => other.rank - one.rank || other.lag - one.lag).map(({ standing }) => standing)
}

function rankOf({
  newest,
  damaged,
  lastDrill,
  lastPassed,
  retained,
  objectives,
  overdueIntervalSeconds,
}: DatabaseStanding): number {
  // What is whole and was drilled in vain is more than nothing.
  if (newest === null) return retained === 0 ? 8 : 7
  if (lastDrill?.verdict === 'failed') return 7
  if (objectives.recoveryPoint.status === 'missed' || overdueIntervalSeconds !== null) return 6
  if (damaged.length > 0) return 5
  if (lastPassed === null) return lastDrill === null ? 3 : 4
  if (lastDrill?.verdict === 'inconclusive') return 2
  return objectives.restoreTime.status === 'missed' || objectives.forecast.status === 'missed' ? 1 : 0
}

/** Only among those that worry: the rest stays in the order of its names. */
function lagOf({ objectives: { recoveryPoint }, overdueIntervalSeconds }: DatabaseStanding): number {
  const { status, measuredSeconds, objectiveSeconds } = recoveryPoint
  if (overdueIntervalSeconds !== null) return (measuredSeconds ?? 0) / (intervalsAllowed * overdueIntervalSeconds)
  if (status !== 'missed' || measuredSeconds === null || objectiveSeconds === null) return 0
  return measuredSeconds / Math.max(1, objectiveSeconds)
}

/** What somebody should do something about, one line each. */
export function worriesOf(standing: DatabaseStanding): string[] {
  const { newest, damaged, lastDrill, lastPassed, retained, forecastSeconds, objectives, overdueIntervalSeconds } =
    standing
  const place = placeName(standing)
  const { recoveryPoint, restoreTime, forecast } = objectives
  if (newest === null && retained + damaged.length === 0) return [`${place}: there is no backup`]
  const worries: string[] = []
  const add = (text: string): unknown => worries.push(`${place}: ${text}`)
  if (newest === null)
    add(`none of its backups can be restored${retained === 0 ? '' : ': those that are whole failed a drill'}`)
  worries.push(...faultLines(place, damaged))
  if (newest === null && retained === 0) return worries
  if (newest !== null && recoveryPoint.status === 'missed')
    add(
      `the newest backup is ${spelled(recoveryPoint.measuredSeconds)} old, the objective is ${promised(recoveryPoint.objectiveSeconds)}`,
    )
  if (newest !== null && overdueIntervalSeconds !== null)
    add(
      `the newest backup is ${spelled(recoveryPoint.measuredSeconds)} old, one is due every ${promised(overdueIntervalSeconds)}`,
    )
  if (lastDrill?.verdict === 'failed') add(`the last drill failed: ${lastDrill.reason?.message ?? ''}`)
  else if (lastPassed === null)
    add(
      lastDrill === null
        ? 'no backup was ever drilled'
        : `no drill has passed yet; the last one was ${lastDrill.verdict}`,
    )
  else if (lastDrill?.verdict === 'inconclusive')
    add(`the last drill could not be carried out: ${lastDrill.reason?.message ?? ''}`)
  if (restoreTime.status === 'missed')
    add(
      `the last restore took ${spelled(restoreTime.measuredSeconds)}, the objective is ${promised(restoreTime.objectiveSeconds)}`,
    )
  else if (forecast.status === 'missed')
    add(
      `a restore would take about ${spelled(forecastSeconds)}, the objective is ${promised(forecast.objectiveSeconds)}`,
    )
  return worries
}

const faultsShown = 5

/** Which objects of which backups, newest first. */
function faultLines(place: string, damaged: readonly DamagedBackup[]): string[] {
  const lines = damaged.map(({ manifest, faults }) => `${place}: backup ${manifest.label}: ${faults.join('; ')}`)
  const rest = lines.length - faultsShown
  if (rest <= 0) return lines
  return [...lines.slice(0, faultsShown), `${place}: objects of ${rest} more of its backups are missing or cut short`]
}

function standingOf(
  server: KnownServer,
  database: string,
  intervals: { readonly backup: number | null; readonly drill: number | null },
  { drill }: StandingConfig,
  catalog: Catalog,
  now: Date,
): DatabaseStanding {
  const status = readDatabaseStatus({ server: server.name, database }, catalog, server.objectives, now)
  const { recoveryPoint, lastPassedDrill, forecastSeconds, retained, oldestUnverified, leastRecentlyVerified } = status
  const finished = status.newestBackup?.manifest.finishedAt
  const isLate =
    status.rpoSeconds === null &&
    isConfigured(server, database) &&
    isOverdue({
      intervalSeconds: intervals.backup,
      finishedAt: finished === undefined ? null : new Date(finished),
      recoveryPoint: recoveryPoint?.snapshotTime ?? null,
      now,
    })
  return {
    server: server.name,
    database,
    newest: recoveryPoint,
    damaged: catalog
      .backups({ server: server.name, database, kind: 'database' })
      .filter(({ faults }) => faults.length > 0),
    lastDrill: status.lastDrill,
    lastPassed: lastPassedDrill,
    retained: retained.any,
    verified: retained.verified,
    oldestUnverified,
    leastRecentlyVerified,
    guarantee: guaranteeOf(status, drill.pick, intervals.drill),
    forecastSeconds,
    objectives: judgeObjectives({
      rpoSeconds: status.rpoSeconds,
      rtoSeconds: status.rtoSeconds,
      recoveryPoint: recoveryPoint?.snapshotTime ?? null,
      restoreTimeSeconds: lastPassedDrill?.restoreTimeSeconds ?? null,
      forecastSeconds,
      now,
    }),
    overdueIntervalSeconds: isLate ? intervals.backup : null,
  }
}

function spelled(seconds: number | null): string {
  return seconds === null ? 'unknown' : formatSeconds(seconds)
}

function promised(seconds: number | null): string {
  return seconds === null ? 'unknown' : formatDuration(seconds * 1000)
}
