import type { BoundManifest, Evidence } from '../domain/evidence.ts'
import { encodeManifest, type Manifest, manifestFormat, type StoredObject } from '../domain/manifest.ts'
import { recoveryGuide } from '../domain/recovery-guide.ts'
import type { Recipients } from '../encryption/keys.ts'
import { type SigningKey, signDetached } from '../encryption/sign.ts'
import type { JobParts } from '../parts.ts'
import { objectNames } from '../storage/object-keys.ts'
import type { NamedStore, Writing } from '../storage/store-set.ts'
import { measureBytes } from '../streams/measure.ts'
import { version } from '../version.ts'

/** What a kind of backup knows about itself; the rest of the manifest is the same for all of them. */
export type Draft = Pick<
  Manifest,
  | 'kind'
  | 'label'
  | 'server'
  | 'database'
  | 'snapshotTime'
  | 'source'
  | 'dump'
  | 'program'
  | 'evidence'
  | 'omissions'
  | 'rolePasswords'
  // Read once: the catalog may learn of another backup between evidence and manifest, and the two must say the same.
  | 'previous'
> & {
  readonly folder: string
  readonly startedAt: Date
  readonly dumpObject: StoredObject
  readonly evidenceObject: StoredObject | null
  readonly properties: Evidence['properties'] | null
}

type Keys = { readonly recipients: Recipients; readonly signingKey: SigningKey | null }

/** What the evidence says of its manifest: all that is known before the manifest is written. */
export function bindManifest(
  draft: Omit<Draft, 'evidenceObject'>,
  keys: Keys,
  parts: Pick<JobParts, 'stores' | 'storeId'>,
): BoundManifest {
  const { folder: _folder, startedAt, dumpObject, properties: _properties, ...described } = draft
  return {
    ...described,
    storeId: parts.storeId,
    pgproofVersion: version,
    startedAt: startedAt.toISOString(),
    object: dumpObject,
    recovery: { name: objectNames.recovery, ...measureBytes(guideOf(draft, keys, parts)) },
    recipients: [...keys.recipients.fingerprints],
    signer: keys.signingKey?.fingerprint ?? null,
  }
}

/** RECOVERY.md of a backup; always the same. */
function guideOf(
  { dumpObject, ...draft }: Omit<Draft, 'evidenceObject'>,
  { recipients, signingKey }: Keys,
  { stores }: Pick<JobParts, 'stores'>,
): Buffer {
  const place = { storeUrls: stores.urls, object: dumpObject }
  const keys = { recipients: recipients.fingerprints, signer: signingKey?.fingerprint ?? null }
  return Buffer.from(recoveryGuide({ ...draft, ...place, ...keys }))
}

export type Committed = { readonly manifest: Manifest; readonly manifestSha256: string }

/**
 * Writes RECOVERY.md and the signature, then the manifest: from that moment the backup exists. The catalog learns of it
 * last; it is a convenience and is rebuilt from the store whenever needed.
 */
export async function commitBackup(
  draft: Draft,
  keys: Keys,
  parts: Omit<JobParts, 'store'> & { readonly store: Writing },
  signal: AbortSignal,
): Promise<Committed> {
  const { folder, startedAt, dumpObject, evidenceObject, properties: _properties, ...described } = draft
  const { store, clock, catalog } = parts
  const { fingerprints } = keys.recipients
  const guide = guideOf(draft, keys, parts)
  await store.put(`${folder}${objectNames.recovery}`, guide, { signal })
  const manifest: Manifest = {
    format: manifestFormat,
    ...described,
    storeId: parts.storeId,
    stores: store.live.map(({ name, writer }) => ({ name, url: writer.url })),
    pgproofVersion: version,
    startedAt: startedAt.toISOString(),
    finishedAt: clock.now().toISOString(),
    objects: {
      dump: dumpObject,
      evidence: evidenceObject,
      recovery: { name: objectNames.recovery, ...measureBytes(guide) },
    },
    encryption: { recipients: [...fingerprints], signer: keys.signingKey?.fingerprint ?? null },
  }
  const bytes = encodeManifest(manifest)
  if (keys.signingKey !== null) {
    const signature = await signDetached(bytes, keys.signingKey, clock.now())
    await store.put(`${folder}${objectNames.signature}`, signature, { signal })
  }
  const { sha256 } = measureBytes(bytes)
  await store.putInTurn(`${folder}${objectNames.manifest}`, bytes, { signal })
  const names = store.live.map(({ name }) => name)
  catalog.addBackup({ manifest, manifestSha256: sha256, hasSignature: keys.signingKey !== null }, names)
  return { manifest, manifestSha256: sha256 }
}

/**
 * Removes what a failed backup had written. Without a manifest it never counted; this only saves the space. Runs to
 * its end even when the job was cancelled, and what it cannot remove the next prune finds as an orphan. Nothing is
 * removed where the manifest may still appear: it would be one of a backup that is gone.
 */
export async function removeUncommitted(
  folder: string,
  parts: Pick<JobParts, 'stores' | 'log'> & { readonly store: Writing },
): Promise<void> {
  const { unsettled } = parts.store
  for (const store of unsettled)
    parts.log.warn({ folder, store }, 'whether the manifest was stored is not known, so the objects stay')
  const settled = parts.stores.named.filter(({ name }) => !unsettled.has(name))
  await Promise.all(settled.map((store) => removeFrom(store, folder, parts)))
}

async function removeFrom(store: NamedStore, folder: string, { log }: Pick<JobParts, 'log'>): Promise<void> {
  const signal = AbortSignal.timeout(30_000)
  try {
    const keys: string[] = []
    for await (const { key } of store.reader.list(folder, { signal })) keys.push(key)
    // A manifest here means that the commit itself succeeded and only its answer was lost: then the backup exists.
    if (keys.includes(`${folder}${objectNames.manifest}`)) return
    for (const key of keys) await store.pruner.delete(key, { signal })
  } catch (error) {
    log.warn({ folder, store: store.name, reason: String(error) }, 'objects of a failed backup stay behind as orphans')
  }
}
