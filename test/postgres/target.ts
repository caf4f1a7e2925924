import { randomBytes } from 'node:crypto'
import pg from 'pg'
import type { Connection } from '../../src/postgres/connect.ts'
import { asideName, type Swap } from '../../src/postgres/put-in-place.ts'
import { createStaging, type Staging, stagingName } from '../../src/postgres/staging-database.ts'
import { inspectTarget, type TargetServer } from '../../src/postgres/target-database.ts'
import { testUrl } from '../support/installation.ts'
import { query } from '../support/postgres-server.ts'
import { connectionTo, signal } from './sandbox.ts'

export const label = '20261120T020000Z-4f7k'

/** A name that nothing has yet; every database that has it somewhere in its own goes with the scope. */
export function freshTarget(): AsyncDisposable & { readonly name: string } {
  const name = `target_${randomBytes(5).toString('hex')}`
  return {
    name,
    [Symbol.asyncDispose]: async () => {
      for (const one of await databasesLike(name)) await dropDatabase(one)
    },
  }
}

export async function databasesLike(part: string): Promise<string[]> {
  const rows = await query(
    testUrl(),
    'SELECT datname AS name FROM pg_database WHERE strpos(datname, $1) > 0 ORDER BY 1',
    [part],
  )
  return rows.map((row) => String(row['name']))
}

export async function oidOf(name: string): Promise<number | null> {
  const [row] = await query(testUrl(), 'SELECT oid::int8::float8 AS oid FROM pg_database WHERE datname = $1', [name])
  return (row?.['oid'] as number | undefined) ?? null
}

export async function dropDatabase(name: string): Promise<void> {
  await query(testUrl(), `DROP DATABASE IF EXISTS ${quoted(name)} WITH (FORCE)`)
}

export function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}

/** A login without any right but those given, gone with the scope. */
export async function openLogin(
  rights: string,
): Promise<AsyncDisposable & { readonly name: string; connectionTo(database: string): Connection }> {
  const name = `login_${randomBytes(5).toString('hex')}`
  await query(testUrl(), `CREATE ROLE ${name} LOGIN PASSWORD 'x' ${rights}`)
  return {
    name,
    connectionTo: (database) => connectionTo(database, { user: name, password: () => 'x' }),
    [Symbol.asyncDispose]: async () => {
      const owned = await query(testUrl(), `SELECT datname AS name FROM pg_database WHERE datdba = '${name}'::regrole`)
      for (const row of owned) await dropDatabase(String(row['name']))
      await query(testUrl(), `DROP OWNED BY ${name}; DROP ROLE ${name}`)
    },
  }
}

export async function serverOf(connection: Connection = connectionTo('not_there')): Promise<TargetServer> {
  return (await inspectTarget(connection, signal)).server
}

/** A staging database as a restore into `into` makes it, with a table `restored`. */
export async function stagingFor(
  into: string,
  server?: TargetServer,
  over: Partial<Parameters<typeof createStaging>[1]> = {},
  url = testUrl(),
): Promise<Staging> {
  const on = server ?? (await serverOf())
  const wanted = {
    name: stagingName(label, into),
    label,
    into,
    properties: plain,
    owner: null,
    tablespace: null,
    ...over,
  }
  const staging = await createStaging(on, wanted, signal)
  const inside = new URL(url)
  inside.pathname = `/${encodeURIComponent(staging.name)}`
  await query(inside.href, 'CREATE TABLE restored ()')
  return staging
}

/** A database with a table `old`, and a staging database beside it; what was there before, by OID. */
export async function openSwap(
  database: string,
  setUp = 'CREATE TABLE old ()',
): Promise<AsyncDisposable & { server: TargetServer; swap: Swap; oldOid: number | null; newOid: number | null }> {
  await query(testUrl(), `CREATE DATABASE ${quoted(database)}`)
  if (setUp !== '') await query(testUrl(database), setUp)
  const server = await serverOf()
  const staging = await stagingFor(database, server)
  const asideAs = asideName(database, new Date('2026-11-21T07:01:02Z'))
  const swap: Swap = { staging: staging.name, database, asideAs, dropAside: false, comment: null, disconnect: false }
  const oids = { oldOid: await oidOf(database), newOid: await oidOf(staging.name) }
  return { server, swap, ...oids, [Symbol.asyncDispose]: () => staging[Symbol.asyncDispose]() }
}

export async function connectTo(url: string, name = 'application'): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url, application_name: name })
  client.on('error', () => {})
  await client.connect()
  return client
}

export const plain = {
  owner: 'postgres',
  encoding: 'UTF8',
  localeProvider: 'c',
  collate: 'C.UTF-8',
  ctype: 'C.UTF-8',
  locale: null,
  icuRules: null,
  lcMonetary: 'C',
  bootstrapRole: 'postgres',
} as const
