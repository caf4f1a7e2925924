import assert from 'node:assert/strict'
import { isDeepStrictEqual } from 'node:util'
import type { CatalogBackup } from '../catalog/catalog.ts'
import { type BoundManifest, decodeEvidence, type Evidence } from '../domain/evidence.ts'
import { decodeManifest, type Manifest, type StoredObject } from '../domain/manifest.ts'
import { decodeRolesEvidence, type RolesEvidence } from '../domain/roles-evidence.ts'
import { decryptBytes } from '../encryption/decrypt.ts'
import type { PrivateKeys } from '../encryption/keys.ts'
import { type TrustedSigners, verifyDetached } from '../encryption/sign.ts'
import { PgproofError } from '../errors.ts'
import { backupFolder, objectNames } from '../storage/object-keys.ts'
import type { StoreReader } from '../storage/store-set.ts'
import { measureBytes } from '../streams/measure.ts'

export type ReadManifest = { readonly manifest: Manifest; readonly sha256: string; readonly folder: string }

/** The manifest as the store holds it now, not as the catalog remembers it. Throws STORE_… errors. */
export async function readManifest(
  backup: CatalogBackup,
  store: StoreReader,
  signal: AbortSignal,
): Promise<ReadManifest & { readonly bytes: Uint8Array }> {
  const key = `${backup.folder}${objectNames.manifest}`
  const bytes = await store.get(key, { signal })
  const manifest = decodeManifest(bytes, key)
  if (backupFolder(manifest) !== backup.folder)
    throw new PgproofError('STORE_FORMAT_INVALID', { what: key, reason: 'it describes a backup of another place' })
  return { manifest, sha256: measureBytes(bytes).sha256, folder: backup.folder, bytes }
}

/**
 * Checks who wrote the manifest. Without trusted signers there is nothing to check against, and null is returned.
 * Throws SIGNATURE_MISSING or SIGNATURE_INVALID.
 */
export async function checkSignature(
  read: ReadManifest & { readonly bytes: Uint8Array },
  trustedSigners: TrustedSigners | null,
  store: StoreReader,
  signal: AbortSignal,
): Promise<{ readonly fingerprint: string } | null> {
  if (trustedSigners === null) return null
  const key = `${read.folder}${objectNames.signature}`
  if ((await store.head(key, { signal })) === undefined)
    throw new PgproofError('SIGNATURE_MISSING', { what: read.manifest.label })
  const signature = await store.get(key, { signal })
  return await verifyDetached(read.bytes, signature, trustedSigners, `${read.manifest.label}/${objectNames.manifest}`)
}

/** The evidence of a database backup, checked against its manifest. Throws OBJECT_MISMATCH, STORE_FORMAT_INVALID, keys' errors. */
export async function readEvidence(
  read: ReadManifest,
  keys: PrivateKeys,
  store: StoreReader,
  signal: AbortSignal,
): Promise<Evidence> {
  const { key, bytes } = await openEvidence(read, keys, store, signal)
  const evidence = decodeEvidence(bytes, key)
  assertBound(read, evidence, key)
  return evidence
}

/** The evidence of a roles backup, checked likewise. */
export async function readRolesEvidence(
  read: ReadManifest,
  keys: PrivateKeys,
  store: StoreReader,
  signal: AbortSignal,
): Promise<RolesEvidence> {
  const { key, bytes } = await openEvidence(read, keys, store, signal)
  const evidence = decodeRolesEvidence(bytes, key)
  assertBound(read, evidence, key)
  return evidence
}

/** A small object as the manifest names it. Throws OBJECT_MISMATCH, STORE_NOT_FOUND. */
export async function readObject(
  { folder }: ReadManifest,
  { name, sha256 }: StoredObject,
  store: StoreReader,
  signal: AbortSignal,
): Promise<Uint8Array> {
  const key = `${folder}${name}`
  // Evidence of a hundred thousand objects has 13 MB; whatever has 512 is none.
  const bytes = await store.get(key, { signal, maxBytes: 512 << 20 })
  if (measureBytes(bytes).sha256 === sha256) return bytes
  throw new PgproofError('OBJECT_MISMATCH', { key, reason: 'its SHA-256 is not the one in the manifest' })
}

/** Throws OBJECT_MISMATCH, STORE_FORMAT_INVALID, keys' errors. */
async function openEvidence(
  read: ReadManifest,
  keys: PrivateKeys,
  store: StoreReader,
  signal: AbortSignal,
): Promise<{ readonly key: string; readonly bytes: Uint8Array }> {
  const { label, objects } = read.manifest
  if (objects.evidence === null)
    throw new PgproofError('STORE_FORMAT_INVALID', { what: label, reason: 'it is a backup without evidence' })
  const key = `${read.folder}${objects.evidence.name}`
  const encrypted = await readObject(read, objects.evidence, store, signal)
  try {
    return { key, bytes: await decryptBytes(encrypted, keys, key) }
  } catch (error) {
    if (!(error instanceof PgproofError) || error.code !== 'KEY_NO_MATCH') throw error
    // The message knows only the ids of subkeys; people know their keys by fingerprint.
    const recipients = read.manifest.encryption.recipients.join(', ')
    throw new PgproofError('KEY_NO_MATCH', { what: key, recipients }, { cause: error })
  }
}

/** The evidence says what its manifest must say. Throws STORE_FORMAT_INVALID naming the first field that differs. */
function assertBound(
  read: ReadManifest,
  evidence: { readonly label: string; readonly server: string; readonly manifest: BoundManifest },
  key: string,
): void {
  const { manifest } = read
  const bound = evidence.manifest
  const isOwn =
    evidence.label === manifest.label &&
    evidence.server === manifest.server &&
    bound.kind === manifest.kind &&
    bound.label === manifest.label &&
    bound.server === manifest.server &&
    bound.database === manifest.database
  if (!isOwn)
    throw new PgproofError('STORE_FORMAT_INVALID', { what: key, reason: 'it is the evidence of another backup' })
  const said: Record<string, unknown> = {
    ...manifest,
    object: manifest.objects.dump,
    recovery: manifest.objects.recovery,
    recipients: manifest.encryption.recipients,
    signer: manifest.encryption.signer,
  }
  for (const [name, expected] of Object.entries(bound)) {
    if (isDeepStrictEqual(expected, said[name])) continue
    const field = differingField(expected, said[name], places[name] ?? name)
    throw invalidManifest(read, `its ${field} is not what the evidence says it was`)
  }
}

/** Where the manifest has what the evidence calls otherwise. */
const places: Readonly<Record<string, string>> = {
  object: 'objects.dump',
  recovery: 'objects.recovery',
  recipients: 'encryption.recipients',
  signer: 'encryption.signer',
}

/** The innermost field in which two values differ that are not the same. */
function differingField(expected: unknown, found: unknown, path: string): string {
  if (!isRecord(expected) || !isRecord(found)) return path
  const name = Object.keys({ ...expected, ...found }).find((one) => !isDeepStrictEqual(expected[one], found[one]))
  assert(name !== undefined, `${path} differs, and none of its fields does`)
  return differingField(expected[name], found[name], `${path}.${name}`)
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function invalidManifest({ folder }: ReadManifest, reason: string): PgproofError {
  return new PgproofError('STORE_FORMAT_INVALID', { what: `${folder}${objectNames.manifest}`, reason })
}
