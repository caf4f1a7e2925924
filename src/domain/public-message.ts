import type { ErrorCode } from '../errors.ts'

/**
 * A register message without what must not leave the house by an HTTP answer or a notice: messages of PostgreSQL, lists
 * of tables, faults of the program. What is cut is in the log, and in the encrypted part of a drill report.
 */
export function publicMessage(code: string, message: string): string {
  return namesMoreThanItMay.has(code) ? message.replace(/: .*/s, '') : message
}

const namesMoreThanItMay = new Set<string>([
  'EVIDENCE_MISMATCH',
  'INTERNAL',
  'PRIVILEGE_MISSING',
  'QUERY_FAILED',
  'ROLES_FAILED',
  'SCRATCH_FAILED',
  'SNAPSHOT_FAILED',
] satisfies ErrorCode[])
