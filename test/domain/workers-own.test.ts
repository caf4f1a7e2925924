import { expect, it } from 'vitest'
import { mayBeWorkersOwn, workersOwnOfServer } from '../../src/domain/workers-own.ts'
import { type ErrorCode, register } from '../../src/errors.ts'

// What one worker's machine, login or files lack, and another's may have.
const ofServer = [
  ...['SERVER_UNREACHABLE', 'AUTHENTICATION_FAILED', 'PRIVILEGE_MISSING', 'PROGRAM_MISSING', 'KEY_NO_MATCH'],
  ...['LIBRARY_NOT_LOADED', 'EXTENSION_MISSING', 'LOCALE_MISSING', 'SCRATCH_IS_SOURCE'],
]
const ofAll = [
  ...['KEY_UNREADABLE', 'KEY_UNUSABLE', 'KEY_NEEDED', 'PASSPHRASE_WRONG', 'CONFIG_UNREADABLE', 'SPOOL_FULL'],
  ...['SPOOL_UNUSABLE', 'SCRATCH_FAILED', 'STORE_UNREACHABLE', 'STORE_DENIED', 'STORE_CREDENTIALS_MISSING'],
]

it('of all that can end a run - these may be a worker’s own, some of them for one server only', () => {
  const codes = Object.keys(register) as ErrorCode[]
  expect(codes.filter(mayBeWorkersOwn).toSorted()).toEqual([...ofServer, ...ofAll].toSorted())
  expect([...workersOwnOfServer].toSorted()).toEqual(ofServer.toSorted())
})

it('what no worker can help, or was said of the backup - is nobody’s own', () => {
  for (const code of [
    'DUMP_FAILED',
    'EVIDENCE_MISMATCH',
    'RESTORE_FAILED',
    'SERVER_UNKNOWN',
    'LOCKED',
    'OF_A_NEWER_VERSION',
  ])
    expect(mayBeWorkersOwn(code), code).toBe(false)
})
