import { once } from 'node:events'
import { PassThrough, Readable } from 'node:stream'
import { GetObjectCommand, type GetObjectCommandOutput, HeadObjectCommand } from '@aws-sdk/client-s3'
import { PgproofError } from '../errors.ts'
import { abortError, whenAborted } from './abortable.ts'
import type { ReadOptions } from './object-store.ts'
import { offsetBeyondEnd } from './read-whole.ts'
import { patient, pauseBefore } from './retrying.ts'
import type { S3Connection } from './s3-connection.ts'
import { httpStatus } from './s3-errors.ts'

/** How often in a row a download may be cut without a single new byte. */
const fruitlessCuts = patient.attempts

/**
 * Opens an object for reading from byte `offset` on, and tells the size of the whole; throws `STORE_NOT_FOUND`. The
 * stream goes on after a cut where the cut was.
 */
export async function openObject(
  s3: S3Connection,
  key: string,
  { signal, offset = 0 }: ReadOptions,
): Promise<{ readonly stream: Readable; readonly bytes: number }> {
  const first = offset === 0 ? await getWhole(s3, key, signal) : await getFrom(s3, key, offset, signal)
  if (first === null) return { stream: Readable.from([], { objectMode: false }), bytes: offset }
  const bytes = sizeOf(first, key, offset)

  const out = new PassThrough({ highWaterMark: 256 * 1024 })
  // An abort before anybody listens must not end the process; the reader still gets the error.
  out.on('error', () => {})
  const closed = new AbortController()
  const release = whenAborted(signal, () => out.destroy(abortError(signal, `GetObject of ${key}`)))
  out.once('close', () => {
    release()
    closed.abort('closed')
  })
  void pump(s3, key, { first, offset, bytes, out, closed: closed.signal }).catch((error: unknown) => {
    out.destroy(s3.toError(error, `GetObject of ${key}`, key, signal))
  })
  return { stream: out, bytes }
}

async function getWhole(s3: S3Connection, key: string, signal: AbortSignal): Promise<GetObjectCommandOutput> {
  return await s3.call('GetObject', key, signal, (options) =>
    s3.client.send(new GetObjectCommand({ Bucket: s3.bucket, Key: s3.fullKey(key) }), options),
  )
}

/** Null where the object has nothing from `offset` on. */
async function getFrom(
  s3: S3Connection,
  key: string,
  offset: number,
  signal: AbortSignal,
): Promise<GetObjectCommandOutput | null> {
  const operation = `GetObject of ${key}`
  const place = { Bucket: s3.bucket, Key: s3.fullKey(key) }
  try {
    return await s3.attempt(operation, signal, (options) =>
      s3.client.send(new GetObjectCommand({ ...place, Range: `bytes=${offset}-` }), options),
    )
  } catch (error) {
    if (httpStatus(error) !== 416) throw s3.toError(error, operation, key, signal)
  }
  // No byte of an object can be asked for at its end, nor beyond it.
  const { ContentLength: bytes } = await s3.call('HeadObject', key, signal, (options) =>
    s3.client.send(new HeadObjectCommand(place), options),
  )
  if (bytes === offset) return null
  throw offsetBeyondEnd(operation, offset, bytes ?? 0)
}

/** The size of the whole object, by an answer that gives it from `offset` on. */
function sizeOf({ ContentLength, ContentRange, Body }: GetObjectCommandOutput, key: string, offset: number): number {
  const [, start, total] = /^bytes (\d+)-\d+\/(\d+)$/.exec(ContentRange ?? '') ?? []
  const bytes = offset === 0 ? ContentLength : Number(start) === offset ? Number(total) : undefined
  if (bytes !== undefined) return bytes
  ;(Body as Readable).destroy()
  const reason = offset === 0 ? 'no size' : `the answer is not the part from byte ${offset} on that was asked for`
  throw new PgproofError('STORE_FAILED', { operation: `GetObject of ${key}`, reason })
}

type Download = {
  readonly first: GetObjectCommandOutput
  /** Where the first answer begins. */
  readonly offset: number
  readonly bytes: number
  readonly out: PassThrough
  /** Fires when nobody reads any more. */
  readonly closed: AbortSignal
}

/** Moves the object into `out`, asking for the rest whenever the connection is lost. */
async function pump(s3: S3Connection, key: string, { first, bytes, out, closed, ...from }: Download): Promise<void> {
  let { offset } = from
  let answer = first
  for (let cuts = 0; ; ) {
    const before = offset
    const body = answer.Body as Readable
    // A body that nobody consumes would keep its socket.
    const release = whenAborted(closed, () => body.destroy())
    let cut: unknown = new PgproofError('STORE_FAILED', {
      operation: `GetObject of ${key}`,
      reason: `the answer ended early, again and again, after ${offset} of ${bytes} bytes`,
    })
    try {
      for await (const chunk of body as AsyncIterable<Buffer>) {
        offset += chunk.length
        if (!out.write(chunk)) await once(out, 'drain', { signal: closed })
      }
    } catch (error) {
      // Nobody asked for a checksum that could be wrong: it is the line that broke.
      cut = error
    } finally {
      release()
      body.destroy()
    }
    if (closed.aborted) return
    if (offset === bytes) {
      out.end()
      return
    }
    if (offset > bytes)
      throw new PgproofError('STORE_FAILED', {
        operation: `GetObject of ${key}`,
        reason: `the store sent ${offset} bytes of an object of ${bytes}`,
      })
    cuts = offset > before ? 1 : cuts + 1
    if (cuts > fruitlessCuts) throw cut
    s3.log.warn(`GetObject of ${key} was cut after ${offset} of ${bytes} bytes, going on from there`)
    await s3.clock.sleep(pauseBefore(cuts, patient), closed)
    answer = await getRest(s3, key, { first, offset, bytes, closed })
  }
}

/** The object from `offset` on, and of the same object only. */
async function getRest(
  s3: S3Connection,
  key: string,
  {
    first,
    offset,
    bytes,
    closed,
  }: { first: GetObjectCommandOutput; offset: number; bytes: number; closed: AbortSignal },
): Promise<GetObjectCommandOutput> {
  const operation = `GetObject of ${key}`
  try {
    const answer = await s3.attempt(operation, closed, (options) =>
      s3.client.send(
        new GetObjectCommand({
          Bucket: s3.bucket,
          Key: s3.fullKey(key),
          Range: `bytes=${offset}-`,
          IfMatch: first.ETag,
        }),
        options,
      ),
    )
    // A server that ignores the range would send the beginning once more.
    if (answer.ContentRange === `bytes ${offset}-${bytes - 1}/${bytes}`) return answer
    ;(answer.Body as Readable).destroy()
  } catch (error) {
    if (httpStatus(error) !== 412) throw error
  }
  throw new PgproofError('STORE_FAILED', { operation, reason: 'the object was replaced while it was read' })
}
