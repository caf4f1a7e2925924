import fc from 'fast-check'
import type { RetentionBackup, RetentionQuestion } from '../../src/domain/retention.ts'

/** What is generated: a question, what happens after it, and another order and spelling of the same. */
export type History = {
  readonly question: RetentionQuestion
  /** Taken afterwards, oldest first; none is older than any of the question's. */
  readonly newer: readonly RetentionBackup[]
  /** Not before the last of them. */
  readonly later: Date
  /** The question's backups in another order. */
  readonly shuffled: readonly RetentionBackup[]
  /** Database backups, if the question's are taken for roles backups. */
  readonly dependants: readonly { readonly label: string; readonly snapshotTime: Date }[]
}

const zones = [
  ...['UTC', 'Europe/Berlin', 'America/Havana', 'America/Santiago', 'Africa/Cairo', 'Asia/Kathmandu'],
  ...['Pacific/Apia', 'Pacific/Auckland', 'America/St_Johns', 'Australia/Lord_Howe'],
]
const objectives = [null, null, 0, 3_600_000, 93_600_000, 864_000_000]
const minuteMs = 60_000

// One number for each backup: drawing is then cheaper than deciding. Its digits say how long after the one before it was
// taken, and whether it is verified, bad and held.
const backupNumbers = fc.nat(0xffffff)

/** Nightly and six-hourly histories, and some with gaps and bursts; now and then one that goes on after the present. */
export const histories: fc.Arbitrary<History> = fc
  .record({
    rhythm: fc.constantFrom(1440, 360, null, null),
    // Short ones find the edges, long ones the interplay.
    past: fc.oneof(
      fc.array(backupNumbers, { maxLength: 12, size: 'max' }),
      fc.array(backupNumbers, { maxLength: 48, size: 'max' }),
    ),
    later: fc.array(backupNumbers, { maxLength: 5, size: 'max' }),
    // From 2020 to 2030, in minutes.
    start: fc.integer({ min: 26_297_280, max: 31_556_160 }),
    presentMinutes: fc.oneof({ weight: 3, arbitrary: fc.constant(60) }, fc.integer({ min: -20_000, max: 20_000 })),
    counts: fc.tuple(...Array.from({ length: 6 }, () => fc.oneof(fc.constant(0), fc.nat(6)))),
    timezone: fc.constantFrom(...zones),
    objectiveMs: fc.constantFrom(...objectives),
    isForced: fc.boolean(),
    order: fc.nat(),
  })
  .filter(({ counts }) => counts.some((count) => count > 0))
  .map(({ rhythm, past, later, start, presentMinutes, counts, timezone, objectiveMs, isForced, order }) => {
    let minutes = start
    const next = (number: number, index: number): RetentionBackup => {
      minutes += rhythm ?? stepMinutes(number)
      return {
        label: `b${String(index).padStart(3, '0')}`,
        snapshotTime: new Date(minutes * minuteMs),
        verified: (number >> 16) % 4 === 0,
        isGood: (number >> 18) % 5 !== 0,
        kind: 'database',
      }
    }
    const backups = past.map(next)
    const now = new Date((minutes + presentMinutes) * minuteMs)
    const held = past.flatMap((number, index) =>
      number % 11 === 0 ? [[`b${String(index).padStart(3, '0')}`, 'lock'] as const] : [],
    )
    const newer = later.map((number, index) => next(number, past.length + index))
    const [last = 0, daily = 0, weekly = 0, monthly = 0, yearly = 0, verified = 0] = counts
    return {
      question: {
        backups,
        policy: { last, daily, weekly, monthly, yearly, verified },
        now,
        timezone,
        objectiveMs,
        isForced,
        held: new Map(held),
      },
      newer,
      later: new Date(Math.max(now.getTime(), minutes * minuteMs)),
      shuffled: shuffle(backups, order),
      // At odd times before, between and after the others.
      dependants: past
        .filter((number) => number % 3 === 0)
        .map((number, index) => ({
          label: `d${index}`,
          snapshotTime: new Date((start - 20_000 + (number % Math.max(1, minutes - start + 40_000))) * minuteMs),
        })),
    }
  })

/** Minutes, hours, days or months; now and then none at all. */
function stepMinutes(number: number): number {
  const span = [300, 300, 1440, 20_000, 20_000, 400_000][(number >> 20) % 6] as number
  return Math.floor(((number & 0xffff) / 0x10000) * span)
}

function shuffle<Item>(items: readonly Item[], seed: number): Item[] {
  const shuffled = [...items]
  let state = seed
  for (let left = shuffled.length; left > 1; left -= 1) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    const pick = state % left
    const [a, b] = [shuffled[left - 1] as Item, shuffled[pick] as Item]
    shuffled[left - 1] = b
    shuffled[pick] = a
  }
  return shuffled
}
