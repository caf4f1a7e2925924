import type { StoredMetric } from './stored-metrics.ts'

/** What `Queue.view()` says: the same of every instance of a fleet that answers, so nobody adds it up. */
export const queueMetrics: readonly StoredMetric[] = [
  {
    name: 'pgproof_queue_entries',
    type: 'gauge',
    help: 'Entries of the queue by state: queued, active, or failed within the last two days.',
    labels: ['queue', 'state'],
    *read({ queue: { queues } }) {
      for (const { name: queue, queued, active, failed } of queues)
        for (const [state, value] of Object.entries({ queued, active, failed }))
          yield { labels: { queue, state }, value }
    },
  },
  {
    name: 'pgproof_queue_oldest_seconds',
    type: 'gauge',
    help: 'How long the oldest entry of the queue that no pause holds back has waited, when it was last looked at; absent where none waits.',
    labels: ['queue'],
    *read({ queue: { queues, asOf } }) {
      // Both by the clock of the control database, which may differ from this one.
      for (const { name: queue, oldestQueuedAt } of queues)
        if (oldestQueuedAt !== null)
          yield { labels: { queue }, value: Math.max(0, asOf.getTime() - oldestQueuedAt.getTime()) / 1000 }
    },
  },
  {
    name: 'pgproof_fleet_workers',
    type: 'gauge',
    help: 'Workers that gave a sign of life within fleet.heartbeat (alive="true"), and those that did not and have not signed off; without a fleet this process alone.',
    labels: ['alive'],
    *read({ queue: { workers } }) {
      // Before the first look at the queue not even this worker is known.
      if (workers.length === 0) return
      for (const isAlive of [true, false])
        yield { labels: { alive: String(isAlive) }, value: workers.filter((one) => one.isAlive === isAlive).length }
    },
  },
  {
    name: 'pgproof_fleet_dead_entries',
    type: 'gauge',
    help: 'Entries that no worker survived, or none can read.',
    labels: [],
    *read({ queue: { dead, workers } }) {
      if (workers.length > 0) yield { labels: {}, value: dead.length }
    },
  },
  {
    name: 'pgproof_fleet_reachable',
    type: 'gauge',
    help: '1 while the control database answers, 0 while it does not; without a fleet always 1.',
    labels: [],
    read: ({ queue: { isReachable } }) => [{ labels: {}, value: isReachable ? 1 : 0 }],
  },
  {
    name: 'pgproof_fleet_clock_offset_seconds',
    type: 'gauge',
    help: 'How far the clock of a worker that is alive is ahead of the control database’s.',
    labels: ['worker'],
    *read({ queue: { workers } }) {
      for (const { name, isAlive, clockOffsetSeconds } of workers)
        if (isAlive) yield { labels: { worker: name }, value: clockOffsetSeconds }
    },
  },
]
