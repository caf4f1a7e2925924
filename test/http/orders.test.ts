import { describe, expect, it } from 'vitest'
import { runSchema } from '../../src/http/answers.ts'
import { IdempotencyKeys } from '../../src/http/idempotency.ts'
import { clockAt, madeUpCatalog } from '../metrics/made-up-catalog.ts'
import { now, startTestServer, TestOrders } from './test-server.ts'

const order = { server: 'main', database: 'app' }
const label = '20261120T020000Z-4f7k'

describe('ordering', () => {
  it('a drill - 202, where to look, and the queued run with its position', async () => {
    await using server = await startTestServer()
    server.orders.order({ job: 'backup', server: 'main', database: 'other', trigger: 'schedule' })
    const reply = await server.call('POST', '/v1/drills', { as: 'drill', body: order })
    const run = reply.as(runSchema)
    expect([reply.status, reply.headers.get('location')]).toEqual([202, `/v1/runs/${run.id}`])
    expect(run).toMatchObject({ job: 'drill', ...order, state: 'queued', trigger: 'http', position: 1 })
    expect(server.orders.taken.at(-1)).toEqual({ job: 'drill', ...order, trigger: 'http', wish: {} })
  })

  it.each([
    [{ backup: label }, { backup: label }],
    [{ pick: 'latest' }, { pick: 'latest' }],
    [
      { pick: 'random', seed: 0 },
      { pick: 'random', seed: 0 },
    ],
  ])('a drill with %o - is ordered with that wish', async (extra, wish) => {
    await using server = await startTestServer()
    await server.call('POST', '/v1/drills', { as: 'drill', body: { ...order, ...extra } })
    expect(server.orders.taken.map((taken) => taken.wish)).toEqual([wish])
  })

  it('a backup of a database, and of roles - are orders of those jobs', async () => {
    await using server = await startTestServer()
    const ofDatabase = await server.call('POST', '/v1/backups', { as: 'backup', body: order })
    const ofRoles = await server.call('POST', '/v1/backups', { as: 'backup', body: { server: 'main', roles: true } })
    expect([ofDatabase.as(runSchema).job, ofRoles.as(runSchema).job]).toEqual(['backup', 'roles'])
    expect(ofRoles.as(runSchema).database).toBe(null)
  })

  it.each([
    ['/v1/drills', { server: 'main', backup: label }],
    ['/v1/drills', { database: 'app' }],
    ['/v1/drills', { ...order, database: 7 }],
    ['/v1/drills', { ...order, database: '' }],
    ['/v1/drills', { ...order, backup: '../../pgproof.json' }],
    ['/v1/drills', { ...order, backup: label, pick: 'latest' }],
    ['/v1/drills', { ...order, backup: label, seed: 1 }],
    ['/v1/drills', { ...order, pick: 'oldest' }],
    ['/v1/drills', { ...order, seed: -1 }],
    ['/v1/drills', { ...order, seed: 1.5 }],
    ['/v1/drills', { ...order, url: 'postgres://evil/' }],
    ['/v1/backups', { server: 'main' }],
    ['/v1/backups', { ...order, roles: true }],
    ['/v1/backups', { server: 'main', roles: false }],
    ['/v1/backups', { ...order, evidence: 'off' }],
  ])('POST %s with %o - 400, nothing ordered', async (path, body) => {
    await using server = await startTestServer()
    const reply = await server.call('POST', path, { as: 'backup', body })
    expect([reply.status, reply.problem().code]).toEqual([400, 'REQUEST_INVALID'])
    expect(server.orders.taken).toEqual([])
  })

  it('while the same goes on - 409 that names the run, and nothing else is started', async () => {
    await using server = await startTestServer()
    const { id } = (await server.call('POST', '/v1/drills', { as: 'drill', body: order })).as(runSchema)
    const again = await server.call('POST', '/v1/drills', { as: 'drill', body: { ...order, seed: 7 } })
    expect(again.problem()).toMatchObject({
      status: 409,
      code: 'LOCKED',
      run: id,
      detail: 'drill of main/app is locked by another run',
    })
    expect(again.headers.get('location')).toBe(`/v1/runs/${id}`)
    expect(server.orders.taken.length).toBe(1)
  })

  it('what the queue refuses - is passed on with its code, status and hint', async () => {
    await using server = await startTestServer()
    const unknown = await server.call('POST', '/v1/drills', { as: 'drill', body: { ...order, server: 'x' } })
    expect(unknown.problem()).toMatchObject({ status: 404, code: 'SERVER_UNKNOWN', hint: 'Known servers: main.' })
    await server.call('POST', '/v1/drills', { as: 'drill', body: order })
    const again = await server.call('POST', '/v1/drills', { as: 'drill', body: order })
    expect(again.problem()).toMatchObject({ status: 409, code: 'LOCKED', retryable: true })
    server.orders.isClosed = true
    const late = await server.call('POST', '/v1/backups', { as: 'backup', body: order })
    expect(late.problem()).toMatchObject({ status: 503, code: 'SHUTTING_DOWN' })
  })
})

describe('cancelling', () => {
  it('once - 202 and the run is cancelled; twice - 409; something unknown - 404', async () => {
    await using server = await startTestServer()
    const { id } = (await server.call('POST', '/v1/drills', { as: 'drill', body: order })).as(runSchema)
    const cancelled = await server.call('DELETE', `/v1/runs/${id}`, { as: 'drill' })
    expect([cancelled.status, cancelled.as(runSchema).state]).toEqual([202, 'cancelled'])
    expect((await server.call('DELETE', `/v1/runs/${id}`, { as: 'drill' })).problem().code).toBe('RUN_FINISHED')
    expect((await server.call('DELETE', '/v1/runs/x', { as: 'drill' })).problem().code).toBe('RUN_UNKNOWN')
  })

  it('again while the run still cleans up - 202 each time with the run as it is', async () => {
    await using server = await startTestServer()
    const { id } = (await server.call('POST', '/v1/drills', { as: 'drill', body: order })).as(runSchema)
    server.orders.endsSlowly = true
    for (const _ of [1, 2]) {
      const reply = await server.call('DELETE', `/v1/runs/${id}`, { as: 'drill' })
      expect([reply.status, reply.as(runSchema).state]).toEqual([202, 'queued'])
    }
    server.catalog.updateRun(id, { state: 'cancelled', finishedAt: new Date(now) })
    expect((await server.call('DELETE', `/v1/runs/${id}`, { as: 'drill' })).problem().code).toBe('RUN_FINISHED')
  })

  it('with a content type and no body, as some clients send it - is a cancellation all the same', async () => {
    await using server = await startTestServer()
    const { id } = (await server.call('POST', '/v1/drills', { as: 'drill', body: order })).as(runSchema)
    const headers = { 'content-type': 'application/json' }
    expect((await server.call('DELETE', `/v1/runs/${id}`, { as: 'drill', headers })).status).toBe(202)
  })
})

describe('Idempotency-Key', () => {
  const headers = { 'idempotency-key': 'nightly 1' }

  it('the same order again - the same run, nothing ordered twice', async () => {
    await using server = await startTestServer()
    const first = await server.call('POST', '/v1/drills', { as: 'drill', headers, body: order })
    const body = `  {"database": "app",   "server": "main"}`
    const json = { ...headers, 'content-type': 'application/json' }
    const again = await server.call('POST', '/v1/drills', { as: 'drill', headers: json, body })
    expect([again.status, again.as(runSchema).id]).toEqual([202, first.as(runSchema).id])
    expect(again.headers.get('location')).toBe(first.headers.get('location'))
    expect(server.orders.taken.length).toBe(1)
  })

  it('the same order after the run has ended - tells how it ended, and orders nothing', async () => {
    await using server = await startTestServer()
    const { id } = (await server.call('POST', '/v1/drills', { as: 'drill', headers, body: order })).as(runSchema)
    server.catalog.updateRun(id, { state: 'succeeded', finishedAt: new Date(now) })
    const again = (await server.call('POST', '/v1/drills', { as: 'drill', headers, body: order })).as(runSchema)
    expect([again.id, again.state, server.orders.taken.length]).toEqual([id, 'succeeded', 1])
  })

  it('another order under the same key - 422, nothing ordered', async () => {
    await using server = await startTestServer()
    await server.call('POST', '/v1/drills', { as: 'backup', headers, body: order })
    const others = [
      ['/v1/drills', { ...order, database: 'other' }],
      ['/v1/drills', { ...order, seed: 1 }],
      ['/v1/backups', order],
    ] as const
    for (const [path, body] of others) {
      const reply = await server.call('POST', path, { as: 'backup', headers, body })
      expect([reply.status, reply.problem().code]).toEqual([422, 'IDEMPOTENCY_CONFLICT'])
    }
    expect(server.orders.taken.length).toBe(1)
  })

  it('the same key of another token - is another key', async () => {
    await using server = await startTestServer()
    await server.call('POST', '/v1/drills', { as: 'drill', headers, body: order })
    const other = await server.call('POST', '/v1/drills', { as: 'backup', headers, body: { ...order, database: 'b' } })
    expect(other.status).toBe(202)
    expect(server.orders.taken.length).toBe(2)
  })

  it('an order that was refused - is not kept: the same key may order later', async () => {
    await using server = await startTestServer()
    const blocking = server.orders.order({ job: 'drill', ...order, trigger: 'schedule' })
    expect((await server.call('POST', '/v1/drills', { as: 'drill', headers, body: order })).status).toBe(409)
    server.orders.cancel(blocking.id)
    expect((await server.call('POST', '/v1/drills', { as: 'drill', headers, body: order })).status).toBe(202)
  })

  it('a day later - 409 that says how old it is, nothing ordered; a week after that the key is free again', async () => {
    await using server = await startTestServer()
    const { id } = (await server.call('POST', '/v1/drills', { as: 'drill', headers, body: order })).as(runSchema)
    server.orders.cancel(id)
    server.clock.advance(24 * 3_600_000 + 1)
    for (const body of [order, { ...order, seed: 1 }]) {
      const expired = await server.call('POST', '/v1/drills', { as: 'drill', headers, body })
      expect(expired.problem()).toMatchObject({ status: 409, code: 'IDEMPOTENCY_EXPIRED', retryable: false })
      expect(expired.problem().detail).toContain('for an order 24 h ago')
    }
    expect(server.orders.taken.length).toBe(1)
    server.clock.advance(7 * 24 * 3_600_000)
    const later = (await server.call('POST', '/v1/drills', { as: 'drill', headers, body: order })).as(runSchema)
    expect(later.id).not.toBe(id)
  })

  it('what a token ordered a week ago is forgotten when another one orders - its key is free again', async () => {
    await using server = await startTestServer()
    const { id } = (await server.call('POST', '/v1/drills', { as: 'drill', headers, body: order })).as(runSchema)
    server.orders.cancel(id)
    server.clock.advance(9 * 24 * 3_600_000)
    const by = { as: 'backup', headers, body: { server: 'main', database: 'app' } } as const
    expect((await server.call('POST', '/v1/backups', by)).status).toBe(202)
    const later = (await server.call('POST', '/v1/drills', { as: 'drill', headers, body: order })).as(runSchema)
    expect(later.id).not.toBe(id)
  })

  it('a key that is empty or too long - 400', async () => {
    await using server = await startTestServer()
    for (const key of ['', 'x'.repeat(256)]) {
      const options = { as: 'drill', headers: { 'idempotency-key': key }, body: order } as const
      expect((await server.call('POST', '/v1/drills', options)).problem().code).toBe('REQUEST_INVALID')
    }
  })

  it('more keys than are kept - the oldest is forgotten, also when the catalog has forgotten its run', async () => {
    const clock = clockAt(now)
    const { catalog } = await madeUpCatalog(clock, {})
    const keys = new IdempotencyKeys({ catalog, clock })
    const orders = new TestOrders(catalog, clock)
    const token = { name: 'ops', scope: 'drill', sha256: 'a'.repeat(64) } as const
    for (let count = 0; count <= 5000; count += 1) {
      const run = orders.order({ job: 'drill', server: 'main', database: 'app', trigger: 'http' })
      keys.keep(token, `key ${count}`, order, { runs: [run], refused: [] })
      orders.cancel(run.id)
    }
    expect(keys.find(token, 'key 0', order)).toBe(undefined)
    expect(keys.find(token, 'key 1', order)?.runs.map(({ state }) => state)).toEqual(['cancelled'])
  })
})
