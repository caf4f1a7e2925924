import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { appendFileSync, chownSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { checkFleet } from '../../src/fleet/check-fleet.ts'
import { runCheck } from '../../src/jobs/check.ts'
import { readSequences } from '../../src/postgres/census.ts'
import { type Connection, connect, parseConnectionUrl } from '../../src/postgres/connect.ts'
import { listLeftOut } from '../../src/postgres/coverage.ts'
import { findProgram } from '../../src/postgres/programs.ts'
import { restoreDump } from '../../src/postgres/restore-dump.ts'
import { holdSnapshot } from '../../src/postgres/snapshot.ts'
import { inspectTarget } from '../../src/postgres/target-database.ts'
import { testInstallation } from '../support/installation.ts'
import { freePort, query, startPostgres, type TestServer, unprivileged } from '../support/postgres-server.ts'
import { contentsOf, dumpTo, errorOf, openSandbox, signal } from './sandbox.ts'
import { major } from './spool-root.ts'

/** A server that follows another one, and answers queries meanwhile. */
type Standby = AsyncDisposable & { readonly connection: Connection }

async function startStandby(primary: TestServer): Promise<Standby> {
  const [row] = await query(primary.url(), 'SHOW hba_file')
  const hba = String(row?.['hba_file'])
  writeFileSync(hba, `host replication postgres 127.0.0.1/32 trust\n${readFileSync(hba, 'utf8')}`)
  await query(primary.url(), 'SELECT pg_reload_conf()')
  const folder = mkdtempSync(join(tmpdir(), 'pgproof-test-standby-'))
  const user = unprivileged()
  if (user !== undefined) chownSync(folder, user.uid, user.gid)
  const data = join(folder, 'data')
  const options = { stdio: 'ignore' as const, cwd: '/', ...user }
  const from = ['-h', '127.0.0.1', '-p', String(primary.port), '-U', 'postgres']
  execFileSync(join(primary.binDir, 'pg_basebackup'), [...from, '-D', data, '-R', '--no-sync', '-c', 'fast'], options)
  const port = await freePort()
  appendFileSync(join(data, 'postgresql.conf'), `port=${port}\nunix_socket_directories='${folder}'\n`)
  const child = spawn(join(primary.binDir, 'postgres'), ['-D', data], options)
  const ended = once(child, 'close')
  const connection = { ...parseConnectionUrl('standby', primary.url('shop')), port }
  const deadline = performance.now() + 30_000
  while (!(await replayedOn(connection))) if (performance.now() > deadline) throw new Error('the standby lags behind')
  return {
    connection,
    [Symbol.asyncDispose]: async () => {
      child.kill('SIGQUIT')
      await ended
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

async function replayedOn(connection: Connection): Promise<boolean> {
  try {
    await using held = await connect(connection, signal)
    const { rows } = await held.client.query("SELECT FROM pg_class WHERE relname = 'last'")
    return rows.length === 1
  } catch {
    return false
  }
}

let primary: TestServer
let standby: Standby
beforeAll(async () => {
  primary = await startPostgres('wal_level = replica')
  await query(primary.url(), 'CREATE DATABASE shop')
  await query(
    primary.url('shop'),
    `CREATE TABLE t AS SELECT g, md5(g::text) AS v FROM generate_series(1, 1000) g;
    CREATE UNLOGGED TABLE fast (id serial, v text); INSERT INTO fast (v) VALUES ('x'); CREATE SEQUENCE s; CREATE TABLE last ()`,
  )
  standby = await startStandby(primary)
})
afterAll(async () => {
  await standby[Symbol.asyncDispose]()
  await primary.stop()
})

describe('a standby as the source', () => {
  it('a snapshot is held there, dumped and restored; unlogged tables are known to be missing', async () => {
    await using copy = await openSandbox()
    await using snapshot = await holdSnapshot(standby.connection, { lockTimeoutMs: 5_000 }, signal)
    expect(snapshot.facts).toMatchObject({ isStandby: true, major })
    expect(snapshot.tables.map(({ name }) => name)).toEqual(['last', 't'])
    expect((await readSequences(snapshot.client, true)).map(({ name }) => name)).toContain('s')
    expect(await listLeftOut(snapshot.client, true)).toEqual([
      expect.objectContaining({ kind: 'unlogged data on a standby', object: 'public.fast' }),
      expect.objectContaining({ kind: 'unlogged data on a standby', object: 'public.fast_id_seq' }),
    ])
    const folder = mkdtempSync(join(tmpdir(), 'pgproof-test-dump-'))
    try {
      const file = join(folder, 'dump')
      await dumpTo(file, standby.connection, snapshot.id)
      const program = await findProgram('pg_restore', major, [], signal)
      await restoreDump({ connection: copy.connection, program, file, jobs: 1 }, signal)
    } finally {
      rmSync(folder, { recursive: true })
    }
    const restored = await contentsOf(copy.client)
    expect(restored['public.fast']?.rows).toBe(0)
    await using held = await connect(parseConnectionUrl('main', primary.url('shop')), signal)
    const original = await contentsOf(held.client)
    expect(restored['public.t']).toEqual(original['public.t'])
  })

  it('its backup passes a drill: unlogged tables come back empty, and that is no difference', async () => {
    const url = primary.url('shop').replace(`:${primary.port}/`, `:${standby.connection.port}/`)
    await using test = await testInstallation({ PGPROOF_SERVERS__0__URL: url })
    const { backup } = await test.run('backup', 'shop')
    expect(backup?.manifest.source.isStandby).toBe(true)
    expect(backup?.manifest.omissions).toEqual([{ kind: 'unlogged data on a standby', objects: 2 }])
    await test.run('roles')
    const { drill } = await test.run('drill', 'shop')
    expect(drill).toMatchObject({ error: null, report: { verdict: 'passed' } })
    expect(drill?.tables?.tables.map(({ name, result }) => `${name} ${result}`)).toEqual(['last equal', 't equal'])
  })
})

describe('what check says of a standby', () => {
  const url = (database: string): string =>
    primary.url(database).replace(`:${primary.port}/`, `:${standby.connection.port}/`)

  it('as the source - a warning: unlogged rows are missing, and recovery can cancel a dump', async () => {
    await using test = await testInstallation({ PGPROOF_SERVERS__0__URL: url('shop') })
    const warnings = (await runCheck(test.installation, signal)).filter(({ result }) => result === 'warning')
    expect(warnings).toContainEqual(
      expect.objectContaining({
        subject: 'server main',
        message: expect.stringContaining('it is a standby: rows of unlogged tables are not in its backups'),
        hint: expect.stringContaining('hot_standby_feedback'),
      }),
    )
  })

  it('as the control database - FLEET_RIGHTS_MISSING: nobody can write there', async () => {
    await using test = await testInstallation({ PGPROOF_FLEET__URL: url('postgres') })
    const { config } = test.installation
    if (config.fleet === undefined) throw new Error('no fleet')
    expect(await checkFleet(config.fleet, { config, clock: systemClock }, signal)).toContainEqual(
      expect.objectContaining({
        ...{ result: 'problem', code: 'FLEET_RIGHTS_MISSING' },
        message: expect.stringContaining('it is a standby'),
        hint: expect.stringContaining('Name the primary'),
      }),
    )
  })
})

describe('a standby as the target', () => {
  it('TARGET_FAILED that says so', async () => {
    expect(await errorOf(inspectTarget({ ...standby.connection, database: 'new' }, signal))).toMatchObject({
      code: 'TARGET_FAILED',
      message: expect.stringContaining('it is a standby'),
    })
  })
})
