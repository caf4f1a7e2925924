import { Catalog } from '../../src/catalog/catalog.ts'
import type { DrillReport } from '../../src/domain/drill-report.ts'
import type { Manifest } from '../../src/domain/manifest.ts'
import { silentLog } from '../../src/log.ts'
import { StoreSet } from '../../src/storage/store-set.ts'
import { MemoryStore } from '../support/memory-store.ts'
import { namedStore } from '../support/store-sets.ts'
import { clock, recordOf, signal, storeBackup, storeRecord, storeReport } from './stored.ts'

export type Held = {
  readonly backups?: readonly Manifest[]
  readonly reports?: readonly DrillReport[]
  /** What a prune of this store removed, as its record says. */
  readonly pruned?: readonly Manifest[]
}

export type Several = {
  readonly catalog: Catalog
  /** By the names `a`, `b`, `c`. */
  readonly stores: Readonly<Record<string, MemoryStore>>
  readonly set: StoreSet
  refresh(): Promise<void>
}

/** Stores `a`, `b` and so on with what they hold, not read yet. */
export async function several(...held: readonly Held[]): Promise<Several> {
  const stores: Record<string, MemoryStore> = {}
  for (const [index, { backups = [], reports = [], pruned = [] }] of held.entries()) {
    const store = new MemoryStore(clock)
    stores[String.fromCharCode(97 + index)] = store
    for (const manifest of backups) await storeBackup(store, manifest)
    for (const report of reports) await storeReport(store, report)
    if (pruned.length > 0) await storeRecord(store, recordOf(pruned))
  }
  const named = Object.entries(stores).map(([name, store]) => namedStore(store, name))
  const set = new StoreSet(named, { clock, log: silentLog })
  const catalog = new Catalog({ clock })
  return { catalog, stores, set, refresh: () => catalog.refresh(set, signal) }
}

/** The same, read. */
export async function readSeveral(...held: readonly Held[]): Promise<Several> {
  const all = await several(...held)
  await all.refresh()
  return all
}
