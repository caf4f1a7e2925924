import { Catalog } from '../../src/catalog/catalog.ts'
import type { Job, PlannedJob, Run, RunChanges } from '../../src/catalog/runs.ts'
import { type Clock, systemClock } from '../../src/clock.ts'
import type { NotifyConfig, ServerConfig } from '../../src/config/config.ts'
import type { QueueView } from '../../src/jobs/queue-view.ts'
import { newRun } from '../../src/jobs/run-job.ts'
import { createLog } from '../../src/log.ts'
import type { KeyExpiry } from '../../src/notify/conditions.ts'
import { Notifier } from '../../src/notify/notifier.ts'
import { type Contents, madeUpCatalog, serverConfig } from '../metrics/made-up-catalog.ts'
import { MemoryStore } from '../support/memory-store.ts'
import { idleQueue } from '../support/queue-views.ts'
import { quick } from './notices.ts'

export const start = '2026-11-20T12:00:00Z'

/** A notifier as the daemon has it, over a made-up store, with runs and a time that the test decides. */
export type World = AsyncDisposable & {
  readonly notifier: Notifier
  readonly catalog: Catalog
  readonly store: MemoryStore
  readonly clock: Clock
  /** What may change while the daemon runs. */
  readonly now: {
    notify: readonly NotifyConfig[]
    servers: readonly ServerConfig[]
    notifyTest: string | undefined
    planned: readonly PlannedJob[]
    keyExpiries: readonly KeyExpiry[]
    isReloadRefused: boolean
    retryAt: Date | null
    hasTurn: boolean
    /** Null: that of a process without a fleet. */
    queue: QueueView | null
    readonly worker: string | undefined
  }
  log(): string
  /** Time goes on, and the notifier looks. */
  pass(ms: number): Promise<void>
  begin(job: Job, database: string | null, more?: { server?: string; attempt?: number }): Run
  end(run: Run, state: Run['state'], more?: RunChanges): void
  /** Both, a second apart. */
  run(job: Job, database: string | null, state: Run['state'], more?: RunChanges): Run
}

export const connectionFailed = {
  code: 'CONNECTION_FAILED',
  message: 'cannot connect to the server',
  hint: 'Start it.',
}

export function plannedAt(job: PlannedJob['job'], database: string | null, more: Partial<PlannedJob> = {}): PlannedJob {
  const nextAt = new Date('2026-11-21T02:00:00Z')
  return { job, server: 'main', database, nextAt, intervalSeconds: 86_400, pausedUntil: null, ...more }
}

/** `contents` null: the store was never read. `mostKnown` runs of a fleet are remembered: as many as usual. */
export async function startWorld(
  notify: readonly NotifyConfig[],
  contents: Contents | null = {},
  settings: Partial<World['now']> = {},
  mostKnown?: number,
): Promise<World> {
  let ms = Date.parse(start)
  const clock: Clock = { now: () => new Date(ms), monotonicMs: () => ms, sleep: systemClock.sleep }
  const { catalog, store } =
    contents === null
      ? { catalog: new Catalog({ clock }), store: new MemoryStore(clock) }
      : await madeUpCatalog(clock, contents)
  const lines: string[] = []
  const log = createLog({ level: 'debug', format: 'json' }, (line) => lines.push(line))
  const now: World['now'] = {
    notify,
    servers: [serverConfig('main', { schedule: { backup: '0 2 * * *' }, objectives: { rpoMs: 26 * 3_600_000 } })],
    notifyTest: undefined,
    planned: [plannedAt('backup', 'app')],
    keyExpiries: [],
    isReloadRefused: false,
    retryAt: null,
    hasTurn: true,
    queue: null,
    worker: undefined,
    ...settings,
  }
  const installation = {
    catalog,
    clock,
    log,
    random: () => 0,
    get config() {
      const { servers, notifyTest } = now
      return { notify: now.notify, servers, timezone: 'UTC', daemon: { notifyTest } }
    },
  }
  const notifier = new Notifier(
    {
      installation,
      planned: () => now.planned,
      keyExpiries: () => now.keyExpiries,
      configReload: () => ({ isSuccessful: !now.isReloadRefused }),
      retryAt: () => now.retryAt,
      queue: { hasTurn: () => now.hasTurn, view: () => now.queue ?? idleQueue(clock.now()) },
      worker: now.worker,
    },
    quick,
    mostKnown,
  )
  notifier.watch()
  const world: World = {
    ...{ notifier, catalog, store, clock, now, log: () => lines.join('') },
    async pass(by) {
      // What runs did before is noted first.
      await Promise.resolve()
      ms += by
      notifier.look()
    },
    begin(job, database, { server = 'main', attempt = 1 } = {}) {
      const run = newRun({ job, server, database, trigger: 'schedule', attempt }, { catalog, clock, log })
      return catalog.updateRun(run.id, { state: 'running', startedAt: clock.now() }) ?? run
    },
    end(run, state, more = {}) {
      const error = state === 'failed' || state === 'inconclusive' ? connectionFailed : null
      catalog.updateRun(run.id, { state, finishedAt: clock.now(), error, ...more })
    },
    run(job, database, state, more = {}) {
      const run = world.begin(job, database)
      ms += 1000
      world.end(run, state, more)
      return run
    },
    [Symbol.asyncDispose]: () => notifier.close(5_000),
  }
  return world
}
