import { readFile } from 'node:fs/promises'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { expect, it } from 'vitest'
import { z } from 'zod'
import { startTestServer } from './test-server.ts'

const documentSchema = z.looseObject({
  openapi: z.literal('3.1.0'),
  paths: z.record(
    z.string(),
    z.record(z.string(), z.looseObject({ summary: z.string(), responses: z.record(z.string(), z.unknown()) })),
  ),
  components: z.looseObject({ schemas: z.record(z.string(), z.unknown()) }),
})

const routes = [
  'GET /',
  'GET /healthz',
  'GET /metrics',
  'GET /openapi.json',
  'GET /readyz',
  'GET /v1/backups',
  'GET /v1/backups/{label}',
  'GET /v1/drills',
  'GET /v1/drills/{label}',
  'DELETE /v1/pauses/{id}',
  'GET /v1/pauses',
  'POST /v1/pauses',
  'GET /v1/queue',
  'GET /v1/runs',
  'GET /v1/runs/{id}',
  'GET /v1/runs/{id}/events',
  'GET /v1/status',
  'DELETE /v1/runs/{id}',
  'POST /v1/backups',
  'POST /v1/drills',
]

it('the document - names exactly the routes of the contract', async () => {
  await using server = await startTestServer()
  const { paths } = (await server.call('GET', '/openapi.json')).as(documentSchema)
  const named = Object.entries(paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
  )
  expect(named.toSorted()).toEqual(routes.toSorted())
})

it('every method of every path - exists exactly if the document says so, and answers with a status that it names', async () => {
  await using server = await startTestServer()
  const { id } = server.orders.order({ job: 'drill', server: 'main', database: 'app', trigger: 'http' })
  server.orders.cancel(id)
  const { paths } = (await server.call('GET', '/openapi.json')).as(documentSchema)
  for (const [path, methods] of Object.entries(paths))
    for (const method of ['get', 'post', 'put', 'patch', 'delete']) {
      const reply = await server.call(method.toUpperCase(), path.replace('{id}', id).replace('{label}', 'x'), {
        as: 'backup',
        ...(method === 'post' ? { body: { server: 'main', database: 'app' } } : {}),
      })
      const expected = methods[method] === undefined ? ['405'] : Object.keys(methods[method].responses)
      expect([method, path, expected]).toEqual([method, path, expect.arrayContaining([String(reply.status)])])
    }
})

it('the document - is OpenAPI 3.1 by the schema of its authors, and each schema in it is one', async () => {
  await using server = await startTestServer()
  const { text } = await server.call('GET', '/openapi.json')
  // From https://spec.openapis.org/oas/3.1/schema/2026-08-03 (Apache-2.0), unchanged but for its format.
  const official = JSON.parse(await readFile('test/http/openapi-3.1.schema.json', 'utf8')) as object
  const ajv = new Ajv2020({ strict: false, validateFormats: false, allErrors: true })
  const check = ajv.compile(official)
  check(JSON.parse(text))
  expect(check.errors).toBe(null)
  check({ ...(JSON.parse(text) as object), paths: { 'no-slash': {} } })
  expect(check.errors).not.toBe(null)
  const { components } = documentSchema.parse(JSON.parse(text))
  ajv.addSchema({ $id: 'https://pgproof.example/', components })
  for (const name of Object.keys(components.schemas))
    expect(ajv.getSchema(`https://pgproof.example/#/components/schemas/${name}`)).toBeTypeOf('function')
})

it('parameters of every path - are described, and no others', async () => {
  await using server = await startTestServer()
  const { text } = await server.call('GET', '/openapi.json')
  type Parameters = { readonly parameters: readonly { readonly name: string; readonly in: string }[] }
  const { paths } = JSON.parse(text) as { paths: Record<string, Record<string, Parameters>> }
  for (const [path, methods] of Object.entries(paths))
    for (const { parameters } of Object.values(methods)) {
      const described = parameters.filter((one) => one.in === 'path').map(({ name }) => name)
      expect([path, described]).toEqual([path, [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name)])
    }
})

it('every reference - points to something', async () => {
  await using server = await startTestServer()
  const { text } = await server.call('GET', '/openapi.json')
  const { components } = documentSchema.parse(JSON.parse(text))
  const references = new Set([...text.matchAll(/"\$ref":"([^"]+)"/g)].map(([, target]) => target))
  const known = Object.keys(components.schemas).map((name) => `#/components/schemas/${name}`)
  expect(known).toEqual(expect.arrayContaining([...references]))
  expect(references.size).toBeGreaterThan(5)
})

it('what may be sent - is described field by field, and nothing else is allowed', async () => {
  await using server = await startTestServer()
  const { components } = (await server.call('GET', '/openapi.json')).as(documentSchema)
  expect(components.schemas['DrillOrder']).toMatchObject({
    type: 'object',
    required: ['server'],
    additionalProperties: false,
    properties: { seed: { type: 'integer', minimum: 0 }, pick: { enum: ['random', 'latest'] } },
  })
})
