import { PgproofError } from '../errors.ts'

export type RemovalQuestion = {
  /** Its name in the configuration. */
  readonly store: string
  /** Backups in the store before, of all databases and roles that the prune looks at. */
  readonly total: number
  /** How many of them would go. */
  readonly removed: number
  /** `prune.largestShare`: 0 to 1. */
  readonly largestShare: number
  readonly isForced: boolean
}

/**
 * So many in one go are routine whatever their share: in a store of a few backups every night removes half of it, and
 * whoever must use force every night no longer looks.
 */
export const routineRemovals = 5

/** Throws `PRUNE_HELD_BACK` if a larger share of a store would go than may without force. */
export function assertRemovalShare({ store, total, removed, largestShare, isForced }: RemovalQuestion): void {
  if (isForced || removed <= routineRemovals) return
  // Said this way round, numbers that are none hold back.
  const share = removed / total
  if (share <= largestShare) return
  const limit = percentText(largestShare)
  const reason = `it would remove ${removed} of ${total} backups (${percentText(share)}) in store "${store}", more than ${limit}`
  throw new PgproofError('PRUNE_HELD_BACK', { reason })
}

/** `80 %`, `33.3 %`. */
function percentText(share: number): string {
  return `${Math.round(share * 1000) / 10} %`
}
