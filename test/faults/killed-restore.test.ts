import { expect, it } from 'vitest'
import { verdictOf } from '../../src/domain/checklist.ts'
import { restoreError } from '../../src/postgres/restore-errors.ts'
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
