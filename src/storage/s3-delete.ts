import { DeleteObjectCommand, HeadObjectCommand, ListObjectVersionsCommand } from '@aws-sdk/client-s3'
import { PgproofError } from '../errors.ts'
import type { Deletion } from './object-store.ts'
import { isAbsent, type S3Connection } from './s3-connection.ts'
import { httpStatus } from './s3-errors.ts'
import { type Lock, lockOf, plainKey } from './s3-fields.ts'

/** Deletes what a listing shows; a versioned bucket keeps it behind a delete marker, then it is only `hidden`. */
export async function deleteObject(s3: S3Connection, key: string, signal: AbortSignal): Promise<Deletion> {
  const answer = await remove(s3, key, undefined, signal)
  // A versioned bucket names the version of the marker that it put there.
  return answer.DeleteMarker === true || answer.VersionId !== undefined ? 'hidden' : 'freed'
}

/**
 * Removes every version and every delete marker of exactly this key. The one that is seen goes last: whatever comes
 * between, the object is either there as it was or gone, and no older version comes to light. Where the store knows no
 * versions, it is a plain delete.
 */
export async function deleteVersions(s3: S3Connection, key: string, signal: AbortSignal): Promise<Deletion> {
  const versions = await versionsOf(s3, key, signal)
  if (versions === undefined) return await deleteObject(s3, key, signal)
  const hiddenFirst = versions.toSorted((a, b) => Number(a.isLatest) - Number(b.isLatest))
  for (const { versionId } of hiddenFirst) await remove(s3, key, versionId, signal)
  return 'freed'
}

type Version = { readonly versionId: string; readonly isLatest: boolean }

/** Undefined where the store has no such listing. */
async function versionsOf(s3: S3Connection, key: string, signal: AbortSignal): Promise<Version[] | undefined> {
  const fullKey = s3.fullKey(key)
  const operation = `ListObjectVersions of ${key}`
  const found: Version[] = []
  let marker: { KeyMarker: string | undefined; VersionIdMarker: string | undefined } | undefined
  for (;;) {
    const page = await s3
      .attempt(operation, signal, (options) =>
        s3.client.send(
          new ListObjectVersionsCommand({ Bucket: s3.bucket, Prefix: fullKey, EncodingType: 'url', ...marker }),
          options,
        ),
      )
      .catch((error: unknown) => {
        if (httpStatus(error) === 501 || httpStatus(error) === 405) return undefined
        throw s3.toError(error, operation, key, signal)
      })
    if (page === undefined) return undefined
    const entries = [...(page.Versions ?? []), ...(page.DeleteMarkers ?? [])].map((entry) => ({
      ...entry,
      key: plainKey(entry.Key, page.EncodingType),
    }))
    // The prefix `a/b` also lists `a/b2`, which is somebody else's.
    for (const { key: entryKey, VersionId = 'null', IsLatest = false } of entries)
      if (entryKey === fullKey) found.push({ versionId: VersionId, isLatest: IsLatest })
    // Keys come in order, and of all that start with it this one is the first.
    if (page.IsTruncated !== true || entries.some((entry) => entry.key !== fullKey)) return found
    const next = {
      KeyMarker: plainKey(page.NextKeyMarker, page.EncodingType) || undefined,
      VersionIdMarker: page.NextVersionIdMarker,
    }
    if (next.KeyMarker === marker?.KeyMarker && next.VersionIdMarker === marker?.VersionIdMarker)
      throw new PgproofError('STORE_FAILED', { operation, reason: 'no next page' })
    marker = next
  }
}

/** An object or version that is not there is no error. Throws `STORE_LOCKED` where a lock is why it was refused. */
async function remove(
  s3: S3Connection,
  key: string,
  versionId: string | undefined,
  signal: AbortSignal,
): Promise<{ readonly DeleteMarker?: boolean | undefined; readonly VersionId?: string | undefined }> {
  const operation = `DeleteObject of ${key}`
  const place = {
    Bucket: s3.bucket,
    Key: s3.fullKey(key),
    ...(versionId === undefined ? {} : { VersionId: versionId }),
  }
  try {
    return await s3.attempt(operation, signal, (options) => s3.client.send(new DeleteObjectCommand(place), options))
  } catch (error) {
    if (isAbsent(error)) return {}
    const refused = s3.toError(error, operation, key, signal)
    // AWS and Ceph answer 403, MinIO 400, and each in other words.
    const status = httpStatus(error) ?? 0
    if (status < 400 || status >= 500 || signal.aborted) throw refused
    const lock = await lockOn(s3, place, signal)
    if (lock === undefined && !lockWords.test(refused.message)) throw refused
    throw new PgproofError('STORE_LOCKED', { key, until: untilText(lock) }, { details: refused.message })
  }
}

/** Of the messages that stores refuse with, for credentials that may not ask for the lock itself. */
const lockWords = /object.?lock|\bworm\b|retention|legal.?hold/i

/** Undefined where there is none, or the credentials may not ask. */
async function lockOn(
  s3: S3Connection,
  place: { readonly Bucket: string; readonly Key: string },
  signal: AbortSignal,
): Promise<Lock | undefined> {
  try {
    return lockOf(
      await s3.attempt(`HeadObject of ${place.Key}`, signal, (options) =>
        s3.client.send(new HeadObjectCommand(place), options),
      ),
      s3.storeTime(),
    )
  } catch {
    return undefined
  }
}

function untilText(lock: Lock | undefined): string {
  if (lock === undefined) return ''
  return lock.isLegalHold ? ' by a legal hold' : ` until ${lock.until.toISOString()}`
}
