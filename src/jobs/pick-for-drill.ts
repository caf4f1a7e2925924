import type { Catalog, CatalogBackup } from '../catalog/catalog.ts'
import type { Manifest } from '../domain/manifest.ts'
import { type PickQuestion, pickBackup } from '../domain/pick-backup.ts'
import { decryptBytes } from '../encryption/decrypt.ts'
import type { PrivateKeys } from '../encryption/keys.ts'
import { PgproofError } from '../errors.ts'
import type { ObjectStore } from '../storage/object-store.ts'
import { measureBytes } from '../streams/measure.ts'
import type { DrillParts, DrillRequest } from './drill-request.ts'
import { checkSignature, type ReadManifest, readManifest } from './read-backup.ts'

/** The backup to drill. Throws LABEL_UNKNOWN or NO_BACKUP. */
export function pickForDrill(
  request: Pick<DrillRequest, 'server' | 'database' | 'backup' | 'rule' | 'seed'>,
  catalog: Catalog,
): CatalogBackup {
  const { server, database } = request
  const backups = catalog.backups({ server, database, kind: 'database' })
  if (request.backup !== null) {
    const named = backups.find(({ manifest }) => manifest.label === request.backup)
    if (named === undefined)
      throw catalog.damageOf(request.backup) ?? new PgproofError('LABEL_UNKNOWN', { label: request.backup })
    return named
  }
  if (backups.length === 0) throw new PgproofError('NO_BACKUP', { what: `${server}/${database}` })
  const candidates: PickQuestion['candidates'] = backups.map((backup) => ({
    label: backup.manifest.label,
    snapshotTime: new Date(backup.manifest.snapshotTime),
    lastDrilledAt: backup.lastDrilledAt,
    verifiedAt: backup.verifiedAt,
  }))
  const { label } = pickBackup({ candidates, rule: request.rule, seed: request.seed })
  return backups.find(({ manifest }) => manifest.label === label) as CatalogBackup
}

const graceMs = 8 * 24 * 3_600_000

/**
 * The roles that belong to a backup: the newest roles backup that is at most eight days younger, because roles are
 * taken weekly and a new role is in the next one; else the newest there is. Null if there is none at all.
 */
export async function readRolesScript(
  manifest: Manifest,
  request: Pick<DrillRequest, 'keys' | 'trustedSigners'>,
  parts: Pick<DrillParts, 'catalog' | 'store'>,
  signal: AbortSignal,
): Promise<{ readonly label: string; readonly script: string } | null> {
  const latest = new Date(manifest.snapshotTime).getTime() + graceMs
  const candidates = parts.catalog.backups({ server: manifest.server, kind: 'roles' })
  const chosen =
    candidates.find((candidate) => new Date(candidate.manifest.snapshotTime).getTime() <= latest) ?? candidates[0]
  if (chosen === undefined) return null
  const read = await readManifest(chosen, parts.store, signal)
  await checkSignature(read, request.trustedSigners, parts.store, signal)
  return { label: read.manifest.label, script: await readRolesOf(read, request.keys, parts.store, signal) }
}

/** The script of one roles backup. It holds password verifiers. Throws OBJECT_MISMATCH or keys' errors. */
export async function readRolesOf(
  read: ReadManifest,
  keys: PrivateKeys,
  store: ObjectStore,
  signal: AbortSignal,
): Promise<string> {
  const entry = read.manifest.objects.dump
  const key = `${read.folder}${entry.name}`
  const encrypted = await store.get(key, { signal })
  if (measureBytes(encrypted).sha256 !== entry.sha256)
    throw new PgproofError('OBJECT_MISMATCH', { key, reason: 'its SHA-256 is not the one in the manifest' })
  const script = await decryptBytes(encrypted, keys, key)
  if (measureBytes(script).sha256 !== read.manifest.dump.sha256)
    throw new PgproofError('OBJECT_MISMATCH', { key, reason: 'the roles inside are not those of the manifest' })
  return Buffer.from(script).toString('utf8')
}
