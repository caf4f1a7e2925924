import { describe, expect, it } from 'vitest'
import { parseTarget } from '../../src/commands/target.ts'
import { PgproofError } from '../../src/errors.ts'

const servers = [{ name: 'main' }, { name: 'eu' }, { name: 'eu/west' }]

describe('parseTarget', () => {
  it.each([
    ['main', 'main', null],
    ['main/shop', 'main', 'shop'],
    ['main/shop/2026', 'main', 'shop/2026'],
    ['eu/west', 'eu/west', null],
    ['eu/west/shop', 'eu/west', 'shop'],
    ['eu/north', 'eu', 'north'],
  ])('%s - server %s, database %s', (text, server, database) => {
    expect(parseTarget(text, servers)).toEqual({ server, database })
  })

  it.each([
    ['other/shop', 'SERVER_UNKNOWN'],
    ['mainly', 'SERVER_UNKNOWN'],
    ['main/', 'USAGE_INVALID'],
  ])('%s - rejects with %s', (text, code) => {
    const parse = () => parseTarget(text, servers)
    expect(parse).toThrow(PgproofError)
    expect(parse).toThrow(expect.objectContaining({ code }))
  })
})
