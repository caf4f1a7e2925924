import { describe, expect, it } from 'vitest'
import {
  compareStructure,
  differenceText,
  type StructureObject,
  type StructureQuestion,
  settleStructure,
} from '../../src/domain/structure.ts'

const object = (kind: string, name: string, facets: Record<string, string> = {}): StructureObject => ({
  kind,
  name,
  facets,
})
const compare = (
  expected: readonly StructureObject[],
  restored: readonly StructureObject[],
  more: Partial<StructureQuestion> = {},
) => compareStructure({ expected, restored, isSameMajor: true, ...more })

describe('comparing the structure', () => {
  it('the same objects in another order - equal, and each of the evidence counted', () => {
    const one = object('table', 'a.t', { owner: 'ann' })
    const other = object('view', 'a.t', { definition: 'SELECT 1' })
    expect(compare([one, other], [other, one])).toEqual({ compared: 2, differences: [] })
    expect(compare([], [])).toEqual({ compared: 0, differences: [] })
  })

  it('lost, too many, changed - each named, in order of kind and name', () => {
    const expected = [
      object('table', 'b', { owner: 'ann', options: 'x', comment: 'same' }),
      object('table', 'a'),
      object('index', 'z', { definition: 'old' }),
    ]
    const restored = [
      object('table', 'c'),
      object('table', 'b', { owner: 'bob', acl: 'new', comment: 'same' }),
      object('index', 'z', { definition: 'old' }),
    ]
    expect(compare(expected, restored)).toEqual({
      compared: 3,
      differences: [
        { kind: 'table', name: 'a', result: 'missing', facets: [] },
        {
          kind: 'table',
          name: 'b',
          result: 'differs',
          facets: [
            { facet: 'acl', expected: null, restored: 'new' },
            { facet: 'options', expected: 'x', restored: null },
            { facet: 'owner', expected: 'ann', restored: 'bob' },
          ],
        },
        { kind: 'table', name: 'c', result: 'unexpected', facets: [] },
      ],
    })
  })

  it('kind and name that would be the same text together - kept apart', () => {
    expect(compare([object('a', 'b c')], [object('a b', 'c')]).differences).toHaveLength(2)
  })

  it('another major - an expression in other words is equal; one that is gone or new, or another facet, is not', () => {
    const other = { isSameMajor: false }
    for (const facet of ['definition', 'default', 'expression', 'condition']) {
      const before = object('column', 't.a', { [facet]: '(1 + 1)' })
      const after = object('column', 't.a', { [facet]: '1+1' })
      expect(compare([before], [after], other).differences).toEqual([])
      expect(compare([before], [after]).differences).toHaveLength(1)
      expect(compare([before], [object('column', 't.a')], other).differences).toHaveLength(1)
      expect(compare([object('column', 't.a')], [after], other).differences).toHaveLength(1)
    }
    const typed = [object('column', 't.a', { type: 'int' })]
    expect(compare(typed, [object('column', 't.a', { type: 'text' })], other).differences).toHaveLength(1)
  })

  it('a difference that is expected - left out, and it alone', () => {
    const expected = [object('table', 'a'), object('table', 'b')]
    const { compared, differences } = compare(expected, [], { isExpected: ({ name }) => name === 'a' })
    expect(compared).toBe(2)
    expect(differences.map(({ name }) => name)).toEqual(['b'])
  })

  it('a difference in words - without any value', () => {
    const facets = [
      { facet: 'owner', expected: 'secret', restored: null },
      { facet: 'type', expected: 'secret', restored: 'secrets' },
    ]
    expect(differenceText({ kind: 'column', name: 't.a', result: 'differs', facets })).toBe(
      'column t.a differs in owner, type',
    )
    expect(differenceText({ kind: 'table', name: 't', result: 'missing', facets: [] })).toBe('table t missing')
  })
})

describe('what two readings agree on', () => {
  it('nothing changed - all of it', () => {
    const objects = [object('table', 'a', { owner: 'ann' }), object('table', 'b')]
    expect(settleStructure(objects, objects)).toEqual({ settled: objects, changed: [] })
  })

  it('a facet changed - the object without that facet; gone or new ones - left out; all of them named', () => {
    const same = object('table', 'same')
    const before = [object('view', 'v', { definition: 'old', owner: 'ann' }), same, object('table', 'gone')]
    const fresh = object('table', 'new')
    const after = [fresh, object('view', 'v', { definition: 'new', owner: 'ann' }), same]
    const { settled, changed } = settleStructure(before, after)
    expect(settled).toEqual([object('view', 'v', { owner: 'ann' }), same])
    expect(changed.map(({ name }) => name).toSorted()).toEqual(['gone', 'new', 'v'])
  })
})
