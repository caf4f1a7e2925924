import { describe, expect, it } from 'vitest'
import { isOfTables, type RestoreFlags, readOperands } from '../../src/commands/restore-flags.ts'

const least: RestoreFlags = { to: 'postgres://db/shop', owner: true, privileges: true }
const now = new Date('2026-11-20T12:00:00Z')
const beside =
  'has no meaning with single tables: they go beside the live ones, belong to the login, and are always compared'

describe('the flags of a restore', () => {
  it.each<[Partial<RestoreFlags>, boolean]>([
    [{}, false],
    [{ table: [] }, false],
    [{ create: true }, false],
    [{ force: true, disconnect: true, roles: true, verify: true, owner: false, privileges: false }, false],
    [{ table: ['users'], intoSchema: 'before' }, true],
    [{ schema: ['sales'], create: true }, true],
  ])('%j - of single tables: %s', (flags, expected) => {
    expect(isOfTables({ ...least, ...flags })).toBe(expected)
  })

  it.each<[Partial<RestoreFlags>, string]>([
    [{ intoSchema: 'before' }, '--into-schema goes with --table or --schema'],
    [{ create: true, force: true }, '--create makes a database and --force replaces one'],
    [
      { table: ['users'], intoSchema: 'before', create: true },
      '--into-schema is a schema of the database that is there, and --create makes a new one',
    ],
    [{ table: ['users'], force: true }, `--force ${beside}`],
    [{ schema: ['sales'], disconnect: true }, `--disconnect ${beside}`],
    [{ table: ['users'], roles: true }, `--roles ${beside}`],
    [{ table: ['users'], verify: true }, `--verify ${beside}`],
    [{ table: ['users'], owner: false }, `--no-owner ${beside}`],
    [{ table: ['users'], privileges: false }, `--no-privileges ${beside}`],
  ])('%j - USAGE_INVALID that says why', (flags, message) => {
    expect(() => isOfTables({ ...least, ...flags })).toThrow(
      expect.objectContaining({ code: 'USAGE_INVALID', message: expect.stringContaining(message) }),
    )
  })

  it.each<[string, string[], { at?: string; server?: string }, string]>([
    ['a time and a label', ['20261120T020000Z-4f7k'], { at: '2026-11-19' }, 'so 20261120T020000Z-4f7k has no meaning'],
    ['a database twice', ['latest', 'main/shop'], { server: 'main' }, 'main/shop names the database, so --server'],
    ['nothing', [], {}, 'say which backup: a label, latest, or --at with a time'],
  ])('%s as operands - USAGE_INVALID that says why', (_what, operands, flags, message) => {
    expect(() => readOperands(operands, flags, { timezone: 'UTC' }, now)).toThrow(
      expect.objectContaining({ code: 'USAGE_INVALID', message: expect.stringContaining(message) }),
    )
  })
})
