import { z } from 'zod'

/**
 * One object of a database, or one setting of it, as PostgreSQL describes it: what a restore must bring back besides
 * rows. A column, a constraint, a trigger is an object of its own, so that a difference is named exactly.
 */
export const structureObject = z.strictObject({
  /** PostgreSQL's word for it: `table`, `column`, `index`, `function`, `default privileges` … */
  kind: z.string(),
  /** Unique within its kind, quoted as SQL does: `public.orders`, `public.orders.total`, `public.f(integer, text)`. */
  name: z.string(),
  /** What is compared: facet → text, independent of OIDs and settings. A long text stands as its SHA-256. */
  facets: z.record(z.string(), z.string()),
})
export type StructureObject = z.infer<typeof structureObject>

export const structureDifference = z.strictObject({
  kind: z.string(),
  name: z.string(),
  result: z.enum(['missing', 'unexpected', 'differs']),
  /** The facets that differ, for `differs` only; null where one side does not have the facet. */
  facets: z.array(
    z.strictObject({ facet: z.string(), expected: z.string().nullable(), restored: z.string().nullable() }),
  ),
})
export type StructureDifference = z.infer<typeof structureDifference>

/** Facets that PostgreSQL prints anew from a parse tree: another major may print the same thing in other words. */
export const deparsedFacets: ReadonlySet<string> = new Set(['definition', 'default', 'expression', 'condition'])

export type StructureQuestion = {
  readonly expected: readonly StructureObject[]
  readonly restored: readonly StructureObject[]
  /** Whether both servers have the same major; if not, a deparsed facet says only whether it is there. */
  readonly isSameMajor: boolean
  /** Whether a difference is one that PostgreSQL's own restore makes; see docs/verification.md. */
  readonly isExpected?: ((difference: StructureDifference) => boolean) | undefined
}

export type StructureAnswer = {
  /** Objects of the evidence that were looked for. */
  readonly compared: number
  readonly differences: readonly StructureDifference[]
}

/** Every object of either side once, in order of kind and name. */
export function compareStructure(question: StructureQuestion): StructureAnswer {
  const { expected, restored, isSameMajor, isExpected = () => false } = question
  const before = new Map(expected.map((object) => [keyOf(object), object]))
  const after = new Map(restored.map((object) => [keyOf(object), object]))
  const keys = [...new Set([...before.keys(), ...after.keys()])].sort()
  const differences = keys.flatMap((key) => compareObject(before.get(key), after.get(key), isSameMajor))
  return { compared: before.size, differences: differences.filter((difference) => !isExpected(difference)) }
}

/** What differs in words, without any value. */
export function differenceText({ kind, name, result, facets }: StructureDifference): string {
  if (result !== 'differs') return `${kind} ${name} ${result}`
  return `${kind} ${name} differs in ${facets.map(({ facet }) => facet).join(', ')}`
}

/**
 * What two readings of one database agree on. An object of which a facet changed in between stays, without that facet:
 * PostgreSQL's functions that print definitions do not obey snapshots, so a dump may have it either way. What only one
 * reading has is left out. `changed` names both.
 */
export function settleStructure(
  before: readonly StructureObject[],
  after: readonly StructureObject[],
): { readonly settled: readonly StructureObject[]; readonly changed: readonly StructureObject[] } {
  const later = new Map(after.map((object) => [keyOf(object), object]))
  const earlier = new Set(before.map(keyOf))
  const changed = after.filter((object) => !earlier.has(keyOf(object)))
  const settled = before.flatMap((object) => {
    const other = later.get(keyOf(object))
    const [difference] = compareObject(object, other, true)
    if (difference === undefined) return [object]
    changed.push(object)
    if (other === undefined) return []
    const unsettled = new Set(difference.facets.map(({ facet }) => facet))
    const facets = Object.entries(object.facets).filter(([facet]) => !unsettled.has(facet))
    return [{ ...object, facets: Object.fromEntries(facets) }]
  })
  return { settled, changed }
}

function compareObject(
  before: StructureObject | undefined,
  after: StructureObject | undefined,
  isSameMajor: boolean,
): StructureDifference[] {
  if (before === undefined)
    return after === undefined ? [] : [{ kind: after.kind, name: after.name, result: 'unexpected', facets: [] }]
  const { kind, name } = before
  if (after === undefined) return [{ kind, name, result: 'missing', facets: [] }]
  const facets = [...new Set([...Object.keys(before.facets), ...Object.keys(after.facets)])]
    .filter((facet) => before.facets[facet] !== after.facets[facet])
    .filter((facet) => isSameMajor || isComparable(facet, before, after))
    .sort()
    .map((facet) => ({ facet, expected: before.facets[facet] ?? null, restored: after.facets[facet] ?? null }))
  return facets.length === 0 ? [] : [{ kind, name, result: 'differs', facets }]
}

/** Another major may print an expression in other words; one that is gone is gone all the same. */
function isComparable(facet: string, before: StructureObject, after: StructureObject): boolean {
  return !deparsedFacets.has(facet) || !(facet in before.facets && facet in after.facets)
}

function keyOf({ kind, name }: { readonly kind: string; readonly name: string }): string {
  return JSON.stringify([kind, name])
}
