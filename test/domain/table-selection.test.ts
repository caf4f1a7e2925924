import { describe, expect, it } from 'vitest'
import type { StructureObject } from '../../src/domain/structure.ts'
import { rootsOf, selectTables } from '../../src/domain/table-selection.ts'
import { PgproofError } from '../../src/errors.ts'

const object = (kind: string, name: string, facets: Record<string, string> = {}): StructureObject => ({
  kind,
  name,
  facets,
})
const partition = (name: string, of: string, more: Record<string, string> = {}): StructureObject =>
  object('table', name, { inherits: of, 'is partition': 'true', ...more })

const counted = (schema: string, name: string) =>
  ({ schema, name, level: 'digest', rows: 0, digest: '0', condition: null }) as const

const evidence = {
  tables: [counted('cron', 'job'), counted('public', 'users')],
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
    object('type', 'public.users', { owner: 'bob' }),
    object('event trigger', 'watch'),
  ],
}

const select = (
  tables: readonly string[],
  schemas: readonly string[] = [],
  of: Parameters<typeof selectTables>[1] = evidence,
): ReturnType<typeof selectTables> => selectTables({ tables, schemas }, of)

/** The names of what is selected from a backup with these objects. */
const textsOf = (structure: readonly StructureObject[], tables: readonly string[], schemas: readonly string[] = []) =>
  select(tables, schemas, { structure: [...structure], tables: [] }).tables.map(({ text }) => text)

function failureOf(
  tables: readonly string[],
  schemas: readonly string[] = [],
  of: Parameters<typeof selectTables>[1] = evidence,
): string {
  try {
    select(tables, schemas, of)
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

  it('one partition of a table by the hash of an enum - USAGE_INVALID names the table, which as a whole can be selected', () => {
    const root = { schema: 'public', name: 'p' }
    const of = {
      tables: [{ ...counted('public', 'p1'), root }],
      structure: [object('table', 'public.p', { definition: 'HASH (m)' }), partition('public.p1', 'public.p')],
    }
    expect(failureOf(['public.p1'], [], of)).toContain(
      'USAGE_INVALID: public.p1 is a partition of public.p, whose rows are spread by the hash of an enum',
    )
    expect(select(['public.p'], [], of).tables.map(({ text }) => text)).toEqual(['public.p', 'public.p1'])
  })

  it('two parents of one child - it comes once', () => {
    const structure = [
      ...evidence.structure,
      object('table', 'public.second'),
      object('table', 'public.both', { inherits: 'public.parent, public.second' }),
    ]
    expect(textsOf(structure, ['public.parent', 'public.second'])).toEqual([
      'public.parent',
      'public.child',
      'public.both',
      'public.second',
    ])
    expect(textsOf(structure, ['public.second'])).toEqual(['public.second', 'public.both'])
  })

  it('parents with commas, spaces and quotes in their names - each brings its child', () => {
    const parents = ['public."a, b"', 'public."c""d"', '"e, f".g']
    const structure = [
      ...parents.map((name) => object('table', name)),
      object('table', 'public.child', { inherits: parents.join(', ') }),
    ]
    for (const parent of parents) expect(textsOf(structure, [parent])).toEqual([parent, 'public.child'])
  })

  it('a child of a foreign table that is a child itself - comes with the top, and the foreign one is named once', () => {
    const structure = [
      object('table', 'public.top'),
      object('table', 'public.other'),
      object('foreign table', 'public.far', { inherits: 'public.top, public.other' }),
      object('table', 'public.below', { inherits: 'public.far' }),
    ]
    for (const [tables, schemas] of [
      [['public.top', 'public.other'], []],
      [[], ['public']],
    ] as const) {
      const selection = select(tables, schemas, { structure, tables: [] })
      expect(selection.tables.map(({ text }) => text).toSorted()).toEqual([
        'public.below',
        'public.other',
        'public.top',
      ])
      expect(selection.notes).toEqual([
        'public.far is a foreign table: its rows are on another server, and not in the backup',
      ])
    }
  })

  it('a partition or child alone - without what it is of', () => {
    expect(select(['public.log_1']).tables.map(({ text }) => text)).toEqual(['public.log_1', 'archive.log_1_a'])
    expect(select(['public.child']).tables).toMatchObject([{ text: 'public.child', inherits: ['public.parent'] }])
    const orphan = [object('table', 'public.orphan', { inherits: 'elsewhere.parent' })]
    expect(select(['public.orphan'], [], { structure: orphan, tables: [] }).tables).toMatchObject([
      { text: 'public.orphan', inherits: [], partitionOf: null },
    ])
  })

  it('what is said of each - owner, whether it is partitioned, what it is a partition of, what it inherits from', () => {
    const plain = { isPartitioned: false, partitionOf: null, inherits: [], owner: null }
    expect(select(['public.users', 'public.log', 'public.parent']).tables).toMatchObject([
      { ...plain, name: 'users', owner: 'ann' },
      { ...plain, name: 'log', isPartitioned: true },
      { ...plain, name: 'log_1', isPartitioned: true, partitionOf: { schema: 'public', name: 'log' } },
      { ...plain, schema: 'archive', name: 'log_1_a', partitionOf: { schema: 'public', name: 'log_1' } },
      { ...plain, name: 'parent' },
      { ...plain, name: 'child', inherits: ['public.parent'] },
    ])
    expect(select(['archive.log_1_a']).tables).toMatchObject([{ ...plain, name: 'log_1_a' }])
  })

  it('the roots of what is selected - the top of the partitions, at any depth; anything else is its own', () => {
    const roots = (tables: readonly string[]) =>
      Object.fromEntries(Array.from(rootsOf(select(tables)), ([key, { text }]) => [key, text]))
    expect(roots(['public.log', 'public.child'])).toEqual({
      '["public","log"]': 'public.log',
      '["public","log_1"]': 'public.log',
      '["archive","log_1_a"]': 'public.log',
      '["public","child"]': 'public.child',
    })
    expect(roots(['public.log_1'])).toEqual({
      '["public","log_1"]': 'public.log_1',
      '["archive","log_1_a"]': 'public.log_1',
    })
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

  it('a schema - every table of it once; its views, foreign tables and those of extensions are named', () => {
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
    expect(notes.toSorted()).toEqual([
      'public.far is a foreign table: its rows are on another server, and not in the backup',
      'public.log_far is a foreign table: its rows are on another server, and not in the backup',
      'views have no rows of their own and stay out: public.report, public.sums',
    ])
    expect(select([], ['archive']).notes).toEqual([])
    const besides = { ...evidence, tables: [counted('public', 'spatial_ref_sys')] }
    expect(select([], ['public'], besides).notes).toContain(
      'public.spatial_ref_sys belongs to an extension; restore the whole database beside the other (--create) and copy its rows',
    )
  })

  it.each([
    [
      'public.user',
      'TABLE_UNKNOWN: the backup holds no table public.user; Did you mean public."Users" or public.users? Names are written as `schema.table`.',
    ],
    ['users', 'TABLE_UNKNOWN: the backup holds no table users; Did you mean public."Users" or public.users?'],
    ['public.paremts', 'TABLE_UNKNOWN: the backup holds no table public.paremts; Did you mean public.parent?'],
    ['public.nt', 'TABLE_UNKNOWN: the backup holds no table public.nt; Names are written'],
    ['public.repor', 'TABLE_UNKNOWN: the backup holds no table public.repor; Names are written'],
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
    expect(failureOf([], ['nowhere'])).toBe(
      'TABLE_UNKNOWN: the backup holds no table in schema nowhere; Schemas with tables: public, "My.Schema", archive. Names are written as `schema.table`.',
    )
    for (const schema of ['a.b', '"a'])
      expect(failureOf([], [schema])).toContain(`USAGE_INVALID: "${schema}" is no name of a schema`)
  })

  it('a schema with nothing but views, or an extension’s tables - not among those that it has', () => {
    const views = [object('view', 'views.report')]
    const of = { structure: [...views, object('table', 'a.one')], tables: [counted('cron', 'job')] }
    for (const schema of ['views', 'cron'])
      expect(failureOf([], [schema], of)).toContain(`in schema ${schema}; Schemas with tables: a.`)
    expect(failureOf([], ['views'], { ...of, structure: views })).toContain('in schema views; Names are written')
  })

  it('many that may have been meant - five tables, or ten schemas, and the nearest first', () => {
    const structure = Array.from({ length: 12 }, (_, index) => object('table', `s${12 - index}.user`))
    const of = { structure: [object('table', 'a.users'), ...structure], tables: [] }
    expect(failureOf(['x.user'], [], of)).toContain(
      'Did you mean s1.user or s10.user or s11.user or s12.user or s2.user?',
    )
    expect(failureOf([], ['x'], of)).toContain('Schemas with tables: a, s12, s11, s10, s9, s8, s7, s6, s5, s4.')
  })
})
