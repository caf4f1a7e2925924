import { PgproofError, toPgproofError } from '../errors.ts'
import { choosePlace } from '../jobs/choose-place.ts'
import { type DrillWish, executeRun } from '../jobs/execute.ts'
import { newRun } from '../jobs/run-job.ts'
import type { Answer, CommandContext } from './context.ts'
import { drillPage } from './drill-page.ts'
import { followRun } from './follow-run.ts'
import { openConfig, openInstallation } from './open.ts'
import { formatAge } from './print.ts'
import { parseTarget, placeName } from './target.ts'

export type DrillFlags = {
  readonly backup?: string
  readonly pick?: 'latest' | 'random'
  readonly seed?: number
  /** The name of a store. */
  readonly from?: string
  /** Then `fullDrillCommand` carries it out. */
  readonly full?: boolean
}

/** One drill, now. The exit code goes by the verdict: 0 passed, 3 failed, 14 inconclusive, 130 cancelled. */
export async function drillCommand(
  context: CommandContext,
  operand: string | undefined,
  flags: DrillFlags,
): Promise<Answer> {
  const config = await openConfig(context)
  const target = operand === undefined ? undefined : parseTarget(operand, config.servers)
  assertMeaningful(flags)
  await using wired = await openInstallation(context, config, { writes: true, needsCatalog: true })
  const { installation } = wired
  const { catalog } = installation
  const { among, lastPassedAt, ...place } = choosePlace(target, flags.backup, installation)
  if (among > 1) {
    const proof =
      lastPassedAt === null
        ? 'no drill of it has passed yet'
        : `its last drill passed ${formatAge(lastPassedAt, context.clock.now())}`
    context.note(`drilling ${placeName(place)}, whose proof is the oldest of ${among} databases: ${proof}`)
  }

  const run = newRun({ job: 'drill', ...place, trigger: 'cli' }, installation)
  const before = { drill: catalog.drills(place).find(({ verdict }) => verdict === 'passed') }
  const { drill } = await (async () => {
    using _following = followRun(run, before, installation, context)
    return await executeRun(run, wishOf(flags), installation, context.signal)
  })()
  if (drill === undefined) throw new Error('a drill ended without a report')

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

function assertMeaningful({ backup, pick, seed }: DrillFlags): void {
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
