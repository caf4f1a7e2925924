import type { Catalog } from '../../src/catalog/catalog.ts'
import { type Run, RunLog } from '../../src/catalog/runs.ts'
import type { Clock } from '../../src/clock.ts'
import type { ServerConfig } from '../../src/config/config.ts'
import { Scheduler } from '../../src/daemon/scheduler.ts'
import { PgproofError } from '../../src/errors.ts'
import { FleetQueue } from '../../src/fleet/fleet-queue.ts'
import { placeKey } from '../../src/fleet/payload.ts'
import type { Installation } from '../../src/jobs/installation.ts'
import { silentLog } from '../../src/log.ts'
import { serverConfig } from '../metrics/made-up-catalog.ts'
import { MemoryQueue } from './memory-control.ts'

export type Plan = {
  readonly servers: number
  readonly databasesEach: number
  readonly workers: number
  readonly places: number
  readonly days: number
  /** How much time passes between two looks, in minutes. */
  readonly stepMinutes: number
  readonly seed: number
}

export type Findings = {
  readonly due: number
  readonly done: number
  /** Places and due times without a backup before the next one. */
  readonly missed: readonly string[]
  /** Places and due times with more than one. */
  readonly twice: readonly string[]
  readonly most: { readonly ofServer: number; readonly waitMinutes: number }
  readonly faults: {
    readonly kills: number
    readonly failures: number
    readonly outages: number
    readonly losses: number
  }
  readonly calls: ReadonlyMap<string, number>
  readonly dead: number
}

const limitOfServer = 6
const dayMs = 86_400_000
const start = Date.parse('2026-11-02T00:00:00Z')

/**
 * A fleet over a fake clock: the scheduler and the queue are the real ones; the control database, the store and the jobs
 * themselves are simulated. Workers die, jobs fail, the control database goes away and is lost, and two clocks are wrong.
 */
export async function simulate(plan: Plan): Promise<Findings> {
  const world = new World(plan)
  const steps = (plan.days * dayMs) / (plan.stepMinutes * 60_000)
  for (let step = 0; step < steps; step += 1) await world.step()
  return world.findings()
}

type Worker = {
  readonly name: string
  readonly queue: FleetQueue
  readonly scheduler: Scheduler
  readonly death: AbortController
}

class World {
  readonly #plan: Plan
  readonly #servers: readonly ServerConfig[]
  #now = start
  readonly #random: () => number
  readonly #queue: MemoryQueue
  readonly #workers: (Worker | null)[]
  /** When the newest backup of each place began; what the store knows. */
  readonly #stored = new Map<string, Date>()
  /** How many backups there are of each place and due time. */
  readonly #done = new Map<string, number>()
  readonly #locks = new Map<string, AbortSignal>()
  readonly #busy = new Map<string, number>()
  readonly #sleepers: { at: number; wake: () => void }[] = []
  readonly #faults = { kills: 0, failures: 0, outages: 0, losses: 0 }
  #mostOfServer = 0
  #longestWaitMs = 0

  constructor(plan: Plan) {
    this.#plan = plan
    this.#random = randomOf(plan.seed)
    this.#servers = Array.from({ length: plan.servers }, (_, server) =>
      serverConfig(`s${server}`, {
        databases: Array.from({ length: plan.databasesEach }, (_, index) => `d${index}`),
        schedule: { backup: '0 1 * * *' },
        jitterMs: 2 * 3_600_000,
        retry: { attempts: 8, delayMs: 300_000 },
        maxConcurrent: limitOfServer,
        backupDeadlineMs: 12 * 3_600_000,
      }),
    )
    this.#queue = new MemoryQueue(this.#clock(0), heartbeatOf(plan))
    this.#workers = Array.from({ length: plan.workers }, () => null)
  }

  async step(): Promise<void> {
    this.#now += this.#plan.stepMinutes * 60_000
    this.#causeFaults()
    for (const sleeper of this.#sleepers.filter(({ at }) => at <= this.#now)) {
      this.#sleepers.splice(this.#sleepers.indexOf(sleeper), 1)
      sleeper.wake()
    }
    await settled()
    for (const [index, worker] of this.#workers.entries()) {
      const alive = worker ?? (this.#random() < 0.5 ? await this.#born(index) : null)
      if (alive === null) continue
      await alive.queue.beat()
      if (alive.queue.hasTurn()) {
        await alive.scheduler.tick()
        await alive.queue.beat()
      }
    }
    await settled()
  }

  findings(): Findings {
    const missed: string[] = []
    const twice: string[] = []
    const days = this.#plan.days - 1
    for (const { name, databases } of this.#servers)
      for (const database of databases === 'all' ? [] : databases)
        for (let day = 0; day < days; day += 1) {
          const due = new Date(start + day * dayMs + 3_600_000).toISOString()
          const count = this.#done.get(`${name}/${database} ${due}`) ?? 0
          if (count === 0) missed.push(`${name}/${database} ${due}`)
          if (count > 1) twice.push(`${name}/${database} ${due}`)
        }
    return {
      due: this.#plan.servers * this.#plan.databasesEach * days,
      done: [...this.#done.values()].reduce((sum, count) => sum + count, 0),
      missed,
      twice,
      most: { ofServer: this.#mostOfServer, waitMinutes: Math.round(this.#longestWaitMs / 60_000) },
      faults: this.#faults,
      calls: this.#queue.calls,
      dead: this.#queue.dead.length,
    }
  }

  #causeFaults(): void {
    const perDay = (times: number): boolean => this.#random() < (times * this.#plan.stepMinutes) / 1440
    for (const [index, worker] of this.#workers.entries()) {
      if (worker === null || !perDay(1)) continue
      this.#faults.kills += 1
      worker.death.abort()
      this.#queue.kill(worker.name)
      this.#workers[index] = null
    }
    if (this.#queue.isUp && perDay(2)) {
      this.#faults.outages += 1
      this.#queue.isUp = false
    } else if (!this.#queue.isUp && perDay(24)) this.#queue.isUp = true
    if (perDay(1)) {
      this.#faults.losses += 1
      this.#queue.lose()
    }
  }

  async #born(index: number): Promise<Worker> {
    const name = `w${index}`
    const death = new AbortController()
    // One of the clocks is ten minutes fast, one is ten minutes slow.
    const clock = this.#clock([0, 600_000, -600_000][index] ?? 0)
    const installation = this.#installation(clock)
    const queue = new FleetQueue({
      installation,
      fleet: {
        ...{ url: 'postgres://control/control', password: undefined, schema: 'pgboss', worker: name, labels: [] },
        ...{ may: ['backup'], maxBackups: undefined, heartbeatMs: heartbeatOf(this.#plan) },
      },
      control: this.#queue.control(name),
      isThere: () => true,
      vanished: () => [],
      refresh: async () => true,
      carryOut: (run, _wish, { catalog }, signal) => this.#backUp(run, catalog, clock, signal, death.signal),
    })
    const scheduler = new Scheduler(installation, queue, async () => true)
    await scheduler.discover(death.signal)
    const worker = { name, queue, scheduler, death }
    this.#workers[index] = worker
    return worker
  }

  async #backUp(run: Run, catalog: Catalog, clock: Clock, signal: AbortSignal, death: AbortSignal): Promise<void> {
    const place = placeKey(run)
    const end = (state: 'succeeded' | 'failed', error: PgproofError | null): void => {
      const said = error && { code: error.code, message: error.message, hint: error.hint }
      catalog.updateRun(run.id, { state, finishedAt: clock.now(), error: said })
      if (error !== null) throw error
    }
    const startedAt = clock.now()
    catalog.updateRun(run.id, { state: 'running', startedAt })
    this.#longestWaitMs = Math.max(this.#longestWaitMs, startedAt.getTime() - run.queuedAt.getTime())
    const other = this.#locks.get(place)
    if (other !== undefined && !other.aborted) return end('failed', new PgproofError('LOCKED', { what: place }))
    this.#locks.set(place, death)
    const busy = (this.#busy.get(run.server) ?? 0) + 1
    this.#busy.set(run.server, busy)
    this.#mostOfServer = Math.max(this.#mostOfServer, busy)
    const release = (): void => {
      if (this.#locks.get(place) === death) this.#locks.delete(place)
      this.#busy.set(run.server, (this.#busy.get(run.server) ?? 1) - 1)
    }
    // Its session ends with the worker.
    death.addEventListener('abort', release, { once: true })
    // Most are small, some take an hour and more.
    const minutes = this.#random() < 0.02 ? 60 + this.#random() * 60 : 1 + this.#random() * 8
    await this.#sleep(minutes * 60_000)
    if (death.aborted) return await new Promise(() => {})
    death.removeEventListener('abort', release)
    release()
    if (signal.aborted) return end('failed', new PgproofError('CANCELLED', { what: place }))
    if (this.#random() < 0.05) {
      this.#faults.failures += 1
      return end('failed', new PgproofError('INTERNAL', { reason: 'as it happens' }))
    }
    this.#stored.set(place, startedAt)
    const day = Math.floor((startedAt.getTime() - start - 3_600_000) / dayMs)
    const key = `${run.server}/${run.database} ${new Date(start + day * dayMs + 3_600_000).toISOString()}`
    this.#done.set(key, (this.#done.get(key) ?? 0) + 1)
    end('succeeded', null)
  }

  #installation(clock: Clock): Installation {
    const config = {
      timezone: 'UTC',
      servers: this.#servers,
      daemon: { maxConcurrent: this.#plan.places, catalogRefreshMs: 300_000 },
      drill: { deadlineMs: 3_600_000, keepReportsMs: dayMs },
      stores: [],
      prune: { largestShare: 0.5 },
    }
    const runs = new RunLog(1000)
    const catalog = {
      lastRefreshedAt: null,
      runs: () => runs.all(),
      findRun: (id: string) => runs.find(id),
      addRun: (run: Run) => runs.add(run),
      updateRun: (id: string, changes: Partial<Run>) => runs.update(id, changes),
      watchRuns: (watcher: (run: Run) => void) => runs.watch(watcher),
      lastStored: (place: Pick<Run, 'job' | 'server' | 'database'>, until: Date) => {
        const at = this.#stored.get(placeKey(place)) ?? null
        return at !== null && at <= until ? at : null
      },
      newest: () => undefined,
      databases: () => [],
      pauses: () => [],
      standings: () => [],
    }
    const storeCreatedAt = new Date(start)
    const rest = {
      clock,
      storeId: 'simulated',
      storeCreatedAt,
      log: silentLog,
      random: this.#random,
      stores: { named: [] },
    }
    return { config, catalog, ...rest } as unknown as Installation
  }

  #clock(aheadMs: number): Clock {
    return {
      now: () => new Date(this.#now + aheadMs),
      monotonicMs: () => this.#now - start,
      sleep: (ms) => this.#sleep(ms),
    }
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((wake) => this.#sleepers.push({ at: this.#now + ms, wake }))
  }
}

/** So long that a step is no silence. */
function heartbeatOf({ stepMinutes }: Plan): number {
  return 4 * stepMinutes * 60_000
}

/** Everything that waits for nothing but its turn has had it. */
async function settled(): Promise<void> {
  await new Promise((done) => setImmediate(done))
}

function randomOf(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
