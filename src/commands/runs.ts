import { PgproofError } from '../errors.ts'
import type { Answer, CommandContext } from './context.ts'
import { type DaemonRun, daemonRun, pageOf } from './daemon-answers.ts'
import { askDaemon, cancelAtDaemon, type Daemon, type DaemonFlags, namedDaemon } from './daemon-client.ts'
import { runDocument } from './daemon-run.ts'
import { titleOf } from './follow-run.ts'
import { type Cell, formatAge, formatSeconds, formatTable, type Painter, printable, type Tone } from './print.ts'

export type RunsFlags = DaemonFlags

/** The runs of a daemon since it started, newest first, those that wait among them. */
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
  if (runs.length === 0) return 'No runs since the daemon started.'
  const rows = runs.map((run): Cell[] => {
    const { id, trigger, state, position, queuedAt, startedAt, finishedAt, label, error } = run
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
      error?.message ?? label ?? '',
    ]
  })
  const titles = ['RUN', 'WHAT', 'BY', 'ORDERED', 'STATE', 'TOOK', 'RESULT']
  return formatTable(
    titles.map((title) => ({ title, align: title === 'TOOK' || title === 'ORDERED' ? 'right' : 'left' })),
    rows,
    paint,
  )
}

async function neededDaemon(flags: RunsFlags, context: CommandContext): Promise<Daemon> {
  const daemon = await namedDaemon(flags, context)
  if (daemon !== undefined) return daemon
  throw new PgproofError('USAGE_INVALID', { reason: 'runs are those of a daemon: name it by --url or PGPROOF_URL' })
}
