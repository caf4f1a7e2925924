import { write } from 'node:fs'
import { pipeline } from 'node:stream/promises'
import { promisify } from 'node:util'
import type { Manifest } from '../domain/manifest.ts'
import { createBulk } from '../encryption/integrity-protected.ts'
import { literalContents } from '../encryption/literal.ts'
import { ByteReader } from '../encryption/packets.ts'
import { createPlaceFinder, type DataPlace } from '../postgres/archive-places.ts'
import { createMeasure, type Measured } from '../streams/measure.ts'
import { zstdDecompress } from '../streams/zstd.ts'

/** Plain data, so that it can be sent to a thread. */
export type PlainOrder = {
  readonly sessionKey: Uint8Array
  readonly compression: Manifest['dump']['compression']
  /** An open file, empty; it stays open. */
  readonly fd: number
}

/** What was written, and where in it the data of each entry begins. */
export type PlainFile = { readonly plain: Measured; readonly places: readonly DataPlace[] }

/**
 * Decrypts the body of a message, decompresses what is inside and writes it to a file. It is in the file before anybody
 * can know whether it is genuine: only once this has resolved is it what was encrypted. Throws `MalformedPacket`, what
 * decompressing and writing throw.
 */
export async function writePlain(
  { sessionKey, compression, fd }: PlainOrder,
  body: AsyncIterable<Uint8Array>,
  signal?: AbortSignal,
): Promise<PlainFile> {
  const plain = createMeasure()
  const places = createPlaceFinder()
  const contents = literalContents(new ByteReader(decrypted(sessionKey, body)))
  const watch = (bytes: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> => places.stage(plain.stage(bytes))
  const sink = (bytes: AsyncIterable<Uint8Array>): Promise<void> => writeAll(fd, bytes)
  const options = signal === undefined ? {} : { signal }
  if (compression === 'zstd') await pipeline(contents, zstdDecompress(), watch, sink, options)
  else await pipeline(contents, watch, sink, options)
  return { plain: plain.result(), places: places.result() }
}

async function* decrypted(
  sessionKey: Uint8Array,
  body: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array, void, void> {
  const bulk = createBulk({ direction: 'decrypt', sessionKey })
  for await (const bytes of body) yield* bulk.push(bytes)
  yield* bulk.end()
}

const writeSome = promisify(write)

/** One chunk is written while the next is made. A stream of Node's own would close the file where it fails. */
async function writeAll(fd: number, chunks: AsyncIterable<Uint8Array>): Promise<void> {
  let written: Promise<void> = Promise.resolve()
  try {
    for await (const chunk of chunks) {
      await written
      written = writeWhole(fd, chunk)
      // Awaited below; until then it is nobody's.
      written.catch(() => {})
    }
  } finally {
    await written
  }
}

async function writeWhole(fd: number, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length; )
    done += (await writeSome(fd, bytes, done, bytes.length - done, null)).bytesWritten
}
