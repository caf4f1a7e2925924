import type { Evidence } from '../domain/evidence.ts'
import { PgproofError } from '../errors.ts'
import type { Connection } from '../postgres/connect.ts'
import type { FoundProgram } from '../postgres/programs.ts'
import { restoreDump } from '../postgres/restore-dump.ts'
import { firstErrorOf } from '../postgres/restore-errors.ts'
import type { ScratchDatabase } from '../postgres/scratch-database.ts'
import { assertExtensions, assertMonetary } from './after-restore.ts'
import type { ScratchServer } from './scratch.ts'

export type IntoScratch = {
  readonly scratch: ScratchServer
  /** Of the database that is created. */
  readonly name: string
  readonly evidence: Evidence
  readonly program: FoundProgram
  readonly file: string
  readonly jobs: number
}

/** The database that a drill restored into; dropped when the scope ends. */
export type RestoredDatabase = AsyncDisposable & { readonly connection: Connection; readonly notes: readonly string[] }

/**
 * Restores into a database that did not exist before and will not exist after. What the server lacks is found before
 * anything is restored. Parallel jobs of pg_restore fail by chance where PostgreSQL's dump does not say what comes
 * first: they lock each other out, or disable a partition's trigger that is not there yet. That is no fault of the
 * backup, so whatever they fail with is repeated with one job, and only that counts. Throws what
 * `createScratchDatabase`, `assertExtensions`, `assertMonetary` and `restoreDump` throw.
 */
export async function restoreIntoScratch(request: IntoScratch, signal: AbortSignal): Promise<RestoredDatabase> {
  try {
    return await restoreOnce(request, request.jobs, [], signal)
  } catch (error) {
    const isFailed = error instanceof PgproofError && error.code === 'RESTORE_FAILED'
    if (request.jobs === 1 || !isFailed) throw error
    const note = `${request.jobs} jobs of pg_restore failed: ${firstErrorOf(error)}; restored again by one`
    return await restoreOnce(request, 1, [note], signal)
  }
}

async function restoreOnce(
  { scratch, name, evidence, program, file }: IntoScratch,
  jobs: number,
  notes: readonly string[],
  signal: AbortSignal,
): Promise<RestoredDatabase> {
  const database: ScratchDatabase = await scratch.createDatabase(name, evidence.properties, signal)
  try {
    const { connection } = database
    await assertExtensions(connection, evidence.extensions, signal)
    await assertMonetary(connection, evidence, signal)
    const restored = await restoreDump({ connection, program, file, jobs, evidence }, signal)
    return {
      connection,
      notes: [...notes, ...restored.notes],
      [Symbol.asyncDispose]: () => database[Symbol.asyncDispose](),
    }
  } catch (error) {
    await database[Symbol.asyncDispose]()
    throw error
  }
}
