import { execSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { labelTime } from '../../src/domain/backup-label.ts'
import { decodeManifest } from '../../src/domain/manifest.ts'
import { PgproofError } from '../../src/errors.ts'
import { backupFolder } from '../../src/storage/object-keys.ts'
import { decryptObject } from '../support/forge.ts'
import { type TestInstallation, testDatabase, testInstallation, testUrl } from '../support/installation.ts'
import { query, serverBinDir, startPostgres } from '../support/postgres-server.ts'
import { standIn } from '../support/stand-ins.ts'

const codeOf = async (promise: Promise<unknown>): Promise<string> =>
  await promise.then(
    () => 'resolved',
    (error: unknown) => (error instanceof PgproofError ? error.code : `not of the register: ${String(error)}`),
  )

/** Sessions of pgproof and its programs that are still there, and advisory locks. */
async function leftOnServer(database: string): Promise<Record<string, unknown>[]> {
  return await query(
    testUrl(),
    `SELECT application_name FROM pg_stat_activity WHERE datname = '${database}' AND application_name LIKE 'pgproof%'
     UNION ALL SELECT 'lock' FROM pg_locks l JOIN pg_database d ON d.oid = l.database WHERE locktype = 'advisory' AND d.datname = '${database}'`,
  )
}

async function expectNothingLeft(test: TestInstallation, database: string): Promise<void> {
  await expectKeysAndFreeLock(test, [], database)
  expect(execSync('ps -eo args').toString()).not.toContain(`${test.folder}/bin-`)
}

async function expectKeysAndFreeLock(test: TestInstallation, keys: string[], database: string): Promise<void> {
  expect(test.store.keys()).toEqual(keys)
  expect(test.store.unfinished).toEqual([])
  await expect.poll(() => leftOnServer(database), { timeout: 10_000 }).toEqual([])
}

describe('backup', () => {
  let database: Awaited<ReturnType<typeof testDatabase>>
  beforeAll(async () => {
    database = await testDatabase()
  })
  afterAll(async () => {
    await database[Symbol.asyncDispose]()
  })

  it('shop - four objects, a manifest that describes them, and a chain from one backup to the next', async () => {
    await using test = await testInstallation()
    const first = await test.run('backup', database.name)
    const second = await test.run('backup', database.name)
    const folder = `backups/main/${database.name}/${first.label}/`
    expect(test.store.keys().filter((key) => key.startsWith(folder))).toEqual(
      ['RECOVERY.md', 'dump.zst.pgp', 'evidence.json.pgp', 'manifest.json'].map((name) => folder + name),
    )
    const manifest = decodeManifest(Buffer.from(test.store.text(`${folder}manifest.json`)), folder)
    expect(manifest.objects.dump.bytes).toBe(test.store.objects.get(`${folder}dump.zst.pgp`)?.body.length)
    expect(manifest.evidence).toMatchObject({ level: 'digest', tables: 12 })
    expect(second.backup?.manifest.previous).toEqual({ label: first.label, sha256: first.backup?.manifestSha256 })
    expect(test.store.text(`${folder}manifest.json`)).not.toContain('customer')
    await expect.poll(() => leftOnServer(database.name)).toEqual([])
  })

  it('pg_dump exits 1 after writing 300 kB - DUMP_FAILED with its words, nothing left', async () => {
    await using test = await testInstallation()
    const bin = standIn(
      test.folder,
      'pg_dump',
      'printf PGDMP; head -c 300000 /dev/zero; echo "pg_dump: error: out of luck" >&2; exit 1',
    )
    await using broken = await testInstallation({ PGPROOF_POSTGRES__BIN_DIRS: bin })
    const error = await broken.run('backup', database.name).catch((thrown: unknown) => thrown as PgproofError)
    expect(error).toMatchObject({ code: 'DUMP_FAILED', exitCode: 12, details: 'pg_dump: error: out of luck' })
    await expectNothingLeft(broken, database.name)
  })

  it.each([
    ['killed by SIGKILL in mid-stream', 'printf PGDMP; head -c 5000000 /dev/urandom; kill -9 $$', 'DUMP_FAILED'],
    ['exits 0 after printing an error text only', 'echo "permission denied"; exit 0', 'DUMP_FAILED'],
    ['exits 0 with nothing', 'exit 0', 'DUMP_FAILED'],
    ['prints a whole dump, then fails', '"$REAL" "$@"; exit 1', 'DUMP_FAILED'],
    ['stays silent until the deadline', 'exec sleep 600', 'DEADLINE_EXCEEDED'],
    [
      'ignores SIGTERM and stays silent until the deadline',
      'trap "" TERM; sleep 600 & wait; wait',
      'DEADLINE_EXCEEDED',
    ],
  ])('pg_dump %s - no manifest, nothing left', async (_, script, code) => {
    await using folder = await testInstallation()
    const bin = standIn(folder.folder, 'pg_dump', script)
    await using test = await testInstallation({
      PGPROOF_POSTGRES__BIN_DIRS: bin,
      ...(code === 'DEADLINE_EXCEEDED' ? { PGPROOF_SERVERS__0__BACKUP_DEADLINE: '3s' } : {}),
    })
    expect(await codeOf(test.run('backup', database.name))).toBe(code)
    await expectNothingLeft(test, database.name)
    expect(test.installation.catalog.runs().find((run) => run.job === 'backup')).toMatchObject({ error: { code } })
  })

  it.each([
    ['name', 'table', `DO $$ BEGIN EXECUTE format('CREATE TABLE %I (a int)', E'caf\\xe9'); END $$`],
    ['comment', 'table', "CREATE TABLE t (a int); COMMENT ON TABLE t IS E'caf\\xe9'"],
    ['name', 'column', `DO $$ BEGIN EXECUTE format('CREATE TABLE t (%I int)', E'caf\\xe9'); END $$`],
    [
      'name',
      'function',
      `DO $$ BEGIN EXECUTE format('CREATE FUNCTION %I() RETURNS int LANGUAGE sql AS ''SELECT 1''', E'caf\\xe9'); END $$`,
    ],
  ])(
    'a SQL_ASCII database with the %s of a %s that is not UTF-8 - says of what, nothing left',
    async (what, kind, sql) => {
      const name = `ascii_${kind}_${what}`
      await query(testUrl(), `CREATE DATABASE ${name} TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'`)
      try {
        await query(testUrl(name), sql)
        await using test = await testInstallation()
        const failure = await test.run('backup', name).catch((error: unknown) => error)
        expect(failure).toMatchObject({
          code: 'NAME_INVALID',
          message: expect.stringContaining(`the name of a ${kind} in`),
        })
        await expectNothingLeft(test, name)
      } finally {
        await query(testUrl(), `DROP DATABASE ${name} WITH (FORCE)`)
      }
    },
  )

  it('the upload fails while pg_dump is silent - its error at once, not at pg_dump’s next byte', async () => {
    await using folder = await testInstallation()
    const bin = standIn(folder.folder, 'pg_dump', '"$REAL" "$@" | head -c 20000; exec sleep 600')
    await using test = await testInstallation({
      PGPROOF_POSTGRES__BIN_DIRS: bin,
      PGPROOF_SERVERS__0__BACKUP_DEADLINE: '60s',
    })
    test.store.before = (operation, key) => {
      if (operation === 'write') throw new PgproofError('STORE_FULL', { key })
    }
    expect(await codeOf(test.run('backup', database.name))).toBe('STORE_FULL')
    await expectNothingLeft(test, database.name)
  })

  it('the server ends pg_dump’s session in the middle - DUMP_FAILED, nothing left', async () => {
    await using folder = await testInstallation()
    const bin = standIn(
      folder.folder,
      'pg_dump',
      `"$REAL" "$@" | head -c 20000; ${join(serverBinDir(), 'psql')} -qAtc "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'pgproof snapshot' and datname = current_database()" >&2; sleep 600`,
    )
    await using test = await testInstallation({ PGPROOF_POSTGRES__BIN_DIRS: bin })
    expect(await codeOf(test.run('backup', database.name))).toBe('SNAPSHOT_FAILED')
    await expectNothingLeft(test, database.name)
  })

  it('cancelled in the middle - CANCELLED, nothing left', async () => {
    await using folder = await testInstallation()
    const bin = standIn(folder.folder, 'pg_dump', '"$REAL" "$@" | head -c 20000; exec sleep 600')
    await using test = await testInstallation({ PGPROOF_POSTGRES__BIN_DIRS: bin })
    const controller = new AbortController()
    test.store.before = (operation) => {
      if (operation === 'write') setImmediate(() => controller.abort())
    }
    expect(await codeOf(test.run('backup', database.name, {}, controller.signal))).toBe('CANCELLED')
    await expectNothingLeft(test, database.name)
  })

  it.each(['write', 'commit', 'put'] as const)('the store fails at %s - its error, nothing left', async (failing) => {
    await using test = await testInstallation()
    test.store.before = (operation) => {
      if (operation === failing) throw new PgproofError('STORE_FULL', { key: 'x' })
    }
    expect(await codeOf(test.run('backup', database.name))).toBe('STORE_FULL')
    await expectNothingLeft(test, database.name)
  })

  it('the store fails at the manifest itself - no backup, nothing left', async () => {
    await using test = await testInstallation()
    test.store.before = (operation, key) => {
      if (operation === 'put' && key.endsWith('manifest.json'))
        throw new PgproofError('STORE_UNREACHABLE', { store: 's', reason: 'gone' })
    }
    expect(await codeOf(test.run('backup', database.name))).toBe('STORE_UNREACHABLE')
    await expectNothingLeft(test, database.name)
  })

  it('a second backup while one runs - LOCKED, exit code 10, by another process as well', async () => {
    await using folder = await testInstallation()
    const bin = standIn(
      folder.folder,
      'pg_dump',
      `touch ${folder.folder}/started; while [ ! -e ${folder.folder}/go ]; do :; done; exec "$REAL" "$@"`,
    )
    await using test = await testInstallation({ PGPROOF_POSTGRES__BIN_DIRS: bin })
    await using other = await testInstallation()
    const running = test.run('backup', database.name)
    await expect.poll(() => readFileSync(`${folder.folder}/started`, 'utf8'), { timeout: 20_000 }).toBe('')
    expect(await codeOf(test.run('backup', database.name))).toBe('LOCKED')
    expect(await codeOf(other.run('backup', database.name))).toBe('LOCKED')
    expect(other.store.keys()).toEqual([])
    writeFileSync(`${folder.folder}/go`, '')
    expect((await running).label).toMatch(/^\d{8}T/)
  })

  it('made elsewhere since it was due - CANCELLED, nothing written, the lock free; made for the next due time', async () => {
    await using test = await testInstallation()
    const { label } = await test.run('backup', database.name)
    const made = labelTime(label ?? '') as Date
    const keys = test.store.keys()
    const day = 86_400_000
    const period = (time: number) => ({ time: new Date(time), until: new Date(time + 2 * day) })
    for (const due of [period(made.getTime()), period(made.getTime() - day)]) {
      const error = await test.run('backup', database.name, { due }).catch((thrown: unknown) => thrown as PgproofError)
      expect(error).toMatchObject({ code: 'CANCELLED', message: expect.stringContaining('done elsewhere meanwhile') })
    }
    await expectKeysAndFreeLock(test, keys, database.name)
    const due = period(made.getTime() + 1000)
    expect((await test.run('backup', database.name, { due })).backup?.manifest.previous?.label).toBe(label)
  })

  it.each([
    ['unknown database', 'no_such_db', {}, 'DATABASE_UNKNOWN'],
    ['server down', 'x', { PGPROOF_SERVERS__0__URL: 'postgres://postgres@127.0.0.1:1/postgres' }, 'SERVER_UNREACHABLE'],
  ])('%s - one clear error, nothing left', async (_, name, settings, code) => {
    await using test = await testInstallation(settings)
    expect(await codeOf(test.run('backup', name))).toBe(code)
    expect(test.store.keys()).toEqual([])
  })

  it('wrong password, then a role that may not read a table or is filtered by row security - named, nothing left', async () => {
    await using source = await testDatabase()
    const role = `r_${source.name}`
    await query(source.url, `CREATE ROLE ${role} LOGIN PASSWORD 'right'; GRANT pg_read_all_data TO ${role}`)
    try {
      const settings = (password: string): Record<string, string> => ({
        PGPROOF_SERVERS__0__URL: source.url.replace('postgres@', `${role}:${password}@`),
      })
      await using wrong = await testInstallation(settings('wrong'))
      expect(await codeOf(wrong.run('backup', source.name))).toBe('AUTHENTICATION_FAILED')
      await using test = await testInstallation(settings('right'))
      // pg_read_all_data does not cover large objects; pg_dump would fail on the first.
      const denied = await test.run('backup', source.name).catch((thrown: unknown) => thrown as PgproofError)
      expect(denied).toMatchObject({
        code: 'PRIVILEGE_MISSING',
        details: expect.stringMatching(/^large object \d+ \(no SELECT\)/),
      })
      await query(source.url, 'SELECT lo_unlink(oid) FROM pg_largeobject_metadata')
      expect((await test.run('backup', source.name)).label).toBeTruthy()

      await query(source.url, 'ALTER TABLE shop.note ENABLE ROW LEVEL SECURITY')
      const error = await test.run('backup', source.name).catch((thrown: unknown) => thrown as PgproofError)
      expect(error).toMatchObject({ code: 'PRIVILEGE_MISSING', details: 'shop.note (row security)' })
      await query(
        source.url,
        `REVOKE pg_read_all_data FROM ${role}; GRANT USAGE ON SCHEMA shop TO ${role}; GRANT SELECT ON ALL TABLES IN SCHEMA shop TO ${role}; REVOKE SELECT ON shop.item FROM ${role}`,
      )
      expect(await codeOf(test.run('backup', source.name))).toBe('PRIVILEGE_MISSING')
      expect(test.store.keys().filter((key) => key.endsWith('manifest.json'))).toHaveLength(1)
    } finally {
      await query(source.url, `DROP OWNED BY ${role}; DROP ROLE ${role}`)
    }
  })
})

it.each(['backup', 'roles'] as const)(
  '%s: another one becomes known between evidence and manifest - both name the same one before it',
  async (job) => {
    await using database = await testDatabase('template0')
    await using test = await testInstallation()
    const { catalog } = test.installation
    const first = await test.run(job, job === 'roles' ? null : database.name)
    const { manifest = expect.unreachable() } = first.backup ?? {}
    test.store.before = (operation, key) => {
      if (operation !== 'put' || !key.endsWith('RECOVERY.md')) return
      const other = { ...manifest, label: '20991231T000000Z-zzzz', snapshotTime: '2099-12-31T00:00:00.000Z' }
      catalog.addBackup({ manifest: other, manifestSha256: 'ab'.repeat(32), hasSignature: false }, ['store'])
    }
    const second = await test.run(job, job === 'roles' ? null : database.name)
    test.store.before = () => {}
    const folder = backupFolder(second.backup?.manifest ?? expect.unreachable())
    const key = `${folder}evidence.json.pgp`
    const evidence = JSON.parse((await decryptObject(test, key)).toString()) as { manifest: { previous: unknown } }
    const expected = { label: first.label, sha256: first.backup?.manifestSha256 }
    expect(second.backup?.manifest.previous).toEqual(expected)
    expect(evidence.manifest.previous).toEqual(expected)
  },
)

describe('roles backup', () => {
  it('as superuser - passwords inside; the script itself only encrypted', async () => {
    // One of its own: other tests give the shared one roles at any moment, and a backup says what changed meanwhile.
    const server = await startPostgres()
    try {
      await query(server.url(), "CREATE ROLE shop_reader LOGIN PASSWORD 'x'")
      await using test = await testInstallation({ PGPROOF_SERVERS__0__URL: server.url() })
      const { backup } = await test.run('roles')
      expect(backup?.manifest).toMatchObject({ kind: 'roles', database: null, rolePasswords: 'present', omissions: [] })
      const everything = Buffer.concat([...test.store.objects.values()].map(({ body }) => body)).toString('latin1')
      expect(everything).not.toContain('SCRAM-SHA-256')
      expect(everything).not.toContain('shop_reader')
    } finally {
      await server.stop()
    }
  })

  it('a second one while one runs - LOCKED as long as it is for the same stores, and free afterwards', async () => {
    await using folder = await testInstallation()
    const wait = `touch ${folder.folder}/started; while [ ! -e ${folder.folder}/go ]; do :; done; exec "$REAL" "$@"`
    await using test = await testInstallation({
      PGPROOF_POSTGRES__BIN_DIRS: standIn(folder.folder, 'pg_dumpall', wait),
    })
    const running = test.run('roles')
    await expect.poll(() => existsSync(`${folder.folder}/started`), { timeout: 20_000 }).toBe(true)
    await using other = await testInstallation()
    const error = await other.run('roles').catch((thrown: unknown) => thrown as PgproofError)
    expect(error).toMatchObject({ code: 'LOCKED', message: expect.stringContaining('the roles of server "main"') })
    expect(other.store.keys()).toEqual([])
    writeFileSync(`${folder.folder}/go`, '')
    expect((await running).label).toMatch(/^\d{8}T/)
    expect((await other.run('roles')).label).toMatch(/^\d{8}T/)
  })

  it('made elsewhere since it was due - CANCELLED, nothing written; made for the next due time', async () => {
    await using test = await testInstallation()
    const made = labelTime((await test.run('roles')).label ?? '') as Date
    const keys = test.store.keys()
    expect(
      await codeOf(test.run('roles', null, { due: { time: made, until: new Date(made.getTime() + 86_400_000) } })),
    ).toBe('CANCELLED')
    expect(test.store.keys()).toEqual(keys)
    const due = { time: new Date(made.getTime() + 1000), until: new Date(made.getTime() + 86_400_000) }
    expect(labelTime((await test.run('roles', null, { due })).label ?? '')).toBeInstanceOf(Date)
  })

  it('pg_authid denied - without passwords, and the manifest says so', async () => {
    await using source = await testDatabase('template0')
    const role = `r_${source.name}`
    await query(source.url, `CREATE ROLE ${role} LOGIN PASSWORD 'right'`)
    try {
      await using test = await testInstallation({
        PGPROOF_SERVERS__0__URL: source.url.replace('postgres@', `${role}:right@`),
      })
      const { backup } = await test.run('roles')
      expect(backup?.manifest).toMatchObject({
        rolePasswords: 'absent',
        omissions: [{ kind: 'role passwords', objects: 1 }],
      })
    } finally {
      await query(source.url, `DROP ROLE ${role}`)
    }
  })
})
