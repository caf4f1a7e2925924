import { z } from 'zod'
import { isFinished, type Run, type RunState } from '../catalog/runs.ts'
import type { FleetConfig } from '../config/fleet-config.ts'
import { PgproofError } from '../errors.ts'
import { isHeldBack } from '../jobs/held-back.ts'
import type { Installation } from '../jobs/installation.ts'
import type { DeadEntry, QueueCounts, QueueView, WorkerSign, WorkerView } from '../jobs/queue-view.ts'
import { describe } from '../jobs/run-job.ts'
import { Arrivals } from './arrivals.ts'
import { deadQueue, type EntryRow, keepEndedSeconds } from './control.ts'
import { type Payload, readPayload } from './payload.ts'

const outcomeSchema = z.object({
  state: z.enum(['succeeded', 'failed', 'cancelled', 'inconclusive']),
  worker: z.string(),
  startedAt: z.iso.datetime().nullable(),
  finishedAt: z.iso.datetime(),
  label: z.string().nullable(),
  error: z.object({ code: z.string(), message: z.string(), hint: z.string() }).nullable(),
})
const asideSchema = z.object({ code: z.string(), reason: z.string() })

/** What the queue of a fleet holds, as runs in the catalog and as a view. Runs of this worker are its own to keep. */
export class Mirror {
  readonly #installation: Installation
  readonly #fleet: FleetConfig
  readonly #isOurs: (id: string) => boolean
  readonly #arrivals: Arrivals
  #open: readonly EntryRow[] = []
  /** Of the last two days. */
  readonly #ended = new Map<string, { readonly queue: string; readonly at: Date; readonly hasFailed: boolean }>()
  #signs: readonly WorkerSign[] = []
  #asOf: Date
  #isNew = true

  /** `isOurs` tells which entries are in this worker's hands; `refresh` reads the stores anew. */
  constructor(
    installation: Installation,
    fleet: FleetConfig,
    isOurs: (id: string) => boolean,
    refresh: () => Promise<boolean>,
  ) {
    this.#installation = installation
    this.#fleet = fleet
    this.#isOurs = isOurs
    this.#arrivals = new Arrivals(installation, refresh)
    this.#asOf = installation.clock.now()
  }

  take(rows: readonly EntryRow[], signs: readonly WorkerSign[], asOf: Date): void {
    const isLongAgo = asOf.getTime() - this.#asOf.getTime() > keepEndedSeconds * 1000
    this.#open = rows.filter((row) => !isEnded(row))
    this.#signs = signs
    this.#asOf = asOf
    this.#isNew = false
    const workers = new Map(
      signs.flatMap(({ name, running }) => running.map((one) => [one.run, { name, one }] as const)),
    )
    for (const row of rows) {
      if (isEnded(row))
        this.#ended.set(row.id, { queue: row.queue, at: row.finishedAt ?? asOf, hasFailed: hasFailed(row) })
      if (row.queue !== deadQueue) this.adopt(row, workers.get(row.id)?.name, workers.get(row.id)?.one.progress)
    }
    for (const [id, { at }] of this.#ended)
      if (at.getTime() < asOf.getTime() - keepEndedSeconds * 1000) this.#ended.delete(id)
    this.#endForgotten(new Set(rows.map(({ id }) => id)), isLongAgo)
  }

  /** As a run in the catalog. */
  adopt(row: EntryRow, worker?: string, progress: Run['progress'] = null): void {
    const { catalog } = this.#installation
    if (this.#isOurs(row.id) || this.#arrivals.has(row.id)) return
    const known = catalog.findRun(row.id)
    // What this worker knows of its own runs is more.
    if (known !== undefined && isFinished(known) && (known.worker === this.#fleet.worker || isEnded(row))) return
    const payload = payloadIn(row)
    if (payload === undefined) return
    const run = runOf(row, payload, worker ?? null, progress)
    if (isFinished(run)) this.#arrivals.expect(run, () => this.#show(run))
    else this.#show(run)
  }

  #show(run: Run): void {
    const { catalog } = this.#installation
    const known = catalog.findRun(run.id)
    if (known === undefined) catalog.addRun(run)
    else if (isDifferent(known, run)) catalog.updateRun(run.id, run)
  }

  /** Reads nothing more. */
  async close(): Promise<void> {
    await this.#arrivals.close()
  }

  /** Of this many signs of life that are not too old: the workers that live. */
  workers(now: Date): readonly WorkerView[] {
    const oldest = now.getTime() - this.#fleet.heartbeatMs
    return this.#signs
      .map((sign) => ({ ...sign, isAlive: sign.seenAt.getTime() > oldest }))
      .sort((one, other) => (one.name < other.name ? -1 : 1))
  }

  dead(): readonly DeadEntry[] {
    return this.#open.filter(({ queue }) => queue === deadQueue).map(deadOf)
  }

  /** What a schedule ordered and nobody has taken yet. */
  waitingBySchedule(isWanted: (payload: Payload) => boolean): readonly EntryRow[] {
    return this.#open.filter((row) => {
      if (row.queue === deadQueue || row.state === 'active') return false
      const payload = payloadIn(row)
      return payload !== undefined && payload.due !== null && isWanted(payload)
    })
  }

  /** Whether the queue was ever read. */
  get isNew(): boolean {
    return this.#isNew
  }

  view(): Pick<QueueView, 'asOf' | 'queues' | 'dead' | 'workers'> {
    const ended = [...this.#ended.values()]
    const pauses = this.#installation.catalog.pauses()
    const isPaused = (row: EntryRow): boolean => {
      const payload = pauses.length === 0 ? undefined : payloadIn(row)
      return payload !== undefined && isHeldBack(payload, pauses)
    }
    const open = this.#open.filter(({ queue }) => queue !== deadQueue)
    const names = [...new Set([...open, ...ended].map(({ queue }) => queue))]
      .filter((name) => name !== deadQueue)
      .sort()
    const queues = names.map((name): QueueCounts => {
      const own = open.filter(({ queue }) => queue === name)
      const queued = own.filter(({ state }) => state !== 'active')
      const since = queued.filter((row) => !isPaused(row)).map(({ queuedAt }) => queuedAt.getTime())
      return {
        name,
        queued: queued.length,
        active: own.length - queued.length,
        failed: ended.filter(({ queue, hasFailed }) => queue === name && hasFailed).length,
        oldestQueuedAt: since.length === 0 ? null : new Date(since.reduce((one, other) => Math.min(one, other))),
      }
    })
    return { asOf: this.#asOf, queues, dead: this.dead(), workers: this.workers(this.#asOf) }
  }

  /**
   * What was open and is in the queue no more, as after the control database was lost, has not ended by itself; unless the
   * queue was not looked at for so long that what has ended is not in it any more.
   */
  #endForgotten(seen: ReadonlySet<string>, isLongAgo: boolean): void {
    const { catalog } = this.#installation
    for (const run of catalog.runs()) {
      if (run.worker === undefined || isFinished(run) || this.#isOurs(run.id)) continue
      if (this.#arrivals.has(run.id)) continue
      if (seen.has(run.id) || run.queuedAt.getTime() > this.#asOf.getTime() - forgottenMs) continue
      const { code, message, hint } = new PgproofError('FLEET_QUEUE_LOST', { what: describe(run) })
      const state = isLongAgo ? 'cancelled' : 'inconclusive'
      catalog.updateRun(run.id, { state, finishedAt: this.#asOf, error: { code, message, hint } })
    }
  }
}

/** An order that is on its way is not forgotten. */
const forgottenMs = 60_000

function runOf(row: EntryRow, payload: Payload, worker: string | null, progress: Run['progress']): Run {
  const { job, server, database, trigger, attempt } = payload
  const base = { id: row.id, job, server, database, trigger, attempt, queuedAt: row.queuedAt }
  const none = { startedAt: null, finishedAt: null, label: null, error: null, progress: null, worker: null }
  if (row.state === 'active') return { ...base, ...none, state: 'running', startedAt: row.startedAt, progress, worker }
  if (!isEnded(row)) return { ...base, ...none, state: 'queued' }
  const outcome = outcomeSchema.safeParse(row.output)
  if (row.state === 'completed' && outcome.success) {
    const { startedAt, finishedAt, ...rest } = outcome.data
    const started = startedAt === null ? null : new Date(startedAt)
    return { ...base, ...none, ...rest, startedAt: started, finishedAt: new Date(finishedAt) }
  }
  const { state, error } = endOf(row, describe(payload))
  const { code, message, hint } = error
  return {
    ...base,
    ...none,
    state,
    startedAt: row.startedAt,
    finishedAt: row.finishedAt,
    error: { code, message, hint },
  }
}

function endOf(row: EntryRow, what: string): { readonly state: RunState; readonly error: PgproofError } {
  if (row.state === 'cancelled') return { state: 'cancelled', error: new PgproofError('CANCELLED', { what }) }
  const times = String(row.retries + 1)
  return { state: 'inconclusive', error: new PgproofError('FLEET_JOB_LOST', { what, times }) }
}

function payloadIn(row: EntryRow): Payload | undefined {
  try {
    return readPayload(row.data, row)
  } catch {
    return undefined
  }
}

function isEnded({ state }: EntryRow): boolean {
  return state === 'completed' || state === 'cancelled' || state === 'failed'
}

function isDifferent(one: Run, other: Run): boolean {
  const { state, worker, progress } = one
  const isSameProgress = JSON.stringify(progress) === JSON.stringify(other.progress)
  return state !== other.state || worker !== other.worker || !isSameProgress
}

function hasFailed({ state, output }: EntryRow): boolean {
  const outcome = outcomeSchema.safeParse(output)
  if (state === 'failed') return true
  return state === 'completed' && outcome.success && ['failed', 'inconclusive'].includes(outcome.data.state)
}

function deadOf(row: EntryRow): DeadEntry {
  const payload = payloadIn(row)
  const aside = asideSchema.safeParse(row.data)
  const { job, server, database } = payload ?? { job: null, server: null, database: null }
  const said = aside.success
    ? aside.data
    : {
        code: 'FLEET_JOB_LOST',
        reason:
          payload === undefined
            ? 'unknown'
            : endOf({ ...row, state: 'failed', retries: 3 }, describe(payload)).error.message,
      }
  return { id: row.id, job, server, database, at: row.queuedAt, ...said }
}
