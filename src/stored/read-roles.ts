import type { Catalog, CatalogBackup } from '../catalog/catalog.ts'
import type { Manifest } from '../domain/manifest.ts'
import { decryptBytes } from '../encryption/decrypt.ts'
import type { PrivateKeys } from '../encryption/keys.ts'
import { PgproofError } from '../errors.ts'
import type { ObjectStore } from '../storage/object-store.ts'
import { measureBytes } from '../streams/measure.ts'
import { type ReadManifest, readObject } from './read-backup.ts'

const graceMs = 8 * 24 * 3_600_000

/**
 * The roles backup that belongs to a backup: the newest that is at most eight days younger, because roles are taken
 * weekly and a new role is in the next one; else the newest there is.
 */
export function chooseRolesBackup(manifest: Manifest, catalog: Catalog): CatalogBackup | undefined {
  const latest = new Date(manifest.snapshotTime).getTime() + graceMs
  const candidates = catalog.backups({ server: manifest.server, kind: 'roles' })
  return candidates.find((candidate) => candidate.snapshotTime.getTime() <= latest) ?? candidates[0]
}

/** The script of one roles backup. It holds password verifiers. Throws OBJECT_MISMATCH or keys' errors. */
export async function readRolesScript(
  read: ReadManifest,
  keys: PrivateKeys,
  store: ObjectStore,
  signal: AbortSignal,
): Promise<string> {
  const entry = read.manifest.objects.dump
  const key = `${read.folder}${entry.name}`
  const script = await decryptBytes(await readObject(read, entry, store, signal), keys, key)
  if (measureBytes(script).sha256 !== read.manifest.dump.sha256)
    throw new PgproofError('OBJECT_MISMATCH', { key, reason: 'the roles inside are not those of the manifest' })
  return Buffer.from(script).toString('utf8')
}
