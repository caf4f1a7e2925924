import type { Run } from '../catalog/runs.ts'
import type { Manifest } from '../domain/manifest.ts'
import { assertNotAborted, PgproofError, toPgproofError } from '../errors.ts'
import { executeRun, type Finished } from '../jobs/execute.ts'
import { databasesOf, type Installation, isConfigured, serverNamed } from '../jobs/installation.ts'
import { newRun } from '../jobs/run-job.ts'
import type { Answer, CommandContext } from './context.ts'
import type { JsonDocument } from './documents.ts'
import { failureDocument } from './failure.ts'
import { followRun } from './follow-run.ts'
import { openConfig, openInstallation } from './open.ts'
import { counted, formatBytes, formatSeconds, printable, widthOf } from './print.ts'
import { parseTarget, placeName, type Target } from './target.ts'
import { evidenceText, omissionText } from './wording.ts'

export type BackupFlags = { readonly roles?: boolean }

/** One backup after the other, the rest after a failure too; the answer says which of them there are now. */
export async function backupCommand(
  context: CommandContext,
  operands: readonly string[],
  flags: BackupFlags,
): Promise<Answer> {
  // 1. What is asked for, as far as the configuration can tell.
  const config = await openConfig(context)
  const named = operands.map((operand) => parseTarget(operand, config.servers))
  for (const { server, database } of named)
    if (database !== null && !isConfigured(serverNamed(config, server), database))
      throw new PgproofError('DATABASE_NOT_CONFIGURED', { server, database })
  const targets = named.length > 0 ? named : config.servers.map(({ name }) => ({ server: name, database: null }))

  // 2. Each in turn. A server that cannot be asked for its databases is a failure like any other.
  await using wired = await openInstallation(context, config, { writes: true, needsCatalog: true })
  const { installation } = wired
  const results: BackupOutcome[] = []
  const orders = await listOrders(targets, flags.roles === true, installation, context, results)
  const width = Math.max(...[...results, ...orders].map((place) => widthOf(printable(placeName(place)))), 0)
  for (const result of results) context.say(outcomeLine(result, width))
  for (const order of orders) {
    const result = await backUp(order, installation, context)
    results.push(result)
    context.say(outcomeLine(result, width))
    if (result.pruned.length > 0) context.note(`pruned, as \`retention\` says: ${labelsText(result.pruned)}`)
    if (result.pruneError != null) context.warn(pruneWarning(result, result.pruneError))
    if (context.signal.aborted) break
  }

  // 3. One failure speaks for itself; of several each is told, and all together are one answer.
  return { document: { runs: results.map(outcomeDocument) }, error: overall(results, orders, context) }
}

function labelsText(labels: readonly string[]): string {
  const rest = labels.length - 10
  return labels.slice(0, 10).join(', ') + (rest > 0 ? ` and ${rest} more` : '')
}

/** A run that is to be made: of a database, or of a server's roles. */
type Order = Pick<Run, 'server' | 'database'> & { readonly job: 'backup' | 'roles' }

type BackupOutcome = Order & {
  readonly seconds: number
  readonly manifest: Manifest | null
  /** Names of stores that did not get it. */
  readonly lacking: readonly string[]
  readonly pruned: readonly string[]
  readonly pruneError: PgproofError | null
  /** Null exactly if there is a manifest. */
  readonly error: PgproofError | null
}

/** The databases of the targets, then the roles: a role that a dump needs exists by then. */
async function listOrders(
  targets: readonly Target[],
  withRoles: boolean,
  { config }: Installation,
  context: CommandContext,
  failures: BackupOutcome[],
): Promise<Order[]> {
  const orders = new Map<string, Order>()
  const add = (order: Order): unknown => orders.set(JSON.stringify(order), order)
  for (const { server, database } of targets) {
    if (database !== null) add({ job: 'backup', server, database })
    else if (!withRoles) {
      try {
        using _asking = context.progress.begin(`listing the databases of ${server}`)
        for (const name of await databasesOf(serverNamed(config, server), context.signal))
          add({ job: 'backup', server, database: name })
      } catch (thrown) {
        assertNotAborted(context.signal, 'the command')
        failures.push(failed({ job: 'backup', server, database: null }, 0, thrown))
      }
    }
  }
  if (withRoles) for (const { server } of targets) add({ job: 'roles', server, database: null })
  return [...orders.values()]
}

async function backUp(order: Order, installation: Installation, context: CommandContext): Promise<BackupOutcome> {
  const { clock, catalog } = installation
  const before = order.database === null ? undefined : catalog.newest(order.server, order.database)
  const run = newRun({ ...order, trigger: 'cli' }, installation)
  const startedMs = clock.monotonicMs()
  const seconds = (): number => (clock.monotonicMs() - startedMs) / 1000
  try {
    using _following = followRun(run, { backup: before }, installation, context)
    const finished: Finished = await executeRun(run, {}, installation, context.signal)
    if (finished.backup === undefined) throw new Error('a backup ended without its manifest')
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
    return failed(order, seconds(), thrown)
  }
}

function failed(order: Order, seconds: number, thrown: unknown): BackupOutcome {
  return {
    ...order,
    seconds,
    manifest: null,
    lacking: [],
    pruned: [],
    pruneError: null,
    error: toPgproofError(thrown, 'the backup'),
  }
}

function overall(
  results: readonly BackupOutcome[],
  orders: readonly Order[],
  context: CommandContext,
): PgproofError | null {
  const errors = results.flatMap((result) => (result.error === null ? [] : [{ result, error: result.error }]))
  if (context.signal.aborted && errors.length > 0) return toPgproofError(context.signal.reason, 'the command')
  const [first, ...others] = errors
  if (first === undefined || others.length === 0) return first?.error ?? null
  for (const { result, error } of errors) context.complain(error, placeOf(result))
  const total = Math.max(results.length, orders.length)
  return new PgproofError('RUNS_FAILED', { count: errors.length, total: counted(total, 'backup') })
}

/** A failure to list the databases has no database, and is not of the roles. */
function placeOf(result: Order): string {
  return result.job === 'backup' && result.database === null ? result.server : placeName(result)
}

function outcomeLine(result: BackupOutcome, width: number): string {
  const place = printable(placeOf(result))
  const start = `${place}${' '.repeat(Math.max(0, width - widthOf(place)))}`
  if (result.manifest === null)
    return result.error?.code === 'CANCELLED'
      ? `${start}  cancelled`
      : `${start}  FAILED  ${printable(result.error?.message ?? '')}`
  const { label, dump, objects, evidence, kind, rolePasswords, omissions } = result.manifest
  const parts = [`dump ${formatBytes(dump.bytes)}, stored ${formatBytes(objects.dump.bytes)}`]
  if (kind === 'database') parts.push(evidenceText(evidence))
  if (rolePasswords === 'absent') parts.push('without passwords (pg_authid may not be read)')
  else if (omissions.length > 0) parts.push(`not inside: ${omissionText(omissions)}`)
  if (result.lacking.length > 0) parts.push(`not in ${result.lacking.join(', ')}`)
  if (result.pruned.length > 0) parts.push(`${counted(result.pruned.length, 'old one')} pruned`)
  return `${start}  ${label}  ${formatSeconds(result.seconds).padStart(8)}  ${printable(parts.join('; '))}`
}

function pruneWarning(result: BackupOutcome, error: PgproofError): string {
  return `the backup of ${placeOf(result)} is complete, but the prune after it failed: ${error.message} (${error.hint})`
}

function outcomeDocument(result: BackupOutcome): JsonDocument {
  const { job, server, database, manifest, error, pruned, pruneError } = result
  return {
    job,
    server,
    database,
    outcome: error === null ? 'succeeded' : error.code === 'CANCELLED' ? 'cancelled' : 'failed',
    label: manifest?.label ?? null,
    seconds: Math.round(result.seconds * 1000) / 1000,
    snapshotTime: manifest?.snapshotTime ?? null,
    dumpBytes: manifest?.dump.bytes ?? null,
    storedBytes: manifest?.objects.dump.bytes ?? null,
    evidence: manifest?.kind === 'database' ? manifest.evidence : null,
    omissions: manifest?.omissions ?? [],
    pruned,
    pruneError: pruneError === null ? null : failureDocument(pruneError),
    error: error === null ? null : failureDocument(error),
  }
}
