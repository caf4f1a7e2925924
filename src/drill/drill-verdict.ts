import { cpus, totalmem } from 'node:os'
import type { CatalogBackup } from '../catalog/catalog.ts'
import { pastRestores } from '../catalog/database-status.ts'
import { type Checklist, verdictOf } from '../domain/checklist.ts'
import {
  type CheckResult,
  type DrillPhase,
  type DrillReport,
  drillReportFormat,
  encodeDrillReport,
} from '../domain/drill-report.ts'
import { type DrillTables, drillTablesFormat, encodeDrillTables } from '../domain/drill-tables.ts'
import { forecastRestoreSeconds } from '../domain/restore-forecast.ts'
import { encryptBytes } from '../encryption/encrypt.ts'
import { signDetached } from '../encryption/sign.ts'
import type { ErrorCode, PgproofError } from '../errors.ts'
import type { Phases } from '../restore/phases.ts'
import { drillReportKey, drillSignatureKey, drillTablesKey } from '../storage/object-keys.ts'
import { measureBytes } from '../streams/measure.ts'
import { version } from '../version.ts'
import { distrustOf } from './distrust.ts'
import type { DrillParts, DrillRequest } from './drill-request.ts'
import { type ScratchReach, scratchKind } from './scratch.ts'

/** What a drill has found out by the time it ends, however it ended. */
export type DrillFindings = {
  tables: DrillTables | null
  serverVersion: string | null
  reach: ScratchReach | null
  rolesBackup: DrillReport['rolesBackup']
  restoreMs: number | null
  /** What is no defect and should be known. */
  readonly notes: string[]
}

export type JudgeInput = {
  readonly request: DrillRequest
  readonly picked: CatalogBackup
  /** The store whose copy was restored. */
  readonly copy: string
  readonly label: string
  readonly startedAt: Date
  readonly checklist: Checklist
  readonly phases: Phases<DrillPhase>
  readonly findings: DrillFindings
  readonly error: PgproofError | null
  readonly parts: DrillParts
}

/** The report without its tables object. Names no table: differences are named in the encrypted part only. */
export function judgeDrill(input: JudgeInput): DrillReport {
  const { request, picked, findings, error, parts } = input
  const compared = findings.tables?.tables ?? []
  return {
    format: drillReportFormat,
    label: input.label,
    server: request.server,
    database: request.database,
    storeId: parts.storeId,
    store: input.copy,
    pgproofVersion: version,
    backup: {
      label: picked.manifest.label,
      snapshotTime: picked.manifest.snapshotTime,
      manifestSha256: picked.manifestSha256,
      dumpBytes: picked.manifest.dump.bytes,
    },
    rolesBackup: findings.rolesBackup,
    pick: {
      rule: request.backup === null ? request.rule : 'named',
      seed: request.backup === null && request.rule === 'random' ? request.seed : null,
    },
    startedAt: input.startedAt.toISOString(),
    finishedAt: parts.clock.now().toISOString(),
    verdict: error === null ? 'passed' : verdictOf(error),
    reason: error === null ? null : publicReason(error),
    checks: input.checklist.results().map((check) => ({ ...check, detail: publicDetail(check) })),
    phases: [{ name: 'queue', seconds: request.queuedSeconds }, ...input.phases.results()],
    restoreTimeSeconds: findings.restoreMs === null ? null : seconds(findings.restoreMs),
    rtoSeconds: request.rtoMs === null ? null : request.rtoMs / 1000,
    forecastSeconds: forecastWith(input),
    objective: objectiveOf(request.rtoMs, findings.restoreMs),
    environment: {
      scratch: scratchKind(request.scratch),
      serverVersion: findings.serverVersion,
      network: findings.reach?.network ?? null,
      notIsolated: findings.reach?.notIsolated ?? null,
      jobs: request.jobs,
      cpus: cpus().length,
      cpuModel: cpus()[0]?.model ?? 'unknown',
      memoryBytes: totalmem(),
    },
    compared: {
      tables: compared.filter(({ compared: how }) => how !== 'nothing').length,
      rows: compared.reduce((sum, { restoredRows }) => sum + (restoredRows ?? 0), 0),
      objects: findings.tables?.structure?.compared ?? 0,
      countOnly: compared.filter(({ compared: how }) => how === 'rows').length,
      off: compared.filter(({ compared: how, result }) => how === 'nothing' && result === 'not compared').length,
      differences:
        (findings.tables?.structure?.differences.length ?? 0) +
        compared.filter(({ result }) => result !== 'equal' && result !== 'not compared').length +
        (findings.tables?.sequences.filter(({ result }) => result !== 'equal' && result !== 'ahead').length ?? 0) +
        ((findings.tables?.largeObjects?.result ?? 'equal') === 'equal' ? 0 : 1),
    },
    omissions: [...picked.manifest.omissions],
    signer: null,
    tablesSha256: null,
  }
}

/**
 * Writes the encrypted tables, the signature and then the report, which makes the drill count. Works for a cancelled
 * drill too: what was found out is worth keeping. Returns the report as stored.
 */
export async function storeReport(
  report: DrillReport,
  found: { readonly tables: DrillTables | null; readonly notes: string[]; readonly error: PgproofError | null },
  request: DrillRequest,
  parts: DrillParts,
): Promise<DrillReport> {
  const signal = AbortSignal.timeout(120_000)
  const { server, database, label } = report
  let tablesSha256: string | null = null
  const objects: { readonly key: string; readonly body: Uint8Array }[] = []
  const { error } = found
  const errorDetails = error === null ? null : [error.message, error.details ?? ''].join('\n').trim()
  if (found.tables !== null || errorDetails !== null) {
    const none: DrillTables = {
      format: drillTablesFormat,
      label,
      errorDetails,
      notes: found.notes,
      structure: null,
      tables: [],
      sequences: [],
      largeObjects: null,
    }
    const tables = { ...(found.tables ?? none), errorDetails }
    const encrypted = await encryptBytes(encodeDrillTables(tables), request.recipients, parts.clock.now())
    objects.push({ key: drillTablesKey(server, database, label), body: encrypted })
    tablesSha256 = measureBytes(encrypted).sha256
  }
  const { signingKey, trustedSigners } = request
  const stored = { ...report, signer: signingKey?.fingerprint ?? null, tablesSha256 }
  const bytes = encodeDrillReport(stored)
  if (signingKey !== null) {
    const signature = await signDetached(bytes, signingKey, parts.clock.now())
    objects.push({ key: drillSignatureKey(server, database, label), body: signature })
  }
  objects.push({ key: drillReportKey(server, database, label), body: bytes })
  const names = await parts.stores.putInOrder(objects, signal)
  const distrust = distrustOf(stored, trustedSigners)
  if (distrust !== null) parts.log.warn({ reason: distrust.message }, 'the report of this drill proves nothing')
  parts.catalog.addDrill(stored, names, distrust)
  return stored
}

/** What a restore of the newest backup would take, by this drill and those before it. */
function forecastWith({ request, picked, findings, error, parts }: JudgeInput): number | null {
  const { server, database } = request
  const verdict = error === null ? ('passed' as const) : verdictOf(error)
  const restoreTimeSeconds = findings.restoreMs === null ? null : seconds(findings.restoreMs)
  const { bytes: dumpBytes } = picked.manifest.dump
  const own = { verdict, finishedAt: parts.clock.now(), dumpBytes, restoreTimeSeconds }
  const newest = parts.catalog.backups({ server, database, kind: 'database' }).find(({ faults }) => faults.length === 0)
  const past = [own, ...pastRestores(parts.catalog.drills({ server, database }))]
  return forecastRestoreSeconds(past, (newest ?? picked).manifest.dump.bytes)
}

function objectiveOf(rtoMs: number | null, restoreMs: number | null): DrillReport['objective'] {
  if (rtoMs === null) return 'none'
  if (restoreMs === null) return 'unmeasured'
  return restoreMs <= rtoMs ? 'met' : 'missed'
}

/**
 * What PostgreSQL says may name tables, roles and values: in plain text only what failed, the rest encrypted. These
 * messages hold nothing of PostgreSQL or of the database, besides its name and those of its extensions.
 */
const namesNothing: ReadonlySet<ErrorCode> = new Set([
  'LABEL_UNKNOWN',
  'NO_BACKUP',
  'LOCKED',
  'SHUTTING_DOWN',
  'STORE_UNREACHABLE',
  'STORE_DENIED',
  'STORE_CREDENTIALS_MISSING',
  'STORE_BUCKET_MISSING',
  'STORE_UNMARKED',
  'STORE_FULL',
  'STORE_FAILED',
  'STORE_NOT_FOUND',
  'STORE_EXISTS',
  'STORE_FORMAT_NEWER',
  'STORE_FORMAT_INVALID',
  'OBJECT_MISMATCH',
  'HISTORY_BROKEN',
  'SERVER_TOO_OLD',
  'PROGRAM_MISSING',
  'KEY_UNREADABLE',
  'KEY_UNUSABLE',
  'KEY_NEEDED',
  'KEY_NO_MATCH',
  'PASSPHRASE_WRONG',
  'RECIPIENT_MISSING',
  'DECRYPTION_FAILED',
  'SIGNATURE_MISSING',
  'SIGNATURE_INVALID',
  'VERIFY_FAILED',
  'SPOOL_FULL',
  'SPOOL_UNUSABLE',
  'SCRATCH_IS_SOURCE',
  'EXTENSION_MISSING',
  'LOCALE_MISSING',
  'DEADLINE_EXCEEDED',
  'CANCELLED',
])

/** What a report may say of an error in plain text. */
export function publicReason({ code, message, hint }: PgproofError): NonNullable<DrillReport['reason']> {
  return { code, message: namesNothing.has(code) ? message : beforeColon(message), hint }
}

function publicDetail({ result, detail }: CheckResult): string | null {
  return result === 'passed' || result === 'skipped' || detail === null ? detail : beforeColon(detail)
}

function beforeColon(text: string): string {
  return text.replace(/:.*$/s, '')
}

function seconds(milliseconds: number): number {
  return Math.round(milliseconds) / 1000
}
