import { type DatabaseStatus, guaranteeOf, waitsSince } from '../catalog/database-status.ts'
import type { Verdict } from '../domain/drill-report.ts'
import type { Scrape } from './scrape.ts'
import { perPlace, type StoredMetric } from './stored-metrics.ts'

/** What is protected and what is proven of each database. */
export const databaseMetrics: readonly StoredMetric[] = [
  one(
    'pgproof_database_configured',
    '1 if the configuration covers the database, 0 if only its backups are left.',
    ({ isConfigured }) => (isConfigured ? 1 : 0),
  ),
  one(
    'pgproof_database_missing',
    '1 if the configuration covers the database, and its server does not have it any more, 0 if it has; absent without a schedule.',
    isMissing,
  ),
  one(
    'pgproof_backup_last_attempt_timestamp_seconds',
    'When a backup was last started, whatever came of it.',
    ({ lastBackupAttempt }) => seconds(lastBackupAttempt),
  ),
  one(
    'pgproof_backup_last_success_timestamp_seconds',
    'When the newest backup in the store was finished.',
    ({ newestBackup }) => seconds(newestBackup?.manifest.finishedAt),
  ),
  one('pgproof_backup_duration_seconds', 'How long the newest backup took.', ({ newestBackup }) => {
    if (newestBackup === null) return null
    const { startedAt, finishedAt } = newestBackup.manifest
    return (Date.parse(finishedAt) - Date.parse(startedAt)) / 1000
  }),
  one(
    'pgproof_backup_dump_bytes',
    'Size of the dump in the newest backup, before compression and encryption.',
    ({ newestBackup }) => newestBackup?.manifest.dump.bytes,
  ),
  one(
    'pgproof_backup_stored_bytes',
    'Size in the store of all objects of the newest backup.',
    ({ newestBackup }) => newestBackup?.storedBytes,
  ),
  several(
    'pgproof_recovery_point_timestamp_seconds',
    'Snapshot time of the newest backup whose objects are all in the store and that no drill has shown to be bad (any), and of the newest such backup that passed a drill (verified).',
    'proof',
    ({ recoveryPoint, verifiedRecoveryPoint }) => [
      ['any', seconds(recoveryPoint?.snapshotTime)],
      ['verified', seconds(verifiedRecoveryPoint?.snapshotTime)],
    ],
  ),
  several(
    'pgproof_backups_retained',
    'Backups whose objects are all in the store (any), and those of them that passed a drill (verified).',
    'proof',
    ({ retained }, { isStoreRead }) => (isStoreRead ? Object.entries(retained) : []),
  ),
  one(
    'pgproof_backups_incomplete',
    'Backups that no store holds whole: objects of them are missing or cut short.',
    ({ incomplete }, { isStoreRead }) => (isStoreRead ? incomplete : null),
  ),
  one(
    'pgproof_backups_failed_drill',
    'Backups in the store whose last drill failed.',
    ({ failedDrill }, { isStoreRead }) => (isStoreRead ? failedDrill : null),
  ),
  one(
    'pgproof_oldest_unverified_backup_timestamp_seconds',
    'Snapshot time of the oldest backup that has not passed a drill.',
    ({ oldestUnverified }) => seconds(oldestUnverified?.snapshotTime),
  ),
  one(
    'pgproof_least_recently_verified_backup_timestamp_seconds',
    'Since when the backup waits that has waited longest for a drill that passes: since its last one, or since it was taken.',
    ({ leastRecentlyVerified }) => (leastRecentlyVerified === null ? null : seconds(waitsSince(leastRecentlyVerified))),
  ),
  one(
    'pgproof_verified_within_drills',
    'In how many drills by rule random every backup now in the store is drilled; absent for another rule, which promises nothing.',
    (status, { parts }) => guaranteeOf(status, parts.config.drill.pick, null).drills,
  ),
  several(
    'pgproof_backup_omitted_objects',
    'What the newest backup does not hold, by kind; absent for what it lacks nothing of.',
    'kind',
    ({ newestBackup }) => newestBackup?.manifest.omissions.map(({ kind, objects }) => [kind, objects]) ?? [],
  ),
  one(
    'pgproof_drill_last_attempt_timestamp_seconds',
    'When a drill was last started, whatever came of it.',
    ({ lastDrillAttempt }) => seconds(lastDrillAttempt),
  ),
  one(
    'pgproof_drill_last_passed_timestamp_seconds',
    'When the newest drill that passed was finished.',
    ({ lastPassedDrill }) => seconds(lastPassedDrill?.finishedAt),
  ),
  several(
    'pgproof_drill_verdict',
    '1 for the verdict of the newest drill, 0 for the other two.',
    'verdict',
    ({ lastDrill }) =>
      lastDrill === null ? [] : verdicts.map((verdict) => [verdict, verdict === lastDrill.verdict ? 1 : 0]),
  ),
  several(
    'pgproof_drill_phase_seconds',
    'Time in each phase of the newest drill that passed; fetch and scratch run side by side.',
    'phase',
    ({ lastPassedDrill }) => lastPassedDrill?.phases.map(({ name, seconds: time }) => [name, time]) ?? [],
  ),
  one(
    'pgproof_restore_time_seconds',
    'Measured in the newest drill that passed: from the start of the fetch to the answer of the first query.',
    ({ lastPassedDrill }) => lastPassedDrill?.restoreTimeSeconds,
  ),
  one(
    'pgproof_restore_time_forecast_seconds',
    'What a restore of the newest backup would take, by its size and by the drills that passed.',
    ({ forecastSeconds }) => forecastSeconds,
  ),
  one('pgproof_rto_objective_seconds', 'The objective for the restore time.', ({ rtoSeconds }) => rtoSeconds),
  one(
    'pgproof_rpo_objective_seconds',
    'The objective for the age of the recovery point.',
    (status) => status.rpoSeconds,
  ),
]

/** Null where nobody looks: without a schedule the server is not asked for its databases. */
function isMissing(
  { server, database, isConfigured }: Scrape['databases'][number],
  { parts, planned }: Scrape,
): number | null {
  const schedule = parts.config.servers.find(({ name }) => name === server)?.schedule
  if (!isConfigured || (schedule?.backup ?? schedule?.drill) === undefined) return null
  return planned.some((job) => job.server === server && job.database === database) ? 0 : 1
}

const verdicts: readonly Verdict[] = ['passed', 'failed', 'inconclusive']

type Value = number | null | undefined

function one(
  name: StoredMetric['name'],
  help: string,
  pick: (status: Scrape['databases'][number], scrape: Scrape) => Value,
): StoredMetric {
  return {
    name,
    type: 'gauge',
    help,
    labels: perPlace,
    *read(scrape) {
      for (const status of scrape.databases) {
        const value = pick(status, scrape)
        if (value != null) yield { labels: { server: status.server, database: status.database }, value }
      }
    },
  }
}

/** With one more label, whose values come with the samples. */
function several(
  name: StoredMetric['name'],
  help: string,
  label: string,
  pick: (status: DatabaseStatus, scrape: Scrape) => readonly (readonly [string, Value])[],
): StoredMetric {
  return {
    name,
    type: 'gauge',
    help,
    labels: [...perPlace, label],
    *read(scrape) {
      for (const status of scrape.databases)
        for (const [labelValue, value] of pick(status, scrape))
          if (value != null)
            yield { labels: { server: status.server, database: status.database, [label]: labelValue }, value }
    },
  }
}

function seconds(instant: Date | string | null | undefined): number | null {
  return instant == null ? null : new Date(instant).getTime() / 1000
}
