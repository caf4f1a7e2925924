import { expect, it } from 'vitest'
import { startTestServer } from './test-server.ts'

it('more requests within a minute than `http.rateLimit` - 429 with Retry-After, nothing ordered', async () => {
  await using server = await startTestServer({ config: { rateLimit: 10 } })
  for (let count = 0; count < 10; count += 1) expect((await server.call('GET', '/v1/runs')).status).toBe(200)
  const reply = await server.call('GET', '/v1/runs')
  expect(reply.problem()).toMatchObject({ status: 429, code: 'RATE_LIMITED', retryable: true })
  expect(reply.problem().detail).toBe('more than 10 requests within a minute came from this address')
  const seconds = Number(reply.headers.get('retry-after'))
  expect(seconds > 0 && seconds <= 60).toBe(true)
  const body = { server: 'main', database: 'app' }
  expect((await server.call('POST', '/v1/drills', { as: 'drill', body })).status).toBe(429)
  expect(server.orders.taken).toEqual([])
})

it('probes and metrics - are never refused by it, and do not count', async () => {
  await using server = await startTestServer({ config: { rateLimit: 10 } })
  for (let count = 0; count < 30; count += 1)
    for (const path of ['/healthz', '/readyz', '/metrics'])
      expect((await server.call('GET', path, { as: null })).status).toBe(200)
  for (let count = 0; count < 11; count += 1) await server.call('GET', '/v1/status')
  expect((await server.call('GET', '/v1/status')).status).toBe(429)
  expect((await server.call('GET', '/metrics', { as: null })).status).toBe(200)
  expect((await server.call('GET', '/healthz', { as: null })).status).toBe(200)
})

it('unknown routes and requests without a token - count, too', async () => {
  await using server = await startTestServer({ config: { rateLimit: 10 } })
  const headers = { via: '1.1 proxy' }
  for (let count = 0; count < 5; count += 1) {
    expect((await server.call('GET', '/no-such')).status).toBe(404)
    expect((await server.call('GET', '/v1/status', { as: null, headers })).status).toBe(401)
  }
  expect((await server.call('GET', '/no-such')).status).toBe(429)
})

it('an event stream - counts once, however long it lasts', async () => {
  await using server = await startTestServer({ config: { rateLimit: 10 } })
  const { id } = server.orders.order({ job: 'drill', server: 'main', database: 'app', trigger: 'http' })
  const controller = new AbortController()
  const stream = await fetch(`${server.url}/v1/runs/${id}/events`, { signal: controller.signal })
  const reader = stream.body?.getReader()
  for (const phase of ['fetch', 'roles', 'restore']) {
    server.catalog.updateRun(id, { state: 'running', progress: { phase } })
    let text = ''
    while (!text.includes(`"phase":"${phase}"`)) text += Buffer.from((await reader?.read())?.value ?? []).toString()
  }
  for (let count = 0; count < 9; count += 1) expect((await server.call('GET', '/v1/runs')).status).toBe(200)
  expect((await server.call('GET', '/v1/runs')).status).toBe(429)
  controller.abort()
})

it('a reload with another limit - counts from the next request on', async () => {
  await using server = await startTestServer({ config: { rateLimit: 10 } })
  for (let count = 0; count < 11; count += 1) await server.call('GET', '/v1/runs')
  expect((await server.call('GET', '/v1/runs')).status).toBe(429)
  server.reconfigure({ rateLimit: 1000 })
  expect((await server.call('GET', '/v1/runs')).status).toBe(200)
})
