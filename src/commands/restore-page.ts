import type { RestoreResult } from '../domain/restore-result.ts'
import { leftOutTable } from './backup-page.ts'
import { checksTable } from './drill-page.ts'
import {
  type Cell,
  counted,
  formatInstant,
  formatSeconds,
  formatTable,
  heading,
  type Painter,
  printable,
} from './print.ts'

const mostNotes = 20

/** What a restore did, on one page: what is where now, what is lacking, and what to do next. */
export function restorePage(result: RestoreResult, paint: Painter): string {
  const { backup, target, notes, error } = result
  const instant = formatInstant(new Date(backup.snapshotTime))
  const place = `${target.database} on ${target.server}`
  const title =
    error === null
      ? `${paint('RESTORED', 'good')}  ${printable(`${backup.server}/${backup.database} as of ${instant} into ${place}`)}`
      : `${paint('NOT PUT IN PLACE', 'bad')}  ${printable(`${backup.server}/${backup.database} as of ${instant}`)}`
  const rest = notes.length - mostNotes
  const shown = [...notes.slice(0, mostNotes), ...(rest > 0 ? [`and ${rest} more, in the document of --json`] : [])]
  const sections = [
    title,
    statement(result).map(printable).join('\n'),
    heading('The database that was there', indented(asideLines(result)), paint),
    heading('Checks', checksTable(result, paint), paint),
    heading('Not in the backup', leftOutTable(result, paint), paint),
    heading('Good to know', indented(shown), paint),
    heading('Time', phasesTable(result, paint), paint),
    error === null ? heading('What to do next', indented(nextSteps(result)), paint) : '',
  ]
  return sections.filter((section) => section !== '').join('\n\n')
}

function statement({ backup, target, counts, roles, seconds, tables, error }: RestoreResult): string[] {
  const rows = counts.rows === null ? '' : ` with ${counted(counts.rows, 'row')}`
  const objects = counts.largeObjects === 0 ? '' : `, ${counted(counts.largeObjects, 'large object')}`
  const from = Number.parseInt(backup.version, 10)
  const to = Number.parseInt(target.version, 10)
  const structure = tables?.structure
  return [
    `Backup ${backup.label}: ${counted(counts.tables, 'table')}${rows}${objects}, in ${formatSeconds(seconds)}.`,
    ...(from === to ? [] : [`It comes from PostgreSQL ${backup.version} and is now in ${target.version}.`]),
    ...(roles === null
      ? []
      : [
          `Roles of backup ${roles.label}: ${roles.created.length === 0 ? 'none was missing' : `created ${roles.created.join(', ')}`}; ${counted(roles.kept.length, 'role')} that existed left as they were.`,
        ]),
    tables === null
      ? 'The stored backup was verified (SHA-256, decryption, contents); rows were not compared after the restore: --verify does that.'
      : `Compared with what the database held: ${counted(tables.tables.length, 'table')}${structure == null ? '' : ` and ${counted(structure.compared, 'object')} of the structure`}${error === null ? ', equal in everything that the checks name' : ''}.`,
  ]
}

function asideLines({ aside, target, undo, subscriptions }: RestoreResult): string[] {
  if (aside === null) return []
  return [
    `It is now called ${aside}, whole and as it was. To go back, connected to another database such as postgres:`,
    ...undo.map((line) => `    ${line}`),
    'The restored one is kept under that other name then, and can be dropped.',
    `To remove the old one, once it is not needed any more: DROP DATABASE ${quoted(aside)};`,
    `What connects to ${target.database} by name reaches the restored one.`,
    ...(subscriptions.length === 0
      ? []
      : [`Subscriptions that were enabled in it go on there: changes still arrive in ${aside}.`]),
  ]
}

function nextSteps({ backup, target, subscriptions, schedulers, omissions, aside }: RestoreResult): string[] {
  return [
    'Sequences are as they were, and ANALYZE has been run.',
    `Whatever was written after ${formatInstant(new Date(backup.snapshotTime))} is not in it${aside === null ? '' : `; what ${target.database} held until now is in ${aside}`}.`,
    ...(omissions.length === 0 ? [] : ['Bring back what is not in the backup from where it comes from.']),
    ...subscriptions.map(
      (name) =>
        `Subscription ${name} is disabled. Only if this database is to take changes from the publisher again, and no other database uses its replication slot: ALTER SUBSCRIPTION ${name} ENABLE; then ALTER SUBSCRIPTION ${name} REFRESH PUBLICATION WITH (copy_data = false);`,
    ),
    ...subscriptions.map(
      (name) =>
        `Before subscription ${name} is dropped in any copy: ALTER SUBSCRIPTION ${name} DISABLE; then ALTER SUBSCRIPTION ${name} SET (slot_name = NONE); else it takes away the slot of the publisher that the others use.`,
    ),
    ...schedulers.map(
      (name) => `${name} is in it: its jobs run again from now on; look at them first if this is a copy.`,
    ),
    'Take a fresh backup of it (pgproof backup) once it serves.',
  ]
}

function phasesTable({ phases }: RestoreResult, paint: Painter): string {
  const rows = phases.map(({ name, seconds }): Cell[] => ['', name, formatSeconds(seconds)])
  return formatTable([{ title: '' }, { title: '' }, { title: '', align: 'right' }], rows, paint)
}

function indented(lines: readonly string[]): string {
  return lines.map((line) => `  ${printable(line)}`).join('\n')
}

function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}
