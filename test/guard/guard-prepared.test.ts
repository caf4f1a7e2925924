import { expect, it } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { runGuard } from '../../src/guard/guard.ts'
import { watchSessions } from '../../src/guard/watch-sessions.ts'
import { connectionTo, serverNamed } from '../../src/jobs/installation.ts'
import { parseConnectionUrl } from '../../src/postgres/connect.ts'
import { testInstallation, testUrl } from '../support/installation.ts'
import { query, startPostgres } from '../support/postgres-server.ts'
import { storeSetOf } from '../support/store-sets.ts'

const { signal } = new AbortController()

it('the command leaves a prepared transaction and fails - not restored, its name said, what it holds is kept', async () => {
  const own = await startPostgres('max_prepared_transactions = 2')
  try {
    await query(own.url(), 'CREATE DATABASE shop')
    await using test = await testInstallation({ PGPROOF_SERVERS__0__URL: own.url() })
    const { installation } = test
    await installation.catalog.refresh(storeSetOf(test.store), signal)
    const prepare = "BEGIN; CREATE TABLE precious AS SELECT 1 AS v; PREPARE TRANSACTION 'order 7'"
    const result = await runGuard(
      {
        server: 'main',
        database: 'shop',
        command: 'psql',
        args: ['--quiet', own.url('shop'), '-c', prepare, '-c', 'SELECT nothing'],
        env: { ...process.env, PGOPTIONS: '-c client_min_messages=error' },
        restoreAs: connectionTo(serverNamed(installation.config, 'main'), 'shop'),
      },
      {
        ...installation,
        follow: () => ({ [Symbol.dispose]: () => {} }),
        onEnd: () => {},
        restoring: () => ({ onProgress: () => {}, [Symbol.dispose]: () => {} }),
      },
      signal,
    )
    expect(result.end.exitCode).toBe(1)
    expect(result.restored).toBeNull()
    expect(result.error).toMatchObject({
      code: 'GUARD_REFUSED',
      exitCode: 3,
      message: expect.stringContaining('1 prepared transaction may still commit'),
      details: expect.stringContaining('prepared transaction order 7'),
    })
    await query(own.url('shop'), "COMMIT PREPARED 'order 7'")
    expect(await query(own.url('shop'), 'SELECT v FROM precious')).toEqual([{ v: 1 }])
  } finally {
    await own.stop()
  }
})

it('the database is gone before the watch over it begins - said, and none of its sessions is left', async () => {
  const admin = parseConnectionUrl('main', testUrl())
  const watching = watchSessions({ admin, database: 'never_there', backupUser: null, tag: 'x' }, systemClock, signal)
  await expect(watching).rejects.toThrow('database never_there is not there any more')
  const left = "SELECT FROM pg_stat_activity WHERE application_name = 'pgproof guard never_there'"
  await expect.poll(() => query(testUrl(), left), { timeout: 30_000 }).toEqual([])
})
