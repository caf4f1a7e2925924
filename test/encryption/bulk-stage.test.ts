import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { Readable, Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setImmediate } from 'node:timers/promises'
import { decrypt, readMessage } from 'openpgp'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { throughBulk } from '../../src/encryption/bulk-stage.ts'
import type { BulkAnswer } from '../../src/encryption/bulk-thread.ts'
import { decryptStage } from '../../src/encryption/decrypt.ts'
import { encryptStage } from '../../src/encryption/encrypt.ts'
import type { BulkOrder } from '../../src/encryption/integrity-protected.ts'
import { type Gpg, startGpg } from '../support/gpg.ts'
import { answersOfThread } from '../support/thread-answers.ts'
import { collect, inChunks, watched } from './byte-streams.ts'
import { encryptIntegrityProtected } from './craft.ts'
import { failureOf, type KeyFolder, type MadeKeys, now, openKeyFolder } from './made-keys.ts'

const mebibyte = 1 << 20
/** More than is done without a thread. */
const long = randomBytes(5 * mebibyte)
const sessionKey = randomBytes(32)
let keys: KeyFolder
let backup: MadeKeys

beforeAll(async () => {
  keys = await openKeyFolder()
  backup = await keys.make('backup')
})
afterAll(async () => keys[Symbol.asyncDispose]())

/** Each thread of Node's own keeps one port to its parent open. */
function threadCount(): number {
  return process.getActiveResourcesInfo().filter((kind) => kind === 'MessagePort').length
}

async function untilThreads(most: number): Promise<void> {
  const deadline = Date.now() + 20_000
  while (threadCount() > most && Date.now() < deadline) await setImmediate()
  expect(threadCount()).toBeLessThanOrEqual(most)
}

const bulkThread = new URL('../../src/encryption/bulk-thread.ts', import.meta.url)

const answersTo = async (order: BulkOrder, stream: Uint8Array): Promise<readonly BulkAnswer[]> =>
  await answersOfThread<BulkAnswer>(bulkThread, order, stream)

const joined = (answers: readonly BulkAnswer[]): Buffer => Buffer.concat(answers.flatMap(({ pieces }) => pieces))

describe('a thread of its own', () => {
  it('has answered the last block - it gives back the memory of each, and ends without being told', async () => {
    const answers = await answersTo({ direction: 'encrypt', sessionKey, date: now }, long)
    expect(answers.map(({ memory, isLast, malformed }) => [memory.byteLength, isLast, malformed])).toEqual([
      [long.length / 2, false, null],
      [long.length / 2, true, null],
    ])
    const message = await readMessage({ binaryMessage: joined(answers) })
    const { data } = await decrypt({
      message,
      sessionKeys: { data: sessionKey, algorithm: 'aes256' },
      format: 'binary',
    })
    expect(long.equals(data as Uint8Array)).toBe(true)
  })

  it('has decrypted all of a stream - gives it, and ends without being told', async () => {
    const body = await collect(encryptIntegrityProtected(sessionKey, inChunks(long, [100_000])))
    expect(joined(await answersTo({ direction: 'decrypt', sessionKey }, body)).equals(long)).toBe(true)
  })

  it('has found that the stream is malformed - says why, and ends without being told', async () => {
    const answers = await answersTo({ direction: 'decrypt', sessionKey }, Buffer.alloc(1000))
    expect(answers.at(-1)?.malformed).toEqual(expect.any(String))
  })

  it('started for a long stream only, and gone after its end', async () => {
    const before = threadCount()
    let whileLong = 0
    for await (const _ of throughBulk({ direction: 'encrypt', sessionKey, date: now }, inChunks(long, [1000]))) {
      whileLong = threadCount()
      break
    }
    expect(whileLong).toBeGreaterThan(before)
    await untilThreads(before)
    const short = throughBulk({ direction: 'encrypt', sessionKey, date: now }, inChunks(randomBytes(mebibyte), [9000]))
    for await (const _ of short) expect(threadCount()).toBeLessThanOrEqual(before)
  })

  it('cannot even begin - the stage throws what it threw, the source is closed, no thread left', async () => {
    const before = threadCount()
    for (const direction of ['encrypt', 'decrypt'] as const) {
      const { source, state } = watched(Array.from({ length: 50 }, () => randomBytes(200_000)))
      const wrongKey = { direction, sessionKey: randomBytes(5), date: now }
      await expect(collect(throughBulk(wrongKey, source))).rejects.toThrow(/cipher/i)
      expect(state.isClosed).toBe(true)
      expect(state.bytes).toBeLessThan(3 * mebibyte)
    }
    await untilThreads(before)
  })

  it('finds the stream malformed - MalformedPacket with the reason, as without a thread', async () => {
    const thrown = await collect(
      throughBulk({ direction: 'decrypt', sessionKey }, inChunks(Buffer.concat([Uint8Array.of(1), long]), [70_000])),
    ).catch((error: unknown) => error)
    expect(thrown).toMatchObject({
      name: 'MalformedPacket',
      message: 'its modification detection code does not fit its contents',
    })
  })
})

describe('a long stream', () => {
  it.each([5 * mebibyte - 1, 5 * mebibyte, 5 * mebibyte + 1, 5 * mebibyte - 40, 4 * (512 << 10)])(
    'of %i bytes, there and back - the same bytes',
    async (length) => {
      const data = randomBytes(length)
      const encrypted = await collect(encryptStage(backup.recipients, now)(inChunks(data, [65_536])))
      const decrypted = await collect(decryptStage(backup.privateKeys, 'it')(inChunks(encrypted, [65_536, 1])))
      expect(decrypted.equals(data)).toBe(true)
    },
  )

  it('cut short, changed or followed by more - DECRYPTION_FAILED, never a clean end', async () => {
    const encrypted = await collect(encryptStage(backup.recipients, now)(inChunks(long, [65_536])))
    const changed = (position: number): Buffer => {
      const copy = Buffer.from(encrypted)
      copy[position] = (copy[position] as number) ^ 1
      return copy
    }
    const damaged = [
      ...[encrypted.length - 1, encrypted.length - 20, 3 * mebibyte, 2 ** 19 + 100].map((length) =>
        encrypted.subarray(0, length),
      ),
      ...[150, mebibyte, 4 * mebibyte, encrypted.length - 1].map(changed),
      Buffer.concat([encrypted, Buffer.alloc(1)]),
    ]
    for (const bytes of damaged) {
      const failure = await failureOf(collect(decryptStage(backup.privateKeys, 'it')(inChunks(bytes, [65_536]))))
      expect(failure.code).toBe('DECRYPTION_FAILED')
    }
  })

  it.each([2 * mebibyte, 9 * mebibyte])('whose source fails after %i bytes - the same error', async (count) => {
    const broken = async function* () {
      for (let bytes = 0; bytes < count; bytes += 100_000) yield randomBytes(100_000)
      throw new Error('pg_dump failed')
    }
    await expect(collect(encryptStage(backup.recipients, now)(broken()))).rejects.toThrow('pg_dump failed')
  })

  it('whose consumer takes nothing more - read no further than a few blocks', async () => {
    const { source, state } = watched(Array.from({ length: 200 }, () => randomBytes(100_000)))
    const stage = encryptStage(backup.recipients, now)(source)
    for (let count = 0; count < 3; count += 1) await stage.next()
    const deadline = Date.now() + 300
    while (Date.now() < deadline) await setImmediate()
    expect(state.bytes).toBeLessThan(3 * mebibyte)
    await stage.return()
    expect(state.isClosed).toBe(true)
  })

  it('that is read no further by the consumer, or holds something else - no thread is left', async () => {
    const before = threadCount()
    const encrypted = await collect(encryptStage(backup.recipients, now)(inChunks(long, [65_536])))
    for await (const _ of decryptStage(backup.privateKeys, 'it')(inChunks(encrypted, [65_536]))) break
    await untilThreads(before)
    const twice = Buffer.concat([encrypted, encrypted])
    expect((await failureOf(collect(decryptStage(backup.privateKeys, 'it')(inChunks(twice, [65_536]))))).code).toBe(
      'DECRYPTION_FAILED',
    )
    await untilThreads(before)
  })

  it('aborted in the middle - the pipeline rejects with the reason, and no thread is left', async () => {
    const before = threadCount()
    const controller = new AbortController()
    let bytes = 0
    const endless = Readable.from(
      (async function* () {
        for (;;) yield randomBytes(65_536)
      })(),
    )
    const sink = new Writable({
      write(chunk: Buffer, _encoding, done) {
        bytes += chunk.length
        if (bytes > 8 * mebibyte) controller.abort(new Error('the operator'))
        done()
      },
    })
    const stages = pipeline(
      endless,
      encryptStage(backup.recipients, now),
      decryptStage(backup.privateKeys, 'it'),
      sink,
      {
        signal: controller.signal,
      },
    )
    await expect(stages).rejects.toThrow()
    await untilThreads(before)
  })
})

describe('with gpg, on a thread', () => {
  let gpg: Gpg
  beforeAll(async () => {
    gpg = await startGpg()
    await gpg.run(['--import', backup.privatePath])
  })
  afterAll(async () => gpg[Symbol.asyncDispose]())

  it('ours of every length around a part - decrypted by gpg, with a good modification detection code', async () => {
    const part = 2 ** 19
    for (const length of [3 * part - 60, 3 * part - 41, 3 * part - 8, 3 * part, 4 * part + 1, 5_000_000]) {
      const data = randomBytes(length)
      const encrypted = await collect(encryptStage(backup.recipients, now)(inChunks(data, [65_536])))
      const path = await gpg.file('ours.pgp', encrypted)
      const { stdout, stderr } = await gpg.run(['--status-fd', '2', '--decrypt', path])
      expect(stdout.equals(data), `${length} bytes`).toBe(true)
      expect(stderr).toMatch(/GOODMDC/)
    }
  })

  it('gpg’s of five megabytes - decrypted by us', async () => {
    await gpg.file('plain', long)
    const args = ['--compress-algo', 'none', '-r', backup.fingerprint, '--output', '-', '--encrypt']
    const { stdout } = await gpg.run([...args, join(gpg.folder, 'plain')])
    const decrypted = await collect(decryptStage(backup.privateKeys, 'it')(inChunks(stdout, [65_536])))
    expect(decrypted.equals(long)).toBe(true)
  })
})
