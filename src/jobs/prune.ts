import type { CatalogBackup } from '../catalog/catalog.ts'
import type { ServerConfig } from '../config/config.ts'
import { labelTime } from '../domain/backup-label.ts'
import { encodePruneRecord, type PruneRecord, pruneRecordFormat } from '../domain/prune-record.ts'
import {
  decideRetention,
  type RetentionDecision,
  type RetentionPlan,
  type RetentionPolicy,
} from '../domain/retention.ts'
import { PgproofError, reasonOf } from '../errors.ts'
import { newLabel } from '../parts.ts'
import {
  drillReportKey,
  drillSignatureKey,
  drillTablesKey,
  fullDrillReportKey,
  objectNames,
  pruneRecordKey,
} from '../storage/object-keys.ts'
import { version } from '../version.ts'
import type { Installation } from './installation.ts'

/** The decision about each backup of one database, or of one server's roles, newest first. */
export type PruneGroup = {
  readonly kind: 'database' | 'roles'
  readonly server: string
  readonly database: string | null
  readonly policy: RetentionPolicy
  readonly decisions: readonly (RetentionDecision & { readonly storedBytes: number })[]
}

export type PrunePlan = {
  readonly groups: readonly PruneGroup[]
  /** Folders without a manifest, old enough that no running backup can own them. */
  readonly orphanFolders: readonly string[]
  /** Reports older than `drill.keepReports` whose backup is gone. */
  readonly oldReports: readonly { readonly server: string; readonly database: string; readonly label: string }[]
  /** Reports of full drills older than `drill.keepReports`. */
  readonly oldFullReports: readonly { readonly server: string; readonly label: string }[]
}

export type PruneResult = { readonly plan: PrunePlan; readonly removed: readonly string[]; readonly isDryRun: boolean }

export type PruneRequest = {
  /** Only these; undefined prunes every configured server. */
  readonly only?: { readonly server: string; readonly database: string | null } | undefined
  readonly isDryRun: boolean
}

/**
 * Removes what the retention policy no longer keeps. Lists the whole store first and removes nothing if that fails.
 * Throws PRUNE_REFUSED, PRUNE_INCOMPLETE or store errors.
 */
export async function runPrune(
  request: PruneRequest,
  installation: Installation,
  signal: AbortSignal,
): Promise<PruneResult> {
  const { catalog, store, log } = installation

  // 1. Know everything, or remove nothing.
  await catalog.refresh(store, signal)
  if (!catalog.isComplete)
    throw new PgproofError('PRUNE_REFUSED', { reason: 'the store could not be listed and read completely' })

  // 2. Decide, with a reason for each backup.
  const plan = planPrune(request, installation)
  const doomed = backupsToRemove(plan, installation)
  if (request.isDryRun) return { plan, removed: [], isDryRun: true }

  // 3. Say what goes before it goes, so that a pruned history is not mistaken for a stolen one.
  if (doomed.length > 0) await writeRecord(plan, doomed, installation, signal)

  // 4. Manifests first: from then on the backup does not count. Then its objects.
  const removed: string[] = []
  const failures: string[] = []
  const attempt = async (what: string, work: () => Promise<void>): Promise<void> => {
    try {
      await work()
      removed.push(what)
    } catch (error) {
      signal.throwIfAborted()
      failures.push(`${what}: ${reasonOf(error)}`)
    }
  }
  for (const backup of doomed) {
    // A drill that began meanwhile may have picked this one; the next prune comes soon enough.
    if (isDrilled(backup.manifest, installation)) continue
    await attempt(backup.manifest.label, () => removeBackup(backup, installation, signal))
  }
  for (const folder of plan.orphanFolders) await attempt(folder, () => removeFolder(folder, installation, signal))
  for (const { server, database, label } of plan.oldReports)
    await attempt(label, async () => {
      await store.delete(drillReportKey(server, database, label), { signal })
      await store.delete(drillSignatureKey(server, database, label), { signal })
      await store.delete(drillTablesKey(server, database, label), { signal })
    })
  for (const { server, label } of plan.oldFullReports)
    await attempt(label, async () => {
      const key = fullDrillReportKey(server, label)
      await store.delete(key, { signal })
      await store.delete(`${key}.sig`, { signal })
    })

  // 5. What unfinished uploads of crashed runs left.
  const now = installation.clock.now().getTime()
  const uploads = await store.sweepUnfinished(new Date(now - orphanAgeMs(installation)), { signal })
  if (uploads > 0) log.info({ uploads }, 'unfinished uploads removed')
  if (failures.length > 0) {
    const count = failures.length === 1 ? '1 object' : `${failures.length} objects`
    throw new PgproofError('PRUNE_INCOMPLETE', { count }, { details: failures.join('\n') })
  }
  return { plan, removed, isDryRun: false }
}

/** What a prune would do, from the catalog as it stands. Removes nothing. */
export function planPrune(request: PruneRequest, installation: Installation): PrunePlan {
  const { catalog, config, clock } = installation
  const now = clock.now()
  const groups: PruneGroup[] = []
  for (const server of config.servers) {
    if (request.only !== undefined && request.only.server !== server.name) continue
    const names = new Set(
      catalog.backups({ server: server.name, kind: 'database' }).map(({ manifest }) => manifest.database ?? ''),
    )
    for (const database of [...names].sort())
      if (request.only === undefined || request.only.database === database)
        groups.push(decideGroup('database', server, database, server.retention, installation))
    if (request.only === undefined || request.only.database === null)
      groups.push(decideGroup('roles', server, null, server.rolesRetention, installation))
  }
  const configured = new Set(config.servers.map(({ name }) => name))
  const inScope = (server: string): boolean => request.only === undefined && configured.has(server)
  const isOld = (instant: Date): boolean => now.getTime() - instant.getTime() > config.drill.keepReportsMs
  const alive = new Set(catalog.backups({}).map(({ manifest }) => manifest.label))
  return {
    groups: groups.filter(({ decisions }) => decisions.length > 0),
    orphanFolders: catalog
      .orphans()
      .filter(
        ({ server, modifiedAt }) => inScope(server) && now.getTime() - modifiedAt.getTime() > orphanAgeMs(installation),
      )
      .map(({ folder }) => folder),
    oldReports: catalog
      .drills({})
      .filter(({ server, backup }) => inScope(server) && !alive.has(backup.label))
      .filter(({ finishedAt }) => isOld(new Date(finishedAt)))
      .map(({ server, database, label }) => ({ server, database, label })),
    oldFullReports: catalog
      .fullDrills()
      .filter(({ server, label }) => inScope(server) && isOld(labelTime(label) ?? now)),
  }
}

function decideGroup(
  kind: PruneGroup['kind'],
  server: ServerConfig,
  database: string | null,
  policy: RetentionPolicy,
  installation: Installation,
): PruneGroup {
  const { catalog, clock, config } = installation
  const backups = catalog.backups({ server: server.name, kind, ...(database === null ? {} : { database }) })
  const held = new Map<string, string>()
  // A drill may be reading any backup of its database and any roles of its server.
  if (isDrilled({ server: server.name, database }, installation))
    for (const { manifest } of backups) held.set(manifest.label, 'a drill is running')
  const decide = (counted: readonly CatalogBackup[]): RetentionPlan =>
    decideRetention({
      backups: counted.map((backup) => ({
        label: backup.manifest.label,
        snapshotTime: new Date(backup.manifest.snapshotTime),
        verified: backup.verifiedAt !== null,
        kind,
      })),
      policy,
      now: clock.now(),
      timezone: config.timezone,
      held,
    })
  // A backup with missing objects or a failed drill takes no good one's place, and goes when it would have gone anyway.
  const good = backups.filter(({ faults, lastVerdict }) => faults.length === 0 && lastVerdict !== 'failed')
  const whole = new Map(decide(good).map((one) => [one.label, one]))
  const decisions = decide(backups).map((decision) => whole.get(decision.label) ?? decision)
  const sizes = new Map(backups.map((backup) => [backup.manifest.label, backup.storedBytes]))
  return {
    kind,
    server: server.name,
    database,
    policy,
    decisions: decisions.map((decision) => ({ ...decision, storedBytes: sizes.get(decision.label) ?? 0 })),
  }
}

/** A drill reads a backup of its own database, a full one of every database, and both the roles of their server. */
function isDrilled(
  { server, database }: { readonly server: string; readonly database: string | null },
  { catalog }: Installation,
): boolean {
  return catalog
    .runs()
    .some(
      (run) =>
        run.state === 'running' &&
        run.job === 'drill' &&
        run.server === server &&
        (database === null || run.database === null || run.database === database),
    )
}

/** The age from which no running backup can own what has no manifest; S3 dates an upload from its beginning. */
function orphanAgeMs({ config }: Installation): number {
  return Math.max(24 * 3_600_000, ...config.servers.map(({ backupDeadlineMs }) => backupDeadlineMs))
}

function backupsToRemove(plan: PrunePlan, { catalog }: Installation): CatalogBackup[] {
  return plan.groups.flatMap((group) => {
    const doomed = new Set(group.decisions.filter(({ keep }) => !keep).map(({ label }) => label))
    const { server, kind, database } = group
    return catalog
      .backups({ server, kind, ...(database === null ? {} : { database }) })
      .filter(({ manifest }) => doomed.has(manifest.label))
  })
}

async function writeRecord(
  plan: PrunePlan,
  doomed: readonly CatalogBackup[],
  installation: Installation,
  signal: AbortSignal,
): Promise<void> {
  const { clock, config, store, storeId } = installation
  const label = newLabel(installation)
  const record: PruneRecord = {
    format: pruneRecordFormat,
    label,
    storeId,
    pgproofVersion: version,
    at: clock.now().toISOString(),
    policies: plan.groups.map(({ kind, server, policy }) => ({ kind, server, policy, timezone: config.timezone })),
    removed: doomed.map(({ manifest, manifestSha256 }) => {
      const { kind, server, database } = manifest
      return { kind, server, database, label: manifest.label, manifestSha256 }
    }),
  }
  await store.put(pruneRecordKey(label), encodePruneRecord(record), { signal, ifAbsent: true })
  installation.catalog.addPrune(record)
}

async function removeBackup(backup: CatalogBackup, installation: Installation, signal: AbortSignal): Promise<void> {
  await installation.store.delete(`${backup.folder}${objectNames.manifest}`, { signal })
  installation.catalog.removeBackup(backup.folder)
  await removeFolder(backup.folder, installation, signal)
}

async function removeFolder(folder: string, { store }: Installation, signal: AbortSignal): Promise<void> {
  const keys: string[] = []
  for await (const { key } of store.list(folder, { signal })) keys.push(key)
  for (const key of keys) await store.delete(key, { signal })
}
