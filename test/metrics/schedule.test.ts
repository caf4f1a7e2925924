import { describe, expect, it } from 'vitest'
import { Catalog } from '../../src/catalog/catalog.ts'
import type { PlannedJob, Run } from '../../src/catalog/runs.ts'
import type { ServerConfig } from '../../src/config/config.ts'
import { createMetrics, type MetricsParts } from '../../src/metrics/metrics.ts'
import { manifestAt, reportOf, rolesManifestAt, signal } from '../catalog/stored.ts'
import { MemoryStore } from '../support/memory-store.ts'
import { idleQueue } from '../support/queue-views.ts'
import { namedStore, storeSetOf } from '../support/store-sets.ts'
import { type Contents, clockAt, madeUpCatalog, serverConfig } from './made-up-catalog.ts'

const now = '2026-11-20T12:00:00Z'
const seconds = (instant: string): number => Date.parse(instant) / 1000
const old = manifestAt('2026-11-19T02:00:00Z')
const newest = manifestAt('2026-11-20T02:00:00Z')
const server = (changes: Partial<ServerConfig> = {}) =>
  serverConfig('main', { schedule: { backup: '0 2 * * *' }, objectives: { rpoMs: 93_600_000 }, ...changes })

function planned(changes: Partial<PlannedJob> = {}): PlannedJob {
  const nextAt = new Date('2026-11-21T02:00:00Z')
  return {
    ...{ job: 'backup', server: 'main', database: 'app', nextAt, intervalSeconds: 86_400, pausedUntil: null },
    ...changes,
  }
}

type Asked = { readonly catalog: Catalog; readonly of: (metric: string) => Promise<Record<string, number>> }

/** Samples of a metric by their labels, `main/app backup`. */
async function metricsOf(contents: Contents | Catalog, changes: Partial<MetricsParts> = {}): Promise<Asked> {
  const catalog = contents instanceof Catalog ? contents : (await madeUpCatalog(clockAt(now), contents)).catalog
  const stores = [] as unknown as MetricsParts['config']['stores']
  const metrics = createMetrics({
    catalog,
    config: { servers: [server()], stores, timezone: 'UTC', drill: { pick: 'random' } },
    clock: clockAt(now),
    stores: { named: [namedStore(new MemoryStore(), 'a'), namedStore(new MemoryStore(), 'b', false)] },
    planned: () => [planned()],
    queueView: () => idleQueue(new Date(now)),
    keyExpiries: () => [],
    configReload: () => ({ isSuccessful: true, lastSuccessAt: new Date(now), needsRestart: [] }),
    version: '9.9.9',
    ...changes,
  })
  const of = async (metric: string): Promise<Record<string, number>> => {
    const found = [...(await metrics.text()).matchAll(new RegExp(`^pgproof_${metric}(?:\\{(.*)\\})? (\\S+)$`, 'gm'))]
    return Object.fromEntries(
      found.map(([, labels = '', value]) => {
        const values = [...labels.matchAll(/"([^"]*)"/g)].map(([, text]) => text)
        return [values.length > 1 ? `${values[0]}/${values.slice(1).join(' ')}` : (values[0] ?? ''), Number(value)]
      }),
    )
  }
  return { catalog, of }
}

function config(servers: readonly ServerConfig[]): MetricsParts['config'] {
  const stores = [] as unknown as MetricsParts['config']['stores']
  return { servers, stores, timezone: 'UTC', drill: { pick: 'random' } }
}

describe('what is planned', () => {
  it('paused, and another job that is not - 1 and until when; 0 and no time', async () => {
    const until = new Date('2026-11-22T00:00:00Z')
    const roles = planned({ job: 'roles', database: null })
    const { of } = await metricsOf({}, { planned: () => [planned({ pausedUntil: until }), roles] })
    expect(await of('schedule_paused')).toEqual({ 'main/app backup': 1, 'main/ roles': 0 })
    expect(await of('schedule_paused_until_timestamp_seconds')).toEqual({ 'main/app backup': until.getTime() / 1000 })
  })

  it('a backup in the store of a database that the server does not have any more - it is missing, not forgotten', async () => {
    const manifests = [old, manifestAt('2026-11-19T02:00:00Z', { database: 'gone' })]
    const { of } = await metricsOf({ manifests })
    expect(await of('database_missing')).toEqual({ 'main/app': 0, 'main/gone': 1 })
    expect(await of('database_configured')).toEqual({ 'main/app': 1, 'main/gone': 1 })
    expect(await of('rpo_objective_seconds')).toEqual({ 'main/app': 93_600, 'main/gone': 93_600 })
  })

  it('the same database is excluded - it is neither missing nor does it have an objective', async () => {
    const manifests = [old, manifestAt('2026-11-19T02:00:00Z', { database: 'gone' })]
    const { of } = await metricsOf({ manifests }, { config: config([server({ exclude: ['gone'] })]) })
    expect(await of('database_missing')).toEqual({ 'main/app': 0 })
    expect(await of('database_configured')).toEqual({ 'main/app': 1, 'main/gone': 0 })
    expect(await of('rpo_objective_seconds')).toEqual({ 'main/app': 93_600 })
  })

  it('no schedule, or no such server - nothing is said to be missing', async () => {
    const changes = { planned: () => [], config: config([server({ schedule: { roles: '0 3 * * 0' } })]) }
    const unscheduled = await metricsOf({ manifests: [old] }, changes)
    expect(await unscheduled.of('database_missing')).toEqual({})
    expect(await unscheduled.of('database_configured')).toEqual({ 'main/app': 1 })
    const removed = await metricsOf({ manifests: [old] }, { planned: () => [], config: config([]) })
    expect(await removed.of('database_missing')).toEqual({})
    expect(await removed.of('database_configured')).toEqual({ 'main/app': 0 })
  })

  it('a configuration that was refused - 0, and when the one in force was read', async () => {
    const configReload = () => ({
      isSuccessful: false,
      lastSuccessAt: new Date('2026-11-01T00:00:00Z'),
      needsRestart: [],
    })
    const { of } = await metricsOf({}, { configReload })
    expect(await of('config_last_reload_successful')).toEqual({ '': 0 })
    expect(await of('config_last_reload_success_timestamp_seconds')).toEqual({ '': seconds('2026-11-01T00:00:00Z') })
  })

  it('a required and an optional store - each says which it is', async () => {
    expect(await (await metricsOf({})).of('store_required')).toEqual({ a: 1, b: 0 })
  })
})

describe('backups that are bad', () => {
  it('objects are missing, or a drill failed - counted until they are gone', async () => {
    const { catalog, store } = await madeUpCatalog(clockAt(now), {
      manifests: [old, newest],
      reports: [
        reportOf(old, '2026-11-19T05:00:00Z', { verdict: 'failed' }),
        // It says nothing against the failed one.
        reportOf(old, '2026-11-19T06:00:00Z', { verdict: 'inconclusive' }),
      ],
    })
    const { of } = await metricsOf(catalog)
    expect(await of('backups_incomplete')).toEqual({ 'main/app': 0 })
    expect(await of('backups_failed_drill')).toEqual({ 'main/app': 1 })
    await store.delete(store.keys().find((key) => key.includes(`${newest.label}/dump`)) ?? '', { signal })
    await catalog.refresh(storeSetOf(store), signal)
    expect(await of('backups_incomplete')).toEqual({ 'main/app': 1 })
  })

  it('a store that was never read - it is not said that there are none', async () => {
    const { of } = await metricsOf(new Catalog({ clock: clockAt(now) }))
    expect(await of('backups_incomplete')).toEqual({})
    expect(await of('backups_failed_drill')).toEqual({})
  })
})

describe('failures in a row', () => {
  let id = 0
  const end = (catalog: Catalog, state: Run['state'], changes: Partial<Run> = {}): void => {
    id += 1
    const place = { job: 'backup', server: 'main', database: 'app', trigger: 'schedule', attempt: 1 } as const
    const nothing = { finishedAt: null, label: null, error: null, progress: null }
    const startedAt = new Date(now)
    catalog.addRun({ ...place, ...nothing, id: `r${id}`, state: 'running', queuedAt: startedAt, startedAt, ...changes })
    if (state !== 'running') catalog.updateRun(`r${id}`, { state, finishedAt: changes.finishedAt ?? new Date(now) })
  }
  const backup = 'main/app backup'

  it('nothing has run - 0 for every job of a covered database, of its server and of all', async () => {
    const manifests = [old, manifestAt('2026-11-19T02:00:00Z', { database: 'gone' })]
    const { of } = await metricsOf({ manifests }, { config: config([server({ exclude: ['gone'] })]) })
    const zeroes = ['main/app backup', 'main/app drill', 'main/app prune', 'main/ roles', 'main/ prune']
    expect(await of('run_consecutive_failures')).toEqual(
      Object.fromEntries([...zeroes, '/ prune', '/ sync'].map((place) => [place, 0])),
    )
  })

  it('failed, inconclusive, cancelled, succeeded - 1, 2, still 2, 0; of that job alone', async () => {
    const { catalog, of } = await metricsOf({ manifests: [old] })
    const counts: (number | undefined)[] = []
    for (const state of ['failed', 'inconclusive', 'cancelled', 'succeeded'] as const) {
      end(catalog, state)
      counts.push((await of('run_consecutive_failures'))[backup])
    }
    expect(counts).toEqual([1, 2, 2, 0])
    end(catalog, 'failed', { job: 'drill', trigger: 'http' })
    expect(await of('run_consecutive_failures')).toMatchObject({ [backup]: 0, 'main/app drill': 1 })
  })

  it('the job is taken out of the schedule - 0, unless somebody ordered the last one by hand', async () => {
    const jobs = [planned(), planned({ job: 'roles', database: null })]
    const { catalog, of } = await metricsOf({ manifests: [old] }, { planned: () => jobs })
    end(catalog, 'failed')
    end(catalog, 'failed', {
      job: 'roles',
      database: null,
      trigger: 'http',
      finishedAt: new Date('2026-11-20T11:00:00Z'),
    })
    end(catalog, 'failed', { job: 'roles', database: null })
    expect(await of('run_consecutive_failures')).toMatchObject({ [backup]: 1, 'main/ roles': 2 })
    jobs.length = 0
    expect(await of('run_consecutive_failures')).toMatchObject({ [backup]: 0, 'main/ roles': 0 })
    end(catalog, 'failed', { trigger: 'http', finishedAt: new Date('2026-11-20T13:00:00Z') })
    expect((await of('run_consecutive_failures'))[backup]).toBe(2)
  })

  it('a prune after a backup failed, and one of everything succeeded later - 0', async () => {
    const { catalog, of } = await metricsOf({ manifests: [old] })
    end(catalog, 'failed', { job: 'prune' })
    expect((await of('run_consecutive_failures'))['main/app prune']).toBe(1)
    end(catalog, 'succeeded', {
      job: 'prune',
      server: '',
      database: null,
      finishedAt: new Date('2026-11-18T02:00:00Z'),
    })
    expect((await of('run_consecutive_failures'))['main/app prune']).toBe(1)
    end(catalog, 'succeeded', { job: 'prune', server: '', database: null })
    expect((await of('run_consecutive_failures'))['main/app prune']).toBe(0)
  })

  it('failures before the metrics were made - are counted in their order', async () => {
    const { catalog } = await madeUpCatalog(clockAt(now), { manifests: [old] })
    for (const state of ['failed', 'succeeded', 'failed'] as const) end(catalog, state)
    expect((await (await metricsOf(catalog)).of('run_consecutive_failures'))[backup]).toBe(1)
  })

  it('another process did it since, as the store tells - 0', async () => {
    const earlier = new Date('2026-11-18T02:00:00Z')
    const reports = [reportOf(old, '2026-11-19T05:00:00Z')]
    const { catalog, of } = await metricsOf({ manifests: [old, rolesManifestAt('2026-11-19T03:00:00Z')], reports })
    end(catalog, 'failed', { finishedAt: earlier })
    end(catalog, 'failed', { job: 'drill', finishedAt: earlier })
    end(catalog, 'failed', { job: 'roles', database: null, finishedAt: earlier })
    expect(Object.values(await of('run_consecutive_failures')).filter((count) => count > 0)).toEqual([])
    end(catalog, 'failed')
    expect((await of('run_consecutive_failures'))[backup]).toBe(1)
  })

  it('a run that goes on - its beginning, and nothing once it has ended', async () => {
    const { catalog, of } = await metricsOf({ manifests: [old] })
    end(catalog, 'running')
    expect(await of('run_started_timestamp_seconds')).toEqual({ [backup]: seconds(now) })
    catalog.updateRun(`r${id}`, { state: 'failed', finishedAt: new Date(now) })
    expect(await of('run_started_timestamp_seconds')).toEqual({})
  })
})
