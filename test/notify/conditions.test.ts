import { describe, expect, it } from 'vitest'
import type { PauseDocument } from '../../src/domain/pause.ts'
import { PgproofError } from '../../src/errors.ts'
import { labelAt, manifestAt, reportOf, signal } from '../catalog/stored.ts'
import { serverConfig } from '../metrics/made-up-catalog.ts'
import { storeSetOf } from '../support/store-sets.ts'
import { webhookTo } from './notices.ts'
import { type Receiver, startReceiver } from './receiver.ts'
import { plannedAt, start, startWorld } from './world.ts'

const minute = 60_000
const hour = 60 * minute
const day = 24 * hour

/** Everything that has come, once `world` has ended. */
const titles = (receiver: Receiver): unknown[] => receiver.documents().map(({ title }) => title)

describe('what is wrong without a run', () => {
  it('the store is down for twelve minutes - told after ten, and when it is back', async () => {
    await using receiver = await startReceiver()
    await using world = await startWorld([webhookTo(receiver.origin)])
    const refresh = () => world.catalog.refresh(storeSetOf(world.store, world.clock), signal).catch(() => {})
    await world.pass(0)
    world.store.before = () => {
      throw new PgproofError('STORE_UNREACHABLE', { url: 's3://b', reason: 'no route' })
    }
    await refresh()
    await world.pass(minute)
    await world.pass(9 * minute)
    expect(receiver.received).toEqual([])
    await world.pass(2 * minute)
    await receiver.until(1)
    world.store.before = () => {}
    await refresh()
    await world.pass(minute)
    await world.notifier.close(1_000)
    expect(receiver.documents()).toMatchObject([
      { event: 'failure', condition: 'store-down', title: 'ALERT: the store "store" is down', server: null, job: null },
      { event: 'recovery', condition: 'store-down', title: 'RECOVERED: the store "store" can be read again' },
    ])
  })

  it('the newest backup gets older than its objective - told with how old, and over with the next backup', async () => {
    await using receiver = await startReceiver()
    await using world = await startWorld([webhookTo(receiver.origin)], {
      manifests: [manifestAt('2026-11-20T02:00:00Z')],
    })
    await world.pass(15 * hour)
    await world.pass(2 * hour)
    await receiver.until(1)
    const next = manifestAt('2026-11-21T04:30:00Z')
    world.catalog.addBackup({ manifest: next, manifestSha256: 'a'.repeat(64), hasSignature: false }, ['store'])
    await world.pass(minute)
    await world.notifier.close(1_000)
    expect(receiver.documents()).toMatchObject([
      {
        condition: 'recovery-point',
        title: 'ALERT: main/app has no backup within its objective of 26 h',
        since: '2026-11-21T04:00:00.000Z',
        job: 'backup',
        objectives: { rpoSeconds: 93_600, rtoSeconds: null },
      },
      { event: 'recovery', condition: 'recovery-point' },
    ])
    expect(receiver.documents()[0]?.['text']).toContain('The newest backup of main/app is 27 h old')
  })

  it('a new database without a backup - nothing until its objective has passed', async () => {
    await using receiver = await startReceiver()
    await using world = await startWorld([webhookTo(receiver.origin)])
    await world.pass(25 * hour)
    expect(receiver.received).toEqual([])
    await world.pass(2 * hour)
    await world.notifier.close(1_000)
    expect(titles(receiver)).toEqual(['ALERT: main/app has no backup within its objective of 26 h'])
    expect(receiver.documents()[0]?.['text']).toContain('There is no backup of main/app')
  })

  it('no schedule says which databases there are - those with backups are held to their objective, and none is missing', async () => {
    await using receiver = await startReceiver()
    await using world = await startWorld([webhookTo(receiver.origin)], {
      manifests: [manifestAt('2026-11-20T02:00:00Z')],
    })
    world.now.servers = [serverConfig('main', { objectives: { rpoMs: 26 * hour } })]
    world.now.planned = []
    await world.pass(17 * hour)
    await world.pass(hour)
    await world.notifier.close(1_000)
    expect(titles(receiver)).toEqual(['ALERT: main/app has no backup within its objective of 26 h'])
  })

  it('no drill has passed yet - nothing until two of them were due, then that nobody knows', async () => {
    await using receiver = await startReceiver()
    await using world = await startWorld([webhookTo(receiver.origin)], {
      manifests: [manifestAt('2026-11-20T02:00:00Z')],
    })
    world.now.servers = [serverConfig('main', { schedule: { backup: '0 2 * * *', drill: '0 5 * * *' } })]
    world.now.planned = [plannedAt('backup', 'app'), plannedAt('drill', 'app')]
    await world.pass(38 * hour)
    expect(receiver.received).toEqual([])
    await world.pass(2 * hour)
    await world.notifier.close(1_000)
    expect(titles(receiver)).toEqual(['ALERT: no drill of main/app has passed for long'])
    expect(receiver.documents()[0]?.['text']).toContain('No drill of main/app has ever passed: whether its backups')
  })

  it('drills do not pass for long, a restore took too long - told', async () => {
    await using receiver = await startReceiver()
    const manifest = manifestAt('2026-11-17T02:00:00Z')
    const slow = reportOf(manifest, '2026-11-18T05:00:00Z', { restoreTimeSeconds: 3_700 })
    await using world = await startWorld([webhookTo(receiver.origin)], { manifests: [manifest], reports: [slow] })
    world.now.servers = [
      serverConfig('main', { schedule: { backup: '0 2 * * *', drill: '0 5 * * *' }, objectives: { rtoMs: hour } }),
    ]
    world.now.planned = [plannedAt('backup', 'app'), plannedAt('drill', 'app')]
    await world.pass(0)
    await world.notifier.close(1_000)
    expect(receiver.documents()).toMatchObject([
      { condition: 'restore-time', title: 'ALERT: a restore of main/app takes longer than its objective of 1 h' },
      {
        condition: 'no-proof',
        title: 'ALERT: no drill of main/app has passed for long',
        since: '2026-11-20T06:00:00.000Z',
      },
    ])
  })

  it('a key expires in a month, then in a week, then it is replaced - each told', async () => {
    await using receiver = await startReceiver()
    await using world = await startWorld([webhookTo(receiver.origin)], {})
    world.now.servers = []
    world.now.planned = []
    const fingerprint = 'ABCDEF0123456789ABCDEF0123456789ABCDEF01'
    world.now.keyExpiries = [
      { fingerprint, use: 'recipient', expiresAt: new Date('2026-12-20T00:00:00Z') },
      { fingerprint, use: 'private', expiresAt: null },
    ]
    await world.pass(0)
    await world.pass(day)
    await world.pass(22 * day)
    world.now.keyExpiries = [{ fingerprint, use: 'recipient', expiresAt: new Date('2030-01-01T00:00:00Z') }]
    await world.pass(minute)
    await world.notifier.close(1_000)
    expect(titles(receiver)).toEqual([
      'ALERT: the public key 89ABCDEF01234567 expires in 29 d 12 h'.replace('89ABCDEF01234567', fingerprint.slice(-16)),
      `ALERT: the public key ${fingerprint.slice(-16)} expires in 6 d 12 h`,
      `RECOVERED: the public key ${fingerprint.slice(-16)} does not expire soon any more`,
    ])
  })

  it('the schedules of a server are paused - told once after a day, and when they go on', async () => {
    await using receiver = await startReceiver()
    await using world = await startWorld([webhookTo(receiver.origin)])
    world.now.servers = [serverConfig('main', { schedule: { backup: '0 2 * * *' } })]
    world.now.planned = ['a', 'b', 'c'].map((database) => plannedAt('backup', database))
    const label = labelAt(start, 'pau1')
    const pause: PauseDocument = {
      ...{ format: 1, kind: 'pause', label, server: 'main', database: null, jobs: ['backup', 'drill'] },
      ...{ since: '2026-11-20T12:00:00.000Z', until: '2026-12-01T00:00:00.000Z', reason: 'new rack', by: 'ops@db2' },
    }
    world.catalog.addPause(pause, ['store'])
    await world.pass(0)
    await world.pass(23 * hour)
    expect(receiver.received).toEqual([])
    await world.pass(2 * hour)
    world.catalog.addPause(
      {
        format: 1,
        kind: 'resume',
        label: labelAt(start, 'pau2'),
        ends: [label],
        at: '2026-11-21T13:00:00.000Z',
        by: 'ops',
      },
      ['store'],
    )
    await world.pass(minute)
    await world.notifier.close(1_000)
    expect(titles(receiver)).toEqual([
      'ALERT: backup and drill of main: the schedule is paused',
      'RECOVERED: backup and drill of main: the schedule goes on',
    ])
    expect(receiver.documents()[0]).toMatchObject({
      server: 'main',
      database: null,
      job: null,
      since: pause.since,
      text: expect.stringContaining('until 2026-12-01 00:00 UTC, by ops@db2: new rack.'),
    })
  })

  it('a configuration is refused, then mended - both told', async () => {
    await using receiver = await startReceiver()
    await using world = await startWorld([webhookTo(receiver.origin)])
    world.now.isReloadRefused = true
    await world.pass(0)
    world.now.isReloadRefused = false
    await world.pass(minute)
    await world.notifier.close(1_000)
    expect(titles(receiver)).toEqual([
      'ALERT: the new configuration is not in force',
      'RECOVERED: the new configuration is in force',
    ])
  })
})

describe('before the store was ever read', () => {
  it('a run fails, and time passes - nothing is said of backups that nobody has looked for', async () => {
    await using receiver = await startReceiver()
    await using world = await startWorld([webhookTo(receiver.origin)], null)
    world.run('backup', 'app', 'failed')
    await world.pass(23 * hour)
    await world.pass(20 * hour)
    await world.notifier.close(1_000)
    expect(receiver.documents().map(({ condition }) => condition)).toEqual([null, null])
    expect(receiver.documents()[0]).toMatchObject({
      newestBackup: null,
      text: expect.stringContaining('What is in the store is not known'),
    })
  })

  it('two databases of a server fail together - it is not said that they have no backup', async () => {
    await using receiver = await startReceiver()
    await using world = await startWorld([webhookTo(receiver.origin)], null)
    world.now.planned = [plannedAt('backup', 'app'), plannedAt('backup', 'shop')]
    const runs = ['app', 'shop'].map((database) => world.begin('backup', database))
    for (const run of runs) {
      world.end(run, 'failed')
      await world.pass(1000)
    }
    await world.pass(minute)
    await world.notifier.close(1_000)
    expect(titles(receiver)).toEqual(['FAILED backups of 2 databases of main'])
    expect(receiver.documents()[0]?.['text']).toContain('What is in the store is not known: it could not be read yet.')
  })
})
