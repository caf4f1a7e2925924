import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import type { Config } from '../../src/config/config.ts'
import { refusedWords } from '../../src/domain/refused-words.ts'
import { PgproofError } from '../../src/errors.ts'
import { Agreement } from '../../src/fleet/agreement.ts'
import { Peers } from '../../src/fleet/peers.ts'
import { pruneRulesOf } from '../../src/fleet/prune-rules.ts'
import { readSign, writeSign } from '../../src/fleet/sign.ts'
import type { WorkerSign } from '../../src/jobs/queue-view.ts'
import { createLog } from '../../src/log.ts'
import { serverConfig } from '../metrics/made-up-catalog.ts'
import { worker } from '../support/queue-views.ts'
import { addressOf, eventually, fleetFolder } from './fleet-folder.ts'

const policy = { last: 3, daily: 7, weekly: 4, monthly: 12, yearly: 0, verified: 2 }
const keepsOne = { ...policy, last: 1, daily: 0 }

function config(changes: Partial<Config> = {}): Config {
  const stores = [{ name: 'default', versions: 'keep' }]
  const base = { timezone: 'Europe/Berlin', stores, prune: { largestShare: 0.5 }, drill: { keepReportsMs: 1 } }
  return { ...base, servers: [serverConfig('main'), serverConfig('hr')], ...changes } as unknown as Config
}

type Seen = { agreement: Agreement; installation: { config: Config }; peers: Peers; lines: string[] }

/** What worker `bk-1` thinks of the signs of others. */
function seen(others: readonly WorkerSign[], asOf = new Date(), own = config()): Seen {
  const lines: string[] = []
  const log = createLog({ level: 'info', format: 'json' }, (line) => lines.push(line))
  const installation = { config: own, clock: systemClock, log }
  const peers = new Peers('bk-1', 60_000)
  peers.take(others, asOf)
  return { agreement: new Agreement(installation, 'bk-1', peers), installation, peers, lines }
}

const signOf = (of: Config, name = 'bk-2', at = new Date()): WorkerSign =>
  worker(at, { name, pruneRules: pruneRulesOf(of) })

const retentionOf = (server: string): Partial<Config> => ({
  servers: ['main', 'hr'].map((name) => serverConfig(name, name === server ? { retention: keepsOne } : {})),
})

describe('two workers that would keep different backups', () => {
  it.each([
    ['another retention of one server', retentionOf('main'), ['main']],
    ['another retention of its roles', { servers: [serverConfig('main', { rolesRetention: keepsOne })] }, ['main']],
    ['another recovery point objective', { servers: [serverConfig('main', { objectives: { rpoMs: 1 } })] }, ['main']],
    ['another retention of a store', { stores: [{ name: 'default', retention: keepsOne }] as never }, ['main', 'hr']],
    ['another time zone', { timezone: 'America/New_York' }, ['main', 'hr']],
    ['another largest share', { prune: { largestShare: 1 } }, ['main', 'hr']],
    ['another age of drill reports', { drill: { keepReportsMs: 2 } as never }, [null]],
    [
      'more servers, and users, passwords and schedules of their own',
      {
        servers: [
          serverConfig('main', { url: 'postgres://x@y/z', schedule: { backup: '@daily' } }),
          serverConfig('more'),
        ],
      },
      [],
    ],
  ] satisfies [string, Partial<Config>, (string | null)[]][])(
    '%s - just that is not pruned',
    (_, changes, expected) => {
      const { agreement, lines } = seen([signOf(config(changes))])
      expect(agreement.list().map(({ server }) => server)).toEqual(expected)
      expect(lines).toHaveLength(expected.length)
      for (const server of [null, 'main', 'hr'])
        expect(agreement.objection(server) === null).toBe(!(expected as (string | null)[]).includes(server))
      // The other one comes to the same.
      const other = seen([signOf(config(), 'bk-3')], new Date(), config(changes))
      expect(other.agreement.list().map(({ server }) => server)).toEqual(expected)
    },
  )

  it('said once, with both names and what to do; when all agree again that is said, too', () => {
    const { agreement, installation, lines } = seen([signOf(config()), signOf(config(retentionOf('main')), 'bk-3')])
    for (let sign = 0; sign < 3; sign += 1) agreement.list()
    const [refused] = agreement.list()
    expect(refused).toMatchObject({ server: 'main', code: 'FLEET_RETENTION_DIFFERS' })
    expect(refused?.reason).toBe('server "main": the workers bk-1 and bk-3 disagree on what a prune keeps')
    expect(lines).toHaveLength(1)
    expect(lines[0]).toMatch(
      /"level":"warn".*"server":"main".*FLEET_RETENTION_DIFFERS.*bk-1 and bk-3.*Give both the same/,
    )
    installation.config = config(retentionOf('main'))
    // Now it is another one that differs.
    expect(agreement.list()[0]?.reason).toContain('bk-1 and bk-2')
    expect(lines).toHaveLength(1)
    installation.config = config({ servers: [serverConfig('hr')] })
    expect([agreement.list(), lines.length]).toEqual([[], 1])
  })

  it('two others differ, in whichever order they are read - the same one is named, and it is said once', () => {
    const [two, three] = ['bk-2', 'bk-3'].map((name) => signOf(config(retentionOf('main')), name))
    if (two === undefined || three === undefined) throw new Error('no signs')
    const { agreement, peers, lines } = seen([three, two])
    const reasons = [[two, three], [three, two], [three]].map((signs) => {
      peers.take(signs, new Date())
      return agreement.list()[0]?.reason
    })
    expect(reasons.map((reason) => /bk-1 and (\S+)/.exec(reason ?? '')?.[1])).toEqual(['bk-2', 'bk-2', 'bk-3'])
    expect(lines).toHaveLength(1)
  })

  it('a server that this worker does not have - no objection of its own', () => {
    const { agreement } = seen([signOf(config({ timezone: 'America/New_York' }))])
    expect(agreement.objection('main')?.code).toBe('FLEET_RETENTION_DIFFERS')
    expect(agreement.objection('elsewhere')).toBeNull()
  })

  it('very many servers - one line for all, with their number', () => {
    const servers = (last: number) =>
      Array.from({ length: 200 }, (_, index) => serverConfig(`s${index}`, { retention: { ...policy, last } }))
    const { agreement } = seen([signOf(config({ servers: servers(1) }))], new Date(), config({ servers: servers(2) }))
    expect(agreement.list()).toMatchObject([
      { server: null, job: 'prune', reason: '200 servers: the workers bk-1 and bk-2 disagree on what a prune keeps' },
    ])
    expect(agreement.list().map(refusedWords)).toEqual(['prunes nothing of several servers'])
    expect(agreement.objection('s7')?.message).toContain('server "s7"')
    expect(agreement.objection(null)).toBeNull()
  })

  it('the text of the rules - as jsonb gives it back', () => {
    const { servers } = pruneRulesOf(config(retentionOf('main')))
    expect(Object.keys(servers)).toEqual(Object.keys(servers).toSorted())
  })

  it('another process has the name - nothing may be pruned, whatever was read of the others', () => {
    const { agreement } = seen([])
    agreement.superseded = new PgproofError('FLEET_NAME_TAKEN', { name: 'bk-1' })
    expect([null, 'main'].map((server) => agreement.objection(server)?.code)).toEqual([
      'FLEET_NAME_TAKEN',
      'FLEET_NAME_TAKEN',
    ])
    expect(agreement.list()).toEqual([])
  })

  it('a worker that is dead, or of an older version - does not count', () => {
    const otherwise = config(retentionOf('main'))
    const dead = signOf(otherwise, 'dead', new Date(Date.now() - 61_000))
    expect(seen([dead, worker(new Date(), { name: 'older' })]).agreement.list()).toEqual([])
  })

  it('the control database was away for longer than a heartbeat - whoever lived before still counts for one', () => {
    const start = Date.now()
    const at = (seconds: number): Date => new Date(start + seconds * 1000)
    const others = [signOf(config(retentionOf('main')), 'bk-2', at(0))]
    const { agreement, peers } = seen(others, at(1))
    for (const [seconds, count] of [
      [30, 1],
      [300, 1],
      [350, 1],
      [361, 0],
    ] as const) {
      peers.take(others, at(seconds))
      expect([seconds, agreement.list().length]).toEqual([seconds, count])
    }
  })

  it('the control database was made anew, with another clock - whoever lived before has a heartbeat to sign again', () => {
    const otherwise = config(retentionOf('main'))
    const start = Date.now()
    const at = (seconds: number): Date => new Date(start + seconds * 1000)
    const { agreement, peers } = seen([signOf(otherwise, 'bk-2', at(0)), signOf(otherwise, 'gone', at(-61))], at(1))
    const anew = (seconds: number): Date => at(seconds - 86_400)
    peers.take([], anew(2), true)
    expect(agreement.list()[0]?.reason).toContain('bk-1 and bk-2')
    peers.take([], anew(61))
    expect(agreement.objection('main')?.code).toBe('FLEET_RETENTION_DIFFERS')
    // What it says now counts, not what it said before.
    peers.take([signOf(config(), 'bk-2', anew(61))], anew(61))
    expect(agreement.objection('main')).toBeNull()
    peers.take([], anew(63))
    expect(agreement.list()).toEqual([])
  })

  it('a sign of a version that says it otherwise - is a sign all the same', () => {
    const written = writeSign(signOf(config())) as Record<string, unknown>
    expect(readSign(written)?.pruneRules).toEqual(pruneRulesOf(config()))
    expect(readSign({ ...written, pruneRules: 7 })).toMatchObject({ name: 'bk-2', pruneRules: undefined })
    const { pruneRules: _, ...older } = written
    expect(readSign(older)).toMatchObject({ name: 'bk-2' })
  })
})

it('a worker with another retention comes - backups go on, no worker removes any, all say so; once it has gone, they are removed', async () => {
  await using fleet = await fleetFolder(1)
  const [database = ''] = fleet.databases
  const token = 'token-of-the-test'
  const sha256 = createHash('sha256').update(token).digest('hex')
  const http = { listen: '127.0.0.1:0', tokens: [{ name: 'ops', scope: 'backup', hash: sha256 }] }
  const env = { PGPROOF_TOKEN: token }
  const settings = { http, prune: { largestShare: '100%' } }
  await fleet.configure(settings, { retention: { last: 9 } })
  for (let made = 0; made < 3; made += 1) await fleet.folder.run(['backup', `main/${database}`])
  await fleet.configure(settings, { retention: { last: 2 }, schedule: {} })
  const right = fleet.worker('right')
  const url = await addressOf(right)
  const other = fleet.worker('other', { PGPROOF_SERVERS__0__RETENTION__LAST: '1', PGPROOF_FLEET__MAY: 'backup,prune' })
  const worries = async (): Promise<string> => (await fleet.folder.run(['queue', '--url', url], { env })).stdout
  await eventually('both to say it', async () =>
    /worker other: prunes nothing of server main.*worker right: prunes nothing/s.test(await worries()),
  )
  const order = async (): Promise<unknown> =>
    await fleet.folder.run(['backup', `main/${database}`, '--url', url], { env })
  for (let made = 0; made < 3; made += 1) await order()
  expect(fleet.manifests(database)).toHaveLength(6)
  expect(right.stderr() + other.stderr()).toContain('the prune after the backup is left out')
  other.child.kill('SIGTERM')
  await other.result
  await eventually('the other one to be gone', async () => !(await worries()).includes('prunes nothing'))
  await order()
  expect(fleet.manifests(database)).toHaveLength(2)
  expect(right.stderr()).toMatch(/"count":5,"kept":2,"policy":"last 2.*"removed":\["2/)
})
