import type { Clock } from '../clock.ts'
import { PgproofError } from '../errors.ts'
import { type Log, logKeys } from '../log.ts'
import type { Attempt, Channel } from './channel.ts'

export type Outcome = 'delivered' | 'failed' | 'dropped'

export type QueueLimits = {
  /** How many wait at most; then the oldest of them is dropped. */
  readonly capacity: number
  readonly attemptMs: number
  /** How long one is tried before it is given up. */
  readonly patienceMs: number
  readonly firstDelayMs: number
  readonly longestDelayMs: number
}

export const usualLimits: QueueLimits = {
  // A server with hundreds of databases may stop.
  capacity: 1000,
  attemptMs: 10_000,
  // A receiver may be gone for a night; what is older than that, the reminders say again.
  patienceMs: 6 * 3_600_000,
  firstDelayMs: 1_000,
  longestDelayMs: 300_000,
}

export type QueueParts<P> = {
  readonly clock: Clock
  readonly log: Log
  /** From 0 to 1. */
  readonly random: () => number
  readonly onOutcome: (outcome: Outcome) => void
  /** By what a line of the log says which one it is about; without any secret. */
  readonly about: (parcel: P) => Readonly<Record<string, unknown>>
}

/** What a queue holds now, with the one that is being delivered. */
export type Backlog = {
  readonly count: number
  /** When the oldest of them was put in; null if there is none. */
  readonly oldestSince: Date | null
}

type Waiting<P> = { readonly parcel: P; readonly since: Date; readonly sinceMs: number }

/**
 * What one receiver is still to get, in order. Whoever puts something in never waits; what cannot be delivered is tried
 * again for hours, then logged and given up.
 */
export class DeliveryQueue<P> {
  readonly #channel: Channel<P>
  readonly #parts: QueueParts<P>
  readonly #limits: QueueLimits
  readonly #waiting: Waiting<P>[] = []
  /** Fired when it closes: nobody waits between attempts any more. */
  readonly #hurry = new AbortController()
  /** Fired when there is no time left. */
  readonly #over = new AbortController()
  #draining: Promise<void> | undefined

  constructor(channel: Channel<P>, parts: QueueParts<P>, limits: QueueLimits = usualLimits) {
    this.#channel = channel
    this.#parts = parts
    this.#limits = limits
  }

  /** Whether nothing waits. */
  isIdle(): boolean {
    return this.#draining === undefined
  }

  backlog(): Backlog {
    return { count: this.#waiting.length, oldestSince: this.#waiting[0]?.since ?? null }
  }

  /** After `close` nothing is taken. */
  push(parcel: P): void {
    if (this.#hurry.signal.aborted) return
    // The first is being delivered.
    if (this.#waiting.length > this.#limits.capacity) {
      for (const oldest of this.#waiting.splice(1, 1))
        this.#fail('dropped', oldest.parcel, 'too many wait to be delivered there; the oldest was dropped')
    }
    const { clock } = this.#parts
    this.#waiting.push({ parcel, since: clock.now(), sinceMs: clock.monotonicMs() })
    this.#draining ??= this.#drain()
  }

  /** One last attempt for each that waits, within that time. */
  async close(withinMs: number): Promise<void> {
    this.#hurry.abort()
    const done = new AbortController()
    await Promise.race([
      Promise.resolve(this.#draining).finally(() => done.abort()),
      this.#parts.clock.sleep(withinMs, done.signal).catch(() => {}),
    ])
    this.#over.abort()
    await this.#draining
  }

  async #drain(): Promise<void> {
    for (let first = this.#waiting[0]; first !== undefined; first = this.#waiting[0]) {
      if (this.#over.signal.aborted) this.#fail('dropped', first.parcel, 'pgproof stopped before it could be delivered')
      else await this.#deliver(first)
      this.#waiting.shift()
    }
    // At once, or what is put in meanwhile would find nobody who delivers it.
    this.#draining = undefined
  }

  async #deliver({ parcel, sinceMs }: Waiting<P>): Promise<void> {
    const { clock, log, onOutcome, about } = this.#parts
    for (let attempt = 1; ; attempt += 1) {
      const isLast = this.#hurry.signal.aborted
      const result = await this.#attempt(parcel)
      if (result.isDelivered) {
        log.debug({ target: this.#channel.name, ...about(parcel), attempt }, 'notice delivered')
        onOutcome('delivered')
        return
      }
      const waitMs = this.#delayMs(attempt, result.retryAfterMs)
      const isPatient = clock.monotonicMs() - sinceMs + waitMs <= this.#limits.patienceMs
      if (!result.isRetryable || isLast || !isPatient) {
        this.#fail('failed', parcel, result.reason)
        return
      }
      if (attempt === 1)
        log.warn(
          { target: this.#channel.name, ...about(parcel), reason: result.reason },
          'a notice could not be delivered; it is tried again',
        )
      await clock.sleep(waitMs, this.#hurry.signal).catch(() => {})
    }
  }

  async #attempt(parcel: P): Promise<Attempt> {
    const signal = AbortSignal.any([AbortSignal.timeout(this.#limits.attemptMs), this.#over.signal])
    return await this.#channel.deliver(parcel, signal)
  }

  /** Twice as long each time, and never the same for all: a receiver that comes back is not overrun. */
  #delayMs(attempt: number, retryAfterMs: number | null): number {
    const { firstDelayMs, longestDelayMs } = this.#limits
    const backoff = Math.min(longestDelayMs, firstDelayMs * 2 ** Math.min(attempt - 1, 30))
    return Math.max(retryAfterMs ?? 0, backoff * (0.5 + this.#parts.random() / 2))
  }

  #fail(outcome: 'failed' | 'dropped', parcel: P, reason: string): void {
    const { log, onOutcome, about } = this.#parts
    const target = this.#channel.name
    const { code, message, hint } = new PgproofError('NOTICE_FAILED', { target, reason })
    log.error(
      { [logKeys.code]: code, target, ...about(parcel), reason: message, [logKeys.hint]: hint },
      'notice not delivered',
    )
    onOutcome(outcome)
  }
}
