import type { CatalogBackup } from '../catalog/catalog.ts'
import type { StoreFlags } from '../config/store-flags.ts'
import { formatDuration } from '../config/units.ts'
import type { Answer, CommandContext } from './context.ts'
import { ageSeconds, drillSummary, type JsonDocument, troubleDocument } from './documents.ts'
import { verdictTones } from './list.ts'
import { openConfig, openInstallation } from './open.ts'
import { type Cell, formatAge, formatSeconds, formatTable, type Painter, printable } from './print.ts'
import { type DatabaseStanding, readStandings, worriesOf } from './standing.ts'
import { storeDocuments, storeLines, storeWorries } from './store-lines.ts'
import { type KnownServer, knownServers, placeName } from './target.ts'
import { turnDocument, turnTable } from './turn-table.ts'
import { historyGapLines, troubleLines } from './wording.ts'

/** What is protected, what is proven and what worries, by the store alone: no database server is asked. Always exits with 0. */
export async function statusCommand(context: CommandContext, flags: StoreFlags): Promise<Answer> {
  const config = await openConfig(context, flags)
  await using wired = await openInstallation(context, config, { writes: false, needsCatalog: true })
  const { catalog, clock, stores, storeId } = wired.installation
  const now = clock.now()
  const standings = readStandings(config, catalog, now)
  const servers = knownServers(config, catalog)
  const roles = servers.map((server) => ({
    server,
    newest: catalog.backups({ kind: 'roles', server: server.name })[0],
  }))
  const worries = [
    ...servers.filter(({ name }) => !standings.some(({ server }) => server === name)).map(nothingYet),
    ...standings.flatMap(worriesOf),
    ...roles.flatMap(({ server, newest }) => rolesWorry(server, newest, standings)),
    ...storeWorries(wired.installation),
    ...troubleLines(catalog, now),
    ...historyGapLines(catalog),
  ]
  const sections = [
    databaseTable(standings, now, context.paint),
    turnTable(standings, now, context.paint),
    rolesTable(roles, now, context.paint),
    storeLines(stores, catalog, storeId, now).join('\n'),
    worries.length === 0
      ? context.paint('Nothing worries.', 'good')
      : [context.paint('What worries', 'bad'), ...worries.map((worry) => `  ${printable(worry)}`)].join('\n'),
  ]
  const document = {
    storeId: storeId === '' ? null : storeId,
    stores: storeDocuments(stores, catalog),
    databases: standings.map((standing) => standingDocument(standing, now)),
    roles: roles.map(({ server, newest }) => rolesDocument(server, newest, now)),
    ...troubleDocument(catalog),
    worries,
  }
  return { document, text: sections.filter((section) => section !== '').join('\n\n') }
}

function databaseTable(standings: readonly DatabaseStanding[], now: Date, paint: Painter): string {
  if (standings.length === 0) return 'No backup of any database yet.'
  const rows = standings.map((standing): Cell[] => {
    const { newest, lastDrill, lastPassed, retained, verified, forecastSeconds, objectives } = standing
    const { recoveryPoint, restoreTime, forecast } = objectives
    return [
      placeName(standing),
      newest === null
        ? { text: 'never', tone: 'bad' }
        : toned(formatAge(newest.snapshotTime, now), recoveryPoint.status),
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

type RolesStanding = { readonly server: KnownServer; readonly newest: CatalogBackup | undefined }

function rolesTable(roles: readonly RolesStanding[], now: Date, paint: Painter): string {
  const rows = roles.map(({ server, newest }): Cell[] => {
    if (newest === undefined) return [server.name, { text: 'never', tone: 'doubtful' }, '']
    const passwords = newest.manifest.rolePasswords === 'absent' ? 'without passwords' : ''
    return [server.name, formatAge(newest.snapshotTime, now), passwords]
  })
  return formatTable([{ title: 'ROLES OF' }, { title: 'LAST BACKUP', align: 'right' }, { title: '' }], rows, paint)
}

/** Before the first backup nothing else can be said of a server. */
function nothingYet({ name }: KnownServer): string {
  return `${name}: no database was ever backed up`
}

/** A server whose databases are backed up and whose roles are not cannot be restored elsewhere as it was. */
function rolesWorry(
  server: KnownServer,
  newest: CatalogBackup | undefined,
  standings: readonly DatabaseStanding[],
): string[] {
  const isUsed = standings.some((standing) => standing.server === server.name && standing.newest !== null)
  return newest === undefined && isUsed
    ? [
        `${server.name}: its roles were never backed up; a restore on a new server would lack them (pgproof backup ${server.name} --roles)`,
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

function rolesDocument(server: KnownServer, newest: CatalogBackup | undefined, now: Date): JsonDocument {
  return {
    server: server.name,
    newestBackup:
      newest === undefined
        ? null
        : {
            label: newest.manifest.label,
            snapshotTime: newest.manifest.snapshotTime,
            ageSeconds: ageSeconds(newest.snapshotTime, now),
            passwords: newest.manifest.rolePasswords,
          },
  }
}
