import { formatDuration } from '../config/units.ts'
import type { FullDrillReport } from '../domain/full-drill-report.ts'
import { drillReportKey, fullDrillReportKey } from '../storage/object-keys.ts'
import { scratchText } from './drill-page.ts'
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
  heading,
  type Painter,
  printable,
} from './print.ts'
import { omissionText } from './wording.ts'

export type FullDrillPage = {
  readonly report: FullDrillReport
  readonly storeUrl: string
  /** Who signed the stored report, as its signature says; null where that is not known. Absent of one just made. */
  readonly checkedSigner?: string | null
}

/** What an auditor asks: what was rebuilt, from which backups, compared how, how long it took, and who says so. */
export function fullDrillPage(page: FullDrillPage, paint: Painter): string {
  const { report } = page
  const { label, server, verdict } = report
  const title = `${paint(verdict.toUpperCase(), verdictTones[verdict])}  full drill ${label} of server ${printable(server)}`
  const sections = [
    title,
    statement(report).map(printable).join('\n'),
    heading('Databases', databaseTable(report, paint), paint),
    heading('What did not pass', notPassed(report), paint),
    heading('How it was compared', lines(comparison(report)), paint),
    heading('Of which instant', lines(instants(report)), paint),
    heading('Not in the backups', omitted(report), paint),
    heading('Time', timeTable(report, paint), paint),
    heading('How it was done', formatPairs(circumstances(page), paint), paint),
    heading('How to check this report', lines(proof(page)), paint),
  ]
  return sections.filter((section) => section !== '').join('\n\n')
}

function statement(report: FullDrillReport): string[] {
  const { server, verdict, databases, reason, environment, rolesBackup, seconds } = report
  const why = reason === null ? [] : [`Why: ${reason.message}`, `Next: ${reason.hint}`]
  const passed = databases.filter((one) => one.verdict === 'passed')
  const rebuilt = `${passed.length} of ${counted(databases.length, 'database')} of server ${server} passed`
  if (verdict === 'failed')
    return [`Server ${server} cannot be rebuilt as a whole from this store: ${rebuilt}.`, ...why]
  if (verdict === 'inconclusive')
    return [
      `The full drill could not be carried out to its end, which says nothing about the rest: ${rebuilt}.`,
      ...why,
    ]
  const what = `${counted(databases.length, 'database')}${rolesBackup === null ? '' : ' and the roles'}`
  const rows = databases.reduce((sum, one) => sum + one.rows, 0)
  const tables = databases.reduce((sum, one) => sum + one.tables, 0)
  return [
    `Server ${server} was rebuilt from its backups alone: ${what}, in one server of PostgreSQL ${environment.serverVersion ?? ''}.`,
    tables === 0
      ? 'No table was compared: the databases had none, or the evidence setting left them out.'
      : `${counted(tables, 'table')} with ${counted(rows, 'row')} were compared, and all equal what the databases held.`,
    `It took ${formatSeconds(seconds.whole)}; ${objectiveText(report)}.`,
  ]
}

function objectiveText({ seconds, rtoSeconds, objective }: FullDrillReport): string {
  const restored = `the restores together ${formatSeconds(seconds.restore)}`
  if (rtoSeconds === null) return `${restored} (no objective is configured)`
  const allowed = formatDuration(rtoSeconds * 1000)
  if (objective === 'unmeasured') return `${restored} as far as they came, against an objective of ${allowed}`
  return objective === 'met'
    ? `${restored}, within the objective of ${allowed}`
    : `${restored}, MORE than the objective of ${allowed}`
}

function databaseTable({ databases }: FullDrillReport, paint: Painter): string {
  const rows = databases.map((one): Cell[] => {
    const isCompared = one.checks.length > 0
    const number = (count: number): string => (isCompared ? formatCount(count) : '')
    return [
      '',
      { text: one.verdict, tone: verdictTones[one.verdict] },
      `${one.database}${one.isConfigured ? '' : ' (not configured)'}`,
      one.backup?.label ?? 'no backup',
      one.backup === null ? '' : formatInstant(new Date(one.backup.snapshotTime)),
      one.restoreTimeSeconds === null ? '' : formatSeconds(one.restoreTimeSeconds),
      number(one.tables),
      number(one.rows),
      number(one.objects),
      number(one.differences),
      one.drill?.label ?? 'none',
    ]
  })
  const left = ['', 'DATABASE', 'BACKUP', 'OF THE INSTANT', 'DRILL']
  const right = ['RESTORE TIME', 'TABLES', 'ROWS', 'OBJECTS', 'DIFFERENCES']
  const titles = ['', '', 'DATABASE', 'BACKUP', 'OF THE INSTANT', ...right, 'DRILL']
  return formatTable(
    titles.map((name) => ({ title: name, align: left.includes(name) ? 'left' : 'right' })),
    rows,
    paint,
  )
}

function notPassed({ databases }: FullDrillReport): string {
  return databases
    .filter(({ verdict }) => verdict !== 'passed')
    .flatMap(({ database, checks, reason, drill }) => {
      const broken = checks.filter(({ result }) => result === 'failed' || result === 'inconclusive')
      const where = broken.length === 0 ? '' : ` (${broken.map(({ name }) => name).join(', ')})`
      const next = drill === null ? (reason?.hint ?? '') : `See \`pgproof show ${drill.label}\`.`
      return [`${database}${where}: ${reason?.message ?? ''}`, `  ${next}`]
    })
    .map((line) => `  ${printable(line)}`)
    .join('\n')
}

/** No more than was done: a rung that was skipped is named. */
function comparison({ databases }: FullDrillReport): string[] {
  const drilled = databases.filter(({ drill }) => drill !== null)
  if (drilled.length === 0) return ['Nothing was restored, so nothing was compared.']
  const skipped = new Set(
    drilled
      .filter(({ verdict }) => verdict === 'passed')
      .flatMap(({ checks }) => checks.filter(({ result }) => result === 'skipped').map(({ name }) => name)),
  )
  const sum = (field: 'countOnly' | 'off'): number => drilled.reduce((total, one) => total + one[field], 0)
  return [
    'Each backup holds evidence that was taken in the snapshot of its dump: a count and a digest of the rows of each table,',
    'and every object with its owner and its grants. The restored database was counted, digested and listed in the same way.',
    ...(skipped.size === 0 ? [] : [`Checks that were left out for at least one database: ${[...skipped].join(', ')}.`]),
    ...(sum('countOnly') === 0
      ? []
      : [`By the evidence setting, only counted: ${counted(sum('countOnly'), 'table')}.`]),
    ...(sum('off') === 0 ? [] : [`By the evidence setting, not compared at all: ${counted(sum('off'), 'table')}.`]),
  ]
}

function instants({ recoveryPoints, rolesBackup }: FullDrillReport): string[] {
  if (recoveryPoints === null) return []
  const { oldest, newest } = recoveryPoints
  const apart = (Date.parse(newest) - Date.parse(oldest)) / 1000
  const range =
    apart === 0
      ? `All are of ${formatInstant(new Date(oldest))}.`
      : `The oldest is of ${formatInstant(new Date(oldest))}, the newest of ${formatInstant(new Date(newest))}: ${formatSeconds(apart)} apart.`
  return [
    'Each database is as it was at the instant of its own backup; dumps of single databases have no instant in common.',
    range,
    ...(rolesBackup === null ? [] : [`The roles are of ${formatInstant(new Date(rolesBackup.snapshotTime))}.`]),
  ]
}

function omitted({ databases }: FullDrillReport): string {
  const known = '  Databases without any backup are not known to a full drill, unless the configuration names them.'
  const omissionsOf = databases
    .filter(({ omissions }) => omissions.length > 0)
    .map(({ database, omissions }) => `  ${printable(`${database}: ${omissionText(omissions)}`)}`)
  return [...omissionsOf, known].join('\n')
}

function timeTable({ seconds }: FullDrillReport, paint: Painter): string {
  const rows: Cell[][] = [
    ['', 'roles', formatSeconds(seconds.roles), 'read, replayed once, and compared for each database'],
    [
      '',
      'restore',
      formatSeconds(seconds.restore),
      'sum over the databases, from the start of the fetch to the first answer',
    ],
    ['', 'verification', formatSeconds(seconds.verification), 'sum over the databases'],
    [
      '',
      { text: 'whole', tone: 'strong' },
      formatSeconds(seconds.whole),
      'with the start of the server, and everything removed again',
    ],
  ]
  return formatTable([{ title: '' }, { title: '' }, { title: '', align: 'right' }, { title: '' }], rows, paint)
}

function circumstances({ report, checkedSigner }: FullDrillPage): (readonly [string, Cell | null])[] {
  const { rolesBackup, environment, signer } = report
  const { jobs, cpus, cpuModel, memoryBytes } = environment
  const passwords = rolesBackup?.passwords === 'present' ? 'with passwords' : 'without passwords'
  return [
    ['roles', rolesBackup === null ? 'none replayed' : `from backup ${rolesBackup.label}, ${passwords}`],
    ['time', `${formatInstant(new Date(report.startedAt))} to ${formatInstant(new Date(report.finishedAt))}`],
    ['scratch server', scratchText(environment)],
    [
      'machine',
      `${counted(cpus, 'CPU')} (${cpuModel}), ${formatBytes(memoryBytes)} of memory; ${counted(jobs, 'job')} of pg_restore`,
    ],
    ['store', report.storeId],
    ['signed by', signerText(signer, checkedSigner)],
    ['by', `pgproof ${report.pgproofVersion}`],
  ]
}

function signerText(signer: string | null, checked: string | null | undefined): Cell {
  if (signer === null) return 'nobody: no signing key was configured where it ran'
  if (checked === null) return `${signer} by its own account (not checked against a trusted signer)`
  return checked === signer ? { text: `${signer}, valid and trusted`, tone: 'good' } : signer
}

/** With nothing but the store, gpg and sha256sum. */
function proof({ report, storeUrl }: FullDrillPage): string[] {
  const key = fullDrillReportKey(report.server, report.label)
  const name = `${report.label}.json`
  const drills = report.databases.flatMap(({ database, drill }) =>
    drill === null ? [] : [`  ${drill.sha256}  ${drillReportKey(report.server, database, drill.label)}`],
  )
  const signature =
    report.signer === null
      ? ['The report is not signed: it proves nothing to anybody but its author.']
      : [
          `It is ${key} of the store ${storeUrl}, its signature ${key}.sig:`,
          `  gpg --verify ${name}.sig ${name}`,
          `has to say that the signature is good and of key ${report.signer}.`,
        ]
  if (drills.length === 0) return signature
  return [...signature, 'It names the report of each drill by its SHA-256, for `sha256sum --check`:', ...drills]
}

function lines(texts: readonly string[]): string {
  return texts.map((text) => `  ${printable(text)}`).join('\n')
}
