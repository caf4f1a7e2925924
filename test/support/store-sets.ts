import { type Clock, systemClock } from '../../src/clock.ts'
import { silentLog } from '../../src/log.ts'
import type { ObjectStore } from '../../src/storage/object-store.ts'
import { type NamedStore, StoreSet } from '../../src/storage/store-set.ts'

/** One store under one name, with one set of rights. */
export function namedStore(store: ObjectStore, name = 'store', isRequired = true): NamedStore {
  return { name, isRequired, writer: store, reader: store, pruner: store }
}

/** As most installations have it: one store; `others` come after it. */
export function storeSetOf(
  store: ObjectStore,
  clock: Clock = systemClock,
  others: readonly NamedStore[] = [],
): StoreSet {
  return new StoreSet([namedStore(store), ...others], { clock, log: silentLog })
}
