import { expect, it } from 'vitest'
import { Daemon } from '../../src/daemon/daemon.ts'
import { backup, inProcess, testControl } from './in-process.ts'

it('two processes of one name - the first one says so, takes and orders nothing and finishes what it has; it goes on when the other has gone', async () => {
  await using control = await testControl()
  await using first = await inProcess(control, 'same')
  const run = first.queue.order(backup('a'))
  await first.queue.beat()
  expect(first.began).toEqual(['main/a'])
  const seen = (): string | null => first.queue.view().reason
  const signs = (): Promise<unknown[]> => control.entries("name = 'workers'")
  {
    await using second = await inProcess(control, 'same')
    await second.queue.beat()
    await expect.poll(() => first.queue.beat().then(seen), { timeout: 20_000 }).toContain('calls itself "same"')
    expect(first.queue.hasTurn()).toBe(false)
    const { awaited } = new Daemon(first.installation, () => first.queue).isReady()
    expect(awaited).toBe('it can read the store and no other process calls itself by its name')
    // It does not know any more what the others keep.
    expect(first.running.get(run.id)?.objection?.('main')?.code).toBe('FLEET_NAME_TAKEN')
    expect(() => first.queue.order(backup('b'))).toThrow('calls itself "same"')
    second.queue.order(backup('b'))
    await expect.poll(() => second.queue.beat().then(() => second.began), { timeout: 20_000 }).toEqual(['main/b'])
    first.running.get(run.id)?.end()
    await expect
      .poll(() => first.queue.beat().then(() => control.entries(`id = '${run.id}'`)))
      .toMatchObject([{ state: 'completed', output: { state: 'succeeded' } }])
    await expect.poll(() => second.queue.beat().then(() => second.queue.hasTurn()), { timeout: 40_000 }).toBe(true)
    expect([first.queue.view().isReachable, second.queue.view().isReachable]).toEqual([false, true])
    expect(await signs()).toHaveLength(1)
  }
  // It takes its own sign away, and nobody else's.
  expect(await signs()).toEqual([])
  await expect.poll(() => first.queue.beat().then(seen), { timeout: 20_000 }).toBeNull()
  expect(await signs()).toHaveLength(1)
})

it('a process that died and is started again at once - has its name without waiting', async () => {
  await using control = await testControl()
  await using dead = await inProcess(control, 'same')
  await dead.queue.beat()
  await using next = await inProcess(control, 'same')
  next.queue.order(backup('a'))
  await next.queue.beat()
  expect(next.began).toEqual(['main/a'])
})

it('a worker on its way down - prunes nothing any more, and says that it is', async () => {
  await using control = await testControl()
  await using closing = await inProcess(control, 'closing')
  const run = closing.queue.order(backup('a'))
  await closing.queue.beat()
  const hand = closing.running.get(run.id)
  expect(hand?.objection?.('main')).toBeNull()
  const closed = closing.queue.close(60_000)
  expect(hand?.objection?.('main')?.code).toBe('SHUTTING_DOWN')
  const data = () => control.sql("SELECT data->'isClosing' AS is_closing FROM pgboss.job WHERE name = 'workers'")
  await expect.poll(data, { timeout: 20_000 }).toEqual([{ is_closing: true }])
  hand?.end()
  await closed
  expect(await control.entries(`id = '${run.id}'`)).toMatchObject([{ state: 'completed' }])
})
