import { assertNotAborted } from '../errors.ts'

/** Works on items as they come, at most `limit` at a time, in their order. */
export class Reading<T> {
  readonly #limit: number
  readonly #signal: AbortSignal
  readonly #read: (item: T) => Promise<void>
  readonly #queue: T[] = []
  readonly #running = new Set<Promise<void>>()
  #next = 0
  /** Of those that will look into the queue once more; those that only end are still in `#running`. */
  #looking = 0
  #failure: { readonly reason: unknown } | undefined

  constructor(limit: number, signal: AbortSignal, read: (item: T) => Promise<void>) {
    this.#limit = limit
    this.#signal = signal
    this.#read = read
  }

  add(item: T): void {
    this.#queue.push(item)
    if (this.#looking >= this.#limit) return
    this.#looking += 1
    const worker = this.#work().finally(() => this.#running.delete(worker))
    this.#running.add(worker)
  }

  /** Ends once nothing runs any more; throws the first failure, after which nothing was begun. */
  async end(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running)
    if (this.#failure !== undefined) throw this.#failure.reason
  }

  /** Begins nothing more, and ends once nothing runs any more. Never throws. */
  async stop(): Promise<void> {
    this.#failure ??= { reason: undefined }
    await Promise.all(this.#running)
  }

  /** Never rejects. */
  async #work(): Promise<void> {
    while (this.#next < this.#queue.length && this.#failure === undefined) {
      const item = this.#queue[this.#next] as T
      this.#next += 1
      try {
        assertNotAborted(this.#signal)
        await this.#read(item)
      } catch (reason) {
        this.#failure ??= { reason }
      }
    }
    this.#looking -= 1
  }
}
