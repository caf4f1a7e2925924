import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, type TestContext } from 'vitest'
import { errorOf } from '../postgres/sandbox.ts'
import { type TestInstallation, testInstallation } from '../support/installation.ts'
import { useNewerPostgres } from '../support/newer-postgres.ts'
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

/** What a restore says before it fetches or makes anything. */
async function refused(
  restoring: Restoring,
  server = other.url(),
  phasesBefore: readonly string[] = [],
): Promise<object> {
  await using target = targetName(server)
  const phases: string[] = []
  const error = await errorOf(restoreTo(test, target.url, { ...restoring, onPhase: (phase) => phases.push(phase) }))
  expect(phases).toEqual(phasesBefore)
  expect(await databasesOf(server, target.name)).toEqual([])
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
    expect(await refused(wants)).toMatchObject({
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
    expect(await refused(wants)).toMatchObject({
      code: 'TARGET_ROLES_MISSING',
      message: 'the target server lacks a role that the backup names: "Sales, East"',
      details: '"Sales, East": user mapping "Sales, East" SERVER far',
    })
  })

  it('and that only default privileges are given to - TARGET_ROLES_MISSING, and without grants it is restored', async () => {
    await backUp(
      'CREATE TABLE t AS SELECT 1 AS v; ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO "Sales, East", PUBLIC',
    )
    expect(await refused({})).toMatchObject({
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

describe('a login that is no superuser', () => {
  const newerFor = useNewerPostgres()

  /** As a login that may create databases and roles, on that server. */
  async function restorer(server: string): Promise<AsyncDisposable & { readonly url: string }> {
    await query(server, "CREATE ROLE restorer LOGIN CREATEDB CREATEROLE PASSWORD 'secret'")
    const url = new URL(server)
    url.username = 'restorer'
    url.password = 'secret'
    return {
      url: url.href,
      [Symbol.asyncDispose]: async () => {
        for (const name of ['app', '"Sales, East"', '"PUBLIC"']) await query(server, `DROP ROLE IF EXISTS ${name}`)
        await query(server, 'DROP ROLE restorer')
      },
    }
  }

  const appsShop = `CREATE SCHEMA s AUTHORIZATION app; CREATE TABLE s.t AS SELECT 1 AS v; ALTER TABLE s.t OWNER TO app; CREATE INDEX ON s.t (v);
    ALTER DEFAULT PRIVILEGES FOR ROLE app GRANT SELECT ON TABLES TO PUBLIC; ALTER DATABASE shop OWNER TO app`

  async function ownersIn(url: string): Promise<object> {
    const [row] = await query(
      url,
      "SELECT relowner::regrole::text AS t, datdba::regrole::text AS database FROM pg_class, pg_database WHERE relname = 't' AND datname = current_database()",
    )
    return row ?? {}
  }

  /** The owners of the table and the database that were restored; both are gone again. */
  async function ownersAfter(url: string, restoring: Restoring = {}): Promise<object> {
    await using target = targetName(url)
    await restoreTo(test, target.url, restoring)
    return await ownersIn(target.url)
  }

  it('and made the owner itself, on a newer major, so may not become it - TARGET_LACKS with the statement that lets it', async (context) => {
    await using login = await restorer(newerFor(context).url())
    await query(login.url, 'CREATE ROLE app')
    await backUp(appsShop)
    const statement = 'GRANT app TO "restorer" WITH SET TRUE, INHERIT TRUE'
    expect(await refused({}, login.url)).toMatchObject({
      code: 'TARGET_LACKS',
      hint: expect.stringContaining(statement),
    })
    await query(login.url, statement)
    expect(await ownersAfter(login.url)).toEqual({ t: 'app', database: 'app' })
  })

  it('and may become the owner but has not its rights, on a newer major - TARGET_LACKS with the statement that gives them', async (context) => {
    const newer = newerFor(context).url()
    await using login = await restorer(newer)
    await query(newer, 'CREATE ROLE app')
    await query(newer, 'GRANT app TO restorer WITH SET TRUE, INHERIT FALSE')
    await backUp(appsShop)
    const statement = 'GRANT app TO "restorer" WITH SET TRUE, INHERIT TRUE'
    expect(await refused({}, login.url)).toMatchObject({
      code: 'TARGET_LACKS',
      hint: expect.stringContaining(statement),
    })
    await query(newer, statement)
    expect(await ownersAfter(login.url)).toEqual({ t: 'app', database: 'app' })
  })

  it('and is no member of the owner, or inherits nothing - TARGET_LACKS with the statement that mends it', async () => {
    await using login = await restorer(other.url())
    await query(other.url(), 'CREATE ROLE app; ALTER ROLE restorer NOINHERIT')
    await backUp(appsShop)
    for (const statement of ['GRANT app TO "restorer"', 'ALTER ROLE "restorer" INHERIT']) {
      const hint = expect.stringContaining(`${statement},`)
      expect(await refused({}, login.url)).toMatchObject({ code: 'TARGET_LACKS', hint })
      await query(other.url(), statement)
    }
    expect(await ownersAfter(login.url)).toEqual({ t: 'app', database: 'app' })
  })

  it('and may only become who grants by default - restored without owners', async () => {
    await using login = await restorer(other.url())
    await query(other.url(), 'CREATE ROLE app; ALTER ROLE restorer NOINHERIT; GRANT app TO restorer')
    await backUp(appsShop)
    expect(await ownersAfter(login.url, { owners: false })).toEqual({ t: 'restorer', database: 'restorer' })
  })

  const eitherMajor = [
    ['the same major', () => other.url()],
    ['a newer one', (context: TestContext) => newerFor(context).url()],
  ] as const

  it.for(eitherMajor)(
    'and may create roles, on %s - those that are missing are made, and their objects are theirs',
    async ([, serverOf], context) => {
      const server = serverOf(context)
      await using login = await restorer(server)
      await query(
        source.url(),
        `ALTER ROLE "Sales, East" LOGIN NOINHERIT CONNECTION LIMIT 3 PASSWORD 'sesame' VALID UNTIL '2040-01-01'; GRANT app TO "Sales, East"`,
      )
      await backUp(appsShop)
      await test.run('roles')
      await using target = targetName(login.url)
      const result = await restoreTo(test, target.url, { roles: true, verify: true })
      expect(result.roles?.created).toEqual(['PUBLIC', 'Sales, East', 'app'])
      expect(result.notes).toContain('restorer was made a member of app, to give it what is its own')
      expect(await ownersIn(target.url)).toEqual({ t: 'app', database: 'app' })
      const attributes =
        "SELECT rolsuper OR rolreplication OR rolbypassrls AS more, rolinherit, rolcanlogin, rolconnlimit, rolpassword, rolvaliduntil FROM pg_authid WHERE rolname = 'Sales, East'"
      expect(await query(server, attributes)).toEqual(await query(source.url(), attributes))
      const members =
        "SELECT member::regrole::text FROM pg_auth_members WHERE roleid = 'app'::regrole AND member <> 'restorer'::regrole"
      expect(await query(server, members)).toEqual([{ member: '"Sales, East"' }])
    },
  )

  it.for(eitherMajor)(
    'and may create roles, on %s, and gives up after they are made - none of them is left',
    async ([, serverOf], context) => {
      const server = serverOf(context)
      await using login = await restorer(server)
      await backUp(appsShop)
      await test.run('roles')
      await using target = targetName(login.url)
      const canceller = new AbortController()
      const onPhase = (phase: string): void => {
        if (phase === 'fetch') canceller.abort(new Error('enough'))
      }
      await errorOf(restoreTo(test, target.url, { roles: true, signal: canceller.signal, onPhase }))
      const made = "SELECT FROM pg_roles WHERE rolname IN ('app', 'PUBLIC', 'Sales, East')"
      expect(await query(server, made)).toEqual([])
    },
  )

  it.each(['SUPERUSER', 'REPLICATION', 'BYPASSRLS'])(
    'and may create roles, but one is to have %s - TARGET_LACKS with the statement, no role left',
    async (attribute) => {
      await using login = await restorer(other.url())
      await query(source.url(), `CREATE ROLE "with" ${attribute}`)
      await backUp(appsShop)
      await test.run('roles')
      await query(source.url(), 'DROP ROLE "with"')
      expect(await refused({ roles: true }, login.url, ['roles'])).toMatchObject({
        code: 'TARGET_LACKS',
        message: expect.stringMatching(/^the target server lacks the right of this login .*superuser/),
        details: expect.stringMatching(new RegExp(`^ALTER ROLE "with" WITH (?:.* )?${attribute}\\b`)),
        hint: expect.stringContaining('create the role that it names'),
      })
      const made = "SELECT FROM pg_roles WHERE rolname IN ('app', 'with', 'Sales, East')"
      expect(await query(other.url(), made)).toEqual([])
    },
  )

  it('and may create no roles - TARGET_LACKS says what it takes', async () => {
    await using login = await restorer(other.url())
    await query(other.url(), 'ALTER ROLE restorer NOCREATEROLE')
    await backUp(appsShop)
    await test.run('roles')
    expect(await refused({ roles: true }, login.url, ['roles'])).toMatchObject({
      code: 'TARGET_LACKS',
      message: expect.stringContaining('permission denied to create role'),
      hint: expect.stringContaining('CREATEROLE'),
    })
  })
})
