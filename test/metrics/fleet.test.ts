import { describe, expect, it } from 'vitest'
import { Catalog } from '../../src/catalog/catalog.ts'
import type { Run } from '../../src/catalog/runs.ts'
import type { QueueView } from '../../src/jobs/queue-view.ts'
import { createMetrics, type MetricsParts } from '../../src/metrics/metrics.ts'
import { busyFleet, idleQueue } from '../support/queue-views.ts'
import { clockAt, serverConfig } from './made-up-catalog.ts'

const now = '2026-11-20T12:00:00Z'
const clock = clockAt(now)

/** One instance of a fleet; undefined: a process without one. */
function instance(worker: string | undefined, view: () => QueueView = () => idleQueue(clock.now())) {
  const catalog = new Catalog({ clock })
  const stores = [] as unknown as MetricsParts['config']['stores']
  const metrics = createMetrics({
    catalog,
    config: { servers: [serverConfig('main')], stores, timezone: 'UTC', drill: { pick: 'random' } },
    clock,
    stores: { named: [] },
    planned: () => [
      {
        job: 'backup',
        server: 'main',
        database: 'app',
        nextAt: clock.now(),
        intervalSeconds: 86_400,
        pausedUntil: null,
      },
    ],
    queueView: view,
    worker,
    keyExpiries: () => [],
    configReload: () => ({ isSuccessful: true, lastSuccessAt: new Date(now), needsRestart: [] }),
    version: '9.9.9',
  })
  /** By the values of their labels. */
  const all = async (metric: string): Promise<Record<string, number>> => {
    const found = (await metrics.text()).matchAll(new RegExp(`^pgproof_${metric}(?:\\{(.*)\\})? (\\S+)$`, 'gm'))
    return Object.fromEntries(
      [...found].map(([, labels = '', value]) => {
        return [[...labels.matchAll(/"([^"]*)"/g)].map(([, text]) => text).join(' '), Number(value)]
      }),
    )
  }
  /** Those that are not 0. */
  const of = async (metric: string): Promise<Record<string, number>> =>
    Object.fromEntries(Object.entries(await all(metric)).filter(([, value]) => value !== 0))
  return { catalog, all, of }
}

function run(id: string, worker: string | null | undefined, changes: Partial<Run> = {}): Run {
  const at = clock.now()
  return {
    ...{ id, job: 'backup', server: 'main', database: 'app', trigger: 'schedule', attempt: 1, state: 'running' },
    ...{ queuedAt: at, startedAt: at, finishedAt: null, label: null, error: null, progress: null, worker },
    ...changes,
  }
}

describe('the queue', () => {
  it('a fleet at work - entries, the wait of the oldest, workers, the dead, and the clocks of the living', async () => {
    const { of } = instance('eu-1', () => busyFleet(clock.now()))
    expect(await of('queue_entries')).toEqual({
      ...{ 'backup queued': 12, 'backup active': 1, 'backup failed': 2 },
      'drill active': 1,
    })
    expect(await of('queue_oldest_seconds')).toEqual({ backup: 90 })
    expect(await of('fleet_workers')).toEqual({ true: 2, false: 1 })
    expect(await of('fleet_dead_entries')).toEqual({ '': 1 })
    expect(await of('fleet_reachable')).toEqual({ '': 1 })
    expect(await of('fleet_clock_offset_seconds')).toEqual({ prover: -0.25 })
  })

  it('a control database that has never answered - not reachable, and nothing is said of what nobody knows', async () => {
    const unknown = { isReachable: false, reason: 'connection refused', queues: [], dead: [], workers: [] }
    const { all } = instance('eu-1', () => busyFleet(clock.now(), unknown))
    expect(await all('fleet_reachable')).toEqual({ '': 0 })
    for (const metric of ['fleet_workers', 'fleet_dead_entries', 'queue_entries', 'fleet_clock_offset_seconds'])
      expect(await all(metric)).toEqual({})
  })

  it('no fleet - one worker that is alive, reachable', async () => {
    const { of } = instance(undefined)
    expect(await of('fleet_workers')).toEqual({ true: 1 })
    expect(await of('fleet_reachable')).toEqual({ '': 1 })
  })
})

describe('runs of a fleet, as each of two instances sees them', () => {
  const instances = () => ['eu-1', 'us-1'].map((name) => ({ name, ...instance(name) }))
  const everywhere = (seen: ReturnType<typeof instances>, change: (catalog: Catalog) => unknown): void => {
    for (const { catalog } of seen) change(catalog)
  }
  const sum = async (seen: ReturnType<typeof instances>, metric: string): Promise<Record<string, number>> => {
    const total: Record<string, number> = {}
    for (const { of } of seen)
      for (const [labels, value] of Object.entries(await of(metric))) total[labels] = (total[labels] ?? 0) + value
    return total
  }

  it('one run of each worker - each counts its own, and the sum counts nothing twice', async () => {
    const seen = instances()
    for (const worker of ['eu-1', 'us-1']) {
      everywhere(seen, (catalog) => catalog.addRun(run(`of ${worker}`, null, { state: 'queued', startedAt: null })))
      everywhere(seen, (catalog) =>
        catalog.updateRun(`of ${worker}`, { state: 'running', worker, startedAt: clock.now() }),
      )
      clock.advance(2_000)
      everywhere(seen, (catalog) =>
        catalog.updateRun(`of ${worker}`, { state: 'succeeded', worker, finishedAt: clock.now() }),
      )
    }
    for (const one of seen) expect(await one.of('runs_total')).toEqual({ 'main app backup succeeded': 1 })
    expect(await sum(seen, 'runs_total')).toEqual({ 'main app backup succeeded': 2 })
    expect(await sum(seen, 'run_duration_seconds_count')).toEqual({ 'main app backup': 2 })
    expect(await sum(seen, 'run_duration_seconds_sum')).toEqual({ 'main app backup': 4 })
  })

  it('a worker that was killed and another that took over - counted once, by the one that ended it', async () => {
    const seen = instances()
    everywhere(seen, (catalog) => catalog.addRun(run('r', 'eu-1')))
    everywhere(seen, (catalog) => catalog.updateRun('r', { state: 'queued', worker: null, startedAt: null }))
    everywhere(seen, (catalog) => catalog.updateRun('r', { state: 'running', worker: 'us-1', startedAt: clock.now() }))
    everywhere(seen, (catalog) => catalog.updateRun('r', { state: 'failed', worker: 'us-1', finishedAt: clock.now() }))
    const [eu, us] = seen
    expect(await eu?.of('runs_total')).toEqual({})
    expect(await us?.of('runs_total')).toEqual({ 'main app backup failed': 1 })
  })

  it('own runs of before a restart, found in the queue - not counted again', async () => {
    const { catalog, of } = instance('eu-1')
    catalog.addRun(run('r', 'eu-1', { state: 'failed', finishedAt: new Date(clock.now().getTime() - 60_000) }))
    expect(await of('runs_total')).toEqual({})
    expect(await of('run_consecutive_failures')).toEqual({})
  })

  it('failures of several workers - one row, the same on every instance, ended by a success of any', async () => {
    const seen = instances()
    const end = (id: string, worker: string, state: Run['state']): void => {
      clock.advance(60_000)
      for (const { catalog, name } of seen) {
        // Its own worker sees the whole run; the others only that it is over, when they look.
        if (name === worker) catalog.addRun(run(id, worker))
        const ended = { state, finishedAt: clock.now() }
        if (name === worker) catalog.updateRun(id, ended)
        else catalog.addRun(run(id, worker, ended))
      }
    }
    const rows = async () =>
      await Promise.all(seen.map(async ({ of }) => (await of('run_consecutive_failures'))[place]))
    const place = 'main app backup'
    end('r1', 'eu-1', 'failed')
    end('r2', 'us-1', 'inconclusive')
    expect(await rows()).toEqual([2, 2])
    // Said again, as the queue does.
    everywhere(seen, (catalog) => catalog.updateRun('r2', { progress: null }))
    expect(await rows()).toEqual([2, 2])
    end('r3', 'us-1', 'succeeded')
    expect(await rows()).toEqual([undefined, undefined])
    end('r4', 'eu-1', 'failed')
    expect(await rows()).toEqual([1, 1])
  })

  it('runs that go on at another worker - in progress here, too', async () => {
    const { catalog, of } = instance('eu-1')
    catalog.addRun(run('r', 'us-1'))
    expect(await of('run_in_progress')).toEqual({ 'main app backup': 1 })
  })
})
