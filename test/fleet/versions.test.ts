import { expect, it } from 'vitest'
import { backup, dueBackup, type InProcess, inProcess, testControl } from './in-process.ts'

const refusedBy = ({ queue, name }: InProcess): string[] =>
  queue
    .view()
    .workers.filter((worker) => worker.name === name)
    .flatMap(({ refused }) => refused.map(({ code }) => code))

it('an older worker beside a newer one - it leaves newer entries alone and says so; those that it can read it takes', async () => {
  await using control = await testControl()
  await using older = await inProcess(control, 'older')
  const run = older.queue.order(backup('a'))
  await older.queue.beat()
  older.running.get(run.id)?.end()
  const [entry] = await control.entries()
  const newer = { ...(entry?.['data'] as object), format: 2, database: 'b', isCompared: true }
  const drill = (data: object): string =>
    `INSERT INTO pgboss.job (name, data, policy, singleton_key) VALUES ('drill', '${JSON.stringify(data)}', 'exclusive', 'b')`
  await control.sql(`SELECT pgboss.create_queue('drill', '{"policy": "exclusive"}')`)
  await control.sql(drill(newer))
  await expect
    .poll(() => older.queue.beat().then(() => refusedBy(older)), { timeout: 30_000 })
    .toEqual(['FLEET_ENTRY_NEWER'])
  expect(await control.entries("name = 'drill'")).toMatchObject([{ state: 'created', retry_count: 0 }])
  older.queue.order(dueBackup('c'))
  await expect.poll(() => older.queue.beat().then(() => older.began), { timeout: 30_000 }).toContain('main/c')
})

it('the tables were upgraded by a newer worker - an older one that starts goes on', async () => {
  await using control = await testControl()
  {
    await using newer = await inProcess(control, 'newer')
    await newer.queue.beat()
    await control.sql('UPDATE pgboss.version SET version = version + 1')
  }
  await using older = await inProcess(control, 'older')
  older.queue.order(backup('a'))
  await older.queue.beat()
  expect(older.began).toEqual(['main/a'])
  expect(older.queue.view().isReachable).toBe(true)
})
