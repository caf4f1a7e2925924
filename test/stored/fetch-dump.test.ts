import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { appendFileSync, existsSync, readdirSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { promisify } from 'node:util'
import { zstdCompressSync } from 'node:zlib'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { Checklist } from '../../src/domain/checklist.ts'
import type { Manifest } from '../../src/domain/manifest.ts'
import { encryptBytes } from '../../src/encryption/encrypt.ts'
import { PgproofError } from '../../src/errors.ts'
import { DirectoryStore } from '../../src/storage/directory.ts'
import type { ReadOptions } from '../../src/storage/object-store.ts'
import { fetchDump } from '../../src/stored/fetch-dump.ts'
import type { ReadManifest } from '../../src/stored/read-backup.ts'
import { measureBytes } from '../../src/streams/measure.ts'
import { type KeyFolder, type MadeKeys, now, openKeyFolder } from '../encryption/made-keys.ts'
import { chunks } from '../storage/object-store.suite.ts'
import { eventually, failureOf } from '../streams/processes.ts'
import { MemoryStore } from '../support/memory-store.ts'

const run = promisify(execFile)
const child = join(import.meta.dirname, 'fetch-dump.child.ts')
const key = 'backups/main/app/x/dump.pgp'
const { signal } = new AbortController()

let keyFolder: KeyFolder
let keys: MadeKeys
let others: MadeKeys
let dump: Buffer
let object: Buffer
beforeAll(async () => {
  keyFolder = await openKeyFolder()
  keys = await keyFolder.make('backup')
  others = await keyFolder.make('others')
  const parts: Buffer[] = []
  for await (const chunk of chunks(3_000_000, 100_000)) parts.push(chunk)
  dump = Buffer.concat(parts)
  object = Buffer.from(await encryptBytes(dump, keys.recipients, now))
})
afterAll(async () => {
  await keyFolder[Symbol.asyncDispose]()
})

let folder: string
let store: ServingStore
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pgproof-test-fetch-'))
  store = new ServingStore()
  await store.put(key, object, { signal })
})
afterEach(async () => {
  await rm(folder, { recursive: true })
})

/** A memory store that counts what it sends, and can lose its line for good. */
class ServingStore extends MemoryStore {
  servedBytes = 0
  cutAfterBytes = Number.POSITIVE_INFINITY

  override async read(key: string, options: ReadOptions): Promise<Readable> {
    return Readable.from(this.#served(await super.read(key, options)), { objectMode: false })
  }

  async *#served(stream: Readable): AsyncGenerator<Buffer> {
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      const left = this.cutAfterBytes - this.servedBytes
      const sent = chunk.subarray(0, left)
      this.servedBytes += sent.length
      if (sent.length > 0) yield sent
      if (sent.length < chunk.length)
        throw new PgproofError('STORE_UNREACHABLE', { store: this.url, reason: 'the line was cut' })
    }
  }
}

const keepDownload = (): string => join(folder, 'x.part')
const kept = (): Buffer => readFileSync(keepDownload())
const left = (): string[] => readdirSync(folder).sort()
const readOf = (compression: 'none' | 'zstd' = 'none', stored = object): ReadManifest => ({
  manifest: {
    dump: { ...measureBytes(dump), compression },
    objects: { dump: { name: 'dump.pgp', ...measureBytes(stored) } },
  } as Manifest,
  sha256: '',
  folder: 'backups/main/app/x/',
})

async function fetch(over: Partial<Parameters<typeof fetchDump>[0]> = {}, by = signal): Promise<Checklist> {
  const checklist = new Checklist()
  const file = join(folder, 'dump')
  const request = { read: readOf(), keys: keys.privateKeys, store, file, keepDownload: keepDownload() }
  await fetchDump({ ...request, ...over }, checklist, by)
  expect(readFileSync(file).equals(dump)).toBe(true)
  return checklist
}

/** A first run, cut after so many bytes; the second one is sent as many as it asks for. */
async function cutAfter(bytes: number): Promise<void> {
  store.cutAfterBytes = bytes
  expect(await failureOf(fetch())).toMatchObject({ code: 'STORE_UNREACHABLE' })
  expect(left()).toEqual(['x.part'])
  store.cutAfterBytes = Number.POSITIVE_INFINITY
  store.servedBytes = 0
}

describe('a download that is kept', () => {
  it('nothing there yet - fetched once, kept whole and private; the next run asks the store for nothing', async () => {
    await fetch()
    expect(kept().equals(object)).toBe(true)
    expect(statSync(keepDownload()).mode & 0o777).toBe(0o600)
    expect(store.servedBytes).toBe(object.length)
    const calls = store.calls.length
    await rm(join(folder, 'dump'))
    await fetch()
    expect(store.calls).toHaveLength(calls)
  })

  it.each([
    ['before its first byte', 0],
    ['at its first byte', 1],
    ['between two chunks', 1_048_576],
    ['within a chunk', 1_234_567],
  ])('cut %s - the second run is sent only the rest, the dump is whole', async (_, bytes) => {
    await cutAfter(bytes)
    expect(kept().equals(object.subarray(0, bytes))).toBe(true)
    await fetch()
    expect(store.servedBytes).toBe(object.length - bytes)
    expect(kept().equals(object)).toBe(true)
  })

  it('cut at its last byte but one, three times in all, compressed by zstd - every byte is sent once', async () => {
    const stored = Buffer.from(await encryptBytes(zstdCompressSync(dump), keys.recipients, now))
    await store.put(key, stored, { signal })
    const read = readOf('zstd', stored)
    for (const bytes of [stored.length - 700, stored.length - 2, stored.length - 1]) {
      store.cutAfterBytes = bytes
      expect(await failureOf(fetch({ read }))).toMatchObject({ code: 'STORE_UNREACHABLE' })
    }
    store.cutAfterBytes = Number.POSITIVE_INFINITY
    await fetch({ read })
    expect(store.servedBytes).toBe(stored.length)
  })

  it('progress of a second run - counts what was there already', async () => {
    await cutAfter(2_000_000)
    const seen: number[] = []
    await fetch({ onBytes: (bytes) => seen.push(bytes) })
    expect(seen.at(-1)).toBe(object.length)
    expect(seen).toEqual(seen.toSorted((one, other) => one - other))
  })

  it.each([
    ['at its beginning', 0],
    ['in its head', 40],
    ['in the middle', 700_000],
    ['at its end', 1_234_566],
  ])('damaged %s meanwhile - fetched anew from the beginning, passed', async (_, at) => {
    await cutAfter(1_234_567)
    const bytes = kept()
    bytes[at] = (bytes[at] as number) ^ 1
    writeFileSync(keepDownload(), bytes)
    const checklist = await fetch()
    expect(checklist.results(['SHA-256', 'decryption']).map(({ name, result }) => `${name} ${result}`)).toEqual([
      'SHA-256 passed',
      'decryption passed',
    ])
    expect(kept().equals(object)).toBe(true)
  })

  it('complete but damaged - fetched anew once, passed', async () => {
    writeFileSync(keepDownload(), Buffer.alloc(object.length))
    await fetch()
    expect(store.servedBytes).toBe(object.length)
    expect(kept().equals(object)).toBe(true)
  })

  it('longer than the object - begun anew, passed', async () => {
    writeFileSync(keepDownload(), object)
    appendFileSync(keepDownload(), 'x')
    await fetch()
    expect(store.servedBytes).toBe(object.length)
    expect(kept().equals(object)).toBe(true)
  })

  it.each([
    ['one bit flipped', () => store.damage(key, 1_800_000)],
    ['cut short, to less than was kept', () => store.truncate(key, 1_000_000)],
    ['cut short, to more than was kept', () => store.truncate(key, 2_000_000)],
    ['longer than it was', () => void store.put(key, Buffer.concat([object, Buffer.alloc(5)]), { signal })],
  ])('the object itself %s - OBJECT_MISMATCH, with and without a kept part; nothing left', async (_, harm) => {
    await cutAfter(1_500_000)
    store.objects.set(key, { body: Buffer.from(object), modifiedAt: new Date() })
    harm()
    for (const _attempt of ['with a part', 'without']) {
      expect(await failureOf(fetch())).toMatchObject({ code: 'OBJECT_MISMATCH' })
      expect(left()).toEqual([])
    }
  })

  it('the object damaged where the part is whole - the part is what counts, passed', async () => {
    await cutAfter(1_500_000)
    store.damage(key, 1_000_000)
    await fetch()
    expect(kept().equals(object)).toBe(true)
  })

  it('gone from the store meanwhile - STORE_NOT_FOUND, the part stays', async () => {
    await cutAfter(1_500_000)
    await store.delete(key, { signal })
    expect(await failureOf(fetch())).toMatchObject({ code: 'STORE_NOT_FOUND' })
    expect(left()).toEqual(['x.part'])
    expect(kept()).toHaveLength(1_500_000)
  })

  it('the wrong key - KEY_NO_MATCH; with the right one nothing is downloaded again', async () => {
    await cutAfter(1_000_000)
    expect(await failureOf(fetch({ keys: others.privateKeys }))).toMatchObject({ code: 'KEY_NO_MATCH' })
    expect(left()).toEqual(['x.part'])
    await fetch()
    expect(store.servedBytes).toBe(object.length - 1_000_000)
  })

  it('aborted in the middle - the part stays and no other file; resumed from there', async () => {
    const controller = new AbortController()
    const onBytes = (bytes: number): void => {
      if (bytes > 1_000_000) controller.abort(new PgproofError('CANCELLED', { what: 'the restore' }))
    }
    expect(await failureOf(fetch({ onBytes }, controller.signal))).toMatchObject({ code: 'CANCELLED' })
    expect(left()).toEqual(['x.part'])
    const haveBytes = kept().length
    expect(haveBytes).toBeGreaterThan(900_000)
    expect(kept().equals(object.subarray(0, haveBytes))).toBe(true)
    store.servedBytes = 0
    await fetch()
    expect(store.servedBytes).toBe(object.length - haveBytes)
  })

  it('aborted before the store has answered - CANCELLED, the part stays, still empty', async () => {
    const controller = new AbortController()
    store.before = (operation) => {
      if (operation === 'read') controller.abort()
    }
    expect(await failureOf(fetch({}, controller.signal))).toMatchObject({ code: 'CANCELLED' })
    expect(left()).toEqual(['x.part'])
    expect(kept()).toHaveLength(0)
  })

  it('a link or a folder in its place - SPOOL_UNUSABLE, nothing written through it', async () => {
    const victim = join(folder, 'victim')
    await run('ln', ['-s', victim, keepDownload()])
    expect(await failureOf(fetch())).toMatchObject({ code: 'SPOOL_UNUSABLE' })
    expect(existsSync(victim)).toBe(false)
    await rm(keepDownload())
    await mkdir(keepDownload())
    expect(await failureOf(fetch())).toMatchObject({ code: 'SPOOL_UNUSABLE' })
  })

  it('a dump in place already - refused, and that file is left as it is', async () => {
    writeFileSync(join(folder, 'dump'), 'mine')
    expect(await failureOf(fetch())).toMatchObject({ code: 'SPOOL_UNUSABLE' })
    expect(readFileSync(join(folder, 'dump'), 'utf8')).toBe('mine')
  })
})

describe('without a file to keep it in', () => {
  it('cut in the middle - no file left; whole - only the dump', async () => {
    store.cutAfterBytes = 2_000_000
    expect(await failureOf(fetch({ keepDownload: undefined }))).toMatchObject({ code: 'STORE_UNREACHABLE' })
    expect(left()).toEqual([])
    store.cutAfterBytes = Number.POSITIVE_INFINITY
    await fetch({ keepDownload: undefined })
    expect(left()).toEqual(['dump'])
  })
})

describe('another process that fetches', () => {
  /** A store in a folder, and what the child is told. */
  async function task(): Promise<string> {
    await mkdir(join(folder, 'store'))
    const directory = new DirectoryStore(`file://${join(folder, 'store')}`, { clock: systemClock })
    await directory.put(key, object, { signal })
    const path = join(folder, 'task.json')
    const more = { store: directory.url, privatePath: keys.privatePath, file: join(folder, 'dump') }
    writeFileSync(path, JSON.stringify({ read: readOf(), ...more, keepDownload: join(folder, 'kept', 'x.part') }))
    await mkdir(join(folder, 'kept'))
    return path
  }

  it('killed in the middle - what it has kept is not downloaded again', async () => {
    const path = await task()
    const part = join(folder, 'kept', 'x.part')
    const fetching = spawn(process.execPath, [child, 'stall', path], { stdio: ['ignore', 'ignore', 'inherit'] })
    try {
      await eventually(() => (existsSync(part) ? statSync(part).size : 0)).toBeGreaterThan(1_000_000)
    } finally {
      fetching.kill('SIGKILL')
      await once(fetching, 'close')
    }
    const haveBytes = statSync(part).size
    expect(readFileSync(part).equals(object.subarray(0, haveBytes))).toBe(true)
    // Where the killed one stopped writing it has no dump to offer either.
    await rm(join(folder, 'dump'), { force: true })
    await fetch({ keepDownload: part })
    expect(store.servedBytes).toBe(object.length - haveBytes)
  })

  it('no space for what is kept - SPOOL_FULL that names the file, no dump left', async () => {
    const path = await task()
    const place = join(folder, 'kept')
    const inOwnMounts = process.getuid?.() === 0 ? ['--mount'] : ['--map-root-user', '--mount']
    const canMount = await run('unshare', [...inOwnMounts, 'mount', '-t', 'tmpfs', 'tmpfs', place]).then(
      () => true,
      () => false,
    )
    const node = `'${process.execPath}' '${child}' fetch '${path}'`
    // Where nothing may be mounted, a limit on the size of files stands in for the full disk.
    const script = canMount
      ? `mount -t tmpfs -o size=1m tmpfs '${place}' && ${node}`
      : `trap '' XFSZ; ulimit -f 2048; ${node} | cat`
    const command = canMount ? ['unshare', ...inOwnMounts, 'sh', '-c', script] : ['sh', '-c', script]
    const { stdout } = await run(command[0] as string, command.slice(1))
    expect(stdout.trim()).toBe(canMount ? `SPOOL_FULL ${join(place, 'x.part')}` : 'SPOOL_UNUSABLE')
    expect(existsSync(join(folder, 'dump'))).toBe(false)
  })

  it('a part cut to half a chunk by a crash - gone on with from there', async () => {
    await cutAfter(2_000_000)
    truncateSync(keepDownload(), 1_111_111)
    await fetch()
    expect(store.servedBytes).toBe(object.length - 1_111_111)
  })
})
