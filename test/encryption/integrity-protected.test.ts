import { createCipheriv, createHash, randomBytes } from 'node:crypto'
import { createMessage, decrypt, encrypt, type enums, readMessage } from 'openpgp'
import { describe, expect, it } from 'vitest'
import { throughBulk } from '../../src/encryption/bulk-stage.ts'
import { asWords, CfbEncryptor, headroomBytes } from '../../src/encryption/cfb.ts'
import { createBulk } from '../../src/encryption/integrity-protected.ts'
import { ByteReader, readPacketBody, readPacketHeader } from '../../src/encryption/packets.ts'
import { collect, inChunks } from './byte-streams.ts'
import { encryptIntegrityProtected } from './craft.ts'

const roundBytes = 2 ** 19
// Around every place where one round of decryption goes over into the next.
const lengths = [
  0,
  1,
  15,
  16,
  17,
  30,
  40,
  200,
  ...[-80, -60, -42, -41, -40, -33, -32, -31, -16, -1, 0, 1, 16, 40].map((offset) => roundBytes + offset),
  2 * roundBytes,
  3 * roundBytes + 5,
]

/** OpenPGP.js is the other implementation: it reads what is written here, and writes what is read here. */
describe('against OpenPGP.js', () => {
  it('what we write, at each length and in odd chunks - read there', async () => {
    const sessionKey = randomBytes(32)
    const date = new Date('2025-06-01T02:00:00Z')
    for (const length of [...lengths, 3 * roundBytes - 60, 5 * roundBytes + 7]) {
      const data = randomBytes(length)
      const source = inChunks(data, [100_001, 3, 700_000])
      const packet = await collect(throughBulk({ direction: 'encrypt', sessionKey, date }, source))
      const read = await decrypt({
        message: await readMessage({ binaryMessage: packet }),
        sessionKeys: { data: sessionKey, algorithm: 'aes256' },
        format: 'binary',
      })
      expect(Buffer.from(read.data as Uint8Array).equals(data), `${length} bytes`).toBe(true)
    }
  })

  it('made with the straight CFB of OpenSSL - the very same ciphertext', async () => {
    for (const keyBytes of [16, 24, 32]) {
      const key = randomBytes(keyBytes)
      for (const length of [0, 1, 15, 16, 17, 1000, roundBytes - 1, roundBytes, roundBytes + 1, 2 * roundBytes + 33]) {
        const data = randomBytes(length)
        const encryptor = new CfbEncryptor(key)
        const rounds = [...encryptor.push(data.subarray(0, 70_000)), ...encryptor.push(data.subarray(70_000))]
        const pieces = [...rounds, encryptor.end()].map((round) =>
          round.memory.subarray(headroomBytes, headroomBytes + round.length),
        )
        const expected = createCipheriv(`aes-${keyBytes * 8}-cfb`, key, Buffer.alloc(16)).update(data)
        expect(Buffer.concat(pieces).equals(expected), `${length} bytes`).toBe(true)
      }
    }
  })

  it.each<[enums.symmetricNames, number]>([
    ['aes128', 16],
    ['aes192', 24],
    ['aes256', 32],
  ])('what it writes with %s, at each length and in odd chunks - read here', async (algorithm, keyBytes) => {
    const sessionKey = { data: randomBytes(keyBytes), algorithm }
    for (const length of lengths) {
      const data = randomBytes(length)
      const message = await createMessage({ binary: data })
      const packet = (await encrypt({ message, sessionKey, format: 'binary' })) as Uint8Array
      const inside = await collect(openIt(sessionKey.data, packet))
      const reader = new ByteReader(inChunks(inside, [inside.length]))
      const header = await readPacketHeader(reader)
      if (header === undefined) throw new Error('no packet inside')
      const literal = await collect(readPacketBody(reader, header))
      // Format, empty file name, date.
      expect(literal.subarray(6).equals(data), `${length} bytes`).toBe(true)
    }
  })
})

describe('the modification detection code', () => {
  it('missing, however little is left - throws', async () => {
    const sessionKey = randomBytes(32)
    const nothing = inChunks(new Uint8Array(), [1])
    const body = await collect(encryptIntegrityProtected(sessionKey, nothing))
    expect(await collect(decryptBody(sessionKey, inChunks(body, [7])))).toHaveLength(0)
    for (let length = 1; length < body.length; length += 1) {
      const cut = decryptBody(sessionKey, inChunks(body.subarray(0, length), [7]))
      await expect(collect(cut), `cut to ${length}`).rejects.toThrow(/cut short|modification detection code/)
    }
  })

  it('a right digest under a wrong header - throws', async () => {
    const sessionKey = randomBytes(32)
    const seal = async (header: Uint8Array): Promise<Buffer> => {
      const cipher = createCipheriv('aes-256-cfb', sessionKey, Buffer.alloc(16))
      const start = Buffer.concat([randomBytes(18), Buffer.from('packets'), header])
      const digest = createHash('sha1').update(start).digest()
      const body = Buffer.concat([Uint8Array.of(1), cipher.update(start), cipher.update(digest)])
      return await collect(decryptBody(sessionKey, inChunks(body, [10])))
    }
    expect((await seal(Uint8Array.of(0xd3, 0x14))).toString()).toBe('packets')
    await expect(seal(Uint8Array.of(0xd3, 0x15))).rejects.toThrow('modification detection code')
    await expect(seal(Uint8Array.of(0xcb, 0x14))).rejects.toThrow('modification detection code')
  })

  it('an empty piece first - the version is read from the next one', () => {
    const bulk = createBulk({ direction: 'decrypt', sessionKey: randomBytes(32) })
    expect([...bulk.push(new Uint8Array())]).toEqual([])
    expect(() => [...bulk.push(Uint8Array.of(2))]).toThrow('version 2')
  })

  it('another version of the packet - throws and names it', async () => {
    const body = Buffer.concat([Uint8Array.of(2), randomBytes(100)])
    await expect(collect(decryptBody(randomBytes(32), inChunks(body, [50])))).rejects.toThrow('version 2')
  })
})

function decryptBody(sessionKey: Uint8Array, body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, void> {
  return throughBulk({ direction: 'decrypt', sessionKey }, body)
}

async function* openIt(sessionKey: Uint8Array, packet: Uint8Array): AsyncGenerator<Uint8Array, void, void> {
  const reader = new ByteReader(inChunks(packet, [1, 100_000, 17]))
  const header = await readPacketHeader(reader)
  if (header === undefined) throw new Error('no packet')
  yield* decryptBody(sessionKey, readPacketBody(reader, header))
}

describe('bytes as words of 64 bits', () => {
  it('at a boundary - the same memory; anywhere else - a copy of the same bytes', () => {
    const memory = new Uint8Array(new ArrayBuffer(64)).map((_, index) => index)
    const same = asWords(memory.subarray(8, 32))
    expect(same).toHaveLength(3)
    expect(same.buffer).toBe(memory.buffer)
    for (const offset of [1, 4, 7]) {
      const copied = asWords(memory.subarray(offset, offset + 24))
      expect(copied.buffer).not.toBe(memory.buffer)
      expect(Buffer.from(copied.buffer)).toEqual(Buffer.from(memory.subarray(offset, offset + 24)))
    }
  })
})
