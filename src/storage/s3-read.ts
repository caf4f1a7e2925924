import { once } from 'node:events'
import { PassThrough, type Readable } from 'node:stream'
import { GetObjectCommand, type GetObjectCommandOutput } from '@aws-sdk/client-s3'
import { PgproofError } from '../errors.ts'
import { abortError, whenAborted } from './abortable.ts'
import { patient, pauseBefore } from './retrying.ts'
import type { S3Connection } from './s3-connection.ts'
import { httpStatus, isTransient } from './s3-errors.ts'

/** How often in a row a download may be cut without a single new byte. */
const fruitlessCuts = patient.attempts

/** Opens an object for reading; throws `STORE_NOT_FOUND`. The stream goes on after a cut where the cut was. */
export async function openObject(
  s3: S3Connection,
  key: string,
  signal: AbortSignal,
): Promise<{ readonly stream: Readable; readonly bytes: number }> {
  const first = await s3.call('GetObject', key, signal, (options) =>
    s3.client.send(new GetObjectCommand({ Bucket: s3.bucket, Key: s3.fullKey(key) }), options),
  )
  const bytes = first.ContentLength
  if (bytes === undefined)
    throw new PgproofError('STORE_FAILED', { operation: `GetObject of ${key}`, reason: 'no size' })

  const out = new PassThrough({ highWaterMark: 256 * 1024 })
  // An abort before anybody listens must not end the process; the reader still gets the error.
  out.on('error', () => {})
  const closed = new AbortController()
  const release = whenAborted(signal, () => out.destroy(abortError(signal, `GetObject of ${key}`)))
  out.once('close', () => {
    release()
    closed.abort()
  })
  void pump(s3, key, { first, bytes, out, closed: closed.signal }).catch((error: unknown) => {
    out.destroy(s3.toError(error, `GetObject of ${key}`, key, signal))
  })
  return { stream: out, bytes }
}

type Download = {
  readonly first: GetObjectCommandOutput
  readonly bytes: number
  readonly out: PassThrough
  /** Fires when nobody reads any more. */
  readonly closed: AbortSignal
}

/** Moves the object into `out`, asking for the rest whenever the connection is lost. */
async function pump(s3: S3Connection, key: string, { first, bytes, out, closed }: Download): Promise<void> {
  let offset = 0
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
      cut = error
      if (!isTransient(error) && !closed.aborted) throw error
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
