import type { PlannedJob } from '../catalog/runs.ts'
import { perPlace, type Sample, type StoredMetric } from './stored-metrics.ts'

const perJob = [...perPlace, 'job'] as const

/** What is planned and what goes on; `database` is empty for what is the server's. */
export const scheduleMetrics: readonly StoredMetric[] = [
  {
    name: 'pgproof_run_in_progress',
    type: 'gauge',
    help: 'How many runs are going on: of this process, or of the whole fleet.',
    labels: perJob,
    *read({ runPlaces, running }) {
      for (const labels of runPlaces) yield { labels, value: 0 }
      for (const { server, database, job } of running)
        yield { labels: { server, database: database ?? '', job }, value: 1 }
    },
  },
  {
    name: 'pgproof_run_started_timestamp_seconds',
    type: 'gauge',
    help: 'When the run began that is going on; absent while none is.',
    labels: perJob,
    *read({ running }) {
      for (const { server, database, job, startedAt } of running)
        if (startedAt !== null)
          yield { labels: { server, database: database ?? '', job }, value: startedAt.getTime() / 1000 }
    },
  },
  planned(
    'pgproof_schedule_next_timestamp_seconds',
    'When the job is due next.',
    ({ nextAt }) => nextAt.getTime() / 1000,
  ),
  planned(
    'pgproof_schedule_interval_seconds',
    'The longest time between two due times of the job.',
    ({ intervalSeconds }) => intervalSeconds,
  ),
  planned(
    'pgproof_schedule_paused',
    '1 if somebody paused the job, so that nothing of it is started when it is due, 0 if not.',
    ({ pausedUntil }) => (pausedUntil === null ? 0 : 1),
  ),
  planned(
    'pgproof_schedule_paused_until_timestamp_seconds',
    'When the pause of the job ends; absent unless it is paused.',
    ({ pausedUntil }) => (pausedUntil === null ? null : pausedUntil.getTime() / 1000),
  ),
]

function planned(name: StoredMetric['name'], help: string, pick: (planned: PlannedJob) => number | null): StoredMetric {
  return {
    name,
    type: 'gauge',
    help,
    labels: perJob,
    *read({ planned: jobs }): Iterable<Sample> {
      for (const one of jobs) {
        const value = pick(one)
        if (value !== null) yield { labels: { server: one.server, database: one.database ?? '', job: one.job }, value }
      }
    },
  }
}
