import { describe, expect, it } from 'vitest'
import { type Clock, systemClock } from '../../src/clock.ts'
import { silentLog } from '../../src/log.ts'
import { S3Store } from '../../src/storage/s3.ts'
import type { HttpAnswer, HttpRequest } from '../support/scripted-http.ts'
import { startScriptedServer } from '../support/scripted-http.ts'
import { chunks, collect } from './object-store.suite.ts'
import { mebibyte, s3Error, takingServer } from './scripted-store.ts'

const { signal } = new AbortController()
const minute = 60_000
const hour = 60 * minute

/** Pauses take no time, and are how time passes. */
function steppedClock(): Clock & { pass(ms: number): void } {
  let passedMs = 0
  return {
    now: () => new Date(systemClock.now().getTime() + passedMs),
    monotonicMs: () => passedMs,
    sleep: async (ms) => {
      passedMs += ms
    },
    pass: (ms) => {
      passedMs += ms
    },
  }
}

async function open(answer: (request: HttpRequest) => HttpAnswer, clock: Clock) {
  const server = await startScriptedServer(answer)
  const store = new S3Store(
    {
      url: 's3://bucket/p',
      endpoint: server.endpoint,
      region: 'us-east-1',
      provider: 'ceph',
      accessKeyId: 'id',
      secretAccessKey: () => 'secret',
      partSizeBytes: 5 * mebibyte,
    },
    { clock, log: silentLog },
  )
  return { store, requests: server.requests, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() }
}

const emptyList =
  '<ListBucketResult><IsTruncated>false</IsTruncated><EncodingType>url</EncodingType></ListBucketResult>'

describe('a store that answers 503 for ten minutes', () => {
  it('from the middle of an upload on - STORE_FAILED before they are over, nothing was completed; then all goes on', async () => {
    const clock = steppedClock()
    const healthy = takingServer()
    let endsAtMs = 0
    const done: string[] = []
    await using server = await open((request) => {
      if (endsAtMs === 0 && request.query.get('partNumber') === '2') endsAtMs = clock.monotonicMs() + 10 * minute
      if (clock.monotonicMs() < endsAtMs) return s3Error(503, 'SlowDown')
      if (request.method === 'POST' && request.query.has('uploadId')) done.push(request.path)
      if (request.method === 'GET') return { status: 200, body: emptyList }
      return healthy(request)
    }, clock)
    await server.store.put('before', Buffer.from('x'), { signal })
    const startMs = clock.monotonicMs()
    await expect(server.store.write('dump', chunks(16 * mebibyte, 100_000), { signal })).rejects.toMatchObject({
      code: 'STORE_FAILED',
    })
    expect(done).toEqual([])
    const waitedMs = clock.monotonicMs() - startMs
    expect(waitedMs).toBeGreaterThan(20_000)
    // The parts, and then the abort of the upload, each with its own patience.
    expect(waitedMs).toBeLessThan(10 * minute)

    clock.pass(10 * minute)
    await server.store.write('dump', chunks(16 * mebibyte, 100_000), { signal })
    expect(done).toEqual(['/bucket/p/dump'])
  })

  it('at a listing - STORE_FAILED, never an empty list', async () => {
    const clock = steppedClock()
    let isDown = false
    await using server = await open(() => (isDown ? s3Error(503, 'SlowDown') : { status: 200, body: emptyList }), clock)
    expect(await collect(server.store.list('', { signal }))).toEqual([])
    isDown = true
    await expect(collect(server.store.list('', { signal }))).rejects.toMatchObject({ code: 'STORE_FAILED' })
    expect(clock.monotonicMs()).toBeLessThan(4 * minute)
  })
})

describe('a clock that is an hour off', () => {
  it.each([
    ['ahead', hour],
    ['behind', -hour],
  ])(
    'the store is an hour %s and takes only what is signed by its own time - every call works, and the skew is told',
    async (_way, offMs) => {
      const taking = takingServer()
      const storeTime = () => new Date(Date.now() + offMs)
      await using server = await open((request) => {
        const [, day, time] = /^(\d{8})T(\d{6})Z$/.exec(String(request.headers['x-amz-date'])) ?? []
        const signed = Date.parse(`${day}T${time}Z`.replace(/^(....)(..)(..)T(..)(..)/, '$1-$2-$3T$4:$5:'))
        const headers = { date: storeTime().toUTCString() }
        if (!(Math.abs(signed - storeTime().getTime()) < 15 * minute))
          return { ...s3Error(403, 'RequestTimeTooSkewed'), headers }
        if (request.method === 'GET' && request.query.has('list-type')) return { status: 200, headers, body: emptyList }
        const { headers: more, ...answer } =
          request.method === 'GET' ? { status: 200, headers: { etag: '"e"' }, body: 'x' } : taking(request)
        return { ...answer, headers: { ...more, ...headers } }
      }, systemClock)
      const { store } = server
      await store.put('a', Buffer.from('x'), { signal })
      await store.write('dump', chunks(11 * mebibyte, 100_000), { signal })
      for (let round = 0; round < 2; round += 1) {
        expect(Buffer.from(await store.get('a', { signal })).toString()).toBe('x')
        expect(await collect(store.list('', { signal }))).toEqual([])
      }
      expect(Math.abs((store.clockSkewSeconds() ?? 0) - offMs / 1000)).toBeLessThan(10)
    },
  )
})
