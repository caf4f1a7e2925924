import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { generateKeyPair } from '../../src/encryption/generate.ts'
import type { HugeResult, HugeTask } from './huge-client.child.ts'

// Streams that cost no disk: the source is generated, the server throws everything away. PGPROOF_HUGE=1 makes them
// 50 GB instead of 4 GB (half an hour), and adds parts beyond 2 GiB, which take 5 GB of memory.
const isHuge = process.env['PGPROOF_HUGE'] === '1'
const megabyte = 1e6
const mebibyte = 2 ** 20
const small = 1e9
const large = isHuge ? 50e9 : 4e9
// A backup works four times as long on each byte.
const [smallBackup, largeBackup] = isHuge ? [small, large] : [small / 4, large / 4]
const timeout = isHuge ? 7_200_000 : 300_000

/** How much more the large stream may take: the garbage between two collections, and the list of 6,000 parts at the end. */
const slack = 128 * megabyte

describe('memory of one stream through S3', () => {
  let server: HugeServer
  let folder: string
  let recipient: string
  beforeAll(async () => {
    server = await startServer()
    folder = await mkdtemp(join(tmpdir(), 'pgproof-huge-'))
    recipient = join(folder, 'public.asc')
    const pair = await generateKeyPair({ name: 'huge', kind: 'ecc', use: 'backup', now: new Date() })
    await writeFile(recipient, pair.publicKey)
  })
  afterAll(async () => {
    await server[Symbol.asyncDispose]()
    await rm(folder, { recursive: true })
  })

  it(`upload of 1 GB and of ${large / 1e9} GB - equal parts, and the same memory, below 320 MB`, {
    timeout,
  }, async () => {
    const first = await run(server, { work: 'write', bytes: small, expectedBytes: small })
    const second = await run(server, { work: 'write', bytes: large, expectedBytes: large })
    const { unfinished, parts } = await server.held()
    expect({ unfinished, bytes: second.bytes, sum: sum(parts) }).toEqual({ unfinished: 0, bytes: large, sum: large })
    expect(new Set(parts.slice(0, -1)).size).toBe(1)
    expectFlat(first, second, 320 * megabyte)
  })

  it(`download of 1 GB and of ${large / 1e9} GB - the same memory, below 320 MB`, { timeout }, async () => {
    const first = await run(server, { work: 'read', bytes: small })
    const second = await run(server, { work: 'read', bytes: large })
    expect([first.bytes, second.bytes]).toEqual([small, large])
    expectFlat(first, second, 320 * megabyte)
  })

  it(`backup of ${smallBackup / 1e9} and of ${largeBackup / 1e9} GB, compressed and encrypted - the same memory, below 400 MB`, {
    timeout,
  }, async () => {
    const backup = (bytes: number) => run(server, { work: 'backup', recipient, bytes, expectedBytes: bytes })
    const first = await backup(smallBackup)
    const second = await backup(largeBackup)
    const { unfinished, parts } = await server.held()
    expect({ unfinished, sum: sum(parts) }).toEqual({ unfinished: 0, sum: second.bytes })
    expect(second.bytes).toBeGreaterThan(largeBackup)
    expectFlat(first, second, 400 * megabyte)
  })

  if (isHuge)
    it('parts of 2.3 GiB, more than one call can hash - stored, in two buffers', { timeout }, async () => {
      const { peakBytes, ...result } = await run(server, { work: 'write', bytes: 6e9, expectedBytes: 22e12 })
      expect(result).toMatchObject({ bytes: 6e9 })
      const partBytes = 2332 * mebibyte
      expect((await server.held()).parts).toEqual([partBytes, partBytes, 6e9 - 2 * partBytes])
      expect(peakBytes).toBeLessThan(2 * partBytes + 320 * megabyte)
    })
})

describe('stores of few parts', () => {
  const settings = { partSizeBytes: 5 * mebibyte }

  it('ten parts, size not known - grown parts hold 64 times the first one', { timeout }, async () => {
    const limits = { maxParts: 10, equalParts: false }
    await using server = await startServer(limits)
    const bytes = 335 * mebibyte
    const result = await run(server, { work: 'write', bytes, settings, limits })
    expect(result).toMatchObject({ bytes })
    const { parts, unfinished } = await server.held()
    expect(parts.map((part) => part / mebibyte)).toEqual([5, 5, 5, 5, 5, 10, 20, 40, 80, 160])
    expect(unfinished).toBe(0)
    expect(result.peakBytes).toBeLessThan(320 * megabyte + 2 * 160 * mebibyte)
    const more = await run(server, { work: 'write', bytes: bytes + 1, settings, limits })
    expect(more).toMatchObject({ code: 'STORE_TOO_LARGE' })
    expect(await server.held()).toMatchObject({ unfinished: 0, parts })
  })

  it('ten parts, size known - planned to fit, equal', { timeout }, async () => {
    const limits = { maxParts: 10, equalParts: true }
    await using server = await startServer(limits)
    const bytes = 335 * mebibyte
    expect(await run(server, { work: 'write', bytes, expectedBytes: bytes, settings, limits })).toMatchObject({ bytes })
    expect((await server.held()).parts).toEqual([...Array(8).fill(38 * mebibyte), 31 * mebibyte])
  })

  it('ten equal parts, a hundred times what was expected - STORE_TOO_LARGE, nothing left', { timeout }, async () => {
    const limits = { maxParts: 10, equalParts: true }
    await using server = await startServer(limits)
    const bytes = 335 * mebibyte
    const result = await run(server, { work: 'write', bytes, expectedBytes: bytes / 100, settings, limits })
    expect(result).toMatchObject({ bytes: 0, code: 'STORE_TOO_LARGE' })
    expect(result.message).toContain('its 10 parts, the first of 5 MiB, are used up after 50 MiB')
    expect(await server.held()).toMatchObject({ unfinished: 0, parts: [] })
  })

  it('exactly so much expected, more than ten of the largest parts - STORE_TOO_LARGE before a byte is read or sent', {
    timeout,
  }, async () => {
    const limits = { maxParts: 10, equalParts: false }
    await using server = await startServer(limits)
    const before = (await server.held()).receivedBytes
    const task = { work: 'write', bytes: small, expectedBytes: 51 * 2 ** 30, settings, limits } as const
    const result = await run(server, { ...task, isExact: true })
    expect(result).toMatchObject({ takenBytes: 0, code: 'STORE_TOO_LARGE' })
    expect(result.message).toContain('51 GiB are expected, and one object holds 50 GiB at most')
    // Only the small object that every client begins with.
    expect((await server.held()).receivedBytes - before).toBe(100_000)
  })
})

function expectFlat(first: HugeResult, second: HugeResult, bound: number): void {
  // The figures that docs/performance.md speaks of.
  for (const { bytes, seconds, peakBytes } of [first, second])
    console.log(
      `${bytes / 1e9} GB: peak ${Math.round(peakBytes / megabyte)} MB, ${Math.round(bytes / megabyte / seconds)} MB/s`,
    )
  expect(second.peakBytes).toBeLessThan(bound)
  expect(second.peakBytes - first.peakBytes).toBeLessThan(slack)
}

function sum(sizes: readonly number[]): number {
  return sizes.reduce((total, bytes) => total + bytes, 0)
}

async function run(server: HugeServer, task: Omit<HugeTask, 'endpoint'>): Promise<HugeResult> {
  const whole: HugeTask = { endpoint: server.endpoint, ...task }
  const { stdout } = await promisify(execFile)(process.execPath, [
    join(import.meta.dirname, 'huge-client.child.ts'),
    JSON.stringify(whole),
  ])
  return JSON.parse(stdout) as HugeResult
}

type HugeServer = {
  readonly endpoint: string
  /** What it has, and the sizes of the parts of the object that every task writes. */
  held(): Promise<{ receivedBytes: number; unfinished: number; parts: number[] }>
} & AsyncDisposable

async function startServer(limits?: { maxParts: number; equalParts: boolean }): Promise<HugeServer> {
  const script = join(import.meta.dirname, 'huge-server.child.ts')
  const rules = limits === undefined ? [] : [String(limits.maxParts), ...(limits.equalParts ? ['equalParts'] : [])]
  const child = spawn(process.execPath, [script, ...rules], { stdio: ['ignore', 'pipe', 'inherit'] })
  const [port] = (await once(child.stdout, 'data')) as [Buffer]
  const endpoint = `http://127.0.0.1:${Number(port)}`
  return {
    endpoint,
    held: async () => {
      const answer = (await (await fetch(`${endpoint}/`)).json()) as {
        receivedBytes: number
        unfinished: number
        objects: [string, { parts: number[] }][]
      }
      const dump = answer.objects.find(([path]) => path.endsWith('dump'))
      return { ...answer, parts: dump?.[1].parts ?? [] }
    },
    [Symbol.asyncDispose]: async () => {
      child.kill('SIGKILL')
      await once(child, 'close')
    },
  }
}
