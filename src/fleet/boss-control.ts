import { type ConstructorOptions, type JobInsert, PgBoss } from 'pg-boss'
import type { FleetConfig } from '../config/fleet-config.ts'
import { PgproofError, reasonOf } from '../errors.ts'
import type { WorkerSign } from '../jobs/queue-view.ts'
import type { Log } from '../log.ts'
import { BossTables } from './boss-tables.ts'
import {
  type Aside,
  type Control,
  deadQueue,
  type EntryRow,
  keepEndedSeconds,
  mostRetries,
  type NewEntry,
  type Outcome,
  type Signed,
  type TakenEntry,
  type TakeRules,
  workersQueue,
} from './control.ts'
import { controlConnection, poolConfig } from './control-connection.ts'
import { controlReason } from './control-words.ts'
import { readSign, writeSign } from './sign.ts'
import { Turn } from './turn.ts'

type Session = { readonly boss: PgBoss; readonly tables: BossTables; readonly queues: Set<string> }

/** One connection for taking and settling, one for whatever comes at the same time. */
const poolSize = 2
/** What a statement may take; a worker that waits longer is no sign of life. */
const statementMs = 30_000

/**
 * The queue in the control database, by pg-boss. It is opened when it is first needed and again after it was lost, which
 * makes its tables anew.
 */
export class BossControl implements Control {
  readonly #fleet: FleetConfig
  readonly #log: Log
  readonly #turn: Turn
  #opening: Promise<Session> | undefined
  #isClosed = false

  constructor(fleet: FleetConfig, log: Log) {
    this.#fleet = fleet
    this.#log = log
    this.#turn = new Turn(controlConnection(fleet), fleet.schema)
  }

  async add(entries: readonly NewEntry[]): Promise<ReadonlySet<string>> {
    return await this.#use(async (session) => {
      const added = new Set<string>()
      for (const [queue, own] of Map.groupBy(entries, (entry) => entry.queue)) {
        await this.#makeQueue(session, queue)
        const jobs = own.map((entry) => this.#jobOf(entry))
        const ids = await session.boss.insert(queue, jobs, { returnId: true })
        for (const id of ids ?? []) added.add(id)
      }
      return added
    })
  }

  async take({ queues, ignored, ignoredIn, perServer, backupsInAll }: TakeRules): Promise<TakenEntry | null> {
    return await this.#use(async ({ boss, tables, queues: made }) => {
      const waiting = await tables.waiting(queues, ignored)
      for (const queue of waiting) if (!made.has(queue)) await this.#makeQueue({ boss, tables, queues: made }, queue)
      if (waiting.length === 0) return null
      return await tables.transaction(async (db) => {
        // One at a time, so that the limits are exact.
        await tables.lock(db)
        const active = await tables.activeBackups(db)
        const full = [...active].filter(([server, count]) => count >= (perServer.get(server) ?? Infinity))
        const inAll = [...active.values()].reduce((sum, count) => sum + count, 0)
        for (const queue of queues.filter((name) => waiting.includes(name))) {
          const isBackup = isBackupQueue(queue)
          if (isBackup && inAll >= (backupsInAll ?? Infinity)) continue
          const left = ignoredIn.get(queue) ?? []
          const ignoreGroups = [...ignored, ...left, ...(isBackup ? full.map(([server]) => server) : [])]
          const [job] = await boss.fetch(queue, { includeMetadata: true, ignoreGroups, db })
          if (job !== undefined) {
            const { id, retryCount: retries, createdOn: queuedAt, data } = job
            return { id, queue, retries, queuedAt, data }
          }
        }
        return null
      })
    })
  }

  async touch(entries: readonly TakenEntry[]): Promise<ReadonlySet<string>> {
    return await this.#use(async (session) => {
      for (const [queue, own] of Map.groupBy(entries, (entry) => entry.queue)) {
        // A queue that was made anew does not know it yet.
        await this.#makeQueue(session, queue)
        await session.boss.touch(queue, own.map(attemptOf))
      }
      return await session.tables.stillActive(entries)
    })
  }

  async finish(entry: TakenEntry, outcome: Outcome): Promise<void> {
    await this.#use(async (session) => {
      await this.#makeQueue(session, entry.queue)
      await session.boss.complete(entry.queue, attemptOf(entry), outcome)
    })
  }

  async putBack(entry: TakenEntry, afterMs = 0): Promise<void> {
    await this.#use(({ tables }) => tables.putBack(entry, afterMs))
  }

  async setAside(entry: TakenEntry, aside: Aside): Promise<void> {
    await this.#use(async (session) => {
      const { boss, tables } = session
      await this.#makeQueue(session, entry.queue)
      await tables.transaction(async (db) => {
        const data = { ...aside, queue: entry.queue, entry: entry.id }
        await boss.complete(entry.queue, attemptOf(entry), { aside }, { db })
        await boss.insert(deadQueue, [{ data, retentionSeconds: 14 * 86_400 }], { db })
      })
    })
  }

  async cancel(id: string): Promise<void> {
    await this.#use(async ({ boss, tables }) => {
      const [row] = await tables.find([id])
      if (row !== undefined) await boss.cancel(row.queue, id)
    })
  }

  async discard(queue: string, id: string): Promise<void> {
    await this.#use(({ tables }) => tables.discard(queue, id))
  }

  async changes(since: Date | null): Promise<{ readonly rows: readonly EntryRow[]; readonly now: Date }> {
    return await this.#use(({ tables }) => tables.changes(since))
  }

  async find(ids: readonly string[]): Promise<readonly EntryRow[]> {
    return await this.#use(({ tables }) => tables.find(ids))
  }

  async forget(deadId: string): Promise<void> {
    await this.#use(({ boss }) => boss.deleteJob(deadQueue, deadId))
  }

  async sign(
    sign: WorkerSign,
    { instance, claims }: { readonly instance: string; readonly claims: boolean },
  ): Promise<Signed> {
    const { name } = sign
    return await this.#use(async ({ boss, tables }) => {
      const other = claims ? null : await tables.instanceNamed(name, this.#fleet.heartbeatMs)
      if (other !== null && other !== instance) throw new PgproofError('FLEET_NAME_TAKEN', { name })
      const data = { ...writeSign(sign), instance }
      const { inserted } = await boss.upsert(workersQueue, data, { singletonKey: name, retentionSeconds: 7 * 86_400 })
      return { now: await tables.now(), isFirst: inserted > 0 }
    })
  }

  async signs(): Promise<readonly WorkerSign[]> {
    return await this.#use(async ({ tables }) => (await tables.signs()).flatMap((data) => readSign(data) ?? []))
  }

  async signOff(worker: string, instance: string): Promise<void> {
    await this.#use(({ tables }) => tables.signOff(worker, instance))
  }

  async takeTurn(): Promise<boolean> {
    if (this.#isClosed) return false
    return await this.#turn.take()
  }

  async leaveTurn(): Promise<void> {
    await this.#turn.leave()
  }

  async supervise(): Promise<void> {
    await this.#use(({ boss }) => boss.supervise())
  }

  async close(): Promise<void> {
    this.#isClosed = true
    await this.#turn.close()
    await this.#reset()
  }

  /** Throws FLEET_UNREACHABLE for whatever goes wrong, and begins anew next time where the tables are not there any more. */
  async #use<T>(work: (session: Session) => Promise<T>): Promise<T> {
    try {
      if (this.#isClosed) throw new Error('it is closed')
      this.#opening ??= this.#open()
      return await work(await this.#opening)
    } catch (error) {
      if (isGone(error)) await this.#reset()
      if (error instanceof PgproofError && error.code.startsWith('FLEET_')) throw error
      throw new PgproofError('FLEET_UNREACHABLE', { reason: controlReason(error) }, { cause: error })
    }
  }

  async #open(): Promise<Session> {
    try {
      const { schema } = this.#fleet
      const boss = new PgBoss({
        ...(await poolConfig(controlConnection(this.#fleet))),
        schema,
        max: poolSize,
        application_name: 'pgproof fleet',
        query_timeout: statementMs,
        // Who has the turn supervises; schedules are pgproof's own.
        supervise: false,
        schedule: false,
        monitorIntervalSeconds: 5,
        maintenanceIntervalSeconds: 600,
      } as ConstructorOptions)
      boss.on('error', (error) => this.#log.debug({ reason: reasonOf(error) }, 'pg-boss reports an error'))
      boss.on('warning', ({ message }) => this.#log.warn({ reason: message }, 'pg-boss warns'))
      await boss.start()
      const session = { boss, tables: new BossTables(boss.getDb(), schema), queues: new Set<string>() }
      await this.#makeQueue(session, deadQueue)
      await this.#makeQueue(session, workersQueue)
      return session
    } catch (error) {
      this.#opening = undefined
      throw error
    }
  }

  async #reset(): Promise<void> {
    const opening = this.#opening
    this.#opening = undefined
    const session = await opening?.catch(() => undefined)
    await session?.boss.stop({ graceful: false, timeout: 1000 }).catch(() => {})
  }

  async #makeQueue({ boss, queues }: Session, name: string): Promise<void> {
    if (queues.has(name)) return
    if (name === deadQueue || name === workersQueue) await boss.createQueue(name, { policy: 'standard', retryLimit: 0 })
    else
      await boss.createQueue(name, {
        policy: 'exclusive',
        deadLetter: deadQueue,
        retryLimit: mostRetries,
        retryDelay: 0,
        deleteAfterSeconds: keepEndedSeconds,
        retentionSeconds: 14 * 86_400,
      })
    queues.add(name)
  }

  #jobOf({ id, key, server, priority, expireSeconds, payload }: NewEntry): JobInsert {
    return {
      id,
      singletonKey: key,
      priority,
      data: payload,
      expireInSeconds: expireSeconds,
      heartbeatSeconds: Math.round(this.#fleet.heartbeatMs / 1000),
      retryLimit: mostRetries,
      deleteAfterSeconds: keepEndedSeconds,
      ...(server === '' ? {} : { group: { id: server } }),
    }
  }
}

/** `backup`, `backup-large`, and both with a label. */
export function isBackupQueue(queue: string): boolean {
  return queue.startsWith('backup')
}

function attemptOf({ id, retries }: TakenEntry): { readonly id: string; readonly retryCount: number } {
  return { id, retryCount: retries }
}

/** Whether the tables, their schema or their database have vanished, or a queue that this process has seen. */
function isGone(error: unknown): boolean {
  const { code = '' } = error as { code?: string }
  return (
    ['42P01', '3F000', '3D000', '42883'].includes(code) || /queue .* (does not exist|not found)/i.test(reasonOf(error))
  )
}
