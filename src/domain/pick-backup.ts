import { PgproofError } from '../errors.ts'
import { seededRandom } from './random.ts'

export type PickCandidate = {
  readonly label: string
  readonly snapshotTime: Date
  /** End of the last drill of this backup, whatever its verdict. */
  readonly lastDrilledAt: Date | null
  /** End of the last drill that passed, unless one failed since. */
  readonly verifiedAt: Date | null
}

export type PickQuestion = {
  /** Every backup of one database that is in the store. */
  readonly candidates: readonly PickCandidate[]
  readonly rule: 'random' | 'latest'
  /** From `seedAfter`, or chosen by a person who wants to repeat a drill. */
  readonly seed: number
  /** Draws are made among the backups that are not older than this, counted from the newest one; absent: among all. */
  readonly withinMs?: number | undefined
}

/**
 * The backup to drill; the same candidates and seed always give the same one.
 *
 * `random` with an even seed takes the one that has waited longest since its last drill, or since it was taken. With an
 * odd seed it draws: never-verified backups have four times the weight, and the longer one is unverified, the more.
 * `withinMs` narrows the draws, never the turns. Seeds in sequence (`seedAfter`) therefore reach every backup within `verifiedWithin` drills, and still nobody who
 * damages a backup can tell for how long it will go unnoticed. Throws `NO_BACKUP` without candidates.
 */
export function pickBackup(question: PickQuestion): { readonly label: string; readonly reason: string } {
  const { candidates, rule, seed } = question
  const newest = candidates.toSorted(by((candidate) => -candidate.snapshotTime.getTime()))[0]
  if (newest === undefined) throw new PgproofError('NO_BACKUP', { what: 'this database' })
  if (rule === 'latest') return { label: newest.label, reason: 'newest backup' }
  if (seed % 2 === 0) {
    const [longest = newest] = candidates.toSorted(by(waitingSince))
    return { label: longest.label, reason: `longest without a drill (${lastDrill(longest)})` }
  }
  const { withinMs = Number.POSITIVE_INFINITY } = question
  const recent = candidates.filter((one) => newest.snapshotTime.getTime() - one.snapshotTime.getTime() <= withinMs)
  const drawn = draw(recent, seed) ?? newest
  const of = `1 of ${recent.length}, ${drawn.verifiedAt === null ? 'never verified' : 'verified before'}`
  return { label: drawn.label, reason: `drawn with seed ${seed} (${of})` }
}

/**
 * In how many consecutive drills by rule `random` every backup of a database is drilled at least once, if there are
 * never more than `candidateCount` of them: every second drill takes the head of a queue that new and drilled backups
 * join at its end.
 */
export function verifiedWithin(candidateCount: number): number {
  return 2 * candidateCount
}

/** The seed of the next drill, from that of the newest report by rule `random` (null: there is none). */
export function seedAfter(previous: number | null): number {
  return previous === null ? 0 : (previous + 1) % 0x1_0000_0000
}

function waitingSince({ lastDrilledAt, snapshotTime }: PickCandidate): number {
  return (lastDrilledAt ?? snapshotTime).getTime()
}

function draw(candidates: readonly PickCandidate[], seed: number): PickCandidate | undefined {
  const shortestFirst = candidates.toSorted(
    by(({ verifiedAt, snapshotTime }) => -(verifiedAt ?? snapshotTime).getTime()),
  )
  const weights = shortestFirst.map(({ verifiedAt }, index) => (index + 1) * (verifiedAt === null ? 4 : 1))
  const total = weights.reduce((sum, weight) => sum + weight, 0)
  let left = seededRandom(seed)() * total
  return shortestFirst.find((_candidate, index) => {
    left -= weights[index] as number
    return left < 0
  })
}

function by(key: (candidate: PickCandidate) => number): (a: PickCandidate, b: PickCandidate) => number {
  return (a, b) => key(a) - key(b) || (a.label < b.label ? -1 : 1)
}

function lastDrill({ lastDrilledAt, snapshotTime }: PickCandidate): string {
  return lastDrilledAt === null
    ? `none since it was taken, ${snapshotTime.toISOString()}`
    : `last drilled ${lastDrilledAt.toISOString()}`
}
