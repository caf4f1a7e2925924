/*
 * A fleet over real servers: databases on two PostgreSQL servers, several workers, one S3 server and a control database on
 * a third server. Workers are killed, stopped and started again at random, and the control database crashes in between.
 * Every database is to be backed up once in each period and drilled once, however often that happens.
 *
 *   node bench/fleet-run.ts [databases workers secondsBetweenFaults periods periodMinutes all|some]
 *
 * `some`: only the databases of the smaller server are drilled, a fifth of all.
 */
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { query } from '../scripts/throw-away-postgres.ts'
import { type FleetPlace, openFleetPlace, type PlaceSettings, type Stored } from './fleet-place.ts'

export type RunPlan = Omit<PlaceSettings, 'due'> & {
  readonly workers: number
  readonly faultEverySeconds: number
  readonly periods: number
  /** A divisor of 60. */
  readonly periodMinutes: number
}

type Counts = { readonly missed: number; readonly once: number; readonly more: number }

export type RunFigures = {
  /** Of each period; `seconds` from its due time to the last backup. */
  readonly backups: readonly (Counts & { readonly seconds: number | null })[]
  readonly drills: Counts & { readonly failed: number; readonly seconds: number | null }
  readonly faults: { readonly kills: number; readonly stops: number; readonly crashes: number }
  readonly takenOver: number
  readonly byWorker: Readonly<Record<string, number>>
  /** From the due time to the start of each backup. */
  readonly waitSeconds: Readonly<Record<string, { readonly median: number; readonly most: number }>>
  /** Of each server's backups of the first period: how many were among the first half of all. */
  readonly shareInFirstHalf: Readonly<Record<string, number>>
  readonly controlTransactionsPerBackup: number
  readonly peakMiB: number
  readonly unfinishedUploads: number
  readonly left: readonly string[]
}

export async function runFleet(plan: RunPlan, say: (line: string) => void = () => {}): Promise<RunFigures> {
  const began = new Date(Math.floor(Date.now() / 60_000) * 60_000)
  const periodMs = plan.periodMinutes * 60_000
  const minutes = Array.from(
    { length: 60 / plan.periodMinutes },
    (_, period) => (began.getMinutes() + period * plan.periodMinutes) % 60,
  )
  await using place = await openFleetPlace({ ...plan, due: `${minutes.join(',')} * * * *` })
  const workers = new Map<string, ChildProcess>()
  try {
    const seconds = (): number => Math.round((Date.now() - began.getTime()) / 1000)
    const faults = { kills: 0, stops: 0, crashes: 0 }
    const start = (name: string): void => void workers.set(name, place.startWorker(name))
    for (let index = 0; index < plan.workers; index += 1) start(`w${index}`)
    const transactions = countTransactions(place.control)
    let drilledAt: number | null = null
    let peakMiB = 0
    let lastFault = seconds()
    let said = seconds()
    let perBackup = 0
    for (;;) {
      await new Promise((done) => setTimeout(done, 2000))
      const { backups, drills } = await place.stored()
      const done = periodsOf(backups, began, periodMs)
      const [first = new Map()] = done
      if (perBackup === 0) {
        const count = await transactions()
        if (first.size === place.backedUp.length) perBackup = count / first.size
      }
      if (drilledAt === null && drills.size >= place.drilled.length) drilledAt = seconds()
      peakMiB = Math.max(peakMiB, ...[...workers.values()].map(residentMiB))
      if (seconds() - said >= 20) {
        said = seconds()
        const counts = done.map(({ size }) => size).join(' + ')
        say(`${said} s: ${counts} backed up, ${drills.size} drilled, faults ${JSON.stringify(faults)}`)
      }
      const isBackedUp = done[plan.periods - 1]?.size === place.backedUp.length
      if (isBackedUp && drilledAt !== null) break
      if (Date.now() - began.getTime() > plan.periods * periodMs) break
      if (seconds() - lastFault < plan.faultEverySeconds) continue
      lastFault = seconds()
      const turn = (faults.kills + faults.stops + faults.crashes) % 4
      if (turn === 3) {
        faults.crashes += 1
        place.crashControl()
        continue
      }
      const names = [...workers.keys()]
      const name = names[Math.floor(Math.random() * names.length)] ?? ''
      faults[turn === 2 ? 'stops' : 'kills'] += 1
      await end(workers.get(name), turn === 2 ? 'SIGTERM' : 'SIGKILL')
      start(name)
    }
    // Whoever would do something twice begins with the next looks.
    await new Promise((done) => setTimeout(done, 15_000))
    await Promise.all([...workers.values()].map((child) => end(child, 'SIGTERM')))
    const { backups, drills } = await place.stored()
    return {
      backups: periodsOf(backups, began, periodMs)
        .slice(0, plan.periods)
        .map((counts, period) => ({
          ...countsOf(place.backedUp, counts),
          seconds: lastOf(backups, began.getTime() + period * periodMs, periodMs),
        })),
      drills: {
        ...countsOf(place.drilled, new Map([...drills].map(([name, all]) => [name, all.length]))),
        failed: (await entriesOf(place)).filter(({ queue, state }) => queue === 'drill' && state === 'failed').length,
        seconds: drilledAt,
      },
      faults,
      ...(await fairnessOf(place, began)),
      controlTransactionsPerBackup: Math.round(10 * perBackup) / 10,
      peakMiB,
      unfinishedUploads: await place.unfinishedUploads(),
      left: await place.left(),
    }
  } finally {
    for (const child of workers.values()) child.kill('SIGKILL')
  }
}

async function end(child: ChildProcess | undefined, signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
  const closed = once(child, 'close')
  child.kill(signal)
  await closed
}

/** How many backups each place has of each period. */
function periodsOf(stored: Stored, began: Date, periodMs: number): Map<string, number>[] {
  const periods: Map<string, number>[] = [new Map()]
  for (const [name, starts] of stored)
    for (const at of starts) {
      const period = Math.floor((at.getTime() - began.getTime()) / periodMs)
      while (periods.length <= period) periods.push(new Map())
      const counts = periods[period]
      counts?.set(name, (counts.get(name) ?? 0) + 1)
    }
  return periods
}

function countsOf(wanted: readonly string[], found: ReadonlyMap<string, number>): Counts {
  const counts = wanted.map((name) => found.get(name) ?? 0)
  const of = (isOne: (count: number) => boolean): number => counts.filter(isOne).length
  return { missed: of((count) => count === 0), once: of((count) => count === 1), more: of((count) => count > 1) }
}

function lastOf(stored: Stored, from: number, periodMs: number): number | null {
  const own = [...stored.values()].flat().map((at) => at.getTime())
  const last = Math.max(...own.filter((at) => at >= from && at < from + periodMs))
  return Number.isFinite(last) ? Math.round((last - from) / 1000) : null
}

/** Gives the transactions since this was called; a crash sets the server's own count to 0. */
function countTransactions(control: string): () => Promise<number> {
  let sum = 0
  let before = 0
  return async () => {
    const sql = "SELECT xact_commit::int AS count FROM pg_stat_database WHERE datname = 'control'"
    const [row] = await query(control, sql).catch(() => [{ count: before }])
    const now = Number(row?.['count'] ?? 0)
    sum += now >= before ? now - before : now
    before = now
    return sum
  }
}

type Ended = {
  readonly queue: string
  readonly server: string
  readonly worker: string
  readonly state: string
  readonly due: Date
  readonly startedAt: Date
  readonly retries: number
}

async function entriesOf({ control }: FleetPlace): Promise<readonly Ended[]> {
  const rows = await query(
    control,
    `SELECT name AS queue, data->>'server' AS server, output->>'worker' AS worker, output->>'state' AS state,
            (data->'due'->>'time')::timestamptz AS due, (output->>'startedAt')::timestamptz AS "startedAt", retry_count AS retries
     FROM pgboss.job WHERE state = 'completed' AND name NOT IN ('workers', 'dead') AND output->>'startedAt' IS NOT NULL
     ORDER BY output->>'startedAt'`,
  )
  return rows as Ended[]
}

async function fairnessOf(
  place: FleetPlace,
  began: Date,
): Promise<Pick<RunFigures, 'takenOver' | 'byWorker' | 'waitSeconds' | 'shareInFirstHalf'>> {
  const entries = await entriesOf(place)
  const backups = entries.filter(({ queue, state }) => queue === 'backup' && state === 'succeeded')
  const waits = Map.groupBy(backups, ({ server }) => server)
  const waitSeconds = [...waits].sort().map(([server, own]) => {
    const all = own.map(({ due, startedAt }) => (startedAt.getTime() - due.getTime()) / 1000).sort((a, b) => a - b)
    return [server, { median: Math.round(all[all.length >> 1] ?? 0), most: Math.round(all.at(-1) ?? 0) }] as const
  })
  const first = backups.filter(({ due }) => due.getTime() === began.getTime())
  const half = first.slice(0, first.length >> 1)
  const share = (server: string): number => {
    const all = first.filter((one) => one.server === server).length
    return Math.round((100 * half.filter((one) => one.server === server).length) / Math.max(1, all)) / 100
  }
  return {
    takenOver: entries.filter(({ retries }) => retries > 0).length,
    byWorker: Object.fromEntries(
      [...Map.groupBy(entries, ({ worker }) => worker)].map(([who, own]) => [who, own.length]),
    ),
    waitSeconds: Object.fromEntries(waitSeconds),
    shareInFirstHalf: Object.fromEntries(['s0', 's1'].map((server) => [server, share(server)])),
  }
}

function residentMiB({ pid }: ChildProcess): number {
  try {
    return Math.round(Number(/^VmHWM:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024)
  } catch {
    return 0
  }
}

if (process.argv[1] === import.meta.filename) {
  const [databases = 300, workers = 4, faultEverySeconds = 20, periods = 2, periodMinutes = 20] = process.argv
    .slice(2, 7)
    .map(Number)
  const drilled = process.argv[7] === 'some' ? 'some' : 'all'
  const write = (line: string): void => void process.stdout.write(`${line}\n`)
  const figures = await runFleet({ databases, workers, faultEverySeconds, periods, periodMinutes, drilled }, write)
  write(JSON.stringify(figures, null, 2))
  const counts = [...figures.backups, figures.drills]
  const isWell = counts.every(({ missed, more }) => missed + more === 0) && figures.left.length === 0
  process.exitCode = isWell ? 0 : 1
}
