import { execFile } from 'node:child_process'
import { cp, mkdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type CliFolder, cliFolder } from '../commands/cli.ts'
import { testDatabase, testUrl } from '../support/installation.ts'
import { query } from '../support/postgres-server.ts'
import { makeTestBucket } from '../support/test-bucket.ts'

// A project of somebody who installed pgproof: the built package with the packages that it depends on, and no others
// but what the project itself brings along.
let project: CliFolder
let shop: Awaited<ReturnType<typeof testDatabase>>

const execute = promisify(execFile)
const tsc = resolve('node_modules/typescript/bin/tsc')

beforeAll(async () => {
  shop = await testDatabase('template1')
  await query(shop.url, 'CREATE TABLE contact (id int); INSERT INTO contact SELECT generate_series(1, 1000)')
  project = await cliFolder([shop.name])
  const modules = join(project.path, 'node_modules')
  const installed = join(modules, 'pgproof')
  await mkdir(installed, { recursive: true })
  await execute(process.execPath, [tsc, '-p', 'tsconfig.build.json', '--outDir', join(installed, 'dist')])
  await cp('package.json', join(installed, 'package.json'))
  const { dependencies } = JSON.parse(await readFile('package.json', 'utf8')) as {
    dependencies: Record<string, string>
  }
  for (const name of [...Object.keys(dependencies), '@types/node', 'node-pg-migrate']) {
    await mkdir(dirname(join(modules, name)), { recursive: true })
    await symlink(resolve('node_modules', name), join(modules, name))
  }
  await writeFile(join(project.path, 'package.json'), JSON.stringify({ type: 'module' }))
  await writeFile(join(project.path, 'migrations.ts'), migration)
  await mkdir(join(project.path, 'migrations'))
  await writeFile(join(project.path, 'migrations', '1_break.cjs'), brokenMigration)
  await writeFile(join(project.path, 'surface.ts'), surface)
  await writeFile(join(project.path, 'once.ts'), once())
  for (const [name, text] of await examples()) await writeFile(join(project.path, name), text)
  const compilerOptions = {
    ...{ module: 'nodenext', target: 'es2022', types: ['node'], outDir: 'out', noEmitOnError: true },
    ...{ strict: true, exactOptionalPropertyTypes: true, noUncheckedIndexedAccess: true, skipLibCheck: true },
    ...{ allowImportingTsExtensions: true, rewriteRelativeImportExtensions: true },
  }
  await writeFile(join(project.path, 'tsconfig.json'), JSON.stringify({ compilerOptions, include: ['*.ts'] }))
})
afterAll(async () => {
  await project[Symbol.asyncDispose]()
  await shop[Symbol.asyncDispose]()
})

/** The programs of docs/library.md by the names in their first lines, with this test's database and server. */
async function examples(): Promise<Map<string, string>> {
  const page = await readFile('docs/library.md', 'utf8')
  const found = [...page.matchAll(/^```ts\n\/\/ (\S+)\n([\s\S]*?)^```$/gm)].map(([, name, text]) => {
    const server = new URL(testUrl())
    const local = (text ?? '')
      .replaceAll('main/shop', `main/${shop.name}`)
      .replaceAll('postgres://postgres@db:5432/shop', `${server.href.replace(/\/[^/]*$/, '')}/${shop.name}`)
    return [name ?? '', local] as const
  })
  return new Map(found)
}

/** Prints the milliseconds from the end of its work to its own end. */
const once = () => `
import { backup } from 'pgproof'

await backup('main/${shop.name}')
const endedMs = performance.now()
process.on('exit', () => console.log(performance.now() - endedMs))
`

/** Uses every export and every type as a program would. */
const surface = `
import { backup, drill, migrationAdapter, PgproofError, restore } from 'pgproof'
import type {
  BackupOptions, BackupOutcome, DrillOptions, DrillOutcome, DrillReport, DrillTables, ErrorCode, Manifest, MigrationAdapter,
  MigrationAdapterOptions, PgproofOptions, RestoreManner, RestoreOrder, RestoreProgress, RestoreResult,
} from 'pgproof'

export async function everything(options: PgproofOptions): Promise<void> {
  const backupOptions: BackupOptions = { ...options, roles: true }
  const made: BackupOutcome = await backup('main', backupOptions)
  const manifest: Manifest = made.manifest
  const drillOptions: DrillOptions = { ...options, backup: manifest.label, pick: 'latest', seed: 1 }
  const drilled: DrillOutcome = await drill(undefined, drillOptions)
  const report: DrillReport = drilled.report
  const tables: DrillTables | null = drilled.tables
  const manner: RestoreManner = { roles: true, onProgress: (progress: RestoreProgress) => console.log(progress.phase) }
  const order: RestoreOrder = { ...manner, backup: new Date(), to: 'postgres://h/d', force: true }
  const restored: RestoreResult = await restore(order, options)
  const adapterOptions: MigrationAdapterOptions = { ...options, database: 'main/shop' }
  const adapter: MigrationAdapter = migrationAdapter(adapterOptions)
  const label: string = await adapter.backup()
  const nothing: void = await adapter.restore(label)
  const code: ErrorCode = new PgproofError('CANCELLED', { what: 'it' }).code
  console.log(report.verdict, tables?.tables.length, restored.target.database, nothing, code)
  // @ts-expect-error there is no such option
  await backup('main/shop', { bucket: 'x' })
  // @ts-expect-error where to is not said
  await restore({ backup: 'latest' })
  // @ts-expect-error a verdict is one of three
  if (report.verdict === 'good') console.log()
}
`

const migration = `
import { execFileSync } from 'node:child_process'

/** Does half of its work, then fails. */
export async function migrate(): Promise<void> {
  execFileSync('psql', ['-X', '-q', '-c', 'DELETE FROM contact WHERE id > 10'], { stdio: 'inherit' })
  throw new Error('column "email" does not exist')
}
`

const brokenMigration = `
exports.up = (pgm) => {
  pgm.noTransaction()
  pgm.sql('DELETE FROM contact')
  pgm.sql('SELECT nothing FROM contact')
}
`

async function run(name: string): Promise<{ readonly code: number; readonly stdout: string; readonly stderr: string }> {
  const server = new URL(testUrl())
  const env = {
    ...{ PATH: process.env['PATH'], HOME: project.path, PGPROOF_CONFIG: 'pgproof.yaml' },
    // For psql in the migration.
    ...{ PGHOST: server.hostname, PGPORT: server.port, PGUSER: server.username, PGDATABASE: shop.name },
    PGPASSWORD: decodeURIComponent(server.password),
  }
  // Nothing is ended here: one open handle, and the program would be killed by the time limit.
  const options = { cwd: project.path, env, timeout: 120_000 }
  return await execute(process.execPath, [join('out', name)], options).then(
    ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
    ({ code, stdout, stderr }: { code: number; stdout: string; stderr: string }) => ({ code, stdout, stderr }),
  )
}

const rows = async (url: string): Promise<unknown> =>
  (await query(url, 'SELECT count(*)::int AS n FROM contact'))[0]?.['n']

describe('the package, installed', () => {
  it('a strict TypeScript project with the examples of docs/library.md - compiles', async () => {
    const { stdout } = await execute(process.execPath, [tsc, '-p', project.path]).catch(
      (error: { stdout: string }) => error,
    )
    expect(stdout).toBe('')
  })

  it('evening.ts - backs up, drills, restores, prints only what it prints itself, and ends by itself', async () => {
    const copy = `${shop.name}_copy`
    await query(testUrl(), `DROP DATABASE IF EXISTS ${copy}`)
    const { code, stdout, stderr } = await run('evening.js')
    const restored = await rows(testUrl(copy)).finally(() => query(testUrl(), `DROP DATABASE IF EXISTS ${copy}`))
    expect({ code, stderr, restored }).toEqual({ code: 0, stderr: '', restored: 1000 })
    const [made, drilled, end, ...others] = stdout.trim().split('\n')
    expect(made).toMatch(/^\d{8}T\d{6}Z-\w{4} holds \S+Z, \d+ bytes$/)
    expect([drilled, end, others]).toEqual(['passed: 1000 rows in 1 tables', `created ${copy}`, []])
  })

  it.each([
    ['migrate.js', 1, 10],
    ['node-pg-migrate.js', 1, 0],
  ])(
    '%s with a migration that breaks half-way - the database is as it was, what broke stands beside it',
    async (name, exit, left) => {
      const { code, stdout, stderr } = await run(name)
      expect(code, stdout + stderr).toBe(exit)
      expect(await rows(shop.url)).toBe(1000)
      const beside = await query(testUrl(), 'SELECT datname FROM pg_database WHERE datname LIKE $1', [`${shop.name}_%`])
      expect(beside).toHaveLength(1)
      const aside = String(beside[0]?.['datname'])
      const remaining = await rows(testUrl(aside)).finally(() =>
        query(testUrl(), `DROP DATABASE "${aside}" WITH (FORCE)`),
      )
      expect(remaining).toBe(left)
    },
  )

  it('a program with an S3 store - ends as soon as its work is done, no connection keeps it', async () => {
    const bucket = await makeTestBucket()
    try {
      const { url, endpoint, region, provider, accessKeyId } = bucket.settings()
      const secretAccessKeyFile = await project.write('secret', bucket.server.secretAccessKey)
      await project.configure({ store: { url, endpoint, region, provider, accessKeyId, secretAccessKeyFile } })
      const { code, stdout, stderr } = await run('once.js')
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
      expect(Number(stdout)).toBeLessThan(1000)
    } finally {
      await project.configure({})
      await bucket.remove()
    }
  })

  it('what is not exported - cannot be imported', async () => {
    const script = "await import('pgproof/dist/wire.js').catch(({ code }) => console.log(code))"
    const { stdout } = await execute(process.execPath, ['--input-type=module', '-e', script], { cwd: project.path })
    expect(stdout.trim()).toBe('ERR_PACKAGE_PATH_NOT_EXPORTED')
  })
})
