import type { Catalog } from '../catalog/catalog.ts'
import type { HistoryGap, HistoryWitness } from '../catalog/history.ts'
import type { Manifest } from '../domain/manifest.ts'
import type { ListedBackup } from './documents.ts'
import { type Cell, counted, formatAge, formatBytes, formatCount } from './print.ts'
import { placeName } from './target.ts'

/** What several pages say in the same words. Not yet escaped for the terminal. */

/** `2,300,123 rows in 41 tables, counted and digested`. */
export function evidenceText({ level, tables, rows }: Manifest['evidence']): string {
  const what = `${counted(rows, 'row')} in ${counted(tables, 'table')}`
  if (level === 'digest') return `${what}, counted and digested`
  return level === 'count' ? `${what}, counted` : `not of every table (${what})`
}

/** `foreign data (2), tablespace (1)`. */
export function omissionText(omissions: Manifest['omissions']): string {
  return omissions.map(({ kind, objects }) => `${kind} (${formatCount(objects)})`).join(', ')
}

type Proof = Pick<ListedBackup, 'faults' | 'verifiedAt' | 'lastDrilledAt' | 'lastVerdict' | 'isKnownBad'>

/** What drills have shown of a backup. */
export function proofCell({ faults, verifiedAt, lastDrilledAt, lastVerdict, isKnownBad }: Proof, now: Date): Cell {
  if (faults.length > 0) return { text: `damaged: ${faults.join('; ')}`, tone: 'bad' }
  if (verifiedAt !== null) return { text: `verified ${formatAge(verifiedAt, now)}`, tone: 'good' }
  if (lastDrilledAt === null) return { text: 'never drilled', tone: 'doubtful' }
  const verdict = isKnownBad && lastVerdict !== 'failed' ? `failed, then ${lastVerdict}` : lastVerdict
  const tone = isKnownBad || lastVerdict === 'failed' ? 'bad' : 'doubtful'
  return { text: `drill ${verdict} ${formatAge(lastDrilledAt, now)}`, tone }
}

const underWayMs = 3_600_000

/** What should not be in the store, or should be and is not; one line each. */
export function troubleLines(catalog: Pick<Catalog, 'damaged' | 'orphans'>, now: Date): string[] {
  const damaged = catalog.damaged().map(({ key, error }) => {
    return `damaged: ${error.message.includes(key) ? '' : `${key}: `}${error.message}`
  })
  // What was written a moment ago belongs to a backup that is under way.
  const orphans = catalog.orphans().filter(({ modifiedAt }) => now.getTime() - modifiedAt.getTime() > underWayMs)
  if (orphans.length === 0) return damaged
  const bytes = orphans.reduce((sum, orphan) => sum + orphan.bytes, 0)
  const youngest = new Date(Math.max(...orphans.map(({ modifiedAt }) => modifiedAt.getTime())))
  const what = counted(orphans.length, 'folder')
  return [
    ...damaged,
    `orphans: ${what} without a manifest, ${formatBytes(bytes)}, the youngest written ${formatAge(youngest, now)}` +
      ' (left by a crash, or a backup that is under way; a prune removes them after a day)',
  ]
}

/** Where somebody other than pgproof removed, replaced or put back a backup; one line each. */
export function historyGapLines(catalog: Pick<Catalog, 'historyGaps'>): string[] {
  return catalog
    .historyGaps()
    .map((gap) => `${placeName(gap)}: ${foundText(gap)} (noticed by ${witnessText(gap.witnesses)})`)
}

function foundText({ found, label }: HistoryGap): string {
  if (found === 'removed') return `backup ${label} is gone and no prune removed it`
  if (found === 'replaced') return `backup ${label} is not the one it was: its manifest was replaced`
  return `backup ${label} was pruned and is there again: somebody put it back`
}

const witnessesShown = 3

function witnessText(witnesses: readonly HistoryWitness[]): string {
  const shown = witnesses.slice(0, witnessesShown).map(({ by, label }) => {
    if (by === 'manifest') return `the manifest of backup ${label}, which follows it`
    return by === 'drill report' ? `the report of drill ${label}` : `the record of prune ${label}`
  })
  const rest = witnesses.length - shown.length
  return [...shown, ...(rest === 0 ? [] : [`${formatCount(rest)} more`])].join('; ')
}
