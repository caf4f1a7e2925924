import { PgproofError } from '../errors.ts'

/** Names of a directory store's temporary files; no key may end in one, because listings hide them. */
export const temporaryName = /^\.pgproof-[0-9a-f]{16}\.part$/

/** Throws `STORE_DENIED` for a key that is not a relative, `/`-separated path without `.` and `..`. */
export function assertObjectKey(key: string, operation: string): void {
  assertNoFlaw(key, operation, flawOf(key.split('/'), false))
}

/** Whether a name found in a store can be a key: what is none is not ours, and no call takes it. */
export function isObjectKey(name: string): boolean {
  // So it is with nearly all, and a listing has ten thousands of them.
  if (/^[A-Za-z0-9_=-][A-Za-z0-9_=.-]*(?:\/[A-Za-z0-9_=-][A-Za-z0-9_=.-]*)*$/.test(name)) return true
  return flawOf(name.split('/'), false) === undefined
}

/** Like a key, but may be empty and may end anywhere, `backups/` as well as `backups/ma`. */
export function assertKeyPrefix(prefix: string, operation: string): void {
  assertNoFlaw(prefix, operation, flawOf(prefix.split('/'), true))
}

function flawOf(segments: readonly string[], mayEndEmpty: boolean): string | undefined {
  const whole = mayEndEmpty ? segments.slice(0, -1) : segments
  if (whole.some((segment) => segment === '')) return 'it has an empty part'
  if (segments.some((segment) => segment === '.' || segment === '..')) return 'it has a `.` or `..` part'
  if (segments.some((segment) => segment.includes('\0'))) return 'it has a null character'
  return temporaryName.test(segments.at(-1) ?? '') ? 'it is the name of a temporary file' : undefined
}

function assertNoFlaw(key: string, operation: string, flaw: string | undefined): void {
  if (flaw === undefined) return
  throw new PgproofError('STORE_DENIED', {
    operation,
    reason: `"${key}" is not a key: ${flaw}`,
    advice: 'It is a fault of pgproof; please report it.',
  })
}
