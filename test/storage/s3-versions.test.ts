import {
  DeleteObjectCommand,
  GetObjectTaggingCommand,
  HeadObjectCommand,
  ListObjectVersionsCommand,
  PutBucketVersioningCommand,
  PutObjectCommand,
  PutObjectLegalHoldCommand,
  type S3Client,
} from '@aws-sdk/client-s3'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { silentLog } from '../../src/log.ts'
import type { ObjectStore } from '../../src/storage/object-store.ts'
import { S3Store } from '../../src/storage/s3.ts'
import type { StoreSettings } from '../../src/storage/store-settings.ts'
import { testClient } from '../support/s3-server.ts'
import { makeTestBucket, type TestBucket } from '../support/test-bucket.ts'
import { chunks, collect } from './object-store.suite.ts'

const { signal } = new AbortController()
const parts = { clock: systemClock, log: silentLog }
const mebibyte = 2 ** 20
const hour = 3_600_000

/** A bucket, a client to look behind the scenes, and stores in it that are closed with it. */
async function arrange(options: { objectLock?: boolean; versioned?: boolean } = {}) {
  const bucket: TestBucket = await makeTestBucket(options)
  const client: S3Client = testClient(bucket.server)
  if (options.versioned === true)
    await client.send(
      new PutBucketVersioningCommand({ Bucket: bucket.name, VersioningConfiguration: { Status: 'Enabled' } }),
    )
  const opened: ObjectStore[] = []
  const place = (key: string) => ({ Bucket: bucket.name, Key: `some/prefix/${key}` })
  return {
    client,
    place,
    open: (over: Partial<StoreSettings> = {}): ObjectStore => {
      const store = new S3Store(bucket.settings(over), parts)
      opened.push(store)
      return store
    },
    /** Of all keys, as `key` for a version and `key (marker)` for a delete marker. */
    held: async (): Promise<string[]> => {
      const page = await client.send(new ListObjectVersionsCommand({ Bucket: bucket.name }))
      const name = (Key: string | undefined) => (Key ?? '').replace('some/prefix/', '')
      return [
        ...(page.Versions ?? []).map(({ Key }) => name(Key)),
        ...(page.DeleteMarkers ?? []).map(({ Key }) => `${name(Key)} (marker)`),
      ].sort()
    },
    release: async () => {
      for (const store of opened) await store.close()
      client.destroy()
      await bucket.remove()
    },
  }
}
type Arranged = Awaited<ReturnType<typeof arrange>>
const keysOf = async (store: ObjectStore) => (await collect(store.list('', { signal }))).map(({ key }) => key)

describe('delete in a bucket without versions', () => {
  let s3: Arranged
  beforeAll(async () => {
    s3 = await arrange()
  })
  afterAll(() => s3.release())

  it.each(['keep', 'remove'] as const)('versions: %s - freed, also when it is absent', async (versions) => {
    const store = s3.open({ versions })
    await store.put('a/b', Buffer.from('x'), { signal })
    await store.put('a/b2', Buffer.from('x'), { signal })
    expect(await store.delete('a/b', { signal })).toBe('freed')
    expect(await store.delete('a/b', { signal })).toBe('freed')
    expect(await s3.held()).toEqual(['a/b2'])
    await store.delete('a/b2', { signal })
  })
})

describe('delete in a versioned bucket', () => {
  let s3: Arranged
  beforeAll(async () => {
    s3 = await arrange({ versioned: true })
  })
  afterAll(() => s3.release())

  it('versions kept - hidden: neither listed nor found, and all of it is still there', async () => {
    const store = s3.open()
    await store.put('kept', Buffer.from('x'), { signal })
    expect(await store.delete('kept', { signal })).toBe('hidden')
    expect(await store.head('kept', { signal })).toBeUndefined()
    await expect(store.get('kept', { signal })).rejects.toMatchObject({ code: 'STORE_NOT_FOUND' })
    expect(await keysOf(store)).toEqual([])
    expect(await s3.held()).toEqual(['kept', 'kept (marker)'])
  })

  it('versions removed - freed with every version and marker, and no other key is touched', async () => {
    const [keeping, removing] = [s3.open(), s3.open({ versions: 'remove' })]
    for (const key of ['r/a', 'r/a b+c%', 'r/a2', 'r/a/below'])
      for (const text of ['1', '2']) await keeping.put(key, Buffer.from(text), { signal })
    await keeping.delete('r/a', { signal })
    await keeping.put('r/a', Buffer.from('3'), { signal })
    expect(await removing.delete('r/a', { signal })).toBe('freed')
    expect(await removing.delete('r/a b+c%', { signal })).toBe('freed')
    expect((await s3.held()).filter((key) => key.startsWith('r/'))).toEqual([
      ...['r/a/below', 'r/a/below', 'r/a2', 'r/a2'],
    ])
  })

  it('hidden by an earlier run that kept versions - removed with its marker', async () => {
    const [keeping, removing] = [s3.open(), s3.open({ versions: 'remove' })]
    await keeping.put('residue', Buffer.from('x'), { signal })
    await keeping.delete('residue', { signal })
    expect(await removing.delete('residue', { signal })).toBe('freed')
    expect((await s3.held()).filter((key) => key.startsWith('residue'))).toEqual([])
  })

  it('more versions than one page of the listing - all removed', async () => {
    const store = s3.open({ versions: 'remove' })
    const batch = Array.from({ length: 25 })
    for (let put = 0; put < 1_025; put += batch.length)
      await Promise.all(batch.map(() => s3.client.send(new PutObjectCommand({ ...s3.place('many'), Body: 'x' }))))
    expect(await store.delete('many', { signal })).toBe('freed')
    expect((await s3.held()).filter((key) => key.startsWith('many'))).toEqual([])
  })
})

describe('Object Lock', () => {
  const objectLock = { mode: 'governance', forMs: hour } as const
  let s3: Arranged
  beforeAll(async () => {
    s3 = await arrange({ objectLock: true })
  })
  afterAll(() => s3.release())

  it('locked object - head tells until when, for a single put and for a multipart upload', async () => {
    const store = s3.open({ objectLock })
    await store.put('told/small', Buffer.from('x'), { signal })
    await store.write('told/large', chunks(11 * mebibyte, 100_000), { signal })
    for (const key of ['told/small', 'told/large']) {
      const until = (await store.head(key, { signal }))?.lockedUntil?.getTime() ?? 0
      expect(Math.abs(until - Date.now() - hour), key).toBeLessThan(60_000)
    }
  })

  it('object without a lock in the same bucket - head tells of none, and its version is removed', async () => {
    const store = s3.open({ versions: 'remove' })
    await store.put('free', Buffer.from('x'), { signal })
    expect((await store.head('free', { signal }))?.lockedUntil).toBeUndefined()
    expect(await store.delete('free', { signal })).toBe('freed')
  })

  it.each(['keep', 'remove'] as const)(
    'a brief object, versions: %s - without a lock, and gone when it is deleted',
    async (versions) => {
      const store = s3.open({ objectLock, versions })
      await store.put('brief', Buffer.from('x'), { signal, isBrief: true })
      expect((await store.head('brief', { signal }))?.lockedUntil).toBeUndefined()
      expect(await store.delete('brief', { signal })).toBe(versions === 'keep' ? 'hidden' : 'freed')
      expect(await store.head('brief', { signal })).toBeUndefined()
    },
  )

  it('plain delete of a locked object - hidden, and the locked version is still there', async () => {
    const store = s3.open({ objectLock })
    await store.put('plain', Buffer.from('x'), { signal })
    expect(await store.delete('plain', { signal })).toBe('hidden')
    expect((await s3.held()).filter((key) => key.startsWith('plain'))).toEqual(['plain', 'plain (marker)'])
  })

  it('removal of a locked version - STORE_LOCKED with the time, and the object is still seen', async () => {
    const store = s3.open({ objectLock, versions: 'remove' })
    await store.put('locked', Buffer.from('x'), { signal })
    const until = (await store.head('locked', { signal }))?.lockedUntil?.toISOString() ?? ''
    await expect(store.delete('locked', { signal })).rejects.toMatchObject({
      code: 'STORE_LOCKED',
      message: expect.stringContaining(`locked under Object Lock until ${until}`),
    })
    expect(await keysOf(store)).toContain('locked')
  })

  it('older version locked, newest not - STORE_LOCKED, and the newest is still seen', async () => {
    const store = s3.open({ versions: 'remove' })
    await s3.open({ objectLock }).put('older', Buffer.from('1'), { signal })
    await store.put('older', Buffer.from('2'), { signal })
    await expect(store.delete('older', { signal })).rejects.toMatchObject({ code: 'STORE_LOCKED' })
    expect(String(await store.get('older', { signal }))).toBe('2')
  })

  it('legal hold - head tells of a lock without end, removal is STORE_LOCKED by the hold until it is lifted', async () => {
    const store = s3.open({ versions: 'remove' })
    await store.put('held', Buffer.from('x'), { signal })
    const hold = (Status: 'ON' | 'OFF') =>
      s3.client.send(new PutObjectLegalHoldCommand({ ...s3.place('held'), LegalHold: { Status } }))
    await hold('ON')
    expect((await store.head('held', { signal }))?.lockedUntil?.getUTCFullYear()).toBe(9999)
    await expect(store.delete('held', { signal })).rejects.toMatchObject({
      code: 'STORE_LOCKED',
      message: expect.stringContaining('by a legal hold'),
    })
    await hold('OFF')
    expect(await store.delete('held', { signal })).toBe('freed')
  })

  it('bucket without Object Lock - the write says so, nothing is left', async () => {
    const unlocked = await arrange()
    const store = unlocked.open({ objectLock })
    const said = { code: 'STORE_LOCK_MISSING', hint: expect.stringContaining('made with Object Lock') }
    await expect(store.put('a', Buffer.from('x'), { signal })).rejects.toMatchObject(said)
    await expect(store.write('b', chunks(11 * mebibyte, 100_000), { signal })).rejects.toMatchObject(said)
    expect(await unlocked.held()).toEqual([])
    await unlocked.release()
  })
})

describe('what is wanted of each object', () => {
  let s3: Arranged
  beforeAll(async () => {
    s3 = await arrange()
  })
  afterAll(() => s3.release())

  it('tags and a storage class - on small and large objects as the server holds them', async () => {
    const tags = { team: 'data base', 'cost/centre': '42+1=43 é' }
    const store = s3.open({ tags, storageClass: 'STANDARD' })
    await store.put('small', Buffer.from('x'), { signal })
    await store.write('large', chunks(11 * mebibyte, 100_000), { signal })
    for (const key of ['small', 'large']) {
      const { TagSet = [] } = await s3.client.send(new GetObjectTaggingCommand(s3.place(key)))
      expect(Object.fromEntries(TagSet.map(({ Key, Value }) => [Key, Value])), key).toEqual(tags)
      const head = await s3.client.send(new HeadObjectCommand(s3.place(key)))
      expect(head.StorageClass ?? 'STANDARD').toBe('STANDARD')
      await s3.client.send(new DeleteObjectCommand(s3.place(key)))
    }
  })

  it.each([
    ['a storage class that the server does not have', { storageClass: 'NO_SUCH_CLASS' }],
    ['encryption that the server does not offer here', { serverSideEncryption: 'AES256' as const }],
  ])('%s - the first write fails, nothing is left', async (_what, over) => {
    const store = s3.open(over)
    await expect(store.put('a', Buffer.from('x'), { signal })).rejects.toMatchObject({
      code: 'STORE_FAILED',
      message: expect.stringMatching(/Invalid/),
    })
    await expect(store.write('b', chunks(11 * mebibyte, 100_000), { signal })).rejects.toMatchObject({
      code: expect.stringMatching(/^STORE_/),
    })
    expect(await s3.held()).toEqual([])
  })
})
