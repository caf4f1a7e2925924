import type { Clock } from '../clock.ts'
import { type DrillReport, encodeDrillReport } from '../domain/drill-report.ts'
import { encodeManifest } from '../domain/manifest.ts'
import { type Pause, type PauseDocument, pausesInForce } from '../domain/pause.ts'
import { type Prune, type PruneRecord, pruneOf } from '../domain/prune-record.ts'
import { assertNotAborted, PgproofError, toPgproofError } from '../errors.ts'
import { backupFolder, drillReportKey, pauseKey, pruneRecordKey } from '../storage/object-keys.ts'
import type { StoreSet } from '../storage/store-set.ts'
import { absenceOf, damageOf } from './absence.ts'
import type { CatalogBackup } from './backup-list.ts'
import {
  type DamagedObject,
  emptyContents,
  type OrphanFolder,
  type StoreContents,
  type StoredBackup,
} from './contents.ts'
import type { HistoryChain, HistoryGap } from './history.ts'
import { type KnownCache, KnownCaches } from './known-cache.ts'
import { lookAtPlace, type News, type Place, takeNews } from './look-at-place.ts'
import { OneAtATime } from './one-at-a-time.ts'
import { Overview } from './overview.ts'
import { placeKey } from './place-key.ts'
import type { FullDrillPlace } from './places.ts'
import type { ReportTrust } from './read-document.ts'
import { readStores, type StoreStanding, takeReading } from './read-stores.ts'
import { type Job, type Run, type RunChanges, RunLog } from './runs.ts'
import { reportsOf, type StoreView } from './store-view.ts'
import { Touched, touchedBetween } from './touched.ts'
import { type BackupFilter, backupsIn, databasesIn, drillsIn, lastStoredStart, latestUntil } from './view.ts'

export type { CatalogBackup } from './backup-list.ts'
export type { Place } from './look-at-place.ts'
export { storesOf } from './merge.ts'
export type { ReportTrust } from './read-document.ts'
export type { StoreStanding } from './read-stores.ts'
export type { StoreView } from './store-view.ts'
export type { BackupFilter } from './view.ts'

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
 * authoritative: `refresh` reads what the stores hold now, and they are right.
 */
export class Catalog {
  readonly #clock: Clock
  readonly #runs: RunLog
  readonly #reportTrust: () => Promise<ReportTrust | null>
  readonly #caches: KnownCaches
  /** By the name of the store, in their order. */
  #contents: ReadonlyMap<string, StoreContents> = new Map()
  #standings: readonly StoreStanding[] = []
  readonly #overview = new Overview()
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

  /**
   * Reads what the stores hold of one place and is not known yet, and forgets what was pruned there: others may have done
   * so since the last refresh. Throws what a required store throws; what others told is taken all the same.
   */
  async lookAt(place: Place, stores: StoreSet, signal: AbortSignal): Promise<void> {
    const contentsOf = (store: string): StoreContents => this.#contents.get(store) ?? emptyContents()
    const known = { contentsOf, now: this.#clock.now() }
    const trust = await this.#reportTrust()
    const take = (store: string, news: News): void =>
      this.#change([store], (contents, touched) => takeNews(news, contents, touched))
    await lookAtPlace(place, stores, known, trust, take, signal)
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
    return this.#overview.inStore(name)
  }

  /** Every report of a drill or full drill, and when that began. */
  reports(): readonly { readonly key: string; readonly at: Date }[] {
    return reportsOf(this.#overview.all())
  }

  /** Newest first. */
  backups(filter: BackupFilter = {}): readonly CatalogBackup[] {
    return backupsIn(this.#overview.view(), filter)
  }

  /**
   * The backup of that label. Two databases may have taken theirs in the same second and drawn the same suffix: throws
   * `USAGE_INVALID` unless `place` says which.
   */
  find(label: string, place: BackupFilter = {}): CatalogBackup | undefined {
    const found = this.#overview.labelled(label, place)
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
    const newest = this.#overview.view().backupsByPlace.get(placeKey(kind, server, database))?.[0]
    return newest === undefined ? null : { label: newest.manifest.label, sha256: newest.manifestSha256 }
  }

  /** Every database with a backup in the store, in order of their names. */
  databases(): readonly { readonly server: string; readonly database: string }[] {
    return databasesIn(this.#overview.view())
  }

  /** Newest first. */
  drills(filter: Omit<BackupFilter, 'kind'> = {}): readonly DrillReport[] {
    return drillsIn(this.#overview.view(), filter)
  }

  findDrill(label: string): DrillReport | undefined {
    return this.#overview.view().drills.find((report) => report.label === label)
  }

  /** Where there are reports of full drills, newest first. */
  fullDrills(server?: string): readonly FullDrillPlace[] {
    const places = this.#overview.all().fullDrills.filter((place) => server === undefined || place.server === server)
    return places.toSorted((a, b) => (a.label < b.label ? 1 : -1))
  }

  /** Newest first. */
  prunes(): readonly Prune[] {
    return this.#overview.prunes()
  }

  /** The pauses of schedules that count now, the one that ends last first. */
  pauses(): readonly Pause[] {
    return pausesInForce(this.#overview.all().pauses.values(), this.#clock.now())
  }

  /**
   * Manifests, reports and records that are not what they should be, reports that nobody signed who is trusted, and
   * tables that a report lacks. Not counted anywhere else.
   */
  damaged(): readonly (DamagedObject & { readonly store: string })[] {
    return [...this.#overview.all().damaged.values()]
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
    return this.#overview.all().orphans.map((orphan) => {
      return { ...orphan, ageSeconds: Math.max(0, (now - orphan.modifiedAt.getTime()) / 1000) }
    })
  }

  /** Where somebody other than pgproof removed, replaced or put back a backup. */
  historyGaps(): readonly HistoryGap[] {
    return this.#overview.history().gaps()
  }

  /** How the backups of each place hang together, in order of their names. */
  historyChains(): readonly HistoryChain[] {
    return this.#overview.history().chains()
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
    this.#change(stores, (contents, touched) => {
      contents.orphans.delete(folder)
      const known = contents.backups.get(folder)
      if (known === undefined || known.faults.length > 0) contents.backups.set(folder, backup)
      touched.folders.add(folder)
    })
  }

  /** After the report is in these stores. `distrust` says why it does not count: the next refresh would find so, too. */
  addDrill(report: DrillReport, stores: readonly string[], distrust: PgproofError | null = null): void {
    const key = drillReportKey(report.server, report.database, report.label)
    if (distrust === null) {
      this.#change(stores, ({ drills }, touched) => {
        drills.set(key, report)
        touched.drills.add(key)
      })
      return
    }
    const bytes = encodeDrillReport(report).byteLength
    const object = { key, bytes, modifiedAt: this.#clock.now(), error: distrust }
    this.#change(stores, ({ damaged }) => damaged.set(key, object))
  }

  /** After the record is in that store, of which it tells. */
  addPrune(record: PruneRecord, store: string): void {
    const prune = pruneOf(record)
    this.#change([store], ({ prunes }, touched) => {
      prunes.set(pruneRecordKey(record.label), prune)
      touched.prune(prune)
    })
  }

  /** After the pause, or its end, is in these stores. */
  addPause(document: PauseDocument, stores: readonly string[]): void {
    this.#change(stores, ({ pauses }) => pauses.set(pauseKey(document.label), document))
  }

  /** After the manifest is gone from that store. `folder` as in `CatalogBackup`: a label alone may name two. */
  removeBackup(folder: string, store: string): void {
    this.#change([store], ({ backups }, touched) => {
      backups.delete(folder)
      touched.folders.add(folder)
    })
  }

  /** When the job last started, by the store and the runs of this process, leaving out what lies after `now`. */
  lastStart(server: string, database: string | null, job: Job, now: Date): Date | null {
    const attempt = this.#runs.lastAttempt(server, database, job)
    const stored =
      job === 'prune' || job === 'sync'
        ? this.prunes().flatMap(({ at }) => (job === 'prune' ? [new Date(at)] : []))
        : lastStoredStart(this.#overview.view(), server, database, job, now)
    return latestUntil(now, [...stored, ...(attempt === undefined ? [] : [attempt.startedAt ?? attempt.queuedAt])])
  }

  /** The same by the store alone; with `conclusive`, without drills that found nothing out. */
  lastStored({ server, database, job }: StartOf, now: Date, which: 'any' | 'conclusive' = 'any'): Date | null {
    return latestUntil(now, lastStoredStart(this.#overview.view(), server, database, job, now, which))
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
      const touched = new Touched()
      for (const [name, held] of contents) touched.add(await touchedBetween(before.contents.get(name), held))
      this.#contents = contents
      this.#standings = standings
      this.#overview.show(contents, this.#isPartial, touched)
      for (const change of changes) this.#apply(change)
      if (rejected !== undefined && ends.every(({ status }) => status === 'rejected')) throw rejected.reason
      this.#lastRefreshedAt = startedAt
      await this.#caches.save(this.#contents, signal)
    } catch (error) {
      // Where it was not a store that failed, none was read all the same, be it the first time.
      const unread = signal.aborted ? null : toPgproofError(error)
      const first = stores.named.map(({ name, isRequired }) => ({ name, isRequired, error: null, readAt: null }))
      const known = this.#standings.length > 0 || unread === null ? this.#standings : first
      this.#standings = known.map((one) => ({ ...one, isComplete: false, error: one.error ?? unread }))
      throw error
    } finally {
      this.#changes = undefined
    }
  }

  /** `stores` are those that it is about, whether they are known yet or not. */
  #change(stores: readonly string[], make: Change['make']): void {
    const unknown = stores.filter((name) => !this.#contents.has(name))
    if (unknown.length > 0) {
      this.#contents = new Map([...this.#contents, ...unknown.map((name) => [name, emptyContents()] as const)])
      this.#overview.show(this.#contents, this.#isPartial)
    }
    const change = { stores, make }
    this.#apply(change)
    this.#changes?.push(change)
  }

  #apply({ stores, make }: Change): void {
    const touched = new Touched()
    touched.hasOthers = true
    for (const [name, contents] of this.#contents) if (stores.includes(name)) make(contents, touched)
    this.#overview.touch(touched)
  }

  /** Whether what is missing may be in a store that could not be read. */
  get #isPartial(): boolean {
    return this.#standings.length > 1 && this.#standings.some(({ error }) => error !== null)
  }

  #placed(server: string, database: string): readonly CatalogBackup[] {
    return this.#overview.view().backupsByPlace.get(placeKey('database', server, database)) ?? []
  }
}

type StartOf = {
  readonly server: string
  readonly database: string | null
  readonly job: Exclude<Job, 'prune' | 'sync'>
}

type Change = {
  readonly stores: readonly string[]
  /** In one of them; tells what is another since. */
  readonly make: (contents: StoreContents, touched: Touched) => unknown
}
