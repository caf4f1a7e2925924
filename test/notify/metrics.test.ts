import { Registry } from 'prom-client'
import { expect, it } from 'vitest'
import { registerNoticeMetrics } from '../../src/metrics/notice-metrics.ts'
import { waitFor } from '../commands/cli.ts'
import { pingTo, webhookTo } from './notices.ts'
import { startReceiver } from './receiver.ts'
import { start, startWorld } from './world.ts'

it('pgproof_notices_total - from zero on for each kind that is configured; counted by outcome', async () => {
  await using receiver = await startReceiver()
  receiver.answer((_, index) => ({ status: index === 0 ? 200 : 404 }))
  await using world = await startWorld([webhookTo(receiver.origin)])
  const registry = new Registry()
  registerNoticeMetrics(registry, world.notifier)
  const samples = async (): Promise<string[]> =>
    (await registry.metrics()).split('\n').filter((line) => line.startsWith('pgproof_notices_total'))
  expect(await samples()).toEqual([
    'pgproof_notices_total{target="webhook",outcome="delivered"} 0',
    'pgproof_notices_total{target="webhook",outcome="failed"} 0',
    'pgproof_notices_total{target="webhook",outcome="dropped"} 0',
  ])
  world.run('backup', 'app', 'failed')
  world.run('backup', 'app', 'succeeded')
  await receiver.until(2)
  await world.notifier.close(1_000)
  expect(await samples()).toEqual([
    'pgproof_notices_total{target="webhook",outcome="delivered"} 1',
    'pgproof_notices_total{target="webhook",outcome="failed"} 1',
    'pgproof_notices_total{target="webhook",outcome="dropped"} 0',
  ])
})

it('what waits - by the place of the entry, with the time of the oldest, until it is delivered; no secret', async () => {
  await using receiver = await startReceiver()
  let isDown = true
  receiver.answer(({ path }) => ({ status: isDown && path.startsWith('/down') ? 503 : 200 }))
  await using world = await startWorld([
    webhookTo(`${receiver.origin}/well/SECRET`),
    webhookTo(`${receiver.origin}/down/SECRET`),
    pingTo(`${receiver.origin}/ping/SECRET`),
  ])
  const registry = new Registry()
  registerNoticeMetrics(registry, world.notifier)
  const samples = async (): Promise<string[]> =>
    (await registry.metrics()).split('\n').filter((line) => /^pgproof_notice(s_waiting|_oldest)/.test(line))
  const nothing = [
    'pgproof_notices_waiting{entry="notify.0",target="webhook"} 0',
    'pgproof_notices_waiting{entry="notify.1",target="webhook"} 0',
    'pgproof_notices_waiting{entry="notify.2",target="ping"} 0',
  ]
  expect(await samples()).toEqual(nothing)
  world.run('backup', 'app', 'failed')
  world.run('backup', 'app', 'succeeded')
  const failedAt = Date.parse(start) / 1000 + 2
  await waitFor('the others', () => world.notifier.waiting().filter(({ count }) => count === 0).length === 2)
  expect(await samples()).toEqual([
    ...nothing.with(1, 'pgproof_notices_waiting{entry="notify.1",target="webhook"} 2'),
    `pgproof_notice_oldest_waiting_timestamp_seconds{entry="notify.1",target="webhook"} ${failedAt}`,
  ])
  // A reload: what was left by the entry before is still told of, at its place.
  world.now.notify = [pingTo(`${receiver.origin}/ping/SECRET`)]
  expect(await samples()).toEqual([
    'pgproof_notices_waiting{entry="notify.0",target="ping"} 0',
    'pgproof_notices_waiting{entry="notify.1",target="webhook"} 2',
    `pgproof_notice_oldest_waiting_timestamp_seconds{entry="notify.1",target="webhook"} ${failedAt}`,
  ])
  expect(await registry.metrics()).not.toMatch(/SECRET|127\.0\.0\.1/)
  isDown = false
  await waitFor('the rest', () => world.notifier.waiting().length === 1)
  expect(await samples()).toEqual(['pgproof_notices_waiting{entry="notify.0",target="ping"} 0'])
})
