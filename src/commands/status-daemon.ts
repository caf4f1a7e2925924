import { isOverdue } from '../domain/overdue.ts'
import type { Answer } from './context.ts'
import { type DaemonDatabase, type DaemonRun, type DaemonStatus, daemonQueue, daemonStatus } from './daemon-answers.ts'
import { askDaemon, type Daemon } from './daemon-client.ts'
import { runDocument } from './daemon-run.ts'
import { titleOf } from './follow-run.ts'
import { pauseDocuments, pauseLines } from './pause-lines.ts'
import { counted, formatSeconds, printable } from './print.ts'
import { queueWorries } from './queue.ts'
import { type DatabaseStanding, type StandingBackup, worriesOf } from './standing.ts'
import { type StatusFacts, statusAnswer } from './status.ts'
import { historyGapLines } from './wording.ts'

/** The status as a daemon knows it, in the words of `pgproof status`; what goes on there, too. */
export async function statusOfDaemon(daemon: Daemon): Promise<Answer> {
  const { paint } = daemon.context
  const [status, queue] = await Promise.all([
    askDaemon(daemon, 'v1/status', daemonStatus),
    askDaemon(daemon, 'v1/queue', daemonQueue),
  ])
  const { store, runs, pauses } = status
  const standings = status.databases.map((one) => standingOf(one, status.time))
  const facts: StatusFacts = {
    // The ages are those by the clock that the objectives were judged by.
    now: status.time,
    standings,
    roles: status.roles.map(({ server, newestBackup, intervalSeconds }) => ({
      server,
      intervalSeconds,
      newest:
        newestBackup === null
          ? undefined
          : { manifest: newestBackup, snapshotTime: new Date(newestBackup.snapshotTime) },
    })),
    stores: storeLines(status),
    worries: [
      ...(status.isReady ? [] : [`the daemon is not ready: ${status.reasons.join('; ')}`]),
      ...queueWorries(queue, status.time).filter((line) => !status.reasons.some((reason) => line.startsWith(reason))),
      ...failureLines(status, standings),
      ...pauseLines(pauses),
      ...storeWorries(status),
      ...daemonTroubles(store),
    ],
    knowsRuns: true,
    notes: runs.map((run) => runLine(run, status.time)),
  }
  const places = store.places.map(({ lackingBackups: _, ...place }) => place)
  const { orphanObjects, damagedObjects, historyGaps } = store
  const troubles = { orphanObjects, damagedObjects, historyGaps, pauses: pauseDocuments(pauses) }
  const known = { runs: runs.map(runDocument), failures: status.failures.map(runDocument) }
  return statusAnswer(facts, { storeId: null, stores: places, ...troubles, ...known }, paint)
}

/** What is wrong in the stores, as far as a daemon tells; one line each. Not yet escaped. */
export function daemonTroubles({ damagedObjects, orphanObjects, historyGaps }: DaemonStatus['store']): string[] {
  return [
    ...(damagedObjects === 0
      ? []
      : [
          `damaged: ${counted(damagedObjects, 'object')} in the store cannot be read; the log of the daemon names them`,
        ]),
    ...(orphanObjects === 0
      ? []
      : [
          `orphans: ${counted(orphanObjects, 'object')} without a manifest (left by a crash, or a backup that is under way; a prune removes them after a day)`,
        ]),
    ...historyGapLines({ historyGaps: () => historyGaps }),
  ]
}

/** One for each job and place whose last word is a failure, unless the same was said of the database already. */
function failureLines({ failures }: DaemonStatus, standings: readonly DatabaseStanding[]): string[] {
  const told = standings.flatMap(worriesOf)
  const lines = new Map<string, string>()
  for (const run of failures) {
    const what = titleOf(run)
    if (run.isOver || lines.has(what)) continue
    const { message, code, hint } = run.error ?? { message: 'nobody knows why', code: '', hint: '' }
    const end = run.state === 'failed' ? 'the last one failed' : 'the last one could not be carried out'
    const place = `${run.server}/${run.database}: `
    const isTold = run.job === 'drill' && told.some((line) => line.startsWith(place) && line.endsWith(`: ${message}`))
    lines.set(
      what,
      isTold
        ? ''
        : `${what}: ${end}${run.worker === null ? '' : ` on ${run.worker}`}: ${message}${code === '' ? '' : ` (${code})`}${hint === '' ? '' : `; ${hint}`}`,
    )
  }
  return [...lines.values()].filter((line) => line !== '')
}

function standingOf(answer: DaemonDatabase, now: Date): DatabaseStanding {
  const { server, database, newestBackup, recoveryPoint, retained, objectives } = answer
  // The newest backup that is whole may be an older one, whose label was not said.
  const isWhole = newestBackup?.snapshotTime === recoveryPoint
  const intervalSeconds = answer.next.find(({ job }) => job === 'backup')?.intervalSeconds ?? null
  const isLate =
    objectives.recoveryPoint.status === 'no objective' &&
    isOverdue({
      intervalSeconds,
      finishedAt: newestBackup === null ? null : new Date(newestBackup.finishedAt),
      recoveryPoint: recoveryPoint === null ? null : new Date(recoveryPoint),
      now,
    })
  const label = isWhole ? (newestBackup?.label ?? '') : ''
  return {
    server,
    database,
    newest: recoveryPoint === null ? null : backupAt(label, recoveryPoint, isWhole ? newestBackup?.verifiedAt : null),
    damaged:
      newestBackup === null || newestBackup.faults.length === 0
        ? []
        : [{ manifest: { label: newestBackup.label }, faults: newestBackup.faults }],
    lastDrill: answer.lastDrill,
    lastPassed: answer.lastPassedDrill,
    retained: retained.any,
    verified: retained.verified,
    oldestUnverified: waitingBackup(answer.oldestUnverified, false),
    leastRecentlyVerified: waitingBackup(
      answer.leastRecentlyVerified,
      answer.leastRecentlyVerified !== null && answer.leastRecentlyVerified.label !== answer.oldestUnverified?.label,
    ),
    guarantee: answer.drilledWithin,
    forecastSeconds: answer.restoreTimeForecastSeconds,
    objectives,
    overdueIntervalSeconds: isLate ? intervalSeconds : null,
  }
}

function backupAt(label: string, snapshotTime: string, verifiedAt: Date | null = null): StandingBackup {
  return { manifest: { label, snapshotTime }, snapshotTime: new Date(snapshotTime), verifiedAt }
}

/** `since` is when a drill of it passed, or else its snapshot time. */
function waitingBackup(waiting: DaemonDatabase['oldestUnverified'], isVerified: boolean): StandingBackup | null {
  if (waiting === null) return null
  const { label, since } = waiting
  return {
    manifest: { label, snapshotTime: since.toISOString() },
    snapshotTime: since,
    verifiedAt: isVerified ? since : null,
  }
}

function storeLines({ store: { places } }: DaemonStatus): string[] {
  if (places.length === 1) return places.map(({ url }) => printable(url))
  return places.map(({ name, url, problem, backups, isRequired }) => {
    const state = problem === null ? counted(backups, 'backup') : 'cannot be read'
    return `${printable(name)}  ${printable(url)}  ${state}${isRequired ? '' : ', not required'}`
  })
}

function storeWorries({ store: { places } }: DaemonStatus): string[] {
  return places.flatMap(({ name, problem, isComplete, lackingBackups }) => {
    const place = places.length === 1 ? 'the store' : `store ${name}`
    if (problem !== null) return [`${place} cannot be read: ${problem}`]
    if (!isComplete) return [`${place} could not be read completely`]
    const lacking = `${place} lacks ${counted(lackingBackups, 'backup')} that another one has (\`pgproof sync\` copies them)`
    return lackingBackups === 0 ? [] : [lacking]
  })
}

function runLine(run: DaemonRun, now: Date): string {
  const { startedAt, position, id, progress } = run
  const seconds = startedAt === null ? 0 : Math.max(0, (now.getTime() - startedAt.getTime()) / 1000)
  const waits = position === null || position === 0 ? 'waits' : `waits behind ${counted(position, 'run')}`
  const phase = progress?.phase === undefined ? '' : `, ${progress.phase}`
  return `${titleOf(run)}: ${startedAt === null ? waits : `runs for ${formatSeconds(seconds)}${phase}`} (run ${id})`
}
