import { pipeline } from 'node:stream/promises'
import type { Clock } from '../clock.ts'
import type { StoredObject } from '../domain/manifest.ts'
import { encryptBytes, encryptStage } from '../encryption/encrypt.ts'
import type { Recipients } from '../encryption/keys.ts'
import { PgproofError } from '../errors.ts'
import type { StoreWriter } from '../storage/store-set.ts'
import { inBlocks } from '../streams/blocks.ts'
import { createMeasure, type Measured, measureBytes } from '../streams/measure.ts'
import { zstdCompress } from '../streams/zstd.ts'

export type StoreParts = { readonly store: StoreWriter; readonly clock: Clock }

export type EncryptedTarget = {
  /** The backup's folder and the object's name in it. */
  readonly folder: string
  readonly name: string
  readonly recipients: Recipients
  /** zstd outside the archive, or null to leave the source's bytes as they are. */
  readonly zstdLevel: number | null
  /** What may come of the source, for planning parts. */
  readonly expectedBytes?: number | undefined
  readonly onBytes?: ((sourceBytes: number) => void) | undefined
}

export type StoredStream = {
  /** What the source gave, before compression and encryption. */
  readonly source: Measured
  readonly object: StoredObject
}

/** A source that ends when its signal fires, also while it waits for its next bytes. */
export type Source = (signal: AbortSignal) => AsyncIterable<Uint8Array>

/**
 * The stream that every kind of backup shares: measure → zstd → OpenPGP → measure → store. The object appears only if
 * the source ended well; what the store says it holds is compared with what was sent.
 */
export async function storeEncrypted(
  source: Source,
  target: EncryptedTarget,
  parts: StoreParts,
  signal: AbortSignal,
): Promise<StoredStream> {
  const key = `${target.folder}${target.name}`
  const plain = createMeasure(target.onBytes)
  const stored = createMeasure()
  let heldBytes = -1
  const write = async (encrypted: AsyncIterable<Uint8Array>): Promise<void> => {
    const written = await parts.store.write(key, encrypted, { signal, expectedBytes: target.expectedBytes })
    heldBytes = written.bytes
  }
  // The pipeline's own signal fires when a later stage fails: a silent pg_dump must not keep a failed upload waiting.
  const blocks = (pipe: { signal?: AbortSignal } = {}): AsyncIterable<Uint8Array> =>
    inBlocks(source(pipe.signal === undefined ? signal : AbortSignal.any([signal, pipe.signal])))
  const encrypt = encryptStage(target.recipients, parts.clock.now())
  if (target.zstdLevel === null) await pipeline(blocks, plain.stage, encrypt, stored.stage, write, { signal })
  else
    await pipeline(blocks, plain.stage, zstdCompress(target.zstdLevel), encrypt, stored.stage, write, {
      signal,
    })
  const { bytes, sha256 } = stored.result()
  if (heldBytes !== bytes)
    throw new PgproofError('OBJECT_MISMATCH', { key, reason: `${bytes} bytes sent, ${heldBytes} bytes stored` })
  return { source: plain.result(), object: { name: target.name, bytes, sha256 } }
}

/** A small encrypted object, such as the evidence. */
export async function storeEncryptedBytes(
  bytes: Uint8Array,
  target: Pick<EncryptedTarget, 'folder' | 'name' | 'recipients'>,
  parts: StoreParts,
  signal: AbortSignal,
): Promise<StoredObject> {
  const encrypted = await encryptBytes(bytes, target.recipients, parts.clock.now())
  await parts.store.put(`${target.folder}${target.name}`, encrypted, { signal })
  return { name: target.name, ...measureBytes(encrypted) }
}
