import { chmod, mkdir, mkdtemp, readdir, readFile, rm, symlink, truncate, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { DirectoryStore } from '../../src/storage/directory.ts'
import { bytesOf, chunks, collect, objectStoreSuite } from './object-store.suite.ts'
import { canMount, inOwnMounts, nodeLine } from './own-mounts.ts'

objectStoreSuite('directory', async () => {
  const root = await mkdtemp(join(tmpdir(), 'pgproof store '))
  const store = new DirectoryStore(pathToFileURL(root).href, { clock: systemClock })
  return {
    store,
    partBytes: 2 ** 20,
    unfinished: async () => (await allNames(root)).filter((name) => name.endsWith('.part')).length,
    close: async () => {
      await store.close()
      await rm(root, { recursive: true })
    },
  }
})

describe('directory as a store', () => {
  const { signal } = new AbortController()
  let home: string
  let root: string
  let store: DirectoryStore

  beforeEach(async () => {
    home = await mkdtemp(join(tmpdir(), 'pgproof-directory-'))
    root = join(home, 'root')
    await mkdir(root)
    store = new DirectoryStore(`file://${root}`, { clock: systemClock })
  })
  afterEach(async () => {
    await rm(home, { recursive: true })
  })

  it('clock skew - unknown before the first write', () => {
    expect(store.clockSkewSeconds()).toBeUndefined()
  })

  it('root missing - every call rejects with STORE_BUCKET_MISSING and does not create it', async () => {
    await rm(root, { recursive: true })
    const calls = [
      store.put('a/b', Buffer.from('x'), { signal }),
      store.write('a/b', chunks(1, 1), { signal }),
      store.get('a/b', { signal }),
      store.read('a/b', { signal }),
      store.head('a/b', { signal }),
      collect(store.list('', { signal })),
      store.delete('a/b', { signal }),
      store.sweepUnfinished(new Date(), { signal }),
    ]
    for (const call of await Promise.allSettled(calls))
      expect(call).toMatchObject({ status: 'rejected', reason: { code: 'STORE_BUCKET_MISSING' } })
    expect(await readdir(home)).toEqual([])
  })

  it('root is a file - STORE_BUCKET_MISSING', async () => {
    await writeFile(join(home, 'file'), 'x')
    const wrong = new DirectoryStore(`file://${home}/file`, { clock: systemClock })
    await expect(wrong.head('a', { signal })).rejects.toMatchObject({ code: 'STORE_BUCKET_MISSING' })
  })

  it('root is a symbolic link to a directory - used like the directory', async () => {
    await symlink(root, join(home, 'link'))
    const linked = new DirectoryStore(`file://${home}/link/`, { clock: systemClock })
    await linked.put('a/b', Buffer.from('x'), { signal })
    expect(await readFile(join(root, 'a/b'), 'utf8')).toBe('x')
    expect((await collect(linked.list('', { signal }))).map(({ key }) => key)).toEqual(['a/b'])
  })

  it.each(['file:///dir?x=1', 'file://host/dir', 'https://host/dir', 'no url'])('url %s - USAGE_INVALID', (url) => {
    expect(() => new DirectoryStore(url, { clock: systemClock })).toThrow(
      expect.objectContaining({ code: 'USAGE_INVALID' }),
    )
  })

  it('write under way - its temporary file is beside the target and hidden from listings', async () => {
    const source = (async function* () {
      yield Buffer.alloc(600_000)
      expect(await readdir(join(root, 'x'))).toEqual([expect.stringMatching(/^\.pgproof-[0-9a-f]{16}\.part$/)])
      expect(await collect(store.list('', { signal }))).toEqual([])
      yield Buffer.alloc(1)
    })()
    await store.write('x/dump', source, { signal })
    expect(await readdir(join(root, 'x'))).toEqual(['dump'])
  })

  it('folders emptied by a delete - removed up to the root, which stays', async () => {
    await store.put('a/b/c/one', Buffer.from('x'), { signal })
    await store.put('a/two', Buffer.from('x'), { signal })
    await store.delete('a/b/c/one', { signal })
    expect(await allNames(root)).toEqual(['a', 'a/two'])
    await store.delete('a/two', { signal })
    expect(await allNames(home)).toEqual(['root'])
  })

  it('folder removed by another writer just before the file is made - made again', async () => {
    const source = (async function* () {
      yield Buffer.alloc(10)
    })()
    const others = Promise.all(
      Array.from({ length: 200 }, async (_, index) => {
        await store.put(`same/folder/o${index}`, Buffer.from('x'), { signal })
        await store.delete(`same/folder/o${index}`, { signal })
      }),
    )
    await Promise.all([others, store.write('same/folder/kept', source, { signal })])
    expect((await collect(store.list('', { signal }))).map(({ key }) => key)).toEqual(['same/folder/kept'])
  })

  it('failed write in a folder of its own - the folder is gone as well', async () => {
    const source = (async function* () {
      yield Buffer.alloc(10)
      throw new Error('midway')
    })()
    await expect(store.write('a/b/dump', source, { signal })).rejects.toThrow('midway')
    expect(await allNames(root)).toEqual([])
  })

  it('symbolic links below the root - not listed, not read, not written through', async () => {
    const outside = join(home, 'outside')
    await mkdir(outside)
    await writeFile(join(outside, 'secret'), 'secret')
    await symlink(outside, join(root, 'folder'))
    await symlink(join(outside, 'secret'), join(root, 'file'))
    expect(await collect(store.list('', { signal }))).toEqual([])
    expect(await store.head('file', { signal })).toBeUndefined()
    await expect(store.get('file', { signal })).rejects.toMatchObject({ code: 'STORE_NOT_FOUND' })
    const calls = [
      store.get('folder/secret', { signal }),
      store.head('folder/secret', { signal }),
      store.put('folder/new', Buffer.from('x'), { signal }),
      store.put('folder/deep/new', Buffer.from('x'), { signal }),
      store.delete('folder/secret', { signal }),
      collect(store.list('folder/', { signal })),
    ]
    for (const call of await Promise.allSettled(calls))
      expect(call).toMatchObject({ status: 'rejected', reason: { code: 'STORE_DENIED' } })
    // A write replaces a link, it does not follow it.
    await store.put('file', Buffer.from('new'), { signal })
    expect(await readFile(join(root, 'file'), 'utf8')).toBe('new')
    expect(await allNames(outside)).toEqual(['secret'])
    expect(await readFile(join(outside, 'secret'), 'utf8')).toBe('secret')
  })

  it('temporary files of a crash - swept when old, kept when young, folders with them', async () => {
    await mkdir(join(root, 'a/b'), { recursive: true })
    await mkdir(join(root, 'c'))
    const old = join(root, 'a/b/.pgproof-0123456789abcdef.part')
    await writeFile(old, 'half')
    await writeFile(join(root, 'c/.pgproof-fedcba9876543210.part'), 'half')
    await writeFile(join(root, 'c/.other.part'), 'somebody else’s')
    await utimes(old, new Date(0), new Date(0))
    expect(await store.sweepUnfinished(new Date(Date.now() - 60_000), { signal })).toBe(1)
    expect(await allNames(root)).toEqual(['c', 'c/.other.part', 'c/.pgproof-fedcba9876543210.part'])
  })

  it('name of a temporary file as a key - STORE_DENIED', async () => {
    const key = 'a/.pgproof-0123456789abcdef.part'
    await expect(store.put(key, Buffer.from('x'), { signal })).rejects.toMatchObject({ code: 'STORE_DENIED' })
  })

  it('twenty writers put one key if absent - exactly one wins', async () => {
    const puts = Array.from({ length: 20 }, (_, index) =>
      store.put('marker', Buffer.from(String(index)), { signal, ifAbsent: true }),
    )
    const outcomes = await Promise.allSettled(puts)
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    for (const outcome of outcomes)
      if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ code: 'STORE_EXISTS' })
    expect(await allNames(root)).toEqual(['marker'])
  })

  it('file cut short while it is read - the stream errors with STORE_FAILED instead of ending early', async () => {
    await store.write('dump', chunks(4_000_000, 100_000), { signal })
    const stream = await store.read('dump', { signal })
    await truncate(join(root, 'dump'), 1_000_000)
    await expect(bytesOf(stream)).rejects.toMatchObject({ code: 'STORE_FAILED' })
  })

  it('key below an object - STORE_FAILED for a write, absent for a read', async () => {
    await store.put('a', Buffer.from('x'), { signal })
    await expect(store.put('a/b', Buffer.from('x'), { signal })).rejects.toMatchObject({ code: /^STORE_/ })
    expect(await store.head('a/b', { signal })).toBeUndefined()
    await expect(store.get('a/b', { signal })).rejects.toMatchObject({ code: 'STORE_NOT_FOUND' })
  })

  it('source fails with an error of the file system - passed on, not blamed on the store', async () => {
    const source = (async function* () {
      yield Buffer.alloc(10)
      await readFile(join(home, 'absent'))
    })()
    await expect(store.write('dump', source, { signal })).rejects.toMatchObject({ code: 'ENOENT' })
  })

  it('no space left - STORE_FULL, nothing visible, no temporary file', async () => {
    const lines = (await canMount())
      ? ['mount -t tmpfs -o size=2m tmpfs root', nodeLine('directory-full.child.ts', 'root')]
      : // Without the right to mount, a limit on the size of files stands in for the full disk.
        ["trap '' XFSZ", 'ulimit -f 2000', nodeLine('directory-full.child.ts', 'root')]
    expect(await inOwnMounts(home, lines)).toBe('STORE_FULL small')
  })

  it('directory that may not be written - STORE_DENIED, nothing changed', async () => {
    await chmod(home, 0o755)
    await store.put('small', Buffer.from('x'), { signal })
    await chmod(root, 0o555)
    expect(await inOwnMounts(home, [nodeLine('directory-full.child.ts', 'root', 'nobody')])).toBe('STORE_DENIED small')
    await chmod(root, 0o755)
  })
})

/** Every name below `folder`, in order. */
async function allNames(folder: string): Promise<string[]> {
  return (await readdir(folder, { recursive: true })).sort()
}
