import { createHash } from 'node:crypto'
import { inspect } from 'node:util'
import {
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  HeadObjectCommand,
  PutObjectCommand,
} from '@aws-sdk/client-s3'
import { Client as MinioClient } from 'minio'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { silentLog } from '../../src/log.ts'
import type { ObjectStore } from '../../src/storage/object-store.ts'
import { openStore } from '../../src/storage/open-store.ts'
import { S3Store } from '../../src/storage/s3.ts'
import { s3Profiles } from '../../src/storage/s3-profiles.ts'
import type { StoreSettings } from '../../src/storage/store-settings.ts'
import { testClient } from '../support/s3-server.ts'
import { makeTestBucket, type TestBucket } from '../support/test-bucket.ts'
import { bytesOf, chunks, collect, hashed, objectStoreSuite, sha256 } from './object-store.suite.ts'

const parts = { clock: systemClock, log: silentLog }
const mebibyte = 2 ** 20

objectStoreSuite('S3', async () => {
  const bucket = await makeTestBucket()
  const store = new S3Store(bucket.settings(), parts)
  return {
    store,
    partBytes: 5 * mebibyte,
    unfinished: async () => (await bucket.unfinished()).length,
    close: async () => {
      await store.close()
      await bucket.remove()
    },
  }
})

describe('S3 as a store', () => {
  const { signal } = new AbortController()
  let bucket: TestBucket
  let store: ObjectStore

  beforeAll(async () => {
    bucket = await makeTestBucket()
    store = await openStore(bucket.settings(), parts)
  })
  afterAll(async () => {
    await store.close()
    await bucket.remove()
  })
  afterEach(() => void vi.unstubAllEnvs())

  const everyCall = (of: ObjectStore) => [
    of.put('a', Buffer.from('x'), { signal }),
    of.write('a', chunks(10, 10), { signal }),
    of.get('a', { signal }),
    of.read('a', { signal }),
    of.head('a', { signal }),
    collect(of.list('', { signal })),
    of.delete('a', { signal }),
    of.sweepUnfinished(new Date(), { signal }),
  ]
  const expectEach = async (over: Partial<StoreSettings>, expected: object) => {
    const wrong = await openStore(bucket.settings(over), parts)
    for (const call of await Promise.allSettled(everyCall(wrong)))
      expect(call).toMatchObject({ status: 'rejected', reason: expected })
    await wrong.close()
  }

  it('nothing asked yet - clock skew unknown', async () => {
    const fresh = await openStore(bucket.settings(), parts)
    expect(fresh.clockSkewSeconds()).toBeUndefined()
    await fresh.close()
  })

  it('wrong secret - every call rejects with STORE_DENIED, and no error holds the secret', async () => {
    const secret = 'a-secret-that-must-not-be-seen'
    await expectEach({ secretAccessKey: () => secret }, { code: 'STORE_DENIED', exitCode: 11 })
    const wrong = await openStore(bucket.settings({ secretAccessKey: () => secret, sessionToken: () => secret }), parts)
    const error: unknown = await wrong.head('a', { signal }).catch((thrown: unknown) => thrown)
    expect(inspect(error, { depth: Number.POSITIVE_INFINITY, showHidden: true })).not.toContain(secret)
    await wrong.close()
  })

  it('unknown access key - STORE_DENIED', async () => {
    await expectEach({ accessKeyId: 'nobody' }, { code: 'STORE_DENIED' })
  })

  it('bucket missing - every call rejects with STORE_BUCKET_MISSING, naming it', async () => {
    const name = 'pgproof-no-such-bucket'
    await expectEach(
      { url: `s3://${name}/x` },
      { code: 'STORE_BUCKET_MISSING', message: expect.stringContaining(name) },
    )
  })

  it('port refused - STORE_UNREACHABLE within seconds, naming the endpoint', async () => {
    const started = performance.now()
    const endpoint = 'http://127.0.0.1:1'
    await expectEach({ endpoint }, { code: 'STORE_UNREACHABLE', message: expect.stringContaining(endpoint) })
    expect(performance.now() - started).toBeLessThan(10_000)
  })

  it('endpoint that is not S3 at all - an error of the register', async () => {
    await expectEach({ endpoint: 'http://no-such-host.invalid' }, { code: 'STORE_UNREACHABLE' })
  })

  it('AWS, and the region neither configured nor known - USAGE_INVALID', async () => {
    for (const name of ['AWS_REGION', 'AWS_DEFAULT_REGION', 'AWS_PROFILE']) vi.stubEnv(name, undefined)
    vi.stubEnv('AWS_CONFIG_FILE', '/nonexistent')
    await expectEach({ provider: 'aws', endpoint: undefined, region: undefined }, { code: 'USAGE_INVALID' })
  })

  it.each([
    ['secret without an id', { accessKeyId: undefined }],
    ['id without a secret', { secretAccessKey: undefined }],
    ['no bucket', { url: 's3:///prefix' }],
    ['a login in the URL', { url: 's3://key:topsecret@bucket/prefix' }],
    ['an unknown scheme', { url: 'ftp://host/x?topsecret' }],
    ['an unreadable CA file', { caFile: '/nonexistent/ca.pem' }],
  ])('settings with %s - USAGE_INVALID without showing the URL', async (_what, over) => {
    const error: unknown = await openStore(bucket.settings(over), parts).catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({ code: 'USAGE_INVALID' })
    expect(String(error)).not.toContain('topsecret')
  })

  it('no access key configured - the default chain finds the one in the environment', async () => {
    vi.stubEnv('AWS_ACCESS_KEY_ID', bucket.server.accessKeyId)
    vi.stubEnv('AWS_SECRET_ACCESS_KEY', bucket.server.secretAccessKey)
    const chained = await openStore(bucket.settings({ accessKeyId: undefined, secretAccessKey: undefined }), parts)
    await chained.put('chained', Buffer.from('x'), { signal })
    expect(await chained.head('chained', { signal })).toMatchObject({ bytes: 1 })
    await chained.close()
  })

  it('prefix - objects of other prefixes are invisible, and the bucket itself works as a store', async () => {
    const whole = await openStore(bucket.settings({ url: `s3://${bucket.name}` }), parts)
    const other = await openStore(bucket.settings({ url: `s3://${bucket.name}/some/prefix2//` }), parts)
    await store.put('p/own', Buffer.from('x'), { signal })
    await other.put('p/other', Buffer.from('x'), { signal })
    expect(other.url).toBe(`s3://${bucket.name}/some/prefix2`)
    expect((await collect(store.list('p/', { signal }))).map(({ key }) => key)).toEqual(['p/own'])
    expect((await collect(other.list('', { signal }))).map(({ key }) => key)).toEqual(['p/other'])
    expect((await collect(whole.list('some/', { signal }))).map(({ key }) => key)).toEqual(
      expect.arrayContaining(['some/prefix/p/own', 'some/prefix2/p/other']),
    )
    await Promise.all([whole.close(), other.close()])
  })

  it('folder objects and control characters of other programs - listed without trouble', async () => {
    const client = testClient(bucket.server)
    for (const name of ['foreign/', 'foreign/a+b c', 'foreign/\u0001'])
      await client.send(new PutObjectCommand({ Bucket: bucket.name, Key: `some/prefix/${name}`, Body: 'x' }))
    client.destroy()
    expect((await collect(store.list('foreign/', { signal }))).map(({ key }) => key)).toEqual([
      'foreign/\u0001',
      'foreign/a+b c',
    ])
  })

  it('stored objects - the minio client lists and reads the same', async () => {
    const { hostname, port, protocol } = new URL(bucket.server.endpoint)
    const minio = new MinioClient({
      endPoint: hostname,
      port: Number(port),
      useSSL: protocol === 'https:',
      accessKey: bucket.server.accessKeyId,
      secretKey: bucket.server.secretAccessKey,
      region: bucket.server.region,
    })
    const sent = createHash('sha256')
    await store.write('cross/dump.zst.pgp', hashed(chunks(12 * mebibyte + 7, 100_000), sent), { signal })
    await store.put('cross/manifest.json', Buffer.from('{}'), { signal })
    const listed: unknown[] = []
    for await (const item of minio.listObjectsV2(bucket.name, 'some/prefix/cross/', true))
      listed.push([item.name, item.size])
    expect(listed).toEqual([
      ['some/prefix/cross/dump.zst.pgp', 12 * mebibyte + 7],
      ['some/prefix/cross/manifest.json', 2],
    ])
    const dump = await minio.getObject(bucket.name, 'some/prefix/cross/dump.zst.pgp')
    expect((await sha256(dump)).sha256).toBe(sent.digest('hex'))
    expect(String(await bytesOf(await minio.getObject(bucket.name, 'some/prefix/cross/manifest.json')))).toBe('{}')
  })

  it('checksums of the SDK on - written and read back identical', async () => {
    const checked = await openStore(bucket.settings({ provider: 'minio' }), parts)
    const sent = createHash('sha256')
    await checked.write('checked', hashed(chunks(11 * mebibyte, 100_000), sent), { signal })
    expect((await sha256(await checked.read('checked', { signal }))).sha256).toBe(sent.digest('hex'))
    await checked.put('checked-small', Buffer.from('x'), { signal, ifAbsent: true })
    await checked.close()
  })

  it('stream outgrows the allowed parts - the last parts grow, read back identical', async () => {
    const profile = { ...s3Profiles[bucket.server.provider], maxParts: 20 }
    const narrow = new S3Store(bucket.settings(), { ...parts, profile })
    const sent = createHash('sha256')
    const bytes = 101 * mebibyte
    expect(await narrow.write('outgrown', hashed(chunks(bytes, 700_000), sent), { signal })).toEqual({ bytes })
    expect((await sha256(await narrow.read('outgrown', { signal }))).sha256).toBe(sent.digest('hex'))
    await narrow.close()
  })

  it('stream outgrows the allowed parts where they must be equal - STORE_TOO_LARGE, nothing left', async () => {
    const profile = { ...s3Profiles[bucket.server.provider], maxParts: 3, equalParts: true }
    const narrow = new S3Store(bucket.settings(), { ...parts, profile })
    await expect(narrow.write('too-large', chunks(16 * mebibyte, 700_000), { signal })).rejects.toMatchObject({
      code: 'STORE_TOO_LARGE',
    })
    expect(await narrow.head('too-large', { signal })).toBeUndefined()
    expect(await bucket.unfinished()).toEqual([])
    await narrow.close()
  })

  it('unfinished uploads of a crash - the old ones of the own prefix are swept, the young and the foreign stay', async () => {
    const client = testClient(bucket.server)
    const create = (Key: string) => client.send(new CreateMultipartUploadCommand({ Bucket: bucket.name, Key }))
    for (const key of ['some/prefix/crashed/1', 'some/prefix/crashed/2', 'elsewhere/upload']) await create(key)
    client.destroy()
    expect(await store.sweepUnfinished(new Date(Date.now() - 3_600_000), { signal })).toBe(0)
    expect(await store.sweepUnfinished(new Date(Date.now() + 3_600_000), { signal })).toBe(2)
    expect(await bucket.unfinished()).toEqual(['elsewhere/upload'])
    const elsewhere = await openStore(bucket.settings({ url: `s3://${bucket.name}/elsewhere` }), parts)
    expect(await elsewhere.sweepUnfinished(new Date(Date.now() + 3_600_000), { signal })).toBe(1)
    await elsewhere.close()
  })
})

describe('S3 with Object Lock', () => {
  const { signal } = new AbortController()

  it.each(['minio', 'ceph'] as const)('checksums as for %s - small and large objects are locked', async (provider) => {
    const bucket = await makeTestBucket({ objectLock: true })
    const objectLock = { mode: 'governance', forMs: 3_600_000 } as const
    const store = await openStore(bucket.settings({ provider, objectLock }), parts)
    const client = testClient(bucket.server)
    await store.put('small', Buffer.from('x'), { signal })
    await store.write('large', chunks(11 * mebibyte, 100_000), { signal })
    for (const key of ['small', 'large']) {
      const place = { Bucket: bucket.name, Key: `some/prefix/${key}` }
      const head = await client.send(new HeadObjectCommand(place))
      expect(head.ObjectLockMode, key).toBe('GOVERNANCE')
      expect(Math.abs((head.ObjectLockRetainUntilDate?.getTime() ?? 0) - Date.now() - 3_600_000)).toBeLessThan(60_000)
      await expect(client.send(new DeleteObjectCommand({ ...place, VersionId: head.VersionId }))).rejects.toMatchObject(
        { name: 'AccessDenied' },
      )
    }
    await expect(store.put('small', Buffer.from('y'), { signal, ifAbsent: true })).rejects.toMatchObject({
      code: 'STORE_EXISTS',
    })
    client.destroy()
    await store.close()
    await bucket.remove()
  })
})
