import { PgproofError, toPgproofError } from '../errors.ts'
import type { Answer } from './context.ts'
import { type DaemonDatabase, type DaemonStatus, daemonBackupDetails, daemonStatus } from './daemon-answers.ts'
import { askDaemon, type Daemon } from './daemon-client.ts'
import { failureAtDaemon } from './daemon-refusal.ts'
import { followAtDaemon, orderedLine, orderRun, runDocument } from './daemon-run.ts'
import { assertMeaningful, type DrillFlags, proofNote } from './drill.ts'
import { drillPage } from './drill-page.ts'
import type { Before } from './follow-run.ts'
import { serversOf } from './list-daemon.ts'
import { reportAtDaemon } from './show-daemon.ts'
import { parseTarget } from './target.ts'

/** The same drill, carried out by a daemon; the exit code goes by its verdict as if it had run here. */
export async function drillAtDaemon(daemon: Daemon, operand: string | undefined, flags: DrillFlags): Promise<Answer> {
  const { context } = daemon
  for (const name of ['from', 'full'] as const)
    if (flags[name] !== undefined)
      throw new PgproofError('USAGE_INVALID', { reason: `--${name} has no meaning with --url` })
  assertMeaningful(flags)
  const status = await askDaemon(daemon, 'v1/status', daemonStatus)
  const place = await placeOf(operand, flags, status, daemon)
  const { backup, pick, seed } = flags
  const rule = pick ?? (seed === undefined ? undefined : 'random')
  const body = { ...place, ...JSON.parse(JSON.stringify({ backup, pick: rule, seed })) } as object
  const ordered = await orderRun({ path: 'v1/drills', scope: 'drill', body }, daemon)
  if (flags.detach === true) return { document: { run: runDocument(ordered) }, text: orderedLine(ordered, context) }

  const run = await followAtDaemon(ordered, await beforeIn(place, status, daemon), daemon)
  const error = run.error === null ? null : failureAtDaemon(run.error)
  if (run.label === null) throw error ?? new PgproofError('CANCELLED', { what: 'the drill' })
  const report = await reportAtDaemon(
    { ...daemon, context: { ...context, signal: new AbortController().signal } },
    run.label,
  )
  const { format: _format, storeId: _storeId, store: _store, ...drill } = report
  const text = drillPage({ report, tables: null, isFull: false }, context.paint)
  const document = { drill, run: runDocument(run) }
  if (context.signal.aborted) return { document, text, error: toPgproofError(context.signal.reason, 'the drill') }
  if (run.state === 'cancelled') return { document, text, error: new PgproofError('CANCELLED', { what: 'the drill' }) }
  if (report.verdict === 'passed') return { document, text }
  const reason = error?.message ?? report.reason?.message ?? report.verdict
  if (report.verdict === 'failed')
    return { document, text, error: new PgproofError('DRILL_FAILED', { reason, label: report.label }) }
  return { document, text, error: error ?? (report.reason && failureAtDaemon(report.reason)), exitCode: 14 }
}

type Place = { readonly server: string; readonly database: string }

/** The database that is named, that of the named backup, or the one with the oldest proof. */
async function placeOf(
  operand: string | undefined,
  { backup }: DrillFlags,
  status: DaemonStatus,
  daemon: Daemon,
): Promise<Place> {
  const servers = serversOf(status).map((name) => ({ name }))
  const target = operand === undefined ? undefined : parseTarget(operand, servers)
  if (target !== undefined && target.database !== null) return { server: target.server, database: target.database }
  if (backup !== undefined) return await placeOfBackup(backup, target?.server, daemon)
  const candidates = status.databases
    .filter(({ server, newestBackup }) => newestBackup !== null && (target === undefined || server === target.server))
    .toSorted(
      (a, b) =>
        finishedMs(a.lastPassedDrill) - finishedMs(b.lastPassedDrill) ||
        finishedMs(a.lastDrill) - finishedMs(b.lastDrill),
    )
  const [oldest] = candidates
  if (oldest === undefined)
    throw new PgproofError('NO_BACKUP', { what: target === undefined ? 'any configured database' : target.server })
  const { server, database, lastPassedDrill } = oldest
  const lastPassedAt = lastPassedDrill === null ? null : new Date(lastPassedDrill.finishedAt)
  if (candidates.length > 1)
    daemon.context.note(proofNote({ server, database, among: candidates.length, lastPassedAt }, status.time))
  return { server, database }
}

function finishedMs(drill: DaemonDatabase['lastDrill']): number {
  return drill === null ? 0 : Date.parse(drill.finishedAt)
}

async function placeOfBackup(label: string, of: string | undefined, daemon: Daemon): Promise<Place> {
  const query = new URLSearchParams(of === undefined ? {} : { server: of })
  const path = `v1/backups/${encodeURIComponent(label)}?${query}`
  const { manifest } = await askDaemon(daemon, path, daemonBackupDetails)
  const { server, database } = manifest
  if (database !== null) return { server, database }
  throw new PgproofError('USAGE_INVALID', {
    reason: `${label} is a roles backup; drills restore databases and replay the roles with them`,
  })
}

/** How long the phases took the last time, for the progress. */
async function beforeIn({ server, database }: Place, status: DaemonStatus, daemon: Daemon): Promise<Before> {
  const known = status.databases.find((one) => one.server === server && one.database === database)
  if (known?.lastPassedDrill == null) return {}
  try {
    return { drill: await reportAtDaemon(daemon, known.lastPassedDrill.label) }
  } catch {
    // Only an estimate is lost.
    return {}
  }
}
