import { AbortMultipartUploadCommand, ListMultipartUploadsCommand, ListPartsCommand } from '@aws-sdk/client-s3'
import { PgproofError } from '../errors.ts'
import type { S3Connection } from './s3-connection.ts'

export type UnfinishedUpload = {
  readonly key: string
  readonly uploadId: string
  /** Undefined where the store does not list it, as SeaweedFS. */
  readonly initiatedAt: Date | undefined
}

/** Every multipart upload below the store's prefix whose key starts with `prefix` and that nobody has completed. */
export async function* listUploads(
  s3: S3Connection,
  prefix: string,
  signal: AbortSignal,
): AsyncGenerator<UnfinishedUpload> {
  const fullPrefix = s3.fullKey(prefix)
  let marker: { KeyMarker: string | undefined; UploadIdMarker: string | undefined } | undefined
  do {
    const page = await s3.call('ListMultipartUploads', undefined, signal, (options) =>
      s3.client.send(
        new ListMultipartUploadsCommand({
          Bucket: s3.bucket,
          ...(s3.profile.listsUploadsByPrefix ? { Prefix: fullPrefix } : {}),
          ...marker,
        }),
        options,
      ),
    )
    for (const { Key, UploadId, Initiated } of page.Uploads ?? []) {
      if (Key === undefined || UploadId === undefined || !Key.startsWith(fullPrefix)) continue
      yield { key: Key.slice(s3.prefix.length), uploadId: UploadId, initiatedAt: realTime(Initiated) }
    }
    const last = marker
    marker =
      page.IsTruncated === true ? { KeyMarker: page.NextKeyMarker, UploadIdMarker: page.NextUploadIdMarker } : undefined
    if (marker !== undefined && marker.KeyMarker === last?.KeyMarker && marker.UploadIdMarker === last?.UploadIdMarker)
      throw new PgproofError('STORE_FAILED', { operation: 'ListMultipartUploads', reason: 'the same page came twice' })
  } while (marker !== undefined)
}

/**
 * Whether an upload began before `instant`. Where the store does not list when, all of its parts must be older; without a
 * part nothing tells, and then it counts as new: it may be in progress.
 */
export async function beganBefore(
  s3: S3Connection,
  { key, uploadId, initiatedAt }: UnfinishedUpload,
  instant: Date,
  signal: AbortSignal,
): Promise<boolean> {
  if (initiatedAt !== undefined) return initiatedAt < instant
  const place = { Bucket: s3.bucket, Key: s3.fullKey(key), UploadId: uploadId }
  let marker: string | undefined
  for (;;) {
    const page = await s3.callUnlessAbsent('ListParts', key, signal, (options) =>
      s3.client.send(new ListPartsCommand({ ...place, PartNumberMarker: marker }), options),
    )
    const parts = page?.Parts ?? []
    const areOld = parts.every(({ LastModified }) => (realTime(LastModified) ?? instant) < instant)
    if (parts.length === 0 || !areOld) return false
    if (page?.IsTruncated !== true) return true
    // A page that comes again tells nothing of the rest.
    if (page.NextPartNumberMarker === undefined || page.NextPartNumberMarker === marker) return false
    marker = page.NextPartNumberMarker
  }
}

/** A store that has no time may write the first that there is. */
function realTime(time: Date | undefined): Date | undefined {
  return time === undefined || time.getTime() <= 0 ? undefined : time
}

/**
 * Aborts an upload and sees that its parts are gone: a part that was on its way may arrive after the abort, so the
 * parts are looked at and aborted again. An upload that does not exist is no error.
 */
export async function abortUpload(
  s3: S3Connection,
  upload: { readonly key: string; readonly uploadId: string },
  signal: AbortSignal,
): Promise<void> {
  const place = { Bucket: s3.bucket, Key: s3.fullKey(upload.key), UploadId: upload.uploadId }
  for (let round = 1; ; round += 1) {
    await s3.callUnlessAbsent('AbortMultipartUpload', upload.key, signal, (options) =>
      s3.client.send(new AbortMultipartUploadCommand(place), options),
    )
    const left = await s3.callUnlessAbsent('ListParts', upload.key, signal, (options) =>
      s3.client.send(new ListPartsCommand(place), options),
    )
    if ((left?.Parts ?? []).length === 0) return
    await s3.clock.sleep(200 * round, signal)
  }
}
