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
  /** Those that lived when the control database was made anew: until then each has the time to sign again. */
  #kept: { readonly until: number; readonly signs: readonly WorkerSign[] } | null = null

  constructor(own: string, heartbeatMs: number) {
    this.#own = own
    this.#heartbeatMs = heartbeatMs
  }

  /** With `isMadeAnew` the signs that were there before are gone, and the control database's clock may be another. */
  take(signs: readonly WorkerSign[], asOf: Date, isMadeAnew = false): void {
    const now = asOf.getTime()
    if (isMadeAnew) this.#kept = { until: now + this.#heartbeatMs, signs: this.living() }
    else if (this.#kept !== null && this.#kept.until < now) this.#kept = null
    const before = isMadeAnew ? Number.NEGATIVE_INFINITY : this.#asOf
    if (now - before > this.#heartbeatMs && before !== Number.NEGATIVE_INFINITY && this.#grace.until < now)
      this.#grace = { until: now + this.#heartbeatMs, oldest: before - this.#heartbeatMs }
    this.#signs = signs
    this.#asOf = now
  }

  /** Those that lived when the signs were read; without a control database that is all that is known. */
  living(): readonly WorkerSign[] {
    const oldest = this.#grace.until > this.#asOf ? this.#grace.oldest : this.#asOf - this.#heartbeatMs
    const living = this.#signs.filter(({ name, seenAt }) => name !== this.#own && seenAt.getTime() > oldest)
    const kept = this.#kept?.signs.filter(({ name }) => this.#signs.every((sign) => sign.name !== name)) ?? []
    // Always in the same order, so that of several the same one is named each time.
    return [...living, ...kept].toSorted((one, other) => (one.name < other.name ? -1 : 1))
  }
}
