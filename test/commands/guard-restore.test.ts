import { existsSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import pg from 'pg'
import { describe, expect, it } from 'vitest'
import { untilSeen } from '../guard/until-seen.ts'
import { testDatabase, testUrl } from '../support/installation.ts'
import { query } from '../support/postgres-server.ts'
import { type CliFolder, cliFolder, waitFor } from './cli.ts'

type Guarded = AsyncDisposable & {
  readonly name: string
  readonly url: string
  readonly folder: CliFolder
  /** A program that waits until `release` is called, and fails then. */
  readonly waiting: readonly string[]
  isWaiting(): boolean
  release(): Promise<void>
  /** Names of the databases that were renamed aside, or are left over. */
  others(): Promise<string[]>
}

const shop = `
  CREATE TABLE customer (id int PRIMARY KEY, email text NOT NULL);
  INSERT INTO customer SELECT g, 'c' || g || '@example.com' FROM generate_series(1, 300) g;
  CREATE VIEW addresses AS SELECT email FROM customer`

async function guarded(settings: object = {}): Promise<Guarded> {
  const database = await testDatabase('template1')
  await query(database.url, shop)
  const folder = await cliFolder([database.name], settings)
  const others = async (): Promise<string[]> => {
    const rows = await query(testUrl(), 'SELECT datname FROM pg_database WHERE datname LIKE $1 ORDER BY datname', [
      `%${database.name}%`,
    ])
    return rows.map(({ datname }) => String(datname)).filter((name) => name !== database.name)
  }
  const file = (name: string): string => join(folder.path, name)
  const script = `const fs=require('fs');fs.writeFileSync('${file('here')}','');setInterval(()=>{if(fs.existsSync('${file('go')}'))process.exit(9)},10)`
  return {
    name: database.name,
    url: database.url,
    folder,
    waiting: [process.execPath, '-e', script],
    isWaiting: () => existsSync(file('here')),
    release: async () => void (await folder.write('go', '')),
    others,
    [Symbol.asyncDispose]: async () => {
      for (const name of await others()) await query(testUrl(), `DROP DATABASE "${name}" WITH (FORCE)`)
      await database[Symbol.asyncDispose]()
      await folder[Symbol.asyncDispose]()
    },
  }
}

const restoring = ['guard', '--restore-on-failure', '--'] as const

/** Three migrations for node-pg-migrate: the second one breaks halfway and keeps what it has done. */
async function writeMigrations(folder: CliFolder): Promise<void> {
  await mkdir(join(folder.path, 'migrations'))
  const write = (name: string, up: string): Promise<string> =>
    folder.write(`migrations/${name}.cjs`, `exports.up = (pgm) => {\n${up}\n}\nexports.down = false\n`)
  await write('1700000000001_add-phone', `pgm.addColumns('customer', { phone: { type: 'text' } })`)
  await write(
    '1700000000002_split-customer',
    `pgm.noTransaction()
     pgm.createTable('account', { id: 'id', customer: { type: 'int', references: 'customer' } })
     pgm.sql("DELETE FROM customer WHERE id % 2 = 0")
     pgm.sql(${JSON.stringify(untilSeen)})
     pgm.sql("ALTER TABLE customer RENAME COLUMN email TO address")
     pgm.sql("ALTER TABLE customer ADD CONSTRAINT few CHECK (id < 100)")
     pgm.dropTable('nothing_of_that_name')`,
  )
  await write('1700000000003_add-index', `pgm.createIndex('customer', 'phone')`)
}

/** What a person would compare: every column, and every row. */
async function contentsOf(url: string): Promise<unknown> {
  const columns = await query(
    url,
    "SELECT table_name, column_name, data_type FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 2",
  )
  const constraints = await query(
    url,
    "SELECT conname FROM pg_constraint WHERE conrelid = 'customer'::regclass ORDER BY 1",
  )
  const rows = await query(url, 'SELECT * FROM customer ORDER BY id')
  return { columns, constraints, rows }
}

/** Enough that a restore takes longer than a look around. */
async function addBulk(one: Guarded): Promise<void> {
  await query(
    one.url,
    `CREATE TABLE bulk AS SELECT g AS id, (SELECT string_agg(md5(g::text || part), '') FROM generate_series(1, 32) part) AS body
       FROM generate_series(1, 60000) g`,
  )
}

/** The new database is being filled. Throws with what guard said if it ended before that. */
async function untilRestoring(one: Guarded, started: ReturnType<CliFolder['start']>): Promise<void> {
  for (;;) {
    if ((await one.others()).length > 0) return
    if (started.child.exitCode !== null) throw new Error((await started.result).stderr)
  }
}

describe('guard --restore-on-failure', () => {
  it('node-pg-migrate breaks halfway - the state before is back, the failed one aside, and undo brings it back', async () => {
    await using one = await guarded()
    await writeMigrations(one.folder)
    const before = await contentsOf(one.url)
    const tool = resolve('node_modules/node-pg-migrate/bin/node-pg-migrate.js')
    const migrate = [process.execPath, tool, 'up', '--migrations-dir', join(one.folder.path, 'migrations')]
    const { code, stdout, stderr } = await one.folder.run([...restoring, ...migrate], {
      env: { DATABASE_URL: one.url },
    })

    // The tool's own words and exit code.
    expect(stdout).toContain('split-customer')
    expect(code).toBe(1)
    expect(stderr).toMatch(/few|violated/)
    expect(stderr).toContain(`restored main/${one.name} as of `)
    expect(stderr).toContain('nothing differs\n')

    // The state before, by our eyes and by the evidence of the backup.
    expect(await contentsOf(one.url)).toEqual(before)
    expect(await query(one.url, 'SELECT count(*)::int AS n FROM addresses')).toEqual([{ n: 300 }])

    // The failed state is whole beside it.
    const [aside, ...more] = await one.others()
    expect(more).toEqual([])
    expect(stderr).toContain(`what the command left is in database ${aside};`)
    const failed = await query(testUrl(aside), 'SELECT count(*)::int AS n, count(address)::int AS a FROM customer')
    expect(failed).toEqual([{ n: 150, a: 150 }])
    expect(await query(testUrl(aside), "SELECT to_regclass('account') IS NOT NULL AS there")).toEqual([{ there: true }])

    // Undo, statement by statement as printed.
    const statements = stderr.split('\n').filter((line) => /^ {2}\S.*;$/.test(line))
    expect(statements.length).toBeGreaterThan(0)
    for (const statement of statements) await query(testUrl(), statement)
    expect(await query(one.url, 'SELECT count(*)::int AS n FROM customer')).toEqual([{ n: 150 }])
    expect(await one.others()).toHaveLength(1)
    expect(one.folder.leftovers()).toEqual([])
  })

  it('node-pg-migrate succeeds - exit 0, nothing is restored, nobody aside', async () => {
    await using one = await guarded()
    await mkdir(join(one.folder.path, 'migrations'))
    await one.folder.write(
      'migrations/1700000000001_a.cjs',
      `exports.up = (pgm) => pgm.sql('DELETE FROM customer WHERE id = 1')`,
    )
    const tool = resolve('node_modules/node-pg-migrate/bin/node-pg-migrate.js')
    const migrate = [process.execPath, tool, 'up', '--migrations-dir', join(one.folder.path, 'migrations')]
    const { code, stderr } = await one.folder.run([...restoring, ...migrate], { env: { DATABASE_URL: one.url } })
    expect({ code, stderr: stderr.match(/guarded .*/) }).toEqual({ code: 0, stderr: expect.anything() })
    expect(await query(one.url, 'SELECT count(*)::int AS n FROM customer')).toEqual([{ n: 299 }])
    expect(await one.others()).toEqual([])
  })

  it('another session inserts a row while the command runs - refused with its name, the row is there, exit code passed on', async () => {
    await using one = await guarded()
    const started = one.folder.start([...restoring, ...one.waiting])
    await waitFor('the command', one.isWaiting)
    const other = new pg.Client({ connectionString: one.url, application_name: 'cashier' })
    await other.connect()
    await other.query("INSERT INTO customer VALUES (1000, 'new@example.com')")
    await one.release()
    const { code, stderr } = await started.result
    await other.end()
    expect(code).toBe(9)
    expect(stderr).toMatch(
      /error: not restored by itself: 1 other session wrote, or may have written, since the backup's snapshot\n/,
    )
    expect(stderr).toMatch(
      /postgres \(cashier\) from 127\.0\.0\.1, process \d+, since .+Z: it was at work after the snapshot|its transaction wrote/,
    )
    expect(stderr).toMatch(/to go back to that, with the database as it is now renamed aside: pgproof .+ --force\n/)
    expect(await query(one.url, 'SELECT count(*)::int AS n FROM customer')).toEqual([{ n: 301 }])
    expect(await one.others()).toEqual([])
  })

  it('another session was there before and stayed idle - restored, its connection ended and said', async () => {
    await using one = await guarded()
    const other = new pg.Client({ connectionString: one.url, application_name: 'pool' })
    let ended = false
    other.on('error', () => {
      ended = true
    })
    await other.connect()
    await other.query('SELECT 1')
    // What it did last must lie further before the snapshot than the margin that guard allows.
    const rested = `SELECT clock_timestamp() - state_change > interval '1 s' AS "isRested" FROM pg_stat_activity WHERE application_name = 'pool' AND datname = $1`
    await expect.poll(() => query(testUrl(), rested, [one.name]), { timeout: 15_000 }).toEqual([{ isRested: true }])
    const started = one.folder.start([...restoring, ...one.waiting])
    await waitFor('the command', one.isWaiting)
    await one.release()
    const { code, stderr } = await started.result
    expect(code).toBe(9)
    expect(stderr).toContain(`restored main/${one.name} as of `)
    expect(stderr).toMatch(/ended an idle session: postgres \(pool\) from 127\.0\.0\.1, process \d+/)
    await waitFor('the end of the idle session', () => ended)
    expect(await one.others()).toHaveLength(1)
  })

  it('another session only connected and left - refused', async () => {
    await using one = await guarded()
    const started = one.folder.start([...restoring, ...one.waiting])
    await waitFor('the command', one.isWaiting)
    const other = new pg.Client({ connectionString: one.url, application_name: 'visitor' })
    await other.connect()
    await other.end()
    await one.release()
    const { code, stderr } = await started.result
    expect(code).toBe(9)
    expect(stderr).toMatch(
      /error: not restored by itself: (1 session came and went unseen|1 other session wrote, or may)/,
    )
    expect(await one.others()).toEqual([])
  })

  it('another session writes while the restore is under way - given up, the database as the command left it', async () => {
    await using one = await guarded()
    await addBulk(one)
    const started = one.folder.start([...restoring, ...one.waiting])
    await waitFor('the command', one.isWaiting)
    await one.release()
    await untilRestoring(one, started)
    const other = new pg.Client({ connectionString: one.url, application_name: 'late' })
    other.on('error', () => {})
    await other.connect()
    await other.query("INSERT INTO customer VALUES (1000, 'late@example.com')")
    const { code, stderr } = await started.result
    await other.end()
    expect(code).toBe(9)
    expect(stderr).toMatch(/error: not restored by itself: 1 other session wrote, or may have written/)
    expect(stderr).toMatch(/postgres \(late\) from 127\.0\.0\.1/)
    expect(await query(one.url, 'SELECT count(*)::int AS n FROM customer')).toEqual([{ n: 301 }])
    expect(await one.others()).toEqual([])
  })

  it('SIGINT while the restore is under way - exit code of the command, the way back, nothing half restored', async () => {
    await using one = await guarded()
    await addBulk(one)
    const started = one.folder.start([...restoring, ...one.waiting])
    await waitFor('the command', one.isWaiting)
    await one.release()
    await untilRestoring(one, started)
    started.child.kill('SIGINT')
    const { code, stderr } = await started.result
    expect(code).toBe(9)
    expect(stderr).toMatch(/error: the command was cancelled\n/)
    expect(stderr).toMatch(/to go back to that, .+: pgproof .+ --force\n/)
    expect(await one.others()).toEqual([])
  })

  it('a login of its own by --to - the backup login needs no right to create databases', async () => {
    await using one = await guarded()
    const low = `${one.name}_low`
    await query(testUrl(), `CREATE ROLE ${low} LOGIN PASSWORD 'low' IN ROLE pg_read_all_data, pg_read_all_settings`)
    await query(testUrl(), `GRANT EXECUTE ON FUNCTION pg_control_system() TO ${low}`)
    try {
      const url = testUrl().replace('postgres@', `${low}:low@`)
      await one.folder.configure({ servers: [{ name: 'main', url, databases: [one.name] }] })
      const failing = [
        '--',
        'psql',
        one.url,
        '-qc',
        'DELETE FROM customer',
        '-c',
        untilSeen,
        '-c',
        'SELECT 1/0',
        '-v',
        'ON_ERROR_STOP=1',
      ]
      const args = ['guard', '--restore-on-failure', '--to', testUrl(''), ...failing]
      const { code, stderr } = await one.folder.run(args)
      expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining(`restored main/${one.name} as of `) })
      expect(await query(one.url, 'SELECT count(*)::int AS n FROM customer')).toEqual([{ n: 300 }])
    } finally {
      for (const sql of [`REVOKE EXECUTE ON FUNCTION pg_control_system() FROM ${low}`, `DROP ROLE ${low}`])
        await query(testUrl(), sql)
    }
  })

  it('a table of a role that the login is no member of - the backup is taken, the command does not run', async () => {
    await using one = await guarded()
    const low = `${one.name}_low`
    await query(testUrl(), `CREATE ROLE ${low} LOGIN CREATEDB PASSWORD 'low' IN ROLE pg_read_all_stats`)
    await query(testUrl(), `ALTER DATABASE ${one.name} OWNER TO ${low}`)
    try {
      const to = testUrl(one.name).replace('postgres@', `${low}@`)
      const args = ['guard', '--restore-on-failure', '--to', to, '--', 'touch', join(one.folder.path, 'ran')]
      const { code, stderr } = await one.folder.run(args, { env: { PGPASSWORD: 'low' } })
      expect({ code, stderr }).toEqual({ code: 12, stderr: expect.stringMatching(/membership of \w+_low in postgres/) })
      expect(existsSync(join(one.folder.path, 'ran'))).toBe(false)
    } finally {
      await query(testUrl(), `ALTER DATABASE ${one.name} OWNER TO postgres`)
      await query(testUrl(), `DROP ROLE ${low}`)
    }
  })

  it('no private key, a login that may not create databases, a spool that is none - refused before anything is done', async () => {
    await using one = await guarded()
    const asked = async (settings: object, args: readonly string[] = [], env = {}) => {
      await one.folder.configure(settings)
      const ran = join(one.folder.path, 'ran')
      const { code, stderr } = await one.folder.run(['guard', '--restore-on-failure', ...args, '--', 'touch', ran], {
        env,
      })
      expect(existsSync(ran)).toBe(false)
      expect(one.folder.objects().filter((file) => file.endsWith('manifest.json'))).toEqual([])
      return `${code} ${stderr.split('\n')[0]}`
    }
    expect(await asked({ encryption: { recipients: ['pub.asc'] } })).toMatch(/^13 error: .*encryption\.privateKeyFile/)
    const file = await one.folder.write('no-folder', '')
    expect(await asked({ drill: { spool: file } })).toMatch(/^14 error: the spool .+ cannot be used/)
    await query(testUrl(), `CREATE ROLE ${one.name}_low LOGIN PASSWORD 'low'`)
    try {
      const to = testUrl(one.name).replace('postgres@', `${one.name}_low@`)
      const denied = await asked({}, ['--to', to], { PGPASSWORD: 'low' })
      expect(denied).toMatch(/^12 error: a restore afterwards would not be possible: \w+_low may not create databases/)
      await query(testUrl(), `ALTER ROLE ${one.name}_low CREATEDB`)
      const foreign = await asked({}, ['--to', to], { PGPASSWORD: 'low' })
      expect(foreign).toMatch(/^12 error: the target server lacks /)
    } finally {
      await query(testUrl(), `DROP ROLE ${one.name}_low`)
    }
  })
})
