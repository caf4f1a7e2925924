import { assertNotAborted } from '../errors.ts'

/** Runs what it is given one after the other, in order; one that was aborted while it waited is not run. */
export class OneAtATime {
  #others: Promise<unknown> = Promise.resolve()

  async run(work: () => Promise<void>, signal: AbortSignal): Promise<void> {
    const others = this.#others
    const own = runAfter(others, work, signal)
    // Without what became of them: each would keep the one before it, and every error, for good.
    this.#others = Promise.allSettled([others, own]).then(() => {})
    await own
  }
}

async function runAfter(others: Promise<unknown>, work: () => Promise<void>, signal: AbortSignal): Promise<void> {
  const aborted = Promise.withResolvers<unknown>()
  signal.addEventListener('abort', aborted.resolve, { once: true })
  if (!signal.aborted) await Promise.race([others, aborted.promise])
  signal.removeEventListener('abort', aborted.resolve)
  assertNotAborted(signal)
  await work()
}
