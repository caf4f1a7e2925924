import { Counter, Gauge, Histogram, type Registry } from 'prom-client'
import type { Catalog } from '../catalog/catalog.ts'
import { isFinished, isPruneOfAll, type Run, type RunState, stillScheduled } from '../catalog/runs.ts'
import { isCovered, knownDatabases, type MetricsParts, type RunPlace, runPlaces } from './scrape.ts'

const outcomes = ['succeeded', 'failed', 'cancelled', 'inconclusive'] as const satisfies RunState[]

/** From a second to half a day. */
const durationBuckets = [1, 5, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14_400, 28_800, 43_200]

/** What comes after so many is no news. */
const longestRow = 1000

/**
 * What is counted since the start of this process: runs leave nothing in the store unless they succeed. Of a fleet each
 * worker counts its own, so that adding them up counts nothing twice; the row of failures is of all workers together.
 */
export function registerRunMetrics(registry: Registry, parts: MetricsParts): void {
  const labelNames = ['server', 'database', 'job'] as const
  const runs = new Counter({
    name: 'pgproof_runs_total',
    help: 'Runs that ended since the start of this process, by outcome; in a fleet those that this worker carried out.',
    labelNames: [...labelNames, 'outcome'],
    registers: [registry],
    collect() {
      startFromZero(runs, parts)
    },
  })
  const durations = new Histogram({
    name: 'pgproof_run_duration_seconds',
    help: 'How long the runs took that ended since the start of this process; in a fleet those that this worker carried out.',
    labelNames,
    buckets: durationBuckets,
    registers: [registry],
  })

  const failures = new FailuresInARow()
  const inARow = new Gauge({
    name: 'pgproof_run_consecutive_failures',
    help: 'Runs in a row that failed or were inconclusive, up to the last one, since the start of this process; in a fleet by any worker.',
    labelNames,
    registers: [registry],
    collect() {
      inARow.reset()
      const { catalog, config, planned } = parts
      const matters = stillScheduled(planned())
      for (const place of runPlaces(knownDatabases(catalog, planned()), config))
        if (isCovered(place, config)) inARow.set(place, failures.of(place, lastSuccessIn(catalog, place), matters))
    },
  })

  const unfinished = new Set<string>()
  const startedAt = parts.clock.now()
  const count = (run: Run): void => {
    if (!isFinished(run)) {
      unfinished.add(run.id)
      return
    }
    const labels = { server: run.server, database: run.database ?? '', job: run.job }
    // A late word about progress changes a run that was counted already.
    const isNew = unfinished.delete(run.id)
    // What another worker did within one look at the queue is only ever seen when it is over.
    const isOfOther = run.worker !== undefined && run.worker !== parts.worker
    if (isNew || (isOfOther && run.finishedAt !== null && run.finishedAt >= startedAt)) failures.note(labels, run)
    if (!isNew || isOfOther) return
    runs.inc({ ...labels, outcome: run.state })
    if (run.startedAt === null || run.finishedAt === null) return
    durations.observe(labels, Math.max(0, run.finishedAt.getTime() - run.startedAt.getTime()) / 1000)
  }
  for (const run of parts.catalog.runs().toReversed()) {
    unfinished.add(run.id)
    count(run)
  }
  parts.catalog.watchRuns(count)
}

/** Without a 0 before it, the first failure of a database would be no increase. */
function startFromZero(runs: Counter<keyof RunPlace | 'outcome'>, { catalog, planned, config }: MetricsParts): void {
  for (const { server, database, job } of runPlaces(knownDatabases(catalog, planned()), config))
    for (const outcome of outcomes) runs.inc({ server, database, job, outcome }, 0)
}

/** When a run ended, and who had ordered it. */
type Failure = { readonly at: Date; readonly trigger: Run['trigger'] }

/** A success ends a row, be it of this process or found in the store; a run that was cancelled says nothing. */
class FailuresInARow {
  /** By place and the run's id. */
  readonly #rows = new Map<string, ReadonlyMap<string, Failure>>()
  /** Runs of others may be seen in another order than they ended in. */
  readonly #lastSuccesses = new Map<string, Date>()

  note(place: RunPlace, { id, state, finishedAt, trigger }: Run): void {
    const key = placeKey(place)
    const row = [...(this.#rows.get(key) ?? [])]
    const last = this.#lastSuccesses.get(key)
    if (finishedAt === null || state === 'cancelled') return
    if (state === 'succeeded') {
      if (last === undefined || last < finishedAt) this.#lastSuccesses.set(key, finishedAt)
      this.#rows.set(key, new Map(row.filter(([, { at }]) => at > finishedAt)))
      if (isPruneOfAll(place))
        for (const [other, failures] of this.#rows)
          if (isOfPrune(other)) this.#rows.set(other, new Map([...failures].filter(([, { at }]) => at > finishedAt)))
    } else if (last === undefined || last <= finishedAt)
      this.#rows.set(key, new Map([...row.slice(-longestRow), [id, { at: finishedAt, trigger }]]))
  }

  /** None where the last of them does not matter any more. */
  of(place: RunPlace, lastSuccess: Date | null, matters: ReturnType<typeof stillScheduled>): number {
    const row = [...(this.#rows.get(placeKey(place))?.values() ?? [])]
    const [last] = row.toSorted((one, other) => other.at.getTime() - one.at.getTime())
    const database = place.database === '' ? null : place.database
    if (last === undefined || !matters({ ...place, database, trigger: last.trigger })) return 0
    return row.filter(({ at }) => lastSuccess === null || at >= lastSuccess).length
  }
}

function isOfPrune(key: string): boolean {
  return (JSON.parse(key) as unknown[])[2] === 'prune'
}

function placeKey({ server, database, job }: RunPlace): string {
  return JSON.stringify([server, database, job])
}

/** What the store knows of it: another process may have done what this one could not. */
function lastSuccessIn(catalog: Catalog, { server, database, job }: RunPlace): Date | null {
  if (job === 'backup') return dateOf(catalog.newest(server, database)?.manifest.finishedAt)
  if (job === 'roles') return dateOf(catalog.backups({ kind: 'roles', server })[0]?.manifest.finishedAt)
  if (job !== 'drill') return null
  return dateOf(catalog.drills({ server, database }).find(({ verdict }) => verdict === 'passed')?.finishedAt)
}

function dateOf(instant: string | undefined): Date | null {
  return instant === undefined ? null : new Date(instant)
}
