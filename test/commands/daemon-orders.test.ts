import { describe, expect, it } from 'vitest'
import { manifestAt } from '../catalog/stored.ts'
import { startTestServer } from '../http/test-server.ts'
import { waitFor } from './cli.ts'
import { command } from './in-process.ts'

const backup = manifestAt('2026-11-20T02:00:00Z')
const other = manifestAt('2026-11-20T02:00:00Z', { database: 'other' })
const third = manifestAt('2026-11-20T02:00:00Z', { database: 'third' })

describe('backups of a server ordered at a daemon', () => {
  it('are ordered all at once; they end in another order - a line for each, in the order of their names', async () => {
    await using server = await startTestServer({ manifests: [backup, other, third] })
    const { ended } = command(server.url, ['backup', 'main'])
    await waitFor('three orders', () => server.catalog.runs().length === 3)
    const runs = server.catalog.runs()
    expect(runs.map(({ state }) => state)).toEqual(['queued', 'queued', 'queued'])
    for (const { id, database } of runs) {
      const [startedAt, finishedAt] = [new Date(0), new Date(7_000)]
      const state = database === 'other' ? 'failed' : 'succeeded'
      const error = database === 'other' ? { code: 'LOCKED', message: 'it is locked', hint: 'Wait.' } : null
      server.catalog.updateRun(id, { state, startedAt, finishedAt, error, label: error ? null : backup.label })
    }
    const told = await ended
    expect(told.stdout.split('\n').map((line) => line.split(/ {2,}/).slice(0, 3))).toEqual([
      ['main/app', backup.label, '7.0 s'],
      ['main/other', 'FAILED', 'it is locked'],
      ['main/third', backup.label, '7.0 s'],
      [''],
    ])
    expect(told.code).toBe(10)
  })

  it('more than the daemon answers in a minute - waits, and all are ordered', async () => {
    const names = Array.from({ length: 12 }, (_, index) => `db${index + 10}`)
    const manifests = names.map((database) => manifestAt('2026-11-20T02:00:00Z', { database }))
    await using server = await startTestServer({ manifests })
    server.reconfigure({ rateLimit: 10 })
    const { ended, cancel } = command(server.url, ['backup', 'main'])
    await waitFor('the refusal', () => server.catalog.runs().length >= 9)
    expect((await server.call('GET', '/v1/runs', { as: 'backup' })).status).toBe(429)
    server.reconfigure({ rateLimit: 1000 })
    await waitFor('all orders', () => server.catalog.runs().length === names.length)
    cancel()
    expect((await ended).code).toBe(130)
  })

  it('one of them goes on already - that is its failure, the others are made', async () => {
    await using server = await startTestServer({ manifests: [backup, other] })
    const first = command(server.url, ['backup', 'main/other', '--detach'])
    expect((await first.ended).code).toBe(0)
    const { ended } = command(server.url, ['backup', 'main'])
    await waitFor('the order', () => server.catalog.runs().length === 2)
    const run = server.catalog.runs().find(({ database }) => database === 'app')
    server.catalog.updateRun(run?.id ?? '', { state: 'succeeded', finishedAt: new Date(), label: backup.label })
    const told = await ended
    expect([told.code, told.stdout]).toEqual([10, expect.stringMatching(/^main\/app .*\nmain\/other +FAILED /)])
  })
})

describe('Ctrl-C while several backups are followed', () => {
  it('those that have not ended are cancelled; the one that has ended is told', async () => {
    await using server = await startTestServer({ manifests: [backup, other, third] })
    const { ended, cancel } = command(server.url, ['backup', 'main'])
    await waitFor('three orders', () => server.catalog.runs().length === 3)
    const [one, two, three] = server.catalog.runs().toReversed()
    server.catalog.updateRun(two?.id ?? '', { state: 'succeeded', finishedAt: new Date(), label: other.label })
    cancel()
    const told = await ended
    expect(told.code).toBe(130)
    expect(server.catalog.runs().map(({ id, state }) => [id, state])).toEqual([
      [three?.id, 'cancelled'],
      [two?.id, 'succeeded'],
      [one?.id, 'cancelled'],
    ])
    expect(told.stdout).toMatch(/main\/other +20261120T020000Z/)
  })

  it('more than a daemon remembers - ordered 200 ahead; all that were ordered are cancelled', async () => {
    const names = Array.from({ length: 230 }, (_, index) => `db-${1000 + index}`)
    const many = names.map((database) => manifestAt('2026-11-20T02:00:00Z', { database }))
    await using server = await startTestServer({ manifests: many })
    const { ended, cancel } = command(server.url, ['backup', 'main'])
    const runs = () => server.catalog.runs().toReversed()
    await waitFor('200', () => runs().length === 200)
    const label = many[0]?.label ?? null
    server.catalog.updateRun(runs()[0]?.id ?? '', { state: 'succeeded', finishedAt: new Date(), label })
    await waitFor('one more', () => runs().length === 201)
    cancel()
    expect((await ended).code).toBe(130)
    expect(runs().map(({ state }) => state)).toEqual(['succeeded', ...Array(200).fill('cancelled')])
  })

  it('while none has ended yet - the daemon is told of all at once, not of the next when one has ended', async () => {
    await using server = await startTestServer({ manifests: [backup, other, third] })
    server.orders.endsSlowly = true
    const { ended, cancel } = command(server.url, ['backup', 'main'])
    await waitFor('three orders', () => server.catalog.runs().length === 3)
    const ids = server.catalog.runs().map(({ id }) => id)
    cancel()
    await waitFor('all to be cancelled', () => ids.every((id) => server.orders.cancelled.includes(id)))
    expect(server.catalog.runs().map(({ state }) => state)).toEqual(['queued', 'queued', 'queued'])
    for (const id of ids) server.catalog.updateRun(id, { state: 'cancelled', finishedAt: new Date() })
    const told = await ended
    expect(told.code).toBe(130)
    for (const id of ids) expect(told.stderr).toContain(`(run ${id}) was cancelled at the daemon\n`)
  })
})
