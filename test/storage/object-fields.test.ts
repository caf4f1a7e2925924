import { createHash } from 'node:crypto'
import { crc32 } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { silentLog } from '../../src/log.ts'
import { openStore } from '../../src/storage/open-store.ts'
import { S3Connection } from '../../src/storage/s3-connection.ts'
import type { StoreProvider, StoreSettings } from '../../src/storage/store-settings.ts'
import type { HttpRequest } from '../support/scripted-http.ts'
import { chunks } from './object-store.suite.ts'
import { mebibyte, openScripted, takingServer } from './scripted-store.ts'

const { signal } = new AbortController()
const providers: readonly StoreProvider[] = ['aws', 'minio', 'r2', 'b2', 'ceph', 'generic']
const withChecksums: readonly StoreProvider[] = ['aws', 'minio']

/** The headers that say something of the object; not those of signing, nor of the body. */
function fieldsOf({ headers }: HttpRequest): Record<string, unknown> {
  const told = Object.entries(headers).filter(
    ([name]) =>
      name.startsWith('x-amz-') && !/^x-amz-(?:date|content-sha256|user-agent|meta-|checksum-|sdk-)/.test(name),
  )
  return Object.fromEntries(told)
}
const isCreate = ({ query }: HttpRequest): boolean => query.has('uploads')
const isPart = ({ query }: HttpRequest): boolean => query.has('partNumber')
const isSmallPut = ({ method, path }: HttpRequest): boolean => method === 'PUT' && path === '/bucket/p/small'
const isComplete = ({ method, query }: HttpRequest): boolean => method === 'POST' && query.has('uploadId')

/** Writes a small and a large object; every request that this took. */
async function requestsOf(over: Partial<StoreSettings>, head: Record<string, string> = {}): Promise<HttpRequest[]> {
  await using server = await openScripted(takingServer(head), over)
  await server.store.put('small', Buffer.from('x'), { signal })
  await server.store.write('large', chunks(6 * mebibyte, mebibyte), { signal })
  return server.requests
}

describe.each(providers)('what is wanted of each object, provider %s', (provider) => {
  it.each([
    ['nothing', {}, {}],
    [
      'encryption by the store',
      { serverSideEncryption: 'AES256' as const },
      { 'x-amz-server-side-encryption': 'AES256' },
    ],
    [
      'encryption by the default key of KMS',
      { serverSideEncryption: 'aws:kms' as const },
      { 'x-amz-server-side-encryption': 'aws:kms' },
    ],
    [
      'encryption by a key of KMS',
      { serverSideEncryption: 'aws:kms' as const, kmsKeyId: 'arn:aws:kms:eu-central-1:1:key/2' },
      {
        'x-amz-server-side-encryption': 'aws:kms',
        'x-amz-server-side-encryption-aws-kms-key-id': 'arn:aws:kms:eu-central-1:1:key/2',
      },
    ],
    ['a storage class', { storageClass: 'STANDARD_IA' }, { 'x-amz-storage-class': 'STANDARD_IA' }],
    [
      'tags',
      { tags: { team: 'data base', 'a/b': '1+1=2 & é' } },
      { 'x-amz-tagging': 'team=data%20base&a%2Fb=1%2B1%3D2%20%26%20%C3%A9' },
    ],
  ])('%s - with the put and the start of the multipart upload, with nothing else', async (_what, over, expected) => {
    const requests = await requestsOf({ provider, ...over })
    for (const is of [isSmallPut, isCreate]) expect(requests.filter(is).map(fieldsOf)).toEqual([expected])
    expect(requests.filter(isPart)).toHaveLength(2)
    for (const request of requests.filter((each) => !isSmallPut(each) && !isCreate(each)))
      expect(fieldsOf(request)).toEqual({})
  })

  it('Object Lock - mode and date by the clock of the store, and every body with the proof that the lock demands', async () => {
    const ahead = Date.now() + 7_200_000
    const requests = await requestsOf(
      { provider, objectLock: { mode: 'compliance', forMs: 86_400_000 } },
      { 'x-amz-object-lock-mode': 'COMPLIANCE', date: new Date(ahead).toUTCString() },
    )
    const create = requests.find(isCreate)
    expect(fieldsOf(requests.find(isSmallPut) as HttpRequest)).toMatchObject({ 'x-amz-object-lock-mode': 'COMPLIANCE' })
    expect(create && fieldsOf(create)).toMatchObject({ 'x-amz-object-lock-mode': 'COMPLIANCE' })
    const bodies = requests.filter((each) => isSmallPut(each) || isPart(each))
    expect(bodies).toHaveLength(3)
    for (const { headers, body } of bodies) {
      const sum = Buffer.alloc(4)
      sum.writeUInt32BE(crc32(body))
      const proofs = { crc32: headers['x-amz-checksum-crc32'], md5: headers['content-md5'] }
      if (withChecksums.includes(provider)) expect(proofs).toEqual({ crc32: sum.toString('base64'), md5: undefined })
      else expect(proofs).toEqual({ crc32: undefined, md5: createHash('md5').update(body).digest('base64') })
    }
    expect(create?.headers['x-amz-checksum-algorithm']).toBe(withChecksums.includes(provider) ? 'CRC32' : undefined)
    expect(requests.filter(isComplete)).toHaveLength(1)
  })
})

describe('what a store forgot of a multipart upload', () => {
  const isRetention = ({ query }: HttpRequest): boolean => query.has('retention')
  const isTagging = ({ query }: HttpRequest): boolean => query.has('tagging')

  it('lock date - a clock two hours ahead at the store moves it', async () => {
    const skewed = new Date(Date.now() + 7_200_000)
    await using server = await openScripted(takingServer({ date: skewed.toUTCString() }), {
      objectLock: { mode: 'governance', forMs: 86_400_000 },
    })
    await server.store.head('a', { signal })
    await server.store.put('small', Buffer.from('x'), { signal })
    const until = Date.parse(String(server.requests.at(-1)?.headers['x-amz-object-lock-retain-until-date']))
    expect(Math.abs(until - skewed.getTime() - 86_400_000)).toBeLessThan(60_000)
  })

  it('no lock on what was written - set afterwards', async () => {
    const requests = await requestsOf({ objectLock: { mode: 'governance', forMs: 1_000 } })
    expect(requests.filter(isRetention)).toHaveLength(1)
    expect(String(requests.find(isRetention)?.body)).toContain('<Mode>GOVERNANCE</Mode>')
  })

  it('no tags on what was written - set afterwards; a store that does not tell how many - left alone', async () => {
    const tags = { team: 'data' }
    const requests = await requestsOf({ tags }, { 'x-amz-tagging-count': '0' })
    expect(requests.filter(isTagging)).toHaveLength(1)
    expect(String(requests.find(isTagging)?.body)).toContain('<Key>team</Key><Value>data</Value>')
    expect((await requestsOf({ tags }, { 'x-amz-tagging-count': '1' })).filter(isTagging)).toEqual([])
    expect((await requestsOf({ tags })).filter(isTagging)).toEqual([])
  })
})

describe('region', () => {
  it.each<[string, Partial<StoreSettings>, string]>([
    ['configured', { provider: 'generic', region: 'eu-1' }, 'eu-1'],
    ['not configured', { provider: 'generic' }, 'us-east-1'],
    ['not configured, of R2', { provider: 'r2' }, 'auto'],
    [
      'in the address of B2',
      { provider: 'b2', endpoint: 'https://s3.eu-central-003.backblazeb2.com' },
      'eu-central-003',
    ],
    [
      'in the address of B2, against what is configured',
      { provider: 'b2', endpoint: 'https://s3.eu-central-003.backblazeb2.com', region: 'us-east-1' },
      'eu-central-003',
    ],
  ])('%s - requests are signed for it', async (_what, over, expected) => {
    const settings = { url: 's3://bucket/p', provider: 'generic' as const, ...over }
    const { client } = new S3Connection(settings, { clock: systemClock, log: silentLog })
    expect(await client.config.region()).toBe(expected)
    client.destroy()
  })
})

describe('settings with which nothing could be written, or nothing read again', () => {
  const many = Object.fromEntries(Array.from({ length: 11 }, (_, index) => [`tag${index}`, 'x']))

  it.each<[string, Partial<StoreSettings>, string]>([
    ['a KMS key without KMS', { kmsKeyId: 'key' }, 'aws:kms'],
    ['a KMS key with AES256', { kmsKeyId: 'key', serverSideEncryption: 'AES256' }, 'aws:kms'],
    ['an archive as storage class', { storageClass: 'DEEP_ARCHIVE' }, 'DEEP_ARCHIVE'],
    ['eleven tags', { tags: many }, 'at most 10'],
    ['a tag without a name', { tags: { '': 'x' } }, 'name'],
    ['a tag with a long value', { tags: { a: 'x'.repeat(257) } }, '256'],
  ])('%s - USAGE_INVALID that says so', async (_what, over, said) => {
    const settings = { url: 's3://bucket/p', provider: 'generic' as const, ...over }
    await expect(openStore(settings, { clock: systemClock, log: silentLog })).rejects.toMatchObject({
      code: 'USAGE_INVALID',
      message: expect.stringContaining(said),
    })
  })
})
