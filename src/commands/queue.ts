import { refusedWords } from '../domain/refused-words.ts'
import type { Answer, CommandContext } from './context.ts'
import { type DaemonQueue, daemonQueue } from './daemon-answers.ts'
import { askDaemon, type DaemonFlags } from './daemon-client.ts'
import { titleOf } from './follow-run.ts'
import { type Cell, counted, formatAge, formatSeconds, formatTable, type Painter, printable } from './print.ts'
import { neededDaemon } from './runs.ts'

export type QueueFlags = DaemonFlags

/** What waits and goes on at a daemon or in its fleet, who does it, and what worries. Always exits with 0. */
export async function queueCommand(context: CommandContext, flags: QueueFlags): Promise<Answer> {
  const daemon = await neededDaemon(flags, context, 'the queue is that')
  const queue = await askDaemon(daemon, 'v1/queue', daemonQueue)
  const now = context.clock.now()
  const worries = queueWorries(queue, now)
  const { paint } = context
  const sections = [
    asOfLine(queue, now),
    countsTable(queue, paint),
    workersTable(queue, paint),
    runningTable(queue, paint),
    worries.length === 0
      ? paint('Nothing worries about the queue.', 'good')
      : [paint('What worries', 'bad'), ...worries.map((worry) => `  ${printable(worry)}`)].join('\n'),
  ]
  return { document: { ...queue, worries }, text: sections.filter((section) => section !== '').join('\n\n') }
}

/** The fleet is asked every few seconds; whoever has just ordered something wants to know that it is not in here yet. */
function asOfLine({ asOf }: DaemonQueue, now: Date): string {
  return now.getTime() - asOf.getTime() < 2000 ? '' : `As it was ${formatAge(asOf, now)}:`
}

function countsTable({ queues, workers, asOf }: DaemonQueue, paint: Painter): string {
  const isIdle = workers.every(({ running }) => running.length === 0)
  if (isIdle && queues.every(({ queued, active, failed }) => queued + active + failed === 0))
    return 'Nothing waits or goes on.'
  const rows = queues.map(({ name, queued, active, failed, oldestQueuedAt }): Cell[] => [
    name,
    String(queued),
    String(active),
    failed === 0 ? '0' : { text: String(failed), tone: 'doubtful' },
    oldestQueuedAt === null ? '' : formatAge(oldestQueuedAt, asOf),
  ])
  const titles = ['QUEUE', 'QUEUED', 'ACTIVE', 'FAILED IN 2 DAYS', 'OLDEST']
  return formatTable(
    titles.map((title) => ({ title, align: title === 'QUEUE' ? 'left' : 'right' })),
    rows,
    paint,
  )
}

function workersTable({ workers, asOf }: DaemonQueue, paint: Painter): string {
  const rows = workers.map((worker): Cell[] => [
    worker.name,
    worker.isAlive ? { text: 'alive', tone: 'good' } : { text: 'gone', tone: 'bad' },
    formatAge(worker.seenAt, asOf),
    `${worker.running.length} of ${worker.places}`,
    worker.may.join(', '),
    worker.labels.join(', '),
    worker.version,
    worker.hasTurn ? 'has the turn' : '',
  ])
  const titles = ['WORKER', 'STATE', 'LAST SIGN', 'BUSY', 'MAY', 'LABELS', 'VERSION', '']
  return formatTable(
    titles.map((title) => ({ title, align: title === 'LAST SIGN' ? 'right' : 'left' })),
    rows,
    paint,
  )
}

function runningTable({ workers, asOf }: DaemonQueue, paint: Painter): string {
  const rows = workers.flatMap(({ name, running }) =>
    running.map((run): Cell[] => [run.run, titleOf(run), name, formatAge(run.since, asOf), run.progress?.phase ?? '']),
  )
  if (rows.length === 0) return ''
  const titles = ['RUN', 'WHAT', 'WORKER', 'BEGAN', 'PHASE']
  return formatTable(
    titles.map((title) => ({ title, align: title === 'BEGAN' ? 'right' : 'left' })),
    rows,
    paint,
  )
}

/** What worries of the queue and its workers: one line each, the worst first. Not yet escaped. */
export function queueWorries(
  { isReachable, reason, asOf, queues, dead, workers, vanished }: DaemonQueue,
  now: Date,
): string[] {
  const gone = workers.filter(({ isAlive }) => !isAlive)
  const mostOffset = 60
  return [
    ...(isReachable
      ? []
      : [`${reason ?? 'the control database does not answer'}; this is how it was ${formatAge(asOf, now)}`]),
    ...dead.map(({ job, server, database, at, code, reason: why }) => {
      const what = job === null ? 'an entry that cannot be read' : titleOf({ job, server: server ?? '', database })
      return `${what}: given up ${formatAge(at, asOf)}: ${why} (${code})`
    }),
    ...queues.flatMap(({ name, queued, unserved }) =>
      unserved == null ? [] : [`queue ${name}: ${unserved}; ${counted(queued, 'entry', 'entries')} in it`],
    ),
    ...gone.map(({ name, seenAt, running }) => {
      const held = running.length === 0 ? '' : `, with ${counted(running.length, 'run')} in hand`
      return `worker ${name}: gave its last sign of life ${formatAge(seenAt, asOf)}${held}`
    }),
    // What a dead one did not do is no worry any more; that it is dead is.
    ...workers.flatMap(({ name, isAlive, refused }) =>
      (isAlive ? refused : []).map(({ code, reason: why, until, ...of }) => {
        const left =
          until == null || of.job == null
            ? ''
            : ` for another ${formatSeconds((until.getTime() - asOf.getTime()) / 1000)}`
        const isTaking = of.job != null || code === 'FLEET_RETENTION_DIFFERS'
        const words = isTaking
          ? refusedWords({ ...of, code })
          : `takes nothing of ${of.server ?? 'a whole queue'} for now`
        return `worker ${name}: ${words}${left}: ${why} (${code})`
      }),
    ),
    ...workers
      .filter(({ isAlive, clockOffsetSeconds }) => isAlive && Math.abs(clockOffsetSeconds) > mostOffset)
      .map(({ name, clockOffsetSeconds: offset }) => {
        const direction = offset > 0 ? 'ahead of' : 'behind'
        return `worker ${name}: its clock is ${formatSeconds(Math.abs(offset))} ${direction} the control database's`
      }),
    ...vanished.map(({ server, database }) => `${server}/${database}: is not on its server any more; its backups stay`),
  ]
}
