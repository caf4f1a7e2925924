import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { assertNotDoneElsewhere } from '../../src/backup/not-done-elsewhere.ts'
import { systemClock } from '../../src/clock.ts'
import { labelPrefix } from '../../src/domain/backup-label.ts'
import { encodeManifest } from '../../src/domain/manifest.ts'
import { PgproofError } from '../../src/errors.ts'
import { createLog, silentLog } from '../../src/log.ts'
import { backupPrefix, objectNames } from '../../src/storage/object-keys.ts'
import type { StoreSet } from '../../src/storage/store-set.ts'
import { manifestAt, rolesManifestAt } from '../catalog/stored.ts'
import { openScripted, s3Error } from '../storage/scripted-store.ts'
import { MemoryStore } from '../support/memory-store.ts'
import { namedStore, storeSetOf } from '../support/store-sets.ts'

const shop = { kind: 'database', server: 'main', database: 'shop' } as const
const roles = { kind: 'roles', server: 'main', database: null } as const
const dueTime = new Date('2026-03-01T02:00:00Z')
const due = { time: dueTime, until: new Date('2026-03-02T02:00:00Z') }
const second = 1_000

/** What a store holds of the backup that began so long after the due time. */
const keysOf = (
  afterMs: number,
  names: readonly string[],
  place: Parameters<typeof backupPrefix>[0] = shop,
): string[] =>
  names.map((name) => `${backupPrefix(place)}${labelPrefix(new Date(dueTime.getTime() + afterMs))}-7k2m/${name}`)

const whole = [objectNames.recovery, objectNames.dumpZstd, objectNames.evidence, objectNames.manifest]
const withoutManifest = whole.slice(0, -1)

/** A manifest is one of the place that its key names. */
function contentsOf(key: string): Uint8Array {
  if (!key.endsWith(`/${objectNames.manifest}`)) return Buffer.from('x')
  const [kind, server = '', ...rest] = key.split('/')
  const label = rest.at(-2) ?? ''
  if (kind === 'roles') return encodeManifest({ ...rolesManifestAt(dueTime.toISOString()), server, label })
  return encodeManifest({ ...manifestAt(dueTime.toISOString()), server, database: rest[0] ?? '', label })
}

async function holding(...keys: readonly string[]): Promise<MemoryStore> {
  const store = new MemoryStore()
  const { signal } = new AbortController()
  for (const key of keys) await store.put(key, contentsOf(key), { signal })
  return store
}

const ask = (stores: StoreSet, place: typeof shop | typeof roles = shop) =>
  assertNotDoneElsewhere(place, due, { stores, log: silentLog }, new AbortController().signal)

const doneElsewhere = { code: 'CANCELLED', message: expect.stringContaining('done elsewhere meanwhile') }

describe('a scheduled backup that another daemon may have made', () => {
  it.each([
    ['a second before the due time', 'not done', -second],
    ['a day before it', 'not done', -86_400 * second],
    ['in the very second of it', 'done', 0],
    ['an hour after it', 'done', 3_600 * second],
    ['a second before the next due time', 'done', 86_399 * second],
    ['at the next due time, by a clock that was ahead', 'not done', 86_400 * second],
    ['ten years later, by a clock that was ahead', 'not done', 3_650 * 86_400 * second],
  ])('a backup that began %s - %s', async (_when, outcome, afterMs) => {
    const asked = ask(storeSetOf(await holding(...keysOf(afterMs, whole))))
    if (outcome === 'done') await expect(asked).rejects.toMatchObject(doneElsewhere)
    else await expect(asked).resolves.toBeUndefined()
  })

  it('objects without a manifest, of one that is being written or that failed - not done', async () => {
    await ask(storeSetOf(await holding(...keysOf(60 * second, withoutManifest))))
  })

  it('a manifest that is damaged, of another place, or under no label - not done', async () => {
    const { signal } = new AbortController()
    const store = await holding(...keysOf(60 * second, withoutManifest))
    const [manifest = ''] = keysOf(60 * second, [objectNames.manifest])
    await store.put(manifest, Buffer.from('{"format": 1'), { signal })
    const [of = ''] = keysOf(90 * second, [objectNames.manifest], { ...shop, database: 'other' })
    await store.put(of.replace('/other/', '/shop/'), contentsOf(of), { signal })
    await store.put(`${backupPrefix(shop)}zz/${objectNames.manifest}`, contentsOf(manifest), { signal })
    await ask(storeSetOf(store))
  })

  it('a manifest of a newer pgproof - nobody knows what it says, so it is backed up, and the log tells why', async () => {
    const [key = ''] = keysOf(second, [objectNames.manifest])
    const store = await holding()
    const newer = { ...JSON.parse(Buffer.from(contentsOf(key)).toString()), format: 99 }
    await store.put(key, Buffer.from(JSON.stringify(newer)), { signal: new AbortController().signal })
    const lines: string[] = []
    const log = createLog({ level: 'warn', format: 'json' }, (line) => lines.push(line))
    await assertNotDoneElsewhere(shop, due, { stores: storeSetOf(store), log }, new AbortController().signal)
    expect(lines.map((line) => JSON.parse(line))).toMatchObject([
      { msg: 'whether another daemon was faster could not be asked', reason: expect.stringContaining('99') },
    ])
  })

  it('objects without a manifest, and then a whole backup - done', async () => {
    const keys = [...keysOf(60 * second, withoutManifest), ...keysOf(120 * second, whole)]
    await expect(ask(storeSetOf(await holding(...keys)))).rejects.toMatchObject(doneElsewhere)
  })

  it('a backup of the roles - is none of a database, and the other way round', async () => {
    const ofRoles = await holding(...keysOf(second, [objectNames.roles, objectNames.manifest], roles))
    await ask(storeSetOf(ofRoles))
    await expect(ask(storeSetOf(ofRoles), roles)).rejects.toMatchObject({
      message: expect.stringContaining('roles backup of main'),
    })
    await ask(storeSetOf(await holding(...keysOf(second, whole))), roles)
  })

  it('a backup of a database whose name begins like this one - not done', async () => {
    await ask(storeSetOf(await holding(...keysOf(second, whole, { ...shop, database: 'shop2' }))))
  })

  it('asked for by a person, so that no time is due - no store is asked', async () => {
    const store = await holding(...keysOf(second, whole))
    await assertNotDoneElsewhere(
      shop,
      undefined,
      { stores: storeSetOf(store), log: silentLog },
      new AbortController().signal,
    )
    expect(store.calls.filter((call) => call.startsWith('list'))).toEqual([])
  })

  it('only an optional store has it - it is not asked; only the second required one has it - done', async () => {
    const optional = await holding(...keysOf(second, whole))
    await ask(storeSetOf(await holding(), systemClock, [namedStore(optional, 'optional', false)]))
    expect(optional.calls.filter((call) => call.startsWith('list'))).toEqual([])
    await expect(ask(storeSetOf(await holding(), systemClock, [namedStore(optional, 'second')]))).rejects.toMatchObject(
      doneElsewhere,
    )
  })

  it('a store that fails - says nothing, and the next one is asked all the same', async () => {
    const failing = await holding(...keysOf(second, whole))
    failing.before = (operation) => {
      if (operation === 'list') throw new PgproofError('STORE_UNREACHABLE', { store: failing.url, reason: 'down' })
    }
    await ask(storeSetOf(failing))
    const healthy = namedStore(await holding(...keysOf(second, whole)), 'second')
    await expect(ask(storeSetOf(failing, systemClock, [healthy]))).rejects.toMatchObject(doneElsewhere)
  })

  it('a fault of the program while a store is asked - is not taken for a silent store', async () => {
    const faulty = await holding()
    faulty.before = () => {
      throw new TypeError('a fault')
    }
    await expect(ask(storeSetOf(faulty))).rejects.toThrow(TypeError)
  })

  it('aborted while a store does not answer - ends at once, by what the abort says', async () => {
    const aborting = new AbortController()
    const silent = await holding()
    silent.before = async () => {
      aborting.abort(new PgproofError('DEADLINE_EXCEEDED', { what: 'the backup', deadline: '1 s' }))
      await delay(60_000, undefined, { signal: aborting.signal }).catch(() => {
        throw new PgproofError('STORE_UNREACHABLE', { store: silent.url, reason: 'the call was ended' })
      })
    }
    await expect(
      assertNotDoneElsewhere(shop, due, { stores: storeSetOf(silent), log: silentLog }, aborting.signal),
    ).rejects.toMatchObject({
      code: 'DEADLINE_EXCEEDED',
    })
  })

  it('years of backups in a bucket - one page is asked for, from the due time on', async () => {
    await using server = await openScripted((request) =>
      request.query.get('list-type') === '2'
        ? { status: 200, body: '<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>' }
        : s3Error(400, 'NotAsked'),
    )
    await ask(storeSetOf(server.store))
    expect(server.requests.map(({ query }) => [query.get('prefix'), query.get('start-after')])).toEqual([
      [`p/${backupPrefix(shop)}`, `p/${backupPrefix(shop)}20260301T020000Z`],
    ])
  })
})
