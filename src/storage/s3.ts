import { randomUUID } from 'node:crypto'
import type { Readable } from 'node:stream'
import {
  DeleteObjectCommand,
  HeadObjectCommand,
  type HeadObjectCommandOutput,
  ListObjectsV2Command,
  PutObjectCommand,
} from '@aws-sdk/client-s3'
import { PgproofError } from '../errors.ts'
import { assertKeyPrefix, assertObjectKey } from './key-rules.ts'
import type { ObjectInfo, ObjectStore, ReadOptions, WriteOptions } from './object-store.ts'
import { readWhole } from './read-whole.ts'
import { S3Connection, type S3Parts } from './s3-connection.ts'
import { httpStatus } from './s3-errors.ts'
import { bodyFields, objectFields, writeIdName } from './s3-fields.ts'
import { openObject } from './s3-read.ts'
import { abortUpload, listUploads } from './s3-unfinished.ts'
import { S3Upload } from './s3-upload.ts'
import type { StoreSettings } from './store-settings.ts'

/** A bucket, or a prefix of one, of any S3-compatible store. */
export class S3Store implements ObjectStore {
  readonly url: string
  readonly #s3: S3Connection
  readonly #settings: StoreSettings

  /** Connects at the first call. Throws `USAGE_INVALID` for settings that cannot work. */
  constructor(settings: StoreSettings, parts: S3Parts) {
    this.#settings = settings
    this.#s3 = new S3Connection(settings, parts)
    this.url = this.#s3.url
  }

  async put(key: string, body: Uint8Array, options: { signal: AbortSignal; ifAbsent?: boolean }): Promise<void> {
    assertObjectKey(key, `PutObject of ${key}`)
    const { signal, ifAbsent = false } = options
    // Asked first even where the store checks by itself: some ignore the condition on a versioned bucket.
    if (ifAbsent && (await this.head(key, { signal })) !== undefined) throw new PgproofError('STORE_EXISTS', { key })
    const writeId = randomUUID()
    const operation = `PutObject of ${key}`
    try {
      await this.#s3.attempt(operation, signal, (callOptions) =>
        this.#s3.client.send(
          new PutObjectCommand({
            ...this.#place(key),
            ...objectFields(this.#s3, writeId, this.#settings.objectLock),
            ...bodyFields(this.#s3, body, this.#settings.objectLock),
            ...(ifAbsent && this.#s3.profile.ifNoneMatch ? { IfNoneMatch: '*' } : {}),
          }),
          callOptions,
        ),
      )
    } catch (error) {
      if (httpStatus(error) !== 412) throw this.#s3.toError(error, operation, key, signal)
      // The condition also fails on our own object, when a first answer was lost and the call was repeated.
      const winner = await this.#head(key, signal)
      if (winner?.Metadata?.[writeIdName] !== writeId) throw new PgproofError('STORE_EXISTS', { key })
    }
  }

  async write(key: string, source: AsyncIterable<Uint8Array>, options: WriteOptions): Promise<{ bytes: number }> {
    assertObjectKey(key, `write of ${key}`)
    return await new S3Upload(this.#s3, key, this.#settings, options.expectedBytes).run(source, options)
  }

  async get(key: string, options: { signal: AbortSignal; maxBytes?: number }): Promise<Uint8Array> {
    assertObjectKey(key, `GetObject of ${key}`)
    return await readWhole(await openObject(this.#s3, key, options), key, options.maxBytes)
  }

  async read(key: string, options: ReadOptions): Promise<Readable> {
    assertObjectKey(key, `GetObject of ${key}`)
    return (await openObject(this.#s3, key, options)).stream
  }

  async head(key: string, options: { signal: AbortSignal }): Promise<ObjectInfo | undefined> {
    assertObjectKey(key, `HeadObject of ${key}`)
    const head = await this.#head(key, options.signal)
    if (head !== undefined) return { key, bytes: head.ContentLength ?? 0, modifiedAt: head.LastModified ?? new Date(0) }
    await this.#s3.assertBucket(options.signal)
    return undefined
  }

  async *list(prefix: string, options: { signal: AbortSignal }): AsyncIterable<ObjectInfo> {
    assertKeyPrefix(prefix, `ListObjectsV2 of ${prefix}`)
    let token: string | undefined
    do {
      const page = await this.#s3.call('ListObjectsV2', prefix || undefined, options.signal, (callOptions) =>
        this.#s3.client.send(
          new ListObjectsV2Command({
            Bucket: this.#s3.bucket,
            Prefix: this.#s3.fullKey(prefix),
            ContinuationToken: token,
            // Else a control character in anybody's key makes the answer no XML.
            EncodingType: 'url',
          }),
          callOptions,
        ),
      )
      for (const { Key, Size, LastModified } of page.Contents ?? []) {
        const key = (page.EncodingType === 'url' ? decode(Key ?? '') : (Key ?? '')).slice(this.#s3.prefix.length)
        // Consoles store an empty object for a folder; its key ends in a slash and is none of ours.
        if (key !== '' && !key.endsWith('/')) yield { key, bytes: Size ?? 0, modifiedAt: LastModified ?? new Date(0) }
      }
      const next = page.IsTruncated === true ? page.NextContinuationToken : undefined
      if (page.IsTruncated === true && (next === undefined || next === token))
        throw new PgproofError('STORE_FAILED', { operation: `ListObjectsV2 of ${prefix}`, reason: 'no next page' })
      token = next
    } while (token !== undefined)
  }

  async delete(key: string, options: { signal: AbortSignal }): Promise<void> {
    assertObjectKey(key, `DeleteObject of ${key}`)
    await this.#s3.callUnlessAbsent('DeleteObject', key, options.signal, (callOptions) =>
      this.#s3.client.send(new DeleteObjectCommand(this.#place(key)), callOptions),
    )
  }

  async sweepUnfinished(olderThan: Date, options: { signal: AbortSignal }): Promise<number> {
    let swept = 0
    for await (const upload of listUploads(this.#s3, '', options.signal)) {
      if (upload.initiatedAt >= olderThan) continue
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

function decode(key: string): string {
  return decodeURIComponent(key.replaceAll('+', ' '))
}
