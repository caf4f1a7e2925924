import { constants } from 'node:os'
import { PgproofError, reasonOf } from '../errors.ts'

/** What was tried, and where. */
export type DirectoryCall = { readonly operation: string; readonly key: string; readonly url: string }

/** A failure of the file system as an error of the register; a missing object is left to the caller. */
export function toDirectoryError(error: unknown, { operation, key, url }: DirectoryCall): unknown {
  const code = codeOf(error)
  if (error instanceof PgproofError || code === '') return error
  const reason = `${code}: ${reasonOf(error).replace(/^[^:]*: /, '')}`
  const more = { cause: error, details: reason }
  if (fullCodes.has(code)) return new PgproofError('STORE_FULL', { key }, more)
  if (code === 'EROFS') return new PgproofError('STORE_READ_ONLY', { reason }, { cause: error })
  if (code === 'EACCES' || code === 'EPERM')
    return new PgproofError('STORE_DENIED', { operation, reason, advice: directoryAdvice }, { cause: error })
  if (code === 'ENOENT' || code === 'ELOOP') return new PgproofError('STORE_NOT_FOUND', { key }, { cause: error })
  if (goneCodes.has(code)) return new PgproofError('STORE_UNREACHABLE', { store: url, reason }, { cause: error })
  return new PgproofError('STORE_FAILED', { operation, reason }, { cause: error })
}

/** For whoever is refused by a directory. */
export const directoryAdvice =
  'Check the owner and the mode of the directory and of what is in it (`ls -ln`), and of an NFS export its options: the user that pgproof runs as must be able to read and write there.'

/** The file system's name for the failure, `ENOSPC`; empty for anything that is no such failure. */
export function codeOf(error: unknown): string {
  if (!(error instanceof Error && 'code' in error && 'syscall' in error && typeof error.code === 'string')) return ''
  // Node has no names for some of the failures that network file systems have.
  const known = 'errno' in error && typeof error.errno === 'number' ? namesOfErrno.get(-error.errno) : undefined
  return /^E[A-Z0-9]+$/.test(error.code) ? error.code : (known ?? error.code)
}

const namesOfErrno = new Map(Object.entries(constants.errno).map(([name, errno]) => [errno, name]))

/** No space, no quota, or more than a file may have there, as 4 GB on FAT. */
const fullCodes = new Set(['ENOSPC', 'EDQUOT', 'EFBIG'])

/** The server or device behind a mount is gone, or was exchanged. */
const goneCodes = new Set([
  ...['ESTALE', 'ENOTCONN', 'ETIMEDOUT', 'EHOSTDOWN', 'EHOSTUNREACH', 'ENETDOWN', 'ENETUNREACH', 'ECONNREFUSED'],
  ...['ECONNABORTED', 'ECONNRESET', 'ENODEV', 'ENXIO', 'ESHUTDOWN', 'EREMOTEIO'],
])
