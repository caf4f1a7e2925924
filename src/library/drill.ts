import assert from 'node:assert/strict'
import { parseTarget } from '../commands/target.ts'
import { choosePlace } from '../jobs/choose-place.ts'
import { executeRun } from '../jobs/execute.ts'
import { newRun } from '../jobs/run-job.ts'
import { withInstallation } from './open.ts'
import type { PgproofOptions } from './options.ts'
import type { DrillOutcome } from './outcome.ts'

export type DrillOptions = PgproofOptions & {
  /** The label of the backup. */
  readonly backup?: string | undefined
  /** Which backup, where none is named. Default: as configured. */
  readonly pick?: 'random' | 'latest' | undefined
  /** Repeats the choice of a random drill. */
  readonly seed?: number | undefined
}

/**
 * Restores a backup of `target` (`main/shop`; without one, of the database whose proof is the oldest) into a scratch
 * server and compares it with what the database held, as `pgproof drill` does. A verdict `failed` or `inconclusive` is
 * returned. Throws a `PgproofError` where no drill took place, or when it was cancelled.
 */
export async function drill(target?: string, options: DrillOptions = {}): Promise<DrillOutcome> {
  const { backup, pick, seed } = options
  return await withInstallation(options, { writes: true }, async (installation, signal) => {
    const { config } = installation
    const named = target === undefined ? undefined : parseTarget(target, config.servers)
    const { server, database } = choosePlace(named, backup, installation)
    const run = newRun({ job: 'drill', server, database, trigger: 'cli' }, installation)
    // A seed is of a random choice, whatever the configuration has as its rule.
    const wish = { backup, pick: pick ?? (seed === undefined ? undefined : ('random' as const)), seed }
    const finished = await executeRun(run, wish, installation, signal)
    signal.throwIfAborted()
    assert(finished.drill !== undefined, 'a drill ended without a report')
    const { report, tables, error } = finished.drill
    return { verdict: report.verdict, report, tables, error }
  })
}
