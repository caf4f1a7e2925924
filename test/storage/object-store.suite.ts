import { createHash } from 'node:crypto'
import type { Readable } from 'node:stream'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { PgproofError } from '../../src/errors.ts'
import type { ObjectInfo, ObjectStore } from '../../src/storage/object-store.ts'

export type StoreUnderTest = {
  readonly store: ObjectStore
  /** Multipart uploads, temporary files and the like that are there now. */
  unfinished(): Promise<number>
  /** The size at which a stream is split, if the store splits. */
  readonly partBytes: number
  /** How many objects it takes to see several pages of a listing; default 2,500. */
  readonly manyObjects?: number
  close(): Promise<void>
}

const mebibyte = 2 ** 20

/** The contract of `ObjectStore`, line by line. `make` is called once, for an empty store. */
export function objectStoreSuite(name: string, make: () => Promise<StoreUnderTest>): void {
  describe(`${name} keeps the contract of a store`, () => {
    let under: StoreUnderTest
    let store: ObjectStore
    const { signal } = new AbortController()
    let cases = 0
    /** A folder of its own for each test. */
    const folder = () => {
      cases += 1
      return `case-${cases}/`
    }

    beforeAll(async () => {
      under = await make()
      store = under.store
    })
    afterAll(async () => {
      await under.close()
    })

    const keysBelow = async (prefix: string) => (await collect(store.list(prefix, { signal }))).map(({ key }) => key)
    const expectNothingLeft = async (prefix: string) => {
      expect({ keys: await keysBelow(prefix), unfinished: await under.unfinished() }).toEqual({
        keys: [],
        unfinished: 0,
      })
    }

    it('clock skew - small after the first answer', async () => {
      const key = `${folder()}object`
      await store.put(key, Buffer.from('x'), { signal })
      expect(Math.abs(store.clockSkewSeconds() ?? 99)).toBeLessThan(5)
    })

    it('small object put - head, list and both reads give what was put', async () => {
      const prefix = folder()
      const before = Date.now()
      await store.put(`${prefix}a/manifest.json`, Buffer.from('{"format":1}'), { signal })
      const head = await store.head(`${prefix}a/manifest.json`, { signal })
      expect(head).toMatchObject({ key: `${prefix}a/manifest.json`, bytes: 12 })
      expect(Math.abs((head as ObjectInfo).modifiedAt.getTime() - before)).toBeLessThan(60_000)
      expect(await collect(store.list(prefix, { signal }))).toMatchObject([
        { key: `${prefix}a/manifest.json`, bytes: 12, modifiedAt: expect.any(Date) },
      ])
      expect(text(await store.get(`${prefix}a/manifest.json`, { signal }))).toBe('{"format":1}')
      expect(text(await bytesOf(await store.read(`${prefix}a/manifest.json`, { signal })))).toBe('{"format":1}')
    })

    it('stream under way - nothing is visible until it has ended, then all of it', async () => {
      const prefix = folder()
      const seen: unknown[] = []
      const look = async () => seen.push([await store.head(`${prefix}dump`, { signal }), await keysBelow(prefix)])
      const total = 2 * under.partBytes + 1000
      const source = (async function* () {
        await look()
        yield Buffer.alloc(under.partBytes + 1, 1)
        await look()
        yield Buffer.alloc(total - under.partBytes - 1, 2)
        await look()
      })()
      expect(await store.write(`${prefix}dump`, source, { signal })).toEqual({ bytes: total })
      expect(seen).toEqual([
        [undefined, []],
        [undefined, []],
        [undefined, []],
      ])
      expect(await store.head(`${prefix}dump`, { signal })).toMatchObject({ bytes: total })
      expect(await under.unfinished()).toBe(0)
    })

    it.each([
      ['at once', 0],
      ['within the first part', 1000],
      ['after several parts', 2.5],
    ])('source throws %s - its own error, no object, nothing unfinished', async (_when, amount) => {
      const prefix = folder()
      const failure = new PgproofError('DUMP_FAILED', { program: 'pg_dump', outcome: 'exit code 1' })
      const bytes = amount === 2.5 ? Math.ceil(2.5 * under.partBytes) : amount
      const source = (async function* () {
        yield* chunks(bytes, 100_000)
        throw failure
      })()
      await expect(store.write(`${prefix}x/dump`, source, { signal })).rejects.toBe(failure)
      await expectNothingLeft(prefix)
    })

    it.each([
      ['nothing sent yet', 0],
      ['several parts sent', 2.5],
    ])('abort while the source is silent, %s - CANCELLED soon, no object, nothing unfinished', async (_when, parts) => {
      const prefix = folder()
      const controller = new AbortController()
      const source = (async function* () {
        yield* chunks(Math.ceil(parts * under.partBytes), 100_000)
        setTimeout(() => controller.abort(), 50)
        await new Promise(() => {})
      })()
      const started = performance.now()
      await expect(store.write(`${prefix}x/dump`, source, { signal: controller.signal })).rejects.toMatchObject({
        code: 'CANCELLED',
      })
      expect(performance.now() - started).toBeLessThan(5_000)
      await expectNothingLeft(prefix)
    })

    it('abort with a reason from the register - the write rejects with that reason and ends the source', async () => {
      const prefix = folder()
      const controller = new AbortController()
      const reason = new PgproofError('SHUTTING_DOWN')
      let isSourceEnded = false
      const source = (async function* () {
        try {
          for (;;) {
            yield Buffer.alloc(100_000)
            controller.abort(reason)
          }
        } finally {
          isSourceEnded = true
        }
      })()
      await expect(store.write(`${prefix}dump`, source, { signal: controller.signal })).rejects.toBe(reason)
      expect(isSourceEnded).toBe(true)
      await expectNothingLeft(prefix)
    })

    it('signal aborted beforehand - every call rejects with CANCELLED and changes nothing', async () => {
      const prefix = folder()
      const key = `${prefix}object`
      await store.put(key, Buffer.from('kept'), { signal })
      const aborted = { signal: AbortSignal.abort() }
      const calls = [
        store.put(key, Buffer.from('new'), aborted),
        store.write(key, chunks(10, 10), aborted),
        store.get(key, aborted),
        store.read(key, aborted),
        store.head(key, aborted),
        collect(store.list(prefix, aborted)),
        store.delete(key, aborted),
        store.sweepUnfinished(new Date(), aborted),
      ]
      for (const call of await Promise.allSettled(calls))
        expect(call).toMatchObject({ status: 'rejected', reason: { code: 'CANCELLED' } })
      expect(text(await store.get(key, { signal }))).toBe('kept')
    })

    it('abort while a stream is read - the stream errors with CANCELLED', async () => {
      const key = `${folder()}dump`
      await store.write(key, chunks(4 * mebibyte, 100_000), { signal })
      const controller = new AbortController()
      const stream = await store.read(key, { signal: controller.signal })
      const reading = (async () => {
        for await (const _ of stream) controller.abort()
      })()
      await expect(reading).rejects.toMatchObject({ code: 'CANCELLED' })
    })

    it('abort of a stream that nobody listens to - no uncaught error', async () => {
      const key = `${folder()}dump`
      await store.put(key, Buffer.alloc(1000), { signal })
      const controller = new AbortController()
      const stream = await store.read(key, { signal: controller.signal })
      controller.abort()
      await expect(bytesOf(stream)).rejects.toThrow()
    })

    it('more objects than a page holds - all listed, once each, in key order', async () => {
      const prefix = folder()
      const keys = Array.from({ length: under.manyObjects ?? 2500 }, (_, index) => `${prefix}d${index % 7}/o-${index}`)
      await inParallel(40, keys, (key) => store.put(key, Buffer.from('x'), { signal }))
      expect(await keysBelow(prefix)).toEqual(keys.toSorted(byUtf8))
      for (const after of [
        `${prefix}d3/o-10`,
        `${prefix}d3/`,
        `${prefix}d3/o-1000000`,
        `${prefix}d3/o-10/x`,
        `${prefix}z`,
      ]) {
        const rest = await collect(store.list(prefix, { signal, after }))
        expect(rest.map(({ key }) => key)).toEqual(keys.filter((key) => byUtf8(key, after) > 0).sort(byUtf8))
      }
    })

    it('prefix of another name - app/ does not list app_staging/', async () => {
      const prefix = folder()
      for (const key of ['app/1', 'app/2/3', 'app_staging/1', 'ap'])
        await store.put(prefix + key, Buffer.from('x'), { signal })
      expect(await keysBelow(`${prefix}app/`)).toEqual([`${prefix}app/1`, `${prefix}app/2/3`])
      expect(await keysBelow(`${prefix}app/2`)).toEqual([`${prefix}app/2/3`])
      expect(await keysBelow(`${prefix}absent/`)).toEqual([])
      expect(await keysBelow(`${prefix}app`)).toEqual([`${prefix}app/1`, `${prefix}app/2/3`, `${prefix}app_staging/1`])
    })

    it('odd key names - stored, listed in byte order, read and deleted under exactly that name', async () => {
      const prefix = folder()
      const keys = [
        'with space',
        'a=2Fb',
        'plus+plus',
        'per%2Fcent',
        'ampersand&<>"quote\'s',
        'tab\there',
        'Ünïcödé',
        '数据库',
        'emoji 😀',
        '\uFF5E',
        'semi;colon?question#hash',
        'back\\slash',
        '...dots',
        'a/b/c',
        'a-b',
        'a.b/c',
        '~tilde',
        '*star',
      ].map((key) => prefix + key)
      for (const key of keys) await store.put(key, Buffer.from(key), { signal })
      expect(await keysBelow(prefix)).toEqual(keys.toSorted(byUtf8))
      for (const key of keys) expect(text(await store.get(key, { signal }))).toBe(key)
      for (const key of keys) await store.delete(key, { signal })
      await expectNothingLeft(prefix)
    })

    it.each(['../escape', 'a/../../escape', '/absolute', 'a//b', 'a/', '', '.', 'a/./b', 'nul\0l'])(
      'key %j - refused with STORE_DENIED by every call',
      async (key) => {
        const calls = [
          store.put(key, Buffer.from('x'), { signal }),
          store.write(key, chunks(1, 1), { signal }),
          store.get(key, { signal }),
          store.read(key, { signal }),
          store.head(key, { signal }),
          store.delete(key, { signal }),
        ]
        for (const call of await Promise.allSettled(calls))
          expect(call).toMatchObject({ status: 'rejected', reason: { code: 'STORE_DENIED' } })
      },
    )

    it('prefix that leaves the store - refused with STORE_DENIED', async () => {
      for (const prefix of ['../', 'a/../b', '/etc/'])
        await expect(collect(store.list(prefix, { signal }))).rejects.toMatchObject({ code: 'STORE_DENIED' })
    })

    it('overwritten - the new object replaces the old one as a whole', async () => {
      const key = `${folder()}object`
      await store.put(key, Buffer.from('long long old content'), { signal })
      await store.put(key, Buffer.from('new'), { signal })
      expect(text(await store.get(key, { signal }))).toBe('new')
      await store.write(key, chunks(1234, 100), { signal })
      expect(await store.head(key, { signal })).toMatchObject({ bytes: 1234 })
    })

    it('overwriting write fails midway - the old object is still whole', async () => {
      const key = `${folder()}object`
      await store.put(key, Buffer.from('old'), { signal })
      const source = (async function* () {
        yield* chunks(under.partBytes + 5, 100_000)
        throw new Error('midway')
      })()
      await expect(store.write(key, source, { signal })).rejects.toThrow('midway')
      expect(text(await store.get(key, { signal }))).toBe('old')
    })

    it('put if absent - the first wins, the second gets STORE_EXISTS and changes nothing', async () => {
      const key = `${folder()}object`
      await store.put(key, Buffer.from('first'), { signal, ifAbsent: true })
      await expect(store.put(key, Buffer.from('second'), { signal, ifAbsent: true })).rejects.toMatchObject({
        code: 'STORE_EXISTS',
      })
      expect(text(await store.get(key, { signal }))).toBe('first')
      expect(await under.unfinished()).toBe(0)
    })

    it('empty object - written and put, it exists with no bytes', async () => {
      const prefix = folder()
      expect(await store.write(`${prefix}written`, chunks(0, 1), { signal })).toEqual({ bytes: 0 })
      await store.put(`${prefix}put`, new Uint8Array(0), { signal })
      expect((await collect(store.list(prefix, { signal }))).map(({ key, bytes }) => [key, bytes])).toEqual([
        [`${prefix}put`, 0],
        [`${prefix}written`, 0],
      ])
      expect(await store.get(`${prefix}written`, { signal })).toHaveLength(0)
      expect(await bytesOf(await store.read(`${prefix}put`, { signal }))).toHaveLength(0)
    })

    it.each([
      ['one byte less than a part', -1, 70_000],
      ['exactly a part', 0, 70_000],
      ['exactly a part in one chunk', 0, 2 ** 30],
      ['a part and one byte', 1, 70_000],
      ['a part and one byte in one chunk', 1, 2 ** 30],
    ])('%s - read back identical', async (_size, more, chunkBytes) => {
      const prefix = folder()
      const bytes = under.partBytes + more
      const sent = createHash('sha256')
      expect(await store.write(`${prefix}dump`, hashed(chunks(bytes, chunkBytes), sent), { signal })).toEqual({ bytes })
      expect(await sha256(await store.read(`${prefix}dump`, { signal }))).toEqual({ bytes, sha256: sent.digest('hex') })
      expect(await under.unfinished()).toBe(0)
    })

    it('40 MB in chunks of odd sizes, more than expected - read back identical', async () => {
      const key = `${folder()}dump`
      const bytes = 40_000_003
      const sent = createHash('sha256')
      const written = await store.write(key, hashed(oddChunks(bytes), sent), { signal, expectedBytes: 1000 })
      expect(written).toEqual({ bytes })
      expect(await store.head(key, { signal })).toMatchObject({ bytes })
      expect(await sha256(await store.read(key, { signal }))).toEqual({ bytes, sha256: sent.digest('hex') })
    })

    it('absent object - reads give STORE_NOT_FOUND, head undefined, delete is no error', async () => {
      const key = `${folder()}absent`
      await expect(store.get(key, { signal })).rejects.toMatchObject({ code: 'STORE_NOT_FOUND' })
      await expect(store.read(key, { signal })).rejects.toMatchObject({ code: 'STORE_NOT_FOUND' })
      expect(await store.head(key, { signal })).toBeUndefined()
      await store.delete(key, { signal })
    })

    it('delete - gone from head, list and reads; its neighbours stay', async () => {
      const prefix = folder()
      for (const key of ['x/one', 'x/two']) await store.put(prefix + key, Buffer.from('x'), { signal })
      await store.delete(`${prefix}x/one`, { signal })
      expect(await store.head(`${prefix}x/one`, { signal })).toBeUndefined()
      expect(await keysBelow(prefix)).toEqual([`${prefix}x/two`])
      await expect(store.get(`${prefix}x/one`, { signal })).rejects.toMatchObject({ code: 'STORE_NOT_FOUND' })
    })

    it('get of an object larger than allowed - STORE_FORMAT_INVALID; of just that size - the object', async () => {
      const key = `${folder()}object`
      await store.put(key, Buffer.alloc(1001), { signal })
      await expect(store.get(key, { signal, maxBytes: 1000 })).rejects.toMatchObject({ code: 'STORE_FORMAT_INVALID' })
      expect(await store.get(key, { signal, maxBytes: 1001 })).toHaveLength(1001)
    })

    it('read from an offset - the bytes from there on; from its very end - none', async () => {
      const key = `${folder()}dump`
      const whole = Buffer.concat(await collect(chunks(under.partBytes + 1000, 100_000)))
      await store.write(key, chunks(whole.length, 100_000), { signal })
      for (const offset of [0, 1, under.partBytes, whole.length - 1, whole.length])
        expect(whole.subarray(offset).equals(await bytesOf(await store.read(key, { signal, offset })))).toBe(true)
    })

    it('read from beyond the end, or of an absent or empty object - STORE_FAILED, STORE_NOT_FOUND, no bytes', async () => {
      const prefix = folder()
      await store.put(`${prefix}object`, Buffer.from('0123456789'), { signal })
      await store.put(`${prefix}empty`, Buffer.alloc(0), { signal })
      for (const [name, offset] of [
        ['object', 11],
        ['object', 2 ** 40],
        ['empty', 1],
      ] as const)
        await expect(store.read(prefix + name, { signal, offset })).rejects.toMatchObject({ code: 'STORE_FAILED' })
      for (const offset of [0, 5])
        await expect(store.read(`${prefix}absent`, { signal, offset })).rejects.toMatchObject({
          code: 'STORE_NOT_FOUND',
        })
      expect(await bytesOf(await store.read(`${prefix}empty`, { signal, offset: 0 }))).toHaveLength(0)
    })

    it('abort while a stream from an offset is read - the stream errors with CANCELLED', async () => {
      const key = `${folder()}dump`
      await store.write(key, chunks(4 * mebibyte, 100_000), { signal })
      const controller = new AbortController()
      const stream = await store.read(key, { signal: controller.signal, offset: 100_000 })
      const reading = (async () => {
        for await (const _ of stream) controller.abort()
      })()
      await expect(reading).rejects.toMatchObject({ code: 'CANCELLED' })
      const aborted = { signal: controller.signal, offset: 4 * mebibyte }
      await expect(store.read(key, aborted)).rejects.toMatchObject({ code: 'CANCELLED' })
    })

    it('many streams opened and given up - later calls still get through', async () => {
      const key = `${folder()}dump`
      await store.write(key, chunks(4 * mebibyte, 100_000), { signal })
      await inParallel(20, Array.from({ length: 100 }), async () => {
        const stream = await store.read(key, { signal })
        stream.destroy()
      })
      expect(await store.head(key, { signal })).toMatchObject({ bytes: 4 * mebibyte })
    })

    it('writes, reads and lists side by side - each gives its own bytes', async () => {
      const prefix = folder()
      const names = Array.from({ length: 12 }, (_, index) => `${prefix}o${index}`)
      await Promise.all(names.map((key, index) => store.write(key, chunks(200_000 + index, 10_000), { signal })))
      const sizes = await Promise.all(
        names.map(async (key) => (await bytesOf(await store.read(key, { signal }))).length),
      )
      expect(sizes).toEqual(names.map((_, index) => 200_000 + index))
      expect(await keysBelow(prefix)).toHaveLength(12)
    })

    it('sweep - leaves finished objects alone', async () => {
      const prefix = folder()
      await store.put(`${prefix}object`, Buffer.from('x'), { signal })
      expect(await store.sweepUnfinished(new Date(Date.now() + 3_600_000), { signal })).toBe(0)
      expect(await keysBelow(prefix)).toEqual([`${prefix}object`])
    })
  })
}

/** `bytes` bytes that differ from place to place, in chunks of `chunkBytes`. */
export async function* chunks(bytes: number, chunkBytes: number): AsyncGenerator<Buffer> {
  const pattern = Buffer.from(Array.from({ length: 65_536 + 251 }, (_, index) => (index * 31 + (index >> 8)) & 255))
  for (let offset = 0; offset < bytes; ) {
    const size = Math.min(chunkBytes, bytes - offset)
    const chunk = Buffer.alloc(size)
    for (let at = 0; at < size; ) at += pattern.copy(chunk, at, (offset + at) % 251, 65_536)
    offset += size
    yield chunk
  }
}

export async function* oddChunks(bytes: number): AsyncGenerator<Buffer> {
  for (let offset = 0, round = 1; offset < bytes; round += 1) {
    const size = Math.min(bytes - offset, (round * 7_919 * 13) % 1_300_000)
    yield Buffer.alloc(size, round)
    offset += size
  }
}

export async function* hashed(source: AsyncIterable<Buffer>, hash: { update(data: Buffer): unknown }) {
  for await (const chunk of source) {
    hash.update(chunk)
    yield chunk
  }
}

export async function sha256(stream: Readable): Promise<{ bytes: number; sha256: string }> {
  const hash = createHash('sha256')
  let bytes = 0
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    hash.update(chunk)
    bytes += chunk.length
  }
  return { bytes, sha256: hash.digest('hex') }
}

export async function bytesOf(stream: Readable): Promise<Buffer> {
  const parts: Buffer[] = []
  for await (const chunk of stream as AsyncIterable<Buffer>) parts.push(chunk)
  return Buffer.concat(parts)
}

export async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = []
  for await (const item of items) all.push(item)
  return all
}

async function inParallel<T>(width: number, items: readonly T[], action: (item: T) => Promise<unknown>): Promise<void> {
  const rest = [...items]
  await Promise.all(
    Array.from({ length: width }, async () => {
      for (let item = rest.pop(); item !== undefined || rest.length > 0; item = rest.pop()) await action(item as T)
    }),
  )
}

function text(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('utf8')
}

function byUtf8(one: string, other: string): number {
  return Buffer.compare(Buffer.from(one), Buffer.from(other))
}
