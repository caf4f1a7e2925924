import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Clock, systemClock } from '../../src/clock.ts'
import { loadConfig } from '../../src/config/load.ts'
import { BossControl } from '../../src/fleet/boss-control.ts'
import { checkFleet } from '../../src/fleet/check-fleet.ts'
import type { Finding } from '../../src/jobs/findings.ts'
import { silentLog } from '../../src/log.ts'
import { signal } from '../catalog/stored.ts'
import { type FleetFolder, fleetFolder } from '../fleet/fleet-folder.ts'
import { startPgBouncer } from '../postgres/pgbouncer.ts'
import { testUrl } from '../support/installation.ts'
import { freePort, query } from '../support/postgres-server.ts'
import { waitFor } from './cli.ts'

let fleet: FleetFolder
beforeAll(async () => {
  fleet = await fleetFolder(1)
})
afterAll(async () => {
  await fleet[Symbol.asyncDispose]()
})

/** `result code message` of what `pgproof check` finds of the fleet, in this process. */
async function findingsOf(changes: object = {}, server: object = {}, clock: Clock = systemClock): Promise<Finding[]> {
  await fleet.configure({ fleet: { url: fleet.control, heartbeat: '10s', worker: 'eu-1', ...changes } }, server)
  const file = join(fleet.folder.path, 'pgproof.yaml')
  const { config } = await loadConfig({ file, env: {}, cwd: fleet.folder.path })
  if (config.fleet === undefined) throw new Error('no fleet')
  return await checkFleet(config.fleet, { config, clock }, signal)
}

async function badOf(...args: Parameters<typeof findingsOf>): Promise<unknown[]> {
  const found = await findingsOf(...args)
  return found.filter(({ result }) => result !== 'ok').map(({ result, code, message }) => [result, code, message])
}

/** A sign of life of a process that is not on this machine any more, or never was. */
async function signOf(name: string, may: readonly string[] = ['backup', 'drill', 'prune'], labels: string[] = []) {
  const settings = { url: fleet.control, password: undefined, schema: 'pgboss', worker: name, labels, may }
  const control = new BossControl({ ...settings, maxBackups: undefined, heartbeatMs: 10_000 } as never, silentLog)
  const sign = { name, labels, may, version: '1', seenAt: new Date(), hasTurn: false, places: 1, running: [] }
  await control.sign({ ...sign, clockOffsetSeconds: 0, refused: [] } as never, { instance: name, claims: true })
  await control.close()
  return {
    [Symbol.asyncDispose]: async () => {
      await query(fleet.control, "DELETE FROM pgboss.job WHERE name = 'workers'")
    },
  }
}

describe('check of a fleet', () => {
  it('the control database is stopped - exit 3, a problem with its hint; without a fleet none of its code is loaded', async () => {
    const url = `postgres://postgres@127.0.0.1:${await freePort()}/control`
    await fleet.configure({ fleet: { url } })
    const { code, document } = await fleet.folder.json(['check'])
    const found = [...(document['findings'] ?? [])].filter(({ subject }) => String(subject) === 'fleet')
    expect(code).toBe(3)
    expect(found).toEqual([
      expect.objectContaining({
        ...{ result: 'problem', code: 'SERVER_UNREACHABLE' },
        message: expect.stringMatching(/^cannot connect to the server of the control database: .*ECONNREFUSED/),
        hint: expect.stringContaining('whether PostgreSQL runs'),
      }),
    ])
    const text = await fleet.folder.run(['check'])
    expect(text.stderr).toContain('1 problem would make the work of the fleet fail')

    await fleet.configure({ fleet: undefined })
    const loaded = join(fleet.folder.path, 'loaded')
    const hook = resolve('test/fleet/loaded-modules.child.ts')
    const env = { NODE_OPTIONS: `--import=${hook}`, LOADED_MODULES: loaded }
    const alone = await fleet.folder.run(['check'], { env })
    expect([alone.code, alone.stdout.includes('fleet')]).toEqual([0, false])
    expect(readFileSync(loaded, 'utf8')).not.toMatch(/\/src\/fleet\/|\/node_modules\/pg-boss\//)
  })

  it('a new control database - no problem, and nothing is made in it', async () => {
    const found = await findingsOf({ url: testUrl(fleet.databases[0]), schema: 'not_there' })
    expect(found.filter(({ result }) => result !== 'ok')).toEqual([])
    expect(found.map(({ message }) => message)).toContainEqual('schema "not_there" is made by the first worker')
    const made = await query(testUrl(fleet.databases[0]), "SELECT FROM pg_namespace WHERE nspname = 'not_there'")
    expect(made).toEqual([])
  })

  it('no such database, a wrong password, a role that may not create - named, with what mends them', async () => {
    const missing = await findingsOf({ url: testUrl('nowhere') })
    expect(missing).toMatchObject([
      { result: 'problem', code: 'DATABASE_UNKNOWN', hint: expect.stringContaining('fleet.url') },
    ])

    const role = `r_${process.pid}`
    const at = (password: string): string => {
      const url = new URL(fleet.control)
      url.username = role
      url.password = password
      return url.href
    }
    await query(fleet.control, `CREATE ROLE ${role} LOGIN PASSWORD 'right'`)
    try {
      expect(await findingsOf({ url: at('wrong') })).toMatchObject([
        { result: 'problem', code: 'AUTHENTICATION_FAILED', hint: expect.stringContaining('fleet.passwordFile') },
      ])
      expect(await badOf({ url: at('right'), schema: 'not_there' })).toEqual([
        [
          'problem',
          'FLEET_RIGHTS_MISSING',
          `role "${role}" of the control database may not make the schema "not_there"`,
        ],
      ])
      await using _installed = await signOf('other')
      expect(await badOf({ url: at('right') })).toEqual([
        [
          'problem',
          'FLEET_RIGHTS_MISSING',
          `role "${role}" of the control database may not use the tables in schema "pgboss"`,
        ],
      ])
    } finally {
      await query(fleet.control, `DROP ROLE ${role}`)
    }
  })

  it('a role that may use the tables and does not own them - a warning, with who must start an upgrade', async () => {
    const role = `u_${process.pid}`
    const url = new URL(fleet.control)
    url.username = role
    url.password = 'right'
    await using _installed = await signOf('eu-2')
    await query(
      fleet.control,
      `CREATE ROLE ${role} LOGIN PASSWORD 'right'; GRANT USAGE ON SCHEMA pgboss TO ${role};
       GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA pgboss TO ${role}`,
    )
    try {
      expect(await findingsOf({ url: url.href })).toContainEqual({
        ...{ subject: 'fleet', result: 'warning', code: null },
        message: `role "${role}" does not own the tables in schema "pgboss"`,
        hint: expect.stringContaining('must be started as their owner first'),
      })
    } finally {
      await query(fleet.control, `DROP OWNED BY ${role}; DROP ROLE ${role}`)
    }
  })

  it('tables in its schema that are not those of the queue - named as what they lack, and nothing is said of workers', async () => {
    const url = testUrl(fleet.databases[0])
    await query(url, 'CREATE SCHEMA other; CREATE TABLE other.job (id int)')
    const found = await findingsOf({ url, schema: 'other' })
    expect(found.filter(({ result }) => result !== 'ok')).toMatchObject([
      { result: 'problem', code: 'FLEET_UNREACHABLE', message: expect.stringContaining('"data" does not exist') },
    ])
    expect(found.map(({ message }) => message).join()).not.toContain('this worker is')
  })

  it('a clock five minutes ahead - FLEET_CLOCK_DIFFERS', async () => {
    const clock = { ...systemClock, now: () => new Date(Date.now() + 300_000) }
    expect(await badOf({}, {}, clock)).toEqual([
      ['problem', 'FLEET_CLOCK_DIFFERS', 'this clock is 300 s ahead of that of the control database'],
    ])
  })

  it('a transaction pooler in front of the control database - POOLER_DETECTED', async () => {
    await using pooler = await startPgBouncer('pool_mode = transaction')
    const found = await badOf({ url: pooler.url(new URL(fleet.control).pathname.slice(1)) })
    expect(found).toContainEqual([
      ...['problem', 'POOLER_DETECTED'],
      'the server of the control database answers through a transaction pooler',
    ])
  })

  it('a process elsewhere has the name - a warning; the daemon of this machine has it - none', async () => {
    {
      await using _elsewhere = await signOf('eu-1')
      expect(await badOf()).toEqual([['warning', null, 'a process that lives somewhere else calls itself "eu-1", too']])
    }
    await fleet.configure()
    const worker = fleet.worker('eu-1')
    await waitFor('the worker', () => worker.stderr().includes('this worker has the turn'))
    expect(await badOf()).toEqual([])
    worker.child.kill('SIGTERM')
    await worker.result
  })

  it('a label and drills that nobody takes - warnings before the first worker lives, then problems', async () => {
    const schedule = { backup: '0 2 * * *', drill: '0 5 * * *' }
    const server = { label: 'us', schedule }
    const nobody = (result: string, queue: string, what: string): unknown[] => {
      const code = result === 'problem' ? 'FLEET_WORKER_MISSING' : null
      return [result, code, `no living worker takes the queue ${queue}: ${what}`]
    }
    const found = (result: string): unknown[] => [
      nobody(result, 'backup.us', 'backups of main'),
      nobody(result, 'drill.us', 'drills of main'),
    ]
    const may = ['backup', 'serve']
    const prune = nobody('warning', 'prune', 'prunes of the whole store')
    expect(await badOf({ may }, server)).toEqual([...found('warning'), prune])
    {
      await using _other = await signOf('eu-2')
      expect(await badOf({ may }, server)).toEqual(found('problem'))
    }
    await using _there = await signOf('us-1', ['backup', 'drill', 'prune'], ['us'])
    expect(await badOf({ may }, server)).toEqual([])
  })

  it('a worker that only drills, without a login on the servers - no problem; one that only backs up - no drills', async () => {
    await fleet.configure({}, { url: testUrl('postgres').replace('postgres@', 'nobody_known@') })
    const drills = await fleet.folder.run(['check'], { env: { PGPROOF_FLEET__MAY: 'drill,serve' } })
    expect([drills.code, drills.stdout]).toEqual([
      0,
      expect.stringContaining('not asked: this worker takes no backups'),
    ])
    expect(drills.stdout).toContain('\ndrills\n')
    expect(drills.stdout).toContain('does not answer this worker')
    await fleet.configure()
    const backups = await fleet.folder.run(['check'], { env: { PGPROOF_FLEET__MAY: 'backup,prune,serve' } })
    expect([backups.code, backups.stdout.includes('\ndrills\n')]).toEqual([0, false])
  })
})
