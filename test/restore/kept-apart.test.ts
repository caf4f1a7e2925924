import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { RestoreResult } from '../../src/domain/restore-result.ts'
import { connect, parseConnectionUrl } from '../../src/postgres/connect.ts'
import { putInPlaceOrKeep } from '../../src/restore/put-in-place-or-keep.ts'
import { contentsOf, errorOf, signal } from '../postgres/sandbox.ts'
import { databasesLike, freshTarget, openLogin, serverOf, stagingFor } from '../postgres/target.ts'
import { type TestInstallation, testDatabase, testInstallation, testUrl } from '../support/installation.ts'
import { type PassingQuery, type PostgresProxy, startPostgresProxy } from '../support/postgres-proxy.ts'
import { query } from '../support/postgres-server.ts'
import { databasesOf, restoreTo, targetName } from '../support/restoring.ts'

let source: Awaited<ReturnType<typeof testDatabase>>
let test: TestInstallation
beforeAll(async () => {
  source = await testDatabase()
  // Lines and tabs, which the statements must bring back although a terminal shows neither as they are.
  await query(source.url, `COMMENT ON DATABASE ${source.name} IS E'the shop\\n\\tof \\'them\\''`)
  test = await testInstallation()
  await test.run('backup', source.name)
})
afterAll(async () => {
  await test[Symbol.asyncDispose]()
  await source[Symbol.asyncDispose]()
})

async function contents(url: string): Promise<unknown> {
  await using held = await connect(parseConnectionUrl('main', url), signal, 'pgproof test')
  return [
    await contentsOf(held.client),
    (
      await held.client.query(
        "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = current_database()",
      )
    ).rows,
  ]
}

/** The swap's first question, which is whether what was restored is there. */
function isFirstOfSwap({ text, values }: PassingQuery): boolean {
  return text.includes('FROM pg_catalog.pg_database WHERE datname = $1') && /^pgproof_restore_/.test(values[0] ?? '')
}

function through(url: string, proxy: PostgresProxy, login?: { readonly name: string }): string {
  const by = new URL(url)
  by.host = `127.0.0.1:${proxy.port}`
  if (login !== undefined) [by.username, by.password] = [login.name, 'x']
  return by.href
}

/** As somebody pastes the page into psql: no line of it may hold a line break. */
async function runStatements({ error }: RestoreResult): Promise<void> {
  const statements = (error?.details ?? '').split('\n')
  expect(statements.every((statement) => statement.endsWith(';'))).toBe(true)
  await query(testUrl(), statements.join(' '))
}

async function expectWholeIn(url: string, database: string): Promise<void> {
  expect(await contents(url)).toEqual(await contents(source.url))
  const [row] = await query(
    testUrl(),
    "SELECT shobj_description(oid, 'pg_database') AS comment FROM pg_database WHERE datname = $1",
    [database],
  )
  expect(row?.['comment']).not.toMatch(/^pgproof/)
}

describe('a database of the name is made while the restore runs', () => {
  it.each([
    ['before the swap looks', isFirstOfSwap],
    ['after it has looked', ({ text }: PassingQuery) => text.startsWith('BEGIN; SET LOCAL lock_timeout')],
  ] as const)(
    '%s - kept beside; the statements rename that one aside and put this one in its place',
    async (_, isMoment) => {
      await using target = targetName(testUrl())
      let isMade = false
      await using proxy = await startPostgresProxy(testUrl(), async (passing) => {
        if (isMade || !isMoment(passing)) return undefined
        isMade = true
        await query(testUrl(), `CREATE DATABASE ${target.name}`)
        await query(target.url, 'CREATE TABLE migrations (v int)')
        return undefined
      })
      const result = await restoreTo(test, through(target.url, proxy))
      expect(result).toMatchObject({
        outcome: 'kept apart',
        aside: null,
        error: { code: 'RESTORED_APART', exitCode: 12 },
      })
      expect(result.error?.message).toContain(`database "${target.name}" exists already`)
      expect(result.error?.hint).toContain(`rename what is called "${target.name}" now aside`)
      await runStatements(result)
      await expectWholeIn(target.url, target.name)
      const [aside = ''] = (await databasesOf(testUrl(), target.name)).filter((name) => name !== target.name)
      expect(aside).toMatch(/_before_/)
      expect(await query(testUrl(aside), 'SELECT v FROM migrations')).toEqual([])
    },
  )
})

it('the login loses the right to rename while the restore runs - kept beside, and by whom the statements can be run', async () => {
  await using target = targetName(testUrl())
  await using login = await openLogin('SUPERUSER')
  await query(testUrl(), `CREATE DATABASE ${target.name}`)
  await query(target.url, 'CREATE TABLE precious (v int)')
  await using proxy = await startPostgresProxy(testUrl(), async (passing) => {
    if (isFirstOfSwap(passing)) await query(testUrl(), `ALTER ROLE ${login.name} NOSUPERUSER`)
    return undefined
  })
  const result = await restoreTo(test, through(target.url, proxy, login), { mode: 'replace' })
  expect(result).toMatchObject({ outcome: 'kept apart', error: { code: 'RESTORED_APART' } })
  expect(result.error?.hint).toContain('as a superuser')
  expect(await query(target.url, 'SELECT v FROM precious')).toEqual([])
  await runStatements(result)
  await expectWholeIn(target.url, target.name)
})

it.each([
  ['before anything is renamed', isFirstOfSwap],
  ['between the renames', ({ text }: PassingQuery) => /^ALTER DATABASE "pgproof_restore/.test(text)],
] as const)('the server goes away %s - kept beside; the statements work once it is back', async (_, isMoment) => {
  await using target = targetName(testUrl())
  await query(testUrl(), `CREATE DATABASE ${target.name}`)
  await query(target.url, 'CREATE TABLE precious (v int)')
  await using proxy = await startPostgresProxy(testUrl(), (passing) => {
    if (isMoment(passing)) proxy.setAway(true)
    return undefined
  })
  const result = await restoreTo(test, through(target.url, proxy), { mode: 'replace' })
  expect(result).toMatchObject({ outcome: 'kept apart', error: { code: 'RESTORED_APART' } })
  expect(result.error?.hint).toContain('When the server can be used again')
  expect(await query(target.url, 'SELECT v FROM precious')).toEqual([])
  await runStatements(result)
  await expectWholeIn(target.url, target.name)
})

describe('a finished database, whose swap', () => {
  const wanted = { dropAside: false, comment: 'the shop', disconnect: false }

  it('broke at COMMIT without anybody knowing what came of it - stays, and it is said which one it may be', async () => {
    await using target = freshTarget()
    const server = await serverOf()
    await using staging = await stagingFor(target.name, server)
    await using proxy = await startPostgresProxy(testUrl(), ({ text }) => {
      if (text === 'COMMIT') proxy.setAway(true)
      return undefined
    })
    const away = { ...server, admin: { ...server.admin, host: '127.0.0.1', port: proxy.port } }
    const finished = {
      swap: { ...wanted, staging: staging.name, database: target.name, asideAs: null },
      asideAs: `${target.name}_aside`,
      keep: staging.keep,
    }
    expect(await errorOf(putInPlaceOrKeep(away, finished, signal, { questions: 3, betweenMs: 1 }))).toMatchObject({
      code: 'TARGET_FAILED',
      message: expect.stringContaining(`if "${staging.name}" is there, it is not`),
    })
    await staging[Symbol.asyncDispose]()
    expect(await databasesLike(target.name)).toEqual([staging.name])
  })

  it('is of one that was built under its own name - the statements only take the mark from it', async () => {
    await using target = freshTarget()
    const server = await serverOf()
    await using staging = await stagingFor(target.name, server, { name: target.name })
    await using proxy = await startPostgresProxy(testUrl(), ({ text }) =>
      text.startsWith('COMMENT ON DATABASE') ? { sqlState: '55P03', message: 'canceling statement' } : undefined,
    )
    const busy = { ...server, admin: { ...server.admin, host: '127.0.0.1', port: proxy.port } }
    const swap = { ...wanted, staging: target.name, database: target.name, asideAs: null }
    const error = await putInPlaceOrKeep(busy, { swap, asideAs: 'x', keep: staging.keep }, signal)
    expect(error).toMatchObject({
      code: 'RESTORED_APART',
      details: `BEGIN;\nCOMMENT ON DATABASE "${target.name}" IS 'the shop';\nCOMMIT;`,
    })
  })
})
