import { PgproofError } from '../errors.ts'
import { ProgramError, runProgram } from '../streams/child-process.ts'
import type { Connection } from './connect.ts'
import { conninfoOf } from './dump.ts'
import { programEnvironment } from './program-environment.ts'
import type { FoundProgram } from './programs.ts'

export type RestoreRequest = {
  readonly connection: Connection
  readonly program: FoundProgram
  /** A custom-format archive in a regular file: parallel jobs seek in it. */
  readonly file: string
  readonly jobs: number
}

/**
 * `pg_restore` with owners and grants into an empty database, stopping at the first error. Publications and
 * subscriptions stay out: a subscription carries production's address and password. Tablespaces are flattened.
 * Throws RESTORE_FAILED, or an inconclusive error where the scratch server is what is lacking.
 */
export async function restoreDump(request: RestoreRequest, signal: AbortSignal): Promise<void> {
  await using environment = await programEnvironment(request.connection, 'pgproof pg_restore')
  const args = [
    '--exit-on-error',
    '--no-password',
    '--no-publications',
    '--no-subscriptions',
    '--no-tablespaces',
    `--jobs=${request.jobs}`,
    `--dbname=${conninfoOf(request.connection.database)}`,
    request.file,
  ]
  try {
    await runProgram({ path: request.program.path, args, env: environment.env }, { signal })
  } catch (error) {
    if (error instanceof ProgramError) throw restoreError(error)
    throw error
  }
}

/** The table of contents of an archive, one line an entry (`pg_restore --list`). Throws RESTORE_FAILED. */
export async function listArchive(program: FoundProgram, file: string, signal: AbortSignal): Promise<string[]> {
  const env = { PATH: '/usr/bin:/bin', LC_ALL: 'C.UTF-8' }
  try {
    const output = await runProgram({ path: program.path, args: ['--list', file], env }, { signal })
    return output.split('\n').filter((line) => line !== '' && !line.startsWith(';'))
  } catch (error) {
    if (error instanceof ProgramError) throw restoreError(error)
    throw error
  }
}

/** Reads every block of an archive without a server: proves that the data can be taken out. Throws RESTORE_FAILED. */
export async function readWholeArchive(program: FoundProgram, file: string, signal: AbortSignal): Promise<void> {
  const env = { PATH: '/usr/bin:/bin', LC_ALL: 'C.UTF-8' }
  try {
    await runProgram({ path: program.path, args: ['--file=/dev/null', file], env }, { signal })
  } catch (error) {
    if (error instanceof ProgramError) throw restoreError(error)
    throw error
  }
}

function restoreError(error: ProgramError): PgproofError {
  const details = error.stderrTail
  const more = { cause: error, details }
  const extension = /extension "([^"]+)" is not available|extension control file ".*\/([^/"]+)\.control"/.exec(details)
  if (extension !== null) {
    const name = extension[1] ?? extension[2] ?? ''
    return new PgproofError('EXTENSION_MISSING', { extensions: name, packages: `the package that holds ${name}` }, more)
  }
  const role = /role "([^\n]+?)" does not exist/.exec(details)
  if (role !== null) return new PgproofError('ROLES_MISSING', { role: role[1] ?? '' }, more)
  if (/No space left on device|Disk quota exceeded/i.test(details))
    return new PgproofError('SPOOL_FULL', { path: 'of the scratch server', reason: 'no space left on device' }, more)
  if (/server closed the connection unexpectedly|the database system is (?:shutting down|in recovery)/i.test(details))
    return new PgproofError('SCRATCH_FAILED', { reason: 'its connection was lost during the restore' }, more)
  return new PgproofError('RESTORE_FAILED', { outcome: error.outcome }, more)
}
