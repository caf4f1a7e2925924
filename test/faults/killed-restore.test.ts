import { expect, it } from 'vitest'
import { verdictOf } from '../../src/domain/checklist.ts'
import { isServersFault, restoreError } from '../../src/postgres/restore-errors.ts'
import { ProgramError } from '../../src/streams/child-process.ts'

it.each([
  ['SIGKILL', 'SCRATCH_FAILED', 'inconclusive'],
  ['SIGTERM', 'SCRATCH_FAILED', 'inconclusive'],
  ['SIGSEGV', 'RESTORE_FAILED', 'failed'],
] as const)('pg_restore ended by %s - %s: the backup is %s', (signalName, code, verdict) => {
  const error = restoreError(new ProgramError('pg_restore', { exitCode: null, signalName, startCode: undefined }, ''))
  expect(error.code).toBe(code)
  expect(verdictOf(error)).toBe(verdict)
})

it.each([
  ['pg_restore: error: out of memory', 'SCRATCH_FAILED', 'inconclusive'],
  ['pg_restore: error: could not execute query: ERROR:  out of memory', 'SCRATCH_FAILED', 'inconclusive'],
  ['pg_restore: error: COPY failed for table "parcel": ERROR:  out of memory', 'SCRATCH_FAILED', 'inconclusive'],
  ['pg_restore: error: could not create worker process: Cannot allocate memory', 'SCRATCH_FAILED', 'inconclusive'],
  [
    'pg_restore: error: COPY failed for table "t": ERROR:  invalid memory alloc request size 1',
    'RESTORE_FAILED',
    'failed',
  ],
  ['pg_restore: error: COPY failed for table "t": ERROR:  out of memory of mine', 'RESTORE_FAILED', 'failed'],
] as const)('"%s" - %s: the backup is %s', (line, code, verdict) => {
  const outcome = { exitCode: 1, signalName: null, startCode: undefined }
  const error = restoreError(new ProgramError('pg_restore', outcome, `${line}\nDETAIL:  Failed on request of size 1.`))
  expect(error.code).toBe(code)
  expect(verdictOf(error)).toBe(verdict)
})

it.each([
  ['the connection is gone', undefined, true],
  ['the pipe is broken', 'EPIPE', true],
  ['memory ran out', '53200', true],
  ['an operator ended it', '57P01', true],
  ['the disk fails', '58030', true],
  ['a role is missing', '42704', false],
  ['a value is not possible', '22023', false],
  ['a function raises an error', 'P0001', false],
] as const)('a statement of a replay fails because %s (%s) - told of the server: %s', (_, code, isServers) => {
  expect(isServersFault(Object.assign(new Error('it failed'), { code }))).toBe(isServers)
})
