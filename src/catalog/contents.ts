import type { DrillReport } from '../domain/drill-report.ts'
import type { Manifest } from '../domain/manifest.ts'
import type { PauseDocument } from '../domain/pause.ts'
import type { Prune } from '../domain/prune-record.ts'
import { PgproofError } from '../errors.ts'
import { type BackupPlace, drillTablesKey, objectNames } from '../storage/object-keys.ts'
import type { ObjectInfo } from '../storage/object-store.ts'
import { forEachInSlices } from './in-slices.ts'
import type { Listed, ListedFolder } from './listed.ts'
import type { FullDrillPlace } from './places.ts'
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
  /** Objects that the manifest names and the store lacks or holds in another size; such a backup counts for nothing. */
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

export type StoreContents = {
  readonly backups: Map<string, StoredBackup>
  readonly drills: Map<string, DrillReport>
  readonly prunes: Map<string, Prune>
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

/** Puts together what was listed, piece by piece, and read; `refusals` are documents that the store did not hand out. */
export async function arrange(
  listed: readonly Listed[],
  documents: KnownDocuments,
  refusals: readonly DamagedObject[],
): Promise<StoreContents> {
  const fullDrills = listed.flatMap((piece) => piece.fullDrills)
  const contents = { ...emptyContents(), fullDrills, known: documents, isComplete: refusals.length === 0 }
  for (const refusal of refusals) contents.damaged.set(refusal.key, refusal)
  await forEachInSlices(documents, ([key, { info, document }]) => {
    if (document.kind === 'drill') {
      contents.drills.set(key, document.report)
      const missing = missingTables(document.report, listed)
      // What the report says counts; what it says in detail is gone.
      if (missing !== null) contents.damaged.set(missing.key, { ...missing, modifiedAt: info.modifiedAt })
    }
    if (document.kind === 'prune') contents.prunes.set(key, document.prune)
    if (document.kind === 'pause') contents.pauses.set(key, document.pause)
    if (document.kind === 'damaged') contents.damaged.set(key, { ...info, error: document.error })
  })
  for (const { folders } of listed)
    await forEachInSlices(folders, ([name, folder]) => {
      if (folder === undefined) return
      const info = folder.find(objectNames.manifest)
      const manifest = info === undefined ? undefined : documents.get(info.key)?.document
      if (info === undefined) contents.orphans.set(name, orphanFolder(name, folder))
      else if (manifest?.kind === 'manifest')
        contents.backups.set(name, storedBackup(name, manifest, folder, info.modifiedAt))
    })
  return contents
}

function missingTables(
  { server, database, label, tablesSha256 }: DrillReport,
  listed: readonly Listed[],
): Omit<DamagedObject, 'modifiedAt'> | null {
  const key = drillTablesKey(server, database, label)
  if (tablesSha256 === null || listed.some(({ drillKeys }) => drillKeys.has(key))) return null
  const reason = `it is missing, and drill report ${label} says that it is there`
  return { key, bytes: 0, error: new PgproofError('STORE_FORMAT_INVALID', { what: key, reason }) }
}

/** The fault of a backup whose manifest names a signer, and whose signature is not there. It is written before the manifest. */
export const signatureMissing = `${objectNames.signature} is missing`

/** What is wrong with a backup's objects, given how to find one by name. */
export function faultsOf(
  { objects, encryption }: Manifest,
  find: (name: string) => ObjectInfo | undefined,
): readonly string[] {
  const { dump, evidence, recovery } = objects
  const faults = [dump, recovery, ...(evidence === null ? [] : [evidence])].flatMap(({ name, bytes }) => {
    const held = find(name)
    if (held === undefined) return [`${name} is missing`]
    return held.bytes === bytes ? [] : [`${name} has ${held.bytes} bytes, its manifest says ${bytes}`]
  })
  const isUnsigned = encryption.signer !== null && find(objectNames.signature) === undefined
  return isUnsigned ? [...faults, signatureMissing] : faults
}

function storedBackup(
  folder: string,
  { manifest, sha256 }: { manifest: Manifest; sha256: string },
  inside: ListedFolder,
  storedAt: Date,
): StoredBackup {
  let storedBytes = 0
  for (const { bytes } of inside.objects) storedBytes += bytes
  const hasSignature = inside.find(objectNames.signature) !== undefined
  const faults = faultsOf(manifest, (name) => inside.find(name))
  return { manifest, manifestSha256: sha256, folder, hasSignature, storedAt, storedBytes, faults }
}

function orphanFolder(folder: string, { place, objects }: ListedFolder): OrphanFolder {
  const newest = Math.max(...objects.map(({ modifiedAt }) => modifiedAt.getTime()))
  return {
    ...place,
    folder,
    objects,
    bytes: objects.reduce((sum, { bytes }) => sum + bytes, 0),
    modifiedAt: new Date(newest),
  }
}
