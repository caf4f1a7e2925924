import { isFinished, type Run } from '../catalog/runs.ts'
import { pickForDrill } from '../drill/pick-for-drill.ts'
import { PgproofError, toPgproofError } from '../errors.ts'
import { type DrillWish, executeRun } from '../jobs/execute.ts'
import { type Installation, isConfigured, serverNamed } from '../jobs/installation.ts'
import type { Order, Orders } from '../jobs/orders.ts'
import { describe, newRun } from '../jobs/run-job.ts'

type Waiting = { readonly run: Run; readonly wish: DrillWish }
type Working = { readonly run: Run; readonly controller: AbortController; readonly ended: Promise<void> }

/** Node's timers take no more; who grants longer than 24 days means for ever. */
const longestTimerMs = 2 ** 31 - 1

/** The orders of this process: backups before drills, one run per database at a time, so many in all. */
export class RunQueue implements Orders {
  readonly #installation: Installation
  readonly #waiting: Waiting[] = []
  readonly #working = new Map<string, Working>()
  #isClosed = false

  constructor(installation: Installation) {
    this.#installation = installation
  }

  order(order: Order): Run {
    if (this.#isClosed) throw new PgproofError('SHUTTING_DOWN')
    this.#assertPossible(order)
    const run = newRun(order, this.#installation)
    this.#waiting.push({ run, wish: order.wish ?? {} })
    this.#waiting.sort((one, other) => urgency(one.run) - urgency(other.run))
    queueMicrotask(() => this.#startWaiting())
    return run
  }

  cancel(id: string): Run {
    const { catalog } = this.#installation
    const run = catalog.findRun(id)
    if (run === undefined) throw new PgproofError('RUN_UNKNOWN', { id })
    if (isFinished(run)) throw new PgproofError('RUN_FINISHED', { id })
    const error = new PgproofError('CANCELLED', { what: describe(run) })
    this.#working.get(id)?.controller.abort(error)
    return this.#dropWaiting(id, error) ?? run
  }

  position(id: string): number | null {
    const index = this.#waiting.findIndex(({ run }) => run.id === id)
    return index === -1 ? null : index
  }

  isBusy(): boolean {
    return this.#working.size > 0
  }

  /** Takes nothing new and drops what waits; running jobs get `graceMs` to finish, then they are aborted cleanly. */
  async close(graceMs: number): Promise<void> {
    this.#isClosed = true
    for (const { run } of [...this.#waiting]) this.#dropWaiting(run.id, new PgproofError('SHUTTING_DOWN'))
    const all = (): Promise<unknown> => Promise.all([...this.#working.values()].map(({ ended }) => ended))
    const grace = new AbortController()
    await Promise.race([
      all(),
      this.#installation.clock.sleep(Math.min(graceMs, longestTimerMs), grace.signal).catch(() => {}),
    ])
    grace.abort()
    this.abortAll()
    await all()
  }

  /** Ends what runs now, without waiting for it. */
  abortAll(): void {
    for (const { controller } of this.#working.values()) controller.abort(new PgproofError('SHUTTING_DOWN'))
  }

  #assertPossible({ job, server, database, wish }: Order): void {
    const { config, catalog } = this.#installation
    if (job === 'prune' || job === 'sync') return
    const configured = serverNamed(config, server)
    if (database !== null && !isConfigured(configured, database))
      throw new PgproofError('DATABASE_NOT_CONFIGURED', { server, database })
    if (job === 'drill')
      pickForDrill({ server, database: database ?? '', backup: wish?.backup ?? null, rule: 'latest', seed: 0 }, catalog)
    const same = catalog
      .runs()
      .find((run) => !isFinished(run) && run.job === job && run.server === server && run.database === database)
    if (same !== undefined) throw new PgproofError('LOCKED', { what: describe(same) })
  }

  #startWaiting(): void {
    const { maxConcurrent } = this.#installation.config.daemon
    for (const waiting of [...this.#waiting]) {
      if (this.#working.size >= maxConcurrent) return
      const { server, database } = waiting.run
      const working = [...this.#working.values()].map(({ run }) => run)
      if (working.some((run) => run.server === server && run.database === database)) continue
      // One place is left for the backups that come due meanwhile.
      const isOneTooMany = working.filter(takesLong).length >= Math.max(1, maxConcurrent - 1)
      if (takesLong(waiting.run) && isOneTooMany) continue
      this.#waiting.splice(this.#waiting.indexOf(waiting), 1)
      this.#start(waiting)
    }
  }

  #start({ run, wish }: Waiting): void {
    const controller = new AbortController()
    const ended = executeRun(run, wish, this.#installation, controller.signal)
      .then(
        () => {},
        (error: unknown) => void toPgproofError(error), // already recorded and logged by runJob
      )
      .then(() => {
        this.#working.delete(run.id)
        if (!this.#isClosed) this.#startWaiting()
      })
    this.#working.set(run.id, { run, controller, ended })
  }

  #dropWaiting(id: string, { code, message, hint }: PgproofError): Run | undefined {
    const index = this.#waiting.findIndex(({ run }) => run.id === id)
    if (index === -1) return undefined
    this.#waiting.splice(index, 1)
    const { catalog, clock } = this.#installation
    return catalog.updateRun(id, { state: 'cancelled', finishedAt: clock.now(), error: { code, message, hint } })
  }
}

/** What takes hours never delays backups. */
function urgency(run: Run): number {
  return takesLong(run) ? 1 : 0
}

function takesLong({ job }: Run): boolean {
  return job === 'drill' || job === 'sync'
}
