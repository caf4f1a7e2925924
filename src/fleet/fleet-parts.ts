import type { FleetConfig } from '../config/fleet-config.ts'
import type { Installation } from '../jobs/installation.ts'
import type { QueueView } from '../jobs/queue-view.ts'
import type { Control } from './control.ts'
import type { CarryOut } from './taken-runs.ts'

/** What the queue of a fleet is made from. */
export type FleetParts = {
  readonly installation: Installation
  readonly fleet: FleetConfig
  readonly control: Control
  readonly isThere: (server: string, database: string) => boolean
  readonly vanished: () => QueueView['vanished']
  readonly refresh: () => Promise<boolean>
  /** In place of the job itself, in simulations. */
  readonly carryOut?: CarryOut
}
