/**
 * Encryption and decryption alone, against gpg and age, of a file that nothing compresses: `node bench/bench-encryption.ts
 * [--mb 1000] [--rounds 5]`; bench.ts takes the same into its table. Interleaved; compare ratios, not seconds. The programs are
 * timed from start to end, pgproof without its start. Everything is written to nowhere.
 */
import { randomFillSync } from 'node:crypto'
import { createReadStream, createWriteStream, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { encryptStage } from '../src/encryption/encrypt.ts'
import { generateKeyPair } from '../src/encryption/generate.ts'
import { readRecipients } from '../src/encryption/keys.ts'
import { numberOption } from './options.ts'
import { type Outcome, Results } from './results.ts'
import { missingRivals, type Rival, whyAbsent } from './rivals.ts'
import { quoted, timed, timedShell } from './timed.ts'

if (import.meta.main) {
  const results = new Results()
  const missing = missingRivals(process.argv.includes('--install'))
  await benchEncryption(results, missing, numberOption('--mb', 1000), numberOption('--rounds', 5))
  process.stdout.write(`\n${results.table()}\n`)
}

export async function benchEncryption(
  results: Results,
  missing: ReadonlySet<Rival>,
  megabytes: number,
  rounds: number,
): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'pgproof-bench-'))
  const home = join(folder, 'gnupg')
  const gpg = `gpg --homedir ${quoted(home)} --batch --quiet --yes --no-tty --trust-model always`
  const path = (name: string): string => join(folder, name)
  try {
    await fillFile(path('plain'), megabytes)
    const pair = await generateKeyPair({ name: 'bench', kind: 'ecc', use: 'backup', now: new Date() })
    writeFileSync(path('public.asc'), pair.publicKey)
    writeFileSync(path('private.asc'), pair.privateKey)
    mkdirSync(home, { mode: 0o700 })
    const hasGpg = !missing.has('gpg')
    if (hasGpg) await timedShell(`${gpg} --import ${quoted(path('private.asc'))}`)
    const gpgEncrypt = `${gpg} --compress-algo none -r ${pair.fingerprint} --encrypt`
    // What pgproof reads is what it would write; without gpg it is its own, too.
    await ownMessage(path('public.asc'), path('plain'), path('message.pgp'))
    if (!missing.has('age')) {
      const keyFile = quoted(path('age.key'))
      await timedShell(`age-keygen -o ${keyFile}; age-keygen -y ${keyFile} > ${quoted(path('age.pub'))}`)
      await timedShell(`age -R ${quoted(path('age.pub'))} -o ${quoted(path('plain.age'))} ${quoted(path('plain'))}`)
    }
    const program = (needed: Rival, name: string, over: string, script: string): Measurement => ({
      row: { name, ...(name === over ? {} : { over }) },
      absent: whyAbsent(missing, [needed]),
      work: () => timedShell(script),
    })
    const own = (direction: 'encrypt' | 'decrypt', key: string, file: string, over: string): Measurement => ({
      row: { name: `pgproof, ${direction}ion alone`, over, goal: '≤ 1.67' },
      absent: undefined,
      work: () => cryptFile(direction, path(key), path(file)),
    })
    const plain = quoted(path('plain'))
    const [encryption, decryption] = ['gpg --encrypt', 'gpg --decrypt'] as const
    const measurements = [
      program('gpg', encryption, encryption, `${gpgEncrypt} < ${plain} > /dev/null`),
      own('encrypt', 'public.asc', 'plain', encryption),
      program('age', 'age --encrypt', encryption, `age -R ${quoted(path('age.pub'))} < ${plain} > /dev/null`),
      program('gpg', decryption, decryption, `${gpg} --decrypt ${quoted(path('message.pgp'))} > /dev/null`),
      own('decrypt', 'private.asc', 'message.pgp', decryption),
      program(
        'age',
        'age --decrypt',
        decryption,
        `age --decrypt -i ${quoted(path('age.key'))} ${quoted(path('plain.age'))} > /dev/null`,
      ),
    ]
    for (let round = 1; round <= rounds; round += 1)
      for (const { row, absent, work } of measurements)
        if (absent === undefined) await results.measure(row, work)
        else results.absent(row, absent)
  } finally {
    // It would stay for a while, in a folder that is gone.
    await timedShell(`gpgconf --homedir ${quoted(home)} --kill all || true`)
    rmSync(folder, { recursive: true, force: true })
  }
}

type Measurement = {
  readonly row: { readonly name: string; readonly over?: string; readonly goal?: string }
  readonly absent: string | undefined
  readonly work: () => Promise<Outcome>
}

async function cryptFile(direction: 'encrypt' | 'decrypt', key: string, file: string): Promise<Outcome> {
  const program = join(import.meta.dirname, 'crypt-file.ts')
  const args = ['--disable-warning=ExperimentalWarning', program, direction, key, file]
  const { output, peakMegabytes } = await timed(process.execPath, args)
  const { seconds, mainThreadSeconds } = JSON.parse(output) as { seconds: number; mainThreadSeconds: number }
  process.stdout.write(`  (${direction}ion: main thread busy for ${mainThreadSeconds.toFixed(2)} s)\n`)
  return { seconds, peakMegabytes }
}

async function ownMessage(publicKey: string, plain: string, message: string): Promise<void> {
  const now = new Date()
  const stage = encryptStage(await readRecipients([publicKey], now), now)
  await pipeline(createReadStream(plain), stage, createWriteStream(message))
}

async function fillFile(path: string, megabytes: number): Promise<void> {
  await using file = await open(path, 'w')
  const block = Buffer.alloc(1_000_000)
  for (let written = 0; written < megabytes; written += 1) await file.write(randomFillSync(block))
}
