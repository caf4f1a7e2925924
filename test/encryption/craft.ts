import { createCipheriv, createHash, randomBytes } from 'node:crypto'
import { lengthOctets } from '../../src/encryption/packets.ts'

/** Writes OpenPGP packets by hand, so that tests can make what no program writes. */

// Small enough to keep the event loop free while a block is encrypted, large enough to make the overhead of a block vanish.
const partExponent = 18
const partBytes = 2 ** partExponent
// A tag and a five-byte length fit in front of each part.
const headroom = 8

/**
 * One packet of a length that is not known in advance, by partial body lengths. Each chunk is a fresh buffer, unless
 * `reuse` says that the consumer is through with one when it asks for the next; that saves a tenth of the time.
 */
export async function* writePacket(
  tag: number,
  body: AsyncIterable<Uint8Array>,
  reuse = false,
): AsyncGenerator<Uint8Array, void, void> {
  let part = Buffer.allocUnsafeSlow(headroom + partBytes)
  let end = headroom
  let tagBytes = [0xc0 | tag]
  for await (const bytes of body) {
    for (let from = 0; from < bytes.length; ) {
      const piece = bytes.subarray(from, from + part.length - end)
      part.set(piece, end)
      end += piece.length
      from += piece.length
      if (end < part.length) continue
      yield withHeader(part, end, [...tagBytes, 0xe0 | partExponent])
      tagBytes = []
      if (!reuse) part = Buffer.allocUnsafeSlow(headroom + partBytes)
      end = headroom
    }
  }
  // The last length must be an ordinary one; it may be zero.
  yield withHeader(part, end, [...tagBytes, ...lengthOctets(end - headroom)])
}

export async function* encryptIntegrityProtected(
  sessionKey: Uint8Array,
  packets: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array, void, void> {
  const cipher = createCipheriv('aes-256-cfb', sessionKey, new Uint8Array(16))
  const hash = createHash('sha1')
  const protect = (bytes: Uint8Array): Uint8Array => {
    hash.update(bytes)
    return cipher.update(bytes)
  }
  yield Uint8Array.of(1)
  const random = randomBytes(16)
  yield protect(Buffer.concat([random, random.subarray(-2)]))
  for await (const bytes of packets) yield protect(bytes)
  yield protect(Uint8Array.of(0xd3, 0x14))
  yield cipher.update(hash.digest())
}

function withHeader(part: Buffer, end: number, header: readonly number[]): Uint8Array {
  const start = headroom - header.length
  part.set(header, start)
  return part.subarray(start, end)
}
