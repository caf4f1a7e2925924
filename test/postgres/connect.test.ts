import { once } from 'node:events'
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { PgproofError } from '../../src/errors.ts'
import { type Connection, connect, parseConnectionUrl } from '../../src/postgres/connect.ts'
import { testUrl } from '../support/installation.ts'
import { startPostgresProxy } from '../support/postgres-proxy.ts'
import { freePort, query } from '../support/postgres-server.ts'
import {
  codeOf,
  connectionTo,
  errorOf,
  eventually,
  keepalivesOf,
  openSandbox,
  type Sandbox,
  signal,
} from './sandbox.ts'

let sandbox: Sandbox
const role = `login_${Math.random().toString(36).slice(2)}`
const password = 'p:a\\s"s\'w o%r@d/ ü'
beforeAll(async () => {
  sandbox = await openSandbox(`CREATE ROLE ${role} LOGIN PASSWORD '${password.replaceAll("'", "''")}'`)
})
afterAll(async () => {
  await sandbox[Symbol.asyncDispose]()
  await query(testUrl(), `DROP ROLE ${role}`)
})

const login = (over: Partial<Connection> = {}): Connection => ({
  ...sandbox.connection,
  user: role,
  password: () => password,
  ...over,
})

describe('a connection that cannot be made', () => {
  it.each<[string, string, Partial<Connection>, RegExp]>([
    [
      'wrong password',
      'AUTHENTICATION_FAILED',
      { password: () => 'wrong' },
      /server "main" refused the login: password authentication failed/,
    ],
    [
      'no password where one is asked for',
      'AUTHENTICATION_FAILED',
      { password: undefined },
      /asks for a password and none is configured/,
    ],
    ['unknown role', 'AUTHENTICATION_FAILED', { user: 'nobody_there' }, /refused the login/],
    [
      'unknown database',
      'DATABASE_UNKNOWN',
      { database: 'nowhere' },
      /database "nowhere" does not exist on server "main"/,
    ],
    ['nobody listens', 'SERVER_UNREACHABLE', { port: 1 }, /ECONNREFUSED/],
    ['no such host', 'SERVER_UNREACHABLE', { host: 'nowhere.invalid' }, /ENOTFOUND|EAI_AGAIN/],
    ['no such socket', 'SERVER_UNREACHABLE', { host: '/nonexistent' }, /ENOENT/],
  ])('%s - %s', async (_, code, over, message) => {
    const error = await errorOf(connect(login(over), signal))
    expect(error).toMatchObject({ code, message: expect.stringMatching(message) })
    expect(JSON.stringify(error)).not.toContain('p:a')
  })

  it('no right to connect to the database - AUTHENTICATION_FAILED', async () => {
    await using closed = await openSandbox()
    await closed.sql(`REVOKE CONNECT ON DATABASE ${closed.database} FROM PUBLIC`)
    const error = await errorOf(connect(login({ database: closed.database }), signal))
    expect(error).toMatchObject({
      code: 'AUTHENTICATION_FAILED',
      message: expect.stringContaining('permission denied for database'),
    })
  })

  it('its password cannot be had - that error, not one of the server', async () => {
    const error = new PgproofError('CONFIG_INVALID', { count: '1 fault' })
    const password = (): string => {
      throw error
    }
    expect(await errorOf(connect(login({ password }), signal))).toBe(error)
  })

  it('no free slot - SERVER_UNREACHABLE, worth another try', async () => {
    await sandbox.sql(`ALTER ROLE ${role} CONNECTION LIMIT 1`)
    {
      await using _only = await connect(login(), signal)
      const error = await errorOf(connect(login(), signal))
      expect(error).toMatchObject({
        code: 'SERVER_UNREACHABLE',
        isRetryable: true,
        message: expect.stringContaining('too many connections'),
      })
    }
    await sandbox.sql(`ALTER ROLE ${role} CONNECTION LIMIT -1`)
  })

  it('something answers that is no PostgreSQL, or hangs up - SERVER_UNREACHABLE', async () => {
    for (const answer of ['HTTP/1.1 400 Bad Request\r\n\r\n', '']) {
      const server = createServer((socket) => void socket.on('error', () => {}).end(answer)).listen(0, '127.0.0.1')
      await once(server, 'listening')
      const { port } = server.address() as { port: number }
      for (const mode of ['prefer', 'disable', 'require'] as const)
        expect(await codeOf(connect(login({ port, tls: { mode } }), signal))).toBe('SERVER_UNREACHABLE')
      server.close()
    }
  })
})

describe('an abort', () => {
  it('before - the reason, and no connection is tried', async () => {
    const reason = new Error('stop')
    expect(await errorOf(connect(login({ port: 1 }), AbortSignal.abort(reason)))).toBe(reason)
  })

  it('while a server says nothing - the reason, at once', async () => {
    const server = createServer((socket) => void socket.on('error', () => {})).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as { port: number }
    for (const mode of ['prefer', 'disable'] as const) {
      const controller = new AbortController()
      const connecting = errorOf(connect(login({ port, tls: { mode } }), controller.signal))
      await once(server, 'connection')
      const start = performance.now()
      controller.abort(new Error('stop'))
      expect(await connecting).toMatchObject({ message: 'stop' })
      expect(performance.now() - start).toBeLessThan(1_000)
    }
    server.close()
  })

  it('while a query runs - it is cancelled on the server, and a later one is, too', async () => {
    const controller = new AbortController()
    await using held = await connect(sandbox.connection, controller.signal, 'pgproof aborted')
    const first = errorOf(held.client.query('SELECT pg_sleep(60)'))
    await eventually(() => activeIn('pgproof aborted')).toBe(1)
    controller.abort()
    expect(await first).toMatchObject({ code: '57014' })
    // Whoever was between two queries when the abort came would run on.
    expect(await errorOf(held.client.query('SELECT pg_sleep(60)'))).toMatchObject({ code: '57014' })
  })

  it('of an idle connection - it stays usable for whoever cleans up, until its scope ends', async () => {
    const controller = new AbortController()
    await using held = await connect(sandbox.connection, controller.signal)
    controller.abort()
    expect((await held.client.query('SELECT 1 AS a')).rows).toEqual([{ a: 1 }])
  })
})

describe('the end of the scope', () => {
  it('while a query still runs - its backend does not go on with it', async () => {
    const held = await connect(sandbox.connection, signal, 'pgproof left')
    const running = errorOf(held.client.query('SELECT pg_sleep(60)'))
    await eventually(() => activeIn('pgproof left')).toBe(1)
    await held[Symbol.asyncDispose]()
    await running
    await eventually(() => sessionsOf('pgproof left')).toBe(0)
  })

  it('while one query follows another, at one moment after another - no backend goes on', async () => {
    for (let moment = 0; moment < 80; moment += 1) {
      const held = await connect(sandbox.connection, signal, 'pgproof between')
      const first = held.client.query(`SELECT pg_sleep(${0.002 + moment * 0.0004})`)
      const both = errorOf(first.then(() => held.client.query('SELECT pg_sleep(60)')))
      await held[Symbol.asyncDispose]()
      await both
    }
    await eventually(() => sessionsOf('pgproof between')).toBe(0)
  })

  it('twice, or after the server has ended the connection - no error', async () => {
    const held = await connect(sandbox.connection, signal, 'pgproof ended')
    await sandbox.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pgproof ended'")
    expect(await codeOf(held.lost)).toBe('SERVER_UNREACHABLE')
    await held[Symbol.asyncDispose]()
    await held[Symbol.asyncDispose]()
  })
})

describe('how a connection is described', () => {
  it('a URL with everything escaped - taken apart', async () => {
    const url = `postgres://${role}:${encodeURIComponent(password)}@${new URL(testUrl()).host}/${encodeURIComponent('a/b ?#%')}?sslmode=require&sslrootcert=%2Fa%20b`
    const connection = parseConnectionUrl('main', url)
    expect(connection).toMatchObject({
      user: role,
      database: 'a/b ?#%',
      host: '127.0.0.1',
      tls: { mode: 'require', rootCertFile: '/a b' },
    })
    expect(connection.password?.()).toBe(password)
    await using _held = await connect({ ...connection, database: sandbox.database, tls: { mode: 'disable' } }, signal)
  })

  it('a socket folder, an IPv6 address, and what is left out', () => {
    expect(parseConnectionUrl('s', 'postgres://u@%2Frun%2Fpostgresql/d')).toMatchObject({
      host: '/run/postgresql',
      port: 5432,
      database: 'd',
    })
    expect(parseConnectionUrl('s', 'postgresql://u@[::1]:6000')).toMatchObject({
      host: '::1',
      port: 6000,
      database: 'postgres',
      tls: { mode: 'prefer' },
    })
  })

  it('the password comes from a file (PGPASSFILE) or the environment where none is configured', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'pgproof-test-pass-'))
    const saved = { PGPASSFILE: process.env['PGPASSFILE'], PGPASSWORD: process.env['PGPASSWORD'] }
    try {
      const file = join(folder, 'pgpass')
      await writeFile(file, `*:*:*:${role}:${password.replaceAll(/[\\:]/g, '\\$&')}\n`, { mode: 0o600 })
      process.env['PGPASSFILE'] = file
      await (await connect(login({ password: undefined }), signal))[Symbol.asyncDispose]()
      await chmod(file, 0o644)
      const passedOver = expect.stringContaining(`${file} is passed over because others may read it (chmod 600)`)
      expect(await errorOf(connect(login({ password: undefined }), signal))).toMatchObject({ message: passedOver })
      delete process.env['PGPASSFILE']
      process.env['PGPASSWORD'] = password
      await (await connect(login({ password: undefined }), signal))[Symbol.asyncDispose]()
    } finally {
      for (const [name, value] of Object.entries(saved))
        if (value === undefined) delete process.env[name]
        else process.env[name] = value
      await rm(folder, { recursive: true })
    }
  })

  it('a session has no time-outs, whatever the role was given', async () => {
    const names = ['statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout', 'idle_session_timeout']
    for (const name of names) await sandbox.sql(`ALTER ROLE ${role} SET ${name} = '1h'`)
    await using held = await connect(login(), signal)
    for (const name of names) expect((await held.client.query(`SHOW ${name}`)).rows).toEqual([{ [name]: '0' }])
    await sandbox.sql(`ALTER ROLE ${role} RESET ALL`)
  })

  it('a session of a host that is lost - the server asks for a sign of life after half a minute, whatever the role was given', async () => {
    await sandbox.sql(`ALTER ROLE ${role} SET tcp_keepalives_idle = 7200`)
    await using held = await connect(login(), signal)
    expect(await keepalivesOf(held.client)).toEqual({ idle: '60', interval: '20', count: '6' })
    await sandbox.sql(`ALTER ROLE ${role} RESET ALL`)
  })

  it('a time-out of the role that is shorter than a busy server takes for any statement - connected all the same', async () => {
    await sandbox.sql(`ALTER ROLE ${role} SET statement_timeout = '1ms'`)
    for (let round = 0; round < 20; round += 1)
      await Promise.all(
        Array.from({ length: 25 }, async () => {
          await using held = await connect(login(), signal)
          expect((await held.client.query('SHOW statement_timeout')).rows).toEqual([{ statement_timeout: '0' }])
        }),
      )
    await sandbox.sql(`ALTER ROLE ${role} RESET ALL`)
  })

  it('sessions of the role may be idle for less than the first query takes, twice - the third one, which lifts that', async () => {
    await sandbox.sql(`ALTER ROLE ${role} SET idle_session_timeout = '50ms'`)
    let held = 0
    await using proxy = await startPostgresProxy(testUrl(), async ({ text }) => {
      if (!text.startsWith('SET statement_timeout') || held === 2) return undefined
      held += 1
      await eventually(() => sessionsOf(`slow ${role}`)).toBe(0)
      return undefined
    })
    const through = login({ host: '127.0.0.1', port: proxy.port })
    await using session = await connect(through, signal, `slow ${role}`)
    expect((await session.client.query('SHOW idle_session_timeout')).rows).toEqual([{ idle_session_timeout: '0' }])
    expect(held).toBe(2)
    await sandbox.sql(`ALTER ROLE ${role} RESET ALL`)
  })

  it('a port that nobody listens on - refused at once, not after the time-out', async () => {
    const start = performance.now()
    expect(await codeOf(connect(connectionTo('postgres', { port: await freePort() }), signal))).toBe(
      'SERVER_UNREACHABLE',
    )
    expect(performance.now() - start).toBeLessThan(2_000)
  })
})

async function activeIn(application: string): Promise<number> {
  return (
    await sandbox.sql(`SELECT FROM pg_stat_activity WHERE application_name = '${application}' AND state = 'active'`)
  ).length
}

async function sessionsOf(application: string): Promise<number> {
  return (await sandbox.sql(`SELECT FROM pg_stat_activity WHERE application_name = '${application}'`)).length
}
