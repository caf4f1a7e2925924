import { expect } from 'vitest'
import type { Run } from '../../src/catalog/runs.ts'
import type { Config } from '../../src/config/config.ts'
import { RunQueue } from '../../src/daemon/run-queue.ts'
import type { Installation } from '../../src/jobs/installation.ts'
import type { Order } from '../../src/jobs/orders.ts'
import { manifestAt, signal, storeBackup } from '../catalog/stored.ts'
import { type TestInstallation, testInstallation } from '../support/installation.ts'

export type HeldQueue = TestInstallation & {
  readonly installation: Installation
  readonly queue: RunQueue
  /** By their names, in the order in which they began; prunes after backups are left out. */
  readonly begun: string[]
  order(job: Order['job'], database: string, more?: Partial<Pick<Order, 'server' | 'trigger'>>): Run
  /** Another configuration is in force. */
  configure(change: (config: Config) => Config): void
  /** Backups stop before they write and drills before they read, until this is called. */
  open(): void
  /** Until nothing is queued or running. */
  ended(): Promise<void>
}

export type HeldQueueOptions = {
  /** Each has one backup of each database. */
  readonly servers?: readonly string[]
  readonly databases: readonly string[]
  readonly nameOf: (run: Run) => string
  readonly isWanted?: ((run: Run) => Promise<boolean>) | undefined
}

/** Of `expect.poll`: the machine may be busy with something else. */
export const patient = { timeout: 30_000 }

/** A queue of real runs that stand still at their first step. */
export async function heldQueue(
  settings: Record<string, string>,
  { servers = ['main'], databases, nameOf, isWanted }: HeldQueueOptions,
): Promise<HeldQueue> {
  const test = await testInstallation(settings)
  let { config } = test.installation
  const installation: Installation = {
    ...test.installation,
    get config() {
      return config
    },
  }
  const { catalog, stores } = installation
  for (const server of servers)
    for (const database of databases)
      await storeBackup(test.store, manifestAt('2026-11-20T02:00:00Z', { server, database }))
  await catalog.refresh(stores, signal)
  const queue = new RunQueue(installation, isWanted)
  const begun: string[] = []
  const seen = new Set<string>()
  catalog.watchRuns((run) => {
    if (run.state !== 'running' || run.job === 'prune' || seen.has(run.id)) return
    seen.add(run.id)
    begun.push(nameOf(run))
  })
  const gate = Promise.withResolvers<void>()
  test.store.before = async (operation, key) => {
    if (operation === 'write' || (operation === 'get' && key.endsWith('manifest.json'))) await gate.promise
  }
  return {
    ...test,
    installation,
    queue,
    begun,
    order: (job, database, { server = 'main', trigger = 'http' } = {}) =>
      queue.order({ job, server, database, trigger }),
    configure: (change) => {
      config = change(config)
    },
    open: () => gate.resolve(),
    ended: async () => {
      const unfinished = (): Run[] => catalog.runs().filter(({ state }) => state === 'queued' || state === 'running')
      await expect.poll(unfinished, { timeout: 60_000 }).toEqual([])
    },
    [Symbol.asyncDispose]: async () => {
      gate.resolve()
      await queue.close(0)
      await test[Symbol.asyncDispose]()
    },
  }
}
