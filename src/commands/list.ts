import type { BackupFilter } from '../catalog/catalog.ts'
import type { HistoryChain } from '../catalog/history.ts'
import type { StoreFlags } from '../config/store-flags.ts'
import type { Verdict } from '../domain/drill-report.ts'
import type { Installation } from '../jobs/installation.ts'
import type { Answer, CommandContext } from './context.ts'
import type { DaemonFlags } from './daemon-client.ts'
import { backupDocument, drillSummary, type ListedBackup, type ListedDrill, troubleDocument } from './documents.ts'
import { openConfig, openInstallation } from './open.ts'
import {
  type Cell,
  formatAge,
  formatBytes,
  formatCount,
  formatSeconds,
  formatTable,
  type Painter,
  printable,
  type Tone,
} from './print.ts'
import { knownServers, placeName, serverUnknown } from './target.ts'
import { historyGapLines, proofCell, troubleLines } from './wording.ts'

/** Which backups or drills are meant. */
export type PlaceFlags = { readonly server?: string; readonly database?: string }
export type ListFlags = PlaceFlags &
  StoreFlags &
  DaemonFlags & { readonly drills?: boolean; readonly history?: boolean }

/** Backups or drills, newest first, and what is wrong in the store. */
export async function listCommand(context: CommandContext, flags: ListFlags): Promise<Answer> {
  const config = await openConfig(context, flags, { drillsNothing: true })
  await using wired = await openInstallation(context, config, { writes: false, needsCatalog: true })
  const { catalog, clock } = wired.installation
  const now = clock.now()
  const place = { server: flags.server, database: flags.database }
  const backups = catalog.backups(place)
  const drills = catalog.drills(place)
  const servers = knownServers(config, catalog)
  const isKnown = servers.some(({ name }) => name === flags.server) || backups.length + drills.length > 0
  if (flags.server !== undefined && !isKnown) throw serverUnknown(flags.server, servers)

  const lists =
    flags.drills === true
      ? { drills: drills.map(drillSummary), fullDrills: catalog.fullDrills(flags.server) }
      : { backups: backups.map((backup) => backupDocument(backup, now)) }
  const { historyGaps, ...troubles } = troubleDocument(catalog)
  const history = flags.history === true ? { historyGaps, historyChains: chainsOf(catalog, place) } : {}
  const document = { ...lists, ...troubles, ...history }
  const table =
    flags.drills === true ? drillTable(drills, now, context.paint) : backupTable(backups, now, context.paint)
  return { document, text: [table, ...endLines(wired.installation, flags, context.paint, now)].join('\n') }
}

export const verdictTones: Readonly<Record<Verdict, Tone>> = { passed: 'good', failed: 'bad', inconclusive: 'doubtful' }

/** One line for each drill. */
export function drillTable(drills: readonly ListedDrill[], now: Date, paint: Painter): string {
  if (drills.length === 0) return 'No drills.'
  const rows = drills.map((report): Cell[] => [
    report.label,
    placeName(report),
    report.backup.label,
    formatAge(new Date(report.finishedAt), now),
    { text: report.verdict, tone: verdictTones[report.verdict] },
    report.restoreTimeSeconds === null ? '' : formatSeconds(report.restoreTimeSeconds),
    report.reason?.message ??
      `${formatCount(report.compared.rows)} rows in ${formatCount(report.compared.tables)} tables compared`,
  ])
  const titles = ['DRILL', 'OF', 'BACKUP', 'AGE', 'VERDICT', 'RESTORE TIME', 'RESULT']
  return formatTable(
    titles.map((title) => ({ title, align: /AGE|TIME/.test(title) ? 'right' : 'left' })),
    rows,
    paint,
  )
}

/** One line for each backup. */
export function backupTable(backups: readonly ListedBackup[], now: Date, paint: Painter): string {
  if (backups.length === 0) return 'No backups.'
  const rows = backups.map((backup): Cell[] => {
    const { label, dump, evidence, kind } = backup.manifest
    const isRoles = kind === 'roles'
    const proof = proofCell(backup, now)
    return [
      label,
      placeName(backup.manifest),
      formatAge(backup.snapshotTime, now),
      formatBytes(dump.bytes),
      formatBytes(backup.storedBytes),
      isRoles ? '' : formatCount(evidence.tables),
      isRoles ? '' : formatCount(evidence.rows),
      proof,
    ]
  })
  const left = new Set(['LABEL', 'OF', 'PROOF'])
  const titles = ['LABEL', 'OF', 'AGE', 'DUMP', 'STORED', 'TABLES', 'ROWS', 'PROOF']
  return formatTable(
    titles.map((title) => ({ title, align: left.has(title) ? 'left' : 'right' })),
    rows,
    paint,
  )
}

function endLines({ catalog }: Installation, flags: ListFlags, paint: Painter, now: Date): string[] {
  const lines = [...fullDrillLines(catalog, flags), ...troubleLines(catalog, now)]
  const gaps = historyGapLines(catalog)
  if (flags.history !== true) {
    if (gaps.length > 0)
      lines.push(
        'history: a backup was removed, replaced or put back by somebody else than pgproof; see `pgproof list --history`',
      )
    return lines.length === 0 ? [] : ['', ...lines.map(printable)]
  }
  const found =
    gaps.length > 0 ? gaps : ['history: every backup follows the one before it; nothing was removed but by prunes']
  const chains = chainTable(chainsOf(catalog, flags), paint)
  return [...(chains === '' ? [] : ['', chains]), '', ...[...lines, ...found].map(printable)]
}

/** They are of whole servers, so they are in no table of databases. */
function fullDrillLines(catalog: Installation['catalog'], { drills, server, database }: ListFlags): string[] {
  const places = drills === true && database === undefined ? catalog.fullDrills(server) : []
  if (places.length === 0) return []
  const named = places.slice(0, fullDrillsShown).map((place) => `${place.label} of ${place.server}`)
  const rest = places.length > named.length ? `, and ${formatCount(places.length - named.length)} older ones` : ''
  return [`full drills: ${named.join(', ')}${rest}; see \`pgproof show\``]
}

const fullDrillsShown = 4

/** How the manifests of each place name one another. */
function chainTable(chains: readonly HistoryChain[], paint: Painter): string {
  if (chains.length === 0) return ''
  const rows = chains.map((chain): Cell[] => {
    const { backups, links, whole, pruned, gaps } = chain
    const tone = whole === links ? 'good' : 'bad'
    return [
      placeName(chain),
      formatCount(backups),
      { text: `${formatCount(whole)} of ${formatCount(links)}`, tone },
      formatCount(pruned),
      { text: formatCount(gaps), tone: gaps === 0 ? 'good' : 'bad' },
    ]
  })
  const titles = ['HISTORY OF', 'BACKUPS', 'LINKS THAT HOLD', 'PRUNED', 'GAPS']
  return formatTable(
    titles.map((title) => ({ title, align: title === 'HISTORY OF' ? 'left' : 'right' })),
    rows,
    paint,
  )
}

function chainsOf(catalog: Installation['catalog'], { server, database }: BackupFilter): HistoryChain[] {
  return catalog
    .historyChains()
    .filter((chain) => server === undefined || chain.server === server)
    .filter((chain) => database === undefined || chain.database === database)
}
