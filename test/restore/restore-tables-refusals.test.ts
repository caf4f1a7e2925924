import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parseConnectionUrl } from '../../src/postgres/connect.ts'
import type { TablesRequest } from '../../src/restore/tables-request.ts'
import { fitEvidence, rewriteManifest } from '../support/forge.ts'
import { type TestInstallation, testDatabase, testInstallation, testUrl } from '../support/installation.ts'
import { query } from '../support/postgres-server.ts'
import { standIn } from '../support/stand-ins.ts'
import {
  expectNothingLeft,
  failureOf,
  type Market,
  psql,
  restoreTables,
  schemasOf,
  scriptFor,
  stagingDatabases,
} from './tables-fixture.ts'

const sql = `
  CREATE SCHEMA app; CREATE TABLE app.customer (id int PRIMARY KEY, name text); INSERT INTO app.customer VALUES (1, 'ann'), (2, 'bob');
  CREATE TABLE app.invoice (id int PRIMARY KEY, customer int REFERENCES app.customer, scan oid);
  INSERT INTO app.invoice VALUES (7, 1, lo_from_bytea(0, 'x')); CREATE INDEX ON app.invoice (customer);
  CREATE TABLE note (id int PRIMARY KEY, body text); INSERT INTO note VALUES (1, 'hello')`

let test: TestInstallation
let shared: Market
beforeAll(async () => {
  test = await testInstallation()
  shared = await shop()
})
afterAll(async () => {
  await shared?.[Symbol.asyncDispose]()
  await test?.[Symbol.asyncDispose]()
})

/** A small database with one backup. */
async function shop(): Promise<Market> {
  const database = await testDatabase('template0')
  await query(database.url, sql)
  await test.run('backup', database.name)
  return database
}

const intoDatabase = (): Partial<TablesRequest> => {
  const name = `r_${randomBytes(6).toString('hex')}`
  return { place: { into: 'database' }, target: parseConnectionUrl('the target', testUrl(name)) }
}

const error = (text: string): string => `echo 'pg_restore: error: could not execute query: ERROR:  ${text}' >&2; exit 1`

describe('the target', () => {
  it('is not there - TARGET_UNKNOWN: tables are brought back beside others', async () => {
    const gone = parseConnectionUrl('the target', testUrl(`gone_${randomBytes(4).toString('hex')}`))
    const failure = await failureOf(restoreTables(test, shared.name, { tables: ['public.note'], target: gone }))
    expect(failure).toEqual({ code: 'TARGET_UNKNOWN', text: expect.stringContaining(gone.database) })
  })

  it('is older than the server of the backup - TARGET_TOO_OLD', async () => {
    await using own = await testInstallation()
    const { label } = await own.run('backup', shared.name)
    const folder = `backups/main/${shared.name}/${label}/`
    rewriteManifest(own, folder, (manifest) => ({ ...manifest, source: { ...manifest.source, major: 99 } }))
    await fitEvidence(own, folder)
    const failure = await failureOf(restoreTables(own, shared.name, { tables: ['public.note'] }))
    expect(failure).toEqual({ code: 'TARGET_TOO_OLD', text: expect.stringContaining('99') })
    await expectNothingLeft(own, shared)
  })

  it('lets this login make no schema - TARGET_LACKS with the statement that does', async () => {
    const low = `low_${randomBytes(4).toString('hex')}`
    await query(testUrl(), `CREATE ROLE ${low} LOGIN PASSWORD 'x' CREATEDB`)
    try {
      const target = { ...parseConnectionUrl('the target', shared.url), user: low, password: () => 'x' }
      const failure = await failureOf(restoreTables(test, shared.name, { tables: ['public.note'], target }))
      expect(failure).toEqual({
        code: 'TARGET_LACKS',
        text: expect.stringMatching(
          new RegExp(`right of ${low} to create a schema.*GRANT CREATE ON DATABASE "${shared.name}" TO "${low}"`),
        ),
      })
    } finally {
      await query(testUrl(), `DROP ROLE ${low}`)
    }
  })
})

describe('pg_restore or pg_dump fails - said, and nothing is left', () => {
  it.each<[string, 'pg_restore' | 'pg_dump', string, () => Partial<TablesRequest>, string, string]>([
    [
      'among the definitions of a database of its own',
      'pg_restore',
      `*--section=pre-data*) ${error('type "app.mood" does not exist')};;`,
      intoDatabase,
      'RESTORE_FAILED',
      'pg_restore failed',
    ],
    [
      'among the rows',
      'pg_restore',
      `*--section=data*) ${error('invalid input syntax for type integer')};;`,
      intoDatabase,
      'RESTORE_FAILED',
      'pg_restore failed',
    ],
    [
      'among the rows, because a definition before them was refused: that is what is said',
      'pg_restore',
      `*--section=pre-data*) ${error('permission denied to create extension "hstore"')};;
       *--section=data*) ${error('relation "app.customer" does not exist')};;`,
      () => ({}),
      'TARGET_LACKS',
      'the right to create the extension hstore',
    ],
    [
      'among the indexes of a database of its own',
      'pg_restore',
      `*--section=post-data*) ${error('index row requires 9000 bytes')};;`,
      intoDatabase,
      'RESTORE_FAILED',
      'pg_restore failed',
    ],
    [
      'among the indexes of the copy, with one job',
      'pg_restore',
      `*after-rows.list*) ${error('index row requires 9000 bytes')};;`,
      () => ({ jobs: 1 }),
      'RESTORE_FAILED',
      'pg_restore failed',
    ],
    [
      'when the definitions of the copy are read',
      'pg_dump',
      `*--section=post-data*) echo 'pg_dump: error: connection lost' >&2; exit 1;;`,
      () => ({}),
      'DUMP_FAILED',
      'pg_dump failed',
    ],
  ])('%s', async (_, program, cases, more, code, text) => {
    const binDirs = [standIn(test.folder, program, `case "$*" in ${cases} esac; exec "$REAL" "$@"`)]
    const failure = await failureOf(
      restoreTables(test, shared.name, { tables: ['app.customer', 'app.invoice'], binDirs, ...more() }),
    )
    expect(failure).toEqual({ code, text: expect.stringContaining(text) })
    await expectNothingLeft(test, shared)
  })

  it('it is cancelled while pg_restore brings rows - CANCELLED', async () => {
    const marker = join(test.folder, 'rows')
    const waits = `case "$*" in *--section=data*) : >'${marker}'; exec sleep 600;; esac; exec "$REAL" "$@"`
    const binDirs = [standIn(test.folder, 'pg_restore', waits)]
    const controller = new AbortController()
    const { signal } = controller
    const run = failureOf(restoreTables(test, shared.name, { tables: ['public.note'], binDirs }, { signal }))
    await expect.poll(() => existsSync(marker), { timeout: 60_000 }).toBe(true)
    controller.abort()
    expect((await run).code).toBe('CANCELLED')
    await expectNothingLeft(test, shared)
  })
})

describe('the copy', () => {
  it('without a name - called by the instant of the backup; large objects are not in it, which is said', async () => {
    await using live = await shop()
    const { manifest } = test.installation.catalog.newest('main', live.name) ?? { manifest: undefined }
    const time = (manifest?.snapshotTime ?? '').replace(/\.\d+/, '').replaceAll(/[-:]/g, '').toLowerCase()
    const place = { into: 'schema', schema: null } as const
    const { notes } = await restoreTables(test, live.name, { tables: ['app.invoice'], place })
    expect(time).toMatch(/^\d{8}t\d{6}z$/)
    expect(await schemasOf(live.url)).toContain(`restored_${time}`)
    expect(notes.join('\n')).toContain('large objects to which rows may refer are not brought back')
    expect(await stagingDatabases(live)).toEqual([])
  })

  it('of a table whose schema is gone and is in no dump - the script makes the schema, and the rows are back', async () => {
    await using live = await shop()
    await query(live.url, 'DROP SCHEMA public CASCADE')
    const result = await restoreTables(test, live.name, { tables: ['public.note'] })
    const script = scriptFor(result, 'bring back')
    expect(script).toContain('CREATE SCHEMA public')
    psql(live.url, script)
    expect(await query(live.url, 'SELECT * FROM public.note')).toEqual([{ id: 1, body: 'hello' }])
  })

  it('of a table that refers to one that is gone as well and not asked for - the foreign key is left out, which is said', async () => {
    await using live = await shop()
    await query(live.url, 'DROP TABLE app.invoice, app.customer')
    const result = await restoreTables(test, live.name, { tables: ['app.invoice'] })
    expect(result.notes.join('\n')).toContain(
      'foreign key invoice_customer_fkey of app.invoice cannot be made again: app.customer is not there',
    )
    psql(live.url, scriptFor(result, 'bring back'))
    expect(await query(live.url, 'SELECT id, customer FROM app.invoice')).toEqual([{ id: 7, customer: 1 }])
  })
})
