import type { QueueView, WorkerView } from '../../src/jobs/queue-view.ts'

/** What a process without a fleet says while it has nothing to do. */
export function idleQueue(asOf: Date): QueueView {
  const name = 'this process'
  return {
    ...{ isReachable: true, reason: null, asOf, queues: [], dead: [], vanished: [] },
    workers: [worker(asOf, { name, labels: [], may: ['backup', 'drill', 'prune', 'sync', 'serve'] })],
  }
}

/** A fleet in which something of everything is the matter. */
export function busyFleet(asOf: Date, changes: Partial<QueueView> = {}): QueueView {
  const ago = (seconds: number): Date => new Date(asOf.getTime() - seconds * 1000)
  return {
    ...{ isReachable: true, reason: null, asOf },
    queues: [
      { name: 'backup', queued: 12, active: 1, failed: 2, oldestQueuedAt: ago(90) },
      { name: 'drill', queued: 0, active: 1, failed: 0, oldestQueuedAt: null },
    ],
    dead: [
      {
        ...{ id: 'd1', job: 'backup', server: 'main', database: 'app', at: ago(600), code: 'FLEET_JOB_LOST' },
        reason: 'no worker survived backup of main/app; it was begun 4 times',
      },
    ],
    workers: [
      worker(asOf, {
        ...{ name: 'eu-1', labels: ['eu'], may: ['backup', 'serve'], hasTurn: true, places: 2 },
        running: [{ run: 'r1', job: 'backup', server: 'main', database: 'app', since: ago(30), progress: null }],
      }),
      worker(asOf, {
        ...{ name: 'prover', may: ['drill'], clockOffsetSeconds: -0.25 },
        running: [{ run: 'r2', job: 'drill', server: 'main', database: 'shop', since: ago(5), progress: null }],
        refused: [
          { server: 'main', code: 'FLEET_CONFIG_DIFFERS', at: ago(60), reason: 'it knows the server "main" otherwise' },
        ],
      }),
      worker(ago(300), { name: 'us-1', may: ['backup'], isAlive: false, clockOffsetSeconds: 700 }),
    ],
    vanished: [{ server: 'main', database: 'old' }],
    ...changes,
  }
}

export function worker(seenAt: Date, changes: Partial<WorkerView> = {}): WorkerView {
  return {
    ...{ name: 'eu-1', labels: [], may: ['backup'], version: '9.9.9', seenAt, isAlive: true, hasTurn: false },
    ...{ places: 2, running: [], clockOffsetSeconds: 0, refused: [] },
    ...changes,
  }
}
