/**
 * Ratios that docs/performance.md speaks of, measured in one run: `npm run bench -- [--mb 1500] [--rounds 3]`. Everything is
 * made for it in a temporary folder (server, store, keys) and removed. Compare ratios, not seconds: machines differ.
 */
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { query, startPostgres } from '../scripts/throw-away-postgres.ts'
import { mixedSql } from './mixed-data.ts'

const main = join(dirname(dirname(fileURLToPath(import.meta.url))), 'src', 'main.ts')
const megabytes = numberOption('--mb', 1500)
const rounds = numberOption('--rounds', 3)
const folder = mkdtempSync(join(tmpdir(), 'pgproof-bench-'))
chmodSync(folder, 0o711)

type Measured = { readonly seconds: number; readonly peakMegabytes: number }

const source = await startPostgres('shared_buffers=512MB\nmax_wal_size=8GB\ncheckpoint_timeout=1d')
const scratch = await startPostgres(
  'shared_buffers=1GB\nmaintenance_work_mem=512MB\nmax_wal_size=4GB\nwal_level=minimal\nmax_wal_senders=0\nautovacuum=off\nsynchronous_commit=off',
)
try {
  process.stdout.write(`filling a mixed database of about ${megabytes} MB …\n`)
  await query(source.url(), 'CREATE DATABASE mixed')
  await query(source.url('mixed'), mixedSql(megabytes))
  const [size] = await query(source.url('mixed'), "SELECT pg_database_size('mixed') / 1000000 AS mb")
  mkdirSync(join(folder, 'store'))
  await pgproof(['keygen', '--out', folder, '--no-escrow'], '')
  await pgproof(['init'], 'off')
  const dumpFile = join(folder, 'plain.dump')
  execFileSync(join(source.binDir, 'pg_dump'), ['-Fc', '-Z0', '-f', dumpFile, '-d', source.url('mixed')])
  await pgproof(['backup', '--roles'], 'digest')

  const results = new Map<string, Measured[]>()
  const measure = async (name: string, work: () => Promise<Measured>): Promise<void> => {
    const measured = await work()
    results.set(name, [...(results.get(name) ?? []), measured])
    process.stdout.write(`  ${name}: ${measured.seconds.toFixed(1)} s\n`)
  }
  for (let round = 1; round <= rounds; round += 1) {
    process.stdout.write(`round ${round}\n`)
    await measure('pg_dump -Fc > /dev/null', () =>
      run(join(source.binDir, 'pg_dump'), ['-Fc', '-d', source.url('mixed')]),
    )
    await measure('pgproof backup, evidence off', () => pgproof(['backup', 'main/mixed'], 'off'))
    await measure('pgproof backup, full digests', () => pgproof(['backup', 'main/mixed'], 'digest'))
    await measure('createdb + pg_restore -j 2', async () => {
      const started = performance.now()
      await query(scratch.url(), 'DROP DATABASE IF EXISTS restored WITH (FORCE)')
      await query(scratch.url(), 'CREATE DATABASE restored')
      await run(join(scratch.binDir, 'pg_restore'), ['-j', '2', '-d', scratch.url('restored'), dumpFile])
      await query(scratch.url('restored'), 'ANALYZE')
      return { seconds: (performance.now() - started) / 1000, peakMegabytes: 0 }
    })
    await measure('pgproof drill, restore time', async () => {
      const output = join(folder, 'drill.json')
      const { peakMegabytes } = await pgproof(['drill', 'main/mixed', '--pick', 'latest', '--json'], 'digest', output)
      const { drill } = JSON.parse(readFileSync(output, 'utf8')) as {
        drill: { verdict: string; restoreTimeSeconds: number }
      }
      if (drill.verdict !== 'passed') throw new Error(`the drill ended ${drill.verdict}`)
      return { seconds: drill.restoreTimeSeconds, peakMegabytes }
    })
    for (const [name, flags] of [
      ['pgproof restore -j 2', []],
      ['pgproof restore -j 2 --verify', ['--verify']],
    ] as const)
      await measure(name, async () => {
        await query(scratch.url(), 'DROP DATABASE IF EXISTS wanted WITH (FORCE)')
        const to = ['--to', scratch.url('wanted'), '--create', '--roles', '-j', '2']
        return await pgproof(['restore', 'latest', 'main/mixed', ...to, ...flags], 'digest')
      })
  }

  process.stdout.write(
    `\n${size?.['mb']} MB, medians of ${rounds}\n\n| what | seconds | ratio | peak MB |\n| --- | --- | --- | --- |\n`,
  )
  const dump = medianOf(results, 'pg_dump -Fc > /dev/null')
  const restore = medianOf(results, 'createdb + pg_restore -j 2')
  for (const [name, measured] of results) {
    const { seconds } = medianOf(results, name)
    const base = /restore/.test(name) ? restore : dump
    const peak = Math.max(...measured.map(({ peakMegabytes }) => peakMegabytes))
    process.stdout.write(
      `| ${name} | ${seconds.toFixed(1)} | ${(seconds / base.seconds).toFixed(2)} | ${name.startsWith('pgproof') ? peak : ''} |\n`,
    )
  }
} finally {
  await source.stop()
  await scratch.stop()
  rmSync(folder, { recursive: true, force: true })
}

/** The command line with one level of evidence; its log and output go nowhere unless `output` names a file. */
async function pgproof(args: readonly string[], evidence: string, output?: string): Promise<Measured> {
  const env: NodeJS.ProcessEnv = {
    PATH: process.env['PATH'],
    ...(evidence === ''
      ? {}
      : {
          PGPROOF_STORE__URL: `file://${join(folder, 'store')}`,
          PGPROOF_ENCRYPTION__RECIPIENTS: join(folder, 'backup.pub.asc'),
          PGPROOF_ENCRYPTION__PRIVATE_KEY_FILE: join(folder, 'backup.key.asc'),
          PGPROOF_SERVERS__0__NAME: 'main',
          PGPROOF_SERVERS__0__URL: source.url(),
          PGPROOF_SERVERS__0__EVIDENCE: evidence,
          PGPROOF_SERVERS__0__RETENTION__LAST: '1',
          PGPROOF_DRILL__SPOOL: join(folder, 'spool'),
        }),
  }
  return await run(process.execPath, ['--disable-warning=ExperimentalWarning', main, ...args], env, output)
}

/** Wall time and the peak of the process's own resident memory (VmHWM, proc(5)). */
async function run(path: string, args: readonly string[], env?: NodeJS.ProcessEnv, output?: string): Promise<Measured> {
  const started = performance.now()
  const child = spawn(path, [...args], { stdio: ['ignore', 'pipe', 'pipe'], ...(env === undefined ? {} : { env }) })
  const chunks: Buffer[] = []
  let errors = ''
  child.stdout.on('data', (chunk: Buffer) => {
    if (output !== undefined) chunks.push(chunk)
  })
  child.stderr.on('data', (chunk: Buffer) => {
    errors += chunk.toString()
  })
  let peakKilobytes = 0
  const timer = setInterval(() => {
    try {
      const status = readFileSync(`/proc/${child.pid}/status`, 'utf8')
      peakKilobytes = Math.max(peakKilobytes, Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0))
    } catch {
      // It has just ended.
    }
  }, 50)
  const [code] = await once(child, 'close')
  clearInterval(timer)
  if (code !== 0) throw new Error(`${path} ${args[1] ?? ''} ended with ${code}: ${errors.slice(-2000)}`)
  if (output !== undefined) writeFileSync(output, Buffer.concat(chunks))
  return { seconds: (performance.now() - started) / 1000, peakMegabytes: Math.round(peakKilobytes / 1024) }
}

function medianOf(results: ReadonlyMap<string, readonly Measured[]>, name: string): Measured {
  const sorted = [...(results.get(name) ?? [])].sort((one, other) => one.seconds - other.seconds)
  return sorted[Math.floor(sorted.length / 2)] ?? { seconds: Number.NaN, peakMegabytes: 0 }
}

function numberOption(name: string, standard: number): number {
  const index = process.argv.indexOf(name)
  const value = index === -1 ? standard : Number(process.argv[index + 1])
  if (!Number.isInteger(value) || value < 1) throw new Error(`${name} takes a whole number`)
  return value
}
