import type { CatalogBackup } from '../catalog/catalog.ts'
import { decodeEvidence, type Evidence } from '../domain/evidence.ts'
import { decodeManifest, type Manifest } from '../domain/manifest.ts'
import { decryptBytes } from '../encryption/decrypt.ts'
import type { PrivateKeys } from '../encryption/keys.ts'
import { type TrustedSigners, verifyDetached } from '../encryption/sign.ts'
import { PgproofError } from '../errors.ts'
import { backupFolder, objectNames } from '../storage/object-keys.ts'
import type { ObjectStore } from '../storage/object-store.ts'
import { measureBytes } from '../streams/measure.ts'

export type ReadManifest = { readonly manifest: Manifest; readonly sha256: string; readonly folder: string }

/** The manifest as the store holds it now, not as the catalog remembers it. Throws STORE_… errors. */
export async function readManifest(
  backup: CatalogBackup,
  store: ObjectStore,
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
  store: ObjectStore,
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
  store: ObjectStore,
  signal: AbortSignal,
): Promise<Evidence> {
  const { manifest, folder } = read
  const entry = manifest.objects.evidence
  if (entry === null)
    throw new PgproofError('STORE_FORMAT_INVALID', {
      what: manifest.label,
      reason: 'it is a database backup without evidence',
    })
  const key = `${folder}${entry.name}`
  const encrypted = await store.get(key, { signal, maxBytes: 512 << 20 })
  const measured = measureBytes(encrypted)
  if (measured.sha256 !== entry.sha256)
    throw new PgproofError('OBJECT_MISMATCH', { key, reason: 'its SHA-256 is not the one in the manifest' })
  const evidence = decodeEvidence(await decryptBytes(encrypted, keys, key), key)
  const isOwn =
    evidence.label === manifest.label && evidence.server === manifest.server && evidence.database === manifest.database
  if (!isOwn)
    throw new PgproofError('STORE_FORMAT_INVALID', { what: key, reason: 'it is the evidence of another backup' })
  const rows = evidence.tables.reduce((sum, table) => sum + (table.rows ?? 0), 0)
  if (manifest.evidence.tables !== evidence.tables.length || manifest.evidence.rows !== rows)
    throw new PgproofError('STORE_FORMAT_INVALID', {
      what: `${folder}manifest.json`,
      reason: 'its totals are not those of its evidence',
    })
  return evidence
}
