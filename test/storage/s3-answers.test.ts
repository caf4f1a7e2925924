import { createHash } from 'node:crypto'
import { crc32 } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { silentLog } from '../../src/log.ts'
import { S3Store } from '../../src/storage/s3.ts'
import type { StoreSettings } from '../../src/storage/store-settings.ts'
import { type HttpAnswer, type HttpRequest, startScriptedServer } from '../support/scripted-http.ts'
import { hurriedClock } from '../support/test-bucket.ts'
import { bytesOf, chunks, collect } from './object-store.suite.ts'

const mebibyte = 2 ** 20

describe('S3 answers that no healthy server gives', () => {
  const { signal } = new AbortController()

  const failure = (status: number, code: string, headers: Record<string, string> = {}): HttpAnswer => ({
    status,
    headers,
    body: `<?xml version="1.0"?><Error><Code>${code}</Code><Message>because</Message></Error>`,
  })
  const ranged = (range: string, bytes: number): HttpAnswer => ({
    status: 206,
    headers: { etag: '"e"', 'content-range': range },
    body: Buffer.alloc(bytes),
  })
  /** Every S3 store gives an ETag with what it took or holds. */
  const asStored = (answer: HttpAnswer): HttpAnswer =>
    answer.status === 200 ? { ...answer, headers: { etag: '"e"', ...answer.headers } } : answer
  const open = async (answer: (request: HttpRequest) => HttpAnswer, over: Partial<StoreSettings> = {}) => {
    const server = await startScriptedServer((request) => asStored(answer(request)))
    const store = new S3Store(
      {
        url: 's3://bucket/p',
        endpoint: server.endpoint,
        provider: 'ceph',
        accessKeyId: 'id',
        secretAccessKey: () => 'secret',
        partSizeBytes: 5 * mebibyte,
        ...over,
      },
      { clock: hurriedClock, log: silentLog },
    )
    return { store, requests: server.requests, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() }
  }

  it.each([
    ['503 SlowDown', failure(503, 'SlowDown')],
    ['500 InternalError', failure(500, 'InternalError')],
    ['429 TooManyRequests', failure(429, 'TooManyRequests')],
    ['400 IncompleteBody', failure(400, 'IncompleteBody')],
    ['409 OperationAborted', failure(409, 'OperationAborted')],
  ])('%s twice, then fine - the call succeeds', async (_what, answer) => {
    let calls = 0
    await using server = await open(() => {
      calls += 1
      return calls < 3 ? answer : { status: 200 }
    })
    await server.store.put('a', Buffer.from('x'), { signal })
    expect(calls).toBe(3)
  })

  it.each([
    ['403 AccessDenied', failure(403, 'AccessDenied'), 'STORE_DENIED'],
    ['400 ExpiredToken', failure(400, 'ExpiredToken'), 'STORE_DENIED'],
    ['403 without a body', { status: 403 }, 'STORE_DENIED'],
    ['301 PermanentRedirect', failure(301, 'PermanentRedirect'), 'STORE_DENIED'],
    ['400 AuthorizationHeaderMalformed', failure(400, 'AuthorizationHeaderMalformed'), 'STORE_DENIED'],
    ['501 NotImplemented', failure(501, 'NotImplemented'), 'STORE_FAILED'],
    ['403 QuotaExceeded', failure(403, 'QuotaExceeded'), 'STORE_FULL'],
    ['507 XMinioStorageFull', failure(507, 'XMinioStorageFull'), 'STORE_FULL'],
    ['404 NoSuchBucket', failure(404, 'NoSuchBucket'), 'STORE_BUCKET_MISSING'],
  ])('%s - asked once, rejects with %3$s', async (_what, answer, code) => {
    await using server = await open(() => answer)
    await expect(server.store.put('a', Buffer.from('x'), { signal })).rejects.toMatchObject({ code })
    expect(server.requests).toHaveLength(1)
  })

  it('503 without end - STORE_FAILED with the status in the details', async () => {
    await using server = await open(() => failure(503, 'SlowDown'))
    await expect(server.store.put('a', Buffer.from('x'), { signal })).rejects.toMatchObject({
      code: 'STORE_FAILED',
      message: expect.stringContaining('SlowDown: because'),
      details: expect.stringContaining('503'),
    })
    expect(server.requests).toHaveLength(8)
  })

  it('clock two hours ahead - the skew is known, and requests are signed with the time of the store', async () => {
    const date = new Date(Date.now() + 7_200_000)
    await using server = await open(() => ({ status: 200, headers: { date: date.toUTCString() } }))
    await server.store.put('a', Buffer.from('x'), { signal })
    expect(server.store.clockSkewSeconds()).toBeGreaterThan(7_190)
    expect(server.store.clockSkewSeconds()).toBeLessThan(7_210)
    await server.store.put('a', Buffer.from('x'), { signal })
    const signed = String(server.requests[1]?.headers['x-amz-date'])
    expect(signed.slice(0, 11)).toBe(date.toISOString().replaceAll(/[-:]/g, '').slice(0, 11))
  })

  it.each([
    ['404 NoSuchKey', failure(404, 'NoSuchKey'), 'STORE_NOT_FOUND', 1],
    ['403 AccessDenied', failure(403, 'AccessDenied'), 'STORE_DENIED', 2],
    ['403 without a body', { status: 403 }, 'STORE_DENIED', 2],
  ])(
    'clock two hours ahead, %s - asked again only where the clock may be the reason, and by the right time',
    async (_what, answer, code, times) => {
      const headers = { ...answer.headers, date: new Date(Date.now() + 7_200_000).toUTCString() }
      await using server = await open(() => ({ ...answer, headers }))
      const get = (): Promise<unknown> => server.store.get('a', { signal })
      await expect(get()).rejects.toMatchObject({ code })
      expect(server.requests).toHaveLength(times)
      // From then on it signs by the store's time; what its quick way does not get, the library asks for.
      await expect(get()).rejects.toMatchObject({ code })
      expect(server.requests).toHaveLength(times + 2)
    },
  )

  it('RequestTimeTooSkewed without end - STORE_FAILED that names the skew', async () => {
    const date = new Date(Date.now() - 7_200_000).toUTCString()
    await using server = await open(() => failure(403, 'RequestTimeTooSkewed', { date }))
    await expect(server.store.put('a', Buffer.from('x'), { signal })).rejects.toMatchObject({
      code: 'STORE_FAILED',
      message: expect.stringMatching(/7\d{3} s behind/),
    })
    expect(server.requests).toHaveLength(2)
  })

  it('body that ends early every time - the stream errors, it does not end', async () => {
    const body = Buffer.alloc(1000, 1)
    await using server = await open(({ headers }) => {
      const offset = Number(/bytes=(\d+)-/.exec(String(headers['range'] ?? ''))?.[1] ?? 0)
      const range = { 'content-range': `bytes ${offset}-999/1000` }
      const rest = body.subarray(offset)
      return offset === 0
        ? { status: 200, headers: { etag: '"e"' }, body, cutAfter: 400 }
        : { status: 206, headers: { etag: '"e"', ...range }, body: rest, cutAfter: 0 }
    })
    const stream = await server.store.read('a', { signal })
    const error: unknown = await bytesOf(stream).catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({ code: expect.stringMatching(/^STORE_(?:UNREACHABLE|FAILED)$/) })
    expect(server.requests.length).toBeGreaterThan(5)
  })

  it('store that ignores the range after a cut - STORE_FAILED instead of the beginning twice', async () => {
    await using server = await open(() => ({
      status: 200,
      headers: { etag: '"e"' },
      body: Buffer.alloc(1000),
      cutAfter: 400,
    }))
    await expect(server.store.get('a', { signal })).rejects.toMatchObject({ code: 'STORE_FAILED' })
  })

  it.each([
    ['ignores the range', { status: 200, headers: { etag: '"e"' }, body: Buffer.alloc(1000) }],
    ['answers with no range', { status: 206, headers: { etag: '"e"' }, body: Buffer.alloc(600) }],
    ['answers with another range', ranged('bytes 300-999/1000', 700)],
    ['does not know the size', ranged('bytes 400-999/*', 600)],
  ])('store that %s when asked for the rest - STORE_FAILED instead of other bytes', async (_what, answer) => {
    await using server = await open(() => answer)
    await expect(server.store.read('a', { signal, offset: 400 })).rejects.toMatchObject({
      code: 'STORE_FAILED',
      message: expect.stringContaining('from byte 400 on'),
    })
    expect(server.requests[0]?.headers['range']).toBe('bytes=400-')
  })

  it('the rest is cut and the object replaced meanwhile - STORE_FAILED instead of a mixture', async () => {
    await using server = await open(({ headers }) =>
      headers['if-match'] === undefined
        ? { ...ranged('bytes 400-999/1000', 600), cutAfter: 100 }
        : failure(412, 'PreconditionFailed'),
    )
    await expect(bytesOf(await server.store.read('a', { signal, offset: 400 }))).rejects.toMatchObject({
      code: 'STORE_FAILED',
      message: expect.stringContaining('replaced while it was read'),
    })
    expect(server.requests.at(-1)?.headers['range']).toMatch(/^bytes=[45]\d\d-$/)
  })

  it('listing in two pages - both; a page that repeats itself or has no successor - STORE_FAILED', async () => {
    const page = (key: string, next: string) => ({
      status: 200,
      body:
        `<ListBucketResult><Contents><Key>p/${key}</Key><Size>1</Size>` +
        `<LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>${next}</ListBucketResult>`,
    })
    const more = (token: string) =>
      `<IsTruncated>true</IsTruncated><NextContinuationToken>${token}</NextContinuationToken>`
    await using two = await open(({ query }) =>
      query.get('continuation-token') === 't' ? page('b', '<IsTruncated>false</IsTruncated>') : page('a', more('t')),
    )
    expect((await collect(two.store.list('', { signal }))).map(({ key }) => key)).toEqual(['a', 'b'])
    await using loop = await open(() => page('a', more('t')))
    await expect(collect(loop.store.list('', { signal }))).rejects.toMatchObject({ code: 'STORE_FAILED' })
    await using blind = await open(() => page('a', '<IsTruncated>true</IsTruncated>'))
    await expect(collect(blind.store.list('', { signal }))).rejects.toMatchObject({ code: 'STORE_FAILED' })
  })

  it('listing cut in the middle of its page - asked again, complete', async () => {
    let calls = 0
    const body =
      '<ListBucketResult><Contents><Key>p/a</Key><Size>1</Size></Contents>' +
      '<Contents><Key>p/b</Key><Size>1</Size></Contents><IsTruncated>false</IsTruncated></ListBucketResult>'
    await using server = await open(() => {
      calls += 1
      return calls === 1 ? { status: 200, body, cutAfter: 80 } : { status: 200, body }
    })
    expect((await collect(server.store.list('', { signal }))).map(({ key }) => key)).toEqual(['a', 'b'])
  })

  it('unfinished uploads in two pages - all swept; pages that repeat themselves - STORE_FAILED', async () => {
    const page = (id: string, next: string) => ({
      status: 200,
      body:
        `<ListMultipartUploadsResult><Upload><Key>p/x</Key><UploadId>${id}</UploadId>` +
        `<Initiated>2026-01-01T00:00:00.000Z</Initiated></Upload>${next}</ListMultipartUploadsResult>`,
    })
    const more =
      '<IsTruncated>true</IsTruncated><NextKeyMarker>p/x</NextKeyMarker><NextUploadIdMarker>1</NextUploadIdMarker>'
    const aborted: (string | null)[] = []
    const answer = ({ method, query }: HttpRequest, isLoop: boolean) => {
      if (method === 'DELETE') {
        aborted.push(query.get('uploadId'))
        return { status: 204 }
      }
      if (query.has('uploadId')) return failure(404, 'NoSuchUpload')
      return query.has('upload-id-marker') && !isLoop ? page('2', '<IsTruncated>false</IsTruncated>') : page('1', more)
    }
    await using server = await open((request) => answer(request, false))
    expect(await server.store.sweepUnfinished(new Date('2026-02-01'), { signal })).toBe(2)
    expect(aborted).toEqual(['1', '2'])
    await using loop = await open((request) => answer(request, true))
    await expect(loop.store.sweepUnfinished(new Date('2026-02-01'), { signal })).rejects.toMatchObject({
      code: 'STORE_FAILED',
    })
  })

  it('parts that arrive after the abort - aborted again until none is left', async () => {
    let aborts = 0
    await using server = await open(({ method, query }) => {
      if (method === 'POST' && query.has('uploads')) return { status: 200, body: '<R><UploadId>u</UploadId></R>' }
      if (method === 'DELETE') {
        aborts += 1
        return { status: 204 }
      }
      if (method === 'GET' && aborts < 3)
        return { status: 200, body: '<R><Part><PartNumber>1</PartNumber></Part><IsTruncated>false</IsTruncated></R>' }
      return method === 'GET' ? failure(404, 'NoSuchUpload') : { status: 200, headers: { etag: '"e"' } }
    })
    const source = (async function* () {
      yield* chunks(6 * mebibyte, mebibyte)
      throw new Error('midway')
    })()
    await expect(server.store.write('a', source, { signal })).rejects.toThrow('midway')
    expect(aborts).toBe(3)
  })

  it('store holds fewer bytes than were sent - STORE_FAILED, and the object is removed', async () => {
    let writeId = ''
    await using server = await open(({ method, headers }) => {
      if (method === 'PUT') writeId = String(headers['x-amz-meta-pgproof-write'])
      return {
        status: 200,
        headers: { 'content-length': method === 'HEAD' ? '9' : '0', 'x-amz-meta-pgproof-write': writeId },
      }
    })
    await expect(server.store.write('a', chunks(10, 10), { signal })).rejects.toMatchObject({
      code: 'STORE_FAILED',
      message: expect.stringContaining('9 bytes of 10'),
    })
    expect(server.requests.at(-1)).toMatchObject({ method: 'DELETE', path: '/bucket/p/a' })
  })

  it('object of another writer in place of the own - STORE_EXISTS, and it is left alone', async () => {
    await using server = await open(({ method }) => ({
      status: 200,
      headers: method === 'HEAD' ? { 'content-length': '10', 'x-amz-meta-pgproof-write': 'another' } : {},
    }))
    await expect(server.store.write('a', chunks(10, 10), { signal })).rejects.toMatchObject({ code: 'STORE_EXISTS' })
    expect(server.requests.map(({ method }) => method)).not.toContain('DELETE')
  })

  it('part refused for good - STORE_DENIED, the upload is aborted, the other parts are not waited for', async () => {
    await using server = await open(({ method, query }) => {
      if (method === 'POST') return { status: 200, body: '<R><UploadId>u</UploadId></R>' }
      if (method === 'PUT' && query.get('partNumber') === '2') return failure(403, 'AccessDenied')
      return method === 'GET' ? failure(404, 'NoSuchUpload') : { status: 200, headers: { etag: '"e"' } }
    })
    const endless = (async function* () {
      for (;;) yield Buffer.alloc(mebibyte)
    })()
    await expect(server.store.write('a', endless, { signal })).rejects.toMatchObject({ code: 'STORE_DENIED' })
    expect(server.requests.filter(({ method }) => method === 'DELETE')).toHaveLength(1)
  })

  it('CompleteMultipartUpload answers 200 with an error inside - tried again', async () => {
    const multipart = scriptedMultipart({ failFirstComplete: true })
    await using server = await open(multipart.answer)
    expect(await server.store.write('a', chunks(6 * mebibyte, mebibyte), { signal })).toEqual({ bytes: 6 * mebibyte })
    expect(multipart.completes).toHaveLength(2)
  })

  it.each(['aws', 'minio'] as const)(
    'provider %s - CRC32 with every part, all of them at the end',
    async (provider) => {
      const multipart = scriptedMultipart()
      await using server = await open(multipart.answer, { provider, region: 'us-east-1' })
      await server.store.write('a', chunks(6 * mebibyte, mebibyte), { signal })
      const create = server.requests.find(({ query }) => query.has('uploads'))
      const parts = server.requests.filter(({ query }) => query.has('partNumber'))
      expect(create?.headers['x-amz-checksum-algorithm']).toBe('CRC32')
      expect(parts).toHaveLength(2)
      for (const { headers, body } of parts) {
        const checksum = Buffer.alloc(4)
        checksum.writeUInt32BE(crc32(body))
        expect(headers['x-amz-checksum-crc32']).toBe(checksum.toString('base64'))
        expect(String(multipart.completes[0]?.body)).toContain(
          `<ChecksumCRC32>${checksum.toString('base64')}</ChecksumCRC32>`,
        )
      }
    },
  )

  it.each(['r2', 'b2', 'ceph', 'generic'] as const)(
    'provider %s - no checksum headers in any request',
    async (provider) => {
      const multipart = scriptedMultipart()
      await using server = await open(multipart.answer, { provider, region: 'x' })
      await server.store.write('a', chunks(6 * mebibyte, mebibyte), { signal })
      await server.store.put('b', Buffer.from('x'), { signal })
      await server.store.get('b', { signal })
      for (const { headers } of server.requests)
        expect(Object.keys(headers).filter((name) => /checksum|x-amz-trailer|content-md5/.test(name))).toEqual([])
    },
  )

  it('Object Lock without checksums - an MD5 with every body, mode and date at the start', async () => {
    const multipart = scriptedMultipart()
    const objectLock = { mode: 'compliance', forMs: 1000 } as const
    await using server = await open(multipart.answer, { provider: 'b2', region: 'x', objectLock })
    await server.store.write('a', chunks(6 * mebibyte, mebibyte), { signal })
    await server.store.put('b', Buffer.from('x'), { signal })
    expect(server.requests[0]?.headers).toMatchObject({
      'x-amz-object-lock-mode': 'COMPLIANCE',
      'x-amz-object-lock-retain-until-date': expect.stringMatching(/^\d{4}-/),
    })
    for (const { headers, body } of server.requests.filter(
      ({ method, query }) => method === 'PUT' && !query.has('retention'),
    ))
      expect(headers['content-md5']).toBe(createHash('md5').update(body).digest('base64'))
  })

  it.each(['b2', 'generic'] as const)(
    'provider %s - put if absent asks first and sends no condition',
    async (provider) => {
      await using server = await open(({ method }) => ({ status: method === 'PUT' ? 200 : 404 }), {
        provider,
        region: 'x',
      })
      await expect(server.store.put('b', Buffer.from('x'), { signal, ifAbsent: true })).rejects.toMatchObject({
        code: 'STORE_BUCKET_MISSING',
      })
      await using fine = await open(
        ({ method, path }) => ({ status: method === 'PUT' || path === '/bucket/' ? 200 : 404 }),
        {
          provider,
          region: 'x',
        },
      )
      await fine.store.put('b', Buffer.from('x'), { signal, ifAbsent: true })
      expect(fine.requests.at(-1)).toMatchObject({ method: 'PUT' })
      expect(fine.requests.at(-1)?.headers['if-none-match']).toBeUndefined()
    },
  )

  /** A server that plays one multipart upload well, apart from what is asked for. */
  function scriptedMultipart(faults: { failFirstComplete?: boolean } = {}) {
    const completes: HttpRequest[] = []
    let writeId = ''
    let bytes = 0
    return {
      completes,
      answer: (request: HttpRequest): HttpAnswer => {
        const { method, query, headers, body } = request
        if (method === 'POST' && query.has('uploads')) {
          writeId = String(headers['x-amz-meta-pgproof-write'])
          bytes = 0
          return { status: 200, body: '<R><UploadId>u</UploadId></R>' }
        }
        if (method === 'POST') {
          completes.push(request)
          if (faults.failFirstComplete === true && completes.length === 1) return failure(200, 'InternalError')
          return {
            status: 200,
            body: '<CompleteMultipartUploadResult><ETag>"e"</ETag></CompleteMultipartUploadResult>',
          }
        }
        if (method === 'PUT') {
          bytes += body.length
          const checksum = headers['x-amz-checksum-crc32']
          return {
            status: 200,
            headers: { etag: '"e"', ...(checksum === undefined ? {} : { 'x-amz-checksum-crc32': String(checksum) }) },
          }
        }
        if (method === 'HEAD')
          return { status: 200, headers: { 'content-length': String(bytes), 'x-amz-meta-pgproof-write': writeId } }
        return { status: 200 }
      },
    }
  }
})
