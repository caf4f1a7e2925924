import assert from 'node:assert/strict'
import { z } from 'zod'
import { type Declaration, declarationOf } from './declare.ts'
import { schema } from './schema.ts'

/** Where a value stands: `['servers', 0, 'name']`. */
export type Path = readonly (string | number)[]

type Of<Form extends Declaration['form']> = Extract<Declaration, { form: Form }>

export type SectionNode = Of<'section'> & { readonly keys: ReadonlyMap<string, KeyNode> }
export type ListNode = Of<'list'> & { readonly element: SectionNode }
export type ValueNode = Of<'value'>
/** One key of the schema and what is below it, without zod's wrappers. */
export type KeyNode = SectionNode | ListNode | ValueNode

export const variablePrefix = 'PGPROOF_'

/** What a step from a key leads to; undefined if there is no such key, or if the key is a value. */
export function childOf(node: KeyNode | undefined, step: string | number): KeyNode | undefined {
  if (node?.form === 'section') return typeof step === 'string' ? node.keys.get(step) : undefined
  if (node?.form === 'list') return typeof step === 'number' ? node.element : undefined
  return undefined
}

export function nodeAt(path: Path): KeyNode | undefined {
  return path.reduce<KeyNode | undefined>(childOf, root)
}

/** The path without the index 0 of lists whose only element is written without the list: `store.url` for `store.0.url`. */
export function shortPath(path: Path): Path {
  return path.filter((step, index) => step !== 0 || !mayBeOne(nodeAt(path.slice(0, index))))
}

export function mayBeOne(node: KeyNode | undefined): node is ListNode {
  return node?.form === 'list' && node.mayBeOne
}

/** The environment variable of a key, `PGPROOF_SERVERS__0__NAME`. */
export function variableOf(path: Path): string {
  return variablePrefix + path.map((step) => upperSnake(String(step))).join('__')
}

/** `secretAccessKeyFile` as `SECRET_ACCESS_KEY_FILE`. */
export function upperSnake(key: string): string {
  return key.replaceAll(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()
}

/** Every key with its path, in the order of the schema; the elements of a list stand at index 0. */
export function* everyKey(node: KeyNode = root, path: Path = []): Generator<{ path: Path; node: KeyNode }> {
  if (path.length > 0) yield { path, node }
  if (node.form === 'section') for (const [key, child] of node.keys) yield* everyKey(child, [...path, key])
  if (node.form === 'list') for (const [key, child] of node.element.keys) yield* everyKey(child, [...path, 0, key])
}

export const root: SectionNode = sectionNode(schema, { form: 'section', description: '' })

function sectionNode(object: z.ZodObject, declaration: Of<'section'>): SectionNode {
  const keys = Object.entries(object.shape).map(([key, child]) => [key, keyNode(child as z.ZodType)] as const)
  return { ...declaration, keys: new Map(keys) }
}

function keyNode(declared: z.ZodType): KeyNode {
  const declaration = declarationOf(declared)
  const inner = unwrap(declared)
  if (declaration?.form === 'value') return declaration
  if (declaration?.form === 'section' && inner instanceof z.ZodObject) return sectionNode(inner, declaration)
  assert(declaration?.form === 'list' && inner instanceof z.ZodArray, 'a key of the schema lacks its declaration')
  const element = keyNode(inner.element as z.ZodType)
  assert(element.form === 'section', 'the elements of a list of the schema are no sections')
  return { ...declaration, element }
}

function unwrap(declared: z.ZodType): z.ZodType {
  const isWrapper = declared instanceof z.ZodOptional || declared instanceof z.ZodPrefault
  return isWrapper ? unwrap(declared.unwrap() as z.ZodType) : declared
}
