import { createHash, createHmac, type Hash, type Hmac } from 'node:crypto'
import { setImmediate } from 'node:timers/promises'
import { crc32 } from 'node:zlib'

// What the bodies of requests are signed and checked with. The SDK hashes a body at once; Node's `Hash.update` refuses
// 2 GiB, its `crc32` is wrong from 4 GiB on, and a large part would hold up everything else in the process.

const pieceBytes = 16 * 2 ** 20

type Secret = string | ArrayBuffer | ArrayBufferView

/** SHA-256 (HMAC with a secret) for the SDK, in pieces between which others have their turn. */
export class PiecewiseSha256 {
  readonly #secret: Secret | undefined
  #data: Uint8Array[] = []

  constructor(secret?: Secret) {
    this.#secret = secret
  }

  update(data: Uint8Array): void {
    this.#data.push(data)
  }

  async digest(): Promise<Uint8Array> {
    const hash: Hash | Hmac =
      this.#secret === undefined ? createHash('sha256') : createHmac('sha256', bytesOf(this.#secret))
    for await (const piece of piecesOf(this.#data)) hash.update(piece)
    return hash.digest()
  }

  reset(): void {
    this.#data = []
  }
}

/** CRC-32 for the SDK, likewise. */
export class PiecewiseCrc32 {
  #data: Uint8Array[] = []

  update(data: Uint8Array): void {
    this.#data.push(data)
  }

  async digest(): Promise<Uint8Array> {
    let sum = 0
    for await (const piece of piecesOf(this.#data)) sum = crc32(piece, sum)
    const bytes = Buffer.alloc(4)
    bytes.writeUInt32BE(sum)
    return bytes
  }

  reset(): void {
    this.#data = []
  }
}

/** In base64, as `Content-MD5` wants it. */
export function md5Of(body: Uint8Array): string {
  const hash = createHash('md5')
  for (let offset = 0; offset < body.length; offset += pieceBytes)
    hash.update(body.subarray(offset, offset + pieceBytes))
  return hash.digest('base64')
}

async function* piecesOf(data: readonly Uint8Array[]): AsyncGenerator<Uint8Array, void, void> {
  for (const bytes of data) {
    for (let offset = 0; offset < bytes.length; offset += pieceBytes) {
      if (offset > 0) await setImmediate()
      yield bytes.subarray(offset, offset + pieceBytes)
    }
  }
}

function bytesOf(secret: Secret): string | Uint8Array {
  if (typeof secret === 'string') return secret
  return ArrayBuffer.isView(secret)
    ? new Uint8Array(secret.buffer, secret.byteOffset, secret.byteLength)
    : new Uint8Array(secret)
}
