import { randomBytes } from 'node:crypto'
import pg from 'pg'
import { describe, expect, it } from 'vitest'
import { connect } from '../../src/postgres/connect.ts'
import { readDatabaseProperties } from '../../src/postgres/facts.ts'
import {
  asTargetFailed,
  createStaging,
  dropUnfinished,
  listUnfinished,
  readMark,
  stagingName,
} from '../../src/postgres/staging-database.ts'
import { testUrl } from '../support/installation.ts'
import { query, startPostgres } from '../support/postgres-server.ts'
import { codeOf, connectionTo, errorOf, signal } from './sandbox.ts'
import { major } from './spool-root.ts'
import { databasesLike, freshTarget, label, oidOf, openLogin, plain, quoted, serverOf, stagingFor } from './target.ts'

function wantedFor(into: string, over: object = {}): Parameters<typeof createStaging>[1] {
  return { name: stagingName(label, into), label, into, properties: plain, owner: null, tablespace: null, ...over }
}

describe('the name', () => {
  it('the same each time, another one for another backup or target, 63 bytes at most in whole characters', () => {
    expect(stagingName(label, 'shop')).toBe('pgproof_restore_20261120T020000Z-4f7k_shop')
    const names = ['a', 'b'].map((end) => stagingName(label, `${'ü'.repeat(31)}${end}`))
    expect(new Set(names).size).toBe(2)
    for (const name of names) {
      expect(Buffer.byteLength(name)).toBeLessThanOrEqual(63)
      expect(name).not.toContain('\ufffd')
    }
  })
})

describe('creating', () => {
  it.each(['', ` "é" 'x' \\ {}`, 'ü'.repeat(20)])(
    'into a name that ends in %j - empty, marked, listed as busy, gone with its scope',
    async (ending) => {
      await using target = freshTarget()
      const into = `${target.name}${ending}`
      const server = await serverOf()
      const staging = await createStaging(server, wantedFor(into), signal)
      expect(staging.connection).toMatchObject({ database: staging.name, parameters: { lc_monetary: 'C' } })
      {
        await using held = await connect(staging.connection, signal)
        expect(await readDatabaseProperties(held.client, major)).toMatchObject({
          ...plain,
          lcMonetary: expect.any(String),
        })
      }
      const [found, ...others] = await listUnfinished(server, into, signal)
      expect(others).toEqual([])
      expect(found).toMatchObject({ name: staging.name, label, into, isBusy: true })
      expect(Math.abs(Date.parse(found?.since ?? '') - Date.now())).toBeLessThan(60_000)
      await staging[Symbol.asyncDispose]()
      expect(await oidOf(staging.name)).toBeNull()
      expect(await listUnfinished(server, into, signal)).toEqual([])
    },
  )

  it('kept - there after its scope, and no longer busy', async () => {
    await using target = freshTarget()
    const server = await serverOf()
    {
      await using staging = await stagingFor(target.name, server)
      staging.keep()
    }
    expect(await oidOf(stagingName(label, target.name))).not.toBeNull()
    const isBusy = async (): Promise<boolean | undefined> =>
      (await listUnfinished(server, target.name, signal))[0]?.isBusy
    await expect.poll(isBusy, { timeout: 15_000 }).toBe(false)
  })

  it('the owner where this login may name it; the login where there is no such role or it may not', async () => {
    await using target = freshTarget()
    await using login = await openLogin('CREATEDB')
    await using other = await openLogin('')
    const ownerOf = async (owner: string, server: Awaited<ReturnType<typeof serverOf>>): Promise<unknown> => {
      await using staging = await createStaging(server, wantedFor(target.name, { owner }), signal)
      const [row] = await query(testUrl(), 'SELECT pg_get_userbyid(datdba) AS o FROM pg_database WHERE datname = $1', [
        staging.name,
      ])
      return row?.['o']
    }
    expect(await ownerOf(other.name, await serverOf())).toBe(other.name)
    expect(await ownerOf('no "such" role', await serverOf())).toBe('postgres')
    const humble = await serverOf(login.connectionTo(target.name))
    expect(await ownerOf(other.name, humble)).toBe(login.name)
    await query(testUrl(), `GRANT ${other.name} TO ${login.name}`)
    expect(await ownerOf(other.name, humble)).toBe(other.name)
    await query(testUrl(), `ALTER ROLE ${login.name} NOINHERIT`)
    if (major < 16) expect(await ownerOf(other.name, humble)).toBe(login.name)
    expect(await databasesLike(target.name)).toEqual([])
  })

  it('no right to create databases - TARGET_LACKS with the statement that gives it', async () => {
    await using target = freshTarget()
    await using login = await openLogin('')
    const server = await serverOf(login.connectionTo(target.name))
    expect(await errorOf(createStaging(server, wantedFor(target.name), signal))).toMatchObject({
      code: 'TARGET_LACKS',
      hint: expect.stringContaining(`ALTER ROLE "${login.name}" CREATEDB.`),
    })
  })

  it('a locale that is not installed - TARGET_LACKS that names it, nothing is made', async () => {
    await using target = freshTarget()
    const properties = { ...plain, collate: 'tlh_KX.UTF-8', ctype: 'tlh_KX.UTF-8' }
    expect(
      await errorOf(createStaging(await serverOf(), wantedFor(target.name, { properties }), signal)),
    ).toMatchObject({
      code: 'TARGET_LACKS',
      message: expect.stringContaining('tlh_KX.UTF-8'),
    })
    expect(await databasesLike(target.name)).toEqual([])
  })

  it('a tablespace: the default one is nothing to ask for, one that is not there - TARGET_LACKS', async () => {
    await using target = freshTarget()
    await using login = await openLogin('CREATEDB')
    const humble = await serverOf(login.connectionTo(target.name))
    await (await createStaging(humble, wantedFor(target.name, { tablespace: 'pg_default' }), signal))[
      Symbol.asyncDispose
    ]()
    const error = (tablespace: string): Promise<unknown> =>
      errorOf(createStaging(humble, wantedFor(target.name, { tablespace }), signal))
    expect(await error('fast')).toMatchObject({ message: 'the target server lacks the tablespace "fast"' })
    expect(await error('pg_global')).toMatchObject({
      code: 'TARGET_LACKS',
      hint: expect.stringContaining('GRANT CREATE'),
    })
  })

  it('a tablespace in which this login may create - there it is', async () => {
    const own = await startPostgres('allow_in_place_tablespaces = on')
    try {
      await query(own.url(), "CREATE TABLESPACE fast LOCATION ''")
      const server = await serverOf(connectionTo('shop', { port: own.port }))
      await using staging = await createStaging(server, wantedFor('shop', { tablespace: 'fast' }), signal)
      const found = 'SELECT spcname FROM pg_database d JOIN pg_tablespace t ON t.oid = dattablespace WHERE datname = $1'
      expect(await query(own.url(), found, [staging.name])).toEqual([{ spcname: 'fast' }])
    } finally {
      await own.stop()
    }
  })

  it('the right to create databases, or to drop this one, has gone meanwhile - TARGET_FAILED, what is there stays', async () => {
    await using target = freshTarget()
    await using login = await openLogin('CREATEDB')
    const server = await serverOf(login.connectionTo(target.name))
    await using staging = await stagingFor(target.name)
    expect(await errorOf(dropUnfinished(server, staging.name, signal))).toMatchObject({
      code: 'TARGET_FAILED',
      message: expect.stringContaining('must be owner of database'),
    })
    await query(testUrl(), `ALTER ROLE ${login.name} NOCREATEDB`)
    expect(await errorOf(createStaging(server, wantedFor(`${target.name}2`), signal))).toMatchObject({
      code: 'TARGET_FAILED',
      message: expect.stringContaining('permission denied to create database'),
    })
    expect(await databasesLike(target.name)).toEqual([staging.name])
  })

  it('the name is taken, marked or not - TARGET_OBSTRUCTED, and what is there stays; while it is being filled LOCKED', async () => {
    await using target = freshTarget()
    const server = await serverOf()
    const staging = await stagingFor(target.name, server)
    const oid = await oidOf(staging.name)
    expect(await codeOf(createStaging(server, wantedFor(target.name), signal))).toBe('LOCKED')
    staging.keep()
    await staging[Symbol.asyncDispose]()
    const again = (): Promise<string> => codeOf(createStaging(server, wantedFor(target.name), signal))
    await expect.poll(again, { timeout: 15_000 }).toBe('TARGET_OBSTRUCTED')
    await query(testUrl(), `COMMENT ON DATABASE ${quoted(staging.name)} IS NULL`)
    expect(await again()).toBe('TARGET_OBSTRUCTED')
    expect(await oidOf(staging.name)).toBe(oid)
  })

  it('the disk is full - TARGET_FULL; anything else that PostgreSQL refuses - TARGET_FAILED, with its detail', () => {
    const refusal = { detail: 'more', code: '53100' }
    const full = asTargetFailed(Object.assign(new Error('could not extend file'), refusal))
    expect(full).toMatchObject({ code: 'TARGET_FULL', details: 'more' })
    const other = asTargetFailed(Object.assign(new Error('no'), { ...refusal, code: '58030' }))
    expect(other).toMatchObject({ code: 'TARGET_FAILED', details: 'more' })
  })

  it('aborted at any moment - the reason, and nothing is left', async () => {
    await using target = freshTarget()
    const server = await serverOf()
    for (const delayMs of [0, 1, 5, 10, 20, 40, 80, 160]) {
      const controller = new AbortController()
      const making = createStaging(server, wantedFor(`${target.name}_${delayMs}`), controller.signal).then(
        async (staging) => await staging[Symbol.asyncDispose](),
        (error: unknown) => expect(error).toMatchObject({ message: 'stop' }),
      )
      setTimeout(() => controller.abort(new Error('stop')), delayMs)
      await making
      expect(await databasesLike(target.name), `after ${delayMs} ms`).toEqual([])
    }
  })

  it('its server ends meanwhile - its scope ends without an error that would hide why', async () => {
    const own = await startPostgres()
    const server = await serverOf(connectionTo('shop', { port: own.port }))
    const run = async (): Promise<void> => {
      await using _staging = await createStaging(server, wantedFor('shop'), signal)
      await own.stop()
      throw new Error('the restore failed')
    }
    expect(await errorOf(run())).toMatchObject({ message: 'the restore failed' })
  })
})

describe('what a killed restore left', () => {
  it('with its connections cut and a session in it - listed, busy only by that session, dropped with it', async () => {
    const own = await startPostgres()
    try {
      const server = await serverOf(connectionTo('shop', { port: own.port }))
      const staging = await createStaging(server, wantedFor('shop'), signal)
      const list = async (into: string | null = 'shop'): Promise<unknown> =>
        (await listUnfinished(server, into, signal)).map(({ name, isBusy }) => ({ name, isBusy }))
      expect(await list()).toEqual([{ name: staging.name, isBusy: true }])
      // What a server sees of a process that was killed.
      await query(
        own.url(),
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pgproof restore'",
      )
      await expect.poll(list, { timeout: 15_000 }).toEqual([{ name: staging.name, isBusy: false }])
      expect(await list(null)).toEqual([{ name: staging.name, isBusy: false }])
      expect(await list('shop2')).toEqual([])
      const session = new pg.Client({ connectionString: own.url(staging.name) })
      session.on('error', () => {})
      await session.connect()
      expect(await list()).toEqual([{ name: staging.name, isBusy: true }])
      await dropUnfinished(server, staging.name, signal)
      expect(await list()).toEqual([])
      expect(await query(own.url(), 'SELECT datname FROM pg_database WHERE NOT datistemplate')).toHaveLength(1)
      await dropUnfinished(server, staging.name, signal)
      await staging[Symbol.asyncDispose]()
    } finally {
      await own.stop()
    }
  })

  it('with a subscription in it - dropped all the same, and its slot at the publisher is left alone', async () => {
    await using target = freshTarget()
    const staging = await stagingFor(target.name)
    // A publisher that cannot be reached: asking it for anything would fail.
    const create = `CREATE SUBSCRIPTION "s""x" CONNECTION 'host=/nonexistent' PUBLICATION p WITH (connect = false, slot_name = '${target.name}')`
    await query(testUrl(staging.name), create)
    await staging[Symbol.asyncDispose]()
    expect(await databasesLike(target.name)).toEqual([])
  })

  it('a database with a comment that only looks like the mark - not listed, not dropped', async () => {
    await using target = freshTarget()
    const server = await serverOf()
    await query(testUrl(), `CREATE DATABASE ${target.name}`)
    const oid = await oidOf(target.name)
    const mark = (fields: object): string => `pgproof: unfinished restore ${JSON.stringify(fields)}`
    const since = '2026-11-20T02:00:00Z'
    const forged = [
      null,
      'pgproof: unfinished restore ',
      'pgproof: unfinished restore null',
      `pgproof: unfinished restore of ${label} into ${target.name}`,
      `pgproof scratch database`,
      mark({ label, into: target.name, since }),
      mark({ name: target.name, label, into: target.name }),
      // The mark of another database: one that was renamed by hand is somebody's.
      mark({ name: stagingName(label, target.name), label, into: target.name, since }),
      ` ${mark({ name: target.name, label, into: target.name, since })}`,
    ]
    for (const comment of forged) {
      const literal = comment === null ? 'NULL' : pg.escapeLiteral(comment)
      await query(testUrl(), `COMMENT ON DATABASE ${target.name} IS ${literal}`)
      expect(await listUnfinished(server, target.name, signal), comment ?? '').toEqual([])
      expect(await errorOf(dropUnfinished(server, target.name, signal))).toMatchObject({
        code: 'TARGET_FAILED',
        message: expect.stringContaining('not marked'),
      })
      expect(await oidOf(target.name)).toBe(oid)
    }
    for (const untouchable of ['postgres', 'template0', 'shop_template'])
      expect(await codeOf(dropUnfinished(server, untouchable, signal))).toBe('TARGET_FAILED')
  })

  it('whatever the names hold - read back as they were written', () => {
    for (const into of ['shop', `a" 'b' \\ {}`, '\n', 'ü😀', '}{"into":"x"}']) {
      const name = `n${randomBytes(2).toString('hex')}`
      const mark = { name, label, into, since: '2026-11-20T02:00:00Z' }
      expect(readMark(name, `pgproof: unfinished restore ${JSON.stringify(mark)}`)).toEqual(mark)
    }
  })
})
