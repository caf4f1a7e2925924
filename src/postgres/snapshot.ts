import assert from 'node:assert/strict'
import { PgproofError, reasonOf } from '../errors.ts'
import { takeLock } from './advisory-lock.ts'
import { type Client, type Connection, connect, type HeldClient, isQueryFailure } from './connect.ts'
import { isTransactionPooled, readServerFacts, type ServerFacts } from './facts.ts'
import { sqlStateOf } from './sql-state.ts'
import { assertAllReadable, type DumpedTable, listDumpedTables, quotedName } from './tables.ts'

/** One instant of a database, held open: every importer sees exactly this, and no table in it can be rewritten. */
export type Snapshot = AsyncDisposable & {
  /** For `pg_dump --snapshot` and `SET TRANSACTION SNAPSHOT`; valid until the scope ends. */
  readonly id: string
  readonly time: Date
  readonly facts: ServerFacts
  readonly tables: readonly DumpedTable[]
  readonly lockTimeoutMs: number
  /** The holder itself, inside the snapshot; never run anything long on it. */
  readonly client: Client
  /** Rejects with SNAPSHOT_FAILED when the holder's connection breaks. */
  readonly lost: Promise<never>
}

export type SnapshotOptions = { readonly lockTimeoutMs: number }

/** The key of the advisory lock that keeps two daemons from dumping one database together ("pgpr", "oof"). */
export const advisoryLock = { classId: 0x70677072, objectId: 0x6f6f66 } as const

const attempts = 5

/**
 * Locks every table, then exports a snapshot. The order matters: TRUNCATE and rewriting DDL are not MVCC-safe
 * (PostgreSQL manual, "Caveats" of concurrency control), so the ACCESS SHARE locks are taken before the transaction has a snapshot;
 * LOCK takes none itself. A table created in between shows when the list is read again inside, and the round repeats.
 *
 * Throws LOCKED, POOLER_DETECTED, PRIVILEGE_MISSING, SNAPSHOT_FAILED or a connection error.
 */
export async function holdSnapshot(
  connection: Connection,
  options: SnapshotOptions,
  signal: AbortSignal,
): Promise<Snapshot> {
  const holder = await connect(connection, signal, 'pgproof snapshot')
  try {
    const facts = await readServerFacts(holder.client, connection)
    await assertDirect(connection, holder.client, signal)
    await takeLock(holder.client, advisoryLock, `database "${connection.database}" of server "${connection.server}"`)
    for (let attempt = 1; attempt <= attempts; attempt += 1) {
      signal.throwIfAborted()
      const snapshot = await tryHold(holder, connection, facts, options, signal)
      if (snapshot !== undefined) return snapshot
    }
    throw new PgproofError('SNAPSHOT_FAILED', {
      database: connection.database,
      reason: `tables kept being created or dropped during ${attempts} attempts`,
    })
  } catch (error) {
    await holder[Symbol.asyncDispose]()
    throw error
  }
}

/** What a query that failed on the server that is backed up means: SNAPSHOT_FAILED. Anything else stays what it is. */
export function asSourceFailure(error: unknown, { database }: Connection, signal: AbortSignal): unknown {
  if (signal.aborted || !isQueryFailure(error)) return error
  return new PgproofError('SNAPSHOT_FAILED', { database, reason: reasonOf(error) }, { cause: error })
}

async function tryHold(
  holder: HeldClient,
  connection: Connection,
  facts: ServerFacts,
  options: SnapshotOptions,
  signal: AbortSignal,
): Promise<Snapshot | undefined> {
  const { client } = holder
  const { database } = connection
  const tables = await listDumpedTables(client, facts.isStandby)
  await assertAllReadable(client, tables, facts.role, database)
  try {
    await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY')
    await lockTables(client, tables, options.lockTimeoutMs)
    const { rows } = await client.query<{ id: string; time: Date }>(
      'SELECT pg_catalog.pg_export_snapshot() AS id, pg_catalog.clock_timestamp() AS time',
    )
    const inside = await listDumpedTables(client, facts.isStandby, 'measured')
    const [exported] = rows
    assert(exported !== undefined, 'pg_export_snapshot returned nothing')
    if (!sameTables(tables, inside)) {
      await client.query('ROLLBACK')
      return undefined
    }
    const lost = holder.lost.catch((error) => {
      throw new PgproofError('SNAPSHOT_FAILED', { database, reason: reasonOf(error) }, { cause: error })
    })
    lost.catch(() => {})
    return {
      ...exported,
      facts,
      tables: inside,
      lockTimeoutMs: options.lockTimeoutMs,
      client,
      lost,
      [Symbol.asyncDispose]: () => holder[Symbol.asyncDispose](),
    }
  } catch (error) {
    signal.throwIfAborted()
    await client.query('ROLLBACK').catch(() => {})
    // A table was dropped, moved or renamed between the list and the lock: look again.
    if (['42P01', '3F000'].includes(sqlStateOf(error))) return undefined
    throw error instanceof PgproofError
      ? error
      : new PgproofError('SNAPSHOT_FAILED', { database, reason: reasonOf(error) }, { cause: error })
  }
}

async function lockTables(client: Client, tables: readonly DumpedTable[], timeoutMs: number): Promise<void> {
  await client.query(`SET LOCAL lock_timeout = ${timeoutMs}`)
  for (let start = 0; start < tables.length; start += 500) {
    const names = tables.slice(start, start + 500).map((table) => `ONLY ${quotedName(table)}`)
    await client.query(`LOCK TABLE ${names.join(', ')} IN ACCESS SHARE MODE`)
  }
}

/**
 * Another connection inside the same snapshot. It locks every table at once, too: a TRUNCATE or ALTER TABLE that waits
 * for the holder would make a later lock wait behind it, while the holder waits for whoever asks for that lock.
 *
 * Throws SNAPSHOT_FAILED or a connection error.
 */
export async function joinSnapshot(
  connection: Connection,
  snapshot: Snapshot,
  signal: AbortSignal,
): Promise<HeldClient> {
  const joined = await connect(connection, signal, 'pgproof census')
  try {
    await joined.client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY')
    await joined.client.query(`SET TRANSACTION SNAPSHOT '${snapshot.id}'`)
    await lockTables(joined.client, snapshot.tables, snapshot.lockTimeoutMs)
    // A REINDEX that is under way ends by itself; the census may wait for it.
    await joined.client.query('SET LOCAL lock_timeout = 0')
    return joined
  } catch (error) {
    await joined[Symbol.asyncDispose]()
    signal.throwIfAborted()
    throw new PgproofError(
      'SNAPSHOT_FAILED',
      { database: connection.database, reason: reasonOf(error) },
      { cause: error },
    )
  }
}

/** Throws POOLER_DETECTED. */
export async function assertDirect(connection: Connection, client: Client, signal: AbortSignal): Promise<void> {
  await using second = await connect(connection, signal, 'pgproof probe')
  if (await isTransactionPooled(client, second.client))
    throw new PgproofError('POOLER_DETECTED', { server: connection.server })
}

function sameTables(before: readonly DumpedTable[], inside: readonly DumpedTable[]): boolean {
  const name = (table: DumpedTable): string => `${table.oid} ${quotedName(table)}`
  const known = new Set(before.map(name))
  return before.length === inside.length && inside.every((table) => known.has(name(table)))
}
