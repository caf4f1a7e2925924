import assert from 'node:assert/strict'
import { readDatabaseStatus } from '../catalog/database-status.ts'
import { isFinished, type Run } from '../catalog/runs.ts'
import { objectivesOf } from '../config/config.ts'
import { publicMessage } from '../domain/public-message.ts'
import { blank, type ComposeParts, noticeOfCondition, noticeOfRun, type Told, whatToDo } from './compose.ts'
import type { Condition } from './condition.ts'
import type { Notice } from './notice.ts'
import type { ToldRuns } from './run-incidents.ts'
import { capitalised, instantText, oneLine, onWorker, spelled } from './wording.ts'

/** What is told of one run, or of those of several databases of one server. */
export function noticeOfRuns(told: ToldRuns, parts: ComposeParts): Notice {
  const { runs, isStored } = told
  const [first] = runs
  assert(first !== undefined, 'a notice is about something')
  if (runs.length === 1) {
    const notice = noticeOfRun(told, first, parts)
    return isStored ? { ...notice, runId: null } : notice
  }
  const { job, server } = first
  const what = `${job}s of ${runs.length} databases of ${oneLine(server)}`
  const databases = runs.map(({ database }) => database ?? '')
  const last = runs.reduce((one, other) => (endOf(other) > endOf(one) ? other : one))
  const isBad = told.event === 'failure'
  const message = last.error === null ? null : publicMessage(last.error.code, last.error.message)
  const lines = [
    sentence(told, capitalised(what), message, last, parts.now),
    namesLine(databases),
    ...(isBad ? nextLine(runs, parts) : []),
    ...protectionOfAll(server, databases, parts),
    ...(isBad ? whatToDo(last.error?.hint ?? null, 'pgproof status') : []),
  ]
  return {
    ...blank(told, parts),
    title: `${word(told, runs)} ${what}`,
    text: lines.join('\n'),
    ...{ server: server === '' ? null : server, job, databases },
    ...{ code: last.error?.code ?? null, message, hint: last.error?.hint ?? null },
  }
}

/** What is told of one condition, or of several of one kind at one server. */
export function noticeOfConditions(told: Told, conditions: readonly Condition[], parts: ComposeParts): Notice {
  const [first] = conditions
  assert(first !== undefined, 'a notice is about something')
  if (conditions.length === 1 || first.server === null) return noticeOfCondition(told, first, parts)
  const { kind, server, job, hint } = first
  const databases = conditions.map(({ database }) => database ?? '').toSorted()
  const who = `${conditions.length} databases of ${oneLine(server)}`
  const [holds, isOver] = pluralWords[kind] ?? [kind, `${kind} no more`]
  const isBad = told.event === 'failure'
  const title = isBad ? `${told.isReminder ? 'STILL' : 'ALERT'}: ${who} ${holds}` : `RECOVERED: ${who} ${isOver}`
  const lines = [
    `${capitalised(who)} ${isBad ? holds : isOver}.`,
    namesLine(databases),
    ...(isBad ? protectionOfAll(server, databases, parts) : []),
    ...(isBad ? whatToDo(hint, 'pgproof status') : []),
  ]
  return {
    ...blank(told, parts),
    ...{ title, text: lines.join('\n'), server, job, databases, condition: kind, hint: isBad ? hint : null },
  }
}

/** What is said of several databases, and when it is over. Other kinds are told one by one. */
export const pluralWords: Readonly<Partial<Record<Condition['kind'], readonly [string, string]>>> = {
  'recovery-point': ['have no backup within their objectives', 'have backups within their objectives again'],
  'restore-time': ['take longer to restore than their objectives', 'can be restored within their objectives again'],
  'database-missing': ['are gone from it', 'are on it again'],
  'dead-entry': ['have runs that the fleet has given up', 'have had their runs since'],
  'no-proof': ['have not passed a drill for long', 'have passed a drill again'],
}

function word({ event, isReminder }: Told, runs: readonly Run[]): string {
  if (event !== 'failure') return event === 'recovery' ? 'RECOVERED' : 'OK'
  if (isReminder) return 'STILL FAILING'
  return runs.every(({ state }) => state === 'inconclusive') ? 'INCONCLUSIVE' : 'FAILED'
}

function sentence(
  { event, isReminder, incident }: Told,
  what: string,
  message: string | null,
  last: Run,
  now: Date,
): string {
  const lastEnd = endOf(last)
  const since = incident?.since ?? lastEnd
  if (event !== 'failure')
    return `${what} have succeeded by ${instantText(lastEnd)}, after they had failed for ${spelled(lastEnd.getTime() - since.getTime())}.`
  const reason = message === null ? '' : `: ${oneLine(message)}`
  if (isReminder)
    return `${what} have not succeeded since ${instantText(since)}, for ${spelled(now.getTime() - since.getTime())}. The last one ended${onWorker(last)} at ${instantText(lastEnd)}${reason}`
  return `${what} have failed since ${instantText(since)}, the last${onWorker(last)} at ${instantText(lastEnd)}${reason}`
}

const namesShown = 20

function namesLine(names: readonly string[]): string {
  const rest = names.length - namesShown
  return `They are: ${names.slice(0, namesShown).map(oneLine).join(', ')}${rest > 0 ? ` and ${rest} more` : ''}.`
}

function nextLine(runs: readonly Run[], { planned, retryAt, now }: ComposeParts): string[] {
  const retries = runs.flatMap((run) => retryAt(run)?.getTime() ?? [])
  if (retries.length > 0) return [`They are tried again, the first at ${instantText(new Date(Math.min(...retries)))}.`]
  const due = planned
    .filter(({ job, server, nextAt }) => job === runs[0]?.job && server === runs[0]?.server && nextAt > now)
    .map(({ nextAt }) => nextAt.getTime())
  return due.length === 0 ? [] : [`The next ones are due from ${instantText(new Date(Math.min(...due)))} on.`]
}

/** What there still is at the worst, for who has to decide whether to get up. */
function protectionOfAll(
  server: string,
  databases: readonly string[],
  { catalog, config, now }: ComposeParts,
): string[] {
  if (catalog.lastRefreshedAt === null) return ['What is in the store is not known: it could not be read yet.']
  const points = databases.map((database) => {
    const { recoveryPoint } = readDatabaseStatus({ server, database }, catalog, objectivesOf(server, config), now)
    return { database, at: recoveryPoint?.snapshotTime ?? null }
  })
  const without = points.filter(({ at }) => at === null)
  const oldest = points
    .flatMap(({ database, at }) => (at === null ? [] : [{ database, at }]))
    .toSorted((one, other) => one.at.getTime() - other.at.getTime())[0]
  return [
    ...(without.length === 0 ? [] : [`${without.length} of them have no backup.`]),
    ...(oldest === undefined
      ? []
      : [
          `The oldest of their newest backups, of ${oneLine(oldest.database)}, is from ${instantText(oldest.at)} (${spelled(now.getTime() - oldest.at.getTime())} old).`,
        ]),
  ]
}

function endOf(run: Run): Date {
  return (isFinished(run) ? run.finishedAt : null) ?? run.queuedAt
}
