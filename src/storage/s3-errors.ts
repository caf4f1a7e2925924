import { type ErrorCode, PgproofError, reasonOf } from '../errors.ts'

/** What a failed call was about. */
export type CallContext = {
  /** In S3's words, `PutObject of backups/…`. */
  readonly operation: string
  readonly key: string | undefined
  readonly bucket: string
  /** Address for messages. */
  readonly store: string
  readonly clockSkewSeconds: number | undefined
  /** Whether what is written there is to be put under Object Lock. */
  readonly locksObjects: boolean
}

/** A failure of an S3 call as an error of the register. Keeps no request: that would carry the session token. */
export function toStoreError(error: unknown, context: CallContext): PgproofError {
  if (error instanceof PgproofError) return error
  const { operation, key, bucket, store } = context
  const reason = reasonText(error)
  const details = detailsOf(error)
  const make = (code: ErrorCode, values: Readonly<Record<string, string | number>>) =>
    new PgproofError(code, { ...(code === 'STORE_DENIED' ? { advice: deniedAdvice } : {}), ...values }, { details })

  const name = nameOf(error)
  const status = httpStatus(error)
  if (name === 'CredentialsProviderError' || name === 'TokenProviderError')
    return make('STORE_CREDENTIALS_MISSING', { store, reason })
  if (name === 'NoSuchBucket') return make('STORE_BUCKET_MISSING', { bucket })
  if (name === 'NoSuchKey') return make('STORE_NOT_FOUND', { key: key ?? '' })
  if (name === 'RequestTimeTooSkewed')
    return make('STORE_FAILED', { operation, reason: `${reason}${skewText(context.clockSkewSeconds)}` })
  if (context.locksObjects && isLockMissing(error, operation)) return make('STORE_LOCK_MISSING', { bucket, reason })
  if (reason === 'Region is missing')
    return make('USAGE_INVALID', { reason: 'the store needs a region: set `store.region`' })
  if (fullNames.has(name) || status === 507) return make('STORE_FULL', { key: key ?? '' })
  if (wrongRegionNames.has(name) || status === 301)
    return make('STORE_DENIED', {
      operation,
      reason: `${reason}; the bucket is in another region than \`store.region\``,
      advice: regionAdvice(error),
    })
  if (expiredNames.has(name))
    return make('STORE_DENIED', { operation, reason: `${reason}; these credentials have expired, get new ones` })
  if (name === 'InvalidObjectState')
    return make('STORE_DENIED', { operation, reason: `${reason}; an archive class holds it, restore it there first` })
  if (status === 401 || status === 403 || deniedNames.has(name)) return make('STORE_DENIED', { operation, reason })
  if (isUntrusted(error))
    return make('STORE_UNREACHABLE', {
      store,
      reason: `${reason}; if a CA of your own signed it, set \`store.caFile\``,
    })
  if (status === undefined && isNetworkError(error)) return make('STORE_UNREACHABLE', { store, reason })
  return make('STORE_FAILED', { operation, reason })
}

const deniedAdvice =
  'Check the access key, its secret and the rights on the bucket and prefix. Without `store.accessKeyId` they come from ' +
  'AWS_ACCESS_KEY_ID and its like, or from a profile or role of AWS.'

function regionAdvice(error: unknown): string {
  const region = regionOf(error)
  if (region !== undefined) return `Set \`store.region: ${region}\`, which is what the store says.`
  return 'Set `store.region` to the region of the bucket; where there is an endpoint, to the one that belongs to it.'
}

/** Where the bucket is, by an answer that says that it is not here: in a header, an element, or only in words. */
function regionOf(error: unknown): string | undefined {
  const element = error instanceof Error && 'Region' in error ? error.Region : undefined
  const header = responseOf(error)?.headers?.['x-amz-bucket-region']
  const words =
    /expecting '([^']+)'/.exec(reasonOf(error)) ?? /^The ([a-z0-9-]+) location constraint/.exec(reasonOf(error))
  return [header, element, words?.[1]].find(
    (region): region is string => typeof region === 'string' && /^[a-z0-9-]{2,40}$/.test(region),
  )
}

/** AWS, MinIO and Ceph say it in different words, or with none; of a missing checksum they say another thing. */
function isLockMissing(error: unknown, operation: string): boolean {
  if (!/^(?:PutObject|PutObjectRetention|CreateMultipartUpload) /.test(operation)) return false
  if (nameOf(error) === 'ObjectLockConfigurationNotFoundError') return true
  if (nameOf(error) !== 'InvalidRequest' || httpStatus(error) !== 400) return false
  const said = reasonOf(error)
  return /object ?lock/i.test(said)
    ? !/content-md5|checksum/i.test(said)
    : /^(?:UnknownError|InvalidRequest)?$/.test(said)
}

/** Whether the same call may succeed when it is simply sent again. */
export function isTransient(error: unknown): boolean {
  if (error instanceof PgproofError || nameOf(error) === 'AbortError') return false
  // Of the service or the server that credentials come from.
  if (nameOf(error) === 'CredentialsProviderError') return isTransient((error as Error).cause)
  const status = httpStatus(error)
  if (status === undefined || status < 400)
    return isNetworkError(error) && !isCertificateError(error) && !isRefusedTls(error)
  return (
    status === 408 ||
    status === 429 ||
    (status >= 500 && status !== 501 && status !== 507) ||
    transientNames.has(nameOf(error))
  )
}

/**
 * Whether a call that failed like this may have been carried out all the same: no answer came, or one that a gateway
 * gives in the place of a server that may have worked on. Of those there are many (520 to 530 are Cloudflare's), so what
 * is no refusal of the store's own counts as one.
 */
export function mayHaveWorked(error: unknown): boolean {
  if (error instanceof PgproofError) return false
  const status = httpStatus(error)
  if (status !== undefined) return status < 300 || status === 408 || (status >= 500 && !isRefusal(error, status))
  if (nameOf(error) === 'AbortError') return true
  if (reasonOf(error).includes('did not establish a connection')) return false
  return isNetworkError(error) && !isCertificateError(error) && !isUnsent(error)
}

/** Whether the store may be at work on such a call even now: nobody answered, or only a gateway that gave up waiting. */
export function mayStillWork(error: unknown): boolean {
  const status = httpStatus(error)
  // With 500 it is the store that has given up.
  return mayHaveWorked(error) && (status === undefined || status > 500)
}

/** A 5xx before anything was done: the store cannot do it, has no room, or says itself that it is too busy. */
function isRefusal(error: unknown, status: number): boolean {
  return status === 501 || status === 507 || (status === 503 && hasS3Code(error))
}

/** Whether the answer was an error in S3's words. */
function hasS3Code(error: unknown): boolean {
  return error instanceof Error && 'Code' in error && typeof error.Code === 'string' && error.Code !== ''
}

/** What `Retry-After` asks for, in milliseconds: it counts seconds or names an instant. */
export function retryAfterMs(error: unknown, now: Date): number | undefined {
  const text = responseOf(error)?.headers?.['retry-after']?.trim() ?? ''
  if (/^\d+$/.test(text)) return Number(text) * 1000
  const instant = Date.parse(text)
  return Number.isNaN(instant) ? undefined : instant - now.getTime()
}

/** The HTTP status of the store's answer; undefined when none came. */
export function httpStatus(error: unknown): number | undefined {
  return metadataOf(error)?.httpStatusCode
}

/** S3's name for the failure, `NoSuchUpload`. */
export function nameOf(error: unknown): string {
  return error instanceof Error ? error.name : ''
}

const fullNames = new Set([
  'QuotaExceeded',
  'XMinioStorageFull',
  'XMinioAdminBucketQuotaExceeded',
  'InsufficientCapacity',
])

/** Temporary credentials that were good once. */
const expiredNames = new Set(['ExpiredToken', 'ExpiredTokenException', 'TokenRefreshRequired', 'RequestExpired'])

/** Answered with 400, but about who is asking. */
const deniedNames = new Set(['AccessDenied', 'InvalidToken'])

const wrongRegionNames = new Set([
  'PermanentRedirect',
  'AuthorizationHeaderMalformed',
  'IllegalLocationConstraintException',
])

/** Answered with a 4xx although nothing is wrong with the request: damaged on the way, or too many at once. */
const transientNames = new Set([
  'BadDigest',
  'IncompleteBody',
  'XAmzContentSHA256Mismatch',
  'XAmzContentChecksumMismatch',
  'RequestTimeout',
  'SlowDown',
  'OperationAborted',
  'ConditionalRequestConflict',
])

/** No connection came about: the store is out of reach, or this machine has no port or no file left for one. */
const unsentCodes = new Set([
  'ECONNREFUSED',
  'EHOSTUNREACH',
  'EHOSTDOWN',
  'ENETUNREACH',
  'ENETDOWN',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EADDRNOTAVAIL',
  'EMFILE',
  'ENFILE',
])

const networkCodes = new Set([
  ...unsentCodes,
  'ECONNRESET',
  'ECONNABORTED',
  'EPIPE',
  'ETIMEDOUT',
  'ENETRESET',
  'ENOBUFS',
  'ERR_STREAM_PREMATURE_CLOSE',
])

function isNetworkError(error: unknown): boolean {
  const code = codeOf(error)
  return (
    nameOf(error) === 'TimeoutError' ||
    networkCodes.has(code) ||
    code.startsWith('HPE_') ||
    isTlsError(error) ||
    isCertificateError(error) ||
    isCutAnswer(error)
  )
}

/**
 * Of TLS itself, in OpenSSL's words: in a handshake, or on a connection that is in use, where an alert or a damaged record
 * ends it. Node says EPROTO where it was writing, which in a handshake it always is.
 */
function isTlsError(error: unknown): boolean {
  return /^(?:EPROTO$|ERR_SSL_)/.test(codeOf(error))
}

/** An alert by which a server wants nothing of us: another version, or a certificate that we do not have. */
const refusingAlert =
  /alert (?:protocol version|handshake failure|insufficient security|no application protocol|unknown ca|access denied|(?:\w+ )?certificate)\b|unrecognized name/
/** What answers speaks no TLS, or none of our versions; on a connection that is in use it is a damaged record. */
const otherProtocol = /wrong version number|unsupported protocol/

/** A refusal that another try ends in as well. A handshake is tried again: the server may be about to restart. */
function isRefusedTls(error: unknown): boolean {
  const reason = reasonOf(error)
  return codeOf(error).startsWith('ERR_SSL_') && (refusingAlert.test(reason) || otherProtocol.test(reason))
}

/** Whether the request certainly never left, or was refused unseen. */
function isUnsent(error: unknown): boolean {
  const code = codeOf(error)
  const reason = reasonOf(error)
  // A line that has been dead for long can end an established connection by the same names.
  if (unsentCodes.has(code)) return !/^(?:read|write) /.test(reason)
  return isTlsError(error) && (refusingAlert.test(reason) || (code === 'EPROTO' && otherProtocol.test(reason)))
}

function isCertificateError(error: unknown): boolean {
  return /^(?:CERT_|ERR_TLS_CERT_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_)/.test(codeOf(error))
}

/** A certificate that no CA known here has signed, which is not one that has expired or is of another host. */
function isUntrusted(error: unknown): boolean {
  return /^(?:DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_)/.test(codeOf(error))
}

/** An answer of 200 whose body ended early: the SDK's parser stumbles over the rest, or the stream says `aborted`. */
function isCutAnswer(error: unknown): boolean {
  const status = httpStatus(error)
  if (status !== undefined && status < 300) return true
  return error instanceof Error && (error.message === 'aborted' || error.message === 'terminated')
}

function codeOf(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  return typeof code === 'string' ? code : ''
}

function metadataOf(error: unknown): SdkMetadata | undefined {
  return error instanceof Error && '$metadata' in error ? (error.$metadata as SdkMetadata) : undefined
}

/** The answer that the SDK made this error of. */
export function responseOf(error: unknown): SdkResponse | undefined {
  return error instanceof Error && '$response' in error ? (error.$response as SdkResponse) : undefined
}

type SdkResponse = { headers?: Record<string, string | undefined> }

type SdkMetadata = { httpStatusCode?: number; requestId?: string }

/** S3's name and message; some stores send no message, then the status stands in. */
function reasonText(error: unknown): string {
  const status = httpStatus(error)
  const text = reasonOf(error).replace(/^@smithy\/node-http-handler - (?:\[ERROR\] )?/, '')
  if (status === undefined) return text
  const name = nameOf(error)
  const title = name === '' || name === 'Unknown' || name === 'Error' || /^\d+$/.test(name) ? '' : name
  // What the SDK's parser thinks of a gateway's page says nothing.
  const isSilent = text === 'UnknownError' || text === name || (status >= 400 && text.includes('Deserialization error'))
  const said = isSilent ? '' : text
  return [title, said].filter((part) => part !== '').join(': ') || `HTTP status ${status}`
}

function detailsOf(error: unknown): string | undefined {
  const metadata = metadataOf(error)
  if (metadata?.httpStatusCode === undefined) return undefined
  const request = metadata.requestId === undefined ? '' : `, request ${metadata.requestId}`
  return `HTTP status ${metadata.httpStatusCode}${request}`
}

function skewText(seconds: number | undefined): string {
  if (seconds === undefined) return ''
  const amount = Math.abs(Math.round(seconds))
  return `; the store's clock is ${amount} s ${seconds < 0 ? 'behind' : 'ahead of'} this machine's`
}
