import { type HeadObjectCommandOutput, PutObjectRetentionCommand, PutObjectTaggingCommand } from '@aws-sdk/client-s3'
import type { S3Connection } from './s3-connection.ts'
import { lockFields, type ObjectSettings } from './s3-fields.ts'

/**
 * Sets what some stores forget of the request that a multipart upload was started with: the lock (Ceph 16; asked of
 * every store, because a lock that was ignored in silence must not stay unnoticed) and the tags (Ceph up to 2025).
 */
export async function amendObject(
  s3: S3Connection,
  key: string,
  head: HeadObjectCommandOutput,
  { objectLock, tags = {} }: ObjectSettings,
  signal: AbortSignal,
): Promise<void> {
  const place = { Bucket: s3.bucket, Key: s3.fullKey(key), VersionId: head.VersionId }
  if (objectLock !== undefined && head.ObjectLockMode === undefined) {
    const { ObjectLockMode: Mode, ObjectLockRetainUntilDate: RetainUntilDate } = lockFields(s3, objectLock)
    await s3.call('PutObjectRetention', key, signal, (options) =>
      s3.client.send(new PutObjectRetentionCommand({ ...place, Retention: { Mode, RetainUntilDate } }), options),
    )
  }
  const TagSet = Object.entries(tags).map(([Key, Value]) => ({ Key, Value }))
  // A number is told only to those who may read the tags, which a writer need not; without it nothing is known.
  if (TagSet.length > 0 && head.TagCount === 0)
    await s3.call('PutObjectTagging', key, signal, (options) =>
      s3.client.send(new PutObjectTaggingCommand({ ...place, Tagging: { TagSet } }), options),
    )
}
