import { createCipheriv } from 'node:crypto'

/*
 * CFB over whole blocks, as OpenPGP has it (RFC 9580, section 13.9 without resynchronisation): every block is combined with
 * the encrypted ciphertext block before it, the first with that of zeros. Both directions ask OpenSSL for the key stream of
 * many blocks at once by a mode that it runs faster than its own CFB, which goes block by block from C (measured over
 * 1 GiB: encryption 1.4 s instead of 2.1 s, decryption 0.4 s instead of 2.1 s).
 */

export const blockBytes = 16
/** So much is encrypted or decrypted at once: 2 to the power of `roundExponent` bytes. */
export const roundExponent = 19
const roundBytes = 2 ** roundExponent
/** Free bytes that stand in front of what `CfbEncryptor` gives, for the header of a packet. */
export const headroomBytes = blockBytes

/** Ciphertext in memory of its own: `length` bytes after `headroomBytes` free ones. */
export type Encrypted = { readonly memory: Buffer; readonly length: number }

/**
 * Encryption. The encrypted ciphertext block before is what CBC works with, too: CBC over the last ciphertext block and
 * then the plaintext gives exactly CFB's key stream, one block after the other.
 */
export class CfbEncryptor {
  readonly #key
  /** The last block of ciphertext (zero at first), then plaintext that is not encrypted yet. */
  readonly #plaintext = Buffer.alloc(blockBytes + roundBytes)
  #end = blockBytes

  constructor(key: Uint8Array) {
    this.#key = key
  }

  /** Takes all of `bytes`; gives a whole round of ciphertext whenever enough has come together. */
  *push(bytes: Uint8Array): Generator<Encrypted, void, void> {
    for (let from = 0; from < bytes.length; ) {
      const piece = bytes.subarray(from, from + this.#plaintext.length - this.#end)
      this.#plaintext.set(piece, this.#end)
      this.#end += piece.length
      from += piece.length
      if (this.#end < this.#plaintext.length) continue
      const encrypted = this.#encrypt(roundBytes)
      encrypted.memory.copy(this.#plaintext, 0, roundBytes, roundBytes + blockBytes)
      this.#end = blockBytes
      yield encrypted
    }
  }

  /** What is left, less than a round. */
  end(): Encrypted {
    return this.#encrypt(this.#end - blockBytes)
  }

  #encrypt(length: number): Encrypted {
    const roundedUp = Math.ceil(length / blockBytes) * blockBytes
    const input = this.#plaintext.subarray(0, blockBytes + roundedUp)
    const cipher = createCipheriv(`aes-${this.#key.length * 8}-cbc`, this.#key, zeroBlock).setAutoPadding(false)
    const words = asWords(cipher.update(input))
    const plainWords = asWords(input)
    // The key stream becomes the ciphertext in the same memory, one block further on; so it is done from its end.
    for (let index = words.length - 1; index >= headroomWords; index -= 1)
      words[index] = (words[index - headroomWords] as bigint) ^ (plainWords[index] as bigint)
    return { memory: Buffer.from(words.buffer, words.byteOffset, words.byteLength), length }
  }
}

/** At least this much stays back until the end, so that the digest packet comes in one piece. */
const reserveBytes = 2 * blockBytes

/** Decryption: the key stream depends on ciphertext only, so ECB gives it, which OpenSSL runs in parallel. */
export class CfbDecryptor {
  readonly #keyStream
  /** The last block of ciphertext that was used (zero at first), and what came after it. */
  readonly #ciphertext = Buffer.alloc(blockBytes + roundBytes + reserveBytes)
  #end = blockBytes

  constructor(key: Uint8Array) {
    this.#keyStream = createCipheriv(`aes-${key.length * 8}-ecb`, key, null).setAutoPadding(false)
  }

  /** Takes all of `bytes`; gives plaintext in memory of its own whenever enough has come together. */
  *push(bytes: Uint8Array): Generator<Buffer, void, void> {
    for (let from = 0; from < bytes.length; ) {
      const piece = bytes.subarray(from, from + this.#ciphertext.length - this.#end)
      this.#ciphertext.set(piece, this.#end)
      this.#end += piece.length
      from += piece.length
      if (this.#end < this.#ciphertext.length) continue
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

const zeroBlock = Buffer.alloc(blockBytes)
const headroomWords = headroomBytes / 8
