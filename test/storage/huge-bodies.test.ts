import { createHash, createHmac, randomBytes } from 'node:crypto'
import { crc32 } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { md5Of, PiecewiseCrc32, PiecewiseSha256 } from '../../src/storage/body-hashes.ts'

const piece = 16 * 2 ** 20
const sizes = [0, 1, piece - 1, piece, piece + 1, 2 * piece + 12_345]

describe('hashes of large bodies', () => {
  it('bodies of less and more than a piece - the same SHA-256, CRC-32 and MD5 as in one go', async () => {
    for (const size of sizes) {
      const body = randomBytes(size)
      const sha256 = new PiecewiseSha256()
      const crc = new PiecewiseCrc32()
      sha256.update(body)
      crc.update(body)
      expect(await sha256.digest()).toEqual(createHash('sha256').update(body).digest())
      expect(Buffer.from(await crc.digest()).readUInt32BE()).toBe(crc32(body))
      expect(md5Of(body)).toBe(createHash('md5').update(body).digest('base64'))
    }
  })

  it('several updates, and again after a reset - the SHA-256 and CRC-32 of what came since', async () => {
    const sha256 = new PiecewiseSha256()
    const crc = new PiecewiseCrc32()
    for (const hash of [sha256, crc]) {
      hash.update(Buffer.from('forgotten'))
      hash.reset()
      hash.update(Buffer.from('a'))
      hash.update(Buffer.from('b'))
    }
    expect(await sha256.digest()).toEqual(createHash('sha256').update('ab').digest())
    expect(Buffer.from(await crc.digest()).readUInt32BE()).toBe(crc32('ab'))
  })

  it('secret as text, bytes or part of a buffer - the HMAC that signatures are made of', async () => {
    const expected = createHmac('sha256', 'secret').update('data').digest()
    const bytes = new TextEncoder().encode('secret')
    const part = new Uint8Array(new TextEncoder().encode('a secret').buffer, 2)
    for (const secret of ['secret', bytes, bytes.buffer as ArrayBuffer, part]) {
      const hmac = new PiecewiseSha256(secret)
      hmac.update(Buffer.from('data'))
      expect(await hmac.digest()).toEqual(expected)
    }
  })

  it('large body - others have their turn in between', async () => {
    const sha256 = new PiecewiseSha256()
    sha256.update(Buffer.alloc(4 * piece))
    let turns = 0
    const count = (): void => {
      turns += 1
      pending = setImmediate(count)
    }
    let pending = setImmediate(count)
    await sha256.digest()
    clearImmediate(pending)
    expect(turns).toBeGreaterThanOrEqual(3)
  })
})
