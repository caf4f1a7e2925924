/** Writes config/grafana/dashboards; with `--check` it only tells whether they are up to date. */
import { database, where } from './grafana-database.ts'
import { fleet } from './grafana-fleet.ts'
import { arrange, datasource, type Json, type JsonObject, type Section, shown } from './grafana-panels.ts'
import { questions, select } from './grafana-queries.ts'
import { keepInStep } from './keep-in-step.ts'

/** Path to text. */
export function dashboards(): Readonly<Record<string, string>> {
  const documents = [
    dashboard({
      uid: 'pgproof-fleet',
      title: 'pgproof fleet',
      description: 'What is protected, what is proven and how long a restore takes, of any number of databases.',
      from: 'now-7d',
      variables: [{ name: 'server', metric: 'pgproof_database_configured', label: 'server', isMulti: true }],
      annotations: [],
      links: [],
      sections: fleet,
    }),
    dashboard({
      uid: 'pgproof-database',
      title: 'pgproof database',
      description: 'Recovery point, restore time, drills, backups and runs of one database.',
      from: 'now-30d',
      variables: [
        { name: 'server', metric: 'pgproof_database_configured', label: 'server', isMulti: false },
        {
          name: 'database',
          metric: 'pgproof_database_configured{server="$server"}',
          label: 'database',
          isMulti: false,
        },
      ],
      annotations: [
        annotation('Drill failed', 'red', `max(${select('pgproof_drill_verdict', where, 'verdict="failed"')}) == 1`),
        annotation(
          'Drill inconclusive',
          'yellow',
          `max(${select('pgproof_drill_verdict', where, 'verdict="inconclusive"')}) == 1`,
        ),
        annotation('Run failed', 'orange', `${questions(where).runs('exported_job', '10m', 'outcome="failed"')} > 0`),
      ],
      links: [
        {
          asDropdown: false,
          icon: 'dashboard',
          includeVars: false,
          keepTime: true,
          tags: [],
          targetBlank: false,
          title: 'Fleet',
          tooltip: 'All databases',
          type: 'link',
          url: `/d/pgproof-fleet?var-datasource=${shown('datasource')}`,
        },
      ],
      sections: database,
    }),
  ]
  return Object.fromEntries(
    documents.map((document) => [`config/grafana/dashboards/${document.uid}.json`, `${print(document)}\n`]),
  )
}

type Variable = {
  readonly name: string
  readonly metric: string
  readonly label: string
  readonly isMulti: boolean
}

type Dashboard = {
  readonly uid: string
  readonly title: string
  readonly description: string
  readonly from: string
  readonly variables: readonly Variable[]
  readonly annotations: readonly JsonObject[]
  readonly links: readonly JsonObject[]
  readonly sections: readonly Section[]
}

function dashboard(wish: Dashboard): JsonObject & { readonly uid: string } {
  return {
    annotations: { list: [ownAnnotations, ...wish.annotations] },
    description: wish.description,
    editable: true,
    fiscalYearStartMonth: 0,
    // One cross-hair for all panels.
    graphTooltip: 1,
    links: wish.links,
    panels: arrange(wish.sections),
    refresh: '1m',
    // Grafana 11's; later ones bring it up to date when they load it.
    schemaVersion: 39,
    tags: ['pgproof'],
    templating: { list: [dataSourceVariable, ...wish.variables.map(queryVariable)] },
    time: { from: wish.from, to: 'now' },
    timepicker: {},
    timezone: 'browser',
    title: wish.title,
    uid: wish.uid,
    weekStart: '',
  }
}

const ownAnnotations: JsonObject = {
  builtIn: 1,
  datasource: { type: 'grafana', uid: '-- Grafana --' },
  enable: true,
  hide: true,
  iconColor: 'rgba(0, 211, 255, 1)',
  name: 'Annotations & Alerts',
  type: 'dashboard',
}

const dataSourceVariable: JsonObject = {
  hide: 0,
  includeAll: false,
  label: 'Prometheus',
  multi: false,
  name: 'datasource',
  options: [],
  query: 'prometheus',
  refresh: 1,
  regex: '',
  type: 'datasource',
}

function queryVariable({ name, metric, label, isMulti }: Variable): JsonObject {
  const query = `label_values(${metric}, ${label})`
  return {
    ...(isMulti ? { allValue: '.+', current: { text: 'All', value: '$__all' } } : {}),
    datasource,
    hide: 0,
    includeAll: isMulti,
    label: `${name.charAt(0).toUpperCase()}${name.slice(1)}`,
    multi: isMulti,
    name,
    options: [],
    query: { query, refId: 'StandardVariableQuery' },
    // On a change of the time range: databases come and go.
    refresh: 2,
    regex: '',
    sort: 1,
    type: 'query',
  }
}

function annotation(name: string, color: string, expr: string): JsonObject {
  return {
    datasource,
    enable: true,
    expr,
    hide: false,
    iconColor: color,
    name,
    step: '5m',
    tagKeys: 'exported_job',
    textFormat: '',
    titleFormat: name,
    useValueForTime: false,
  }
}

/** Keys sorted, so that a dashboard exported from Grafana compares line by line; arrays of scalars in one line. */
export function print(value: Json, indent = ''): string {
  const deeper = `${indent}  `
  if (isArray(value)) {
    if (value.length === 0) return '[]'
    const isFlat = value.every((one) => typeof one !== 'object' || one === null)
    if (isFlat) return `[${value.map((one) => JSON.stringify(one)).join(', ')}]`
    return `[\n${value.map((one) => `${deeper}${print(one, deeper)}`).join(',\n')}\n${indent}]`
  }
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  const entries = Object.entries(value).sort(([one], [other]) => (one < other ? -1 : 1))
  if (entries.length === 0) return '{}'
  return `{\n${entries.map(([key, one]) => `${deeper}${JSON.stringify(key)}: ${print(one, deeper)}`).join(',\n')}\n${indent}}`
}

function isArray(value: Json): value is readonly Json[] {
  return Array.isArray(value)
}

if (import.meta.main) await keepInStep(dashboards(), 'node scripts/grafana-dashboards.ts')
