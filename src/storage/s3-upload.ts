import {
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  type HeadObjectCommandOutput,
  PutObjectCommand,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import { PgproofError, reasonOf } from '../errors.ts'
import { logKeys } from '../log.ts'
import { abortError, whenAborted } from './abortable.ts'
import { ChunkReader } from './chunk-reader.ts'
import type { WriteOptions } from './object-store.ts'
import { type PartPlan, partBytesAt, partsInFlightOf, planParts } from './part-plan.ts'
import { amendObject } from './s3-amend.ts'
import { type Commit, commitObject, headOf, isOwn, newCommit, uncertain, writerOf } from './s3-commit.ts'
import type { CallOptions, S3Connection } from './s3-connection.ts'
import { httpStatus, mayHaveWorked } from './s3-errors.ts'
import { bodyFields, type ObjectSettings, objectFields } from './s3-fields.ts'
import { abortUpload, listUploads } from './s3-unfinished.ts'
import type { ObjectLockSettings, StoreSettings } from './store-settings.ts'

/** How long the cleaning up after a failure may take: all of it, and the ending of the multipart upload. */
const cleanUpMs = 20_000
const abortMs = 10_000

/** At the slowest rate that is borne, this many bytes arrive in the time that every answer has. */
const largestBodyInTime = 20_000_000

export type UploadSettings = Pick<StoreSettings, 'partSizeBytes' | 'partsInFlight'> & ObjectSettings

/**
 * One stream on its way into one object, in constant memory: part buffers that are filled and sent by turns. The
 * first part is held back until it is known that a second follows; a stream that fits is a single `PutObject`.
 */
export class S3Upload {
  readonly #s3: S3Connection
  readonly #key: string
  readonly #settings: ObjectSettings
  readonly #lock: ObjectLockSettings | undefined
  readonly #plan: PartPlan
  readonly #commit: Commit
  /** Fires when the caller aborts or a part fails for good; ends everything that is on its way. */
  readonly #halt = new AbortController()
  readonly #sending = new Set<Promise<void>>()
  readonly #freeBuffers: Buffer[] = []
  readonly #parts: { PartNumber: number; ETag: string | undefined; ChecksumCRC32?: string }[] = []
  #failure: unknown
  #uploadId: string | undefined
  /** Set when an attempt to start the upload got no answer: the store may have started one nobody knows of. */
  #mayHaveStray = false
  #bytes = 0

  constructor(s3: S3Connection, key: string, settings: UploadSettings, expected: Omit<WriteOptions, 'signal'>) {
    this.#s3 = s3
    this.#key = key
    this.#settings = settings
    this.#lock = settings.objectLock
    this.#commit = newCommit(key)
    this.#plan = planParts({ ...settings, ...expected }, s3.profile)
  }

  /**
   * Sends all of `source`. Rejects only after everything it started has ended and been taken back; throws
   * `STORE_UNCERTAIN` where the store could not be asked whether that is so, or may still be at work on it.
   */
  async run(source: AsyncIterable<Uint8Array>, options: WriteOptions): Promise<{ readonly bytes: number }> {
    const release = whenAborted(options.signal, () => this.#halt.abort(options.signal.reason))
    const reader = new ChunkReader(source, this.#halt.signal, this.#what('write'))
    try {
      const first = await this.#fill(reader, 1)
      if (first.ended) await this.#putWhole(first.body)
      else await this.#sendParts(reader, first)
      const bytes = await this.#confirm()
      await this.#settleStrays(this.#halt.signal)
      return { bytes }
    } catch (thrown) {
      const error = options.signal.aborted ? abortError(options.signal, this.#what('write')) : (this.#failure ?? thrown)
      this.#halt.abort(error)
      await Promise.all(this.#sending)
      // What was uncertain may be settled now, and the other way round.
      const failure = error instanceof PgproofError && error.code === 'STORE_UNCERTAIN' ? error.cause : error
      throw (await this.#takeBack()) || options.signal.aborted ? failure : uncertain(this.#key, failure)
    } finally {
      release()
      await reader.close()
    }
  }

  async #putWhole(body: Uint8Array): Promise<void> {
    await this.#makeVisible('PutObject', (options) =>
      this.#s3.client.send(
        new PutObjectCommand({
          ...this.#place(),
          ...objectFields(this.#s3, this.#commit.writeId, this.#settings),
          ...bodyFields(this.#s3, body, this.#lock),
          ...this.#s3.condition,
        }),
        this.#timed(options, body),
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
            ...objectFields(this.#s3, this.#commit.writeId, this.#settings),
            ...(this.#s3.profile.integrity === 'crc32' ? { ChecksumAlgorithm: 'CRC32' as const } : {}),
          }),
          options,
        )
      } catch (error) {
        if (mayHaveWorked(error) || (httpStatus(error) ?? 0) >= 500) this.#mayHaveStray = true
        throw error
      }
    })
    // An answer without one is none (s3-answers.ts).
    this.#uploadId = started.UploadId
  }

  /** Fills the buffer of part `number`; the size is planned, and grows only if the stream outgrows the plan. */
  async #fill(reader: ChunkReader, number: number): Promise<Filled> {
    const size = partBytesAt(this.#plan, number, this.#bytes)
    // One buffer more than parts in flight; grown parts take turns so that memory does not grow with them.
    const most = partsInFlightOf(this.#plan, size)
    while (this.#sending.size > most) await Promise.race(this.#sending)
    const reused = this.#freeBuffers.pop()
    const buffer = reused !== undefined && reused.length >= size ? reused : Buffer.allocUnsafeSlow(size)
    const { bytes, ended } = await reader.fill(buffer.subarray(0, size))
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
        this.#timed(options, body),
      ),
    )
    const checksum = answer.ChecksumCRC32 === undefined ? {} : { ChecksumCRC32: answer.ChecksumCRC32 }
    this.#parts[number - 1] = { PartNumber: number, ETag: answer.ETag, ...checksum }
  }

  async #complete(): Promise<void> {
    await this.#makeVisible('CompleteMultipartUpload', (options) =>
      this.#s3.client.send(
        new CompleteMultipartUploadCommand({
          ...this.#place(),
          UploadId: this.#uploadId,
          MultipartUpload: { Parts: this.#parts },
          ...this.#s3.condition,
        }),
        options,
      ),
    )
  }

  /** What the store holds must be what was sent. */
  async #confirm(): Promise<number> {
    const head = await headOf(this.#s3, this.#key, this.#halt.signal)
    const operation = this.#what('HeadObject')
    if (head === undefined)
      throw new PgproofError('STORE_FAILED', { operation, reason: 'the object is absent right after it was written' })
    // A store that keeps no metadata is given the benefit of the doubt; the size speaks for it.
    if (writerOf(head) !== undefined && !isOwn(head, this.#commit))
      throw new PgproofError('STORE_EXISTS', { key: this.#key })
    if (head.ContentLength !== this.#bytes)
      throw new PgproofError('STORE_FAILED', {
        operation,
        reason: `the store holds ${head.ContentLength ?? 'no'} bytes of ${this.#bytes} sent`,
      })
    await amendObject(this.#s3, this.#key, head, this.#settings, this.#halt.signal)
    await this.#assertUnspoiled(head)
    return this.#bytes
  }

  /**
   * A store that does not know Object Lock or tags may take what sets them for a new object of that key, and say that
   * all is well (Swift does). What it then holds is nobody's.
   */
  async #assertUnspoiled({ ETag }: HeadObjectCommandOutput): Promise<void> {
    const { objectLock, tags } = this.#settings
    if (objectLock === undefined && tags === undefined) return
    const { signal } = this.#halt
    const head = await headOf(this.#s3, this.#key, signal)
    if (head?.ETag === ETag) return
    if (head !== undefined && writerOf(head) === undefined) await this.#remove(signal)
    throw new PgproofError('STORE_FAILED', {
      operation: this.#what('PutObjectRetention or PutObjectTagging'),
      reason: 'the store does not know it and put something else in the place of the object',
    })
  }

  /**
   * After a failure: ends the upload, sees that its parts are gone, and removes an object nobody was told of. Returns
   * whether there certainly is none.
   */
  async #takeBack(): Promise<boolean> {
    const deadline = AbortSignal.timeout(cleanUpMs)
    const uploadId = this.#uploadId
    // First: a completing call that is still under way has no effect after it.
    if (uploadId !== undefined) {
      const isEnded = await this.#attemptTo('end the unfinished upload', () =>
        abortUpload(this.#s3, { key: this.#key, uploadId }, AbortSignal.any([deadline, AbortSignal.timeout(abortMs)])),
      )
      if (isEnded) this.#commit.mayAppearLater = false
    }
    const isGone = await this.#attemptTo('take back the object', () => this.#removeOwn(deadline))
    await this.#settleStrays(deadline)
    return isGone
  }

  async #removeOwn(signal: AbortSignal): Promise<void> {
    if (!this.#commit.mayBeVisible) return
    const head = await headOf(this.#s3, this.#key, signal)
    // A store that keeps no metadata does not say whose it is; then it stays.
    if (head !== undefined && writerOf(head) === undefined)
      throw new Error('it is there, and it is not known whose it is')
    if (isOwn(head, this.#commit)) await this.#remove(signal)
    if (this.#commit.mayAppearLater) throw new Error('the store may still be at work on what it never answered')
  }

  async #remove(signal: AbortSignal): Promise<void> {
    await this.#s3.call('DeleteObject', this.#key, signal, (options) =>
      this.#s3.client.send(new DeleteObjectCommand(this.#place()), options),
    )
  }

  /** Aborts uploads of this very key that this write started without ever learning their ids; the sweep finds the rest. */
  async #settleStrays(signal: AbortSignal): Promise<void> {
    if (!this.#mayHaveStray) return
    this.#mayHaveStray = false
    await this.#attemptTo('end an upload that got no answer', async () => {
      for await (const upload of listUploads(this.#s3, this.#key, signal)) {
        if (upload.key === this.#key && upload.uploadId !== this.#uploadId) await abortUpload(this.#s3, upload, signal)
      }
    })
  }

  /** For what is not worth failing for: warns, and returns whether it went well. */
  async #attemptTo(purpose: string, action: () => Promise<void>): Promise<boolean> {
    try {
      await action()
      return true
    } catch (error) {
      this.#s3.log.warn({ [logKeys.details]: reasonOf(error) }, `write of ${this.#key}: could not ${purpose}`)
      return false
    }
  }

  #makeVisible(operation: string, attempt: (options: CallOptions) => Promise<unknown>): Promise<void> {
    return commitObject(this.#s3, this.#commit, operation, this.#halt.signal, attempt)
  }

  /** A slow line may take its time with a large body. */
  #timed(options: CallOptions, body: Uint8Array): CallOptions & { readonly requestTimeout: number } {
    return { ...options, requestTimeout: this.#s3.timeouts.answerMs * (1 + body.length / largestBodyInTime) }
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
