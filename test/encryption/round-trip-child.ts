import { createHash, randomBytes } from 'node:crypto'
import { decryptStage } from '../../src/encryption/decrypt.ts'
import { encryptStage } from '../../src/encryption/encrypt.ts'
import { readPrivateKeys, readRecipients } from '../../src/encryption/keys.ts'

/** Run on its own by round-trip.test.ts: encrypts and decrypts many megabytes and prints what memory that took. */
const [publicPath, privatePath, mebibytes] = process.argv.slice(2)
if (publicPath === undefined || privatePath === undefined) throw new Error('usage: PUBLIC PRIVATE MEBIBYTES')
const now = new Date('2025-06-01T02:00:00Z')
const recipients = await readRecipients([publicPath], now)
const privateKeys = await readPrivateKeys([privatePath], undefined, now)

const sent = createHash('sha256')
const received = createHash('sha256')
let bytes = 0
let peakBytes = 0

async function* source(): AsyncGenerator<Uint8Array, void, void> {
  const random = randomBytes(64 << 10)
  for (let index = 0; index < Number(mebibytes) * 16; index += 1) {
    const chunk = Buffer.from(random)
    chunk.writeUInt32BE(index)
    sent.update(chunk)
    yield chunk
  }
}

const startBytes = process.memoryUsage.rss()
for await (const chunk of decryptStage(privateKeys, 'it')(encryptStage(recipients, now)(source()))) {
  received.update(chunk)
  bytes += chunk.length
  peakBytes = Math.max(peakBytes, process.memoryUsage.rss())
}
const isSame = sent.digest('hex') === received.digest('hex')
process.stdout.write(JSON.stringify({ isSame, bytes, grownBytes: peakBytes - startBytes }))
