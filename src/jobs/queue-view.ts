import type { Job, RunProgress } from '../catalog/runs.ts'
import type { WorkerDuty } from '../config/fleet-config.ts'

/** What a queue and its workers are doing, for `GET /v1/queue`, the page and the metrics; the same shape with and without a fleet. */
export type QueueView = {
  /** False while the control database does not answer; then the rest is as it was at `asOf`. */
  readonly isReachable: boolean
  readonly reason: string | null
  /** The register's code of the reason. */
  readonly code?: string | undefined
  readonly asOf: Date
  readonly queues: readonly QueueCounts[]
  readonly dead: readonly DeadEntry[]
  readonly workers: readonly WorkerView[]
  /** Databases that have backups and are configured, but which their server does not have any more. */
  readonly vanished: readonly { readonly server: string; readonly database: string }[]
}

export type QueueCounts = {
  readonly name: string
  /** All that wait, also what a pause holds back. */
  readonly queued: number
  readonly active: number
  /** Of the last two days. */
  readonly failed: number
  /** Of those that no pause holds back: these wait for a place or a worker. */
  readonly oldestQueuedAt: Date | null
  /** Why no worker that lives takes what has waited there for long; absent or null where one does. */
  readonly unserved?: string | null | undefined
}

/** What no worker survived, or none can read. `job` and the place are null where even they cannot be read. */
export type DeadEntry = {
  readonly id: string
  readonly job: Job | null
  readonly server: string | null
  readonly database: string | null
  readonly at: Date
  readonly code: string
  readonly reason: string
}

export type WorkerView = WorkerSign & { readonly isAlive: boolean }

/** What a worker says of itself with each sign of life. */
export type WorkerSign = {
  readonly name: string
  readonly labels: readonly string[]
  readonly may: readonly WorkerDuty[]
  readonly version: string
  /** By the clock of the control database. */
  readonly seenAt: Date
  readonly hasTurn: boolean
  /** How many runs it carries out at the same time at most. */
  readonly places: number
  readonly running: readonly WorkerRun[]
  /** How far its clock is ahead of the control database's. */
  readonly clockOffsetSeconds: number
  readonly refused: readonly Refused[]
  /** By which rules it prunes; absent where an older version says nothing of it. */
  readonly pruneRules?: PruneRules | undefined
  /** It takes nothing any more, and ends when its runs have. */
  readonly isClosing?: boolean | undefined
}

/** Digests: `shared` of what is decided for all servers; `servers` has by their digest the names of those it is of. */
export type PruneRules = {
  readonly shared: string
  readonly servers: Readonly<Record<string, readonly string[]>>
}

export type WorkerRun = {
  readonly run: string
  readonly job: Job
  readonly server: string
  readonly database: string | null
  readonly since: Date
  readonly progress: RunProgress | null
}

/**
 * What a worker does not do for a while: take entries of a server, or with null of a whole queue; with
 * FLEET_RETENTION_DIFFERS prune a server, or with null remove old drill reports, or with null and the job `prune` several
 * servers.
 */
export type Refused = {
  readonly server: string | null
  /** Only entries of this job (`backup`, `drill`, …); absent: of all. */
  readonly job?: string | null | undefined
  readonly code: string
  readonly reason: string
  readonly at: Date
  /** When it takes them again; absent where that is not known. */
  readonly until?: Date | null | undefined
}
