import { randomBytes } from 'node:crypto'
import { Readable, Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { decryptBytes, decryptStage } from '../../src/encryption/decrypt.ts'
import { encryptBytes, encryptStage } from '../../src/encryption/encrypt.ts'
import { type Recipients, readRecipients } from '../../src/encryption/keys.ts'
import { collect, inChunks, watched } from './byte-streams.ts'
import { failureOf, type KeyFolder, keysMadeAt, type MadeKeys, now, openKeyFolder } from './made-keys.ts'

let keys: KeyFolder
let backup: MadeKeys
let escrow: MadeKeys

beforeAll(async () => {
  keys = await openKeyFolder()
  backup = await keys.make('backup')
  escrow = await keys.make('escrow')
})
afterAll(async () => keys[Symbol.asyncDispose]())

describe('encrypted and decrypted', () => {
  it('any length in any chunks - the same bytes', async () => {
    const part = 2 ** 18
    const around = fc.tuple(fc.constantFrom(0, part, 2 * part), fc.integer({ min: -70, max: 70 }))
    const length = fc.oneof(
      around.map(([base, offset]) => Math.max(0, base + offset)),
      fc.nat(900_000),
    )
    const sizes = fc.array(fc.integer({ min: 0, max: 300_000 }), { minLength: 1, maxLength: 4 })
    await fc.assert(
      fc.asyncProperty(length, sizes, sizes, async (bytes, cut, cutAgain) => {
        const data = randomBytes(bytes)
        const encrypted = await collect(encryptStage(backup.recipients, now)(inChunks(data, [...cut, 4096])))
        const stage = decryptStage(backup.privateKeys, 'it')
        const decrypted = await collect(stage(inChunks(encrypted, [...cutAgain, 4096])))
        expect(decrypted.equals(data)).toBe(true)
      }),
      { numRuns: 60 },
    )
  })

  it('several recipients - each opens it alone', async () => {
    const both = await readRecipients([backup.publicPath, escrow.publicPath], now)
    const encrypted = await encryptBytes(Buffer.from('rows'), both, now)
    for (const { privateKeys } of [backup, escrow])
      expect(Buffer.from(await decryptBytes(encrypted, privateKeys, 'it')).toString()).toBe('rows')
  })

  it('twice the same - different bytes, so nothing is given away', async () => {
    const [first, second] = [
      await encryptBytes(Buffer.alloc(1000), backup.recipients, now),
      await encryptBytes(Buffer.alloc(1000), backup.recipients, now),
    ]
    // What may be the same: the packet headers and the key id.
    expect(Buffer.from(first).subarray(12, 40).equals(Buffer.from(second).subarray(12, 40))).toBe(false)
    expect(Buffer.from(first).subarray(-900).equals(Buffer.from(second).subarray(-900))).toBe(false)
  })

  it('as stages of a pipeline of Node streams - the same bytes', async () => {
    const data = randomBytes(3_000_000)
    const chunks: Buffer[] = []
    const sink = new Writable({
      write(chunk: Buffer, _encoding, done) {
        chunks.push(chunk)
        done()
      },
    })
    const source = Readable.from(inChunks(data, [64 << 10]))
    await pipeline(source, encryptStage(backup.recipients, now), decryptStage(backup.privateKeys, 'it'), sink)
    expect(Buffer.concat(chunks).equals(data)).toBe(true)
  })
})

describe('a source of encryption', () => {
  it.each([0, 1, 5])('fails after %i chunks - the stage fails with the same error and never ends', async (count) => {
    const broken = (async function* () {
      for (let index = 0; index < count; index += 1) yield randomBytes(300_000)
      throw new Error('pg_dump failed')
    })()
    await expect(collect(encryptStage(backup.recipients, now)(broken))).rejects.toThrow('pg_dump failed')
  })

  it('is no longer wanted - closed, and read no further than a part ahead', async () => {
    const { source, state } = watched(Array.from({ length: 100 }, () => randomBytes(100_000)))
    const encrypted = encryptStage(backup.recipients, now)(source)
    // The session key comes first, before anything is read.
    for (let count = 0; count < 2; count += 1) await encrypted.next()
    // Four blocks of 512 KiB are under way.
    expect(state.bytes).toBeLessThanOrEqual(2_200_000)
    await encrypted.return()
    expect(state.isClosed).toBe(true)
  })
})

describe('recipients at the time of encryption', () => {
  it('expired since they were read - KEY_UNUSABLE before the first byte, source not read', async () => {
    const brief = await keys.make('brief', { expiresAfterMs: 200 * 86_400_000 })
    const later = new Date(keysMadeAt.getTime() + 201 * 86_400_000)
    const { source, state } = watched([randomBytes(10)])
    const failure = await failureOf(encryptStage(brief.recipients, later)(source).next())
    expect(failure.code).toBe('KEY_UNUSABLE')
    expect(failure.message).toBe(
      `key ${brief.fingerprint} from ${brief.publicPath} cannot be used: it expired at 2025-09-17T00:00:00Z`,
    )
    expect(state.bytes).toBe(0)
  })

  it('made after the time that the clock shows - KEY_UNUSABLE that says so', async () => {
    const earlier = new Date('2024-01-01T00:00:00Z')
    const failure = await failureOf(encryptBytes(Buffer.from('x'), backup.recipients, earlier))
    expect(failure).toMatchObject({ code: 'KEY_UNUSABLE', message: expect.stringContaining('in the future') })
  })

  it('none - KEY_NEEDED', async () => {
    const none: Recipients = { keys: [], fingerprints: [], expiries: [] }
    expect((await failureOf(encryptBytes(Buffer.from('x'), none, now))).code).toBe('KEY_NEEDED')
  })
})
