import { appendFile, chmod, chown, mkdir, mkdtemp, readFile, rm } from 'node:fs/promises'
import { cpus, tmpdir, totalmem } from 'node:os'
import { basename, dirname, isAbsolute, join } from 'node:path'
import type { Clock } from '../clock.ts'
import type { Reach } from '../domain/drill-report.ts'
import { PgproofError, reasonOf } from '../errors.ts'
import { ProgramError, type RunningProgram, runProgram, startProgram } from '../streams/child-process.ts'
import { socketPrefix } from '../streams/spool.ts'
import { type Connection, connect } from './connect.ts'
import { isolate } from './isolate.ts'
import { findProgram } from './programs.ts'

/** Where a scratch server and what isolates it look for programs. */
export const scratchPath = '/usr/sbin:/usr/bin:/sbin:/bin'

export type EmbeddedServer = AsyncDisposable & {
  /** As the bootstrap superuser, over a Unix socket that nobody else can reach. */
  readonly connection: Connection
  readonly version: string
  /** What of this machine the content of a dump can get at there; nothing, where the system lets it be shut off from all. */
  readonly notIsolated: readonly Reach[]
}

export type EmbeddedRequest = {
  /** An existing private folder; the server's files go below it. */
  readonly folder: string
  readonly major: number
  readonly binDirs: readonly string[]
  /** The name of the bootstrap superuser; the source's, so that grants by it replay. */
  readonly bootstrapRole: string
  /** The OS user to run as when pgproof itself is root, which PostgreSQL refuses. */
  readonly runAs: string
  readonly jobs: number
  /** Parameters of postgresql.conf over the usual ones. */
  readonly parameters?: Readonly<Record<string, string>> | undefined
  /** With pg_cron loaded, which works in this database alone; none of its jobs will run. */
  readonly cronDatabase?: string | undefined
}

/**
 * A throw-away PostgreSQL server: unix socket only, shut off from this machine as far as the system allows, tuned for one restore
 * that nobody needs after a crash, run as an unprivileged user, ended when the scope ends. Throws PROGRAM_MISSING, EXTENSION_MISSING (pg_cron) or SCRATCH_FAILED.
 */
export async function startEmbeddedServer(
  request: EmbeddedRequest,
  clock: Clock,
  signal: AbortSignal,
): Promise<EmbeddedServer> {
  const initdb = await findProgram('initdb', request.major, request.binDirs, signal)
  const postgres = await findProgram('postgres', request.major, request.binDirs, signal)
  const user = await unprivilegedUser(request.runAs)
  const dataFolder = join(request.folder, 'data')
  const rootFolder = join(request.folder, 'root')
  let socketFolder: string | undefined
  let hasFolders = false
  let server: RunningProgram | undefined
  // Immediate shutdown: nothing in it is worth a checkpoint.
  let end: NodeJS.Signals = 'SIGQUIT'
  const dispose = async (): Promise<void> => {
    await server?.stop(end)
    if (socketFolder !== undefined) await rm(socketFolder, { recursive: true, force: true })
    if (!hasFolders) return
    await rm(dataFolder, { recursive: true, force: true, maxRetries: 5 })
    await rm(rootFolder, { recursive: true, force: true })
  }
  try {
    socketFolder = await makeSocketFolder(request.folder)
    await mkdir(dataFolder, { mode: 0o700 })
    hasFolders = true
    await mkdir(rootFolder, { recursive: true })
    if (user !== undefined) {
      await chmod(request.folder, 0o711)
      await chown(dataFolder, user.uid, user.gid)
      await chown(socketFolder, user.uid, user.gid)
    }
    // initdb refuses the one and stumbles over the other; such a role is replayed like any.
    const bootstrapRole = /^pg_|["$'\\]/.test(request.bootstrapRole) ? 'pgproof' : request.bootstrapRole
    const env = { PATH: scratchPath, LC_ALL: 'C.UTF-8', TZ: 'UTC' }
    const args = [
      `--pgdata=${dataFolder}`,
      `--username=${bootstrapRole}`,
      '--auth=trust',
      '--encoding=UTF8',
      '--locale=C',
      '--no-sync',
    ]
    await runProgram({ path: initdb.path, args, env, user }, { signal })
    await appendFile(join(dataFolder, 'postgresql.conf'), settings(socketFolder, request))
    const readable = [...ownFolders(postgres.path), ...pathsIn(request.parameters)]
    const sight = { root: rootFolder, writable: [dataFolder, socketFolder], readable }
    const unshut = { path: postgres.path, args: ['-D', dataFolder], env, user }
    const { program, notIsolated } = await isolate(unshut, sight, signal)
    // With processes of its own, the system ends them all and frees their shared memory.
    if (!notIsolated.includes('processes')) end = 'SIGKILL'
    server = startProgram(program, { signal })
    const connection: Connection = {
      server: 'scratch',
      host: socketFolder,
      port: 5432,
      user: bootstrapRole,
      database: 'postgres',
      tls: { mode: 'disable' },
    }
    await untilReady(connection, server, clock, signal)
    return { connection, version: postgres.version, notIsolated, [Symbol.asyncDispose]: dispose }
  } catch (error) {
    const details = server?.stderrTail()
    await dispose()
    signal.throwIfAborted()
    const tail = error instanceof ProgramError ? error.stderrTail : details
    if (request.cronDatabase !== undefined && /could not access file "pg_cron"/.test(tail ?? '')) {
      const packages = `postgresql-${request.major}-cron`
      throw new PgproofError('EXTENSION_MISSING', { extensions: 'pg_cron', packages }, { cause: error, details: tail })
    }
    if (error instanceof PgproofError) throw error
    const lastLine = tail?.trim().split('\n').at(-1)
    const reason = lastLine === undefined || lastLine === '' ? reasonOf(error) : `${reasonOf(error)}: ${lastLine}`
    throw new PgproofError('SCRATCH_FAILED', { reason }, { cause: error, details: tail })
  }
}

/** In the spool, so that it is swept with it; but the path of a socket may have 107 bytes at most (unix(7)). */
async function makeSocketFolder(folder: string): Promise<string> {
  const inside = join(folder, 's')
  if (Buffer.byteLength(join(inside, '.s.PGSQL.5432')) > 107) return await mkdtemp(join(tmpdir(), socketPrefix))
  await mkdir(inside, { mode: 0o700 })
  return inside
}

/** Where a program and what came with it is. */
function ownFolders(path: string): string[] {
  const folder = dirname(path)
  const beside = basename(folder) === 'bin' ? ['lib', 'lib64', 'share'].map((name) => join(folder, '..', name)) : []
  return [folder, ...beside]
}

/** Folders and files that the operator names in parameters, such as those of libraries. */
function pathsIn(parameters: Readonly<Record<string, string>> = {}): string[] {
  return Object.values(parameters).flatMap((value) =>
    value.split(/[:,]\s*/).filter((part) => isAbsolute(part) && part !== '/'),
  )
}

/** The unprivileged user of a root process; undefined when pgproof is not root. Throws SCRATCH_FAILED. */
export async function unprivilegedUser(
  name: string,
  ownUid = process.getuid?.(),
): Promise<{ uid: number; gid: number } | undefined> {
  if (ownUid !== 0) return undefined
  const line = (await readFile('/etc/passwd', 'utf8')).split('\n').find((entry) => entry.startsWith(`${name}:`))
  const [, , uid, gid] = line?.split(':') ?? []
  if (uid === undefined || gid === undefined || uid === '0')
    throw new PgproofError('SCRATCH_FAILED', {
      reason: `PostgreSQL refuses to run as root, and there is no unprivileged user "${name}" (drill.runAs)`,
    })
  return { uid: Number(uid), gid: Number(gid) }
}

/**
 * PostgreSQL manual, "Non-Durable Settings" and "Populating a Database"; of what is said twice, the last holds. Shared memory
 * of parallel workers is in files of its own: Docker gives a container 64 MB of /dev/shm, and what a killed server leaves there, nobody removes.
 */
function settings(socketFolder: string, { jobs, parameters = {}, cronDatabase }: EmbeddedRequest): string {
  const memory = Math.min(totalmem(), process.constrainedMemory() || Number.POSITIVE_INFINITY)
  const mebibytes = (share: number, least: number, most: number): string =>
    `${Math.floor(Math.min(most, Math.max(least, (memory * share) / (1 << 20))))}MB`
  return `
listen_addresses = ''
unix_socket_directories = '${folderInList(socketFolder)}'
unix_socket_permissions = 0700
port = 5432
fsync = off
full_page_writes = off
synchronous_commit = off
wal_level = minimal
max_wal_senders = 0
archive_mode = off
max_wal_size = 4GB
checkpoint_timeout = 1d
autovacuum = off
dynamic_shared_memory_type = mmap
shared_buffers = ${mebibytes(0.1, 64, 1024)}
maintenance_work_mem = ${mebibytes(0.05, 64, 512)}
max_parallel_maintenance_workers = ${Math.max(0, Math.min(2, cpus().length - jobs))}
max_connections = ${20 + jobs}
max_locks_per_transaction = 1024
shared_preload_libraries = ''
log_min_messages = error
log_min_error_statement = panic
jit = off
${Object.entries({ ...parameters, ...cronParameters(parameters, cronDatabase) })
  .map(([name, value]) => `${name} = ${quotedSetting(value)}\n`)
  .join('')}`
}

/**
 * A restored cron.job holds production's jobs, and pg_cron runs them by connecting to the hosts that are named there.
 * Its launcher is a background worker: without room for workers there is none, in any version of it.
 */
function cronParameters(
  parameters: Readonly<Record<string, string>>,
  database: string | undefined,
): Record<string, string> {
  if (database === undefined) return {}
  const others = (parameters['shared_preload_libraries'] ?? '').split(',').map((library) => library.trim())
  return {
    shared_preload_libraries: [...others.filter((library) => !['', 'pg_cron'].includes(library)), 'pg_cron'].join(','),
    max_worker_processes: '0',
    'cron.database_name': database,
    'cron.launch_active_jobs': 'off',
  }
}

function quotedSetting(value: string): string {
  return `'${value.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`
}

/** A folder as an element of a list, in quotes, within a string of postgresql.conf. */
function folderInList(path: string): string {
  return `"${path.replaceAll('"', '""')}"`.replaceAll('\\', '\\\\').replaceAll("'", "''")
}

async function untilReady(
  connection: Connection,
  server: RunningProgram,
  clock: Clock,
  signal: AbortSignal,
): Promise<void> {
  let hasEnded = false
  void server.ended.then(() => {
    hasEnded = true
  })
  const deadline = clock.monotonicMs() + 60_000
  for (;;) {
    try {
      await using _ready = await connect(connection, signal, 'pgproof probe')
      return
    } catch (error) {
      signal.throwIfAborted()
      const isLate = clock.monotonicMs() > deadline
      if (hasEnded || isLate) {
        const reason = hasEnded
          ? 'it ended while starting'
          : `it takes no connection within a minute: ${reasonOf(error)}`
        throw new PgproofError('SCRATCH_FAILED', { reason }, { cause: error, details: server.stderrTail() })
      }
    }
    await clock.sleep(50, signal)
  }
}
