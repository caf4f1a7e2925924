import { randomUUID } from 'node:crypto'
import { HeadObjectCommand, type HeadObjectCommandOutput } from '@aws-sdk/client-s3'
import { PgproofError, reasonOf } from '../errors.ts'
import type { CallOptions, S3Connection } from './s3-connection.ts'
import { httpStatus, mayHaveWorked, mayStillWork, nameOf } from './s3-errors.ts'
import { writeIdName } from './s3-fields.ts'

/** How long the store is asked what became of an object. */
const lookMs = 20_000

/** An object that is to appear, and what is known of it so far. */
export type Commit = {
  readonly key: string
  /** By which the writer recognises its own object. */
  readonly writeId: string
  /** False as long as it is certain that the object has not appeared. */
  mayBeVisible: boolean
  /** Set when an attempt was given up without an answer: the store may be at work on it, and the object appear later. */
  mayAppearLater: boolean
}

/** The beginning of each: no attempt has been made. */
export function newCommit(key: string): Commit {
  return { key, writeId: randomUUID(), mayBeVisible: false, mayAppearLater: false }
}

/**
 * Makes the call that makes an object visible, with retries. If an answer is lost, or a repetition finds that the
 * object or the end of its upload is there already, the object itself says whether it worked. Throws `STORE_EXISTS`
 * where a condition failed on somebody else's object, and `STORE_UNCERTAIN` with the failure as its cause where the
 * store could not be asked, or may still be at work on an attempt that it never answered.
 */
export async function commitObject(
  s3: S3Connection,
  commit: Commit,
  operation: string,
  signal: AbortSignal,
  attempt: (options: CallOptions) => Promise<unknown>,
): Promise<void> {
  const { key } = commit
  const what = `${operation} of ${key}`
  try {
    await s3.attempt(what, signal, async (options) => {
      try {
        await attempt(options)
        commit.mayBeVisible = true
      } catch (error) {
        if (mayHaveWorked(error) || nameOf(error) === 'NoSuchUpload' || isTaken(error)) commit.mayBeVisible = true
        if (mayStillWork(error)) commit.mayAppearLater = true
        throw error
      }
    })
  } catch (error) {
    const failure = isTaken(error) ? new PgproofError('STORE_EXISTS', { key }) : s3.toError(error, what, key, signal)
    if (!commit.mayBeVisible || signal.aborted) throw failure
    const look = AbortSignal.any([signal, AbortSignal.timeout(lookMs)])
    const head = await headOf(s3, key, look).catch((unasked: unknown) => {
      throw signal.aborted ? s3.toError(unasked, what, key, signal) : uncertain(key, failure)
    })
    if (isOwn(head, commit)) return
    const isUnknown = commit.mayAppearLater || (head !== undefined && writerOf(head) === undefined)
    throw isUnknown && !isTaken(error) ? uncertain(key, failure) : failure
  }
}

/** A failure after which nobody knows whether the object is there. */
export function uncertain(key: string, failure: unknown): PgproofError {
  const reason = `${reasonOf(failure)}; the store could not be asked afterwards, or may still be at work on it`
  return new PgproofError('STORE_UNCERTAIN', { key, reason }, { cause: failure })
}

export async function headOf(
  s3: S3Connection,
  key: string,
  signal: AbortSignal,
): Promise<HeadObjectCommandOutput | undefined> {
  return await s3.callUnlessAbsent('HeadObject', key, signal, (options) =>
    s3.client.send(new HeadObjectCommand({ Bucket: s3.bucket, Key: s3.fullKey(key) }), options),
  )
}

/** Who wrote the object; undefined also where the store keeps no metadata. */
export function writerOf(head: HeadObjectCommandOutput): string | undefined {
  return head.Metadata?.[writeIdName]
}

export function isOwn(head: HeadObjectCommandOutput | undefined, { writeId }: Commit): boolean {
  return head !== undefined && writerOf(head) === writeId
}

/** The condition that the key is free has failed, perhaps on our own object, put by a repetition. */
function isTaken(error: unknown): boolean {
  return httpStatus(error) === 412
}
