import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import {
  appendFileSync,
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
} from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { ListObjectsV2Command, PutObjectCommand } from '@aws-sdk/client-s3'
import { query, serverBinDir, startPostgres, type ThrowAwayServer } from '../scripts/throw-away-postgres.ts'
import { labelTime } from '../src/domain/backup-label.ts'
import { generateKeyPair } from '../src/encryption/generate.ts'
import { startS3Server, testClient } from '../test/support/s3-server.ts'
import { makeTestBucket } from '../test/support/test-bucket.ts'

/** When what was stored began, by `server/database`. */
export type Stored = ReadonlyMap<string, readonly Date[]>

/** Two servers with databases, a control database, a bucket, and the configuration of workers. */
export type FleetPlace = AsyncDisposable & {
  readonly folder: string
  /** `server/database` of everything that is backed up, and of what is drilled. */
  readonly backedUp: readonly string[]
  readonly drilled: readonly string[]
  readonly sources: readonly ThrowAwayServer[]
  /** URL of the control database. */
  readonly control: string
  /** `pgproof serve` as a process of its own. */
  startWorker(name: string): ChildProcess
  /** As if the machine of the control database had lost power: every session is cut, and the server recovers. */
  crashControl(): void
  stored(): Promise<{ readonly backups: Stored; readonly drills: Stored }>
  /** Writes that were begun and not ended; a prune removes them when they are old. */
  unfinishedUploads(): Promise<number>
  /** What nobody may leave behind when all workers have stopped: files, processes, sessions. */
  left(): Promise<readonly string[]>
}

export type PlaceSettings = {
  readonly databases: number
  /** Of the whole fleet, or of the smaller server alone. */
  readonly drilled: 'all' | 'some'
  /** Cron expression of the backups. */
  readonly due: string
}

export async function openFleetPlace(settings: PlaceSettings): Promise<FleetPlace> {
  const folder = mkdtempSync(join(tmpdir(), 'pgproof-fleet-'))
  // The embedded server of a drill runs as another user when this is run by root.
  chmodSync(folder, 0o711)
  for (const name of ['tmp', 'log']) mkdirSync(join(folder, name))
  const opened: (() => unknown)[] = [() => rmSync(folder, { recursive: true, force: true })]
  const release = async (): Promise<void> => {
    if (process.env['KEEP_FLEET'] !== undefined) opened.shift()
    for (const one of opened.toReversed()) await one()
  }
  try {
    const server = await startS3Server()
    opened.push(() => server.stop())
    const bucket = await makeTestBucket({ server })
    opened.push(() => bucket.remove())
    const client = testClient(server)
    opened.push(() => client.destroy())
    const servers: ThrowAwayServer[] = []
    for (let count = 0; count < 3; count += 1) {
      const one = await startPostgres()
      servers.push(one)
      opened.push(() => one.stop())
    }
    const [one, two, controlServer] = servers as [ThrowAwayServer, ThrowAwayServer, ThrowAwayServer]
    const sources = [one, two]
    const names = await makeDatabases(sources, settings.databases)
    await query(controlServer.url(), 'CREATE DATABASE control')
    const control = controlServer.url('control')

    const marker = { format: 1, storeId: randomUUID(), createdAt: '2020-01-01T12:00:00.000Z' }
    const where = { Bucket: bucket.name, Key: 'fleet/pgproof.json' }
    await client.send(new PutObjectCommand({ ...where, Body: JSON.stringify(marker) }))
    const keys = await generateKeyPair({ name: 'fleet', kind: 'ecc', use: 'backup', now: new Date() })
    await writeFile(join(folder, 'pub.asc'), keys.publicKey)
    await writeFile(join(folder, 'key.asc'), keys.privateKey, { mode: 0o600 })
    await writeFile(join(folder, 'secret'), server.secretAccessKey, { mode: 0o600 })
    const isDrilled = (index: number): boolean => settings.drilled === 'all' || index === 1
    const config = {
      store: {
        url: `s3://${bucket.name}/fleet`,
        ...{ endpoint: server.endpoint, region: server.region, provider: server.provider, partSize: '5MiB' },
        ...{ accessKeyId: server.accessKeyId, secretAccessKeyFile: 'secret' },
      },
      encryption: { recipients: ['pub.asc'], privateKeyFile: 'key.asc' },
      servers: sources.map((source, index) => ({
        name: `s${index}`,
        url: source.url(),
        databases: names[index],
        // Drills are due once: their time of this year has passed.
        schedule: { backup: settings.due, ...(isDrilled(index) ? { drill: '0 0 1 1 *' } : {}) },
        retry: { attempts: 10, delay: '5s' },
        maxConcurrent: 4,
      })),
      drill: { spool: join(folder, 'spool'), pick: 'latest' },
      postgres: { binDirs: [serverBinDir()] },
      http: { listen: 'off' },
      log: { format: 'json' },
      daemon: { maxConcurrent: 2, catalogRefresh: '30s', grace: '20s' },
      fleet: { url: control, heartbeat: '10s' },
    }
    await writeFile(join(folder, 'pgproof.yaml'), JSON.stringify(config, null, 1))

    const keysIn = async (): Promise<string[]> => {
      const found: string[] = []
      for (let token: string | undefined; ; ) {
        const page = await client.send(
          new ListObjectsV2Command({
            Bucket: bucket.name,
            ...(token === undefined ? {} : { ContinuationToken: token }),
          }),
        )
        for (const { Key = '' } of page.Contents ?? []) found.push(Key)
        token = page.NextContinuationToken
        if (token === undefined) return found
      }
    }
    const places = (isWanted: (index: number) => boolean): string[] =>
      names.flatMap((own, index) => (isWanted(index) ? own.map((name) => `s${index}/${name}`) : []))
    return {
      ...{ folder, sources, control, backedUp: places(() => true), drilled: places(isDrilled) },
      startWorker: (name) => startWorker(folder, name),
      crashControl: () => crash(controlServer),
      async stored() {
        const found = await keysIn()
        return {
          backups: startsOf(found, /^fleet\/backups\/([^/]+\/[^/]+)\/([^/]+)\/manifest\.json$/),
          drills: startsOf(found, /^fleet\/drills\/([^/]+\/[^/]+)\/([^/.]+)\.json$/),
        }
      },
      unfinishedUploads: async () => (await bucket.unfinished()).length,
      left: async () => [
        ...filesIn(join(folder, 'tmp')),
        // The cache of the index is there for the next start.
        ...filesIn(join(folder, 'spool')).filter((file) => !/\/catalog-\w+\.cache$/.test(file)),
        ...processesOf(folder),
        ...(await Promise.all([...sources, controlServer].map(sessionsOf))).flat(),
      ],
      [Symbol.asyncDispose]: release,
    }
  } catch (error) {
    await release()
    throw error
  }
}

/** The first server has four of five: it must not starve the other. */
async function makeDatabases(servers: readonly ThrowAwayServer[], count: number): Promise<readonly string[][]> {
  const names: string[][] = servers.map(() => [])
  for (const server of servers) {
    await query(server.url(), 'CREATE DATABASE seed')
    await query(
      server.url('seed'),
      "CREATE TABLE orders (id int PRIMARY KEY, note text); INSERT INTO orders SELECT n, repeat('x', 50) FROM generate_series(1, 500) n",
    )
  }
  for (let index = 0; index < count; index += 1) {
    const which = index % 5 === 4 ? 1 : 0
    const name = `d${String(index).padStart(3, '0')}`
    await query((servers[which] as ThrowAwayServer).url(), `CREATE DATABASE ${name} TEMPLATE seed STRATEGY file_copy`)
    names[which]?.push(name)
  }
  return names
}

function startWorker(folder: string, name: string): ChildProcess {
  const places = { HOME: folder, TMPDIR: join(folder, 'tmp'), NODE_COMPILE_CACHE: join(folder, 'compiled') }
  const child = spawn(process.execPath, [resolve('src/main.ts'), '--config', join(folder, 'pgproof.yaml'), 'serve'], {
    cwd: folder,
    env: { PATH: process.env['PATH'] ?? '', ...places, PGPROOF_FLEET__WORKER: name },
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  child.stderr?.on('data', (text: Buffer) => appendFileSync(join(folder, 'log', name), text))
  return child
}

function crash(server: ThrowAwayServer): void {
  const [postmaster = ''] = readFileSync(join(server.folder, 'data/postmaster.pid'), 'utf8').split('\n')
  const children = execFileSync('pgrep', ['-P', postmaster]).toString().trim().split('\n')
  process.kill(Number(children.at(-1)), 'SIGKILL')
}

function startsOf(keys: readonly string[], pattern: RegExp): Stored {
  const found = keys.flatMap((key) => {
    const [, place = '', label = ''] = pattern.exec(key) ?? []
    const at = labelTime(label)
    return at === undefined ? [] : [{ place, at }]
  })
  return new Map([...Map.groupBy(found, ({ place }) => place)].map(([place, own]) => [place, own.map(({ at }) => at)]))
}

function filesIn(path: string): string[] {
  return existsSync(path) ? readdirSync(path, { recursive: true }).map((file) => join(path, String(file))) : []
}

/** Command lines of what still runs for one of the workers. */
function processesOf(folder: string): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')
        return command.includes(folder) ? [command] : []
      } catch {
        return []
      }
    })
}

async function sessionsOf(server: ThrowAwayServer): Promise<string[]> {
  const rows = await query(
    server.url(),
    "SELECT datname || ': ' || application_name AS who FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()",
  )
  return rows.map(({ who }) => `session ${String(who)}`)
}
