import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { grafanaAlerts, grafanaText } from '../../scripts/grafana-alerts.ts'
import { alertFile, alertRules, dashboardFiles } from './dashboard-files.ts'

const rules = `
groups:
  - name: backups
    interval: 30s
    rules:
      - alert: PgproofBackupTooOld
        expr: |
          time() - pgproof_backup_last_success_timestamp_seconds > 10
        for: 5m
        keep_firing_for: 10m
        labels: { severity: critical, place: '{{ $labels.server }} costs $5' }
        annotations:
          summary: 'Backup of {{ $labels.database }} is {{ $value | humanizeDuration }} old ({{ $values }})'
  - name: others
    rules:
      - alert: PgproofAbsent
        expr: absent(pgproof_build_info)
`

describe('rules of Prometheus in the format of Grafana', () => {
  it('a rule with everything - query, condition, times; the value is that of the query', () => {
    const [rule] = alertRules(grafanaAlerts(rules))
    expect(rule).toMatchObject({
      uid: 'pgproof-backup-too-old',
      title: 'PgproofBackupTooOld',
      condition: 'C',
      for: '5m',
      keepFiringFor: '10m',
      noDataState: 'OK',
      execErrState: 'Error',
      missing_series_evals_to_resolve: 1,
      data: [
        {
          refId: 'A',
          datasourceUid: 'prometheus',
          model: {
            refId: 'A',
            expr: 'time() - pgproof_backup_last_success_timestamp_seconds > 10',
            instant: true,
            range: false,
          },
        },
        { refId: 'B', datasourceUid: '__expr__', model: { refId: 'B', type: 'math' } },
        { refId: 'C', datasourceUid: '__expr__', model: { refId: 'C', type: 'threshold', expression: 'B' } },
      ],
    })
    expect(rule?.annotations['summary']).toBe(
      'Backup of {{ $labels.database }} is {{ $values.A.Value | humanizeDuration }} old ({{ $values }})',
    )
  })

  it('labels, in which Grafana looks for variables of the environment - their dollar signs are doubled', () => {
    const [rule] = alertRules(grafanaAlerts(rules))
    expect(rule?.labels).toEqual({ severity: 'critical', place: '{{ $$labels.server }} costs $$5' })
  })

  it('a rule with the least - the usual times', () => {
    const text = grafanaAlerts(rules)
    expect(alertRules(text)[1]).toMatchObject({ uid: 'pgproof-absent', for: '0s', noDataState: 'OK', labels: {} })
    expect(text).toMatch(/name: backups\n\s+folder: pgproof\n\s+interval: 30s/)
    expect(text).toMatch(/name: others\n\s+folder: pgproof\n\s+interval: 1m/)
  })

  it.each([
    ['the answer of a query', '{{ query "up" | first | value }}'],
    ['a label of the Prometheus server', '{{ $externalLabels.cluster }}'],
    ['a field instead of a variable', '{{ .Value }}'],
  ])('%s - refused: Grafana does not know it', (_, text) => {
    expect(() => grafanaText(text)).toThrow('Grafana does not know')
  })

  it('what another query would add to a text - is left out, the rest stays', () => {
    const text =
      'Old. {{ with printf "a:b{c=%q}" $labels.c | query -}} Allowed are {{ . | first | value }}. {{ end -}} Look: {{ $value }}'
    expect(grafanaText(text)).toBe('Old. Look: {{ $values.A.Value }}')
  })

  it('a recorded metric - written out where it is used', () => {
    const text = `groups: [{ name: g, rules: [
      { record: 'pgproof:limit', expr: 2 * pgproof_a },
      { alert: PgproofA, expr: pgproof_b > pgproof:limit }] }]`
    expect(alertRules(grafanaAlerts(text)).map(({ data }) => data[0]?.model.expr)).toEqual([
      'pgproof_b > (2 * pgproof_a)',
    ])
  })

  it.each([
    ['a metric that is recorded nowhere', '{ alert: PgproofA, expr: pgproof:limit > 0 }', 'recorded nowhere'],
    [
      'a part of a recorded metric',
      '{ record: pgproof:a, expr: b }, { alert: PgproofA, expr: \'pgproof:a{server="main"} > 0\' }',
      'cannot be written out',
    ],
    ['a name too long for a uid', `{ alert: ${'Pgproof'.repeat(6)}, expr: b }`, 'too long'],
  ])('%s - refused', (_, list, reason) => {
    expect(() => grafanaAlerts(`groups: [{ name: g, rules: [${list}] }]`)).toThrow(reason)
  })
})

describe(alertFile, () => {
  it('what the script makes of config/prometheus/rules.yml - is what the file holds', () => {
    const made = grafanaAlerts(readFileSync('config/prometheus/rules.yml', 'utf8'))
    expect(readFileSync(alertFile, 'utf8') === made).toBe(true)
  })

  it('every alert - a uid of its own, a panel that exists, a severity and a summary', () => {
    const found = alertRules()
    expect(new Set(found.map(({ uid }) => uid)).size).toBe(found.length)
    for (const { title, dashboardUid, panelId, labels, annotations } of found) {
      const dashboard = dashboardFiles.find((one) => one.dashboard.uid === dashboardUid)?.dashboard
      expect(
        dashboard?.panels.map(({ id }) => id),
        title,
      ).toContain(panelId)
      expect([title, Object.keys(labels), Object.keys(annotations)]).toEqual([
        title,
        expect.arrayContaining(['severity']),
        expect.arrayContaining(['summary']),
      ])
    }
  })
})
