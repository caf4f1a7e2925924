import { describe, expect, it } from 'vitest'
import { RunQueue } from '../../src/daemon/run-queue.ts'
import { backupDetailsSchema, drillDetailsSchema } from '../../src/http/answers.ts'
import { LookAgain } from '../../src/http/look-again.ts'
import { manifestAt, reportOf, rolesManifestAt, signal, storeBackup, storeReport } from '../catalog/stored.ts'
import { testInstallation } from '../support/installation.ts'
import { storeSetOf } from '../support/store-sets.ts'
import { serveQueue } from './serve-queue.ts'
import { startTestServer, type TestServer, tokens } from './test-server.ts'

const backup = manifestAt('2026-11-20T11:00:00Z')
const roles = rolesManifestAt('2026-11-20T11:00:00Z')
const report = reportOf(backup, '2026-11-20T11:30:00Z')

/** A server that reads its store anew when it is told to, as a daemon does; how often it did. */
async function withRefresh(): Promise<TestServer & { readonly refreshes: { count: number } }> {
  const refreshes = { count: 0 }
  const refresh = async (): Promise<boolean> => {
    refreshes.count += 1
    await server.catalog.refresh(storeSetOf(server.store, server.clock), signal)
    return true
  }
  const server = await startTestServer({ parts: { refresh } })
  return { ...server, refreshes }
}

describe('what another process made since the store was read', () => {
  it('a backup and roles whose place is named - found by a look at the place, everything else is left alone', async () => {
    await using server = await withRefresh()
    for (const manifest of [backup, roles]) await storeBackup(server.store, manifest)
    const ofDatabase = `/v1/backups/${backup.label}?server=main&database=app&kind=database`
    expect((await server.call('GET', ofDatabase)).as(backupDetailsSchema).manifest.label).toBe(backup.label)
    const ofRoles = `/v1/backups/${roles.label}?server=main&kind=roles`
    expect((await server.call('GET', ofRoles)).as(backupDetailsSchema).manifest.kind).toBe('roles')
    expect(server.refreshes.count).toBe(0)
  })

  it('roles whose place is named, before any database of the server - found by a look at their place', async () => {
    await using server = await withRefresh()
    await storeBackup(server.store, roles)
    const answer = await server.call('GET', `/v1/backups/${roles.label}?server=main&kind=roles`)
    expect(answer.as(backupDetailsSchema).manifest.kind).toBe('roles')
    expect(server.refreshes.count).toBe(0)
  })

  it('a label alone, of a backup and of a drill - everything is read once more, and not for each who asks', async () => {
    await using server = await withRefresh()
    await storeBackup(server.store, backup)
    server.clock.advance(60_000)
    const asked = await Promise.all([1, 2, 3].map(() => server.call('GET', `/v1/backups/${backup.label}`)))
    expect(asked.map(({ status }) => status)).toEqual([200, 200, 200])
    expect(server.refreshes.count).toBe(1)
    await storeReport(server.store, report)
    // It was read a moment ago.
    expect((await server.call('GET', `/v1/drills/${report.label}`)).status).toBe(404)
    expect(server.refreshes.count).toBe(1)
    server.clock.advance(60_000)
    expect((await server.call('GET', `/v1/drills/${report.label}`)).as(drillDetailsSchema).label).toBe(report.label)
    expect(server.refreshes.count).toBe(2)
  })

  it('many ask for the same at once, and for places that there are not - one look, and none', async () => {
    await using test = await testInstallation({ PGPROOF_SERVERS__0__DATABASES: 'app' })
    const again = new LookAgain({ installation: test.installation })
    const { calls } = test.store
    calls.length = 0
    const place = { kind: 'database', server: 'main', database: 'app' } as const
    await Promise.all(Array.from({ length: 20 }, () => again.at(place)))
    expect(calls.filter((call) => call === 'list drills/main/app/')).toHaveLength(1)
    await again.at(place)
    expect(calls.filter((call) => call === 'list drills/main/app/')).toHaveLength(2)
    calls.length = 0
    await again.at({ ...place, database: 'made-up' })
    await again.at({ kind: 'roles', server: 'made-up', database: null })
    expect(calls).toEqual([])
  })

  it('of a server that is not configured any more, of which the store has backups - found as well', async () => {
    const gone = manifestAt('2026-11-19T02:00:00Z', { server: 'gone' })
    await using server = await startTestServer({ manifests: [gone] })
    const later = manifestAt('2026-11-20T02:00:00Z', { server: 'gone' })
    await storeBackup(server.store, later)
    const path = `/v1/backups/${later.label}?server=gone&database=app&kind=database`
    expect((await server.call('GET', path)).as(backupDetailsSchema).manifest.label).toBe(later.label)
  })

  it('what is nowhere, what is no label, and a store that fails - 404 as before', async () => {
    await using server = await withRefresh()
    server.store.before = () => {
      throw new Error('it is gone')
    }
    server.clock.advance(60_000)
    for (const path of [`${backup.label}?server=main&database=app`, backup.label, 'x?server=main&database=app'])
      expect((await server.call('GET', `/v1/backups/${path}`)).problem().code).toBe('LABEL_UNKNOWN')
    expect((await server.call('GET', '/v1/drills/x')).problem().code).toBe('LABEL_UNKNOWN')
    expect(server.refreshes.count).toBe(1)
  })

  it('a drill of a database without a backup so far, and of a backup by its label - are ordered', async () => {
    await using test = await testInstallation({ PGPROOF_SERVERS__0__DATABASES: 'app' })
    const { installation, store } = test
    await installation.catalog.refresh(installation.stores, signal)
    const queue = new RunQueue(installation)
    const server = await serveQueue(installation, queue)
    const order = async (wish: object) => {
      const headers = { authorization: `Bearer ${tokens.backup}`, 'content-type': 'application/json' }
      const body = JSON.stringify({ server: 'main', database: 'app', ...wish })
      return (await fetch(`${server.address}/v1/drills`, { method: 'POST', headers, body })).status
    }
    expect(await order({})).toBe(409)
    await storeBackup(store, backup)
    expect(await order({ backup: '20200101T000000Z-aaaa' })).toBe(404)
    expect(await order({ backup: backup.label })).toBe(202)
    await server.close()
    await queue.close(0)
  })
})
