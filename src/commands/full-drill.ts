import type { Config } from '../config/config.ts'
import { PgproofError, toPgproofError } from '../errors.ts'
import type { Installation } from '../jobs/installation.ts'
import { executeFullDrill } from '../jobs/order-full-drill.ts'
import type { Answer, CommandContext } from './context.ts'
import { drillSummary } from './documents.ts'
import type { DrillFlags } from './drill.ts'
import { fullDrillPage } from './full-drill-page.ts'
import { openConfig, openInstallation } from './open.ts'
import { parseTarget } from './target.ts'

/** A full drill of one server, now. The exit code goes by the verdict: 0 passed, 3 failed, 14 inconclusive, 130 cancelled. */
export async function fullDrillCommand(
  context: CommandContext,
  operand: string | undefined,
  flags: DrillFlags,
): Promise<Answer> {
  const config = await openConfig(context)
  const server = chooseServer(operand, flags, config)
  await using wired = await openInstallation(context, config, { writes: true, needsCatalog: true })
  const { installation } = wired
  const { report, drills, error } = await (async () => {
    using _following = followDrills(server, installation, context)
    return await executeFullDrill({ server, trigger: 'cli' }, installation, context.signal)
  })()
  const text = fullDrillPage({ report, storeUrl: config.stores[0].url }, context.paint)
  const document = { fullDrill: report, drills: drills.map((drill) => drillSummary(drill.report)) }
  if (error === null) return { document, text }
  if (context.signal.aborted) return { document, text, error: toPgproofError(context.signal.reason, 'the full drill') }
  return { document, text, error, exitCode: report.verdict === 'failed' ? 3 : 14 }
}

function chooseServer(operand: string | undefined, { backup, pick, seed }: DrillFlags, { servers }: Config): string {
  if (backup !== undefined || pick !== undefined || seed !== undefined)
    throw new PgproofError('USAGE_INVALID', {
      reason: '--full takes the newest backup of each database, so --backup, --pick and --seed have no meaning',
    })
  if (operand !== undefined) {
    const { server, database } = parseTarget(operand, servers)
    if (database === null) return server
    throw new PgproofError('USAGE_INVALID', { reason: `--full is of a whole server; leave out /${database}` })
  }
  const [only, ...others] = servers
  if (only !== undefined && others.length === 0) return only.name
  const known = servers.map(({ name }) => name).join(', ')
  throw new PgproofError('USAGE_INVALID', { reason: `say which server is to be rebuilt: ${known}` })
}

/** Each database has a run of its own. */
function followDrills(server: string, { catalog }: Installation, context: CommandContext): Disposable {
  const activity = context.progress.begin(`full drill of ${server}`)
  const unwatch = catalog.watchRuns(({ job, database, progress }) => {
    if (job !== 'drill' || database === null || progress === null) return
    const { phase, doneBytes, totalBytes } = progress
    const bytes = phase === 'fetch' ? { doneBytes, totalBytes } : {}
    activity.update({ phase: `${database}: ${phase ?? ''}`, ...bytes })
  })
  return {
    [Symbol.dispose]: () => {
      unwatch()
      activity[Symbol.dispose]()
    },
  }
}
