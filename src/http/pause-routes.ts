import { z } from 'zod'
import { parseDuration } from '../config/units.ts'
import { longestPauseMs, pausableJobs } from '../domain/pause.ts'
import { PgproofError } from '../errors.ts'
import { pauseSchedules, resumeSchedules } from '../jobs/pause.ts'
import { pauseAnswer, pauseSchema } from './answers.ts'
import { tokenOf } from './authentication.ts'
import type { HttpParts } from './http-parts.ts'
import { type Route, route } from './route.ts'

const name = z.string().min(1).max(256)

export const pauseOrder = z.strictObject({
  server: name.optional().describe('The name of a configured server; without it all.'),
  database: name.optional().describe('One database of the server; without it all, and its roles.'),
  jobs: z.array(z.enum(pausableJobs)).min(1).optional().describe('Without it all of them.'),
  for: z
    .string()
    .regex(/^\d+[smhdw]$/)
    .describe('How long, such as `4h`; 30 days at most.'),
  reason: z.string().min(1).max(200),
})

/** Pauses of schedules, in every daemon of the stores. Orders by hand are carried out all the same. */
export function pauseRoutes({ installation }: HttpParts): Route[] {
  const { catalog } = installation
  return [
    route({
      method: 'GET',
      path: '/v1/pauses',
      access: 'read',
      summary: 'The pauses of schedules that are in force, the one that ends last first.',
      answers: {
        200: { description: 'All of them.', schema: z.strictObject({ items: z.array(pauseSchema) }) },
      },
      handle: () => ({ status: 200, body: { items: catalog.pauses().map(pauseAnswer) } }),
    }),
    route({
      method: 'POST',
      path: '/v1/pauses',
      access: 'backup',
      summary: 'Pauses schedules for a while: nothing is started by them, what runs goes on.',
      body: pauseOrder,
      answers: { 201: { description: 'The pause.', schema: pauseSchema } },
      refusals: ['SERVER_UNKNOWN', 'DATABASE_NOT_CONFIGURED', 'STORE_FAILED'],
      handle: async ({ body, caller }) => {
        const { server = null, database = null, jobs, reason } = body
        if (server === null && database !== null) throw invalid('body.database: a database is named with its server')
        const forMs = parseDuration(body.for)
        if (forMs === undefined || forMs > longestPauseMs) throw invalid('body.for: at most 30 days')
        const wish = { server, database, jobs, forMs, reason, by: `token ${tokenOf(caller).name}` }
        try {
          const pause = await pauseSchedules(wish, installation, AbortSignal.timeout(answerWithinMs))
          return { status: 201, body: pauseAnswer(pause) }
        } catch (error) {
          if (error instanceof PgproofError && error.code === 'USAGE_INVALID') throw invalid(error.message)
          throw error
        }
      },
    }),
    route({
      method: 'DELETE',
      path: '/v1/pauses/:id',
      access: 'backup',
      summary: 'Ends a pause before its time.',
      params: z.strictObject({ id: z.string() }),
      answers: { 200: { description: 'The pause that has ended.', schema: pauseSchema } },
      refusals: ['PAUSE_UNKNOWN', 'STORE_FAILED'],
      handle: async ({ params: { id }, caller }) => {
        const pause = catalog.pauses().find(({ label }) => label === id)
        if (pause === undefined) throw new PgproofError('PAUSE_UNKNOWN', { label: id })
        const signal = AbortSignal.timeout(answerWithinMs)
        await resumeSchedules([pause], `token ${tokenOf(caller).name}`, installation, signal)
        return { status: 200, body: pauseAnswer(pause) }
      },
    }),
  ]
}

/** Nobody at the other end waits longer. */
const answerWithinMs = 60_000

function invalid(reason: string): PgproofError {
  return new PgproofError('REQUEST_INVALID', { reason })
}
