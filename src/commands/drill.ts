import type { Catalog } from '../catalog/catalog.ts'
import type { Config } from '../config/config.ts'
import { PgproofError, toPgproofError } from '../errors.ts'
import { type DrillWish, executeRun } from '../jobs/execute.ts'
import { newRun } from '../jobs/run-job.ts'
import type { Answer, CommandContext } from './context.ts'
import { drillPage } from './drill-page.ts'
import { followRun } from './follow-run.ts'
import { openConfig, openInstallation } from './open.ts'
import { formatAge } from './print.ts'
import { parseTarget, placeName, type Target } from './target.ts'

export type DrillFlags = { readonly backup?: string; readonly pick?: 'latest' | 'random'; readonly seed?: number }

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
  const place = choosePlace(target, flags.backup, catalog, config, context)

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

type Place = { readonly server: string; readonly database: string }

function assertMeaningful({ backup, pick, seed }: DrillFlags): void {
  if (backup !== undefined && (pick !== undefined || seed !== undefined))
    throw new PgproofError('USAGE_INVALID', {
      reason: '--backup names the backup, so --pick and --seed have no meaning',
    })
  if (pick === 'latest' && seed !== undefined)
    throw new PgproofError('USAGE_INVALID', { reason: '--seed has no meaning with --pick latest' })
}

/** A seed is of a random choice, whatever the configuration has as its rule. */
function wishOf({ backup, pick, seed }: DrillFlags): DrillWish {
  return { backup, pick: pick ?? (seed === undefined ? undefined : 'random'), seed }
}

/** The database to drill: the one named, that of the named backup, the only one there is, or the one with the oldest proof. */
function choosePlace(
  target: Target | undefined,
  label: string | undefined,
  catalog: Catalog,
  config: Config,
  context: CommandContext,
): Place {
  if (target !== undefined && target.database !== null) return { server: target.server, database: target.database }
  if (label !== undefined) return placeOfBackup(label, target, catalog)
  const configured = new Set(target === undefined ? config.servers.map(({ name }) => name) : [target.server])
  const places = catalog.databases().filter(({ server }) => configured.has(server))
  const ordered = places
    .map((place) => ({ ...place, ...lastDrills(place, catalog) }))
    .toSorted((a, b) => a.passedMs - b.passedMs || a.triedMs - b.triedMs)
  const [oldest, ...others] = ordered
  if (oldest === undefined)
    throw new PgproofError('NO_BACKUP', { what: target === undefined ? 'any configured database' : target.server })
  if (others.length > 0) {
    const proof =
      oldest.passedMs === 0
        ? 'no drill of it has passed yet'
        : `its last drill passed ${formatAge(new Date(oldest.passedMs), context.clock.now())}`
    context.note(`drilling ${placeName(oldest)}, whose proof is the oldest of ${places.length} databases: ${proof}`)
  }
  return { server: oldest.server, database: oldest.database }
}

/** 0 for a drill that never was. */
function lastDrills(place: Place, catalog: Catalog): { readonly passedMs: number; readonly triedMs: number } {
  const drills = catalog.drills(place)
  const passed = drills.find(({ verdict }) => verdict === 'passed')
  const time = (report: { finishedAt: string } | undefined): number =>
    report === undefined ? 0 : Date.parse(report.finishedAt)
  return { passedMs: time(passed), triedMs: time(drills[0]) }
}

function placeOfBackup(label: string, target: Target | undefined, catalog: Catalog): Place {
  const found = catalog.find(label, { server: target?.server })
  if (found === undefined) throw new PgproofError('LABEL_UNKNOWN', { label })
  const { server, database } = found.manifest
  if (database === null)
    throw new PgproofError('USAGE_INVALID', {
      reason: `${label} is a roles backup; drills restore databases and replay the roles with them`,
    })
  return { server, database }
}
