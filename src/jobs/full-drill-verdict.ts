import { cpus, totalmem } from 'node:os'
import type { CatalogBackup } from '../catalog/catalog.ts'
import { type DrillPhase, type DrillReport, encodeDrillReport, type Verdict } from '../domain/drill-report.ts'
import {
  encodeFullDrillReport,
  type FullDrillDatabase,
  type FullDrillReport,
  fullDrillReportFormat,
} from '../domain/full-drill-report.ts'
import type { DrillResult } from '../drill/drill-request.ts'
import { publicReason } from '../drill/drill-verdict.ts'
import { type ScratchReach, scratchKind } from '../drill/scratch.ts'
import { signDetached } from '../encryption/sign.ts'
import { PgproofError } from '../errors.ts'
import type { JobParts } from '../parts.ts'
import { fullDrillReportKey } from '../storage/object-keys.ts'
import { measureBytes } from '../streams/measure.ts'
import { version } from '../version.ts'
import type { FullDrillRequest } from './full-drill-request.ts'

/** What became of the drill of one database; without a result there is no report of it. */
export type Carried = {
  readonly database: string
  readonly result: DrillResult | null
  readonly error: PgproofError | null
}

export type FullJudgeInput = {
  readonly request: FullDrillRequest
  readonly label: string
  readonly startedAt: Date
  readonly wholeMs: number
  /** In the order of the request; fewer if the full drill ended early. */
  readonly carried: readonly Carried[]
  readonly serverVersion: string | null
  readonly reach: ScratchReach | null
  /** What ended the full drill early; null if it came to its end. */
  readonly error: PgproofError | null
  readonly parts: JobParts
}

/** The report before it is signed, and why it is not `passed`. Names no table, as every report. */
export function judgeFullDrill(input: FullJudgeInput): {
  readonly report: FullDrillReport
  readonly error: PgproofError | null
} {
  const { request, carried, parts } = input
  const { drills, missing, unreadable } = request
  const drilled = new Set(drills.map(({ drill }) => drill.database))
  const databases = [
    ...drills.map((_, index) => withNewest(resultOf(index, input), unreadable)),
    ...missing.map((name) => withoutBackup(name, new PgproofError('NO_BACKUP', { what: `database ${name}` }))),
    ...[...unreadable].filter(([name]) => !drilled.has(name)).map(([name, error]) => withoutBackup(name, error)),
  ]
  const error = errorOf(databases, input)
  const reports = carried.flatMap(({ result }) => result?.report ?? [])
  const restoreTimes = databases.map(({ restoreTimeSeconds }) => restoreTimeSeconds)
  const restore = sum(restoreTimes.map((time) => time ?? 0))
  const instants = request.drills.map(({ backup }) => backup.manifest.snapshotTime).toSorted()
  const [oldest] = instants
  const newest = instants.at(-1)
  const report: FullDrillReport = {
    format: fullDrillReportFormat,
    label: input.label,
    server: request.server,
    storeId: parts.storeId,
    pgproofVersion: version,
    startedAt: input.startedAt.toISOString(),
    finishedAt: parts.clock.now().toISOString(),
    verdict: verdictOfAll(databases, input),
    reason: error === null ? null : publicReason(error),
    rolesBackup: rolesOf(request.rolesBackup, reports),
    databases,
    seconds: {
      roles: phaseSeconds(reports, 'roles'),
      restore,
      verification: phaseSeconds(reports, 'verify'),
      whole: Math.round(input.wholeMs) / 1000,
    },
    recoveryPoints: oldest === undefined || newest === undefined ? null : { oldest, newest },
    environment: {
      scratch: scratchKind(request.scratch),
      serverVersion: input.serverVersion,
      network: input.reach?.network ?? null,
      notIsolated: input.reach?.notIsolated ?? null,
      jobs: request.jobs,
      cpus: cpus().length,
      cpuModel: cpus()[0]?.model ?? 'unknown',
      memoryBytes: totalmem(),
    },
    rtoSeconds: request.rtoMs === null ? null : request.rtoMs / 1000,
    objective: objectiveOf(request.rtoMs, restoreTimes),
    signer: null,
  }
  return { report, error }
}

/** Writes the signature, then the report. Works for a cancelled full drill, too. Returns the report as stored. */
export async function storeFullReport(
  report: FullDrillReport,
  { signingKey, trustedSigners }: Pick<FullDrillRequest, 'signingKey' | 'trustedSigners'>,
  { stores, clock, log }: Pick<JobParts, 'stores' | 'clock' | 'log'>,
): Promise<FullDrillReport> {
  const signal = AbortSignal.timeout(120_000)
  const signer = signingKey?.fingerprint ?? null
  const stored = { ...report, signer }
  const bytes = encodeFullDrillReport(stored)
  const key = fullDrillReportKey(report.server, report.label)
  const signature =
    signingKey === null ? [] : [{ key: `${key}.sig`, body: await signDetached(bytes, signingKey, clock.now()) }]
  await stores.putInOrder([...signature, { key, body: bytes }], signal)
  if (trustedSigners !== null && (signer === null || !trustedSigners.fingerprints.includes(signer)))
    log.warn({ key }, 'the report of this full drill proves nothing: no trusted signer signed it')
  return stored
}

function resultOf(index: number, { request, carried, error }: FullJudgeInput): FullDrillDatabase {
  const { drill, backup, isConfigured } = request.drills[index] as FullDrillRequest['drills'][number]
  const { label, snapshotTime } = backup.manifest
  const own = carried[index]
  const unmeasured = {
    database: drill.database,
    isConfigured,
    backup: { label, snapshotTime, manifestSha256: backup.manifestSha256 },
    drill: null,
    restoreTimeSeconds: null,
    ...nothingCompared,
    omissions: [...backup.manifest.omissions],
  }
  if (own?.result == null) {
    const why = own?.error ?? error ?? new PgproofError('CANCELLED', { what: 'the full drill' })
    return { ...unmeasured, verdict: 'inconclusive', reason: publicReason(why) }
  }
  const { report } = own.result
  const { tables, rows, objects, countOnly, off, differences } = report.compared
  const { dumpBytes: _dumpBytes, ...drilled } = report.backup
  return {
    ...unmeasured,
    backup: drilled,
    drill: { label: report.label, sha256: measureBytes(encodeDrillReport(report)).sha256 },
    verdict: report.verdict,
    reason: report.reason,
    restoreTimeSeconds: report.restoreTimeSeconds,
    ...{ tables, rows, objects, countOnly, off, differences },
    checks: report.checks.map(({ name, result }) => ({ name, result })),
    omissions: report.omissions,
  }
}

const nothingCompared = { tables: 0, rows: 0, objects: 0, countOnly: 0, off: 0, differences: 0, checks: [] }

/** A backup that is not the newest proves nothing of that one. */
function withNewest(one: FullDrillDatabase, unreadable: FullDrillRequest['unreadable']): FullDrillDatabase {
  const error = unreadable.get(one.database)
  return error === undefined || one.verdict === 'failed'
    ? one
    : { ...one, verdict: 'failed', reason: publicReason(error) }
}

/** What has no backup cannot be rebuilt, whatever is in the store: that is the very thing a full drill asks. */
function withoutBackup(database: string, error: PgproofError): FullDrillDatabase {
  return {
    database,
    isConfigured: true,
    backup: null,
    drill: null,
    verdict: 'failed',
    reason: publicReason(error),
    restoreTimeSeconds: null,
    ...nothingCompared,
    omissions: [],
  }
}

function verdictOfAll(databases: readonly FullDrillDatabase[], { request, error }: FullJudgeInput): Verdict {
  const isAny = (wanted: Verdict): boolean => databases.some(({ verdict }) => verdict === wanted)
  // A missing backup is known without any drill; what was cut short has shown nothing else.
  if (isAny('failed') || request.rolesBackup === null) return 'failed'
  return error !== null || isAny('inconclusive') ? 'inconclusive' : 'passed'
}

/** A cancelled one says so, whatever was found until then; the verdict and the databases say the rest. */
function errorOf(databases: readonly FullDrillDatabase[], input: FullJudgeInput): PgproofError | null {
  const { request, label, carried, error } = input
  if (error !== null) return error
  const { server } = request
  const verdict = verdictOfAll(databases, input)
  if (verdict === 'passed') return null
  const details = carried
    .flatMap(({ database, error: own }) => (own === null ? [] : [`${database}: ${own.message}`]))
    .join('\n')
  const bad = databases.filter((one) => one.verdict === verdict)
  const reasons = bad.map(({ database, reason }) => `${database} (${reason?.message ?? verdict})`)
  if (verdict === 'inconclusive') {
    const values = { server, label, reason: reasons.join(', ') }
    return new PgproofError('FULL_DRILL_INCONCLUSIVE', values, { details })
  }
  if (request.rolesBackup === null) reasons.push('the roles (no backup of them is in the store)')
  return new PgproofError('FULL_DRILL_FAILED', { server, label, reason: reasons.join(', ') }, { details })
}

/** A drill's own report leaves them out where there was nothing to compare; they were replayed all the same. */
function rolesOf(backup: CatalogBackup | null, reports: readonly DrillReport[]): FullDrillReport['rolesBackup'] {
  const isReplayed = reports.some(({ checks }) =>
    checks.some(({ name, result, detail }) => name === 'roles' && (result === 'passed' || detail !== null)),
  )
  if (backup === null || !isReplayed) return null
  const { label, snapshotTime, rolePasswords } = backup.manifest
  return { label, manifestSha256: backup.manifestSha256, snapshotTime, passwords: rolePasswords ?? 'absent' }
}

function phaseSeconds(reports: readonly DrillReport[], wanted: DrillPhase): number {
  return sum(
    reports.flatMap(({ phases }) => phases.filter(({ name }) => name === wanted).map((phase) => phase.seconds)),
  )
}

function objectiveOf(rtoMs: number | null, restoreTimes: readonly (number | null)[]): FullDrillReport['objective'] {
  if (rtoMs === null) return 'none'
  if (restoreTimes.includes(null)) return 'unmeasured'
  return sum(restoreTimes.map((time) => time ?? 0)) * 1000 <= rtoMs ? 'met' : 'missed'
}

/** Of seconds, to the millisecond. */
function sum(values: readonly number[]): number {
  return Math.round(values.reduce((total, value) => total + value, 0) * 1000) / 1000
}
