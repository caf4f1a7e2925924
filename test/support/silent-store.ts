import type { Readable } from 'node:stream'
import { abortError } from '../../src/storage/abortable.ts'
import type { Deletion, ObjectInfo, ObjectStore } from '../../src/storage/object-store.ts'

type Options = { readonly signal: AbortSignal }

/** A store that takes every call and never answers: a call ends only when it is aborted, as the contract demands. */
export class SilentStore implements ObjectStore {
  readonly url: string
  /** Every call so far, in order, `put backups/…`. */
  readonly calls: string[] = []

  constructor(url = 'memory://silent') {
    this.url = url
  }

  async put(key: string, _body: Uint8Array, { signal }: Options): Promise<void> {
    await this.#wait(`put ${key}`, signal)
  }

  async write(key: string, _source: AsyncIterable<Uint8Array>, { signal }: Options): Promise<{ bytes: number }> {
    return await this.#wait(`write ${key}`, signal)
  }

  async get(key: string, { signal }: Options): Promise<Uint8Array> {
    return await this.#wait(`get ${key}`, signal)
  }

  async read(key: string, { signal }: Options): Promise<Readable> {
    return await this.#wait(`read ${key}`, signal)
  }

  async head(key: string, { signal }: Options): Promise<ObjectInfo | undefined> {
    return await this.#wait(`head ${key}`, signal)
  }

  async *list(prefix: string, { signal }: Options): AsyncIterable<ObjectInfo> {
    yield await this.#wait(`list ${prefix}`, signal)
  }

  async delete(key: string, { signal }: Options): Promise<Deletion> {
    return await this.#wait(`delete ${key}`, signal)
  }

  async sweepUnfinished(_olderThan: Date, { signal }: Options): Promise<number> {
    return await this.#wait('sweep', signal)
  }

  clockSkewSeconds(): undefined {}

  async close(): Promise<void> {}

  async #wait(what: string, signal: AbortSignal): Promise<never> {
    this.calls.push(what)
    const { promise, reject } = Promise.withResolvers<never>()
    signal.addEventListener('abort', () => reject(abortError(signal, what)), { once: true })
    if (signal.aborted) reject(abortError(signal, what))
    return await promise
  }
}
