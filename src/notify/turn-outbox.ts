import type { Clock } from '../clock.ts'
import type { QueueView } from '../jobs/queue-view.ts'

/** What tells whose turn it is; a process without a fleet always has it. */
export type TurnQueue = { hasTurn(): boolean; view(): QueueView }

type Held = { readonly atMs: number; readonly send: () => void }

/** Longer than it takes until a worker that died has lost the turn and another one has it. */
export const handoverMs = 3 * 60_000
/** A fleet that nobody tells of for long must not fill the memory. */
const mostHeld = 1000

/**
 * Sends while it is this worker's turn. All workers follow what happens and know what was told; whoever gets the turn
 * sends again what the one before may have had no time for, and nothing older. While the control database is away, who
 * had the turn last goes on.
 */
export class TurnOutbox {
  readonly #queue: TurnQueue
  readonly #worker: string | undefined
  readonly #clock: Pick<Clock, 'monotonicMs'>
  #isSpeaking = false
  #held: Held[] = []

  constructor(queue: TurnQueue, worker: string | undefined, clock: Pick<Clock, 'monotonicMs'>) {
    this.#queue = queue
    this.#worker = worker
    this.#clock = clock
  }

  isSpeaking(): boolean {
    if (this.#queue.hasTurn()) this.#isSpeaking = true
    else if (this.#queue.view().isReachable) this.#isSpeaking = false
    return this.#isSpeaking
  }

  send(send: () => void): void {
    this.look()
    if (this.isSpeaking()) send()
    else this.#held = [...this.#held.slice(1 - mostHeld), { atMs: this.#clock.monotonicMs(), send }]
  }

  /** Sends what it had held back if the turn has come, and forgets what somebody else has sent. */
  look(): void {
    if (this.#held.length === 0) return
    if (this.isSpeaking()) {
      const held = this.#held
      this.#held = []
      for (const { send } of held) send()
    } else if (this.#doesAnotherSpeak()) {
      const oldestMs = this.#clock.monotonicMs() - handoverMs
      this.#held = this.#held.filter(({ atMs }) => atMs > oldestMs)
    }
  }

  #doesAnotherSpeak(): boolean {
    const { workers, isReachable } = this.#queue.view()
    // A worker without `serve` does not see the others.
    if (workers.length === 0) return isReachable
    return workers.some(({ name, hasTurn }) => hasTurn && name !== this.#worker)
  }
}
