import { z } from 'zod'
import { reportSchema } from '../domain/drill-report.ts'
import { manifestSchema } from '../domain/manifest.ts'
import { progressKeys } from '../domain/run-progress.ts'
import type { ListedBackup } from './documents.ts'

/** As much of a daemon's answers as commands need; a newer daemon may say more. */

const instant = z.iso.datetime()
const date = instant.transform((text) => new Date(text))
const count = z.number()
const failure = z.object({ code: z.string(), message: z.string(), hint: z.string() })
const omissions = z.array(z.object({ kind: z.string(), objects: count }))
const place = { server: z.string(), database: z.string() }
export const daemonRun = z.object({
  id: z.string(),
  job: z.enum(['backup', 'roles', 'drill', 'prune', 'sync']),
  server: z.string(),
  database: z.string().nullable(),
  /** Of a fleet. */
  worker: z.string().nullable().default(null),
  trigger: z.string(),
  state: z.string(),
  position: count.nullable(),
  queuedAt: date,
  startedAt: date.nullable(),
  finishedAt: date.nullable(),
  label: z.string().nullable(),
  error: failure.nullable(),
  progress: z.object(progressKeys).nullable(),
})
export type DaemonRun = z.output<typeof daemonRun>

const daemonFailure = daemonRun.extend({ isOver: z.boolean() })
export type DaemonFailure = z.output<typeof daemonFailure>

const daemonPause = z
  .object({
    id: z.string(),
    server: z.string().nullable(),
    database: z.string().nullable(),
    jobs: z.array(z.string()),
    since: instant,
    until: instant,
    reason: z.string(),
    by: z.string(),
  })
  .transform(({ id, ...pause }) => ({ label: id, ...pause }))

const proof = {
  verifiedAt: date.nullable(),
  lastDrilledAt: date.nullable(),
  lastVerdict: z.enum(['passed', 'failed', 'inconclusive']).nullable(),
  // An older daemon does not say it.
  isKnownBad: z.boolean().optional(),
  faults: z.array(z.string()),
}

const backupFields = z.object({
  label: z.string(),
  kind: z.enum(['database', 'roles']),
  server: z.string(),
  database: z.string().nullable(),
  snapshotTime: instant,
  finishedAt: instant,
  dumpBytes: count,
  storedBytes: count,
  evidence: manifestSchema.shape.evidence.nullable(),
  omissions,
  isSigned: z.boolean(),
  ...proof,
})

export const daemonBackup = backupFields.transform((answer): ListedBackup => {
  const { label, kind, server, database, snapshotTime, finishedAt, dumpBytes, evidence, omissions: left } = answer
  const { storedBytes, isSigned, verifiedAt, lastDrilledAt, lastVerdict, faults } = answer
  const { isKnownBad = lastVerdict === 'failed' } = answer
  return {
    manifest: {
      ...{ label, kind, server, database, snapshotTime, finishedAt },
      dump: { bytes: dumpBytes },
      evidence: evidence ?? { level: 'off', tables: 0, rows: 0 },
      omissions: left,
    },
    snapshotTime: new Date(snapshotTime),
    ...{ storedBytes, hasSignature: isSigned, verifiedAt, lastDrilledAt, lastVerdict, isKnownBad, faults },
  }
})

export const daemonBackupDetails = z.object({
  manifest: manifestSchema,
  manifestSha256: z.string(),
  folder: z.string(),
  storedBytes: count,
  isSigned: z.boolean(),
  ...proof,
})

export const daemonDrill = reportSchema
  .pick({ label: true, server: true, database: true, verdict: true, reason: true, startedAt: true, finishedAt: true })
  .extend({
    ...reportSchema.pick({ restoreTimeSeconds: true, compared: true }).shape,
    backup: reportSchema.shape.backup.loose(),
    rolesBackup: z.looseObject({ label: z.string(), manifestSha256: z.string() }).nullable(),
  })
  .loose()

/** A report, but for what only says in which store it lies. */
export const daemonDrillDetails = reportSchema.omit({ format: true, storeId: true, store: true }).loose()

export const pageOf = <T extends z.ZodType>(item: T) => z.object({ items: z.array(item), next: z.string().nullable() })

const objective = z.object({
  objectiveSeconds: count.nullable(),
  measuredSeconds: count.nullable(),
  status: z.enum(['met', 'missed', 'unmeasured', 'no objective']),
})
const waiting = z.object({ label: z.string(), since: date }).nullable()
const newestBackup = backupFields
  .pick({ label: true, snapshotTime: true, finishedAt: true, dumpBytes: true })
  .extend(proof)

const gap = z.object({
  kind: z.enum(['database', 'roles']),
  server: z.string(),
  database: z.string().nullable(),
  label: z.string(),
  found: z.enum(['removed', 'replaced', 'returned']),
  witnesses: z.array(z.object({ by: z.enum(['manifest', 'drill report', 'prune record']), label: z.string() })),
})

export const daemonStatus = z.object({
  version: z.string(),
  time: date,
  isReady: z.boolean(),
  reasons: z.array(z.string()),
  databases: z.array(
    z.object({
      ...place,
      newestBackup: newestBackup.nullable(),
      recoveryPoint: instant.nullable(),
      retained: z.object({ any: count, verified: count }),
      oldestUnverified: waiting,
      leastRecentlyVerified: waiting,
      drilledWithin: z.object({ drills: count.nullable(), seconds: count.nullable() }),
      lastDrill: daemonDrill.nullable(),
      lastPassedDrill: daemonDrill.nullable(),
      restoreTimeForecastSeconds: count.nullable(),
      objectives: z.object({ recoveryPoint: objective, restoreTime: objective, forecast: objective }),
      next: z.array(z.object({ job: z.string(), intervalSeconds: count })),
    }),
  ),
  roles: z.array(
    z.object({
      server: z.string(),
      newestBackup: newestBackup.pick({ label: true, snapshotTime: true, finishedAt: true }).nullable(),
      // Of newer daemons.
      intervalSeconds: count.nullable().optional(),
    }),
  ),
  runs: z.array(daemonRun),
  failures: z.array(daemonFailure),
  pauses: z.array(daemonPause),
  store: z.object({
    isComplete: z.boolean(),
    places: z.array(
      z.object({
        name: z.string(),
        isRequired: z.boolean(),
        url: z.string(),
        isComplete: z.boolean(),
        problem: z.string().nullable(),
        backups: count,
        lackingBackups: count,
      }),
    ),
    orphanObjects: count,
    damagedObjects: count,
    historyGaps: z.array(gap),
  }),
})
export type DaemonStatus = z.output<typeof daemonStatus>
export type DaemonDatabase = DaemonStatus['databases'][number]

export const daemonOrderedDrills = z.object({
  ordered: z.array(daemonRun),
  refused: z.array(z.object({ ...place, ...failure.shape, run: z.string().nullable() })),
})

const somewhere = { server: z.string().nullable(), database: z.string().nullable() }

export const daemonQueue = z.object({
  isReachable: z.boolean(),
  reason: z.string().nullable(),
  asOf: date,
  queues: z.array(
    z.object({
      name: z.string(),
      queued: count,
      active: count,
      failed: count,
      oldestQueuedAt: date.nullable(),
      // Of newer daemons.
      unserved: z.string().nullish(),
    }),
  ),
  dead: z.array(
    z.object({
      ...{ id: z.string(), job: daemonRun.shape.job.nullable(), ...somewhere },
      ...{ at: date, code: z.string(), reason: z.string() },
    }),
  ),
  workers: z.array(
    z.object({
      ...{ name: z.string(), labels: z.array(z.string()), may: z.array(z.string()), version: z.string(), seenAt: date },
      ...{ isAlive: z.boolean(), hasTurn: z.boolean(), places: count, clockOffsetSeconds: count },
      running: z.array(
        daemonRun.pick({ job: true, server: true, database: true, progress: true }).extend({
          run: z.string(),
          since: date,
        }),
      ),
      refused: z.array(
        z.object({
          server: z.string().nullable(),
          // Of newer daemons.
          job: z.string().nullish(),
          code: z.string(),
          reason: z.string(),
          at: date,
          until: date.nullish(),
        }),
      ),
    }),
  ),
  vanished: z.array(z.object(place)),
})
export type DaemonQueue = z.output<typeof daemonQueue>
