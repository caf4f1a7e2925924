import { randomBytes } from 'node:crypto'
import { constants } from 'node:fs'
import { type FileHandle, lstat, open, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import type { Clock } from '../clock.ts'
import { assertNotAborted, PgproofError } from '../errors.ts'
import { abortError, whenAborted } from './abortable.ts'
import { ChunkReader } from './chunk-reader.ts'
import { codeOf, type DirectoryCall, toDirectoryError } from './directory-errors.ts'
import { linkNew, renameOver } from './directory-publish.ts'
import { DirectoryTree } from './directory-tree.ts'
import { ignoreAbsence } from './directory-walk.ts'
import { eachOf } from './each-of.ts'
import { callsAtOnce, FileCalls } from './file-calls.ts'
import { assertKeyPrefix, assertObjectKey } from './key-rules.ts'
import { storeMarkerKey } from './object-keys.ts'
import type { Deletion, ListOptions, ObjectInfo, ObjectStore, ReadOptions, WriteOptions } from './object-store.ts'
import { noAnswer, type Patience, StepWatch, withPatience } from './patience.ts'
import { offsetBeyondEnd, readWhole } from './read-whole.ts'

const bufferBytes = 256 * 1024
/** A mount that does not answer for so long, in milliseconds, is not there. */
const stallMs = 300_000
/** When a file is flushed, all of it may still be in memory; a store that is slower than this is of no use. */
const leastBytesPerMs = 1_000

/**
 * A directory as a store; keys are paths below it. An object is written under a hidden name in its own folder, made
 * durable and renamed. Only regular files are objects: no symbolic link below the root is followed.
 */
export class DirectoryStore implements ObjectStore {
  readonly url: string
  readonly hasLocks = false
  readonly #tree: DirectoryTree
  readonly #calls: FileCalls
  readonly #clock: Clock
  #skewSeconds: number | undefined
  /** Once there was a marker: without it this is not the store any more, but the folder it was mounted on. */
  #wasMarked = false

  /**
   * `url` is `file:///absolute/path` of a directory that exists; it is never created. `directories` is how many such
   * stores this process has. Touches nothing yet.
   */
  constructor(url: string, parts: { clock: Clock; directories?: number }) {
    this.url = url
    this.#calls = new FileCalls(callsAtOnce(parts.directories ?? 1), parts.clock, url)
    this.#tree = new DirectoryTree(parseFileUrl(url), parts.clock, this.#calls)
    this.#clock = parts.clock
  }

  async put(key: string, body: Uint8Array, options: { signal: AbortSignal; ifAbsent?: boolean }): Promise<void> {
    await this.#store(key, oneChunk(body), options.signal, options.ifAbsent ?? false)
  }

  async write(key: string, source: AsyncIterable<Uint8Array>, options: WriteOptions): Promise<{ bytes: number }> {
    return { bytes: await this.#store(key, source, options.signal, false) }
  }

  async get(key: string, options: { signal: AbortSignal; maxBytes?: number }): Promise<Uint8Array> {
    return await readWhole(await this.#open(key, options), key, options.maxBytes)
  }

  async read(key: string, options: ReadOptions): Promise<Readable> {
    return (await this.#open(key, options)).stream
  }

  async head(key: string, { signal }: { signal: AbortSignal }): Promise<ObjectInfo | undefined> {
    return await this.#run(`head of ${key}`, key, signal, async () => {
      const file = await this.#find(key)
      return file === undefined ? undefined : { key, bytes: file.bytes, modifiedAt: file.modifiedAt }
    })
  }

  list(prefix: string, options: ListOptions): AsyncIterable<ObjectInfo> {
    return eachOf(this.#listed(prefix, options))
  }

  async *#listed(prefix: string, { signal, after }: ListOptions): AsyncGenerator<readonly ObjectInfo[], void> {
    const operation = `list of ${prefix}`
    assertKeyPrefix(prefix, operation)
    const isThere = () => this.#run(operation, null, signal, () => this.#assertMounted())
    await isThere()
    yield* this.#walk((ended) => this.#tree.walk(prefix, after ?? '', ended), operation, signal)
    // Folders that vanish are passed over: one may just have been pruned. Not so when all of them did.
    await isThere()
  }

  async delete(key: string, { signal }: { signal: AbortSignal }): Promise<Deletion> {
    await this.#run(`delete of ${key}`, key, signal, async () => {
      const file = await this.#find(key)
      if (file === undefined) return
      await ignoreAbsence(this.#calls.run(() => unlink(this.#tree.pathOf(key))))
      await this.#tree.syncFoldersOf(key)
      await this.#tree.removeEmptyFolders(key)
    })
    return 'freed'
  }

  async sweepUnfinished(olderThan: Date, { signal }: { signal: AbortSignal }): Promise<number> {
    const operation = 'sweep of unfinished writes'
    await this.#run(operation, null, signal, () => this.#assertMounted())
    let swept = 0
    const unfinished = eachOf(this.#walk((ended) => this.#tree.walkTemporary(ended), operation, signal))
    for await (const { key, modifiedAt } of unfinished) {
      if (modifiedAt >= olderThan) continue
      await this.#run(operation, null, signal, async () => {
        await ignoreAbsence(this.#calls.run(() => unlink(this.#tree.pathOf(key))))
        await this.#tree.removeEmptyFolders(key)
      })
      swept += 1
    }
    return swept
  }

  clockSkewSeconds(): number | undefined {
    return this.#skewSeconds
  }

  async close(): Promise<void> {
    this.#tree.close()
  }

  async #store(
    key: string,
    source: AsyncIterable<Uint8Array>,
    signal: AbortSignal,
    ifAbsent: boolean,
  ): Promise<number> {
    const operation = `write of ${key}`
    assertObjectKey(key, operation)
    assertNotAborted(signal, operation)
    const { url } = this
    const stalled = new AbortController()
    const either = AbortSignal.any([signal, stalled.signal])
    const reader = new ChunkReader(source, either, operation)
    const watch = new StepWatch(this.#clock, (ms) => stalled.abort(noAnswer({ operation, url }, ms)))
    const inTime: InTime = (work, ms = stallMs) => watch.step(work, ms)
    try {
      const stored = this.#storeFrom(reader, { key, signal: either, ifAbsent, inTime })
      return await withPatience(stored, { clock: this.#clock, signal: either, operation, url })
    } catch (error) {
      if (reader.hasFailed) throw error
      if (codeOf(error) !== 'ENOENT') throw toDirectoryError(error, { operation, key, url })
      const reason = 'the folder of the object vanished while it was written'
      throw new PgproofError('STORE_UNREACHABLE', { store: url, reason }, { cause: error })
    } finally {
      watch.end()
      await reader.close()
    }
  }

  /** Returns the bytes of the finished file. */
  async #storeFrom(reader: ChunkReader, { key, signal, ifAbsent, inTime }: Storing): Promise<number> {
    if (key !== storeMarkerKey) await inTime(this.#assertMounted())
    const calls = this.#calls
    const target = this.#tree.pathOf(key)
    const folder = await inTime(this.#tree.makeFolderOf(key))
    const temporary = join(folder, `.pgproof-${randomBytes(8).toString('hex')}.part`)
    const handle = await inTime(this.#tree.inFolderOf(key, () => calls.run(() => open(temporary, 'wx'))))
    try {
      const bytes = await copy(reader, handle, calls, inTime)
      await inTime(
        calls.run(() => handle.sync()),
        stallMs + bytes / leastBytesPerMs,
      )
      const stat = await inTime(calls.run(() => handle.stat({ bigint: true })))
      await inTime(calls.run(() => handle.close()))
      if (stat.size !== BigInt(bytes))
        throw new PgproofError('STORE_FAILED', {
          operation: `write of ${key}`,
          reason: `the file has ${stat.size} bytes of ${bytes} written`,
        })
      assertNotAborted(signal, `write of ${key}`)
      this.#skewSeconds = (Number(stat.mtimeMs) - this.#clock.now().getTime()) / 1000
      // Waited for until the run is ended: it may still happen, however late, and must not be said not to have.
      await (ifAbsent ? linkNew : renameOver)({ temporary, target, key, stat }, calls)
    } catch (error) {
      await calls.run(() => handle.close()).catch(() => undefined)
      await calls.run(() => unlink(temporary)).catch(() => undefined)
      await this.#tree.removeEmptyFolders(key)
      throw error
    }
    await this.#tree.syncFoldersOf(key)
    if (key === storeMarkerKey) this.#wasMarked = true
    return (await calls.run(() => lstat(target))).size
  }

  /** `bytes` is the size of the whole object. */
  async #open(key: string, { signal, offset = 0 }: ReadOptions): Promise<{ stream: Readable; bytes: number }> {
    return await this.#run(`read of ${key}`, key, signal, async () => {
      const file = await this.#find(key)
      if (file === undefined) throw new PgproofError('STORE_NOT_FOUND', { key })
      // Not to wait for the other end, should it be exchanged for a pipe at this moment.
      const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK
      const calls = this.#calls
      const handle = await calls.run(() => open(this.#tree.pathOf(key), flags))
      const bytes = (await calls.run(() => handle.stat())).size
      if (offset > bytes) {
        await calls.run(() => handle.close())
        throw offsetBeyondEnd(`read of ${key}`, offset, bytes)
      }
      const call = { operation: `read of ${key}`, key, url: this.url }
      const chunks = fileChunks(handle, { offset, bytes, calls }, { ...call, clock: this.#clock, signal, stallMs })
      const stream = Readable.from(chunks, { objectMode: false, highWaterMark: bufferBytes })
      // An abort before anybody listens must not end the process; the reader still gets the error.
      stream.on('error', () => {})
      const release = whenAborted(signal, () => stream.destroy(abortError(signal, `read of ${key}`)))
      stream.once('close', () => {
        release()
        // A generator that was never started runs no `finally`.
        void calls.run(() => handle.close()).catch(() => undefined)
      })
      return { stream, bytes }
    })
  }

  /** The file of an object; undefined if there is none in a store that is there. */
  async #find(key: string): Promise<ObjectInfo | undefined> {
    const file = await this.#tree.findFile(key)
    if (key === storeMarkerKey) this.#wasMarked ||= file !== undefined
    else if (file === undefined) await this.#assertMounted()
    return file
  }

  async #assertMounted(): Promise<void> {
    if (!this.#wasMarked || (await this.#tree.findFile(storeMarkerKey)) !== undefined) return
    const advice = 'It held one before. If it is a mount that went away, mount it again.'
    throw new PgproofError('STORE_UNMARKED', { store: this.url, key: storeMarkerKey, advice })
  }

  async *#walk(
    walk: (ended: AbortSignal) => AsyncGenerator<readonly ObjectInfo[]>,
    operation: string,
    signal: AbortSignal,
  ): AsyncGenerator<readonly ObjectInfo[], void, undefined> {
    const ended = new AbortController()
    const files = walk(ended.signal)
    try {
      for (;;) {
        const next = await this.#run(operation, null, signal, () => files.next())
        if (next.done === true) return
        yield next.value
      }
    } finally {
      // Whoever was cut off, or stopped early, leaves no thread behind.
      ended.abort()
      void files.return(undefined).catch(() => {})
    }
  }

  /** `key` is null where the operation has none. */
  async #run<T>(operation: string, key: string | null, signal: AbortSignal, action: () => Promise<T>): Promise<T> {
    if (key !== null) assertObjectKey(key, operation)
    assertNotAborted(signal, operation)
    const { url } = this
    try {
      return await withPatience(action(), { clock: this.#clock, signal, operation, url, stallMs })
    } catch (error) {
      throw toDirectoryError(error, { operation, key: key ?? '', url })
    }
  }
}

/** Waits for a step of a write; one that takes too long ends the write, as an abort would. */
type InTime = <T>(work: Promise<T>, ms?: number) => Promise<T>

type Storing = {
  readonly key: string
  readonly signal: AbortSignal
  readonly ifAbsent: boolean
  readonly inTime: InTime
}

/** Gathers small chunks, so that each write is worth its system call. */
async function copy(reader: ChunkReader, handle: FileHandle, calls: FileCalls, inTime: InTime): Promise<number> {
  const buffer = Buffer.allocUnsafeSlow(bufferBytes)
  let bytes = 0
  for (let ended = false; !ended; ) {
    const filled = await reader.fill(buffer)
    ended = filled.ended
    for (let offset = 0; offset < filled.bytes; )
      offset += (await inTime(calls.run(() => handle.write(buffer, offset, filled.bytes - offset)))).bytesWritten
    bytes += filled.bytes
  }
  return bytes
}

async function* fileChunks(
  handle: FileHandle,
  { offset: start, bytes, calls }: { readonly offset: number; readonly bytes: number; readonly calls: FileCalls },
  call: DirectoryCall & Patience,
): AsyncGenerator<Buffer> {
  let offset = start
  try {
    while (offset < bytes) {
      const buffer = Buffer.allocUnsafeSlow(Math.min(bufferBytes, bytes - offset))
      const reading = calls.run(() => handle.read(buffer, 0, buffer.length, offset))
      const { bytesRead } = await withPatience(reading, call)
      if (bytesRead === 0)
        throw new PgproofError('STORE_FAILED', {
          operation: call.operation,
          reason: `the file ended after ${offset} of ${bytes} bytes`,
        })
      offset += bytesRead
      yield buffer.subarray(0, bytesRead)
    }
  } catch (error) {
    throw toDirectoryError(error, call)
  } finally {
    // Not waited for: it would wait for a read that may never end.
    void calls.run(() => handle.close()).catch(() => undefined)
  }
}

async function* oneChunk(body: Uint8Array): AsyncGenerator<Uint8Array> {
  yield body
}

function parseFileUrl(url: string): string {
  try {
    const parsed = new URL(url)
    if (parsed.protocol === 'file:' && parsed.search === '' && parsed.hash === '') return fileURLToPath(parsed)
  } catch {
    // Reported below, without the URL: it may hold anything.
  }
  throw new PgproofError('USAGE_INVALID', { reason: 'the store URL is not file:///absolute/path' })
}
