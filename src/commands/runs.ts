import { PgproofError } from '../errors.ts'
import type { Answer, CommandContext } from './context.ts'
import { type DaemonRun, daemonRun, pageOf } from './daemon-answers.ts'
import { askDaemon, cancelAtDaemon, type Daemon, type DaemonFlags, namedDaemon } from './daemon-client.ts'
import { runDocument } from './daemon-run.ts'
import { titleOf } from './follow-run.ts'
import { type Cell, formatAge, formatSeconds, formatTable, type Painter, printable, type Tone } from './print.ts'

export type RunsFlags = DaemonFlags

/** The runs of a daemon since it started, of a fleet for two days, newest first, those that wait among them. */
export async function runsCommand(context: CommandContext, flags: RunsFlags): Promise<Answer> {
  const daemon = await neededDaemon(flags, context)
  const { items } = await askDaemon(daemon, `v1/runs?limit=${shown}`, pageOf(daemonRun))
  return { document: { runs: items.map(runDocument) }, text: runsTable(items, context.clock.now(), context.paint) }
}

/** Cancels one run, which then cleans up and ends soon. Throws RUN_UNKNOWN or RUN_FINISHED. */
export async function cancelCommand(context: CommandContext, id: string, flags: RunsFlags): Promise<Answer> {
  const daemon = await neededDaemon(flags, context)
  const run = await cancelAtDaemon(daemon, id, daemonRun, context.signal)
  const what = printable(`${titleOf(run)} (run ${run.id})`)
  return {
    document: { run: runDocument(run) },
    text: `${what} ${run.finishedAt === null ? 'is being' : 'was'} cancelled`,
  }
}

const shown = 100

const tones: Readonly<Record<string, Tone>> = {
  succeeded: 'good',
  failed: 'bad',
  inconclusive: 'doubtful',
  cancelled: 'doubtful',
  running: 'strong',
}

function runsTable(runs: readonly DaemonRun[], now: Date, paint: Painter): string {
  if (runs.length === 0)
    return 'No runs are known: a daemon has those since it started, a fleet also those of the last two days.'
  const hasWorkers = runs.some(({ worker }) => worker !== null)
  const rows = runs.map((run): Cell[] => {
    const { id, trigger, worker, state, position, queuedAt, startedAt, finishedAt, label, error } = run
    const tone = tones[state]
    const waits = position === null ? state : `${state}, ${position} before it`
    const seconds = startedAt === null ? null : ((finishedAt ?? now).getTime() - startedAt.getTime()) / 1000
    return [
      id,
      titleOf(run),
      trigger,
      formatAge(queuedAt, now),
      tone === undefined ? waits : { text: waits, tone },
      seconds === null ? '' : formatSeconds(Math.max(0, seconds)),
      ...(hasWorkers ? [worker ?? ''] : []),
      error?.message ?? label ?? '',
    ]
  })
  const titles = ['RUN', 'WHAT', 'BY', 'ORDERED', 'STATE', 'TOOK', ...(hasWorkers ? ['WORKER'] : []), 'RESULT']
  return formatTable(
    titles.map((title) => ({ title, align: title === 'TOOK' || title === 'ORDERED' ? 'right' : 'left' })),
    rows,
    paint,
  )
}

/** Throws USAGE_INVALID where none is named. */
export async function neededDaemon(
  flags: RunsFlags,
  context: CommandContext,
  what = 'runs are those',
): Promise<Daemon> {
  const daemon = await namedDaemon(flags, context)
  if (daemon !== undefined) return daemon
  throw new PgproofError('USAGE_INVALID', { reason: `${what} of a daemon: name it by --url or PGPROOF_URL` })
}
