import { describe, expect, it } from 'vitest'
import type { DrillReport } from '../../src/domain/drill-report.ts'
import { manifestAt, reportOf } from '../catalog/stored.ts'
import { startTestServer, type TestServer } from '../http/test-server.ts'
import { waitFor } from './cli.ts'
import { proxyTo } from './daemon-proxy.ts'
import { command } from './in-process.ts'

const backup = manifestAt('2026-11-20T02:00:00Z')
const passed = reportOf(backup, '2026-11-20T05:00:00Z')
const drill = ['drill', 'main/app']

/** A server with one backup, whose queue only takes orders: the test is who carries them out. */
async function daemon(reports: readonly DrillReport[] = [passed]): Promise<TestServer> {
  return await startTestServer({ manifests: [backup], reports })
}

async function orderedRun(server: TestServer): Promise<string> {
  return await waitFor('an order', () => server.catalog.runs().find(({ finishedAt }) => finishedAt === null)?.id)
}

function end(
  server: TestServer,
  id: string,
  state: 'succeeded' | 'failed' | 'inconclusive' | 'cancelled',
  code?: string,
) {
  const error = code === undefined ? null : { code, message: `it is ${state}`, hint: 'Look.' }
  const label = state === 'cancelled' ? null : passed.label
  server.catalog.updateRun(id, { state, finishedAt: new Date(), label, error })
}

describe('a drill ordered at a daemon and followed', () => {
  it.each([
    ['succeeded', undefined, 'passed', 0],
    ['failed', 'EVIDENCE_MISMATCH', 'failed', 3],
    ['inconclusive', 'SPOOL_FULL', 'inconclusive', 14],
  ] as const)(
    '%s - the page of its report, and the exit code of such a drill here',
    async (state, code, verdict, exit) => {
      const reason = code === undefined ? null : { code, message: `it is ${state}`, hint: 'Look.' }
      await using server = await daemon([reportOf(backup, '2026-11-20T05:00:00Z', { verdict, reason })])
      const { ended } = command(server.url, drill)
      const id = await orderedRun(server)
      server.catalog.updateRun(id, { state: 'running', startedAt: new Date(), progress: { phase: 'restore' } })
      end(server, id, state, code)
      const told = await ended
      expect([told.code, told.stdout.split(' ')[0]]).toEqual([exit, verdict.toUpperCase()])
      if (code === 'EVIDENCE_MISMATCH') expect(told.stderr).toContain('error: the drill failed: it is failed\n')
      if (code === 'SPOOL_FULL') expect(told.stderr).toContain('error: it is inconclusive\nhint: Look.\n')
    },
  )

  it('cancelled by somebody else - exit 130; failed before there was a report - its own code and exit code', async () => {
    await using server = await daemon()
    const one = command(server.url, drill)
    end(server, await orderedRun(server), 'cancelled', 'CANCELLED')
    expect(await one.ended).toMatchObject({ code: 130, stdout: '' })
    const other = command(server.url, drill)
    const id = await orderedRun(server)
    const error = { code: 'STORE_DENIED', message: 'the store refused it', hint: 'Check the key.' }
    server.catalog.updateRun(id, { state: 'failed', finishedAt: new Date(), error })
    expect(await other.ended).toMatchObject({
      code: 11,
      stderr: 'error: the store refused it\nhint: Check the key.\n',
    })
  })

  it('cancelled by somebody else when its report was stored already - its page, and exit 130', async () => {
    await using server = await daemon()
    const { ended } = command(server.url, drill)
    const error = { code: 'CANCELLED', message: 'the drill was cancelled', hint: 'Start it again.' }
    const changes = { state: 'cancelled', finishedAt: new Date(), label: passed.label, error } as const
    server.catalog.updateRun(await orderedRun(server), changes)
    const told = await ended
    expect([told.code, told.stdout.split(' ')[0]]).toEqual([130, 'PASSED'])
    expect(told.stderr).toContain('error: the drill was cancelled\n')
  })

  it('the wish - is that of the flags', async () => {
    await using server = await daemon()
    for (const [flags, wish] of [
      [['--seed', '7'], { pick: 'random', seed: 7 }],
      [['--pick', 'latest'], { pick: 'latest' }],
      [['--backup', backup.label], { backup: backup.label }],
    ] as const) {
      const { code } = await command(server.url, ['drill', ...flags, '--detach']).ended
      expect([code, server.orders.taken.at(-1)]).toMatchObject([0, { server: 'main', database: 'app', wish }])
      end(server, await orderedRun(server), 'succeeded')
    }
  })

  it('while one goes on already - exit 10 and the command that cancels it', async () => {
    await using server = await daemon()
    const { id } = server.orders.order({ job: 'drill', server: 'main', database: 'app', trigger: 'schedule' })
    const told = await command(server.url, drill).ended
    expect(told.code).toBe(10)
    expect(told.stderr).toContain('error: drill of main/app is locked by another run\n')
    expect(told.stderr).toContain(`\`pgproof cancel ${id}\``)
  })
})

describe('Ctrl-C while a run at a daemon is followed', () => {
  it('once - the run is cancelled there, which is said; exit 130', async () => {
    await using server = await daemon()
    const { ended, cancel } = command(server.url, drill)
    const id = await orderedRun(server)
    cancel()
    const told = await ended
    expect(told.code).toBe(130)
    expect(told.stderr).toContain(`drill of main/app (run ${id}) was cancelled at the daemon\n`)
    expect(server.catalog.findRun(id)?.state).toBe('cancelled')
  })

  it('before the order was answered - the run is cancelled all the same', async () => {
    await using server = await daemon()
    await using between = await proxyTo(server.url, 'hold')
    const { ended, cancel } = command(between.url, drill)
    const id = await orderedRun(server)
    cancel()
    between.release()
    const told = await ended
    expect(told.code).toBe(130)
    expect(told.stderr).toContain(`(run ${id}) was cancelled at the daemon\n`)
    expect(server.catalog.findRun(id)?.state).toBe('cancelled')
  })

  it('and the daemon cannot be reached - says that the run goes on', async () => {
    await using server = await daemon()
    await using between = await proxyTo(server.url)
    const { ended, cancel } = command(between.url, drill)
    const id = await orderedRun(server)
    await waitFor('the event stream', () => between.seen().includes('/events'))
    between.breakAll(true)
    cancel()
    const told = await ended
    expect(told.code).toBe(130)
    expect(told.stderr).toContain(
      `warning: drill of main/app (run ${id}) goes on at the daemon, it could not be cancelled`,
    )
    expect(server.catalog.findRun(id)?.state).toBe('queued')
  })
})

describe('a connection to a daemon that breaks', () => {
  it('while a run is followed - is made again, and the end is seen', async () => {
    await using server = await daemon()
    await using between = await proxyTo(server.url)
    const { ended } = command(between.url, drill)
    const id = await orderedRun(server)
    await waitFor('the event stream', () => between.seen().includes('/events'))
    between.breakAll(false)
    end(server, id, 'succeeded')
    expect(await ended).toMatchObject({ code: 0 })
    expect(server.orders.taken.length).toBe(1)
  })

  it('before an order was answered - it is sent again, and ordered once', async () => {
    await using server = await daemon()
    await using between = await proxyTo(server.url, 'swallow one')
    const { ended } = command(between.url, [...drill, '--detach'])
    expect(await ended).toMatchObject({ code: 0 })
    expect(between.seen().match(/POST \/v1\/drills/g)?.length).toBe(2)
    expect(server.orders.taken.length).toBe(1)
  })

  it('before an order was answered, and Ctrl-C - says that nobody knows whether it was taken', async () => {
    await using server = await daemon()
    await using between = await proxyTo(server.url, 'swallow one')
    const { ended, cancel } = command(between.url, [...drill, '--detach'])
    await orderedRun(server)
    cancel()
    const told = await ended
    expect(told.code).toBe(130)
    expect(told.stderr).toContain('warning: it is not known whether the daemon took the order')
    expect(between.seen().match(/POST \/v1\/drills/g)?.length).toBe(1)
  })

  it('because the daemon was started anew - RUN_LOST, exit 14 and where to look', async () => {
    await using server = await daemon()
    await using between = await proxyTo(server.url)
    const { ended } = command(between.url, drill)
    const id = await orderedRun(server)
    await waitFor('the event stream', () => between.seen().includes('/events'))
    await using next = await daemon()
    between.leadTo(next.url)
    between.breakAll(false)
    const told = await ended
    const what = `drill of main/app (run ${id})`
    const error = `the daemon was restarted while ${what} went on; what became of it is not known`
    expect([told.code, told.stderr.split('\n')[0]]).toEqual([14, `error: ${error}`])
    expect(told.stderr).toMatch(/^hint: Look with .*`pgproof list --drills`.* and order it again\.$/m)
  })

  it('because the daemon was started anew, and Ctrl-C - says that the run is lost, exit 130', async () => {
    await using server = await daemon()
    await using between = await proxyTo(server.url)
    const { ended, cancel } = command(between.url, drill)
    await orderedRun(server)
    await waitFor('the event stream', () => between.seen().includes('/events'))
    await using next = await daemon()
    between.leadTo(next.url)
    cancel()
    const told = await ended
    expect(told.code).toBe(130)
    expect(told.stderr).toContain('warning: the daemon was restarted while drill of main/app (run ')
    expect(told.stderr).not.toContain('goes on at the daemon')
  })

  it('because the daemon was started anew, of a backup - RUN_LOST is its outcome', async () => {
    await using server = await daemon()
    await using between = await proxyTo(server.url)
    const { ended } = command(between.url, ['backup', 'main/app', '--json'])
    await orderedRun(server)
    await waitFor('the event stream', () => between.seen().includes('/events'))
    await using next = await daemon()
    between.leadTo(next.url)
    between.breakAll(false)
    const told = await ended
    expect(told.code).toBe(14)
    expect(JSON.parse(told.stdout)).toMatchObject({ runs: [{ outcome: 'failed', error: { code: 'RUN_LOST' } }] })
  })
})

it('PGPROOF_URL - names the daemon, unless --config or --store ask for something else', async () => {
  await using server = await daemon()
  const env = { PGPROOF_URL: server.url }
  expect(await command('', ['list'], env).ended).toMatchObject({
    code: 0,
    stdout: expect.stringContaining(backup.label),
  })
  const config = await command('', ['--config', '/nowhere.yaml', 'list'], env).ended
  expect(config.stderr).toContain('error: cannot read the configuration file /nowhere.yaml')
  const store = await command('', ['list', '--store', 'file:///nowhere'], env).ended
  expect(store.stderr).toContain('error: bucket or directory /nowhere does not exist')
  const other = await command(server.url, ['list'], { PGPROOF_URL: 'http://127.0.0.1:1' }).ended
  expect(other.code).toBe(0)
})

it('a URL that leads elsewhere at the daemon, or is none - says what is wrong with it, by the name of what gave it', async () => {
  await using server = await daemon()
  const said = async (url: string, given: Record<string, string> = { PGPROOF_URL: url }): Promise<string> => {
    const { code, stderr } = await command('', ['list'], given).ended
    return `${code} ${stderr.split('\n')[0]}`
  }
  expect(await said(`${server.url}/v1/status`)).toBe(
    `2 error: ${server.url}/v1/status/ is no pgproof daemon: it has nothing below /v1/status/; without a proxy its address is ${server.url}`,
  )
  expect(await said('127.0.0.1:9432')).toBe('2 error: PGPROOF_URL must be http://host:port or https://host')
  expect(await said('http://a:b@127.0.0.1:9432')).toContain('not into PGPROOF_URL')
})

it('names that hold control characters - cannot reach the terminal', async () => {
  const odd = manifestAt('2026-11-20T02:00:00Z', { database: 'a\u001b[2Jb' })
  await using server = await startTestServer({ manifests: [odd] })
  for (const args of [['status'], ['list'], ['backup', '--detach'], ['runs']]) {
    const { code, stdout, stderr } = await command(server.url, args).ended
    expect([args, code, `${stdout}${stderr}`.includes('\u001b')]).toEqual([args, 0, false])
    expect(stdout).toContain('a\\x1b[2Jb')
  }
})
