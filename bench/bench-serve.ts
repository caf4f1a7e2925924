/**
 * How fast a busy daemon answers: `node bench/bench-serve.ts [--mb 2000] [--backups 10000]`. A store with that many made-up
 * backups, a mixed database of that size, a real `pgproof serve`; another process asks for the metrics, the page and the
 * status while nothing runs and while a backup with full digests does. A second backup, during which nobody asks for them,
 * shows how long the daemon's event loop was held up by the backup itself. Everything is made in a temporary folder and removed.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { freePort, query, startPostgres } from '../scripts/throw-away-postgres.ts'
import { manyDatabases, manyObjects } from '../test/catalog/many-backups.ts'
import { mixedSql } from './mixed-data.ts'
import { buildPgproof, shippedEnvironment } from './shipped.ts'

type Times = Map<string, number[]>

const main = buildPgproof()
const megabytes = numberOption('--mb', 2000)
const backups = numberOption('--backups', 10_000)
const folder = mkdtempSync(join(tmpdir(), 'pgproof-bench-serve-'))
chmodSync(folder, 0o711)
const paths = ['/metrics', '/', '/v1/status'] as const
const token = 'bench'
const storeId = '5b1c3c1e-6d0c-4a53-9a3b-0c8f3f3c1a11'

const source = await startPostgres('shared_buffers=512MB\nmax_wal_size=8GB\ncheckpoint_timeout=1d')
let daemon: ChildProcess | undefined
try {
  say(`a store of ${backups} backups and a mixed database of about ${megabytes} MB …`)
  await fillStore()
  await query(source.url(), 'CREATE DATABASE mixed')
  await query(source.url('mixed'), mixedSql(megabytes))
  const base = await startDaemon()
  const idle: Times = new Map(paths.map((path) => [path, []]))
  for (let round = 0; round < 60; round += 1) await askAll(base, idle)
  const busy: Times = new Map(paths.map((path) => [path, []]))
  const started = performance.now()
  const state = await backUp(base, () => askAll(base, busy))
  const seconds = (performance.now() - started) / 1000
  say(`\nthe backup ${state} after ${seconds.toFixed(1)} s; milliseconds, as another process saw them\n`)
  say('| answer | while | requests | median | p99 | longest |\n| --- | --- | --- | --- | --- | --- |')
  for (const [name, times] of [
    ['nothing runs', idle],
    ['a backup runs', busy],
  ] as const)
    for (const [path, all] of times) say(row(path, name, all))
  // The histogram begins anew with each look at it: the next one is of the whole second backup.
  await metricsOf(base)
  await backUp(base, () => sleep(1000))
  say('\na second backup, with one question in a second for its state:')
  for (const line of (await metricsOf(base)).split('\n'))
    if (/^nodejs_eventloop_lag_(mean|p50|p99|max)_seconds |^process_resident_memory_bytes /.test(line)) say(line)
} finally {
  daemon?.kill('SIGTERM')
  if (daemon !== undefined && daemon.exitCode === null) await once(daemon, 'close')
  await source.stop()
  rmSync(folder, { recursive: true, force: true })
}

async function fillStore(): Promise<void> {
  const store = join(folder, 'store')
  const until = new Date(Math.floor(Date.now() / 3_600_000) * 3_600_000)
  const objects = manyObjects({ backups, drills: backups / 5, prunes: Math.ceil(backups * 0.03), until, storeId })
  for await (const { key, body } of objects) write(join(store, key), body)
  const marker = { format: 1, storeId, createdAt: '2020-01-01T00:00:00.000Z' }
  write(join(store, 'pgproof.json'), Buffer.from(`${JSON.stringify(marker, null, 2)}\n`))
  execFileSync(process.execPath, [main, 'keygen', '--out', folder, '--no-escrow'], { stdio: 'ignore' })
}

function write(path: string, body: Uint8Array): void {
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, body)
}

async function startDaemon(): Promise<string> {
  const port = await freePort()
  const hash = execFileSync('sha256sum', { input: token, encoding: 'utf8' }).slice(0, 64)
  const config = {
    store: { url: `file://${join(folder, 'store')}` },
    encryption: { recipients: ['backup.pub.asc'], privateKeyFile: 'backup.key.asc' },
    servers: [
      {
        name: 'main',
        url: source.url(),
        databases: ['mixed', ...manyDatabases],
        objectives: { rpo: '26h', rto: '1h' },
      },
    ],
    http: { listen: `127.0.0.1:${port}`, tokens: [{ name: 'bench', scope: 'backup', hash }], rateLimit: 1_000_000 },
    drill: { spool: join(folder, 'spool') },
    log: { level: 'error' },
  }
  writeFileSync(join(folder, 'pgproof.yaml'), JSON.stringify(config))
  const args = [main, '--config', join(folder, 'pgproof.yaml'), 'serve']
  const env = { ...process.env, ...shippedEnvironment }
  daemon = spawn(process.execPath, args, { env, stdio: ['ignore', 'ignore', 'inherit'] })
  const base = `http://127.0.0.1:${port}`
  for (;;) {
    if (daemon.exitCode !== null) throw new Error(`the daemon ended with ${daemon.exitCode}`)
    const answer = await fetch(`${base}/readyz`).catch(() => undefined)
    if (answer?.status === 200) return base
  }
}

/** `meanwhile` again and again until its end. */
async function backUp(base: string, meanwhile: () => Promise<unknown>): Promise<string> {
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' }
  const body = JSON.stringify({ server: 'main', database: 'mixed' })
  const ordered = await fetch(`${base}/v1/backups`, { method: 'POST', headers, body })
  const { id } = (await ordered.json()) as { id: string }
  for (;;) {
    await meanwhile()
    const run = (await (await fetch(`${base}/v1/runs/${id}`)).json()) as { state: string; error: unknown }
    if (run.state === 'queued' || run.state === 'running') continue
    if (run.state !== 'succeeded') throw new Error(`the backup ${run.state}: ${JSON.stringify(run.error)}`)
    return run.state
  }
}

async function askAll(base: string, times: Times): Promise<void> {
  for (const path of paths) {
    const begin = performance.now()
    const answer = await fetch(`${base}${path}`)
    await answer.arrayBuffer()
    if (answer.status !== 200) throw new Error(`${path} answers ${answer.status}`)
    times.get(path)?.push(performance.now() - begin)
  }
  // Four rounds a second: an operator's page, a scrape and a script at once are less.
  await sleep(250)
}

async function metricsOf(base: string): Promise<string> {
  return await (await fetch(`${base}/metrics`)).text()
}

function row(path: string, name: string, times: readonly number[]): string {
  const sorted = times.toSorted((one, other) => one - other)
  // The nearest rank: of a hundred, the 99th is that below which, or at which, 99 lie.
  const at = (share: number): string => (sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? 0).toFixed(0)
  return `| ${path} | ${name} | ${times.length} | ${at(0.5)} | ${at(0.99)} | ${at(1)} |`
}

function numberOption(name: string, standard: number): number {
  const index = process.argv.indexOf(name)
  const value = index === -1 ? standard : Number(process.argv[index + 1])
  if (!Number.isInteger(value) || value < 1) throw new Error(`${name} takes a whole number`)
  return value
}

function say(text: string): void {
  process.stdout.write(`${text}\n`)
}
