import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { connect } from '../../src/postgres/connect.ts'
import { type EmbeddedServer, startEmbeddedServer } from '../../src/postgres/embedded-server.ts'
import { openSpool, type Spool } from '../../src/streams/spool.ts'
import { errorOf, signal } from '../postgres/sandbox.ts'
import { major, openSpoolRoot, type SpoolRoot } from '../postgres/spool-root.ts'
import { attempts, openPrey, type Prey, preparation, sameUser } from './hostile-dump.ts'

let prey: Prey
let root: SpoolRoot
let spool: Spool
const path = process.env['PATH'] ?? ''
beforeAll(async () => {
  prey = await openPrey()
})
afterAll(async () => {
  await prey[Symbol.asyncDispose]()
})
beforeEach(async () => {
  root = await openSpoolRoot()
  spool = await openSpool(root.path, 0)
})
afterEach(async () => {
  process.env['PATH'] = path
  await spool[Symbol.asyncDispose]()
  await root[Symbol.asyncDispose]()
})

/** As the user of the server beside it, whom that one lets in. */
function start(over: { runAs?: string; parameters?: Record<string, string> } = {}): Promise<EmbeddedServer> {
  const request = { folder: spool.folder, major, binDirs: [], bootstrapRole: 'postgres', runAs: sameUser, jobs: 2 }
  return startEmbeddedServer({ ...request, ...over }, systemClock, signal)
}

/** What a superuser in that server can run, as a dump could: the rows of the last statement. */
async function run(server: EmbeddedServer, sql: string): Promise<Record<string, unknown>[]> {
  await using held = await connect(server.connection, signal)
  await held.client.query("SET search_path = public; SET statement_timeout = '30s'")
  const result: unknown = await held.client.query(sql)
  return ((Array.isArray(result) ? result.at(-1) : result) as { rows: Record<string, unknown>[] }).rows
}

/** What a program that the server starts prints. */
async function output(server: EmbeddedServer, command: string): Promise<string> {
  const copy = `COPY o FROM PROGRAM '${command.replaceAll("'", "''")}' (FORMAT csv, DELIMITER E'\\x01', QUOTE E'\\x02')`
  const rows = await run(server, `CREATE TEMP TABLE o (line text); ${copy}; SELECT line FROM o`)
  return rows.map(({ line }) => String(line)).join('\n')
}

/** Those that did not fail. */
async function succeeded(server: EmbeddedServer): Promise<string[]> {
  await run(server, preparation(prey))
  const done: string[] = []
  for (const { title, sql } of attempts(prey)) {
    const failed = await run(server, sql).then(
      () => false,
      () => true,
    )
    if (!failed) done.push(title)
  }
  return done
}

describe('a hostile dump in the embedded scratch server', () => {
  it('connections, files, signals, programs - reaches no server, key, store or process of this machine', async () => {
    await using server = await start()
    expect(server.notIsolated).toEqual([])
    expect(await succeeded(server)).toEqual([])
    expect(await prey.touched()).toEqual([])
  })

  it('its own root - programs and libraries, read-only; no home, no run, none of the secrets in /etc; its own processes', async () => {
    await using server = await start()
    expect((await output(server, 'ls /')).split('\n')).toEqual(
      expect.not.arrayContaining(['home', 'root', 'run', 'srv', 'mnt', 'media', 'boot', 'sys']),
    )
    const settings = (await output(server, 'ls /etc')).split('\n')
    expect(settings).toContain('passwd')
    for (const name of ['shadow', 'ssh', 'pgproof', 'postgresql', 'environment', 'docker', 'hosts', 'resolv.conf'])
      expect(settings).not.toContain(name)
    expect(await output(server, 'cat /proc/net/dev | grep : | cut -d: -f1 | tr -d " "')).toBe('lo')
    expect(await output(server, 'cat /proc/1/cmdline | tr "\\\\0" " "')).toContain('/postgres -D ')
    expect(await output(server, 'touch /usr/x /x /etc/x 2>&1 | grep -c "Read-only\\|denied"; true')).toBe('3')
    const status = await output(server, 'grep -E "^(Cap(Inh|Prm|Eff|Amb|Bnd)|NoNewPrivs):" /proc/self/status')
    const rights = new Set(status.split('\n').map((line) => line.replace(/^Cap(Bnd:\s.*|\w+:\s+0+$)/, '')))
    expect(rights).toEqual(new Set(['', expect.stringMatching(/^NoNewPrivs:\s+1$/)]))
  })

  it('a user namespace inside of it - shows nothing that was hidden', async () => {
    await using server = await start()
    const reveal = `for place in / /usr/local/etc /tmp /dev/shm /proc; do umount -n -l $place; done; ls ${prey.folder}; ls /home /run`
    const seen = await output(server, `unshare --user --map-root-user --mount sh -c "${reveal}" 2>/dev/null; true`)
    expect(seen).toBe('')
  })

  it('limits - no core files, not more processes than a server needs', async () => {
    await using server = await start()
    const [core = '', processes = ''] = (await output(server, 'ulimit -c; bash -c "ulimit -u"')).split('\n')
    expect(core).toBe('0')
    expect(Number(processes)).toBeGreaterThan(1_000)
    expect(Number(processes)).toBeLessThan(50_000)
  })

  it('a folder that the operator names in a parameter - can be read, and not changed', async () => {
    const extra = join(root.path, 'libraries')
    mkdirSync(extra)
    chmodSync(extra, 0o777)
    writeFileSync(join(extra, 'a.so'), 'x')
    await using server = await start({ parameters: { dynamic_library_path: `$libdir:${extra}` } })
    expect(await run(server, `SELECT pg_ls_dir('${extra}') AS name`)).toEqual([{ name: 'a.so' }])
    expect(String(await errorOf(run(server, `COPY (SELECT 1) TO '${extra}/b'`)))).toMatch(/Read-only file system/)
  })

  it('pgproof is killed - it ends with it, without a sweep', async () => {
    const script = join(import.meta.dirname, '..', 'postgres', 'embedded-server.child.ts')
    const options = { stdio: ['ignore', 'pipe', 'inherit'] as ['ignore', 'pipe', 'inherit'] }
    const child = spawn(process.execPath, [script, root.path, String(major)], options)
    const [line] = (await once(child.stdout, 'data')) as [Buffer]
    const folder = line.toString().trim()
    const socket = { server: 'scratch', host: join(folder, 's'), port: 5432, user: 'postgres', database: 'postgres' }
    const connection = { ...socket, tls: { mode: 'disable' as const } }
    await (await connect(connection, signal))[Symbol.asyncDispose]()
    child.kill('SIGKILL')
    await once(child, 'close')
    await expect
      .poll(() => errorOf(connect(connection, signal)).catch(() => null))
      .toMatchObject({
        code: 'SERVER_UNREACHABLE',
      })
  })
})

describe('where the system does not allow all of it', () => {
  /** A program of that name first on the PATH. */
  function standIn(name: string, script: string): void {
    const file = join(root.path, name)
    writeFileSync(file, `#!/bin/sh\n${script}\n`)
    chmodSync(file, 0o755)
    process.env['PATH'] = `${root.path}:${path}`
  }

  it('unshare is refused - the server starts all the same, says so, and the attempts above do succeed', async () => {
    standIn('unshare', 'echo "unshare: unshare failed: Operation not permitted" >&2; exit 1')
    await using server = await start()
    expect(server.notIsolated).toEqual(['network', 'files', 'processes'])
    const done = await succeeded(server)
    // They can fail: here nothing but the file system's rights and no_new_privs is in the way.
    expect(done).toEqual(
      attempts(prey)
        .map(({ title }) => title)
        .filter((title) => !/privileges|C function/.test(title)),
    )
    expect((await prey.touched()).length).toBeGreaterThan(5)
  })

  it('mounts are refused - without a network all the same', async () => {
    standIn('unshare', `case "$*" in *--mount*) exit 1;; esac; exec ${await whereIs('unshare')} "$@"`)
    await using server = await start()
    expect(server.notIsolated).toEqual(['files', 'processes'])
    expect(await output(server, 'cat /proc/net/dev | grep : | cut -d: -f1 | tr -d " "')).toBe('lo')
  })

  it('there is no unshare - the server starts, and it is said', async () => {
    process.env['PATH'] = '/nonexistent'
    await using server = await start()
    expect(server.notIsolated).toEqual(['network', 'files', 'processes'])
  })

  it('another user than the neighbour’s - not let in by peer even then', async () => {
    if (sameUser === '') return
    process.env['PATH'] = '/nonexistent'
    await using server = await start({ runAs: 'nobody' })
    expect(await output(server, 'id -un')).toBe('nobody')
    expect(String(await errorOf(run(server, `SELECT pg_ls_dir('${prey.production.folder}')`)))).toMatch(/denied/)
  })
})

async function whereIs(name: string): Promise<string> {
  const found = path.split(':').find((folder) => existsSync(join(folder, name)))
  if (found === undefined) throw new Error(`no ${name} here`)
  return join(found, name)
}
