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
    const reason = `no answer to the ${operation} for ${Math.round(stallMs / 1000)} s`
    rejectAfter(stallMs, () => new PgproofError('STORE_UNREACHABLE', { store: url, reason }))
  })
  try {
    return await Promise.race([work, givenUp])
  } finally {
    release()
    // With a reason: else an exception is made of each, which costs as much as the call.
    ended.abort('ended')
  }
}
