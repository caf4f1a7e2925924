import { describe, expect, it } from 'vitest'
import type { Run } from '../../src/catalog/runs.ts'
import { manifestAt, recordOf, reportOf, signal } from '../catalog/stored.ts'
import { several } from '../catalog/two-stores.ts'
import { now, startTestServer } from '../http/test-server.ts'
import { down, fail } from '../jobs/two-stores.ts'
import { busyFleet } from '../support/queue-views.ts'
import { command } from './in-process.ts'

const at = '2026-11-20T02:00:00Z'
const backup = manifestAt(at)
const older = manifestAt('2026-11-19T02:00:00Z')

describe('what a daemon is asked for and does not have', () => {
  it('list of a server that it does not know - exit 2 that names those it knows; of one without backups - none', async () => {
    await using server = await startTestServer({ manifests: [backup] })
    const unknown = await command(server.url, ['list', '--server', 'mian']).ended
    expect([unknown.code, unknown.stdout]).toEqual([2, ''])
    expect(unknown.stderr).toMatch(/^error: no server named "mian" is known\nhint: .*main/)
    await using empty = await startTestServer()
    expect(await command(empty.url, ['list', '--server', 'main']).ended).toMatchObject({
      code: 0,
      stdout: 'No backups.\n',
    })
  })

  it('show of a backup that a prune removed - says so, and not that there is no drill of that label', async () => {
    await using server = await startTestServer({ manifests: [backup], records: [recordOf([older])] })
    const told = await command(server.url, ['show', older.label]).ended
    expect(told.code).toBe(2)
    expect(told.stderr).toContain(`error: backup ${older.label} is no longer in the store: a prune removed it at `)
  })
})

it('list of more backups than one answer holds - all of them, each once', async () => {
  const manifests = Array.from({ length: 1003 }, (_, index) => manifestAt(at, { database: `db${index}` }))
  await using server = await startTestServer({ manifests })
  const { code, stdout } = await command(server.url, ['list', '--json']).ended
  const { backups } = JSON.parse(stdout) as { backups: { database: string }[] }
  expect(code).toBe(0)
  expect(new Set(backups.map(({ database }) => database)).size).toBe(1003)
  expect(backups).toHaveLength(1003)
})

it('cancel of a run - says what was cancelled; of one that has to clean up, what is being cancelled', async () => {
  await using server = await startTestServer({ manifests: [backup] })
  const order = { job: 'drill', server: 'main', database: 'app', trigger: 'schedule' } as const
  const first = server.orders.order(order)
  const told = await command(server.url, ['cancel', first.id]).ended
  expect(told).toMatchObject({ code: 0, stdout: `drill of main/app (run ${first.id}) was cancelled\n` })
  server.orders.endsSlowly = true
  const second = server.orders.order(order)
  const slow = await command(server.url, ['cancel', second.id]).ended
  expect(slow).toMatchObject({ code: 0, stdout: `drill of main/app (run ${second.id}) is being cancelled\n` })
})

it('runs of everything at once - named by their job', async () => {
  await using server = await startTestServer()
  const run: Run = {
    ...{ id: 'r1', server: '', database: null, trigger: 'schedule', attempt: 1, state: 'running' },
    ...{
      queuedAt: new Date(now),
      startedAt: new Date(now),
      finishedAt: null,
      label: null,
      error: null,
      progress: null,
    },
    job: 'prune',
  }
  server.catalog.addRun(run)
  server.catalog.addRun({ ...run, id: 'r2', job: 'sync' })
  const { stdout } = await command(server.url, ['runs']).ended
  expect(stdout).toMatch(/^r1 +prune of everything +schedule /m)
  expect(stdout).toMatch(/^r2 +sync +schedule /m)
})

describe('the status of a daemon', () => {
  it('with two stores - what each holds, what it lacks, and why one cannot be read', async () => {
    const { catalog, stores, set, refresh } = await several({ backups: [backup, older] }, { backups: [backup] })
    await refresh()
    await using server = await startTestServer({ installation: { catalog, stores: set, store: set.reading() } })
    const two = (await command(server.url, ['status']).ended).stdout
    expect(two).toMatch(/^a {2}memory:\/\/store {2}2 backups\nb {2}memory:\/\/store {2}1 backup$/m)
    expect(two).toContain('  store b lacks 1 backup that another one has (`pgproof sync` copies them)\n')
    if (stores['b'] !== undefined) fail(stores['b'])
    await catalog.refresh(set, signal)
    const one = (await command(server.url, ['status']).ended).stdout
    expect(one).toMatch(/^b {2}memory:\/\/store {2}cannot be read$/m)
    expect(one).toContain(`  store b cannot be read: ${down().message}\n`)
  })

  it('with one store that does not answer, or hands out a part - which of the two', async () => {
    const { catalog, stores, set } = await several({ backups: [backup, older] })
    const { a } = stores
    if (a === undefined) throw new Error('no store')
    await using server = await startTestServer({ installation: { catalog, stores: set, store: set.reading() } })
    fail(a, ['get'], /manifest\.json$/)
    await catalog.refresh(set, signal)
    expect((await command(server.url, ['status']).ended).stdout).toContain('  the store could not be read completely\n')
    fail(a)
    await expect(catalog.refresh(set, signal)).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' })
    expect((await command(server.url, ['status']).ended).stdout).toContain(
      `  the store cannot be read: ${down().message}\n`,
    )
  })

  it('that is not ready because its queue is away - says that once', async () => {
    const reason = 'the control database cannot be used: refused'
    const view = busyFleet(new Date(now), { isReachable: false, reason, dead: [], workers: [], vanished: [] })
    const isReady = () => ({ ready: false, reasons: [reason], awaited: 'it is back' })
    await using server = await startTestServer({ manifests: [backup], parts: { queueView: () => view, isReady } })
    const { stdout } = await command(server.url, ['status']).ended
    expect(stdout.split(reason)).toHaveLength(2)
    expect(stdout).toContain(`  the daemon is not ready: ${reason}\n`)
  })

  it('where one run goes on and two wait - since when, in which phase, and behind how many', async () => {
    await using server = await startTestServer({ manifests: [backup] })
    const order = (database: string): Run =>
      server.orders.order({ job: 'drill', server: 'main', database, trigger: 'schedule' })
    const [one, two, three] = [order('app'), order('shop'), order('wiki')]
    const startedAt = new Date(Date.parse(now) - 65_000)
    server.catalog.updateRun(one.id, { state: 'running', startedAt, progress: { phase: 'restore' } })
    const { stdout } = await command(server.url, ['status']).ended
    for (const line of [
      `drill of main/app: runs for 1 min 05 s, restore (run ${one.id})`,
      `drill of main/shop: waits (run ${two.id})`,
      `drill of main/wiki: waits behind 1 run (run ${three.id})`,
    ])
      expect(stdout.split('\n')).toContain(line)
  })
})

describe('a gate at a daemon', () => {
  const gate = async (url: string, ...operands: string[]): Promise<string> => {
    const { code, stdout, stderr } = await command(url, ['gate', '--verified-within', '3650d', ...operands]).ended
    return `${code} ${stdout}${/closed: .*/.exec(stderr)?.[0] ?? stderr}`
  }

  it('whose newest drill failed after one that passed - closed, with the reason', async () => {
    const reason = { code: 'EVIDENCE_MISMATCH', message: 'table a differs', hint: 'Look.' }
    const passed = reportOf(backup, '2026-11-20T05:00:00Z')
    const failed = reportOf(backup, '2026-11-20T06:00:00Z', { verdict: 'failed', reason })
    await using server = await startTestServer({ manifests: [backup], reports: [passed, failed] })
    expect(await gate(server.url)).toMatch(/^3 closed: main\/app: .*table a differs/)
  })

  it('that knows the server that is named and none of its databases - closed, and says so', async () => {
    await using server = await startTestServer()
    expect(await gate(server.url, 'main')).toBe('3 closed: main: no database of this server is known')
  })
})
