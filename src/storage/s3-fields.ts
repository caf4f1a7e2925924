import { createHash } from 'node:crypto'
import type { S3Connection } from './s3-connection.ts'
import type { ObjectLockSettings } from './store-settings.ts'

/** The metadata entry by which a writer recognises its own object after a lost answer. */
export const writeIdName = 'pgproof-write'

/** The fields of every new object: the writer's id and the retention. */
export function objectFields(
  s3: S3Connection,
  writeId: string,
  lock: ObjectLockSettings | undefined,
): { Metadata: Record<string, string> } & Partial<LockFields> {
  return { Metadata: { [writeIdName]: writeId }, ...(lock === undefined ? {} : lockFields(s3, lock)) }
}

export type LockFields = { ObjectLockMode: 'GOVERNANCE' | 'COMPLIANCE'; ObjectLockRetainUntilDate: Date }

export function lockFields(s3: S3Connection, lock: ObjectLockSettings): LockFields {
  return {
    ObjectLockMode: lock.mode === 'governance' ? 'GOVERNANCE' : 'COMPLIANCE',
    ObjectLockRetainUntilDate: new Date(s3.clock.now().getTime() + lock.forMs),
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
  return { ...fields, ContentMD5: createHash('md5').update(body).digest('base64') }
}
