import type { Catalog } from '../catalog/catalog.ts'
import { type DatabaseStatus, readDatabaseStatus } from '../catalog/database-status.ts'
import type { PlannedJob } from '../catalog/runs.ts'
import { type Config, objectivesOf } from '../config/config.ts'
import { judgeObjectives } from '../domain/objectives.ts'
import type { Pause } from '../domain/pause.ts'
import { isConfigured } from '../jobs/installation.ts'
import type { QueueView } from '../jobs/queue-view.ts'
import type { Condition } from './condition.ts'
import { fleetConditions, isKnownWorker } from './fleet-conditions.ts'
import { capitalised, instantText, oneLine, placed, spelled } from './wording.ts'

export type Facts = {
  readonly catalog: Catalog
  readonly config: Pick<Config, 'servers'>
  readonly planned: readonly PlannedJob[]
  readonly keyExpiries: readonly KeyExpiry[]
  readonly isConfigRefused: boolean
  readonly queue: QueueView
  /** When this process began to look. */
  readonly lookingSince: Date
  readonly now: Date
}

export type KeyExpiry = { readonly fingerprint: string; readonly use: string; readonly expiresAt: Date | null }

/** Everything that is wrong at this moment. */
export function readConditions(facts: Facts): Condition[] {
  return [
    ...facts.catalog.standings().flatMap(storeDown),
    ...watchedDatabases(facts).flatMap((place) => ofDatabase(place, facts)),
    ...facts.keyExpiries.flatMap((key) => keyExpiry(key, facts.now)),
    ...facts.catalog.pauses().flatMap(paused),
    ...(facts.isConfigRefused ? [configRefused] : []),
    ...missingDatabases(facts).map(databaseMissing),
    ...fleetConditions(facts.queue),
  ]
}

/** Whether the server and database of a condition are still looked after. */
export function isWatched(condition: Pick<Condition, 'key' | 'kind' | 'server' | 'database'>, facts: Facts): boolean {
  const { kind, server, database } = condition
  if (kind === 'worker-gone') return isKnownWorker(condition, facts.queue)
  if (kind === 'dead-entry') return facts.queue.isReachable
  if (server === null) return true
  if (database === null) return facts.config.servers.some(({ name }) => name === server)
  return watchedDatabases(facts).some((place) => place.server === server && place.database === database)
}

const minuteMs = 60_000
const hourMs = 60 * minuteMs
const dayMs = 24 * hourMs
const always = { since: null, patienceMs: 0, remindEveryMs: dayMs, level: 0, server: null, database: null, job: null }

/** Shorter ones are a restart of the store, and backups try again. */
const storePatienceMs = 10 * minuteMs
/** A table of databases is read anew by then. */
const missingPatienceMs = 15 * minuteMs
const pausePatienceMs = dayMs
/** Two drills may be missed, or be under way, before their absence is told. */
const drillsMissed = 2

function storeDown({ name, isRequired, error }: ReturnType<Catalog['standings']>[number]): Condition[] {
  if (!isRequired || error === null) return []
  return [
    {
      ...always,
      key: `store-down ${name}`,
      kind: 'store-down',
      patienceMs: storePatienceMs,
      title: `the store "${oneLine(name)}" is down`,
      text: `The store "${oneLine(name)}" cannot be read: no backup can be taken and none restored from it.`,
      hint: error.hint,
      recovered: `the store "${oneLine(name)}" can be read again`,
    },
  ]
}

type Place = { readonly server: string; readonly database: string }

/** Those that are configured and, where a schedule says which there are, are there. */
function watchedDatabases({ catalog, config, planned }: Facts): Place[] {
  // Before the store was read nothing is known of any of them.
  if (catalog.lastRefreshedAt === null) return []
  return config.servers.flatMap((server) => {
    const isScheduled = server.schedule.backup !== undefined
    const scheduled = planned.filter((one) => one.server === server.name && one.job === 'backup')
    const stored = isScheduled ? [] : catalog.databases().filter((place) => place.server === server.name)
    const names = new Set([...scheduled, ...stored].flatMap(({ database }) => (database === null ? [] : [database])))
    return [...names]
      .filter((database) => isConfigured(server, database))
      .map((database) => ({ server: server.name, database }))
  })
}

/** Databases that a schedule covers and the store has, which their server does not have any more. */
function missingDatabases({ catalog, config, planned }: Facts): Place[] {
  return catalog.databases().filter(({ server: name, database }) => {
    const server = config.servers.find((one) => one.name === name)
    if ((server?.schedule.backup ?? server?.schedule.drill) === undefined) return false
    return (
      server !== undefined &&
      isConfigured(server, database) &&
      !planned.some((one) => one.server === name && one.database === database)
    )
  })
}

function databaseMissing({ server, database }: Place): Condition {
  const place = placed(server, database)
  return {
    ...always,
    ...{ server, database, job: 'backup', patienceMs: missingPatienceMs },
    key: `database-missing ${JSON.stringify([server, database])}`,
    kind: 'database-missing',
    title: `${place} is gone from its server`,
    text: `${capitalised(place)} is configured and has backups, and its server does not have it any more: no new backup is taken.`,
    hint: 'If it was dropped by accident, restore it; if on purpose, say so by `exclude` in the configuration.',
    recovered: `${place} is on its server again`,
  }
}

function ofDatabase(place: Place, facts: Facts): Condition[] {
  const { catalog, config, now } = facts
  const status = readDatabaseStatus(place, catalog, objectivesOf(place.server, config), now)
  return [...recoveryPoint(status, facts), ...restoreTime(status, facts), ...noProof(status, facts)]
}

function recoveryPoint(status: DatabaseStatus, { now, lookingSince }: Facts): Condition[] {
  const { server, database, recoveryPoint: newest, rpoSeconds } = status
  const { recoveryPoint: judged } = objectivesAt(status, now)
  if (judged.status !== 'missed' || rpoSeconds === null) return []
  // A new database has until then to be backed up for the first time.
  const since = new Date((newest?.snapshotTime ?? lookingSince).getTime() + rpoSeconds * 1000)
  if (since > now) return []
  const objective = spelled(rpoSeconds * 1000)
  return [
    {
      ...always,
      ...{ server, database, job: 'backup', since },
      key: `recovery-point ${JSON.stringify([server, database])}`,
      kind: 'recovery-point',
      title: `${placed(server, database)} has no backup within its objective of ${objective}`,
      text:
        newest === null
          ? `There is no backup of ${placed(server, database)} that could be restored, and the objective is ${objective}.`
          : `The newest backup of ${placed(server, database)} is ${spelled(now.getTime() - newest.snapshotTime.getTime())} old, and the objective is ${objective}: more would be lost than was promised.`,
      hint: 'Look why the last backups failed (`pgproof status`), then take one: `pgproof backup`.',
      recovered: `${placed(server, database)} has a backup within its objective of ${objective} again`,
    },
  ]
}

function restoreTime(status: DatabaseStatus, { now }: Facts): Condition[] {
  const { server, database, rtoSeconds, lastPassedDrill } = status
  const { restoreTime: judged } = objectivesAt(status, now)
  if (judged.status !== 'missed' || judged.measuredSeconds === null || rtoSeconds === null) return []
  const objective = spelled(rtoSeconds * 1000)
  return [
    {
      ...always,
      ...{ server, database, job: 'drill', remindEveryMs: 7 * dayMs },
      since: lastPassedDrill === null ? null : new Date(lastPassedDrill.finishedAt),
      key: `restore-time ${JSON.stringify([server, database])}`,
      kind: 'restore-time',
      title: `a restore of ${placed(server, database)} takes longer than its objective of ${objective}`,
      text: `The last drill of ${placed(server, database)} took ${spelled(judged.measuredSeconds * 1000)} to restore, and the objective is ${objective}.`,
      hint: 'See which phase took so long with `pgproof show`; more `drill.jobs`, a faster disk or a nearer store shorten it.',
      recovered: `a restore of ${placed(server, database)} keeps to its objective of ${objective} again`,
    },
  ]
}

function noProof(status: DatabaseStatus, { catalog, planned, now }: Facts): Condition[] {
  const { server, database, lastPassedDrill } = status
  const drill = planned.find((one) => one.job === 'drill' && one.server === server && one.database === database)
  const oldest = catalog.backups({ server, database, kind: 'database' }).at(-1)
  if (drill === undefined || oldest === undefined) return []
  const last = lastPassedDrill === null ? null : new Date(lastPassedDrill.finishedAt)
  const since = new Date((last ?? oldest.snapshotTime).getTime() + drillsMissed * drill.intervalSeconds * 1000 + hourMs)
  if (since > now) return []
  return [
    {
      ...always,
      ...{ server, database, job: 'drill', since },
      key: `no-proof ${JSON.stringify([server, database])}`,
      kind: 'no-proof',
      title: `no drill of ${placed(server, database)} has passed for long`,
      text:
        last === null
          ? `No drill of ${placed(server, database)} has ever passed: whether its backups can be restored is not known.`
          : `The last drill of ${placed(server, database)} that passed was on ${instantText(last)}: whether its backups can be restored now is not known.`,
      hint: 'Look how the last drills ended (`pgproof status`), then order one: `pgproof drill`.',
      recovered: `a drill of ${placed(server, database)} has passed again`,
    },
  ]
}

function objectivesAt(status: DatabaseStatus, now: Date): ReturnType<typeof judgeObjectives> {
  return judgeObjectives({
    rpoSeconds: status.rpoSeconds,
    rtoSeconds: status.rtoSeconds,
    recoveryPoint: status.recoveryPoint?.snapshotTime ?? null,
    restoreTimeSeconds: status.lastPassedDrill?.restoreTimeSeconds ?? null,
    forecastSeconds: status.forecastSeconds,
    now,
  })
}

function keyExpiry({ fingerprint, use, expiresAt }: KeyExpiry, now: Date): Condition[] {
  const leftMs = expiresAt === null ? Number.POSITIVE_INFINITY : expiresAt.getTime() - now.getTime()
  if (expiresAt === null || leftMs >= 30 * dayMs) return []
  const key = `the ${keyWords[use] ?? use} key ${fingerprint.slice(-16)}`
  const isNear = leftMs < 7 * dayMs
  const isOver = leftMs <= 0
  return [
    {
      ...always,
      // A month ahead somebody must plan; a week ahead somebody must act.
      remindEveryMs: isNear ? dayMs : 7 * dayMs,
      level: isOver ? 2 : isNear ? 1 : 0,
      key: `key-expiry ${fingerprint} ${use}`,
      kind: 'key-expiry',
      title: isOver ? `${key} has expired` : `${key} expires in ${spelled(leftMs)}`,
      text: `${capitalised(key)} ${isOver ? 'expired' : 'expires'} on ${instantText(expiresAt)}; with an expired key no backup is taken.`,
      hint: 'Extend it, or make a new one with `pgproof keygen`; keep the old private key for as long as there are backups to it.',
      recovered: `${key} does not expire soon any more`,
    },
  ]
}

const keyWords: Readonly<Record<string, string>> = { recipient: 'public', signer: 'signing', private: 'private' }

/** One for each pause, however many schedules it stops. */
function paused(pause: Pause): Condition[] {
  const { label, server, database, jobs, since, until, by, reason } = pause
  const place = server === null ? 'every server' : placed(server, database)
  const what = `${jobs.join(' and ')} of ${place}`
  return [
    {
      ...always,
      ...{ server, database, job: jobs.length === 1 ? (jobs[0] ?? null) : null },
      since: new Date(since),
      patienceMs: pausePatienceMs,
      key: `schedule-paused ${label}`,
      kind: 'schedule-paused',
      title: `${what}: the schedule is paused`,
      text: `The schedule of ${what} has been paused since ${instantText(new Date(since))} and until ${instantText(new Date(until))}, by ${oneLine(by)}: ${oneLine(reason)}. Nothing of it runs by itself meanwhile.`,
      hint: 'Let it go on if whatever it was paused for is done: `pgproof resume`.',
      recovered: `${what}: the schedule goes on`,
    },
  ]
}

const configRefused: Condition = {
  ...always,
  key: 'config-refused',
  kind: 'config-refused',
  title: 'the new configuration is not in force',
  text: 'The configuration was read again. It is not valid and a restart would fail, or a part of it waits for a restart; the log and the page say which.',
  hint: 'The log says what is wrong with it, and so does `pgproof check`; mend it, then send SIGHUP again.',
  recovered: 'the new configuration is in force',
}
