import { readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { getCACertificates, setDefaultCACertificates } from 'node:tls'
import { describe, expect, it } from 'vitest'
import { type Clock, systemClock } from '../../src/clock.ts'
import { createLog } from '../../src/log.ts'
import { DeliveryQueue, type Outcome, type QueueLimits, usualLimits } from '../../src/notify/delivery-queue.ts'
import type { Notice } from '../../src/notify/notice.ts'
import { webhookChannel } from '../../src/notify/webhook.ts'
import { waitFor } from '../commands/cli.ts'
import { testCertificates } from '../http/certificates.ts'
import { freePort } from '../support/postgres-server.ts'
import { noticeOf, quick, sleeplessClock, webhookTo } from './notices.ts'
import { type Receiver, startReceiver } from './receiver.ts'

const secretPath = '/services/T0SECRET/B0SECRET'

function queueTo(url: string, clock: Clock = systemClock, limits: QueueLimits = quick) {
  const outcomes: Outcome[] = []
  const lines: string[] = []
  const log = createLog({ level: 'debug', format: 'json' }, (line) => lines.push(line))
  const channel = webhookChannel(webhookTo(url, { token: 'T0KEN' }), () => clock.now())
  const queue = new DeliveryQueue<Notice>(
    channel,
    { clock, log, random: () => 1, onOutcome: (outcome) => outcomes.push(outcome), about: ({ title }) => ({ title }) },
    limits,
  )
  return { queue, outcomes, log: () => lines.join('') }
}

const titled = (title: string): Notice => noticeOf({ title })
const titles = (receiver: Receiver): unknown[] => receiver.documents().map(({ title }) => title)

describe('delivery', () => {
  it('500 and 503, then 200 - delivered at the third attempt, with longer waits, and the next one after it', async () => {
    await using receiver = await startReceiver()
    receiver.answer((_, index) => ({ status: [500, 503][index] ?? 200 }))
    const clock = sleeplessClock()
    const { queue, outcomes } = queueTo(`${receiver.origin}${secretPath}`, clock, usualLimits)
    queue.push(titled('first'))
    queue.push(titled('second'))
    await receiver.until(4)
    await waitFor('outcomes', () => outcomes.length === 2)
    expect(titles(receiver)).toEqual(['first', 'first', 'first', 'second'])
    expect(clock.slept).toEqual([1000, 2000])
    expect(outcomes).toEqual(['delivered', 'delivered'])
  })

  it.each([
    ['in seconds', () => '7'],
    ['as a date', (now: Date) => new Date(now.getTime() + 7_000).toUTCString()],
  ])('429 with Retry-After %s - waits so long', async (_, header) => {
    await using receiver = await startReceiver()
    const clock = sleeplessClock()
    receiver.answer((__, index) =>
      index === 0 ? { status: 429, headers: { 'retry-after': header(clock.now()) } } : { status: 204 },
    )
    const { queue, outcomes } = queueTo(receiver.origin, clock, usualLimits)
    queue.push(noticeOf())
    await waitFor('an outcome', () => outcomes.length === 1)
    expect(outcomes).toEqual(['delivered'])
    expect(clock.slept).toHaveLength(1)
    expect(clock.slept[0]).toBeGreaterThan(5_900)
    expect(clock.slept[0]).toBeLessThanOrEqual(7_000)
  })

  it.each([400, 401, 403, 404, 410, 302])('%i - one attempt, failed, the next one is tried', async (status) => {
    await using receiver = await startReceiver()
    receiver.answer((_, index) => ({ status: index === 0 ? status : 200, headers: { location: '/elsewhere' } }))
    const { queue, outcomes, log } = queueTo(`${receiver.origin}${secretPath}`)
    queue.push(titled('first'))
    queue.push(titled('second'))
    await waitFor('outcomes', () => outcomes.length === 2)
    expect(titles(receiver)).toEqual(['first', 'second'])
    expect(outcomes).toEqual(['failed', 'delivered'])
    expect(log()).toContain(`the notice by webhook 127.0.0.1:${receiver.port} could not be delivered`)
    expect(log()).toContain(String(status))
    expect(log()).toContain('NOTICE_FAILED')
    expect(log()).not.toMatch(/SECRET|T0KEN/)
  })

  it('a receiver that never answers - the attempt ends in time and is tried again', async () => {
    await using receiver = await startReceiver()
    receiver.answer((_, index) => (index === 0 ? 'hang' : { status: 200 }))
    const { queue, outcomes, log } = queueTo(`${receiver.origin}${secretPath}`, systemClock, {
      ...quick,
      attemptMs: 100,
    })
    queue.push(noticeOf())
    await waitFor('an outcome', () => outcomes.length === 1)
    expect(outcomes).toEqual(['delivered'])
    expect(log()).toContain('it did not answer in time')
  })

  it('a connection that is cut - tried again', async () => {
    await using receiver = await startReceiver()
    receiver.answer((_, index) => (index === 0 ? 'cut' : { status: 200 }))
    const { queue, outcomes } = queueTo(receiver.origin)
    queue.push(noticeOf())
    await waitFor('an outcome', () => outcomes.length === 1)
    expect(receiver.received).toHaveLength(2)
    expect(outcomes).toEqual(['delivered'])
  })

  it('nobody listens for hours - given up after them, and said without the secret', async () => {
    const port = await freePort()
    const clock = sleeplessClock()
    const { queue, outcomes, log } = queueTo(`http://127.0.0.1:${port}${secretPath}`, clock, usualLimits)
    queue.push(noticeOf())
    await waitFor('an outcome', () => outcomes.length === 1)
    expect(outcomes).toEqual(['failed'])
    const hours = clock.slept.reduce((sum, ms) => sum + ms, 0) / 3_600_000
    expect(hours).toBeGreaterThan(5.5)
    expect(hours).toBeLessThanOrEqual(6)
    expect(Math.max(...clock.slept)).toBe(300_000)
    expect(log()).toContain('ECONNREFUSED')
    expect(log()).not.toMatch(/SECRET|T0KEN/)
  })

  it('a certificate of a CA that nobody trusts - said so, without the path; with that CA it arrives', async () => {
    await using certificates = await testCertificates()
    await certificates.issue('hooks')
    const pem = (name: string): string => readFileSync(certificates.at(name), 'utf8')
    await using receiver = await startReceiver({ key: pem('hooks.key'), cert: pem('hooks.crt') })
    const untrusting = queueTo(`${receiver.origin}${secretPath}`, sleeplessClock(), { ...usualLimits, patienceMs: 1 })
    untrusting.queue.push(noticeOf())
    await waitFor('an outcome', () => untrusting.outcomes.length === 1)
    expect(untrusting.outcomes).toEqual(['failed'])
    expect(untrusting.log()).toMatch(/certificate/)
    expect(untrusting.log()).not.toMatch(/SECRET|T0KEN/)
    expect(receiver.received).toEqual([])

    const usual = getCACertificates('default')
    setDefaultCACertificates([...usual, pem('ca.crt')])
    try {
      const trusting = queueTo(`${receiver.origin}${secretPath}`)
      trusting.queue.push(noticeOf())
      await waitFor('an outcome', () => trusting.outcomes.length === 1)
      expect(trusting.outcomes).toEqual(['delivered'])
    } finally {
      setDefaultCACertificates(usual)
    }
  })

  it('more than may wait - the oldest that wait are dropped, and counted', async () => {
    await using receiver = await startReceiver()
    receiver.answer((_, index) => (index === 0 ? 'hang' : { status: 200 }))
    const { queue, outcomes, log } = queueTo(receiver.origin, systemClock, { ...quick, capacity: 2, attemptMs: 300 })
    for (const title of ['1', '2', '3', '4', '5']) queue.push(titled(title))
    await waitFor('outcomes', () => outcomes.length === 5)
    expect(titles(receiver)).toEqual(['1', '1', '4', '5'])
    expect(outcomes.toSorted()).toEqual(['delivered', 'delivered', 'delivered', 'dropped', 'dropped'])
    expect(log()).toMatch(/NOTICE_FAILED.*"title":"2"/)
    expect(log()).toMatch(/NOTICE_FAILED.*"title":"3"/)
    expect(queue.isIdle()).toBe(true)
    expect(queue.backlog()).toEqual({ count: 0, oldestSince: null })
  })
})

describe('the end of the process', () => {
  it('while it waits to try again - one last attempt at once', async () => {
    await using receiver = await startReceiver()
    receiver.answer((_, index) => ({ status: index === 0 ? 500 : 200 }))
    const { queue, outcomes } = queueTo(receiver.origin, systemClock, { ...quick, firstDelayMs: 3_600_000 })
    queue.push(titled('first'))
    queue.push(titled('second'))
    await receiver.until(1)
    await queue.close(5_000)
    expect(titles(receiver)).toEqual(['first', 'first', 'second'])
    expect(outcomes).toEqual(['delivered', 'delivered'])
    queue.push(titled('too late'))
    expect(queue.isIdle()).toBe(true)
  })

  it('a receiver that hangs - it is over when the time is, and what waits is dropped and said', async () => {
    const server = createServer(() => {}).listen(0, '127.0.0.1')
    await new Promise((listening) => server.once('listening', listening))
    const { port } = server.address() as { port: number }
    const { queue, outcomes, log } = queueTo(`http://127.0.0.1:${port}${secretPath}`, systemClock, usualLimits)
    for (const title of ['1', '2', '3']) queue.push(titled(title))
    const startedMs = performance.now()
    await queue.close(200)
    expect(performance.now() - startedMs).toBeLessThan(2_000)
    expect(outcomes).toEqual(['failed', 'dropped', 'dropped'])
    const lost = log()
      .split('\n')
      .filter((line) => line.includes('NOTICE_FAILED'))
      .map((line) => (JSON.parse(line) as { title?: unknown }).title)
    expect(lost).toEqual(['1', '2', '3'])
    expect(log()).not.toMatch(/SECRET|T0KEN/)
    server.close()
  })

  it('nothing waits - it is over at once', async () => {
    const { queue } = queueTo('http://127.0.0.1:1/')
    const startedMs = performance.now()
    await queue.close(60_000)
    expect(performance.now() - startedMs).toBeLessThan(1_000)
  })
})
