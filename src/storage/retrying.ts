import type { Clock } from '../clock.ts'
import { reasonOf } from '../errors.ts'
import { type Log, logKeys } from '../log.ts'

/**
 * How long a call is tried: `attempts` in all, with pauses that double from `firstPauseMs` to `longestPauseMs`; none
 * begins later than `giveUpAfterMs` after the first, which matters where every attempt ends in a time-out.
 */
export type Patience = {
  readonly attempts: number
  readonly firstPauseMs: number
  readonly longestPauseMs: number
  readonly giveUpAfterMs: number
}

/** For a store that has answered before: about a minute, enough for a gateway's restart. */
export const patient: Patience = { attempts: 8, firstPauseMs: 500, longestPauseMs: 20_000, giveUpAfterMs: 180_000 }

/** For a store that has never answered, which is more likely a wrong setting than an outage: about a second. */
export const brisk: Patience = { attempts: 3, firstPauseMs: 250, longestPauseMs: 1_000, giveUpAfterMs: 15_000 }

/** The longest pause that a store may ask for by `Retry-After`. */
export const longestWishMs = 60_000

/**
 * Calls `attempt` until it succeeds, fails for good or patience ends; throws what the last attempt threw. A pause is
 * random between half and all of its length, so that many clients do not come back in step; where the store says when
 * to come back, it is that long, up to a minute, and a little random longer.
 */
export async function retrying<T>(
  attempt: () => Promise<T>,
  how: {
    readonly what: string
    readonly patience: () => Patience
    readonly isTransient: (error: unknown) => boolean
    /** What the store asked for, in milliseconds; undefined if it did not. */
    readonly wishMs?: (error: unknown) => number | undefined
    readonly clock: Clock
    readonly log: Log
    readonly signal: AbortSignal
  },
): Promise<T> {
  const start = how.clock.monotonicMs()
  for (let failures = 1; ; failures += 1) {
    try {
      return await attempt()
    } catch (error) {
      const patience = how.patience()
      const isTried = failures >= patience.attempts || how.clock.monotonicMs() - start > patience.giveUpAfterMs
      if (isTried || how.signal.aborted || !how.isTransient(error)) throw error
      const pauseMs = Math.max(pauseBefore(failures, patience), wishedPause(how.wishMs?.(error)))
      how.log.warn({ [logKeys.details]: reasonOf(error) }, `${how.what} failed, next try in ${Math.round(pauseMs)} ms`)
      await how.clock.sleep(pauseMs, how.signal)
    }
  }
}

/** The pause after the given number of failures, in milliseconds. */
export function pauseBefore(failures: number, patience: Patience): number {
  const full = Math.min(patience.longestPauseMs, patience.firstPauseMs * 2 ** (failures - 1))
  return full * (0.5 + Math.random() / 2)
}

function wishedPause(wishMs = 0): number {
  return Math.min(longestWishMs, Math.max(0, wishMs)) * (1 + Math.random() / 10)
}
