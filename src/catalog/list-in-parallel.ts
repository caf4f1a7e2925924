import { setImmediate } from 'node:timers/promises'
import { backupsPrefix, drillsPrefix, rolesPrefix } from '../storage/object-keys.ts'
import type { ObjectInfo, ObjectStore } from '../storage/object-store.ts'
import { forEachInSlices, itemsInSlice } from './in-slices.ts'
import { mapInParallel } from './map-in-parallel.ts'

/**
 * Tells `onListed` of every object under `prefix`, in the order of their keys; throws where any listing fails. Pages follow
 * one another, so a long listing is cut at keys of `cuts` (see `cutsAmong`), and the pieces are listed at the same time. The
 * pieces together cover every key, whatever came or went since. What is listed in one piece is told as it comes.
 */
export async function listInParallel(
  store: ObjectStore,
  prefix: string,
  cuts: readonly string[],
  signal: AbortSignal,
  onListed: (info: ObjectInfo) => void,
): Promise<void> {
  const own = store.listsInPages === true ? [...new Set(cuts)].filter((key) => key.startsWith(prefix)).sort() : []
  if (own.length === 0) return await listWhole(store, prefix, signal, onListed)
  const pieces = [undefined, ...own].map((after, index) => ({ after, until: own[index] }))
  const listed = await mapInParallel(pieces, piecesAtOnce, signal, (piece) => listPiece(store, prefix, piece, signal))
  if (!areSeamless(listed)) return await listWhole(store, prefix, signal, onListed)
  for (const { objects } of listed) await forEachInSlices(objects, onListed)
}

/**
 * Where to cut the listing of a store that held documents under these keys, in any order: so that each piece fits into a
 * page of a thousand objects, with some room: what came since is at the end of the last pieces.
 */
export function cutsAmong(documents: Iterable<string>): readonly string[] {
  const cuts: string[] = []
  let prefix = ''
  let objects = 0
  for (const key of [...documents].filter(isPlain).sort()) {
    if (!key.startsWith(prefix) || prefix === '') {
      prefix = key.slice(0, key.indexOf('/') + 1)
      objects = 0
    }
    objects += objectsWith(key)
    if (objects < objectsInPiece) continue
    cuts.push(key)
    objects = 0
  }
  return cuts
}

const objectsInPiece = 970
/** More at once are not listed sooner. */
const piecesAtOnce = 16

/** A key of plain ASCII: then every way of ordering keys agrees which others come before it. */
function isPlain(key: string): boolean {
  return /^[ -~]+$/.test(key)
}

/** How many objects come with a document, itself among them. */
function objectsWith(key: string): number {
  if (key.startsWith(backupsPrefix)) return 5
  if (key.startsWith(rolesPrefix)) return 4
  return key.startsWith(drillsPrefix) ? 3 : 1
}

async function listWhole(
  store: ObjectStore,
  prefix: string,
  signal: AbortSignal,
  onListed: (info: ObjectInfo) => void,
): Promise<void> {
  let left = itemsInSlice
  for await (const info of store.list(prefix, { signal })) {
    onListed(info)
    left -= 1
    if (left > 0) continue
    left = itemsInSlice
    // A store may hand out many at once.
    await setImmediate()
  }
}

/** Keys beyond `after`, up to and with `until`. */
type Piece = { readonly after: string | undefined; readonly until: string | undefined }

type ListedPiece = Piece & {
  readonly objects: readonly ObjectInfo[]
  /** Whether the store listed the keys in their order. */
  readonly isOrdered: boolean
  /** Whether the object at `after` was shown; it belongs to the piece before. */
  readonly showsStart: boolean
}

async function listPiece(
  store: ObjectStore,
  prefix: string,
  { after, until }: Piece,
  signal: AbortSignal,
): Promise<ListedPiece> {
  const objects: ObjectInfo[] = []
  let last = ''
  let showsStart = false
  // From a little before, so that the object at the cut is shown in both pieces.
  for await (const info of store.list(prefix, { signal, after: after?.slice(0, -1) })) {
    if (info.key <= last) return { after, until, objects, isOrdered: false, showsStart }
    last = info.key
    if (info.key === after) showsStart = true
    if (after !== undefined && info.key <= after) continue
    if (until !== undefined && info.key > until) break
    objects.push(info)
    // Before the page is asked for that belongs to the next piece.
    if (info.key === until) break
  }
  return { after, until, objects, isOrdered: true, showsStart }
}

/** Not so for a store that lists in another order, or begins elsewhere than it was told. */
function areSeamless(pieces: readonly ListedPiece[]): boolean {
  return pieces.every(({ objects, isOrdered }, index) => {
    const next = pieces[index + 1]
    return isOrdered && (next === undefined || objects.at(-1)?.key !== next.after || next.showsStart)
  })
}
