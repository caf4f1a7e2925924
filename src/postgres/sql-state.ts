import { PgproofError } from '../errors.ts'

/**
 * The SQLSTATE of what PostgreSQL said, or of what caused an error of the register; else empty, as for a connection that broke.
 * Node's own codes are told apart by the classes of "PostgreSQL Error Codes" in PostgreSQL's documentation: EPIPE has five letters, too.
 */
export function sqlStateOf(thrown: unknown): string {
  const cause = thrown instanceof PgproofError ? thrown.cause : thrown
  const code = (cause as { code?: unknown } | null | undefined)?.code
  return typeof code === 'string' && /^(?:[0-9][0-9A-Z]|F0|HV|P0|XX)[0-9A-Z]{3}$/.test(code) ? code : ''
}

/** Hands on what was thrown unless PostgreSQL said it, with one of these SQLSTATEs if any are given. */
export function rethrowUnlessSqlState(thrown: unknown, ...states: readonly string[]): void {
  const state = sqlStateOf(thrown)
  if (state === '' || (states.length > 0 && !states.includes(state))) throw thrown
}
