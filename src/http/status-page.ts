import { createHash } from 'node:crypto'
import type { ObjectiveStatus } from '../domain/objectives.ts'
import type { DrillAnswer, RunAnswer } from './answers.ts'
import { type Html, html } from './html.ts'
import type { Status, StatusOfDatabase } from './status.ts'

/** The page for people: what is protected, what is proven, what goes on and what to do about what failed. */
export function statusPage(status: Status): string {
  const now = new Date(status.time)
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="30">
<title>pgproof: ${headline(status)}</title>
<style>${styleSheet}</style>
</head>
<body>
<header>
<h1>pgproof</h1>
<p>${headline(status)}. ${when(status.time, now)}, version ${status.version}.</p>
</header>
<main>
${status.isReady ? null : html`<p class="bad">Not ready: ${status.reasons.join('; ')}</p>`}
${storeNotes(status)}
${databases(status, now)}
${runs(status, now)}
${failures(status, now)}
${roles(status, now)}
</main>
</body>
</html>
`.text
}

/** The policy that the page is sent with: nothing but its own style, and nobody may frame it. */
export function statusPagePolicy(): string {
  const hash = createHash('sha256').update(styleSheet.text).digest('base64')
  return `default-src 'none'; style-src 'sha256-${hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`
}

const styleSheet = html`
:root { color-scheme: light dark; font: 15px/1.45 system-ui, sans-serif; }
body { margin: 0 auto; max-width: 72rem; padding: 1.5rem; }
h1 { font-size: 1.3rem; margin: 0; }
h2 { font-size: 1.05rem; margin: 2rem 0 .5rem; }
table { border-collapse: collapse; width: 100%; }
.wide { overflow-x: auto; }
th, td { border-bottom: 1px solid light-dark(#d8d8d8, #3d3d3d); padding: .4rem .8rem .4rem 0; text-align: left; vertical-align: top; }
th { font-weight: 600; }
.good { color: light-dark(#14672c, #6fd28a); }
.bad { color: light-dark(#b00020, #ff8a8a); font-weight: 600; }
.unknown, .note { color: light-dark(#5c5c5c, #a5a5a5); }
.note { display: block; font-size: .87em; font-weight: 400; }
`

function headline({ databases: all }: Status): string {
  const proven = all.filter(({ verifiedRecoveryPoint }) => verifiedRecoveryPoint !== null).length
  const protectedOnes = all.filter(({ recoveryPoint }) => recoveryPoint !== null).length
  if (all.length === 0) return 'no database is known yet'
  const of = `of ${all.length} ${all.length === 1 ? 'database' : 'databases'}`
  return `${protectedOnes} ${of} ${protectedOnes === 1 ? 'has' : 'have'} a backup, ${proven} ${of} one that passed a drill`
}

function storeNotes({ store, time }: Status): Html {
  const { readAt, isComplete, historyGaps, damagedObjects, places } = store
  return html`
${readAt === null ? html`<p class="bad">The store has not been read yet: what follows is not all there is.</p>` : null}
${
  readAt !== null && !isComplete
    ? html`<p class="bad">The store could not be read completely; what follows is as of ${when(readAt, new Date(time))}.</p>`
    : null
}
${places
  .filter(({ problem }) => problem !== null)
  .map(
    ({ name, isRequired }) =>
      html`<p class="bad">Store ${name}${isRequired ? null : html` (not required)`} cannot be read.</p>`,
  )}
${places
  .filter(({ lackingBackups }) => lackingBackups > 0)
  .map(
    ({ name, lackingBackups }) =>
      html`<p class="unknown">Store ${name} lacks ${plural(lackingBackups, 'backup')} that another one has; a sync copies them.</p>`,
  )}
${historyGaps.length > 0 ? html`<p class="bad">Somebody other than pgproof removed, replaced or put back ${plural(historyGaps.length, 'backup')}.</p>` : null}
${damagedObjects > 0 ? html`<p class="bad">${plural(damagedObjects, 'manifest or report', 'manifests or reports')} cannot be read or ${damagedObjects === 1 ? 'is' : 'are'} not signed as demanded.</p>` : null}`
}

function databases({ databases: all }: Status, now: Date): Html {
  if (all.length === 0)
    return html`<h2>Databases</h2><p class="unknown">None is planned, and the store has no backup.</p>`
  return html`<h2>Databases</h2>
<div class="wide"><table>
<thead><tr><th>Database<th>Last backup<th>Last passed drill<th>Restore time<th>Backups<th>Next</tr></thead>
<tbody>${all.map((one) => databaseRow(one, now))}</tbody>
</table></div>`
}

function databaseRow(one: StatusOfDatabase, now: Date): Html {
  const { newestBackup, lastPassedDrill, objectives, retained, restoreTimeForecastSeconds: forecast } = one
  return html`<tr>
<th scope="row">${one.server}/${one.database}</th>
<td>${
    newestBackup === null
      ? html`<span class="bad">never</span>`
      : html`${when(newestBackup.finishedAt, now)} ${sign(objectives.recoveryPoint, 'RPO')}
<span class="note">${newestBackup.label}, ${size(newestBackup.storedBytes)} in the store</span>
${newestBackup.faults.map((fault) => html`<span class="note bad">${fault}</span>`)}`
  }</td>
<td>${
    lastPassedDrill === null
      ? html`<span class="bad">never</span>`
      : html`${when(lastPassedDrill.finishedAt, now)}<span class="note">of ${lastPassedDrill.backup.label}</span>`
  }${drillNote(one.lastDrill, now)}</td>
<td>${
    lastPassedDrill?.restoreTimeSeconds == null
      ? html`<span class="unknown">not measured</span>`
      : html`${duration(lastPassedDrill.restoreTimeSeconds)} ${sign(objectives.restoreTime, 'RTO')}`
  }${forecast === null ? null : html`<span class="note">forecast ${duration(forecast)} ${sign(objectives.forecast, 'RTO')}</span>`}</td>
<td>${retained.any}<span class="note">${retained.verified} passed a drill</span>${turnNote(one)}</td>
<td>${one.next.map(({ job, at }) => html`<span class="note">${job} ${when(at, now)}</span>`)}</td>
</tr>`
}

/** When every backup will have been drilled, where that is promised. */
function turnNote({ drilledWithin: { drills, seconds } }: StatusOfDatabase): Html | null {
  if (drills === null) return null
  const time = seconds === null ? '' : `, ${duration(seconds)}`
  return html`<span class="note">each is drilled within ${plural(drills, 'drill')}${time}</span>`
}

/** Only what the passed one beside it does not say already. */
function drillNote(last: DrillAnswer | null, now: Date): Html | null {
  if (last === null || last.verdict === 'passed') return null
  const style = last.verdict === 'failed' ? 'bad' : 'unknown'
  return html`<span class="note"><span class="${style}">${last.verdict}</span> ${when(last.finishedAt, now)}:
${last.reason?.message} <br>${last.reason?.hint}</span>`
}

function runs({ runs: all }: Status, now: Date): Html {
  if (all.length === 0) return html`<h2>Runs</h2><p class="unknown">None goes on.</p>`
  return html`<h2>Runs</h2><ul>${all.map((run) => html`<li>${what(run)}: ${runNow(run, now)}</li>`)}</ul>`
}

function runNow({ state, startedAt, position, progress }: RunAnswer, now: Date): Html {
  if (state === 'queued') return html`waits${position === null ? null : `, ${plural(position, 'run')} before it`}`
  const { phase, doneBytes, totalBytes, dumpBytes, tablesDone, tablesTotal } = progress ?? {}
  return html`since ${startedAt === null ? 'now' : when(startedAt, now)}${[
    phase === undefined ? null : `, ${phase}`,
    doneBytes === undefined ? null : `, ${size(doneBytes)}${totalBytes === undefined ? '' : ` of ${size(totalBytes)}`}`,
    dumpBytes === undefined ? null : `, ${size(dumpBytes)} dumped`,
    tablesDone === undefined ? null : `, ${tablesDone} of ${tablesTotal ?? '?'} tables counted`,
  ]}`
}

function failures({ failures: all }: Status, now: Date): Html | null {
  if (all.length === 0) return null
  return html`<h2>What went wrong</h2><ul>${all.map(
    (run) =>
      html`<li>${what(run)}, ${run.finishedAt === null ? null : when(run.finishedAt, now)}:
<span class="${run.state === 'failed' ? 'bad' : 'unknown'}">${run.error?.message ?? run.state}</span>
<span class="note">${run.error?.hint}</span></li>`,
  )}</ul>`
}

function roles({ roles: all }: Status, now: Date): Html | null {
  if (all.length === 0) return null
  return html`<h2>Roles</h2><ul>${all.map(
    ({ server, newestBackup, next }) =>
      html`<li>${server}: ${
        newestBackup === null
          ? html`<span class="bad">never backed up</span>`
          : html`backed up ${when(newestBackup.finishedAt, now)}`
      }${next === null ? null : html`, next ${when(next, now)}`}</li>`,
  )}</ul>`
}

function what({ job, server, database }: RunAnswer): string {
  const place = database === null ? server : `${server}/${database}`
  return place === '' ? job : `${job} of ${place}`
}

/** Says how the measured value stands; in words, because not everybody sees colours. */
function sign({ status, objectiveSeconds }: ObjectiveStatus, name: string): Html | null {
  if (objectiveSeconds === null || status === 'no objective') return null
  const style = status === 'met' ? 'good' : status === 'missed' ? 'bad' : 'unknown'
  return html`<span class="${style}">${name} ${duration(objectiveSeconds)} ${status}</span>`
}

function when(instant: string, now: Date): Html {
  const seconds = (now.getTime() - Date.parse(instant)) / 1000
  const words = Math.abs(seconds) < 1 ? 'now' : seconds > 0 ? `${duration(seconds)} ago` : `in ${duration(-seconds)}`
  return html`<time datetime="${instant}" title="${instant}">${words}</time>`
}

/** Two units at most: `2 d 3 h`, `41 s`. */
function duration(seconds: number): string {
  if (seconds < 10) return `${Math.round(seconds * 10) / 10} s`
  const units = [86_400, 3600, 60, 1]
  const names = ['d', 'h', 'min', 's']
  const first = units.findIndex((unit) => seconds >= unit)
  const large = Math.floor(seconds / (units[first] as number))
  const small = Math.floor((seconds % (units[first] as number)) / (units[first + 1] ?? 1))
  const rest = first === 3 || small === 0 ? '' : ` ${small} ${names[first + 1]}`
  return `${large} ${names[first]}${rest}`
}

function size(bytes: number): string {
  const power = Math.min(4, Math.max(0, Math.floor(Math.log10(Math.max(1, bytes)) / 3)))
  return `${(bytes / 1000 ** power).toFixed(power === 0 ? 0 : 1)} ${['B', 'kB', 'MB', 'GB', 'TB'][power]}`
}

function plural(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`
}
