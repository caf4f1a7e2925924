import { connect } from 'node:net'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startTestServer, type TestServer, tokens } from '../http/test-server.ts'
import { fuzzOptions, near } from './inputs.ts'

let server: TestServer
beforeAll(async () => {
  server = await startTestServer()
})
afterAll(() => server.close())

/** Sends these bytes and gives back what comes until the server closes, or until it has answered and sends no more. */
async function exchange(bytes: Uint8Array): Promise<string> {
  const { hostname, port } = new URL(server.url)
  return await new Promise((resolve, reject) => {
    const socket = connect(Number(port), hostname)
    const chunks: Buffer[] = []
    socket.on('data', (chunk: Buffer) => chunks.push(chunk))
    // What is refused while it is still being sent ends with a reset.
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'ECONNRESET' && error.code !== 'EPIPE') reject(error)
    })
    socket.on('close', () => resolve(Buffer.concat(chunks).toString('latin1')))
    socket.end(bytes)
  })
}

const credentials = [
  '',
  `authorization: Bearer ${tokens.backup}\r\n`,
  'authorization: Bearer x\r\n',
  'authorization: Basic eDp5\r\n',
]
const path = fc.oneof(
  fc.constantFrom(
    '/',
    '/metrics',
    '/v1/status',
    '/v1/backups',
    '/v1/drills',
    '/v1/runs',
    '/v1/runs/x/events',
    '/openapi.json',
  ),
  fc.webPath().map((found) => `/v1${found}`),
  fc.string({ unit: 'binary', maxLength: 60 }).map((text) => `/v1/backups/${encodeURIComponent(text.toWellFormed())}`),
  fc.webQueryParameters().map((query) => `/v1/backups?${query}`),
)
const body = fc.oneof(
  fc.json(),
  fc
    .record({ server: fc.string(), database: fc.jsonValue(), backup: fc.jsonValue(), seed: fc.jsonValue() })
    .map((value) => JSON.stringify(value)),
  fc.constant(`{"__proto__":{"x":1},"server":"main"}`),
  fc.string({ unit: 'binary', maxLength: 300 }),
)

describe('the HTTP API under noise', () => {
  it('any path, method, token and body - an answer below 500, and as problem+json where it refuses', async () => {
    const request = fc.record({
      method: fc.constantFrom('GET', 'HEAD', 'POST', 'DELETE', 'PUT', 'PATCH', 'OPTIONS', 'TRACE'),
      path,
      token: fc.constantFrom(...credentials),
      type: fc.constantFrom('application/json', 'text/plain', 'application/json; charset=utf-16'),
      body,
    })
    await fc.assert(
      fc.asyncProperty(request, async ({ method, path: target, token, type, body: text }) => {
        const bytes = Buffer.from(text)
        const head = `${method} ${target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: ${type}\r\n${token}content-length: ${bytes.length}\r\n\r\n`
        const answer = await exchange(Buffer.concat([Buffer.from(head, 'latin1'), bytes]))
        const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(answer)?.[1])
        expect(status, answer).toBeGreaterThanOrEqual(200)
        // 503 is what an ordered job of a store without backups or a daemon that is not ready answers.
        expect(status < 500 || status === 503, answer).toBe(true)
        if (status >= 400) expect(answer).toMatch(/content-type: application\/problem\+json/i)
      }),
      fuzzOptions as never,
    )
    expect(server.orders.taken.filter((order) => order.server !== 'main')).toEqual([])
  }, 600_000)

  it('bytes near a request - no answer of 500, and it goes on serving', async () => {
    const real = Buffer.from(
      'POST /v1/drills HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n10\r\n{"server":"main"\r\n1\r\n}\r\n0\r\n\r\n',
    )
    await fc.assert(
      fc.asyncProperty(near(real), async (bytes) => {
        expect(await exchange(bytes)).not.toMatch(/^HTTP\/1\.1 500/)
      }),
      fuzzOptions as never,
    )
    expect((await server.call('GET', '/healthz')).status).toBe(200)
  }, 600_000)
})
