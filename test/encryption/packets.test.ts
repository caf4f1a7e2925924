import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  ByteReader,
  lengthOctets,
  MalformedPacket,
  readPacketBody,
  readPacketHeader,
} from '../../src/encryption/packets.ts'
import { collect, inChunks, watched } from './byte-streams.ts'
import { writePacket } from './craft.ts'

const partBytes = 2 ** 18

async function readOnly(packet: Uint8Array, sizes = [packet.length]): Promise<{ tag: number; body: Buffer }> {
  const reader = new ByteReader(inChunks(packet, sizes))
  const header = await readPacketHeader(reader)
  if (header === undefined) throw new Error('no packet')
  const body = await collect(readPacketBody(reader, header))
  expect(await reader.byte()).toBeUndefined()
  return { tag: header.tag, body }
}

describe('a packet of unknown length', () => {
  it.each([
    0,
    1,
    191,
    192,
    193,
    8383,
    8384,
    partBytes - 1,
    partBytes,
    partBytes + 1,
    3 * partBytes,
    3 * partBytes + 192,
  ])('%i bytes - read back the same', async (length) => {
    const body = randomBytes(length)
    const packet = await collect(writePacket(11, inChunks(body, [64 << 10])))
    const read = await readOnly(packet, [1000])
    expect(read.tag).toBe(11)
    expect(read.body.equals(body)).toBe(true)
  })

  it('any bytes in any chunks, read in any chunks - the same bytes', async () => {
    const sizes = fc.array(fc.integer({ min: 0, max: 300_000 }), { minLength: 1, maxLength: 5 })
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: 800_000 }), sizes, sizes, async (length, cut, cutAgain) => {
        const body = randomBytes(length)
        const packet = await collect(writePacket(18, inChunks(body, [...cut, 1000])))
        expect((await readOnly(packet, [...cutAgain, 1000])).body.equals(body)).toBe(true)
      }),
      { numRuns: 40 },
    )
  })

  it('chunks kept by the consumer - later ones do not overwrite them', async () => {
    const chunks: Uint8Array[] = []
    const body = randomBytes(3 * partBytes)
    for await (const chunk of writePacket(11, inChunks(body, [partBytes]))) chunks.push(chunk)
    expect((await readOnly(Buffer.concat(chunks))).body.equals(body)).toBe(true)
  })

  it('cut anywhere - throws, never ends', async () => {
    const packet = await collect(writePacket(18, inChunks(randomBytes(partBytes + 300), [partBytes])))
    for (const length of [1, 2, 3, 1000, partBytes + 2, partBytes + 3, packet.length - 300, packet.length - 1])
      await expect(readOnly(packet.subarray(0, length)), `cut to ${length}`).rejects.toThrow(MalformedPacket)
  })
})

describe('packets that other programs write', () => {
  it.each([0, 5, 191, 192, 8383, 8384, 70_000])('length %i in the new header - read', async (length) => {
    const body = randomBytes(length)
    const packet = Buffer.concat([Uint8Array.of(0xcb, ...lengthOctets(length)), body])
    expect(await readOnly(packet, [3])).toEqual({ tag: 11, body })
  })

  it.each([
    ['one byte', [0xac, 5]],
    ['two bytes', [0xad, 0, 5]],
    ['four bytes', [0xae, 0, 0, 0, 5]],
    ['none, up to the end', [0xaf]],
  ])('older header with a length of %s - read', async (_name, header) => {
    const packet = Buffer.concat([Uint8Array.from(header), Buffer.from('hello')])
    expect(await readOnly(packet, [2])).toEqual({ tag: 11, body: Buffer.from('hello') })
  })

  it('small partial lengths as gpg writes them - read', async () => {
    const body = randomBytes(512 + 512 + 7)
    const parts = [Uint8Array.of(0xcb, 0xe9), body.subarray(0, 512), Uint8Array.of(0xe9), body.subarray(512, 1024)]
    const packet = Buffer.concat([...parts, Uint8Array.of(7), body.subarray(1024)])
    expect((await readOnly(packet, [100])).body.equals(body)).toBe(true)
  })

  it('a first byte without the mark of a packet - throws', async () => {
    await expect(readOnly(Buffer.from('-----BEGIN PGP MESSAGE-----'))).rejects.toThrow('not an OpenPGP message')
  })

  it('nothing at all - no packet', async () => {
    expect(await readPacketHeader(new ByteReader(inChunks(new Uint8Array(), [1])))).toBeUndefined()
  })
})

describe('a reader of bytes', () => {
  it('closed before the end - the source is closed', async () => {
    const { source, state } = watched([randomBytes(10), randomBytes(10)])
    const reader = new ByteReader(source)
    await reader.byte()
    await reader.close()
    expect(state).toEqual({ bytes: 10, isClosed: true })
  })
})
