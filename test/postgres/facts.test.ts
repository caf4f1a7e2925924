import { describe, expect, it } from 'vitest'
import { connect } from '../../src/postgres/connect.ts'
import {
  listDatabases,
  listExtensions,
  readDatabaseProperties,
  readDatabaseSize,
  readServerFacts,
  unfinishedMark,
} from '../../src/postgres/facts.ts'
import { inspectTarget } from '../../src/postgres/target-database.ts'
import { testUrl } from '../support/installation.ts'
import { query, startPostgres } from '../support/postgres-server.ts'
import { codeOf, connectionTo, errorOf, openSandbox, signal } from './sandbox.ts'
import { major } from './spool-root.ts'

describe('what a server says of itself', () => {
  it('version, role and identity - the same in every database of it', async () => {
    await using sandbox = await openSandbox()
    await using other = await connect(connectionTo('postgres'), signal)
    const facts = await readServerFacts(sandbox.client, sandbox.connection)
    expect(facts).toMatchObject({
      major,
      isStandby: false,
      role: 'postgres',
      isSuperuser: true,
      bypassesRowSecurity: true,
    })
    expect(facts.version.startsWith(String(major))).toBe(true)
    expect(facts.systemIdentifier).toMatch(/^\d{15,}$/)
    expect(await readServerFacts(other.client, sandbox.connection)).toEqual(facts)
  })

  it('a role that was told to act as another one - the other one’s name and rights', async () => {
    await using sandbox = await openSandbox()
    const role = `acting_${sandbox.database}`
    await sandbox.sql(
      `CREATE ROLE ${role} LOGIN PASSWORD 'x'; GRANT shop_reader TO ${role}; ALTER ROLE ${role} SET role = 'shop_reader'`,
    )
    try {
      await using held = await connect({ ...sandbox.connection, user: role, password: () => 'x' }, signal)
      expect(await readServerFacts(held.client, sandbox.connection)).toMatchObject({
        role: 'shop_reader',
        isSuperuser: false,
        bypassesRowSecurity: false,
      })
    } finally {
      await query(testUrl(), `DROP ROLE ${role}`)
    }
  })

  it('it is older than any that can be backed up - SERVER_TOO_OLD, for a backup and for a restore', async () => {
    const own = await startPostgres()
    try {
      // A server that says so of itself.
      await query(
        own.url(),
        `CREATE OR REPLACE FUNCTION pg_catalog.current_setting(text) RETURNS text LANGUAGE sql STABLE AS
         $$ SELECT CASE $1 WHEN 'server_version_num' THEN '130014' WHEN 'server_version' THEN '13.14'
                   ELSE pg_catalog.current_setting($1, false) END $$`,
      )
      const connection = connectionTo('postgres', { port: own.port })
      await using held = await connect(connection, signal)
      const too = { code: 'SERVER_TOO_OLD', message: expect.stringContaining('13.14') }
      expect(await errorOf(readServerFacts(held.client, connection))).toMatchObject(too)
      expect(await errorOf(inspectTarget({ ...connection, database: 'shop' }, signal))).toMatchObject(too)
    } finally {
      await own.stop()
    }
  })

  it('the system identifier is kept from the role - PRIVILEGE_MISSING, not a fault in pgproof', async () => {
    await using sandbox = await openSandbox()
    const role = `humble_${sandbox.database}`
    await sandbox.sql(
      `CREATE ROLE ${role} LOGIN PASSWORD 'x'; REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC`,
    )
    try {
      await using held = await connect({ ...sandbox.connection, user: role, password: () => 'x' }, signal)
      expect(await codeOf(readServerFacts(held.client, sandbox.connection))).toBe('PRIVILEGE_MISSING')
    } finally {
      await query(testUrl(), `DROP ROLE ${role}`)
    }
  })
})

describe('what there is to back up', () => {
  it('databases in order of their names, without templates and those that let nobody in', async () => {
    await using one = await openSandbox()
    await using closed = await openSandbox()
    await one.sql(`ALTER DATABASE ${closed.database} ALLOW_CONNECTIONS false`)
    const names = await listDatabases(one.client)
    expect(names).toContain(one.database)
    for (const name of ['template0', 'template1', closed.database]) expect(names).not.toContain(name)
    expect(names).toEqual(names.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))))
  })

  it('a database that a restore has not finished - no database of the user’s yet', async () => {
    await using half = await openSandbox()
    await query(testUrl(), `COMMENT ON DATABASE ${half.database} IS '${unfinishedMark}{"name":"${half.database}"}'`)
    expect(await listDatabases(half.client)).not.toContain(half.database)
    await query(testUrl(), `COMMENT ON DATABASE ${half.database} IS NULL`)
    expect(await listDatabases(half.client)).toContain(half.database)
  })

  it('a database that is gone by the time it is asked about - DATABASE_UNKNOWN, named', async () => {
    await using held = await connect(connectionTo('postgres'), signal)
    expect(await errorOf(readDatabaseProperties(held.client, major, connectionTo('never_there')))).toMatchObject({
      code: 'DATABASE_UNKNOWN',
      message: 'database "never_there" does not exist on server "main"',
    })
  })

  it('size, extensions and how the database was made', async () => {
    await using sandbox = await openSandbox('CREATE EXTENSION hstore')
    expect(await readDatabaseSize(sandbox.client)).toBeGreaterThan(1_000_000)
    expect((await listExtensions(sandbox.client)).map(({ name }) => name)).toEqual(['hstore', 'plpgsql'])
    expect(await readDatabaseProperties(sandbox.client, major)).toMatchObject({
      owner: 'postgres',
      encoding: 'UTF8',
      localeProvider: 'c',
      bootstrapRole: 'postgres',
    })
  })
})
