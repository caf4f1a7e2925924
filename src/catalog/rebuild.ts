import { createHash } from 'node:crypto'
import { assertNotAborted, PgproofError, rethrowUnless } from '../errors.ts'
import {
  backupsPrefix,
  drillsPrefix,
  fullDrillsPrefix,
  objectNames,
  pausesPrefix,
  prunesPrefix,
  rolesPrefix,
} from '../storage/object-keys.ts'
import type { ObjectInfo, ObjectStore } from '../storage/object-store.ts'
import {
  arrange,
  type DamagedObject,
  faultsOf,
  type KnownBefore,
  type KnownDocument,
  type KnownDocuments,
  type StoreContents,
} from './contents.ts'
import { forEachInSlices } from './in-slices.ts'
import { cutsAmong, listInParallel } from './list-in-parallel.ts'
import { Listed } from './listed.ts'
import { mapInParallel } from './map-in-parallel.ts'
import { isDrillReportKey } from './places.ts'
import { isDocumentKey, type ReportJudge, type ReportTrust, readDocument } from './read-document.ts'
import { Reading } from './reading.ts'

/**
 * The contents of the store: lists everything, and reads every document that is new or changed since `known`. Throws if a
 * listing fails or the store hands nothing out; a single bad document is among `damaged`, and so is, with `trust`, a
 * report that nobody signed who is trusted.
 */
export async function rebuildFromStore(
  store: ObjectStore,
  knownBefore: KnownDocuments | KnownBefore,
  trust: ReportTrust | null,
  signal: AbortSignal,
): Promise<StoreContents> {
  const judge = trust === null ? null : judgeBy(trust)
  const refusals: DamagedObject[] = []
  const found = new Map<string, KnownDocument>()
  const reading = new Reading<ObjectInfo>(parallelReads, signal, async (info) => {
    try {
      const document = await readDocument(store, info, judge, signal)
      if (document !== undefined) found.set(info.key, { info, judgedBy: judgedBy(info, judge), document })
    } catch (error) {
      assertNotAborted(signal)
      if (!(error instanceof PgproofError) || refusals.length >= refusalsThatCount) throw error
      refusals.push({ ...info, error })
    }
  })
  let known = 'documents' in knownBefore ? undefined : knownBefore
  /** Documents that were listed before it was known what was read before, or before the signature of a report. */
  let waiting: ObjectInfo[] = []
  const look = (info: ObjectInfo): void => {
    const before = known?.get(info.key)
    const isKnown = before !== undefined && isSame(before.info, info) && before.judgedBy === judgedBy(info, judge)
    if (isKnown) found.set(info.key, before)
    else reading.add(info)
  }
  const lookAtWaiting = async (): Promise<void> => {
    const those = waiting
    waiting = []
    await forEachInSlices(those, look)
  }
  const knowing = 'documents' in knownBefore ? knownBefore.documents.then((documents) => (known = documents)) : known
  const listed: Listed[] = []
  const listedDocuments: ObjectInfo[][] = []
  const list = async (prefix: string, cuts: readonly string[]): Promise<void> => {
    const own = new Listed()
    const documents: ObjectInfo[] = []
    listed.push(own)
    listedDocuments.push(documents)
    await listInParallel(store, prefix, cuts, signal, (info) => {
      own.add(info)
      if (!isDocumentKey(info.key)) return void judge?.note(info)
      documents.push(info)
      // A report is judged by its signature, which is listed after it.
      if (known === undefined || prefix === drillsPrefix) waiting.push(info)
      else look(info)
    })
  }
  try {
    const cuts = await cutsOf(store, knownBefore)
    for (const prefixes of listingOrder) {
      await mapInParallel(prefixes, prefixes.length, signal, (prefix) => list(prefix, cuts))
      if (known !== undefined) await lookAtWaiting()
    }
    await knowing
    await lookAtWaiting()
  } catch (error) {
    await reading.stop()
    throw error
  }
  await reading.end()
  const documents = new Map<string, KnownDocument>()
  for (const infos of listedDocuments)
    await forEachInSlices(infos, ({ key }) => {
      const document = found.get(key)
      if (document !== undefined) documents.set(key, document)
    })
  const contents = await arrange(listed, documents, refusals)
  await confirmFaults(store, contents.backups, signal)
  return contents
}

/** Only what comes in pages is listed in pieces. */
async function cutsOf(store: ObjectStore, known: KnownDocuments | KnownBefore): Promise<readonly string[]> {
  if (store.listsInPages !== true) return []
  return 'documents' in known ? await known.cuts : cutsAmong(known.keys())
}

/**
 * Reports before the backups that they name, records of prunes after the backups that they removed: whatever happens
 * meanwhile, nothing looks as if it had vanished. What is in one row is listed at the same time.
 */
const listingOrder = [[fullDrillsPrefix, drillsPrefix, pausesPrefix], [backupsPrefix, rolesPrefix], [prunesPrefix]]

/** Of a store that takes 50 ms for each, 10,000 manifests come in 4 s; the Ceph gateway does, however idle it is. */
const parallelReads = 128
/** After so many documents that the store did not hand out, it is the store that fails, not the documents. */
const refusalsThatCount = 20

function isSame(a: ObjectInfo, b: ObjectInfo): boolean {
  return a.bytes === b.bytes && a.modifiedAt.getTime() === b.modifiedAt.getTime() && a.etag === b.etag
}

/** The identity is that of the trusted keys and of the store, short, because every report is remembered with it. */
type IdentifiedJudge = ReportJudge & {
  readonly identity: string
  /** Keeps in mind what was listed, if it is a signature. */
  note(info: ObjectInfo): void
}

function judgeBy(trust: ReportTrust): IdentifiedJudge {
  const signatures = new Map<string, ObjectInfo>()
  const identity = createHash('sha256')
    .update(JSON.stringify([trust.identity, trust.storeId]))
    .digest('base64url')
  const note = (info: ObjectInfo): void => {
    if (info.key.endsWith('.sig') && info.key.startsWith(drillsPrefix)) signatures.set(info.key, info)
  }
  return { trust, identity, note, signatureOf: (reportKey) => signatures.get(`${reportKey}.sig`) }
}

/** A report is judged once, unless the trusted keys or its signature change. */
function judgedBy({ key }: ObjectInfo, judge: IdentifiedJudge | null): string | null {
  if (judge === null || !isDrillReportKey(key)) return null
  const signature = judge.signatureOf(key)
  return JSON.stringify([judge.identity, signature?.bytes, signature?.modifiedAt.getTime(), signature?.etag])
}

/** A listing takes a while; one that began before the backup was complete may show its manifest and not what came before it. */
async function confirmFaults(
  store: ObjectStore,
  backups: StoreContents['backups'],
  signal: AbortSignal,
): Promise<void> {
  const suspects = [...backups.values()].filter(({ faults }) => faults.length > 0)
  await mapInParallel(suspects, parallelReads, signal, async (backup) => {
    const { manifest, folder } = backup
    const named = Object.values(manifest.objects).flatMap((object) => (object === null ? [] : [object.name]))
    const names = [...named, objectNames.signature]
    const held = new Map<string, ObjectInfo>()
    try {
      for (const name of names) {
        const info = await store.head(`${folder}${name}`, { signal })
        if (info !== undefined) held.set(name, info)
      }
    } catch (error) {
      assertNotAborted(signal)
      rethrowUnless(error, PgproofError)
      return
    }
    const hasSignature = held.has(objectNames.signature)
    backups.set(folder, { ...backup, hasSignature, faults: faultsOf(manifest, (name) => held.get(name)) })
  })
}
