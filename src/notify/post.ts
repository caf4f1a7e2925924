import { STATUS_CODES } from 'node:http'
import { version } from '../version.ts'
import { type Attempt, delivered, refused } from './channel.ts'

export type Post = {
  readonly url: URL
  readonly type: 'application/json' | 'text/plain; charset=utf-8'
  readonly body: string
  /** A bearer token; undefined: user and password in the URL, if it has them. */
  readonly token?: string | undefined
}

/**
 * One POST. What the receiver says in its answer is not repeated: it may hold the URL, which is a secret. A redirect is
 * not followed: it would take the notice, and the token, to somebody who is not configured.
 */
export async function post({ url, type, body, token }: Post, now: () => Date, signal: AbortSignal): Promise<Attempt> {
  try {
    const response = await fetch(withoutUser(url), {
      method: 'POST',
      redirect: 'manual',
      headers: { 'content-type': type, 'user-agent': `pgproof/${version}`, ...authorization(url, token) },
      body,
      signal,
    })
    await response.body?.cancel()
    return judge(response, now)
  } catch (thrown) {
    return refused(signal.aborted ? 'it did not answer in time' : reasonWithout(url, thrown), true)
  }
}

function judge({ status, headers }: Response, now: () => Date): Attempt {
  if (status >= 200 && status < 300) return delivered
  if (status >= 300 && status < 400) return refused(`it redirects elsewhere (${status}): give the final URL`, false)
  const reason = `it answered ${status} ${STATUS_CODES[status] ?? ''}`.trim()
  const isRetryable = status >= 500 || status === 408 || status === 425 || status === 429
  return refused(reason, isRetryable, isRetryable ? retryAfterMs(headers.get('retry-after'), now()) : null)
}

/** Seconds, or a date; null for anything else. */
function retryAfterMs(header: string | null, now: Date): number | null {
  if (header === null) return null
  if (/^\d{1,9}$/.test(header.trim())) return Number(header) * 1000
  const at = Date.parse(header)
  return Number.isNaN(at) ? null : Math.max(0, at - now.getTime())
}

/** `fetch` refuses a URL with a user in it. */
function withoutUser(url: URL): URL {
  const plain = new URL(url)
  plain.username = ''
  plain.password = ''
  return plain
}

function authorization({ username, password }: URL, token: string | undefined): Record<string, string> {
  if (token !== undefined) return { authorization: `Bearer ${token}` }
  if (username === '' && password === '') return {}
  const pair = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`
  return { authorization: `Basic ${Buffer.from(pair).toString('base64')}` }
}

/** Why there is no answer, unless the words hold something of the URL but its host. */
function reasonWithout(url: URL, thrown: unknown): string {
  const causes: unknown[] = []
  for (let error: unknown = thrown; error instanceof Error && causes.length < 5; error = firstOf(error))
    causes.push(error)
  const last = causes.at(-1)
  const message = last instanceof Error ? last.message.replaceAll(/\s+/g, ' ').trim() : ''
  const code = last instanceof Error ? String((last as NodeJS.ErrnoException).code ?? '') : ''
  const secrets = [url.pathname, url.search, url.username, url.password].filter((part) => part.length > 1)
  if (message !== '' && !secrets.some((part) => message.includes(part))) return message
  return code === '' ? 'it could not be reached' : code
}

function firstOf(error: Error): unknown {
  return error instanceof AggregateError ? error.errors[0] : error.cause
}
