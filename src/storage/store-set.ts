import assert from 'node:assert/strict'
import { Readable } from 'node:stream'
import type { Clock } from '../clock.ts'
import { PgproofError, toPgproofError } from '../errors.ts'
import type { Log } from '../log.ts'
import type { ObjectInfo, ObjectStore, ReadOptions, WriteOptions } from './object-store.ts'
import { tee } from './tee.ts'

/** What reading a backup needs. */
export type StoreReader = Pick<ObjectStore, 'get' | 'read' | 'head'>
/** What writing one needs. */
export type StoreWriter = Pick<ObjectStore, 'put' | 'write'>

/** One of the stores. The three are one and the same unless there are credentials of their own for reading or pruning. */
export type NamedStore = {
  readonly name: string
  readonly isRequired: boolean
  readonly writer: ObjectStore
  readonly reader: ObjectStore
  readonly pruner: ObjectStore
}

export type StoreSetParts = {
  readonly clock: Clock
  readonly log: Log
  /** Throws unless the store is the one it should be; asked before each backup. */
  readonly assertMarked?: ((store: NamedStore, signal: AbortSignal) => Promise<void>) | undefined
  /** How long a store that is not required may take for one small thing, in milliseconds; default half a minute. */
  readonly optionalMs?: number | undefined
}

/** All places that hold the backups: each one holds them all, and what is in one under a key is the same in the others. */
export class StoreSet {
  readonly named: readonly NamedStore[]
  readonly #parts: StoreSetParts
  /** Stores that are somebody else's, for all we know: nothing is written there, and nothing read. */
  readonly #leftOut = new Map<string, PgproofError>()

  constructor(named: readonly NamedStore[], parts: StoreSetParts) {
    this.named = named
    this.#parts = parts
  }

  /** From now on the store of that name fails with this error, whatever is wanted of it. */
  leaveOut(name: string, error: PgproofError): void {
    this.#leftOut.set(name, error)
  }

  /** Addresses for messages and RECOVERY.md, without secrets. */
  get urls(): readonly string[] {
    return this.named.map(({ writer }) => writer.url)
  }

  /** Throws for a name that is none. */
  one(name: string): NamedStore {
    const found = this.named.find((store) => store.name === name)
    if (found === undefined) {
      const known = this.named.map((store) => store.name).join(', ')
      throw new PgproofError('USAGE_INVALID', { reason: `no store is named "${name}"; there are ${known}` })
    }
    return found
  }

  /** Reads from the stores of these names, in this order; where one fails, the next goes on. Default all. */
  reading(names?: readonly string[]): StoreReader {
    const all = this.named.flatMap(({ name }) => (this.#leftOut.has(name) ? [] : [name]))
    const readers = (names ?? all).map((name) => this.one(name))
    const [only] = readers
    assert(only !== undefined, 'reading needs a store')
    return readers.length === 1 ? only.reader : new FallingOver(readers, this.#parts.log)
  }

  /**
   * A small object into every store. Throws if it is not in all required ones; the others only warn. Returns the names of
   * the stores that have it.
   */
  async put(
    key: string,
    body: Uint8Array,
    options: { signal: AbortSignal; ifAbsent?: boolean },
  ): Promise<readonly string[]> {
    return await this.#putInto(this.named, key, body, options)
  }

  /**
   * Small objects that belong together, the one that makes them count last. A store that did not take one of them gets
   * none after it: a document that lacks what belongs to it would never be caught up. Throws as `put` does. Returns the
   * names of the stores that have them all.
   */
  async putInOrder(
    objects: readonly { readonly key: string; readonly body: Uint8Array }[],
    signal: AbortSignal,
  ): Promise<readonly string[]> {
    let names = this.named.map(({ name }) => name)
    for (const [index, { key, body }] of objects.entries()) {
      const among = this.named.filter(({ name }) => names.includes(name))
      names = [...(await this.#putInto(among, key, body, { signal, ifAbsent: index === objects.length - 1 }))]
    }
    return names
  }

  async #putInto(
    among: readonly NamedStore[],
    key: string,
    body: Uint8Array,
    options: { signal: AbortSignal; ifAbsent?: boolean },
  ): Promise<readonly string[]> {
    const ends = await Promise.allSettled(
      among.map(async (store) => {
        const error = this.#leftOut.get(store.name)
        if (error !== undefined) throw error
        await soonEnough(store, this.#parts, options.signal, (signal) =>
          store.writer.put(key, body, { ...options, signal }),
        )
      }),
    )
    for (const [index, end] of ends.entries()) {
      if (end.status === 'fulfilled') continue
      const store = among[index]
      if (store?.isRequired === true) throw end.reason
      this.#parts.log.warn({ store: store?.name, reason: toPgproofError(end.reason).message }, `no copy of ${key}`)
    }
    return among.flatMap(({ name }, index) => (ends[index]?.status === 'fulfilled' ? [name] : []))
  }

  /**
   * The writing of one backup. Throws if a required store is not the one it should be, or does not answer; an optional one
   * is left out.
   */
  async begin(signal: AbortSignal): Promise<Writing> {
    const writing = new Writing(this.named, this.#parts)
    await writing.assertEach((store, until) => this.assertMarked(store, until), signal)
    return writing
  }

  /** Throws unless the store is the one it should be: it may have been unmounted, or another put in its place. */
  async assertMarked(store: NamedStore, signal: AbortSignal): Promise<void> {
    const error = this.#leftOut.get(store.name)
    if (error !== undefined) throw error
    await this.#parts.assertMarked?.(store, signal)
  }

  /** How long a store that is not required is waited for at least, in milliseconds. */
  get optionalMs(): number {
    return this.#parts.optionalMs ?? defaultOptionalMs
  }

  async close(): Promise<void> {
    const all = new Set(this.named.flatMap(({ writer, reader, pruner }) => [writer, reader, pruner]))
    await Promise.all([...all].map((store) => store.close()))
  }
}

const defaultOptionalMs = 30_000

/** Nobody waits for long for a store that is not required. Throws what `work` throws, or STORE_FAILED. */
async function soonEnough(
  { isRequired }: NamedStore,
  { optionalMs = defaultOptionalMs }: StoreSetParts,
  signal: AbortSignal,
  work: (signal: AbortSignal) => Promise<void>,
): Promise<void> {
  if (isRequired) return await work(signal)
  const limit = AbortSignal.timeout(optionalMs)
  try {
    await work(AbortSignal.any([signal, limit]))
  } catch (error) {
    if (signal.aborted || !limit.aborted) throw error
    const reason = `it gave no answer within ${optionalMs / 1000} s, and is not waited for`
    throw new PgproofError('STORE_FAILED', { operation: 'a write', reason }, { cause: error })
  }
}

/** A store that need not have the backup may hold up the others for so long, in milliseconds. */
const stalledMs = 120_000

/** One backup on its way into all stores. A store that failed once gets nothing more of it. */
export class Writing implements StoreWriter {
  /** Optional stores that do not get this backup, and why. */
  readonly lost = new Map<string, PgproofError>()
  /** Stores in which the object of `putInTurn` may appear later, although it failed there. */
  readonly unsettled = new Set<string>()
  readonly #named: readonly NamedStore[]
  readonly #parts: StoreSetParts

  constructor(named: readonly NamedStore[], parts: StoreSetParts) {
    this.#named = named
    this.#parts = parts
  }

  /** Those that have everything so far. */
  get live(): readonly NamedStore[] {
    return this.#named.filter(({ name }) => !this.lost.has(name))
  }

  /** Loses the optional ones that do not pass; throws for a required one. */
  async assertEach(
    check: (store: NamedStore, signal: AbortSignal) => Promise<void>,
    signal: AbortSignal,
  ): Promise<void> {
    await this.#inEach(signal, check)
  }

  async put(key: string, body: Uint8Array, options: { signal: AbortSignal; ifAbsent?: boolean }): Promise<void> {
    await this.#inEach(options.signal, ({ writer }, signal) => writer.put(key, body, { ...options, signal }))
  }

  /**
   * One store after the other, in their order. Throws with what was written staying where it is: a store that has it all has
   * a whole backup, whatever becomes of the next.
   */
  async putInTurn(key: string, body: Uint8Array, options: { signal: AbortSignal }): Promise<void> {
    for (const store of this.live)
      await this.#unlessLost(store, options.signal, async (signal) => {
        try {
          await store.writer.put(key, body, { signal, ifAbsent: true })
        } catch (error) {
          // A bucket stores what it was sent whole, and a mount that hung what it was asked, whether or not anybody waits.
          if (signal.aborted || toPgproofError(error).code === 'STORE_UNCERTAIN') this.unsettled.add(store.name)
          throw error
        }
      })
  }

  async write(key: string, source: AsyncIterable<Uint8Array>, options: WriteOptions): Promise<{ bytes: number }> {
    const { live } = this
    const [only] = live
    if (only !== undefined && live.length === 1) return await only.writer.write(key, source, options)
    const sent = { bytes: 0 }
    async function* counted(): AsyncGenerator<Uint8Array> {
      for await (const chunk of source) {
        sent.bytes += chunk.length
        yield chunk
      }
    }
    const sinks = live.map(({ isRequired, writer }) => ({
      isRequired,
      take: (copy: AsyncIterable<Uint8Array>, signal: AbortSignal) => writer.write(key, copy, { ...options, signal }),
    }))
    const { clock } = this.#parts
    const ends = await tee(counted(), sinks, { clock, stalledMs, signal: options.signal, what: `write of ${key}` })
    for (const [index, { result, error }] of ends.entries()) {
      const store = live[index] as NamedStore
      if (error !== undefined) this.#lose(store, error)
      else if (result.bytes !== sent.bytes) {
        const reason = `${sent.bytes} bytes sent, ${result.bytes} bytes stored in store ${store.name}`
        const mismatch = new PgproofError('OBJECT_MISMATCH', { key, reason })
        if (store.isRequired) throw mismatch
        this.#lose(store, mismatch)
      }
    }
    return sent
  }

  async #inEach(signal: AbortSignal, work: (store: NamedStore, signal: AbortSignal) => Promise<void>): Promise<void> {
    const { live } = this
    const ends = await Promise.allSettled(
      live.map((store) => this.#unlessLost(store, signal, (until) => work(store, until))),
    )
    const failed = ends.find((end) => end.status === 'rejected')
    if (failed !== undefined) throw failed.reason
  }

  async #unlessLost(
    store: NamedStore,
    signal: AbortSignal,
    work: (signal: AbortSignal) => Promise<void>,
  ): Promise<void> {
    try {
      await soonEnough(store, this.#parts, signal, work)
    } catch (error) {
      if (store.isRequired || signal.aborted) throw error
      this.#lose(store, toPgproofError(error))
    }
  }

  #lose({ name }: NamedStore, error: PgproofError): void {
    this.lost.set(name, error)
    this.#parts.log.warn(
      { store: name, reason: error.message },
      'this backup goes on without a store; sync catches it up',
    )
  }
}

/** Thrown where a store has no such object. */
const absent = Symbol('absent')

/** Reads an object wherever it can be had. What is under a key is the same everywhere, so a cut download goes on elsewhere. */
class FallingOver implements StoreReader {
  readonly #stores: readonly NamedStore[]
  readonly #log: Log

  constructor(stores: readonly NamedStore[], log: Log) {
    this.#stores = stores
    this.#log = log
  }

  async get(key: string, options: { signal: AbortSignal; maxBytes?: number }): Promise<Uint8Array> {
    return (await this.#first(key, options.signal, 0, ({ reader }) => reader.get(key, options))).value
  }

  async head(key: string, options: { signal: AbortSignal }): Promise<ObjectInfo | undefined> {
    const look = async ({ reader }: NamedStore): Promise<ObjectInfo> => {
      const found = await reader.head(key, options)
      if (found === undefined) throw absent
      return found
    }
    try {
      return (await this.#first(key, options.signal, 0, look)).value
    } catch (error) {
      if (error === absent) return undefined
      throw error
    }
  }

  async read(key: string, options: ReadOptions): Promise<Readable> {
    const current = { opened: await this.#open(key, options, 0) }
    const isWanted = () => !options.signal.aborted && !stream.destroyed
    const stream: Readable = Readable.from(this.#chunks(key, options, current, isWanted), { objectMode: false })
    // However it ends: the generator leaves that to here, and one that was never asked for anything could not do it.
    return stream.once('close', () => current.opened.value.destroy())
  }

  async *#chunks(
    key: string,
    options: ReadOptions,
    current: { opened: Opened },
    isWanted: () => boolean,
  ): AsyncGenerator<Uint8Array> {
    let offset = options.offset ?? 0
    let chunks = chunksOf(current.opened)
    for (;;) {
      let next: IteratorResult<Uint8Array>
      try {
        next = await chunks.next()
      } catch (error) {
        const { index } = current.opened
        if (!isWanted() || index + 1 >= this.#stores.length) throw error
        this.#warn(key, index, error)
        current.opened = await this.#open(key, { ...options, offset }, index + 1, { error, isAbsence: false })
        chunks = chunksOf(current.opened)
        continue
      }
      if (next.done === true) return
      offset += next.value.length
      // Outside of what is caught: an error of whoever reads arrives here, and is none of the store.
      yield next.value
    }
  }

  #open(key: string, options: ReadOptions, from: number, before?: Failure): Promise<Opened> {
    return this.#first(key, options.signal, from, ({ reader }) => reader.read(key, options), before)
  }

  /** Throws what the first store says that says more than that it has no such object. */
  async #first<T>(
    key: string,
    signal: AbortSignal,
    from: number,
    attempt: (store: NamedStore) => Promise<T>,
    before?: Failure,
  ): Promise<{ readonly value: T; readonly index: number }> {
    let failure = before
    for (let index = from; index < this.#stores.length; index += 1) {
      try {
        return { value: await attempt(this.#stores[index] as NamedStore), index }
      } catch (error) {
        if (signal.aborted) throw error
        const isAbsence = error === absent || (error instanceof PgproofError && error.code === 'STORE_NOT_FOUND')
        if (failure === undefined || (failure.isAbsence && !isAbsence)) failure = { error, isAbsence }
        if (!isAbsence && index + 1 < this.#stores.length) this.#warn(key, index, error)
      }
    }
    throw failure?.error ?? new PgproofError('STORE_NOT_FOUND', { key })
  }

  #warn(key: string, index: number, error: unknown): void {
    const [failed, next] = [this.#stores[index]?.name, this.#stores[index + 1]?.name]
    this.#log.warn({ store: failed, reason: toPgproofError(error).message }, `${key} is read from store ${next}`)
  }
}

type Failure = { readonly error: unknown; readonly isAbsence: boolean }

type Opened = { readonly value: Readable; readonly index: number }

function chunksOf({ value }: Opened): AsyncIterator<Uint8Array> {
  return value[Symbol.asyncIterator]()
}
