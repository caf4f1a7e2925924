import type { Run } from '../catalog/runs.ts'
import type { FleetConfig, WorkerDuty } from '../config/fleet-config.ts'
import { type Installation, serverNamed } from '../jobs/installation.ts'
import type { Order } from '../jobs/orders.ts'
import { version } from '../version.ts'
import type { NewEntry } from './control.ts'
import { payloadOf, placeKey } from './payload.ts'
import { serverHash } from './server-hash.ts'

/** What took longer than this the last time is large. */
const largeMs = 30 * 60_000
/** What a person ordered goes first. */
const personsPriority = 1000
/** Of what concerns the whole store, which has no deadline in the configuration. */
const wholeStoreMs = 25 * 3_600_000

/** `waitsAlready` is how many entries of the same server wait, so that servers take turns. */
export function entryOf(
  run: Run,
  order: Order,
  waitsAlready: number,
  { config, catalog, storeId }: Pick<Installation, 'config' | 'catalog' | 'storeId'>,
  by: string,
): NewEntry {
  const { job, server: name, database, trigger } = order
  const server = name === '' ? null : serverNamed(config, name)
  const source = { storeId, serverHash: server && serverHash(server), by, version }
  const newest = job === 'backup' ? catalog.newest(name, database ?? '')?.manifest : undefined
  const lastMs = newest === undefined ? 0 : Date.parse(newest.finishedAt) - Date.parse(newest.startedAt)
  const deadlineMs =
    server === null ? wholeStoreMs : job === 'drill' ? config.drill.deadlineMs : server.backupDeadlineMs
  return {
    id: run.id,
    queue: queueOf(job, lastMs > largeMs, server?.label),
    key: placeKey(order),
    server: name,
    priority: trigger === 'schedule' ? -waitsAlready : personsPriority,
    expireSeconds: Math.ceil((deadlineMs + 3_600_000) / 1000),
    payload: payloadOf(order, run.attempt, source),
  }
}

export function queueOf(job: Run['job'], isLarge: boolean, label: string | undefined): string {
  const base = job === 'roles' ? 'backup' : job === 'backup' && isLarge ? 'backup-large' : job
  return label === undefined ? base : `${base}.${label}`
}

/** What a worker has free, and what it does already. */
export type Places = { readonly most: number; readonly taken: number; readonly takenByLong: number }

/**
 * The queues that a worker takes from now, the best first. One of several places is kept for what is quick; a drill or a
 * sync is not begun while a backup waits.
 */
export function queuesFor({ may, labels }: Pick<FleetConfig, 'may' | 'labels'>, places: Places): readonly string[] {
  if (places.taken >= places.most) return []
  const withLabels = (base: string): string[] => [base, ...labels.map((label) => `${base}.${label}`)]
  const isFor = (duty: WorkerDuty, ...bases: string[]): string[] =>
    may.includes(duty) ? bases.flatMap((base) => withLabels(base)) : []
  const mayTakeLong = places.takenByLong < Math.max(1, places.most - 1)
  const large = mayTakeLong ? isFor('backup', 'backup-large') : []
  const quick = isFor('backup', 'backup')
  return [
    // With one place alone the quick ones must not wait for hours.
    ...(places.most > 1 ? [...large, ...quick] : [...quick, ...large]),
    ...(may.includes('prune') ? ['prune'] : []),
    ...(mayTakeLong ? [...isFor('drill', 'drill'), ...(may.includes('sync') ? ['sync'] : [])] : []),
  ]
}

/** Whether a worker may take what is in this queue. */
export function isFor({ may, labels }: Pick<FleetConfig, 'may' | 'labels'>, queue: string): boolean {
  const label = labelOf(queue)
  return may.includes(dutyOf(queue)) && (label === undefined || labels.includes(label))
}

export function dutyOf(queue: string): WorkerDuty {
  return (queue.split('.', 1)[0] ?? '').replace(/-large$/, '') as WorkerDuty
}

export function labelOf(queue: string): string | undefined {
  const dot = queue.indexOf('.')
  return dot === -1 ? undefined : queue.slice(dot + 1)
}

/** Whether it holds a place that quick ones would wait for. */
export function isLong(queue: string): boolean {
  return /^(?:backup-large|drill|sync)/.test(queue)
}
