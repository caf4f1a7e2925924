import { refusedWords } from '../domain/refused-words.ts'
import type { QueueAnswer } from '../http/queue-answer.ts'
import { hintOf } from './hints.ts'
import { type Html, html } from './html.ts'
import { mostOffsetSeconds } from './queue-worries.ts'
import { duration, placeName, plural, prose, quoted, sign, visible, when } from './words.ts'

/** The queue that a fleet shares, and who works on it; nothing of a process on its own. */

type Worker = QueueAnswer['workers'][number]
type Dead = QueueAnswer['dead'][number]

const workersOpen = 12

export function workersSection({ workers, asOf }: QueueAnswer): Html {
  const now = new Date(asOf)
  const sorted = workers.toSorted((one, other) => trouble(other) - trouble(one))
  const rest = sorted.slice(workersOpen)
  const living = workers.filter(({ isAlive }) => isAlive)
  const taken = living.reduce((sum, { running }) => sum + running.length, 0)
  const places = living.reduce((sum, one) => sum + one.places, 0)
  const list = (of: readonly Worker[]): Html =>
    html`<ul class="workers">${of.map((worker) => workerItem(worker, now))}</ul>`
  return html`<section id="workers" aria-labelledby="workers-title"><h2 id="workers-title">Workers <span class="count">${living.length}${living.length === workers.length ? null : ` of ${workers.length}`} alive, ${taken} of ${plural(places, 'place')} taken</span></h2>
${workers.length === 0 ? html`<p class="note">None has shown a sign of life yet.</p>` : list(sorted.slice(0, workersOpen))}
${rest.length === 0 ? null : html`<details id="more-workers"><summary>${plural(rest.length, 'more worker')}</summary>${list(rest)}</details>`}
</section>`
}

/** Those that somebody should look at come first. */
function trouble({ isAlive, refused, clockOffsetSeconds }: Worker): number {
  if (!isAlive) return 3
  if (refused.length > 0) return 2
  return Math.abs(clockOffsetSeconds) > mostOffsetSeconds ? 1 : 0
}

const dutyWords = { backup: 'backups', drill: 'drills', prune: 'prunes', sync: 'syncs', serve: 'this page' } as const

function workerItem(worker: Worker, now: Date): Html {
  const { name, labels, may, version, seenAt, isAlive, hasTurn, places, running, clockOffsetSeconds, refused } = worker
  const offset = Math.abs(clockOffsetSeconds)
  const clock = `its clock is ${duration(offset)} ${clockOffsetSeconds > 0 ? 'ahead' : 'behind'}`
  const isWell = isAlive && refused.length === 0 && offset <= mostOffsetSeconds
  return html`<li class="${isAlive ? (isWell ? 'good' : 'warn') : 'bad'}"><div class="line"><strong>${quoted(name)}</strong>
${isAlive ? sign(isWell ? 'good' : 'warn', 'alive') : sign('bad', 'no sign of life')}
<span class="note">${when(seenAt, now)}, version ${visible(version)}</span></div>
<span class="block">${labels.length === 0 ? null : html`for ${labels.map((label, index) => html`${index === 0 ? null : ', '}<code>${visible(label)}</code>`)} and what has no label; `}does ${may.map((duty) => dutyWords[duty]).join(', ')}${hasTurn ? html` <strong>· orders what is due</strong>` : null}</span>
${
  running.length === 0
    ? html`<span class="block note">runs nothing, ${plural(places, 'place')}</span>`
    : html`<span class="block note">${running.length} of ${plural(places, 'place')} taken</span><ul class="inner">${running.map(
        (run) =>
          html`<li>${run.job} of ${quoted(placeName(run))} <span class="note">since ${when(run.since, now)}</span></li>`,
      )}</ul>`
}
${offset < 1 ? null : html`<span class="block">${sign(offset > mostOffsetSeconds ? 'warn' : 'none', clock)}</span>`}
${refused.map(
  ({ code, reason, at, until, ...of }) =>
    html`<span class="block">${sign('warn', quoted(refusedWords({ ...of, code })))} <span class="note">since ${when(at, now)}${until === null ? null : html`, until ${when(until, now)}`}</span>: ${prose(reason)} <code>${visible(code)}</code></span>${hintBlock(code)}`,
)}</li>`
}

const deadOpen = 5

export function queueSection({ queues, dead, vanished, isReachable, asOf }: QueueAnswer): Html {
  const now = new Date(asOf)
  const rest = dead.slice(deadOpen)
  const list = (of: readonly Dead[]): Html => html`<ul class="failures">${of.map((one) => deadItem(one, now))}</ul>`
  return html`<section id="queue" aria-labelledby="queue-title"><h2 id="queue-title">Queue ${isReachable ? null : sign('bad', 'cannot be reached')}</h2>
${isReachable ? null : html`<p class="note">What follows is as it was at <time datetime="${asOf}">${asOf}</time>.</p>`}
${
  queues.length === 0
    ? html`<p class="note">It is empty.</p>`
    : html`<table class="counts"><caption class="hidden">Entries by queue and state</caption>
<thead><tr><th scope="col">Queue</th><th scope="col">Waiting</th><th scope="col">Running</th><th scope="col">Failed<span class="hidden"> within two days</span></th><th scope="col">Oldest</th></tr></thead>
<tbody>${queues.map(
        ({ name, queued, active, failed, oldestQueuedAt }) =>
          html`<tr><th scope="row">${quoted(name)}</th><td>${queued}</td><td>${active}</td><td>${failed === 0 ? '0' : sign('warn', String(failed))}</td><td>${oldestQueuedAt === null ? '–' : when(oldestQueuedAt, now)}</td></tr>`,
      )}</tbody></table>`
}
${dead.length === 0 ? null : html`<h3>Dead entries <span class="count">${dead.length}</span></h3>${list(dead.slice(0, deadOpen))}`}
${rest.length === 0 ? null : html`<details id="more-dead"><summary>${rest.length} more</summary>${list(rest.slice(0, 100))}</details>`}
${
  vanished.length === 0
    ? null
    : html`<h3>Databases gone from their servers <span class="count">${vanished.length}</span></h3><p>${vanished
        .slice(0, 50)
        .map(
          (place, index) => html`${index === 0 ? null : ', '}${quoted(placeName(place))}`,
        )}${vanished.length > 50 ? ` and ${vanished.length - 50} more` : null}</p>`
}
</section>`
}

function deadItem({ id, job, server, database, at, code, reason }: Dead, now: Date): Html {
  const place = server === null ? '' : placeName({ server, database })
  const name = job === null ? 'unreadable entry' : place === '' ? job : `${job} of ${place}`
  return html`<li id="dead-${visible(id)}"><div class="line"><strong>${quoted(name)}</strong> <span class="note">${when(at, now)}</span></div>
<span class="block">${prose(reason)} <code>${visible(code)}</code></span>${hintBlock(code)}</li>`
}

function hintBlock(code: string): Html | null {
  const hint = hintOf(code)
  return hint === undefined ? null : html`<span class="block hint">${prose(hint)}</span>`
}
