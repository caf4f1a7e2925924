import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { takeCensus } from '../../src/postgres/census.ts'
import type { Connection } from '../../src/postgres/connect.ts'
import { findProgram } from '../../src/postgres/programs.ts'
import { restoreDump } from '../../src/postgres/restore-dump.ts'
import { holdSnapshot, joinSnapshot, type Snapshot } from '../../src/postgres/snapshot.ts'
import { testUrl } from '../support/installation.ts'
import { query } from '../support/postgres-server.ts'
import { startTcpProxy } from '../support/tcp-proxy.ts'
import { codeOf, contentsOf, dumpTo, errorOf, eventually, openSandbox, type Sandbox, signal } from './sandbox.ts'

const options = { lockTimeoutMs: 5_000 }
let sandbox: Sandbox
beforeAll(async () => {
  sandbox = await openSandbox('CREATE TABLE a AS SELECT generate_series(1, 1000) AS v; CREATE TABLE b AS SELECT 1 AS v')
})
afterAll(async () => sandbox[Symbol.asyncDispose]())
afterEach(async () => {
  await eventually(() => leftBehind()).toEqual([])
})

describe('while a snapshot is held', () => {
  it.each([
    'TRUNCATE a',
    'ALTER TABLE a ALTER v TYPE bigint',
    'VACUUM FULL a',
    'CLUSTER a USING a_v',
    'DROP TABLE a',
    'ALTER TABLE a RENAME TO z',
    'TRUNCATE b CASCADE',
  ])('%s - waits until it is released', async (statement) => {
    await using own = await openSandbox(
      'CREATE TABLE a AS SELECT generate_series(1, 1000) AS v; CREATE INDEX a_v ON a (v); CREATE TABLE b AS SELECT 1 AS v',
    )
    let hasEnded = false
    let running: Promise<unknown>
    {
      await using snapshot = await holdSnapshot(own.connection, options, signal)
      running = own.sql(statement).then(() => {
        hasEnded = true
      })
      await eventually(() => waitingIn(own.database)).toBe(1)
      expect((await snapshot.client.query('SELECT count(*)::int AS n FROM public.a')).rows).toEqual([{ n: 1000 }])
      expect(hasEnded).toBe(false)
    }
    await running
    expect(hasEnded).toBe(true)
  })

  it('a TRUNCATE waits in the queue of a table that was not yet counted - the census does not wait behind it for ever', async () => {
    const queued = new pg.Client({ connectionString: testUrl(sandbox.database) })
    await queued.connect()
    {
      await using snapshot = await holdSnapshot(sandbox.connection, options, signal)
      await using joined = await joinSnapshot(sandbox.connection, snapshot, signal)
      const truncate = errorOf(queued.query('TRUNCATE a'))
      await eventually(() => waitingIn(sandbox.database)).toBe(1)
      const census = await censusIn(snapshot, [joined.client])
      expect(census['public.a']?.rows).toBe(1000)
      await query(testUrl(), 'SELECT pg_cancel_backend($1)', [(queued as unknown as { processID: number }).processID])
      await truncate
    }
    await queued.end()
  })

  it('a TRUNCATE queued before pg_dump or another connection asks for its locks - both give up after the time-out', async () => {
    const queued = new pg.Client({ connectionString: testUrl(sandbox.database) })
    await queued.connect()
    {
      await using snapshot = await holdSnapshot(sandbox.connection, { lockTimeoutMs: 300 }, signal)
      const truncate = errorOf(queued.query('TRUNCATE a'))
      await eventually(() => waitingIn(sandbox.database)).toBe(1)
      expect(await codeOf(joinSnapshot(sandbox.connection, snapshot, signal))).toBe('SNAPSHOT_FAILED')
      expect(await codeOf(dumpTo('/dev/null', sandbox.connection, snapshot.id, 300))).toBe('DUMP_FAILED')
      await query(testUrl(), 'SELECT pg_cancel_backend($1)', [(queued as unknown as { processID: number }).processID])
      await truncate
    }
    await queued.end()
  })

  it('a second holder of the same database - LOCKED; of another one, or after the release - fine', async () => {
    await using other = await openSandbox()
    {
      await using held = await holdSnapshot(sandbox.connection, options, signal)
      const error = await errorOf(holdSnapshot(sandbox.connection, options, signal))
      const { processID } = held.client as unknown as { processID: number }
      expect(error).toMatchObject({
        code: 'LOCKED',
        message: expect.stringContaining(sandbox.database),
        details: expect.stringContaining(`held by process ${processID} from`),
      })
      await using _other = await holdSnapshot(other.connection, options, signal)
    }
    await using _again = await holdSnapshot(sandbox.connection, options, signal)
  })

  it('its connection is ended by the server - `lost` rejects with SNAPSHOT_FAILED, and joining does', async () => {
    const snapshot = await holdSnapshot(sandbox.connection, options, signal)
    const { processID } = snapshot.client as unknown as { processID: number }
    await query(testUrl(), 'SELECT pg_terminate_backend($1)', [processID])
    expect(await codeOf(snapshot.lost)).toBe('SNAPSHOT_FAILED')
    // It says goodbye before it has gone, and its snapshot goes with it.
    await eventually(leftBehind).toEqual([])
    expect(await codeOf(joinSnapshot(sandbox.connection, snapshot, signal))).toBe('SNAPSHOT_FAILED')
    await snapshot[Symbol.asyncDispose]()
  })

  it('the network goes silent - an abort and the end of the scope are over in seconds', async () => {
    const { hostname, port } = new URL(testUrl())
    const proxy = await startTcpProxy({ host: hostname, port: Number(port) })
    try {
      const connection = { ...sandbox.connection, port: proxy.port }
      const controller = new AbortController()
      const snapshot = await holdSnapshot(connection, options, controller.signal)
      const joined = await joinSnapshot(connection, snapshot, controller.signal)
      proxy.setMode('stall')
      const running = errorOf(joined.client.query('SELECT 1'))
      const start = performance.now()
      controller.abort(new Error('stop'))
      await running
      await Promise.all([joined[Symbol.asyncDispose](), snapshot[Symbol.asyncDispose]()])
      expect(performance.now() - start).toBeLessThan(20_000)
    } finally {
      await proxy.stop()
    }
  })
})

describe('taking a snapshot', () => {
  it('somebody holds a table exclusively - SNAPSHOT_FAILED that says so, after the lock time-out', async () => {
    await sandbox.sql('BEGIN; LOCK TABLE b')
    try {
      const start = performance.now()
      const error = await errorOf(holdSnapshot(sandbox.connection, { lockTimeoutMs: 400 }, signal))
      expect(error).toMatchObject({ code: 'SNAPSHOT_FAILED', message: expect.stringContaining('lock timeout') })
      expect(performance.now() - start).toBeLessThan(5_000)
    } finally {
      await sandbox.sql('ROLLBACK')
    }
  })

  it('aborted while it waits for a lock - rejects with the reason at once, nothing is left on the server', async () => {
    await sandbox.sql('BEGIN; LOCK TABLE b')
    try {
      const controller = new AbortController()
      const running = errorOf(holdSnapshot(sandbox.connection, { lockTimeoutMs: 60_000 }, controller.signal))
      await eventually(() => waitingIn(sandbox.database)).toBe(1)
      const start = performance.now()
      controller.abort(new Error('stop'))
      expect(await running).toMatchObject({ message: 'stop' })
      expect(performance.now() - start).toBeLessThan(3_000)
    } finally {
      await sandbox.sql('ROLLBACK')
    }
  })

  it.each([
    ['created', 'CREATE TABLE "new ""one" AS SELECT 1 AS v', ['a', 'b', 'new "one']],
    ['dropped', 'DROP TABLE b', ['a']],
    ['renamed', 'ALTER TABLE b RENAME TO c', ['a', 'c']],
    ['replaced by another of its name', 'DROP TABLE b; CREATE TABLE b AS SELECT 2 AS v', ['a', 'b']],
    ['moved with its schema', 'CREATE SCHEMA s; ALTER TABLE b SET SCHEMA s', ['a', 'b']],
    ['created and another dropped', 'DROP TABLE b; CREATE TABLE d AS SELECT 1 AS v', ['a', 'd']],
  ])('a table is %s while another is waited for - the list is that of the snapshot', async (_, statement, names) => {
    await using own = await openSandbox('CREATE TABLE a AS SELECT 1 AS v; CREATE TABLE b AS SELECT 1 AS v')
    await own.sql(`BEGIN; LOCK TABLE a; ${statement}`)
    const holding = holdSnapshot(own.connection, options, signal)
    await eventually(() => waitingIn(own.database)).toBe(1)
    await own.sql('COMMIT')
    await using snapshot = await holding
    expect(snapshot.tables.map(({ name }) => name)).toEqual(names)
    await using joined = await joinSnapshot(own.connection, snapshot, signal)
    expect(Object.values(await censusIn(snapshot, [joined.client])).map(({ rows }) => rows)).toEqual(names.map(() => 1))
    // Every table of the list is locked, also those that came late.
    for (const { schema, name } of snapshot.tables) {
      const quoted = [schema, name].map((part) => `"${part.replaceAll('"', '""')}"`).join('.')
      expect(await codeOf(own.sql(`SET lock_timeout = '50ms'; TRUNCATE ${quoted}`))).toContain('lock timeout')
    }
  })

  it('tables are created time and again - SNAPSHOT_FAILED after five attempts, nothing is held', async () => {
    await using own = await openSandbox('CREATE TABLE a (v int)')
    const writers = [0, 1].map(() => new pg.Client({ connectionString: testUrl(own.database) }))
    for (const writer of writers) await writer.connect()
    const turn = (index: number): pg.Client => writers[index % 2] as pg.Client
    await turn(0).query('BEGIN; CREATE TABLE t0 (); LOCK TABLE a')
    const holding = errorOf(holdSnapshot(own.connection, { lockTimeoutMs: 120_000 }, signal))
    for (let attempt = 1; attempt <= 5; attempt += 1) {
      // The holder waits for one of the two, and the other one waits behind it: it has the table next.
      await eventually(() => waitingIn(own.database)).toBe(1)
      await turn(attempt).query(`BEGIN; CREATE TABLE t${attempt} ()`)
      const locked = turn(attempt).query('LOCK TABLE a')
      await eventually(() => waitingIn(own.database)).toBe(2)
      await turn(attempt - 1).query('COMMIT')
      await locked
    }
    expect(await holding).toMatchObject({
      code: 'SNAPSHOT_FAILED',
      message: expect.stringContaining('tables kept being created or dropped during 5 attempts'),
    })
    for (const writer of writers) await writer.end()
  })

  it('a table of thousands, more than fit into one statement - all locked', async () => {
    const many = Array.from({ length: 1100 }, (_, index) => `CREATE TABLE t${index} ()`).join(';')
    await using own = await openSandbox(many)
    await using snapshot = await holdSnapshot(own.connection, options, signal)
    const { rows } = await snapshot.client.query(
      "SELECT count(*)::int AS n FROM pg_locks WHERE pid = pg_backend_pid() AND mode = 'AccessShareLock' AND relation >= 16384",
    )
    expect(rows).toEqual([{ n: 1100 }])
  })
})

describe('what the role may not read in full - PRIVILEGE_MISSING that names it', () => {
  let own: Sandbox
  let connection: Connection
  const role = `backup_${Math.random().toString(36).slice(2)}`
  beforeAll(async () => {
    own = await openSandbox(
      `CREATE ROLE ${role} LOGIN PASSWORD 'x'; CREATE TABLE a (v int); CREATE SCHEMA closed; CREATE TABLE closed.b (v int)`,
    )
    connection = { ...own.connection, user: role, password: () => 'x' }
  })
  afterAll(async () => {
    await own[Symbol.asyncDispose]()
    await query(testUrl(), `DROP ROLE ${role}`)
  })
  const missing = async (): Promise<string> => {
    const error = await errorOf(holdSnapshot(connection, options, signal))
    expect(error).toMatchObject({ code: 'PRIVILEGE_MISSING' })
    return (error as Error).message
  }

  it('tables without SELECT, in schemas without USAGE', async () => {
    expect(await missing()).toContain(
      `role "${role}" may not read everything in "${own.database}": closed.b (no SELECT), public.a (no SELECT)`,
    )
    await own.sql(`GRANT SELECT ON ALL TABLES IN SCHEMA closed, public TO ${role}`)
    expect(await missing()).toMatch(/: closed\.b \(no SELECT\)$/)
    await own.sql(`GRANT pg_read_all_data TO ${role}`)
    await using _held = await holdSnapshot(connection, options, signal)
  })

  it('row security, also of a table that the role owns if it is forced - and none of it with BYPASSRLS', async () => {
    await own.sql(
      `ALTER TABLE a ENABLE ROW LEVEL SECURITY; CREATE TABLE mine (v int); ALTER TABLE mine OWNER TO ${role}; ALTER TABLE mine ENABLE ROW LEVEL SECURITY`,
    )
    expect(await missing()).toMatch(/: public\.a \(row security\)$/)
    await own.sql('ALTER TABLE mine FORCE ROW LEVEL SECURITY')
    expect(await missing()).toMatch(/: public\.a \(row security\), public\.mine \(row security\)$/)
    await own.sql(`ALTER ROLE ${role} BYPASSRLS`)
    await using _held = await holdSnapshot(connection, options, signal)
  })

  it('sequences and large objects of others', async () => {
    await own.sql(
      `REVOKE pg_read_all_data FROM ${role}; GRANT SELECT ON ALL TABLES IN SCHEMA public, closed TO ${role}; GRANT USAGE ON SCHEMA closed TO ${role}; CREATE SEQUENCE "s.q"; SELECT lo_from_bytea(4711, 'x')`,
    )
    expect(await missing()).toMatch(/: sequence public\."s\.q" \(no SELECT\), large object 4711 \(no SELECT\)$/)
    await own.sql(`GRANT SELECT ON SEQUENCE "s.q" TO ${role}; GRANT SELECT ON LARGE OBJECT 4711 TO PUBLIC`)
    await using _held = await holdSnapshot(connection, options, signal)
  })

  it('more than five - the first five are named, the rest counted, and all are in the details', async () => {
    await own.sql(Array.from({ length: 9 }, (_, index) => `CREATE TABLE closed.more${index} ()`).join(';'))
    const error = (await errorOf(holdSnapshot(connection, options, signal))) as { message: string; details: string }
    expect(error.message).toMatch(/closed\.more4 \(no SELECT\) and 4 more$/)
    expect(error.details.split('\n')).toHaveLength(9)
    await own.sql('DROP SCHEMA closed CASCADE')
  })

  it('the system identifier of the server', async () => {
    await own.sql('REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC')
    expect(await missing()).toContain('pg_control_system()')
  })
})

describe('everybody writes', () => {
  it('rows come, change and go all the time, in several tables - dump and census of one snapshot agree after the restore', async () => {
    await using own = await openSandbox(`
      CREATE TABLE account (id int PRIMARY KEY, balance numeric NOT NULL); INSERT INTO account SELECT g, 100 FROM generate_series(1, 200) g;
      CREATE TABLE movement (id bigserial PRIMARY KEY, account int, amount numeric, at timestamptz DEFAULT clock_timestamp());
      CREATE TABLE queue (id bigserial PRIMARY KEY, body jsonb)`)
    await using copy = await openSandbox()
    const folder = await mkdtemp(join(tmpdir(), 'pgproof-test-dump-'))
    const state = { isOver: false, writes: 0 }
    const writers = Array.from({ length: 3 }, async (_, writer) => {
      const client = new pg.Client({ connectionString: testUrl(own.database) })
      await client.connect()
      for (let turn = writer; !state.isOver; turn += 3) {
        await client
          .query(`BEGIN; UPDATE account SET balance = balance - 1 WHERE id = ${1 + (turn % 200)};
          UPDATE account SET balance = balance + 1 WHERE id = ${1 + ((turn * 7) % 200)};
          INSERT INTO movement (account, amount) VALUES (${1 + (turn % 200)}, -1), (${1 + ((turn * 7) % 200)}, 1);
          INSERT INTO queue (body) VALUES ('{"n": ${turn}}'); DELETE FROM queue WHERE id = ${turn - 9}; COMMIT`)
          .catch(async (error) => {
            if ((error as { code: string }).code !== '40P01') throw error
            await client.query('ROLLBACK')
          })
        state.writes += 1
      }
      await client.end()
    })
    try {
      await eventually(() => state.writes).toBeGreaterThan(100)
      const file = join(folder, 'dump')
      await using snapshot = await holdSnapshot(own.connection, options, signal)
      await using first = await joinSnapshot(own.connection, snapshot, signal)
      await using second = await joinSnapshot(own.connection, snapshot, signal)
      const atSnapshot = state.writes
      const [census] = await Promise.all([
        censusIn(snapshot, [first.client, second.client]),
        dumpTo(file, own.connection, snapshot.id),
      ])
      await eventually(() => state.writes).toBeGreaterThan(atSnapshot + 100)
      expect(await censusIn(snapshot, [first.client])).toEqual(census)
      const program = await findProgram('pg_restore', snapshot.facts.major, [], signal)
      await restoreDump({ connection: copy.connection, program, file, jobs: 2 }, signal)
      expect(await contentsOf(copy.client)).toEqual(census)
      expect(await copy.sql('SELECT sum(balance)::int AS sum FROM account')).toEqual([{ sum: 20_000 }])
      expect(await contentsOf(own.client)).not.toEqual(census)
    } finally {
      state.isOver = true
      await Promise.all(writers)
      await rm(folder, { recursive: true })
    }
  })
})

async function censusIn(snapshot: Snapshot, clients: Parameters<typeof takeCensus>[0]): ReturnType<typeof contentsOf> {
  const census = await takeCensus(clients, { database: '', tables: snapshot.tables, level: () => 'digest' }, signal)
  return Object.fromEntries(census.map(({ schema, name, rows, digest }) => [`${schema}.${name}`, { rows, digest }]))
}

/** How many sessions of a database wait for a lock. */
async function waitingIn(database: string): Promise<number> {
  const rows = await query(
    testUrl(),
    `SELECT FROM pg_stat_activity WHERE datname = '${database}' AND wait_event_type = 'Lock'`,
  )
  return rows.length
}

/** Sessions and locks of snapshots that are still there. */
async function leftBehind(): Promise<Record<string, unknown>[]> {
  return await query(
    testUrl(),
    `SELECT application_name FROM pg_stat_activity WHERE datname = '${sandbox.database}' AND application_name ~ '^pgproof' AND application_name <> 'pgproof test'
     UNION ALL SELECT 'advisory lock' FROM pg_locks l JOIN pg_database d ON d.oid = l.database WHERE locktype = 'advisory' AND datname = '${sandbox.database}'`,
  )
}
