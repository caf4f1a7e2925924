import type { WorkerSign } from '../jobs/queue-view.ts'
import type { Payload } from './payload.ts'

/** Of the queue's entries; those of the dead are copies. */
export type EntryState = 'created' | 'retry' | 'active' | 'completed' | 'cancelled' | 'failed'

export type NewEntry = {
  readonly id: string
  readonly queue: string
  /** One that is queued or active with the same key keeps this one out. */
  readonly key: string
  /** Empty for what concerns the whole store. */
  readonly server: string
  /** The highest first. */
  readonly priority: number
  /** After so long it counts as lost, whatever its worker says. */
  readonly expireSeconds: number
  readonly payload: Payload
}

/** An entry in the hands of this worker. */
export type TakenEntry = {
  readonly id: string
  readonly queue: string
  /** How often it was taken before. */
  readonly retries: number
  readonly queuedAt: Date
  readonly data: unknown
}

export type EntryRow = {
  readonly id: string
  readonly queue: string
  readonly state: EntryState
  readonly data: unknown
  readonly output: unknown
  readonly queuedAt: Date
  readonly startedAt: Date | null
  readonly finishedAt: Date | null
  readonly retries: number
  /** Of a copy among the dead: the queue that it was in. */
  readonly source: string | null
}

export type TakeRules = {
  /** In this order. */
  readonly queues: readonly string[]
  /** Servers whose entries are left alone. */
  readonly ignored: readonly string[]
  /** The same in one of these queues alone. */
  readonly ignoredIn: ReadonlyMap<string, readonly string[]>
  /** How many backups of one server go on at the same time; no limit where there is none. */
  readonly perServer: ReadonlyMap<string, number>
  readonly backupsInAll: number | undefined
}

/** What became of an entry, for whoever mirrors it. */
export type Outcome = {
  readonly state: 'succeeded' | 'failed' | 'cancelled' | 'inconclusive'
  readonly worker: string
  readonly startedAt: string | null
  readonly finishedAt: string
  readonly label: string | null
  readonly error: { readonly code: string; readonly message: string; readonly hint: string } | null
}

export type Signed = {
  /** The control database's time. */
  readonly now: Date
  /** No sign by this name was there. */
  readonly isFirst: boolean
}

/** What is said of an entry that is set aside. */
export type Aside = { readonly code: string; readonly reason: string }

/**
 * The queue as a worker sees it: a few questions to the control database. All of them throw FLEET_UNREACHABLE if it does
 * not answer; none changes anything then that a second call would not.
 */
export type Control = {
  /** Adds what is not there yet; the ids of what was added. */
  add(entries: readonly NewEntry[]): Promise<ReadonlySet<string>>
  /** The next entry that may be taken; null if there is none. */
  take(rules: TakeRules): Promise<TakenEntry | null>
  /** Says that this worker is alive; the ids of those that are still in its hands. */
  touch(entries: readonly TakenEntry[]): Promise<ReadonlySet<string>>
  /** Nothing happens to one that is not in this worker's hands any more. */
  finish(entry: TakenEntry, outcome: Outcome): Promise<void>
  /** For another worker: at once, or after a while. */
  putBack(entry: TakenEntry, afterMs?: number): Promise<void>
  setAside(entry: TakenEntry, aside: Aside): Promise<void>
  cancel(id: string): Promise<void>
  /** As if it had never been ordered; nothing happens to one that has been taken. */
  discard(queue: string, id: string): Promise<void>
  /** Everything that is open, and what has ended after an instant (of the control database). */
  changes(since: Date | null): Promise<{ readonly rows: readonly EntryRow[]; readonly now: Date }>
  find(ids: readonly string[]): Promise<readonly EntryRow[]>
  forget(deadId: string): Promise<void>
  /**
   * Keeps the worker's sign of life. Throws FLEET_NAME_TAKEN if another living process signs by this name; with `claims`
   * the name is this process's from now on.
   */
  sign(sign: WorkerSign, name: { readonly instance: string; readonly claims: boolean }): Promise<Signed>
  signs(): Promise<readonly WorkerSign[]>
  /** Nothing happens to the sign of another process. */
  signOff(worker: string, instance: string): Promise<void>
  /** Whether this process has the turn; takes it if nobody has. */
  takeTurn(): Promise<boolean>
  leaveTurn(): Promise<void>
  /** Gives what dead workers had in hand to others, and removes what is old. */
  supervise(): Promise<void>
  /** Never throws. */
  close(): Promise<void>
}

export const deadQueue = 'dead'
export const workersQueue = 'workers'

/** How long an entry that has ended is kept. */
export const keepEndedSeconds = 2 * 86_400
/** How often an entry is given to another worker after the death of one. */
export const mostRetries = 3
/** A worker whose clock differs by more orders nothing. */
export const mostOffsetMs = 60_000
