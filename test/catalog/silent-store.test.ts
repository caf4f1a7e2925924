import { describe, expect, it } from 'vitest'
import { Catalog } from '../../src/catalog/catalog.ts'
import { systemClock } from '../../src/clock.ts'
import { PgproofError } from '../../src/errors.ts'
import { silentLog } from '../../src/log.ts'
import { StoreSet } from '../../src/storage/store-set.ts'
import { MemoryStore } from '../support/memory-store.ts'
import { SilentStore } from '../support/silent-store.ts'
import { namedStore } from '../support/store-sets.ts'
import { clock, manifestAt, signal, storeBackup } from './stored.ts'

const optionalMs = 50
const newest = manifestAt('2026-11-19T02:00:00Z')

/** `a` holds a backup and is required; `b` never answers. */
async function withSilent({ isRequired = false } = {}) {
  const [a, b] = [new MemoryStore(clock), new SilentStore()]
  await storeBackup(a, newest)
  const named = [namedStore(a, 'a'), namedStore(b, 'b', isRequired)]
  return { a, b, stores: new StoreSet(named, { clock: systemClock, log: silentLog, optionalMs }) }
}

describe('a refresh with an optional store that never answers', () => {
  it('ends with what the other one holds, and its standing says why it was not read', async () => {
    const { stores } = await withSilent()
    const catalog = new Catalog({ clock: systemClock })
    await catalog.refresh(stores, signal)
    expect(catalog.newest('main', 'app')?.manifest.label).toBe(newest.label)
    expect(catalog.isComplete).toBe(true)
    const [a, b] = catalog.standings()
    expect(a).toMatchObject({ name: 'a', isComplete: true, error: null })
    expect(b).toMatchObject({ name: 'b', isComplete: false, readAt: null })
    expect(b?.error?.message).toMatch(/reading it: it gave no answer within \d+(\.\d)? s, and is not waited for$/)
  })

  it('what was known of it stays known', async () => {
    const { stores, b } = await withSilent()
    const catalog = new Catalog({ clock: systemClock })
    const held = new MemoryStore(clock)
    await storeBackup(held, newest)
    const before = new StoreSet([...stores.named.slice(0, 1), namedStore(held, 'b', false)], {
      clock: systemClock,
      log: silentLog,
    })
    await catalog.refresh(before, signal)
    const readAt = catalog.standings()[1]?.readAt
    await catalog.refresh(stores, signal)
    expect(b.calls.length).toBeGreaterThan(0)
    expect(catalog.inStore('b').backups()).toHaveLength(1)
    expect(catalog.standings()[1]).toMatchObject({ isComplete: false, readAt })
  })

  it('a required one that takes long - the optional one may take three times that', async () => {
    const { stores, a } = await withSilent()
    const slowMs = 150
    a.before = async (operation) => {
      // Three rows of listings follow one another.
      if (operation === 'list') await systemClock.sleep(slowMs / 3, signal)
    }
    const catalog = new Catalog({ clock: systemClock })
    const start = systemClock.monotonicMs()
    await catalog.refresh(stores, signal)
    expect(systemClock.monotonicMs() - start).toBeGreaterThan(4 * slowMs * 0.9)
    expect(catalog.newest('main', 'app')).toBeDefined()
  })

  it('cancelled meanwhile - throws why', async () => {
    const { stores } = await withSilent({ isRequired: true })
    const run = new AbortController()
    const refreshed = new Catalog({ clock: systemClock }).refresh(stores, run.signal)
    run.abort(new PgproofError('CANCELLED', { what: 'the reading' }))
    await expect(refreshed).rejects.toMatchObject({ code: 'CANCELLED' })
  })
})
