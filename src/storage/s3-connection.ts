import { X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { Agent as HttpAgent } from 'node:http'
import { Agent as HttpsAgent } from 'node:https'
import type { Readable } from 'node:stream'
import { getCACertificates } from 'node:tls'
import { GetObjectCommand, HeadBucketCommand, S3Client } from '@aws-sdk/client-s3'
import { NodeHttpHandler } from '@smithy/node-http-handler'
import type { Clock } from '../clock.ts'
import { PgproofError, reasonOf } from '../errors.ts'
import type { Log } from '../log.ts'
import { abortError } from './abortable.ts'
import { PiecewiseCrc32, PiecewiseSha256 } from './body-hashes.ts'
import { brisk, patient, retrying } from './retrying.ts'
import { checkAnswers } from './s3-answers.ts'
import { awaitCredentials } from './s3-credentials.ts'
import { httpStatus, isTransient, nameOf, responseOf, retryAfterMs, toStoreError } from './s3-errors.ts'
import { type Agents, PlainGets, type SentRequest } from './s3-plain-get.ts'
import { type S3Profile, s3Profiles } from './s3-profiles.ts'
import { SmallReads } from './s3-small-read.ts'
import type { StoreSettings } from './store-settings.ts'

/** How long the store may be silent, in milliseconds. */
export type S3Timeouts = {
  /** Until TCP is connected. */
  readonly connectMs: number
  /** Without a byte in either direction; covers TLS, uploads, waiting for the answer and downloads. */
  readonly idleMs: number
  /** From the start of a request to the first byte of its answer, however busy the line is. */
  readonly answerMs: number
}

export type S3Parts = {
  readonly clock: Clock
  readonly log: Log
  readonly timeouts?: S3Timeouts
  /** Instead of the provider's, for a store that fits none of them. */
  readonly profile?: S3Profile
}

/** What every call gets besides its command. */
export type CallOptions = { readonly abortSignal: AbortSignal }

const defaultTimeouts: S3Timeouts = { connectMs: 5_000, idleMs: 60_000, answerMs: 600_000 }

/** One bucket of one S3 server: the client, its retries, its errors, and what its answers say about its clock. */
export class S3Connection {
  readonly client: S3Client
  readonly bucket: string
  /** Empty, or ends in a slash. */
  readonly prefix: string
  readonly url: string
  readonly profile: S3Profile
  /** Of every write: a policy of the bucket may demand that none replaces anything. */
  readonly condition: { readonly IfNoneMatch?: '*' }
  readonly clock: Clock
  readonly log: Log
  readonly timeouts: S3Timeouts
  readonly smallReads: SmallReads
  readonly plainLists: PlainGets
  readonly #address: string
  readonly #locksObjects: boolean
  /** Refusals that may be due to nothing but the clock by which the request was signed. */
  readonly #refusedByClock = new WeakSet<object>()
  #skewSeconds: number | undefined
  #bucketIsThere = false

  /** Opens nothing yet. Throws `USAGE_INVALID` for settings that cannot work and an unreadable CA file. */
  constructor(settings: StoreSettings, parts: S3Parts) {
    const place = parseS3Url(settings.url)
    this.bucket = place.bucket
    this.prefix = place.prefix
    this.url = `s3://${place.bucket}/${place.prefix}`.replace(/\/$/, '')
    this.profile = parts.profile ?? s3Profiles[settings.provider]
    this.condition = settings.isAppendOnly === true && this.profile.ifNoneMatch ? { IfNoneMatch: '*' } : {}
    this.timeouts = parts.timeouts ?? defaultTimeouts
    this.clock = parts.clock
    this.log = parts.log
    this.#address = settings.endpoint === undefined ? this.url : `${this.url} at ${withoutLogin(settings.endpoint)}`
    this.#locksObjects = settings.objectLock !== undefined
    const agents = makeAgents(settings.caFile)
    this.client = makeClient(settings, this, agents)
    const plain = {
      agents,
      credentials: () => this.client.config.credentials(),
      clock: this.clock,
      now: () => this.storeTime(),
      idleMs: Math.min(plainIdleMs, this.timeouts.idleMs),
    }
    this.smallReads = new SmallReads(plain)
    this.plainLists = new PlainGets(plain)
    checkAnswers(this.client)
    this.client.middlewareStack.add(
      (next, context) => async (args) => {
        const result = await next(args)
        this.noteDate((result.response as HttpResponse).headers?.['date'])
        if (isRefusedByClock(args.request as SentRequest, result.response as HttpResponse))
          this.#refusedByClock.add(result.response as HttpResponse)
        assertNoWebPage(result.response, this.#address)
        const { Key, Range } = args.input as { readonly Key?: string; readonly Range?: string }
        if (context.commandName === 'GetObjectCommand' && Key !== undefined && Range === undefined)
          for (const gets of [this.smallReads, this.plainLists]) gets.learn(args.request as SentRequest, Key)
        if (context.commandName === 'ListObjectsV2Command') this.plainLists.learn(args.request as SentRequest, '')
        return result
      },
      { step: 'deserialize', priority: 'low', name: 'pgproofClock' },
    )
  }

  /** The full key in the bucket. */
  fullKey(key: string): string {
    return this.prefix + key
  }

  /**
   * Makes one S3 call, with retries. Every call that pgproof makes may be repeated: reads, deletes and aborts by
   * nature, uploads because they carry the same bytes from memory; `CreateMultipartUpload` and
   * `CompleteMultipartUpload` settle a lost answer themselves. The SDK's own retries are off.
   */
  async call<T>(
    operation: string,
    key: string | undefined,
    signal: AbortSignal,
    attempt: (options: CallOptions) => Promise<T>,
  ): Promise<T> {
    const what = key === undefined ? operation : `${operation} of ${key}`
    try {
      return await this.attempt(what, signal, attempt)
    } catch (error) {
      throw this.toError(error, what, key, signal)
    }
  }

  /** Like `call`, but undefined when the object or upload that is asked for does not exist. */
  async callUnlessAbsent<T>(
    operation: string,
    key: string,
    signal: AbortSignal,
    attempt: (options: CallOptions) => Promise<T>,
  ): Promise<T | undefined> {
    const what = `${operation} of ${key}`
    try {
      return await this.attempt(what, signal, attempt)
    } catch (error) {
      if (isAbsent(error)) return undefined
      throw this.toError(await this.#withReason(error, operation, key, signal), what, key, signal)
    }
  }

  /**
   * An answer to a HEAD has no body, and with it no reason: expired credentials are nothing but a 400. The same asked by
   * GET says why.
   */
  async #withReason(error: unknown, operation: string, key: string, signal: AbortSignal): Promise<unknown> {
    if (operation !== 'HeadObject' || ![301, 400, 401, 403].includes(httpStatus(error) ?? 0) || signal.aborted)
      return error
    const place = { Bucket: this.bucket, Key: this.fullKey(key), Range: 'bytes=0-0' }
    try {
      const { Body } = await this.client.send(new GetObjectCommand(place), { abortSignal: signal })
      ;(Body as Readable).destroy()
      return error
    } catch (spoken) {
      return httpStatus(spoken) === httpStatus(error) ? spoken : error
    }
  }

  /** Like `call`, but throws the SDK's own error, for callers that must tell its kinds apart. */
  async attempt<T>(what: string, signal: AbortSignal, attempt: (options: CallOptions) => Promise<T>): Promise<T> {
    if (signal.aborted) throw abortError(signal, what)
    const attemptSigned = async (): Promise<T> => {
      await awaitCredentials(this.client, what, signal)
      return await attempt({ abortSignal: signal })
    }
    return await retrying(attemptSigned, {
      what,
      patience: () => (this.#skewSeconds === undefined ? brisk : patient),
      // The SDK signs the next one by the time that this answer told.
      isTransient: (error) => isTransient(error) || this.#refusedByClock.has(responseOf(error) ?? {}),
      wishMs: (error) => retryAfterMs(error, this.clock.now()),
      clock: this.clock,
      log: this.log,
      signal,
    })
  }

  toError(error: unknown, what: string, key: string | undefined, signal: AbortSignal): PgproofError {
    if (signal.aborted) return abortError(signal, what)
    const clockSkewSeconds = this.#skewSeconds
    const place = { key, bucket: this.bucket, store: this.#address }
    return toStoreError(error, { operation: what, ...place, clockSkewSeconds, locksObjects: this.#locksObjects })
  }

  /**
   * Throws `STORE_BUCKET_MISSING` if the bucket does not exist. A `HeadObject` cannot tell a missing bucket from a
   * missing object, so an absence is believed only after this; asked once.
   */
  async assertBucket(signal: AbortSignal): Promise<void> {
    if (this.#bucketIsThere) return
    try {
      await this.attempt('HeadBucket', signal, (options) =>
        this.client.send(new HeadBucketCommand({ Bucket: this.bucket }), options),
      )
    } catch (error) {
      if (httpStatus(error) === 404) throw new PgproofError('STORE_BUCKET_MISSING', { bucket: this.bucket })
      // A key that may not ask for the bucket may still be allowed to use it.
      if (httpStatus(error) !== 403) throw this.toError(error, 'HeadBucket', undefined, signal)
    }
    this.#bucketIsThere = true
  }

  clockSkewSeconds(): number | undefined {
    return this.#skewSeconds
  }

  /** The time by the store's clock, as far as its last answer told it. */
  storeTime(): Date {
    return new Date(this.clock.now().getTime() + (this.#skewSeconds ?? 0) * 1000)
  }

  close(): void {
    this.client.destroy()
  }

  /** What an answer's header `Date` says of the store's clock. */
  noteDate(header: string | undefined): void {
    const time = Date.parse(header ?? '')
    // The header counts whole seconds; half of one is the least wrong.
    if (!Number.isNaN(time)) this.#skewSeconds = (time + 500 - this.clock.now().getTime()) / 1000
  }
}

/** An answer that the object or the upload is not there; a missing bucket is none. */
export function isAbsent(error: unknown): boolean {
  return httpStatus(error) === 404 && nameOf(error) !== 'NoSuchBucket'
}

/**
 * Whether the store refused what was signed more than four minutes off its own time; most allow fifteen. (The SDK flags every
 * failure of a client whose clock is off, a 404 as well.)
 */
function isRefusedByClock({ headers: sent }: SentRequest, { statusCode, headers = {} }: HttpResponse): boolean {
  if (![400, 401, 403].includes(statusCode ?? 0)) return false
  const signed = (sent['x-amz-date'] ?? '').replace(/^(\d{4})(\d\d)(\d\dT\d\d)(\d\d)/, '$1-$2-$3:$4:')
  return Math.abs(Date.parse(signed) - Date.parse(headers['date'] ?? '')) > 240_000
}

/**
 * A captive portal or a proxy answers everything with a page of its own and 200; nothing of pgproof's is HTML. The
 * answer to a HEAD has the type of the page as well.
 */
function assertNoWebPage(response: unknown, store: string): void {
  const { statusCode, headers = {}, body } = response as HttpResponse
  if (statusCode !== 200 || !/^text\/html\b/i.test(headers['content-type'] ?? '') || headers['content-length'] === '0')
    return
  // Nobody will read it, and it would keep its socket.
  body?.destroy()
  throw new PgproofError('STORE_UNREACHABLE', {
    store,
    reason: 'a web page answers in its place, of a proxy or a login; the endpoint is the address of the S3 interface',
  })
}

type HttpResponse = { statusCode?: number; headers?: Record<string, string>; body?: Readable }

/** How long the quick way to a small object or a page may be silent, in milliseconds. */
const plainIdleMs = 10_000

/** An index reads 128 documents at once (`catalog/rebuild.ts`); its listing, and the parts of an upload, are not to wait for them. */
const mostSockets = 160

function makeAgents(caFile: string | undefined): Agents {
  return {
    http: new HttpAgent({ keepAlive: true, maxSockets: mostSockets }),
    https: new HttpsAgent({ keepAlive: true, maxSockets: mostSockets, ...trusted(caFile) }),
  }
}

function makeClient(
  settings: StoreSettings,
  { profile, timeouts, clock }: Pick<S3Connection, 'profile' | 'timeouts' | 'clock'>,
  agents: Agents,
): S3Client {
  const { connectMs, idleMs, answerMs } = timeouts
  const { accessKeyId, secretAccessKey, sessionToken } = settings
  if ((accessKeyId === undefined) !== (secretAccessKey === undefined))
    throw new PgproofError('USAGE_INVALID', {
      reason: 'the store needs both an access key id and a secret, or neither',
    })
  // Requests cannot be signed without one, and servers that are not AWS mostly ignore it.
  const fallback = settings.endpoint === undefined ? undefined : 'us-east-1'
  const region = regionOf(settings.endpoint) ?? settings.region ?? profile.region ?? fallback
  const quiet = () => {}
  const logger = { trace: quiet, debug: quiet, info: quiet, warn: quiet, error: quiet }
  return new S3Client({
    ...(region === undefined ? {} : { region }),
    ...(settings.endpoint === undefined ? {} : { endpoint: settings.endpoint }),
    ...(accessKeyId === undefined || secretAccessKey === undefined
      ? {}
      : {
          credentials: async () => {
            const token = sessionToken?.()
            return {
              accessKeyId: typeof accessKeyId === 'string' ? accessKeyId : accessKeyId(),
              secretAccessKey: secretAccessKey(),
              ...(token === undefined ? {} : { sessionToken: token }),
              // Else the SDK would never ask again; they may be others by the next request.
              expiration: clock.now(),
            }
          },
        }),
    forcePathStyle: profile.pathStyle,
    requestChecksumCalculation: profile.integrity === 'crc32' ? 'WHEN_SUPPORTED' : 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    sha256: PiecewiseSha256,
    checksumAlgorithms: { CRC32: PiecewiseCrc32 },
    // Else the SDK opens a fresh connection for every part.
    expectContinueHeader: false,
    maxAttempts: 1,
    logger,
    requestHandler: new NodeHttpHandler({
      connectionTimeout: connectMs,
      socketTimeout: idleMs,
      requestTimeout: answerMs,
      // Else a breach is only logged.
      throwOnRequestTimeout: true,
      httpAgent: agents.http,
      httpsAgent: agents.https,
      logger,
    }),
  })
}

function trusted(caFile: string | undefined): { ca?: string[] } {
  if (caFile === undefined) return {}
  try {
    const own = readFileSync(caFile, 'utf8').match(pemCertificate) ?? []
    // OpenSSL passes over what it cannot read, and then nothing is trusted.
    if (own.length === 0) throw new Error('no PEM certificate is in it')
    for (const pem of own) new X509Certificate(pem)
    return { ca: [...getCACertificates('default'), ...own] }
  } catch (error) {
    throw new PgproofError('USAGE_INVALID', { reason: `cannot read the CA file ${caFile}: ${reasonOf(error)}` })
  }
}

const pemCertificate = /-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g

/** B2 demands the region that is part of its host names, `s3.eu-central-003.backblazeb2.com`. */
function regionOf(endpoint: string | undefined): string | undefined {
  return endpoint === undefined ? undefined : /\/\/s3\.([a-z0-9-]+)\.backblazeb2\.com/.exec(endpoint)?.[1]
}

function parseS3Url(text: string): { bucket: string; prefix: string } {
  const match = /^s3:\/\/([a-zA-Z0-9][a-zA-Z0-9._-]*)(?:\/(.*))?$/.exec(text)
  if (match === null) throw new PgproofError('USAGE_INVALID', { reason: 'the store URL is not s3://bucket/prefix' })
  const path = (match[2] ?? '').replaceAll(/\/+/g, '/').replaceAll(/^\/|\/$/g, '')
  return { bucket: match[1] as string, prefix: path === '' ? '' : `${path}/` }
}

function withoutLogin(endpoint: string): string {
  return endpoint.replace(/\/\/[^/@]*@/, '//')
}
