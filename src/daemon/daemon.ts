import type { PlannedJob, Run } from '../catalog/runs.ts'
import { reasonOf } from '../errors.ts'
import type { Installation } from '../jobs/installation.ts'
import { type KeyExpiry, readKeyExpiries } from '../jobs/key-expiries.ts'
import type { Queue } from '../jobs/orders.ts'
import type { QueueView } from '../jobs/queue-view.ts'
import type { Readiness } from '../jobs/readiness.ts'
import { spareFullCollections } from './full-collections.ts'
import { RunQueue } from './run-queue.ts'
import { Scheduler } from './scheduler.ts'
import { Stopwatch } from './stopwatch.ts'

/**
 * How often due runs are looked for, in milliseconds; being late by this much is the price of not trusting ticks. By the
 * monotonic clock: a waker that waits for a time of day sleeps on when the clock is put back, and one that counts what it
 * missed counts for minutes after a long sleep.
 */
const wakeEveryMs = 5_000

export type QueueParts = {
  readonly installation: Installation
  /** Asked before a run begins that a schedule of this process ordered. */
  readonly isWanted: (run: Run) => Promise<boolean>
  readonly isThere: (server: string, database: string) => boolean
  readonly vanished: () => QueueView['vanished']
  /** Reads the store again; false if it does not answer. */
  readonly refresh: () => Promise<boolean>
}

export type OpenQueue = (parts: QueueParts) => Queue

function inThisProcess({ installation, isWanted, isThere, vanished }: QueueParts): Queue {
  return new RunQueue(installation, isWanted, isThere, vanished)
}

/** The long-lived process: schedule, queue, and an index that follows the store. */
export class Daemon {
  readonly queue: Queue
  readonly #installation: Installation
  readonly #scheduler: Scheduler
  readonly #stopping = new AbortController()
  /** Null before the first answer. */
  #isStoreUp: boolean | null = null
  readonly #storesDown = new Set<string>()
  #storeProblem = 'the store has not been read yet'
  #keyExpiries: readonly KeyExpiry[] = []
  #waker: NodeJS.Timeout | undefined
  #ticking: Promise<void> | undefined
  readonly #sinceLook: Stopwatch
  #isLookWanted = true
  #isSyncWanted = false
  #isStarted = false

  constructor(installation: Installation, openQueue: OpenQueue = inThisProcess) {
    this.#installation = installation
    this.#sinceLook = new Stopwatch(installation.clock)
    this.queue = openQueue({
      installation,
      isWanted: (run) => this.#scheduler.isWanted(run),
      isThere: (server, database) => this.#scheduler.knows(server, database),
      vanished: () => this.#scheduler.vanished(),
      refresh: () => this.#refresh(),
    })
    this.#scheduler = new Scheduler(installation, this.queue, () => this.#refresh())
  }

  /** Reads the store, the servers and the keys, so that everything is right before the first scrape. Starts nothing. */
  async prepare(signal: AbortSignal): Promise<void> {
    signal.addEventListener('abort', () => this.#stopping.abort(), { once: true })
    await this.#lookAround()
  }

  /** Orders what is due from now on. */
  start(): void {
    this.#isStarted = true
    this.queue.start()
    this.#waker = setInterval(() => this.wake(), wakeEveryMs)
    this.wake()
  }

  /**
   * Looks once for what is due and keeps the index fresh. Never two at a time; a slow store does not pile up ticks. Not
   * before the start: nothing may begin earlier.
   */
  wake(): void {
    if (!this.#isStarted || this.#ticking !== undefined || this.#stopping.signal.aborted) return
    this.#ticking = this.#tick()
      .catch((error: unknown) => {
        if (!this.#stopping.signal.aborted)
          this.#installation.log.error({ reason: reasonOf(error) }, 'the scheduler stumbled; it tries again')
      })
      .finally(() => {
        this.#ticking = undefined
      })
  }

  /** Reads the store again; false if it does not answer. */
  async refresh(): Promise<boolean> {
    return await this.#refresh()
  }

  /** Another configuration is in force: servers, schedules and keys are looked at again, soon. */
  reload(): void {
    this.#scheduler.reloaded()
    this.#isLookWanted = true
    this.queue.look()
    this.wake()
  }

  planned(): readonly PlannedJob[] {
    return this.#scheduler.planned()
  }

  /** When a run is tried again that ended badly; null if it is not, or was not ordered by a schedule. */
  retryAt(run: Run): Date | null {
    return this.#scheduler.retryAt(run)
  }

  keyExpiries(): readonly KeyExpiry[] {
    return this.#keyExpiries
  }

  isReady(): Readiness {
    if (this.#stopping.signal.aborted)
      return { ready: false, reasons: ['it is shutting down'], awaited: 'it is started again' }
    const { isReachable, reason, code } = this.queue.view()
    const lacking = [
      ...(this.#isStoreUp === true ? [] : [{ reason: this.#storeProblem, awaited: 'it can read the store' }]),
      ...(isReachable ? [] : [{ reason: reason ?? '', awaited: queueAwaits(code) }]),
    ]
    return {
      ready: lacking.length === 0,
      reasons: lacking.map((one) => one.reason),
      awaited: lacking.map(({ awaited }) => awaited).join(' and '),
    }
  }

  /** Takes nothing new, lets running jobs finish within the grace, then aborts them cleanly. */
  async stop(graceMs: number): Promise<void> {
    clearInterval(this.#waker)
    this.#stopping.abort()
    await this.#ticking
    await this.queue.close(graceMs)
  }

  async #tick(): Promise<void> {
    const { catalogRefreshMs } = this.#installation.config.daemon
    if (this.#isLookWanted || this.#sinceLook.elapsed() >= catalogRefreshMs) await this.#lookAround()
    if (this.#isSyncWanted && this.queue.hasTurn()) {
      this.#isSyncWanted = false
      this.#scheduler.orderSync()
    }
    // Without the store it is unknown what was done already; a backup could not be stored either.
    if (this.#isStoreUp !== true) await this.#refresh()
    else if (this.queue.hasTurn()) await this.#scheduler.tick()
    else this.#scheduler.watch()
    this.queue.look()
  }

  async #lookAround(): Promise<void> {
    this.#isLookWanted = false
    await this.#refresh()
    await this.#scheduler.discover(this.#stopping.signal)
    this.#isSyncWanted = true
    this.#keyExpiries = await readKeyExpiries(this.#keyExpiries, this.#installation)
    this.#sinceLook.restart()
  }

  /** Whether the store answers. */
  async #refresh(): Promise<boolean> {
    const { catalog, stores, log } = this.#installation
    try {
      await catalog.refresh(stores, this.#stopping.signal).finally(() => this.#noteStandings())
      const missing = catalog.standings().find(({ isRequired, error }) => isRequired && error !== null)
      if (missing?.error != null) throw missing.error
      spareFullCollections(catalog.backups().length)
      // Once for all: otherwise the first answer after it would wait for it.
      catalog.historyGaps()
      if (this.#isStoreUp === false) log.info('the store answers again')
      this.#isStoreUp = true
    } catch (error) {
      if (this.#stopping.signal.aborted) throw error
      if (this.#isStoreUp !== false) log.error({ reason: reasonOf(error) }, 'no backup can be taken without the store')
      this.#isStoreUp = false
      this.#storeProblem = reasonOf(error)
    }
    return this.#isStoreUp === true
  }

  /** What changed about each store, said once. */
  #noteStandings(): void {
    const { catalog, log } = this.#installation
    for (const { name, error } of catalog.standings()) {
      const wasDown = this.#storesDown.has(name)
      if (error === null) {
        this.#storesDown.delete(name)
        if (wasDown) log.info({ store: name }, 'the store can be read again')
        continue
      }
      this.#storesDown.add(name)
      if (!wasDown) log.error({ store: name, reason: error.message }, 'the store cannot be read')
    }
  }
}

/** The register's code says why the queue of a fleet stands still. */
function queueAwaits(code: string | undefined): string {
  if (code === 'FLEET_NAME_TAKEN') return 'no other process calls itself by its name'
  return 'the control database answers'
}
