import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parseConnectionUrl } from '../../src/postgres/connect.ts'
import { inspectTarget, lockTarget } from '../../src/postgres/target-database.ts'
import { signal } from '../postgres/sandbox.ts'
import { type TestInstallation, testInstallation, testUrl } from '../support/installation.ts'
import { query, startPostgres } from '../support/postgres-server.ts'
import {
  expectNothingLeft,
  failureOf,
  heldBy,
  market,
  marketSql,
  psql,
  restoreTables,
  scriptFor,
  stagingDatabases,
} from './tables-fixture.ts'

let test: TestInstallation
const created: string[] = []

beforeAll(async () => {
  test = await testInstallation()
})
afterAll(async () => {
  for (const name of created) await query(testUrl(), `DROP DATABASE IF EXISTS "${name}" WITH (FORCE)`)
  await test[Symbol.asyncDispose]()
})

describe('tables that somebody dropped', () => {
  it('users with all that hung on it - put back by the statements as it was', async () => {
    await using live = await market(test)
    const before = await heldBy(live.url)
    await query(live.url, 'DROP TABLE market.users CASCADE')
    const result = await restoreTables(test, live.name, { tables: ['market.USERS'] })
    expect(result.tables).toEqual([
      { table: 'market.users', copy: 'copy.users', rows: 200, compared: 'rows and digest', live: 'gone' },
    ])
    psql(live.url, scriptFor(result, 'bring back'))
    expect(await heldBy(live.url)).toEqual(before)
    await expectNothingLeft(test, live)
  })

  it('users of a database called postgres, where pgproof itself is at work - put back as it was; one at a time, and the database itself is never replaced', async () => {
    const own = await startPostgres()
    try {
      await query(own.url(), marketSql)
      await using source = await testInstallation({ PGPROOF_SERVERS__0__URL: own.url() })
      await source.run('backup', 'postgres')
      const before = await heldBy(own.url())
      await query(own.url(), 'DROP TABLE market.users CASCADE')
      const target = parseConnectionUrl('the target', own.url())
      const restore = () => restoreTables(source, 'postgres', { tables: ['market.users'], target })
      const result = await restore()
      expect(result.target.database).toBe('postgres')
      psql(own.url(), scriptFor(result, 'bring back'))
      expect(await heldBy(own.url())).toEqual(before)
      const left = await query(own.url(), "SELECT datname FROM pg_database WHERE datname LIKE 'pgproof%'")
      expect(left).toEqual([])
      const whole = restoreTables(source, 'postgres', { tables: ['market.users'], target, place: { into: 'database' } })
      expect((await failureOf(whole)).code).toBe('USAGE_INVALID')
      const { server } = await inspectTarget(target, signal, 'tables')
      await using _lock = await lockTarget(server, 'postgres', signal)
      expect((await failureOf(restore())).code).toBe('LOCKED')
    } finally {
      await own.stop()
    }
  })

  it('every table of a schema, partitions, children and circles among them - all as they were', async () => {
    await using live = await market(test)
    const before = await heldBy(live.url)
    const tables = 'users, orders, items, events, notes, sticky, empty'.replaceAll(/\w+/g, 'market.$&')
    await query(live.url, `DROP TABLE ${tables} CASCADE`)
    const result = await restoreTables(test, live.name, { schemas: ['market'] })
    psql(live.url, scriptFor(result, 'bring back'))
    expect(await heldBy(live.url)).toEqual(before)
  })

  it('a table with an odd name, gone with its schema - both are back', async () => {
    await using live = await market(test)
    const before = await heldBy(live.url)
    await query(live.url, 'DROP SCHEMA "Odd Schema" CASCADE')
    const place = { into: 'schema', schema: `My "copy"` } as const
    const result = await restoreTables(test, live.name, { tables: [`"Odd Schema"."Täble "" 'x'"`], place })
    psql(live.url, scriptFor(result, 'bring back'))
    expect(await heldBy(live.url)).toEqual(before)
  })

  it('orders gone while users are there, both asked for - the foreign keys lead to the live tables', async () => {
    await using live = await market(test)
    const before = await heldBy(live.url)
    await query(live.url, 'DROP TABLE market.orders CASCADE; DELETE FROM market.users WHERE id > 190')
    const result = await restoreTables(test, live.name, { tables: ['market.orders', 'market.users'] })
    psql(live.url, scriptFor(result, 'bring back'))
    psql(live.url, scriptFor(result, 'clean up'))
    expect(await heldBy(live.url)).toEqual(before)
  })

  it('one partition dropped - attached again, for the values that it had', async () => {
    await using live = await market(test)
    const before = await heldBy(live.url)
    await query(live.url, 'DROP TABLE market.events_2026')
    const result = await restoreTables(test, live.name, { tables: ['market.events_2026'] })
    expect(result.tables.map(({ table }) => table)).toEqual(['market.events_2026_a', 'market.events_2026_rest'])
    psql(live.url, scriptFor(result, 'bring back'))
    expect(await heldBy(live.url)).toEqual(before)
  })

  it('roles of owners and grants that are not there - left out with a note, the rest is back', async () => {
    await using live = await market(test)
    const role = `gone_${live.name}`
    await query(
      live.url,
      `CREATE ROLE ${role}; ALTER TABLE market.empty OWNER TO ${role}; GRANT SELECT ON market.notes TO ${role}`,
    )
    await query(live.url, `CREATE POLICY p ON market.notes TO ${role} USING (true)`)
    await test.run('backup', live.name)
    await query(live.url, `DROP TABLE market.empty, market.notes CASCADE; DROP ROLE ${role}`)
    const result = await restoreTables(test, live.name, { tables: ['market.empty', 'market.notes'] })
    psql(live.url, scriptFor(result, 'bring back'))
    expect(result.notes.filter((note) => note.includes('role')).length).toBe(3)
    expect(await query(live.url, 'SELECT count(*)::int AS n FROM ONLY market.notes')).toEqual([{ n: 5 }])
  })
})

describe('rows that somebody deleted or changed', () => {
  it('in tables with triggers, circles, generated and identity columns - counted, then as they were', async () => {
    await using live = await market(test)
    const before = await heldBy(live.url)
    await query(
      live.url,
      `DELETE FROM market.users WHERE id % 3 = 0 AND NOT EXISTS (SELECT FROM market.users s WHERE s.boss = users.id);
       DELETE FROM market.orders WHERE id % 7 = 0;
       UPDATE market.users SET name = 'x', share = NULL, handle = pg_catalog.upper(handle::text)::citext WHERE id BETWEEN 10 AND 20;
       UPDATE market.orders SET total = round(total, 1), first_item = NULL WHERE id BETWEEN 200 AND 210`,
    )
    const damaged = await heldBy(live.url)
    const tables = ['market.items', 'market.orders', 'market.users']
    const result = await restoreTables(test, live.name, { tables })
    expect((await heldBy(live.url)).tables.filter(({ schema }) => schema !== 'copy')).toEqual(damaged.tables)
    expect(psql(live.url, scriptFor(result, 'look'))).toMatch(/market\.users\|\d+\|11\|0\n/)
    psql(live.url, scriptFor(result, 'bring back'))
    psql(live.url, scriptFor(result, 'undo changes'))
    expect(psql(live.url, scriptFor(result, 'look')).match(/\|0\|0\|0\n/g)).toHaveLength(3)
    psql(live.url, scriptFor(result, 'clean up'))
    expect(await heldBy(live.url)).toEqual(before)
  })

  it('of a partitioned table, one of its partitions gone - made again and filled', async () => {
    await using live = await market(test)
    const before = await heldBy(live.url)
    await query(live.url, "DROP TABLE market.events_2026_a; DELETE FROM market.events WHERE kind = 'b'")
    const result = await restoreTables(test, live.name, { tables: ['market.events'] })
    psql(live.url, scriptFor(result, 'bring back'))
    psql(live.url, scriptFor(result, 'clean up'))
    expect((await heldBy(live.url)).tables).toEqual(before.tables)
  })

  it('of a table without a primary key, equal rows among them - as many as there were', async () => {
    await using live = await market(test)
    const before = await heldBy(live.url)
    await query(
      live.url,
      "DELETE FROM ONLY market.notes WHERE ctid IN (SELECT ctid FROM ONLY market.notes WHERE body = 'one' LIMIT 2) OR body IS NULL",
    )
    const result = await restoreTables(test, live.name, { tables: ['market.notes'] })
    expect(result.notes.join()).toMatch(/has no primary key/)
    psql(live.url, scriptFor(result, 'bring back'))
    psql(live.url, scriptFor(result, 'clean up'))
    expect(await heldBy(live.url)).toEqual(before)
  })

  it('TRUNCATE with its sequences begun anew - the rows are back and the next number is free', async () => {
    await using live = await market(test)
    const before = await heldBy(live.url)
    await query(live.url, 'TRUNCATE market.users, market.orders, market.items RESTART IDENTITY')
    const result = await restoreTables(test, live.name, { tables: ['market.users', 'market.orders', 'market.items'] })
    psql(live.url, scriptFor(result, 'bring back'))
    psql(live.url, scriptFor(result, 'clean up'))
    expect((await heldBy(live.url)).tables).toEqual(before.tables)
    await query(
      live.url,
      "INSERT INTO market.users (name) VALUES ('new'); INSERT INTO market.orders (user_id, total) VALUES (1, 1)",
    )
  })

  it('columns that came, went and changed their type since - said, and the others brought back', async () => {
    await using live = await market(test)
    await query(
      live.url,
      `DROP MATERIALIZED VIEW market.totals; ALTER TABLE market.orders DROP COLUMN first_item, ADD COLUMN paid boolean DEFAULT true, ALTER COLUMN total TYPE float8;
       DELETE FROM market.orders WHERE id = 5; ALTER TABLE market.orders ALTER COLUMN total SET DEFAULT 0`,
    )
    const result = await restoreTables(test, live.name, { tables: ['market.orders'] })
    expect(result.notes).toEqual([
      'column total of market.orders was numeric and is double precision: its values stay in the copy',
      'column first_item of market.orders is gone: its values stay in the copy',
      'column paid of market.orders is new: rows that come back get its default',
    ])
    psql(live.url, scriptFor(result, 'bring back'))
    expect(await query(live.url, 'SELECT user_id::int, total, paid FROM market.orders WHERE id = 5')).toEqual([
      { user_id: 6, total: 0, paid: true },
    ])
  })
})

describe('other places and logins', () => {
  it('a database of its own - all definitions, rows of the one table, foreign keys that do not hold named', async () => {
    await using live = await market(test)
    const name = `own_${live.name}`
    created.push(name)
    const result = await restoreTables(test, live.name, {
      tables: ['market.orders'],
      target: parseConnectionUrl('the target', testUrl(name)),
      place: { into: 'database' },
    })
    expect(result).toMatchObject({ into: 'database', schema: null, statements: [] })
    expect(result.notes.join('\n')).toMatch(/left out: ERROR: {2}insert or update on table "orders" violates/)
    const own = await heldBy(testUrl(name))
    expect(own.tables.filter(({ rows }) => rows !== 0).map((table) => table.name)).toEqual(['orders'])
    expect(own.structure.filter(({ kind }) => kind === 'trigger' || kind === 'view').length).toBe(2)
    expect(await stagingDatabases(live)).toEqual([])
  })

  it('a login without superuser rights that owns the database - restores, and what it restored is its own', async () => {
    await using live = await market(test)
    const role = `owner_${live.name}`
    await query(
      live.url,
      `CREATE ROLE ${role} LOGIN CREATEDB PASSWORD 'secret'; ALTER DATABASE ${live.name} OWNER TO ${role}; GRANT USAGE ON SCHEMA market TO ${role}`,
    )
    try {
      const url = new URL(testUrl(live.name))
      url.username = role
      url.password = 'secret'
      const target = parseConnectionUrl('the target', url.href)
      const result = await restoreTables(test, live.name, { tables: ['market.users'], target })
      expect(result.tables).toMatchObject([{ table: 'market.users', rows: 200, live: 'there' }])
      expect(
        await query(live.url, "SELECT nspowner::regrole::text AS owner FROM pg_namespace WHERE nspname = 'copy'"),
      ).toEqual([{ owner: role }])
    } finally {
      await query(live.url, `ALTER DATABASE ${live.name} OWNER TO postgres; DROP OWNED BY ${role}; DROP ROLE ${role}`)
    }
  })
})
