import { describe, expect, it } from 'vitest'
import { manifestAt, reportOf, rolesManifestAt } from '../catalog/stored.ts'
import { startTestServer, type TestServer } from '../http/test-server.ts'
import { waitFor } from './cli.ts'
import { command } from './in-process.ts'

const at = '2026-11-20T02:00:00Z'
const app = manifestAt(at)
const shop = manifestAt(at, { database: 'shop' })
const passed = reportOf(app, '2026-11-20T05:00:00Z')

async function orderedRun(server: TestServer): Promise<string> {
  return await waitFor('an order', () => server.catalog.runs().find(({ finishedAt }) => finishedAt === null)?.id)
}

const firstError = ({ code, stderr }: { code: number; stderr: string }): string => `${code} ${stderr.split('\n')[0]}`

describe('a drill ordered at a daemon without a database', () => {
  it('of several - takes the one whose proof is the oldest, and says so; among unproven ones the one drilled longest ago', async () => {
    const inconclusive = reportOf(shop, '2026-11-20T06:00:00Z', { verdict: 'inconclusive' })
    const wiki = manifestAt(at, { database: 'wiki' })
    const asked: [object[], string, string][] = [
      [[passed], 'main/shop', 'no drill of it has passed yet'],
      [[passed, reportOf(shop, '2026-11-20T06:00:00Z')], 'main/app', 'its last drill passed 7 h ago'],
      [[inconclusive], 'main/app', 'no drill of it has passed yet'],
    ]
    for (const [reports, place, proof] of asked) {
      await using server = await startTestServer({ manifests: [app, shop], reports: reports as (typeof passed)[] })
      const told = await command(server.url, ['drill', '--detach']).ended
      expect(told).toMatchObject({
        code: 0,
        stderr: `drilling ${place}, whose proof is the oldest of 2 databases: ${proof}\n`,
      })
    }
    await using server = await startTestServer({ manifests: [wiki] })
    expect(await command(server.url, ['drill', 'main', '--detach']).ended).toMatchObject({ code: 0, stderr: '' })
    expect(server.orders.taken).toMatchObject([{ database: 'wiki' }])
  })

  it('where nothing was ever backed up - NO_BACKUP, of the server that is named or of all, and nothing is ordered', async () => {
    await using server = await startTestServer()
    for (const [args, what] of [
      [['drill'], 'any configured database'],
      [['drill', 'main'], 'main'],
      [['drill', '--all'], 'any configured database'],
    ] as const)
      expect(firstError(await command(server.url, args).ended)).toBe(
        `3 error: there is no backup of ${what} in the store yet`,
      )
    expect(server.orders.taken).toEqual([])
  })

  it('of a roles backup - exit 2 that says what is drilled, and nothing is ordered', async () => {
    const roles = rolesManifestAt('2026-11-20T03:00:00Z')
    await using server = await startTestServer({ manifests: [app, roles] })
    expect(firstError(await command(server.url, ['drill', '--backup', roles.label, 'main']).ended)).toMatch(
      /^2 error: .+ is a roles backup; drills restore databases and replay the roles with them$/,
    )
    expect(server.orders.taken).toEqual([])
  })
})

describe('Ctrl-C', () => {
  it('while a drill ends - its page all the same, and exit 130', async () => {
    await using server = await startTestServer({ manifests: [app], reports: [passed] })
    server.orders.endsSlowly = true
    const { ended, cancel } = command(server.url, ['drill', 'main/app'])
    const id = await orderedRun(server)
    cancel()
    await waitFor('the cancellation', () => server.orders.cancelled.includes(id))
    server.catalog.updateRun(id, { state: 'succeeded', finishedAt: new Date(), label: passed.label })
    const told = await ended
    expect(told.code).toBe(130)
    expect(told.stdout).toMatch(/^PASSED {2}drill /)
    expect(told.stderr).toContain(`drill of main/app (run ${id}) had ended already\n`)
  })

  it('when the first of all drills has ended - the other one is cancelled, the first one is told', async () => {
    await using server = await startTestServer({ manifests: [app, shop], reports: [passed] })
    const { ended, cancel, output } = command(server.url, ['drill', '--all'])
    await waitFor('the orders', () => server.catalog.runs().length === 2)
    const [second, first] = server.catalog.runs()
    server.catalog.updateRun(first?.id ?? '', { state: 'succeeded', finishedAt: new Date(), label: passed.label })
    await waitFor('its line', () => output.stdout.includes('passed'))
    cancel()
    expect(await ended).toMatchObject({ code: 130, stdout: expect.stringMatching(/^main\/app {3}passed /) })
    expect(server.orders.cancelled).toEqual([second?.id])
  })
})

it('drills of a server that all go on already - exit 10 with the first; of every server - each is named, exit 3', async () => {
  await using server = await startTestServer({ manifests: [app] })
  server.orders.order({ job: 'drill', server: 'main', database: 'app', trigger: 'schedule' })
  expect(firstError(await command(server.url, ['drill', 'main', '--all']).ended)).toBe(
    '10 error: drill of main/app is locked by another run',
  )
  const all = await command(server.url, ['drill', '--all']).ended
  expect([all.code, all.stderr]).toEqual([
    3,
    expect.stringContaining('main: drill of main/app is locked by another run'),
  ])
})

describe('backups ordered at a daemon', () => {
  it('that knows no database yet - exit 2 that asks for one by name', async () => {
    await using server = await startTestServer()
    expect(firstError(await command(server.url, ['backup']).ended)).toBe(
      '2 error: the daemon knows no database yet; name one as server/database',
    )
  })

  it('of all, one of which is only in the store still - left out; named - DATABASE_NOT_CONFIGURED', async () => {
    await using server = await startTestServer({ manifests: [app, shop] })
    server.orders.unconfigured.add('shop')
    const { ended } = command(server.url, ['backup', '--json'])
    const id = await orderedRun(server)
    server.catalog.updateRun(id, { state: 'succeeded', finishedAt: new Date(), label: app.label })
    const told = await ended
    expect(told.code).toBe(0)
    expect(JSON.parse(told.stdout)).toMatchObject({ runs: [{ database: 'app', outcome: 'succeeded' }] })
    const named = await command(server.url, ['backup', 'main/shop']).ended
    expect(firstError(named)).toBe('2 error: database "shop" of server "main" is not configured for backup')
  })

  it('of roles whose passwords may not be read - said in their line', async () => {
    const roles = rolesManifestAt(at, { rolePasswords: 'absent' })
    await using server = await startTestServer({ manifests: [app, roles] })
    const { ended } = command(server.url, ['backup', 'main', '--roles'])
    const id = await orderedRun(server)
    server.catalog.updateRun(id, { state: 'succeeded', finishedAt: new Date(), label: roles.label })
    expect(await ended).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^main \(roles\) {2}.+; without passwords \(pg_authid may not be read\)\n$/),
    })
  })
})
