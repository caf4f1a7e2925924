import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { connect, isQueryFailure, parseConnectionUrl } from '../../src/postgres/connect.ts'
import { isTransactionPooled } from '../../src/postgres/facts.ts'
import { holdSnapshot } from '../../src/postgres/snapshot.ts'
import { startPostgresProxy } from '../support/postgres-proxy.ts'
import { query } from '../support/postgres-server.ts'
import { startPgBouncer } from './pgbouncer.ts'
import {
  codeOf,
  contentsOf,
  dumpAndRestore,
  errorOf,
  eventually,
  keepalivesOf,
  openSandbox,
  type Sandbox,
  signal,
} from './sandbox.ts'

let sandbox: Sandbox
beforeAll(async () => {
  sandbox = await openSandbox('CREATE TABLE t AS SELECT generate_series(1, 10) AS a')
})
afterAll(async () => sandbox[Symbol.asyncDispose]())

const options = { lockTimeoutMs: 5_000 }

describe('a pooler in front of the server', () => {
  it.each([
    ['transactions', 'pool_mode = transaction'],
    ['transactions, backends in turn', 'pool_mode = transaction\nserver_round_robin = 1'],
    ['transactions, one backend for all', 'pool_mode = transaction\ndefault_pool_size = 1'],
    ['statements', 'pool_mode = statement'],
  ])('that pools %s - POOLER_DETECTED, nothing is held', async (_, settings) => {
    await using pooler = await startPgBouncer(settings)
    const connection = parseConnectionUrl('main', pooler.url(sandbox.database))
    expect(await codeOf(holdSnapshot(connection, options, signal))).toBe('POOLER_DETECTED')
    await eventually(() => advisoryLocks()).toEqual([])
  })

  it('that pools statements, each of two sessions on a backend that stays - told by its refusal of a transaction', async () => {
    await using pooler = await startPgBouncer('pool_mode = statement')
    // Of each database it has a pool, and hands out the backend that was used last.
    await using first = await connect(parseConnectionUrl('main', pooler.url(sandbox.database)), signal)
    await using second = await connect(parseConnectionUrl('main', pooler.url('postgres')), signal)
    expect(await isTransactionPooled(first.client, second.client)).toBe(true)
  })

  it('that pools transactions, while others keep it busy - POOLER_DETECTED all the same', async () => {
    await using pooler = await startPgBouncer('pool_mode = transaction\ndefault_pool_size = 6')
    const connection = parseConnectionUrl('main', pooler.url(sandbox.database))
    let isOver = false
    const others = Array.from({ length: 4 }, async () => {
      while (!isOver) await query(pooler.url(sandbox.database), 'BEGIN; SELECT count(*) FROM pg_class; COMMIT')
    })
    try {
      for (let count = 0; count < 5; count += 1)
        expect(await codeOf(holdSnapshot(connection, options, signal))).toBe('POOLER_DETECTED')
    } finally {
      isOver = true
      await Promise.all(others)
    }
  })

  it('that pools sessions - accepted: a snapshot is held, dumped and restored through it', async () => {
    await using pooler = await startPgBouncer('pool_mode = session')
    await using copy = await openSandbox()
    const connection = parseConnectionUrl('main', pooler.url(sandbox.database))
    await dumpAndRestore(connection, copy.connection)
    expect(await contentsOf(copy.client)).toEqual(await contentsOf(sandbox.client))
    await using held = await connect(connection, signal)
    expect(await keepalivesOf(held.client)).toEqual({ idle: '60', interval: '20', count: '6' })
  })

  it('that pools sessions, and breaks a connection while it is asked - the failure as it is, not taken for another pooling', async () => {
    await using pooler = await startPgBouncer('pool_mode = session')
    await using proxy = await startPostgresProxy(pooler.url('postgres'), ({ text }) =>
      text === 'BEGIN' ? 'cut' : undefined,
    )
    const connection = parseConnectionUrl('main', pooler.url('postgres'))
    await using first = await connect(connection, signal)
    await using second = await connect({ ...connection, port: proxy.port }, signal)
    const failure = await errorOf(isTransactionPooled(first.client, second.client))
    expect(isQueryFailure(failure)).toBe(true)
  })

  it('that pools sessions, and an abort - the query behind it is cancelled, though the process ids it tells are made up', async () => {
    await using pooler = await startPgBouncer('pool_mode = session')
    const controller = new AbortController()
    const connection = parseConnectionUrl('main', pooler.url(sandbox.database))
    await using held = await connect(connection, controller.signal, 'pgproof pooled')
    const running = errorOf(held.client.query('SELECT pg_sleep(60)'))
    const active = async (): Promise<number> =>
      (await sandbox.sql("SELECT FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'SELECT pg_sleep%'"))
        .length
    await eventually(active).toBe(1)
    controller.abort()
    await running
    await eventually(active).toBe(0)
  })
})

async function advisoryLocks(): Promise<Record<string, unknown>[]> {
  return await sandbox.sql(
    "SELECT objid FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
  )
}
