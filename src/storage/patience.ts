import type { Clock } from '../clock.ts'
import { PgproofError } from '../errors.ts'
import { abortError, whenAborted } from './abortable.ts'

export type Patience = {
  readonly clock: Clock
  readonly signal: AbortSignal
  readonly operation: string
  /** Address for the message. */
  readonly url: string
  /** After so many milliseconds without an answer the store counts as gone. Left out: only an abort ends the wait. */
  readonly stallMs?: number | undefined
}

/** How long an aborted operation may clean up after itself, in milliseconds. */
const graceMs = 5_000

/**
 * The end of `work`, but not for ever: a call of the file system cannot be cancelled, and on a mount whose server is gone
 * it may never return. Throws `STORE_UNREACHABLE`, or what the signal says; the work is then left to itself.
 */
export async function withPatience<T>(
  work: Promise<T>,
  { clock, signal, operation, url, stallMs }: Patience,
): Promise<T> {
  const ended = new AbortController()
  let release = (): void => {}
  const givenUp = new Promise<never>((_, reject) => {
    const rejectAfter = (ms: number, error: () => PgproofError): void => {
      void clock.sleep(ms, ended.signal).then(
        () => reject(error()),
        () => undefined,
      )
    }
    release = whenAborted(signal, () => rejectAfter(graceMs, () => abortError(signal, operation)))
    if (stallMs === undefined) return
    rejectAfter(stallMs, () => noAnswer({ operation, url }, stallMs))
  })
  try {
    return await Promise.race([work, givenUp])
  } finally {
    release()
    // With a reason: else an exception is made of each, which costs as much as the call.
    ended.abort('ended')
  }
}

/** How often a watch looks, in milliseconds. */
const watchMs = 30_000

/**
 * Watches the steps of one work, one after the other, and tells of one that takes longer than its time; the step goes on.
 * One timer serves them all: most end at once, and a timer for each would cost as much as the step.
 */
export class StepWatch {
  readonly #ended = new AbortController()
  #step: { readonly ms: number; leftMs: number } | undefined

  constructor(clock: Clock, onStall: (ms: number) => void) {
    void this.#look(clock, onStall).catch(() => undefined)
  }

  async step<T>(work: Promise<T>, ms: number): Promise<T> {
    this.#step = { ms, leftMs: ms }
    try {
      return await work
    } finally {
      this.#step = undefined
    }
  }

  end(): void {
    this.#ended.abort('ended')
  }

  async #look(clock: Clock, onStall: (ms: number) => void): Promise<void> {
    for (;;) {
      await clock.sleep(watchMs, this.#ended.signal)
      if (this.#step === undefined) continue
      this.#step.leftMs -= watchMs
      if (this.#step.leftMs < 0) return onStall(this.#step.ms)
    }
  }
}

/** What is said of a store that gave no answer for so long. */
export function noAnswer({ operation, url }: Pick<Patience, 'operation' | 'url'>, ms: number): PgproofError {
  const reason = `no answer to the ${operation} for ${Math.round(ms / 1000)} s`
  return new PgproofError('STORE_UNREACHABLE', { store: url, reason })
}
