import type { Run } from '../catalog/runs.ts'
import type { DrillWish } from './execute.ts'

export type Order = {
  readonly job: Run['job']
  readonly server: string
  /** Null for roles and for a prune of everything. */
  readonly database: string | null
  readonly trigger: Run['trigger']
  /** 1 unless given. */
  readonly attempt?: number | undefined
  readonly wish?: DrillWish
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
  /** How many runs wait before this one; null when it does not wait. */
  position(id: string): number | null
}
