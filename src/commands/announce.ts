import type { PlannedJob } from '../catalog/runs.ts'
import { redactedConfig } from '../config/config.ts'
import type { Installation } from '../jobs/installation.ts'
import { type Log, logKeys } from '../log.ts'
import { readStandings, worriesOf } from './standing.ts'
import { storeWorries } from './store-lines.ts'
import { historyGapLines, troubleLines } from './wording.ts'

const linesOfEach = 50

/**
 * What a daemon says when it starts, for whoever looks at the log's beginning: what it protects, when it runs next and
 * what worries it. The whole configuration, without secrets, is for those who look closer.
 */
export function announce(
  log: Log,
  planned: readonly PlannedJob[],
  installation: Installation,
  address: string | null,
): void {
  const { config, catalog } = installation
  log.debug({ config: redactedConfig(config) }, 'configuration')
  for (const { name, objectives, schedule } of config.servers) {
    const databases = planned
      .filter(({ job, server }) => job === 'backup' && server === name)
      .map((one) => one.database)
    log.info(
      {
        [logKeys.server]: name,
        databases,
        ...(objectives.rpoMs === undefined ? {} : { rpoSeconds: objectives.rpoMs / 1000 }),
        ...(objectives.rtoMs === undefined ? {} : { rtoSeconds: objectives.rtoMs / 1000 }),
      },
      'protects',
    )
    if (schedule.backup === undefined) log.warn({ server: name }, 'no backup schedule')
    if (schedule.roles === undefined) log.warn({ server: name }, 'no roles schedule: drills need the roles')
    if (schedule.drill === undefined) log.warn({ server: name }, 'no drill schedule: nothing will be proven')
  }
  const soonest = planned.toSorted((one, other) => one.nextAt.getTime() - other.nextAt.getTime())
  for (const { job, server, database, nextAt, pausedUntil } of soonest.slice(0, linesOfEach)) {
    const place = { [logKeys.job]: job, [logKeys.server]: server, ...(database === null ? {} : { database }) }
    log.info({ ...place, nextAt, ...(pausedUntil === null ? {} : { pausedUntil }) }, 'scheduled')
  }
  if (soonest.length > linesOfEach) log.info({ more: soonest.length - linesOfEach }, 'scheduled later')
  const worries = currentWorries(installation)
  for (const worry of worries.slice(0, linesOfEach)) log.warn({ worry }, 'worries')
  if (worries.length > linesOfEach) log.warn({ more: worries.length - linesOfEach }, 'worries, besides')
  const { backups, drills } = { backups: catalog.backups().length, drills: catalog.drills().length }
  log.info({ address, backups, drills, worries: worries.length, timezone: config.timezone }, 'ready')
}

function currentWorries(installation: Installation): string[] {
  const { config, catalog, clock } = installation
  const now = clock.now()
  return [
    ...readStandings(config, catalog, now).flatMap(worriesOf),
    ...storeWorries(installation),
    ...troubleLines(catalog, now),
    ...historyGapLines(catalog),
  ]
}
