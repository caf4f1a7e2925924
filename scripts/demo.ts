/**
 * The main job end to end on a throw-away installation: `npm run demo`. Everything lives in one temporary folder that
 * is gone at the end; `npm run demo -- --keep` leaves the daemon running and says where.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { shopDaySql, shopRolesSql, shopSql } from './shop-data.ts'
import { freePort, query, startPostgres, type ThrowAwayServer } from './throw-away-postgres.ts'

const main = join(dirname(dirname(fileURLToPath(import.meta.url))), 'src', 'main.ts')
const keep = process.argv.includes('--keep')
const folder = mkdtempSync(join(tmpdir(), 'pgproof-demo-'))
const running = new Set<ChildProcess>()
let postgres: ThrowAwayServer | undefined
let step = 0

process.once('SIGINT', () => void finish(130))
process.once('SIGTERM', () => void finish(130))

try {
  await demo()
  if (!keep) await finish(0)
} catch (error) {
  process.stderr.write(`\ndemo failed: ${error instanceof Error ? error.message : String(error)}\n`)
  await finish(1)
}

async function demo(): Promise<void> {
  const started = performance.now()
  // The embedded server of a drill runs as another user when this is run by root.
  chmodSync(folder, 0o711)

  title('A PostgreSQL server with a shop in it')
  postgres = await startPostgres()
  await query(postgres.url(), shopRolesSql)
  await query(postgres.url(), "CREATE ROLE backup LOGIN PASSWORD 'demo-password' SUPERUSER")
  await query(postgres.url(), 'CREATE DATABASE shop')
  await query(postgres.url('shop'), shopSql(0.6))
  const [size] = await query(postgres.url('shop'), "SELECT pg_size_pretty(pg_database_size('shop')) AS size")
  say(
    `PostgreSQL on port ${postgres.port}, database "shop": ${size?.['size']}, partitions, jsonb, large objects, three roles`,
  )

  title('Keys: backups are encrypted to two, manifests signed with a third')
  mkdirSync(join(folder, 'keys'))
  writeFileSync(join(folder, 'passphrase'), `${randomBytes(18).toString('base64')}\n`, { mode: 0o600 })
  writeFileSync(join(folder, 'password'), 'demo-password\n', { mode: 0o600 })
  const keygen = ['keygen', '--out', join(folder, 'keys'), '--passphrase-file', join(folder, 'passphrase')]
  await pgproof([...keygen, '--name', 'backup', '--with-escrow'], { quiet: true })
  await pgproof([...keygen, '--name', 'signing', '--signing'], { quiet: true })
  say('backup, escrow and signing keys made with `pgproof keygen`')

  const token = randomBytes(24).toString('base64url')
  const port = await freePort()
  const config = join(folder, 'pgproof.yaml')
  writeFileSync(config, configText(postgres.port, port, createHash('sha256').update(token).digest('hex')))
  process.env['PGPROOF_CONFIG'] = config

  title('A new store is marked once: a directory without its mark is taken for a mount that is missing')
  await pgproof(['init'])

  title('Is everything in place?')
  await pgproof(['check'])

  title('Back up the roles and the database')
  await pgproof(['backup', '--roles'])
  await pgproof(['backup', 'main/shop'])

  title('A day in the shop, and another backup')
  await query(postgres.url('shop'), shopDaySql)
  await pgproof(['backup', 'main/shop'])
  await pgproof(['list'])

  title('Does a random backup hold exactly what the database held?')
  await pgproof(['drill', 'main/shop'])

  title('The day it is for: somebody deleted rows; the table comes back beside the live one')
  await query(postgres.url('shop'), 'DELETE FROM shop.event WHERE id % 3 = 0')
  const login = new URL(postgres.url('shop'))
  const table = ['--table', 'shop.event', '--into-schema', 'yesterday']
  await pgproof(['restore', 'latest', 'main/shop', '--to', login.href, ...table])
  await query(postgres.url('shop'), 'DROP SCHEMA yesterday CASCADE')

  title('And the whole database in its place; the old one is renamed aside, never dropped')
  await pgproof(['restore', 'latest', 'main/shop', '--to', login.href, '--force', '--verify'])

  title('What would a prune remove?')
  await pgproof(['prune', '--dry-run'])

  title('The daemon, and a drill ordered over HTTP')
  const address = `http://127.0.0.1:${port}`
  const daemon = start(['serve'], 'ignore')
  await until(async () => (await fetch(`${address}/readyz`)).ok, daemon)
  const ordered = await fetch(`${address}/v1/drills`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: JSON.stringify({ server: 'main', database: 'shop', pick: 'latest' }),
  })
  say(`POST /v1/drills → ${ordered.status}, Location: ${ordered.headers.get('location')}`)
  if (ordered.status !== 202) throw new Error(await ordered.text())
  const run = `${address}${ordered.headers.get('location')}`
  const state = await until(async () => {
    const { state } = (await (await fetch(run)).json()) as { state: string }
    return state === 'queued' || state === 'running' ? undefined : state
  }, daemon)
  say(`GET ${new URL(run).pathname} → ${state}`)
  if (state !== 'succeeded') throw new Error('the ordered drill did not pass')

  title('What Prometheus sees')
  const metrics = await (await fetch(`${address}/metrics`)).text()
  const interesting =
    /^pgproof_(recovery_point|drill_verdict|restore_time|backups_retained|backup_last_success|rto_objective|key_expiry|store_up)/
  for (const line of metrics.split('\n')) if (interesting.test(line)) say(line)

  title('Summary')
  await pgproof(['status'])
  const seconds = Math.round((performance.now() - started) / 1000)
  say(`
Two backups were taken of a live database, encrypted to two keys, and two drills restored them into a scratch
server: with roles, owners and grants, every row of every table as it was at the instant of the dump. Then a table and
the whole database were restored, and nothing was dropped. Took ${seconds} s.
Any machine with gpg, zstd and pg_restore can open them: each backup carries a RECOVERY.md that says how.`)
  if (keep) {
    say(`
The daemon is still running (stop it with Ctrl-C):
  page     ${address}/
  metrics  ${address}/metrics
  token    ${token}
  config   ${config}   (PGPROOF_CONFIG=${config} node src/main.ts status)
  store    ${join(folder, 'store')}`)
    await once(daemon, 'close')
  } else {
    daemon.kill('SIGTERM')
    const [code] = await once(daemon, 'close')
    if (code !== 0) throw new Error(`the daemon ended with exit code ${code}`)
  }
}

function configText(postgresPort: number, httpPort: number, tokenHash: string): string {
  return `timezone: UTC
store:
  url: file://${join(folder, 'store')}
encryption:
  recipients: [keys/backup.pub.asc, keys/backup-escrow.pub.asc]
  privateKeyFile: keys/backup.key.asc
  passphraseFile: passphrase
  signingKeyFile: keys/signing.key.asc
  signingPassphraseFile: passphrase
  trustedSigners: [keys/signing.pub.asc]
servers:
  - name: main
    url: postgres://backup@127.0.0.1:${postgresPort}/postgres
    passwordFile: password
    databases: [shop]
    schedule: { backup: "0 2 * * *", roles: "0 3 * * 0", drill: "0 5 * * *" }
    retention: { last: 2, verified: 1 }
    objectives: { rpo: 26h, rto: 30m }
    checks:
      - { name: an event was recorded, sql: "select count(*) > 0 from shop.event" }
drill:
  spool: ${join(folder, 'spool')}
http:
  listen: 127.0.0.1:${httpPort}
  tokens: [{ name: demo, scope: drill, hash: ${tokenHash} }]
log: { level: warn }
`
}

/** Runs the real command line; anything but exit code 0 ends the demo. */
async function pgproof(args: string[], options: { quiet?: boolean } = {}): Promise<void> {
  if (options.quiet !== true) say(`$ pgproof ${args.map((arg) => arg.replace(`${folder}/`, '')).join(' ')}`)
  const child = start(args, options.quiet === true ? 'ignore' : 'inherit')
  const [code] = await once(child, 'close')
  running.delete(child)
  if (code !== 0) throw new Error(`pgproof ${args[0]} ended with exit code ${code}`)
}

function start(args: string[], output: 'inherit' | 'ignore'): ChildProcess {
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', main, ...args], {
    stdio: ['ignore', output, 'inherit'],
    env: process.env,
  })
  running.add(child)
  return child
}

/** Asks until the answer is neither an error nor undefined or false; the daemon must stay alive meanwhile. */
async function until<T>(ask: () => Promise<T | undefined | false>, daemon: ChildProcess): Promise<T> {
  const deadline = performance.now() + 60_000
  for (;;) {
    const answer = await ask().catch(() => undefined)
    if (answer !== undefined && answer !== false) return answer
    if (daemon.exitCode !== null) throw new Error(`the daemon ended with exit code ${daemon.exitCode}`)
    if (performance.now() > deadline) throw new Error('no answer within 60 s')
    await new Promise((done) => setTimeout(done, 100))
  }
}

async function finish(code: number): Promise<void> {
  await Promise.all(
    [...running].map(async (child) => {
      if (child.exitCode !== null || child.signalCode !== null) return
      child.kill('SIGTERM')
      await once(child, 'close')
    }),
  )
  await postgres?.stop()
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
  process.exit(code)
}

function title(text: string): void {
  step += 1
  process.stdout.write(`\n── ${step}. ${text} ${'─'.repeat(Math.max(0, 90 - text.length))}\n`)
}

function say(text: string): void {
  process.stdout.write(`${text}\n`)
}
