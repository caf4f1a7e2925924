import { PgproofError, rethrowUnless } from '../errors.ts'
import { ProgramError, runProgram } from '../streams/child-process.ts'
import { findEntries } from './archive-contents.ts'
import { writeUseList } from './archive-definitions.ts'
import type { Connection } from './connect.ts'
import { conninfoOf } from './dump.ts'
import { programEnvironment } from './program-environment.ts'
import type { FoundProgram } from './programs.ts'
import { listArchive } from './restore-dump.ts'
import { isError, type RestoreMessage, readMessages, restoreError } from './restore-errors.ts'

type Named = { readonly schema: string; readonly name: string }

export type SelectedRestore = {
  readonly connection: Connection
  readonly program: FoundProgram
  readonly file: string
  readonly jobs: number
  readonly encoding: string
  /** Everything of which the archive has rows or a state, to tell entries apart, and what of it is wanted. */
  readonly all: { readonly tables: readonly Named[]; readonly sequences: readonly Named[] }
  readonly wanted: { readonly tables: readonly Named[]; readonly sequences: readonly Named[] }
  /**
   * `whole`: every definition, and an error in one of them is the end. `tables`: what acts by itself stays out (triggers,
   * rules, policies, foreign keys), and what this login may not define is no matter, unless a table needs it.
   */
  readonly definitions: 'whole' | 'tables'
}

/**
 * Restores all definitions of an archive into an empty database, but only the wanted rows. Owners, grants, event
 * triggers, publications, subscriptions and large objects stay out, and nothing is refreshed. Returns what pg_restore
 * had to leave out of what was asked for: foreign keys without the rows that they refer to. Throws RESTORE_FAILED and
 * what `restoreError` throws.
 */
export async function restoreSelected(
  request: SelectedRestore,
  signal: AbortSignal,
): Promise<{ readonly lines: readonly string[]; readonly leftOut: readonly RestoreMessage[] }> {
  const { file, definitions } = request
  const lines = await listArchive(request.program, file, signal)
  const isWhole = definitions === 'whole'
  const kept = lines.filter((line) => !isOfKinds(line, neverWanted) && (isWhole || !isOfKinds(line, acting)))
  const later = isWhole ? kept.filter((line) => isOfKinds(line, dependingOnOthers)) : []
  const first = kept.filter((line) => !later.includes(line))
  const definitionList = `--use-list=${await writeUseList(`${file}.definitions-list`, first)}`
  const rowList = `--use-list=${await writeUseList(`${file}.rows-list`, rowEntries(lines, request))}`
  const asked = isWhole ? ['--exit-on-error'] : []

  const before = await run(request, [...asked, '--section=pre-data', definitionList], signal)
  if (before.error !== null && isWhole) throw asRestoreError(before.error, before.messages, lines)
  await run(request, ['--exit-on-error', '--section=data', `--jobs=${request.jobs}`, rowList], signal).then((rows) => {
    if (rows.error === null) return
    // A table that is not there failed before: why it is not there says more.
    const isTableMissing = rows.messages.some(({ text }) =>
      /relation ".*" does not exist|schema ".*" does not exist/.test(text),
    )
    throw isTableMissing && before.error !== null
      ? asRestoreError(before.error, before.messages, lines)
      : asRestoreError(rows.error, rows.messages, lines)
  })
  const afterRows = (jobs: number): Promise<Run> =>
    run(request, [...asked, '--section=post-data', `--jobs=${jobs}`, definitionList], signal)
  const after = await afterRows(isWhole ? 1 : request.jobs)
  if (after.error !== null && isWhole) throw asRestoreError(after.error, after.messages, lines)
  // Parallel jobs may lock each other out; what was made by then is there already, and refused.
  if (after.error !== null && request.jobs > 1) await afterRows(1)
  if (later.length === 0) return { lines, leftOut: [] }
  const laterList = `--use-list=${await writeUseList(`${file}.later-list`, later)}`
  const { messages } = await run(request, ['--section=pre-data', '--section=post-data', laterList], signal)
  return { lines, leftOut: messages.filter(isError) }
}

/** Whether an entry is of one of these kinds, as `pg_restore --list` calls them. */
export function isOfKinds(line: string, kinds: RegExp): boolean {
  return kinds.test(line.replace(/^\d+; \d+ \d+ /, ''))
}

const neverWanted =
  /^(?:TABLE DATA|SEQUENCE SET|BLOBS?|BLOB METADATA|LARGE OBJECT|MATERIALIZED VIEW DATA|EVENT TRIGGER|COMMENT - EVENT TRIGGER|PUBLICATION|SUBSCRIPTION|COMMENT - (?:PUBLICATION|SUBSCRIPTION|EXTENSION)|ACL|DEFAULT ACL|SECURITY LABEL|DATABASE|STATISTICS DATA) /
const acting = /^(?:FK CONSTRAINT|TRIGGER|RULE|POLICY|ROW SECURITY|USER MAPPING) /
/** On rows that may not be there, or on roles. */
const dependingOnOthers = /^(?:FK CONSTRAINT|POLICY|USER MAPPING) /

/** The rows of the wanted tables, and the states of the wanted sequences. */
function rowEntries(lines: readonly string[], { all, wanted, encoding }: SelectedRestore): readonly string[] {
  const entriesOf = (words: string, every: readonly Named[], some: readonly Named[]): readonly string[] => {
    const beginningOf = ({ schema, name }: Named): string => `${words} ${schema} ${name} `
    const found = findEntries(
      lines.filter((line) => isOfKinds(line, new RegExp(`^${words} `))),
      every.map(beginningOf),
      encoding,
    )
    return some.flatMap((one) => found.get(beginningOf(one)) ?? [])
  }
  return [
    ...entriesOf('TABLE DATA', all.tables, wanted.tables),
    ...entriesOf('SEQUENCE SET', all.sequences, wanted.sequences),
  ]
}

type Run = { readonly error: ProgramError | null; readonly messages: readonly RestoreMessage[] }

async function run(request: SelectedRestore, more: readonly string[], signal: AbortSignal): Promise<Run> {
  const { connection, program, file } = request
  await using environment = await programEnvironment(connection, 'pgproof pg_restore')
  const args = [
    ...more,
    ...['--no-password', '--no-owner', '--no-privileges', '--no-publications', '--no-subscriptions'],
    ...['--no-security-labels', '--no-tablespaces', `--dbname=${conninfoOf(connection.database)}`, file],
  ]
  const lines: string[] = []
  const onStderrLine = (line: string): void => {
    if (lines.length < 100_000) lines.push(line)
  }
  try {
    await runProgram({ path: program.path, args, env: environment.env }, { signal, onStderrLine })
    return { error: null, messages: readMessages(lines) }
  } catch (error) {
    rethrowUnless(error, ProgramError)
    return { error, messages: readMessages(lines) }
  }
}

function asRestoreError(
  error: ProgramError,
  messages: readonly RestoreMessage[],
  archive: readonly string[],
): PgproofError {
  const errors = messages.filter(isError)
  const denied = errors.map(({ text }) => /ERROR: {2}permission denied to create extension "([^"\n]+)"/.exec(text)?.[1])
  const extension = denied.find((name) => name !== undefined)
  if (extension !== undefined)
    return new PgproofError(
      'TARGET_LACKS',
      {
        what: `the right to create the extension ${extension}`,
        mend: 'Only a superuser may create it; give the login of one in --to.',
      },
      { cause: error, details: error.stderrTail },
    )
  return restoreError(error, { messages: errors, archive })
}
