import { randomUUID } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { storeMarkerKey } from '../../src/storage/object-keys.ts'

/** Makes a directory a store, as `pgproof init` does; returns its id. */
export function markStore(folder: string, storeId: string = randomUUID()): string {
  const marker = { format: 1, storeId, createdAt: new Date().toISOString() }
  writeFileSync(join(folder, storeMarkerKey), `${JSON.stringify(marker, null, 2)}\n`)
  return storeId
}
