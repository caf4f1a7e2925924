import { execSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { decodeDrillReport } from '../../src/domain/drill-report.ts'
import { generateKeyPair } from '../../src/encryption/generate.ts'
import type { Finished } from '../../src/jobs/execute.ts'
import { forgeDump, rewriteManifest } from '../support/forge.ts'
import { type TestInstallation, testDatabase, testInstallation, testUrl } from '../support/installation.ts'
import { query, startPostgres, type TestServer } from '../support/postgres-server.ts'
import { standIn } from '../support/stand-ins.ts'

type Source = Awaited<ReturnType<typeof testDatabase>>

/** Verdict, code and the checks that did not pass, as one line to compare. */
function outcomeOf({ drill }: Finished): { verdict: string; code: string | null; broken: string[] } {
  const { report } = drill ?? {}
  if (report === undefined) throw new Error('no report')
  const broken = report.checks
    .filter(({ result }) => result === 'failed' || result === 'inconclusive')
    .map(({ name }) => name)
  return { verdict: report.verdict, code: report.reason?.code ?? null, broken }
}

/** For a stand-in of pg_restore that is to fail only when it restores. */
const listsForReal = '[ "$1" = --list ] && exec "$REAL" "$@"'

function folderOf(database: string, { label }: Finished): string {
  return `backups/main/${database}/${label}/`
}

function expectNothingLeft(test: TestInstallation): void {
  expect(test.spoolLeft()).toEqual([])
  expect(execSync('ps -eo args').toString()).not.toContain(test.folder)
}

describe('drill with the embedded server', () => {
  let source: Source
  beforeAll(async () => {
    source = await testDatabase()
  })
  afterAll(async () => {
    await source[Symbol.asyncDispose]()
  })

  it('a healthy backup - passed on every rung, timed, stored, everything gone', async () => {
    await using test = await testInstallation({ PGPROOF_SERVERS__0__OBJECTIVES__RTO: '10m' })
    await test.run('roles')
    const backup = await test.run('backup', source.name)
    const drill = await test.run('drill', source.name)
    expect(outcomeOf(drill)).toEqual({ verdict: 'passed', code: null, broken: [] })
    const key = `drills/main/${source.name}/${drill.label}.json`
    const report = decodeDrillReport(Buffer.from(test.store.text(key)), key)
    expect(report).toMatchObject({
      backup: { label: backup.label },
      pick: { rule: 'random', seed: 0 },
      rtoSeconds: 600,
    })
    expect(report.checks.filter(({ result }) => result === 'skipped').map(({ name }) => name)).toEqual(['signature'])
    expect(report.compared).toMatchObject({ tables: 12, differences: 0 })
    expect(report.restoreTimeSeconds).toBeGreaterThan(0)
    expect(test.store.text(key)).not.toContain('customer')
    expect(
      drill.drill?.tables?.tables.every(({ compared, result }) => compared === 'rows and digest' && result === 'equal'),
    ).toBe(true)
    expect(test.installation.catalog.newest('main', source.name, 'verified')?.manifest.label).toBe(backup.label)
    expectNothingLeft(test)
  })

  it.each([
    [
      'one row deleted',
      'DELETE FROM shop.customer WHERE id = 7 AND NOT EXISTS (SELECT FROM shop.purchase WHERE customer_id = 7); DELETE FROM shop.event WHERE id = 7',
      'shop.event',
      'row counts',
    ],
    ['one row added', "INSERT INTO shop.note VALUES ('eve', 'planted')", 'shop.note', 'row counts'],
    ['one value changed', 'UPDATE shop.product SET price = price + 0.01 WHERE id = 3', 'shop.product', 'digests'],
    [
      'two rows swap a value',
      'UPDATE shop.product p SET title = o.title FROM shop.product o WHERE (p.id, o.id) IN ((1, 2), (2, 1))',
      'shop.product',
      'digests',
    ],
    ['null instead of an empty string', "UPDATE shop.note SET body = NULL WHERE body = ''", 'shop.note', 'digests'],
    ['a sequence set back', "SELECT setval('shop.event_id_seq', 1, false)", 'shop.event_id_seq', 'sequences'],
    [
      'a large object changed',
      "SELECT lo_put(oid, 0, decode('00', 'hex')) FROM pg_largeobject_metadata LIMIT 1",
      'large objects',
      'large objects',
    ],
  ])('%s in a dump that fits manifest and evidence - failed, and named', async (_, sql, named, check) => {
    await using test = await testInstallation()
    await using copy = await testDatabase()
    await test.run('roles')
    const backup = await test.run('backup', source.name)
    await query(copy.url, sql)
    await forgeDump(test, folderOf(source.name, backup), copy.url, { fitEvidence: true })
    const drill = await test.run('drill', source.name)
    const outcome = { verdict: 'failed', code: 'EVIDENCE_MISMATCH', broken: [check] }
    expect(outcomeOf(drill), drill.error?.details).toEqual(outcome)
    expect(drill.error?.message).toContain(named)
    // The stored report names no table; its encrypted part does.
    expect(test.store.text(`drills/main/${source.name}/${drill.label}.json`)).not.toContain('shop.')
    expectNothingLeft(test)
  })

  it('amcheck is wanted - a rung of its own that says how much was checked', async () => {
    await using test = await testInstallation({ PGPROOF_DRILL__AMCHECK: 'true' })
    await test.run('roles')
    await test.run('backup', source.name)
    const { drill } = await test.run('drill', source.name)
    expect(drill?.report.checks.find(({ name }) => name === 'amcheck')).toEqual({
      name: 'amcheck',
      result: 'passed',
      detail: expect.stringMatching(/^\d+ tables and \d+ indexes, every page as it should be$/),
    })
  })

  it('objects of the backup gone after its manifest was read - failed, nothing left behind', async () => {
    await using test = await testInstallation()
    await test.run('roles')
    const backup = await test.run('backup', source.name)
    test.store.before = (operation, key) => {
      if (operation === 'read' && key.endsWith('dump.zst.pgp')) test.store.objects.delete(key)
    }
    const drill = await test.run('drill', source.name, { backup: backup.label ?? '' })
    expect(outcomeOf(drill)).toEqual({ verdict: 'failed', code: 'STORE_NOT_FOUND', broken: ['recipients'] })
    expectNothingLeft(test)
  })

  it('signatures demanded: good one passes; absent, foreign or not fitting ones fail', async () => {
    await using folder = await testInstallation()
    const signer = await generateKeyPair({ name: 'signer', kind: 'ecc', use: 'signing', now: new Date() })
    const stranger = await generateKeyPair({ name: 'stranger', kind: 'ecc', use: 'signing', now: new Date() })
    for (const [name, pair] of Object.entries({ signer, stranger })) {
      writeFileSync(join(folder.folder, `${name}.key.asc`), pair.privateKey, { mode: 0o600 })
      writeFileSync(join(folder.folder, `${name}.pub.asc`), pair.publicKey)
    }
    const settings = (name: string): Record<string, string> => ({
      PGPROOF_ENCRYPTION__SIGNING_KEY_FILE: join(folder.folder, `${name}.key.asc`),
      PGPROOF_ENCRYPTION__TRUSTED_SIGNERS: join(folder.folder, 'signer.pub.asc'),
    })
    await using test = await testInstallation(settings('signer'))
    await using planted = await testInstallation(settings('stranger'), { store: test.store })
    await test.run('roles')
    const good = await test.run('backup', source.name)
    const bad = await planted.run('backup', source.name)
    expect(outcomeOf(await test.run('drill', source.name, { backup: good.label ?? '' }))).toMatchObject({
      verdict: 'passed',
    })
    const foreign = await test.run('drill', source.name, { backup: bad.label ?? '' })
    expect(outcomeOf(foreign)).toEqual({ verdict: 'failed', code: 'SIGNATURE_INVALID', broken: ['signature'] })

    rewriteManifest(test, folderOf(source.name, good), (manifest) => ({
      ...manifest,
      finishedAt: new Date().toISOString(),
    }))
    const edited = await test.run('drill', source.name, { backup: good.label ?? '' })
    expect(outcomeOf(edited)).toMatchObject({ verdict: 'failed', code: 'SIGNATURE_INVALID' })
    test.store.objects.delete(`${folderOf(source.name, good)}manifest.json.sig`)
    const bare = await test.run('drill', source.name, { backup: good.label ?? '' })
    expect(outcomeOf(bare)).toMatchObject({ verdict: 'failed', code: 'SIGNATURE_MISSING' })
  })

  it('another private key - inconclusive, naming whom it is for', async () => {
    await using test = await testInstallation()
    await test.run('roles')
    await test.run('backup', source.name)
    const other = await generateKeyPair({ name: 'other', kind: 'ecc', use: 'backup', now: new Date() })
    writeFileSync(join(test.folder, 'backup.key.asc'), other.privateKey, { mode: 0o600 })
    const drill = await test.run('drill', source.name)
    expect(outcomeOf(drill)).toMatchObject({ verdict: 'inconclusive', code: 'KEY_NO_MATCH' })
    expectNothingLeft(test)
  })

  it.each([
    ['initdb', 'echo "initdb: error: no luck" >&2; exit 1', 'SCRATCH_FAILED', 'inconclusive', 'scratch server'],
    ['postgres', 'exit 1', 'SCRATCH_FAILED', 'inconclusive', 'scratch server'],
    [
      'pg_restore',
      'echo "pg_restore: error: could not read from input file: end of file" >&2; exit 1',
      'RESTORE_FAILED',
      'failed',
      'restore',
    ],
    [
      'pg_restore',
      'echo "pg_restore: error: could not write: No space left on device" >&2; exit 1',
      'SPOOL_FULL',
      'inconclusive',
      'restore',
    ],
    [
      'pg_restore',
      'echo \'pg_restore: error: could not execute query: ERROR:  extension "tardis" is not available\' >&2; exit 1',
      'EXTENSION_MISSING',
      'inconclusive',
      'restore',
    ],
    ['pg_restore', 'kill -9 $$', 'SCRATCH_FAILED', 'inconclusive', 'restore'],
  ])('%s: %s - %s, %s', async (program, script, code, verdict, check) => {
    await using folder = await testInstallation()
    const bin = standIn(folder.folder, program, `${listsForReal}\n${script}`)
    await using test = await testInstallation({ PGPROOF_POSTGRES__BIN_DIRS: bin })
    await test.run('roles')
    await test.run('backup', source.name)
    expect(outcomeOf(await test.run('drill', source.name))).toEqual({ verdict, code, broken: [check] })
    expectNothingLeft(test)
  })

  it('no roles backup - inconclusive with the mend; after one it passes', async () => {
    await using test = await testInstallation()
    await test.run('backup', source.name)
    const drill = await test.run('drill', source.name)
    expect(outcomeOf(drill)).toEqual({ verdict: 'inconclusive', code: 'ROLES_MISSING', broken: ['restore'] })
    expect(drill.error?.hint).toContain('pgproof backup --roles')
    await test.run('roles')
    expect(outcomeOf(await test.run('drill', source.name))).toMatchObject({ verdict: 'passed' })
  })

  it('the operator’s questions: true passes, false fails, nonsense is inconclusive', async () => {
    const ask = async (sql: string): Promise<ReturnType<typeof outcomeOf>> => {
      await using test = await testInstallation({
        PGPROOF_SERVERS__0__CHECKS__0__NAME: 'asked',
        PGPROOF_SERVERS__0__CHECKS__0__SQL: sql,
      })
      await test.run('roles')
      await test.run('backup', source.name)
      return outcomeOf(await test.run('drill', source.name))
    }
    expect(
      await ask("select count(*) > 3 and timestamptz '{{snapshotTime}}' > now() - interval '1 hour' from shop.note"),
    ).toMatchObject({ verdict: 'passed' })
    expect(await ask('select false')).toEqual({ verdict: 'failed', code: 'VERIFY_FAILED', broken: ['sql: asked'] })
    expect(await ask('select * from nowhere')).toEqual({
      verdict: 'inconclusive',
      code: 'QUERY_FAILED',
      broken: ['sql: asked'],
    })
    expect(await ask('delete from shop.note returning true')).toMatchObject({
      verdict: 'inconclusive',
      code: 'QUERY_FAILED',
    })
  })

  it('the operator’s questions - asked under the settings of the database', async () => {
    const set = (how: string): Promise<unknown> => query(source.url, `ALTER DATABASE ${source.name} ${how}`)
    for (const how of ["SET TimeZone = 'Pacific/Auckland'", "SET DateStyle = 'SQL, DMY'", 'SET search_path = shop'])
      await set(how)
    try {
      await using test = await testInstallation({
        PGPROOF_SERVERS__0__CHECKS__0__NAME: 'asked',
        PGPROOF_SERVERS__0__CHECKS__0__SQL:
          "select count(*) > 3 and current_setting('TimeZone') = 'Pacific/Auckland' and '13/12/2026'::date = date '2026-12-13' from note",
      })
      await test.run('roles')
      await test.run('backup', source.name)
      expect(outcomeOf(await test.run('drill', source.name))).toMatchObject({ verdict: 'passed' })
    } finally {
      await set('RESET ALL')
    }
  })

  it('cancelled during the restore - inconclusive report, no server, no spool', async () => {
    await using folder = await testInstallation()
    const bin = standIn(
      folder.folder,
      'pg_restore',
      `${listsForReal}\ntouch ${folder.folder}/restoring; exec sleep 600`,
    )
    await using test = await testInstallation({ PGPROOF_POSTGRES__BIN_DIRS: bin })
    await test.run('roles')
    await test.run('backup', source.name)
    const controller = new AbortController()
    const running = test.run('drill', source.name, {}, controller.signal)
    await expect.poll(() => execSync(`ls ${folder.folder}`).toString(), { timeout: 30_000 }).toContain('restoring')
    controller.abort()
    expect(outcomeOf(await running)).toEqual({ verdict: 'inconclusive', code: 'CANCELLED', broken: ['restore'] })
    expectNothingLeft(test)
  })

  it('cancelled while all is cleaned up - failed: what a rung had found by then holds', async () => {
    await using test = await testInstallation({
      PGPROOF_SERVERS__0__CHECKS__0__NAME: 'asked',
      PGPROOF_SERVERS__0__CHECKS__0__SQL: 'select false',
    })
    await test.run('roles')
    await test.run('backup', source.name)
    const controller = new AbortController()
    test.store.before = (operation, key) => {
      if (operation === 'delete' && key.startsWith('holds/')) controller.abort()
    }
    const drill = await test.run('drill', source.name, {}, controller.signal)
    expect(controller.signal.aborted).toBe(true)
    expect(outcomeOf(drill)).toEqual({ verdict: 'failed', code: 'VERIFY_FAILED', broken: ['sql: asked'] })
    expectNothingLeft(test)
  })

  it('nothing to drill, unknown label - clear errors and no report', async () => {
    await using test = await testInstallation()
    await expect(test.run('drill', source.name)).rejects.toMatchObject({ code: 'NO_BACKUP' })
    await test.run('backup', source.name)
    await expect(test.run('drill', source.name, { backup: '20200101T000000Z-aaaa' })).rejects.toMatchObject({
      code: 'LABEL_UNKNOWN',
    })
    expect(test.store.keys().some((key) => key.startsWith('drills/'))).toBe(false)
  })
})

describe('drill with a server kept for drills', () => {
  let source: Source
  let scratch: TestServer
  beforeAll(async () => {
    source = await testDatabase()
    scratch = await startPostgres()
  })
  afterAll(async () => {
    await scratch.stop()
    await source[Symbol.asyncDispose]()
  })

  it('passes, and leaves neither database nor role behind; existing roles stay as they were', async () => {
    await using test = await testInstallation({ PGPROOF_DRILL__SCRATCH: scratch.url() })
    const state =
      'SELECT (SELECT json_agg(datname ORDER BY 1) FROM pg_database) AS databases, (SELECT json_agg(a ORDER BY rolname) FROM pg_authid a) AS roles'
    const before = await query(scratch.url(), state)
    await test.run('roles')
    await test.run('backup', source.name)
    expect(outcomeOf(await test.run('drill', source.name))).toMatchObject({ verdict: 'passed' })
    expect(await query(scratch.url(), state)).toEqual(before)
    expectNothingLeft(test)
  })

  it('a scratch database that a killed drill left - removed by the next drill; one without the mark stays', async () => {
    await using test = await testInstallation({ PGPROOF_DRILL__SCRATCH: scratch.url() })
    await query(scratch.url(), 'CREATE DATABASE pgproof_scratch_left')
    await query(scratch.url(), "COMMENT ON DATABASE pgproof_scratch_left IS 'pgproof scratch database'")
    await query(scratch.url(), 'CREATE DATABASE pgproof_scratch_mine')
    await test.run('roles')
    await test.run('backup', source.name)
    expect(outcomeOf(await test.run('drill', source.name))).toMatchObject({ verdict: 'passed' })
    expect(await query(scratch.url(), "SELECT datname FROM pg_database WHERE datname LIKE 'pgproof%'")).toEqual([
      { datname: 'pgproof_scratch_mine' },
    ])
    await query(scratch.url(), 'DROP DATABASE pgproof_scratch_mine')
  })

  it('the scratch server is the source - inconclusive, nothing touched', async () => {
    // The same server by another name, so that only its system identifier gives it away.
    await using test = await testInstallation({ PGPROOF_DRILL__SCRATCH: testUrl().replace('127.0.0.1', 'localhost') })
    await test.run('roles')
    await test.run('backup', source.name)
    expect(outcomeOf(await test.run('drill', source.name))).toMatchObject({
      verdict: 'inconclusive',
      code: 'SCRATCH_IS_SOURCE',
    })
    expect(await query(testUrl(), "SELECT FROM pg_database WHERE datname LIKE 'pgproof_scratch%'")).toEqual([])
  })

  it('the scratch server is down - inconclusive', async () => {
    await using test = await testInstallation({ PGPROOF_DRILL__SCRATCH: 'postgres://postgres@127.0.0.1:1/postgres' })
    await test.run('roles')
    await test.run('backup', source.name)
    expect(outcomeOf(await test.run('drill', source.name))).toMatchObject({
      verdict: 'inconclusive',
      code: 'SERVER_UNREACHABLE',
    })
    expectNothingLeft(test)
  })
})
