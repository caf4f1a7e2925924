import { PgproofError, toPgproofError } from '../errors.ts'
import type { Answer } from './context.ts'
import { type DaemonRun, daemonOrderedDrills, daemonStatus } from './daemon-answers.ts'
import { askDaemon, type Daemon, orderFromDaemon } from './daemon-client.ts'
import { DaemonRefusal, failureAtDaemon } from './daemon-refusal.ts'
import { cancellingTogether, eachOrdered, followAtDaemon, orderedLine, runDocument } from './daemon-run.ts'
import { assertMeaningful, type DrillFlags } from './drill.ts'
import { failureDocument } from './failure.ts'
import { serversOf } from './list-daemon.ts'
import { counted, printable, widthOf } from './print.ts'
import { parseTarget, placeName } from './target.ts'

type Refused = { readonly server: string; readonly database: string | null; readonly error: PgproofError }
type Ended = { readonly run: DaemonRun; readonly error: PgproofError | null }

/**
 * A drill of every database that has a backup, of one server or of all, ordered at a daemon at once and followed one after
 * the other. The exit code goes by the worst verdict: 0, 14 or 3; what was refused counts as a failure. Where none failed as
 * far as is known, and the daemon is gone before all have ended, it is that of why.
 */
export async function drillAllAtDaemon(
  daemon: Daemon,
  operand: string | undefined,
  flags: DrillFlags,
): Promise<Answer> {
  const { context } = daemon
  for (const name of ['backup', 'from', 'full'] as const)
    if (flags[name] !== undefined)
      throw new PgproofError('USAGE_INVALID', { reason: `--${name} has no meaning with --all` })
  assertMeaningful(flags)
  const { pick, seed } = flags
  const rule = pick ?? (seed === undefined ? undefined : 'random')
  const runs: DaemonRun[] = []
  const refused: Refused[] = []
  for (const server of await serversAt(daemon, operand)) {
    const body = JSON.parse(JSON.stringify({ server, pick: rule, seed })) as object
    try {
      const answer = await orderFromDaemon(daemon, 'v1/drills', { scope: 'drill', body, schema: daemonOrderedDrills })
      runs.push(...answer.ordered)
      refused.push(...answer.refused.map((one) => ({ ...one, error: refusal(one) })))
    } catch (error) {
      // Of several servers one may have nothing to drill.
      if (operand !== undefined || !(error instanceof DaemonRefusal)) throw error
      refused.push({ server, database: null, error })
    }
  }
  for (const { server, database, error } of refused)
    context.complain(error, database === null ? server : placeName({ server, database }))
  const total = counted(runs.length + refused.length, 'drill')
  const refusals = { refused: refused.map(refusedDocument) }
  if (flags.detach === true) {
    const text = runs.map((run) => orderedLine(run, context)).join('\n')
    const error = refused.length === 0 ? null : new PgproofError('RUNS_FAILED', { count: refused.length, total })
    return { document: { runs: runs.map(runDocument), ...refusals }, text, error }
  }
  const ended = await followAll(runs, daemon)
  const document = { runs: ended.map(({ run }) => runDocument(run)), ...refusals }
  if (context.signal.aborted) return { document, error: toPgproofError(context.signal.reason, 'the drills') }
  const bad = ended.filter(({ error }) => error !== null)
  const count = bad.length + refused.length
  if (count === 0) return { document }
  const isFailed = refused.length > 0 || bad.some(({ run }) => run.state === 'failed')
  const isInconclusive = bad.some(({ run }) => run.state === 'inconclusive')
  const unknown = bad.find(({ run }) => run.finishedAt === null)?.error
  const error = new PgproofError('RUNS_FAILED', { count, total })
  return { document, error, exitCode: isFailed ? 3 : (unknown?.exitCode ?? (isInconclusive ? 14 : 130)) }
}

/** The server that is named, or all that have a backup. Throws USAGE_INVALID for a single database. */
async function serversAt(daemon: Daemon, operand: string | undefined): Promise<readonly string[]> {
  const status = await askDaemon(daemon, 'v1/status', daemonStatus)
  if (operand === undefined) {
    const stored = status.databases.filter(({ newestBackup }) => newestBackup !== null)
    if (stored.length > 0) return [...new Set(stored.map(({ server }) => server))]
    throw new PgproofError('NO_BACKUP', { what: 'any configured database' })
  }
  const { server, database } = parseTarget(
    operand,
    serversOf(status).map((name) => ({ name })),
  )
  if (database === null) return [server]
  throw new PgproofError('USAGE_INVALID', { reason: `--all is of a server, and ${operand} is one database` })
}

/** Once the command is cancelled, so are all that have not ended. */
async function followAll(runs: readonly DaemonRun[], daemon: Daemon): Promise<Ended[]> {
  const { context } = daemon
  const width = Math.max(...runs.map((run) => widthOf(printable(place(run)))), 0)
  const ended: Ended[] = []
  const open = (): readonly DaemonRun[] => runs.filter(({ id }) => !ended.some(({ run }) => run.id === id))
  using _together = cancellingTogether(open, daemon)
  for (const run of eachOrdered(runs, context))
    try {
      const last = await followAtDaemon(run, {}, daemon)
      const error = last.error === null ? null : failureAtDaemon(last.error)
      ended.push({ run: last, error })
      context.say(line(last, width))
    } catch (thrown) {
      if (context.signal.aborted) continue
      const error = toPgproofError(thrown, 'the drill')
      ended.push({ run, error })
      context.complain(error, place(run))
    }
  return ended
}

const verdicts: Readonly<Record<string, string>> = { succeeded: 'passed', failed: 'FAILED' }

function line(run: DaemonRun, width: number): string {
  const where = printable(place(run))
  const start = `${where}${' '.repeat(Math.max(0, width - widthOf(where)))}`
  const parts = [verdicts[run.state] ?? run.state, run.label, run.error?.message]
  return `${start}  ${printable(parts.flatMap((part) => part ?? []).join('  '))}`
}

function place({ server, database }: DaemonRun): string {
  return placeName({ server, database })
}

function refusal({ code, message, hint, run }: { code: string; message: string; hint: string; run: string | null }) {
  const { code: known } = failureAtDaemon({ code, message, hint })
  return new DaemonRefusal(known, { message, hint, run: run ?? undefined })
}

function refusedDocument({ server, database, error }: Refused): object {
  return { server, database, error: failureDocument(error) }
}
