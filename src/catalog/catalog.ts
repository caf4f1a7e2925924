import type { Clock } from '../clock.ts'
import { type DrillReport, encodeDrillReport } from '../domain/drill-report.ts'
import { encodeManifest, type Manifest } from '../domain/manifest.ts'
import type { PruneRecord } from '../domain/prune-record.ts'
import { PgproofError } from '../errors.ts'
import { backupFolder, drillReportKey, objectNames, pruneRecordKey } from '../storage/object-keys.ts'
import type { ObjectStore } from '../storage/object-store.ts'
import {
  type DamagedObject,
  emptyContents,
  type FullDrillPlace,
  type OrphanFolder,
  type StoreContents,
} from './contents.ts'
import { type History, readHistory } from './history.ts'
import { OneAtATime } from './one-at-a-time.ts'
import type { ReportTrust } from './read-document.ts'
import { rebuildFromStore } from './rebuild.ts'
import { type Job, type Run, type RunChanges, RunLog } from './runs.ts'
import {
  type BackupFilter,
  buildView,
  type CatalogBackup,
  type CatalogView,
  databasesIn,
  drillsIn,
  isOf,
  lastStoredStart,
  latestUntil,
  placeKey,
} from './view.ts'

export type { ReportTrust } from './read-document.ts'
export type { BackupFilter, CatalogBackup } from './view.ts'

export type CatalogParts = {
  readonly clock: Clock
  /** How many finished runs are remembered. */
  readonly runCapacity?: number | undefined
  /** Whose drill reports count as proof, asked at each refresh; null or absent: everybody's. */
  readonly reportTrust?: (() => Promise<ReportTrust | null>) | undefined
}

/**
 * The index in memory of the backups, drills and prunes in the store, and of the runs of this process. Never
 * authoritative: `refresh` makes it anew from the store, and the store is right.
 */
export class Catalog {
  readonly #clock: Clock
  readonly #runs: RunLog
  readonly #reportTrust: () => Promise<ReportTrust | null>
  #contents: StoreContents = emptyContents()
  #view: CatalogView | undefined
  #history: History | undefined
  readonly #refreshes = new OneAtATime()
  /** What jobs did since the listing of a running refresh began; that listing may not show it. */
  #changes: Change[] | undefined
  #lastRefreshedAt: Date | null = null
  #isComplete = false

  constructor(parts: CatalogParts) {
    this.#clock = parts.clock
    this.#reportTrust = parts.reportTrust ?? (async () => null)
    this.#runs = new RunLog(parts.runCapacity ?? 1000)
  }

  /**
   * Lists the store completely and reads what is new. One refresh at a time; a later caller gets a listing of its own.
   * Throws the store's error, or that of the keys whose reports count, with the old contents kept and `isComplete` false.
   */
  async refresh(store: ObjectStore, signal: AbortSignal): Promise<void> {
    await this.#refreshes.run(() => this.#refresh(store, signal), signal)
  }

  /** When the listing of the last successful refresh began; null before the first. */
  get lastRefreshedAt(): Date | null {
    return this.#lastRefreshedAt
  }

  /** Whether the last refresh saw everything in the store. Nothing may be removed by an incomplete catalog. */
  get isComplete(): boolean {
    return this.#isComplete
  }

  /** Newest first. */
  backups(filter: BackupFilter = {}): readonly CatalogBackup[] {
    const { kind, server, database } = filter
    if (server !== undefined && database !== undefined && kind !== 'roles') return this.#placed(server, database)
    return this.#seen().backups.filter(({ manifest }) => isOf(manifest, filter))
  }

  /**
   * The backup of that label. Two databases may have taken theirs in the same second and drawn the same suffix: throws
   * `USAGE_INVALID` unless `place` says which.
   */
  find(label: string, place: BackupFilter = {}): CatalogBackup | undefined {
    const found = (this.#seen().backupsByLabel.get(label) ?? []).filter(({ manifest }) => isOf(manifest, place))
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
    const places = this.#contents.fullDrills.filter((place) => server === undefined || place.server === server)
    return places.toSorted((a, b) => (a.label < b.label ? 1 : -1))
  }

  /** Newest first. */
  prunes(): readonly PruneRecord[] {
    return [...this.#contents.prunes.values()].sort((a, b) => (a.label < b.label ? 1 : -1))
  }

  /**
   * Manifests, reports and records that are not what they should be, reports that nobody signed who is trusted, and
   * tables that a report lacks. Not counted anywhere else.
   */
  damaged(): readonly DamagedObject[] {
    return [...this.#contents.damaged.values()]
  }

  /** What is wrong with the manifest or the report of that label, if it does not count. */
  damageOf(label: string): PgproofError | undefined {
    const names = [`/${label}/${objectNames.manifest}`, `/${label}.json`]
    return this.damaged().find(({ key }) => names.some((name) => key.endsWith(name)))?.error
  }

  /** Why there is no backup of that label to be had: it is damaged, was pruned, or is not known. */
  absenceOf(label: string): PgproofError {
    const prune = this.prunes().find(({ removed }) => removed.some((one) => one.label === label))
    return (
      this.damageOf(label) ??
      (prune === undefined
        ? new PgproofError('LABEL_UNKNOWN', { label })
        : new PgproofError('BACKUP_PRUNED', { label, at: prune.at }))
    )
  }

  /** Objects of backups without a manifest, with the age of the youngest object in each folder. */
  orphans(): readonly (OrphanFolder & { readonly ageSeconds: number })[] {
    const now = this.#clock.now().getTime()
    return Array.from(this.#contents.orphans.values(), (orphan) => {
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

  /** After the manifest is in the store. */
  addBackup(manifest: Manifest, manifestSha256: string, hasSignature: boolean): void {
    const folder = backupFolder(manifest)
    const { dump, evidence, recovery } = manifest.objects
    const storedBytes = dump.bytes + (evidence?.bytes ?? 0) + recovery.bytes + encodeManifest(manifest).byteLength
    const storedAt = this.#clock.now()
    const backup = { manifest, manifestSha256, folder, hasSignature, storedAt, storedBytes, faults: [] }
    this.#change((contents) => {
      contents.orphans.delete(folder)
      if (!contents.backups.has(folder)) contents.backups.set(folder, backup)
    })
  }

  /** After the report is in the store. `distrust` says why it does not count: the next refresh would find so, too. */
  addDrill(report: DrillReport, distrust: PgproofError | null = null): void {
    const key = drillReportKey(report.server, report.database, report.label)
    if (distrust === null) {
      this.#change((contents) => contents.drills.set(key, report))
      return
    }
    const bytes = encodeDrillReport(report).byteLength
    const damaged = { key, bytes, modifiedAt: this.#clock.now(), error: distrust }
    this.#change((contents) => contents.damaged.set(key, damaged))
  }

  /** After the record is in the store. */
  addPrune(record: PruneRecord): void {
    this.#change((contents) => contents.prunes.set(pruneRecordKey(record.label), record))
  }

  /** After the manifest is gone from the store. `folder` as in `CatalogBackup`: a label alone may name two. */
  removeBackup(folder: string): void {
    this.#change(({ backups }) => backups.delete(folder))
  }

  /** When the job last started, by the store and the runs of this process, leaving out what lies after `now`. */
  lastStart(server: string, database: string | null, job: Job, now: Date): Date | null {
    const attempt = this.#runs.lastAttempt(server, database, job)
    const stored =
      job === 'prune'
        ? this.prunes().map(({ at }) => new Date(at))
        : lastStoredStart(this.#seen(), server, database, job, now)
    return latestUntil(now, [...stored, ...(attempt === undefined ? [] : [attempt.startedAt ?? attempt.queuedAt])])
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

  async #refresh(store: ObjectStore, signal: AbortSignal): Promise<void> {
    const startedAt = this.#clock.now()
    const changes: Change[] = []
    this.#changes = changes
    try {
      const trust = await this.#reportTrust()
      const contents = await rebuildFromStore(store, this.#contents.known, trust, signal)
      for (const change of changes) change(contents)
      this.#contents = contents
      this.#forget()
      this.#lastRefreshedAt = startedAt
      this.#isComplete = contents.isComplete
    } catch (error) {
      this.#isComplete = false
      throw error
    } finally {
      this.#changes = undefined
    }
  }

  #change(change: Change): void {
    change(this.#contents)
    this.#changes?.push(change)
    this.#forget()
  }

  #forget(): void {
    this.#view = undefined
    this.#history = undefined
  }

  #historyNow(): History {
    this.#history ??= readHistory(this.#contents)
    return this.#history
  }

  #seen(): CatalogView {
    this.#view ??= buildView(this.#contents)
    return this.#view
  }

  #placed(server: string, database: string): readonly CatalogBackup[] {
    return this.#seen().backupsByPlace.get(placeKey('database', server, database)) ?? []
  }
}

type Change = (contents: StoreContents) => unknown
