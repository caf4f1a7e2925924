import { createWriteStream } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import pg from 'pg'
import { expect } from 'vitest'
import type { TableContents } from '../../src/domain/evidence.ts'
import { PgproofError } from '../../src/errors.ts'
import { takeCensus } from '../../src/postgres/census.ts'
import { type Client, type Connection, connect, parseConnectionUrl } from '../../src/postgres/connect.ts'
import { dumpDatabase } from '../../src/postgres/dump.ts'
import { findProgram } from '../../src/postgres/programs.ts'
import { restoreDump } from '../../src/postgres/restore-dump.ts'
import { holdSnapshot } from '../../src/postgres/snapshot.ts'
import { listDumpedTables, tableName } from '../../src/postgres/tables.ts'
import { testDatabase, testUrl } from '../support/installation.ts'

/** A signal that never aborts. */
export const { signal } = new AbortController()

export function connectionTo(database: string, over: Partial<Connection> = {}): Connection {
  return { ...parseConnectionUrl('main', testUrl(database)), ...over }
}

/** An empty database with a session in it, both gone with the scope. */
export type Sandbox = AsyncDisposable & {
  readonly database: string
  readonly connection: Connection
  readonly client: Client
  /** Runs SQL as an application would, in another session, and returns the rows of the last statement. */
  sql(text: string): Promise<Record<string, unknown>[]>
}

export async function openSandbox(setUp = ''): Promise<Sandbox> {
  const database = await testDatabase('template1')
  const application = new pg.Client({ connectionString: database.url, application_name: 'application' })
  application.on('error', () => {})
  await application.connect()
  const sql = async (text: string): Promise<Record<string, unknown>[]> => {
    const result: pg.QueryResult | pg.QueryResult[] = await application.query(text)
    return (Array.isArray(result) ? result.at(-1) : result)?.rows ?? []
  }
  if (setUp !== '') await sql(setUp)
  const connection = connectionTo(database.name)
  const held = await connect(connection, signal, 'pgproof test')
  return {
    database: database.name,
    connection,
    client: held.client,
    sql,
    [Symbol.asyncDispose]: async () => {
      await held[Symbol.asyncDispose]()
      await application.end()
      await database[Symbol.asyncDispose]()
    },
  }
}

export type Contents = Readonly<Record<string, Pick<TableContents, 'rows' | 'digest'>>>

/** Rows and digest of each table, by its name. */
export async function contentsOf(client: Client): Promise<Contents> {
  const tables = await listDumpedTables(client, false)
  const request = { database: client.database ?? '', tables, level: () => 'digest' as const }
  const census = await takeCensus([client], request, signal)
  return Object.fromEntries(census.map((table) => [tableName(table), { rows: table.rows, digest: table.digest }]))
}

/** The digest of one table; throws if it is not among those that are dumped. */
export async function digestOf(client: Client, table = 'public.t'): Promise<string> {
  const tables = (await listDumpedTables(client, false)).filter((one) => tableName(one) === table)
  const request = { database: client.database ?? '', tables, level: () => 'digest' as const }
  const [contents] = await takeCensus([client], request, signal)
  if (contents?.digest == null) throw new Error(`no digest of ${table}`)
  return contents.digest
}

/** Dumps one database with the product's own programs and settings and restores it into another. */
export async function dumpAndRestore(from: Connection, to: Connection): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'pgproof-test-dump-'))
  try {
    const file = join(folder, 'dump')
    await using snapshot = await holdSnapshot(from, { lockTimeoutMs: 5_000 }, signal)
    await dumpTo(file, from, snapshot.id)
    const program = await findProgram('pg_restore', snapshot.facts.major, [], signal)
    await restoreDump({ connection: to, program, file, jobs: 1 }, signal)
  } finally {
    await rm(folder, { recursive: true })
  }
}

export async function dumpTo(
  file: string,
  connection: Connection,
  snapshotId: string,
  lockTimeoutMs = 5_000,
): Promise<void> {
  await using held = await connect(connection, signal)
  const { rows } = await held.client.query<{ major: number }>(
    "SELECT current_setting('server_version_num')::int / 10000 AS major",
  )
  const program = await findProgram('pg_dump', rows[0]?.major ?? 0, [], signal)
  const compression = { method: 'none', level: 0 } as const
  const request = { connection, program, snapshotId, compression, lockTimeoutMs }
  await pipeline(dumpDatabase(request, signal), createWriteStream(file))
}

/** The register's code of what a promise was rejected with. */
export async function codeOf(promise: PromiseLike<unknown>): Promise<string> {
  const error = await errorOf(promise)
  return error instanceof PgproofError ? error.code : `not of the register: ${String(error)}`
}

/** What a promise was rejected with; throws if it was not. */
export async function errorOf(promise: PromiseLike<unknown>): Promise<unknown> {
  try {
    await promise
  } catch (error) {
    return error
  }
  throw new Error('resolved, but a failure was expected')
}

/** How a server finds out that nobody is there any more at the other end of a session; on a Unix socket all are 0. */
export async function keepalivesOf(client: Client): Promise<unknown> {
  const { rows } = await client.query(
    `SELECT current_setting('tcp_keepalives_idle') AS idle, current_setting('tcp_keepalives_interval') AS interval,
            current_setting('tcp_keepalives_count') AS count`,
  )
  return rows[0]
}

/** Asks again and again until the answer fits, for as long as a busy machine may need. */
export const eventually: typeof expect.poll = (ask) => expect.poll(ask, { timeout: 15_000 })
