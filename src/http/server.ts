import type { Socket } from 'node:net'
import fastify, { type FastifyReply, type FastifyRequest } from 'fastify'
import { PgproofError, reasonOf } from '../errors.ts'
import { logKeys } from '../log.ts'
import { runAnswer } from './answers.ts'
import { type Access, type Caller, createAuthentication } from './authentication.ts'
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

/**
 * Serves the API, the status page and the metrics at `config.listen`. Throws LISTEN_FAILED. `close` takes nothing new,
 * ends event streams, and waits two seconds at most: for requests that are arriving, not for clients that read slowly.
 */
export async function startHttp(parts: HttpParts): Promise<{ readonly address: string; close(): Promise<void> }> {
  const { catalog, clock, log } = parts.installation
  const { listen } = parts.config
  if (listen === null) throw new PgproofError('LISTEN_FAILED', { address: 'off', reason: 'http.listen is off' })
  const events = new RunEvents(catalog, (run) => runAnswer(run, parts.orders.position(run.id)))
  const routes = createRoutes(parts, events)
  const authenticate = createAuthentication(parts.config, clock)
  const callers = new WeakMap<FastifyRequest, Caller>()
  const timeoutMs = parts.requestTimeoutMs ?? requestTimeoutMs

  const refuse = (thrown: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply => {
    const error = refusalOf(thrown, { bodyBytes: bodyLimitBytes })
    if (error.code === 'INTERNAL') {
      const { method } = request
      const path = request.routeOptions.url
      log.error({ [logKeys.code]: error.code, method, path, [logKeys.details]: error.details }, error.message)
    }
    const headers = { ...commonHeaders, ...(error instanceof Refusal ? error.headers : {}) }
    // As bytes, or Fastify would add a charset, which this media type has not.
    const body = Buffer.from(JSON.stringify(problemOf(error)))
    return reply.code(error.httpStatus).headers(headers).type(problemType).send(body)
  }

  const app = fastify({
    logger: false,
    bodyLimit: bodyLimitBytes,
    requestTimeout: timeoutMs,
    connectionTimeout: idleTimeoutMs,
    forceCloseConnections: 'idle',
    return503OnClosing: false,
    trustProxy: false,
    routerOptions: { maxParamLength: 1000 },
    http: { connectionsCheckingInterval: Math.min(5000, timeoutMs), requireHostHeader: false },
    frameworkErrors: refuse,
    clientErrorHandler: answerBrokenRequest,
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

  app.addHook('onRequest', async (request, reply) => {
    reply.headers(commonHeaders)
    const access = request.is404 ? accessWithoutRoute(routes, pathOf(request)) : request.routeOptions.config.access
    callers.set(request, authenticate(request.raw, access ?? 'read'))
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
    return { address, close: () => closeApp(app, events) }
  } catch (error) {
    await app.close()
    const address = `${listen.host}:${listen.port}`
    throw new PgproofError('LISTEN_FAILED', { address, reason: reasonOf(error) }, { cause: error })
  }
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

async function closeApp(app: App, events: RunEvents): Promise<void> {
  events.close()
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

/** For what is not even HTTP, or does not arrive: there is no request yet that Fastify could answer. */
function answerBrokenRequest(error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy()
    return
  }
  const reason = error.code === 'HPE_HEADER_OVERFLOW' ? 'the headers are too large' : 'this is not HTTP'
  const refusal =
    error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
      ? new PgproofError('REQUEST_TIMEOUT')
      : new PgproofError('REQUEST_INVALID', { reason })
  const problem = problemOf(refusal)
  const body = JSON.stringify(problem)
  const head = `HTTP/1.1 ${problem.status} ${problem.title}\r\nConnection: close\r\nContent-Type: ${problemType}\r\n`
  socket.end(`${head}Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`, () => socket.destroySoon())
}
