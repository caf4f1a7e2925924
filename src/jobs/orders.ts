import type { Run } from '../catalog/runs.ts'
import type { DrillWish } from './execute.ts'
import type { QueueView } from './queue-view.ts'

export type Order = {
  readonly job: Run['job']
  readonly server: string
  /** Null for roles and for a prune of everything. */
  readonly database: string | null
  readonly trigger: Run['trigger']
  /** 1 unless given. */
  readonly attempt?: number | undefined
  readonly wish?: DrillWish
  /** Of what a schedule ordered: it exists once for each of these, whoever orders it. */
  readonly due?: Due | undefined
}

export type Due = {
  readonly time: Date
  /** The next due time. */
  readonly until: Date
  /** The how manieth run of this due time it is. */
  readonly runs: number
}

/** Where orders go: a queue in this process, or one that a fleet shares. Whoever orders does not know which. */
export interface Orders {
  /**
   * Takes an order and returns its run, queued. Throws SERVER_UNKNOWN, DATABASE_NOT_CONFIGURED, NO_BACKUP or
   * LABEL_UNKNOWN (a drill without anything to drill), LOCKED (the same job of the same database is already queued or
   * running), SHUTTING_DOWN. Nothing is started then.
   */
  order(order: Order): Run
  /** Cancels a queued or running run. Throws RUN_UNKNOWN or RUN_FINISHED. */
  cancel(id: string): Run
  /** How many runs wait before this one; null when it does not wait, or for a worker that is not there. */
  position(id: string): number | null
}

/** Orders and what becomes of them: what the daemon keeps going, in this process or with others. */
export interface Queue extends Orders {
  /** Whether this process is the one that orders what is due and tells of what failed; always, where it is alone. */
  hasTurn(): boolean
  /** Begins to carry out what is ordered. */
  start(): void
  /** Does what has to be done now and then, and starts what may start. */
  look(): void
  isBusy(): boolean
  view(): QueueView
  /** Takes nothing new; running jobs get `graceMs` to finish, then they are stopped cleanly. */
  close(graceMs: number): Promise<void>
}
