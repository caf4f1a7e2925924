import { describe, expect, it } from 'vitest'
import type { CopiedTable, Merge } from '../../src/domain/merge.ts'
import { mergeStatements } from '../../src/domain/merge-statements.ts'
import { column, copiedTable, live, shape } from './copied-tables.ts'

// The statements to the letter. That they do what they say is shown by running them: test/restore/restore-tables.test.ts.

const table = (name: string, more: Partial<CopiedTable> = {}): CopiedTable => copiedTable(`public.${name}`, more)
const partition = (name: string, more: Partial<CopiedTable['partitions'][number]> = {}) => ({
  name: `public.${name}`,
  copy: `copy.${name}`,
  owner: null,
  parent: 'public.p',
  bound: 'DEFAULT',
  partitionKey: null,
  isLive: false,
  ...more,
})

function merged(tables: readonly CopiedTable[], more: Partial<Merge> = {}) {
  const { scripts, notes } = mergeStatements({
    schema: 'copy',
    schemas: [],
    tables,
    foreignKeys: [],
    functions: [],
    views: [],
    ...more,
  })
  const sql = Object.fromEntries(scripts.map((script) => [script.purpose, script.sql.split('\n')]))
  return { sql, notes, titles: scripts.map(({ title }) => title) }
}

describe('scripts of merging, to the letter', () => {
  it('a table with a key', () => {
    expect(merged([table('t')])).toEqual({
      titles: [
        'What is gone and what has changed since the backup',
        'Bring back rows that are gone',
        'Put all rows that were changed back as they were, rightful changes since the backup included',
        'Remove the copy when it is no longer needed',
      ],
      notes: [],
      sql: {
        look: [
          `SELECT 'public.t' AS "table", count(*) FILTER (WHERE l.id IS NULL) AS gone,`,
          '       count(*) FILTER (WHERE NOT l.id IS NULL AND ROW(l.a)::record *<> ROW(r.a)::record) AS changed,',
          '       (SELECT count(*) FROM ONLY public.t l WHERE NOT EXISTS (SELECT FROM ONLY copy.t r WHERE l.id = r.id)) AS new',
          '  FROM ONLY copy.t r LEFT JOIN ONLY public.t l ON l.id = r.id;',
        ],
        'bring back': [
          'BEGIN;',
          'SET CONSTRAINTS ALL IMMEDIATE;',
          '-- Rows of public.t that are gone, whoever deleted them.',
          'INSERT INTO public.t (id, a)',
          'SELECT r.id, r.a FROM ONLY copy.t r',
          ' WHERE NOT EXISTS (SELECT FROM ONLY public.t l WHERE l.id = r.id);',
          'COMMIT;',
        ],
        'undo changes': [
          'BEGIN;',
          'SET CONSTRAINTS ALL IMMEDIATE;',
          '-- All rows of public.t that differ, whoever changed them: add a condition where some changes were right.',
          'UPDATE ONLY public.t l SET a = r.a',
          '  FROM ONLY copy.t r',
          ' WHERE l.id = r.id AND ROW(l.a)::record *<> ROW(r.a)::record;',
          'COMMIT;',
        ],
        'clean up': ['DROP SCHEMA copy CASCADE;'],
      },
    })
  })

  it('a key of two columns in another order, and nothing besides it - nothing can have changed', () => {
    const both = { columns: [column('id'), column('a')], key: ['a', 'id'] }
    const { sql } = merged([table('t', { shape: both, live: live({ shape: { ...both, key: ['id', 'a'] } }) })])
    expect(sql['look']?.[1]).toBe('       count(*) FILTER (WHERE NOT l.id IS NULL AND false) AS changed,')
    expect(sql['look']?.[3]).toBe('  FROM ONLY copy.t r LEFT JOIN ONLY public.t l ON l.id = r.id AND l.a = r.a;')
    expect(sql['undo changes']).toBeUndefined()
  })

  it('two values - all of them set and compared; none that takes no UPDATE', () => {
    const wide = {
      columns: [column('id'), column('a'), column('b'), column('c', { isIdentityAlways: true })],
      key: ['id'],
    }
    const { sql } = merged([table('t', { shape: wide, live: live({ shape: wide }) })])
    expect(sql['undo changes']?.[3]).toBe('UPDATE ONLY public.t l SET a = r.a, b = r.b')
    expect(sql['undo changes']?.[5]).toContain('ROW(l.a, l.b)::record *<> ROW(r.a, r.b)::record')
    expect(sql['bring back']?.[3]).toBe('INSERT INTO public.t (id, a, b, c) OVERRIDING SYSTEM VALUE')
  })

  it.each([
    ['neither side has a key', null, null],
    ['only the copy has one', ['id'], null],
    ['only the live table has one', null, ['id']],
    ['each has another', ['id'], ['a']],
    ['the key has a column of another type now', ['b'], ['b']],
    ['one of the two columns of the key has another type now', ['id', 'b'], ['id', 'b']],
  ])('%s - equal rows are counted, and it is said', (_what, key, liveKey) => {
    const columns = [column('id'), column('a')]
    const then = { columns: [...columns, column('b', { type: 'bigint' })], key }
    const now = { columns: [...columns, column('b', { type: 'text' })], key: liveKey }
    const { sql, notes } = merged([table('t', { shape: then, live: live({ shape: now }) })])
    expect(sql['look']).toEqual([
      `SELECT 'public.t' AS "table", (SELECT count(*) FROM ONLY copy.t) AS rows_then, (SELECT count(*) FROM ONLY public.t) AS rows_now;`,
    ])
    expect(sql['bring back']?.slice(3, -1)).toEqual([
      'INSERT INTO public.t (id, a)',
      'SELECT r.id, r.a',
      '  FROM (SELECT c.*, row_number() OVER (PARTITION BY ROW(c.id, c.a)::text) AS "pgproof number" FROM ONLY copy.t c) r',
      '  LEFT JOIN (SELECT ROW(c.id, c.a)::text AS "pgproof row", count(*) AS "pgproof count" FROM ONLY public.t c GROUP BY 1) l',
      '    ON l."pgproof row" = ROW(r.id, r.a)::text',
      ' WHERE r."pgproof number" > COALESCE(l."pgproof count", 0);',
    ])
    expect(sql['undo changes']).toBeUndefined()
    expect(notes).toEqual([
      'column b of public.t was bigint and is text: its values stay in the copy',
      'public.t has no primary key that the backup has, too: which row was changed cannot be told, so a changed row comes back beside what it was changed to',
    ])
  })

  it('a key of two columns, and values - a row is the same by both, wherever it is looked for', () => {
    const both = { columns: [column('id'), column('no'), column('a')], key: ['id', 'no'] }
    const { sql } = merged([table('t', { shape: both, live: live({ shape: both }) })])
    const same = 'l.id = r.id AND l.no = r.no'
    expect(sql['bring back']?.at(-2)).toBe(` WHERE NOT EXISTS (SELECT FROM ONLY public.t l WHERE ${same});`)
    expect(sql['undo changes']?.at(-2)).toBe(` WHERE ${same} AND ROW(l.a)::record *<> ROW(r.a)::record;`)
  })

  it('two tables - a query of each, on lines of their own', () => {
    const { look = [] } = merged([table('t'), table('u')]).sql
    expect(look.filter((line) => line.startsWith('SELECT'))).toHaveLength(2)
    expect(look).toHaveLength(8)
  })

  it('no column in common - nothing to be done, and it is said', () => {
    const { sql, notes } = merged([table('t', { live: live({ shape: { columns: [column('x')], key: null } }) })])
    expect(Object.keys(sql)).toEqual(['clean up'])
    expect(notes.at(-1)).toBe('public.t has no column that the backup has, too')
  })

  it('a generated column that is new, or has another type - no word of it', () => {
    const columns = [...shape.columns, column('g', { isGenerated: true }), column('h', { isGenerated: true })]
    const then = { columns: [...shape.columns, column('g', { type: 'text' })], key: ['id'] }
    expect(merged([table('t', { shape: then, live: live({ shape: { columns, key: ['id'] } }) })]).notes).toEqual([])
  })

  it('row security on one of them - an error instead of rows that seem to be gone', () => {
    const hidden = [table('t'), table('u', { live: live({ hasRowSecurity: true }) })]
    expect(merged(hidden).sql['bring back']?.[2]).toBe('SET LOCAL row_security = off;')
    expect(merged(hidden).sql['undo changes']?.[2]).toBe('SET LOCAL row_security = off;')
  })

  it('triggers - silent, and each as it was afterwards, on partitions, too', () => {
    const triggers = [
      { table: 'public.t', name: 'one', isAlways: false, onPartitions: [{ table: 'public.t1', state: 'DISABLE' }] },
      { table: 'public.t', name: 'two', isAlways: true, onPartitions: [] },
    ]
    const { sql } = merged([table('t', { live: live({ triggers }) })])
    const around = (lines: readonly string[] | undefined) => [lines?.slice(2, 5), lines?.slice(-4, -1)]
    const expected = [
      [
        '-- Its triggers stay silent, so that rows come back as they were; leave these lines out if they are to fire.',
        'ALTER TABLE public.t DISABLE TRIGGER one;',
        'ALTER TABLE public.t DISABLE TRIGGER two;',
      ],
      [
        'ALTER TABLE public.t ENABLE TRIGGER one;',
        'ALTER TABLE public.t ENABLE ALWAYS TRIGGER two;',
        'ALTER TABLE public.t1 DISABLE TRIGGER one;',
      ],
    ]
    expect(around(sql['bring back'])).toEqual(expected)
    expect(around(sql['undo changes'])).toEqual(expected)
  })

  it('sequences - moved on to where they were, in their own direction, and never back; last of all', () => {
    const sequences = [
      { name: "public.t_id's", increment: '3', copy: "copy.t_id's" },
      { name: 'public.down', increment: '-1', copy: 'copy.down' },
    ]
    const up = [
      "SELECT pg_catalog.setval('public.t_id''s', r.last_value, r.is_called) FROM public.t_id's l, copy.t_id's r",
      ' WHERE l.last_value::numeric + l.is_called::int * (3) < r.last_value::numeric + r.is_called::int * (3);',
    ]
    const down = [
      "SELECT pg_catalog.setval('public.down', r.last_value, r.is_called) FROM public.down l, copy.down r",
      ' WHERE l.last_value::numeric + l.is_called::int * (-1) > r.last_value::numeric + r.is_called::int * (-1);',
    ]
    const { sql } = merged([table('t', { live: live({ sequences }) })], { views: [{ statements: ['CREATE VIEW v'] }] })
    expect(sql['bring back']?.slice(-6)).toEqual(['CREATE VIEW v;', ...up, ...down, 'COMMIT;'])
  })

  it('a partitioned table - read and written through its top; partitions that are gone are made anew, before its rows', () => {
    const partitions = [
      partition('p1', { bound: 'FOR VALUES IN (1)', partitionKey: 'LIST (a)' }),
      partition('p2', { isLive: true }),
      partition('p3\n'),
    ]
    const { sql } = merged([table('p', { isPartitioned: true, partitions, live: live({ isPartitioned: true }) })])
    expect(sql['bring back']?.slice(2, 10)).toEqual([
      '-- Partition public.p1 is gone: made anew.',
      'CREATE TABLE public.p1 PARTITION OF public.p FOR VALUES IN (1) PARTITION BY LIST (a);',
      '-- Partition public.p3  is gone: made anew.',
      'CREATE TABLE public.p3',
      ' PARTITION OF public.p DEFAULT;',
      '-- Rows of public.p that are gone, whoever deleted them.',
      'INSERT INTO public.p (id, a)',
      'SELECT r.id, r.a FROM copy.p r',
    ])
    const alone = merged([table('p', { isPartitioned: true, partitions })])
    expect(alone.sql['bring back']?.join()).not.toContain('CREATE TABLE')
    expect(alone.sql['bring back']?.join()).toContain('FROM copy.p r, WHERE NOT EXISTS (SELECT FROM ONLY public.p')
  })

  it('a table that is gone - moved with all that belongs to it', () => {
    const gone = table('p', {
      live: null,
      owner: null,
      partitions: [partition('p1', { owner: 'bob', isLive: true }), partition('p2')],
      attach: { parent: 'public.top', bound: 'FOR VALUES IN (2)' },
      inherit: ['public.one', 'public.two'],
      defaults: [{ column: 'id', expression: "nextval('s')" }],
      definitions: ['CREATE RULE r', 'GRANT x'],
    })
    const { sql, notes, titles } = merged([gone, table('t')], {
      schemas: ['CREATE SCHEMA s'],
      foreignKeys: ['ADD fk'],
      functions: ['CREATE FUNCTION f'],
      views: [{ statements: ['CREATE VIEW v', 'COMMENT v'] }, { statements: ['CREATE VIEW w'] }],
    })
    expect(titles[1]).toBe('Put back tables that are gone, and rows that are gone from others')
    expect(sql['bring back']).toEqual([
      'BEGIN;',
      'SET CONSTRAINTS ALL IMMEDIATE;',
      'CREATE SCHEMA s;',
      '-- public.p is gone: the copy takes its place.',
      'ALTER TABLE copy.p SET SCHEMA public;',
      'ALTER TABLE copy.p1 SET SCHEMA public;',
      'ALTER TABLE public.p1 OWNER TO bob;',
      'ALTER TABLE copy.p2 SET SCHEMA public;',
      'ALTER TABLE public.top ATTACH PARTITION public.p FOR VALUES IN (2);',
      'ALTER TABLE public.p INHERIT public.one;',
      'ALTER TABLE public.p INHERIT public.two;',
      "ALTER TABLE ONLY public.p ALTER COLUMN id SET DEFAULT nextval('s');",
      'SET LOCAL check_function_bodies = off;',
      'CREATE FUNCTION f;',
      'CREATE RULE r;',
      'GRANT x;',
      '-- Rows of public.t that are gone, whoever deleted them.',
      'INSERT INTO public.t (id, a)',
      'SELECT r.id, r.a FROM ONLY copy.t r',
      ' WHERE NOT EXISTS (SELECT FROM ONLY public.t l WHERE l.id = r.id);',
      'ADD fk;',
      'CREATE VIEW v;',
      'COMMENT v;',
      'CREATE VIEW w;',
      'COMMIT;',
    ])
    expect(notes).toEqual([
      'the owner of public.p is no role of this server: it stays the login’s',
      'public.p is gone, but its partition public.p1 is still there: rename that first',
    ])
  })

  it('a table that is gone with an owner who is there - nothing to be said', () => {
    expect(merged([table('p', { live: null, partitions: [partition('p1')] })]).notes).toEqual([])
  })

  it('only tables that are gone - no look, no copy left; the title counts them', () => {
    const gone = (name: string) => table(name, { live: null })
    expect(merged([gone('t')]).titles).toEqual(['Put the table back'])
    const two = merged([gone('t'), gone('u')])
    expect(two.titles).toEqual(['Put the tables back'])
    expect(two.sql['bring back']?.slice(-2)).toEqual(['DROP SCHEMA copy;', 'COMMIT;'])
  })

  it('a circle of three - the first two named before the last; a chain - each by itself, last first', () => {
    const refer = (name: string, ...refersTo: string[]) =>
      table(name, { refersTo: refersTo.map((one) => `public.${one}`) })
    const circle = merged([refer('a', 'b'), refer('b', 'c', 'elsewhere'), refer('c', 'a')]).sql['bring back'] ?? []
    expect(circle[2]).toBe('-- Rows of public.a, public.b, public.c that are gone, whoever deleted them.')
    expect(circle.filter((line) => /AS \(|^INSERT|^\)/.test(line))).toEqual([
      'WITH "1" AS (',
      'INSERT INTO public.a (id, a)',
      '     "2" AS (',
      'INSERT INTO public.b (id, a)',
      'INSERT INTO public.c (id, a)',
    ])
    expect(circle.filter((line) => line.endsWith(','))).toHaveLength(1)
    const chain = merged([refer('a', 'b'), refer('b', 'c'), refer('c'), refer('d', 'a')]).sql['bring back'] ?? []
    const inserted = chain.filter((line) => line.startsWith('INSERT')).map((line) => line.slice(19, 20))
    expect(inserted).toEqual(['c', 'b', 'a', 'd'])
  })

  it('exactly as many copies as one statement may lock - no parts', () => {
    const tables = Array.from({ length: 100 }, (_, index) => table(`t${index}`))
    expect(merged(tables).sql['clean up']).toEqual(['DROP SCHEMA copy CASCADE;'])
    const more = tables.with(0, table('p', { partitions: [partition('p1')] }))
    expect(merged(more).sql['clean up']?.map((line) => line.slice(0, 40))).toEqual([
      'DROP TABLE IF EXISTS copy.p1, copy.p, co',
      'DROP TABLE IF EXISTS copy.t99 CASCADE;',
      'DROP SCHEMA copy CASCADE;',
    ])
  })
})
