import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { query, startPostgres, type ThrowAwayServer } from '../scripts/throw-away-postgres.ts'
import { mixedSql } from './mixed-data.ts'
import { Pgproof } from './pgproof-command.ts'
import type { Rival } from './rivals.ts'
import { buildPgproof } from './shipped.ts'
import { quoted, timedShell } from './timed.ts'

export type BenchPlace = { readonly folder: string; readonly source: ThrowAwayServer; readonly pgproof: Pgproof }

/** A server with the mixed database of about so many megabytes, and pgproof, built and with keys. `cleanups` remove it all. */
export async function openBenchPlace(megabytes: number, cleanups: AsyncDisposableStack): Promise<BenchPlace> {
  const folder = mkdtempSync(join(tmpdir(), 'pgproof-bench-'))
  cleanups.defer(() => rmSync(folder, { recursive: true, force: true }))
  // The server's user looks into it, for pgBackRest's configuration.
  chmodSync(folder, 0o711)
  const source = await startPostgres(`shared_buffers=512MB\nmax_wal_size=8GB\ncheckpoint_timeout=1d\nmax_wal_senders=4`)
  cleanups.defer(() => source.stop())
  say(`filling a mixed database of about ${megabytes} MB …`)
  await query(source.url(), 'CREATE DATABASE mixed')
  await query(source.url('mixed'), mixedSql(megabytes))
  const [size] = await query(source.url('mixed'), "SELECT pg_database_size('mixed') / 1000000 AS mb")
  say(`${size?.['mb']} MB`)
  const pgproof = new Pgproof(buildPgproof(), folder, source)
  await pgproof.makeKeys()
  return { folder, source, pgproof }
}

/** The same key for gpg; age has its own. */
export async function makeRivalKeys(
  folder: string,
  publicKey: string,
  without: ReadonlySet<Rival>,
): Promise<{ readonly gpg: string; readonly ageRecipient: string; stop(): Promise<void> }> {
  const home = join(folder, 'gnupg')
  mkdirSync(home, { mode: 0o700 })
  const gpg = `gpg --homedir ${quoted(home)} --batch --quiet --no-tty --trust-model always`
  let ageRecipient = ''
  if (!without.has('gpg')) await timedShell(`${gpg} --import ${quoted(publicKey)}`)
  if (!without.has('age')) {
    const key = quoted(join(folder, 'age.key'))
    ageRecipient = (await timedShell(`age-keygen -o ${key} 2> /dev/null; age-keygen -y ${key}`)).output.trim()
  }
  return {
    gpg: `${gpg} --compress-algo none --recipient-file ${quoted(publicKey)} --encrypt`,
    ageRecipient,
    stop: async () => {
      await timedShell(`gpgconf --homedir ${quoted(home)} --kill all || true`)
    },
  }
}

export function say(line: string): void {
  process.stdout.write(`${line}\n`)
}
