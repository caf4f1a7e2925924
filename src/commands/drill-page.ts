import { formatDuration } from '../config/units.ts'
import type { DrillReport } from '../domain/drill-report.ts'
import type { DrillTables } from '../domain/drill-tables.ts'
import { verdictTones } from './list.ts'
import {
  type Cell,
  counted,
  formatBytes,
  formatCount,
  formatInstant,
  formatPairs,
  formatSeconds,
  formatTable,
  type Painter,
  printable,
  type Tone,
} from './print.ts'
import { placeName } from './target.ts'

export type DrillPage = {
  readonly report: DrillReport
  /** The encrypted part; null without a private key, or when the drill did not come so far. */
  readonly tables: DrillTables | null
  /** Whether every table is listed, or only those that differ. */
  readonly isFull: boolean
}

/** What a drill found, on one page: the verdict, what it rests on, and then everything that was looked at. */
export function drillPage(page: DrillPage, paint: Painter): string {
  const { report, tables, isFull } = page
  const { label, verdict } = report
  const title = `${paint(verdict.toUpperCase(), verdictTones[verdict])}  drill ${label} of ${printable(placeName(report))}`
  const sections = [
    title,
    statement(report).map(printable).join('\n'),
    heading('Checks', checksTable(report, paint), paint),
    heading('Differences', differences(page, paint), paint),
    isFull ? heading('What the program said', said(page), paint) : '',
    heading('Time', phasesTable(report, paint), paint),
    isFull && tables !== null ? heading('Tables', tablesTable(tables.tables, paint), paint) : '',
    isFull && tables !== null ? heading('Sequences', sequencesTable(tables.sequences, paint), paint) : '',
    heading('How it was done', formatPairs(circumstances(report), paint), paint),
  ]
  return sections.filter((section) => section !== '').join('\n\n')
}

/** Two or three sentences that say no more than was shown. */
function statement(report: DrillReport): string[] {
  const { backup, verdict, reason, environment, restoreTimeSeconds } = report
  const instant = formatInstant(new Date(backup.snapshotTime))
  if (verdict === 'inconclusive')
    return [
      `The drill of backup ${backup.label} could not be carried out, which says nothing about the backup.`,
      ...(reason === null ? [] : [`Why: ${reason.message}`, `Next: ${reason.hint}`]),
    ]
  if (verdict === 'failed')
    return [
      `Do not count on backup ${backup.label} (${instant}).`,
      ...(reason === null ? [] : [`Why: ${reason.message}`, `Next: ${reason.hint}`]),
    ]
  return [
    `Backup ${backup.label} was restored into PostgreSQL ${environment.serverVersion ?? ''} and answers queries.`,
    proof(report, instant),
    ...(restoreTimeSeconds === null
      ? []
      : [`The restore took ${formatSeconds(restoreTimeSeconds)}${promise(report)}.`]),
  ]
}

function proof({ checks, compared }: DrillReport, instant: string): string {
  const isPassed = (name: string): boolean => checks.some((check) => check.name === name && check.result === 'passed')
  const what = `of ${counted(compared.tables, 'table')} with ${counted(compared.rows, 'row')}`
  if (!isPassed('row counts')) return 'Nothing was compared: the backup has no evidence.'
  if (compared.tables === 0) return `There was no table to compare: the database had none at ${instant}.`
  if (isPassed('digests'))
    return `Row counts and digests ${what} were compared, and all equal what the database held at ${instant}.`
  return `Row counts ${what} were compared (the evidence has no digests), and all equal what the database held at ${instant}.`
}

function promise({ restoreTimeSeconds, rtoSeconds }: DrillReport): string {
  if (rtoSeconds === null || restoreTimeSeconds === null) return ''
  const objective = formatDuration(rtoSeconds * 1000)
  return restoreTimeSeconds <= rtoSeconds
    ? `; the objective is ${objective}`
    : `, MORE than the objective of ${objective}`
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
      : `  ${counted(report.compared.differences, 'table')} differ; their names are encrypted beside the report, and encryption.privateKeyFile opens them`
  const isDifferent = ({ result }: { readonly result: string }): boolean => !fine.has(result)
  const parts: string[] = [
    tablesTable(tables.tables.filter(isDifferent), paint),
    sequencesTable(tables.sequences.filter(isDifferent), paint),
  ]
  const { largeObjects } = tables
  if (largeObjects !== null && largeObjects.result !== 'equal')
    parts.push(
      `  large objects: ${largeObjects.result} (${formatCount(largeObjects.expected.count)} expected, ${formatCount(largeObjects.restored.count)} restored)`,
    )
  return parts.filter((part) => part !== '').join('\n')
}

/** What pg_restore or a query wrote before it failed; a list of the differences is there already. */
function said({ report, tables }: DrillPage): string {
  if (tables === null || tables.errorDetails === null || report.compared.differences > 0) return ''
  const lines = tables.errorDetails.split('\n').map((line) => `  ${printable(line)}`)
  return lines.join('\n')
}

const fine: ReadonlySet<string> = new Set(['equal', 'ahead', 'not compared'])

function tablesTable(tables: DrillTables['tables'], paint: Painter): string {
  if (tables.length === 0) return ''
  const rows = tables.map(({ schema, name, expectedRows, restoredRows, compared, result }): Cell[] => [
    '',
    `${schema}.${name}`,
    expectedRows === null ? '' : formatCount(expectedRows),
    restoredRows === null ? '' : formatCount(restoredRows),
    compared,
    { text: result, tone: result === 'equal' ? 'good' : result === 'not compared' ? 'faint' : 'bad' },
  ])
  return formatTable(
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
}

function sequencesTable(sequences: DrillTables['sequences'], paint: Painter): string {
  if (sequences.length === 0) return ''
  const rows = sequences.map(({ schema, name, expectedNext, restoredNext, result }): Cell[] => [
    '',
    `${schema}.${name}`,
    expectedNext ?? '',
    restoredNext ?? '',
    { text: result, tone: fine.has(result) ? 'good' : 'bad' },
  ])
  return formatTable(
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
}

const barColumns = 30

function phasesTable({ phases, restoreTimeSeconds, rtoSeconds }: DrillReport, paint: Painter): string {
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
      objective(restoreTimeSeconds, rtoSeconds),
    ])
  return formatTable([{ title: '' }, { title: '' }, { title: '', align: 'right' }, { title: '' }], rows, paint)
}

function objective(seconds: number, rtoSeconds: number | null): Cell {
  const meaning = 'from the start of the fetch to the first answer to a query'
  if (rtoSeconds === null) return `${meaning}; no objective is configured`
  const isMet = seconds <= rtoSeconds
  const text = `${meaning}; objective ${formatDuration(rtoSeconds * 1000)} ${isMet ? 'met' : 'MISSED'}`
  return { text, tone: isMet ? 'good' : 'bad' }
}

function circumstances(report: DrillReport): (readonly [string, Cell | null])[] {
  const { pick, environment, backup } = report
  const seed = pick.seed === null ? '' : ` with seed ${pick.seed}`
  return [
    [
      'backup',
      `${backup.label}, ${pick.rule === 'named' ? 'named by whoever ordered the drill' : `picked by rule ${pick.rule}${seed}`}`,
    ],
    ['manifest', `SHA-256 ${backup.manifestSha256}`],
    ['roles', report.rolesBackup === null ? null : `from backup ${report.rolesBackup}`],
    ['started', formatInstant(new Date(report.startedAt))],
    ['finished', formatInstant(new Date(report.finishedAt))],
    [
      'scratch server',
      `${environment.scratch}${environment.serverVersion === null ? ', not started' : `, PostgreSQL ${environment.serverVersion}`}; ${counted(environment.jobs, 'job')} of pg_restore, ` +
        `${counted(environment.cpus, 'CPU')}, ${formatBytes(environment.memoryBytes)} of memory`,
    ],
    ['by', `pgproof ${report.pgproofVersion}`],
  ]
}

function heading(title: string, text: string, paint: Painter): string {
  return text === '' ? '' : `${paint(title, 'strong')}\n${text}`
}
