import { createHash } from 'node:crypto'
import { ListMultipartUploadsCommand, type S3Client } from '@aws-sdk/client-s3'
import { type Clock, systemClock } from '../../src/clock.ts'
import { PgproofError } from '../../src/errors.ts'
import { silentLog } from '../../src/log.ts'
import { S3Store } from '../../src/storage/s3.ts'
import type { S3Timeouts } from '../../src/storage/s3-connection.ts'
import { collectGarbage } from '../support/collect-garbage.ts'
import { type FaultProxy, startFaultProxy } from '../support/fault-proxy.ts'
import type { TestBucket } from '../support/test-bucket.ts'
import { type FaultSchedule, faultSchedule } from './fault-schedule.ts'
import { bytesOf, chunks, collect, sha256 } from './object-store.suite.ts'

export type FaultOutcome = {
  readonly schedule: FaultSchedule
  /** What became of each call: `done`, or the code of its error. */
  readonly calls: Readonly<Record<'write' | 'read' | 'list' | 'delete' | 'sweep', string>>
  readonly faults: readonly string[]
  /** What should never be; empty if all is well. */
  readonly violations: readonly string[]
  /** Multipart uploads that the write left for the sweep. */
  readonly leftUploads: number
  readonly ms: number
}

const mebibyte = 2 ** 20
const partBytes = 5 * mebibyte
const timeouts: S3Timeouts = { connectMs: 250, idleMs: 250, answerMs: 1_500 }
/** No schedule may take longer; the worst ones are all time-outs, which take a tenth of that. */
const deadlineMs = 90_000
/** What the sockets, the proxy and the test itself may hold besides the parts. */
const slackBytes = 24 * mebibyte
/** Pauses last a two-hundredth. */
const fastClock: Clock = { ...systemClock, sleep: (ms, signal) => systemClock.sleep(ms / 200, signal) }

/** Writes, reads, lists, deletes and sweeps through the faults of one seed, and looks at the server itself after each. */
export async function runSchedule(bucket: TestBucket, client: S3Client, seed: number): Promise<FaultOutcome> {
  const started = performance.now()
  const schedule = faultSchedule(seed)
  const violations: string[] = []
  const proxy = await startFaultProxy(bucket.server.endpoint, schedule)
  const url = `s3://${bucket.name}/seed-${seed}`
  const parts = { clock: fastClock, log: silentLog }
  const direct = new S3Store(bucket.settings({ url }), parts)
  const store = new S3Store(bucket.settings({ url, endpoint: proxy.endpoint, partsInFlight: schedule.partsInFlight }), {
    ...parts,
    timeouts,
  })
  const calls: Record<string, string> = {}
  /** Runs one call; everything but its value or an error of the register is a violation. */
  const run = async (
    name: keyof FaultOutcome['calls'],
    call: () => Promise<void>,
  ): Promise<PgproofError | undefined> => {
    const error = await withDeadline(call, `${name} hangs`)
    calls[name] = error === undefined ? 'done' : error instanceof PgproofError ? error.code : String(error)
    if (error === undefined || error === sourceFailure) return undefined
    if (error instanceof PgproofError && allowedCodes.has(error.code)) return error
    violations.push(`${name}: ${error instanceof Error ? error.stack : String(error)}`)
    return undefined
  }
  const { signal } = new AbortController()
  const uploads = async () => {
    const page = await client.send(new ListMultipartUploadsCommand({ Bucket: bucket.name, Prefix: `seed-${seed}/` }))
    return page.Uploads?.length ?? 0
  }

  let leftUploads = 0
  try {
    const body = await hashFrom(schedule, 0)
    const watch = memoryWatch((schedule.partsInFlight + 1) * partBytes + slackBytes, violations)
    const failed = await run('write', () => write(store, schedule, watch))
    if (schedule.interruption !== undefined && calls['write'] === 'done') violations.push('written though interrupted')
    if (schedule.interruption?.by !== 'caller' && calls['write'] === 'CANCELLED') violations.push('nobody cancelled')
    const held = await stored(direct)
    if (calls['write'] === 'done' && held === undefined) violations.push('written, but there is no object')
    if (held !== undefined && held !== body) violations.push(`the object is not whole after ${calls['write']}`)
    if (calls['write'] !== 'done' && held !== undefined && !saysUnknown(failed))
      violations.push(`an object after ${calls['write']}, and the error does not say so: ${failed?.details}`)
    leftUploads = await uploads()

    if (held === undefined) await direct.write(key, chunks(schedule.bytes, chunkBytes), { signal })
    await run('read', async () => {
      const { readFrom: offset } = schedule
      const read = (await sha256(await store.read(key, { signal, offset }))).sha256
      if (read !== (await hashFrom(schedule, offset))) violations.push('other bytes were read than were written')
    })
    await run('list', async () => {
      const listed = (await collect(store.list('', { signal }))).map(({ key: name, bytes }) => `${name} ${bytes}`)
      if (listed.join() !== `${key} ${schedule.bytes}`) violations.push(`listed: ${listed.join()}`)
    })
    await run('delete', async () => {
      await store.delete(key, { signal })
      if ((await stored(direct)) !== undefined) violations.push('deleted, but still there')
    })
    const soon = new Date(Date.now() + 3_600_000)
    await run('sweep', async () => {
      await store.sweepUnfinished(soon, { signal })
      if ((await uploads()) > 0) violations.push('an unfinished upload after the sweep')
    })
    await direct.sweepUnfinished(soon, { signal })
    if ((await uploads()) > 0) violations.push('an unfinished upload that no sweep removes')
    await direct.delete(key, { signal })
    await store.close()
    if (!(await allClosed(proxy))) violations.push(`${proxy.open()} connections left open`)
  } finally {
    await Promise.all([store.close(), direct.close(), proxy.stop()])
  }
  const ms = performance.now() - started
  return { schedule, calls: calls as FaultOutcome['calls'], faults: proxy.happened, violations, leftUploads, ms }
}

const key = 'backups/dump'
const chunkBytes = 100_000
const sourceFailure = new Error('the source fails')

const allowedCodes = new Set(['STORE_UNREACHABLE', 'STORE_FAILED', 'STORE_UNCERTAIN', 'CANCELLED'])

async function write(store: S3Store, schedule: FaultSchedule, watch: () => void): Promise<void> {
  const controller = new AbortController()
  const { signal } = controller
  const { act, bytes, interruption } = schedule
  if (act !== 'write') {
    const body = await bytesOfChunks(bytes)
    return await store.put(key, body, { signal, ifAbsent: act === 'put-if-absent' })
  }
  const source = (async function* () {
    let sent = 0
    for await (const chunk of chunks(bytes, chunkBytes)) {
      yield chunk
      watch()
      sent += chunk.length
      if (interruption === undefined || sent < interruption.afterBytes) continue
      if (interruption.by === 'source') throw sourceFailure
      controller.abort()
    }
  })()
  const written = await store.write(key, source, { signal })
  if (written.bytes !== bytes) throw new Error(`${written.bytes} bytes written instead of ${bytes}`)
}

/** The SHA-256 of what the server holds, undefined if nothing. */
async function stored(direct: S3Store): Promise<string | undefined> {
  const { signal } = new AbortController()
  if ((await direct.head(key, { signal })) === undefined) return undefined
  return createHash('sha256')
    .update(await bytesOf(await direct.read(key, { signal })))
    .digest('hex')
}

/** The SHA-256 of the body from a byte on. */
async function hashFrom({ bytes }: FaultSchedule, offset: number): Promise<string> {
  const hash = createHash('sha256')
  let at = 0
  for await (const chunk of chunks(bytes, chunkBytes)) {
    hash.update(chunk.subarray(Math.max(0, offset - at)))
    at += chunk.length
  }
  return hash.digest('hex')
}

async function bytesOfChunks(bytes: number): Promise<Buffer> {
  return Buffer.concat(await collect(chunks(bytes, chunkBytes)))
}

function saysUnknown(error: PgproofError | undefined): boolean {
  return error?.code === 'STORE_UNCERTAIN'
}

/** Resolves with what the call threw, or with an error of its own if it does not end. */
async function withDeadline(call: () => Promise<void>, what: string): Promise<unknown> {
  const deadline = new AbortController()
  const late = systemClock.sleep(deadlineMs, deadline.signal).then(
    () => new Error(what),
    () => undefined,
  )
  const ended = call().then(
    () => undefined,
    (error: unknown) => error ?? new Error('threw nothing'),
  )
  const outcome = await Promise.race([ended, late])
  deadline.abort()
  return outcome
}

/** Looks at the memory outside the heap; what is only waiting to be collected does not count. */
function memoryWatch(boundBytes: number, violations: string[]): () => void {
  collectGarbage()
  const before = process.memoryUsage().external
  const grown = () => process.memoryUsage().external - before
  return () => {
    if (grown() <= boundBytes) return
    collectGarbage()
    if (grown() > boundBytes) violations.push(`memory grew by ${grown()} bytes, ${boundBytes} are allowed`)
  }
}

async function allClosed(proxy: FaultProxy): Promise<boolean> {
  proxy.release()
  for (const end = performance.now() + 5_000; performance.now() < end; ) {
    if (proxy.open() === 0) return true
    await systemClock.sleep(10)
  }
  return false
}
