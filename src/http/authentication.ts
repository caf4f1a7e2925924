import assert from 'node:assert/strict'
import { createHash, timingSafeEqual } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { BlockList, isIPv6 } from 'node:net'
import type { Clock } from '../clock.ts'
import type { HttpConfig, TokenConfig, TokenScope } from '../config/config.ts'
import { PgproofError } from '../errors.ts'
import type { Log } from '../log.ts'
import { FailureLimit, failuresPerWindow } from './failure-limit.ts'
import { Refusal } from './problem.ts'

/** What a route asks of its caller. `probe` and `metrics` are open unless `http.metricsToken` is set. */
export type Access = 'probe' | 'metrics' | TokenScope

export type Caller = {
  /** Null for one that needed none. */
  readonly token: TokenConfig | null
  /**
   * Whether the request was made on this machine, by nothing that says that it passes on the requests of others, and such
   * requests are trusted (`http.localRead`).
   */
  readonly isLocal: boolean
}

export type Authenticate = (request: IncomingMessage, access: Access) => Caller

/**
 * Decides by the socket's address and the token, before the body is read. `http` is asked at each request: a reload may
 * have changed it. Of wrong tokens the log has two lines at most for an address and a minute. Throws UNAUTHORIZED, FORBIDDEN, CROSS_SITE_REFUSED or RATE_LIMITED.
 */
export function createAuthentication(
  http: () => HttpConfig,
  { clock, log }: { clock: Pick<Clock, 'monotonicMs'>; log: Log },
): Authenticate {
  const knownTokens = onceFor((tokens: readonly TokenConfig[]) =>
    tokens.map((token) => ({ token, hash: Buffer.from(token.sha256, 'hex') })),
  )
  const failures = new FailureLimit(clock)
  const hosts = new Set(['localhost', '127.0.0.1', '[::1]', hostOf(http().listen?.host ?? 'localhost')])

  const identify = (presented: string, request: IncomingMessage): TokenConfig => {
    const address = request.socket.remoteAddress ?? ''
    const blockedSeconds = failures.blockedSeconds(address)
    if (blockedSeconds !== null)
      throw new Refusal(
        'RATE_LIMITED',
        { reason: 'too many wrong tokens came from this address' },
        { 'retry-after': String(blockedSeconds) },
      )
    const token = findToken(presented, knownTokens(http().tokens))
    if (token !== undefined) return token
    const count = failures.add(address)
    // The socket's address: the headers say what the caller likes.
    if (count === 1) log.warn({ address }, 'a wrong token was presented')
    if (count === failuresPerWindow)
      log.warn({ address }, 'too many wrong tokens, this address is refused until the minute is over')
    throw unauthorized(request, ', error="invalid_token"')
  }

  return (request, access) => {
    const isFromHere =
      isLoopback(request.socket.remoteAddress ?? '') && !isPassedOn(request) && hosts.has(hostName(request))
    const isLocal = isFromHere && http().localRead
    const isProbe = access === 'probe' || access === 'metrics'
    if (isProbe && !http().metricsToken) return { token: null, isLocal }

    assertSameSite(request)
    const presented = presentedToken(request)
    if (presented !== undefined) {
      const token = identify(presented, request)
      assertScope(token, isProbe ? 'read' : access)
      return { token, isLocal }
    }
    // The container's own health check has no token; whoever asks for one for the metrics means everybody.
    if (isRead(request) && (access === 'probe' ? isFromHere : isLocal && access !== 'metrics'))
      return { token: null, isLocal }
    throw unauthorized(request)
  }
}

/** Throws FORBIDDEN, also for a caller without a token. */
export function assertScope(token: TokenConfig | null, scope: TokenScope): void {
  if (token !== null && scopes.indexOf(token.scope) >= scopes.indexOf(scope)) return
  throw new Refusal(
    'FORBIDDEN',
    { scope },
    { 'www-authenticate': `${challenge}, error="insufficient_scope", scope="${scope}"` },
  )
}

/** Each includes those before it. */
const scopes: readonly TokenScope[] = ['read', 'drill', 'backup']
const challenge = 'Bearer realm="pgproof"'

function isRead({ method }: IncomingMessage): boolean {
  return method === 'GET' || method === 'HEAD'
}

/** A person's browser asks for name and password by Basic. Scripts of pages (`cors`) get no such dialogue. */
function unauthorized(request: IncomingMessage, error = ''): Refusal {
  const mode = request.headers['sec-fetch-mode']
  const asksPerson = isRead(request) && (mode === undefined || mode === 'navigate')
  const bearer = `${challenge}${error}`
  return new Refusal('UNAUTHORIZED', {}, { 'www-authenticate': asksPerson ? [bearer, basicChallenge] : bearer })
}

const basicChallenge = 'Basic realm="pgproof", charset="UTF-8"'

/** What changes something is never taken from a page of another site, whatever it sends along. */
function assertSameSite(request: IncomingMessage): void {
  const site = request.headers['sec-fetch-site']
  if (isRead(request) || site === undefined || site === 'same-origin' || site === 'none') return
  throw new PgproofError('CROSS_SITE_REFUSED')
}

/**
 * The token that was sent; undefined if nothing was, or nothing that counts for this method: browsers send Basic
 * credentials along with whatever a page makes them ask, so they only read.
 */
function presentedToken(request: IncomingMessage): string | undefined {
  const { authorization } = request.headers
  const [, basic] = /^basic +([A-Za-z0-9+/]*={0,2}) *$/i.exec(authorization ?? '') ?? []
  if (basic !== undefined)
    return isRead(request)
      ? Buffer.from(basic, 'base64')
          .toString('utf8')
          .replace(/^[^:]*:?/, '')
      : undefined
  if (authorization === undefined) return undefined
  const [, bearer = ''] = /^bearer +([\x21-\x7e]+) *$/i.exec(authorization) ?? []
  return bearer
}

/** Looks at every token, so that the time says nothing about which one was near. */
function findToken(
  presented: string,
  known: readonly { readonly token: TokenConfig; readonly hash: Buffer }[],
): TokenConfig | undefined {
  const hash = createHash('sha256').update(presented).digest()
  let found: TokenConfig | undefined
  for (const one of known) if (one.hash.length === hash.length && timingSafeEqual(one.hash, hash)) found = one.token
  return presented === '' ? undefined : found
}

/** The result is made anew when the argument is another one than before. */
function onceFor<T extends object, R>(make: (from: T) => R): (from: T) => R {
  let last: { readonly from: T; readonly made: R } | undefined
  return (from) => {
    if (last?.from !== from) last = { from, made: make(from) }
    return last.made
  }
}

const loopback = new BlockList()
loopback.addSubnet('127.0.0.0', 8, 'ipv4')
loopback.addAddress('::1', 'ipv6')

function isLoopback(address: string): boolean {
  return loopback.check(address, isIPv6(address) ? 'ipv6' : 'ipv4')
}

/**
 * Whether a proxy says that it passed the request on: then the socket's address is the proxy's. HTTP/1.0 is what nginx
 * before 1.29.7 speaks when it is not told otherwise, and then it adds no header either. What speaks HTTP/1.1 and adds none,
 * as newer ones do, or only joins two sockets, looks like a caller on this machine: hence `http.localRead`.
 */
function isPassedOn({ headers, httpVersion }: IncomingMessage): boolean {
  if (httpVersion === '1.0') return true
  return Object.keys(headers).some(
    (name) => name.startsWith('x-forwarded-') || name === 'forwarded' || name === 'via' || name === 'x-real-ip',
  )
}

/** A page of somebody else can make a browser on this machine ask us, but not under one of our names. */
function hostName({ headers }: IncomingMessage): string {
  return (headers.host ?? '').toLowerCase().replace(/:\d+$/, '')
}

/** As `Host` names it. One that stands for every address is nobody's name. */
function hostOf(host: string): string {
  if (host === '0.0.0.0' || host === '::') return 'localhost'
  return isIPv6(host) ? `[${host}]` : host.toLowerCase()
}

/** For callers that must have a token because their route's scope says so. */
export function tokenOf({ token }: Caller): TokenConfig {
  assert(token !== null, 'somebody without a token was let in')
  return token
}
