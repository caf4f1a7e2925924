import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Connection } from '../../src/postgres/connect.ts'
import { putInPlace } from '../../src/postgres/put-in-place.ts'
import { testUrl } from '../support/installation.ts'
import { type Befall, type PostgresProxy, startPostgresProxy } from '../support/postgres-proxy.ts'
import { query, startPostgres, type TestServer } from '../support/postgres-server.ts'
import { startTcpProxy } from '../support/tcp-proxy.ts'
import { connectionTo, errorOf, signal } from './sandbox.ts'
import { connectTo, freshTarget, oidOf, openLogin, openSwap, quoted, serverOf, stagingFor } from './target.ts'

/** The same server, by way of a proxy. */
function through<T extends { readonly admin: Connection }>(server: T, proxy: PostgresProxy): T {
  return { ...server, admin: { ...server.admin, host: '127.0.0.1', port: proxy.port } }
}

describe('cut short', () => {
  it('aborted at any moment - either all old and the reason, or all new', async () => {
    await using target = freshTarget()
    const outcomes: string[] = []
    for (const delayMs of [0, 2, 5, 10, 15, 20, 30, 40, 60, 90]) {
      await using it = await openSwap(`${target.name}_${delayMs}`)
      // Somebody stays until ended: there is a wait to be aborted in.
      const session = await connectTo(testUrl(it.swap.database))
      const controller = new AbortController()
      const swapping = putInPlace(it.server, { ...it.swap, disconnect: true }, controller.signal).then(
        () => 'new',
        (error: unknown) => (error as Error).message,
      )
      setTimeout(() => controller.abort(new Error('stop')), delayMs)
      const outcome = await swapping
      outcomes.push(outcome)
      const now = [await oidOf(it.swap.database), await oidOf(it.swap.staging), await oidOf(it.swap.asideAs ?? '')]
      const expected = outcome === 'new' ? [it.newOid, null, it.oldOid] : [it.oldOid, it.newOid, null]
      expect(now, `after ${delayMs} ms: ${outcome}`).toEqual(expected)
      await session.end().catch(() => {})
    }
    expect(outcomes.every((outcome) => outcome === 'new' || outcome === 'stop')).toBe(true)
    expect(outcomes).toContain('stop')
  })

  it('aborted while a session that may not be ended is in the way - at once, not after the wait', async () => {
    await using target = freshTarget()
    await using login = await openLogin('CREATEDB')
    await query(testUrl(), `CREATE DATABASE ${target.name} OWNER ${login.name}`)
    const oid = await oidOf(target.name)
    const server = await serverOf(login.connectionTo(target.name))
    await using staging = await stagingFor(target.name, server)
    const session = await connectTo(testUrl(target.name))
    const controller = new AbortController()
    const swap = {
      staging: staging.name,
      database: target.name,
      asideAs: `${target.name}_aside`,
      dropAside: false,
      comment: null,
    }
    const swapping = errorOf(putInPlace(server, { ...swap, disconnect: true }, controller.signal))
    const isWaiting = async (): Promise<number> =>
      (
        await query(
          testUrl(),
          "SELECT FROM pg_stat_activity WHERE usename = $1 AND state = 'active' AND query LIKE 'ALTER DATABASE%'",
          [login.name],
        )
      ).length
    await expect.poll(isWaiting, { timeout: 15_000, interval: 5 }).toBe(1)
    const abortedMs = performance.now()
    controller.abort(new Error('stop'))
    expect(await swapping).toMatchObject({ message: 'stop' })
    expect(performance.now() - abortedMs).toBeLessThan(4_000)
    expect(await oidOf(target.name)).toBe(oid)
    await session.end()
  })

  it('its backends are killed at any moment - both old names or both new ones, and the answer is that', async () => {
    const own = await startPostgres()
    try {
      const server = await serverOf(connectionTo('shop', { port: own.port }))
      const admin = await connectTo(own.url(), 'killer')
      const names = async (): Promise<Map<string, number>> => {
        const { rows } = await admin.query('SELECT datname AS name, oid::int8::float8 AS oid FROM pg_database')
        return new Map(rows.map(({ name, oid }) => [name, oid]))
      }
      const outcomes = new Set<string>()
      for (let round = 0; round < 20 || !outcomes.has('new'); round += 1) {
        const [database, staging, aside] = [`shop${round}`, `staging${round}`, `aside${round}`]
        await admin.query(`CREATE DATABASE ${database} STRATEGY file_copy`)
        await admin.query(`CREATE DATABASE ${staging} STRATEGY file_copy`)
        const mark = { name: staging, label: 'x', into: database, since: '2026-11-20T02:00:00Z' }
        await admin.query(`COMMENT ON DATABASE ${staging} IS 'pgproof: unfinished restore ${JSON.stringify(mark)}'`)
        const before = await names()
        const swap = { staging, database, asideAs: aside, dropAside: false, comment: null, disconnect: true }
        const swapping = putInPlace(server, swap, signal).then(
          () => 'new',
          () => 'old',
        )
        await new Promise((done) => setTimeout(done, round ** 2 / 5))
        await admin.query(
          "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pgproof restore'",
        )
        const outcome = await swapping
        const after = await names()
        const isNew =
          after.get(database) === before.get(staging) &&
          after.get(aside) === before.get(database) &&
          !after.has(staging)
        const isOld =
          after.get(database) === before.get(database) &&
          after.get(staging) === before.get(staging) &&
          !after.has(aside)
        expect({ isNew, isOld }).toEqual({ isNew: outcome === 'new', isOld: outcome === 'old' })
        outcomes.add(outcome)
      }
      await admin.end()
      expect(outcomes).toContain('old')
    } finally {
      await own.stop()
    }
  })

  it('the connection breaks before COMMIT has reached the server, which is away for a while - found out by the names, nothing renamed', async () => {
    await using target = freshTarget()
    await using it = await openSwap(target.name)
    const { hostname, port } = new URL(testUrl())
    const proxy = await startTcpProxy({ host: hostname, port: Number(port) })
    try {
      let connections = Number.POSITIVE_INFINITY
      proxy.onRequest = (chunk) => {
        if (!chunk.includes('COMMIT')) return
        connections = proxy.connections()
        proxy.setMode('refuse')
      }
      const server = { ...it.server, admin: { ...it.server.admin, port: proxy.port } }
      const swapping = errorOf(putInPlace(server, it.swap, signal))
      await expect.poll(() => proxy.connections() > connections, { timeout: 60_000 }).toBe(true)
      proxy.onRequest = undefined
      proxy.setMode('forward')
      expect(await swapping).toMatchObject({ code: 'TARGET_FAILED' })
      expect([await oidOf(target.name), await oidOf(it.swap.staging)]).toEqual([it.oldOid, it.newOid])
    } finally {
      await proxy.stop()
    }
  })
})

describe('a COMMIT that waits for a standby that there is not', () => {
  let own: TestServer
  beforeAll(async () => {
    own = await startPostgres('max_wal_senders = 2')
  })
  afterAll(() => own?.stop())

  async function setStandbys(names: string): Promise<void> {
    await query(own.url(), `ALTER SYSTEM SET synchronous_standby_names = '${names}'`)
    await query(own.url(), 'SELECT pg_reload_conf()')
    await expect
      .poll(() => query(own.url(), 'SHOW synchronous_standby_names'), { timeout: 15_000 })
      .toEqual([{ synchronous_standby_names: names }])
  }

  it('the connection breaks while it is under way - found out by the names, and said to be done', async () => {
    const server = await serverOf(connectionTo('shop', { port: own.port }))
    await using staging = await stagingFor('shop', server, {}, own.url())
    await setStandbys('nobody')
    const swap = { staging: staging.name, database: 'shop', asideAs: null, dropAside: false, comment: null }
    const swapping = putInPlace(server, { ...swap, disconnect: false }, signal)
    const kill =
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND query = 'COMMIT'"
    await expect.poll(async () => (await query(own.url(), kill)).length, { timeout: 15_000 }).toBe(1)
    expect(await swapping).toEqual({ aside: null })
    expect(await query(own.url('shop'), "SELECT FROM pg_class WHERE relname = 'restored'")).toHaveLength(1)
    await setStandbys('')
  })

  it('its session outlives the connection - nothing is said before that has ended, and then that it is done', async () => {
    const server = await serverOf(connectionTo('second', { port: own.port }))
    await using staging = await stagingFor('second', server, {}, own.url())
    await setStandbys('nobody')
    let questions = 0
    await using proxy = await startPostgresProxy(own.url(), ({ text }) => {
      if (text.startsWith('SELECT FROM pg_catalog.pg_stat_activity WHERE pid =')) questions += 1
      return text === 'COMMIT' ? 'lose the answer' : undefined
    })
    const swap = { staging: staging.name, database: 'second', asideAs: null, dropAside: false, comment: null }
    const patience = { questions: 10_000, betweenMs: 10 }
    const swapping = putInPlace(through(server, proxy), { ...swap, disconnect: false }, signal, patience)
    // With the second question the first one was answered: the session is there.
    await expect.poll(() => questions, { timeout: 15_000, interval: 10 }).toBeGreaterThan(1)
    const databases = "SELECT datname FROM pg_database WHERE datname = 'second'"
    expect(await query(own.url(), databases)).toEqual([])
    await setStandbys('')
    expect(await swapping).toEqual({ aside: null })
    expect(await query(own.url(), databases)).toEqual([{ datname: 'second' }])
  })
})

describe('between two questions', () => {
  it('the server goes away with COMMIT and does not come back - TARGET_FAILED: it is not known which database it is', async () => {
    await using target = freshTarget()
    await using it = await openSwap(target.name)
    await using proxy = await startPostgresProxy(testUrl(), ({ text }) => {
      if (text === 'COMMIT') proxy.setAway(true)
      return undefined
    })
    const patience = { questions: 3, betweenMs: 1 }
    expect(await errorOf(putInPlace(through(it.server, proxy), it.swap, signal, patience))).toMatchObject({
      code: 'TARGET_FAILED',
      message: expect.stringContaining(`it is not known whether "${target.name}" is the restored database`),
    })
    expect([await oidOf(target.name), await oidOf(it.swap.staging)]).toEqual([it.oldOid, it.newOid])
  })

  const inUse = { sqlState: '55006', message: 'database is being accessed by other users' }
  it.each<readonly [string, Befall, string]>([
    [
      'whoever was in the way has gone',
      ({ text }) =>
        /^ALTER DATABASE .* RENAME/.test(text) ? { ...inUse, detail: 'There was 1 other session.' } : undefined,
      'There was 1 other session.',
    ],
    [
      'the server does not say who is in the way',
      ({ text }) => {
        if (text.includes('pg_prepared_xacts')) return 'cut'
        return /^ALTER DATABASE .* RENAME/.test(text) ? inUse : undefined
      },
      'sessions that came and went',
    ],
  ])('the rename is refused, and %s - TARGET_IN_USE all the same, nothing is renamed', async (_, befall, users) => {
    await using target = freshTarget()
    await using it = await openSwap(target.name)
    const sessions = "SELECT FROM pg_stat_activity WHERE datname = ANY ($1) AND backend_type <> 'autovacuum worker'"
    await expect
      .poll(() => query(testUrl(), sessions, [[target.name, it.swap.staging]]), { timeout: 15_000 })
      .toEqual([])
    await using proxy = await startPostgresProxy(testUrl(), befall)
    expect(await errorOf(putInPlace(through(it.server, proxy), it.swap, signal))).toMatchObject({
      code: 'TARGET_IN_USE',
      message: `database "${target.name}" is in use by ${users}`,
    })
    expect([await oidOf(target.name), await oidOf(it.swap.staging)]).toEqual([it.oldOid, it.newOid])
  })

  it('somebody puts another database where the empty old one went - that one is not dropped', async () => {
    await using target = freshTarget()
    await using it = await openSwap(target.name, '')
    const aside = it.swap.asideAs ?? ''
    let looks = 0
    await using proxy = await startPostgresProxy(testUrl(), async ({ text, values }) => {
      if (!text.includes('FROM pg_catalog.pg_database WHERE datname = $1') || values[0] !== aside) return undefined
      looks += 1
      // The first look was whether the name is free.
      if (looks === 2) {
        await query(testUrl(), `ALTER DATABASE ${quoted(aside)} RENAME TO ${quoted(`${target.name}_moved`)}`)
        await query(testUrl(), `CREATE DATABASE ${quoted(aside)} STRATEGY file_copy`)
      }
      return undefined
    })
    expect(await putInPlace(through(it.server, proxy), { ...it.swap, dropAside: true }, signal)).toEqual({ aside })
    expect(await oidOf(target.name)).toBe(it.newOid)
    expect(await oidOf(`${target.name}_moved`)).toBe(it.oldOid)
    expect(await oidOf(aside)).not.toBeNull()
  })
})
