import { createHmac, createSecretKey, hash, type KeyObject } from 'node:crypto'
import { type Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http'
import { type Agent as HttpsAgent, request as httpsRequest } from 'node:https'
import type { Clock } from '../clock.ts'
import { abortError, whenAborted } from './abortable.ts'

export type Agents = { readonly http: HttpAgent; readonly https: HttpsAgent }

export type Credentials = {
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly sessionToken?: string | undefined
}

/** A GET as the SDK sent it. */
export type SentRequest = {
  readonly protocol: string
  readonly hostname: string
  readonly port?: number | undefined
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
}

export type PlainGetParts = {
  readonly agents: Agents
  readonly credentials: () => Promise<Credentials>
  readonly clock: Pick<Clock, 'monotonicMs'>
  /** By the store's clock. */
  readonly now: () => Date
  /** Without a byte for so long, in milliseconds, the SDK does it. */
  readonly idleMs: number
}

/** A whole answer, of any status but 404. */
export type PlainAnswer = {
  readonly status: number
  readonly headers: IncomingMessage['headers']
  readonly body: Buffer
}

type Wanted = {
  /** Of the operation, for messages. */
  readonly what: string
  /** What follows the path that was learned; nothing that a URL would write in another way. */
  readonly path: string
  readonly query?: Readonly<Record<string, string>>
  readonly maxBytes: number
}

/**
 * GETs with a fifth of the work that the SDK makes of each. It sends what the SDK sent for the first one, for another key or
 * page, signed anew. Whatever is not simply what was asked for, it leaves to the SDK, with its retries and words: it only
 * ever answers, or knows nothing.
 */
export class PlainGets {
  readonly #parts: PlainGetParts
  #place: Place | undefined
  #failuresInRow = 0
  #restsUntilMs = 0
  #signer: { readonly id: string; readonly key: KeyObject } | undefined
  /** What ends all that is under way for each signal: one listener for all of it, else each request pays for its own. */
  readonly #running = new Map<
    AbortSignal,
    { readonly ends: Set<(error: Error) => void>; readonly release: () => void }
  >()

  constructor(parts: PlainGetParts) {
    this.#parts = parts
  }

  /** Looks at a request of the SDK whose path ends in `path`. */
  learn(sent: SentRequest, path: string): void {
    if (this.#place !== undefined || !sent.path.endsWith(`/${path}`)) return
    const region = /^AWS4-HMAC-SHA256 Credential=[^/]+\/\d{8}\/([^/]+)\/s3\/aws4_request,/.exec(
      sent.headers['authorization'] ?? '',
    )?.[1]
    const host = sent.headers['host']
    if (region === undefined || host === undefined || !['http:', 'https:'].includes(sent.protocol)) return
    const { protocol, hostname, port } = sent
    const base = sent.path.slice(0, sent.path.length - path.length)
    this.#place = { protocol, hostname, port, host, region, base }
  }

  /** What `take` makes of the answer; undefined, also where it throws, says nothing at all. Throws if aborted. */
  async get<T>(wanted: Wanted, take: (answer: PlainAnswer) => T, signal: AbortSignal): Promise<T | undefined> {
    const place = this.#place
    if (place === undefined || this.#parts.clock.monotonicMs() < this.#restsUntilMs) return undefined
    try {
      const answer = await this.#send(place, wanted, await this.#credentials(signal), signal)
      const taken = answer === undefined ? undefined : take(answer)
      this.#failuresInRow = 0
      return taken
    } catch {
      if (signal.aborted) throw abortError(signal, wanted.what)
      this.#failuresInRow += 1
      if (this.#failuresInRow < mostFailures) return undefined
      this.#failuresInRow = 0
      this.#restsUntilMs = this.#parts.clock.monotonicMs() + restMs
      return undefined
    }
  }

  /** The SDK's chain knows no abort signal: a program that it asks may hang. */
  async #credentials(signal: AbortSignal): Promise<Credentials> {
    if (signal.aborted) throw abortedError()
    let release = (): void => {}
    const aborted = new Promise<never>((_resolve, reject) => {
      release = this.#onAbort(signal, reject)
    })
    try {
      return await Promise.race([this.#parts.credentials(), aborted])
    } finally {
      release()
    }
  }

  async #send(
    { protocol, hostname, port, base, ...place }: Place,
    { path: end, query = {}, maxBytes }: Wanted,
    credentials: Credentials,
    signal: AbortSignal,
  ): Promise<PlainAnswer | undefined> {
    const { agents, idleMs } = this.#parts
    const path = `${base}${end}`
    const queryText = canonicalQuery(query)
    const headers = this.#signed({ ...place, path, query: queryText }, credentials)
    const [send, agent] = protocol === 'https:' ? [httpsRequest, agents.https] : [httpRequest, agents.http]
    const options = {
      hostname,
      path: queryText === '' ? path : `${path}?${queryText}`,
      headers,
      agent,
      timeout: idleMs,
      ...(port === undefined ? {} : { port }),
    }
    return await new Promise((resolve, reject) => {
      if (signal.aborted) throw abortedError()
      const sent = send(options, (answer) => {
        if (answer.statusCode === 404 || Number(answer.headers['content-length']) > maxBytes) {
          // Nothing is wrong with this way; nobody will read the answer, and it would keep its socket.
          sent.destroy()
          resolve(undefined)
          return
        }
        collect(answer, maxBytes, resolve, (error) => {
          sent.destroy(error)
          reject(error)
        })
      })
      const release = this.#onAbort(signal, (error) => sent.destroy(error))
      sent.on('close', release)
      sent.on('error', reject)
      sent.on('timeout', () => sent.destroy(new Error('no answer')))
      sent.end()
    })
  }

  /** Calls `end` when the signal fires, which it has not yet; the returned function takes that back. */
  #onAbort(signal: AbortSignal, end: (error: Error) => void): () => void {
    const ends = this.#running.get(signal)?.ends ?? new Set()
    ends.add(end)
    if (ends.size === 1) {
      const release = whenAborted(signal, () => {
        for (const one of ends) one(abortedError())
      })
      this.#running.set(signal, { ends, release })
    }
    return () => {
      ends.delete(end)
      if (ends.size > 0) return
      this.#running.get(signal)?.release()
      this.#running.delete(signal)
    }
  }

  /** AWS Signature Version 4 of a GET without a body. */
  #signed(
    { path, query, host, region }: Pick<Place, 'host' | 'region'> & { readonly path: string; readonly query: string },
    { accessKeyId, secretAccessKey, sessionToken }: Credentials,
  ): Record<string, string> {
    const time = this.#parts
      .now()
      .toISOString()
      .replaceAll(/[-:]|\.\d+/g, '')
    const scope = `${time.slice(0, 8)}/${region}/s3/aws4_request`
    const headers: Record<string, string> = {
      host,
      'x-amz-content-sha256': emptySha256,
      'x-amz-date': time,
      ...(sessionToken === undefined ? {} : { 'x-amz-security-token': sessionToken }),
    }
    const names = Object.keys(headers).join(';')
    const lines = Object.entries(headers).map(([name, value]) => `${name}:${value}\n`)
    const request = ['GET', path, query, lines.join(''), names, emptySha256].join('\n')
    const text = ['AWS4-HMAC-SHA256', time, scope, hash('sha256', request)].join('\n')
    const key = this.#keyOf(secretAccessKey, scope)
    const signature = createHmac('sha256', key).update(text).digest('hex')
    const authorization = `AWS4-HMAC-SHA256 Credential=${accessKeyId}/${scope}, SignedHeaders=${names}, Signature=${signature}`
    return { ...headers, authorization }
  }

  #keyOf(secret: string, scope: string): KeyObject {
    const id = `${scope} ${secret}`
    if (this.#signer?.id !== id) {
      const hmac = (key: string | Buffer, text: string): Buffer => createHmac('sha256', key).update(text).digest()
      const key = scope.split('/').reduce<string | Buffer>(hmac, `AWS4${secret}`) as Buffer
      // As bytes it would be made into a key again for every request, which takes longer than the signature.
      this.#signer = { id, key: createSecretKey(key) }
    }
    return this.#signer.key
  }
}

/** For nobody's eyes: the caller is told the signal's own reason. */
function abortedError(): Error {
  return new Error('aborted')
}

type Place = Omit<SentRequest, 'path' | 'headers'> & {
  readonly host: string
  readonly region: string
  /** Of the path, ends in a slash. */
  readonly base: string
}

/** In a row; then the store is not one for this, or has an outage, and the SDK does all for a while. */
const mostFailures = 5
const restMs = 600_000
const emptySha256 = hash('sha256', '')

/** In the order and the writing that the signature demands. */
function canonicalQuery(query: Readonly<Record<string, string>>): string {
  return Object.entries(query)
    .map(([name, value]) => `${uriEncoded(name)}=${uriEncoded(value)}`)
    .sort()
    .join('&')
}

function uriEncoded(text: string): string {
  return encodeURIComponent(text).replaceAll(
    /[!'()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  )
}

/** Hands over the whole answer, or fails for one that is cut, or too large. */
function collect(
  answer: IncomingMessage,
  maxBytes: number,
  take: (answer: PlainAnswer) => void,
  fail: (error: Error) => void,
): void {
  const { statusCode = 0, headers } = answer
  const chunks: Buffer[] = []
  let bytes = 0
  answer.on('data', (chunk: Buffer) => {
    chunks.push(chunk)
    bytes += chunk.length
    if (bytes > maxBytes) fail(new Error('too large'))
  })
  answer.on('error', fail)
  answer.on('close', () => {
    const length = headers['content-length']
    if (!answer.complete || (length !== undefined && bytes !== Number(length))) fail(new Error('not the whole answer'))
    else take({ status: statusCode, headers, body: Buffer.concat(chunks, bytes) })
  })
}
