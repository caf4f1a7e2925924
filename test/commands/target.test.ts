import { describe, expect, it } from 'vitest'
import { knownServers, parseTarget } from '../../src/commands/target.ts'
import { PgproofError } from '../../src/errors.ts'
import { clock, manifestAt, reportOf } from '../catalog/stored.ts'
import { madeUpCatalog, serverConfig } from '../metrics/made-up-catalog.ts'

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

describe('knownServers', () => {
  const at = '2026-11-20T02:00:00Z'
  const gone = reportOf(manifestAt(at, { server: 'gone' }), at)

  it('the configuration counts - its servers, whatever else the store holds', async () => {
    const { catalog } = await madeUpCatalog(clock, { manifests: [manifestAt(at, { server: 'old' })] })
    const known = knownServers({ servers: [serverConfig('main')], isStoreOnly: false }, catalog)
    expect(known.map(({ name }) => name)).toEqual(['main'])
  })

  it('only the store was named - also those of its backups and drills, by name; what is configured stays so', async () => {
    const manifests = [manifestAt(at, { server: 'old' }), manifestAt(at)]
    const { catalog } = await madeUpCatalog(clock, { manifests, reports: [gone] })
    const objectives = { rpoMs: 1000 }
    const known = knownServers({ servers: [serverConfig('main', { objectives })], isStoreOnly: true }, catalog)
    expect(known.map((one) => [one.name, one.objectives])).toEqual([
      ['gone', {}],
      ['main', objectives],
      ['old', {}],
    ])
  })
})
