import { describe, expect, it } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { PgproofError } from '../../src/errors.ts'
import {
  assertMarked,
  type MarkedStore,
  type MarkerWish,
  readStoreMarker,
  type SettledMarkers,
  settleMarkers,
} from '../../src/jobs/store-marker.ts'
import { MemoryStore } from '../support/memory-store.ts'
import { SilentStore } from '../support/silent-store.ts'

const { signal } = new AbortController()
const ids = {
  one: '11111111-1111-4111-8111-111111111111',
  other: '22222222-2222-4222-8222-222222222222',
} as const
const reading: MarkerWish = { mayMark: false, isInit: false }
const writing: MarkerWish = { mayMark: true, isInit: false }
const init: MarkerWish = { mayMark: true, isInit: true }

type Given = Partial<Pick<MarkedStore, 'isRequired' | 'id'>> & {
  readonly kind?: 'bucket' | 'directory'
  readonly marker?: string
  readonly createdAt?: string
  readonly isDown?: boolean
}

/** A store in memory that passes for a bucket or a directory. */
function storeOf(name: string, { kind = 'bucket', isRequired = true, id, marker, createdAt, isDown }: Given = {}) {
  const store = new MemoryStore()
  const url = kind === 'bucket' ? `s3://${name}/prefix` : `file:///mnt/${name}`
  if (marker !== undefined) plant(store, { format: 1, storeId: marker, createdAt: createdAt ?? '2026-11-01T00:00:00Z' })
  if (isDown === true)
    store.before = () => {
      throw new PgproofError('STORE_UNREACHABLE', { store: url, reason: 'connection refused' })
    }
  return { name, isRequired, id, url, writer: store, reader: store, store }
}

function plant(store: MemoryStore, document: unknown): void {
  const body = Buffer.from(typeof document === 'string' ? document : JSON.stringify(document))
  store.objects.set('pgproof.json', { body, modifiedAt: new Date() })
}

type TestStore = ReturnType<typeof storeOf>

async function settle(stores: readonly TestStore[], wish: MarkerWish): Promise<SettledMarkers | null> {
  return await settleMarkers(stores, wish, systemClock, signal)
}

/** The ids in the stores afterwards. */
const markersOf = (stores: readonly TestStore[]): Promise<(string | undefined)[]> =>
  Promise.all(stores.map(async ({ store }) => (await readStoreMarker(store, signal))?.storeId))

async function codeOf(promise: Promise<unknown>): Promise<string> {
  return await promise.then(
    () => 'done',
    (error: unknown) => (error instanceof PgproofError ? error.code : String(error)),
  )
}

describe('one store', () => {
  it('a marked one - its id and age, whatever is wished; nothing is written', async () => {
    for (const wish of [reading, writing, init]) {
      const one = storeOf('a', { marker: ids.one })
      expect(await settle([one], wish)).toEqual({
        storeId: ids.one,
        createdAt: new Date('2026-11-01T00:00:00Z'),
        marked: [],
        faults: new Map(),
      })
      expect(one.store.calls).toEqual(['get pgproof.json'])
    }
  })

  it('a new bucket - marked when something is written, null when it is only read', async () => {
    const one = storeOf('a')
    expect(await settle([one], reading)).toBeNull()
    expect(one.store.keys()).toEqual([])
    const settled = await settle([one], writing)
    expect(settled?.marked).toEqual(['a'])
    expect(await markersOf([one])).toEqual([settled?.storeId])
  })

  it('a directory without a marker - never marked by the way; the hint names mount and init', async () => {
    const one = storeOf('a', { kind: 'directory' })
    expect(await settle([one], reading)).toBeNull()
    const error = await settle([one], writing).catch((thrown: unknown) => thrown as PgproofError)
    expect(error).toMatchObject({ code: 'STORE_UNMARKED' })
    expect((error as PgproofError).hint).toMatch(/mount it\. If this is a new store, run `pgproof init` once\./)
    expect(one.store.keys()).toEqual([])
    expect((await settle([one], init))?.marked).toEqual(['a'])
    expect((await settle([one], init))?.marked).toEqual([])
  })

  it('an id that is configured - demanded of the marker, and given by init only', async () => {
    const one = storeOf('a', { id: ids.one })
    expect(await codeOf(settle([one], writing))).toBe('STORE_UNMARKED')
    expect(one.store.keys()).toEqual([])
    expect((await settle([one], init))?.storeId).toBe(ids.one)
    expect(await markersOf([one])).toEqual([ids.one])
    for (const wish of [reading, writing, init])
      expect(await codeOf(settle([storeOf('a', { id: ids.one, marker: ids.other })], wish))).toBe('STORE_FOREIGN')
  })

  it('of a newer format, broken, or of somebody else - an error, and the marker stays as it is', async () => {
    for (const [document, code] of [
      [{ format: 2, storeId: 'something else' }, 'STORE_FORMAT_NEWER'],
      ['{"format": 1', 'STORE_FORMAT_INVALID'],
      ['', 'STORE_FORMAT_INVALID'],
      [{ name: 'pgproof', version: '1.0.0' }, 'STORE_FORMAT_INVALID'],
      [{ format: 1, storeId: 'no uuid', createdAt: '2026-11-01T00:00:00Z' }, 'STORE_FORMAT_INVALID'],
    ] as const)
      for (const wish of [reading, writing, init]) {
        const one = storeOf('a')
        plant(one.store, document)
        const before = one.store.text('pgproof.json')
        expect(await codeOf(settle([one], wish))).toBe(code)
        expect(one.store.text('pgproof.json')).toBe(before)
      }
  })

  it('a store that does not answer - its own error, also when it is only read', async () => {
    for (const wish of [reading, writing, init])
      expect(await codeOf(settle([storeOf('a', { isDown: true })], wish))).toBe('STORE_UNREACHABLE')
  })

  it('marked by another pgproof at the same moment - the first marker counts for both', async () => {
    const store = storeOf('a')
    const settled = await Promise.all([settle([store], writing), settle([store], writing), settle([store], writing)])
    expect(new Set(settled.map((one) => one?.storeId))).toEqual(new Set(await markersOf([store])))
  })

  it('a new bucket that may not be written to - STORE_DENIED, and it stays unmarked', async () => {
    const one = storeOf('a')
    one.store.before = (operation) => {
      if (operation === 'put')
        throw new PgproofError('STORE_DENIED', { operation: 'PutObject', reason: 'AccessDenied' })
    }
    expect(await codeOf(settle([one], writing))).toBe('STORE_DENIED')
    expect(one.store.keys()).toEqual([])
  })

  it('cancelled - CANCELLED', async () => {
    const one = storeOf('a')
    const settled = settleMarkers([one], writing, systemClock, AbortSignal.abort())
    expect(await codeOf(settled)).toBe('CANCELLED')
  })
})

describe('several stores', () => {
  it('all new - one id for all; looked at side by side', async () => {
    const stores = [storeOf('a'), storeOf('b', { isRequired: false }), storeOf('c')]
    const settled = await settle(stores, writing)
    expect(settled?.marked).toEqual(['a', 'b', 'c'])
    expect(await markersOf(stores)).toEqual([settled?.storeId, settled?.storeId, settled?.storeId])
  })

  it('one is marked - its id is given to the new ones, and the oldest tells the age', async () => {
    const stores = [
      storeOf('a'),
      storeOf('b', { marker: ids.one, createdAt: '2026-11-05T00:00:00Z' }),
      storeOf('c', { marker: ids.one, createdAt: '2026-11-02T00:00:00Z' }),
    ]
    const settled = await settle(stores, writing)
    expect(settled).toMatchObject({ storeId: ids.one, createdAt: new Date('2026-11-02T00:00:00Z'), marked: ['a'] })
    expect(await markersOf(stores)).toEqual([ids.one, ids.one, ids.one])
  })

  it('another id in a store that is not required - left alone, and the others go on without it', async () => {
    for (const wish of [reading, writing]) {
      const stores = [storeOf('a', { marker: ids.one }), storeOf('b', { marker: ids.other, isRequired: false })]
      const settled = await settle(stores, wish)
      expect([settled?.storeId, settled?.faults.get('b')?.code]).toEqual([ids.one, 'STORE_FOREIGN'])
      expect(await markersOf(stores)).toEqual([ids.one, ids.other])
    }
  })

  it('marked by another installation at the same moment - STORE_FOREIGN, and its marker stays', async () => {
    const stores = [storeOf('a', { marker: ids.one }), storeOf('b', { isRequired: false })]
    const [, late] = stores
    if (late === undefined) throw new Error('no store')
    late.store.before = (operation) => {
      if (operation === 'put') plant(late.store, { format: 1, storeId: ids.other, createdAt: '2026-11-01T00:00:00Z' })
    }
    expect(await codeOf(settle(stores, writing))).toBe('STORE_FOREIGN')
    expect(await markersOf(stores)).toEqual([ids.one, ids.other])
  })

  it('two ids in one list - STORE_FOREIGN that names store and ids, and nothing is marked', async () => {
    for (const wish of [reading, writing, init])
      for (const isRequired of wish === init ? [true, false] : [true]) {
        const stores = [
          storeOf('a', { marker: ids.one }),
          storeOf('b', { marker: ids.other, isRequired }),
          storeOf('c'),
        ]
        const error = (await settle(stores, wish).catch((thrown: unknown) => thrown)) as PgproofError
        expect(error.code).toBe('STORE_FOREIGN')
        expect(error.message).toBe(
          `store "b" at s3://b/prefix is of another installation: its id is ${ids.other}, not ${ids.one}`,
        )
        expect(await markersOf(stores)).toEqual([ids.one, ids.other, undefined])
      }
  })

  it('an optional one of a newer format - thrown all the same: to write there would harm it', async () => {
    const stores = [storeOf('a', { marker: ids.one }), storeOf('b', { isRequired: false })]
    plant((stores[1] as TestStore).store, { format: 2 })
    for (const wish of [reading, writing]) expect(await codeOf(settle(stores, wish))).toBe('STORE_FORMAT_NEWER')
  })

  it('an optional one down or unmounted - goes on without it, and says why', async () => {
    for (const [given, code] of [
      [{ isDown: true }, 'STORE_UNREACHABLE'],
      [{ kind: 'directory' }, 'STORE_UNMARKED'],
    ] as const) {
      const stores = [storeOf('a', { marker: ids.one }), storeOf('b', { ...given, isRequired: false })]
      for (const wish of [reading, writing]) {
        const settled = await settle(stores, wish)
        expect([...(settled?.faults ?? [])].map(([name, error]) => [name, error.code])).toEqual([['b', code]])
      }
    }
  })

  it('a required one down or unmounted - throws where something is written, goes on where it is read', async () => {
    for (const [given, code] of [
      [{ isDown: true }, 'STORE_UNREACHABLE'],
      [{ kind: 'directory' }, 'STORE_UNMARKED'],
    ] as const) {
      const stores = [storeOf('a', given), storeOf('b', { marker: ids.one })]
      expect(await codeOf(settle(stores, writing))).toBe(code)
      const settled = await settle(stores, reading)
      expect([settled?.storeId, settled?.faults.get('a')?.code]).toEqual([ids.one, code])
    }
  })

  it('a new one beside one that does not answer - not marked: the other may have an id already', async () => {
    for (const wish of [writing, init])
      for (const isRequired of [true, false]) {
        const stores = [storeOf('a'), storeOf('b', { isDown: true, isRequired })]
        expect(await codeOf(settle(stores, wish))).toBe('STORE_UNREACHABLE')
        expect((stores[0] as TestStore).store.keys()).toEqual([])
      }
  })

  it('a new bucket beside an unmounted directory - not marked either', async () => {
    const stores = [storeOf('a', { kind: 'directory', isRequired: false }), storeOf('b')]
    expect(await codeOf(settle(stores, writing))).toBe('STORE_UNMARKED')
    expect((stores[1] as TestStore).store.keys()).toEqual([])
  })

  it('all down - throws; one empty and one down - throws, for nobody knows what is in it', async () => {
    expect(await codeOf(settle([storeOf('a', { isDown: true }), storeOf('b', { isDown: true })], reading))).toBe(
      'STORE_UNREACHABLE',
    )
    expect(await codeOf(settle([storeOf('a'), storeOf('b', { isDown: true })], reading))).toBe('STORE_UNREACHABLE')
    expect(await settle([storeOf('a'), storeOf('b', { kind: 'directory' })], reading)).toBeNull()
  })

  it('init with an optional one that is down - marks the others, and says which is left', async () => {
    const stores = [
      storeOf('a', { marker: ids.one }),
      storeOf('b', { kind: 'directory' }),
      storeOf('c', { isDown: true, isRequired: false }),
    ]
    const settled = await settle(stores, init)
    expect([settled?.marked, [...(settled?.faults.keys() ?? [])]]).toEqual([['b'], ['c']])
  })

  it('two daemons begin with the same two new buckets - both have one id afterwards', async () => {
    for (let round = 0; round < 20; round += 1) {
      const stores = [storeOf('a'), storeOf('b')]
      const [first, second] = await Promise.all([settle(stores, writing), settle(stores, writing)])
      const [a, b] = await markersOf(stores)
      expect([first?.storeId, second?.storeId, b]).toEqual([a, a, a])
    }
  })
})

describe('a store that never answers', () => {
  const soon: MarkerWish = { ...writing, optionalMs: 50 }

  function silent(name: string, isRequired: boolean): MarkedStore {
    const store = new SilentStore(`s3://${name}/prefix`)
    return { name, isRequired, id: undefined, url: store.url, writer: store, reader: store }
  }

  it('not required - is given up, with the reason, and the others are used', async () => {
    const settled = await settleMarkers(
      [storeOf('a', { marker: ids.one }), silent('b', false)],
      soon,
      systemClock,
      signal,
    )
    expect(settled?.storeId).toBe(ids.one)
    expect(settled?.faults.get('b')).toMatchObject({
      code: 'STORE_FAILED',
      message: 'the store failed at reading pgproof.json: it gave no answer within 0.05 s, and is not waited for',
    })
  })

  it('not required, beside a new bucket - nothing is marked: it may have an id already', async () => {
    const a = storeOf('a')
    const settled = settleMarkers([a, silent('b', false)], soon, systemClock, signal)
    await expect(settled).rejects.toMatchObject({ code: 'STORE_FAILED' })
    expect(await markersOf([a])).toEqual([undefined])
  })

  it('required - is waited for until the command is cancelled', async () => {
    const run = new AbortController()
    const settled = settleMarkers([silent('a', true)], soon, systemClock, run.signal)
    run.abort(new PgproofError('CANCELLED', { what: 'the look' }))
    await expect(settled).rejects.toMatchObject({ code: 'CANCELLED' })
  })
})

describe('before each backup', () => {
  it('marker there, gone, exchanged, or not to be read - nothing, STORE_UNMARKED, STORE_FOREIGN, its own error', async () => {
    const { store } = storeOf('a', { marker: ids.one })
    await assertMarked(store, ids.one, signal)
    expect(await codeOf(assertMarked(store, ids.other, signal))).toBe('STORE_FOREIGN')
    store.objects.clear()
    expect(await codeOf(assertMarked(store, ids.one, signal))).toBe('STORE_UNMARKED')
    expect(await codeOf(assertMarked(storeOf('b', { isDown: true }).store, ids.one, signal))).toBe('STORE_UNREACHABLE')
  })
})
