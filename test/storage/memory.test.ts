import { MemoryStore } from '../support/memory-store.ts'
import { objectStoreSuite } from './object-store.suite.ts'

objectStoreSuite('memory', async () => {
  const store = new MemoryStore()
  return { store, partBytes: 2 ** 20, unfinished: async () => store.unfinished.length, close: () => store.close() }
})
