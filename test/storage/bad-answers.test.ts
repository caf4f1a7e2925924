import { describe, expect, it } from 'vitest'
import type { PgproofError } from '../../src/errors.ts'
import type { ObjectStore } from '../../src/storage/object-store.ts'
import { isTransient, mayHaveWorked } from '../../src/storage/s3-errors.ts'
import type { HttpAnswer, HttpRequest } from '../support/scripted-http.ts'
import { bytesOf, chunks, collect } from './object-store.suite.ts'
import { mebibyte, openScripted, s3Error, takingServer } from './scripted-store.ts'

const { signal } = new AbortController()

const calls: readonly [string, (store: ObjectStore) => Promise<unknown>][] = [
  ['put', (store) => store.put('a', Buffer.from('x'), { signal })],
  ['put if absent', (store) => store.put('a', Buffer.from('x'), { signal, ifAbsent: true })],
  ['small write', (store) => store.write('a', chunks(10, 10), { signal })],
  ['large write', (store) => store.write('a', chunks(6 * mebibyte, mebibyte), { signal })],
  ['get', (store) => store.get('a', { signal })],
  ['read', (store) => store.read('a', { signal })],
  ['head', (store) => store.head('a', { signal })],
  ['list', (store) => collect(store.list('', { signal }))],
  ['sweep', (store) => store.sweepUnfinished(new Date(), { signal })],
]
const page: HttpAnswer = {
  status: 200,
  // A page from a file has an ETag as well.
  headers: { 'content-type': 'text/html; charset=utf-8', etag: '"e"', 'last-modified': new Date(0).toUTCString() },
  body: '<!doctype html><html><body><h1>Please log in</h1></body></html>',
}
const text = { headers: { 'content-type': 'text/plain' } }

describe('a server that answers 200 and is no S3 store', () => {
  it.each([...calls, ['delete', (store: ObjectStore) => store.delete('a', { signal })] as const])(
    'a web page of a proxy or a captive portal - %s rejects with STORE_UNREACHABLE that says so',
    async (_name, call) => {
      await using server = await openScripted(() => page)
      const error: unknown = await call(server.store).catch((thrown: unknown) => thrown)
      // A write that cannot be taken back says that as well.
      expect(error).toMatchObject({ code: expect.stringMatching(/^STORE_(?:UNREACHABLE|UNCERTAIN)$/) })
      expect(String(error)).toContain('a web page answers in its place')
    },
  )

  it.each(calls)(
    'an empty answer to everything - %s rejects, nothing is taken for an empty store',
    async (_name, call) => {
      await using server = await openScripted(() => ({ status: 200, ...text }))
      await expect(call(server.store)).rejects.toMatchObject({ code: expect.stringMatching(/^STORE_/) })
    },
  )

  it.each(calls)('an error of S3 in the body of a 200 - %s rejects', async (_name, call) => {
    await using server = await openScripted(() => s3Error(200, 'InternalError'))
    await expect(call(server.store)).rejects.toMatchObject({ code: expect.stringMatching(/^STORE_/) })
  })

  it('a listing of versions that is none - delete rejects, and nothing is removed', async () => {
    for (const body of ['', '<html/>', '<Error><Code>InternalError</Code></Error>']) {
      await using server = await openScripted(() => ({ status: 200, body }), { versions: 'remove' })
      await expect(server.store.delete('a', { signal })).rejects.toMatchObject({ code: 'STORE_FAILED' })
      expect(server.requests.map(({ method }) => method)).not.toContain('DELETE')
    }
  })
})

describe('Object Lock that is asked for', () => {
  const objectLock = { mode: 'governance', forMs: 3_600_000 } as const
  const put = async (answer: HttpAnswer, over: object): Promise<PgproofError> => {
    await using server = await openScripted(({ method }) => (method === 'HEAD' ? { status: 404 } : answer), over)
    return await server.store.put('a', Buffer.from('x'), { signal }).then(
      () => expect.unreachable(),
      (error: unknown) => error as PgproofError,
    )
  }

  it.each([
    ['AWS', 'Bucket is missing Object Lock Configuration'],
    ['MinIO', 'Bucket is missing ObjectLockConfiguration'],
    ['Ceph', ''],
  ])('in a bucket without, as %s words it - STORE_LOCK_MISSING', async (_who, message) => {
    const error = await put(s3Error(400, 'InvalidRequest', message), { objectLock })
    expect(error.code).toBe('STORE_LOCK_MISSING')
    expect(error.message).toContain('the bucket bucket has no Object Lock')
  })

  it('in a bucket without, as a store says that has a name for it - STORE_LOCK_MISSING', async () => {
    const error = await put(s3Error(404, 'ObjectLockConfigurationNotFoundError'), { objectLock })
    expect(error.code).toBe('STORE_LOCK_MISSING')
  })

  it('another fault of the request, or no lock asked for - stays STORE_FAILED', async () => {
    const checksum =
      'Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests with Object Lock parameters'
    const missing = 'Bucket is missing Object Lock Configuration'
    expect((await put(s3Error(400, 'InvalidRequest', checksum), { objectLock })).code).toBe('STORE_FAILED')
    expect((await put(s3Error(400, 'InvalidRequest', missing), {})).code).toBe('STORE_FAILED')
    const denied = s3Error(403, 'AccessDenied', 'Access Denied because of Object Lock')
    expect((await put(denied, { objectLock })).code).toBe('STORE_DENIED')
  })
})

describe('delete that is refused', () => {
  const until = '2099-01-01T00:00:00.000Z'
  const locked = { status: 200, headers: { etag: '"e"', 'x-amz-object-lock-mode': 'COMPLIANCE' } }
  const refusing =
    (answer: HttpAnswer, head: HttpAnswer) =>
    ({ method }: HttpRequest): HttpAnswer =>
      method === 'DELETE' ? answer : head

  it.each([
    ['AWS', s3Error(403, 'AccessDenied', 'Access Denied because object protected by object lock.')],
    ['MinIO', s3Error(400, 'InvalidRequest', 'Object is WORM protected and cannot be overwritten')],
    ['Ceph', s3Error(403, 'AccessDenied', 'forbidden by object lock')],
    ['a store without words', s3Error(403, 'AccessDenied', '')],
  ])('by a lock, as %s words it - STORE_LOCKED until the time that the object tells', async (_who, answer) => {
    const head = { ...locked, headers: { ...locked.headers, 'x-amz-object-lock-retain-until-date': until } }
    await using server = await openScripted(refusing(answer, head))
    await expect(server.store.delete('a', { signal })).rejects.toMatchObject({
      code: 'STORE_LOCKED',
      message: expect.stringContaining(`until ${until}`),
    })
  })

  it('by a lock that the credentials may not see - STORE_LOCKED without a time', async () => {
    const answer = s3Error(403, 'AccessDenied', 'Access Denied because object protected by object lock.')
    await using server = await openScripted(refusing(answer, { status: 403 }))
    await expect(server.store.delete('a', { signal })).rejects.toMatchObject({
      code: 'STORE_LOCKED',
      message: 'the store keeps a under Object Lock',
    })
  })

  it('by rights, and no lock is on it - STORE_DENIED', async () => {
    const past = {
      ...locked,
      headers: { ...locked.headers, 'x-amz-object-lock-retain-until-date': '2020-01-01T00:00:00Z' },
    }
    for (const head of [{ status: 200, headers: { etag: '"e"' } }, past, { status: 403 }]) {
      await using server = await openScripted(refusing(s3Error(403, 'AccessDenied'), head))
      await expect(server.store.delete('a', { signal })).rejects.toMatchObject({ code: 'STORE_DENIED' })
    }
  })

  it.each([
    ['a lock', { 'x-amz-object-lock-retain-until-date': until }, new Date(until)],
    ['a lock that has ended', { 'x-amz-object-lock-retain-until-date': '2020-01-01T00:00:00Z' }, undefined],
    ['a legal hold', { 'x-amz-object-lock-legal-hold': 'ON' }, new Date('9999-12-31T23:59:59Z')],
    ['a legal hold that was lifted', { 'x-amz-object-lock-legal-hold': 'OFF' }, undefined],
    ['nothing', {}, undefined],
  ])('head tells of %s - lockedUntil accordingly', async (_what, headers, expected) => {
    await using server = await openScripted(takingServer(headers))
    expect((await server.store.head('a', { signal }))?.lockedUntil).toEqual(expected)
  })
})

describe('delete with versions', () => {
  const versions = 'remove' as const

  it.each([501, 405])('store without a listing of versions (%i) - plain delete', async (status) => {
    await using server = await openScripted(
      ({ method }) => (method === 'GET' ? s3Error(status, 'NotImplemented') : { status: 204 }),
      { versions },
    )
    expect(await server.store.delete('a', { signal })).toBe('freed')
    expect(server.requests.at(-1)).toMatchObject({ method: 'DELETE', path: '/bucket/p/a' })
  })

  it('listing of versions refused - STORE_DENIED, nothing is removed', async () => {
    await using server = await openScripted(() => s3Error(403, 'AccessDenied'), { versions })
    await expect(server.store.delete('a', { signal })).rejects.toMatchObject({ code: 'STORE_DENIED' })
    expect(server.requests.map(({ method }) => method)).toEqual(['GET'])
  })

  const entry = (kind: string, key: string, id: string, isLatest: boolean) =>
    `<${kind}><Key>${key}</Key><VersionId>${id}</VersionId><IsLatest>${isLatest}</IsLatest></${kind}>`
  const listing = (entries: string, next = ''): HttpAnswer => ({
    status: 200,
    body:
      `<ListVersionsResult><EncodingType>url</EncodingType>${entries}` +
      `<IsTruncated>${next !== ''}</IsTruncated>${next}</ListVersionsResult>`,
  })
  const more = (id: string) => `<NextKeyMarker>p/a</NextKeyMarker><NextVersionIdMarker>${id}</NextVersionIdMarker>`

  it('two pages with markers and other keys - only this key, and what is seen goes last', async () => {
    const removed: string[] = []
    await using server = await openScripted(
      ({ method, query, path }) => {
        if (method === 'DELETE') removed.push(`${path} ${query.get('versionId')}`)
        if (method === 'DELETE') return { status: 204 }
        return query.get('version-id-marker') === '2'
          ? listing(entry('DeleteMarker', 'p/a', '3', false) + entry('Version', 'p/a2', '9', true), more('9'))
          : listing(entry('Version', 'p/a', '1', true) + entry('Version', 'p/a', '2', false), more('2'))
      },
      { versions },
    )
    expect(await server.store.delete('a', { signal })).toBe('freed')
    expect(removed).toEqual(['/bucket/p/a 2', '/bucket/p/a 3', '/bucket/p/a 1'])
  })

  it('page that repeats itself - STORE_FAILED, nothing is removed', async () => {
    await using server = await openScripted(() => listing(entry('Version', 'p/a', '1', true), more('1')), { versions })
    await expect(server.store.delete('a', { signal })).rejects.toMatchObject({ code: 'STORE_FAILED' })
    expect(server.requests.map(({ method }) => method)).not.toContain('DELETE')
  })

  it('version that somebody else removed meanwhile - freed', async () => {
    await using server = await openScripted(
      ({ method }) => (method === 'GET' ? listing(entry('Version', 'p/a', '1', true)) : s3Error(404, 'NoSuchVersion')),
      { versions },
    )
    expect(await server.store.delete('a', { signal })).toBe('freed')
  })

  it('versioned bucket that names the version of its marker only - hidden', async () => {
    await using server = await openScripted(() => ({ status: 204, headers: { 'x-amz-version-id': 'v' } }))
    expect(await server.store.delete('a', { signal })).toBe('hidden')
  })
})

describe('an object in an archive', () => {
  it('read - STORE_DENIED that says what to do, asked once', async () => {
    await using server = await openScripted(() => s3Error(403, 'InvalidObjectState'))
    await expect(server.store.get('a', { signal })).rejects.toMatchObject({
      code: 'STORE_DENIED',
      message: expect.stringContaining('restore it there first'),
    })
    expect(server.requests).toHaveLength(1)
  })
})

describe('answers that contradict each other', () => {
  const sent = { isTransient: true, mayHaveWorked: true }
  const unsent = { isTransient: true, mayHaveWorked: false }
  const refused = { isTransient: false, mayHaveWorked: false }
  const object = { status: 200, headers: { etag: '"e"' }, body: 'x' }
  const caught = async (promise: Promise<unknown>): Promise<unknown> =>
    await promise.then(
      () => expect.unreachable(),
      (error: unknown) => error,
    )

  it('a HEAD is refused and the same as a GET is not - STORE_DENIED all the same', async () => {
    await using server = await openScripted(({ method }) => (method === 'HEAD' ? { status: 403 } : object))
    expect(await caught(server.store.head('a', { signal }))).toMatchObject({ code: 'STORE_DENIED' })
  })

  it('an object is absent, and nobody can say whether its bucket is there - the failure, not an absence', async () => {
    await using server = await openScripted(({ path }) => ({ status: /^\/bucket\/?$/.test(path) ? 501 : 404 }))
    expect(await caught(server.store.head('a', { signal }))).toMatchObject({
      code: 'STORE_FAILED',
      message: expect.stringContaining('HeadBucket'),
    })
  })

  it('a clock that is said to be wrong by a store that does not tell its own - STORE_FAILED without a figure', async () => {
    const answer = { ...s3Error(403, 'RequestTimeTooSkewed'), headers: { date: 'some day' } }
    await using server = await openScripted(() => answer)
    const error = await caught(server.store.put('a', Buffer.from('x'), { signal }))
    expect(error).toMatchObject({
      code: 'STORE_FAILED',
      message: expect.stringMatching(/RequestTimeTooSkewed: because$/),
    })
  })

  it('more bytes than the object has - STORE_FAILED, the stream does not end', async () => {
    await using server = await openScripted(() => ({
      status: 206,
      headers: { etag: '"e"', 'content-range': 'bytes 400-999/1000' },
      body: Buffer.alloc(700),
    }))
    const reading = server.store.read('a', { signal, offset: 400 }).then(bytesOf)
    expect(await caught(reading)).toMatchObject({
      code: 'STORE_FAILED',
      message: expect.stringContaining('the store sent 1100 bytes of an object of 1000'),
    })
  })

  it('unfinished uploads of somebody else in the bucket, from a store that lists all - left alone', async () => {
    const upload = (key: string): string =>
      `<Upload><Key>${key}</Key><UploadId>of ${key}</UploadId><Initiated>2026-01-01T00:00:00Z</Initiated></Upload>`
    const body = `<ListMultipartUploadsResult>${['other/x', 'p/x', 'px'].map(upload).join('')}<IsTruncated>false</IsTruncated></ListMultipartUploadsResult>`
    await using server = await openScripted(
      ({ method, query }) => {
        if (method === 'DELETE') return { status: 204 }
        return query.has('uploadId') ? s3Error(404, 'NoSuchUpload') : { status: 200, body }
      },
      { provider: 'minio' },
    )
    expect(await server.store.sweepUnfinished(new Date('2026-02-01'), { signal })).toBe(1)
    const aborted = server.requests.filter(({ method }) => method === 'DELETE')
    expect(aborted.map(({ query }) => query.get('uploadId'))).toEqual(['of p/x'])
  })

  it('what was just written is absent - STORE_FAILED that says so', async () => {
    await using server = await openScripted(({ method, path }) =>
      method === 'HEAD' && !/^\/bucket\/?$/.test(path) ? { status: 404 } : { status: 200, headers: { etag: '"e"' } },
    )
    const error = await caught(server.store.write('a', chunks(10, 10), { signal }))
    expect(error).toMatchObject({
      code: 'STORE_FAILED',
      message: expect.stringContaining('the object is absent right after it was written'),
    })
  })

  it('another size of what was written, by a store that does not say whose it is - STORE_UNCERTAIN, and it stays', async () => {
    await using server = await openScripted(({ method }) => ({
      status: 200,
      headers: { etag: '"e"', 'content-length': method === 'HEAD' ? '9' : '0' },
    }))
    const error = await caught(server.store.write('a', chunks(10, 10), { signal }))
    expect(error).toMatchObject({ code: 'STORE_UNCERTAIN', message: expect.stringContaining('9 bytes of 10') })
    expect(server.requests.map(({ method }) => method)).not.toContain('DELETE')
  })

  it.each([
    // No port of ours is free, no file can be opened: it never left.
    ['EADDRNOTAVAIL', 'connect EADDRNOTAVAIL 10.0.0.1:443', unsent],
    ['EMFILE', 'connect EMFILE 10.0.0.1:443', unsent],
    ['EPROTO', 'write EPROTO 40:error:0A00010B:SSL routines::wrong version number:../a.c:77:', unsent],
    ['EPROTO', 'write EPROTO 40:error:0A000410:SSL routines::ssl/tls alert handshake failure:../a.c:9:', unsent],
    ['EPROTO', 'write EPROTO 40:error:0A000119:SSL routines::decryption failed or bad record mac:../a.c:8:', sent],
    ['EHOSTUNREACH', 'connect EHOSTUNREACH 10.0.0.1:443', unsent],
    ['EHOSTUNREACH', 'read EHOSTUNREACH', sent],
    ['ENOBUFS', 'write ENOBUFS', sent],
    ['ENETRESET', 'read ENETRESET', sent],
    [
      'ERR_SSL_SSL/TLS_ALERT_BAD_RECORD_MAC',
      '40:error:0A0003FC:SSL routines::ssl/tls alert bad record mac:../a.c:9:',
      sent,
    ],
    [
      'ERR_SSL_TLSV1_ALERT_INTERNAL_ERROR',
      '40:error:0A000438:SSL routines::tlsv1 alert internal error:../a.c:9:',
      sent,
    ],
    // Seen on a connection that is in use, it is a damaged record.
    [
      'ERR_SSL_WRONG_VERSION_NUMBER',
      '40:error:0A00010B:SSL routines::wrong version number:../a.c:77:',
      { ...refused, mayHaveWorked: true },
    ],
    [
      'ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION',
      '40:error:0A00042E:SSL routines::tlsv1 alert protocol version:../a.c:9:',
      refused,
    ],
    [
      'ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED',
      '40:error:0A00045C:SSL routines::tlsv13 alert certificate required:../a.c:9:',
      refused,
    ],
    ['CERT_HAS_EXPIRED', 'certificate has expired', refused],
    ['ERR_TLS_CERT_ALTNAME_INVALID', "Hostname/IP does not match certificate's altnames", refused],
  ])('%s of the line (%s) - tried again, and perhaps carried out, accordingly', (code, message, expected) => {
    const error = Object.assign(new Error(message), { code })
    expect({ isTransient: isTransient(error), mayHaveWorked: mayHaveWorked(error) }).toEqual(expected)
  })

  it('no connection within its time - certainly not carried out; no answer within its time - perhaps', () => {
    const timeout = (message: string): Error => Object.assign(new Error(message), { name: 'TimeoutError' })
    const words = 'did not establish a connection with the server within the configured timeout of 10000 ms'
    expect(mayHaveWorked(timeout(`@smithy/node-http-handler - the request socket ${words}.`))).toBe(false)
    expect(mayHaveWorked(timeout('socket has timed out'))).toBe(true)
  })
})
