import { abortError, whenAborted } from './abortable.ts'

/** Fills fixed buffers from a stream of chunks of any size, and gives up waiting as soon as the signal aborts. */
export class ChunkReader {
  readonly #iterator: AsyncIterator<Uint8Array>
  readonly #release: () => void
  readonly #signal: AbortSignal
  readonly #what: string
  #rest: Uint8Array = new Uint8Array(0)
  #ended = false
  #hasFailed = false
  /** Rejects the wait for the next chunk. One slot instead of a race: a race per chunk would pile up in memory. */
  #interrupt: (() => void) | undefined

  constructor(source: AsyncIterable<Uint8Array>, signal: AbortSignal, what: string) {
    this.#iterator = source[Symbol.asyncIterator]()
    this.#signal = signal
    this.#what = what
    this.#release = whenAborted(signal, () => this.#interrupt?.())
  }

  /** Whether the source itself threw, so that the failure is not the store's. */
  get hasFailed(): boolean {
    return this.#hasFailed
  }

  /** Fills as much of `buffer` as the source has; `ended` is known even when the buffer is exactly full. */
  async fill(buffer: Uint8Array): Promise<{ readonly bytes: number; readonly ended: boolean }> {
    let bytes = 0
    while (!this.#ended) {
      if (this.#rest.length === 0) await this.#next()
      if (bytes === buffer.length) break
      const part = this.#rest.subarray(0, buffer.length - bytes)
      buffer.set(part, bytes)
      bytes += part.length
      this.#rest = this.#rest.subarray(part.length)
    }
    return { bytes, ended: this.#ended }
  }

  /** Tells the source that nobody reads on; waits for it only if it is not busy with a chunk that may never come. */
  async close(): Promise<void> {
    this.#release()
    if (this.#ended) return
    const isBusy = this.#interrupt !== undefined
    const closed = Promise.resolve(this.#iterator.return?.()).catch(() => undefined)
    if (!isBusy) await closed
  }

  /** Leaves a chunk that is not empty in `#rest`, or `#ended` set. */
  async #next(): Promise<void> {
    while (this.#rest.length === 0 && !this.#ended) {
      const result = await new Promise<IteratorResult<Uint8Array>>((resolve, reject) => {
        const interrupt = () => reject(abortError(this.#signal, this.#what))
        if (this.#signal.aborted) return interrupt()
        this.#interrupt = interrupt
        this.#iterator.next().then(
          (answer) => {
            this.#interrupt = undefined
            resolve(answer)
          },
          (error: unknown) => {
            this.#interrupt = undefined
            this.#ended = true
            this.#hasFailed = true
            reject(error)
          },
        )
      })
      if (result.done === true) this.#ended = true
      else this.#rest = result.value
    }
  }
}
