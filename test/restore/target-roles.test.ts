import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { errorOf } from '../postgres/sandbox.ts'
import { type TestInstallation, testInstallation } from '../support/installation.ts'
import { query, startPostgres, type TestServer } from '../support/postgres-server.ts'
import { databasesOf, type Restoring, restoreTo, targetName } from '../support/restoring.ts'

let source: TestServer
let other: TestServer
let test: TestInstallation
beforeAll(async () => {
  ;[source, other] = await Promise.all([startPostgres(), startPostgres()])
  await query(source.url(), 'CREATE ROLE app; CREATE ROLE "Sales, East"; CREATE ROLE "PUBLIC"')
})
afterAll(async () => {
  await source?.stop()
  await other?.stop()
})
beforeEach(async () => {
  test = await testInstallation({ PGPROOF_SERVERS__0__URL: source.url() })
})
afterEach(() => test[Symbol.asyncDispose]())

/** Backs up a new database `shop` that holds what `sql` makes. */
async function backUp(sql: string): Promise<void> {
  await query(source.url(), 'DROP DATABASE IF EXISTS shop')
  await query(source.url(), 'CREATE DATABASE shop')
  await query(source.url('shop'), sql)
  await test.run('backup', 'shop')
}

/** The roles that a restore says are missing, before it fetches or makes anything. */
async function missingFor(restoring: Restoring): Promise<object> {
  await using target = targetName(other.url())
  const phases: string[] = []
  const error = await errorOf(restoreTo(test, target.url, { ...restoring, onPhase: (phase) => phases.push(phase) }))
  expect(phases).toEqual([])
  expect(await databasesOf(other.url(), target.name)).toEqual([])
  return error as object
}

const bare = { owners: false, privileges: false }

describe('a role that the target lacks', () => {
  it.each([
    ['with owners and grants', {}],
    ['without them', bare],
  ])('and that only policies name, %s - TARGET_ROLES_MISSING says which, and by what', async (_, wants) => {
    await backUp(
      `CREATE TABLE t (v int); CREATE POLICY own ON t TO app, "Sales, East"; CREATE POLICY "All" ON t TO PUBLIC;
       CREATE POLICY mine ON t TO current_user; CREATE POLICY odd ON t TO "PUBLIC"`,
    )
    expect(await missingFor(wants)).toMatchObject({
      code: 'TARGET_ROLES_MISSING',
      message: 'the target server lacks 3 roles that the backup names: "PUBLIC", "Sales, East", app',
      details: '"PUBLIC": policy public.t.odd\n"Sales, East": policy public.t.own\napp: policy public.t.own',
      hint: expect.stringContaining('create them'),
    })
  })

  it.each([
    ['with owners and grants', {}],
    ['without them', bare],
  ])('and that only user mappings name, %s - TARGET_ROLES_MISSING says which, and by what', async (_, wants) => {
    await backUp(
      `CREATE FOREIGN DATA WRAPPER w; CREATE SERVER far FOREIGN DATA WRAPPER w; CREATE USER MAPPING FOR PUBLIC SERVER far;
       CREATE USER MAPPING FOR "Sales, East" SERVER far; CREATE USER MAPPING FOR postgres SERVER far`,
    )
    expect(await missingFor(wants)).toMatchObject({
      code: 'TARGET_ROLES_MISSING',
      message: 'the target server lacks a role that the backup names: "Sales, East"',
      details: '"Sales, East": user mapping "Sales, East" SERVER far',
    })
  })

  it('and that only default privileges are given to - TARGET_ROLES_MISSING, and without grants it is restored', async () => {
    await backUp(
      'CREATE TABLE t AS SELECT 1 AS v; ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO "Sales, East", PUBLIC',
    )
    expect(await missingFor({})).toMatchObject({
      code: 'TARGET_ROLES_MISSING',
      message: 'the target server lacks a role that the backup names: "Sales, East"',
    })
    await using target = targetName(other.url())
    await restoreTo(test, target.url, { privileges: false })
    expect(await query(target.url, 'SELECT v FROM t')).toEqual([{ v: 1 }])
  })

  it('and that a policy names, with its roles backup - made, and the policy is there', async () => {
    await backUp('CREATE TABLE t (v int); CREATE POLICY own ON t TO app')
    await test.run('roles')
    await using target = targetName(other.url())
    await restoreTo(test, target.url, { ...bare, roles: true })
    expect(await query(target.url, 'SELECT roles::text FROM pg_policies')).toEqual([{ roles: '{app}' }])
    await query(other.url(), `DROP DATABASE ${target.name}`)
    await query(other.url(), 'DROP ROLE app; DROP ROLE "Sales, East"; DROP ROLE "PUBLIC"')
  })
})
