import { z } from 'zod'
import { type ErrorCode, register } from '../errors.ts'
import {
  backupDetailsSchema,
  backupSchema,
  drillDetailsSchema,
  drillSchema,
  failedRunSchema,
  orderedDrillsSchema,
  pauseSchema,
  refusedSchema,
  runSchema,
} from './answers.ts'
import { problemSchema, problemType } from './problem.ts'
import { queueSchema, workerSchema } from './queue-answer.ts'
import { backupOrder, drillOrder } from './requests.ts'
import { type AnswerDescription, type Route, route } from './route.ts'
import { databaseStatusSchema, statusSchema } from './status.ts'

/** `GET /openapi.json`: the other routes and itself, made from their own table. */
export function openApiRoute(others: readonly Route[], version: string): Route {
  const self: Route = route({
    method: 'GET',
    path: '/openapi.json',
    access: 'read',
    summary: 'This description.',
    answers: { 200: { description: 'OpenAPI 3.1.', schema: z.record(z.string(), z.unknown()) } },
    handle: () => ({ status: 200, body: openApi([...others, self], version) }),
  })
  return self
}

export function openApi(routes: readonly Route[], version: string): Record<string, unknown> {
  const paths: Record<string, Record<string, unknown>> = {}
  for (const one of routes) {
    const path = one.path.replaceAll(/:(\w+)/g, '{$1}')
    paths[path] = { ...paths[path], [one.method.toLowerCase()]: operation(one) }
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'pgproof',
      version,
      description: 'PostgreSQL backups that prove themselves. Scopes of tokens: read < drill < backup.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: '/' }],
    paths,
    components: {
      securitySchemes: {
        token: { type: 'http', scheme: 'bearer', description: 'A token from `http.tokens`.' },
        password: {
          type: 'http',
          scheme: 'basic',
          description: 'For browsers, which only read by it: any name, and a token as the password.',
        },
      },
      schemas: components(),
    },
  }
}

const named = z.registry<{ id: string }>()
named.add(problemSchema, { id: 'Problem' })
named.add(runSchema, { id: 'Run' })
named.add(failedRunSchema, { id: 'FailedRun' })
named.add(refusedSchema, { id: 'Refused' })
named.add(orderedDrillsSchema, { id: 'OrderedDrills' })
named.add(pauseSchema, { id: 'Pause' })
named.add(backupSchema, { id: 'Backup' })
named.add(backupDetailsSchema, { id: 'BackupDetails' })
named.add(drillSchema, { id: 'Drill' })
named.add(drillDetailsSchema, { id: 'DrillDetails' })
named.add(databaseStatusSchema, { id: 'DatabaseStatus' })
named.add(statusSchema, { id: 'Status' })
named.add(queueSchema, { id: 'Queue' })
named.add(workerSchema, { id: 'Worker' })
named.add(drillOrder, { id: 'DrillOrder' })
named.add(backupOrder, { id: 'BackupOrder' })

const uri = (id: string): string => `#/components/schemas/${id}`

/** What any route with a token can refuse with, and any route at all. */
const refusalsWithToken: readonly ErrorCode[] = ['UNAUTHORIZED', 'FORBIDDEN', 'RATE_LIMITED']
const refusalsOfBodies: readonly ErrorCode[] = ['BODY_TOO_LARGE', 'MEDIA_TYPE_UNSUPPORTED']
const refusalsOfChanges: readonly ErrorCode[] = ['CROSS_SITE_REFUSED']
const refusalsOfAll: readonly ErrorCode[] = ['REQUEST_INVALID', 'INTERNAL']

function operation(one: Route): Record<string, unknown> {
  const { access, summary, body, answers } = one
  const isOpen = access === 'probe' || access === 'metrics'
  const codes = [
    ...one.refusals,
    ...refusalsOfAll,
    ...refusalsWithToken,
    ...(body === undefined ? [] : refusalsOfBodies),
    ...(one.method === 'GET' ? [] : refusalsOfChanges),
  ]
  return {
    summary,
    description: isOpen
      ? 'Needs no token, unless `http.metricsToken` is set.'
      : `Needs a token of the scope \`${access}\`${one.method === 'GET' ? ', except on this machine' : ''}.`,
    security: [...(isOpen ? [{}] : []), { token: [] }, ...(one.method === 'GET' ? [{ password: [] }] : [])],
    parameters: parametersOf(one),
    ...(body === undefined
      ? {}
      : { requestBody: { required: true, content: { 'application/json': { schema: schemaOf(body) } } } }),
    responses: {
      ...Object.fromEntries(Object.entries(answers).map(([status, answer]) => [status, responseOf(answer)])),
      ...refusalResponses(codes),
    },
  }
}

function parametersOf({ params, query, takesIdempotencyKey }: Route): unknown[] {
  const list = (schema: z.ZodType | undefined, place: 'path' | 'query'): unknown[] =>
    schema instanceof z.ZodObject
      ? Object.entries(schema.shape).map(([name, field]) => {
          const { description, ...rest } = z.toJSONSchema(field as z.ZodType, { io: 'output' })
          const { $schema: _, ...described } = rest
          return { name, in: place, required: place === 'path', description, schema: described }
        })
      : []
  const key = {
    name: 'Idempotency-Key',
    in: 'header',
    required: false,
    description:
      'The same key with the same order orders nothing again, for 24 hours or until the daemon starts anew; for a week after those it is refused.',
    schema: { type: 'string', minLength: 1, maxLength: 255 },
  }
  return [...list(params, 'path'), ...list(query, 'query'), ...(takesIdempotencyKey === true ? [key] : [])]
}

function responseOf({ description, type = 'application/json', schema }: AnswerDescription): unknown {
  if (schema === undefined && type === 'text/event-stream') return { description }
  const content = schema === undefined ? { type: 'string' } : schemaOf(schema)
  return { description, content: { [type.replace(/;.*/, '')]: { schema: content } } }
}

function refusalResponses(codes: readonly ErrorCode[]): Record<string, unknown> {
  const byStatus = Map.groupBy(new Set(codes), (code) => register[code].http)
  return Object.fromEntries(
    [...byStatus].map(([status, group]) => [
      status,
      { description: group.join(', '), content: { [problemType]: { schema: { $ref: uri('Problem') } } } },
    ]),
  )
}

function components(): Record<string, unknown> {
  const { schemas } = z.toJSONSchema(named, { uri, io: 'input' })
  return Object.fromEntries(Object.entries(schemas).map(([id, schema]) => [id, withoutHead(schema)]))
}

/** By its name where it has one. */
function schemaOf(schema: z.ZodType): unknown {
  const name = named.get(schema)?.id
  if (name !== undefined) return { $ref: uri(name) }
  if (schema instanceof z.ZodUnion) return { anyOf: schema.options.map((one) => schemaOf(one as z.ZodType)) }
  // A page of something that has a name.
  if (schema instanceof z.ZodObject && schema.shape['items'] instanceof z.ZodArray) {
    const item = schema.shape['items'].element as z.ZodType
    const described = withoutHead(z.toJSONSchema(schema)) as { properties: Record<string, unknown> }
    const items = { type: 'array', items: schemaOf(item) }
    return { ...described, properties: { ...described.properties, items } }
  }
  return withoutHead(z.toJSONSchema(schema))
}

function withoutHead(schema: object): object {
  const { $schema: _schema, $id: _id, ...rest } = schema as Record<string, unknown>
  return rest
}
