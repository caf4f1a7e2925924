import type { Clock } from '../clock.ts'

/**
 * Time that has passed, by whichever of two clocks shows more: the monotonic one stands still while the machine sleeps,
 * and the other may be put back.
 */
export class Stopwatch {
  readonly #clock: Clock
  #startedMs = 0
  #startedAt = 0

  constructor(clock: Clock) {
    this.#clock = clock
    this.restart()
  }

  restart(): void {
    this.#startedMs = this.#clock.monotonicMs()
    this.#startedAt = this.#clock.now().getTime()
  }

  /** In milliseconds. */
  elapsed(): number {
    return Math.max(this.#clock.monotonicMs() - this.#startedMs, this.#clock.now().getTime() - this.#startedAt)
  }
}
