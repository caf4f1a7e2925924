import { execFileSync } from 'node:child_process'
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest'
import { createLog } from '../../src/log.ts'
import { errorOf } from '../postgres/sandbox.ts'
import { rewriteRoles } from '../support/forge.ts'
import { type TestInstallation, testInstallation } from '../support/installation.ts'
import { query, startPostgres, type TestServer } from '../support/postgres-server.ts'
import { databasesOf, restoreTo, targetName } from '../support/restoring.ts'

let source: TestServer
let other: TestServer
let test: TestInstallation
beforeAll(async () => {
  ;[source, other] = await Promise.all([startPostgres(), startPostgres()])
  await query(source.url(), "CREATE ROLE clerk LOGIN PASSWORD 'sesame'; CREATE ROLE keeper")
  await query(source.url(), 'CREATE DATABASE shop OWNER clerk')
  await query(source.url('shop'), 'CREATE TABLE t AS SELECT 1 AS v; ALTER TABLE t OWNER TO clerk')
})
afterAll(async () => {
  await source?.stop()
  await other?.stop()
})
beforeEach(async () => {
  test = await testInstallation({ PGPROOF_SERVERS__0__URL: source.url() })
})
afterEach(() => test[Symbol.asyncDispose]())

/** A backup of the database, and one of the roles, whose script is `change`d. */
async function backUp(change: (script: string) => string = (script) => script): Promise<void> {
  const roles = await test.run('roles')
  await rewriteRoles(test, `roles/main/${roles.label}/`, change)
  await test.run('backup', 'shop')
}

const rolesThere = async (): Promise<unknown[]> =>
  (await query(other.url(), "SELECT rolname FROM pg_roles WHERE rolname IN ('clerk', 'keeper') ORDER BY 1")).map(
    ({ rolname }) => rolname,
  )

it('the roles are wanted, and the store has no backup of them - NO_BACKUP before anything is made', async () => {
  await test.run('backup', 'shop')
  await using target = targetName(other.url())
  expect(await errorOf(restoreTo(test, target.url, { roles: true }))).toMatchObject({
    code: 'NO_BACKUP',
    message: 'there is no backup of the roles of main (`pgproof backup --roles`) in the store yet',
  })
  expect(await databasesOf(other.url(), target.name)).toEqual([])
})

it('a role has a setting that this server does not know, and is a member of one that no backup has - restored, and the result says so', async () => {
  await backUp((script) => `${script}\nALTER ROLE keeper SET lc_messages TO 'tlh_KX.UTF-8';\nGRANT ghost TO keeper;\n`)
  await using target = targetName(other.url())
  const result = await restoreTo(test, target.url, { roles: true })
  expect(result.roles?.created).toEqual(['clerk', 'keeper'])
  expect(result.notes.join('\n')).toContain(
    'a setting of role keeper is not possible here: invalid value for parameter "lc_messages"',
  )
  expect(result.notes).toContain('role keeper: the roles could not be replayed: role "ghost" does not exist')
  expect(await query(target.url, 'SELECT v FROM t')).toEqual([{ v: 1 }])
  await query(other.url(), `DROP DATABASE ${target.name}`)
  await query(other.url(), 'DROP ROLE clerk; DROP ROLE keeper')
})

it('the script of the roles breaks off - ROLES_FAILED, and the roles that it had made are gone', async () => {
  await backUp((script) => `${script}\nDROP ROLE postgres;\n`)
  await using target = targetName(other.url())
  expect(await errorOf(restoreTo(test, target.url, { roles: true }))).toMatchObject({ code: 'ROLES_FAILED' })
  expect(await rolesThere()).toEqual([])
  expect(await databasesOf(other.url(), target.name)).toEqual([])
})

it('it is given up, and somebody has made a database for one of its roles - that one stays, and the log names it', async () => {
  await backUp()
  await using target = targetName(other.url())
  const lines: string[] = []
  const log = createLog({ level: 'warn', format: 'json' }, (line) => lines.push(line))
  const canceller = new AbortController()
  const onPhase = (phase: string): void => {
    if (phase !== 'fetch') return
    execFileSync('psql', [other.url(), '-qc', 'CREATE DATABASE mine OWNER clerk'])
    canceller.abort(new Error('enough'))
  }
  const watched = { ...test, installation: { ...test.installation, log } }
  await errorOf(restoreTo(watched, target.url, { roles: true, signal: canceller.signal, onPhase }))
  expect(await rolesThere()).toEqual(['clerk'])
  expect(lines.map((line) => JSON.parse(line) as object)).toMatchObject([
    { level: 'warn', roles: ['clerk'], msg: 'roles that the restore had created could not be dropped again' },
  ])
  await query(other.url(), 'DROP DATABASE mine')
  await query(other.url(), 'DROP ROLE clerk')
})
