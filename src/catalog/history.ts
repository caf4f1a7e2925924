import { backupFolder, escapeName, objectNames } from '../storage/object-keys.ts'
import type { StoredBackup } from './contents.ts'
import type { CopiedBackup, MergedContents } from './merge.ts'

export type History = { readonly gaps: readonly HistoryGap[]; readonly chains: readonly HistoryChain[] }

type Place = { readonly kind: 'database' | 'roles'; readonly server: string; readonly database: string | null }

/** A backup that somebody other than pgproof removed, replaced by another under its label, or put back after a prune. */
export type HistoryGap = Place & {
  readonly label: string
  readonly found: 'removed' | 'replaced' | 'returned'
  /** What remembers it otherwise, each once. */
  readonly witnesses: readonly HistoryWitness[]
}

export type HistoryWitness = {
  /** The manifest of the backup after it, the report of a drill of it, or the record of the prune that removed it. */
  readonly by: 'manifest' | 'drill report' | 'prune record'
  /** Of that backup, drill or prune. */
  readonly label: string
}

/** How the backups of one place hang together. */
export type HistoryChain = Place & {
  readonly backups: number
  /** Manifests that name one before them, and how many of those are in the store or were pruned. */
  readonly links: number
  readonly whole: number
  /** Backups that are gone and of which a prune's record says so. */
  readonly pruned: number
  readonly gaps: number
}

/**
 * Every manifest names the one before it and its SHA-256, and every drill report the one that it restored and that of the
 * roles: each must be in the store or in a prune's record. So also the newest backup, which none follows, is missed once
 * it was drilled. One that is there and cannot be read is damaged, which is said elsewhere, and not gone.
 */
export function readHistory(
  contents: Pick<MergedContents, 'backups' | 'drills' | 'prunes' | 'prunedStores' | 'damaged' | 'known'>,
  /** Whether a store could not be read: what is missing may be there. */
  isPartial = false,
): History {
  const { backups, drills, damaged } = contents
  const removals = readRemovals(contents)
  const gaps = new Map<string, Place & { label: string; found: HistoryGap['found']; witnesses: HistoryWitness[] }>()
  const chains = new Map<string, Mutable<HistoryChain>>()

  const add = (found: HistoryGap['found'], place: Place, label: string, witness: HistoryWitness): void => {
    const { kind, server, database } = place
    const key = `${found} ${folderOf(place, label)}`
    const gap = gaps.get(key)
    if (gap !== undefined) gap.witnesses.push(witness)
    else {
      gaps.set(key, { kind, server, database, label, found, witnesses: [witness] })
      chainOf(place).gaps += 1
    }
  }
  const chainOf = (place: Place): Mutable<HistoryChain> => {
    const { kind, server, database } = place
    const key = `${kind}/${escapeName(server)}/${database === null ? '' : escapeName(database)}`
    const chain = chains.get(key) ?? { kind, server, database, backups: 0, links: 0, whole: 0, pruned: 0, gaps: 0 }
    chains.set(key, chain)
    return chain
  }
  /** True if it is where it should be. */
  const expect = (place: Place, label: string, sha256: string, witness: HistoryWitness): boolean => {
    const folder = folderOf(place, label)
    const stored = backups.get(folder)?.manifestSha256
    if (stored === sha256 || removals.has(folder + sha256)) return true
    if (stored !== undefined) add('replaced', place, label, witness)
    else if (!isPartial && !damaged.has(`${folder}${objectNames.manifest}`)) add('removed', place, label, witness)
    return false
  }

  const removed = new Map([...removals.values()].flat().map((removal) => [removal.folder, removal]))
  for (const backup of backups.values()) {
    const { manifest, folder, manifestSha256 } = backup
    const chain = chainOf(manifest)
    chain.backups += 1
    const { previous, label } = manifest
    if (previous !== null) {
      chain.links += 1
      if (expect(manifest, previous.label, previous.sha256, { by: 'manifest', label })) chain.whole += 1
    }
    // Under a label that was pruned nothing may come back, be it the same backup or another.
    const same = removals.get(folder + manifestSha256)
    const other = same === undefined ? removed.get(folder) : undefined
    const removal = same?.find((one) => cameBack(backup, one)) ?? (other && isAfter(backup, other) ? other : undefined)
    if (removal !== undefined) add('returned', manifest, label, { by: 'prune record', label: removal.label })
  }
  for (const { server, database, label, backup, rolesBackup } of drills.values()) {
    const witness = { by: 'drill report', label } as const
    expect({ kind: 'database', server, database }, backup.label, backup.manifestSha256, witness)
    if (rolesBackup !== null)
      expect({ kind: 'roles', server, database: null }, rolesBackup.label, rolesBackup.manifestSha256, witness)
  }
  for (const [key, [removal]] of removals)
    if (removal !== undefined && !isHeld(backups.get(removal.folder), key)) chainOf(removal.place).pruned += 1

  return {
    gaps: [...gaps.values()].sort((a, b) => compare(a.label, b.label)),
    chains: [...chains].sort(([a], [b]) => compare(a, b)).map(([, chain]) => chain),
  }
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] }

/** Of the first prune that recorded it: what could not be removed then, the next one records again. */
type Removal = {
  readonly place: Place
  readonly folder: string
  readonly label: string
  readonly storedAt: Date | null
  /** From which it was removed. */
  readonly stores: readonly string[]
}

/** What prunes removed, by folder and SHA-256; several where several stores were pruned. */
function readRemovals({
  prunes,
  prunedStores,
  known,
}: Pick<MergedContents, 'prunes' | 'prunedStores' | 'known'>): ReadonlyMap<string, readonly Removal[]> {
  const removals = new Map<string, Removal[]>()
  const oldestFirst = [...prunes].sort(([a], [b]) => compare(a, b))
  for (const [key, { removed, label }] of oldestFirst) {
    const storedAt = known.get(key)?.info.modifiedAt ?? null
    for (const place of removed) {
      const folder = folderOf(place, place.label)
      const name = folder + place.manifestSha256
      const before = removals.get(name) ?? []
      const stores = (prunedStores.get(key) ?? []).filter((store) => !before.some((one) => one.stores.includes(store)))
      if (stores.length > 0) removals.set(name, [...before, { place, folder, label, storedAt, stores }])
    }
  }
  return removals
}

/** A copy in a store that had pruned it. What another store keeps, and a sync brings to a third, has not come back. */
function cameBack({ copies }: CopiedBackup, removal: Removal): boolean {
  return copies.some((copy) => removal.stores.includes(copy.store) && isAfter(copy, removal))
}

/** A manifest written after the record that it goes, by the store's own clock. */
function isAfter({ storedAt }: Pick<StoredBackup, 'storedAt'>, removal: Removal): boolean {
  return removal.storedAt !== null && storedAt > removal.storedAt
}

function isHeld(backup: StoredBackup | undefined, key: string): boolean {
  return backup !== undefined && backup.folder + backup.manifestSha256 === key
}

function folderOf({ kind, server, database }: Place, label: string): string {
  return backupFolder({ kind, server, database, label })
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
