import { createHash } from 'node:crypto'
import { assertNotAborted, PgproofError } from '../errors.ts'
import {
  backupsPrefix,
  drillsPrefix,
  fullDrillsPrefix,
  pausesPrefix,
  prunesPrefix,
  rolesPrefix,
} from '../storage/object-keys.ts'
import type { ObjectInfo, ObjectStore } from '../storage/object-store.ts'
import {
  arrange,
  type DamagedObject,
  faultsOf,
  type KnownDocument,
  type KnownDocuments,
  type StoreContents,
} from './contents.ts'
import { listInParallel } from './list-in-parallel.ts'
import { mapInParallel } from './map-in-parallel.ts'
import { isDrillReportKey } from './places.ts'
import { isDocumentKey, type ReportJudge, type ReportTrust, readDocument } from './read-document.ts'

/**
 * The contents of the store: lists everything, and reads every document that is new or changed since `known`. Throws if a
 * listing fails or the store hands nothing out; a single bad document is among `damaged`, and so is, with `trust`, a
 * report that nobody signed who is trusted.
 */
export async function rebuildFromStore(
  store: ObjectStore,
  knownBefore: KnownDocuments | Promise<KnownDocuments>,
  trust: ReportTrust | null,
  signal: AbortSignal,
): Promise<StoreContents> {
  // Only what comes in pages is listed in pieces, cut by what was known; else the cache is read meanwhile.
  const cuts = store.listsInPages === true ? [...(await knownBefore).keys()] : []
  const [objects, known] = await Promise.all([listAll(store, cuts, signal), knownBefore])

  const refusals: DamagedObject[] = []
  const judge = trust === null ? null : judgeBy(trust, objects)
  const listed = objects.filter(({ key }) => isDocumentKey(key))
  const read = await mapInParallel(listed, parallelReads, signal, async (info) => {
    const before = known.get(info.key)
    if (before !== undefined && isSame(before.info, info) && before.judgedBy === judgedBy(info, judge))
      return before.document
    try {
      return await readDocument(store, info, judge, signal)
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
    if (document !== undefined) documents.set(info.key, { info, judgedBy: judgedBy(info, judge), document })
  }
  const contents = arrange(objects, documents, refusals)
  await confirmFaults(store, contents.backups, signal)
  return contents
}

/**
 * Reports before the backups that they name, records of prunes after the backups that they removed: whatever happens
 * meanwhile, nothing looks as if it had vanished.
 */
const listingOrder = [fullDrillsPrefix, drillsPrefix, backupsPrefix, rolesPrefix, prunesPrefix, pausesPrefix]

async function listAll(
  store: ObjectStore,
  cuts: readonly string[],
  signal: AbortSignal,
): Promise<readonly ObjectInfo[]> {
  const objects: ObjectInfo[] = []
  for (const prefix of listingOrder)
    for (const info of await listInParallel(store, prefix, cuts, signal)) objects.push(info)
  return objects
}

/** Of a store that takes 50 ms for each, 10,000 manifests come in 10 s. */
const parallelReads = 48
/** After so many documents that the store did not hand out, it is the store that fails, not the documents. */
const refusalsThatCount = 20

function isSame(a: ObjectInfo, b: ObjectInfo): boolean {
  return a.bytes === b.bytes && a.modifiedAt.getTime() === b.modifiedAt.getTime() && a.etag === b.etag
}

/** The identity is that of the trusted keys and of the store, short, because every report is remembered with it. */
type IdentifiedJudge = ReportJudge & { readonly identity: string }

function judgeBy(trust: ReportTrust, objects: readonly ObjectInfo[]): IdentifiedJudge {
  const signatures = new Map(
    objects.filter(({ key }) => key.startsWith(drillsPrefix) && key.endsWith('.sig')).map((info) => [info.key, info]),
  )
  const identity = createHash('sha256')
    .update(JSON.stringify([trust.identity, trust.storeId]))
    .digest('base64url')
  return { trust, identity, signatureOf: (reportKey) => signatures.get(`${reportKey}.sig`) }
}

/** A report is judged once, unless the trusted keys or its signature change. */
function judgedBy({ key }: ObjectInfo, judge: IdentifiedJudge | null): string | null {
  if (judge === null || !isDrillReportKey(key)) return null
  const signature = judge.signatureOf(key)
  return JSON.stringify([judge.identity, signature?.bytes, signature?.modifiedAt.getTime(), signature?.etag])
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
