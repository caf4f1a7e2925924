/** How many backups each tier keeps; 0 switches it off. */
export type TierCounts = {
  readonly last: number
  readonly daily: number
  readonly weekly: number
  readonly monthly: number
  readonly yearly: number
}

export type TierRule = keyof TierCounts

/**
 * Calls `keep` for what each tier keeps of backups that are newest first; `wall` is the local time as UTC. The tiers take
 * turns: a day (week, …) whose newest backup an earlier tier keeps does not use up the number of this one.
 */
export function keepByTiers<Backup extends { readonly wall: number }>(
  backups: readonly Backup[],
  counts: TierCounts,
  keep: (backup: Backup, rule: TierRule, detail: string) => void,
): void {
  const kept = new Set<Backup>()
  for (const { rule, bucketOf, describe } of tiers) {
    let taken = 0
    // A set, not the last one: where clocks are put back over midnight, the local day comes twice.
    const buckets = new Set<number>()
    for (const [index, backup] of backups.entries()) {
      if (taken === counts[rule]) break
      const bucket = bucketOf(backup.wall, index)
      if (buckets.has(bucket)) continue
      buckets.add(bucket)
      if (kept.has(backup)) continue
      taken += 1
      kept.add(backup)
      keep(backup, rule, describe(backup.wall, taken, counts[rule]))
    }
  }
}

type Tier = {
  readonly rule: TierRule
  /** Numbers days, weeks, …; `index` is the position, 0 for the newest. */
  readonly bucketOf: (wall: number, index: number) => number
  readonly describe: (wall: number, taken: number, count: number) => string
}

const dayMs = 86_400_000
const dayOf = (wall: number): number => Math.floor(wall / dayMs)
const isoText = (wall: number, length: number): string => new Date(wall).toISOString().slice(0, length)

const tiers: readonly Tier[] = [
  { rule: 'last', bucketOf: (_wall, index) => index, describe: (_wall, taken, count) => `${taken} of ${count}` },
  { rule: 'daily', bucketOf: dayOf, describe: (wall) => isoText(wall, 10) },
  // Day 0 was a Thursday; ISO weeks begin on Monday.
  { rule: 'weekly', bucketOf: (wall) => Math.floor((dayOf(wall) + 3) / 7), describe: isoWeek },
  {
    rule: 'monthly',
    bucketOf: (wall) => new Date(wall).getUTCFullYear() * 12 + new Date(wall).getUTCMonth(),
    describe: (wall) => isoText(wall, 7),
  },
  { rule: 'yearly', bucketOf: (wall) => new Date(wall).getUTCFullYear(), describe: (wall) => isoText(wall, 4) },
]

/** `2026-W47`: the year is that of the week's Thursday. */
function isoWeek(wall: number): string {
  const monday = Math.floor((dayOf(wall) + 3) / 7) * 7 - 3
  const thursday = new Date((monday + 3) * dayMs)
  const year = thursday.getUTCFullYear()
  const week = Math.floor((thursday.getTime() - Date.UTC(year, 0, 1)) / dayMs / 7) + 1
  return `${year}-W${String(week).padStart(2, '0')}`
}
