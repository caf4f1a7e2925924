import type { ErrorCode } from '../errors.ts'

/** What may be the fault of a worker's login, network, programs or scratch server, for one server. */
export const workersOwnOfServer: ReadonlySet<string> = new Set<ErrorCode>([
  ...(['SERVER_UNREACHABLE', 'AUTHENTICATION_FAILED', 'PRIVILEGE_MISSING', 'PROGRAM_MISSING'] as const),
  ...(['KEY_NO_MATCH', 'LIBRARY_NOT_LOADED', 'EXTENSION_MISSING', 'LOCALE_MISSING', 'SCRATCH_IS_SOURCE'] as const),
])

/** What may be the fault of a worker, whatever the server. */
const workersOwnOfAll: ReadonlySet<string> = new Set<ErrorCode>([
  ...(['KEY_UNREADABLE', 'KEY_UNUSABLE', 'KEY_NEEDED', 'PASSPHRASE_WRONG', 'CONFIG_UNREADABLE'] as const),
  ...(['SPOOL_FULL', 'SPOOL_UNUSABLE', 'SCRATCH_FAILED'] as const),
  ...(['STORE_UNREACHABLE', 'STORE_DENIED', 'STORE_CREDENTIALS_MISSING'] as const),
])

/** Whether another worker of a fleet may well succeed where one has failed with this. */
export function mayBeWorkersOwn(code: string): boolean {
  return workersOwnOfServer.has(code) || workersOwnOfAll.has(code)
}
