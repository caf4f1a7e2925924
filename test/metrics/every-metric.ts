import type { Run } from '../../src/catalog/runs.ts'
import { createMetrics, type Metrics, type MetricsParts } from '../../src/metrics/metrics.ts'
import { registerNoticeMetrics } from '../../src/metrics/notice-metrics.ts'
import { manifestAt, recordOf, reportOf, rolesManifestAt } from '../catalog/stored.ts'
import { MemoryStore } from '../support/memory-store.ts'
import { busyFleet } from '../support/queue-views.ts'
import { namedStore } from '../support/store-sets.ts'
import { clockAt, madeUpCatalog, serverConfig } from './made-up-catalog.ts'

/** An installation in which every metric that depends on something has a sample. */
export async function everyMetric(): Promise<Metrics> {
  const now = new Date('2026-11-20T12:00:00Z')
  const clock = clockAt(now.toISOString())
  const drilled = manifestAt('2026-11-18T02:00:00Z')
  const newest = manifestAt('2026-11-20T02:00:00Z', { omissions: [{ kind: 'foreign data', objects: 2 }] })
  const { catalog } = await madeUpCatalog(clock, {
    manifests: [drilled, newest, rolesManifestAt('2026-11-15T03:00:00Z')],
    reports: [reportOf(drilled, '2026-11-18T05:00:00Z')],
    records: [recordOf([manifestAt('2026-11-17T02:00:00Z')])],
  })
  const run = (changes: Partial<Run>): Run => ({
    ...{ id: 'r1', job: 'backup', server: 'main', database: 'app', trigger: 'schedule', attempt: 1, state: 'running' },
    ...{ queuedAt: now, startedAt: now, finishedAt: null, label: null, error: null, progress: null },
    ...changes,
  })
  catalog.addRun(run({ id: 'r1', state: 'succeeded', finishedAt: now }))
  catalog.addRun(run({ id: 'r2', job: 'drill' }))
  const store = new MemoryStore(clock)
  store.skewSeconds = 0.25
  const metrics = createMetrics({
    catalog,
    config: {
      servers: [
        serverConfig('main', {
          schedule: { backup: '0 2 * * *' },
          objectives: { rpoMs: 93_600_000, rtoMs: 1_800_000 },
        }),
      ],
      stores: [] as unknown as MetricsParts['config']['stores'],
      timezone: 'UTC',
      drill: { pick: 'random' },
    },
    clock,
    stores: { named: [namedStore(store)] },
    planned: () => [
      { job: 'backup', server: 'main', database: 'app', nextAt: now, intervalSeconds: 86_400, pausedUntil: now },
    ],
    queueView: () => busyFleet(now),
    keyExpiries: () => [{ fingerprint: 'A'.repeat(40), use: 'recipient', expiresAt: now }],
    configReload: () => ({ isSuccessful: true, lastSuccessAt: now, needsRestart: [] }),
    version: '9.9.9',
  })
  registerNoticeMetrics(metrics.registry, {
    counts: () => [{ target: 'webhook', outcome: 'failed', count: 1 }],
    waiting: () => [{ entry: 'notify.0', target: 'webhook', count: 1, oldestSince: now }],
  })
  return metrics
}
