import type { DrillReport } from '../domain/drill-report.ts'
import type { Manifest } from '../domain/manifest.ts'
import type { PauseDocument } from '../domain/pause.ts'
import type { PruneRecord } from '../domain/prune-record.ts'
import { PgproofError } from '../errors.ts'
import {
  type BackupPlace,
  drillsPrefix,
  drillTablesKey,
  fullDrillsPrefix,
  isOwnName,
  objectNames,
} from '../storage/object-keys.ts'
import type { ObjectInfo } from '../storage/object-store.ts'
import { forEachInSlices } from './in-slices.ts'
import { placeOfFullDrill, placesOfFolders } from './places.ts'
import type { StoredDocument } from './read-document.ts'

/** A backup as the store holds it: its manifest, and what the listing says about its objects. */
export type StoredBackup = {
  readonly manifest: Manifest
  /** Of the manifest's bytes as stored. */
  readonly manifestSha256: string
  /** Key prefix of its objects, ending in a slash. */
  readonly folder: string
  readonly hasSignature: boolean
  /** When the store says that the manifest was written. */
  readonly storedAt: Date
  /** All objects in the folder together, as the store lists them. */
  readonly storedBytes: number
  /** Objects that the manifest names and the store lacks or holds in another size; such a backup cannot be restored. */
  readonly faults: readonly string[]
  /** Whether another store holds another manifest of it, and nothing tells that this one is true. */
  readonly isDisputed?: boolean
}

/** An object that should describe a backup, drill, prune or pause and does not; never counted as one. */
export type DamagedObject = {
  readonly key: string
  readonly bytes: number
  readonly modifiedAt: Date
  readonly error: PgproofError
}

/** Objects in the folder of a backup that has no manifest: left by a crash, or still being written. */
export type OrphanFolder = BackupPlace & {
  readonly folder: string
  readonly objects: readonly ObjectInfo[]
  readonly bytes: number
  /** When the youngest of them was written. */
  readonly modifiedAt: Date
}

/** What was read before, so that a rebuild reads an unchanged object only once. */
export type KnownDocuments = ReadonlyMap<string, KnownDocument>
export type KnownDocument = {
  readonly info: ObjectInfo
  /** By whom and by which signature a report was judged; null where none is demanded, and for everything else. */
  readonly judgedBy: string | null
  readonly document: StoredDocument
}

/** The same where it is still being read from disk; neither promise rejects. */
export type KnownBefore = {
  /** Where to cut a listing; there long before the documents are, and no more than a hint. */
  readonly cuts: Promise<readonly string[]>
  readonly documents: Promise<KnownDocuments>
}

export type FullDrillPlace = { readonly server: string; readonly label: string }

export type StoreContents = {
  readonly backups: Map<string, StoredBackup>
  readonly drills: Map<string, DrillReport>
  readonly prunes: Map<string, PruneRecord>
  readonly pauses: Map<string, PauseDocument>
  /** Where there are reports of full drills. They prove nothing besides the drills they name, so they are not read. */
  readonly fullDrills: readonly FullDrillPlace[]
  readonly damaged: Map<string, DamagedObject>
  readonly orphans: Map<string, OrphanFolder>
  readonly known: KnownDocuments
  /** False if the store listed a document and then did not hand it out: what it says is unknown. */
  readonly isComplete: boolean
}

export function emptyContents(): StoreContents {
  return {
    backups: new Map(),
    drills: new Map(),
    prunes: new Map(),
    pauses: new Map(),
    fullDrills: [],
    damaged: new Map(),
    orphans: new Map(),
    known: new Map(),
    isComplete: false,
  }
}

/** Puts together what was listed and read; `refusals` are documents that the store did not hand out. */
export async function arrange(
  objects: readonly ObjectInfo[],
  documents: KnownDocuments,
  refusals: readonly DamagedObject[],
): Promise<StoreContents> {
  const fullDrills: FullDrillPlace[] = []
  const contents = { ...emptyContents(), fullDrills, known: documents, isComplete: refusals.length === 0 }
  for (const refusal of refusals) contents.damaged.set(refusal.key, refusal)
  const tables = new Set<string>()
  const folders = new Map<string, Folder | undefined>()
  const placeOf = placesOfFolders()
  let last: { readonly name: string; readonly folder: Folder | undefined } | undefined
  await forEachInSlices(objects, (info) => {
    const { key } = info
    const drilled = key.startsWith(fullDrillsPrefix) ? placeOfFullDrill(key) : undefined
    if (drilled !== undefined) fullDrills.push(drilled)
    if (key.startsWith(drillsPrefix)) tables.add(key)
    const end = key.lastIndexOf('/') + 1
    const object = key.slice(end)
    if (!isOwnName(object)) return
    const name = key.slice(0, end)
    // The objects of a folder mostly follow one another.
    if (last?.name !== name) {
      if (!folders.has(name)) folders.set(name, openFolder(name, placeOf))
      last = { name, folder: folders.get(name) }
    }
    last.folder?.inside.set(object, info)
  })
  await forEachInSlices(documents, ([key, { info, document }]) => {
    if (document.kind === 'drill') {
      contents.drills.set(key, document.report)
      const missing = missingTables(document.report, tables)
      // What the report says counts; what it says in detail is gone.
      if (missing !== null) contents.damaged.set(missing.key, { ...missing, modifiedAt: info.modifiedAt })
    }
    if (document.kind === 'prune') contents.prunes.set(key, document.record)
    if (document.kind === 'pause') contents.pauses.set(key, document.pause)
    if (document.kind === 'damaged') contents.damaged.set(key, { ...info, error: document.error })
  })
  await forEachInSlices(folders, ([name, folder]) => {
    if (folder === undefined) return
    const { place, inside } = folder
    const manifest = documents.get(`${name}${objectNames.manifest}`)?.document
    if (manifest?.kind === 'manifest') contents.backups.set(name, storedBackup(name, manifest, inside))
    else if (!inside.has(objectNames.manifest))
      contents.orphans.set(name, orphanFolder(name, place, [...inside.values()]))
  })
  return contents
}

function missingTables(
  { server, database, label, tablesSha256 }: DrillReport,
  listed: ReadonlySet<string>,
): Omit<DamagedObject, 'modifiedAt'> | null {
  const key = drillTablesKey(server, database, label)
  if (tablesSha256 === null || listed.has(key)) return null
  const reason = `it is missing, and drill report ${label} says that it is there`
  return { key, bytes: 0, error: new PgproofError('STORE_FORMAT_INVALID', { what: key, reason }) }
}

/** What is wrong with a backup's objects, given how to find one by name. */
export function faultsOf(manifest: Manifest, find: (name: string) => ObjectInfo | undefined): readonly string[] {
  const { dump, evidence, recovery } = manifest.objects
  return [dump, recovery, ...(evidence === null ? [] : [evidence])].flatMap(({ name, bytes }) => {
    const held = find(name)
    if (held === undefined) return [`${name} is missing`]
    return held.bytes === bytes ? [] : [`${name} has ${held.bytes} bytes, its manifest says ${bytes}`]
  })
}

type Folder = { readonly place: BackupPlace; readonly inside: Map<string, ObjectInfo> }

/** Undefined for a folder that is of no backup. */
function openFolder(folder: string, placeOf: (folder: string) => BackupPlace | undefined): Folder | undefined {
  const place = placeOf(folder)
  return place === undefined ? undefined : { place, inside: new Map() }
}

function storedBackup(
  folder: string,
  { manifest, sha256 }: { manifest: Manifest; sha256: string },
  inside: ReadonlyMap<string, ObjectInfo>,
): StoredBackup {
  let storedBytes = 0
  for (const { bytes } of inside.values()) storedBytes += bytes
  const hasSignature = inside.has(objectNames.signature)
  const { modifiedAt: storedAt } = inside.get(objectNames.manifest) as ObjectInfo
  const faults = faultsOf(manifest, (name) => inside.get(name))
  return { manifest, manifestSha256: sha256, folder, hasSignature, storedAt, storedBytes, faults }
}

function orphanFolder(folder: string, place: BackupPlace, objects: readonly ObjectInfo[]): OrphanFolder {
  const newest = Math.max(...objects.map(({ modifiedAt }) => modifiedAt.getTime()))
  return {
    ...place,
    folder,
    objects,
    bytes: objects.reduce((sum, { bytes }) => sum + bytes, 0),
    modifiedAt: new Date(newest),
  }
}
