import pg from 'pg'
import { type CliFolder, cliFolder, type Started, waitFor } from '../commands/cli.ts'
import { testDatabase, testUrl } from '../support/installation.ts'
import { query } from '../support/postgres-server.ts'

/** Several databases, one folder with a store that is old, and a control database; workers come and go over it. */
export type FleetFolder = AsyncDisposable & {
  readonly folder: CliFolder
  readonly databases: readonly string[]
  readonly control: string
  /** What every worker has, with changes. */
  configure(changes?: object, server?: object): Promise<void>
  /** A worker as a process of its own. */
  worker(name: string, env?: Record<string, string>): Started
  manifests(database: string): string[]
  /** Of the queue. */
  entries<T = Entry>(what?: string): Promise<T[]>
}

export type Entry = {
  id: string
  name: string
  state: string
  data: Record<string, unknown>
  output: unknown
  retry_count: number
}

/** Its due time of this year has passed, and comes once. */
const onceAYear = '0 0 1 1 *'

export async function fleetFolder(count: number, template = 'template0'): Promise<FleetFolder> {
  const databases: Awaited<ReturnType<typeof testDatabase>>[] = []
  for (let made = 0; made < count; made += 1) databases.push(await testDatabase(template))
  const control = await testDatabase('template0')
  const names = databases.map(({ name }) => name)
  const folder = await cliFolder(names)
  await folder.write('store/pgproof.json', marker)
  const started: Started[] = []
  const fleet: FleetFolder = {
    folder,
    databases: names,
    control: control.url,
    async configure(changes = {}, server = {}) {
      const schedule = { backup: onceAYear }
      const retry = { attempts: 5, delay: '1s' }
      await folder.configure({
        servers: [{ name: 'main', url: testUrl(), databases: names, schedule, retry, evidence: 'off', ...server }],
        http: { listen: 'off' },
        log: { format: 'json' },
        daemon: { maxConcurrent: 1, catalogRefresh: '2s', grace: '5s' },
        fleet: { url: control.url, heartbeat: '10s' },
        ...changes,
      })
    },
    worker(name, env = {}) {
      const one = folder.start(['serve'], { env: { PGPROOF_FLEET__WORKER: name, ...env } })
      started.push(one)
      return one
    },
    manifests: (database) =>
      folder.objects().filter((file) => file.endsWith('/manifest.json') && file.includes(`/${database}/`)),
    entries: async (what = "name NOT IN ('workers', 'dead')") =>
      (await query(control.url, `SELECT * FROM pgboss.job WHERE ${what}`)) as never,
    [Symbol.asyncDispose]: async () => {
      if (process.env['DEBUG_FLEET']) for (const one of started) console.log(one.stderr().slice(-4000))
      for (const { child } of started) child.kill('SIGKILL')
      await Promise.all(started.map(({ result }) => result))
      await folder[Symbol.asyncDispose]()
      for (const one of [control, ...databases]) await one[Symbol.asyncDispose]()
    },
  }
  await fleet.configure()
  return fleet
}

const marker = JSON.stringify({
  format: 1,
  storeId: '00000000-0000-4000-8000-000000000000',
  createdAt: '2020-01-01T12:00:00.000Z',
})

/** Like waitFor, for what has to be asked; two minutes. */
export async function eventually(what: string, condition: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 120_000
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`waited two minutes for ${what}`)
    await new Promise((done) => setTimeout(done, 100))
  }
}

/** Locks a table, so that a backup of its database does not end before the scope. */
export async function lockedTable(url: string, table: string): Promise<AsyncDisposable> {
  const client = new pg.Client({ connectionString: url })
  client.on('error', () => {})
  await client.connect()
  await client.query(`BEGIN; LOCK TABLE ${table} IN ACCESS EXCLUSIVE MODE`)
  return { [Symbol.asyncDispose]: () => client.end() }
}

/** The address in the line that says a worker is ready. */
export async function addressOf(worker: Started): Promise<string> {
  const line = await waitFor('the address', () => /"address":"([^"]+)"/.exec(worker.stderr())?.[1])
  return line.startsWith('http') ? line : `http://${line}`
}
