import { describe, expect, it } from 'vitest'
import type { Clock } from '../../src/clock.ts'
import type { Manifest } from '../../src/domain/manifest.ts'
import { decodePruneRecord } from '../../src/domain/prune-record.ts'
import { describeKeepReason } from '../../src/domain/retention.ts'
import { PgproofError } from '../../src/errors.ts'
import type { PruneRequest } from '../../src/jobs/plan-prune.ts'
import { type PruneResult, runPrune } from '../../src/jobs/prune.ts'
import { newRun } from '../../src/jobs/run-job.ts'
import { manifestAt, reportOf, rolesManifestAt, sha256Of, signal, storeBackup, storeReport } from '../catalog/stored.ts'
import { type TestInstallation, testInstallation } from '../support/installation.ts'

const hourMs = 3_600_000

type PruneTest = TestInstallation & {
  /** Goes on by so many hours. */
  wait(hours: number): void
  prune(request?: Partial<PruneRequest>): Promise<PruneResult>
  manifests(): string[]
}

/** The last backup of `main/app` is kept and no other, unless `settings` say more. The store was filled long ago. */
async function pruneTest(settings: Record<string, string> = {}): Promise<PruneTest> {
  let now = new Date('2026-11-18T12:00:00Z')
  const clock: Clock = { now: () => now, monotonicMs: () => now.getTime(), sleep: async () => {} }
  const usual = { PGPROOF_SERVERS__0__RETENTION__LAST: '1', PGPROOF_SERVERS__0__ROLES_RETENTION__LAST: '1' }
  const test = await testInstallation({ ...usual, ...settings }, { clock })
  return {
    ...test,
    wait: (hours) => {
      now = new Date(now.getTime() + hours * hourMs)
    },
    prune: (request) => runPrune({ isDryRun: false, ...request }, test.installation, signal),
    manifests: () => test.store.keys().filter((key) => key.endsWith('/manifest.json')),
    [Symbol.asyncDispose]: test[Symbol.asyncDispose],
  }
}

const days = [1, 2, 3, 4].map((day) => `2026-11-1${day}T02:00:00Z`)

async function storeFour({ store }: PruneTest, changes: Partial<Manifest> = {}): Promise<Manifest[]> {
  const manifests = days.map((time) => manifestAt(time, changes))
  for (const manifest of manifests) await storeBackup(store, manifest)
  return manifests
}

const labelsOf = (keys: readonly string[]): string[] => keys.map((key) => key.split('/').at(-2)?.slice(0, 8) ?? '')

/** What went, from all stores. */
const gone = ({ removed }: PruneResult): string[] =>
  removed.flatMap(({ backups, leftovers }) => [...backups, ...leftovers])

const caught = async (promise: Promise<unknown>): Promise<PgproofError> =>
  await promise.then(
    () => {
      throw new Error('it did not fail')
    },
    (error: unknown) => error as PgproofError,
  )

describe('prune', () => {
  it('as a dry run - a reason for each kept backup, none for the others, and nothing is written or removed', async () => {
    await using test = await pruneTest({ PGPROOF_SERVERS__0__RETENTION__VERIFIED: '1' })
    const [first] = await storeFour(test)
    await storeReport(test.store, reportOf(first as Manifest, '2026-11-11T05:00:00Z'))
    const before = test.store.keys()
    test.store.calls.length = 0
    const { plan, removed } = await test.prune({ isDryRun: true })
    expect(plan.groups[0]?.decisions.map(({ keep, reasons }) => [keep, reasons.map(describeKeepReason)])).toEqual([
      [true, ['newest', 'last 1 of 1']],
      [false, []],
      [false, []],
      [true, ['newest verified', 'verified 1 of 1']],
    ])
    expect(removed).toEqual([])
    expect(test.store.keys()).toEqual(before)
    expect(test.store.calls.filter((call) => /^(put|write|delete|sweep)/.test(call))).toEqual([])
  })

  it('the newest failed its drill and another came to no verdict since - the good one keeps its place', async () => {
    await using test = await pruneTest()
    const manifests = await storeFour(test)
    const newest = manifests.at(-1) as Manifest
    await storeReport(test.store, reportOf(newest, '2026-11-15T05:00:00Z', { verdict: 'failed' }))
    await storeReport(test.store, reportOf(newest, '2026-11-16T05:00:00Z', { verdict: 'inconclusive' }))
    await test.prune()
    expect(labelsOf(test.manifests())).toEqual(['20261113', '20261114'])
  })

  it('for real - of each backup the record, then the manifest, then everything else', async () => {
    await using test = await pruneTest()
    const manifests = await storeFour(test)
    test.store.calls.length = 0
    expect(gone(await test.prune())).toHaveLength(3)
    expect(labelsOf(test.manifests())).toEqual(['20261114'])
    expect(test.store.keys().filter((key) => key.startsWith('backups/'))).toHaveLength(4)
    const changes = test.store.calls.filter((call) => /^(put|delete)/.test(call))
    const names = changes.map((call) => (call.startsWith('put prunes/') ? 'record' : call.split('/').at(-1)))
    const each = ['record', 'manifest.json', 'RECOVERY.md', 'dump.zst.pgp', 'evidence.json.pgp']
    expect(names).toEqual(Array(3).fill(each).flat())
    const keys = changes.filter((call) => call.startsWith('put')).map((call) => call.slice('put '.length))
    const recorded = keys.flatMap((key) => decodePruneRecord(Buffer.from(test.store.text(key)), key).removed)
    expect(new Map(recorded.map(({ label, manifestSha256 }) => [label, manifestSha256]))).toEqual(
      new Map(manifests.slice(0, 3).map((manifest) => [manifest.label, sha256Of(manifest)])),
    )
    expect(test.installation.catalog.historyGaps()).toEqual([])
  })

  it('twice - the second time there is nothing to remove and nothing to record', async () => {
    await using test = await pruneTest()
    await storeFour(test)
    await test.prune()
    const before = test.store.keys()
    expect(gone(await test.prune())).toEqual([])
    expect(test.store.keys()).toEqual(before)
  })

  it('the record cannot be written - nothing is removed', async () => {
    await using test = await pruneTest()
    await storeFour(test)
    test.store.before = (operation, key) => {
      if (operation === 'put' && key.startsWith('prunes/'))
        throw new PgproofError('STORE_UNREACHABLE', { store: 'memory', reason: 'gone' })
    }
    expect(await caught(test.prune())).toMatchObject({
      code: 'PRUNE_INCOMPLETE',
      details: expect.stringContaining('gone'),
    })
    expect(test.manifests()).toHaveLength(4)
  })

  it('a store that is full - what is not kept goes all the same, and the record follows as soon as there is room', async () => {
    await using test = await pruneTest()
    await storeFour(test)
    const bytes = (): number => [...test.store.objects.values()].reduce((sum, { body }) => sum + body.length, 0)
    const full = bytes()
    test.store.before = (operation, key) => {
      if (operation === 'put' && bytes() >= full) throw new PgproofError('STORE_FULL', { key })
    }
    await test.prune()
    expect(test.manifests()).toHaveLength(1)
    await test.installation.catalog.refresh(test.installation.stores, new AbortController().signal)
    expect(test.installation.catalog.prunes().flatMap(({ removed }) => removed)).toHaveLength(3)
    expect(test.installation.catalog.historyGaps()).toEqual([])
  })

  it('interrupted between a manifest and its objects - PRUNE_INCOMPLETE; the next run removes the rest', async () => {
    await using test = await pruneTest()
    await storeFour(test)
    let hasFailed = false
    test.store.before = (operation, key) => {
      if (hasFailed || operation !== 'delete' || !key.endsWith('dump.zst.pgp')) return
      hasFailed = true
      throw new PgproofError('STORE_UNREACHABLE', { store: 'memory', reason: 'gone' })
    }
    const error = await caught(test.prune())
    expect(error).toMatchObject({ code: 'PRUNE_INCOMPLETE', details: expect.stringContaining('20261113T') })
    expect(labelsOf(test.manifests())).toEqual(['20261114'])
    const orphaned = (): string[] => test.store.keys().filter((key) => key.includes('20261113'))
    expect(orphaned()).toHaveLength(2)
    // The record of the prune names it, so it needs no time to prove that nobody is writing it.
    expect(gone(await test.prune())).toHaveLength(1)
    expect(orphaned()).toEqual([])
  })

  it('what has no manifest while a backup may take two days - stays for two days', async () => {
    await using test = await pruneTest({ PGPROOF_SERVERS__0__BACKUP_DEADLINE: '48h' })
    await test.store.put('backups/main/app/20261118T110000Z-4f7k/dump.zst.pgp', Buffer.alloc(9), { signal })
    test.store.unfinished.push({ key: 'x', startedAt: test.installation.clock.now() })
    test.wait(47)
    await test.prune()
    expect([test.store.keys().length, test.store.unfinished.length]).toEqual([1, 1])
    test.wait(2)
    await test.prune()
    expect([test.store.keys().length, test.store.unfinished.length]).toEqual([0, 0])
  })

  it('the store refuses one manifest - that backup stays whole and counts, the others go', async () => {
    await using test = await pruneTest()
    await storeFour(test)
    test.store.before = (operation, key) => {
      if (operation === 'delete' && key.includes('20261112') && key.endsWith('manifest.json'))
        throw new PgproofError('STORE_DENIED', { operation: 'delete', reason: 'object lock' })
    }
    expect(await caught(test.prune())).toMatchObject({ code: 'PRUNE_INCOMPLETE', message: expect.stringMatching(/1/) })
    expect(labelsOf(test.manifests())).toEqual(['20261112', '20261114'])
    expect(test.store.keys().filter((key) => key.includes('20261112'))).toHaveLength(4)
    test.store.before = () => {}
    await test.prune()
    expect(labelsOf(test.manifests())).toEqual(['20261114'])
  })

  it.each([
    ['a listing fails', 'list', 'drills/', 'STORE_UNREACHABLE'],
    ['a manifest is listed and not handed out', 'get', 'backups/main/app/20261112', 'PRUNE_REFUSED'],
  ])('%s - nothing is removed', async (_, failing, prefix, code) => {
    await using test = await pruneTest()
    await storeFour(test)
    test.store.before = (operation, key) => {
      if (operation === failing && key.startsWith(prefix))
        throw new PgproofError('STORE_UNREACHABLE', { store: 'memory', reason: 'gone' })
    }
    expect((await caught(test.prune())).code).toBe(code)
    expect(test.store.calls.some((call) => call.startsWith('delete'))).toBe(false)
    expect(test.manifests()).toHaveLength(4)
  })

  it('cancelled after the first removal - CANCELLED, and the rest stays whole', async () => {
    await using test = await pruneTest()
    await storeFour(test)
    const controller = new AbortController()
    test.store.before = (operation, key) => {
      if (operation === 'delete' && key.includes('20261112')) controller.abort(new PgproofError('CANCELLED'))
    }
    const error = await caught(runPrune({ isDryRun: false }, test.installation, controller.signal))
    expect(error.code).toBe('CANCELLED')
    expect(labelsOf(test.manifests())).toEqual(['20261111', '20261112', '20261114'])
  })

  it('the newest verified backup is the oldest one - it stays, whatever the policy', async () => {
    await using test = await pruneTest()
    const [first] = await storeFour(test)
    await storeReport(test.store, reportOf(first as Manifest, '2026-11-12T05:00:00Z'))
    await test.prune()
    expect(labelsOf(test.manifests())).toEqual(['20261111', '20261114'])
  })

  it.each([
    ['lacks its dump', (test: PruneTest, key: string) => void test.store.objects.delete(key)],
    ['holds a dump cut short', (test: PruneTest, key: string) => test.store.truncate(key, 7)],
  ])('the newest backup %s - the newest whole one is kept beside it', async (_, spoil) => {
    await using test = await pruneTest()
    await storeFour(test)
    spoil(test, test.store.keys().findLast((key) => key.endsWith('dump.zst.pgp')) ?? '')
    const { plan } = await test.prune()
    expect(labelsOf(test.manifests())).toEqual(['20261113', '20261114'])
    expect(plan.groups[0]?.decisions[1]?.reasons.map(describeKeepReason)).toEqual(['newest', 'last 1 of 1'])
    await storeBackup(test.store, manifestAt('2026-11-15T02:00:00Z'))
    await test.prune()
    expect(labelsOf(test.manifests())).toEqual(['20261115'])
  })

  it('the newest manifest is damaged - held back, since nobody knows what it said; forced, it counts for nothing', async () => {
    await using test = await pruneTest()
    await storeFour(test)
    const newest = test.manifests().at(-1) ?? ''
    test.store.truncate(newest, 20)
    const { plan } = await test.prune()
    expect(test.manifests()).toHaveLength(4)
    expect(plan.groups[0]?.decisions.at(-1)?.reasons.map(describeKeepReason)).toEqual([
      `held back: ${newest} cannot be read`,
    ])
    await test.prune({ isForced: true })
    expect(labelsOf(test.manifests())).toEqual(['20261113', '20261114'])
    expect(test.store.keys().filter((key) => key.includes('20261114'))).toHaveLength(4)
  })

  it('the report that proves the newest verified backup is damaged - held back, and that backup stays', async () => {
    await using test = await pruneTest()
    const [first] = await storeFour(test)
    const key = await storeReport(test.store, reportOf(first as Manifest, '2026-11-12T05:00:00Z'))
    test.store.truncate(key, 10)
    expect(gone(await test.prune())).toEqual([])
    test.store.objects.delete(key)
    expect(gone(await test.prune())).toHaveLength(3)
  })

  it('cancelled, and the policy put back - what it did not come to is not on record as pruned', async () => {
    await using test = await pruneTest()
    await storeFour(test)
    const controller = new AbortController()
    test.store.before = (operation, key) => {
      if (operation === 'delete' && key.includes('20261112')) controller.abort(new PgproofError('CANCELLED'))
    }
    await caught(runPrune({ isDryRun: false }, test.installation, controller.signal))
    const recorded = test.installation.catalog.prunes().flatMap(({ removed }) => removed.map(({ label }) => label))
    expect(recorded.filter((label) => label.startsWith('20261111'))).toEqual([])
  })

  it('a server that is not configured any more - its backups, leftovers and reports are untouched', async () => {
    await using test = await pruneTest({ PGPROOF_DRILL__KEEP_REPORTS: '1d' })
    const [first] = await storeFour(test, { server: 'gone' })
    await storeBackup(test.store, rolesManifestAt(days[0] ?? '', { server: 'gone' }))
    await storeBackup(test.store, rolesManifestAt(days[1] ?? '', { server: 'gone' }))
    await test.store.put('backups/gone/app/20261101T020000Z-4f7k/dump.zst.pgp', Buffer.alloc(9), { signal })
    const lost = { ...(first as Manifest), label: '20261001T020000Z-4f7k' }
    await storeReport(test.store, reportOf(lost, '2026-10-02T05:00:00Z'))
    const before = test.store.keys()
    test.wait(48)
    const result = await test.prune()
    expect([gone(result), result.plan.groups]).toEqual([[], []])
    expect(test.store.keys()).toEqual(before)
  })

  it('roles - pruned by their own policy, beside the databases', async () => {
    await using test = await pruneTest({ PGPROOF_SERVERS__0__ROLES_RETENTION__LAST: '2' })
    await storeFour(test)
    for (const time of days) await storeBackup(test.store, rolesManifestAt(time))
    await test.prune()
    expect(labelsOf(test.manifests())).toEqual(['20261114', '20261113', '20261114'])
  })

  it('only the roles - those stay that a backup needs which only the prune of its database would remove', async () => {
    await using test = await pruneTest()
    for (const time of ['2026-08-01T02:00:00Z', '2026-11-14T02:00:00Z']) await storeBackup(test.store, manifestAt(time))
    const times = ['2026-08-02T01:00:00Z', '2026-10-02T01:00:00Z', '2026-11-13T01:00:00Z']
    for (const time of times) await storeBackup(test.store, rolesManifestAt(time))
    await test.prune({ only: { server: 'main', database: null } })
    expect(labelsOf(test.manifests())).toEqual(['20260801', '20261114', '20260802', '20261113'])
    await test.prune()
    expect(labelsOf(test.manifests())).toEqual(['20261114', '20261113'])
  })

  it('only one database - the other ones, roles and orphans are left alone', async () => {
    await using test = await pruneTest()
    await storeFour(test)
    await storeFour(test, { database: 'other' })
    await test.store.put('backups/main/app/20261101T020000Z-4f7k/dump.zst.pgp', Buffer.alloc(9), { signal })
    test.wait(48)
    await test.prune({ only: { server: 'main', database: 'app' } })
    expect(labelsOf(test.manifests())).toEqual(['20261114', '20261111', '20261112', '20261113', '20261114'])
    expect(test.store.keys().filter((key) => key.includes('20261101'))).toHaveLength(1)
  })

  it('reports - only those go that are old enough and whose backup is gone', async () => {
    await using test = await pruneTest({ PGPROOF_DRILL__KEEP_REPORTS: '7d' })
    const kept = manifestAt('2026-11-10T02:00:00Z')
    await storeBackup(test.store, kept)
    const gone = manifestAt('2026-11-01T02:00:00Z')
    await storeReport(test.store, reportOf(kept, '2026-11-10T05:00:00Z'))
    await storeReport(test.store, reportOf(gone, '2026-11-02T05:00:00Z'))
    await storeReport(test.store, reportOf(gone, '2026-11-17T05:00:00Z'))
    await test.prune()
    const reports = test.store.keys().filter((key) => key.startsWith('drills/'))
    expect(reports.map((key) => key.split('/').at(-1)?.slice(0, 8))).toEqual(['20261110', '20261117'])
  })

  it('a drill of one database runs - its backups and the roles are held, other databases are not', async () => {
    await using test = await pruneTest()
    await storeFour(test)
    await storeFour(test, { database: 'other' })
    for (const time of days) await storeBackup(test.store, rolesManifestAt(time))
    const { catalog, clock } = test.installation
    const run = newRun({ job: 'drill', server: 'main', database: 'app', trigger: 'cli' }, test.installation)
    catalog.updateRun(run.id, { state: 'running', startedAt: clock.now() })
    const result = await test.prune()
    const { plan } = result
    const reasons = plan.groups.map(({ database, decisions }) => [database, ...(decisions[3]?.reasons ?? [])])
    const held = { rule: 'held', detail: 'a drill is running' }
    expect(reasons).toEqual([['app', held], ['other'], [null, held]])
    expect(gone(result)).toHaveLength(3)
    catalog.updateRun(run.id, { state: 'succeeded', finishedAt: clock.now() })
    expect(gone(await test.prune({ isForced: true }))).toHaveLength(6)
  })

  it('a drill begins in the middle of a prune - nothing more is removed', async () => {
    await using test = await pruneTest()
    await storeFour(test)
    const { catalog, clock } = test.installation
    test.store.before = (operation, key) => {
      if (operation !== 'delete' || !key.endsWith('manifest.json')) return
      const run = newRun({ job: 'drill', server: 'main', database: 'app', trigger: 'cli' }, test.installation)
      catalog.updateRun(run.id, { state: 'running', startedAt: clock.now() })
    }
    expect(gone(await test.prune())).toHaveLength(1)
    expect(labelsOf(test.manifests())).toEqual(['20261111', '20261112', '20261114'])
  })

  it('the clock is behind every backup - nothing is removed', async () => {
    await using test = await pruneTest()
    await storeFour(test)
    test.wait(-24 * 30)
    expect(gone(await test.prune())).toEqual([])
    expect(test.manifests()).toHaveLength(4)
  })
})
