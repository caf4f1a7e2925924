import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type Clock, systemClock } from '../../src/clock.ts'
import { silentLog } from '../../src/log.ts'
import { S3Store } from '../../src/storage/s3.ts'
import { type Fault, type FaultProxy, startFaultProxy } from '../support/fault-proxy.ts'
import { testDatabase } from '../support/installation.ts'
import { makeTestBucket, type TestBucket } from '../support/test-bucket.ts'
import { type BackupsInto, backupsInto, fillWithNoise, leftOnServer } from './bucket-backup.ts'

// What a store may do in the middle of a whole backup, from the second part of the dump on: each is a clear error or a wait
// that ends, and never half a backup.

const { signal } = new AbortController()
const minute = 60_000
let database: Awaited<ReturnType<typeof testDatabase>>
let bucket: TestBucket
beforeAll(async () => {
  database = await testDatabase('template0')
  await fillWithNoise(database.url)
  bucket = await makeTestBucket()
})
afterAll(async () => {
  await bucket.remove()
  await database[Symbol.asyncDispose]()
})

/** What happens to every request as long as the outage lasts; null before it and after it. */
let outage: { readonly fault: Fault; readonly untilMs: number } | null
let planned: { readonly fault: Fault; readonly lastsMs: number } | null
/** Pauses between retries take a thousandth, and are how the store's time passes. */
let passedMs: number
let proxy: FaultProxy
let store: S3Store
let into: BackupsInto
beforeEach(async () => {
  ;[outage, planned, passedMs] = [null, null, 0]
  proxy = await startFaultProxy(bucket.server.endpoint, {
    faultOf: ({ operation, path }) => {
      if (planned !== null && operation === 'UploadPart' && path.endsWith('2')) {
        outage = { fault: planned.fault, untilMs: passedMs + planned.lastsMs }
        planned = null
      }
      return outage !== null && passedMs < outage.untilMs ? outage.fault : undefined
    },
    refuses: () => false,
    outageMs: () => 0,
  })
  const clock: Clock = {
    ...systemClock,
    monotonicMs: () => passedMs,
    sleep: async (ms, until) => {
      await systemClock.sleep(ms / 1000, until)
      passedMs += ms
    },
  }
  const timeouts = { connectMs: 5_000, idleMs: 3_000, answerMs: 20_000 }
  const url = `s3://${bucket.name}/outages`
  const settings = bucket.settings({ url, endpoint: proxy.endpoint })
  store = new S3Store(settings, { clock, log: silentLog, timeouts })
  into = await backupsInto(store, database.name)
})
afterEach(async () => {
  for await (const { key } of store.list('', { signal })) await store.delete(key, { signal })
  await into[Symbol.asyncDispose]()
  await store.close()
  proxy.release()
  await proxy.stop()
})

const slowDown: Fault = { kind: 'answer', status: 503, code: 'SlowDown', isEarly: false }
const errorIn200: Fault = { kind: 'answer', status: 200, code: 'InternalError', isEarly: false }
const silence: Fault = { kind: 'stall-request', afterBytes: 1_000 }

describe('in the middle of a whole backup', () => {
  it.each([
    ['503 for ten minutes', slowDown, 10 * minute],
    ['200 with an error in the body, and nothing else any more', errorIn200, Number.POSITIVE_INFINITY],
    ['nothing at all any more', silence, Number.POSITIVE_INFINITY],
  ])(
    'the store answers %s - an error of the store, no backup, the lock free; then the next one succeeds',
    async (_what, fault, lastsMs) => {
      planned = { fault, lastsMs }
      await expect(into.backup()).rejects.toMatchObject({
        code: expect.stringMatching(/^STORE_(?:FAILED|UNREACHABLE|UNCERTAIN)$/),
        exitCode: 11,
      })
      expect(outage).not.toBeNull()
      // The parts, the end of the upload and the clearing up, each with its own patience.
      expect(passedMs).toBeLessThan(10 * minute)
      await expect.poll(() => leftOnServer(database.name), { timeout: 10_000 }).toEqual([])

      outage = null
      proxy.release()
      expect(await into.labels()).toEqual([])
      await store.sweepUnfinished(new Date(Date.now() + minute), { signal })
      expect(await bucket.unfinished()).toEqual([])
      const { label } = await into.backup()
      expect(await into.labels()).toEqual([label])
    },
  )

  it.each([
    ['503 for a quarter of a minute', slowDown, 15_000],
    ['200 with an error in the body for a quarter of a minute', errorIn200, 15_000],
    ['nothing at all, for one attempt', silence, 1],
  ])('the store answers %s - waited for, and the backup succeeds', async (_what, fault, lastsMs) => {
    planned = { fault, lastsMs }
    const { label } = await into.backup()
    expect(outage).not.toBeNull()
    expect(passedMs).toBeGreaterThan(lastsMs)
    expect(await into.labels()).toEqual([label])
    expect(await bucket.unfinished()).toEqual([])
  })
})
