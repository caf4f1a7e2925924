import { execFileSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { query, type ThrowAwayServer } from '../scripts/throw-away-postgres.ts'
import type { Pgproof } from './pgproof-command.ts'
import type { Results } from './results.ts'
import { timed } from './timed.ts'

const bareRestore = 'createdb + pg_restore -j 2 + ANALYZE'

/**
 * Drill and restore of one backup in a directory store, against pg_restore from a plaintext file on a server that is tuned
 * for it. Returns what measures one round.
 */
export async function prepareRestores(
  folder: string,
  source: ThrowAwayServer,
  scratch: ThrowAwayServer,
  pgproof: Pgproof,
): Promise<(results: Results) => Promise<void>> {
  const dumpFile = join(folder, 'plain.dump')
  execFileSync(join(source.binDir, 'pg_dump'), ['-Fc', '-Z0', '-f', dumpFile, '-d', source.url('mixed')])
  const path = join(folder, 'store')
  mkdirSync(path)
  const store = { PGPROOF_STORE__URL: `file://${path}` }
  await pgproof.run(['init'], 'digest', store)
  await pgproof.run(['backup', '--roles'], 'digest', store)
  await pgproof.run(['backup', 'main/mixed'], 'digest', store)
  return async (results) => {
    await results.measure({ name: bareRestore }, async () => {
      const started = performance.now()
      await query(scratch.url(), 'DROP DATABASE IF EXISTS restored WITH (FORCE)')
      await query(scratch.url(), 'CREATE DATABASE restored')
      await timed(join(scratch.binDir, 'pg_restore'), ['-j', '2', '-d', scratch.url('restored'), dumpFile])
      await query(scratch.url('restored'), 'ANALYZE')
      return { seconds: (performance.now() - started) / 1000, peakMegabytes: 0 }
    })
    await query(scratch.url(), 'DROP DATABASE IF EXISTS restored WITH (FORCE)')
    const drillRow = { name: 'pgproof drill, fetch to first query', over: bareRestore, goal: '≤ 1.15' }
    await results.measure(drillRow, async () => {
      const args = ['drill', 'main/mixed', '--pick', 'latest', '--json']
      const { output, peakMegabytes } = await pgproof.run(args, 'digest', store)
      const { drill } = JSON.parse(output) as { drill: { verdict: string; restoreTimeSeconds: number } }
      if (drill.verdict !== 'passed') throw new Error(`the drill ended ${drill.verdict}`)
      return { seconds: drill.restoreTimeSeconds, peakMegabytes }
    })
    for (const [name, flags] of [
      ['pgproof restore -j 2', []],
      ['pgproof restore -j 2 --verify', ['--verify']],
    ] as const) {
      await results.measure({ name, over: bareRestore }, async () => {
        const to = ['--to', scratch.url('wanted'), '--create', '--roles', '-j', '2']
        return await pgproof.run(['restore', 'latest', 'main/mixed', ...to, ...flags], 'digest', store)
      })
      await query(scratch.url(), 'DROP DATABASE IF EXISTS wanted WITH (FORCE)')
    }
  }
}
