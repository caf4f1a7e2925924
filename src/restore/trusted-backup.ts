import { storesOf } from '../catalog/catalog.ts'
import type { Checklist } from '../domain/checklist.ts'
import type { Evidence } from '../domain/evidence.ts'
import { climbToRecipients } from '../stored/check-stored.ts'
import { type ReadManifest, readEvidence } from '../stored/read-backup.ts'
import type { ChosenBackup } from './choose-backup.ts'
import { eachCopy } from './each-copy.ts'
import type { RestoreParts, RestoreRequest } from './restore-request.ts'

export type TrustedBackup = {
  readonly read: ReadManifest
  readonly evidence: Evidence
  /** The stores that it is read from, in this order: those that have it whole, or the one that was asked for. */
  readonly from: readonly string[]
  /** Younger backups and copies that were passed over, and why. */
  readonly notes: readonly string[]
}

/**
 * A chosen backup, as far as signer, successors and evidence vouch for it. Throws what `climbToRecipients` throws, and
 * MANIFESTS_DIFFER.
 */
export async function readTrusted(
  { backup, skipped }: ChosenBackup,
  request: Pick<RestoreRequest, 'from' | 'keys' | 'recipients' | 'trustedSigners'>,
  parts: Pick<RestoreParts, 'stores' | 'catalog'>,
  checklist: Checklist,
  signal: AbortSignal,
): Promise<TrustedBackup> {
  const notes = [
    ...skipped.map(({ manifest, faults }) => `passed over ${manifest.label}: ${faults.join('; ')}`),
    ...parts.catalog
      .standings()
      .filter(({ error }) => error !== null)
      .map(({ name }) => `store ${name} could not be read; what it has is not known`),
  ]
  // Which of its manifests is the true one, nothing tells; who names a store has decided.
  const dispute = backup.isDisputed === true ? parts.catalog.damageOf(backup.manifest.label) : undefined
  if (request.from === undefined && dispute !== undefined) throw dispute
  const names = request.from === undefined ? storesOf(backup) : [request.from]
  const climb = async (from: readonly string[], climbed: Checklist): Promise<Omit<TrustedBackup, 'notes'>> => {
    const reading = { ...parts, store: parts.stores.reading(from) }
    return { ...(await climbToRecipients(backup, request, readEvidence, reading, climbed, signal)), from }
  }
  return { ...(await eachCopy(names, climb, checklist, notes)), notes }
}
