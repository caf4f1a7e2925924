import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { connect, parseConnectionUrl } from '../../src/postgres/connect.ts'
import { createStaging, stagingName } from '../../src/postgres/staging-database.ts'
import { inspectTarget } from '../../src/postgres/target-database.ts'
import { contentsOf, errorOf } from '../postgres/sandbox.ts'
import { type TestInstallation, testDatabase, testInstallation, testUrl } from '../support/installation.ts'
import { query, startPostgres, type TestServer } from '../support/postgres-server.ts'
import { databasesOf, downloadsLeft, restoreTo, targetName } from '../support/restoring.ts'

const { signal } = new AbortController()

async function contents(url: string): Promise<Awaited<ReturnType<typeof contentsOf>>> {
  await using held = await connect(parseConnectionUrl('main', url), signal, 'pgproof test')
  return await contentsOf(held.client)
}

type Source = Awaited<ReturnType<typeof testDatabase>>

let source: Source
let test: TestInstallation
let label: string
beforeAll(async () => {
  source = await testDatabase()
  await query(
    source.url,
    `COMMENT ON DATABASE ${source.name} IS 'the shop'; ALTER DATABASE ${source.name} SET work_mem = '7MB';
     CREATE PUBLICATION changes FOR TABLE shop.event;
     CREATE SUBSCRIPTION inbound CONNECTION 'host=192.0.2.1 dbname=none' PUBLICATION elsewhere WITH (connect = false)`,
  )
  test = await testInstallation()
  await test.run('roles')
  label = (await test.run('backup', source.name)).label ?? ''
})
afterAll(async () => {
  await query(source.url, 'ALTER SUBSCRIPTION inbound SET (slot_name = NONE)')
  await query(source.url, 'DROP SUBSCRIPTION inbound')
  await test[Symbol.asyncDispose]()
  await source[Symbol.asyncDispose]()
})

/** Drops what keeps a database from being dropped. */
async function releaseSubscriptions(url: string): Promise<void> {
  await query(url, 'ALTER SUBSCRIPTION inbound SET (slot_name = NONE)')
  await query(url, 'DROP SUBSCRIPTION inbound')
}

describe('into a new database', () => {
  it('everything as it was: rows, settings, comment, owners, publication, subscription disabled; nothing left over', async () => {
    await using target = targetName(testUrl())
    const phases: string[] = []
    const result = await restoreTo(test, target.url, { verify: true, onPhase: (phase) => phases.push(phase) })
    expect(result).toMatchObject({
      backup: { label, server: 'main', database: source.name },
      target: { database: target.name },
      outcome: 'created',
      aside: null,
      undo: [],
      roles: null,
      subscriptions: ['inbound'],
      error: null,
    })
    expect(result.checks.filter((check) => check.result !== 'passed').map(({ name }) => name)).toEqual(['signature'])
    expect(result.tables?.tables.every((table) => table.result === 'equal')).toBe(true)
    expect(phases).toEqual(['fetch', 'restore', 'analyze', 'query', 'verify', 'swap'])
    expect(await contents(target.url)).toEqual(await contents(source.url))
    expect(
      await query(
        target.url,
        `SELECT shobj_description(oid, 'pg_database') AS comment, pg_get_userbyid(datdba) AS owner,
                (SELECT setconfig FROM pg_db_role_setting WHERE setdatabase = d.oid AND setrole = 0) AS settings,
                (SELECT subenabled FROM pg_subscription WHERE subdbid = d.oid) AS enabled,
                (SELECT count(*)::int FROM pg_publication) AS publications
           FROM pg_database d WHERE datname = current_database()`,
      ),
    ).toEqual([{ comment: 'the shop', owner: 'postgres', settings: ['work_mem=7MB'], enabled: false, publications: 1 }])
    expect(await databasesOf(testUrl(), target.name)).toEqual([target.name])
    expect([...test.spoolLeft().filter((name) => name !== 'downloads'), ...downloadsLeft(test)]).toEqual([])
    await releaseSubscriptions(target.url)
  })

  it('that exists already - TARGET_EXISTS, nothing changed', async () => {
    await using other = await testDatabase('template1')
    expect(await errorOf(restoreTo(test, other.url))).toMatchObject({ code: 'TARGET_EXISTS', exitCode: 12 })
    expect(await databasesOf(testUrl(), other.name)).toEqual([other.name])
  })
})

describe('into an empty database', () => {
  it('filled under its name, with its own owner and locale', async () => {
    await using target = targetName(testUrl())
    await query(
      testUrl(),
      `CREATE DATABASE ${target.name} TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C' OWNER shop_owner`,
    )
    const result = await restoreTo(test, target.url, { mode: 'empty' })
    expect(result).toMatchObject({ outcome: 'filled', aside: null })
    const found = 'SELECT datcollate, pg_get_userbyid(datdba) AS owner FROM pg_database WHERE datname = $1'
    expect(await query(testUrl(), found, [target.name])).toEqual([{ datcollate: 'C', owner: 'shop_owner' }])
    expect(await contents(target.url)).toEqual(await contents(source.url))
    expect(await databasesOf(testUrl(), target.name)).toEqual([target.name])
    await releaseSubscriptions(target.url)
  })

  it('that is not there - TARGET_UNKNOWN; that is not empty - TARGET_NOT_EMPTY says what it holds', async () => {
    await using missing = targetName(testUrl())
    expect(await errorOf(restoreTo(test, missing.url, { mode: 'empty' }))).toMatchObject({ code: 'TARGET_UNKNOWN' })
    await using full = await testDatabase()
    const before = await contents(full.url)
    const error = await errorOf(restoreTo(test, full.url, { mode: 'empty' }))
    expect(error).toMatchObject({ code: 'TARGET_NOT_EMPTY', exitCode: 12, message: expect.stringContaining('tables') })
    expect(await contents(full.url)).toEqual(before)
  })
})

describe('in place of a database', () => {
  it('renamed aside, whole; the undo statements put it back', async () => {
    await using target = targetName(testUrl())
    await query(testUrl(), `CREATE DATABASE ${target.name}`)
    await query(target.url, 'CREATE TABLE precious (v int); INSERT INTO precious VALUES (42)')
    const result = await restoreTo(test, target.url, { mode: 'replace' })
    expect(result.outcome).toBe('replaced')
    const aside = result.aside ?? ''
    expect(aside.startsWith(`${target.name}_before_`)).toBe(true)
    expect(await query(testUrl(aside), 'SELECT v FROM precious')).toEqual([{ v: 42 }])
    expect(await contents(target.url)).toEqual(await contents(source.url))
    await releaseSubscriptions(target.url)
    for (const statement of result.undo) await query(testUrl(), statement)
    expect(await query(target.url, 'SELECT v FROM precious')).toEqual([{ v: 42 }])
    const left = await databasesOf(testUrl(), target.name)
    expect(left).toContain(target.name)
  })

  it('in which somebody is - TARGET_IN_USE names who; with disconnect that session ends', async () => {
    await using target = targetName(testUrl())
    await query(testUrl(), `CREATE DATABASE ${target.name}`)
    await query(target.url, 'CREATE TABLE precious (v int)')
    await using session = await connect(parseConnectionUrl('main', target.url), signal, 'shop web')
    const error = await errorOf(restoreTo(test, target.url, { mode: 'replace' }))
    expect(error).toMatchObject({ code: 'TARGET_IN_USE', message: expect.stringContaining('shop web') })
    expect((await session.client.query('SELECT * FROM public.precious')).rows).toEqual([])
    const lost = expect(session.lost).rejects.toThrow()
    const result = await restoreTo(test, target.url, { mode: 'replace', disconnect: true })
    await lost
    expect(result.outcome).toBe('replaced')
    await releaseSubscriptions(target.url)
  })

  it('somebody comes in at the last moment - kept beside, with the statements that put it in place', async () => {
    await using target = targetName(testUrl())
    await query(testUrl(), `CREATE DATABASE ${target.name}`)
    await query(target.url, 'CREATE TABLE precious (v int)')
    const came: ReturnType<typeof connect>[] = []
    const onPhase = (phase: string): void => {
      if (phase === 'restore') came.push(connect(parseConnectionUrl('main', target.url), signal, 'late guest'))
    }
    const result = await restoreTo(test, target.url, { mode: 'replace', onPhase })
    expect(result).toMatchObject({ outcome: 'kept apart', error: { code: 'RESTORED_APART', exitCode: 12 } })
    expect(result.error?.message).toContain('late guest')
    expect(await query(target.url, 'SELECT v FROM precious')).toEqual([])
    for (const one of came) await (await one)[Symbol.asyncDispose]()
    await query(testUrl(), (result.error?.details ?? '').replaceAll('\n', ' '))
    expect(await contents(target.url)).toEqual(await contents(source.url))
    await releaseSubscriptions(target.url)
  })
})

describe('onto another server', () => {
  let other: TestServer
  beforeAll(async () => {
    other = await startPostgres()
  })
  afterAll(async () => {
    await other.stop()
  })

  it('that lacks the roles - TARGET_ROLES_MISSING names them all before anything is fetched', async () => {
    await using target = targetName(other.url())
    const phases: string[] = []
    const error = await errorOf(restoreTo(test, target.url, { onPhase: (phase) => phases.push(phase) }))
    expect(error).toMatchObject({ code: 'TARGET_ROLES_MISSING', exitCode: 12 })
    expect(String(error)).toMatch(/shop_owner, shop_reader/)
    expect(phases).toEqual([])
    expect(await databasesOf(other.url(), target.name)).toEqual([])
  })

  it('without owners and grants - needs no role, everything is the login’s, rows are the same', async () => {
    await using target = targetName(other.url())
    await restoreTo(test, target.url, { owners: false, privileges: false, verify: true })
    const owners = "SELECT DISTINCT tableowner AS owner FROM pg_tables WHERE schemaname = 'shop'"
    expect(await query(target.url, owners)).toEqual([{ owner: 'postgres' }])
    expect(await query(target.url, "SELECT FROM pg_roles WHERE rolname LIKE 'shop%'")).toEqual([])
    expect(await contents(target.url)).toEqual(await contents(source.url))
    await releaseSubscriptions(target.url)
  })

  it('a restore that fails after its roles were made - they are gone again, existing ones untouched', async () => {
    await query(
      other.url(),
      "CREATE ROLE shop_reader NOLOGIN CONNECTION LIMIT 3; ALTER ROLE shop_reader PASSWORD 'mine'",
    )
    await using target = targetName(other.url())
    const dump = test.store.keys().find((key) => key.includes(label) && key.endsWith('dump.zst.pgp')) ?? ''
    test.store.before = (operation, key) => {
      if (operation === 'read' && key === dump && downloadsLeft(test).length > 0) throw new Error('cut')
    }
    expect(await errorOf(restoreTo(test, target.url, { roles: true }))).toMatchObject({ code: 'INTERNAL' })
    test.store.before = () => {}
    expect(await query(other.url(), "SELECT rolname, rolconnlimit FROM pg_roles WHERE rolname LIKE 'shop%'")).toEqual([
      { rolname: 'shop_reader', rolconnlimit: 3 },
    ])
    expect(await databasesOf(other.url(), target.name)).toEqual([])
  })

  it('a restore that fails after its roles were made, while another goes on there - they stay, for it may need them', async () => {
    await using target = targetName(other.url())
    await using another = targetName(other.url())
    await query(other.url(), `CREATE DATABASE ${another.name}`)
    const { server, existing } = await inspectTarget(parseConnectionUrl('other', another.url), signal)
    if (existing === null) throw new Error('it was just made')
    const wanted = { label, into: another.name, properties: existing.properties, owner: null, tablespace: null }
    await using _staging = await createStaging(server, { name: stagingName(label, another.name), ...wanted }, signal)
    const canceller = new AbortController()
    const onPhase = (phase: string): void => {
      if (phase === 'fetch') canceller.abort(new Error('enough'))
    }
    await errorOf(restoreTo(test, target.url, { roles: true, signal: canceller.signal, onPhase }))
    const made = await query(other.url(), "SELECT rolname FROM pg_roles WHERE rolname IN ('shop_owner', 'shop_app')")
    expect(made).toHaveLength(2)
    for (const { rolname } of made) await query(other.url(), `DROP ROLE "${rolname}"`)
  })

  it('with --roles: missing ones made with their passwords, existing ones left, owners and grants as they were', async () => {
    await using target = targetName(other.url())
    const verifier = "SELECT rolpassword AS v FROM pg_authid WHERE rolname = 'shop_reader'"
    const before = await query(other.url(), verifier)
    const result = await restoreTo(test, target.url, { roles: true, verify: true })
    expect(result.roles?.created).toEqual(expect.arrayContaining(['shop_owner', 'shop_app']))
    expect(result.roles?.kept).toEqual(expect.arrayContaining(['shop_reader', 'postgres']))
    expect(await query(other.url(), verifier)).toEqual(before)
    const app = new URL(target.url)
    app.username = 'shop_app'
    app.password = 'app-secret'
    expect(await query(app.href, 'SELECT count(*) > 0 AS reads FROM shop.customer')).toEqual([{ reads: true }])
    await releaseSubscriptions(target.url)
    const dropping = 'DROP DATABASE IF EXISTS'
    await query(other.url(), `${dropping} ${target.name}`)
    for (const role of result.roles?.created ?? []) await query(other.url(), `DROP ROLE IF EXISTS "${role}"`)
  })
})
