import { beforeAll, describe, expect, it } from 'vitest'
import type { KnownDocuments, StoreContents } from '../../src/catalog/contents.ts'
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
  it('nothing known - each prefix listed once, each document read once, at most 48 at a time', async () => {
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
    expect([callsOf(store, 'list').length, callsOf(store, 'get').length, most]).toEqual([6, documents, 48])
  })

  it('everything known - listed in pieces, nothing read, the same contents', async () => {
    const store = copyOfFilled()
    const contents = await rebuildFromStore(store, known, null, signal)
    expect(callsOf(store, 'list').filter((call) => call === 'list backups/')).toHaveLength(3)
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
