/** What the dashboards are put together from: Grafana's classic model of a dashboard, as far as they use it. */

export type Json = string | number | boolean | null | readonly Json[] | JsonObject
export type JsonObject = { readonly [key: string]: Json }

export type Panel = JsonObject & { readonly id: number; readonly type: string; readonly title: string }

/** Panels beside each other; their widths add up to 24. */
export type Line = { readonly height: number; readonly panels: readonly Placed[] }
export type Placed = { readonly width: number; readonly panel: Panel }
export type Section = { readonly id: number; readonly title: string; readonly lines: readonly Line[] }

/** `id` stays what it is for good: links to a panel and the alerts name it. */
type About = {
  readonly id: number
  readonly width: number
  readonly title: string
  readonly description: string
  /** One of Grafana's unit ids. */
  readonly unit: string
}

export type Query = { readonly expr: string; readonly legend?: string }

/** From a value upwards in this colour; the first one has no lower end. */
export type Step = readonly [from: number | null, color: string]

/** A value as a word in a colour. */
export type Word = { readonly value: number | null; readonly text: string; readonly color: string }

export type Override = { readonly name: string; readonly properties: JsonObject }

export const plain: readonly Step[] = [[null, 'text']]
export const zeroIsGood: readonly Step[] = [
  [null, 'green'],
  [1, 'red'],
]
/** Parts of an objective: the objective itself is the metric's own. */
export const ofObjective: readonly Step[] = [
  [null, 'green'],
  [0.8, 'yellow'],
  [1, 'red'],
]
export const verdicts: readonly Word[] = [
  { value: 1, text: 'passed', color: 'green' },
  { value: 2, text: 'inconclusive', color: 'yellow' },
  { value: 3, text: 'failed', color: 'red' },
  { value: null, text: 'never drilled', color: 'orange' },
]

export const pausedOrNot: readonly Word[] = [
  { value: 0, text: 'on', color: 'green' },
  { value: 1, text: 'paused', color: 'orange' },
]

/** A variable of Grafana's, to be replaced where the dashboard is shown. */
export function shown(name: string): string {
  return `$\{${name}}`
}

export const datasource = { type: 'prometheus', uid: shown('datasource') }

/** One or several numbers of this moment. */
export function stat(
  about: About & {
    readonly queries: readonly Query[]
    readonly steps: readonly Step[]
    readonly words?: readonly Word[]
    readonly overrides?: readonly Override[]
    readonly decimals?: number
  },
): Placed {
  return panelOf(about, 'stat', {
    fieldConfig: {
      defaults: { ...standard(about), color: { mode: 'thresholds' } },
      overrides: (about.overrides ?? []).map(overrideOf),
    },
    options: {
      colorMode: 'value',
      graphMode: 'none',
      justifyMode: 'auto',
      orientation: 'auto',
      percentChangeColorMode: 'standard',
      reduceOptions: { calcs: ['lastNotNull'], fields: '', values: false },
      showPercentChange: false,
      textMode: about.queries.length > 1 ? 'value_and_name' : 'auto',
      wideLayout: true,
    },
    targets: targets(about.queries, { instant: true, range: false }),
  })
}

/** Curves, or bars where something is counted per interval. */
export function timeseries(
  about: About & {
    readonly queries: readonly Query[]
    readonly steps?: readonly Step[]
    readonly style?: 'lines' | 'stacked' | 'bars'
    readonly overrides?: readonly Override[]
    readonly interval?: string
    readonly max?: number
  },
): Placed {
  const style = about.style ?? 'lines'
  return panelOf(about, 'timeseries', {
    ...(about.interval === undefined ? {} : { interval: about.interval }),
    fieldConfig: {
      defaults: {
        ...standard({ ...about, steps: about.steps ?? plain }),
        color: { mode: 'palette-classic' },
        min: 0,
        custom: {
          axisSoftMin: 0,
          drawStyle: style === 'bars' ? 'bars' : 'line',
          fillOpacity: style === 'lines' ? 0 : 60,
          lineWidth: 1,
          showPoints: 'never',
          spanNulls: false,
          stacking: { group: 'A', mode: style === 'lines' ? 'none' : 'normal' },
          // A line at each step, where there is one.
          thresholdsStyle: { mode: about.steps === undefined ? 'off' : 'line' },
        },
      },
      overrides: (about.overrides ?? []).map(overrideOf),
    },
    options: {
      legend: { calcs: ['lastNotNull'], displayMode: 'list', placement: 'bottom', showLegend: true },
      tooltip: { mode: 'multi', sort: 'desc' },
    },
    targets: targets(about.queries, { instant: false, range: true }),
  })
}

/** States over time, each series a band. */
export function stateTimeline(
  about: About & { readonly queries: readonly Query[]; readonly words: readonly Word[] },
): Placed {
  return panelOf(about, 'state-timeline', {
    fieldConfig: {
      defaults: {
        ...standard({ ...about, steps: plain }),
        color: { mode: 'thresholds' },
        custom: { fillOpacity: 70, lineWidth: 0 },
      },
      overrides: [],
    },
    options: {
      alignValue: 'left',
      legend: { calcs: [], displayMode: 'list', placement: 'bottom', showLegend: true },
      mergeValues: true,
      rowHeight: 0.8,
      showValue: 'auto',
      tooltip: { mode: 'single', sort: 'none' },
    },
    targets: targets(about.queries, { instant: false, range: true }),
  })
}

export type Column = {
  readonly expr: string
  readonly name: string
  readonly unit?: string
  readonly steps?: readonly Step[]
  readonly words?: readonly Word[]
}

/** One row for each set of the labels that the queries have in common. */
export function table(
  about: About & {
    readonly labels: readonly string[]
    readonly columns: readonly Column[]
    /** Where a cell of this label leads to. */
    readonly link?: { readonly label: string; readonly title: string; readonly url: string }
    readonly sortBy?: { readonly name: string; readonly isDescending: boolean }
  },
): Placed {
  const { labels, columns, link, sortBy } = about
  const fieldOf = (index: number): string => (columns.length === 1 ? 'Value' : `Value #${refIdOf(index)}`)
  const named = columns.map(({ name }, index) => [fieldOf(index), name] as const)
  return panelOf(about, 'table', {
    fieldConfig: {
      defaults: {
        ...standard({ ...about, steps: plain }),
        color: { mode: 'thresholds' },
        custom: { align: 'auto', cellOptions: { type: 'auto' }, filterable: false, inspect: false },
      },
      overrides: [
        ...columns.map(columnOverride),
        ...(link === undefined
          ? []
          : [overrideOf({ name: link.label, properties: { links: [{ title: link.title, url: link.url }] } })]),
      ],
    },
    options: {
      cellHeight: 'sm',
      frameIndex: 0,
      showHeader: true,
      sortBy: sortBy === undefined ? [] : [{ desc: sortBy.isDescending, displayName: sortBy.name }],
    },
    targets: columns.map(({ expr }, index) => ({
      ...target({ expr }, index, { instant: true, range: false }),
      format: 'table',
    })),
    transformations: [
      ...(columns.length > 1 ? [{ id: 'merge', options: {} }] : []),
      {
        id: 'organize',
        options: {
          excludeByName: { Time: true },
          indexByName: Object.fromEntries([...labels, ...named.map(([field]) => field)].map((name, at) => [name, at])),
          renameByName: { ...Object.fromEntries(named), exported_job: 'job' },
        },
      },
    ],
  })
}

/** Gives every panel its place: sections below each other, a line of panels from left to right. */
export function arrange(sections: readonly Section[]): readonly JsonObject[] {
  const arranged: JsonObject[] = []
  let y = 0
  for (const { id, title, lines } of sections) {
    arranged.push({ collapsed: false, gridPos: { h: 1, w: 24, x: 0, y }, id, panels: [], title, type: 'row' })
    y += 1
    for (const { height, panels } of lines) {
      let x = 0
      for (const { width, panel } of panels) {
        arranged.push({ ...panel, gridPos: { h: height, w: width, x, y } })
        x += width
      }
      y += height
    }
  }
  return arranged
}

function panelOf({ id, width, title, description }: About, type: string, rest: JsonObject): Placed {
  return { width, panel: { id, type, title, description, datasource, ...rest } }
}

function standard(look: {
  readonly unit: string
  readonly steps: readonly Step[]
  readonly words?: readonly Word[]
  readonly decimals?: number
  readonly max?: number
}): JsonObject {
  return {
    ...(look.decimals === undefined ? {} : { decimals: look.decimals }),
    ...(look.max === undefined ? {} : { max: look.max }),
    mappings: mappingsOf(look.words ?? []),
    thresholds: thresholdsOf(look.steps),
    unit: look.unit,
  }
}

export function thresholdsOf(steps: readonly Step[]): JsonObject {
  return { mode: 'absolute', steps: steps.map(([value, color]) => ({ color, value })) }
}

function mappingsOf(words: readonly Word[]): readonly JsonObject[] {
  return words.map(({ value, text, color }, index) =>
    value === null
      ? { type: 'special', options: { match: 'null+nan', result: { color, index, text } } }
      : { type: 'value', options: { [value]: { color, index, text } } },
  )
}

function columnOverride({ name, unit, steps, words }: Column): JsonObject {
  const isColored = steps !== undefined || words !== undefined
  return overrideOf({
    name,
    properties: {
      ...(unit === undefined ? {} : { unit }),
      ...(steps === undefined ? {} : { thresholds: thresholdsOf(steps) }),
      ...(words === undefined ? {} : { mappings: mappingsOf(words) }),
      ...(isColored ? { 'custom.cellOptions': { mode: 'basic', type: 'color-background' } } : {}),
    },
  })
}

function overrideOf({ name, properties }: Override): JsonObject {
  return {
    matcher: { id: 'byName', options: name },
    properties: Object.entries(properties).map(([id, value]) => ({ id, value })),
  }
}

type Kind = { readonly instant: boolean; readonly range: boolean }

function targets(queries: readonly Query[], kind: Kind): readonly JsonObject[] {
  return queries.map((query, index) => target(query, index, kind))
}

function target({ expr, legend }: Query, index: number, kind: Kind): JsonObject {
  return { datasource, editorMode: 'code', expr, legendFormat: legend ?? '__auto', refId: refIdOf(index), ...kind }
}

function refIdOf(index: number): string {
  return String.fromCharCode('A'.charCodeAt(0) + index)
}
