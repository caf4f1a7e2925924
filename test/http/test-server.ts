import { createHash, randomUUID } from 'node:crypto'
import { request as httpRequest } from 'node:http'
import { connect } from 'node:net'
import type { z } from 'zod'
import type { Catalog } from '../../src/catalog/catalog.ts'
import { isFinished, type Run } from '../../src/catalog/runs.ts'
import type { Config, HttpConfig, ServerConfig } from '../../src/config/config.ts'
import { PgproofError } from '../../src/errors.ts'
import { type Problem, problemSchema } from '../../src/http/problem.ts'
import { type HttpParts, startHttp } from '../../src/http/server.ts'
import type { Installation } from '../../src/jobs/installation.ts'
import type { Order, Orders } from '../../src/jobs/orders.ts'
import { silentLog } from '../../src/log.ts'
import { createMetrics } from '../../src/metrics/metrics.ts'
import { type Contents, clockAt, madeUpCatalog, serverConfig, type TestClock } from '../metrics/made-up-catalog.ts'
import type { MemoryStore } from '../support/memory-store.ts'
import { idleQueue } from '../support/queue-views.ts'
import { storeSetOf } from '../support/store-sets.ts'

export const now = '2026-11-20T12:00:00Z'

/** The tokens of every test server: one for each scope. */
export const tokens = { read: 'token-of-reader', drill: 'token-of-driller', backup: 'token-of-backer' } as const

export type TestServer = AsyncDisposable & {
  readonly url: string
  readonly catalog: Catalog
  readonly store: MemoryStore
  readonly clock: TestClock
  readonly orders: TestOrders
  close(): Promise<void>
  readonly certificateExpiresAt: (() => Date) | null
  /** As SIGHUP does it, once another configuration is in force. */
  reload(): Promise<void>
  /** Puts other settings of `http` in force. */
  reconfigure(changes: Partial<HttpConfig>): void
  /** By `fetch`, with the token of that scope (`read` by default), or none. */
  call(method: string, path: string, options?: CallOptions): Promise<Reply>
  /** By `node:http`, which sends any header, `Host` among them; without a token. */
  send(method: string, path: string, headers?: Record<string, string>): Promise<Reply>
  /** Bytes as they are; resolves with what came back by the time the server closed the connection. */
  sendRaw(bytes: string): Promise<string>
}

export type CallOptions = {
  readonly as?: keyof typeof tokens | null
  readonly headers?: Record<string, string>
  /** An object is sent as JSON; a string as it is. */
  readonly body?: unknown
}

export type Reply = {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  /** The body, which must be what the schema says and nothing else. */
  as<T extends z.ZodType>(schema: T): z.output<T>
  /** The body, which must be a problem of the same status as the answer. */
  problem(): Problem
}

export type ServerSettings = Contents & {
  readonly config?: Partial<HttpConfig>
  readonly parts?: Partial<HttpParts>
  readonly installation?: Partial<Installation>
  /** One named `main`, with objectives, unless given. */
  readonly servers?: readonly ServerConfig[]
}

/** A real server on a free port, with a store made by hand and a queue that only notes orders. */
export async function startTestServer(settings: ServerSettings = {}): Promise<TestServer> {
  const clock = clockAt(now)
  const { catalog, store } = await madeUpCatalog(clock, settings)
  const objectives = { rpoMs: 93_600_000, rtoMs: 1_800_000 }
  let http: HttpConfig = {
    listen: { host: '127.0.0.1', port: 0 },
    tokens: Object.entries(tokens).map(([scope, token]) => ({
      name: `${scope}er`,
      scope: scope as keyof typeof tokens,
      sha256: createHash('sha256').update(token).digest('hex'),
    })),
    metricsToken: false,
    localRead: true,
    tls: undefined,
    rateLimit: 1_000_000,
    ...settings.config,
  }
  const servers = settings.servers ?? [serverConfig('main', { objectives })]
  const stores = storeSetOf(store, clock)
  const installation = {
    get config() {
      return { servers, stores: [], http, drill: { pick: 'random' }, timezone: 'UTC' } as unknown as Config
    },
    store: stores.reading(),
    stores,
    storeId: 'store',
    storeCreatedAt: clock.now(),
    catalog,
    clock,
    log: silentLog,
    random: () => 0.5,
  }
  // Not spread: the configuration must stay one that can change.
  Object.assign(installation, settings.installation)
  const orders = new TestOrders(catalog, clock)
  const planned = settings.parts?.planned ?? (() => [])
  const metricsParts = {
    catalog,
    config: { servers, stores: [] as never, timezone: 'UTC', drill: { pick: 'random' as const } },
    clock,
    stores,
    planned,
    queueView: () => idleQueue(clock.now()),
    version: '9.9.9',
  }
  const metrics = createMetrics({
    ...metricsParts,
    keyExpiries: () => [],
    configReload: () => ({ isSuccessful: true, lastSuccessAt: new Date(0), needsRestart: [] }),
  })
  const server = await startHttp({
    installation,
    orders,
    metrics: metrics.text,
    planned,
    queueView: () => idleQueue(clock.now()),
    keyExpiries: () => [],
    configReload: () => ({ isSuccessful: true, lastSuccessAt: new Date(0), needsRestart: [] }),
    isReady: () => ({ ready: true, reasons: [], awaited: '' }),
    version: '9.9.9',
    ...settings.parts,
  })
  const { port } = new URL(server.address)
  return {
    url: server.address,
    ...{ catalog, store, clock, orders },
    close: server.close,
    reload: server.reload,
    certificateExpiresAt: server.certificateExpiresAt,
    reconfigure: (changes) => {
      http = { ...http, ...changes }
    },
    call: (method, path, options) => call(`${server.address}${path}`, method, options),
    send: (method, path, headers = {}) => send(Number(port), method, path, headers),
    sendRaw: (bytes) => sendRaw(Number(port), bytes),
    [Symbol.asyncDispose]: server.close,
  }
}

/** Notes orders as runs of the catalog; the test itself moves them on. */
export class TestOrders implements Orders {
  readonly taken: Order[] = []
  /** The runs whose cancellation was asked for and allowed. */
  readonly cancelled: string[] = []
  isClosed = false
  /** Runs that are cancelled go on for a while, as those do that have something to clean up. */
  endsSlowly = false
  /** Databases that are in the store and in no configuration. */
  readonly unconfigured = new Set<string>()
  readonly #catalog: Catalog
  readonly #clock: TestClock

  constructor(catalog: Catalog, clock: TestClock) {
    this.#catalog = catalog
    this.#clock = clock
  }

  order(order: Order): Run {
    const { job, server, database, trigger } = order
    if (this.isClosed) throw new PgproofError('SHUTTING_DOWN')
    if (server !== 'main') throw new PgproofError('SERVER_UNKNOWN', { server, known: 'main' })
    if (database !== null && this.unconfigured.has(database))
      throw new PgproofError('DATABASE_NOT_CONFIGURED', { server, database })
    const isTaken = this.#unfinished().some((run) => run.job === job && run.database === database)
    if (isTaken) throw new PgproofError('LOCKED', { what: `${job} of ${server}/${database}` })
    this.taken.push(order)
    const run: Run = {
      id: randomUUID(),
      ...{ job, server, database, trigger },
      attempt: 1,
      state: 'queued',
      queuedAt: this.#clock.now(),
      startedAt: null,
      finishedAt: null,
      label: null,
      error: null,
      progress: null,
    }
    this.#catalog.addRun(run)
    return run
  }

  cancel(id: string): Run {
    const run = this.#catalog.findRun(id)
    if (run === undefined) throw new PgproofError('RUN_UNKNOWN', { id })
    if (isFinished(run)) throw new PgproofError('RUN_FINISHED', { id })
    this.cancelled.push(id)
    if (this.endsSlowly) return run
    return this.#catalog.updateRun(id, { state: 'cancelled', finishedAt: this.#clock.now() }) ?? run
  }

  position(id: string): number | null {
    const waiting = this.#unfinished().filter(({ state }) => state === 'queued')
    const index = waiting.toReversed().findIndex((run) => run.id === id)
    return index === -1 ? null : index
  }

  #unfinished(): readonly Run[] {
    return this.#catalog.runs().filter((run) => !isFinished(run))
  }
}

async function call(url: string, method: string, options: CallOptions = {}): Promise<Reply> {
  const { as = 'read', body, headers = {} } = options
  const response = await fetch(url, {
    method,
    headers: {
      ...(as === null ? {} : { authorization: `Bearer ${tokens[as]}` }),
      ...(typeof body === 'object' ? { 'content-type': 'application/json' } : {}),
      ...headers,
    },
    ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  })
  return replyOf(response.status, response.headers, await response.text())
}

async function send(port: number, method: string, path: string, headers: Record<string, string>): Promise<Reply> {
  const { promise, resolve, reject } = Promise.withResolvers<Reply>()
  const request = httpRequest({ host: '127.0.0.1', port, method, path, headers, agent: false }, (response) => {
    const chunks: Buffer[] = []
    response.on('data', (chunk: Buffer) => chunks.push(chunk))
    response.on('error', reject)
    response.on('end', () => {
      const pairs = Object.entries(response.headers).map(([name, value]): [string, string] => [name, String(value)])
      resolve(replyOf(response.statusCode ?? 0, new Headers(pairs), Buffer.concat(chunks).toString()))
    })
  })
  request.on('error', reject)
  request.end()
  return await promise
}

async function sendRaw(port: number, bytes: string): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>()
  const chunks: Buffer[] = []
  const socket = connect(port, '127.0.0.1', () => socket.write(bytes))
  socket.on('data', (chunk) => chunks.push(chunk))
  socket.on('error', () => {})
  socket.on('close', () => resolve(Buffer.concat(chunks).toString()))
  return await promise
}

function replyOf(status: number, headers: Headers, text: string): Reply {
  return {
    ...{ status, headers, text },
    as: (schema) => {
      if (status >= 400) throw new Error(`answered with ${status}: ${text}`)
      return schema.parse(JSON.parse(text))
    },
    problem: () => {
      const problem = problemSchema.parse(JSON.parse(text))
      if (problem.status !== status || headers.get('content-type') !== 'application/problem+json')
        throw new Error(`not a problem of its own status: ${status} ${headers.get('content-type')} ${text}`)
      return problem
    },
  }
}
