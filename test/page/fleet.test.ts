import { describe, expect, it } from 'vitest'
import { manifestAt, reportOf, rolesManifestAt } from '../catalog/stored.ts'
import { now, startTestServer } from '../http/test-server.ts'
import { busyFleet, idleQueue, worker } from '../support/queue-views.ts'
import { fleetServer } from './many.ts'
import { healthy } from './store.ts'
import { wordsOf } from './words-of.ts'

const at = new Date(now)
const newest = manifestAt('2026-11-20T02:00:00Z')
const well = {
  manifests: [newest, rolesManifestAt('2026-11-20T01:00:00Z')],
  reports: [reportOf(newest, '2026-11-20T05:00:00Z', { restoreTimeSeconds: 200 })],
}

async function wordsWith(queue: ReturnType<typeof busyFleet>): Promise<string> {
  await using server = await startTestServer({ ...well, parts: { queueView: () => queue } })
  return await wordsOf(server)
}

describe('the page of a fleet', () => {
  it('workers - each with what it does, runs and refuses, and what to do about it; those with trouble first', async () => {
    const words = await wordsWith(busyFleet(at))
    for (const shown of [
      'Workers 2 of 3 alive, 2 of 4 places taken us-1 no sign of life 5 min ago , version 9.9.9',
      'prover alive now , version 9.9.9 does drills 1 of 2 places taken drill of main/shop since 5 s ago',
      'leaves server main alone since 1 min ago : it knows the server "main" otherwise FLEET_CONFIG_DIFFERS Give both the same configuration',
      'eu-1 alive now , version 9.9.9 for eu and what has no label; does backups, this page · orders what is due',
    ])
      expect(words).toContain(shown)
  })

  it('the queue - its counts, its oldest entry, dead entries with code and reason, databases that are gone', async () => {
    const words = await wordsWith(busyFleet(at))
    expect(words).toContain('backup 12 1 2 1 min 30 s ago drill 0 1 0 –')
    expect(words).toContain('Dead entries 1 backup of main/app 10 min ago no worker survived backup of main/app')
    expect(words).toContain('FLEET_JOB_LOST Look into the log of those workers')
    expect(words).toContain('Databases gone from their servers 1 main/old')
  })

  it('what is the matter with it - is among what needs somebody', async () => {
    const words = await wordsWith(busyFleet(at))
    for (const shown of [
      '4 things need you soon',
      'Queue : 1 entry was given up: no worker survived it, or none can read it.',
      'Worker prover : it leaves server main alone.',
      'Worker us-1 : it has given no sign of life for 5 min, and did not sign off.',
      'main/old : its server does not have it any more.',
    ])
      expect(words).toContain(shown)
  })

  it('a worker that has been gone for days, or whose clock is wrong by seconds - is no worry', async () => {
    const gone = worker(new Date(at.getTime() - 3 * 86_400_000), { name: 'us-1', isAlive: false })
    const late = worker(at, { name: 'eu-2', clockOffsetSeconds: -4 })
    const words = await wordsWith(busyFleet(at, { dead: [], vanished: [], workers: [gone, late] }))
    expect(words).toContain('All is well')
    expect(words).toContain('us-1 no sign of life 3 d ago')
    expect(words).toContain('its clock is 4 s behind')
  })

  it('a clock that differs by ten minutes - is a worry with what to do', async () => {
    const workers = [worker(at, { name: 'eu-1' }), worker(at, { name: 'eu-2', clockOffsetSeconds: 600 })]
    const words = await wordsWith(busyFleet(at, { dead: [], vanished: [], workers }))
    expect(words).toContain('Worker eu-2 : its clock is 10 min ahead of that of the control database.')
    expect(words).toContain('Have NTP set both clocks')
  })

  it('the control database does not answer - is said once, before anything else, and the rest is as of then', async () => {
    const reason = 'the control database cannot be used: connection refused'
    const queueView = () => busyFleet(at, { isReachable: false, reason, dead: [], vanished: [] })
    const isReady = () => ({ ready: false, reasons: [reason], awaited: '' })
    await using server = await startTestServer({ ...well, parts: { queueView, isReady } })
    const words = await wordsOf(server)
    expect(words).toContain('1 thing needs you now')
    expect(words).toContain('Queue : the control database cannot be used: nothing is ordered or begun.')
    expect(words).toContain('Queue cannot be reached What follows is as it was at 2026-11-20T12:00:00.000Z')
    expect(words).not.toContain('it is not ready')
  })

  it('backups wait for longer than a quarter of their interval - is a worry; for as long as usual it is not', async () => {
    const planned = () =>
      (['backup', 'drill'] as const).map((job) => ({
        ...{ job, server: 'main', database: 'app', nextAt: new Date('2026-11-21T02:00:00Z'), pausedUntil: null },
        intervalSeconds: job === 'backup' ? 86_400 : 604_800,
      }))
    const waiting = (name: string, hours: number) => {
      return { name, queued: 3, active: 0, failed: 0, oldestQueuedAt: new Date(at.getTime() - hours * 3_600_000) }
    }
    const queues = [waiting('backup.eu', 7), waiting('backup', 5), waiting('drill', 20), waiting('prune', 30)]
    const queueView = () => busyFleet(at, { queues, dead: [], vanished: [], workers: [worker(at)] })
    await using server = await startTestServer({ ...well, parts: { queueView, planned } })
    const words = await wordsOf(server)
    expect(words).toContain('Queue backup.eu : the oldest of 3 entries has waited for 7 h.')
    expect(words).toContain('Queue prune : the oldest of 3 entries has waited for 1 d 6 h.')
    expect(words).not.toContain('Queue backup :')
    expect(words).not.toContain('Queue drill :')
  })

  it('a label that no living worker has, and nobody who may drill - are worries by their reason', async () => {
    const waiting = (name: string, unserved: string) => {
      return { name, queued: 1, active: 0, failed: 0, oldestQueuedAt: new Date(at.getTime() - 90_000), unserved }
    }
    const queues = [
      waiting('backup.us', 'no living worker takes the queue backup.us: server main has the label us'),
      waiting('drill', 'no living worker may drill'),
    ]
    const words = await wordsWith(busyFleet(at, { queues, dead: [], vanished: [], workers: [worker(at)] }))
    expect(words).toContain('2 things need you soon')
    expect(words).toContain(
      'Queue backup.us : no living worker takes the queue backup.us: server main has the label us. Reason: 1 entry waits there',
    )
    expect(words).toContain('Queue drill : no living worker may drill.')
  })

  it('workers that disagree on what is kept, or leave something to others - what, why, and until when', async () => {
    const refused = [
      { server: 'main', code: 'FLEET_RETENTION_DIFFERS', reason: 'eu-1 and eu-2 disagree', at },
      { server: null, code: 'FLEET_RETENTION_DIFFERS', reason: 'eu-1 and eu-2 disagree', at },
      {
        ...{ server: 'main', job: 'backup', code: 'AUTHENTICATION_FAILED', reason: 'wrong password', at },
        until: new Date(at.getTime() + 240_000),
      },
    ]
    const words = await wordsWith(busyFleet(at, { dead: [], vanished: [], workers: [worker(at, { refused })] }))
    for (const shown of [
      'Worker eu-1 : it prunes nothing of server main. Reason: eu-1 and eu-2 disagree',
      'Worker eu-1 : it removes no old drill reports.',
      'Worker eu-1 : it leaves backups of server main to other workers for another 4 min. Reason: wrong password',
    ])
      expect(words).toContain(shown)
  })

  it('a run of a worker has failed - whose trouble it is stands beside it', async () => {
    await using server = await startTestServer(well)
    const { id } = server.orders.order({ job: 'backup', server: 'main', database: 'app', trigger: 'http' })
    const error = { code: 'AUTHENTICATION_FAILED', message: 'the login was refused', hint: 'Check it.' }
    server.catalog.updateRun(id, { state: 'failed', worker: 'bk-2', finishedAt: at, error })
    const words = await wordsOf(server)
    expect(words).toContain('main/app : its last backup failed on bk-2. Reason: the login was refused')
  })

  it('forty databases of a server are gone - one worry for the server, that names the first', async () => {
    const vanished = Array.from({ length: 40 }, (_, index) => ({ server: 'main', database: `old${index}` }))
    const words = await wordsWith(busyFleet(at, { dead: [], workers: [worker(at)], vanished }))
    expect(words).toContain(
      'Server main : it does not have 40 databases any more. Reason: old0, old1, old2, old3, old4 and 35 more are gone',
    )
  })

  it('running runs - say on which worker', async () => {
    await using server = await fleetServer(healthy)
    const words = await wordsOf(server, '/?part=runs')
    expect(words).toContain('backup of main/shop on eu-1 , since 30 s ago')
    expect(words).toContain('drill of main/crm on prover , since 30 s ago')
    expect(words).toContain('backup of main/wiki ordered 1 min 30 s ago , the next to start')
  })

  it('names and reasons that are HTML - are shown, not obeyed', async () => {
    const hostile = `<img src=x onerror=alert(1)>"'&\u202E`
    const refused = [{ server: hostile, code: hostile, reason: hostile, at }]
    const dead = [{ id: hostile, job: null, server: null, database: null, at, code: hostile, reason: hostile }]
    const workers = [worker(at, { name: hostile, labels: [hostile], version: hostile, refused }), worker(at)]
    const queues = [{ name: hostile, queued: 1, active: 0, failed: 0, oldestQueuedAt: at }]
    const view = busyFleet(at, { workers, dead, queues, vanished: [{ server: hostile, database: hostile }] })
    await using server = await startTestServer({ ...well, parts: { queueView: () => view } })
    const { text } = await server.call('GET', '/')
    expect(text.includes('<img')).toBe(false)
    expect(text.includes('\u202E')).toBe(false)
  })
})

describe('the page of a daemon on its own', () => {
  it('shows nothing of workers and queue', async () => {
    await using server = await startTestServer(well)
    const { text } = await server.call('GET', '/')
    expect(text).not.toMatch(/id="(workers|queue)"/)
    expect(await wordsOf(server)).toContain('No run of this process has failed')
  })

  it('a database that is gone from its server - is a worry all the same', async () => {
    const queueView = () => ({ ...idleQueue(at), vanished: [{ server: 'main', database: 'app' }] })
    await using server = await startTestServer({ ...well, parts: { queueView } })
    const words = await wordsOf(server)
    expect(words).toContain('main/app : its server does not have it any more.')
    expect(words).toContain('main/app needs you soon')
  })
})
