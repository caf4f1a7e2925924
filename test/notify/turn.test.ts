import { describe, expect, it } from 'vitest'
import type { Run } from '../../src/catalog/runs.ts'
import type { QueueView } from '../../src/jobs/queue-view.ts'
import { manifestAt } from '../catalog/stored.ts'
import { busyFleet, idleQueue, worker } from '../support/queue-views.ts'
import { pingTo, webhookTo } from './notices.ts'
import { type Receiver, startReceiver } from './receiver.ts'
import { connectionFailed, start, startWorld, type World } from './world.ts'

const minute = 60_000
const hour = 60 * minute
const manifests = [manifestAt('2026-11-20T02:00:00Z')]

/** Two workers that both answer HTTP; `holder` has the turn. */
function fleet(asOf: Date, holder: string | null, changes: Partial<QueueView> = {}): QueueView {
  const workers = ['eu-1', 'us-1'].map((name) => worker(asOf, { name, hasTurn: name === holder }))
  return { ...idleQueue(asOf), workers, ...changes }
}

async function startWorker(name: string, receiver: Receiver): Promise<World> {
  const world = await startWorld([webhookTo(receiver.origin)], { manifests }, { worker: name })
  give(world, 'eu-1')
  return world
}

function give(world: World, holder: string | null, changes: Partial<QueueView> = {}): void {
  world.now.hasTurn = holder === world.now.worker && changes.isReachable !== false
  world.now.queue = fleet(world.clock.now(), holder, changes)
}

const told = (receiver: Receiver): unknown[] => receiver.documents().map(({ title }) => title)

/** The same run, as every worker sees it. */
function endEverywhere(worlds: readonly World[], id: string, state: Run['state'], by = 'eu-1'): void {
  for (const { catalog, clock } of worlds) {
    const at = clock.now()
    catalog.addRun({
      ...{ id, job: 'backup', server: 'main', database: 'app', trigger: 'http', attempt: 1, state: 'running' },
      ...{ queuedAt: at, startedAt: at, finishedAt: null, label: null, error: null, progress: null, worker: by },
    })
    catalog.updateRun(id, { state, finishedAt: at, error: state === 'failed' ? connectionFailed : null })
  }
}

describe('two workers of a fleet', () => {
  it('a run fails and recovers - told once, by the one that has the turn', async () => {
    await using receiver = await startReceiver()
    await using eu = await startWorker('eu-1', receiver)
    await using us = await startWorker('us-1', receiver)
    endEverywhere([eu, us], 'r1', 'failed', 'us-1')
    for (const world of [eu, us]) await world.pass(hour)
    endEverywhere([eu, us], 'r2', 'succeeded', 'us-1')
    for (const world of [us, eu]) await world.notifier.close(2_000)
    expect(told(receiver)).toEqual(['FAILED backup of main/app', 'RECOVERED backup of main/app'])
  })

  it('the turn changes hands in between - the other tells only the recovery, of the same incident', async () => {
    await using receiver = await startReceiver()
    await using eu = await startWorker('eu-1', receiver)
    await using us = await startWorker('us-1', receiver)
    endEverywhere([eu, us], 'r1', 'failed')
    for (const world of [eu, us]) await world.pass(10 * minute)
    for (const world of [eu, us]) give(world, 'us-1')
    for (const world of [eu, us]) await world.pass(minute)
    endEverywhere([eu, us], 'r2', 'succeeded')
    await receiver.until(2)
    for (const world of [us, eu]) await world.notifier.close(2_000)
    expect(told(receiver)).toEqual(['FAILED backup of main/app', 'RECOVERED backup of main/app'])
    expect(new Set(receiver.documents().map(({ incident }) => incident)).size).toBe(1)
  })

  it('the one that had the turn dies before it could tell - the other tells it when it has the turn', async () => {
    await using receiver = await startReceiver()
    await using us = await startWorker('us-1', receiver)
    endEverywhere([us], 'r1', 'failed')
    await us.pass(minute)
    expect(told(receiver)).toEqual([])
    give(us, 'us-1')
    await us.pass(10_000)
    await receiver.until(1)
    await us.notifier.close(2_000)
    expect(told(receiver)).toEqual(['FAILED backup of main/app'])
  })

  it('nobody has the turn for an hour - whoever gets it tells what happened meanwhile', async () => {
    await using receiver = await startReceiver()
    await using us = await startWorker('us-1', receiver)
    give(us, null)
    endEverywhere([us], 'r1', 'failed')
    await us.pass(hour)
    give(us, 'us-1')
    await us.pass(10_000)
    await receiver.until(1)
    await us.notifier.close(2_000)
    expect(told(receiver)).toEqual(['FAILED backup of main/app'])
  })

  it('a worker that is started, or sees the queue for the first time - what ended long ago was told, what goes on failing is not new', async () => {
    await using receiver = await startReceiver()
    await using us = await startWorker('us-1', receiver)
    give(us, 'us-1')
    const at = (minutesAgo: number): Date => new Date(Date.parse(start) - minutesAgo * minute)
    const ended = (id: string, state: Run['state'], finishedAt: Date, database: string): void =>
      us.catalog.addRun({
        ...{ id, job: 'roles', server: 'main', database, trigger: 'http', attempt: 1, state, queuedAt: finishedAt },
        ...{ startedAt: finishedAt, finishedAt, label: null, progress: null, worker: 'eu-1' },
        error: state === 'failed' ? connectionFailed : null,
      })
    // In no order, as they come out of the queue.
    ended('r2', 'succeeded', at(30), 'mended')
    ended('r1', 'failed', at(60), 'mended')
    ended('r3', 'failed', at(90), 'app')
    await us.pass(minute)
    ended('r4', 'failed', us.clock.now(), 'app')
    ended('r5', 'succeeded', us.clock.now(), 'mended')
    await us.pass(minute)
    ended('r6', 'succeeded', us.clock.now(), 'app')
    await receiver.until(1)
    await us.notifier.close(2_000)
    const runs = receiver.documents().filter(({ job }) => job === 'roles')
    expect(runs.map(({ event, since }) => [event, since])).toEqual([['recovery', at(90).toISOString()]])
  })

  it('what ended last was seen first, and one of them was cancelled - the one that ended last counts', async () => {
    await using receiver = await startReceiver()
    await using us = await startWorker('us-1', receiver)
    give(us, 'us-1')
    const ended = (id: string, state: Run['state'], minutesAgo: number): void => {
      const at = new Date(us.clock.now().getTime() - minutesAgo * minute)
      us.catalog.addRun({
        ...{ id, job: 'backup', server: 'main', database: 'app', trigger: 'http', attempt: 1, state, queuedAt: at },
        ...{ startedAt: at, finishedAt: at, label: null, progress: null, worker: 'eu-1' },
        error: state === 'failed' ? connectionFailed : null,
      })
    }
    ended('r3', 'failed', 30)
    await us.pass(minute)
    ended('r2', 'succeeded', 60)
    ended('r4', 'cancelled', 20)
    await us.pass(minute)
    ended('r5', 'succeeded', 0)
    await receiver.until(1)
    await us.notifier.close(2_000)
    expect(told(receiver)).toEqual(['RECOVERED backup of main/app'])
  })

  it('another worker showed that a backup is bad, and its report was not read yet - told at once, while other drills go on', async () => {
    await using receiver = await startReceiver()
    await using us = await startWorker('us-1', receiver)
    give(us, 'us-1')
    us.begin('drill', 'shop')
    const at = us.clock.now()
    us.catalog.addRun({
      ...{ id: 'r1', job: 'drill', server: 'main', database: 'app', trigger: 'http', attempt: 1, state: 'running' },
      ...{ queuedAt: at, startedAt: at, finishedAt: null, label: null, error: null, progress: null, worker: 'eu-1' },
    })
    const error = { code: 'EVIDENCE_MISMATCH', message: '1 difference', hint: 'Keep it.' }
    us.catalog.updateRun('r1', { state: 'failed', finishedAt: at, label: '20261120T115900Z-dr11', error })
    await receiver.until(1)
    await us.notifier.close(2_000)
    expect(receiver.documents()).toMatchObject([{ title: 'FAILED drill of main/app', code: 'EVIDENCE_MISMATCH' }])
  })

  it('a worker that does not see the others - leaves what it held back to them, and tells what is new once it has the turn', async () => {
    await using receiver = await startReceiver()
    await using us = await startWorker('us-1', receiver)
    const alone = (): void => {
      us.now.queue = { ...idleQueue(us.clock.now()), workers: [] }
    }
    alone()
    endEverywhere([us], 'r1', 'failed')
    await us.pass(hour)
    give(us, 'us-1')
    endEverywhere([us], 'r2', 'succeeded')
    await receiver.until(1)
    await us.notifier.close(2_000)
    expect(told(receiver)).toEqual(['RECOVERED backup of main/app'])
  })

  it('the control database is away - who had the turn goes on telling, of that and of its runs; the other is silent', async () => {
    await using receiver = await startReceiver()
    await using eu = await startWorker('eu-1', receiver)
    await using us = await startWorker('us-1', receiver)
    for (const world of [eu, us]) await world.pass(minute)
    const away = { isReachable: false, reason: 'refused' }
    for (const world of [eu, us]) give(world, 'eu-1', away)
    for (const world of [eu, us]) await world.pass(0)
    for (const world of [eu, us]) await world.pass(6 * minute)
    endEverywhere([eu], 'r1', 'failed')
    await eu.pass(minute)
    for (const world of [eu, us]) give(world, 'eu-1')
    for (const world of [eu, us]) await world.pass(minute)
    await receiver.until(3)
    for (const world of [us, eu]) await world.notifier.close(2_000)
    expect(told(receiver)).toEqual([
      'ALERT: the control database of the fleet does not answer',
      'FAILED backup of main/app',
      'RECOVERED: the control database of the fleet answers again',
    ])
  })

  it('pings - are sent by the one that has the turn, for the run of the other as well', async () => {
    await using receiver = await startReceiver()
    const entries = [pingTo(receiver.origin)]
    await using eu = await startWorld(entries, { manifests }, { worker: 'eu-1' })
    await using us = await startWorld(entries, { manifests }, { worker: 'us-1' })
    for (const world of [eu, us]) give(world, 'eu-1')
    endEverywhere([eu, us], 'r1', 'failed', 'us-1')
    for (const world of [eu, us]) await world.pass(minute)
    for (const world of [us, eu]) await world.notifier.close(2_000)
    expect(receiver.received.filter(({ path }) => path.includes('/fail'))).toHaveLength(1)
  })

  it('more runs have ended than are remembered - one that is still known is not told again when it is seen again; one that is forgotten is', async () => {
    await using receiver = await startReceiver()
    await using us = await startWorld([pingTo(receiver.origin)], { manifests }, { worker: 'us-1' }, 2)
    give(us, 'us-1')
    const runs = ['r1', 'r2', 'r3']
    for (const id of runs) {
      endEverywhere([us], id, 'succeeded', 'eu-1')
      await us.pass(1000)
    }
    const seen = runs.flatMap((id) => us.catalog.findRun(id) ?? [])
    for (const run of seen.toReversed()) {
      us.catalog.addRun(run)
      await us.pass(0)
    }
    await us.notifier.close(2_000)
    const successes = receiver.received.filter(({ path }) => path.startsWith('/?rid='))
    expect(successes.map(({ path }) => path.slice('/?rid='.length))).toEqual(['r1', 'r2', 'r3', 'r1'])
  })

  it('the monthly test - is made by one alone, also when the turn changes hands after it', async () => {
    await using receiver = await startReceiver()
    await using eu = await startWorker('eu-1', receiver)
    await using us = await startWorker('us-1', receiver)
    for (const world of [eu, us]) world.now.notifyTest = '30 12 * * *'
    for (const world of [eu, us]) await world.pass(minute)
    for (const world of [eu, us]) await world.pass(hour)
    for (const world of [eu, us]) await world.pass(6 * minute)
    for (const world of [eu, us]) give(world, 'us-1')
    for (const world of [eu, us]) await world.pass(minute)
    for (const world of [us, eu]) await world.notifier.close(2_000)
    expect(receiver.documents().filter(({ isTest }) => isTest)).toHaveLength(2)
  })
})

describe('what is wrong with a fleet', () => {
  it('a worker is gone, an entry is given up - told with what to do; and when it is over', async () => {
    await using receiver = await startReceiver()
    await using eu = await startWorker('eu-1', receiver)
    const busy = (): QueueView => busyFleet(new Date(start))
    eu.now.queue = busy()
    await eu.pass(minute)
    await eu.pass(10 * minute)
    const { workers, ...rest } = busy()
    eu.now.queue = { ...rest, dead: [], workers: workers.map((one) => ({ ...one, isAlive: true })) }
    await eu.pass(minute)
    await receiver.until(4)
    await eu.notifier.close(2_000)
    const found = receiver.documents().filter(({ condition }) => /dead|worker/.test(String(condition)))
    expect(found.map(({ condition, event, server, database }) => [condition, event, server, database])).toEqual([
      ['dead-entry', 'failure', 'main', 'app'],
      ['worker-gone', 'failure', null, null],
      ['dead-entry', 'recovery', 'main', 'app'],
      ['worker-gone', 'recovery', null, null],
    ])
    expect(found[0]?.['text']).toContain('no worker survived backup of main/app')
    expect(found[1]?.['title']).toBe('ALERT: the worker "us-1" is gone')
  })

  it('a worker is gone that had runs in hand - which ones', async () => {
    await using receiver = await startReceiver()
    await using eu = await startWorker('eu-1', receiver)
    const { workers } = busyFleet(new Date(start))
    eu.now.queue = {
      ...idleQueue(new Date(start)),
      workers: workers.map((one) => ({ ...one, isAlive: one.name !== 'prover' })),
    }
    await eu.pass(10 * minute)
    await eu.notifier.close(2_000)
    expect(told(receiver)).toEqual(['ALERT: the worker "prover" is gone'])
    expect(receiver.documents()[0]?.['text']).toContain('It had in hand: drill of main/shop')
  })

  it('a worker that was gone is forgotten - it has not come back, and nothing is said', async () => {
    await using receiver = await startReceiver()
    await using eu = await startWorker('eu-1', receiver)
    eu.now.queue = { ...busyFleet(new Date(start)), dead: [] }
    await eu.pass(10 * minute)
    eu.now.queue = idleQueue(new Date(start))
    await eu.pass(minute)
    await eu.notifier.close(2_000)
    expect(receiver.documents().map(({ event }) => event)).toEqual(['failure'])
  })

  it('a database with backups is gone from its server - told after a quarter of an hour, and when it is back', async () => {
    await using receiver = await startReceiver()
    await using world = await startWorld([webhookTo(receiver.origin)], { manifests })
    const { planned } = world.now
    world.now.planned = []
    await world.pass(minute)
    await world.pass(16 * minute)
    world.now.planned = planned
    await world.pass(minute)
    await receiver.until(2)
    await world.notifier.close(2_000)
    const found = receiver.documents().map(({ condition, event, title }) => [condition, event, title])
    expect(found).toEqual([
      ['database-missing', 'failure', 'ALERT: main/app is gone from its server'],
      ['database-missing', 'recovery', 'RECOVERED: main/app is on its server again'],
    ])
  })
})
