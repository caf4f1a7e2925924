import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import { isFinished, type PlannedJob, type Run, type RunState } from '../catalog/runs.ts'
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

export type NotifierParts = {
  readonly installation: NotifyInstallation
  readonly planned: () => readonly PlannedJob[]
  readonly keyExpiries: () => readonly KeyExpiry[]
  /** What became of the last reload of the configuration. */
  readonly configReload: () => { readonly isSuccessful: boolean }
  /** When the scheduler tries a run again that has ended; null: it does not. */
  readonly retryAt: (run: Run) => Date | null
}

/** The worst that a reminder or a condition is late by. */
const lookEveryMs = 10_000

/**
 * Tells whoever the configuration names of runs that fail and recover, and of what is wrong without a run. It remembers
 * what was told only as long as the process lives: after a restart what still fails is told once more.
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
  #unwatch: (() => void) | undefined
  #looking: Promise<void> | undefined

  constructor(parts: NotifierParts, limits: QueueLimits = usualLimits) {
    const { installation } = parts
    this.#parts = parts
    this.#lookingSince = installation.clock.now()
    this.#receivers = new Receivers(installation, limits)
    this.#runs = new RunIncidents({
      retryAt: parts.retryAt,
      tell: (told) => this.#receivers.tell(noticeOfRuns(told, this.#composing())),
      onStored: (run) => this.#ended.set(jobPlaceKey(run), { run, retryAt: null }),
    })
    this.#conditions = new ConditionIncidents(({ conditions, ...told }) =>
      this.#receivers.tell(noticeOfConditions(told, conditions, this.#composing())),
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
      queueMicrotask(() => this.#guarded(() => this.#noteRun(run)))
    })
  }

  /** Looks once for what is wrong without a run, what is to be said again, and whether a test is due. */
  look(): void {
    if (this.#parts.installation.config.notify.length === 0) return
    this.#guarded(() => {
      this.#conditions.look(this.#facts())
      this.#runs.look(this.#facts())
      this.#pagerTest.look((entry) => troublesOf(entry, this.#ended, this.#facts(), null).length === 0)
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

  #noteRun(run: Run): void {
    if (!isFinished(run)) {
      const before = this.#unfinished.get(run.id)
      this.#unfinished.set(run.id, run.state)
      // What changes meanwhile is its progress.
      if (before !== run.state) this.#ping(run, null)
      return
    }
    if (!this.#unfinished.delete(run.id)) return
    const retryAt = run.state === 'succeeded' ? null : this.#parts.retryAt(run)
    const key = jobPlaceKey(run)
    if (run.state !== 'cancelled') this.#ended.set(key, { run, retryAt })
    this.#ping(run, retryAt)
    this.#runs.note(run, retryAt, this.#isVerdict(run), this.#facts())
  }

  #ping(run: Run, retryAt: Date | null): void {
    this.#receivers.ping((entry) =>
      concerns(entry, run) ? pingOfRun(run, retryAt, troublesOf(entry, this.#ended, this.#facts(), run)) : null,
    )
  }

  /** Whether a drill came to the end that a backup cannot be relied on. */
  #isVerdict({ job, label, state }: Run): boolean {
    if (job !== 'drill' || state !== 'failed' || label === null) return false
    return this.#parts.installation.catalog.findDrill(label)?.verdict === 'failed'
  }

  #facts(): Facts {
    const { installation, planned, keyExpiries, configReload } = this.#parts
    return {
      catalog: installation.catalog,
      config: installation.config,
      planned: planned(),
      keyExpiries: keyExpiries(),
      isConfigRefused: !configReload().isSuccessful,
      lookingSince: this.#lookingSince,
      now: installation.clock.now(),
    }
  }

  #composing(): ComposeParts {
    return { ...this.#facts(), host: this.#host, newId: randomUUID, retryAt: this.#parts.retryAt }
  }

  #guarded(work: () => void): void {
    try {
      work()
    } catch (error) {
      this.#parts.installation.log.error({ reason: reasonOf(error) }, 'a notice could not be made')
    }
  }
}
