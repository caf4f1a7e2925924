import { setImmediate } from 'node:timers/promises'
import { expect, it } from 'vitest'
import type { StoreContents } from '../../src/catalog/contents.ts'
import { readStores } from '../../src/catalog/read-stores.ts'
import { systemClock } from '../../src/clock.ts'
import { collectGarbage } from '../support/collect-garbage.ts'
import { MemoryStore } from '../support/memory-store.ts'
import { namedStore, storeSetOf } from '../support/store-sets.ts'
import { clock, manifestAt, signal, storeBackup } from './stored.ts'

it('what was read and is not used any more - is given back at once, not when the patience with an optional store ends', async () => {
  const [near, far] = [new MemoryStore(clock), new MemoryStore(clock)]
  for (const store of [near, far]) await storeBackup(store, manifestAt('2026-11-19T02:00:00Z'))
  const stores = storeSetOf(near, systemClock, [namedStore(far, 'far', false)])
  const read = await readAndForget(async () => await readStores(stores, () => new Map(), null, systemClock, signal))
  expect(read).toHaveLength(2)
  // What a WeakRef was made for in this turn of the event loop is kept until its end.
  await setImmediate()
  collectGarbage()
  expect(read.filter((one) => one.deref() !== undefined)).toHaveLength(0)
})

async function readAndForget(
  read: () => Promise<readonly PromiseSettledResult<StoreContents>[]>,
): Promise<WeakRef<StoreContents>[]> {
  return (await read()).flatMap((end) => (end.status === 'fulfilled' ? [new WeakRef(end.value)] : []))
}
