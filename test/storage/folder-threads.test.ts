import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { lstat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Worker } from 'node:worker_threads'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { DirectoryStore } from '../../src/storage/directory.ts'
import { FolderThreads, IdleThreads } from '../../src/storage/folder-threads.ts'
import type { ObjectInfo } from '../../src/storage/object-store.ts'
import { collect } from './object-store.suite.ts'

const { signal } = new AbortController()
/** So many that threads list them. */
const many = 400

let root: string
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'pgproof-threads-'))
})
afterEach(() => {
  rmSync(root, { recursive: true, force: true })
})

function write(key: string | Buffer, body = 'x'): void {
  const path = Buffer.concat([Buffer.from(`${root}/`), Buffer.from(key)])
  mkdirSync(path.subarray(0, path.lastIndexOf('/')), { recursive: true })
  writeFileSync(path, body)
}

const list = async (prefix = '', after?: string): Promise<readonly ObjectInfo[]> =>
  await collect(new DirectoryStore(`file://${root}`, { clock: systemClock }).list(prefix, { signal, after }))
const keysOf = (infos: readonly ObjectInfo[]): string[] => infos.map(({ key }) => key)
const inByteOrder = (keys: readonly string[]): string[] =>
  keys.toSorted((one, other) => Buffer.compare(Buffer.from(one), Buffer.from(other)))

describe('a listing of many folders', () => {
  it('every file once, in byte order, whatever the names are, with the size and time that head tells', async () => {
    const odd = ['a', 'a-b', 'a.b', 'A', 'ä', '名', '\u{1f600}', '\uffee', '\ufffd', 'a b', '%41', 'deep/er/than/most']
    const keys = Array.from({ length: many }, (_, index) => `top/${index}/${odd[index % odd.length]}/object`)
    for (const [index, name] of odd.entries()) keys.push(`top/${name}-${index}`)
    for (const key of keys) write(key, key)
    const listed = await list()
    expect(keysOf(listed)).toEqual(inByteOrder(keys))
    for (const { key, bytes, modifiedAt, etag } of listed) {
      const { size, mtime, ctimeMs } = await lstat(join(root, key))
      expect({ key, bytes, modifiedAt, etag }).toEqual({ key, bytes: size, modifiedAt: mtime, etag: String(ctimeMs) })
    }
  })

  it('with a prefix and from a key on - exactly what is there, whether that key is one or not', async () => {
    const keys = Array.from({ length: many }, (_, index) => `top/folder-${1000 + index}/object`)
    for (const key of [...keys, 'other/object']) write(key)
    expect(keysOf(await list('top/folder-11'))).toEqual(keys.slice(100, 200))
    expect(keysOf(await list('top/', keys[250]))).toEqual(keys.slice(251))
    expect(keysOf(await list('top/', 'top/folder-1249'))).toEqual(keys.slice(249))
    expect(keysOf(await list('top/', 'top/folder-1249/zzz'))).toEqual(keys.slice(250))
  })

  it('links, names that are no UTF-8, unfinished writes and empty folders - none of them is an object', async () => {
    const keys = Array.from({ length: many }, (_, index) => `top/folder-${1000 + index}/object`)
    for (const key of keys) write(key)
    symlinkSync('/etc', join(root, 'top', 'folder-link'))
    symlinkSync('/etc/passwd', join(root, 'top', 'folder-1000', 'link'))
    write(Buffer.concat([Buffer.from('top/folder-1001/'), Buffer.from([0xff, 0xfe])]))
    write('top/folder-1002/.pgproof-0123456789abcdef.part')
    mkdirSync(join(root, 'top', 'folder-empty'))
    expect(keysOf(await list())).toEqual(keys)
  })

  it('stopped after the first object - nothing keeps the process, and the next listing is whole', async () => {
    const keys = Array.from({ length: many }, (_, index) => `top/folder-${1000 + index}/object`)
    for (const key of keys) write(key)
    const store = new DirectoryStore(`file://${root}`, { clock: systemClock })
    for await (const { key } of store.list('', { signal })) {
      expect(key).toBe(keys[0])
      break
    }
    expect(keysOf(await collect(store.list('', { signal })))).toEqual(keys)
  })

  it('cut off between two batches, again and again - leaves no thread behind', async () => {
    for (let index = 0; index < 600; index += 1) write(`top/folder-${1000 + index}/object`)
    const threads = (): number => readdirSync('/proc/self/task').length
    const store = new DirectoryStore(`file://${root}`, { clock: systemClock })
    await collect(store.list('', { signal }))
    const before = threads()
    for (let round = 0; round < 8; round += 1) {
      const cut = new AbortController()
      const listing = async (): Promise<void> => {
        for await (const _ of store.list('', { signal: cut.signal })) cut.abort()
      }
      await expect(listing()).rejects.toThrow()
    }
    await expect.poll(threads, { timeout: 10_000 }).toBeLessThanOrEqual(before)
  })

  it('several at once - each sees everything', async () => {
    const keys = Array.from({ length: many }, (_, index) => `top/folder-${1000 + index}/object`)
    for (const key of keys) write(key)
    for (const listed of await Promise.all([list(), list(), list()])) expect(keysOf(listed)).toEqual(keys)
  })

  it('a folder of many files - each once, in order, with the size and time that head tells; links and the like are none', async () => {
    const keys = Array.from({ length: 2 * many }, (_, index) => `drills/main/app/report-${1000 + index}.json`)
    for (const key of keys) write(key, key)
    symlinkSync('/etc/passwd', join(root, 'drills', 'main', 'app', 'link'))
    write(Buffer.concat([Buffer.from('drills/main/app/'), Buffer.from([0xff, 0xfe])]))
    write('drills/main/app/.pgproof-0123456789abcdef.part')
    const listed = await list('drills/')
    expect(keysOf(listed)).toEqual(keys)
    for (const { key, bytes, modifiedAt, etag } of listed) {
      const { size, mtime, ctimeMs } = await lstat(join(root, key))
      expect({ key, bytes, modifiedAt, etag }).toEqual({ key, bytes: size, modifiedAt: mtime, etag: String(ctimeMs) })
    }
    expect(keysOf(await list('drills/', keys[500]))).toEqual(keys.slice(501))
  })

  it('one listing after the other, also after the store was closed - each sees what is there by then', async () => {
    const keys = Array.from({ length: many }, (_, index) => `top/folder-${1000 + index}/object`)
    for (const key of keys) write(key)
    const store = new DirectoryStore(`file://${root}`, { clock: systemClock })
    expect(keysOf(await collect(store.list('top/', { signal })))).toEqual(keys)
    write('top/folder-new/object')
    expect(keysOf(await collect(store.list('', { signal })))).toEqual([...keys, 'top/folder-new/object'])
    rmSync(join(root, 'top', 'folder-1000'), { recursive: true })
    await store.close()
    expect(keysOf(await collect(store.list('top/folder-1', { signal })))).toEqual(keys.slice(1))
    await store.close()
  })
})

describe('threads that look into folders', () => {
  const range = { prefix: '', after: '' }

  it('a folder that somebody removed meanwhile - empty, and the others are seen', async () => {
    const idle = new IdleThreads()
    const threads = new FolderThreads(root, range, systemClock, idle)
    try {
      write('here/below/file')
      write('here/file')
      const opened = await Promise.all(threads.open(['gone/', 'here/']))
      expect(opened).toEqual([[[], ['here/below/', expect.objectContaining({ key: 'here/file', bytes: 1 })]]])
    } finally {
      threads.close()
      idle.close()
    }
  })

  /** The next thread that this process starts. */
  const nextThread = async (): Promise<Worker> => (await once(process, 'worker'))[0]
  /** No thread survives what is no request. */
  const failure = null

  it('one fails as a whole - whoever waits for it is told, and another one is asked from then on', async () => {
    const idle = new IdleThreads()
    write('here/file')
    const seen = [[expect.objectContaining({ key: 'here/file' })]]
    const started = nextThread()
    const threads = new FolderThreads(root, range, systemClock, idle)
    try {
      // More than it has at a time: it gets to the failure before it gets to the last of them.
      const opened = Promise.allSettled(threads.open(Array.from({ length: 1000 }, () => 'here/')))
      ;(await started).postMessage(failure)
      expect((await opened).at(-1)).toEqual({ status: 'rejected', reason: expect.any(TypeError) })
      expect(await Promise.all(threads.open(['here/']))).toEqual([seen])
      threads.close()
      const next = new FolderThreads(root, range, systemClock, idle)
      expect(await Promise.all(next.open(['here/']))).toEqual([seen])
      next.close()
    } finally {
      threads.close()
      idle.close()
    }
  })

  it('one fails that nobody needs now - the next listing has another one', async () => {
    const idle = new IdleThreads()
    write('here/file')
    const started = nextThread()
    const listed = async (): Promise<unknown> => {
      const threads = new FolderThreads(root, range, systemClock, idle)
      return await Promise.all(threads.open(['here/'])).finally(() => threads.close())
    }
    const first = await listed()
    const thread = await started
    thread.postMessage(failure)
    await once(thread, 'error')
    expect(await listed()).toEqual(first)
    idle.close()
  })

  it('asked after the listing has ended - told so', async () => {
    const threads = new FolderThreads(root, range, systemClock, new IdleThreads())
    threads.close()
    await expect(Promise.all(threads.open(['a/']))).rejects.toThrow('the listing has ended')
  })
})
