import { describe, expect, it } from 'vitest'
import type { HttpAnswer, HttpRequest } from '../support/scripted-http.ts'
import { chunks } from './object-store.suite.ts'
import { mebibyte, openScripted, s3Error, takingServer } from './scripted-store.ts'

// A request that nobody answered may still be carried out, after the look that found nothing.

const { signal } = new AbortController()
const gatewayGaveUp = s3Error(504, 'GatewayTimeout')
const absent: HttpAnswer = { status: 404 }

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
