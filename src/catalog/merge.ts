import type { DrillReport } from '../domain/drill-report.ts'
import type { PauseDocument } from '../domain/pause.ts'
import type { Prune } from '../domain/prune-record.ts'
import type { DamagedObject, OrphanFolder, StoreContents, StoredBackup } from './contents.ts'
import type { FullDrillPlace } from './places.ts'

/** The backup as one of the stores holds it. */
export type StoredCopy = StoredBackup & { readonly store: string }

/** A backup wherever it is: what is said of it is said of its first whole copy, or of its first if none is whole. */
export type CopiedBackup = StoredBackup & {
  /** In the order of the stores. */
  readonly copies: readonly StoredCopy[]
}

/** What all stores hold together. */
export type MergedContents = {
  readonly backups: ReadonlyMap<string, CopiedBackup>
  readonly drills: ReadonlyMap<string, DrillReport>
  readonly prunes: ReadonlyMap<string, Prune>
  readonly pauses: ReadonlyMap<string, PauseDocument>
  /** By the key of a prune's record, the stores that have it: each of them was pruned so. */
  readonly prunedStores: ReadonlyMap<string, readonly string[]>
  readonly fullDrills: readonly FullDrillPlace[]
  /** By key, the first of each. */
  readonly damaged: ReadonlyMap<string, DamagedObject & { readonly store: string }>
  readonly orphans: readonly (OrphanFolder & { readonly store: string })[]
  /** When the document under this key was stored, by the first store that has it. */
  readonly storedAt: (key: string) => Date | null
}

/**
 * The names of the stores that have a whole copy, `first` before the others; of those that have any if none is whole, so
 * that reading says what is wrong.
 */
export function storesOf({ copies }: Pick<CopiedBackup, 'copies'>, first?: string): readonly string[] {
  const whole = copies.filter(({ faults }) => faults.length === 0)
  const names = (whole.length > 0 ? whole : copies).map(({ store }) => store)
  return first !== undefined && names.includes(first) ? [first, ...names.filter((name) => name !== first)] : names
}

/**
 * In the order of the stores, which decides what is said where two of them differ. `backups` and `drills` are those that are
 * merged already.
 */
export function mergeContents(
  stores: ReadonlyMap<string, StoreContents>,
  { backups, drills }: Partial<Pick<MergedContents, 'backups' | 'drills'>> = {},
): MergedContents {
  const each = [...stores]
  const damaged = new Map<string, DamagedObject & { store: string }>()
  for (const [store, contents] of each)
    for (const [key, object] of contents.damaged) if (!damaged.has(key)) damaged.set(key, { ...object, store })
  const fullDrills = new Map<string, FullDrillPlace>()
  for (const [, contents] of each)
    for (const place of contents.fullDrills) fullDrills.set(`${place.server}/${place.label}`, place)
  const prunedStores = new Map<string, readonly string[]>()
  for (const [store, contents] of each) {
    // One list for all that only this store has.
    const alone = [store]
    for (const key of contents.prunes.keys()) {
      const known = prunedStores.get(key)
      prunedStores.set(key, known === undefined ? alone : [...known, store])
    }
  }
  return {
    prunedStores,
    backups: backups ?? mergeBackups(each),
    drills: drills ?? firstOfEach(each.map((one) => one[1].drills)),
    prunes: firstOfEach(each.map(([, { prunes }]) => prunes)),
    pauses: firstOfEach(each.map(([, { pauses }]) => pauses)),
    fullDrills: [...fullDrills.values()],
    damaged,
    orphans: each.flatMap(([store, { orphans }]) => Array.from(orphans.values(), (orphan) => ({ ...orphan, store }))),
    storedAt: (key) => {
      for (const [, { known }] of each) {
        const info = known.get(key)?.info
        if (info !== undefined) return info.modifiedAt
      }
      return null
    },
  }
}

/** The backup in that folder, wherever it is. */
export function mergeBackup(folder: string, stores: ReadonlyMap<string, StoreContents>): CopiedBackup | undefined {
  let merged: CopiedBackup | undefined
  for (const [store, { backups }] of stores) {
    const backup = backups.get(folder)
    if (backup !== undefined) merged = merged === undefined ? onlyCopy(store, backup) : withCopy(merged, store, backup)
  }
  return merged
}

function mergeBackups(stores: readonly (readonly [string, StoreContents])[]): Map<string, CopiedBackup> {
  const merged = new Map<string, CopiedBackup>()
  for (const [store, { backups }] of stores) {
    for (const [folder, backup] of backups) {
      const before = merged.get(folder)
      merged.set(folder, before === undefined ? onlyCopy(store, backup) : withCopy(before, store, backup))
    }
  }
  return merged
}

/** The same object as before: of ten thousand backups a change is about one. */
function onlyCopy(store: string, backup: StoredBackup): CopiedBackup {
  const before = onlyCopies.get(backup)
  if (before !== undefined && before.copies[0]?.store === store) return before
  const copied = { ...backup, copies: [copyIn(store, backup, [])] }
  onlyCopies.set(backup, copied)
  return copied
}

const onlyCopies = new WeakMap<StoredBackup, CopiedBackup>()

/** A copy under another manifest is none: one of the two is not what pgproof wrote; which, `settleManifests` has said. */
function withCopy(before: CopiedBackup, store: string, backup: StoredBackup): CopiedBackup {
  const isSame = before.manifestSha256 === backup.manifestSha256
  const isBetter = before.faults.length > 0 && backup.faults.length === 0
  const isSaid = isSame || isBetter || backup.isDisputed === true
  const differs = isSaid ? [] : [`its manifest is not the one in store ${before.copies[0]?.store}`]
  const copies = [...before.copies, copyIn(store, backup, differs)]
  return isBetter ? { ...backup, copies } : { ...before, copies }
}

function copyIn(store: string, backup: StoredBackup, more: readonly string[]): StoredCopy {
  return { ...backup, store, faults: [...backup.faults, ...more] }
}

/** One map needs no copy: that is what most installations have. */
function firstOfEach<V>(maps: readonly ReadonlyMap<string, V>[]): ReadonlyMap<string, V> {
  const [only] = maps
  if (only !== undefined && maps.length === 1) return only
  const merged = new Map<string, V>()
  for (const map of maps) for (const [key, value] of map) if (!merged.has(key)) merged.set(key, value)
  return merged
}
