import assert from 'node:assert/strict'
import { parseTarget } from '../commands/target.ts'
import type { RestoreResult } from '../domain/restore-result.ts'
import { PgproofError } from '../errors.ts'
import { executeRun } from '../jobs/execute.ts'
import { type Installation, isConfigured, serverNamed } from '../jobs/installation.ts'
import { type RestoreWish, restoreRequest } from '../jobs/order-restore.ts'
import { newRun } from '../jobs/run-job.ts'
import { runRestore } from '../restore/restore.ts'
import { unfailing } from './open.ts'
import type { RestoreManner } from './options.ts'
import type { BackupOutcome } from './outcome.ts'

/** A null database is the roles. */
export type Place = { readonly server: string; readonly database: string | null }

export async function backUp(place: Place, installation: Installation, signal: AbortSignal): Promise<BackupOutcome> {
  const job = place.database === null ? 'roles' : 'backup'
  const run = newRun({ job, ...place, trigger: 'cli' }, installation)
  const finished = await executeRun(run, {}, installation, signal)
  assert(finished.backup !== undefined, 'a backup ended without its manifest')
  const { manifest } = finished.backup
  return {
    label: manifest.label,
    snapshotTime: new Date(manifest.snapshotTime),
    bytes: manifest.objects.dump.bytes,
    dumpBytes: manifest.dump.bytes,
    manifest,
    pruned: [...new Set(finished.prune?.removed.flatMap(({ backups }) => backups))],
    pruneError: finished.pruneError ?? null,
  }
}

/** Throws SERVER_UNKNOWN, DATABASE_NOT_CONFIGURED or USAGE_INVALID. */
export function placeOf(target: string, isRoles: boolean, { config }: Installation): Place {
  const place = parseTarget(target, config.servers)
  if (isRoles !== (place.database === null)) {
    const reason = isRoles
      ? `roles are of a whole server: ${place.server}, not ${target}`
      : `name a database, as in ${place.server}/shop; with \`roles: true\` the roles of ${place.server} are backed up`
    throw new PgproofError('USAGE_INVALID', { reason })
  }
  if (place.database !== null) assertConfigured(place.server, place.database, { config })
  return place
}

/** Throws DATABASE_NOT_CONFIGURED or SERVER_UNKNOWN. */
export function assertConfigured(server: string, database: string, { config }: Pick<Installation, 'config'>): void {
  if (!isConfigured(serverNamed(config, server), database))
    throw new PgproofError('DATABASE_NOT_CONFIGURED', { server, database })
}

/** Throws also where what was restored could not be put in place. */
export async function restoreAs(
  wish: Pick<RestoreWish, 'choice' | 'server' | 'database' | 'target' | 'mode'>,
  { disconnect, roles, owners, privileges, verify, jobs, onProgress }: RestoreManner,
  installation: Installation,
  signal: AbortSignal,
): Promise<RestoreResult> {
  const manner = { disconnect, roles, owners, privileges, verify, jobs }
  const request = await restoreRequest({ ...wish, ...manner }, installation)
  const result = await runRestore(request, { ...installation, onProgress: onProgress && unfailing(onProgress) }, signal)
  if (result.error !== null) throw result.error
  return result
}
