import { type PlainAnswer, PlainGets, type SentRequest } from './s3-plain-get.ts'

/** Reads small objects without the SDK, where that is simple: a store of 10,000 backups is 14,000 of them. */
export class SmallReads {
  readonly #gets: PlainGets

  constructor(parts: ConstructorParameters<typeof PlainGets>[0]) {
    this.#gets = new PlainGets(parts)
  }

  /** Looks at a request of the SDK for the object of this full key. */
  learn(sent: SentRequest, fullKey: string): void {
    if (isPlain(fullKey)) this.#gets.learn(sent, fullKey)
  }

  /** The object, if it can be had at once and has at most `maxBytes`; undefined says nothing at all. Throws if aborted. */
  async get(fullKey: string, maxBytes: number, signal: AbortSignal): Promise<Uint8Array | undefined> {
    if (!isPlain(fullKey)) return undefined
    return await this.#gets.get({ what: `GetObject of ${fullKey}`, path: fullKey, maxBytes }, objectOf, signal)
  }
}

/** A key that every way of writing a URL leaves as it is. */
function isPlain(key: string): boolean {
  return /^[A-Za-z0-9_.-]+(?:\/[A-Za-z0-9_.-]+)*$/.test(key) && !/(?:^|\/)\.\.?(?:\/|$)/.test(key)
}

/** Throws for whatever is not a whole object. */
function objectOf({ status, headers, body }: PlainAnswer): Uint8Array {
  const isObject =
    status === 200 &&
    headers.etag !== undefined &&
    // Else nothing tells that it is whole.
    headers['content-length'] !== undefined &&
    headers['content-encoding'] === undefined &&
    !/^text\/html\b/i.test(headers['content-type'] ?? '')
  if (!isObject) throw new Error('not simply the object')
  return body
}
