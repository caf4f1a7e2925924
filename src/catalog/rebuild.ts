import { assertNotAborted, PgproofError } from '../errors.ts'
import { backupsPrefix, drillsPrefix, prunesPrefix, rolesPrefix } from '../storage/object-keys.ts'
import type { ObjectInfo, ObjectStore } from '../storage/object-store.ts'
import {
  arrange,
  type DamagedObject,
  faultsOf,
  type KnownDocument,
  type KnownDocuments,
  type StoreContents,
} from './contents.ts'
import { mapInParallel } from './map-in-parallel.ts'
import { isDocumentKey, readDocument } from './read-document.ts'

/**
 * The contents of the store: lists everything, and reads every document that is new or changed since `known`. Throws if a
 * listing fails or the store hands nothing out; a single bad document is among `damaged`.
 */
export async function rebuildFromStore(
  store: ObjectStore,
  known: KnownDocuments,
  signal: AbortSignal,
): Promise<StoreContents> {
  const objects: ObjectInfo[] = []
  for (const prefix of [backupsPrefix, rolesPrefix, drillsPrefix, prunesPrefix])
    for await (const info of store.list(prefix, { signal })) objects.push(info)

  const refusals: DamagedObject[] = []
  const listed = objects.filter(({ key }) => isDocumentKey(key))
  const read = await mapInParallel(listed, parallelReads, signal, async (info) => {
    const before = known.get(info.key)
    if (before !== undefined && isSame(before.info, info)) return before.document
    try {
      return await readDocument(store, info, signal)
    } catch (error) {
      assertNotAborted(signal)
      if (!(error instanceof PgproofError) || refusals.length >= refusalsThatCount) throw error
      refusals.push({ ...info, error })
      return undefined
    }
  })
  const documents = new Map<string, KnownDocument>()
  for (const [index, info] of listed.entries()) {
    const document = read[index]
    if (document !== undefined) documents.set(info.key, { info, document })
  }
  const contents = arrange(objects, documents, refusals)
  await confirmFaults(store, contents.backups, signal)
  return contents
}

const parallelReads = 24
/** After so many documents that the store did not hand out, it is the store that fails, not the documents. */
const refusalsThatCount = 20

function isSame(a: ObjectInfo, b: ObjectInfo): boolean {
  return a.bytes === b.bytes && a.modifiedAt.getTime() === b.modifiedAt.getTime()
}

/** A listing takes a while; one that began before the backup was complete may show its manifest and not its dump. */
async function confirmFaults(
  store: ObjectStore,
  backups: StoreContents['backups'],
  signal: AbortSignal,
): Promise<void> {
  const suspects = [...backups.values()].filter(({ faults }) => faults.length > 0)
  await mapInParallel(suspects, parallelReads, signal, async (backup) => {
    const { manifest, folder } = backup
    const names = Object.values(manifest.objects).flatMap((object) => (object === null ? [] : [object.name]))
    const held = new Map<string, ObjectInfo>()
    try {
      for (const name of names) {
        const info = await store.head(`${folder}${name}`, { signal })
        if (info !== undefined) held.set(name, info)
      }
    } catch (error) {
      assertNotAborted(signal)
      if (error instanceof PgproofError) return
      throw error
    }
    backups.set(folder, { ...backup, faults: faultsOf(manifest, (name) => held.get(name)) })
  })
}
