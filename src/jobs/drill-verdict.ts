import { cpus, totalmem } from 'node:os'
import type { CatalogBackup } from '../catalog/catalog.ts'
import type { Clock } from '../clock.ts'
import { type Checklist, verdictOf } from '../domain/checklist.ts'
import {
  type CheckResult,
  type DrillPhase,
  type DrillReport,
  drillReportFormat,
  encodeDrillReport,
} from '../domain/drill-report.ts'
import { type DrillTables, drillTablesFormat, encodeDrillTables } from '../domain/drill-tables.ts'
import { encryptBytes } from '../encryption/encrypt.ts'
import type { PgproofError } from '../errors.ts'
import { drillReportKey, drillTablesKey } from '../storage/object-keys.ts'
import { measureBytes } from '../streams/measure.ts'
import { version } from '../version.ts'
import type { DrillParts, DrillRequest } from './drill-request.ts'

/** Wall time of each phase; `fetch` and `scratch` run side by side, so their sum may exceed the restore time. */
export type Phases = {
  time<T>(name: DrillPhase, work: () => Promise<T>): Promise<T>
  results(): DrillReport['phases']
}

export function createPhases(clock: Clock, queuedSeconds: number, onStart: (name: DrillPhase) => void): Phases {
  const phases: DrillReport['phases'] = [{ name: 'queue', seconds: queuedSeconds }]
  return {
    async time(name, work) {
      onStart(name)
      const started = clock.monotonicMs()
      try {
        return await work()
      } finally {
        phases.push({ name, seconds: seconds(clock.monotonicMs() - started) })
      }
    },
    results: () => phases,
  }
}

/** What a drill has found out by the time it ends, however it ended. */
export type DrillFindings = {
  tables: DrillTables | null
  serverVersion: string | null
  rolesBackup: string | null
  restoreMs: number | null
}

export type JudgeInput = {
  readonly request: DrillRequest
  readonly picked: CatalogBackup
  readonly label: string
  readonly startedAt: Date
  readonly checklist: Checklist
  readonly phases: Phases
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
    phases: input.phases.results(),
    restoreTimeSeconds: findings.restoreMs === null ? null : seconds(findings.restoreMs),
    rtoSeconds: request.rtoMs === null ? null : request.rtoMs / 1000,
    environment: {
      scratch: request.scratch.kind,
      serverVersion: findings.serverVersion,
      jobs: request.jobs,
      cpus: cpus().length,
      memoryBytes: totalmem(),
    },
    compared: {
      tables: compared.filter(({ compared: how }) => how !== 'nothing').length,
      rows: compared.reduce((sum, { restoredRows }) => sum + (restoredRows ?? 0), 0),
      differences: compared.filter(({ result }) => result !== 'equal' && result !== 'not compared').length,
    },
    tablesSha256: null,
  }
}

/**
 * Writes the encrypted tables, then the report, which makes the drill count. Works for a cancelled drill too: what was
 * found out is worth keeping. Returns the report as stored.
 */
export async function storeReport(
  report: DrillReport,
  found: { readonly tables: DrillTables | null; readonly error: PgproofError | null },
  request: DrillRequest,
  parts: DrillParts,
): Promise<DrillReport> {
  const signal = AbortSignal.timeout(120_000)
  const { server, database, label } = report
  let tablesSha256: string | null = null
  const { error } = found
  const errorDetails = error === null ? null : [error.message, error.details ?? ''].join('\n').trim()
  if (found.tables !== null || errorDetails !== null) {
    const none: DrillTables = {
      format: drillTablesFormat,
      label,
      errorDetails,
      tables: [],
      sequences: [],
      largeObjects: null,
    }
    const tables = { ...(found.tables ?? none), errorDetails }
    const encrypted = await encryptBytes(encodeDrillTables(tables), request.recipients, parts.clock.now())
    await parts.store.put(drillTablesKey(server, database, label), encrypted, { signal })
    tablesSha256 = measureBytes(encrypted).sha256
  }
  const stored = { ...report, tablesSha256 }
  await parts.store.put(drillReportKey(server, database, label), encodeDrillReport(stored), { signal, ifAbsent: true })
  parts.catalog.addDrill(stored)
  return stored
}

/** What PostgreSQL says may name tables, roles and values: in plain text only what failed, the rest encrypted. */
const quotesPostgres = new Set(['EVIDENCE_MISMATCH', 'QUERY_FAILED', 'ROLES_FAILED', 'ROLES_MISSING'])

function publicReason({ code, message, hint }: PgproofError): NonNullable<DrillReport['reason']> {
  return { code, message: quotesPostgres.has(code) ? beforeColon(message) : message, hint }
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
