import { refusedWords } from '../domain/refused-words.ts'
import type { QueueAnswer } from '../http/queue-answer.ts'
import type { Status } from '../http/status.ts'
import { hintOf } from './hints.ts'
import { duration, placeName, plural, visible } from './words.ts'
import type { Worry } from './worry.ts'

/** From here on a worker orders nothing, as long as another one's clock is right. */
export const mostOffsetSeconds = 60
/** A worker that is gone for longer has been replaced, or nobody misses it. */
const missedSeconds = 86_400
/** So many databases that are gone are named; more are one worry for each server. */
const namedUpTo = 5

/** What needs somebody in the queue and among its workers. */
export function queueWorries(queue: QueueAnswer, status: Status): Worry[] {
  return [
    ...reachWorries(queue),
    ...deadWorries(queue),
    ...workerWorries(queue),
    ...waitWorries(queue, status),
    ...vanishedWorries(queue),
  ]
}

function reachWorries({ isReachable, reason }: QueueAnswer): Worry[] {
  if (isReachable) return []
  const code = 'FLEET_UNREACHABLE'
  const title = 'the control database cannot be used: nothing is ordered or begun'
  return [{ level: 'bad', place: null, about: 'Queue', title, detail: reason ?? undefined, hint: hintOf(code), code }]
}

function deadWorries({ dead }: QueueAnswer): Worry[] {
  const [first] = dead
  if (first === undefined) return []
  const title = `${plural(dead.length, 'entry', 'entries')} ${dead.length === 1 ? 'was' : 'were'} given up: no worker survived ${dead.length === 1 ? 'it' : 'them'}, or none can read ${dead.length === 1 ? 'it' : 'them'}`
  return [
    {
      level: 'warn',
      place: null,
      about: 'Queue',
      title,
      detail: first.reason,
      hint: hintOf(first.code),
      code: first.code,
    },
  ]
}

function workerWorries({ workers, asOf }: QueueAnswer): Worry[] {
  return workers.flatMap(({ name, isAlive, seenAt, clockOffsetSeconds, refused }): Worry[] => {
    const base = { level: 'warn' as const, place: null, about: `Worker ${name}` }
    const silent = (Date.parse(asOf) - Date.parse(seenAt)) / 1000
    if (!isAlive) {
      if (silent > missedSeconds) return []
      const title = `it has given no sign of life for ${duration(silent)}, and did not sign off`
      return [
        { ...base, title, hint: 'See that it runs and reaches the control database; others take over what it did.' },
      ]
    }
    const code = 'FLEET_CLOCK_DIFFERS'
    const isClockOff = Math.abs(clockOffsetSeconds) > mostOffsetSeconds
    const differs = `its clock is ${duration(Math.abs(clockOffsetSeconds))} ${clockOffsetSeconds > 0 ? 'ahead of' : 'behind'} that of the control database`
    return [
      ...(isClockOff ? [{ ...base, title: differs, hint: hintOf(code), code }] : []),
      ...refused.map((one) => {
        const left =
          one.until === null ? '' : ` for another ${duration((Date.parse(one.until) - Date.parse(asOf)) / 1000)}`
        const title = `it ${visible(refusedWords(one))}${left}`
        return { ...base, title, detail: one.reason, hint: hintOf(one.code), code: one.code }
      }),
    ]
  })
}

/** As PgproofQueueWaitsTooLong has it: a quarter of what lies between two runs, by the mean. */
function waitWorries({ queues, asOf }: QueueAnswer, { databases }: Status): Worry[] {
  return queues.flatMap(({ name, queued, oldestQueuedAt, unserved }): Worry[] => {
    if (oldestQueuedAt === null) return []
    if (unserved !== null) {
      const entries = `${plural(queued, 'entry waits', 'entries wait')} there`
      const hint = 'Start a worker whose `fleet.may` and `fleet.labels` take it, or change the `label` of the server.'
      return [{ level: 'warn', place: null, about: `Queue ${name}`, title: visible(unserved), detail: entries, hint }]
    }
    const job = name.split('.')[0]?.replace(/-large$/, '')
    const intervals = databases.flatMap(({ next }) => next.filter((one) => one.job === job))
    const isWhole = job === 'prune' || job === 'sync'
    const mean = intervals.reduce((sum, { intervalSeconds }) => sum + intervalSeconds, 0) / intervals.length
    const limit = isWhole ? 86_400 : mean / 4
    const waited = (Date.parse(asOf) - Date.parse(oldestQueuedAt)) / 1000
    // Without a schedule there is no mean.
    if (!(waited > limit)) return []
    const title = `the oldest of ${plural(queued, 'entry', 'entries')} has waited for ${duration(waited)}`
    const hint = 'Add workers that may do it; or see what those that may are refusing, and which label its server has.'
    return [{ level: 'warn', place: null, about: `Queue ${name}`, title, hint }]
  })
}

function vanishedWorries({ vanished }: QueueAnswer): Worry[] {
  const base = { level: 'warn' as const }
  const hint = 'Restore it if it was dropped by accident; otherwise add it to `exclude` of its server.'
  if (vanished.length <= namedUpTo)
    return vanished.map((place) => {
      return { ...base, place, about: placeName(place), title: 'its server does not have it any more', hint }
    })
  return [...Map.groupBy(vanished, ({ server }) => server)].map(([server, of]) => {
    const title = `it does not have ${plural(of.length, 'database')} any more`
    const names = of.slice(0, namedUpTo).map(({ database }) => database)
    const detail = `${names.join(', ')}${of.length > namedUpTo ? ` and ${of.length - namedUpTo} more` : ''} are gone`
    return { ...base, place: null, about: `Server ${server}`, title, detail, hint }
  })
}
