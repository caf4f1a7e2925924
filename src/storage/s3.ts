import type { Readable } from 'node:stream'
import { HeadObjectCommand, type HeadObjectCommandOutput, PutObjectCommand } from '@aws-sdk/client-s3'
import { assertNotAborted, PgproofError } from '../errors.ts'
import { assertObjectKey } from './key-rules.ts'
import type {
  BucketProbe,
  Deletion,
  ListOptions,
  ObjectInfo,
  ObjectStore,
  PutOptions,
  ReadOptions,
  WriteOptions,
} from './object-store.ts'
import { readWhole } from './read-whole.ts'
import { commitObject, newCommit } from './s3-commit.ts'
import { S3Connection, type S3Parts } from './s3-connection.ts'
import { deleteObject, deleteVersions } from './s3-delete.ts'
import { assertObjectSettings, bodyFields, lockOf, objectFields } from './s3-fields.ts'
import { listObjects } from './s3-list.ts'
import { bucketProbe } from './s3-probe.ts'
import { openObject } from './s3-read.ts'
import { abortUpload, beganBefore, listUploads } from './s3-unfinished.ts'
import { S3Upload } from './s3-upload.ts'
import type { StoreSettings } from './store-settings.ts'

/** What is larger is better streamed, and goes on where it was cut. */
const mostSmallBytes = 1 << 20

/** A bucket, or a prefix of one, of any S3-compatible store. */
export class S3Store implements ObjectStore {
  readonly url: string
  readonly listsInPages = true
  readonly probe: BucketProbe
  readonly #s3: S3Connection
  readonly #settings: StoreSettings

  /** Connects at the first call. Throws `USAGE_INVALID` for settings that cannot work. */
  constructor(settings: StoreSettings, parts: S3Parts) {
    assertObjectSettings(settings)
    this.#settings = settings
    this.#s3 = new S3Connection(settings, parts)
    this.url = this.#s3.url
    this.probe = bucketProbe(this.#s3)
  }

  async put(key: string, body: Uint8Array, options: PutOptions): Promise<void> {
    assertObjectKey(key, `PutObject of ${key}`)
    const { signal, ifAbsent = false, isBrief = false } = options
    // Asked first even where the store checks by itself: some ignore the condition on a versioned bucket.
    if (ifAbsent && (await this.head(key, { signal })) !== undefined) throw new PgproofError('STORE_EXISTS', { key })
    const settings = isBrief ? { ...this.#settings, objectLock: undefined } : this.#settings
    const commit = newCommit(key)
    await commitObject(this.#s3, commit, 'PutObject', signal, (callOptions) =>
      this.#s3.client.send(
        new PutObjectCommand({
          ...this.#place(key),
          ...objectFields(this.#s3, commit.writeId, settings),
          // A default retention of the bucket demands the same of it.
          ...bodyFields(this.#s3, body, this.#settings.objectLock),
          ...(ifAbsent && this.#s3.profile.ifNoneMatch ? { IfNoneMatch: '*' as const } : this.#s3.condition),
        }),
        callOptions,
      ),
    )
  }

  async write(key: string, source: AsyncIterable<Uint8Array>, options: WriteOptions): Promise<{ bytes: number }> {
    assertObjectKey(key, `write of ${key}`)
    return await new S3Upload(this.#s3, key, this.#settings, options).run(source, options)
  }

  async get(key: string, options: { signal: AbortSignal; maxBytes?: number }): Promise<Uint8Array> {
    assertObjectKey(key, `GetObject of ${key}`)
    const { maxBytes = mostSmallBytes, signal } = options
    assertNotAborted(signal, `GetObject of ${key}`)
    const small = await this.#s3.smallReads.get(this.#s3.fullKey(key), Math.min(maxBytes, mostSmallBytes), signal)
    return small ?? (await readWhole(await openObject(this.#s3, key, options), key, options.maxBytes))
  }

  async read(key: string, options: ReadOptions): Promise<Readable> {
    assertObjectKey(key, `GetObject of ${key}`)
    return (await openObject(this.#s3, key, options)).stream
  }

  async head(key: string, options: { signal: AbortSignal }): Promise<ObjectInfo | undefined> {
    assertObjectKey(key, `HeadObject of ${key}`)
    const head = await this.#head(key, options.signal)
    if (head !== undefined) {
      const lockedUntil = lockOf(head, this.#s3.storeTime())?.until
      return { key, bytes: head.ContentLength ?? 0, modifiedAt: head.LastModified ?? new Date(0), lockedUntil }
    }
    await this.#s3.assertBucket(options.signal)
    return undefined
  }

  list(prefix: string, options: ListOptions): AsyncIterable<ObjectInfo> {
    return listObjects(this.#s3, prefix, options)
  }

  async delete(key: string, options: { signal: AbortSignal }): Promise<Deletion> {
    assertObjectKey(key, `DeleteObject of ${key}`)
    return this.#settings.versions === 'remove'
      ? await deleteVersions(this.#s3, key, options.signal)
      : await deleteObject(this.#s3, key, options.signal)
  }

  async sweepUnfinished(olderThan: Date, options: { signal: AbortSignal }): Promise<number> {
    let swept = 0
    for await (const upload of listUploads(this.#s3, '', options.signal)) {
      if (!(await beganBefore(this.#s3, upload, olderThan, options.signal))) continue
      await abortUpload(this.#s3, upload, options.signal)
      swept += 1
    }
    return swept
  }

  clockSkewSeconds(): number | undefined {
    return this.#s3.clockSkewSeconds()
  }

  async close(): Promise<void> {
    this.#s3.close()
  }

  #head(key: string, signal: AbortSignal): Promise<HeadObjectCommandOutput | undefined> {
    return this.#s3.callUnlessAbsent('HeadObject', key, signal, (callOptions) =>
      this.#s3.client.send(new HeadObjectCommand(this.#place(key)), callOptions),
    )
  }

  #place(key: string): { Bucket: string; Key: string } {
    return { Bucket: this.#s3.bucket, Key: this.#s3.fullKey(key) }
  }
}
