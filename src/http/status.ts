import { z } from 'zod'
import type { CatalogBackup } from '../catalog/catalog.ts'
import { type DatabaseStatus, guaranteeOf, readDatabaseStatus, waitsSince } from '../catalog/database-status.ts'
import { readFailedRuns } from '../catalog/failed-runs.ts'
import type { PlannedJob, Run } from '../catalog/runs.ts'
import { isFinished, stillScheduled } from '../catalog/runs.ts'
import { objectivesOf } from '../config/config.ts'
import { judgeObjectives } from '../domain/objectives.ts'
import { planSync } from '../jobs/sync.ts'
import { isCovered, knownDatabases, newestByServer } from '../metrics/scrape.ts'
import {
  backupAnswer,
  backupSchema,
  drillAnswer,
  drillSchema,
  failedRunSchema,
  pauseAnswer,
  pauseSchema,
  runAnswer,
  runSchema,
} from './answers.ts'
import type { HttpParts } from './http-parts.ts'

const seconds = z.number().nonnegative()
const instant = z.iso.datetime()
const count = z.int().nonnegative()

const pausedUntil = instant.nullable().describe('Nothing of it starts before then; null unless it is paused.')

const objectiveSchema = z.strictObject({
  objectiveSeconds: seconds.nullable(),
  measuredSeconds: seconds.nullable(),
  status: z.enum(['met', 'missed', 'unmeasured', 'no objective']),
})

const waitingSchema = z.strictObject({
  label: z.string(),
  since: instant.describe('When a drill of it passed last, or else its snapshot time.'),
})

export const databaseStatusSchema = z.strictObject({
  server: z.string(),
  database: z.string(),
  newestBackup: backupSchema.nullable(),
  recoveryPoint: instant
    .nullable()
    .describe(
      'Snapshot time of the newest backup whose objects are all in the store and that no drill has shown to be bad.',
    ),
  verifiedRecoveryPoint: instant.nullable().describe('The same, of the newest that passed a drill.'),
  retained: z.strictObject({ any: count, verified: count }),
  oldestUnverified: waitingSchema.nullable().describe('The oldest backup of which no drill has passed.'),
  leastRecentlyVerified: waitingSchema.nullable().describe('The backup that waits longest for a drill that passes.'),
  drilledWithin: z
    .strictObject({ drills: count.nullable(), seconds: seconds.nullable() })
    .describe('In how many drills, and in how long by their schedule, every backup is drilled; null: nobody promises.'),
  lastDrill: drillSchema.nullable(),
  lastPassedDrill: drillSchema.nullable(),
  restoreTimeForecastSeconds: seconds.nullable().describe('What a restore of the newest backup would take.'),
  objectives: z.strictObject({
    recoveryPoint: objectiveSchema.describe('Its age against the RPO.'),
    restoreTime: objectiveSchema.describe('Against the RTO.'),
    forecast: objectiveSchema.describe('Against the RTO.'),
  }),
  next: z.array(
    z.strictObject({
      job: z.enum(['backup', 'drill']),
      at: instant,
      intervalSeconds: seconds.describe('The longest time between two due times.'),
      pausedUntil,
    }),
  ),
})

export const statusSchema = z.strictObject({
  version: z.string(),
  time: instant,
  isReady: z.boolean(),
  reasons: z.array(z.string()).describe('Why it is not ready.'),
  databases: z.array(databaseStatusSchema),
  roles: z.array(
    z.strictObject({
      server: z.string(),
      newestBackup: backupSchema.nullable(),
      next: instant.nullable(),
      intervalSeconds: seconds
        .nullable()
        .describe('The longest time between two due times; null where none is scheduled.'),
      pausedUntil,
    }),
  ),
  runs: z.array(runSchema).describe('Those that wait or go on.'),
  failures: z
    .array(failedRunSchema)
    .describe(
      'The last runs of this process that did not succeed, newest first, and older ones that are not over; none of what the configuration or its schedule has no more.',
    ),
  pauses: z.array(pauseSchema).describe('Those in force, the one that ends last first.'),
  store: z.strictObject({
    readAt: instant.nullable().describe('When it was last read; null if it never was.'),
    isComplete: z.boolean().describe('Whether everything in all required stores could be read then.'),
    places: z
      .array(
        z.strictObject({
          name: z.string(),
          isRequired: z.boolean(),
          url: z.string(),
          readAt: instant.nullable(),
          isComplete: z.boolean(),
          problem: z.string().nullable().describe('Why it could not be read.'),
          clockSkewSeconds: z.number().nullable(),
          backups: count.describe('Of which it has the manifest.'),
          lackingBackups: count.describe('That another store has and a sync would copy to it.'),
        }),
      )
      .describe('Each store, in the order of the configuration.'),
    orphanObjects: count.describe('Objects of backups without a manifest.'),
    damagedObjects: count.describe(
      'Manifests and reports that cannot be read or are not signed as demanded; they count as nothing.',
    ),
    historyGaps: z
      .array(
        z.strictObject({
          kind: z.enum(['database', 'roles']),
          server: z.string(),
          database: z.string().nullable(),
          label: z.string(),
          found: z.enum(['removed', 'replaced', 'returned']),
          witnesses: z
            .array(z.strictObject({ by: z.enum(['manifest', 'drill report', 'prune record']), label: z.string() }))
            .describe('What remembers it otherwise.'),
        }),
      )
      .describe('Backups that somebody other than pgproof removed, replaced, or put back after a prune.'),
  }),
  configuration: z
    .strictObject({ isInForce: z.boolean(), needsRestart: z.array(z.string()) })
    .describe('Whether the configuration that was last read is in force, and which settings of it wait for a restart.'),
  keys: z
    .array(
      z.strictObject({
        fingerprint: z.string(),
        use: z.enum(['recipient', 'signer', 'private']),
        expiresAt: instant.nullable().describe('Null: it never expires.'),
      }),
    )
    .describe('The OpenPGP keys that this process works with.'),
})
export type Status = z.infer<typeof statusSchema>
export type StatusOfDatabase = z.infer<typeof databaseStatusSchema>

const failuresShown = 20

/** What is protected, what is proven, what goes on and what went wrong, as far as this process and the store know. */
export function readStatus(parts: HttpParts): Status {
  const { installation, orders, version } = parts
  const { catalog, clock, config, stores } = installation
  const now = clock.now()
  const planned = parts.planned()
  const { ready, reasons } = parts.isReady()
  const answer = (run: Run) => runAnswer(run, orders.position(run.id))
  const runs = catalog.runs()
  const isScheduled = stillScheduled(planned)
  const matters = (run: Run): boolean =>
    isScheduled(run) && isCovered({ server: run.server, database: run.database ?? '' }, config)
  const rolesServers = new Set([
    ...config.servers.map(({ name }) => name),
    ...newestByServer(catalog.backups({ kind: 'roles' })).keys(),
  ])
  return {
    version,
    time: now.toISOString(),
    isReady: ready,
    reasons: [...reasons],
    databases: knownDatabases(catalog, planned).map((place) =>
      databaseAnswer(
        readDatabaseStatus(place, catalog, objectivesOf(place.server, config), now),
        config.drill.pick,
        planned,
        now,
      ),
    ),
    roles: [...rolesServers].map((server) => {
      const newest = catalog.backups({ kind: 'roles', server })[0]
      const next = planned.find((one) => one.job === 'roles' && one.server === server)
      return {
        server,
        newestBackup: newest === undefined ? null : backupAnswer(newest),
        next: next?.nextAt.toISOString() ?? null,
        intervalSeconds: next?.intervalSeconds ?? null,
        pausedUntil: next?.pausedUntil?.toISOString() ?? null,
      }
    }),
    runs: runs.filter((run) => !isFinished(run)).map(answer),
    failures: readFailedRuns(catalog, failuresShown, matters).map(({ run, isOver }) => ({ ...answer(run), isOver })),
    pauses: catalog.pauses().map(pauseAnswer),
    store: {
      readAt: catalog.lastRefreshedAt?.toISOString() ?? null,
      isComplete: catalog.isComplete,
      places: stores.named.map(({ name, isRequired, writer }) => {
        const standing = catalog.standings().find((one) => one.name === name)
        return {
          name,
          isRequired,
          url: writer.url,
          readAt: standing?.readAt?.toISOString() ?? null,
          isComplete: standing?.isComplete ?? false,
          problem: standing?.error?.message ?? null,
          clockSkewSeconds: writer.clockSkewSeconds() ?? null,
          backups: catalog.inStore(name).backups().length,
          lackingBackups: planSync(name, installation).backups.length,
        }
      }),
      orphanObjects: catalog.orphans().reduce((sum, { objects }) => sum + objects.length, 0),
      damagedObjects: catalog.damaged().length,
      historyGaps: catalog.historyGaps().map((gap) => ({ ...gap, witnesses: [...gap.witnesses] })),
    },
    configuration: {
      isInForce: parts.configReload().isSuccessful,
      needsRestart: [...parts.configReload().needsRestart],
    },
    keys: parts.keyExpiries().map(({ fingerprint, use, expiresAt }) => {
      return { fingerprint, use, expiresAt: expiresAt?.toISOString() ?? null }
    }),
  }
}

function databaseAnswer(
  status: DatabaseStatus,
  rule: 'random' | 'latest',
  planned: readonly PlannedJob[],
  now: Date,
): StatusOfDatabase {
  const { server, database, newestBackup, recoveryPoint, verifiedRecoveryPoint, lastDrill, lastPassedDrill } = status
  const { rpoSeconds, rtoSeconds, forecastSeconds } = status
  const drill = planned.find((one) => one.job === 'drill' && one.server === server && one.database === database)
  return {
    server,
    database,
    newestBackup: newestBackup === null ? null : backupAnswer(newestBackup),
    recoveryPoint: recoveryPoint?.snapshotTime.toISOString() ?? null,
    verifiedRecoveryPoint: verifiedRecoveryPoint?.snapshotTime.toISOString() ?? null,
    retained: status.retained,
    oldestUnverified: waitingAnswer(status.oldestUnverified),
    leastRecentlyVerified: waitingAnswer(status.leastRecentlyVerified),
    drilledWithin: guaranteeOf(status, rule, drill?.intervalSeconds ?? null),
    lastDrill: lastDrill === null ? null : drillAnswer(lastDrill),
    lastPassedDrill: lastPassedDrill === null ? null : drillAnswer(lastPassedDrill),
    restoreTimeForecastSeconds: forecastSeconds,
    objectives: judgeObjectives({
      rpoSeconds,
      rtoSeconds,
      recoveryPoint: recoveryPoint?.snapshotTime ?? null,
      restoreTimeSeconds: lastPassedDrill?.restoreTimeSeconds ?? null,
      forecastSeconds,
      now,
    }),
    next: planned.flatMap((one) =>
      one.job !== 'roles' && one.server === server && one.database === database
        ? [
            {
              job: one.job,
              at: one.nextAt.toISOString(),
              intervalSeconds: one.intervalSeconds,
              pausedUntil: one.pausedUntil?.toISOString() ?? null,
            },
          ]
        : [],
    ),
  }
}

function waitingAnswer(backup: CatalogBackup | null): StatusOfDatabase['oldestUnverified'] {
  return backup === null ? null : { label: backup.manifest.label, since: waitsSince(backup).toISOString() }
}
