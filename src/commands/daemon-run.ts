import { assertNotAborted, PgproofError, toPgproofError } from '../errors.ts'
import type { CommandContext } from './context.ts'
import { type DaemonRun, daemonRun } from './daemon-answers.ts'
import { cancelAtDaemon, type Daemon, eventsOf, orderFromDaemon } from './daemon-client.ts'
import { type Before, progressState, titleOf } from './follow-run.ts'
import { counted, printable } from './print.ts'

export type DaemonOrder =
  | { readonly path: 'v1/drills'; readonly scope: 'drill'; readonly body: object }
  | { readonly path: 'v1/backups'; readonly scope: 'backup'; readonly body: object }

export async function orderRun(order: DaemonOrder, daemon: Daemon): Promise<DaemonRun> {
  return await orderFromDaemon(daemon, order.path, { ...order, schema: daemonRun })
}

/**
 * Shows the progress of a run until it has ended, and gives it as it is then. When the command is cancelled so is the run.
 * Connections that break are made again. Throws RUN_LOST where the daemon was started anew meanwhile.
 */
export async function followAtDaemon(run: DaemonRun, before: Before, daemon: Daemon): Promise<DaemonRun> {
  const { context } = daemon
  using activity = context.progress.begin(titleOf(run))
  const show = (changed: DaemonRun): void => {
    if (changed.position !== null && changed.position > 0)
      activity.update({ note: `waits behind ${counted(changed.position, 'run')}` })
    else if (changed.progress !== null) activity.update(progressState(run, known(changed.progress), before))
  }
  try {
    return await untilEnded(run, show, daemon, context.signal)
  } catch (error) {
    if (!context.signal.aborted) throw error
    activity[Symbol.dispose]()
    return await cancelRun(run, daemon)
  }
}

/** How often a connection may break with nothing arriving in between; about a minute and a half. */
const patience = 20
const longestPauseMs = 5000
const passing: ReadonlySet<string> = new Set(['DAEMON_UNREACHABLE', 'RATE_LIMITED', 'SHUTTING_DOWN', 'NOT_READY'])

async function untilEnded(
  ordered: DaemonRun,
  show: (run: DaemonRun) => void,
  daemon: Daemon,
  signal: AbortSignal,
): Promise<DaemonRun> {
  for (let failures = 1; ; failures += 1) {
    let reason: unknown = new PgproofError('DAEMON_UNREACHABLE', {
      url: daemon.base.href,
      reason: 'it ends the connection while the run goes on',
    })
    try {
      for await (const run of eventsOf(daemon, `v1/runs/${encodeURIComponent(ordered.id)}/events`, daemonRun, signal)) {
        failures = 0
        if (run.finishedAt !== null) return run
        show(run)
      }
    } catch (error) {
      assertNotAborted(signal, 'the command')
      if (!(error instanceof PgproofError) || !passing.has(error.code))
        throw isUnknown(error) ? lost(ordered, daemon) : error
      reason = error
    }
    if (failures >= patience) throw reason
    await daemon.context.clock.sleep(Math.min(longestPauseMs, 250 * (failures + 1)), signal)
  }
}

/** It knew the run when it took the order, and forgets none that goes on: it has been started anew. */
function isUnknown(error: unknown): boolean {
  return error instanceof PgproofError && error.code === 'RUN_UNKNOWN'
}

function lost(run: DaemonRun, { base }: Daemon): PgproofError {
  return new PgproofError('RUN_LOST', { what: `${titleOf(run)} (run ${run.id})`, url: base.href })
}

const cancelTimeoutMs = 10_000
/** A run that is cancelled has programs to end and a scratch server to remove. */
const cleanUpMs = 30_000

/** Gives the run as it ended. Throws what cancelled the command where that is not known in time. */
async function cancelRun(run: DaemonRun, daemon: Daemon): Promise<DaemonRun> {
  const { context } = daemon
  const what = printable(`${titleOf(run)} (run ${run.id})`)
  try {
    const cancel = () => cancelAtDaemon(daemon, run.id, daemonRun, AbortSignal.timeout(cancelTimeoutMs))
    await patiently(cancel, { ...context, signal: new AbortController().signal })
  } catch (thrown) {
    if (isUnknown(thrown)) {
      context.warn(lost(run, daemon).message)
      throw context.signal.reason
    }
    const { code, message } = toPgproofError(thrown)
    // It was over a moment before.
    if (code !== 'RUN_FINISHED') {
      context.warn(`${what} goes on at the daemon, it could not be cancelled: ${message}`)
      throw context.signal.reason
    }
  }
  try {
    const ended = await untilEnded(run, () => {}, daemon, AbortSignal.timeout(cleanUpMs))
    context.note(ended.state === 'cancelled' ? `${what} was cancelled at the daemon` : `${what} had ended already`)
    return ended
  } catch {
    context.note(`${what} is being cancelled at the daemon`)
    throw context.signal.reason
  }
}

/** What a run that was only ordered is answered with. */
export function orderedLine(run: DaemonRun, { paint }: CommandContext): string {
  const place = run.position !== null && run.position > 0 ? `, behind ${counted(run.position, 'run')}` : ''
  return `${paint(run.id, 'strong')}  ${printable(titleOf(run))} is ordered${place}`
}

/** For `--json`. */
export function runDocument(run: DaemonRun): Readonly<Record<string, unknown>> {
  return { ...run }
}

/** Without the fields that were not said. */
function known(progress: NonNullable<DaemonRun['progress']>): Parameters<typeof progressState>[1] {
  return JSON.parse(JSON.stringify(progress)) as Parameters<typeof progressState>[1]
}

/**
 * Once the command is cancelled, tells the daemon so of all of `open()`, the last first, without waiting for any of them to
 * end: while one cleans up others would begin, and a second Ctrl-C would leave them to the daemon. Whoever follows them
 * sees how each ends.
 */
export function cancellingTogether(open: () => readonly DaemonRun[], daemon: Daemon): Disposable {
  const { signal } = daemon.context
  const cancelAll = async (): Promise<void> => {
    for (const run of open().toReversed()) await tellCancelled(run, daemon)
  }
  const onAbort = (): void => void cancelAll()
  signal.addEventListener('abort', onAbort, { once: true })
  return { [Symbol.dispose]: () => signal.removeEventListener('abort', onAbort) }
}

/** Never rejects: of one that is over, or that cannot be cancelled, whoever follows it is told. */
export async function tellCancelled({ id }: DaemonRun, daemon: Daemon): Promise<void> {
  await cancelAtDaemon(daemon, id, daemonRun, AbortSignal.timeout(cancelTimeoutMs)).catch(() => {})
}

/**
 * What was ordered together, in its order; once the command is cancelled the last first, or the next would begin while the
 * one before it ends.
 */
export function* eachOrdered<T>(ordered: readonly T[], { signal }: Pick<CommandContext, 'signal'>): Generator<T> {
  const left = [...ordered]
  while (left.length > 0) yield (signal.aborted ? left.pop() : left.shift()) as T
}

/** Whoever asks much at once is refused for a while, which is no failure of what was asked. A minute and a half. */
export async function patiently<T>(work: () => Promise<T>, { clock, signal }: CommandContext): Promise<T> {
  for (let refusals = 1; ; refusals += 1)
    try {
      return await work()
    } catch (error) {
      const isPassing = error instanceof PgproofError && error.code === 'RATE_LIMITED'
      if (!isPassing || refusals > patience || signal.aborted) throw error
      await clock.sleep(longestPauseMs, signal)
    }
}
