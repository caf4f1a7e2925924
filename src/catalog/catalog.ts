import type { Clock } from '../clock.ts'
import { type DrillReport, encodeDrillReport } from '../domain/drill-report.ts'
import { encodeManifest } from '../domain/manifest.ts'
import { type Pause, type PauseDocument, pausesInForce } from '../domain/pause.ts'
import type { PruneRecord } from '../domain/prune-record.ts'
import { assertNotAborted, PgproofError } from '../errors.ts'
import { backupFolder, drillReportKey, pauseKey, pruneRecordKey } from '../storage/object-keys.ts'
import type { StoreSet } from '../storage/store-set.ts'
import { absenceOf, damageOf } from './absence.ts'
import {
  type DamagedObject,
  emptyContents,
  type FullDrillPlace,
  type OrphanFolder,
  type StoreContents,
  type StoredBackup,
} from './contents.ts'
import { type History, readHistory } from './history.ts'
import { type KnownCache, KnownCaches } from './known-cache.ts'
import { type MergedContents, mergeContents, prunesIn } from './merge.ts'
import { OneAtATime } from './one-at-a-time.ts'
import type { ReportTrust } from './read-document.ts'
import { readStores, type StoreStanding, takeReading } from './read-stores.ts'
import { type Job, type Run, type RunChanges, RunLog } from './runs.ts'
import { reportsOf, type StoreView, viewStore } from './store-view.ts'
import {
  type BackupFilter,
  backupsIn,
  buildView,
  type CatalogBackup,
  type CatalogView,
  databasesIn,
  drillsIn,
  isOf,
  labelled,
  lastStoredStart,
  latestUntil,
  placeKey,
} from './view.ts'

export { storesOf } from './merge.ts'
export type { ReportTrust } from './read-document.ts'
export type { StoreStanding } from './read-stores.ts'
export type { StoreView } from './store-view.ts'
export type { BackupFilter, CatalogBackup } from './view.ts'

export type CatalogParts = {
  readonly clock: Clock
  /** How many finished runs are remembered. */
  readonly runCapacity?: number | undefined
  /** Whose drill reports count as proof, asked at each refresh; null or absent: everybody's. */
  readonly reportTrust?: (() => Promise<ReportTrust | null>) | undefined
  /** Copies on disk of what was read from a store, by its name. Absent: every start reads everything. */
  readonly cacheOf?: ((store: string) => KnownCache) | undefined
}

/**
 * The index in memory of the backups, drills and prunes in the stores, and of the runs of this process. Never
 * authoritative: `refresh` makes it anew from the stores, and they are right.
 */
export class Catalog {
  readonly #clock: Clock
  readonly #runs: RunLog
  readonly #reportTrust: () => Promise<ReportTrust | null>
  readonly #caches: KnownCaches
  /** By the name of the store, in their order. */
  #contents: ReadonlyMap<string, StoreContents> = new Map()
  #standings: readonly StoreStanding[] = []
  #merged: MergedContents | undefined
  #view: CatalogView | undefined
  readonly #storeViews = new Map<string, StoreView>()
  #history: History | undefined
  readonly #refreshes = new OneAtATime()
  /** What jobs did since the listing of a running refresh began; that listing may not show it. */
  #changes: Change[] | undefined
  #lastRefreshedAt: Date | null = null

  constructor(parts: CatalogParts) {
    this.#clock = parts.clock
    this.#reportTrust = parts.reportTrust ?? (async () => null)
    this.#caches = new KnownCaches(parts.cacheOf)
    this.#runs = new RunLog(parts.runCapacity ?? 1000)
  }

  /**
   * Lists the stores completely and reads what is new. One refresh at a time; a later caller gets a listing of its own.
   * Of a store that cannot be read the old contents are kept, and its standing says so. Throws if none can be read, or the
   * error of the keys whose reports count.
   */
  async refresh(stores: StoreSet, signal: AbortSignal): Promise<void> {
    await this.#refreshes.run(() => this.#refresh(stores, signal), signal)
  }

  /** When the listing of the last successful refresh began; null before the first. */
  get lastRefreshedAt(): Date | null {
    return this.#lastRefreshedAt
  }

  /** Whether the last refresh saw everything in all required stores. */
  get isComplete(): boolean {
    return this.#standings.length > 0 && this.#standings.every((one) => one.isComplete || !one.isRequired)
  }

  /** In the order of the stores; empty before the first refresh. */
  standings(): readonly StoreStanding[] {
    return this.#standings
  }

  /** What the store of that name holds. */
  inStore(name: string): StoreView {
    const known = this.#storeViews.get(name)
    if (known !== undefined) return known
    const isAlone = this.#contents.size === 1 && this.#contents.has(name)
    const ordered = isAlone ? () => this.#seen().backups : null
    const view = viewStore(name, this.#contents.get(name) ?? emptyContents(), () => this.#all(), ordered)
    this.#storeViews.set(name, view)
    return view
  }

  /** Every report of a drill or full drill, and when that began. */
  reports(): readonly { readonly key: string; readonly at: Date }[] {
    return reportsOf(this.#all())
  }

  /** Newest first. */
  backups(filter: BackupFilter = {}): readonly CatalogBackup[] {
    return backupsIn(this.#seen(), filter)
  }

  /**
   * The backup of that label. Two databases may have taken theirs in the same second and drawn the same suffix: throws
   * `USAGE_INVALID` unless `place` says which.
   */
  find(label: string, place: BackupFilter = {}): CatalogBackup | undefined {
    const found = labelled(this.#seen(), label).filter(({ manifest }) => isOf(manifest, place))
    if (found.length < 2) return found[0]
    throw new PgproofError('USAGE_INVALID', { reason: `several backups are labelled ${label}; say of which database` })
  }

  /** The newest backup of a database; with `verified`, the newest that passed a drill. */
  newest(server: string, database: string, proof: 'any' | 'verified' = 'any'): CatalogBackup | undefined {
    return this.#placed(server, database).find(({ verifiedAt }) => proof === 'any' || verifiedAt !== null)
  }

  /** What the next manifest of this place carries as `previous`. */
  previousManifest(
    kind: 'database' | 'roles',
    server: string,
    database: string | null,
  ): { readonly label: string; readonly sha256: string } | null {
    const newest = this.#seen().backupsByPlace.get(placeKey(kind, server, database))?.[0]
    return newest === undefined ? null : { label: newest.manifest.label, sha256: newest.manifestSha256 }
  }

  /** Every database with a backup in the store, in order of their names. */
  databases(): readonly { readonly server: string; readonly database: string }[] {
    return databasesIn(this.#seen())
  }

  /** Newest first. */
  drills(filter: Omit<BackupFilter, 'kind'> = {}): readonly DrillReport[] {
    return drillsIn(this.#seen(), filter)
  }

  findDrill(label: string): DrillReport | undefined {
    return this.#seen().drills.find((report) => report.label === label)
  }

  /** Where there are reports of full drills, newest first. */
  fullDrills(server?: string): readonly FullDrillPlace[] {
    const places = this.#all().fullDrills.filter((place) => server === undefined || place.server === server)
    return places.toSorted((a, b) => (a.label < b.label ? 1 : -1))
  }

  /** Newest first. */
  prunes(): readonly PruneRecord[] {
    return prunesIn(this.#all())
  }

  /** The pauses of schedules that count now, the one that ends last first. */
  pauses(): readonly Pause[] {
    return pausesInForce(this.#all().pauses.values(), this.#clock.now())
  }

  /**
   * Manifests, reports and records that are not what they should be, reports that nobody signed who is trusted, and
   * tables that a report lacks. Not counted anywhere else.
   */
  damaged(): readonly (DamagedObject & { readonly store: string })[] {
    return [...this.#all().damaged.values()]
  }

  /** What is wrong with the manifest or the report of that label, if it does not count. */
  damageOf(label: string): PgproofError | undefined {
    return damageOf(label, this.damaged())
  }

  /** Why there is no backup of that label to be had: it is damaged, was pruned, or is not known. */
  absenceOf(label: string): PgproofError {
    return absenceOf(label, this.damaged(), this.prunes())
  }

  /** Objects of backups without a manifest, with the age of the youngest object in each folder. */
  orphans(): readonly (OrphanFolder & { readonly store: string; readonly ageSeconds: number })[] {
    const now = this.#clock.now().getTime()
    return this.#all().orphans.map((orphan) => {
      return { ...orphan, ageSeconds: Math.max(0, (now - orphan.modifiedAt.getTime()) / 1000) }
    })
  }

  /** Where somebody other than pgproof removed, replaced or put back a backup. */
  historyGaps(): History['gaps'] {
    return this.#historyNow().gaps
  }

  /** How the backups of each place hang together, in order of their names. */
  historyChains(): History['chains'] {
    return this.#historyNow().chains
  }

  /** After the manifest is in these stores. */
  addBackup(
    { manifest, manifestSha256, hasSignature }: Pick<StoredBackup, 'manifest' | 'manifestSha256' | 'hasSignature'>,
    stores: readonly string[],
  ): void {
    const folder = backupFolder(manifest)
    const { dump, evidence, recovery } = manifest.objects
    const storedBytes = dump.bytes + (evidence?.bytes ?? 0) + recovery.bytes + encodeManifest(manifest).byteLength
    const storedAt = this.#clock.now()
    const backup = { manifest, manifestSha256, folder, hasSignature, storedAt, storedBytes, faults: [] }
    this.#change((contents, store) => {
      if (!stores.includes(store)) return
      contents.orphans.delete(folder)
      const known = contents.backups.get(folder)
      if (known === undefined || known.faults.length > 0) contents.backups.set(folder, backup)
    }, stores)
  }

  /** After the report is in these stores. `distrust` says why it does not count: the next refresh would find so, too. */
  addDrill(report: DrillReport, stores: readonly string[], distrust: PgproofError | null = null): void {
    const key = drillReportKey(report.server, report.database, report.label)
    if (distrust === null) {
      this.#change((contents, store) => stores.includes(store) && contents.drills.set(key, report), stores)
      return
    }
    const bytes = encodeDrillReport(report).byteLength
    const damaged = { key, bytes, modifiedAt: this.#clock.now(), error: distrust }
    this.#change((contents, store) => stores.includes(store) && contents.damaged.set(key, damaged), stores)
  }

  /** After the record is in that store, of which it tells. */
  addPrune(record: PruneRecord, store: string): void {
    this.#change((contents, name) => {
      if (name === store) contents.prunes.set(pruneRecordKey(record.label), record)
    })
  }

  /** After the pause, or its end, is in these stores. */
  addPause(document: PauseDocument, stores: readonly string[]): void {
    this.#change(
      ({ pauses }, store) => stores.includes(store) && pauses.set(pauseKey(document.label), document),
      stores,
    )
  }

  /** After the manifest is gone from that store. `folder` as in `CatalogBackup`: a label alone may name two. */
  removeBackup(folder: string, store: string): void {
    this.#change(({ backups }, name) => name === store && backups.delete(folder))
  }

  /** When the job last started, by the store and the runs of this process, leaving out what lies after `now`. */
  lastStart(server: string, database: string | null, job: Job, now: Date): Date | null {
    const attempt = this.#runs.lastAttempt(server, database, job)
    const stored =
      job === 'prune' || job === 'sync'
        ? this.prunes().flatMap(({ at }) => (job === 'prune' ? [new Date(at)] : []))
        : lastStoredStart(this.#seen(), server, database, job, now)
    return latestUntil(now, [...stored, ...(attempt === undefined ? [] : [attempt.startedAt ?? attempt.queuedAt])])
  }

  /** The same by the store alone; with `conclusive`, without drills that found nothing out. */
  lastStored({ server, database, job }: StartOf, now: Date, which: 'any' | 'conclusive' = 'any'): Date | null {
    return latestUntil(now, lastStoredStart(this.#seen(), server, database, job, now, which))
  }

  addRun(run: Run): void {
    this.#runs.add(run)
  }

  /** The run after the changes; undefined if it is not known (any more). */
  updateRun(id: string, changes: RunChanges): Run | undefined {
    return this.#runs.update(id, changes)
  }

  /** Newest first. */
  runs(): readonly Run[] {
    return this.#runs.all()
  }

  findRun(id: string): Run | undefined {
    return this.#runs.find(id)
  }

  /** The newest run of this process, finished or not. */
  lastAttempt(server: string, database: string | null, job: Job): Run | undefined {
    return this.#runs.lastAttempt(server, database, job)
  }

  /** Calls `watcher` with every new or changed run until the returned function is called. */
  watchRuns(watcher: (run: Run) => void): () => void {
    return this.#runs.watch(watcher)
  }

  async #refresh(stores: StoreSet, signal: AbortSignal): Promise<void> {
    const startedAt = this.#clock.now()
    const changes: Change[] = []
    this.#changes = changes
    try {
      const trust = await this.#reportTrust()
      const ends = await readStores(
        stores,
        (name) => this.#caches.knownOf(name, this.#contents.get(name)),
        trust,
        this.#clock,
        signal,
      )
      const rejected = ends.find((end) => end.status === 'rejected')
      if (rejected !== undefined) assertNotAborted(signal, 'the reading of the store')
      const before = { contents: this.#contents, standings: this.#standings }
      const { contents, standings } = takeReading(stores, ends, before, startedAt)
      this.#contents = contents
      this.#standings = standings
      for (const change of changes) this.#apply(change)
      this.#forget()
      if (rejected !== undefined && ends.every(({ status }) => status === 'rejected')) throw rejected.reason
      this.#lastRefreshedAt = startedAt
      await this.#caches.save(this.#contents, signal)
    } catch (error) {
      this.#standings = this.#standings.map((standing) => ({ ...standing, isComplete: false }))
      throw error
    } finally {
      this.#changes = undefined
    }
  }

  /** `stores` are those that it is about, should they not be known yet. */
  #change(change: Change, stores: readonly string[] = []): void {
    const unknown = stores.filter((name) => !this.#contents.has(name))
    if (unknown.length > 0)
      this.#contents = new Map([...this.#contents, ...unknown.map((name) => [name, emptyContents()] as const)])
    this.#apply(change)
    this.#changes?.push(change)
    this.#forget()
  }

  #apply(change: Change): void {
    for (const [name, contents] of this.#contents) change(contents, name)
  }

  #forget(): void {
    this.#merged = undefined
    this.#storeViews.clear()
    this.#view = undefined
    this.#history = undefined
  }

  #historyNow(): History {
    const isPartial = this.#standings.length > 1 && this.#standings.some(({ error }) => error !== null)
    this.#history ??= readHistory(this.#all(), isPartial)
    return this.#history
  }

  #all(): MergedContents {
    this.#merged ??= mergeContents(this.#contents)
    return this.#merged
  }

  #seen(): CatalogView {
    this.#view ??= buildView(this.#all())
    return this.#view
  }

  #placed(server: string, database: string): readonly CatalogBackup[] {
    return this.#seen().backupsByPlace.get(placeKey('database', server, database)) ?? []
  }
}

type StartOf = {
  readonly server: string
  readonly database: string | null
  readonly job: Exclude<Job, 'prune' | 'sync'>
}

type Change = (contents: StoreContents, store: string) => unknown
