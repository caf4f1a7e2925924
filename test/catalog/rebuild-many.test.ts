import { beforeAll, describe, expect, it } from 'vitest'
import type { KnownDocuments, StoreContents } from '../../src/catalog/contents.ts'
import { cutsAmong } from '../../src/catalog/list-in-parallel.ts'
import { rebuildFromStore } from '../../src/catalog/rebuild.ts'
import { PgproofError } from '../../src/errors.ts'
import { MemoryStore } from '../support/memory-store.ts'
import { manyObjects } from './many-backups.ts'
import { manifestAt, present, signal, storeBackup } from './stored.ts'

const counts = { backups: 1600, drills: 320, prunes: 48 }
const documents = counts.backups + counts.drills + counts.prunes

let filled: MemoryStore
let known: KnownDocuments

beforeAll(async () => {
  filled = new MemoryStore()
  for await (const { key, body } of manyObjects({ ...counts, until: present }))
    filled.objects.set(key, { body: Buffer.from(body), modifiedAt: present })
  known = (await rebuildFromStore(filled, new Map(), null, signal)).known
})

function copyOfFilled(): MemoryStore {
  const store = new MemoryStore()
  for (const [key, object] of filled.objects) store.objects.set(key, { ...object })
  return store
}

function callsOf(store: MemoryStore, operation: string): string[] {
  return store.calls.filter((call) => call.startsWith(`${operation} `))
}

function sizesOf({ backups, drills, prunes, damaged, orphans }: StoreContents): number[] {
  return [backups, drills, prunes, damaged, orphans].map(({ size }) => size)
}

describe('many backups', () => {
  it('nothing known - each prefix listed once, each document read once, at most 128 at a time', async () => {
    const store = copyOfFilled()
    let reading = 0
    let most = 0
    store.before = async (operation) => {
      if (operation !== 'get') return
      reading += 1
      most = Math.max(most, reading)
      await new Promise((resolve) => setImmediate(resolve))
      reading -= 1
    }
    const contents = await rebuildFromStore(store, new Map(), null, signal)
    expect(sizesOf(contents)).toEqual([counts.backups, counts.drills, counts.prunes, 0, 0])
    expect([callsOf(store, 'list').length, callsOf(store, 'get').length, most]).toEqual([6, documents, 128])
  })

  it('everything known - listed in pieces, nothing read, the same contents', async () => {
    const store = copyOfFilled()
    const contents = await rebuildFromStore(store, known, null, signal)
    expect(callsOf(store, 'list').filter((call) => call === 'list backups/')).toHaveLength(8)
    expect(callsOf(store, 'get')).toEqual([])
    expect(contents).toEqual(await rebuildFromStore(filled, new Map(), null, signal))
  })

  it('backups came and went since, also at the cuts - the pieces together show exactly what is there', async () => {
    const store = copyOfFilled()
    const folders = [...new Set(store.keys().map((key) => key.slice(0, key.lastIndexOf('/') + 1)))]
    const gone = folders.filter((folder, index) => folder.startsWith('backups/') && index % 3 === 0)
    for (const key of store.keys()) if (gone.some((folder) => key.startsWith(folder))) store.objects.delete(key)
    for (const server of ['a-first', 'main', 'zz-last'])
      await storeBackup(store, manifestAt('2019-01-01T00:00:00Z', { server }))
    const contents = await rebuildFromStore(store, known, null, signal)
    expect(contents.backups.size).toBe(counts.backups - gone.length + 3)
    expect(callsOf(store, 'get')).toHaveLength(3)
    expect([...contents.backups.keys()]).toEqual([
      ...(await rebuildFromStore(store, new Map(), null, signal)).backups.keys(),
    ])
  })

  it('one piece of the listing fails - throws', async () => {
    const store = copyOfFilled()
    let lists = 0
    store.before = (operation, key) => {
      if (operation !== 'list' || key !== 'backups/') return
      lists += 1
      if (lists === 2) throw new PgproofError('STORE_UNREACHABLE', { store: 'memory', reason: 'connection reset' })
    }
    await expect(rebuildFromStore(store, known, null, signal)).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' })
  })
})

describe('documents read while the store is listed', () => {
  /** The store with a listing of backups that waits, or fails, after its first page. */
  function afterFirstPage(store: MemoryStore, then: () => Promise<void>): MemoryStore {
    const list = store.list.bind(store)
    store.list = async function* (prefix, options) {
      let left = 1000
      for await (const info of list(prefix, options)) {
        yield info
        left -= 1
        if (prefix === 'backups/' && left === 0) await then()
      }
    }
    return store
  }

  it('nothing known - manifests of the first page are read before the next one is there; all is as otherwise', async () => {
    const store = copyOfFilled()
    const read = Promise.withResolvers<void>()
    store.before = (operation, key) => {
      if (operation === 'get' && key.startsWith('backups/')) read.resolve()
    }
    const contents = await rebuildFromStore(
      afterFirstPage(store, async () => await read.promise),
      new Map(),
      null,
      signal,
    )
    expect(contents).toEqual(await rebuildFromStore(filled, new Map(), null, signal))
    expect([...contents.known.keys()]).toEqual([
      ...(await rebuildFromStore(filled, new Map(), null, signal)).known.keys(),
    ])
  })

  it('the listing fails - throws once nothing is read any more', async () => {
    const store = copyOfFilled()
    let reading = 0
    store.before = async (operation) => {
      if (operation !== 'get') return
      reading += 1
      await new Promise((resolve) => setImmediate(resolve))
      reading -= 1
    }
    afterFirstPage(store, async () => {
      throw new PgproofError('STORE_UNREACHABLE', { store: 'memory', reason: 'connection reset' })
    })
    await expect(rebuildFromStore(store, new Map(), null, signal)).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' })
    const reads = callsOf(store, 'get').length
    await new Promise((resolve) => setImmediate(resolve))
    expect([reading, callsOf(store, 'get').length]).toEqual([0, reads])
    expect(reads).toBeLessThan(documents)
  })

  it('what was known comes late - nothing that it holds is read', async () => {
    const store = copyOfFilled()
    const late = Promise.withResolvers<KnownDocuments>()
    store.before = (operation, key) => {
      if (operation === 'list' && key === 'prunes/') late.resolve(known)
    }
    const before = { cuts: Promise.resolve(cutsAmong(known.keys())), documents: late.promise }
    const contents = await rebuildFromStore(store, before, null, signal)
    expect(callsOf(store, 'get')).toEqual([])
    expect(contents).toEqual(await rebuildFromStore(filled, new Map(), null, signal))
  })
})

describe('where a listing is cut', () => {
  it('many backups - no piece is longer than a page of a thousand objects', () => {
    const keys = filled.keys()
    const cuts = cutsAmong(known.keys())
    expect(cuts).toEqual(cuts.toSorted())
    for (const prefix of ['backups/', 'roles/', 'drills/']) {
      const own = keys.filter((key) => key.startsWith(prefix)).sort()
      const ends = [...cuts.filter((cut) => cut.startsWith(prefix)), undefined]
      const pieces = ends.map((end, index) =>
        own.filter((key) => (index === 0 || key > (ends[index - 1] ?? '')) && (end === undefined || key <= end)),
      )
      expect(pieces.flat()).toEqual(own)
      expect(Math.max(...pieces.map(({ length }) => length)), prefix).toBeLessThan(1000)
    }
  })

  it('keys that stores may order in another way - not there', () => {
    const names = Array.from({ length: 3000 }, (_, index) => `backups/ä/${1000 + index}/manifest.json`)
    expect(cutsAmong(names)).toEqual([])
  })

  it('cuts in any order, twice, of other prefixes, or of keys that never were - every backup is there', async () => {
    const odd = ['backups/west/', 'backups/a', 'backups/zzz', 'backups/main/app/2', 'backups/main/app/2', 'x/y', '']
    const before = { cuts: Promise.resolve(odd), documents: Promise.resolve(known) }
    const store = copyOfFilled()
    expect(await rebuildFromStore(store, before, null, signal)).toEqual(
      await rebuildFromStore(filled, new Map(), null, signal),
    )
    expect(callsOf(store, 'get')).toEqual([])
  })
})

describe('a store that cannot be listed in pieces', () => {
  async function backupsListedBy(change: (store: MemoryStore, list: MemoryStore['list']) => MemoryStore['list']) {
    const store = copyOfFilled()
    store.list = change(store, store.list.bind(store))
    return [...(await rebuildFromStore(store, known, null, signal)).backups.keys()].sort()
  }
  const all = () => filled.keys().flatMap((key) => /^((?:backups|roles)\/.*\/)manifest\.json$/.exec(key)?.[1] ?? [])

  it('it ignores where to begin - every backup is there, once', async () => {
    const found = await backupsListedBy((_store, list) => (prefix) => list(prefix, { signal }))
    expect(found).toEqual(all())
  })

  it('it lists in no order - every backup is there', async () => {
    const found = await backupsListedBy(
      (_store, list) =>
        async function* (prefix, options) {
          const infos = []
          for await (const info of list(prefix, options)) infos.push(info)
          yield* infos.reverse()
        },
    )
    expect(found).toEqual(all())
  })

  it('it begins some keys too late - every backup is there', async () => {
    const found = await backupsListedBy(
      (_store, list) =>
        async function* (prefix, options) {
          let skipped = options.after === undefined ? 7 : 0
          for await (const info of list(prefix, options)) {
            skipped += 1
            if (skipped > 7) yield info
          }
        },
    )
    expect(found).toEqual(all())
  })
})
