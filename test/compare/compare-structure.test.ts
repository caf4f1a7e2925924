import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { refusedSettingNote, structureExceptions, structureQuestion } from '../../src/compare/compare-structure.ts'
import type { Evidence } from '../../src/domain/evidence.ts'
import { compareStructure, type StructureDifference, type StructureObject } from '../../src/domain/structure.ts'

type Majors = { readonly source: number; readonly scratch: number }
const same = { source: 16, scratch: 16 }

function judge(difference: StructureDifference, majors: Majors, omitted: string[] = [], said: string[] = []) {
  const omissions = omitted.map((object) => ({ kind: 'changed during the dump', object, reason: '' }))
  const evidence = { structure: [], omissions } as unknown as Evidence
  const notes = [...said]
  const isExpected = structureQuestion([], { evidence, majors, notes }).isExpected?.(difference)
  return { isExpected, notes: notes.slice(said.length) }
}

function isExpected(
  difference: StructureDifference,
  majors: Majors = same,
  omitted: string[] = [],
  said: string[] = [],
) {
  return judge(difference, majors, omitted, said).isExpected
}

const differs = (
  kind: string,
  name: string,
  facet: string,
  expected: string | null,
  restored: string | null,
): StructureDifference => ({
  kind,
  name,
  result: 'differs',
  facets: [{ facet, expected, restored }],
})
const missing = (kind: string, name: string): StructureDifference => ({ kind, name, result: 'missing', facets: [] })
const unexpected = (kind: string, name: string): StructureDifference => ({
  kind,
  name,
  result: 'unexpected',
  facets: [],
})

describe('differences that are no defect, and their limits', () => {
  it('a publication or subscription is missing - expected; too many, or different - not', () => {
    expect(isExpected(missing('publication', 'p'))).toBe(true)
    expect(isExpected(missing('subscription', 's'))).toBe(true)
    expect(isExpected(unexpected('publication', 'p'))).toBe(false)
    expect(isExpected(missing('table', 'p'))).toBe(false)
  })

  it('another version of an extension - expected and noted; another schema - not', () => {
    const { notes, ...judged } = judge(differs('extension', 'hstore', 'version', '1.4', '1.8'), same)
    expect(judged.isExpected).toBe(true)
    expect(notes).toEqual([expect.stringMatching(/^extension hstore: version 1\.4, restored as 1\.8 \(/)])
    expect(isExpected(differs('extension', 'hstore', 'schema', 'a', 'b'))).toBe(false)
    expect(isExpected(missing('extension', 'hstore'))).toBe(false)
    expect(isExpected(differs('extension', 'hstore', 'comment', null, 'from the control file'))).toBe(true)
    expect(isExpected(differs('extension', 'hstore', 'comment', 'mine', 'from the control file'))).toBe(false)
  })

  it('public and plpgsql that the source had dropped - expected; anything else too many - not', () => {
    expect(isExpected(unexpected('schema', 'public'))).toBe(true)
    expect(isExpected(unexpected('extension', 'plpgsql'))).toBe(true)
    expect(isExpected(unexpected('schema', 'public2'))).toBe(false)
    expect(isExpected(missing('schema', 'public'))).toBe(false)
  })

  it('a facet left out because it changed while the dump ran - expected; any other facet or object, or a loss - not', () => {
    const changed = ['view public.v']
    expect(isExpected(differs('view', 'public.v', 'definition', null, 'b'), same, changed)).toBe(true)
    expect(isExpected(differs('view', 'public.v', 'owner', 'a', 'b'), same, changed)).toBe(false)
    expect(isExpected(missing('view', 'public.v'), same, changed)).toBe(false)
    expect(isExpected(unexpected('view', 'public.v'), same, changed)).toBe(true)
    expect(isExpected(unexpected('view', 'public.w'), same, changed)).toBe(false)
    expect(isExpected(differs('view', 'public.w', 'definition', null, 'b'), same, changed)).toBe(false)
    expect(isExpected(differs('table', 'public.v', 'owner', null, 'b'), same, changed)).toBe(false)
  })

  it('a setting that the scratch server refused - expected to be missing; any other - not', () => {
    const said = [refusedSettingNote({ name: 'lc_monetary', reason: 'invalid value for parameter' })]
    expect(isExpected(missing('database setting', 'lc_monetary'), same, [], said)).toBe(true)
    expect(isExpected(missing('database setting', 'lc_monetary FOR clerk'), same, [], said)).toBe(false)
    expect(isExpected(missing('database setting', 'work_mem'), same, [], said)).toBe(false)
    expect(isExpected(differs('database setting', 'lc_monetary', 'value', 'a', 'b'), same, [], said)).toBe(false)
  })

  it('a materialized view whose refresh could not reach another server - expected to be empty; any other - not', () => {
    const said = ['ERROR: could not connect to server "far" Command was: REFRESH MATERIALIZED VIEW public.mv;']
    const empty = (name: string): StructureDifference =>
      differs('materialized view', name, 'populated', 'true', 'false')
    expect(isExpected(empty('public.mv'), same, [], said)).toBe(true)
    expect(isExpected(empty('public.m'), same, [], said)).toBe(false)
    expect(isExpected(empty('public.mv'))).toBe(false)
    expect(isExpected(differs('materialized view', 'public.mv', 'definition', 'a', 'b'), same, [], said)).toBe(false)
  })

  it('a policy on a table of an extension, which older evidence has - expected to be missing; on any other table - not', () => {
    const found = (policy: string, ...tables: string[]) => {
      const of = (kind: string, name: string): StructureObject => ({ kind, name, facets: {} })
      const structure = [...tables.map((name) => of('table', name)), of('policy', policy)]
      const evidence = { structure, omissions: [] } as unknown as Evidence
      const restored = structure.filter(({ kind }) => kind === 'table')
      return compareStructure(structureQuestion(restored, { evidence, majors: same, notes: [] })).differences
    }
    expect(found('cron.job.cron_job_policy', 'cron.jo', 'cron."job"')).toEqual([])
    expect(found('public.t.p', 'public.t')).toEqual([missing('policy', 'public.t.p')])
    expect(found('public."a.b"."c.d"', 'public."a.b"')).toEqual([missing('policy', 'public."a.b"."c.d"')])
    expect(isExpected(unexpected('policy', 'public.t.p'))).toBe(false)
    expect(isExpected(differs('policy', 'public.t.p', 'roles', 'a', 'b'))).toBe(false)
  })

  it('options of a TOAST table that the restored table does not have - expected; any other facet or table - not', () => {
    const question = { evidence: { structure: [], omissions: [] } as unknown as Evidence, majors: same, notes: [] }
    const found = (facet: string, name: string, restored: string | null) =>
      structureQuestion([], { ...question, withoutToast: new Set(['public.t']) }).isExpected?.(
        differs('table', name, facet, 'toast.autovacuum_enabled=off', restored),
      )
    expect(found('toast options', 'public.t', null)).toBe(true)
    expect(found('toast options', 'public.t', 'toast.autovacuum_enabled=on')).toBe(false)
    expect(found('toast options', 'public.u', null)).toBe(false)
    expect(found('options', 'public.t', null)).toBe(false)
    expect(isExpected(differs('table', 'public.t', 'toast options', 'a', null))).toBe(false)
  })

  it.each([
    ['de_DE@collation=phonebook', 'de-DE-u-co-phonebk', true],
    ['', 'und', true],
    ['root', 'und', true],
    ['en_US', 'en-GB', false],
    ['en_US', 'fr-US', false],
    ['en-US', 'en-US-u-ks-level1', false],
    ['de', 'und', false],
    // As CREATE COLLATION of PostgreSQL 17 writes them.
    ['en-US-u-kn-true', 'en-US-u-kn', true],
    ['und-u-ks-level1-kn-true-ka-shifted', 'und-u-ka-shifted-kn-ks-level1', true],
    ['DE-de', 'de-DE', true],
    ['und-u-ks-primary', 'und-u-ks-level1', true],
    ['de_DE.utf8@collation=phonebook', 'de-DE-u-co-phonebk', true],
    ['fr_CA@colBackwards=yes;collation=standard', 'fr-CA-u-co-standard-kb', true],
    ['de@CollAtion=Phonebook ; colNumeric = yes;', 'de-u-co-phonebk-kn', true],
    ['@colCaseFirst=no', 'und-u-kf-false', true],
    ['@colAlternate=non-ignorable', 'und-u-ka-noignore', true],
    ['@colReorder=Latn-Digit', 'und-u-kr-latn-digit', true],
    ['@colStrength=quaternary', 'und-u-ks-level4', true],
    ['de@kn=true', 'de-u-kn', true],
    ['de_DE@calendar=gregorian', 'de-DE-u-ca-gregory', true],
    ['zh_Hant_TW', 'zh-Hant-TW', true],
    ['_US', 'und-US', true],
    ['en_US_POSIX', 'en-US-u-va-posix', true],
    ['iw_IL', 'he-IL', true],
    ['de_u_co_phonebk', 'de-u-co-phonebk', true],
    ['en-US-u-kn-true', 'en-US-u-kn-false', false],
    ['en-US-u-kn-true', 'en-US', false],
    ['und-u-ks-level1-kn-true', 'und-u-kn-ks-level2', false],
    ['de_DE@collation=phonebook', 'de-DE', false],
    ['de_DE@collation=phonebook', 'de-DE-u-co-eor', false],
    ['de@colNumeric=yes', 'de-u-kc', false],
    ['zh_Hant', 'zh-Hans', false],
    ['de', 'de_DE', false],
    ['de_DE@foo=bar', 'de-DE', false],
  ])('a locale of ICU %j that became %j - expected: %s', (before, after, expected) => {
    const difference = differs('collation', 's.c', 'locale', before, after)
    expect(isExpected(difference, { source: 15, scratch: 16 })).toBe(expected)
    expect(isExpected(difference, { source: 14, scratch: 17 })).toBe(expected)
    // pg_upgrade leaves it as an older major wrote it.
    for (const majors of [same, { source: 16, scratch: 17 }]) expect(isExpected(difference, majors)).toBe(expected)
    for (const majors of [
      { source: 15, scratch: 15 },
      { source: 16, scratch: 15 },
    ])
      expect(isExpected(difference, majors)).toBe(false)
  })

  it('the parents of a table in another order - expected; other ones, another facet, or a list kept as its SHA-256 - not', () => {
    const inherits = (before: string | null, after: string | null, kind = 'table') =>
      isExpected(differs(kind, 's.c', 'inherits', before, after))
    expect(inherits('s.a, s.b', 's.b, s.a')).toBe(true)
    expect(inherits('s.a, s.b', 's.b, s.a', 'foreign table')).toBe(true)
    expect(inherits('s."a, ""b", s.c', 's.c, s."a, ""b"')).toBe(true)
    expect(inherits('s."a, s.b"', 's.b, s.a')).toBe(false)
    expect(inherits('s.a, s.b', 's.b')).toBe(false)
    expect(inherits('s.a, s.b', 's.b, s.a, s.a')).toBe(false)
    expect(inherits('s.a', null)).toBe(false)
    expect(inherits(null, 's.a')).toBe(false)
    expect(inherits('sha256:ab', 'sha256:cd')).toBe(false)
    expect(inherits('s.a, s.b', 's.b, s.a', 'view')).toBe(false)
    expect(isExpected(differs('table', 's.c', 'grants', 'a, b', 'b, a'))).toBe(false)
  })

  it('what only one of the majors knows - expected on that side alone; known to both, or any other facet - not', () => {
    const rules = (expected: string | null, restored: string | null): StructureDifference =>
      differs('collation', 's.c', 'rules', expected, restored)
    expect(isExpected(rules(null, '&a < b'), { source: 15, scratch: 16 })).toBe(true)
    expect(isExpected(rules('&a < b', null), { source: 16, scratch: 15 })).toBe(true)
    expect(isExpected(rules('&a < b', null), { source: 16, scratch: 17 })).toBe(false)
    expect(isExpected(rules('&a < b', null), { source: 15, scratch: 16 })).toBe(false)
    expect(isExpected(rules('&a < b', '&b < a'), { source: 15, scratch: 16 })).toBe(false)
    expect(isExpected(differs('column', 's.t.a', 'not null', 'true', null), { source: 15, scratch: 17 })).toBe(false)
  })

  it.each(['not null', 'identity', 'comment', 'grants', 'default', 'expression', 'definition'])(
    'another major, and a column has lost its facet %j - a difference',
    (facet) => {
      const expected = [{ kind: 'column', name: 'public.t.a', facets: { type: 'integer', [facet]: 'true' } }]
      const restored = [{ kind: 'column', name: 'public.t.a', facets: { type: 'integer' } }]
      const evidence = { structure: expected, omissions: [] } as unknown as Evidence
      const majors = { source: 15, scratch: 17 }
      const found = compareStructure(structureQuestion(restored, { evidence, majors, notes: [] })).differences
      expect(found).toEqual([differs('column', 'public.t.a', facet, 'true', null)])
      const unexpectedOne = { structure: restored, omissions: [] } as unknown as Evidence
      const back = structureQuestion(expected, { evidence: unexpectedOne, majors, notes: [] })
      expect(compareStructure(back).differences).toEqual([differs('column', 'public.t.a', facet, null, 'true')])
    },
  )

  it('another major prints an expression in other words - no difference; the same major - one', () => {
    const view = (definition: string) => [{ kind: 'view', name: 'public.v', facets: { definition } }]
    const found = (scratch: number) => {
      const evidence = { structure: view('SELECT 1'), omissions: [] } as unknown as Evidence
      const drill = { evidence, majors: { source: 15, scratch }, notes: [] }
      return compareStructure(structureQuestion(view('SELECT 2'), drill)).differences.length
    }
    expect([found(17), found(15)]).toEqual([0, 1])
  })

  it('the bootstrap superuser of either server as an owner - expected; any other role, or the other way round - not', () => {
    const bootstrapRoles = { source: 'admin', scratch: 'postgres' }
    const judged = (difference: StructureDifference) => {
      const evidence = { structure: [], omissions: [] } as unknown as Evidence
      return structureQuestion([], { evidence, majors: same, bootstrapRoles, notes: [] }).isExpected?.(difference)
    }
    expect(judged(missing('role', 'postgres'))).toBe(true)
    expect(judged(unexpected('role', 'admin'))).toBe(true)
    expect(judged(missing('role', 'admin'))).toBe(false)
    expect(judged(unexpected('role', 'postgres'))).toBe(false)
    expect(judged(missing('role', 'clerk'))).toBe(false)
    expect(judged(missing('schema', 'postgres'))).toBe(false)
    expect(isExpected(missing('role', 'postgres'))).toBe(false)
  })

  it('rights on members of extensions for the bootstrap superuser of the other server - not compared; any other - compared', () => {
    const rights = (granted: string | null): StructureObject[] =>
      granted === null ? [] : [{ kind: 'extension member grants', name: 'FUNCTION public.f()', facets: { granted } }]
    const found = (before: string | null, after: string | null, scratch = 'postgres') => {
      const evidence = { structure: rights(before), omissions: [] } as unknown as Evidence
      const bootstrapRoles = { source: '"the, admin=x/y"', scratch }
      const question = structureQuestion(rights(after), { evidence, majors: same, bootstrapRoles, notes: [] })
      return compareStructure(question).differences.length
    }
    expect(found('clerk=EXECUTE, postgres=EXECUTE', 'clerk=EXECUTE')).toBe(0)
    expect(found('postgres=EXECUTE*', null)).toBe(0)
    expect(found(null, '"the, admin=x/y"=EXECUTE')).toBe(0)
    expect(found('PUBLIC=EXECUTE/postgres', 'PUBLIC=EXECUTE')).toBe(0)
    expect(found('"o, k/=""q"=EXECUTE/clerk, postgres=EXECUTE', '"o, k/=""q"=EXECUTE/clerk')).toBe(0)
    // A list too long to be kept says nothing of who is in it.
    expect(found('sha256:ab', 'sha256:cd')).toBe(1)
    expect(found('clerk=EXECUTE, postgres=EXECUTE', null)).toBe(1)
    expect(found('clerk=EXECUTE/postgres', 'clerk=EXECUTE/other')).toBe(1)
    expect(found('postgres=EXECUTE', null, '"the, admin=x/y"')).toBe(1)
  })

  it('rights on public from PostgreSQL 14 to 15 alone; rights on system objects between majors alone', () => {
    const grants = differs('schema', 'public', 'grants', 'a', 'b')
    expect(isExpected(grants, { source: 14, scratch: 15 })).toBe(true)
    expect(isExpected(grants)).toBe(false)
    expect(isExpected({ ...grants, name: 's' }, { source: 14, scratch: 15 })).toBe(false)
    const system = differs('system object grants', 'FUNCTION f()', 'granted', 'a', 'b')
    expect(isExpected(system, { source: 15, scratch: 16 })).toBe(true)
    expect(isExpected(system)).toBe(false)
  })

  it('the identity of a partitioned table on its partitions since PostgreSQL 17 alone; another one, or elsewhere - not', () => {
    const column = (name: string, identity?: string): StructureObject => ({
      ...{ kind: 'column', name },
      facets: identity === undefined ? {} : { identity },
    })
    const partition = (name: string, inherits: string): StructureObject => ({
      ...{ kind: 'table', name },
      facets: { inherits, 'is partition': 'true' },
    })
    const found = (name: string, after: string | undefined, { source, scratch } = { source: 16, scratch: 17 }) => {
      const structure = [
        ...[column('s.p.id', 'always'), partition('s.a', 's.p'), column('s.a.id'), column('s.a.n')],
        ...[partition('s.b', 's.a'), column('s.b.id'), { kind: 'table', name: 's.t', facets: {} }, column('s.t.id')],
      ]
      const evidence = { structure, omissions: [] } as unknown as Evidence
      const restored = structure.map((one) => (one.name === name ? column(name, after) : one))
      const question = structureQuestion(restored, { evidence, majors: { source, scratch }, notes: [] })
      return compareStructure(question).differences.length
    }
    expect(found('s.a.id', 'always')).toBe(0)
    expect(found('s.b.id', 'always')).toBe(0)
    expect(found('s.a.id', 'always', { source: 17, scratch: 17 })).toBe(1)
    expect(found('s.a.id', 'always', { source: 15, scratch: 16 })).toBe(1)
    expect(found('s.a.id', 'by default')).toBe(1)
    expect(found('s.a.n', 'always')).toBe(1)
    expect(found('s.t.id', 'always')).toBe(1)
    expect(found('s.p.id', undefined)).toBe(1)
  })

  it('one facet that is expected beside one that is not - a difference', () => {
    const mark = differs('database', '', 'comment', null, 'mark')
    expect(isExpected(mark)).toBe(true)
    const owner = { facet: 'owner', expected: 'a', restored: 'b' }
    expect(isExpected({ ...mark, facets: [...mark.facets, owner] })).toBe(false)
  })

  it('each has its place in docs/verification.md', () => {
    const page = readFileSync('docs/verification.md', 'utf8').replaceAll(/\s+/g, ' ')
    for (const { why } of structureExceptions) expect(page).toContain(why)
  })
})
