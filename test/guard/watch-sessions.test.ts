import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import pg from 'pg'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type Clock, systemClock } from '../../src/clock.ts'
import { isClear, judgeSessions, type SeenSession, type WatchFindings } from '../../src/guard/judge-sessions.ts'
import { type SessionWatch, watchSessions } from '../../src/guard/watch-sessions.ts'
import { connect, parseConnectionUrl } from '../../src/postgres/connect.ts'
import { query, startPostgres, type TestServer } from '../support/postgres-server.ts'
import { startTcpProxy } from '../support/tcp-proxy.ts'
import { untilSeen } from './until-seen.ts'

const { signal } = new AbortController()
const tag = 'pgproof-guard-test'
let server: TestServer
let taken = 0
let name: string
let watch: SessionWatch
let snapshotTime: Date
const open: pg.Client[] = []

beforeAll(async () => {
  server = await startPostgres('max_prepared_transactions = 5')
})
afterAll(() => server.stop())

beforeEach(() => {
  taken += 1
  name = `shop${taken}`
})
afterEach(async () => {
  await watch?.[Symbol.asyncDispose]()
  for (const client of open.splice(0)) await client.end().catch(() => {})
})

async function begin(user = 'postgres', sql = 'CREATE TABLE t (id int)'): Promise<void> {
  await query(server.url(), `CREATE DATABASE ${name}`)
  await query(server.url(name), sql)
  await beginAgain(user)
}

async function beginAgain(user = 'postgres', url = server.url(), clock: Clock = systemClock): Promise<void> {
  const admin = parseConnectionUrl('main', url.replace('postgres@', `${user}@`), () => 'low')
  watch = await watchSessions({ admin, database: name, backupUser: null, tag }, clock, signal)
  // The server is on this machine. Later by the margin by which a snapshot may be older than its time.
  snapshotTime = new Date(Date.now() + 250)
}

/** A session of this very process, which no guard would know. */
async function session(application: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: server.url(name), application_name: application })
  client.on('error', () => {})
  await client.connect()
  open.push(client)
  return client
}

/** `$SEEN` in the script is SQL that ends when the watch has seen its session. */
function program(script: string, env: Record<string, string> = {}): ChildProcess {
  const surroundings = { PATH: process.env['PATH'] ?? '', SEEN: untilSeen, ...env }
  return spawn('sh', ['-c', script], { env: surroundings, stdio: 'ignore' })
}

const whys = ({ writers }: WatchFindings): string[] => writers.map(({ application, why }) => `${application}: ${why}`)

describe('a watch over the sessions of a database', () => {
  it('nobody comes - clear', async () => {
    await begin()
    const findings = await watch.findings(snapshotTime)
    expect(findings).toEqual({ writers: [], idle: [], unseen: 0, prepared: [], lost: null })
    expect(isClear(findings)).toBe(true)
  })

  it('sessions with the tag of the command, even of 20 milliseconds - clear', async () => {
    await begin()
    for (const seconds of [0.02, 0.05])
      await once(program(`psql -qc "SELECT pg_sleep(${seconds})" '${server.url(name)}'`, { PGAPPNAME: tag }), 'close')
    expect(await watch.findings(snapshotTime)).toMatchObject({ writers: [], unseen: 0 })
  })

  it('a session without the tag, of a program that the command started - clear by its TCP port', async () => {
    await begin()
    const child = program(`psql -qc 'INSERT INTO t SELECT 1; ' -c "$SEEN" '${server.url(name)}'; true`)
    watch.follow(child.pid ?? 0)
    await once(child, 'close')
    expect(await watch.findings(snapshotTime)).toMatchObject({ writers: [], unseen: 0 })
  })

  it('the same program, but not of the command - a writer', async () => {
    await begin()
    watch.follow(process.pid + 100_000)
    await once(program(`psql -qc 'INSERT INTO t SELECT 1' -c "$SEEN" '${server.url(name)}'`), 'close')
    const { writers } = await watch.findings(snapshotTime)
    expect(writers).toMatchObject([{ application: 'psql', why: expect.stringMatching(/at work|wrote/) }])
  })

  it('a session in the middle of a write - a writer, with user, address and beginning', async () => {
    await begin()
    const other = await session('cashier')
    await other.query('BEGIN; INSERT INTO t VALUES (1)')
    const { writers } = await watch.findings(snapshotTime)
    expect(writers).toEqual([
      {
        pid: expect.any(Number),
        user: 'postgres',
        application: 'cashier',
        client: '127.0.0.1',
        startedAt: expect.any(Date),
        why: 'its transaction wrote',
      },
    ])
  })

  it('a session that did nothing since - idle and clear; a mere SELECT - a writer, since nobody knows', async () => {
    await begin()
    const other = await session('pool')
    await other.query('SELECT 1')
    const later = new Date(Date.now() + 3000)
    const calm = await watch.findings(later)
    expect({ clear: isClear(calm), idle: calm.idle.map(({ application }) => application) }).toEqual({
      clear: true,
      idle: ['pool'],
    })
    await other.query('SELECT 2')
    expect(whys(await watch.findings(snapshotTime))).toEqual(['pool: it was at work after the snapshot'])
  })

  it('a session that was there, idle, and ended - a writer, since nobody saw its last moment', async () => {
    await query(server.url(), `CREATE DATABASE ${name}`)
    const other = await session('pool')
    await other.query('SELECT 1')
    await beginAgain()
    const snapshot = new Date(snapshotTime.getTime() + 100)
    await expect.poll(() => Date.now(), { timeout: 15_000 }).toBeGreaterThan(snapshot.getTime())
    await other.end()
    const findings = await watch.findings(snapshot)
    expect(whys(findings)).toEqual(['pool: it ended, and what it did last was not seen'])
  })

  it('sessions too short to be seen - counted as unseen', async () => {
    await begin()
    for (let round = 0; round < 60; round += 1) await (await session('quick')).end()
    const { unseen, writers } = await watch.findings(snapshotTime)
    expect(unseen).toBeGreaterThan(0)
    expect(isClear({ unseen, writers: [], idle: [], prepared: [], lost: null })).toBe(false)
    expect(unseen + writers.length).toBeLessThanOrEqual(60)
  })

  it('sessions of this process by our own connections - clear; somebody else under our name - a writer', async () => {
    await begin()
    const own = parseConnectionUrl('main', server.url(name))
    for (let round = 0; round < 5; round += 1) {
      await using held = await connect(own, signal, 'pgproof census')
      await held.client.query(untilSeen)
    }
    expect(await watch.findings(snapshotTime)).toMatchObject({ writers: [], unseen: 0 })
    const other = await session('pgproof census')
    await other.query('BEGIN; INSERT INTO t VALUES (1)')
    expect(whys(await watch.findings(snapshotTime))).toEqual(['pgproof census: its transaction wrote'])
  })

  it('parallel workers of our own queries, which for a moment name no leader - clear', async () => {
    await begin('postgres', 'CREATE TABLE t AS SELECT generate_series(1, 1000) AS id; ANALYZE t')
    await using ours = await connect(parseConnectionUrl('main', server.url(name)), signal, 'pgproof census')
    await ours.client.query(
      'SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0',
    )
    const { rows } = await ours.client.query('EXPLAIN SELECT count(*) FROM public.t')
    expect(JSON.stringify(rows)).toMatch(/Workers Planned: [1-9]/)
    for (let query = 0; query < 400; query += 1) await ours.client.query('SELECT count(*) FROM public.t')
    expect(await watch.findings(snapshotTime)).toMatchObject({ writers: [], unseen: 0 })
  })

  it('a transaction that was prepared and waits - not clear', async () => {
    await begin()
    await once(
      program(
        `psql -qc "BEGIN; INSERT INTO t VALUES (1); PREPARE TRANSACTION 'waits'" -c "$SEEN" '${server.url(name)}'`,
        {
          PGAPPNAME: tag,
        },
      ),
      'close',
    )
    const findings = await watch.findings(snapshotTime)
    expect(findings).toMatchObject({ prepared: ['waits'], writers: [], unseen: 0 })
    expect(isClear(findings)).toBe(false)
    await query(server.url(name), "ROLLBACK PREPARED 'waits'")
  })

  it('the watching connection is ended - said, and not clear', async () => {
    await begin()
    await query(
      server.url(),
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'pgproof guard %'",
    )
    const findings = await watch.findings(snapshotTime)
    expect(findings.lost).toMatch(/terminat/)
    expect(isClear(findings)).toBe(false)
  })

  it('PostgreSQL 14, which hands out its statistics late - waits before it counts', async () => {
    const { hostname, port } = new URL(server.url())
    const proxy = await startTcpProxy({ host: hostname, port: Number(port) })
    // The version is the last column of its row: four bytes of length, and two characters.
    proxy.changeAnswer = (chunk) =>
      Buffer.from(chunk.toString('latin1').replace(/(?<=\p{Cc}{4})\d\d(?=C)/u, '14'), 'latin1')
    const slept: number[] = []
    const sleep: Clock['sleep'] = async (ms, until) => {
      slept.push(ms)
      await systemClock.sleep(Math.min(ms, 50), until)
    }
    await query(server.url(), `CREATE DATABASE ${name}`)
    const url = server.url().replace(`:${port}/`, `:${proxy.port}/`)
    await beginAgain('postgres', url, { ...systemClock, sleep })
    expect(isClear(await watch.findings(snapshotTime))).toBe(true)
    expect(slept).toContain(1500)
    await watch[Symbol.asyncDispose]()
    await proxy.stop()
  })

  it('the database is gone - said, and not clear', async () => {
    await begin()
    await query(server.url(), `DROP DATABASE ${name}`)
    expect((await watch.findings(snapshotTime)).lost).toContain('is not there any more')
  })

  it('a login that may not see the sessions of others - each of them is a writer', async () => {
    await query(server.url(), "CREATE ROLE low LOGIN PASSWORD 'low'")
    await begin('low')
    await (await session('app')).query('SELECT 1')
    expect(whys(await watch.findings(snapshotTime))).toEqual([
      'app: this login may not see what it does (GRANT pg_read_all_stats)',
    ])
  })

  it('after its end - no session of it is left', async () => {
    await begin()
    await watch[Symbol.asyncDispose]()
    const left = await query(
      server.url(),
      "SELECT 1 FROM pg_stat_activity WHERE application_name LIKE 'pgproof guard %'",
    )
    expect(left).toEqual([])
  })
})

describe('the judgement on what was seen', () => {
  const at = (seconds: number): Date => new Date(Date.UTC(2026, 10, 21, 12, 0, seconds))
  const span = {
    snapshotTime: at(10),
    begunAt: at(5),
    lookedAt: at(60),
    backupUser: 'backup' as string | null,
    startedSessions: 1,
    prepared: [],
    lost: null,
  }
  const seen = (changes: Partial<SeenSession>): SeenSession => ({
    pid: 1,
    startedAt: at(0),
    user: 'app',
    application: '',
    client: null,
    port: 0,
    kind: 'client backend',
    state: 'idle',
    activeAt: at(1),
    isCommand: false,
    isOurs: false,
    hadTransactionId: null,
    busyAt: null,
    lastSeenAt: at(60),
    ...changes,
  })
  const dump = {
    user: 'backup',
    application: 'pgproof pg_dump',
    startedAt: at(9),
    lastSeenAt: at(20),
    activeAt: at(12),
  }

  it.each<[string, Partial<SeenSession>, number]>([
    ['an apply worker of a subscription at work', { kind: 'logical replication worker', activeAt: at(30) }, 1],
    ['a background worker that tells no state', { kind: 'pg_cron', state: null, busyAt: at(30) }, 1],
    ['autovacuum', { kind: 'autovacuum worker', busyAt: at(30), hadTransactionId: at(30) }, 0],
    ['a walsender', { kind: 'walsender', busyAt: at(30) }, 0],
    ['a session that ended before the snapshot', { lastSeenAt: at(8) }, 0],
    ['one that began to write before the snapshot and ended after it', { busyAt: at(11), lastSeenAt: at(11) }, 1],
    [
      'one at work a fifth of a second before the time of the snapshot',
      { activeAt: new Date(at(10).getTime() - 200) },
      1,
    ],
    ['one of the command that goes on', { isCommand: true }, 1],
    ['one of the command that ended', { isCommand: true, lastSeenAt: at(30), hadTransactionId: at(30) }, 0],
    ['ours', { isOurs: true, busyAt: at(30) }, 0],
    ['pg_dump of the backup', dump, 0],
    ['pg_dump with a transaction id', { ...dump, hadTransactionId: at(15) }, 1],
    ['pg_dump of another user', { ...dump, user: 'app' }, 1],
  ])('%s', (_, changes, writers) => {
    expect(judgeSessions([seen(changes)], span).writers).toHaveLength(writers)
  })

  it('two sessions under the name of our pg_dump - both are writers; one unseen - no stranger', () => {
    const two = judgeSessions([seen(dump), seen({ ...dump, pid: 2 })], { ...span, startedSessions: 2 })
    expect({ writers: two.writers.length, unseen: two.unseen }).toEqual({ writers: 2, unseen: 0 })
    expect(judgeSessions([], span).unseen).toBe(0)
    expect(judgeSessions([seen(dump)], span).unseen).toBe(0)
    expect(judgeSessions([], { ...span, startedSessions: 2 }).unseen).toBe(1)
  })
})
