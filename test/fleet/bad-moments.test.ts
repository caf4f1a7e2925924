import { describe, expect, it } from 'vitest'
import { waitFor } from '../commands/cli.ts'
import { testUrl } from '../support/installation.ts'
import { query } from '../support/postgres-server.ts'
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.ts'
import { addressOf, eventually, type FleetFolder, fleetFolder, lockedTable } from './fleet-folder.ts'

const patient = { lockTimeout: '10m' }

/** One database, and a control database that can be cut off. */
async function behindProxy(
  http = 'off',
): Promise<{ fleet: FleetFolder; url: string; database: string; proxy: TcpProxy }> {
  const fleet = await fleetFolder(1)
  const [database = ''] = fleet.databases
  await query(testUrl(database), 'CREATE TABLE held (id int)')
  const control = new URL(fleet.control)
  const proxy = await startTcpProxy({ host: control.hostname, port: Number(control.port || 5432) })
  control.host = `127.0.0.1:${proxy.port}`
  await fleet.configure({ http: { listen: http }, fleet: { url: control.href, heartbeat: '10s' } }, patient)
  return { fleet, url: testUrl(database), database, proxy }
}

const stands = '"the queue stands still"'

describe('bad moments of a control database', () => {
  it('away at the start - the worker lives, says so, is not ready, and does what is due when it is back', async () => {
    const { fleet, database, proxy } = await behindProxy('127.0.0.1:0')
    await using _ = fleet
    proxy.setMode('refuse')
    const worker = fleet.worker('a')
    await waitFor('the fault', () => worker.stderr().includes(stands))
    expect(worker.stderr()).toContain('FLEET_UNREACHABLE')
    expect(fleet.manifests(database)).toEqual([])
    const ready = `${await addressOf(worker)}/readyz`
    const answer = await fetch(ready)
    expect(answer.status).toBe(503)
    expect(await answer.text()).toContain('the control database cannot be used')
    proxy.setMode('forward')
    await eventually('it to be ready', async () => (await fetch(ready)).status === 200)
    await waitFor('the backup', () => fleet.manifests(database).length > 0)
    worker.child.kill('SIGTERM')
    expect((await worker.result).code).toBe(0)
    await proxy.stop()
  })

  it('away in the middle, longer than a heartbeat - the run finishes, its end is told later, nothing runs twice', async () => {
    const { fleet, url, database, proxy } = await behindProxy()
    await using _ = fleet
    const held = await lockedTable(url, 'held')
    const workers = ['a', 'b'].map((name) => fleet.worker(name))
    await eventually(
      'the backup to run',
      async () => (await fleet.entries("state = 'active'").catch(() => [])).length === 1,
    )
    proxy.setMode('refuse')
    await held[Symbol.asyncDispose]()
    await waitFor('the backup', () => fleet.manifests(database).length > 0)
    const enough = Date.now() + 15_000
    await waitFor('more than a heartbeat', () => Date.now() > enough)
    expect(await fleet.entries()).toMatchObject([{ state: 'active' }])
    proxy.setMode('forward')
    await eventually('the end of the entry', async () => (await fleet.entries("state = 'completed'")).length === 1)
    expect(await fleet.entries()).toMatchObject([{ retry_count: 0, output: { state: 'succeeded' } }])
    const started = workers.map((worker) => worker.stderr().split('"job":"backup","server":"main","database"').length)
    expect(started.reduce((sum, count) => sum + count, 0)).toBeGreaterThan(0)
    expect(fleet.manifests(database)).toHaveLength(1)
    await proxy.stop()
  })
})
