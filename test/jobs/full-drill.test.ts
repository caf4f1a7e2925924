import { execSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { decodeFullDrillReport } from '../../src/domain/full-drill-report.ts'
import { generateKeyPair } from '../../src/encryption/generate.ts'
import type { FullDrillResult } from '../../src/jobs/full-drill-request.ts'
import { executeFullDrill } from '../../src/jobs/order-full-drill.ts'
import { runPrune } from '../../src/jobs/prune.ts'
import { newRun } from '../../src/jobs/run-job.ts'
import { createLog } from '../../src/log.ts'
import { measureBytes } from '../../src/streams/measure.ts'
import { bytesOf, forgeDump, rewriteManifest } from '../support/forge.ts'
import { startGpg } from '../support/gpg.ts'
import { type TestInstallation, testDatabase, testInstallation, testUrl } from '../support/installation.ts'
import { query, startPostgres } from '../support/postgres-server.ts'
import { standIn } from '../support/stand-ins.ts'
import { storeSetOf } from '../support/store-sets.ts'

type Source = Awaited<ReturnType<typeof testDatabase>>
/** Two shops and a small one. */
let shop: Source
let branch: Source
let crm: Source

beforeAll(async () => {
  shop = await testDatabase()
  branch = await testDatabase()
  crm = await testDatabase('template1')
  await query(crm.url, 'CREATE TABLE contact (id int); INSERT INTO contact SELECT generate_series(1, 1000)')
})
afterAll(async () => {
  for (const source of [shop, branch, crm]) await source[Symbol.asyncDispose]()
})

/** In the order of the report. */
const names = (): string[] => [shop, branch, crm].map(({ name }) => name).sort()
const nameOf = (index: number): string => names()[index] as string

/** Backups of the roles and of all three databases, or of those named. */
async function backedUp(settings: Record<string, string> = {}, databases = names()): Promise<TestInstallation> {
  const test = await testInstallation({ PGPROOF_SERVERS__0__DATABASES: names().join(','), ...settings })
  await test.run('roles')
  for (const database of databases) await test.run('backup', database)
  return test
}

async function fullDrill(
  test: TestInstallation,
  signal: AbortSignal = new AbortController().signal,
): Promise<FullDrillResult> {
  const { installation, store } = test
  await installation.catalog.refresh(storeSetOf(store), signal)
  return await executeFullDrill({ server: 'main', trigger: 'cli' }, installation, signal)
}

const verdicts = ({ report }: FullDrillResult): string[] => report.databases.map(({ verdict }) => verdict)

function expectNothingLeft(test: TestInstallation): void {
  expect(test.spoolLeft()).toEqual([])
  expect(execSync('ps -eo args').toString()).not.toContain(test.folder)
}

describe('a full drill with the embedded server', () => {
  it('three healthy databases and roles - passed, each with a report of its own, all of one server', async () => {
    await using test = await backedUp({ PGPROOF_SERVERS__0__OBJECTIVES__RTO: '10m' })
    const { report, drills, error } = await fullDrill(test)
    expect({ error, verdicts: verdicts({ report, drills, error }) }).toEqual({
      error: null,
      verdicts: ['passed', 'passed', 'passed'],
    })
    expect(report).toMatchObject({ verdict: 'passed', reason: null, objective: 'met', signer: null, rtoSeconds: 600 })
    expect(report.databases.map(({ database }) => database)).toEqual(names())
    expect(report.rolesBackup).toMatchObject({ passwords: 'present' })
    const key = `full-drills/main/${report.label}.json`
    expect(decodeFullDrillReport(bytesOf(test, key), key)).toEqual(report)
    for (const { database, drill, tables, differences, restoreTimeSeconds } of report.databases) {
      const stored = bytesOf(test, `drills/main/${database}/${drill?.label}.json`)
      expect(drill?.sha256).toBe(measureBytes(stored).sha256)
      expect(tables).toBeGreaterThan(0)
      expect([differences, restoreTimeSeconds === null]).toEqual([0, false])
      // It counts as any drill.
      expect(test.installation.catalog.newest('main', database, 'verified')).toBeDefined()
    }
    const { seconds, recoveryPoints, environment } = report
    expect(seconds.whole).toBeGreaterThan(Math.max(seconds.roles, seconds.restore / 3, seconds.verification / 3))
    expect(Date.parse(recoveryPoints?.newest ?? '')).toBeGreaterThan(Date.parse(recoveryPoints?.oldest ?? ''))
    expect(environment).toMatchObject({ scratch: 'embedded' })
    expect(drills.map((drill) => drill.report.environment.scratch)).toEqual(['embedded', 'embedded', 'embedded'])
    // Later databases found the roles of the first one and compared them all the same.
    for (const drill of drills)
      expect(drill.report.checks.find(({ name }) => name === 'roles')).toMatchObject({ result: 'passed' })
    expect(test.store.text(key)).not.toContain('customer')
    await test.installation.catalog.refresh(storeSetOf(test.store), new AbortController().signal)
    expect([test.installation.catalog.damaged(), test.installation.catalog.orphans()]).toEqual([[], []])
    expectNothingLeft(test)
  })

  it('every database is there at once at the end - seen by the last restore', async () => {
    await using folder = await testInstallation()
    const { folder: path } = folder
    const seen = join(path, 'seen')
    const script = `[ "$1" = --list ] && exec "$REAL" "$@"
"${'$'}REAL" "$@" || exit
for a in "$@"; do case "$a" in --create) exit;; esac; done
ls -d ${path}/spool/*/data/base/* | wc -l >> ${seen}`
    const bin = standIn(path, 'pg_restore', script)
    await using test = await backedUp({ PGPROOF_POSTGRES__BIN_DIRS: bin, PGPROOF_DRILL__SPOOL: join(path, 'spool') })
    expect(verdicts(await fullDrill(test))).toEqual(['passed', 'passed', 'passed'])
    const counts = execSync(`cat ${seen}`).toString().trim().split('\n').map(Number)
    expect((counts.at(-1) ?? 0) - (counts[0] ?? 0)).toBe(2)
  })

  it('one row changed in one dump - failed by that database, named; the others passed', async () => {
    await using test = await backedUp()
    await using copy = await testDatabase()
    await query(copy.url, 'UPDATE shop.product SET price = price + 0.01 WHERE id = 3')
    const backup = test.installation.catalog.newest('main', shop.name)
    await forgeDump(test, backup?.folder ?? '', copy.url, { fitEvidence: true })
    const result = await fullDrill(test)
    expect(verdicts(result)).toEqual(names().map((name) => (name === shop.name ? 'failed' : 'passed')))
    expect(result.report).toMatchObject({ verdict: 'failed', reason: { code: 'FULL_DRILL_FAILED' } })
    expect(result.report.databases[names().indexOf(shop.name)]).toMatchObject({
      differences: 1,
      reason: { code: 'EVIDENCE_MISMATCH' },
    })
    expect(result.error?.message).toContain(shop.name)
    expect(test.store.text(`full-drills/main/${result.report.label}.json`)).not.toContain('shop.product')
    expectNothingLeft(test)
  })

  it('a configured database without a backup - failed, though every backup there is passed', async () => {
    await using test = await backedUp({}, names().slice(0, 2))
    const result = await fullDrill(test)
    expect(verdicts(result)).toEqual(['passed', 'passed', 'failed'])
    expect(result.report.databases[2]).toMatchObject({
      database: nameOf(2),
      backup: null,
      drill: null,
      reason: { code: 'NO_BACKUP' },
    })
    expect(result.error?.code).toBe('FULL_DRILL_FAILED')
  })

  it('the newest manifest of one, and the only one of another, cannot be read - both failed, whatever older backups prove', async () => {
    await using test = await backedUp()
    await test.run('backup', nameOf(0))
    const manifests = test.store.keys().filter((key) => key.endsWith('/manifest.json'))
    const newest = manifests.filter((key) => key.includes(`/${nameOf(0)}/`)).at(-1) ?? expect.unreachable()
    const only = manifests.find((key) => key.includes(`/${nameOf(1)}/`)) ?? expect.unreachable()
    for (const key of [newest, only]) test.store.truncate(key, 100)
    const result = await fullDrill(test)
    const seen = result.report.databases.map(({ database, verdict, reason }) => [database, verdict, reason?.code])
    expect(seen.toSorted()).toEqual([
      [nameOf(0), 'failed', 'STORE_FORMAT_INVALID'],
      [nameOf(1), 'failed', 'STORE_FORMAT_INVALID'],
      [nameOf(2), 'passed', undefined],
    ])
    expect(result.error?.code).toBe('FULL_DRILL_FAILED')
  })

  it('a database with a backup that is not configured any more - rebuilt too, and said', async () => {
    await using test = await backedUp({ PGPROOF_SERVERS__0__DATABASES: nameOf(0) }, names().slice(0, 2))
    const { report } = await fullDrill(test)
    expect(report.databases.map(({ verdict, isConfigured }) => [verdict, isConfigured])).toEqual([
      ['passed', true],
      ['passed', false],
    ])
  })

  it('evidence that cannot be read, a restore time to keep, reports that nobody signs - inconclusive, unmeasured, and said to prove nothing', async () => {
    await using folder = await testInstallation()
    const signer = await generateKeyPair({ name: 'signer', kind: 'ecc', use: 'signing', now: new Date() })
    writeFileSync(join(folder.folder, 'signer.key.asc'), signer.privateKey, { mode: 0o600 })
    writeFileSync(join(folder.folder, 'signer.pub.asc'), signer.publicKey)
    const signing = { PGPROOF_ENCRYPTION__SIGNING_KEY_FILE: join(folder.folder, 'signer.key.asc') }
    const trusting = { PGPROOF_ENCRYPTION__TRUSTED_SIGNERS: join(folder.folder, 'signer.pub.asc') }
    await using source = await backedUp({ ...signing, ...trusting }, [crm.name, shop.name])
    // Drills happen elsewhere, without the key that signs.
    const rto = {
      PGPROOF_SERVERS__0__OBJECTIVES__RTO: '10m',
      PGPROOF_SERVERS__0__DATABASES: `${crm.name},${shop.name}`,
    }
    await using test = await testInstallation({ ...rto, ...trusting }, { store: source.store })
    const key = source.store.keys().find((name) => name.includes(`/${shop.name}/`) && name.includes('/evidence')) ?? ''
    const damaged = Buffer.from(bytesOf(source, key))
    damaged[damaged.length >> 1] = (damaged[damaged.length >> 1] ?? 0) ^ 1
    source.store.objects.set(key, { body: damaged, modifiedAt: new Date() })
    const lines: string[] = []
    const log = createLog({ level: 'warn', format: 'json' }, (line) => lines.push(line))
    const { installation } = test
    await installation.catalog.refresh(storeSetOf(test.store), new AbortController().signal)
    const asked = { server: 'main', trigger: 'cli' } as const
    const { report } = await executeFullDrill(asked, { ...installation, log }, new AbortController().signal)
    const verdict = Object.fromEntries(report.databases.map(({ database, verdict }) => [database, verdict]))
    expect(verdict).toEqual({ [crm.name]: 'passed', [shop.name]: 'failed' })
    expect(report).toMatchObject({ verdict: 'failed', objective: 'unmeasured', signer: null, rtoSeconds: 600 })
    expect(lines.join('')).toContain('the report of this full drill proves nothing: no trusted signer signed it')
  })

  it('no backup of the roles - failed, and why; none of any database - NO_BACKUP and no report', async () => {
    await using test = await testInstallation()
    await expect(fullDrill(test)).rejects.toMatchObject({ code: 'NO_BACKUP' })
    await test.run('backup', crm.name)
    const { report, error } = await fullDrill(test)
    expect(report).toMatchObject({ verdict: 'failed', rolesBackup: null, databases: [{ verdict: 'passed' }] })
    expect(error?.message).toContain('no backup of them is in the store')
  })

  it('two databases with pg_cron - the first is restored with it, the second inconclusive with the reason', async () => {
    await using test = await testInstallation()
    for (const database of ['first', 'second']) {
      await using server = await keptServer(
        `shared_preload_libraries = 'pg_cron'\ncron.database_name = '${database}'\ncron.launch_active_jobs = off`,
      )
      await query(server.url, `CREATE DATABASE ${database}`)
      await query(server.url.replace(/postgres$/, database), 'CREATE EXTENSION pg_cron')
      await using source = await testInstallation({ PGPROOF_SERVERS__0__URL: server.url }, { store: test.store })
      await source.run('roles')
      await source.run('backup', database)
    }
    const { report } = await fullDrill(test)
    expect(report.databases.map(({ database, verdict, reason }) => [database, verdict, reason?.code])).toEqual([
      ['first', 'passed', undefined],
      ['second', 'inconclusive', 'LIBRARY_NOT_LOADED'],
    ])
    expect(report).toMatchObject({ verdict: 'inconclusive', reason: { code: 'FULL_DRILL_INCONCLUSIVE' } })
  })

  it('less space than all of them together need - inconclusive before anything is fetched', async () => {
    await using test = await backedUp()
    const backup = test.installation.catalog.newest('main', nameOf(1))
    rewriteManifest(test, backup?.folder ?? '', (manifest) => ({
      ...manifest,
      source: { ...manifest.source, databaseBytes: 2 ** 50 },
    }))
    await test.installation.catalog.refresh(storeSetOf(test.store), new AbortController().signal)
    test.store.calls.length = 0
    const result = await fullDrill(test)
    expect(verdicts(result)).toEqual(['inconclusive', 'inconclusive', 'inconclusive'])
    expect(result.report).toMatchObject({ verdict: 'inconclusive', reason: { code: 'SPOOL_FULL' } })
    expect(test.store.calls.filter((call) => /^(get|read)/.test(call))).toEqual([])
    expectNothingLeft(test)
  })

  it('cancelled in the second database - its report and the full one stored, everything gone', async () => {
    await using folder = await testInstallation()
    // The databases are numbered in the order of the report.
    const script = `case "$PGDATABASE" in *_2) touch ${folder.folder}/second; exec sleep 600;; esac
exec "$REAL" "$@"`
    const bin = standIn(folder.folder, 'pg_restore', script)
    await using test = await backedUp({ PGPROOF_POSTGRES__BIN_DIRS: bin })
    const controller = new AbortController()
    const running = fullDrill(test, controller.signal)
    await expect.poll(() => execSync(`ls ${folder.folder}`).toString(), { timeout: 60_000 }).toContain('second')
    controller.abort()
    const result = await running
    expect(verdicts(result)).toEqual(['passed', 'inconclusive', 'inconclusive'])
    expect(result.report).toMatchObject({ verdict: 'inconclusive', reason: { code: 'CANCELLED' } })
    expect(result.report.databases.map(({ drill }) => drill !== null)).toEqual([true, true, false])
    expect(test.store.keys()).toContain(`full-drills/main/${result.report.label}.json`)
    expectNothingLeft(test)
  })

  it('another drill of one of the databases goes on - inconclusive by it, without a report of its own; the others passed', async () => {
    await using small = await testDatabase('template1')
    const databases = [crm.name, small.name]
    await using test = await backedUp({ PGPROOF_SERVERS__0__DATABASES: databases.join(',') }, databases)
    const { installation } = test
    const other = newRun({ job: 'drill', server: 'main', database: crm.name, trigger: 'http' }, installation)
    installation.catalog.updateRun(other.id, { state: 'running', startedAt: new Date() })
    const { report } = await fullDrill(test)
    expect(report).toMatchObject({ verdict: 'inconclusive', reason: { code: 'FULL_DRILL_INCONCLUSIVE' } })
    const found = Object.fromEntries(report.databases.map(({ database, ...one }) => [database, one]))
    expect(found).toMatchObject({
      [crm.name]: { verdict: 'inconclusive', drill: null, reason: { code: 'LOCKED' } },
      [small.name]: { verdict: 'passed', drill: {}, reason: null },
    })
    expect(test.store.keys().filter((key) => key.startsWith(`drills/main/${crm.name}/`))).toEqual([])
    expectNothingLeft(test)
  })

  it('signed - real gpg accepts the report as stored, and refuses it with one byte changed', async () => {
    await using folder = await testInstallation()
    const signer = await generateKeyPair({ name: 'signer', kind: 'ecc', use: 'signing', now: new Date() })
    writeFileSync(join(folder.folder, 'signer.key.asc'), signer.privateKey, { mode: 0o600 })
    writeFileSync(join(folder.folder, 'signer.pub.asc'), signer.publicKey)
    await using test = await backedUp(
      {
        PGPROOF_ENCRYPTION__SIGNING_KEY_FILE: join(folder.folder, 'signer.key.asc'),
        PGPROOF_ENCRYPTION__TRUSTED_SIGNERS: join(folder.folder, 'signer.pub.asc'),
      },
      [crm.name],
    )
    const { report } = await fullDrill(test)
    expect(report.databases.find(({ database }) => database === crm.name)?.verdict).toBe('passed')
    const key = `full-drills/main/${report.label}.json`
    await using gpg = await startGpg()
    await gpg.import(signer.publicKey)
    const signature = await gpg.file('report.json.sig', bytesOf(test, `${key}.sig`))
    const file = await gpg.file('report.json', bytesOf(test, key))
    const { stderr } = await gpg.run(['--status-fd', '2', '--verify', signature, file])
    expect(stderr).toContain(`VALIDSIG`)
    expect(stderr).toContain(report.signer)
    const changed = await gpg.file('changed.json', Buffer.concat([bytesOf(test, key), Buffer.from(' ')]))
    await expect(gpg.run(['--verify', signature, changed])).rejects.toThrow('exit code 1')
  })

  it('a report older than drill.keepReports - removed by a prune with its signature, a younger one stays', async () => {
    await using test = await testInstallation({ PGPROOF_DRILL__KEEP_REPORTS: '30d' })
    const [young] = new Date().toISOString().replaceAll(/[-:]/g, '').split('.')
    for (const label of ['20200101T000000Z-aaaa', `${young}Z-bbbb`])
      for (const end of ['.json', '.json.sig'])
        test.store.put(`full-drills/main/${label}${end}`, Buffer.from('{}'), { signal: new AbortController().signal })
    const { plan } = await runPrune({ isDryRun: true }, test.installation, new AbortController().signal)
    expect(plan.oldReports).toMatchObject([{ server: 'main', database: null, label: '20200101T000000Z-aaaa' }])
    await runPrune({ isDryRun: false }, test.installation, new AbortController().signal)
    expect(test.store.keys()).toEqual([
      `full-drills/main/${young}Z-bbbb.json`,
      `full-drills/main/${young}Z-bbbb.json.sig`,
    ])
  })
})

describe('a full drill with a server kept for drills', () => {
  it('passed - databases and created roles are gone afterwards, what was there is as it was', async () => {
    await using scratch = await keptServer()
    await using test = await backedUp({ PGPROOF_DRILL__SCRATCH: scratch.url })
    const state =
      'SELECT (SELECT json_agg(datname ORDER BY 1) FROM pg_database) AS databases, (SELECT json_agg(a ORDER BY rolname) FROM pg_authid a) AS roles'
    const before = await query(scratch.url, state)
    const result = await fullDrill(test)
    expect(verdicts(result), result.error?.details).toEqual(['passed', 'passed', 'passed'])
    expect(result.report.environment).toMatchObject({ scratch: 'server' })
    expect(await query(scratch.url, state)).toEqual(before)
    expectNothingLeft(test)
  })

  it('that is the source itself - inconclusive, no drill, nothing created', async () => {
    await using test = await backedUp({ PGPROOF_DRILL__SCRATCH: testUrl().replace('127.0.0.1', 'localhost') }, [
      crm.name,
    ])
    const { report } = await fullDrill(test)
    expect(report.databases[0]).toMatchObject({ database: crm.name, verdict: 'inconclusive', drill: null })
    expect(report.reason).toMatchObject({ code: 'SCRATCH_IS_SOURCE' })
    expect(await query(testUrl(), "SELECT FROM pg_database WHERE datname LIKE 'pgproof_scratch%'")).toEqual([])
  })
})

async function keptServer(settings = ''): Promise<AsyncDisposable & { readonly url: string }> {
  const server = await startPostgres(settings)
  return { url: server.url(), [Symbol.asyncDispose]: () => server.stop() }
}
