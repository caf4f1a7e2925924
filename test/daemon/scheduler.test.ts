import { describe, expect, it } from 'vitest'
import { Scheduler } from '../../src/daemon/scheduler.ts'
import { PgproofError } from '../../src/errors.ts'
import type { Orders } from '../../src/jobs/orders.ts'
import { newRun } from '../../src/jobs/run-job.ts'
import { createLog } from '../../src/log.ts'
import { manifestAt, signal, storeBackup } from '../catalog/stored.ts'
import { testDatabase, testUrl } from '../support/installation.ts'
import { startPostgresProxy } from '../support/postgres-proxy.ts'
import { query } from '../support/postgres-server.ts'
import { storeSetOf } from '../support/store-sets.ts'
import { startTcpProxy } from '../support/tcp-proxy.ts'
import { backupAt2, ofBackups, World } from './world.ts'

describe('scheduler', () => {
  it('a tick each minute for three days - one backup at each due time, and none before the first', async () => {
    const world = new World('2026-11-20T12:00:00Z', backupAt2)
    const daemon = await world.start()
    expect(ofBackups(await world.pass(daemon, '2026-11-23T12:00:00Z', 1))).toEqual([
      '2026-11-21T02:00 backup main app',
      '2026-11-22T02:00 backup main app',
      '2026-11-23T02:00 backup main app',
    ])
  })

  it('restarted at every tick, before and after the due time - nothing twice, nothing lost', async () => {
    const world = new World('2026-11-20T12:00:00Z', {
      ...backupAt2,
      PGPROOF_SERVERS__0__SCHEDULE__ROLES: '0 3 * * 0',
      PGPROOF_SERVERS__0__SCHEDULE__DRILL: '0 5 * * *',
    })
    const seen: string[] = []
    while (world.now < new Date('2026-11-22T12:00:00Z')) {
      const daemon = await world.start()
      seen.push(...(await world.pass(daemon, new Date(world.now.getTime() + 3_600_000).toISOString(), 30)))
    }
    expect(seen.filter((order) => !order.endsWith('prune'))).toEqual([
      '2026-11-21T02:00 backup main app',
      '2026-11-21T05:00 drill main app',
      '2026-11-22T02:00 backup main app',
      '2026-11-22T03:00 roles main',
      '2026-11-22T05:00 drill main app',
    ])
  })

  it('three nights missed - made up for once, at once', async () => {
    const world = new World('2026-11-20T12:00:00Z', backupAt2)
    await world.pass(await world.start(), '2026-11-21T12:00:00Z', 60)
    world.now = new Date('2026-11-24T12:00:00Z')
    const daemon = await world.start()
    expect(await daemon.tick()).toEqual(['backup main app'])
    expect(ofBackups(await world.pass(daemon, '2026-11-25T01:59:00Z', 10))).toEqual([])
  })

  it('the event loop is blocked, or the clock leaps, over the due time - the run is late, not lost', async () => {
    const world = new World('2026-11-20T12:00:00Z', backupAt2)
    const daemon = await world.start()
    world.now = new Date('2026-11-21T04:30:00Z')
    expect(ofBackups(await daemon.tick())).toEqual(['backup main app'])
  })

  it('the clock is put back behind the last run - the due time that comes again is not lost', async () => {
    const world = new World('2026-11-20T12:00:00Z', backupAt2)
    const daemon = await world.start()
    // A clock a week ahead, for one night.
    world.now = new Date('2026-11-28T02:00:00Z')
    expect(ofBackups(await daemon.tick())).toEqual(['backup main app'])
    world.now = new Date('2026-11-21T01:59:00Z')
    expect(await world.pass(daemon, '2026-11-21T03:00:00Z', 1)).toEqual(['2026-11-21T02:00 backup main app'])
  })

  it.each([
    ['forward over 02:30', '2026-03-28T12:00:00Z', '2026-03-30T12:00:00Z', ['2026-03-29T01:00', '2026-03-30T00:30']],
    ['back over 02:30', '2026-10-24T12:00:00Z', '2026-10-26T12:00:00Z', ['2026-10-25T00:30', '2026-10-26T01:30']],
  ])('clocks put %s - one backup in that night', async (_, from, until, expected) => {
    const schedule = { PGPROOF_SERVERS__0__SCHEDULE__BACKUP: '30 2 * * *', PGPROOF_TIMEZONE: 'Europe/Berlin' }
    const world = new World(from, schedule)
    const daemon = await world.start()
    expect(ofBackups(await world.pass(daemon, until, 10))).toEqual(expected.map((time) => `${time} backup main app`))
  })

  it('one attempt is all, and it fails - not tried again before the next due time', async () => {
    const world = new World('2026-11-20T12:00:00Z', { ...backupAt2, PGPROOF_SERVERS__0__RETRY__ATTEMPTS: '1' })
    world.finish = async () => {
      throw new PgproofError('DUMP_FAILED')
    }
    const daemon = await world.start()
    expect(ofBackups(await world.pass(daemon, '2026-11-22T12:00:00Z', 5))).toEqual([
      '2026-11-21T02:00 backup main app',
      '2026-11-22T02:00 backup main app',
    ])
  })

  it('the store is away at the due time - nothing is ordered, and the night is made up for when it is back', async () => {
    const world = new World('2026-11-20T12:00:00Z', backupAt2)
    const daemon = await world.start()
    world.isStoreUp = false
    expect(ofBackups(await world.pass(daemon, '2026-11-21T03:00:00Z', 5))).toEqual([])
    world.isStoreUp = true
    expect(await world.pass(daemon, '2026-11-21T12:00:00Z', 5)).toEqual(['2026-11-21T03:05 backup main app'])
  })

  it('a person has backed up since the due time - the store shows it, and nothing is ordered', async () => {
    const world = new World('2026-11-20T12:00:00Z', backupAt2)
    const daemon = await world.start()
    await storeBackup(world.store, manifestAt('2026-11-21T02:00:30Z'))
    expect(ofBackups(await world.pass(daemon, '2026-11-21T12:00:00Z', 61))).toEqual([])
  })

  it('the run of last night still goes on - the due time is not forgotten', async () => {
    const world = new World('2026-11-20T12:00:00Z', backupAt2)
    const daemon = await world.start()
    let isRefused = true
    const refusing: Orders = {
      order: (wanted) => {
        if (isRefused) throw new PgproofError('LOCKED', { what: 'it' })
        world.ordered.push(wanted.job)
        return newRun(wanted, daemon.installation)
      },
      cancel: () => {
        throw new Error('nobody cancels here')
      },
      position: () => null,
    }
    const scheduler = new Scheduler(daemon.installation, refusing, async () => true)
    world.now = new Date('2026-11-21T02:00:00Z')
    await scheduler.discover(signal)
    await scheduler.tick()
    expect(world.ordered).toEqual([])
    isRefused = false
    world.now = new Date('2026-11-21T02:00:05Z')
    await scheduler.tick()
    expect(world.ordered).toContain('backup')
  })

  it('no backup yet - no drill, however long it is due', async () => {
    const world = new World('2026-11-20T12:00:00Z', { PGPROOF_SERVERS__0__SCHEDULE__DRILL: '0 5 * * *' })
    const daemon = await world.start()
    expect((await world.pass(daemon, '2026-11-22T12:00:00Z', 30)).filter((order) => order.includes('drill'))).toEqual(
      [],
    )
    await storeBackup(world.store, manifestAt('2026-11-22T12:00:00Z'))
    await daemon.installation.catalog.refresh(storeSetOf(world.store), signal)
    expect(await daemon.tick()).toEqual(['drill main app'])
  })

  it('a database that is new on the server - backed up at once; one that is gone - no longer', async () => {
    await using source = await testDatabase('template0')
    const world = new World('2026-11-20T12:00:00Z', { ...backupAt2, PGPROOF_SERVERS__0__DATABASES: 'all' })
    await world.pass(await world.start(), '2026-11-21T12:00:00Z', 60)
    world.ordered.length = 0
    await using added = await testDatabase('template0')
    const daemon = await world.start()
    const mine = (orders: readonly string[]): string[] =>
      [source.name, added.name].filter((name) => orders.includes(`backup main ${name}`))
    expect(mine(await daemon.tick())).toEqual([added.name])
    await added[Symbol.asyncDispose]()
    await daemon.installation.catalog.refresh(storeSetOf(world.store), signal)
    // Said as long as it is gone, and its backups are there.
    for (let look = 0; look < 2; look += 1) {
      await daemon.scheduler.discover(signal)
      expect(daemon.scheduler.vanished()).toContainEqual({ server: 'main', database: added.name })
    }
    expect(daemon.scheduler.vanished()).not.toContainEqual({ server: 'main', database: source.name })
    world.now = new Date('2026-11-22T02:00:00Z')
    expect(mine(await daemon.tick())).toEqual([source.name])
    // It comes back, and goes again.
    const lost = (): boolean => daemon.scheduler.vanished().some(({ database }) => database === added.name)
    const seen: boolean[] = []
    for (const change of ['CREATE DATABASE', 'DROP DATABASE']) {
      await query(testUrl(), `${change} ${added.name}`)
      await daemon.scheduler.discover(signal)
      seen.push(lost())
    }
    expect(seen).toEqual([false, true])
  })

  it('the server does not answer since the start - the databases known to the store are due all the same', async () => {
    const world = new World('2026-11-20T12:00:00Z', {
      ...backupAt2,
      PGPROOF_SERVERS__0__DATABASES: 'all',
      PGPROOF_SERVERS__0__EXCLUDE: 'old*',
      PGPROOF_SERVERS__0__URL: 'postgres://postgres@127.0.0.1:1/postgres',
    })
    for (const database of ['app', 'older'])
      await storeBackup(world.store, manifestAt('2026-11-20T11:00:00Z', { database }))
    const daemon = await world.start()
    expect(daemon.scheduler.planned()).toMatchObject([
      { job: 'backup', database: 'app', nextAt: new Date('2026-11-21T02:00:00Z'), intervalSeconds: 86_400 },
    ])
    expect(ofBackups(await world.pass(daemon, '2026-11-21T12:00:00Z', 30))).toEqual([
      '2026-11-21T02:00 backup main app',
    ])
  })

  it('the server stops answering, and another machine backs up a new database there - it is planned for, and not missed', async () => {
    const { hostname: host, port } = new URL(testUrl())
    const proxy = await startTcpProxy({ host, port: Number(port) })
    try {
      const url = new URL(testUrl())
      url.port = String(proxy.port)
      const world = new World('2026-11-20T12:00:00Z', {
        ...backupAt2,
        PGPROOF_SERVERS__0__DATABASES: 'all',
        PGPROOF_SERVERS__0__URL: url.href,
      })
      const daemon = await world.start()
      const isPlanned = (name: string): boolean => daemon.scheduler.planned().some(({ database }) => database === name)
      expect([isPlanned('postgres'), isPlanned('brand_new')]).toEqual([true, false])
      proxy.setMode('refuse')
      await storeBackup(world.store, manifestAt('2026-11-20T11:00:00Z', { database: 'brand_new' }))
      await daemon.installation.catalog.refresh(storeSetOf(world.store), signal)
      await daemon.scheduler.discover(signal)
      expect([isPlanned('postgres'), isPlanned('brand_new')]).toEqual([true, true])
      expect(daemon.scheduler.vanished()).toEqual([])
    } finally {
      await proxy.stop()
    }
  })

  it.each([
    ['anything', ''],
    ['which databases it has', 'pg_database'],
  ])(
    'a server greets and never answers %s - not waited for, said once, and all that is due is ordered',
    async (_, part) => {
      let isSilent = false
      const never = new Promise<undefined>(() => {})
      await using proxy = await startPostgresProxy(testUrl(), ({ text }) => {
        if (isSilent && text.includes('pg_cancel_backend')) return 'cut'
        return isSilent && text.includes(part) ? never : undefined
      })
      const url = new URL(testUrl())
      url.port = String(proxy.port)
      url.searchParams.set('sslmode', 'disable')
      const world = new World('2026-11-20T12:00:00Z', {
        ...backupAt2,
        PGPROOF_SERVERS__1__NAME: 'other',
        PGPROOF_SERVERS__1__URL: url.href,
        PGPROOF_SERVERS__1__DATABASES: 'all',
        PGPROOF_SERVERS__1__SCHEDULE__BACKUP: '0 2 * * *',
      })
      const { installation } = await world.start()
      const lines: string[] = []
      const log = createLog({ level: 'warn', format: 'json' }, (line) => lines.push(line))
      const ordered: string[] = []
      const orders: Orders = {
        order: (order) => {
          ordered.push(`${order.job} ${order.server} ${order.database}`)
          return newRun(order, installation)
        },
        cancel: () => expect.unreachable(),
        position: () => null,
      }
      const scheduler = new Scheduler({ ...installation, log }, orders, async () => true)
      await scheduler.discover(signal)
      isSilent = true
      for (let look = 0; look < 2; look += 1) await scheduler.discover(signal, 200)
      expect(lines.map((line) => JSON.parse(line))).toMatchObject([
        {
          ...{ server: 'other', msg: 'cannot list the databases' },
          reason: expect.stringContaining('it did not list its databases within 0.2 s'),
        },
      ])
      world.now = new Date('2026-11-21T02:00:00Z')
      await scheduler.tick()
      expect(ordered).toEqual(expect.arrayContaining(['backup main app', 'backup other postgres']))
    },
    60_000,
  )

  it('a prune of everything - an hour after each start, then once a day', async () => {
    const world = new World('2026-11-20T12:00:00Z', {})
    const daemon = await world.start()
    expect(await world.pass(daemon, '2026-11-22T12:00:00Z', 30)).toEqual([
      '2026-11-20T13:00 prune',
      '2026-11-21T13:00 prune',
    ])
    world.ordered.length = 0
    await world.pass(await world.start(), '2026-11-22T14:00:00Z', 10)
    expect(world.ordered).toEqual(['prune'])
  })
})
