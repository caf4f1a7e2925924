import { isFinished, type Run } from '../catalog/runs.ts'
import type { FleetConfig } from '../config/fleet-config.ts'
import { PgproofError, toPgproofError } from '../errors.ts'
import { executeRun, type RunWish } from '../jobs/execute.ts'
import { isHeldBack } from '../jobs/held-back.ts'
import type { Installation } from '../jobs/installation.ts'
import type { WorkerRun } from '../jobs/queue-view.ts'
import { describe } from '../jobs/run-job.ts'
import { logKeys } from '../log.ts'
import type { Control, Outcome, TakenEntry } from './control.ts'
import { isLong } from './entry-of.ts'
import { dueOf, type Payload } from './payload.ts'

/** Carries out one run; throws what the job throws, and records it in the catalog. */
export type CarryOut = (run: Run, wish: RunWish, installation: Installation, signal: AbortSignal) => Promise<unknown>

export type TakenParts = {
  readonly installation: Installation
  readonly fleet: FleetConfig
  readonly control: Control
  /** Reads the store again; false if it does not answer. */
  readonly refresh: () => Promise<boolean>
  readonly carryOut?: CarryOut | undefined
  /** Called when a run has ended, with the queue that it was in. */
  readonly onEnd?: ((run: Run, queue: string) => void) | undefined
  /** Why nothing of a server may be pruned now. */
  readonly objection?: RunWish['objection']
}

type Hand = {
  /** Another one when it was given away and taken back. */
  entry: TakenEntry
  readonly payload: Payload
  readonly run: Run
  readonly controller: AbortController
  /** It was stopped here because another worker may have it. */
  isGivenUp: boolean
  ended: Promise<void>
  /** Null while it goes on; then what has yet to be told to the queue. */
  settlement: (() => Promise<void>) | null
}

/** What was read longer ago is read again before a run begins that had to wait. */
const freshMs = 15_000
/** So long what is held back is left alone before the next look: a pause may be ended, other clocks are right. */
const heldBackMs = 30_000
const longestTimerMs = 2 ** 31 - 1

/** The entries in this worker's hands: what is carried out, and what is done and not yet told to the queue. */
export class TakenRuns {
  readonly #parts: TakenParts
  readonly #hands = new Map<string, Hand>()
  #isClosing = false

  constructor(parts: TakenParts) {
    this.#parts = parts
  }

  has(id: string): boolean {
    return this.#hands.has(id)
  }

  /** Of what is still going on. */
  places(): { readonly taken: number; readonly takenByLong: number } {
    const busy = this.#busy()
    return { taken: busy.length, takenByLong: busy.filter(({ entry }) => isLong(entry.queue)).length }
  }

  running(): readonly WorkerRun[] {
    const { catalog } = this.#parts.installation
    return this.#busy().map(({ run }) => {
      const { id, job, server, database, queuedAt, startedAt, progress } = catalog.findRun(run.id) ?? run
      return { run: id, job, server, database, since: startedAt ?? queuedAt, progress }
    })
  }

  /**
   * Begins what was taken. What goes on here already was given away while this worker could not show that it lives, and
   * nobody else took it: it goes on, by its new attempt.
   */
  start(entry: TakenEntry, payload: Payload): void {
    const known = this.#hands.get(entry.id)
    if (known !== undefined) {
      known.entry = entry
      return
    }
    const { catalog } = this.#parts.installation
    const { job, server, database, trigger, attempt } = payload
    const run: Run = {
      ...{ id: entry.id, job, server, database, trigger, attempt, state: 'queued', queuedAt: entry.queuedAt },
      ...{ startedAt: null, finishedAt: null, label: null, error: null, progress: null },
      worker: this.#parts.fleet.worker,
    }
    catalog.addRun(run)
    const controller = new AbortController()
    const ended = Promise.resolve()
    const hand: Hand = { entry, payload, run, controller, isGivenUp: false, ended, settlement: null }
    this.#hands.set(run.id, hand)
    hand.ended = this.#carryOut(hand)
  }

  /** False if it does not go on here. */
  cancel(id: string, error: PgproofError): boolean {
    const hand = this.#hands.get(id)
    if (hand === undefined || hand.settlement !== null) return false
    hand.controller.abort(error)
    return true
  }

  /** Shows that this worker is alive. What was cancelled elsewhere is stopped. Throws FLEET_UNREACHABLE. */
  async touch(): Promise<void> {
    const { control } = this.#parts
    const hands = [...this.#hands.values()]
    if (hands.length === 0) return
    const ours = await control.touch(hands.map(({ entry }) => entry))
    const lost = hands.filter(({ entry }) => !ours.has(entry.id) && this.#hands.has(entry.id))
    if (lost.length === 0) return
    const rows = new Map((await control.find(lost.map(({ entry }) => entry.id))).map((row) => [row.id, row]))
    for (const hand of lost) {
      const row = rows.get(hand.entry.id)
      const { run } = hand
      if (row?.state === 'cancelled') hand.controller.abort(new PgproofError('CANCELLED', { what: describe(run) }))
      // Given to another worker, or the queue is a new one. A backup goes on: it holds the lock on its database, and what it
      // makes counts. A drill would only be done twice.
      else if (run.job === 'drill') {
        hand.isGivenUp = true
        hand.controller.abort(new PgproofError('LOCKED', { what: describe(run) }))
      }
    }
  }

  /** Tells the queue what has ended; what cannot be told now is kept for next time. Throws FLEET_UNREACHABLE. */
  async settle(): Promise<void> {
    for (const [id, { settlement }] of [...this.#hands]) {
      if (settlement === null) continue
      await settlement()
      this.#hands.delete(id)
    }
  }

  /** Lets runs end within `graceMs`, then stops them; those go back into the queue. Never rejects. */
  async close(graceMs: number): Promise<void> {
    this.#isClosing = true
    const { clock } = this.#parts.installation
    const all = (): Promise<unknown> => Promise.all([...this.#hands.values()].map(({ ended }) => ended))
    const grace = new AbortController()
    const waited = clock.sleep(Math.min(graceMs, longestTimerMs), grace.signal).catch(() => {})
    await Promise.race([all(), waited])
    grace.abort()
    for (const { controller } of this.#busy()) controller.abort(new PgproofError('SHUTTING_DOWN'))
    await all()
    await this.settle().catch(() => {})
  }

  #busy(): Hand[] {
    return [...this.#hands.values()].filter(({ settlement }) => settlement === null)
  }

  /** Never rejects. */
  async #carryOut(hand: Hand): Promise<void> {
    const { installation, carryOut = executeRun, control, fleet, objection } = this.#parts
    const { payload, run, controller } = hand
    const { catalog, log } = installation
    const mustWait = (): boolean =>
      !controller.signal.aborted && (this.#isEarly(hand) || isHeldBack(run, catalog.pauses()))
    let waits = mustWait()
    try {
      const isWanted = waits || (await this.#isWanted(hand))
      // What was asked of the store may have told of a pause, too.
      waits ||= mustWait()
      if (waits) {
        log.debug({ [logKeys.run]: run.id }, 'held back for a while')
        catalog.updateRun(run.id, { worker: null })
      } else if (!isWanted) {
        const what = `${describe(run)}, done elsewhere meanwhile,`
        log.info({ [logKeys.run]: run.id }, `${what} is not started`)
        this.#end(run, new PgproofError('CANCELLED', { what }))
      } else if (this.#isClosing) this.#end(run, new PgproofError('SHUTTING_DOWN'))
      else {
        const wish = { ...payload.wish, prune: fleet.may.includes('prune'), due: dueOf(payload), objection }
        await carryOut(run, wish, installation, controller.signal)
      }
    } catch (thrown) {
      // Recorded and logged by runJob, but for what it could not begin.
      const known = catalog.findRun(run.id)
      const error = toPgproofError(thrown, describe(run))
      // Nobody has cancelled it: this process is on its way down, and was asking the store.
      const isLeft = error.code === 'CANCELLED' && !controller.signal.aborted
      if (known !== undefined && !isFinished(known)) this.#end(run, isLeft ? new PgproofError('SHUTTING_DOWN') : error)
    }
    const ended = catalog.findRun(run.id) ?? run
    const isForAnother = ended.error?.code === 'SHUTTING_DOWN' || (hand.isGivenUp && !isDone(ended))
    if (waits) hand.settlement = () => control.putBack(hand.entry, heldBackMs)
    else if (isForAnother) hand.settlement = () => control.putBack(hand.entry)
    else hand.settlement = () => control.finish(hand.entry, outcomeOf(ended, fleet.worker))
    this.#parts.onEnd?.(ended, hand.entry.queue)
  }

  /** By a clock that is behind, what is done before its due time would count for the one before. */
  #isEarly({ payload }: Hand): boolean {
    const due = dueOf(payload)
    return due !== undefined && due.time > this.#parts.installation.clock.now()
  }

  /**
   * Whether it was not done meanwhile, by a worker that died before it could tell, or by hand. A store that does not
   * answer leaves it to the run to say so.
   */
  async #isWanted({ entry, payload }: Hand): Promise<boolean> {
    const { installation, refresh } = this.#parts
    const { catalog, clock } = installation
    const due = dueOf(payload)
    const { job, server, database } = payload
    if (due === undefined || job === 'prune' || job === 'sync') return true
    const asked = Math.max(entry.queuedAt.getTime(), catalog.lastRefreshedAt?.getTime() ?? 0)
    const isOld = Math.abs(clock.now().getTime() - asked) > freshMs
    if (isOld || entry.retries > 0 || due.runs > 1) await refresh()
    const stored = catalog.lastStored({ job, server, database }, new Date(due.until.getTime() - 1), 'conclusive')
    return stored === null || stored < due.time
  }

  #end(run: Run, { code, message, hint }: PgproofError): void {
    const { catalog, clock } = this.#parts.installation
    const state = code === 'CANCELLED' || code === 'SHUTTING_DOWN' ? 'cancelled' : 'failed'
    catalog.updateRun(run.id, { state, finishedAt: clock.now(), error: { code, message, hint } })
  }
}

function isDone({ state }: Run): boolean {
  return state === 'succeeded' || state === 'inconclusive'
}

function outcomeOf({ state, startedAt, finishedAt, label, error }: Run, worker: string): Outcome {
  const known = state === 'succeeded' || state === 'cancelled' || state === 'inconclusive' ? state : 'failed'
  const at = finishedAt ?? startedAt
  return {
    state: known,
    worker,
    startedAt: startedAt?.toISOString() ?? null,
    finishedAt: (at ?? new Date(0)).toISOString(),
    label,
    error,
  }
}
