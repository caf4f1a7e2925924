import { PgproofError } from '../errors.ts'
import { md5Of } from './body-hashes.ts'
import type { S3Connection } from './s3-connection.ts'
import type { ObjectLockSettings, StoreSettings } from './store-settings.ts'

/** The metadata entry by which a writer recognises its own object after a lost answer. */
export const writeIdName = 'pgproof-write'

/** What the operator wants of every object that is written. */
export type ObjectSettings = Pick<
  StoreSettings,
  'objectLock' | 'serverSideEncryption' | 'kmsKeyId' | 'storageClass' | 'tags'
>

export type ObjectFields = {
  Metadata: Record<string, string>
  ServerSideEncryption?: 'AES256' | 'aws:kms'
  SSEKMSKeyId?: string
  StorageClass?: StorageClass
  Tagging?: string
} & Partial<LockFields>

/** The fields that `PutObject` and `CreateMultipartUpload` have in common. */
export function objectFields(s3: S3Connection, writeId: string, settings: ObjectSettings): ObjectFields {
  const { objectLock, serverSideEncryption, kmsKeyId, storageClass, tags = {} } = settings
  const pairs = Object.entries(tags)
  return {
    Metadata: { [writeIdName]: writeId },
    ...(serverSideEncryption === undefined ? {} : { ServerSideEncryption: serverSideEncryption }),
    ...(kmsKeyId === undefined ? {} : { SSEKMSKeyId: kmsKeyId }),
    // The type of the SDK lists the classes of AWS; other stores have their own.
    ...(storageClass === undefined ? {} : { StorageClass: storageClass as StorageClass }),
    // In the request itself: a call of its own could fail after the object is there.
    ...(pairs.length === 0 ? {} : { Tagging: pairs.map((pair) => pair.map(encodeURIComponent).join('=')).join('&') }),
    ...(objectLock === undefined ? {} : lockFields(s3, objectLock)),
  }
}

/** Throws `USAGE_INVALID` for settings with which no object could be written, or none read again. */
export function assertObjectSettings({
  serverSideEncryption,
  kmsKeyId,
  storageClass,
  tags = {},
}: ObjectSettings): void {
  const refuse = (reason: string): never => {
    throw new PgproofError('USAGE_INVALID', { reason })
  }
  if (kmsKeyId !== undefined && serverSideEncryption !== 'aws:kms')
    refuse('a KMS key needs `serverSideEncryption: aws:kms`')
  if (storageClass !== undefined && archiveClasses.has(storageClass))
    refuse(`storage class ${storageClass} gives nothing back for hours, so nothing in it can be drilled or listed`)
  const pairs = Object.entries(tags)
  if (pairs.length > mostTags) refuse(`an object has at most ${mostTags} tags, here are ${pairs.length}`)
  for (const [name, value] of pairs)
    if (name === '' || [...name].length > longestTagName || [...value].length > longestTagValue)
      refuse(`tag "${name}": a name has 1 to ${longestTagName} characters, a value at most ${longestTagValue}`)
}

/** S3's own limits. */
const mostTags = 10
const longestTagName = 128
const longestTagValue = 256

/** Their objects must be restored, which takes hours, before they can be read; `GLACIER_IR` is none of them. */
const archiveClasses = new Set(['GLACIER', 'DEEP_ARCHIVE'])

type StorageClass = 'STANDARD'

export type LockFields = { ObjectLockMode: 'GOVERNANCE' | 'COMPLIANCE'; ObjectLockRetainUntilDate: Date }

/** By the store's clock, which is the one that judges the date. */
export function lockFields(s3: S3Connection, lock: ObjectLockSettings): LockFields {
  return {
    ObjectLockMode: lock.mode === 'governance' ? 'GOVERNANCE' : 'COMPLIANCE',
    ObjectLockRetainUntilDate: new Date(s3.storeTime().getTime() + lock.forMs),
  }
}

/** Object Lock demands a checksum or an MD5 with every body; where the SDK adds no checksum, the MD5 is here. */
export function bodyFields(
  s3: S3Connection,
  body: Uint8Array,
  lock: ObjectLockSettings | undefined,
): { Body: Uint8Array; ContentLength: number; ContentMD5?: string } {
  const fields = { Body: body, ContentLength: body.length }
  if (lock === undefined || s3.profile.integrity === 'crc32') return fields
  return { ...fields, ContentMD5: md5Of(body) }
}

/** What keeps an object from being removed. */
export type Lock = {
  /** Of a legal hold, which has no end: the year 9999. */
  readonly until: Date
  readonly isLegalHold: boolean
}

/** The lock that an answer to `HeadObject` tells of and that still holds; undefined also where none may be seen. */
export function lockOf(
  head: {
    readonly ObjectLockRetainUntilDate?: Date | undefined
    readonly ObjectLockLegalHoldStatus?: string | undefined
  },
  storeTime: Date,
): Lock | undefined {
  if (head.ObjectLockLegalHoldStatus === 'ON') return { until: new Date('9999-12-31T23:59:59Z'), isLegalHold: true }
  const until = head.ObjectLockRetainUntilDate
  return until !== undefined && until > storeTime ? { until, isLegalHold: false } : undefined
}

/** A key of a listing as it is; `url` is asked for because a control character makes an answer no XML. */
export function plainKey(key: string | undefined, encoding: string | undefined): string {
  return encoding === 'url' ? decodeURIComponent((key ?? '').replaceAll('+', ' ')) : (key ?? '')
}
