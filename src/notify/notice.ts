import type { Job } from '../catalog/runs.ts'

/** What is told to whoever is no program of ours; the format is documented in docs/notifications.md. */
export type Notice = {
  readonly version: 1
  /** Of this notice. */
  readonly id: string
  readonly event: NoticeEvent
  /** One line. */
  readonly title: string
  /** What happened, what is protected still and what to do, in lines. */
  readonly text: string
  readonly server: string | null
  readonly database: string | null
  /** Where one notice tells of several of that server: all of them. */
  readonly databases: readonly string[] | null
  readonly job: Job | null
  /** Null if it is about a run. */
  readonly condition: ConditionKind | null
  /** Of the backup or the drill. */
  readonly label: string | null
  /** Of a drill. */
  readonly verdict: 'passed' | 'failed' | 'inconclusive' | null
  /** From the register of errors. */
  readonly code: string | null
  readonly message: string | null
  readonly hint: string | null
  /** When the failure began; ISO 8601, as all times. */
  readonly since: string | null
  readonly at: string
  readonly runId: string | null
  /** The same in a failure, its reminders and its recovery. */
  readonly incident: string | null
  /** Told before, and lasts. */
  readonly isReminder: boolean
  /** Nothing has happened. */
  readonly isTest: boolean
  readonly objectives: { readonly rpoSeconds: number | null; readonly rtoSeconds: number | null } | null
  readonly newestBackup: StoredPoint | null
  readonly newestVerifiedBackup: StoredPoint | null
  /** The machine that pgproof runs on. */
  readonly host: string
}

export type NoticeEvent = 'failure' | 'recovery' | 'success' | 'test'

export type StoredPoint = { readonly label: string; readonly snapshotTime: string }

/** What can be wrong without a run that fails. */
export type ConditionKind =
  | 'store-down'
  | 'recovery-point'
  | 'restore-time'
  | 'no-proof'
  | 'key-expiry'
  | 'schedule-paused'
  | 'config-refused'
  | 'database-missing'
  | 'control-down'
  | 'dead-entry'
  | 'worker-gone'
