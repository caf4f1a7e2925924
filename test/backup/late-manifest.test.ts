import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { assertNotAborted, PgproofError } from '../../src/errors.ts'
import type { BucketProbe } from '../../src/storage/object-store.ts'
import { type TestInstallation, testDatabase, testInstallation } from '../support/installation.ts'
import { MemoryStore } from '../support/memory-store.ts'
import { query } from '../support/postgres-server.ts'

// A store may still be at work on the manifest when nobody waits for it any more: were the objects removed meanwhile, a
// backup would appear that is not there.

let database: Awaited<ReturnType<typeof testDatabase>>
beforeAll(async () => {
  database = await testDatabase('template0')
  await query(database.url, 'CREATE TABLE t AS SELECT generate_series(1, 1000) AS id')
})
afterAll(async () => {
  await database[Symbol.asyncDispose]()
})

/** Lets the put of a manifest end like this; the returned function carries it out all the same. */
function late(store: MemoryStore, end: (signal: AbortSignal) => void): () => Promise<void> {
  const { put } = store
  let arrive = async (): Promise<void> => {}
  store.put = async (key, body, options) => {
    if (!key.endsWith('/manifest.json')) return await put.call(store, key, body, options)
    arrive = async () => {
      store.put = put
      await put.call(store, key, body, { signal: new AbortController().signal })
    }
    end(options.signal)
  }
  return () => arrive()
}

const names = (store: MemoryStore) => store.keys().map((key) => key.split('/').at(-1))
const objects = ['RECOVERY.md', 'dump.zst.pgp', 'evidence.json.pgp']

/** The manifest arrives, and the backup that appears passes a drill. */
async function expectWholeOnce(test: TestInstallation, arrive: () => Promise<void>): Promise<void> {
  await arrive()
  expect(names(test.store)).toEqual([...objects, 'manifest.json'])
  expect(await test.run('drill', database.name)).toMatchObject({ drill: { report: { verdict: 'passed' } } })
}

describe('a manifest that arrives after the backup has failed', () => {
  it('the store did not answer - STORE_UNCERTAIN, the objects stay, and the backup is whole when it appears', async () => {
    await using test = await testInstallation()
    const arrive = late(test.store, () => {
      throw new PgproofError('STORE_UNCERTAIN', { key: 'manifest.json', reason: 'no answer' })
    })
    await expect(test.run('backup', database.name)).rejects.toMatchObject({ code: 'STORE_UNCERTAIN' })
    expect(names(test.store)).toEqual(objects)
    await expectWholeOnce(test, arrive)
  })

  it('the backup was cancelled while a bucket was taking it - CANCELLED, and the same', async () => {
    const store = Object.assign(new MemoryStore(), { probe: {} as BucketProbe })
    await using test = await testInstallation({}, { store })
    const cancelling = new AbortController()
    const arrive = late(store, (signal) => {
      cancelling.abort()
      assertNotAborted(signal, 'put of the manifest')
    })
    await expect(test.run('backup', database.name, {}, cancelling.signal)).rejects.toMatchObject({ code: 'CANCELLED' })
    expect(names(store)).toEqual(objects)
    await expectWholeOnce(test, arrive)
  })

  it('the store refused it - nothing is on its way, and nothing is left', async () => {
    await using test = await testInstallation()
    late(test.store, () => {
      throw new PgproofError('STORE_FAILED', { operation: 'put of the manifest', reason: 'refused' })
    })
    await expect(test.run('backup', database.name)).rejects.toMatchObject({ code: 'STORE_FAILED' })
    expect(test.store.keys()).toEqual([])
  })
})
