import { execFileSync } from 'node:child_process'
import { expect, it } from 'vitest'
import type { RestorePhase } from '../../src/domain/restore-result.ts'
import { type GuardResult, runGuard } from '../../src/guard/guard.ts'
import { connectionTo, serverNamed } from '../../src/jobs/installation.ts'
import { testDatabase, testInstallation, testUrl } from '../support/installation.ts'
import { query } from '../support/postgres-server.ts'
import { storeSetOf } from '../support/store-sets.ts'
import { untilSeen } from './until-seen.ts'

const { signal } = new AbortController()

/** A command that runs `statements` and fails; `onSwap` runs when the restored database is about to be put in place. */
async function guardFailing(database: string, statements: readonly string[], onSwap: () => void): Promise<GuardResult> {
  await using test = await testInstallation()
  const { installation } = test
  await installation.catalog.refresh(storeSetOf(test.store), signal)
  const onProgress = ({ phase }: { readonly phase: RestorePhase }): void => {
    if (phase === 'swap') onSwap()
  }
  return await runGuard(
    {
      server: 'main',
      database,
      command: 'psql',
      args: ['--quiet', testUrl(database), ...[...statements, 'SELECT nothing'].flatMap((sql) => ['-c', sql])],
      env: { ...process.env, PGOPTIONS: '-c client_min_messages=error' },
      restoreAs: connectionTo(serverNamed(installation.config, 'main'), database),
    },
    {
      ...installation,
      follow: () => ({ [Symbol.dispose]: () => {} }),
      onEnd: () => {},
      restoring: () => ({ onProgress, [Symbol.dispose]: () => {} }),
    },
    signal,
  )
}

it('another program writes at the very moment of the swap - not restored, what it wrote is where it was', async () => {
  await using source = await testDatabase()
  const result = await guardFailing(source.name, ['DELETE FROM shop.event', untilSeen], () => {
    execFileSync('psql', [source.url, '-c', 'CREATE TABLE precious AS SELECT 1 AS v'])
  })
  expect(result.error).toMatchObject({ code: 'GUARD_REFUSED', exitCode: 3 })
  expect(await query(source.url, 'SELECT v FROM precious')).toEqual([{ v: 1 }])
  expect(await query(testUrl(), `SELECT datname FROM pg_database WHERE strpos(datname, '${source.name}') > 0`)).toEqual(
    [{ datname: source.name }],
  )
})

it('the command ends the sessions that watch - not restored, and that is said', async () => {
  await using source = await testDatabase()
  const watching = `application_name = 'pgproof guard ${source.name}'`
  const end = `DO $$ BEGIN PERFORM pg_terminate_backend(pid) FROM pg_stat_activity WHERE ${watching}; END $$`
  const result = await guardFailing(source.name, ['CREATE TABLE precious AS SELECT 1 AS v', end], () => {})
  expect(result.error).toMatchObject({
    code: 'GUARD_REFUSED',
    message: expect.stringMatching(/the sessions could not be watched to the end \(.+\)/),
  })
  expect(await query(source.url, 'SELECT v FROM precious')).toEqual([{ v: 1 }])
})
