import { once } from 'node:events'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type CliFolder, cliFolder, type Started, waitFor } from '../commands/cli.ts'
import { testDatabase, testUrl } from '../support/installation.ts'
import { markOldStore, onceAYear } from '../support/mark-store.ts'
import { freePort, query } from '../support/postgres-server.ts'
import { descendantsOf, isRunning } from '../support/processes.ts'
import { standIn } from '../support/stand-ins.ts'

let database: Awaited<ReturnType<typeof testDatabase>>
beforeAll(async () => {
  database = await testDatabase('template0')
  await query(database.url, 'CREATE TABLE t AS SELECT generate_series(1, 1000) AS id')
})
afterAll(() => database[Symbol.asyncDispose]())

type ServeFolder = CliFolder & {
  readonly port: number
  /** What is due once, right away: the store is old, and these times come once a year. */
  serve(jobs: readonly ('backup' | 'roles' | 'drill')[], settings?: object): Promise<Started>
  /** The samples of /metrics, `name{labels}` to value; waits until the port is open. */
  metrics(started: Started): Promise<Map<string, number>>
  untilReady(started: Started): Promise<void>
}

async function serveFolder(): Promise<ServeFolder> {
  const folder = await cliFolder([database.name])
  const port = await freePort()
  markOldStore(join(folder.path, 'store'))
  return {
    ...folder,
    port,
    async serve(jobs, settings = {}) {
      const schedule = Object.fromEntries(jobs.map((job) => [job, onceAYear]))
      await folder.configure({
        servers: [{ name: 'main', url: testUrl(), databases: [database.name], schedule }],
        http: { listen: `127.0.0.1:${port}` },
        log: { format: 'json' },
        ...settings,
      })
      return folder.start(['serve'])
    },
    async metrics(started) {
      for (;;) {
        if (started.child.exitCode !== null) throw new Error(`serve has ended: ${started.stderr()}`)
        const answer = await fetch(`http://127.0.0.1:${port}/metrics`).catch(() => undefined)
        if (answer !== undefined) return parseMetrics(await answer.text())
      }
    },
    untilReady: async (started) => {
      await waitFor('ready', () => started.stderr().includes('"msg":"ready"'))
    },
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  }
}

function parseMetrics(text: string): Map<string, number> {
  const samples = text.split('\n').filter((line) => line.startsWith('pgproof_'))
  return new Map(samples.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.split(' ').at(-1))]))
}

/** Log lines of that message. */
function logged(started: Started, message: string): Record<string, unknown>[] {
  const lines = started
    .stderr()
    .split('\n')
    .filter((line) => line.startsWith('{'))
  return lines.map((line) => JSON.parse(line) as Record<string, unknown>).filter(({ msg }) => msg === message)
}

async function stop(started: Started): Promise<number | null> {
  started.child.kill('SIGTERM')
  return (await started.result).code
}

describe('serve', () => {
  it('from the first start to a restart - unknown is absent, jobs run by themselves, the first scrape knows them', async () => {
    await using folder = await serveFolder()
    const place = `{server="main",database="${database.name}"}`
    const first = await folder.serve([])
    const unknown = await folder.metrics(first)
    expect(unknown.get('pgproof_store_up{store="store"}')).toBe(1)
    expect([...unknown.keys()].filter((key) => /last_success|last_passed|recovery_point/.test(key))).toEqual([])
    expect(await stop(first)).toBe(0)

    const second = await folder.serve(['backup', 'roles', 'drill'])
    const passed = `pgproof_drill_last_passed_timestamp_seconds${place}`
    await expect
      .poll(() => folder.metrics(second).then((found) => found.get(passed)), { timeout: 60_000, interval: 200 })
      .toBeGreaterThan(0)
    const before = await folder.metrics(second)
    expect(
      logged(second, 'run finished')
        .map(({ job, outcome }) => `${job} ${outcome}`)
        .sort(),
    ).toEqual(['backup succeeded', 'drill succeeded', 'prune succeeded', 'prune succeeded', 'roles succeeded'])
    expect(await stop(second)).toBe(0)

    const third = await folder.serve(['backup', 'roles', 'drill'])
    const after = await folder.metrics(third)
    const lasting = [...before.keys()].filter((key) =>
      /^(?!pgproof_config_).*_(last|recovery|restore|stored|dump|oldest|retained)/.test(key),
    )
    expect(lasting.length).toBeGreaterThan(8)
    expect(lasting.map((key) => [key, after.get(key)])).toEqual(lasting.map((key) => [key, before.get(key)]))
    await folder.untilReady(third)
    expect(await stop(third)).toBe(0)
    expect(logged(third, 'run started')).toEqual([])
    expect(folder.leftovers()).toEqual([])
  })

  it('SIGTERM while it is starting - exit 0 as at any other time, and nothing was begun', async () => {
    await using folder = await serveFolder()
    // A server that takes the connection and never answers: the daemon waits for its list of databases.
    const silent = createServer().listen(0, '127.0.0.1')
    await once(silent, 'listening')
    const { port } = silent.address() as AddressInfo
    try {
      const server = { name: 'main', url: `postgres://postgres@127.0.0.1:${port}/postgres` }
      const started = await folder.serve(['backup'], { servers: [{ ...server, databases: 'all' }] })
      const asked = once(silent, 'connection')
      await asked
      expect(await stop(started)).toBe(0)
      expect(started.stderr()).not.toContain('error:')
      expect([...logged(started, 'ready'), ...logged(started, 'run started')]).toEqual([])
    } finally {
      silent.close()
    }
  })

  it('SIGTERM in the middle of a dump - exit 0 after the grace; no manifest, no process; the run is told', async () => {
    await using folder = await serveFolder()
    const begun = join(folder.path, 'begun')
    const bin = standIn(folder.path, 'pg_dump', `"$REAL" "$@" | head -c 300; touch ${begun}; exec sleep 618`)
    const started = await folder.serve(['backup'], { postgres: { binDirs: [bin] }, daemon: { grace: '1s' } })
    await waitFor('pg_dump', () => existsSync(begun))
    const processes = descendantsOf(started.child.pid ?? 0)
    expect(processes.length).toBeGreaterThan(0)
    expect(await stop(started)).toBe(0)
    expect(logged(started, 'run finished')).toMatchObject([
      { job: 'backup', database: database.name, outcome: 'cancelled', code: 'SHUTTING_DOWN' },
    ])
    expect(folder.objects().map((file) => file.slice(folder.path.length))).toEqual(['/store/pgproof.json'])
    expect(folder.leftovers()).toEqual([])
    expect(processes.filter(isRunning)).toEqual([])
    const sessions = `SELECT pid FROM pg_stat_activity WHERE datname = '${database.name}'`
    await expect.poll(() => query(testUrl(), sessions), { timeout: 5_000 }).toEqual([])
  })

  it('SIGKILL in the middle of a drill - the next start ends the scratch server and empties the spool', async () => {
    await using folder = await serveFolder()
    expect((await folder.run(['backup', '--roles'])).code).toBe(0)
    expect((await folder.run(['backup'])).code).toBe(0)
    const begun = join(folder.path, 'begun')
    const bin = standIn(folder.path, 'pg_restore', `echo $$ > ${begun}; exec sleep 619`)
    const killed = await folder.serve(['drill'], {
      postgres: { binDirs: [bin] },
      drill: { spool: join(folder.path, 'spool') },
    })
    await waitFor('pg_restore', () => existsSync(begun))
    const processes = descendantsOf(killed.child.pid ?? 0)
    killed.child.kill('SIGKILL')
    await killed.result
    // How many depends on what isolates the scratch server: some end with their parent.
    expect(processes.filter(isRunning).length).toBeGreaterThan(0)
    expect(folder.leftovers().length).toBeGreaterThan(10)

    const next = await folder.serve([])
    await folder.untilReady(next)
    expect(logged(next, 'removed what an interrupted drill or restore had left in the spool')).toMatchObject([
      { folders: 1 },
    ])
    expect(folder.leftovers()).toEqual([])
    // A real pg_restore ends with its server; its stand-in does not know of one.
    const left = processes.filter(isRunning)
    expect(left.length).toBeLessThanOrEqual(1)
    for (const pid of left) process.kill(pid, 'SIGKILL')
    expect(await stop(next)).toBe(0)
  })

  it('the port is taken - exit 2 that names the address, before anything that is due has begun', async () => {
    await using folder = await serveFolder()
    const first = await folder.serve([])
    await folder.untilReady(first)
    const second = await folder.serve(['backup'])
    const { code, stderr } = await second.result
    expect(code).toBe(2)
    expect(stderr).toContain(`error: cannot listen on 127.0.0.1:${folder.port}: `)
    expect(stderr).toMatch(/^hint: Set `http.listen`/m)
    expect(logged(second, 'run started')).toEqual([])
    expect(folder.objects()).toHaveLength(1)
    expect(await stop(first)).toBe(0)
  })

  it('no store at the start - exit 11 with a hint; a broken configuration - exit 2 that names the key', async () => {
    await using folder = await serveFolder()
    rmSync(join(folder.path, 'store'), { recursive: true })
    const missing = await (await folder.serve(['backup'])).result
    expect(missing.code).toBe(11)
    expect(missing.stderr).toMatch(
      /^error: bucket or directory .*\/store does not exist\nhint: If it is new: create the bucket, or let `pgproof init` make the directory/m,
    )
    const broken = await (await folder.serve([], { daemon: { grace: 'soon' } })).result
    expect(broken.code).toBe(2)
    expect(broken.stderr).toContain('daemon.grace')
  })

  it('the store goes away and comes back - not ready, then ready; said once', async () => {
    await using folder = await serveFolder()
    const started = await folder.serve([], { daemon: { catalogRefresh: '1s' } })
    await folder.untilReady(started)
    const ready = async (): Promise<number> => (await fetch(`http://127.0.0.1:${folder.port}/readyz`)).status
    expect(await ready()).toBe(200)
    const marker = readFileSync(join(folder.path, 'store', 'pgproof.json'))
    rmSync(join(folder.path, 'store'), { recursive: true })
    await expect.poll(ready, { timeout: 20_000 }).toBe(503)
    expect((await folder.metrics(started)).get('pgproof_store_up{store="store"}')).toBe(0)
    mkdirSync(join(folder.path, 'store'))
    writeFileSync(join(folder.path, 'store', 'pgproof.json'), marker)
    await expect.poll(ready, { timeout: 20_000 }).toBe(200)
    expect(await stop(started)).toBe(0)
    expect(logged(started, 'the store cannot be read')).toHaveLength(1)
  })
})
