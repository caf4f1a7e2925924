import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chownSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { testUrl } from '../support/installation.ts'
import { freePort, query, unprivileged } from '../support/postgres-server.ts'

export type Pooler = AsyncDisposable & { readonly port: number; url(database: string): string }

/** PgBouncer in front of the tests' server; `settings` are lines for its `[pgbouncer]` section. */
export async function startPgBouncer(settings: string): Promise<Pooler> {
  const program = ['/usr/sbin/pgbouncer', '/usr/bin/pgbouncer', '/usr/local/bin/pgbouncer'].find((path) =>
    existsSync(path),
  )
  if (program === undefined) throw new Error('no pgbouncer: node scripts/setup.mjs --tests')
  const folder = mkdtempSync(join(tmpdir(), 'pgproof-test-pgbouncer-'))
  const port = await freePort()
  const server = new URL(testUrl())
  writeFileSync(
    join(folder, 'ini'),
    `[databases]
* = host=${server.hostname} port=${server.port} user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = any
logfile = ${folder}/log
pidfile = ${folder}/pid
${settings}
`,
  )
  const user = unprivileged()
  if (user !== undefined) chownSync(folder, user.uid, user.gid)
  const child: ChildProcess = spawn(program, [join(folder, 'ini')], { stdio: 'ignore', cwd: '/', ...user })
  const ended = once(child, 'close')
  const url = (database: string): string => `postgres://postgres@127.0.0.1:${port}/${database}`
  const stop = async (): Promise<void> => {
    child.kill('SIGKILL')
    await ended
    rmSync(folder, { recursive: true })
  }
  const deadline = Date.now() + 10_000
  for (;;) {
    try {
      await query(url('postgres'), 'SELECT 1')
      return { port, url, [Symbol.asyncDispose]: stop }
    } catch (error) {
      if (Date.now() > deadline || child.exitCode !== null) {
        const log = existsSync(join(folder, 'log')) ? readFileSync(join(folder, 'log'), 'utf8') : ''
        await stop()
        throw new Error(`pgbouncer does not answer: ${log}`, { cause: error })
      }
      await new Promise((done) => setTimeout(done, 20))
    }
  }
}
