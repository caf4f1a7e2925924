import type { Run } from '../catalog/runs.ts'
import type { Manifest } from '../domain/manifest.ts'
import { PgproofError, toPgproofError } from '../errors.ts'
import type { Answer, CommandContext } from './context.ts'
import type { JsonDocument } from './documents.ts'
import { failureDocument } from './failure.ts'
import { counted, formatBytes, formatSeconds, printable, widthOf } from './print.ts'
import { placeName } from './target.ts'
import { evidenceText, omissionText } from './wording.ts'

/** A run that is to be made: of a database, or of a server's roles. */
export type BackupOrder = Pick<Run, 'server' | 'database'> & { readonly job: 'backup' | 'roles' }

export type BackupOutcome = BackupOrder & {
  readonly seconds: number
  readonly manifest: Manifest | null
  /** Names of stores that did not get it. */
  readonly lacking: readonly string[]
  readonly pruned: readonly string[]
  readonly pruneError: PgproofError | null
  /** Null exactly if there is a manifest. */
  readonly error: PgproofError | null
}

export function failedBackup(order: BackupOrder, seconds: number, thrown: unknown): BackupOutcome {
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

/**
 * Each in turn, the rest after a failure too, and a line for each; `failures` are those that came before, and null says
 * that there was nothing to do. `turns` says whose turn it is; once the command is cancelled nobody's, unless given.
 */
export async function backUpAll(
  orders: readonly BackupOrder[],
  failures: readonly BackupOutcome[],
  backUp: (order: BackupOrder) => Promise<BackupOutcome | null>,
  context: CommandContext,
  turns: Iterable<BackupOrder> = untilCancelled(orders, context),
): Promise<Answer> {
  const results = [...failures]
  const width = Math.max(...[...results, ...orders].map((place) => widthOf(printable(placeName(place)))), 0)
  for (const result of results) context.say(outcomeLine(result, width))
  for (const order of turns) {
    const result = await backUp(order)
    if (result === null) continue
    results.push(result)
    context.say(outcomeLine(result, width))
    if (result.pruned.length > 0) context.note(`pruned, as \`retention\` says: ${labelsText(result.pruned)}`)
    if (result.pruneError != null) context.warn(pruneWarning(result, result.pruneError))
  }
  return { document: { runs: results.map(outcomeDocument) }, error: overall(results, orders, context) }
}

function* untilCancelled<T>(orders: readonly T[], { signal }: Pick<CommandContext, 'signal'>): Generator<T> {
  for (const order of orders) {
    yield order
    if (signal.aborted) return
  }
}

function labelsText(labels: readonly string[]): string {
  const rest = labels.length - 10
  return labels.slice(0, 10).join(', ') + (rest > 0 ? ` and ${rest} more` : '')
}

/** One failure speaks for itself; of several each is told, and all together are one answer. */
function overall(
  results: readonly BackupOutcome[],
  orders: readonly BackupOrder[],
  context: CommandContext,
): PgproofError | null {
  const errors = results.flatMap((result) => (result.error === null ? [] : [{ result, error: result.error }]))
  const isCutShort = results.length < orders.length
  if (context.signal.aborted && (errors.length > 0 || isCutShort))
    return toPgproofError(context.signal.reason, 'the command')
  const [first, ...others] = errors
  if (first === undefined || others.length === 0) return first?.error ?? null
  for (const { result, error } of errors) context.complain(error, placeOf(result))
  const total = Math.max(results.length, orders.length)
  return new PgproofError('RUNS_FAILED', { count: errors.length, total: counted(total, 'backup') })
}

/** A failure to list the databases has no database, and is not of the roles. */
function placeOf(result: BackupOrder): string {
  return result.job === 'backup' && result.database === null ? result.server : placeName(result)
}

/** For people, in a column of places so wide. */
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

/** For `--json`. */
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
