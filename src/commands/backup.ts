import assert from 'node:assert/strict'
import { assertNotAborted, PgproofError } from '../errors.ts'
import { executeRun, type Finished } from '../jobs/execute.ts'
import { databasesOf, type Installation, isConfigured, serverNamed } from '../jobs/installation.ts'
import { newRun } from '../jobs/run-job.ts'
import { type BackupOrder, type BackupOutcome, backUpAll, failedBackup } from './backup-outcome.ts'
import type { Answer, CommandContext } from './context.ts'
import type { DaemonFlags } from './daemon-client.ts'
import { followRun } from './follow-run.ts'
import { openConfig, openInstallation } from './open.ts'
import { parseTarget, type Target } from './target.ts'

export type BackupFlags = DaemonFlags & {
  readonly roles?: boolean
  /** At a daemon: only order, without waiting. */
  readonly detach?: boolean
}

/** One backup after the other, the rest after a failure too; the answer says which of them there are now. */
export async function backupCommand(
  context: CommandContext,
  operands: readonly string[],
  flags: BackupFlags,
): Promise<Answer> {
  if (flags.detach === true)
    throw new PgproofError('USAGE_INVALID', { reason: '--detach has no meaning without --url' })

  // 1. What is asked for, as far as the configuration can tell.
  const config = await openConfig(context, undefined, { drillsNothing: true })
  const named = operands.map((operand) => parseTarget(operand, config.servers))
  for (const { server, database } of named)
    if (database !== null && !isConfigured(serverNamed(config, server), database))
      throw new PgproofError('DATABASE_NOT_CONFIGURED', { server, database })
  const targets = named.length > 0 ? named : config.servers.map(({ name }) => ({ server: name, database: null }))

  // 2. Each in turn. A server that cannot be asked for its databases is a failure like any other.
  await using wired = await openInstallation(context, config, { writes: true, needsCatalog: true })
  const { installation } = wired
  const failures: BackupOutcome[] = []
  const orders = await listOrders(targets, flags.roles === true, installation, context, failures)
  return await backUpAll(orders, failures, (order) => backUp(order, installation, context), context)
}

/** The databases of the targets, then the roles: a role that a dump needs exists by then. */
async function listOrders(
  targets: readonly Target[],
  withRoles: boolean,
  { config }: Installation,
  context: CommandContext,
  failures: BackupOutcome[],
): Promise<BackupOrder[]> {
  const orders = new Map<string, BackupOrder>()
  const add = (order: BackupOrder): unknown => orders.set(JSON.stringify(order), order)
  for (const { server, database } of targets) {
    if (database !== null) add({ job: 'backup', server, database })
    else if (!withRoles) {
      try {
        using _asking = context.progress.begin(`listing the databases of ${server}`)
        for (const name of await databasesOf(serverNamed(config, server), context.signal))
          add({ job: 'backup', server, database: name })
      } catch (thrown) {
        assertNotAborted(context.signal, 'the command')
        failures.push(failedBackup({ job: 'backup', server, database: null }, 0, thrown))
      }
    }
  }
  if (withRoles) for (const { server } of targets) add({ job: 'roles', server, database: null })
  return [...orders.values()]
}

async function backUp(order: BackupOrder, installation: Installation, context: CommandContext): Promise<BackupOutcome> {
  const { clock, catalog } = installation
  const before = order.database === null ? undefined : catalog.newest(order.server, order.database)
  const run = newRun({ ...order, trigger: 'cli' }, installation)
  const startedMs = clock.monotonicMs()
  const seconds = (): number => (clock.monotonicMs() - startedMs) / 1000
  try {
    using _following = followRun(run, { backup: before }, installation, context)
    const finished: Finished = await executeRun(run, {}, installation, context.signal)
    assert(finished.backup !== undefined, 'a backup ended without its manifest')
    const { manifest } = finished.backup
    const pruned = [...new Set(finished.prune?.removed.flatMap(({ backups }) => backups))]
    const held = new Set(manifest.stores.map(({ name }) => name))
    const lacking = installation.stores.named.flatMap(({ name }) => (held.has(name) ? [] : [name]))
    return {
      ...order,
      seconds: seconds(),
      manifest,
      lacking,
      pruned,
      pruneError: finished.pruneError ?? null,
      error: null,
    }
  } catch (thrown) {
    return failedBackup(order, seconds(), thrown)
  }
}
