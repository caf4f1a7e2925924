import { Counter, Histogram, type Registry } from 'prom-client'
import { isFinished, type Run, type RunState } from '../catalog/runs.ts'
import { knownDatabases, type MetricsParts, type RunPlace, runPlaces } from './scrape.ts'

const outcomes = ['succeeded', 'failed', 'cancelled', 'inconclusive'] as const satisfies RunState[]

/** From a second to half a day. */
const durationBuckets = [1, 5, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14_400, 28_800, 43_200]

/** What is counted since the start of this process: runs leave nothing in the store unless they succeed. */
export function registerRunMetrics(registry: Registry, parts: MetricsParts): void {
  const labelNames = ['server', 'database', 'job'] as const
  const runs = new Counter({
    name: 'pgproof_runs_total',
    help: 'Runs that ended since the start of this process, by outcome.',
    labelNames: [...labelNames, 'outcome'],
    registers: [registry],
    collect() {
      startFromZero(runs, parts)
    },
  })
  const durations = new Histogram({
    name: 'pgproof_run_duration_seconds',
    help: 'How long the runs took that ended since the start of this process.',
    labelNames,
    buckets: durationBuckets,
    registers: [registry],
  })

  const unfinished = new Set<string>()
  const count = (run: Run): void => {
    if (!isFinished(run)) {
      unfinished.add(run.id)
      return
    }
    // A late word about progress changes a run that was counted already.
    if (!unfinished.delete(run.id)) return
    const labels = { server: run.server, database: run.database ?? '', job: run.job }
    runs.inc({ ...labels, outcome: run.state })
    if (run.startedAt === null || run.finishedAt === null) return
    durations.observe(labels, Math.max(0, run.finishedAt.getTime() - run.startedAt.getTime()) / 1000)
  }
  for (const run of parts.catalog.runs()) {
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
