import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { RunQueue } from '../../src/daemon/run-queue.ts'
import { runSchema } from '../../src/http/answers.ts'
import { queueSchema } from '../../src/http/queue-answer.ts'
import { manifestAt, signal, storeBackup } from '../catalog/stored.ts'
import { type TestInstallation, testInstallation } from '../support/installation.ts'
import { storeSetOf } from '../support/store-sets.ts'
import { serveQueue } from './serve-queue.ts'
import { tokens } from './test-server.ts'

/** The API with the queue that the daemon has. Drills stop before they read anything, until `open` is called. */
async function queueServer() {
  const test: TestInstallation = await testInstallation({ PGPROOF_SERVERS__0__DATABASES: 'app,empty' })
  const { installation, store } = test
  await storeBackup(store, manifestAt('2026-11-20T02:00:00Z', { database: 'app' }))
  await installation.catalog.refresh(storeSetOf(store), signal)
  const gate = Promise.withResolvers<void>()
  store.before = async (operation, key) => {
    if (operation === 'get' && key.endsWith('manifest.json')) await gate.promise
  }
  const queue = new RunQueue(installation)
  const server = await serveQueue(installation, queue)
  const call = async (method: string, path: string, body?: object) => {
    const headers = { authorization: `Bearer ${tokens.backup}`, 'content-type': 'application/json' }
    const init = { method, headers, ...(body === undefined ? {} : { body: JSON.stringify(body) }) }
    const response = await fetch(`${server.address}${path}`, init)
    return { status: response.status, body: (await response.json()) as Record<string, unknown> }
  }
  return {
    catalog: installation.catalog,
    call,
    open: () => gate.resolve(),
    [Symbol.asyncDispose]: async () => {
      gate.resolve()
      await server.close()
      await queue.close(0)
      await test[Symbol.asyncDispose]()
    },
  }
}

let server: Awaited<ReturnType<typeof queueServer>>
beforeAll(async () => {
  server = await queueServer()
})
afterAll(async () => await server[Symbol.asyncDispose]())

describe.sequential('orders at the queue of the daemon', () => {
  it.each([
    ['/v1/drills', { server: 'nowhere', database: 'app' }, 404, 'SERVER_UNKNOWN'],
    ['/v1/drills', { server: 'main', database: 'unknown' }, 404, 'DATABASE_NOT_CONFIGURED'],
    ['/v1/drills', { server: 'main', database: 'empty' }, 409, 'NO_BACKUP'],
    ['/v1/drills', { server: 'main', database: 'app', backup: '20200101T000000Z-aaaa' }, 404, 'LABEL_UNKNOWN'],
    ['/v1/backups', { server: 'main', database: 'unknown' }, 404, 'DATABASE_NOT_CONFIGURED'],
    ['/v1/backups', { server: 'nowhere', roles: true }, 404, 'SERVER_UNKNOWN'],
  ] as const)('POST %s with %o - %i %s, nothing started', async (path, body, status, code) => {
    const reply = await server.call('POST', path, body)
    expect([reply.status, reply.body['code']]).toEqual([status, code])
    expect(server.catalog.runs()).toEqual([])
  })

  it('a drill while one runs - 409 that names it; cancelled twice while it cleans up - 202 twice, then 409', async () => {
    const first = await server.call('POST', '/v1/drills', { server: 'main', database: 'app' })
    const { id } = runSchema.parse(first.body)
    await expect.poll(() => server.catalog.findRun(id)?.state).toBe('running')
    const again = await server.call('POST', '/v1/drills', { server: 'main', database: 'app' })
    expect([again.status, again.body['code'], again.body['run']]).toEqual([409, 'LOCKED', id])
    expect(server.catalog.runs().length).toBe(1)
    const { workers, ...rest } = queueSchema.parse((await server.call('GET', '/v1/queue')).body)
    expect(rest).toMatchObject({ isReachable: true, dead: [], vanished: [] })
    expect(workers).toMatchObject([
      { isAlive: true, hasTurn: true, running: [{ run: id, job: 'drill', database: 'app' }] },
    ])

    for (const _ of [1, 2]) {
      const reply = await server.call('DELETE', `/v1/runs/${id}`)
      expect([reply.status, reply.body['state']]).toEqual([202, 'running'])
    }
    server.open()
    await expect.poll(() => server.catalog.findRun(id)?.state, { timeout: 20_000 }).toBe('cancelled')
    const late = await server.call('DELETE', `/v1/runs/${id}`)
    expect([late.status, late.body['code']]).toEqual([409, 'RUN_FINISHED'])
  })
})
