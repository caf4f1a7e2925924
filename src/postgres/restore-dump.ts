import type { Evidence } from '../domain/evidence.ts'
import { rethrowUnless } from '../errors.ts'
import { ProgramError, programOutput, runProgram } from '../streams/child-process.ts'
import { isOfEventTrigger, isRefresh, splitPostData, splitRefreshes } from './archive-contents.ts'
import { writeUseList } from './archive-definitions.ts'
import type { Connection } from './connect.ts'
import { doRefreshesReadCronJobs, findCronJobs, haveKeysToCronJobs } from './cron-jobs.ts'
import { conninfoOf } from './dump.ts'
import { programEnvironment } from './program-environment.ts'
import type { FoundProgram } from './programs.ts'
import { areWhole, isError, judgeRefreshes, type RestoreMessage, readMessages, restoreError } from './restore-errors.ts'

export type RestoreRequest = {
  readonly connection: Connection
  readonly program: FoundProgram
  /** A custom-format archive in a regular file: parallel jobs seek in it. Lists for pg_restore are written beside it. */
  readonly file: string
  readonly jobs: number
  /** Tells which materialized views read another server, or might: those are not refreshed. */
  readonly evidence?: DumpEvidence | undefined
  /** Whether objects get the owners that they had; else whoever restores owns them. Default: true. */
  readonly owners?: boolean
  /** Whether objects get the grants that they had. Default: true. */
  readonly privileges?: boolean
  /** Whether publications are restored; they come after all rows. Default: false, as a drill has it. */
  readonly publications?: boolean
  /** Whether subscriptions are restored, disabled and without asking their publisher. Default: false. */
  readonly subscriptions?: boolean
  /** Whether the jobs of pg_cron wait until `bringCronJobs` is called, where the server may run them. Default: false. */
  readonly cronJobsLater?: boolean
}

type DumpEvidence = Pick<Evidence, 'structure' | 'properties' | 'omissions' | 'extensions' | 'tables'>

export type RestoredDump = {
  readonly notes: readonly string[]
  /** Restores the rows of pg_cron's table, which are not there yet; undefined where nothing waits. Throws RESTORE_FAILED. */
  readonly bringCronJobs: ((connection: Connection, signal: AbortSignal) => Promise<void>) | undefined
}

/**
 * `pg_restore` with owners and grants into an empty database, stopping at the first error. Publications and
 * subscriptions stay out unless asked for: a subscription carries production's address and password. Tablespaces are
 * flattened.
 * Materialized views are refreshed after all else, and one that reads another server is no error but a note; so is what
 * pg_restore warns of. All rows come before the first trigger: parallel jobs would make the triggers of a partitioned
 * table while rows of its partitions are still coming in, and those would run through them. What parallel jobs would lock
 * each other out over has stages of its own; where no table is a part of another, a job that has no more rows to bring
 * builds indexes meanwhile. Event triggers come last of all: a refresh would fire them, and what they
 * log would be rows that the backup does not have. pg_cron's jobs, where they are to come later, come before foreign keys
 * and refreshes only if these need them. Throws RESTORE_FAILED, or an inconclusive error where the scratch server is what
 * is lacking.
 */
export async function restoreDump(request: RestoreRequest, signal: AbortSignal): Promise<RestoredDump> {
  const whole = await listArchive(request.program, request.file, signal)
  const evidence = request.evidence ?? noEvidence
  const jobsOfCron = waitingCronJobs({ request, archive: whole }, evidence, signal)
  const archive = whole.filter((line) => line !== jobsOfCron.entry)
  const restoring = { request, archive }
  const { refreshes, leftOut } = splitRefreshes(archive, evidence)
  // What is left out of the first list is no error there, so its errors are all of the backup.
  const list = `--use-list=${await writeUseList(
    `${request.file}.first-stages`,
    archive.filter((line) => !isRefresh(line) && !isOfEventTrigger(line)),
  )}`
  // Only pg_restore knows where a section begins. With the same list it divides both times in the same place.
  const afterRows = await listArchive(request.program, request.file, signal, ['--section=post-data', list])
  const early = new Set(request.jobs > 1 && standAlone(request.evidence) ? splitPostData(afterRows).builds : [])
  const later = afterRows.filter((line) => !early.has(line))
  const rows = early.size === 0 ? ['--section=pre-data', '--section=data', list] : await rowsAndBuilds(restoring, later)
  const messages = [...(await restoreAll(restoring, rows, signal))]
  for (const { name, lines, jobs } of stagesAfterRows(later, request.jobs)) {
    await jobsOfCron.bringIf('foreign keys', () => haveKeysToCronJobs(request, lines, evidence, signal))
    const stageList = await writeUseList(`${request.file}.${name}`, lines)
    const stage = { archive, request: { ...request, jobs } }
    messages.push(...(await restoreAll(stage, [`--use-list=${stageList}`], signal)))
  }
  await jobsOfCron.bringIf('materialized views', () =>
    doRefreshesReadCronJobs(request.connection, refreshes, evidence, signal),
  )
  if (refreshes.length > 0) {
    const refreshList = await writeUseList(`${request.file}.refreshes`, refreshes)
    messages.push(...(await refreshAll(restoring, [`--use-list=${refreshList}`], signal)))
  }
  const eventTriggers = archive.filter(isOfEventTrigger)
  if (eventTriggers.length > 0) {
    const lastList = await writeUseList(`${request.file}.event-triggers`, eventTriggers)
    messages.push(...(await restoreAll(restoring, [`--use-list=${lastList}`], signal)))
  }
  const left = leftOut.map(({ name, why }) => `left out: REFRESH MATERIALIZED VIEW ${name}; ${why}`)
  return { notes: [...left, ...jobsOfCron.notes, ...notesOf(messages)], bringCronJobs: jobsOfCron.bringLater() }
}

const noEvidence: DumpEvidence = {
  structure: [],
  omissions: [],
  extensions: [],
  tables: [],
  properties: { encoding: 'UTF8' } as Evidence['properties'],
}

/**
 * The table of contents of an archive, one line an entry (`pg_restore --list`), or that part of it which `choice`, in
 * pg_restore's own options, leaves. Throws RESTORE_FAILED.
 */
export async function listArchive(
  program: FoundProgram,
  file: string,
  signal: AbortSignal,
  choice: readonly string[] = [],
): Promise<string[]> {
  const env = { PATH: '/usr/bin:/bin', LC_ALL: 'C.UTF-8' }
  const chunks: Uint8Array[] = []
  try {
    for await (const chunk of programOutput({ path: program.path, args: ['--list', ...choice, file], env }, { signal }))
      chunks.push(chunk)
  } catch (error) {
    rethrowUnless(error, ProgramError)
    throw restoreError(error)
  }
  const lines = Buffer.concat(chunks).toString('utf8').split('\n')
  return lines.filter((line) => line !== '' && !line.startsWith(';'))
}

/** Reads every block of an archive without a server: proves that the data can be taken out. Throws RESTORE_FAILED. */
export async function readWholeArchive(program: FoundProgram, file: string, signal: AbortSignal): Promise<void> {
  const env = { PATH: '/usr/bin:/bin', LC_ALL: 'C.UTF-8' }
  try {
    await runProgram({ path: program.path, args: ['--file=/dev/null', file], env }, { signal })
  } catch (error) {
    rethrowUnless(error, ProgramError)
    throw restoreError(error)
  }
}

/** Whether each table is locked by its own entries only: none is, or may have become, a part of another. */
function standAlone(evidence: RestoreRequest['evidence']): boolean {
  if (evidence === undefined || evidence.omissions.some(({ kind }) => kind === 'changed during the dump')) return false
  return !evidence.structure.some(
    ({ kind, facets }) => facets['inherits'] !== undefined || (kind === 'table' && facets['definition'] !== undefined),
  )
}

/** The arguments for everything but what comes later. */
async function rowsAndBuilds({ request, archive }: Restoring, later: readonly string[]): Promise<readonly string[]> {
  const isLater = new Set(later)
  const lines = archive.filter((line) => !isRefresh(line) && !isOfEventTrigger(line) && !isLater.has(line))
  return [`--use-list=${await writeUseList(`${request.file}.rows-and-builds`, lines)}`]
}

/** Jobs of pg_cron that are to come later, unless something needs them; without an entry there are none. */
function waitingCronJobs({ request, archive }: Restoring, evidence: DumpEvidence, signal: AbortSignal) {
  const entry = request.cronJobsLater === true ? findCronJobs(archive, evidence) : undefined
  const notes: string[] = []
  const bring = async (connection: Connection, bringing: AbortSignal): Promise<void> => {
    const list = await writeUseList(`${request.file}.cron-jobs`, entry === undefined ? [] : [entry])
    await restoreAll({ request: { ...request, connection, jobs: 1 }, archive }, [`--use-list=${list}`], bringing)
  }
  const isWaiting = (): boolean => entry !== undefined && notes.length === 0
  return {
    entry,
    notes,
    bringIf: async (what: string, isNeeded: () => Promise<boolean>): Promise<void> => {
      if (!isWaiting() || !(await isNeeded())) return
      await bring(request.connection, signal)
      notes.push(`${what} need the rows of cron.job, so pg_cron may have run jobs since before they were restored`)
    },
    bringLater: () => (isWaiting() ? bring : undefined),
  }
}

type Stage = { readonly name: string; readonly lines: readonly string[]; readonly jobs: number }

/** One job restores everything in the order of the archive, which is the one that pg_dump vouches for. */
function stagesAfterRows(lines: readonly string[], jobs: number): readonly Stage[] {
  const { builds, attaches, foreignKeys, rest } = splitPostData(lines)
  const stages: readonly Stage[] =
    jobs === 1
      ? [{ name: 'after-rows', lines, jobs }]
      : [
          { name: 'builds', lines: builds, jobs },
          { name: 'attaches', lines: attaches, jobs: 1 },
          { name: 'foreign-keys', lines: foreignKeys, jobs },
          { name: 'rest', lines: rest, jobs: 1 },
        ]
  return stages.filter((stage) => stage.lines.length > 0)
}

type Restoring = { readonly request: RestoreRequest; readonly archive: readonly string[] }

async function restoreAll(
  { request, archive }: Restoring,
  args: readonly string[],
  signal: AbortSignal,
): Promise<readonly RestoreMessage[]> {
  const { error, messages } = await pgRestore(request, ['--exit-on-error', ...args], signal)
  // It ends at its first error: what comes after that may be row data which only looks like another one.
  if (error !== null) throw restoreError(error, { messages: messages.filter(isError).slice(0, 1), archive })
  return messages
}

async function refreshAll(
  { request, archive }: Restoring,
  args: readonly string[],
  signal: AbortSignal,
): Promise<readonly RestoreMessage[]> {
  const { error, messages } = await pgRestore(request, args, signal)
  if (error === null) return messages
  // Of jobs that failed at the same time the messages may be mixed up; one job has no other to write into its own.
  if (request.jobs > 1 && !areWhole(messages, request.jobs))
    return await refreshAll({ request: { ...request, jobs: 1 }, archive }, args, signal)
  return judgeRefreshes(error, messages, { jobs: request.jobs, archive })
}

/** More lines than so many are dropped, and then the errors are not as many as pg_restore has counted. */
const mostLines = 100_000

async function pgRestore(
  request: RestoreRequest,
  more: readonly string[],
  signal: AbortSignal,
): Promise<{ readonly error: ProgramError | null; readonly messages: readonly RestoreMessage[] }> {
  const { connection, program, file, jobs } = request
  await using environment = await programEnvironment(connection, 'pgproof pg_restore')
  const args = [
    ...more,
    ...leavingOut(request),
    '--no-password',
    '--no-tablespaces',
    `--jobs=${jobs}`,
    `--dbname=${conninfoOf(connection.database)}`,
    file,
  ]
  const lines: string[] = []
  const onStderrLine = (line: string): void => {
    if (lines.length < mostLines) lines.push(line)
  }
  try {
    await runProgram({ path: program.path, args, env: environment.env }, { signal, onStderrLine })
    return { error: null, messages: readMessages(lines) }
  } catch (error) {
    rethrowUnless(error, ProgramError)
    return { error, messages: readMessages(lines) }
  }
}

function leavingOut({
  owners = true,
  privileges = true,
  publications = false,
  subscriptions = false,
}: RestoreRequest): string[] {
  return [
    ...(owners ? [] : ['--no-owner']),
    ...(privileges ? [] : ['--no-privileges']),
    ...(publications ? [] : ['--no-publications']),
    ...(subscriptions ? [] : ['--no-subscriptions']),
  ]
}

const mostNotes = 100

function notesOf(messages: readonly RestoreMessage[]): string[] {
  const notes = messages.slice(0, mostNotes).map(({ text }) => `pg_restore: ${text}`)
  return messages.length > mostNotes ? [...notes, `pg_restore: ${messages.length - mostNotes} more messages`] : notes
}
