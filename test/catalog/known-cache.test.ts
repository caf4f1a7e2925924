import { createHash } from 'node:crypto'
import {
  chmod,
  chown,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  symlink,
  truncate,
  writeFile,
} from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { KnownDocuments } from '../../src/catalog/contents.ts'
import { KnownCache } from '../../src/catalog/known-cache.ts'
import { cutsAmong } from '../../src/catalog/list-in-parallel.ts'
import type { ReportTrust } from '../../src/catalog/read-document.ts'
import { rebuildFromStore } from '../../src/catalog/rebuild.ts'
import { encodePause, type PauseDocument } from '../../src/domain/pause.ts'
import { createLog } from '../../src/log.ts'
import { pauseKey } from '../../src/storage/object-keys.ts'
import { MemoryStore } from '../support/memory-store.ts'
import { manyObjects } from './many-backups.ts'
import { labelAt, manifestAt, present, signal, storeBackup } from './stored.ts'

const fingerprint = 'F'.repeat(40)
const identity = ['store-id', 'memory://store']
let folder: string
let store: MemoryStore
let lines: string[]

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pgproof-test-cache-'))
  lines = []
  store = new MemoryStore()
  const sign = { fingerprint, by: async () => Buffer.from('signature') }
  for await (const { key, body } of manyObjects({ backups: 50, drills: 10, prunes: 3, until: present, sign }))
    store.objects.set(key, { body: Buffer.from(body), modifiedAt: present })
})

afterEach(async () => {
  await rm(folder, { recursive: true, force: true })
})

function openCache(of: readonly string[] = identity): KnownCache {
  return new KnownCache(
    folder,
    of,
    createLog({ level: 'debug', format: 'text' }, (line) => lines.push(line)),
  )
}

function trustIn(keys: string, judged: string[] = []): ReportTrust {
  return {
    identity: keys,
    storeId: null,
    verify: async (_bytes, _signature, what) => {
      judged.push(what)
      return { fingerprint }
    },
  }
}

/** Writes the cache of the store as it is, and returns what was known. */
async function save(): Promise<KnownDocuments> {
  const { known } = await rebuildFromStore(store, new Map(), trustIn('ours'), signal)
  await openCache().write(known, signal)
  return known
}

async function cacheFile(): Promise<string> {
  const [name] = await readdir(folder)
  return join(folder, name ?? '')
}

async function readsWith(known: KnownDocuments, trust: ReportTrust = trustIn('ours')): Promise<string[]> {
  store.calls.length = 0
  await rebuildFromStore(store, known, trust, signal)
  return store.calls.filter((call) => call.startsWith('get '))
}

/** The file with other lines, and a checksum that fits. */
async function forge(change: (text: string) => string): Promise<void> {
  const path = await cacheFile()
  const text = change((await readFile(path, 'utf8')).slice(0, -65))
  await writeFile(path, `${text}${createHash('sha256').update(text).digest('hex')}\n`)
}

describe('a start with a cache', () => {
  it('the store is unchanged - known as before, nothing is read or judged', async () => {
    const known = await save()
    const cached = await openCache().read()
    expect(cached).toEqual(known)
    const judged: string[] = []
    expect(await readsWith(cached, trustIn('ours', judged))).toEqual([])
    expect(judged).toEqual([])
    const { mode } = await stat(await cacheFile())
    expect(mode & 0o777).toBe(0o600)
  })

  it('a document that is larger, younger or has another ETag - that one is read again, the store counts', async () => {
    await save()
    const [bytes, time, etag] = store.keys().filter((key) => key.endsWith('/manifest.json'))
    const stored = (key = '') => store.objects.get(key) ?? expect.unreachable()
    stored(bytes).body = Buffer.concat([stored(bytes).body, Buffer.from('\n')])
    stored(time).modifiedAt = new Date(present.getTime() + 1)
    const list = store.list.bind(store)
    store.list = async function* (prefix, options) {
      for await (const info of list(prefix, options)) yield info.key === etag ? { ...info, etag: '"other"' } : info
    }
    expect(await readsWith(await openCache().read())).toEqual([bytes, time, etag].map((key) => `get ${key}`))
  })

  it('a backup that is gone from the store - gone, whatever the cache says', async () => {
    await save()
    for (const key of store.keys()) if (key.startsWith('backups/')) store.objects.delete(key)
    const contents = await rebuildFromStore(store, await openCache().read(), trustIn('ours'), signal)
    expect([...contents.backups.keys()].filter((key) => key.startsWith('backups/'))).toEqual([])
  })

  it('other trusted keys, or none, since - every report is read and judged anew', async () => {
    await save()
    const judged: string[] = []
    expect(await readsWith(await openCache().read(), trustIn('theirs', judged))).toHaveLength(20)
    expect(judged).toHaveLength(10)
    store.calls.length = 0
    await rebuildFromStore(store, await openCache().read(), null, signal)
    expect(store.calls.filter((call) => call.startsWith('get drills/'))).toHaveLength(10)
  })

  it('the signature of a report was replaced or removed - that report is judged anew', async () => {
    await save()
    const [replaced = '', removed = ''] = store
      .keys()
      .filter((key) => key.endsWith('.json.sig') && key.startsWith('drills/'))
    store.objects.set(replaced, { body: Buffer.from('another signature'), modifiedAt: present })
    store.objects.delete(removed)
    const judged: string[] = []
    const contents = await rebuildFromStore(store, await openCache().read(), trustIn('ours', judged), signal)
    expect(judged).toEqual([replaced.slice(0, -4)])
    expect([...contents.damaged.keys()]).toEqual([removed.slice(0, -4)])
  })

  it('damaged documents - not kept, each start looks at them anew', async () => {
    const key = `backups/main/app/${labelAt('2020-01-01T00:00:00Z')}/manifest.json`
    await store.put(key, Buffer.from('{}'), { signal })
    await save()
    expect(await readsWith(await openCache().read())).toEqual([`get ${key}`])
  })
})

describe('where to cut a listing, by the cache', () => {
  const keys = Array.from(
    { length: 500 },
    (_, index) => `backups/main/app/${labelAt(present.toISOString(), `${1000 + index}`)}/manifest.json`,
  )

  async function saveMany(): Promise<void> {
    const [any] = (await rebuildFromStore(store, new Map(), null, signal)).known.values()
    const known = new Map(
      keys.map((key) => [key, { ...(any ?? expect.unreachable()), info: { key, bytes: 1, modifiedAt: present } }]),
    )
    await openCache().write(known, signal)
  }

  it('a file of ours - told with the documents; none - nowhere', async () => {
    expect(await openCache().open().cuts).toEqual([])
    await saveMany()
    const { cuts, documents } = openCache().open()
    expect(await cuts).toEqual(cutsAmong(keys))
    expect(await cuts).not.toEqual([])
    expect([...(await documents).keys()]).toEqual(keys)
  })

  it('no list, other things in it, or no JSON - only what could be keys, no failure', async () => {
    const line = JSON.stringify(cutsAmong(keys))
    for (const [other, cuts] of [
      ['{}', []],
      ['[1,"backups/a",null]', ['backups/a']],
      ['[', []],
      ['', []],
      [JSON.stringify(Array.from({ length: 20_000 }, String)), []],
    ] as const) {
      await rm(await cacheFile()).catch(() => {})
      await saveMany()
      await forge((text) => text.replace(line, other))
      expect(await openCache().open().cuts, other.slice(0, 30)).toEqual(cuts)
      expect((await openCache().read()).size).toBe(keys.length)
    }
  })
})

describe('a cache file that cannot be used', () => {
  async function expectIgnored(because: RegExp, of?: readonly string[]): Promise<void> {
    const cached = await openCache(of).read()
    expect(cached.size).toBe(0)
    expect(lines.join('')).toMatch(because)
    expect(await readsWith(cached)).toHaveLength(50 + 10 + 10 + 3)
  }

  it('none - everything is read, nothing is said', async () => {
    expect((await openCache().read()).size).toBe(0)
    expect(lines).toEqual([])
  })

  it('cut short at any place, empty, or no such file at all - ignored', async () => {
    await save()
    const path = await cacheFile()
    const whole = await readFile(path)
    for (const bytes of [0, 10, 64, 65, 66, 1000, whole.length - 65, whole.length - 1]) {
      await writeFile(path, whole.subarray(0, bytes))
      await expectIgnored(/it is damaged/)
    }
    await writeFile(path, '\n'.repeat(500))
    await expectIgnored(/it is damaged/)
  })

  it('one bit flipped anywhere - ignored', async () => {
    await save()
    const path = await cacheFile()
    const whole = await readFile(path)
    for (const at of [0, 100, 2000, whole.length - 70, whole.length - 2]) {
      const flipped = Buffer.from(whole)
      flipped[at] = (flipped[at] as number) ^ 1
      await writeFile(path, flipped)
      await expectIgnored(/it is damaged/)
    }
  })

  it('of another version, or put in place of another store’s - ignored', async () => {
    await save()
    await forge((text) => text.replace('"version":"', '"version":"0.0.'))
    await expectIgnored(/another store or another version/)
    await rm(await cacheFile())
    await save()
    const other = ['other-id', 'memory://store']
    await openCache(other).write((await rebuildFromStore(store, new Map(), null, signal)).known, signal)
    const [one = '', two = ''] = (await readdir(folder)).map((name) => join(folder, name))
    await rename(one, `${one}.aside`)
    await rename(two, one)
    await rename(`${one}.aside`, two)
    await expectIgnored(/another store or another version/)
    await expectIgnored(/another store or another version/, other)
  })

  it('rows by other rules under a checksum that fits - ignored', async () => {
    for (const change of [
      (text: string) => text.replaceAll('"storeId"', '"storeName"'),
      (text: string) => text.replaceAll('"removed":', '"gone":'),
      (text: string) => text.replaceAll('"document":', '"paper":'),
      (text: string) => `${text}no JSON\n`,
      (text: string) => `${text}null\n`,
    ]) {
      await rm(await cacheFile(), { force: true, recursive: false }).catch(() => {})
      await save()
      await forge(change)
      await expectIgnored(/is not used/)
    }
  })

  it('others may open it, too large, a link, a folder - ignored', async () => {
    await save()
    const path = await cacheFile()
    await chmod(path, 0o640)
    await expectIgnored(/others may open it/)
    await chmod(path, 0o600)
    // Sparse: nothing is written.
    await truncate(path, 2 ** 29 + 1)
    await expectIgnored(/too large/)
    await rm(path)
    await save()
    await rename(path, `${path}.real`)
    await symlink(`${path}.real`, path)
    await expectIgnored(/ELOOP/)
    await rm(path)
    await mkdir(path)
    await expectIgnored(/no regular file/)
  })

  it.runIf(process.geteuid?.() === 0)('of another user - ignored', async () => {
    await save()
    await chown(await cacheFile(), 65534, 65534)
    await expectIgnored(/another user/)
  })
})

describe('writing', () => {
  it('pauses, and more than a megabyte - read back as they were', async () => {
    const pause: PauseDocument = {
      ...{ format: 1, kind: 'pause', label: labelAt('2026-11-20T11:00:00Z', 'pa11'), server: 'main', database: null },
      ...{ jobs: ['backup'], since: '2026-11-20T11:00:00.000Z', until: '2026-11-21T11:00:00.000Z' },
      ...{ reason: 'new rack', by: 'ops' },
    }
    await store.put(pauseKey(pause.label), encodePause(pause), { signal })
    for await (const { key, body } of manyObjects({ backups: 700, drills: 0, prunes: 3, until: present }))
      if (!store.objects.has(key)) store.objects.set(key, { body: Buffer.from(body), modifiedAt: present })
    const known = await save()
    expect((await stat(await cacheFile())).size).toBeGreaterThan(2 ** 20)
    const read = await openCache().read()
    expect(new Map(read)).toEqual(new Map(known))
    expect(read.get(pauseKey(pause.label))?.document).toEqual({ kind: 'pause', pause })
  })

  it('few changes in a large store - not written again; a tenth of them - written', async () => {
    await save()
    const written = await readFile(await cacheFile())
    const cache = openCache()
    const known = await cache.read()
    await storeBackup(store, manifestAt('2019-01-01T00:00:00Z'))
    await cache.write((await rebuildFromStore(store, known, trustIn('ours'), signal)).known, signal)
    expect(await readFile(await cacheFile())).toEqual(written)
    for (const hour of [10, 11, 12, 13, 14, 15, 16]) await storeBackup(store, manifestAt(`2019-01-02T${hour}:00:00Z`))
    await cache.write((await rebuildFromStore(store, known, trustIn('ours'), signal)).known, signal)
    expect((await openCache().read()).size).toBe(known.size + 8)
  })

  it('a folder that cannot be made - one warning however often it is tried, and no failure', async () => {
    await writeFile(join(folder, 'file'), '')
    const log = createLog({ level: 'warn', format: 'text' }, (line) => lines.push(line))
    const cache = new KnownCache(join(folder, 'file', 'spool'), identity, log)
    const { known } = await rebuildFromStore(store, new Map(), null, signal)
    expect((await cache.read()).size).toBe(0)
    await cache.write(known, signal)
    await cache.write(known, signal)
    expect(lines).toHaveLength(1)
    expect(lines[0]).toContain('cannot write the index cache')
  })

  it('the name is taken by a folder - a warning, nothing unfinished is left', async () => {
    await save()
    const path = await cacheFile()
    await rm(path)
    await mkdir(join(path, 'inside'), { recursive: true })
    await save()
    expect(lines.join('')).toContain('cannot write the index cache')
    expect(await readdir(folder)).toHaveLength(1)
  })

  it('aborted - CANCELLED, the old file stays, nothing unfinished is left', async () => {
    await save()
    const path = await cacheFile()
    const written = await readFile(path)
    const { known } = await rebuildFromStore(store, new Map(), null, signal)
    await expect(openCache().write(known, AbortSignal.abort())).rejects.toMatchObject({ code: 'CANCELLED' })
    expect([await readdir(folder), await readFile(path)]).toEqual([[path.slice(folder.length + 1)], written])
  })

  it('left by a process that died while it wrote - removed; of one that lives - left alone', async () => {
    await save()
    const path = await cacheFile()
    await rm(path)
    await writeFile(`${path}.4194305.new`, 'unfinished')
    await writeFile(`${path}.1.new`, 'being written')
    await save()
    expect((await readdir(folder)).map((name) => name.replace(/^.*\.cache/, '')).sort()).toEqual(['', '.1.new'])
  })
})
