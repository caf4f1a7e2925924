import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Run } from '../../src/catalog/runs.ts'
import type { Order } from '../../src/jobs/orders.ts'
import { pauseSchedules, resumeSchedules } from '../../src/jobs/pause.ts'
import { signal } from '../catalog/stored.ts'
import { testDatabase, testUrl } from '../support/installation.ts'
import { type HeldQueue, heldQueue, patient } from './held-queue.ts'

type Database = Awaited<ReturnType<typeof testDatabase>>

const databases: Database[] = []
beforeAll(async () => {
  for (let count = 0; count < 3; count += 1) databases.push(await testDatabase('template0'))
})
afterAll(async () => {
  for (const database of databases) await database[Symbol.asyncDispose]()
})

type LimitsTest = Omit<HeldQueue, 'order'> & {
  /** Of `main` and `other`, which are the same server; the number is that of a database. */
  order(job: Order['job'], server: string, database: number, trigger?: Order['trigger']): Run
  /** `main 0 running`, as they were ordered. */
  states(): string[]
}

const nameOf = ({ server, database }: Run): string =>
  `${server} ${databases.findIndex(({ name }) => name === database)}`

async function limitsTest(
  settings: Record<string, string>,
  isWanted?: (run: Run) => Promise<boolean>,
): Promise<LimitsTest> {
  const test = await heldQueue(
    { PGPROOF_SERVERS__1__NAME: 'other', PGPROOF_SERVERS__1__URL: testUrl(), ...settings },
    { servers: ['main', 'other'], databases: databases.map(({ name }) => name), nameOf, isWanted },
  )
  return {
    ...test,
    order: (job, server, database, trigger = 'http') =>
      test.order(job, databases[database]?.name ?? '', { server, trigger }),
    states: () =>
      test.installation.catalog
        .runs()
        .filter(({ job }) => job !== 'prune')
        .map((run) => `${nameOf(run)} ${run.state}`)
        .toReversed(),
  }
}

const inAll = (count: number) => ({ PGPROOF_DAEMON__MAX_CONCURRENT: String(count) })

describe('limits', () => {
  it('of a server - its second run waits although there is room, another server’s does not', async () => {
    await using test = await limitsTest({ ...inAll(4), PGPROOF_SERVERS__0__MAX_CONCURRENT: '1' })
    test.order('backup', 'main', 0)
    test.order('backup', 'main', 1)
    test.order('backup', 'other', 2)
    await expect.poll(() => test.begun, patient).toEqual(['main 0', 'other 2'])
    expect(test.states()).toEqual(['main 0 running', 'main 1 queued', 'other 2 running'])
    test.open()
    await test.ended()
    expect(test.begun).toEqual(['main 0', 'other 2', 'main 1'])
  })

  it('one server has three backups and another one - it gets the next place, not the last; the position says so', async () => {
    await using test = await limitsTest(inAll(1))
    for (const database of [0, 1, 2]) test.order('backup', 'main', database)
    await expect.poll(() => test.begun, patient).toEqual(['main 0'])
    const other = test.order('backup', 'other', 1)
    expect(test.queue.position(other.id)).toBe(0)
    test.open()
    await test.ended()
    expect(test.begun).toEqual(['main 0', 'other 1', 'main 1', 'main 2'])
  })

  it('raised by a new configuration - what waited begins at the next look', async () => {
    await using test = await limitsTest(inAll(1))
    for (const database of [0, 1]) test.order('backup', 'main', database)
    await expect.poll(() => test.begun, patient).toEqual(['main 0'])
    test.configure((config) => ({ ...config, daemon: { ...config.daemon, maxConcurrent: 2 } }))
    test.queue.look()
    await expect.poll(() => test.begun, patient).toEqual(['main 0', 'main 1'])
    test.open()
    await test.ended()
  })

  it('the server of a waiting run is gone from a new configuration - the run fails, and is not stuck', async () => {
    await using test = await limitsTest(inAll(1))
    test.order('backup', 'main', 0)
    const waiting = test.order('backup', 'other', 1)
    await expect.poll(() => test.begun, patient).toEqual(['main 0'])
    test.configure((config) => ({ ...config, servers: config.servers.filter(({ name }) => name === 'main') }))
    test.open()
    await test.ended()
    expect(test.installation.catalog.findRun(waiting.id)).toMatchObject({
      state: 'failed',
      error: { code: 'SERVER_UNKNOWN' },
    })
  })
})

describe('while it waits', () => {
  it('another daemon has done it - cancelled, not run', async () => {
    await using test = await limitsTest(inAll(1), async (run) => run.trigger !== 'schedule')
    test.open()
    const run = test.order('backup', 'main', 0, 'schedule')
    await test.ended()
    expect(test.begun).toEqual([])
    expect(test.installation.catalog.findRun(run.id)).toMatchObject({
      state: 'cancelled',
      error: { code: 'CANCELLED' },
    })
  })

  it('its schedule is paused - it waits until the pause ends; an order by hand takes its place', async () => {
    await using test = await limitsTest(inAll(1))
    const { installation, queue } = test
    test.order('backup', 'main', 0)
    test.order('backup', 'main', 1, 'schedule')
    const held = test.order('backup', 'main', 2, 'schedule')
    const wish = { server: 'main', database: null, forMs: 3_600_000, reason: 'test', by: 'test' }
    const pause = await pauseSchedules(wish, installation, signal)
    test.open()
    await expect.poll(() => test.states()[0], { timeout: 30_000 }).toBe('main 0 succeeded')
    expect(test.states().slice(1)).toEqual(['main 1 queued', 'main 2 queued'])
    // They wait for the end of the pause, not for a place: nobody is to be told that it takes long.
    const backups = (): unknown => queue.view().queues.find(({ name }) => name === 'backup')
    expect(backups()).toMatchObject({ queued: 2, oldestQueuedAt: null })
    const byHand = test.order('backup', 'main', 1)
    await expect.poll(() => installation.catalog.findRun(byHand.id)?.state, { timeout: 30_000 }).toBe('succeeded')
    expect(test.states()).toEqual(['main 0 succeeded', 'main 1 cancelled', 'main 2 queued', 'main 1 succeeded'])
    await resumeSchedules([pause], 'test', installation, signal)
    expect(backups()).toMatchObject({ queued: 1, oldestQueuedAt: held.queuedAt })
    queue.look()
    await test.ended()
    expect(test.begun).toEqual(['main 0', 'main 1', 'main 2'])
  })
})
