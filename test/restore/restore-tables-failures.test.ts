import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parseConnectionUrl } from '../../src/postgres/connect.ts'
import { createStaging, stagingName } from '../../src/postgres/staging-database.ts'
import { inspectTarget } from '../../src/postgres/target-database.ts'
import { forgeDump } from '../support/forge.ts'
import { type TestInstallation, testInstallation } from '../support/installation.ts'
import { query } from '../support/postgres-server.ts'
import { standIn } from '../support/stand-ins.ts'
import {
  expectNothingLeft,
  failureOf,
  heldBy,
  type Market,
  market,
  psql,
  restoreTables,
  scriptFor,
  stagingDatabases,
  untilRunning,
} from './tables-fixture.ts'

let test: TestInstallation
let shared: Market

beforeAll(async () => {
  test = await testInstallation()
  shared = await market(test)
})
afterAll(async () => {
  await shared[Symbol.asyncDispose]()
  await test[Symbol.asyncDispose]()
})

describe('what cannot be', () => {
  it.each([
    ['a name like another', { tables: ['market.user'] }, 'TABLE_UNKNOWN', 'Did you mean market.users?'],
    ['a name without its schema', { tables: ['users'] }, 'TABLE_UNKNOWN', 'Did you mean market.users?'],
    ['a schema without tables', { schemas: ['nowhere'] }, 'TABLE_UNKNOWN', 'in schema nowhere'],
    ['a view', { tables: ['market.bosses'] }, 'USAGE_INVALID', 'is a view and holds no rows of its own'],
    ['a materialized view', { tables: ['market.totals'] }, 'USAGE_INVALID', 'is a materialized view'],
    ['a sequence', { tables: ['market.users_id_seq'] }, 'USAGE_INVALID', 'with the table that owns it'],
    ['no name', { tables: ['market."users'] }, 'USAGE_INVALID', 'is no name of a table'],
    [
      'a schema that is there',
      { tables: ['market.users'], place: { into: 'schema', schema: 'market' } },
      'USAGE_INVALID',
      'DROP SCHEMA "market" CASCADE',
    ],
    [
      'a name that PostgreSQL keeps',
      { tables: ['market.users'], place: { into: 'schema', schema: 'pg_x' } },
      'USAGE_INVALID',
      'cannot be the name',
    ],
    [
      'a database of its own that is there',
      { tables: ['market.users'], place: { into: 'database' } },
      'TARGET_EXISTS',
      'exists already',
    ],
  ] as const)('%s - refused before anything is fetched', async (_, more, code, text) => {
    const failure = await failureOf(restoreTables(test, shared.name, { ...more }))
    expect(failure).toEqual({ code, text: expect.stringContaining(text) })
    await expectNothingLeft(test, shared)
  })

  it('two tables of one name - refused, one at a time', async () => {
    await using live = await market(test)
    await query(live.url, 'CREATE TABLE "Odd Schema".users (id int)')
    await test.run('backup', live.name)
    const run = restoreTables(test, live.name, { tables: ['market.users', '"Odd Schema".users'] })
    expect(await failureOf(run)).toMatchObject({
      code: 'USAGE_INVALID',
      text: expect.stringContaining('cannot be in one schema'),
    })
  })

  it('a database whose tables are all published - refused: the subscribers would get the copy', async () => {
    await using live = await market(test)
    await query(live.url, 'CREATE PUBLICATION everything FOR ALL TABLES')
    const failure = await failureOf(restoreTables(test, live.name, { tables: ['market.users'] }))
    expect(failure).toEqual({ code: 'TARGET_FAILED', text: expect.stringContaining('publication everything') })
  })

  it.each([
    ['the enum', 'DROP TYPE market.mood CASCADE', 'the type market.mood'],
    [
      'a value of the enum',
      "ALTER TYPE market.mood RENAME VALUE 'glad' TO 'happy'",
      "the value 'glad' of the type market.mood",
    ],
    ['the function of an index', 'DROP FUNCTION market.shout CASCADE', 'the function market.shout(text)'],
    ['an extension', 'DROP EXTENSION hstore CASCADE', 'the extension hstore'],
  ])('the live database lacks %s - named, and nothing is left', async (_, sql, text) => {
    await using live = await market(test)
    await query(live.url, sql)
    const before = await heldBy(live.url)
    const failure = await failureOf(restoreTables(test, live.name, { tables: ['market.users'] }))
    expect(failure).toEqual({ code: 'TARGET_LACKS', text: expect.stringContaining(text) })
    expect(await heldBy(live.url)).toEqual(before)
    await expectNothingLeft(test, live)
  })

  it('a dump that is not what the evidence says - EVIDENCE_MISMATCH, nothing is left', async () => {
    await using live = await market(test)
    await using other = await market(test)
    const backup = await test.run('backup', live.name)
    await query(other.url, "UPDATE market.notes SET weight = 1.000 WHERE body = 'one'")
    await forgeDump(test, `backups/main/${live.name}/${backup.label}/`, other.url, { fitEvidence: true })
    const failure = await failureOf(restoreTables(test, live.name, { tables: ['market.notes'] }))
    expect(failure).toEqual({ code: 'EVIDENCE_MISMATCH', text: expect.stringContaining('market.notes digest differs') })
    await expectNothingLeft(test, live)
  })
})

describe('a cancel', () => {
  it.each(['fetch', 'restore', 'copy', 'verify'])(
    'while it is at %s - no schema, no database, no file is left',
    async (phase) => {
      await using live = await market(test)
      const before = await heldBy(live.url)
      const controller = new AbortController()
      const onPhase = (name: string): void => {
        if (name === phase) controller.abort()
      }
      const failure = await failureOf(
        restoreTables(test, live.name, { tables: ['market.users'] }, { signal: controller.signal, onPhase }),
      )
      expect(failure.code).toBe('CANCELLED')
      expect(await heldBy(live.url)).toEqual(before)
      await expectNothingLeft(test, live)
    },
  )

  it('in the middle of the copy into the live database - its rows are taken back', async () => {
    await using live = await market(test)
    await query(live.url, "INSERT INTO market.notes SELECT repeat('x', 100), g FROM generate_series(1, 200000) g")
    await test.run('backup', live.name)
    const before = await heldBy(live.url)
    const controller = new AbortController()
    const run = failureOf(restoreTables(test, live.name, { tables: ['market.notes'] }, { signal: controller.signal }))
    await untilRunning(live.url, 'COPY copy.')
    controller.abort()
    expect((await run).code).toBe('CANCELLED')
    expect(await heldBy(live.url)).toEqual(before)
    await expectNothingLeft(test, live)
  })
})

describe('what goes wrong on the way', () => {
  it('pg_dump fails in the middle of the copy - DUMP_FAILED, no half of it is taken for the whole', async () => {
    await using live = await market(test)
    const before = await heldBy(live.url)
    const fails = 'case "$*" in *--section=data*) "$REAL" "$@" | head -c 20000; exit 1;; esac; exec "$REAL" "$@"'
    const binDirs = [standIn(test.folder, 'pg_dump', fails)]
    const failure = await failureOf(restoreTables(test, live.name, { tables: ['market.users'], binDirs }))
    expect(failure.code).toBe('DUMP_FAILED')
    expect(await heldBy(live.url)).toEqual(before)
    await expectNothingLeft(test, live)
  })

  it('pg_restore fails among the indexes - RESTORE_FAILED, and the rows that were there already are gone', async () => {
    await using live = await market(test)
    const before = await heldBy(live.url)
    const says = 'echo "pg_restore: error: could not execute query: ERROR:  index row requires 9000 bytes" >&2; exit 1'
    const binDirs = [
      standIn(test.folder, 'pg_restore', `case "$*" in *after-rows.list*) ${says};; esac; exec "$REAL" "$@"`),
    ]
    const failure = await failureOf(restoreTables(test, live.name, { tables: ['market.users'], binDirs }))
    expect(failure.code).toBe('RESTORE_FAILED')
    expect(await heldBy(live.url)).toEqual(before)
    await expectNothingLeft(test, live)
  })

  it('parallel jobs lock each other out - one job makes what is missing', async () => {
    await using live = await market(test)
    const before = await heldBy(live.url)
    const says = 'echo "pg_restore: error: could not execute query: ERROR:  deadlock detected" >&2; exit 1'
    // Into the empty database they make nothing at all, beside the live tables everything.
    const meets = `case "$*" in *--section=post-data*--jobs=2*) ${says};; *--jobs=2*after-rows) "$REAL" "$@"; ${says};; esac; exec "$REAL" "$@"`
    const binDirs = [standIn(test.folder, 'pg_restore', meets)]
    await query(live.url, 'DROP TABLE market.users, market.orders, market.items, market.events CASCADE')
    const tables = ['market.users', 'market.orders', 'market.items', 'market.events']
    const result = await restoreTables(test, live.name, { tables, binDirs })
    psql(live.url, scriptFor(result, 'bring back'))
    expect(await heldBy(live.url)).toEqual(before)
  })

  it('somebody makes a schema of that name meanwhile - it is left as it is', async () => {
    await using live = await market(test)
    const onPhase = (phase: string): void => {
      if (phase === 'copy') psql(live.url, 'CREATE SCHEMA copy; CREATE TABLE copy.users (mine int)')
    }
    const failure = await failureOf(restoreTables(test, live.name, { tables: ['market.users'] }, { onPhase }))
    expect(failure.code).toBe('RESTORE_FAILED')
    expect(await query(live.url, 'SELECT count(mine)::int AS n FROM copy.users')).toEqual([{ n: 0 }])
    expect(await stagingDatabases(live)).toEqual([])
  })

  it('a restore that was killed left its database, or its schema - the one is removed, the other named', async () => {
    await using live = await market(test)
    const signal = new AbortController().signal
    const { manifest } = test.installation.catalog.newest('main', live.name) ?? { manifest: undefined }
    const label = manifest?.label ?? ''
    const { server, existing } = await inspectTarget(parseConnectionUrl('the target', live.url), signal)
    if (existing === null) throw new Error('no database')
    const left = { label, into: live.name, properties: existing.properties, owner: null, tablespace: null }
    const staging = await createStaging(server, { name: stagingName(label, `${live.name} tables`), ...left }, signal)
    staging.keep()
    await staging[Symbol.asyncDispose]()
    const result = await restoreTables(test, live.name, { tables: ['market.empty'] })
    expect(result.notes.join()).toContain('which an interrupted restore had left')
    await query(live.url, `COMMENT ON SCHEMA copy IS 'pgproof restore of tables from ${label}, unfinished (x)'`)
    const failure = await failureOf(restoreTables(test, live.name, { tables: ['market.empty'] }))
    expect(failure).toEqual({
      code: 'USAGE_INVALID',
      text: expect.stringContaining('left there by a restore that was interrupted'),
    })
  })
})
