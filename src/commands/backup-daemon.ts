import { PgproofError } from '../errors.ts'
import type { BackupFlags } from './backup.ts'
import { type BackupOrder, type BackupOutcome, backUpAll, failedBackup } from './backup-outcome.ts'
import type { Answer } from './context.ts'
import { type DaemonRun, type DaemonStatus, daemonBackupDetails, daemonStatus } from './daemon-answers.ts'
import { askDaemon, type Daemon } from './daemon-client.ts'
import { failureAtDaemon } from './daemon-refusal.ts'
import { type DaemonOrder, followAtDaemon, orderedLine, orderRun, runDocument } from './daemon-run.ts'
import { serversOf } from './list-daemon.ts'
import { parseTarget, placeName } from './target.ts'

/** The same backups, made by a daemon: ordered one after the other and followed, or only ordered with --detach. */
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
  const perform = async (order: BackupOrder): Promise<BackupOutcome | null> => {
    const startedMs = context.clock.monotonicMs()
    const seconds = (): number => (context.clock.monotonicMs() - startedMs) / 1000
    try {
      return await unlessLeftOut(order, async () => ({ ...(await backUp(order, status, daemon)), seconds: seconds() }))
    } catch (thrown) {
      return failedBackup(order, seconds(), thrown)
    }
  }
  if (flags.detach !== true) return await backUpAll(orders, [], perform, context)

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

async function backUp(
  order: BackupOrder,
  status: DaemonStatus,
  daemon: Daemon,
): Promise<Omit<BackupOutcome, 'seconds'>> {
  const known = status.databases.find(({ server, database }) => server === order.server && database === order.database)
  const bytes = known?.newestBackup?.dumpBytes
  const before = bytes === undefined ? undefined : { manifest: { dump: { bytes } } }
  const run = await followAtDaemon(await orderRun(daemonOrder(order), daemon), { backup: before }, daemon)
  if (run.error !== null) throw failureAtDaemon(run.error)
  if (run.label === null) throw new PgproofError('CANCELLED', { what: 'the backup' })
  const query = new URLSearchParams({ kind: order.job === 'roles' ? 'roles' : 'database', server: order.server })
  if (order.database !== null) query.set('database', order.database)
  const path = `v1/backups/${encodeURIComponent(run.label)}?${query}`
  const { manifest } = await askDaemon(daemon, path, daemonBackupDetails)
  const held = new Set(manifest.stores.map(({ name }) => name))
  const lacking = status.store.places.flatMap(({ name }) => (held.has(name) ? [] : [name]))
  return { ...order, manifest, lacking, pruned: [], pruneError: null, error: null }
}
