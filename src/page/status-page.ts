import { createHash } from 'node:crypto'
import { z } from 'zod'
import type { QueueAnswer } from '../http/queue-answer.ts'
import type { Status, StatusOfDatabase } from '../http/status.ts'
import { calendarLegend } from './calendar.ts'
import { databaseDetails } from './database.ts'
import { databasesSection, levelOf } from './databases.ts'
import { orderDialog } from './dialog.ts'
import { type PageFacts, placeKey } from './facts.ts'
import { queueSection, workersSection } from './fleet.ts'
import { type Html, html } from './html.ts'
import { areMany, hrefOf } from './places.ts'
import { failuresSection, runsSection, scheduleSection } from './runs.ts'
import { pageScript } from './script.ts'
import { keysSection, rolesSection, storesSection } from './stores.ts'
import { pageStyle } from './style.ts'
import { clockTime, duration, type Level, placeName, plural, prose, quoted, visible } from './words.ts'
import { worriesOf, worstOf } from './worries.ts'
import type { Worry } from './worry.ts'

/** What may be asked of the page: all of it, or what goes on alone, for the page that follows a run. */
export const pageQuery = z.looseObject({
  part: z.enum(['all', 'runs']).default('all').describe('The whole page, or only the runs that go on.'),
  server: z.string().optional().describe('With `database`: the page of that database alone.'),
  database: z.string().optional(),
})

/** The page for people: whether all is well, what needs somebody, what is proven, and what goes on. */
export function showPage(
  { part, server, database }: z.output<typeof pageQuery>,
  status: Status,
  facts: PageFacts,
  queue: QueueAnswer,
): string {
  const one = status.databases.find((each) => each.server === server && each.database === database)
  if (one !== undefined) return databasePage(one, part, status, facts, queue)
  const worries = worriesOf(status, facts, queue)
  return part === 'runs' ? runsPage(worries, status) : wholePage(worries, status, facts, queue)
}

function wholePage(worries: readonly Worry[], status: Status, facts: PageFacts, queue: QueueAnswer): string {
  const isFleet = isOfFleet(facts, queue)
  return documentOf(
    worries,
    html`${banner(proofLine(status), worries)}
${needsSection(worries, areMany(status.databases))}
${runsSection(status)}
${
  isFleet
    ? html`<div class="pair">${workersSection(queue)}
${queueSection(queue)}</div>`
    : null
}
${databasesSection(status, facts, worries)}
<div class="pair">${failuresSection(status, isFleet)}
${scheduleSection(status, facts)}</div>
<div class="pair">${storesSection(status)}
<div>${rolesSection(status)}
${keysSection(status)}</div></div>`,
    status,
    facts,
  )
}

function isOfFleet({ isFleet }: PageFacts, { workers }: QueueAnswer): boolean {
  return isFleet || workers.length > 1
}

/** What asks every few seconds needs no more; when the title or the runs have changed, the page asks for the whole. */
function runsPage(worries: readonly Worry[], status: Status): string {
  return html`<!doctype html><html lang="en"><title>${title(worries)}</title>${runsSection(status)}</html>`.text
}

/** One of many: all that the page of a small installation shows of it. */
function databasePage(
  one: StatusOfDatabase,
  part: 'all' | 'runs',
  all: Status,
  facts: PageFacts,
  queue: QueueAnswer,
): string {
  const key = placeKey(one)
  const here = <T extends { readonly server: string; readonly database: string | null }>(
    of: readonly T[],
  ): readonly T[] => of.filter((each) => placeKey(each) === key)
  const status = { ...all, databases: [one], runs: [...here(all.runs)], failures: [...here(all.failures)] }
  const worries = worriesOf(all, facts, queue).filter(({ place }) => place !== null && placeKey(place) === key)
  if (part === 'runs') return runsPage(worries, status)
  return documentOf(
    worries,
    html`<nav class="back"><a href="?">All databases</a></nav>
${banner(html`<bdi>${visible(placeName(one))}</bdi>`, worries)}
${needsSection(worries, false)}
${runsSection(status)}
<section id="databases" aria-labelledby="databases-title"><h2 id="databases-title">Database</h2>
${calendarLegend()}
${databaseDetails(one, levelOf(one, worries), true, status, facts)}</section>
${failuresSection(status, isOfFleet(facts, queue))}`,
    status,
    facts,
  )
}

function documentOf(worries: readonly Worry[], main: Html, status: Status, facts: PageFacts): string {
  const level = worstOf(worries)
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<noscript><meta http-equiv="refresh" content="120"></noscript>
<title>${title(worries)}</title>
<link rel="icon" id="icon" href="${icon(level)}">
<style>${pageStyle}</style>
</head>
<body>
<header><strong>pgproof</strong>
<span id="age" class="note">as of <time datetime="${status.time}">${clockTime(status.time, facts.timezone)}</time></span></header>
<p id="stale" class="stale" role="alert" hidden></p>
<p id="notice" class="notice" role="status"></p>
<p id="said" class="hidden" role="status"></p>
<main>
${main}
</main>
<footer class="note">pgproof ${visible(status.version)} · the same for programs: <a href="v1/status">status</a>, <a href="metrics">metrics</a>, <a href="openapi.json">API</a></footer>
${orderDialog}
<script>${pageScript}</script>
</body>
</html>
`.text
}

/** The policy that the page is sent with: its own style and script and no other, and nobody may frame it. */
export function statusPagePolicy(): string {
  return policy
}

const policy = [
  "default-src 'none'",
  `style-src '${hashOf(pageStyle)}'`,
  `script-src '${hashOf(pageScript)}'`,
  "connect-src 'self'",
  // The sign in the tab.
  'img-src data:',
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ')

function hashOf({ text }: Html): string {
  return `sha256-${createHash('sha256').update(text).digest('base64')}`
}

function title(worries: readonly Worry[]): string {
  return `${headline(worries)} · pgproof`
}

function headline(worries: readonly Worry[]): string {
  const bad = worries.filter(({ level }) => level === 'bad').length
  if (worries.length === 0) return 'All is well'
  if (bad > 0) return `${plural(bad, 'thing')} ${bad === 1 ? 'needs' : 'need'} you now`
  return `${plural(worries.length, 'thing')} ${worries.length === 1 ? 'needs' : 'need'} you soon`
}

function banner(line: Html, worries: readonly Worry[]): Html {
  const level = worstOf(worries)
  return html`<section class="banner ${level}" aria-labelledby="headline">
<svg viewBox="0 0 24 24" aria-hidden="true"><path d="${symbolPaths[level]}"/></svg>
<div><h1 id="headline">${headline(worries)}</h1>
<p>${line}</p></div>
</section>`
}

/** What is protected, what is proven and how long a restore takes, in one breath. */
function proofLine({ databases: all, time }: Status): Html {
  if (all.length === 0) return html`No database is known yet.`
  const points = all.flatMap(({ recoveryPoint }) => (recoveryPoint === null ? [] : [Date.parse(recoveryPoint)]))
  const proven = all.filter(({ verifiedRecoveryPoint }) => verifiedRecoveryPoint !== null).length
  const slowest = Math.max(...all.map(({ lastPassedDrill }) => lastPassedDrill?.restoreTimeSeconds ?? 0))
  const age = duration((Date.parse(time) - Math.min(...points)) / 1000)
  return html`<span>With a backup: ${points.length} of ${plural(all.length, 'database')}${
    points.length === 0 ? '' : points.length === 1 ? `, ${age} old` : `, the oldest ${age} old`
  }.</span> <span>Proven by a drill: ${proven} of ${all.length}.</span>${
    slowest === 0 ? null : html` <span>Slowest restore: ${duration(slowest)}.</span>`
  }`
}

const worriesOpen = 8
/** When all is wrong at once, the list of databases says of which. */
const worriesShown = 100

function needsSection(worries: readonly Worry[], isMany: boolean): Html | null {
  if (worries.length === 0) return null
  const item = (worry: Worry): Html => worryItem(worry, isMany)
  const rest = worries.slice(worriesOpen, worriesShown)
  const beyond = worries.length - worriesShown
  return html`<section id="needs" aria-labelledby="needs-title"><h2 id="needs-title">What needs you</h2>
<ul class="worries">${worries.slice(0, worriesOpen).map(item)}</ul>
${rest.length === 0 ? null : html`<details id="more-needs"><summary>${worries.length - worriesOpen} more</summary><ul class="worries">${rest.map(item)}</ul>${beyond > 0 ? html`<p class="note">And ${beyond} more, which the list of databases shows.</p>` : null}</details>`}
</section>`
}

function worryItem({ level, place, about, title, detail, hint, code }: Worry, isMany: boolean): Html {
  const where = place === null ? quoted(about) : html`<a href="${hrefOf(place, isMany)}">${quoted(about)}</a>`
  return html`<li class="${level}"><span class="hidden">${level === 'bad' ? 'Now: ' : 'Soon: '}</span><strong>${where}</strong>: ${title}.${
    detail === undefined || detail === ''
      ? null
      : html`<span class="block">Reason: ${prose(detail)}${code === undefined ? null : html` <code>${visible(code)}</code>`}</span>`
  }${hint === undefined ? null : html`<span class="block hint">${prose(hint)}</span>`}</li>`
}

/** In a square of 24, drawn by strokes. */
const symbolPaths: Readonly<Record<Level, string>> = {
  good: 'M4 12.5l5.5 5.5L20 6.5',
  warn: 'M12 4v10m0 4.5v.5',
  bad: 'M5.5 5.5l13 13m0-13l-13 13',
  none: 'M5 12h14',
}

const iconColours: Readonly<Record<Level, string>> = { good: '1a7f37', warn: '9a6700', bad: 'b3121d', none: '59636e' }

function icon(level: Level): string {
  const drawing = `<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 24 24'><circle cx='12' cy='12' r='12' fill='#${iconColours[level]}'/><path d='${symbolPaths[level]}' transform='translate(3.6 3.6) scale(.7)' fill='none' stroke='#fff' stroke-width='4' stroke-linecap='round'/></svg>`
  return `data:image/svg+xml,${encodeURIComponent(drawing)}`
}
