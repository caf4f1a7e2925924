import { describe, expect, it } from 'vitest'
import { type ErrorCode, PgproofError } from '../../src/errors.ts'
import { pauseSchedules, resumeSchedules } from '../../src/jobs/pause.ts'
import { newRun } from '../../src/jobs/run-job.ts'
import { manifestAt, reportOf, signal, storeBackup, storeReport } from '../catalog/stored.ts'
import { storeSetOf } from '../support/store-sets.ts'
import { backupAt2, ofBackups, type Process, World } from './world.ts'

const noon = '2026-11-20T12:00:00Z'
const failing = (code: ErrorCode) => async (): Promise<void> => {
  throw new PgproofError(code, { what: 'it', server: 'main', reason: 'test', path: 'x' })
}
/** Hours and minutes of each backup. */
const times = (orders: readonly string[]): string[] => ofBackups(orders).map((order) => order.slice(11, 16))
/** Minutes between them. */
function waits(orders: readonly string[]): number[] {
  const at = ofBackups(orders).map((order) => Date.parse(`${order.slice(0, 16)}Z`) / 60_000)
  return at.slice(1).map((time, index) => time - (at[index] as number))
}

const pause = (daemon: Process, forMs: number, changes: object = {}) =>
  pauseSchedules(
    { server: null, database: null, forMs, reason: 'maintenance', by: 'ops@db2', ...changes },
    { ...daemon.installation, stores: storeSetOf(daemon.store) },
    signal,
  )

describe('a scheduled run that fails', () => {
  it('each time - tried again after ever longer waits, with its number, and anew in the next night', async () => {
    const world = new World(noon, backupAt2)
    world.finish = failing('DUMP_FAILED')
    const daemon = await world.start()
    const night = await world.pass(daemon, '2026-11-21T12:00:00Z', 1)
    expect(world.attempts.filter((_, index) => world.ordered[index]?.startsWith('backup'))).toEqual([
      1, 2, 3, 4, 5, 6, 7, 8,
    ])
    const meant = [5, 10, 20, 40, 60, 60, 60]
    expect(
      waits(night).map((wait, index) => Math.abs(wait - (meant[index] ?? 0)) <= 1 + (meant[index] ?? 0) / 10),
    ).toEqual(meant.map(() => true))
    expect(times(await world.pass(daemon, '2026-11-22T02:00:00Z', 1))).toEqual(['02:00'])
  })

  it('because the server is away for two hours of the night - its backup is taken within the hour after', async () => {
    const world = new World(noon, backupAt2)
    const succeed = world.finish
    world.finish = async (run, here) => {
      if (here.now < new Date('2026-11-21T04:00:00Z')) throw new PgproofError('SERVER_UNREACHABLE', { server: 'main' })
      await succeed(run, here)
    }
    const daemon = await world.start()
    const night = ofBackups(await world.pass(daemon, '2026-11-22T01:00:00Z', 1))
    const last = night.at(-1)?.slice(11, 16) ?? ''
    expect(last >= '04:00' && last <= '05:06').toBe(true)
    expect(night.length).toBeLessThanOrEqual(7)
  })

  it('once - the second attempt succeeds and is the last', async () => {
    const world = new World(noon, backupAt2)
    const succeed = world.finish
    world.finish = async (run, here) => {
      if (run.attempt === 1) throw new PgproofError('DUMP_FAILED')
      await succeed(run, here)
    }
    const daemon = await world.start()
    expect(times(await world.pass(daemon, '2026-11-22T01:00:00Z', 1))).toHaveLength(2)
  })

  it('when it is tried again is known at once, planned, and told of no other run', async () => {
    const world = new World(noon, backupAt2)
    world.finish = failing('DUMP_FAILED')
    const daemon = await world.start()
    await world.pass(daemon, '2026-11-21T02:00:00Z', 60)
    const { catalog } = daemon.installation
    const run = catalog.lastAttempt('main', 'app', 'backup')
    if (run === undefined) throw new Error('nothing was ordered')
    const at = daemon.scheduler.retryAt(run)
    expect(at?.toISOString()).toMatch(/^2026-11-21T02:0[45]/)
    world.now = new Date('2026-11-21T02:01:00Z')
    await daemon.tick()
    expect(daemon.scheduler.planned()).toMatchObject([{ job: 'backup', nextAt: at }])
    const byHand = newRun({ job: 'backup', server: 'main', database: 'app', trigger: 'http' }, daemon.installation)
    expect(daemon.scheduler.retryAt(byHand)).toBeNull()
  })

  it('somebody backs up by hand meanwhile - not tried again', async () => {
    const world = new World(noon, backupAt2)
    world.finish = failing('DUMP_FAILED')
    const daemon = await world.start()
    await world.pass(daemon, '2026-11-21T02:00:00Z', 60)
    await storeBackup(world.store, manifestAt('2026-11-21T02:01:00Z'))
    expect(ofBackups(await world.pass(daemon, '2026-11-22T01:00:00Z', 5))).toEqual([])
  })

  it('locked by another daemon, which is done before the next look - one backup in all', async () => {
    const world = new World(noon, backupAt2)
    world.finish = failing('LOCKED')
    const daemon = await world.start()
    expect(times(await world.pass(daemon, '2026-11-21T03:30:00Z', 1)).length).toBeGreaterThan(3)
    expect(new Set(world.attempts)).toEqual(new Set([1]))
    await storeBackup(world.store, manifestAt('2026-11-21T02:00:03Z'))
    expect(ofBackups(await world.pass(daemon, '2026-11-22T01:00:00Z', 5))).toEqual([])
  })

  it('for want of a key - not again in that night, but at once after a reload', async () => {
    const world = new World(noon, backupAt2)
    world.finish = failing('KEY_UNREADABLE')
    const daemon = await world.start()
    expect(times(await world.pass(daemon, '2026-11-21T08:00:00Z', 5))).toEqual(['02:00'])
    daemon.scheduler.reloaded()
    expect(times(await world.pass(daemon, '2026-11-21T20:00:00Z', 5))).toEqual(['08:05'])
  })

  it('cancelled by somebody - not again before the next due time', async () => {
    const world = new World(noon, backupAt2)
    world.finish = failing('CANCELLED')
    const daemon = await world.start()
    expect(times(await world.pass(daemon, '2026-11-22T02:00:00Z', 5))).toEqual(['02:00', '02:00'])
  })

  it('a drill: failed is a verdict, inconclusive is tried again although its report is in the store', async () => {
    for (const [verdict, code, count] of [
      ['failed', 'EVIDENCE_MISMATCH', 1],
      ['inconclusive', 'SPOOL_FULL', 8],
    ] as const) {
      const world = new World(noon, { PGPROOF_SERVERS__0__SCHEDULE__DRILL: '0 5 * * *' })
      const manifest = manifestAt('2026-11-20T02:00:00Z')
      await storeBackup(world.store, manifest)
      world.finish = async (run, { now, store }) => {
        if (run.job !== 'drill') return
        const changes = { verdict, startedAt: now.toISOString() }
        await storeReport(store, reportOf(manifest, now.toISOString(), changes))
        await failing(code)()
      }
      const daemon = await world.start()
      const orders = await world.pass(daemon, '2026-11-21T12:00:00Z', 1)
      expect(
        orders.filter((order) => order.includes('drill')),
        verdict,
      ).toHaveLength(count)
    }
  })
})

describe('clocks that are set', () => {
  it('put back by two hours after the run - not run twice', async () => {
    const world = new World(noon, backupAt2)
    const daemon = await world.start()
    world.now = new Date('2026-11-21T02:10:00Z')
    expect(ofBackups(await daemon.tick())).toEqual(['backup main app'])
    world.now = new Date('2026-11-21T00:10:00Z')
    expect(times(await world.pass(daemon, '2026-11-22T02:00:00Z', 5))).toEqual(['02:00'])
  })

  it('put back while a failed run waits - tried again at once, not after the clock has caught up', async () => {
    const world = new World(noon, backupAt2)
    world.finish = failing('DUMP_FAILED')
    const daemon = await world.start()
    world.now = new Date('2026-11-21T20:00:00Z')
    await daemon.tick()
    world.now = new Date('2026-11-21T19:00:00Z')
    expect(ofBackups(await daemon.tick())).toEqual(['backup main app'])
  })

  it('put forward by a week - one run for all that was missed', async () => {
    const world = new World(noon, backupAt2)
    const daemon = await world.start()
    world.now = new Date('2026-11-28T01:00:00Z')
    expect(ofBackups(await daemon.tick())).toEqual(['backup main app'])
    expect(times(await world.pass(daemon, '2026-11-28T02:00:00Z', 5))).toEqual(['02:00'])
  })

  it('the machine sleeps most of the day, when the monotonic clock stands still - pruned once a day all the same', async () => {
    const world = new World(noon, {})
    world.monotonic = () => 0
    const daemon = await world.start()
    expect(await world.pass(daemon, '2026-11-23T12:00:00Z', 480)).toEqual([
      '2026-11-20T20:00 prune',
      '2026-11-21T20:00 prune',
      '2026-11-22T20:00 prune',
    ])
  })

  it('put back by a year - the daily prune does not wait for it', async () => {
    const world = new World(noon, {})
    let elapsed = 0
    world.monotonic = () => elapsed
    const daemon = await world.start()
    world.now = new Date('2025-11-20T12:00:00Z')
    elapsed = 3_600_000
    expect(await daemon.tick()).toEqual(['prune'])
  })
})

describe('jitter', () => {
  const jittered = { ...backupAt2, PGPROOF_SERVERS__0__SCHEDULE__JITTER: '50m' }

  it('after the due time, planned so, and at the same minute after each restart and in each night', async () => {
    const world = new World(noon, jittered)
    let daemon = await world.start()
    const nextAt = daemon.scheduler.planned()[0]?.nextAt ?? new Date(0)
    expect(nextAt > new Date('2026-11-21T02:00:00Z') && nextAt < new Date('2026-11-21T02:50:00Z')).toBe(true)
    const seen: string[] = []
    for (const until of [
      '2026-11-21T01:00:00Z',
      '2026-11-21T02:01:00Z',
      '2026-11-21T02:30:00Z',
      '2026-11-22T12:00:00Z',
    ]) {
      seen.push(...times(await world.pass(daemon, until, 1)))
      daemon = await world.start()
    }
    const minute = new Date(Math.ceil(nextAt.getTime() / 60_000) * 60_000).toISOString().slice(11, 16)
    expect(seen).toEqual([minute, minute])
  })

  it('several databases - not all at once', async () => {
    const world = new World(noon, { ...jittered, PGPROOF_SERVERS__0__DATABASES: 'a,b,c,d,e,f' })
    const { scheduler } = await world.start()
    expect(new Set(scheduler.planned().map(({ nextAt }) => nextAt.getTime())).size).toBe(6)
  })
})

describe('pauses', () => {
  it('over two due times - nothing is started, and after the end one run stands for both', async () => {
    const world = new World(noon, backupAt2)
    const daemon = await world.start()
    await pause(daemon, 2 * 86_400_000)
    await daemon.tick()
    expect(daemon.scheduler.planned()).toMatchObject([
      { pausedUntil: new Date('2026-11-22T12:00:00Z'), nextAt: new Date('2026-11-22T12:00:00Z') },
    ])
    const seen = ofBackups(await world.pass(daemon, '2026-11-23T01:00:00Z', 60))
    expect(seen).toEqual(['2026-11-22T12:00 backup main app'])
    expect(daemon.scheduler.planned()).toMatchObject([{ pausedUntil: null, nextAt: new Date('2026-11-23T02:00:00Z') }])
  })

  it('another process pauses right before the due time, and this one is restarted - it holds', async () => {
    const world = new World(noon, backupAt2)
    const daemon = await world.start()
    await world.pass(daemon, '2026-11-21T01:59:00Z', 60)
    await pause(await world.start(), 3_600_000)
    expect(ofBackups(await world.pass(daemon, '2026-11-21T02:30:00Z', 1))).toEqual([])
    expect(times(await world.pass(await world.start(), '2026-11-21T04:00:00Z', 1))).toEqual(['02:59'])
  })

  it('of another job, server or database - no matter', async () => {
    const world = new World(noon, { ...backupAt2, PGPROOF_SERVERS__0__DATABASES: 'app,other' })
    const daemon = await world.start()
    await pause(daemon, 86_400_000, { jobs: ['drill'] })
    await pause(daemon, 86_400_000, { server: 'main', database: 'other' })
    expect(times(await world.pass(daemon, '2026-11-21T02:00:00Z', 60))).toEqual(['02:00'])
  })

  it('ended before its time - what is due runs, at once here and at the next reading elsewhere', async () => {
    const world = new World(noon, backupAt2)
    const daemon = await world.start()
    const paused = await pause(daemon, 86_400_000)
    expect(ofBackups(await world.pass(daemon, '2026-11-21T05:00:00Z', 60))).toEqual([])
    const parts = { ...daemon.installation, stores: storeSetOf(world.store) }
    await resumeSchedules([paused], 'ops@db2', parts, signal)
    expect(ofBackups(await daemon.tick())).toEqual(['backup main app'])
  })

  it('a damaged pause - pauses nothing, and is told as damaged', async () => {
    const world = new World(noon, backupAt2)
    const daemon = await world.start()
    const { label } = await pause(daemon, 86_400_000)
    const key = `pauses/${label}.json`
    const stored = JSON.parse(world.store.text(key)) as object
    await world.store.put(key, Buffer.from(JSON.stringify({ ...stored, until: '2036-01-01T00:00:00Z' })), { signal })
    const restarted = await world.start()
    expect(times(await world.pass(restarted, '2026-11-21T02:00:00Z', 60))).toEqual(['02:00'])
    expect(restarted.installation.catalog.damaged()).toMatchObject([{ key, error: { code: 'STORE_FORMAT_INVALID' } }])
  })
})
