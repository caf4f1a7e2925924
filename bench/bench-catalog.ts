/**
 * The figures of docs/performance.md about a store with 10,000 backups: `node bench/bench-catalog.ts [--backups 10000]
 * [--keep FOLDER]`. Fills a directory, and a bucket where PGPROOF_TEST_S3_ENDPOINT and its like name a server; reads both
 * without and with the cache, each in a process of its own; runs the commands; prints one table, and removes everything.
 */
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { DeleteObjectsCommand } from '@aws-sdk/client-s3'
import { createMessage, generateKey, readPrivateKey, sign } from 'openpgp'
import { mapInParallel } from '../src/catalog/map-in-parallel.ts'
import { systemClock } from '../src/clock.ts'
import { silentLog } from '../src/log.ts'
import { openStore } from '../src/storage/open-store.ts'
import type { StoreSettings } from '../src/storage/store-settings.ts'
import { type ManyObject, manyDatabases, manyObjects, manyServers } from '../test/catalog/many-backups.ts'
import { s3ServerOfEnvironment, s3Variables, testClient } from '../test/support/s3-server.ts'
import { makeTestBucket } from '../test/support/test-bucket.ts'
import { buildPgproof, shippedEnvironment } from './shipped.ts'

const signal = new AbortController().signal
const root = dirname(dirname(fileURLToPath(import.meta.url)))
const main = buildPgproof()
const backups = Number(process.argv[process.argv.indexOf('--backups') + 1] ?? 10_000) || 10_000
const folder = mkdtempSync(join(tmpdir(), 'pgproof-bench-catalog-'))
const storeId = '5b1c3c1e-6d0c-4a53-9a3b-0c8f3f3c1a11'
const rows: string[][] = []
const warmStarts = 5

try {
  await bench()
} finally {
  rmSync(folder, { recursive: true, force: true })
}

async function bench(): Promise<void> {
  const objects: ManyObject[] = []
  for await (const object of storeObjects(backups)) objects.push(object)
  say(`${objects.length} objects of ${backups} backups`)
  const small = join(folder, 'small')
  for await (const object of storeObjects(20)) writeObject(small, object)
  const directory = join(folder, 'store')
  for (const object of objects) writeObject(directory, object)

  measureIndex('directory', { url: `file://${directory}`, provider: 'generic' })
  for (const command of [['list'], ['list', '--json'], ['status'], ['prune', '--dry-run']])
    add(['directory', `pgproof ${command.join(' ')}`, seconds(runCommand(directory, command)), '', '', ''])
  add(['directory, 20 backups', 'pgproof list', seconds(runCommand(small, ['list'])), '', '', ''])
  if (process.env[s3Variables.endpoint] !== undefined) await benchBucket(objects)
  say(table([['store', 'what', 'seconds', 'listings, reads', 'CPU seconds', 'resident MiB'], ...rows]))
}

async function benchBucket(objects: readonly ManyObject[]): Promise<void> {
  const bucket = await makeTestBucket()
  const settings = bucket.settings()
  const store = await openStore(settings, { clock: systemClock, log: silentLog })
  const client = testClient(s3ServerOfEnvironment())
  try {
    const start = performance.now()
    await mapInParallel(objects, 48, signal, ({ key, body }) => store.put(key, body, { signal }))
    add(['bucket', `put ${objects.length} objects, 48 at a time`, seconds(performance.now() - start), '', '', ''])
    measureIndex('bucket', settings)
    const replay = await startReplay(settings.endpoint ?? '')
    measureIndex('bucket, its answers replayed', { ...settings, endpoint: replay.endpoint })
    replay.stop()
  } finally {
    for (let index = 0; index < objects.length; index += 1000) {
      const Objects = objects.slice(index, index + 1000).map(({ key }) => ({ Key: `some/prefix/${key}` }))
      await client.send(new DeleteObjectsCommand({ Bucket: bucket.name, Delete: { Objects, Quiet: true } }))
    }
    client.destroy()
    await store.close()
    await bucket.remove()
  }
}

/** A server of which the answers take next to no time: those of another one, from memory. */
async function startReplay(origin: string): Promise<{ readonly endpoint: string; stop(): void }> {
  const child = spawn(process.execPath, [join(root, 'bench', 'replay-server.child.ts'), origin], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const [port] = await once(child.stdout, 'data')
  return { endpoint: `http://127.0.0.1:${String(port).trim()}`, stop: () => child.stdin.end() }
}

async function* storeObjects(count: number): AsyncGenerator<ManyObject> {
  const privateKeyFile = join(folder, 'signing.key.asc')
  if (count === backups) {
    const made = await generateKey({ type: 'curve25519', userIDs: [{ name: 'signing' }] })
    writeFileSync(privateKeyFile, made.privateKey)
    writeFileSync(join(folder, 'signing.pub.asc'), made.publicKey)
  }
  const key = await readPrivateKey({ armoredKey: readFileSync(privateKeyFile, 'utf8') })
  const by = async (bytes: Uint8Array): Promise<Uint8Array> =>
    Buffer.from(await sign({ message: await createMessage({ binary: bytes }), signingKeys: key, detached: true }))
  const marker = { format: 1, storeId, createdAt: '2020-01-01T00:00:00.000Z' }
  yield { key: 'pgproof.json', body: Buffer.from(`${JSON.stringify(marker, null, 2)}\n`) }
  yield* manyObjects({
    backups: count,
    drills: count / 5,
    prunes: Math.ceil(count * 0.03),
    until: new Date(Math.floor(Date.now() / 3_600_000) * 3_600_000),
    storeId,
    sign: { fingerprint: key.getFingerprint().toUpperCase(), by },
  })
}

function writeObject(directory: string, { key, body }: ManyObject): void {
  const path = join(directory, key)
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, body)
}

/**
 * Without a cache, with one, and once more in the same process; each start is a process. Of several warm starts, which are
 * short, the one in the middle.
 */
function measureIndex(name: string, { secretAccessKey, ...settings }: StoreSettings): void {
  const start = (): Start => startOf(indexIn({ ...settings, secret: secretAccessKey?.() }))
  const warm: Start[] = []
  const first = start()
  while (warm.length < warmStarts) warm.push(start())
  const middle = warm.toSorted((one, other) => one.seconds - other.seconds)[Math.floor(warmStarts / 2)] ?? first
  for (const [what, { measured, seconds: all }] of [['first start', first] as const, ['warm start', middle] as const]) {
    for (const row of measured) add([name, `${what}: ${row[0]}`, ...row.slice(1)])
    add([name, `${what}, from the marker to the history`, all.toFixed(2), '', '', ''])
  }
  const all = warm.map((one) => one.seconds.toFixed(2)).join(', ')
  say(`${name}: warm starts of ${all} s`)
}

type Start = { readonly measured: readonly string[][]; readonly seconds: number }

/** What a daemon waits for before its first answer; it writes the cache and lists again at its leisure. */
function startOf(measured: readonly string[][]): Start {
  const awaited = measured.filter(([what = '']) => !/write the cache|once more|retention/.test(what))
  return { measured, seconds: awaited.reduce((sum, [, seconds]) => sum + Number(seconds), 0) }
}

function indexIn(settings: object): readonly string[][] {
  const job = JSON.stringify({
    settings,
    storeId,
    cache: join(folder, 'spool'),
    signers: [join(folder, 'signing.pub.asc')],
  })
  const output = execFileSync(process.execPath, [join(root, 'bench', 'bench-catalog-start.ts')], {
    // Not on the command line: it holds a secret.
    env: { ...process.env, PGPROOF_BENCH: job },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  return JSON.parse(output.toString('utf8')) as string[][]
}

function runCommand(store: string, command: readonly string[]): number {
  const config = join(folder, 'pgproof.yaml')
  writeFileSync(config, configText(store))
  const env = { ...process.env, ...shippedEnvironment }
  const times = Array.from({ length: 3 }, () => {
    const start = performance.now()
    const args = [main, '--config', config, ...command]
    // A status of objectives that are missed ends with another exit code.
    try {
      execFileSync(process.execPath, args, { env, stdio: ['ignore', 'ignore', 'pipe'], maxBuffer: 1 << 28 })
    } catch (error) {
      if ((error as { status?: number | null }).status == null) throw error
    }
    return performance.now() - start
  })
  return Math.min(...times)
}

function configText(store: string): string {
  const servers = manyServers.map(
    (name) => `  - name: ${name}
    url: postgres://backup@127.0.0.1:1/postgres
    databases: [${manyDatabases.join(', ')}]
    retention: { last: 7, daily: 30, weekly: 8, monthly: 12, verified: 2 }
`,
  )
  return `timezone: UTC
store: { url: "file://${store}" }
encryption:
  recipients: [signing.pub.asc]
  trustedSigners: [signing.pub.asc]
servers:
${servers.join('')}drill: { spool: "${join(folder, 'spool')}" }
log: { level: error }
`
}

/** Said at once as well, because the whole takes minutes. */
function add(row: string[]): void {
  rows.push(row)
  say(row.join('  '))
}

function seconds(milliseconds: number): string {
  return (milliseconds / 1000).toFixed(2)
}

function table([head = [], ...body]: readonly (readonly string[])[]): string {
  return [head, head.map(() => '---'), ...body].map((row) => `| ${row.join(' | ')} |`).join('\n')
}

function say(text: string): void {
  process.stdout.write(`${text}\n`)
}
