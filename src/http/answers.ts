import { z } from 'zod'
import type { CatalogBackup } from '../catalog/catalog.ts'
import type { Run } from '../catalog/runs.ts'
import type { DrillReport } from '../domain/drill-report.ts'
import { type Pause, pausableJobs } from '../domain/pause.ts'
import { publicMessage } from '../domain/public-message.ts'
import { progressKeys } from '../domain/run-progress.ts'
import type { PgproofError } from '../errors.ts'
import { Refusal } from './problem.ts'

/** What answers hold, and how it is made from what the catalog knows. Times are ISO 8601, sizes bytes. */

const instant = z.iso.datetime()
const count = z.int().nonnegative()
const seconds = z.number().nonnegative()

export const failureSchema = z.strictObject({ code: z.string(), message: z.string(), hint: z.string() })

export const runSchema = z.strictObject({
  id: z.string(),
  job: z.enum(['backup', 'roles', 'drill', 'prune', 'sync']),
  server: z.string(),
  database: z.string().nullable(),
  worker: z
    .string()
    .nullable()
    .describe('Which worker of the fleet carries it out; null before one does, and without a fleet.'),
  trigger: z.enum(['schedule', 'http', 'cli', 'backup']),
  attempt: z.int().positive().describe('1 for the first; what failed is tried again as `retry` says.'),
  state: z.enum(['queued', 'running', 'succeeded', 'failed', 'cancelled', 'inconclusive']),
  position: count.nullable().describe('How many runs wait before this one; null when it does not wait.'),
  queuedAt: instant,
  startedAt: instant.nullable(),
  finishedAt: instant.nullable(),
  label: z.string().nullable().describe('Of the backup or drill that it made.'),
  error: failureSchema.nullable(),
  progress: z.strictObject(progressKeys).nullable(),
})
export type RunAnswer = z.infer<typeof runSchema>

/** What of an order for several databases was not ordered, with the register's code. */
export const refusedSchema = failureSchema.extend({
  server: z.string(),
  database: z.string(),
  run: z.string().nullable().describe('With LOCKED: the run that goes on already.'),
})
export type RefusedAnswer = z.infer<typeof refusedSchema>

export const orderedDrillsSchema = z.strictObject({
  ordered: z.array(runSchema).describe('The runs, one for each database.'),
  refused: z.array(refusedSchema).describe('Databases that have a backup and are not drilled, and why.'),
})

export const failedRunSchema = runSchema.extend({
  isOver: z.boolean().describe('Whether the same job has succeeded there since, or of a prune one of everything.'),
})

const omissionSchema = z.strictObject({ kind: z.string(), objects: count })

export const backupSchema = z.strictObject({
  label: z.string(),
  kind: z.enum(['database', 'roles']),
  server: z.string(),
  database: z.string().nullable(),
  snapshotTime: instant.describe('The instant that the dump is consistent with.'),
  startedAt: instant,
  finishedAt: instant,
  dumpBytes: count.describe('Before compression and encryption.'),
  evidence: z
    .strictObject({ level: z.string(), tables: count, rows: count })
    .nullable()
    .describe('What the dump’s snapshot held, as far as it was counted; null for roles.'),
  omissions: z.array(omissionSchema).describe('What the backup does not hold.'),
  storedBytes: count.describe('All objects of the backup in the store.'),
  isSigned: z.boolean(),
  verifiedAt: instant.nullable().describe('When a drill of this backup passed, unless one failed since.'),
  lastDrilledAt: instant.nullable(),
  lastVerdict: z.enum(['passed', 'failed', 'inconclusive']).nullable(),
  isKnownBad: z.boolean().describe('Whether the last drill of it that was not inconclusive failed.'),
  faults: z.array(z.string()).describe('Objects that are missing or of another size; such a backup is of no use.'),
})
export type BackupAnswer = z.infer<typeof backupSchema>

export const backupDetailsSchema = backupSchema.extend({
  manifest: z.record(z.string(), z.unknown()).describe('As docs/format.md describes it.'),
  manifestSha256: z.string(),
  folder: z.string().describe('Where its objects are in the store.'),
})

export const drillSchema = z.strictObject({
  label: z.string(),
  server: z.string(),
  database: z.string(),
  backup: z.strictObject({ label: z.string(), snapshotTime: instant, manifestSha256: z.string(), dumpBytes: count }),
  rolesBackup: z.strictObject({ label: z.string(), manifestSha256: z.string() }).nullable(),
  pick: z.strictObject({ rule: z.enum(['random', 'latest', 'named']), seed: count.nullable() }),
  startedAt: instant,
  finishedAt: instant,
  verdict: z.enum(['passed', 'failed', 'inconclusive']),
  reason: failureSchema.nullable().describe('Why it did not pass.'),
  restoreTimeSeconds: seconds.nullable(),
  rtoSeconds: seconds.nullable(),
  compared: z.strictObject({
    tables: count,
    rows: count,
    objects: count,
    differences: count,
    countOnly: count,
    off: count,
  }),
})
export type DrillAnswer = z.infer<typeof drillSchema>

export const drillDetailsSchema = drillSchema.extend({
  checks: z.array(
    z.strictObject({
      name: z.string(),
      result: z.enum(['passed', 'failed', 'inconclusive', 'skipped']),
      detail: z.string().nullable(),
    }),
  ),
  phases: z.array(z.strictObject({ name: z.string(), seconds })),
  forecastSeconds: seconds.nullable().describe('What a restore of the newest backup would take, as known then.'),
  objective: z.enum(['met', 'missed', 'unmeasured', 'none']).describe('The restore time against the RTO.'),
  omissions: z.array(omissionSchema).describe('What the backup does not hold.'),
  signer: z.string().nullable().describe('Fingerprint of the key that signed the report.'),
  environment: z.record(z.string(), z.unknown()),
  pgproofVersion: z.string(),
  tablesSha256: z.string().nullable(),
})

export const pauseSchema = z.strictObject({
  id: z.string(),
  server: z.string().nullable().describe('Null: every server.'),
  database: z.string().nullable().describe('Null: every database of the server, and its roles.'),
  jobs: z.array(z.enum(pausableJobs)),
  since: instant,
  until: instant,
  reason: z.string(),
  by: z.string().describe('Who asked for it.'),
})
export type PauseAnswer = z.infer<typeof pauseSchema>

export const pageOfSchema = <T extends z.ZodType>(item: T) =>
  z.strictObject({
    items: z.array(item).describe('Newest first.'),
    next: z.string().nullable().describe('The cursor of the next page; null after the last.'),
  })

export function runAnswer(run: Run, position: number | null): RunAnswer {
  const { id, job, server, database, trigger, attempt, state, label, error, progress } = run
  const { queuedAt, startedAt, finishedAt, worker = null } = run
  return {
    ...{ id, job, server, database, worker, trigger, attempt, state, position },
    queuedAt: queuedAt.toISOString(),
    startedAt: startedAt?.toISOString() ?? null,
    finishedAt: finishedAt?.toISOString() ?? null,
    label,
    error: failureAnswer(error),
    progress,
  }
}

export function backupAnswer(backup: CatalogBackup): BackupAnswer {
  const { label, kind, server, database, snapshotTime, startedAt, finishedAt, dump } = backup.manifest
  const { evidence, omissions } = backup.manifest
  return {
    ...{ label, kind, server, database, snapshotTime, startedAt, finishedAt },
    dumpBytes: dump.bytes,
    evidence: kind === 'roles' ? null : evidence,
    omissions,
    storedBytes: backup.storedBytes,
    isSigned: backup.hasSignature,
    verifiedAt: backup.verifiedAt?.toISOString() ?? null,
    lastDrilledAt: backup.lastDrilledAt?.toISOString() ?? null,
    lastVerdict: backup.lastVerdict,
    isKnownBad: backup.isKnownBad,
    faults: [...backup.faults],
  }
}

export function backupDetailsAnswer(backup: CatalogBackup): z.infer<typeof backupDetailsSchema> {
  const { manifest, manifestSha256, folder } = backup
  return { ...backupAnswer(backup), manifest: { ...manifest }, manifestSha256, folder }
}

export function drillAnswer(report: DrillReport): DrillAnswer {
  const { label, server, database, backup, rolesBackup, pick, startedAt, finishedAt, verdict } = report
  const { restoreTimeSeconds, rtoSeconds, compared } = report
  return {
    ...{ label, server, database, backup, rolesBackup, pick, startedAt, finishedAt, verdict },
    reason: failureAnswer(report.reason),
    ...{ restoreTimeSeconds, rtoSeconds, compared },
  }
}

export function drillDetailsAnswer(report: DrillReport): z.infer<typeof drillDetailsSchema> {
  const { phases, environment, pgproofVersion, tablesSha256, checks } = report
  const { forecastSeconds, objective, omissions, signer } = report
  return {
    ...drillAnswer(report),
    checks: checks.map((check) => ({ ...check, detail: publicDetail(check) })),
    ...{ phases, forecastSeconds, objective, omissions, signer },
    ...{ environment, pgproofVersion, tablesSha256 },
  }
}

export function pauseAnswer({ label, server, database, jobs, since, until, reason, by }: Pause): PauseAnswer {
  return { id: label, server, database, jobs, since, until, reason, by }
}

export function refusedAnswer({ server, database }: Place, error: PgproofError): RefusedAnswer {
  const { code, message, hint } = error
  const run = error instanceof Refusal ? (error.run ?? null) : null
  return { server, database, code, message: publicMessage(code, message), hint, run }
}

type Place = { readonly server: string; readonly database: string }

export function failureAnswer(error: Run['error']): Run['error'] {
  return error === null ? null : { ...error, message: publicMessage(error.code, error.message) }
}

/** What a check of the restored data says when it fails is PostgreSQL's own message, and names tables. */
function publicDetail({ name, result, detail }: DrillReport['checks'][number]): string | null {
  const isOfData = name.startsWith('sql: ') || name === 'roles' || name === 'restore'
  return isOfData && result !== 'passed' ? (detail?.replace(/: .*$/s, '') ?? null) : detail
}
