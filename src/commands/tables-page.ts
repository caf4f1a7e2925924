import type { TablesResult } from '../restore/tables-request.ts'
import {
  type Cell,
  counted,
  formatCount,
  formatInstant,
  formatSeconds,
  formatTable,
  heading,
  type Painter,
  printable,
} from './print.ts'

/** More than these nobody reads on one page; the document of `--json` has them all. */
const mostTables = 40
const mostNotes = 20

/** What was brought back, where it is, and how to merge it, on one page; the scripts are to be pasted into psql. */
export function tablesPage(result: TablesResult, paint: Painter): string {
  const { backup, target, tables, schema, seconds, notes, statements } = result
  const instant = formatInstant(new Date(backup.snapshotTime))
  const where =
    schema === null
      ? `database ${target.database}, which is new,`
      : `schema ${schema} of database ${target.database}, beside the live tables,`
  const rows = tables.reduce((sum, table) => sum + (table.rows ?? 0), 0)
  const summary = [
    `${paint('RESTORED', 'good')}  ${printable(`${counted(tables.length, 'table')} with ${counted(rows, 'row')} of backup ${backup.label}, as of ${instant}`)}`,
    printable(`They are in ${where} on ${target.server}; it took ${formatSeconds(seconds)}.`),
    comparedText(result),
    schema === null ? '' : 'Nothing of the live tables was changed. What follows changes them only when you run it:',
  ]
  const sections = [
    summary.filter((line) => line !== '').join('\n'),
    heading('Tables', tablesTable(result, paint), paint),
    heading('Good to know', notesText(notes), paint),
    ...statements.map(({ title, sql }) => `${paint(title, 'strong')}\n\n${pasteable(sql)}`),
  ]
  return sections.filter((section) => section !== '').join('\n\n')
}

function comparedText({ tables }: TablesResult): string {
  const digested = tables.filter(({ compared }) => compared === 'rows and digest').length
  const counts = tables.filter(({ compared }) => compared === 'rows').length
  if (digested === tables.length) return 'Row counts and digests were compared with the evidence, and all are equal.'
  const parts = [
    `row counts and digests of ${counted(digested, 'table')}`,
    ...(counts === 0 ? [] : [`row counts only of ${formatCount(counts)}`]),
  ]
  return `Compared with the evidence, and equal: ${parts.join(', ')}; the evidence setting took no more.`
}

function tablesTable({ tables, schema }: TablesResult, paint: Painter): string {
  const lines = tables
    .slice(0, mostTables)
    .map(({ table, copy, rows, live }): Cell[] => [
      '',
      table,
      rows === null ? '' : formatCount(rows),
      schema === null ? '' : copy,
      live === null ? '' : { text: liveTexts[live], tone: live === 'there' ? 'faint' : 'bad' },
    ])
  const columns = [
    { title: '' },
    { title: 'TABLE' },
    { title: 'ROWS', align: 'right' as const },
    { title: schema === null ? '' : 'ITS COPY' },
    { title: schema === null ? '' : 'LIVE NOW' },
  ]
  const rest = tables.length - lines.length
  const text = formatTable(columns, lines, paint)
  return rest <= 0 ? text : `${text}\n  and ${formatCount(rest)} more; --json has them all`
}

const liveTexts = { there: 'there', gone: 'gone', 'something else': 'another object' } as const

function notesText(notes: readonly string[]): string {
  const lines = notes.slice(0, mostNotes).map((note) => `  ${printable(note)}`)
  if (notes.length > mostNotes) lines.push(`  and ${formatCount(notes.length - mostNotes)} more; --json has them all`)
  return lines.join('\n')
}

/** What a terminal would act on must not get there; of a script every other character counts. */
function pasteable(sql: string): string {
  return sql.replaceAll(/[^\n\t]+/g, printable)
}
