import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Connection, connect, parseConnectionUrl, withDatabase } from '../../src/postgres/connect.ts'
import { createScratchDatabase } from '../../src/postgres/scratch-database.ts'
import { createStaging, stagingName } from '../../src/postgres/staging-database.ts'
import { query, startPostgres, type TestServer } from '../support/postgres-server.ts'
import { signal } from './sandbox.ts'
import { label, plain, serverOf } from './target.ts'

let server: TestServer
let login: Connection
// Autovacuum comes within a second, and needs minutes for a table.
beforeAll(async () => {
  server = await startPostgres(`autovacuum_naptime = 1
autovacuum_vacuum_insert_threshold = 0
autovacuum_vacuum_cost_delay = 100
autovacuum_vacuum_cost_limit = 1`)
  await query(server.url(), "CREATE ROLE plain_login LOGIN CREATEDB PASSWORD 'x'")
  const url = new URL(server.url())
  url.username = 'plain_login'
  url.password = 'x'
  login = parseConnectionUrl('the target', url.href)
})
afterAll(async () => {
  await server.stop()
})

/** Autovacuum at work in that database, and a session of the login that stays there. */
async function occupy(connection: Connection): Promise<AsyncDisposable> {
  const held = await connect(connection, signal)
  await held.client.query("CREATE TABLE public.t AS SELECT g, repeat('x', 500) FROM generate_series(1, 20000) g")
  const isAtWork = `SELECT pid FROM pg_stat_activity WHERE datname = '${connection.database}' AND backend_type = 'autovacuum worker'`
  await expect.poll(() => query(server.url(), isAtWork), { timeout: 60_000 }).toHaveLength(1)
  return held
}

async function databases(): Promise<unknown[]> {
  const rows = await query(server.url(), 'SELECT datname AS name FROM pg_database WHERE NOT datistemplate ORDER BY 1')
  return rows.map(({ name }) => name)
}

describe('a login that is no superuser, autovacuum at work in the database and a session of its own in it', () => {
  it('the staging database of a restore - gone with its scope', async () => {
    const target = await serverOf(withDatabase(login, 'not_there'))
    const wanted = {
      name: stagingName(label, 'shop'),
      label,
      into: 'shop',
      properties: plain,
      owner: null,
      tablespace: null,
    }
    const staging = await createStaging(target, wanted, signal)
    const held = await occupy(staging.connection)
    await staging[Symbol.asyncDispose]()
    expect(await databases()).toEqual(['postgres'])
    await held[Symbol.asyncDispose]()
  })

  it('the scratch database of a drill - gone with its scope', async () => {
    const scratch = await createScratchDatabase(login, 'scratch', { ...plain, owner: 'plain_login' }, signal)
    const held = await occupy(scratch.connection)
    await scratch[Symbol.asyncDispose]()
    expect(await databases()).toEqual(['postgres'])
    await held[Symbol.asyncDispose]()
  })
})
