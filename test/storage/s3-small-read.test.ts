import { describe, expect, it } from 'vitest'
import { PgproofError } from '../../src/errors.ts'
import type { HttpAnswer, HttpRequest } from '../support/scripted-http.ts'
import { openScripted, s3Error } from './scripted-store.ts'

const { signal } = new AbortController()
const object = (body: string): HttpAnswer => ({ status: 200, headers: { etag: '"e"' }, body })

/** How many requests came from the SDK: it names itself. */
const bySdk = (requests: readonly HttpRequest[]): number =>
  requests.filter(({ headers }) => String(headers['user-agent'] ?? '').includes('aws-sdk')).length

const caught = async (promise: Promise<unknown>): Promise<PgproofError> =>
  await promise.then(
    () => expect.unreachable(),
    (error: unknown) => error as PgproofError,
  )

describe('small objects of a store', () => {
  it('the first by the SDK, the next without it - signed for the same place, region and session', async () => {
    await using server = await openScripted(() => object('x'), { sessionToken: () => 'token' })
    for (const key of ['a/one', 'a/two', 'a/three']) await server.store.get(key, { signal })
    expect(bySdk(server.requests)).toBe(1)
    const [first, second] = server.requests
    expect(second?.path).toBe('/bucket/p/a/two')
    for (const name of ['host', 'x-amz-security-token', 'x-amz-content-sha256'] as const)
      expect(second?.headers[name], name).toBe(first?.headers[name])
    expect(second?.headers['authorization']).toMatch(
      /^AWS4-HMAC-SHA256 Credential=id\/\d{8}\/us-east-1\/s3\/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-security-token, Signature=[0-9a-f]{64}$/,
    )
  })

  it.each<[string, HttpAnswer]>([
    ['an outage', s3Error(503, 'SlowDown')],
    ['a web page', { status: 200, headers: { 'content-type': 'text/html', etag: '"e"' }, body: '<html>login</html>' }],
    ['an error in the place of the object', s3Error(200, 'InternalError')],
    ['a body that is cut', { ...object('half of it'), cutAfter: 4 }],
  ])('%s once - the SDK asks again, and the object is whole', async (_what, answer) => {
    let isNext = false
    await using server = await openScripted(() => {
      if (!isNext) return object('whole')
      isNext = false
      return answer
    })
    await server.store.get('a/one', { signal })
    isNext = true
    expect(Buffer.from(await server.store.get('a/two', { signal })).toString()).toBe('whole')
    expect(bySdk(server.requests)).toBe(2)
  })

  it('an absent object - STORE_NOT_FOUND', async () => {
    await using server = await openScripted(({ path }) =>
      path.endsWith('/gone') ? s3Error(404, 'NoSuchKey') : object('x'),
    )
    await server.store.get('a/one', { signal })
    expect((await caught(server.store.get('a/gone', { signal }))).code).toBe('STORE_NOT_FOUND')
    await server.store.get('a/two', { signal })
    expect(bySdk(server.requests)).toBe(2)
  })

  it('credentials that are refused from some time on - STORE_DENIED, as the SDK words it', async () => {
    let isRefused = false
    await using server = await openScripted(() => (isRefused ? s3Error(403, 'ExpiredToken') : object('x')))
    await server.store.get('a/one', { signal })
    isRefused = true
    const error = await caught(server.store.get('a/two', { signal }))
    expect([error.code, error.message.includes('have expired')]).toEqual(['STORE_DENIED', true])
  })

  it('an object beyond the limit - STORE_FORMAT_INVALID, and the next ones go on without the SDK', async () => {
    await using server = await openScripted(({ path }) => object(path.endsWith('/large') ? 'x'.repeat(1000) : 'x'))
    await server.store.get('a/one', { signal })
    for (let round = 0; round < 6; round += 1)
      expect((await caught(server.store.get('a/large', { signal, maxBytes: 100 }))).code).toBe('STORE_FORMAT_INVALID')
    const before = bySdk(server.requests)
    await server.store.get('a/two', { signal })
    expect(bySdk(server.requests)).toBe(before)
  })

  it('names that a URL writes in another way - by the SDK, which knows how', async () => {
    await using server = await openScripted(() => object('x'))
    await server.store.get('a/one', { signal })
    for (const key of ['a/with space', 'a/%41', 'a/ä', 'a/=C3']) await server.store.get(key, { signal })
    expect(bySdk(server.requests)).toBe(5)
  })

  it('a store that never answers that way - left alone after some, the SDK does it all', async () => {
    await using server = await openScripted(({ headers }) =>
      String(headers['user-agent'] ?? '').includes('aws-sdk') ? object('x') : s3Error(400, 'InvalidRequest'),
    )
    for (let index = 0; index < 20; index += 1) await server.store.get(`a/${index}`, { signal })
    expect([bySdk(server.requests), server.requests.length]).toEqual([20, 25])
  })

  it('cancelled while the answer is awaited - CANCELLED soon', async () => {
    // More is announced than ever comes.
    const unfinished = { status: 200, headers: { etag: '"e"', 'content-length': '100' }, body: 'x' }
    await using server = await openScripted(({ path }) => (path.endsWith('/two') ? unfinished : object('x')))
    await server.store.get('a/one', { signal })
    const run = new AbortController()
    const reading = server.store.get('a/two', { signal: run.signal })
    setImmediate(() => run.abort(new PgproofError('CANCELLED', { what: 'the reading' })))
    await expect(reading).rejects.toMatchObject({ code: 'CANCELLED' })
  })

  it('some of many are cancelled together - CANCELLED soon, the others and later ones are whole', async () => {
    const unfinished = { status: 200, headers: { etag: '"e"', 'content-length': '100' }, body: 'x' }
    await using server = await openScripted(({ path }) => (path.includes('/slow-') ? unfinished : object('whole')))
    await server.store.get('a/one', { signal })
    const run = new AbortController()
    const slow = Array.from({ length: 5 }, (_, index) => server.store.get(`a/slow-${index}`, { signal: run.signal }))
    expect(Buffer.from(await server.store.get('a/two', { signal: run.signal })).toString()).toBe('whole')
    setImmediate(() => run.abort(new PgproofError('CANCELLED', { what: 'the reading' })))
    for (const error of await Promise.all(slow.map(caught))) expect(error.code).toBe('CANCELLED')
    expect((await caught(server.store.get('a/two', { signal: run.signal }))).code).toBe('CANCELLED')
    expect(Buffer.from(await server.store.get('a/two', { signal })).toString()).toBe('whole')
    expect(bySdk(server.requests)).toBe(1)
  })
})
