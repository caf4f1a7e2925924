import type { BoundManifest, Evidence } from '../domain/evidence.ts'
import { encodeManifest, type Manifest, manifestFormat, type StoredObject } from '../domain/manifest.ts'
import { recoveryGuide } from '../domain/recovery-guide.ts'
import type { Recipients } from '../encryption/keys.ts'
import { type SigningKey, signDetached } from '../encryption/sign.ts'
import type { Log } from '../log.ts'
import type { JobParts } from '../parts.ts'
import { objectNames } from '../storage/object-keys.ts'
import type { ObjectStore } from '../storage/object-store.ts'
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
  parts: Pick<JobParts, 'store' | 'storeId' | 'catalog'>,
): BoundManifest {
  const { folder: _folder, startedAt, dumpObject, properties: _properties, ...described } = draft
  return {
    ...described,
    storeId: parts.storeId,
    pgproofVersion: version,
    startedAt: startedAt.toISOString(),
    previous: parts.catalog.previousManifest(draft.kind, draft.server, draft.database),
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
  { store }: Pick<JobParts, 'store'>,
): Buffer {
  const place = { storeUrl: store.url, object: dumpObject }
  const keys = { recipients: recipients.fingerprints, signer: signingKey?.fingerprint ?? null }
  return Buffer.from(recoveryGuide({ ...draft, ...place, ...keys }))
}

export type Committed = { readonly manifest: Manifest; readonly manifestSha256: string }

/**
 * Writes RECOVERY.md and the signature, then the manifest: from that moment the backup exists. The catalog learns of it
 * last; it is a convenience and is rebuilt from the store whenever needed.
 */
export async function commitBackup(draft: Draft, keys: Keys, parts: JobParts, signal: AbortSignal): Promise<Committed> {
  const { folder, startedAt, dumpObject, evidenceObject, properties: _properties, ...described } = draft
  const { store, clock, catalog } = parts
  const { fingerprints } = keys.recipients
  const guide = guideOf(draft, keys, parts)
  await store.put(`${folder}${objectNames.recovery}`, guide, { signal })
  const manifest: Manifest = {
    format: manifestFormat,
    ...described,
    storeId: parts.storeId,
    pgproofVersion: version,
    startedAt: startedAt.toISOString(),
    finishedAt: clock.now().toISOString(),
    objects: {
      dump: dumpObject,
      evidence: evidenceObject,
      recovery: { name: objectNames.recovery, ...measureBytes(guide) },
    },
    encryption: { recipients: [...fingerprints], signer: keys.signingKey?.fingerprint ?? null },
    previous: catalog.previousManifest(draft.kind, draft.server, draft.database),
  }
  const bytes = encodeManifest(manifest)
  if (keys.signingKey !== null) {
    const signature = await signDetached(bytes, keys.signingKey, clock.now())
    await store.put(`${folder}${objectNames.signature}`, signature, { signal })
  }
  await store.put(`${folder}${objectNames.manifest}`, bytes, { signal, ifAbsent: true })
  const { sha256 } = measureBytes(bytes)
  catalog.addBackup(manifest, sha256, keys.signingKey !== null)
  return { manifest, manifestSha256: sha256 }
}

/**
 * Removes what a failed backup had written. Without a manifest it never counted; this only saves the space. Runs to
 * its end even when the job was cancelled, and what it cannot remove the next prune finds as an orphan.
 */
export async function removeUncommitted(
  folder: string,
  parts: { readonly store: ObjectStore; readonly log: Log },
): Promise<void> {
  const signal = AbortSignal.timeout(30_000)
  try {
    const keys: string[] = []
    for await (const { key } of parts.store.list(folder, { signal })) keys.push(key)
    // A manifest here means that the commit itself succeeded and only its answer was lost: then the backup exists.
    if (keys.includes(`${folder}${objectNames.manifest}`)) return
    for (const key of keys) await parts.store.delete(key, { signal })
  } catch (error) {
    parts.log.warn({ folder, reason: String(error) }, 'objects of a failed backup stay behind as orphans')
  }
}
