import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parse } from 'yaml'

export type Target = {
  readonly refId: string
  readonly expr: string
  readonly instant: boolean
  readonly range: boolean
  readonly format?: string
  readonly datasource: { readonly type: string; readonly uid: string }
}

export type Place = { readonly h: number; readonly w: number; readonly x: number; readonly y: number }

type Thresholds = { readonly mode: string; readonly steps: readonly { color: string; value: number | null }[] }

export type PanelFile = {
  readonly id: number
  readonly type: string
  readonly title: string
  readonly description?: string
  readonly gridPos: Place
  readonly targets?: readonly Target[]
  readonly fieldConfig?: {
    readonly defaults: { readonly unit?: string; readonly thresholds?: Thresholds }
    readonly overrides: readonly {
      readonly matcher: { readonly options: string }
      readonly properties: readonly { readonly id: string; readonly value: unknown }[]
    }[]
  }
  readonly transformations?: readonly {
    readonly id: string
    readonly options: {
      readonly indexByName?: Readonly<Record<string, number>>
      readonly renameByName?: Readonly<Record<string, string>>
    }
  }[]
}

export type DashboardFile = {
  readonly uid: string
  readonly title: string
  readonly schemaVersion: number
  readonly panels: readonly PanelFile[]
  readonly templating: {
    readonly list: readonly {
      readonly name: string
      readonly type: string
      readonly query: string | { query: string }
    }[]
  }
  readonly annotations: { readonly list: readonly { readonly name: string; readonly expr?: string }[] }
  readonly links: readonly { readonly url: string }[]
}

const folder = 'config/grafana/dashboards'

export const dashboardFiles: readonly { readonly path: string; readonly dashboard: DashboardFile }[] = readdirSync(
  folder,
).map((name) => {
  const path = join(folder, name)
  return { path, dashboard: JSON.parse(readFileSync(path, 'utf8')) as DashboardFile }
})

/** The labels that tell the rows of a table apart. */
export function rowLabels(panel: PanelFile): readonly string[] {
  const organize = panel.transformations?.find(({ id }) => id === 'organize')
  return Object.keys(organize?.options.indexByName ?? {}).filter((name) => !name.startsWith('Value'))
}

/** Variables of type query: `label_values(metric, label)` taken apart. */
export function labelQueries(dashboard: DashboardFile): readonly { name: string; metric: string; label: string }[] {
  return dashboard.templating.list.flatMap(({ name, type, query }) => {
    if (type !== 'query' || typeof query === 'string') return []
    const [, metric, label] = /^label_values\((.+), (\w+)\)$/.exec(query.query) ?? []
    if (metric === undefined || label === undefined) throw new Error(`${name} is no label_values(): ${query.query}`)
    return [{ name, metric, label }]
  })
}

/** The dashboard's variables and Grafana's own, as Grafana replaces them. */
export function withVariables(query: string, values: Readonly<Record<string, string>>): string {
  return query.replaceAll(/\$\{?([A-Za-z_]\w*)\}?/g, (whole, name: string) => {
    const value = values[name]
    if (value === undefined) throw new Error(`nobody gives ${whole} a value in: ${query}`)
    return value
  })
}

export type AlertRuleFile = {
  readonly uid: string
  readonly title: string
  readonly condition: string
  readonly data: readonly {
    readonly refId: string
    readonly datasourceUid: string
    readonly model: { readonly expr?: string; readonly expression?: string }
  }[]
  readonly noDataState: string
  readonly execErrState: string
  readonly for: string
  readonly dashboardUid: string
  readonly panelId: number
  readonly labels: Readonly<Record<string, string>>
  readonly annotations: Readonly<Record<string, string>>
}

export const alertFile = 'config/grafana/provisioning/alerting/pgproof.yaml'

export function alertRules(text = readFileSync(alertFile, 'utf8')): readonly AlertRuleFile[] {
  const { groups } = parse(text) as { groups: readonly { rules: readonly AlertRuleFile[] }[] }
  return groups.flatMap(({ rules }) => rules)
}
