import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { PgproofError } from '../../src/errors.ts'
import { connect, parseConnectionUrl } from '../../src/postgres/connect.ts'
import { createStaging, type Staging, stagingName } from '../../src/postgres/staging-database.ts'
import { inspectTarget } from '../../src/postgres/target-database.ts'
import { errorOf, signal } from '../postgres/sandbox.ts'
import { rewriteEvidence } from '../support/forge.ts'
import { testDatabase, testInstallation, testUrl } from '../support/installation.ts'
import { query, startPostgres } from '../support/postgres-server.ts'
import { databasesOf, restoreTo, targetName } from '../support/restoring.ts'
import { standIn } from '../support/stand-ins.ts'

const login = `restorer_${randomBytes(4).toString('hex')}`
beforeAll(async () => {
  await query(testUrl(), `CREATE ROLE ${login} LOGIN CREATEDB PASSWORD 'secret'`)
})
afterAll(async () => {
  await query(testUrl(), `DROP ROLE ${login}`)
})

/** As a login that is no superuser. */
function asLogin(url: string): string {
  const changed = new URL(url)
  changed.username = login
  changed.password = 'secret'
  return changed.href
}

describe('a login that is no superuser', () => {
  it('all of whose transactions are read-only by its own settings - restored all the same', async () => {
    await using source = await testDatabase('template1')
    await query(source.url, 'CREATE TABLE t AS SELECT 1 AS v')
    await using test = await testInstallation()
    await test.run('backup', source.name)
    await using target = targetName(testUrl())
    await query(testUrl(), `ALTER ROLE ${login} SET default_transaction_read_only = on`)
    try {
      await restoreTo(test, asLogin(target.url), { owners: false, privileges: false })
    } finally {
      await query(testUrl(), `ALTER ROLE ${login} RESET default_transaction_read_only`)
    }
    expect(await query(target.url, 'SELECT v FROM t')).toEqual([{ v: 1 }])
  })

  it('and a subscription, which only a superuser may create - restored without, and the result names it', async () => {
    await using source = await testDatabase('template1')
    await query(
      source.url,
      `CREATE TABLE t AS SELECT 1 AS v;
       CREATE SUBSCRIPTION inbound CONNECTION 'host=192.0.2.1' PUBLICATION p WITH (connect = false, slot_name = NONE)`,
    )
    try {
      await using test = await testInstallation()
      await test.run('backup', source.name)
      await using target = targetName(testUrl())
      const result = await restoreTo(test, asLogin(target.url), { owners: false, privileges: false })
      expect(result.notes).toContain('left out, because only a superuser may create them: subscriptions inbound')
      expect(await query(target.url, 'SELECT v FROM t')).toEqual([{ v: 1 }])
    } finally {
      await query(source.url, 'DROP SUBSCRIPTION inbound')
    }
  })

  it('and a publication of all tables, an event trigger - TARGET_LACKS names both before anything is fetched', async () => {
    await using source = await testDatabase('template1')
    await query(
      source.url,
      `CREATE PUBLICATION everything FOR ALL TABLES;
       CREATE FUNCTION f() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
       CREATE EVENT TRIGGER watch ON ddl_command_end EXECUTE FUNCTION f()`,
    )
    await using test = await testInstallation()
    await test.run('backup', source.name)
    await using target = targetName(testUrl())
    const phases: string[] = []
    const error = await errorOf(
      restoreTo(test, asLogin(target.url), {
        owners: false,
        privileges: false,
        onPhase: (phase) => phases.push(phase),
      }),
    )
    expect(error).toMatchObject({ code: 'TARGET_LACKS', exitCode: 12 })
    expect(String(error)).toMatch(
      /event trigger watch.*publication everything|publication everything.*event trigger watch/,
    )
    expect(phases).toEqual([])
    expect(await databasesOf(testUrl(), target.name)).toEqual([])
  })
})

it('a statement with a password fails - RESTORE_FAILED quotes it without', async () => {
  await using source = await testDatabase('template1')
  // PostgreSQL takes a name here of which it lets nobody make a slot.
  await query(
    source.url,
    `CREATE SUBSCRIPTION "In Bound" CONNECTION 'host=192.0.2.1 password=very\\''secret' PUBLICATION p WITH (connect = false)`,
  )
  try {
    await using test = await testInstallation()
    await test.run('backup', source.name)
    await using target = targetName(testUrl())
    const error = (await errorOf(restoreTo(test, target.url))) as PgproofError
    expect(error).toMatchObject({ code: 'RESTORE_FAILED', message: 'pg_restore failed (exit code 1)' })
    expect(error.details).toContain(`CREATE SUBSCRIPTION "In Bound" CONNECTION '…' PUBLICATION p`)
    expect(`${error.details}${error.message}${error.hint}`).not.toContain('secret')
    expect(await databasesOf(testUrl(), target.name)).toEqual([])
  } finally {
    await query(source.url, 'ALTER SUBSCRIPTION "In Bound" SET (slot_name = NONE)')
    await query(source.url, 'DROP SUBSCRIPTION "In Bound"')
  }
})

it('an empty database with rights and settings of its own - the result says that they went with it', async () => {
  await using source = await testDatabase('template1')
  await using test = await testInstallation()
  await test.run('backup', source.name)
  await using target = targetName(testUrl())
  await query(testUrl(), `CREATE DATABASE ${target.name};`)
  await query(
    testUrl(),
    `REVOKE CONNECT ON DATABASE ${target.name} FROM PUBLIC; ALTER DATABASE ${target.name} SET work_mem = '7MB'`,
  )
  const result = await restoreTo(test, target.url, { mode: 'empty' })
  expect(result).toMatchObject({ outcome: 'filled', aside: null })
  expect(result.notes.join('\n')).toContain('the empty database had rights, settings of its own, which went with it')
})

it('with its own settings nobody can connect on this server - restored, and the result says so', async () => {
  await using source = await testDatabase('template1')
  await using test = await testInstallation()
  await test.run('backup', source.name)
  await using target = targetName(testUrl())
  // As after a restore on a server without the library that the settings name; here pg_restore brings such a setting.
  const binDirs = standIn(
    test.folder,
    'pg_restore',
    `"$REAL" "$@" || exit; case "$*" in *--file=-*) echo "ALTER DATABASE ${source.name} SET session_preload_libraries TO 'nowhere';";; esac`,
  )
  await using other = await testInstallation({ PGPROOF_POSTGRES__BIN_DIRS: binDirs }, { store: test.store })
  await query(testUrl(), `ALTER DATABASE ${source.name} SET work_mem = '7MB'`)
  await test.run('backup', source.name)
  const result = await restoreTo(other, target.url)
  expect(result).toMatchObject({ outcome: 'created', error: null })
  expect(result.notes.join('\n')).toMatch(/this login cannot connect to it any more: .*"nowhere"/)
})

it.each([0, 65, 1.5])('%s jobs - USAGE_INVALID, nothing made', async (jobs) => {
  await using test = await testInstallation()
  expect(await errorOf(restoreTo(test, testUrl('nowhere'), { jobs }))).toMatchObject({
    code: 'USAGE_INVALID',
    exitCode: 2,
  })
})

it('the label of a drill - USAGE_INVALID names the backup that it restored', async () => {
  await using source = await testDatabase('template1')
  await using test = await testInstallation()
  const { label = '' } = await test.run('backup', source.name)
  const drill = await test.run('drill', source.name)
  const choice = { by: 'label', label: drill.label ?? '' } as const
  const error = await errorOf(restoreTo(test, testUrl('nowhere'), { choice }))
  expect(error).toMatchObject({ code: 'USAGE_INVALID', exitCode: 2 })
  expect(String(error)).toContain(`is a drill, not a backup; what it restored is backup ${label}`)
})

describe('what an earlier restore left', () => {
  it('somebody is at work in it - TARGET_UNFINISHED names it, and it stays', async () => {
    await using source = await testDatabase('template1')
    await using test = await testInstallation()
    const { label } = await test.run('backup', source.name)
    await using target = targetName(testUrl())
    await using staging = await stagingOf(label ?? '', target.name)
    staging.keep()
    await staging[Symbol.asyncDispose]()
    await using _session = await connect(parseConnectionUrl('main', testUrl(staging.name)), signal, 'somebody')
    const error = await errorOf(restoreTo(test, target.url))
    expect(error).toMatchObject({ code: 'TARGET_UNFINISHED', exitCode: 10 })
    expect(String(error)).toContain(`database "${staging.name}", in which somebody is at work`)
    expect(await databasesOf(testUrl(), target.name)).toEqual([staging.name])
  })

  it('of another backup - left alone, and the result says how it is removed', async () => {
    await using source = await testDatabase('template1')
    await using test = await testInstallation()
    await test.run('backup', source.name)
    await using target = targetName(testUrl())
    await using staging = await stagingOf('20261120T020000Z-4f7k', target.name)
    staging.keep()
    await staging[Symbol.asyncDispose]()
    const { notes } = await restoreTo(test, target.url)
    expect(notes).toContain(
      `database "${staging.name}" is what an interrupted restore of 20261120T020000Z-4f7k left; --discard removes it`,
    )
    expect(await databasesOf(testUrl(), target.name)).toEqual([staging.name, target.name].sort())
  })
})

async function stagingOf(label: string, into: string): Promise<Staging> {
  const { server, existing } = await inspectTarget(parseConnectionUrl('main', testUrl('shop_template')), signal)
  if (existing === null) throw new Error('the template is not there')
  const wanted = { label, into, properties: existing.properties, owner: null, tablespace: null }
  return await createStaging(server, { name: stagingName(label, into), ...wanted }, signal)
}

it('pg_cron is in the backup, and the server was not started for it - said before anything is fetched, no database left', async () => {
  await using source = await testDatabase('template1')
  await using test = await testInstallation()
  const { label } = await test.run('backup', source.name)
  await rewriteEvidence(test, `backups/main/${source.name}/${label}/`, (evidence) => ({
    ...evidence,
    extensions: [...evidence.extensions, { name: 'pg_cron', version: '1.4' }],
  }))
  await using target = targetName(testUrl())
  const phases: string[] = []
  const error = await errorOf(restoreTo(test, target.url, { onPhase: (phase) => phases.push(phase) }))
  // The one where it is installed, the other where it is not.
  expect(error).toMatchObject({ code: expect.stringMatching(/^TARGET_(?:FAILED|LACKS)$/), exitCode: 12 })
  expect(String(error)).toContain('pg_cron')
  expect(phases).toEqual([])
  expect(await databasesOf(testUrl(), target.name)).toEqual([])
})

it('pg_cron is in the backup, and so it is in the database that it is to take the place of - refused, that one stays', async () => {
  const server = await startPostgres(
    "shared_preload_libraries = 'pg_cron'\ncron.database_name = 'jobs'\ncron.launch_active_jobs = off",
  )
  try {
    await query(server.url(), 'CREATE DATABASE jobs')
    await query(server.url('jobs'), 'CREATE EXTENSION pg_cron; CREATE TABLE kept AS SELECT 1 AS v')
    await using test = await testInstallation({ PGPROOF_SERVERS__0__URL: server.url() })
    await test.run('backup', 'jobs')
    const error = await errorOf(restoreTo(test, server.url('jobs'), { mode: 'replace' }))
    expect(error).toMatchObject({
      code: 'TARGET_FAILED',
      message: expect.stringContaining('"jobs" must be restored under its own name'),
    })
    expect(await query(server.url('jobs'), 'SELECT v FROM kept')).toEqual([{ v: 1 }])
    expect(await databasesOf(server.url(), 'jobs')).toEqual(['jobs'])
  } finally {
    await server.stop()
  }
})
