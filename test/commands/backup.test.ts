import { randomBytes } from 'node:crypto'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { testDatabase, testUrl } from '../support/installation.ts'
import { freePort, query } from '../support/postgres-server.ts'
import { type CliFolder, cliFolder } from './cli.ts'

const evil = `evil\u001b[31m/${randomBytes(4).toString('hex')}`
type Database = Awaited<ReturnType<typeof testDatabase>>
let shop: Database
let crm: Database
let folder: CliFolder

beforeAll(async () => {
  shop = await testDatabase()
  await query(testUrl(), `CREATE DATABASE "${evil}"`)
  crm = await testDatabase('template1')
  folder = await cliFolder([shop.name, crm.name])
})
afterAll(async () => {
  await folder[Symbol.asyncDispose]()
  await query(testUrl(), `DROP DATABASE IF EXISTS "${evil}" WITH (FORCE)`)
  await crm[Symbol.asyncDispose]()
  await shop[Symbol.asyncDispose]()
})

const server = (settings: object = {}): object => ({ name: 'main', url: testUrl(), ...settings })

describe('backup', () => {
  it('without arguments - every configured database, one line each', async () => {
    const { code, stdout, stderr } = await folder.run(['backup'])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    const lines = stdout.trimEnd().split('\n')
    expect(lines).toHaveLength(2)
    expect(lines[0]).toMatch(
      new RegExp(
        `^main/${shop.name} +\\d{8}T\\d{6}Z-\\w{4} .* dump [\\d.]+ [KM]iB, stored [\\d.]+ [KM]iB; [\\d,]+ rows in \\d+ tables, counted and digested`,
      ),
    )
    expect(lines[1]).toMatch(new RegExp(`^main/${crm.name} `))
    expect(folder.leftovers()).toEqual([])
  })

  it('a database whose name holds a slash and an escape sequence - backed up, the sequence written out', async () => {
    await using own = await cliFolder('all')
    const { code, stdout, stderr } = await own.run(['backup', `main/${evil}`])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    const written = `main/${evil.replace('\u001b', '\\x1b')}`
    expect(stdout).toContain(written)
    for (const command of ['list', 'status', 'prune', 'drill']) {
      const result = await own.run([command])
      expect({ command, code: result.code }).toEqual({ command, code: 0 })
      expect(result.stdout).toContain(written)
      expect(result.stdout + result.stderr).not.toContain('\u001b')
    }
  })

  it('as JSON - one document, the backup in the store', async () => {
    const { code, document, stderr } = await folder.json(['backup', `main/${crm.name}`])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    const [run, ...others] = [...(document['runs'] ?? [])]
    expect(others).toEqual([])
    expect(run).toMatchObject({ job: 'backup', server: 'main', database: crm.name, outcome: 'succeeded', error: null })
    expect(run?.['evidence']).toEqual({ level: 'digest', tables: 0, rows: 0 })
    expect(folder.objects().filter((key) => key.endsWith(`${run?.['label']}/manifest.json`))).toHaveLength(1)
  })

  it('--roles - only the roles', async () => {
    const { code, document } = await folder.json(['backup', '--roles'])
    expect(code).toBe(0)
    expect(document['runs']).toMatchObject([{ job: 'roles', server: 'main', database: null, outcome: 'succeeded' }])
  })

  it('a database and --roles - the database, then the roles', async () => {
    const { code, document } = await folder.json(['backup', `main/${shop.name}`, '--roles'])
    expect(code).toBe(0)
    expect(document['runs']).toMatchObject([{ job: 'backup', database: shop.name }, { job: 'roles' }])
  })

  it('a server whose databases are `all` - those that exist and are not excluded', async () => {
    await using own = await cliFolder('all')
    // Other tests use this server too, and need none of their databases backed up here.
    const rows = await query(testUrl(), "SELECT datname FROM pg_database WHERE datname <> 'postgres'")
    const exclude = [...rows.map(({ datname }) => String(datname)), 't_*', 'evil*', 'pgproof_*']
    await own.configure({
      servers: [server({ databases: 'all', exclude: exclude.filter((name) => name !== evil) })],
    })
    const { code, document } = await own.json(['backup', 'main'])
    expect(code).toBe(0)
    const names = [...(document['runs'] ?? [])].map((run) => run['database'])
    expect(names).toContain('postgres')
    expect(names).not.toContain(evil)
  })

  it('a retention that keeps one - the older backup is pruned, and it is said', async () => {
    await using own = await cliFolder([crm.name])
    await own.configure({ servers: [server({ databases: [crm.name], retention: { last: 1 } })] })
    await own.run(['backup'])
    const { code, stdout } = await own.run(['backup'])
    expect(code).toBe(0)
    expect(stdout).toMatch(/; 1 old one pruned$/m)
    expect(own.objects().filter((key) => key.endsWith('/manifest.json'))).toHaveLength(1)
  })
})

describe('backups that fail', () => {
  it('a backup while another one of the same database is under way - exit 10', async () => {
    const holder = new pg.Client(crm.url)
    await holder.connect()
    await holder.query('CREATE TABLE held (a int)')
    await holder.query('BEGIN; LOCK TABLE held IN ACCESS EXCLUSIVE MODE')
    await using own = await cliFolder([crm.name])
    const first = own.start(['backup'])
    const isWaiting = async (): Promise<boolean> => {
      const rows = await query(
        testUrl(),
        "SELECT FROM pg_stat_activity WHERE datname = $1 AND wait_event_type = 'Lock'",
        [crm.name],
      )
      return rows.length > 0
    }
    while (!(await isWaiting())) expect(first.child.exitCode).toBeNull()
    const { code, document } = await folder.json(['backup', `main/${crm.name}`])
    await holder.query('DROP TABLE held; COMMIT')
    await holder.end()
    expect({ code, error: document['error']?.['code'] }).toEqual({ code: 10, error: 'LOCKED' })
    expect((await first.result).code).toBe(0)
  })

  it('the prune after a good backup fails - a warning, exit 0, the backup is there', async () => {
    await using own = await cliFolder([crm.name])
    await own.configure({ servers: [server({ databases: [crm.name], retention: { last: 1 } })] })
    await own.run(['backup'])
    // The file system lets nobody remove a manifest.
    const script = `import fs from 'node:fs/promises';import{syncBuiltinESMExports}from'node:module';const unlink=fs.unlink;
      fs.unlink=async(path)=>{if(/manifest.json$/.test(path))throw Object.assign(new Error('EPERM'),{code:'EPERM',syscall:'unlink'});return unlink(path)};syncBuiltinESMExports()`
    const env = { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(script)}` }
    const { code, stdout, stderr } = await own.run(['backup'], { env })
    expect(code).toBe(0)
    expect(stdout).toMatch(new RegExp(`^main/${crm.name}  \\S+ `))
    expect(stderr).toMatch(
      /^warning: the backup of \S+ is complete, but the prune after it failed: prune could not remove 1 /,
    )
    expect(own.objects().filter((key) => key.endsWith('/manifest.json'))).toHaveLength(2)
  })

  it('one of two databases is unknown - the other is backed up, exit code of the one failure', async () => {
    await using own = await cliFolder(['no_such_database', crm.name])
    const { code, stdout, stderr } = await own.run(['backup'])
    expect(code).toBe(12)
    expect(stdout).toMatch(/^main\/no_such_database +FAILED +database "no_such_database" does not exist/m)
    expect(stdout).toMatch(/^main\/t_.* [\d.]+ s /m)
    expect(stderr).toMatch(/^error: database "no_such_database" does not exist on server "main"\nhint: .+\n$/)
    expect(own.objects().filter((key) => key.endsWith('/manifest.json'))).toHaveLength(1)
  })

  it('two of three fail - exit 3, each failure with its own hint', async () => {
    await using own = await cliFolder(['no_such_1', crm.name, 'no_such_2'])
    const { code, stderr } = await own.run(['backup'])
    expect(code).toBe(3)
    expect(stderr.match(/^error: /gm)).toHaveLength(3)
    expect(stderr).toMatch(/^error: main\/no_such_1: database .+\nhint: /m)
    expect(stderr).toMatch(/\nerror: 2 of 3 backups did not succeed\nhint: .+\n$/)
  })

  it('the same as JSON - one document with every run and the error', async () => {
    await using own = await cliFolder(['no_such_1', crm.name, 'no_such_2'])
    const { code, document, stderr } = await own.json(['backup'])
    expect({ code, stderr }).toEqual({ code: 3, stderr: '' })
    expect(document['runs']).toMatchObject([
      { outcome: 'failed', label: null, error: { code: 'DATABASE_UNKNOWN' } },
      { outcome: 'succeeded', error: null },
      { outcome: 'failed' },
    ])
    expect(document['error']).toMatchObject({ code: 'RUNS_FAILED' })
  })

  it('one of two servers is down - the databases of the other are backed up, exit 12', async () => {
    await using own = await cliFolder([crm.name])
    const down = { name: 'down', url: `postgres://postgres@127.0.0.1:${await freePort()}/postgres` }
    await own.configure({ servers: [down, server({ databases: [crm.name] })] })
    const { code, document } = await own.json(['backup'])
    expect({ code, error: document['error']?.['code'] }).toEqual({ code: 12, error: 'SERVER_UNREACHABLE' })
    expect(document['runs']).toMatchObject([
      { server: 'down', database: null, outcome: 'failed' },
      { server: 'main', database: crm.name, outcome: 'succeeded' },
    ])
  })
})
