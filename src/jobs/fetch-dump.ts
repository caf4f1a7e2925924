import { createWriteStream } from 'node:fs'
import { pipeline } from 'node:stream/promises'
import { decryptStage } from '../encryption/decrypt.ts'
import type { PrivateKeys } from '../encryption/keys.ts'
import { PgproofError } from '../errors.ts'
import type { ObjectStore } from '../storage/object-store.ts'
import { createMeasure, type Measured } from '../streams/measure.ts'
import { asSpoolError } from '../streams/spool.ts'
import { zstdDecompress } from '../streams/zstd.ts'
import type { ReadManifest } from './read-backup.ts'

/**
 * Fetches, decrypts and decompresses a dump into `file` in one pass. The file is to be used only after this resolves:
 * the SHA-256 of the ciphertext, OpenPGP's own integrity check and the SHA-256 of the dump are all known at the end.
 *
 * Throws STORE_NOT_FOUND, OBJECT_MISMATCH, DECRYPTION_FAILED, KEY_NO_MATCH or SPOOL_FULL.
 */
export async function fetchDump(
  read: ReadManifest,
  keys: PrivateKeys,
  store: ObjectStore,
  file: string,
  signal: AbortSignal,
  onBytes?: (storedBytes: number) => void,
): Promise<void> {
  const { manifest, folder } = read
  const entry = manifest.objects.dump
  const key = `${folder}${entry.name}`
  const held = await store.head(key, { signal })
  if (held === undefined) throw new PgproofError('STORE_NOT_FOUND', { key })
  if (held.bytes !== entry.bytes)
    throw new PgproofError('OBJECT_MISMATCH', {
      key,
      reason: `${entry.bytes} bytes expected, the store holds ${held.bytes}`,
    })

  const stored = createMeasure(onBytes)
  const plain = createMeasure()
  const object = await store.read(key, { signal })
  const decrypt = decryptStage(keys, key)
  const sink = createWriteStream(file, { flags: 'wx', mode: 0o600, highWaterMark: 4 << 20 })
  try {
    if (manifest.dump.compression === 'zstd')
      await pipeline(object, stored.stage, decrypt, zstdDecompress(), plain.stage, sink, { signal })
    else await pipeline(object, stored.stage, decrypt, plain.stage, sink, { signal })
  } catch (error) {
    signal.throwIfAborted()
    const { code } = error as { code?: unknown }
    if (typeof code === 'string' && (code.startsWith('ZSTD_') || code === 'Z_BUF_ERROR'))
      throw new PgproofError(
        'DECRYPTION_FAILED',
        { what: key, reason: 'its compressed content is damaged' },
        { cause: error },
      )
    throw asSpoolError(error, file)
  }
  assertMeasured(key, 'object', entry, stored.result())
  assertMeasured(key, 'dump inside', manifest.dump, plain.result())
}

function assertMeasured(key: string, what: string, expected: Measured, measured: Measured): void {
  if (expected.sha256 === measured.sha256 && expected.bytes === measured.bytes) return
  throw new PgproofError('OBJECT_MISMATCH', {
    key,
    reason: `the SHA-256 of the ${what} is not the one in the manifest`,
  })
}
