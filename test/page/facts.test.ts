import { describe, expect, it } from 'vitest'
import type { Config } from '../../src/config/config.ts'
import type { Manifest } from '../../src/domain/manifest.ts'
import type { Installation } from '../../src/jobs/installation.ts'
import { type PageFacts, placeKey, readPageFacts } from '../../src/page/facts.ts'
import { manifestAt, recordOf, reportOf } from '../catalog/stored.ts'
import { type Contents, clockAt, madeUpCatalog } from '../metrics/made-up-catalog.ts'

const app = { server: 'main', database: 'app' }

async function factsAt(instant: string, timezone: string, contents: Contents): Promise<PageFacts> {
  const clock = clockAt(instant)
  const { catalog } = await madeUpCatalog(clock, contents)
  const installation = { catalog, clock, config: { timezone } as Config } as unknown as Installation
  return readPageFacts({ installation }, [app])
}

/** `2026-11-20 passed` for each day on which there is or was a backup. */
function daysOf({ days, calendars }: PageFacts): readonly string[] {
  const states = calendars.get(placeKey(app))?.days ?? []
  return states.flatMap(({ state, backups }, index) =>
    state === 'none' ? [] : [`${days[index]?.toISOString().slice(0, 10)} ${state}${backups > 1 ? ` ${backups}` : ''}`],
  )
}

describe('the calendar of backups', () => {
  it('twelve weeks up to today - begin on a Monday, whatever day it is', async () => {
    for (const day of ['16', '18', '22']) {
      const { days } = await factsAt(`2026-11-${day}T12:00:00Z`, 'UTC', {})
      expect(days[0]?.toISOString()).toBe('2026-08-31T00:00:00.000Z')
      expect(days.at(-1)?.toISOString()).toBe(`2026-11-${day}T00:00:00.000Z`)
    }
  })

  it('each verdict, and none - is the state of its day; of several the one that matters most', async () => {
    const at = (day: number, hour = 2): Manifest => manifestAt(new Date(Date.UTC(2026, 10, day, hour)).toISOString())
    const reason = { code: 'X', message: 'x', hint: 'x' }
    const facts = await factsAt('2026-11-20T12:00:00Z', 'UTC', {
      manifests: [at(16), at(17), at(18), at(19), at(20), at(20, 8), at(20, 9)],
      reports: [
        reportOf(at(16), '2026-11-20T03:00:00Z'),
        reportOf(at(17), '2026-11-20T04:00:00Z', { verdict: 'failed', reason }),
        reportOf(at(18), '2026-11-20T05:00:00Z', { verdict: 'inconclusive', reason }),
        reportOf(at(20), '2026-11-20T06:00:00Z'),
      ],
    })
    expect(daysOf(facts)).toEqual([
      '2026-11-16 passed',
      '2026-11-17 failed',
      '2026-11-18 inconclusive',
      '2026-11-19 undrilled',
      '2026-11-20 passed 3',
    ])
  })

  it('days of 23 and 25 hours in the zone of the configuration - each backup is on the day that the clocks showed', async () => {
    const snapshots = ['2026-10-24T21:59:59Z', '2026-10-24T22:00:00Z', '2026-10-25T22:59:59Z', '2026-10-25T23:00:00Z']
    const manifests = snapshots.map((time) => manifestAt(time))
    const autumn = await factsAt('2026-11-20T12:00:00Z', 'Europe/Berlin', { manifests })
    expect(daysOf(autumn)).toEqual(['2026-10-24 undrilled', '2026-10-25 undrilled 2', '2026-10-26 undrilled'])
    const spring = ['2026-03-28T22:59:59Z', '2026-03-28T23:00:00Z', '2026-03-29T21:59:59Z', '2026-03-29T22:00:00Z']
    const facts = await factsAt('2026-04-20T12:00:00Z', 'Europe/Berlin', {
      manifests: spring.map((time) => manifestAt(time)),
    })
    expect(daysOf(facts)).toEqual(['2026-03-28 undrilled', '2026-03-29 undrilled 2', '2026-03-30 undrilled'])
  })

  it('a backup that a prune removed - leaves its day as pruned, not as one without a backup', async () => {
    const removed = [
      manifestAt('2026-11-10T02:00:00Z'),
      manifestAt('2026-11-11T02:00:00Z'),
      manifestAt('2026-01-01T02:00:00Z'),
    ]
    const longAgo = recordOf([manifestAt('2026-01-01T03:00:00Z')], '2026-01-05T04:00:00Z')
    const kept = manifestAt('2026-11-11T08:00:00Z')
    const facts = await factsAt('2026-11-20T12:00:00Z', 'UTC', {
      manifests: [kept],
      records: [recordOf(removed), longAgo],
    })
    expect(daysOf(facts)).toEqual(['2026-11-10 pruned', '2026-11-11 undrilled'])
  })

  it('backups from before the weeks shown - are counted by verdict, with the oldest', async () => {
    const old = [
      manifestAt('2026-01-05T02:00:00Z'),
      manifestAt('2026-03-01T02:00:00Z'),
      manifestAt('2026-08-30T23:59:59Z'),
    ]
    const reports = [reportOf(old[1] as Manifest, '2026-03-02T02:00:00Z')]
    const facts = await factsAt('2026-11-20T12:00:00Z', 'UTC', { manifests: old, reports })
    expect(daysOf(facts)).toEqual([])
    expect(facts.calendars.get(placeKey(app))?.older).toEqual({
      ...{ passed: 1, failed: 0, inconclusive: 0, undrilled: 2 },
      oldest: new Date('2026-01-05T02:00:00Z'),
    })
  })

  it('a day passes, and a backup is added - the calendar is made anew', async () => {
    const clock = clockAt('2026-11-20T23:59:00Z')
    const { catalog } = await madeUpCatalog(clock, { manifests: [manifestAt('2026-11-20T02:00:00Z')] })
    const installation = { catalog, clock, config: { timezone: 'UTC' } as Config } as unknown as Installation
    const read = (): PageFacts => readPageFacts({ installation }, [app])
    expect(read().calendars.get(placeKey(app))).toBe(read().calendars.get(placeKey(app)))
    clock.advance(120_000)
    expect(read().days.at(-1)?.toISOString()).toBe('2026-11-21T00:00:00.000Z')
    expect(daysOf(read())).toEqual(['2026-11-20 undrilled'])
    const manifest = manifestAt('2026-11-21T00:00:30Z')
    catalog.addBackup({ manifest, manifestSha256: 'e'.repeat(64), hasSignature: false }, ['store'])
    expect(daysOf(read())).toEqual(['2026-11-20 undrilled', '2026-11-21 undrilled'])
  })
})

describe('the restore times of a database', () => {
  it('more drills than are shown, some without a restore time - the newest that have one, the oldest first', async () => {
    const manifest = manifestAt('2026-10-01T02:00:00Z')
    const reports = Array.from({ length: 30 }, (_, index) => {
      const finishedAt = new Date(Date.UTC(2026, 9, 2 + index)).toISOString()
      return reportOf(manifest, finishedAt, { restoreTimeSeconds: index % 10 === 9 ? null : index })
    })
    const facts = await factsAt('2026-11-20T12:00:00Z', 'UTC', { manifests: [manifest], reports })
    const seconds = (facts.restoreTimes.get(placeKey(app)) ?? []).map((time) => time.seconds)
    expect(seconds).toHaveLength(24)
    expect([seconds[0], seconds.at(-1)]).toEqual([3, 28])
  })
})
