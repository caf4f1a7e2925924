import { randomBytes } from 'node:crypto'
import { createMessage, encrypt, encryptSessionKey, enums, sign } from 'openpgp'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { decryptBytes, decryptStage } from '../../src/encryption/decrypt.ts'
import { encryptBytes } from '../../src/encryption/encrypt.ts'
import { collect, inChunks, watched } from './byte-streams.ts'
import { encryptIntegrityProtected, writePacket } from './craft.ts'
import { failureOf, type KeyFolder, type MadeKeys, now, openKeyFolder } from './made-keys.ts'

let keys: KeyFolder
let backup: MadeKeys
let other: MadeKeys
const data = randomBytes(700_000)
let encrypted: Buffer

beforeAll(async () => {
  keys = await openKeyFolder()
  backup = await keys.make('backup')
  other = await keys.make('other')
  encrypted = Buffer.from(await encryptBytes(data, backup.recipients, now))
})
afterAll(async () => keys[Symbol.asyncDispose]())

const open = (bytes: Uint8Array): Promise<Uint8Array> => decryptBytes(bytes, backup.privateKeys, 'dump.pgp')

describe('a damaged message', () => {
  it('cut short at every kind of place - DECRYPTION_FAILED, never a clean end', async () => {
    const lengths = [0, 1, 2, 50, 95, 96, 97, 98, 99, 120, 1000, 2 ** 18, 2 ** 18 + 98, 400_000, 524_500]
    for (const length of [...lengths, -300, -42, -22, -21, -20, -2, -1]) {
      const failure = await failureOf(open(encrypted.subarray(0, length)))
      expect(failure, `cut to ${length}`).toMatchObject({ code: 'DECRYPTION_FAILED' })
    }
  })

  it('one bit flipped anywhere in the encrypted data - DECRYPTION_FAILED', async () => {
    const positions = [98, 99, 100, 116, 117, 118, 119, 124, 125, 5000, 2 ** 18, 2 ** 18 + 99, 600_000]
    for (const position of [...positions, ...[-1, -20, -21, -22, -23, -24, -40].map((end) => encrypted.length + end)])
      for (const bit of [1, 0x80]) {
        const failure = await failureOf(open(flipped(encrypted, position, bit)))
        expect(failure, `byte ${position}, bit ${bit}`).toMatchObject({ code: 'DECRYPTION_FAILED' })
      }
  })

  it('every single bit of a small message flipped - refused, or the very same contents', async () => {
    const secret = Buffer.from('all rows of all tables')
    const small = Buffer.from(await encryptBytes(secret, backup.recipients, now))
    const unnoticed: number[] = []
    for (let position = 0; position < small.length; position += 1)
      for (let bit = 1; bit <= 0x80; bit <<= 1) {
        const bytes = flipped(small, position, bit)
        let failure: { code: unknown } = { code: 'none' }
        try {
          expect(Buffer.from(await open(bytes)).equals(secret)).toBe(true)
          unnoticed.push(position)
        } catch (error) {
          failure = error as { code: unknown }
          expect(['DECRYPTION_FAILED', 'KEY_NO_MATCH'], `byte ${position}, bit ${bit}: ${error}`).toContain(
            failure.code,
          )
        }
      }
    // Only bits in the session key's packet that say nothing, such as a length in bits that is rounded up to bytes.
    const dataStart = small.length - secret.length - 50
    expect(unnoticed.filter((position) => position > dataStart)).toEqual([])
  }, 240_000)

  it('tail swapped for that of another message of the same length - DECRYPTION_FAILED', async () => {
    const another = Buffer.from(await encryptBytes(randomBytes(data.length), backup.recipients, now))
    for (const tail of [20, 22, 1000, 300_000]) {
      const mixed = Buffer.concat([encrypted.subarray(0, -tail), another.subarray(-tail)])
      expect((await failureOf(open(mixed))).code, `last ${tail} bytes`).toBe('DECRYPTION_FAILED')
    }
  })

  it('two blocks of it exchanged - DECRYPTION_FAILED', async () => {
    const mixed = Buffer.from(encrypted)
    encrypted.copy(mixed, 10_000, 20_000, 20_016)
    encrypted.copy(mixed, 20_000, 10_000, 10_016)
    expect((await failureOf(open(mixed))).code).toBe('DECRYPTION_FAILED')
  })

  it.each([
    ['a zero', Buffer.alloc(1)],
    ['text', Buffer.from('garbage')],
    ['a packet', Uint8Array.of(0xca, 3, 0x50, 0x47, 0x50)],
    ['many bytes', randomBytes(100_000)],
  ])('followed by %s - DECRYPTION_FAILED', async (_name, garbage) => {
    const failure = await failureOf(open(Buffer.concat([encrypted, garbage])))
    expect(failure).toMatchObject({
      code: 'DECRYPTION_FAILED',
      message: 'cannot decrypt dump.pgp: something follows its end',
    })
  })

  it('followed by a whole second message - DECRYPTION_FAILED', async () => {
    expect((await failureOf(open(Buffer.concat([encrypted, encrypted])))).code).toBe('DECRYPTION_FAILED')
  })

  it('found out at the end only - the plaintext came, but the stage throws instead of ending', async () => {
    let bytes = 0
    const stage = decryptStage(backup.privateKeys, 'dump.pgp')
    const reading = (async () => {
      for await (const chunk of stage(inChunks(flipped(encrypted, encrypted.length - 1, 1), [50_000])))
        bytes += chunk.length
    })()
    expect((await failureOf(reading)).code).toBe('DECRYPTION_FAILED')
    expect(bytes).toBeGreaterThan(500_000)
  })
})

describe('a message that is not one of ours', () => {
  it('encrypted to other keys - KEY_NO_MATCH names their key ids', async () => {
    const failure = await failureOf(decryptBytes(encrypted, other.privateKeys, 'dump.pgp'))
    const subkey = backup.recipients.keys[0]?.key.subkeys[0]?.getKeyID().toHex().toUpperCase()
    expect(failure).toEqual({
      code: 'KEY_NO_MATCH',
      message: 'no configured private key opens dump.pgp',
      hint: `It was encrypted to: ${subkey}. Give one of these private keys (\`encryption.privateKeyFile\` or --key).`,
    })
  })

  it.each([
    ['nothing', '', 'it is empty'],
    ['a dump in the clear', 'PGDMP...', 'it is not an OpenPGP message'],
    ['zstd in the clear', Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd), 'it is not an OpenPGP message'],
    ['an armored message', '-----BEGIN PGP MESSAGE-----\n', 'it is not an OpenPGP message'],
    ['a packet of data in the clear', Uint8Array.of(0xcb, 1, 0x62), 'it is not encrypted'],
    [
      'data without integrity protection',
      Uint8Array.of(0xc9, 1, 0),
      'it is encrypted without protection against changes',
    ],
    [
      'the form that GnuPG has for itself',
      Uint8Array.of(0xd4, 1, 1),
      'it is encrypted in a form that only GnuPG writes',
    ],
    ['an endless head', Uint8Array.of(0xc1, 0xff, 0x7f, 0xff, 0xff, 0xff), 'its head is damaged'],
    ['a head of partial lengths', Uint8Array.of(0xc1, 0xea), 'its head is damaged'],
    ['a session key of another version', Uint8Array.of(0xc1, 2, 6, 0), 'its session key is of version 6'],
  ])('%s - DECRYPTION_FAILED with the reason', async (_name, contents, reason) => {
    const failure = await failureOf(open(Buffer.from(contents as string)))
    expect(failure).toMatchObject({ code: 'DECRYPTION_FAILED', message: expect.stringContaining(reason) })
  })

  it('a head of many small packets - DECRYPTION_FAILED before it fills the memory', async () => {
    const endless = (async function* () {
      const markers = Buffer.concat(Array.from({ length: 10_000 }, () => Uint8Array.of(0xca, 3, 0x50, 0x47, 0x50)))
      while (true) yield markers
    })()
    const failure = await failureOf(decryptStage(backup.privateKeys, 'it')(endless).next())
    expect(failure).toMatchObject({
      code: 'DECRYPTION_FAILED',
      message: expect.stringContaining('its head is damaged'),
    })
  })

  it.each([
    ['two packets of data', [11, 11], 'something follows its data'],
    ['a marker behind its data', [11, 10], 'something follows its data'],
    ['nothing', [], 'it holds no data'],
    ['another encrypted packet', [18], 'it holds no data'],
  ])('%s inside - DECRYPTION_FAILED', async (_name, tags, reason) => {
    const inside = tags.map((tag) => collect(writePacket(tag, inChunks(Buffer.from('b\0\0\0\0\0rows'), [100]))))
    const failure = await failureOf(open(await crafted(Buffer.concat(await Promise.all(inside)))))
    expect(failure).toMatchObject({ code: 'DECRYPTION_FAILED', message: expect.stringContaining(reason) })
  })

  it.each([
    ['no bytes', ''],
    ['half a head', 'b\0\0'],
    ['a file name that is cut', 'b\u0020name'],
  ])('a packet of data with %s - DECRYPTION_FAILED', async (_name, body) => {
    const inside = await collect(writePacket(11, inChunks(Buffer.from(body), [100])))
    expect((await failureOf(open(await crafted(inside)))).message).toContain('it is cut short')
  })

  it('data with a file name - opened', async () => {
    const inside = await collect(writePacket(11, inChunks(Buffer.from('b\u0004name\0\0\0\0rows'), [100])))
    expect(Buffer.from(await open(await crafted(inside))).toString()).toBe('rows')
  })

  async function crafted(inside: Uint8Array): Promise<Uint8Array> {
    const key = { data: randomBytes(32), algorithm: 'aes256' } as const
    const head = await encryptSessionKey({ ...key, encryptionKeys: keyOf(backup), format: 'binary' })
    const body = encryptIntegrityProtected(key.data, inChunks(inside, [50]))
    return Buffer.concat([head, await collect(writePacket(18, body))])
  }

  it('encrypted with a passphrase only - DECRYPTION_FAILED', async () => {
    const message = await createMessage({ binary: data.subarray(0, 100) })
    const bytes = (await encrypt({ message, passwords: 'secret', format: 'binary' })) as Uint8Array
    expect((await failureOf(open(bytes))).message).toContain('with a passphrase, not to a key')
  })

  it('SEIPD version 2 - DECRYPTION_FAILED names the version', async () => {
    const message = await createMessage({ binary: data.subarray(0, 100) })
    const sessionKey = { data: randomBytes(32), algorithm: 'aes256', aeadAlgorithm: 'gcm' } as const
    const bytes = (await encrypt({
      message,
      sessionKey,
      encryptionKeys: keyOf(backup),
      format: 'binary',
    })) as Uint8Array
    expect((await failureOf(open(bytes))).message).toContain('version 6')
  })

  it('a cipher other than AES - DECRYPTION_FAILED', async () => {
    const message = await createMessage({ binary: data.subarray(0, 100) })
    const sessionKey = { data: randomBytes(24), algorithm: 'tripledes' } as const
    const bytes = (await encrypt({
      message,
      sessionKey,
      encryptionKeys: keyOf(backup),
      format: 'binary',
    })) as Uint8Array
    expect((await failureOf(open(bytes))).message).toContain('its cipher is not AES')
  })

  it('compressed by OpenPGP - DECRYPTION_FAILED says so', async () => {
    const message = await createMessage({ binary: Buffer.alloc(5000) })
    const config = { preferredCompressionAlgorithm: enums.compression.zlib }
    const bytes = (await encrypt({ message, encryptionKeys: keyOf(backup), format: 'binary', config })) as Uint8Array
    expect((await failureOf(open(bytes))).message).toContain('compressed by OpenPGP')
  })

  it('signed inside - DECRYPTION_FAILED says so', async () => {
    const message = await createMessage({ binary: data.subarray(0, 100) })
    const signingKeys = backup.privateKeys.keys[0]?.key as never
    const signed = await sign({ message, signingKeys, format: 'object' })
    const bytes = (await encrypt({ message: signed, encryptionKeys: keyOf(backup), format: 'binary' })) as Uint8Array
    expect((await failureOf(open(bytes))).message).toContain('signed data')
  })
})

describe('hidden recipients', () => {
  it('one of them is ours - opened', async () => {
    const bytes = await hidden([backup, other])
    expect(Buffer.from(await open(bytes)).toString()).toBe('hidden')
  })

  it('none of them is ours - KEY_NO_MATCH', async () => {
    expect((await failureOf(open(await hidden([other])))).code).toBe('KEY_NO_MATCH')
  })

  async function hidden(to: readonly MadeKeys[]): Promise<Uint8Array> {
    const message = await createMessage({ binary: Buffer.from('hidden') })
    return (await encrypt({ message, encryptionKeys: to.map(keyOf), wildcard: true, format: 'binary' })) as Uint8Array
  }
})

describe('a source of decryption', () => {
  it('fails in the middle - the stage fails with the same error', async () => {
    const broken = (async function* () {
      yield encrypted.subarray(0, 300_000)
      throw new Error('connection lost')
    })()
    await expect(collect(decryptStage(backup.privateKeys, 'it')(broken))).rejects.toThrow('connection lost')
  })

  it('is no longer wanted, or proves wrong - closed, and read no further than a part ahead', async () => {
    const long = Buffer.from(await encryptBytes(randomBytes(5_000_000), backup.recipients, now))
    const pieces = Array.from({ length: 501 }, (_, index) => long.subarray(index * 10_000, (index + 1) * 10_000))
    const wanted = watched(pieces)
    const decrypted = decryptStage(backup.privateKeys, 'it')(wanted.source)
    await decrypted.next()
    expect(wanted.state.bytes).toBeLessThanOrEqual(3_000_000)
    await decrypted.return()
    expect(wanted.state.isClosed).toBe(true)

    const wrong = watched([Buffer.from('no message'), ...pieces])
    await failureOf(collect(decryptStage(backup.privateKeys, 'it')(wrong.source)))
    expect(wrong.state).toEqual({ bytes: 10, isClosed: true })
  })
})

function flipped(bytes: Buffer, position: number, bit: number): Buffer {
  const copy = Buffer.from(bytes)
  copy[position] = (copy[position] as number) ^ bit
  return copy
}

function keyOf(made: MadeKeys): NonNullable<MadeKeys['recipients']['keys'][number]>['key'] {
  const [entry] = made.recipients.keys
  if (entry === undefined) throw new Error('no key')
  return entry.key
}
