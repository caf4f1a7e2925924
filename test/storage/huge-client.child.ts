// Run by huge-stream.test.ts: one upload or download of a generated stream, with the memory it took. Gets a HugeTask as
// JSON and prints a HugeResult.
import { readFileSync } from 'node:fs'
import { storeEncrypted } from '../../src/backup/store-encrypted.ts'
import { systemClock } from '../../src/clock.ts'
import { readRecipients } from '../../src/encryption/keys.ts'
import { PgproofError } from '../../src/errors.ts'
import { silentLog } from '../../src/log.ts'
import { S3Store } from '../../src/storage/s3.ts'
import { s3Profiles } from '../../src/storage/s3-profiles.ts'
import type { StoreSettings } from '../../src/storage/store-settings.ts'

export type HugeTask = {
  readonly endpoint: string
  readonly bytes: number
  /** `backup`: zstd and OpenPGP before the upload, as `pgproof backup` does it. */
  readonly work: 'write' | 'read' | 'backup'
  readonly expectedBytes?: number
  readonly isExact?: boolean
  readonly settings?: Partial<StoreSettings>
  readonly limits?: { readonly maxParts: number; readonly equalParts: boolean }
  /** A public key file, for `backup`. */
  readonly recipient?: string
}

export type HugeResult = {
  readonly bytes: number
  readonly seconds: number
  /** What the source was asked for. */
  readonly takenBytes: number
  readonly startBytes: number
  readonly peakBytes: number
  readonly code?: string
  readonly message?: string
}

const task = JSON.parse(process.argv[2] as string) as HugeTask
const { signal } = new AbortController()
const store = new S3Store(
  {
    url: 's3://bucket/huge',
    endpoint: task.endpoint,
    provider: 'ceph',
    accessKeyId: 'any',
    secretAccessKey: () => 'any',
    ...task.settings,
  },
  { clock: systemClock, log: silentLog, profile: { ...s3Profiles.ceph, ...task.limits } },
)
const recipients = task.recipient === undefined ? undefined : await readRecipients([task.recipient], systemClock.now())
await store.put('warm-up', Buffer.alloc(100_000), { signal })

// Incompressible, so that zstd has to pass everything on; a counter makes every block another.
const block = Buffer.alloc(2 ** 20)
for (let at = 0, state = 1; at < block.length; at += 4) {
  state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
  block.writeInt32LE(state ^ (state >>> 13), at)
}
let takenBytes = 0
async function* source(): AsyncGenerator<Uint8Array> {
  for (; takenBytes < task.bytes; ) {
    block.writeUInt32LE(takenBytes / block.length, 0)
    const bytes = Math.min(block.length, task.bytes - takenBytes)
    takenBytes += bytes
    yield block.subarray(0, bytes)
  }
}

const start = memory('VmRSS')
const began = performance.now()
let result: Pick<HugeResult, 'bytes' | 'code' | 'message'>
try {
  result = { bytes: await work() }
} catch (error) {
  if (!(error instanceof PgproofError)) throw error
  result = { bytes: 0, code: error.code, message: error.message }
}
const seconds = (performance.now() - began) / 1000
await store.close()
const printed: HugeResult = { ...result, seconds, takenBytes, startBytes: start, peakBytes: memory('VmHWM') }
console.log(JSON.stringify(printed))

async function work(): Promise<number> {
  const { expectedBytes, isExact } = task
  if (task.work === 'write') return (await store.write('dump', source(), { signal, expectedBytes, isExact })).bytes
  if (recipients !== undefined) {
    const target = { folder: '', name: 'dump', recipients, zstdLevel: 1, expectedBytes }
    const { object } = await storeEncrypted(source, target, { store, clock: systemClock }, signal)
    return object.bytes
  }
  let bytes = 0
  for await (const chunk of await store.read(`zeros-${task.bytes}`, { signal })) bytes += (chunk as Buffer).length
  return bytes
}

/** Linux's own figure; elsewhere the peak that the process has had in any case. */
function memory(name: 'VmRSS' | 'VmHWM'): number {
  if (process.platform !== 'linux') return process.resourceUsage().maxRSS * 1024
  return Number(new RegExp(`${name}:\\s+(\\d+) kB`).exec(readFileSync('/proc/self/status', 'utf8'))?.[1]) * 1024
}
