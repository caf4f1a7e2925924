import { formatDuration } from '../config/units.ts'
import type { DrillReport } from '../domain/drill-report.ts'
import type { DrillTables } from '../domain/drill-tables.ts'
import type { StructureDifference } from '../domain/structure.ts'
import { verdictTones } from './list.ts'
import {
  type Cell,
  counted,
  cutToWidth,
  formatBytes,
  formatCount,
  formatInstant,
  formatPairs,
  formatSeconds,
  formatTable,
  heading,
  type Painter,
  printable,
  type Tone,
} from './print.ts'
import { placeName } from './target.ts'
import { omissionText } from './wording.ts'

export type DrillPage = {
  readonly report: DrillReport
  /** The encrypted part; null without a private key, or when the drill did not come so far. */
  readonly tables: DrillTables | null
  /** Whether the tables are listed, or only what differs. */
  readonly isFull: boolean
  /** Whether the report counts only because a trusted signer signed it. */
  readonly isSignatureChecked?: boolean
}

/** More than these nobody reads on one page; the document of `--json` has them all. */
const mostLines = { differences: 20, tables: 40 } as const

/** What a drill found, on one page: the verdict, what it rests on, and then everything that was looked at. */
export function drillPage(page: DrillPage, paint: Painter): string {
  const { report, tables, isFull } = page
  const { label, verdict, omissions } = report
  const title = `${paint(verdict.toUpperCase(), verdictTones[verdict])}  drill ${label} of ${printable(placeName(report))}`
  const notes = tables?.notes ?? []
  const shown = notes.slice(0, mostLines.differences).map((note) => `  ${printable(note)}`)
  const sections = [
    title,
    statement(report, paint).join('\n'),
    heading('Checks', checksTable(report, paint), paint),
    heading('Differences', differences(page, paint), paint),
    isFull ? heading('What the program said', said(page), paint) : '',
    heading('No defect, but good to know', withRest(shown.join('\n'), notes.length - shown.length, 'notes'), paint),
    heading('Not in the backup', omissions.length === 0 ? '' : `  ${printable(omissionText(omissions))}`, paint),
    heading('Time', phasesTable(report, paint), paint),
    isFull && tables !== null ? heading('Tables', allTables(tables.tables, paint), paint) : '',
    heading('How it was done', formatPairs(circumstances(page), paint), paint),
  ]
  return sections.filter((section) => section !== '').join('\n\n')
}

/** A few sentences that say no more than was shown; the worst first. */
function statement(report: DrillReport, paint: Painter): string[] {
  const { backup, verdict, reason, environment } = report
  const instant = formatInstant(new Date(backup.snapshotTime))
  const { met, missed } = timing(report)
  const why = reason === null ? [] : [`Why: ${reason.message}`, `Next: ${reason.hint}`]
  if (verdict === 'inconclusive')
    return [
      `The drill of backup ${backup.label} could not be carried out, which says nothing about the backup.`,
      ...why,
    ].map(printable)
  if (verdict === 'failed') return [`Do not count on backup ${backup.label} (${instant}).`, ...why].map(printable)
  return [
    printable(
      `Backup ${backup.label} was restored into PostgreSQL ${environment.serverVersion ?? ''} and answers queries.`,
    ),
    ...missed.map((line) => paint(line, 'bad')),
    ...proof(report, instant),
    ...met,
  ]
}

function proof({ checks, compared }: DrillReport, instant: string): string[] {
  const isPassed = (name: string): boolean => checks.some((check) => check.name === name && check.result === 'passed')
  const { tables, rows, objects, countOnly } = compared
  const structure = isPassed('structure')
    ? [`Its structure was compared, too: ${counted(objects, 'object')} with owners and grants, all equal.`]
    : []
  if (!isPassed('row counts')) return ['Nothing was compared: the backup has no evidence of rows.', ...structure]
  if (tables === 0) return [`There was no table to compare: the database had none at ${instant}.`, ...structure]
  const all = `of ${counted(tables, 'table')} with ${counted(rows, 'row')}`
  const hasDigests = isPassed('digests') && countOnly < tables
  const what = !hasDigests
    ? `Row counts ${all} were compared (the evidence has no digests)`
    : countOnly === 0
      ? `Row counts and digests ${all} were compared`
      : `Row counts ${all} and digests of ${formatCount(tables - countOnly)} of them were compared`
  return [`${what}, and all equal what the database held at ${instant}.`, ...structure, ...lowered(compared)]
}

/** What the evidence setting left out must not look as if it had been compared. */
function lowered({ countOnly, off }: DrillReport['compared']): string[] {
  const parts = [
    ...(countOnly === 0 ? [] : [`of ${counted(countOnly, 'table')} only the rows were counted`]),
    ...(off === 0 ? [] : [`${counted(off, 'table')} ${off === 1 ? 'was' : 'were'} not compared at all`]),
  ]
  return parts.length === 0 ? [] : [`By the evidence setting ${parts.join(', and ')}.`]
}

/** How long this restore took and the next would take, against the objective. */
function timing(report: DrillReport): { readonly met: string[]; readonly missed: string[] } {
  const { restoreTimeSeconds, rtoSeconds, forecastSeconds } = report
  const objective = rtoSeconds === null ? null : formatDuration(rtoSeconds * 1000)
  const lines = { met: [] as string[], missed: [] as string[] }
  const add = (seconds: number | null, what: (text: string) => string): void => {
    if (seconds === null) return
    const text = what(formatSeconds(seconds))
    if (objective === null) lines.met.push(`${text}; no objective is configured.`)
    else if (seconds <= (rtoSeconds ?? 0)) lines.met.push(`${text}; the objective is ${objective}.`)
    else lines.missed.push(`${text}, MORE than the objective of ${objective}.`)
  }
  add(restoreTimeSeconds, (text) => `The restore took ${text}`)
  add(forecastSeconds, (text) => `A restore of the newest backup would take about ${text}`)
  return lines
}

const resultTones: Readonly<Record<DrillReport['checks'][number]['result'], Tone>> = {
  passed: 'good',
  failed: 'bad',
  inconclusive: 'doubtful',
  skipped: 'faint',
}

/** The rungs of the ladder, in the order in which they were climbed. */
export function checksTable({ checks }: Pick<DrillReport, 'checks'>, paint: Painter): string {
  const rows = checks.map(({ name, result, detail }): Cell[] => [
    '',
    { text: result, tone: resultTones[result] },
    name,
    detail ?? '',
  ])
  return formatTable([{ title: '' }, { title: '' }, { title: '' }, { title: '' }], rows, paint)
}

function differences({ report, tables }: DrillPage, paint: Painter): string {
  if (tables === null)
    return report.compared.differences === 0
      ? ''
      : `  ${counted(report.compared.differences, 'difference')}; what they are is encrypted beside the report, and encryption.privateKeyFile opens it`
  const { largeObjects, structure } = tables
  const isDifferent = ({ result }: { readonly result: string }): boolean => !fine.has(result)
  return [
    structureTable(structure?.differences ?? [], paint),
    tablesTable(tables.tables.filter(isDifferent), mostLines.differences, paint),
    sequencesTable(tables.sequences.filter(isDifferent), paint),
    largeObjects === null || largeObjects.result === 'equal'
      ? ''
      : `  large objects: ${largeObjects.result} (${formatCount(largeObjects.expected.count)} expected, ${formatCount(largeObjects.restored.count)} restored)`,
  ]
    .filter((part) => part !== '')
    .join('\n')
}

/** What pg_restore or a query wrote before it failed; a list of the differences is there already. */
function said({ report, tables }: DrillPage): string {
  if (tables === null || tables.errorDetails === null || report.compared.differences > 0) return ''
  const lines = tables.errorDetails.split('\n').map((line) => `  ${printable(line)}`)
  return lines.join('\n')
}

const fine: ReadonlySet<string> = new Set(['equal', 'ahead', 'not compared'])

/** Says how many more there are than the page shows. */
function withRest(text: string, rest: number, what: string): string {
  return rest <= 0 ? text : `${text}\n  and ${formatCount(rest)} more ${what}; --json has them all`
}

function structureTable(all: readonly StructureDifference[], paint: Painter): string {
  if (all.length === 0) return ''
  const rows = all.slice(0, mostLines.differences).map(({ kind, name, result, facets }): Cell[] => {
    const texts = facets.map(
      ({ facet, expected, restored }) => `${facet}: ${around(expected, restored)} → ${around(restored, expected)}`,
    )
    return ['', kind, name, { text: result, tone: 'bad' }, texts.join('; ')]
  })
  const columns = [{ title: '' }, { title: 'OBJECT' }, { title: '' }, { title: 'RESULT' }, { title: 'THEN → RESTORED' }]
  return withRest(formatTable(columns, rows, paint), all.length - rows.length, 'objects')
}

/** So much of a text that its difference from the other one is seen. */
function around(text: string | null, other: string | null): string {
  if (text === null) return 'none'
  let same = 0
  while (same < text.length && text[same] === other?.[same]) same += 1
  const start = same > facetColumns / 2 ? same - facetColumns / 4 : 0
  return `${start === 0 ? '' : '…'}${cutToWidth(text.slice(start), facetColumns)}`
}

const facetColumns = 48

/** Those of which less was compared come first. */
function allTables(tables: DrillTables['tables'], paint: Painter): string {
  const rank = ({ compared }: DrillTables['tables'][number]): number => (compared === 'rows and digest' ? 1 : 0)
  return tablesTable(
    tables.toSorted((a, b) => rank(a) - rank(b)),
    mostLines.tables,
    paint,
  )
}

function tablesTable(tables: DrillTables['tables'], most: number, paint: Painter): string {
  if (tables.length === 0) return ''
  const rows = tables
    .slice(0, most)
    .map(({ schema, name, expectedRows, restoredRows, compared, result }): Cell[] => [
      '',
      `${schema}.${name}`,
      expectedRows === null ? '' : formatCount(expectedRows),
      restoredRows === null ? '' : formatCount(restoredRows),
      compared,
      { text: result, tone: result === 'equal' ? 'good' : result === 'not compared' ? 'faint' : 'bad' },
    ])
  const table = formatTable(
    [
      { title: '' },
      { title: 'TABLE' },
      { title: 'ROWS THEN', align: 'right' },
      { title: 'ROWS RESTORED', align: 'right' },
      { title: 'COMPARED' },
      { title: 'RESULT' },
    ],
    rows,
    paint,
  )
  return withRest(table, tables.length - rows.length, 'tables')
}

function sequencesTable(sequences: DrillTables['sequences'], paint: Painter): string {
  if (sequences.length === 0) return ''
  const rows = sequences
    .slice(0, mostLines.differences)
    .map(({ schema, name, expectedNext, restoredNext, result }): Cell[] => [
      '',
      `${schema}.${name}`,
      expectedNext ?? '',
      restoredNext ?? '',
      { text: result, tone: fine.has(result) ? 'good' : 'bad' },
    ])
  const table = formatTable(
    [
      { title: '' },
      { title: 'SEQUENCE' },
      { title: 'NEXT THEN', align: 'right' },
      { title: 'NEXT RESTORED', align: 'right' },
      { title: 'RESULT' },
    ],
    rows,
    paint,
  )
  return withRest(table, sequences.length - rows.length, 'sequences')
}

const barColumns = 30

function phasesTable(report: DrillReport, paint: Painter): string {
  const { phases, restoreTimeSeconds, forecastSeconds, rtoSeconds } = report
  const longest = Math.max(...phases.map(({ seconds }) => seconds), 0.001)
  const rows = phases
    .filter(({ name, seconds }) => name !== 'queue' || seconds >= 1)
    .map(({ name, seconds }): Cell[] => {
      const bar = '#'.repeat(Math.round((seconds / longest) * barColumns))
      return ['', name, formatSeconds(seconds), { text: bar, tone: 'faint' }]
    })
  if (restoreTimeSeconds !== null)
    rows.push([
      '',
      { text: 'restore time', tone: 'strong' },
      formatSeconds(restoreTimeSeconds),
      objective('from the start of the fetch to the first answer to a query', restoreTimeSeconds, rtoSeconds),
    ])
  if (forecastSeconds !== null)
    rows.push([
      '',
      { text: 'forecast', tone: 'strong' },
      formatSeconds(forecastSeconds),
      objective('of the newest backup, by this drill and those before it', forecastSeconds, rtoSeconds),
    ])
  return formatTable([{ title: '' }, { title: '' }, { title: '', align: 'right' }, { title: '' }], rows, paint)
}

function objective(meaning: string, seconds: number, rtoSeconds: number | null): Cell {
  if (rtoSeconds === null) return `${meaning}; no objective is configured`
  const isMet = seconds <= rtoSeconds
  const text = `${meaning}; objective ${formatDuration(rtoSeconds * 1000)} ${isMet ? 'met' : 'MISSED'}`
  return { text, tone: isMet ? 'good' : 'bad' }
}

function circumstances({ report, isSignatureChecked }: DrillPage): (readonly [string, Cell | null])[] {
  const { pick, environment, backup, signer } = report
  const { jobs, cpus, cpuModel, memoryBytes } = environment
  const seed = pick.seed === null ? '' : ` with seed ${pick.seed}`
  return [
    [
      'backup',
      `${backup.label}, ${pick.rule === 'named' ? 'named by whoever ordered the drill' : `picked by rule ${pick.rule}${seed}`}; dump of ${formatBytes(backup.dumpBytes)}`,
    ],
    ['manifest', `SHA-256 ${backup.manifestSha256}`],
    ['roles', report.rolesBackup === null ? null : `from backup ${report.rolesBackup.label}`],
    ['time', `${formatInstant(new Date(report.startedAt))} to ${formatInstant(new Date(report.finishedAt))}`],
    ['scratch server', scratchText(environment)],
    [
      'machine',
      `${counted(cpus, 'CPU')} (${cpuModel}), ${formatBytes(memoryBytes)} of memory; ${counted(jobs, 'job')} of pg_restore`,
    ],
    ['signed by', signerText(signer, isSignatureChecked)],
    ['by', `pgproof ${report.pgproofVersion}`],
  ]
}

/** Which server it was, and whether what was restored there could reach anything. */
export function scratchText({ scratch, serverVersion, network, notIsolated }: DrillReport['environment']): Cell {
  if (serverVersion === null) return `${scratch}, not started`
  const text = `${scratch}, PostgreSQL ${serverVersion}`
  if (notIsolated === null) return text
  if (notIsolated.length === 0) return `${text}, shut off from its machine`
  const kept = network === 'none' ? 'without any network, but ' : ''
  return { text: `${text}, ${kept}not shut off from its machine’s ${notIsolated.join(', ')}`, tone: 'doubtful' }
}

function signerText(signer: string | null, isChecked: boolean | undefined): Cell {
  if (signer === null) return 'nobody: no signing key was configured where the drill ran'
  if (isChecked === undefined) return signer
  if (isChecked) return { text: `${signer}, valid and trusted`, tone: 'good' }
  return `${signer} by its own account (no trusted signers to check it by)`
}
