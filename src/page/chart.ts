import { wallClock } from '../domain/local-time.ts'
import type { RestoreTime } from './facts.ts'
import { type Html, html } from './html.ts'
import { clockTime, dayName, duration, plural, sign } from './words.ts'

/** Small enough that its letters can be read on a phone, where a unit is a pixel. */
const width = 340
const height = 178
const plot = { left: 46, right: width - 10, top: 26, bottom: height - 24 } as const

type Labels = { readonly id: string; readonly timezone: string }

/** Restore times of the last drills with the objective as a line, and the same as a table. */
export function restoreChart(times: readonly RestoreTime[], objectiveSeconds: number | null, labels: Labels): Html {
  const key = JSON.stringify([objectiveSeconds, labels])
  const known = charts.get(times)
  if (known?.key === key) return known.chart
  const chart = makeChart(times, objectiveSeconds, labels)
  charts.set(times, { key, chart })
  return chart
}

/** The same drills are shown until there is another. */
const charts = new WeakMap<readonly RestoreTime[], { readonly key: string; readonly chart: Html }>()

function makeChart(times: readonly RestoreTime[], objectiveSeconds: number | null, { id, timezone }: Labels): Html {
  if (times.length === 0) return html`<h4>Restore time</h4><p class="note">No drill has measured it yet.</p>`
  const scale = scaleOf(times, objectiveSeconds)
  const points = times.map((time) => ({ ...time, x: scale.x(time.at), y: scale.y(time.seconds) }))
  const line = points.filter(({ verdict }) => verdict === 'passed')
  return html`<h4>Restore time</h4>
<svg class="chart" viewBox="0 0 ${width} ${height}" role="img" aria-labelledby="${id}-chart">
<title id="${id}-chart">${summary(times, objectiveSeconds)}</title>
${scale.ticks.map(
  ({ y, words }) =>
    html`<path class="grid" d="M${plot.left} ${y}H${plot.right}"/><text x="${plot.left - 5}" y="${y + 4}" text-anchor="end">${words}</text>`,
)}
${objectiveSeconds === null ? null : objectiveLine(scale.y(objectiveSeconds), objectiveSeconds)}
${line.length < 2 ? null : html`<path class="line" d="M${line.map(({ x, y }) => `${x} ${y}`).join('L')}"/>`}
${points.map((point) => marker(point, objectiveSeconds))}
${dateLabels(times, timezone)}
</svg>
<details class="table"><summary>Restore times as a table</summary>
<table><caption class="hidden">${summary(times, objectiveSeconds)}</caption>
<thead><tr><th scope="col">Drill</th><th scope="col">Verdict</th><th scope="col">Restore time</th></tr></thead>
<tbody>${times
    .toReversed()
    .map(
      ({ at, verdict, seconds }) =>
        html`<tr><td>${clockTime(at, timezone)}</td><td>${verdict}</td><td>${duration(seconds)}${
          objectiveSeconds !== null && seconds > objectiveSeconds ? html` ${sign('bad', 'over the objective')}` : null
        }</td></tr>`,
    )}</tbody></table></details>`
}

type Scale = {
  readonly x: (at: Date) => number
  readonly y: (seconds: number) => number
  readonly ticks: readonly { readonly y: number; readonly words: string }[]
}

/** Logarithmic where the objective is far from what is measured: on a linear axis every drill would lie on the ground. */
function scaleOf(times: readonly RestoreTime[], objectiveSeconds: number | null): Scale {
  const values = [...times.map(({ seconds }) => seconds), ...(objectiveSeconds === null ? [] : [objectiveSeconds])]
  const least = Math.max(0.1, Math.min(...values))
  const most = Math.max(least * 1.2, ...values)
  const isLogarithmic = most / least > 8
  const bottom = isLogarithmic ? Math.log(least / 1.5) : 0
  const top = isLogarithmic ? Math.log(most * 1.5) : most * 1.15
  const y = (seconds: number): number => {
    const value = isLogarithmic ? Math.log(Math.max(0.1, seconds)) : seconds
    return round(plot.bottom - ((value - bottom) / (top - bottom)) * (plot.bottom - plot.top))
  }
  const first = times[0]?.at.getTime() ?? 0
  const span = (times.at(-1)?.at.getTime() ?? 0) - first
  const room = plot.right - plot.left - 16
  const x = (at: Date): number =>
    round(plot.left + 8 + (span === 0 ? room / 2 : ((at.getTime() - first) / span) * room))
  const inRange = (isLogarithmic ? roundTimes : linearTicks(most * 1.15)).filter((seconds) => {
    const at = y(seconds)
    return at <= plot.bottom && at >= plot.top
  })
  // No more than five, or their words would touch.
  const step = Math.ceil(inRange.length / 5)
  const ticks = inRange
    .filter((_, index) => index % step === 0)
    .map((seconds) => ({ y: y(seconds), words: duration(seconds) }))
  return { x, y, ticks }
}

const roundTimes = [0.1, 1, 5, 15, 60, 300, 900, 3600, 14_400, 43_200, 172_800, 604_800]
const roundSteps = [
  0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 21_600, 43_200, 86_400,
]

function linearTicks(most: number): readonly number[] {
  const step = roundSteps.find((one) => most / one <= 5) ?? Math.ceil(most / 5 / 86_400) * 86_400
  return Array.from({ length: Math.floor(most / step) + 1 }, (_, index) => index * step)
}

/** Its words stand above the plot, where no drill can be. */
function objectiveLine(y: number, seconds: number): Html {
  const words = `objective ${duration(seconds)}`
  return html`<path class="objective" d="M${plot.left} ${y}H${plot.right}"/><path class="objective" d="M${plot.left} 8h22"/><text class="objective" x="${plot.left + 27}" y="12">${words}</text>`
}

function marker(
  { x, y, verdict, seconds }: RestoreTime & { readonly x: number; readonly y: number },
  objectiveSeconds: number | null,
): Html {
  const title = html`<title>${duration(seconds)}</title>`
  if (verdict === 'passed') {
    const isOver = objectiveSeconds !== null && seconds > objectiveSeconds
    return html`<circle class="${isOver ? 'f' : 'p'}" cx="${x}" cy="${y}" r="3.5">${title}</circle>`
  }
  const cross = `M${x - 4} ${y - 4}l8 8m0-8l-8 8`
  const ring = `M${x - 4} ${y}a4 4 0 1 0 8 0a4 4 0 1 0-8 0`
  return html`<path class="${verdict === 'failed' ? 'cross' : 'ring'}" d="${verdict === 'failed' ? cross : ring}">${title}</path>`
}

function dateLabels(times: readonly RestoreTime[], timezone: string): Html {
  const name = (time: RestoreTime | undefined): string =>
    time === undefined ? '' : dayName(new Date(wallClock(time.at.getTime(), timezone))).slice(4)
  const [first, last] = [name(times[0]), name(times.at(-1))]
  if (first === last)
    return html`<text x="${(plot.left + plot.right) / 2}" y="${height - 6}" text-anchor="middle">${last}</text>`
  return html`<text x="${plot.left}" y="${height - 6}">${first}</text><text x="${plot.right}" y="${height - 6}" text-anchor="end">${last}</text>`
}

function summary(times: readonly RestoreTime[], objectiveSeconds: number | null): string {
  const seconds = times.map((time) => time.seconds)
  const newest = times.at(-1)
  const objective =
    objectiveSeconds === null ? 'there is no objective' : `the objective is ${duration(objectiveSeconds)}`
  if (times.length === 1)
    return `Restore time of the only drill that measured it: ${duration(newest?.seconds ?? 0)}; ${objective}`
  const range = `${duration(Math.min(...seconds))} to ${duration(Math.max(...seconds))}`
  return `Restore times of the last ${plural(times.length, 'drill')}: ${range}, the last ${duration(newest?.seconds ?? 0)}; ${objective}`
}

function round(value: number): number {
  return Math.round(value * 10) / 10
}
