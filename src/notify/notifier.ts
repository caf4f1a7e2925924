import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import { isFinished, type PlannedJob, type Run, type RunState } from '../catalog/runs.ts'
import { reasonOf } from '../errors.ts'
import { type ComposeParts, noticeOfCondition, noticeOfRun } from './compose.ts'
import { type Condition, type Facts, isWatched, type KeyExpiry, readConditions } from './conditions.ts'
import { type QueueLimits, usualLimits } from './delivery-queue.ts'
import { type Held, type Incident, isReminderDue, judgeConditions, judgeRun } from './incident.ts'
import { PagerTest } from './pager-test.ts'
import { pingOfRun } from './ping.ts'
import { type Ended, troublesOf } from './ping-troubles.ts'
import { concerns, isLookedAfter, jobPlaceKey, storedSuccess } from './places.ts'
import { type NoticeCount, type NoticesWaiting, type NotifyInstallation, Receivers } from './receivers.ts'

export type NotifierParts = {
  readonly installation: NotifyInstallation
  readonly planned: () => readonly PlannedJob[]
  readonly keyExpiries: () => readonly KeyExpiry[]
  /** What became of the last reload of the configuration. */
  readonly configReload: () => { readonly isSuccessful: boolean }
  /** When the scheduler tries a run again that has ended; null: it does not. */
  readonly retryAt: (run: Run) => Date | null
}

/** A job whose last run failed, and that run. */
type Failing = { readonly incident: Incident; readonly run: Run }

/** The worst that a reminder or a condition is late by. */
const lookEveryMs = 10_000
const remindEveryMs = 24 * 3_600_000

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
  readonly #failing = new Map<string, Failing>()
  readonly #ended = new Map<string, Ended>()
  #held: ReadonlyMap<string, Held<Condition>> = new Map()
  #unwatch: (() => void) | undefined
  #looking: Promise<void> | undefined

  constructor(parts: NotifierParts, limits: QueueLimits = usualLimits) {
    const { installation } = parts
    this.#parts = parts
    this.#lookingSince = installation.clock.now()
    this.#receivers = new Receivers(installation, limits)
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
      this.#tellConditions()
      this.#tellFailing()
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
    const before = this.#failing.get(key)?.incident ?? null
    const { incident, tell } = judgeRun(before, run, {
      retryAt,
      isVerdict: this.#isVerdict(run),
      newId: randomUUID,
    })
    if (tell !== null) {
      const about = tell === 'recovery' ? before : tell === 'failure' ? incident : null
      this.#receivers.tell(noticeOfRun({ event: tell, isReminder: false, incident: about }, run, this.#composing()))
    }
    if (incident === null) this.#failing.delete(key)
    else if (run.state !== 'cancelled') this.#failing.set(key, { incident, run })
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

  #tellConditions(): void {
    const facts = this.#facts()
    const { held, tell } = judgeConditions(this.#held, readConditions(facts), {
      now: facts.now,
      newId: randomUUID,
      exists: (condition) => isWatched(condition, facts),
    })
    this.#held = held
    for (const { condition, ...told } of tell)
      this.#receivers.tell(noticeOfCondition(told, condition, this.#composing()))
  }

  /** Failures that nobody will try again, that somebody else has mended, or that last. */
  #tellFailing(): void {
    const facts = this.#facts()
    for (const [key, { incident, run }] of this.#failing) {
      if (!isLookedAfter(run, facts)) {
        this.#failing.delete(key)
        continue
      }
      const success = storedSuccess(run, facts.catalog)
      if (success !== null) {
        this.#ended.set(key, { run: success, retryAt: null })
        this.#failing.delete(key)
        const told = { event: 'recovery', isReminder: false, incident } as const
        if (incident.toldAt !== null)
          this.#receivers.tell({ ...noticeOfRun(told, success, this.#composing()), runId: null })
        continue
      }
      const isReminder = isReminderDue(incident, remindEveryMs, facts.now)
      const isGivenUp = incident.toldAt === null && !this.#isUnderWay(run) && this.#parts.retryAt(run) === null
      if (!isReminder && !isGivenUp) continue
      const again = { ...incident, toldAt: facts.now }
      this.#failing.set(key, { incident: again, run })
      this.#receivers.tell(noticeOfRun({ event: 'failure', isReminder, incident: again }, run, this.#composing()))
    }
  }

  #isUnderWay(place: Run): boolean {
    const key = jobPlaceKey(place)
    return this.#parts.installation.catalog.runs().some((run) => !isFinished(run) && jobPlaceKey(run) === key)
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
    return { ...this.#facts(), host: this.#host, newId: randomUUID }
  }

  #guarded(work: () => void): void {
    try {
      work()
    } catch (error) {
      this.#parts.installation.log.error({ reason: reasonOf(error) }, 'a notice could not be made')
    }
  }
}
