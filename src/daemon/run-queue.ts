import { isFinished, type Run, type RunState } from '../catalog/runs.ts'
import { PgproofError, toPgproofError } from '../errors.ts'
import { assertPossible } from '../jobs/assert-possible.ts'
import { executeRun, type RunWish } from '../jobs/execute.ts'
import { isHeldBack } from '../jobs/held-back.ts'
import type { Installation } from '../jobs/installation.ts'
import type { Order, Queue } from '../jobs/orders.ts'
import type { QueueCounts, QueueView } from '../jobs/queue-view.ts'
import { describe, newRun, stateOf } from '../jobs/run-job.ts'
import { logKeys } from '../log.ts'
import { version } from '../version.ts'
import { inTurns } from './turns.ts'

type Waiting = { readonly run: Run; readonly wish: RunWish }
type Working = { readonly run: Run; readonly controller: AbortController; readonly ended: Promise<void> }

/** What failed is counted for so long, as in a fleet. */
const failedForMs = 2 * 86_400_000
/** Node's timers take no more; who grants longer than 24 days means for ever. */
const longestTimerMs = 2 ** 31 - 1

/**
 * The orders of this process: backups before drills, one run per database at a time, so many of a server and so many in
 * all, one server after the other. What a schedule ordered waits while it is paused.
 */
export class RunQueue implements Queue {
  readonly #installation: Installation
  readonly #waiting: Waiting[] = []
  readonly #working = new Map<string, Working>()
  readonly #isWanted: (run: Run) => Promise<boolean>
  readonly #isThere: (server: string, database: string) => boolean
  readonly #vanished: () => QueueView['vanished']
  /** Servers, the one that was served last at the end. */
  #served: readonly string[] = []
  /** Of those that wait; made when it is asked for. */
  #order: readonly Waiting[] | undefined
  #isClosed = false

  /**
   * `isWanted` is asked before a run begins, which may be long after it was ordered; `isThere` whether a server has a
   * database, as far as is known.
   */
  constructor(
    installation: Installation,
    isWanted: (run: Run) => Promise<boolean> = async () => true,
    isThere: (server: string, database: string) => boolean = () => true,
    vanished: () => QueueView['vanished'] = () => [],
  ) {
    this.#installation = installation
    this.#isWanted = isWanted
    this.#isThere = isThere
    this.#vanished = vanished
  }

  order(order: Order): Run {
    if (this.#isClosed) throw new PgproofError('SHUTTING_DOWN')
    this.#assertPossible(order)
    const run = newRun(order, this.#installation)
    this.#waiting.push({ run, wish: { ...order.wish, due: order.due } })
    this.#order = undefined
    queueMicrotask(() => this.look())
    return run
  }

  /** Whatever is ordered starts by itself. */
  start(): void {}

  /** Starts what may start: after a pause has ended or the limits have changed. */
  look(): void {
    if (!this.#isClosed) this.#startWaiting()
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
    const index = this.#inOrder().findIndex(({ run }) => run.id === id)
    return index === -1 ? null : index
  }

  isBusy(): boolean {
    return this.#working.size > 0
  }

  /** Nobody else is there. */
  hasTurn(): boolean {
    return true
  }

  view(): QueueView {
    const { catalog, clock, config } = this.#installation
    const working = [...this.#working.values()].map(({ run }) => run)
    const now = clock.now()
    const pauses = catalog.pauses()
    const failed = catalog
      .runs()
      .filter(
        ({ state, finishedAt }) =>
          (state === 'failed' || state === 'inconclusive') &&
          now.getTime() - (finishedAt?.getTime() ?? 0) < failedForMs,
      )
    const counts = (name: string, isOf: (run: Run) => boolean): QueueCounts => {
      const queued = this.#waiting.flatMap(({ run }) => (isOf(run) ? [run] : []))
      const since = queued.filter((run) => !isHeldBack(run, pauses)).map(({ queuedAt }) => queuedAt.getTime())
      return {
        name,
        queued: queued.length,
        active: working.filter(isOf).length,
        failed: failed.filter(isOf).length,
        oldestQueuedAt: since.length === 0 ? null : new Date(Math.min(...since)),
      }
    }
    return {
      isReachable: true,
      reason: null,
      asOf: now,
      queues: [
        counts('backup', ({ job }) => job === 'backup' || job === 'roles'),
        ...(['drill', 'prune', 'sync'] as const).map((name) => counts(name, ({ job }) => job === name)),
      ],
      dead: [],
      workers: [
        {
          name: 'this process',
          labels: [],
          may: ['backup', 'drill', 'prune', 'sync', 'serve'],
          version,
          seenAt: now,
          isAlive: true,
          hasTurn: true,
          places: config.daemon.maxConcurrent,
          running: working.map((run) => {
            const { id, job, server, database, progress, startedAt, queuedAt } =
              this.#installation.catalog.findRun(run.id) ?? run
            return { run: id, job, server, database, since: startedAt ?? queuedAt, progress }
          }),
          clockOffsetSeconds: 0,
          refused: [],
        },
      ],
      vanished: this.#vanished(),
    }
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

  #assertPossible(order: Order): void {
    const { catalog } = this.#installation
    const { job, server, database, trigger } = order
    assertPossible(order, this.#installation, this.#isThere)
    if (job === 'prune' || job === 'sync') return
    const same = catalog
      .runs()
      .find((run) => !isFinished(run) && run.job === job && run.server === server && run.database === database)
    if (same === undefined) return
    // A pause holds back what the schedule ordered; a person need not wait for its end.
    const isInTheWay = same.state === 'running' || trigger === 'schedule' || !isHeldBack(same, catalog.pauses())
    if (isInTheWay) throw new PgproofError('LOCKED', { what: describe(same) })
    this.#dropWaiting(same.id, new PgproofError('CANCELLED', { what: describe(same) }))
  }

  #startWaiting(): void {
    for (;;) {
      const next = this.#inOrder().find(({ run }) => this.#mayStart(run))
      if (next === undefined) return
      this.#waiting.splice(this.#waiting.indexOf(next), 1)
      this.#order = undefined
      this.#served = [...this.#served.filter((server) => server !== next.run.server), next.run.server]
      this.#start(next)
    }
  }

  #inOrder(): readonly Waiting[] {
    if (this.#order !== undefined) return this.#order
    const waiting = this.#waiting.map((one) => ({ one, server: one.run.server, takesLong: takesLong(one.run) }))
    this.#order = inTurns(waiting, this.#served).map(({ one }) => one)
    return this.#order
  }

  #mayStart(run: Run): boolean {
    const { daemon, servers } = this.#installation.config
    const working = [...this.#working.values()].map((one) => one.run)
    if (working.some(({ server, database }) => server === run.server && database === run.database)) return false
    const ofServer = servers.find(({ name }) => name === run.server)?.maxConcurrent ?? daemon.maxConcurrent
    const isFree = (others: readonly Run[], most: number): boolean => {
      // One place is left for the backups that come due meanwhile.
      const hasPlace = !takesLong(run) || others.filter(takesLong).length < Math.max(1, most - 1)
      return others.length < most && hasPlace
    }
    return (
      isFree(working, daemon.maxConcurrent) &&
      isFree(
        working.filter(({ server }) => server === run.server),
        ofServer,
      ) &&
      !isHeldBack(run, this.#installation.catalog.pauses())
    )
  }

  #start({ run, wish }: Waiting): void {
    const controller = new AbortController()
    const ended = this.#carryOut(run, wish, controller.signal).then(() => {
      this.#working.delete(run.id)
      this.look()
    })
    this.#working.set(run.id, { run, controller, ended })
  }

  /** Never rejects. */
  async #carryOut(run: Run, wish: RunWish, signal: AbortSignal): Promise<void> {
    const { catalog, log } = this.#installation
    try {
      const isWanted = await this.#isWanted(run)
      if (this.#isClosed) this.#end(run.id, 'cancelled', new PgproofError('SHUTTING_DOWN'))
      else if (isWanted || signal.aborted) await executeRun(run, wish, this.#installation, signal)
      else {
        const what = `${describe(run)}, done elsewhere meanwhile,`
        log.info({ [logKeys.run]: run.id }, `${what} is not started`)
        this.#end(run.id, 'cancelled', new PgproofError('CANCELLED', { what }))
      }
    } catch (thrown) {
      // Recorded and logged by runJob, but for what a new configuration does not know any more.
      const known = catalog.findRun(run.id)
      if (known === undefined || isFinished(known)) return
      const failed = toPgproofError(thrown, describe(run))
      // Nobody has cancelled it: this process is on its way down, and was asking the store.
      const isLeft = failed.code === 'CANCELLED' && !signal.aborted
      const error = isLeft ? new PgproofError('SHUTTING_DOWN') : failed
      const state = stateOf(error, run.job)
      const line = { [logKeys.run]: run.id, [logKeys.code]: error.code, reason: error.message }
      if (state === 'cancelled') log.info(line, 'run not started')
      else log.error(line, 'run not started')
      this.#end(run.id, state, error)
    }
  }

  #dropWaiting(id: string, error: PgproofError): Run | undefined {
    const index = this.#waiting.findIndex(({ run }) => run.id === id)
    if (index === -1) return undefined
    this.#waiting.splice(index, 1)
    this.#order = undefined
    return this.#end(id, 'cancelled', error)
  }

  #end(id: string, state: RunState, { code, message, hint }: PgproofError): Run | undefined {
    const { catalog, clock } = this.#installation
    return catalog.updateRun(id, { state, finishedAt: clock.now(), error: { code, message, hint } })
  }
}

/** What takes hours never delays backups. */
function takesLong({ job }: Run): boolean {
  return job === 'drill' || job === 'sync'
}
