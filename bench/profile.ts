/**
 * What bounds a backup to S3, a drill and their memory: `node bench/profile.ts [--mb 1500] [--rounds 2]`. CPU seconds by program and what
 * the processors were idle meanwhile, and what resident memory consisted of when it was highest. Data, keys, servers and buckets as in `npm run bench`.
 * Nothing else should run.
 */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { startS3Server } from '../test/support/s3-server.ts'
import { inBucket, inFolder, storeIn, zstdGpgRclone, zstdPipeline } from './bench-backups.ts'
import { makeRivalKeys, openBenchPlace, say } from './bench-place.ts'
import { numberOption } from './options.ts'
import { missingRivals } from './rivals.ts'
import { type Memory, type Watched, watch } from './watched.ts'

const groups: Readonly<Record<string, RegExp>> = {
  'PostgreSQL and pg_dump': /^(postgres|pg_dump|pg_dumpall|pg_restore|psql|initdb|pg_ctl)$/,
  'compress, encrypt, upload': /^(node|MainThread|pgproof|zstd|gpg|rclone)$/,
  'S3 server': /^(radosgw|ceph-|minio)/,
}

const missing = missingRivals(false)
for (const rival of ['zstd', 'gpg', 'rclone'] as const)
  if (missing.has(rival)) throw new Error(`${rival} is what pgproof is held against; npm run bench -- --install`)

await using cleanups = new AsyncDisposableStack()
const rounds = numberOption('--rounds', 2)
const { folder, source, pgproof } = await openBenchPlace(numberOption('--mb', 1500), cleanups)
const s3 = await startS3Server()
cleanups.defer(() => s3.stop())
const { gpg, ageRecipient, stop } = await makeRivalKeys(folder, pgproof.publicKey, missing)
cleanups.defer(stop)
const bench = { source, s3, pgproof, missing, folder, gpg, ageRecipient }

// The drill is of a backup of its own.
const drilled = join(folder, 'store')
mkdirSync(drilled)
const store = { PGPROOF_STORE__URL: `file://${drilled}` }
await pgproof.run(['init'], 'digest', store)
await pgproof.run(['backup', 'main/mixed', '--roles'], 'digest', store)

const found: (readonly [string, Watched])[] = []
const watched = async <T>(name: string, work: () => Promise<T>): Promise<T> => {
  let outcome: T | undefined
  const seen = await watch(
    async () => {
      outcome = await work()
    },
    (command) => command.includes('dist/main.js'),
  )
  found.push([name, seen])
  say(`  ${name.replaceAll('\\|', '|')}: ${seen.seconds.toFixed(1)} s`)
  return outcome as T
}
for (let round = 1; round <= rounds; round += 1) {
  say(`round ${round}`)
  await inBucket(s3, (bucket) => watched(zstdPipeline, () => zstdGpgRclone(bench, bucket)))
  for (const evidence of ['off', 'digest'] as const) {
    const backup = (to: Readonly<Record<string, string>>) => () => pgproof.run(['backup', 'main/mixed'], evidence, to)
    await inBucket(s3, (bucket) => watched(`to S3, evidence ${evidence}`, backup(storeIn(s3, bucket))))
    await inFolder(bench, (to) => watched(`to a directory, evidence ${evidence}`, backup(to)))
  }
  await watched('drill', () => pgproof.run(['drill', 'main/mixed', '--pick', 'latest'], 'digest', store))
}

const names = Object.keys(groups)
say(`\n| CPU seconds | seconds | at work | idle | ${names.join(' | ')} | by program |`)
say(`| --- | --- | --- | --- | ${names.map(() => '---').join(' | ')} | --- |`)
for (const [name, seen] of found) say(`| ${[name, ...cpuCells(seen)].join(' | ')} |`)
say(
  '\n| MB at the highest | resident | program and libraries | V8’s heaps (small mappings) | heap of glibc | larger mappings |',
)
say('| --- | --- | --- | --- | --- | --- |')
for (const [name, { memory }] of found)
  if (memory !== undefined) say(`| ${[name, ...memoryCells(memory)].join(' | ')} |`)

function cpuCells({ seconds, busy, idle, byProgram }: Watched): string[] {
  const of = (pattern: RegExp): number =>
    [...byProgram].filter(([program]) => pattern.test(program)).reduce((sum, [, one]) => sum + one, 0)
  const most = [...byProgram].filter(([, one]) => one >= 0.1).toSorted(([, one], [, other]) => other - one)
  return [
    ...[seconds, busy, idle, ...Object.values(groups).map(of)].map((one) => one.toFixed(1)),
    most.map(([program, one]) => `${program} ${one.toFixed(1)}`).join(', '),
  ]
}

function memoryCells({ resident, files, small, glibc, larger }: Memory): string[] {
  return [resident, files, small, glibc, larger].map((one) => one.toFixed(0))
}
