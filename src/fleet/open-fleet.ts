import type { FleetConfig } from '../config/fleet-config.ts'
import { BossControl } from './boss-control.ts'
import type { FleetParts } from './fleet-parts.ts'
import { FleetQueue } from './fleet-queue.ts'

/** The queue of a fleet for this process. Opens nothing yet: the control database may come later. */
export function openFleet(fleet: FleetConfig, parts: Omit<FleetParts, 'fleet' | 'control'>): FleetQueue {
  return new FleetQueue({ ...parts, fleet, control: new BossControl(fleet, parts.installation.log) })
}
