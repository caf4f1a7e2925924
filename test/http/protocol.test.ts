import { createServer } from 'node:net'
import { describe, expect, it } from 'vitest'
import { problemSchema } from '../../src/http/problem.ts'
import { createLog } from '../../src/log.ts'
import { startTestServer } from './test-server.ts'

const order = { server: 'main', database: 'app' }

describe('refusals', () => {
  it('a route that does not exist - 404 as a problem with a hint', async () => {
    await using server = await startTestServer()
    for (const path of ['/no-such', '/v1', '/v1/no-such', '/v1/runs/x/y', '/v1/backups/'])
      expect([path, (await server.call('GET', path)).problem().status]).toEqual([path, 404])
    expect((await server.call('GET', '/no-such')).problem()).toEqual({
      type: 'urn:pgproof:error:ROUTE_UNKNOWN',
      title: 'Route unknown',
      status: 404,
      code: 'ROUTE_UNKNOWN',
      detail: 'no such route',
      hint: 'GET /openapi.json lists the routes.',
      retryable: false,
    })
    const posted = await server.call('POST', '/v1/drill', { as: 'backup', body: order })
    expect([posted.problem().code, server.orders.taken]).toEqual(['ROUTE_UNKNOWN', []])
  })

  it.each([
    ['PUT', '/v1/drills', 'GET, HEAD, POST'],
    ['PATCH', '/v1/runs/x', 'GET, HEAD, DELETE'],
    ['POST', '/v1/status', 'GET, HEAD'],
    ['OPTIONS', '/v1/status', 'GET, HEAD'],
    ['HEAD', '/v1/runs/x/events', 'GET'],
    ['DELETE', '/healthz', 'GET, HEAD'],
    ['PROPFIND', '/', 'GET, HEAD'],
  ])('%s %s - 405 with Allow: %s', async (method, path, allow) => {
    await using server = await startTestServer()
    const reply = await server.call(method, path)
    expect([reply.status, reply.headers.get('allow')]).toEqual([405, allow])
    if (method !== 'HEAD') expect(reply.problem().code).toBe('METHOD_NOT_ALLOWED')
    expect(server.orders.taken).toEqual([])
  })

  it.each([
    ['cut short', '{"server":'],
    ['no JSON', 'server=main'],
    ['a list', '[]'],
    ['null', 'null'],
    ['empty', ''],
    ['a prototype', '{"server":"main","database":"app","__proto__":{"seed":1}}'],
  ])('a body that is %s - 400, nothing ordered', async (_what, body) => {
    await using server = await startTestServer()
    const headers = { 'content-type': 'application/json' }
    const reply = await server.call('POST', '/v1/drills', { as: 'drill', body, headers })
    expect([reply.status, reply.problem().code]).toEqual([400, 'REQUEST_INVALID'])
    expect(server.orders.taken).toEqual([])
  })

  it('a body of 64 KiB is read, one of more is refused with 413 - with a length or without', async () => {
    await using server = await startTestServer()
    const bodyOf = (bytes: number): string => JSON.stringify(order).padEnd(bytes)
    const headers = { 'content-type': 'application/json' }
    const fits = await server.call('POST', '/v1/drills', { as: 'drill', headers, body: bodyOf(65_536) })
    expect(fits.status).toBe(202)
    const large = await server.call('POST', '/v1/drills', { as: 'drill', headers, body: bodyOf(65_537) })
    expect([large.status, large.problem().code]).toEqual([413, 'BODY_TOO_LARGE'])
    const chunked =
      'POST /v1/drills HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer token-of-driller\r\nContent-Type: ' +
      `application/json\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n11000\r\n${bodyOf(0x11000)}\r\n0\r\n\r\n`
    expect(await server.sendRaw(chunked)).toMatch(/^HTTP\/1\.1 413 /)
    expect(server.orders.taken.length).toBe(1)
  })

  it.each(['text/plain', 'application/x-www-form-urlencoded', 'application/xml', 'multipart/form-data; boundary=x'])(
    'a body of type %s - 415',
    async (type) => {
      await using server = await startTestServer()
      const options = { as: 'drill', headers: { 'content-type': type }, body: JSON.stringify(order) } as const
      const reply = await server.call('POST', '/v1/drills', options)
      expect([reply.status, reply.problem().code]).toEqual([415, 'MEDIA_TYPE_UNSUPPORTED'])
      expect(server.orders.taken).toEqual([])
    },
  )

  it('a path that is not UTF-8, or longer than any name - 400 or 404 as a problem', async () => {
    await using server = await startTestServer()
    expect((await server.call('GET', '/v1/runs/%zz')).problem().code).toBe('REQUEST_INVALID')
    expect((await server.call('GET', `/v1/runs/${'x'.repeat(5000)}`)).problem().status).toBe(400)
  })

  it.each(['/v1/status', '/v1/backups', '/v1/drills', '/v1/runs', '/openapi.json'])(
    'a parameter that %s does not know - 400 that names it',
    async (path) => {
      await using server = await startTestServer()
      const reply = await server.call('GET', `${path}?colour=red`)
      expect([reply.status, reply.problem().code]).toEqual([400, 'REQUEST_INVALID'])
      expect(reply.problem().detail).toContain('colour')
    },
  )

  it('an unexpected fault - 500 that says nothing of it, while the log says all', async () => {
    const lines: string[] = []
    const log = createLog({ level: 'info', format: 'json' }, (line) => lines.push(line))
    const metrics = async (): Promise<string> => {
      throw new Error('relation customer_secrets is gone')
    }
    await using server = await startTestServer({ parts: { metrics }, installation: { log } })
    const reply = await server.call('GET', '/metrics')
    expect([reply.status, reply.problem().code]).toEqual([500, 'INTERNAL'])
    expect(reply.text).not.toContain('customer_secrets')
    expect(lines.map((line) => JSON.parse(line) as unknown)).toMatchObject([
      { level: 'error', code: 'INTERNAL', path: '/metrics', msg: expect.stringContaining('customer_secrets') },
    ])
  })
})

describe('what is hardly HTTP', () => {
  const bodyOf = (answer: string) => problemSchema.parse(JSON.parse(answer.split('\r\n\r\n')[1] ?? ''))

  it('bytes that are not HTTP - 400 as a problem, connection closed', async () => {
    await using server = await startTestServer()
    const answer = await server.sendRaw('\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n')
    expect(answer).toMatch(/^HTTP\/1\.1 400 /)
    expect(bodyOf(answer).code).toBe('REQUEST_INVALID')
  })

  it('headers of 100 kB - 400 as a problem', async () => {
    await using server = await startTestServer()
    const answer = await server.sendRaw(`GET / HTTP/1.1\r\nHost: localhost\r\nX: ${'x'.repeat(100_000)}\r\n\r\n`)
    expect(bodyOf(answer).detail).toBe('the headers are too large')
  })

  it('a body that never arrives - 408 as a problem once the time is over', async () => {
    await using server = await startTestServer({ parts: { requestTimeoutMs: 100 } })
    const answer = await server.sendRaw(
      'POST /v1/drills HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer token-of-driller\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n{',
    )
    expect(answer).toMatch(/^HTTP\/1\.1 408 /)
    expect(bodyOf(answer).code).toBe('REQUEST_TIMEOUT')
    expect(server.orders.taken).toEqual([])
  })

  it('a request without Host - is answered, and not taken for one of this machine', async () => {
    await using server = await startTestServer()
    const answer = await server.sendRaw('GET /v1/status HTTP/1.1\r\nConnection: close\r\n\r\n')
    expect(answer).toMatch(/^HTTP\/1\.1 401 /)
  })
})

describe('answers', () => {
  it('HEAD - has the headers of GET and no body', async () => {
    await using server = await startTestServer()
    for (const path of ['/', '/healthz', '/metrics', '/v1/backups']) {
      const reply = await server.call('HEAD', path)
      expect([path, reply.status, reply.text]).toEqual([path, 200, ''])
    }
  })

  it('every answer, refusals too - is not kept, not sniffed, not framed', async () => {
    await using server = await startTestServer()
    for (const path of ['/', '/metrics', '/v1/status', '/no-such', '/v1/runs/%zz']) {
      const { headers } = await server.call('GET', path)
      expect([path, headers.get('cache-control')]).toEqual([path, 'no-store'])
      expect([path, headers.get('x-content-type-options')]).toEqual([path, 'nosniff'])
      expect(headers.get('content-security-policy')).toContain("frame-ancestors 'none'")
    }
  })
})

describe('listening and closing', () => {
  it('a port that is taken - LISTEN_FAILED that names the address', async () => {
    await using taken = await occupiedPort()
    const listen = { host: '127.0.0.1', port: taken.port }
    await expect(startTestServer({ config: { listen } })).rejects.toMatchObject({
      code: 'LISTEN_FAILED',
      message: expect.stringContaining(`127.0.0.1:${taken.port}: listen EADDRINUSE`),
    })
  })

  it('http.listen off - LISTEN_FAILED', async () => {
    await expect(startTestServer({ config: { listen: null } })).rejects.toMatchObject({ code: 'LISTEN_FAILED' })
  })

  it('localhost - listens on one address, and closes', async () => {
    const server = await startTestServer({ config: { listen: { host: 'localhost', port: 0 } } })
    expect(server.url).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/)
    expect((await server.call('GET', '/healthz')).status).toBe(200)
    await server.close()
    await expect(server.call('GET', '/healthz')).rejects.toThrow()
  })

  it('a client that sends half a request and waits - is cut off within seconds of close', async () => {
    const server = await startTestServer()
    const answer = server.sendRaw('POST /v1/drills HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n')
    await server.call('GET', '/healthz')
    const before = performance.now()
    await server.close()
    expect(performance.now() - before).toBeLessThan(5000)
    await answer
  })

  it('close twice - ends once', async () => {
    const server = await startTestServer()
    await Promise.all([server.close(), server.close()])
  })
})

async function occupiedPort(): Promise<AsyncDisposable & { port: number }> {
  const server = createServer()
  const { promise, resolve } = Promise.withResolvers<void>()
  server.listen(0, '127.0.0.1', resolve)
  await promise
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  return {
    port: address.port,
    [Symbol.asyncDispose]: () => new Promise((done) => void server.close(() => done())),
  }
}
