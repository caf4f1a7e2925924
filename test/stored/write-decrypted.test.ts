import { randomBytes } from 'node:crypto'
import { type FileHandle, mkdtemp, open, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { zstdCompressSync } from 'node:zlib'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { encryptBytes } from '../../src/encryption/encrypt.ts'
import { MalformedPacket, packetTags } from '../../src/encryption/packets.ts'
import type { PlainAnswer } from '../../src/stored/plain-thread.ts'
import { writeDecrypted } from '../../src/stored/write-decrypted.ts'
import { measureBytes } from '../../src/streams/measure.ts'
import { collect } from '../encryption/byte-streams.ts'
import { encryptIntegrityProtected, writePacket } from '../encryption/craft.ts'
import { type KeyFolder, type MadeKeys, now, openKeyFolder } from '../encryption/made-keys.ts'
import { chunks } from '../storage/object-store.suite.ts'
import { failureOf } from '../streams/processes.ts'
import { answersOfThread } from '../support/thread-answers.ts'

const what = 'backups/main/app/x/dump.pgp'
const { signal } = new AbortController()

let keyFolder: KeyFolder
let keys: MadeKeys
let contents: Buffer
beforeAll(async () => {
  keyFolder = await openKeyFolder()
  keys = await keyFolder.make('backup')
  const parts: Buffer[] = []
  for await (const chunk of chunks(5_000_000, 100_000)) parts.push(chunk)
  contents = Buffer.concat(parts)
})
afterAll(async () => {
  await keyFolder[Symbol.asyncDispose]()
})

let folder: string
let file: FileHandle
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pgproof-test-plain-'))
  file = await open(join(folder, 'dump'), 'wx')
})
afterEach(async () => {
  await file.close()
  await rm(folder, { recursive: true })
})

const encrypted = async (bytes: Uint8Array): Promise<Buffer> =>
  Buffer.from(await encryptBytes(bytes, keys.recipients, now))

async function* inChunks(bytes: Buffer): AsyncGenerator<Uint8Array> {
  for (let from = 0; from < bytes.length; from += 70_000) yield bytes.subarray(from, from + 70_000)
}

async function write(source: AsyncIterable<Uint8Array>, compression: 'none' | 'zstd', fd = file.fd, by = signal) {
  return await writeDecrypted(source, { keys: keys.privateKeys, what, compression, fd }, by)
}

describe('an encrypted object written to a file', () => {
  it.each([
    ['of some megabytes', 5_000_000, 'none'],
    ['of some megabytes', 5_000_000, 'zstd'],
    ['of a few bytes', 100, 'none'],
    ['of a few bytes', 100, 'zstd'],
    ['of nothing', 0, 'zstd'],
  ] as const)('%s (%i), compression %s - every byte is in the file, and its digest is told', async (_, length, how) => {
    const bytes = contents.subarray(0, length)
    const { plain } = await write(inChunks(await encrypted(how === 'zstd' ? zstdCompressSync(bytes) : bytes)), how)
    expect(plain).toEqual(measureBytes(bytes))
    expect((await readFile(join(folder, 'dump'))).equals(bytes)).toBe(true)
  })

  it.each([
    ['in its middle', 2_500_000],
    ['at its end', 4_999_999],
  ])('a bit flipped %s - MalformedPacket', async (_, at) => {
    const bytes = await encrypted(contents)
    bytes[at] = (bytes[at] ?? 0) ^ 1
    expect(await failureOf(write(inChunks(bytes), 'none'))).toBeInstanceOf(MalformedPacket)
  })

  it('cut short, and longer by a byte - MalformedPacket', async () => {
    const bytes = await encrypted(contents)
    expect(await failureOf(write(inChunks(bytes.subarray(0, -1)), 'none'))).toBeInstanceOf(MalformedPacket)
    const longer = Buffer.concat([bytes, Buffer.alloc(1)])
    expect(await failureOf(write(inChunks(longer), 'none'))).toBeInstanceOf(MalformedPacket)
  })

  it.each([
    ['of some megabytes', 5_000_000],
    ['of a few bytes', 100],
  ])('%s (%i) that are not compressed as they should be - the code of zstd', async (_, length) => {
    const failure = await failureOf(write(inChunks(await encrypted(contents.subarray(0, length))), 'zstd'))
    expect((failure as NodeJS.ErrnoException).code).toMatch(/^ZSTD_/)
  })

  it.each([
    ['of some megabytes', 5_000_000],
    ['of a few bytes', 100],
  ])('%s (%i) to a disk that is full - ENOSPC', async (_, length) => {
    await using full = await open('/dev/full', 'w')
    const source = inChunks(await encrypted(contents.subarray(0, length)))
    expect(await failureOf(write(source, 'none', full.fd))).toMatchObject({ code: 'ENOSPC' })
  })

  it('the source fails in the middle - its error', async () => {
    const bytes = await encrypted(contents)
    const failing = async function* (): AsyncGenerator<Uint8Array> {
      yield* inChunks(bytes.subarray(0, 4_000_000))
      throw new Error('the line was cut')
    }
    expect(await failureOf(write(failing(), 'none'))).toMatchObject({ message: 'the line was cut' })
  })

  it('aborted in the middle - rejects with the reason, the source is ended', async () => {
    const bytes = await encrypted(contents)
    const controller = new AbortController()
    const reason = new Error('enough')
    let isEnded = false
    const endless = async function* (): AsyncGenerator<Uint8Array> {
      try {
        // A body that never ends: its last part is not among these.
        yield* inChunks(bytes.subarray(0, 3_000_000))
        controller.abort(reason)
        for (;;) {
          yield bytes.subarray(3_000_000, 3_000_016)
          await new Promise(setImmediate)
        }
      } finally {
        isEnded = true
      }
    }
    expect(await failureOf(write(endless(), 'none', file.fd, controller.signal))).toBe(reason)
    expect(isEnded).toBe(true)
  })
})

it('aborted while its thread is at work - rejects with the reason at once, the source is ended', async () => {
  const bytes = await encrypted(contents)
  const controller = new AbortController()
  const reason = new Error('enough')
  let isEnded = false
  const source = async function* (): AsyncGenerator<Uint8Array> {
    try {
      yield bytes.subarray(0, 100_000)
      // The next chunk fills all blocks: the thread is waited for when this comes, and nothing more is read.
      setImmediate(() => controller.abort(reason))
      yield bytes.subarray(100_000, 4_000_000)
    } finally {
      isEnded = true
    }
  }
  expect(await failureOf(write(source(), 'none', file.fd, controller.signal))).toBe(reason)
  expect(isEnded).toBe(true)
})

describe('the thread that writes it', () => {
  const sessionKey = randomBytes(32)

  const plainThread = new URL('../../src/stored/plain-thread.ts', import.meta.url)

  const answersTo = async (body: Uint8Array, fd = file.fd): Promise<readonly PlainAnswer[]> =>
    await answersOfThread<PlainAnswer>(plainThread, { sessionKey, compression: 'none', fd }, body)

  /** The body of a message that holds `contents`. */
  async function bodyOf(): Promise<Buffer> {
    // Binary, without a name, made at no time.
    const literal = Buffer.concat([Buffer.from('b\0\0\0\0\0'), contents])
    return await collect(encryptIntegrityProtected(sessionKey, writePacket(packetTags.literal, inChunks(literal))))
  }

  it('has written all of it - gives back the memory, says what it wrote, and ends without being told', async () => {
    const answers = await answersTo(await bodyOf())
    expect(answers).toEqual([
      { kind: 'memory', memory: expect.any(ArrayBuffer) },
      { kind: 'written', file: { plain: measureBytes(contents), places: [] } },
    ])
    expect((await readFile(join(folder, 'dump'))).equals(contents)).toBe(true)
  })

  it('cannot write it, or finds it malformed - says why, and ends without being told', async () => {
    await using full = await open('/dev/full', 'w')
    expect((await answersTo(await bodyOf(), full.fd)).at(-1)).toMatchObject({ kind: 'failed', code: 'ENOSPC' })
    expect((await answersTo((await bodyOf()).subarray(0, -1))).at(-1)).toMatchObject({ kind: 'malformed' })
  })
})
