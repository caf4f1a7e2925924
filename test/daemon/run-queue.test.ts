import { execSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Run } from '../../src/catalog/runs.ts'
import { RunQueue } from '../../src/daemon/run-queue.ts'
import { PgproofError } from '../../src/errors.ts'
import type { Order } from '../../src/jobs/orders.ts'
import { testDatabase, testInstallation, testUrl } from '../support/installation.ts'
import { query } from '../support/postgres-server.ts'
import { standIn } from '../support/stand-ins.ts'
import { type HeldQueue, heldQueue, patient } from './held-queue.ts'

type Database = Awaited<ReturnType<typeof testDatabase>>

type QueueTest = Omit<HeldQueue, 'order'> & {
  order(job: Order['job'], database: Database): Run
  state(run: Run): Pick<Run, 'state'> & { code: string | null }
}

let app: Database
let shop: Database
beforeAll(async () => {
  app = await testDatabase('template0')
  shop = await testDatabase('template0')
})
afterAll(async () => {
  await app[Symbol.asyncDispose]()
  await shop[Symbol.asyncDispose]()
})

async function queueTest(settings: Record<string, string> = {}): Promise<QueueTest> {
  const test = await heldQueue(settings, {
    databases: [app.name, shop.name],
    nameOf: ({ job, database }) => `${job} ${database === app.name ? 'app' : 'shop'}`,
  })
  return {
    ...test,
    order: (job, { name }) => test.order(job, name),
    state: ({ id }) => {
      const run = test.installation.catalog.findRun(id)
      return { state: run?.state ?? 'queued', code: run?.error?.code ?? null }
    },
  }
}

const one = { PGPROOF_DAEMON__MAX_CONCURRENT: '1' }
const codeOf = (act: () => unknown): string => {
  try {
    act()
    return 'accepted'
  } catch (error) {
    return error instanceof PgproofError ? error.code : String(error)
  }
}

describe('run queue', () => {
  it('a drill waits and a backup comes - the backup goes first', async () => {
    await using test = await queueTest(one)
    test.order('backup', app)
    await expect.poll(() => test.begun, patient).toEqual(['backup app'])
    const drill = test.order('drill', app)
    const backup = test.order('backup', shop)
    expect([test.queue.position(backup.id), test.queue.position(drill.id)]).toEqual([0, 1])
    test.open()
    await test.ended()
    expect(test.begun).toEqual(['backup app', 'backup shop', 'drill app'])
    expect(test.state(backup)).toEqual({ state: 'succeeded', code: null })
    const prunes = test.installation.catalog.runs().filter(({ job }) => job === 'prune')
    expect(prunes.map(({ trigger }) => trigger)).toEqual(['backup', 'backup'])
  })

  it('several drills wait - they leave one place to the backup that comes due meanwhile', async () => {
    await using test = await queueTest({ PGPROOF_DAEMON__MAX_CONCURRENT: '2' })
    test.order('drill', app)
    const second = test.order('drill', shop)
    await expect.poll(() => test.begun, patient).toEqual(['drill app'])
    expect(test.queue.position(second.id)).toBe(0)
    test.order('backup', shop)
    await expect.poll(() => test.begun, patient).toEqual(['drill app', 'backup shop'])
    test.open()
    await test.ended()
    expect(test.begun).toEqual(['drill app', 'backup shop', 'drill shop'])
  })

  it('a sync runs and a drill comes - the drill leaves the other place to the backup that comes due meanwhile', async () => {
    await using test = await queueTest({ PGPROOF_DAEMON__MAX_CONCURRENT: '2' })
    const listing = Promise.withResolvers<void>()
    test.store.before = async (operation) => {
      if (operation === 'list') await listing.promise
    }
    const sync = test.queue.order({ job: 'sync', server: '', database: null, trigger: 'schedule' })
    await expect.poll(() => test.state(sync).state, patient).toBe('running')
    const drill = test.order('drill', app)
    const backup = test.order('backup', shop)
    await expect.poll(() => test.state(backup).state, patient).toBe('running')
    expect(test.state(drill).state).toBe('queued')
    listing.resolve()
    await test.ended()
    expect(test.state(backup)).toEqual({ state: 'succeeded', code: null })
  })

  it('one run per database - the same order is LOCKED, another job waits although there is room', async () => {
    await using test = await queueTest({ PGPROOF_DAEMON__MAX_CONCURRENT: '4' })
    test.order('backup', app)
    expect(codeOf(() => test.order('backup', app))).toBe('LOCKED')
    const drill = test.order('drill', app)
    expect(codeOf(() => test.order('drill', app))).toBe('LOCKED')
    test.order('backup', shop)
    await expect.poll(() => test.begun, patient).toEqual(['backup app', 'backup shop'])
    expect(test.state(drill).state).toBe('queued')
    test.open()
    await test.ended()
    expect(test.begun).toEqual(['backup app', 'backup shop', 'drill app'])
  })

  it.each([
    ['an unknown server', { job: 'backup', server: 'nope', database: 'app' }, 'SERVER_UNKNOWN'],
    [
      'a database that is excluded',
      { job: 'backup', server: 'main', database: 'template9' },
      'DATABASE_NOT_CONFIGURED',
    ],
    ['a drill without a backup', { job: 'drill', server: 'main', database: 'never' }, 'NO_BACKUP'],
    [
      'a drill of an unknown backup',
      { job: 'drill', server: 'main', database: 'never', wish: { backup: '20200101T000000Z-aaaa' } },
      'LABEL_UNKNOWN',
    ],
  ] as const)('%s - refused, no run is recorded', async (_, order, code) => {
    await using test = await queueTest({ PGPROOF_SERVERS__0__EXCLUDE: 'template*' })
    expect(codeOf(() => test.queue.order({ ...order, trigger: 'http' }))).toBe(code)
    expect(test.installation.catalog.runs()).toEqual([])
  })

  it('cancelled - a queued run never begins, a running one ends and leaves nothing, a finished one stays', async () => {
    await using test = await queueTest(one)
    const running = test.order('backup', app)
    await expect.poll(() => test.begun, patient).toEqual(['backup app'])
    const queued = test.order('drill', shop)
    expect(test.queue.cancel(queued.id)).toMatchObject({ state: 'cancelled', error: { code: 'CANCELLED' } })
    await expect.poll(() => test.store.calls.some((call) => call.startsWith('write')), patient).toBe(true)
    test.queue.cancel(running.id)
    test.open()
    await test.ended()
    expect(test.state(running)).toEqual({ state: 'cancelled', code: 'CANCELLED' })
    expect(test.begun).toEqual(['backup app'])
    expect(test.store.keys()).toHaveLength(8)
    expect(codeOf(() => test.queue.cancel(running.id))).toBe('RUN_FINISHED')
    expect(codeOf(() => test.queue.cancel('nope'))).toBe('RUN_UNKNOWN')
    expect(test.queue.isBusy()).toBe(false)
  })

  it('closed while a run can still finish - it succeeds; what waited is cancelled, nothing new is taken', async () => {
    await using test = await queueTest(one)
    const running = test.order('backup', app)
    await expect.poll(() => test.begun, patient).toEqual(['backup app'])
    const queued = test.order('backup', shop)
    const closed = test.queue.close(60 * 24 * 3_600_000)
    expect(codeOf(() => test.order('drill', shop))).toBe('SHUTTING_DOWN')
    expect(test.state(queued)).toEqual({ state: 'cancelled', code: 'SHUTTING_DOWN' })
    test.open()
    await closed
    expect(test.state(running)).toEqual({ state: 'succeeded', code: null })
    expect(test.begun).toEqual(['backup app'])
  })

  it.each<[string, (answer: PromiseWithResolvers<boolean>) => void]>([
    ['it is', ({ resolve }) => resolve(true)],
    [
      'that is broken off with the rest',
      ({ reject }) => reject(new PgproofError('CANCELLED', { what: 'the refresh' })),
    ],
  ])(
    'closed while a run is still asked whether it is wanted, and %s - cancelled, and nothing of it begins',
    async (_, say) => {
      const asked = Promise.withResolvers<void>()
      const answer = Promise.withResolvers<boolean>()
      await using test = await heldQueue(one, {
        databases: [app.name],
        nameOf: ({ job }) => job,
        isWanted: async () => {
          asked.resolve()
          return await answer.promise
        },
      })
      const { id } = test.order('backup', app.name)
      await asked.promise
      const closed = test.queue.close(60_000)
      say(answer)
      await closed
      expect(test.installation.catalog.findRun(id)).toMatchObject({
        state: 'cancelled',
        error: { code: 'SHUTTING_DOWN' },
      })
      expect(test.begun).toEqual([])
    },
  )

  it('closed while pg_dump sleeps - aborted after the grace, nothing left anywhere', async () => {
    await using folder = await testInstallation()
    const bin = standIn(
      folder.folder,
      'pg_dump',
      `"$REAL" "$@" | head -c 300; touch ${folder.folder}/begun; exec sleep 617`,
    )
    await using test = await queueTest({ PGPROOF_POSTGRES__BIN_DIRS: bin })
    test.open()
    const run = test.order('backup', app)
    await expect.poll(() => existsSync(`${folder.folder}/begun`), { timeout: 20_000 }).toBe(true)
    await test.queue.close(100)
    expect(test.state(run)).toEqual({ state: 'cancelled', code: 'SHUTTING_DOWN' })
    expect(test.store.keys()).toHaveLength(8)
    expect(test.store.unfinished).toEqual([])
    expect(execSync('ps -eo args').toString()).not.toMatch(/sleep 617/)
    const sessions = `SELECT pid FROM pg_stat_activity WHERE datname = '${app.name}'`
    await expect.poll(() => query(testUrl(), sessions), { timeout: 5_000 }).toEqual([])
  })
})

it('a backup of a database that its server has not - DATABASE_NOT_FOUND, nothing is queued', async () => {
  await using test = await testInstallation()
  const queue = new RunQueue(test.installation, undefined, (_server, database) => database === app.name)
  const order = (database: string): Run => queue.order({ job: 'backup', server: 'main', database, trigger: 'http' })
  expect(() => order('nope')).toThrow(expect.objectContaining({ code: 'DATABASE_NOT_FOUND', httpStatus: 404 }) as Error)
  expect(test.installation.catalog.runs()).toEqual([])
  await queue.close(0)
})

it('a drill whose store is away - inconclusive: it says nothing about the backup', async () => {
  await using test = await testInstallation()
  await test.run('backup', app.name)
  test.store.before = (operation) => {
    if (operation === 'get') throw new PgproofError('STORE_UNREACHABLE', { store: 'memory', reason: 'gone' })
  }
  await expect(test.run('drill', app.name))
    .rejects.toBeDefined()
    .catch(() => {})
  test.store.before = () => {}
  expect(test.installation.catalog.runs().find(({ job }) => job === 'drill')).toMatchObject({ state: 'inconclusive' })
})
