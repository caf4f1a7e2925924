import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { flattenConditions, normaliseDeparsed } from '../../src/structure/deparsed-text.ts'
import { openSandbox } from '../postgres/sandbox.ts'

describe('text as PostgreSQL prints it', () => {
  it.each<[printed: string, written: string]>([
    [
      "CHECK (((c)::text = ANY ((ARRAY['a'::character varying, 'b'::character varying])::text[])))",
      "CHECK (((c)::text = ANY (ARRAY[('a'::character varying)::text, ('b'::character varying)::text])))",
    ],
    ['(ARRAY[1, (i + 2)])::numeric(10,2)[]', 'ARRAY[(1)::numeric(10,2), ((i + 2))::numeric(10,2)]'],
    ['(ARRAY[a])::timestamp(3) without time zone[]', 'ARRAY[(a)::timestamp(3) without time zone]'],
    ['(ARRAY[a])::"odd )::""schema".type[] || x', 'ARRAY[(a)::"odd )::""schema".type] || x'],
    ['(ARRAY[ARRAY[a, b], ARRAY[c, d]])::text[]', 'ARRAY[ARRAY[(a)::text, (b)::text], ARRAY[(c)::text, (d)::text]]'],
    [
      "(ARRAY[(ARRAY['a'::character varying])[1], f((ARRAY[x])::int[])])::text[]",
      "ARRAY[((ARRAY['a'::character varying])[1])::text, (f(ARRAY[(x)::int]))::text]",
    ],
    [
      "(ARRAY['a, b]'::character varying, 'it''s)'::character varying, \"c, \"\"d]\"])::text[]",
      "ARRAY[('a, b]'::character varying)::text, ('it''s)'::character varying)::text, (\"c, \"\"d]\")::text]",
    ],
    ['(ARRAY[]::text[])::character varying[]', '(ARRAY[]::text[])::character varying[]'],
  ])('%s - the cast is on each element', (printed, written) => {
    expect(normaliseDeparsed(printed)).toBe(written)
    expect(normaliseDeparsed(written)).toBe(written)
  })

  it.each([
    "'(ARRAY[a])::text[]'::text",
    '"(ARRAY[a])::text[]"',
    'AS $$ (ARRAY[a])::text[] $$',
    'AS $body$ $$ (ARRAY[a])::text[] $body$',
    '(ARRAY[a])[1]',
    '(ARRAY[a])::text',
    '(ARRAY[a, b) unbalanced',
    "(ARRAY['open",
    'ANY (ARRAY[a, b])',
    '',
  ])('%s - left alone', (text) => {
    expect(normaliseDeparsed(text)).toBe(text)
  })

  it('any text, balanced or not - ends', () => {
    const pieces = fc.constantFrom(
      '(ARRAY[',
      '])::text[]',
      "'",
      '"',
      '$$',
      '$a$',
      '(',
      ')',
      '[',
      ']',
      ', ',
      'a',
      '::text[]',
      'ARRAY[',
    )
    fc.assert(
      fc.property(fc.array(pieces, { maxLength: 30 }), (parts) => {
        expect(normaliseDeparsed(parts.join('')).length).toBeLessThan(10_000)
        expect(flattenConditions(parts.join('')).length).toBeLessThan(10_000)
      }),
      { numRuns: 2_000 },
    )
  })
})

describe('conditions in fully parenthesised text', () => {
  it.each([
    ['((a > 0) AND ((b > 0) AND ((c > 0) AND d)))', '((a > 0) AND (b > 0) AND (c > 0) AND d)'],
    ['((a OR (b OR c)) AND (d OR (e AND f)))', '((a OR b OR c) AND (d OR (e AND f)))'],
    [
      "((x = '(a AND (b AND c))'::text) AND (f(a, (b AND (c AND d)))))",
      "((x = '(a AND (b AND c))'::text) AND (f(a, (b AND c AND d))))",
    ],
    ['(a AND (b', '(a AND (b'],
  ])('%s - %s', (printed, flat) => {
    expect(flattenConditions(printed)).toBe(flat)
  })
})

describe('text that is read back by PostgreSQL', () => {
  it('printed once more - normalised, the same text', async () => {
    await using sandbox = await openSandbox(
      "CREATE TYPE label AS ENUM ('x', 'y'); CREATE TABLE t (v varchar, w varchar(9), n numeric, i int, l label, ta text[], o regclass)",
    )
    const conditions = [
      "v IN ('a', 'it''s, ]', NULL)",
      "v <> ALL (ARRAY[w, 'x'])",
      "ARRAY[ARRAY[v, 'x'], ARRAY['a', w]]::varchar[]::text[] <@ ta",
      'n = ANY (ARRAY[i, 2])',
      "l = ANY ((ARRAY['x', 'y']::text[])::label[])",
      "o IN ('t'::regclass, 't')",
      "(ARRAY[(ARRAY['a', 'b']::varchar[])[1], v]::varchar[])::text[] = ta",
    ]
    const printed = async (condition: string): Promise<string> => {
      await sandbox.sql(`ALTER TABLE t ADD CONSTRAINT k CHECK (${condition})`)
      const [row] = await sandbox.sql(
        "SELECT pg_get_expr(conbin, conrelid) AS text FROM pg_constraint WHERE conname = 'k'",
      )
      await sandbox.sql('ALTER TABLE t DROP CONSTRAINT k')
      return String(row?.['text'])
    }
    for (const condition of conditions) {
      const once = await printed(condition)
      const twice = await printed(once)
      expect(twice, condition).not.toBe(once)
      expect(normaliseDeparsed(twice)).toBe(normaliseDeparsed(once))
    }
  })
})
