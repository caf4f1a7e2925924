import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { CheckResult } from '../../src/domain/drill-report.ts'
import { decodeRolesEvidence } from '../../src/domain/roles-evidence.ts'
import type { Finished } from '../../src/jobs/execute.ts'
import { measureBytes } from '../../src/streams/measure.ts'
import { decryptObject, readManifest, rewriteManifest, rewriteRoles } from '../support/forge.ts'
import { type TestInstallation, testInstallation } from '../support/installation.ts'
import { query, startPostgres, type TestServer } from '../support/postgres-server.ts'
import { storeSetOf } from '../support/store-sets.ts'

let source: TestServer
let kept: TestServer
beforeAll(async () => {
  ;[source, kept] = await Promise.all([startPostgres(), startPostgres()])
  await query(source.url(), 'CREATE DATABASE app')
  await query(
    source.url(),
    `CREATE ROLE keeper; CREATE ROLE idle; CREATE ROLE clerk LOGIN PASSWORD 'sesame' CONNECTION LIMIT 7 IN ROLE keeper;
     ALTER ROLE clerk SET statement_timeout = '1min'`,
  )
})
afterAll(async () => {
  await source?.stop()
  await kept?.stop()
})

const never = new AbortController().signal

/** Drills on the server that is kept for drills, unless it is to be an embedded one. */
async function installation(scratch = kept.url()): Promise<TestInstallation> {
  return await testInstallation({ PGPROOF_SERVERS__0__URL: source.url(), PGPROOF_DRILL__SCRATCH: scratch })
}

type Seen = { verdict: string; code: string | undefined; rung: CheckResult | undefined; said: string }

async function drill(test: TestInstallation): Promise<Seen> {
  const { drill: result } = await test.run('drill', 'app')
  if (result === undefined) throw new Error('no report')
  const { report, tables, error } = result
  const rung = report.checks.find(({ name }) => name === 'roles')
  const said = [error?.message, error?.details, ...(tables?.notes ?? [])].filter((one) => (one ?? '') !== '').join('\n')
  return { verdict: report.verdict, code: report.reason?.code, rung, said }
}

function rolesFolder({ label }: Finished): string {
  return `roles/main/${label}/`
}

function rolesVerified(test: TestInstallation): boolean {
  return test.installation.catalog.backups({ kind: 'roles' })[0]?.verifiedAt instanceof Date
}

const drilledWith = (test: TestInstallation) => test.installation.catalog.drills({})[0]?.rolesBackup

/** A roles backup while which `change` happens: after the first reading and before the last. */
async function backUpRolesDuring(test: TestInstallation, change: string): Promise<Finished> {
  const { store } = test
  store.before = async (operation, key) => {
    if (operation !== 'write' || !key.endsWith('roles.sql.pgp')) return
    store.before = () => {}
    await query(source.url(), change)
  }
  return await test.run('roles')
}

describe('what a drill compares', () => {
  it('everything, on an embedded server - passed, and the roles backup is proven by its own manifest', async () => {
    await using test = await installation('embedded')
    const roles = await test.run('roles')
    await test.run('backup', 'app')
    expect(await drill(test)).toMatchObject({
      verdict: 'passed',
      said: '',
      rung: {
        result: 'passed',
        detail:
          '3 roles created, 5 roles, memberships and settings as they were; roles not compared: 1 that existed before',
      },
    })
    const manifest = Buffer.from(test.store.text(`${rolesFolder(roles)}manifest.json`))
    expect(drilledWith(test)).toEqual({ label: roles.label, manifestSha256: measureBytes(manifest).sha256 })
    expect(rolesVerified(test)).toBe(true)
    // Another backup under its label is not the one that was drilled.
    rewriteManifest(test, rolesFolder(roles), (stored) => ({ ...stored, pgproofVersion: '9.9.9' }))
    await test.installation.catalog.refresh(storeSetOf(test.store), never)
    expect(rolesVerified(test)).toBe(false)
    expect(test.installation.catalog.historyGaps()).toMatchObject([
      { kind: 'roles', label: roles.label, found: 'replaced', witnesses: [{ by: 'drill report' }] },
    ])
  })

  it('a role that the script lacks and nothing needs - failed, and it is named', async () => {
    await using test = await installation()
    const roles = await test.run('roles')
    await test.run('backup', 'app')
    await rewriteRoles(test, rolesFolder(roles), (script) => script.replaceAll(/^.*ROLE idle.*\n/gm, ''))
    const seen = await drill(test)
    expect(seen).toMatchObject({ verdict: 'failed', code: 'ROLES_FAILED', rung: { result: 'failed' } })
    expect(seen.said).toContain('role idle missing')
    expect(rolesVerified(test)).toBe(false)
  })

  it('a setting that the scratch server cannot have - passed, and the drill says which role it is of', async () => {
    await using test = await installation()
    const roles = await test.run('roles')
    await test.run('backup', 'app')
    const unknown = "ALTER ROLE clerk SET lc_messages TO 'tlh_KX.UTF-8';"
    await rewriteRoles(test, rolesFolder(roles), (script) => `${script}\n${unknown}\n`)
    const seen = await drill(test)
    expect(seen).toMatchObject({ verdict: 'passed', rung: { result: 'passed' } })
    expect(seen.said).toContain(
      'a setting of role clerk is not possible here: invalid value for parameter "lc_messages"',
    )
  })

  it('a search_path as the session had it, which pg_dumpall quotes anew - passed', async () => {
    await query(
      source.url(),
      `CREATE ROLE sp; SELECT set_config('search_path', '"$user","public","odd one"', false); ALTER ROLE sp SET search_path FROM CURRENT`,
    )
    try {
      await using test = await installation()
      await test.run('roles')
      await test.run('backup', 'app')
      expect(await drill(test)).toMatchObject({ verdict: 'passed', rung: { result: 'passed' } })
    } finally {
      await query(source.url(), 'DROP ROLE sp')
    }
  })
})

describe('nothing to compare', () => {
  it('no roles backup in the store - the rung is skipped, and the drill names none', async () => {
    await using test = await installation()
    await test.run('backup', 'app')
    expect(await drill(test)).toMatchObject({
      verdict: 'passed',
      rung: { result: 'skipped', detail: 'no roles backup in the store' },
    })
    expect(drilledWith(test)).toBe(null)
  })

  it('every role exists on the scratch server - skipped, and the roles backup is not proven', async () => {
    await query(kept.url(), 'CREATE ROLE keeper; CREATE ROLE idle; CREATE ROLE clerk')
    try {
      await using test = await installation()
      await test.run('roles')
      await test.run('backup', 'app')
      expect(await drill(test)).toMatchObject({
        verdict: 'passed',
        rung: { result: 'skipped', detail: 'nothing to compare; roles not compared: 4 that existed before' },
      })
      expect(drilledWith(test)).toBe(null)
      expect(rolesVerified(test)).toBe(false)
    } finally {
      await query(kept.url(), 'DROP ROLE keeper; DROP ROLE idle; DROP ROLE clerk')
    }
  })
})

describe('a role that exists on the scratch server and is another one', () => {
  it('left as it is, and noted by facet without any value; the others are compared', async () => {
    await query(kept.url(), "CREATE ROLE clerk NOLOGIN CONNECTION LIMIT 9; ALTER ROLE clerk SET work_mem = '7MB'")
    try {
      await using test = await installation()
      await test.run('roles')
      await test.run('backup', 'app')
      const { said, ...seen } = await drill(test)
      expect(seen).toMatchObject({
        verdict: 'passed',
        rung: {
          result: 'passed',
          detail:
            '2 roles created, 2 roles, memberships and settings as they were; roles not compared: 2 that existed before',
        },
      })
      const noted = said.split('\n').map((line) => line.replace(/^existed on .*?: /, ''))
      expect(noted).toEqual(
        expect.arrayContaining([
          'membership clerk in keeper missing',
          'role clerk differs in connection limit, login, password',
          'role setting clerk statement_timeout missing',
          'role setting clerk work_mem unexpected',
        ]),
      )
      expect(said).not.toMatch(/sha256|SCRAM|7MB|1min/)
    } finally {
      await query(kept.url(), 'DROP ROLE clerk')
    }
  })
})

describe('a role that others change while pg_dumpall reads', () => {
  it.each([
    ['altered', 'ALTER ROLE idle CREATEDB', 'ALTER ROLE idle NOCREATEDB', 'idle'],
    ['created', 'CREATE ROLE vault IN ROLE keeper', 'DROP ROLE vault', 'vault'],
    ['dropped', 'DROP ROLE idle', 'CREATE ROLE idle', 'idle'],
    ['given a setting', "ALTER ROLE idle SET work_mem = '7MB'", 'ALTER ROLE idle RESET work_mem', 'idle'],
  ])('%s - named in the evidence, left out of the comparison, noted', async (_, change, undo, role) => {
    await using test = await installation()
    const roles = await backUpRolesDuring(test, change)
    await query(source.url(), undo)
    const key = `${rolesFolder(roles)}evidence.json.pgp`
    expect(decodeRolesEvidence(await decryptObject(test, key), key).changed).toEqual([role])
    await test.run('backup', 'app')
    const seen = await drill(test)
    expect(seen).toMatchObject({ verdict: 'passed', rung: { result: 'passed' } })
    expect(seen.rung?.detail).toContain('1 that changed during the backup')
    expect(seen.said).toContain(`role ${role} changed while pg_dumpall was reading: not compared`)
    expect(rolesVerified(test)).toBe(true)
  })

  it.each([
    ['with what was granted to it only', (text: string) => `${text}\nGRANT keeper TO vault;\n`],
    ['with its settings only', (text: string) => `${text}\nALTER ROLE vault SET work_mem TO '7MB';\n`],
    ['not at all', (text: string) => text],
    ['wholly', (text: string) => `CREATE ROLE vault;\nALTER ROLE vault WITH SUPERUSER;\n${text}`],
  ])('created between its queries, so that it came %s - passed', async (_, written) => {
    await using test = await installation()
    const roles = await backUpRolesDuring(test, 'CREATE ROLE vault')
    await query(source.url(), 'DROP ROLE vault')
    await rewriteRoles(test, rolesFolder(roles), (text) => written(text.replaceAll(/^.*ROLE vault\b.*\n/gm, '')))
    await test.run('backup', 'app')
    expect(await drill(test)).toMatchObject({ verdict: 'passed', rung: { result: 'passed' } })
  })

  it('another role that the script does not create - failed, whatever changed beside it', async () => {
    await using test = await installation()
    const roles = await backUpRolesDuring(test, 'CREATE ROLE vault')
    await query(source.url(), 'DROP ROLE vault')
    await rewriteRoles(test, rolesFolder(roles), (text) => `${text}\nGRANT keeper TO nobody;\n`)
    await test.run('backup', 'app')
    const seen = await drill(test)
    expect(seen).toMatchObject({ verdict: 'failed', code: 'ROLES_FAILED' })
    expect(seen.said).toContain('role "nobody" does not exist')
    expect(readManifest(test, rolesFolder(roles)).omissions).toMatchObject([{ kind: 'changed during the dump' }])
  })
})
