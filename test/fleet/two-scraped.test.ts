import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { waitFor } from '../commands/cli.ts'
import { dashboardFiles, withVariables } from '../grafana/dashboard-files.ts'
import { freePort } from '../support/postgres-server.ts'
import { startPrometheus, type TestPrometheus } from '../support/prometheus.ts'
import { eventually, fleetFolder } from './fleet-folder.ts'

/** As shipped, but for the patience. */
const rules = readFileSync(join('config', 'prometheus', 'rules.yml'), 'utf8').replaceAll(/^( +for): \w+$/gm, '$1: 1s')

/** The numbers at the top of the fleet's dashboard, and of its fleet panels. */
async function numbers(prometheus: TestPrometheus): Promise<Record<string, number | undefined>> {
  const fleet = dashboardFiles.find(({ dashboard }) => dashboard.uid === 'pgproof-fleet')?.dashboard
  const found: Record<string, number | undefined> = {}
  for (const { title, targets } of (fleet?.panels ?? []).filter(({ type }) => type === 'stat')) {
    const [one] = await prometheus.instant(withVariables(targets?.[0]?.expr ?? '', { server: '.+', __range: '1h' }))
    found[title] = one?.values[0]
  }
  return found
}

async function firing(prometheus: TestPrometheus, name: string): Promise<Record<string, string>[]> {
  const all = (await prometheus.alerts()).filter(({ state, labels }) => {
    return state === 'firing' && labels['alertname'] === name
  })
  return all.map(({ labels }) => labels)
}

describe('two instances of a fleet under one Prometheus', () => {
  it('four backups by both, then one instance is killed - each database counted once, each alert fires once', async () => {
    await using fleet = await fleetFolder(4)
    await fleet.configure({}, { objectives: { rpo: '1s' } })
    const ports = [await freePort(), await freePort()]
    const targets = ports.map((port) => `127.0.0.1:${port}`)
    const [one, other] = ['a', 'b'].map((name, at) => fleet.worker(name, { PGPROOF_HTTP__LISTEN: targets[at] ?? '' }))
    if (one === undefined || other === undefined) throw new Error('no workers')
    await waitFor('both to listen', () => [one, other].every((worker) => worker.stderr().includes('"address":')))
    await using prometheus = await startPrometheus(targets, rules)
    const value = async (query: string) => (await prometheus.instant(query)).map(({ values }) => values[0])
    const succeeded = 'pgproof_runs_total{exported_job="backup",outcome="succeeded"}'
    await eventually('four backups', async () => (await value(`sum(${succeeded})`))[0] === 4)
    // Both say it of each, and the dashboard counts each once.
    await eventually('both to know them', async () => {
      return (await value('count(pgproof_backup_last_success_timestamp_seconds)'))[0] === 8
    })
    expect(await numbers(prometheus)).toMatchObject({ Databases: 4, 'Workers that live': 2, 'Workers gone': 0 })
    // Each backup is known as soon as it is made, so not all of them get too old by the same evaluation.
    await eventually('the alerts', async () => (await firing(prometheus, 'PgproofBackupTooOld')).length >= 4)
    const tooOld = await firing(prometheus, 'PgproofBackupTooOld')
    expect(tooOld.map(({ database }) => database).toSorted()).toEqual(fleet.databases.toSorted())

    other.child.kill('SIGKILL')
    await eventually('that it is down', async () => (await firing(prometheus, 'PgproofInstanceDown')).length > 0)
    await eventually('that it is gone', async () => (await firing(prometheus, 'PgproofWorkerGone')).length > 0)
    expect(await firing(prometheus, 'PgproofInstanceDown')).toMatchObject([{ instance: targets[1] }])
    expect(await firing(prometheus, 'PgproofWorkerGone')).toHaveLength(1)
    // The daemon is not down as long as one is there.
    expect(await firing(prometheus, 'PgproofDown')).toEqual([])
    expect(await numbers(prometheus)).toMatchObject({ Databases: 4, 'Workers that live': 1, 'Workers gone': 1 })
    const all = await prometheus.alerts()
    const twice = all.filter(({ labels }, at) => all.findIndex((it) => isSame(it.labels, labels)) !== at)
    expect(twice).toEqual([])
  })
})

/** But for who says it. */
function isSame(one: Readonly<Record<string, string>>, other: Readonly<Record<string, string>>): boolean {
  const text = (labels: Readonly<Record<string, string>>) =>
    JSON.stringify(Object.entries({ ...labels, instance: '' }).toSorted())
  return text(one) === text(other)
}
