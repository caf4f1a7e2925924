import { isFinished, type PlannedJob } from '../catalog/runs.ts'
import type { Config, ServerConfig } from '../config/config.ts'
import { isDue, nextDue, scheduleIntervalSeconds } from '../domain/schedule.ts'
import { PgproofError, reasonOf } from '../errors.ts'
import { databasesOf, type Installation, isConfigured } from '../jobs/installation.ts'
import type { Order, Orders } from '../jobs/orders.ts'
import { planSync } from '../jobs/sync.ts'

type Place = {
  readonly job: PlannedJob['job']
  readonly server: ServerConfig
  readonly database: string | null
  readonly expression: string
}

/** Early enough that a daemon which never lives for a day prunes, too; late enough to stop one that was set up wrong. */
const firstPruneMs = 3_600_000
const pruneIntervalMs = 24 * 3_600_000
/** What cannot be copied is downloaded in vain each time. */
const syncRetryMs = 3_600_000

/**
 * Orders what is due. Due is computed from the schedule and from what the catalog says was started last, not from a
 * clock's tick: a restart, a missed tick or a blocked event loop loses no night and runs none twice.
 */
export class Scheduler {
  readonly #installation: Installation
  readonly #orders: Orders
  readonly #refresh: () => Promise<boolean>
  #databases = new Map<string, readonly string[]>()
  readonly #unanswered = new Set<string>()
  #planned: readonly PlannedJob[] = []
  #nextPruneMs: number

  /** `refresh` reads the store again, so that what another process did since counts; false if it does not answer. */
  constructor(installation: Installation, orders: Orders, refresh: () => Promise<boolean>) {
    this.#installation = installation
    this.#orders = orders
    this.#refresh = refresh
    this.#nextPruneMs = installation.clock.monotonicMs() + firstPruneMs
  }

  planned(): readonly PlannedJob[] {
    return this.#planned
  }

  /**
   * Looks for new and vanished databases. A server that does not answer keeps the list it had, or what the store knows
   * of it: its backups are due all the same, and fail with a reason.
   */
  async discover(signal: AbortSignal): Promise<void> {
    const { config, log } = this.#installation
    await Promise.all(
      config.servers.map(async (server) => {
        try {
          this.#databases.set(server.name, await databasesOf(server, signal))
          this.#unanswered.delete(server.name)
        } catch (error) {
          if (signal.aborted) return
          if (!this.#unanswered.has(server.name))
            log.warn({ server: server.name, reason: reasonOf(error) }, 'cannot list the databases')
          this.#unanswered.add(server.name)
        }
      }),
    )
    this.#plan()
  }

  /** Orders everything that is due now. Cheap when nothing is. */
  async tick(): Promise<void> {
    const due = this.#duePlaces()
    if (due.length > 0) {
      // Another daemon or a person may have done it meanwhile: ask the store before doing it again.
      if (!(await this.#refresh())) return
      for (const { job, server, database } of this.#duePlaces())
        this.#give({ job, server: server.name, database, trigger: 'schedule' })
      this.#plan()
    }
    this.#orderDailyPrune()
  }

  /** Orders a sync if a store that can be read lacks what another one has; a while after one that failed. */
  orderSync(): void {
    const { catalog, clock, stores } = this.#installation
    if (stores.named.length < 2) return
    if (catalog.runs().some((run) => run.job === 'sync' && !isFinished(run))) return
    const last = catalog.runs().find((run) => run.job === 'sync')
    const failedAt = last?.state === 'failed' ? last.finishedAt : null
    if (failedAt !== null && clock.now().getTime() - failedAt.getTime() < syncRetryMs) return
    const isLacking = catalog
      .standings()
      .filter(({ error }) => error === null)
      .map(({ name }) => planSync(name, this.#installation))
      .some(({ backups, reports }) => backups.length + reports.length > 0)
    if (isLacking) this.#give({ job: 'sync', server: '', database: null, trigger: 'schedule' })
  }

  #duePlaces(): Place[] {
    const { catalog, clock, config, storeCreatedAt } = this.#installation
    const now = clock.now()
    return this.#places().filter(({ job, server, database, expression }) => {
      if (job === 'drill' && catalog.newest(server.name, database ?? '') === undefined) return false
      const lastStart = catalog.lastStart(server.name, database, job, now)
      return isDue({ expression, timezone: config.timezone, now, lastStart, since: storeCreatedAt }).due
    })
  }

  #give(order: Order): void {
    try {
      this.#orders.order(order)
    } catch (error) {
      // Still running since last time, or on the way down: the next tick asks again.
      if (!(error instanceof PgproofError)) throw error
      const { job, server, database } = order
      this.#installation.log.debug({ job, server, database, reason: error.message }, 'not ordered')
    }
  }

  /** Orphans and old reports belong to no backup's own prune. */
  #orderDailyPrune(): void {
    const nowMs = this.#installation.clock.monotonicMs()
    if (nowMs < this.#nextPruneMs) return
    this.#nextPruneMs = nowMs + pruneIntervalMs
    this.#give({ job: 'prune', server: '', database: null, trigger: 'schedule' })
  }

  #places(): Place[] {
    const { servers }: Config = this.#installation.config
    return servers.flatMap((server) => {
      const { backup, roles, drill } = server.schedule
      const databases = this.#databases.get(server.name) ?? this.#databasesInStore(server)
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

  #databasesInStore(server: ServerConfig): string[] {
    return this.#installation.catalog
      .databases()
      .filter((known) => known.server === server.name && isConfigured(server, known.database))
      .map(({ database }) => database)
  }

  #plan(): void {
    const { clock, config } = this.#installation
    const now = clock.now()
    const timing = new Map<string, { nextAt: Date; intervalSeconds: number }>()
    this.#planned = this.#places().map(({ job, server, database, expression }) => {
      const known = timing.get(expression) ?? {
        nextAt: nextDue(expression, config.timezone, now),
        intervalSeconds: scheduleIntervalSeconds(expression, config.timezone, now),
      }
      timing.set(expression, known)
      return { job, server: server.name, database, ...known }
    })
  }
}
