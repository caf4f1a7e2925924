import type { ObjectInfo, ObjectStore } from '../storage/object-store.ts'
import { mapInParallel } from './map-in-parallel.ts'

/**
 * Every object under `prefix`, in the order of their keys; throws where any listing fails. Pages follow one another, so a
 * long listing is cut at keys that were there before, and the pieces are listed at the same time. The pieces together
 * cover every key, whatever came or went since. `before` may be in any order.
 */
export async function listInParallel(
  store: ObjectStore,
  prefix: string,
  before: Iterable<string>,
  signal: AbortSignal,
): Promise<readonly ObjectInfo[]> {
  const cuts = store.listsInPages === true ? cutsAmong(before, prefix) : []
  if (cuts.length === 0) return await listWhole(store, prefix, signal)
  const pieces = [undefined, ...cuts].map((after, index) => ({ after, until: cuts[index] }))
  const listed = await mapInParallel(pieces, pieces.length, signal, (piece) => listPiece(store, prefix, piece, signal))
  if (!areSeamless(listed)) return await listWhole(store, prefix, signal)
  return listed.flatMap(({ objects }) => objects)
}

/** Each piece of at least so many known documents, which are several pages of objects. */
const documentsInPiece = 500
const mostPieces = 16

/** Keys of plain ASCII: then every way of ordering keys agrees which others come before them. */
function cutsAmong(keys: Iterable<string>, prefix: string): readonly string[] {
  const known = [...keys].filter((key) => key.startsWith(prefix) && /^[ -~]+$/.test(key)).sort()
  const pieces = Math.min(mostPieces, Math.floor(known.length / documentsInPiece))
  return Array.from({ length: Math.max(0, pieces - 1) }, (_, index) => {
    return known[Math.floor(((index + 1) * known.length) / pieces)] as string
  })
}

async function listWhole(store: ObjectStore, prefix: string, signal: AbortSignal): Promise<readonly ObjectInfo[]> {
  const objects: ObjectInfo[] = []
  for await (const info of store.list(prefix, { signal })) objects.push(info)
  return objects
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
