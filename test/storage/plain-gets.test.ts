import { once } from 'node:events'
import { createServer, Agent as HttpAgent, type RequestListener } from 'node:http'
import { Agent as HttpsAgent } from 'node:https'
import type { AddressInfo } from 'node:net'
import { describe, expect, it } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { PgproofError } from '../../src/errors.ts'
import { type PlainGetParts, PlainGets } from '../../src/storage/s3-plain-get.ts'

const { signal } = new AbortController()
const scope = 'Credential=id/20261120/eu-1/s3/aws4_request'
const wanted = { what: 'GetObject of a/two', path: 'a/two', maxBytes: 100 }
const textOf = ({ body }: { body: Buffer }): string => body.toString()

/** What a request of the SDK has taught, unless it was signed in another way. */
async function taught(
  listener: RequestListener,
  authorization = `AWS4-HMAC-SHA256 ${scope}, SignedHeaders=host`,
  credentials: PlainGetParts['credentials'] = async () => ({ accessKeyId: 'id', secretAccessKey: 'secret' }),
) {
  const server = createServer(listener)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const agents = { http: new HttpAgent(), https: new HttpsAgent() }
  const gets = new PlainGets({
    agents,
    credentials,
    clock: systemClock,
    now: () => new Date('2026-11-20T12:00:00Z'),
    idleMs: 60_000,
  })
  const place = { protocol: 'http:', hostname: '127.0.0.1', port, path: '/bucket/p/a/one' }
  gets.learn({ ...place, headers: { host: `127.0.0.1:${port}`, authorization } }, 'a/one')
  return {
    gets,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

describe('requests as the SDK sends them', () => {
  it('signed in a way that is not known - nothing is sent, the SDK does it all', async () => {
    let requests = 0
    await using place = await taught(() => {
      requests += 1
    }, 'AWS4-ECDSA-P256-SHA256 Credential=id/20261120/s3/aws4_request')
    expect(await place.gets.get(wanted, textOf, signal)).toBeUndefined()
    expect(requests).toBe(0)
  })

  it('of a prefix with signs that a signature wants written in its own way - the prefix arrives, written so', async () => {
    await using place = await taught((request, answer) => answer.end(request.url))
    const query = { prefix: "backups/it's (all)!*", 'list-type': '2' }
    expect(await place.gets.get({ ...wanted, query }, textOf, signal)).toBe(
      '/bucket/p/a/two?list-type=2&prefix=backups%2Fit%27s%20%28all%29%21%2A',
    )
  })

  it('an answer that does not say how large it is, and is too large - left to the SDK', async () => {
    await using place = await taught((_request, answer) => {
      answer.write('x'.repeat(60))
      answer.end('x'.repeat(60))
    })
    expect(await place.gets.get(wanted, textOf, signal)).toBeUndefined()
    expect(await place.gets.get({ ...wanted, maxBytes: 200 }, textOf, signal)).toBe('x'.repeat(120))
  })

  it('cancelled before one is sent - CANCELLED, and nothing is sent', async () => {
    let requests = 0
    await using place = await taught(() => {
      requests += 1
    })
    const cancelled = AbortSignal.abort(new PgproofError('CANCELLED', { what: 'the reading' }))
    await expect(place.gets.get(wanted, textOf, cancelled)).rejects.toMatchObject({ code: 'CANCELLED' })
    expect(requests).toBe(0)
  })

  it('cancelled while credentials are awaited that never come - both reject with the reason, and nothing is sent', async () => {
    const cancelling = new AbortController()
    let asked = 0
    let requests = 0
    const never = new Promise<never>(() => {})
    await using place = await taught(
      () => {
        requests += 1
      },
      undefined,
      () => {
        asked += 1
        return never
      },
    )
    const getting = [1, 2].map(() => place.gets.get(wanted, textOf, cancelling.signal))
    expect(asked).toBe(2)
    cancelling.abort(new PgproofError('CANCELLED', { what: 'the reading' }))
    for (const settled of await Promise.allSettled(getting))
      expect(settled).toMatchObject({
        status: 'rejected',
        reason: { code: 'CANCELLED', message: expect.stringContaining('the reading') },
      })
    expect(requests).toBe(0)
  })
})
