import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { type DrillReport, decodeDrillReport } from '../domain/drill-report.ts'
import { decodeManifest, type Manifest } from '../domain/manifest.ts'
import { decodePause, type PauseDocument } from '../domain/pause.ts'
import { decodePruneRecord, type Prune, pruneOf } from '../domain/prune-record.ts'
import { PgproofError, rethrowUnless } from '../errors.ts'
import { objectNames } from '../storage/object-keys.ts'
import type { ObjectInfo, ObjectStore } from '../storage/object-store.ts'
import {
  isDrillReportKey,
  isOwnDrillKey,
  isOwnFolder,
  isOwnPauseKey,
  isOwnPruneKey,
  isPauseKey,
  isPruneRecordKey,
} from './places.ts'

/** What an object of the store turned out to be; the same key and bytes always give the same. */
export type StoredDocument =
  | { readonly kind: 'manifest'; readonly manifest: Manifest; readonly sha256: string }
  | { readonly kind: 'drill'; readonly report: DrillReport }
  | { readonly kind: 'prune'; readonly prune: Prune }
  | { readonly kind: 'pause'; readonly pause: PauseDocument }
  | { readonly kind: 'damaged'; readonly error: PgproofError }

/** Whose reports count as proof. Without one, every report does. */
export type ReportTrust = {
  /** Of the trusted keys: where it changes, reports are judged anew. */
  readonly identity: string
  /** Of the store that is read: a report of another one, genuine as it may be, says nothing of this. Null: not known. */
  readonly storeId: string | null
  /** Who signed these bytes, by fingerprint. Throws a register error where nobody did who is trusted. */
  verify(bytes: Uint8Array, signature: Uint8Array, what: string): Promise<{ readonly fingerprint: string }>
}

/** How the reports of one refresh are judged: by whom, and where their signatures are. */
export type ReportJudge = {
  readonly trust: ReportTrust
  readonly signatureOf: (reportKey: string) => ObjectInfo | undefined
}

/** Manifests and reports name no tables, so they stay small; prune records grow with what was removed. */
const maxBytes = { manifest: 1 << 20, drill: 1 << 20, prune: 16 << 20, pause: 1 << 16, signature: 1 << 16 } as const

/** Whether the catalog reads the object under this key. */
export function isDocumentKey(key: string): boolean {
  return documentKind(key) !== undefined
}

/**
 * Reads and decodes what is under a key that `isDocumentKey` tells for one of a document. What is not what pgproof writes, or
 * is in another's place, is `damaged`; gone since it was listed is undefined. Throws where the store does not answer.
 */
export async function readDocument(
  store: ObjectStore,
  { key, bytes }: ObjectInfo,
  judge: ReportJudge | null,
  signal: AbortSignal,
): Promise<StoredDocument | undefined> {
  const kind = documentKind(key)
  assert(kind !== undefined, `${key} is no document`)
  try {
    if (bytes > maxBytes[kind]) throw notOurs(key, `${bytes} bytes are more than pgproof ever writes`)
    const stored = await store.get(key, { signal, maxBytes: maxBytes[kind] })
    const document = decode(kind, key, stored)
    if (document.kind === 'drill' && judge !== null)
      await assertTrusted(document.report, { key, bytes: stored }, judge, store, signal)
    return document
  } catch (error) {
    rethrowUnless(error, PgproofError)
    if (error.code === 'STORE_NOT_FOUND') return undefined
    if (damages.has(error.code)) return { kind: 'damaged', error }
    throw error
  }
}

const damages = new Set(['STORE_FORMAT_INVALID', 'STORE_FORMAT_NEWER', 'SIGNATURE_INVALID', 'REPORT_UNTRUSTED'])

/** Anybody who can write to the store can put a report there; only a signature tells whose it is. */
async function assertTrusted(
  { signer, storeId }: DrillReport,
  { key, bytes }: { readonly key: string; readonly bytes: Uint8Array },
  { trust, signatureOf }: ReportJudge,
  store: ObjectStore,
  signal: AbortSignal,
): Promise<void> {
  const listed = signatureOf(key)
  if (listed === undefined) throw untrusted(key, 'it carries no signature')
  if (listed.bytes > maxBytes.signature) throw untrusted(key, `a signature has no ${listed.bytes} bytes`)
  const signature = await store.get(listed.key, { signal, maxBytes: maxBytes.signature })
  const { fingerprint } = await trust.verify(bytes, signature, key)
  if (trust.storeId !== null && storeId !== trust.storeId)
    throw new PgproofError('REPORT_UNTRUSTED', { key, reason: `it is of another store, ${storeId}` })
  if (fingerprint !== signer) throw untrusted(key, `it names another signer than ${fingerprint}, who signed it`)
}

/** Why a report proves nothing. */
export function untrusted(key: string, reason: string): PgproofError {
  return new PgproofError('REPORT_UNTRUSTED', { key, reason: `not signed by a trusted signer: ${reason}` })
}

type DocumentKind = Exclude<StoredDocument['kind'], 'damaged'>

const manifestEnding = `/${objectNames.manifest}`

function documentKind(key: string): DocumentKind | undefined {
  if (isDrillReportKey(key)) return 'drill'
  if (isPruneRecordKey(key)) return 'prune'
  if (isPauseKey(key)) return 'pause'
  return key.endsWith(manifestEnding) ? 'manifest' : undefined
}

function decode(kind: DocumentKind, key: string, bytes: Uint8Array): StoredDocument {
  const elsewhere = (): PgproofError => notOurs(key, 'it describes something of another place')
  if (kind === 'drill') {
    const report = decodeDrillReport(bytes, key)
    if (!isOwnDrillKey(key, report)) throw elsewhere()
    return { kind, report }
  }
  if (kind === 'prune') {
    const record = decodePruneRecord(bytes, key)
    if (!isOwnPruneKey(key, record)) throw elsewhere()
    return { kind, prune: pruneOf(record) }
  }
  if (kind === 'pause') {
    const pause = decodePause(bytes, key)
    if (!isOwnPauseKey(key, pause)) throw elsewhere()
    return { kind, pause }
  }
  const manifest = decodeManifest(bytes, key)
  if (!isOwnFolder(key, manifest)) throw elsewhere()
  return { kind, manifest, sha256: createHash('sha256').update(bytes).digest('hex') }
}

function notOurs(key: string, reason: string): PgproofError {
  return new PgproofError('STORE_FORMAT_INVALID', { what: key, reason })
}
