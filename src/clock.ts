import { setTimeout as delay } from 'node:timers/promises'

/** The only reader of the time. `monotonicMs` is for durations, `now` for instants. */
export type Clock = {
  now(): Date
  monotonicMs(): number
  /** Resolves after `ms` milliseconds; rejects with the signal's reason as soon as it aborts. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>
}

export const systemClock: Clock = {
  now: () => new Date(),
  monotonicMs: () => performance.now(),
  sleep: async (ms, signal) => {
    await delay(ms, undefined, signal === undefined ? {} : { signal })
  },
}
