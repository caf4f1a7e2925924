import type { RunAnswer } from '../http/answers.ts'
import type { Status } from '../http/status.ts'
import type { PageFacts } from './facts.ts'
import { type Html, html } from './html.ts'
import { areMany, hrefOf } from './places.ts'
import { clockTime, placeName, plural, prose, quoted, sign, size, visible, when } from './words.ts'
import { pauseEnd } from './worries.ts'

/** What goes on, what waits, what went wrong and what comes next. */

/** `data-runs` changes when a run begins or ends: then the rest of the page has changed, too. */
export function runsSection({ runs, time }: Status): Html {
  const now = new Date(time)
  const running = runs.filter(({ state }) => state === 'running')
  // Newest first is how they are listed; the first to start is what matters here.
  const waiting = runs
    .filter(({ state }) => state !== 'running')
    .toSorted((one, other) => (one.position ?? Number.MAX_SAFE_INTEGER) - (other.position ?? Number.MAX_SAFE_INTEGER))
  const state = runs.map((run) => run.id.slice(0, 8) + run.state.charAt(0)).join(' ')
  return html`<section id="runs" aria-labelledby="runs-title" data-runs="${state}"><h2 id="runs-title">Under way</h2>
${running.length + waiting.length === 0 ? html`<p class="note">No run goes on or waits.</p>` : null}
${running.length === 0 ? null : html`<ul class="runs">${running.map((run) => runningItem(run, now))}</ul>`}
${waiting.length === 0 ? null : html`<h3>Waiting</h3><ol class="runs">${waiting.slice(0, waitingOpen).map((run) => waitingItem(run, now))}</ol>`}
${waiting.length <= waitingOpen ? null : html`<p class="note">And ${plural(waiting.length - waitingOpen, 'more run')}: ${countedByJob(waiting.slice(waitingOpen))}.</p>`}
</section>`
}

/** In a fleet hundreds wait when the night begins, and this is asked for every few seconds. */
const waitingOpen = 6

function countedByJob(runs: readonly RunAnswer[]): string {
  const jobs = Map.groupBy(runs, ({ job }) => job)
  const many = {
    backup: 'backups',
    roles: 'backups of roles',
    drill: 'drills',
    prune: 'prunes',
    sync: 'syncs',
  } as const
  return [...jobs].map(([job, of]) => plural(of.length, job, many[job])).join(', ')
}

function runningItem(run: RunAnswer, now: Date): Html {
  const { value, max, words } = progressOf(run)
  const bar =
    value === null
      ? html`<progress aria-label="${nameOf(run)}"></progress>`
      : html`<progress aria-label="${nameOf(run)}" value="${value}" max="${max}"></progress>`
  return html`<li id="run-${run.id}"><div class="line"><strong>${quoted(nameOf(run))}</strong>
<span class="note">${onWorker(run)}${run.startedAt === null ? null : html`since ${when(run.startedAt, now)}`}</span>${cancelButton(run)}</div>
${bar}<span class="block">${visible(words)}</span></li>`
}

function onWorker({ worker }: RunAnswer): Html | null {
  return worker === null ? null : html`on ${quoted(worker)}, `
}

function waitingItem(run: RunAnswer, now: Date): Html {
  const { position, queuedAt } = run
  const before =
    position === null ? '' : position === 0 ? ', the next to start' : `, ${plural(position, 'run')} before it`
  return html`<li id="run-${run.id}"><div class="line"><strong>${quoted(nameOf(run))}</strong>
<span class="note">ordered ${when(queuedAt, now)}${before}</span>${cancelButton(run)}</div></li>`
}

function cancelButton(run: RunAnswer): Html {
  const name = visible(nameOf(run))
  const scope = run.job === 'drill' ? 'drill' : 'backup'
  return html`<button type="button" class="script small" id="cancel-${run.id}" data-cancel="${run.id}" data-scope="${scope}" data-what="${name}" aria-label="Cancel the ${name}">Cancel</button>`
}

/** The phases of a drill in their order, as a person says them. */
const drillPhaseWords: Readonly<Record<string, string>> = {
  queue: 'waiting for its turn',
  fetch: 'fetching the backup from the store',
  scratch: 'starting the scratch server',
  roles: 'restoring the roles',
  restore: 'restoring the dump',
  analyze: 'gathering statistics',
  query: 'asking the first query',
  verify: 'comparing every table with the evidence',
}
const drillSteps = Object.keys(drillPhaseWords)
const otherPhaseWords: Readonly<Record<string, string>> = { copy: 'copying to a store that lacks it' }

type Progress = { readonly value: number | null; readonly max: number; readonly words: string }

function progressOf({ job, progress }: RunAnswer): Progress {
  const { phase, doneBytes, totalBytes, dumpBytes, tablesDone, tablesTotal } = progress ?? {}
  const share =
    doneBytes !== undefined && totalBytes
      ? { done: doneBytes, of: totalBytes }
      : tablesDone !== undefined && tablesTotal
        ? { done: tablesDone, of: tablesTotal }
        : null
  const part = share === null ? 0 : Math.min(1, share.done / share.of)
  const step = job === 'drill' && phase !== undefined ? drillSteps.indexOf(phase) : -1
  const said = [
    step < 0 ? '' : `step ${step + 1} of ${drillSteps.length}`,
    phase === undefined ? '' : (drillPhaseWords[phase] ?? otherPhaseWords[phase] ?? phase),
    doneBytes === undefined ? '' : `${size(doneBytes)}${totalBytes === undefined ? '' : ` of ${size(totalBytes)}`}`,
    dumpBytes === undefined ? '' : `${size(dumpBytes)} dumped`,
    tablesDone === undefined ? '' : `${tablesDone} of ${tablesTotal ?? '?'} tables counted`,
  ].filter((words) => words !== '')
  const words = said.length === 0 ? 'begun' : said.join(', ').replace(/^(step \d of \d), /, '$1: ')
  if (step >= 0) return { value: Math.round((step + part) * 1000) / 1000, max: drillSteps.length, words }
  return { value: share === null ? null : Math.round(part * 1000) / 1000, max: 1, words }
}

const failuresOpen = 5

export function failuresSection({ failures, time }: Status, isFleet: boolean): Html | null {
  const now = new Date(time)
  const item = (run: Status['failures'][number]): Html => {
    const { id, state, error, finishedAt, isOver } = run
    return html`<li id="failure-${id}"><div class="line"><strong>${quoted(nameOf(run))}</strong>
${isOver ? sign('none', `${state}, succeeded since`) : sign(state === 'failed' ? 'bad' : 'warn', state)}
<span class="note">${onWorker(run)}${finishedAt === null ? null : when(finishedAt, now)}</span></div>${
      error === null
        ? null
        : html`<span class="block">${prose(error.message)} <code>${error.code}</code></span>
<span class="block hint">${prose(error.hint)}</span>`
    }</li>`
  }
  const rest = failures.slice(failuresOpen)
  return html`<section id="failures" aria-labelledby="failures-title"><h2 id="failures-title">Last failures</h2>
${failures.length === 0 ? html`<p class="note">No run of this ${isFleet ? 'fleet' : 'process'} has failed.</p>` : html`<ul class="failures">${failures.slice(0, failuresOpen).map(item)}</ul>`}
${rest.length === 0 ? null : html`<details id="older-failures"><summary>${plural(rest.length, 'older failure')}</summary><ul class="failures">${rest.map(item)}</ul></details>`}
</section>`
}

const plannedOpen = 6
/** What comes later than these is not near enough to be read. */
const plannedShown = 60

type Planned = {
  readonly job: string
  readonly server: string
  readonly database: string | null
  readonly at: string
  readonly pausedUntil: string | null
}

export function scheduleSection(status: Status, { timezone }: PageFacts): Html {
  const now = new Date(status.time)
  const isMany = areMany(status.databases)
  const planned = [
    ...status.databases.flatMap(({ server, database, next }) =>
      next.map(({ job, at, pausedUntil }): Planned => ({ job, server, database, at, pausedUntil })),
    ),
    ...status.roles.flatMap(({ server, next, pausedUntil }): Planned[] =>
      next === null ? [] : [{ job: 'roles', server, database: null, at: next, pausedUntil }],
    ),
  ].sort((one, other) => Date.parse(one.at) - Date.parse(other.at))
  const item = ({ job, server, database, at, pausedUntil }: Planned): Html => {
    const place = quoted(placeName({ server, database }))
    return html`<li><span>${job} of ${database === null ? place : html`<a href="${hrefOf({ server, database }, isMany)}">${place}</a>`}</span>
<span class="note">${pausedUntil === null ? html`${when(at, now)}, ${clockTime(at, timezone)}` : sign('warn', `paused ${pauseEnd(pausedUntil, now)}`)}</span></li>`
  }
  const rest = planned.slice(plannedOpen, plannedShown)
  const beyond = planned.length - plannedShown
  return html`<section id="schedule" aria-labelledby="schedule-title"><h2 id="schedule-title">Next runs</h2>
${planned.length === 0 ? html`<p class="note">Nothing is scheduled.</p>` : html`<ul class="plain">${planned.slice(0, plannedOpen).map(item)}</ul>`}
${rest.length === 0 ? null : html`<details id="later-runs"><summary>${plural(planned.length - plannedOpen, 'later run')}</summary><ul class="plain">${rest.map(item)}</ul>${beyond > 0 ? html`<p class="note">And ${beyond} more; each database shows its own.</p>` : null}</details>`}
<p class="note">Times are those of ${timezone}.</p></section>`
}

/** `drill of main/app`. */
function nameOf(run: RunAnswer): string {
  const place = placeName(run)
  return place === '' ? run.job : `${run.job} of ${place}`
}
