import type { z } from 'zod'
import { type Draft, originOf, valueAt } from './draft.ts'
import { type Fault, faultAt, isCovered, nearestName, quoted } from './faults.ts'
import { childOf, everyKey, type KeyNode, type Path, root, type SectionNode, type ValueNode } from './keys.ts'

/** What zod found, in the words of the key that is concerned; one fault for each place, none where `known` has one. */
export function schemaFaults(issues: readonly z.core.$ZodIssue[], draft: Draft, known: readonly Fault[]): Fault[] {
  const faults: Fault[] = []
  for (const issue of issues) {
    const path = issue.path.filter((step) => typeof step !== 'symbol')
    const node = nearestNode(path)
    if (issue.code === 'unrecognized_keys' && node.form === 'section')
      faults.push(...issue.keys.map((key) => unknownKey(draft, node, path, key)))
    else if (!isCovered([...known, ...faults], path)) faults.push(valueFault(draft, node, path, issue))
  }
  return faults
}

/** zod's own text where a check gives no reason. */
const noReason = 'Invalid input'

/** What the value at a path should be and is; what it is only where it cannot be a secret. */
export function expectation(draft: Draft, node: ValueNode, path: Path, reason?: string): Fault {
  const { kind, about } = node
  const value = valueAt(draft, path)
  if (value === undefined && node.isRequired)
    return faultAt(draft, path, `is missing, expected ${kind.expects}`, `for example ${about.example}`)
  if (value === null)
    return faultAt(draft, path, `expected ${kind.expects}, got nothing`, 'give a value, or remove the key')
  const origin = originOf(draft, path)
  const template = origin?.from === 'file' ? origin.template : undefined
  const what = kind.isShown ? `expected ${kind.expects}, got ${quoted(template ?? value)}` : `expected ${kind.expects}`
  return faultAt(draft, path, reason === undefined ? what : `${what}: ${reason}`, kind.hint)
}

function valueFault(draft: Draft, node: KeyNode, path: Path, issue: z.core.$ZodIssue): Fault {
  const reason = issue.code === 'custom' && issue.message !== noReason ? issue.message : undefined
  if (node.form !== 'value') return reason === undefined ? formFault(draft, node, path) : faultAt(draft, path, reason)
  const fault = expectation(draft, node, path, reason)
  const isUnquoted =
    issue.code === 'invalid_type' && issue.expected === 'string' && typeof valueAt(draft, path) === 'number'
  return isUnquoted ? { ...fault, hint: fault.hint ?? 'quote it' } : fault
}

/** A scalar where a section or a list belongs, or the reverse. The value is not quoted: it may be a misplaced secret. */
function formFault(draft: Draft, node: KeyNode, path: Path): Fault {
  const value = valueAt(draft, path)
  const got = typeof value === 'object' ? quoted(value) : 'a single value'
  if (node.form === 'list' && Array.isArray(value))
    return faultAt(draft, path, 'expected at least one element, got an empty list')
  if (node.form === 'list') return faultAt(draft, path, `expected a list of sections, got ${got}`)
  const keys = node.form === 'section' ? [...node.keys.keys()].join(', ') : ''
  return faultAt(draft, path, `expected a section with keys (${keys}), got ${got}`)
}

function unknownKey(draft: Draft, node: SectionNode, path: Path, key: string): Fault {
  const near = nearestName(key, node.keys.keys())
  const elsewhere = [...everyKey()].find((other) => other.path.at(-1) === key)
  const elsewherePath = elsewhere?.path.filter((step) => typeof step === 'string').join('.')
  const hint =
    near === undefined && elsewherePath !== undefined
      ? `did you mean ${elsewherePath}?`
      : near === undefined
        ? `known keys here: ${[...node.keys.keys()].join(', ')}`
        : `did you mean ${near}?`
  return faultAt(draft, [...path, key], 'unknown key', hint, 'key')
}

/** The key that a path is of, or is inside of. */
function nearestNode(path: Path): KeyNode {
  let node: KeyNode = root
  for (const step of path) {
    const child = childOf(node, step)
    if (child === undefined) break
    node = child
  }
  return node
}
