import type { PlannedJob } from '../../src/catalog/runs.ts'
import type { DrillReport, Verdict } from '../../src/domain/drill-report.ts'
import type { Manifest } from '../../src/domain/manifest.ts'
import { labelAt, manifestAt, recordOf, reportOf, rolesManifestAt } from '../catalog/stored.ts'
import { now, type ServerSettings } from '../http/test-server.ts'

/** Stores and schedules as operators have them, for looking at the page. */

const hourMs = 3_600_000
const dayMs = 24 * hourMs
const present = Date.parse(now)

/** Every character that has a meaning in HTML or attributes, one that turns the text around, and no place to break a line. */
export const hostileName = `<script>alert(1)</script>"'&\u202Egpj.\r${'x'.repeat(20)}`

export type Story = {
  /** `main` unless given. */
  readonly server?: string
  readonly database: string
  /** Hours since the newest of its daily backups. */
  readonly ageHours: number
  readonly backups: number
  /** A drill of every so-manieth backup. */
  readonly drillEvery: number
  readonly verdicts?: (index: number) => Verdict
  readonly restoreSeconds?: (index: number) => number
}

const reasons = {
  failed: {
    code: 'EVIDENCE_MISMATCH',
    message: 'what was restored is not what was backed up',
    hint: 'Look at the differences with `pgproof show`; do not prune older backups before they are understood.',
  },
  inconclusive: {
    code: 'SPOOL_FULL',
    message: 'the spool directory has 1.2 GB left and the drill needs 8.0 GB',
    hint: 'Make room, or point `drill.spoolDir` at a larger disk.',
  },
}

/** Everything is as it should be. */
export const healthy: readonly Story[] = [
  {
    database: 'shop',
    ageHours: 10,
    backups: 120,
    drillEvery: 3,
    restoreSeconds: (index) => 180 + 4 * (30 - index) + 13 * (index % 4),
  },
  { database: 'crm', ageHours: 9, backups: 90, drillEvery: 5, restoreSeconds: (index) => 42 + (index % 5) },
  { database: 'wiki', ageHours: 8, backups: 80, drillEvery: 4, restoreSeconds: (index) => 9 + (index % 3) },
]

/** 300 backups of six databases, of which each has its own trouble; one is named to do harm. */
export const troubled: readonly Story[] = [
  ...healthy,
  {
    database: 'billing',
    ageHours: 9,
    backups: 30,
    drillEvery: 2,
    verdicts: (index) => (index === 0 ? 'failed' : index === 3 ? 'inconclusive' : 'passed'),
    restoreSeconds: (index) => 1300 + 60 * (12 - index),
  },
  { database: 'analytics', ageHours: 61, backups: 20, drillEvery: 4, restoreSeconds: (index) => 2100 - 70 * index },
  { database: hostileName, ageHours: 7, backups: 10, drillEvery: 100 },
]

export function storeOf(stories: readonly Story[]): Pick<ServerSettings, 'manifests' | 'reports' | 'records'> {
  const manifests: Manifest[] = []
  const reports: DrillReport[] = []
  const pruned: Manifest[] = []
  for (const story of stories) {
    for (let index = 0; index < story.backups; index += 1) {
      const at = present - story.ageHours * hourMs - index * dayMs
      const dump = { bytes: 4_000_000_000 - index * 9_000_000, sha256: 'd'.repeat(64), compression: 'zstd' as const }
      const manifest = manifestAt(new Date(at).toISOString(), {
        server: story.server ?? 'main',
        database: story.database,
        dump,
      })
      // Retention thins out what is old.
      if (index > 30 && index % 7 !== 0 && story.database === 'crm') pruned.push(manifest)
      else manifests.push(manifest)
      if (index % story.drillEvery === 0 && story.drillEvery < story.backups) {
        const drill = index / story.drillEvery
        const verdict = story.verdicts?.(drill) ?? 'passed'
        const finishedAt = new Date(at + 3 * hourMs).toISOString()
        reports.push(
          reportOf(manifest, finishedAt, {
            label: labelAt(finishedAt, 'dr11'),
            verdict,
            restoreTimeSeconds: verdict === 'inconclusive' ? null : (story.restoreSeconds?.(drill) ?? 20),
            reason: verdict === 'passed' ? null : reasons[verdict],
          }),
        )
      }
    }
  }
  manifests.push(rolesManifestAt(new Date(present - 30 * hourMs).toISOString()))
  return { manifests, reports, records: [recordOf(pruned)] }
}

export function scheduleOf(stories: readonly Story[], pausedUntil: Date | null = null): readonly PlannedJob[] {
  const jobs = stories.flatMap(({ server = 'main', database }, index): PlannedJob[] => {
    const place = { server, database }
    const nextAt = new Date(present + (13 + index / 4) * hourMs)
    return [
      { ...place, job: 'backup', nextAt, intervalSeconds: 86_400, pausedUntil: index === 2 ? pausedUntil : null },
      {
        ...place,
        job: 'drill',
        nextAt: new Date(nextAt.getTime() + 2 * dayMs),
        intervalSeconds: 604_800,
        pausedUntil: null,
      },
    ]
  })
  const rolesAt = new Date(present + 2 * dayMs)
  return [
    ...jobs,
    { job: 'roles', server: 'main', database: null, nextAt: rolesAt, intervalSeconds: 604_800, pausedUntil: null },
  ]
}

const fingerprint = '0F3D9A1C5B7E2846D0F3A9C1B5E7824660D1F2A3'

export function keysUntil(recipient: string): ServerSettings['parts'] {
  return {
    keyExpiries: () => [
      { fingerprint, use: 'recipient', expiresAt: new Date(recipient) },
      { fingerprint: fingerprint.split('').reverse().join(''), use: 'signer', expiresAt: null },
    ],
  }
}
