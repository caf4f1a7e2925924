import { PgproofError } from '../errors.ts'
import { isQueryFailure } from '../postgres/connect.ts'
import { type Patience, putInPlace, type Swap, SwapUnknown, swapStatements } from '../postgres/put-in-place.ts'
import { asTargetFailed } from '../postgres/staging-database.ts'
import type { TargetServer } from '../postgres/target-database.ts'

export type Finished = {
  readonly swap: Swap
  /** The wanted name of a database that came under the name meanwhile. */
  readonly asideAs: string
  /** From now on the restored database stays, whatever becomes of the restore. */
  readonly keep: () => void
}

/**
 * Gives a database that is restored, which took hours, its name. What came in the way meanwhile does not undo that: then
 * RESTORED_APART is returned, with the statements that do it by hand. Throws what else `putInPlace` throws; the restored
 * database stays also then if nobody knows which one it is.
 */
export async function putInPlaceOrKeep(
  server: TargetServer,
  { swap, asideAs, keep }: Finished,
  signal: AbortSignal,
  patience?: Patience,
): Promise<{ readonly aside: string | null } | PgproofError> {
  try {
    return await putInPlace(server, swap, signal, patience)
  } catch (error) {
    if (error instanceof SwapUnknown) keep()
    if (signal.aborted || error instanceof SwapUnknown || !isAsBefore(error)) throw error
    keep()
    const failure = asTargetFailed(error)
    const details = (await swapStatements(server, swap, asideAs, signal)).join('\n')
    const values = { reason: failure.message, name: swap.staging, how: howToGoOn(failure, swap) }
    return new PgproofError('RESTORED_APART', values, { cause: error, details })
  }
}

/** Whether the server refused it, or the connection was lost, so that for certain nothing was renamed. */
function isAsBefore(error: unknown): boolean {
  if (!(error instanceof PgproofError)) return isQueryFailure(error)
  return inTheWay.has(error.code) || isQueryFailure(error.cause)
}

const inTheWay: ReadonlySet<string> = new Set([
  ...['TARGET_IN_USE', 'TARGET_EXISTS', 'TARGET_LACKS'],
  ...['SERVER_UNREACHABLE', 'AUTHENTICATION_FAILED', 'DATABASE_UNKNOWN'],
])

function howToGoOn({ code }: PgproofError, { database }: Swap): string {
  if (code === 'TARGET_IN_USE') return 'Once that use has ended, run the statements below.'
  if (code === 'TARGET_EXISTS')
    return `The statements below rename what is called "${database}" now aside, and put this one in its place; nobody may be in either.`
  if (code === 'TARGET_LACKS')
    return 'Run the statements below as the owner of both databases with CREATEDB, or as a superuser.'
  return 'When the server can be used again, run the statements below.'
}
