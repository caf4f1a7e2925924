import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import { blockBytes, CfbDecryptor, CfbEncryptor, type Encrypted, headroomBytes, roundExponent } from './cfb.ts'
import { lengthOctets, MalformedPacket, PacketWriter, packetTags } from './packets.ts'

/**
 * OpenPGP's "symmetrically encrypted and integrity protected data" packet, version 1 (RFC 9580, sections 5.13.1 and
 * 5.14): CFB over a random prefix, the packets inside, and a SHA-1 of both at the very end.
 *
 * Everything else of OpenPGP is OpenPGP.js' own: keys, session keys and signatures. The bulk is not. Reading: OpenPGP.js 6.3
 * never settles for some damaged messages (a flipped bit in the first bytes of the encrypted data), which would hold a
 * drill for ever, and decrypts at a quarter of gpg's speed. Writing: it takes twice gpg's time, on a thread of its own
 * as well. docs/performance.md has the figures.
 */

/** What a stream is put through, piece by piece; `end` is the last call, and the only one that may find it malformed. */
export type Bulk = {
  push(bytes: Uint8Array): Iterable<Uint8Array>
  end(): Iterable<Uint8Array>
}

/** Plain data, so that it can be sent to a thread. */
export type BulkOrder =
  /** Gives the whole packet, with what is pushed as a literal packet inside, made at `date`. */
  | { readonly direction: 'encrypt'; readonly sessionKey: Uint8Array; readonly date: Date }
  /**
   * Takes the packet's body and gives the packets inside. They come before the digest that protects them has been seen:
   * only a clean end says that they are what was encrypted. Every other end throws `MalformedPacket`.
   */
  | { readonly direction: 'decrypt'; readonly sessionKey: Uint8Array }

export function createBulk(order: BulkOrder): Bulk {
  return order.direction === 'encrypt'
    ? new IntegrityProtectedWriter(order.sessionKey, order.date)
    : new IntegrityProtectedReader(order.sessionKey)
}

const version = 1
/** One block of random bytes and its last two bytes again. */
const prefixBytes = blockBytes + 2
/** The header of the modification detection code packet; 20 bytes of SHA-1 follow. */
const digestHeader = Uint8Array.of(0xd3, 0x14)
const digestBytes = 20
/** Small parts stay in the processor's cache while they are copied, hashed and encrypted. */
const literalExponent = 16

class IntegrityProtectedWriter implements Bulk {
  readonly #hash = createHash('sha1')
  readonly #encryptor: CfbEncryptor
  readonly #literal: PacketWriter
  #prefix: Uint8Array | undefined
  #tagBytes: readonly number[] = [0xc0 | packetTags.integrityProtected]
  /** The version takes the first byte of the body, so that the last of each round goes into the next part. */
  #carried: number = version

  constructor(sessionKey: Uint8Array, date: Date) {
    const random = randomBytes(blockBytes)
    this.#prefix = Buffer.concat([random, random.subarray(-2)])
    this.#encryptor = new CfbEncryptor(sessionKey)
    // Binary, without a file name, and when it was made.
    const head = Buffer.from('b\0\0\0\0\0')
    head.writeUInt32BE(Math.floor(date.getTime() / 1000), 2)
    this.#literal = new PacketWriter(packetTags.literal, literalExponent, head)
  }

  *push(bytes: Uint8Array): Generator<Uint8Array, void, void> {
    for (const part of this.#literal.push(bytes)) yield* this.#protect(part)
  }

  *end(): Generator<Uint8Array, void, void> {
    yield* this.#protect(this.#literal.end())
    yield* this.#protect(digestHeader)
    for (const round of this.#encryptor.push(this.#hash.digest())) yield this.#part(round)
    const { memory, length } = this.#encryptor.end()
    const header = [...this.#tagBytes, ...lengthOctets(1 + length), this.#carried]
    yield withHeader(memory, header, length)
  }

  *#protect(bytes: Uint8Array): Generator<Uint8Array, void, void> {
    const prefix = this.#prefix
    this.#prefix = undefined
    for (const some of prefix === undefined ? [bytes] : [prefix, bytes]) {
      this.#hash.update(some)
      for (const round of this.#encryptor.push(some)) yield this.#part(round)
    }
  }

  #part({ memory, length }: Encrypted): Uint8Array {
    const header = [...this.#tagBytes, 0xe0 | roundExponent, this.#carried]
    this.#tagBytes = []
    this.#carried = memory[headroomBytes + length - 1] as number
    return withHeader(memory, header, length - 1)
  }
}

function withHeader(memory: Buffer, header: readonly number[], length: number): Uint8Array {
  memory.set(header, headroomBytes - header.length)
  return memory.subarray(headroomBytes - header.length, headroomBytes + length)
}

class IntegrityProtectedReader implements Bulk {
  readonly #hash = createHash('sha1')
  readonly #decryptor: CfbDecryptor
  #isVersionRead = false
  #skip = prefixBytes

  constructor(sessionKey: Uint8Array) {
    this.#decryptor = new CfbDecryptor(sessionKey)
  }

  *push(bytes: Uint8Array): Generator<Uint8Array, void, void> {
    if (bytes.length === 0) return
    if (!this.#isVersionRead && bytes[0] !== version)
      throw new MalformedPacket(`it is encrypted as version ${bytes[0]}, pgproof reads version ${version}`)
    for (const plain of this.#decryptor.push(this.#isVersionRead ? bytes : bytes.subarray(1))) {
      this.#hash.update(plain)
      yield plain.subarray(this.#skip)
      this.#skip = 0
    }
    this.#isVersionRead = true
  }

  *end(): Generator<Uint8Array, void, void> {
    const last = this.#decryptor.end()
    const end = last.length - digestHeader.length - digestBytes
    if (end < this.#skip) throw new MalformedPacket('it is cut short')
    const found = last.subarray(-digestBytes)
    this.#hash.update(last.subarray(0, -digestBytes))
    const isHeaderRight = digestHeader.every((byte, index) => last[end + index] === byte)
    if (!timingSafeEqual(this.#hash.digest(), found) || !isHeaderRight)
      throw new MalformedPacket('its modification detection code does not fit its contents')
    if (end > this.#skip) yield last.subarray(this.#skip, end)
  }
}
