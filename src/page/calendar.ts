import { wallClock } from '../domain/local-time.ts'
import type { Calendar, DayState, PageFacts } from './facts.ts'
import { type Html, html } from './html.ts'
import { dayName, months, plural, weekdays } from './words.ts'

/** What each state of a day is called, here and in the legend. The style sheet draws a symbol for each. */
const stateWords: Readonly<Record<DayState, string>> = {
  passed: 'passed',
  failed: 'failed',
  inconclusive: 'inconclusive',
  undrilled: 'not yet drilled',
  pruned: 'pruned',
  none: 'no backup',
}

/** Of the style sheet: one letter, because there are thousands of cells. */
const stateClasses: Readonly<Record<DayState, string>> = {
  passed: 'p',
  failed: 'f',
  inconclusive: 'i',
  undrilled: 'u',
  pruned: 'r',
  none: 'n',
}

/** Twelve weeks, a column each, and what is retained from before them. */
export function calendarTable(calendar: Calendar, facts: PageFacts): Html {
  const known = tables.get(calendar)
  if (known !== undefined) return known
  const table = makeTable(calendar, facts)
  tables.set(calendar, table)
  return table
}

/** The same calendar is shown until a backup comes or goes, or a day passes. */
const tables = new WeakMap<Calendar, Html>()

function makeTable(calendar: Calendar, { days, timezone }: PageFacts): Html {
  const weeks = Array.from({ length: Math.ceil(days.length / 7) }, (_, week) => week)
  return html`<table class="calendar">
<caption>Backups by day and verdict</caption>
<thead><tr><td></td>${weeks.map((week) => weekHeader(days, week))}</tr></thead>
<tbody>${rowNames.map(
    (name, row) =>
      html`<tr><th scope="row">${name}</th>${weeks.map((week) => cell(calendar, days, week * 7 + row))}</tr>`,
  )}</tbody>
</table>
${olderNote(calendar.older, timezone)}`
}

/** The symbols of the calendar and what they mean; once on a page. */
export function calendarLegend(): Html {
  const states = Object.keys(stateWords) as DayState[]
  return html`<ul class="legend" aria-label="Symbols of the calendars">${states.map(
    (state) => html`<li><span class="day ${stateClasses[state]}" aria-hidden="true"></span>${stateWords[state]}</li>`,
  )}</ul>`
}

const stripDays = 30
const stripStep = 5

/** The last thirty days at a glance, for those who see; the calendar has the same for everybody. */
export function calendarStrip({ days }: Calendar): Html {
  const shown = days.slice(-stripDays)
  const bars = Map.groupBy(
    shown.map(({ state }, index) => ({ state, index })),
    ({ state }) => state,
  )
  return html`<svg class="strip" viewBox="0 0 ${stripDays * stripStep} 18" aria-hidden="true">${Array.from(
    bars,
    ([state, of]) =>
      html`<path class="${stateClasses[state]}" d="${of.map(({ index }) => bar(state, index)).join('')}"/>`,
  )}</svg>`
}

/** Its height tells as much as its colour. A stroke, because there are thousands of them. */
function bar(state: DayState, index: number): string {
  const height = state === 'none' ? 3 : state === 'pruned' ? 7 : state === 'undrilled' ? 11 : 18
  return `M${index * stripStep + 2} 18v-${height}`
}

const rowNames = [1, 2, 3, 4, 5, 6, 0].map((day) => weekdays[day] as string)

/** Names the month where it changes, and for those who hear it the day with which the week begins. */
function weekHeader(days: readonly Date[], week: number): Html {
  const first = days[week * 7] as Date
  const month = first.getUTCMonth()
  const monthOf = (other: number): number | undefined => days[other * 7]?.getUTCMonth()
  // The first is cut short as a rule, and its name would run into the next.
  const isNew = week === 0 ? monthOf(1) === month : monthOf(week - 1) !== month
  const day = first.getUTCDate()
  return isNew
    ? html`<th scope="col"><span aria-hidden="true">${months[month]}</span><span class="hidden">${day} ${months[month]}</span></th>`
    : html`<th scope="col"><span class="hidden">${day} ${months[month]}</span></th>`
}

function cell({ days: states }: Calendar, days: readonly Date[], index: number): Html {
  const day = states[index]
  const date = days[index]
  if (day === undefined || date === undefined) return html`<td></td>`
  const words = stateWords[day.state]
  // Of thousands of cells the most say no more than this.
  if (day.backups === 0) return html`<td class=${stateClasses[day.state]}>${words}</td>`
  const count = day.backups > 1 ? `${day.backups} backups, ` : ''
  return html`<td class=${stateClasses[day.state]} title="${dayName(date)}">${count}${words}</td>`
}

function olderNote({ oldest, ...counts }: Calendar['older'], timezone: string): Html | null {
  const total = counts.passed + counts.failed + counts.inconclusive + counts.undrilled
  if (oldest === null || total === 0) return null
  const each = (['passed', 'failed', 'inconclusive', 'undrilled'] as const)
    .filter((state) => counts[state] > 0)
    .map((state) => `${counts[state]} ${stateWords[state]}`)
  const since = `${dayName(new Date(wallClock(oldest.getTime(), timezone)))} ${oldest.getUTCFullYear()}`
  return html`<p class="note">${plural(total, 'older backup')} retained, back to ${since}: ${each.join(', ')}.</p>`
}
