import { randomUUID } from 'node:crypto'
import { z } from 'zod'
import type { Clock } from '../clock.ts'
import { decodeVersioned } from '../domain/manifest.ts'
import { assertNotAborted, PgproofError, toPgproofError } from '../errors.ts'
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

/** One of the configured stores, with what its marker should say. */
export type MarkedStore = {
  readonly name: string
  readonly isRequired: boolean
  readonly url: string
  /** As configured; undefined takes what is there. */
  readonly id: string | undefined
  readonly writer: ObjectStore
  readonly reader: ObjectStore
}

export type MarkerWish = {
  /** Whether something is to be written: then an unmarked bucket is marked, and a required store must be there. */
  readonly mayMark: boolean
  /** Whether somebody said that these are new stores: then a directory is marked as well. */
  readonly isInit: boolean
  /** How long a store that is not required is waited for, in milliseconds; default 20 s. */
  readonly optionalMs?: number | undefined
}

export type SettledMarkers = {
  /** Of every store: they hold the same backups. */
  readonly storeId: string
  /** When the oldest of them was marked. */
  readonly createdAt: Date
  /** Names of those that were marked just now. */
  readonly marked: readonly string[]
  /** Why a store cannot be used now, by its name. */
  readonly faults: ReadonlyMap<string, PgproofError>
}

/**
 * The identity that all stores share, or null where none has a marker and none may be made. A directory without one may
 * be a mount that is not there, so only an `isInit` marks it; nor is anything marked whose id is configured. Always
 * throws STORE_FORMAT_NEWER, and STORE_FOREIGN of a required store; throws the fault of a required store where something is to be written,
 * and of any where none could be read.
 */
export async function settleMarkers(
  stores: readonly MarkedStore[],
  wish: MarkerWish,
  clock: Clock,
  signal: AbortSignal,
): Promise<SettledMarkers | null> {
  const found = await Promise.all(stores.map(async (store) => ({ store, marker: await lookAt(store, wish, signal) })))
  assertNotAborted(signal)
  const faults = new Map<string, PgproofError>()
  const markers = new Map<string, StoreMarker>()
  for (const { store, marker } of found) {
    if (marker instanceof PgproofError) faults.set(store.name, marker)
    else if (marker !== null) markers.set(store.name, marker)
  }
  const unmarked = stores.filter(({ name }) => !markers.has(name) && !faults.has(name))
  const byRank = stores.toSorted((one, other) => Number(other.isRequired) - Number(one.isRequired))
  const known =
    stores.find(({ id }) => id !== undefined)?.id ?? byRank.flatMap(({ name }) => markers.get(name)?.storeId ?? [])[0]
  for (const { name, url, id, isRequired } of stores) {
    try {
      assertId(id, known, name, url)
      assertId(markers.get(name)?.storeId, known, name, url)
    } catch (error) {
      // One that is not required keeps nobody from his backups; it is left alone, whosever it is.
      if (isRequired || wish.isInit) throw error
      markers.delete(name)
      faults.set(name, toPgproofError(error))
    }
  }

  const marked: string[] = []
  let storeId = known
  // One after the other: where another pgproof does the same at this moment, both come to the first store first.
  for (const store of unmarked) {
    try {
      if (!mayBeMarked(store, wish)) throw unmarkedError(store)
      // A store that does not answer may have an id already; a new one would part the two for good.
      if (storeId === undefined && faults.size > 0) throw [...faults.values()][0]
      const marker = await mark(store.writer, storeId ?? randomUUID(), clock, signal)
      storeId ??= marker.storeId
      assertId(marker.storeId, storeId, store.name, store.url)
      markers.set(store.name, marker)
      marked.push(store.name)
    } catch (error) {
      assertNotAborted(signal)
      if (error instanceof PgproofError && isAlwaysThrown(error)) throw error
      faults.set(store.name, toPgproofError(error, `the marking of store ${store.name}`))
    }
  }

  const needed = wish.mayMark ? stores.filter(({ isRequired }) => isRequired) : []
  for (const { name } of needed) if (faults.has(name)) throw faults.get(name)
  if (storeId !== undefined && markers.size > 0) return { storeId, createdAt: oldest(markers), marked, faults }
  // Read, and nothing there: that is an answer. Not read, or not to be written to: that is none.
  const silent = [...faults].find(([, { code }]) => code !== 'STORE_UNMARKED')?.[1]
  const fault = silent ?? (wish.mayMark ? [...faults.values()][0] : undefined)
  if (fault !== undefined) throw fault
  return null
}

/**
 * That the store is still the one whose id this is: a directory loses its marker when it is unmounted. Throws
 * STORE_UNMARKED, STORE_FOREIGN, or what the store throws.
 */
export async function assertMarked(
  store: ObjectStore,
  storeId: string,
  signal: AbortSignal,
  name = 'store',
): Promise<void> {
  const marker = await readStoreMarker(store, signal)
  if (marker === null) throw unmarkedError(store)
  assertId(marker.storeId, storeId, name, store.url)
}

/** The store's identity, or null where there is no marker yet. Throws STORE_FORMAT_NEWER or STORE_FORMAT_INVALID. */
export async function readStoreMarker(store: ObjectStore, signal: AbortSignal): Promise<StoreMarker | null> {
  try {
    const bytes = await store.get(storeMarkerKey, { signal, maxBytes: 1 << 16 })
    return decodeVersioned(bytes, markerSchema, storeFormat, storeMarkerKey)
  } catch (error) {
    if (error instanceof PgproofError && error.code === 'STORE_NOT_FOUND') return null
    throw error
  }
}

/** The marker; null where there is none; why neither can be told. */
async function lookAt(
  { reader, isRequired }: MarkedStore,
  { optionalMs = defaultOptionalMs }: MarkerWish,
  signal: AbortSignal,
): Promise<StoreMarker | null | PgproofError> {
  const limit = AbortSignal.timeout(optionalMs)
  try {
    return await readStoreMarker(reader, isRequired ? signal : AbortSignal.any([signal, limit]))
  } catch (error) {
    if (!isRequired && limit.aborted && !signal.aborted) {
      const reason = `it gave no answer within ${optionalMs / 1000} s, and is not waited for`
      return new PgproofError('STORE_FAILED', { operation: `reading ${storeMarkerKey}`, reason }, { cause: error })
    }
    if (!(error instanceof PgproofError) || isAlwaysThrown(error)) throw error
    return error
  }
}

const defaultOptionalMs = 20_000

/** Faults of the configuration: they do not pass, and to go on would harm somebody's store. */
function isAlwaysThrown({ code }: PgproofError): boolean {
  return code === 'STORE_FOREIGN' || code === 'STORE_FORMAT_NEWER'
}

/** `found` undefined: nothing is said about this one. */
function assertId(found: string | undefined, expected: string | undefined, name: string, url: string): void {
  if (found === undefined || expected === undefined || found === expected) return
  throw new PgproofError('STORE_FOREIGN', { name, url, found, expected })
}

/** A bucket cannot be unmounted: without a marker it is a new one, unless somebody wrote down which one it should be. */
function mayBeMarked({ url, id }: MarkedStore, { mayMark, isInit }: MarkerWish): boolean {
  return isInit || (mayMark && id === undefined && !isDirectory(url))
}

async function mark(store: ObjectStore, storeId: string, clock: Clock, signal: AbortSignal): Promise<StoreMarker> {
  const marker: StoreMarker = { format: storeFormat, storeId, createdAt: clock.now().toISOString() }
  try {
    await store.put(storeMarkerKey, Buffer.from(`${JSON.stringify(marker, null, 2)}\n`), { signal, ifAbsent: true })
    return marker
  } catch (error) {
    // Another pgproof marked it at the same moment: its marker is the one that counts.
    if (!(error instanceof PgproofError) || error.code !== 'STORE_EXISTS') throw error
    return (await readStoreMarker(store, signal)) ?? marker
  }
}

function unmarkedError({ url }: Pick<ObjectStore, 'url'>): PgproofError {
  const advice = isDirectory(url)
    ? 'If it is a mount that is missing, mount it. If this is a new store, run `pgproof init` once.'
    : 'Check bucket and prefix. If this is a new store, run `pgproof init` once.'
  return new PgproofError('STORE_UNMARKED', { store: url, key: storeMarkerKey, advice })
}

function isDirectory(url: string): boolean {
  return url.startsWith('file:')
}

function oldest(markers: ReadonlyMap<string, StoreMarker>): Date {
  return new Date(Math.min(...[...markers.values()].map(({ createdAt }) => Date.parse(createdAt))))
}
