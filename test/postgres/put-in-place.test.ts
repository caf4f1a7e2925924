import { execFileSync } from 'node:child_process'
import { describe, expect, it } from 'vitest'
import { asideName, assertMayRename, putInPlace, undoStatements } from '../../src/postgres/put-in-place.ts'
import { dropUnfinished } from '../../src/postgres/staging-database.ts'
import { cutToBytes, inspectTarget } from '../../src/postgres/target-database.ts'
import { testUrl } from '../support/installation.ts'
import { query, startPostgres } from '../support/postgres-server.ts'
import { startTcpProxy } from '../support/tcp-proxy.ts'
import { codeOf, connectionTo, errorOf, signal } from './sandbox.ts'
import {
  connectTo,
  databasesLike,
  freshTarget,
  oidOf,
  openLogin,
  openSwap,
  quoted,
  serverOf,
  stagingFor,
} from './target.ts'

/** Opens one session after the other, as a pool does, until told to end; what each reached or why not. */
function reconnectInALoop(url: string): {
  stop(): Promise<{ reached: string[]; failed: string[]; longestMs: number }>
} {
  const seen = { reached: [] as string[], failed: [] as string[], longestMs: 0, isDone: false }
  const run = async (): Promise<void> => {
    let lastMs = performance.now()
    while (!seen.isDone) {
      try {
        const client = await connectTo(url)
        const { rows } = await client.query("SELECT relname AS name FROM pg_class WHERE relname IN ('old', 'restored')")
        seen.reached.push(String(rows[0]?.name))
        seen.longestMs = Math.max(seen.longestMs, performance.now() - lastMs)
        lastMs = performance.now()
        // Held until somebody ends it, or for a moment.
        await Promise.race([
          new Promise((done) => setTimeout(done, 100)),
          new Promise((done) => client.on('error', done)),
        ])
        await client.end().catch(() => {})
      } catch (error) {
        seen.failed.push((error as { code?: string }).code ?? String(error))
      }
    }
  }
  const running = run()
  return {
    stop: async () => {
      seen.isDone = true
      await running
      return seen
    },
  }
}

describe('the names', () => {
  it('the old one by its time, cut in whole characters', () => {
    const now = new Date('2026-11-21T07:01:02.345Z')
    expect(asideName('shop', now)).toBe('shop_before_20261121t070102z')
    const long = asideName('ü'.repeat(31), now)
    expect(long).toBe(`${'ü'.repeat(19)}_before_20261121t070102z`)
    expect(Buffer.byteLength(long)).toBeLessThanOrEqual(63)
  })
})

describe('the swap', () => {
  it('nothing there before - renamed, with the comment and without the mark', async () => {
    await using target = freshTarget()
    const server = await serverOf()
    await using staging = await stagingFor(target.name, server)
    const newOid = await oidOf(staging.name)
    const comment = "it's \\ the shop"
    const swap = { asideAs: null, dropAside: false, comment, disconnect: false }
    const put = await putInPlace(server, { staging: staging.name, database: target.name, ...swap }, signal)
    expect(put).toEqual({ aside: null })
    expect(await databasesLike(target.name)).toEqual([target.name])
    expect(await oidOf(target.name)).toBe(newOid)
    expect((await inspectTarget(connectionTo(target.name), signal)).existing?.comment).toBe(comment)
    await staging[Symbol.asyncDispose]()
    expect(await oidOf(target.name)).toBe(newOid)
  })

  it.each(['', ` "é" 'x' \\`, 'ü'.repeat(23)])(
    'over one whose name ends in %j - that one aside, and back by the printed statements',
    async (ending) => {
      await using target = freshTarget()
      const database = cutToBytes(`${target.name}${ending}`, 63)
      await using it = await openSwap(database)
      await query(testUrl(), `COMMENT ON DATABASE ${quoted(database)} IS 'the old one'`)
      const { aside } = await putInPlace(it.server, it.swap, signal)
      expect(aside).toBe(it.swap.asideAs)
      expect([await oidOf(database), await oidOf(aside ?? '')]).toEqual([it.newOid, it.oldOid])
      expect((await inspectTarget(connectionTo(aside ?? ''), signal)).existing?.comment).toBe('the old one')
      const now = it.swap.staging
      await query(testUrl(), undoStatements({ database, aside: aside ?? '', now }).join('\n'))
      expect([await oidOf(database), await oidOf(now)]).toEqual([it.oldOid, it.newOid])
      // It has lost its mark: nobody drops it any more.
      expect(await codeOf(dropUnfinished(it.server, now, signal))).toBe('TARGET_FAILED')
    },
  )

  it('the name aside is taken - another one, said', async () => {
    await using target = freshTarget()
    await using it = await openSwap(target.name)
    await query(testUrl(), `CREATE DATABASE ${quoted(it.swap.asideAs ?? '')}`)
    expect(await putInPlace(it.server, it.swap, signal)).toEqual({ aside: `${it.swap.asideAs}_2` })
    expect(await oidOf(`${it.swap.asideAs}_2`)).toBe(it.oldOid)
  })

  it('built under its own name - it only gets its comment', async () => {
    await using target = freshTarget()
    const server = await serverOf()
    await using staging = await stagingFor(target.name, server, { name: target.name })
    const swap = { staging: target.name, database: target.name, asideAs: null, dropAside: false, comment: null }
    expect(await putInPlace(server, { ...swap, disconnect: false }, signal)).toEqual({ aside: null })
    await staging[Symbol.asyncDispose]()
    expect(await databasesLike(target.name)).toEqual([target.name])
  })

  it('the old one was empty - dropped afterwards; filled meanwhile - it stays aside', async () => {
    await using target = freshTarget()
    const put = async (ending: string, setUp: string): Promise<unknown> => {
      await using it = await openSwap(`${target.name}${ending}`, setUp)
      const { aside } = await putInPlace(it.server, { ...it.swap, dropAside: true }, signal)
      return { isAside: aside !== null, isThere: (await oidOf(it.swap.asideAs ?? '')) !== null }
    }
    expect(await put('a', '')).toEqual({ isAside: false, isThere: false })
    expect(await put('b', 'CREATE TABLE old ()')).toEqual({ isAside: true, isThere: true })
  })

  it('the old one was empty, but is a template, which nobody can drop - it stays aside', async () => {
    await using target = freshTarget()
    await using it = await openSwap(target.name, '')
    await query(testUrl(), `ALTER DATABASE ${target.name} IS_TEMPLATE true`)
    expect(await putInPlace(it.server, { ...it.swap, dropAside: true }, signal)).toEqual({ aside: it.swap.asideAs })
    expect([await oidOf(target.name), await oidOf(it.swap.asideAs ?? '')]).toEqual([it.newOid, it.oldOid])
    await query(testUrl(), `ALTER DATABASE ${it.swap.asideAs} IS_TEMPLATE false`)
  })

  it('somebody takes the name aside while the old one is in use - TARGET_EXISTS says which name, nothing renamed', async () => {
    await using target = freshTarget()
    await using it = await openSwap(target.name)
    const aside = it.swap.asideAs ?? ''
    const session = await connectTo(testUrl(target.name))
    const { hostname, port } = new URL(testUrl())
    const proxy = await startTcpProxy({ host: hostname, port: Number(port) })
    try {
      // When it asks who is in the old one, the name aside has been decided on.
      proxy.onRequest = (chunk) => {
        if (!chunk.includes('pg_stat_activity')) return
        proxy.onRequest = undefined
        const leave = `SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE datname = '${target.name}'`
        execFileSync('psql', [testUrl(), '-qAtc', `CREATE DATABASE ${aside}`, '-c', leave])
      }
      const server = { ...it.server, admin: { ...it.server.admin, port: proxy.port } }
      const error = await errorOf(putInPlace(server, it.swap, signal))
      expect(error).toMatchObject({
        code: 'TARGET_EXISTS',
        message: expect.stringContaining(`database "${aside}" exists already`),
      })
      expect([await oidOf(target.name), await oidOf(it.swap.staging)]).toEqual([it.oldOid, it.newOid])
    } finally {
      await proxy.stop()
      await session.end().catch(() => {})
    }
  })

  it('this login has lost the right to rename since the restore began - TARGET_LACKS, nothing renamed', async () => {
    await using target = freshTarget()
    await using login = await openLogin('CREATEDB')
    const server = await serverOf(login.connectionTo(target.name))
    await using staging = await stagingFor(target.name, server)
    await query(testUrl(), `ALTER ROLE ${login.name} NOCREATEDB`)
    const swap = { asideAs: null, dropAside: false, comment: null, disconnect: false }
    const putting = putInPlace(server, { staging: staging.name, database: target.name, ...swap }, signal)
    expect(await errorOf(putting)).toMatchObject({
      code: 'TARGET_LACKS',
      message: expect.stringContaining(`the right to rename databases (role "${login.name}"): permission denied`),
    })
    expect(await databasesLike(target.name)).toEqual([staging.name])
  })

  it('a staging database without the mark, of another target, or gone - TARGET_FAILED, nothing renamed', async () => {
    await using target = freshTarget()
    await using it = await openSwap(target.name)
    await query(testUrl(), `CREATE DATABASE ${target.name}_foreign`)
    const before = await databasesLike(target.name)
    for (const over of [{ staging: `${target.name}_foreign` }, { staging: 'gone' }, { database: 'shop_template' }])
      expect(await codeOf(putInPlace(it.server, { ...it.swap, ...over }, signal))).toBe('TARGET_FAILED')
    expect(await databasesLike(target.name)).toEqual(before)
  })

  it('a database has come that was not told of - TARGET_EXISTS, and it stays', async () => {
    await using target = freshTarget()
    await using it = await openSwap(target.name)
    expect(await codeOf(putInPlace(it.server, { ...it.swap, asideAs: null }, signal))).toBe('TARGET_EXISTS')
    expect([await oidOf(target.name), await oidOf(it.swap.staging)]).toEqual([it.oldOid, it.newOid])
  })
})

describe('in use', () => {
  it('without disconnect - TARGET_IN_USE that says by whom; they work on undisturbed', async () => {
    await using target = freshTarget()
    await using it = await openSwap(target.name)
    const session = await connectTo(testUrl(target.name), 'till 7')
    const swapping = errorOf(putInPlace(it.server, it.swap, signal))
    // Nobody has to wait for a lock meanwhile.
    const [other] = await query(testUrl(target.name), 'SELECT 1 AS one')
    expect(other).toEqual({ one: 1 })
    expect(await swapping).toMatchObject({
      code: 'TARGET_IN_USE',
      message: expect.stringMatching(/postgres \(till 7\) from 127.0.0.1, process \d+$/),
    })
    await session.query('SELECT FROM old')
    await session.end()
    expect([await oidOf(target.name), await oidOf(it.swap.staging)]).toEqual([it.oldOid, it.newOid])
    // As soon as they have left it succeeds.
    expect((await putInPlace(it.server, it.swap, signal)).aside).toBe(it.swap.asideAs)
  })

  it('with disconnect while clients reconnect in a loop - each reaches the old or the new one, and none neither for long', async () => {
    await using target = freshTarget()
    await using it = await openSwap(target.name)
    const clients = Array.from({ length: 4 }, () => reconnectInALoop(testUrl(target.name)))
    const transaction = await connectTo(testUrl(target.name))
    await transaction.query('BEGIN; LOCK TABLE old')
    await putInPlace(it.server, { ...it.swap, disconnect: true }, signal)
    const seen = await Promise.all(
      clients.map(async (client) => {
        await expect
          .poll(async () => (await query(testUrl(target.name), 'SELECT count(*)::int AS n FROM restored'))[0], {
            timeout: 15_000,
          })
          .toEqual({ n: 0 })
        return await client.stop()
      }),
    )
    expect([await oidOf(target.name), await oidOf(it.swap.asideAs ?? '')]).toEqual([it.newOid, it.oldOid])
    for (const { reached, failed, longestMs } of seen) {
      // All the old one first, then all the new one.
      expect(reached.join(' ')).toMatch(/^(?:old ?)*(?:restored ?)*$/)
      expect(
        failed.filter((code) => !['3D000', '57P01'].includes(code) && !/terminated|ECONNRESET/.test(code)),
      ).toEqual([])
      expect(longestMs).toBeLessThan(8_000)
    }
  })

  it('by sessions that this login may not end - TARGET_IN_USE, nothing changed', async () => {
    await using target = freshTarget()
    await using login = await openLogin('CREATEDB')
    await query(testUrl(), `CREATE DATABASE ${target.name} OWNER ${login.name}`)
    const oid = await oidOf(target.name)
    const server = await serverOf(login.connectionTo(target.name))
    await using staging = await stagingFor(target.name, server)
    const session = await connectTo(testUrl(target.name), 'superuser')
    const swap = {
      staging: staging.name,
      database: target.name,
      asideAs: `${target.name}_aside`,
      dropAside: false,
      comment: null,
    }
    expect(await errorOf(putInPlace(server, { ...swap, disconnect: true }, signal))).toMatchObject({
      code: 'TARGET_IN_USE',
      message: expect.stringContaining('superuser'),
    })
    expect(await oidOf(target.name)).toBe(oid)
    await session.end()
    expect(await putInPlace(server, { ...swap, disconnect: true }, signal)).toEqual({ aside: `${target.name}_aside` })
  })

  it('the staging database by a monitoring tool - that is ended', async () => {
    await using target = freshTarget()
    await using it = await openSwap(target.name)
    await connectTo(testUrl(it.swap.staging), 'exporter')
    expect((await putInPlace(it.server, it.swap, signal)).aside).toBe(it.swap.asideAs)
  })

  it('by a prepared transaction - TARGET_IN_USE that names it, also with disconnect', async () => {
    const own = await startPostgres('max_prepared_transactions = 2')
    try {
      await query(own.url(), 'CREATE DATABASE shop')
      const client = await connectTo(own.url('shop'))
      await client.query("BEGIN; CREATE TABLE t (); PREPARE TRANSACTION 'order ''7'''")
      await client.end()
      const server = await serverOf(connectionTo('shop', { port: own.port }))
      await query(own.url(), 'CREATE DATABASE staging')
      const mark = { name: 'staging', label: 'x', into: 'shop', since: '2026-11-20T02:00:00Z' }
      await query(own.url(), `COMMENT ON DATABASE staging IS 'pgproof: unfinished restore ${JSON.stringify(mark)}'`)
      const swap = { staging: 'staging', database: 'shop', asideAs: 'aside', dropAside: false, comment: null }
      expect(await errorOf(putInPlace(server, { ...swap, disconnect: true }, signal))).toMatchObject({
        code: 'TARGET_IN_USE',
        message: expect.stringContaining("the prepared transaction 'order ''7'''"),
      })
    } finally {
      await own.stop()
    }
  })

  it('by a transaction that alters the database - TARGET_IN_USE after ten seconds, nothing changed', async () => {
    await using target = freshTarget()
    await using it = await openSwap(target.name)
    const session = await connectTo(testUrl())
    await session.query(`BEGIN; ALTER DATABASE ${target.name} CONNECTION LIMIT 50`)
    const error = await errorOf(putInPlace(it.server, it.swap, signal))
    await session.query('ROLLBACK')
    await session.end()
    expect(error).toMatchObject({ code: 'TARGET_IN_USE', message: expect.stringContaining('holds a lock on it') })
    expect([await oidOf(target.name), await oidOf(it.swap.staging)]).toEqual([it.oldOid, it.newOid])
  })
})

describe('the right to rename', () => {
  it('a superuser, the owner with CREATEDB - yes; neither owner nor CREATEDB - TARGET_LACKS with the statement', async () => {
    await using target = freshTarget()
    await using login = await openLogin('CREATEDB')
    await query(testUrl(), `CREATE DATABASE ${target.name}`)
    const ask = async (connection: ReturnType<typeof connectionTo>): Promise<string> => {
      const { server, existing } = await inspectTarget(connection, signal)
      if (existing === null) throw new Error('it is not there')
      return await assertMayRename(server, existing, signal).then(
        () => 'yes',
        (error: unknown) => `${(error as { code: string }).code} ${(error as { hint: string }).hint}`,
      )
    }
    expect(await ask(connectionTo(target.name))).toBe('yes')
    expect(await ask(login.connectionTo(target.name))).toMatch(/^TARGET_LACKS .*GRANT "postgres" TO "login_\w+"/)
    await query(testUrl(), `ALTER DATABASE ${target.name} OWNER TO ${login.name}`)
    expect(await ask(login.connectionTo(target.name))).toBe('yes')
    await query(testUrl(), `ALTER ROLE ${login.name} NOCREATEDB`)
    expect(await ask(login.connectionTo(target.name))).toMatch(/^TARGET_LACKS .*CREATEDB/)
  })
})
