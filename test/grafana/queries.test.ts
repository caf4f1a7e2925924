import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { generateKeyPair } from '../../src/encryption/generate.ts'
import { type CliFolder, cliFolder, type Started, waitFor } from '../commands/cli.ts'
import { testDatabase, testUrl } from '../support/installation.ts'
import { freePort, query } from '../support/postgres-server.ts'
import { type Series, startPrometheus, type TestPrometheus } from '../support/prometheus.ts'
import {
  alertRules,
  type DashboardFile,
  dashboardFiles,
  labelQueries,
  type PanelFile,
  rowLabels,
  withVariables,
} from './dashboard-files.ts'

/** Queries that have no answer here, or may have none, each with its reason; a panel as `dashboard id`, then refIds. */
const mayBeEmpty: Readonly<Record<string, string>> = {
  'pgproof-fleet 32 A': 'nothing runs any more',
  'pgproof-fleet 33 D': 'no schedule is paused',
  'pgproof-fleet 65 A': 'nothing waits any more',
  'pgproof-fleet 51 C': 'no HTTPS is served',
  'pgproof-database 22 A': 'its only backup is proven',
  'pgproof-database 36 A': 'its backup lacks nothing',
}

/** Of the database that passes its drill and of the one that fails it. */
let passing: Awaited<ReturnType<typeof testDatabase>>
let failing: Awaited<ReturnType<typeof testDatabase>>
let folder: CliFolder
let daemon: Started
let prometheus: TestPrometheus

beforeAll(async () => {
  ;[passing, failing] = [await testDatabase('template0'), await testDatabase('template0')]
  for (const { url } of [passing, failing]) await query(url, 'CREATE TABLE t AS SELECT generate_series(1, 1000) AS id')
  folder = await installation()
  const port = await freePort()
  const schedule = { backup: newYear, roles: newYear, drill: newYear }
  const objectives = { rpo: '26h', rto: '30m' }
  const usual = { url: testUrl(), schedule, objectives }
  await folder.configure({
    servers: [
      { ...usual, name: 'main', databases: [passing.name] },
      { ...usual, name: 'other', databases: [failing.name], checks: [{ name: 'never', sql: 'SELECT false' }] },
    ],
    http: { listen: `127.0.0.1:${port}` },
    log: { format: 'json' },
  })
  prometheus = await startPrometheus(`127.0.0.1:${port}`)
  daemon = folder.start(['serve'])
  await waitFor('both drills', () => {
    if (daemon.child.exitCode !== null) throw new Error(`serve has ended: ${daemon.stderr()}`)
    return ended('drill') >= 2 && ended('roles') >= 2
  })
  await untilScraped()
})
afterAll(async () => {
  daemon?.child.kill('SIGTERM')
  await daemon?.result
  for (const part of [prometheus, folder, passing, failing]) await part?.[Symbol.asyncDispose]()
})

describe('queries of the dashboards', () => {
  it('each panel - every query has an answer of finite numbers, but for those that cannot', async () => {
    const found = await Promise.all(
      dashboardFiles.flatMap(({ dashboard }) =>
        dashboard.panels.flatMap((panel) =>
          (panel.targets ?? []).map(async ({ refId, expr, instant }) => {
            const place = `${dashboard.uid} ${panel.id} ${refId}`
            const asked = withVariables(expr, { ...grafanas, ...chosen(dashboard) })
            const series = await (instant ? prometheus.instant(asked) : prometheus.range(asked))
            return { place, asked, series }
          }),
        ),
      ),
    )
    expect(found.length).toBeGreaterThan(60)
    const empty = found.filter(({ series }) => series.length === 0).map(({ place }) => place)
    expect(empty.filter((place) => mayBeEmpty[place] === undefined)).toEqual([])
    const odd = found.filter(({ series }) => series.some(({ values }) => !values.every(Number.isFinite)))
    expect(odd.map(({ place, asked }) => `${place}: ${asked}`)).toEqual([])
    // A reason for a query that is not there any more.
    expect(Object.keys(mayBeEmpty).filter((place) => !found.some((one) => one.place === place))).toEqual([])
  })

  it('tables - every answer has the labels of the rows and no other, so that they join', async () => {
    for (const { dashboard } of dashboardFiles)
      for (const panel of dashboard.panels.filter(({ type }) => type === 'table'))
        for (const { expr } of panel.targets ?? []) {
          const asked = withVariables(expr, { ...grafanas, ...chosen(dashboard) })
          // An empty label is none.
          for (const { labels } of await prometheus.instant(asked))
            expect(rowLabels(panel), `${panel.title}: ${asked}`).toEqual(expect.arrayContaining(Object.keys(labels)))
        }
  })

  it('one database that passed its drill and one that failed it - the fleet counts them so', async () => {
    const numbers = new Map<string, number | undefined>()
    for (const { title, targets } of panels('pgproof-fleet', 'stat')) {
      const [one] = await prometheus.instant(withVariables(targets?.[0]?.expr ?? '', { ...grafanas, server: '.+' }))
      numbers.set(title, one?.values[0])
    }
    expect(Object.fromEntries(numbers)).toEqual({
      Databases: 2,
      Protected: 1,
      // Its only backup is known to be bad.
      'Not protected': 1,
      Proven: 1,
      'Not proven': 1,
      'Drills overdue': 0,
      'Restore over objective': 0,
      'Stores down': 0,
      'Paused schedules': 0,
      'Workers that live': 1,
      'Workers gone': 0,
      'Dead entries': 0,
      'Control database': 1,
      'History gaps': 0,
      'Damaged objects': 0,
      'Notices not delivered': 0,
    })
    const verdict = async (server: string, database: string): Promise<readonly Series[]> => {
      const [panel] = panels('pgproof-database', 'state-timeline')
      return prometheus.instant(withVariables(panel?.targets?.[0]?.expr ?? '', { server, database }))
    }
    expect(await verdict('main', passing.name)).toMatchObject([{ values: [1] }])
    expect(await verdict('other', failing.name)).toMatchObject([{ values: [3] }])
  })

  it('variables - offer every server and its databases', async () => {
    for (const { dashboard } of dashboardFiles)
      for (const { name, metric, label } of labelQueries(dashboard)) {
        const asked = withVariables(metric, { server: 'other' })
        expect([dashboard.uid, name, await prometheus.labelValues(label, asked)]).toEqual([
          dashboard.uid,
          name,
          name === 'server' ? ['main', 'other'] : [failing.name],
        ])
      }
  })

  it('annotations - tell of the failed drill where it failed, and of nothing where it passed', async () => {
    const dashboard = dashboardFiles.find((one) => one.dashboard.uid === 'pgproof-database')?.dashboard
    const told = async (server: string, database: string): Promise<readonly string[]> => {
      const names: string[] = []
      for (const { name, expr } of dashboard?.annotations.list ?? []) {
        if (expr === undefined) continue
        const series = await prometheus.range(withVariables(expr, { ...grafanas, server, database }))
        if (series.length > 0) names.push(name)
      }
      return names
    }
    expect(await told('main', passing.name)).toEqual([])
    expect(await told('other', failing.name)).toEqual(['Drill failed', 'Run failed'])
  })
})

describe('queries of the alerts', () => {
  it('every one - Prometheus answers; those of the failed drill are the only ones of severity critical', async () => {
    const critical: string[] = []
    for (const { title, data, labels } of alertRules()) {
      const [asked] = data
      const series = await prometheus.instant(asked?.model.expr ?? '')
      if (labels['severity'] === 'critical' && series.length > 0) critical.push(title)
    }
    expect(critical).toEqual(['PgproofDrillFailed'])
  })
})

/** Grafana's own variables. */
const grafanas = { __interval: '4s', __range: '10m' }
const newYear = '0 0 1 1 *'

function chosen({ uid }: DashboardFile): Readonly<Record<string, string>> {
  return uid === 'pgproof-fleet' ? { server: '.+' } : { server: 'main', database: passing.name }
}

function panels(uid: string, type: string): readonly PanelFile[] {
  const found = dashboardFiles.find(({ dashboard }) => dashboard.uid === uid)
  return found?.dashboard.panels.filter((panel) => panel.type === type) ?? []
}

/** A store from long ago, so that everything is due at once, and a key that expires. */
async function installation(): Promise<CliFolder> {
  const made = await cliFolder([])
  const { publicKey, privateKey } = await generateKeyPair({
    name: 'test',
    kind: 'ecc',
    use: 'backup',
    expiresAfterMs: 100 * 86_400_000,
    now: new Date(),
  })
  await made.write('pub.asc', publicKey)
  await made.write('key.asc', privateKey)
  const marker = { format: 1, storeId: '00000000-0000-4000-8000-000000000000', createdAt: '2020-01-01T12:00:00.000Z' }
  await made.write('store/pgproof.json', JSON.stringify(marker))
  return made
}

/** How many runs of a job the log says have ended. */
function ended(job: string): number {
  const lines = daemon.stderr().split('\n')
  return lines.filter((line) => line.includes('"msg":"run finished"') && line.includes(`"job":"${job}"`)).length
}

/** Until Prometheus knows of both drills what the daemon knows. */
async function untilScraped(): Promise<void> {
  const deadline = Date.now() + 30_000
  for (;;) {
    const [counted, judged] = await Promise.all([
      prometheus.instant('increase(pgproof_runs_total{exported_job="drill"}[10m]) > 0'),
      prometheus.instant('pgproof_drill_verdict == 1'),
    ])
    if (counted.length >= 2 && judged.length >= 2) return
    if (Date.now() > deadline) throw new Error('Prometheus did not see the drills for half a minute')
  }
}
