import { describe, expect, it } from 'vitest'
import { keyOf, parseIdentifiers, parseQualifiedName, schemaOf } from '../../src/domain/qualified-name.ts'

describe('names as SQL writes them', () => {
  it.each([
    ['users', ['users']],
    ['Public.USERS.Id', ['public', 'users', 'id']],
    ['public."My ""Table"""', ['public', 'My "Table"']],
    ['"a.b"."c d".e', ['a.b', 'c d', 'e']],
    ['"""".x', ['"', 'x']],
    // Only ASCII is folded, as PostgreSQL does in most encodings.
    ['ÄB.ñÑ', ['Äb', 'ñÑ']],
    ['größe.$1_x', ['größe', '$1_x']],
  ])('%s - its parts, as they are in the catalog', (text, parts) => {
    expect(parseIdentifiers(text)).toEqual(parts)
  })

  it.each(['', '.', 'a.', '.a', 'a..b', '""', '"a', 'a"', 'a"b"', '"a"b', 'a b', ' a', 'a ', 'a. b', 'a\n'])(
    '%j - no name',
    (text) => {
      expect(parseIdentifiers(text)).toBeNull()
      expect(parseQualifiedName(text)).toBeNull()
    },
  )

  it('of a table or a column - schema and name; of one part only - none', () => {
    expect(parseQualifiedName('public."Users"')).toEqual({ schema: 'public', name: 'Users' })
    expect(parseQualifiedName('public.users.id')).toEqual({ schema: 'public', name: 'users' })
    expect(parseQualifiedName('users')).toBeNull()
  })

  it('quoted or not - the same key for the same name, and another for any other', () => {
    const key = (text: string) => keyOf(parseQualifiedName(text) ?? { schema: '', name: '' })
    expect(key('"public"."users"')).toBe(key('Public.Users'))
    expect(key('public."Users"')).not.toBe(key('public.users'))
    expect(key('"a.b".c')).not.toBe(key('a."b.c"'))
  })

  it.each([
    ['public.users', 'public'],
    ['"a.b".c', '"a.b"'],
    ['"a""b.c".d', '"a""b.c"'],
    ['"a"."b.c"', '"a"'],
    ['', ''],
  ])('the schema of %s - %s, with its quotes', (text, schema) => {
    expect(schemaOf(text)).toBe(schema)
  })
})
