import type { Clock } from '../clock.ts'
import { PgproofError } from '../errors.ts'

/**
 * The calls of one directory store to its file system. Each keeps one of Node's few threads until it is answered, for ever
 * on a mount whose server is gone; and everything else in the process needs one now and then: other stores, host names,
 * compression. So a store has at most `atOnce` of them, and once all of these are overdue none is begun until one returns.
 */
export class FileCalls {
  /** Free ones; who ends hands its own over to the next that waits. */
  #places: number
  readonly #clock: Pick<Clock, 'monotonicMs'>
  readonly #url: string
  readonly #waiting: (() => void)[] = []
  /** When each began, by the monotonic clock. */
  readonly #running = new Set<{ readonly sinceMs: number }>()

  constructor(atOnce: number, clock: Pick<Clock, 'monotonicMs'>, url: string) {
    this.#places = atOnce
    this.#clock = clock
    this.#url = url
  }

  /** Throws STORE_UNREACHABLE where too many are overdue. */
  async run<T>(call: () => Promise<T>): Promise<T> {
    if (this.#places > 0) this.#places -= 1
    else {
      this.#assertAnswering()
      await new Promise<void>((go) => this.#waiting.push(go))
    }
    const running = { sinceMs: this.#clock.monotonicMs() }
    this.#running.add(running)
    try {
      return await call()
    } finally {
      this.#running.delete(running)
      const next = this.#waiting.shift()
      if (next === undefined) this.#places += 1
      else next()
    }
  }

  #assertAnswering(): void {
    const youngestMs = Math.max(...Array.from(this.#running, ({ sinceMs }) => sinceMs))
    const overdueMs = this.#clock.monotonicMs() - youngestMs
    if (overdueMs < overdueAfterMs) return
    const reason = `${this.#running.size} calls have been waiting for its file system for ${Math.round(overdueMs / 1000)} s`
    throw new PgproofError('STORE_UNREACHABLE', { store: this.#url, reason })
  }
}

/** Slower than any disk or network file system that answers at all. */
const overdueAfterMs = 60_000

/** How many calls each of so many directory stores may have at once: one thread is left when all of them hang. */
export function callsAtOnce(stores: number, poolSize = Number(process.env['UV_THREADPOOL_SIZE'] ?? 4)): number {
  return Math.max(1, Math.floor((poolSize - 1) / Math.max(1, stores)))
}
