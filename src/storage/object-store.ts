import type { Readable } from 'node:stream'

export type ObjectInfo = { readonly key: string; readonly bytes: number; readonly modifiedAt: Date }

/** What the store reports while an object is written or read; never more often than a person can see. */
export type WriteOptions = {
  readonly signal: AbortSignal
  /** Upper bound of what is coming, for planning parts; a stream larger than it must still work. */
  readonly expectedBytes?: number | undefined
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

  /** Writes a small object. With `ifAbsent`, throws `STORE_EXISTS` if the key is taken. */
  put(
    key: string,
    body: Uint8Array,
    options: { readonly signal: AbortSignal; readonly ifAbsent?: boolean },
  ): Promise<void>

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

  /** Every object whose key starts with `prefix`, completely, in key order; throws rather than stops early. */
  list(prefix: string, options: { readonly signal: AbortSignal }): AsyncIterable<ObjectInfo>

  /** Deletes; an absent object is no error. */
  delete(key: string, options: { readonly signal: AbortSignal }): Promise<void>

  /** Removes what unfinished writes started before `olderThan` left behind; returns how many. */
  sweepUnfinished(olderThan: Date, options: { readonly signal: AbortSignal }): Promise<number>

  /** The store's clock minus ours in seconds, from its last answer; undefined before the first. */
  clockSkewSeconds(): number | undefined

  close(): Promise<void>
}
