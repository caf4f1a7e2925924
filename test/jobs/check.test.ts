import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { loadConfig } from '../../src/config/load.ts'
import { generateKeyPair } from '../../src/encryption/generate.ts'
import { PgproofError } from '../../src/errors.ts'
import { runCheck } from '../../src/jobs/check.ts'
import type { Finding } from '../../src/jobs/findings.ts'
import { StoreSet } from '../../src/storage/store-set.ts'
import { signal } from '../catalog/stored.ts'
import { startPgBouncer } from '../postgres/pgbouncer.ts'
import { type TestInstallation, testDatabase, testInstallation, testUrl } from '../support/installation.ts'
import { MemoryStore } from '../support/memory-store.ts'
import { query, startPostgres } from '../support/postgres-server.ts'

type Source = Awaited<ReturnType<typeof testDatabase>>

let source: Source
beforeAll(async () => {
  source = await testDatabase()
})
afterAll(async () => {
  await source[Symbol.asyncDispose]()
})

const check = (test: TestInstallation): Promise<Finding[]> => runCheck(test.installation, signal)

/** `subject: message`, of the problems only, without details. */
async function problemsOf(test: TestInstallation): Promise<string[]> {
  const problems = (await check(test)).filter(({ result }) => result === 'problem')
  return problems.map(({ subject, message }) => `${subject}: ${message.split('\n')[0]}`)
}

/** One database, no drills, two recipients: nothing to say against it but what `settings` bring. */
async function checkTest(settings: Record<string, string> = {}): Promise<TestInstallation> {
  return await testInstallation({ PGPROOF_SERVERS__0__DATABASES: source.name, ...settings })
}

async function addKey(test: TestInstallation, name: string, changes: Partial<Parameters<typeof generateKeyPair>[0]>) {
  const pair = await generateKeyPair({ name, kind: 'ecc', use: 'backup', now: new Date(), ...changes })
  writeFileSync(join(test.folder, `${name}.pub.asc`), pair.publicKey)
  writeFileSync(join(test.folder, `${name}.key.asc`), pair.privateKey, { mode: 0o600 })
  return { publicKey: join(test.folder, `${name}.pub.asc`), privateKey: join(test.folder, `${name}.key.asc`) }
}

/** Makes a server say, in one of its databases, that it is of another major. */
function saysThatItIs(major: number): string {
  return `SET allow_system_table_mods = on;
    ALTER FUNCTION pg_catalog.current_setting(text) RENAME TO real_setting;
    CREATE FUNCTION pg_catalog.current_setting(text) RETURNS text LANGUAGE sql STABLE AS
      $$ SELECT CASE WHEN $1 = 'server_version_num' THEN '${major}0002' ELSE pg_catalog.real_setting($1) END $$`
}

describe('check', () => {
  it('a healthy installation - no problem, each part is named, and store, spool and server are as they were', async () => {
    await using test = await checkTest()
    await test.store.put('backups/main/app/something', Buffer.from('x'), { signal })
    const findings = await check(test)
    expect(findings.filter(({ result }) => result === 'problem')).toEqual([])
    expect([...new Set(findings.map(({ subject }) => subject))]).toEqual([
      'store',
      'keys',
      'private keys',
      'server main',
      `database main/${source.name}`,
      'drills',
    ])
    expect(test.store.keys()).toEqual(['backups/main/app/something'])
    expect(existsSync(join(test.folder, 'spool'))).toBe(false)
    const sessions = `SELECT FROM pg_stat_activity WHERE application_name LIKE 'pgproof%' AND datname = '${source.name}'`
    await expect.poll(() => query(testUrl(), sessions)).toEqual([])
  })

  it('two stores, one of which refuses everything - each by its name, the other is looked at all the same', async () => {
    await using folder = await checkTest()
    const names = { PGPROOF_STORE__0__NAME: 'near', PGPROOF_STORE__1__NAME: 'far' }
    const urls = { PGPROOF_STORE__0__URL: `file://${folder.folder}/store`, PGPROOF_STORE__1__URL: 's3://bucket/prefix' }
    const { config } = await loadConfig({
      file: undefined,
      cwd: folder.folder,
      env: {
        ...names,
        ...urls,
        PGPROOF_ENCRYPTION__RECIPIENTS: 'backup.pub.asc',
        PGPROOF_SERVERS__0__NAME: 'main',
        PGPROOF_SERVERS__0__URL: testUrl(),
      },
    })
    const refusing = new MemoryStore()
    refusing.before = (operation, key) => {
      throw new PgproofError('STORE_DENIED', { operation: `${operation} of ${key}`, reason: 'no' })
    }
    const named = [new MemoryStore(), refusing].map((store, index) => ({
      name: config.stores[index]?.name ?? '',
      isRequired: true,
      writer: store,
      reader: store,
      pruner: store,
    }))
    const stores = new StoreSet(named, folder.installation)
    const findings = await runCheck({ ...folder.installation, config, stores }, signal)
    const ofStores = findings.filter(({ subject }) => subject.startsWith('store'))
    const results = (name: string): string[] =>
      ofStores.filter(({ subject }) => subject === `store ${name}`).map(({ result }) => result)
    expect(new Set(results('near'))).toEqual(new Set(['ok']))
    expect(new Set(results('far'))).toEqual(new Set(['problem']))
  })

  it('a store that cannot be reached - one problem, though the marker and the probe both come upon it', async () => {
    await using test = await checkTest()
    test.store.before = () => {
      throw new PgproofError('STORE_UNREACHABLE', { store: 'memory://store', reason: 'connection refused' })
    }
    expect(await problemsOf(test)).toEqual(['store: cannot reach the store memory://store: connection refused'])
  })

  it('cancelled while it looks at the store - CANCELLED, and the probe is gone', async () => {
    await using test = await checkTest()
    const controller = new AbortController()
    test.store.before = (operation) => {
      if (operation === 'get') controller.abort(new PgproofError('CANCELLED', { what: 'the check' }))
    }
    await expect(runCheck(test.installation, controller.signal)).rejects.toMatchObject({ code: 'CANCELLED' })
    expect(test.store.keys()).toEqual([])
  })

  it('an expired recipient and a private key behind another passphrase - both named', async () => {
    await using folder = await checkTest()
    const now = new Date()
    const expired = await addKey(folder, 'expired', {
      now: new Date(now.getTime() - 9 * 86_400_000),
      expiresAfterMs: 86_400_000,
    })
    const locked = await addKey(folder, 'locked', { passphrase: 'right' })
    writeFileSync(join(folder.folder, 'pass'), 'wrong\n', { mode: 0o600 })
    await using test = await checkTest({
      PGPROOF_ENCRYPTION__RECIPIENTS: expired.publicKey,
      PGPROOF_ENCRYPTION__PRIVATE_KEY_FILE: locked.privateKey,
      PGPROOF_ENCRYPTION__PASSPHRASE_FILE: join(folder.folder, 'pass'),
    })
    expect(await problemsOf(test)).toEqual([
      expect.stringMatching(/^keys: key [0-9A-F]{40} from .* cannot be used: .*expired/),
      expect.stringMatching(/^private keys: the passphrase does not open the key .*locked\.key\.asc$/),
    ])
  })

  it('a private key of somebody else, an only recipient, a key that expires next week - warnings', async () => {
    await using folder = await checkTest()
    const soon = await addKey(folder, 'soon', { expiresAfterMs: 7 * 86_400_000 })
    await using test = await checkTest({ PGPROOF_ENCRYPTION__RECIPIENTS: soon.publicKey })
    const warnings = (await check(test)).filter(
      ({ subject, result }) => subject.endsWith('keys') && result === 'warning',
    )
    expect(warnings.map(({ message }) => message)).toEqual([
      expect.stringMatching(/^key [0-9A-F]{40} expires at /),
      'only one recipient: if its private key is lost, so is every backup',
      'no configured private key belongs to a recipient',
    ])
  })

  it('a signing key that no trusted signer vouches for - a warning; one that cannot be read - a problem', async () => {
    await using folder = await checkTest()
    const mine = await addKey(folder, 'mine', { use: 'signing' })
    const other = await addKey(folder, 'other', { use: 'signing' })
    const settings = {
      PGPROOF_ENCRYPTION__SIGNING_KEY_FILE: mine.privateKey,
      PGPROOF_ENCRYPTION__TRUSTED_SIGNERS: other.publicKey,
    }
    await using test = await checkTest(settings)
    expect((await check(test)).map(({ message }) => message)).toContain(
      'the signing key is not among `encryption.trustedSigners`',
    )
    writeFileSync(mine.privateKey, 'no key')
    expect(await problemsOf(test)).toEqual([expect.stringMatching(/^keys: cannot read the key .*mine\.key\.asc/)])
  })

  it('trusted signers and no signing key where drills run - a warning: the reports would prove nothing', async () => {
    await using folder = await checkTest()
    const signer = await addKey(folder, 'signer', { use: 'signing' })
    await using test = await checkTest({ PGPROOF_ENCRYPTION__TRUSTED_SIGNERS: signer.publicKey })
    const message = '`encryption.trustedSigners` is set, and no signing key is configured where drills run'
    expect(await check(test)).toContainEqual(
      expect.objectContaining({ subject: 'private keys', result: 'warning', message }),
    )
    expect((await check(folder)).map((finding) => finding.message)).not.toContain(message)
  })

  it('a server that is down beside one that is not - both looked at', async () => {
    await using test = await checkTest({
      PGPROOF_SERVERS__1__NAME: 'down',
      PGPROOF_SERVERS__1__URL: 'postgres://postgres@127.0.0.1:1/postgres',
    })
    expect(await problemsOf(test)).toEqual([expect.stringMatching(/^server down: cannot connect to server "down": /)])
  })

  it('every database is excluded - a warning: nothing would be backed up', async () => {
    await using test = await testInstallation({ PGPROOF_SERVERS__0__EXCLUDE: '*' })
    expect(await check(test)).toContainEqual(
      expect.objectContaining({ subject: 'server main', result: 'warning', message: 'no database is covered' }),
    )
  })

  it('objects that no dump holds - each named with the reason', async () => {
    await using other = await testDatabase()
    await query(other.url, 'CREATE TABLE parent (id int PRIMARY KEY)')
    await query(other.url, 'CREATE TABLE child (id int CONSTRAINT of_parent REFERENCES parent)')
    await query(other.url, 'ALTER TABLE child DISABLE TRIGGER ALL')
    await using test = await testInstallation({ PGPROOF_SERVERS__0__DATABASES: other.name })
    const findings = await check(test)
    expect(findings.filter(({ message }) => message.startsWith('not in the backup: '))).toEqual([
      expect.objectContaining({
        subject: `database main/${other.name}`,
        result: 'warning',
        message: 'not in the backup: disabled foreign key check public.child of_parent',
      }),
    ])
  })

  it('a recipient that cannot be read beside a private key that can - said of the recipient alone', async () => {
    await using test = await checkTest()
    writeFileSync(test.installation.config.encryption.recipients[0] ?? '', 'no key')
    const findings = await check(test)
    const problems = findings.filter(({ result }) => result === 'problem')
    expect(problems.map(({ subject, code }) => [subject, code])).toEqual([['keys', 'KEY_UNREADABLE']])
    expect(findings.map(({ message }) => message).join()).not.toContain('the private key opens')
  })

  it('a database that does not exist - named', async () => {
    await using test = await checkTest({ PGPROOF_SERVERS__0__DATABASES: `${source.name},nothing_here` })
    expect(await problemsOf(test)).toEqual([
      'database main/nothing_here: database "nothing_here" does not exist on server "main"',
    ])
  })

  it('a wrong password, a table without SELECT, row security without BYPASSRLS - named one by one', async () => {
    await using own = await testDatabase()
    const role = `r_${own.name}`
    const settings = (password: string): Record<string, string> => ({
      PGPROOF_SERVERS__0__URL: own.url.replace('postgres@', `${role}:${password}@`),
      PGPROOF_SERVERS__0__DATABASES: own.name,
    })
    await query(own.url, `SELECT lo_unlink(oid) FROM pg_largeobject_metadata`)
    await query(own.url, `CREATE ROLE ${role} LOGIN PASSWORD 'right'; GRANT pg_read_all_data TO ${role}`)
    try {
      await using wrong = await checkTest(settings('wrong'))
      expect(await problemsOf(wrong)).toEqual([
        expect.stringMatching(/^server main: server "main" refused the login: /),
      ])
      await using test = await checkTest(settings('right'))
      expect(await problemsOf(test)).toEqual([])
      await query(own.url, 'ALTER TABLE shop.note ENABLE ROW LEVEL SECURITY')
      const unreadable = `database main/${own.name}: role "${role}" may not read everything in "${own.name}"`
      expect(await problemsOf(test)).toEqual([`${unreadable}: shop.note (row security)`])
      await query(
        own.url,
        `REVOKE pg_read_all_data FROM ${role}; GRANT USAGE ON SCHEMA shop TO ${role};
        GRANT SELECT ON ALL TABLES IN SCHEMA shop TO ${role}; GRANT SELECT ON ALL SEQUENCES IN SCHEMA shop TO ${role};
        REVOKE SELECT ON shop.item FROM ${role}; ALTER TABLE shop.note DISABLE ROW LEVEL SECURITY`,
      )
      expect(await problemsOf(test)).toEqual([`${unreadable}: shop.item (no SELECT)`])
      expect((await check(test)).map(({ message }) => message)).toContain(
        'pg_authid may not be read: roles are backed up without their passwords',
      )
    } finally {
      await query(own.url, `DROP OWNED BY ${role}; DROP ROLE ${role}`)
    }
  })

  it('a transaction pooler in front of the server - POOLER_DETECTED in words', async () => {
    await using pooler = await startPgBouncer('pool_mode = transaction')
    await using test = await checkTest({ PGPROOF_SERVERS__0__URL: pooler.url(source.name) })
    expect(await problemsOf(test)).toEqual(['server main: server "main" answers through a transaction pooler'])
  })

  it('a server whose major has no programs here - each missing program named with its package', async () => {
    await using odd = await testDatabase('template0')
    const [row] = await query(testUrl(), "SELECT current_setting('server_version_num')::int / 10000 AS major")
    const real = Number(row?.['major'])
    // A major whose settings the real server knows as well: 17 brought transaction_timeout.
    const others = real >= 17 ? [99] : [16, 15, 14].filter((one) => !existsSync(`/usr/lib/postgresql/${one}`))
    const major = others[0] ?? 0
    // One database in which the server says that it is another version.
    await query(odd.url, saysThatItIs(major))
    await using test = await checkTest({ PGPROOF_SERVERS__0__URL: odd.url })
    const findings = (await check(test)).filter(({ result }) => result === 'problem')
    expect(findings.map(({ subject, message }) => `${subject}: ${message}`)).toEqual([
      ...['pg_dump', 'pg_dumpall'].map((name) => `server main: no ${name} of PostgreSQL ${major} found`),
      ...['initdb', 'postgres', 'pg_restore'].map((name) => `drills: no ${name} of PostgreSQL ${major} found`),
    ])
    expect(findings[0]?.hint).toContain(`postgresql-client-${major}`)
  })

  it('more tables than its locks hold for a backup - warned of', async () => {
    const own = await startPostgres('max_locks_per_transaction = 10\nmax_connections = 10')
    try {
      const tables = Array.from({ length: 40 }, (_, index) => `CREATE TABLE t${index} ()`).join(';')
      await query(own.url(), `CREATE DATABASE wide`)
      await query(own.url('wide'), tables)
      await using test = await checkTest({
        PGPROOF_SERVERS__0__URL: own.url(),
        PGPROOF_SERVERS__0__DATABASES: 'wide',
      })
      expect(await check(test)).toContainEqual(
        expect.objectContaining({
          ...{ result: 'warning', subject: 'database main/wide' },
          message: '40 tables need more locks than the server has room for (100)',
          hint: expect.stringContaining('max_locks_per_transaction'),
        }),
      )
    } finally {
      await own.stop()
    }
  })

  it('a kept scratch server that is older than the source - named, with both', async () => {
    const kept = await startPostgres()
    try {
      const [row] = await query(kept.url(), "SELECT current_setting('server_version_num')::int / 10000 AS major")
      const major = Number(row?.['major'])
      await query(kept.url(), saysThatItIs(14))
      await using test = await checkTest({ PGPROOF_DRILL__SCRATCH: kept.url() })
      expect(await problemsOf(test)).toContainEqual(
        expect.stringContaining(`it runs PostgreSQL 14, server "main" ${major}`),
      )
    } finally {
      await kept.stop()
    }
  })

  it('a system that makes no namespaces - warned of what a dump could get at', async () => {
    await using test = await checkTest()
    const bin = join(test.folder, 'bin')
    mkdirSync(bin)
    writeFileSync(join(bin, 'unshare'), '#!/bin/sh\necho "unshare failed: Operation not permitted" >&2\nexit 1\n', {
      mode: 0o755,
    })
    const before = process.env['PATH']
    process.env['PATH'] = `${bin}:${before}`
    try {
      expect(await check(test)).toContainEqual(
        expect.objectContaining({
          result: 'warning',
          message:
            'what a dump brings along can get at this machine’s network, files, processes while a drill restores it',
          hint: expect.stringContaining('docs/security.md'),
        }),
      )
    } finally {
      process.env['PATH'] = before
    }
  })

  it('a spool without a free byte, and one where a file is in the way - named', async () => {
    await using full = await checkTest({ PGPROOF_DRILL__SPOOL: '/proc' })
    // Only root gets as far as to ask for the room.
    const isRoot = process.getuid?.() === 0
    expect(await problemsOf(full)).toEqual([
      expect.stringMatching(
        isRoot
          ? /^drills: the spool \/proc has too little space: [\d,]+ MiB wanted for the largest database, 0 MiB free$/
          : /^drills: the spool \/proc cannot be used: /,
      ),
    ])
    await using blocked = await checkTest()
    writeFileSync(join(blocked.folder, 'spool'), '')
    expect(await problemsOf(blocked)).toEqual([
      expect.stringMatching(/^drills: the spool .*\/spool cannot be used: ENOTDIR/),
    ])
  })

  it('a spool that the server’s user cannot reach, when pgproof is root - named', async () => {
    if (process.getuid?.() !== 0) return
    await using test = await checkTest()
    const closed = join(test.folder, 'closed')
    mkdirSync(closed, { mode: 0o700 })
    await using reached = await checkTest({ PGPROOF_DRILL__SPOOL: join(closed, 'spool') })
    expect(await problemsOf(reached)).toEqual([expect.stringContaining('may not pass through to')])
  })

  it('no user to run the embedded server as, when pgproof is root - named, and the spool is looked at all the same', async () => {
    await using test = await checkTest({ PGPROOF_DRILL__RUN_AS: 'nobody_at_all' })
    const findings = (await check(test)).filter(({ subject }) => subject === 'drills')
    const expected = process.getuid?.() === 0 ? ['problem', 'ok'] : ['ok', 'ok']
    expect(findings.map(({ result }) => result)).toEqual(expected)
  })

  it('the scratch server is the source, by another name - named', async () => {
    await using test = await checkTest({ PGPROOF_DRILL__SCRATCH: testUrl().replace('127.0.0.1', 'localhost') })
    expect(await problemsOf(test)).toEqual(['drills: the scratch server is the very server that is being backed up'])
  })

  it('the scratch server does not answer - named, and the spool is looked at all the same', async () => {
    await using test = await checkTest({ PGPROOF_DRILL__SCRATCH: 'postgres://postgres@127.0.0.1:1/postgres' })
    const findings = (await check(test)).filter(({ subject }) => subject === 'drills')
    expect(findings.map(({ result, message }) => `${result}: ${message.slice(0, 31)}`)).toEqual([
      'problem: cannot connect to server "scrat',
      expect.stringMatching(/^ok: spool /),
    ])
  })

  it('no drills here - nothing is said about them', async () => {
    await using test = await checkTest()
    const { config } = test.installation
    const installation = {
      ...test.installation,
      config: { ...config, encryption: { ...config.encryption, privateKeyFiles: [] } },
    }
    expect((await runCheck(installation, signal)).map(({ subject }) => subject)).not.toContain('drills')
  })
})
