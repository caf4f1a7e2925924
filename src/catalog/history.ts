import type { PruneRecord } from '../domain/prune-record.ts'
import type { StoredBackup } from './contents.ts'

/** A place where the chain of manifests does not hold: somebody other than a prune removed or replaced a backup. */
export type HistoryGap = {
  readonly kind: 'database' | 'roles'
  readonly server: string
  readonly database: string | null
  /** The backup whose manifest names the one that is gone. */
  readonly label: string
  readonly previousLabel: string
  readonly found: 'removed' | 'replaced'
}

/**
 * Every manifest names the one before it and its SHA-256; that one must be in the store or in a prune's record. One that
 * is there and cannot be read is damaged, which is said elsewhere, and not gone.
 */
export function findHistoryGaps(
  backups: Iterable<StoredBackup>,
  prunes: Iterable<PruneRecord>,
  isDamaged: (label: string) => boolean = () => false,
): readonly HistoryGap[] {
  const all = [...backups]
  const stored = new Map(all.map(({ manifest, manifestSha256 }) => [keyOf(manifest, manifest.label), manifestSha256]))
  const pruned = new Set<string>()
  for (const { removed } of prunes)
    for (const backup of removed) pruned.add(keyOf(backup, backup.label) + backup.manifestSha256)

  return all.flatMap(({ manifest }) => {
    const { kind, server, database, label, previous } = manifest
    if (previous === null) return []
    const key = keyOf(manifest, previous.label)
    const sha256 = stored.get(key)
    if (sha256 === previous.sha256 || pruned.has(key + previous.sha256)) return []
    if (sha256 === undefined && isDamaged(previous.label)) return []
    const found = sha256 === undefined ? 'removed' : 'replaced'
    return [{ kind, server, database, label, previousLabel: previous.label, found }]
  })
}

type Place = { readonly kind: string; readonly server: string; readonly database: string | null }

function keyOf({ kind, server, database }: Place, label: string): string {
  return JSON.stringify([kind, server, database, label])
}
