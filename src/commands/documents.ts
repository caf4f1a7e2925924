import type { CatalogBackup } from '../catalog/catalog.ts'
import type { DrillReport } from '../domain/drill-report.ts'
import type { Manifest } from '../domain/manifest.ts'

/** The shapes of backups and drills in the documents of `--json`. Times are ISO 8601 in UTC, spans are in seconds. */
export type JsonDocument = Readonly<Record<string, unknown>>

/** As much of a backup as lists show; a daemon says no more. */
export type ListedBackup = Pick<
  CatalogBackup,
  | 'snapshotTime'
  | 'storedBytes'
  | 'hasSignature'
  | 'faults'
  | 'verifiedAt'
  | 'lastDrilledAt'
  | 'lastVerdict'
  | 'isKnownBad'
> & {
  readonly manifest: Pick<
    Manifest,
    'kind' | 'label' | 'server' | 'database' | 'snapshotTime' | 'finishedAt' | 'evidence' | 'omissions'
  > & { readonly dump: Pick<Manifest['dump'], 'bytes'> }
}

/** As much of a drill. */
export type ListedDrill = Pick<
  DrillReport,
  | 'label'
  | 'server'
  | 'database'
  | 'verdict'
  | 'reason'
  | 'startedAt'
  | 'finishedAt'
  | 'restoreTimeSeconds'
  | 'compared'
> & { readonly backup: Pick<DrillReport['backup'], 'label'> }

export function backupDocument(backup: ListedBackup, now: Date): JsonDocument {
  const { kind, label, server, database, snapshotTime, finishedAt, dump, evidence, omissions } = backup.manifest
  return {
    label,
    kind,
    server,
    database,
    snapshotTime,
    ageSeconds: ageSeconds(backup.snapshotTime, now),
    finishedAt,
    dumpBytes: dump.bytes,
    storedBytes: backup.storedBytes,
    evidence: kind === 'roles' ? null : evidence,
    omissions,
    isSigned: backup.hasSignature,
    verifiedAt: backup.verifiedAt?.toISOString() ?? null,
    lastDrilledAt: backup.lastDrilledAt?.toISOString() ?? null,
    lastVerdict: backup.lastVerdict,
    isKnownBad: backup.isKnownBad,
    faults: backup.faults,
  }
}

export function drillSummary(report: ListedDrill): JsonDocument {
  const { label, server, database, verdict, reason, startedAt, finishedAt, restoreTimeSeconds, compared } = report
  const backup = report.backup.label
  return { label, server, database, backup, verdict, reason, startedAt, finishedAt, restoreTimeSeconds, compared }
}

/** What should not be in a store, or should be and is not. */
export type Troubles = Pick<import('../catalog/catalog.ts').Catalog, 'damaged' | 'orphans' | 'historyGaps'>

export function troubleDocument(catalog: Troubles): JsonDocument {
  return {
    damaged: catalog
      .damaged()
      .map(({ key, bytes, error }) => ({ key, bytes, code: error.code, message: error.message })),
    orphans: catalog.orphans().map(({ folder, bytes, ageSeconds: age }) => ({ folder, bytes, ageSeconds: age })),
    historyGaps: catalog.historyGaps(),
  }
}

export function ageSeconds(instant: Date, now: Date): number {
  return Math.round((now.getTime() - instant.getTime()) / 1000)
}
