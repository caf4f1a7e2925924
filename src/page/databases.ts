import type { Status, StatusOfDatabase } from '../http/status.ts'
import { calendarLegend, calendarStrip } from './calendar.ts'
import { backupDue, databaseDetails, fact, levelWords } from './database.ts'
import { type Calendar, type PageFacts, placeId, placeKey, serverId } from './facts.ts'
import { type Html, html } from './html.ts'
import { areMany, hrefOf } from './places.ts'
import { duration, type Level, placeName, plural, quoted, sign, when } from './words.ts'
import { worstOf } from './worries.ts'
import type { Worry } from './worry.ts'

/** So many are shown open: a small installation is seen as a whole. */
const openUpTo = 3

type Levelled = { readonly one: StatusOfDatabase; readonly level: Level }

/** Every database, what worries most first: with all that is known of it folded into a line, or, of many, a line each. */
export function databasesSection(status: Status, facts: PageFacts, worries: readonly Worry[]): Html {
  const { databases } = status
  if (databases.length === 0)
    return html`<section id="databases" aria-labelledby="databases-title"><h2 id="databases-title">Databases</h2>
<p class="note">None is planned, and the store has no backup.</p></section>`
  const sorted = inOrder(databases, worries)
  const isOpen = databases.length <= openUpTo
  return html`<section id="databases" aria-labelledby="databases-title"><h2 id="databases-title">Databases <span class="count">${databases.length}</span></h2>
${calendarLegend()}
${
  areMany(databases)
    ? manyDatabases(sorted, status, facts)
    : html`${heads}
${sorted.map(({ one, level }) => databaseDetails(one, level, isOpen, status, facts))}`
}
</section>`
}

const heads = html`<div class="heads" aria-hidden="true"><span>Database</span><span>Last backup</span><span>Last passed drill</span><span>Restore time</span><span>30 days</span></div>`

/** The worst level first; among equals that need somebody, the backup that is the most too old. */
function inOrder(databases: readonly StatusOfDatabase[], worries: readonly Worry[]): readonly Levelled[] {
  const worriesByPlace = Map.groupBy(
    worries.filter(({ place }) => place !== null),
    ({ place }) => (place === null ? '' : placeKey(place)),
  )
  const levelled = databases.map((one) => ({ one, level: levelOf(one, worriesByPlace.get(placeKey(one)) ?? []) }))
  return levelled.toSorted((one, other) => {
    const byLevel = rank[one.level] - rank[other.level]
    return byLevel !== 0 || one.level === 'good' ? byLevel : exposure(other.one) - exposure(one.one)
  })
}

const rank: Readonly<Record<Level, number>> = { bad: 0, warn: 1, good: 2, none: 3 }

/** The age of what could be brought back, as a part of what is allowed; without any it is the worst there is. */
function exposure({ recoveryPoint, objectives }: StatusOfDatabase): number {
  if (recoveryPoint === null) return Number.MAX_VALUE
  const { measuredSeconds, objectiveSeconds } = objectives.recoveryPoint
  return (measuredSeconds ?? 0) / (objectiveSeconds ?? 86_400)
}

/** A pause of the whole server is one worry, and still it is one of each database. */
export function levelOf({ next: jobs }: StatusOfDatabase, worries: readonly Worry[]): Level {
  const level = worstOf(worries)
  return level === 'good' && jobs.some(({ pausedUntil }) => pausedUntil !== null) ? 'warn' : level
}

/** By server; those with worries are open and show the databases that have them, the others are a line. */
function manyDatabases(sorted: readonly Levelled[], status: Status, facts: PageFacts): Html {
  const servers = [...Map.groupBy(sorted, ({ one }) => one.server)]
  const rows = (of: readonly Levelled[], isAlone: boolean): Html =>
    html`<ul class="rows">${of.map((each) => databaseRow(each, isAlone, status, facts))}</ul>`
  const body = (of: readonly Levelled[], id: string, isAlone: boolean): Html => {
    const well = of.filter(({ level }) => level === 'good')
    const worried = of.filter(({ level }) => level !== 'good')
    if (worried.length === 0 && !isAlone) return rows(well, isAlone)
    return html`${worried.length === 0 ? null : rows(worried, isAlone)}${
      well.length === 0
        ? null
        : html`<details class="well" id="${id}-well"><summary>${well.length} that ${well.length === 1 ? 'is' : 'are'} well</summary>${rows(well, isAlone)}</details>`
    }`
  }
  const [first] = servers
  if (servers.length === 1 && first !== undefined) return html`${heads}${body(first[1], serverId(first[0]), true)}`
  return html`${heads}${servers.map(([server, of]) => {
    const level = of[0]?.level ?? 'good'
    const id = serverId(server)
    return html`<details class="database server ${level}" id="${id}"${level === 'good' ? null : html` open`}>
<summary><h3>${quoted(server)} <span class="count">${plural(of.length, 'database')}</span></h3>${serverFacts(of, status)}</summary>
${body(of, id, false)}</details>`
  })}`
}

/** Of a server as a whole: how many stand how, and the worst of each measure. */
function serverFacts(of: readonly Levelled[], { time }: Status): Html {
  const now = new Date(time)
  const counted = (['bad', 'warn', 'good'] as const).flatMap((level) => {
    const count = of.filter((each) => each.level === level).length
    return count === 0 ? [] : [html`${sign(level, `${count} ${levelWords[level]}`)} `]
  })
  const oldest = (instants: readonly (string | undefined)[]): Html => {
    const known = instants.filter((instant) => instant !== undefined).sort()
    if (known.length < instants.length) return sign('warn', `${instants.length - known.length} never`)
    return html`oldest ${when(known[0] as string, now)}`
  }
  const slowest = Math.max(...of.map(({ one }) => one.lastPassedDrill?.restoreTimeSeconds ?? 0))
  return html`${fact('Last backup', oldest(of.map(({ one }) => one.newestBackup?.snapshotTime)))}
${fact('Last passed drill', oldest(of.map(({ one }) => one.lastPassedDrill?.finishedAt)))}
${fact('Restore time', slowest === 0 ? html`<span class="note">not measured</span>` : html`slowest ${duration(slowest)}`)}
<span class="counts">${counted}</span>`
}

/** A line, with what is not as it should be; all the rest is on the database's own page. */
function databaseRow({ one, level }: Levelled, isAlone: boolean, status: Status, facts: PageFacts): Html {
  const now = new Date(status.time)
  const { newestBackup, lastPassedDrill, objectives } = one
  const missed = (status: string, name: string): Html | null =>
    status === 'missed' ? html` ${sign('bad', `${name} missed`)}` : null
  return html`<li id="${placeId(one)}" class="${level}"><span><a href="${hrefOf(one, true)}">${quoted(isAlone ? placeName(one) : one.database)}</a>${level === 'good' ? null : html` ${sign(level, levelWords[level])}`}</span>
${fact('Last backup', newestBackup === null ? sign('bad', 'never') : html`${when(newestBackup.snapshotTime, now)}${missed(objectives.recoveryPoint.status, 'RPO')}${backupDue(one, status)}`)}
${fact('Last passed drill', lastPassedDrill === null ? sign('warn', 'never') : when(lastPassedDrill.finishedAt, now))}
${fact(
  'Restore time',
  lastPassedDrill?.restoreTimeSeconds == null
    ? html`<span class="note">not measured</span>`
    : html`${duration(lastPassedDrill.restoreTimeSeconds)}${missed(objectives.restoreTime.status, 'RTO')}`,
)}
${calendarStrip(facts.calendars.get(placeKey(one)) as Calendar)}</li>`
}
