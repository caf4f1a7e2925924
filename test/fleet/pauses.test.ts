import { expect, it } from 'vitest'
import { backup, dueBackup, type InProcess, inProcess, testControl } from './in-process.ts'

/** From now on, as if it had been read from the store. */
function pause({ installation }: InProcess, database: string): void {
  const now = Date.now()
  installation.catalog.addPause(
    {
      ...{
        format: 1,
        kind: 'pause',
        label: `20261121T020000Z-000${database}`,
        server: 'main',
        database,
        jobs: ['backup'],
      },
      ...{ since: new Date(now - 1000).toISOString(), until: new Date(now + 3_600_000).toISOString() },
      ...{ reason: 'maintenance', by: 'ops' },
    },
    ['store'],
  )
}

it('a pause of what waits in the queue already - held back, the rest goes on; when it is over it is taken', async () => {
  await using control = await testControl()
  await using view = await inProcess(control, 'view', { PGPROOF_FLEET__MAY: 'serve' })
  const held = view.queue.order(dueBackup('a'))
  view.queue.order(dueBackup('b'))
  await view.queue.beat()
  await using worker = await inProcess(control, 'worker')
  pause(worker, 'a')
  const beat = (): Promise<void> => worker.queue.beat()
  await beat()
  await beat()
  expect(worker.began).toEqual(['main/b'])
  expect(await control.entries(`id = '${held.id}'`)).toMatchObject([{ state: 'created', retry_count: 0 }])
  expect(worker.installation.catalog.findRun(held.id)).toMatchObject({ state: 'queued' })
  // Over for everybody else, and the next look has come.
  await using other = await inProcess(control, 'other')
  await control.sql('UPDATE pgboss.job SET start_after = now() WHERE state < $$active$$')
  await other.queue.beat()
  expect(other.began).toEqual(['main/a'])
})

it('a person orders what a pause holds back - it takes the place of what waits, and runs', async () => {
  await using control = await testControl()
  await using worker = await inProcess(control, 'worker')
  pause(worker, 'a')
  const held = worker.queue.order(dueBackup('a'))
  await worker.queue.beat()
  await worker.queue.beat()
  expect(worker.began).toEqual([])
  const run = worker.queue.order(backup('a'))
  await worker.queue.beat()
  expect(worker.began).toEqual(['main/a'])
  expect(worker.running.has(run.id)).toBe(true)
  expect(worker.installation.catalog.findRun(held.id)?.state).toBe('cancelled')
  expect(await control.entries(`id = '${held.id}'`)).toMatchObject([{ state: 'cancelled' }])
})

it('of two that wait a pause holds the older one back - both are counted, the other one is the oldest', async () => {
  await using control = await testControl()
  await using view = await inProcess(control, 'view', { PGPROOF_FLEET__MAY: 'serve' })
  view.queue.order(dueBackup('a'))
  await view.queue.beat()
  view.queue.order(dueBackup('b'))
  await view.queue.beat()
  // The queue is looked at again.
  await using again = await inProcess(control, 'again', { PGPROOF_FLEET__MAY: 'serve' })
  await again.queue.beat()
  const [older, younger] = (await control.entries()).map(({ created_on }) => created_on)
  const backups = (): unknown => again.queue.view().queues.find(({ name }) => name === 'backup')
  expect(backups()).toMatchObject({ queued: 2, oldestQueuedAt: older })
  pause(again, 'a')
  expect(backups()).toMatchObject({ queued: 2, oldestQueuedAt: younger })
  pause(again, 'b')
  expect(backups()).toMatchObject({ queued: 2, oldestQueuedAt: null })
})
