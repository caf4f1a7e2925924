/** OpenPGP's packet framing (RFC 9580, section 4.2) over streams: everything around the bytes, nothing secret. */

export const packetTags = {
  publicKeyEncryptedSessionKey: 1,
  symmetricKeyEncryptedSessionKey: 3,
  compressed: 8,
  symmetricallyEncrypted: 9,
  marker: 10,
  literal: 11,
  integrityProtected: 18,
  aeadEncrypted: 20,
  padding: 21,
} as const

/** Bytes that are no OpenPGP message, or only the beginning of one. Whoever knows what was read turns it into a register error. */
export class MalformedPacket extends Error {
  override readonly name = 'MalformedPacket'
}

export type PacketHeader = {
  readonly tag: number
  /** Bytes of the body, or of its first part; Infinity when the body runs to the end of the stream. */
  readonly length: number
  /** Another length follows the first part. */
  readonly isPartial: boolean
}

/** Reads bytes from a stream of chunks without joining them. */
export class ByteReader {
  readonly #chunks: AsyncIterator<Uint8Array>
  #chunk: Uint8Array = new Uint8Array()
  #position = 0

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#chunks = source[Symbol.asyncIterator]()
  }

  /** The next byte; undefined at the end. */
  async byte(): Promise<number | undefined> {
    const bytes = await this.take(1)
    return bytes?.[0]
  }

  /** At least one and at most `most` bytes, as a view of the chunk they came in; undefined at the end. */
  async take(most: number): Promise<Uint8Array | undefined> {
    while (this.#position === this.#chunk.length) {
      const next = await this.#chunks.next()
      if (next.done === true) return undefined
      this.#chunk = next.value
      this.#position = 0
    }
    const bytes = this.#chunk.subarray(this.#position, this.#position + most)
    this.#position += bytes.length
    return bytes
  }

  /** Ends the source early; of no effect on one that has ended. */
  async close(): Promise<void> {
    await this.#chunks.return?.()
  }
}

/** The header at the reader's position, or undefined at the end. Throws `MalformedPacket`. */
export async function readPacketHeader(reader: ByteReader): Promise<PacketHeader | undefined> {
  const first = await reader.byte()
  if (first === undefined) return undefined
  if ((first & 0x80) === 0) throw new MalformedPacket('it is not an OpenPGP message')
  if ((first & 0x40) !== 0) return { tag: first & 0x3f, ...(await readLength(reader)) }
  // The older header: a length of 1, 2 or 4 bytes, or none at all.
  const lengthType = first & 0x03
  const length = lengthType === 3 ? Number.POSITIVE_INFINITY : await readNumber(reader, 1 << lengthType)
  return { tag: (first & 0x3f) >> 2, length, isPartial: false }
}

/** The body of the packet whose header was read last, without the lengths in between. Throws `MalformedPacket` if cut. */
export async function* readPacketBody(
  reader: ByteReader,
  header: PacketHeader,
): AsyncGenerator<Uint8Array, void, void> {
  let { length, isPartial } = header
  while (true) {
    for (let left = length; left > 0; ) {
      const bytes = await reader.take(left)
      if (bytes === undefined) {
        if (length === Number.POSITIVE_INFINITY) return
        throw new MalformedPacket('it is cut short')
      }
      left -= bytes.length
      yield bytes
    }
    if (!isPartial) return
    ;({ length, isPartial } = await readLength(reader))
  }
}

/**
 * Writes one packet of a length that is not known in advance, by partial body lengths of 2 to the power of `exponent`
 * bytes. What it gives is overwritten by the next call.
 */
export class PacketWriter {
  readonly #partial: number
  readonly #part: Buffer
  #end = longestHeader
  #tagBytes: readonly number[]

  /** The body begins with `start`, which must be shorter than a part. */
  constructor(tag: number, exponent: number, start: Uint8Array) {
    this.#partial = 0xe0 | exponent
    this.#tagBytes = [0xc0 | tag]
    this.#part = Buffer.alloc(longestHeader + 2 ** exponent)
    this.#part.set(start, longestHeader)
    this.#end += start.length
  }

  *push(bytes: Uint8Array): Generator<Uint8Array, void, void> {
    for (let from = 0; from < bytes.length; ) {
      const piece = bytes.subarray(from, from + this.#part.length - this.#end)
      this.#part.set(piece, this.#end)
      this.#end += piece.length
      from += piece.length
      if (this.#end < this.#part.length) continue
      yield this.#withHeader([...this.#tagBytes, this.#partial])
      this.#tagBytes = []
      this.#end = longestHeader
    }
  }

  /** The last length must be an ordinary one; it may be zero. */
  end(): Uint8Array {
    return this.#withHeader([...this.#tagBytes, ...lengthOctets(this.#end - longestHeader)])
  }

  #withHeader(header: readonly number[]): Uint8Array {
    const start = longestHeader - header.length
    this.#part.set(header, start)
    return this.#part.subarray(start, this.#end)
  }
}

/** A tag and a length of five bytes. */
const longestHeader = 6

/** Number of body bytes of a packet of known length, as it stands in the header. */
export function lengthOctets(length: number): number[] {
  if (length < 192) return [length]
  if (length < 8384) return [((length - 192) >> 8) + 192, (length - 192) & 0xff]
  return [0xff, length >>> 24, (length >>> 16) & 0xff, (length >>> 8) & 0xff, length & 0xff]
}

async function readLength(reader: ByteReader): Promise<{ length: number; isPartial: boolean }> {
  const first = await readNumber(reader, 1)
  if (first < 192) return { length: first, isPartial: false }
  if (first < 224) return { length: ((first - 192) << 8) + (await readNumber(reader, 1)) + 192, isPartial: false }
  if (first < 255) return { length: 2 ** (first & 0x1f), isPartial: true }
  return { length: await readNumber(reader, 4), isPartial: false }
}

async function readNumber(reader: ByteReader, octets: number): Promise<number> {
  let number = 0
  for (let count = 0; count < octets; count += 1) {
    const byte = await reader.byte()
    if (byte === undefined) throw new MalformedPacket('it is cut short')
    number = number * 256 + byte
  }
  return number
}
