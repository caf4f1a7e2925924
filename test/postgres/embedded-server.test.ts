import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs'
import { chmod, mkdir, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { connect } from '../../src/postgres/connect.ts'
import {
  type EmbeddedRequest,
  type EmbeddedServer,
  startEmbeddedServer,
  unprivilegedUser,
} from '../../src/postgres/embedded-server.ts'
import { openSpool, type Spool, socketPrefix, sweepSpool } from '../../src/streams/spool.ts'
import { serverBinDir } from '../support/postgres-server.ts'
import { codeOf, errorOf, eventually, keepalivesOf, signal } from './sandbox.ts'
import { major, openSpoolRoot, type SpoolRoot } from './spool-root.ts'

const isRoot = process.getuid?.() === 0
let root: SpoolRoot
let spool: Spool
beforeEach(async () => {
  root = await openSpoolRoot()
  spool = await openSpool(root.path, 0)
})
afterEach(async () => {
  await spool[Symbol.asyncDispose]()
  await eventually(() => processesOf(root.path)).toEqual([])
  await root[Symbol.asyncDispose]()
})

function start(over: Partial<EmbeddedRequest> = {}, abort: AbortSignal = signal): Promise<EmbeddedServer> {
  const request = { folder: spool.folder, major, binDirs: [], bootstrapRole: 'postgres', runAs: 'nobody', jobs: 2 }
  return startEmbeddedServer({ ...request, ...over }, systemClock, abort)
}

describe('an embedded server', () => {
  it('answers on its socket alone, as an unprivileged user, in private folders; afterwards nothing is left of it', async () => {
    process.env['PGPROOF_TEST_SECRET'] = 'sesame'
    const server = await start()
    delete process.env['PGPROOF_TEST_SECRET']
    const { connection } = server
    {
      await using held = await connect(connection, signal)
      const { rows } = await held.client.query(`SELECT current_user AS me, current_setting('listen_addresses') AS tcp,
        current_setting('fsync') AS fsync, current_setting('autovacuum') AS autovacuum, current_setting('server_encoding') AS encoding`)
      expect(rows).toEqual([{ me: 'postgres', tcp: '', fsync: 'off', autovacuum: 'off', encoding: 'UTF8' }])
      expect(await keepalivesOf(held.client)).toEqual({ idle: '0', interval: '0', count: '0' })
    }
    const pid = postmasterOf(spool.folder)
    expect(tcpSocketsOf(pid)).toEqual([])
    if (isRoot) expect(readFileSync(`/proc/${pid}/status`, 'utf8')).not.toMatch(/^Uid:\s+(0\s|\d+\s+0\s)/m)
    expect(readFileSync(`/proc/${pid}/environ`, 'latin1')).not.toContain('sesame')
    for (const folder of [connection.host, join(spool.folder, 'data')]) {
      const { mode, uid } = statSync(folder)
      expect(mode & 0o777, folder).toBe(0o700)
      expect(uid === 0, folder).toBe(false)
    }
    expect(connection.host.startsWith(spool.folder)).toBe(true)
    await server[Symbol.asyncDispose]()
    expect(processesOf(spool.folder)).toEqual([])
    expect(sharedMemoryOf([pid])).toEqual([])
    expect(readdirSync(spool.folder)).toEqual(['owner.json', 'owner.sock'])
    expect(await codeOf(connect(connection, signal))).toBe('SERVER_UNREACHABLE')
  })

  it('what parallel workers share - lies in its own folder, which is removed, and not in /dev/shm, of which a container has little', async () => {
    await using server = await start()
    await using held = await connect(server.connection, signal)
    await held.client.query(`CREATE TABLE public.t AS SELECT g FROM generate_series(1, 1000) g; ALTER TABLE public.t SET (parallel_workers = 2);
      SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0`)
    const { rows } = await held.client.query('EXPLAIN (ANALYZE, COSTS OFF) SELECT count(*) FROM public.t')
    expect(JSON.stringify(rows)).toMatch(/Workers Launched: [12]/)
    const maps = textOf(`/proc/${postmasterOf(spool.folder)}/maps`)
    expect(maps).toContain('/pg_dynshmem/mmap.')
    expect(maps).not.toMatch(/PostgreSQL\.\d/)
  })

  it('parameters of the operator - in force, whatever is in their values', async () => {
    const quote = `it's \\ "x"`
    await using server = await start({ parameters: { work_mem: '7MB', 'custom.quote': quote, autovacuum: 'on' } })
    await using held = await connect(server.connection, signal)
    const { rows } = await held.client.query(
      "SELECT current_setting('work_mem') AS mem, current_setting('custom.quote') AS quote, current_setting('autovacuum') AS autovacuum",
    )
    expect(rows).toEqual([{ mem: '7MB', quote, autovacuum: 'on' }])
  })

  it('for pg_cron - loaded beside what the operator loads, can be created in its database, and has no launcher', async () => {
    const parameters = { shared_preload_libraries: 'pg_stat_statements', max_worker_processes: '8' }
    await using server = await start({ parameters, cronDatabase: "it's restored" })
    {
      await using held = await connect(server.connection, signal)
      await held.client.query(`CREATE DATABASE "it's restored"`)
    }
    await using held = await connect({ ...server.connection, database: "it's restored" }, signal)
    await held.client.query(
      "SET search_path = public; CREATE EXTENSION pg_cron; CREATE EXTENSION pg_stat_statements; SELECT cron.schedule('* * * * *', 'SELECT 1')",
    )
    const { rows } = await held.client.query(
      "SELECT current_setting('shared_preload_libraries') AS libraries, current_setting('max_worker_processes') AS workers",
    )
    expect(rows).toEqual([{ libraries: 'pg_stat_statements,pg_cron', workers: '0' }])
    const launchers = "SELECT FROM pg_stat_activity WHERE backend_type || application_name ~ 'cron'"
    expect((await held.client.query(launchers)).rows).toEqual([])
  })

  it('a library that is not there - SCRATCH_FAILED, named', async () => {
    const error = await errorOf(start({ parameters: { shared_preload_libraries: 'tardis' } }))
    expect(error).toMatchObject({ code: 'SCRATCH_FAILED' })
    expect(`${error} ${(error as { details?: string }).details}`).toContain('tardis')
  })

  it('ended in the middle of work, with sessions in it - gone all the same, and at once', async () => {
    const server = await start()
    await using held = await connect(server.connection, signal)
    const running = errorOf(
      held.client.query('CREATE TABLE public.t AS SELECT g, md5(g::text) FROM generate_series(1, 100000000) g'),
    )
    await eventually(() => processesOf(spool.folder).length).toBeGreaterThan(0)
    const begun = performance.now()
    await server[Symbol.asyncDispose]()
    expect(performance.now() - begun).toBeLessThan(5_000)
    await running
    expect(readdirSync(spool.folder)).toEqual(['owner.json', 'owner.sock'])
  })

  it.each([
    ['we-ird; role é', 'we-ird; role é'],
    [`one $"that" initdb \\ can't take`, 'pgproof'],
    ['pg_write_all_data', 'pgproof'],
  ])('the bootstrap role is to be called %s - it is %s', async (asked, expected) => {
    await using server = await start({ bootstrapRole: asked })
    await using held = await connect(server.connection, signal)
    const { rows } = await held.client.query('SELECT rolname, oid::int FROM pg_roles WHERE rolname = current_user')
    expect(rows).toEqual([{ rolname: expected, oid: 10 }])
  })

  it.each([`a, b"c'd\\e é`, 'deep'.repeat(25)])(
    'a spool at %s - works, and leaves nothing in the system’s temporary folder',
    async (name) => {
      const socketFolders = (): string[] => readdirSync(tmpdir()).filter((entry) => entry.startsWith(socketPrefix))
      const place = join(root.path, name)
      await using own = await openSpool(place, 0)
      const before = socketFolders()
      const server = await start({ folder: own.folder })
      await (await connect(server.connection, signal))[Symbol.asyncDispose]()
      await server[Symbol.asyncDispose]()
      expect(existsSync(server.connection.host)).toBe(false)
      expect(
        socketFolders().filter(
          (entry) => !before.includes(entry) && statSync(join(tmpdir(), entry)).ctimeMs < Date.now() - 60_000,
        ),
      ).toEqual([])
      // Too deep for a socket, as for that of the server.
      expect(readdirSync(own.folder)).toEqual(name.length > 90 ? ['owner.json'] : ['owner.json', 'owner.sock'])
    },
  )
})

describe('a server that cannot be started', () => {
  it('no programs of that major - PROGRAM_MISSING that names the server’s package', async () => {
    expect(await errorOf(start({ major: 37 }))).toMatchObject({
      code: 'PROGRAM_MISSING',
      hint: expect.stringContaining('postgresql-37'),
    })
  })

  it('it ends while starting - SCRATCH_FAILED with its last words, nothing left', async () => {
    const binDir = await standIn('postgres', 'echo "FATAL:  could not create shared memory segment" >&2; exit 1')
    expect(await errorOf(start({ binDirs: [binDir] }))).toMatchObject({
      code: 'SCRATCH_FAILED',
      details: expect.stringContaining('shared memory'),
    })
    expect(readdirSync(spool.folder)).toEqual(['owner.json', 'owner.sock'])
  })

  it('it takes no connection for a minute - why not, and nothing left', async () => {
    const binDir = await standIn('postgres', 'exec sleep 600')
    let minutes = 0
    const clock = { ...systemClock, monotonicMs: () => 61_000 * minutes++ }
    const request = {
      folder: spool.folder,
      major,
      binDirs: [binDir],
      bootstrapRole: 'postgres',
      runAs: 'nobody',
      jobs: 2,
    }
    expect(await errorOf(startEmbeddedServer(request, clock, signal))).toMatchObject({
      code: 'SCRATCH_FAILED',
      message: expect.stringContaining('it takes no connection within a minute: '),
    })
    expect(processesOf(spool.folder)).toEqual([])
    expect(readdirSync(spool.folder)).toEqual(['owner.json', 'owner.sock'])
  })

  it('initdb fails - SCRATCH_FAILED with its last words, nothing left', async () => {
    const binDir = await standIn('initdb', 'echo "initdb: error: invalid locale settings" >&2; exit 1')
    expect(await errorOf(start({ binDirs: [binDir] }))).toMatchObject({
      code: 'SCRATCH_FAILED',
      details: expect.stringContaining('invalid locale'),
    })
    expect(readdirSync(spool.folder)).toEqual(['owner.json', 'owner.sock'])
  })

  it('another server is there already - SCRATCH_FAILED, and that one goes on', async () => {
    await using server = await start()
    expect(await codeOf(start())).toBe('SCRATCH_FAILED')
    await (await connect(server.connection, signal))[Symbol.asyncDispose]()
  })

  it('an OS user that is not there, or is root itself - SCRATCH_FAILED; without root nobody is asked for', async () => {
    for (const name of ['nobody_like_that', 'root', '']) {
      expect(await codeOf(unprivilegedUser(name, 0))).toBe('SCRATCH_FAILED')
      if (isRoot) expect(await codeOf(start({ runAs: name }))).toBe('SCRATCH_FAILED')
      expect(await unprivilegedUser(name, 1000)).toBeUndefined()
    }
    expect(readdirSync(spool.folder)).toEqual(['owner.json', 'owner.sock'])
  })
})

describe('an abort', () => {
  it.each<readonly [string, () => boolean]>([
    ['at once', () => true],
    ['as soon as initdb runs', () => processesOf(spool.folder).length > 0],
    ['when the files are there', () => existsSync(join(spool.folder, 'data', 'postgresql.conf'))],
    ['when the server has begun', () => existsSync(join(spool.folder, 'data', 'postmaster.pid'))],
    ['when it listens', () => existsSync(join(spool.folder, 's', '.s.PGSQL.5432'))],
  ])('%s - the reason, no process, folder or shared memory left', async (_when, hasCome) => {
    const controller = new AbortController()
    let hasEnded = false
    const starting = start({}, controller.signal)
      .then(
        async (server) => {
          await server[Symbol.asyncDispose]()
          return 'started'
        },
        (error: unknown) => (error as Error).message,
      )
      .finally(() => {
        hasEnded = true
      })
    while (!hasCome() && !hasEnded) await new Promise((done) => setImmediate(done))
    const pids = processesOf(spool.folder)
    controller.abort(new Error('stop'))
    expect(await starting).toMatch(/^(stop|started)$/)
    expect(processesOf(spool.folder)).toEqual([])
    expect(sharedMemoryOf(pids)).toEqual([])
    expect(readdirSync(spool.folder)).toEqual(['owner.json', 'owner.sock'])
  })

  it('while it runs and a session is in it - it ends, and the end of its scope is quick', async () => {
    const controller = new AbortController()
    const server = await start({}, controller.signal)
    await using held = await connect(server.connection, signal)
    const running = errorOf(held.client.query('SELECT pg_sleep(60)'))
    controller.abort(new Error('stop'))
    const begun = performance.now()
    await server[Symbol.asyncDispose]()
    expect(performance.now() - begun).toBeLessThan(5_000)
    await running
    expect(readdirSync(spool.folder)).toEqual(['owner.json', 'owner.sock'])
  })
})

describe('a server that is not isolated and whose pgproof was killed', () => {
  it.each([
    ['in its spool', ''],
    ['in a folder of its own', 'deep'.repeat(25)],
  ])('socket %s - left alone while that pgproof lives, then ended and removed by a sweep', async (_, below) => {
    const place = join(root.path, below)
    // Without `unshare`: one that is isolated has processes of its own, and ends with its owner.
    const child = spawn(
      process.execPath,
      [join(import.meta.dirname, 'embedded-server.child.ts'), place, String(major)],
      { stdio: ['ignore', 'pipe', 'inherit'], env: { PATH: '/nonexistent', TMPDIR: tmpdir() } },
    )
    try {
      const [line] = (await once(child.stdout, 'data')) as [Buffer]
      const folder = line.toString().trim()
      const pid = postmasterOf(folder)
      const socketFolder = readFileSync(join(folder, 'data', 'postmaster.pid'), 'utf8').split('\n')[4] ?? ''
      expect(await sweepSpool(place)).toBe(0)
      expect(processesOf(folder)).toContain(pid)
      const connection = {
        server: 'scratch',
        host: socketFolder,
        port: 5432,
        user: 'postgres',
        database: 'postgres',
        tls: { mode: 'disable' as const },
      }
      await (await connect(connection, signal))[Symbol.asyncDispose]()

      child.kill('SIGKILL')
      await once(child, 'close')
      // It survives its owner: that is why a sweep is needed.
      await (await connect(connection, signal))[Symbol.asyncDispose]()
      // Our own spool lives in the same root and is not touched.
      expect(await sweepSpool(place)).toBe(1)
      expect(processesOf(folder)).toEqual([])
      expect(sharedMemoryOf([pid])).toEqual([])
      expect([existsSync(folder), existsSync(socketFolder), existsSync(spool.folder)]).toEqual([false, false, true])
    } finally {
      child.kill('SIGKILL')
      await sweepSpool(place)
    }
  })
})

/** By its arguments: `postmaster.pid` has the id that it has among its own processes. */
function postmasterOf(folder: string): number {
  const found = processesOf(folder).filter((pid) => /^[^\0]*\/postgres\0-D\0/.test(textOf(`/proc/${pid}/cmdline`)))
  // A process that it has just made looks like it for a moment.
  const first = found.filter((pid) => !found.includes(parentOf(pid)))
  expect(first).toHaveLength(1)
  return first[0] ?? 0
}

function parentOf(pid: number): number {
  return Number(/^\d+ \(.*\) \S (\d+)/.exec(textOf(`/proc/${pid}/stat`))?.[1])
}

/** Process ids whose arguments name a folder. */
function processesOf(folder: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .filter(
      (pid) => textOf(`/proc/${pid}/cmdline`).includes(folder) && !/^\d+ \(.*\) Z/.test(textOf(`/proc/${pid}/stat`)),
    )
    .map(Number)
}

/** System V shared memory that one of these processes has made. */
function sharedMemoryOf(pids: readonly number[]): string[] {
  const lines = textOf('/proc/sysvipc/shm').split('\n').slice(1)
  return lines.filter((line) => pids.includes(Number(line.trim().split(/\s+/)[4])))
}

/** What a process has open among the TCP sockets of this machine. */
function tcpSocketsOf(pid: number): string[] {
  const table = textOf('/proc/net/tcp') + textOf('/proc/net/tcp6')
  const inodes = new Set(table.split('\n').map((line) => line.trim().split(/\s+/)[9]))
  return readdirSync(`/proc/${pid}/fd`)
    .map((fd) => {
      try {
        return readlinkSync(`/proc/${pid}/fd/${fd}`)
      } catch {
        return ''
      }
    })
    .filter((target) => inodes.has(/^socket:\[(\d+)\]$/.exec(target)?.[1] ?? 'none'))
}

/** A folder in which one server program does what a script says. */
async function standIn(name: string, script: string): Promise<string> {
  const binDir = join(root.path, `bin-${name}`)
  await mkdir(binDir)
  const path = join(binDir, name)
  await writeFile(path, `#!/bin/sh\n[ "$1" = --version ] && exec ${join(serverBinDir(), name)} --version\n${script}\n`)
  await chmod(path, 0o755)
  return binDir
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'latin1')
  } catch {
    return ''
  }
}
