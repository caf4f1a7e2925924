import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { chmodSync, type Dirent, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { freePort, query, serverBinDir } from '../../scripts/throw-away-postgres.ts'
import { type Source, sourceDatabase, startSource } from '../../test/faults/source.ts'
import { type S3Server, startS3Server } from '../../test/support/s3-server.ts'
import { makeTestBucket } from '../../test/support/test-bucket.ts'
import { shippedEnvironment } from '../shipped.ts'
import { type SoakDaemon, startSoakDaemon } from './daemon.ts'
import { type ShakyStore, startShakyStore } from './shaky-store.ts'

/** Where a soak happens: a server with databases that change, two stores, and the configuration of a daemon. */
export type SoakPlace = AsyncDisposable & {
  readonly folder: string
  readonly source: Source
  readonly databases: readonly string[]
  /** The bucket, as the daemon sees it. */
  readonly store: ShakyStore
  /** Starts `pgproof serve`; one at a time. */
  start(): Promise<SoakDaemon>
  /** Any other command, to its end; by a clock that is so many hours ahead. */
  run(
    args: readonly string[],
    hoursAhead?: number,
  ): Promise<{ readonly code: number | null; readonly stdout: string; readonly stderr: string }>
  /** Writes the configuration anew, with this one thing changed that a reload takes. */
  configure(keepLast: number): void
  /** Files in the spool and the temporary folder, but for the cache of what the stores hold. */
  spoolFiles(): string[]
  /** Every object of the directory. */
  objects(): string[]
  /** Writes that neither store has finished. */
  unfinished(): Promise<string[]>
}

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))))
const fromSources = join(root, 'src', 'main.ts')
const changedTime = join(root, 'test', 'faults', 'changed-time.child.ts')
/** Of type stripping, where Node still warns of it. */
const quiet = ['--disable-warning=ExperimentalWarning']
const token = 'soak'
const tokenHash = createHash('sha256').update(token).digest('hex')

/** `main` is the command line that is tried, as built or from the sources. */
export async function openSoakPlace(databaseCount: number, main: string = fromSources): Promise<SoakPlace> {
  const folder = mkdtempSync(join(tmpdir(), 'pgproof-soak-'))
  // The embedded server of a drill runs as another user when this is run by root.
  chmodSync(folder, 0o711)
  const opened: (() => unknown)[] = [() => rmSync(folder, { recursive: true, force: true })]
  const release = async (): Promise<void> => {
    for (const one of opened.toReversed()) await one()
  }
  try {
    const source = await startSource()
    opened.push(() => source.stop())
    const databases = Array.from({ length: databaseCount }, (_, index) => `${sourceDatabase}_${index + 1}`)
    for (const name of databases) await query(source.url(), `CREATE DATABASE ${name} TEMPLATE ${sourceDatabase}`)
    const server: S3Server = await startS3Server()
    opened.push(() => server.stop())
    const bucket = await makeTestBucket({ server })
    opened.push(() => bucket.remove())
    const store = await startShakyStore(server.endpoint)
    opened.push(() => store.stop())
    const file = (name: string): string => join(folder, name)
    for (const name of ['near', 'spool', 'tmp']) mkdirSync(file(name))
    writeFileSync(file('secret'), server.secretAccessKey, { mode: 0o600 })
    const port = await freePort()
    const configuration = (keepLast: number): object => ({
      store: [
        { name: 'near', url: `file://${file('near')}` },
        {
          name: 'far',
          required: false,
          url: `s3://${bucket.name}/soak`,
          endpoint: store.endpoint,
          ...{ region: server.region, provider: server.provider, partSize: '5MiB' },
          ...{ accessKeyId: server.accessKeyId, secretAccessKeyFile: file('secret') },
        },
      ],
      encryption: {
        recipients: ['backup.pub.asc'],
        privateKeyFile: 'backup.key.asc',
        signingKeyFile: 'signing.key.asc',
        trustedSigners: ['signing.pub.asc'],
      },
      servers: [
        {
          name: 'main',
          url: source.url(),
          databases,
          schedule: { backup: '* * * * *', drill: '*/3 * * * *', roles: '*/2 * * * *' },
          retry: { attempts: 3, delay: '2s' },
          retention: { last: keepLast, verified: 1 },
          rolesRetention: { last: 3 },
        },
      ],
      drill: { spool: file('spool'), jobs: 2, keepReports: '3m' },
      prune: { largestShare: '90%' },
      postgres: { binDirs: [serverBinDir()] },
      daemon: { catalogRefresh: '20s', maxConcurrent: 2 },
      http: {
        listen: `127.0.0.1:${port}`,
        tokens: [{ name: 'soak', scope: 'backup', hash: tokenHash }],
        rateLimit: 100_000,
      },
      log: { format: 'json' },
    })
    const configure = (keepLast: number): void =>
      writeFileSync(file('pgproof.yaml'), JSON.stringify(configuration(keepLast), null, 1))
    configure(4)
    const environment = { PATH: process.env['PATH'] ?? '', HOME: folder, TMPDIR: file('tmp') }
    const launch = (args: readonly string[], variables: Record<string, string> = {}, flags: readonly string[] = []) =>
      spawn(process.execPath, [...quiet, ...flags, main, '--config', file('pgproof.yaml'), ...args], {
        cwd: folder,
        env: { ...environment, ...variables },
        stdio: ['ignore', 'pipe', 'pipe'],
      })
    const run: SoakPlace['run'] = async (args, hoursAhead) => {
      const ahead = { FAULT_CLOCK: String(hoursAhead), NODE_OPTIONS: `--import=${changedTime}` }
      const child = launch(args, hoursAhead === undefined ? {} : ahead)
      const output = { stdout: '', stderr: '' }
      for (const name of ['stdout', 'stderr'] as const)
        child[name].setEncoding('utf8').on('data', (text: string) => {
          output[name] += text
        })
      const [code] = await once(child, 'close')
      return { code: code as number | null, ...output }
    }
    const must = async (args: readonly string[]): Promise<void> => {
      const { code, stdout, stderr } = await run(args)
      if (code !== 0) throw new Error(`pgproof ${args.join(' ')}: ${stdout}${stderr}`)
    }
    await must(['keygen', '--out', folder, '--no-escrow'])
    await must(['keygen', '--out', folder, '--name', 'signing', '--signing'])
    await must(['init'])
    // A drill wants the roles that the backup needs, and the schedule may bring them minutes later.
    await must(['backup', `main/${databases[0]}`, '--roles'])
    return {
      folder,
      source,
      databases,
      store,
      run,
      configure,
      start: () => {
        // The inspector tells what of the heap is kept.
        const child = launch(['serve'], shippedEnvironment(), ['--inspect=127.0.0.1:0'])
        opened.push(() => child.kill('SIGKILL'))
        return startSoakDaemon(child, `http://127.0.0.1:${port}`, token)
      },
      spoolFiles: () =>
        [...filesIn(file('spool')), ...filesIn(file('tmp'))].filter((name) => !/\/spool\/catalog-[^/]*$/.test(name)),
      objects: () => filesIn(file('near')),
      unfinished: async () => [
        ...filesIn(file('near')).filter((name) => name.endsWith('.part')),
        ...(await bucket.unfinished()),
      ],
      [Symbol.asyncDispose]: release,
    }
  } catch (error) {
    await release()
    throw error
  }
}

function filesIn(folder: string): string[] {
  return entriesOf(folder).flatMap((entry) => {
    const path = join(folder, entry.name)
    return entry.isDirectory() ? filesIn(path) : [path]
  })
}

/** A folder may vanish while its neighbours are looked at. */
function entriesOf(folder: string): Dirent[] {
  try {
    return readdirSync(folder, { withFileTypes: true })
  } catch {
    return []
  }
}
