import { register } from '../errors.ts'

/** What to do next, by the register; undefined for a code that it does not have, or whose hint needs more to be said. */
export function hintOf(code: string): string | undefined {
  const hint = Object.entries(register).find(([name]) => name === code)?.[1].hint
  return hint === undefined || hint.includes('{') ? undefined : hint
}
