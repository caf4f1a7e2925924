import type { Run } from '../catalog/runs.ts'
import type { Config } from '../config/config.ts'
import type { WorkerDuty } from '../config/fleet-config.ts'
import type { QueueView, WorkerSign } from '../jobs/queue-view.ts'
import { dutyOf, isFor, labelOf, queueOf } from './entry-of.ts'

type Servers = Config['servers']

/** An order is no worry before somebody has had the time to take it. */
const patienceMs = 60_000
const namedUpTo = 3
const dutyWords: Readonly<Partial<Record<WorkerDuty, string>>> = { backup: 'back up' }

/** The view, with the reason where entries wait in a queue for longer that no living worker takes from. */
export function withUnserved<View extends Pick<QueueView, 'asOf' | 'queues' | 'workers'>>(
  view: View,
  servers: Servers,
): View {
  const { asOf, workers } = view
  const queues = view.queues.map((counts) => {
    const { name, oldestQueuedAt } = counts
    const isLate = oldestQueuedAt !== null && asOf.getTime() - oldestQueuedAt.getTime() > patienceMs
    return { ...counts, unserved: isLate ? unservedReason(name, workers, servers) : null }
  })
  return { ...view, queues }
}

type Taker = Pick<WorkerSign, 'may' | 'labels'>

/**
 * How many runs wait before one, the newest of `runs` first; null if it does not wait, or if none of these workers may take
 * it. Null in their place: it is not known yet who lives.
 */
export function positionOf(
  id: string,
  runs: readonly Run[],
  living: readonly Taker[] | null,
  servers: Servers,
): number | null {
  const labels = new Map(servers.map(({ name, label }) => [name, label]))
  const known = new Map<string, boolean>()
  const isServed = ({ job, server }: Run): boolean => {
    if (living === null) return true
    const queue = queueOf(job, false, labels.get(server))
    const served = known.get(queue) ?? living.some((worker) => isFor(worker, queue))
    known.set(queue, served)
    return served
  }
  const waiting = runs.filter((run) => run.state === 'queued' && run.worker !== undefined && isServed(run))
  const index = waiting.reverse().findIndex((run) => run.id === id)
  return index === -1 ? null : index
}

function unservedReason(queue: string, workers: QueueView['workers'], servers: Servers): string | null {
  const living = workers.filter(({ isAlive, isClosing }) => isAlive && isClosing !== true)
  // Before the first look at the signs of life nobody is known.
  if (workers.length === 0 || living.some((worker) => isFor(worker, queue))) return null
  const duty = dutyOf(queue)
  if (!living.some(({ may }) => may.includes(duty))) return `no living worker may ${dutyWords[duty] ?? duty}`
  const label = labelOf(queue)
  const names = servers.filter((server) => server.label === label).map(({ name }) => name)
  const rest = names.length - namedUpTo
  const named = `${names.slice(0, namedUpTo).join(', ')}${rest > 0 ? ` and ${rest} more` : ''}`
  const who = names.length === 0 ? `it is for workers with` : `server ${named} ${names.length === 1 ? 'has' : 'have'}`
  return `no living worker takes the queue ${queue}: ${who} the label ${label}`
}
