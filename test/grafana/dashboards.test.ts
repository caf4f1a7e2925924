import { readdirSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { dataSourceUid } from '../../scripts/grafana-alerts.ts'
import { dashboards } from '../../scripts/grafana-dashboards.ts'
import { databasesPanelId } from '../../scripts/grafana-fleet.ts'
import { registerCertificateMetric } from '../../src/metrics/certificate-metric.ts'
import { everyMetric } from '../metrics/every-metric.ts'
import { dashboardFiles, type PanelFile, type Place } from './dashboard-files.ts'

const provisioning = 'config/grafana/provisioning'
const isRow = ({ type }: PanelFile): boolean => type === 'row'

describe('config/grafana/dashboards', () => {
  it('what the script makes - is what the files hold', () => {
    const made = dashboards()
    expect(dashboardFiles.map(({ path }) => path).sort()).toEqual(Object.keys(made).sort())
    for (const [path, text] of Object.entries(made)) expect(readFileSync(path, 'utf8') === text, path).toBe(true)
  })

  it('uids of dashboards and ids of panels - each once', () => {
    expect(new Set(dashboardFiles.map(({ dashboard }) => dashboard.uid)).size).toBe(dashboardFiles.length)
    for (const { dashboard } of dashboardFiles) {
      const ids = dashboard.panels.map(({ id }) => id)
      expect(ids.length - new Set(ids).size, dashboard.title).toBe(0)
    }
  })

  it('every panel - says what it shows, has a unit, thresholds, and asks the chosen data source', () => {
    const faults = dashboardFiles.flatMap(({ dashboard }) =>
      dashboard.panels
        .filter((panel) => !isRow(panel))
        .flatMap((panel) => faultsOf(panel).map((fault) => `${dashboard.uid} ${panel.id}: ${fault}`)),
    )
    expect(faults).toEqual([])
  })

  it('places of the panels - fill lines of 24 columns, without an overlap', () => {
    for (const { dashboard } of dashboardFiles) {
      const taken = new Set<string>()
      for (const { gridPos, title } of dashboard.panels)
        for (const cell of cellsOf(gridPos)) {
          expect(taken.has(cell), `${title} at ${cell}`).toBe(false)
          taken.add(cell)
        }
      const height = Math.max(...dashboard.panels.map(({ gridPos: { y, h } }) => y + h))
      expect(taken.size).toBe(24 * height)
    }
  })

  it('every metric that is asked for - is one that pgproof has', async () => {
    const { registry } = await everyMetric()
    registerCertificateMetric(registry, () => new Date(0))
    const known = new Set(registry.getMetricsAsArray().map(({ name }) => name))
    const asked = dashboardFiles.flatMap(
      ({ path }) => readFileSync(path, 'utf8').match(/\b(pgproof|process)_\w+/g) ?? [],
    )
    expect(asked.length).toBeGreaterThan(50)
    expect(asked.filter((name) => !known.has(name) && !known.has(name.replace(/_(sum|count|bucket)$/, '')))).toEqual([])
  })

  it('every metric of a database, store, key or schedule - is on a dashboard', async () => {
    const { registry } = await everyMetric()
    const shown = dashboardFiles.map(({ path }) => readFileSync(path, 'utf8')).join('\n')
    const own = registry
      .getMetricsAsArray()
      .map(({ name }) => name)
      .filter((name) => name.startsWith('pgproof_'))
    expect(own.filter((name) => !new RegExp(`\\b${name}(_sum)?\\b`).test(shown)).sort()).toEqual([
      // The runs and what came of them are shown instead.
      'pgproof_backup_last_attempt_timestamp_seconds',
      'pgproof_config_last_reload_success_timestamp_seconds',
      'pgproof_drill_last_attempt_timestamp_seconds',
    ])
  })

  it('links from one dashboard to another - lead to one that exists, with variables that it has', () => {
    const links = dashboardFiles.flatMap(({ path }) => readFileSync(path, 'utf8').match(/\/d\/[^"]+/g) ?? [])
    expect(links.length).toBeGreaterThan(1)
    for (const link of links) {
      const [, uid] = /^\/d\/([\w-]+)\?/.exec(link) ?? []
      const target = dashboardFiles.find(({ dashboard }) => dashboard.uid === uid)?.dashboard
      const names = [...link.matchAll(/var-(\w+)=/g)].map(([, name]) => name)
      expect(
        target?.templating.list.map(({ name }) => name),
        link,
      ).toEqual(expect.arrayContaining(names))
    }
  })

  it('columns that are coloured or have a unit of their own - are columns of the table', () => {
    for (const { dashboard } of dashboardFiles)
      for (const panel of dashboard.panels.filter(({ type }) => type === 'table')) {
        const organize = panel.transformations?.find(({ id }) => id === 'organize')?.options
        const columns = [...Object.values(organize?.renameByName ?? {}), ...Object.keys(organize?.indexByName ?? {})]
        const named = panel.fieldConfig?.overrides.map(({ matcher }) => matcher.options) ?? []
        expect(columns, panel.title).toEqual(expect.arrayContaining(named))
      }
  })
})

describe('config/grafana/provisioning', () => {
  it('the data source of the alerts, the folder of the dashboards, the panel of the alerts - are there', () => {
    const read = (name: string): unknown => parse(readFileSync(`${provisioning}/${name}`, 'utf8'))
    expect(read('datasources/prometheus.yaml')).toMatchObject({
      apiVersion: 1,
      datasources: [{ uid: dataSourceUid, type: 'prometheus' }],
    })
    expect(read('dashboards/pgproof.yaml')).toMatchObject({
      apiVersion: 1,
      providers: [{ type: 'file', options: { path: '/etc/grafana/dashboards' } }],
    })
    const fleet = dashboardFiles.find(({ dashboard }) => dashboard.uid === 'pgproof-fleet')?.dashboard
    expect(fleet?.panels.find(({ id }) => id === databasesPanelId)?.title).toBe('Databases')
  })

  it('the example of contact points - every route has a receiver, and Grafana does not load it by itself', () => {
    const example = parse(readFileSync('config/grafana/contact-points.example.yaml', 'utf8')) as {
      contactPoints: { name: string; receivers: { uid: string }[] }[]
      policies: Route[]
    }
    const names = ['grafana-default-email', ...example.contactPoints.map(({ name }) => name)]
    for (const receiver of receiversOf(example.policies)) expect(names).toContain(receiver)
    expect(readdirSync(`${provisioning}/alerting`)).toEqual(['pgproof.yaml'])
  })
})

type Route = { readonly receiver: string; readonly routes?: readonly Route[] }

function receiversOf(routes: readonly Route[]): readonly string[] {
  return routes.flatMap(({ receiver, routes: deeper = [] }) => [receiver, ...receiversOf(deeper)])
}

function faultsOf({ title, description, fieldConfig, targets }: PanelFile): readonly string[] {
  const { unit, thresholds } = fieldConfig?.defaults ?? {}
  return [
    ...(title === '' ? ['no title'] : []),
    ...(description?.endsWith('.') === true ? [] : ['no description']),
    ...(unit === undefined || unit === '' ? ['no unit'] : []),
    ...(thresholds?.steps[0]?.value === null ? [] : ['no thresholds from the lowest value up']),
    ...(targets === undefined || targets.length === 0 ? ['no query'] : []),
    ...(targets ?? []).flatMap(({ datasource, refId }) =>
      datasource.uid === '$' + '{datasource}' && datasource.type === 'prometheus'
        ? []
        : [`query ${refId} asks elsewhere`],
    ),
  ]
}

function cellsOf({ h, w, x, y }: Place): readonly string[] {
  return Array.from({ length: h * w }, (_, index) => `${x + (index % w)},${y + Math.floor(index / w)}`)
}
