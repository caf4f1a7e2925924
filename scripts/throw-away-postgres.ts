import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { appendFileSync, chownSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'

export type ThrowAwayServer = {
  readonly port: number
  readonly binDir: string
  readonly folder: string
  /** `postgres://…/DATABASE` as the superuser. */
  url(database?: string): string
  stop(): Promise<void>
}

/**
 * A real PostgreSQL server in a temporary folder, for the demo and the tests, listening on 127.0.0.1 with password authentication for every role
 * but `postgres`. The newest installed major from 14 on.
 */
export async function startPostgres(settings = ''): Promise<ThrowAwayServer> {
  const binDir = serverBinDir()
  const folder = mkdtempSync(join(tmpdir(), 'pgproof-pg-'))
  const data = join(folder, 'data')
  const user = unprivileged()
  if (user !== undefined) chownSync(folder, user.uid, user.gid)
  const options = { stdio: 'ignore' as const, cwd: '/', ...user }
  execFileSync(
    join(binDir, 'initdb'),
    ['-D', data, '-U', 'postgres', '-A', 'trust', '--no-sync', '-E', 'UTF8', '--locale=C.UTF-8'],
    options,
  )
  const port = await freePort()
  appendFileSync(
    join(data, 'postgresql.conf'),
    `port=${port}\nlisten_addresses='127.0.0.1'\nunix_socket_directories='${folder}'\nfsync=off\nfull_page_writes=off\nmax_connections=60\nlog_min_messages=fatal\n${settings}\n`,
  )
  const hba = join(data, 'pg_hba.conf')
  rmSync(hba)
  appendFileSync(
    hba,
    'local all all trust\nhost all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n',
  )
  if (user !== undefined) chownSync(hba, user.uid, user.gid)
  const child = spawn(join(binDir, 'postgres'), ['-D', data], options)
  const ended = once(child, 'close')
  const url = (database = 'postgres'): string => `postgres://postgres@127.0.0.1:${port}/${encodeURIComponent(database)}`
  await untilConnectable(url(), () => child.exitCode !== null)
  return {
    port,
    binDir,
    folder,
    url,
    async stop() {
      child.kill('SIGQUIT')
      await ended
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** The folder of the newest installed server programs; a missing one is an error with the command that installs it. */
export function serverBinDir(): string {
  const base = '/usr/lib/postgresql'
  const majors = existsSync(base)
    ? readdirSync(base)
        .map(Number)
        .filter((major) => major >= 14)
    : []
  const newest = majors.sort((one, other) => other - one).find((major) => existsSync(`${base}/${major}/bin/initdb`))
  if (newest !== undefined) return `${base}/${newest}/bin`
  const onPath = (process.env['PATH'] ?? '')
    .split(':')
    .find((folder) => folder !== '' && existsSync(join(folder, 'initdb')))
  if (onPath === undefined) throw new Error('no PostgreSQL server programs: node scripts/setup.mjs')
  return onPath
}

export function unprivileged(): { uid: number; gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined
  const line = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .find((entry) => entry.startsWith('postgres:'))
  const [, , uid, gid] = line?.split(':') ?? []
  if (uid === undefined || gid === undefined) throw new Error('running as root needs an OS user "postgres"')
  return { uid: Number(uid), gid: Number(gid) }
}

/** Below those that the kernel gives to outgoing connections (ip(7), ip_local_port_range): one of these could take it first. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = 10_000 + Math.floor(Math.random() * 22_000)
    const server = createServer()
    const isFree = await new Promise<boolean>((resolve) => {
      server.once('error', () => resolve(false))
      server.listen(port, '127.0.0.1', () => resolve(true))
    })
    if (!isFree) continue
    server.close()
    await once(server, 'close')
    return port
  }
}

/** Runs SQL and returns the rows of the last statement. */
export async function query(url: string, sql: string, values?: unknown[]): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    const result = await client.query(sql, values)
    const last = Array.isArray(result) ? result[result.length - 1] : result
    return last.rows
  } finally {
    await client.end()
  }
}

/** Throws what the last attempt threw, after a minute or when the server has ended. */
export async function untilConnectable(url: string, hasEnded = (): boolean => false): Promise<void> {
  const deadline = Date.now() + 60_000
  for (;;) {
    try {
      await query(url, 'SELECT 1')
      return
    } catch (error) {
      if (hasEnded() || Date.now() > deadline) throw error
      await new Promise((done) => setImmediate(done))
    }
  }
}
