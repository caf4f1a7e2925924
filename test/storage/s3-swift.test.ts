import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { silentLog } from '../../src/log.ts'
import { S3Store } from '../../src/storage/s3.ts'
import { s3Profiles } from '../../src/storage/s3-profiles.ts'
import type { StoreSettings } from '../../src/storage/store-settings.ts'
import { type S3Server, testClient } from '../support/s3-server.ts'
import { startSwift } from '../support/second-s3.ts'
import { makeTestBucket, type TestBucket } from '../support/test-bucket.ts'
import { runSchedule } from './fault-run.ts'
import { chunks, collect, objectStoreSuite } from './object-store.suite.ts'

const parts = { clock: systemClock, log: silentLog }
const mebibyte = 2 ** 20

let server: S3Server
beforeAll(async () => {
  server = await startSwift()
})
afterAll(async () => {
  await server.stop()
})

/** A second server that nobody here wrote and no profile knows: what holds here and with Ceph holds by the protocol. */
objectStoreSuite('Swift', async () => {
  const bucket = await makeTestBucket({ server })
  const store = new S3Store(bucket.settings(), parts)
  return {
    store,
    partBytes: 5 * mebibyte,
    unfinished: async () => (await bucket.unfinished()).length,
    // Each takes it 20 ms and more.
    manyObjects: 1_100,
    // The bucket goes with the server.
    close: () => store.close(),
  }
})

describe('Swift as a store', () => {
  const { signal } = new AbortController()
  let bucket: TestBucket
  beforeAll(async () => {
    bucket = await makeTestBucket({ server })
  })
  const openStore = (over: Partial<StoreSettings>, profile = s3Profiles.generic) =>
    new S3Store(bucket.settings(over), { ...parts, profile })
  const keys = async (store: S3Store) => (await collect(store.list('', { signal }))).map(({ key }) => key)

  it('conditional put, which it lacks - refused with STORE_FAILED, nothing stored; `generic` never asks for it', async () => {
    const store = openStore({ url: `s3://${bucket.name}/condition` }, s3Profiles.ceph)
    await expect(store.put('a', Buffer.from('x'), { signal, ifAbsent: true })).rejects.toMatchObject({
      code: 'STORE_FAILED',
      message: expect.stringContaining('NotImplemented'),
    })
    expect(await keys(store)).toEqual([])
    await store.close()
  })

  it('Object Lock, which it lacks and takes for an object - the write rejects, nothing is left in its place', async () => {
    const objectLock = { mode: 'governance', forMs: 3_600_000 } as const
    const store = openStore({ url: `s3://${bucket.name}/lock`, objectLock })
    await expect(store.write('large', chunks(6 * mebibyte, 100_000), { signal })).rejects.toMatchObject({
      code: 'STORE_FAILED',
      message: expect.stringContaining('put something else in the place'),
    })
    expect(await keys(store)).toEqual([])
    expect(await bucket.unfinished()).toEqual([])
    await store.close()
  })

  it('15 random fault schedules - each object whole or absent, no upload after the sweep', async () => {
    const client = testClient(server)
    for (let seed = 0; seed < 15; seed += 1) {
      const { violations, faults } = await runSchedule(bucket, client, seed)
      expect({ seed, violations }, faults.join()).toEqual({ seed, violations: [] })
    }
    client.destroy()
  })
})
