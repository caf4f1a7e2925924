import { randomUUID } from 'node:crypto'
import { isFinished, type Run } from '../catalog/runs.ts'
import { PgproofError, reasonOf, toPgproofError } from '../errors.ts'
import { assertPossible } from '../jobs/assert-possible.ts'
import { isHeldBack } from '../jobs/held-back.ts'
import type { Order, Queue } from '../jobs/orders.ts'
import type { QueueView, WorkerSign } from '../jobs/queue-view.ts'
import { describe } from '../jobs/run-job.ts'
import { logKeys } from '../log.ts'
import { version } from '../version.ts'
import { Agreement } from './agreement.ts'
import { ClockOffset } from './clock-offset.ts'
import { entryOf, queuesFor } from './entry-of.ts'
import type { FleetParts } from './fleet-parts.ts'
import { Mirror } from './mirror.ts'
import { entryId } from './payload.ts'
import { Peers } from './peers.ts'
import { Refusals } from './refusals.ts'
import { SteppedBack } from './stepped-back.ts'
import { TakenRuns } from './taken-runs.ts'
import { tidyQueue } from './tidy-queue.ts'
import { positionOf, withUnserved } from './unserved.ts'

/** How often the queue is looked at; what a person orders waits so long at most. */
const beatMs = 2_000
/** How often this worker shows that it lives, and asks what was cancelled. */
const signMs = 5_000
/** How often at least the signs of the others are read: by them it is known whether anything may be pruned. */
const peersMs = 10_000
/** How often whoever has no turn asks for it: each time is a connection. */
const turnMs = 15_000
/** The same for one whose clock is wrong: perhaps there is no other. */
const wrongClockTurnMs = 300_000
/** So often the dead are looked for. */
const superviseMs = 10_000

/**
 * The queue that a fleet shares, as one worker has it. All that it does happens in beats; when the control database does
 * not answer, a beat ends early and the next one goes on. What was ordered and could not be told is kept.
 */
export class FleetQueue implements Queue {
  readonly #parts: FleetParts
  readonly #taken: TakenRuns
  readonly #mirror: Mirror
  readonly #refusals: Refusals
  readonly #peers: Peers
  readonly #agreement: Agreement
  readonly #steppedBack: SteppedBack
  readonly #offset: ClockOffset
  readonly #orders: { readonly run: Run; readonly order: Order }[] = []
  readonly #cancels = new Set<string>()
  /** Tells this process from another one of the same name. */
  readonly #instance = randomUUID()
  #hasName = false
  readonly #last = { sign: -Infinity, peers: -Infinity, turn: -Infinity, supervise: -Infinity, reached: -Infinity }
  #since: Date | null = null
  #timer: NodeJS.Timeout | undefined
  #beating: Promise<void> | undefined
  #isWantedAgain = false
  #hasTurn = false
  #isClosed = false
  /** Null while the control database answers. */
  #fault: PgproofError | null = null

  constructor(parts: FleetParts) {
    this.#parts = parts
    const { installation, fleet } = parts
    this.#peers = new Peers(fleet.worker, fleet.heartbeatMs)
    this.#agreement = new Agreement(installation, fleet.worker, this.#peers)
    this.#steppedBack = new SteppedBack(installation, this.#peers)
    this.#offset = new ClockOffset(installation.log)
    this.#taken = new TakenRuns({
      ...parts,
      // On the way down the signs are read less and less: whatever is not pruned now, the next prune catches up with.
      objection: (server) => (this.#isClosed ? new PgproofError('SHUTTING_DOWN') : this.#agreement.objection(server)),
      onEnd: (run, queue) => {
        // The others must hear of it, so that not all step back at once.
        if (this.#steppedBack.note(run, queue)) this.#last.sign = -Infinity
        this.look()
      },
    })
    const isOurs = (id: string): boolean => this.#taken.has(id) || this.#isOrdered(id)
    this.#mirror = new Mirror(installation, fleet, isOurs, parts.refresh)
    this.#refusals = new Refusals(installation)
  }

  /** Begins to take, once there is somebody to take for. */
  start(): void {
    this.#timer ??= setInterval(() => void this.beat(), beatMs)
    void this.beat()
  }

  order(order: Order): Run {
    const { installation, isThere } = this.#parts
    const { catalog, clock, storeId } = installation
    if (this.#isClosed) throw new PgproofError('SHUTTING_DOWN')
    if (this.#fault !== null) throw this.#fault
    assertPossible(order, installation, isThere)
    const { job, server, database, trigger, attempt = 1, due } = order
    const id = due === undefined ? randomUUID() : entryId(storeId, order, due)
    const known = catalog.findRun(id)
    if (known !== undefined) return known
    const same = catalog
      .runs()
      .find((run) => !isFinished(run) && run.job === job && run.server === server && run.database === database)
    if (same !== undefined) {
      // A pause holds back what the schedule ordered; a person need not wait for its end.
      const isInTheWay = same.state === 'running' || trigger === 'schedule' || !isHeldBack(same, catalog.pauses())
      if (isInTheWay) throw new PgproofError('LOCKED', { what: describe(same) })
      this.#cancels.add(same.id)
      this.#end(same, 'cancelled', new PgproofError('CANCELLED', { what: describe(same) }))
    }
    const run: Run = {
      ...{ id, job, server, database, trigger, attempt, state: 'queued', queuedAt: clock.now(), worker: null },
      ...{ startedAt: null, finishedAt: null, label: null, error: null, progress: null },
    }
    catalog.addRun(run)
    this.#orders.push({ run, order })
    queueMicrotask(() => this.look())
    return run
  }

  cancel(id: string): Run {
    const { catalog } = this.#parts.installation
    const run = catalog.findRun(id)
    if (run === undefined) throw new PgproofError('RUN_UNKNOWN', { id })
    if (isFinished(run)) throw new PgproofError('RUN_FINISHED', { id })
    const error = new PgproofError('CANCELLED', { what: describe(run) })
    if (this.#taken.cancel(id, error)) return run
    const index = this.#orders.findIndex((one) => one.run.id === id)
    if (index !== -1) {
      this.#orders.splice(index, 1)
      // It may be on its way.
      this.#cancels.add(id)
      return this.#end(run, 'cancelled', error)
    }
    if (this.#fault !== null) throw this.#fault
    this.#cancels.add(id)
    this.look()
    return run
  }

  position(id: string): number | null {
    const { fleet, installation } = this.#parts
    const { catalog, config } = installation
    const living = this.#mirror.isNew ? null : [fleet, ...this.#peers.living()]
    return positionOf(id, catalog.runs(), living, config.servers)
  }

  hasTurn(): boolean {
    return this.#hasTurn && this.#fault === null && !this.#mirror.isNew && !this.#isClockOff()
  }

  isBusy(): boolean {
    return this.#taken.places().taken > 0
  }

  view(): QueueView {
    const { vanished } = this.#parts
    const reason = this.#fault?.message ?? null
    const fault = { isReachable: this.#fault === null, reason, code: this.#fault?.code }
    const view = withUnserved(this.#mirror.view(), this.#parts.installation.config.servers)
    return { ...view, ...fault, vanished: vanished() }
  }

  look(): void {
    this.#isWantedAgain = true
    if (this.#timer !== undefined) void this.beat()
  }

  async close(graceMs: number): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    clearInterval(this.#timer)
    await this.#beating
    const { control, fleet } = this.#parts
    await this.#sendOrders().catch(() => {})
    this.#hasTurn = false
    await control.leaveTurn().catch(() => {})
    // While the runs end: nobody must take this worker for dead, and each that has ended is told at once.
    const alive = setInterval(() => void this.#stayAlive().catch(() => {}), signMs)
    await this.#taken.close(graceMs)
    clearInterval(alive)
    await this.#mirror.close()
    await control.signOff(fleet.worker, this.#instance).catch(() => {})
    await control.close()
  }

  async #stayAlive(): Promise<void> {
    await this.#taken.touch()
    await this.#taken.settle()
    const { control } = this.#parts
    const { now, isFirst } = await control.sign(this.#sign(), { instance: this.#instance, claims: false })
    this.#peers.take(await control.signs(), now, isFirst)
  }

  /** One look at everything. Never rejects, and never two at a time. */
  async beat(): Promise<void> {
    if (this.#isClosed) return
    this.#beating ??= this.#beatOnce().finally(() => {
      this.#beating = undefined
      if (this.#isWantedAgain && this.#timer !== undefined && this.#fault === null) void this.beat()
    })
    await this.#beating
  }

  async #beatOnce(): Promise<void> {
    this.#isWantedAgain = false
    const { log, clock } = this.#parts.installation
    try {
      // First, because a new order may take the place of one that was cancelled.
      for (const id of this.#cancels) {
        await this.#parts.control.cancel(id)
        this.#cancels.delete(id)
      }
      await this.#sendOrders()
      await this.#taken.settle()
      const isSignDue = this.#isDue('sign', Math.min(signMs, this.#parts.fleet.heartbeatMs / 4))
      if (isSignDue) await this.#taken.touch()
      await this.#keepTurn()
      if (isSignDue) await this.#showLife()
      await this.#take()
      if (this.#fault !== null) log.info('the queue goes on')
      if (this.#last.reached === -Infinity || this.#fault !== null) this.#last.reached = clock.monotonicMs()
      this.#fault = null
      this.#agreement.superseded = null
    } catch (thrown) {
      const error = toPgproofError(thrown, 'the queue')
      if (this.#fault === null)
        log.error({ [logKeys.code]: error.code, reason: error.message }, 'the queue stands still')
      this.#fault = error
      if (error.code === 'FLEET_NAME_TAKEN') {
        this.#agreement.superseded = error
        await this.#parts.control.leaveTurn().catch(() => {})
      }
      this.#hasTurn = false
      Object.assign(this.#last, { sign: -Infinity, peers: -Infinity })
    }
  }

  async #sendOrders(): Promise<void> {
    const { installation, control, fleet } = this.#parts
    const { catalog, clock, log } = installation
    const orders = this.#orders.filter(({ order }) => order.due === undefined || order.due.until > clock.now())
    for (const { run } of this.#orders.filter((one) => !orders.includes(one)))
      this.#end(run, 'cancelled', new PgproofError('CANCELLED', { what: describe(run) }))
    this.#orders.splice(0, this.#orders.length, ...orders)
    if (orders.length === 0) return
    const own = new Set(orders.map(({ run }) => run.id))
    const waiting = new Map<string, number>()
    const countOf = (server: string): number => waiting.get(server) ?? 0
    for (const { id, state, server } of catalog.runs())
      if (state === 'queued' && !own.has(id)) waiting.set(server, countOf(server) + 1)
    const entries = orders.flatMap(({ run, order }) => {
      try {
        const entry = entryOf(run, order, countOf(order.server), installation, fleet.worker)
        waiting.set(order.server, countOf(order.server) + 1)
        return [entry]
      } catch (error) {
        // Its server is not in the configuration any more.
        log.warn({ [logKeys.run]: run.id, reason: reasonOf(error) }, 'not ordered')
        this.#end(run, 'failed', toPgproofError(error, describe(run)))
        return []
      }
    })
    // By turns also among those that are ordered together.
    entries.sort((one, other) => other.priority - one.priority)
    const added = await control.add(entries)
    const others = entries.filter(({ id }) => !added.has(id)).map(({ id }) => id)
    const rows = new Map((others.length === 0 ? [] : await control.find(others)).map((row) => [row.id, row]))
    const sent = orders.map(({ run }) => run)
    // Others may have come meanwhile, or have been cancelled.
    this.#orders.splice(0, this.#orders.length, ...this.#orders.filter(({ run }) => !own.has(run.id)))
    for (const run of sent.filter(({ id }) => others.includes(id))) {
      const row = rows.get(run.id)
      // Ordered before, by another worker or by this one in an earlier life: what became of it counts.
      if (row !== undefined) this.#mirror.adopt(row)
      else this.#end(run, 'failed', new PgproofError('LOCKED', { what: describe(run) }))
    }
  }

  async #keepTurn(): Promise<void> {
    const { control, fleet, installation } = this.#parts
    const mayHave = fleet.may.includes('backup')
    if (this.#hasTurn && !this.#mirror.isNew && this.#isClockOff()) {
      await control.leaveTurn()
      this.#hasTurn = false
    }
    const everyMs = this.#offset.isWrong ? wrongClockTurnMs : turnMs
    if (mayHave && (this.#hasTurn || this.#isDue('turn', everyMs))) {
      const had = this.#hasTurn
      this.#hasTurn = await control.takeTurn()
      if (this.#hasTurn && !had) installation.log.info('this worker has the turn: it orders what is due')
    }
    if (!this.#hasTurn) return
    // Nobody is dead only because the control database was away: each gets the time to show that it lives.
    const isSettled = this.#last.reached !== -Infinity && this.#elapsed('reached') > fleet.heartbeatMs
    if (isSettled && this.#isDue('supervise', superviseMs)) {
      await control.supervise()
      await tidyQueue(control, this.#mirror, installation)
    }
  }

  async #showLife(): Promise<void> {
    const { control, fleet, installation } = this.#parts
    const { clock } = installation
    const before = clock.now().getTime()
    const sign = this.#sign()
    // Whoever starts has the name: what it replaces may be dead, or on its way down, and nobody waits to find out.
    const { now, isFirst } = await control.sign(sign, { instance: this.#instance, claims: !this.#hasName })
    const isMadeAnew = isFirst && this.#hasName
    this.#hasName = true
    this.#offset.note((before + clock.now().getTime()) / 2 - now.getTime())
    const mirrors = this.#hasTurn || fleet.may.includes('serve')
    // Who shows nobody what the others do needs less often to know of them.
    if (!mirrors && !isMadeAnew && !this.#isDue('peers', Math.min(fleet.heartbeatMs / 2, peersMs))) return
    const signs = await control.signs()
    this.#peers.take(signs, now, isMadeAnew)
    if (!mirrors) return
    const { rows, now: asOf } = await control.changes(this.#since)
    this.#since = new Date(asOf.getTime() - 5_000)
    this.#mirror.take(rows, signs, asOf)
  }

  #sign(): WorkerSign {
    const { fleet, installation } = this.#parts
    const { clock, config } = installation
    const { worker: name, labels, may } = fleet
    return {
      ...{ name, labels, may, version, hasTurn: this.#hasTurn },
      seenAt: new Date(clock.now().getTime() - this.#offset.ms),
      places: config.daemon.maxConcurrent,
      running: this.#taken.running(),
      clockOffsetSeconds: Math.round(this.#offset.ms) / 1000,
      refused: [...this.#refusals.list(), ...this.#steppedBack.list(), ...this.#agreement.list()],
      pruneRules: this.#agreement.rules(),
      ...(this.#isClosed ? { isClosing: true } : {}),
    }
  }

  #isClockOff(): boolean {
    if (!this.#offset.isWrong) return false
    const now = new Date(this.#parts.installation.clock.now().getTime() - this.#offset.ms)
    const others = this.#mirror.workers(now).filter(({ name, isAlive }) => isAlive && name !== this.#parts.fleet.worker)
    return this.#offset.isWrongAlone(others)
  }

  async #take(): Promise<void> {
    const { control, fleet, installation } = this.#parts
    for (;;) {
      const { config } = installation
      const places = { most: config.daemon.maxConcurrent, ...this.#taken.places() }
      const queues = queuesFor(fleet, places).filter(
        (queue) => !this.#refusals.isQueueRefused(queue) && !this.#steppedBack.isQueueLeft(queue),
      )
      if (queues.length === 0 || this.#isClosed) return
      const limited = config.servers.flatMap(({ name, maxConcurrent }) =>
        maxConcurrent === undefined ? [] : [[name, maxConcurrent] as const],
      )
      const rules = {
        queues,
        ignored: this.#refusals.servers(),
        ignoredIn: new Map(queues.map((queue) => [queue, this.#steppedBack.serversLeft(queue)] as const)),
        perServer: new Map(limited),
        backupsInAll: fleet.maxBackups,
      }
      const entry = await control.take(rules)
      if (entry === null) return
      const judged = this.#refusals.judge(entry)
      if ('payload' in judged) this.#taken.start(entry, judged.payload)
      else if (judged.isPoisoned)
        await control.setAside(entry, { code: judged.error.code, reason: judged.error.message })
      else {
        await control.putBack(entry)
        // One refusal in a beat: an entry that is not what its place in the queue says would come again and again.
        return
      }
    }
  }

  #isOrdered(id: string): boolean {
    return this.#orders.some(({ run }) => run.id === id)
  }

  #end(run: Run, state: 'cancelled' | 'failed', { code, message, hint }: PgproofError): Run {
    const { catalog, clock } = this.#parts.installation
    return catalog.updateRun(run.id, { state, finishedAt: clock.now(), error: { code, message, hint } }) ?? run
  }

  #elapsed(what: 'sign' | 'peers' | 'turn' | 'supervise' | 'reached'): number {
    return this.#parts.installation.clock.monotonicMs() - this.#last[what]
  }

  #isDue(what: 'sign' | 'peers' | 'turn' | 'supervise', everyMs: number): boolean {
    if (this.#elapsed(what) < everyMs) return false
    this.#last[what] = this.#parts.installation.clock.monotonicMs()
    return true
  }
}
