import { z } from 'zod'
import { PgproofError } from '../errors.ts'
import { readPageFacts } from '../page/facts.ts'
import { pageQuery, showPage, statusPagePolicy } from '../page/status-page.ts'
import type { HttpParts } from './http-parts.ts'
import { openApiRoute } from './openapi.ts'
import { pauseRoutes } from './pause-routes.ts'
import { queueAnswer } from './queue-answer.ts'
import { readRoutes } from './read-routes.ts'
import { anyQuery } from './requests.ts'
import { type Route, route } from './route.ts'
import type { RunEvents } from './run-events.ts'
import { runRoutes } from './run-routes.ts'
import { readStatus } from './status.ts'

/** Every route of the API. */
export function createRoutes(parts: HttpParts, events: RunEvents): readonly Route[] {
  const routes = [
    ...probeRoutes(parts),
    pageRoute(parts),
    ...readRoutes(parts),
    ...runRoutes(parts, events),
    ...pauseRoutes(parts),
  ]
  return [...routes, openApiRoute(routes, parts.version)]
}

function probeRoutes({ metrics, isReady }: HttpParts): Route[] {
  return [
    route({
      method: 'GET',
      path: '/healthz',
      access: 'probe',
      summary: 'Whether the process answers.',
      query: anyQuery,
      answers: { 200: { description: 'It does.', schema: z.strictObject({ status: z.literal('ok') }) } },
      handle: () => ({ status: 200, body: { status: 'ok' } }),
    }),
    route({
      method: 'GET',
      path: '/readyz',
      access: 'probe',
      summary: 'Whether it can do its work: the store has been read.',
      query: anyQuery,
      answers: { 200: { description: 'It can.', schema: z.strictObject({ status: z.literal('ready') }) } },
      refusals: ['NOT_READY'],
      handle: ({ caller }) => {
        const { ready, reasons, awaited } = isReady()
        if (ready) return { status: 200, body: { status: 'ready' } }
        // Reasons name the store; whoever may ask without a token learns no more than that there is one.
        const mayKnow = caller.token !== null || caller.isLocal
        throw new PgproofError('NOT_READY', {
          reason: mayKnow ? reasons.join('; ') : 'its log says why',
          awaited: mayKnow ? awaited : 'what stands there is mended',
        })
      },
    }),
    route({
      method: 'GET',
      path: '/metrics',
      access: 'metrics',
      summary: 'Metrics for Prometheus.',
      query: anyQuery,
      answers: { 200: { description: 'Prometheus’ text format.', type: metricsType } },
      handle: async () => ({ status: 200, body: await metrics(), type: metricsType }),
    }),
  ]
}

const metricsType = 'text/plain; version=0.0.4; charset=utf-8'

function pageRoute(parts: HttpParts): Route {
  return route({
    method: 'GET',
    path: '/',
    access: 'read',
    summary: 'The status page, for people.',
    query: pageQuery,
    answers: { 200: { description: 'The page.', type: 'text/html; charset=utf-8' } },
    handle: ({ query }) => {
      const status = readStatus(parts)
      return {
        status: 200,
        body: showPage(query, status, readPageFacts(parts, status.databases), queueAnswer(parts.queueView())),
        type: 'text/html; charset=utf-8',
        headers: { 'content-security-policy': statusPagePolicy() },
      }
    },
  })
}
