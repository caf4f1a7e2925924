import { describe, expect, it } from 'vitest'
import type { Notice } from '../../src/notify/notice.ts'
import { manifestAt, reportOf, storeReport } from '../catalog/stored.ts'
import { serverConfig } from '../metrics/made-up-catalog.ts'
import { storeSetOf } from '../support/store-sets.ts'
import { webhookTo } from './notices.ts'
import { type Receiver, startReceiver } from './receiver.ts'
import { plannedAt, startWorld } from './world.ts'

const minute = 60_000
const hour = 60 * minute
const day = 24 * hour

/** Everything that has come, once `world` has ended. */
const titles = (receiver: Receiver): unknown[] => receiver.documents().map(({ title }) => title)

describe('runs', () => {
  it('a backup fails for two days - told once and again each day, then its recovery with how long it lasted', async () => {
    await using receiver = await startReceiver()
    await using world = await startWorld([webhookTo(receiver.origin)], {
      manifests: [manifestAt('2026-11-20T02:00:00Z')],
    })
    world.run('backup', 'app', 'failed')
    await world.pass(hour)
    world.run('backup', 'app', 'failed')
    await world.pass(23 * hour)
    world.run('backup', 'app', 'succeeded', { label: 'a-label' })
    await receiver.until(3)
    await world.notifier.close(1_000)
    const runs = receiver.documents().filter(({ condition }) => condition === null) as unknown as Notice[]
    expect(runs.map(({ event, isReminder, title }) => [event, isReminder, title])).toEqual([
      ['failure', false, 'FAILED backup of main/app'],
      ['failure', true, 'STILL FAILING backup of main/app'],
      ['recovery', false, 'RECOVERED backup of main/app'],
    ])
    expect(new Set(runs.map(({ incident }) => incident)).size).toBe(1)
    expect(runs[2]?.text).toMatch(/^Backup of main\/app succeeded at .*, after it had failed for 24 h\.\n/)
    expect(runs.map(({ since }) => since)).toEqual(Array(3).fill('2026-11-20T12:00:01.000Z'))
  })

  it('it fails and is tried again - told with the last one', async () => {
    await using receiver = await startReceiver()
    await using world = await startWorld([webhookTo(receiver.origin)])
    world.now.retryAt = new Date('2026-11-20T13:00:00Z')
    world.run('backup', 'app', 'failed')
    // The scheduler is asked when the run has ended, and not before.
    await Promise.resolve()
    world.now.retryAt = null
    const run = world.begin('backup', 'app', { attempt: 2 })
    world.end(run, 'failed')
    await receiver.until(1)
    await world.notifier.close(1_000)
    expect(receiver.documents()).toMatchObject([{ runId: run.id, event: 'failure' }])
    expect(receiver.documents()[0]?.['text']).toContain(
      'It was tried 2 times.\nThe next one is due at 2026-11-21 02:00',
    )
  })

  it('it has failed for an hour and is still tried again - told, with when', async () => {
    await using receiver = await startReceiver()
    await using world = await startWorld([webhookTo(receiver.origin)])
    world.now.retryAt = new Date('2026-11-20T14:00:00Z')
    world.run('backup', 'app', 'failed')
    await world.pass(hour)
    world.run('backup', 'app', 'failed')
    await receiver.until(1)
    await world.notifier.close(1_000)
    expect(receiver.documents()[0]?.['text']).toContain('\nIt is tried again at 2026-11-20 14:00 UTC.\n')
  })

  it('it fails, and the next try hangs - told after an hour, with that one under way; not again when that one fails', async () => {
    await using receiver = await startReceiver()
    await using world = await startWorld([webhookTo(receiver.origin)])
    world.now.retryAt = new Date('2026-11-20T12:01:00Z')
    world.run('backup', 'app', 'failed')
    await world.pass(minute)
    world.now.retryAt = null
    const hanging = world.begin('backup', 'app', { attempt: 2 })
    await world.pass(58 * minute)
    expect(receiver.received).toEqual([])
    await world.pass(minute)
    await receiver.until(1)
    await world.pass(hour)
    world.end(hanging, 'failed')
    await world.pass(minute)
    await world.notifier.close(1_000)
    expect(titles(receiver)).toEqual(['FAILED backup of main/app'])
    expect(receiver.documents()[0]?.['text']).toContain('\nAnother run of it is under way.\n')
  })

  it('it fails, was to be tried again, and is not any more - told then', async () => {
    await using receiver = await startReceiver()
    await using world = await startWorld([webhookTo(receiver.origin)])
    world.now.retryAt = new Date('2026-11-20T13:00:00Z')
    world.run('backup', 'app', 'failed')
    await world.pass(minute)
    world.now.retryAt = null
    const queued = world.begin('backup', 'app')
    await world.pass(minute)
    world.end(queued, 'cancelled')
    await Promise.resolve()
    expect(receiver.received).toEqual([])
    await world.pass(minute)
    await world.pass(minute)
    await world.notifier.close(1_000)
    expect(titles(receiver)).toEqual(['FAILED backup of main/app'])
  })

  it('somebody takes the backup by hand - the store shows it, and the recovery is told', async () => {
    await using receiver = await startReceiver()
    await using world = await startWorld([webhookTo(receiver.origin)])
    world.run('backup', 'app', 'failed')
    await world.pass(hour)
    const manifest = manifestAt('2026-11-20T12:50:00Z')
    world.catalog.addBackup({ manifest, manifestSha256: 'a'.repeat(64), hasSignature: false }, ['store'])
    await world.pass(minute)
    await world.pass(25 * hour)
    await world.notifier.close(1_000)
    expect(receiver.documents()).toMatchObject([
      { title: 'FAILED backup of main/app' },
      { title: 'RECOVERED backup of main/app', label: manifest.label, runId: null, code: null },
    ])
  })

  const drills = {
    servers: [serverConfig('main', { schedule: { drill: '0 5 * * *' } })],
    planned: [plannedAt('drill', 'app')],
  }

  it('a job that failed is taken out of the schedule - its failure is told no more, and no end of it either', async () => {
    await using receiver = await startReceiver()
    await using world = await startWorld([webhookTo(receiver.origin)], {}, drills)
    world.run('drill', 'app', 'inconclusive')
    await world.pass(hour)
    world.now.servers = [serverConfig('main', { schedule: { backup: '0 2 * * *' } })]
    world.now.planned = [plannedAt('backup', 'app')]
    await world.pass(25 * hour)
    await world.pass(25 * hour)
    await world.notifier.close(1_000)
    expect(titles(receiver)).toEqual(['INCONCLUSIVE drill of main/app'])
  })

  it('somebody orders a drill by hand, and it passes - the report in the store ends the failure', async () => {
    await using receiver = await startReceiver()
    const manifest = manifestAt('2026-11-20T02:00:00Z')
    await using world = await startWorld([webhookTo(receiver.origin)], { manifests: [manifest] }, drills)
    world.run('drill', 'app', 'inconclusive')
    await world.pass(hour)
    await storeReport(world.store, reportOf(manifest, '2026-11-20T12:50:00Z'))
    await world.catalog.refresh(storeSetOf(world.store, world.clock), new AbortController().signal)
    await world.pass(2 * hour)
    await world.notifier.close(1_000)
    expect(titles(receiver)).toEqual(['INCONCLUSIVE drill of main/app', 'RECOVERED drill of main/app'])
  })

  it('a prune after a backup fails, and one of everything succeeds later - that ends the failure', async () => {
    await using receiver = await startReceiver()
    await using world = await startWorld([webhookTo(receiver.origin)], {
      manifests: [manifestAt('2026-11-20T02:00:00Z')],
    })
    world.end(world.begin('prune', 'app'), 'failed')
    await world.pass(hour)
    world.end(world.begin('prune', null, { server: '' }), 'succeeded')
    await world.pass(2 * hour)
    await world.notifier.close(1_000)
    expect(titles(receiver)).toEqual(['FAILED prune of main/app', 'RECOVERED prune of main/app'])
  })

  it('a prune of everything fails - once more after a day, whatever is in the store', async () => {
    await using receiver = await startReceiver()
    await using world = await startWorld([webhookTo(receiver.origin)], {
      manifests: [manifestAt('2026-11-20T02:00:00Z')],
    })
    world.end(world.begin('prune', null, { server: '' }), 'failed')
    await world.pass(25 * hour)
    await world.notifier.close(1_000)
    const ofPrunes = receiver.documents().filter(({ job }) => job === 'prune')
    expect(ofPrunes.map(({ title }) => title)).toEqual([
      'FAILED prune of everything',
      'STILL FAILING prune of everything',
    ])
  })

  it('a drill shows a bad backup, and the next ones cannot be carried out - the verdict is told, then no more', async () => {
    await using receiver = await startReceiver()
    const manifest = manifestAt('2026-11-20T02:00:00Z')
    const reason = { code: 'EVIDENCE_MISMATCH', message: '1 difference: public.secret_table', hint: 'Keep it.' }
    const bad = reportOf(manifest, '2026-11-20T05:00:00Z', { verdict: 'failed', reason })
    await using world = await startWorld([webhookTo(receiver.origin)], { manifests: [manifest], reports: [bad] })
    world.now.retryAt = new Date('2026-11-20T13:00:00Z')
    world.run('drill', 'app', 'failed', { label: bad.label, error: reason })
    world.run('drill', 'app', 'inconclusive')
    world.now.retryAt = null
    await receiver.until(1)
    await world.notifier.close(1_000)
    expect(receiver.documents()).toMatchObject([
      {
        title: 'FAILED drill of main/app',
        verdict: 'failed',
        label: bad.label,
        code: 'EVIDENCE_MISMATCH',
        message: '1 difference',
        newestBackup: null,
        newestVerifiedBackup: null,
      },
    ])
    expect(receiver.received[0]?.body).not.toContain('secret_table')
    expect(receiver.documents()[0]?.['text']).toContain(`Look with: pgproof show ${bad.label}`)
  })

  it('who is told what - by event, job and server; a recovery is a success for who wants only those', async () => {
    await using all = await startReceiver()
    await using drills = await startReceiver()
    await using successes = await startReceiver()
    await using other = await startReceiver()
    await using world = await startWorld([
      webhookTo(all.origin, { on: ['failure', 'recovery', 'success'] }),
      webhookTo(drills.origin, { jobs: ['drill'] }),
      webhookTo(successes.origin, { on: ['success'] }),
      webhookTo(other.origin, { servers: ['other'] }),
    ])
    world.run('backup', 'app', 'failed')
    world.run('backup', 'app', 'succeeded')
    world.run('backup', 'app', 'succeeded')
    world.run('drill', 'app', 'inconclusive')
    world.run('roles', null, 'cancelled')
    world.now.isReloadRefused = true
    await world.pass(minute)
    await world.notifier.close(1_000)
    const events = (receiver: Receiver): unknown[] => receiver.documents().map(({ event, job }) => `${event} ${job}`)
    expect(events(all)).toEqual([
      'failure backup',
      'recovery backup',
      'success backup',
      'failure drill',
      'failure null',
    ])
    expect(events(drills)).toEqual(['failure drill'])
    expect(events(successes)).toEqual(['success backup', 'success backup'])
    expect(events(other)).toEqual([])
  })

  it('a database that is not backed up any more - no reminder of its failure', async () => {
    await using receiver = await startReceiver()
    await using world = await startWorld([webhookTo(receiver.origin)])
    world.run('backup', 'app', 'failed')
    await receiver.until(1)
    world.now.planned = []
    await world.pass(3 * day)
    await world.notifier.close(1_000)
    expect(titles(receiver)).toEqual(['FAILED backup of main/app'])
  })

  it('a server that is not configured any more - no reminder of its failures, and no recovery', async () => {
    await using receiver = await startReceiver()
    await using world = await startWorld([webhookTo(receiver.origin)])
    world.run('backup', 'app', 'failed')
    await receiver.until(1)
    world.now.servers = []
    await world.pass(3 * day)
    await world.notifier.close(1_000)
    expect(titles(receiver)).toEqual(['FAILED backup of main/app'])
  })

  it('what is looked at cannot be made out - the log says so, and runs are told of all the same', async () => {
    await using receiver = await startReceiver()
    await using world = await startWorld([webhookTo(receiver.origin)])
    world.now.notifyTest = '0 0 30 2 *'
    await world.pass(0)
    world.run('backup', 'app', 'failed')
    await receiver.until(1)
    await world.notifier.close(1_000)
    expect(world.log()).toMatch(/schedule \\+"0 0 30 2 \*.*"a notice could not be made"/)
    expect(titles(receiver)).toEqual(['FAILED backup of main/app'])
  })

  it('progress changes a run a thousand times, also after its end - one notice', async () => {
    await using receiver = await startReceiver()
    await using world = await startWorld([webhookTo(receiver.origin)])
    const run = world.begin('backup', 'app')
    for (let doneBytes = 0; doneBytes < 1000; doneBytes += 1)
      world.catalog.updateRun(run.id, { progress: { doneBytes } })
    world.end(run, 'failed')
    world.catalog.updateRun(run.id, { progress: { doneBytes: 1000 } })
    await world.notifier.close(1_000)
    expect(titles(receiver)).toEqual(['FAILED backup of main/app'])
  })

  it('a restart while a backup fails - told once more by the new process, and no recovery that nobody waits for', async () => {
    await using receiver = await startReceiver()
    const before = await startWorld([webhookTo(receiver.origin)])
    before.run('backup', 'app', 'failed')
    await before.notifier.close(1_000)
    await using after = await startWorld([webhookTo(receiver.origin)])
    after.run('roles', null, 'succeeded')
    after.run('backup', 'app', 'failed')
    await after.notifier.close(1_000)
    expect(titles(receiver)).toEqual(['FAILED backup of main/app', 'FAILED backup of main/app'])
    await using third = await startWorld([webhookTo(receiver.origin)])
    third.run('backup', 'app', 'succeeded')
    await third.notifier.close(1_000)
    expect(receiver.received).toHaveLength(2)
  })

  it('another configuration - the new receiver is told from then on, the old one gets what it was to get', async () => {
    await using old = await startReceiver()
    await using fresh = await startReceiver()
    old.answer((_, index) => ({ status: index === 0 ? 500 : 200 }))
    await using world = await startWorld([webhookTo(old.origin)])
    world.run('backup', 'app', 'failed')
    await old.until(1)
    world.now.notify = [webhookTo(fresh.origin)]
    world.run('backup', 'app', 'succeeded')
    await Promise.all([old.until(2), fresh.until(1)])
    await world.notifier.close(1_000)
    expect(new Set(titles(old))).toEqual(new Set(['FAILED backup of main/app']))
    expect(titles(fresh)).toEqual(['RECOVERED backup of main/app'])
  })

  it('a receiver that hangs - runs and the other receivers do not wait, and closing ends in time', async () => {
    await using hanging = await startReceiver()
    await using receiver = await startReceiver()
    hanging.answer(() => 'hang')
    const world = await startWorld([webhookTo(hanging.origin), webhookTo(receiver.origin)])
    const startedMs = performance.now()
    world.run('backup', 'app', 'failed')
    expect(performance.now() - startedMs).toBeLessThan(500)
    await receiver.until(1)
    await hanging.until(1)
    await world.notifier.close(100)
    expect(performance.now() - startedMs).toBeLessThan(5_000)
    expect(world.notifier.counts()).toContainEqual({ target: 'webhook', outcome: 'delivered', count: 1 })
    expect(world.notifier.counts()).toContainEqual({ target: 'webhook', outcome: 'failed', count: 1 })
    const lost = world
      .log()
      .split('\n')
      .find((line) => line.includes('NOTICE_FAILED'))
    expect(JSON.parse(lost ?? '')).toMatchObject({
      target: `notify.0 (webhook 127.0.0.1:${hanging.port})`,
      ...{ title: 'FAILED backup of main/app', event: 'failure' },
      incident: receiver.documents()[0]?.['incident'],
    })
    expect(receiver.documents()[0]?.['incident']).toEqual(expect.any(String))
  })
})
