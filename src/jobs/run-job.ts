import { randomUUID } from 'node:crypto'
import type { Catalog } from '../catalog/catalog.ts'
import type { Job, Run, RunProgress, RunState } from '../catalog/runs.ts'
import type { Clock } from '../clock.ts'
import { blamesTheBackup } from '../domain/checklist.ts'
import { PgproofError, toPgproofError } from '../errors.ts'
import { type Log, logKeys } from '../log.ts'

/** A timer takes 31 bits of milliseconds; longer ones would fire at once. */
const longestTimerMs = 2 ** 31 - 1

export type RunSpec = Pick<Run, 'job' | 'server' | 'database' | 'trigger'> & { readonly attempt?: number | undefined }

/** What a job leaves: the label of the backup or drill, and why it is not a success although it ran to its end. */
export type JobEnd = { readonly label: string | null; readonly error?: PgproofError | null; readonly bytes?: number }

export type RunParts = { readonly catalog: Catalog; readonly clock: Clock; readonly log: Log }

/** Records an order before it starts; `runJob` carries it out. */
export function newRun(spec: RunSpec, parts: RunParts): Run {
  const run: Run = {
    ...spec,
    id: randomUUID(),
    attempt: spec.attempt ?? 1,
    state: 'queued',
    queuedAt: parts.clock.now(),
    startedAt: null,
    finishedAt: null,
    label: null,
    error: null,
    progress: null,
  }
  parts.catalog.addRun(run)
  return run
}

/**
 * Around every job, whoever ordered it: one run per database at a time, a deadline, one begin line, one end line, and
 * the outcome in the catalog. Throws what the job threw, as an error of the register.
 */
export async function runJob<T extends JobEnd>(
  run: Run,
  limits: { readonly deadlineMs: number },
  work: (signal: AbortSignal, onProgress: (progress: RunProgress) => void) => Promise<T>,
  parts: RunParts,
  signal: AbortSignal,
): Promise<T> {
  const { catalog, clock } = parts
  const what = describe(run)
  const log = parts.log.child({
    [logKeys.run]: run.id,
    [logKeys.job]: run.job,
    ...(run.server === '' ? {} : { [logKeys.server]: run.server }),
    ...(run.database === null ? {} : { [logKeys.database]: run.database }),
  })
  const started = clock.monotonicMs()
  const finish = (state: RunState, end: JobEnd | null, error: PgproofError | null): void => {
    const durationSeconds = Math.round(clock.monotonicMs() - started) / 1000
    const line = {
      [logKeys.outcome]: state,
      [logKeys.durationSeconds]: durationSeconds,
      ...(end?.label == null ? {} : { [logKeys.label]: end.label }),
      ...(end?.bytes === undefined ? {} : { [logKeys.bytes]: end.bytes }),
    }
    const why = error && {
      [logKeys.code]: error.code,
      reason: error.message,
      [logKeys.hint]: error.hint,
      [logKeys.details]: error.details,
    }
    // What was cancelled, or done by another daemon meanwhile, is nobody's fault.
    const level = error === null ? 'info' : state === 'cancelled' ? 'warn' : 'error'
    log[level]({ ...line, ...why }, 'run finished')
    // After the line: who watches runs writes what follows from it.
    catalog.updateRun(run.id, {
      state,
      finishedAt: clock.now(),
      label: end?.label ?? null,
      error: error === null ? null : { code: error.code, message: error.message, hint: error.hint },
    })
  }

  const deadline = new AbortController()
  const timer = setTimeout(
    () => {
      const hours = `${Math.round(limits.deadlineMs / 36_000) / 100} h`
      deadline.abort(new PgproofError('DEADLINE_EXCEEDED', { what, deadline: hours }))
    },
    Math.min(limits.deadlineMs, longestTimerMs),
  )
  try {
    if (signal.aborted) throw signal.reason
    const busy = catalog.runs().find((other) => other.state === 'running' && clashes(other, run))
    if (busy !== undefined) throw new PgproofError('LOCKED', { what: describe(busy) })
    catalog.updateRun(run.id, { state: 'running', startedAt: clock.now() })
    log.info(
      { [logKeys.trigger]: run.trigger, ...(run.attempt > 1 ? { [logKeys.attempt]: run.attempt } : {}) },
      'run started',
    )
    const end = await work(AbortSignal.any([signal, deadline.signal]), (progress) => {
      catalog.updateRun(run.id, { progress: { ...catalog.findRun(run.id)?.progress, ...progress } })
    })
    finish(end.error == null ? 'succeeded' : stateOf(end.error, run.job), end, end.error ?? null)
    return end
  } catch (thrown) {
    const error = toPgproofError(
      deadline.signal.aborted ? deadline.signal.reason : signal.aborted ? signal.reason : thrown,
      what,
    )
    finish(stateOf(error, run.job), null, error)
    throw error
  } finally {
    clearTimeout(timer)
  }
}

/** `backup of main/shop`, for people. */
export function describe({ job, server, database }: Pick<Run, 'job' | 'server' | 'database'>): string {
  if (job === 'roles') return `roles backup of ${server}`
  return `${job} of ${database === null ? server : `${server}/${database}`}`
}

/** One run per database at a time; roles backups and prunes exclude only their own kind. */
function clashes(one: Run, other: Run): boolean {
  // What other workers do is for the queue to sort out, and a drill is of other machines than a backup there.
  if (one.worker !== undefined && one.worker !== other.worker) return false
  if (one.worker !== undefined && one.job !== other.job) return false
  if (one.server !== other.server) return false
  if (one.database !== other.database) return false
  const isOfDatabase = (job: Job): boolean => job === 'backup' || job === 'drill'
  return one.job === other.job || (isOfDatabase(one.job) && isOfDatabase(other.job))
}

/** How a run ends with this error. */
export function stateOf(error: PgproofError, job: Job): RunState {
  if (error.code === 'CANCELLED' || error.code === 'SHUTTING_DOWN') return 'cancelled'
  // A drill has failed only if it found the backup to be bad; a store that is away says nothing about it.
  const saysNothing = job === 'drill' ? !blamesTheBackup.has(error.code) : error.exitCode === 14
  return saysNothing ? 'inconclusive' : 'failed'
}
