import type { CatalogBackup } from '../catalog/catalog.ts'
import type { StoreFlags } from '../config/store-flags.ts'
import { formatDuration } from '../config/units.ts'
import { isOverdue } from '../domain/overdue.ts'
import { shellWord } from '../domain/shell-word.ts'
import type { Answer, CommandContext } from './context.ts'
import type { DaemonFlags } from './daemon-client.ts'
import { ageSeconds, drillSummary, type JsonDocument, troubleDocument } from './documents.ts'
import { verdictTones } from './list.ts'
import { openConfig, openInstallation } from './open.ts'
import { pauseDocuments, pauseLines } from './pause-lines.ts'
import { type Cell, formatAge, formatSeconds, formatTable, type Painter, printable } from './print.ts'
import { type DatabaseStanding, intervalOf, readStandings, worriesOf, worstFirst } from './standing.ts'
import { storeDocuments, storeLines, storeWorries } from './store-lines.ts'
import { knownServers, placeName } from './target.ts'
import { turnDocument, turnTable } from './turn-table.ts'
import { historyGapLines, troubleLines } from './wording.ts'

export type StatusFlags = StoreFlags & DaemonFlags

/**
 * What is protected, what is proven and what worries, by the store alone or by what a daemon says: no database server is
 * asked. Always exits with 0.
 */
export async function statusCommand(context: CommandContext, flags: StatusFlags): Promise<Answer> {
  const config = await openConfig(context, flags, { drillsNothing: true })
  await using wired = await openInstallation(context, config, { writes: false, needsCatalog: true })
  const { catalog, clock, stores, storeId } = wired.installation
  const now = clock.now()
  const servers = knownServers(config, catalog)
  const facts: StatusFacts = {
    now,
    standings: readStandings(config, catalog, now),
    roles: servers.map(({ name, schedule }) => ({
      server: name,
      // Who orders every backup by hand has no schedule that could say so.
      intervalSeconds:
        schedule.backup === undefined && schedule.roles === undefined
          ? undefined
          : intervalOf(schedule.roles, config, now),
      newest: catalog.backups({ kind: 'roles', server: name })[0],
    })),
    stores: storeLines(stores, catalog, storeId, now),
    worries: [
      ...pauseLines(catalog.pauses()),
      ...storeWorries(wired.installation),
      ...troubleLines(catalog, now),
      ...historyGapLines(catalog),
    ],
    knowsRuns: false,
  }
  const head = { storeId: storeId === '' ? null : storeId, stores: storeDocuments(stores, catalog) }
  return statusAnswer(
    facts,
    { ...head, ...troubleDocument(catalog), pauses: pauseDocuments(catalog.pauses()) },
    context.paint,
  )
}

const nothingStored =
  'Nothing worries, as far as the store tells; runs that fail are known to the daemon (pgproof status --url, or its log).'

/** What a status tells of, wherever it comes from. */
export type StatusFacts = {
  readonly now: Date
  readonly standings: readonly DatabaseStanding[]
  readonly roles: readonly RolesStanding[]
  /** One line for each store. */
  readonly stores: readonly string[]
  /** What worries besides databases and roles; not yet escaped. */
  readonly worries: readonly string[]
  /** Whether the worries hold the runs that failed: only a daemon knows of those that left nothing in a store. */
  readonly knowsRuns: boolean
  /** What else there is to say, at the end; not yet escaped. */
  readonly notes?: readonly string[]
}

export function statusAnswer(facts: StatusFacts, more: JsonDocument, paint: Painter): Answer {
  const { now, roles } = facts
  const standings = worstFirst(facts.standings)
  const worries = [
    ...roles.flatMap(({ server }) => (standings.some((one) => one.server === server) ? [] : nothingYet(server))),
    ...standings.flatMap(worriesOf),
    ...roles.flatMap((one) => rolesWorry(one, standings, now)),
    ...facts.worries,
  ]
  const sections = [
    databaseTable(standings, now, paint),
    turnTable(standings, now, paint),
    rolesTable(roles, now, paint),
    facts.stores.join('\n'),
    worries.length === 0
      ? paint(facts.knowsRuns ? 'Nothing worries.' : nothingStored, 'good')
      : [paint('What worries', 'bad'), ...worries.map((worry) => `  ${printable(worry)}`)].join('\n'),
    (facts.notes ?? []).map(printable).join('\n'),
  ]
  const { storeId, stores, ...troubles } = more
  const document = {
    storeId,
    stores,
    databases: standings.map((standing) => standingDocument(standing, now)),
    roles: roles.map(({ server, newest }) => rolesDocument(server, newest, now)),
    ...troubles,
    worries,
  }
  return { document, text: sections.filter((section) => section !== '').join('\n\n') }
}

function databaseTable(standings: readonly DatabaseStanding[], now: Date, paint: Painter): string {
  if (standings.length === 0) return 'No backup of any database yet.'
  const rows = standings.map((standing): Cell[] => {
    const { newest, lastDrill, lastPassed, retained, verified, forecastSeconds, objectives } = standing
    const { overdueIntervalSeconds: overdue } = standing
    const { recoveryPoint, restoreTime, forecast } = objectives
    return [
      placeName(standing),
      newest === null
        ? { text: 'never', tone: 'bad' }
        : toned(formatAge(newest.snapshotTime, now), overdue === null ? recoveryPoint.status : 'missed'),
      objectiveCell(recoveryPoint.objectiveSeconds),
      lastPassed === null ? { text: 'never', tone: 'doubtful' } : formatAge(new Date(lastPassed.finishedAt), now),
      lastDrill === null ? '' : { text: lastDrill.verdict, tone: verdictTones[lastDrill.verdict] },
      restoreTime.measuredSeconds === null ? '' : toned(formatSeconds(restoreTime.measuredSeconds), restoreTime.status),
      forecastSeconds === null ? '' : toned(formatSeconds(forecastSeconds), forecast.status),
      objectiveCell(restoreTime.objectiveSeconds),
      `${verified} of ${retained}`,
    ]
  })
  const titles = [
    'DATABASE',
    'LAST BACKUP',
    'RPO',
    'LAST PROOF',
    'LAST DRILL',
    'RESTORE TIME',
    'FORECAST',
    'RTO',
    'VERIFIED',
  ]
  return formatTable(
    titles.map((title) => ({ title, align: /DATABASE|DRILL/.test(title) ? 'left' : 'right' })),
    rows,
    paint,
  )
}

export type RolesStanding = {
  readonly server: string
  /** How often a backup of them is due; null where none is scheduled, undefined where nobody knows. */
  readonly intervalSeconds: number | null | undefined
  readonly newest:
    | (Pick<CatalogBackup, 'snapshotTime'> & {
        readonly manifest: Pick<CatalogBackup['manifest'], 'label' | 'snapshotTime' | 'finishedAt'> &
          Partial<Pick<CatalogBackup['manifest'], 'rolePasswords'>>
      })
    | undefined
}

function rolesTable(roles: readonly RolesStanding[], now: Date, paint: Painter): string {
  const rows = roles.map(({ server, newest }): Cell[] => {
    if (newest === undefined) return [server, { text: 'never', tone: 'doubtful' }, '']
    const passwords = newest.manifest.rolePasswords === 'absent' ? 'without passwords' : ''
    return [server, formatAge(newest.snapshotTime, now), passwords]
  })
  return formatTable([{ title: 'ROLES OF' }, { title: 'LAST BACKUP', align: 'right' }, { title: '' }], rows, paint)
}

/** Before the first backup nothing else can be said of a server. */
function nothingYet(server: string): string[] {
  return [`${server}: no database was ever backed up`]
}

/** A server whose databases are backed up and whose roles are not cannot be restored elsewhere as it was; unless that is meant. */
function rolesWorry(
  { server, newest, intervalSeconds }: RolesStanding,
  standings: readonly DatabaseStanding[],
  now: Date,
): string[] {
  if (intervalSeconds === null) return []
  if (newest !== undefined && intervalSeconds !== undefined) {
    const finishedAt = new Date(newest.manifest.finishedAt)
    if (!isOverdue({ intervalSeconds, finishedAt, recoveryPoint: null, now })) return []
    const age = formatSeconds(ageSeconds(finishedAt, now))
    const interval = formatDuration(intervalSeconds * 1000)
    return [`${server}: the newest backup of its roles is ${age} old, one is due every ${interval}`]
  }
  const isUsed = standings.some((standing) => standing.server === server && standing.newest !== null)
  return newest === undefined && isUsed
    ? [
        `${server}: its roles were never backed up; a restore on a new server would lack them (pgproof backup ${shellWord(server)} --roles)`,
      ]
    : []
}

function toned(text: string, status: string): Cell {
  if (status === 'missed') return { text, tone: 'bad' }
  return status === 'met' ? { text, tone: 'good' } : text
}

function objectiveCell(seconds: number | null): string {
  return seconds === null ? '' : formatDuration(seconds * 1000)
}

function standingDocument(standing: DatabaseStanding, now: Date): JsonDocument {
  const { server, database, newest, lastDrill, lastPassed, retained, verified, forecastSeconds, objectives } = standing
  return {
    server,
    database,
    newestBackup:
      newest === null
        ? null
        : {
            label: newest.manifest.label,
            snapshotTime: newest.manifest.snapshotTime,
            ageSeconds: ageSeconds(newest.snapshotTime, now),
          },
    lastDrill: lastDrill === null ? null : drillSummary(lastDrill),
    lastPassedDrill: lastPassed === null ? null : drillSummary(lastPassed),
    backups: { retained, verified },
    turn: turnDocument(standing, now),
    forecastSeconds,
    objectives,
    worries: worriesOf(standing),
  }
}

function rolesDocument(server: string, newest: RolesStanding['newest'], now: Date): JsonDocument {
  return {
    server,
    newestBackup:
      newest === undefined
        ? null
        : {
            label: newest.manifest.label,
            snapshotTime: newest.manifest.snapshotTime,
            ageSeconds: ageSeconds(newest.snapshotTime, now),
            passwords: newest.manifest.rolePasswords ?? null,
          },
  }
}
