import { createHash, timingSafeEqual } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { BlockList, isIPv6 } from 'node:net'
import type { Clock } from '../clock.ts'
import type { HttpConfig, TokenConfig, TokenScope } from '../config/config.ts'
import { PgproofError } from '../errors.ts'
import { FailureLimit } from './failure-limit.ts'
import { Refusal } from './problem.ts'

/** What a route asks of its caller. `probe` and `metrics` are open unless `http.metricsToken` is set. */
export type Access = 'probe' | 'metrics' | TokenScope

export type Caller = {
  /** Null for one that needed none. */
  readonly token: TokenConfig | null
  /** Whether the request was made on this machine, by nothing that passes on the requests of others. */
  readonly isLocal: boolean
}

export type Authenticate = (request: IncomingMessage, access: Access) => Caller

/**
 * Decides by the socket's address and the bearer token, before the body is read. Throws UNAUTHORIZED, FORBIDDEN or
 * RATE_LIMITED.
 */
export function createAuthentication(
  { tokens, metricsToken, listen }: HttpConfig,
  clock: Pick<Clock, 'monotonicMs'>,
): Authenticate {
  const known = tokens.map((token) => ({ token, hash: Buffer.from(token.sha256, 'hex') }))
  const failures = new FailureLimit(clock)
  const hosts = new Set(['localhost', '127.0.0.1', '[::1]', hostOf(listen?.host ?? 'localhost')])

  const identify = (credentials: string, address: string): TokenConfig => {
    const blockedSeconds = failures.blockedSeconds(address)
    if (blockedSeconds !== null)
      throw new Refusal(
        'RATE_LIMITED',
        { reason: 'too many wrong tokens came from this address' },
        { 'retry-after': String(blockedSeconds) },
      )
    const token = findToken(credentials, known)
    if (token !== undefined) return token
    failures.add(address)
    throw new Refusal('UNAUTHORIZED', {}, { 'www-authenticate': `${challenge}, error="invalid_token"` })
  }

  return (request, access) => {
    const address = request.socket.remoteAddress ?? ''
    const isLocal = isLoopback(address) && !isPassedOn(request) && hosts.has(hostName(request))
    const isProbe = access === 'probe' || access === 'metrics'
    if (isProbe && !metricsToken) return { token: null, isLocal }

    const { authorization } = request.headers
    if (authorization !== undefined) {
      const token = identify(authorization, address)
      assertScope(token, isProbe ? 'read' : access)
      return { token, isLocal }
    }
    const isRead = request.method === 'GET' || request.method === 'HEAD'
    // The container's own health check has no token; whoever asks for one for the metrics means everybody.
    if (isRead && isLocal && access !== 'metrics') return { token: null, isLocal }
    throw new Refusal('UNAUTHORIZED', {}, { 'www-authenticate': challenge })
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

/** Looks at every token, so that the time says nothing about which one was near. */
function findToken(
  credentials: string,
  known: readonly { readonly token: TokenConfig; readonly hash: Buffer }[],
): TokenConfig | undefined {
  const [, presented = ''] = /^bearer +([\x21-\x7e]+) *$/i.exec(credentials) ?? []
  const hash = createHash('sha256').update(presented).digest()
  let found: TokenConfig | undefined
  for (const one of known) if (one.hash.length === hash.length && timingSafeEqual(one.hash, hash)) found = one.token
  return presented === '' ? undefined : found
}

const loopback = new BlockList()
loopback.addSubnet('127.0.0.0', 8, 'ipv4')
loopback.addAddress('::1', 'ipv6')

function isLoopback(address: string): boolean {
  return loopback.check(address, isIPv6(address) ? 'ipv6' : 'ipv4')
}

/**
 * Whether a proxy passed the request on: then the socket's address is the proxy's. HTTP/1.0 is what nginx speaks when it
 * is not told otherwise, and then it adds no header either.
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
  if (token === null) throw new PgproofError('UNAUTHORIZED')
  return token
}
