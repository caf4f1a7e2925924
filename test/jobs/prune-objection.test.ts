import { describe, expect, it } from 'vitest'
import type { Clock } from '../../src/clock.ts'
import { PgproofError } from '../../src/errors.ts'
import { runPrune } from '../../src/jobs/prune.ts'
import { createLog } from '../../src/log.ts'
import { manifestAt, reportOf, signal, storeBackup, storeReport } from '../catalog/stored.ts'
import { type TestInstallation, testDatabase, testInstallation } from '../support/installation.ts'

const days = [1, 2, 3].map((day) => `2026-11-1${day}T02:00:00Z`)
const differs = (what: string): PgproofError =>
  new PgproofError('FLEET_RETENTION_DIFFERS', { what, one: 'bk-1', other: 'bk-2' })

type Scene = TestInstallation & { labels(server: string): string[]; keys(prefix: string): number; lines: string[] }

/** Three backups each of `main/app` and `hr/app`, the last of which is kept, and reports of a backup that is gone: an old one and the newest. */
async function scene(): Promise<Scene> {
  const now = new Date('2026-11-18T12:00:00Z')
  const clock: Clock = { now: () => now, monotonicMs: () => now.getTime(), sleep: async () => {} }
  const settings = Object.fromEntries(
    ['main', 'hr'].flatMap((name, index) => [
      [`PGPROOF_SERVERS__${index}__NAME`, name],
      [`PGPROOF_SERVERS__${index}__URL`, 'postgres://nobody@127.0.0.1:1/postgres'],
      [`PGPROOF_SERVERS__${index}__RETENTION__LAST`, '1'],
    ]),
  )
  const test = await testInstallation({ ...settings, PGPROOF_DRILL__KEEP_REPORTS: '1d' }, { clock })
  for (const server of ['main', 'hr'])
    for (const day of days) await storeBackup(test.store, manifestAt(day, { server }))
  for (const time of ['2026-11-02T05:00:00Z', '2026-11-16T05:00:00Z'])
    await storeReport(test.store, reportOf(manifestAt('2026-11-01T02:00:00Z'), time))
  const lines: string[] = []
  const log = createLog({ level: 'info', format: 'json' }, (line) => lines.push(line))
  return {
    ...test,
    installation: { ...test.installation, log },
    lines,
    keys: (prefix) => test.store.keys().filter((key) => key.startsWith(prefix)).length,
    labels: (server) =>
      test.store
        .keys()
        .filter((key) => key.startsWith(`backups/${server}/`) && key.endsWith('/manifest.json'))
        .map((key) => key.split('/').at(-2)?.slice(0, 8) ?? ''),
  }
}

describe('somebody objects to a prune', () => {
  it('of one server - its backups stay, the others go, and the prune ends with what was said', async () => {
    await using test = await scene()
    const objection = (server: string | null) => (server === 'main' ? differs('server "main"') : null)
    const pruned = runPrune({ isDryRun: false, objection }, test.installation, signal)
    await expect(pruned).rejects.toMatchObject({ code: 'FLEET_RETENTION_DIFFERS' })
    expect([test.labels('main'), test.labels('hr')]).toEqual([['20261111', '20261112', '20261113'], ['20261113']])
    // A report of that server, too.
    expect(test.keys('drills/')).toBe(2)
    const dry = await runPrune({ isDryRun: true, objection }, test.installation, signal)
    expect([dry.heldBack?.code, dry.plan.groups.map(({ server }) => server)]).toEqual([
      'FLEET_RETENTION_DIFFERS',
      ['hr'],
    ])
  })

  it('of the reports - they stay, and backups go', async () => {
    await using test = await scene()
    const objection = (server: string | null) => (server === null ? differs('old drill reports') : null)
    const pruned = runPrune({ isDryRun: false, objection }, test.installation, signal)
    await expect(pruned).rejects.toMatchObject({ code: 'FLEET_RETENTION_DIFFERS' })
    expect([test.labels('main'), test.labels('hr'), test.keys('drills/')]).toEqual([['20261113'], ['20261113'], 2])
    await runPrune({ isDryRun: false, only: { server: 'main', database: 'app' }, objection }, test.installation, signal)
    await runPrune({ isDryRun: false, objection: () => null }, test.installation, signal)
    expect(test.keys('drills/')).toBe(1)
  })

  it('in the middle - what has not gone by then stays', async () => {
    await using test = await scene()
    let objects = false
    test.store.before = (operation, key) => {
      if (operation === 'delete' && key.endsWith('manifest.json')) objects = true
    }
    const objection = () => (objects ? differs('server "main"') : null)
    const pruned = runPrune({ isDryRun: false, objection }, test.installation, signal)
    await expect(pruned).rejects.toMatchObject({ code: 'FLEET_RETENTION_DIFFERS' })
    expect(test.labels('main').length + test.labels('hr').length).toBe(5)
  })

  it('another configuration comes into force in the middle - what has not gone by then stays, and the next prune decides anew', async () => {
    await using test = await scene()
    const before = test.installation.config
    let config = before
    const installation = {
      ...test.installation,
      get config() {
        return config
      },
    }
    test.store.before = (operation, key) => {
      if (operation !== 'delete' || !key.endsWith('manifest.json') || config !== before) return
      const servers = before.servers.map((server) => ({ ...server, retention: { ...server.retention, last: 9 } }))
      config = { ...before, servers } as typeof before
    }
    const pruned = runPrune({ isDryRun: false }, installation, signal)
    await expect(pruned).rejects.toMatchObject({ code: 'PRUNE_RULES_CHANGED' })
    expect(test.labels('main').length + test.labels('hr').length).toBe(5)
    expect(test.keys('drills/')).toBe(2)
    await runPrune({ isDryRun: false }, installation, signal)
    expect(test.labels('main').length + test.labels('hr').length).toBe(5)
  })
})

it('backup whose prune somebody objects to - succeeds and counts, and the log says why nothing was pruned', async () => {
  await using database = await testDatabase('template0')
  await using test = await testInstallation({
    PGPROOF_SERVERS__0__DATABASES: database.name,
    PGPROOF_SERVERS__0__RETENTION__LAST: '1',
  })
  const objection = () => differs('server "main"')
  for (let made = 0; made < 2; made += 1) {
    const finished = await test.run('backup', database.name, { objection })
    expect(finished.pruneError?.code).toBe('FLEET_RETENTION_DIFFERS')
  }
  const manifests = () => test.store.keys().filter((key) => key.endsWith('/manifest.json'))
  expect(manifests()).toHaveLength(2)
  expect(test.installation.catalog.runs().map(({ job, state }) => [job, state])).toEqual([
    ['backup', 'succeeded'],
    ['backup', 'succeeded'],
  ])
  await test.run('backup', database.name)
  expect(manifests()).toHaveLength(1)
})

it('the log of a prune - each policy in words, and what went by it', async () => {
  await using test = await scene()
  await runPrune({ isDryRun: false }, test.installation, signal)
  const lines = test.lines.map((line) => JSON.parse(line) as Record<string, unknown>)
  const byPolicy = lines.filter(({ msg }) => msg === 'pruned by policy')
  expect(byPolicy.map(({ server }) => server)).toEqual(['main', 'hr'])
  expect(byPolicy[0]).toMatchObject({
    ...{ job: 'prune', database: 'app', count: 2, kept: 1, timezone: 'UTC', policy: expect.stringMatching(/^last 1/) },
    removed: [expect.stringMatching(/^20261112/), expect.stringMatching(/^20261111/)],
  })
  expect(lines.find(({ msg }) => msg === 'pruned')).toMatchObject({ count: 4, leftovers: [expect.any(String)] })
})
