import { describe, expect, it } from 'vitest'
import { Catalog } from '../../src/catalog/catalog.ts'
import type { Run } from '../../src/catalog/runs.ts'
import { PgproofError } from '../../src/errors.ts'
import { createMetrics, type MetricsParts } from '../../src/metrics/metrics.ts'
import { backupFolder } from '../../src/storage/object-keys.ts'
import { manifestAt, recordOf, reportOf, rolesManifestAt, sha256Of, signal } from '../catalog/stored.ts'
import { MemoryStore } from '../support/memory-store.ts'
import { idleQueue } from '../support/queue-views.ts'
import { namedStore, storeSetOf } from '../support/store-sets.ts'
import { type Contents, clockAt, madeUpCatalog, serverConfig } from './made-up-catalog.ts'

const now = '2026-11-20T12:00:00Z'
const at = (instant: string): number => Date.parse(instant) / 1000
const dumpOf = (bytes: number) => ({ bytes, sha256: 'd'.repeat(64), compression: 'zstd' as const })

const old = manifestAt('2026-11-18T02:00:00Z', { dump: dumpOf(500) })
const middle = manifestAt('2026-11-19T02:00:00Z', { dump: dumpOf(800) })
const newest = manifestAt('2026-11-20T02:00:00Z', {
  dump: dumpOf(1000),
  snapshotTime: '2026-11-20T02:00:01.000Z',
  finishedAt: '2026-11-20T02:01:00.000Z',
})

async function metricsOf(
  contents: Contents,
  changes: Partial<MetricsParts> = {},
): Promise<{ catalog: Catalog; samples: () => Promise<Map<string, number>>; text: () => Promise<string> }> {
  const clock = clockAt(now)
  const parts: MetricsParts = {
    catalog: changes.catalog ?? (await madeUpCatalog(clock, contents)).catalog,
    config: {
      servers: [serverConfig('main', { objectives: { rpoMs: 93_600_000, rtoMs: 1_800_000 } })],
      stores: noStores,
      timezone: 'UTC',
      drill: { pick: 'random' },
    },
    clock,
    stores: { named: [namedStore(skewed(0.25))] },
    planned: () => [],
    queueView: () => idleQueue(clock.now()),
    keyExpiries: () => [],
    configReload: () => ({ isSuccessful: true, lastSuccessAt: new Date(0), needsRestart: [] }),
    version: '9.9.9',
    ...changes,
  }
  const metrics = createMetrics(parts)
  return { catalog: parts.catalog, text: metrics.text, samples: async () => parse(await metrics.text()) }
}

const noStores = [] as unknown as MetricsParts['config']['stores']

function skewed(seconds: number | undefined): MemoryStore {
  const store = new MemoryStore()
  store.skewSeconds = seconds
  return store
}

/** `pgproof_x{a="b"}` → value. */
function parse(text: string): Map<string, number> {
  const lines = text.split('\n').filter((line) => line.startsWith('pgproof_'))
  return new Map(lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.split(' ').at(-1))]))
}

const app = 'server="main",database="app"'

describe('metrics of the store', () => {
  it('a store with backups and drills - the first scrape says it all', async () => {
    const { samples } = await metricsOf({
      manifests: [
        old,
        middle,
        newest,
        rolesManifestAt('2026-11-15T03:00:00Z'),
        rolesManifestAt('2026-11-08T03:00:00Z'),
      ],
      reports: [
        reportOf(old, '2026-11-18T05:00:00Z', { restoreTimeSeconds: 20 }),
        reportOf(middle, '2026-11-19T05:00:00Z', { restoreTimeSeconds: 40 }),
        reportOf(newest, '2026-11-20T05:00:00Z', { verdict: 'inconclusive', phases: [{ name: 'fetch', seconds: 9 }] }),
      ],
    })
    const found = await samples()
    const expected: Record<string, number> = {
      [`pgproof_backup_last_attempt_timestamp_seconds{${app}}`]: at('2026-11-20T02:00:00Z'),
      [`pgproof_backup_last_success_timestamp_seconds{${app}}`]: at('2026-11-20T02:01:00Z'),
      [`pgproof_backup_duration_seconds{${app}}`]: 60,
      [`pgproof_backup_dump_bytes{${app}}`]: 1000,
      'pgproof_roles_last_success_timestamp_seconds{server="main"}': at('2026-11-15T03:00:00Z'),
      [`pgproof_recovery_point_timestamp_seconds{${app},proof="any"}`]: at('2026-11-20T02:00:01Z'),
      [`pgproof_recovery_point_timestamp_seconds{${app},proof="verified"}`]: at('2026-11-19T02:00:00Z'),
      [`pgproof_drill_last_attempt_timestamp_seconds{${app}}`]: at('2026-11-20T05:00:00Z'),
      [`pgproof_drill_last_passed_timestamp_seconds{${app}}`]: at('2026-11-19T05:00:00Z'),
      [`pgproof_drill_verdict{${app},verdict="passed"}`]: 0,
      [`pgproof_drill_verdict{${app},verdict="failed"}`]: 0,
      [`pgproof_drill_verdict{${app},verdict="inconclusive"}`]: 1,
      [`pgproof_drill_phase_seconds{${app},phase="restore"}`]: 12,
      [`pgproof_restore_time_seconds{${app}}`]: 40,
      // Seconds per byte of the drills that passed: 0.04 and 0.05; the newest dump has 1000 bytes.
      [`pgproof_restore_time_forecast_seconds{${app}}`]: 66.66666666666667,
      [`pgproof_rto_objective_seconds{${app}}`]: 1800,
      [`pgproof_rpo_objective_seconds{${app}}`]: 93_600,
      [`pgproof_backups_retained{${app},proof="any"}`]: 3,
      [`pgproof_backups_retained{${app},proof="verified"}`]: 2,
      [`pgproof_oldest_unverified_backup_timestamp_seconds{${app}}`]: at('2026-11-20T02:00:01Z'),
      // The oldest of the verified ones: nothing waits longer for its next proof.
      [`pgproof_least_recently_verified_backup_timestamp_seconds{${app}}`]: at('2026-11-18T05:00:00Z'),
      [`pgproof_verified_within_drills{${app}}`]: 6,
      [`pgproof_history_gaps{${app}}`]: 0,
      pgproof_damaged_objects: 0,
      [`pgproof_orphan_objects{${app},store="store"}`]: 0,
      [`pgproof_store_lacking_backups{${app},store="store"}`]: 0,
      [`pgproof_prune_removed_total{${app}}`]: 0,
      'pgproof_store_up{store="store"}': 1,
      'pgproof_store_clock_skew_seconds{store="store"}': 0.25,
      [`pgproof_build_info{version="9.9.9",nodeversion="${process.version}"}`]: 1,
    }
    for (const [name, value] of Object.entries(expected)) expect([name, found.get(name)]).toEqual([name, value])
    expect(found.get(`pgproof_backup_stored_bytes{${app}}`)).toBeGreaterThan(70)
    expect(found.has(`pgproof_drill_phase_seconds{${app},phase="fetch"}`)).toBe(false)
  })

  it('a database that is planned and has no backup - its ages are absent, not 0', async () => {
    const nextAt = new Date('2026-11-21T02:00:00Z')
    const { samples } = await metricsOf(
      {},
      {
        planned: () => [
          { job: 'backup', server: 'main', database: 'app', nextAt, intervalSeconds: 86_400, pausedUntil: null },
        ],
      },
    )
    const found = await samples()
    expect(found.get(`pgproof_schedule_next_timestamp_seconds{${app},job="backup"}`)).toBe(nextAt.getTime() / 1000)
    expect(found.get(`pgproof_schedule_interval_seconds{${app},job="backup"}`)).toBe(86_400)
    expect(found.get(`pgproof_backups_retained{${app},proof="any"}`)).toBe(0)
    expect(found.get(`pgproof_rpo_objective_seconds{${app}}`)).toBe(93_600)
    const measured = /_(backup|drill|restore|recovery|oldest)_(?!s)/
    expect([...found.keys()].filter((name) => measured.test(name))).toEqual([])
  })

  it('what is unknown of store and keys - is absent', async () => {
    const { samples } = await metricsOf(
      {},
      {
        catalog: new Catalog({ clock: clockAt(now) }),
        stores: { named: [namedStore(skewed(undefined))] },
        keyExpiries: () => [{ fingerprint: 'A'.repeat(40), use: 'recipient', expiresAt: null }],
      },
    )
    expect([...(await samples()).keys()].filter((name) => /store_|key_/.test(name))).toEqual([
      'pgproof_store_required{store="store"}',
    ])
  })

  it('a store that is down, a key of two files that expires - 0, and when', async () => {
    const key = { fingerprint: 'A'.repeat(40), use: 'recipient' as const, expiresAt: new Date(now) }
    const store = new MemoryStore()
    store.before = () => {
      throw new PgproofError('STORE_UNREACHABLE', { store: 'memory://', reason: 'down' })
    }
    const catalog = new Catalog({ clock: clockAt(now) })
    await expect(catalog.refresh(storeSetOf(store), signal)).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' })
    const { samples } = await metricsOf({}, { catalog, keyExpiries: () => [key, key] })
    const found = await samples()
    expect(found.get('pgproof_store_up{store="store"}')).toBe(0)
    const name = `pgproof_key_expiry_timestamp_seconds{fingerprint="${key.fingerprint}",use="recipient"}`
    expect(found.get(name)).toBe(at(now))
  })

  it('a store that was never read - nothing is said to be none', async () => {
    const nextAt = new Date(now)
    const { samples } = await metricsOf(
      {},
      {
        catalog: new Catalog({ clock: clockAt(now) }),
        planned: () => [
          { job: 'backup', server: 'main', database: 'app', nextAt, intervalSeconds: 1, pausedUntil: null },
        ],
      },
    )
    expect(
      [...(await samples()).keys()].filter((name) => /retained|orphan|prune_removed|gaps|damaged/.test(name)),
    ).toEqual([])
  })

  it('the dump of the newest backup is gone - the recovery point is the one before it', async () => {
    const { catalog, store } = await madeUpCatalog(clockAt(now), { manifests: [middle, newest] })
    store.objects.delete(`${backupFolder(newest)}dump.zst.pgp`)
    await catalog.refresh(storeSetOf(store), signal)
    const { samples } = await metricsOf({}, { catalog })
    const found = await samples()
    expect(found.get(`pgproof_recovery_point_timestamp_seconds{${app},proof="any"}`)).toBe(at('2026-11-19T02:00:00Z'))
    expect(found.get(`pgproof_backups_retained{${app},proof="any"}`)).toBe(1)
    expect(found.get(`pgproof_backup_last_success_timestamp_seconds{${app}}`)).toBe(at('2026-11-20T02:01:00Z'))
  })

  it('a backup and a drill that the catalog learns of - show at the next scrape, and go with the backup', async () => {
    const { catalog, samples } = await metricsOf({ manifests: [old] })
    expect((await samples()).has(`pgproof_drill_verdict{${app},verdict="passed"}`)).toBe(false)
    catalog.addDrill(reportOf(old, '2026-11-18T05:00:00Z'), ['store'])
    catalog.addBackup({ manifest: newest, manifestSha256: sha256Of(newest), hasSignature: false }, ['store'])
    const after = await samples()
    expect(after.get(`pgproof_drill_verdict{${app},verdict="passed"}`)).toBe(1)
    expect(after.get(`pgproof_backups_retained{${app},proof="any"}`)).toBe(2)
    catalog.removeBackup(backupFolder(newest), 'store')
    catalog.removeBackup(backupFolder(old), 'store')
    expect([...(await samples()).keys()].filter((name) => name.includes('recovery_point'))).toEqual([])
  })

  it('what the newest backup does not hold - by kind; of older ones nothing is said', async () => {
    const lacking = (manifest: typeof newest, kind: string, objects: number) => ({
      ...manifest,
      omissions: [{ kind, objects }],
    })
    const { samples } = await metricsOf({
      manifests: [lacking(old, 'tablespace', 7), lacking(newest, 'foreign data', 2)],
    })
    const found = [...(await samples())].filter(([name]) => name.startsWith('pgproof_backup_omitted_objects'))
    expect(found).toEqual([[`pgproof_backup_omitted_objects{${app},kind="foreign data"}`, 2]])
  })

  it('the rule is latest - no promise when every backup is drilled', async () => {
    const config = { servers: [], stores: noStores, timezone: 'UTC', drill: { pick: 'latest' as const } }
    const { samples } = await metricsOf({ manifests: [old] }, { config })
    expect([...(await samples()).keys()].filter((name) => name.includes('verified_within'))).toEqual([])
  })

  it('a drilled backup that vanished and a report that cannot be read - a gap of its database, a damaged object', async () => {
    const { catalog, store } = await madeUpCatalog(clockAt(now), {
      manifests: [old, rolesManifestAt('2026-11-15T03:00:00Z')],
      reports: [
        reportOf(newest, '2026-11-20T05:00:00Z', {
          rolesBackup: { label: middle.label, manifestSha256: 'e'.repeat(64) },
        }),
      ],
    })
    await store.put(`drills/main/app/${old.label}.json`, Buffer.from('{'), { signal })
    await catalog.refresh(storeSetOf(store), signal)
    const found = await (await metricsOf({}, { catalog })).samples()
    expect(found.get(`pgproof_history_gaps{${app}}`)).toBe(1)
    expect(found.get('pgproof_history_gaps{server="main",database=""}')).toBe(1)
    expect(found.get('pgproof_damaged_objects')).toBe(1)
  })

  it('objects without a manifest - are counted as orphans of their place', async () => {
    const { catalog, store } = await madeUpCatalog(clockAt(now), { manifests: [old] })
    for (const name of ['dump.zst.pgp', 'evidence.json.pgp'])
      await store.put(`${backupFolder(newest)}${name}`, Buffer.from('x'), { signal })
    await catalog.refresh(storeSetOf(store), signal)
    const { samples } = await metricsOf({}, { catalog })
    expect((await samples()).get(`pgproof_orphan_objects{${app},store="store"}`)).toBe(2)
  })

  it('prunes that recorded one backup twice and could not remove another - what is gone counts once', async () => {
    const records = [
      recordOf([old, middle], '2026-11-19T03:00:00Z'),
      recordOf([middle, newest], '2026-11-20T03:00:00Z'),
    ]
    const { samples } = await metricsOf({ manifests: [newest], records })
    expect((await samples()).get(`pgproof_prune_removed_total{${app}}`)).toBe(2)
  })

  it('a name with a quote, a backslash and a line break - is one label value', async () => {
    const { text } = await metricsOf({ manifests: [manifestAt(now, { database: 'a"b\\c\nd' })] })
    expect(await text()).toContain('pgproof_backup_dump_bytes{server="main",database="a\\"b\\\\c\\nd"} 8000')
  })
})

describe('metrics of runs', () => {
  const queued: Run = {
    id: 'r1',
    job: 'backup',
    server: 'main',
    database: 'app',
    trigger: 'schedule',
    attempt: 1,
    state: 'queued',
    queuedAt: new Date(now),
    startedAt: null,
    finishedAt: null,
    label: null,
    error: null,
    progress: null,
  }
  const outcome = (job: string, state: string, place = app): string =>
    `pgproof_runs_total{${place},job="${job}",outcome="${state}"}`

  it('nothing has run yet - every counter of a known database and server is 0', async () => {
    const { samples } = await metricsOf({ manifests: [old] })
    const found = await samples()
    for (const state of ['succeeded', 'failed', 'cancelled', 'inconclusive']) {
      for (const job of ['backup', 'drill', 'prune']) expect(found.get(outcome(job, state))).toBe(0)
      expect(found.get(outcome('roles', state, 'server="main",database=""'))).toBe(0)
    }
    expect(found.get(`pgproof_run_in_progress{${app},job="backup"}`)).toBe(0)
  })

  it('a run starts, reports progress and ends - in progress meanwhile, then counted once with its time', async () => {
    const { catalog, samples } = await metricsOf({ manifests: [old] })
    catalog.addRun(queued)
    catalog.updateRun('r1', { state: 'running', startedAt: new Date('2026-11-20T12:00:00Z') })
    catalog.updateRun('r1', { progress: { dumpBytes: 1 } })
    expect((await samples()).get(`pgproof_run_in_progress{${app},job="backup"}`)).toBe(1)
    catalog.updateRun('r1', { state: 'failed', finishedAt: new Date('2026-11-20T12:00:45Z') })
    catalog.updateRun('r1', { progress: { dumpBytes: 2 } })
    const found = await samples()
    expect(found.get(outcome('backup', 'failed'))).toBe(1)
    expect(found.get(outcome('backup', 'succeeded'))).toBe(0)
    expect(found.get(`pgproof_run_in_progress{${app},job="backup"}`)).toBe(0)
    expect(found.get(`pgproof_run_duration_seconds_sum{${app},job="backup"}`)).toBe(45)
    expect(found.get(`pgproof_run_duration_seconds_bucket{le="60",${app},job="backup"}`)).toBe(1)
    expect(found.get(`pgproof_run_duration_seconds_bucket{le="30",${app},job="backup"}`)).toBe(0)
  })

  it('a run that ended before the metrics were made and never started - is counted, without a time', async () => {
    const catalog = new Catalog({ clock: clockAt(now) })
    catalog.addRun(queued)
    catalog.updateRun('r1', { state: 'cancelled', finishedAt: new Date(now) })
    const found = await (await metricsOf({}, { catalog })).samples()
    expect(found.get(outcome('backup', 'cancelled'))).toBe(1)
    expect([...found.keys()].filter((name) => name.startsWith('pgproof_run_duration_seconds_count'))).toEqual([])
  })

  it('the names of pgproof’s own metrics - are exactly those of the contract', async () => {
    const text = await (await metricsOf({})).text()
    const names = [...text.matchAll(/^# TYPE pgproof_(\w+)/gm)].map(([, name]) => name)
    expect(names.toSorted()).toEqual([
      'backup_dump_bytes',
      'backup_duration_seconds',
      'backup_last_attempt_timestamp_seconds',
      'backup_last_success_timestamp_seconds',
      'backup_omitted_objects',
      'backup_stored_bytes',
      'backups_failed_drill',
      'backups_incomplete',
      'backups_retained',
      'build_info',
      'config_last_reload_success_timestamp_seconds',
      'config_last_reload_successful',
      'damaged_objects',
      'database_configured',
      'database_missing',
      'drill_last_attempt_timestamp_seconds',
      'drill_last_passed_timestamp_seconds',
      'drill_phase_seconds',
      'drill_verdict',
      'fleet_clock_offset_seconds',
      'fleet_dead_entries',
      'fleet_reachable',
      'fleet_workers',
      'history_gaps',
      'key_expiry_timestamp_seconds',
      'least_recently_verified_backup_timestamp_seconds',
      'oldest_unverified_backup_timestamp_seconds',
      'orphan_objects',
      'prune_removed_total',
      'queue_entries',
      'queue_oldest_seconds',
      'recovery_point_timestamp_seconds',
      'restore_time_forecast_seconds',
      'restore_time_seconds',
      'roles_last_success_timestamp_seconds',
      'rpo_objective_seconds',
      'rto_objective_seconds',
      'run_consecutive_failures',
      'run_duration_seconds',
      'run_in_progress',
      'run_started_timestamp_seconds',
      'runs_total',
      'schedule_interval_seconds',
      'schedule_next_timestamp_seconds',
      'schedule_paused',
      'schedule_paused_until_timestamp_seconds',
      'store_bytes',
      'store_clock_skew_seconds',
      'store_lacking_backups',
      'store_recovery_point_timestamp_seconds',
      'store_required',
      'store_up',
      'verified_within_drills',
    ])
  })

  it('the names - are those of pgproof, of the process and of Node, each with help that is a sentence', async () => {
    const help = (await (await metricsOf({})).text()).split('\n').filter((line) => line.startsWith('# HELP'))
    expect(help.filter((line) => !/^# HELP (pgproof|process|nodejs)_/.test(line))).toEqual([])
    expect(help.filter((line) => line.startsWith('# HELP pgproof') && !line.endsWith('.'))).toEqual([])
  })
})
