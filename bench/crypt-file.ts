import { createReadStream } from 'node:fs'
import { pipeline } from 'node:stream/promises'
import { decryptStage } from '../src/encryption/decrypt.ts'
import { encryptStage } from '../src/encryption/encrypt.ts'
import { readPrivateKeys, readRecipients } from '../src/encryption/keys.ts'

/*
 * A process of its own for bench-encryption.ts: `crypt-file.ts encrypt|decrypt KEY FILE` puts a file through the stage that
 * backups and drills use, and prints the seconds of that: a daemon starts only once.
 */
const [direction, key, file] = process.argv.slice(2)
if (key === undefined || file === undefined) throw new Error('usage: encrypt|decrypt KEY FILE')
const now = new Date()
const stage =
  direction === 'encrypt'
    ? encryptStage(await readRecipients([key], now), now)
    : decryptStage(await readPrivateKeys([key], undefined, now), file)
const started = performance.now()
await pipeline(
  createReadStream(file, { highWaterMark: 512 << 10 }),
  stage,
  async (bytes: AsyncIterable<Uint8Array>) => {
    for await (const _ of bytes);
  },
)
const { user, system } = process.threadCpuUsage()
process.stdout.write(
  JSON.stringify({ seconds: (performance.now() - started) / 1000, mainThreadSeconds: (user + system) / 1e6 }),
)
