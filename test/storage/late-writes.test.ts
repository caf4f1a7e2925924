import { describe, expect, it } from 'vitest'
import type { HttpAnswer, HttpRequest } from '../support/scripted-http.ts'
import { chunks } from './object-store.suite.ts'
import { mebibyte, openScripted, s3Error, takingServer } from './scripted-store.ts'

// A request that nobody answered may still be carried out, after the look that found nothing.

const { signal } = new AbortController()
const gatewayGaveUp = s3Error(504, 'GatewayTimeout')
const absent: HttpAnswer = { status: 404 }

/** As gateways answer, whatever they stand in front of. */
const page = (status: number): HttpAnswer => ({
  status,
  headers: { 'content-type': 'text/html' },
  body: `<!doctype html><html><head><meta charset="utf-8"></head><body><h1>${status}</h1></body></html>`,
})
const words = (status: number): HttpAnswer => ({
  status,
  headers: { 'content-type': 'text/plain' },
  body: `error code: ${status}`,
})

/** A store whose making-visible call of this method ends like this, and in which nothing is ever seen. */
function neverSeen(method: 'PUT' | 'POST', end: HttpAnswer, then: HttpAnswer = end) {
  const taking = takingServer()
  let calls = 0
  return (request: HttpRequest): HttpAnswer => {
    if (request.method === 'HEAD') return absent
    const isPart = request.query.has('partNumber') || request.query.has('uploads')
    if (request.method === method && !isPart) {
      calls += 1
      return calls === 1 ? end : then
    }
    if (request.query.has('uploadId') && request.method === 'GET') return s3Error(404, 'NoSuchUpload')
    if (request.query.has('uploadId') && request.method === 'DELETE') return { status: 204 }
    return taking(request)
  }
}

describe('an object that was not seen after its write', () => {
  it.each([
    ['put', (bytes: number) => ({ bytes, isPut: true })],
    ['write of one part', (bytes: number) => ({ bytes, isPut: false })],
  ] as const)(
    '%s answered by a gateway only, which gave up - STORE_UNCERTAIN, with the failure as its cause',
    async (_, of) => {
      const { bytes, isPut } = of(1_000)
      await using server = await openScripted(neverSeen('PUT', gatewayGaveUp))
      const { store } = server
      const written = isPut
        ? store.put('a', Buffer.alloc(bytes), { signal })
        : store.write('a', chunks(bytes, 100), { signal })
      await expect(written).rejects.toMatchObject({
        code: 'STORE_UNCERTAIN',
        message: expect.stringContaining('may still be at work on it'),
        cause: { code: 'STORE_FAILED' },
      })
      expect(server.requests.some(({ method }) => method === 'HEAD')).toBe(true)
    },
  )

  it('the first answer to a put is cut, the second refuses it - STORE_UNCERTAIN: the first may still arrive', async () => {
    const denied = s3Error(403, 'AccessDenied')
    await using server = await openScripted(neverSeen('PUT', gatewayGaveUp, denied))
    await expect(server.store.put('a', Buffer.from('x'), { signal })).rejects.toMatchObject({
      code: 'STORE_UNCERTAIN',
      cause: { code: 'STORE_DENIED' },
    })
  })

  it('put refused by the store itself - its own failure: nothing is on its way', async () => {
    await using server = await openScripted(neverSeen('PUT', s3Error(500, 'InternalError')))
    await expect(server.store.put('a', Buffer.from('x'), { signal })).rejects.toMatchObject({ code: 'STORE_FAILED' })
  })

  it.each([
    [502, page],
    [503, page],
    [503, (status: number) => ({ status })],
    [504, words],
    [520, page],
    [522, page],
    [523, words],
    [524, words],
    [524, page],
    [599, words],
  ])('put answered with %i by a gateway in its own words - STORE_UNCERTAIN, said in a line', async (status, of) => {
    await using server = await openScripted(neverSeen('PUT', of(status)))
    await expect(server.store.put('a', Buffer.from('x'), { signal })).rejects.toMatchObject({
      code: 'STORE_UNCERTAIN',
      cause: { code: 'STORE_FAILED', message: `the store failed at PutObject of a: HTTP status ${status}` },
    })
  })

  it('put answered with 524, and it was carried out - written, as the object tells', async () => {
    const taking = takingServer()
    let puts = 0
    await using server = await openScripted((request) => {
      const answer = taking(request)
      if (request.method === 'PUT') puts += 1
      return request.method === 'PUT' ? (puts === 1 ? words(524) : s3Error(403, 'AccessDenied')) : answer
    })
    await server.store.put('a', Buffer.from('x'), { signal })
    expect(puts).toBe(2)
  })

  it.each([
    [503, 'SlowDown', 'STORE_FAILED'],
    [503, 'ServiceUnavailable', 'STORE_FAILED'],
    [501, 'NotImplemented', 'STORE_FAILED'],
    [507, 'XMinioStorageFull', 'STORE_FULL'],
  ])(
    'put refused with %i %s by the store - that failure, and nobody looks for an object',
    async (status, name, code) => {
      await using server = await openScripted(neverSeen('PUT', s3Error(status, name)))
      await expect(server.store.put('a', Buffer.from('x'), { signal })).rejects.toMatchObject({ code })
      expect(server.requests.map(({ method }) => method)).not.toContain('HEAD')
    },
  )

  it('several parts whose completion got no answer, the upload ended then - its own failure: it cannot arrive', async () => {
    await using server = await openScripted(neverSeen('POST', gatewayGaveUp))
    await expect(server.store.write('a', chunks(11 * mebibyte, 100_000), { signal })).rejects.toMatchObject({
      code: 'STORE_FAILED',
    })
    expect(server.requests.some(({ method }) => method === 'DELETE')).toBe(true)
  })

  it('several parts whose completion got no answer, and the upload cannot be ended - STORE_UNCERTAIN', async () => {
    const unanswered = neverSeen('POST', gatewayGaveUp)
    await using server = await openScripted((request) =>
      request.method === 'DELETE' ? s3Error(403, 'AccessDenied') : unanswered(request),
    )
    await expect(server.store.write('a', chunks(11 * mebibyte, 100_000), { signal })).rejects.toMatchObject({
      code: 'STORE_UNCERTAIN',
      cause: { code: 'STORE_FAILED' },
    })
  })
})
