import { type BackupResult, runBackup } from '../backup/backup.ts'
import type { Committed } from '../backup/commit-backup.ts'
import type { DuePeriod } from '../backup/not-done-elsewhere.ts'
import { runRolesBackup } from '../backup/roles-backup.ts'
import type { Place } from '../catalog/catalog.ts'
import type { Run, RunProgress } from '../catalog/runs.ts'
import { seedAfter } from '../domain/pick-backup.ts'
import { runDrill } from '../drill/drill.ts'
import type { DrillRequest, DrillResult } from '../drill/drill-request.ts'
import type { ScratchSettings } from '../drill/scratch.ts'
import { assertNotAborted, type PgproofError, reasonOf, toPgproofError } from '../errors.ts'
import { logKeys } from '../log.ts'
import { parseConnectionUrl } from '../postgres/connect.ts'
import { connectionTo, type Installation, readBackupKeys, readDrillKeys, serverNamed } from './installation.ts'
import type { PruneObjection } from './plan-prune.ts'
import { type PruneResult, runPrune } from './prune.ts'
import { type JobEnd, newRun, runJob } from './run-job.ts'
import { runSync, type SyncResult } from './sync.ts'

/** What may be said about a drill when it is ordered. */
export type DrillWish = {
  readonly backup?: string | undefined
  readonly pick?: 'random' | 'latest' | undefined
  readonly seed?: number | undefined
  /** The name of the store whose copy is read; default: the one whose turn it is. */
  readonly from?: string | undefined
}

/** What may be said about a run besides. */
export type RunWish = DrillWish & {
  /** Whether a backup is followed by the prune of its kind; default true. */
  readonly prune?: boolean | undefined
  /** Why nothing of a server may be pruned now: a backup goes on without. */
  readonly objection?: PruneObjection | undefined
  /** For which a schedule ordered a backup; not made if somebody else has made it meanwhile. */
  readonly due?: DuePeriod | undefined
}

export type Finished = JobEnd & {
  readonly backup?: Committed & Partial<Pick<BackupResult, 'evidence'>>
  /** What the backup's own prune did; its failure does not undo the backup. */
  readonly prune?: PruneResult | null
  readonly pruneError?: PgproofError | null
  readonly drill?: DrillResult
  readonly sync?: SyncResult
}

/**
 * Carries out one order, the same way for the scheduler, the HTTP API and the command line. The catalog has been
 * refreshed before, or is refreshed by the daemon. Throws register errors; the run is recorded in any case.
 */
export async function executeRun(
  run: Run,
  wish: RunWish,
  installation: Installation,
  signal: AbortSignal,
): Promise<Finished> {
  const deadlineMs = deadlineOf(run, installation)
  return await runJob<Finished>(
    run,
    { deadlineMs },
    async (jobSignal, onProgress) => {
      switch (run.job) {
        case 'backup':
          return await backUp(run, wish, installation, jobSignal, onProgress)
        case 'roles':
          return await backUpRoles(run, wish, installation, jobSignal)
        case 'drill':
          return await drill(run, wish, installation, jobSignal, onProgress)
        case 'prune': {
          const prune = await runPrune({ isDryRun: false, objection: wish.objection }, installation, jobSignal)
          return { label: null, prune }
        }
        case 'sync': {
          const sync = await runSync({ isDryRun: false }, installation, jobSignal, onProgress)
          return { label: null, sync }
        }
      }
    },
    installation,
    signal,
  )
}

function deadlineOf({ job, server }: Run, { config }: Installation): number {
  if (job === 'drill') return config.drill.deadlineMs
  if (job === 'prune') return pruneDeadlineMs
  if (job === 'sync') return syncDeadlineMs
  return serverNamed(config, server).backupDeadlineMs
}

const pruneDeadlineMs = 6 * 3_600_000
/** Of a first sync of a large store; what it had copied stays, and the next one goes on. */
const syncDeadlineMs = 24 * 3_600_000

async function backUp(
  run: Run,
  { prune: isPruned = true, due, objection }: RunWish,
  installation: Installation,
  signal: AbortSignal,
  onProgress: (progress: RunProgress) => void,
): Promise<Finished> {
  const server = serverNamed(installation.config, run.server)
  const database = run.database ?? ''
  const keys = await readBackupKeys(installation)
  const { compression, evidence, lockTimeoutMs, censusConnections } = server
  const { binDirs } = installation.config.postgres
  const connection = connectionTo(server, database)
  const request = { connection, ...keys, compression, evidence, lockTimeoutMs, censusConnections, binDirs, due }
  const backup = await runBackup(request, { ...installation, onProgress }, signal)
  const prune = isPruned ? await pruneAfter(run, objection, installation, signal) : { prune: null, pruneError: null }
  return { label: backup.manifest.label, bytes: backup.manifest.objects.dump.bytes, backup, ...prune }
}

async function backUpRoles(
  run: Run,
  { prune: isPruned = true, due, objection }: RunWish,
  installation: Installation,
  signal: AbortSignal,
): Promise<Finished> {
  const server = serverNamed(installation.config, run.server)
  const keys = await readBackupKeys(installation)
  const request = { connection: connectionTo(server), ...keys, binDirs: installation.config.postgres.binDirs, due }
  const backup = await runRolesBackup(request, installation, signal)
  const prune = isPruned ? await pruneAfter(run, objection, installation, signal) : { prune: null, pruneError: null }
  return { label: backup.manifest.label, bytes: backup.manifest.objects.dump.bytes, backup, ...prune }
}

/** A backup that succeeded stays a success when the prune after it does not; that has an outcome of its own. */
async function pruneAfter(
  { server, database }: Run,
  objection: PruneObjection | undefined,
  installation: Installation,
  signal: AbortSignal,
): Promise<Pick<Finished, 'prune' | 'pruneError'>> {
  const only = { server, database }
  const pruneError = objection?.(server) ?? null
  if (pruneError !== null) {
    const { code, message: reason, hint } = pruneError
    const place = { [logKeys.server]: server, ...(database === null ? {} : { [logKeys.database]: database }) }
    const line = { [logKeys.job]: 'prune', ...place, [logKeys.code]: code, reason, [logKeys.hint]: hint }
    installation.log.warn(line, 'the prune after the backup is left out')
    return { prune: null, pruneError }
  }
  const run = newRun({ job: 'prune', ...only, trigger: 'backup' }, installation)
  try {
    const end = await runJob(
      run,
      { deadlineMs: pruneDeadlineMs },
      async (jobSignal) => ({
        label: null,
        prune: await runPrune({ only, isDryRun: false, objection }, installation, jobSignal),
      }),
      installation,
      signal,
    )
    return { prune: end.prune, pruneError: null }
  } catch (error) {
    // Even if it was cancelled: the backup before it exists, and that is what the run is about.
    return { prune: null, pruneError: toPgproofError(error) }
  }
}

async function drill(
  run: Run,
  wish: DrillWish,
  installation: Installation,
  signal: AbortSignal,
  onProgress: (progress: RunProgress) => void,
): Promise<Finished> {
  await lookForBackups(run, wish, installation, signal)
  const request = await drillRequest(run, wish, installation)
  const result = await runDrill(request, { ...installation, onProgress }, signal)
  return { label: result.report.label, error: result.error, drill: result }
}

/**
 * What was backed up, drilled or pruned by others since the last refresh: a drill must not miss a backup, nor pick one that is
 * gone. A store that does not answer leaves it to the drill to say so.
 */
async function lookForBackups(
  { server, database }: Run,
  { backup }: DrillWish,
  { catalog, stores, clock, log }: Installation,
  signal: AbortSignal,
): Promise<void> {
  const { lastRefreshedAt } = catalog
  const ageMs = lastRefreshedAt === null ? Infinity : Math.abs(clock.now().getTime() - lastRefreshedAt.getTime())
  const known = catalog.backups({ kind: 'database', server, database: database ?? '' })
  const isThere = known.some(({ manifest }) => backup === undefined || manifest.label === backup)
  if (isThere && ageMs < freshMs) return
  const until = AbortSignal.any([signal, AbortSignal.timeout(lookWithinMs)])
  const look = (place: Place): Promise<void> => catalog.lookAt(place, stores, until)
  try {
    await Promise.all([look({ kind: 'database', server, database }), look({ kind: 'roles', server, database: null })])
  } catch (error) {
    assertNotAborted(signal)
    log.warn({ [logKeys.server]: server, reason: reasonOf(error) }, 'what others have backed up is not read anew')
  }
}

/** What was read longer ago is read again before a drill. */
const freshMs = 5_000
const lookWithinMs = 30_000

/** Throws keys' errors, SERVER_UNKNOWN. */
export async function drillRequest(
  run: Pick<Run, 'server' | 'database' | 'queuedAt'>,
  wish: DrillWish,
  installation: Installation,
): Promise<DrillRequest> {
  const { config, catalog, clock } = installation
  const server = serverNamed(config, run.server)
  const database = run.database ?? ''
  const { keys, trustedSigners } = await readDrillKeys(installation, 'a drill')
  // What a drill finds is encrypted, too: recipients that nothing can be encrypted to stop it before it begins.
  const { recipients, signingKey } = await readBackupKeys(installation)
  const { jobs, spool } = config.drill
  const last = catalog
    .drills({ server: server.name, database })
    .find(({ pick }) => pick.rule === 'random' && pick.seed !== null)
  return {
    server: server.name,
    database,
    backup: wish.backup ?? null,
    rule: wish.pick ?? config.drill.pick,
    seed: wish.seed ?? seedAfter(last?.pick.seed ?? null),
    withinMs: config.drill.withinMs,
    store: wish.from ?? null,
    keys,
    recipients,
    trustedSigners,
    signingKey,
    scratch: scratchSettings(config),
    spoolRoot: spool,
    jobs,
    binDirs: config.postgres.binDirs,
    amcheck: config.drill.amcheck,
    checks: server.checks.filter((check) => check.database === undefined || check.database === database),
    rtoMs: server.objectives.rtoMs ?? null,
    queuedSeconds: Math.max(0, clock.now().getTime() - run.queuedAt.getTime()) / 1000,
  }
}

/** Where drills restore to. */
export function scratchSettings(config: Installation['config']): Exclude<ScratchSettings, { kind: 'opened' }> {
  const { scratch, runAs, jobs, parameters } = config.drill
  if (scratch.kind === 'embedded')
    return { kind: 'embedded', runAs, jobs, parameters, binDirs: config.postgres.binDirs }
  const { password } = scratch
  return {
    kind: 'server',
    connection: parseConnectionUrl('scratch', scratch.url, password && (() => password.reveal())),
  }
}
