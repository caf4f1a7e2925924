import { describe, expect, it } from 'vitest'
import type { Run } from '../../src/catalog/runs.ts'
import { manifestAt } from '../catalog/stored.ts'
import { serverConfig } from '../metrics/made-up-catalog.ts'
import { pingTo, webhookTo } from './notices.ts'
import { type Receiver, startReceiver } from './receiver.ts'
import { plannedAt, startWorld, type World } from './world.ts'

const minute = 60_000
const hour = 60 * minute
const names = Array.from({ length: 50 }, (_, index) => `app${String(index).padStart(2, '0')}`)

/** What has come about runs, once `world` has ended. */
const ofRuns = (receiver: Receiver): Record<string, unknown>[] =>
  receiver.documents().filter(({ condition }) => condition === null)

function plan(world: World, databases: readonly string[]): void {
  world.now.servers = [serverConfig('main', { schedule: { backup: '0 2 * * *' } })]
  world.now.planned = databases.map((database) => plannedAt('backup', database))
}

/** All of them queued at once, ended one after the other. */
async function backups(world: World, databases: readonly string[], state: Run['state']): Promise<void> {
  const runs = databases.map((database) => world.begin('backup', database))
  for (const run of runs) {
    await world.pass(1000)
    world.end(run, state)
  }
  await world.pass(1000)
}

describe('many databases of one server', () => {
  it('fifty fail because it is down, and recover - one notice each, with all of their names; a ping for each run', async () => {
    await using receiver = await startReceiver()
    await using pings = await startReceiver()
    await using world = await startWorld([webhookTo(receiver.origin), pingTo(pings.origin)], {
      manifests: names.slice(1).map((database) => manifestAt('2026-11-20T02:00:00Z', { database })),
    })
    plan(world, names)
    await backups(world, names, 'failed')
    await receiver.until(1)
    await pings.until(100)
    await world.pass(2 * hour)
    await backups(world, names, 'succeeded')
    await receiver.until(2)
    await world.notifier.close(5_000)
    const [failure, recovery, ...more] = ofRuns(receiver)
    expect(more).toEqual([])
    expect(failure).toMatchObject({
      title: 'FAILED backups of 50 databases of main',
      ...{ event: 'failure', server: 'main', database: null, databases: names, job: 'backup', runId: null },
      code: 'CONNECTION_FAILED',
    })
    const text = String(failure?.['text'])
    expect(text).toMatch(/^Backups of 50 databases of main have failed since .*: cannot connect to the server\n/)
    expect(text).toContain('They are: app00, app01,')
    expect(text).toContain('app19 and 30 more.')
    expect(text).toContain(
      '1 of them have no backup.\nThe oldest of their newest backups, of app01, is from 2026-11-20 02:00 UTC',
    )
    expect(recovery).toMatchObject({
      title: 'RECOVERED backups of 50 databases of main',
      ...{ event: 'recovery', databases: names, incident: failure?.['incident'] },
    })
    const asked = pings.received.map(({ path }) => path.split('?')[0])
    expect(asked.filter((path) => path === '/start')).toHaveLength(100)
    expect(asked.filter((path) => path === '/fail').length).toBeGreaterThanOrEqual(50)
  })

  it('they are tried again - those that still wait for it are told along with the one that is given up', async () => {
    await using receiver = await startReceiver()
    await using world = await startWorld([webhookTo(receiver.origin)])
    plan(world, ['a', 'b', 'c'])
    world.now.retryAt = new Date('2026-11-21T12:00:00Z')
    await backups(world, ['a', 'b', 'c'], 'failed')
    expect(receiver.received).toEqual([])
    await world.pass(hour)
    world.run('backup', 'b', 'failed')
    await receiver.until(1)
    for (const name of ['a', 'c']) world.run('backup', name, 'failed')
    await world.pass(hour)
    await world.notifier.close(1_000)
    expect(ofRuns(receiver)).toMatchObject([{ title: 'FAILED backups of 3 databases of main' }])
    expect(ofRuns(receiver)[0]?.['text']).toContain('They are tried again, the first at 2026-11-21 12:00 UTC.')
  })

  it('one fails, and within ten minutes two more by themselves - the one at once, the two together when these are over', async () => {
    await using receiver = await startReceiver()
    await using world = await startWorld([webhookTo(receiver.origin)])
    plan(world, ['a', 'b', 'c'])
    world.run('backup', 'a', 'failed')
    await receiver.until(1)
    await world.pass(minute)
    world.run('backup', 'b', 'failed')
    await world.pass(minute)
    world.run('backup', 'c', 'failed')
    await world.pass(minute)
    expect(receiver.received).toHaveLength(1)
    await world.pass(8 * minute)
    await world.notifier.close(1_000)
    expect(ofRuns(receiver).map(({ title }) => title)).toEqual([
      'FAILED backup of main/a',
      'FAILED backups of 2 databases of main',
    ])
  })

  it('one fails while the others go on for hours - told after ten minutes, alone', async () => {
    await using receiver = await startReceiver()
    await using world = await startWorld([webhookTo(receiver.origin)])
    plan(world, ['a', 'b'])
    world.begin('backup', 'b')
    world.run('backup', 'a', 'failed')
    await world.pass(9 * minute)
    expect(receiver.received).toEqual([])
    await world.pass(2 * minute)
    await world.notifier.close(1_000)
    expect(ofRuns(receiver)).toMatchObject([{ title: 'FAILED backup of main/a', database: 'a', databases: null }])
  })

  it('one of them fails for another reason - a notice of its own', async () => {
    await using receiver = await startReceiver()
    await using world = await startWorld([webhookTo(receiver.origin)])
    plan(world, ['a', 'b', 'c'])
    const [a, b, c] = ['a', 'b', 'c'].map((name) => world.begin('backup', name)) as [Run, Run, Run]
    for (const run of [a, b]) {
      world.end(run, 'failed')
      await world.pass(1000)
    }
    world.end(c, 'failed', { error: { code: 'SPOOL_FULL', message: 'no space', hint: 'Make some.' } })
    await world.pass(minute)
    await world.notifier.close(1_000)
    expect(ofRuns(receiver).map(({ title, code }) => [title, code])).toEqual([
      ['FAILED backups of 2 databases of main', 'CONNECTION_FAILED'],
      ['FAILED backup of main/c', 'SPOOL_FULL'],
    ])
  })

  it('they fail for two days - one reminder a day; one recovers and two do not - its recovery is told after an hour', async () => {
    await using receiver = await startReceiver()
    await using world = await startWorld([webhookTo(receiver.origin)])
    plan(world, ['a', 'b', 'c'])
    await backups(world, ['a', 'b', 'c'], 'failed')
    await world.pass(25 * hour)
    world.run('backup', 'b', 'succeeded')
    await world.pass(30 * minute)
    await receiver.until(2)
    expect(receiver.received).toHaveLength(2)
    await world.pass(31 * minute)
    world.now.planned = [plannedAt('backup', 'b')]
    await world.pass(24 * hour)
    await world.notifier.close(1_000)
    expect(ofRuns(receiver).map(({ title }) => title)).toEqual([
      'FAILED backups of 3 databases of main',
      'STILL FAILING backups of 3 databases of main',
      'RECOVERED backup of main/b',
    ])
    expect(new Set(ofRuns(receiver).map(({ incident }) => incident)).size).toBe(1)
  })

  it('stopped while failures wait for others - told on the way out', async () => {
    await using receiver = await startReceiver()
    await using world = await startWorld([webhookTo(receiver.origin)])
    plan(world, ['a', 'b'])
    world.begin('backup', 'b')
    world.run('backup', 'a', 'failed')
    await world.notifier.close(1_000)
    expect(ofRuns(receiver).map(({ title }) => title)).toEqual(['FAILED backup of main/a'])
  })

  it('all of them get older than their objective, not in the same minute - the first alone, the rest in one; recovered likewise', async () => {
    await using receiver = await startReceiver()
    const few = names.slice(0, 5)
    await using world = await startWorld([webhookTo(receiver.origin)], {
      manifests: few.map((database, index) => manifestAt(`2026-11-20T02:0${index}:00Z`, { database })),
    })
    plan(world, few)
    world.now.servers = [serverConfig('main', { schedule: { backup: '0 2 * * *' }, objectives: { rpoMs: 26 * hour } })]
    await world.pass(16 * hour)
    for (let passed = 0; passed < 30; passed += 1) await world.pass(minute)
    for (const database of few) {
      const manifest = manifestAt('2026-11-21T04:20:00Z', { database })
      world.catalog.addBackup({ manifest, manifestSha256: 'a'.repeat(64), hasSignature: false }, ['store'])
      await world.pass(minute)
    }
    await world.notifier.close(1_000)
    expect(receiver.documents().map(({ title }) => title)).toEqual([
      'ALERT: main/app00 has no backup within its objective of 26 h',
      'ALERT: 4 databases of main have no backup within their objectives',
      'RECOVERED: main/app00 has a backup within its objective of 26 h again',
      'RECOVERED: 4 databases of main have backups within their objectives again',
    ])
    expect(receiver.documents()[1]).toMatchObject({
      databases: few.slice(1),
      condition: 'recovery-point',
      job: 'backup',
    })
  })
})
