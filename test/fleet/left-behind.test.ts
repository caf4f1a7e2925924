import { expect, it } from 'vitest'
import { type Clock, systemClock } from '../../src/clock.ts'
import { PgproofError } from '../../src/errors.ts'
import { backup, dueBackup, inProcess, testControl } from './in-process.ts'

/** A clock whose waiting times pass when the test says so. */
function passing(): Clock & { pass(ms: number): void } {
  let passedMs = 0
  return {
    ...systemClock,
    monotonicMs: () => systemClock.monotonicMs() + passedMs,
    pass: (ms) => {
      passedMs += ms
    },
  }
}

it('the configuration of a server changes while its backup waits - who has the turn orders it anew', async () => {
  await using control = await testControl()
  await using before = await inProcess(control, 'before', {
    PGPROOF_FLEET__MAY: 'serve',
    PGPROOF_SERVERS__0__EXCLUDE: 'x',
  })
  const lost = before.queue.order(dueBackup('a'))
  before.queue.order(backup('b'))
  await before.queue.beat()
  await control.sql("UPDATE pgboss.job SET created_on = created_on - interval '2 minutes' WHERE name = 'backup'")
  const clock = passing()
  await using worker = await inProcess(control, 'worker', {}, clock)
  await worker.queue.beat()
  expect([worker.queue.hasTurn(), worker.began]).toEqual([true, []])
  clock.pass(20_000)
  await worker.queue.beat()
  // What a person ordered stays: he sees why nobody takes it.
  expect(await control.entries()).toMatchObject([{ singleton_key: expect.stringContaining('"b"') }])
  expect(await control.entries(`id = '${lost.id}'`)).toEqual([])
  expect(worker.installation.catalog.findRun(lost.id)).toMatchObject({ error: { code: 'FLEET_QUEUE_LOST' } })
  const again = worker.queue.order(dueBackup('a', 'main', 2))
  clock.pass(400_000)
  await worker.queue.beat()
  expect(await control.entries(`id = '${again.id}'`)).toHaveLength(1)
})

it('an entry whose place in the queue is not what it says itself - refused once in a look, the worker goes on', async () => {
  await using control = await testControl()
  await using before = await inProcess(control, 'before', {
    PGPROOF_FLEET__MAY: 'serve',
    PGPROOF_SERVERS__0__EXCLUDE: 'x',
  })
  before.queue.order(backup('a'))
  await before.queue.beat()
  await control.sql("UPDATE pgboss.job SET group_id = 'elsewhere' WHERE name = 'backup'")
  await using worker = await inProcess(control, 'worker')
  await worker.queue.beat()
  expect(worker.began).toEqual([])
  expect(await control.entries()).toMatchObject([{ state: 'created', retry_count: 0 }])
})

it('on its way down while it asks the store whether a backup is wanted - put back, not cancelled', async () => {
  await using control = await testControl()
  const stopped = async (): Promise<boolean> => {
    throw new PgproofError('CANCELLED', { what: 'reading the store' })
  }
  await using worker = await inProcess(control, 'worker', {}, systemClock, stopped)
  const { id } = worker.queue.order(dueBackup('a', 'main', 2))
  await worker.queue.beat()
  await worker.queue.close(0)
  expect(worker.began).toEqual([])
  expect(await control.entries(`id = '${id}'`)).toMatchObject([{ state: 'created', retry_count: 0 }])
})

it('a worker with the turn is stopped while it backs up - the turn is free, it shows that it lives, what ends is told', async () => {
  await using control = await testControl()
  await using leaving = await inProcess(control, 'leaving')
  const runs = ['a', 'b'].map((database) => leaving.queue.order(backup(database)))
  await leaving.queue.beat()
  expect([leaving.queue.hasTurn(), leaving.running.size]).toEqual([true, 2])
  const closed = leaving.queue.close(120_000)
  await using other = await inProcess(control, 'other', { PGPROOF_FLEET__MAY: 'backup' })
  const clock = passing()
  await using third = await inProcess(control, 'third', {}, clock)
  await expect
    .poll(
      async () => {
        clock.pass(20_000)
        await third.queue.beat()
        return [leaving.queue.hasTurn(), third.queue.hasTurn()]
      },
      { timeout: 20_000 },
    )
    .toEqual([false, true])
  expect(leaving.running.size).toBe(2)
  const seenAt = async (): Promise<unknown> =>
    (await control.entries("name = 'workers' AND singleton_key = 'leaving'"))[0]?.['data']
  const atFirst = await seenAt()
  leaving.running.get(runs[0]?.id ?? '')?.end()
  await expect
    .poll(async () => (await control.entries(`id = '${runs[0]?.id}'`))[0]?.['state'], { timeout: 20_000 })
    .toBe('completed')
  await expect.poll(seenAt, { timeout: 20_000 }).not.toEqual(atFirst)
  leaving.running.get(runs[1]?.id ?? '')?.end()
  await closed
  expect(await control.entries("state = 'completed' --")).toHaveLength(2)
  expect(other.began).toEqual([])
})
