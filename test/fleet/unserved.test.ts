import { expect, it } from 'vitest'
import { withUnserved } from '../../src/fleet/unserved.ts'
import type { QueueCounts, WorkerView } from '../../src/jobs/queue-view.ts'
import { serverConfig } from '../metrics/made-up-catalog.ts'
import { worker } from '../support/queue-views.ts'
import { inProcess, testControl } from './in-process.ts'

it('a server has a label that no worker has - said after a minute, by its reason; it is not the next to start', async () => {
  await using control = await testControl()
  const settings = {
    PGPROOF_SERVERS__1__NAME: 'hr',
    PGPROOF_SERVERS__1__URL: 'postgres://nobody@127.0.0.1:1/postgres',
    PGPROOF_SERVERS__1__DATABASES: 'a',
    PGPROOF_SERVERS__1__LABEL: 'us',
    PGPROOF_FLEET__MAY: 'backup,serve',
  }
  await using one = await inProcess(control, 'eu-1', settings)
  const order = (server: string, job: 'backup' | 'roles' = 'backup') => {
    const database = job === 'roles' ? null : 'a'
    return one.queue.order({ job, server, database, trigger: 'http' })
  }
  const [labelled, roles] = [order('hr'), order('hr', 'roles')]
  await one.queue.beat()
  await control.sql("UPDATE pgboss.job SET created_on = created_on - interval '50 seconds' WHERE name <> 'workers'")
  const unserved = async () => {
    await one.queue.beat()
    return one.queue.view().queues.flatMap((queue) => queue.unserved ?? [])
  }
  expect(await unserved()).toEqual([])
  await control.sql("UPDATE pgboss.job SET created_on = created_on - interval '50 seconds' WHERE name <> 'workers'")
  await expect
    .poll(unserved, { timeout: 20_000 })
    .toEqual(['no living worker takes the queue backup.us: server hr has the label us'])
  expect([labelled, roles].map(({ id }) => one.queue.position(id))).toEqual([null, null])
  // What somebody takes is not behind it.
  const places = ['b', 'c', 'd'].map((database) =>
    one.queue.order({ job: 'backup', server: 'main', database, trigger: 'http' }),
  )
  expect(places.map(({ id }) => one.queue.position(id))).toEqual([0, 1, 2])
  await using other = await inProcess(control, 'us-1', { ...settings, PGPROOF_FLEET__LABELS: 'us' })
  await other.queue.beat()
  await expect.poll(unserved, { timeout: 20_000 }).toEqual([])
})

it('nobody may drill, or the only one who may is dead - is said as that; what somebody takes is not', () => {
  const asOf = new Date()
  const ago = new Date(asOf.getTime() - 61_000)
  const queues = ['backup', 'drill', 'backup.us'].map((name): QueueCounts => {
    return { name, queued: 1, active: 0, failed: 0, oldestQueuedAt: ago }
  })
  const dead = worker(ago, { name: 'prover', may: ['drill'], isAlive: false })
  const reasons = (workers: WorkerView[]) =>
    withUnserved({ asOf, queues, workers }, [serverConfig('hr', { label: 'us' })]).queues.map(
      ({ unserved }) => unserved,
    )
  expect(reasons([worker(asOf, { labels: ['us'] }), dead])).toEqual([null, 'no living worker may drill', null])
  // One on its way down takes nothing any more.
  expect(reasons([worker(asOf, { isClosing: true }), dead])[0]).toBe('no living worker may back up')
  expect(reasons([dead])[0]).toBe('no living worker may back up')
  // Not known yet.
  expect(reasons([])).toEqual([null, null, null])
})
