/** Below zero where `one` comes first; never zero for two different ones. */
export type Order<T> = (one: T, other: T) => number

/** A sorted list without the ones that are gone and with the new ones: a new list, or the same where nothing changes. */
export function patchedList<T>(
  list: readonly T[],
  gone: ReadonlySet<T>,
  added: readonly T[],
  order: Order<T>,
): readonly T[] {
  if (gone.size === 0 && added.length === 0) return list
  const kept = gone.size === 0 ? [...list] : list.filter((item) => !gone.has(item))
  for (const item of added) kept.splice(placeOf(item, kept, order), 0, item)
  return kept
}

/** Lists by a name, each of them patched; a list that has become empty is gone. */
export function patchedGroups<T>(
  groups: ReadonlyMap<string, readonly T[]>,
  gone: ReadonlySet<T>,
  added: readonly T[],
  order: Order<T>,
  nameOf: (item: T) => string,
): ReadonlyMap<string, readonly T[]> {
  if (gone.size === 0 && added.length === 0) return groups
  const addedTo = Map.groupBy(added, nameOf)
  const patched = new Map(groups)
  for (const name of new Set([...Array.from(gone, nameOf), ...addedTo.keys()])) {
    const list = patchedList(groups.get(name) ?? [], gone, addedTo.get(name) ?? [], order)
    if (list.length > 0) patched.set(name, list)
    else patched.delete(name)
  }
  return patched
}

function placeOf<T>(item: T, sorted: readonly T[], order: Order<T>): number {
  let from = 0
  let to = sorted.length
  while (from < to) {
    const middle = (from + to) >>> 1
    if (order(sorted[middle] as T, item) < 0) from = middle + 1
    else to = middle
  }
  return from
}
