import { expect, it } from 'vitest'
import { readKept } from '../../src/stored/kept-download.ts'
import { failureOf } from '../streams/processes.ts'
import { MemoryStore } from '../support/memory-store.ts'

// Where nothing is mapped, reading a process' own memory ends with EIO, as reading a bad sector does.
it.runIf(process.platform === 'linux')(
  'a disk that cannot read what was kept - SPOOL_UNUSABLE, the store is not asked',
  async () => {
    const store = new MemoryStore()
    const kept = { path: '/proc/self/mem', store, key: 'backups/main/app/x/dump.zst.pgp', bytes: 10 }
    const read = async (): Promise<void> => {
      for await (const _chunk of readKept(kept, new AbortController().signal)) throw new Error('something was read')
    }
    expect(await failureOf(read())).toMatchObject({
      code: 'SPOOL_UNUSABLE',
      message: expect.stringContaining('EIO'),
    })
    expect(store.calls).toEqual([])
  },
)
