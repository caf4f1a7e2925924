/**
 * Writes config/grafana/provisioning/alerting/pgproof.yaml: the alerts of config/prometheus/rules.yml for Grafana's own
 * alerting. With `--check` it only tells whether the file is up to date.
 */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parse, stringify } from 'yaml'
import { z } from 'zod'
import { databasesPanelId } from './grafana-fleet.ts'
import { keepInStep } from './keep-in-step.ts'

const source = 'config/prometheus/rules.yml'

/** The uid that config/grafana/provisioning/datasources/prometheus.yaml gives. */
export const dataSourceUid = 'prometheus'

/**
 * Prometheus' alerting rules in Grafana's format of provisioning; recorded metrics are written out. Throws on what
 * Grafana cannot do, such as labels of the Prometheus server.
 */
export function grafanaAlerts(rules: string): string {
  const { groups } = rulesFile.parse(parse(rules))
  const recorded = new Map<string, string>()
  const document = {
    apiVersion: 1,
    groups: groups.map((group) => ({
      orgId: 1,
      name: group.name,
      folder: 'pgproof',
      interval: group.interval ?? '1m',
      rules: group.rules.flatMap((rule) => {
        const expr = writtenOut(rule.expr.trim(), recorded)
        if ('alert' in rule) return [alertRule({ ...rule, expr })]
        recorded.set(rule.record, expr)
        return []
      }),
    })),
  }
  return `${head}${stringify(document, { lineWidth: 0 })}`
}

/** Grafana's template for a text of Prometheus: the value is that of the query, and what is asked besides is left out. */
export function grafanaText(text: string): string {
  const alone = text.replaceAll(/\{\{-? with printf .*?\| query -?\}\}.*?\{\{-? end -?\}\}\s*/gs, '')
  const unknown =
    /\$externalLabels|\.ExternalLabels|\{\{[^}]*[ (]\.(Value|Labels)\b|\{\{[^}]*\b(query|first|tmpl)\b/.exec(alone)
  if (unknown !== null) throw new Error(`Grafana does not know ${unknown[0]} in: ${text}`)
  return alone.replaceAll(/\$value\b/g, '$values.A.Value')
}

const head = `# Made from ${source} by \`node scripts/grafana-alerts.ts\`; change that file instead.
# Grafana's own alerting, for those who run no Alertmanager: with both, everything is told twice.
`

const texts = z.record(z.string(), z.string()).default({})
const alertingRule = z.strictObject({
  alert: z.string(),
  expr: z.string(),
  for: z.string().optional(),
  keep_firing_for: z.string().optional(),
  labels: texts,
  annotations: texts,
})
const rulesFile = z.strictObject({
  groups: z.array(
    z.strictObject({
      name: z.string(),
      interval: z.string().optional(),
      rules: z.array(z.union([alertingRule, z.strictObject({ record: z.string(), expr: z.string() })])),
    }),
  ),
})

/** A recorded metric is there only where Prometheus evaluates the rules itself. */
function writtenOut(expr: string, recorded: ReadonlyMap<string, string>): string {
  return expr.replaceAll(/[A-Za-z_]\w*:[\w:]+/g, (name, at: number) => {
    const meaning = recorded.get(name)
    if (meaning === undefined) throw new Error(`${name} is recorded nowhere before: ${expr}`)
    if (/^\s*[{[]/.test(expr.slice(at + name.length))) throw new Error(`${name} cannot be written out in: ${expr}`)
    return `(${meaning})`
  })
}

function alertRule(rule: z.infer<typeof alertingRule>): object {
  return {
    uid: uidOf(rule.alert),
    title: rule.alert,
    condition: 'C',
    data: [
      {
        refId: 'A',
        relativeTimeRange: { from: 600, to: 0 },
        datasourceUid: dataSourceUid,
        model: {
          datasource: { type: 'prometheus', uid: dataSourceUid },
          editorMode: 'code',
          expr: rule.expr,
          instant: true,
          range: false,
          refId: 'A',
        },
      },
      // In Prometheus whatever a rule answers is an alert, be it 0 or not a number.
      expression('B', { type: 'math', expression: 'is_number($A) || is_nan($A) || is_inf($A)' }),
      expression('C', {
        type: 'threshold',
        expression: 'B',
        conditions: [{ evaluator: { type: 'gt', params: [0] } }],
      }),
    ],
    // No answer means nothing is wrong, also for the rules that ask what is absent: those answer when it is.
    noDataState: 'OK',
    execErrState: 'Error',
    for: rule.for ?? '0s',
    ...(rule.keep_firing_for === undefined ? {} : { keepFiringFor: rule.keep_firing_for }),
    // As in Prometheus: what is no longer answered is over.
    missing_series_evals_to_resolve: 1,
    dashboardUid: 'pgproof-fleet',
    panelId: databasesPanelId,
    annotations: mapTexts(rule.annotations, grafanaText),
    // Of these Grafana replaces $NAME by the environment; a doubled one is left.
    labels: mapTexts(rule.labels, (text) => grafanaText(text).replaceAll('$', '$$$$')),
  }
}

function expression(refId: string, model: object): object {
  return {
    refId,
    relativeTimeRange: { from: 600, to: 0 },
    datasourceUid: '__expr__',
    model: { datasource: { type: '__expr__', uid: '__expr__' }, refId, ...model },
  }
}

/** `PgproofBackupTooOld` → `pgproof-backup-too-old`; Grafana takes up to 40 characters. */
function uidOf(alert: string): string {
  const uid = alert
    .replaceAll(/([a-z0-9])([A-Z])/g, '$1-$2')
    .replaceAll(/[^A-Za-z0-9]+/g, '-')
    .toLowerCase()
  if (uid.length > 40) throw new Error(`the name of ${alert} is too long for Grafana: ${uid}`)
  return uid
}

function mapTexts(of: Readonly<Record<string, string>>, change: (text: string) => string): Record<string, string> {
  return Object.fromEntries(Object.entries(of).map(([name, text]) => [name, change(text.trim())]))
}

if (import.meta.main) {
  const rules = await readFile(join(import.meta.dirname, '..', source), 'utf8')
  await keepInStep(
    { 'config/grafana/provisioning/alerting/pgproof.yaml': grafanaAlerts(rules) },
    'node scripts/grafana-alerts.ts',
  )
}
