import type { Run } from '../../src/catalog/runs.ts'
import { type Clock, systemClock } from '../../src/clock.ts'
import type { PgproofError } from '../../src/errors.ts'
import { BossControl } from '../../src/fleet/boss-control.ts'
import { FleetQueue } from '../../src/fleet/fleet-queue.ts'
import type { RunWish } from '../../src/jobs/execute.ts'
import type { Installation } from '../../src/jobs/installation.ts'
import type { Order } from '../../src/jobs/orders.ts'
import { createLog } from '../../src/log.ts'
import { testDatabase, testInstallation } from '../support/installation.ts'
import { query } from '../support/postgres-server.ts'

type Hand = {
  readonly run: Run
  readonly objection: RunWish['objection']
  end(): void
  fail(error: PgproofError): void
}

/** A worker in this process, over a real control database; its jobs end when they are told to. */
export type InProcess = AsyncDisposable & {
  readonly name: string
  readonly queue: FleetQueue
  readonly installation: Installation
  /** Runs that have begun and not ended, the first one first. */
  readonly running: Map<string, Hand>
  readonly began: string[]
}

export type Control = AsyncDisposable & {
  readonly url: string
  entries(where?: string): Promise<Record<string, unknown>[]>
  sql(text: string): Promise<Record<string, unknown>[]>
}

export async function testControl(): Promise<Control> {
  const database = await testDatabase('template0')
  const sql = (text: string) => query(database.url, text)
  return {
    url: database.url,
    sql,
    entries: (where = "name NOT IN ('workers', 'dead')") =>
      sql(`SELECT * FROM pgboss.job WHERE ${where} ORDER BY created_on`),
    [Symbol.asyncDispose]: () => database[Symbol.asyncDispose](),
  }
}

export async function inProcess(
  control: Pick<Control, 'url'>,
  name: string,
  settings: Record<string, string> = {},
  clock: Clock = systemClock,
  refresh: () => Promise<boolean> = async () => true,
): Promise<InProcess> {
  const test = await testInstallation(
    {
      PGPROOF_SERVERS__0__DATABASES: 'a,b,c,d,e,f',
      PGPROOF_FLEET__URL: control.url,
      PGPROOF_FLEET__WORKER: name,
      PGPROOF_FLEET__HEARTBEAT: '10s',
      PGPROOF_DAEMON__MAX_CONCURRENT: '2',
      ...settings,
    },
    { clock },
  )
  const log = createLog({ level: process.env['DEBUG_FLEET'] ? 'debug' : 'silent', format: 'text' })
  const installation = { ...test.installation, log }
  const { fleet } = installation.config
  if (fleet === undefined) throw new Error('no fleet')
  const running: InProcess['running'] = new Map()
  const began: string[] = []
  const queue = new FleetQueue({
    installation,
    fleet,
    control: new BossControl(fleet, log),
    isThere: () => true,
    vanished: () => [],
    refresh,
    carryOut: async (run, { objection }, { catalog }, signal) => {
      began.push(`${run.server}/${run.database}`)
      catalog.updateRun(run.id, { state: 'running', startedAt: clock.now() })
      const ended = Promise.withResolvers<void>()
      running.set(run.id, { run, objection, end: ended.resolve, fail: ended.reject })
      signal.addEventListener('abort', () => ended.reject(signal.reason), { once: true })
      await ended.promise.finally(() => running.delete(run.id))
      catalog.updateRun(run.id, { state: 'succeeded', finishedAt: clock.now() })
    },
  })
  return {
    ...{ name, queue, installation, running, began },
    [Symbol.asyncDispose]: async () => {
      await queue.close(0)
      await test[Symbol.asyncDispose]()
    },
  }
}

export function backup(database: string, server = 'main'): Order {
  return { job: 'backup', server, database, trigger: 'http' }
}

/** What is due, as the scheduler orders it; the how manieth time. */
export function dueBackup(database: string, server = 'main', runs = 1): Order {
  const due = { time: new Date('2026-11-21T02:00:00Z'), until: new Date('2126-11-22T02:00:00Z'), runs }
  return { job: 'backup', server, database, trigger: 'schedule', due }
}
