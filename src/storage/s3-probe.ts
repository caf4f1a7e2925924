import { DeleteObjectCommand, ListObjectVersionsCommand, PutObjectCommand } from '@aws-sdk/client-s3'
import { md5Of } from './body-hashes.ts'
import type { BucketProbe, ObjectVersion } from './object-store.ts'
import type { S3Connection } from './s3-connection.ts'
import { abortUpload, listUploads } from './s3-unfinished.ts'

/** What `check` asks of a bucket beyond the contract of a store. */
export function bucketProbe(s3: S3Connection): BucketProbe {
  return {
    async unfinished(prefix, { signal }) {
      let count = 0
      for await (const _upload of listUploads(s3, prefix, signal)) count += 1
      return count
    },

    async abortUnfinished(prefix, { signal }) {
      for await (const upload of listUploads(s3, prefix, signal)) await abortUpload(s3, upload, signal)
    },

    async versions(key, { signal }) {
      const page = await s3.call('ListObjectVersions', key, signal, (options) =>
        s3.client.send(new ListObjectVersionsCommand({ Bucket: s3.bucket, Prefix: s3.fullKey(key) }), options),
      )
      // One page is enough for the few versions of a probe. Other keys may begin alike.
      const own = (entries: readonly Entry[] | undefined, isMarker: boolean): ObjectVersion[] =>
        (entries ?? [])
          .filter(({ Key }) => Key === s3.fullKey(key))
          .map(({ VersionId }) => ({ id: VersionId ?? 'null', isMarker }))
      return [...own(page.Versions, false), ...own(page.DeleteMarkers, true)]
    },

    async removeVersion(key, id, { signal }) {
      await s3.call('DeleteObject', key, signal, (options) =>
        s3.client.send(new DeleteObjectCommand({ Bucket: s3.bucket, Key: s3.fullKey(key), VersionId: id }), options),
      )
    },

    async overwrite(key, body, { signal }) {
      // A bucket that locks by default demands the MD5.
      const ContentMD5 = md5Of(body)
      const place = { Bucket: s3.bucket, Key: s3.fullKey(key) }
      await s3.call('PutObject', key, signal, (options) =>
        s3.client.send(new PutObjectCommand({ ...place, Body: body, ContentLength: body.length, ContentMD5 }), options),
      )
    },
  }
}

type Entry = { readonly Key?: string | undefined; readonly VersionId?: string | undefined }
