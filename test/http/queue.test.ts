import { expect, it } from 'vitest'
import { runSchema } from '../../src/http/answers.ts'
import { queueSchema } from '../../src/http/queue-answer.ts'
import type { HttpServer } from '../../src/http/server.ts'
import { type InProcess, inProcess, testControl } from '../fleet/in-process.ts'
import { busyFleet } from '../support/queue-views.ts'
import { serveQueue } from './serve-queue.ts'
import { now, startTestServer, tokens } from './test-server.ts'

it('a fleet with everything the matter - each of it is told, in ISO times', async () => {
  await using server = await startTestServer({ parts: { queueView: () => busyFleet(new Date(now)) } })
  const answer = (await server.call('GET', '/v1/queue')).as(queueSchema)
  expect(answer).toMatchObject({ isReachable: true, reason: null, asOf: '2026-11-20T12:00:00.000Z' })
  expect(answer.queues[0]).toEqual({
    ...{ name: 'backup', queued: 12, active: 1, failed: 2, oldestQueuedAt: '2026-11-20T11:58:30.000Z' },
    unserved: null,
  })
  expect(answer.dead).toMatchObject([{ job: 'backup', server: 'main', database: 'app', code: 'FLEET_JOB_LOST' }])
  expect(answer.workers.map(({ name, isAlive, hasTurn }) => [name, isAlive, hasTurn])).toEqual([
    ['eu-1', true, true],
    ['prover', true, false],
    ['us-1', false, false],
  ])
  expect(answer.workers[1]?.refused).toMatchObject([{ server: 'main', code: 'FLEET_CONFIG_DIFFERS' }])
  expect(answer.vanished).toEqual([{ server: 'main', database: 'old' }])
})

it('the control database is away - 200, not reachable, and why; the rest as it was', async () => {
  const view = busyFleet(new Date(now), { isReachable: false, reason: 'the control database cannot be used: refused' })
  await using server = await startTestServer({ parts: { queueView: () => view } })
  const answer = (await server.call('GET', '/v1/queue')).as(queueSchema)
  expect(answer).toMatchObject({ isReachable: false, reason: 'the control database cannot be used: refused' })
  expect(answer.workers).toHaveLength(3)
})

it('no token, from another machine - 401; a query that it does not know - 400', async () => {
  await using server = await startTestServer()
  expect((await server.send('GET', '/v1/queue', { host: 'backup.example' })).status).toBe(401)
  expect((await server.call('GET', '/v1/queue?server=main')).problem().code).toBe('REQUEST_INVALID')
})

/** A worker shows what it does every few seconds. */
const patience = { timeout: 40_000 }

/** An instance of a fleet with `serve`. */
async function served({ installation, queue }: InProcess): Promise<HttpServer & AsyncDisposable> {
  const server = await serveQueue(installation, queue)
  return { ...server, [Symbol.asyncDispose]: server.close }
}

it('an order at an instance that takes nothing itself - another worker takes it, is seen at it, and is stopped from here', async () => {
  await using control = await testControl()
  await using viewer = await inProcess(control, 'viewer', { PGPROOF_FLEET__MAY: 'serve' })
  await using taker = await inProcess(control, 'taker', { PGPROOF_FLEET__MAY: 'backup' })
  await using server = await served(viewer)
  const call = async (method: string, path: string, body?: object) => {
    const headers = { authorization: `Bearer ${tokens.backup}`, 'content-type': 'application/json' }
    const init = { method, headers, ...(body === undefined ? {} : { body: JSON.stringify(body) }) }
    const response = await fetch(`${server.address}${path}`, init)
    return { status: response.status, body: (await response.json()) as object }
  }
  viewer.queue.start()
  await viewer.queue.beat()
  const ordered = await call('POST', '/v1/backups', { server: 'main', database: 'a' })
  const { id, worker } = runSchema.parse(ordered.body)
  expect([ordered.status, worker]).toEqual([202, null])
  const queue = async () => queueSchema.parse((await call('GET', '/v1/queue')).body)
  const run = async () => runSchema.parse((await call('GET', `/v1/runs/${id}`)).body)
  const backups = async () => (await queue()).queues.find(({ name }) => name === 'backup')
  await expect.poll(async () => (await backups())?.queued, patience).toBe(1)
  taker.queue.start()
  await expect.poll(async () => (await run()).worker, patience).toBe('taker')
  const taken = (await queue()).workers.find(({ name }) => name === 'taker')
  expect(taken).toMatchObject({ may: ['backup'], isAlive: true, running: [{ run: id, job: 'backup', database: 'a' }] })
  expect((await call('DELETE', `/v1/runs/${id}`)).status).toBe(202)
  await expect.poll(async () => (await run()).state, patience).toBe('cancelled')
  await expect.poll(() => taker.running.size, patience).toBe(0)
})
