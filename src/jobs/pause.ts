import {
  decodePause,
  encodePause,
  isForgettable,
  isPauseLine,
  keepPausesMs,
  longestPauseMs,
  type PausableJob,
  type Pause,
  type PauseDocument,
  pausableJobs,
  pauseFormat,
  type Resume,
  toPauseLine,
} from '../domain/pause.ts'
import { assertNotAborted, PgproofError, rethrowUnless } from '../errors.ts'
import { newLabel } from '../parts.ts'
import { pauseKey, pausesPrefix } from '../storage/object-keys.ts'
import type { NamedStore } from '../storage/store-set.ts'
import { type Installation, isConfigured, serverNamed } from './installation.ts'

export type PauseWish = {
  /** Null: every server. */
  readonly server: string | null
  /** Null: every database of the server, and its roles. */
  readonly database: string | null
  /** Default: all that there are of it. */
  readonly jobs?: readonly PausableJob[] | undefined
  readonly forMs: number
  readonly reason: string
  /** Who asks for it. */
  readonly by: string
}

/**
 * Keeps schedules from starting anything for a while, in every daemon of these stores. Orders by hand go on, and so does
 * what runs. Throws USAGE_INVALID, SERVER_UNKNOWN, DATABASE_NOT_CONFIGURED or store errors.
 */
export async function pauseSchedules(wish: PauseWish, installation: Installation, signal: AbortSignal): Promise<Pause> {
  const { catalog, clock, config, stores } = installation
  const { server, database, forMs, reason } = wish
  if (server !== null && database !== null && !isConfigured(serverNamed(config, server), database))
    throw new PgproofError('DATABASE_NOT_CONFIGURED', { server, database })
  if (server !== null) serverNamed(config, server)
  const since = clock.now()
  const pause: Pause = {
    format: pauseFormat,
    kind: 'pause',
    label: newLabel(installation),
    server,
    database,
    jobs: jobsOf(wish),
    since: since.toISOString(),
    until: new Date(since.getTime() + assertLength(forMs)).toISOString(),
    reason: assertReason(reason.trim()),
    by: toPauseLine(wish.by),
  }
  try {
    catalog.addPause(pause, await put(pause, stores, signal))
    return pause
  } catch (error) {
    // One store may have it: whoever is told that it failed must not be paused all the same.
    const undoing = AbortSignal.timeout(undoWithinMs)
    await put(resumeOf([pause], pause.by, installation), stores, undoing).catch(() => undefined)
    throw error
  }
}

const undoWithinMs = 20_000

/** Ends these pauses before their time. Throws store errors. */
export async function resumeSchedules(
  pauses: readonly Pause[],
  by: string,
  installation: Installation,
  signal: AbortSignal,
): Promise<Resume> {
  const { catalog, stores } = installation
  const resume = resumeOf(pauses, by, installation)
  catalog.addPause(resume, await put(resume, stores, signal))
  return resume
}

/** Removes what has been over for a month. What is not of pgproof, or of a newer format, stays. */
export async function sweepPauses(
  { reader, pruner }: NamedStore,
  { clock }: Pick<Installation, 'clock'>,
  signal: AbortSignal,
): Promise<void> {
  const now = clock.now()
  const storeNow = new Date(now.getTime() + (reader.clockSkewSeconds() ?? 0) * 1000)
  for await (const { key, modifiedAt } of reader.list(pausesPrefix, { signal })) {
    if (storeNow.getTime() - modifiedAt.getTime() < keepPausesMs) continue
    try {
      const document = decodePause(await reader.get(key, { signal, maxBytes: 1 << 16 }), key)
      if (key === pauseKey(document.label) && isForgettable(document, now)) await pruner.delete(key, { signal })
    } catch (error) {
      assertNotAborted(signal)
      // Damaged, locked or refused: it pauses nothing any more and does no harm.
      rethrowUnless(error, PgproofError)
    }
  }
}

function resumeOf(pauses: readonly Pause[], by: string, installation: Installation): Resume {
  return {
    format: pauseFormat,
    kind: 'resume',
    label: newLabel(installation),
    ends: pauses.map(({ label }) => label),
    at: installation.clock.now().toISOString(),
    by: toPauseLine(by),
  }
}

async function put(
  document: PauseDocument,
  stores: Installation['stores'],
  signal: AbortSignal,
): Promise<readonly string[]> {
  return await stores.put(pauseKey(document.label), encodePause(document), { signal, ifAbsent: true })
}

function jobsOf({ database, jobs }: PauseWish): PausableJob[] {
  const possible = pausableJobs.filter((job) => database === null || job !== 'roles')
  const wanted = jobs === undefined || jobs.length === 0 ? possible : pausableJobs.filter((job) => jobs.includes(job))
  if (wanted.some((job) => !possible.includes(job))) throw usage('roles are of a server, not of one of its databases')
  return wanted
}

function assertLength(forMs: number): number {
  if (forMs >= 1000 && forMs <= longestPauseMs) return forMs
  throw usage('a pause lasts from a second to 30 days, so that it cannot be forgotten')
}

function assertReason(reason: string): string {
  if (isPauseLine(reason)) return reason
  throw usage('a pause needs a reason: one line of at most 200 characters')
}

function usage(reason: string): PgproofError {
  return new PgproofError('USAGE_INVALID', { reason })
}
