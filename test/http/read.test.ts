import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import type { Job, PlannedJob, Run } from '../../src/catalog/runs.ts'
import {
  backupDetailsSchema,
  backupSchema,
  drillDetailsSchema,
  drillSchema,
  pageOfSchema,
  runSchema,
} from '../../src/http/answers.ts'
import { statusSchema } from '../../src/http/status.ts'
import { backupFolder } from '../../src/storage/object-keys.ts'
import { labelAt, manifestAt, reportOf, rolesManifestAt, signal } from '../catalog/stored.ts'
import { serverConfig } from '../metrics/made-up-catalog.ts'
import { storeSetOf } from '../support/store-sets.ts'
import { now, startTestServer } from './test-server.ts'

const old = manifestAt('2026-11-18T02:00:00Z')
const middle = manifestAt('2026-11-19T02:00:00Z')
const newest = manifestAt('2026-11-20T02:00:00Z')
const roles = rolesManifestAt('2026-11-15T03:00:00Z')
const elsewhere = manifestAt('2026-11-17T02:00:00Z', { database: 'other' })
const backupsPage = pageOfSchema(backupSchema)
const drillsPage = pageOfSchema(drillSchema)
const runsPage = pageOfSchema(runSchema)
const labels = (page: { items: { label: string | null }[] }): (string | null)[] => page.items.map(({ label }) => label)

describe('health and readiness', () => {
  it('a daemon that can work - 200 on both', async () => {
    await using server = await startTestServer()
    expect((await server.call('GET', '/healthz')).text).toBe('{"status":"ok"}')
    expect((await server.call('GET', '/readyz?deep=1')).text).toBe('{"status":"ready"}')
  })

  it('a store that does not answer - 503 on readiness only, with the reason for those who may know it', async () => {
    const reasons = ['cannot reach the store s3://backups/prod: connect ECONNREFUSED']
    await using server = await startTestServer({
      parts: { isReady: () => ({ ready: false, reasons, awaited: 'it is mended' }) },
    })
    expect((await server.call('GET', '/healthz', { as: null })).status).toBe(200)
    const local = (await server.call('GET', '/readyz', { as: null })).problem()
    expect(local).toMatchObject({ status: 503, code: 'NOT_READY', retryable: true })
    expect(local.detail).toContain('s3://backups/prod')
    const other = await server.call('GET', '/readyz', { as: null, headers: { via: '1.1 proxy' } })
    expect([other.status, other.text.includes('s3:')]).toEqual([503, false])
  })

  it('metrics - are in Prometheus’ text format', async () => {
    await using server = await startTestServer({ manifests: [newest] })
    const reply = await server.call('GET', '/metrics')
    expect(reply.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8')
    expect(reply.text).toContain('pgproof_backup_dump_bytes{server="main",database="app"} 8000')
  })
})

describe('backups', () => {
  const manifests = [old, middle, newest, roles, elsewhere]

  it('without a filter - all of them, newest first', async () => {
    await using server = await startTestServer({ manifests })
    const page = (await server.call('GET', '/v1/backups')).as(backupsPage)
    expect(labels(page)).toEqual([newest, middle, old, elsewhere, roles].map(({ label }) => label))
    expect(page.next).toBe(null)
  })

  it.each([
    ['kind=roles', [roles]],
    ['kind=database&server=main', [newest, middle, old, elsewhere]],
    ['server=main&database=other', [elsewhere]],
    ['database=app', [newest, middle, old]],
    ['server=unknown', []],
  ])('with %s - only those', async (query, expected) => {
    await using server = await startTestServer({ manifests })
    const page = (await server.call('GET', `/v1/backups?${query}`)).as(backupsPage)
    expect(labels(page)).toEqual(expected.map(({ label }) => label))
  })

  it('page by page - each once, though one goes and one comes meanwhile', async () => {
    await using server = await startTestServer({ manifests })
    const first = (await server.call('GET', '/v1/backups?limit=2')).as(backupsPage)
    expect(labels(first)).toEqual([newest.label, middle.label])
    server.catalog.removeBackup(backupFolder(middle), 'store')
    server.catalog.addBackup(
      { manifest: manifestAt('2026-11-20T11:00:00Z'), manifestSha256: 'e'.repeat(64), hasSignature: false },
      ['store'],
    )
    const second = (await server.call('GET', `/v1/backups?limit=2&cursor=${first.next}`)).as(backupsPage)
    expect(labels(second)).toEqual([old.label, elsewhere.label])
    const third = (await server.call('GET', `/v1/backups?limit=2&cursor=${second.next}`)).as(backupsPage)
    expect([labels(third), third.next]).toEqual([[roles.label], null])
  })

  it.each(['limit=0', 'limit=1001', 'limit=ten', 'limit=1&limit=2', 'cursor=nonsense', 'kind=view', 'server='])(
    'with %s - 400',
    async (query) => {
      await using server = await startTestServer()
      expect((await server.call('GET', `/v1/backups?${query}`)).problem().code).toBe('REQUEST_INVALID')
    },
  )

  it('one of them - with its manifest and its proof', async () => {
    const report = reportOf(newest, '2026-11-20T05:00:00Z')
    await using server = await startTestServer({ manifests: [newest], reports: [report] })
    const backup = (await server.call('GET', `/v1/backups/${newest.label}`)).as(backupDetailsSchema)
    expect(backup).toMatchObject({
      verifiedAt: '2026-11-20T05:00:00.000Z',
      lastVerdict: 'passed',
      isKnownBad: false,
      faults: [],
    })
    expect(backup.manifest).toEqual(newest)
  })

  it('one whose dump is gone - says so', async () => {
    await using server = await startTestServer({ manifests: [newest] })
    server.store.objects.delete(`${backupFolder(newest)}dump.zst.pgp`)
    await server.catalog.refresh(storeSetOf(server.store), signal)
    const backup = (await server.call('GET', `/v1/backups/${newest.label}`)).as(backupDetailsSchema)
    expect(backup.faults).toEqual(['dump.zst.pgp is missing'])
  })

  it('a label that two databases drew - 400 until the database is named', async () => {
    const twin = manifestAt('2026-11-20T02:00:00Z', { database: 'other' })
    await using server = await startTestServer({ manifests: [newest, twin] })
    expect((await server.call('GET', `/v1/backups/${newest.label}`)).problem().code).toBe('REQUEST_INVALID')
    const reply = await server.call('GET', `/v1/backups/${newest.label}?server=main&database=other`)
    expect(reply.as(backupDetailsSchema).database).toBe('other')
  })

  it('a label that is nowhere, and what is no label - 404', async () => {
    await using server = await startTestServer()
    for (const label of ['20200101T000000Z-aaaa', 'x', '%2e%2e%2fpgproof.json'])
      expect((await server.call('GET', `/v1/backups/${label}`)).problem().code).toBe('LABEL_UNKNOWN')
  })
})

describe('drills', () => {
  const passed = reportOf(old, '2026-11-18T05:00:00Z')
  const reason = {
    code: 'QUERY_FAILED',
    message: 'query failed on "app": relation "customer_secrets" does not exist',
    hint: 'Look at the server’s log.',
  }
  const failed = reportOf(newest, '2026-11-20T05:00:00Z', {
    verdict: 'failed',
    reason,
    checks: [
      { name: 'manifest', result: 'passed', detail: null },
      { name: 'sql: fresh', result: 'inconclusive', detail: reason.message },
      { name: 'scratch server', result: 'passed', detail: 'of version: 17' },
    ],
  })

  it('the list - newest first, filtered and in pages', async () => {
    await using server = await startTestServer({ manifests: [old, newest], reports: [passed, failed] })
    const page = (await server.call('GET', '/v1/drills?server=main&database=app&limit=1')).as(drillsPage)
    expect(labels(page)).toEqual([failed.label])
    const next = (await server.call('GET', `/v1/drills?server=main&database=app&cursor=${page.next}`)).as(drillsPage)
    expect([labels(next), next.next]).toEqual([[passed.label], null])
    expect(labels((await server.call('GET', '/v1/drills?database=other')).as(drillsPage))).toEqual([])
  })

  it('one that failed - with its checks, and without what PostgreSQL said about tables', async () => {
    await using server = await startTestServer({ manifests: [old, newest], reports: [failed] })
    const reply = await server.call('GET', `/v1/drills/${failed.label}`)
    const drill = reply.as(drillDetailsSchema)
    expect(drill.reason).toEqual({ ...reason, message: 'query failed on "app"' })
    expect(drill.checks.map(({ detail }) => detail)).toEqual([null, 'query failed on "app"', 'of version: 17'])
    for (const path of [`/v1/drills/${failed.label}`, '/v1/drills', '/v1/status', '/'])
      expect([path, (await server.call('GET', path)).text.includes('customer_secrets')]).toEqual([path, false])
  })

  it('a label that is nowhere - 404', async () => {
    await using server = await startTestServer()
    expect((await server.call('GET', `/v1/drills/${passed.label}`)).problem().code).toBe('LABEL_UNKNOWN')
  })
})

describe('runs', () => {
  it('page by page - each once, the newest first', async () => {
    await using server = await startTestServer()
    const order = (job: 'backup' | 'drill') =>
      server.orders.order({ job, server: 'main', database: 'app', trigger: 'http' }).id
    const older = order('backup')
    server.clock.advance(1000)
    const newer = order('drill')
    const first = (await server.call('GET', '/v1/runs?limit=1')).as(runsPage)
    const second = (await server.call('GET', `/v1/runs?limit=1&cursor=${first.next}`)).as(runsPage)
    expect([first, second].map(({ items }) => items.map(({ id }) => id))).toEqual([[newer], [older]])
    expect(second.next).toBeNull()
  })

  it('the list - newest first, filtered by what they are and how they stand', async () => {
    await using server = await startTestServer()
    const order = (job: 'backup' | 'drill', database: string) =>
      server.orders.order({ job, server: 'main', database, trigger: 'schedule' })
    const backup = order('backup', 'app')
    const drill = order('drill', 'app')
    const waiting = order('drill', 'other')
    server.catalog.updateRun(backup.id, { state: 'running', startedAt: new Date(now), progress: { dumpBytes: 7 } })
    const ids = async (query: string): Promise<string[]> =>
      (await server.call('GET', `/v1/runs?${query}`)).as(runsPage).items.map(({ id }) => id)
    expect(await ids('')).toEqual([waiting.id, drill.id, backup.id])
    expect(await ids('job=drill&database=app&server=main')).toEqual([drill.id])
    expect(await ids('state=running')).toEqual([backup.id])
    const run = (await server.call('GET', `/v1/runs/${waiting.id}`)).as(runSchema)
    expect([run.position, run.state, run.trigger]).toEqual([1, 'queued', 'schedule'])
    const running = (await server.call('GET', `/v1/runs/${backup.id}`)).as(runSchema)
    expect([running.position, running.progress]).toEqual([null, { dumpBytes: 7 }])
  })

  it('one that failed - with code and hint, and without the tables in its message', async () => {
    await using server = await startTestServer()
    const run = server.orders.order({ job: 'backup', server: 'main', database: 'app', trigger: 'http' })
    const message = 'role "backup" may not read everything in "app": public.customer_secrets'
    const error = { code: 'PRIVILEGE_MISSING', message, hint: 'GRANT it.' }
    server.catalog.updateRun(run.id, { state: 'failed', finishedAt: new Date(now), error })
    const answer = (await server.call('GET', `/v1/runs/${run.id}`)).as(runSchema)
    expect(answer.error).toEqual({ ...error, message: 'role "backup" may not read everything in "app"' })
  })

  it('one that nobody knows - 404', async () => {
    await using server = await startTestServer()
    for (const path of ['/v1/runs/no-such', '/v1/runs/no-such/events'])
      expect((await server.call('GET', path)).problem().code).toBe('RUN_UNKNOWN')
  })
})

describe('status', () => {
  it('a database with backups and drills - protected, proven, measured against its objectives', async () => {
    const nextAt = new Date('2026-11-21T02:00:00Z')
    await using server = await startTestServer({
      manifests: [old, newest, roles],
      reports: [
        reportOf(old, '2026-11-18T05:00:00Z', { restoreTimeSeconds: 2000 }),
        reportOf(newest, '2026-11-20T05:00:00Z', { verdict: 'inconclusive' }),
      ],
      parts: {
        planned: () => [
          { job: 'backup', server: 'main', database: 'app', nextAt, intervalSeconds: 86_400, pausedUntil: null },
        ],
      },
    })
    const status = (await server.call('GET', '/v1/status')).as(statusSchema)
    const [app] = status.databases
    expect(app).toMatchObject({
      recoveryPoint: newest.snapshotTime,
      verifiedRecoveryPoint: old.snapshotTime,
      retained: { any: 2, verified: 1 },
      lastDrill: { verdict: 'inconclusive' },
      lastPassedDrill: { backup: { label: old.label } },
      objectives: {
        recoveryPoint: { status: 'met', measuredSeconds: 36_000, objectiveSeconds: 93_600 },
        restoreTime: { status: 'missed', measuredSeconds: 2000, objectiveSeconds: 1800 },
        forecast: { status: 'missed', measuredSeconds: 2000 },
      },
      next: [{ job: 'backup', at: nextAt.toISOString() }],
      drilledWithin: { drills: 2 * (status.databases[0]?.retained.any ?? 0), seconds: null },
    })
    expect(status.roles).toMatchObject([
      { server: 'main', newestBackup: { label: roles.label }, next: null, intervalSeconds: null },
    ])
    expect(status.store).toMatchObject({ isComplete: true, readAt: new Date(now).toISOString(), historyGaps: [] })
  })

  it('runs, failures, orphans, damage and gaps - are all in it', async () => {
    const manifests = [{ ...newest, previous: { label: old.label, sha256: 'f'.repeat(64) } }]
    await using server = await startTestServer({ manifests })
    await server.store.put(`${backupFolder(middle)}dump.zst.pgp`, Buffer.from('x'), { signal })
    await server.store.put(`backups/main/app/${labelAt(now)}/manifest.json`, Buffer.from('{'), { signal })
    await server.catalog.refresh(storeSetOf(server.store), signal)
    const failed = server.orders.order({ job: 'backup', server: 'main', database: 'app', trigger: 'http' })
    const error = { code: 'LOCKED', message: 'locked', hint: 'Wait.' }
    server.catalog.updateRun(failed.id, { state: 'failed', finishedAt: new Date(now), error })
    const waiting = server.orders.order({ job: 'drill', server: 'main', database: 'app', trigger: 'schedule' })
    const status = (await server.call('GET', '/v1/status')).as(statusSchema)
    expect(status.runs.map(({ id }) => id)).toEqual([waiting.id])
    expect(status.failures.map(({ id, isOver }) => [id, isOver])).toEqual([[failed.id, false]])
    expect(status.store).toMatchObject({ orphanObjects: 1, damagedObjects: 1 })
    expect(status.store.historyGaps).toMatchObject([
      { label: old.label, found: 'removed', witnesses: [{ by: 'manifest', label: newest.label }] },
    ])
  })

  it('failures of what the configuration or its schedule has no more - are none; those ordered by hand are', async () => {
    const nextAt = new Date(now)
    const planned: PlannedJob[] = [
      { job: 'backup', server: 'main', database: 'app', nextAt, intervalSeconds: 86_400, pausedUntil: nextAt },
    ]
    const servers = [serverConfig('main', { exclude: ['excluded'] })]
    await using server = await startTestServer({ servers, parts: { planned: () => planned } })
    const fail = (job: Job, database: string | null, trigger: Run['trigger']): string => {
      const { id } = server.orders.order({ job, server: 'main', database, trigger })
      server.catalog.updateRun(id, { state: 'failed', finishedAt: new Date(now) })
      return id
    }
    const kept = [fail('backup', 'app', 'schedule'), fail('prune', 'app', 'schedule'), fail('drill', 'app', 'http')]
    fail('backup', 'excluded', 'http')
    fail('roles', null, 'schedule')
    fail('drill', 'other', 'schedule')
    const failures = async (): Promise<string[]> =>
      (await server.call('GET', '/v1/status')).as(statusSchema).failures.map(({ id }) => id)
    expect(await failures()).toEqual(kept.toReversed())
    planned.pop()
    expect(await failures()).toEqual(kept.slice(1).toReversed())
  })

  it('failures - are over once the same job succeeds there; what is not over is never pushed out', async () => {
    await using server = await startTestServer({ manifests: [newest] })
    const end = (job: 'backup' | 'prune', database: string, state: 'failed' | 'succeeded', at = now): string => {
      const { id } = server.orders.order({ job, server: 'main', database, trigger: 'http' })
      server.catalog.updateRun(id, { state, finishedAt: new Date(at) })
      return id
    }
    const failures = async () => {
      const status = (await server.call('GET', '/v1/status')).as(statusSchema)
      return status.failures.map(({ id, isOver }) => [id, isOver])
    }
    const beforeBackup = end('backup', 'app', 'failed', '2026-11-20T01:00:00Z')
    const pruned = end('prune', 'app', 'failed')
    const other = end('backup', 'other', 'failed')
    expect(await failures()).toEqual([
      [other, false],
      [pruned, false],
      [beforeBackup, true],
    ])
    end('prune', 'app', 'succeeded')
    expect((await failures())[1]).toEqual([pruned, true])
    const noise = Array.from({ length: 25 }, () => [end('backup', 'app', 'failed'), false])
    expect(await failures()).toEqual([...noise.toReversed().slice(0, 20), [other, false]])
  })

  it('pauses - are those that GET /v1/pauses tells', async () => {
    await using server = await startTestServer()
    const body = { server: 'main', for: '4h', reason: 'move to the new rack' }
    await server.call('POST', '/v1/pauses', { as: 'backup', body })
    const { items } = JSON.parse((await server.call('GET', '/v1/pauses')).text) as { items: unknown[] }
    expect((await server.call('GET', '/v1/status')).as(statusSchema).pauses).toEqual(items)
    expect(items).toHaveLength(1)
  })

  it('no answer of any route - holds a connection string, an address of a server or a secret', async () => {
    await using server = await startTestServer({ manifests: [newest], reports: [reportOf(newest, now)] })
    for (const path of ['/', '/v1/status', '/v1/backups', '/v1/drills', '/v1/runs', '/openapi.json', '/metrics'])
      expect([path, /postgres:\/\/|db\.internal|token-of/.test((await server.call('GET', path)).text)]).toEqual([
        path,
        false,
      ])
  })

  it('the JSON - is all that its schema says and no more', () => {
    expect(z.toJSONSchema(statusSchema)).toMatchObject({ additionalProperties: false })
  })
})
