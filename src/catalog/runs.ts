export type Job = 'backup' | 'roles' | 'drill' | 'prune' | 'sync'
export type RunState = 'queued' | 'running' | 'succeeded' | 'failed' | 'cancelled' | 'inconclusive'

/** How far a run is; whatever its job can tell. */
export type RunProgress = {
  readonly phase?: string
  readonly doneBytes?: number
  readonly totalBytes?: number
  readonly dumpBytes?: number
  readonly tablesDone?: number
  readonly tablesTotal?: number
}

/** One execution of a job by this process, whatever its outcome. */
export type Run = {
  readonly id: string
  readonly job: Job
  readonly server: string
  readonly database: string | null
  /** Who ordered it; `backup`: a backup that has just been made. */
  readonly trigger: 'schedule' | 'http' | 'cli' | 'backup'
  /** 1 for the first; the scheduler tries again what failed. */
  readonly attempt: number
  readonly state: RunState
  readonly queuedAt: Date
  /** Null while queued. */
  readonly startedAt: Date | null
  readonly finishedAt: Date | null
  /** Of the backup or drill that it made. */
  readonly label: string | null
  readonly error: { readonly code: string; readonly message: string; readonly hint: string } | null
  readonly progress: RunProgress | null
  /** In a fleet: the worker that carries it out, null before one does. Undefined for what is in no queue of a fleet. */
  readonly worker?: string | null | undefined
}

/** What the scheduler plans, for the status and the metrics. */
export type PlannedJob = {
  readonly job: Exclude<Job, 'prune' | 'sync'>
  readonly server: string
  readonly database: string | null
  readonly nextAt: Date
  /** The longest gap between two due times. */
  readonly intervalSeconds: number
  /** Until when nothing of it is started; null unless it is paused. */
  readonly pausedUntil: Date | null
}

export type RunChanges = Partial<Omit<Run, 'id' | 'job' | 'server' | 'database' | 'trigger' | 'attempt' | 'queuedAt'>>

/**
 * The newest runs of this process, and besides them the failures that are the last word on their job and place: those
 * that are open are never forgotten, nor are runs that have not finished. The others are, oldest first.
 */
export class RunLog {
  readonly #capacity: number
  readonly #runs = new Map<string, Run>()
  /** Outlives the runs themselves, or a busy hour would make the scheduler forget the night. */
  readonly #lastAttempts = new Map<string, Run>()
  /** Of each job and place the last run that came to an end of its own; bounded as places are. */
  readonly #lastEnds = new Map<string, Run>()
  readonly #watchers = new Set<(run: Run) => void>()

  constructor(capacity: number) {
    this.#capacity = capacity
  }

  add(run: Run): void {
    this.#keep(run)
    this.#forgetOldest()
  }

  /** The run after the changes; undefined if it was forgotten. */
  update(id: string, changes: RunChanges): Run | undefined {
    const before = this.#runs.get(id)
    if (before === undefined) return undefined
    const run = { ...before, ...changes }
    this.#keep(run)
    if (isFinished(run)) this.#forgetOldest()
    return run
  }

  find(id: string): Run | undefined {
    return this.#runs.get(id)
  }

  /** Newest first. */
  all(): readonly Run[] {
    return [...this.#runs.values()].reverse()
  }

  lastAttempt(server: string, database: string | null, job: Job): Run | undefined {
    return this.#lastAttempts.get(attemptKey({ server, database, job }))
  }

  /** Calls `watcher` with every new or changed run until the returned function is called. */
  watch(watcher: (run: Run) => void): () => void {
    this.#watchers.add(watcher)
    return () => this.#watchers.delete(watcher)
  }

  #keep(run: Run): void {
    this.#runs.set(run.id, run)
    const last = this.#lastAttempts.get(attemptKey(run))
    if (last === undefined || last.queuedAt <= run.queuedAt) this.#lastAttempts.set(attemptKey(run), run)
    if (isFinished(run) && run.state !== 'cancelled') this.#keepEnd(run)
    for (const watcher of this.#watchers) watcher(run)
  }

  #keepEnd(run: Run): void {
    if (isPruneOfAll(run) && run.state === 'succeeded')
      for (const [key, last] of this.#lastEnds) if (isPrunedSince(last, run)) this.#lastEnds.delete(key)
    const last = this.#lastEnds.get(attemptKey(run))
    if (last === undefined || last.queuedAt <= run.queuedAt) this.#lastEnds.set(attemptKey(run), run)
  }

  #forgetOldest(): void {
    if (this.#runs.size <= this.#capacity) return
    const open = new Set([...this.#lastEnds.values()].filter(isFailure).map(({ id }) => id))
    // Besides the capacity: where much fails at once, whoever follows a run must still find how it ended.
    let tooMany = this.#runs.size - open.size - this.#capacity
    for (const [id, run] of this.#runs) {
      if (tooMany <= 0) return
      if (!isFinished(run) || open.has(id)) continue
      this.#runs.delete(id)
      tooMany -= 1
    }
  }
}

export function isFinished({ state }: Run): boolean {
  return state !== 'queued' && state !== 'running'
}

export function isFailure({ state }: Pick<Run, 'state'>): boolean {
  return state === 'failed' || state === 'inconclusive'
}

/** That of a schedule: what it could not remove anywhere would have failed it, so it ends the failures of all other prunes. */
export function isPruneOfAll({ job, server }: Pick<Run, 'job' | 'server'>): boolean {
  return job === 'prune' && server === ''
}

/** Whether a prune of everything has done since what that one could not. */
export function isPrunedSince(
  { job, finishedAt, queuedAt }: Pick<Run, 'job' | 'finishedAt' | 'queuedAt'>,
  ofAll: Pick<Run, 'finishedAt' | 'queuedAt'>,
): boolean {
  return job === 'prune' && (finishedAt ?? queuedAt) <= (ofAll.finishedAt ?? ofAll.queuedAt)
}

/**
 * Tells of a run whether its failure still matters to the schedules: of one that a schedule ordered only while it has the
 * job there. What somebody ordered by hand matters until it has succeeded; prunes and syncs are never planned.
 */
export function stillScheduled(
  planned: readonly PlannedJob[],
): (run: Pick<Run, 'job' | 'server' | 'database' | 'trigger'>) => boolean {
  const keys = new Set(planned.map(attemptKey))
  return (run) => run.trigger !== 'schedule' || run.job === 'prune' || run.job === 'sync' || keys.has(attemptKey(run))
}

function attemptKey({ server, database, job }: Pick<Run, 'server' | 'database' | 'job'>): string {
  return JSON.stringify([server, database, job])
}
