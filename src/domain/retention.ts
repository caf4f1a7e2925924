import { PgproofError } from '../errors.ts'
import { spellAge } from './gate.ts'
import { wallClock } from './local-time.ts'
import { keepByTiers, type TierCounts } from './retention-tiers.ts'

/** How many backups each rule keeps; 0 switches a rule off. */
export type RetentionPolicy = TierCounts & { readonly verified: number }

export type RetentionBackup = {
  readonly label: string
  readonly snapshotTime: Date
  /** Whether a drill of it passed and none failed since. */
  readonly verified: boolean
  /** Whether its objects are all in the store and its last drill did not fail. */
  readonly isGood: boolean
  readonly kind: 'database' | 'roles'
}

export type KeepRule =
  | 'newest'
  | 'newest verified'
  | keyof RetentionPolicy
  | 'held'
  | 'needed'
  | 'from the future'
  | 'held back'

/** Why a backup is kept: `{ rule: 'daily', detail: '2026-11-20' }`. */
export type KeepReason = { readonly rule: KeepRule; readonly detail: string | null }

export type RetentionDecision = {
  readonly label: string
  readonly snapshotTime: Date
  readonly isGood: boolean
  readonly keep: boolean
  /** At least one for a kept backup, none for one to remove. */
  readonly reasons: readonly KeepReason[]
}

export type RetentionPlan = readonly RetentionDecision[]

export type RetentionQuestion = {
  /** The backups of one database, or the roles backups of one server, in one store; in any order. */
  readonly backups: readonly RetentionBackup[]
  readonly policy: RetentionPolicy
  readonly now: Date
  /** The IANA time zone in which days, weeks, months and years begin. */
  readonly timezone: string
  /** How old the newest good backup may be (the RPO) before nothing is removed any more; null: however old. */
  readonly objectiveMs: number | null
  /** Remove even though the newest good backup is older than that. Overrides nothing else. */
  readonly isForced: boolean
  /** Labels that may not be removed, with the reason (`lockReason`, a drill that reads it, a person's wish). */
  readonly held?: ReadonlyMap<string, string> | undefined
  /** Roles backups that database backups need, from `rolesNeeded`. */
  readonly needed?: ReadonlyMap<string, string> | undefined
}

/**
 * What to keep and why, newest first; everything else is to be removed. The newest backup, the newest good one, the
 * newest good verified one, held and needed ones, and those from the future are kept whatever the policy says.
 *
 * The rules take turns, from `last` to `yearly`. Each keeps the newest backup of its most recent days (weeks, …) that
 * have one; a day (week, …) whose newest backup an earlier rule keeps does not use up its number. So the numbers add up,
 * and a newer backup never makes it keep fewer: if one backup could stand for a day, a week and a month together, the
 * backup on the first of a month would push out three and bring one. `verified` counts by itself.
 *
 * Good backups are decided as if there were no others. A bad one takes no good one's place, and goes when it would have
 * gone if it were good: it may be all that there is of its day.
 *
 * While the newest good backup is older than `objectiveMs`, what would be removed is `held back` instead, unless forced.
 *
 * Throws `PRUNE_REFUSED` for a policy that keeps nothing, and for a list that cannot be what the caller meant.
 */
export function decideRetention(question: RetentionQuestion): RetentionPlan {
  assertMeaningful(question)
  const { now, policy, timezone, held, needed } = question
  const ordered = question.backups.toSorted(newestFirst)
  const past = ordered
    .filter(({ snapshotTime }) => snapshotTime <= now)
    .map((backup): Placed => ({ ...backup, wall: wallClock(backup.snapshotTime.getTime(), timezone) }))
  const good = past.filter(({ isGood }) => isGood)
  const byPolicyOfGood = reasonsByPolicy(good, policy)
  const byPolicyOfAll = good.length === past.length ? byPolicyOfGood : reasonsByPolicy(past, policy)
  const staleness = stalenessOf(past, question)

  return ordered.map(({ label, snapshotTime, isGood }) => {
    const reasons = [...((isGood ? byPolicyOfGood : byPolicyOfAll).get(label) ?? [])]
    const hold = held?.get(label)
    if (hold !== undefined) reasons.push({ rule: 'held', detail: hold })
    const need = needed?.get(label)
    if (need !== undefined) reasons.push({ rule: 'needed', detail: need })
    if (snapshotTime > now) reasons.push({ rule: 'from the future', detail: null })
    if (reasons.length === 0 && staleness !== null) reasons.push({ rule: 'held back', detail: staleness })
    return { label, snapshotTime, isGood, keep: reasons.length > 0, reasons }
  })
}

/** `daily 2026-11-20`, `newest`, `held: locked until …`, `needed by 12 backups, …`, `held back: newest backup is …`. */
export function describeKeepReason({
  rule,
  detail,
}: {
  readonly rule: string
  readonly detail: string | null
}): string {
  if (detail === null) return rule
  return rule === 'held' || rule === 'held back' ? `${rule}: ${detail}` : `${rule} ${detail}`
}

/** `last 3, daily 7`. */
export function describePolicy(policy: RetentionPolicy): string {
  const said = Object.entries(policy).filter(([, count]) => count > 0)
  return said.map(([rule, count]) => `${rule} ${count}`).join(', ')
}

/** The reason to hold a backup under Object Lock: `locked until 2026-12-02 02:00 UTC`; undefined once the lock ran out. */
export function lockReason(lockedUntil: Date, now: Date): string | undefined {
  if (lockedUntil <= now) return undefined
  // Rounded up: by the time that is named, the lock is off.
  const minute = new Date(Math.ceil(lockedUntil.getTime() / 60_000) * 60_000)
  return `locked until ${minute.toISOString().slice(0, 16).replace('T', ' ')} UTC`
}

type Placed = RetentionBackup & {
  /** What the clocks of the time zone showed, as UTC. */
  readonly wall: number
}

const rules = ['last', 'daily', 'weekly', 'monthly', 'yearly', 'verified'] as const

function assertMeaningful({ backups, policy, now, objectiveMs }: RetentionQuestion): void {
  const refuse = (reason: string): PgproofError => new PgproofError('PRUNE_REFUSED', { reason })
  const odd = rules.find((rule) => !Number.isSafeInteger(policy[rule]) || policy[rule] < 0)
  if (odd !== undefined) throw refuse(`the retention policy says ${odd}: ${policy[odd]}`)
  if (rules.every((rule) => policy[rule] === 0)) throw refuse('the retention policy keeps nothing (every rule is 0)')
  if (Number.isNaN(now.getTime())) throw refuse('the present time is unknown')
  if (objectiveMs !== null && !(objectiveMs >= 0)) throw refuse(`the objective is ${objectiveMs} ms`)
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

/** By label, what the policy keeps of these backups, which are newest first. */
function reasonsByPolicy(past: readonly Placed[], policy: RetentionPolicy): ReadonlyMap<string, readonly KeepReason[]> {
  const reasons = new Map(past.map(({ label }): [string, KeepReason[]] => [label, []]))
  const keep = ({ label }: Placed, rule: KeepRule, detail: string | null): void => {
    reasons.get(label)?.push({ rule, detail })
  }
  const verified = past.filter((backup) => backup.verified)
  if (past[0] !== undefined) keep(past[0], 'newest', null)
  if (verified[0] !== undefined) keep(verified[0], 'newest verified', null)
  keepByTiers(past, policy, keep)
  const { verified: count } = policy
  for (const [index, backup] of verified.slice(0, count).entries()) keep(backup, 'verified', `${index + 1} of ${count}`)
  return reasons
}

/**
 * Why nothing may be removed now; null if that is not so. A backup from the future does not count as recent: one that a
 * wrong clock dated years ahead would switch this off for years.
 */
function stalenessOf(
  past: readonly Placed[],
  { now, objectiveMs, isForced }: Pick<RetentionQuestion, 'now' | 'objectiveMs' | 'isForced'>,
): string | null {
  if (objectiveMs === null || isForced) return null
  const objective = spellAge(objectiveMs / 1000)
  const newest = past.find(({ isGood }) => isGood)
  if (newest === undefined) return `there is no good backup, objective ${objective}`
  const ageMs = now.getTime() - newest.snapshotTime.getTime()
  if (ageMs <= objectiveMs) return null
  const age = spellAge(ageMs / 1000)
  const which = newest === past[0] ? 'newest backup' : 'newest good backup'
  return `${which} is ${age === objective ? 'just over ' : ''}${age} old, objective ${objective}`
}
