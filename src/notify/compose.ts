import type { Catalog } from '../catalog/catalog.ts'
import { readDatabaseStatus } from '../catalog/database-status.ts'
import { isFinished, type PlannedJob, type Run } from '../catalog/runs.ts'
import { type Config, objectivesOf } from '../config/config.ts'
import type { DrillReport } from '../domain/drill-report.ts'
import { publicMessage } from '../domain/public-message.ts'
import type { Condition } from './condition.ts'
import type { Incident } from './incident.ts'
import type { Notice, StoredPoint } from './notice.ts'
import { jobPlaceKey } from './places.ts'
import { capitalised, described, instantText, oneLine, onWorker, placed, spelled } from './wording.ts'

/** What a notice is made from besides what happened. */
export type ComposeParts = {
  readonly catalog: Catalog
  readonly config: Pick<Config, 'servers'>
  readonly planned: readonly PlannedJob[]
  readonly now: Date
  readonly host: string
  readonly newId: () => string
  /** When the scheduler tries a run again that has ended; null: it does not. */
  readonly retryAt: (run: Run) => Date | null
}

export type Told = {
  readonly event: 'failure' | 'recovery' | 'success'
  readonly isReminder: boolean
  readonly incident: Incident | null
}

/** What is told of a run, or of one that failed a while ago and nothing has succeeded since. */
export function noticeOfRun(told: Told, run: Run, parts: ComposeParts): Notice {
  const { job, server, database } = run
  const report = job === 'drill' && run.label !== null ? parts.catalog.findDrill(run.label) : undefined
  const message = run.error === null ? null : publicMessage(run.error.code, run.error.message)
  const isBad = told.event === 'failure'
  const title = `${runWord(told, run)} ${described(run)}`
  const lines = [
    runSentence(told, run, message, parts.now),
    ...(isBad ? afterwards(run, told, parts) : []),
    ...protection({ server, database, job }, parts),
    ...(isBad ? whatToDo(run.error?.hint ?? null, commandFor(run, report)) : []),
  ]
  return {
    ...blank(told, parts),
    ...{ title, text: lines.join('\n') },
    ...{ server: server === '' ? null : server, database, job },
    label: run.label,
    verdict: report?.verdict ?? null,
    ...{ code: run.error?.code ?? null, message, hint: run.error?.hint ?? null },
    runId: run.id,
    ...standing({ server, database, job }, parts),
  }
}

/** What is told of a condition that holds, or held. */
export function noticeOfCondition(told: Told, condition: Condition, parts: ComposeParts): Notice {
  const { kind, server, database, job, hint, title, text, recovered } = condition
  const since = told.incident?.since ?? parts.now
  const isBad = told.event === 'failure'
  const place = { server: server ?? '', database, job }
  const lines = isBad
    ? [text, ...protection(place, parts), ...whatToDo(hint, null)]
    : [`${recovered}, after ${spelled(parts.now.getTime() - since.getTime())}.`, ...protection(place, parts)]
  return {
    ...blank(told, parts),
    title: isBad ? `${told.isReminder ? 'STILL: ' : 'ALERT: '}${title}` : `RECOVERED: ${recovered}`,
    text: lines.join('\n'),
    ...{ server, database, job, condition: kind },
    hint: isBad ? hint : null,
    ...standing(place, parts),
  }
}

/** A notice of which everybody is to see that nothing happened. */
export function testNotice(
  event: 'failure' | 'recovery' | 'test',
  incident: Incident | null,
  { now, host, newId }: Pick<ComposeParts, 'now' | 'host' | 'newId'>,
): Notice {
  const words = {
    test: [
      `TEST: notices of pgproof on ${oneLine(host)} arrive here`,
      'This is a test, ordered with `pgproof check --notify`. Nothing has happened and nothing is to be done.',
    ],
    failure: [
      `TEST: a failure that is none, of pgproof on ${oneLine(host)}`,
      'This is a test by `daemon.notifyTest`, to show that the pager still rings. Nothing has failed and nothing is to be done, but to note that it rang.',
    ],
    recovery: [
      `TEST: the end of a failure that was none, of pgproof on ${oneLine(host)}`,
      'This ends the test by `daemon.notifyTest`. Nothing has failed.',
    ],
  } as const
  const [title, text] = words[event]
  return { ...blank({ event, isReminder: false, incident }, { now, host, newId }), title, text, isTest: true }
}

/** What every notice has. */
export function blank(
  { event, isReminder, incident }: { event: Notice['event']; isReminder: boolean; incident: Incident | null },
  { now, host, newId }: Pick<ComposeParts, 'now' | 'host' | 'newId'>,
): Omit<Notice, 'title' | 'text'> {
  return {
    version: 1,
    id: newId(),
    event,
    ...{ server: null, database: null, databases: null, job: null, condition: null, label: null, verdict: null },
    ...{ code: null, message: null, hint: null },
    since: incident?.since.toISOString() ?? null,
    at: now.toISOString(),
    runId: null,
    incident: incident?.id ?? null,
    isReminder,
    isTest: false,
    ...{ objectives: null, newestBackup: null, newestVerifiedBackup: null },
    host,
  }
}

function runWord({ event, isReminder }: Told, { state }: Run): string {
  if (event === 'success') return 'OK'
  if (event === 'recovery') return 'RECOVERED'
  if (isReminder) return 'STILL FAILING'
  return state === 'inconclusive' ? 'INCONCLUSIVE' : 'FAILED'
}

function runSentence({ event, isReminder, incident }: Told, run: Run, message: string | null, now: Date): string {
  const what = capitalised(described(run))
  const at = run.finishedAt ?? run.queuedAt
  if (event === 'success') return `${what} succeeded at ${instantText(at)}.`
  const since = incident?.since ?? at
  if (event === 'recovery')
    return `${what} succeeded at ${instantText(at)}, after it had failed for ${spelled(at.getTime() - since.getTime())}.`
  const reason = message === null ? '' : `: ${oneLine(message)}`
  if (isReminder)
    return `${what} has not succeeded since ${instantText(since)}, for ${spelled(now.getTime() - since.getTime())}. The last one ended${onWorker(run)} at ${instantText(at)}${reason}`
  const ended = run.state === 'inconclusive' ? 'could not be carried out' : 'failed'
  return `${what} ${ended}${onWorker(run)} at ${instantText(at)}${reason}`
}

/** What pgproof itself does about it. */
function afterwards(run: Run, { isReminder }: Told, { catalog, planned, now, retryAt }: ComposeParts): string[] {
  const next = planned.find(
    (one) => one.job === run.job && one.server === run.server && one.database === run.database && one.nextAt > now,
  )
  const tries = run.attempt > 1 && !isReminder ? [`It was tried ${run.attempt} times.`] : []
  const again = retryAt(run)
  if (again !== null) return [...tries, `It is tried again at ${instantText(again)}.`]
  const isUnderWay = catalog.runs().some((other) => !isFinished(other) && jobPlaceKey(other) === jobPlaceKey(run))
  if (isUnderWay) return [...tries, 'Another run of it is under way.']
  return next === undefined ? tries : [...tries, `The next one is due at ${instantText(next.nextAt)}.`]
}

type Subject = { readonly server: string; readonly database: string | null; readonly job: Run['job'] | null }

/** What there still is, for who has to decide whether to get up. */
function protection({ server, database, job }: Subject, { catalog, config, now }: ComposeParts): string[] {
  if (job !== 'roles' && database === null) return []
  if (catalog.lastRefreshedAt === null) return ['What is in the store is not known: it could not be read yet.']
  const aged = (point: Date): string => `${instantText(point)} (${spelled(now.getTime() - point.getTime())} old)`
  if (database === null) {
    const newest = catalog.backups({ kind: 'roles', server })[0]
    return newest === undefined
      ? [`There is no roles backup of ${oneLine(server)}.`]
      : [`The newest roles backup is from ${aged(newest.snapshotTime)}: ${newest.manifest.label}.`]
  }
  const status = readDatabaseStatus({ server, database }, catalog, objectivesOf(server, config), now)
  const { recoveryPoint, verifiedRecoveryPoint } = status
  if (recoveryPoint === null) {
    const place = placed(server, database)
    return status.newestBackup === null
      ? [`There is no backup of ${place}.`]
      : [`No backup of ${place} can be relied on: objects are missing, or a drill has failed.`]
  }
  const newest = `The newest backup is from ${aged(recoveryPoint.snapshotTime)}: ${recoveryPoint.manifest.label}.`
  if (verifiedRecoveryPoint === null) return [newest, 'No backup of it has passed a drill.']
  const { label } = verifiedRecoveryPoint.manifest
  if (label === recoveryPoint.manifest.label) return [newest, 'It has passed a drill.']
  return [newest, `The newest that has passed a drill is from ${aged(verifiedRecoveryPoint.snapshotTime)}: ${label}.`]
}

function standing(
  { server, database, job }: Subject,
  { catalog, config, now }: ComposeParts,
): Pick<Notice, 'objectives' | 'newestBackup' | 'newestVerifiedBackup'> {
  if (database === null) {
    const newest = job === 'roles' ? catalog.backups({ kind: 'roles', server })[0] : undefined
    return { objectives: null, newestBackup: pointOf(newest ?? null), newestVerifiedBackup: null }
  }
  const status = readDatabaseStatus({ server, database }, catalog, objectivesOf(server, config), now)
  return {
    objectives: { rpoSeconds: status.rpoSeconds, rtoSeconds: status.rtoSeconds },
    newestBackup: pointOf(status.recoveryPoint),
    newestVerifiedBackup: pointOf(status.verifiedRecoveryPoint),
  }
}

function pointOf(
  backup: { readonly manifest: { readonly label: string }; readonly snapshotTime: Date } | null,
): StoredPoint | null {
  return backup === null ? null : { label: backup.manifest.label, snapshotTime: backup.snapshotTime.toISOString() }
}

/** The hint, and the command that shows more. */
export function whatToDo(hint: string | null, command: string | null): string[] {
  const look = command === null ? [] : [`Look with: ${command}`]
  return hint === null ? look : [`What to do: ${oneLine(hint)}`, ...look]
}

function commandFor({ job, label }: Run, report: DrillReport | undefined): string {
  if (report?.verdict === 'failed' && label !== null) return `pgproof show ${label}`
  if (job === 'prune' || job === 'sync') return `pgproof ${job} --dry-run`
  return 'pgproof check'
}
