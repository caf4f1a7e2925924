import type { Evidence } from '../domain/evidence.ts'
import { PgproofError } from '../errors.ts'
import type { Connection } from '../postgres/connect.ts'
import type { FoundProgram } from '../postgres/programs.ts'
import { type RestoredDump, type RestoreRequest, restoreDump } from '../postgres/restore-dump.ts'
import { firstErrorOf, isKilledFromOutside, isOutOfMemory } from '../postgres/restore-errors.ts'
import { ProgramError } from '../streams/child-process.ts'
import { assertExtensions, assertMonetary } from './after-restore.ts'

/** A database that did not exist before; dropped when the scope ends. */
export type NewDatabase = AsyncDisposable & { readonly connection: Connection }

export type IntoNew<Database extends NewDatabase> = {
  /** Called again where the first try is dropped. */
  create(signal: AbortSignal): Promise<Database>
  readonly evidence: Evidence
  readonly program: FoundProgram
  readonly file: string
  readonly jobs: number
  /** What of the dump is brought back. */
  readonly bring?: Pick<RestoreRequest, 'owners' | 'privileges' | 'publications' | 'subscriptions' | 'cronJobsLater'>
}

/** What was restored, and what PostgreSQL said about it; dropped when the scope ends. */
export type RestoredDatabase<Database extends NewDatabase> = AsyncDisposable & {
  readonly database: Database
  readonly connection: Connection
  readonly notes: readonly string[]
  /** What still waits of what was to come later. */
  readonly bringCronJobs: RestoredDump['bringCronJobs']
}

/**
 * Restores into a new database. What the server lacks is found before anything is restored. Parallel jobs of
 * pg_restore fail by chance where PostgreSQL's dump does not say what comes first: they lock each other out, or disable
 * a partition's trigger that is not there yet. That is no fault of the backup, so whatever they fail with is repeated
 * with one job, and only that counts. Throws what `create`, `assertExtensions`, `assertMonetary` and `restoreDump`
 * throw.
 */
export async function restoreIntoNew<Database extends NewDatabase>(
  request: IntoNew<Database>,
  signal: AbortSignal,
): Promise<RestoredDatabase<Database>> {
  try {
    return await restoreOnce(request, request.jobs, [], signal)
  } catch (error) {
    if (signal.aborted || request.jobs === 1 || !mayBeByChance(error)) throw error
    const note = `${request.jobs} jobs of pg_restore failed: ${firstErrorOf(error)}; restored again by one`
    return await restoreOnce(request, 1, [note], signal)
  }
}

/** One job also needs less memory than several, where that was what pg_restore was killed for. */
function mayBeByChance(error: unknown): error is PgproofError {
  const isKilled =
    error instanceof PgproofError && error.cause instanceof ProgramError && isKilledFromOutside(error.cause)
  return error instanceof PgproofError && (error.code === 'RESTORE_FAILED' || isKilled || isOutOfMemory(error))
}

async function restoreOnce<Database extends NewDatabase>(
  { create, evidence, program, file, bring }: IntoNew<Database>,
  jobs: number,
  notes: readonly string[],
  signal: AbortSignal,
): Promise<RestoredDatabase<Database>> {
  const database = await create(signal)
  try {
    const { connection } = database
    await assertExtensions(connection, evidence.extensions, signal)
    await assertMonetary(connection, evidence, signal)
    const restored = await restoreDump({ connection, program, file, jobs, evidence, ...bring }, signal)
    return {
      database,
      connection,
      notes: [...notes, ...restored.notes],
      bringCronJobs: restored.bringCronJobs,
      [Symbol.asyncDispose]: () => database[Symbol.asyncDispose](),
    }
  } catch (error) {
    await database[Symbol.asyncDispose]()
    throw error
  }
}
