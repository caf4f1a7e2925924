import { describe, expect, it } from 'vitest'
import type { StructureObject } from '../../src/domain/structure.ts'
import { selectTables } from '../../src/domain/table-selection.ts'
import { PgproofError } from '../../src/errors.ts'

const object = (kind: string, name: string, facets: Record<string, string> = {}): StructureObject => ({
  kind,
  name,
  facets,
})
const partition = (name: string, of: string, more: Record<string, string> = {}): StructureObject =>
  object('table', name, { inherits: of, 'is partition': 'true', ...more })

const evidence = {
  tables: [{ schema: 'cron', name: 'job', level: 'digest', rows: 0, digest: '0', condition: null }] as const,
  structure: [
    object('table', 'public.users', { owner: 'ann' }),
    object('table', 'public."Users"'),
    object('table', '"My.Schema"."a ""b"""'),
    object('table', 'public.log', { definition: 'RANGE (at)' }),
    partition('public.log_1', 'public.log', { definition: 'LIST (kind)' }),
    partition('archive.log_1_a', 'public.log_1'),
    object('foreign table', 'public.log_far', { inherits: 'public.log', 'is partition': 'true' }),
    object('table', 'public.parent'),
    object('table', 'public.child', { inherits: 'public.parent' }),
    object('view', 'public.report'),
    object('materialized view', 'public.sums'),
    object('foreign table', 'public.far'),
    object('sequence', 'public.users_id_seq'),
  ],
}

const select = (tables: readonly string[], schemas: readonly string[] = []): ReturnType<typeof selectTables> =>
  selectTables({ tables, schemas }, { ...evidence, tables: [...evidence.tables] })

function failureOf(tables: readonly string[], schemas: readonly string[] = []): string {
  try {
    select(tables, schemas)
  } catch (error) {
    if (error instanceof PgproofError) return `${error.code}: ${error.message}; ${error.hint}`
  }
  throw new Error('nothing was thrown')
}

describe('selecting tables', () => {
  it.each([
    ['in lower case', 'public.users', 'public.users'],
    ['folded where it is not quoted', 'PUBLIC.Users', 'public.users'],
    ['as it is where it is quoted', 'public."Users"', 'public."Users"'],
    ['with dots and quotes in it', '"My.Schema"."a ""b"""', '"My.Schema"."a ""b"""'],
  ])('a name %s - that table alone', (_, wish, text) => {
    expect(select([wish]).tables.map((table) => table.text)).toEqual([text])
  })

  it('two parents of one child - it comes once', () => {
    const structure = [
      ...evidence.structure,
      object('table', 'public.second'),
      object('table', 'public.both', { inherits: 'public.parent, public.second' }),
    ]
    const wish = { tables: ['public.parent', 'public.second'], schemas: [] }
    const { tables } = selectTables(wish, { structure, tables: [...evidence.tables] })
    expect(tables.map(({ text }) => text)).toEqual(['public.parent', 'public.child', 'public.both', 'public.second'])
  })

  it('a partitioned table - with its partitions at any depth, above before below; a foreign one is named', () => {
    const { tables, notes } = select(['archive.log_1_a', 'public.log'])
    expect(tables.map(({ text, partitionOf }) => [text, partitionOf?.name ?? null])).toEqual([
      ['public.log', null],
      ['public.log_1', 'log'],
      ['archive.log_1_a', 'log_1'],
    ])
    expect(notes).toEqual(['public.log_far is a foreign table: its rows are on another server, and not in the backup'])
  })

  it('a parent of inheritance - with its children, whose rows a query of it shows', () => {
    const { tables } = select(['public.parent'])
    expect(tables.map(({ text, partitionOf }) => [text, partitionOf])).toEqual([
      ['public.parent', null],
      ['public.child', null],
    ])
  })

  it('a schema - every table of it once, its views named', () => {
    const { tables, notes } = select(['public.users'], ['public'])
    expect(tables.map(({ text }) => text).toSorted()).toEqual(
      [
        'archive.log_1_a',
        'public."Users"',
        'public.child',
        'public.log',
        'public.log_1',
        'public.parent',
        'public.users',
      ].toSorted(),
    )
    expect(notes.join()).toContain('public.report, public.sums')
  })

  it.each([
    [
      'public.user',
      'TABLE_UNKNOWN: the backup holds no table public.user; Did you mean public."Users" or public.users? Names are written as `schema.table`.',
    ],
    ['entirely.else', 'TABLE_UNKNOWN: the backup holds no table entirely.else; Names are written as `schema.table`.'],
    ['public.report', 'USAGE_INVALID: public.report is a view'],
    ['public.sums', 'USAGE_INVALID: public.sums is a materialized view'],
    ['public.far', 'USAGE_INVALID: public.far is a foreign table'],
    ['public.users_id_seq', 'USAGE_INVALID: public.users_id_seq is a sequence'],
    ['cron.job', 'USAGE_INVALID: cron.job belongs to an extension'],
    ['a.b.c', 'USAGE_INVALID: "a.b.c" is no name of a table'],
    ['public."users', 'USAGE_INVALID: "public."users" is no name of a table'],
    ['public.', 'USAGE_INVALID: "public." is no name of a table'],
    ['', 'USAGE_INVALID: "" is no name of a table'],
  ])('%s - %s', (wish, text) => {
    expect(failureOf([wish])).toContain(text)
  })

  it('a schema that the backup has not - TABLE_UNKNOWN with those that it has', () => {
    expect(failureOf([], ['nowhere'])).toContain('Schemas with tables: public, My.Schema, archive, cron.')
    expect(failureOf([], ['a.b'])).toContain('USAGE_INVALID')
  })
})
