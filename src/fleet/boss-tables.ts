import assert from 'node:assert/strict'
import type { Db } from 'pg-boss'
import { deadQueue, type EntryRow, type EntryState, type TakenEntry, workersQueue } from './control.ts'

type Row = {
  readonly id: string
  readonly name: string
  readonly state: EntryState
  readonly data: unknown
  readonly output: unknown
  readonly created_on: Date
  readonly started_on: Date | null
  readonly completed_on: Date | null
  readonly retry_count: number
  readonly source_name: string | null
}

const columns = 'id, name, state, data, output, created_on, started_on, completed_on, retry_count, source_name'

/** What pg-boss has no question for, asked of its tables; the only place that knows their columns. */
export class BossTables {
  readonly #db: Db
  readonly #job: string
  readonly #schema: string

  constructor(db: Db, schema: string) {
    this.#db = db
    this.#schema = schema
    this.#job = `${schema}.job`
  }

  async now(): Promise<Date> {
    const { rows } = await this.#db.executeSql('SELECT pg_catalog.clock_timestamp() AS now')
    return (rows[0] as { now: Date }).now
  }

  /** Which of these queues have an entry that could be taken now. */
  async waiting(queues: readonly string[], ignored: readonly string[]): Promise<string[]> {
    const { rows } = await this.#db.executeSql(
      `SELECT name FROM pg_catalog.unnest($1::text[]) AS name WHERE EXISTS (
         SELECT FROM ${this.#job} j WHERE j.name = name.name AND j.state < 'active' AND NOT j.blocked
         AND j.start_after <= pg_catalog.now() AND (j.group_id IS NULL OR j.group_id <> ALL ($2::text[])))`,
      [queues, ignored],
    )
    return (rows as { name: string }[]).map(({ name }) => name)
  }

  /** Until the transaction ends, nobody else takes anything. */
  async lock(db: Db): Promise<void> {
    await db.executeSql(
      "SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('pgproof take ' || $1, 0))",
      [this.#schema],
    )
  }

  async activeBackups(db: Db): Promise<ReadonlyMap<string, number>> {
    const { rows } = await db.executeSql(
      `SELECT group_id AS server, count(*)::int AS count FROM ${this.#job}
       WHERE name LIKE 'backup%' AND state = 'active' AND group_id IS NOT NULL GROUP BY 1`,
    )
    return new Map((rows as { server: string; count: number }[]).map(({ server, count }) => [server, count]))
  }

  async transaction<T>(work: (db: Db) => Promise<T>): Promise<T> {
    const held = await this.#db.beginTransaction?.()
    assert(held !== undefined, 'pg-boss has no transactions')
    try {
      const result = await work(held.db)
      await held.commit()
      return result
    } catch (error) {
      await held.rollback()
      throw error
    }
  }

  /** The ids of those that are active in the same attempt. */
  async stillActive(entries: readonly TakenEntry[]): Promise<ReadonlySet<string>> {
    const { rows } = await this.#db.executeSql(
      `SELECT j.id FROM ${this.#job} j JOIN ROWS FROM (pg_catalog.unnest($1::text[]), pg_catalog.unnest($2::uuid[]), pg_catalog.unnest($3::int[])) AS own (name, id, retries)
       ON j.name = own.name AND j.id = own.id AND j.retry_count = own.retries WHERE j.state = 'active'`,
      [entries.map(({ queue }) => queue), entries.map(({ id }) => id), entries.map(({ retries }) => retries)],
    )
    return new Set((rows as { id: string }[]).map(({ id }) => id))
  }

  /** As if it had never been taken: the deaths of its workers are counted, this is none. */
  async putBack({ queue, id, retries }: TakenEntry, afterMs: number): Promise<void> {
    await this.#db.executeSql(
      `UPDATE ${this.#job} SET state = 'created', started_on = NULL, heartbeat_on = NULL,
         start_after = pg_catalog.clock_timestamp() + $4 * interval '1 millisecond'
       WHERE name = $1 AND id = $2 AND state = 'active' AND retry_count = $3`,
      [queue, id, retries, afterMs],
    )
  }

  async discard(queue: string, id: string): Promise<void> {
    const sql = `DELETE FROM ${this.#job} WHERE name = $1 AND id = $2 AND state < 'active'`
    await this.#db.executeSql(sql, [queue, id])
  }

  async find(ids: readonly string[]): Promise<readonly EntryRow[]> {
    const sql = `SELECT ${columns} FROM ${this.#job} WHERE id = ANY ($1::uuid[]) AND name <> ALL ($2::text[])`
    const { rows } = await this.#db.executeSql(sql, [ids, [deadQueue, workersQueue]])
    return (rows as Row[]).map(entryOf)
  }

  async changes(since: Date | null): Promise<{ readonly rows: readonly EntryRow[]; readonly now: Date }> {
    const now = await this.now()
    const { rows } = await this.#db.executeSql(
      `SELECT ${columns} FROM ${this.#job}
       WHERE name <> $2 AND (state < 'completed' OR completed_on >= $1 OR $1::timestamptz IS NULL)`,
      [since, workersQueue],
    )
    return { rows: (rows as Row[]).map(entryOf), now }
  }

  /** Which process has shown within `withinMs` that it lives by this name; null if none has. */
  async instanceNamed(worker: string, withinMs: number): Promise<string | null> {
    const { rows } = await this.#db.executeSql(
      `SELECT data->>'instance' AS instance FROM ${this.#job} WHERE name = $1 AND state = 'created' AND singleton_key = $2
       AND (data->>'seenAt')::timestamptz > pg_catalog.clock_timestamp() - $3 * interval '1 millisecond'`,
      [workersQueue, worker, withinMs],
    )
    return (rows as { instance: string | null }[])[0]?.instance ?? null
  }

  async signOff(worker: string, instance: string): Promise<void> {
    await this.#db.executeSql(
      `DELETE FROM ${this.#job} WHERE name = $1 AND singleton_key = $2 AND data->>'instance' = $3`,
      [workersQueue, worker, instance],
    )
  }

  async signs(): Promise<readonly unknown[]> {
    const { rows } = await this.#db.executeSql(`SELECT data FROM ${this.#job} WHERE name = $1 AND state = 'created'`, [
      workersQueue,
    ])
    return (rows as { data: unknown }[]).map(({ data }) => data)
  }
}

function entryOf(row: Row): EntryRow {
  return {
    id: row.id,
    queue: row.name,
    state: row.state,
    data: row.data,
    output: row.output,
    queuedAt: row.created_on,
    startedAt: row.started_on,
    finishedAt: row.completed_on,
    retries: row.retry_count,
    source: row.source_name,
  }
}
