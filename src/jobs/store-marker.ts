import { randomUUID } from 'node:crypto'
import { z } from 'zod'
import type { Clock } from '../clock.ts'
import { decodeVersioned } from '../domain/manifest.ts'
import { PgproofError } from '../errors.ts'
import { storeMarkerKey } from '../storage/object-keys.ts'
import type { ObjectStore } from '../storage/object-store.ts'

/** The newest store layout that this program reads and writes. */
const storeFormat = 1

const markerSchema = z.strictObject({
  format: z.literal(storeFormat),
  /** Ties manifests and reports to this store, so that a copy elsewhere is told apart. */
  storeId: z.uuid(),
  createdAt: z.iso.datetime(),
})

export type StoreMarker = z.infer<typeof markerSchema>

/** The store's identity, or null where there is no marker yet. Throws STORE_FORMAT_NEWER or STORE_FORMAT_INVALID. */
export async function readStoreMarker(store: ObjectStore, signal: AbortSignal): Promise<StoreMarker | null> {
  if ((await store.head(storeMarkerKey, { signal })) === undefined) return null
  const bytes = await store.get(storeMarkerKey, { signal, maxBytes: 1 << 16 })
  return decodeVersioned(bytes, markerSchema, storeFormat, storeMarkerKey)
}

/** The store's identity; marks an unmarked store first. */
export async function ensureStoreMarker(store: ObjectStore, clock: Clock, signal: AbortSignal): Promise<StoreMarker> {
  const known = await readStoreMarker(store, signal)
  if (known !== null) return known
  const marker: StoreMarker = { format: storeFormat, storeId: randomUUID(), createdAt: clock.now().toISOString() }
  try {
    await store.put(storeMarkerKey, Buffer.from(`${JSON.stringify(marker, null, 2)}\n`), { signal, ifAbsent: true })
    return marker
  } catch (error) {
    // Another pgproof marked it at the same moment: its marker is the one that counts.
    if (!(error instanceof PgproofError) || error.code !== 'STORE_EXISTS') throw error
    return (await readStoreMarker(store, signal)) ?? marker
  }
}
