import { chmodSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { connect } from '../../src/postgres/connect.ts'
import { type EmbeddedServer, startEmbeddedServer } from '../../src/postgres/embedded-server.ts'
import { openSpool, type Spool } from '../../src/streams/spool.ts'
import { testUrl } from '../support/installation.ts'
import { errorOf, signal } from './sandbox.ts'
import { major, openSpoolRoot, type SpoolRoot } from './spool-root.ts'

let root: SpoolRoot
let spool: Spool
const path = process.env['PATH'] ?? ''
beforeEach(async () => {
  root = await openSpoolRoot()
  spool = await openSpool(root.path, 0)
})
afterEach(async () => {
  process.env['PATH'] = path
  await spool[Symbol.asyncDispose]()
  await root[Symbol.asyncDispose]()
})

function start(): Promise<EmbeddedServer> {
  const request = { folder: spool.folder, major, binDirs: [], bootstrapRole: 'postgres', runAs: 'postgres', jobs: 2 }
  return startEmbeddedServer(request, systemClock, signal)
}

/** What a superuser in that server can run, as a dump could. */
async function run(server: EmbeddedServer, sql: string): Promise<unknown[]> {
  await using held = await connect(server.connection, signal)
  await held.client.query('SET search_path = public')
  const { rows } = await held.client.query<Record<string, unknown>>(sql)
  return rows
}

const reachOut = (port: number): string =>
  `CREATE TEMP TABLE seen (line text); COPY seen FROM PROGRAM 'timeout 5 bash -c "echo out > /dev/tcp/127.0.0.1/${port}" 2>&1'`

/** Something on this machine to be reached, and how often it was. */
async function listener(): Promise<{ port: number; reached(): number; close(): void }> {
  let count = 0
  const server = createServer((socket) => {
    count += 1
    socket.destroy()
  })
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  return { port: address.port, reached: () => count, close: () => server.close() }
}

describe('a hostile dump in the embedded scratch server', () => {
  it('a program that opens a connection - reaches nobody, not even this machine', async () => {
    const outside = await listener()
    await using server = await start()
    expect(server.hasNetwork).toBe(false)
    expect(((await errorOf(run(server, reachOut(outside.port)))) as Error).message).toMatch(/program .* failed/)
    const devices = "CREATE TEMP TABLE d (l text); COPY d FROM '/proc/net/dev'"
    await using held = await connect(server.connection, signal)
    await held.client.query(devices)
    const { rows } = await held.client.query<{ l: string }>("SELECT l FROM d WHERE l ~ ':'")
    expect(rows.map(({ l }) => l.trim().split(':')[0])).toEqual(['lo'])
    expect(outside.reached()).toBe(0)
    outside.close()
  })

  it('dblink and postgres_fdw to the source - do not reach it', async () => {
    const { hostname, port, username } = new URL(testUrl())
    await using server = await start()
    await run(server, 'CREATE EXTENSION dblink; CREATE EXTENSION postgres_fdw')
    const conninfo = `host=${hostname} port=${port} user=${username} dbname=postgres connect_timeout=5`
    const dblink = `SELECT * FROM dblink('${conninfo}', 'SELECT 1') AS t(x int)`
    expect(((await errorOf(run(server, dblink))) as Error).message).toMatch(/could not establish connection/)
    await run(
      server,
      `CREATE SERVER prod FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '${hostname}', port '${port}', dbname 'postgres');
       CREATE USER MAPPING FOR postgres SERVER prod OPTIONS (user '${username}', password_required 'false');
       CREATE FOREIGN TABLE reached (x oid) SERVER prod OPTIONS (schema_name 'pg_catalog', table_name 'pg_database')`,
    )
    expect(((await errorOf(run(server, 'SELECT count(*) FROM reached'))) as Error).message).toMatch(
      /could not connect to server/,
    )
  })
})

describe('where the system does not allow a network namespace', () => {
  it('unshare is refused - the server starts all the same, and it is said that it has a network', async () => {
    const refusing = join(root.path, 'unshare')
    writeFileSync(refusing, '#!/bin/sh\necho "unshare: unshare failed: Operation not permitted" >&2\nexit 1\n')
    chmodSync(refusing, 0o755)
    process.env['PATH'] = `${root.path}:${path}`
    const outside = await listener()
    await using server = await start()
    expect(server.hasNetwork).toBe(true)
    await run(server, reachOut(outside.port)).catch(() => {})
    // The test above can fail: here the same program does reach it.
    await expect.poll(() => outside.reached()).toBe(1)
    outside.close()
  })

  it('there is no unshare - the same', async () => {
    process.env['PATH'] = '/nonexistent'
    await using server = await start()
    expect(server.hasNetwork).toBe(true)
  })
})
