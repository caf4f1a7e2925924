import { networkInterfaces } from 'node:os'
import { describe, expect, it } from 'vitest'
import { FailureLimit } from '../../src/http/failure-limit.ts'
import { createLog } from '../../src/log.ts'
import { clockAt } from '../metrics/made-up-catalog.ts'
import { now, startTestServer, tokens } from './test-server.ts'

/** What a proxy adds: the request is not from this machine, whatever the socket says. */
const passedOn = { 'x-forwarded-for': '203.0.113.9' }
const order = { server: 'main', database: 'app' }

describe('who may read', () => {
  it('GET from this machine without a token - answers', async () => {
    await using server = await startTestServer()
    for (const path of ['/', '/v1/status', '/v1/backups', '/v1/drills', '/v1/runs', '/openapi.json'])
      expect([path, (await server.call('GET', path, { as: null })).status]).toEqual([path, 200])
  })

  it('GET that a proxy passed on, without a token - 401 with a challenge, whether the thing exists or not', async () => {
    await using server = await startTestServer()
    const paths = ['/', '/v1/status', '/v1/runs', '/v1/runs/no-such', '/v1/no-such', '/openapi.json', '/no-such']
    for (const path of paths) {
      const reply = await server.call('GET', path, { as: null, headers: passedOn })
      expect([path, reply.status, reply.problem().code]).toEqual([path, 401, 'UNAUTHORIZED'])
      expect(reply.headers.get('www-authenticate')).toBe('Bearer realm="pgproof"')
    }
  })

  it('any header by which proxies name themselves - is not from this machine', async () => {
    await using server = await startTestServer()
    const headers = { 'x-real-ip': '127.0.0.1', via: '1.1 proxy', forwarded: 'for=127.0.0.1', 'x-forwarded-host': 'a' }
    for (const [name, value] of Object.entries(headers))
      expect([name, (await server.call('GET', '/v1/status', { as: null, headers: { [name]: value } })).status]).toEqual(
        [name, 401],
      )
  })

  it('http.localRead is off, for a proxy here that adds no header - 401 without a token, but for health and readiness', async () => {
    await using server = await startTestServer({ config: { localRead: false, metricsToken: true } })
    for (const path of ['/', '/v1/status', '/v1/runs', '/openapi.json', '/metrics'])
      expect([path, (await server.call('GET', path, { as: null })).status]).toEqual([path, 401])
    expect((await server.call('GET', '/v1/status')).status).toBe(200)
    for (const path of ['/healthz', '/readyz'])
      expect([path, (await server.call('GET', path, { as: null })).status]).toEqual([path, 200])
  })

  it('HTTP/1.0, which nginx speaks to what is behind it - is not from this machine', async () => {
    await using server = await startTestServer()
    const answer = await server.sendRaw('GET /v1/status HTTP/1.0\r\nHost: localhost\r\n\r\n')
    expect(answer).toMatch(/^HTTP\/1\.1 401 /)
  })

  it('GET from this machine under the name of somebody else - 401, so that no page can rebind its name to us', async () => {
    await using server = await startTestServer()
    for (const host of ['evil.example', 'evil.example:9432', 'localhost.evil.example', '127.0.0.1.evil.example']) {
      const reply = await server.send('GET', '/v1/status', { host })
      expect([host, reply.status]).toEqual([host, 401])
    }
    for (const host of ['localhost', 'LOCALHOST:9432', '127.0.0.1:1', '[::1]:9432']) {
      const reply = await server.send('GET', '/v1/status', { host })
      expect([host, reply.status]).toEqual([host, 200])
    }
  })

  it('GET under the name of somebody else with a token - answers', async () => {
    await using server = await startTestServer()
    const headers = { host: 'pgproof.example', authorization: `bearer ${tokens.read}` }
    expect((await server.send('GET', '/v1/status', headers)).status).toBe(200)
  })

  it('GET from another address of this machine - 401', async () => {
    const other = Object.values(networkInterfaces())
      .flatMap((addresses) => addresses ?? [])
      .find(({ internal, family }) => !internal && family === 'IPv4')
    if (other === undefined) throw new Error('this test needs an IPv4 address besides loopback')
    await using server = await startTestServer({ config: { listen: { host: '0.0.0.0', port: 0 } } })
    const url = `http://${other.address}:${new URL(server.url).port}`
    expect((await fetch(`${url}/v1/status`, { headers: { host: 'localhost' } })).status).toBe(401)
    expect((await fetch(`${url}/healthz`)).status).toBe(200)
    const headers = { authorization: `Bearer ${tokens.read}` }
    expect((await fetch(`${url}/v1/status`, { headers })).status).toBe(200)
  })

  it('a wrong token from this machine - 401, though none at all would do', async () => {
    await using server = await startTestServer()
    const wrong = [`Bearer ${tokens.read}x`, 'Bearer ', 'Bearer', `Basic ${tokens.read}`, tokens.read, '']
    for (const authorization of wrong) {
      const reply = await server.send('GET', '/v1/status', { host: 'localhost', authorization })
      expect([authorization, reply.status, reply.problem().code]).toEqual([authorization, 401, 'UNAUTHORIZED'])
      expect(reply.headers.get('www-authenticate')).toContain('error="invalid_token"')
    }
  })

  it('a token without a hash in the configuration - opens nothing', async () => {
    await using server = await startTestServer({ config: { tokens: [{ name: 'x', scope: 'backup', sha256: '' }] } })
    const reply = await server.call('GET', '/v1/status', { as: 'read' })
    expect(reply.status).toBe(401)
  })
})

describe('who may order', () => {
  it('POST and DELETE from this machine without a token - 401', async () => {
    await using server = await startTestServer()
    for (const [method, path] of [
      ['POST', '/v1/drills'],
      ['POST', '/v1/backups'],
      ['DELETE', '/v1/runs/x'],
    ] as const)
      expect([path, (await server.call(method, path, { as: null, body: order })).status]).toEqual([path, 401])
    expect(server.orders.taken).toEqual([])
  })

  it.each([
    ['read', 'POST', '/v1/drills', 403],
    ['drill', 'POST', '/v1/drills', 202],
    ['backup', 'POST', '/v1/drills', 202],
    ['read', 'POST', '/v1/backups', 403],
    ['drill', 'POST', '/v1/backups', 403],
    ['backup', 'POST', '/v1/backups', 202],
  ] as const)('a token of scope %s, %s %s - %i', async (as, method, path, status) => {
    await using server = await startTestServer()
    const reply = await server.call(method, path, { as, body: order })
    expect(reply.status).toBe(status)
    expect(server.orders.taken.length).toBe(status === 202 ? 1 : 0)
    if (status === 403) expect(reply.headers.get('www-authenticate')).toContain('error="insufficient_scope"')
  })

  it('403 - is the same for a run that exists and one that does not, and comes before the body is looked at', async () => {
    await using server = await startTestServer()
    const run = server.orders.order({ job: 'drill', server: 'main', database: 'app', trigger: 'schedule' })
    const known = await server.call('DELETE', `/v1/runs/${run.id}`)
    const unknown = await server.call('DELETE', '/v1/runs/no-such')
    expect(known.status).toBe(403)
    expect(unknown.text).toBe(known.text)
    expect((await server.call('POST', '/v1/drills', { body: '{' })).status).toBe(403)
  })

  it('cancelling needs the scope of the job - drill for drills, backup for the others', async () => {
    await using server = await startTestServer()
    const drill = server.orders.order({ job: 'drill', server: 'main', database: 'app', trigger: 'schedule' })
    const backup = server.orders.order({ job: 'backup', server: 'main', database: 'app', trigger: 'schedule' })
    const refused = await server.call('DELETE', `/v1/runs/${backup.id}`, { as: 'drill' })
    expect([refused.status, refused.problem().detail]).toEqual([403, 'the token lacks the scope "backup"'])
    expect(server.catalog.findRun(backup.id)?.state).toBe('queued')
    expect((await server.call('DELETE', `/v1/runs/${drill.id}`, { as: 'drill' })).status).toBe(202)
    expect((await server.call('DELETE', `/v1/runs/${backup.id}`, { as: 'backup' })).status).toBe(202)
  })
})

describe('probes and metrics', () => {
  it('without a token, from anywhere - answer', async () => {
    await using server = await startTestServer()
    for (const path of ['/healthz', '/readyz', '/metrics'])
      expect([path, (await server.call('GET', path, { as: null, headers: passedOn })).status]).toEqual([path, 200])
  })

  it('with metricsToken - demand one, except health and readiness on this machine', async () => {
    await using server = await startTestServer({ config: { metricsToken: true } })
    for (const path of ['/healthz', '/readyz', '/metrics']) {
      expect([path, (await server.call('GET', path, { as: null, headers: passedOn })).status]).toEqual([path, 401])
      expect([path, (await server.call('GET', path, { headers: passedOn })).status]).toEqual([path, 200])
    }
    expect((await server.call('GET', '/metrics', { as: null })).status).toBe(401)
    expect((await server.call('GET', '/healthz', { as: null })).status).toBe(200)
  })
})

describe('wrong tokens one after the other', () => {
  const wrong = { authorization: 'Bearer guess', host: 'localhost' }

  it('20 within a minute - then 429 with Retry-After even for the right one, until the minute is over', async () => {
    await using server = await startTestServer()
    for (let count = 0; count < 20; count += 1) expect((await server.send('GET', '/v1/status', wrong)).status).toBe(401)
    const reply = await server.send('GET', '/v1/status', wrong)
    expect([reply.status, reply.problem().code]).toEqual([429, 'RATE_LIMITED'])
    expect(reply.headers.get('retry-after')).toBe('60')
    expect((await server.call('GET', '/v1/status')).status).toBe(429)
    // Nothing is guessed without a token.
    expect((await server.call('GET', '/v1/status', { as: null })).status).toBe(200)
    server.clock.advance(60_000)
    expect((await server.call('GET', '/v1/status')).status).toBe(200)
  })

  it.each([19, 25])(
    '%i within a minute - the log names the address once, and once more when it is refused',
    async (tries) => {
      const lines: string[] = []
      const log = createLog({ level: 'info', format: 'json' }, (line) => lines.push(line))
      await using server = await startTestServer({ installation: { log } })
      // What headers say of the address is the caller's own invention.
      const forged = { ...wrong, 'x-forwarded-for': '203.0.113.9\tforged', forwarded: 'for=203.0.113.9' }
      for (let count = 0; count < tries; count += 1) await server.send('GET', '/v1/status', forged)
      const first = { level: 'warn', address: '127.0.0.1', msg: 'a wrong token was presented' }
      const refused = { ...first, msg: 'too many wrong tokens, this address is refused until the minute is over' }
      const logged = (): unknown[] => lines.map((line) => ({ ...JSON.parse(line), time: undefined }))
      const expected = tries < 20 ? [first] : [first, refused]
      expect(logged()).toEqual(expected)
      expect(lines.join('')).not.toMatch(/guess|203\.0\.113\.9|forged/)

      server.clock.advance(60_000)
      for (let count = 0; count < 2; count += 1) await server.send('GET', '/v1/status', wrong)
      expect(logged()).toEqual([...expected, first])
    },
  )

  it('a right one, or none at all - nothing in the log', async () => {
    const lines: string[] = []
    const log = createLog({ level: 'info', format: 'json' }, (line) => lines.push(line))
    await using server = await startTestServer({ installation: { log } })
    expect((await server.call('GET', '/v1/status')).status).toBe(200)
    expect((await server.call('GET', '/v1/status', { as: null, headers: passedOn })).status).toBe(401)
    expect(lines).toEqual([])
  })

  it('from ever more addresses - the oldest are forgotten, and a /64 of IPv6 counts as one', () => {
    const limit = new FailureLimit(clockAt(now))
    for (let count = 0; count < 20; count += 1) limit.add(`2001:db8:0:1::${count.toString(16)}`)
    expect(limit.blockedSeconds('2001:db8:0:1:ffff::1')).toBe(60)
    expect(limit.blockedSeconds('2001:db8:0:2::1')).toBe(null)
    expect(limit.blockedSeconds('2001:db8::1:0:0:0:1')).toBe(60)
    for (let count = 0; count < 10_000; count += 1) limit.add(`10.0.${count >> 8}.${count & 255}`)
    expect(limit.blockedSeconds('2001:db8:0:1::1')).toBe(null)
  })
})
