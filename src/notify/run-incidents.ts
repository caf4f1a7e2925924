import assert from 'node:assert/strict'
import { isFinished, isPruneOfAll, type Run } from '../catalog/runs.ts'
import { type Incident, isQuietOver, isReminderDue, judgeRun } from './incident.ts'
import { isLookedAfter, jobPlaceKey, type Surroundings, storedSuccess } from './places.ts'
import { Recoveries } from './recoveries.ts'
import { uuidOf } from './uuid-of.ts'

/** What is told of one run, or of several of one server and job at once. */
export type ToldRuns = {
  readonly event: 'failure' | 'recovery' | 'success'
  readonly isReminder: boolean
  readonly incident: Incident | null
  /** At least one; by place. */
  readonly runs: readonly Run[]
  /** Whether the store showed the success: then another process may have made it. */
  readonly isStored: boolean
}

export type RunIncidentsParts = {
  /** When the scheduler tries a run again that has ended; null: it does not. */
  readonly retryAt: (run: Run) => Date | null
  readonly tell: (told: ToldRuns) => void
  /** What the store shows to have succeeded since a run failed. */
  readonly onStored: (run: Run) => void
}

/** A job whose last run failed, and that run. */
type Failing = {
  readonly incident: Incident
  readonly run: Run
  /** Since when its failure waits to be told with others; null if it does not. */
  readonly gatheredAt: Date | null
}

const remindEveryMs = 24 * 3_600_000
/** A failure is late by this much at most because others may follow it. */
const gatherMs = 10 * 60_000

/**
 * The jobs that fail, each at its place, and what is told of them when. Failures of one server's databases for one reason
 * are told together: a server that is down is one piece of news.
 */
export class RunIncidents {
  readonly #parts: RunIncidentsParts
  readonly #failing = new Map<string, Failing>()
  readonly #recoveries = new Recoveries<{ readonly run: Run; readonly isStored: boolean }>()
  /** By what fails alike: when it was told last, and of which places. */
  readonly #told = new Map<string, { readonly at: Date; readonly places: ReadonlySet<string> }>()

  constructor(parts: RunIncidentsParts) {
    this.#parts = parts
  }

  /** A run has ended. `isVerdict`: a drill showed that a backup cannot be relied on, which is told at once. */
  note(run: Run, retryAt: Date | null, isVerdict: boolean, around: Surroundings): void {
    if (run.state === 'cancelled') return
    const key = jobPlaceKey(run)
    const before = this.#failing.get(key)
    const known = before?.incident ?? null
    const { incident, tell } = judgeRun(known, run, {
      retryAt,
      isVerdict,
      newId: () => incidentId(key, run.finishedAt ?? run.queuedAt),
    })
    if (incident === null) {
      this.#failing.delete(key)
      if (tell === 'recovery' && known !== null) this.#recoveries.add(known, { run, isStored: false }, around.now)
      else this.#parts.tell({ event: 'success', isReminder: false, incident: null, runs: [run], isStored: false })
    } else if (tell === 'failure' && isVerdict) {
      this.#failing.set(key, { incident, run, gatheredAt: null })
      this.#parts.tell({ event: 'failure', isReminder: false, incident, runs: [run], isStored: false })
    } else {
      const isNews = tell === 'failure'
      const gatheredAt = before?.gatheredAt ?? (isNews ? around.now : null)
      this.#failing.set(key, { incident: isNews ? { ...incident, toldAt: null } : incident, run, gatheredAt })
    }
    if (isPruneOfAll(run) && run.state === 'succeeded') this.#endPrunes(run, around)
    this.#tellGathered(around)
  }

  /** A prune of everything has done what those of single databases could not, each after its backup. */
  #endPrunes({ finishedAt }: Run, around: Surroundings): void {
    for (const [key, { incident, run }] of this.#failing) {
      const isLater = finishedAt === null || (run.finishedAt ?? run.queuedAt) > finishedAt
      if (run.job !== 'prune' || isLater) continue
      this.#failing.delete(key)
      const ended = { ...run, state: 'succeeded' as const, error: null, finishedAt }
      if (incident.toldAt !== null) this.#recoveries.add(incident, { run: ended, isStored: false }, around.now)
    }
  }

  /** A run of a fleet that ended long before it was seen: whoever had the turn then has told what there was to tell. */
  recall(run: Run, retryAt: Date | null, now: Date): void {
    if (run.state === 'cancelled') return
    const key = jobPlaceKey(run)
    const before = this.#failing.get(key)?.incident
    if (run.state === 'succeeded') {
      this.#failing.delete(key)
      return
    }
    const since = run.finishedAt ?? run.queuedAt
    const toldAt = before?.toldAt ?? (retryAt === null ? since : null)
    const incident = before ?? { id: incidentId(jobPlaceKey(run), since), since, toldAt: null }
    this.#failing.set(key, {
      incident: { ...incident, toldAt: toldAt && lastReminder(toldAt, now) },
      run,
      gatheredAt: null,
    })
  }

  /** Failures that nobody will try again, that somebody else has mended, that last, whose next try takes long, or that have waited for others. */
  look(around: Surroundings): void {
    const due: Failing[] = []
    for (const [key, failing] of this.#failing) {
      const { incident, run, gatheredAt } = failing
      const success = storedSuccess(run, around.catalog)
      if (!isLookedAfter(run, around)) this.#failing.delete(key)
      else if (success !== null) {
        this.#parts.onStored(success)
        this.#failing.delete(key)
        if (incident.toldAt !== null) this.#recoveries.add(incident, { run: success, isStored: true }, around.now)
      } else if (isReminderDue(incident, remindEveryMs, around.now)) due.push(failing)
      else if (incident.toldAt === null && gatheredAt === null)
        if (isQuietOver(incident, around.now) || this.#isGivenUp(run, around))
          this.#failing.set(key, { ...failing, gatheredAt: around.now })
    }
    for (const alike of Map.groupBy(due, ({ incident }) => incident.id).values()) this.#tellFailing(alike, true, around)
    this.#tellGathered(around)
  }

  /** Nothing waits for others any more. */
  close(around: Surroundings): void {
    this.#tellGathered(around, true)
  }

  #isGivenUp(run: Run, { catalog }: Surroundings): boolean {
    const key = jobPlaceKey(run)
    const isUnderWay = catalog.runs().some((other) => !isFinished(other) && jobPlaceKey(other) === key)
    return !isUnderWay && this.#parts.retryAt(run) === null
  }

  #tellGathered(around: Surroundings, isOver = false): void {
    const { now } = around
    const untold = [...this.#failing.values()].filter(({ incident }) => incident.toldAt === null)
    for (const [like, alike] of Map.groupBy(untold, ({ run }) => likeness(run))) {
      const waiting = alike.filter(({ gatheredAt }) => gatheredAt !== null)
      const first = waiting[0]
      if (first === undefined) continue
      const since = Math.min(...waiting.map(({ gatheredAt }) => gatheredAt?.getTime() ?? 0))
      const mayWait = !isOver && now.getTime() - since < gatherMs
      if (mayWait && (mayBeFollowed(first.run, around) || this.#isToldOfOthers(like, waiting, now))) continue
      // Those that are still to be tried again fail for the same reason, and are no other news.
      this.#tellFailing(alike, false, around)
      this.#told.set(like, { at: now, places: new Set(alike.map(({ run }) => jobPlaceKey(run))) })
    }
    const isOpen = (id: string): boolean =>
      !isOver && [...this.#failing.values()].some(({ incident }) => incident.id === id)
    for (const { incident, items } of this.#recoveries.take(now, isOpen)) {
      const runs = items.map(({ run }) => run)
      const isStored = items.some((item) => item.isStored)
      this.#parts.tell({ event: 'recovery', isReminder: false, incident, runs: inOrder(runs), isStored })
    }
  }

  #isToldOfOthers(like: string, waiting: readonly Failing[], now: Date): boolean {
    const told = this.#told.get(like)
    if (told === undefined || now.getTime() - told.at.getTime() >= gatherMs) return false
    return waiting.every(({ run }) => !told.places.has(jobPlaceKey(run)))
  }

  /** All of them are one incident from now on. */
  #tellFailing(failing: readonly Failing[], isReminder: boolean, { now }: Surroundings): void {
    const [first] = failing
    assert(first !== undefined, 'a notice is about something')
    const ids = failing.map(({ incident }) => incident.id)
    const id = failing.length > 1 && !isReminder ? uuidOf(ids.toSorted()) : first.incident.id
    for (const { incident, run } of failing)
      this.#failing.set(jobPlaceKey(run), {
        incident: { ...incident, id, toldAt: now },
        run,
        gatheredAt: null,
      })
    const since = new Date(Math.min(...failing.map(({ incident }) => incident.since.getTime())))
    this.#parts.tell({
      event: 'failure',
      isReminder,
      incident: { id, since, toldAt: now },
      runs: inOrder(failing.map(({ run }) => run)),
      isStored: false,
    })
  }
}

/** Whoever had the turn has reminded of it since, day after day. */
function lastReminder(toldAt: Date, now: Date): Date {
  const times = Math.max(0, Math.floor((now.getTime() - toldAt.getTime()) / remindEveryMs))
  return new Date(toldAt.getTime() + times * remindEveryMs)
}

/** The same at every worker of a fleet, so that one can tell of the end of what another has told. */
function incidentId(place: string, since: Date): string {
  return uuidOf([place, since.toISOString()])
}

/** What is told together: one job of one server, for one reason. */
function likeness({ job, server, error }: Run): string {
  return JSON.stringify([job, server, error?.code ?? null])
}

/** Whether another one of the same job and server is about to end, and perhaps to fail likewise. */
function mayBeFollowed({ job, server, database }: Run, { catalog }: Surroundings): boolean {
  return catalog
    .runs()
    .some((run) => !isFinished(run) && run.job === job && run.server === server && run.database !== database)
}

function inOrder(runs: readonly Run[]): readonly Run[] {
  return runs.toSorted((one, other) => (one.database ?? '').localeCompare(other.database ?? ''))
}
