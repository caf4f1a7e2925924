import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { PgproofError } from '../../src/errors.ts'
import { pauseSchema } from '../../src/http/answers.ts'
import { now, startTestServer } from './test-server.ts'

const list = z.strictObject({ items: z.array(pauseSchema) })
const order = { server: 'main', for: '4h', reason: 'move to the new rack' }

describe('pauses', () => {
  it('ordered, listed and ended - each at once, and in the store', async () => {
    await using server = await startTestServer()
    const ordered = await server.call('POST', '/v1/pauses', { as: 'backup', body: order })
    expect(ordered.status).toBe(201)
    const pause = ordered.as(pauseSchema)
    expect(pause).toMatchObject({
      server: 'main',
      database: null,
      jobs: ['backup', 'roles', 'drill'],
      since: new Date(now).toISOString(),
      until: '2026-11-20T16:00:00.000Z',
      reason: order.reason,
      by: 'token backuper',
    })
    expect(server.store.keys()).toContain(`pauses/${pause.id}.json`)
    expect((await server.call('GET', '/v1/pauses')).as(list).items).toEqual([pause])

    server.clock.advance(1000)
    const ended = await server.call('DELETE', `/v1/pauses/${pause.id}`, { as: 'backup' })
    expect(ended).toMatchObject({ status: 200 })
    expect((await server.call('GET', '/v1/pauses')).as(list).items).toEqual([])
    const again = await server.call('DELETE', `/v1/pauses/${pause.id}`, { as: 'backup' })
    expect(again.problem()).toMatchObject({ status: 404, code: 'PAUSE_UNKNOWN' })
  })

  it('over - not listed any more', async () => {
    await using server = await startTestServer()
    await server.call('POST', '/v1/pauses', { as: 'backup', body: order })
    server.clock.advance(4 * 3_600_000)
    expect((await server.call('GET', '/v1/pauses')).as(list).items).toEqual([])
  })

  it.each([
    ['a reader’s', 'read', 403],
    ['a driller’s', 'drill', 403],
    ['no', null, 401],
  ] as const)('with %s token - refused, nothing is written', async (_, as, status) => {
    await using server = await startTestServer()
    expect((await server.call('POST', '/v1/pauses', { as, body: order })).problem().status).toBe(status)
    expect((await server.call('DELETE', '/v1/pauses/20261120T020000Z-4f7k', { as })).problem().status).toBe(status)
    expect(server.store.keys()).toEqual([])
  })

  it.each([
    ['without an end', { server: 'main', reason: 'x' }, 400],
    ['without a reason', { server: 'main', for: '1h' }, 400],
    ['longer than 30 days', { ...order, for: '5w' }, 400],
    ['of no time', { ...order, for: '0h' }, 400],
    ['with a reason of two lines', { ...order, reason: 'a\nb' }, 400],
    ['of a job that cannot be paused', { ...order, jobs: ['prune'] }, 400],
    ['of the roles of a database', { ...order, database: 'app', jobs: ['roles'] }, 400],
    ['of a database without its server', { for: '1h', reason: 'x', database: 'app' }, 400],
    ['with an unknown field', { ...order, until: '2026-11-21T00:00:00Z' }, 400],
    ['of an unknown server', { ...order, server: 'nope' }, 404],
  ])('%s - refused, nothing is written', async (_, body, status) => {
    await using server = await startTestServer()
    const answer = await server.call('POST', '/v1/pauses', { as: 'backup', body })
    expect(answer.problem().status).toBe(status)
    expect(server.store.keys()).toEqual([])
  })

  it('the store does not take it - the problem of the store, and nothing is paused', async () => {
    await using server = await startTestServer()
    server.store.before = (operation) => {
      if (operation === 'put') throw new PgproofError('STORE_FULL', { key: 'it' })
    }
    const answer = await server.call('POST', '/v1/pauses', { as: 'backup', body: order })
    expect(answer.problem()).toMatchObject({ status: 507, code: 'STORE_FULL' })
    expect((await server.call('GET', '/v1/pauses')).as(list).items).toEqual([])
  })
})
