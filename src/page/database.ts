import type { ObjectiveStatus } from '../domain/objectives.ts'
import type { Status, StatusOfDatabase } from '../http/status.ts'
import { calendarStrip, calendarTable } from './calendar.ts'
import { restoreChart } from './chart.ts'
import { type Calendar, type PageFacts, placeId, placeKey } from './facts.ts'
import { type Html, html } from './html.ts'
import {
  clockTime,
  duration,
  type Level,
  placeName,
  plural,
  prose,
  quoted,
  sign,
  size,
  visible,
  when,
} from './words.ts'
import { overdueInterval, pauseEnd } from './worries.ts'

export const levelWords: Readonly<Record<Level, string>> = {
  good: 'well',
  warn: 'needs you soon',
  bad: 'needs you now',
  none: '',
}

/** A line that says how it stands, with all the rest folded into it. */
export function databaseDetails(
  one: StatusOfDatabase,
  level: Level,
  isOpen: boolean,
  status: Status,
  facts: PageFacts,
): Html {
  const { newestBackup, objectives, lastPassedDrill } = one
  const now = new Date(status.time)
  const id = placeId(one)
  const calendar = facts.calendars.get(placeKey(one)) as Calendar
  return html`<details class="database ${level}" id="${id}"${isOpen ? html` open` : null}>
<summary>
<h3>${quoted(placeName(one))} ${sign(level, levelWords[level])}</h3>
${fact(
  'Last backup',
  newestBackup === null
    ? sign('bad', 'never')
    : html`${when(newestBackup.snapshotTime, now)} ${objective(objectives.recoveryPoint, 'RPO')}${backupDue(one, status)}`,
)}
${fact(
  'Last passed drill',
  lastPassedDrill === null
    ? sign('warn', 'never')
    : html`${when(lastPassedDrill.finishedAt, now)} ${drillDue(one, now)}`,
)}
${fact(
  'Restore time',
  lastPassedDrill?.restoreTimeSeconds == null
    ? html`<span class="note">not measured</span>`
    : html`${duration(lastPassedDrill.restoreTimeSeconds)} ${objective(objectives.restoreTime, 'RTO')}`,
)}
${calendarStrip(calendar)}
</summary>
<div class="body">
${databaseFacts(one, now, facts.timezone)}
<div class="history"><div>${calendarTable(calendar, facts)}</div>
<div>${restoreChart(facts.restoreTimes.get(placeKey(one)) ?? [], objectives.restoreTime.objectiveSeconds, { id, timezone: facts.timezone })}</div></div>
${drillButton(one, id)}
</div>
</details>`
}

export function fact(label: string, value: Html): Html {
  return html`<span class="fact"><span class="label">${label} </span><span>${value}</span></span>`
}

/** The measured value against its objective; in words, because not everybody sees colours. */
function objective({ status, objectiveSeconds }: ObjectiveStatus, name: string): Html | null {
  if (objectiveSeconds === null || status === 'no objective') return null
  const level = status === 'met' ? 'good' : status === 'missed' ? 'bad' : 'none'
  return sign(level, `${name} ${duration(objectiveSeconds)} ${status}`)
}

/** Where there is no objective the schedule says how old it may be. */
export function backupDue(one: StatusOfDatabase, status: Pick<Status, 'time'>): Html | null {
  const interval = overdueInterval(one, status)
  return interval === null ? null : html` ${sign('bad', `due every ${duration(interval)}`)}`
}

/** There is no objective for it: the schedule says how old it may be. */
function drillDue({ next, lastPassedDrill }: StatusOfDatabase, now: Date): Html | null {
  const interval = next.find(({ job }) => job === 'drill')?.intervalSeconds
  if (interval === undefined || lastPassedDrill === null) return null
  const age = (now.getTime() - Date.parse(lastPassedDrill.finishedAt)) / 1000
  return sign(age > 2 * interval ? 'warn' : 'good', `due every ${duration(interval)}`)
}

function databaseFacts(one: StatusOfDatabase, now: Date, timezone: string): Html {
  const { newestBackup, verifiedRecoveryPoint, lastDrill, retained, restoreTimeForecastSeconds: forecast } = one
  const rows: readonly (readonly [string, Html | null])[] = [
    [
      'Newest backup',
      newestBackup === null
        ? null
        : html`<code>${newestBackup.label}</code>, ${clockTime(newestBackup.snapshotTime, timezone)}, ${size(newestBackup.storedBytes)} in the store${newestBackup.faults.map((fault) => html` ${sign('bad', visible(fault))}`)}`,
    ],
    [
      'Proven up to',
      verifiedRecoveryPoint === null
        ? sign('warn', 'no backup that is there has passed a drill')
        : html`${clockTime(verifiedRecoveryPoint, timezone)}, ${when(verifiedRecoveryPoint, now)}`,
    ],
    ['Last drill', lastDrill === null ? null : lastDrillWords(lastDrill, now)],
    ['Retained', html`${plural(retained.any, 'backup')}, ${retained.verified} passed a drill${turn(one)}`],
    [
      'Forecast',
      forecast === null
        ? null
        : html`${duration(forecast)} for a restore of the newest backup ${objective(one.objectives.forecast, 'RTO')}`,
    ],
    ['Next', next(one, now)],
  ]
  return html`<dl>${rows.map(([name, value]) => (value === null ? null : html`<div><dt>${name}</dt><dd>${value}</dd></div>`))}</dl>`
}

function lastDrillWords(
  { verdict, finishedAt, backup, reason }: NonNullable<StatusOfDatabase['lastDrill']>,
  now: Date,
): Html {
  const level = verdict === 'passed' ? 'good' : verdict === 'failed' ? 'bad' : 'warn'
  const why =
    reason === null
      ? null
      : html`<span class="block">${prose(reason.message)} <code>${reason.code}</code></span>
<span class="block hint">${prose(reason.hint)}</span>`
  return html`${sign(level, verdict)} ${when(finishedAt, now)}, backup <code>${backup.label}</code>${why}`
}

/** When every backup will have been drilled, where that is promised. */
function turn({ drilledWithin: { drills, seconds } }: StatusOfDatabase): string {
  if (drills === null) return ''
  return `; each is drilled within ${plural(drills, 'drill')}${seconds === null ? '' : `, ${duration(seconds)}`}`
}

function next({ next: jobs }: StatusOfDatabase, now: Date): Html {
  const words = (['backup', 'drill'] as const).map((wanted) => {
    const planned = jobs.find(({ job }) => job === wanted)
    if (planned === undefined) return html`no ${wanted} is scheduled`
    if (planned.pausedUntil !== null) return sign('warn', `${wanted}s are paused ${pauseEnd(planned.pausedUntil, now)}`)
    return html`${wanted} ${when(planned.at, now)}`
  })
  return html`${words[0]}, ${words[1]}`
}

function drillButton({ server, database, retained }: StatusOfDatabase, id: string): Html | null {
  if (retained.any === 0) return null
  // As JSON in ASCII: an attribute would lose some of the characters that a name can have.
  const order = JSON.stringify({ server, database }).replaceAll(
    /[^ -~]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
  const name = visible(placeName({ server, database }))
  return html`<p class="script"><button type="button" id="${id}-drill" data-drill="${order}" data-what="${name}">Drill a backup of ${quoted(name)} now</button></p>`
}
