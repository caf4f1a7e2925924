import { PgproofError } from '../errors.ts'

/** The register error that an aborted signal stands for: its own reason if that is one, else `CANCELLED`. */
export function abortError(signal: AbortSignal, what: string): PgproofError {
  return signal.reason instanceof PgproofError
    ? signal.reason
    : new PgproofError('CANCELLED', { what }, { cause: signal.reason })
}

/** Runs `onAbort` once when the signal fires, at once if it already has; the returned function takes that back. */
export function whenAborted(signal: AbortSignal, onAbort: () => void): () => void {
  if (signal.aborted) {
    onAbort()
    return () => {}
  }
  signal.addEventListener('abort', onAbort, { once: true })
  return () => signal.removeEventListener('abort', onAbort)
}
