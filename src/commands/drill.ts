import assert from 'node:assert/strict'
import { PgproofError, toPgproofError } from '../errors.ts'
import { type ChosenPlace, choosePlace } from '../jobs/choose-place.ts'
import { type DrillWish, executeRun } from '../jobs/execute.ts'
import { newRun } from '../jobs/run-job.ts'
import type { Answer, CommandContext } from './context.ts'
import type { DaemonFlags } from './daemon-client.ts'
import { drillPage } from './drill-page.ts'
import { followRun } from './follow-run.ts'
import { openConfig, openInstallation } from './open.ts'
import { formatAge } from './print.ts'
import { parseTarget, placeName } from './target.ts'

export type DrillFlags = DaemonFlags & {
  readonly backup?: string
  readonly pick?: 'latest' | 'random'
  readonly seed?: number
  /** The name of a store. */
  readonly from?: string
  /** Then `fullDrillCommand` carries it out. */
  readonly full?: boolean
  /** At a daemon: every database of a server; then `drillAllAtDaemon` orders them. */
  readonly all?: boolean
  /** At a daemon: only order, without waiting. */
  readonly detach?: boolean
}

/** One drill, now. The exit code goes by the verdict: 0 passed, 3 failed, 14 inconclusive, 130 cancelled. */
export async function drillCommand(
  context: CommandContext,
  operand: string | undefined,
  flags: DrillFlags,
): Promise<Answer> {
  for (const name of ['detach', 'all'] as const)
    if (flags[name] === true)
      throw new PgproofError('USAGE_INVALID', { reason: `--${name} has no meaning without --url` })
  const config = await openConfig(context)
  const target = operand === undefined ? undefined : parseTarget(operand, config.servers)
  assertMeaningful(flags)
  await using wired = await openInstallation(context, config, { writes: true, needsCatalog: true })
  const { installation } = wired
  const { catalog } = installation
  const chosen = choosePlace(target, flags.backup, installation)
  const place = { server: chosen.server, database: chosen.database }
  if (chosen.among > 1) context.note(proofNote(chosen, context.clock.now()))

  const run = newRun({ job: 'drill', ...place, trigger: 'cli' }, installation)
  const before = { drill: catalog.drills(place).find(({ verdict }) => verdict === 'passed') }
  const { drill } = await (async () => {
    using _following = followRun(run, before, installation, context)
    return await executeRun(run, wishOf(flags), installation, context.signal)
  })()
  assert(drill !== undefined, 'a drill ended without a report')

  const { report, tables, error } = drill
  const text = drillPage({ report, tables, isFull: false }, context.paint)
  const document = { drill: report, tables }
  if (error === null) return { document, text }
  if (context.signal.aborted) return { document, text, error: toPgproofError(context.signal.reason, 'the drill') }
  if (report.verdict === 'inconclusive') return { document, text, error, exitCode: 14 }
  const { label, compared } = report
  // The differences are in the page already, as a table.
  const more = { cause: error, ...(compared.differences > 0 ? {} : { details: error.details }) }
  return { document, text, error: new PgproofError('DRILL_FAILED', { reason: error.message, label }, more) }
}

/** Why this database, where nobody named one. */
export function proofNote({ among, lastPassedAt, ...place }: ChosenPlace, now: Date): string {
  const proof =
    lastPassedAt === null ? 'no drill of it has passed yet' : `its last drill passed ${formatAge(lastPassedAt, now)}`
  return `drilling ${placeName(place)}, whose proof is the oldest of ${among} databases: ${proof}`
}

/** Throws USAGE_INVALID. */
export function assertMeaningful({ backup, pick, seed }: DrillFlags): void {
  if (backup !== undefined && (pick !== undefined || seed !== undefined))
    throw new PgproofError('USAGE_INVALID', {
      reason: '--backup names the backup, so --pick and --seed have no meaning',
    })
  if (pick === 'latest' && seed !== undefined)
    throw new PgproofError('USAGE_INVALID', { reason: '--seed has no meaning with --pick latest' })
}

/** A seed is of a random choice, whatever the configuration has as its rule. */
function wishOf({ backup, pick, seed, from }: DrillFlags): DrillWish {
  return { backup, pick: pick ?? (seed === undefined ? undefined : 'random'), seed, from }
}
