import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { PgproofError } from '../../src/errors.ts'
import { connectTo } from '../postgres/target.ts'
import { type TestInstallation, testDatabase, testInstallation } from '../support/installation.ts'
import { query, startPostgres, type TestServer } from '../support/postgres-server.ts'
import { databasesOf, restoreTo, targetName } from '../support/restoring.ts'

let source: Awaited<ReturnType<typeof testDatabase>>
let test: TestInstallation
let own: TestServer
beforeAll(async () => {
  own = await startPostgres('max_prepared_transactions = 5\nwal_level = logical')
  source = await testDatabase('template1')
  test = await testInstallation()
  await test.run('backup', source.name)
})
afterAll(async () => {
  await test[Symbol.asyncDispose]()
  await source[Symbol.asyncDispose]()
  await own.stop()
})

/** What it ended with; it may have begun nothing unless it succeeds. */
async function tryRestore(url: string, disconnect: boolean): Promise<unknown> {
  const phases: string[] = []
  const onPhase = (phase: string): void => void phases.push(phase)
  try {
    return (await restoreTo(test, url, { mode: 'replace', disconnect, onPhase })).outcome
  } catch (error) {
    expect(phases).toEqual([])
    return error
  }
}

describe('a prepared transaction that nobody ended', () => {
  it.each([false, true])(
    'disconnect %s - TARGET_IN_USE before anything is fetched, with what ends it',
    async (disconnect) => {
      await using target = targetName(own.url())
      await query(own.url(), `CREATE DATABASE ${target.name}`)
      const client = await connectTo(target.url)
      for (const gid of [`order ''7'' ${target.name}`, `${target.name} \\`])
        await client.query(`BEGIN; CREATE TABLE IF NOT EXISTS "${gid}" (); PREPARE TRANSACTION '${gid}'`)
      await client.end()
      try {
        const error = await tryRestore(target.url, disconnect)
        expect(error).toMatchObject({
          code: 'TARGET_IN_USE',
          message: expect.stringContaining(`the prepared transaction 'order ''7'' ${target.name}' and 1 more`),
          hint: expect.stringContaining('ends only by COMMIT PREPARED or ROLLBACK PREPARED'),
        })
        expect(await databasesOf(own.url(), target.name)).toEqual([target.name])
        const lines = (error as PgproofError).details?.split('\n') ?? []
        expect(lines).toHaveLength(2)
        for (const line of lines) {
          const [, commit, rollback = ''] = /^either (COMMIT PREPARED .*) or (ROLLBACK PREPARED .*)$/.exec(line) ?? []
          expect(commit?.replace('COMMIT', 'ROLLBACK')).toBe(rollback)
          await query(target.url, rollback)
        }
        expect(await tryRestore(target.url, disconnect)).toBe('filled')
      } finally {
        const left = 'SELECT database, gid FROM pg_prepared_xacts'
        for (const { database, gid } of await query(own.url(), left))
          await query(own.url(String(database)), `ROLLBACK PREPARED ${pg.escapeLiteral(String(gid))}`)
      }
    },
  )
})

describe('a session that is no client program and stays', () => {
  it('the worker of a subscription, and the sender to it - TARGET_IN_USE names them before anything is fetched; ended with disconnect', async () => {
    await using publisher = targetName(own.url())
    await using subscriber = targetName(own.url())
    for (const { name, url } of [publisher, subscriber]) {
      await query(own.url(), `CREATE DATABASE ${name}`)
      await query(url, 'CREATE TABLE t (v int PRIMARY KEY)')
    }
    const slot = `slot_${publisher.name}`
    await query(publisher.url, 'CREATE PUBLICATION p FOR TABLE t')
    await query(publisher.url, `SELECT pg_create_logical_replication_slot('${slot}', 'pgoutput')`)
    await query(
      subscriber.url,
      `CREATE SUBSCRIPTION s CONNECTION '${publisher.url}' PUBLICATION p WITH (create_slot = false, copy_data = false, slot_name = '${slot}')`,
    )
    try {
      const isSending = `SELECT FROM pg_stat_activity WHERE datname = '${publisher.name}' AND backend_type = 'walsender'`
      await expect.poll(async () => (await query(own.url(), isSending)).length, { timeout: 30_000 }).toBe(1)
      expect(await tryRestore(subscriber.url, false)).toMatchObject({
        code: 'TARGET_IN_USE',
        message: expect.stringMatching(/in use by postgres, logical replication .*worker, process \d+$/),
      })
      expect(await tryRestore(publisher.url, false)).toMatchObject({
        code: 'TARGET_IN_USE',
        message: expect.stringMatching(/in use by postgres \(s.*\), walsender, from 127\.0\.0\.1, process \d+$/),
      })
      expect(await tryRestore(publisher.url, true)).toBe('replaced')
    } finally {
      await query(subscriber.url, 'ALTER SUBSCRIPTION s DISABLE')
      await query(subscriber.url, 'ALTER SUBSCRIPTION s SET (slot_name = NONE)')
      await query(subscriber.url, 'DROP SUBSCRIPTION s')
      const drop = `SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = '${slot}' AND NOT active`
      await expect.poll(async () => (await query(own.url(), drop)).length, { timeout: 30_000 }).toBe(1)
    }
  })
})
