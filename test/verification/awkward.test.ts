import { execFileSync } from 'node:child_process'
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { quotedName } from '../../src/postgres/tables.ts'
import { type TestInstallation, testInstallation } from '../support/installation.ts'
import { query, startPostgres, type TestServer, unprivileged } from '../support/postgres-server.ts'
import type { AwkwardDatabase } from './awkward.ts'
import { awkwardDatabases } from './awkward-databases.ts'

let locales: string
let source: TestServer
let scratch: TestServer
let roles: TestInstallation
beforeAll(async () => {
  // Both servers know a country whose money has a comma; LOCPATH, because only root could make it known to the system.
  locales = mkdtempSync(join(tmpdir(), 'pgproof-test-locale-'))
  chmodSync(locales, 0o755)
  execFileSync('localedef', ['-i', 'de_DE', '-f', 'UTF-8', join(locales, 'de_DE.UTF-8')])
  process.env['LOCPATH'] = locales
  try {
    source = await startPostgres(`
      wal_level = logical
      max_prepared_transactions = 5
      max_locks_per_transaction = 256
      shared_preload_libraries = 'pg_cron'
      cron.database_name = 'awkward_cron'
      cron.launch_active_jobs = off`)
    scratch = await startPostgres('max_locks_per_transaction = 256')
  } finally {
    delete process.env['LOCPATH']
  }
  for (const awkward of awkwardDatabases) if (awkward.roles !== undefined) await query(source.url(), awkward.roles)
  roles = await testInstallation({ PGPROOF_SERVERS__0__URL: source.url() })
})
afterAll(async () => {
  await roles?.[Symbol.asyncDispose]()
  await source?.stop()
  await scratch?.stop()
  rmSync(locales, { recursive: true, force: true })
})

describe('a healthy but awkward database passes its drill', () => {
  it('roles', async () => {
    expect((await roles.run('roles')).label).toMatch(/Z-/)
  })

  it.each(awkwardDatabases.map((awkward) => [awkward.title, awkward] as const))('%s', async (_, awkward) => {
    const name = awkward.database ?? `awkward_${awkward.id}`
    await make(name, awkward)
    const url = new URL(source.url())
    if (awkward.user !== undefined) Object.assign(url, { username: awkward.user, password: 'x' })
    await using test = await testInstallation(
      { PGPROOF_SERVERS__0__URL: url.href, PGPROOF_DRILL__SCRATCH: scratch.url(), ...awkward.settings },
      { store: roles.store },
    )
    const backup = await whileWriting(name, awkward.meanwhile, () => test.run('backup', name))
    const expected = new Set(backup.backup?.evidence?.tables.map((table) => quotedName(table.root ?? table)))
    const { drill } = await test.run('drill', name)
    const said = `${drill?.error?.message}\n${drill?.error?.details}`
    expect(drill?.report.verdict, said).toBe('passed')
    expect(drill?.report.checks.filter(({ result }) => result !== 'passed' && result !== 'skipped')).toEqual([])
    expect(drill?.report.checks.filter(({ result }) => result === 'skipped').map(({ name: one }) => one)).toEqual([
      'signature',
    ])
    const notCompared = drill?.tables?.tables.filter(
      ({ compared, result }) => compared !== 'rows and digest' || result !== 'equal',
    )
    expect(notCompared).toEqual([])
    expect(drill?.report.compared.tables).toBe(expected.size)
    if (awkward.last !== undefined) await ask(name, awkward.last)
    await drop(name)
  })
})

/** Fresh connections, so that settings of the database take effect; each text is a transaction of its own. */
async function make(name: string, { create = '', sql, failing }: AwkwardDatabase): Promise<void> {
  await query(source.url(), `CREATE DATABASE ${pg.escapeIdentifier(name)} ${create}`)
  const texts = typeof sql === 'function' ? sql({ folder: serverFolder(), port: source.port }) : sql
  for (const text of typeof texts === 'string' ? [texts] : texts) await ask(name, text)
  if (failing !== undefined) await expect(ask(name, failing)).rejects.toThrow()
}

/** Not by URL: node-postgres does not take every name of a database out of one. */
async function ask(database: string, sql: string): Promise<void> {
  const client = new pg.Client({ host: '127.0.0.1', port: source.port, user: 'postgres', database })
  await client.connect()
  try {
    await client.query(sql)
  } finally {
    await client.end()
  }
}

function serverFolder(): string {
  const folder = join(source.folder, 'space')
  mkdirSync(folder)
  const user = unprivileged()
  if (user !== undefined) chownSync(folder, user.uid, user.gid)
  return folder
}

async function drop(name: string): Promise<void> {
  await query(source.url(), `DROP DATABASE ${pg.escapeIdentifier(name)} WITH (FORCE)`)
}

async function whileWriting<T>(database: string, sql: string | undefined, work: () => Promise<T>): Promise<T> {
  if (sql === undefined) return await work()
  let isOver = false
  const write = async (): Promise<void> => {
    while (!isOver) await ask(database, sql)
  }
  const writing = write()
  try {
    return await work()
  } finally {
    isOver = true
    await writing
  }
}
