import { describe, expect, it } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { backup, dueBackup, inProcess, testControl } from './in-process.ts'

const twoServers = {
  PGPROOF_SERVERS__1__NAME: 'other',
  PGPROOF_SERVERS__1__URL: 'postgres://postgres@127.0.0.1:1/postgres',
  PGPROOF_SERVERS__1__DATABASES: 'a,b',
}

describe('what is due', () => {
  it('ordered by two workers at once - one entry; the other one sees its run', async () => {
    await using control = await testControl()
    await using one = await inProcess(control, 'one', { PGPROOF_FLEET__MAY: 'serve' })
    await using other = await inProcess(control, 'other', { PGPROOF_FLEET__MAY: 'serve' })
    const runs = [one, other].map(({ queue }) => queue.order(dueBackup('a')))
    expect(runs[0]?.id).toBe(runs[1]?.id)
    await Promise.all([one.queue.beat(), other.queue.beat()])
    expect(await control.entries()).toMatchObject([{ state: 'created', id: runs[0]?.id }])
    expect([one, other].map(({ installation }) => installation.catalog.runs().length)).toEqual([1, 1])
  })

  it('done before by another worker - ordered again, it is what became of it', async () => {
    await using control = await testControl()
    await using one = await inProcess(control, 'one')
    const run = one.queue.order(dueBackup('a'))
    await one.queue.beat()
    one.running.get(run.id)?.end()
    await expect.poll(() => one.installation.catalog.findRun(run.id)?.state).toBe('succeeded')
    await one.queue.beat()
    await using other = await inProcess(control, 'other')
    other.queue.order(dueBackup('a'))
    await other.queue.beat()
    expect(other.installation.catalog.findRun(run.id)).toMatchObject({ state: 'succeeded', worker: 'one' })
    expect(other.began).toEqual([])
    expect(await control.entries()).toHaveLength(1)
  })

  it('of a place that a person has ordered meanwhile - locked, and to be tried again', async () => {
    await using control = await testControl()
    await using one = await inProcess(control, 'one', { PGPROOF_FLEET__MAY: 'serve' })
    await using other = await inProcess(control, 'other', { PGPROOF_FLEET__MAY: 'serve' })
    one.queue.order(backup('a'))
    await one.queue.beat()
    const run = other.queue.order(dueBackup('a'))
    await other.queue.beat()
    expect(other.installation.catalog.findRun(run.id)).toMatchObject({ state: 'failed', error: { code: 'LOCKED' } })
  })
})

describe('limits and turns', () => {
  it('one server with many, another with few - they take turns; per server, in all and per worker no more than allowed', async () => {
    await using control = await testControl()
    const settings = {
      ...twoServers,
      PGPROOF_SERVERS__0__MAX_CONCURRENT: '2',
      PGPROOF_DAEMON__MAX_CONCURRENT: '3',
      PGPROOF_FLEET__MAX_BACKUPS: '4',
    }
    await using view = await inProcess(control, 'view', { ...settings, PGPROOF_FLEET__MAY: 'serve' })
    for (const database of ['a', 'b', 'c', 'd', 'e', 'f']) view.queue.order(dueBackup(database))
    await view.queue.beat()
    for (const database of ['a', 'b']) view.queue.order(dueBackup(database, 'other'))
    await view.queue.beat()
    const waiting = await control.entries("state = 'created' ORDER BY priority DESC, created_on --")
    expect(waiting.slice(0, 4).map(({ group_id: server }) => server)).toContain('other')
    await using one = await inProcess(control, 'one', settings)
    await using other = await inProcess(control, 'other', settings)
    await Promise.all([one.queue.beat(), other.queue.beat()])
    const began = [...one.began, ...other.began]
    expect(began).toHaveLength(4)
    expect(began.filter((place) => place.startsWith('main/'))).toHaveLength(2)
    expect([one, other].every(({ running }) => running.size <= 3)).toBe(true)
  })

  it('drills and backups wait - the backup first, and a drill never takes the last of several places', async () => {
    await using control = await testControl()
    await using view = await inProcess(control, 'view', { PGPROOF_FLEET__MAY: 'serve' })
    view.queue.order({ job: 'sync', server: '', database: null, trigger: 'http' })
    await view.queue.beat()
    await using worker = await inProcess(control, 'worker')
    await worker.queue.beat()
    expect([...worker.running.values()].map(({ run }) => run.job)).toEqual(['sync'])
    view.queue.order(backup('a'))
    await view.queue.beat()
    await worker.queue.beat()
    expect([...worker.running.values()].map(({ run }) => run.job)).toEqual(['sync', 'backup'])
  })

  it('a server with a label - only a worker with that label takes its backups', async () => {
    await using control = await testControl()
    const labelled = { PGPROOF_SERVERS__0__LABEL: 'eu' }
    await using one = await inProcess(control, 'one', labelled)
    one.queue.order(backup('a'))
    await one.queue.beat()
    expect(one.began).toEqual([])
    await using other = await inProcess(control, 'other', { ...labelled, PGPROOF_FLEET__LABELS: 'eu' })
    await other.queue.beat()
    expect(other.began).toEqual(['main/a'])
  })
})

describe('entries that a worker must not carry out', () => {
  it('of a server that it knows otherwise - put back, refused in its sign of life; who agrees takes it', async () => {
    await using control = await testControl()
    await using view = await inProcess(control, 'view', { PGPROOF_FLEET__MAY: 'serve' })
    view.queue.order(backup('a'))
    await view.queue.beat()
    await using other = await inProcess(control, 'other', { PGPROOF_SERVERS__0__EXCLUDE: 'x' })
    await other.queue.beat()
    expect(other.began).toEqual([])
    expect(await control.entries()).toMatchObject([{ state: 'created', retry_count: 0 }])
    const signs = async (): Promise<unknown> =>
      (await control.entries("name = 'workers' AND singleton_key = 'other'"))[0]?.['data']
    await expect
      .poll(
        async () => {
          await other.queue.beat()
          return await signs()
        },
        { timeout: 20_000 },
      )
      .toMatchObject({ refused: [{ server: 'main', code: 'FLEET_CONFIG_DIFFERS' }] })
    await using agrees = await inProcess(control, 'agrees')
    await agrees.queue.beat()
    expect(agrees.began).toEqual(['main/a'])
  })

  it('unreadable - set aside, with what is wrong and not what it holds; newer or of another store - left in the queue', async () => {
    await using control = await testControl()
    await using worker = await inProcess(control, 'worker')
    const run = worker.queue.order(backup('a'))
    await worker.queue.beat()
    const [entry] = await control.entries()
    const data = entry?.['data'] as object
    worker.running.get(run.id)?.end()
    const insert = (one: object): Promise<unknown> =>
      control.sql(
        `INSERT INTO pgboss.job (name, data, policy, singleton_key) VALUES ('backup', '${JSON.stringify(one)}', 'exclusive', md5(random()::text))`,
      )
    await insert({ format: 1, job: 'rm -rf /', server: 'main' })
    await expect
      .poll(
        async () => {
          await worker.queue.beat()
          return await control.entries("name = 'dead'")
        },
        { timeout: 20_000 },
      )
      .toMatchObject([{ data: { code: 'FLEET_ENTRY_INVALID' } }])
    expect(JSON.stringify(await control.entries("name = 'dead'"))).not.toContain('rm -rf')
    await insert({ ...data, storeId: 'another' })
    await worker.queue.beat()
    expect(await control.entries("state = 'created' AND name = 'backup'")).toMatchObject([{ retry_count: 0 }])
    await using other = await inProcess(control, 'other')
    await control.sql("UPDATE pgboss.job SET data = '{\"format\": 2}' WHERE state = 'created' AND name = 'backup'")
    await other.queue.beat()
    expect(await control.entries("state = 'created' AND name = 'backup'")).toMatchObject([{ retry_count: 0 }])
    expect([...worker.began, ...other.began]).toEqual(['main/a'])
  })
})

describe('a queue that is lost or of another time', () => {
  it('its tables dropped while a run goes on - made anew; the run ends, and what waited is known to be lost', async () => {
    await using control = await testControl()
    await using view = await inProcess(control, 'view', { PGPROOF_FLEET__MAY: 'serve' })
    const run = view.queue.order(backup('a'))
    await view.queue.beat()
    await using worker = await inProcess(control, 'worker')
    await worker.queue.beat()
    expect(worker.began).toEqual(['main/a'])
    await control.sql('DROP SCHEMA pgboss CASCADE')
    await expect
      .poll(
        async () => {
          await worker.queue.beat()
          return worker.queue.view().isReachable
        },
        { timeout: 30_000 },
      )
      .toBe(true)
    worker.running.get(run.id)?.end()
    await expect.poll(() => worker.installation.catalog.findRun(run.id)?.state).toBe('succeeded')
    await worker.queue.beat()
    expect(worker.queue.view().isReachable).toBe(true)
    expect(await control.entries()).toEqual([])
  })

  it('a clock ten minutes behind - what is not yet due by it is left to others, and counts for its due time', async () => {
    await using control = await testControl()
    const behind = { ...systemClock, now: () => new Date(Date.now() - 600_000) }
    await using right = await inProcess(control, 'right', { PGPROOF_FLEET__MAY: 'serve' })
    const { due, ...order } = dueBackup('a')
    const justNow = new Date(Date.now() - 300_000)
    right.queue.order({ ...order, due: { until: new Date('2126-01-01'), runs: 1, ...due, time: justNow } })
    await right.queue.beat()
    await using wrong = await inProcess(control, 'wrong', {}, behind)
    await wrong.queue.beat()
    await wrong.queue.beat()
    expect(wrong.began).toEqual([])
    await control.sql('UPDATE pgboss.job SET start_after = now()')
    await using other = await inProcess(control, 'other')
    await other.queue.beat()
    expect(other.began).toEqual(['main/a'])
  })

  it('a clock ten minutes ahead beside one that is right - it gives up the turn; alone it keeps it', async () => {
    await using control = await testControl()
    const ahead = { ...systemClock, now: () => new Date(Date.now() + 600_000) }
    await using wrong = await inProcess(control, 'wrong', {}, ahead)
    const beats = async (worker: typeof wrong): Promise<boolean> => {
      await worker.queue.beat()
      return worker.queue.hasTurn()
    }
    await expect.poll(() => beats(wrong), { timeout: 20_000 }).toBe(true)
    await using right = await inProcess(control, 'right')
    await expect
      .poll(
        async () => {
          await wrong.queue.beat()
          return await beats(right)
        },
        { timeout: 40_000 },
      )
      .toBe(true)
    expect(wrong.queue.hasTurn()).toBe(false)
  })
})
