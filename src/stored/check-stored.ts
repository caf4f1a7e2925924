import type { Catalog, CatalogBackup } from '../catalog/catalog.ts'
import type { Checklist } from '../domain/checklist.ts'
import type { Evidence } from '../domain/evidence.ts'
import type { PrivateKeys, Recipients } from '../encryption/keys.ts'
import { assertRecipientsInMessage, type KnownKey, readRecipientKeyIds } from '../encryption/message-head.ts'
import type { TrustedSigners } from '../encryption/sign.ts'
import { PgproofError } from '../errors.ts'
import { compareContents } from '../postgres/archive-contents.ts'
import type { FoundProgram } from '../postgres/programs.ts'
import { listArchive } from '../postgres/restore-dump.ts'
import { objectNames } from '../storage/object-keys.ts'
import type { StoreReader } from '../storage/store-set.ts'
import { checkSignature, type ReadManifest, readManifest } from './read-backup.ts'

/** What opens a backup, and whose word counts. */
export type StoredRequest = {
  readonly keys: PrivateKeys
  /** Public keys at hand, to check for whom it is encrypted. */
  readonly recipients: Recipients
  /** Null when no signature is demanded. */
  readonly trustedSigners: TrustedSigners | null
}

/**
 * The lowest rungs, which drill and `verify` climb for both kinds of backup: `manifest` to `recipients`. From here on
 * the manifest is to be trusted: the evidence, which only who has the private key can read, says the same. Throws what
 * the rung that fails throws.
 */
export async function climbToRecipients<E>(
  backup: CatalogBackup,
  request: StoredRequest,
  readEvidence: (
    read: ReadManifest,
    keys: StoredRequest['keys'],
    store: StoreReader,
    signal: AbortSignal,
  ) => Promise<E>,
  { store, catalog }: { readonly store: StoreReader; readonly catalog: Catalog },
  checklist: Checklist,
  signal: AbortSignal,
): Promise<{ readonly read: ReadManifest; readonly evidence: E }> {
  const { keys, recipients, trustedSigners } = request
  const known = [...recipients.keys, ...keys.keys]
  const read = await checklist.run('manifest', () => readManifest(backup, store, signal))
  if (trustedSigners === null) checklist.add('signature', 'skipped', 'no trusted signers are configured')
  else await checklist.run('signature', () => checkSignature(read, trustedSigners, store, signal))
  await checklist.run('history', async () => checkHistory(read, catalog), String)
  await checklist.run('objects', () => checkObjects(read, store, signal), String)
  const evidence = await checklist.run('evidence', async () => {
    try {
      return await readEvidence(read, keys, store, signal)
    } catch (error) {
      // A key that opens nothing is ours to mend, unless the manifest says that it opens this backup.
      const isLocked = error instanceof PgproofError && error.code === 'KEY_NO_MATCH'
      if (isLocked) await checkRecipients(read, known, store, signal)
      throw error
    }
  })
  await checklist.run('recipients', () => checkRecipients(read, known, store, signal), String)
  return { read, evidence }
}

/**
 * Checks that the archive holds what the evidence says was dumped. The public reason names no object; the details do.
 * Throws VERIFY_FAILED, RESTORE_FAILED for an archive that cannot be read.
 */
export async function checkContents(
  { program, file }: { readonly program: FoundProgram; readonly file: string },
  evidence: Evidence,
  signal: AbortSignal,
): Promise<string> {
  const found = compareContents(await listArchive(program, file, signal), evidence)
  const { differences, tables, objects } = found
  if (differences.length === 0) return `data of ${tables} tables and ${objects} definitions, as the evidence says`
  const reason = `${differences.length === 1 ? '1 entry differs' : `${differences.length} entries differ`} from the evidence`
  const values = { label: evidence.label, check: 'table of contents', reason }
  throw new PgproofError('VERIFY_FAILED', values, { details: differences.join('\n') })
}

/**
 * Checks that the backup in the store is the very one that its successors know. Throws HISTORY_BROKEN. Returns what is
 * worth saying; a predecessor that is gone is not the fault of this backup.
 */
function checkHistory({ manifest, sha256 }: ReadManifest, catalog: Catalog): string {
  const { kind, server, database, label, previous } = manifest
  const others = catalog
    .backups({ kind, server, ...(database === null ? {} : { database }) })
    .filter((backup) => backup.manifest.label !== label)
  const successors = others.filter((backup) => backup.manifest.previous?.label === label)
  const contradiction = successors.find((backup) => backup.manifest.previous?.sha256 !== sha256)
  if (contradiction !== undefined)
    throw new PgproofError('HISTORY_BROKEN', {
      label,
      reason: `backup ${contradiction.manifest.label} followed upon another one of that label`,
    })
  const drilled = catalog
    .drills({ server, ...(database === null ? {} : { database }) })
    .find(({ verdict, backup }) => verdict === 'passed' && backup.label === label && backup.manifestSha256 !== sha256)
  if (kind === 'database' && drilled !== undefined)
    throw new PgproofError('HISTORY_BROKEN', {
      label,
      reason: `drill ${drilled.label} restored another one of that label`,
    })
  const witness = successors.length === 0 ? 'no backup has followed it yet' : 'the one that its successor knows'
  const isAlone = previous !== null && !others.some((backup) => backup.manifest.label === previous.label)
  return isAlone ? `${witness}; its predecessor ${previous.label} is no longer in the store` : witness
}

/**
 * Checks that every object of the manifest is in the store, of exactly its size. Throws STORE_NOT_FOUND or
 * OBJECT_MISMATCH.
 */
async function checkObjects(
  { manifest, folder }: ReadManifest,
  store: StoreReader,
  signal: AbortSignal,
): Promise<string> {
  const { dump, evidence, recovery } = manifest.objects
  const objects = [dump, ...(evidence === null ? [] : [evidence]), recovery]
  for (const entry of objects) {
    const key = `${folder}${entry.name}`
    const held = await store.head(key, { signal })
    if (held === undefined) throw new PgproofError('STORE_NOT_FOUND', { key })
    if (held.bytes !== entry.bytes)
      throw new PgproofError('OBJECT_MISMATCH', {
        key,
        reason: `${entry.bytes} bytes expected, the store holds ${held.bytes}`,
      })
  }
  const key = `${folder}${objectNames.signature}`
  const isSigned = manifest.encryption.signer !== null
  if (isSigned && (await store.head(key, { signal })) === undefined) throw new PgproofError('STORE_NOT_FOUND', { key })
  return `${objects.length + (isSigned ? 1 : 0)} objects beside the manifest, each of its size`
}

/**
 * Checks that dump and evidence are really encrypted to everyone whom the manifest names, as far as their keys are
 * `known` here; returns who could not be checked. Throws RECIPIENT_MISSING, VERIFY_FAILED for a recipient too many.
 */
async function checkRecipients(
  { manifest, folder }: ReadManifest,
  known: readonly KnownKey[],
  store: StoreReader,
  signal: AbortSignal,
): Promise<string> {
  const fingerprints = manifest.encryption.recipients
  const { dump, evidence } = manifest.objects
  const unchecked = new Set<string>()
  for (const entry of [dump, ...(evidence === null ? [] : [evidence])]) {
    const key = `${folder}${entry.name}`
    const keyIds = await readRecipientKeyIds(await store.read(key, { signal }), key)
    const place = { what: key, label: manifest.label, madeAt: new Date(manifest.finishedAt) }
    for (const one of assertRecipientsInMessage(keyIds, fingerprints, known, place).unchecked) unchecked.add(one)
  }
  const found = `${fingerprints.length - unchecked.size} of ${fingerprints.length} keys found in dump and evidence`
  return unchecked.size === 0
    ? found
    : `${found}; could not be checked, because the public key is not configured, or has a newer subkey alone, or the recipient is hidden: ${[...unchecked].join(', ')}`
}
