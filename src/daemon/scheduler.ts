import assert from 'node:assert/strict'
import { isFailure, isFinished, type PlannedJob, type Run } from '../catalog/runs.ts'
import type { Config, ServerConfig } from '../config/config.ts'
import { covers, type PausableJob, type Pause } from '../domain/pause.ts'
import { type NextAttempt, nextAttemptAt } from '../domain/retry.ts'
import { type DueAnswer, type DueTimes, isDue, shareOf } from '../domain/schedule.ts'
import { PgproofError, reasonOf, rethrowUnless } from '../errors.ts'
import { type Installation, isConfigured } from '../jobs/installation.ts'
import type { Order, Orders } from '../jobs/orders.ts'
import { planSync } from '../jobs/sync.ts'
import { logKeys } from '../log.ts'
import { databasesInTime } from './databases-in-time.ts'
import { Stopwatch } from './stopwatch.ts'
import { Timetable } from './timetable.ts'

type Place = {
  readonly job: PausableJob
  readonly server: ServerConfig
  readonly database: string | null
  readonly expression: string
}

/** The last run of a place that this process ordered by its schedule. */
type Scheduled = {
  readonly run: Run
  /** The due time that it is of, and the one after it. */
  readonly dueTime: Date
  readonly until: Date
  /** How many there were of that due time so far. */
  readonly runs: number
}

/** `attempt` and `runs` begin with 1 at each due time. */
type DuePlace = Place & { readonly attempt: number; readonly runs: number }

/** Early enough that a daemon which never lives for a day prunes, too; late enough to stop one that was set up wrong. */
const firstPruneMs = 3_600_000
const pruneIntervalMs = 24 * 3_600_000
/** What cannot be copied is downloaded in vain each time. */
const syncRetryMs = 3_600_000
/** What was read longer ago is read again before a run that had to wait begins. */
const freshMs = 1_000
/** No schedule waits longer than this for a server that takes connections and then says nothing. */
const answerWithinMs = 30_000

/**
 * Orders what is due. Due is computed from the schedule and from what the catalog says was started last, not from a
 * clock's tick: a restart, a missed tick or a blocked event loop loses no night and runs none twice. What failed is tried
 * again before its next due time; what is paused waits until the pause ends.
 */
export class Scheduler {
  readonly #installation: Installation
  readonly #orders: Orders
  readonly #refresh: () => Promise<boolean>
  readonly #timetable = new Timetable()
  #databases = new Map<string, readonly string[]>()
  readonly #unanswered = new Set<string>()
  readonly #scheduled = new Map<string, Scheduled>()
  readonly #noted = new Set<string>()
  readonly #gone = new Set<string>()
  #planned: readonly PlannedJob[] = []
  #reloadedAt: Date | null = null
  readonly #sincePrune: Stopwatch
  #pruneAfterMs = firstPruneMs

  /** `refresh` reads the store again, so that what another process did since counts; false if it does not answer. */
  constructor(installation: Installation, orders: Orders, refresh: () => Promise<boolean>) {
    this.#installation = installation
    this.#orders = orders
    this.#refresh = refresh
    this.#sincePrune = new Stopwatch(installation.clock)
    installation.catalog.watchRuns((run) => this.#follow(run))
  }

  /** As of the last tick. */
  planned(): readonly PlannedJob[] {
    return this.#planned
  }

  /** When a run is tried again that ended badly; null if it is not, or was not ordered by a schedule of this process. */
  retryAt(run: Run): Date | null {
    const known = this.#scheduled.get(keyOf(run))
    return known?.run.id === run.id ? (this.#nextAttempt({ ...known, run })?.at ?? null) : null
  }

  /** Whether the server has such a database; true as well where it has not answered yet. */
  knows(server: string, database: string): boolean {
    const found = this.#databases.get(server)
    return found === undefined || found.includes(database)
  }

  /** From now on what failed for want of another configuration is due again. */
  reloaded(): void {
    this.#reloadedAt = this.#installation.clock.now()
  }

  /**
   * Whether a run that was ordered a while ago is still wanted: another daemon may have done it meanwhile. A store that
   * does not answer leaves it to the run to say so.
   */
  async isWanted(run: Run): Promise<boolean> {
    const { catalog, clock } = this.#installation
    const known = this.#scheduled.get(keyOf(run))
    if (known?.run.id !== run.id) return true
    const asked = Math.max(run.queuedAt.getTime(), catalog.lastRefreshedAt?.getTime() ?? 0)
    if (Math.abs(clock.now().getTime() - asked) > freshMs) await this.#refresh()
    return !this.#isDone(known)
  }

  /**
   * Looks for new and vanished databases. A server that does not answer keeps the list it had, or what the store knows
   * of it: its backups are due all the same, and fail with a reason. Each has `withinMs` for its answer.
   */
  async discover(signal: AbortSignal, withinMs: number = answerWithinMs): Promise<void> {
    const { config, log } = this.#installation
    await Promise.all(
      config.servers.map(async (server) => {
        try {
          this.#databases.set(server.name, await databasesInTime(server, withinMs, signal))
          this.#unanswered.delete(server.name)
        } catch (error) {
          if (signal.aborted) return
          if (!this.#unanswered.has(server.name))
            log.warn({ server: server.name, reason: reasonOf(error) }, 'cannot list the databases')
          this.#unanswered.add(server.name)
        }
      }),
    )
    this.#noteVanished()
    this.#plan()
  }

  /** Databases that have backups and are meant to have more, but are not on their server any more. */
  vanished(): readonly { readonly server: string; readonly database: string }[] {
    return this.#installation.config.servers.flatMap((server) => {
      const found = this.#databases.get(server.name)
      if (found === undefined || this.#unanswered.has(server.name)) return []
      const gone = this.#databasesInStore(server).filter((database) => !found.includes(database))
      return gone.map((database) => ({ server: server.name, database }))
    })
  }

  /** Without ordering anything, for the process whose turn it is not. */
  watch(): void {
    this.#notePauses()
    this.#plan()
  }

  /** Orders everything that is due now. Cheap when nothing is. */
  async tick(): Promise<void> {
    if (this.#duePlaces().length > 0) {
      // Another daemon or a person may have done it meanwhile, or paused it: ask the store before doing it again.
      if (!(await this.#refresh())) return
      for (const place of this.#duePlaces()) this.#start(place)
    }
    this.#notePauses()
    this.#plan()
    this.#orderDailyPrune()
  }

  /**
   * Orders a sync if a store that can be read lacks what another one has; a while after one that failed, which another
   * one ends as well if nothing is lacking any more.
   */
  orderSync(): void {
    const { catalog, clock, stores } = this.#installation
    if (stores.named.length < 2) return
    const syncs = catalog.runs().filter(({ job }) => job === 'sync')
    if (!syncs.every(isFinished)) return
    const last = syncs.find(({ state }) => state !== 'cancelled')
    const failed = last !== undefined && isFailure(last) ? last : undefined
    const sinceMs = clock.now().getTime() - (failed?.finishedAt?.getTime() ?? Number.NEGATIVE_INFINITY)
    // Below zero if the clock was put back: who knows how long ago it was.
    if (sinceMs >= 0 && sinceMs < syncRetryMs) return
    const standings = catalog.standings()
    const isLacking = standings
      .filter(({ error }) => error === null)
      .map(({ name }) => planSync(name, this.#installation))
      .some(({ backups, reports }) => backups.length + reports.length > 0)
    // While a store cannot be read it would only fail again.
    const isToEnd = failed !== undefined && standings.every(({ error, isComplete }) => error === null && isComplete)
    if (isLacking || isToEnd) this.#give({ job: 'sync', server: '', database: null, trigger: 'schedule' })
  }

  #duePlaces(): DuePlace[] {
    const { catalog, clock } = this.#installation
    const now = clock.now()
    const pauses = catalog.pauses()
    const open = new Set(catalog.runs().flatMap((run) => (isFinished(run) ? [] : [keyOf(run)])))
    return this.#places().flatMap((place) => {
      if (open.has(keyOf(placeOf(place))) || pausing(place, pauses) !== undefined) return []
      if (!this.#isPossible(place)) return []
      if (this.#ask(place, now).due) return [{ ...place, attempt: 1, runs: 1 }]
      const last = this.#scheduled.get(keyOf(placeOf(place)))
      const next = last === undefined ? null : this.#nextAttempt(last)
      if (last === undefined || next === null) return []
      // A run that ended later than now shows that the clock was put back: rather early than late.
      if (now < next.at && now >= (last.run.finishedAt ?? now)) return []
      return [{ ...place, attempt: next.attempt, runs: last.runs + 1 }]
    })
  }

  #isPossible({ job, server, database }: Place): boolean {
    return job !== 'drill' || this.#installation.catalog.newest(server.name, database ?? '') !== undefined
  }

  #ask(place: Place, now: Date): DueAnswer {
    const { catalog, storeCreatedAt } = this.#installation
    const times = this.#timesOf(place, now)
    const end = new Date(times.next.getTime() - 1)
    const stored = catalog.lastStored(placeOf(place), end)
    const own = this.#scheduled.get(keyOf(placeOf(place)))?.run
    const started = own === undefined ? null : (own.startedAt ?? own.queuedAt)
    const isOwnLater = started !== null && started <= end && (stored === null || started > stored)
    const { server } = place
    const jitter = { mostMs: server.jitterMs, share: shareOf(keyOf(placeOf(place))) }
    return isDue({ times, now, lastStart: isOwnLater ? started : stored, since: storeCreatedAt, jitter })
  }

  #timesOf({ expression }: Place, now: Date): DueTimes {
    return this.#timetable.around(expression, this.#installation.config.timezone, now)
  }

  #start(place: DuePlace): void {
    const { catalog, clock } = this.#installation
    const { job, server, database, attempt, runs } = place
    const { latest: dueTime, next: until } = this.#timesOf(place, clock.now())
    const due = { time: dueTime, until, runs }
    const run = this.#give({ job, server: server.name, database, trigger: 'schedule', attempt, due })
    if (run === undefined) return
    this.#scheduled.set(keyOf(run), { run: catalog.findRun(run.id) ?? run, dueTime, until, runs })
  }

  #give(order: Order): Run | undefined {
    try {
      return this.#orders.order(order)
    } catch (error) {
      // Still running since last time, or on the way down: the next tick asks again.
      rethrowUnless(error, PgproofError)
      const { job, server, database } = order
      this.#installation.log.debug({ job, server, database, reason: error.message }, 'not ordered')
      return undefined
    }
  }

  #follow(run: Run): void {
    const known = this.#scheduled.get(keyOf(run))
    if (known?.run.id !== run.id) return
    const hasEnded = isFinished(run) && !isFinished(known.run)
    this.#scheduled.set(keyOf(run), { ...known, run })
    const at = hasEnded ? this.retryAt(run) : null
    if (at === null) return
    const { id, job, server, database } = run
    const line = { [logKeys.run]: id, job, server, ...(database === null ? {} : { database }), at }
    this.#installation.log.info(line, 'run is tried again')
  }

  #nextAttempt(scheduled: Scheduled): NextAttempt | null {
    const { config } = this.#installation
    const { run, runs, until } = scheduled
    const { job, state, finishedAt, error, attempt } = run
    const server = config.servers.find(({ name }) => name === run.server)
    if (server === undefined || !isTimed(job) || finishedAt === null) return null
    if (state === 'queued' || state === 'running' || this.#isDone(scheduled)) return null
    const share = shareOf(JSON.stringify([keyOf(run), until, runs]))
    const rule = { ...server.retry, until, share, reloadedAt: this.#reloadedAt }
    const isOfFleet = run.worker != null
    return nextAttemptAt({ job, state, code: error?.code ?? null, attempt, runs, endedAt: finishedAt, isOfFleet }, rule)
  }

  /** Whether somebody else has done it since it was due. A drill that found nothing out is not done. */
  #isDone({ run, dueTime, until }: Pick<Scheduled, 'run' | 'dueTime' | 'until'>): boolean {
    const { job, server, database } = run
    assert(isTimed(job), 'only jobs with a schedule are due')
    const end = new Date(until.getTime() - 1)
    const stored = this.#installation.catalog.lastStored({ job, server, database }, end, 'conclusive')
    return stored !== null && stored >= dueTime
  }

  /** Orphans and old reports belong to no backup's own prune. */
  #orderDailyPrune(): void {
    if (this.#sincePrune.elapsed() < this.#pruneAfterMs) return
    this.#sincePrune.restart()
    this.#pruneAfterMs = pruneIntervalMs
    this.#give({ job: 'prune', server: '', database: null, trigger: 'schedule' })
  }

  /** Once for each: nobody backs up what is not there, and its backups stay. */
  #noteVanished(): void {
    const vanished = this.vanished()
    const keyOfDatabase = ({ server, database }: (typeof vanished)[number]): string =>
      JSON.stringify([server, database])
    const keys = new Set(vanished.map(keyOfDatabase))
    for (const one of vanished)
      if (!this.#gone.has(keyOfDatabase(one)))
        this.#installation.log.warn(one, 'a database is not on its server any more')
    for (const key of this.#gone) {
      const [server] = JSON.parse(key) as [string, string]
      // Of a server that does not answer nothing new is known.
      if (!keys.has(key) && !this.#unanswered.has(server)) this.#gone.delete(key)
    }
    for (const key of keys) this.#gone.add(key)
  }

  #places(): Place[] {
    const { servers }: Config = this.#installation.config
    return servers.flatMap((server) => {
      const { backup, roles, drill } = server.schedule
      const databases = this.#databasesOf(server)
      return [
        ...(roles === undefined ? [] : [{ job: 'roles' as const, server, database: null, expression: roles }]),
        ...(backup === undefined
          ? []
          : databases.map((database) => ({ job: 'backup' as const, server, database, expression: backup }))),
        ...(drill === undefined
          ? []
          : databases.map((database) => ({ job: 'drill' as const, server, database, expression: drill }))),
      ]
    })
  }

  /** While a server does not answer, others may have found a new database there and backed it up. */
  #databasesOf(server: ServerConfig): readonly string[] {
    const listed = this.#databases.get(server.name)
    if (listed === undefined) return this.#databasesInStore(server)
    if (!this.#unanswered.has(server.name)) return listed
    const isGone = (database: string): boolean => this.#gone.has(JSON.stringify([server.name, database]))
    return [...new Set([...listed, ...this.#databasesInStore(server).filter((database) => !isGone(database))])]
  }

  #databasesInStore(server: ServerConfig): string[] {
    return this.#installation.catalog
      .databases()
      .filter((known) => known.server === server.name && isConfigured(server, known.database))
      .map(({ database }) => database)
  }

  #plan(): void {
    const { catalog, clock, config } = this.#installation
    const now = clock.now()
    const pauses = catalog.pauses()
    this.#planned = this.#places().map((place): PlannedJob => {
      const { job, server, database, expression } = place
      const pausedUntil = pausing(place, pauses)?.until
      const earliest = pausedUntil === undefined ? 0 : Date.parse(pausedUntil)
      return {
        job,
        server: server.name,
        database,
        nextAt: new Date(Math.max(earliest, this.#nextStart(place, now).getTime())),
        intervalSeconds: this.#timetable.intervalSeconds(expression, config.timezone, now),
        pausedUntil: pausedUntil === undefined ? null : new Date(pausedUntil),
      }
    })
  }

  #nextStart(place: Place, now: Date): Date {
    const { due, startsAt } = this.#ask(place, now)
    if (due) return this.#isPossible(place) ? now : this.#timesOf(place, now).next
    const last = this.#scheduled.get(keyOf(placeOf(place)))
    const again = last === undefined ? null : this.#nextAttempt(last)
    return again !== null && again.at < startsAt ? again.at : startsAt
  }

  /** When each of them begins and ends, once. */
  #notePauses(): void {
    const { catalog, log } = this.#installation
    const pauses = catalog.pauses()
    for (const { label, server, database, jobs, until, by, reason } of pauses) {
      if (this.#noted.has(label)) continue
      this.#noted.add(label)
      const place = { ...(server === null ? {} : { server }), ...(database === null ? {} : { database }) }
      log.warn({ ...place, jobs, until, by, reason }, 'schedules are paused')
    }
    for (const label of this.#noted) {
      if (pauses.some((pause) => pause.label === label)) continue
      this.#noted.delete(label)
      log.info({ pause: label }, 'a pause of schedules is over')
    }
  }
}

/** The pause of this place that ends last; undefined if it is not paused. */
function pausing(place: Place, pauses: readonly Pause[]): Pause | undefined {
  return pauses.find((pause) => covers(pause, placeOf(place)))
}

function placeOf({ job, server, database }: Place): { job: PausableJob; server: string; database: string | null } {
  return { job, server: server.name, database }
}

function isTimed(job: Run['job']): job is PausableJob {
  return job === 'backup' || job === 'roles' || job === 'drill'
}

function keyOf({ job, server, database }: Pick<Run, 'job' | 'server' | 'database'>): string {
  return JSON.stringify([server, database, job])
}
