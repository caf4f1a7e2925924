import { randomBytes } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { takeLock } from '../../src/postgres/advisory-lock.ts'
import { connect, parseConnectionUrl } from '../../src/postgres/connect.ts'
import { readDatabaseProperties } from '../../src/postgres/facts.ts'
import {
  cutToBytes,
  type ExistingDatabase,
  inspectTarget,
  lockTarget,
  sessionsText,
} from '../../src/postgres/target-database.ts'
import { testUrl } from '../support/installation.ts'
import { type QueryFate, startPostgresProxy } from '../support/postgres-proxy.ts'
import { query, startPostgres } from '../support/postgres-server.ts'
import { startPgBouncer } from './pgbouncer.ts'
import { codeOf, connectionTo, errorOf, eventually, openSandbox, signal } from './sandbox.ts'
import { major } from './spool-root.ts'
import { freshTarget, openLogin, quoted, serverOf } from './target.ts'

async function existing(database: string): Promise<ExistingDatabase> {
  const found = (await inspectTarget(connectionTo(database), signal)).existing
  if (found === null) throw new Error(`${database} is not there`)
  return found
}

describe('the server', () => {
  it('seen by a superuser - its version, its rights, its identifier; a database that is not there is null', async () => {
    const { server, existing: none } = await inspectTarget(connectionTo('not_there'), signal)
    expect(none).toBeNull()
    expect(server).toMatchObject({ major, role: 'postgres', isSuperuser: true, canCreateDatabase: true })
    expect(server.systemIdentifier).toMatch(/^\d+$/)
    expect(server.address).toBe(`127.0.0.1:${new URL(testUrl()).port}`)
    expect(server.admin.database).toBe('postgres')
  })

  it('seen by a login that may do nothing - said so; its identifier only where it may be read', async () => {
    const own = await startPostgres()
    try {
      await query(own.url(), "CREATE ROLE humble LOGIN PASSWORD 'x'")
      const humble = connectionTo('not_there', { port: own.port, user: 'humble', password: () => 'x' })
      expect((await serverOf(humble)).systemIdentifier).toMatch(/^\d+$/)
      await query(own.url(), 'REVOKE EXECUTE ON FUNCTION pg_control_system() FROM public')
      const server = await serverOf(humble)
      expect(server).toMatchObject({ isSuperuser: false, canCreateDatabase: false, role: 'humble' })
      expect(server.systemIdentifier).toBeNull()
    } finally {
      await own.stop()
    }
  })

  it('without a database postgres - template1 instead; with neither the first reason', async () => {
    const own = await startPostgres()
    try {
      await query(own.url('template1'), 'DROP DATABASE postgres')
      const to = connectionTo('shop', { port: own.port })
      expect((await inspectTarget(to, signal)).server.admin.database).toBe('template1')
      await query(
        own.url('template1'),
        "CREATE ROLE humble LOGIN PASSWORD 'x'; REVOKE CONNECT ON DATABASE template1 FROM public",
      )
      const humble = { ...to, user: 'humble', password: () => 'x' }
      expect(await codeOf(inspectTarget(humble, signal))).toBe('DATABASE_UNKNOWN')
    } finally {
      await own.stop()
    }
  })

  it('that cannot be reached, or a wrong password - the codes of any connection', async () => {
    expect(await codeOf(inspectTarget(connectionTo('x', { port: 1 }), signal))).toBe('SERVER_UNREACHABLE')
    await using login = await openLogin('')
    const wrong = { ...login.connectionTo('x'), password: () => 'wrong' }
    expect(await codeOf(inspectTarget(wrong, signal))).toBe('AUTHENTICATION_FAILED')
  })

  it('whose connection breaks, or whose role is dropped, between two questions - TARGET_FAILED, no fault in pgproof', async () => {
    const login = `leaving_${randomBytes(5).toString('hex')}`
    await query(testUrl(), `CREATE ROLE ${login} LOGIN PASSWORD 'x'`)
    let fate: QueryFate = 'cut'
    await using proxy = await startPostgresProxy(testUrl(), async ({ text }) => {
      if (!text.includes('"canCreateDatabase"')) return undefined
      if (fate === undefined) await query(testUrl(), `DROP ROLE ${login}`)
      return fate
    })
    const to = connectionTo('not_there', { host: '127.0.0.1', port: proxy.port, user: login, password: () => 'x' })
    expect(await codeOf(inspectTarget(to, signal))).toBe('TARGET_FAILED')
    fate = undefined
    expect(await codeOf(inspectTarget(to, signal))).toBe('TARGET_FAILED')
    expect(await query(testUrl(), 'SELECT FROM pg_roles WHERE rolname = $1', [login])).toEqual([])
  })

  it('behind a transaction pooler, which no lock survives - POOLER_DETECTED', async () => {
    await using pooler = await startPgBouncer('pool_mode = transaction')
    const connection = parseConnectionUrl('main', pooler.url('not_there'))
    expect(await codeOf(inspectTarget(connection, signal))).toBe('POOLER_DETECTED')
  })

  it.each(['postgres', 'template0', 'template1', '', 'ü'.repeat(32)])(
    'a restore into %j - USAGE_INVALID',
    async (name) => {
      expect(await codeOf(inspectTarget(connectionTo('x', { database: name }), signal))).toBe('USAGE_INVALID')
    },
  )
})

describe('tables beside those of a database', () => {
  it('that belongs to the server - into postgres, which somebody may have made his own; not into a template', async () => {
    const { server, existing: found } = await inspectTarget(connectionTo('postgres'), signal, 'tables')
    expect([server.admin.database, found?.name]).toEqual(['postgres', 'postgres'])
    for (const name of ['template0', 'template1', ''])
      expect(await codeOf(inspectTarget(connectionTo('x', { database: name }), signal, 'tables'))).toBe('USAGE_INVALID')
  })
})

describe('an existing database', () => {
  it('empty - no contents; its properties, comment, tablespace', async () => {
    await using sandbox = await openSandbox()
    await sandbox.sql(`COMMENT ON DATABASE ${sandbox.database} IS 'the shop'`)
    const found = await existing(sandbox.database)
    expect(found).toMatchObject({ contents: [], comment: 'the shop', tablespace: 'pg_default', name: sandbox.database })
    expect(found.properties).toEqual(await readDatabaseProperties(sandbox.client, major))
  })

  it.each([
    ['CREATE TABLE a (); CREATE TABLE b (id serial PRIMARY KEY)', ['2 tables']],
    ['CREATE VIEW v AS SELECT 1; CREATE MATERIALIZED VIEW m AS SELECT 1', ['2 views']],
    ['CREATE SEQUENCE s', ['1 sequence']],
    ['CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $$SELECT 1$$', ['1 function']],
    ["CREATE TYPE e AS ENUM ('x'); CREATE TYPE c AS (x int); CREATE DOMAIN d AS int", ['3 types']],
    ['CREATE SCHEMA app', ['1 schema']],
    ['SELECT lo_create(0), lo_create(0)', ['2 large objects']],
    ['CREATE EXTENSION hstore', ['extension hstore']],
    [
      'CREATE EXTENSION hstore; CREATE EXTENSION citext SCHEMA public; CREATE TABLE t (x hstore)',
      ['extensions citext, hstore', '1 table'],
    ],
    ['CREATE PUBLICATION p', ['1 publication']],
    [
      "CREATE SUBSCRIPTION s CONNECTION 'host=/nonexistent' PUBLICATION p WITH (connect = false, slot_name = NONE)",
      ['1 subscription'],
    ],
    [
      'CREATE FUNCTION f() RETURNS event_trigger LANGUAGE plpgsql AS $$BEGIN END$$; CREATE EVENT TRIGGER t ON ddl_command_end EXECUTE FUNCTION f()',
      ['1 function', '1 event trigger'],
    ],
    [
      'CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w; CREATE FOREIGN TABLE f () SERVER s',
      ['1 foreign table', '1 foreign-data wrapper', '1 foreign server'],
    ],
    ['CREATE CAST (text AS circle) WITH INOUT', ['1 cast']],
    ['CREATE LANGUAGE mine HANDLER plpgsql_call_handler', ['1 language']],
    ['CREATE OPERATOR === (FUNCTION = int4eq, LEFTARG = int, RIGHTARG = int)', ['1 operator']],
    ['CREATE OPERATOR FAMILY f USING btree', ['1 operator family']],
    ['CREATE COLLATION c FROM "C"', ['1 collation']],
    ['CREATE TEXT SEARCH CONFIGURATION t (COPY = english)', ['1 text search configuration']],
    ['ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO public', ['1 default privilege']],
  ])('%s - not empty: %j', async (sql, contents) => {
    await using sandbox = await openSandbox(sql)
    expect((await existing(sandbox.database)).contents).toEqual(contents)
    // What a superuser sees, anybody sees.
    await using login = await openLogin('')
    const seen = (await inspectTarget(login.connectionTo(sandbox.database), signal)).existing
    expect(seen?.contents).toEqual(contents)
    if (sql.includes('SUBSCRIPTION')) await sandbox.sql('DROP SUBSCRIPTION s')
  })

  it('of more than six kinds - five of them, and how many more objects', async () => {
    await using sandbox = await openSandbox(
      'CREATE TABLE t (); CREATE VIEW v AS SELECT 1; CREATE SEQUENCE s; CREATE SEQUENCE s2; CREATE SCHEMA a; CREATE TYPE e AS ENUM (); CREATE PUBLICATION p; SELECT lo_create(0)',
    )
    expect((await existing(sandbox.database)).contents).toEqual([
      ...['1 table', '1 view', '1 large object', '1 schema', '2 sequences'],
      '2 other objects',
    ])
  })

  it('dropped while it is looked at - DATABASE_UNKNOWN', async () => {
    await using target = freshTarget()
    await query(testUrl(), `CREATE DATABASE ${target.name}`)
    await using proxy = await startPostgresProxy(testUrl(), async ({ text, values }) => {
      if (text.includes('"localeProvider"') && values[0] === target.name)
        await query(testUrl(), `DROP DATABASE ${target.name}`)
      return undefined
    })
    const to = connectionTo(target.name, { host: '127.0.0.1', port: proxy.port })
    expect(await codeOf(inspectTarget(to, signal))).toBe('DATABASE_UNKNOWN')
  })

  it('a template, one that lets nobody in, one that this login may not enter - never empty', async () => {
    await using target = freshTarget()
    await query(testUrl(), `CREATE DATABASE ${target.name} IS_TEMPLATE true`)
    expect((await existing(target.name)).contents).toEqual(['what a template database holds'])
    await query(testUrl(), `ALTER DATABASE ${target.name} IS_TEMPLATE false ALLOW_CONNECTIONS false`)
    expect((await existing(target.name)).contents).toEqual(['what nobody may see, since it allows no connections'])
    await query(testUrl(), `ALTER DATABASE ${target.name} ALLOW_CONNECTIONS true`)
    await query(testUrl(), `REVOKE CONNECT ON DATABASE ${target.name} FROM public`)
    await using login = await openLogin('')
    const seen = (await inspectTarget(login.connectionTo(target.name), signal)).existing
    expect(seen).toMatchObject({ contents: ['what this login may not see'], properties: { owner: 'postgres' } })
  })

  it('with sessions - who they are, without our own', async () => {
    await using sandbox = await openSandbox()
    const { sessions } = await existing(sandbox.database)
    expect(sessions.map(({ user, applicationName, client }) => [user, applicationName, client])).toEqual([
      ['postgres', 'application', '127.0.0.1'],
      ['postgres', 'pgproof test', '127.0.0.1'],
    ])
    const text = sessionsText([...sessions, ...sessions, ...sessions])
    expect(text).toMatch(/^postgres \(application\) from 127.0.0.1, process \d+; .*; and 1 more$/)
  })

  it('a name with quotes, spaces, unicode and 63 bytes - found', async () => {
    await using target = freshTarget()
    const name = `${target.name} "é" 'x' \\ ${'ü'.repeat(20)}`
    const full = cutToBytes(`${name}${'x'.repeat(63)}`, 63)
    expect(Buffer.byteLength(full)).toBe(63)
    await query(testUrl(), `CREATE DATABASE ${quoted(full)}`)
    expect((await existing(full)).name).toBe(full)
  })
})

describe('the lock', () => {
  it('two restores into one target - the second is LOCKED until the first has ended; into another one it is not', async () => {
    const server = await serverOf()
    await using target = freshTarget()
    const { name } = target
    {
      await using _first = await lockTarget(server, name, signal)
      expect(await errorOf(lockTarget(server, name, signal))).toMatchObject({
        code: 'LOCKED',
        message: expect.stringContaining(`database "${name}"`),
        details: expect.stringMatching(/^held by process \d+ from 127\.0\.0\.1, connected since 20\S+Z$/),
      })
      await using _other = await lockTarget(server, `${name}2`, signal)
    }
    await eventually(async () => {
      await using _again = await lockTarget(server, name, signal)
      return true
    }).toBe(true)
  })

  it('held by a session of which this login may see no more than its process - LOCKED names that', async () => {
    await using target = freshTarget()
    await using login = await openLogin('')
    await using holder = await connect(connectionTo('postgres'), signal)
    await takeLock(holder.client, `restore into ${target.name}`, 'it')
    const { rows } = await holder.client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')
    const server = await serverOf(login.connectionTo('not_there'))
    expect(await errorOf(lockTarget(server, target.name, signal))).toMatchObject({
      code: 'LOCKED',
      details: `held by process ${rows[0]?.pid}`,
    })
  })

  it('a lock of two numbers that make one of another kind - not taken for it', async () => {
    await using sandbox = await openSandbox()
    await using holder = await connect(sandbox.connection, signal)
    await takeLock(holder.client, 'it', 'it')
    const { rows } = await holder.client.query<{ classId: number; objectId: number }>(
      `SELECT classid::int8::bit(32)::int4 AS "classId", objid::int8::bit(32)::int4 AS "objectId" FROM pg_locks
        WHERE locktype = 'advisory' AND pid = pg_backend_pid()`,
    )
    await using other = await connect(sandbox.connection, signal)
    const [pair = { classId: 0, objectId: 0 }] = rows
    await takeLock(other.client, pair, 'the pair')
    const pid = await other.client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')
    expect(await errorOf(takeLock(holder.client, pair, 'the pair'))).toMatchObject({
      code: 'LOCKED',
      details: expect.stringMatching(new RegExp(`^held by process ${pid.rows[0]?.pid} `)),
    })
  })

  it('an abort after it was taken - still held until the scope ends', async () => {
    const server = await serverOf()
    await using target = freshTarget()
    const { name } = target
    const controller = new AbortController()
    await using _lock = await lockTarget(server, name, controller.signal)
    controller.abort(new Error('stop'))
    await using held = await connect(server.admin, signal)
    await held.client.query('SELECT 1')
    expect(await codeOf(lockTarget(server, name, signal))).toBe('LOCKED')
    expect(await errorOf(lockTarget(server, name, controller.signal))).toMatchObject({ message: 'stop' })
  })
})
