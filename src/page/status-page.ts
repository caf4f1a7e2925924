import { createHash } from 'node:crypto'
import { z } from 'zod'
import type { Status } from '../http/status.ts'
import { databasesSection } from './database.ts'
import { orderDialog } from './dialog.ts'
import { type PageFacts, placeId } from './facts.ts'
import { type Html, html } from './html.ts'
import { failuresSection, runsSection, scheduleSection } from './runs.ts'
import { pageScript } from './script.ts'
import { keysSection, rolesSection, storesSection } from './stores.ts'
import { pageStyle } from './style.ts'
import { clockTime, duration, type Level, plural, prose, quoted, visible } from './words.ts'
import { type Worry, worriesOf, worstOf } from './worries.ts'

/** What may be asked of the page: all of it, or what goes on alone, for the page that follows a run. */
export const pageQuery = z.looseObject({
  part: z.enum(['all', 'runs']).default('all').describe('The whole page, or only the runs that go on.'),
})

/** The page for people: whether all is well, what needs somebody, what is proven, and what goes on. */
export function statusPage(status: Status, facts: PageFacts): string {
  const worries = worriesOf(status, facts)
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
${banner(status, worries, level)}
${needsSection(worries)}
${runsSection(status)}
${databasesSection(status, facts, worries)}
<div class="pair">${failuresSection(status)}
${scheduleSection(status, facts)}</div>
<div class="pair">${storesSection(status)}
<div>${rolesSection(status)}
${keysSection(status)}</div></div>
</main>
<footer class="note">pgproof ${visible(status.version)} · the same for programs: <a href="v1/status">status</a>, <a href="metrics">metrics</a>, <a href="openapi.json">API</a></footer>
${orderDialog}
<script>${pageScript}</script>
</body>
</html>
`.text
}

/** What the page asks for every few seconds; when the title or the runs have changed, it asks for the whole. */
export function runsPage(status: Status, facts: PageFacts): string {
  return html`<!doctype html><html lang="en"><title>${title(worriesOf(status, facts))}</title>${runsSection(status)}</html>`
    .text
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

function banner(status: Status, worries: readonly Worry[], level: Level): Html {
  return html`<section class="banner ${level}" aria-labelledby="headline">
<svg viewBox="0 0 24 24" aria-hidden="true"><path d="${symbolPaths[level]}"/></svg>
<div><h1 id="headline">${headline(worries)}</h1>
<p>${proofLine(status)}</p></div>
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

function needsSection(worries: readonly Worry[]): Html | null {
  if (worries.length === 0) return null
  const rest = worries.slice(worriesOpen)
  return html`<section id="needs" aria-labelledby="needs-title"><h2 id="needs-title">What needs you</h2>
<ul class="worries">${worries.slice(0, worriesOpen).map(worryItem)}</ul>
${rest.length === 0 ? null : html`<details id="more-needs"><summary>${rest.length} more</summary><ul class="worries">${rest.map(worryItem)}</ul></details>`}
</section>`
}

function worryItem({ level, place, about, title, detail, hint, code }: Worry): Html {
  const where = place === null ? quoted(about) : html`<a href="#${placeId(place)}">${quoted(about)}</a>`
  return html`<li class="${level}"><span class="hidden">${level === 'bad' ? 'Now: ' : 'Soon: '}</span><strong>${where}</strong>: ${title}.${
    detail === undefined || detail === ''
      ? null
      : html`<span class="block">Reason: ${prose(detail)}${code === undefined ? null : html` <code>${code}</code>`}</span>`
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
