import type { Readable } from 'node:stream'

export type ObjectInfo = {
  readonly key: string
  readonly bytes: number
  readonly modifiedAt: Date
  /** Another one for whatever is put under the key later, told where the store has one; means nothing else. */
  readonly etag?: string | undefined
  /** Until when the store refuses to remove it (S3 Object Lock). Told by `head` only, where the credentials may ask. */
  readonly lockedUntil?: Date | undefined
}

/**
 * What a delete did: `freed` the space, or `hidden` the object behind a delete marker because the bucket is versioned
 * and keeps what was there.
 */
export type Deletion = 'freed' | 'hidden'

export type PutOptions = {
  readonly signal: AbortSignal
  readonly ifAbsent?: boolean
  /** Somebody removes it soon: it is not put under Object Lock, even where everything else is. */
  readonly isBrief?: boolean
}

/** What the store reports while an object is written or read; never more often than a person can see. */
export type WriteOptions = {
  readonly signal: AbortSignal
  /** Upper bound of what is coming, for planning parts; a stream larger than it must still work. */
  readonly expectedBytes?: number | undefined
  /** Whether it is as many as that exactly: then what cannot fit is refused before a byte of it is sent. */
  readonly isExact?: boolean | undefined
}

export type ListOptions = {
  readonly signal: AbortSignal
  /** Need not be the key of an object. */
  readonly after?: string | undefined
}

export type ReadOptions = {
  readonly signal: AbortSignal
  /** Bytes at the beginning that are not wanted. */
  readonly offset?: number | undefined
}

/**
 * Where backups live. Keys are relative to the configured prefix, `/`-separated, without a leading slash.
 *
 * Contract, held by every implementation and tested by `test/storage/object-store.suite.ts`:
 * - An object is visible under its key either whole or not at all, whenever the process dies.
 * - What was written is there for the next `head`, `list` and read (read-after-write).
 * - Every failure is a `PgproofError` with a `STORE_…` code; an absent object is `undefined` from `head` and
 *   `STORE_NOT_FOUND` from the reads. Retries of what may be retried happen inside.
 * - An aborted signal ends each call soon, with everything it started ended and cleaned up before it rejects.
 */
export interface ObjectStore {
  /** Address for messages and logs, without secrets. */
  readonly url: string

  /** Whether a listing comes in pages, each asked for after the one before: then pieces of it, listed at once, save time. */
  readonly listsInPages?: boolean

  /** Whether it can keep an object from being removed for a time (S3 Object Lock); absent: it may. */
  readonly hasLocks?: boolean

  /** Writes a small object. With `ifAbsent`, throws `STORE_EXISTS` if the key is taken. */
  put(key: string, body: Uint8Array, options: PutOptions): Promise<void>

  /**
   * Writes a stream of unknown length in constant memory. The object appears only after `source` has ended without an
   * error; if it throws, nothing appears and no multipart upload or temporary file is left. Returns the bytes that
   * the store itself says it holds.
   */
  write(key: string, source: AsyncIterable<Uint8Array>, options: WriteOptions): Promise<{ readonly bytes: number }>

  /** Reads a small object (at most `maxBytes`, default 64 MiB, else `STORE_FORMAT_INVALID`). */
  get(key: string, options: { readonly signal: AbortSignal; readonly maxBytes?: number }): Promise<Uint8Array>

  /**
   * Reads an object as a stream, from byte `offset` on (default 0); a cut connection is resumed inside. The stream errors
   * rather than ends early. An offset of just the object's size gives an empty stream, one beyond it `STORE_FAILED`.
   */
  read(key: string, options: ReadOptions): Promise<Readable>

  head(key: string, options: { readonly signal: AbortSignal }): Promise<ObjectInfo | undefined>

  /**
   * Every object whose key starts with `prefix`, completely, in key order; throws rather than stops early. With `after`
   * from the first key beyond it; a wrapper may ignore that.
   */
  list(prefix: string, options: ListOptions): AsyncIterable<ObjectInfo>

  /** Deletes; an absent object is no error. Throws `STORE_LOCKED` where Object Lock forbids it. */
  delete(key: string, options: { readonly signal: AbortSignal }): Promise<Deletion>

  /** Removes what unfinished writes started before `olderThan` left behind; returns how many. */
  sweepUnfinished(olderThan: Date, options: { readonly signal: AbortSignal }): Promise<number>

  /** The store's clock minus ours in seconds, from its last answer; undefined before the first. */
  clockSkewSeconds(): number | undefined

  /** Only where objects live in a bucket; for `check`, which must see what it left behind. */
  readonly probe?: BucketProbe

  close(): Promise<void>
}

/** What a bucket keeps beside its objects. */
export type BucketProbe = {
  /** Counts the multipart uploads of keys under `prefix` that are neither completed nor aborted. */
  unfinished(prefix: string, options: { readonly signal: AbortSignal }): Promise<number>
  /** Aborts them, whoever started them and whenever. */
  abortUnfinished(prefix: string, options: { readonly signal: AbortSignal }): Promise<void>
  /** Everything that is kept of one object, newest first, then the delete markers. */
  versions(key: string, options: { readonly signal: AbortSignal }): Promise<readonly ObjectVersion[]>
  /** Without an id: a plain delete, whatever the store was told about versions. */
  removeVersion(key: string, id: string | undefined, options: { readonly signal: AbortSignal }): Promise<void>
  /** A write without any condition, as whoever got hold of the credentials would send it. */
  overwrite(key: string, body: Uint8Array, options: { readonly signal: AbortSignal }): Promise<void>
}

/** The id is `null` in a bucket that keeps no versions. */
export type ObjectVersion = { readonly id: string; readonly isMarker: boolean }
