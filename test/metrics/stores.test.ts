import { describe, expect, it } from 'vitest'
import { Catalog } from '../../src/catalog/catalog.ts'
import { PgproofError } from '../../src/errors.ts'
import { silentLog } from '../../src/log.ts'
import { createMetrics, type MetricsParts } from '../../src/metrics/metrics.ts'
import { StoreSet } from '../../src/storage/store-set.ts'
import { manifestAt, recordOf, signal, storeBackup, storeRecord } from '../catalog/stored.ts'
import { MemoryStore } from '../support/memory-store.ts'
import { idleQueue } from '../support/queue-views.ts'
import { namedStore } from '../support/store-sets.ts'
import { clockAt, serverConfig } from './made-up-catalog.ts'

const clock = clockAt('2026-11-20T12:00:00Z')
const old = manifestAt('2026-11-19T02:00:00Z')
const newest = manifestAt('2026-11-20T02:00:00Z')
const seconds = (instant: string): number => Date.parse(instant) / 1000

/** Samples whose name begins so, by store. */
async function samplesOf(metric: string, stores: StoreSet, catalog: Catalog): Promise<Record<string, number>> {
  const parts: MetricsParts = {
    catalog,
    config: {
      servers: [serverConfig('main')],
      stores: [] as unknown as MetricsParts['config']['stores'],
      timezone: 'UTC',
      drill: { pick: 'random' },
    },
    clock,
    stores,
    planned: () => [],
    queueView: () => idleQueue(clock.now()),
    keyExpiries: () => [],
    configReload: () => ({ isSuccessful: true, lastSuccessAt: new Date(0), needsRestart: [] }),
    version: '9.9.9',
  }
  const text = await createMetrics(parts).text()
  const lines = text
    .split('\n')
    .filter((line) => line.startsWith(`pgproof_${metric}{`) && !line.includes('database=""'))
  return Object.fromEntries(
    lines.map((line) => [/store="([^"]*)"/.exec(line)?.[1] ?? '', Number(line.slice(line.lastIndexOf(' ') + 1))]),
  )
}

describe('two stores', () => {
  it('one lacks the newest backup, and is caught up - each store has samples of its own', async () => {
    const [a, b] = [new MemoryStore(clock), new MemoryStore(clock)]
    for (const manifest of [old, newest]) await storeBackup(a, manifest)
    await storeBackup(b, old)
    const stores = new StoreSet([namedStore(a, 'a'), namedStore(b, 'b', false)], { clock, log: silentLog })
    const catalog = new Catalog({ clock })
    await catalog.refresh(stores, signal)
    const read = (metric: string) => samplesOf(metric, stores, catalog)
    const points = { a: seconds('2026-11-20T02:00:00Z'), b: seconds('2026-11-19T02:00:00Z') }
    expect(await read('store_recovery_point_timestamp_seconds')).toEqual(points)
    expect(await read('store_lacking_backups')).toEqual({ a: 0, b: 1 })
    const bytes = await read('store_bytes')
    expect(bytes['a']).toBe(2 * (bytes['b'] ?? 0))
    await storeBackup(b, newest)
    await catalog.refresh(stores, signal)
    expect(await read('store_lacking_backups')).toEqual({ a: 0, b: 0 })
    expect(await read('store_recovery_point_timestamp_seconds')).toEqual({ a: points.a, b: points.a })
  })

  it('one stops answering - it is told to be down and lacks nothing that is known; the other is up', async () => {
    const [a, b] = [new MemoryStore(clock), new MemoryStore(clock)]
    for (const store of [a, b]) await storeBackup(store, old)
    await storeBackup(a, newest)
    const stores = new StoreSet([namedStore(a, 'a'), namedStore(b, 'b', false)], { clock, log: silentLog })
    const catalog = new Catalog({ clock })
    await catalog.refresh(stores, signal)
    b.before = () => {
      throw new PgproofError('STORE_UNREACHABLE', { store: 'b', reason: 'gone' })
    }
    await catalog.refresh(stores, signal)
    expect(await samplesOf('store_up', stores, catalog)).toEqual({ a: 1, b: 0 })
    expect(await samplesOf('store_lacking_backups', stores, catalog)).not.toHaveProperty('b')
    expect(await samplesOf('store_recovery_point_timestamp_seconds', stores, catalog)).toHaveProperty('b')
  })

  it('pruned in one - is not lacking there', async () => {
    const [a, b] = [new MemoryStore(clock), new MemoryStore(clock)]
    for (const manifest of [old, newest]) await storeBackup(a, manifest)
    await storeBackup(b, newest)
    await storeRecord(b, recordOf([old]))
    const stores = new StoreSet([namedStore(a, 'a'), namedStore(b, 'b')], { clock, log: silentLog })
    const catalog = new Catalog({ clock })
    await catalog.refresh(stores, signal)
    expect(await samplesOf('store_lacking_backups', stores, catalog)).toEqual({ a: 0, b: 0 })
  })
})
