import type { QueueView } from '../jobs/queue-view.ts'
import type { Condition } from './condition.ts'
import { described, instantText, oneLine, placed } from './wording.ts'

const minuteMs = 60_000
const dayMs = 24 * 60 * minuteMs
/** A restart of the control database is no news, nor is one of a worker. */
const patienceMs = 5 * minuteMs

const always = { since: null, patienceMs, remindEveryMs: dayMs, level: 0, server: null, database: null, job: null }

/** What is wrong with the queue of a fleet and its workers. */
export function fleetConditions(view: QueueView): Condition[] {
  return [...unreachable(view), ...view.dead.map(dead), ...view.workers.flatMap(gone)]
}

/** A worker that has signed off has not come back. */
export function isKnownWorker({ key }: Pick<Condition, 'key'>, { workers }: QueueView): boolean {
  return workers.some(({ name }) => key === workerKey(name))
}

function workerKey(name: string): string {
  return `worker-gone ${name}`
}

function unreachable({ isReachable, asOf }: QueueView): Condition[] {
  if (isReachable) return []
  return [
    {
      ...always,
      key: 'control-down',
      kind: 'control-down',
      title: 'the control database of the fleet does not answer',
      text: `The control database of the fleet does not answer; it was last read at ${instantText(asOf)}. Running jobs finish; nothing is ordered or begun, by no worker.`,
      hint: 'Start it, or make an empty one: it holds no truth, and what fell due meanwhile is caught up.',
      recovered: 'the control database of the fleet answers again',
    },
  ]
}

function dead({ id, job, server, database, at, code, reason }: QueueView['dead'][number]): Condition {
  const what = job === null ? 'an entry of the queue' : described({ job, server: server ?? '', database })
  return {
    ...always,
    ...{ server: server === '' ? null : server, database, job, since: at, patienceMs: 0 },
    key: `dead-entry ${id}`,
    kind: 'dead-entry',
    title: `${what} is given up by the fleet (${code})`,
    text: `Given up at ${instantText(at)}: ${oneLine(reason)}.`,
    hint:
      job === null
        ? 'Look at it with `pgproof queue`, and whether all workers are of one version.'
        : 'Look why its workers died (memory, disk, the node), then order it by hand; a success ends this.',
    recovered: `${what} has been done since, or was removed from the queue`,
  }
}

function gone({ name, isAlive, seenAt, running }: QueueView['workers'][number]): Condition[] {
  if (isAlive) return []
  const held = running.map(({ job, server, database }) => `${job} of ${placed(server, database)}`)
  return [
    {
      ...always,
      // Its last sign is forgotten after a week.
      ...{ since: seenAt, remindEveryMs: 7 * dayMs },
      key: workerKey(name),
      kind: 'worker-gone',
      title: `the worker "${oneLine(name)}" is gone`,
      text: `The worker "${oneLine(name)}" gave its last sign of life at ${instantText(seenAt)} and has not signed off. ${held.length === 0 ? 'It had nothing in hand.' : `It had in hand: ${held.join(', ')}; others take that over.`}`,
      hint: 'Start it again, or look at its log; if nobody else may do what it did, that waits (`pgproof queue`).',
      recovered: `the worker "${oneLine(name)}" is back`,
    },
  ]
}
