import { createWriteStream } from 'node:fs'
import { pipeline } from 'node:stream/promises'
import type { Checklist } from '../domain/checklist.ts'
import { decryptStage } from '../encryption/decrypt.ts'
import type { PrivateKeys } from '../encryption/keys.ts'
import { PgproofError } from '../errors.ts'
import type { ObjectStore } from '../storage/object-store.ts'
import { createMeasure, type Measured } from '../streams/measure.ts'
import { asSpoolError } from '../streams/spool.ts'
import { zstdDecompress } from '../streams/zstd.ts'
import type { ReadManifest } from './read-backup.ts'

export type FetchRequest = {
  readonly read: ReadManifest
  readonly keys: PrivateKeys
  readonly store: ObjectStore
  /** Must not exist yet. */
  readonly file: string
  readonly onBytes?: ((storedBytes: number) => void) | undefined
}

/**
 * Fetches, decrypts and decompresses a dump into `file` in one pass, and reports it as two rungs: `SHA-256`, the object
 * is the one that was stored, and `decryption`, it opens to the very dump that was made. The file is to be used only
 * after this resolves. Throws STORE_NOT_FOUND, OBJECT_MISMATCH, DECRYPTION_FAILED, KEY_NO_MATCH or SPOOL_FULL.
 */
export async function fetchDump(request: FetchRequest, checklist: Checklist, signal: AbortSignal): Promise<void> {
  const { manifest, folder } = request.read
  const entry = manifest.objects.dump
  const key = `${folder}${entry.name}`
  const fetched = await checklist.run('SHA-256', async () => {
    const outcome = await decryptInto(request, key, signal)
    // Where decryption stumbled, the object itself is still to be judged: read once more, only for its hash.
    assertMeasured(key, 'object', entry, outcome.stored ?? (await measureObject(request, key, signal)))
    return outcome
  })
  await checklist.run('decryption', async () => {
    if (fetched.failure !== null) throw fetched.failure
    assertMeasured(key, 'dump inside', manifest.dump, fetched.plain)
  })
}

type Decrypted = { readonly stored: Measured; readonly plain: Measured; readonly failure: null }
type Stumbled = { readonly stored: null; readonly failure: PgproofError }

/** What is wrong with the object's contents is returned, everything else is thrown. */
async function decryptInto(
  { read, keys, store, file, onBytes }: FetchRequest,
  key: string,
  signal: AbortSignal,
): Promise<Decrypted | Stumbled> {
  const stored = createMeasure(onBytes)
  const plain = createMeasure()
  const object = await store.read(key, { signal })
  const decrypt = decryptStage(keys, key)
  const sink = createWriteStream(file, { flags: 'wx', mode: 0o600, highWaterMark: 4 << 20 })
  try {
    if (read.manifest.dump.compression === 'zstd')
      await pipeline(object, stored.stage, decrypt, zstdDecompress(), plain.stage, sink, { signal })
    else await pipeline(object, stored.stage, decrypt, plain.stage, sink, { signal })
    return { stored: stored.result(), plain: plain.result(), failure: null }
  } catch (error) {
    signal.throwIfAborted()
    const failure = asContentFailure(error, key)
    if (failure === null) throw asSpoolError(error, file)
    return { stored: null, failure }
  }
}

function asContentFailure(error: unknown, key: string): PgproofError | null {
  if (error instanceof PgproofError)
    return error.code === 'DECRYPTION_FAILED' || error.code === 'KEY_NO_MATCH' ? error : null
  const { code } = error as { code?: unknown }
  if (typeof code !== 'string' || !(code.startsWith('ZSTD_') || code === 'Z_BUF_ERROR')) return null
  const reason = 'its compressed content is damaged'
  return new PgproofError('DECRYPTION_FAILED', { what: key, reason }, { cause: error })
}

async function measureObject({ store }: FetchRequest, key: string, signal: AbortSignal): Promise<Measured> {
  const measure = createMeasure()
  for await (const _ of measure.stage(await store.read(key, { signal })));
  return measure.result()
}

function assertMeasured(key: string, what: string, expected: Measured, measured: Measured): void {
  if (expected.sha256 === measured.sha256 && expected.bytes === measured.bytes) return
  throw new PgproofError('OBJECT_MISMATCH', {
    key,
    reason: `the SHA-256 of the ${what} is not the one in the manifest`,
  })
}
