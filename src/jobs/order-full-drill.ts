import type { Catalog } from '../catalog/catalog.ts'
import { placesOfFolders } from '../catalog/places.ts'
import type { Run } from '../catalog/runs.ts'
import type { ServerConfig } from '../config/config.ts'
import { pickForDrill } from '../drill/pick-for-drill.ts'
import { PgproofError } from '../errors.ts'
import { objectNames } from '../storage/object-keys.ts'
import { chooseRolesBackup } from '../stored/read-roles.ts'
import { drillRequest, scratchSettings } from './execute.ts'
import { runFullDrill } from './full-drill.ts'
import type { FullDrillRequest, FullDrillResult } from './full-drill-request.ts'
import { type Installation, isConfigured, readBackupKeys, readDrillKeys, serverNamed } from './installation.ts'
import { newRun, runJob } from './run-job.ts'

/**
 * A full drill of one server, now. The catalog has been refreshed before. Throws SERVER_UNKNOWN, NO_BACKUP where there
 * is none of any database, keys' errors, and what storing the report throws.
 */
export async function executeFullDrill(
  order: { readonly server: string; readonly trigger: Run['trigger'] },
  installation: Installation,
  signal: AbortSignal,
): Promise<FullDrillResult> {
  const request = await fullDrillRequest(order, installation)
  const run = newRun({ job: 'drill', database: null, ...order }, installation)
  // Each drill has a deadline of its own; this one is for what is around them.
  const deadlineMs = request.deadlineMs * (request.drills.length + 1)
  const end = await runJob(
    run,
    { deadlineMs },
    async (jobSignal) => {
      const result = await runFullDrill(request, installation, jobSignal)
      return { label: result.report.label, error: result.error, result }
    },
    installation,
    signal,
  )
  return end.result
}

async function fullDrillRequest(
  { server: name, trigger }: { readonly server: string; readonly trigger: Run['trigger'] },
  installation: Installation,
): Promise<FullDrillRequest> {
  const { config, catalog, clock } = installation
  const server = serverNamed(config, name)
  const stored = catalog.databases().flatMap((place) => (place.server === name ? [place.database] : []))
  if (stored.length === 0) throw new PgproofError('NO_BACKUP', { what: name })
  const named = server.databases === 'all' ? [] : server.databases.filter((database) => isConfigured(server, database))

  const drills: FullDrillRequest['drills'][number][] = []
  for (const database of stored) {
    const drill = await drillRequest(
      { server: name, database, queuedAt: clock.now() },
      { pick: 'latest' },
      installation,
    )
    drills.push({ drill, backup: pickForDrill(drill, catalog), isConfigured: isConfigured(server, database) })
  }
  const unreadable = unreadableOf(server, catalog)
  const newest = drills.map(({ backup }) => backup.manifest).toSorted(byInstant)[0]
  const { keys, trustedSigners } = await readDrillKeys(installation, 'a drill')
  const { signingKey } = await readBackupKeys(installation)
  return {
    server: name,
    drills,
    missing: named.filter((database) => !stored.includes(database) && !unreadable.has(database)),
    unreadable,
    rolesBackup: (newest === undefined ? undefined : chooseRolesBackup(newest, catalog)) ?? null,
    keys,
    trustedSigners,
    signingKey,
    scratch: scratchSettings(config),
    spoolRoot: config.drill.spool,
    jobs: config.drill.jobs,
    rtoMs: server.objectives.rtoMs ?? null,
    deadlineMs: config.drill.deadlineMs,
    trigger,
  }
}

/** Of databases whose newest manifest, in whichever store, is one that nobody can read. */
function unreadableOf(server: ServerConfig, catalog: Catalog): ReadonlyMap<string, PgproofError> {
  const placeOf = placesOfFolders()
  const unreadable = new Map<string, PgproofError>()
  for (const { key, error } of catalog.damaged()) {
    const folder = key.slice(0, key.lastIndexOf('/') + 1)
    const { database = null, server: name, label = '' } = placeOf(folder) ?? {}
    if (key !== `${folder}${objectNames.manifest}` || database === null || name !== server.name) continue
    const newest = catalog.newest(name, database)
    const isNewer = newest === undefined || newest.manifest.label < label
    if (isNewer && isConfigured(server, database)) unreadable.set(database, error)
  }
  return unreadable
}

/** The newest first. */
function byInstant(one: { readonly snapshotTime: string }, other: { readonly snapshotTime: string }): number {
  return other.snapshotTime.localeCompare(one.snapshotTime)
}
