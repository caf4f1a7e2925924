import { execFile } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, it, vi } from 'vitest'
import { parse, stringify } from 'yaml'
import { createProgram } from '../../src/commands/table.ts'
import { registerCertificateMetric } from '../../src/metrics/certificate-metric.ts'
import { bareSurroundings } from '../commands/in-process.ts'
import { everyMetric } from './every-metric.ts'

type Rule = {
  readonly alert?: string
  readonly record?: string
  readonly expr: string
  readonly labels?: Readonly<Record<string, string>>
  readonly annotations?: Readonly<Record<string, string>>
}
type Series = { readonly series: string; readonly values: string }
type Case = { readonly alertname: string; readonly exp_alerts: readonly object[] }

// promtool works through days of samples for each alert: half a minute for one file on a busy core.
vi.setConfig({ testTimeout: 240_000 })

const file = join('config', 'prometheus', 'rules.yml')
const folder = join('test', 'metrics', 'alerts')
const text = readFileSync(file, 'utf8')
const rules = (parse(text) as { groups: { rules: Rule[] }[] }).groups.flatMap((group) => group.rules)
const alerts = rules.filter((rule) => rule.alert !== undefined)
const page = readFileSync(join('docs', 'alerts.md'), 'utf8')
const testFiles = readdirSync(folder).filter((name) => name.endsWith('.yml'))
const cases = testFiles.flatMap((name) =>
  (parse(readFileSync(join(folder, name), 'utf8')) as { tests: { alert_rule_test: Case[] }[] }).tests.flatMap(
    (one) => one.alert_rule_test,
  ),
)

/** What promtool writes; throws with it if it finds fault. */
async function promtool(args: readonly string[], cwd = '.'): Promise<string> {
  try {
    return (await promisify(execFile)('promtool', args, { cwd })).stdout
  } catch (error) {
    const { code, stdout, stderr } = error as { code?: unknown; stdout?: string; stderr?: string }
    if (code === 'ENOENT') throw new Error('no promtool: apt-get install prometheus', { cause: error })
    throw new Error(`promtool ${args.join(' ')}:\n${stdout}\n${stderr}`, { cause: error })
  }
}

describe('the rules', () => {
  it('promtool check rules - is content', async () => {
    expect(await promtool(['check', 'rules', file])).toContain(`SUCCESS: ${rules.length} rules found`)
  })

  it.each(testFiles)(
    'promtool test rules %s - every alert fires, is silent and resolves as it should',
    async (name) => {
      await promtool(['test', 'rules', name], folder)
    },
  )

  it.each(testFiles)(
    '%s, with a second instance that says the same - every alert fires as often as with one',
    async (name) => {
      const folderOfTest = mkdtempSync(join(tmpdir(), 'two-instances-'))
      try {
        writeFileSync(join(folderOfTest, name), twoInstances(readFileSync(join(folder, name), 'utf8')))
        await promtool(['test', 'rules', name], folderOfTest)
      } finally {
        rmSync(folderOfTest, { recursive: true })
      }
    },
  )

  it('the examples for Prometheus and Alertmanager - are in order, and name alerts that there are', async () => {
    expect(await promtool(['check', 'config', join('config', 'prometheus', 'prometheus.yml')])).toContain('SUCCESS')
    const alertmanager = readFileSync(join('config', 'prometheus', 'alertmanager.yml'), 'utf8')
    const known = new Set(alerts.map(({ alert }) => alert))
    const named = alertmanager.match(/Pgproof\w+/g) ?? []
    expect(named.length).toBeGreaterThan(10)
    expect(named.filter((name) => !known.has(name))).toEqual([])
    parse(alertmanager)
  })

  it('the examples of docs/fleet.md - are in order, and scrape jobs that the rules know', async () => {
    const examples = readFileSync(join('docs', 'fleet.md'), 'utf8').match(/(?<=```yaml\n)scrape_configs:[^`]+/g) ?? []
    expect(examples).toHaveLength(2)
    const folderOfTest = mkdtempSync(join(tmpdir(), 'scraping-'))
    try {
      for (const example of examples) {
        // Debian's promtool is built without Kubernetes; the rest of the example is looked at all the same.
        const known = example.replace(/kubernetes_sd_configs: .*/, "static_configs: [{ targets: ['pgproof:9432'] }]")
        writeFileSync(join(folderOfTest, 'prometheus.yml'), known)
        expect(await promtool(['check', 'config', 'prometheus.yml'], folderOfTest)).toContain('SUCCESS')
        expect(example).toMatch(/job_name: .*pgproof/)
      }
    } finally {
      rmSync(folderOfTest, { recursive: true })
    }
  })

  it('every alert - has a case in which it fires and one in which it is silent', () => {
    const without = alerts.filter(({ alert }) => {
      const own = cases.filter(({ alertname }) => alertname === alert)
      return (
        !own.some(({ exp_alerts: fires }) => fires.length > 0) ||
        !own.some(({ exp_alerts: fires }) => fires.length === 0)
      )
    })
    expect(without.map(({ alert }) => alert)).toEqual([])
    const known = new Set(alerts.map(({ alert }) => alert))
    expect(cases.filter(({ alertname }) => !known.has(alertname))).toEqual([])
  })

  it('every metric in them - is one that pgproof exports, or that they record themselves', async () => {
    const metrics = await everyMetric()
    registerCertificateMetric(metrics.registry, () => new Date())
    const exported = [...(await metrics.text()).matchAll(/^# TYPE (\w+)/gm)].map(([, name]) => name)
    const known = new Set([...exported, ...rules.map(({ record }) => record)])
    const named = rules.flatMap(({ expr }) => expr.match(/\b(?:pgproof[_:]|nodejs_|process_)[\w:]+/g) ?? [])
    expect(named.length).toBeGreaterThan(50)
    expect(named.filter((name) => !known.has(name))).toEqual([])
  })

  it('a rule of one group - reads nothing that another group records: that may be one evaluation old', () => {
    const { groups } = parse(text) as { groups: { rules: Rule[] }[] }
    const foreign = groups.flatMap((group) => {
      const own = new Set(group.rules.map(({ record }) => record))
      return group.rules.flatMap(({ expr }) => expr.match(/\bpgproof:\w+/g) ?? []).filter((name) => !own.has(name))
    })
    expect(foreign).toEqual([])
  })
})

describe('what an alert says', () => {
  it('one of three severities, a summary without a full stop, a description of sentences, the place of its page', () => {
    const odd = alerts.filter(({ alert = '', labels = {}, annotations = {} }) => {
      const { summary = '.', description = '', runbook_url: runbook = '' } = annotations
      return (
        !['critical', 'warning', 'info'].includes(labels['severity'] ?? '') ||
        summary.endsWith('.') ||
        !/(\.|--roles|--pick latest)$/.test(description) ||
        runbook !== `https://github.com/pgproof/pgproof/blob/main/docs/alerts.md#${alert.toLowerCase()}`
      )
    })
    expect(odd.map(({ alert }) => alert)).toEqual([])
  })

  it('docs/alerts.md - has a section for each alert, in their order, with its severity, and none besides', () => {
    const sections = [...page.matchAll(/^### (Pgproof\w+)\n\n\*(\w+)\*/gm)].map(([, name, severity]) => [
      name,
      severity,
    ])
    expect(sections).toEqual(alerts.map(({ alert, labels }) => [alert, labels?.['severity']]))
    expect([...page.matchAll(/^### /gm)]).toHaveLength(alerts.length)
  })

  it('docs/alerts.md and the alerts - name only commands and flags that there are', () => {
    const commands = new Map(
      createProgram(bareSurroundings, async () => {}).commands.map((one) => [
        one.name(),
        one.options.map(({ long }) => long),
      ]),
    )
    const named = [
      ...[...page.matchAll(/(?:`|^)pgproof ([a-z]+)((?: [\w/.:-]+)*)/gm)],
      ...[...text.matchAll(/pgproof (backup|drill|prune|show)((?: [^\n]*--[a-z-]+)?)/g)],
    ]
    expect(named.length).toBeGreaterThan(30)
    const unknown = named.filter(([, name = '', rest = '']) => {
      const options = commands.get(name)
      return options === undefined || (rest.match(/--[a-z-]+/g) ?? []).some((flag) => !options.includes(flag))
    })
    expect(unknown.map(([all]) => all)).toEqual([])
  })
})

/** Metrics that are of one process: another instance says something else of itself. */
const ofOneProcess = /^(up|pgproof_(build_info|config_|notice|tls_)|nodejs_|process_)/

/** A file of promtool, with what an instance says of databases, stores, keys and queue said by another one, too. */
function twoInstances(fileText: string): string {
  const { tests, ...rest } = parse(fileText) as { tests: { name: string; input_series: Series[] }[] }
  // Some are about instances that differ.
  const alike = tests.filter(({ name }) => !name.startsWith('one instance'))
  const doubled = alike.map((one) => {
    const shared = one.input_series.filter(
      ({ series }) => !ofOneProcess.test(series) && series.includes('job="pgproof"'),
    )
    const again = shared.map(({ series, values }) => ({
      series: series.replace(/instance="\w+:/, (label) => `pod="other",${label.replace('"', '"other-')}`),
      values,
    }))
    return { ...one, input_series: [...one.input_series, ...again] }
  })
  expect(doubled.some(({ input_series: series }) => series.some(({ series: name }) => name.includes('"other-')))).toBe(
    true,
  )
  return stringify({ ...rest, rule_files: [resolve(file)], tests: doubled })
}
