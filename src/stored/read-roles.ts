import type { Catalog, CatalogBackup } from '../catalog/catalog.ts'
import type { Manifest } from '../domain/manifest.ts'
import { pickRolesBackup } from '../domain/roles-needed.ts'
import { decryptBytes } from '../encryption/decrypt.ts'
import type { PrivateKeys } from '../encryption/keys.ts'
import { PgproofError } from '../errors.ts'
import type { StoreReader } from '../storage/store-set.ts'
import { measureBytes } from '../streams/measure.ts'
import { type ReadManifest, readObject } from './read-backup.ts'

/** The roles backup that belongs to a backup, by the rule of `pickRolesBackup`, which a prune asks, too. */
export function chooseRolesBackup(manifest: Manifest, catalog: Catalog): CatalogBackup | undefined {
  const candidates = catalog.backups({ server: manifest.server, kind: 'roles' })
  return pickRolesBackup(new Date(manifest.snapshotTime), candidates)
}

/** The script of one roles backup. It holds password verifiers. Throws OBJECT_MISMATCH or keys' errors. */
export async function readRolesScript(
  read: ReadManifest,
  keys: PrivateKeys,
  store: StoreReader,
  signal: AbortSignal,
): Promise<string> {
  const entry = read.manifest.objects.dump
  const key = `${read.folder}${entry.name}`
  const script = await decryptBytes(await readObject(read, entry, store, signal), keys, key)
  if (measureBytes(script).sha256 !== read.manifest.dump.sha256)
    throw new PgproofError('OBJECT_MISMATCH', { key, reason: 'the roles inside are not those of the manifest' })
  return Buffer.from(script).toString('utf8')
}
