import { PgproofError } from '../errors.ts'

/** Names of a directory store's temporary files; no key may end in one, because listings hide them. */
export const temporaryName = /^\.pgproof-[0-9a-f]{16}\.part$/

/** Throws `STORE_DENIED` for a key that is not a relative, `/`-separated path without `.` and `..`. */
export function assertObjectKey(key: string, operation: string): void {
  const segments = key.split('/')
  if (segments.some((segment) => segment === '')) deny(key, operation, 'it has an empty part')
  assertSegments(key, segments, operation)
}

/** Like a key, but may be empty and may end anywhere, `backups/` as well as `backups/ma`. */
export function assertKeyPrefix(prefix: string, operation: string): void {
  const segments = prefix.split('/')
  if (segments.slice(0, -1).some((segment) => segment === '')) deny(prefix, operation, 'it has an empty part')
  assertSegments(prefix, segments, operation)
}

function assertSegments(key: string, segments: readonly string[], operation: string): void {
  if (segments.some((segment) => segment === '.' || segment === '..')) deny(key, operation, 'it has a `.` or `..` part')
  if (key.includes('\0')) deny(key, operation, 'it has a null character')
  if (temporaryName.test(segments.at(-1) ?? '')) deny(key, operation, 'it is the name of a temporary file')
}

function deny(key: string, operation: string, why: string): never {
  throw new PgproofError('STORE_DENIED', { operation, reason: `"${key}" is not a key: ${why}` })
}
