import { AbortMultipartUploadCommand, ListMultipartUploadsCommand, ListPartsCommand } from '@aws-sdk/client-s3'
import { PgproofError } from '../errors.ts'
import type { S3Connection } from './s3-connection.ts'

export type UnfinishedUpload = { readonly key: string; readonly uploadId: string; readonly initiatedAt: Date }

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
      yield { key: Key.slice(s3.prefix.length), uploadId: UploadId, initiatedAt: Initiated ?? new Date(0) }
    }
    const last = marker
    marker =
      page.IsTruncated === true ? { KeyMarker: page.NextKeyMarker, UploadIdMarker: page.NextUploadIdMarker } : undefined
    if (marker !== undefined && marker.KeyMarker === last?.KeyMarker && marker.UploadIdMarker === last?.UploadIdMarker)
      throw new PgproofError('STORE_FAILED', { operation: 'ListMultipartUploads', reason: 'the same page came twice' })
  } while (marker !== undefined)
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
