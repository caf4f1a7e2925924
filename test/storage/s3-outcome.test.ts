import { createHash } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Clock, systemClock } from '../../src/clock.ts'
import { silentLog } from '../../src/log.ts'
import { S3Store } from '../../src/storage/s3.ts'
import type { S3Timeouts } from '../../src/storage/s3-connection.ts'
import { type Fault, type FaultProxy, type ProxiedRequest, startFaultProxy } from '../support/fault-proxy.ts'
import { hurriedClock, makeTestBucket, type TestBucket } from '../support/test-bucket.ts'
import { bytesOf, chunks, collect, hashed, sha256 } from './object-store.suite.ts'

const mebibyte = 2 ** 20
const large = 11 * mebibyte
const short: S3Timeouts = { connectMs: 500, idleMs: 700, answerMs: 20_000 }
const lost: Fault = { kind: 'lose-answer', instead: 'reset' }
const gone: Fault = { kind: 'reset-request', afterBytes: 0 }

describe('S3 whose answers get lost', () => {
  const { signal } = new AbortController()
  let bucket: TestBucket
  let direct: S3Store
  beforeAll(async () => {
    bucket = await makeTestBucket()
    direct = new S3Store(bucket.settings(), { clock: hurriedClock, log: silentLog })
  })
  afterAll(async () => {
    await direct.close()
    await bucket.remove()
  })

  /** A store behind a proxy with these faults. */
  const behind = async (
    faultOf: (request: ProxiedRequest) => Fault | undefined,
    { timeouts = short, clock = hurriedClock as Clock } = {},
  ): Promise<{ store: S3Store; proxy: FaultProxy } & AsyncDisposable> => {
    const proxy = await startFaultProxy(bucket.server.endpoint, { faultOf, refuses: () => false, outageMs: () => 0 })
    const store = new S3Store(bucket.settings({ endpoint: proxy.endpoint }), { clock, log: silentLog, timeouts })
    const close = async () => {
      await store.close()
      await proxy.stop()
    }
    return { store, proxy, [Symbol.asyncDispose]: close }
  }
  /** Loses every answer to the operation, and from then on, if told so, everything. */
  const losing = (operation: string, isGoneThen: boolean) => {
    let isLost = false
    return (request: ProxiedRequest) => {
      if (isLost && isGoneThen) return gone
      if (request.operation !== operation) return undefined
      isLost = true
      return lost
    }
  }
  const keys = async (prefix: string) => (await collect(direct.list(prefix, { signal }))).map(({ key }) => key)

  it('every answer to a put lost - it finds its own object and succeeds', async () => {
    await using line = await behind(losing('PutObject', false))
    await line.store.put('put/a', Buffer.from('mine'), { signal })
    await line.store.put('put/b', Buffer.from('mine'), { signal, ifAbsent: true })
    expect(await keys('put/')).toEqual(['put/a', 'put/b'])
  })

  it('answer to a put lost and the store gone - STORE_UNCERTAIN, and the object is whole', async () => {
    await using line = await behind(losing('PutObject', true))
    await expect(line.store.put('gone/a', Buffer.from('mine'), { signal })).rejects.toMatchObject({
      code: 'STORE_UNCERTAIN',
      message: expect.stringMatching(/^whether gone\/a was stored is not known: /),
      cause: { code: 'STORE_UNREACHABLE' },
    })
    expect(String(await bytesOf(await direct.read('gone/a', { signal })))).toBe('mine')
  })

  it.each([
    ['one part', 'PutObject', 1000],
    ['several parts', 'CompleteMultipartUpload', large],
  ])(
    'write of %s, its last answer lost and the store gone - STORE_UNCERTAIN, object whole',
    async (_, operation, bytes) => {
      await using line = await behind(losing(operation, true))
      const sent = createHash('sha256')
      const source = hashed(chunks(bytes, 100_000), sent)
      await expect(line.store.write('gone/dump', source, { signal })).rejects.toMatchObject({ code: 'STORE_UNCERTAIN' })
      expect((await sha256(await direct.read('gone/dump', { signal }))).sha256).toBe(sent.digest('hex'))
      expect(await bucket.unfinished()).toEqual([])
    },
  )

  it('port closed, so that no request was ever sent - STORE_UNREACHABLE, which is certain', async () => {
    const closed = new S3Store(bucket.settings({ endpoint: 'http://127.0.0.1:1' }), {
      clock: hurriedClock,
      log: silentLog,
    })
    await expect(closed.put('never', Buffer.from('x'), { signal })).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' })
    await closed.close()
  })

  it('answer of CreateMultipartUpload lost, uploads cannot be listed - written; the sweep finds the stray one', async () => {
    await using line = await behind(({ operation, nth }) =>
      operation === 'CreateMultipartUpload' && nth === 0
        ? lost
        : operation === 'ListMultipartUploads'
          ? gone
          : undefined,
    )
    await line.store.write('stray/dump', chunks(large, 100_000), { signal })
    expect(await keys('stray/')).toEqual(['stray/dump'])
    expect(await bucket.unfinished()).toEqual(['some/prefix/stray/dump'])
    expect(await direct.sweepUnfinished(new Date(Date.now() + 60_000), { signal })).toBe(1)
  })

  it('object cannot be confirmed and the upload not be ended - the object is taken back all the same', async () => {
    await using line = await behind(({ operation, nth }) =>
      operation === 'AbortMultipartUpload' || (operation === 'HeadObject' && nth < 8) ? gone : undefined,
    )
    await expect(line.store.write('back/dump', chunks(large, 100_000), { signal })).rejects.toMatchObject({
      code: 'STORE_UNREACHABLE',
    })
    expect(await keys('back/')).toEqual([])
    expect(await bucket.unfinished()).toEqual([])
  })

  it.each(['GetObject', 'HeadObject', 'PutObject', 'UploadPart', 'CreateMultipartUpload', 'ListObjectsV2'])(
    '%s answered twice by 200 and an error - asked again; without end - STORE_FAILED or STORE_UNCERTAIN',
    async (wrong) => {
      const inside: Fault = { kind: 'answer', status: 200, code: 'InternalError', isEarly: false }
      await using line = await behind(({ operation, nth }) => (operation === wrong && nth < 2 ? inside : undefined))
      const use = async (store: S3Store) => {
        await store.put('inside/small', Buffer.from('small'), { signal })
        await store.write('inside/large', chunks(6 * mebibyte, 100_000), { signal })
        await store.head('inside/small', { signal })
        expect(String(await store.get('inside/small', { signal }).then(Buffer.from))).toBe('small')
        return await collect(store.list('inside/', { signal }))
      }
      expect(await use(line.store)).toHaveLength(2)
      expect(line.proxy.happened.length).toBeGreaterThanOrEqual(2)
      await using never = await behind(({ operation }) => (operation === wrong ? inside : undefined))
      // What was written cannot be looked at there.
      const code = wrong === 'HeadObject' ? 'STORE_UNCERTAIN' : 'STORE_FAILED'
      await expect(use(never.store)).rejects.toMatchObject({ code })
    },
  )

  it.each([
    ['swallowed by silence', { kind: 'lose-answer', instead: 'silence' }, { ...short, idleMs: 400 }],
    ['stalled midway', { kind: 'stall-request', afterBytes: 3_000_000 }, { ...short, idleMs: 400 }],
    // The line is never idle; what ends it is the time that a part has in all.
    ['slow without end', { kind: 'trickle-request', everyMs: 40 }, { connectMs: 500, idleMs: 60_000, answerMs: 700 }],
  ] as const)('a part is %s - sent again when its time is up, bytes identical', async (_, fault, timeouts) => {
    await using line = await behind(
      ({ operation, nth, path }) => (operation === 'UploadPart' && path.endsWith('2') && nth < 2 ? fault : undefined),
      { timeouts },
    )
    const sent = createHash('sha256')
    await line.store.write('slow/dump', hashed(chunks(large, 100_000), sent), { signal })
    expect(line.proxy.happened).toEqual([`UploadPart: ${fault.kind}`, `UploadPart: ${fault.kind}`])
    expect((await sha256(await direct.read('slow/dump', { signal }))).sha256).toBe(sent.digest('hex'))
    expect(await bucket.unfinished()).toEqual([])
  })

  it.each([
    ['seven seconds', 7, 7_000, 7_700],
    ['a day', 86_400, 60_000, 66_000],
  ])('503 with Retry-After of %s - waited for as long, a minute at most', async (_, seconds, least, most) => {
    const pauses: number[] = []
    const clock: Clock = { ...systemClock, sleep: async (ms) => void pauses.push(ms) }
    const busy: Fault = { kind: 'answer', status: 503, code: 'SlowDown', isEarly: false, retryAfterSeconds: seconds }
    await using line = await behind(({ nth }) => (nth < 2 ? busy : undefined), { clock })
    await line.store.put('busy', Buffer.from('x'), { signal })
    expect(pauses).toHaveLength(2)
    for (const pause of pauses) expect(pause >= least && pause <= most, `${pause}`).toBe(true)
  })
})
