import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { DumpedSequence, TableContents } from '../../src/domain/evidence.ts'
import { comparedAs, compareSequences, compareTables } from '../../src/domain/table-contents.ts'

function table(changes: Partial<TableContents> = {}): TableContents {
  return { schema: 'public', name: 'orders', level: 'digest', rows: 3, digest: '-12', condition: null, ...changes }
}

/** As it was before the dump, and the same after it unless `latest` is given. */
function sequence(changes: Partial<DumpedSequence> = {}): DumpedSequence {
  const state = { lastValue: '10', isCalled: true, increment: '1', isCycling: false, ...changes }
  const { lastValue, isCalled } = state
  return { schema: 'public', name: 'orders_id_seq', latest: { lastValue, isCalled }, ...state }
}

const until = (lastValue: string, isCalled = true): Pick<DumpedSequence, 'latest'> => ({
  latest: { lastValue, isCalled },
})

describe('tables', () => {
  const result = (expected: TableContents, restored: TableContents) => {
    const [comparison] = compareTables([expected], [restored])
    return [comparison?.result, comparison?.compared]
  }
  const counted = table({ level: 'count', digest: null })
  const off = table({ level: 'off', rows: null, digest: null })

  it('the same rows and digest - equal', () => {
    expect(compareTables([table()], [table()])).toEqual([
      {
        schema: 'public',
        name: 'orders',
        expectedRows: 3,
        restoredRows: 3,
        expectedDigest: '-12',
        restoredDigest: '-12',
        compared: 'rows and digest',
        result: 'equal',
      },
    ])
  })

  it('rows moved between partitions of one root - equal together; one row lost - rows differ', () => {
    const root = { schema: 'public', name: 'all' }
    const parts = (...contents: [rows: number, digest: string][]) =>
      contents.map(([rows, digest], index) => table({ name: `p${index}`, rows, digest, root }))
    const compared = (...after: [number, string][]) =>
      compareTables(parts([3, '-12'], [4, '9007199254740993']), parts(...after)).map(({ name, result }) => [
        name,
        result,
      ])
    expect(compared([2, '9007199254740990'], [5, '-9'])).toEqual([['all', 'equal']])
    expect(compared([2, '9007199254740990'], [5, '-8'])).toEqual([['all', 'digest differs']])
    expect(compared([3, '-12'])).toEqual([['all', 'rows differ']])
  })

  it('no count of one of the partitions of a root - the root is not compared; missing all the same if none comes back', () => {
    const root = { schema: 'public', name: 'all' }
    const expected = [table({ name: 'p1', root }), table({ ...off, name: 'p2', root })]
    expect(comparedAs(expected[1] ?? expect.unreachable())).toEqual(root)
    const compared = (after: TableContents[]) =>
      compareTables(expected, after).map(({ name, result }) => [name, result])
    expect(compared(expected)).toEqual([['all', 'not compared']])
    expect(compared([])).toEqual([['all', 'missing']])
  })

  it('one row missing - rows differ, whatever the digests', () => {
    expect(result(table(), table({ rows: 2 }))).toEqual(['rows differ', 'rows and digest'])
    expect(result(counted, table({ rows: 2 }))).toEqual(['rows differ', 'rows'])
  })

  it('one value changed - digest differs', () => {
    expect(result(table(), table({ digest: '12' }))).toEqual(['digest differs', 'rows and digest'])
  })

  it('a table that did not come back, and one that nobody expected - missing, unexpected', () => {
    const other = table({ name: 'customers' })
    expect(compareTables([table()], [other]).map(({ name, result }) => [name, result])).toEqual([
      ['customers', 'unexpected'],
      ['orders', 'missing'],
    ])
  })

  it('a table without evidence that did not come back - missing all the same', () => {
    expect(compareTables([off], [])[0]?.result).toBe('missing')
  })

  it('counted at the backup - equal by its rows, and says that only rows were compared', () => {
    expect(result(counted, counted)).toEqual(['equal', 'rows'])
    expect(result(counted, table())).toEqual(['equal', 'rows'])
  })

  it('digested at the backup, only counted in the drill - not compared, never equal', () => {
    expect(result(table(), counted)).toEqual(['not compared', 'rows'])
  })

  it('evidence off on either side, or another condition - not compared', () => {
    expect(result(off, table())).toEqual(['not compared', 'nothing'])
    expect(result(table(), off)).toEqual(['not compared', 'nothing'])
    expect(result(table({ condition: 'WHERE id > 9' }), table())).toEqual(['not compared', 'nothing'])
  })

  it('names that would collide if joined by a dot - kept apart', () => {
    const one = table({ schema: 'a.b', name: 'c' })
    const other = table({ schema: 'a', name: 'b.c', rows: 9 })
    expect(compareTables([one, other], [other, one]).map(({ result }) => result)).toEqual(['equal', 'equal'])
  })

  it('any two sides - each table once, equal exactly if all that the backup knows was compared and is the same', () => {
    const contents = fc.record({
      schema: fc.constantFrom('a', 'b'),
      name: fc.constantFrom('x', 'y', 'z'),
      level: fc.constant('digest' as const),
      rows: fc.constantFrom(null, 0, 1),
      digest: fc.constantFrom(null, '0', '1'),
      condition: fc.constantFrom(null, 'WHERE true'),
    })
    const side = fc.uniqueArray(contents, { selector: ({ schema, name }) => `${schema}.${name}` })
    fc.assert(
      fc.property(side, side, (expected, restored) => {
        const comparisons = compareTables(expected, restored)
        const find = (list: TableContents[], one: { schema: string; name: string }) =>
          list.find(({ schema, name }) => schema === one.schema && name === one.name)
        const names = new Set([...expected, ...restored].map(({ schema, name }) => `${schema}.${name}`))
        expect(comparisons.map(({ schema, name }) => `${schema}.${name}`)).toEqual([...names].sort())
        for (const comparison of comparisons) {
          const before = find(expected, comparison)
          const after = find(restored, comparison)
          const isSame =
            before !== undefined &&
            after !== undefined &&
            before.condition === after.condition &&
            before.rows !== null &&
            before.rows === after.rows &&
            (before.digest === null || before.digest === after.digest)
          expect(comparison.result === 'equal').toBe(isSame)
        }
      }),
      { numRuns: 2000 },
    )
  })
})

describe('sequences', () => {
  const result = (expected: DumpedSequence, { latest: _, ...restored }: DumpedSequence) =>
    compareSequences([expected], [restored])[0]?.result

  it('the same state - equal, with the value that comes next', () => {
    expect(compareSequences([sequence()], [sequence()])).toEqual([
      { schema: 'public', name: 'orders_id_seq', expectedNext: '11', restoredNext: '11', result: 'equal' },
    ])
  })

  it('between the readings before and after the dump - ahead is fine; behind and beyond are not', () => {
    const used = sequence(until('12'))
    expect(result(used, sequence({ lastValue: '11' }))).toBe('ahead')
    expect(result(used, sequence({ lastValue: '12' }))).toBe('ahead')
    expect(result(used, sequence({ lastValue: '9' }))).toBe('behind')
    expect(result(used, sequence({ lastValue: '13' }))).toBe('beyond')
    expect(result(used, sequence({ lastValue: '9223372036854775807' }))).toBe('beyond')
  })

  it('the same before and after the dump - only that very state is equal', () => {
    expect(result(sequence(), sequence({ lastValue: '11' }))).toBe('beyond')
    expect(result(sequence(), sequence({ lastValue: '9' }))).toBe('behind')
    expect(result(sequence({ lastValue: '1', isCalled: false }), sequence({ lastValue: '1' }))).toBe('beyond')
  })

  it('a descending sequence - the other way round', () => {
    const down = sequence({ increment: '-5', ...until('5') })
    expect(result(down, { ...down, lastValue: '5' })).toBe('ahead')
    expect(result(down, { ...down, lastValue: '15' })).toBe('behind')
    expect(result(down, { ...down, lastValue: '0' })).toBe('beyond')
  })

  it('not called yet - the next value is the last value itself', () => {
    expect(result(sequence({ lastValue: '1', isCalled: false, ...until('1') }), sequence({ lastValue: '1' }))).toBe(
      'ahead',
    )
    expect(result(sequence({ lastValue: '1' }), sequence({ lastValue: '1', isCalled: false }))).toBe('behind')
    expect(result(sequence(), sequence({ lastValue: '11', isCalled: false }))).toBe('equal')
  })

  it('a sequence that cycles - never behind nor beyond, wherever it has come to', () => {
    const ring = sequence({ isCycling: true })
    expect(result(ring, { ...ring, lastValue: '1' })).toBe('ahead')
    expect(result(ring, { ...ring, lastValue: '99' })).toBe('ahead')
    expect(result(ring, ring)).toBe('equal')
  })

  it('values beyond what a double holds - compared exactly', () => {
    const large = sequence({ lastValue: '9223372036854775806' })
    expect(result(large, { ...large, lastValue: '9223372036854775805' })).toBe('behind')
    expect(result(large, { ...large, lastValue: '9223372036854775807' })).toBe('beyond')
  })

  it('missing and unexpected ones - named', () => {
    const other = sequence({ name: 'z' })
    expect(compareSequences([sequence()], [other]).map(({ result }) => result)).toEqual(['missing', 'unexpected'])
  })
})
