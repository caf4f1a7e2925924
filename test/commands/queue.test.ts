import { describe, expect, it } from 'vitest'
import type { QueueView } from '../../src/jobs/queue-view.ts'
import { manifestAt, reportOf } from '../catalog/stored.ts'
import { now, startTestServer, type TestServer } from '../http/test-server.ts'
import { busyFleet, idleQueue } from '../support/queue-views.ts'
import { waitFor } from './cli.ts'
import { command } from './in-process.ts'

const at = '2026-11-20T02:00:00Z'

async function fleet(view: QueueView): Promise<TestServer> {
  return await startTestServer({ parts: { queueView: () => view } })
}

describe('pgproof queue', () => {
  it('a fleet with everything the matter - counts, workers, what is in hand, and a line for each worry', async () => {
    const view = busyFleet(new Date(now))
    // What the dead one refused is no worry.
    const refused = view.workers.flatMap((one) => one.refused)
    const workers = view.workers.map((one) => (one.isAlive ? one : { ...one, refused }))
    await using server = await fleet({ ...view, workers })
    const { code, stdout } = await command(server.url, ['queue']).ended
    expect(code).toBe(0)
    expect(stdout).toMatch(/^backup +12 +1 +2 +1 min ago$/m)
    expect(stdout).toMatch(/^eu-1 +alive +0 s ago +1 of 2 +backup, serve +eu +9\.9\.9 +has the turn/m)
    expect(stdout).toMatch(/^us-1 +gone +5 min ago/m)
    expect(stdout).toMatch(/^r2 +drill of main\/shop +prover +5 s ago/m)
    expect(stdout.split('What worries\n')[1]?.trimEnd().split('\n')).toEqual([
      '  backup of main/app: given up 10 min ago: no worker survived backup of main/app; it was begun 4 times (FLEET_JOB_LOST)',
      '  worker us-1: gave its last sign of life 5 min ago',
      '  worker prover: takes nothing of main for now: it knows the server "main" otherwise (FLEET_CONFIG_DIFFERS)',
      '  main/old: is not on its server any more; its backups stay',
    ])
  })

  it('the control database is away, a clock is wrong - are the first worry and one more', async () => {
    const { workers, ...rest } = busyFleet(new Date(now), { isReachable: false, reason: 'it cannot be used: refused' })
    const wrong = workers.map((one) => ({ ...one, isAlive: true, refused: [] }))
    await using server = await fleet({ ...rest, dead: [], vanished: [], workers: wrong })
    const { stdout } = await command(server.url, ['queue']).ended
    const worries = stdout.split('What worries\n')[1]?.trimEnd().split('\n') ?? []
    expect(worries[0]).toContain('it cannot be used: refused; this is how it was')
    expect(worries.slice(1)).toEqual(["  worker us-1: its clock is 11 min 40 s ahead of the control database's"])
  })

  it('no fleet, nothing to do - one worker, nothing worries; --json is the answer of the API and the worries', async () => {
    await using server = await fleet(idleQueue(new Date(now)))
    const { stdout } = await command(server.url, ['queue']).ended
    expect(stdout).toContain('Nothing waits or goes on.')
    expect(stdout).toContain('Nothing worries about the queue.')
    const json = JSON.parse((await command(server.url, ['queue', '--json']).ended).stdout) as object
    expect(json).toMatchObject({ isReachable: true, queues: [], workers: [{ name: 'this process' }], worries: [] })
  })

  it('asked of the fleet four seconds ago - says so', async () => {
    await using server = await fleet(idleQueue(new Date(Date.now() - 4000)))
    const { stdout } = await command(server.url, ['queue']).ended
    expect(stdout).toMatch(/^As it was [45] s ago:$/m)
  })

  it('no daemon is named - exit 2', async () => {
    const { code, stderr } = await command('', ['queue']).ended
    expect([code, stderr.split('\n')[0]]).toEqual([
      2,
      'error: the queue is that of a daemon: name it by --url or PGPROOF_URL',
    ])
  })
})

describe('pgproof drill --all', () => {
  const manifests = ['app', 'shop'].map((database) => manifestAt(at, { database }))
  const unfinished = (server: TestServer) => server.catalog.runs().filter(({ finishedAt }) => finishedAt === null)

  async function ordered(server: TestServer, count: number): Promise<readonly string[]> {
    const runs = await waitFor('the orders', () => unfinished(server).length === count && unfinished(server))
    return runs.map(({ id }) => id).toReversed()
  }

  function end(server: TestServer, id: string | undefined, state: 'succeeded' | 'failed' | 'inconclusive'): void {
    const error = state === 'succeeded' ? null : { code: 'SPOOL_FULL', message: 'it is full', hint: 'Look.' }
    server.catalog.updateRun(id ?? '', { state, finishedAt: new Date(), label: '20261120T050000Z-aaaa', error })
  }

  it.each([
    ['succeeded', 0],
    ['inconclusive', 14],
    ['failed', 3],
  ] as const)('both are ordered, the second one %s - a line for each, exit %i', async (state, exit) => {
    await using server = await startTestServer({ manifests })
    const { ended } = command(server.url, ['drill', 'main', '--all', '--pick', 'latest'])
    const [first, second] = await ordered(server, 2)
    end(server, first, 'succeeded')
    end(server, second, state)
    const told = await ended
    expect(told.code).toBe(exit)
    expect(told.stdout).toMatch(/^main\/app {3}passed {2}20261120T050000Z-aaaa$/m)
    expect(told.stdout).toContain('main/shop')
    expect(server.orders.taken.map(({ wish }) => wish)).toEqual([{ pick: 'latest' }, { pick: 'latest' }])
  })

  it('only ordered, one of them locked - the ids of the others, the refusal with its run, exit 3', async () => {
    await using server = await startTestServer({ manifests })
    const { id } = server.orders.order({ job: 'drill', server: 'main', database: 'shop', trigger: 'schedule' })
    const told = await command(server.url, ['drill', '--all', '--detach']).ended
    expect(told.code).toBe(3)
    expect(told.stdout).toMatch(/^\S{36} {2}drill of main\/app is ordered/)
    expect(told.stderr).toContain('main/shop')
    expect(told.stderr).toContain(`pgproof cancel ${id}`)
  })

  it('Ctrl-C - cancels all of them', async () => {
    await using server = await startTestServer({ manifests })
    const { ended, cancel } = command(server.url, ['drill', 'main', '--all'])
    await ordered(server, 2)
    cancel()
    expect((await ended).code).toBe(130)
    expect(server.catalog.runs().map(({ state }) => state)).toEqual(['cancelled', 'cancelled'])
  })

  it.each([
    [['drill', 'main/app', '--all'], '--all is of a server, and main/app is one database'],
    [['drill', '--all', '--backup', '20261120T050000Z-aaaa'], '--backup has no meaning with --all'],
    [['drill', '--all', '--full'], '--full has no meaning with --all'],
  ])('%o - exit 2, nothing ordered', async (args, reason) => {
    await using server = await startTestServer({ manifests })
    const { code, stderr } = await command(server.url, args).ended
    expect([code, stderr.split('\n')[0]]).toEqual([2, `error: ${reason}`])
    expect(server.orders.taken).toEqual([])
  })
})

describe('pgproof status', () => {
  it('databases that worry - are first, the worst of them on top, in the table, the worries and --json', async () => {
    const old = '2026-11-18T02:00:00Z'
    const manifest = (database: string, time = at) => manifestAt(time, { database })
    const passed = (database: string, time = at) =>
      reportOf(manifest(database, time), '2026-11-20T05:00:00Z', { label: `20261120T050000Z-${database.slice(0, 4)}` })
    const reason = { code: 'EVIDENCE_MISMATCH', message: 'it differs', hint: 'Look.' }
    await using server = await startTestServer({
      manifests: [manifest('aaaa'), manifest('bbbb', old), manifest('cccc'), manifest('dddd'), manifest('eeee')],
      reports: [
        ...['aaaa', 'eeee'].map((database) => passed(database)),
        passed('bbbb', old),
        { ...passed('dddd'), verdict: 'failed', reason },
      ],
    })
    const { stdout } = await command(server.url, ['status']).ended
    const names = [...(stdout.split('\n\n')[0] ?? '').matchAll(/^main\/(\w+)/gm)].map(([, name]) => name)
    // A drill failed, the backup is too old, nothing is proven; the rest by name.
    expect(names).toEqual(['dddd', 'bbbb', 'cccc', 'aaaa', 'eeee'])
    const worries = (stdout.split('What worries\n')[1] ?? '').match(/main\/\w+/g)
    expect([...new Set(worries)]).toEqual(['main/dddd', 'main/bbbb', 'main/cccc'])
    const json = JSON.parse((await command(server.url, ['status', '--json']).ended).stdout) as {
      databases: { database: string }[]
    }
    expect(json.databases.map(({ database }) => database)).toEqual(names)
  })
})
