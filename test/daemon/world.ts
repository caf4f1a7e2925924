import { Catalog } from '../../src/catalog/catalog.ts'
import type { Run } from '../../src/catalog/runs.ts'
import type { Clock } from '../../src/clock.ts'
import { Scheduler } from '../../src/daemon/scheduler.ts'
import { toPgproofError } from '../../src/errors.ts'
import type { Installation } from '../../src/jobs/installation.ts'
import type { Order, Orders } from '../../src/jobs/orders.ts'
import { newRun } from '../../src/jobs/run-job.ts'
import { manifestAt, reportOf, rolesManifestAt, signal, storeBackup, storeReport } from '../catalog/stored.ts'
import { testInstallation } from '../support/installation.ts'
import { MemoryStore } from '../support/memory-store.ts'
import { storeSetOf } from '../support/store-sets.ts'

export type Finish = (run: Run, world: World) => Promise<void>

/** A clock, a store and what was ordered so far; processes come and go over it. */
export class World {
  now: Date
  readonly clock: Clock
  readonly store: MemoryStore
  readonly storeCreatedAt: Date
  readonly ordered: string[] = []
  /** Of each order. */
  readonly attempts: number[] = []
  isStoreUp = true
  /** In place of what has passed since the start. */
  monotonic: (() => number) | undefined
  /** What becomes of an order; by default it is stored at once. */
  finish: Finish = storeResult
  readonly #settings: Record<string, string>

  constructor(start: string, settings: Record<string, string>) {
    this.now = new Date(start)
    this.storeCreatedAt = this.now
    const started = this.now.getTime()
    this.clock = {
      now: () => this.now,
      monotonicMs: () => this.monotonic?.() ?? this.now.getTime() - started,
      sleep: async () => {},
    }
    this.store = new MemoryStore(this.clock)
    this.#settings = settings
  }

  /** A daemon that starts now, with nothing but the store. */
  async start(settings: Record<string, string> = {}): Promise<Process> {
    const usual = { PGPROOF_SERVERS__0__DATABASES: 'app' }
    const test = await testInstallation({ ...usual, ...this.#settings, ...settings }, this)
    await test[Symbol.asyncDispose]()
    const { storeCreatedAt, clock } = this
    const installation: Installation = { ...test.installation, storeCreatedAt, catalog: new Catalog({ clock }) }
    const refresh = async (): Promise<boolean> => {
      if (this.isStoreUp) await installation.catalog.refresh(storeSetOf(this.store), signal)
      return this.isStoreUp
    }
    await refresh()
    const pending: Promise<void>[] = []
    const scheduler = new Scheduler(installation, this.#orders(installation, pending), refresh)
    await scheduler.discover(signal)
    return {
      store: this.store,
      scheduler,
      installation,
      tick: async () => {
        const before = this.ordered.length
        await scheduler.tick()
        await Promise.all(pending.splice(0))
        return this.ordered.slice(before)
      },
    }
  }

  /** Lets time pass, with a tick every so many minutes; what was ordered, each with its time. */
  async pass(daemon: Process, until: string, stepMinutes: number): Promise<string[]> {
    const seen: string[] = []
    while (this.now < new Date(until)) {
      this.now = new Date(Math.min(this.now.getTime() + stepMinutes * 60_000, new Date(until).getTime()))
      for (const order of await daemon.tick()) seen.push(`${this.now.toISOString().slice(0, 16)} ${order}`)
    }
    return seen
  }

  #orders(installation: Installation, pending: Promise<void>[]): Orders {
    return {
      order: (order: Order) => {
        const run = newRun(order, installation)
        installation.catalog.updateRun(run.id, { state: 'running', startedAt: this.now })
        this.attempts.push(run.attempt)
        this.ordered.push(
          [order.job, order.server, order.database]
            .filter((part) => part !== null)
            .join(' ')
            .trim(),
        )
        pending.push(
          this.finish(run, this).then(
            () => void installation.catalog.updateRun(run.id, { state: 'succeeded', finishedAt: this.now }),
            (thrown: unknown) => {
              const { code, message, hint, exitCode } = toPgproofError(thrown)
              const state = code === 'CANCELLED' ? 'cancelled' : exitCode === 14 ? 'inconclusive' : 'failed'
              const error = { code, message, hint }
              installation.catalog.updateRun(run.id, { state, finishedAt: this.now, error })
            },
          ),
        )
        return run
      },
      cancel: () => {
        throw new Error('nobody cancels here')
      },
      position: () => null,
    }
  }
}

export type Process = {
  store: MemoryStore
  scheduler: Scheduler
  installation: Installation
  tick(): Promise<string[]>
}

async function storeResult({ job, server, database }: Run, { now, store }: World): Promise<void> {
  const time = now.toISOString()
  if (job === 'backup') await storeBackup(store, manifestAt(time, { server, database }))
  if (job === 'roles') await storeBackup(store, rolesManifestAt(time, { server }))
  if (job === 'drill')
    await storeReport(store, reportOf(manifestAt('2026-11-01T02:00:00Z', { server, database }), time))
}

export const backupAt2 = { PGPROOF_SERVERS__0__SCHEDULE__BACKUP: '0 2 * * *' }
export const ofBackups = (orders: readonly string[]): string[] => orders.filter((order) => order.includes('backup'))
