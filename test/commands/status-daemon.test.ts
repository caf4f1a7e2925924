import { describe, expect, it } from 'vitest'
import type { Job, PlannedJob, Run } from '../../src/catalog/runs.ts'
import { manifestAt, reportOf, rolesManifestAt } from '../catalog/stored.ts'
import { now, startTestServer, type TestServer, tokens } from '../http/test-server.ts'
import { serverConfig } from '../metrics/made-up-catalog.ts'
import { busyFleet } from '../support/queue-views.ts'
import { command } from './in-process.ts'

const backup = manifestAt('2026-11-20T02:00:00Z')
const roles = rolesManifestAt('2026-11-20T02:00:00Z')
const passed = reportOf(backup, '2026-11-20T05:00:00Z')
const wholesome = { manifests: [backup, roles], reports: [passed] }
const denied = { code: 'STORE_DENIED', message: 'the store refused it', hint: 'Check the key.' }

/** A run that is over; at noon, after everything in the store, unless another time is given. */
function end(
  server: TestServer,
  job: Job,
  state: 'succeeded' | 'failed' | 'inconclusive',
  changes: Partial<Pick<Run, 'error' | 'label' | 'finishedAt'>> & { readonly database?: string | null } = {},
): void {
  const { database = 'app', ...rest } = changes
  const { id } = server.orders.order({ job, server: 'main', database, trigger: 'http' })
  server.catalog.updateRun(id, {
    state,
    finishedAt: new Date(now),
    error: state === 'succeeded' ? null : denied,
    ...rest,
  })
}

async function worriesAt(server: TestServer): Promise<string[]> {
  const { code, stdout } = await command(server.url, ['status']).ended
  expect(code).toBe(0)
  if (stdout.includes('\nNothing worries.\n')) return []
  return (stdout.split('What worries\n')[1] ?? '').split('\n').flatMap((line) => (line === '' ? [] : [line.trim()]))
}

describe('status of a daemon', () => {
  it('where all is well - nothing worries', async () => {
    await using server = await startTestServer(wholesome)
    end(server, 'backup', 'succeeded')
    expect(await worriesAt(server)).toEqual([])
  })

  it.each([
    ['backup', 'app', 'backup of main/app'],
    ['roles', null, 'backup of main (roles)'],
    ['prune', 'app', 'prune of main/app'],
  ] as const)(
    'a %s that failed since the last one that succeeded - why, its code and its hint',
    async (job, database, what) => {
      await using server = await startTestServer(wholesome)
      end(server, job, 'failed', { database })
      end(server, job, 'failed', { database })
      expect(await worriesAt(server)).toEqual([
        `${what}: the last one failed: the store refused it (STORE_DENIED); Check the key.`,
      ])
      end(server, job, 'succeeded', { database })
      expect(await worriesAt(server)).toEqual([])
    },
  )

  it('backups and roles that are older than their schedule allows, without an objective - how often one is due', async () => {
    const every = (job: 'backup' | 'roles'): PlannedJob => {
      const database = job === 'backup' ? 'app' : null
      return { job, server: 'main', database, nextAt: new Date(now), intervalSeconds: 21_600, pausedUntil: null }
    }
    const planned = () => [every('backup'), every('roles')]
    await using server = await startTestServer({ ...wholesome, servers: [serverConfig('main')], parts: { planned } })
    expect(await worriesAt(server)).toEqual([
      expect.stringMatching(/^main\/app: the newest backup is 10 h .* old, one is due every 6h$/),
      expect.stringMatching(/^main: the newest backup of its roles is (9|10) h .* old, one is due every 6h$/),
    ])
  })

  it.each([
    [
      21_600,
      ['main: its roles were never backed up; a restore on a new server would lack them (pgproof backup main --roles)'],
    ],
    [null, []],
  ])(
    'roles that were never backed up, and one is due every %s s - a worry only if one is due',
    async (interval, told) => {
      const roleJob = {
        job: 'roles' as const,
        server: 'main',
        database: null,
        nextAt: new Date(now),
        pausedUntil: null,
      }
      const planned = () => (interval === null ? [] : [{ ...roleJob, intervalSeconds: interval }])
      await using server = await startTestServer({ ...wholesome, manifests: [backup], parts: { planned } })
      expect(await worriesAt(server)).toEqual(told)
    },
  )

  it('a prune that holds back - is a worry until one goes through', async () => {
    await using server = await startTestServer(wholesome)
    const error = { code: 'PRUNE_HELD_BACK', message: 'prune holds back: 9 of 10 would go', hint: 'Look at it.' }
    end(server, 'prune', 'failed', { error })
    expect(await worriesAt(server)).toEqual([
      'prune of main/app: the last one failed: prune holds back: 9 of 10 would go (PRUNE_HELD_BACK); Look at it.',
    ])
  })

  it('a worker that is gone, a database that vanished - what worries in the queue worries here, too', async () => {
    const view = busyFleet(new Date(now))
    await using server = await startTestServer({ ...wholesome, parts: { queueView: () => view } })
    expect(await worriesAt(server)).toEqual([
      expect.stringContaining('backup of main/app: given up 10 min ago'),
      'worker us-1: gave its last sign of life 5 min ago',
      expect.stringContaining('worker prover: takes nothing of main for now'),
      'main/old: is not on its server any more; its backups stay',
    ])
  })

  it('a failure older than the newest backup - is over', async () => {
    await using server = await startTestServer(wholesome)
    end(server, 'backup', 'failed', { finishedAt: new Date('2026-11-20T01:00:00Z') })
    expect(await worriesAt(server)).toEqual([])
  })

  it('a drill that came to nothing - is said once, whether it left a report or not', async () => {
    const reason = { code: 'SPOOL_FULL', message: 'the spool is full', hint: 'Free space.' }
    const inconclusive = reportOf(backup, '2026-11-20T11:00:00Z', { verdict: 'inconclusive', reason })
    await using server = await startTestServer({ ...wholesome, reports: [passed, inconclusive] })
    end(server, 'drill', 'inconclusive', { error: reason, label: inconclusive.label })
    expect(await worriesAt(server)).toEqual(['main/app: the last drill could not be carried out: the spool is full'])
    end(server, 'drill', 'failed')
    expect((await worriesAt(server))[1]).toBe(
      'drill of main/app: the last one failed: the store refused it (STORE_DENIED); Check the key.',
    )
  })

  it('a pause - is a worry in the words of the status here', async () => {
    await using server = await startTestServer(wholesome)
    const body = { server: 'main', database: 'app', for: '4h', reason: 'move to the new rack' }
    await server.call('POST', '/v1/pauses', { as: 'backup', body })
    expect(await worriesAt(server)).toEqual([
      'main/app: backup, drill paused until 2026-11-20 16:00 UTC by token backuper: move to the new rack',
    ])
  })

  it('as JSON - failures and pauses with all their fields', async () => {
    await using server = await startTestServer(wholesome)
    end(server, 'backup', 'failed')
    await server.call('POST', '/v1/pauses', { as: 'backup', body: { for: '4h', reason: 'move' } })
    const { stdout } = await command(server.url, ['status', '--json'], { PGPROOF_TOKEN: tokens.read }).ended
    expect(JSON.parse(stdout)).toMatchObject({
      failures: [{ job: 'backup', isOver: false, error: denied }],
      pauses: [{ label: expect.any(String), server: null, jobs: ['backup', 'roles', 'drill'], reason: 'move' }],
      worries: [expect.stringContaining('STORE_DENIED'), expect.stringContaining('every server: ')],
    })
  })
})
