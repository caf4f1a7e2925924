import type { Catalog } from './catalog/catalog.ts'
import type { Clock } from './clock.ts'
import { makeLabel } from './domain/backup-label.ts'
import type { Log } from './log.ts'
import type { ObjectStore } from './storage/object-store.ts'

/** What a job works with, built once and handed down as a plain parameter; it knows nothing of the configuration. */
export type JobParts = {
  readonly store: ObjectStore
  readonly storeId: string
  readonly catalog: Catalog
  readonly clock: Clock
  readonly log: Log
  readonly random: () => number
}

/** A label no other backup or drill has; made before anything is written. */
export function newLabel(parts: Pick<JobParts, 'clock' | 'random'>): string {
  return makeLabel(parts.clock.now(), parts.random)
}
