import { randomUUID } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { storeMarkerKey } from '../../src/storage/object-keys.ts'

/** Makes a directory a store, as `pgproof init` does, or did at another time; returns its id. */
export function markStore(folder: string, storeId: string = randomUUID(), createdAt = new Date()): string {
  const marker = { format: 1, storeId, createdAt: createdAt.toISOString() }
  writeFileSync(join(folder, storeMarkerKey), `${JSON.stringify(marker, null, 2)}\n`)
  return storeId
}

/** One of years ago: whatever comes once a year is due now, and once. */
export function markOldStore(folder: string): void {
  markStore(folder, undefined, new Date('2020-01-01T12:00:00Z'))
}

/** Due at New Year. */
export const onceAYear = '0 0 1 1 *'
