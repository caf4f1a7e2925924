import type { DrillReport } from '../domain/drill-report.ts'
import { verifiedWithin } from '../domain/pick-backup.ts'
import { drillsThatCount, forecastRestoreSeconds, type PastRestore } from '../domain/restore-forecast.ts'
import type { Catalog, CatalogBackup } from './catalog.ts'
import { onceForEach } from './once-for-each.ts'

/** What is protected and what is proven of one database. Null where nothing is known. */
export type DatabaseStatus = {
  readonly server: string
  readonly database: string
  readonly newestBackup: CatalogBackup | null
  /** The newest backup whose objects are all in the store and that no drill has shown to be bad: others bring nothing back. */
  readonly recoveryPoint: CatalogBackup | null
  /** The newest such backup that passed a drill. */
  readonly verifiedRecoveryPoint: CatalogBackup | null
  /** How many backups have all objects in the store, and how many of them passed a drill. */
  readonly retained: { readonly any: number; readonly verified: number }
  /** How many backups no store holds whole, and how many failed their last drill that came to a verdict. */
  readonly incomplete: number
  readonly failedDrill: number
  readonly oldestUnverified: CatalogBackup | null
  /** The one that waits longest since a drill of it passed, or since it was taken. */
  readonly leastRecentlyVerified: CatalogBackup | null
  /** In how many drills by rule `random`, one after the other, every backup in the store is drilled. */
  readonly verifiedWithinDrills: number
  readonly lastBackupAttempt: Date | null
  readonly lastDrillAttempt: Date | null
  readonly lastDrill: DrillReport | null
  readonly lastPassedDrill: DrillReport | null
  /** What a restore of the newest backup would take, by the drills that passed. */
  readonly forecastSeconds: number | null
  readonly rpoSeconds: number | null
  readonly rtoSeconds: number | null
}

/** Milliseconds, as configured for the server. */
export type Objectives = { readonly rpoMs?: number | undefined; readonly rtoMs?: number | undefined }

export function readDatabaseStatus(
  { server, database }: { readonly server: string; readonly database: string },
  catalog: Catalog,
  objectives: Objectives,
  now: Date,
): DatabaseStatus {
  const backups = catalog.backups({ server, database, kind: 'database' })
  const drills = catalog.drills({ server, database })
  const ofBackups = standingOf(backups)
  const { recoveryPoint } = ofBackups
  return {
    server,
    database,
    ...ofBackups,
    verifiedWithinDrills: verifiedWithin(backups.length),
    lastBackupAttempt: catalog.lastStart(server, database, 'backup', now),
    lastDrillAttempt: catalog.lastStart(server, database, 'drill', now),
    lastDrill: drills[0] ?? null,
    lastPassedDrill: lastPassed(drills),
    forecastSeconds:
      recoveryPoint === null ? null : forecastRestoreSeconds(restoresIn(drills), recoveryPoint.manifest.dump.bytes),
    rpoSeconds: secondsOf(objectives.rpoMs),
    rtoSeconds: secondsOf(objectives.rtoMs),
  }
}

type Standing = Pick<
  DatabaseStatus,
  | 'newestBackup'
  | 'recoveryPoint'
  | 'verifiedRecoveryPoint'
  | 'retained'
  | 'incomplete'
  | 'failedDrill'
  | 'oldestUnverified'
  | 'leastRecentlyVerified'
>

/** What the backups alone tell, whatever the time; asked several times a second, of thousands. */
const standingOf = onceForEach((backups: readonly CatalogBackup[]): Standing => {
  const restorable = backups.filter(({ faults }) => faults.length === 0)
  const verified = restorable.filter(({ verifiedAt }) => verifiedAt !== null)
  return {
    newestBackup: backups[0] ?? null,
    recoveryPoint: restorable.find(({ isKnownBad }) => !isKnownBad) ?? null,
    verifiedRecoveryPoint: verified[0] ?? null,
    retained: { any: restorable.length, verified: verified.length },
    incomplete: backups.length - restorable.length,
    failedDrill: backups.filter(({ isKnownBad }) => isKnownBad).length,
    oldestUnverified: restorable.findLast(({ verifiedAt }) => verifiedAt === null) ?? null,
    leastRecentlyVerified: restorable.reduce<CatalogBackup | null>(
      (longest, backup) => (longest === null || waitsSince(backup) < waitsSince(longest) ? backup : longest),
      null,
    ),
  }
})

const lastPassed = onceForEach((drills: readonly DrillReport[]) => {
  return drills.find(({ verdict }) => verdict === 'passed') ?? null
})

/** In how many drills, and in how long by their schedule, every backup in the store is drilled; null: nobody promises. */
export type Guarantee = { readonly drills: number | null; readonly seconds: number | null }

/** Only the rule `random` promises anything. `intervalSeconds` is the longest time between two drills by the schedule. */
export function guaranteeOf(
  { verifiedWithinDrills, newestBackup }: Pick<DatabaseStatus, 'verifiedWithinDrills' | 'newestBackup'>,
  rule: 'random' | 'latest',
  intervalSeconds: number | null,
): Guarantee {
  if (rule !== 'random' || newestBackup === null) return { drills: null, seconds: null }
  const seconds = intervalSeconds === null ? null : verifiedWithinDrills * intervalSeconds
  return { drills: verifiedWithinDrills, seconds }
}

/** Since when a backup waits for a drill that passes. */
export function waitsSince({ verifiedAt, snapshotTime }: Pick<CatalogBackup, 'verifiedAt' | 'snapshotTime'>): Date {
  return verifiedAt ?? snapshotTime
}

/** The newest drills that passed, as many as the forecast looks at. */
export function pastRestores(drills: readonly DrillReport[]): PastRestore[] {
  const restores: PastRestore[] = []
  for (const { backup, verdict, finishedAt, restoreTimeSeconds } of drills) {
    if (restores.length === drillsThatCount) break
    if (verdict !== 'passed' || restoreTimeSeconds === null) continue
    restores.push({ verdict, finishedAt: new Date(finishedAt), dumpBytes: backup.dumpBytes, restoreTimeSeconds })
  }
  return restores
}

const restoresIn = onceForEach(pastRestores)

function secondsOf(durationMs: number | undefined): number | null {
  return durationMs === undefined ? null : durationMs / 1000
}
