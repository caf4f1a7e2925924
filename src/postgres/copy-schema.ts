import { PgproofError, rethrowUnless } from '../errors.ts'
import { feedProgram, type Program, ProgramError, programOutput, runProgram } from '../streams/child-process.ts'
import { writeUseList } from './archive-definitions.ts'
import type { Connection } from './connect.ts'
import { conninfoOf } from './dump.ts'
import { programEnvironment } from './program-environment.ts'
import type { FoundProgram } from './programs.ts'
import { listArchive } from './restore-dump.ts'
import { isError, type RestoreMessage, readMessages, restoreError } from './restore-errors.ts'
import { quoteIdentifier } from './tables.ts'

export type SchemaCopy = {
  readonly from: Connection
  readonly to: Connection
  readonly schema: string
  /** Both of the major of the servers. */
  readonly pgDump: FoundProgram
  readonly pgRestore: FoundProgram
  /** Where the definitions of what comes after the rows are kept meanwhile. */
  readonly folder: string
  readonly jobs: number
  /** The name under which the sessions of pg_restore are seen. */
  readonly applicationName: string
}

/**
 * Copies one schema from one database into another, which does not have it. Tables with their rows come in one
 * transaction and never touch the disk in between; then indexes and constraints. Owners, grants, triggers, rules and
 * policies stay out: the copy is private to the login and does nothing by itself. Throws DUMP_FAILED, RESTORE_FAILED and
 * what `restoreError` throws; then what is there may be half of it.
 */
export async function copySchema(copy: SchemaCopy, signal: AbortSignal): Promise<void> {
  await using source = await programEnvironment(copy.from, 'pgproof pg_dump')
  await using target = await programEnvironment(copy.to, copy.applicationName)
  const dump = (sections: readonly string[], more: readonly string[] = []): Program => ({
    path: copy.pgDump.path,
    args: [
      '--format=custom',
      '--compress=0',
      '--no-password',
      ...left,
      '--strict-names',
      // A pattern, in which nothing between double quotes has a meaning.
      `--schema=${quoteIdentifier(copy.schema)}`,
      ...sections.map((section) => `--section=${section}`),
      ...more,
      conninfoOf(copy.from.database),
    ],
    env: source.env,
  })
  const restore = (more: readonly string[]): Program => ({
    path: copy.pgRestore.path,
    args: ['--no-password', ...left, `--dbname=${conninfoOf(copy.to.database)}`, ...more],
    env: target.env,
  })

  const rows = dumpOutput(dump(['pre-data', 'data']), signal)
  await asRestoreErrors((onStderrLine) =>
    feedProgram(restore(['--exit-on-error', '--single-transaction']), rows, { signal, onStderrLine }),
  )

  const file = `${copy.folder}/after-rows`
  await asDumpErrors(() => runProgram(dump(['post-data'], [`--file=${file}`]), { signal }))
  const lines = (await listArchive(copy.pgRestore, file, signal)).filter((line) => !acts(line))
  if (lines.length === 0) return
  const list = `--use-list=${await writeUseList(`${file}.list`, lines)}`
  try {
    await asRestoreErrors((onStderrLine) =>
      runProgram(restore(['--exit-on-error', list, `--jobs=${copy.jobs}`, file]), { signal, onStderrLine }),
    )
  } catch (error) {
    const mayHaveMet = copy.jobs > 1 && error instanceof PgproofError && error.code === 'RESTORE_FAILED'
    if (!mayHaveMet) throw error
    // Parallel jobs may lock each other out. One alone does not, and what is there by then is refused.
    await asRestoreErrors((onStderrLine) => runProgram(restore([list, file]), { signal, onStderrLine }), isThere)
  }
}

function isThere(message: RestoreMessage): boolean {
  return /ERROR: {2}(?:(?:relation|constraint) "[^\n]*" [^\n]*already exists|multiple primary keys for table |index "[^\n]*" is already attached )/.test(
    message.text,
  )
}

const left = [
  '--no-owner',
  '--no-privileges',
  '--no-publications',
  '--no-subscriptions',
  '--no-security-labels',
  '--no-tablespaces',
]

/** Entries that make a table do something by itself, or keep rows from somebody. */
function acts(line: string): boolean {
  return /^\d+; \d+ \d+ (?:TRIGGER|RULE|POLICY|ROW SECURITY|EVENT TRIGGER|COMMENT \S+ (?:TRIGGER|RULE|POLICY)) /.test(
    line,
  )
}

async function* dumpOutput(program: Program, signal: AbortSignal): AsyncGenerator<Uint8Array, void, void> {
  try {
    yield* programOutput(program, { signal })
  } catch (error) {
    throw dumpError(error)
  }
}

async function asDumpErrors(run: () => Promise<unknown>): Promise<void> {
  try {
    await run()
  } catch (error) {
    throw dumpError(error)
  }
}

function dumpError(error: unknown): unknown {
  if (!(error instanceof ProgramError)) return error
  const values = { program: 'pg_dump', outcome: error.outcome }
  return new PgproofError('DUMP_FAILED', values, { cause: error, details: error.stderrTail })
}

async function asRestoreErrors(
  run: (onStderrLine: (line: string) => void) => Promise<unknown>,
  isNone: (message: RestoreMessage) => boolean = () => false,
): Promise<void> {
  const lines: string[] = []
  try {
    await run((line) => void (lines.length < mostLines && lines.push(line)))
  } catch (error) {
    rethrowUnless(error, ProgramError)
    const errors = readMessages(lines).filter(isError)
    const [first] = errors.filter((message) => !isNone(message))
    if (first === undefined && errors.length > 0 && lines.length < mostLines) return
    throw restoreError(error, { messages: first === undefined ? [] : [first] })
  }
}

const mostLines = 10_000
