import { resolve } from 'node:path'

/** The environment of a pgproof whose clock or patience is another one: see `changed-time.child.ts` for the variables. */
export function withChangedTime(
  variables: Partial<Record<'FAULT_CLOCK' | 'FAULT_HURRY', string>>,
): Record<string, string> {
  return { ...variables, NODE_OPTIONS: `--import=${resolve('test/faults/changed-time.child.ts')}` }
}
