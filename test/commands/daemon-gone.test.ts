import { describe, expect, it } from 'vitest'
import { type Clock, systemClock } from '../../src/clock.ts'
import { createContext } from '../../src/commands/context.ts'
import { daemonRun } from '../../src/commands/daemon-answers.ts'
import { eventsOf } from '../../src/commands/daemon-client.ts'
import { manifestAt, reportOf } from '../catalog/stored.ts'
import { startTestServer, type TestServer, tokens } from '../http/test-server.ts'
import { startScriptedServer } from '../support/scripted-http.ts'
import { hurriedClock } from '../support/test-bucket.ts'
import { waitFor } from './cli.ts'
import { proxyTo } from './daemon-proxy.ts'
import { bareSurroundings, command } from './in-process.ts'

const backup = manifestAt('2026-11-20T02:00:00Z')
const shop = manifestAt('2026-11-20T02:00:00Z', { database: 'shop' })
const passed = reportOf(backup, '2026-11-20T05:00:00Z')
const drill = ['drill', 'main/app']

const daemon = (): Promise<TestServer> => startTestServer({ manifests: [backup, shop], reports: [passed] })

async function runsOf(server: TestServer, count: number): Promise<readonly string[]> {
  await waitFor('the orders', () => server.catalog.runs().length === count)
  return server.catalog.runs().map(({ id }) => id)
}

/** Asks again at once. */
const tirelessClock: Clock = { ...systemClock, sleep: async () => {} }

describe('a daemon that is gone for good', () => {
  it('while a run is followed - asked again twenty times, then DAEMON_UNREACHABLE with exit 11', async () => {
    await using server = await daemon()
    await using between = await proxyTo(server.url)
    const { ended } = command(between.url, drill, {}, { clock: hurriedClock })
    await runsOf(server, 1)
    await waitFor('the event stream', () => between.seen().includes('/events'))
    between.breakAll(true)
    const told = await ended
    expect([told.code, told.stdout]).toEqual([11, ''])
    expect(told.stderr).toContain(`error: cannot ask the daemon at ${between.url}/: `)
  })

  it.each([
    ['passed', 'succeeded', 11],
    ['failed', 'failed', 3],
  ] as const)(
    'while drills of all databases are followed, of which one %s - the other says why its end is not known; exit code of the worse',
    async (_what, state, code) => {
      await using server = await daemon()
      await using between = await proxyTo(server.url)
      const { ended } = command(between.url, ['drill', 'main', '--all'], {}, { clock: tirelessClock })
      const ids = await runsOf(server, 2)
      const followed = (): string[] => ids.filter((id) => between.seen().includes(`${id}/events`))
      const first = await waitFor('the events of the first', () => followed()[0])
      const error = state === 'failed' ? { code: 'EVIDENCE_MISMATCH', message: 'a row', hint: 'Look.' } : null
      server.catalog.updateRun(first, { state, finishedAt: new Date(), label: passed.label, error })
      await waitFor('the events of the second', () => followed().length === 2)
      between.breakAll(true)
      const told = await ended
      expect(told.code).toBe(code)
      const other = server.catalog.runs().find(({ id }) => id !== first)
      expect(told.stderr).toContain(`error: main/${other?.database}: cannot ask the daemon at ${between.url}/: `)
      expect(told.stderr).toContain(`error: ${state === 'failed' ? 2 : 1} of 2 drills did not succeed\n`)
    },
  )

  it('once it has taken a Ctrl-C, and another one came - says that the run is being cancelled; exit 130', async () => {
    await using server = await daemon()
    server.orders.endsSlowly = true
    await using between = await proxyTo(server.url)
    const { ended, cancel } = command(between.url, drill)
    const [id] = await runsOf(server, 1)
    const streams = (): number => between.seen().split('/events').length - 1
    await waitFor('the event stream', () => streams() === 1)
    cancel()
    await waitFor('the event stream of what is cancelled', () => streams() === 2)
    await using next = await daemon()
    between.leadTo(next.url)
    between.breakAll(false)
    const told = await ended
    expect(told.code).toBe(130)
    expect(told.stderr).toContain(`drill of main/app (run ${id}) is being cancelled at the daemon\n`)
    expect(server.orders.cancelled).toEqual([id])
  })

  it('and Ctrl-C while drills of all databases are followed - each goes on there, which is said; exit 130', async () => {
    await using server = await daemon()
    await using between = await proxyTo(server.url)
    const { ended, cancel } = command(between.url, ['drill', 'main', '--all', '--json'])
    const ids = await runsOf(server, 2)
    await waitFor('the event stream', () => between.seen().includes('/events'))
    between.breakAll(true)
    cancel()
    const told = await ended
    expect(told.code).toBe(130)
    for (const id of ids) expect(told.stderr).toContain(`(run ${id}) goes on at the daemon, it could not be cancelled`)
    expect(JSON.parse(told.stdout)).toMatchObject({ runs: [], error: { code: 'CANCELLED' } })
  })
})

it('a daemon that goes silent while a run is followed, connected as it is - is not waited for longer than that', async () => {
  await using server = await daemon()
  const { id } = server.orders.order({ job: 'drill', server: 'main', database: 'app', trigger: 'http' })
  const context = createContext(bareSurroundings, {})
  const asked = { base: new URL(server.url), token: tokens.read, ca: undefined, context }
  const states: string[] = []
  const follow = async (): Promise<void> => {
    for await (const { state } of eventsOf(asked, `v1/runs/${id}/events`, daemonRun, context.signal, 500))
      states.push(state)
  }
  await expect(follow()).rejects.toMatchObject({
    code: 'DAEMON_UNREACHABLE',
    message: expect.stringContaining('it has gone silent'),
  })
  expect(states).toEqual(['queued'])
})

describe('something that answers without an end', () => {
  const endless = 'a'.repeat((64 << 20) + 1)

  it('to a question - DAEMON_UNREACHABLE, exit 11', async () => {
    await using server = await startScriptedServer(() => ({ status: 200, body: endless }))
    const told = await command(server.endpoint, ['list']).ended
    expect([told.code, told.stderr.split('\n')[0]]).toEqual([
      11,
      `error: cannot ask the daemon at ${server.endpoint}/: its answer has no end`,
    ])
  })

  it('to whoever follows a run - DAEMON_STRANGE, exit 2', async () => {
    await using server = await daemon()
    const status = await server.call('GET', '/v1/status')
    const run = await server.call('POST', '/v1/drills', { as: 'drill', body: { server: 'main', database: 'app' } })
    await using strange = await startScriptedServer(({ method, path }) => {
      if (path.endsWith('/events')) return { status: 200, body: `data: ${endless}` }
      if (method === 'POST') return { status: 202, body: run.text }
      return { status: 200, body: path === '/v1/status' ? status.text : '{}' }
    })
    const told = await command(strange.endpoint, drill).ended
    expect([told.code, told.stderr.split('\n')[0]]).toEqual([
      2,
      `error: ${strange.endpoint}/ is no pgproof daemon: its event has no end`,
    ])
  })
})

it('a run that waits behind another, on a terminal - how many are before it', async () => {
  await using server = await daemon()
  server.orders.order({ job: 'backup', server: 'main', database: 'shop', trigger: 'schedule' })
  const { ended, output } = command(server.url, drill, { NO_COLOR: '1' }, { isTTY: true })
  const [id = ''] = await runsOf(server, 2)
  await waitFor('the progress', () => /drill of main\/app: \d+ s, waits behind 1 run/.test(output.stderr))
  server.catalog.updateRun(id, { state: 'succeeded', finishedAt: new Date(), label: passed.label })
  expect(await ended).toMatchObject({ code: 0, stdout: expect.stringMatching(/^PASSED /) })
})
