import { describe, expect, it } from 'vitest'
import type { Run } from '../../src/catalog/runs.ts'
import { systemClock } from '../../src/clock.ts'
import { type ErrorCode, PgproofError } from '../../src/errors.ts'
import { Peers } from '../../src/fleet/peers.ts'
import { SteppedBack } from '../../src/fleet/stepped-back.ts'
import type { Installation } from '../../src/jobs/installation.ts'
import type { WorkerSign } from '../../src/jobs/queue-view.ts'
import { silentLog } from '../../src/log.ts'
import { serverConfig } from '../metrics/made-up-catalog.ts'
import { worker } from '../support/queue-views.ts'
import { dueBackup, inProcess, testControl } from './in-process.ts'

/** What this worker leaves to those of whom there are signs, by a clock that can be turned. */
function stepping(...others: Partial<WorkerSign>[]): {
  left: SteppedBack
  fail(code: ErrorCode, queue?: string, server?: string): boolean
  succeed(queue?: string, server?: string): void
  see(...others: Partial<WorkerSign>[]): void
  pass(seconds: number): void
} {
  let passed = 0
  const clock = { ...systemClock, now: () => new Date(Date.now() + passed) }
  const config = { servers: [serverConfig('main'), serverConfig('hr', { label: 'us' })] }
  const peers = new Peers('bk-2', 60_000)
  const see = (...seen: Partial<WorkerSign>[]): void =>
    peers.take(
      seen.map((one, index) => worker(clock.now(), { name: `bk-${index + 3}`, ...one })),
      clock.now(),
    )
  see(...others)
  const left = new SteppedBack({ config, clock, log: silentLog } as unknown as Installation, peers)
  const note = (state: Run['state'], error: Run['error'], queue: string, server: string): boolean =>
    left.note({ server, state, error }, queue)
  return {
    left,
    see,
    fail: (code, queue = 'backup', server = 'main') => note('failed', new PgproofError(code), queue, server),
    succeed: (queue = 'backup', server = 'main') => void note('succeeded', null, queue, server),
    pass: (seconds) => (passed += seconds * 1000),
  }
}

describe("what failed here and may be this worker's own fault", () => {
  it('a login is refused - backups of that server are left to the other worker for five minutes, nothing else', () => {
    const { left, fail, pass } = stepping({})
    expect(fail('AUTHENTICATION_FAILED')).toBe(true)
    expect(['backup', 'backup-large', 'drill'].map((queue) => left.serversLeft(queue))).toEqual([
      ['main'],
      ['main'],
      [],
    ])
    expect(left.isQueueLeft('backup')).toBe(false)
    const [shown] = left.list()
    expect(shown).toMatchObject({ server: 'main', job: 'backup', code: 'AUTHENTICATION_FAILED' })
    expect((shown?.until?.getTime() ?? 0) - (shown?.at.getTime() ?? 0)).toBe(300_000)
    pass(301)
    expect([left.serversLeft('backup'), left.list()]).toEqual([[], []])
  })

  it('the spool is full - all drills are left to others, backups are not', () => {
    const { left, fail } = stepping({ may: ['drill'] })
    expect(fail('SPOOL_FULL', 'drill')).toBe(true)
    expect([left.isQueueLeft('drill'), left.isQueueLeft('drill.us'), left.isQueueLeft('backup')]).toEqual([
      true,
      false,
      false,
    ])
  })

  it('the scratch server does not let it in - all drills are left to others; what one backup needs of it - those of its server', () => {
    for (const [code, all, servers] of [
      ['AUTHENTICATION_FAILED', true, []],
      ['SCRATCH_IS_SOURCE', false, ['main']],
      ['EXTENSION_MISSING', false, ['main']],
    ] as const) {
      const { left, fail } = stepping({ may: ['drill'] })
      fail(code, 'drill')
      expect([code, left.isQueueLeft('drill'), left.serversLeft('drill')]).toEqual([code, all, servers])
    }
  })

  it('the only other one is on its way down - goes on', () => {
    const { left, fail } = stepping({ isClosing: true })
    fail('AUTHENTICATION_FAILED')
    expect(left.serversLeft('backup')).toEqual([])
  })

  it("pg_dump fails - that is the database's own trouble, and nothing is left", () => {
    const { left, fail } = stepping({})
    expect(fail('DUMP_FAILED')).toBe(false)
    expect([left.serversLeft('backup'), left.list()]).toEqual([[], []])
  })

  it.each([
    ['no other worker', []],
    ['one that may not', [{ may: ['drill'] as const }]],
    ['one without the label', [{ labels: ['eu'] }]],
    ['one that is dead', [{ seenAt: new Date(Date.now() - 61_000) }]],
  ])('%s is there - nothing is refused, and nothing is said of it', (_, others) => {
    const { left, fail } = stepping(...others)
    expect(fail('AUTHENTICATION_FAILED', 'backup.us', 'hr')).toBe(false)
    expect([left.serversLeft('backup.us'), left.list()]).toEqual([[], []])
  })

  it('the only other one does not know the server - goes on', () => {
    const { left, fail } = stepping({ pruneRules: { shared: 'a', servers: { b: ['hr'] } } })
    fail('AUTHENTICATION_FAILED')
    expect(left.serversLeft('backup')).toEqual([])
  })

  it('all others have stepped back, too - it goes on; as soon as one is well again, it is left to that one', () => {
    const refused = [{ server: 'main', job: 'backup', code: 'SERVER_UNREACHABLE', reason: '', at: new Date() }]
    const { left, fail, see } = stepping({ refused })
    fail('AUTHENTICATION_FAILED')
    expect(left.serversLeft('backup')).toEqual([])
    expect(left.list()).toHaveLength(1)
    see({ refused }, {})
    expect(left.serversLeft('backup')).toEqual(['main'])
    see({
      refused: [
        { ...refused[0], code: 'FLEET_RETENTION_DIFFERS', reason: '', job: null, server: 'main', at: new Date() },
      ],
    })
    expect(left.serversLeft('backup')).toEqual(['main'])
  })

  it('one succeeds here after all - it is not left any longer', () => {
    const { left, fail, succeed } = stepping({})
    fail('AUTHENTICATION_FAILED')
    succeed()
    expect([left.serversLeft('backup'), left.list()]).toEqual([[], []])
  })
})

it('a worker whose password is wrong beside a healthy one - what it had taken fails, and the rest and the retries go to the other one', async () => {
  await using control = await testControl()
  await using good = await inProcess(control, 'good')
  await using bad = await inProcess(control, 'bad')
  // Each has seen that the other one lives.
  await expect.poll(() => good.queue.beat().then(() => good.queue.view().workers), { timeout: 20_000 }).toHaveLength(1)
  await bad.queue.beat()
  await expect.poll(() => good.queue.beat().then(() => good.queue.view().workers), { timeout: 20_000 }).toHaveLength(2)
  for (const name of ['a', 'b', 'c', 'd']) bad.queue.order(dueBackup(name))
  await bad.queue.beat()
  expect(bad.began).toEqual(['main/a', 'main/b'])
  const failure = { server: 'main', reason: 'wrong password' }
  for (const { fail } of bad.running.values()) fail(new PgproofError('AUTHENTICATION_FAILED', failure))
  const ended = () => control.entries("state = 'completed'")
  await expect.poll(() => bad.queue.beat().then(ended), { timeout: 20_000 }).toHaveLength(2)
  for (const name of ['a', 'b']) bad.queue.order(dueBackup(name, 'main', 2))
  for (let beat = 0; beat < 3; beat += 1) await bad.queue.beat()
  expect(bad.began).toHaveLength(2)
  await expect
    .poll(
      async () => {
        await good.queue.beat()
        for (const { end } of good.running.values()) end()
        return good.began.toSorted()
      },
      { timeout: 20_000 },
    )
    .toEqual(['main/a', 'main/b', 'main/c', 'main/d'])
  const refused = () => good.queue.view().workers.find(({ name }) => name === 'bad')?.refused
  await expect
    .poll(() => good.queue.beat().then(refused), { timeout: 20_000 })
    .toMatchObject([{ server: 'main', job: 'backup', code: 'AUTHENTICATION_FAILED', until: expect.any(Date) }])
})
