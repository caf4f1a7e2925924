import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { startTestServer, type TestServer, tokens } from './test-server.ts'

const basic = (token: string, name = 'anybody'): string => `Basic ${Buffer.from(`${name}:${token}`).toString('base64')}`
/** As it is seen from another machine. */
const elsewhere = { host: 'pgproof.example' }
const order = { server: 'main', database: 'app' }

/** Every line of `WWW-Authenticate`. */
async function challenges(server: TestServer, headers: Record<string, string>, method = 'GET'): Promise<string> {
  return (await server.send(method, '/', { ...elsewhere, ...headers })).headers.get('www-authenticate') ?? ''
}

describe('a browser on another machine', () => {
  it('opens the page - 401 that makes it ask for name and password', async () => {
    await using server = await startTestServer()
    const both = 'Bearer realm="pgproof", Basic realm="pgproof", charset="UTF-8"'
    expect(await challenges(server, {})).toBe(both)
    expect(await challenges(server, { 'sec-fetch-mode': 'navigate' })).toBe(both)
  })

  it('runs a script of the page that asks - 401 without a dialogue', async () => {
    await using server = await startTestServer()
    expect(await challenges(server, { 'sec-fetch-mode': 'cors' })).toBe('Bearer realm="pgproof"')
    expect(await challenges(server, {}, 'DELETE')).toBe('Bearer realm="pgproof"')
  })

  it('sends any name and a token as the password - reads everything, by HEAD, too', async () => {
    await using server = await startTestServer()
    for (const name of ['anybody', '', 'Jürgen']) {
      const headers = { ...elsewhere, authorization: basic(tokens.read, name) }
      for (const path of ['/', '/v1/status', '/openapi.json'])
        expect([path, (await server.send('GET', path, headers)).status]).toEqual([path, 200])
      expect((await server.send('HEAD', '/', headers)).status).toBe(200)
    }
  })

  it('a token with colons - is the password as a whole', async () => {
    const sha256 = createHash('sha256').update('a:b:c').digest('hex')
    await using server = await startTestServer({ config: { tokens: [{ name: 'x', scope: 'read', sha256 }] } })
    expect((await server.send('GET', '/', { ...elsewhere, authorization: basic('a:b:c') })).status).toBe(200)
    expect((await server.send('GET', '/', { ...elsewhere, authorization: basic('b:c') })).status).toBe(401)
  })

  it('a wrong password, or something that is none - 401 and asked again; twenty of them - 429', async () => {
    await using server = await startTestServer()
    const wrong = [basic('wrong'), basic(''), `Basic ${Buffer.from('no colon').toString('base64')}`, 'Basic', 'Basic ?']
    for (const authorization of wrong) {
      const reply = await server.send('GET', '/', { ...elsewhere, authorization })
      expect([authorization, reply.status]).toEqual([authorization, 401])
      expect(reply.headers.get('www-authenticate')).toContain('Basic realm=')
    }
    for (let count = wrong.length; count < 20; count += 1)
      await server.send('GET', '/', { ...elsewhere, authorization: basic('wrong') })
    expect((await server.send('GET', '/', { ...elsewhere, authorization: basic(tokens.read) })).status).toBe(429)
  })
})

describe('requests that a page of another site could make', () => {
  it('POST and DELETE with Basic credentials, which browsers send by themselves - 401, nothing ordered', async () => {
    await using server = await startTestServer()
    const run = server.orders.order({ job: 'drill', ...order, trigger: 'schedule' })
    const headers = { authorization: basic(tokens.backup) }
    for (const [method, path] of [
      ['POST', '/v1/backups'],
      ['POST', '/v1/drills'],
      ['DELETE', `/v1/runs/${run.id}`],
    ] as const) {
      const reply = await server.call(method, path, { as: null, headers, body: order })
      expect([path, reply.status, reply.headers.get('www-authenticate')]).toEqual([path, 401, 'Bearer realm="pgproof"'])
    }
    expect([server.orders.taken.length, server.catalog.findRun(run.id)?.state]).toEqual([1, 'queued'])
  })

  it.each(['cross-site', 'same-site'])(
    'POST with a token and Sec-Fetch-Site: %s - 403, nothing ordered',
    async (site) => {
      await using server = await startTestServer()
      const headers = { authorization: `Bearer ${tokens.backup}`, 'sec-fetch-site': site }
      const reply = await server.send('POST', '/v1/backups', { host: 'localhost', ...headers })
      expect([reply.status, reply.problem().code]).toEqual([403, 'CROSS_SITE_REFUSED'])
      expect(server.orders.taken).toEqual([])
    },
  )

  it('POST from our own page, and from a program - ordered', async () => {
    await using server = await startTestServer()
    const headers = { 'sec-fetch-site': 'same-origin' }
    expect((await server.call('POST', '/v1/drills', { as: 'drill', headers, body: order })).status).toBe(202)
    expect((await server.call('POST', '/v1/backups', { as: 'backup', body: order })).status).toBe(202)
  })

  it('preflights - are answered with no leave', async () => {
    await using server = await startTestServer()
    const headers = { origin: 'https://evil.example', 'access-control-request-method': 'POST' }
    const reply = await server.send('OPTIONS', '/v1/drills', { host: 'localhost', ...headers })
    expect([reply.status, reply.headers.get('access-control-allow-origin')]).toEqual([401, null])
  })
})

it('a reload - takes tokens away and brings new ones, and `metricsToken` counts at once', async () => {
  await using server = await startTestServer()
  const sha256 = createHash('sha256').update('new token').digest('hex')
  const authorization = `Basic ${Buffer.from(':new token').toString('base64')}`
  expect((await server.send('GET', '/', { ...elsewhere, authorization })).status).toBe(401)
  server.reconfigure({ tokens: [{ name: 'new', scope: 'read', sha256 }], metricsToken: true })
  expect((await server.send('GET', '/', { ...elsewhere, authorization })).status).toBe(200)
  expect((await server.call('GET', '/v1/status')).status).toBe(401)
  expect((await server.call('GET', '/metrics', { as: null })).status).toBe(401)
})
