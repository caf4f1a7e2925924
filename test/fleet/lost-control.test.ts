import { describe, expect, it } from 'vitest'
import { testUrl } from '../support/installation.ts'
import { query } from '../support/postgres-server.ts'
import { eventually, fleetFolder, lockedTable } from './fleet-folder.ts'

const nameOf = (url: string): string => new URL(url).pathname.slice(1)

describe('the control database is no truth', () => {
  it('dropped and made anew, empty, while workers run - the store says what exists, what runs goes on, nothing is done twice', async () => {
    await using fleet = await fleetFolder(3)
    const [slow = '', ...quick] = fleet.databases
    await query(testUrl(slow), 'CREATE TABLE held (id int)')
    await fleet.configure({ daemon: { maxConcurrent: 2, catalogRefresh: '2s', grace: '5s' } }, { lockTimeout: '10m' })
    const held = await lockedTable(testUrl(slow), 'held')
    const workers = ['a', 'b'].map((name) => fleet.worker(name))
    await eventually('the quick ones', async () => quick.every((database) => fleet.manifests(database).length > 0))
    await eventually('the slow one', async () => (await fleet.entries("state = 'active'")).length === 1)
    const control = nameOf(fleet.control)
    await query(testUrl(), `DROP DATABASE ${control} WITH (FORCE)`)
    await eventually('both to say so', async () =>
      workers.every((worker) => worker.stderr().includes('"the queue stands still"')),
    )
    await query(testUrl(), `CREATE DATABASE ${control}`)
    await eventually('both to go on', async () =>
      workers.every((worker) => worker.stderr().includes('"the queue goes on"')),
    )
    await eventually('both in the new queue', async () => {
      const signs = await fleet.entries("name = 'workers'").catch(() => [])
      return signs.length === 2
    })
    await held[Symbol.asyncDispose]()
    await eventually('the backup that was going on', async () => fleet.manifests(slow).length > 0)
    const enough = Date.now() + 10_000
    await eventually('everybody to have looked again', async () => Date.now() > enough)
    expect(fleet.databases.map((database) => fleet.manifests(database).length)).toEqual([1, 1, 1])
    for (const { child } of workers) child.kill('SIGTERM')
    expect((await Promise.all(workers.map(({ result }) => result))).map(({ code }) => code)).toEqual([0, 0])
  })

  it('one of the databases that its own fleet backs up - backed up like any other while it works, and passes its drill', async () => {
    await using fleet = await fleetFolder(0)
    const control = nameOf(fleet.control)
    const section = { url: fleet.control, heartbeat: '10s', schema: 'queue' }
    await fleet.configure({ fleet: section }, { databases: [control], evidence: 'digest' })
    const worker = fleet.worker('a')
    await eventually('the backup', async () => fleet.manifests(control).length > 0)
    worker.child.kill('SIGTERM')
    expect((await worker.result).code).toBe(0)
    const { code, document } = await fleet.folder.json(['drill', `main/${control}`])
    expect({ code, outcome: document['outcome'] ?? document['error'] }).toMatchObject({ code: 0 })
  })
})
