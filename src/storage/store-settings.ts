export type StoreProvider = 'aws' | 'minio' | 'r2' | 'b2' | 'ceph' | 'generic'

/** Everything that opening a store needs; the configuration's `store` section with its secrets behind functions. */
export type StoreSettings = {
  /** `s3://bucket/prefix` or `file:///directory`. */
  readonly url: string
  /** For anything that is not AWS, `https://s3.example.com`. */
  readonly endpoint?: string | undefined
  readonly region?: string | undefined
  readonly provider: StoreProvider
  /** Left out: the default credential chain of the AWS SDK. A function where it may change while the store is open. */
  readonly accessKeyId?: string | (() => string) | undefined
  readonly secretAccessKey?: (() => string) | undefined
  readonly sessionToken?: (() => string | undefined) | undefined
  /** PEM certificates that are trusted besides the system's. */
  readonly caFile?: string | undefined
  /** Smallest part of a multipart upload; raised where the expected size demands it. */
  readonly partSizeBytes?: number | undefined
  readonly partsInFlight?: number | undefined
  readonly objectLock?: ObjectLockSettings | undefined
  /** S3's `x-amz-server-side-encryption`; with `aws:kms` perhaps the id of a key. */
  readonly serverSideEncryption?: 'AES256' | 'aws:kms' | undefined
  readonly kmsKeyId?: string | undefined
  /** S3's own names, such as `STANDARD_IA`. */
  readonly storageClass?: string | undefined
  /** Of every object that is written. */
  readonly tags?: Readonly<Record<string, string>> | undefined
  /** Whether every write is refused that would replace an object, where the store knows such a condition. */
  readonly isAppendOnly?: boolean | undefined
  /** Whether `delete` also removes the versions that a versioned bucket keeps. Default `keep`. */
  readonly versions?: 'keep' | 'remove' | undefined
}

export type ObjectLockSettings = { readonly mode: 'governance' | 'compliance'; readonly forMs: number }
