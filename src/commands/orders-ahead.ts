import type { PgproofError } from '../errors.ts'
import type { BackupOrder } from './backup-outcome.ts'
import type { DaemonRun } from './daemon-answers.ts'

/** What an order came to: a run, a refusal, or null for one that is left out without a word. */
export type Given = DaemonRun | PgproofError | null

export function isRun(given: Given): given is DaemonRun {
  return given !== null && 'id' in given
}

/** A daemon forgets runs that ended long ago, a thousand at most; each backup may bring a prune with it. */
const most = 200

/** Orders so many more than have ended that nobody who may take one waits for an order; `give` never rejects. */
export class OrdersAhead {
  readonly #left: Iterator<BackupOrder>
  readonly #give: (order: BackupOrder) => Promise<Given>
  readonly #given = new Map<BackupOrder, Given>()
  readonly #ended = new Set<BackupOrder>()

  constructor(orders: readonly BackupOrder[], give: (order: BackupOrder) => Promise<Given>) {
    this.#left = orders.values()
    this.#give = give
  }

  /** What was ordered and has not ended. */
  open(): DaemonRun[] {
    return [...this.#given].flatMap(([order, run]) => (isRun(run) && !this.#ended.has(order) ? [run] : []))
  }

  /** Gives more orders first, unless `signal` is aborted; null for one that was not ordered by then. */
  async given(order: BackupOrder, signal: AbortSignal): Promise<Given> {
    while (this.#given.size - this.#ended.size < most && !signal.aborted) {
      const { value: next } = this.#left.next()
      if (next === undefined) break
      this.#given.set(next, await this.#give(next))
    }
    return this.#given.get(order) ?? null
  }

  ended(order: BackupOrder): void {
    this.#ended.add(order)
  }
}
