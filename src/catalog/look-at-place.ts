import { labelPrefix } from '../domain/backup-label.ts'
import type { DrillReport } from '../domain/drill-report.ts'
import type { Prune } from '../domain/prune-record.ts'
import {
  type BackupPlace,
  backupFolder,
  backupPrefix,
  documentPrefixes,
  drillsPrefix,
  objectNames,
  prunesPrefix,
} from '../storage/object-keys.ts'
import type { ObjectInfo, ObjectStore } from '../storage/object-store.ts'
import type { StoreSet } from '../storage/store-set.ts'
import { arrange, type KnownDocument, type StoreContents, type StoredBackup } from './contents.ts'
import { listInParallel } from './list-in-parallel.ts'
import { Listed } from './listed.ts'
import { mapInParallel } from './map-in-parallel.ts'
import { isDocumentKey, type ReportTrust, readDocument } from './read-document.ts'
import type { Touched } from './touched.ts'

/** A database, or the roles of a server (`database` null). */
export type Place = Omit<BackupPlace, 'label'>

/** What one store holds of a place (and of its server's roles) that was not known, and what it holds no more. */
export type News = {
  /** By folder; only those of which every object is there. */
  readonly backups: ReadonlyMap<string, StoredBackup>
  /** By the report's key. */
  readonly drills: ReadonlyMap<string, DrillReport>
  /** By their keys. */
  readonly prunes: ReadonlyMap<string, Prune>
  /** Folders of backups that are gone, and are on record as pruned. */
  readonly pruned: readonly string[]
}

/**
 * Reads the place in every store and hands over the news of each as they come. A store that is not required is not waited
 * for. Throws what a required one throws, once all of them have ended.
 */
export async function lookAtPlace(
  place: Place,
  stores: StoreSet,
  known: { readonly contentsOf: (store: string) => StoreContents; readonly now: Date },
  trust: ReportTrust | null,
  onNews: (store: string, news: News) => void,
  signal: AbortSignal,
): Promise<void> {
  const looks = stores.named.map(async (store) => {
    await stores.assertMarked(store, signal)
    const news = await readNews(place, store.reader, known.contentsOf(store.name), trust, known.now, signal)
    if (news.backups.size + news.drills.size + news.prunes.size + news.pruned.length > 0) onNews(store.name, news)
  })
  const all = Promise.allSettled(looks)
  const required = looks.filter((_look, index) => stores.named[index]?.isRequired === true)
  const ends = await (required.length > 0 ? Promise.allSettled(required) : all)
  const failed = ends.find((end) => end.status === 'rejected')
  if (failed !== undefined) throw failed.reason
}

/** What is known for longer counts, where there are two; what is wrong with any of it is for the next refresh to say. */
export function takeNews(news: News, contents: StoreContents, touched: Touched): void {
  // A refresh may have seen the record of its prune, which began before this look was over.
  const onRecord =
    news.backups.size === 0 ? new Set() : foldersIn([...contents.prunes.values(), ...news.prunes.values()])
  for (const [folder, backup] of news.backups) {
    const known = contents.backups.get(folder)
    if ((known !== undefined && known.faults.length === 0) || onRecord.has(folder)) continue
    contents.orphans.delete(folder)
    contents.backups.set(folder, backup)
    touched.folders.add(folder)
  }
  for (const [key, report] of news.drills) {
    if (contents.drills.has(key)) continue
    contents.drills.set(key, report)
    touched.drills.add(key)
  }
  for (const [key, prune] of news.prunes) {
    if (contents.prunes.has(key)) continue
    contents.prunes.set(key, prune)
    touched.prune(prune)
  }
  for (const folder of news.pruned) if (contents.backups.delete(folder)) touched.folders.add(folder)
}

async function readNews(
  place: Place,
  store: ObjectStore,
  known: StoreContents,
  trust: ReportTrust | null,
  now: Date,
  signal: AbortSignal,
): Promise<News> {
  // A report names the roles that it restored, too: whoever knows the one and not the other takes those for removed.
  const own = [backupPrefix(place), backupPrefix({ kind: 'roles', server: place.server, database: null })]
  // Before the listing: what comes meanwhile need not be in it.
  const before = [...known.backups.keys()].filter((folder) => own.some((prefix) => folder.startsWith(prefix)))
  // Reports before the backups that they name, as a refresh has it.
  const reports =
    place.kind === 'roles' ? [] : documentPrefixes(place).filter((prefix) => prefix.startsWith(drillsPrefix))
  const objects: ObjectInfo[] = []
  for (const prefixes of [reports, [...new Set(own)]]) {
    const listings = await mapInParallel(prefixes, prefixes.length, signal, async (prefix) => {
      const listing: ObjectInfo[] = []
      await listInParallel(store, prefix, [], signal, (info) => listing.push(info))
      return listing
    })
    for (const listing of listings) for (const info of listing) objects.push(info)
  }
  const listed = new Map(objects.map((info) => [info.key, info]))
  const documents = await readUnknown(objects, listed, store, known, trust, signal)
  const sorted = new Listed()
  for (const info of objects) sorted.add(info)
  const { backups, drills } = await arrange([sorted], documents, [])
  // A listing that began before a backup was complete may show its manifest and not its dump.
  for (const [folder, { faults }] of [...backups]) if (faults.length > 0) backups.delete(folder)
  const isListed = (folder: string): boolean => listed.has(`${folder}${objectNames.manifest}`)
  const gone = before.filter((folder) => !isListed(folder))
  const named = [...[...backups.values()].flatMap(namedByManifest), ...[...drills.values()].flatMap(namedByReport)]
  const isExplained = named.every((folder) => isListed(folder) || known.backups.has(folder))
  // Records are what tells a backup that was pruned from one that somebody took away.
  if (gone.length === 0 && isExplained) return { backups, drills, prunes: new Map(), pruned: [] }
  const prunes = await readPrunes(store, known, now, signal)
  const onRecord = foldersIn([...known.prunes.values(), ...prunes.values()])
  return { backups, drills, prunes, pruned: gone.filter((folder) => onRecord.has(folder)) }
}

function namedByManifest({ manifest: { previous, ...place } }: StoredBackup): string[] {
  return previous === null ? [] : [backupFolder({ ...place, label: previous.label })]
}

function namedByReport({ server, database, backup, rolesBackup }: DrillReport): string[] {
  const roles = { kind: 'roles', server, database: null } as const
  return [
    backupFolder({ kind: 'database', server, database, label: backup.label }),
    ...(rolesBackup === null ? [] : [backupFolder({ ...roles, label: rolesBackup.label })]),
  ]
}

async function readUnknown(
  objects: readonly ObjectInfo[],
  listed: ReadonlyMap<string, ObjectInfo>,
  store: ObjectStore,
  known: StoreContents,
  trust: ReportTrust | null,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, KnownDocument>> {
  const judge = trust === null ? null : { trust, signatureOf: (key: string) => listed.get(`${key}.sig`) }
  const documents = new Map<string, KnownDocument>()
  const unknown = objects.filter(({ key }) => isDocumentKey(key) && !isKnown(key, known))
  await mapInParallel(unknown, parallelReads, signal, async (info) => {
    const document = await readDocument(store, info, judge, signal)
    if (document !== undefined) documents.set(info.key, { info, judgedBy: null, document })
  })
  return documents
}

const parallelReads = 16

function isKnown(key: string, { backups, drills, prunes, damaged }: StoreContents): boolean {
  if (drills.has(key) || prunes.has(key) || damaged.has(key)) return true
  return backups.get(key.slice(0, key.lastIndexOf('/') + 1))?.faults.length === 0
}

/** Records of the last hours, which are put there right before the backups go. */
async function readPrunes(
  store: ObjectStore,
  known: StoreContents,
  now: Date,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, Prune>> {
  const after = `${prunesPrefix}${labelPrefix(new Date(now.getTime() - pruneAgeMs))}`
  const objects: ObjectInfo[] = []
  for await (const info of store.list(prunesPrefix, { signal, after })) if (info.key > after) objects.push(info)
  const documents = await readUnknown(objects, new Map(), store, known, null, signal)
  return (await arrange([], documents, [])).prunes
}

/** What was pruned longer ago was seen by a refresh since. */
const pruneAgeMs = 24 * 3_600_000

function foldersIn(records: readonly Prune[]): ReadonlySet<string> {
  return new Set(records.flatMap(({ removed }) => removed.map(backupFolder)))
}
