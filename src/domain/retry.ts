import { type ErrorCode, register } from '../errors.ts'
import { blamesTheBackup } from './checklist.ts'
import { mayBeWorkersOwn } from './workers-own.ts'

/** How a scheduled run ended. */
export type Ending = {
  readonly job: 'backup' | 'roles' | 'drill'
  readonly state: 'succeeded' | 'failed' | 'cancelled' | 'inconclusive'
  /** Of the register; null where there is none. */
  readonly code: string | null
  /** Which attempt it was; what found its database locked was none, and has the number of the next one. */
  readonly attempt: number
  /** How many runs there have been since the due time, those that found it locked included. */
  readonly runs: number
  readonly endedAt: Date
  /** Whether another worker of a fleet may take the next attempt. */
  readonly isOfFleet?: boolean | undefined
}

export type RetryRule = {
  /** In all, the first one included. */
  readonly attempts: number
  /** Before the second one, in milliseconds; each further one waits twice as long as the one before, an hour at most. */
  readonly delayMs: number
  /** The next due time: then a run of its own begins. */
  readonly until: Date
  /** 0 to 1: where in the tenth to either side of the wait the attempt falls. */
  readonly share: number
  /** When another configuration was put in force; null if none was. */
  readonly reloadedAt: Date | null
}

export type NextAttempt = { readonly at: Date; readonly attempt: number }

/**
 * When a run that came to a bad end is tried again before its next due time; null if it is not. A verdict is a verdict,
 * and what was cancelled was cancelled by somebody. What only another configuration can help waits for one.
 */
export function nextAttemptAt(ending: Ending, rule: RetryRule): NextAttempt | null {
  const { state, code, attempt, runs, endedAt } = ending
  if (state === 'succeeded' || state === 'cancelled' || isVerdict(ending)) return null
  // Neither has begun.
  const isLocked = code === 'LOCKED' || code === 'FLEET_QUEUE_LOST'
  const next = isLocked ? attempt : attempt + 1
  if (next <= rule.attempts && !needsSomebody(ending)) {
    const doubled = rule.delayMs * 2 ** Math.min(runs - 1, 40)
    const waitMs = Math.min(doubled, Math.max(rule.delayMs, longestWaitMs))
    const at = endedAt.getTime() + Math.round(waitMs * (0.9 + 0.2 * rule.share))
    if (at < rule.until.getTime()) return { at: new Date(at), attempt: next }
  }
  const { reloadedAt, until } = rule
  return reloadedAt !== null && reloadedAt >= endedAt && reloadedAt < until ? { at: reloadedAt, attempt: 1 } : null
}

/** A server that is back, or whoever is done with the database, is not to wait for long; the configured wait may be longer. */
const longestWaitMs = 3_600_000

function isVerdict({ job, code }: Ending): boolean {
  return job === 'drill' && code !== null && blamesTheBackup.has(code)
}

/**
 * Usage, configuration and keys do not mend themselves, but another worker may have what one lacks. What ended several
 * workers would end the next.
 */
function needsSomebody({ code, isOfFleet = false }: Ending): boolean {
  if (code === 'FLEET_JOB_LOST') return true
  if (code === null || !Object.hasOwn(register, code)) return false
  if (isOfFleet && mayBeWorkersOwn(code)) return false
  const { exit } = register[code as ErrorCode]
  return exit === 2 || exit === 13
}
