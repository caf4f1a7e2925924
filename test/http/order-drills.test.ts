import { describe, expect, it } from 'vitest'
import { orderedDrillsSchema } from '../../src/http/answers.ts'
import { manifestAt } from '../catalog/stored.ts'
import { startTestServer } from './test-server.ts'

const at = '2026-11-20T02:00:00Z'
const manifests = ['app', 'shop', 'wiki'].map((database) => manifestAt(at, { database }))
const body = { server: 'main', pick: 'latest' }
const headers = { 'idempotency-key': 'all of main' }

describe('a drill of every database of a server', () => {
  it('each that has a backup - 202, a run for each, and where they are listed', async () => {
    await using server = await startTestServer({ manifests: [...manifests, manifestAt(at, { server: 'other' })] })
    const reply = await server.call('POST', '/v1/drills', { as: 'drill', body })
    const { ordered, refused } = reply.as(orderedDrillsSchema)
    expect([reply.status, refused]).toEqual([202, []])
    expect(ordered.map(({ database, state }) => [database, state])).toEqual([
      ['app', 'queued'],
      ['shop', 'queued'],
      ['wiki', 'queued'],
    ])
    expect(server.orders.taken.map(({ wish }) => wish)).toEqual(Array(3).fill({ pick: 'latest' }))
    const listed = await server.call('GET', reply.headers.get('location') ?? '')
    expect(JSON.parse(listed.text)).toMatchObject({
      items: [{ database: 'wiki' }, { database: 'shop' }, { database: 'app' }],
    })
  })

  it('one is being drilled already - the others are ordered, and it is refused with its code and its run', async () => {
    await using server = await startTestServer({ manifests })
    const { id } = server.orders.order({ job: 'drill', server: 'main', database: 'shop', trigger: 'schedule' })
    const reply = await server.call('POST', '/v1/drills', { as: 'drill', body })
    const { ordered, refused } = reply.as(orderedDrillsSchema)
    expect(ordered.map(({ database }) => database)).toEqual(['app', 'wiki'])
    expect(refused).toMatchObject([{ server: 'main', database: 'shop', code: 'LOCKED', run: id }])
  })

  it('all are refused - the first refusal is the answer, and the key may order later', async () => {
    await using server = await startTestServer({ manifests })
    const first = await server.call('POST', '/v1/drills', { as: 'drill', body })
    const again = await server.call('POST', '/v1/drills', { as: 'drill', body, headers })
    expect(again.problem()).toMatchObject({ status: 409, code: 'LOCKED' })
    for (const { id } of first.as(orderedDrillsSchema).ordered) server.orders.cancel(id)
    expect((await server.call('POST', '/v1/drills', { as: 'drill', body, headers })).status).toBe(202)
  })

  it('nothing to drill, no such server, shutting down - 409, 404, 503; nothing ordered', async () => {
    await using empty = await startTestServer()
    expect((await empty.call('POST', '/v1/drills', { as: 'drill', body })).problem().code).toBe('NO_BACKUP')
    await using server = await startTestServer({ manifests })
    const nowhere = await server.call('POST', '/v1/drills', { as: 'drill', body: { server: 'nowhere' } })
    expect(nowhere.problem().code).toBe('SERVER_UNKNOWN')
    server.orders.isClosed = true
    expect((await server.call('POST', '/v1/drills', { as: 'drill', body })).problem().code).toBe('SHUTTING_DOWN')
    expect([...empty.orders.taken, ...server.orders.taken]).toEqual([])
  })

  it('the same key again - the same runs as they are now, and the same refusals; nothing ordered', async () => {
    await using server = await startTestServer({ manifests })
    server.orders.order({ job: 'drill', server: 'main', database: 'shop', trigger: 'schedule' })
    const options = { as: 'drill', body, headers } as const
    const first = (await server.call('POST', '/v1/drills', options)).as(orderedDrillsSchema)
    server.catalog.updateRun(first.ordered[0]?.id ?? '', { state: 'running' })
    const again = (await server.call('POST', '/v1/drills', options)).as(orderedDrillsSchema)
    expect(again.ordered.map(({ id, state }) => [id, state])).toEqual(
      first.ordered.map(({ id }, index) => [id, index === 0 ? 'running' : 'queued']),
    )
    expect(again.refused).toEqual(first.refused)
    expect(server.orders.taken).toHaveLength(3)
  })

  it('one database under the key of all, and the other way round - 422', async () => {
    await using server = await startTestServer({ manifests })
    await server.call('POST', '/v1/drills', { as: 'drill', body, headers })
    const one = await server.call('POST', '/v1/drills', { as: 'drill', body: { ...body, database: 'app' }, headers })
    expect(one.problem()).toMatchObject({ status: 422, code: 'IDEMPOTENCY_CONFLICT' })
  })

  it('a token that only reads - 403', async () => {
    await using server = await startTestServer({ manifests })
    expect((await server.call('POST', '/v1/drills', { as: 'read', body })).status).toBe(403)
  })
})
