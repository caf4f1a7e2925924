import assert from 'node:assert/strict'
import { decodeDrillReport } from '../domain/drill-report.ts'
import { decodeManifest } from '../domain/manifest.ts'
import { decodePause } from '../domain/pause.ts'
import { assertPrune } from '../domain/prune-record.ts'
import type { KnownDocument } from './contents.ts'
import type { StoredDocument } from './read-document.ts'

/** A document as the cache on disk holds it; damaged ones are not in it, so that each start looks at them anew. */
export type Row = {
  readonly key: string
  readonly bytes: number
  /** Milliseconds since 1970, UTC. */
  readonly modifiedAt: number
  readonly etag: string | null
  readonly judgedBy: string | null
  readonly document: Exclude<StoredDocument, { readonly kind: 'damaged' }>
}

/** Throws for a damaged document. */
export function rowOf({ info, judgedBy, document }: KnownDocument): Row {
  assert(document.kind !== 'damaged', 'a damaged document is not kept')
  const { key, bytes, modifiedAt, etag = null } = info
  return { key, bytes, modifiedAt: modifiedAt.getTime(), etag, judgedBy, document }
}

/**
 * The row back as it was. What is in a file of ours was checked when it was read from the store; `isDecoded` checks once
 * more, as for the first of each kind: it shows a file that was written by other rules under the same version. Throws.
 */
export function parseRow({ key, bytes, modifiedAt, etag, judgedBy, document }: Row, isDecoded: boolean): KnownDocument {
  if (isDecoded) assertDecodes(document, key)
  const info = { key, bytes, modifiedAt: new Date(modifiedAt), ...(etag === null ? {} : { etag }) }
  return { info, judgedBy, document }
}

function assertDecodes(document: Row['document'], key: string): void {
  const bytesOf = (content: object): Uint8Array => Buffer.from(JSON.stringify(content))
  if (document.kind === 'manifest') decodeManifest(bytesOf(document.manifest), key)
  else if (document.kind === 'drill') decodeDrillReport(bytesOf(document.report), key)
  else if (document.kind === 'prune') assertPrune(document.prune)
  else decodePause(bytesOf(document.pause), key)
}
