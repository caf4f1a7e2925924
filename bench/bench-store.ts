/**
 * How fast a file goes to an S3 server and back, by pgproof, curl and rclone to the same server in one run:
 * `node bench/bench-store.ts [--mb 1000] [--rounds 3]`. The rounds are interleaved, the table has medians; compare its
 * ratios, not its seconds. Takes the server that PGPROOF_TEST_S3_ENDPOINT and its like name, else starts one as the tests do
 * (set OSD_GIB where Ceph is to hold more than 6 GiB). curl and rclone must be installed. Every transfer is a process of
 * its own, from a file or to a file, and start-up counts.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { createHash, createHmac, randomBytes, randomFillSync } from 'node:crypto'
import { once } from 'node:events'
import { closeSync, createReadStream, createWriteStream, openSync, readFileSync, statSync } from 'node:fs'
import { mkdtemp, open, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { storeEncrypted } from '../src/backup/store-encrypted.ts'
import { systemClock } from '../src/clock.ts'
import { decryptStage } from '../src/encryption/decrypt.ts'
import { generateKeyPair } from '../src/encryption/generate.ts'
import { readPrivateKeys, readRecipients } from '../src/encryption/keys.ts'
import { silentLog } from '../src/log.ts'
import { S3Store } from '../src/storage/s3.ts'
import { createMeasure } from '../src/streams/measure.ts'
import { zstdDecompress } from '../src/streams/zstd.ts'
import {
  createBucket,
  putIntoEnvironment,
  removeBucket,
  type S3Server,
  s3ServerOfEnvironment,
  startS3Server,
} from '../test/support/s3-server.ts'
import { rcloneEnvironment } from './rivals.ts'

type Work = 'write' | 'read' | 'backup' | 'fetch' | 'encrypt'
type Outcome = { readonly seconds: number; readonly peakMegabytes?: number }

const { signal } = new AbortController()
let running: ChildProcess | undefined
const ownWork = process.argv[2] === '--work' ? (process.argv[3] as Work) : undefined
if (ownWork === undefined) await compare(numberOption('--mb', 1000), numberOption('--rounds', 3))
else await doWork(ownWork, process.argv[4] as string, process.argv[5] as string)

async function compare(megabytes: number, rounds: number): Promise<void> {
  // A signal ends the transfer that runs, and what was started goes with it.
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => running?.kill())
  const server = await startS3Server()
  putIntoEnvironment(server)
  const bucket = `pgproof-bench-${randomBytes(4).toString('hex')}`
  await createBucket(server, bucket)
  const folder = await mkdtemp(join(tmpdir(), 'pgproof-bench-'))
  try {
    const plain = join(folder, 'plain')
    const back = join(folder, 'back')
    await fillFile(plain, megabytes)
    const pair = await generateKeyPair({ name: 'bench', kind: 'ecc', use: 'backup', now: new Date() })
    await writeFile(join(folder, 'public.asc'), pair.publicKey)
    await writeFile(join(folder, 'private.asc'), pair.privateKey)

    const curl = (method: 'GET' | 'PUT', args: readonly string[]) =>
      timed('curl', ['-sS', '--fail', ...args, presigned(server, method, `/${bucket}/plain`)])
    const rcloneEnv = rcloneEnvironment(server)
    const rclone = (args: readonly string[], inputFile?: string) =>
      timed('rclone', args, { env: rcloneEnv, ...(inputFile === undefined ? {} : { inputFile }) })
    const pgproof = (work: Work, from: string) =>
      timed(process.execPath, [import.meta.filename, '--work', work, `s3://${bucket}`, from], {
        env: process.env,
        isOwn: true,
      })

    const uploads: Record<string, () => Promise<Outcome>> = {
      'curl -T (one PUT)': () => curl('PUT', ['-H', 'Expect:', '-T', plain]),
      'rclone copyto': () => rclone(['copyto', plain, `:s3:${bucket}/plain`]),
      'rclone rcat (a stream)': () => rclone(['rcat', `:s3:${bucket}/plain`], plain),
      'pgproof, upload alone': () => pgproof('write', plain),
      'pgproof, zstd and OpenPGP alone': () => pgproof('encrypt', plain),
      'pgproof, whole path of a backup': () => pgproof('backup', plain),
    }
    const downloads: Record<string, () => Promise<Outcome>> = {
      curl: () => curl('GET', ['-o', back]),
      'rclone copyto': () => rclone(['copyto', `:s3:${bucket}/plain`, back]),
      'pgproof, download alone': () => pgproof('read', back),
      'pgproof, whole path to the plain dump': () => pgproof('fetch', back),
    }
    const results = new Map<string, Outcome[]>()
    const store = new S3Store(settingsOf(`s3://${bucket}`), { clock: systemClock, log: silentLog })
    for (let round = 1; round <= rounds; round += 1) {
      const measure = async (way: string, name: string, transfer: () => Promise<Outcome>): Promise<void> => {
        const outcome = await transfer()
        const key = `${way}: ${name}`
        results.set(key, [...(results.get(key) ?? []), outcome])
        process.stdout.write(`  round ${round}, ${key}: ${outcome.seconds.toFixed(1)} s\n`)
      }
      for (const [name, transfer] of Object.entries(uploads)) {
        // What an object leaves is freed a little later; a server with little room must not be asked for twice as much.
        await store.delete('plain', { signal })
        await measure('up', name, transfer)
      }
      await pgproof('write', plain)
      for (const [name, transfer] of Object.entries(downloads)) {
        await rm(back, { force: true })
        await measure('down', name, transfer)
        if (statSync(back).size !== statSync(plain).size)
          throw new Error(`${name}: the file that came back is not whole`)
      }
      for (const key of ['plain', 'backup/dump']) await store.delete(key, { signal })
    }
    await store.close()
    printTable(results, megabytes, rounds)
  } finally {
    await rm(folder, { recursive: true, force: true })
    await removeBucket(server, bucket)
    await server.stop()
  }
}

function printTable(results: ReadonlyMap<string, readonly Outcome[]>, megabytes: number, rounds: number): void {
  process.stdout.write(
    `\n${megabytes} MB that nothing compresses, medians of ${rounds} round(s)\n\n` +
      '| what | seconds | MB/s | time over curl | time over rclone | peak MB |\n| --- | --- | --- | --- | --- | --- |\n',
  )
  const seconds = (key: string) => medianOf(results.get(key)?.map((outcome) => outcome.seconds) ?? [])
  for (const [key, outcomes] of results) {
    const curl = seconds(key.startsWith('up') ? 'up: curl -T (one PUT)' : 'down: curl')
    const rclone = seconds(key.startsWith('up') ? 'up: rclone copyto' : 'down: rclone copyto')
    const peak = Math.max(...outcomes.map(({ peakMegabytes = 0 }) => peakMegabytes))
    const own = seconds(key)
    const ratios = `${(own / curl).toFixed(2)} | ${(own / rclone).toFixed(2)}`
    process.stdout.write(
      `| ${key} | ${own.toFixed(2)} | ${Math.round(megabytes / own)} | ${ratios} | ${peak === 0 ? '' : peak} |\n`,
    )
  }
}

/** Wall time of a whole process; throws with what it said when it fails. */
async function timed(
  path: string,
  args: readonly string[],
  from: {
    readonly inputFile?: string
    readonly env?: NodeJS.ProcessEnv
    readonly isOwn?: boolean
  } = {},
): Promise<Outcome> {
  const started = performance.now()
  const input = from.inputFile === undefined ? undefined : openSync(from.inputFile, 'r')
  const child: ChildProcess = spawn(path, [...args], {
    stdio: [input ?? 'pipe', 'pipe', 'pipe'],
    env: { PATH: process.env['PATH'], HOME: process.env['HOME'], ...from.env },
  })
  running = child
  if (input !== undefined) closeSync(input)
  let said = ''
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', (chunk: Buffer) => (said += String(chunk)))
  child.stdin?.end()
  const [code] = (await once(child, 'close')) as [number]
  const seconds = (performance.now() - started) / 1000
  if (code !== 0) throw new Error(`${path} exited with ${code}: ${said}`)
  return from.isOwn === true ? { seconds, peakMegabytes: Number(said.trim()) } : { seconds }
}

/** One transfer of pgproof's, in a process of its own; prints its peak of memory in MB. */
async function doWork(work: Work, url: string, file: string): Promise<void> {
  const store = new S3Store(settingsOf(url), { clock: systemClock, log: silentLog })
  const folder = join(file, '..')
  const now = systemClock.now()
  const from = () => createReadStream(file, { highWaterMark: 64 << 10 })
  if (work === 'write') await store.write('plain', from(), { signal, expectedBytes: statSync(file).size })
  else if (work === 'read') await pipeline(await store.read('plain', { signal }), createWriteStream(file))
  else if (work === 'fetch') {
    const keys = await readPrivateKeys([join(folder, 'private.asc')], undefined, now)
    const [stored, plain] = [createMeasure(), createMeasure()]
    await pipeline(
      await store.read('backup/dump', { signal }),
      stored.stage,
      decryptStage(keys, 'dump'),
      zstdDecompress(),
      plain.stage,
      createWriteStream(file),
    )
  } else {
    const nowhere = {
      write: async (_key: string, source: AsyncIterable<Uint8Array>) => {
        let bytes = 0
        for await (const chunk of source) bytes += chunk.length
        return { bytes }
      },
    }
    const target = {
      folder: 'backup/',
      name: 'dump',
      recipients: await readRecipients([join(folder, 'public.asc')], now),
      zstdLevel: 1,
      expectedBytes: statSync(file).size,
    }
    const parts = {
      store: work === 'backup' ? store : Object.assign(Object.create(store) as S3Store, nowhere),
      clock: systemClock,
    }
    await storeEncrypted(from, target, parts, signal)
  }
  await store.close()
  const peak = /VmHWM:\s+(\d+) kB/.exec(process.platform === 'linux' ? readFileSync('/proc/self/status', 'utf8') : '')
  const kibibytes = peak === null ? process.resourceUsage().maxRSS : Number(peak[1])
  process.stdout.write(`${Math.round((kibibytes * 1024) / 1e6)}\n`)
}

function settingsOf(url: string) {
  const { endpoint, region, provider, accessKeyId, secretAccessKey } = s3ServerOfEnvironment()
  return { url, endpoint, region, provider, accessKeyId, secretAccessKey: () => secretAccessKey }
}

/** An address that works for an hour, because not every curl signs as S3 wants it. */
function presigned(server: Omit<S3Server, 'stop'>, method: 'GET' | 'PUT', path: string): string {
  const { host } = new URL(server.endpoint)
  const time = new Date().toISOString().replaceAll(/[-:]|\.\d+/g, '')
  const scope = `${time.slice(0, 8)}/${server.region}/s3/aws4_request`
  const query = new URLSearchParams({
    'X-Amz-Algorithm': 'AWS4-HMAC-SHA256',
    'X-Amz-Credential': `${server.accessKeyId}/${scope}`,
    'X-Amz-Date': time,
    'X-Amz-Expires': '3600',
    'X-Amz-SignedHeaders': 'host',
  })
  const request = [method, path, query, `host:${host}`, '', 'host', 'UNSIGNED-PAYLOAD'].join('\n')
  const text = ['AWS4-HMAC-SHA256', time, scope, createHash('sha256').update(request).digest('hex')].join('\n')
  const hmac = (key: string | Buffer, data: string) => createHmac('sha256', key).update(data).digest()
  const key = scope.split('/').reduce<string | Buffer>(hmac, `AWS4${server.secretAccessKey}`)
  return `${server.endpoint}${path}?${query}&X-Amz-Signature=${hmac(key, text).toString('hex')}`
}

async function fillFile(path: string, megabytes: number): Promise<void> {
  const file = await open(path, 'w')
  const block = Buffer.alloc(1_000_000)
  for (let written = 0; written < megabytes; written += 1) await file.write(randomFillSync(block))
  await file.close()
}

function medianOf(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0
}

function numberOption(name: string, otherwise: number): number {
  const at = process.argv.indexOf(name)
  return at < 0 ? otherwise : Number(process.argv[at + 1])
}
