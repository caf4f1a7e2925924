import type { PartLimits } from './part-plan.ts'
import type { StoreProvider } from './store-settings.ts'

const mebibyte = 2 ** 20
const gibibyte = 2 ** 30
const tebibyte = 2 ** 40

/** Where S3-compatible stores differ. */
export type S3Profile = PartLimits & {
  /**
   * `crc32`: the SDK adds `x-amz-checksum-crc32` to every upload. `signature`: no such header; the SHA-256 of the
   * body, which every request is signed with, is what the store checks.
   */
  readonly integrity: 'crc32' | 'signature'
  /** `http://host/bucket/key` instead of `http://bucket.host/key`. */
  readonly pathStyle: boolean
  /** `PutObject` with `If-None-Match: *` is refused with 412 when the key is taken. */
  readonly ifNoneMatch: boolean
  /** `ListMultipartUploads` understands a prefix; else all of the bucket is listed and filtered here. */
  readonly listsUploadsByPrefix: boolean
  /** Used when none is configured; undefined leaves it to the SDK's own sources. */
  readonly region: string | undefined
}

/**
 * The sources, per provider. Answers are never validated by the SDK: it cannot check the checksum of a multipart
 * object, and the SHA-256 in the manifest covers every object that matters.
 *
 * - aws: "Amazon S3 multipart upload limits" (10,000 parts of 5 MiB to 5 GiB, together 48.8 TiB; until 2025 no more
 *   than 5 TiB); "Checking object integrity"; API reference of PutObject (`If-None-Match: *`).
 * - minio: docs "Thresholds and Limits" (10,000 parts of up to 5 GiB; the 50 TiB of an object are never reached);
 *   github.com/minio/minio/issues/20989 (a prefix of `ListMultipartUploads` matches whole keys only; without one
 *   everything is listed).
 * - r2: docs "S3 API compatibility" (region `auto`, conditional operations), "Limits" (10,000 parts of up to 4.995 GiB,
 *   4.995 TiB an object) and "Multipart upload: limitations" (equal parts). The SDK's checksums stay off because R2
 *   refused them with 501 in 2025 (github.com/aws/aws-sdk-js-v3/issues/6810).
 * - b2: docs "S3-compatible API" and "Create Large Files" (10,000 parts of up to 5 GB, 10 TB an object); conditional
 *   writes are answered with 501 (github.com/lance-format/lance/issues/5614), `x-amz-checksum-crc32` was refused in
 *   2025 (the issue above).
 * - ceph: `rgw_multipart_part_upload_limit` (10,000) and `rgw_max_put_size` (5 GiB), no limit of the object; older
 *   releases ignore checksums (github.com/ceph/ceph/pull/55076); `If-None-Match` is honoured on unversioned buckets,
 *   tried on release 16; the tags of a multipart upload are lost (github.com/red-hat-storage/ceph-qe-scripts/pull/668
 *   and tried on release 16).
 * - generic: the least that any known store promises: 1,000 parts of up to 5 GB, 5 TB an object (Scaleway, "Managing
 *   multipart uploads").
 */
export const s3Profiles: Readonly<Record<StoreProvider, S3Profile>> = {
  aws: {
    integrity: 'crc32',
    pathStyle: false,
    maxParts: 10_000,
    equalParts: false,
    largestPartBytes: 5 * gibibyte,
    largestObjectBytes: 10_000 * 5 * gibibyte,
    ifNoneMatch: true,
    listsUploadsByPrefix: true,
    region: undefined,
  },
  minio: {
    integrity: 'crc32',
    pathStyle: true,
    maxParts: 10_000,
    equalParts: false,
    largestPartBytes: 5 * gibibyte,
    largestObjectBytes: 10_000 * 5 * gibibyte,
    ifNoneMatch: true,
    listsUploadsByPrefix: false,
    region: 'us-east-1',
  },
  r2: {
    integrity: 'signature',
    pathStyle: true,
    maxParts: 10_000,
    equalParts: true,
    largestPartBytes: 5 * gibibyte - 5 * mebibyte,
    largestObjectBytes: 5 * tebibyte - 5 * gibibyte,
    ifNoneMatch: true,
    listsUploadsByPrefix: true,
    region: 'auto',
  },
  b2: {
    integrity: 'signature',
    pathStyle: true,
    maxParts: 10_000,
    equalParts: false,
    largestPartBytes: 5e9,
    largestObjectBytes: 10e12,
    ifNoneMatch: false,
    listsUploadsByPrefix: true,
    region: undefined,
  },
  ceph: {
    integrity: 'signature',
    pathStyle: true,
    maxParts: 10_000,
    equalParts: false,
    largestPartBytes: 5 * gibibyte,
    largestObjectBytes: 10_000 * 5 * gibibyte,
    ifNoneMatch: true,
    listsUploadsByPrefix: true,
    region: 'us-east-1',
  },
  generic: {
    integrity: 'signature',
    pathStyle: true,
    maxParts: 1_000,
    equalParts: false,
    largestPartBytes: 5e9,
    largestObjectBytes: 5e12,
    ifNoneMatch: false,
    listsUploadsByPrefix: true,
    region: 'us-east-1',
  },
}
