import type { DumpedSequence, SequenceState, TableContents } from './evidence.ts'
import type { QualifiedName } from './qualified-name.ts'

export type TableComparison = {
  readonly schema: string
  readonly name: string
  readonly expectedRows: number | null
  readonly restoredRows: number | null
  readonly expectedDigest: string | null
  readonly restoredDigest: string | null
  /** What both sides have. `equal` claims no more than this. */
  readonly compared: 'rows and digest' | 'rows' | 'nothing'
  /**
   * `not compared`: the table is there, but the backup has no evidence of it (`off`), or has some that was not taken of
   * the restored copy or was taken under another condition. Never to be counted as equal.
   */
  readonly result: 'equal' | 'missing' | 'unexpected' | 'rows differ' | 'digest differs' | 'not compared'
}

/**
 * Every table of either side once, in order of schema and name. Partitions between which a restore moves rows are
 * compared together, under the name of the table that they belong to.
 */
export function compareTables(
  expected: readonly TableContents[],
  restored: readonly TableContents[],
): readonly TableComparison[] {
  return pairUp(addUp(expected), addUp(restored)).map(([schema, name, before, after]) => ({
    schema,
    name,
    expectedRows: before?.rows ?? null,
    restoredRows: after?.rows ?? null,
    expectedDigest: before?.digest ?? null,
    restoredDigest: after?.digest ?? null,
    ...compareTable(before, after),
  }))
}

export type SequenceComparison = {
  readonly schema: string
  readonly name: string
  /** The value that `nextval` would give; decimal. */
  readonly expectedNext: string | null
  readonly restoredNext: string | null
  /**
   * Sequences do not obey snapshots, so `ahead` is fine, up to where the sequence was after the dump. `behind` would hand
   * out values that were given away before, `beyond` leaves some out that it never reached.
   */
  readonly result: 'equal' | 'ahead' | 'behind' | 'beyond' | 'missing' | 'unexpected'
}

/** Every sequence of either side once, in order of schema and name. "Behind" follows the sign of the increment. */
export function compareSequences(
  expected: readonly DumpedSequence[],
  restored: readonly SequenceState[],
): readonly SequenceComparison[] {
  return pairUp<DumpedSequence, SequenceState>(expected, restored).map(([schema, name, before, after]) => {
    const expectedNext = before === undefined ? null : nextValue(before)
    const restoredNext = after === undefined ? null : nextValue(after)
    const named = { schema, name, expectedNext: decimal(expectedNext), restoredNext: decimal(restoredNext) }
    if (before === undefined || expectedNext === null) return { ...named, result: 'unexpected' }
    if (restoredNext === null) return { ...named, result: 'missing' }
    if (restoredNext === expectedNext) return { ...named, result: 'equal' }
    if (before.isCycling) return { ...named, result: 'ahead' }
    const direction = before.increment.startsWith('-') ? -1n : 1n
    if (direction * restoredNext < direction * expectedNext) return { ...named, result: 'behind' }
    const latestNext = nextValue({ ...before, ...before.latest })
    return { ...named, result: direction * restoredNext > direction * latestNext ? 'beyond' : 'ahead' }
  })
}

/** Under which name a table is compared: its own, or that of the table which it is a partition of. */
export function comparedAs({ schema, name, root }: Pick<TableContents, 'schema' | 'name' | 'root'>): QualifiedName {
  return root ?? { schema, name }
}

function addUp(contents: readonly TableContents[]): readonly TableContents[] {
  const tables = new Map<string, TableContents>()
  for (const one of contents) {
    const named = { ...one, ...comparedAs(one) }
    const key = JSON.stringify([named.schema, named.name])
    const before = tables.get(key)
    const rows = before === undefined ? one.rows : sum(before.rows, one.rows, (a, b) => a + b)
    // A digest is a sum over rows, so that of several tables is the sum of theirs.
    const digest =
      before === undefined ? one.digest : sum(before.digest, one.digest, (a, b) => String(BigInt(a) + BigInt(b)))
    tables.set(key, { ...named, rows, digest })
  }
  return [...tables.values()]
}

function sum<T>(one: T | null, other: T | null, add: (one: T, other: T) => T): T | null {
  return one === null || other === null ? null : add(one, other)
}

function compareTable(
  expected: TableContents | undefined,
  restored: TableContents | undefined,
): Pick<TableComparison, 'compared' | 'result'> {
  if (expected === undefined) return { compared: 'nothing', result: 'unexpected' }
  if (restored === undefined) return { compared: 'nothing', result: 'missing' }
  if (expected.condition !== restored.condition) return { compared: 'nothing', result: 'not compared' }
  if (expected.rows === null || restored.rows === null) return { compared: 'nothing', result: 'not compared' }
  const compared = expected.digest === null || restored.digest === null ? 'rows' : 'rows and digest'
  if (expected.rows !== restored.rows) return { compared, result: 'rows differ' }
  if (compared === 'rows and digest')
    return { compared, result: expected.digest === restored.digest ? 'equal' : 'digest differs' }
  return { compared, result: expected.digest === null ? 'equal' : 'not compared' }
}

type Named = { readonly schema: string; readonly name: string }

function pairUp<E extends Named, R extends Named>(
  expected: readonly E[],
  restored: readonly R[],
): readonly (readonly [string, string, E | undefined, R | undefined])[] {
  const keyOf = ({ schema, name }: Named): string => JSON.stringify([schema, name])
  const before = new Map(expected.map((item) => [keyOf(item), item]))
  const after = new Map(restored.map((item) => [keyOf(item), item]))
  const names = [...new Map<string, Named>([...after, ...before]).values()].toSorted(
    (a, b) => order(a.schema, b.schema) || order(a.name, b.name),
  )
  return names.map((item) => [item.schema, item.name, before.get(keyOf(item)), after.get(keyOf(item))])
}

function order(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}

function nextValue({ lastValue, isCalled, increment }: SequenceState): bigint {
  return BigInt(lastValue) + (isCalled ? BigInt(increment) : 0n)
}

function decimal(value: bigint | null): string | null {
  return value === null ? null : value.toString()
}
