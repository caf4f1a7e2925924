import { Readable } from 'node:stream'
import type { Clock } from '../../src/clock.ts'
import { systemClock } from '../../src/clock.ts'
import { assertNotAborted, PgproofError } from '../../src/errors.ts'
import { ChunkReader } from '../../src/storage/chunk-reader.ts'
import { assertKeyPrefix, assertObjectKey, isObjectKey } from '../../src/storage/key-rules.ts'
import type {
  Deletion,
  ListOptions,
  ObjectInfo,
  ObjectStore,
  ReadOptions,
  WriteOptions,
} from '../../src/storage/object-store.ts'
import { offsetBeyondEnd } from '../../src/storage/read-whole.ts'

/** `commit` is the instant at which a stream that was written becomes an object. */
export type MemoryOperation = 'put' | 'write' | 'commit' | 'get' | 'read' | 'head' | 'list' | 'delete' | 'sweep'

/** A store in memory, for tests of what uses a store. It can be made to fail, watched and tampered with. */
export class MemoryStore implements ObjectStore {
  readonly url: string = 'memory://store'
  readonly listsInPages = true
  /** What is stored, by key; tests may change it behind the store's back. */
  readonly objects = new Map<string, { body: Buffer; modifiedAt: Date }>()
  /** Writes that have begun and neither ended nor failed, and leftovers of a crash that a test put here. */
  readonly unfinished: { key: string; startedAt: Date }[] = []
  /** Every operation so far, in order, `put backups/…`. */
  readonly calls: string[] = []
  /** Runs before each operation; what it throws, the operation throws. May wait. */
  before: (operation: MemoryOperation, key: string) => void | Promise<void> = () => {}
  skewSeconds: number | undefined = 0
  isClosed = false
  readonly #clock: Clock

  constructor(clock: Clock = systemClock) {
    this.#clock = clock
  }

  /** Flips one bit of a stored object; a negative offset counts from its end. */
  damage(key: string, offset = -1): void {
    const { body } = this.#stored(key)
    const at = offset < 0 ? body.length + offset : offset
    body[at] = (body[at] as number) ^ 1
  }

  /** Cuts a stored object short. */
  truncate(key: string, bytes: number): void {
    const stored = this.#stored(key)
    stored.body = stored.body.subarray(0, bytes)
  }

  /** The stored text; throws `STORE_NOT_FOUND`. */
  text(key: string): string {
    return this.#stored(key).body.toString('utf8')
  }

  keys(): string[] {
    return [...this.objects.keys()].sort(byUtf8)
  }

  async put(key: string, body: Uint8Array, options: { signal: AbortSignal; ifAbsent?: boolean }): Promise<void> {
    await this.#begin('put', key, options.signal)
    if (options.ifAbsent === true && this.objects.has(key)) throw new PgproofError('STORE_EXISTS', { key })
    this.objects.set(key, { body: Buffer.from(body), modifiedAt: this.#clock.now() })
  }

  async write(key: string, source: AsyncIterable<Uint8Array>, { signal }: WriteOptions): Promise<{ bytes: number }> {
    await this.#begin('write', key, signal)
    const entry = { key, startedAt: this.#clock.now() }
    this.unfinished.push(entry)
    const reader = new ChunkReader(source, signal, `write of ${key}`)
    try {
      const chunks: Buffer[] = []
      for (let ended = false; !ended; ) {
        const buffer = Buffer.alloc(64 * 1024)
        const filled = await reader.fill(buffer)
        ended = filled.ended
        chunks.push(buffer.subarray(0, filled.bytes))
      }
      await this.#begin('commit', key, signal)
      const body = Buffer.concat(chunks)
      this.objects.set(key, { body, modifiedAt: this.#clock.now() })
      return { bytes: body.length }
    } finally {
      this.unfinished.splice(this.unfinished.indexOf(entry), 1)
      await reader.close()
    }
  }

  async get(key: string, options: { signal: AbortSignal; maxBytes?: number }): Promise<Uint8Array> {
    await this.#begin('get', key, options.signal)
    const { body } = this.#stored(key)
    const maxBytes = options.maxBytes ?? 64 * 2 ** 20
    if (body.length > maxBytes)
      throw new PgproofError('STORE_FORMAT_INVALID', { what: key, reason: `it has ${body.length} bytes` })
    return Buffer.from(body)
  }

  async read(key: string, { signal, offset = 0 }: ReadOptions): Promise<Readable> {
    await this.#begin('read', key, signal)
    const { body } = this.#stored(key)
    if (offset > body.length) throw offsetBeyondEnd(`read of ${key}`, offset, body.length)
    const stream = Readable.from(pieces(body.subarray(offset), signal, key), { objectMode: false })
    stream.on('error', () => {})
    return stream
  }

  async head(key: string, { signal }: { signal: AbortSignal }): Promise<ObjectInfo | undefined> {
    await this.#begin('head', key, signal)
    const stored = this.objects.get(key)
    return stored === undefined ? undefined : { key, bytes: stored.body.length, modifiedAt: stored.modifiedAt }
  }

  async *list(prefix: string, { signal, after }: ListOptions): AsyncIterable<ObjectInfo> {
    assertKeyPrefix(prefix, `list of ${prefix}`)
    await this.#begin('list', prefix, signal)
    for (const key of this.keys()) {
      assertNotAborted(signal)
      const stored = this.objects.get(key)
      if (
        stored !== undefined &&
        isObjectKey(key) &&
        key.startsWith(prefix) &&
        (after === undefined || byUtf8(key, after) > 0)
      )
        yield { key, bytes: stored.body.length, modifiedAt: stored.modifiedAt }
    }
  }

  async delete(key: string, { signal }: { signal: AbortSignal }): Promise<Deletion> {
    await this.#begin('delete', key, signal)
    this.objects.delete(key)
    return 'freed'
  }

  async sweepUnfinished(olderThan: Date, { signal }: { signal: AbortSignal }): Promise<number> {
    await this.#begin('sweep', '', signal)
    const young = this.unfinished.filter(({ startedAt }) => startedAt >= olderThan)
    const swept = this.unfinished.length - young.length
    this.unfinished.splice(0, this.unfinished.length, ...young)
    return swept
  }

  clockSkewSeconds(): number | undefined {
    return this.skewSeconds
  }

  async close(): Promise<void> {
    this.isClosed = true
  }

  async #begin(operation: MemoryOperation, key: string, signal: AbortSignal): Promise<void> {
    if (operation !== 'list' && operation !== 'sweep') assertObjectKey(key, `${operation} of ${key}`)
    assertNotAborted(signal, `${operation} of ${key}`)
    this.calls.push(`${operation} ${key}`.trim())
    await this.before(operation, key)
    assertNotAborted(signal, `${operation} of ${key}`)
  }

  #stored(key: string): { body: Buffer; modifiedAt: Date } {
    const stored = this.objects.get(key)
    if (stored === undefined) throw new PgproofError('STORE_NOT_FOUND', { key })
    return stored
  }
}

async function* pieces(body: Buffer, signal: AbortSignal, key: string): AsyncGenerator<Buffer> {
  for (let offset = 0; offset < body.length; offset += 64 * 1024) {
    assertNotAborted(signal, `read of ${key}`)
    yield body.subarray(offset, offset + 64 * 1024)
  }
}

function byUtf8(one: string, other: string): number {
  return Buffer.compare(Buffer.from(one), Buffer.from(other))
}
