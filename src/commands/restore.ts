import type { CatalogBackup } from '../catalog/catalog.ts'
import { pastRestores } from '../catalog/database-status.ts'
import type { DrillReport } from '../domain/drill-report.ts'
import { forecastRestoreSeconds } from '../domain/restore-forecast.ts'
import type { RestoreResult } from '../domain/restore-result.ts'
import { PgproofError } from '../errors.ts'
import type { Installation } from '../jobs/installation.ts'
import { assertLogin, restoreRequest, targetOf } from '../jobs/order-restore.ts'
import { chooseBackup } from '../restore/choose-backup.ts'
import { discardUnfinished } from '../restore/discard-unfinished.ts'
import { runRestore } from '../restore/restore.ts'
import type { RestoreRequest } from '../restore/restore-request.ts'
import { runRestoreTables } from '../restore/restore-tables.ts'
import type { TablesResult } from '../restore/tables-request.ts'
import type { Answer, CommandContext } from './context.ts'
import { onlyStore, openConfig, openInstallation } from './open.ts'
import { formatAge, formatBytes, formatInstant, formatSeconds } from './print.ts'
import { isOfTables, placeOf, type RestoreFlags, readOperands } from './restore-flags.ts'
import { restorePage } from './restore-page.ts'
import { tablesPage } from './tables-page.ts'
import { knownServers, placeName } from './target.ts'

/** Restores a backup into a database that somebody needs. */
export async function restoreCommand(
  context: CommandContext,
  operands: readonly string[],
  flags: RestoreFlags,
): Promise<Answer> {
  const ofTables = isOfTables(flags)
  const config = onlyStore(await openConfig(context, flags), flags.from)
  const target = targetOf(flags.to, config, context.cwd)
  if (new URL(flags.to).password !== '')
    context.warn(
      'the password in --to can be seen by everybody on this machine; PGPASSWORD or ~/.pgpass hold it better',
    )
  if (flags.discard === true) {
    const removed = await discardUnfinished(await letIn(target, 'tables', context), config.drill.spool, context.signal)
    const lines = removed.map((what) => `removed ${what}`)
    return { document: { removed }, text: lines.length === 0 ? 'Nothing was left of any restore.' : lines.join('\n') }
  }
  const { place, ...asked } = readOperands(operands, flags, config, context.clock.now())
  await using wired = await openInstallation(context, config, { writes: false, needsCatalog: true, usesSpool: true })
  const { installation } = wired
  const { verify = false, disconnect = false, roles = false, jobs, owner: owners, privileges } = flags
  const mode = flags.force === true ? 'replace' : flags.create === true ? 'create' : 'empty'
  const named = place === undefined ? {} : placeOf(place, knownServers(config, installation.catalog))
  const wish = {
    ...asked,
    ...named,
    from: flags.from,
    target,
    mode,
    verify,
    disconnect,
    roles,
    owners,
    privileges,
    jobs,
  } as const
  const asRequested = await restoreRequest(wish, installation)
  const { backup, skipped } = chooseBackup(asRequested, installation.catalog)
  for (const { manifest, faults } of skipped) context.warn(`passed over ${manifest.label}: ${faults.join('; ')}`)
  const use = ofTables && mode !== 'create' ? 'tables' : 'database'
  const request = { ...asRequested, target: await letIn(target, use, context) }
  announce(backup, { request, what: ofTables ? 'tables of ' : '' }, installation, context)
  if (ofTables) {
    const tables = await carryOutTables(request, flags, installation, context)
    return { document: { restore: tables }, text: tablesPage(tables, context.paint) }
  }
  const result = await carryOut(request, installation, context)
  const { error, ...document } = result
  return { document: { restore: document }, text: restorePage(result, context.paint), error }
}

/** Before anything is read: a password that is nowhere is asked for, where somebody sits at a terminal. */
async function letIn(
  target: ReturnType<typeof targetOf>,
  use: Parameters<typeof assertLogin>[1],
  context: CommandContext,
): Promise<typeof target> {
  for (let attempt = 1; ; attempt += 1)
    try {
      const password = attempt === 1 ? target.password : await askPassword(target, context)
      const login = { ...target, password }
      await assertLogin(login, use, context.signal)
      return login
    } catch (error) {
      const isRefused = error instanceof PgproofError && error.code === 'AUTHENTICATION_FAILED'
      if (!isRefused || !context.canAsk || target.password !== undefined || attempt > 3) throw error
      context.note(`${error.message}.`)
    }
}

async function askPassword(
  { user, host }: ReturnType<typeof targetOf>,
  context: CommandContext,
): Promise<() => string> {
  const password = await context.askSecret(`Password of ${user} on ${host}: `)
  return () => password
}

/** What is about to happen, and how long it took when a drill did the same. */
function announce(
  { manifest, snapshotTime }: CatalogBackup,
  { request: { target }, what }: { readonly request: RestoreRequest; readonly what: string },
  { catalog, clock }: Installation,
  context: CommandContext,
): void {
  const { server, label, dump } = manifest
  const database = manifest.database ?? ''
  const forecast = forecastRestoreSeconds(pastRestores(catalog.drills({ server, database })), dump.bytes)
  const estimate =
    forecast === null
      ? 'no drill has measured it yet'
      : `a whole restore took about ${formatSeconds(forecast)} in drills`
  const instant = `${formatInstant(snapshotTime)}, ${formatAge(snapshotTime, clock.now())}`
  context.note(
    `Restoring ${what}${placeName({ server, database })} as of ${instant} (backup ${label}, ${formatBytes(dump.bytes)}) into ${target.database} on ${target.host}:${target.port}; ${estimate}.`,
  )
}

/** With progress; a target that is not empty is asked for by name on a terminal, and then renamed aside. */
async function carryOut(
  request: RestoreRequest,
  installation: Installation,
  context: CommandContext,
): Promise<RestoreResult> {
  try {
    return await follow(request, installation, context)
  } catch (error) {
    const isFull = error instanceof PgproofError && error.code === 'TARGET_NOT_EMPTY'
    if (!isFull || !context.canAsk) throw error
    const { database } = request.target
    context.note(`${error.message}.`)
    context.note('It can be renamed aside, whole, and the restored one put in its place.')
    const answer = await context.ask(`Type the name of the database to do so (${database}): `)
    if (answer !== database)
      throw new PgproofError('CONFIRMATION_REFUSED', {
        reason: `${JSON.stringify(answer)} is not ${JSON.stringify(database)}`,
      })
    return await follow({ ...request, mode: 'replace' }, installation, context)
  }
}

async function follow(
  request: RestoreRequest,
  installation: Installation,
  context: CommandContext,
): Promise<RestoreResult> {
  const { manifest } = chooseBackup(request, installation.catalog).backup
  const server = manifest.server
  const database = manifest.database ?? ''
  const drill: DrillReport | undefined = installation.catalog
    .drills({ server, database })
    .find(({ verdict }) => verdict === 'passed')
  using activity = context.progress.begin(`restore of ${placeName({ server, database })}`)
  const onProgress: NonNullable<Parameters<typeof runRestore>[1]['onProgress']> = ({ phase, ...bytes }) => {
    const usualSeconds = drill?.phases.find(({ name }) => name === phase)?.seconds
    activity.update(phase === 'fetch' ? { phase, ...bytes } : { phase, usualSeconds })
  }
  return await runRestore(request, { ...installation, onProgress }, context.signal)
}

async function carryOutTables(
  request: RestoreRequest,
  { table = [], schema = [], intoSchema, create }: RestoreFlags,
  installation: Installation,
  context: CommandContext,
): Promise<TablesResult> {
  using activity = context.progress.begin(`restore of ${[...table, ...schema.map((name) => `${name}.*`)].join(', ')}`)
  const place =
    create === true ? ({ into: 'database' } as const) : ({ into: 'schema', schema: intoSchema ?? null } as const)
  const asked = { ...request, tables: table, schemas: schema, place }
  return await runRestoreTables(asked, { ...installation, onProgress: activity.update }, context.signal)
}
