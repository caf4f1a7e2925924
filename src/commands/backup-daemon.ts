import { PgproofError, toPgproofError } from '../errors.ts'
import type { BackupFlags } from './backup.ts'
import { type BackupOrder, type BackupOutcome, backUpAll, failedBackup } from './backup-outcome.ts'
import type { Answer } from './context.ts'
import { type DaemonRun, type DaemonStatus, daemonBackupDetails, daemonStatus } from './daemon-answers.ts'
import { askDaemon, type Daemon } from './daemon-client.ts'
import { failureAtDaemon } from './daemon-refusal.ts'
import {
  cancellingTogether,
  type DaemonOrder,
  eachOrdered,
  followAtDaemon,
  orderedLine,
  orderRun,
  patiently,
  runDocument,
  tellCancelled,
} from './daemon-run.ts'
import { serversOf } from './list-daemon.ts'
import { type Given, isRun, OrdersAhead } from './orders-ahead.ts'
import { parseTarget, placeName } from './target.ts'

/**
 * The same backups, made by a daemon: they are ordered ahead, so that a fleet takes as many at once as it can, and followed,
 * unless --detach. Once the command is cancelled, so are all that have not ended.
 */
export async function backUpAtDaemon(daemon: Daemon, operands: readonly string[], flags: BackupFlags): Promise<Answer> {
  const { context } = daemon
  const status = await askDaemon(daemon, 'v1/status', daemonStatus)
  const orders = ordersOf(operands, flags.roles === true, status)
  if (orders.length === 0)
    throw new PgproofError('USAGE_INVALID', { reason: 'the daemon knows no database yet; name one as server/database' })
  const names = new Set(operands)
  // A database that is only in the store still, and that nobody named, is none that the daemon fails to back up.
  const unlessLeftOut = async <T>(order: BackupOrder, work: () => Promise<T>): Promise<T | null> => {
    try {
      return await work()
    } catch (error) {
      const isLeftOut = error instanceof PgproofError && error.code === 'DATABASE_NOT_CONFIGURED'
      if (!isLeftOut || names.has(placeName(order))) throw error
      return null
    }
  }
  if (flags.detach !== true) {
    const give = async (order: BackupOrder): Promise<Given> => {
      try {
        const run = await unlessLeftOut(order, () => patiently(() => orderRun(daemonOrder(order), daemon), context))
        // Cancelled before its order was answered: it was not among those that were cancelled together.
        if (run !== null && context.signal.aborted) await tellCancelled(run, daemon)
        return run
      } catch (thrown) {
        return toPgproofError(thrown, 'the backup')
      }
    }
    const ahead = new OrdersAhead(orders, give)
    using _together = cancellingTogether(() => ahead.open(), daemon)
    const follow = async (order: BackupOrder): Promise<BackupOutcome | null> => {
      const given = await ahead.given(order, context.signal)
      try {
        if (given === null) return null
        return isRun(given) ? await followBackup(order, given, status, daemon) : failedBackup(order, 0, given)
      } catch (thrown) {
        return failedBackup(order, 0, thrown)
      } finally {
        ahead.ended(order)
      }
    }
    return await backUpAll(orders, [], follow, context, eachOrdered(orders, context))
  }

  const runs: DaemonRun[] = []
  for (const order of orders) {
    const run = await unlessLeftOut(order, () => orderRun(daemonOrder(order), daemon))
    if (run !== null) runs.push(run)
  }
  return { document: { runs: runs.map(runDocument) }, text: runs.map((run) => orderedLine(run, context)).join('\n') }
}

/** A server alone stands for all databases that the daemon knows of it. */
function ordersOf(operands: readonly string[], withRoles: boolean, status: DaemonStatus): BackupOrder[] {
  const servers = serversOf(status)
  const named = operands.map((operand) =>
    parseTarget(
      operand,
      servers.map((name) => ({ name })),
    ),
  )
  const targets = named.length > 0 ? named : servers.map((server) => ({ server, database: null }))
  const orders = new Map<string, BackupOrder>()
  const add = (order: BackupOrder): unknown => orders.set(JSON.stringify(order), order)
  for (const { server, database } of targets)
    if (database !== null) add({ job: 'backup', server, database })
    else if (!withRoles)
      for (const one of status.databases.filter((known) => known.server === server))
        add({ job: 'backup', server, database: one.database })
  if (withRoles) for (const { server } of targets) add({ job: 'roles', server, database: null })
  return [...orders.values()]
}

function daemonOrder({ server, database }: BackupOrder): DaemonOrder {
  const body = database === null ? { server, roles: true } : { server, database }
  return { path: 'v1/backups', scope: 'backup', body }
}

async function followBackup(
  order: BackupOrder,
  ordered: DaemonRun,
  status: DaemonStatus,
  daemon: Daemon,
): Promise<BackupOutcome> {
  const known = status.databases.find(({ server, database }) => server === order.server && database === order.database)
  const bytes = known?.newestBackup?.dumpBytes
  const before = bytes === undefined ? undefined : { manifest: { dump: { bytes } } }
  const run = await followAtDaemon(ordered, { backup: before }, daemon)
  const seconds = secondsOf(run)
  if (run.error !== null) return failedBackup(order, seconds, failureAtDaemon(run.error))
  if (run.label === null) return failedBackup(order, seconds, new PgproofError('CANCELLED', { what: 'the backup' }))
  const query = new URLSearchParams({ kind: order.job === 'roles' ? 'roles' : 'database', server: order.server })
  if (order.database !== null) query.set('database', order.database)
  const path = `v1/backups/${encodeURIComponent(run.label)}?${query}`
  // It is there, also where the command has been cancelled meanwhile.
  const unhurried = { ...daemon, context: { ...daemon.context, signal: new AbortController().signal } }
  const { manifest } = await patiently(() => askDaemon(unhurried, path, daemonBackupDetails), unhurried.context)
  const held = new Set(manifest.stores.map(({ name }) => name))
  const lacking = status.store.places.flatMap(({ name }) => (held.has(name) ? [] : [name]))
  return { ...order, seconds, manifest, lacking, pruned: [], pruneError: null, error: null }
}

/** How long it was carried out, by the daemon's clock: it may have waited before, and ended while another was followed. */
function secondsOf({ startedAt, finishedAt }: DaemonRun): number {
  return startedAt === null || finishedAt === null ? 0 : Math.max(0, finishedAt.getTime() - startedAt.getTime()) / 1000
}
