import { randomBytes } from 'node:crypto'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import { setImmediate } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { describe, expect, it } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { PgproofError } from '../../src/errors.ts'
import { type Log, silentLog } from '../../src/log.ts'
import { DirectoryStore } from '../../src/storage/directory.ts'
import { type NamedStore, StoreSet } from '../../src/storage/store-set.ts'
import { type MemoryOperation, MemoryStore } from '../support/memory-store.ts'
import { namedStore } from '../support/store-sets.ts'

const { signal } = new AbortController()
const key = 'backups/main/app/20261120T020000Z-4f7k/dump.zst.pgp'
const body = randomBytes(700_001)

type Pair = {
  readonly a: MemoryStore
  readonly b: MemoryStore
  readonly stores: StoreSet
  /** What was warned of, `store: message`. */
  readonly warnings: string[]
}

function pair({
  isRequired = true,
  assertMarked,
}: {
  isRequired?: boolean
  assertMarked?: (store: NamedStore) => Promise<void>
} = {}): Pair {
  const [a, b] = [new MemoryStore(), new MemoryStore()]
  const warnings: string[] = []
  const warn = (fields: object, message: string): void => {
    warnings.push(`${(fields as { store?: string }).store}: ${message}`)
  }
  const log = { ...silentLog, warn } as Log
  const named = [namedStore(a, 'a'), namedStore(b, 'b', isRequired)]
  return { a, b, warnings, stores: new StoreSet(named, { clock: systemClock, log, assertMarked }) }
}

const down = (name: string): PgproofError => new PgproofError('STORE_UNREACHABLE', { store: name, reason: 'gone' })

function fail(
  store: MemoryStore,
  operations: readonly MemoryOperation[],
  name = 'b',
  times = Number.POSITIVE_INFINITY,
): void {
  let left = times
  store.before = (operation) => {
    if (!operations.includes(operation) || left === 0) return
    left -= 1
    throw down(name)
  }
}

/** Hands out the first `bytes` of an object, then breaks off. */
function cutAfter(store: MemoryStore, bytes: number): void {
  store.read = async (_key, { offset = 0 }) => {
    async function* some(): AsyncGenerator<Buffer> {
      yield body.subarray(offset, bytes)
      throw down('a')
    }
    return Readable.from(some(), { objectMode: false })
  }
}

/** A store that gives one chunk, and breaks off some time after it. */
function onceThenSilent(): Readable {
  async function* some(): AsyncGenerator<Buffer> {
    yield body.subarray(0, 1000)
    for (let turn = 0; turn < 50; turn += 1) await setImmediate()
    throw down('a')
  }
  return Readable.from(some(), { objectMode: false })
}

const caught = async (promise: Promise<unknown>): Promise<PgproofError> =>
  await promise.then(
    () => {
      throw new Error('it did not fail')
    },
    (error: unknown) => error as PgproofError,
  )

async function* pieces(): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < body.length; at += 65_537) {
    yield body.subarray(at, at + 65_537)
    await setImmediate()
  }
}

const bytesIn = (store: MemoryStore): Buffer | undefined => store.objects.get(key)?.body

describe('one of several stores', () => {
  it('by its name - it; a name that is none - USAGE_INVALID names those that are', () => {
    const { stores } = pair()
    expect(stores.one('b').name).toBe('b')
    expect(() => stores.one('c')).toThrow(/no store is named "c"; there are a, b/)
    expect(() => stores.reading(['c'])).toThrow(/no store is named "c"/)
  })

  it('closed - each connection once, also where one store has three sets of rights', async () => {
    const [writer, reader, pruner] = [new MemoryStore(), new MemoryStore(), new MemoryStore()]
    const named = [{ name: 'a', isRequired: true, writer, reader, pruner }]
    await new StoreSet(named, { clock: systemClock, log: silentLog }).close()
    expect([writer, reader, pruner].map((store) => store.isClosed)).toEqual([true, true, true])
  })
})

describe('reading', () => {
  async function stored(test: Pair, into: readonly MemoryStore[] = [test.a, test.b]): Promise<Pair> {
    for (const store of into) await store.put(key, body, { signal })
    return test
  }
  const readAll = async ({ stores }: Pair, offset = 0): Promise<Buffer> =>
    await buffer(await stores.reading().read(key, { signal, offset }))

  it('the first has it - the others are not asked', async () => {
    const test = await stored(pair())
    test.b.calls.length = 0
    expect((await readAll(test)).equals(body)).toBe(true)
    expect(await test.stores.reading().head(key, { signal })).toMatchObject({ bytes: body.length })
    expect([test.b.calls, test.warnings]).toEqual([[], []])
  })

  it('the first is unreachable - the next one gives it, and a warning says so', async () => {
    const test = await stored(pair())
    fail(test.a, ['get', 'read', 'head'], 'a')
    expect((await readAll(test)).equals(body)).toBe(true)
    expect(Buffer.from(await test.stores.reading().get(key, { signal })).equals(body)).toBe(true)
    expect(await test.stores.reading().head(key, { signal })).toMatchObject({ bytes: body.length })
    expect(test.warnings).toEqual(Array(3).fill(`a: ${key} is read from store b`))
  })

  it('the first does not have it - the next one gives it, and nobody is warned', async () => {
    const test = await stored(pair())
    test.a.objects.clear()
    expect((await readAll(test, 1000)).equals(body.subarray(1000))).toBe(true)
    expect(await test.stores.reading().head(key, { signal })).toMatchObject({ bytes: body.length })
    expect(test.warnings).toEqual([])
  })

  it.each([0, 1, 65_536, body.length - 1, body.length])(
    'the first breaks off after %i bytes - the next one goes on just there',
    async (bytes) => {
      const test = await stored(pair())
      cutAfter(test.a, bytes)
      expect((await readAll(test)).equals(body)).toBe(true)
    },
  )

  it('from an offset, and broken off - the next one goes on from there and not from the offset', async () => {
    const test = await stored(pair())
    cutAfter(test.a, 300_000)
    expect((await readAll(test, 250_000)).equals(body.subarray(250_000))).toBe(true)
  })

  it('both break off - the error of the last', async () => {
    const test = await stored(pair())
    for (const store of [test.a, test.b]) cutAfter(store, 1000)
    expect(await caught(readAll(test))).toMatchObject({ code: 'STORE_UNREACHABLE' })
  })

  it('the first breaks off and the next does not have it - the error says that the first broke off', async () => {
    const test = await stored(pair())
    cutAfter(test.a, 1000)
    test.b.objects.clear()
    expect(await caught(readAll(test))).toMatchObject({ code: 'STORE_UNREACHABLE' })
  })

  it('absent everywhere - STORE_NOT_FOUND, and a head is undefined', async () => {
    const { stores } = pair()
    expect(await caught(stores.reading().get(key, { signal }))).toMatchObject({ code: 'STORE_NOT_FOUND' })
    expect(await caught(stores.reading().read(key, { signal }))).toMatchObject({ code: 'STORE_NOT_FOUND' })
    expect(await stores.reading().head(key, { signal })).toBeUndefined()
  })

  it.each([0, 1])(
    'store %i is unreachable, the other does not have it - the error, never an absence',
    async (index) => {
      const test = pair()
      fail([test.a, test.b][index] as MemoryStore, ['get', 'read', 'head'])
      const reading = test.stores.reading()
      for (const asked of [reading.get(key, { signal }), reading.read(key, { signal }), reading.head(key, { signal })])
        expect(await caught(asked)).toMatchObject({ code: 'STORE_UNREACHABLE' })
    },
  )

  it('a fault of the program in a store - it is told as such, never as an absence', async () => {
    const test = pair()
    test.b.before = () => {
      throw new TypeError('oops')
    }
    expect(await caught(test.stores.reading().head(key, { signal }))).toBeInstanceOf(TypeError)
  })

  it('from stores by name - in that order, and no others', async () => {
    const test = await stored(pair(), [])
    await test.a.put(key, body, { signal })
    expect(await caught(test.stores.reading(['b']).get(key, { signal }))).toMatchObject({ code: 'STORE_NOT_FOUND' })
    await test.stores.reading(['b', 'a']).get(key, { signal })
    expect([test.a.calls.at(-1), test.b.calls.at(-1)]).toEqual([`get ${key}`, `get ${key}`])
  })

  it('destroyed before a byte was asked for - the stream of the store is destroyed as well', async () => {
    const test = await stored(pair())
    const opened = await test.a.read(key, { signal })
    test.a.read = async () => opened
    const stream = await test.stores.reading().read(key, { signal })
    stream.destroy()
    for (let turn = 0; turn < 10; turn += 1) await setImmediate()
    expect(opened.destroyed).toBe(true)
  })

  it.each([
    ['after its first chunk', () => Readable.from([body, body], { objectMode: false })],
    ['while the store has no chunk for it', onceThenSilent],
  ])('whoever reads fails %s - its error, and no store is blamed or asked in place of another', async (_when, open) => {
    const test = await stored(pair())
    const opened = open()
    test.a.read = async () => opened
    test.b.calls.length = 0
    const full = new PgproofError('STORE_FULL', { key })
    const stream = await test.stores.reading().read(key, { signal })
    const failing = pipeline(stream, async (chunks: AsyncIterable<Uint8Array>) => {
      for await (const _ of chunks) throw full
    })
    expect(await caught(failing)).toBe(full)
    await expect.poll(() => opened.destroyed).toBe(true)
    expect([test.b.calls, test.warnings]).toEqual([[], []])
  })

  it('aborted - CANCELLED, and the next store is not asked', async () => {
    const test = await stored(pair())
    const abort = new AbortController()
    test.a.before = () => abort.abort()
    test.b.calls.length = 0
    expect(await caught(test.stores.reading().get(key, { signal: abort.signal }))).toMatchObject({ code: 'CANCELLED' })
    expect(test.b.calls).toEqual([])
  })
})

describe('putting one small object', () => {
  it('into all - each has it', async () => {
    const { a, b, stores } = pair()
    await stores.put(key, body, { signal, ifAbsent: true })
    expect([bytesIn(a)?.equals(body), bytesIn(b)?.equals(body)]).toEqual([true, true])
  })

  it('a required one fails - its error, with the other one done', async () => {
    const { a, b, stores } = pair()
    fail(b, ['put'])
    expect(await caught(stores.put(key, body, { signal }))).toMatchObject({ code: 'STORE_UNREACHABLE' })
    expect([bytesIn(a)?.equals(body), bytesIn(b)]).toEqual([true, undefined])
  })

  it('an optional one fails - only a warning', async () => {
    const { a, b, stores, warnings } = pair({ isRequired: false })
    fail(b, ['put'])
    expect(await stores.put(key, body, { signal })).toEqual(['a'])
    expect(bytesIn(a)?.equals(body)).toBe(true)
    expect(warnings).toEqual([`b: no copy of ${key}`])
  })

  it('an optional one still hangs when the time of the caller is up - the required one has it, so it is no failure', async () => {
    const { a, b, stores } = pair({ isRequired: false })
    const abort = new AbortController()
    b.before = async () => {
      await expect.poll(() => bytesIn(a)).toBeDefined()
      abort.abort(new Error('time is up'))
    }
    expect(await stores.put(key, body, { signal: abort.signal })).toEqual(['a'])
  })
})

describe('writing a backup', () => {
  it('into a store in memory and a directory - the same bytes, whole, and nothing else', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'store-set-'))
    try {
      const directory = new DirectoryStore(pathToFileURL(folder).href, { clock: systemClock })
      const a = new MemoryStore()
      const named = [namedStore(a, 'a'), namedStore(directory, 'b')]
      const writing = await new StoreSet(named, { clock: systemClock, log: silentLog }).begin(signal)
      expect(await writing.write(key, pieces(), { signal })).toEqual({ bytes: body.length })
      expect(bytesIn(a)?.equals(body)).toBe(true)
      expect(Buffer.from(await directory.get(key, { signal })).equals(body)).toBe(true)
      expect(readdirSync(join(folder, key, '..'))).toHaveLength(1)
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  it('a required store is not the one it should be - it does not begin', async () => {
    const assertMarked = async ({ name }: NamedStore): Promise<void> => {
      if (name === 'b') throw new PgproofError('STORE_UNMARKED', { store: 'b', key: 'pgproof.json', advice: '' })
    }
    expect(await caught(pair({ assertMarked }).stores.begin(signal))).toMatchObject({ code: 'STORE_UNMARKED' })
    const optional = await pair({ assertMarked, isRequired: false }).stores.begin(signal)
    expect(optional.live.map(({ name }) => name)).toEqual(['a'])
    expect(optional.lost.get('b')).toMatchObject({ code: 'STORE_UNMARKED' })
  })

  it.each(['write', 'commit'] as const)(
    'a required store fails at its %s - its error, nothing left in either',
    async (operation) => {
      const { a, b, stores } = pair()
      // The other one comes to its end only afterwards.
      a.before = async (at) => {
        if (at === 'commit') for (let turn = 0; turn < 50; turn += 1) await setImmediate()
      }
      fail(b, [operation])
      const writing = await stores.begin(signal)
      expect(await caught(writing.write(key, pieces(), { signal }))).toMatchObject({ code: 'STORE_UNREACHABLE' })
      for (const store of [a, b]) expect([store.keys(), store.unfinished]).toEqual([[], []])
    },
  )

  it.each(['write', 'commit'] as const)(
    'an optional store fails at its %s - the other has it all, and it gets nothing more',
    async (operation) => {
      const { a, b, stores, warnings } = pair({ isRequired: false })
      fail(b, [operation], 'b', 1)
      const writing = await stores.begin(signal)
      expect(await writing.write(key, pieces(), { signal })).toEqual({ bytes: body.length })
      await writing.put(`${key}.2`, body, { signal })
      await writing.write(`${key}.3`, pieces(), { signal })
      await writing.putInTurn(`${key}.4`, body, { signal })
      expect([a.keys().length, b.keys(), b.unfinished]).toEqual([4, [], []])
      expect([...writing.lost.keys()]).toEqual(['b'])
      expect(writing.live.map(({ name }) => name)).toEqual(['a'])
      expect(warnings).toHaveLength(1)
    },
  )

  it.each([true, false])(
    'a store says it holds less than was sent, and is required: %s - it alone is blamed, and lost if it may be',
    async (isRequired) => {
      const { a, b, stores } = pair({ isRequired })
      const honest = b.write.bind(b)
      b.write = async (...given) => ({ bytes: (await honest(...given)).bytes - 1 })
      const writing = await stores.begin(signal)
      const ended = writing.write(key, pieces(), { signal })
      if (isRequired)
        expect(await caught(ended)).toMatchObject({
          code: 'OBJECT_MISMATCH',
          message: expect.stringContaining('store b'),
        })
      else {
        expect(await ended).toEqual({ bytes: body.length })
        expect(writing.lost.get('b')).toMatchObject({ code: 'OBJECT_MISMATCH' })
      }
      expect(bytesIn(a)?.equals(body)).toBe(true)
    },
  )

  it('in turn, the second required store fails - the first keeps it, the third is not asked', async () => {
    const [a, b, c] = [new MemoryStore(), new MemoryStore(), new MemoryStore()]
    const named = [namedStore(a, 'a'), namedStore(b, 'b'), namedStore(c, 'c')]
    const writing = await new StoreSet(named, { clock: systemClock, log: silentLog }).begin(signal)
    fail(b, ['put'])
    expect(await caught(writing.putInTurn(key, body, { signal }))).toMatchObject({ code: 'STORE_UNREACHABLE' })
    expect([bytesIn(a)?.equals(body), b.keys(), c.calls]).toEqual([true, [], []])
  })

  it('one place under two names - STORE_EXISTS at the manifest: it is never said to be in two places', async () => {
    const a = new MemoryStore()
    const named = [namedStore(a, 'a'), namedStore(a, 'b')]
    const writing = await new StoreSet(named, { clock: systemClock, log: silentLog }).begin(signal)
    await writing.write(key, pieces(), { signal })
    expect(await caught(writing.putInTurn(`${key}.2`, body, { signal }))).toMatchObject({ code: 'STORE_EXISTS' })
  })

  it('aborted in the middle - CANCELLED also where every store but one is optional, and nothing is left', async () => {
    const { a, b, stores, warnings } = pair({ isRequired: false })
    const abort = new AbortController()
    async function* broken(): AsyncGenerator<Uint8Array> {
      yield body
      abort.abort()
      yield body
    }
    const writing = await stores.begin(signal)
    const ended = await caught(writing.write(key, broken(), { signal: abort.signal }))
    expect(ended).toMatchObject({ code: 'CANCELLED' })
    for (const store of [a, b]) expect([store.keys(), store.unfinished]).toEqual([[], []])
    expect([warnings, writing.lost.size]).toEqual([[], 0])
  })
})

describe('a store that was found to be somebody else’s', () => {
  it('is not written, not read, and says why; the others go on', async () => {
    const { a, b, stores, warnings } = pair({ isRequired: false })
    const foreign = new PgproofError('STORE_FOREIGN', { name: 'b', url: 'memory://b', found: 'x', expected: 'y' })
    stores.leaveOut('b', foreign)
    expect(await stores.put('drills/one.json', body, { signal })).toEqual(['a'])
    expect((await stores.begin(signal)).live.map(({ name }) => name)).toEqual(['a'])
    await expect(stores.assertMarked(stores.one('b'), signal)).rejects.toBe(foreign)
    await b.put('drills/other.json', body, { signal })
    expect(await stores.reading().head('drills/other.json', { signal })).toBeUndefined()
    expect([a.keys(), b.keys()]).toEqual([['drills/one.json'], ['drills/other.json']])
    expect(warnings).toEqual(['b: no copy of drills/one.json', expect.stringMatching(/^b: this backup goes on/)])
  })
})
