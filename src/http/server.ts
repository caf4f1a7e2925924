import type { Server } from 'node:https'
import rateLimit from '@fastify/rate-limit'
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import { PgproofError, reasonOf } from '../errors.ts'
import { logKeys } from '../log.ts'
import { runAnswer } from './answers.ts'
import { type Access, type Caller, createAuthentication } from './authentication.ts'
import { answerBrokenRequest } from './broken-request.ts'
import { type Certificate, type CertificateWatch, readCertificate, watchCertificate } from './certificate.ts'
import { networkOf } from './failure-limit.ts'
import type { HttpParts } from './http-parts.ts'
import { problemOf, problemType, Refusal, refusalOf } from './problem.ts'
import type { Route } from './route.ts'
import { createRoutes } from './routes.ts'
import { RunEvents } from './run-events.ts'

export type { HttpParts } from './http-parts.ts'

/** No order is anywhere near as large. */
const bodyLimitBytes = 64 * 1024
const requestTimeoutMs = 30_000
/** A connection on which nothing moves for so long is cut; event streams send a heartbeat. */
const idleTimeoutMs = 60_000
const connectionCapacity = 512
/** How long requests that have begun to arrive may hold the close. */
const closeGraceMs = 2000
const rateWindowMs = 60_000
/** Addresses whose requests are counted; the one that was quiet longest is forgotten first. */
const addressCapacity = 10_000
const certificateLookMs = 60_000

export type HttpServer = {
  readonly address: string
  /** Null: plain HTTP. */
  readonly certificateExpiresAt: (() => Date) | null
  /** Looks for renewed certificate files now rather than within a minute. */
  reload(): Promise<void>
  /** Takes nothing new, ends event streams, and waits two seconds at most for requests that are arriving. */
  close(): Promise<void>
}

/** Serves the API, the status page and the metrics at `http.listen`. Throws LISTEN_FAILED or TLS_INVALID. */
export async function startHttp(parts: HttpParts): Promise<HttpServer> {
  const { installation } = parts
  const { catalog, log } = installation
  const { listen, tls } = installation.config.http
  if (listen === null) throw new PgproofError('LISTEN_FAILED', { address: 'off', reason: 'http.listen is off' })
  const certificate = tls === undefined ? null : await readCertificate(tls)
  const events = new RunEvents(catalog, (run) => runAnswer(run, parts.orders.position(run.id)))
  const routes = createRoutes(parts, events)
  const authenticate = createAuthentication(() => installation.config.http, installation)
  const callers = new WeakMap<FastifyRequest, Caller>()
  const timeoutMs = parts.requestTimeoutMs ?? requestTimeoutMs

  const refuse = (thrown: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply => {
    const error = refusalOf(thrown, { bodyBytes: bodyLimitBytes })
    if (error.code === 'INTERNAL') {
      const { method } = request
      const path = request.routeOptions.url
      log.error({ [logKeys.code]: error.code, method, path, [logKeys.details]: error.details }, error.message)
    }
    reply.headers(commonHeaders)
    if (error instanceof Refusal) for (const [name, value] of Object.entries(error.headers)) reply.header(name, value)
    // As bytes, or Fastify would add a charset, which this media type has not.
    const body = Buffer.from(JSON.stringify(problemOf(error)))
    return reply.code(error.httpStatus).type(problemType).send(body)
  }

  const settings = {
    logger: false,
    bodyLimit: bodyLimitBytes,
    requestTimeout: timeoutMs,
    connectionTimeout: idleTimeoutMs,
    forceCloseConnections: 'idle',
    return503OnClosing: false,
    trustProxy: false,
    routerOptions: { maxParamLength: 1000 },
    frameworkErrors: refuse,
    clientErrorHandler: answerBrokenRequest,
  } as const
  const ofNode = { connectionsCheckingInterval: Math.min(5000, timeoutMs), requireHostHeader: false }
  const app: FastifyInstance<Server> = fastify<Server>({
    ...settings,
    ...(certificate === null
      ? { http: ofNode }
      : { https: { ...ofNode, ...certificate.options, handshakeTimeout: timeoutMs } }),
  })
  app.server.maxConnections = connectionCapacity
  // Node looks at neither time-out while this one is the longer.
  app.server.headersTimeout = timeoutMs
  app.removeAllContentTypeParsers()
  const parseJson = app.getDefaultJsonParser('error', 'error')
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (request, body, done) => {
    if (body.length === 0) done(null, undefined)
    else parseJson(request, String(body), done)
  })

  // Of the addresses that make the requests: a proxy counts as one.
  await app.register(rateLimit, {
    global: false,
    max: () => installation.config.http.rateLimit,
    timeWindow: rateWindowMs,
    cache: addressCapacity,
    keyGenerator: ({ raw }) => networkOf(raw.socket.remoteAddress ?? ''),
  })
  const countRequest = app.createRateLimit()
  app.addHook('onRequest', async (request, reply) => {
    reply.headers(commonHeaders)
    const access =
      (request.is404 ? accessWithoutRoute(routes, pathOf(request)) : request.routeOptions.config.access) ?? 'read'
    // Whoever watches pgproof must never lose sight of it because of what else comes from the same address.
    if (access !== 'probe' && access !== 'metrics') {
      const counted = await countRequest(request)
      if (!counted.isAllowed && counted.isExceeded) throw tooMany(counted.max, counted.ttlInSeconds)
    }
    callers.set(request, authenticate(request.raw, access))
  })
  for (const one of routes)
    app.route({
      method: one.method,
      url: one.path,
      config: { access: one.access },
      // The answer to HEAD is that to GET without its body, and this one has no end.
      exposeHeadRoute: one.method === 'GET' && !one.path.endsWith('/events'),
      handler: async (request, reply) => {
        const { params, query, body, headers } = request
        const caller = callers.get(request) as Caller
        const answer = await one.handle({ params, query, body, headers, caller, reply })
        if (answer === undefined) return reply
        const { status, type = 'application/json; charset=utf-8' } = answer
        const text = typeof answer.body === 'string' ? answer.body : JSON.stringify(answer.body)
        return reply
          .code(status)
          .headers(answer.headers ?? {})
          .type(type)
          .send(text)
      },
    })
  app.setNotFoundHandler((request) => {
    const allowed = methodsAt(routes, pathOf(request))
    if (allowed.length === 0) throw new PgproofError('ROUTE_UNKNOWN')
    const allow = allowed.join(', ')
    throw new Refusal('METHOD_NOT_ALLOWED', { method: request.method, allowed: allow }, { allow })
  })
  app.setErrorHandler(refuse)

  try {
    // Fastify would open a second server for the second address of `localhost`, out of reach of `close`.
    const host = listen.host === 'localhost' ? '127.0.0.1' : listen.host
    const address = await app.listen({ host, port: listen.port })
    const watch =
      certificate === null ? null : watchCertificate(certificate, certificateParts(parts), renew(app.server))
    return {
      address,
      certificateExpiresAt: watch && (() => watch.expiresAt()),
      reload: async () => await watch?.look(),
      close: () => closeApp(app, events, watch),
    }
  } catch (error) {
    await app.close()
    const address = `${listen.host}:${listen.port}`
    throw new PgproofError('LISTEN_FAILED', { address, reason: reasonOf(error) }, { cause: error })
  }
}

function certificateParts({ installation, certificateLookMs: lookMs = certificateLookMs }: HttpParts) {
  const { clock, log } = installation
  return { files: () => installation.config.http.tls, clock, log, lookMs }
}

/** Connections that are open go on with the certificate that they began with. */
function renew(server: Server): (certificate: Certificate) => void {
  return ({ options }) => server.setSecureContext(options)
}

function tooMany(max: number, seconds: number): Refusal {
  const reason = `more than ${max} requests within a minute came from this address`
  return new Refusal('RATE_LIMITED', { reason }, { 'retry-after': String(Math.max(1, seconds)) })
}

declare module 'fastify' {
  interface FastifyContextConfig {
    readonly access?: Access
  }
}

const commonHeaders = {
  'cache-control': 'no-store',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
} as const

type App = { readonly server: { closeIdleConnections(): void; closeAllConnections(): void }; close(): Promise<unknown> }

async function closeApp(app: App, events: RunEvents, watch: CertificateWatch | null): Promise<void> {
  events.close()
  await watch?.[Symbol.asyncDispose]()
  const closed = app.close()
  // A connection becomes idle when its last answer has left; Node looks for idle ones only once.
  const reap = setInterval(() => app.server.closeIdleConnections(), 20)
  const cut = setTimeout(() => app.server.closeAllConnections(), closeGraceMs)
  try {
    await closed
  } finally {
    clearInterval(reap)
    clearTimeout(cut)
  }
}

function pathOf({ url }: FastifyRequest): string {
  return url.replace(/[?#].*$/s, '')
}

function routesAt(routes: readonly Route[], path: string): readonly Route[] {
  const parts = path.split('/')
  return routes.filter((one) => {
    const wanted = one.path.split('/')
    if (wanted.length !== parts.length) return false
    return wanted.every((part, index) => (part.startsWith(':') ? parts[index] !== '' : part === parts[index]))
  })
}

function methodsAt(routes: readonly Route[], path: string): readonly string[] {
  const methods = routesAt(routes, path).map(({ method }) => method)
  const hasHead = methods.includes('GET') && !path.endsWith('/events')
  return hasHead ? ['GET', 'HEAD', ...methods.filter((method) => method !== 'GET')] : methods
}

/** Where there is no such route, or none of that method: as much as for reading, unless the path is open to all. */
function accessWithoutRoute(routes: readonly Route[], path: string): Access {
  const [first] = routesAt(routes, path)
  return first?.access === 'probe' || first?.access === 'metrics' ? first.access : 'read'
}
