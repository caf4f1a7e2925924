import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { waitFor } from '../commands/cli.ts'
import { testUrl } from '../support/installation.ts'
import { query } from '../support/postgres-server.ts'
import { addressOf, eventually, type FleetFolder, fleetFolder, lockedTable } from './fleet-folder.ts'

const patient = { lockTimeout: '10m', exclude: [] }

async function oneDatabase(): Promise<{ fleet: FleetFolder; url: string; database: string }> {
  const fleet = await fleetFolder(1)
  const [database = ''] = fleet.databases
  const url = testUrl(database)
  await query(url, 'CREATE TABLE held (id int)')
  await fleet.configure({}, patient)
  return { fleet, url, database }
}

const isActive = async (fleet: FleetFolder): Promise<boolean> =>
  (await fleet.entries("state = 'active'").catch(() => [])).length === 1

describe('the life of a run in a fleet', () => {
  it('its worker killed in the middle - another one takes it over, one backup counts', async () => {
    const { fleet, url, database } = await oneDatabase()
    await using _ = fleet
    const held = await lockedTable(url, 'held')
    const first = fleet.worker('a')
    await eventually('the backup to run', () => isActive(fleet))
    first.child.kill('SIGKILL')
    const second = fleet.worker('b')
    await waitFor('the other one to begin', () => second.stderr().includes('"run started"'))
    await held[Symbol.asyncDispose]()
    await waitFor('the backup', () => fleet.manifests(database).length > 0)
    await eventually('the end of the entry', async () => (await fleet.entries("state = 'completed'")).length === 1)
    expect(await fleet.entries()).toMatchObject([{ retry_count: 1, output: { state: 'succeeded', worker: 'b' } }])
    expect(fleet.manifests(database)).toHaveLength(1)
  })

  it('its worker told to stop - put back at once, and another one does it without waiting for a heartbeat', async () => {
    const { fleet, url, database } = await oneDatabase()
    await using _ = fleet
    await fleet.configure({ daemon: { maxConcurrent: 1, catalogRefresh: '2s', grace: '1s' } }, patient)
    const held = await lockedTable(url, 'held')
    const first = fleet.worker('a')
    await eventually('the backup to run', () => isActive(fleet))
    first.child.kill('SIGTERM')
    expect((await first.result).code).toBe(0)
    expect(await fleet.entries()).toMatchObject([{ state: 'created', retry_count: 0 }])
    expect(await fleet.entries("name = 'workers'")).toEqual([])
    await held[Symbol.asyncDispose]()
    fleet.worker('b')
    await waitFor('the backup', () => fleet.manifests(database).length > 0)
    await eventually('the end of the entry', async () => (await fleet.entries("state = 'completed'")).length === 1)
    expect(await fleet.entries()).toMatchObject([{ retry_count: 0, output: { state: 'succeeded', worker: 'b' } }])
  })

  it('cancelled at another instance - stopped where it runs, and not taken again', async () => {
    const { fleet, url, database } = await oneDatabase()
    await using _ = fleet
    const token = 'token-of-the-test'
    const hash = createHash('sha256').update(token).digest('hex')
    const http = { listen: '127.0.0.1:0', tokens: [{ name: 'ops', scope: 'backup', hash }] }
    await fleet.configure({ http }, patient)
    await using _held = await lockedTable(url, 'held')
    const worker = fleet.worker('a', { PGPROOF_FLEET__MAY: 'backup' })
    await eventually('the backup to run', () => isActive(fleet))
    const view = fleet.worker('view', { PGPROOF_FLEET__MAY: 'serve' })
    const address = await addressOf(view)
    const headers = { authorization: `Bearer ${token}` }
    const runs = async (): Promise<{ id: string; state: string }[]> => {
      const answer = (await (await fetch(`${address}/v1/runs`, { headers })).json()) as { items: never[] }
      return answer.items
    }
    await eventually('the run at the other instance', async () => (await runs())[0]?.state === 'running')
    const [run] = await runs()
    const answer = await fetch(`${address}/v1/runs/${run?.id}`, { method: 'DELETE', headers })
    expect(answer.status).toBe(202)
    await waitFor('the end of the run', () => worker.stderr().includes('"outcome":"cancelled"'))
    await eventually('the other instance to see it', async () => (await runs())[0]?.state === 'cancelled')
    const enough = Date.now() + 6_000
    await waitFor('everybody to have looked again', () => Date.now() > enough)
    expect((await fleet.entries()).map(({ state }) => state)).toEqual(['cancelled'])
    expect(fleet.manifests(database)).toEqual([])
  })

  it('no worker survives it - set aside among the dead and not tried again; its next success clears it', async () => {
    const { fleet, url, database } = await oneDatabase()
    await using _ = fleet
    const held = await lockedTable(url, 'held')
    const first = fleet.worker('a')
    await eventually('the backup to run', () => isActive(fleet))
    first.child.kill('SIGKILL')
    await first.result
    // As if three others had died on it as well.
    await query(fleet.control, "UPDATE pgboss.job SET retry_count = 3 WHERE state = 'active'")
    const second = fleet.worker('b')
    await eventually('the dead', async () => (await fleet.entries("name = 'dead' AND state = 'created'")).length === 1)
    await held[Symbol.asyncDispose]()
    const enough = Date.now() + 8_000
    await waitFor('everybody to have looked again', () => Date.now() > enough)
    expect(await fleet.entries()).toMatchObject([{ state: 'failed' }])
    expect(second.stderr()).not.toContain('"run started"')
    const result = await fleet.folder.run(['backup', `main/${database}`])
    expect(result.code).toBe(0)
    await eventually('no more dead', async () => (await fleet.entries("name = 'dead'")).length === 0)
  })
})
