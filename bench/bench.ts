/**
 * pgproof beside what people use today, in one table of ratios: `npm run bench -- [--mb 1500] [--rounds 3] [--install]
 * [--only backups,encryption,restores,catalog]`. Everything is made for it and removed: a mixed database of about so many
 * megabytes, a server to restore to, keys, buckets. The S3 server is the one that PGPROOF_TEST_S3_ENDPOINT and its like name, else one is
 * started as the tests do. Rivals that are not installed are in the table as absent; --install gets them from Debian. Rounds
 * are interleaved, the table has medians. pgproof is built first, and measured as it is shipped. Compare ratios, not seconds: machines differ. docs/performance.md says more.
 */
import { join } from 'node:path'
import { startPostgres } from '../scripts/throw-away-postgres.ts'
import { type S3Server, startS3Server } from '../test/support/s3-server.ts'
import { benchBackups } from './bench-backups.ts'
import { benchEncryption } from './bench-encryption.ts'
import { makeRivalKeys, openBenchPlace, say } from './bench-place.ts'
import { prepareRestores } from './bench-restores.ts'
import { numberOption } from './options.ts'
import { Results } from './results.ts'
import { missingRivals } from './rivals.ts'
import { timed } from './timed.ts'

const parts = ['backups', 'encryption', 'restores', 'catalog'] as const
const megabytes = numberOption('--mb', 1500)
const rounds = numberOption('--rounds', 3)
const chosen = chosenParts()
const missing = missingRivals(process.argv.includes('--install'))
const results = new Results()

if (chosen.has('backups') || chosen.has('restores')) await benchDatabase()
if (chosen.has('encryption')) {
  say('\nencryption and decryption of a file')
  await benchEncryption(results, missing, Math.min(megabytes, 1000), rounds)
}
if (results.table().split('\n').length > 2) say(`\nmedians of ${rounds} rounds\n\n${results.table()}`)
if (chosen.has('catalog')) await benchCatalog()

async function benchDatabase(): Promise<void> {
  await using cleanups = new AsyncDisposableStack()
  const { folder, source, pgproof } = await openBenchPlace(megabytes, cleanups)

  if (chosen.has('backups')) {
    const s3 = await s3OrNull()
    if (s3 !== null) cleanups.defer(() => s3.stop())
    const { gpg, ageRecipient, stop } = await makeRivalKeys(folder, pgproof.publicKey, missing)
    cleanups.defer(stop)
    for (let round = 1; round <= rounds; round += 1) {
      say(`round ${round}, backups`)
      await benchBackups(results, { source, s3, pgproof, missing, folder, gpg, ageRecipient })
    }
  }
  if (chosen.has('restores')) {
    const scratch = await startPostgres(
      'shared_buffers=1GB\nmaintenance_work_mem=512MB\nmax_wal_size=4GB\nwal_level=minimal\nmax_wal_senders=0\nautovacuum=off\nsynchronous_commit=off',
    )
    cleanups.defer(() => scratch.stop())
    const measure = await prepareRestores(folder, source, scratch, pgproof)
    for (let round = 1; round <= rounds; round += 1) {
      say(`round ${round}, restores`)
      await measure(results)
    }
  }
}

async function s3OrNull(): Promise<S3Server | null> {
  try {
    return await startS3Server()
  } catch (error) {
    say(error instanceof Error ? error.message : String(error))
    return null
  }
}

/** It prints a table of its own. */
async function benchCatalog(): Promise<void> {
  say('\na store with 10,000 backups (bench/bench-catalog.ts)')
  const program = join(import.meta.dirname, 'bench-catalog.ts')
  const { output } = await timed(process.execPath, ['--disable-warning=ExperimentalWarning', program], {
    env: process.env,
  })
  say(output)
}

function chosenParts(): ReadonlySet<(typeof parts)[number]> {
  const at = process.argv.indexOf('--only')
  if (at === -1) return new Set(parts)
  const wanted = (process.argv[at + 1] ?? '').split(',')
  const chosenOnes = parts.filter((part) => wanted.includes(part))
  if (chosenOnes.length !== wanted.length) throw new Error(`--only takes some of ${parts.join(',')}`)
  return new Set(chosenOnes)
}
