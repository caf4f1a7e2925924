import type { WorkerSign } from '../jobs/queue-view.ts'

/** The other workers, by their signs of life as they were last read. */
export class Peers {
  readonly #own: string
  readonly #heartbeatMs: number
  #signs: readonly WorkerSign[] = []
  /** Both by the clock of the control database. */
  #asOf = Number.NEGATIVE_INFINITY
  /** Signs were not read for a while, perhaps because nobody could: until then older ones count, from the time before. */
  #grace = { until: Number.NEGATIVE_INFINITY, oldest: 0 }

  constructor(own: string, heartbeatMs: number) {
    this.#own = own
    this.#heartbeatMs = heartbeatMs
  }

  take(signs: readonly WorkerSign[], asOf: Date): void {
    const now = asOf.getTime()
    const before = this.#asOf
    if (now - before > this.#heartbeatMs && before !== Number.NEGATIVE_INFINITY && this.#grace.until < now)
      this.#grace = { until: now + this.#heartbeatMs, oldest: before - this.#heartbeatMs }
    // Always in the same order, so that of several the same one is named each time.
    this.#signs = signs.toSorted((one, other) => (one.name < other.name ? -1 : 1))
    this.#asOf = now
  }

  /** Those that lived when the signs were read; without a control database that is all that is known. */
  living(): readonly WorkerSign[] {
    const oldest = this.#grace.until > this.#asOf ? this.#grace.oldest : this.#asOf - this.#heartbeatMs
    return this.#signs.filter(({ name, seenAt }) => name !== this.#own && seenAt.getTime() > oldest)
  }
}
