type Dated = { readonly label: string; readonly snapshotTime: Date }

/** Roles are taken weekly, and a role made after one roles backup is in the next; a day is for a late one. */
const graceMs = 8 * 24 * 3_600_000

/**
 * The roles backup that a drill or restore of a backup with this snapshot time takes: the newest that is at most eight
 * days younger, else the newest there is. `rolesBackups` are those of its server, newest first.
 */
export function pickRolesBackup<Backup extends Pick<Dated, 'snapshotTime'>>(
  snapshotTime: Date,
  rolesBackups: readonly Backup[],
): Backup | undefined {
  const latest = snapshotTime.getTime() + graceMs
  // By halves: a prune asks this for ten thousand backups.
  let [low, high] = [0, rolesBackups.length]
  while (low < high) {
    const middle = (low + high) >> 1
    if ((rolesBackups[middle] as Backup).snapshotTime.getTime() <= latest) high = middle
    else low = middle + 1
  }
  return rolesBackups[low] ?? rolesBackups[0]
}

/**
 * Which roles backups may not go, by label, with the reason: `by 12 backups, the newest 20261120T020000Z-4f7k`. It is
 * what a restore of each of the database backups would take; where that one is bad, also what it would take of the
 * good ones. Pass the database backups of one server that are to stay, in any order.
 */
export function rolesNeeded(
  databaseBackups: readonly Dated[],
  rolesBackups: readonly (Dated & { readonly isGood: boolean })[],
): ReadonlyMap<string, string> {
  const roles = rolesBackups.toSorted(newestFirst)
  const goodRoles = roles.filter(({ isGood }) => isGood)
  const dependants = new Map<string, { count: number; newest: string }>()
  for (const { label, snapshotTime } of databaseBackups.toSorted(newestFirst)) {
    const picks = [pickRolesBackup(snapshotTime, roles), pickRolesBackup(snapshotTime, goodRoles)]
    for (const pick of new Set(picks.flatMap((one) => one?.label ?? []))) {
      const known = dependants.get(pick)
      // Newest first: who asks first is the newest that needs it.
      if (known === undefined) dependants.set(pick, { count: 1, newest: label })
      else known.count += 1
    }
  }
  return new Map(Array.from(dependants, ([label, { count, newest }]) => [label, detailOf(count, newest)]))
}

function detailOf(count: number, newest: string): string {
  return count === 1 ? `by backup ${newest}` : `by ${count} backups, the newest ${newest}`
}

function newestFirst(a: Dated, b: Dated): number {
  return b.snapshotTime.getTime() - a.snapshotTime.getTime() || (a.label < b.label ? 1 : -1)
}
