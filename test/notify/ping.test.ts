import { describe, expect, it } from 'vitest'
import { pingUrl } from '../../src/notify/ping.ts'
import { manifestAt, reportOf } from '../catalog/stored.ts'
import { serverConfig } from '../metrics/made-up-catalog.ts'
import { pingTo } from './notices.ts'
import { type Receiver, startReceiver } from './receiver.ts'
import { plannedAt, startWorld } from './world.ts'

const minute = 60_000
const hour = 60 * minute

/** `start`, `success`, `fail`, `log`, in the order they came. */
const actions = (receiver: Receiver): string[] =>
  receiver.received.map(
    ({ path }) => new URL(path, receiver.origin).pathname.replace('/uuid', '').slice(1) || 'success',
  )
const rids = (receiver: Receiver): (string | null)[] =>
  receiver.received.map(({ path }) => new URL(path, receiver.origin).searchParams.get('rid'))

describe('the address of a ping', () => {
  it.each([
    ['https://hc-ping.com/uuid', 'start', 'https://hc-ping.com/uuid/start?rid=r'],
    ['https://hc-ping.com/uuid/', 'fail', 'https://hc-ping.com/uuid/fail?rid=r'],
    ['https://hc-ping.com/uuid', 'success', 'https://hc-ping.com/uuid?rid=r'],
    ['https://hc.example.com/ping/key/slug?create=1', 'log', 'https://hc.example.com/ping/key/slug/log?create=1&rid=r'],
  ] as const)('%s, %s', (base, action, url) => {
    expect(pingUrl(new URL(base), { action, rid: 'r', body: '' }).href).toBe(url)
  })
})

describe('what a ping says', () => {
  it('a run begins and succeeds; one begins and fails - start and end with the id of the run', async () => {
    await using receiver = await startReceiver()
    await using world = await startWorld([pingTo(`${receiver.origin}/uuid`)])
    const first = world.run('backup', 'app', 'succeeded')
    const second = world.run('backup', 'app', 'failed')
    await world.notifier.close(1_000)
    expect(actions(receiver)).toEqual(['start', 'success', 'start', 'fail'])
    expect(rids(receiver)).toEqual([first.id, first.id, second.id, second.id])
    expect(receiver.received[3]).toMatchObject({
      method: 'POST',
      type: 'text/plain; charset=utf-8',
      body: 'backup of main/app failed: cannot connect to the server\nWhat to do: Start it.',
    })
  })

  it('it fails and is tried again - logged; then it fails for good, or succeeds', async () => {
    await using receiver = await startReceiver()
    await using world = await startWorld([pingTo(`${receiver.origin}/uuid`)])
    world.now.retryAt = new Date('2026-11-20T13:00:00Z')
    world.run('backup', 'app', 'failed')
    await Promise.resolve()
    world.now.retryAt = null
    world.run('backup', 'app', 'failed')
    world.run('backup', 'app', 'succeeded')
    await world.notifier.close(1_000)
    expect(actions(receiver)).toEqual(['start', 'log', 'start', 'fail', 'start', 'success'])
    expect(receiver.received[1]?.body).toContain('It is tried again at 2026-11-20 13:00 UTC.')
  })

  it('two databases on one ping - the success of one does not hide the failure of the other', async () => {
    await using receiver = await startReceiver()
    await using world = await startWorld([pingTo(`${receiver.origin}/uuid`, { jobs: ['backup'] })])
    world.now.planned = [plannedAt('backup', 'app'), plannedAt('backup', 'shop')]
    world.run('backup', 'app', 'failed')
    world.run('backup', 'shop', 'succeeded')
    world.run('drill', 'shop', 'succeeded')
    world.run('backup', 'app', 'succeeded')
    world.run('backup', 'shop', 'succeeded')
    await world.notifier.close(1_000)
    expect(actions(receiver)).toEqual(['start', 'fail', 'start', 'fail', 'start', 'success', 'start', 'success'])
    expect(receiver.received[3]?.body).toMatch(
      /^backup of main\/shop succeeded, but:\nthe last backup of main\/app ended failed at /,
    )
  })

  it('prunes after backups fail, and one of everything succeeds - that one is a success, and what follows', async () => {
    await using receiver = await startReceiver()
    await using world = await startWorld([pingTo(`${receiver.origin}/uuid`)])
    world.now.planned = [plannedAt('backup', 'app'), plannedAt('backup', 'shop'), plannedAt('roles', null)]
    world.run('prune', 'app', 'failed')
    world.run('prune', null, 'failed')
    world.end(world.begin('prune', null, { server: '' }), 'failed')
    world.end(world.begin('prune', null, { server: '' }), 'succeeded')
    world.run('backup', 'shop', 'succeeded')
    world.run('prune', 'app', 'failed')
    world.run('backup', 'shop', 'succeeded')
    await world.notifier.close(1_000)
    const ends = actions(receiver).filter((action) => action !== 'start')
    expect(ends).toEqual(['fail', 'fail', 'fail', 'success', 'success', 'fail', 'fail'])
  })

  it('the other one waits to be tried again - neither success nor failure', async () => {
    await using receiver = await startReceiver()
    await using world = await startWorld([pingTo(`${receiver.origin}/uuid`)])
    world.now.planned = [plannedAt('backup', 'app'), plannedAt('backup', 'shop')]
    world.now.retryAt = new Date('2026-11-20T13:00:00Z')
    world.run('backup', 'app', 'failed')
    world.run('backup', 'shop', 'succeeded')
    await world.notifier.close(1_000)
    expect(actions(receiver)).toEqual(['start', 'log', 'start', 'log'])
  })

  it('the other one is not backed up any more - its failure does not count', async () => {
    await using receiver = await startReceiver()
    await using world = await startWorld([pingTo(`${receiver.origin}/uuid`)])
    world.run('backup', 'app', 'failed')
    await Promise.resolve()
    world.now.planned = [plannedAt('backup', 'shop')]
    world.run('backup', 'shop', 'succeeded')
    await world.notifier.close(1_000)
    expect(actions(receiver)).toEqual(['start', 'fail', 'start', 'success'])
  })

  it('the other one has not run for two days - no success while nobody knows', async () => {
    await using receiver = await startReceiver()
    await using world = await startWorld([pingTo(`${receiver.origin}/uuid`)])
    world.now.planned = [plannedAt('backup', 'app'), plannedAt('backup', 'shop')]
    await world.pass(48 * hour)
    world.run('backup', 'shop', 'succeeded')
    await world.notifier.close(1_000)
    expect(actions(receiver)).toEqual(['start', 'log'])
    expect(receiver.received[1]?.body).toContain('the last backup of main/app began at')
  })

  it('the other one has no backup that could be drilled - its drill is not missed', async () => {
    await using receiver = await startReceiver()
    await using world = await startWorld([pingTo(`${receiver.origin}/uuid`)], {
      manifests: [manifestAt('2026-11-20T02:00:00Z')],
    })
    world.now.planned = [plannedAt('drill', 'app'), plannedAt('drill', 'new')]
    await world.pass(48 * hour)
    world.run('drill', 'app', 'succeeded')
    await world.notifier.close(1_000)
    expect(actions(receiver)).toEqual(['start', 'success'])
  })

  it('after a restart, when the last drill of the other one passed - a success is one', async () => {
    await using receiver = await startReceiver()
    const [app, shop] = [manifestAt('2026-11-20T02:00:00Z'), manifestAt('2026-11-20T02:00:00Z', { database: 'shop' })]
    await using world = await startWorld([pingTo(`${receiver.origin}/uuid`)], {
      manifests: [app, shop],
      reports: [reportOf(app, '2026-11-20T05:00:00Z')],
    })
    world.now.servers = [serverConfig('main', { schedule: { drill: '0 5 * * *' } })]
    world.now.planned = [plannedAt('drill', 'app'), plannedAt('drill', 'shop')]
    world.run('drill', 'shop', 'succeeded')
    await world.notifier.close(1_000)
    expect(actions(receiver)).toEqual(['start', 'success'])
  })

  it('after a restart - the store remembers that the last drill of another database failed', async () => {
    await using receiver = await startReceiver()
    const [app, shop] = ['app', 'shop'].map((database) => manifestAt('2026-11-20T02:00:00Z', { database }))
    if (app === undefined || shop === undefined) throw new Error('two manifests')
    const failed = reportOf(app, '2026-11-20T05:00:00Z', { verdict: 'failed' })
    await using world = await startWorld([pingTo(`${receiver.origin}/uuid`)], {
      manifests: [app, shop],
      reports: [failed],
    })
    world.now.servers = [serverConfig('main', { schedule: { drill: '0 5 * * *' } })]
    world.now.planned = [plannedAt('drill', 'app'), plannedAt('drill', 'shop')]
    world.run('drill', 'shop', 'succeeded')
    await world.notifier.close(1_000)
    expect(actions(receiver)).toEqual(['start', 'fail'])
    expect(receiver.received[1]?.body).toContain('the last drill of main/app was failed')
  })

  it('a run is cancelled - logged, so that only the missing success is noticed; one that never began - nothing', async () => {
    await using receiver = await startReceiver()
    await using world = await startWorld([pingTo(`${receiver.origin}/uuid`)])
    world.run('backup', 'app', 'cancelled')
    world.run('backup', 'app', 'cancelled', { startedAt: null })
    await world.notifier.close(1_000)
    expect(actions(receiver)).toEqual(['start', 'log', 'start'])
  })

  it('the process ends in the middle of that test - the alarm is ended first', async () => {
    await using receiver = await startReceiver()
    await using world = await startWorld([pingTo(`${receiver.origin}/uuid`)])
    world.now.notifyTest = '0 * * * *'
    await world.pass(0)
    await world.pass(hour)
    await world.notifier.close(1_000)
    expect(actions(receiver)).toEqual(['fail', 'success'])
  })

  it('the test by daemon.notifyTest - a failure, and after it what was before', async () => {
    await using receiver = await startReceiver()
    await using world = await startWorld([pingTo(`${receiver.origin}/uuid`)])
    world.now.notifyTest = '0 * * * *'
    await world.pass(0)
    await world.pass(hour)
    await world.pass(5 * minute)
    expect((await receiver.until(2)).length).toBe(2)
    world.run('backup', 'app', 'failed')
    await world.pass(55 * minute)
    await world.pass(5 * minute)
    await world.notifier.close(1_000)
    expect(actions(receiver)).toEqual(['fail', 'success', 'start', 'fail', 'fail'])
    expect(receiver.received[0]?.body).toMatch(/^TEST: /)
  })
})
