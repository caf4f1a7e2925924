import type { CatalogBackup, StoreView } from '../catalog/catalog.ts'
import type { ServerConfig } from '../config/config.ts'
import { retentionOf } from '../config/retention-in.ts'
import { labelTime } from '../domain/backup-label.ts'
import { decideReports, type StoredReport } from '../domain/report-retention.ts'
import {
  decideRetention,
  type RetentionBackup,
  type RetentionDecision,
  type RetentionPolicy,
} from '../domain/retention.ts'
import { rolesNeeded } from '../domain/roles-needed.ts'
import type { PgproofError } from '../errors.ts'
import { documentPrefixes, drillReportKey, drillTablesKey, fullDrillReportKey } from '../storage/object-keys.ts'
import type { NamedStore } from '../storage/store-set.ts'
import type { Installation } from './installation.ts'

export type PruneRequest = {
  /** Only these; undefined prunes every configured server. */
  readonly only?: { readonly server: string; readonly database: string | null } | undefined
  /** Only the store of this name; undefined: all. */
  readonly store?: string | undefined
  readonly isDryRun: boolean
  /**
   * Whether a large share may go, whether anything may while the newest backup is older than its objective, and whether this
   * machine's clock is right where the store's is behind it.
   */
  readonly isForced?: boolean | undefined
  /** Why nothing of a server may go now, and with null no old report; it is asked again before each removal. */
  readonly objection?: PruneObjection | undefined
}

export type PruneObjection = (server: string | null) => PgproofError | null

/** The decision about each backup of one database, or of one server's roles, in one store, newest first. */
export type PruneGroup = {
  readonly store: string
  readonly kind: 'database' | 'roles'
  readonly server: string
  readonly database: string | null
  readonly policy: RetentionPolicy
  readonly decisions: readonly (RetentionDecision & { readonly storedBytes: number })[]
}

/** A report to remove: of a drill, or of a full drill where `database` is null. */
export type OldReport = {
  readonly store: string
  readonly server: string
  readonly database: string | null
  readonly label: string
  /** The report itself first: without it, what belongs to it counts for nothing. */
  readonly keys: readonly string[]
}

export type PrunePlan = {
  readonly groups: readonly PruneGroup[]
  /** Folders without a manifest: of a backup that was pruned before, or so old that no running one can own them. */
  readonly orphanFolders: readonly { readonly store: string; readonly server: string; readonly folder: string }[]
  readonly oldReports: readonly OldReport[]
}

/** Folders of backups that may not be removed, with the reason. */
export type Held = ReadonlyMap<string, string>

/** What a prune would do in one store, from the catalog as it stands. Removes nothing. */
export function planPrune(
  request: PruneRequest,
  store: string,
  installation: Installation,
  held: Held = new Map(),
): PrunePlan {
  const { catalog, config } = installation
  const view = catalog.inStore(store)
  const mayPrune = (server: string | null): boolean => (request.objection?.(server) ?? null) === null
  const servers = config.servers
    .filter(({ name }) => request.only === undefined || request.only.server === name)
    .filter(({ name }) => mayPrune(name))
  const groups = servers.flatMap((server) => {
    const databases = new Set(view.backups({ server: server.name, kind: 'database' }).map(databaseOf))
    const decided = [...databases]
      .sort()
      .map((database) => decideGroup({ store, view, server, kind: 'database', database, held }, request, installation))
    // What only another prune would remove is still there after this one, and needs its roles.
    const staying = decided.flatMap(({ decisions, database }) =>
      decisions.filter(({ keep }) => keep || (request.only !== undefined && request.only.database !== database)),
    )
    const needed = rolesNeeded(staying, view.backups({ server: server.name, kind: 'roles' }).map(datedOf))
    const roles = { store, view, server, kind: 'roles' as const, database: null, held, needed }
    return [...decided, decideGroup(roles, request, installation)].filter(
      ({ database }) => request.only === undefined || request.only.database === database,
    )
  })
  return {
    groups: groups.filter(({ decisions }) => decisions.length > 0),
    orphanFolders: orphansOf(store, view, request, installation)
      .filter(({ folder, server }) => !held.has(folder) && mayPrune(server))
      .map(({ folder, server }) => ({ store, server, folder })),
    oldReports: (request.only === undefined && mayPrune(null) ? oldReportsOf(store, view, installation) : []).filter(
      ({ server }) => mayPrune(server),
    ),
  }
}

/** Those of the plan that would go. */
export function backupsToRemove({ groups }: PrunePlan, store: string, { catalog }: Installation): CatalogBackup[] {
  const view = catalog.inStore(store)
  return groups
    .filter((group) => group.store === store)
    .flatMap((group) => {
      const doomed = new Set(group.decisions.filter(({ keep }) => !keep).map(({ label }) => label))
      const { server, kind, database } = group
      return view
        .backups({ server, kind, ...(database === null ? {} : { database }) })
        .filter(({ manifest }) => doomed.has(manifest.label))
    })
}

/**
 * What was written before this and has no manifest can be no running backup's; S3 dates an upload from its beginning. By the
 * clock that is behind, the store's or this machine's: one that is days ahead must not take away what is being written.
 * Who forces a prune takes this machine's for right.
 */
export function abandonedBefore(
  { reader }: Pick<NamedStore, 'reader'>,
  { isForced = false }: PruneRequest,
  { config, clock }: Pick<Installation, 'config' | 'clock'>,
): Date {
  const ageMs = Math.max(24 * 3_600_000, ...config.servers.map(({ backupDeadlineMs }) => backupDeadlineMs))
  const aheadMs = isForced ? 0 : Math.max(0, -(reader.clockSkewSeconds() ?? 0) * 1000)
  return new Date(clock.now().getTime() - aheadMs - ageMs)
}

type Group = {
  readonly store: string
  readonly view: StoreView
  readonly server: ServerConfig
  readonly kind: PruneGroup['kind']
  readonly database: string | null
  readonly held: Held
  readonly needed?: ReadonlyMap<string, string>
}

function decideGroup(
  { store, view, server, kind, database, held, needed }: Group,
  { isForced = false }: PruneRequest,
  { clock, config }: Installation,
): PruneGroup {
  const backups = view.backups({ server: server.name, kind, ...(database === null ? {} : { database }) })
  const policy = retentionOf(store, config, server, kind)
  const decisions = decideRetention({
    backups: backups.map((backup): RetentionBackup => {
      return { ...datedOf(backup), verified: backup.verifiedAt !== null, kind }
    }),
    policy,
    now: clock.now(),
    timezone: config.timezone,
    objectiveMs: kind === 'database' ? (server.objectives.rpoMs ?? null) : null,
    isForced,
    held: new Map(
      backups.flatMap(({ folder, manifest, isDisputed }) => {
        // Whoever clears it up needs to see both.
        const reason = isDisputed === true ? 'another store has another manifest of it' : held.get(folder)
        return reason === undefined ? [] : [[manifest.label, reason] as const]
      }),
    ),
    needed,
  })
  const sizes = new Map(backups.map((backup) => [backup.manifest.label, backup.storedBytes]))
  const lost = isForced ? undefined : unreadableOf(view, { kind, server: server.name, database })
  return {
    store,
    kind,
    server: server.name,
    database,
    policy,
    decisions: decisions.map((decision) => ({
      ...(lost === undefined ? decision : heldBackBy(lost, decision)),
      storedBytes: sizes.get(decision.label) ?? 0,
    })),
  }
}

/** A manifest or report of the place that nobody can read: it may say what makes another backup dispensable, or not. */
function unreadableOf(view: StoreView, place: Parameters<typeof documentPrefixes>[0]): string | undefined {
  const prefixes = documentPrefixes(place)
  return view.unreadableKeys.find((key) => prefixes.some((prefix) => key.startsWith(prefix)))
}

function heldBackBy(key: string, decision: RetentionDecision): RetentionDecision {
  if (decision.keep) return decision
  return { ...decision, keep: true, reasons: [{ rule: 'held back', detail: `${key} cannot be read` }] }
}

function databaseOf({ manifest }: CatalogBackup): string {
  return manifest.database ?? ''
}

function datedOf({ manifest, snapshotTime, faults, isKnownBad }: CatalogBackup): {
  readonly label: string
  readonly snapshotTime: Date
  readonly isGood: boolean
} {
  return { label: manifest.label, snapshotTime, isGood: faults.length === 0 && !isKnownBad }
}

function orphansOf(
  store: string,
  view: StoreView,
  request: PruneRequest,
  installation: Installation,
): StoreView['orphans'] {
  const { only } = request
  const { config, stores } = installation
  const olderThan = abandonedBefore(stores.one(store), request, installation)
  const configured = new Set(config.servers.map(({ name }) => name))
  return view.orphans
    .filter(({ server, database }) =>
      only === undefined ? configured.has(server) : only.server === server && only.database === database,
    )
    .filter(({ folder, modifiedAt }) => {
      // Its manifest went, as a record says; a crash kept the rest from going with it.
      if (view.prunedFolders.has(folder)) return true
      return only === undefined && modifiedAt < olderThan
    })
}

function oldReportsOf(store: string, view: StoreView, { config, clock }: Installation): OldReport[] {
  const configured = new Set(config.servers.map(({ name }) => name))
  const reports = [
    ...view.drills.map((report): StoredReport => {
      const { label, server, database, verdict, backup, rolesBackup } = report
      const backups = [backup.label, ...(rolesBackup === null ? [] : [rolesBackup.label])]
      return { label, server, database, verdict, backups, finishedAt: new Date(report.finishedAt) }
    }),
    ...view.fullDrills.map(({ server, label }): StoredReport => {
      return { label, server, database: null, verdict: null, backups: [], finishedAt: labelTime(label) ?? clock.now() }
    }),
  ].filter(({ server }) => configured.has(server))
  const backups = new Set(view.backups().map(({ manifest }) => manifest.label))
  return decideReports({ reports, backups, keepMs: config.drill.keepReportsMs, now: clock.now() })
    .filter(({ keep }) => !keep)
    .map(({ report: { server, database, label } }) => {
      const key = database === null ? fullDrillReportKey(server, label) : drillReportKey(server, database, label)
      const tables = database === null ? [] : [drillTablesKey(server, database, label)]
      return { store, server, database, label, keys: [key, `${key}.sig`, ...tables] }
    })
}
