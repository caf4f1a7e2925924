import type { Clock } from '../../src/clock.ts'

/** The sleep of a clock that never comes to its end: only an abort wakes. */
export const asleep: Clock['sleep'] = (_ms, signal) =>
  new Promise((_, reject) => {
    if (signal?.aborted === true) reject(signal.reason)
    signal?.addEventListener('abort', () => reject(signal.reason), { once: true })
  })
