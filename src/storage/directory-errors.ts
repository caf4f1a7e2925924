import { PgproofError, reasonOf } from '../errors.ts'

/** A failure of the file system as an error of the register; a missing object is left to the caller. */
export function toDirectoryError(error: unknown, operation: string, key: string): unknown {
  const code = codeOf(error)
  if (error instanceof PgproofError || code === '') return error
  const more = { cause: error }
  if (code === 'ENOSPC' || code === 'EDQUOT' || code === 'EFBIG') return new PgproofError('STORE_FULL', { key }, more)
  if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS')
    return new PgproofError('STORE_DENIED', { operation, reason: reasonOf(error) }, more)
  if (code === 'ENOENT' || code === 'ELOOP') return new PgproofError('STORE_NOT_FOUND', { key }, more)
  return new PgproofError('STORE_FAILED', { operation, reason: reasonOf(error) }, more)
}

/** The file system's name for the failure, `ENOSPC`; empty for anything that is no such failure. */
export function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error && 'syscall' in error && typeof error.code === 'string'
    ? error.code
    : ''
}
