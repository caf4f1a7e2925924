import pg from 'pg'
import { afterEach, beforeAll, describe, expect, it } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { type Connection, connect } from '../../src/postgres/connect.ts'
import { startEmbeddedServer } from '../../src/postgres/embedded-server.ts'
import { type DatabaseProperties, readDatabaseProperties } from '../../src/postgres/facts.ts'
import {
  createScratchDatabase,
  dropScratchDatabase,
  listScratchDatabases,
  localeClauses,
} from '../../src/postgres/scratch-database.ts'
import { openSpool } from '../../src/streams/spool.ts'
import { testUrl } from '../support/installation.ts'
import { startPostgresProxy } from '../support/postgres-proxy.ts'
import { query } from '../support/postgres-server.ts'
import { codeOf, connectionTo, errorOf, signal } from './sandbox.ts'
import { major, openSpoolRoot } from './spool-root.ts'

const server = connectionTo('postgres')
let properties: DatabaseProperties
let names: string[] = []
beforeAll(async () => {
  properties = await propertiesOf(server)
})
afterEach(async () => {
  for (const name of names)
    await query(testUrl(), `DROP DATABASE IF EXISTS "${name.replaceAll('"', '""')}" WITH (FORCE)`)
  names = []
})

function freshName(part = ''): string {
  const name = `pgproof_scratch_test_${part}${Math.random().toString(36).slice(2)}`
  names.push(name)
  return name
}

async function propertiesOf(connection: Connection): Promise<DatabaseProperties> {
  await using held = await connect(connection, signal)
  return await readDatabaseProperties(held.client, major)
}

async function exists(name: string): Promise<boolean> {
  return (await query(testUrl(), 'SELECT FROM pg_database WHERE datname = $1', [name])).length === 1
}

describe('creating', () => {
  it('an empty twin with a mark, listed as such, and gone with its scope', async () => {
    const name = freshName(`"; DROP DATABASE x; -- '\\`)
    {
      await using database = await createScratchDatabase(server, name, properties, signal)
      expect(database.connection).toMatchObject({ database: name, host: server.host })
      expect(await propertiesOf(database.connection)).toEqual(properties)
      expect(await listScratchDatabases(server, signal)).toContain(name)
    }
    expect(await exists(name)).toBe(false)
    expect(await listScratchDatabases(server, signal)).not.toContain(name)
  })

  it('the connection reads money as the source writes it; without that locale it has none', async () => {
    const known = { ...properties, lcMonetary: 'C.UTF-8' }
    await using same = await createScratchDatabase(server, freshName(), known, signal)
    expect(same.connection.parameters).toEqual({ lc_monetary: 'C.UTF-8' })
    const unknown = { ...properties, lcMonetary: 'xx_XX.UTF-8' }
    await using without = await createScratchDatabase(server, freshName(), unknown, signal)
    expect(without.connection.parameters).toEqual({})
  })

  it('the connection breaks before the server was told anything - SCRATCH_FAILED, and no database is made', async () => {
    await using proxy = await startPostgresProxy(testUrl(), ({ text }) =>
      text.includes('lc_monetary') && text.startsWith('SELECT') ? 'cut' : undefined,
    )
    const name = freshName()
    const far = { ...server, host: '127.0.0.1', port: proxy.port }
    expect(await codeOf(createScratchDatabase(far, name, properties, signal))).toBe('SCRATCH_FAILED')
    expect(await exists(name)).toBe(false)
  })

  it('rules of an ICU locale - said, quoted', () => {
    const icu = { ...properties, localeProvider: 'i', locale: 'de', icuRules: "&a < 'g'" } as const
    expect(localeClauses(icu, 16).join(' ')).toContain("LOCALE_PROVIDER icu ICU_LOCALE 'de' ICU_RULES '&a < ''g'''")
    expect(localeClauses({ ...icu, icuRules: null }, 15).join(' ')).not.toContain('RULES')
  })

  it('the builtin provider of PostgreSQL 17 - said with its locale', () => {
    const builtin = { ...properties, localeProvider: 'b', locale: 'C.UTF-8' } as const
    expect(localeClauses(builtin, 17).join(' ')).toContain("LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8'")
    expect(localeClauses({ ...builtin, locale: null }, 17).join(' ')).toContain("BUILTIN_LOCALE 'C'")
  })

  it('the owner of the source where there is one, ours where not', async () => {
    const made = async (owner: string): Promise<string> => {
      await using database = await createScratchDatabase(server, freshName(), { ...properties, owner }, signal)
      return (await propertiesOf(database.connection)).owner
    }
    expect(await made('shop_owner')).toBe('shop_owner')
    expect(await made('no "such" role')).toBe('postgres')
  })

  it.each<[string, Partial<DatabaseProperties>]>([
    ['libc, plain C', { localeProvider: 'c', collate: 'C', ctype: 'C', locale: null }],
    ['libc, mixed', { localeProvider: 'c', collate: 'C', ctype: 'C.UTF-8', locale: null }],
    ['ICU', { localeProvider: 'i', collate: 'C.UTF-8', ctype: 'C.UTF-8', locale: 'de-u-co-phonebk' }],
    ['SQL_ASCII', { localeProvider: 'c', collate: 'C', ctype: 'C', locale: null, encoding: 'SQL_ASCII' }],
    ['LATIN1', { localeProvider: 'c', collate: 'C', ctype: 'C', locale: null, encoding: 'LATIN1' }],
  ])('%s - a twin with exactly that', async (_, over) => {
    const wanted = { ...properties, ...over }
    await using database = await createScratchDatabase(server, freshName(), wanted, signal)
    const found = await query(
      testUrl(),
      'SELECT datlocprovider AS p, datcollate AS c, datctype AS t, pg_encoding_to_char(encoding) AS e FROM pg_database WHERE datname = $1',
      [database.connection.database],
    )
    expect(found).toEqual([{ p: wanted.localeProvider, c: wanted.collate, t: wanted.ctype, e: wanted.encoding }])
    if (wanted.encoding === 'UTF8') expect(await propertiesOf(database.connection)).toEqual(wanted)
  })

  it('on a server whose template has another locale provider - still the provider of the source', async () => {
    await using root = await openSpoolRoot()
    await using spool = await openSpool(root.path, 0)
    const request = { folder: spool.folder, major, binDirs: [], bootstrapRole: 'postgres', runAs: 'nobody', jobs: 1 }
    await using scratch = await startEmbeddedServer(request, systemClock, signal)
    await using held = await connect(scratch.connection, signal)
    const icu = major >= 17 ? "datlocprovider = 'i', datlocale = 'en'" : "datlocprovider = 'i', daticulocale = 'en'"
    await held.client.query(`UPDATE pg_catalog.pg_database SET ${icu}`)
    await using database = await createScratchDatabase(
      scratch.connection,
      'twin',
      { ...properties, collate: 'C', ctype: 'C' },
      signal,
    )
    expect(await propertiesOf(database.connection)).toMatchObject({ localeProvider: 'c', locale: null })
  })

  it.each<[string, Partial<DatabaseProperties>]>([
    ['a locale that is not installed', { localeProvider: 'c', collate: 'tlh_KX.UTF-8', ctype: 'tlh_KX.UTF-8' }],
    [
      'an encoding that the locale cannot have',
      { localeProvider: 'c', collate: 'C.UTF-8', ctype: 'C.UTF-8', encoding: 'LATIN1' },
    ],
  ])('%s - LOCALE_MISSING, nothing is made', async (_, over) => {
    const name = freshName()
    const error = await errorOf(createScratchDatabase(server, name, { ...properties, ...over }, signal))
    expect(error).toMatchObject({ code: 'LOCALE_MISSING', message: expect.stringContaining(String(over.collate)) })
    expect(await exists(name)).toBe(false)
  })

  it('the name is taken - SCRATCH_FAILED, and what is there stays', async () => {
    const name = freshName()
    await query(testUrl(), `CREATE DATABASE ${name}`)
    expect(await codeOf(createScratchDatabase(server, name, properties, signal))).toBe('SCRATCH_FAILED')
    expect(await exists(name)).toBe(true)
    await expect(
      codeOf(createScratchDatabase(server, name, { ...properties, collate: 'tlh_KX.UTF-8' }, signal)),
    ).resolves.toMatch(/SCRATCH_FAILED|LOCALE_MISSING/)
    expect(await exists(name)).toBe(true)
  })

  it('no right to create databases - SCRATCH_FAILED', async () => {
    const role = `humble_${Math.random().toString(36).slice(2)}`
    await query(testUrl(), `CREATE ROLE ${role} LOGIN PASSWORD 'x'`)
    const login = { ...server, user: role, password: () => 'x' }
    expect(await codeOf(createScratchDatabase(login, freshName(), properties, signal))).toBe('SCRATCH_FAILED')
    await query(testUrl(), `DROP ROLE ${role}`)
  })

  it('aborted at any moment - the reason, and no database without a mark is left', async () => {
    for (const delayMs of [0, 1, 5, 10, 20, 40, 80]) {
      const name = freshName()
      const controller = new AbortController()
      const creating = createScratchDatabase(server, name, properties, controller.signal).then(
        async (database) => await database[Symbol.asyncDispose](),
        (error: unknown) => expect(error).toMatchObject({ message: 'stop' }),
      )
      setTimeout(() => controller.abort(new Error('stop')), delayMs)
      await creating
      expect(await exists(name), `after ${delayMs} ms`).toBe(false)
    }
  })
})

describe('dropping', () => {
  it('a database without the mark - SCRATCH_FAILED, and it stays', async () => {
    const name = freshName()
    await query(testUrl(), `CREATE DATABASE ${name}`)
    for (const comment of ['NULL', "'something else'", "'pgproof scratch database '"]) {
      await query(testUrl(), `COMMENT ON DATABASE ${name} IS ${comment}`)
      expect(await errorOf(dropScratchDatabase(server, name, signal))).toMatchObject({
        code: 'SCRATCH_FAILED',
        message: expect.stringContaining('not marked'),
      })
    }
    for (const untouchable of ['postgres', 'template0', 'shop_template'])
      expect(await codeOf(dropScratchDatabase(server, untouchable, signal))).toBe('SCRATCH_FAILED')
    expect(await exists(name)).toBe(true)
  })

  it('one that is not there - no error', async () => {
    await dropScratchDatabase(server, 'never_there', signal)
  })

  it('while sessions are in it, one of them in a transaction - gone all the same', async () => {
    const name = freshName()
    const database = await createScratchDatabase(server, name, properties, signal)
    const session = new pg.Client({ connectionString: testUrl(name) })
    session.on('error', () => {})
    await session.connect()
    await session.query('BEGIN; CREATE TABLE t (); LOCK TABLE t')
    await database[Symbol.asyncDispose]()
    expect(await exists(name)).toBe(false)
  })

  it('what cannot be dropped - SCRATCH_FAILED that says why', async () => {
    const database = await createScratchDatabase(server, freshName(), properties, signal)
    await using held = await connect(database.connection, signal)
    await held.client.query(
      "CREATE SUBSCRIPTION s CONNECTION 'host=/nonexistent' PUBLICATION p WITH (connect = false, slot_name = NONE)",
    )
    expect(await errorOf(database[Symbol.asyncDispose]())).toMatchObject({
      code: 'SCRATCH_FAILED',
      message: expect.stringContaining('subscription'),
    })
    await held.client.query('DROP SUBSCRIPTION s')
    await database[Symbol.asyncDispose]()
  })

  it('its server has ended - no error that would hide why', async () => {
    await using root = await openSpoolRoot()
    await using spool = await openSpool(root.path, 0)
    const request = { folder: spool.folder, major, binDirs: [], bootstrapRole: 'postgres', runAs: 'nobody', jobs: 1 }
    const scratch = await startEmbeddedServer(request, systemClock, signal)
    const run = async (): Promise<void> => {
      await using _database = await createScratchDatabase(
        scratch.connection,
        'twin',
        { ...properties, collate: 'C', ctype: 'C' },
        signal,
      )
      await scratch[Symbol.asyncDispose]()
      throw new Error('the restore failed')
    }
    expect(await errorOf(run())).toMatchObject({ message: 'the restore failed' })
  })
})
