import { mayBeOne, nodeAt, type Path, shortPath, variableOf } from './keys.ts'

/** The configuration before it is checked: plain values, and where each came from. */
export type Draft = {
  /** The file as the operator named it; undefined without one. */
  readonly file: string | undefined
  value: Tree
  readonly origins: Map<string, Origin>
}

export type Tree = { [key: string]: unknown }

export type Origin =
  | {
      readonly from: 'file'
      readonly key: Position | undefined
      readonly value: Position
      /** The text before `${…}` was replaced; faults quote it instead of the value, which may be a secret. */
      readonly template?: string
      /** Where it is not the file of the configuration itself. */
      readonly file?: string
    }
  /** Without a variable it is a section or list that came to be because a variable names something in it. */
  | { readonly from: 'environment'; readonly variable: string | undefined }
  | { readonly from: 'flag'; readonly flag: string }

/** Counted from 1. */
export type Position = { readonly line: number; readonly column: number }

/** Where to look for a fault, as people read it, and in which order to list it. */
export type Place = {
  readonly text: string
  readonly position: Position | undefined
  /** The text is a flag of the command line, which says all that the key would. */
  readonly isFlag?: true
}

export function emptyDraft(file: string | undefined): Draft {
  return { file, value: emptyTree(), origins: new Map() }
}

/** Without a prototype, so that a key like `constructor` is only ever a key. */
export function emptyTree(): Tree {
  return Object.create(null) as Tree
}

export function setOrigin(draft: Draft, path: Path, origin: Origin): void {
  draft.origins.set(JSON.stringify(path), origin)
}

/** The origin of a value, or of the nearest thing around it. */
export function originOf(draft: Draft, path: Path): Origin | undefined {
  for (let length = path.length; length > 0; length -= 1) {
    const origin = draft.origins.get(JSON.stringify(path.slice(0, length)))
    if (origin !== undefined) return origin
  }
  return undefined
}

/** What stands at a path; undefined if nothing does. */
export function valueAt(draft: Draft, path: Path): unknown {
  return path.reduce<unknown>((value, step) => {
    if (Array.isArray(value)) return typeof step === 'number' ? value[step] : undefined
    return isTree(value) && Object.hasOwn(value, step) ? value[step] : undefined
  }, draft.value)
}

export function isTree(value: unknown): value is Tree {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** The paths of the elements of a list; none if nothing or no list stands there. */
export function elementsOf(draft: Draft, list: Path): Path[] {
  const value = valueAt(draft, list)
  return Array.isArray(value) ? value.map((_, index) => [...list, index]) : []
}

/** Sets a value, making sections and list elements on the way; the reason if that cannot be. */
export function setAt(draft: Draft, path: Path, value: unknown): string | undefined {
  let holder: unknown = draft.value
  for (const [index, step] of path.entries()) {
    if (Array.isArray(holder) && Number(step) > holder.length)
      return `there is no ${[...path.slice(0, index), holder.length].join('.')} before it`
    // Something of another form stands in the file; that is a fault of its own.
    if (!Array.isArray(holder) && !isTree(holder)) return undefined
    const inside = holder as Record<string | number, unknown>
    if (index === path.length - 1) inside[step] = value
    else if (inside[step] === undefined || inside[step] === null) {
      inside[step] = typeof path[index + 1] === 'number' ? [] : emptyTree()
      setOrigin(draft, path.slice(0, index + 1), { from: 'environment', variable: undefined })
    }
    holder = inside[step]
  }
  return undefined
}

/** A key as the operator wrote it, or would: `store.url`, but `store.0.url` where the store stands in a list. */
export function keyText(draft: Draft, path: Path): string {
  return writtenPath(draft, path).join('.')
}

/** The place of a value, of its key, or of the section that lacks it. */
export function placeOf(draft: Draft, path: Path, what: 'value' | 'key' = 'value'): Place {
  const origin = originOf(draft, path)
  if (origin?.from === 'flag') return { text: origin.flag, position: undefined, isFlag: true }
  if (origin?.from === 'environment')
    return { text: origin.variable ?? variableOf(writtenPath(draft, path)), position: undefined }
  if (draft.file === undefined && origin?.file === undefined)
    return { text: variableOf(writtenPath(draft, path)), position: undefined }
  const isThere = valueAt(draft, path) !== undefined
  const position = (isThere && what === 'value' ? origin?.value : (origin?.key ?? origin?.value)) ?? start
  const file = (origin?.from === 'file' ? origin.file : undefined) ?? draft.file
  return { text: `${file}:${position.line}:${position.column}`, position }
}

const start: Position = { line: 1, column: 1 }

function writtenPath(draft: Draft, path: Path): Path {
  const list = path.findIndex((step, index) => step === 0 && mayBeOne(nodeAt(path.slice(0, index))))
  if (list < 0 || elementsOf(draft, path.slice(0, list)).length > 1) return path
  const first = draft.origins.get(JSON.stringify(path.slice(0, list + 1)))
  // An element of a list in the file has no key of its own.
  return first?.from === 'file' && first.key === undefined ? path : shortPath(path)
}
