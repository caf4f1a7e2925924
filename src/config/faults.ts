import { type Draft, keyText, type Place, placeOf, valueAt } from './draft.ts'
import type { Path } from './keys.ts'
import { inFlagWords } from './store-flags.ts'

/** Something wrong with the configuration, or (as a warning) doubtful. Never holds a secret. */
export type Fault = {
  readonly place: Place
  /** Undefined where no key is meant: a syntax error, a variable that nobody knows. */
  readonly path: Path | undefined
  /** Lower case, no full stop. */
  readonly text: string
  readonly hint?: string | undefined
}

export function faultAt(draft: Draft, path: Path, text: string, hint?: string, what: 'value' | 'key' = 'value'): Fault {
  return { place: placeOf(draft, path, what), path, text, hint }
}

/** Whether a fault was found already at this path or around it; one is enough. */
export function isCovered(faults: readonly Fault[], path: Path): boolean {
  return faults.some(({ path: known }) => known?.every((step, index) => step === path[index]) ?? false)
}

/** Both a value and the file it is read from. */
export function givenTwice(draft: Draft, section: Path, key: string, fileKey: string): Fault[] {
  const isTwice = [key, fileKey].every((name) => valueAt(draft, [...section, name]) !== undefined)
  return isTwice ? [faultAt(draft, [...section, fileKey], `is given beside ${key}`, 'keep one of the two')] : []
}

/** One line for each, those in the file first and in its order. */
export function faultLines(faults: readonly Fault[], draft: Draft): string[] {
  const lines = faults.toSorted(inOrder).map(({ place, path, text, hint }) => {
    if (place.isFlag) return oneLine(inFlagWords(`${place.text}: ${text}${hint === undefined ? '' : ` (${hint})`}`))
    const key = path === undefined ? '' : `${keyText(draft, path)}: `
    return oneLine(`${place.text}  ${key}${text}${hint === undefined ? '' : `  hint: ${hint}`}`)
  })
  // A parser may say the same thing twice.
  return [...new Set(lines)]
}

/** A value as faults quote it. */
export function quoted(value: unknown): string {
  if (value === null || value === undefined) return 'nothing'
  if (Array.isArray(value)) return 'a list'
  if (typeof value === 'object') return 'a section'
  if (typeof value !== 'string') return String(value)
  return JSON.stringify(value.length > longest ? `${value.slice(0, longest)}…` : value)
}

/** The nearest of some names, if it is near enough to be a slip of the keyboard. */
export function nearestName(given: string, names: Iterable<string>): string | undefined {
  let nearest: { name: string; distance: number } | undefined
  for (const name of names) {
    const distance = editDistance(given.toLowerCase(), name.toLowerCase())
    if (distance < (nearest?.distance ?? 1 + Math.max(2, given.length / 4))) nearest = { name, distance }
  }
  return nearest?.name
}

const longest = 60

function inOrder({ place: a }: Fault, { place: b }: Fault): number {
  if (a.position === undefined || b.position === undefined)
    return Number(a.position === undefined) - Number(b.position === undefined) || (a.text < b.text ? -1 : 1)
  return a.position.line - b.position.line || a.position.column - b.position.column
}

function oneLine(text: string): string {
  return text.replaceAll(/\p{Cc}+/gu, ' ')
}

/** Insertions, removals and replacements from one text to the other. Names longer than 100 characters are far from all. */
function editDistance(a: string, b: string): number {
  if (a.length > 100 || b.length > 100) return 100
  let row = Array.from({ length: b.length + 1 }, (_, column) => column)
  for (const [line, letter] of [...a].entries()) {
    const next = [line + 1]
    for (const [column, other] of [...b].entries()) {
      const replaced = (row[column] ?? 0) + (letter === other ? 0 : 1)
      next.push(Math.min(replaced, (row[column + 1] ?? 0) + 1, (next[column] ?? 0) + 1))
    }
    row = next
  }
  return row[b.length] ?? 0
}
