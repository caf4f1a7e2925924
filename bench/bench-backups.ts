import { randomBytes } from 'node:crypto'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type ThrowAwayServer, unprivileged } from '../scripts/throw-away-postgres.ts'
import { createBucket, removeBucket, type S3Server } from '../test/support/s3-server.ts'
import type { Pgproof, PgproofStore } from './pgproof-command.ts'
import type { Outcome, Results, Row } from './results.ts'
import { type Rival, rcloneEnvironment, whyAbsent } from './rivals.ts'
import { quoted, timed, timedShell } from './timed.ts'

/** What a backup is held against, once in each round. */
export const bareDump = 'pg_dump -Fc > /dev/null'
export const zstdPipeline = 'pg_dump -Fc -Z0 \\| zstd -1 \\| gpg -e \\| rclone rcat'

export type BackupBench = {
  readonly source: ThrowAwayServer
  /** Null where there is none: everything then goes to a directory, or is absent. */
  readonly s3: Omit<S3Server, 'stop'> | null
  readonly pgproof: Pgproof
  readonly missing: ReadonlySet<Rival>
  readonly folder: string
  /** The key of pgproof, in gpg's and in age's own form. */
  readonly gpg: string
  readonly ageRecipient: string
}

export async function benchBackups(results: Results, bench: BackupBench): Promise<void> {
  const { pgproof, missing, s3 } = bench
  const measure = async (row: Row, needed: readonly Rival[], work: () => Promise<Outcome>): Promise<void> => {
    const absent = whyAbsent(missing, needed)
    if (absent === undefined) await results.measure(row, work)
    else results.absent(row, absent)
  }
  await measure({ name: bareDump }, [], () => timedShell(`${dump(bench, '-Fc')} > /dev/null`))
  for (const [evidence, goal] of [
    ['off', '≤ 0.40'],
    ['digest', '≤ 0.55'],
  ] as const)
    await measure({ name: `pgproof backup to a directory, evidence ${evidence}`, over: bareDump, goal }, [], () =>
      inFolder(bench, (store) => pgproof.run(['backup', 'main/mixed'], evidence, store)),
    )
  await measure({ name: 'pgBackRest, full, of the cluster, to a directory', over: bareDump }, ['pgbackrest'], () =>
    backRest(bench),
  )
  const rows: readonly [Row, readonly Rival[], (bucket: string) => Promise<Outcome>][] = [
    [{ name: zstdPipeline, over: bareDump }, ['zstd', 'gpg', 'rclone'], (bucket) => zstdGpgRclone(bench, bucket)],
    [
      { name: 'pgproof backup to S3, evidence off', over: zstdPipeline, goal: '≤ 1' },
      [],
      (bucket) => pgproof.run(['backup', 'main/mixed'], 'off', storeIn(s3, bucket)),
    ],
    [
      { name: 'pgproof backup to S3, evidence digest', over: zstdPipeline },
      [],
      (bucket) => pgproof.run(['backup', 'main/mixed'], 'digest', storeIn(s3, bucket)),
    ],
    [
      { name: 'pg_dump -Fc \\| gpg -e \\| rclone rcat', over: zstdPipeline },
      ['gpg', 'rclone'],
      (bucket) => piped(bench, `${dump(bench, '-Fc')} | ${bench.gpg}`, bucket),
    ],
    [
      { name: 'pg_dump -Fc -Z0 \\| zstd -1 \\| age \\| rclone rcat', over: zstdPipeline },
      ['zstd', 'age', 'rclone'],
      (bucket) => piped(bench, `${dump(bench, '-Fc -Z0')} | zstd -1 -q | age -r ${bench.ageRecipient}`, bucket),
    ],
    [
      { name: 'pg_dump -Fc -Z0 \\| restic backup --stdin', over: zstdPipeline },
      ['restic'],
      (bucket) => restic(bench, bucket),
    ],
  ]
  for (const [row, needed, work] of rows)
    if (s3 === null) results.absent(row, 'no S3 server')
    else await measure(row, needed, () => inBucket(s3, work))
}

/** What an object leaves is freed a little later; a bucket of its own each time keeps a small server from running full. */
export async function inBucket(
  s3: Omit<S3Server, 'stop'>,
  work: (bucket: string) => Promise<Outcome>,
): Promise<Outcome> {
  const bucket = `pgproof-bench-${randomBytes(5).toString('hex')}`
  await createBucket(s3, bucket)
  try {
    return await work(bucket)
  } finally {
    await removeBucket(s3, bucket)
  }
}

export async function inFolder(
  { folder, pgproof }: Pick<BackupBench, 'folder' | 'pgproof'>,
  work: (store: PgproofStore) => Promise<Outcome>,
): Promise<Outcome> {
  const path = join(folder, `store-${randomBytes(5).toString('hex')}`)
  mkdirSync(path)
  const store = { PGPROOF_STORE__URL: `file://${path}` }
  try {
    await pgproof.run(['init'], 'off', store)
    return await work(store)
  } finally {
    rmSync(path, { recursive: true, force: true })
  }
}

export function storeIn(s3: Omit<S3Server, 'stop'> | null, bucket: string): PgproofStore {
  if (s3 === null) throw new Error('no S3 server')
  return {
    PGPROOF_STORE__URL: `s3://${bucket}`,
    PGPROOF_STORE__ENDPOINT: s3.endpoint,
    PGPROOF_STORE__REGION: s3.region,
    PGPROOF_STORE__PROVIDER: s3.provider,
    PGPROOF_STORE__ACCESS_KEY_ID: s3.accessKeyId,
    PGPROOF_STORE__SECRET_ACCESS_KEY: s3.secretAccessKey,
  }
}

function dump({ source }: BackupBench, format: string): string {
  return `${quoted(join(source.binDir, 'pg_dump'))} ${format} -d ${quoted(source.url('mixed'))}`
}

export async function zstdGpgRclone(bench: BackupBench, bucket: string): Promise<Outcome> {
  return await piped(bench, `${dump(bench, '-Fc -Z0')} | zstd -1 -q | ${bench.gpg}`, bucket)
}

async function piped({ s3 }: BackupBench, script: string, bucket: string): Promise<Outcome> {
  if (s3 === null) throw new Error('no S3 server')
  return await timedShell(`${script} | rclone rcat :s3:${bucket}/dump`, { env: rcloneEnvironment(s3) })
}

/** A repository of its own each time: what it already holds is not sent again. */
async function restic(bench: BackupBench, bucket: string): Promise<Outcome> {
  const { s3, folder } = bench
  if (s3 === null) throw new Error('no S3 server')
  const env = {
    RESTIC_REPOSITORY: `s3:${s3.endpoint}/${bucket}`,
    RESTIC_PASSWORD: 'bench',
    RESTIC_CACHE_DIR: join(folder, 'restic-cache'),
    AWS_ACCESS_KEY_ID: s3.accessKeyId,
    AWS_SECRET_ACCESS_KEY: s3.secretAccessKey,
    AWS_DEFAULT_REGION: s3.region,
  }
  await timed('restic', ['init', '--quiet'], { env })
  return await timedShell(`${dump(bench, '-Fc -Z0')} | restic backup --quiet --stdin --stdin-filename dump`, { env })
}

/**
 * As the user of the cluster, with encryption, zstd level 1 and two processes; no archive of the log is waited for. It takes
 * S3 by TLS only, so it goes to a directory.
 */
async function backRest({ source, folder }: BackupBench): Promise<Outcome> {
  const path = join(source.folder, 'pgbackrest')
  const user = unprivileged()
  const config = join(folder, 'pgbackrest.conf')
  const lines = [
    '[global]',
    `repo1-path=${path}/repo`,
    'repo1-cipher-type=aes-256-cbc',
    'repo1-cipher-pass=bench',
    'compress-type=zst',
    'compress-level=1',
    'process-max=2',
    'start-fast=y',
    'archive-check=n',
    'log-level-file=off',
    `lock-path=${path}/lock`,
    `spool-path=${path}/spool`,
    '[bench]',
    `pg1-path=${join(source.folder, 'data')}`,
    `pg1-port=${source.port}`,
    `pg1-socket-path=${source.folder}`,
    'pg1-user=postgres',
  ]
  writeFileSync(config, `${lines.join('\n')}\n`)
  const options = ['--config', config, '--stanza=bench']
  try {
    await timed('pgbackrest', [...options, 'stanza-create'], { user })
    return await timed('pgbackrest', [...options, '--type=full', 'backup'], { user })
  } finally {
    rmSync(path, { recursive: true, force: true })
  }
}
