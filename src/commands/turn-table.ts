import { waitsSince } from '../catalog/database-status.ts'
import { ageSeconds, type JsonDocument } from './documents.ts'
import { type Cell, counted, formatAge, formatSeconds, formatTable, type Painter } from './print.ts'
import type { DatabaseStanding, StandingBackup } from './standing.ts'
import { placeName } from './target.ts'

/** Whose turn it is to be drilled: how much is proven, what waits longest, and when every backup will have been drilled. */
export function turnTable(standings: readonly DatabaseStanding[], now: Date, paint: Painter): string {
  const rows = standings
    .filter(({ retained }) => retained > 0)
    .map((standing): Cell[] => {
      const { retained, verified, oldestUnverified, leastRecentlyVerified } = standing
      return [
        placeName(standing),
        {
          text: `${verified} of ${retained} (${percent(verified, retained)} %)`,
          tone: verified === 0 ? 'doubtful' : 'good',
        },
        oldestUnverified === null
          ? 'none'
          : `${oldestUnverified.manifest.label}, ${formatAge(oldestUnverified.snapshotTime, now)}`,
        leastRecentlyVerified === null ? '' : waitText(leastRecentlyVerified, now),
        guaranteeText(standing),
      ]
    })
  const titles = [
    'DATABASE',
    'VERIFIED',
    'OLDEST UNVERIFIED',
    'LONGEST WITHOUT PROOF',
    'EVERY BACKUP IS DRILLED WITHIN',
  ]
  return rows.length === 0
    ? ''
    : formatTable(
        titles.map((title) => ({ title })),
        rows,
        paint,
      )
}

/** The same for `--json`. */
export function turnDocument(standing: DatabaseStanding, now: Date): JsonDocument {
  const { retained, verified, oldestUnverified, leastRecentlyVerified, guarantee } = standing
  return {
    verifiedShare: retained === 0 ? null : verified / retained,
    oldestUnverified:
      oldestUnverified === null
        ? null
        : {
            label: oldestUnverified.manifest.label,
            snapshotTime: oldestUnverified.manifest.snapshotTime,
            ageSeconds: ageSeconds(oldestUnverified.snapshotTime, now),
          },
    leastRecentlyVerified:
      leastRecentlyVerified === null
        ? null
        : {
            label: leastRecentlyVerified.manifest.label,
            verifiedAt: leastRecentlyVerified.verifiedAt?.toISOString() ?? null,
            waitsSeconds: ageSeconds(waitsSince(leastRecentlyVerified), now),
          },
    drilledWithin: guarantee,
  }
}

/** Rounded down: 100 % is said of all only. */
function percent(part: number, whole: number): number {
  return Math.floor((100 * part) / whole)
}

function waitText(backup: StandingBackup, now: Date): string {
  const age = formatAge(waitsSince(backup), now)
  return `${backup.manifest.label}, ${backup.verifiedAt === null ? `never, taken ${age}` : `verified ${age}`}`
}

/** Says no more than holds: a rule that promises nothing, and drills that nobody has planned. */
function guaranteeText({ guarantee: { drills, seconds } }: DatabaseStanding): Cell {
  if (drills === null) return { text: 'no guarantee: drill.pick is not random', tone: 'doubtful' }
  if (seconds === null) return { text: `${counted(drills, 'drill')}, none of which is scheduled`, tone: 'doubtful' }
  return `${counted(drills, 'drill')}, by the schedule ${formatSeconds(seconds)}`
}
