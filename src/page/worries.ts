import { isOverdue } from '../domain/overdue.ts'
import { shellWord } from '../domain/shell-word.ts'
import type { QueueAnswer } from '../http/queue-answer.ts'
import type { Status, StatusOfDatabase } from '../http/status.ts'
import { type PageFacts, type Place, placeKey } from './facts.ts'
import { queueWorries } from './queue-worries.ts'
import { duration, type Level, placeName, plural, visible } from './words.ts'
import type { Worry } from './worry.ts'

const keyNoticeDays = 30
/** As `pgproof check` has it. */
const skewLimitSeconds = 60
const daySeconds = 86_400

/** What needs somebody, the worst first; empty: all is well. */
export function worriesOf(status: Status, facts: PageFacts, queue: QueueAnswer): readonly Worry[] {
  const worries = [
    ...queueWorries(queue, status),
    ...storeWorries(status, queue),
    ...status.databases.flatMap((one) => databaseWorries(one, status)),
    ...rolesWorries(status),
    ...otherRunWorries(status),
    ...pauseWorries(status, facts),
    ...configurationWorries(status),
    ...keyWorries(status),
  ]
  return [...worries.filter(({ level }) => level === 'bad'), ...worries.filter(({ level }) => level === 'warn')]
}

export function worstOf(worries: readonly Worry[]): Level {
  if (worries.some(({ level }) => level === 'bad')) return 'bad'
  return worries.length > 0 ? 'warn' : 'good'
}

function storeWorries({ isReady, reasons: all, store, databases, roles }: Status, queue: QueueAnswer): Worry[] {
  const worries: Worry[] = []
  const add = (level: Worry['level'], about: string, title: string, detail?: string, hint?: string): void => {
    worries.push({ level, place: null, about, title, detail, hint })
  }
  const { readAt, isComplete, historyGaps, damagedObjects, places } = store
  const unreadable = places.filter(({ problem }) => problem !== null)
  // The queue has a worry of its own.
  const reasons = queue.isReachable ? all : all.filter((reason) => reason !== queue.reason)
  const isSaid = all.length > 0 && reasons.length === 0
  if (!isReady && !isSaid && !unreadable.some(({ isRequired }) => isRequired))
    add(
      'bad',
      'pgproof',
      'it is not ready',
      reasons.join('; '),
      'It becomes ready by itself once it can read the store.',
    )
  if (readAt === null) add('bad', 'Store', 'it has not been read yet', 'what this page shows is not all there is')
  else if (!isComplete && unreadable.length === 0)
    add('bad', 'Store', 'it could not be read completely', 'what this page shows may not be all there is')
  for (const { name, isRequired, problem } of unreadable)
    add(
      isRequired ? 'bad' : 'warn',
      `Store ${name}`,
      isRequired ? 'it cannot be read: no backup can be taken without it' : 'it cannot be read (it is not required)',
      problem ?? undefined,
      'See that it is up and reachable from here; `pgproof check` says more.',
    )
  if (historyGaps.length > 0)
    add(
      'bad',
      'Store',
      `somebody other than pgproof removed, replaced or put back ${plural(historyGaps.length, 'backup')}`,
      `the first: ${historyGaps[0]?.label} was ${historyGaps[0]?.found}`,
      'Find out who has the rights to do so, before the next prune.',
    )
  if (damagedObjects > 0)
    add(
      'bad',
      'Store',
      `${plural(damagedObjects, 'manifest or report', 'manifests or reports')} cannot be read, or ${damagedObjects === 1 ? 'is' : 'are'} not signed as demanded`,
      'they count as nothing',
      'The log of pgproof names them.',
    )
  for (const { name, problem, lackingBackups, clockSkewSeconds } of places) {
    // Of one that cannot be read nobody knows what it lacks.
    if (lackingBackups > 0 && problem === null)
      add(
        'warn',
        `Store ${name}`,
        `it lacks ${plural(lackingBackups, 'backup')} that another store has`,
        undefined,
        'A sync copies them: `pgproof sync`.',
      )
    if (clockSkewSeconds !== null && Math.abs(clockSkewSeconds) > skewLimitSeconds)
      add(
        'warn',
        `Store ${name}`,
        `its clock differs from ours by ${duration(Math.abs(clockSkewSeconds))}`,
        undefined,
        'Set the clock that is wrong; a store refuses requests from another time.',
      )
  }
  if (databases.length === 0 && roles.length === 0)
    add('warn', 'pgproof', 'it protects no database', 'none is planned, and the store has no backup')
  return worries
}

function databaseWorries(one: StatusOfDatabase, status: Status): Worry[] {
  const place = { server: one.server, database: one.database }
  const about = placeName(place)
  const found = [backupWorry(one, status), drillWorry(one, status), restoreTimeWorry(one)]
  return found.flatMap((worry) => (worry === null ? [] : [{ place, about, ...worry }]))
}

type Found = Omit<Worry, 'place' | 'about'>

function backupWorry(one: StatusOfDatabase, status: Status): Found | null {
  const { newestBackup, recoveryPoint, objectives, next } = one
  const { objectiveSeconds, measuredSeconds, status: standing } = objectives.recoveryPoint
  const failure = openFailure('backup', one, status)
  const order = `Order one: \`pgproof backup ${shellWord(placeName(one))}\`.`
  const tried =
    failure === undefined
      ? undefined
      : `the last try failed${onWorker(failure)}: ${failure.error?.message ?? failure.state}`
  const why = { detail: tried, hint: failure?.error?.hint ?? order, code: failure?.error?.code }
  if (newestBackup === null) return { level: 'bad', title: 'it has no backup at all', ...why }
  if (recoveryPoint === null && one.retained.any > 0)
    // Where the last drill failed, that is what is said, unless there is more to say.
    return one.lastDrill?.verdict === 'failed' && failure === undefined
      ? null
      : { level: 'bad', title: 'every backup of it that is whole has failed a drill', ...why }
  if (recoveryPoint === null)
    return { level: 'bad', title: 'no backup of it is whole', detail: newestBackup.faults[0], hint: order }
  const last = newestBackup.snapshotTime === recoveryPoint ? 'its last backup' : 'its last backup that is good'
  if (standing === 'missed' && measuredSeconds !== null) {
    const objective = duration(objectiveSeconds ?? 0)
    return {
      level: 'bad',
      title: `${last} is ${duration(measuredSeconds)} old; the objective is ${objective}`,
      ...why,
    }
  }
  const interval = overdueInterval(one, status)
  if (interval !== null)
    return {
      level: 'bad',
      title: `${last} is ${duration(measuredSeconds ?? 0)} old; one is due every ${duration(interval)}`,
      ...why,
    }
  if (newestBackup.faults.length > 0)
    return { level: 'bad', title: 'its newest backup is not whole', detail: newestBackup.faults[0], hint: order }
  if (failure !== undefined) {
    const level = standing === 'met' ? 'warn' : 'bad'
    return { level, title: `its last backup failed${onWorker(failure)}`, ...why, detail: failure.error?.message }
  }
  if (standing === 'no objective' && !next.some(({ job }) => job === 'backup'))
    return {
      level: 'warn',
      title: 'nothing schedules backups of it, and it has no objective',
      hint: 'Set `schedule.backup` and `objectives.rpo` of its server, or remove its backups.',
    }
  return null
}

/** How often a backup is due by the schedule, if that alone says how old it may be, and it is older; else null. */
export function overdueInterval(
  { newestBackup, recoveryPoint, objectives, next }: StatusOfDatabase,
  { time }: Pick<Status, 'time'>,
): number | null {
  const intervalSeconds = next.find(({ job }) => job === 'backup')?.intervalSeconds ?? null
  if (objectives.recoveryPoint.status !== 'no objective' || newestBackup === null) return null
  const finishedAt = new Date(newestBackup.finishedAt)
  const known = { intervalSeconds, finishedAt, recoveryPoint: recoveryPoint === null ? null : new Date(recoveryPoint) }
  return isOverdue({ ...known, now: new Date(time) }) ? intervalSeconds : null
}

function drillWorry(one: StatusOfDatabase, status: Status): Found | null {
  const { lastDrill, lastPassedDrill, recoveryPoint, next } = one
  if (lastDrill?.verdict === 'failed')
    return {
      level: 'bad',
      title: 'its last drill failed: this backup may not bring the data back',
      detail: `${lastDrill.reason?.message} (backup ${lastDrill.backup.label})`,
      hint: lastDrill.reason?.hint,
      code: lastDrill.reason?.code,
    }
  if (lastDrill?.verdict === 'inconclusive')
    return {
      level: 'warn',
      title: 'its last drill was inconclusive: it says nothing about the backup',
      detail: lastDrill.reason?.message,
      hint: lastDrill.reason?.hint,
      code: lastDrill.reason?.code,
    }
  const failure = openFailure('drill', one, status)
  if (failure !== undefined)
    return {
      level: 'warn',
      title: `its last drill could not be carried out${onWorker(failure)}`,
      detail: failure.error?.message,
      hint: failure.error?.hint,
      code: failure.error?.code,
    }
  if (recoveryPoint === null) return null
  const order = `Order one: \`pgproof drill ${shellWord(placeName(one))}\`, or by its button below.`
  if (lastPassedDrill === null)
    return { level: 'warn', title: 'no drill of it has passed: nothing is proven', hint: order }
  const interval = next.find(({ job }) => job === 'drill')?.intervalSeconds
  const age = (Date.parse(status.time) - Date.parse(lastPassedDrill.finishedAt)) / 1000
  if (interval !== undefined && age > 2 * interval)
    return {
      level: 'warn',
      title: `its last passed drill is ${duration(age)} old; one is due every ${duration(interval)}`,
      hint: order,
    }
  return null
}

function restoreTimeWorry({ objectives: { restoreTime, forecast } }: StatusOfDatabase): Found | null {
  const hint = 'Give drills more CPU or parallel jobs, make the database smaller, or promise less.'
  const objective = duration(restoreTime.objectiveSeconds ?? 0)
  if (restoreTime.status === 'missed')
    return {
      level: 'bad',
      title: `its restore takes ${duration(restoreTime.measuredSeconds ?? 0)}; the objective is ${objective}`,
      hint,
    }
  if (forecast.status === 'missed')
    return {
      level: 'warn',
      title: `its next restore is forecast to take ${duration(forecast.measuredSeconds ?? 0)}; the objective is ${objective}`,
      hint,
    }
  return null
}

/** One for each pause, however many schedules stand still by it. */
function pauseWorries({ time }: Status, { pauses }: PageFacts): Worry[] {
  return pauses.map(({ server, database, jobs, until, reason, by }) => {
    const name = server === null ? '' : placeName({ server, database })
    return {
      level: 'warn',
      place: server === null || database === null ? null : { server, database },
      about: name === '' ? 'Schedules of every server' : `Schedules of ${name}`,
      title: `paused ${pauseEnd(until, new Date(time))} (${jobs.join(', ')})`,
      detail: `${reason}, says ${by}`,
      hint: `They go on by themselves; sooner by \`pgproof resume${name === '' ? '' : ` ${name}`}\`.`,
    }
  })
}

export function pauseEnd(pausedUntil: string, now: Date): string {
  const seconds = (Date.parse(pausedUntil) - now.getTime()) / 1000
  return seconds <= 0 ? 'no longer' : `for another ${duration(seconds)}`
}

function rolesWorries(status: Status): Worry[] {
  return status.roles.flatMap(({ server, newestBackup, intervalSeconds }): Worry[] => {
    const worry = (title: string, more: Pick<Worry, 'detail' | 'hint' | 'code'>): Worry[] => [
      { level: 'warn', place: null, about: `Roles of ${server}`, title, ...more },
    ]
    const order = { detail: undefined, hint: `\`pgproof backup ${shellWord(server)} --roles\`` }
    const failure = openFailure('roles', { server, database: null }, status)
    if (failure !== undefined) {
      const { message, hint, code } = failure.error ?? {}
      return worry(`their last backup failed${onWorker(failure)}`, { detail: message, hint, code })
    }
    // Without them on purpose, unless a schedule says otherwise; drills say where a restore lacks one.
    if (intervalSeconds === null) return []
    if (newestBackup === null) return worry('they have no backup: a restore needs them', order)
    const [now, finishedAt] = [new Date(status.time), new Date(newestBackup.finishedAt)]
    if (!isOverdue({ intervalSeconds, finishedAt, recoveryPoint: null, now })) return []
    const age = (now.getTime() - finishedAt.getTime()) / 1000
    return worry(`their last backup is ${duration(age)} old; one is due every ${duration(intervalSeconds)}`, order)
  })
}

/** Prunes and syncs, which are of no one database. */
function otherRunWorries(status: Status): Worry[] {
  const seen = new Set<string>()
  return status.failures.flatMap((run): Worry[] => {
    const { job, error, isOver } = run
    const key = job + placeKey(run)
    if ((job !== 'prune' && job !== 'sync') || isOver || seen.has(key)) return []
    seen.add(key)
    const name = placeName(run)
    const about = name === '' ? `The ${job}` : `The ${job} of ${name}`
    const { message, hint, code } = error ?? {}
    return [
      { level: 'warn', place: null, about, title: `the last one failed${onWorker(run)}`, detail: message, hint, code },
    ]
  })
}

function configurationWorries({ configuration: { isInForce, needsRestart } }: Status): Worry[] {
  if (isInForce) return []
  const [title, hint] =
    needsRestart.length === 0
      ? [
          'the new one was refused, and the old one is in force',
          'The log says what is wrong, as `pgproof check` does; a restart would fail.',
        ]
      : [`what changed of ${needsRestart.join(', ')} waits for a restart`, 'Restart the daemon, or change it back.']
  return [{ level: 'warn', place: null, about: 'Configuration', title, hint }]
}

function keyWorries({ keys, time }: Status): Worry[] {
  return keys.flatMap(({ fingerprint, use, expiresAt }): Worry[] => {
    if (expiresAt === null) return []
    const seconds = (Date.parse(expiresAt) - Date.parse(time)) / 1000
    if (seconds > keyNoticeDays * daySeconds) return []
    const about = `Key …${fingerprint.slice(-16)} (${use})`
    const hint = 'Renew it, and put the renewed key where the configuration names it.'
    return seconds <= 0
      ? [{ level: 'bad', place: null, about, title: `it expired ${duration(-seconds)} ago`, hint }]
      : [{ level: 'warn', place: null, about, title: `it expires in ${duration(seconds)}`, hint }]
  })
}

/** Of a fleet: which of its workers has the trouble. */
function onWorker({ worker }: Status['failures'][number]): string {
  return worker === null ? '' : ` on ${visible(worker)}`
}

/** The newest failure of that job there, unless it succeeded since. */
function openFailure(job: string, place: Place, { failures }: Status): Status['failures'][number] | undefined {
  const newest = failures.find(
    (run) => run.job === job && run.server === place.server && run.database === place.database,
  )
  return newest?.isOver === true ? undefined : newest
}
