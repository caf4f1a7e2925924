import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { startPostgres } from '../../scripts/throw-away-postgres.ts'
import { testUrl } from '../support/installation.ts'
import { onceAYear } from '../support/mark-store.ts'
import { query } from '../support/postgres-server.ts'
import { eventually, fleetFolder } from './fleet-folder.ts'

describe('databases and servers that come and go', () => {
  it('databases: all - a new one is backed up without a word, one that vanishes is told and keeps its backups', async () => {
    // One of its own: the other one has databases of other tests.
    const server = await startPostgres()
    try {
      await query(server.url(), 'CREATE DATABASE old')
      await using fleet = await fleetFolder(0)
      await fleet.configure({}, { url: server.url(), databases: 'all' })
      const workers = ['a', 'b'].map((name) => fleet.worker(name))
      await eventually('the backup of what is there', async () => fleet.manifests('old').length > 0)
      await query(server.url(), 'CREATE DATABASE young')
      await eventually('the backup of the new one', async () => fleet.manifests('young').length > 0)
      await query(server.url(), 'DROP DATABASE old WITH (FORCE)')
      const said = '"database":"old","msg":"a database is not on its server any more"'
      await eventually('every worker to say so', async () => workers.every((worker) => worker.stderr().includes(said)))
      expect(workers.map((worker) => worker.stderr().split(said).length - 1)).toEqual([1, 1])
      expect([fleet.manifests('old'), fleet.manifests('young')].map((all) => all.length)).toEqual([1, 1])
    } finally {
      await server.stop()
    }
  })

  it('a file of servers comes while workers run - noticed; with a label, it waits for the worker that has it', async () => {
    await using fleet = await fleetFolder(2)
    const [one = '', two = ''] = fleet.databases
    const server = { url: testUrl(), schedule: { backup: onceAYear }, evidence: 'off' }
    mkdirSync(join(fleet.folder.path, 'servers.d'))
    await fleet.configure({ serversFrom: 'servers.d', servers: [{ ...server, name: 'main', databases: [one] }] })
    const first = fleet.worker('a')
    await eventually('the first backup', async () => fleet.manifests(one).length > 0)
    const file = { servers: [{ ...server, name: 'european', databases: [two], label: 'eu' }] }
    await fleet.folder.write('servers.d/eu.yaml', JSON.stringify(file))
    await eventually('the order', async () => (await fleet.entries("name = 'backup.eu'")).length === 1)
    fleet.worker('b', { PGPROOF_FLEET__LABELS: 'eu' })
    await eventually('the backup by label', async () => fleet.manifests(two).length > 0)
    await eventually('the end of the entry', async () => (await fleet.entries("state = 'completed'")).length === 2)
    expect(await fleet.entries("name = 'backup.eu'")).toMatchObject([{ output: { worker: 'b', state: 'succeeded' } }])
    expect(first.stderr()).not.toContain('"server":"european","database"')
  })
})
