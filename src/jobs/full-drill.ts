import assert from 'node:assert/strict'
import type { CatalogBackup } from '../catalog/catalog.ts'
import { runDrill } from '../drill/drill.ts'
import type { DrillRequest, DrillResult } from '../drill/drill-request.ts'
import { openForSeveral } from '../drill/opened-scratch.ts'
import type { OpenedScratch, ScratchReach, ScratchSource } from '../drill/scratch.ts'
import { assertNotAborted, type PgproofError, toPgproofError } from '../errors.ts'
import type { JobParts } from '../parts.ts'
import { newLabel } from '../parts.ts'
import { holdBackups } from '../stored/hold-backup.ts'
import { checkSignature, readEvidence, readManifest } from '../stored/read-backup.ts'
import { openSpool } from '../streams/spool.ts'
import type { FullDrillRequest, FullDrillResult } from './full-drill-request.ts'
import { type Carried, judgeFullDrill, storeFullReport } from './full-drill-verdict.ts'
import { newRun, runJob } from './run-job.ts'

/**
 * Rebuilds a whole server in one scratch server: the roles, and every database from its newest backup. Each database is
 * drilled as ever, with a report of its own, and stays until all are there. One that does not pass does not end the
 * others. Whatever happens ends in a stored report; throws only if that cannot be stored.
 */
export async function runFullDrill(
  request: FullDrillRequest,
  parts: JobParts,
  signal: AbortSignal,
): Promise<FullDrillResult> {
  const startedAt = parts.clock.now()
  const startedMs = parts.clock.monotonicMs()
  const label = newLabel(parts)
  const carried: Carried[] = []
  let serverVersion: string | null = null
  let reach: ScratchReach | null = null

  const rebuild = async (): Promise<void> => {
    // 1. No prune takes away what is read from here on, the last backup neither. Room for all databases together and for
    //    one dump at a time, before anything is fetched.
    const backups = request.drills.map(({ backup }) => backup)
    const held = request.rolesBackup === null ? backups : [...backups, request.rolesBackup]
    await using _hold = await holdBackups(held, { by: 'full drill' }, parts, signal)
    await using spool = await openSpool(request.spoolRoot, neededBytes(request))

    // 2. What has to be known before the server starts, and only the evidence tells.
    const { bootstrapRole, cronIndex } = await readAhead(request, parts, signal)
    const databaseName = (index: number): string =>
      `pgproof_scratch_${label.toLowerCase().replace('-', '_')}_${index + 1}`
    const cronDatabase = cronIndex === null ? undefined : databaseName(cronIndex)

    // 3. One server for all of them. When the scope ends, the databases are dropped, the roles, then the server.
    const settings = { ...request.scratch, cronDatabase }
    const source = sourceOfAll(backups)
    await using opened = await openForSeveral(settings, source, bootstrapRole, spool.folder, parts, signal)
    serverVersion = opened.version
    reach = opened.reach

    // 4. One database after the other; the first one replays the roles.
    for (const [index, { drill }] of request.drills.entries()) {
      assertNotAborted(signal, 'the full drill')
      carried.push(await drillOne(drill, { opened, databaseName: databaseName(index) }, request, parts, signal))
    }
    assertNotAborted(signal, 'the full drill')
  }

  let error: PgproofError | null = null
  try {
    await rebuild()
  } catch (thrown) {
    error = toPgproofError(signal.aborted ? signal.reason : thrown, 'the full drill')
  }

  // 5. One failed: failed; else one inconclusive: inconclusive. Stored either way.
  const wholeMs = parts.clock.monotonicMs() - startedMs
  const judged = judgeFullDrill({ request, label, startedAt, wholeMs, carried, serverVersion, reach, error, parts })
  const report = await storeFullReport(judged.report, request, parts)
  return { report, drills: carried.flatMap(({ result }) => result ?? []), error: judged.error }
}

/** As a single drill reckons, with everything on disk at once but the dumps. */
function neededBytes({ scratch, drills }: FullDrillRequest): number {
  const manifests = drills.map(({ backup }) => backup.manifest)
  const largestDump = Math.max(0, ...manifests.map(({ dump }) => dump.bytes))
  if (scratch.kind !== 'embedded') return largestDump
  return manifests.reduce((sum, { source }) => sum + (source.databaseBytes ?? 0) * 1.3, largestDump + 256e6)
}

/**
 * The name of the source's first superuser, and which database is the one that pg_cron may work in. A backup that cannot
 * be read is left to its own drill, which says why.
 */
async function readAhead(
  { drills, keys, trustedSigners }: FullDrillRequest,
  { store }: JobParts,
  signal: AbortSignal,
): Promise<{ readonly bootstrapRole: string; readonly cronIndex: number | null }> {
  let bootstrapRole: string | null = null
  let cronIndex: number | null = null
  for (const [index, { backup }] of drills.entries()) {
    try {
      const read = await readManifest(backup, store, signal)
      await checkSignature(read, trustedSigners, store, signal)
      const { properties, extensions } = await readEvidence(read, keys, store, signal)
      bootstrapRole ??= properties.bootstrapRole
      if (extensions.some(({ name }) => name === 'pg_cron')) cronIndex ??= index
    } catch {
      assertNotAborted(signal, 'the full drill')
    }
  }
  return { bootstrapRole: bootstrapRole ?? 'postgres', cronIndex }
}

/** A server that takes the backup of the newest major takes all; each drill looks again at what its own backup says. */
function sourceOfAll(backups: readonly CatalogBackup[]): ScratchSource {
  const sources = backups.map(({ manifest }) => manifest.source)
  const [first, ...others] = sources.toSorted((one, other) => other.major - one.major)
  assert(first !== undefined, `a full drill of ${others.length} backups`)
  return first
}

/** Its report, or why there is none: another drill of it is running, or the report could not be stored. */
async function drillOne(
  drill: DrillRequest,
  place: { readonly opened: OpenedScratch; readonly databaseName: string },
  { deadlineMs, rolesBackup, trigger }: FullDrillRequest,
  parts: JobParts,
  signal: AbortSignal,
): Promise<Carried> {
  const { server, database } = drill
  const run = newRun({ job: 'drill', server, database, trigger }, parts)
  const work = async (
    jobSignal: AbortSignal,
    onProgress: (progress: { phase: string }) => void,
  ): Promise<{ label: string; error: PgproofError | null; result: DrillResult }> => {
    const request = { ...drill, rolesBackup: rolesBackup ?? undefined, scratch: { kind: 'opened' as const, ...place } }
    const result = await runDrill(request, { ...parts, onProgress }, jobSignal)
    return { label: result.report.label, error: result.error, result }
  }
  try {
    const { result } = await runJob(run, { deadlineMs }, work, parts, signal)
    return { database, result, error: result.error }
  } catch (thrown) {
    assertNotAborted(signal, 'the full drill')
    return { database, result: null, error: toPgproofError(thrown, 'the drill') }
  }
}
