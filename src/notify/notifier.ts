import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import { isFinished, isPrunedSince, isPruneOfAll, type PlannedJob, type Run, type RunState } from '../catalog/runs.ts'
import { reasonOf } from '../errors.ts'
import type { ComposeParts } from './compose.ts'
import { noticeOfConditions, noticeOfRuns } from './compose-several.ts'
import { ConditionIncidents } from './condition-incidents.ts'
import type { Facts, KeyExpiry } from './conditions.ts'
import { type QueueLimits, usualLimits } from './delivery-queue.ts'
import { PagerTest } from './pager-test.ts'
import { pingOfRun } from './ping.ts'
import { type Ended, troublesOf } from './ping-troubles.ts'
import { concerns, jobPlaceKey } from './places.ts'
import { type NoticeCount, type NoticesWaiting, type NotifyInstallation, Receivers } from './receivers.ts'
import { RunIncidents } from './run-incidents.ts'
import { handoverMs, TurnOutbox, type TurnQueue } from './turn-outbox.ts'

export type NotifierParts = {
  readonly installation: NotifyInstallation
  readonly planned: () => readonly PlannedJob[]
  readonly keyExpiries: () => readonly KeyExpiry[]
  /** What became of the last reload of the configuration. */
  readonly configReload: () => { readonly isSuccessful: boolean }
  /** When the scheduler tries a run again that has ended; null: it does not. */
  readonly retryAt: (run: Run) => Date | null
  /** By which it is known whose turn it is to tell. */
  readonly queue: TurnQueue
  /** In a fleet: which worker this process is. */
  readonly worker?: string | undefined
}

/** The worst that a reminder or a condition is late by. */
const lookEveryMs = 10_000

/** Of the runs of a fleet that have ended: more than two days of them are seldom mirrored. */
const usualMostKnown = 20_000
/** What may still be tried again by whoever has the turn is not given up by those who watch, for so long. */
const quietMs = 3_600_000

/**
 * Tells whoever the configuration names of runs that fail and recover, and of what is wrong without a run. It remembers
 * what was told only as long as the process lives: after a restart what still fails is told once more. In a fleet every
 * worker follows what it sees, and the one that has the turn tells.
 */
export class Notifier {
  readonly #parts: NotifierParts
  readonly #receivers: Receivers
  readonly #pagerTest: PagerTest
  readonly #host = hostname()
  readonly #lookingSince: Date
  readonly #stopping = new AbortController()
  readonly #unfinished = new Map<string, RunState>()
  readonly #runs: RunIncidents
  readonly #conditions: ConditionIncidents
  readonly #ended = new Map<string, Ended>()
  readonly #outbox: TurnOutbox
  /** Of a fleet: what has ended and was noted. */
  readonly #known = new Set<string>()
  readonly #mostKnown: number
  #changes: Run[] = []
  #unwatch: (() => void) | undefined
  #looking: Promise<void> | undefined

  constructor(parts: NotifierParts, limits: QueueLimits = usualLimits, mostKnown = usualMostKnown) {
    const { installation } = parts
    this.#parts = parts
    this.#mostKnown = mostKnown
    this.#lookingSince = installation.clock.now()
    this.#outbox = new TurnOutbox(parts.queue, parts.worker, installation.clock)
    this.#receivers = new Receivers(installation, limits)
    this.#runs = new RunIncidents({
      retryAt: (run) => this.#retryAt(run),
      tell: (told) => this.#outbox.send(() => this.#receivers.tell(noticeOfRuns(told, this.#composing()))),
      onStored: (run) => this.#ended.set(jobPlaceKey(run), { run, retryAt: null }),
    })
    this.#conditions = new ConditionIncidents(({ conditions, ...told }) =>
      this.#outbox.send(() => this.#receivers.tell(noticeOfConditions(told, conditions, this.#composing()))),
    )
    this.#pagerTest = new PagerTest(this.#receivers, installation, { host: this.#host, newId: randomUUID })
  }

  /** Runs that begin from now on are told of, and conditions are looked at from time to time. */
  start(): void {
    this.watch()
    this.#looking = this.#lookAgainAndAgain()
  }

  /** Runs alone. */
  watch(): void {
    this.#unwatch ??= this.#parts.installation.catalog.watchRuns((run) => {
      // A run never waits for a notice, nor fails by it; and others who watch it have seen it first.
      if (this.#changes.push(run) === 1) queueMicrotask(() => this.#noteChanges())
    })
  }

  /** Looks once for what is wrong without a run, what is to be said again, and whether a test is due. */
  look(): void {
    if (this.#parts.installation.config.notify.length === 0) return
    this.#guarded(() => {
      this.#outbox.look()
      this.#conditions.look(this.#facts())
      this.#runs.look(this.#facts())
      this.#pagerTest.look(
        (entry) => troublesOf(entry, this.#ended, this.#facts(), null).length === 0,
        this.#outbox.isSpeaking(),
      )
    })
  }

  /** How many notices were delivered and how many not, since the start. */
  counts(): readonly NoticeCount[] {
    return this.#receivers.counts()
  }

  /** What each entry of the configuration is still to get. */
  waiting(): readonly NoticesWaiting[] {
    return this.#receivers.waiting()
  }

  /** Nothing new is told; what waits gets one last attempt within that time. */
  async close(withinMs: number): Promise<void> {
    this.#stopping.abort()
    // What was noted in this turn of the event loop is told yet.
    await Promise.resolve()
    this.#unwatch?.()
    this.#guarded(() =>
      this.#pagerTest.end((entry) => troublesOf(entry, this.#ended, this.#facts(), null).length === 0),
    )
    await this.#looking
    this.#guarded(() => this.#runs.close(this.#facts()))
    await this.#receivers.close(withinMs)
  }

  async #lookAgainAndAgain(): Promise<void> {
    const { clock } = this.#parts.installation
    while (!this.#stopping.signal.aborted) {
      this.look()
      await clock.sleep(lookEveryMs, this.#stopping.signal).catch(() => {})
    }
  }

  #noteChanges(): void {
    const changes = this.#changes
    this.#changes = []
    const late: Run[] = []
    for (const run of changes)
      if (this.#isLate(run)) late.push(run)
      else this.#guarded(() => this.#noteRun(run))
    // They may come in any order, and the last one counts.
    for (const run of late.toSorted((one, other) => endMs(one) - endMs(other))) this.#guarded(() => this.#noteLate(run))
  }

  /** Whether it is a run of a fleet that is seen for the first time, and over. */
  #isLate(run: Run): boolean {
    return run.worker !== undefined && isFinished(run) && !this.#unfinished.has(run.id) && !this.#known.has(run.id)
  }

  #noteLate(run: Run): void {
    this.#know(run)
    const { clock } = this.#parts.installation
    if (clock.now().getTime() - endMs(run) < handoverMs) {
      this.#unfinished.set(run.id, 'running')
      this.#noteRun(run)
      return
    }
    const retryAt = run.state === 'succeeded' ? null : this.#retryAt(run)
    const last = this.#ended.get(jobPlaceKey(run))?.run
    // What came to its end later is known already.
    if (last !== undefined && endMs(last) > endMs(run)) return
    this.#noteEnd(run, retryAt)
    this.#runs.recall(run, retryAt, clock.now())
  }

  #know({ id, worker }: Run): void {
    if (worker === undefined) return
    this.#known.add(id)
    for (const oldest of this.#known) {
      if (this.#known.size <= this.#mostKnown) return
      this.#known.delete(oldest)
    }
  }

  /** Whoever has the turn knows what it will try again; the others only that it may. */
  #retryAt(run: Run): Date | null {
    const at = this.#parts.retryAt(run)
    if (at !== null || this.#outbox.isSpeaking() || run.trigger !== 'schedule') return at
    const { clock, config } = this.#parts.installation
    const server = config.servers.find(({ name }) => name === run.server)
    const until = endMs(run) + quietMs
    const mayBe = server !== undefined && run.attempt < server.retry.attempts && until > clock.now().getTime()
    return mayBe ? new Date(until) : null
  }

  #noteRun(run: Run): void {
    if (!isFinished(run)) {
      const before = this.#unfinished.get(run.id)
      this.#unfinished.set(run.id, run.state)
      // What changes meanwhile is its progress.
      if (before !== run.state) this.#ping(run, null)
      return
    }
    if (!this.#unfinished.delete(run.id)) return
    this.#know(run)
    const retryAt = run.state === 'succeeded' ? null : this.#retryAt(run)
    this.#noteEnd(run, retryAt)
    this.#ping(run, retryAt)
    this.#runs.note(run, retryAt, this.#isVerdict(run), this.#facts())
  }

  /** For pings, before the run's own: a prune of everything ends what failed of others as well. */
  #noteEnd(run: Run, retryAt: Date | null): void {
    if (run.state === 'cancelled') return
    if (isPruneOfAll(run) && run.state === 'succeeded')
      for (const [key, { run: other }] of this.#ended) if (isPrunedSince(other, run)) this.#ended.delete(key)
    this.#ended.set(jobPlaceKey(run), { run, retryAt })
  }

  #ping(run: Run, retryAt: Date | null): void {
    this.#outbox.send(() =>
      this.#receivers.ping((entry) =>
        concerns(entry, run) ? pingOfRun(run, retryAt, troublesOf(entry, this.#ended, this.#facts(), run)) : null,
      ),
    )
  }

  /** Whether a drill came to the end that a backup cannot be relied on. */
  #isVerdict({ job, label, state, worker }: Run): boolean {
    if (job !== 'drill' || state !== 'failed' || label === null) return false
    const report = this.#parts.installation.catalog.findDrill(label)
    // What another worker has put into the store was perhaps not read yet.
    if (report === undefined) return worker !== undefined && worker !== this.#parts.worker
    return report.verdict === 'failed'
  }

  #facts(): Facts {
    const { installation, planned, keyExpiries, configReload } = this.#parts
    return {
      catalog: installation.catalog,
      config: installation.config,
      planned: planned(),
      keyExpiries: keyExpiries(),
      isConfigRefused: !configReload().isSuccessful,
      queue: this.#parts.queue.view(),
      lookingSince: this.#lookingSince,
      now: installation.clock.now(),
    }
  }

  #composing(): ComposeParts {
    return { ...this.#facts(), host: this.#host, newId: randomUUID, retryAt: (run) => this.#retryAt(run) }
  }

  #guarded(work: () => void): void {
    try {
      work()
    } catch (error) {
      this.#parts.installation.log.error({ reason: reasonOf(error) }, 'a notice could not be made')
    }
  }
}

function endMs({ finishedAt, queuedAt }: Run): number {
  return (finishedAt ?? queuedAt).getTime()
}
