import assert from 'node:assert/strict'
import { z } from 'zod'
import type { Run } from '../catalog/runs.ts'
import { isFinished } from '../catalog/runs.ts'
import type { TokenScope } from '../config/config.ts'
import { type ErrorCode, PgproofError, rethrowUnless } from '../errors.ts'
import type { DrillWish } from '../jobs/execute.ts'
import { isConfigured, serverNamed } from '../jobs/installation.ts'
import type { Order } from '../jobs/orders.ts'
import { describe } from '../jobs/run-job.ts'
import { logKeys } from '../log.ts'
import { orderedDrillsSchema, pageOfSchema, type RunAnswer, refusedAnswer, runAnswer, runSchema } from './answers.ts'
import { assertScope, type Caller, tokenOf } from './authentication.ts'
import type { HttpParts } from './http-parts.ts'
import { IdempotencyKeys, type Ordered } from './idempotency.ts'
import { LookAgain } from './look-again.ts'
import { pageOf } from './pages.ts'
import { Refusal } from './problem.ts'
import { backupOrder, drillOrder, runParams, runsQuery } from './requests.ts'
import { type Answer, type Route, type RouteRequest, route } from './route.ts'
import { endEventId, type RunEvents } from './run-events.ts'

/** Perhaps only as far as was read. */
const nothingToDrill: ReadonlySet<ErrorCode> = new Set(['NO_BACKUP', 'LABEL_UNKNOWN'])

type OrderRequest = Pick<RouteRequest<unknown, unknown, unknown>, 'headers' | 'caller'>

/** Orders, and the runs that come of them. */
export function runRoutes(parts: HttpParts, events: RunEvents): Route[] {
  const { installation } = parts
  const { catalog, log } = installation
  const keys = new IdempotencyKeys(installation)
  const lookAgain = new LookAgain(parts)
  const answer = (run: Run): RunAnswer => runAnswer(run, parts.orders.position(run.id))
  const ordered = { 202: { description: 'The run that was ordered.', schema: runSchema } }
  const orderRefusals: readonly ErrorCode[] = [
    'SERVER_UNKNOWN',
    'DATABASE_NOT_CONFIGURED',
    'LOCKED',
    'IDEMPOTENCY_CONFLICT',
    'IDEMPOTENCY_EXPIRED',
    'SHUTTING_DOWN',
    'FLEET_UNREACHABLE',
  ]

  return [
    route({
      method: 'GET',
      path: '/v1/runs',
      access: 'read',
      summary: 'The runs of this process, or of its fleet, newest first.',
      query: runsQuery,
      answers: { 200: { description: 'A page of them.', schema: pageOfSchema(runSchema) } },
      handle: ({ query }) => {
        const { server, database, job, state } = query
        const runs = catalog
          .runs()
          .filter((run) => server === undefined || run.server === server)
          .filter((run) => database === undefined || run.database === database)
          .filter((run) => job === undefined || run.job === job)
          .filter((run) => state === undefined || run.state === state)
        const { items, next } = pageOf(runs, query, ({ queuedAt, id }) => ({ at: queuedAt, key: id }))
        return { status: 200, body: { items: items.map(answer), next } }
      },
    }),
    route({
      method: 'GET',
      path: '/v1/runs/:id',
      access: 'read',
      summary: 'One run.',
      params: runParams,
      answers: { 200: { description: 'The run.', schema: runSchema } },
      refusals: ['RUN_UNKNOWN'],
      handle: ({ params: { id } }) => ({ status: 200, body: answer(findRun(id)) }),
    }),
    route({
      method: 'GET',
      path: '/v1/runs/:id/events',
      access: 'read',
      summary: 'Server-sent events: `progress` with the run whenever it changes, and `end` with the run at its end.',
      params: runParams,
      answers: {
        200: { description: 'A stream that ends with the run.', type: 'text/event-stream', schema: z.string() },
        204: { description: 'The client says that it has seen the end.', type: 'text/event-stream' },
      },
      refusals: ['RUN_UNKNOWN', 'RATE_LIMITED', 'SHUTTING_DOWN'],
      handle: ({ params: { id }, headers, reply }) => {
        const run = findRun(id)
        // A browser asks again after each end of a stream, until it is told that there is no more.
        if (isFinished(run) && headers['last-event-id'] === endEventId)
          return { status: 204, body: '', type: 'text/event-stream' }
        events.assertRoom()
        reply.hijack()
        const headersSoFar = Object.entries(reply.getHeaders()).map(([name, value]) => [name, String(value)])
        reply.raw.writeHead(200, {
          ...Object.fromEntries(headersSoFar),
          'content-type': 'text/event-stream; charset=utf-8',
          'x-accel-buffering': 'no',
        })
        events.stream(run, reply.raw)
        return undefined
      },
    }),
    route({
      method: 'POST',
      path: '/v1/drills',
      access: 'drill',
      summary: 'Orders a drill of a database, or of every database of a server that has a backup.',
      body: drillOrder,
      takesIdempotencyKey: true,
      answers: {
        202: {
          description: 'The run that was ordered; without a database all of them, and what was refused of it.',
          schema: z.union([runSchema, orderedDrillsSchema]),
        },
      },
      refusals: [...orderRefusals, 'NO_BACKUP', 'LABEL_UNKNOWN'],
      handle: async (request) => {
        const { server, database, ...wish } = request.body
        if (database === undefined) return orderDrills(server, wish, request)
        const wanted: Order = { job: 'drill', server, database, trigger: 'http', wish }
        try {
          return order(wanted, request)
        } catch (error) {
          const isMissing = error instanceof PgproofError && nothingToDrill.has(error.code)
          if (!isMissing) throw error
          await lookAgain.at({ kind: 'database', server, database })
          return order(wanted, request)
        }
      },
    }),
    route({
      method: 'POST',
      path: '/v1/backups',
      access: 'backup',
      summary: 'Orders a backup of a database, or of the roles of a server.',
      body: backupOrder,
      takesIdempotencyKey: true,
      answers: ordered,
      refusals: [...orderRefusals, 'DATABASE_NOT_FOUND'],
      handle: (request) => {
        const { server, database = null } = request.body
        return order({ job: database === null ? 'roles' : 'backup', server, database, trigger: 'http' }, request)
      },
    }),
    route({
      method: 'DELETE',
      path: '/v1/runs/:id',
      access: 'drill',
      summary: 'Cancels a run; one that is not a drill needs the scope `backup`.',
      params: runParams,
      answers: { 202: { description: 'The run, which ends soon.', schema: runSchema } },
      refusals: ['RUN_UNKNOWN', 'RUN_FINISHED', 'FLEET_UNREACHABLE'],
      handle: ({ params: { id }, caller }) => {
        const scope: TokenScope = findRun(id).job === 'drill' ? 'drill' : 'backup'
        assertScope(caller.token, scope)
        const run = parts.orders.cancel(id)
        logOf(run, caller).info('run cancelled over HTTP')
        return { status: 202, body: answer(run) }
      },
    }),
  ]

  function findRun(id: string): Run {
    const run = catalog.findRun(id)
    if (run === undefined) throw new PgproofError('RUN_UNKNOWN', { id })
    return run
  }

  function order(wanted: Order, request: OrderRequest): Answer {
    const { runs } = once(wanted, request, () => ({ runs: [orderOrName(wanted)], refused: [] }))
    const [run] = runs
    assert(run !== undefined, 'an order that was taken has a run')
    return { status: 202, body: answer(catalog.findRun(run.id) ?? run), headers: { location: `/v1/runs/${run.id}` } }
  }

  /** Throws SERVER_UNKNOWN, NO_BACKUP, or what the first was refused with if all were. */
  function orderDrills(server: string, wish: DrillWish, request: OrderRequest): Answer {
    const ordered = once({ job: 'drill', server, everyDatabase: true, wish }, request, () => {
      const configured = serverNamed(installation.config, server)
      const databases = catalog
        .databases()
        .filter((known) => known.server === server && isConfigured(configured, known.database))
      if (databases.length === 0) throw new PgproofError('NO_BACKUP', { what: server })
      const attempts = databases.map(({ database }) =>
        attempt({ job: 'drill', server, database, trigger: 'http', wish }),
      )
      const runs = attempts.flatMap((one) => ('run' in one ? [one.run] : []))
      const errors = attempts.flatMap((one) => ('error' in one ? [one] : []))
      if (runs.length === 0 && errors[0] !== undefined) throw errors[0].error
      return { runs, refused: errors.map(({ database, error }) => refusedAnswer({ server, database }, error)) }
    })
    const runs = ordered.runs.map((run) => catalog.findRun(run.id) ?? run)
    const location = `/v1/runs?${new URLSearchParams({ job: 'drill', server })}`
    return { status: 202, body: { ordered: runs.map(answer), refused: ordered.refused }, headers: { location } }
  }

  function attempt(
    wanted: Order & { readonly database: string },
  ): { readonly run: Run } | { readonly database: string; readonly error: PgproofError } {
    try {
      return { run: orderOrName(wanted) }
    } catch (error) {
      rethrowUnless(error, PgproofError)
      return { database: wanted.database, error }
    }
  }

  /** Under the same key the same order is made once, and answered with what came of it. */
  function once(wanted: object, { headers, caller }: OrderRequest, take: () => Ordered): Ordered {
    const token = tokenOf(caller)
    const { 'idempotency-key': key } = headers
    const before = typeof key === 'string' ? keys.find(token, key, wanted) : undefined
    if (before !== undefined) return before
    const ordered = take()
    if (typeof key === 'string') keys.keep(token, key, wanted, ordered)
    for (const run of ordered.runs) logOf(run, caller).info('run ordered over HTTP')
    return ordered
  }

  /** Throws what the queue throws; LOCKED by a run of this daemon says by which. */
  function orderOrName(wanted: Order): Run {
    try {
      return parts.orders.order(wanted)
    } catch (error) {
      const { job, server, database } = wanted
      const other = catalog
        .runs()
        .find((run) => !isFinished(run) && run.job === job && run.server === server && run.database === database)
      if (!(error instanceof PgproofError) || error.code !== 'LOCKED' || other === undefined) throw error
      throw new Refusal('LOCKED', { what: describe(other) }, { location: `/v1/runs/${other.id}` }, other.id)
    }
  }

  function logOf({ id, job, server, database }: Run, { token }: Caller) {
    return log.child({
      [logKeys.run]: id,
      [logKeys.job]: job,
      [logKeys.server]: server,
      ...(database === null ? {} : { [logKeys.database]: database }),
      token: token?.name,
    })
  }
}
