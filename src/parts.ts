import type { Catalog } from './catalog/catalog.ts'
import type { Clock } from './clock.ts'
import { makeLabel } from './domain/backup-label.ts'
import type { Log } from './log.ts'
import type { StoreReader, StoreSet } from './storage/store-set.ts'

/** What a job works with, built once and handed down as a plain parameter; it knows nothing of the configuration. */
export type JobParts = {
  /** Where backups are read: any of the stores that has what is asked for. */
  readonly store: StoreReader
  /** All places that backups are written to. */
  readonly stores: StoreSet
  /** One for all of them: they hold the same backups. */
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
