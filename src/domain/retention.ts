import { PgproofError } from '../errors.ts'
import { wallClock } from './local-time.ts'

/** How many backups each rule keeps; 0 switches a rule off. */
export type RetentionPolicy = {
  readonly last: number
  readonly daily: number
  readonly weekly: number
  readonly monthly: number
  readonly yearly: number
  readonly verified: number
}

export type RetentionBackup = {
  readonly label: string
  readonly snapshotTime: Date
  /** Whether a drill of it passed and none failed since. */
  readonly verified: boolean
  readonly kind: 'database' | 'roles'
}

export type KeepRule = 'newest' | 'newest verified' | keyof RetentionPolicy | 'held' | 'from the future'

/** Why a backup is kept: `{ rule: 'daily', detail: '2026-11-20' }`. */
export type KeepReason = { readonly rule: KeepRule; readonly detail: string | null }

export type RetentionDecision = {
  readonly label: string
  readonly snapshotTime: Date
  readonly keep: boolean
  /** At least one for a kept backup, none for one to remove. */
  readonly reasons: readonly KeepReason[]
}

export type RetentionPlan = readonly RetentionDecision[]

export type RetentionQuestion = {
  /** The backups of one database, or the roles backups of one server; in any order. */
  readonly backups: readonly RetentionBackup[]
  readonly policy: RetentionPolicy
  readonly now: Date
  /** The IANA time zone in which days, weeks, months and years begin. */
  readonly timezone: string
  /** Labels that may not be removed, with the reason (a lock in the store, a person's wish). */
  readonly held?: ReadonlyMap<string, string>
}

/**
 * What to keep and why, newest first; everything else is to be removed. The newest backup, the newest verified one, held
 * ones and those from the future are kept whatever the policy says.
 *
 * The rules take turns, from `last` to `yearly`. Each keeps the newest backup of its most recent days (weeks, …) that
 * have one; a day (week, …) whose newest backup an earlier rule keeps does not use up its number. So the numbers add up,
 * and a newer backup never makes it keep fewer: if one backup could stand for a day, a week and a month together, the
 * backup on the first of a month would push out three and bring one. `verified` counts by itself.
 *
 * Throws `PRUNE_REFUSED` for a policy that keeps nothing, and for a list that cannot be what the caller meant.
 */
export function decideRetention(question: RetentionQuestion): RetentionPlan {
  assertMeaningful(question)
  const ordered = question.backups.toSorted(newestFirst)
  const past = ordered.filter(({ snapshotTime }) => snapshotTime <= question.now)
  const reasons = new Map(ordered.map(({ label }): [string, KeepReason[]] => [label, []]))
  const keep = (backup: RetentionBackup, rule: KeepRule, detail: string | null): void => {
    reasons.get(backup.label)?.push({ rule, detail })
  }

  if (past[0] !== undefined) keep(past[0], 'newest', null)
  const verified = past.filter((backup) => backup.verified)
  if (verified[0] !== undefined) keep(verified[0], 'newest verified', null)

  keepByTiers(past, question, keep)
  const { verified: count } = question.policy
  for (const [index, backup] of verified.slice(0, count).entries()) keep(backup, 'verified', `${index + 1} of ${count}`)

  for (const backup of ordered) {
    const hold = question.held?.get(backup.label)
    if (hold !== undefined) keep(backup, 'held', hold)
    if (backup.snapshotTime > question.now) keep(backup, 'from the future', null)
  }
  return ordered.map(({ label, snapshotTime }) => {
    const found = reasons.get(label) ?? []
    return { label, snapshotTime, keep: found.length > 0, reasons: found }
  })
}

/** `daily 2026-11-20`, `newest`, `held: locked until 2026-12-01`. */
export function describeKeepReason({ rule, detail }: KeepReason): string {
  if (detail === null) return rule
  return rule === 'held' ? `held: ${detail}` : `${rule} ${detail}`
}

const rules = ['last', 'daily', 'weekly', 'monthly', 'yearly', 'verified'] as const

function assertMeaningful({ backups, policy, now }: RetentionQuestion): void {
  const refuse = (reason: string): PgproofError => new PgproofError('PRUNE_REFUSED', { reason })
  const odd = rules.find((rule) => !Number.isSafeInteger(policy[rule]) || policy[rule] < 0)
  if (odd !== undefined) throw refuse(`the retention policy says ${odd}: ${policy[odd]}`)
  if (rules.every((rule) => policy[rule] === 0)) throw refuse('the retention policy keeps nothing (every rule is 0)')
  if (Number.isNaN(now.getTime())) throw refuse('the present time is unknown')
  const labels = new Set<string>()
  for (const { label, snapshotTime, kind } of backups) {
    if (Number.isNaN(snapshotTime.getTime())) throw refuse(`backup ${label} has no snapshot time`)
    if (labels.has(label)) throw refuse(`two backups are labelled ${label}`)
    if (kind !== backups[0]?.kind) throw refuse('backups of a database and of roles are in one list')
    labels.add(label)
  }
}

function newestFirst(a: RetentionBackup, b: RetentionBackup): number {
  const byTime = b.snapshotTime.getTime() - a.snapshotTime.getTime()
  if (byTime !== 0) return byTime
  return a.label < b.label ? 1 : -1
}

type Tier = {
  readonly rule: keyof RetentionPolicy
  /** Numbers days, weeks, …; `wall` is the local time and `index` the position, 0 for the newest. */
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

function keepByTiers(
  past: readonly RetentionBackup[],
  { policy, timezone }: RetentionQuestion,
  keep: (backup: RetentionBackup, rule: KeepRule, detail: string) => void,
): void {
  const walls = past.map(({ snapshotTime }) => wallClock(snapshotTime.getTime(), timezone))
  const kept = new Set<RetentionBackup>()
  for (const { rule, bucketOf, describe } of tiers) {
    let taken = 0
    // A set, not the last one: where clocks are put back over midnight, the local day comes twice.
    const buckets = new Set<number>()
    for (const [index, backup] of past.entries()) {
      if (taken === policy[rule]) break
      const wall = walls[index] as number
      const bucket = bucketOf(wall, index)
      if (buckets.has(bucket)) continue
      buckets.add(bucket)
      if (kept.has(backup)) continue
      taken += 1
      kept.add(backup)
      keep(backup, rule, describe(wall, taken, policy[rule]))
    }
  }
}

/** `2026-W47`: the year is that of the week's Thursday. */
function isoWeek(wall: number): string {
  const monday = Math.floor((dayOf(wall) + 3) / 7) * 7 - 3
  const thursday = new Date((monday + 3) * dayMs)
  const year = thursday.getUTCFullYear()
  const week = Math.floor((thursday.getTime() - Date.UTC(year, 0, 1)) / dayMs / 7) + 1
  return `${year}-W${String(week).padStart(2, '0')}`
}
