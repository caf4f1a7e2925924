import { describe, expect, it } from 'vitest'
import { structureQuestion } from '../../src/compare/compare-structure.ts'
import type { Evidence } from '../../src/domain/evidence.ts'
import type { StructureObject } from '../../src/domain/structure.ts'

// Each exception by itself, and one step beside it: whatever is excused too much hides a defect.

type Case = {
  readonly kind: string
  readonly name: string
  readonly facet: string
  readonly expected: string | null
  readonly restored: string | null
  readonly source: number
  readonly scratch: number
}
const objects: StructureObject[] = [
  { kind: 'table', name: 'public.top', facets: {} },
  { kind: 'column', name: 'public.top.id', facets: { identity: 'always' } },
  { kind: 'table', name: 'public.part', facets: { 'is partition': 'true', inherits: 'public.top' } },
  { kind: 'column', name: 'public.part.id', facets: {} },
  { kind: 'table', name: 'public.child', facets: { inherits: 'public.top' } },
  { kind: 'column', name: 'public.child.id', facets: {} },
]

function judge({ kind, name, facet, expected, restored, source, scratch }: Case) {
  const evidence = { structure: objects, omissions: [] } as unknown as Evidence
  const notes: string[] = []
  const question = structureQuestion([], { evidence, majors: { source, scratch }, notes })
  const facets = [{ facet, expected, restored }]
  return { isExcused: question.isExpected?.({ kind, name, result: 'differs', facets }), notes }
}

const publicOwner: Case = {
  kind: 'schema',
  name: 'public',
  facet: 'owner',
  expected: 'postgres',
  restored: 'pg_database_owner',
  source: 14,
  scratch: 15,
}
const locale: Case = {
  kind: 'collation',
  name: 'public.de',
  facet: 'locale',
  expected: 'de_DE@collation=phonebook',
  restored: 'de-DE-u-co-phonebk',
  source: 15,
  scratch: 16,
}
const identity: Case = {
  kind: 'column',
  name: 'public.part.id',
  facet: 'identity',
  expected: null,
  restored: 'always',
  source: 16,
  scratch: 17,
}
const rules: Case = {
  kind: 'collation',
  name: 'public.c',
  facet: 'rules',
  expected: null,
  restored: '&a < g',
  source: 15,
  scratch: 16,
}
const schemas: Case = { ...rules, kind: 'publication', name: 'p', facet: 'schemas', source: 14, scratch: 15 }

describe('excused between majors, and one step beside it - a difference', () => {
  it.each<[string, Case, Partial<Case>[]]>([
    [
      'the owner and rights of public, from 14 to 15',
      publicOwner,
      [
        { kind: 'table' },
        { name: 'private' },
        { facet: 'comment' },
        { source: 15, scratch: 16 },
        { source: 13, scratch: 14 },
        { source: 15, scratch: 14 },
      ],
    ],
    ['its rights', { ...publicOwner, facet: 'grants' }, []],
    [
      'a locale of ICU as its language tag, from 15 to 16',
      locale,
      [
        { kind: 'table' },
        { facet: 'version' },
        { source: 14, scratch: 15 },
        { source: 16, scratch: 15 },
        { restored: 'de-DE' },
        { restored: 'fr-FR-u-co-phonebk' },
        { restored: 'de-AT-u-co-phonebk' },
        { restored: null },
        { expected: null },
        { expected: 'de-DE-u-co-phonebk', restored: 'de-DE' },
      ],
    ],
    [
      'the same on a server that pg_upgrade brought to 16',
      { ...locale, source: 16 },
      [{ restored: 'de-AT-u-co-phonebk' }],
    ],
    [
      'the root locale under its other name',
      { ...locale, expected: 'root@collation=emoji', restored: 'und-u-co-emoji' },
      [],
    ],
    [
      'the identity of a partition, from 16 to 17',
      identity,
      [
        { kind: 'table' },
        { facet: 'type' },
        { expected: 'by default' },
        { restored: 'by default' },
        { source: 17, scratch: 18 },
        { source: 15, scratch: 16 },
        { name: 'public.child.id' },
        { name: 'public.top.id' },
        { name: 'public.part.other' },
      ],
    ],
    [
      'rules of a collation, which 15 does not know',
      rules,
      [
        { kind: 'table' },
        { facet: 'locale' },
        { expected: '&b < a' },
        { source: 16, scratch: 17 },
        { expected: '&a < g', restored: null },
      ],
    ],
    [
      'the same, restored into the older one',
      { ...rules, expected: '&a < g', restored: null, source: 16, scratch: 15 },
      [{ restored: '&b < a' }, { scratch: 16 }],
    ],
    ['schemas of a publication, which 14 does not know', schemas, [{ kind: 'collation' }, { source: 15 }]],
  ])('%s', (_what, excused, besides) => {
    expect(judge(excused).isExcused).toBe(true)
    for (const beside of besides) expect([beside, judge({ ...excused, ...beside }).isExcused]).toEqual([beside, false])
  })

  it('what is worth knowing is noted with both values; what is not, is not', () => {
    expect(judge({ ...publicOwner, expected: null }).notes).toEqual([
      'schema public: owner none, restored as pg_database_owner (PostgreSQL 15 gave the schema public another owner, and took CREATE from PUBLIC)',
    ])
    expect(judge({ ...publicOwner, restored: null }).notes[0]).toContain('owner postgres, restored as none (')
    for (const silent of [identity, rules, schemas]) expect(judge(silent)).toEqual({ isExcused: true, notes: [] })
  })
})
