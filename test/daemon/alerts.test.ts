import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type CliFolder, cliFolder, type Json, type Started } from '../commands/cli.ts'
import { freePort, query, startPostgres, type TestServer, unprivileged } from '../support/postgres-server.ts'
import { startPrometheus, type TestPrometheus } from '../support/prometheus.ts'

/** As shipped, but for the patience: nobody waits five minutes in a test. */
const rules = readFileSync(join('config', 'prometheus', 'rules.yml'), 'utf8').replaceAll(/^( +for): \w+$/gm, '$1: 1s')
const token = 'token-of-backer'
const app = { server: 'main', database: 'app' }

let postgres: TestServer
let folder: CliFolder
let port: number
let prometheus: TestPrometheus
let daemon: Started

beforeAll(async () => {
  postgres = await startPostgres()
  await query(postgres.url(), 'CREATE DATABASE app')
  await query(postgres.url('app'), 'CREATE TABLE t AS SELECT generate_series(1, 1000) AS id')
  folder = await cliFolder(['app'])
  port = await freePort()
  const newYear = '0 0 1 1 *'
  await folder.configure({
    servers: [
      {
        name: 'main',
        url: postgres.url(),
        databases: ['app'],
        schedule: { roles: newYear, drill: newYear },
        objectives: { rpo: '15s' },
      },
    ],
    http: {
      listen: `127.0.0.1:${port}`,
      tokens: [{ name: 'test', scope: 'backup', hash: createHash('sha256').update(token).digest('hex') }],
    },
    daemon: { catalogRefresh: '1s' },
    log: { format: 'json' },
  })
  daemon = folder.start(['serve'])
  prometheus = await startPrometheus(`127.0.0.1:${port}`, rules)
})
afterAll(async () => {
  await prometheus[Symbol.asyncDispose]()
  daemon.child.kill('SIGTERM')
  await daemon.result
  await folder[Symbol.asyncDispose]()
  // It was started a second time, as a process of its own.
  control('stop')
  await postgres.stop()
})

const eventually = { timeout: 60_000, interval: 200 }

function control(action: 'start' | 'stop'): void {
  const args = ['-D', join(postgres.folder, 'data'), '-m', 'immediate', '-w', '-l', '/dev/null', action]
  execFileSync(join(postgres.binDir, 'pg_ctl'), args, { stdio: 'ignore', cwd: '/', ...unprivileged() })
}

/** What fires now, each with the labels that matter. */
async function firing(alertname: string): Promise<Record<string, string>[]> {
  const found = (await prometheus.alerts()).filter(({ state, labels }) => {
    return state === 'firing' && labels['alertname'] === alertname
  })
  return found.map(({ labels: { server, database, store } }) => {
    return Object.fromEntries(Object.entries({ server, database, store }).filter(([, value]) => value !== undefined))
  }) as Record<string, string>[]
}

const fires = (alertname: string, labels: object) => expect.poll(() => firing(alertname), eventually).toEqual([labels])
const isSilent = (alertname: string) => expect.poll(() => firing(alertname), eventually).toEqual([])

/** Orders a run by the API and waits for its end. */
async function run(jobs: 'backups' | 'drills', order: object = app): Promise<Json> {
  const base = `http://127.0.0.1:${port}`
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' }
  const ordered = await fetch(`${base}/v1/${jobs}`, { method: 'POST', headers, body: JSON.stringify(order) })
  expect(ordered.status).toBe(202)
  const where = `${base}${ordered.headers.get('location')}`
  const read = async (): Promise<Json> => (await (await fetch(where, { headers })).json()) as Json
  await expect.poll(async () => String((await read())['state']), eventually).not.toMatch(/queued|running/)
  return await read()
}

it('nothing was ever backed up - fires until there are backups of database and roles', async () => {
  await fires('PgproofNoBackup', app)
  await fires('PgproofNoRolesBackup', { server: 'main' })
  expect((await folder.run(['backup', '--roles'])).code).toBe(0)
  expect(await run('backups')).toMatchObject({ state: 'succeeded' })
  await isSilent('PgproofNoBackup')
  await isSilent('PgproofNoRolesBackup')
})

it('the database server stops, and comes back - backups fail and get too old, until the next one', async () => {
  control('stop')
  expect(await run('backups')).toMatchObject({ state: 'failed' })
  await fires('PgproofBackupFailing', app)
  await fires('PgproofBackupTooOld', app)
  control('start')
  expect(await run('backups')).toMatchObject({ state: 'succeeded' })
  await isSilent('PgproofBackupFailing')
  await isSilent('PgproofBackupTooOld')
})

it('the store goes away, and comes back - fires meanwhile', async () => {
  const store = join(folder.path, 'store')
  renameSync(store, `${store}-gone`)
  await fires('PgproofStoreDown', { store: 'store' })
  renameSync(`${store}-gone`, store)
  await isSilent('PgproofStoreDown')
})

it('a backup is damaged in the store, and mended - its drill fails, until another one passes', async () => {
  expect(await run('backups')).toMatchObject({ state: 'succeeded' })
  const dump = folder.objects().findLast((path) => path.includes('/dump')) ?? ''
  const label = dump.split('/').at(-2)
  const good = readFileSync(dump)
  const bad = Buffer.from(good)
  bad[bad.length >> 1] = (bad[bad.length >> 1] ?? 0) ^ 1
  writeFileSync(dump, bad)
  expect(await run('drills', { ...app, backup: label })).toMatchObject({ state: 'failed' })
  await fires('PgproofDrillFailed', app)
  await fires('PgproofBackupFailedDrill', app)
  writeFileSync(dump, good)
  expect(await run('drills', { ...app, backup: label })).toMatchObject({ state: 'succeeded' })
  await isSilent('PgproofDrillFailed')
  await isSilent('PgproofBackupFailedDrill')
})

it('the daemon is down, and up again - fires meanwhile', async () => {
  daemon.child.kill('SIGTERM')
  await daemon.result
  await fires('PgproofDown', {})
  daemon = folder.start(['serve'])
  await isSilent('PgproofDown')
})
