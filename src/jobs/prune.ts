import type { CatalogBackup } from '../catalog/catalog.ts'
import { mapInParallel } from '../catalog/map-in-parallel.ts'
import { encodePruneRecord, type PrunedBackup, type PruneRecord, pruneRecordFormat } from '../domain/prune-record.ts'
import { assertRemovalShare } from '../domain/removal-limits.ts'
import { describePolicy, lockReason } from '../domain/retention.ts'
import { assertNotAborted, PgproofError, reasonOf, toPgproofError } from '../errors.ts'
import { logKeys } from '../log.ts'
import { newLabel } from '../parts.ts'
import { checksPrefix, isOwnName, objectNames, pruneRecordKey } from '../storage/object-keys.ts'
import type { NamedStore } from '../storage/store-set.ts'
import { StoreHolds } from '../stored/read-holds.ts'
import { version } from '../version.ts'
import type { Installation } from './installation.ts'
import { sweepPauses } from './pause.ts'
import {
  abandonedBefore,
  backupsToRemove,
  type Held,
  type PrunePlan,
  type PruneRequest,
  planPrune,
} from './plan-prune.ts'
import { objectionTo, whileConfigStays } from './prune-objection.ts'

/** What went from one store. */
export type Removed = {
  readonly store: string
  /** Labels of backups. */
  readonly backups: readonly string[]
  /** Orphans and old reports. */
  readonly leftovers: readonly string[]
  /** Space that is free now. */
  readonly freedBytes: number
  /** What the bucket keeps as earlier versions, out of sight and still paid for. */
  readonly hiddenBytes: number
}

export type PruneResult = {
  readonly plan: PrunePlan
  readonly removed: readonly Removed[]
  /** Why a real run would remove nothing, or did not remove all. */
  readonly heldBack: PgproofError | null
  readonly isDryRun: boolean
}

/**
 * Removes what the retention policy no longer keeps, in each store by what it holds itself. Nothing goes from a store
 * that could not be listed and read completely, and nothing of a server that `request.objection` names. Throws
 * PRUNE_REFUSED, PRUNE_HELD_BACK, PRUNE_INCOMPLETE, PRUNE_RULES_CHANGED, what the objection is, or store errors.
 */
export async function runPrune(
  asked: PruneRequest,
  installation: Installation & { readonly onPlan?: ((plan: PrunePlan) => void) | undefined },
  signal: AbortSignal,
): Promise<PruneResult> {
  const { catalog, stores } = installation

  // 1. Know everything, or remove nothing.
  await catalog.refresh(stores, signal)
  const request = whileConfigStays(asked, installation)
  const targets = knownStores(request, installation)

  // 2. Decide, with a reason for each backup. A locked one stays until its time, which is no fault.
  const planned: Planned[] = []
  for (const store of targets) {
    try {
      await stores.assertMarked(store, signal)
      planned.push(await planWithLocks(request, store, installation, signal))
    } catch (error) {
      if (store.isRequired || request.store !== undefined || signal.aborted) throw error
      installation.log.warn({ store: store.name, reason: reasonOf(error) }, 'not pruned')
    }
  }
  const plan = joined(planned.map((one) => one.plan))
  installation.onPlan?.(plan)
  const held = new Map(
    planned.map((one) => [one, shareError(one.plan, one.store.name, request, installation)] as const),
  )
  const before = objectionTo(request, installation)
  const heldBack = [...held.values()].find((error) => error !== null) ?? before
  if (request.isDryRun) return { plan, removed: [], heldBack, isDryRun: true }

  // 3. Store by store; what fails or is held back in one does not keep the others from it.
  const removed: Removed[] = []
  const failures: string[] = []
  for (const one of planned) {
    if (held.get(one) !== null) continue
    const removal = new Removal(one.store, one.holds, installation, failures, signal)
    try {
      await removal.carryOut(one.plan, one.doomed, request)
    } catch (error) {
      if (signal.aborted || planned.length === 1) throw error
      failures.push(`store ${one.store.name}: ${reasonOf(error)}`)
    } finally {
      // Also of one that was cut short.
      removed.push(removal.result())
      logRemoved(one.plan, removal.result(), request, installation)
    }
  }
  if (failures.length > 0) {
    const count = failures.length === 1 ? '1 object' : `${failures.length} objects`
    throw new PgproofError('PRUNE_INCOMPLETE', { count }, { details: failures.join('\n') })
  }
  const error = heldBack ?? objectionTo(request, installation)
  if (error !== null) throw error
  return { plan, removed, heldBack: null, isDryRun: false }
}

type Planned = {
  readonly store: NamedStore
  readonly holds: StoreHolds
  readonly plan: PrunePlan
  readonly doomed: readonly CatalogBackup[]
}

async function planWithLocks(
  request: PruneRequest,
  store: NamedStore,
  installation: Installation,
  signal: AbortSignal,
): Promise<Planned> {
  const holds = new StoreHolds(store, installation)
  const reading = new Map([...readByDrills(store.name, installation), ...(await holds.inForce(signal))])
  const first = planPrune(request, store.name, installation, reading)
  const locks = await locksOf(store, backupsToRemove(first, store.name, installation), installation, signal)
  const plan = planPrune(request, store.name, installation, new Map([...reading, ...locks]))
  return { store, holds, plan, doomed: backupsToRemove(plan, store.name, installation) }
}

/** Those that were read completely. Throws PRUNE_REFUSED for one that must be there and was not. */
function knownStores({ store: wanted }: PruneRequest, installation: Installation): readonly NamedStore[] {
  const { catalog, config, stores, log } = installation
  const standings = new Map(catalog.standings().map((standing) => [standing.name, standing]))
  // Where whoever writes may not delete, somebody else prunes.
  const isOthers = (name: string): boolean =>
    config.stores.some((one) => one.name === name && one.isAppendOnly && one.pruner === undefined)
  return (wanted === undefined ? stores.named : [stores.one(wanted)]).filter(({ name, isRequired }) => {
    if (wanted === undefined && isOthers(name)) return false
    const standing = standings.get(name)
    if (standing?.isComplete === true) return true
    const reason = `store "${name}" could not be listed and read completely`
    if (isRequired || wanted !== undefined)
      throw standing?.error?.code === 'STORE_UNMARKED' ? standing.error : new PgproofError('PRUNE_REFUSED', { reason })
    log.warn({ store: name, reason: standing?.error?.message ?? reason }, 'not pruned')
    return false
  })
}

function joined(plans: readonly PrunePlan[]): PrunePlan {
  return {
    groups: plans.flatMap(({ groups }) => groups),
    orphanFolders: plans.flatMap(({ orphanFolders }) => orphanFolders),
    oldReports: plans.flatMap(({ oldReports }) => oldReports),
  }
}

/**
 * What drills of this process read, where the store does not take their holds: one reads a backup of its own database, a
 * full one of every database, and both the roles of their server.
 */
function readByDrills(store: string, { catalog }: Installation): Held {
  const running = catalog.runs().filter(({ state, job }) => state === 'running' && job === 'drill')
  const held = new Map<string, string>()
  // Asked before each removal, and what a store holds is put together anew after each.
  if (running.length === 0) return held
  for (const { folder, manifest } of catalog.inStore(store).backups()) {
    const isRead = running.some(
      (run) =>
        run.server === manifest.server &&
        (manifest.database === null || run.database === null || run.database === manifest.database),
    )
    if (isRead) held.set(folder, 'a drill is running')
  }
  return held
}

/** Which of these the store keeps under Object Lock. Hiding one behind a delete marker would free nothing, either. */
async function locksOf(
  { reader }: NamedStore,
  doomed: readonly CatalogBackup[],
  { clock }: Installation,
  signal: AbortSignal,
): Promise<Held> {
  const locks = new Map<string, string>()
  if (reader.hasLocks === false) return locks
  await mapInParallel(doomed, parallelLooks, signal, async ({ folder, manifest }) => {
    const keys = [manifest.objects.dump.name, objectNames.manifest].map((name) => `${folder}${name}`)
    const heads = await Promise.all(keys.map((key) => reader.head(key, { signal })))
    const until = new Date(Math.max(0, ...heads.map((head) => head?.lockedUntil?.getTime() ?? 0)))
    const reason = lockReason(until, clock.now())
    if (reason !== undefined) locks.set(folder, reason)
  })
  return locks
}

/** As many backups at a time, of which two objects each are asked for. */
const parallelLooks = 16

/** Why so much may not go from one store without being forced; null if it may. */
export function shareError(
  { groups }: PrunePlan,
  store: string,
  { isForced = false }: PruneRequest,
  { config }: Pick<Installation, 'config'>,
): PgproofError | null {
  const decisions = groups.filter((group) => group.store === store).flatMap((group) => group.decisions)
  const removed = decisions.filter(({ keep }) => !keep).length
  try {
    assertRemovalShare({ store, total: decisions.length, removed, largestShare: config.prune.largestShare, isForced })
    return null
  } catch (error) {
    return toPgproofError(error)
  }
}

/** By which policy what went; of a prune of everything only what did. */
function logRemoved(
  { groups }: PrunePlan,
  { store, backups, leftovers, freedBytes }: Removed,
  { only }: PruneRequest,
  { config, log }: Installation,
): void {
  const gone = new Set(backups)
  for (const { kind, server, database, policy, decisions } of groups) {
    const removed = decisions.filter(({ keep, label }) => !keep && gone.has(label)).map(({ label }) => label)
    if (removed.length === 0 && only === undefined) continue
    const place = { [logKeys.server]: server, ...(database === null ? {} : { [logKeys.database]: database }) }
    const counts = { count: removed.length, kept: decisions.length - removed.length }
    const rule = { policy: describePolicy(policy), timezone: config.timezone }
    log.info({ [logKeys.job]: 'prune', store, kind, ...place, ...counts, ...rule, removed }, 'pruned by policy')
  }
  const line = { [logKeys.job]: 'prune', store, count: backups.length, leftovers, freedBytes }
  if (only === undefined || leftovers.length > 0) log.info(line, 'pruned')
}

/** The removal from one store. */
class Removal {
  readonly #store: NamedStore
  readonly #holds: StoreHolds
  readonly #installation: Installation
  readonly #failures: string[]
  readonly #signal: AbortSignal
  readonly #backups: string[] = []
  readonly #leftovers: string[] = []
  #freedBytes = 0
  #hiddenBytes = 0

  constructor(
    store: NamedStore,
    holds: StoreHolds,
    installation: Installation,
    failures: string[],
    signal: AbortSignal,
  ) {
    this.#store = store
    this.#holds = holds
    this.#installation = installation
    this.#failures = failures
    this.#signal = signal
  }

  async carryOut(plan: PrunePlan, doomed: readonly CatalogBackup[], request: PruneRequest): Promise<void> {
    const mayPrune = (server: string | null): boolean => (request.objection?.(server) ?? null) === null
    const { name, pruner } = this.#store
    const signal = this.#signal
    // Manifests first: from then on the backup does not count. Then its objects.
    const incompleteServers = new Set<string>()
    // Databases before roles, in the plan's order: the roles of a backup that could not be removed stay with it.
    for (const backup of doomed) {
      const { manifest, folder } = backup
      if (manifest.kind === 'roles' && incompleteServers.has(manifest.server)) continue
      const before = this.#backups.length
      await this.#attempt(manifest.label, this.#backups, async () => {
        if (!mayPrune(manifest.server)) return 'kept'
        // Who began to read it meanwhile keeps it; the next prune comes soon enough.
        if (await this.#isRead(folder)) return 'kept'
        const isRecorded = await this.#recordUnlessFull(plan, backup)
        await this.#delete(`${folder}${objectNames.manifest}`)
        this.#installation.catalog.removeBackup(folder, name)
        // Who had read the manifest by then had said so before; the rest is for the next prune, which has the record.
        if (!(await this.#isRead(folder))) await this.#removeFolder(folder)
        if (!isRecorded) await this.#record(plan, backup)
        return 'removed'
      })
      if (this.#backups.length === before) incompleteServers.add(manifest.server)
    }
    for (const { folder, server } of plan.orphanFolders)
      await this.#attempt(folder, this.#leftovers, async () => {
        if (!mayPrune(server)) return 'kept'
        if (await this.#isRead(folder)) return 'kept'
        // A sync may have completed it since the store was listed.
        const manifest = await this.#store.reader.head(`${folder}${objectNames.manifest}`, { signal })
        if (manifest !== undefined) return 'kept'
        await this.#removeFolder(folder)
        return 'removed'
      })
    for (const { label, server, keys } of plan.oldReports)
      await this.#attempt(label, this.#leftovers, async () => {
        if (!mayPrune(null) || !mayPrune(server)) return 'kept'
        for (const key of keys) await this.#delete(key)
        return 'removed'
      })
    await this.#holds.sweep(signal)
    await sweepPauses(this.#store, this.#installation, signal)

    // What unfinished uploads of crashed runs left; how old they must be is for all servers to say.
    if (!this.#installation.config.servers.every(({ name }) => mayPrune(name))) return
    const { log } = this.#installation
    const olderThan = abandonedBefore(this.#store, request, this.#installation)
    const uploads = await pruner.sweepUnfinished(olderThan, { signal })
    // Probes of `check` that could not be removed then.
    for await (const { key, modifiedAt } of pruner.list(checksPrefix, { signal }))
      if (modifiedAt < olderThan) await this.#delete(key).catch(() => assertNotAborted(signal))
    if (uploads > 0) log.info({ store: name, uploads }, 'unfinished uploads removed')
  }

  result(): Removed {
    const [store, backups, leftovers] = [this.#store.name, this.#backups, this.#leftovers]
    return { store, backups, leftovers, freedBytes: this.#freedBytes, hiddenBytes: this.#hiddenBytes }
  }

  async #attempt(what: string, list: string[], work: () => Promise<'removed' | 'kept'>): Promise<void> {
    try {
      if ((await work()) === 'removed') list.push(what)
    } catch (error) {
      this.#signal.throwIfAborted()
      this.#failures.push(`${what} in store ${this.#store.name}: ${reasonOf(error)}`)
    }
  }

  /** Asked right before each removal, of the store itself: the reader may be another process on another host. */
  async #isRead(folder: string): Promise<boolean> {
    const reason =
      readByDrills(this.#store.name, this.#installation).get(folder) ??
      (await this.#holds.inForce(this.#signal)).get(folder)
    if (reason !== undefined) this.#installation.log.info({ store: this.#store.name, folder, reason }, 'not removed')
    return reason !== undefined
  }

  /**
   * False where there is no room for the record: then it is written when the backup has made some. Killed in between, the
   * backup shows as one that somebody else removed; a store that stays full for ever is worse.
   */
  async #recordUnlessFull(plan: PrunePlan, backup: CatalogBackup): Promise<boolean> {
    try {
      await this.#record(plan, backup)
      return true
    } catch (error) {
      if (error instanceof PgproofError && error.code === 'STORE_FULL') return false
      throw error
    }
  }

  /**
   * Says what goes right before it goes: so a pruned history is not mistaken for a stolen one, and what an interrupted
   * prune did not come to is not taken for pruned.
   */
  async #record({ groups }: PrunePlan, { manifest, manifestSha256 }: CatalogBackup): Promise<void> {
    const { kind, server, database } = manifest
    const isSame = (one: PrunedBackup): boolean => one.label === manifest.label && one.manifestSha256 === manifestSha256
    // One that could not be removed last time is on record already.
    const records = this.#installation.catalog.inStore(this.#store.name).prunes
    if (records.some(({ removed }) => removed.some(isSame))) return
    const { clock, config, storeId, catalog } = this.#installation
    const label = newLabel(this.#installation)
    const record: PruneRecord = {
      format: pruneRecordFormat,
      label,
      storeId,
      pgproofVersion: version,
      at: clock.now().toISOString(),
      policies: groups
        .filter((group) => group.kind === kind && group.server === server && group.database === database)
        .map(({ policy }) => ({ kind, server, policy, timezone: config.timezone })),
      removed: [{ kind, server, database, label: manifest.label, manifestSha256 }],
    }
    const signal = this.#signal
    await this.#store.writer.put(pruneRecordKey(label), encodePruneRecord(record), { signal, ifAbsent: true })
    catalog.addPrune(record, this.#store.name)
  }

  async #removeFolder(folder: string): Promise<void> {
    const held: { key: string; bytes: number }[] = []
    for await (const { key, bytes } of this.#store.pruner.list(folder, { signal: this.#signal }))
      if (isOwnName(key.slice(folder.length))) held.push({ key, bytes })
    for (const { key, bytes } of held) await this.#delete(key, bytes)
  }

  async #delete(key: string, bytes = 0): Promise<void> {
    const deletion = await this.#store.pruner.delete(key, { signal: this.#signal })
    if (deletion === 'hidden') this.#hiddenBytes += bytes
    else this.#freedBytes += bytes
  }
}
