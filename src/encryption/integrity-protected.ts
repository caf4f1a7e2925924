import { createCipheriv, createHash, timingSafeEqual } from 'node:crypto'
import { setImmediate } from 'node:timers/promises'
import { MalformedPacket } from './packets.ts'

/**
 * The body of OpenPGP's "symmetrically encrypted and integrity protected data" packet, version 1 (RFC 9580, sections
 * 5.13.1 and 5.14): CFB over a random prefix, the packets inside, and a SHA-1 of both at the very end.
 *
 * Everything else of OpenPGP is OpenPGP.js' own: keys, session keys, signatures, and writing messages. Reading their bulk
 * is not, because OpenPGP.js 6.3 never settles for some damaged messages (a flipped bit in the first bytes of the encrypted
 * data), which would hold a drill for ever, and decrypts at a quarter of gpg's speed. docs/architecture.md says more.
 */

const version = 1
const blockBytes = 16
/** One block of random bytes and its last two bytes again. */
const prefixBytes = blockBytes + 2
/** The header of the modification detection code packet; 20 bytes of SHA-1 follow. */
const digestHeader = Uint8Array.of(0xd3, 0x14)
const digestBytes = 20

/**
 * The packets inside. They come before the digest that protects them has been seen: only a clean end says that they
 * are what was encrypted. Throws `MalformedPacket` for every other end.
 */
export async function* decryptIntegrityProtected(
  sessionKey: Uint8Array,
  body: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array, void, void> {
  const decryptor = new CfbDecryptor(sessionKey)
  const hash = createHash('sha1')
  const pace = createPace()
  let skip = prefixBytes
  for await (const bytes of withoutVersion(body)) {
    for (const plain of decryptor.push(bytes)) {
      hash.update(plain)
      yield plain.subarray(skip)
      skip = 0
      await pace(plain.length)
    }
  }
  const last = decryptor.end()
  const end = last.length - digestHeader.length - digestBytes
  if (end < skip) throw new MalformedPacket('it is cut short')
  const found = last.subarray(-digestBytes)
  hash.update(last.subarray(0, -digestBytes))
  const isHeaderRight = digestHeader.every((byte, index) => last[end + index] === byte)
  if (!timingSafeEqual(hash.digest(), found) || !isHeaderRight)
    throw new MalformedPacket('its modification detection code does not fit its contents')
  if (end > skip) yield last.subarray(skip, end)
}

/** Gives the event loop a turn after every mebibyte, a few milliseconds, even if the source never has to wait. */
function createPace(): (bytes: number) => Promise<void> {
  let sinceTurn = 0
  return async (bytes) => {
    sinceTurn += bytes
    if (sinceTurn < 1 << 20) return
    sinceTurn = 0
    await setImmediate()
  }
}

async function* withoutVersion(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, void> {
  let isFirst = true
  for await (const bytes of body) {
    if (isFirst && bytes[0] !== version)
      throw new MalformedPacket(`it is encrypted as version ${bytes[0]}, pgproof reads version ${version}`)
    yield isFirst ? bytes.subarray(1) : bytes
    isFirst = false
  }
}

const roundBytes = 2 ** 18
/** At least this much stays back until the end, so that the digest packet comes in one piece. */
const reserveBytes = 2 * blockBytes

/**
 * CFB decryption. A block's key stream depends on the ciphertext before it only, so it is made for many blocks at once
 * by ECB, which OpenSSL runs in parallel; its own CFB goes block by block and takes four times as long.
 */
class CfbDecryptor {
  readonly #keyStream
  /** The last block of ciphertext that was used (zero at first), and what came after it. */
  readonly #ciphertext = Buffer.alloc(blockBytes + roundBytes + reserveBytes)
  #end = blockBytes

  constructor(key: Uint8Array) {
    this.#keyStream = createCipheriv(`aes-${key.length * 8}-ecb`, key, null).setAutoPadding(false)
  }

  /** Takes all of `bytes`; gives plaintext whenever enough has come together. */
  *push(bytes: Uint8Array): Generator<Buffer, void, void> {
    for (let from = 0; from < bytes.length; ) {
      const piece = bytes.subarray(from, from + this.#ciphertext.length - this.#end)
      this.#ciphertext.set(piece, this.#end)
      this.#end += piece.length
      from += piece.length
      if (this.#end < this.#ciphertext.length) return
      yield this.#decrypt(roundBytes)
      this.#ciphertext.copyWithin(0, roundBytes)
      this.#end = blockBytes + reserveBytes
    }
  }

  /** What is left: everything, if it was little. */
  end(): Buffer {
    return this.#decrypt(this.#end - blockBytes)
  }

  #decrypt(length: number): Buffer {
    const roundedUp = Math.ceil(length / blockBytes) * blockBytes
    const words = asWords(this.#keyStream.update(this.#ciphertext.subarray(0, roundedUp)))
    const cipherWords = asWords(this.#ciphertext.subarray(blockBytes))
    for (let index = 0; index < words.length; index += 1)
      words[index] = (words[index] as bigint) ^ (cipherWords[index] as bigint)
    return Buffer.from(words.buffer, words.byteOffset, length)
  }
}

/** The same memory as numbers of 64 bits; a copy if it does not lie at such a boundary, which nobody promises. */
export function asWords(bytes: Uint8Array): BigUint64Array<ArrayBuffer> {
  const own = bytes.byteOffset % 8 === 0 && bytes.buffer instanceof ArrayBuffer ? bytes : new Uint8Array(bytes)
  return new BigUint64Array(own.buffer as ArrayBuffer, own.byteOffset, Math.floor(own.length / 8))
}
