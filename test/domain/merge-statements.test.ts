import { describe, expect, it } from 'vitest'
import type { CopiedTable, Merge } from '../../src/domain/merge.ts'
import { mergeStatements } from '../../src/domain/merge-statements.ts'
import { column, copiedTable } from './copied-tables.ts'

// That the statements do what they say is shown by running them: test/restore/restore-tables.test.ts.

const merge = (tables: readonly CopiedTable[], more: Partial<Merge> = {}): ReturnType<typeof mergeStatements> =>
  mergeStatements({ schema: 'copy', schemas: [], tables, foreignKeys: [], functions: [], views: [], ...more })

const sqlOf = ({ scripts }: ReturnType<typeof mergeStatements>, purpose: string): string =>
  scripts.find((script) => script.purpose === purpose)?.sql ?? ''

describe('merge statements', () => {
  it('a live table with the same key - look, bring back, undo changes, clean up', () => {
    const { scripts, notes } = merge([copiedTable('public.t')])
    expect(scripts.map(({ purpose }) => purpose)).toEqual(['look', 'bring back', 'undo changes', 'clean up'])
    expect(notes).toEqual([])
  })

  it('only tables that are gone - one script, which takes the emptied schema away', () => {
    const { scripts } = merge([copiedTable('public.t', { live: null })])
    expect(scripts.map(({ purpose }) => purpose)).toEqual(['bring back'])
    expect(scripts[0]?.sql).toBe(
      'BEGIN;\n-- public.t is gone: the copy takes its place.\nALTER TABLE copy.t SET SCHEMA public;\nALTER TABLE public.t OWNER TO ann;\nDROP SCHEMA copy;\nCOMMIT;',
    )
  })

  it('tables that refer to each other in a circle - rows of all of them in one statement, after what they refer to', () => {
    const tables = [
      copiedTable('public.a', { refersTo: ['public.b', 'public.z'] }),
      copiedTable('public.b', { refersTo: ['public.a'] }),
      copiedTable('public.z', { refersTo: ['public.z'] }),
    ]
    const sql = sqlOf(merge(tables), 'bring back')
    expect(sql.match(/INSERT INTO public\.\w/g)?.map((text) => text.at(-1))).toEqual(['z', 'a', 'b'])
    expect(sql.match(/;\n?/g)).toHaveLength(5)
    expect(sql).toContain('WITH "1" AS (\nINSERT INTO public.a')
  })

  it('generated columns and columns of one side only - left out of the column list, and said', () => {
    const live = {
      isPartitioned: false,
      shape: {
        columns: [
          column('id', { isIdentityAlways: true }),
          column('g', { isGenerated: true }),
          column('c', { type: 'text' }),
          column('n'),
        ],
        key: ['id'],
      },
      triggers: [],
      hasRules: true,
      hasRowSecurity: false,
      sequences: [],
    }
    const shape = { columns: [column('id'), column('g', { isGenerated: true }), column('c'), column('o')], key: ['id'] }
    const merged = merge([copiedTable('public.t', { live, shape })])
    expect(sqlOf(merged, 'bring back')).toContain('INSERT INTO public.t (id) OVERRIDING SYSTEM VALUE\nSELECT r.id FROM')
    expect(sqlOf(merged, 'undo changes')).toBe('')
    expect(merged.notes).toEqual([
      'column c of public.t was integer and is text: its values stay in the copy',
      'column o of public.t is gone: its values stay in the copy',
      'column n of public.t is new: rows that come back get its default',
      'public.t has rules, which may turn what is written to it into something else',
    ])
  })

  it('keys that are not the same - as a table without one', () => {
    const shape = { columns: [column('id'), column('a')], key: ['a'] }
    const merged = merge([copiedTable('public.t', { shape })])
    expect(sqlOf(merged, 'undo changes')).toBe('')
    expect(merged.notes.join()).toContain('no primary key that the backup has, too')
  })

  it('something else under its name - no statement for it, a note', () => {
    const { scripts, notes } = merge([copiedTable('public.t', { live: 'view' })])
    expect(scripts.map(({ purpose }) => purpose)).toEqual(['clean up'])
    expect(notes).toEqual(['there is a view called public.t now: no statement brings its rows back'])
  })

  it('more copies than one statement may lock - dropped in parts, then their schema', () => {
    const tables = Array.from({ length: 250 }, (_, index) => copiedTable(`public.t${index}`))
    const lines = sqlOf(merge(tables), 'clean up').split('\n')
    expect(lines.map((line) => line.split(',').length)).toEqual([100, 100, 50, 1])
    expect([lines[0]?.slice(0, 35), lines[3]]).toEqual([
      'DROP TABLE IF EXISTS copy.t0, copy.',
      'DROP SCHEMA copy CASCADE;',
    ])
  })

  it('quotes and line breaks in names - literals are quoted, comments stay on their line', () => {
    const name = `public."it's\nodd"`
    const merged = merge([copiedTable(name, { copy: `copy."it's\nodd"` })])
    expect(sqlOf(merged, 'look')).toContain(`'public."it''s\nodd"' AS "table"`)
    expect(sqlOf(merged, 'bring back')).toContain(`-- Rows of public."it's odd" that are gone, whoever deleted them.`)
    expect(sqlOf(merge([copiedTable(name, { live: null })]), 'bring back')).toContain(' SET SCHEMA public;')
  })
})
