import { open } from 'node:fs/promises'
import { asSpoolError } from '../streams/spool.ts'

/** Where the data of one entry begins in the file, and where the table of contents has room to say so. */
export type DataPlace = { readonly saidAt: number; readonly dataAt: number }

/** Passes a custom-format archive through unchanged and afterwards tells where in it the data of each entry begins. */
export type PlaceFinder = {
  stage(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, void>
  /** After the stage has ended; empty for what is not an archive of a known version, or already has its places. */
  result(): readonly DataPlace[]
}

/**
 * pg_dump into a pipe cannot go back to its table of contents and say where the data of each entry begins. Without that,
 * every job of pg_restore looks for its table from the beginning of the data, row by row, and none knows which table is
 * large and should come first.
 */
export function createPlaceFinder(most = mostPlaces): PlaceFinder {
  let found: readonly DataPlace[] = []
  return {
    async *stage(source) {
      const finder = findPlaces(most)
      let step = finder.next()
      for await (const chunk of source) {
        if (step.done !== true) step = finder.next(chunk)
        yield chunk
      }
      if (step.done === true) found = step.value
    },
    result: () => found,
  }
}

/** Completes the table of contents, as pg_dump does when it writes to a file itself. Throws SPOOL_FULL. */
export async function writePlaces(path: string, places: readonly DataPlace[]): Promise<void> {
  if (places.length === 0) return
  const handle = await open(path, 'r+')
  try {
    const said = Buffer.alloc(1 + offsetBytes, isSet)
    for (const { saidAt, dataAt } of places) {
      said.writeBigUInt64LE(BigInt(dataAt), 1)
      await handle.write(said, 0, said.length, saidAt)
    }
  } catch (error) {
    throw asSpoolError(error, path)
  } finally {
    await handle.close()
  }
}

// The layout is that of `ReadHead`, `ReadToc` (pg_backup_archiver.c) and `_PrintTocData` (pg_backup_custom.c), which
// pg_restore of every later major reads: archive versions 1.14 (pg_dump 12 to 15), 1.15 (16) and 1.16 (17 and 18).
const knownMinors = [14, 15, 16]
const intBytes = 4
const offsetBytes = 8
const customFormat = 1
const [isNotSet, isSet] = [1, 2]
const [rowsBlock, largeObjectsBlock] = [1, 3]
/** Of more than so many entries with data the places are not worth their memory. */
const mostPlaces = 500_000

type Reading<T> = Generator<undefined, T, Uint8Array>

/**
 * Takes the bytes in pieces, and returns at the first thing that it does not understand: whether the archive is whole is
 * for the digests and pg_restore to say, and without places it is restored all the same.
 */
function* findPlaces(most: number): Reading<readonly DataPlace[]> {
  const bytes = new Pieces()
  const magic = yield* bytes.ascii(5)
  const [major, minor] = [yield* bytes.byte(), yield* bytes.byte()]
  yield* bytes.skip(1)
  const sizes = [yield* bytes.byte(), yield* bytes.byte(), yield* bytes.byte()]
  const isKnown = magic === 'PGDMP' && major === 1 && knownMinors.includes(minor)
  if (!isKnown || `${sizes}` !== `${[intBytes, offsetBytes, customFormat]}`) return []
  // How it is compressed; seven numbers of the time; three texts.
  yield* bytes.skip(minor >= 15 ? 1 : 1 + intBytes)
  yield* bytes.skip(7 * (1 + intBytes))
  for (let text = 0; text < 3; text += 1) yield* bytes.text()

  const saidAt = new Map<number, number>()
  for (let left = yield* bytes.int(); left > 0; left -= 1) {
    const id = yield* bytes.int()
    yield* bytes.int()
    // OIDs, name and kind; the section; statements; schema, tablespace, access method; since 1.16 the kind of relation.
    for (let text = 0; text < 4; text += 1) yield* bytes.text()
    yield* bytes.int()
    for (let text = 0; text < 6; text += 1) yield* bytes.text()
    if (minor >= 16) yield* bytes.int()
    yield* bytes.text()
    yield* bytes.text()
    while (yield* bytes.text());
    if ((yield* bytes.byte()) === isNotSet) saidAt.set(id, bytes.position - 1)
    if (saidAt.size > most) return []
    yield* bytes.skip(offsetBytes)
  }

  const places: DataPlace[] = []
  while (places.length < saidAt.size) {
    const dataAt = bytes.position
    const block = yield* bytes.byte()
    const entry = saidAt.get(yield* bytes.int())
    if (entry === undefined || (block !== rowsBlock && block !== largeObjectsBlock)) return []
    if (block === rowsBlock) yield* bytes.passPieces()
    else while ((yield* bytes.int()) !== 0) yield* bytes.passPieces()
    places.push({ saidAt: entry, dataAt })
  }
  return places
}

/** What comes in pieces of any size, read as one sequence. */
class Pieces {
  #piece: Uint8Array = new Uint8Array()
  #at = 0
  #before = 0

  get position(): number {
    return this.#before + this.#at
  }

  *byte(): Reading<number> {
    while (this.#at === this.#piece.length) yield* this.#next()
    const value = this.#piece[this.#at] ?? 0
    this.#at += 1
    return value
  }

  /** A sign, then the bytes from the lowest on. */
  *int(): Reading<number> {
    const sign = yield* this.byte()
    let value = 0
    for (let index = 0; index < intBytes; index += 1) value += (yield* this.byte()) * 2 ** (8 * index)
    return sign === 0 ? value : -value
  }

  *ascii(length: number): Reading<string> {
    let text = ''
    while (text.length < length) text += String.fromCharCode(yield* this.byte())
    return text
  }

  /** Passes over a text; false for none at all. */
  *text(): Reading<boolean> {
    const length = yield* this.int()
    if (length > 0) yield* this.skip(length)
    return length >= 0
  }

  *skip(count: number): Reading<void> {
    let left = count
    while (left > this.#piece.length - this.#at) {
      left -= this.#piece.length - this.#at
      yield* this.#next()
    }
    this.#at += left
  }

  /** Passes over pieces of data to their end, a piece of no bytes. One piece is one row, so this must be quick. */
  *passPieces(): Reading<void> {
    for (;;) {
      const [piece, at] = [this.#piece, this.#at]
      let end = at
      let length = -1
      while (end + intBytes < piece.length) {
        length = lengthAt(piece, end)
        end += 1 + intBytes + length
        if (length === 0 || end > piece.length) break
        length = -1
      }
      if (length === 0) {
        this.#at = end
        return
      }
      if (length > 0) {
        // The piece ends beyond these bytes.
        this.#at = piece.length
        yield* this.skip(end - piece.length)
        continue
      }
      this.#at = end
      const spanning = yield* this.int()
      if (spanning === 0) return
      yield* this.skip(spanning)
    }
  }

  *#next(): Reading<void> {
    this.#before += this.#piece.length
    this.#piece = yield
    this.#at = 0
  }
}

/** Of a number that is never negative. */
function lengthAt(bytes: Uint8Array, at: number): number {
  const low = (bytes[at + 1] ?? 0) | ((bytes[at + 2] ?? 0) << 8) | ((bytes[at + 3] ?? 0) << 16)
  return low + (bytes[at + 4] ?? 0) * 2 ** 24
}
