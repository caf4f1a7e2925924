import { randomUUID } from 'node:crypto'
import {
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  HeadObjectCommand,
  type HeadObjectCommandOutput,
  PutObjectCommand,
  PutObjectRetentionCommand,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import { PgproofError, reasonOf } from '../errors.ts'
import { logKeys } from '../log.ts'
import { abortError, whenAborted } from './abortable.ts'
import { ChunkReader } from './chunk-reader.ts'
import type { WriteOptions } from './object-store.ts'
import { type PartPlan, partBytesAt, partsWithinMemory, planParts } from './part-plan.ts'
import type { CallOptions, S3Connection } from './s3-connection.ts'
import { httpStatus, nameOf } from './s3-errors.ts'
import { bodyFields, lockFields, objectFields, writeIdName } from './s3-fields.ts'
import { abortUpload, listUploads } from './s3-unfinished.ts'
import type { ObjectLockSettings, StoreSettings } from './store-settings.ts'

/** How long the cleaning up after a failure may take. */
const cleanUpMs = 20_000

export type UploadSettings = Pick<StoreSettings, 'partSizeBytes' | 'partsInFlight' | 'objectLock'>

/**
 * One stream on its way into one object, in constant memory: part buffers that are filled and sent by turns. The
 * first part is held back until it is known that a second follows; a stream that fits is a single `PutObject`.
 */
export class S3Upload {
  readonly #s3: S3Connection
  readonly #key: string
  readonly #lock: ObjectLockSettings | undefined
  readonly #plan: PartPlan
  readonly #writeId = randomUUID()
  /** Fires when the caller aborts or a part fails for good; ends everything that is on its way. */
  readonly #halt = new AbortController()
  readonly #sending = new Set<Promise<void>>()
  readonly #freeBuffers: Buffer[] = []
  readonly #parts: { PartNumber: number; ETag: string | undefined; ChecksumCRC32?: string }[] = []
  #failure: unknown
  #uploadId: string | undefined
  /** Set when an attempt to start the upload got no answer: the store may have started one nobody knows of. */
  #mayHaveStray = false
  /** Set when the object may have become visible. */
  #isCommitSent = false
  #bytes = 0

  constructor(s3: S3Connection, key: string, settings: UploadSettings, expectedBytes: number | undefined) {
    this.#s3 = s3
    this.#key = key
    this.#lock = settings.objectLock
    this.#plan = planParts({ ...settings, expectedBytes }, s3.profile)
  }

  /** Sends all of `source`. Rejects only after everything it started has ended and been taken back. */
  async run(source: AsyncIterable<Uint8Array>, options: WriteOptions): Promise<{ readonly bytes: number }> {
    const release = whenAborted(options.signal, () => this.#halt.abort(options.signal.reason))
    const reader = new ChunkReader(source, this.#halt.signal, this.#what('write'))
    try {
      const first = await this.#fill(reader, 1)
      if (first.ended) await this.#putWhole(first.body)
      else await this.#sendParts(reader, first)
      await this.#settleStrays(this.#halt.signal)
      return { bytes: await this.#confirm() }
    } catch (thrown) {
      const error = options.signal.aborted ? abortError(options.signal, this.#what('write')) : (this.#failure ?? thrown)
      this.#halt.abort(error)
      await Promise.all(this.#sending)
      await this.#takeBack()
      throw error
    } finally {
      release()
      await reader.close()
    }
  }

  async #putWhole(body: Uint8Array): Promise<void> {
    this.#isCommitSent = true
    await this.#call('PutObject', (options) =>
      this.#s3.client.send(
        new PutObjectCommand({
          ...this.#place(),
          ...objectFields(this.#s3, this.#writeId, this.#lock),
          ...bodyFields(this.#s3, body, this.#lock),
        }),
        options,
      ),
    )
  }

  async #sendParts(reader: ChunkReader, first: Filled): Promise<void> {
    await this.#create()
    for (let number = 1, part = first; ; part = await this.#fill(reader, number)) {
      await this.#send(number, part)
      number += 1
      if (part.ended) break
    }
    await Promise.all(this.#sending)
    if (this.#failure !== undefined) throw this.#failure
    await this.#complete()
  }

  async #create(): Promise<void> {
    const started = await this.#call('CreateMultipartUpload', async (options) => {
      try {
        return await this.#s3.client.send(
          new CreateMultipartUploadCommand({
            ...this.#place(),
            ...objectFields(this.#s3, this.#writeId, this.#lock),
            ...(this.#s3.profile.integrity === 'crc32' ? { ChecksumAlgorithm: 'CRC32' as const } : {}),
          }),
          options,
        )
      } catch (error) {
        if ((httpStatus(error) ?? 500) >= 500) this.#mayHaveStray = true
        throw error
      }
    })
    this.#uploadId = started.UploadId
    if (started.UploadId === undefined)
      throw new PgproofError('STORE_FAILED', { operation: this.#what('CreateMultipartUpload'), reason: 'no upload id' })
  }

  /** Fills the buffer of part `number`; the size is planned, and grows only if the stream outgrows the plan. */
  async #fill(reader: ChunkReader, number: number): Promise<Filled> {
    const size = partBytesAt(this.#plan, number)
    // One buffer more than parts in flight; grown parts take turns so that memory does not grow with them.
    const most = size === this.#plan.partBytes ? this.#plan.inFlight : partsWithinMemory(size, this.#plan.inFlight)
    while (this.#sending.size > most) await Promise.race(this.#sending)
    const reused = this.#freeBuffers.pop()
    const buffer = reused !== undefined && reused.length >= size ? reused : Buffer.allocUnsafeSlow(size)
    const { bytes, ended } = await reader.fill(buffer.subarray(0, size))
    if (this.#failure !== undefined) throw this.#failure
    this.#bytes += bytes
    return { buffer, body: buffer.subarray(0, bytes), ended, most }
  }

  /** Starts sending one part, as soon as there is room in flight. */
  async #send(number: number, part: Filled): Promise<void> {
    while (this.#sending.size >= part.most) await Promise.race(this.#sending)
    if (this.#failure !== undefined) throw this.#failure
    const sending: Promise<void> = this.#uploadPart(number, part.body)
      .then(() => {
        this.#freeBuffers.push(part.buffer)
      })
      .catch((error: unknown) => {
        this.#failure ??= error
        this.#halt.abort(error)
      })
      .finally(() => this.#sending.delete(sending))
    this.#sending.add(sending)
  }

  async #uploadPart(number: number, body: Uint8Array): Promise<void> {
    const answer = await this.#call('UploadPart', (options) =>
      this.#s3.client.send(
        new UploadPartCommand({
          ...this.#place(),
          UploadId: this.#uploadId,
          PartNumber: number,
          ...bodyFields(this.#s3, body, this.#lock),
        }),
        // A slow line may take its time with a large part: 32 bytes in a millisecond are enough.
        { ...options, requestTimeout: this.#s3.timeouts.answerMs + body.length / 32 },
      ),
    )
    const checksum = answer.ChecksumCRC32 === undefined ? {} : { ChecksumCRC32: answer.ChecksumCRC32 }
    this.#parts[number - 1] = { PartNumber: number, ETag: answer.ETag, ...checksum }
  }

  /** If the answer is lost, or a repetition finds the upload gone, the object itself says whether it was completed. */
  async #complete(): Promise<void> {
    this.#isCommitSent = true
    const what = this.#what('CompleteMultipartUpload')
    try {
      await this.#s3.attempt(what, this.#halt.signal, (options) =>
        this.#s3.client.send(
          new CompleteMultipartUploadCommand({
            ...this.#place(),
            UploadId: this.#uploadId,
            MultipartUpload: { Parts: this.#parts },
          }),
          options,
        ),
      )
    } catch (error) {
      const isUncertain = httpStatus(error) === undefined || nameOf(error) === 'NoSuchUpload'
      if (isUncertain && !this.#halt.signal.aborted && this.#isOwn(await this.#head(this.#halt.signal))) return
      throw this.#s3.toError(error, what, this.#key, this.#halt.signal)
    }
  }

  /** What the store holds must be what was sent. */
  async #confirm(): Promise<number> {
    const head = await this.#head(this.#halt.signal)
    const operation = this.#what('HeadObject')
    if (head === undefined)
      throw new PgproofError('STORE_FAILED', { operation, reason: 'the object is absent right after it was written' })
    // A store that keeps no metadata is given the benefit of the doubt; the size speaks for it.
    const writer = head.Metadata?.[writeIdName]
    if (writer !== undefined && writer !== this.#writeId) throw new PgproofError('STORE_EXISTS', { key: this.#key })
    if (head.ContentLength !== this.#bytes)
      throw new PgproofError('STORE_FAILED', {
        operation,
        reason: `the store holds ${head.ContentLength ?? 'no'} bytes of ${this.#bytes} sent`,
      })
    if (this.#lock !== undefined && head.ObjectLockMode === undefined) await this.#lockNow(this.#lock, head.VersionId)
    return this.#bytes
  }

  /** Some stores forget the lock that a multipart upload was started with (Ceph 16); it is set afterwards there. */
  async #lockNow(lock: ObjectLockSettings, versionId: string | undefined): Promise<void> {
    const fields = lockFields(this.#s3, lock)
    await this.#call('PutObjectRetention', (options) =>
      this.#s3.client.send(
        new PutObjectRetentionCommand({
          ...this.#place(),
          VersionId: versionId,
          Retention: { Mode: fields.ObjectLockMode, RetainUntilDate: fields.ObjectLockRetainUntilDate },
        }),
        options,
      ),
    )
  }

  #head(signal: AbortSignal): Promise<HeadObjectCommandOutput | undefined> {
    return this.#s3.callUnlessAbsent('HeadObject', this.#key, signal, (options) =>
      this.#s3.client.send(new HeadObjectCommand(this.#place()), options),
    )
  }

  #isOwn(head: HeadObjectCommandOutput | undefined): boolean {
    return head?.Metadata?.[writeIdName] === this.#writeId
  }

  /** After a failure: ends the upload, sees that its parts are gone, and removes an object nobody was told of. */
  async #takeBack(): Promise<void> {
    const deadline = AbortSignal.timeout(cleanUpMs)
    try {
      if (this.#uploadId !== undefined)
        await abortUpload(this.#s3, { key: this.#key, uploadId: this.#uploadId }, deadline)
      await this.#settleStrays(deadline)
      if (this.#isCommitSent && this.#isOwn(await this.#head(deadline)))
        await this.#s3.call('DeleteObject', this.#key, deadline, (options) =>
          this.#s3.client.send(new DeleteObjectCommand(this.#place()), options),
        )
    } catch (error) {
      this.#s3.log.warn(
        { [logKeys.details]: reasonOf(error) },
        `could not take back the failed write of ${this.#key}; an unfinished upload or an orphan may be left`,
      )
    }
  }

  /** Aborts uploads of this very key that this write started without ever learning their ids. */
  async #settleStrays(signal: AbortSignal): Promise<void> {
    if (!this.#mayHaveStray) return
    this.#mayHaveStray = false
    for await (const upload of listUploads(this.#s3, this.#key, signal)) {
      if (upload.key === this.#key && upload.uploadId !== this.#uploadId) await abortUpload(this.#s3, upload, signal)
    }
  }

  #call<T>(operation: string, attempt: (options: CallOptions) => Promise<T>): Promise<T> {
    return this.#s3.call(operation, this.#key, this.#halt.signal, attempt)
  }

  #place(): { Bucket: string; Key: string } {
    return { Bucket: this.#s3.bucket, Key: this.#s3.fullKey(this.#key) }
  }

  #what(operation: string): string {
    return `${operation} of ${this.#key}`
  }
}

type Filled = { buffer: Buffer; body: Uint8Array; ended: boolean; most: number }
